/* gateway/detect/usage_surge.py, excess.py and drain.py */
#include "kinds.h"
#include "lag.h"
#include "layout.h"
#include "series.h"
#include "usage_surge.h"

enum { RISE = PARAMETERS, MOST_EVIDENCE, NORMAL, HABIT_DAYS, PAIRS = SURGE_TOLD_KIND + 1, TOLD_PER, ALONE, TELLS_FALLS };
enum { SEEN, RISES, FALLS, ZEROS, SMALLEST, LARGEST_SEEN, BETWEEN, FIRST, BINS };

static const double MEMORY_DAYS = 30.0;
static const double MOST_BUSY = 14.0;
static const double ALIKE = 0.4;

typedef struct { double use, usual, span, whole, weight, factor, pair; bool there, whole_hour, rests, has, seen; } hour_t;
typedef struct { double ratio, beside; } lately_t; /* logarithms over the habit */

INLINE double or_else(double told, double otherwise) { return is_nan(told) ? otherwise : told; }
INLINE double within_both(double x, double bound) { return x < -bound ? -bound : x > bound ? bound : x; }

INLINE int64_t lane_of(double hour) {
    return within(floor_of((hour - 24.0 * floor_of(hour / 24.0)) / 3.0), BINS);
}

/* Usual use of a day. */
INLINE double whole_day(const float *usual) {
    double total = 0.0;
    for (int k = 0; k < BINS; k++) total = total + (is_nan((double)usual[k]) ? 0.0 : (double)usual[k]);
    return total * 3.0;
}

/* The kind of a series by its values so far; tallies of them stand where the habit will. */
static float settle_use(float *tally, double hour, double value, double last) {
    float fresh = (float)value, old = (float)last;
    bool first = tally[SEEN] != tally[SEEN];
    if (first) memset(tally, 0, BINS * sizeof *tally);
    tally[SEEN] += 1.0f;
    tally[RISES] += fresh > old;
    tally[FALLS] += fresh < old;
    tally[ZEROS] += fresh == 0.0f;
    tally[BETWEEN] += !first && fresh > tally[SMALLEST] && fresh < tally[LARGEST_SEEN];
    tally[SMALLEST] = first ? fresh : leastf(tally[SMALLEST], fresh);
    tally[LARGEST_SEEN] = first ? fresh : mostf(tally[LARGEST_SEEN], fresh);
    if (first) tally[FIRST] = (float)hour;
    double seen = (double)tally[SEEN], age_h = hour - (double)tally[FIRST];
    double falls = (double)tally[FALLS], rises = (double)tally[RISES];
    bool varies = tally[LARGEST_SEEN] > tally[SMALLEST];
    bool ripe = seen >= 24.0 && age_h >= 24.0 && varies && tally[SMALLEST] >= 0.0f;
    if (ripe && falls <= 0.02 * seen && 10.0 * falls <= rises && rises >= 5.0) return COUNTER;
    if (ripe && (double)tally[ZEROS] >= 0.05 * seen && tally[BETWEEN] > 0.0f) return DELTA;
    if (ripe && falls >= 12.0 && falls >= 3.0 * rises && age_h >= 48.0) return DRAIN;
    if (!(seen >= 48.0 && age_h >= 168.0 && varies)) return UNSETTLED;
    return (double)tally[BETWEEN] <= 0.01 * seen ? STATE : LEVEL;
}

static float learn_use(lane_t *lane, const sample_t *sample, using_t *hot, double hour) {
    double told = sample->parameters[SURGE_TOLD_KIND];
    if (!is_nan(told)) hot->kind = (float)told;
    if (hot->kind != UNSETTLED) return hot->kind;
    surge_t *state = KEEP_ROW(surge_t, lane, SURGE, sample->slot);
    hot->kind = settle_use(state->usual, hour, sample->value, hot->last);
    if (hot->kind != UNSETTLED)
        for (int k = 0; k < BINS; k++) state->usual[k] = NAN;
    return hot->kind;
}

/* How much two habits rise and fall over the day together: the square of their correlation, 0 where it is negative. */
static double likeness(const float *mine, const float *its) {
    double own = whole_day(mine) / (double)(3 * BINS), other = whole_day(its) / (double)(3 * BINS);
    double both = 0.0, squares = 0.0, its_squares = 0.0;
    for (int k = 0; k < BINS; k++) {
        double up = (is_nan((double)mine[k]) ? 0.0 : (double)mine[k]) - own;
        double beside = (is_nan((double)its[k]) ? 0.0 : (double)its[k]) - other;
        both = both + up * beside;
        squares = squares + up * up;
        its_squares = its_squares + beside * beside;
    }
    return both > 0.0 ? both * both / (squares * its_squares) : 0.0;
}

/* The device's other amount whose habit is most like this one's; 0 for none. */
static int32_t choose(const lane_t *lane, const sample_t *sample) {
    const surge_t *own = row_of(lane, SURGE, sample->slot);
    double best = 0.0;
    int64_t chosen = 0;
    for (int64_t k = 0; k < lane->parts; k++) {
        int64_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0 || slot == sample->slot) continue;
        const using_t *hot = row_of(lane, HOT, slot);
        const surge_t *state = row_of(lane, SURGE, slot);
        if (hot->kind > COUNTER || state->days < 1.0f || !(state->typical > 0.0f)) continue;
        double busy = whole_day(state->usual) / (double)state->typical, alike = likeness(own->usual, state->usual);
        if (busy > MOST_BUSY || !(alike >= ALIKE)) continue;
        if (!(alike > best || (alike == best && chosen && lane->code[k] < chosen))) continue;
        best = alike;
        chosen = lane->code[k];
    }
    return (int32_t)chosen;
}

/* The companion's use in the completed hour; NaN where it is not known. */
static double companion(const lane_t *lane, const sample_t *sample, surge_t *state, double hour, float kind) {
    const double *p = sample->parameters;
    bool new_day = floor_of(hour / 24.0) != floor_of((double)state->done / 24.0);
    if (!is_nan(p[TOLD_PER])) state->per = (int32_t)p[TOLD_PER];
    if (!state->per && p[PAIRS] > 0.0 && new_day && kind <= COUNTER && state->days >= 2.0f)
        state->per = choose(lane, sample);
    for (int64_t k = 0; k < lane->parts && state->per; k++) {
        int64_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0 || lane->code[k] != state->per) continue;
        const using_t *hot = row_of(lane, HOT, slot);
        const surge_t *its = row_of(lane, SURGE, slot);
        if ((double)hot->hour != hour) return (double)its->done == hour ? (double)its->done_use : NAN;
        bool is_hours = hot->kind == DELTA || hour - (double)its->done == 1.0;
        return hot->kind <= COUNTER || hot->kind == DRAIN ? is_hours ? (double)hot->use : NAN : NAN;
    }
    return NAN;
}

/* Usual use in the hours that this use was made in; the use itself where no habit is known yet. */
INLINE double expect(const float *usual, double hour, const hour_t *of) {
    double total = 0.0;
    for (double back = 0.0; back < of->span; back += 1.0) {
        double rate = (double)usual[lane_of(hour - back)];
        total = total + (is_nan(rate) ? of->use / of->span : rate * of->factor);
    }
    return total;
}

/* Whether the series is compared with its companion, and whether it is judged: by hours that both cover. */
INLINE void pair_up(surge_t *state, hour_t *hour) {
    bool met = is_finite(hour->pair), compared = state->per && state->beside > 0.0f && state->lost <= 72.0f;
    state->lost = met ? 0.0f : (float)least((double)state->lost + 1.0, 1e6);
    hour->has = compared && met && state->days >= 3.0f;
    hour->seen = hour->there && (met || !compared);
}

/* Lately over the habit, one's own and as the companion has it. */
INLINE lately_t compare(surge_t *state, const hour_t *hour) {
    double fade = exp_of(-hour->weight / 0.6), beside = (double)state->beside;
    double rate = (double)state->own / (beside > 0.0 ? beside : 1.0);
    double expected = is_finite(hour->pair) && beside > 0.0 ? hour->pair * rate : hour->usual;
    double recent_use = (double)state->recent_use, recent_usual = (double)state->recent_usual;
    double recent_beside = (double)state->recent_beside;
    if (hour->seen) {
        recent_use = recent_use * fade + hour->use;
        recent_usual = recent_usual * fade + hour->usual;
        recent_beside = recent_beside * fade + expected;
    }
    double prior = 3.0 * (double)state->typical, scale = recent_usual + prior;
    state->recent_use = (float)recent_use;
    state->recent_usual = (float)recent_usual;
    state->recent_beside = (float)recent_beside;
    return (lately_t){
        .ratio = log_ratio(recent_use + prior, scale),
        .beside = log_ratio(recent_beside + prior, scale),
    };
}

INLINE void learn_habit(surge_t *state, const hour_t *hour, double at, double pace) {
    double days = (double)state->days, rate = most(1.0 / (days + 1.0), 1.0 / MEMORY_DAYS) * pace;
    double most_use = 4.0 * most(hour->usual / hour->span, hour->whole / 24.0), lesson = hour->use / hour->span;
    if (days >= 7.0) lesson = least(lesson, most_use);
    float *cell = state->usual + lane_of(at);
    double known = (double)*cell;
    double factor = hour->factor, step = rate / 3.0 * (factor * (lesson - factor * known));
    if (hour->there) *cell = (float)(is_nan(known) ? lesson : most(known + step, 0.0));
    rate = most(1.0 / (days * (2.0 / 7.0) + 1.0), 0.15) * pace;
    bool tells = hour->there && hour->rests && hour->whole > 0.0;
    double missed = tells ? (lesson * hour->span - hour->usual) / hour->whole : 0.0;
    state->weekend = (float)least(most((double)state->weekend + rate * missed, 0.0), 3.0);
    double typical = (double)state->typical;
    rate = (hour->there && lesson > 0.0 ? most(1.0 / (days * 4.0 + 1.0), 0.01) : 0.0) * pace;
    double size = typical > 0.0 ? least(lesson / typical, 4.0) : 1.0; /* large uses weigh more: they are most of the use */
    state->typical = (float)(typical + least(rate * size, 1.0) * (lesson - typical));
}

INLINE void learn_swing(surge_t *state, double excess, double spread, double weight) {
    double clipped = within_both(excess, 1.0);
    double rate = least(most(1.0 / ((double)state->days + 5.0), 1.0 / MEMORY_DAYS) * weight, 1.0);
    state->spread = (float)(spread + rate * (clipped * clipped - spread));
}

/* How the companion's use goes with one's own, and how much of the swings the two share. */
INLINE void learn_pair(surge_t *state, const hour_t *hour, const lately_t *lately, bool telling, double pace) {
    double weight = hour->weight * pace, fade = exp_of(-weight / MEMORY_DAYS);
    double mine = within_both(lately->ratio, 1.0), its = within_both(lately->beside, 1.0);
    if (telling) {
        state->along = (float)((double)state->along * fade + 0.3 * weight * (mine * its));
        state->alone = (float)((double)state->alone * fade + 0.3 * weight * (its * its));
    }
    if (!is_finite(hour->pair)) return;
    state->own = (float)((double)state->own * fade + hour->use * pace);
    state->beside = (float)((double)state->beside * fade + hour->pair * pace);
}

/* Whether another amount's surge is up or was lately, where those of a device are one alarm; a battery is no amount. */
static bool is_told_of(const lane_t *lane, const sample_t *sample, surge_t *state, double hour) {
    for (int64_t k = 0; k < lane->parts; k++) {
        int64_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0 || slot == sample->slot) continue;
        const using_t *other = row_of(lane, HOT, slot);
        if (other->phase >= ACTIVE && other->kind <= COUNTER) state->told_hour = (float)hour;
    }
    return hour - (double)state->told_hour < 48.0;
}

/* Whether half of the device's other amounts have risen at least half as far: then its owner does more of everything. */
static bool rise_too(const lane_t *lane, const sample_t *sample, double ratio) {
    int64_t others = 0, risen = 0;
    for (int64_t k = 0; k < lane->parts; k++) {
        int64_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0 || slot == sample->slot) continue;
        const using_t *hot = row_of(lane, HOT, slot);
        const surge_t *its = row_of(lane, SURGE, slot);
        if (hot->kind > COUNTER || its->days < 4.0f || !(its->typical > 0.0f)) continue;
        double typical = (double)its->typical, prior = 3.0 * typical;
        if (whole_day(its->usual) / typical > MOST_BUSY) continue;
        others++;
        risen += log_ratio((double)its->recent_use + prior, (double)its->recent_usual + prior) > 0.5 * ratio;
    }
    return risen > 0 && 2 * risen >= others;
}

/* What the completed hour shows, beside what is usual in it and what the companion did. */
static hour_t see_hour(lane_t *lane, const sample_t *sample, surge_t *state, double at, double used, float kind) {
    double before_h = (double)state->done;
    double span = kind >= COUNTER && is_finite(before_h) ? at - before_h : 1.0;
    hour_t hour = {.there = is_finite(used) && span <= 24.0};
    hour.use = hour.there ? used : 0.0;
    hour.span = hour.there ? span : 1.0;
    double weekday = floor_of(at / 24.0) + 4.0, weekend = (double)state->weekend;
    weekday = weekday - 7.0 * floor_of(weekday / 7.0);
    hour.rests = (weekday == 0.0 || weekday == 6.0) && kind != DRAIN;
    hour.factor = hour.rests ? weekend : (7.0 - 2.0 * weekend) / 5.0;
    hour.usual = hour.there ? expect(state->usual, at, &hour) : 0.0;
    hour.whole = whole_day(state->usual);
    hour.weight = hour.whole > 0.0 ? least(hour.usual / hour.whole, 1.0) : 0.0;
    hour.pair = companion(lane, sample, state, at, kind);
    hour.whole_hour = hour.there && span == 1.0;
    if (!hour.whole_hour) hour.pair = NAN;
    pair_up(state, &hour);
    return hour;
}

/* The judgement of a completed hour: one step of the evidence. */
static finding_t judge_hour(lane_t *lane, const sample_t *sample, double at, double used, float kind) {
    const double *p = sample->parameters;
    surge_t *state = KEEP_ROW(surge_t, lane, SURGE, sample->slot);
    double before_h = (double)state->done;
    hour_t hour = see_hour(lane, sample, state, at, used, kind);
    lately_t lately = compare(state, &hour);
    double along = (double)state->along, alone = (double)state->alone;
    double part = least(most(along / alone, 0.0), 1.5);
    double shared = hour.has ? most(part * lately.beside, is_nan(p[TOLD_PER]) ? -0.3 : -INFINITY) : 0.0;
    bool known = hour.seen && state->days >= 2.0f && state->recent_usual > 0.0f;
    double excess = known ? lately.ratio - shared : 0.0, spread = (double)state->spread;
    double width = sqrt(spread + 0.005 + 0.05 * (hour.has ? lately.beside * lately.beside : 0.0));
    double swings = within_both(excess / width, 2.5);
    double signed_before = (double)state->surge, before = most(signed_before, 0.0);
    double normal = or_else(p[NORMAL], kind == DRAIN ? 1.5 : 1.1);
    double surge = known ? most(before + (swings - normal) * hour.weight, 0.0) : before;
    double seldom = 4.0 * (double)state->typical / (hour.whole > 0.0 ? hour.whole : 1.0);
    seldom = sqrt(least(most(seldom, 1.0), 9.0));
    double bar = or_else(p[MOST_EVIDENCE], kind == DRAIN ? 0.6 : (hour.has ? 1.7 : 2.0 * 1.7) * seldom);
    double rise = or_else(p[RISE], kind == DRAIN ? 0.6 : 0.3);
    bool ripe = (double)state->days > p[HABIT_DAYS];
    bool compared = known && hour.has && kind <= COUNTER && p[TELLS_FALLS] == 1.0;
    lag_t lag = follow_lag(state, known, compared, part, width, hour.weight);
    double lag_bar = 2.2 * seldom;
    if (!ripe) surge = least(surge, 0.5 * bar);
    if (!ripe) lag.depth = least(lag.depth, 0.5 * lag_bar);
    bool falls = sample->firing ? signed_before < 0.0 : lag.depth > surge;
    bool lags = compared && lag.beside > log_of(0.5) && lag.depth > lag_bar && lag.fall > log_of(1.0 + 0.3);
    bool surges = known && surge > bar && excess > log_of(1.0 + rise);
    if (surges && surge < 2.0 * bar && kind <= COUNTER && !sample->firing && p[ALONE] == 1.0)
        surges = !rise_too(lane, sample, lately.ratio);
    bool wrong = ripe && (falls ? lags : surges);
    bool told_of = p[ALONE] == 1.0 && kind <= COUNTER && is_told_of(lane, sample, state, at);
    bool breach = wrong && (sample->firing || !told_of);
    bool calm = sample->firing && known && (falls ? lag.fall : excess) < 0.15;
    if (falls ? -signed_before <= EASED && lag.depth > EASED : signed_before <= 0.0 && surge > 0.0) state->run = (float)at;
    double evidence = falls ? lag.depth : surge, most_evidence = falls ? lag_bar : bar;
    double score = breach || (sample->firing && !calm) ? evidence / (evidence + most_evidence) : 0.0;
    bool doubtful = evidence > 0.5 * most_evidence;
    evidence = most(calm ? 0.0 : evidence, sample->firing && falls ? EASED : 0.0);
    state->surge = (float)(falls ? -evidence : evidence);
    double pace = sample->firing || wrong ? 0.05 : doubtful ? 0.3 : 1.0;
    learn_habit(state, &hour, at, pace);
    learn_swing(state, excess, spread, known ? hour.weight * pace : 0.0);
    learn_pair(state, &hour, &lately, hour.has && known, pace);
    state->done_use = hour.whole_hour ? (float)used : NAN;
    state->done = (float)at;
    state->days += floor_of(at / 24.0) != floor_of(before_h / 24.0);
    return (finding_t){
        .breach = breach,
        .calm = calm,
        .judged = true,
        .score = score,
        .tells_began = true,
        .began_s = (is_finite((double)state->run) ? (double)state->run : at) * HOUR_S,
    };
}

INLINE finding_t judge(lane_t *lane, const sample_t *sample) {
    using_t *state = sample->state;
    double hour = (double)(float)sample->hour, use;
    float kind = learn_use(lane, sample, state, hour);
    finding_t found = {.dismissed = kind == LEVEL || kind == STATE};
    bool counts = use_of(kind, sample->value, sample->late, state->last, &use);
    if (!sample->late) state->last = sample->value;
    if (!counts) return found;
    double current = (double)state->hour, used = (double)state->use;
    if (hour == current) {
        state->use = (float)(used + use);
    } else if (!sample->late) {
        state->hour = (float)hour;
        state->use = (float)use;
        if (is_finite(current)) found = judge_hour(lane, sample, current, used, kind);
    }
    return found;
}

static const detector_t USAGE_SURGE = {
    .size = sizeof(using_t),
    .phase_at = offsetof(using_t, phase),
    .brief = take_usage_surge,
    .judge = judge,
};

EXPORT int32_t judge_usage_surge(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_all(lane, reading, first, &USAGE_SURGE);
}
