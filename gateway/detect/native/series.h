/* Series of samples before a detector: the state they live in, the journal that can undo a turn, and the loop.
 *
 * The structures are the groups of gateway/detect/table.py, field by field; native/__init__.py compares the two before
 * anything here is used. Groups are passed in the order of the detector's enum.
 */
#ifndef SERIES_H
#define SERIES_H

#include <stddef.h>
#include <string.h>

#include "exact.h"
#include "layout.h"

#define EXPORT __attribute__((visibility("default")))

enum { IDLE, PENDING, ACTIVE, UNKNOWN };           /* gateway/detect/episodes.py: Phase */
enum { NOTHING, RAISED, UPDATED, CLEARED };        /* Step */
enum { DELTA, COUNTER, LEVEL, STATE, UNSETTLED };  /* gateway/detect/kinds.py: LearntKind */
enum { WATCH_FOR, WATCH_KEEP, PARAMETERS };        /* the first two parameters of every watch */
enum { HOT, EPISODE, RECENT };                     /* the first groups of every detector of series */
enum { LINE = 64 };                                /* bytes that memory comes in */
enum { OUT_OF_ROOM = 1, UNOPENED = 2, TOLD = 4, DISMISSED = 8 };

static const double LARGEST = 1e30;
static const double HOUR_S = 3600.0;
static const double LAST_SECOND = 4294967295.0;

/* Where the slots of groups that few of them use have their rows, -1 for none. */
typedef struct { int32_t *of; int64_t used, capacity; } rows_t;

/* `rows` is NULL where every slot has its own. A slot that has none is as `initial` is. */
typedef struct { uint8_t *slots; int64_t width; rows_t *rows; uint8_t *initial; } group_t;

/* What slots of all detectors held before this turn touched them: bytes, then where they were, one after the other. */
typedef struct { uint8_t *bytes; int64_t used, capacity; } journal_t;
typedef uint64_t origin_t; /* offset in the group's memory, length in bytes, detector, group; eight bits for each of these */
enum { MOST_KEPT = 248 };  /* bytes at once: what is longer is kept in pieces */

/* Series that are not to be judged any more: seat and column in the roster, pair after pair. */
typedef struct { int64_t *places, used, capacity; } hidden_t;

/* One reading of a device. */
typedef struct {
    int64_t number; /* in the order of arrival */
    double ts_s, alive_s, hour; /* device and healthy time; the hour since 1970 of device time */
    int64_t hour_of_day;
    const double *values; /* [metrics] */
    int64_t seat;
    const int32_t *slots; /* [columns], the device's */
} reading_t;

/* A watch of a lane, with what is asked of it at every reading. */
typedef struct watch_t {
    uint8_t *hot; /* the group of that name */
    int64_t width;
    const double *parameters;
    int64_t column, metric; /* the latter is -1 for one that stands for the device; these come last */
    struct watch_t *beyond; /* the next one whose state is on another line of memory, or NULL */
} watch_t;

typedef struct lane_t {
    int64_t samples, metrics;
    const double *ts_s, *values; /* [samples], [samples, metrics] */
    const int64_t *seats;                  /* [samples] */
    int32_t *slots;                        /* [seats, columns]; negative for none */
    int64_t columns, watches;
    const int64_t *column, *watch, *metric; /* [watches] */
    watch_t *bound;                         /* [watches], made of these */
    /* Takes one reading through the watches from `first` on. */
    int32_t (*judge)(struct lane_t *, const reading_t *, int64_t first);
    int64_t parts;
    const int64_t *part; /* [parts], columns of all series of the station */
    const int64_t *code; /* [parts], gateway/detect/detector.py: code_of() their metrics */
    const double *parameters;               /* [watches of the detector, parameters] */
    int64_t parameter_count;
    group_t *groups;
    rows_t *rows; /* [row_sets] */
    int64_t row_sets;
    int64_t number;     /* the detector's, in the journal */
    journal_t *journal; /* NULL where no turn is open */
    hidden_t *hidden;   /* without room, the loop stops for a series that is dismissed */
    double update_every_s;
    float update_score;
    int32_t skips_unopened;
    int64_t evidence_points;
    double *scores;        /* [samples] of the only watch, or NULL */
    int64_t *queued_slots; /* deadlines that came nearer, and the starts of their ticks: room for all */
    double *queued_ticks;
    int64_t queued;
    int64_t sample, which;             /* to go on with */
    int64_t at_sample, at_which, slot; /* what was found, where the loop has stopped */
    int32_t step;
    double ts_told_s, score;
} lane_t;

typedef struct {
    const double *parameters;
    void *state; /* the group `hot` */
    int64_t slot;
    double ts_s, hour, value;
    int64_t hour_of_day, seat;
    bool late, firing;
} sample_t;

/* A value of a slot; `whole` where it stands for the device. What is changed is written down at the journal's `end`. */
typedef struct { const reading_t *reading; int64_t slot; double value; bool whole; uint8_t **end; } moment_t;

typedef struct {
    bool breach, calm, judged, dismissed, tells_began;
    double score, began_s;
} finding_t;

/* Have memory at hand when its turn comes. A function that does only this must not look as if it did nothing. */
INLINE void ask_for(const void *memory) {
    __asm__ volatile("" : : "r"(memory));
    __builtin_prefetch(memory);
}

/* The same of a row that may lie across two lines. */
INLINE void ask_for_row(const void *row, size_t size) {
    ask_for(row);
    ask_for((const uint8_t *)row + size - 1);
}

/* A slot's fields of one group, to be read. They are elsewhere once a slot that had no row is changed. */
INLINE void *row_of(const lane_t *lane, int group, int64_t slot) {
    const group_t *its = lane->groups + group;
    if (!its->rows) return its->slots + slot * its->width;
    int32_t row = its->rows->of[slot];
    return row < 0 ? its->initial : its->slots + row * its->width;
}

/* Where a slot's fields of one group are, to be changed: a slot that has no row gets one. */
INLINE int64_t offset_of(lane_t *lane, int group, int64_t slot) {
    const group_t *its = lane->groups + group;
    if (!its->rows) return slot * its->width;
    int32_t *row = its->rows->of + slot;
    if (*row < 0) *row = (int32_t)its->rows->used++;
    return *row * its->width;
}

/* Half a line, copied in one go where the processor can. */
typedef uint8_t half_line_t __attribute__((vector_size(LINE / 2), aligned(1), may_alias));

/* Where the journal ends, to be written on; NULL where nothing will be undone. */
INLINE uint8_t *end_of(const journal_t *journal) { return journal ? journal->bytes + journal->used : NULL; }
INLINE void end_at(journal_t *journal, const uint8_t *end) {
    if (journal) journal->used = end - journal->bytes;
}

/* Write at the journal's end what a slot held. */
INLINE void write_down(uint8_t **end, const lane_t *lane, int group, const void *at, int64_t offset, int32_t length) {
    uint8_t *to = *end;
    if (!to) return;
    origin_t origin = (uint64_t)offset << 24 | (uint64_t)length << 16 | (uint64_t)lane->number << 8 | (uint64_t)group;
    const uint8_t *from = at;
    int32_t done = 0;
    for (; done + LINE / 2 <= length; done += LINE / 2) *(half_line_t *)(to + done) = *(const half_line_t *)(from + done);
    memcpy(to + done, from + done, (size_t)(length - done));
    memcpy(to + length, &origin, sizeof origin);
    *end = to + length + sizeof origin;
}

INLINE void keep_part(lane_t *lane, int group, int64_t offset, int32_t length) {
    uint8_t *end = end_of(lane->journal);
    write_down(&end, lane, group, lane->groups[group].slots + offset, offset, length);
    end_at(lane->journal, end);
}

/* The same of the group `hot`, the place of which is known. */
INLINE void keep_hot(const moment_t *moment, const lane_t *lane, const watch_t *watch, const void *hot, size_t length) {
    write_down(moment->end, lane, HOT, hot, moment->slot * watch->width, (int32_t)length);
}

/* A slot's fields of one group, to be changed; `size` is a constant, so that no call is needed to copy them. */
INLINE void *keep_bytes(lane_t *lane, int group, int64_t slot, int32_t size) {
    int64_t offset = offset_of(lane, group, slot);
    keep_part(lane, group, offset, size);
    return lane->groups[group].slots + offset;
}
#define KEEP_ROW(type, lane, group, slot) ((type *)keep_bytes(lane, group, slot, (int32_t)KEPT_AT_ONCE(type)))
#define KEPT_AT_ONCE(type) (sizeof(type) + 0 * sizeof(struct { _Static_assert(sizeof(type) <= MOST_KEPT, "in pieces"); int none; }))

/* One number of a vector field that is stored apart, to be changed. */
INLINE float *keep_cell(lane_t *lane, int group, int64_t slot, int64_t cell) {
    int64_t offset = offset_of(lane, group, slot) + cell * (int64_t)sizeof(float);
    keep_part(lane, group, offset, (int32_t)sizeof(float));
    return (float *)(lane->groups[group].slots + offset);
}

/* One byte of a vector field that is stored apart, to be changed. */
INLINE uint8_t *keep_byte(lane_t *lane, int group, int64_t slot, int64_t cell) {
    int64_t offset = offset_of(lane, group, slot) + cell;
    keep_part(lane, group, offset, 1);
    return lane->groups[group].slots + offset;
}

/* A place in a vector, whatever the number that it was made of. */
INLINE int64_t within(double place, int64_t count) { return place >= 0.0 && place < (double)count ? (int64_t)place : 0; }

/* The remainder of a division by `by`, never negative. */
INLINE double remainder_of(double x, double by) { return x - by * floor_of(x / by); }
INLINE int64_t place_in(double x, int64_t count) { return within(remainder_of(x, (double)count), count); }

/* Where the next sample is remembered for explanations; `recent` counts them, round and round. */
INLINE int64_t place_of(float recent, int64_t points) {
    int64_t place = (int64_t)recent;
    if (place >= points) place -= points;
    return place >= 0 && place < points ? place : 0;
}

INLINE int64_t place_to_remember(const lane_t *lane, int64_t slot, float recent) {
    return slot * lane->groups[RECENT].width + place_of(recent, lane->evidence_points) * (int64_t)sizeof(uint64_t);
}

INLINE void remember_at(uint8_t *place, double ts_s, double value) {
    ts_s = ts_s < 0.0 ? 0.0 : ts_s > LAST_SECOND ? LAST_SECOND : ts_s;
    union { uint32_t parts[2]; float values[2]; } pair = {.parts = {(uint32_t)(int64_t)ts_s, 0}};
    pair.values[1] = (float)value;
    memcpy(place, &pair, sizeof pair);
}

INLINE float next_place(float recent, int64_t points) {
    return recent + 1.0f < (float)(2 * points) ? recent + 1.0f : (float)points;
}

INLINE void remember(lane_t *lane, int64_t slot, double ts_s, double value, float *recent) {
    int64_t offset = place_to_remember(lane, slot, *recent);
    keep_part(lane, RECENT, offset, (int32_t)sizeof(uint64_t));
    remember_at(lane->groups[RECENT].slots + offset, ts_s, value);
    *recent = next_place(*recent, lane->evidence_points);
}

/* gateway/detect/episodes.py: step() for one sample that is not late. */
INLINE int32_t step(const lane_t *lane, float *phase, episode_t *state, const sample_t *sample, const finding_t *found) {
    double ts_s = sample->ts_s;
    bool was_up = *phase >= ACTIVE, breach = found->breach;
    double trouble_s = found->tells_began ? least(ts_s, found->began_s) : ts_s;
    if (!(trouble_s > state->began_s)) trouble_s = ts_s;
    bool begins = *phase == IDLE && breach && trouble_s > state->began_s;
    if (begins) state->pending_s = ts_s;
    bool waiting = begins || (*phase == PENDING && breach);
    bool raised = waiting && ts_s - state->pending_s >= sample->parameters[WATCH_FOR];
    trouble_s = found->tells_began ? least(trouble_s, state->pending_s) : state->pending_s;
    if (raised) state->began_s = trouble_s > state->began_s ? trouble_s : ts_s;
    bool eases = was_up && found->calm;
    state->calm_s = eases ? least(ts_s, state->calm_s) : NAN;
    bool cleared = eases && ts_s - state->calm_s >= sample->parameters[WATCH_KEEP];
    bool news = *phase == UNKNOWN || found->score >= (double)(state->told_score + lane->update_score);
    bool updated = was_up && !cleared && (news || ts_s - state->told_s >= lane->update_every_s);
    *phase = raised || (was_up && !cleared) ? ACTIVE : waiting ? PENDING : IDLE;
    if (!(raised || updated || cleared)) return NOTHING;
    state->told_s = ts_s;
    state->told_score = (float)found->score;
    return raised ? RAISED : updated ? UPDATED : CLEARED;
}

/* The value of a sample for a watch; absent where it is no number that a device measures. */
INLINE bool is_there(double value) { return fabs(value) <= LARGEST; }

/* For how many of so many readings each of which may take `most_each` of it a room is large enough. */
INLINE int64_t fit_in(int64_t room, int64_t readings, int64_t most_each) {
    return room < readings * most_each ? room / most_each : readings; /* a division costs more than all the rest */
}

/* For how many of so many readings, whatever they need, there are rows. */
INLINE int64_t room_of(const lane_t *lane, int64_t readings) {
    for (int64_t k = 0; k < lane->row_sets; k++)
        readings = fit_in(lane->rows[k].capacity - lane->rows[k].used, readings, lane->watches);
    return readings;
}

/* Leave the loop, to go on after this reading and watch. */
INLINE int32_t stop(lane_t *lane, const reading_t *reading, int64_t which, int64_t slot, int32_t why) {
    lane->at_sample = reading->number;
    lane->at_which = which;
    lane->slot = slot;
    lane->sample = reading->number;
    lane->which = which + 1;
    return why;
}

/* Leave the loop, to begin with this reading and watch again. */
INLINE int32_t halt(lane_t *lane, const reading_t *reading, int64_t which, int32_t why) {
    lane->sample = reading->number;
    lane->which = which;
    return why;
}

/* Let a series be judged no more, as gateway/detect/roster.py: dismiss() does; false where there is no room to note it. */
INLINE bool hide(const lane_t *lane, const reading_t *reading, const watch_t *watch) {
    hidden_t *hidden = lane->hidden;
    if (hidden->used + 2 > hidden->capacity) return false;
    hidden->places[hidden->used++] = reading->seat;
    hidden->places[hidden->used++] = watch->column;
    int32_t *slot = lane->slots + reading->seat * lane->columns + watch->column;
    *slot = -2 - *slot;
    return true;
}

/* The loops of detectors. */
#define JUDGES(name) EXPORT int32_t judge_##name(lane_t *lane, const reading_t *reading, int64_t first)
JUDGES(silence);
JUDGES(record);
JUDGES(decline);
JUDGES(stuck);
JUDGES(usage_drop);
JUDGES(usage_surge);

typedef finding_t judge_t(lane_t *lane, const sample_t *sample);
typedef bool brief_t(lane_t *lane, const watch_t *watch, void *state, const moment_t *moment);

/* The first fields of the group `hot` of a detector that looks `phase_at` bytes into it for its phase. */
typedef struct {
    int32_t size;
    size_t phase_at, recent_at;
    bool remembers;
    judge_t *judge, *combine; /* of a series; of a device, or NULL */
    int64_t fewest_parts;     /* without so many series there is nothing to be learnt of a device */
    brief_t *brief; /* takes a sample of which nothing can follow now, and is not late; false if it is none; or NULL */
} detector_t;

/* Whether a watch over the device has anything to judge in a reading: any of the metrics that are watched. */
INLINE bool concerns(const lane_t *lane, const double *values, int64_t j) {
    if (lane->metric[j] >= 0) return is_there(values[lane->metric[j]]);
    for (int64_t k = 0; k < j && lane->metric[k] >= 0; k++)
        if (is_there(values[lane->metric[k]])) return true;
    return false;
}

/* Whether so many of a device's series were heard by now; more may have been opened, for readings to come. */
INLINE bool has_parts(const lane_t *lane, const int32_t *slots, int64_t fewest) {
    if (lane->parts < fewest) return false;
    int64_t count = 0;
    for (int64_t k = 0; k < lane->parts; k++) {
        int32_t slot = slots[lane->part[k]];
        count += slot >= 0 && *(double *)row_of(lane, HOT, slot) > -INFINITY;
    }
    return count >= fewest;
}

/* Whether an alarm over the whole device is up; its watches come last. */
INLINE bool is_alarmed(const lane_t *lane, int64_t seat, size_t phase_at) {
    for (int64_t j = lane->watches - 1; j >= 0 && lane->metric[j] < 0; j--) {
        int32_t slot = lane->slots[seat * lane->columns + lane->column[j]];
        if (slot >= 0 && *(float *)((uint8_t *)row_of(lane, HOT, slot) + phase_at) >= ACTIVE) return true;
    }
    return false;
}

/* Judge one reading by every watch from `first` on; 0 where that is done, or why it has stopped before. That watch has
 * been tried as quiet.h does, in vain. */
INLINE int32_t judge_all(lane_t *lane, const reading_t *reading, int64_t first, const detector_t *detector) {
    for (int64_t j = first; j < lane->watches; j++) {
        const watch_t *watch = lane->bound + j;
        bool whole = detector->combine && watch->metric < 0;
        double value = whole ? NAN : reading->values[watch->metric];
        int64_t slot = reading->slots[watch->column];
        if (slot < 0 && (slot < -1 || lane->skips_unopened)) continue;
        if (slot < 0 && whole && !has_parts(lane, reading->slots, detector->fewest_parts)) continue;
        if (whole ? !concerns(lane, reading->values, j) : !is_there(value)) continue;
        if (slot < 0) return halt(lane, reading, j, UNOPENED);
        uint8_t *hot = watch->hot + slot * watch->width;
        double *newest_s = (double *)hot;
        if (whole && !(*newest_s > -INFINITY) && !has_parts(lane, reading->slots, detector->fewest_parts)) continue;
        float *phase = (float *)(hot + detector->phase_at);
        bool late = reading->ts_s < *newest_s;
        if (detector->brief && j > first && !late) {
            uint8_t *end = end_of(lane->journal);
            bool done = detector->brief(lane, watch, hot, &(moment_t){reading, slot, value, whole, &end});
            end_at(lane->journal, end);
            if (done) *newest_s = reading->ts_s;
            if (done) continue;
        }
        sample_t sample = {
            .parameters = watch->parameters,
            .state = hot,
            .slot = slot,
            .ts_s = reading->ts_s,
            .hour = reading->hour,
            .value = value,
            .hour_of_day = reading->hour_of_day,
            .seat = reading->seat,
            .late = late,
            .firing = *phase >= ACTIVE,
        };
        keep_part(lane, HOT, slot * watch->width, detector->size);
        *newest_s = most(*newest_s, sample.ts_s);
        if (detector->remembers) remember(lane, slot, sample.ts_s, value, (float *)(hot + detector->recent_at));
        finding_t found = whole ? detector->combine(lane, &sample) : detector->judge(lane, &sample);
        if (lane->scores) lane->scores[reading->number] = found.score;
        bool moves = found.judged && !sample.late && (found.breach || *phase > IDLE);
        if (!(moves || found.dismissed)) continue;
        int32_t why = found.dismissed ? DISMISSED : 0;
        if (moves) {
            lane->step = step(lane, phase, KEEP_ROW(episode_t, lane, EPISODE, slot), &sample, &found);
            lane->score = found.score;
            if (lane->step != NOTHING) why |= TOLD;
        }
        if (why == DISMISSED && hide(lane, reading, watch)) continue;
        if (why) return stop(lane, reading, j, slot, why);
    }
    return 0;
}

#endif
