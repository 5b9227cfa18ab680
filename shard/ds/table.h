/* shard/ds/table.h: linear-hashing table of pointers, the one hash table of Moon: a slot's keys, the
 * fields of a big hash, the members of big sets and sorted sets (architecture.md §6; Litwin 1980).
 *
 * 64-byte buckets: 7 entries of 48-bit pointer + the low 16 hash bits, 7 tag bytes (hash bits 16–23),
 * one meta byte (overflow link in use, two walk marks, "some key here expires"). One bucket is split
 * per growth step, so no call ever rehashes more than one bucket; entries move only by split or merge.
 * Up to 64 buckets: one array; above: 4 KiB segments of 64 buckets under a two-level directory.
 * The head is 16 bytes, so that a shard's 16,384 slot heads stay in L2. One owner thread.
 *
 * What a read needs (find, both prefetches) is inline here, so that key_of, known where it is called,
 * is inlined too; everything that changes a table is in table.c, where the layout is drawn. */
#ifndef MOON_DS_TABLE_H
#define MOON_DS_TABLE_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "shard/base/assert.h"
#include "shard/base/attr.h"
#include "shard/base/bytes.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"

struct table_bucket;
struct table {
    uint64_t root : 48;  /* bucket array, or directory above 64 buckets; 0: empty table */
    uint64_t flags : 16; /* bit 0: segmented. Bits 8–15 belong to the owner (db: slot state) */
    uint32_t buckets;    /* in use, without overflow buckets */
    uint32_t count;      /* entries */
};
static_assert(sizeof(struct table) == 16, "hot slot head");

/* The bytes by which an item is found. */
typedef struct bytes (*table_key_fn)(const void *item);
/* The item's hash, needed when the stored 24 bits do not suffice to split (over 2^24 buckets). */
typedef uint64_t (*table_hash_fn)(const void *item);

/* Where an entry lies; valid until the next insert, remove or split of the same table. */
struct table_pos {
    struct table_bucket *bucket; /* maybe an overflow bucket */
    struct table_bucket *home;   /* first bucket of the chain */
    uint32_t home_index;
    uint32_t entry; /* 0–6 */
};

/* NULL if absent; then pos_out says nothing. pos_out may be NULL. */
HOT_INLINE void *table_find(const struct table *t, uint64_t hash, struct bytes key,
                            table_key_fn key_of, struct table_pos *pos_out);
/* The caller knows that the key is absent. May split one bucket. False only if memory ran out
 * (no entry changed). pos_out (may be NULL) is valid after the split. */
MUST_CHECK bool table_insert(struct table *t, uint64_t hash, void *item, table_hash_fn hash_of,
                             struct table_pos *pos_out);
void table_replace(struct table *t, const struct table_pos *pos,
                   void *item); /* same key and hash */
/* May merge one bucket (shrinking at low load). */
void table_remove(struct table *t, const struct table_pos *pos, table_hash_fn hash_of);
/* Sweeps of a batch: the bucket's line, then the line of the item whose tag and hash bits match. True:
 * none does and the chain goes on; the overflow bucket's line is under way instead, and
 * table_prefetch_overflow() in a further sweep gets the item's (one key in six: worth it). */
HOT_INLINE void table_prefetch_bucket(const struct table *t, uint64_t hash);
HOT_INLINE bool table_prefetch_item(const struct table *t, uint64_t hash);
HOT_INLINE void table_prefetch_overflow(const struct table *t, uint64_t hash);

/* SCAN: calls `each` for all entries of the bucket that holds position `cursor` (a position in
 * bit-reversed hash order, below 2^32) and returns the next position, 0 at the end. With any growth or
 * shrinking in between: every entry present throughout is seen at least once. `each` must not change
 * the table. */
uint64_t table_scan(const struct table *t, uint64_t cursor, void (*each)(void *ctx, void *item),
                    void *ctx);
/* A fair random entry (rejection over buckets and chains), NULL if empty. */
void *table_random(const struct table *t, struct rng *rng);
/* Removes all entries in slices: hands out up to `max` items per call and frees emptied buckets;
 * returns false when the table is empty and all its memory is returned. */
bool table_drain(struct table *t, uint32_t max, void (*each)(void *ctx, void *item), void *ctx);
/* Pre-sizes an empty table for `count` entries. */
MUST_CHECK bool table_reserve(struct table *t, uint32_t count);
size_t
table_bytes(const struct table *t); /* memory of buckets and directory, O(1) or O(segments) */
/* Every invariant; for tests and DEBUG. */
bool table_check(const struct table *t, table_key_fn key_of, table_hash_fn hash_of);

/* The "some entry of this bucket chain expires" bit, kept by db/expire. A split gives it to both
 * buckets, a merge keeps it if either had it. */
bool table_bucket_expires(const struct table *t, uint32_t home_index);
void table_bucket_set_expires(struct table *t, uint32_t home_index, bool on);
/* Entries of one home bucket with its overflow chain. */
void table_bucket_each(const struct table *t, uint32_t home_index,
                       void (*each)(void *ctx, void *item), void *ctx);
/* When buckets grew from n to n + 1, bucket n was split off this one; when they shrank from n + 1 to
 * n, bucket n was merged into it. n > 0. */
static inline uint32_t table_split_source(uint32_t n)
{
    return n & ~(UINT32_C(1) << (31 - __builtin_clz(n)));
}

/* ---- layout, for the inline functions below and for table.c; nobody else looks inside */

#define TABLE__ENTRIES 7u
#define TABLE__SEGMENT_SHIFT 6u /* 64 buckets, 4 KiB */
#define TABLE__PAGE_SHIFT 9u    /* 512 segments below one directory page */
#define TABLE__PTR_MASK ((UINT64_C(1) << 48) - 1)

enum { TABLE__SEGMENTED = 1 }; /* table.flags; bits 1–5: room, 6–7: longest chain, see table.c */
enum {
    TABLE__LINK = 1,
    TABLE__WALK_A = 2,
    TABLE__WALK_B = 4,
    TABLE__EXPIRES = 8
}; /* bucket.meta */

struct table_bucket {
    uint64_t entry[TABLE__ENTRIES]; /* pointer below, hash bits 0–15 above; 0: free */
    uint8_t tag[TABLE__ENTRIES];    /* hash bits 16–23 */
    uint8_t meta;
};
static_assert(sizeof(struct table_bucket) == 64, "a bucket is one cache line");

struct table__dir {
    uint64_t overflows; /* overflow buckets of the table; counted in its topmost directory */
    void *at[];         /* segments, or pages of them */
};

HOT_INLINE uint32_t table__room(const struct table *t)
{
    return (uint32_t)t->flags >> 1 & 31u;
}

/* Lowest bits of the hash: one bit more for buckets that have been split in this round. */
HOT_INLINE uint32_t table__index(const struct table *t, uint64_t hash)
{
    uint32_t mask = UINT32_MAX >> __builtin_clz((t->buckets - 1) | 1);
    uint32_t i = (uint32_t)hash & mask;
    return i < t->buckets ? i : i & mask >> 1;
}

HOT_INLINE struct table_bucket *table__bucket(const struct table *t, uint32_t index)
{
    uintptr_t root = (uintptr_t)t->root;
    if (likely(!(t->flags & TABLE__SEGMENTED))) return (struct table_bucket *)root + index;
    const struct table__dir *d = (const struct table__dir *)root;
    uint32_t segment = index >> TABLE__SEGMENT_SHIFT;
    if (table__room(t) > TABLE__PAGE_SHIFT) {
        d = d->at[segment >> TABLE__PAGE_SHIFT];
        segment &= (1u << TABLE__PAGE_SHIFT) - 1;
    }
    return (struct table_bucket *)d->at[segment] + (index & ((1u << TABLE__SEGMENT_SHIFT) - 1));
}

/* Bit e: entry e may be one of a hash with this tag. A link in entry 6 is never reported. */
HOT_INLINE uint32_t table__match(const struct table_bucket *b, uint8_t tag)
{
    uint64_t tags;
    memcpy(&tags, (const uint8_t *)b + sizeof b->entry, sizeof tags);
    uint32_t used = 0x7fu >> (b->meta & TABLE__LINK);
#ifdef __SSE2__
    __m128i same = _mm_cmpeq_epi8(_mm_cvtsi64_si128((long long)tags), _mm_set1_epi8((char)tag));
    return (uint32_t)_mm_movemask_epi8(same) & used;
#else
    uint64_t x = tags ^ UINT64_C(0x0101010101010101) * tag;
    uint64_t zero = ~(((x & UINT64_C(0x7f7f7f7f7f7f7f7f)) + UINT64_C(0x7f7f7f7f7f7f7f7f)) | x |
                      UINT64_C(0x7f7f7f7f7f7f7f7f));
    return (uint32_t)((zero >> 7) * UINT64_C(0x0102040810204080) >> 56) &
           used; /* gathers the bits */
#endif
}

HOT_INLINE void *table__entry_item(uint64_t entry)
{
    return (void *)(uintptr_t)(entry & TABLE__PTR_MASK);
}

HOT_INLINE struct table_bucket *table__next(const struct table_bucket *b)
{
    return b->meta & TABLE__LINK ? table__entry_item(b->entry[TABLE__ENTRIES - 1]) : NULL;
}

/* A call of memcmp costs more than the comparison of a usual key. */
HOT_INLINE bool table__same_key(struct bytes a, struct bytes b)
{
    if (a.len != b.len) return false;
    size_t n = a.len;
    if (likely(n >= 8)) {
        uint64_t x, y;
        if (unlikely(n > 64)) return memcmp(a.data, b.data, n) == 0;
        for (size_t i = 0; i + 8 < n; i += 8) {
            memcpy(&x, a.data + i, 8);
            memcpy(&y, b.data + i, 8);
            if (x != y) return false;
        }
        memcpy(&x, a.data + n - 8, 8);
        memcpy(&y, b.data + n - 8, 8);
        return x == y;
    }
    if (n >= 4) {
        uint32_t x, y, v, w;
        memcpy(&x, a.data, 4);
        memcpy(&y, b.data, 4);
        memcpy(&v, a.data + n - 4, 4);
        memcpy(&w, b.data + n - 4, 4);
        return ((x ^ y) | (v ^ w)) == 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (a.data[i] != b.data[i]) return false;
    }
    return true;
}

HOT_INLINE void *table_find(const struct table *t, uint64_t hash, struct bytes key,
                            table_key_fn key_of, struct table_pos *pos_out)
{
    if (unlikely(t->count == 0)) return NULL;
    uint32_t index = table__index(t, hash);
    struct table_bucket *home = table__bucket(t, index), *b = home;
    do {
        for (uint32_t m = table__match(b, (uint8_t)(hash >> 16)); m != 0; m &= m - 1) {
            uint32_t e = (uint32_t)__builtin_ctz(m);
            uint64_t entry = b->entry[e];
            void *item = table__entry_item(entry);
            if ((uint16_t)(entry >> 48) != (uint16_t)hash || item == NULL) continue;
            if (unlikely(!table__same_key(key_of(item), key))) continue;
            if (pos_out != NULL) *pos_out = (struct table_pos){b, home, index, e};
            return item;
        }
        b = table__next(b);
    } while (unlikely(b != NULL));
    return NULL;
}

HOT_INLINE void table_prefetch_bucket(const struct table *t, uint64_t hash)
{
    if (t->count != 0) __builtin_prefetch(table__bucket(t, table__index(t, hash)));
}

HOT_INLINE bool table__prefetch_in(const struct table_bucket *b, uint64_t hash)
{
    for (uint32_t m = table__match(b, (uint8_t)(hash >> 16)); m != 0; m &= m - 1) {
        uint64_t entry = b->entry[__builtin_ctz(m)];
        if ((uint16_t)(entry >> 48) != (uint16_t)hash) continue;
        const char *item = table__entry_item(entry);
        __builtin_prefetch(item);
        __builtin_prefetch(item + 64);
        return true;
    }
    return false;
}

HOT_INLINE bool table_prefetch_item(const struct table *t, uint64_t hash)
{
    if (t->count == 0) return false;
    const struct table_bucket *b = table__bucket(t, table__index(t, hash));
    if (table__prefetch_in(b, hash) || !(b->meta & TABLE__LINK)) return false;
    __builtin_prefetch(table__next(b));
    return true;
}

HOT_INLINE void table_prefetch_overflow(const struct table *t, uint64_t hash)
{
    if (t->count == 0) return;
    const struct table_bucket *b = table__next(table__bucket(t, table__index(t, hash)));
    if (b != NULL) (void)table__prefetch_in(b, hash);
}

#endif
