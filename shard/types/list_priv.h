/* shard/types/list_priv.h: the full encoding of a list, for value.c. */
#ifndef MOON_TYPES_LIST_PRIV_H
#define MOON_TYPES_LIST_PRIV_H

#include "shard/ds/quicklist.h"
#include "shard/types/record.h"

/* In quicklist.flags: the list is a quicklist by Redis's rules. Without it the list is one that Redis
 * would keep in a single listpack; we chunk it already when it no longer fits its record, so that
 * pushing at the head does not move kilobytes. */
#define LIST_QUICK 1u

static inline struct quicklist *list_full(const struct record *r)
{
    return record_out(r)->ptr;
}
size_t list_full_bytes(const struct quicklist *ql);
/* Frees up to max_chunks chunks; true when ql itself is gone. */
bool list_full_free_slice(struct quicklist *ql, uint32_t max_chunks);
/* NULL: out of memory. */
MUST_CHECK struct quicklist *list_full_try_copy(const struct quicklist *ql);
bool list_is_quick(const struct record *r);
MUST_CHECK bool list_check(const struct record *r);

#endif
