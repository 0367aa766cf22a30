/* Where the parts of plain PUBLISHes are in what a broker has sent: what `cut.py` does, in C. */

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT const char *sources(void) { return SOURCES; }

/* Looks at the packets in data[at..end) up to the first that is no plain PUBLISH, or not whole; at most `room`.
 *
 * Writes five columns of `room` numbers each: where the topic starts and ends, the packet identifier, where the payload
 * starts and ends. Returns the number of packets. */
EXPORT int32_t cut_publishes(const uint8_t *data, int32_t at, int32_t end, int32_t version, int32_t room,
                             int32_t *out) {
    int32_t *topic_at = out, *topic_end = out + room, *packet_id = out + 2 * room;
    int32_t *payload_at = out + 3 * room, *payload_end = out + 4 * room;
    const int32_t has_properties = version == 5;
    int32_t count = 0;
    while (count < room && end - at >= 4) {
        const int32_t qos = data[at] >> 1 & 3;
        if (data[at] >> 4 != 3 || data[at] & 8 || qos > 1) break;
        int32_t start = at + 2, size = data[at + 1];
        if (size > 0x7f) {
            const int32_t high = data[start];
            if (high == 0 || high > 0x7f) break;
            size += (high << 7) - 0x80;
            start++;
        }
        if (size < 2 || size > end - start) break;
        const int32_t stop = start + size;
        const int32_t topic = start + 2, topic_stop = topic + (data[start] << 8 | data[start + 1]);
        const int32_t payload = topic_stop + 2 * qos + has_properties;
        if (topic_stop == topic || payload > stop) break;
        if (has_properties && data[payload - 1]) break;
        const int32_t id = qos ? data[topic_stop] << 8 | data[topic_stop + 1] : 0;
        if (qos && !id) break;
        topic_at[count] = topic;
        topic_end[count] = topic_stop;
        packet_id[count] = id;
        payload_at[count] = payload;
        payload_end[count] = stop;
        count++;
        at = stop;
    }
    return count;
}
