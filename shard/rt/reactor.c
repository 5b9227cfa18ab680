/* shard/rt/reactor.c: one turn of a core:
 *
 *   io_turn (send what the last turn left, sleep if there is nothing to do, dispatch completions)
 *   → pass → timers → tasks
 *
 * Sleeping. `sleeping` is published before the handler is asked for the last time whether a message
 * waits; a peer publishes its message before it looks at `sleeping`. All four accesses are sequentially
 * consistent, so one of the two sees the other and no message is slept over. The first peer to
 * take the flag back rings; the others, and all peers of a running core, pay one load.
 *
 * The run token is free between the last thing a turn does before it waits and the first it does after: its
 * thread takes it back before it looks at a completion. Whoever has it then gives it back within the 50 µs or
 * so that a wake would have cost it.
 *
 * A core whose peers owe it answers spins for spin_us first: waking it would cost them more (45 µs). */
#include "shard/rt/reactor.h"

#include <sched.h>

#include "shard/base/assert.h"
#include "shard/base/limits.h"

#define PASS_CPU_EVERY 64
/* Tasks get at most this share of a turn; with requests waiting the next pass comes soon enough. */
#define TASKS_TOTAL_US (4 * TASK_SLICE_US)
/* No sleep is longer: a clock or a wake that fails shows as a late timer, not as a dead core. */
#define SLEEP_US_MAX 1000000

static _Thread_local struct reactor *current;

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#define PAUSES 2000u /* some 50 µs; then the CPU may be needed by the one that is waited for */

void reactor_pause(uint32_t *spins)
{
    if (++*spins > PAUSES)
        (void)sched_yield();
    else
        cpu_relax();
}

/* ---- the run token, around a sleep */

static void leave(struct io_rest *rest)
{
    reactor_give(container_of(rest, struct reactor, rest), TOKEN_FREE);
}

static void back(struct io_rest *rest)
{
    struct reactor *r = container_of(rest, struct reactor, rest);
    uint32_t spins = 0;
    while (!reactor_try_take(r, TOKEN_FREE))
        reactor_pause(&spins);
}

/* ---- life */

void reactor_read_clocks(struct reactor *r)
{
    r->wall_us = clock_wall_us(r->clock);
    r->mono_ns = clock_mono_ns(r->clock);
}

void reactor_init(struct reactor *r, uint32_t core, struct io *io, const struct clock *clock,
                  struct reactor_handler handler)
{
    assert(handler.pass != NULL);
    *r = (struct reactor){.io = io,
                          .clock = clock,
                          .handler = handler,
                          .core = core,
                          .rest = {.leave = leave, .back = back},
                          .pass_cpu_every = PASS_CPU_EVERY};
    task_queue_init(&r->tasks, clock);
    reactor_read_clocks(r);
    r->timers = timer_wheel_new(reactor_mono_ms(r));
    current = r;
}

void reactor_fini(struct reactor *r)
{
    timer_wheel_free(r->timers);
    r->timers = NULL;
    if (current == r) current = NULL;
}

uint32_t reactor_core(void)
{
    return current != NULL ? current->core : UINT32_MAX;
}

static bool work_waits(const struct reactor *r)
{
    return r->handler.pending != NULL && r->handler.pending(r->handler.ctx);
}

static bool answers_expected(const struct reactor *r)
{
    return r->handler.expecting != NULL && r->handler.expecting(r->handler.ctx);
}

/* How long a sleep may last, 0 if there is something to do now. */
static int64_t sleep_bound_us(const struct reactor *r)
{
    if (r->tasks.count > 0) return 0;
    uint64_t mono_ns = clock_mono_ns(r->clock); /* the pass took its time since the last reading */
    uint64_t wait_ms = timer_wait_ms(r->timers, mono_ns / 1000000);
    if (wait_ms >= SLEEP_US_MAX / 1000) return SLEEP_US_MAX;
    if (wait_ms == 0) return 0;
    return (int64_t)(wait_ms * 1000 - mono_ns / 1000 % 1000);
}

/* Returns what was dispatched. Spinning keeps sends and completions going. */
static uint32_t spin(struct reactor *r, int64_t bound_us)
{
    uint64_t start = clock_mono_ns(r->clock), now = start;
    uint64_t until = start + (uint64_t)(bound_us < r->spin_us ? bound_us : r->spin_us) * 1000;
    uint32_t count = io_turn(r->io, 0);
    while (count == 0 && !work_waits(r) && (now = clock_mono_ns(r->clock)) < until) {
        cpu_relax();
        count = io_turn(r->io, 0);
    }
    stat_bump(&r->spin_ns, now - start);
    return count;
}

static uint32_t sleep_turn(struct reactor *r)
{
    int64_t bound_us = sleep_bound_us(r);
    if (bound_us == 0) return io_turn(r->io, 0);
    if (r->spin_us > 0 && answers_expected(r)) {
        uint32_t count = spin(r, bound_us);
        if (count > 0 || work_waits(r)) return count;
        bound_us = sleep_bound_us(r);
    }
    atomic_store_explicit(&r->sleeping, true, memory_order_seq_cst);
    bool stay = work_waits(r) || atomic_load_explicit(&r->stop, memory_order_seq_cst);
    r->io->rest = stay || !r->lends ? NULL : &r->rest;
    uint32_t count = io_turn(r->io, stay ? 0 : bound_us);
    r->io->rest = NULL;
    atomic_store_explicit(&r->sleeping, false, memory_order_relaxed);
    if (!stay) stat_bump(&r->sleeps, 1);
    return count;
}

static void measured_pass(struct reactor *r)
{
    uint64_t before = clock_thread_cpu_ns();
    r->handler.pass(r->handler.ctx);
    stat_add(&r->pass_cpu, clock_thread_cpu_ns() - before);
}

void reactor_turn(struct reactor *r, bool may_sleep)
{
    current = r;
    uint32_t count = may_sleep ? sleep_turn(r) : io_turn(r->io, 0);
    reactor_read_clocks(r);
    stat_bump(&r->turns, 1);
    if (count > 0 && r->pass_cpu_every != 0 && r->turns % r->pass_cpu_every == 0)
        measured_pass(r);
    else
        r->handler.pass(r->handler.ctx);
    timer_advance(r->timers, reactor_mono_ms(r));
    (void)task_run(&r->tasks, TASKS_TOTAL_US);
}

void reactor_run(struct reactor *r)
{
    while (!atomic_load_explicit(&r->stop, memory_order_acquire))
        reactor_turn(r, true);
    atomic_store_explicit(&r->stop, false, memory_order_relaxed); /* turns may sleep again */
}

void reactor_stop(struct reactor *r)
{
    atomic_store_explicit(&r->stop, true, memory_order_seq_cst);
    io_wake(r->io);
}

void reactor_wake(struct reactor *r)
{
    if (likely(!atomic_load_explicit(&r->sleeping, memory_order_seq_cst))) return;
    if (!atomic_exchange_explicit(&r->sleeping, false, memory_order_seq_cst))
        return; /* another did */
    if (current != NULL) stat_bump(&current->wakes_sent, 1);
    io_wake(r->io);
}
