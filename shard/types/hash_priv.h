/* shard/types/hash_priv.h: the full encoding of a hash, for value.c. */
#ifndef MOON_TYPES_HASH_PRIV_H
#define MOON_TYPES_HASH_PRIV_H

#include "shard/ds/table.h"
#include "shard/types/record.h"

struct hash_full {
    struct table fields;  /* of hash nodes, by field name */
    uint64_t node_bytes;  /* nodes with what hangs off them, as allocated */
};

static inline struct hash_full *hash_full(const struct record *r)
{
    return record_out(r)->ptr;
}
size_t hash_full_bytes(const struct hash_full *h);
/* Frees up to `max` fields; true when h itself is gone. */
bool hash_full_free_slice(struct hash_full *h, uint32_t max);
MUST_CHECK bool hash_check(const struct record *r);
/* An empty full hash sized for `count` fields. NULL: out of memory. */
MUST_CHECK struct hash_full *hash_full_try_new(uint64_t count);

#endif
