/* shard/types/zset.h: sorted sets. Encodings: listpack (member, score, … in order), skiplist (the name
 * Redis gives the full form; here a counted B+ tree by (score, member) and a struct table by member).
 *
 * A member given to zset_put must not lie inside the record that it changes; zset_remove may be given
 * what a read of the same record has returned. */
#ifndef MOON_TYPES_ZSET_H
#define MOON_TYPES_ZSET_H

#include "shard/base/num.h"
#include "shard/base/rng.h"
#include "shard/ds/bptree.h"
#include "shard/types/record.h"

MUST_CHECK struct record *zset_try_new(struct bytes key, int64_t expire_ms); /* empty */
/* Before `count` members, the longest of longest_bytes, are added: converts at once if they are too
 * many or too long for a packed set. False: out of memory, nothing changed. */
MUST_CHECK bool zset_try_expect(struct record **r, uint64_t count, size_t longest_bytes);
uint64_t zset_len(const struct record *r);
MUST_CHECK bool zset_score(const struct record *r, struct bytes member, double *out);
/* Adds or moves. 1 added, 0 was there (score changed or same), -1 out of memory. score is not NaN. */
int zset_put(struct record **r, struct bytes member, double score);

enum zset_how { /* what ZADD may ask for; GT and LT are about members that are there only */
                ZSET_NX = 1 << 0,
                ZSET_XX = 1 << 1,
                ZSET_GT = 1 << 2,
                ZSET_LT = 1 << 3,
                ZSET_INCR = 1 << 4, /* the score is added to the one that is there */
};
enum zset_result {
    ZSET_NOMEM = -1, /* nothing changed */
    ZSET_SAME,       /* was there with this score */
    ZSET_ADDED,
    ZSET_MOVED,   /* was there with another score */
    ZSET_REFUSED, /* by a condition in `how` */
    ZSET_NAN,     /* ZSET_INCR: infinities of both signs; nothing changed */
};
/* zset_put() under conditions (enum zset_how, any together), with one look-up. *score: in, not NaN; out,
 * the member's score (after ZSET_REFUSED, ZSET_NAN and ZSET_NOMEM: anything). */
MUST_CHECK enum zset_result zset_update(struct record **r, struct bytes member, uint32_t how,
                                        double *score);
/* True: it was there. An empty sorted set is the caller's to delete. */
bool zset_remove(struct record **r, struct bytes member);
/* 0-based rank in ascending order; false if absent. */
MUST_CHECK bool zset_rank(const struct record *r, struct bytes member, uint64_t *rank_out);

struct zset_range { /* scores */
    double min, max;
    bool min_open, max_open;
};
struct zset_lex { /* members; all scores equal. NULL data with unbounded: '-' and '+' */
    struct bytes min, max;
    bool min_open, max_open, min_unbounded, max_unbounded;
    bool empty; /* "+" as min or "-" as max */
};
/* First rank (ascending) that is in range, and how many are. */
uint64_t zset_count_scores(const struct record *r, const struct zset_range *range,
                           uint64_t *first_rank_out);
uint64_t zset_count_lex(const struct record *r, const struct zset_lex *range,
                        uint64_t *first_rank_out);
/* Removes `count` members from ascending rank `first` on. */
void zset_remove_ranks(struct record **r, uint64_t first, uint64_t count);

struct zset_iter {
    const struct record *record;
    uint64_t left; /* members to come */
    uint64_t at;   /* packed: where the next one begins, or (downwards) ends */
    struct bptree_cursor cursor;
    int8_t step;
};
/* From an ascending rank, upwards (+1) or downwards (-1); nothing from rank = len on. Invalid after
 * any change. */
void zset_iter_start(const struct record *r, uint64_t rank, int step, struct zset_iter *it_out);
MUST_CHECK bool zset_iter_next(struct zset_iter *it, char tmp[NUM_I64_TEXT_MAX],
                               struct bytes *member_out, double *score_out);
uint64_t zset_scan(const struct record *r, uint64_t cursor,
                   void (*each)(void *ctx, struct bytes member, double score), void *ctx);
/* The sorted set is not empty. */
struct bytes zset_random(const struct record *r, struct rng *rng, char tmp[NUM_I64_TEXT_MAX],
                         double *score_out);

#endif
