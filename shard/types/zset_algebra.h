/* shard/types/zset_algebra.h: union, intersection and difference of sorted sets, and of sets, whose members
 * have score 1. Sources are read and never changed. What is in none but several (its count only): set_inter(). */
#ifndef MOON_TYPES_ZSET_ALGEBRA_H
#define MOON_TYPES_ZSET_ALGEBRA_H

#include "shard/types/record.h"
#include "shard/types/set_gather.h"

enum zset_aggregate { ZSET_SUM, ZSET_MIN, ZSET_MAX };
struct zset_source {
    const struct record *record; /* NULL: absent */
    double weight;
    uint32_t place; /* for the call's own use */
};

/* Each gives the members of the result with their scores, sorted, none NaN; borrowed from the sources; *out is
 * for gather_free(). Scores come together in the order in which Redis adds them: from the smallest source up.
 * `sources` (at least one) is put into another order. False: out of memory, nothing to free. */
MUST_CHECK bool zset_union(struct zset_source *sources, uint32_t count, enum zset_aggregate how,
                           struct gather *out);
MUST_CHECK bool zset_inter(struct zset_source *sources, uint32_t count, enum zset_aggregate how,
                           struct gather *out);
/* Scores of the first. */
MUST_CHECK bool zset_diff(const struct record **sources, uint32_t count, struct gather *out);

/* A sorted set of what one of them has given, in the encoding of Redis. NULL: out of memory. */
MUST_CHECK struct record *zset_try_build(struct bytes key, const struct gather *members);

#endif
