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
 * A command over several shards (MGET, MSET …) is a transaction (txn.c), unless all of the shards but ours sleep and nothing
 * is under way on any: with their tokens in hand nobody can come between its parts, so they run one after the other
 * at one time, and it needs no intents. Their frames are written there and then: gates have nothing to wait for. Of many
 * keys it is left to the shards' threads, side by side.
 *
 * What the shard's thread alone can do (background tasks, file operations, replies to its own connections) is
 * left for it, and it is woken. */
#include "node/lend.h"

#include "node/config.h"
#include "node/hold.h"
#include "node/park.h"
#include "node/txn_priv.h"

#define HOLD_NS_MAX 50000u /* what a wake takes; in ticks, too, or less */
/* Of one command over several shards: more is done sooner side by side. */
#define IN_PLACE_ARGS_MAX 256u

static bool may_lend(const struct worker *owner)
{
    const struct core *c = &owner->core;
    return !c->waits && sched_is_empty(&c->sched) && !core_must_serve(c) &&
           owner->stage == WORKER_RUNS && (c->journal == NULL || !journal_behind(c->journal));
}

/* Its thread, or who worked here before, may have come later into its pass than we into ours: what it told then is not
 * undone. (A clock that was set back is believed when the thread wakes.) */
static void bring_time(const struct core *from, struct core *to)
{
    int64_t told_ms = from->run.now_ms > to->run.now_ms ? from->run.now_ms : to->run.now_ms;
    int64_t told_us = told_ms * 1000;
    to->reactor.wall_us = from->reactor.wall_us > told_us ? from->reactor.wall_us : told_us;
    if (from->reactor.mono_ns > to->reactor.mono_ns) to->reactor.mono_ns = from->reactor.mono_ns;
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
    if (w->lent == 0) {
        w->lent_ticks = clock_ticks();
        worker_due_by(w, w->lent_ticks + HOLD_NS_MAX);
    }
    w->lent |= UINT64_C(1) << shard;
    stat_bump(&w->lends, 1);
    bring_time(&w->core, core);
    core_pass_begin(core);
    return true;
}

/* Its core is worked on by our thread, for the client of the request that runs. */
static struct slab *enter(const struct worker *w, struct worker *owner)
{
    owner->running = w->running; /* the slow log names the client */
    owner->core.ticks = w->core.ticks;
    return slab_use(owner->core.slab);
}

static void leave(struct worker *w, struct worker *owner, struct slab *own)
{
    w->core.ticks = owner->core.ticks;
    if (owner != w) owner->running = NULL;
    (void)slab_use(own);
}

void lend__run(struct worker *w, uint32_t shard, const struct request *rq, struct reply *reply)
{
    struct worker *owner = w->peers[shard].worker;
    struct slab *own = enter(w, owner);
    core_run(&owner->core, rq, reply);
    /* A script that made others stand has not let them go yet, which serves. */
    if (core_must_serve(&owner->core) && owner->core.run.span == NULL) core_serve(&owner->core);
    leave(w, owner, own);
}

/* ---- a command in parts, on several shards */

static bool looks_free(const struct worker *w, uint32_t shard)
{
    const struct peer *p = &w->peers[shard];
    if (p->outstanding > 0) return false;
    return (w->lent >> shard & 1) != 0 ||
           atomic_load_explicit(&p->worker->core.reactor.token, memory_order_relaxed) == TOKEN_FREE;
}

/* Nothing is under way on any of them then, and nothing begins while we hold them. */
static bool take_all(struct worker *w, uint64_t mask)
{
    const struct core *own = &w->core;
    uint64_t others = mask & ~(UINT64_C(1) << w->index);
    if (others != mask && (own->waits || !sched_is_empty(&own->sched))) return false;
    for (uint64_t left = others; left != 0; left &= left - 1)
        if (!looks_free(w, (uint32_t)__builtin_ctzll(left))) return false;
    for (uint64_t left = others; left != 0; left &= left - 1)
        if (!lend__take(w, (uint32_t)__builtin_ctzll(left))) return false;
    return true;
}

/* Only what the group of a transaction in the logs needs. */
static void set_span(struct worker *w, uint64_t mask)
{
    struct span *s = &w->span;
    s->count = w->core.count;
    s->mask = mask;
    for (uint32_t i = 0; i < s->count; i++)
        s->core[i] = &node.workers[i]->core;
}

static struct request part_of(const struct conn *c, const struct txn_plan *plan, uint32_t shard)
{
    uint32_t first = (uint32_t)plan->rq->spec->keys.first;
    return (struct request){.spec = plan->rq->spec,
                            .argv = plan->argv[shard],
                            .argc = plan->argc[shard],
                            .wire_bytes = plan->rq->wire_bytes,
                            .key = {.name = plan->argv[shard][first],
                                    .hash = plan->hashes[shard][0],
                                    .slot = plan->slots[shard][0],
                                    .db = c->session.db},
                            .no_touch = c->session.no_touch};
}

/* Asked of all before any part runs, and takes their time: the latest, for what one of them has told is not later. */
static enum rc admit(const struct worker *w, const struct conn *c, const struct txn_plan *plan,
                     int64_t *now_ms_out)
{
    enum rc rc = RC_OK;
    *now_ms_out = 0;
    for (uint64_t left = w->span.mask; left != 0 && rc == RC_OK; left &= left - 1) {
        uint32_t s = (uint32_t)__builtin_ctzll(left);
        struct core *core = w->span.core[s];
        struct request rq = part_of(c, plan, s);
        rc = core_may_run(core, rq.spec->flags, core_log_bytes(&rq));
        if (core->run.now_ms > *now_ms_out) *now_ms_out = core->run.now_ms;
    }
    return rc;
}

/* MSETNX: is one of the keys there? Then it is a call of which no part runs. */
static bool is_forbidden(struct worker *w, const struct conn *c, const struct txn_plan *plan,
                         int64_t now_ms)
{
    const struct cmd_spec *spec = plan->rq->spec;
    uint32_t first = (uint32_t)spec->keys.first;
    bool any = false;
    if (spec->spread != SPREAD_ALL_NEW) return false;
    for (uint64_t left = w->span.mask; left != 0 && !any; left &= left - 1) {
        uint32_t s = (uint32_t)__builtin_ctzll(left);
        struct worker *owner = node.workers[s];
        struct slab *own = enter(w, owner);
        any = core_has_any(&owner->core, now_ms, c->session.db, plan->argv[s] + first,
                           plan->argc[s] - first, (uint32_t)spec->keys.step);
        leave(w, owner, own);
    }
    if (!any) return false;
    core_count_call_only(&w->core, spec);
    return true;
}

/* The first counts as the call, the time of all is added. */
static void run_part(struct worker *w, const struct conn *c, const struct txn_plan *plan,
                     uint32_t shard, int64_t now_ms)
{
    struct worker *owner = node.workers[shard];
    struct core *core = &owner->core;
    struct request rq = part_of(c, plan, shard);
    struct exec_known known = {.hashes = plan->hashes[shard], .slots = plan->slots[shard]};
    struct reply reply = {.out = &plan->merge->part[shard], .proto = c->session.proto};
    bool counts = shard == (uint32_t)__builtin_ctzll(w->span.mask);
    struct slab *own = enter(w, owner);
    core->run.known = &known;
    core_run_admitted(core, &rq, now_ms, &reply, !counts);
    core->run.known = NULL;
    leave(w, owner, own);
}

/* A part that its log alone knows of holds back all that is seen of its shard (docs/adr/0006). These are written at once,
 * and with the last of them the cut has passed them all: nobody had to wait, nobody is woken. */
static void write_logs(struct worker *w)
{
    uint64_t own = w->span.mask & UINT64_C(1) << w->index;
    if (!w->span.core[__builtin_ctzll(w->span.mask)]->waits) return; /* nothing was logged */
    for (uint64_t left = w->span.mask & ~own; left != 0; left &= left - 1)
        core_pass_end(w->span.core[__builtin_ctzll(left)]);
    if (own != 0) core_pass_end(&w->core);
    for (uint64_t left = w->span.mask; left != 0; left &= left - 1)
        (void)core_look_at_cut(w->span.core[__builtin_ctzll(left)]);
}

static void serve(struct worker *w)
{
    for (uint64_t left = w->span.mask; left != 0; left &= left - 1) {
        struct worker *owner = node.workers[__builtin_ctzll(left)];
        if (!core_must_serve(&owner->core)) continue;
        struct slab *own = enter(w, owner);
        core_serve(&owner->core);
        leave(w, owner, own);
    }
}

static void run_parts(struct worker *w, const struct conn *c, const struct txn_plan *plan,
                      int64_t now_ms)
{
    bool writes = plan->rq->spec->flags & CMD_WRITE;
    if (writes) span_tx_begin(&w->span, node_txid(w));
    for (uint64_t left = w->span.mask; left != 0; left &= left - 1)
        run_part(w, c, plan, (uint32_t)__builtin_ctzll(left), now_ms);
    if (writes) span_tx_end(&w->span);
    write_logs(w);
    serve(w);
}

/* At once, unless a log could not be written: then nothing more is done on these cores. */
static void answer(struct worker *w, struct conn *c, struct reply *reply, size_t start)
{
    struct hold hold;
    hold.shards = 0;
    for (uint64_t left = w->span.mask; left != 0; left &= left - 1)
        hold_add(&hold, w->span.core[__builtin_ctzll(left)]);
    hold_reply(c, &hold, reply, start);
    if (unlikely(hold.shards != 0)) lend__give_back_all(w);
}

static uint64_t shards_of(const struct worker *w, const uint32_t *keys)
{
    uint64_t mask = 0;
    for (uint32_t s = 0; s < w->core.count; s++)
        if (keys[s] > 0) mask |= UINT64_C(1) << s;
    return mask;
}

bool lend__take_all(struct worker *w, const struct request *rq, const uint32_t *keys)
{
    return rq->argc <= IN_PLACE_ARGS_MAX && take_all(w, shards_of(w, keys));
}

void lend__run_all(struct worker *w, struct conn *c, const struct txn_plan *plan)
{
    int64_t now_ms;
    size_t start;
    set_span(w, shards_of(w, plan->keys));
    enum rc rc = admit(w, c, plan, &now_ms);
    if (rc == RC_OK && !is_forbidden(w, c, plan, now_ms)) run_parts(w, c, plan, now_ms);
    struct reply reply = conn__reply_begin(c, &start);
    if (rc == RC_OK)
        merge__reply(plan->merge, &reply);
    else
        core_refuse(&w->core, plan->rq->spec, rc, &reply);
    place__merge_drop(plan->merge);
    if (unlikely(reply.out->data[start] == '-'))
        core_count_error(&w->core, reply.out->data + start, reply.out->len - start);
    answer(w, c, &reply, start);
}

/* ---- the end */

bool lend__settle(struct worker *owner)
{
    core_pass_end(&owner->core);
    if (unlikely(owner->owes_publish || owner->served_head != NULL)) place__publish_for(owner);
    return reactor_owed(&owner->core.reactor) || owner->dirty != NULL ||
           owner->ready_head != NULL || core_must_serve(&owner->core) ||
           core_serves_later(&owner->core) || tx_is_owed(&owner->txn.shard) ||
           core_cut_moved(&owner->core) || (owner->holds != NULL && hold__pending(owner));
}

void lend__give_back_all(struct worker *w)
{
    while (w->lent != 0) {
        struct worker *owner = w->peers[__builtin_ctzll(w->lent)].worker;
        bool wake = lend__settle(owner);
        w->lent &= w->lent - 1; /* from here on whoever moves its cut wakes it */
        reactor_give(&owner->core.reactor, TOKEN_FREE);
        if (wake) reactor_wake(&owner->core.reactor);
    }
}

void lend__give_back_in_time(struct worker *w)
{
    if (clock_ticks_to_ns(w->core.ticks - w->lent_ticks) > HOLD_NS_MAX)
        lend__give_back_all(w);
    else
        worker_due_by(w, w->lent_ticks + HOLD_NS_MAX);
}
