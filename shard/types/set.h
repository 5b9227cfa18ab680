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

/* A member on its way from one set to others: what is not known of it yet is made when somebody needs it,
 * once. An intset's member never becomes text while it meets intsets only. Stays where it is (the text may
 * lie in tmp), valid until its source changes. */
enum { SET_KNOWS_TEXT = 1, SET_KNOWS_HASH = 2, SET_KNOWS_NUMBER = 4, SET_IS_NUMBER = 8 };
struct set_member {
    struct bytes text; /* set_member_text() */
    uint64_t hash;     /* set_member_hash() */
    int64_t number;    /* set_member_is_number() */
    uint8_t knows;
    char tmp[NUM_I64_TEXT_MAX];
};
void set_member_of(struct set_member *m_out, struct bytes text);
struct bytes set_member_text(struct set_member *m);
uint64_t set_member_hash(struct set_member *m);
bool set_member_is_number(struct set_member *m);
MUST_CHECK bool set_iter_next_member(struct set_iter *it, struct set_member *m_out);
bool set_has_member(const struct record *r, struct set_member *m);
/* As set_add(). */
int set_add_member(struct record **r, struct set_member *m);
/* The caller knows that it is not there. False: out of memory, nothing changed. */
MUST_CHECK bool set_add_absent(struct record **r, struct set_member *m);
/* An empty set for a result of unknown members that come one by one, no fewer than at_least. */
MUST_CHECK struct record *set_try_new_result(struct bytes key, uint64_t at_least);
/* An empty set in the encoding that a new one would have once it held all members of r. */
MUST_CHECK struct record *set_try_new_like(struct bytes key, const struct record *r);

uint64_t set_scan(const struct record *r, uint64_t cursor,
                  void (*each)(void *ctx, struct bytes member), void *ctx);
/* The set is not empty. */
struct bytes set_random(const struct record *r, struct rng *rng, char tmp[NUM_I64_TEXT_MAX]);

#endif
