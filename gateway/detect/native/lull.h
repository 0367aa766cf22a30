/* gateway/detect/lull.py: covered hours without any use, at times of the day when this device is used. */
#ifndef LULL_H
#define LULL_H

#include "layout.h"
#include "series.h"

static const double LEAST_NATS = 12.0;
static const double RECORD_MARGIN = 1.6;
static const double FORGET_H = 45.0 * 24.0;
static const double LONGEST_GAP_H = 7.0 * 24.0;
static const double COVERAGE_DAYS = 14.0;
static const double SILENT_H = 40.0;
static const double EXPECTED_H = 10.0;
static const double LEAST_COVERAGE = 0.2;
static const double WHOLE_DAYS = 1.05;
static const double COMPLETE = 0.98;
static const double INCOMPLETE = 0.95;

typedef struct { double nats, bar, began_s; bool breach; } lull_found_t;

/* How unlikely it is that an hour shows no use; `seen` is the chance that it would be seen. */
INLINE double nats_of(uint8_t counts, double seen) {
    double used = (double)(counts >> 4), count = (double)(counts & 15);
    if (!(count >= 2.0)) return 0.0;
    return -log_of(1.0 - least(0.97, used / (count + 1.0)) * seen);
}

/* How unlikely it is that no use was seen in the hours after `before`. */
static double nats_of_gap(const lull_t *state, const uint8_t *counts, double before, double gap_h,
                          double weekday) {
    double seen = least(0.97, (double)state->coverage) * weekday, whole = floor_of(gap_h / 24.0);
    double rest = gap_h - 24.0 * whole, start = before + 1.0, total = 0.0;
    for (int lane = 0; lane < 24; lane++) {
        double after = (double)lane - start;
        after = after - 24.0 * floor_of(after / 24.0);
        double times = whole + (after < rest ? 1.0 : 0.0);
        total = total + (times > 0.0 ? times * nats_of(counts[lane], seen) : 0.0);
    }
    return total;
}

/* Close the days before: how much of them was covered, and what a day without use would say. */
static void turn_lull_day(lull_t *state, const uint8_t *counts, double hour, double before, double days, bool first) {
    double skipped = floor_of(hour / 24.0) - floor_of(before / 24.0) - 1.0;
    double rate = most(1.0 / COVERAGE_DAYS, 1.0 / most(days, 1.0)), known = (double)state->coverage;
    double coverage = known + rate * ((double)state->covered / 24.0 - known);
    coverage = coverage * (COVERAGE_DAYS / (COVERAGE_DAYS + most(skipped, 0.0)));
    if (!first) state->coverage = (float)coverage;
    state->covered = 0.0f;
    double total = 0.0;
    for (int lane = 0; lane < 24; lane++) total = total + nats_of(counts[lane], 1.0);
    state->daily_nats = (float)(total * (double)state->coverage);
}

/* One more hour of this time of the day, with or without use. */
INLINE uint8_t count_hour(uint8_t counts, bool used) {
    uint32_t with_use = (uint32_t)(counts >> 4) + used, count = (uint32_t)(counts & 15) + 1;
    return count >= 15 ? (uint8_t)(with_use >> 1 << 4 | count >> 1) : (uint8_t)(with_use << 4 | count);
}

/* Add the completed hour and the gap before it; `days` is the age of the habit, `least_days` and `complete` are parameters. */
INLINE lull_found_t follow_lull(lane_t *lane, int groups, int64_t slot, double hour, double use, double days,
                                double weekday_factor, double least_days, double complete, bool firing) {
    int chances_group = groups, lull_group = groups + 1;
    lull_t *state = KEEP_ROW(lull_t, lane, lull_group, slot);
    const uint8_t *counts = row_of(lane, chances_group, slot);
    double judged = (double)state->judged_hour;
    bool first = is_nan(judged), used = use > 0.0;
    double before = first ? hour - 1.0 : judged;
    if (floor_of(hour / 24.0) != floor_of(before / 24.0)) turn_lull_day(state, counts, hour, before, days, first);
    double elapsed_h = most(hour - before, 0.0), gap_h = least(elapsed_h - 1.0, LONGEST_GAP_H);
    double weekday = least(1.0, weekday_factor / 0.5);
    double lull = (double)state->lull, missing = (double)state->missing;
    if (gap_h > 0.0) missing = missing + nats_of_gap(state, counts, before, gap_h, weekday);
    if (gap_h > SILENT_H && gap_h * (double)state->coverage > EXPECTED_H) lull = missing = 0.0;
    double peak = lull + least(missing, 2.0 * lull);
    double longest = (double)state->longest * exp2_of(-elapsed_h / FORGET_H);
    double at_least = days < 8.0 ? most(3.0, least_days) : least_days;
    double coverage = (double)state->coverage;
    double told = least(1.0, most(0.0, (coverage - INCOMPLETE) / (COMPLETE - INCOMPLETE)));
    at_least = at_least * (1.0 + (complete - 1.0) * told);
    double own = most(longest * RECORD_MARGIN, LEAST_NATS) * (1.0 + 7.0 / most(days, 1.0));
    double bar = most((double)state->daily_nats * most(at_least, WHOLE_DAYS / most(coverage, LEAST_COVERAGE)), own);
    if (used) longest = most(longest, least(peak, 1.2 * bar));
    double began = lull == 0.0 || used ? hour : (double)state->lull_hour;
    int64_t place = place_in(hour, 24);
    lull = used ? 0.0 : lull + nats_of(counts[place], weekday);
    missing = used ? 0.0 : missing;
    double nats = lull + least(missing, 2.0 * lull);
    state->lull = (float)lull;
    state->missing = (float)missing;
    state->longest = (float)longest;
    state->lull_hour = (float)began;
    state->judged_hour = (float)hour;
    state->covered = (float)((double)state->covered + 1.0);
    if (!firing && (used || (nats <= 0.5 * bar && weekday == 1.0))) {
        uint8_t *cell = keep_byte(lane, chances_group, slot, place);
        *cell = count_hour(*cell, used);
    }
    double known = days - floor_of(hour / 24.0) + floor_of(began / 24.0); /* when the lull began */
    return (lull_found_t){nats, bar, began * HOUR_S, !used && known >= 4.0 && nats > bar};
}

#endif
