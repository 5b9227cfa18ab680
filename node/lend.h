/* node/lend.h: work on the core of a shard that sleeps, in place, instead of waking it (architecture.md §5). */
#ifndef MOON_NODE_LEND_H
#define MOON_NODE_LEND_H

#include "node/worker.h"

/* True: we hold that shard's token, until lend__give_back(). False: it works, or is not to be lent now: send it
 * a message. */
MUST_CHECK bool lend__take_token(struct worker *w, uint32_t shard);
MUST_CHECK static inline bool lend__take(struct worker *w, uint32_t shard)
{
    const struct peer *p = &w->peers[shard];
    if (p->outstanding > 0) return false; /* those come first */
    /* What ran there may have made a key that is kept for who waits. */
    if ((w->lent >> shard & 1) != 0) return sched_is_empty(&p->worker->core.sched);
    return lend__take_token(w, shard);
}
/* With the token only. */
static inline struct core *lend__core(const struct worker *w, uint32_t shard)
{
    return &w->peers[shard].worker->core;
}
void lend__run(struct worker *w, uint32_t shard, const struct request *rq, struct reply *reply);
/* A command over several shards (keys: how many of it each has): true: it may run in place and at one time, for all of them
 * but ours sleep and nothing is under way on any. */
MUST_CHECK bool lend__take_all(struct worker *w, const struct request *rq, const uint32_t *keys);
/* Then, at once: when it was dealt (txn_priv.h). Takes plan->merge. */
struct txn_plan;
void lend__run_all(struct worker *w, struct conn *c, const struct txn_plan *plan);

/* What was done there is written, and its thread woken if something is left for it. */
void lend__give_back_all(struct worker *w);
static inline void lend__give_back(struct worker *w)
{
    if (unlikely(w->lent != 0)) lend__give_back_all(w);
}
/* Now and then: a shard whose clients are back waits no longer than its own wake takes. */
void lend__give_back_in_time(struct worker *w);

/* On a core that somebody else worked on, its token held: its log is written. True: its thread has more to do,
 * wake it when the token is given. */
MUST_CHECK bool lend__settle(struct worker *owner);

#endif
