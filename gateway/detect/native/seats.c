/* Where readings' devices have their seats. */
#include "series.h"

enum { AHEAD = 16 }; /* devices whose memory is asked for */

typedef struct { int32_t roster, seat; } home_t; /* gateway/detect/fleet.py: Fleet.homes */

/* The seats of readings in one roster; 0 if any of the devices has none there, or is none. Behind
 * them there is room for those of the devices.
 */
EXPORT int32_t find_seats(const int64_t *devices, int64_t count, const int32_t *device, int64_t samples,
                          const home_t *homes, int64_t known, int64_t *seats, int32_t roster) {
    int64_t *of = seats + samples;
    for (int64_t k = 0; k < count; k++) {
        int64_t ahead = k + AHEAD < count ? devices[k + AHEAD] : 0;
        if (ahead < 0 || ahead >= known || devices[k] < 0 || devices[k] >= known) return 0;
        ask_for(homes + ahead);
        home_t home = homes[devices[k]];
        if (home.roster != roster) return 0;
        of[k] = home.seat;
    }
    for (int64_t i = 0; i < samples; i++) {
        if (device[i] < 0 || device[i] >= count) return 0;
        seats[i] = of[device[i]];
    }
    return 1;
}
