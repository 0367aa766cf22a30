/* gateway/detect/usage_drop.py and habit.py */
#include "kinds.h"
#include "layout.h"
#include "lull.h"
#include "series.h"
#include "usage_drop.h"

enum { DROP = PARAMETERS, DAYS, MARGIN, USES, HABIT_DAYS, LULL_DAYS, ALONE, WHERE_COMPLETE = DROP_TOLD_KIND + 1 };

static const double DAY_S = 86400.0;
static const double LATE_HOURS = 48.0;
static const double FORGET_S = 30.0 * 86400.0;
enum { DAYS_KEPT = 14 };

typedef struct { double hour, use; } hours_t; /* one completed hour */

INLINE int64_t weekday_of(double day) { return place_in((is_nan(day) ? 0.0 : day) + 4.0, 7); }
INLINE double or_zero(double x) { return is_nan(x) ? 0.0 : x; }

/* What a closed day teaches of its weekday, scaled up to a day that is fully covered. */
static void close_weekday(const habit_t *habit, const usual_t *usual, weekday_t *state) {
    double whole = 0.0;
    for (int k = 0; k < 24; k++) whole = whole + or_zero((double)usual->usual[k]);
    double share = habit->days == 0.0f ? 1.0 : habit->day_usual / (whole > 0.0 ? whole : INFINITY);
    if (!is_finite(habit->day) || !(share >= 0.3)) return;
    int64_t lane = weekday_of(habit->day);
    double known = (double)state->weekday[lane], lesson = habit->day_use / share;
    state->weekday[lane] = (float)(is_nan(known) ? lesson : known + 0.3 * (lesson - known));
}

/* How this weekday's use compares with the mean of the weekdays that are known; 1 where it is not known. */
static float weekday_factor(const weekday_t *state, double day) {
    double sum = 0.0, known = 0.0;
    for (int k = 0; k < 7; k++) {
        sum = sum + or_zero((double)state->weekday[k]);
        known += is_finite((double)state->weekday[k]);
    }
    double mean = sum / (known > 1.0 ? known : 1.0), mine = (double)state->weekday[weekday_of(day)];
    if (!(is_finite(mine) && mean > 0.0)) return 1.0f;
    double factor = mine / mean;
    return (float)(factor < 0.0 ? 0.0 : factor > 1.5 ? 1.5 : factor);
}

/* Close the day that was being added up, and open another. */
static void turn_day(lane_t *lane, int64_t slot, habit_t *habit, double opened) {
    weekday_t *weekday = KEEP_ROW(weekday_t, lane, WEEKDAY, slot);
    daily_t *daily = KEEP_ROW(daily_t, lane, DAILY, slot);
    double closed = habit->day, use = habit->day_use, mean = habit->per_day;
    close_weekday(habit, row_of(lane, USUAL, slot), weekday);
    for (int k = 0; k < DAYS_KEPT; k++) {
        double latest = opened - remainder_of(opened - (double)k, (double)DAYS_KEPT); /* the day that this place is for */
        if (latest > closed) daily->daily[k] = NAN;
        if (latest == closed) daily->daily[k] = (float)use;
    }
    float rate = mostf(1.0f / (habit->days + 1.0f), (float)(1.0 / 28.0));
    if (is_finite(closed)) {
        habit->per_day = is_nan(mean) ? use : mean + (double)rate * (use - mean);
        habit->days += 1.0f;
    }
    habit->day = opened;
    habit->first_day = least(opened, habit->first_day);
    habit->weekday_factor = weekday_factor(weekday, opened);
    habit->day_use = habit->day_usual = 0.0;
}

/* Usual use in the completed hour, NaN where it is not known yet. Closes the days before it. */
INLINE double expect(lane_t *lane, int64_t slot, habit_t *habit, hours_t hours, float usual) {
    double day = floor_of(hours.hour / 24.0);
    if (day != habit->day) turn_day(lane, slot, habit, day);
    habit->day_use = habit->day_use + hours.use;
    habit->day_usual = habit->day_usual + or_zero((double)usual);
    return (double)usual * (double)habit->weekday_factor;
}

/* Take the completed hour into the habit; `pace` is 1, less where the habit must not follow. */
INLINE void learn(habit_t *habit, float *cell, hours_t hours, double pace) {
    double usual = (double)*cell, use = hours.use;
    double rate = (double)mostf(1.0f / (habit->days + 1.0f), (float)(1.0 / 28.0)) * pace;
    double most_use = 4.0 * most(or_zero(habit->per_day) / 24.0, usual);
    double lesson = habit->days >= 7.0f ? least(use, most_use) : use;
    *cell = (float)(is_nan(usual) ? lesson : usual + rate * (lesson - usual));
    rate = (double)(use > 0.0 ? mostf(1.0f / (habit->days * 4.0f + 1.0f), 0.01f) : 0.0f) * pace;
    habit->hour_use = habit->hour_use + rate * (lesson - habit->hour_use);
    habit->hour_square = habit->hour_square + rate * (lesson * lesson - habit->hour_square);
}

/* How unlikely so little use is, in nats, were it made of independent uses of the typical size. */
static double chance(const habit_t *habit, double use, double usual) {
    double typical = habit->hour_square / (habit->hour_use > 0.0 ? habit->hour_use : 1.0);
    if (!(use < usual && typical > 0.0)) return 0.0;
    double ratio = use > 0.0 ? use / usual : 1.0;
    return (usual - use + use * log_of(ratio)) / typical;
}

/* Where a deficit is made up, its peak becomes the record to pass next time. */
INLINE void close_run(run_t *run, double deficit, double bar, double elapsed_s) {
    double record = (double)run->record * exp2_of(-(elapsed_s > 0.0 ? elapsed_s : 0.0) / FORGET_S);
    double peak = most((double)run->peak, deficit);
    bool over = deficit == 0.0;
    run->record = (float)(over ? most(record, least(peak, 1.5 * bar)) : record);
    run->peak = over ? 0.0f : (float)peak;
    run->deficit = deficit;
}

/* Whether another metric's drop is up or was lately, where a device's drops are one alarm. */
static bool is_told_of(const lane_t *lane, const sample_t *sample, double hour) {
    lull_t *state = row_of(lane, LULL, sample->slot); /* kept already */
    for (int64_t k = 0; k < lane->parts; k++) {
        int64_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0 || slot == sample->slot) continue;
        const usage_t *other = row_of(lane, HOT, slot);
        if (other->phase >= ACTIVE) state->told_hour = (float)hour;
    }
    return hour - (double)state->told_hour < 48.0;
}

/* How much two habits rise and fall over the day together: the square of their correlation, 0 where it is negative. */
static double likeness(const float *mine, const float *its) {
    double own = 0.0, other = 0.0, both = 0.0, squares = 0.0, its_squares = 0.0;
    for (int k = 0; k < 24; k++) {
        own = own + or_zero((double)mine[k]);
        other = other + or_zero((double)its[k]);
    }
    own = own / 24.0;
    other = other / 24.0;
    for (int k = 0; k < 24; k++) {
        double up = or_zero((double)mine[k]) - own, beside = or_zero((double)its[k]) - other;
        both = both + up * beside;
        squares = squares + up * up;
        its_squares = its_squares + beside * beside;
    }
    return both > 0.0 ? both * both / (squares * its_squares) : 0.0;
}

/* How many times the bar is asked for: more where most other amounts of the device are used as ever, or none is like it
   and not all of them are gone as well. */
static double times_of(const lane_t *lane, const sample_t *sample) {
    int64_t used = 0, idle = 0;
    bool alike = false, any = false, stays = false;
    const float *own = row_of(lane, USUAL, sample->slot);
    for (int64_t k = 0; k < lane->parts; k++) {
        int64_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
        if (slot < 0 || slot == sample->slot) continue;
        const usage_t *hot = row_of(lane, HOT, slot);
        if (hot->kind > COUNTER) continue;
        const habit_t *habit = row_of(lane, HABIT, slot);
        const lull_t *lull = row_of(lane, LULL, slot);
        if (!(habit->days >= 4.0f && habit->per_day > 0.0)) continue;
        double nats = (double)lull->lull + least((double)lull->missing, 2.0 * (double)lull->lull);
        const run_t *run = row_of(lane, RUN, slot);
        bool like = likeness(own, row_of(lane, USUAL, slot)) >= 0.4;
        any = any || like;
        stays = stays || (nats < 1.5 * (double)lull->daily_nats && run->deficit < sample->parameters[DAYS]);
        if (nats < 0.5 * (double)lull->daily_nats && run->deficit < 0.4 * sample->parameters[DAYS]) {
            used++;
            alike = alike || like;
        } else {
            idle++;
        }
    }
    if (!any && stays && used + idle >= 2) return 8.0;
    return used > idle ? alike ? 2.0 : 8.0 : 1.0;
}

/* The judgement of a completed hour: one step of the deficit. `next` is the use that the hour after it begins with. */
static finding_t judge_hour(lane_t *lane, const sample_t *sample, hours_t hours, double next) {
    const double *p = sample->parameters;
    habit_t *habit = KEEP_ROW(habit_t, lane, HABIT, sample->slot);
    run_t *run = KEEP_ROW(run_t, lane, RUN, sample->slot);
    float *cell = keep_cell(lane, USUAL, sample->slot, place_in(hours.hour, 24));
    double usual = expect(lane, sample->slot, habit, hours, *cell), per_day = habit->per_day;
    bool known = is_finite(usual) && per_day > 0.0 && habit->days >= 2.0f;
    double use = known ? hours.use : 0.0, scale = known ? per_day : 1.0;
    if (!known) usual = 0.0;
    double bar = most(p[DAYS], (double)run->record * p[MARGIN]);
    double deficit = most(run->deficit + (usual - use / (1.0 - p[DROP])) / scale, 0.0);
    deficit = least(deficit, 9.0 * bar);
    if (run->deficit == 0.0 && deficit > 0.0) {
        run->run_s = hours.hour * HOUR_S;
        run->run_use = run->run_usual = 0.0;
    }
    run->run_use = run->run_use + use;
    run->run_usual = run->run_usual + usual;
    double fade = exp_of(-usual / scale / 0.75);
    run->recent_use = run->recent_use * fade + use;
    run->recent_usual = run->recent_usual * fade + usual;
    bool ripe = known && habit->days >= p[HABIT_DAYS] && run->run_s / DAY_S - habit->first_day >= p[HABIT_DAYS];
    double age = floor_of(hours.hour / 24.0) - habit->first_day;
    double factor = (double)habit->weekday_factor;
    lull_found_t lull =
        follow_lull(lane, CHANCES, sample->slot, hours.hour, hours.use, age, factor, p[LULL_DAYS], p[WHERE_COMPLETE], sample->firing);
    bool back = hours.use > 0.0 && run->recent_use >= (1.0 - 0.8 * p[DROP]) * run->recent_usual;
    bool is_short = ripe && deficit > bar && chance(habit, run->run_use, run->run_usual) >= p[USES];
    lull.breach = lull.breach && next == 0.0; /* what completes the hour shows that it is over */
    if ((is_short || lull.breach) && !sample->firing && p[ALONE] == 1.0) {
        double times = times_of(lane, sample);
        lull.breach = lull.breach && lull.nats > times * lull.bar;
        is_short = is_short && deficit > times * bar;
    }
    bool calm = sample->firing && back, wrong = (is_short || lull.breach) && !back;
    bool told_of = p[ALONE] == 1.0 && is_told_of(lane, sample, hours.hour);
    bool breach = wrong && (sample->firing || !told_of);
    close_run(run, back && (sample->firing || told_of) ? 0.0 : deficit, bar, sample->ts_s - hours.hour * HOUR_S);
    bool doubtful = deficit > 0.5 * bar || lull.nats > 0.5 * lull.bar;
    learn(habit, cell, hours, sample->firing || wrong ? 0.1 : doubtful ? 0.3 : 1.0);
    double score = most(lull.nats / (lull.nats + lull.bar), deficit / (deficit + bar));
    return (finding_t){
        .breach = breach,
        .calm = calm,
        .judged = true,
        .score = breach || (sample->firing && !calm) ? score : 0.0,
        .tells_began = true,
        .began_s = lull.breach && !is_short ? lull.began_s : run->run_s,
    };
}

/* Use that came late for an hour already judged pays back deficits, and belongs to its day while that is kept. */
static void repair(lane_t *lane, int64_t slot, hours_t hours) {
    habit_t *habit = KEEP_ROW(habit_t, lane, HABIT, slot);
    run_t *run = KEEP_ROW(run_t, lane, RUN, slot);
    double paid = habit->per_day > 0.0 ? hours.use / habit->per_day : 0.0;
    run->deficit = most(run->deficit - paid, 0.0);
    run->run_use = run->run_use + hours.use;
    run->recent_use = run->recent_use + hours.use;
    if (hours.use > 0.0) {
        lull_t *lull = KEEP_ROW(lull_t, lane, LULL, slot);
        lull->lull = lull->missing = 0.0f;
    }
    double day = floor_of(hours.hour / 24.0), age = habit->day - day;
    if (age == 0.0) habit->day_use = habit->day_use + hours.use;
    if (!(age > 0.0 && age < (double)DAYS_KEPT)) return;
    float *cell = keep_cell(lane, DAILY, slot, place_in(day, DAYS_KEPT));
    *cell = (float)(or_zero((double)*cell) + hours.use);
}

INLINE finding_t judge(lane_t *lane, const sample_t *sample) {
    usage_t *state = sample->state;
    double kind = learn_kind(lane, KIND, sample, &state->kind, state->last, sample->parameters[DROP_TOLD_KIND]);
    finding_t found = {.dismissed = kind == LEVEL || kind == STATE};
    bool counter = kind == COUNTER;
    double amount = counter ? difference(sample->value, state->last) : sample->value;
    if (!sample->late) state->last = sample->value;
    if (!(kind <= COUNTER && is_finite(amount) && amount >= 0.0) || (counter && sample->late)) return found;
    double hour = (double)(float)sample->hour, current = (double)state->hour;
    if (hour == current) {
        state->use = (float)((double)state->use + amount);
    } else if (!sample->late) {
        hours_t hours = {current, (double)state->use};
        state->hour = (float)hour;
        state->use = (float)amount;
        if (is_finite(current)) found = judge_hour(lane, sample, hours, amount);
    } else if (hour < current && current - hour <= LATE_HOURS) {
        repair(lane, sample->slot, (hours_t){hour, amount});
    }
    return found;
}

static const detector_t USAGE_DROP = {
    .size = sizeof(usage_t),
    .phase_at = offsetof(usage_t, phase),
    .brief = take_usage_drop,
    .judge = judge,
};

EXPORT int32_t judge_usage_drop(lane_t *lane, const reading_t *reading, int64_t first) {
    return judge_all(lane, reading, first, &USAGE_DROP);
}
