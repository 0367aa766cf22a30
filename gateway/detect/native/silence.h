/* gateway/detect/silence.py: what most signs of life come to. */
#ifndef SILENCE_H
#define SILENCE_H

#include "layout.h"
#include "series.h"

static const double STEP_S = 3600.0;
static const double STEP = 1.0 / 256.0;
static const double SMALL = 0.999;

/* Move the deadline by a sign of life of which nothing new is to be learnt; false if it is to be reckoned anew. */
INLINE bool move_on(silence_t *state, double alive_s) {
    double gap_s = alive_s - state->heard_s, lately_s = (double)state->since_s + gap_s;
    double step_s = STEP * (state->heard_s - state->first_s);
    bool in_time = gap_s >= 0.0 && alive_s <= state->deadline_s && state->queued_s < INFINITY;
    if (!(in_time && gap_s < SMALL * state->largest_s && lately_s <= STEP_S && lately_s <= step_s)) return false;
    state->since_s = (float)lately_s;
    state->gaps = state->gaps + (double)(gap_s > 0.0);
    state->heard_s = alive_s;
    state->deadline_s = state->deadline_s + gap_s;
    return true;
}

/* A sign of life in time, of which nothing new is to be learnt. */
INLINE bool take_silence(lane_t *lane, const watch_t *watch, const reading_t *reading) {
    int64_t slot = reading->slots[watch->column], offset = slot * watch->width;
    if (slot < 0) return true;
    silence_t *state = (silence_t *)(watch->hot + offset), next = *state;
    if (next.phase >= ACTIVE || !move_on(&next, reading->alive_s)) return false;
    next.newest_s = most(next.newest_s, reading->ts_s);
    keep_hot(lane, state, offset, sizeof *state);
    *state = next;
    return true;
}

#endif
