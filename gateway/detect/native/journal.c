/* What is done to a turn's journal, and to a lane before it is judged. */
#include "series.h"

/* Put back what the journal holds beyond `start`, last change first, in the groups of each detector. */
EXPORT void undo(const group_t *const *detectors, journal_t *journal, int64_t start) {
    while (journal->used > start) {
        origin_t origin;
        journal->used -= (int64_t)sizeof origin;
        memcpy(&origin, journal->bytes + journal->used, sizeof origin);
        size_t length = origin >> 16 & 0xff;
        const group_t *group = detectors[origin >> 8 & 0xff] + (origin & 0xff);
        journal->used -= (int64_t)length;
        memcpy(group->slots + (origin >> 24), journal->bytes + journal->used, length);
    }
}

/* The samples and watches that have no slot yet, each slot once, in the order of arrival; gives how many. */
EXPORT int64_t find_unopened(lane_t *lane, int64_t *samples, int64_t *watches) {
    int64_t count = 0;
    for (int64_t i = lane->sample; i < lane->samples; i++) {
        for (int64_t j = 0; j < lane->watches; j++) {
            int32_t *slot = lane->slots + lane->seats[i] * lane->columns + lane->column[j];
            if (*slot != -1 || !concerns(lane, lane->values + i * lane->metrics, j)) continue;
            *slot = INT32_MIN; /* seen: taken back below */
            samples[count] = i;
            watches[count++] = j;
        }
    }
    for (int64_t k = 0; k < count; k++)
        lane->slots[lane->seats[samples[k]] * lane->columns + lane->column[watches[k]]] = -1;
    return count;
}
