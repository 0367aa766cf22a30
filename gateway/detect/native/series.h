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
enum { OUT_OF_ROOM = 1, UNOPENED = 2, TOLD = 4, DISMISSED = 8 };

static const double LARGEST = 1e30;
static const double HOUR_S = 3600.0;
static const double LAST_SECOND = 4294967295.0;

/* `rows` says where the slots of a group that few use have theirs, -1 for none; NULL where every slot has its own. */
typedef struct { uint8_t *slots; int64_t width; int32_t *rows; int64_t used, capacity; } group_t;

/* What the slots held before this turn touched them: bytes, then where they were, one after the other. */
typedef struct { uint8_t *bytes; int64_t used, capacity; } journal_t;
typedef uint64_t origin_t; /* offset in the group's memory, length in bytes, group */

typedef struct {
    int64_t samples, metrics;
    const double *ts_s, *alive_s, *values; /* [samples], [samples], [samples, metrics] */
    const int64_t *seats;                  /* [samples] */
    int32_t *slots;                        /* [seats, columns]; negative for none */
    int64_t columns, watches;
    const int64_t *column, *watch, *metric; /* [watches]; a metric of -1 stands for the device, and comes last */
    int64_t parts;
    const int64_t *part; /* [parts], columns of all series of the station */
    const int64_t *code; /* [parts], gateway/detect/detector.py: code_of() their metrics */
    const double *parameters;               /* [watches of the detector, parameters] */
    int64_t parameter_count;
    group_t *groups;
    journal_t *journal; /* NULL where no turn is open */
    int64_t most_undo;  /* bytes that one sample can add to the journal */
    double update_every_s;
    float update_score;
    int32_t skips_unopened;
    int64_t evidence_points;
    double *scores;        /* [samples] of the only watch, or NULL */
    int64_t *queued_slots; /* deadlines that came nearer, and the starts of their ticks: room for all */
    double *queued_ticks;
    int64_t queued;
    int64_t sample, which; /* the next to be judged */
    int64_t at_sample, at_which, slot; /* what was found, where the loop has stopped */
    int32_t step;
    double ts_told_s, score;
    double hour_from_s, hour_until_s, hour; /* the hour that was asked for last, but for its last second */
    int64_t hour_of_day;
} lane_t;

typedef struct {
    const double *parameters;
    int64_t slot;
    double ts_s, value;
    int64_t seat;
    bool late, firing;
} sample_t;

typedef struct {
    bool breach, calm, judged, dismissed, tells_began;
    double score, began_s;
} finding_t;

/* Have memory at hand when its turn comes. A function that does only this must not look as if it did nothing. */
INLINE void ask_for(const void *memory) {
    __asm__ volatile("" : : "r"(memory));
    __builtin_prefetch(memory, 1);
}

INLINE void *row_of(const lane_t *lane, int group, int64_t slot) {
    return lane->groups[group].slots + slot * lane->groups[group].width;
}

INLINE void keep_part(lane_t *lane, int group, int64_t offset, int32_t length) {
    journal_t *journal = lane->journal;
    if (!journal) return;
    origin_t origin = (uint64_t)offset << 16 | (uint64_t)length << 8 | (uint64_t)group;
    memcpy(journal->bytes + journal->used, lane->groups[group].slots + offset, (size_t)length);
    memcpy(journal->bytes + journal->used + length, &origin, sizeof origin);
    journal->used += length + (int64_t)sizeof origin;
}

/* A slot's fields of one group, to be changed; `size` is a constant, so that no call is needed to copy them. */
INLINE void *keep_bytes(lane_t *lane, int group, int64_t slot, int32_t size) {
    keep_part(lane, group, slot * lane->groups[group].width, size);
    return row_of(lane, group, slot);
}
#define KEEP_ROW(type, lane, group, slot) ((type *)keep_bytes(lane, group, slot, (int32_t)sizeof(type)))

/* The same for a group that few slots use: a slot that has no row gets one, in its initial state. */
INLINE void *keep_rare(lane_t *lane, int group, int64_t slot, int32_t size) {
    group_t *rare = lane->groups + group;
    if (rare->rows[slot] < 0) rare->rows[slot] = (int32_t)rare->used++;
    int64_t offset = rare->rows[slot] * rare->width;
    keep_part(lane, group, offset, size);
    return rare->slots + offset;
}

/* One number of a vector field that is stored apart, to be changed. */
INLINE float *keep_cell(lane_t *lane, int group, int64_t slot, int64_t cell) {
    int64_t offset = slot * lane->groups[group].width + cell * (int64_t)sizeof(float);
    keep_part(lane, group, offset, (int32_t)sizeof(float));
    return (float *)(lane->groups[group].slots + offset);
}

/* One byte of a vector field that is stored apart, to be changed. */
INLINE uint8_t *keep_byte(lane_t *lane, int group, int64_t slot, int64_t cell) {
    int64_t offset = slot * lane->groups[group].width + cell;
    keep_part(lane, group, offset, 1);
    return lane->groups[group].slots + offset;
}

/* A place in a vector, whatever the number that it was made of. */
INLINE int64_t within(double place, int64_t count) { return place >= 0.0 && place < (double)count ? (int64_t)place : 0; }

/* The remainder of a division by `by`, never negative. */
INLINE double remainder_of(double x, double by) { return x - by * floor_of(x / by); }
INLINE int64_t place_in(double x, int64_t count) { return within(remainder_of(x, (double)count), count); }

/* The hour since 1970, and in `lane` that of the day. Most samples of a batch are of the same one. */
INLINE double hour_of(lane_t *lane, double ts_s) {
    if (!(ts_s >= lane->hour_from_s && ts_s <= lane->hour_until_s)) {
        lane->hour = floor_of(ts_s / HOUR_S);
        lane->hour_of_day = within(lane->hour - 24.0 * floor_of(lane->hour / 24.0), 24);
        lane->hour_from_s = lane->hour * HOUR_S;
        lane->hour_until_s = lane->hour_from_s + (HOUR_S - 1.0);
    }
    return lane->hour;
}

/* Where the next sample is remembered for explanations; `recent` counts them, round and round. */
INLINE int64_t place_of(float recent, int64_t points) {
    double kept = (double)recent;
    return within(kept < (double)points ? kept : kept - (double)points, points);
}

INLINE void remember(lane_t *lane, int group, const sample_t *sample, float *recent) {
    int64_t points = lane->evidence_points;
    int64_t offset = sample->slot * lane->groups[group].width + place_of(*recent, points) * (int64_t)sizeof(uint64_t);
    keep_part(lane, group, offset, (int32_t)sizeof(uint64_t));
    double ts_s = sample->ts_s < 0.0 ? 0.0 : sample->ts_s > LAST_SECOND ? LAST_SECOND : sample->ts_s;
    union { uint32_t parts[2]; float values[2]; } pair = {.parts = {(uint32_t)ts_s, 0}};
    pair.values[1] = (float)sample->value;
    memcpy(lane->groups[group].slots + offset, &pair, sizeof pair);
    *recent = *recent + 1.0f < (float)(2 * points) ? *recent + 1.0f : (float)points;
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

INLINE bool has_room(const lane_t *lane) {
    const group_t *episodes = lane->groups + EPISODE;
    if (episodes->used == episodes->capacity) return false;
    return !lane->journal || lane->journal->capacity - lane->journal->used >= lane->most_undo;
}

/* Leave the loop, to go on after this sample and watch. */
INLINE int32_t stop(lane_t *lane, int64_t sample, int64_t which, int64_t slot, int32_t why) {
    lane->at_sample = sample;
    lane->at_which = which;
    lane->slot = slot;
    lane->sample = which + 1 < lane->watches ? sample : sample + 1;
    lane->which = which + 1 < lane->watches ? which + 1 : 0;
    return why;
}

/* Leave the loop, to begin with this sample and watch again. */
INLINE int32_t halt(lane_t *lane, int64_t sample, int64_t which, int32_t why) {
    lane->sample = sample;
    lane->which = which;
    return why;
}

typedef finding_t judge_t(lane_t *lane, const sample_t *sample);
typedef void fetch_t(lane_t *lane, int64_t slot, double ts_s);


/* The first fields of the group `hot` of a detector that looks `phase_at` bytes into it for its phase. */
typedef struct {
    int32_t size;
    size_t phase_at, recent_at;
    int32_t remembers;
    fetch_t *fetch, *fetch_more;
    judge_t *judge, *combine; /* of a series; of a device, or NULL */
} detector_t;

enum { SOON = 8, SOONER = 16, SOONEST = 24 }; /* samples ahead whose memory is asked for */

/* The slot of a sample and watch, any slot where there is none: a branch would cost more than it saves. */
INLINE int64_t slot_ahead(const lane_t *lane, int64_t i, int64_t j) {
    int64_t slot = lane->slots[lane->seats[i] * lane->columns + lane->column[j]];
    return slot & ~(slot >> 63);
}

INLINE void fetch(lane_t *lane, int64_t i, const detector_t *detector) {
    if (i + SOONEST < lane->samples) ask_for(lane->slots + lane->seats[i + SOONEST] * lane->columns);
    for (int64_t j = 0; j < lane->watches; j++) {
        if (i + SOONER < lane->samples) detector->fetch(lane, slot_ahead(lane, i + SOONER, j), lane->ts_s[i + SOONER]);
        if (i + SOON < lane->samples) detector->fetch_more(lane, slot_ahead(lane, i + SOON, j), lane->ts_s[i + SOON]);
    }
}

/* Whether a watch has anything to judge in a reading: its metric's value, or of a device any. */
INLINE bool concerns(const lane_t *lane, int64_t i, int64_t j) {
    const double *values = lane->values + i * lane->metrics;
    if (lane->metric[j] >= 0) return is_there(values[lane->metric[j]]);
    for (int64_t k = 0; k < j && lane->metric[k] >= 0; k++)
        if (is_there(values[lane->metric[k]])) return true;
    return false;
}

/* Whether an alarm over the whole device is up; its watches come last. */
INLINE bool is_alarmed(const lane_t *lane, int64_t seat, const detector_t *detector) {
    for (int64_t j = lane->watches - 1; j >= 0 && lane->metric[j] < 0; j--) {
        int32_t slot = lane->slots[seat * lane->columns + lane->column[j]];
        if (slot >= 0 && *(float *)((uint8_t *)row_of(lane, HOT, slot) + detector->phase_at) >= ACTIVE) return true;
    }
    return false;
}

/* Judge sample after sample, each by every watch; 0 at the end, or why it has stopped before. */
INLINE int32_t judge_all(lane_t *lane, const detector_t *detector) {
    int64_t first = lane->which;
    for (int64_t i = lane->sample; i < lane->samples; i++, first = 0) {
        if (!first) fetch(lane, i, detector);
        for (int64_t j = first; j < lane->watches; j++) {
            if (!concerns(lane, i, j)) continue;
            bool whole = detector->combine && lane->metric[j] < 0;
            sample_t sample = {.ts_s = lane->ts_s[i], .seat = lane->seats[i]};
            sample.value = whole ? NAN : lane->values[i * lane->metrics + lane->metric[j]];
            sample.slot = lane->slots[sample.seat * lane->columns + lane->column[j]];
            if (sample.slot < 0) {
                if (sample.slot == -1 && !lane->skips_unopened) return halt(lane, i, j, UNOPENED);
                continue;
            }
            if (!has_room(lane)) return halt(lane, i, j, OUT_OF_ROOM);
            sample.parameters = lane->parameters + lane->watch[j] * lane->parameter_count;
            uint8_t *hot = keep_bytes(lane, HOT, sample.slot, detector->size);
            double *newest_s = (double *)hot;
            float *phase = (float *)(hot + detector->phase_at);
            sample.late = sample.ts_s < *newest_s;
            sample.firing = *phase >= ACTIVE || (detector->combine && is_alarmed(lane, sample.seat, detector));
            *newest_s = most(*newest_s, sample.ts_s);
            if (detector->remembers) remember(lane, RECENT, &sample, (float *)(hot + detector->recent_at));
            finding_t found = whole ? detector->combine(lane, &sample) : detector->judge(lane, &sample);
            if (lane->scores) lane->scores[i] = found.score;
            int32_t why = found.dismissed ? DISMISSED : 0;
            if (!sample.late && found.judged && (found.breach || *phase > IDLE)) {
                lane->step = step(lane, phase, keep_rare(lane, EPISODE, sample.slot, sizeof(episode_t)), &sample, &found);
                lane->score = found.score;
                if (lane->step != NOTHING) why |= TOLD;
            }
            if (why) return stop(lane, i, j, sample.slot, why);
        }
    }
    lane->sample = lane->samples;
    return 0;
}

#endif
