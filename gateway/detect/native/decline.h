/* gateway/detect/decline.py: what most readings come to, and what is asked of every one. */
#ifndef DECLINE_H
#define DECLINE_H

#include "layout.h"
#include "series.h"

enum { REGIMES = EPISODE + 1, DRIFT, MEANS };
enum { IN_REGIMES = 5, FEWEST_LEVELS = 3 };
enum { DECLINE_TOLD_KIND = PARAMETERS + 5 };

INLINE bool is_same_day(float hour, float other) { return floor_of((double)hour / 24.0) == floor_of((double)other / 24.0); }

/* Use of the day of the last step, in the same hour or another. */
INLINE void add_use(decline_hot_t *state, float hour, double value) {
    bool same = hour == state->hour;
    float use = (float)((double)state->use + value);
    state->use = same && value == 0.0 ? state->use : use; /* either way, since nobody can tell beforehand which */
    state->covered = (float)((double)state->covered + (double)!same);
    state->hour = hour;
}

/* A level, and a device, steps once an hour; use is added up until the day is over. */
INLINE bool take_decline(lane_t *lane, const watch_t *watch, void *hot, const moment_t *moment) {
    decline_hot_t *state = hot;
    double value = moment->value;
    bool whole = moment->whole;
    float hour = (float)moment->reading->hour;
    double told = watch->parameters[DECLINE_TOLD_KIND], kind = is_nan(told) ? (double)state->kind : told;
    if (!whole && kind == DELTA) {
        if (!(value >= 0.0) || !(hour == state->hour || is_same_day(hour, state->hour))) return false;
        keep_hot(moment, lane, watch, state, sizeof *state);
        add_use(state, hour, value);
        return true;
    }
    if (hour != state->hour || (!whole && (kind == STATE || kind == COUNTER))) return false;
    keep_hot(moment, lane, watch, state, sizeof state->newest_s);
    return true;
}

INLINE void fetch_decline(const lane_t *lane, const watch_t *watch, const reading_t *reading, int64_t slot, const void *hot) {
    (void)watch;
    const decline_hot_t *state = hot;
    float hour = (float)reading->hour;
    if (state->hour == hour || (state->kind == DELTA && is_same_day(hour, state->hour))) return;
    ask_for_row(row_of(lane, MEANS, slot), sizeof(means_t));
    ask_for(row_of(lane, DRIFT, slot));
    if (state->kind == (float)IN_REGIMES) ask_for_row(row_of(lane, REGIMES, slot), sizeof(regimes_t));
}

#endif
