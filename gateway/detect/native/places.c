/* Tells where every field is taken to be, to be compared with where it is. */
#include <stddef.h>

#include "layout.h"
#include "series.h"

#define ONE_PLACE(type, name) {NULL, #name, offsetof(HERE, name), sizeof(type)},
#define MANY_PLACES(type, name, count) {NULL, #name, offsetof(HERE, name), sizeof(type) * (count)},
#define DETECTOR(name) {name, NULL, 0, 0},

static const place_t PLACES[] = {
    DETECTOR("threshold")
#define HERE threshold_t
    THRESHOLD_HOT(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE episode_t
    EPISODE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
    DETECTOR("record")
#define HERE record_t
    RECORD_HOT(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE episode_t
    EPISODE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE learnt_t
    KIND_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE hourly_t
    HOURLY_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE record_told_t
    RECORD_TOLD(ONE_PLACE, MANY_PLACES)
#undef HERE
    DETECTOR("usage_drop")
#define HERE usage_t
    USAGE_HOT(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE episode_t
    EPISODE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE learnt_t
    KIND_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE usual_t
    USUAL_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE weekday_t
    WEEKDAY_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE daily_t
    DAILY_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE habit_t
    HABIT_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE run_t
    USAGE_RUN(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE chances_t
    CHANCES_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE lull_t
    LULL_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
    DETECTOR("decline")
#define HERE decline_hot_t
    DECLINE_HOT(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE episode_t
    EPISODE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE regimes_t
    REGIMES_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE drift_t
    DRIFT_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE means_t
    MEANS_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
    DETECTOR("usage_surge")
#define HERE using_t
    USING_HOT(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE episode_t
    EPISODE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE surge_t
    SURGE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
    DETECTOR("stuck")
#define HERE stuck_t
    STUCK_HOT(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE episode_t
    EPISODE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE still_t
    STILL_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE company_t
    COMPANY_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
    DETECTOR("silence")
#define HERE silence_t
    SILENCE_HOT(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE episode_t
    EPISODE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
    DETECTOR("unlike")
#define HERE unlike_t
    UNLIKE_HOT(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE episode_t
    EPISODE_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
#define HERE row_t
    ROW_GROUP(ONE_PLACE, MANY_PLACES)
#undef HERE
};

EXPORT const place_t *places(int64_t *count) {
    *count = sizeof PLACES / sizeof *PLACES;
    return PLACES;
}

EXPORT const char *sources(void) { return SOURCES; }
