/* gateway/detect/decline.py */
#include "layout.h"
#include "series.h"

enum { DRIFT = EPISODE + 1 };
enum { EVIDENCE = PARAMETERS, SHIFT, TOLD_KIND };

static const double YOUNG = 40.0;
static const double MEMORY = 100.0;
static const double FAST = 0.08;
static const double OUTLIER = 4.0;
static const double TINY = 1e-300;
static const double GRAIN = 256.0;
static const double FEWEST = 3.0;

static void fetch_hot(lane_t *lane, int64_t slot, double ts_s) {
    (void)ts_s;
    char *hot = row_of(lane, HOT, slot);
    ask_for(hot);
    ask_for(hot + sizeof(decline_t) - 1);
}

static void fetch_nothing(lane_t *lane, int64_t slot, double ts_s) {
    (void)lane;
    (void)slot;
    (void)ts_s;
}

INLINE double clip(double x, double most) { return x < -most ? -most : x > most ? most : x; }
INLINE double grained(double x) { return floor_of(x * GRAIN) / GRAIN; }

/* What a series adds to its device's evidence. */
static float share_of(const decline_t *state) {
    double count = (double)state->count, spread = (double)state->spread, jitter = (double)state->jitter;
    double falls = (double)state->falls, zeros = (double)state->zeros;
    if (!(falls >= 0.15 * count && falls <= (1.0 - 0.15) * count && zeros < 0.05 * count)) return -1.0f;
    double alike = 1.0 - (jitter * jitter) / most(spread * spread, TINY);
    alike = least(most(alike - 0.1, 0.0) / (1.0 - 0.1), 0.998);
    double wider = (1.0 + alike) / (1.0 - alike);
    if (!(count >= YOUNG * wider && spread > 0.0)) return -1.0f;
    double error = spread * sqrt(wider * (FAST / (2.0 - FAST) + 1.0 / least(count, MEMORY)));
    double far = fabs((double)state->fast) / most(error, TINY);
    return (float)grained(least(most(far - 1.0, 0.0), 3.0));
}

/* Move the means and the spread by one value, and see how far apart the means are. */
static void step_level(decline_t *state, const sample_t *sample) {
    double value = sample->value, count = (double)state->count;
    bool new = count == 0.0;
    double slow = new ? value : state->slow, last = new ? value : state->last;
    double before = new ? value : slow + (double)state->fast;
    double spread = (double)state->spread, jitter = (double)state->jitter;
    state->falls += value < last;
    state->zeros = value < 0.0 ? -INFINITY : state->zeros + (float)(value == 0.0);
    double largest = count >= YOUNG ? OUTLIER * spread : INFINITY;
    double off = clip(value - before, largest), leap = clip(value - last, 1.5 * largest);
    double pace = sample->firing ? 0.05 : state->share >= 1.0f ? 0.4 : 1.0;
    double rate = most(1.0 / (count + 1.0), 1.0 / MEMORY) * pace;
    pace = sample->firing ? 0.05 : state->share >= 1.0f ? 0.1 : 1.0;
    double rest = most(1.0 / most(count, 1.0), 1.0 / MEMORY) * pace;
    double away = clip(value - slow, largest);
    spread = sqrt(spread * spread + rest * (away * away - spread * spread));
    jitter = sqrt(jitter * jitter + rest * (0.5 * (leap * leap) - jitter * jitter));
    double present = before + most(1.0 / (count + 1.0), FAST) * off;
    slow = slow + rate * (before + off - slow);
    state->fast = (float)(present - slow);
    state->slow = slow;
    state->last = value;
    state->spread = (float)spread;
    state->jitter = (float)jitter;
    state->count = (float)least(count + 1.0, 1e6);
    state->share = share_of(state);
}

typedef struct { double began_s; bool is_new; } drifting_t;

/* When the drift began, and whether it has come further than any before. What has ended becomes the record. */
static drifting_t follow(const decline_t *state, drift_t *drift, double ts_s, double bar) {
    double far = fabs((double)state->fast), record = (double)drift->record, peak = (double)drift->peak;
    bool drifts = state->share > 0.0f;
    drifting_t found = {least(ts_s, drift->since_s), far > 1.3 * record};
    if (!drifts) drift->record = (float)most(0.97 * record, least(1.5 * bar, peak));
    drift->peak = drifts ? (float)most(peak, far) : 0.0f;
    drift->since_s = drifts ? found.began_s : NAN;
    return found;
}

static finding_t judge(lane_t *lane, const sample_t *sample) {
    decline_t *state = row_of(lane, HOT, sample->slot);
    finding_t found = {0};
    float hour = (float)hour_of(lane, sample->ts_s);
    if (sample->late || hour == state->hour) return found;
    state->hour = hour;
    bool drifted = state->share > 0.0f;
    step_level(state, sample);
    double far = fabs((double)state->fast) / most((double)state->spread, TINY);
    double shift = sample->parameters[SHIFT];
    bool known = state->share >= 0.0f && state->count >= 300.0f;
    found.judged = found.tells_began = true;
    found.breach = known && far >= shift && state->share >= 3.0f;
    found.calm = !known || far < 0.5 * shift;
    found.score = known ? far / (far + shift) : 0.0;
    found.began_s = sample->ts_s;
    if (!drifted && !(state->share > 0.0f)) return found;
    drift_t *drift = KEEP_ROW(drift_t, lane, DRIFT, sample->slot);
    drifting_t drifting = follow(state, drift, sample->ts_s, shift * (double)state->spread);
    found.began_s = drifting.began_s;
    found.breach = found.breach && drifting.is_new;
    return found;
}

typedef struct { double levels, total, seen, swing; } sums_t;

/* Every series of the device, and among them those of this reading. */
static sums_t add_up(const lane_t *lane, const sample_t *sample) {
    sums_t sums = {0};
    for (int64_t k = 0; k < lane->parts; k++) {
        int32_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0) continue;
        const decline_t *part = row_of(lane, HOT, slot);
        if (!(part->share >= 0.0f)) continue;
        sums.levels += 1.0;
        sums.total += (double)part->share;
        if (part->newest_s != sample->ts_s) continue;
        double off = fabs(part->last - part->slow - (double)part->fast) / (1.0 - FAST);
        sums.seen += 1.0;
        sums.swing += grained(least(off / most((double)part->spread, TINY), 3.0));
    }
    return sums;
}

/* As how many series move together: the swing of a reading's deviations, in what it would be of independent ones. */
static void learn_swing(decline_t *state, const sums_t *sums) {
    double learnt = (double)state->count, known = learnt == 0.0 ? 1.0 : (double)state->spread;
    if (sums->seen >= FEWEST) {
        double excess = (sums->swing - 0.8 * sums->seen) / (0.6 * sqrt(most(sums->seen, 1.0)));
        known = known + most(1.0 / (learnt + 10.0), 1.0 / MEMORY) * (excess * excess - known);
        state->count = (float)least(learnt + 1.0, 1e6);
    }
    state->spread = (float)known;
}

static finding_t combine(lane_t *lane, const sample_t *sample) {
    decline_t *state = row_of(lane, HOT, sample->slot);
    finding_t found = {0};
    float hour = (float)hour_of(lane, sample->ts_s);
    if (sample->late || hour == state->hour) return found;
    state->hour = hour;
    sums_t sums = add_up(lane, sample);
    learn_swing(state, &sums);
    double together = most((double)state->spread, 1.0);
    double bar = sample->parameters[EVIDENCE] * sqrt(least(most((double)state->count, MEMORY), 400.0) / MEMORY);
    double evidence = sums.total / together / sqrt(sums.levels / together + 6.0);
    state->fast = (float)evidence;
    bool known = sums.levels >= FEWEST && state->count >= (float)YOUNG;
    found.judged = found.tells_began = true;
    found.breach = known && evidence >= bar;
    found.calm = !(known && evidence >= 0.5 * bar);
    drift_t *drift = KEEP_ROW(drift_t, lane, DRIFT, sample->slot);
    found.began_s = least(sample->ts_s, drift->since_s);
    drift->since_s = found.calm ? NAN : found.began_s;
    found.score = evidence / (evidence + bar);
    return found;
}

EXPORT int32_t judge_decline(lane_t *lane) {
    static const detector_t DECLINE = {
        sizeof(decline_t), offsetof(decline_t, phase), 0, 0, fetch_hot, fetch_nothing, judge, combine,
    };
    return judge_all(lane, &DECLINE);
}
