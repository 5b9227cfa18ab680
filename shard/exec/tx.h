/* shard/exec/tx.h: a transaction over several shards: its record, shared by the threads concerned, and the
 * steps that its parts take. No thread waits, nothing is read or written before every shard has granted, and
 * each shard lets go of its keys when its part has run. How messages travel is the caller's (struct tx_ops).
 *
 *   coordinator  tx_begin: its own part first; then it sends each other part to its shard (SCHED), in order
 *                with its other messages
 *   a shard      tx_arrive: queues the part. The shard that grants last posts RUN to all others and runs;
 *                one that must refuse posts CANCEL to all others, once in a round
 *   coordinator  tx_answered, for each part: all ran, or were refused: then it begins again
 *
 * In a round every part is answered exactly once, and is posted to at most once at a time (before its answer):
 * a post needs no room but the one in the part itself.
 *
 * Until all shards have granted, one that did may take it back for a smaller ticket (sched.h): it counts itself
 * out of those that have, unless all have, and grants again later. No message is needed for it. */
#ifndef MOON_EXEC_TX_H
#define MOON_EXEC_TX_H

#include <stdatomic.h>

#include "shard/base/rc.h"
#include "shard/exec/sched.h"
#include "shard/rt/inbox.h"

enum tx_kind {
    TX_PLAIN,
    TX_CHECKED, /* all parts are checked first, and run only if all checks say so: MSETNX */
    TX_BARRIER, /* the coordinator's part runs alone, the others hold until it has (see `held`) */
};
enum tx_post { TX_RUN, TX_RUN_CHECKED, TX_RELEASE, TX_CANCEL };

struct tx;
struct tx_part {
    struct sched_entry entry; /* first: granted entries lead here */
    struct tx *tx;
    struct inbox_link post_link; /* the carrier's, while a post is under way */
    const uint64_t *fingerprints;
    uint32_t count;
    uint32_t shard;
    uint8_t post;  /* enum tx_post */
    uint8_t state; /* the shard's: enum in tx.c */
#ifdef MOON_TEST
    bool early; /* base/planted.h: it has run already */

#endif
};
struct tx {
    uint64_t ticket; /* of this round */
    uint64_t order;  /* names its connection, as in sched_wait(); 0: none */
    struct tx_part **parts;
    uint32_t count, left; /* left: parts not answered; the coordinator's */
    uint32_t coordinator; /* shard */
    enum tx_kind kind;
    enum sched_mode mode;
    _Atomic uint32_t ungranted, unchecked;
    _Atomic uint32_t error;         /* enum rc: why nothing of it runs; RC_OK */
    _Atomic int64_t now_ms;         /* for all parts: the latest of the shards' at their grants */
    atomic_bool refused, forbidden; /* by a shard; by a check */
    bool held; /* run() of a barrier sets it: all goes on to be held until tx_end_barrier() */
};

struct tx_ops { /* all on the thread of the shard */
    int64_t (*now_ms)(void *ctx);
    enum rc (*admit)(void *ctx, struct tx_part *p); /* not RC_OK: no part runs */
    bool (*check)(void *ctx, struct tx_part *p);
    void (*run)(void *ctx, struct tx_part *p);
    void (*post)(void *ctx, struct tx_part *p); /* brings p to p->shard: tx_posted() there */
    void (*answer)(void *ctx,
                   struct tx_part *p); /* brings p to the coordinator; do not look at it again */
    void (*lone)(void *ctx,
                 struct sched_entry *e); /* a lone command is granted: run it, tx_lone_done() */
    void (*serve)(void *ctx, struct sched_entry *e); /* the key of tx_serve() is granted */
};
struct tx_shard {
    struct sched *sched;
    const struct tx_ops *ops;
    void *ctx;
    uint32_t index;
    bool at_work;
};

void tx_shard_init(struct tx_shard *s, uint32_t index, struct sched *sched,
                   const struct tx_ops *ops, void *ctx);

/* Coordinator. A round; parts, mode and kind are set. False: its own part was refused, and no other shard knows
 * of this round. */
MUST_CHECK bool tx_begin(struct tx_shard *s, struct tx *t, uint64_t ticket);
enum tx_outcome { TX_OPEN, TX_RAN, TX_FAILED, TX_AGAIN };
/* Coordinator. A part has come back. TX_FAILED: nothing ran, see error. TX_AGAIN: it was refused. */
enum tx_outcome tx_answered(struct tx *t);

/* SCHED was taken, in the order of its ring. */
void tx_arrive(struct tx_shard *s, struct tx_part *p);
/* Instead: this shard takes nothing of the connection now, so the round comes to nothing. */
void tx_turn_away(struct tx_shard *s, struct tx_part *p);
void tx_posted(struct tx_shard *s, struct tx_part *p);
/* On the coordinator. */
void tx_end_barrier(struct tx_shard *s, struct tx_part *own);
void tx_lone_done(struct tx_shard *s, struct sched_entry *e);

/* A key for who serves (sched_serve), and the end of it. Who is granted by that is seen to by tx_settle(), on the thread
 * of the shard, and soon: tx_is_owed(). */
MUST_CHECK enum sched_verdict tx_serve(struct tx_shard *s, struct sched_entry *e,
                                       uint64_t fingerprint);
void tx_served(struct tx_shard *s, struct sched_entry *e);
void tx_settle(struct tx_shard *s);
static inline bool tx_is_owed(const struct tx_shard *s)
{
    return unlikely(s->sched->ready != NULL);
}

/* Has a part here of a transaction that was granted everywhere, so that parts elsewhere may have run. */
bool tx_has_begun(const struct sched *s);

#endif
