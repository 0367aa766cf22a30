/* Readings as PostgreSQL's binary COPY format, device by device: what `binary_copy.py` does, in C. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define NO_SEQ (-1)
#define PG_EPOCH_US INT64_C(946684800000000) /* 2000-01-01, where PostgreSQL's timestamps begin */

EXPORT const char *sources(void) { return SOURCES; }

static uint8_t *put(uint8_t *out, uint64_t number, int bytes) {
    for (int place = bytes - 1; place >= 0; place--) {
        out[place] = (uint8_t)number;
        number >>= 8;
    }
    return out + bytes;
}

static uint8_t *put_null(uint8_t *out) { return put(out, UINT32_MAX, 4); }

static uint8_t *put_long(uint8_t *out, int64_t number) { return put(put(out, 8, 4), (uint64_t)number, 8); }

static uint8_t *put_double(uint8_t *out, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return put(put(out, 8, 4), bits, 8);
}

/* The positions of readings device by device, those of each in their order; `starts` has room for one number more than
 * there are devices, all 0. */
EXPORT void order_by_device(const int32_t *device, int64_t count, int64_t devices, int64_t *starts, int64_t *order) {
    for (int64_t at = 0; at < count; at++) starts[device[at] + 1]++;
    for (int64_t at = 0; at < devices; at++) starts[at + 1] += starts[at];
    for (int64_t at = 0; at < count; at++) order[starts[device[at]]++] = at;
}

/* Which columns have a number in any row. */
EXPORT void find_told(const double *values, int64_t count, int64_t width, uint8_t *told) {
    for (int64_t row = 0; row < count; row++)
        for (int64_t column = 0; column < width; column++)
            if (!isnan(values[row * width + column])) told[column] = 1;
}

/* Columns of readings, as `Readings` has them; of the values those are written whose columns are named in `columns`, `told` of them. */
typedef struct {
    const int64_t *order;
    const int32_t *device;
    const uint8_t *ids;     /* one after the other */
    const int64_t *id_ends; /* by device */
    const int64_t *ts_us, *received_us, *seq;
    const int32_t *row;
    const double *values;
    const int32_t *columns;
    int64_t count, width, told, batch_seq;
} Rows;

/* Writes a whole COPY buffer without `extra`; returns its bytes. */
EXPORT int64_t encode_rows(const Rows *rows, uint8_t *out) {
    static const uint8_t HEADER[19] = "PGCOPY\n\xff\r\n";
    uint8_t *at = out;
    memcpy(at, HEADER, sizeof HEADER);
    at += sizeof HEADER;
    for (int64_t place = 0; place < rows->count; place++) {
        const int64_t from = rows->order[place];
        const int32_t device = rows->device[from];
        const int64_t id = device ? rows->id_ends[device - 1] : 0, id_bytes = rows->id_ends[device] - id;
        at = put(at, (uint64_t)(7 + rows->told), 2);
        at = put(at, (uint64_t)id_bytes, 4);
        memcpy(at, rows->ids + id, (size_t)id_bytes);
        at += id_bytes;
        at = put_long(at, rows->ts_us[from] - PG_EPOCH_US);
        at = put_long(at, rows->received_us[from] - PG_EPOCH_US);
        at = rows->seq[from] == NO_SEQ ? put_null(at) : put_long(at, rows->seq[from]);
        at = put_long(at, rows->batch_seq);
        at = put(put(at, 4, 4), (uint32_t)rows->row[from], 4);
        const double *values = rows->values + from * rows->width;
        for (int64_t column = 0; column < rows->told; column++) {
            const double value = values[rows->columns[column]];
            at = isnan(value) ? put_null(at) : put_double(at, value);
        }
        at = put_null(at); /* extra */
    }
    return put(at, UINT16_MAX, 2) - out;
}
