/* gateway/detect/usage_drop.py: what most readings come to, and what is asked of every one. */
#ifndef USAGE_DROP_H
#define USAGE_DROP_H

#include "kinds.h"
#include "layout.h"
#include "series.h"

enum { KIND = EPISODE + 1, USUAL, WEEKDAY, DAILY, HABIT, RUN, CHANCES, LULL };
enum { DROP_TOLD_KIND = PARAMETERS + 7 };

/* Use in the hour that is being added up. */
INLINE bool take_usage_drop(lane_t *lane, const watch_t *watch, void *hot, const moment_t *moment) {
    usage_t *state = hot;
    double value = moment->value;
    if ((float)moment->reading->hour != state->hour) return false;
    double told = watch->parameters[DROP_TOLD_KIND], kind = is_nan(told) ? (double)state->kind : told;
    double amount = kind == COUNTER ? difference(value, state->last) : value;
    if (!(kind <= COUNTER && amount >= 0.0)) return false;
    keep_hot(moment, lane, watch, state, sizeof *state);
    state->last = value;
    state->use = (float)((double)state->use + amount);
    return true;
}

INLINE void fetch_usage_drop(const lane_t *lane, const watch_t *watch, const reading_t *reading, int64_t slot, const void *hot) {
    const usage_t *state = hot;
    if ((float)reading->hour == state->hour) return;
    ask_for_row(row_of(lane, HABIT, slot), sizeof(habit_t));
    ask_for_row(row_of(lane, RUN, slot), sizeof(run_t));
    ask_for((float *)row_of(lane, USUAL, slot) + place_in((double)state->hour, 24));
    ask_for_row(row_of(lane, CHANCES, slot), sizeof(chances_t));
    ask_for_row(row_of(lane, LULL, slot), sizeof(lull_t));
}

#endif
