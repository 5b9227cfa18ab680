/* shard/ds/table.h: linear-hashing table of pointers, the one hash table of Moon: a slot's keys, the
 * fields of a big hash, the members of big sets and sorted sets (architecture.md §6; Litwin 1980).
 *
 * 64-byte buckets: 7 entries of 48-bit pointer + the low 16 hash bits, 7 tag bytes (hash bits 16–23),
 * one meta byte (overflow link in use, two walk marks, "some key here expires"). One bucket is split
 * per growth step, so no call ever rehashes more than one bucket; entries move only by split or merge.
 * Up to 64 buckets: one array; above: 4 KiB segments of 64 buckets under a two-level directory.
 * The head is 16 bytes, so that a shard's 16,384 slot heads stay in L2. One owner thread. */
#ifndef MOON_DS_TABLE_H
#define MOON_DS_TABLE_H

#include "shard/base/assert.h"
#include "shard/base/attr.h"
#include "shard/base/bytes.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"

struct table_bucket;
struct table {
    uint64_t root : 48;    /* bucket array, or directory above 64 buckets; 0: empty table */
    uint64_t flags : 16;   /* bit 0: segmented. Bits 8–15 belong to the owner (db: slot state) */
    uint32_t buckets;      /* in use, without overflow buckets */
    uint32_t count;        /* entries */
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
void *table_find(const struct table *t, uint64_t hash, struct bytes key, table_key_fn key_of,
                 struct table_pos *pos_out);
/* The caller knows that the key is absent. May split one bucket. False only if memory ran out
 * (nothing changed). pos_out (may be NULL) is valid after the split. */
MUST_CHECK bool table_insert(struct table *t, uint64_t hash, void *item, table_hash_fn hash_of,
                             struct table_pos *pos_out);
void table_replace(struct table *t, const struct table_pos *pos, void *item); /* same key and hash */
/* May merge one bucket (shrinking at low load). */
void table_remove(struct table *t, const struct table_pos *pos, table_hash_fn hash_of);
/* Two sweeps of a batch: the bucket's line, then the lines of the items whose tags match. */
void table_prefetch_bucket(const struct table *t, uint64_t hash);
void table_prefetch_item(const struct table *t, uint64_t hash);

/* SCAN: calls `each` for all entries of the bucket that holds position `cursor` (a position in
 * bit-reversed hash order) and returns the next position, 0 at the end. With any growth or shrinking
 * in between: every entry present throughout is seen at least once. `each` must not change the table. */
uint64_t table_scan(const struct table *t, uint64_t cursor, void (*each)(void *ctx, void *item), void *ctx);
/* A fair random entry (rejection over buckets and chains), NULL if empty. */
void *table_random(const struct table *t, struct rng *rng);
/* Removes all entries in slices: hands out up to `max` items per call and frees emptied buckets;
 * returns false when the table is empty and all its memory is returned. */
bool table_drain(struct table *t, uint32_t max, void (*each)(void *ctx, void *item), void *ctx);
/* Pre-sizes an empty table for `count` entries. */
MUST_CHECK bool table_reserve(struct table *t, uint32_t count);
size_t table_bytes(const struct table *t); /* memory of buckets and directory, O(1) or O(segments) */
/* Every invariant; for tests and DEBUG. */
bool table_check(const struct table *t, table_key_fn key_of, table_hash_fn hash_of);

/* The "some entry of this bucket chain expires" bit, kept by db/expire. */
bool table_bucket_expires(const struct table *t, uint32_t home_index);
void table_bucket_set_expires(struct table *t, uint32_t home_index, bool on);
/* Entries of one home bucket with its overflow chain. */
void table_bucket_each(const struct table *t, uint32_t home_index, void (*each)(void *ctx, void *item), void *ctx);

#endif
