/* gateway/detect/silence.py and listening.py: signs of life, and the deadlines that they set. */
#include "layout.h"
#include "series.h"

enum { AFTER_S = PARAMETERS, FACTOR, SHORTEST_S, WARM_UP_S, GRACE_S, TYPICAL, LONGEST_S };

static const double MEMORY_S = 60.0 * 86400.0;
static const double CAUTION_S = 3.0 * 86400.0;
static const double TICK_S = 8.0;

/* Learn from the gap that this sign of life ends, and set the next deadline. */
INLINE void hear(silence_t *state, const double *p, double alive_s) {
    double gap_s = alive_s - state->heard_s, lesson_s = gap_s;
    state->first_s = least(alive_s, state->first_s);
    if (gap_s > 0.0) { /* what arrives together is one sign of life */
        if (alive_s > state->deadline_s) {
            double longest_s = 1.5 * (state->deadline_s - state->heard_s);
            lesson_s = least(longest_s, gap_s);
        }
        state->largest_s = most(state->largest_s * exp2_of(-gap_s / MEMORY_S), lesson_s);
        state->gaps = state->gaps + 1.0;
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

static void fetch_ahead(const lane_t *lane, int64_t i) {
    if (i + SOONEST < lane->samples) ask_for(lane->slots + lane->seats[i + SOONEST] * lane->columns);
    if (i + SOONER >= lane->samples) return;
    for (int64_t j = 0; j < lane->watches; j++)
        ask_for(row_of(lane, HOT, slot_ahead(lane, i + SOONER, j)));
}

/* Take readings as signs of life; stops where one ends a silence. */
EXPORT int32_t hear_silence(lane_t *lane) {
    int64_t first = lane->which;
    for (int64_t i = lane->sample; i < lane->samples; i++, first = 0) {
        if (!first) fetch_ahead(lane, i);
        for (int64_t j = first; j < lane->watches; j++) {
            int64_t slot = lane->slots[lane->seats[i] * lane->columns + lane->column[j]];
            if (slot < 0) continue;
            if (!has_room(lane)) return halt(lane, i, j, OUT_OF_ROOM);
            silence_t *state = KEEP_ROW(silence_t, lane, HOT, slot);
            bool silent = state->phase >= ACTIVE;
            double back_s = lane->ts_s[i];
            episode_t *episode = silent ? keep_rare(lane, EPISODE, slot, sizeof(episode_t)) : NULL;
            /* What returns with old data returns no sooner than its silence was told. */
            if (silent) back_s = most(back_s, episode->told_s);
            hear(state, lane->parameters + lane->watch[j] * lane->parameter_count, lane->alive_s[i]);
            state->newest_s = most(state->newest_s, back_s);
            queue(lane, slot, state);
            if (!silent) continue;
            state->phase = IDLE;
            episode->told_s = back_s;
            lane->ts_told_s = back_s;
            return stop(lane, i, j, slot, TOLD);
        }
    }
    lane->sample = lane->samples;
    return 0;
}
