/* gateway/detect/record.py: what most values come to, and what is asked of every one. */
#ifndef RECORD_H
#define RECORD_H

#include "layout.h"
#include "series.h"

enum { RECORD_HOURLY = RECENT + 2 };
enum { RECORD_TOLD_KIND = PARAMETERS + 2 };
enum { FEATURES = 2 };

static const float WARM_UP = 180.0f;

/* Whether a feature is outside its range; not one that is not there. */
INLINE bool leaves(const record_t *state, int k, float feature) {
    return feature > state->high[k] || feature < state->low[k];
}

/* Shrink a range a little, then let in what was just seen, or a step towards it; no `floor` for what is within. */
INLINE void widen(record_t *state, int k, float feature, const float *floor, float pace, float rate) {
    float low = state->low[k], high = state->high[k], width = high - low, kept = feature;
    if (floor && width > 0.0f && state->count >= WARM_UP) {
        float step = 0.5f * pace * mostf(*floor, width);
        kept = low - step > kept ? low - step : kept; /* NaN stays NaN */
        kept = high + step < kept ? high + step : kept;
    }
    float shrink = rate * mostf(0.0f, width);
    state->low[k] = leastf(low + shrink, kept);
    state->high[k] = mostf(high - shrink, kept);
}

/* The middle one of three distances to the slow mean. */
INLINE float steady_of(const float *before, float distance) {
    return mostf(leastf(distance, before[0]), leastf(mostf(distance, before[0]), before[1]));
}

typedef struct { float of[FEATURES], distance; double hourly, slow; } features_t;

INLINE features_t features_of(const record_t *state, double slow, double hourly, double value) {
    float distance = (float)(value - slow);
    return (features_t){{(float)(value - hourly), steady_of(state->before, distance)}, distance, hourly, slow};
}

/* Take a value into what is known; without a `floor`, one within both ranges. */
INLINE void learn(record_t *state, float *cell, const features_t *seen, double value, double pace, bool amount, const float *floor) {
    float rate = mostf(0.002f, 1.0f / (state->count + 1.0f));
    state->slow = seen->slow + pace * (double)rate * (value - seen->slow);
    state->before[1] = state->before[0];
    state->before[0] = seen->distance;
    *cell = (float)(is_nan(seen->hourly) ? value : seen->hourly + pace * 0.03 * (value - seen->hourly));
    /* An amount of nothing says nothing of how large amounts are. */
    rate = 0.5f * (0.0004f + 1.0f / (state->count + 10.0f)) * (float)!(amount & (value == 0.0)); /* nobody can tell beforehand */
    for (int k = 0; k < FEATURES; k++) widen(state, k, seen->of[k], floor, (float)pace, rate);
    state->count = leastf(1e6f, state->count + 1.0f);
}

/* The spread of amounts grows with them; that of their square roots does not. */
INLINE double root_of(double value) {
    return copysign(sqrt(fabs(value)), value); /* a zero's sign makes no difference to anything */
}

/* A value within both ranges, or of a series that is young, whose kind is known. */
INLINE bool take_record(lane_t *lane, const watch_t *watch, void *hot, const moment_t *moment) {
    record_t *state = hot;
    const reading_t *reading = moment->reading;
    double value = moment->value;
    int64_t slot = moment->slot;
    bool amount = state->kind == DELTA;
    if (!(amount | (state->kind == LEVEL)) || !is_nan(watch->parameters[RECORD_TOLD_KIND]) || lane->scores) return false;
    if (state->phase != IDLE || state->count == 0.0f) return false;
    double used = amount ? root_of(value) : value;
    int64_t hour_at = slot * lane->groups[RECORD_HOURLY].width + reading->hour_of_day * (int64_t)sizeof(float);
    float *cell = (float *)(lane->groups[RECORD_HOURLY].slots + hour_at);
    features_t seen = features_of(state, state->slow, (double)*cell, used);
    if (state->count >= WARM_UP && (leaves(state, 0, seen.of[0]) || leaves(state, 1, seen.of[1]))) return false;
    int64_t recent_at = place_to_remember(lane, slot, state->recent);
    uint8_t *place = lane->groups[RECENT].slots + recent_at;
    keep_hot(moment, lane, watch, state, sizeof *state);
    write_down(moment->end, lane, RECENT, place, recent_at, sizeof(uint64_t));
    write_down(moment->end, lane, RECORD_HOURLY, cell, hour_at, sizeof *cell);
    remember_at(place, reading->ts_s, value);
    state->recent = next_place(state->recent, lane->evidence_points);
    state->unrest = state->unrest * 0.999f;
    state->bar = state->bar * 0.985f;
    learn(state, cell, &seen, used, 1.0, amount, NULL);
    return true;
}

INLINE void fetch_record(const lane_t *lane, const watch_t *watch, const reading_t *reading, int64_t slot, const void *hot) {
    const record_t *state = hot;
    ask_for((float *)row_of(lane, RECORD_HOURLY, slot) + reading->hour_of_day);
    ask_for((uint64_t *)row_of(lane, RECENT, slot) + place_of(state->recent, lane->evidence_points));
}

#endif
