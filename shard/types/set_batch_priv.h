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

static inline bool batch_takes(const struct record *r)
{
    return record_type(r) == VALUE_SET || record_type(r) == VALUE_ZSET;
}
void batch_start(const struct record *r, struct batch_source *s_out);
/* The next members; count is 0 at the end. */
void batch_fill(struct batch *b, struct batch_source *s);
/* Is it a member of r, and with which score? */
MUST_CHECK bool batch_find(const struct record *r, struct set_member *m, double *score_out);
/* Starts loading what looking for the batch in r will read. */
void batch_prefetch(struct batch *b, const struct record *r);
/* Keeps those that r has (wanted), or those that it lacks. */
void batch_filter(struct batch *b, const struct record *r, bool wanted);

static inline struct set_member *batch_member(struct batch *b, uint32_t i)
{
    return &b->members[b->left[i]];
}

#endif
