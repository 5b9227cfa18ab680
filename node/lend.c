/* A request for a shard that sleeps would wake it by an eventfd: 45 to 60 µs and two context switches for a
 * command of half a microsecond. Instead its token (shard/rt/reactor.h) is taken and the command runs on its
 * core: its keyspace, log, scratch and counters, by our thread. Shards that work never lend, so busy shards run
 * in parallel.
 *
 * Order. A connection's requests run in order on each shard: we take a token only if no request of ours is under
 * way to that shard, and a part of a command that goes there by message sends all after it the same way. Requests of other workers in its mailbox came from other connections.
 *
 * Replies leave after the write. Without gates the kernel must have the effects before a reply leaves: we write
 * the shard's frame ourselves, when we give the token back, and send after that. With gates (appendfsync
 * always, or an unfinished part of a transaction) a reply waits for the shard's own ring or for other shards, so
 * its thread is needed anyway and nothing is lent. The same while a transaction has spoken for keys there:
 * who meets them waits, on that thread.
 *
 * What the shard's thread alone can do (background tasks, file operations, replies to its own connections) is
 * left for it, and it is woken. */
#include "node/lend.h"

#include "node/config.h"
#include "node/conn_priv.h"
#include "node/park.h"

#define HOLD_NS_MAX 50000u /* what a wake takes */

static bool may_lend(const struct worker *owner)
{
    const struct core *c = &owner->core;
    return !c->waits && sched_is_empty(&c->sched) && !core_must_serve(c) &&
           owner->stage == WORKER_RUNS && (c->journal == NULL || !journal_behind(c->journal));
}

bool lend__take_token(struct worker *w, uint32_t shard)
{
    struct peer *p = &w->peers[shard];
    struct core *core = &p->worker->core;
    if (!config.lending || node_loading() || park_wanted()) return false;
    if (!reactor_try_take(&core->reactor, TOKEN_FREE)) return false;
    if (unlikely(!may_lend(p->worker))) {
        reactor_give(&core->reactor, TOKEN_FREE);
        return false;
    }
    if (w->lent == 0) w->lent_ticks = clock_ticks();
    w->lent |= UINT64_C(1) << shard;
    stat_bump(&w->lends, 1);
    core->reactor.wall_us = w->core.reactor.wall_us;
    core->reactor.mono_ns = w->core.reactor.mono_ns;
    core_pass_begin(core);
    return true;
}

void lend__run(struct worker *w, uint32_t shard, const struct request *rq, struct reply *reply)
{
    struct worker *owner = w->peers[shard].worker;
    struct slab *own = slab_use(owner->core.slab);
    owner->running = w->running; /* the slow log names the client */
    owner->core.ticks = w->core.ticks;
    core_run(&owner->core, rq, reply);
    /* A script that made others stand has not let them go yet, which serves. */
    if (core_must_serve(&owner->core) && owner->core.run.span == NULL) core_serve(&owner->core);
    w->core.ticks = owner->core.ticks;
    owner->running = NULL;
    (void)slab_use(own);
}

bool lend__settle(struct worker *owner)
{
    core_pass_end(&owner->core);
    if (unlikely(owner->owes_publish || owner->served_head != NULL)) place__publish_for(owner);
    return reactor_owed(&owner->core.reactor) || owner->dirty != NULL ||
           owner->ready_head != NULL || core_must_serve(&owner->core) ||
           core_serves_later(&owner->core) || tx_is_owed(&owner->txn.shard);
}

void lend__give_back_all(struct worker *w)
{
    for (uint64_t left = w->lent; left != 0; left &= left - 1) {
        struct worker *owner = w->peers[__builtin_ctzll(left)].worker;
        bool wake = lend__settle(owner);
        reactor_give(&owner->core.reactor, TOKEN_FREE);
        if (wake) reactor_wake(&owner->core.reactor);
    }
    w->lent = 0;
}

void lend__give_back_in_time(struct worker *w)
{
    if (clock_ticks_to_ns(w->core.ticks - w->lent_ticks) > HOLD_NS_MAX) lend__give_back_all(w);
}
