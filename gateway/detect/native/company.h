/* gateway/detect/company.py: a metric that has gone while its company goes on. */
#ifndef COMPANY_H
#define COMPANY_H

#include "layout.h"
#include "series.h"

enum { STILL = EPISODE + 1, COMPANY };
enum { COMPANIES = 4, MOST_HOURS = 255 };

typedef struct { double lacked, counted; } tally_t;
typedef struct { double telling, there; } around_t; /* metrics that tell of others, and those of them that are alive */

INLINE tally_t tally_of(const company_t *company) {
    tally_t sum = {0};
    for (int k = 0; k < COMPANIES; k++) {
        sum.lacked += (double)company->lacked[k];
        sum.counted += (double)company->counted[k];
    }
    return sum;
}

INLINE bool is_telling(tally_t sum) {
    return sum.lacked >= 0.15 * sum.counted && sum.counted - sum.lacked >= 0.05 * sum.counted;
}

/* Whether a value is the one at which the series rests. */
INLINE bool is_rest(const still_t *still, double value) { return (float)value == still->rest && still->rested >= 4.0f; }

INLINE bool is_heard(const lane_t *lane, int64_t slot, double since_s) {
    return ((const stuck_t *)row_of(lane, HOT, slot))->newest_s > since_s;
}

INLINE bool is_alive(const lane_t *lane, int64_t slot, double since_s) {
    const stuck_t *part = row_of(lane, HOT, slot);
    if (!is_heard(lane, slot, since_s) || part->last == 0.0 || (part->falls < 0.05f && part->run > 0.0f)) return false;
    return !is_rest(row_of(lane, STILL, slot), part->last);
}

/* The slot of one of a device's series that has been heard of, or -1. */
INLINE int64_t part_at(const lane_t *lane, const sample_t *sample, int64_t k) {
    int64_t slot = lane->slots[sample->seat * lane->columns + lane->part[k]];
    return slot >= 0 && ((const stuck_t *)row_of(lane, HOT, slot))->newest_s > -INFINITY ? slot : -1;
}

static around_t look_around(const lane_t *lane, const sample_t *sample, double since_s) {
    around_t around = {0};
    for (int64_t k = 0; k < lane->parts; k++) {
        int64_t slot = part_at(lane, sample, k);
        if (slot < 0 || !is_telling(tally_of(row_of(lane, COMPANY, slot)))) continue;
        around.telling += 1.0;
        around.there += is_alive(lane, slot, since_s);
    }
    return around;
}

/* One more hour in this company. */
static void count_company(company_t *company, int64_t place, bool alive, bool heard) {
    if (company->counted[place] >= MOST_HOURS) {
        company->lacked[place] /= 2;
        company->unheard[place] /= 2;
        company->counted[place] /= 2;
    }
    company->lacked[place] = (uint8_t)(company->lacked[place] + !alive);
    company->unheard[place] = (uint8_t)(company->unheard[place] + !heard);
    company->counted[place]++;
}

/* Take an hour into a part; gives its absence in bars. */
static double follow_company(company_t *company, bool alive, bool heard, around_t others, double hour, double unlikely) {
    tally_t sum = tally_of(company);
    int64_t place = within(floor_of(COMPANIES * others.there / most(others.telling, 1.0)), COMPANIES + 1);
    if (place == COMPANIES) place--;
    double lacked = (double)(heard ? company->lacked : company->unheard)[place], counted = (double)company->counted[place], nats = 0.0;
    double chance = (lacked + 0.5) / (counted + 1.0);
    if (others.there > 0.0 && sum.counted >= 100.0 && counted >= 12.0 && chance <= 0.25) nats = least(2.5, -log_of(chance));
    double zeros = (double)company->gone, mute = (double)company->mute;
    double before = zeros + mute, longest = (double)company->longest, bar = most(1.6 * longest, unlikely);
    zeros = alive ? 0.0 : heard ? zeros + nats : zeros;
    mute = heard ? 0.0 : mute + nats;
    double gone = zeros + mute;
    if (before - gone >= 4.0) company->longest = (float)most(0.97 * longest, least(before, 1.2 * bar));
    if (gone > 0.0 && before == 0.0) company->gone_hour = (float)hour;
    company->gone = (float)zeros;
    company->mute = (float)mute;
    if (alive || gone <= 0.5 * bar) count_company(company, place, alive, heard);
    return gone / bar;
}

/* A device, by the metrics that are missed, at the first reading of an hour. */
static finding_t judge_company(lane_t *lane, const sample_t *sample, double unlikely, double lasting_s) {
    stuck_t *state = sample->state;
    finding_t found = {.tells_began = true, .began_s = sample->ts_s};
    double since_s = state->last, furthest = 0.0;
    if (sample->late || sample->hour == floor_of(since_s / HOUR_S)) return found;
    state->last = sample->ts_s;
    found.judged = true;
    around_t around = look_around(lane, sample, since_s);
    for (int64_t k = 0; k < lane->parts && is_finite(since_s); k++) {
        int64_t slot = part_at(lane, sample, k);
        if (slot < 0) continue;
        bool alive = is_alive(lane, slot, since_s);
        company_t *company = KEEP_ROW(company_t, lane, COMPANY, slot);
        bool tells = is_telling(tally_of(company));
        around_t others = {around.telling - tells, around.there - (tells && alive)};
        double ratio = follow_company(company, alive, is_heard(lane, slot, since_s), others, sample->hour, unlikely);
        furthest = most(furthest, ratio);
        if (!(ratio > 1.0 && others.there > 0.0)) continue;
        double gone_s = (double)company->gone_hour * HOUR_S;
        if (!(sample->ts_s - gone_s >= lasting_s)) continue;
        found.breach = true;
        found.began_s = least(found.began_s, gone_s);
    }
    found.calm = furthest <= 0.5 && !found.breach;
    found.score = furthest / (furthest + 1.0);
    return found;
}

#endif
