/* shard/ds/listpack.h: small elements packed one after the other: the entries of packed collections
 * (whole blob) and of list chunks (bare range of entries). Pure: works on bytes, allocates nothing.
 *
 * Blob:  count u32 (host order) | entries | padding
 * Entry: head | payload | back
 *   head      0xxxxxxx                     integer 0 … 127
 *             10llllll                     string of l < 64 bytes
 *             110xxxxx x8                  integer of 13 bits, two's complement
 *             1110llll l8                  string of l < 4096 bytes
 *             11110000 l32                 string
 *             11110001 … 11110100          integer of 16, 24, 32, 64 bits (little endian, as all here)
 *             11110101                     double, 8 bytes
 *   back      length of head + payload, readable from its end: one byte below 128; else the last byte
 *             is 10llllll with the low 6 bits, those before it carry 7 bits each, high bit set where
 *             another one precedes.
 * No entry ends in 0xff. Padding is bytes 0xff at the end of a blob: a blob that could not be made
 * shorter because memory ran out keeps its length and is padded.
 *
 * Every value has exactly one encoding (the shortest), so equality is equality of bytes. Text that is
 * a canonical integer is packed as one and reads back the same. */
#ifndef MOON_DS_LISTPACK_H
#define MOON_DS_LISTPACK_H

#include "shard/base/assert.h"
#include "shard/base/bytes.h"
#include "shard/base/num.h"

#define LP_HEAD_BYTES 4u
#define LP_PAD 0xffu
/* More than any entry adds to the text it holds. */
#define LP_ENTRY_OVERHEAD_MAX 10u

/* An element made ready for writing and comparing. Borrows the text it was made of. */
struct lp_item {
    struct bytes text; /* payload that follows head; empty for numbers and short doubles */
    size_t size;       /* of the whole entry */
    uint8_t head[9];
    uint8_t head_len;
};
void lp_item_text(struct bytes element, struct lp_item *out);
void lp_item_int(int64_t v, struct lp_item *out);
/* As integer if it is one, as text if that takes 8 bytes or less, else binary. Not NaN. */
void lp_item_double(double v, struct lp_item *out);

/* Writes item->size bytes; returns their end. */
uint8_t *lp_write(uint8_t *at, const struct lp_item *item);

size_t lp_entry_size_long(const uint8_t *entry);
/* Size of the whole entry. */
static inline size_t lp_entry_size(const uint8_t *entry)
{
    uint8_t b = entry[0];
    if (b < 0x80) return 2;
    if (b < 0xc0) return (size_t)(b & 63) + 2;
    return lp_entry_size_long(entry);
}
static inline const uint8_t *lp_next(const uint8_t *entry)
{
    return entry + lp_entry_size(entry);
}
/* The entry that ends where `end` points. */
const uint8_t *lp_before(const uint8_t *end);

/* Equal bytes; the last ones first, for the names of fields differ there. A call of memcmp costs more
 * than the comparison of a usual one. */
static inline bool lp__same(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (likely(n >= 8)) {
        uint64_t x, y;
        memcpy(&x, a + n - 8, 8);
        memcpy(&y, b + n - 8, 8);
        if (x != y) return false;
        if (unlikely(n > 64)) return memcmp(a, b, n) == 0;
        for (size_t i = 0; i + 8 < n; i += 8) {
            memcpy(&x, a + i, 8);
            memcpy(&y, b + i, 8);
            if (x != y) return false;
        }
        return true;
    }
    for (size_t i = n; i-- > 0;) {
        if (a[i] != b[i]) return false;
    }
    return true;
}
static inline bool lp_matches(const uint8_t *entry, const struct lp_item *item)
{
    /* An equal first byte means an equal head length, so nothing past the entry is read. */
    if (entry[0] != item->head[0]) return false;
    if (item->head_len > 1 && memcmp(entry, item->head, item->head_len) != 0) return false;
    return lp__same(entry + item->head_len, item->text.data, item->text.len);
}

/* The text; integers are written into tmp. Not for doubles in binary. */
struct bytes lp_text(const uint8_t *entry, char tmp[NUM_I64_TEXT_MAX]);
/* True if the entry is an integer. */
MUST_CHECK bool lp_int(const uint8_t *entry, int64_t *out);
/* Of what lp_item_double made. */
double lp_double(const uint8_t *entry);

/* ---- blobs */

static inline uint32_t lp_count(struct bytes blob)
{
    uint32_t n;
    assert(blob.len >= LP_HEAD_BYTES);
    memcpy(&n, blob.data, sizeof n);
    return n;
}
static inline void lp_set_count(uint8_t *blob, uint32_t count)
{
    memcpy(blob, &count, sizeof count);
}
static inline const uint8_t *lp_begin(struct bytes blob)
{
    return blob.data + LP_HEAD_BYTES;
}
static inline const uint8_t *lp_end(struct bytes blob)
{
    const uint8_t *end = blob.data + blob.len;
    while (end > blob.data + LP_HEAD_BYTES && end[-1] == LP_PAD)
        end--;
    return end;
}
/* Entry `index` < count of the range; walks from the nearer end. */
const uint8_t *lp_seek(const uint8_t *begin, const uint8_t *end, uint64_t count, uint64_t index);
/* First entry equal to item among each `stride`-th, NULL if none. */
const uint8_t *lp_find(const uint8_t *begin, const uint8_t *end, const struct lp_item *item,
                       uint32_t stride);

/* Are these bytes a range of well-formed entries, each in its one encoding? For bytes of any origin:
 * reads nothing outside, O(len). */
MUST_CHECK bool lp_check_entries(struct bytes entries, uint64_t *count_out);
/* The same for a blob, its count and padding included. */
MUST_CHECK bool lp_check(struct bytes blob);

#endif
