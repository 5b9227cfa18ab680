/* shard/ds/bptree.h: a counted B+ tree of (score, item), ordered by score and then by the item's key:
 * the order of a sorted set. Rank, access by rank and counting between bounds are O(log n). Scores lie
 * beside the items' pointers, so that a search reads an item only where scores are equal. No two
 * entries may be equal in score and key. One owner thread. Owns its nodes, never the items. */
#ifndef MOON_DS_BPTREE_H
#define MOON_DS_BPTREE_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"

struct bptree {
    void *root; /* NULL: empty */
    uint64_t count;
    uint64_t bytes;  /* memory of all nodes */
    uint32_t height; /* 1: the root is a leaf */
};

/* The bytes that order items of equal score; borrowed while the item lives. */
typedef struct bytes (*bptree_key_fn)(const void *item);

static inline void bptree_init(struct bptree *t)
{
    *t = (struct bptree){.root = NULL};
}
/* Frees nodes with up to `max` entries or one more leaf; true when the tree is empty. */
bool bptree_free_slice(struct bptree *t, uint64_t max);

/* False: out of memory, nothing changed. Score is not NaN. */
MUST_CHECK bool bptree_try_insert(struct bptree *t, double score, void *item, bptree_key_fn key_of);
/* Starts loading the leaf where an entry of this score lies or will: to overlap with other misses. */
void bptree_prefetch(const struct bptree *t, double score);
/* Removes the entry of this item, which must be there with this score. */
void bptree_remove(struct bptree *t, double score, const void *item, bptree_key_fn key_of);
void *bptree_remove_at(struct bptree *t, uint64_t rank); /* rank < count; returns the item */
/* Gives the entry of an item another score, and another item of the same key (or the same one). False:
 * out of memory, nothing changed; never if the score stays. */
MUST_CHECK bool bptree_try_move(struct bptree *t, double score, const void *item, double new_score,
                                void *new_item, bptree_key_fn key_of);

/* How many entries come before an item that is in the tree … */
uint64_t bptree_rank(const struct bptree *t, double score, const void *item, bptree_key_fn key_of);
/* … how many have a score below (inclusive: or equal to) this one … */
uint64_t bptree_count_scores(const struct bptree *t, double score, bool inclusive);
/* … and, all scores being equal, how many have a key below (inclusive: or equal to) this one. */
uint64_t bptree_count_keys(const struct bptree *t, struct bytes key, bool inclusive,
                           bptree_key_fn key_of);

/* A place in the order; invalid after any change. */
struct bptree_cursor {
    const void *leaf; /* NULL: past either end */
    uint32_t index;
};
/* rank ≤ count; step: the direction of the walk to come. */
void bptree_seek(const struct bptree *t, uint64_t rank, int step, struct bptree_cursor *out);
/* The entry at the cursor, which then moves by step (+1, -1). False: past the end. */
MUST_CHECK bool bptree_next(struct bptree_cursor *c, int step, double *score_out, void **item_out);

/* Every invariant; for tests and DEBUG. */
MUST_CHECK bool bptree_check(const struct bptree *t, bptree_key_fn key_of);

#endif
