/* JSON readings of one product model into columns: what `json_columns.py` does, for payloads in which nothing is odd.
 *
 * Whatever is not read here is left, and goes the other way: arrays, escapes, text that is not ASCII, names that are not
 * known or told twice, numbers that need more than a double's care. So a payload is read, and exactly, or not at all. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define ABSENT (-1)

EXPORT const char *sources(void) { return SOURCES; }

/* Where a reader stands; nothing from `end` on is ever looked at. */
typedef struct {
    const uint8_t *at, *end;
} Text;

/* The metrics that are asked for; each name is followed by the quotation mark that ends it, and empty where none can match. */
typedef struct {
    const uint8_t *text;
    const int32_t *ends;
    int32_t count; /* 64 at most */
    int32_t next;  /* which one is likely to come now */
} Names;

typedef struct {
    double value;
    uint64_t whole;
    int is_whole; /* without fraction and exponent, and not negative */
} Number;

/* One payload, as it is read. */
typedef struct {
    double *values;
    int64_t ts_us, seq;
    const uint8_t *firmware;
    int32_t firmware_bytes;
} Reading;

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { MOST_TENS = 22, MOST_EXPONENT = 400, LONGEST_NUMBER = 64, LONGEST_FIRMWARE = 128 };
static const uint64_t MOST_EXACT = UINT64_C(1) << 53;
static const uint64_t MOST_BEFORE_ONE_MORE = (UINT64_MAX - 9) / 10;
static const int64_t MOST_MS = INT64_C(253402300799999);
static const int64_t DAY_S = 86400;

static int is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

static void skip_blank(Text *text) {
    while (text->at < text->end) {
        const uint8_t byte = *text->at;
        if (byte != ' ' && byte != '\n' && byte != '\r' && byte != '\t') break;
        text->at++;
    }
}

/* Whether a byte comes next, behind any blanks; it is taken. */
static int take(Text *text, uint8_t byte) {
    if (text->at < text->end && *text->at == byte) {
        text->at++;
        return 1;
    }
    skip_blank(text);
    if (text->at == text->end || *text->at != byte) return 0;
    text->at++;
    return 1;
}

static int take_word(Text *text, const char *word, int32_t bytes) {
    if (text->end - text->at < bytes || memcmp(text->at, word, (size_t)bytes) != 0) return 0;
    text->at += bytes;
    return 1;
}

#define WORD(text, word) take_word(text, word, (int32_t)sizeof(word) - 1)

static int take_digits(Text *text, uint64_t *digits, int *count) {
    const uint8_t *first = text->at;
    uint64_t found = *digits;
    while (text->at < text->end && is_digit(*text->at)) {
        if (found > MOST_BEFORE_ONE_MORE) return 0;
        found = found * 10 + (uint64_t)(*text->at++ - '0');
    }
    *digits = found;
    *count = (int)(text->at - first);
    return *count > 0;
}

static int take_exponent(Text *text, int *exponent) {
    const int is_negative = text->at < text->end && *text->at == '-';
    if (text->at < text->end && (*text->at == '-' || *text->at == '+')) text->at++;
    uint64_t digits = 0;
    int count = 0;
    if (!take_digits(text, &digits, &count) || digits > MOST_EXPONENT) return 0;
    *exponent += is_negative ? -(int)digits : (int)digits;
    return 1;
}

/* What the C library makes of a number, where it makes something of the whole of it. */
static int read_exactly(const uint8_t *first, const uint8_t *last, double *value) {
    char copy[LONGEST_NUMBER];
    const size_t bytes = (size_t)(last - first);
    if (bytes >= sizeof copy) return 0;
    memcpy(copy, first, bytes);
    copy[bytes] = 0;
    char *stop;
    *value = strtod(copy, &stop);
    return stop == copy + bytes && isnormal(*value);
}

static int take_number(Text *text, Number *number) {
    const uint8_t *first = text->at;
    const int is_negative = text->at < text->end && *text->at == '-';
    text->at += is_negative;
    if (text->at == text->end) return 0;
    uint64_t digits = 0;
    int count = 0, exponent = 0, is_whole = !is_negative;
    if (*text->at == '0')
        text->at++;
    else if (!take_digits(text, &digits, &count))
        return 0;
    if (text->at < text->end && *text->at == '.') {
        text->at++;
        if (!take_digits(text, &digits, &count)) return 0;
        exponent = -count;
        is_whole = 0;
    }
    if (text->at < text->end && (*text->at | 0x20) == 'e') {
        text->at++;
        if (!take_exponent(text, &exponent)) return 0;
        is_whole = 0;
    }
    number->whole = digits;
    number->is_whole = is_whole;
    if (digits == 0) {
        number->value = 0.0;
        return !is_negative; /* whether -0 is 0 depends on how it is written */
    }
    if (digits <= MOST_EXACT && exponent >= -MOST_TENS && exponent <= MOST_TENS) {
        /* Both are exact, so that the one operation rounds as it should. */
        const double exact = (double)digits;
        const double value = exponent < 0 ? exact / TENS[-exponent] : exact * TENS[exponent];
        number->value = is_negative ? -value : value;
        return 1;
    }
    return read_exactly(first, text->at, &number->value);
}

/* A number of `count` digits; -1 where there are none. */
static int32_t fixed(Text *text, int32_t count) {
    if (text->end - text->at < count) return -1;
    int32_t found = 0;
    for (int32_t place = 0; place < count; place++) {
        if (!is_digit(text->at[place])) return -1;
        found = found * 10 + (text->at[place] - '0');
    }
    text->at += count;
    return found;
}

static int take_one(Text *text, uint8_t byte) {
    if (text->at == text->end || *text->at != byte) return 0;
    text->at++;
    return 1;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar, from 1970 on. */
static int64_t days_until(int32_t year, int32_t month, int32_t day) {
    static const int32_t BEFORE[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const int32_t past = year - 1;
    const int32_t leaps = past / 4 - past / 100 + past / 400 - 477; /* of them, 477 before 1970 */
    const int is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return (int64_t)365 * (year - 1970) + leaps + BEFORE[month - 1] + (is_leap && month > 2) + day - 1;
}

static int32_t days_in(int32_t year, int32_t month) {
    static const int32_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return DAYS[month - 1] + (is_leap && month == 2);
}

/* The seconds that a zone is ahead of UTC. */
static int take_zone(Text *text, int64_t *ahead_s) {
    if (text->at == text->end) return 0;
    const uint8_t sign = *text->at++;
    *ahead_s = 0;
    if (sign == 'Z') return 1;
    if (sign != '+' && sign != '-') return 0;
    const int32_t hours = fixed(text, 2);
    if (hours < 0 || hours > 23 || !take_one(text, ':')) return 0;
    const int32_t minutes = fixed(text, 2);
    if (minutes < 0 || minutes > 59) return 0;
    *ahead_s = (hours * 60 + minutes) * 60 * (sign == '-' ? -1 : 1);
    return 1;
}

/* A date and time of RFC 3339 in its plain form, up to its closing quotation mark. */
static int take_date(Text *text, int64_t *ts_us) {
    const int32_t year = fixed(text, 4);
    if (year < 1970 || year > 9990 || !take_one(text, '-')) return 0;
    const int32_t month = fixed(text, 2);
    if (month < 1 || month > 12 || !take_one(text, '-')) return 0;
    const int32_t day = fixed(text, 2);
    if (day < 1 || day > days_in(year, month) || !take_one(text, 'T')) return 0;
    const int32_t hours = fixed(text, 2);
    if (hours < 0 || hours > 23 || !take_one(text, ':')) return 0;
    const int32_t minutes = fixed(text, 2);
    if (minutes < 0 || minutes > 59 || !take_one(text, ':')) return 0;
    const int32_t seconds = fixed(text, 2);
    if (seconds < 0 || seconds > 59) return 0;
    int64_t fraction_us = 0;
    if (text->at < text->end && *text->at == '.') {
        text->at++;
        uint64_t digits = 0;
        int count = 0;
        if (!take_digits(text, &digits, &count) || count > 6) return 0;
        fraction_us = (int64_t)digits;
        for (; count < 6; count++) fraction_us *= 10;
    }
    int64_t ahead_s;
    if (!take_zone(text, &ahead_s) || !take_one(text, '"')) return 0;
    const int64_t since_s = days_until(year, month, day) * DAY_S + (hours * 60 + minutes) * 60 + seconds - ahead_s;
    *ts_us = since_s * 1000000 + fraction_us;
    return *ts_us >= 0;
}

static int take_ts(Text *text, int64_t *ts_us) {
    if (take_one(text, '"')) return take_date(text, ts_us);
    if (WORD(text, "null")) return 1;
    Number number;
    if (!take_number(text, &number)) return 0;
    if (number.is_whole) {
        if (number.whole > (uint64_t)MOST_MS) return 0;
        *ts_us = (int64_t)number.whole * 1000;
        return 1;
    }
    if (!(number.value >= 0.0 && number.value <= (double)MOST_MS)) return 0;
    *ts_us = (int64_t)rint(number.value * 1000.0); /* half to even, as Python's round */
    return 1;
}

static int take_seq(Text *text, int64_t *seq) {
    if (WORD(text, "null")) return 1;
    Number number;
    if (!take_number(text, &number) || !number.is_whole || number.whole > INT64_MAX) return 0;
    *seq = (int64_t)number.whole;
    return 1;
}

static int take_firmware(Text *text, Reading *reading) {
    if (WORD(text, "null")) return 1;
    if (!take_one(text, '"')) return 0;
    const uint8_t *first = text->at;
    while (text->at < text->end && *text->at != '"') {
        const uint8_t byte = *text->at;
        if (byte < 0x20 || byte > 0x7e || byte == '\\') return 0;
        text->at++;
    }
    if (text->at - first > LONGEST_FIRMWARE || !take_one(text, '"')) return 0;
    reading->firmware = first;
    reading->firmware_bytes = (int32_t)(text->at - 1 - first);
    return 1;
}

static int take_value(Text *text, double *value) {
    if (text->at == text->end) return 0;
    switch (*text->at) {
    case 't':
        *value = 1.0;
        return WORD(text, "true");
    case 'f':
        *value = 0.0;
        return WORD(text, "false");
    case 'n': /* as if it were not there */
        return WORD(text, "null");
    default: {
        Number number;
        if (!take_number(text, &number)) return 0;
        *value = number.value;
        return 1;
    }
    }
}

static int is_name(const Text *text, const Names *names, int32_t which) {
    const int32_t start = which ? names->ends[which - 1] : 0;
    const int32_t bytes = names->ends[which] - start;
    return bytes > 0 && text->end - text->at >= bytes && memcmp(text->at, names->text + start, (size_t)bytes) == 0;
}

/* Which metric's name comes next, taken with its closing quotation mark; -1 where it is none of them. */
static int32_t take_name(Text *text, Names *names) {
    int32_t which = names->next;
    if (which >= names->count || !is_name(text, names, which)) {
        which = 0;
        while (which < names->count && !is_name(text, names, which)) which++;
        if (which == names->count) return -1;
    }
    text->at += names->ends[which] - (which ? names->ends[which - 1] : 0);
    names->next = which + 1 < names->count ? which + 1 : 0;
    return which;
}

static int take_metrics(Text *text, Names *names, Reading *reading) {
    uint64_t seen = 0;
    if (!take(text, '{')) return 0;
    if (take(text, '}')) return 1;
    do {
        if (!take(text, '"')) return 0;
        const int32_t which = take_name(text, names);
        if (which < 0 || seen >> which & 1 || !take(text, ':')) return 0;
        seen |= UINT64_C(1) << which;
        skip_blank(text);
        if (!take_value(text, &reading->values[which])) return 0;
    } while (take(text, ','));
    return take(text, '}');
}

enum { METRICS = 1, TS = 2, SEQ = 4, FIRMWARE = 8 };

static int take_field(Text *text, Names *names, Reading *reading, int *seen) {
    if (!take(text, '"')) return 0;
    const int field = WORD(text, "metrics\"")    ? METRICS
                      : WORD(text, "ts\"")       ? TS
                      : WORD(text, "seq\"")      ? SEQ
                      : WORD(text, "firmware\"") ? FIRMWARE
                                                 : 0;
    if (field == 0 || *seen & field || !take(text, ':')) return 0;
    *seen |= field;
    skip_blank(text);
    switch (field) {
    case METRICS:
        return take_metrics(text, names, reading);
    case TS:
        return take_ts(text, &reading->ts_us);
    case SEQ:
        return take_seq(text, &reading->seq);
    default:
        return take_firmware(text, reading);
    }
}

static int take_reading(Text *text, Names *names, Reading *reading) {
    int seen = 0;
    names->next = 0;
    if (!take(text, '{')) return 0;
    do {
        if (!take_field(text, names, reading, &seen)) return 0;
    } while (take(text, ','));
    if (!take(text, '}') || !(seen & METRICS)) return 0;
    skip_blank(text);
    return text->at == text->end;
}

/* Reads `count` payloads, which stand in `text` one after the other and end at `ends`.
 *
 * `values` has a row of `width` numbers for each of them, NaN where a metric is absent. `firmware` has where it starts in
 * `text` and how many bytes it has, of those that tell one; else 0 bytes. `is_read` tells which payloads were read:
 * nothing counts in the rows of the others. Returns how many were read. */
EXPORT int32_t read_readings(const uint8_t *text, const int64_t *ends, int32_t count, const uint8_t *names,
                             const int32_t *name_ends, int32_t width, double *values, int64_t *ts_us, int64_t *seq,
                             int64_t *firmware, uint8_t *is_read) {
    Names known = {names, name_ends, width, 0};
    int32_t read = 0;
    for (int32_t row = 0; row < count; row++) {
        Text payload = {text + (row ? ends[row - 1] : 0), text + ends[row]};
        Reading reading = {values + (int64_t)row * width, ABSENT, ABSENT, NULL, 0};
        for (int32_t column = 0; column < width; column++) reading.values[column] = NAN;
        is_read[row] = (uint8_t)take_reading(&payload, &known, &reading);
        read += is_read[row];
        ts_us[row] = reading.ts_us;
        seq[row] = reading.seq;
        firmware[2 * (int64_t)row] = reading.firmware ? reading.firmware - text : 0;
        firmware[2 * (int64_t)row + 1] = reading.firmware_bytes;
    }
    return read;
}
