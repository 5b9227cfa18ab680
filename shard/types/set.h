/* shard/types/set.h: sets. Encodings: intset, listpack, hashtable (struct table of member nodes).
 *
 * A member given to set_add must not lie inside the record that it changes; set_remove may be given
 * what set_random has returned. */
#ifndef MOON_TYPES_SET_H
#define MOON_TYPES_SET_H

#include "shard/base/num.h"
#include "shard/base/rng.h"
#include "shard/types/record.h"
#include "shard/types/window.h"

/* An empty set in the encoding that fits its first member, as Redis chooses it: the caller adds that
 * member too. `expected` members to come (0: unknown). */
MUST_CHECK struct record *set_try_new(struct bytes key, struct bytes first, uint64_t expected,
                                      int64_t expire_ms);
/* Before `count` members are added: a packed set for which that alone is too many converts at once.
 * False: out of memory, nothing changed. */
MUST_CHECK bool set_try_expect(struct record **r, uint64_t count);
uint64_t set_len(const struct record *r);
bool set_has(const struct record *r, struct bytes member);
/* 1 added, 0 was there, -1 out of memory. */
int set_add(struct record **r, struct bytes member);
/* True: it was there. An empty set is the caller's to delete. */
bool set_remove(struct record **r, struct bytes member);

struct set_iter { /* invalid after any change */
    const struct record *record;
    uint64_t at; /* index in an intset, offset in a listpack */
    struct window window;
};
void set_iter_start(const struct record *r, struct set_iter *it_out);
/* Integers of packed sets are written into tmp. */
MUST_CHECK bool set_iter_next(struct set_iter *it, char tmp[NUM_I64_TEXT_MAX],
                              struct bytes *member_out);
uint64_t set_scan(const struct record *r, uint64_t cursor,
                  void (*each)(void *ctx, struct bytes member), void *ctx);
/* The set is not empty. */
struct bytes set_random(const struct record *r, struct rng *rng, char tmp[NUM_I64_TEXT_MAX]);

#endif
