/* Plain PUBLISHes cut out of a read: what `framing.py` and `cut.py` do, in C.
 *
 * The results are Python's own lists, for they are made faster here than the numbers with which Python could make them.
 * Of Python only functions of its stable ABI are used, which need no header: one library is good for every version. The
 * interpreter's lock is held. */

#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct _object Object;
extern Object *PyBytes_FromStringAndSize(const char *, ptrdiff_t);
extern Object *PyList_New(ptrdiff_t);
extern int PyList_Append(Object *, Object *);
extern Object *PyLong_FromLong(long);
extern Object *PyLong_FromSsize_t(ptrdiff_t);
extern Object *PyTuple_New(ptrdiff_t);
extern int PyTuple_SetItem(Object *, ptrdiff_t, Object *);
extern void Py_DecRef(Object *);

EXPORT const char *sources(void) { return SOURCES; }

/* Where the parts of a PUBLISH are in what was read, and its identifier, 0 at QoS 0. */
typedef struct {
    ptrdiff_t topic, topic_end, payload, stop;
    long packet_id;
} Place;

/* What is plain: at QoS 0 or 1, with a topic and no properties, whole, and as it should be. */
typedef struct {
    int has_properties, may_be_again;
    ptrdiff_t largest;
} Kind;

static int find(const uint8_t *data, ptrdiff_t at, ptrdiff_t end, const Kind *kind, Place *place) {
    if (end - at < 4) return 0;
    const int qos = data[at] >> 1 & 3;
    if (data[at] & 1 && !kind->may_be_again) return 0; /* kept by a broker: not of now */
    if (data[at] >> 4 != 3 || qos > 1 || (data[at] & 8 && !(kind->may_be_again && qos))) return 0;
    ptrdiff_t start = at + 2, size = data[at + 1];
    if (size > 0x7f) {
        const int high = data[start];
        if (high == 0 || high > 0x7f) return 0;
        size += (high << 7) - 0x80;
        start++;
    }
    if (size < 2 || size > end - start) return 0;
    place->stop = start + size;
    if (place->stop - at > kind->largest) return 0;
    place->topic = start + 2;
    place->topic_end = place->topic + (data[start] << 8 | data[start + 1]);
    place->payload = place->topic_end + 2 * qos + kind->has_properties;
    if (place->topic_end == place->topic || place->payload > place->stop) return 0;
    if (kind->has_properties && data[place->payload - 1]) return 0;
    place->packet_id = qos ? data[place->topic_end] << 8 | data[place->topic_end + 1] : 0;
    return !qos || place->packet_id;
}

/* Appends something new to a list; 0 where there is no memory, and Python knows of it. */
static int append(Object *list, Object *made) {
    if (made == NULL) return 0;
    const int failed = PyList_Append(list, made);
    Py_DecRef(made);
    return !failed;
}

static Object *bytes_of(const uint8_t *data, ptrdiff_t at, ptrdiff_t end) {
    return PyBytes_FromStringAndSize((const char *)data + at, end - at);
}

/* A tuple of these, which it owns then; NULL where one of them is. */
static Object *tuple_of(Object **parts, ptrdiff_t count) {
    int is_whole = 1;
    for (ptrdiff_t at = 0; at < count; at++) is_whole &= parts[at] != NULL;
    Object *tuple = is_whole ? PyTuple_New(count) : NULL;
    for (ptrdiff_t at = 0; at < count; at++) {
        if (tuple != NULL)
            PyTuple_SetItem(tuple, at, parts[at]);
        else if (parts[at] != NULL)
            Py_DecRef(parts[at]);
    }
    return tuple;
}

static int is_same(const uint8_t *data, const Place *one, const Place *other) {
    const ptrdiff_t bytes = one->topic_end - one->topic;
    if (other->topic_end - other->topic != bytes) return 0;
    for (ptrdiff_t at = 0; at < bytes; at++)
        if (data[one->topic + at] != data[other->topic + at]) return 0;
    return 1;
}

/* Plain PUBLISHes from the start of `data` up to the first packet that is none, or not whole.
 *
 * Returns (runs, stop): for each run on one topic (topic, packet identifiers, payloads), and where the last one ends. */
EXPORT Object *cut_runs(const uint8_t *data, ptrdiff_t size, int version, ptrdiff_t largest) {
    const Kind kind = {version == 5, 1, largest};
    Object *runs = PyList_New(0), *ids = NULL, *payloads = NULL;
    Place place, first = {0};
    ptrdiff_t stop = 0;
    int goes_well = runs != NULL;
    while (goes_well && find(data, stop, size, &kind, &place)) {
        if (ids == NULL || !is_same(data, &first, &place)) {
            first = place;
            ids = PyList_New(0), payloads = PyList_New(0);
            Object *run[] = {bytes_of(data, place.topic, place.topic_end), ids, payloads};
            goes_well = append(runs, tuple_of(run, 3)); /* which keeps them alive */
            if (!goes_well) break;
        }
        goes_well = append(ids, PyLong_FromLong(place.packet_id)) &&
                    append(payloads, bytes_of(data, place.payload, place.stop));
        stop = place.stop;
    }
    Object *found[] = {goes_well ? runs : NULL, PyLong_FromSsize_t(stop)};
    if (!goes_well && runs != NULL) Py_DecRef(runs);
    return tuple_of(found, 2);
}

/* The same for any topics in turn, of packets that are not sent again: (topics, packet identifiers, payloads, stop). */
EXPORT Object *cut_mixed(const uint8_t *data, ptrdiff_t size, int version) {
    const Kind kind = {version == 5, 0, PTRDIFF_MAX};
    Object *found[] = {PyList_New(0), PyList_New(0), PyList_New(0), NULL};
    Place place;
    ptrdiff_t stop = 0;
    int goes_well = found[0] != NULL && found[1] != NULL && found[2] != NULL;
    while (goes_well && find(data, stop, size, &kind, &place)) {
        goes_well = append(found[0], bytes_of(data, place.topic, place.topic_end)) &&
                    append(found[1], PyLong_FromLong(place.packet_id)) &&
                    append(found[2], bytes_of(data, place.payload, place.stop));
        stop = place.stop;
    }
    if (goes_well) found[3] = PyLong_FromSsize_t(stop);
    return tuple_of(found, 4);
}
