/* shard/ds/intset.h: a small set of integers as a sorted array, all of one width. Pure: works on a
 * blob, allocates nothing.
 *
 * Blob: count (low 30 bits) and width (0, 1, 2: two, four, eight bytes) in one u32 | integers, rising.
 * What follows them is slack. Widths grow with the largest member and never shrink, as in Redis. */
#ifndef MOON_DS_INTSET_H
#define MOON_DS_INTSET_H

#include "shard/base/assert.h"
#include "shard/base/bytes.h"

#define INTSET_HEAD_BYTES 4u
#define INTSET_COUNT_MAX ((1u << 30) - 1)

static inline uint32_t intset__head(struct bytes blob)
{
    uint32_t head;
    assert(blob.len >= INTSET_HEAD_BYTES);
    memcpy(&head, blob.data, sizeof head);
    return head;
}
static inline uint32_t intset_count(struct bytes blob)
{
    return intset__head(blob) & INTSET_COUNT_MAX;
}
static inline uint32_t intset_width(struct bytes blob)
{
    return intset__head(blob) >> 30;
}
/* The narrowest width that holds v. */
static inline uint32_t intset_width_of(int64_t v)
{
    if (v >= INT16_MIN && v <= INT16_MAX) return 0;
    return v >= INT32_MIN && v <= INT32_MAX ? 1 : 2;
}
static inline size_t intset_bytes(uint32_t width, uint32_t count)
{
    return INTSET_HEAD_BYTES + ((size_t)count << (width + 1));
}
/* Writes an empty set into INTSET_HEAD_BYTES bytes. */
void intset_init(uint8_t *blob);
/* Member `index` < count in rising order. */
int64_t intset_get(struct bytes blob, uint32_t index);
/* Index of v; if it is absent (false), of the first larger member. */
bool intset_find(struct bytes blob, int64_t v, uint32_t *index_out);
/* The blob has room for count members of this width, which is wider than the present one. */
void intset_widen(uint8_t *blob, uint32_t width);
/* Before member `index`; the blob has room and width for it. */
void intset_insert(uint8_t *blob, uint32_t index, int64_t v);
void intset_remove(uint8_t *blob, uint32_t index);
/* For bytes of any origin: reads nothing outside. */
bool intset_check(struct bytes blob);

#endif
