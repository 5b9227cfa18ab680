/* The end of a worker. All workers take the same steps; counters in `node` tell when the last has taken one:
 *
 *   1 no new requests   listeners closed, connections not parsed any more
 *   2 answers           what shards asked each other is answered; replies leave as ever
 *   3 logs              each is written to its end and closed, the last one gives the directory back
 *   4 farewell          what is owed is sent, then FIN; a peer that still talks is heard out for a moment
 *
 * So a reply was sent for all that ran, all that was acknowledged is on disk, and whoever sees the end of its
 * connection may start the next node on the same directory. Step 4 is bounded: a peer that does not read
 * cannot hold the node. Without FIN and the wait, close() would answer unread input by a reset, and replies
 * that are still on their way would be lost with it. */
#include "node/block.h"
#include "node/cluster.h"
#include "node/config.h"
#include "node/conn_priv.h"
#include "node/hold.h"
#include "node/worker_priv.h"
#include "shard/base/log.h"
#include "shard/rt/sock.h"

#define TICK_MS 5
#define LAST_TURNS 10 /* closes reach the kernel */

struct ending { /* one worker's; lives on its stack */
    struct worker *worker;
    struct timer tick; /* sleeps are short: the counters ring no bell */
};

static void on_tick(struct timer *t)
{
    struct ending *e = container_of(t, struct ending, tick);
    reactor_arm(&e->worker->core.reactor, t, TICK_MS);
}

/* ---- 1 */

static void hush(struct conn *c, void *ctx)
{
    (void)ctx;
    if (c->in.len > 0) c->flags |= CONN_UNHEARD;
    (void)block__let_go(c, bytes_view(NULL, 0)); /* else its answer is owed */
    c->flags &= ~(uint32_t)(CONN_WAIT_ORDER | CONN_WAIT_OUTPUT);
    conn_close_after_reply(c);
}

/* ---- 2 */

static bool all_have(_Atomic uint32_t *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire) >= node.shards;
}

static bool log_refuses(const struct worker *w)
{
    struct journal_stats s = {.refusing = false};
    if (w->core.journal != NULL) journal_stats_read(w->core.journal, &s);
    return s.refusing;
}

/* After the bound: shards that still wait would run what comes later without a log. */
static void refuse_writes(void)
{
    atomic_store_explicit(&node.shared.refuse_rc, RC_CLOSED, memory_order_relaxed);
    atomic_fetch_add_explicit(&node.shared.refusing, 1, memory_order_relaxed);
}

/* Requests that were given back were read but not run, and run only if their client takes answers. */
static void drop_if_returned(struct conn *c, void *ctx)
{
    uint32_t *dropped = ctx;
    if (c->returned_count == 0) return;
    ++*dropped;
    conn_close_now(c);
}

static void drop_returned(struct worker *w)
{
    uint32_t dropped = 0;
    worker_each_conn(w, drop_if_returned, &dropped);
    if (dropped > 0)
        log_warning("stop", "shard %u: %u clients did not read their replies: closed without them",
                    w->index, dropped);
}

static void finish_answers(struct worker *w)
{
    struct reactor *r = &w->core.reactor;
    uint64_t begin_ms = reactor_mono_ms(r);
    uint64_t until_ms = begin_ms + (uint64_t)config.shutdown_timeout_s * 1000;
    bool done = false;
    while (!all_have(&node.stop_quiet)) {
        if (log_refuses(w)) worker__fail_held(w); /* it may take long to come back */
        /* Not parsed, a connection asks for nothing more: once 0, always 0. */
        if (w->returned > 0 && reactor_mono_ms(r) - begin_ms >= STOP_SEND_MS) drop_returned(w);
        bool alone =
            w->outstanding == 0 && w->txn.open == 0 && w->txn.waits == 0 && w->blocked_count == 0;
        if (!done && alone && w->returned == 0) {
            done = true;
            atomic_fetch_add_explicit(&node.stop_quiet, 1, memory_order_acq_rel);
            continue;
        }
        if (reactor_mono_ms(r) >= until_ms) {
            refuse_writes();
            log_warning("stop",
                        "shard %u: answers of other shards are still owed after %u s "
                        "(shutdown-timeout): given up",
                        w->index, config.shutdown_timeout_s);
            return;
        }
        reactor_turn(r, true);
    }
}

/* ---- 3 */

/* All logs are at their end: what still waits for a part of another shard has it, or the disk refused. */
static void finish_parts(struct worker *w)
{
    (void)core_look_at_cut(&w->core);
    worker__log_moved(w);
    if (w->core.tail.unfinished) worker__fail_held(w);
    hold__look(w);
    hold__fail_all(w);
}

static void close_log(struct worker *w)
{
    if (w->core.journal != NULL) {
        core_pass_end(&w->core);
        journal_close(w->core.journal, true);
        w->core.journal = NULL;
        core_set_gated(&w->core, false);
        /* Nothing else is held, unless the disk refused. */
        if (!w->core.tail.unfinished) worker__fail_held(w);
    }
    if (w->index == 0) cluster_close(w);
    bool last =
        atomic_fetch_add_explicit(&node.stop_logs, 1, memory_order_acq_rel) + 1 == node.shards;
    if (last && node.journal_set != NULL) {
        journal_set_close(node.journal_set);
        node.journal_set = NULL;
    }
    if (last) atomic_fetch_add_explicit(&node.stop_logs, 1, memory_order_release);
    while (atomic_load_explicit(&node.stop_logs, memory_order_acquire) <= node.shards)
        reactor_turn(&w->core.reactor, true);
    finish_parts(w);
}

/* ---- 4 */

void stop__farewell(struct conn *c)
{
    if (c->worker->stage != WORKER_LEAVES || (c->flags & CONN_FIN)) return;
    c->flags |= CONN_FIN;
    sock_end_output(c->stream.fd);
    if (!(c->flags & CONN_RECV_PAUSED)) return;
    c->flags &= ~(uint32_t)CONN_RECV_PAUSED; /* what it still says is read and dropped */
    c->worker->core.io->ops->stream_resume(c->worker->core.io, &c->stream);
}

static void leave(struct conn *c, void *ctx)
{
    (void)ctx;
    conn__dirty(c);
}

static void close_if_over(struct conn *c, void *ctx)
{
    const bool *lingers = ctx;
    if (!(c->flags & CONN_FIN)) return;
    bool heard_out = !(c->flags & CONN_UNHEARD) && sock_all_received(c->stream.fd);
    if ((c->flags & CONN_EOF) || heard_out || !*lingers) conn_close_now(c);
}

static void close_any(struct conn *c, void *ctx)
{
    uint32_t *left = ctx;
    *left += !(c->flags & CONN_FIN);
    conn_close_now(c);
}

static void say_farewell(struct worker *w)
{
    struct reactor *r = &w->core.reactor;
    uint64_t begin_ms = reactor_mono_ms(r);
    w->stage = WORKER_LEAVES;
    worker_each_conn(w, leave, NULL);
    while (w->conns_count > 0 && reactor_mono_ms(r) - begin_ms < STOP_SEND_MS) {
        bool lingers = reactor_mono_ms(r) - begin_ms < STOP_LINGER_MS;
        reactor_turn(r, true);
        worker_each_conn(w, close_if_over, &lingers);
    }
    uint32_t left = 0;
    worker_each_conn(w, close_any, &left);
    if (left > 0)
        log_warning("stop", "shard %u: %u clients did not read their replies: closed without them",
                    w->index, left);
    for (uint32_t i = 0; i < LAST_TURNS; i++)
        (void)io_turn(w->core.io, 0);
}

void worker__stop(struct worker *w)
{
    struct ending e = {.worker = w, .tick = {.fire = on_tick}};
    reactor_arm(&w->core.reactor, &e.tick, TICK_MS);
    if (w->index == 0) listen__close(w);
    w->stage = WORKER_STOPS;
    worker_each_conn(w, hush, NULL);
    finish_answers(w);
    close_log(w);
    say_farewell(w);
    timer_cancel(w->core.reactor.timers, &e.tick);
}
