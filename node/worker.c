/* One thread of the node: start (own io, own shard), the pass, the second's
 * upkeep of its connections, the end. */
#include "node/worker.h"

#include <stdlib.h>
#include <unistd.h>

#include "node/block.h"
#include "node/cluster.h"
#include "node/commands.h"
#include "node/config.h"
#include "node/conn_priv.h"
#include "node/hold.h"
#include "node/lend.h"
#include "node/load.h"
#include "node/park.h"
#include "node/slowlog.h"
#include "node/txn_priv.h"
#include "node/worker_priv.h"
#include "shard/base/log.h"
#include "shard/base/num.h"
#include "shard/script/script.h"

static _Thread_local struct worker *self;

struct worker *worker_self(void)
{
    return self;
}

uint64_t node_txid(struct worker *w)
{
    static_assert(SHARDS_MAX <= 64, "the shard is the low 6 bits");
    return ++w->txids << 6 | w->index;
}

void worker_adopt(struct worker *w, int fd, bool is_unix)
{
    if (likely(w->stage == WORKER_RUNS)) {
        (void)conn__open(w, fd, is_unix);
        return;
    }
    (void)close(fd); /* it was on its way here when the stop began */
    atomic_fetch_sub_explicit(&node.clients, 1, memory_order_relaxed);
}

void worker_each_conn(struct worker *w, void (*fn)(struct conn *c, void *ctx), void *ctx)
{
    for (uint32_t i = 0; i < w->conns_cap; i++)
        if (w->conns[i] != NULL) fn(w->conns[i], ctx);
}

/* ---- the pass (docs/life-of-a-command.md) */

/* In the order of their turns: who had none in this pass comes first in the next. */
struct touched {
    struct conn *head, **tail;
};

static void touch(struct touched *t, struct conn *c)
{
    c->touched_next = NULL;
    *t->tail = c;
    t->tail = &c->touched_next;
}

/* Takes requests of the ready connections, each its fair share, until the batch is full. Connections
 * that have no more to give now move to the touched list. */
static void fill_batch(struct worker *w, struct touched *touched)
{
    while (w->ready_head != NULL) {
        struct conn *c = w->ready_head;
        if (!conn__fill(w, c)) return;
        w->ready_head = c->ready_next;
        if (w->ready_head == NULL) w->ready_tail = &w->ready_head;
        touch(touched, c);
    }
}

/* Views end with the pass: what is left over is kept; who has more, or was closed, is seen to. */
static void settle(struct worker *w, struct conn *touched)
{
    while (touched != NULL) {
        struct conn *c = touched;
        touched = c->touched_next;
        c->flags &= ~(uint32_t)CONN_READY;
        if (c->flags & CONN_CLOSING) {
            w->core.io->ops->stream_close(w->core.io, &c->stream);
            continue;
        }
        bool stalled = c->parsed != c->consumed;
        if (stalled) c->parser = (struct resp_parser){.resume_at = 0};
        bool more = !c->drained || stalled;
        conn__settle(c);
        if (more && c->in.len > 0) conn__ready(c);
        conn__throttle(c);
        if (unlikely(c->flags & CONN_EOF)) conn__close_if_drained(c);
    }
}

static void run_batches(struct worker *w, struct touched *touched)
{
    uint64_t start_ns = clock_mono_ns(w->core.reactor.clock);
    do {
        w->batch_count = 0;
        w->batch_id++;
        struct arena_mark mark = arena_mark(&w->args);
        place__take_requests(w);
        txn__take_posts(
            w); /* after: who sent a request may have seen other parts of a transaction */
        fill_batch(w, touched);
        if (block__noted(w)) block__take(w);
        if (w->batch_count > 0) place__run(w);
        arena_rewind(&w->args, mark);
    } while (w->batch_count == BATCH_MAX &&
             clock_mono_ns(w->core.reactor.clock) - start_ns < (uint64_t)PASS_BUDGET_US * 1000);
}

static void flush_dirty(struct worker *w)
{
    while (w->dirty != NULL) {
        struct conn *c = w->dirty;
        w->dirty = c->dirty_next;
        c->flags &= ~(uint32_t)CONN_DIRTY;
        conn__flush(c);
    }
}

/* ---- the cut */

static void wake_shards(uint64_t shards)
{
    for (; shards != 0; shards &= shards - 1)
        reactor_wake(&node.workers[__builtin_ctzll(shards)]->core.reactor);
}

static void release(struct worker *w)
{
    if (w->gated == NULL && w->held_head == NULL) return;
    uint64_t lsn = core_released(&w->core);
    place__durable(w, lsn);
    conn__durable(w, lsn);
}

void worker__log_moved(struct worker *w)
{
    struct core *c = &w->core;
    /* Those whose tokens we hold are looked at when they are given back (lend__settle). */
    wake_shards(core_log_moved(c) & ~self->lent);
    if (unlikely(c->gated) && !journal_makes_wait(c->journal)) core_set_gated(c, false);
    release(w);
}

void worker__policy_changed(struct worker *w)
{
    struct core *c = &w->core;
    bool always = config.appendfsync == JOURNAL_ALWAYS;
    journal_set_fsync(c->journal, config.appendfsync);
    core_set_gated(c, (always || c->gated) && journal_makes_wait(c->journal));
    worker__log_moved(w);
}

/* Begin of a pass: what other shards told of the cut, or that a log cannot be written. What waits for that
 * one fails once; while it lasts nothing new waits (core_gate). */
static void look_at_cut(struct worker *w)
{
    struct core *c = &w->core;
    bool lifts = c->lifted && !w->was_lifted;
    w->was_lifted = c->lifted;
    if (unlikely(lifts) && c->tail.unfinished) worker__fail_held(w);
    if (core_look_at_cut(c)) release(w);
    if (w->holds != NULL) hold__look(w);
}

/* A key that is set behind a command that took long lives as long as its client wants. A tick is a nanosecond, or less. */
#define CLOCK_TICKS_MAX (UINT64_C(1) << 20)

static void clocks_are_read(struct worker *w)
{
    w->read_ticks = w->core.ticks;
    w->due_ticks = w->read_ticks + CLOCK_TICKS_MAX;
}

void worker_read_clocks(struct worker *w)
{
    struct core *c = &w->core;
    reactor_read_clocks(&c->reactor);
    if (reactor_now_ms(&c->reactor) > c->run.now_ms) c->run.now_ms = reactor_now_ms(&c->reactor);
    c->ticks = clock_ticks();
    clocks_are_read(w);
}

void worker_see_to_due(struct worker *w)
{
    if (w->core.ticks > w->read_ticks + CLOCK_TICKS_MAX) worker_read_clocks(w);
    w->due_ticks = w->read_ticks + CLOCK_TICKS_MAX;
    if (w->lent != 0) lend__give_back_in_time(w);
}

static void begin_pass(struct worker *w)
{
    if (unlikely(park_wanted())) {
        park__stand();
        reactor_read_clocks(&w->core.reactor);
    }
    cluster_pass_begin(w);
    core_pass_begin(&w->core);
    clocks_are_read(w);
}

static void pass(void *ctx)
{
    struct worker *w = ctx;
    struct touched touched = {.tail = &touched.head}, unreached = {.tail = &unreached.head};
    begin_pass(w);
    look_at_cut(w);
    if (core_must_serve(&w->core))
        core_serve(&w->core); /* others worked here, or the log was full */
    slowlog_take_notes(w);    /* those behind which an answer came are here */
    place__take_answers(w);
    place__retry_room(w);
    multi__go_on(w);
    txn__retry(w);
    run_batches(w, &touched);
    txn__end_pass(w);
    if (core_serves_later(&w->core)) block__serve_kept(w);
    /* What stayed in the ready list was not reached in time: its views end too. */
    for (struct conn *c = w->ready_head; c != NULL; c = c->ready_next)
        touch(c->pass_commands > 0 ? &touched : &unreached, c); /* cut short: it had its turn */
    w->ready_head = NULL;
    w->ready_tail = &w->ready_head;
    settle(w, unreached.head);
    settle(w, touched.head);
    core_pass_end(&w->core);
    place__publish(w);
    flush_dirty(w);
}

static bool pending(void *ctx)
{
    struct worker *w = ctx;
    return w->ready_head != NULL || place__pending(w) || txn__pending(w) || park_wanted() ||
           core_cut_moved(&w->core) || core_serves_later(&w->core) || multi__may_go_on(w) ||
           (unlikely(w->holds != NULL) && hold__pending(w));
}

static bool expecting(void *ctx)
{
    const struct worker *w = ctx;
    return w->outstanding > 0 || w->core.tail.unfinished;
}

/* ---- the log's events */

static void on_durable(void *ctx, uint64_t lsn)
{
    (void)lsn;
    worker__log_moved(ctx);
}

static void on_written(void *ctx)
{
    worker__log_moved(ctx);
}

void worker__fail_held(struct worker *w)
{
    place__fail_held(w);
    conn__fail_gated(w);
    io_wake(w->core.io); /* they leave in the next turn, which need not be near */
}

void worker__give_up_gates(struct worker *w)
{
    core_set_gated(&w->core, false);
    worker__fail_held(w);
}

/* Transactions with a part in this log may never become whole: others must not wait for them. */
static void break_log(struct worker *w, bool broken)
{
    if (node.track == NULL) return;
    journal_track_break(node.track, w->index, broken);
    for (uint32_t i = 0; i < node.shards; i++)
        if (i != w->index) reactor_wake(&node.workers[i]->core.reactor);
}

/* A log that lacks space may fail for good later: it counts once. */
static void on_refuse(void *ctx, bool on, enum rc rc)
{
    struct worker *w = ctx;
    bool first = on && !w->refuses;
    if (on && rc == RC_IO) worker__give_up_gates(w);
    w->refuses = on;
    if (!on) {
        /* In this order, and the other way round below: who lets a write in has gates. */
        break_log(w, false);
        atomic_fetch_sub_explicit(&node.shared.refusing, 1, memory_order_release);
        log_notice("journal", "log %u is writable again", w->index);
        return;
    }
    /* The reason that is there for good is the one to tell. */
    if (atomic_load_explicit(&node.shared.refuse_rc, memory_order_relaxed) != RC_IO)
        atomic_store_explicit(&node.shared.refuse_rc, (uint32_t)rc, memory_order_relaxed);
    if (first) atomic_fetch_add_explicit(&node.shared.refusing, 1, memory_order_release);
    break_log(w, true);
    log_warning("journal",
                "log %u cannot be written (%s): writes are refused on all shards, reads go on",
                w->index, rc_text(rc));
}

/* ---- once a second */

static void sample_ops(struct worker *w, int64_t now_ms)
{
    struct ops_sample *o = &w->ops;
    const struct core_stats *s = &w->core.stats;
    uint64_t elapsed = now_ms > o->at_ms ? (uint64_t)(now_ms - o->at_ms) : 1;
    stat_set(&o->commands_per_s, (s->commands - o->commands) * 1000 / elapsed);
    stat_set(&o->in_per_s, (s->net_in_bytes - o->in_bytes) * 1000 / elapsed);
    stat_set(&o->out_per_s, (s->net_out_bytes - o->out_bytes) * 1000 / elapsed);
    o->commands = s->commands;
    o->in_bytes = s->net_in_bytes;
    o->out_bytes = s->net_out_bytes;
    o->at_ms = now_ms;
}

static void cron_conn(struct conn *c, void *ctx)
{
    const int64_t *now_ms = ctx;
    conn__cron(c, *now_ms);
}

static void cron(struct timer *t)
{
    struct worker *w = container_of(t, struct worker, cron);
    int64_t now_ms = reactor_now_ms(&w->core.reactor);
    sample_ops(w, now_ms);
    stamps_rest(w->core.stamps);
    worker_each_conn(w, cron_conn, &now_ms);
    buf_shrink(&w->part_reply, JOINED_KEEP_BYTES);
    flush_dirty(w);
    if (w->index == 0) cluster_cron(w);
    reactor_arm(&w->core.reactor, t, 1000);
}

/* ---- life */

struct worker *worker_new(uint32_t index)
{
    struct worker *w = mem_alloc_aligned(MEM_CONN, 64, sizeof *w);
    memset(w, 0, sizeof *w);
    w->index = index;
    w->ready_tail = &w->ready_head;
    w->room_tail = w->room_front = &w->room;
    w->held_tail = &w->held_head;
    w->served_tail = &w->served_head;
    w->batch = mem_alloc(MEM_CONN, BATCH_MAX * sizeof *w->batch);
    arena_init(&w->args);
    buf_init(&w->part_reply, MEM_REPLY);
    for (uint32_t i = 0; i < SHARDS_MAX; i++)
        buf_init(&w->peers[i].unwatch, MEM_CONN);
    w->cron = (struct timer){.fire = cron};
    return w;
}

void worker_link(struct worker *a, struct worker *b)
{
    struct mailbox *requests = mailbox_new(MAILBOX_BYTES), *answers = mailbox_new(MAILBOX_BYTES);
    a->peers[b->index].worker = b;
    a->peers[b->index].requests_out = b->peers[a->index].requests_in = requests;
    a->peers[b->index].answers_in = b->peers[a->index].answers_out = answers;
}

/* For measurements (tests/bench/growth.py), not for operators: hence no directive. */
static void measure_passes(struct reactor *r)
{
    const char *text = getenv("MOON_PASS_CPU_EVERY");
    uint64_t every = 0;
    if (text != NULL && num_parse_u64(bytes_of(text), &every) && every <= UINT32_MAX)
        r->pass_cpu_every = (uint32_t)every;
}

static bool start(struct worker *w)
{
    const char *why_not_uring = NULL;
    struct io *io;
    struct io_opts io_opts = {
        .kind = config.io, .entries = 1024, .buffers = 256, .buffer_bytes = 16384};
    enum rc rc = io_open(&io_opts, &io, &why_not_uring);
    if (rc != RC_OK) {
        log_warning("start", "shard %u: no way to do input and output: %s%s%s", w->index,
                    rc_text(rc), why_not_uring != NULL ? ": " : "",
                    why_not_uring != NULL ? why_not_uring : "");
        return false;
    }
    if (w->index == 0) {
        node.io_name = io->ops->kind == IO_URING ? "io_uring" : "epoll";
        if (why_not_uring != NULL) log_warning("start", "using epoll: %s", why_not_uring);
    }
    struct core_opts opts = {.index = w->index,
                             .count = node.shards,
                             .databases = (uint16_t)config.databases,
                             .shared = &node.shared,
                             .by_opcode = commands_by_opcode(),
                             .opcodes = commands_opcodes(),
                             .cmd_count = commands_count()};
    struct reactor_handler handler = {
        .ctx = w, .pass = pass, .pending = pending, .expecting = expecting};
    core_init(&w->core, &opts, io, &clock_real, handler);
    w->core.on_served = block__on_served;
    w->core.on_apart = block__on_apart;
    txn__init(w);
    w->core.reactor.lends = node.shards > 1;
    slowlog_open(w);
    measure_passes(&w->core.reactor);
    w->core.reactor.spin_us = config.io_busy_poll_us > 50 ? config.io_busy_poll_us : 50;
    return w->index != 0 || cluster_open(w);
}

bool worker__open_log(struct worker *w)
{
    if (node.journal_set == NULL) return true;
    struct journal_events events = {
        .ctx = w, .on_durable = on_durable, .on_written = on_written, .on_refuse = on_refuse};
    struct journal *j;
    enum rc rc =
        journal_open(node.journal_set, w->index, w->core.io, w->core.reactor.timers, &events, &j);
    if (rc != RC_OK) {
        log_warning("journal", "log %u cannot be opened: %s", w->index, rc_text(rc));
        return false;
    }
    journal_set_fsync(j,
                      config.appendfsync); /* it may have been set since the directory was opened */
    w->txids = journal_set_txid(node.journal_set) >> 6;
    core_set_journal(&w->core, j, config.appendfsync == JOURNAL_ALWAYS);
    core_set_track(&w->core, node.track);
    return true;
}

void *worker_main(void *arg)
{
    struct worker_start *s = arg;
    struct worker *w = s->worker;
    char name[16];
    self = w;
    (void)snprintf(name, sizeof name, "shard-%u", w->index);
    log_set_thread(name);
    (void)pthread_setname_np(pthread_self(), name);
    s->ok = start(w);
    (void)pthread_barrier_wait(s->made);
    (void)pthread_barrier_wait(s->checked);
    if (!*s->go) return NULL;
    reactor_arm(&w->core.reactor, &w->cron, 1000);
    load__run(w);
    reactor_run(&w->core.reactor);
    worker__stop(w);
    slowlog_close(w);
    script_close(&w->core);
    return NULL;
}
