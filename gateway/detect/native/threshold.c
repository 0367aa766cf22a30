/* gateway/detect/threshold.py */
#include "layout.h"
#include "series.h"

enum { ABOVE = PARAMETERS, BELOW, CLEAR_BELOW, CLEAR_ABOVE, HYSTERESIS };

static double score_of(double value, double above, double below) {
    double excess = most(most(0.0, value - above), below - value); /* either limit may be NaN: not there */
    double limit = fabs(value > above ? above : below);
    double ratio = excess / (limit > 1e-9 ? limit : 1e-9);
    return 0.5 + 0.5 * ratio / (1.0 + ratio);
}

INLINE finding_t judge(lane_t *lane, const sample_t *sample) {
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

static const detector_t THRESHOLD = {
    .size = sizeof(threshold_t),
    .phase_at = offsetof(threshold_t, phase),
    .recent_at = offsetof(threshold_t, recent),
    .remembers = true,
    .judge = judge,
};

EXPORT FOR_EACH_PROCESSOR int32_t judge_threshold(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_all(lane, reading, first, &THRESHOLD);
}
