/* How a node comes by its data. Main leads, the workers follow; `phase` says how far it is:
 *
 *           main                                   each worker
 *   CHECKS  checks all logs, finds the cut         turns, answers LOADING
 *   REPLAYS waits                                  replays its slots in slices, turns between them
 *   OPENS   began the next generation, waits       opens its log
 *   SERVES  …                                      worker 0 accepts, if it does not yet
 *
 * A stop is seen at every place: nothing of the log is changed before OPENS. A node with little to load
 * accepts nobody before it serves: connections wait in the backlog instead of being told LOADING. */
#include "node/load.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "node/cluster.h"
#include "node/config.h"
#include "node/log_check.h"
#include "node/worker_priv.h"
#include "shard/base/log.h"

#define QUIET_MS 100  /* loads shorter than this are not shown to clients */
#define SLICE_US 1000 /* of replay, between two turns */
#define TELL_MS 1000  /* between two lines about the progress */
#define TICK_MS 2     /* while a worker waits for key-load-delay */

/* ---- progress */

void load_progress(uint64_t *done_out, uint64_t *total_out)
{
    const struct node_load *l = &node.load;
    uint64_t total = atomic_load_explicit(&l->file_bytes, memory_order_relaxed);
    uint64_t checked = atomic_load_explicit(&l->checked_bytes, memory_order_relaxed);
    uint64_t all = atomic_load_explicit(&l->replay_bytes, memory_order_relaxed) * node.shards;
    uint64_t replayed = 0;
    for (uint32_t i = 0; i < node.shards; i++)
        replayed += atomic_load_explicit(&node.workers[i]->replayed_bytes, memory_order_relaxed);
    if (checked > total) checked = total; /* the latter is found without reading all */
    double share = total > 0 ? (double)checked / (double)total / 2 : 0;
    if (all > 0) share = 0.5 + (double)replayed / (double)all / 2;
    *total_out = total;
    *done_out = (uint64_t)(share * (double)total);
}

static void tell_progress(const char *doing)
{
    uint64_t done, total, replay;
    load_progress(&done, &total);
    replay = atomic_load_explicit(&node.load.replay_bytes, memory_order_relaxed);
    double percent = total > 0 ? (double)done * 100 / (double)total : 100;
    log_notice("recovery", "%s %.1f MB of log: %.0f %% of the load is done", doing,
               (double)(replay > 0 ? replay : total) / (1 << 20), percent);
}

/* ---- main: signals */

static void note_stop(int number)
{
    if (!atomic_exchange(&node.stopping, true))
        log_notice("stop", "%s received while the data is loaded: closing",
                   number == SIGINT ? "SIGINT" : "SIGTERM");
}

/* Waits for the bell, at most wait_ms. */
static void wait_bell(const sigset_t *signals, int64_t wait_ms)
{
    struct timespec t = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    int number = sigtimedwait(signals, NULL, &t);
    if (number == SIGTERM || number == SIGINT) note_stop(number);
}

static void enter_phase(enum node_phase phase)
{
    atomic_store_explicit(&node.load.phase, (uint32_t)phase, memory_order_release);
    for (uint32_t i = 0; i < node.shards; i++)
        io_wake(node.workers[i]->core.io);
}

/* Until all workers have said that they are through. False: stop, or one failed. */
static bool wait_workers(const sigset_t *signals, const char *doing)
{
    struct node_load *l = &node.load;
    uint64_t told_ns = clock_mono_ns(&clock_real);
    while (atomic_load_explicit(&l->workers_done, memory_order_acquire) < node.shards) {
        wait_bell(signals, TELL_MS);
        if (atomic_load(&node.stopping)) return false;
        uint64_t now_ns = clock_mono_ns(&clock_real);
        if (now_ns - told_ns < TELL_MS * UINT64_C(1000000)) continue;
        told_ns = now_ns;
        tell_progress(doing);
    }
    atomic_store_explicit(&l->workers_done, 0, memory_order_relaxed);
    return !atomic_load_explicit(&l->failed, memory_order_acquire);
}

/* ---- main: the steps */

struct watching {
    const sigset_t *signals;
    uint64_t told_ns;
};

static bool watch_check(void *ctx, uint64_t done, uint64_t total)
{
    struct watching *w = ctx;
    atomic_store_explicit(&node.load.file_bytes, total, memory_order_relaxed);
    atomic_store_explicit(&node.load.checked_bytes, done, memory_order_relaxed);
    wait_bell(w->signals, 0);
    uint64_t now_ns = clock_mono_ns(&clock_real);
    if (now_ns - w->told_ns >= TELL_MS * UINT64_C(1000000)) {
        w->told_ns = now_ns;
        tell_progress("checking");
    }
    return !atomic_load(&node.stopping);
}

static void log_failure(const char *what, enum rc rc, const struct buf *why)
{
    log_warning("recovery", "%s: %s%s%.*s", what, rc_text(rc), why->len > 0 ? ": " : "",
                (int)why->len, why->len > 0 ? (const char *)why->data : "");
}

static bool open_logs(struct io *io, const sigset_t *signals, bool *failed_out)
{
    struct watching w = {.signals = signals, .told_ns = clock_mono_ns(&clock_real)};
    struct journal_opts opts = node_journal_opts(config.log_repair);
    struct buf why;
    char what[300];
    opts.watch = watch_check;
    opts.watch_ctx = &w;
    buf_init(&why, MEM_NODE);
    enum rc rc = journal_set_open(&opts, io, &node.journal_set, &why);
    (void)snprintf(what, sizeof what, "cannot open the log in %s", node.dir);
    bool stopped = rc == RC_CLOSED && atomic_load(&node.stopping);
    *failed_out = rc != RC_OK && !stopped;
    if (*failed_out) log_failure(what, rc, &why);
    buf_free(&why);
    if (rc == RC_OK)
        atomic_store_explicit(&node.load.replay_bytes, journal_set_bytes(node.journal_set),
                              memory_order_relaxed);
    return rc == RC_OK;
}

static bool begin_generation(void)
{
    struct buf why;
    buf_init(&why, MEM_NODE);
    enum rc rc = journal_set_start(node.journal_set, &why);
    if (rc != RC_OK) log_failure("cannot begin a new generation of the log", rc, &why);
    buf_free(&why);
    return rc == RC_OK;
}

static void log_loaded(void)
{
    uint64_t keys = 0;
    int64_t took_us = clock_wall_us(&clock_real) - node.load.start_wall_us;
    for (uint32_t i = 0; i < node.shards; i++)
        for (uint32_t db = 0; db < config.databases; db++)
            keys += db_count(node.workers[i]->core.ks, (uint8_t)db);
    log_notice("recovery", "%llu keys loaded from %.1f MB of log in %.3f seconds",
               (unsigned long long)keys, (double)journal_set_bytes(node.journal_set) / (1 << 20),
               (double)took_us / 1e6);
}

static bool load_data(struct io *io, const sigset_t *signals, bool *failed_out)
{
    if (!open_logs(io, signals, failed_out)) return false;
    enter_phase(NODE_REPLAYS);
    *failed_out = !wait_workers(signals, "replaying") && !atomic_load(&node.stopping);
    if (*failed_out || atomic_load(&node.stopping)) return false;
    if (journal_set_bytes(node.journal_set) > 0) log_loaded();
    *failed_out = !cluster_data_fits() || !begin_generation();
    if (!*failed_out && node.shards > 1) node.track = journal_track_new(node.shards);
    return !*failed_out;
}

bool load_node(struct io *io, const sigset_t *signals, bool *failed_out)
{
    *failed_out = false;
    node.load.start_wall_us = clock_wall_us(&clock_real);
    if (config.appendonly && !load_data(io, signals, failed_out)) return false;
    enter_phase(NODE_OPENS);
    *failed_out = !wait_workers(signals, "opening") && !atomic_load(&node.stopping);
    if (*failed_out || atomic_load(&node.stopping)) return false;
    enter_phase(NODE_SERVES);
    *failed_out = !wait_workers(signals, "starting") && !atomic_load(&node.stopping);
    return !*failed_out && !atomic_load(&node.stopping);
}

/* ---- a worker */

struct loading { /* of worker 0: accepts when it takes long */
    struct worker *worker;
    struct timer quiet;
    bool listens, failed;
};

static void accept_clients(struct loading *l)
{
    if (l->worker->index != 0 || l->listens || l->failed) return;
    l->listens = listen__open(l->worker);
    l->failed = !l->listens;
}

static void on_quiet_over(struct timer *t)
{
    accept_clients(container_of(t, struct loading, quiet));
}

/* Turns until main is that far. False: the node stops. */
static bool await(struct worker *w, enum node_phase phase)
{
    while (!atomic_load(&node.stopping)) {
        if (atomic_load_explicit(&node.load.phase, memory_order_acquire) >= (uint32_t)phase)
            return true;
        reactor_turn(&w->core.reactor, true);
    }
    return false;
}

static void report(bool ok)
{
    if (!ok) atomic_store_explicit(&node.load.failed, true, memory_order_release);
    uint32_t done = atomic_fetch_add_explicit(&node.load.workers_done, 1, memory_order_acq_rel) + 1;
    if (done == node.shards) node_ring(LOAD_BELL);
}

struct pause {
    struct timer tick;
    struct reactor *reactor;
};

static void on_pause_tick(struct timer *t)
{
    struct pause *p = container_of(t, struct pause, tick);
    reactor_arm(p->reactor, t, TICK_MS);
}

/* key-load-delay, as in Redis: for tests of what is slow elsewhere. */
static void pause_for(struct worker *w, uint64_t units)
{
    int64_t delay = config.key_load_delay;
    if (delay == 0) return;
    uint64_t us = delay > 0 ? units * (uint64_t)delay : units / (uint64_t)-delay;
    uint64_t until_ns = clock_mono_ns(&clock_real) + us * 1000;
    struct pause p = {.tick = {.fire = on_pause_tick}, .reactor = &w->core.reactor};
    reactor_arm(p.reactor, &p.tick, TICK_MS);
    while (clock_mono_ns(&clock_real) < until_ns && !atomic_load(&node.stopping) &&
           config.key_load_delay != 0)
        reactor_turn(p.reactor, true);
    timer_cancel(p.reactor->timers, &p.tick);
}

static enum rc replay_all(struct worker *w, struct core_replay *p, struct buf *why)
{
    enum rc rc = RC_OK;
    bool more = true;
    while (rc == RC_OK && more && !atomic_load(&node.stopping)) {
        uint64_t units = core_replay_units(p);
        rc = core_replay_step(p, SLICE_US, &more, why);
        atomic_store_explicit(&w->replayed_bytes, core_replay_bytes(p), memory_order_relaxed);
        reactor_turn(&w->core.reactor, false);
        pause_for(w, core_replay_units(p) - units);
    }
    return rc;
}

static bool replay(struct worker *w)
{
    if (node.journal_set == NULL) return true;
    struct core_replay *p;
    struct buf why;
    buf_init(&why, MEM_NODE);
    enum rc rc = core_replay_begin(&w->core, node.journal_set, &p);
    if (rc == RC_OK) {
        rc = replay_all(w, p, &why);
        core_replay_end(p);
    }
    if (rc != RC_OK) {
        char what[32];
        (void)snprintf(what, sizeof what, "shard %u", w->index);
        log_failure(what, rc, &why);
    }
    buf_free(&why);
    return rc == RC_OK;
}

static void follow(struct worker *w, struct loading *l)
{
    if (config.appendonly) {
        if (!await(w, NODE_REPLAYS)) return;
        bool ok = replay(w);
        if (atomic_load(&node.stopping)) return;
        report(ok);
    }
    if (!await(w, NODE_OPENS)) return;
    bool ok = worker__open_log(w);
    if (ok && w->index == 0) ok = cluster_claim_slots(w);
    if (ok) core_start_upkeep(&w->core);
    report(ok);
    if (!await(w, NODE_SERVES)) return;
    accept_clients(l);
    report(!l->failed);
}

void load__run(struct worker *w)
{
    struct loading l = {.worker = w, .quiet = {.fire = on_quiet_over}};
    reactor_arm(&w->core.reactor, &l.quiet, QUIET_MS);
    follow(w, &l);
    if (timer_armed(&l.quiet)) timer_cancel(w->core.reactor.timers, &l.quiet);
}
