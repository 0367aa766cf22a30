/* gateway/detect/stuck.py */
#include "company.h"
#include "layout.h"
#include "series.h"
#include "stuck.h"

enum { UNLIKELY = PARAMETERS, TIMES, LASTING_S };

static const double LOG2_REST = -0.014499569695115089;

/* How long is long enough, where nobody said. */
INLINE double lasting_of(double told_s) { return is_nan(told_s) ? 9.0 * HOUR_S : told_s; }

/* How many repetitions are too many. */
static double bar_of(const still_t *still, double repeats, bool rests, const double *p) {
    double per_repetition = -log_of(most(least(repeats, 0.99), 0.01)), chance = most(p[UNLIKELY] / per_repetition, p[TIMES]);
    return rests ? most(10.0 * chance, 2.0 * (double)still->rests) : most(chance, 1.5 * (double)still->record);
}

/* When the run began. What has ended becomes the record, and its value may be the one at which the series rests. */
static double follow(const stuck_t *state, still_t *still, double ts_s, double run, double value, bool rests, double bar) {
    double began_s = least(ts_s, still->since_s), rested = (double)still->rested;
    bool runs = state->run > 0.0f;
    if (!runs && run >= 1.0) {
        rested = (float)value == still->rest ? least(rested + run, 500.0) : rested - run;
        float *record = rests ? &still->rests : &still->record;
        if (run >= 2.0) *record = (float)most(0.97 * (double)*record, least(1.5 * bar, run));
        if (rested < 0.0) {
            still->rest = (float)value;
            still->rests = 0.0f;
        }
        still->rested = (float)(rested < 0.0 ? -rested : rested);
    }
    still->since_s = runs ? began_s : NAN;
    return began_s;
}

/* Whether other metrics of the device are mostly at zero, and not all the rest of them is stuck as well. */
static bool others_rest(const lane_t *lane, const sample_t *sample, double length) {
    int64_t idle = 0, change = 0, stand = 0;
    for (int64_t k = 0; k < lane->parts; k++) {
        int64_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0 || slot == sample->slot) continue;
        const stuck_t *other = row_of(lane, HOT, slot);
        if (!(other->newest_s >= sample->ts_s - 3.0 * HOUR_S)) continue;
        bool zero = other->last == 0.0, runs = (double)other->run >= 0.5 * length;
        idle += zero;
        stand += !zero && runs;
        change += !zero && !runs;
    }
    return idle && idle >= change && (change || !stand);
}

INLINE finding_t judge(lane_t *lane, const sample_t *sample) {
    stuck_t *state = sample->state;
    const double *p = sample->parameters;
    double value = sample->value, last = state->last, run = (double)state->run;
    finding_t found = {.dismissed = p[STUCK_TOLD_KIND] == COUNTER || p[STUCK_TOLD_KIND] == STATE};
    if (sample->late) return found;
    state->last = value;
    if ((value == 0.0 && last == 0.0) || is_nan(last) || found.dismissed) return found;
    bool same = value == last && value != 0.0;
    double falls = (double)state->falls, repeats = (double)state->repeats;
    falls = falls + STUCK_RATE * ((double)(value < last) - falls);
    state->falls = (float)falls;
    state->run = same ? (float)(run + 1.0) : 0.0f;
    found.judged = found.tells_began = true;
    found.calm = !same;
    found.began_s = sample->ts_s;
    bool rests = false;
    if (same || run > 0.0) {
        still_t *still = KEEP_ROW(still_t, lane, STILL, sample->slot);
        rests = is_rest(still, last);
        double bar = bar_of(still, repeats, rests, p), length = (double)state->run;
        found.began_s = follow(state, still, sample->ts_s, run, last, rests, bar);
        bool lasts = sample->ts_s - found.began_s >= lasting_of(p[LASTING_S]);
        lasts |= is_nan(p[LASTING_S]) && length >= 60.0 && length >= 3.0 * bar;
        found.breach = length >= bar && lasts && !(repeats > 0.6 || falls < 0.05);
        if (found.breach && state->phase < ACTIVE) found.breach = !others_rest(lane, sample, length);
        found.score = length / (length + bar);
    }
    if (same) return found;
    /* A run counts once it is over: while it lasts, it must not become what is usual. */
    repeats = 1.0 - (1.0 - repeats) * (run > 0.0 && !rests ? exp2_of(run * LOG2_REST) : 1.0);
    state->repeats = (float)(repeats + STUCK_RATE * (0.0 - repeats));
    return found;
}

static finding_t combine(lane_t *lane, const sample_t *sample) {
    return judge_company(lane, sample, sample->parameters[UNLIKELY], lasting_of(sample->parameters[LASTING_S]));
}

static const detector_t STUCK = {
    .size = sizeof(stuck_t),
    .phase_at = offsetof(stuck_t, phase),
    .combine = combine,
    .fewest_parts = FEWEST_SERIES,
    .brief = take_stuck,
    .judge = judge,
};

EXPORT int32_t judge_stuck(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_all(lane, reading, first, &STUCK);
}
