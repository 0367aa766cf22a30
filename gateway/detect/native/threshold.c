/* gateway/detect/threshold.py */
#include "layout.h"
#include "series.h"

enum { ABOVE = PARAMETERS, BELOW, CLEAR_BELOW, CLEAR_ABOVE, HYSTERESIS };

static void fetch_hot(lane_t *lane, int64_t slot, double ts_s) {
    (void)ts_s;
    ask_for(row_of(lane, HOT, slot));
}

static void fetch_cells(lane_t *lane, int64_t slot, double ts_s) {
    (void)ts_s;
    const threshold_t *hot = row_of(lane, HOT, slot);
    ask_for((uint64_t *)row_of(lane, RECENT, slot) + place_of(hot->recent, lane->evidence_points));
}

static double score_of(double value, double above, double below) {
    double excess = most(most(0.0, value - above), below - value); /* either limit may be NaN: not there */
    double limit = fabs(value > above ? above : below);
    double ratio = excess / (limit > 1e-9 ? limit : 1e-9);
    return 0.5 + 0.5 * ratio / (1.0 + ratio);
}

static finding_t judge(lane_t *lane, const sample_t *sample) {
    (void)lane;
    const double *p = sample->parameters;
    double above = p[ABOVE], below = p[BELOW], value = sample->value;
    double calm_below = is_nan(p[CLEAR_BELOW]) ? above - p[HYSTERESIS] : p[CLEAR_BELOW];
    double calm_above = is_nan(p[CLEAR_ABOVE]) ? below + p[HYSTERESIS] : p[CLEAR_ABOVE];
    bool breach = value > above || value < below, near = value > calm_below || value < calm_above;
    return (finding_t){
        .breach = breach,
        .calm = !(breach || near),
        .judged = true,
        .score = breach ? score_of(value, above, below) : 0.0,
    };
}

EXPORT int32_t judge_threshold(lane_t *lane) {
    static const detector_t THRESHOLD = {
        sizeof(threshold_t), offsetof(threshold_t, phase), offsetof(threshold_t, recent), 1, fetch_hot, fetch_cells, judge,
    };
    return judge_all(lane, &THRESHOLD);
}
