/* gateway/detect/lag.py: use that falls while its companion goes on. */
#ifndef LAG_H
#define LAG_H

#include "layout.h"
#include "series.h"

static const double EASED = 0x1p-20;

typedef struct { double fall, depth, beside; } lag_t;

INLINE double log_ratio(double part, double whole) {
    double ratio = whole > 0.0 ? part / whole : 1.0;
    return log_of(least(most(ratio, 1.0 / 20.0), 20.0));
}

/* Add an hour of a series whose use is `known`, with a companion or not; `part` is how much is shared, `width` a swing. */
INLINE lag_t follow_lag(const surge_t *state, bool known, bool compared, double part, double width, double weight) {
    double prior = 1.5 * (double)state->typical, scale = (double)state->recent_usual + prior;
    double ratio = log_ratio((double)state->recent_use + prior, scale);
    lag_t lag = {.beside = log_ratio((double)state->recent_beside + prior, scale), .depth = most(-(double)state->surge, 0.0)};
    if (!known) return lag;
    lag.fall = compared ? least(-ratio, part * lag.beside - ratio) : -ratio;
    double swings = least(most(lag.fall / width, -4.0), 4.0);
    double step = (swings - 1.6) * weight;
    lag.depth = most(lag.depth + (compared ? step : least(step, 0.0)), 0.0); /* compared with nothing, it can but fade */
    return lag;
}

#endif
