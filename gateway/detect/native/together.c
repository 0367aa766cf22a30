/* All loops of a roster over the same readings: each reading goes through all of them before the next one does.
 *
 * What they are asked for is alike (which series, which hour), so that a processor that has just answered it for one
 * detector guesses right for the others; and while one of them waits for memory, the next can begin.
 */
#include "quiet.h"
#include "series.h"

typedef struct {
    int64_t samples, metrics;
    const double *ts_s, *alive_s, *values;
    const int64_t *seats;
    int32_t *slots;
    int64_t columns, alive_step, lanes; /* the step is 0 where one `alive_s` is that of all */
    lane_t **lane;
    watch_t *bound; /* [watches], of all lanes */
    int64_t watches;
    int64_t sample, at; /* the reading and the lane to go on with; the former is negative where none is begun */
    uint64_t rest;      /* lanes in which the reading is not done yet; none where it is not begun */
    int64_t short_of;   /* the lane that has no rows; as many as there are lanes where the journal has no room */
    journal_t *journal; /* NULL where no turn is open */
    int64_t most_undo;  /* bytes that one reading can add to it */
    hidden_t *hidden;
    double *scores; /* [samples] of the only watch, or NULL */
} together_t;

/* Let every lane begin with the first reading. */
static void begin(together_t *call) {
    for (int64_t k = 0; k < call->lanes; k++) {
        lane_t *lane = call->lane[k];
        lane->samples = call->samples;
        lane->metrics = call->metrics;
        lane->ts_s = call->ts_s;
        lane->values = call->values;
        lane->seats = call->seats;
        lane->slots = call->slots;
        lane->columns = call->columns;
        lane->journal = call->journal;
        lane->hidden = call->hidden;
        lane->scores = call->scores;
        lane->queued = lane->skips_unopened = 0;
        lane->which = 0;
    }
    call->sample = call->at = 0;
    call->rest = 0;
}

/* Readings ahead whose memory is asked for: far enough that it is there in time, near enough that it still is. */
enum { SOON = 3, SOONER = 6, SOONEST = 20 };

typedef struct { double from_s, until_s, hour; int64_t hour_of_day; } hour_clock_t;

/* The hour of a time; most readings are of the same as the one before. Its last second is reckoned anew. */
INLINE void tell_hour(hour_clock_t *clock, double ts_s, reading_t *reading) {
    if (!(ts_s >= clock->from_s && ts_s <= clock->until_s)) {
        clock->hour = floor_of(ts_s / HOUR_S);
        clock->hour_of_day = within(clock->hour - 24.0 * floor_of(clock->hour / 24.0), 24);
        clock->from_s = clock->hour * HOUR_S;
        clock->until_s = clock->from_s + (HOUR_S - 1.0);
    }
    reading->hour = clock->hour;
    reading->hour_of_day = clock->hour_of_day;
}

/* Where the watches' state is now: it may have moved. */
static void bind_watches(lane_t *lane) {
    for (int64_t j = 0; j < lane->watches; j++)
        lane->bound[j] = (watch_t){
            .hot = lane->groups[HOT].slots,
            .width = lane->groups[HOT].width,
            .parameters = lane->parameters + lane->watch[j] * lane->parameter_count,
            .column = lane->column[j],
            .metric = lane->metric[j],
        };
}

enum { FEW = 64 }; /* watches that are compared with each other */

/* Ask only once for a line of memory that is of several watches, as the first slots show it; and for none of a watch over
 * devices, where the first one has none: they have too few series.
 */
static void find_lines(const together_t *call) {
    watch_t *end = call->bound + call->watches, *last = call->bound;
    const int32_t *slots = call->slots + call->seats[0] * call->columns;
    for (watch_t *watch = call->bound + 1; watch < end; watch++) {
        bool known = watch->metric < 0 && slots[watch->column] < 0;
        for (const watch_t *other = call->bound; call->watches <= FEW && other && !known; other = other->beyond)
            known = (uintptr_t)other->hot / LINE == (uintptr_t)watch->hot / LINE && other->metric == watch->metric;
        if (!known) last = last->beyond = watch;
    }
}

/* The state that a watch has of the device whose slots these are. */
INLINE const void *hot_of(const watch_t *watch, const int32_t *slots) {
    int64_t slot = slots[watch->column];
    slot &= ~(slot >> 63); /* any where there is none: a branch would cost more than it saves */
    return watch->hot + slot * watch->width;
}

/* Have the memory of readings to come at hand when their turn comes. */
INLINE void fetch(const together_t *call, const quiet_t *lanes, hour_clock_t *clock, int64_t i) {
    if (i + SOONEST >= call->samples) return;
    ask_for(call->slots + call->seats[i + SOONEST] * call->columns);
    const int32_t *sooner = call->slots + call->seats[i + SOONER] * call->columns;
    for (const watch_t *watch = call->bound; watch; watch = watch->beyond) ask_for(hot_of(watch, sooner));
    reading_t reading = {.slots = call->slots + call->seats[i + SOON] * call->columns};
    tell_hour(clock, call->ts_s[i + SOON], &reading);
    fetch_quietly(lanes, &reading);
}

/* For how many of so many readings there is room in the journal and in every lane; -1 in `short_of` or what has none. */
static int64_t room(const together_t *call, int64_t readings, int64_t *short_of) {
    const journal_t *journal = call->journal;
    *short_of = -1;
    if (journal) readings = fit_in(journal->capacity - journal->used, readings, call->most_undo);
    if (!readings) *short_of = call->lanes;
    for (int64_t k = 0; readings && k < call->lanes; k++) {
        readings = room_of(call->lane[k], readings);
        if (!readings) *short_of = k;
    }
    return readings;
}

/* Which lane is of which detector. */
static quiet_t find_lanes(const together_t *call) {
    quiet_t lanes = {.journal = call->journal};
    for (int64_t k = 0; k < call->lanes; k++) {
        lane_t *lane = call->lane[k];
        span_t span = {lane, lane->bound, lane->bound, lane->bound + lane->watches, UINT64_C(1) << k};
        while (span.whole < span.end && span.whole->metric >= 0) span.whole++;
        if (lane->judge == judge_silence) lanes.silence = span;
        else if (lane->judge == judge_record) lanes.record = span;
        else if (lane->judge == judge_decline) lanes.decline = span;
        else if (lane->judge == judge_stuck) lanes.stuck = span;
        else if (lane->judge == judge_usage_drop) lanes.usage_drop = span;
        else if (lane->judge == judge_usage_surge) lanes.usage_surge = span;
        else lanes.others |= span.bit;
    }
    return lanes;
}

/* Leave the loop, to go on with this reading and lane. */
INLINE int32_t leave(together_t *call, int64_t sample, int64_t at, uint64_t rest, int32_t why) {
    call->sample = sample;
    call->at = at;
    call->rest = rest;
    return why;
}

/* Judge reading after reading, each in every lane; 0 at the end, or why the lane `at` has stopped before. */
EXPORT FOR_EACH_PROCESSOR int32_t judge_together(together_t *call) {
    if (call->sample < 0) begin(call);
    int64_t checked = call->sample;
    uint64_t rest = call->rest;
    hour_clock_t clock = {.from_s = 1.0}, clock_ahead = clock;
    for (int64_t k = 0; k < call->lanes; k++) bind_watches(call->lane[k]);
    if (call->sample < call->samples) find_lines(call);
    const quiet_t lanes = find_lanes(call);
    for (int64_t i = call->sample; i < call->samples; i++) {
        if (i == checked) {
            checked = i + room(call, call->samples - i, &call->short_of);
            if (call->short_of >= 0) return leave(call, i, call->at, rest, OUT_OF_ROOM);
        }
        if (!rest) fetch(call, &lanes, &clock_ahead, i);
        reading_t reading = {
            .number = i,
            .ts_s = call->ts_s[i],
            .alive_s = call->alive_s[i * call->alive_step],
            .values = call->values + i * call->metrics,
            .seat = call->seats[i],
            .slots = call->slots + call->seats[i] * call->columns,
        };
        tell_hour(&clock, reading.ts_s, &reading);
        if (!rest) rest = take_quietly(&lanes, &reading);
        for (; rest; rest &= rest - 1) { /* lane by lane, in their order */
            int64_t at = __builtin_ctzll(rest);
            lane_t *lane = call->lane[at];
            int32_t why = lane->judge(lane, &reading, lane->which);
            if (why) return leave(call, i, at, rest, why);
            lane->which = 0;
        }
    }
    return leave(call, call->samples, 0, 0, 0);
}
