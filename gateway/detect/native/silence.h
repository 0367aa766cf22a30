/* gateway/detect/silence.py: what most signs of life come to. */
#ifndef SILENCE_H
#define SILENCE_H

#include "layout.h"
#include "series.h"

static const double STEP_S = 3600.0;
static const double STEP = 1.0 / 256.0;
static const double SMALL = 0.999;

/* Whether nothing new is to be learnt of a sign of life; else its deadline is to be reckoned anew. */
INLINE bool moves_on(const silence_t *state, double alive_s) {
    double gap_s = alive_s - state->heard_s, lately_s = (double)state->since_s + gap_s;
    double step_s = STEP * (state->heard_s - state->first_s);
    bool in_time = gap_s >= 0.0 && alive_s <= state->deadline_s && state->queued_s < INFINITY;
    return in_time && gap_s < SMALL * state->largest_s && lately_s <= STEP_S && lately_s <= step_s;
}

/* Move the deadline by such a sign. */
INLINE void move_on(silence_t *state, double alive_s) {
    double gap_s = alive_s - state->heard_s;
    state->since_s = (float)((double)state->since_s + gap_s);
    state->gaps = state->gaps + (double)(gap_s > 0.0);
    state->heard_s = alive_s;
    state->deadline_s = state->deadline_s + gap_s;
}

/* A sign of life in time, of which nothing new is to be learnt. */
INLINE bool take_silence(lane_t *lane, const watch_t *watch, const reading_t *reading, uint8_t **end) {
    int64_t slot = reading->slots[watch->column], offset = slot * watch->width;
    if (slot < 0) return true;
    silence_t *state = (silence_t *)(watch->hot + offset);
    if (state->phase >= ACTIVE || !moves_on(state, reading->alive_s)) return false;
    write_down(end, lane, HOT, state, offset, sizeof *state);
    move_on(state, reading->alive_s);
    state->newest_s = most(state->newest_s, reading->ts_s);
    return true;
}

#endif
