/* shard/ds/quicklist.h: a long sequence of packed elements: chunks of listpack entries, linked in
 * order and counted by a tree, so that an index is found in O(log chunks + chunk) and both ends cost
 * O(1). An element that is larger than a chunk may be gets a chunk of its own. One owner thread. */
#ifndef MOON_DS_QUICKLIST_H
#define MOON_DS_QUICKLIST_H

#include "shard/base/attr.h"
#include "shard/ds/listpack.h"

/* A block of bytes with slack at both ends: entries lie in data[begin, end). */
struct ql_chunk {
    struct ql_chunk *prev, *next;
    struct ql_chunk *left, *right, *parent;
    uint64_t sum;             /* weights of this subtree */
    uint32_t weight;          /* count, but 0 in the first and the last chunk */
    uint32_t priority;        /* no child has a higher one */
    uint32_t cap, begin, end; /* bytes of data */
    uint32_t count;
    uint8_t data[];
};

struct quicklist {
    struct ql_chunk *head, *tail, *root; /* NULL: empty */
    uint64_t count;                      /* elements */
    uint64_t bytes;                      /* memory of all chunks */
    uint32_t chunks;
    uint32_t flags; /* the owner's */
};

/* How large chunks may grow; asked at each change, so that a new setting works from then on. */
struct ql_limit {
    uint32_t block_bytes; /* chunk with its head, > QL_BLOCK_MIN */
    uint32_t count;       /* elements, > 0 */
};
#define QL_BLOCK_MIN 256u

void quicklist_init(struct quicklist *ql);
/* Frees up to max_chunks chunks; true when none is left. */
bool quicklist_free_slice(struct quicklist *ql, uint32_t max_chunks);
/* A copy into an empty list. False: out of memory, the copy is empty. */
MUST_CHECK bool quicklist_try_copy(const struct quicklist *source, struct quicklist *target);

MUST_CHECK bool quicklist_try_push(struct quicklist *ql, bool at_head, const struct lp_item *item,
                                   struct ql_limit limit);
/* Makes one chunk of `count` well-formed entries, in an empty list. */
MUST_CHECK bool quicklist_try_adopt(struct quicklist *ql, struct bytes entries, uint32_t count);
/* Drops `count` ≤ ql->count elements from an end. */
void quicklist_drop(struct quicklist *ql, bool at_head, uint64_t count);

/* The new element gets `index` ≤ count. */
MUST_CHECK bool quicklist_try_insert(struct quicklist *ql, uint64_t index,
                                     const struct lp_item *item, struct ql_limit limit);
MUST_CHECK bool quicklist_try_set(struct quicklist *ql, uint64_t index, const struct lp_item *item,
                                  struct ql_limit limit);
void quicklist_remove(struct quicklist *ql, uint64_t index, uint64_t count, struct ql_limit limit);
/* Removes up to `max` (0: all) elements equal to item from one end on; returns how many. */
uint64_t quicklist_remove_equal(struct quicklist *ql, const struct lp_item *item, uint64_t max,
                                bool from_tail, struct ql_limit limit);

/* The chunk that holds element `index` < count, and the element's index in it. */
struct ql_chunk *quicklist_locate(const struct quicklist *ql, uint64_t index,
                                  uint32_t *index_in_chunk_out);
static inline const uint8_t *ql_begin(const struct ql_chunk *c)
{
    return c->data + c->begin;
}
static inline const uint8_t *ql_end(const struct ql_chunk *c)
{
    return c->data + c->end;
}
static inline uint32_t ql_used(const struct ql_chunk *c)
{
    return c->end - c->begin;
}

/* Every invariant; for tests and DEBUG. */
MUST_CHECK bool quicklist_check(const struct quicklist *ql);

#endif
