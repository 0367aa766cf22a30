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

/* A lane, with where its watches begin and end: nowhere for one that is not there; `bit` is its own in a set of lanes. */
typedef struct { lane_t *lane; const watch_t *first, *end; uint64_t bit; } span_t;

/* The lanes of the detectors that can take readings so, and the set of the others. */
typedef struct { span_t silence, record, decline, stuck, usage_drop, usage_surge; uint64_t others; } quiet_t;

/* Whether there is nothing to do for a watch that has no slot: it is not judged, or nothing is there to be judged. */
INLINE bool is_idle(const lane_t *lane, const watch_t *watch, const reading_t *reading, int64_t slot, int64_t fewest) {
    if (slot < -1) return true;
    if (watch->metric >= 0) return !is_there(reading->values[watch->metric]);
    return !has_parts(lane, reading->slots, fewest) || !concerns(lane, reading->values, watch - lane->bound);
}

/* More is to be done in a lane, from this watch on. */
INLINE uint64_t leave_at(const span_t *span, const watch_t *watch) {
    span->lane->which = watch - span->first;
    return span->bit;
}

/* Take a reading through a lane as far as it can be taken so; gives the lane's bit if that is not all there is to do. */
INLINE uint64_t take_all(const span_t *span, const reading_t *reading, int64_t fewest, brief_t *brief) {
    lane_t *lane = span->lane;
    const watch_t *watch = span->first, *end = span->end;
    for (; watch < end; watch++) {
        int64_t slot = reading->slots[watch->column], offset = slot * watch->width;
        if (slot < 0) {
            if (is_idle(lane, watch, reading, slot, fewest)) continue;
            return leave_at(span, watch);
        }
        bool whole = fewest && watch->metric < 0;
        double value = whole ? NAN : reading->values[watch->metric];
        if (whole ? !concerns(lane, reading->values, watch - span->first) : !is_there(value)) continue;
        double *newest_s = (double *)(watch->hot + offset);
        if (reading->ts_s < *newest_s || !brief(lane, watch, newest_s, offset, reading, value)) return leave_at(span, watch);
        *newest_s = reading->ts_s;
    }
    return 0;
}

INLINE uint64_t hear_all(const span_t *span, const reading_t *reading) {
    for (const watch_t *watch = span->first; watch < span->end; watch++)
        if (!take_silence(span->lane, watch, reading)) return leave_at(span, watch);
    return 0;
}

/* The same through all lanes; gives the set of those in which more is to be done. */
INLINE uint64_t take_quietly(const quiet_t *lanes, const reading_t *reading) {
    uint64_t rest = lanes->others;
    rest |= hear_all(&lanes->silence, reading);
    rest |= take_all(&lanes->record, reading, 0, take_record);
    rest |= take_all(&lanes->decline, reading, FEWEST_LEVELS, take_decline);
    rest |= take_all(&lanes->stuck, reading, FEWEST_SERIES, take_stuck);
    rest |= take_all(&lanes->usage_drop, reading, 0, take_usage_drop);
    rest |= take_all(&lanes->usage_surge, reading, 0, take_usage_surge);
    return rest;
}

typedef void fetch_t(const lane_t *lane, const watch_t *watch, const reading_t *reading, int64_t slot, const void *hot);

INLINE void fetch_all(const span_t *span, const reading_t *reading, fetch_t *fetch) {
    for (const watch_t *watch = span->first; watch < span->end; watch++) {
        int64_t slot = reading->slots[watch->column];
        if (slot >= 0) fetch(span->lane, watch, reading, slot, watch->hot + slot * watch->width);
    }
}

/* Ask for further memory of a reading to come, the hot groups of which are at hand. */
INLINE void fetch_quietly(const quiet_t *lanes, const reading_t *reading) {
    fetch_all(&lanes->record, reading, fetch_record);
    fetch_all(&lanes->decline, reading, fetch_decline);
    fetch_all(&lanes->usage_drop, reading, fetch_usage_drop);
    fetch_all(&lanes->usage_surge, reading, fetch_usage_surge);
}

#endif
