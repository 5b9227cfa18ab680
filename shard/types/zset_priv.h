/* shard/types/zset_priv.h: the full encoding of a sorted set (zset_full.c), used by zset.c. */
#ifndef MOON_TYPES_ZSET_PRIV_H
#define MOON_TYPES_ZSET_PRIV_H

#include <math.h>

#include "shard/ds/bptree.h"
#include "shard/ds/table.h"
#include "shard/types/record.h"
#include "shard/types/zset.h"

struct zset_full {
    struct table members; /* of zset nodes, by member */
    struct bptree order;  /* the same nodes by score and member */
    uint64_t node_bytes;  /* as allocated */
};
static_assert(offsetof(struct zset_full, members) == 0, "value.c looks it up");

static inline struct zset_full *zset_full(const struct record *r)
{
    return record_out(r)->ptr;
}
/* NULL: out of memory. */
MUST_CHECK struct zset_full *zset_full_try_new(uint64_t expected);
void zset_full_free(struct zset_full *z);
/* Of a member that is absent. False: out of memory, nothing changed. */
MUST_CHECK bool zset_full_try_add(struct zset_full *z, struct bytes member, double score);
enum zset_result zset_full_update(struct zset_full *z, struct bytes member, uint32_t how,
                                  double *score);
bool zset_full_remove(struct zset_full *z, struct bytes member);
void zset_full_remove_at(struct zset_full *z, uint64_t rank);
MUST_CHECK bool zset_full_score(const struct zset_full *z, struct bytes member, double *out);
MUST_CHECK bool zset_full_rank(const struct zset_full *z, struct bytes member, uint64_t *rank_out);
uint64_t zset_full_keys_before(const struct zset_full *z, struct bytes member, bool inclusive);
struct bytes zset_node_member(const void *node);
double zset_node_score(const void *node);

/* For a member that is there with score `old`: ZSET_MOVED if it is to get *score (made the sum for
 * ZSET_INCR), else why not. */
static inline enum zset_result zset_judge(uint32_t how, double old, double *score)
{
    if (unlikely(how != 0)) {
        if (how & ZSET_NX) return ZSET_REFUSED;
        if (how & ZSET_INCR) *score += old;
        if (isnan(*score)) return ZSET_NAN;
        if ((how & ZSET_GT) && *score <= old) return ZSET_REFUSED;
        if ((how & ZSET_LT) && *score >= old) return ZSET_REFUSED;
    }
    return *score == old ? ZSET_SAME : ZSET_MOVED;
}

#endif
