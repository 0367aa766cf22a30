/* gateway/detect/usage_surge.py: what most readings come to, and what is asked of every one. */
#ifndef USAGE_SURGE_H
#define USAGE_SURGE_H

#include "kinds.h"
#include "layout.h"
#include "series.h"

enum { SURGE = EPISODE + 1 };
enum { SURGE_TOLD_KIND = PARAMETERS + 4 };

static const float DRAIN = 5.0f;

/* Use that a sample stands for, if any; NaN for a drain that nobody knows. */
INLINE bool use_of(float kind, double value, bool late, double last, double *use) {
    if (kind == DRAIN) {
        *use = value <= last && last > 0.0 ? last - value : NAN;
        return !late && is_finite(last);
    }
    bool counts_up = kind == COUNTER;
    *use = counts_up ? difference(value, last) : value;
    return kind <= COUNTER && *use >= 0.0 && !(counts_up && late);
}

/* Use in the hour that is being added up. */
INLINE bool take_usage_surge(lane_t *lane, const watch_t *watch, void *hot, const moment_t *moment) {
    using_t *state = hot;
    double value = moment->value, told = watch->parameters[SURGE_TOLD_KIND], use;
    if ((float)moment->reading->hour != state->hour || !is_nan(told)) return false;
    if (!use_of(state->kind, value, false, state->last, &use)) return false;
    keep_hot(moment, lane, watch, state, sizeof *state);
    state->last = value;
    state->use = (float)((double)state->use + use);
    return true;
}

INLINE void fetch_usage_surge(const lane_t *lane, const watch_t *watch, const reading_t *reading, int64_t slot, const void *hot) {
    const using_t *state = hot;
    if ((float)reading->hour == state->hour) return;
    ask_for_row(row_of(lane, SURGE, slot), sizeof(surge_t));
}

#endif
