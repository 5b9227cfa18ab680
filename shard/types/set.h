/* shard/types/set.h: sets. Encodings: intset, listpack, hashtable (struct table of member nodes). */
#ifndef MOON_TYPES_SET_H
#define MOON_TYPES_SET_H

#include "shard/base/num.h"
#include "shard/base/rng.h"
#include "shard/types/record.h"

/* The encoding fits the first member, as Redis chooses it. `expected` members to come (0: unknown). */
MUST_CHECK struct record *set_try_new(struct bytes key, struct bytes first, uint64_t expected, int64_t expire_ms);
uint64_t set_len(const struct record *r);
bool set_has(const struct record *r, struct bytes member);
/* 1 added, 0 was there, -1 out of memory. */
int set_add(struct record **r, struct bytes member);
bool set_remove(struct record **r, struct bytes member);

struct set_iter {
    const struct record *record;
    uint64_t at;
    void *state[4];
};
void set_iter_start(const struct record *r, struct set_iter *it_out);
MUST_CHECK bool set_iter_next(struct set_iter *it, char tmp[NUM_I64_TEXT_MAX], struct bytes *member_out);
uint64_t set_scan(const struct record *r, uint64_t cursor, void (*each)(void *ctx, struct bytes member), void *ctx);
/* The set is not empty. */
struct bytes set_random(const struct record *r, struct rng *rng, char tmp[NUM_I64_TEXT_MAX]);

#endif
