/* gateway/detect/kinds.py: what sort of number a metric is, learnt from its values. */
#ifndef KINDS_H
#define KINDS_H

#include "layout.h"
#include "series.h"

INLINE float settle(learnt_t *state, double ts_s, double value, double last) {
    state->first_s = least(ts_s, state->first_s);
    float fresh = (float)value, old = (float)last, seen = state->seen + 1.0f;
    state->seen = seen;
    state->rises += fresh > old;
    state->falls += fresh < old;
    state->zeros += fresh == 0.0f;
    state->between += fresh > state->smallest && fresh < state->largest;
    state->smallest = leastf(state->smallest, fresh);
    state->largest = mostf(state->largest, fresh);
    double age_s = ts_s - state->first_s;
    bool varies = state->largest > state->smallest;
    bool ripe = seen >= 24.0f && age_s >= 86400.0 && varies && state->smallest >= 0.0f;
    if (ripe && state->falls <= 0.02f * seen && 10.0f * state->falls <= state->rises && state->rises >= 5.0f) return COUNTER;
    if (ripe && state->zeros >= 0.05f * seen && state->between > 0.0f) return DELTA;
    if (!(seen >= 48.0f && age_s >= 7.0 * 86400.0 && varies)) return UNSETTLED;
    return state->between <= 0.01f * seen ? STATE : LEVEL;
}

/* The kind as `told` by a profile, else as the values so far show; kept in `kind` once settled. */
INLINE double learn_kind(lane_t *lane, int group, const sample_t *sample, float *kind, double last, double told) {
    if (!is_nan(told)) return told;
    if (*kind == UNSETTLED) {
        learnt_t *tallies = KEEP_ROW(learnt_t, lane, group, sample->slot);
        *kind = settle(tallies, sample->ts_s, sample->value, last);
        /* Once they have told the kind they are of no use, and take no memory. */
        if (*kind != UNSETTLED) memcpy(tallies, lane->groups[group].initial, sizeof *tallies);
    }
    return *kind;
}

/* What a counter rose by since its last value; NaN for its first. */
INLINE double difference(double value, double last) {
    double rise = value - last;
    if (rise >= 0.0) return rise;
    return is_nan(last) ? NAN : value < 0.5 * last ? value : 0.0;
}

#endif
