/* gateway/detect/decline.py, drift.py, regimes.py and falling_use.py */
#include "decline.h"
#include "kinds.h"
#include "layout.h"
#include "series.h"

enum { MOST_REGIMES = 7, MOST_VISITS = 100 };
enum { EVIDENCE = PARAMETERS, SHIFT, FALL, SURE, LASTING_S, EARLY_S = DECLINE_TOLD_KIND + 1 };

/* All that is known of a series or a device, but for what few of them have. */
typedef struct {
    DECLINE_HOT(ONE_MEMBER, MANY_MEMBERS)
    MEANS_GROUP(ONE_MEMBER, MANY_MEMBERS)
} decline_t;

_Static_assert(offsetof(decline_t, last) == sizeof(decline_hot_t), "the means follow what is hot");

static decline_t gather(const lane_t *lane, int64_t slot) {
    decline_t state;
    memcpy(&state, row_of(lane, HOT, slot), sizeof(decline_hot_t));
    memcpy((uint8_t *)&state + sizeof(decline_hot_t), row_of(lane, MEANS, slot), sizeof(means_t));
    return state;
}

/* Put it back; what is hot is kept already. */
static void scatter(lane_t *lane, const sample_t *sample, const decline_t *state) {
    memcpy(sample->state, state, sizeof(decline_hot_t));
    memcpy(KEEP_ROW(means_t, lane, MEANS, sample->slot), (const uint8_t *)state + sizeof(decline_hot_t), sizeof(means_t));
}

typedef struct { double fast, memory, young; bool heeds_likeness; } pace_t;

static const pace_t LEVEL_PACE = {0.08, 100.0, 40.0, true};
static const pace_t USE_PACE = {0.2, 28.0, 14.0, false};
static const float ALONE = 300.0f;

static const double OUTLIER = 4.0;
static const double TINY = 1e-300;
static const double GRAIN = 256.0;

INLINE double clip(double x, double most) { return x < -most ? -most : x > most ? most : x; }
INLINE double grained(double x) { return floor_of(x * GRAIN) / GRAIN; }

/* The standard error of the two means' distance, and how much wider the likeness of neighbours makes its square. */
typedef struct { double error, wider; } error_t;

INLINE error_t error_of(const decline_t *state, pace_t pace) {
    double count = (double)state->count, spread = (double)state->spread, jitter = (double)state->jitter;
    double alike = 1.0 - (jitter * jitter) / most(spread * spread, TINY);
    alike = pace.heeds_likeness ? least(most(alike - 0.1, 0.0) / (1.0 - 0.1), 0.998) : 0.0;
    double wider = (1.0 + alike) / (1.0 - alike);
    double width = pace.fast / (2.0 - pace.fast) + 1.0 / most(least(count, pace.memory), 1.0);
    return (error_t){spread * sqrt(wider * width), wider};
}

/* What a series adds to its device's evidence. */
static float share_of(const decline_t *state) {
    double count = (double)state->count, falls = (double)state->falls, zeros = (double)state->zeros;
    if (!(falls >= 0.15 * count && falls <= (1.0 - 0.15) * count && zeros < 0.05 * count)) return -1.0f;
    error_t error = error_of(state, LEVEL_PACE);
    if (!(count >= LEVEL_PACE.young * error.wider && state->spread > 0.0f)) return -1.0f;
    double far = fabs((double)state->fast) / most(error.error, TINY);
    return (float)grained(least(most(far - 1.0, 0.0), 3.0));
}

/* gateway/detect/drift.py: step() */
INLINE void step_by(decline_t *state, double value, bool firing, pace_t pace) {
    double count = (double)state->count, spread = (double)state->spread;
    bool new = count == 0.0, doubtful = state->share >= 1.0f || state->share < -1.0f;
    double slow = new ? value : state->slow, before = new ? value : slow + (double)state->fast;
    double largest = count >= pace.young ? OUTLIER * spread : INFINITY;
    double off = clip(value - before, largest), away = clip(value - slow, largest);
    double rate = most(1.0 / (count + 1.0), 1.0 / pace.memory) * (firing ? 0.05 : doubtful ? 0.4 : 1.0);
    double rest = most(1.0 / most(count, 1.0), 1.0 / pace.memory) * (firing ? 0.05 : doubtful ? 0.1 : 1.0);
    double present = before + most(1.0 / (count + 1.0), pace.fast) * off;
    slow = slow + rate * (before + off - slow);
    state->spread = (float)sqrt(spread * spread + rest * (away * away - spread * spread));
    if (pace.heeds_likeness) {
        double jitter = (double)state->jitter, leap = clip(value - (new ? value : state->last), 1.5 * largest);
        state->jitter = (float)sqrt(jitter * jitter + rest * (0.5 * (leap * leap) - jitter * jitter));
        state->last = value;
    }
    state->slow = slow;
    state->fast = (float)(present - slow);
    state->count = (float)least(count + 1.0, 1e6);
}

/* gateway/detect/regimes.py: a level that jumps between a few values. */

/* Put a level back to where it knows nothing, but for where it lies. */
static void begin_anew(decline_t *state, float kind) {
    state->kind = kind;
    state->last = state->slow;
    state->count = state->fast = state->spread = state->jitter = state->falls = 0.0f;
    state->zeros = state->zeros < 0.0f ? state->zeros : 0.0f;
    state->share = -1.0f;
}

/* Whether a young level leaps by hardly anything, or far. */
static void look_for_regimes(lane_t *lane, const sample_t *sample, decline_t *state, double leap) {
    double spread = (double)state->spread, jitter = (double)state->jitter, count = (double)state->count;
    double size = fabs(leap);
    if (size > 0.0 && size < 0.07 * spread) {
        state->covered += 1.0f;
        state->use = (float)((double)state->use + sqrt(size));
        double near = (double)state->covered;
        if (!(count >= 12.0 && near >= 3.0 && near >= 0.1 * count && jitter >= 0.4 * spread)) return;
        regimes_t *regimes = KEEP_ROW(regimes_t, lane, REGIMES, sample->slot);
        if (regimes->width != 0.0f) return;
        regimes->width = state->spread;
        begin_anew(state, IN_REGIMES);
    }
}

/* How far from every middle a value lies that is in no regime known yet. */
static double apart_of(const decline_t *state, double width) {
    if ((double)state->count >= LEVEL_PACE.young) return 0.4 * width;
    double use = (double)state->use, near = use / most((double)state->covered, 1.0);
    return use > 0.0 ? least(most(5.0 * near * near, 3.0 * (double)state->spread), 0.1 * width) : 0.1 * width;
}

/* The value as it would be, were the level in no regime. */
static double out_of_regime(lane_t *lane, const sample_t *sample, decline_t *state, bool firing) {
    regimes_t *regimes = KEEP_ROW(regimes_t, lane, REGIMES, sample->slot);
    double away = sample->value - state->slow, fast = (double)state->fast, width = (double)regimes->width;
    double nearest = INFINITY;
    int at = 0, unused = -1;
    for (int k = 0; k < MOST_REGIMES; k++) {
        double distance = fabs(away - (double)regimes->middle[k]);
        if (regimes->visits[k] == 0) {
            if (unused < 0) unused = k;
        } else if (distance < nearest) {
            nearest = distance;
            at = k;
        }
    }
    double apart = apart_of(state, width);
    bool is_new = unused >= 0 && nearest > apart;
    if (is_new) at = unused;
    double visits = (double)regimes->visits[at];
    double middle = is_new ? away - fast : (double)regimes->middle[at], off = away - middle;
    double rate = (firing ? 0.05 : 1.0) / (visits + 1.0);
    regimes->visits[at] = (uint8_t)least(visits + 1.0, (double)MOST_VISITS);
    regimes->middle[at] = (float)(middle + rate * (off - fast));
    return state->slow + off;
}

/* Whether what lies in each regime is close together; a level that does not is none with regimes. */
static void doubt_regimes(lane_t *lane, const sample_t *sample, decline_t *state) {
    regimes_t *regimes = KEEP_ROW(regimes_t, lane, REGIMES, sample->slot);
    if ((double)state->spread < 0.12 * (double)regimes->width && (double)state->spread > 1e-6 * (double)regimes->width) return;
    regimes->width = -1.0f;
    begin_anew(state, UNSETTLED);
}

typedef struct { double began_s; bool is_new; } drifting_t;

/* When the drift began, and whether it has come further than any before. What has ended becomes the record. */
static drifting_t follow(const decline_t *state, drift_t *drift, double ts_s, double largest) {
    double far = fabs((double)state->fast), record = (double)drift->record, peak = (double)drift->peak;
    bool drifts = state->share > 0.0f;
    drifting_t found = {least(ts_s, drift->since_s), far > 1.3 * record};
    if (!drifts) drift->record = (float)most(largest == INFINITY ? record : 0.97 * record, least(largest, peak));
    drift->peak = drifts ? (float)most(peak, far) : 0.0f;
    drift->since_s = drifts ? found.began_s : NAN;
    return found;
}

/* What is often zero, or hardly ever falls, is an amount, and starts anew as one. */
static void settle_kind(decline_t *state, drift_t *drift) {
    float count = state->count;
    bool counter = (double)state->falls <= 0.02 * (double)count && state->spread > 0.0f;
    bool often = (double)state->zeros >= 0.05 * (double)count;
    state->kind = counter ? COUNTER : often ? DELTA : count >= ALONE ? LEVEL : UNSETTLED;
    if (state->kind > COUNTER) return;
    state->count = state->fast = state->spread = state->jitter = 0.0f;
    state->falls = 0.0f;
    state->slow = 0.0;
    state->share = -1.0f;
    drift->since_s = NAN;
    state->use = state->covered = 0.0f;
}

/* Whether the series' own alarm or the device's is up. */
static bool is_firing(const lane_t *lane, const sample_t *sample) {
    return sample->firing || is_alarmed(lane, sample->seat, offsetof(decline_hot_t, phase));
}

/* gateway/detect/early.py: whether a series is in its first hours, in which it steps with every reading. */
typedef struct { bool steps, beyond; double age_h; } early_t;

static early_t follow_early(lane_t *lane, const sample_t *sample, decline_t *state, bool firing, double steps) {
    double early = sample->parameters[EARLY_S], hours = sample->ts_s / HOUR_S;
    if (!(early > 0.0 && sample->ts_s >= 0.0)) return (early_t){0};
    if (is_nan(state->hour)) state->hour = (float)(-1.0 - hours);
    double begun = (double)state->hour, age_h = hours + begun + 1.0;
    if (!(begun < 0.0)) return (early_t){0};
    bool young = age_h < early / HOUR_S;
    bool goes_on = steps < 500.0 && (steps >= 1.5 * age_h || state->kind == (float)IN_REGIMES ||
                                     ((const regimes_t *)row_of(lane, REGIMES, sample->slot))->width < 0.0f);
    if (firing || young || goes_on) return (early_t){true, !young && !firing, age_h};
    state->hour = NAN;
    if (state->count > 100.0f) {
        state->count = state->fast = state->spread = state->jitter = state->falls = 0.0f;
        state->zeros = state->zeros < 0.0f ? state->zeros : 0.0f;
        state->share = -1.0f;
        if (state->kind == (float)IN_REGIMES) {
            regimes_t *regimes = KEEP_ROW(regimes_t, lane, REGIMES, sample->slot);
            state->kind = UNSETTLED;
            regimes->width = 0.0f;
            for (int k = 0; k < MOST_REGIMES; k++) regimes->visits[k] = 0;
        } else {
            state->use = state->covered = 0.0f;
        }
    }
    return (early_t){0};
}

/* By how much a young device's bar is raised, which grows with age, and whether nothing is told of it yet. */
typedef struct { double growth; bool is_mute; } haste_t;

static haste_t haste_of(const sample_t *sample, decline_t *state, early_t early, double growth) {
    if (!early.steps) return (haste_t){growth, false};
    double gap_h = (sample->ts_s - state->slow) / HOUR_S, usual_h = early.age_h / most((double)state->use, 1.0);
    double looks_back_h = LEVEL_PACE.memory * gap_h;
    bool is_steady = gap_h <= 2.0 * usual_h && usual_h <= 2.0 * gap_h;
    bool is_clear = looks_back_h <= 2.0 || looks_back_h >= 24.0 || early.age_h >= 30.0;
    state->use += 1.0f;
    state->slow = sample->ts_s;
    double raised = early.beyond ? most(growth, 1.6 * sqrt(growth)) : growth;
    return (haste_t){raised, early.beyond && !(is_steady && is_clear)};
}

static finding_t judge_level(lane_t *lane, const sample_t *sample, decline_t *state, early_t early) {
    finding_t found = {.judged = true, .tells_began = true, .began_s = sample->ts_s};
    double value = sample->value, shift = sample->parameters[SHIFT];
    bool drifted = state->share > 0.0f, in_regimes = state->kind == (float)IN_REGIMES;
    state->zeros = value < 0.0 ? -INFINITY : state->zeros + (float)(value == 0.0);
    bool firing = is_firing(lane, sample);
    if (in_regimes) value = out_of_regime(lane, sample, state, firing);
    double last = state->count == 0.0f ? value : state->last;
    state->falls += value < last;
    step_by(state, value, firing, LEVEL_PACE);
    if (!in_regimes && state->count < 96.0f) look_for_regimes(lane, sample, state, value - last);
    if (in_regimes && state->count == 24.0f) doubt_regimes(lane, sample, state);
    state->share = share_of(state);
    double far = fabs((double)state->fast) / most((double)state->spread, TINY);
    bool known = state->share >= 0.0f && state->count >= ALONE && !early.beyond;
    found.breach = known && far >= shift && state->share >= 3.0f;
    found.calm = !known || far < 0.5 * shift;
    found.score = known ? far / (far + shift) : 0.0;
    bool moves = drifted || state->share > 0.0f;
    bool settles = is_nan(sample->parameters[DECLINE_TOLD_KIND]) && !early.steps && state->kind == UNSETTLED && state->count >= 48.0f;
    if (!moves && !settles) return found;
    drift_t *drift = KEEP_ROW(drift_t, lane, DRIFT, sample->slot);
    if (moves) {
        drifting_t drifting = follow(state, drift, sample->ts_s, early.steps ? INFINITY : 1.5 * (shift * (double)state->spread));
        found.began_s = drifting.began_s;
        found.breach = found.breach && drifting.is_new;
    }
    if (settles) settle_kind(state, drift);
    return found;
}

/* gateway/detect/falling_use.py: a day is over. */
static finding_t judge_day(lane_t *lane, const sample_t *sample, decline_t *state, double level) {
    const double *p = sample->parameters;
    finding_t found = {.judged = true, .tells_began = true};
    step_by(state, level, is_firing(lane, sample), USE_PACE);
    double fast = (double)state->fast, sure = -fast / most(error_of(state, USE_PACE).error, TINY);
    double bar = log_of(1.0 - p[FALL]);
    double depth = most(fast / bar, 0.0);
    bool known = (double)state->count >= USE_PACE.young;
    drift_t *drift = KEEP_ROW(drift_t, lane, DRIFT, sample->slot);
    drift->since_s = sure >= 1.0 ? least(sample->ts_s, drift->since_s) : NAN;
    found.calm = !known || depth < 0.5;
    found.score = known ? depth / (depth + 1.0) : 0.0;
    state->share = known && sure >= 1.0 ? -2.0f : -1.0f;
    found.began_s = is_nan(drift->since_s) ? sample->ts_s : drift->since_s;
    bool lasts = sample->ts_s - found.began_s >= p[LASTING_S], lies_low = level - state->slow <= 0.5 * bar;
    found.breach = known && depth >= 1.0 && sure >= p[SURE] && lasts && lies_low;
    return found;
}

static finding_t judge_use(lane_t *lane, const sample_t *sample, decline_t *state, double kind) {
    finding_t found = {0};
    double value = sample->value, last = state->last, amount = kind == COUNTER ? difference(value, last) : value;
    if (kind == COUNTER) state->last = value;
    if (kind == COUNTER && is_nan(sample->parameters[DECLINE_TOLD_KIND])) { /* what falls again and again never was one */
        double falls = (double)state->falls;
        state->falls = (float)(falls - 0.01 * falls + (value < last && value >= 0.5 * last ? 1.0 : 0.0));
        if (state->falls > 4.0f) {
            begin_anew(state, UNSETTLED);
            state->slow = state->last = value;
            state->covered = 0.0f;
            return found;
        }
    }
    if (!(is_finite(amount) && amount >= 0.0)) return found;
    float hour = (float)sample->hour;
    if (hour == state->hour || is_same_day(hour, state->hour)) {
        bool same = hour == state->hour;
        if (same && amount == 0.0) return found;
        state->use = (float)((double)state->use + amount);
        state->covered = (float)((double)state->covered + !same);
        state->hour = hour;
        return found;
    }
    double use = (double)state->use, covered = (double)state->covered;
    bool known = (double)state->count >= USE_PACE.young;
    if (covered >= 8.0 && (known || use > 0.0)) {
        double total = use * 24.0 / covered, level = total > 0.0 ? log_of(total) : -INFINITY;
        found = judge_day(lane, sample, state, known ? most(level, state->slow - 2.0) : level);
    }
    state->use = (float)amount;
    state->covered = 1.0f;
    state->hour = hour;
    return found;
}

static finding_t judge_series(lane_t *lane, const sample_t *sample, decline_t *state) {
    double told = sample->parameters[DECLINE_TOLD_KIND], kind = is_nan(told) ? (double)state->kind : told;
    finding_t found = {.dismissed = kind == STATE};
    if (sample->late || found.dismissed) return found;
    if (kind <= COUNTER) return judge_use(lane, sample, state, kind);
    float hour = (float)sample->hour;
    early_t early = follow_early(lane, sample, state, is_firing(lane, sample), (double)state->count);
    if (!early.steps) {
        if (hour == state->hour) return found;
        state->hour = hour;
    }
    return judge_level(lane, sample, state, early);
}

INLINE finding_t judge(lane_t *lane, const sample_t *sample) {
    decline_t state = gather(lane, sample->slot);
    finding_t found = judge_series(lane, sample, &state);
    scatter(lane, sample, &state);
    return found;
}

typedef struct { double levels, total, seen, swing; } sums_t;

static void add_part(sums_t *sums, const decline_t *part, double ts_s) {
    sums->levels += 1.0;
    sums->total += (double)part->share;
    if (part->newest_s != ts_s) return;
    double off = fabs(part->last - part->slow - (double)part->fast) / (1.0 - LEVEL_PACE.fast);
    sums->seen += 1.0;
    sums->swing += grained(least(off / most((double)part->spread, TINY), 3.0));
}

/* Every series of the device, and among them those of this reading; where most are in regimes, those alone. */
static sums_t add_up(const lane_t *lane, const sample_t *sample) {
    sums_t all = {0}, jumping = {0};
    for (int64_t k = 0; k < lane->parts; k++) {
        int32_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0) continue;
        const means_t *means = row_of(lane, MEANS, slot);
        if (!(means->share >= 0.0f)) continue;
        decline_t part = gather(lane, slot);
        add_part(&all, &part, sample->ts_s);
        if (part.kind == (float)IN_REGIMES) add_part(&jumping, &part, sample->ts_s);
    }
    return 2.0 * jumping.levels > all.levels ? jumping : all;
}

/* As how many series move together: the swing of a reading's deviations, in what it would be of independent ones. */
static void learn_swing(decline_t *state, const sums_t *sums) {
    double learnt = (double)state->count, known = learnt == 0.0 ? 1.0 : (double)state->spread;
    if (sums->seen >= (double)FEWEST_LEVELS) {
        double excess = (sums->swing - 0.8 * sums->seen) / (0.6 * sqrt(most(sums->seen, 1.0)));
        known = known + most(1.0 / (learnt + 10.0), 1.0 / LEVEL_PACE.memory) * (excess * excess - known);
        state->count = (float)least(learnt + 1.0, 1e6);
    }
    state->spread = (float)known;
}

static finding_t judge_device(lane_t *lane, const sample_t *sample, decline_t *state) {
    finding_t found = {0};
    float hour = (float)sample->hour;
    if (sample->late) return found;
    early_t early = follow_early(lane, sample, state, sample->firing, (double)state->use);
    if (!early.steps) {
        if (hour == state->hour) return found;
        state->hour = hour;
    }
    sums_t sums = add_up(lane, sample);
    learn_swing(state, &sums);
    double together = most((double)state->spread, 1.0);
    double growth = least(most((double)state->count, LEVEL_PACE.memory), 250.0) / LEVEL_PACE.memory;
    haste_t haste = haste_of(sample, state, early, growth);
    double bar = sample->parameters[EVIDENCE] * haste.growth;
    double evidence = sums.total / together / sqrt(sums.levels / together + 6.0);
    state->fast = (float)evidence;
    bool known = sums.levels >= (double)FEWEST_LEVELS && state->count >= (float)LEVEL_PACE.young;
    found.judged = found.tells_began = true;
    found.breach = known && !haste.is_mute && evidence >= bar;
    found.calm = !(known && evidence >= 0.5 * bar);
    drift_t *drift = KEEP_ROW(drift_t, lane, DRIFT, sample->slot);
    found.began_s = least(sample->ts_s, drift->since_s);
    drift->since_s = found.calm ? NAN : found.began_s;
    found.score = evidence / (evidence + bar);
    return found;
}

static finding_t combine(lane_t *lane, const sample_t *sample) {
    decline_t state = gather(lane, sample->slot);
    finding_t found = judge_device(lane, sample, &state);
    scatter(lane, sample, &state);
    return found;
}

static const detector_t DECLINE = {
    .size = sizeof(decline_hot_t),
    .phase_at = offsetof(decline_hot_t, phase),
    .combine = combine,
    .fewest_parts = FEWEST_LEVELS,
    .brief = take_decline,
    .judge = judge,
};

EXPORT int32_t judge_decline(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_all(lane, reading, first, &DECLINE);
}
