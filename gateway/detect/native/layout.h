/* The fields of every detector's groups, in the order in which gateway/detect/table.py stores them.
 *
 * ONE(type, name) is a number, MANY(type, name, count) a vector.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdint.h>

#define EPISODE_GROUP(ONE, MANY) \
    ONE(double, pending_s) ONE(double, began_s) ONE(double, calm_s) ONE(double, told_s) ONE(float, told_score)

#define KIND_GROUP(ONE, MANY) \
    ONE(double, first_s) ONE(float, seen) ONE(float, rises) ONE(float, falls) ONE(float, zeros) \
    ONE(float, smallest) ONE(float, largest) ONE(float, between)

#define THRESHOLD_HOT(ONE, MANY) ONE(double, newest_s) ONE(float, phase) ONE(float, recent)

#define RECORD_HOT(ONE, MANY) \
    ONE(double, newest_s) ONE(double, slow) \
    ONE(float, phase) ONE(float, recent) ONE(float, count) ONE(float, bar) ONE(float, unrest) ONE(float, kind) \
    MANY(float, before, 2) MANY(float, low, 2) MANY(float, high, 2)

#define RECORD_TOLD(ONE, MANY) \
    ONE(double, last) ONE(double, start_s) ONE(float, feature) ONE(float, expected_low) ONE(float, expected_high) ONE(float, observed)

#define USAGE_HOT(ONE, MANY) \
    ONE(double, newest_s) ONE(double, last) ONE(float, phase) ONE(float, hour) ONE(float, use) ONE(float, kind)

#define USAGE_RUN(ONE, MANY) \
    ONE(double, deficit) ONE(double, run_s) ONE(double, run_use) ONE(double, run_usual) \
    ONE(double, recent_use) ONE(double, recent_usual) ONE(float, peak) ONE(float, record)

#define HABIT_GROUP(ONE, MANY) \
    ONE(double, day) ONE(double, first_day) ONE(double, day_use) ONE(double, day_usual) ONE(double, per_day) \
    ONE(double, hour_use) ONE(double, hour_square) ONE(float, days) ONE(float, weekday_factor)

#define LULL_GROUP(ONE, MANY) \
    ONE(float, lull) ONE(float, missing) ONE(float, longest) ONE(float, lull_hour) ONE(float, judged_hour) \
    ONE(float, daily_nats) ONE(float, coverage) ONE(float, covered) ONE(float, told_hour)

#define SILENCE_HOT(ONE, MANY) \
    ONE(double, newest_s) ONE(double, queued_s) ONE(double, heard_s) ONE(double, first_s) ONE(double, gaps) \
    ONE(double, largest_s) ONE(double, deadline_s) ONE(float, phase) ONE(float, since_s)

#define DECLINE_HOT(ONE, MANY) \
    ONE(double, newest_s) ONE(float, phase) ONE(float, hour) ONE(float, kind) ONE(float, zeros) ONE(float, use) ONE(float, covered)

#define MEANS_GROUP(ONE, MANY) \
    ONE(double, last) ONE(double, slow) ONE(float, count) ONE(float, spread) ONE(float, jitter) \
    ONE(float, fast) ONE(float, share) ONE(float, falls)

#define STUCK_HOT(ONE, MANY) \
    ONE(double, newest_s) ONE(double, last) ONE(float, phase) ONE(float, run) ONE(float, repeats) ONE(float, falls)

#define STILL_GROUP(ONE, MANY) \
    ONE(double, since_s) ONE(float, rest) ONE(float, rested) ONE(float, rests) ONE(float, record)

#define COMPANY_GROUP(ONE, MANY) \
    ONE(float, gone) ONE(float, mute) ONE(float, gone_hour) ONE(float, longest) MANY(uint8_t, lacked, 4) \
    MANY(uint8_t, unheard, 4) MANY(uint8_t, counted, 4)

#define REGIMES_GROUP(ONE, MANY) \
    MANY(float, middle, 7) ONE(float, width) MANY(uint8_t, visits, 7)

#define DRIFT_GROUP(ONE, MANY) ONE(double, since_s) ONE(float, peak) ONE(float, record)

#define USING_HOT(ONE, MANY) \
    ONE(double, newest_s) ONE(double, last) ONE(float, phase) ONE(float, hour) ONE(float, use) ONE(float, kind)

#define SURGE_GROUP(ONE, MANY) \
    MANY(float, usual, 8) ONE(float, weekend) ONE(float, done) ONE(float, done_use) ONE(float, days) \
    ONE(float, recent_use) ONE(float, recent_usual) ONE(float, recent_beside) ONE(float, spread) ONE(float, surge) \
    ONE(float, run) ONE(float, typical) ONE(int32_t, per) ONE(float, lost) ONE(float, own) ONE(float, beside) \
    ONE(float, along) ONE(float, alone) ONE(float, told_hour)

#define UNLIKE_HOT(ONE, MANY) \
    ONE(double, newest_s) ONE(double, last) ONE(double, heard_s) ONE(float, phase) ONE(float, gap_s) ONE(float, gaps)

/* 32 values, and the upper half of what they are together: 32 * 33 / 2; two levels with the 32 highest of each. */
#define ROW_GROUP(ONE, MANY) \
    ONE(double, first_s) ONE(double, since_s) ONE(double, rows) MANY(double, mean, 32) ONE(double, block_since_s) \
    MANY(float, level, 2) MANY(float, bar, 2) MANY(float, top, 2) MANY(float, swing, 2) MANY(float, peak, 2) \
    MANY(float, highs, 64) ONE(float, block_s) ONE(float, kept) ONE(float, next) ONE(float, distance) \
    MANY(int32_t, code, 32) MANY(float, spread, 32) MANY(float, smooth, 32) MANY(float, seen, 32) MANY(float, leap, 32) \
    MANY(float, leaps, 32) MANY(float, along, 528)

#define HOURLY_GROUP(ONE, MANY) MANY(float, hourly, 24)
#define USUAL_GROUP(ONE, MANY) MANY(float, usual, 24)
#define WEEKDAY_GROUP(ONE, MANY) MANY(float, weekday, 7)
#define DAILY_GROUP(ONE, MANY) MANY(float, daily, 14)
#define CHANCES_GROUP(ONE, MANY) MANY(uint8_t, chances, 24)

#define ONE_MEMBER(type, name) type name;
#define MANY_MEMBERS(type, name, count) type name[count];
#define STRUCTURE(group, name) typedef struct { group(ONE_MEMBER, MANY_MEMBERS) } name

STRUCTURE(EPISODE_GROUP, episode_t);
STRUCTURE(KIND_GROUP, learnt_t);
STRUCTURE(THRESHOLD_HOT, threshold_t);
STRUCTURE(RECORD_HOT, record_t);
STRUCTURE(RECORD_TOLD, record_told_t);
STRUCTURE(USAGE_HOT, usage_t);
STRUCTURE(USAGE_RUN, run_t);
STRUCTURE(HABIT_GROUP, habit_t);
STRUCTURE(LULL_GROUP, lull_t);
STRUCTURE(CHANCES_GROUP, chances_t);
STRUCTURE(SILENCE_HOT, silence_t);
STRUCTURE(DECLINE_HOT, decline_hot_t);
STRUCTURE(MEANS_GROUP, means_t);
STRUCTURE(DRIFT_GROUP, drift_t);
STRUCTURE(REGIMES_GROUP, regimes_t);
STRUCTURE(STUCK_HOT, stuck_t);
STRUCTURE(STILL_GROUP, still_t);
STRUCTURE(COMPANY_GROUP, company_t);
STRUCTURE(USING_HOT, using_t);
STRUCTURE(SURGE_GROUP, surge_t);
STRUCTURE(UNLIKE_HOT, unlike_t);
STRUCTURE(ROW_GROUP, row_t);
STRUCTURE(HOURLY_GROUP, hourly_t);
STRUCTURE(USUAL_GROUP, usual_t);
STRUCTURE(WEEKDAY_GROUP, weekday_t);
STRUCTURE(DAILY_GROUP, daily_t);

typedef struct { const char *detector, *field; int64_t offset, size; } place_t;

#endif
