/* shard/types/set_batch_priv.h: members of a set or a sorted set taken a few at a time, so that what they miss
 * in other sets overlaps: for set_algebra.c and zset_algebra.c. */
#ifndef MOON_TYPES_SET_BATCH_PRIV_H
#define MOON_TYPES_SET_BATCH_PRIV_H

#include "shard/types/set.h"
#include "shard/types/zset.h"

#define BATCH 16u

struct batch_source { /* sorted sets are walked in their order */
    const struct record *record;
    union {
        struct set_iter set;
        struct zset_iter packed;
        struct bptree_cursor full;
    } at;
};
struct batch {
    struct set_member members[BATCH];
    double scores[BATCH]; /* as in the source; of a set's members 1 */
    uint8_t left[BATCH];  /* places of those that are still in */
    uint32_t count;       /* of them */
};

/* A listpack that is asked often: where its entries (of a sorted set: members) are, by a hash of their bytes. */
#define BATCH_PLACES 512u
struct batch_index {
    uint16_t places[BATCH_PLACES]; /* offset of an entry; 0: free (there is the head) */
};
/* Of the first few of several sources, on the caller's stack. */
#define BATCH_INDEXES 4u
struct batch_indexes {
    bool made[BATCH_INDEXES];
    struct batch_index of[BATCH_INDEXES];
};

static inline bool batch_takes(const struct record *r)
{
    return record_type(r) == VALUE_SET || record_type(r) == VALUE_ZSET;
}
void batch_start(const struct record *r, struct batch_source *s_out);
/* The next members; count is 0 at the end. */
void batch_fill(struct batch *b, struct batch_source *s);
/* r is the i-th of the sources that will be asked for `members` members: makes an index if that pays. */
void batch_index(struct batch_indexes *x, uint32_t i, const struct record *r, uint64_t members);
/* Is it a member of r, the i-th source, and with which score? */
MUST_CHECK bool batch_find(const struct batch_indexes *x, uint32_t i, const struct record *r,
                           struct set_member *m, double *score_out);
/* Starts loading what looking for the batch in r will read. */
void batch_prefetch(struct batch *b, const struct record *r);

static inline struct set_member *batch_member(struct batch *b, uint32_t i)
{
    return &b->members[b->left[i]];
}

#endif
