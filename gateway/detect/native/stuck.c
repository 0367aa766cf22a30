/* gateway/detect/stuck.py */
#include "layout.h"
#include "series.h"

enum { STILL = EPISODE + 1 };
enum { UNLIKELY = PARAMETERS, TIMES, LASTING_S, TOLD_KIND };

static const double RATE = 0.01;
static const double LOG2_REST = -0.014499569695115089;

/* How many repetitions are too many. */
static double bar_of(const still_t *still, double repeats, const double *p) {
    double per_repetition = -log_of(most(least(repeats, 0.99), 0.01));
    return most(most(p[UNLIKELY] / per_repetition, p[TIMES]), 1.5 * (double)still->record);
}

/* When the run began. What has ended becomes the record. */
static double follow(const stuck_t *state, still_t *still, double ts_s, double run, double value, double bar) {
    double began_s = least(ts_s, still->since_s), record = (double)still->record;
    bool runs = state->run > 0.0f;
    if (!runs && run >= 2.0) {
        if (run >= 0.5 * record) still->rest = value;
        still->record = (float)most(0.97 * record, least(1.5 * bar, run));
    }
    still->since_s = runs ? began_s : NAN;
    return began_s;
}

INLINE finding_t judge(lane_t *lane, const sample_t *sample) {
    stuck_t *state = sample->state;
    const double *p = sample->parameters;
    double value = sample->value, last = state->last, run = (double)state->run;
    finding_t found = {.dismissed = p[TOLD_KIND] == COUNTER || p[TOLD_KIND] == STATE};
    if (sample->late) return found;
    state->last = value;
    if ((value == 0.0 && last == 0.0) || is_nan(last) || found.dismissed) return found;
    bool same = value == last && value != 0.0;
    double falls = (double)state->falls, repeats = (double)state->repeats;
    falls = falls + RATE * ((double)(value < last) - falls);
    state->falls = (float)falls;
    state->run = same ? (float)(run + 1.0) : 0.0f;
    found.judged = found.tells_began = true;
    found.calm = !same;
    found.began_s = sample->ts_s;
    if (same || run > 0.0) {
        still_t *still = KEEP_ROW(still_t, lane, STILL, sample->slot);
        double bar = bar_of(still, repeats, p), length = (double)state->run;
        if (last == still->rest) bar = 4.0 * bar;
        found.began_s = follow(state, still, sample->ts_s, run, last, bar);
        bool lasts = sample->ts_s - found.began_s >= p[LASTING_S];
        found.breach = length >= bar && lasts && !(repeats > 0.6 || falls < 0.05);
        found.score = length / (length + bar);
    }
    if (same) return found;
    /* A run counts once it is over: while it lasts, it must not become what is usual. */
    repeats = 1.0 - (1.0 - repeats) * (run > 0.0 ? exp2_of(run * LOG2_REST) : 1.0);
    state->repeats = (float)(repeats + RATE * (0.0 - repeats));
    return found;
}

/* A value that differs from the last one, which had not been repeated either. */
INLINE bool brief(lane_t *lane, const watch_t *watch, void *hot, int64_t offset, const reading_t *reading, double value) {
    (void)reading;
    stuck_t *state = hot;
    double told = watch->parameters[TOLD_KIND], last = state->last, falls = (double)state->falls;
    bool differs = value < last || value > last, zeros = value == 0.0 && last == 0.0;
    if (!(differs || zeros) || state->run != 0.0f || state->phase != IDLE || told == COUNTER || told == STATE) return false;
    keep_part(lane, HOT, offset, sizeof *state);
    state->last = value;
    if (zeros) return true;
    double repeats = 1.0 - (1.0 - (double)state->repeats) * 1.0;
    state->falls = (float)(falls + RATE * ((double)(value < last) - falls));
    state->repeats = (float)(repeats + RATE * (0.0 - repeats));
    return true;
}

static const detector_t STUCK = {
    .size = sizeof(stuck_t),
    .phase_at = offsetof(stuck_t, phase),
    .brief = brief,
    .judge = judge,
};

static NEVER_INLINE int32_t judge_slowly(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_all(lane, reading, first, &STUCK);
}

EXPORT FOR_EACH_PROCESSOR int32_t judge_stuck(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_briefly(lane, reading, first, &STUCK, judge_slowly);
}
