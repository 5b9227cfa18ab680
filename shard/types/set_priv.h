/* shard/types/set_priv.h: the full encoding of a set, for value.c. */
#ifndef MOON_TYPES_SET_PRIV_H
#define MOON_TYPES_SET_PRIV_H

#include "shard/ds/table.h"
#include "shard/types/record.h"

struct set_full {
    struct table members; /* of set nodes */
    uint64_t node_bytes;  /* as allocated */
};

static inline struct set_full *set_full(const struct record *r)
{
    return record_out(r)->ptr;
}
size_t set_full_bytes(const struct set_full *s);
/* Frees up to `max` members; true when s itself is gone. */
bool set_full_free_slice(struct set_full *s, uint32_t max);
/* NULL: out of memory. */
MUST_CHECK struct set_full *set_full_try_copy(const struct set_full *s);
MUST_CHECK bool set_check(const struct record *r);

#endif
