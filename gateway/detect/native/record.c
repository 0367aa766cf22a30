/* gateway/detect/record.py */
#include "kinds.h"
#include "record.h"

enum { KIND = RECENT + 1, RECORD_GROUP = RECORD_HOURLY + 1 };
enum { SCORE = PARAMETERS, WARM_UP_S };

static const float WEIGHTS[FEATURES] = {1.5f, 0.95f};

/* A series that turns out to be of amounts starts anew, on their square roots. */
static void start_anew(lane_t *lane, record_t *state, const sample_t *sample) {
    state->count = state->bar = state->unrest = 0.0f;
    state->before[0] = state->before[1] = NAN;
    for (int k = 0; k < FEATURES; k++) {
        state->low[k] = INFINITY;
        state->high[k] = -INFINITY;
    }
    hourly_t *hours = KEEP_ROW(hourly_t, lane, RECORD_HOURLY, sample->slot);
    for (int k = 0; k < 24; k++) hours->hourly[k] = NAN;
}

/* Keep what a record is explained with: the feature, and the values that would have been in its range. */
static void note(lane_t *lane, const sample_t *sample, const record_t *state, const float *ratio, const double *bases,
                 double value) {
    record_told_t *told = KEEP_ROW(record_told_t, lane, RECORD_GROUP, sample->slot);
    int feature = 0;
    for (int k = 1; k < FEATURES; k++)
        if (ratio[k] > ratio[feature]) feature = k;
    told->feature = (float)feature;
    told->expected_low = (float)(bases[feature] + (double)state->low[feature]);
    told->expected_high = (float)(bases[feature] + (double)state->high[feature]);
    told->observed = (float)value;
}

/* How far beyond its range a feature is, in weighted widths; 0 within it, and while it is young. */
INLINE float exceeded_by(const record_t *state, int k, float feature, float floor) {
    float low = state->low[k], high = state->high[k], width = high - low;
    float excess = mostf(0.0f, mostf(feature - high, low - feature)); /* 0 for a feature that is not there */
    if (!(width > 0.0f)) excess = 0.0f;
    return excess / mostf(1e-30f, mostf(floor, width)) * WEIGHTS[k];
}

typedef struct { float raw, excess; bool news; double score; } record_seen_t;

/* What a sample outside of a range comes to. */
static record_seen_t measure(lane_t *lane, const sample_t *sample, const record_t *state, const float *features,
                             float floor, const double *bases, double value) {
    float ratio[FEATURES], largest = 0.0f;
    for (int k = 0; k < FEATURES; k++) {
        ratio[k] = exceeded_by(state, k, features[k], floor);
        largest = mostf(largest, ratio[k]);
    }
    record_seen_t seen = {.raw = leastf(1e6f, largest)};
    seen.excess = seen.raw / (1.0f + state->unrest);
    seen.news = seen.excess > 1.8f * state->bar;
    seen.score = seen.news ? (double)seen.excess / ((double)seen.excess + 0.3) : 0.0;
    if (seen.score >= 0.5) note(lane, sample, state, ratio, bases, value);
    return seen;
}

/* A series' first sample. */
static void begin(lane_t *lane, const sample_t *sample) {
    KEEP_ROW(record_told_t, lane, RECORD_GROUP, sample->slot)->start_s = sample->ts_s;
}

/* One step of both features: the score, and whether the value was within both ranges. */
INLINE double score_of(lane_t *lane, const sample_t *sample, record_t *state, double value, double pace, bool amount, bool *inside) {
    bool first = state->count == 0.0f;
    double slow = first ? value : state->slow;
    if (first) begin(lane, sample);
    float *cell = keep_cell(lane, RECORD_HOURLY, sample->slot, sample->hour_of_day);
    features_t seen_by = features_of(state, slow, (double)*cell, value);
    const float *features = seen_by.of;
    float floor = (float)(0.02 * fabs(slow)), unrest = state->unrest * 0.999f, bar = state->bar * 0.985f;
    /* Of what is used seldom, three uses on end are no wonder: their median counts by how far single ones go. */
    if (amount) floor = mostf(floor, 0.25f * (state->high[0] - state->low[0]));
    double score = 0.0;
    *inside = !(state->count >= WARM_UP && (leaves(state, 0, features[0]) || leaves(state, 1, features[1])));
    if (!*inside) {
        double bases[FEATURES] = {seen_by.hourly, slow};
        record_seen_t seen = measure(lane, sample, state, features, floor, bases, value);
        *inside = seen.raw == 0.0f;
        score = seen.score;
        unrest = unrest + (seen.raw > 0.1f ? (float)pace * 0.5f * leastf(seen.raw, 1.0f) : 0.0f);
        bar = seen.news ? seen.excess : bar;
    }
    state->unrest = unrest;
    state->bar = bar;
    learn(state, cell, &seen_by, value, pace, amount, &floor);
    return score;
}

INLINE finding_t judge(lane_t *lane, const sample_t *sample) {
    record_t *state = sample->state;
    const double *p = sample->parameters;
    float before = state->kind;
    const record_told_t *told = row_of(lane, RECORD_GROUP, sample->slot);
    double kind = before, value = sample->value;
    if (before == UNSETTLED || !is_nan(p[RECORD_TOLD_KIND])) kind = learn_kind(lane, KIND, sample, &state->kind, told->last, p[RECORD_TOLD_KIND]);
    if (before == UNSETTLED && state->kind <= COUNTER) start_anew(lane, state, sample);
    if (kind == COUNTER) value = difference(value, told->last);
    if ((kind == COUNTER || before == UNSETTLED) && !sample->late)
        KEEP_ROW(record_told_t, lane, RECORD_GROUP, sample->slot)->last = sample->value;
    value = kind <= COUNTER ? root_of(value) : value;
    finding_t found = {.judged = is_finite(value) && !sample->late, .dismissed = kind == STATE};
    if (!found.judged) return found;
    bool inside;
    bool amount = kind <= COUNTER;
    found.score = score_of(lane, sample, state, value, sample->firing ? 0.0005 : 1.0, amount, &inside);
    if (kind != STATE && !(amount && value == 0.0) && found.score >= p[SCORE] && found.score > 0.0) {
        found.breach = sample->ts_s - told->start_s >= p[WARM_UP_S];
    }
    found.calm = inside && !found.breach;
    return found;
}

static const detector_t RECORD = {
    .size = sizeof(record_t),
    .phase_at = offsetof(record_t, phase),
    .recent_at = offsetof(record_t, recent),
    .remembers = true,
    .brief = take_record,
    .judge = judge,
};

EXPORT int32_t judge_record(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_all(lane, reading, first, &RECORD);
}
