/* shard/types/types_priv.h: what the files of this room share and nobody else sees: the full encodings
 * of the types, as value.c and record.c need them. One table per type, beside its full encoding. */
#ifndef MOON_TYPES_TYPES_PRIV_H
#define MOON_TYPES_TYPES_PRIV_H

#include "shard/types/record.h"

/* `full` is record_out.ptr of a full encoding. Those of hashes, sets and sorted sets begin with their
 * struct table. */
struct full_ops {
    uint64_t (*len)(const void *full);  /* elements */
    size_t (*bytes)(const void *full);  /* all its memory, O(1) */
    uint64_t (*cost)(const void *full); /* steps that freeing takes */
    /* Frees up to `max` steps' worth; true when `full` itself is gone. */
    bool (*free_slice)(void *full, uint32_t max);
    void *(*try_copy)(const void *full); /* NULL: out of memory */
    bool (*check)(const void *full);
};
extern const struct full_ops list_full_ops, hash_full_ops, set_full_ops, zset_full_ops;

/* Of the type of a full record. Defined in value.c. */
const struct full_ops *full_ops_of(const struct record *r);
/* Frees the structure at record_out.ptr, whatever its size; not the record. */
void full_free(struct record *r);

/* Is the list a quicklist by Redis's rules (list.c)? */
bool list_is_quick(const struct record *r);

#endif
