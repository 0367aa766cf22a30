/* What most readings come to: nothing can follow from them now, and they are taken into every detector's state at once.
 *
 * All of it is one function, without a call: what is left of a reading that needs more is each detector's own.
 */
#ifndef QUIET_H
#define QUIET_H

#include "decline.h"
#include "record.h"
#include "silence.h"
#include "stuck.h"
#include "usage_drop.h"
#include "usage_surge.h"

/* A lane, with where its watches begin, those over the device (last), and where all end: nowhere for one that is not
 * there; `bit` is its own in a set of lanes.
 */
typedef struct { lane_t *lane; const watch_t *first, *whole, *end; uint64_t bit; } span_t;

/* The lanes of the detectors that can take readings so, and the set of the others. */
typedef struct { span_t silence, record, decline, stuck, usage_drop, usage_surge; uint64_t others; journal_t *journal; } quiet_t;

/* More is to be done in a lane, from this watch on. */
INLINE uint64_t leave_at(const span_t *span, const watch_t *watch) {
    span->lane->which = watch - span->first;
    return span->bit;
}

/* Take a value into a slot; false if there is more to be done, or it is late. */
INLINE bool take(const span_t *span, const watch_t *watch, const moment_t *moment, brief_t *brief) {
    double *newest_s = (double *)(watch->hot + moment->slot * watch->width), ts_s = moment->reading->ts_s;
    if (ts_s < *newest_s || !brief(span->lane, watch, newest_s, moment)) return false;
    *newest_s = ts_s;
    return true;
}

/* Take a reading through a lane as far as it can be taken so; gives the lane's bit if that is not all there is to do. */
INLINE uint64_t take_all(const span_t *span, const reading_t *reading, uint8_t **end, brief_t *brief) {
    for (const watch_t *watch = span->first; watch < span->whole; watch++) {
        int64_t slot = reading->slots[watch->column];
        double value = reading->values[watch->metric];
        if (slot < -1 || !is_there(value)) continue;
        if (slot < 0 || !take(span, watch, &(moment_t){reading, slot, value, false, end}, brief)) return leave_at(span, watch);
    }
    return 0;
}

/* The same through the lane's watches over the device, once it has so many series, if it is done with all others. */
INLINE uint64_t take_whole(const span_t *span, const reading_t *reading, uint8_t **end, int64_t fewest, brief_t *brief) {
    lane_t *lane = span->lane;
    for (const watch_t *watch = span->whole; watch < span->end; watch++) {
        int64_t slot = reading->slots[watch->column];
        if (slot < -1 || (slot < 0 && !has_parts(lane, reading->slots, fewest))) continue;
        if (!concerns(lane, reading->values, watch - span->first)) continue;
        if (slot < 0 || !take(span, watch, &(moment_t){reading, slot, NAN, true, end}, brief)) return leave_at(span, watch);
    }
    return 0;
}

INLINE uint64_t take_both(const span_t *span, const reading_t *reading, uint8_t **end, int64_t fewest, brief_t *brief) {
    uint64_t rest = take_all(span, reading, end, brief);
    return rest ? rest : take_whole(span, reading, end, fewest, brief);
}

INLINE uint64_t hear_all(const span_t *span, const reading_t *reading, uint8_t **end) {
    for (const watch_t *watch = span->first; watch < span->end; watch++)
        if (!take_silence(span->lane, watch, reading, end)) return leave_at(span, watch);
    return 0;
}

/* The same through all lanes; gives the set of those in which more is to be done. */
INLINE uint64_t take_quietly(const quiet_t *lanes, const reading_t *reading) {
    uint64_t rest = lanes->others;
    uint8_t *end = end_of(lanes->journal);
    rest |= hear_all(&lanes->silence, reading, &end);
    rest |= take_all(&lanes->record, reading, &end, take_record);
    rest |= take_both(&lanes->decline, reading, &end, FEWEST_LEVELS, take_decline);
    rest |= take_both(&lanes->stuck, reading, &end, FEWEST_SERIES, take_stuck);
    rest |= take_all(&lanes->usage_drop, reading, &end, take_usage_drop);
    rest |= take_all(&lanes->usage_surge, reading, &end, take_usage_surge);
    end_at(lanes->journal, end);
    return rest;
}

typedef void fetch_t(const lane_t *lane, const watch_t *watch, const reading_t *reading, int64_t slot, const void *hot);

INLINE void fetch_all(const span_t *span, const reading_t *reading, fetch_t *fetch) {
    for (const watch_t *watch = span->first; watch < span->end; watch++) {
        int64_t slot = reading->slots[watch->column];
        if (slot >= 0) fetch(span->lane, watch, reading, slot, watch->hot + slot * watch->width);
    }
}

/* Whether a device has been heard since a time, as far as anything listens for it. */
INLINE bool is_heard_since(const span_t *silence, const reading_t *reading, double since_s) {
    if (silence->first == silence->end) return false;
    int64_t slot = reading->slots[silence->first->column];
    return slot >= 0 && ((const silence_t *)(silence->first->hot + slot * silence->first->width))->newest_s >= since_s;
}

/* Ask for further memory of a reading to come, the hot groups of which are at hand: what is wanted at the end of an hour
 * only of a device of which nothing has come in this one.
 */
INLINE void fetch_quietly(const quiet_t *lanes, const reading_t *reading) {
    fetch_all(&lanes->record, reading, fetch_record);
    if (is_heard_since(&lanes->silence, reading, reading->hour * HOUR_S)) return;
    fetch_all(&lanes->decline, reading, fetch_decline);
    fetch_all(&lanes->usage_drop, reading, fetch_usage_drop);
    fetch_all(&lanes->usage_surge, reading, fetch_usage_surge);
}

#endif
