/* gateway/detect/unlike.py: what a device's metrics are, taken together */
#include "layout.h"
#include "series.h"

enum { ROW = EPISODE + 1 };
enum { EVERY_S = PARAMETERS, CADENCE_S, WARM_UP_S };
enum { VALUES = 32, LEVELS = 2, HIGHS = 32, FEWEST = 2, FEWEST_HIGHS = 6 };

static const double QUICKEST_S = 0.1;
static const double KNOWN_CADENCE = 12.0;
static const double DAY_S = 86400.0;
static const double YOUNG_S = 3.0 * 86400.0;
static const double YOUNG = 30.0;
static const double FIRST = 60.0;
static const double CALM = 0.3;
static const double SLOW_WHILE_FAR = 0.05;
static const double FAR = 4.0;
static const double USUAL = 2.0;
static const double FADES = 0.95;
static const double FIRST_SPAN = 64.0;
static const double LARGEST_LEAP = 16.0;

INLINE double clip(double x, double most) { return x < -most ? -most : x > most ? most : x; }

/* Where the line of a value begins in `along`: what its own is, then what it is of each further one. */
INLINE int64_t line_of(int64_t place) { return place * VALUES - place * (place - 1) / 2; }

/* How far readings are apart, those of one instant being one; gives whether they are too rare or too quick. */
static bool follow_cadence(unlike_t *state, const sample_t *sample) {
    double gap_s = sample->ts_s - state->heard_s, gaps = (double)state->gaps, mean_s = (double)state->gap_s;
    if (gap_s > 0.0) {
        double counts_s = gaps > 0.0 ? least(gap_s, 10.0 * mean_s) : gap_s;
        mean_s = mean_s + most(1.0 / (gaps + 1.0), 0.05) * (counts_s - mean_s);
        state->gap_s = (float)mean_s;
        state->gaps = (float)least(gaps + 1.0, 1e6);
    }
    state->heard_s = most(sample->ts_s, state->heard_s);
    mean_s = (double)state->gap_s;
    return state->gaps >= KNOWN_CADENCE && (mean_s > sample->parameters[CADENCE_S] || mean_s < QUICKEST_S);
}

/* All that is known of rows, to be changed. */
static row_t *keep_row(lane_t *lane, int64_t slot) {
    int64_t offset = offset_of(lane, ROW, slot), size = (int64_t)sizeof(row_t);
    for (int64_t at = 0; at < size; at += MOST_KEPT)
        keep_part(lane, ROW, offset + at, (int32_t)(size - at < MOST_KEPT ? size - at : MOST_KEPT));
    return (row_t *)(lane->groups[ROW].slots + offset);
}

INLINE int64_t place_of_code(const row_t *row, int32_t code) {
    int64_t place = -1;
    for (int64_t k = VALUES - 1; k >= 0; k--) place = row->code[k] == code ? k : place;
    return place;
}

/* The part of this instant with the smallest code among those without a place, or -1. */
static int64_t newcomer(const lane_t *lane, const sample_t *sample, const row_t *row) {
    int64_t found = -1;
    for (int64_t k = 0; k < lane->parts; k++) {
        int32_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0 || ((const unlike_t *)row_of(lane, HOT, slot))->newest_s != sample->ts_s) continue;
        if (place_of_code(row, (int32_t)lane->code[k]) < 0 && (found < 0 || lane->code[k] < lane->code[found])) found = k;
    }
    return found;
}

/* The values of this instant in their places; gives how many there are, and notes whether any has no place. */
static int64_t collect(const lane_t *lane, const sample_t *sample, const row_t *row, double *values, bool *lacks) {
    int64_t there = 0;
    for (int64_t k = 0; k < VALUES; k++) values[k] = NAN;
    for (int64_t k = 0; k < lane->parts; k++) {
        int32_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0) continue;
        const unlike_t *part = row_of(lane, HOT, slot);
        if (part->newest_s != sample->ts_s) continue;
        int64_t place = place_of_code(row, (int32_t)lane->code[k]);
        *lacks = *lacks || place < 0;
        if (place < 0) continue;
        values[place] = part->last;
        there++;
    }
    return there;
}

static int64_t taken_of(const row_t *row) {
    int64_t taken = 0;
    for (int64_t k = 0; k < VALUES; k++) taken += row->code[k] != 0;
    return taken;
}

/* Give places to metrics that have none. */
static void seat_all(const lane_t *lane, const sample_t *sample, row_t *row) {
    for (int64_t taken = taken_of(row); taken < VALUES; taken++) {
        int64_t part = newcomer(lane, sample, row);
        if (part < 0) return;
        row->code[taken] = (int32_t)lane->code[part];
        row->along[line_of(taken)] = 1.0f;
    }
}

typedef struct {
    double off[VALUES], leap[VALUES], smooth[VALUES], memory, age_s, gap_s, distance, leaps;
    int64_t taken, varying;
} seen_t;

/* Take the leap of a value into the smoothed ones, and note the largest of the row. */
INLINE void follow_leap(row_t *row, seen_t *seen, int64_t k) {
    double usual = (double)row->leap[k], before = (double)row->leaps[k];
    if (usual > 0.0 && !is_nan(seen->leap[k]))
        row->leaps[k] = (float)(before + 0.15 * (sqrt(least(seen->leap[k] / usual, LARGEST_LEAP)) - before));
    else row->leaps[k] = (float)(FADES * before);
    seen->leaps = most(seen->leaps, (double)row->leaps[k]);
}

/* Each value from its own mean, in spreads, and smoothed. */
static void smooth_out(row_t *row, seen_t *seen, const double *values) {
    for (int64_t k = 0; k < seen->taken; k++) {
        bool there = !is_nan(values[k]);
        double count = (double)row->seen[k], spread = (double)row->spread[k], before = (double)row->smooth[k];
        if (there && count == 0.0) row->mean[k] = values[k];
        double off = there ? values[k] - row->mean[k] : 0.0;
        double away = spread > 0.0 ? clip(off / spread, 6.0) : off != 0.0 && count > YOUNG ? 3.0 : 0.0;
        double smooth = there ? before + 0.18 * (away - before) : FADES * before;
        row->smooth[k] = (float)smooth;
        seen->leap[k] = there && spread > 0.0 && count >= YOUNG ? fabs(away - before) : NAN;
        follow_leap(row, seen, k);
        seen->off[k] = there ? off : NAN;
        seen->smooth[k] = count >= YOUNG ? smooth : 0.0;
        seen->varying += spread > 0.0;
    }
}

/* How far a row lies from what is usual, per value that varies. */
static double distance_of(const row_t *row, const seen_t *seen) {
    double left[VALUES], total = 0.0;
    memcpy(left, seen->smooth, sizeof left);
    for (int64_t j = 0; j < seen->taken; j++) {
        const float *line = row->along + line_of(j) - j;
        double part = left[j];
        total += part * part / (double)line[j];
        for (int64_t c = j + 1; c < seen->taken; c++) left[c] = left[c] - part * (double)line[c];
    }
    return sqrt(total / (double)(seen->varying > 0 ? seen->varying : 1));
}

/* Add `weight` times the product of values with each other: factors stay factors (Gill, Golub, Murray and Saunders). */
static void add_product(row_t *row, int64_t taken, double weight, double *left) {
    for (int64_t j = 0; j < taken; j++) {
        float *line = row->along + line_of(j) - j;
        double part = left[j], own = (double)line[j];
        if (part == 0.0) continue;
        double sum = own + weight * part * part, share = weight * part / sum;
        weight = weight * own / sum;
        line[j] = (float)sum;
        for (int64_t c = j + 1; c < taken; c++) {
            left[c] = left[c] - part * (double)line[c];
            line[c] = (float)((double)line[c] + share * left[c]);
        }
    }
}

static void learn_together(row_t *row, const seen_t *seen, double pace) {
    double rate = pace * most(1.0 / (row->rows - YOUNG + 10.0), 1.0 / seen->memory), values[VALUES], total = 0.0;
    double weight = rate * (seen->distance > USUAL ? 4.0 / (seen->distance * seen->distance) : 1.0);
    double count = (double)seen->taken;
    for (int64_t k = 0; k < seen->taken; k++) {
        float *own = row->along + line_of(k);
        *own = (float)((double)*own * (1.0 - weight));
        values[k] = clip(seen->smooth[k], 4.0);
        total += values[k] * values[k];
    }
    add_product(row, seen->taken, weight, values);
    for (int64_t k = 0; k < seen->taken; k++) values[k] = 0.0;
    values[(int64_t)row->rows % seen->taken] = 1.0;
    add_product(row, seen->taken, rate * count * 0.02 * most(total / count, 0.01), values);
}

/* How far a value usually leaps: the first leap, then the root of the mean square. */
INLINE void learn_leap(row_t *row, const seen_t *seen, int64_t k, double pace) {
    if (is_nan(seen->leap[k])) return;
    double usual = (double)row->leap[k], count = (double)row->seen[k];
    double leap = usual > 0.0 ? least(seen->leap[k], LARGEST_LEAP * usual) : seen->leap[k];
    double rate = usual > 0.0 ? pace * most(1.0 / most(count - YOUNG + 1.0, 1.0), 1.0 / seen->memory) : 1.0;
    row->leap[k] = (float)sqrt(usual * usual + rate * (leap * leap - usual * usual));
}

static void learn(row_t *row, const seen_t *seen, double pace) {
    for (int64_t k = 0; k < seen->taken; k++) {
        if (is_nan(seen->off[k])) continue;
        double count = (double)row->seen[k], spread = (double)row->spread[k];
        double away = clip(seen->off[k], spread > 0.0 && count > YOUNG ? 4.0 * spread : INFINITY);
        double rate = pace * most(1.0 / (count + 1.0), 1.0 / seen->memory);
        learn_leap(row, seen, k, pace);
        row->mean[k] = row->mean[k] + rate * away;
        row->spread[k] = (float)sqrt(spread * spread + rate * (away * away - spread * spread));
        row->seen[k] = (float)least(count + pace, 1e6);
    }
    if (row->rows >= YOUNG) learn_together(row, seen, pace);
    row->rows = row->rows + pace;
}

/* Keep the highest one of a level in the place where it is to stand; gives their mean and their spread. */
static void keep_high(row_t *row, int64_t level, int64_t kept, int64_t next) {
    float *highs = row->highs + level * HIGHS;
    double total = 0.0, squares = 0.0;
    highs[next] = row->peak[level];
    for (int64_t k = 0; k < kept; k++) total += (double)highs[k];
    double top = total / (double)kept;
    for (int64_t k = 0; k < kept; k++) squares += ((double)highs[k] - top) * ((double)highs[k] - top);
    row->top[level] = (float)top;
    row->swing[level] = (float)sqrt(squares / (double)kept);
}

/* Keep the highest levels of a span that is over; short spans become longer ones, up to a day. */
static void keep_highs(row_t *row) {
    int64_t kept = (int64_t)row->kept, next = (int64_t)row->next;
    if (kept == HIGHS && row->block_s < DAY_S) {
        for (int64_t level = 0; level < LEVELS; level++) {
            float *highs = row->highs + level * HIGHS;
            for (int64_t k = 0; k < HIGHS / 2; k++) highs[k] = mostf(highs[2 * k], highs[2 * k + 1]);
        }
        kept = next = HIGHS / 2;
        row->block_s = 2.0f * row->block_s;
    }
    next = next == HIGHS ? 0 : next;
    kept = kept < HIGHS ? kept + 1 : HIGHS;
    for (int64_t level = 0; level < LEVELS; level++) keep_high(row, level, kept, next);
    row->kept = (float)kept;
    row->next = (float)(next + 1);
}

/* What chance reaches once in `every_s`, by the highest ones so far (Gumbel). */
static double bar_of(const row_t *row, int64_t level, double every_s) {
    if (row->kept < FEWEST_HIGHS) return INFINITY;
    double rarity = 0.78 * (log_of(most(every_s / (double)row->block_s, 2.0)) - 0.5772), top = (double)row->top[level];
    double swing = most((double)row->swing[level], 0.1 * top);
    return most(top + rarity * (1.0 + 4.0 / (double)row->kept) * swing, 1.0);
}

/* gateway/detect/highest.py: follow_span() for one row. */
static void follow_span(row_t *row, const seen_t *seen, const sample_t *sample) {
    if (row->block_s == 0.0f) {
        row->block_s = (float)(FIRST_SPAN * seen->gap_s);
        row->block_since_s = sample->ts_s;
    }
    bool over = !(sample->ts_s - row->block_since_s < (double)row->block_s);
    for (int64_t level = 0; level < LEVELS && !sample->firing; level++)
        row->peak[level] = mostf(row->peak[level], (float)least((double)row->level[level], (double)row->bar[level]));
    if (!over) return;
    if (row->peak[0] > 0.0f) keep_highs(row);
    for (int64_t level = 0; level < LEVELS; level++) row->peak[level] = 0.0f;
    row->block_since_s = sample->ts_s;
}

/* What is compared with the bars: the distance over some rows, and how far metrics leap. */
static void tell_levels(row_t *row, const seen_t *seen, double *levels) {
    double before = (double)row->level[0], last = (double)row->distance, rate = least(seen->gap_s / 30.0, 0.3);
    double counts = least(seen->distance, seen->distance >= 0.9 * last ? last : before);
    levels[0] = before > 0.0 ? before + rate * (counts - before) : seen->distance;
    levels[1] = seen->leaps;
}

static void tell(row_t *row, const seen_t *seen, const sample_t *sample, finding_t *found) {
    double every_s = sample->parameters[EVERY_S], age_s = seen->age_s, levels[LEVELS];
    every_s = age_s < YOUNG_S ? least(every_s, 6.0 * age_s - 3.0 * least(age_s, 3600.0)) : every_s;
    tell_levels(row, seen, levels);
    found->calm = true;
    for (int64_t k = 0; k < LEVELS; k++) {
        double bar = bar_of(row, k, every_s), top = (double)row->top[k];
        found->breach = found->breach || levels[k] >= bar;
        found->calm = found->calm && levels[k] < top + CALM * (bar - top);
        found->score = most(found->score, levels[k] / (levels[k] + bar));
        row->level[k] = (float)levels[k];
        row->bar[k] = (float)bar;
    }
    if (sample->firing && row->kept < FEWEST_HIGHS && levels[0] >= USUAL) found->calm = false; /* it outlived an upgrade */
    double warm_up_s = sample->parameters[WARM_UP_S];
    found->breach = found->breach && age_s >= (seen->taken == 1 ? most(warm_up_s, YOUNG_S) : warm_up_s);
    row->since_s = found->calm ? NAN : least(sample->ts_s, row->since_s);
    found->began_s = found->calm ? sample->ts_s : row->since_s;
    row->distance = (float)seen->distance;
    follow_span(row, seen, sample);
}

static finding_t combine(lane_t *lane, const sample_t *sample) {
    unlike_t *state = sample->state;
    finding_t found = {.began_s = sample->ts_s};
    found.dismissed = follow_cadence(state, sample);
    if (found.dismissed || sample->late || !(state->gaps >= KNOWN_CADENCE) || state->last == sample->ts_s) return found;
    double values[VALUES];
    row_t *row = keep_row(lane, sample->slot);
    bool lacks = false;
    int64_t there = collect(lane, sample, row, values, &lacks);
    if (lacks) {
        seat_all(lane, sample, row);
        there = collect(lane, sample, row, values, &lacks);
    }
    seen_t seen = {.taken = taken_of(row), .gap_s = (double)state->gap_s};
    if (there < (seen.taken == 1 ? 1 : FEWEST) || 2 * there < seen.taken) return found;
    state->last = sample->ts_s;
    row->first_s = is_nan(row->first_s) ? sample->ts_s : row->first_s;
    seen.age_s = sample->ts_s - row->first_s;
    seen.memory = least(most(5.0 * DAY_S / seen.gap_s, 1500.0), 1e6);
    smooth_out(row, &seen, values);
    if (row->rows >= FIRST) {
        seen.distance = distance_of(row, &seen);
        tell(row, &seen, sample, &found);
        found.judged = found.tells_began = true;
    }
    bool far = sample->firing || (seen.distance > FAR && seen.age_s >= sample->parameters[WARM_UP_S]);
    learn(row, &seen, far ? SLOW_WHILE_FAR : 1.0);
    return found;
}

/* Keep the value for the device. */
static finding_t judge(lane_t *lane, const sample_t *sample) {
    unlike_t *state = sample->state;
    (void)lane;
    if (!sample->late) state->last = sample->value;
    return (finding_t){.dismissed = follow_cadence(state, sample)};
}

static const detector_t UNLIKE = {
    .size = sizeof(unlike_t),
    .phase_at = offsetof(unlike_t, phase),
    .combine = combine,
    .fewest_parts = 1,
    .judge = judge,
};

EXPORT FOR_EACH_PROCESSOR int32_t judge_unlike(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_all(lane, reading, first, &UNLIKE);
}
