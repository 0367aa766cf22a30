/* gateway/detect/stuck.py: what most readings come to. */
#ifndef STUCK_H
#define STUCK_H

#include "layout.h"
#include "series.h"

enum { STUCK_TOLD_KIND = PARAMETERS + 3 };
enum { FEWEST_SERIES = 3 };

static const double STUCK_RATE = 0.01;

/* A value that differs from the last one, which had not been repeated either. */
INLINE bool take_stuck(lane_t *lane, const watch_t *watch, void *hot, const moment_t *moment) {
    stuck_t *state = hot;
    if (moment->whole) { /* a device is judged once an hour */
        if (moment->reading->hour != floor_of(state->last / HOUR_S)) return false;
        keep_hot(moment, lane, watch, state, sizeof state->newest_s);
        return true;
    }
    double value = moment->value, told = watch->parameters[STUCK_TOLD_KIND], last = state->last, falls = (double)state->falls;
    bool differs = value < last || value > last, zeros = value == 0.0 && last == 0.0;
    if (!(differs || zeros) || state->run != 0.0f || state->phase != IDLE || told == COUNTER || told == STATE) return false;
    keep_hot(moment, lane, watch, state, sizeof *state);
    state->last = value;
    double repeats = 1.0 - (1.0 - (double)state->repeats) * 1.0;
    float fallen = (float)(falls + STUCK_RATE * ((double)(value < last) - falls));
    float repeated = (float)(repeats + STUCK_RATE * (0.0 - repeats));
    state->falls = zeros ? state->falls : fallen; /* either way, since nobody can tell beforehand which */
    state->repeats = zeros ? state->repeats : repeated;
    return true;
}

#endif
