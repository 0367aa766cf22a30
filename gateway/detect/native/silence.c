/* gateway/detect/silence.py and listening.py: signs of life, and the deadlines that they set. */
#include "silence.h"

enum { AFTER_S = PARAMETERS, FACTOR, SHORTEST_S, WARM_UP_S, GRACE_S, TYPICAL, LONGEST_S };

static const double MEMORY_S = 60.0 * 86400.0;
static const double CAUTION_S = 3.0 * 86400.0;
static const double TICK_S = 8.0;

/* Learn from the gap that this sign of life ends, and set the next deadline. */
static void hear(silence_t *state, const double *p, double alive_s) {
    double gap_s = alive_s - state->heard_s, lesson_s = gap_s;
    state->first_s = least(alive_s, state->first_s);
    if (gap_s > 0.0) { /* what arrives together is one sign of life */
        if (alive_s > state->deadline_s) {
            double longest_s = 1.5 * (state->deadline_s - state->heard_s);
            lesson_s = least(longest_s, gap_s);
        }
        double lately_s = (double)state->since_s + gap_s;
        state->largest_s = most(state->largest_s * exp2_of(-lately_s / MEMORY_S), lesson_s);
        state->gaps = state->gaps + 1.0;
        state->since_s = 0.0f;
    }
    state->heard_s = most(alive_s, state->heard_s);
    double listened_s = most(state->heard_s - state->first_s, 1.0);
    double learnt_s = state->largest_s * p[FACTOR] * (1.0 + CAUTION_S / listened_s);
    learnt_s = most(listened_s / most(state->gaps, 1.0) * p[TYPICAL], learnt_s);
    learnt_s = least(most(p[LONGEST_S], state->largest_s * 1.3), learnt_s);
    learnt_s = most(p[SHORTEST_S], learnt_s);
    bool known = state->gaps >= 20.0 && listened_s >= p[WARM_UP_S];
    double span_s = is_nan(p[AFTER_S]) ? (known ? learnt_s : INFINITY) : p[AFTER_S];
    state->deadline_s = state->heard_s + span_s + p[GRACE_S];
}

/* Queue the slot for the tick of its deadline, where it is not yet queued for an earlier look. */
INLINE void queue(lane_t *lane, int64_t slot, silence_t *state) {
    double tick_s = floor_of(state->deadline_s / TICK_S) * TICK_S;
    if (!(tick_s < state->queued_s)) return;
    state->queued_s = tick_s;
    lane->queued_slots[lane->queued] = slot;
    lane->queued_ticks[lane->queued] = tick_s;
    lane->queued += 1;
}

/* Take a reading as a sign of life; stops where it ends a silence. */
EXPORT int32_t judge_silence(lane_t *lane, const reading_t *reading, int64_t first) {
    for (int64_t j = first; j < lane->watches; j++) {
        const watch_t *watch = lane->bound + j;
        int64_t slot = reading->slots[watch->column];
        if (slot < 0) continue;
        silence_t *state = (silence_t *)(watch->hot + slot * watch->width);
        keep_part(lane, HOT, slot * watch->width, sizeof *state);
        bool silent = state->phase >= ACTIVE;
        double back_s = reading->ts_s;
        episode_t *episode = silent ? KEEP_ROW(episode_t, lane, EPISODE, slot) : NULL;
        /* What returns with old data returns no sooner than its silence was told. */
        if (silent) back_s = most(back_s, episode->told_s);
        bool moved = moves_on(state, reading->alive_s); /* further away: it is queued already */
        if (moved) move_on(state, reading->alive_s);
        else hear(state, watch->parameters, reading->alive_s);
        state->newest_s = most(state->newest_s, back_s);
        if (!moved) queue(lane, slot, state);
        if (!silent) continue;
        state->phase = IDLE;
        episode->told_s = back_s;
        lane->ts_told_s = back_s;
        return stop(lane, reading, j, slot, TOLD);
    }
    return 0;
}
