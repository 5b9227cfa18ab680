/* shard/rt/reactor.h: the loop of one core: completions → pass (messages, requests, log, sends) →
 * timers → tasks → sleep. Owned by one thread. */
#ifndef MOON_RT_REACTOR_H
#define MOON_RT_REACTOR_H

#include <stdatomic.h>

#include "shard/base/clock.h"
#include "shard/base/stat.h"
#include "shard/rt/io.h"
#include "shard/rt/task.h"
#include "shard/rt/timer.h"

struct reactor_handler {
    void *ctx;
    /* Once per turn, after completions: drain mailboxes, run requests, flush. */
    void (*pass)(void *ctx);
    /* Before sleeping: true if a message waits or the pass left work over (checked after `sleeping`
     * was published, and again and again while spinning: keep it to a few loads). */
    bool (*pending)(void *ctx);
    /* True while answers of peers are outstanding: spin up to spin_us before sleeping. */
    bool (*expecting)(void *ctx);
};
/* Who may work on a core. Held: its own thread, or whoever took it. Free: its thread waits in the kernel with
 * nothing to do. Stands: its thread stays out of its core, in the middle of a pass, until it may go on. */
enum reactor_token { TOKEN_HELD, TOKEN_FREE, TOKEN_STANDS };

struct reactor {
    struct io *io;
    const struct clock *clock;
    struct timer_wheel *timers;
    struct task_queue tasks;
    struct reactor_handler handler;
    uint32_t core;
    uint32_t spin_us;
    int64_t wall_us; /* one reading per turn, or reactor_read_clocks() */
    uint64_t mono_ns;
    atomic_bool sleeping;   /* peers: publish, then reactor_wake() */
    _Atomic uint32_t token; /* enum reactor_token */
    struct io_rest rest;
    bool lends; /* it leaves its token free in sleep; set before it runs */
    atomic_bool stop;
    uint64_t turns, sleeps, wakes_sent; /* others read them with stat_get() */
    uint64_t spin_ns; /* spent spinning for answers, the turn that ended it not counted */
    uint32_t
        pass_cpu_every; /* measure every n-th pass with work: reading the CPU clock is a system call */
    struct stat_histogram pass_cpu; /* own thread CPU time of the measured passes */
};

void reactor_init(struct reactor *r, uint32_t core, struct io *io, const struct clock *clock,
                  struct reactor_handler handler);
void reactor_fini(struct reactor *r);
void reactor_turn(struct reactor *r, bool may_sleep); /* one turn; tests call it directly */
void reactor_read_clocks(struct reactor *r);          /* in a turn that takes long */
void reactor_run(struct reactor *r);                  /* until reactor_stop(); may be run again */
void reactor_stop(struct reactor *r);                 /* any thread */
/* Any thread, after publishing a message: wakes the core only if it sleeps. */
void reactor_wake(struct reactor *r);
/* ---- the run token: any thread may work on a core whose token it took, as its own thread would, and owes its
 * thread the rest: reactor_owed() before the token is given, reactor_wake() after. Timers that it arms fire when
 * the core's thread wakes by itself, within a second.
 * Taking acquires, giving releases; no wake depends on it, for who finds it held sends a message as ever. */
MUST_CHECK static inline bool reactor_try_take(struct reactor *r, enum reactor_token from)
{
    uint32_t expected = from;
    return atomic_load_explicit(&r->token, memory_order_relaxed) == (uint32_t)from &&
           atomic_compare_exchange_strong_explicit(&r->token, &expected, TOKEN_HELD,
                                                   memory_order_acquire, memory_order_relaxed);
}
static inline void reactor_give(struct reactor *r, enum reactor_token to)
{
    atomic_store_explicit(&r->token, to, memory_order_release);
}
/* True: there is work that only the core's own thread can do. */
static inline bool reactor_owed(const struct reactor *r)
{
    return r->tasks.count > 0 || r->io->asked;
}
/* Waits a little, more than a little when it has waited long. *spins begins at 0. */
void reactor_pause(uint32_t *spins);
/* Wall clock: expiry, LRU, what clients see. It may jump, so timers do not run on it. */
static inline int64_t reactor_now_ms(const struct reactor *r)
{
    return r->wall_us / 1000;
}
/* Monotonic: the time of r->timers. timer_arm(r->timers, t, reactor_mono_ms(r) + delay). */
static inline uint64_t reactor_mono_ms(const struct reactor *r)
{
    return r->mono_ns / 1000000;
}
static inline void reactor_arm(struct reactor *r, struct timer *t, uint64_t delay_ms)
{
    timer_arm(r->timers, t, reactor_mono_ms(r) + delay_ms);
}
/* The core this thread runs, or UINT32_MAX. */
uint32_t reactor_core(void);

#endif
