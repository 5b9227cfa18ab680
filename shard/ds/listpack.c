/* The format is in the header. Heads are written once into struct lp_item, so that looking an element
 * up is a comparison of bytes: nothing is decoded on the way. */
#include "shard/ds/listpack.h"

#include <math.h>

enum {
    HEAD_STR32 = 0xf0,
    HEAD_I16 = 0xf1,
    HEAD_I24 = 0xf2,
    HEAD_I32 = 0xf3,
    HEAD_I64 = 0xf4,
    HEAD_F64 = 0xf5,
};
#define STR12_MAX 4095u
#define DOUBLE_TEXT_MAX 8u /* longer texts of doubles take no less than the 8 bytes themselves */

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "integers are stored by memcpy");

static size_t back_size(size_t len)
{
    if (len < 1u << 7) return 1;
    if (len < 1u << 13) return 2;
    if (len < 1u << 20) return 3;
    return len < 1u << 27 ? 4 : 5;
}

static uint8_t *back_write(uint8_t *at, size_t len)
{
    size_t n = back_size(len);
    if (n == 1) {
        at[0] = (uint8_t)len;
        return at + 1;
    }
    at[n - 1] = (uint8_t)(0x80 | (len & 63));
    size_t rest = len >> 6;
    for (size_t i = n - 1; i-- > 0; rest >>= 7)
        at[i] = (uint8_t)((rest & 127) | (i > 0 ? 0x80 : 0));
    return at + n;
}

/* Reads at most `room` bytes before `end`; returns how many the field takes, 0 if malformed. */
static size_t back_read(const uint8_t *end, size_t room, size_t *len_out)
{
    if (room == 0) return 0;
    if (end[-1] < 0x80) {
        *len_out = end[-1];
        return 1;
    }
    if (end[-1] & 0x40) return 0;
    size_t len = end[-1] & 63, shift = 6;
    for (size_t n = 2; n <= 5 && n <= room; n++, shift += 7) {
        uint8_t b = end[-(ptrdiff_t)n];
        len |= (size_t)(b & 127) << shift;
        if (b < 0x80) {
            *len_out = len;
            return n;
        }
    }
    return 0;
}

static void item_close(struct lp_item *item)
{
    size_t len = item->head_len + item->text.len;
    item->size = len + back_size(len);
}

/* ---- items */

static void item_number(struct lp_item *out, uint8_t head, const void *payload, uint8_t len)
{
    out->head[0] = head;
    memcpy(out->head + 1, payload, len);
    out->head_len = (uint8_t)(1 + len);
}

void lp_item_int(int64_t v, struct lp_item *out)
{
    out->text = bytes_view(NULL, 0);
    if (v >= 0 && v < 128) {
        out->head[0] = (uint8_t)v;
        out->head_len = 1;
    } else if (v >= -4096 && v < 4096) {
        uint8_t low = (uint8_t)((uint64_t)v & 0xff);
        item_number(out, (uint8_t)(0xc0 | (((uint64_t)v >> 8) & 0x1f)), &low, 1);
    } else if (v >= INT16_MIN && v <= INT16_MAX) {
        item_number(out, HEAD_I16, &v, 2);
    } else if (v >= -(1 << 23) && v < 1 << 23) {
        item_number(out, HEAD_I24, &v, 3);
    } else if (v >= INT32_MIN && v <= INT32_MAX) {
        item_number(out, HEAD_I32, &v, 4);
    } else {
        item_number(out, HEAD_I64, &v, 8);
    }
    item_close(out);
}

static void item_string(struct bytes text, struct lp_item *out)
{
    assert(text.len <= UINT32_MAX);
    out->text = text;
    if (text.len < 64) {
        out->head[0] = (uint8_t)(0x80 | text.len);
        out->head_len = 1;
    } else if (text.len <= STR12_MAX) {
        uint8_t low = (uint8_t)(text.len & 0xff);
        item_number(out, (uint8_t)(0xe0 | text.len >> 8), &low, 1);
    } else {
        uint32_t len = (uint32_t)text.len;
        item_number(out, HEAD_STR32, &len, 4);
    }
    item_close(out);
}

void lp_item_text(struct bytes element, struct lp_item *out)
{
    int64_t v;
    if (element.len > 0 && element.len < NUM_I64_TEXT_MAX && num_parse_i64(element, &v)) {
        lp_item_int(v, out);
    } else {
        item_string(element, out);
    }
}

void lp_item_double(double v, struct lp_item *out)
{
    assert(!isnan(v));
    /* -0.0 is no integer: it must come back with its sign. */
    if (v > -0x1p63 && v < 0x1p63 && v == (double)(int64_t)v && !(v == 0 && signbit(v))) {
        lp_item_int((int64_t)v, out);
        return;
    }
    char text[NUM_DOUBLE_TEXT_MAX];
    size_t len = num_format_double(text, v);
    out->text = bytes_view(NULL, 0);
    if (len <= DOUBLE_TEXT_MAX) {
        item_number(out, (uint8_t)(0x80 | len), text, (uint8_t)len);
    } else {
        item_number(out, HEAD_F64, &v, 8);
    }
    item_close(out);
}

uint8_t *lp_write(uint8_t *at, const struct lp_item *item)
{
    size_t len = item->head_len + item->text.len;
    memcpy(at, item->head, item->head_len);
    if (item->text.len > 0) memcpy(at + item->head_len, item->text.data, item->text.len);
    return back_write(at + len, len);
}

/* ---- entries */

/* Head + payload of an entry of which `room` ≥ 1 bytes are there; 0 if the head is none or cut off. */
static size_t entry_len(const uint8_t *entry, size_t room)
{
    uint8_t b = entry[0];
    if (b < 0x80) return 1;
    if (b < 0xc0) return (size_t)(b & 63) + 1;
    if (b < 0xe0) return 2;
    if (b < 0xf0) return room < 2 ? 0 : 2 + ((size_t)(b & 15) << 8 | entry[1]);
    uint32_t len;
    switch (b) {
    case HEAD_STR32:
        if (room < 5) return 0;
        memcpy(&len, entry + 1, 4);
        return 5 + (size_t)len;
    case HEAD_I16:
        return 3;
    case HEAD_I24:
        return 4;
    case HEAD_I32:
        return 5;
    case HEAD_I64:
    case HEAD_F64:
        return 9;
    default:
        return 0;
    }
}

size_t lp_entry_size_long(const uint8_t *entry)
{
    size_t len = entry_len(entry, SIZE_MAX);
    assert(len > 0);
    return len + back_size(len);
}

const uint8_t *lp_before(const uint8_t *end)
{
    size_t len;
    size_t back = back_read(end, 5, &len);
    assert(back > 0);
    return end - back - len;
}

bool lp_int(const uint8_t *entry, int64_t *out)
{
    uint8_t b = entry[0];
    if (b < 0x80) {
        *out = b;
        return true;
    }
    if (b < 0xc0 || (b >= 0xe0 && (b < HEAD_I16 || b > HEAD_I64))) return false;
    uint64_t raw = 0;
    size_t bits;
    if (b < 0xe0) {
        raw = (uint64_t)(b & 0x1f) << 8 | entry[1];
        bits = 13;
    } else {
        size_t n = b == HEAD_I64 ? 8 : (size_t)b - HEAD_I16 + 2;
        memcpy(&raw, entry + 1, n);
        bits = n * 8;
    }
    *out = (int64_t)(raw << (64 - bits)) >> (64 - bits);
    return true;
}

/* Bytes before the payload of a string; 0 if it is none. */
static size_t string_head(uint8_t b)
{
    if (b >= 0x80 && b < 0xc0) return 1;
    if (b >= 0xe0 && b < 0xf0) return 2;
    return b == HEAD_STR32 ? 5 : 0;
}

struct bytes lp_text(const uint8_t *entry, char tmp[NUM_I64_TEXT_MAX])
{
    int64_t v;
    if (lp_int(entry, &v)) return bytes_view(tmp, num_format_i64(tmp, v));
    size_t head = string_head(entry[0]);
    assert(head > 0);
    return bytes_view(entry + head, entry_len(entry, SIZE_MAX) - head);
}

/* "-12.345": at most 8 digits over a power of ten, both exact doubles, so the division rounds once
 * and rightly. False for other forms. */
static bool short_decimal(struct bytes text, double *out)
{
    static const double power[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};
    bool negative = text.data[0] == '-', point = false;
    uint64_t digits = 0;
    size_t decimals = 0;
    for (size_t i = negative; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9') return false;
        digits = digits * 10 + (c - '0');
        decimals += point;
    }
    double v = (double)digits / power[decimals];
    *out = negative ? -v : v;
    return true;
}

double lp_double(const uint8_t *entry)
{
    int64_t i;
    if (lp_int(entry, &i)) return (double)i;
    double v = 0;
    if (entry[0] == HEAD_F64) {
        memcpy(&v, entry + 1, sizeof v);
        return v;
    }
    struct bytes text = bytes_view(entry + 1, entry[0] & 63);
    assert(text.len > 0);
    assert(text.len <= DOUBLE_TEXT_MAX);
    if (short_decimal(text, &v)) return v;
    bool ok = num_parse_double(text, &v);
    assert(ok);
    return v;
}

/* ---- ranges */

const uint8_t *lp_seek(const uint8_t *begin, const uint8_t *end, uint64_t count, uint64_t index)
{
    assert(index < count);
    if (index <= count / 2) {
        for (; index > 0; index--)
            begin = lp_next(begin);
        return begin;
    }
    for (uint64_t back = count - index; back > 0; back--)
        end = lp_before(end);
    return end;
}

const uint8_t *lp_find(const uint8_t *begin, const uint8_t *end, const struct lp_item *item,
                       uint32_t stride)
{
    assert(stride == 1 || stride == 2);
    const uint8_t *p = begin;
    while (p < end) {
        if (lp_matches(p, item)) return p;
        p = lp_next(p);
        if (stride == 2) p = lp_next(p);
    }
    assert(p == end);
    return NULL;
}

static bool entry_is_canonical(const uint8_t *entry)
{
    struct lp_item item;
    char tmp[NUM_I64_TEXT_MAX];
    if (entry[0] == HEAD_F64) {
        double v;
        memcpy(&v, entry + 1, sizeof v);
        if (isnan(v)) return false;
        lp_item_double(v, &item);
    } else {
        lp_item_text(lp_text(entry, tmp), &item);
    }
    return lp_matches(entry, &item);
}

bool lp_check_entries(struct bytes entries, uint64_t *count_out)
{
    uint64_t count = 0;
    for (size_t at = 0; at < entries.len; count++) {
        const uint8_t *entry = entries.data + at;
        size_t room = entries.len - at, len = entry_len(entry, room);
        if (len == 0 || len >= room || back_size(len) > room - len) return false;
        if (!entry_is_canonical(entry)) return false;
        size_t size = len + back_size(len), back;
        if (back_read(entry + size, size, &back) != back_size(len) || back != len) return false;
        at += size;
    }
    *count_out = count;
    return true;
}

bool lp_check(struct bytes blob)
{
    if (blob.len < LP_HEAD_BYTES) return false;
    const uint8_t *begin = lp_begin(blob);
    uint64_t count;
    if (!lp_check_entries(bytes_view(begin, (size_t)(lp_end(blob) - begin)), &count)) return false;
    return count == lp_count(blob);
}
