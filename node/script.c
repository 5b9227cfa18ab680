/* Scripts. One runs on the shard of the keys that it declares, beside whatever other shards do. When it wants a key of another
 * shard, declared or not, and whatever it has done before, all other shards are made to stand there and then (widen), and it
 * goes on with all of them, as one transaction of all logs:
 *
 *   its own shard    nobody has seen what it did there, as its thread is in it
 *   other shards     stand at the begin of a pass, so what they did comes before the script. Transactions under way that
 *                    have run nothing come behind it; those that have begun to run are waited for: none of them has a
 *                    part on the script's own shard, where nothing was under way when it began
 *
 * Two scripts that want each other's shards would wait for each other: so one script at a time runs in this way in a node
 * (as in Redis any). Who waits for it stands for others, and one that makes others stand gives way to it (park.h). */
#include "node/cluster.h"
#include "node/hold.h"
#include "node/lend.h"
#include "node/park.h"
#include "node/txn_priv.h"

bool script__try_begin(void)
{
    return node.shards == 1 || !atomic_exchange_explicit(&node.script, true, memory_order_acquire);
}

void script__begin(struct worker *w)
{
    uint32_t spins = 0;
    if (likely(script__try_begin())) return;
    lend__give_back(w);
    do
        park_idle(w, &spins);
    while (!script__try_begin());
}

bool script__begin_soon(struct worker *w)
{
    uint32_t spins = 0;
    if (likely(script__try_begin())) return true;
    lend__give_back(w);
    while (spins < 1000) {
        park_idle(w, &spins);
        if (script__try_begin()) return true;
    }
    return false;
}

bool script__end(struct worker *w)
{
    bool widened = w->widened;
    if (unlikely(widened)) {
        struct hold all; /* but its reply waits for one of them */
        w->widened = false;
        span_tx_end(&w->span);
        span__end(w, w->span.mask, &all);
        (void)slab_use(w->core.slab); /* it may have been another's core */
    }
    if (node.shards > 1) atomic_store_explicit(&node.script, false, memory_order_release);
    return widened;
}

static bool one_has_begun(void)
{
    for (uint32_t i = 0; i < node.shards; i++)
        if (tx_has_begun(&node.workers[i]->core.sched)) return true;
    return false;
}

void script__widen(struct core *c)
{
    struct worker *w = worker_self();
    uint64_t txid = node_txid(w);
    if (c->run.span != NULL) { /* they stand already */
        span_widen(&w->span, txid);
        return;
    }
    park_begin_inside(w);
    for (uint32_t turn = 0; one_has_begun(); turn++) {
        park_pause_inside(w, turn);
        park_begin_inside(w);
    }
    span__begin_on(w, c);
    w->span.in_tx = true;
    span_widen(&w->span, txid);
    core_tx_mark(c); /* its reply waits for what it sees on all shards */
    w->widened = true;
}

const char *script__refuses(const struct request *rq, uint16_t *slot)
{
    struct worker *w = worker_self();
    return likely(w->map == NULL) ? NULL : cluster_refuses_script(w, rq, slot);
}
