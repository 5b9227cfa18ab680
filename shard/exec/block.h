/* shard/exec/block.h: commands that wait for a key (BLPOP, BZPOPMIN …), as a shard sees them.
 *
 * Such a command is run like any other. If there is nothing for it, it says so by exec_wait() and replies nothing:
 * its keys are then registered on this shard, and when one of them holds a value it is run again, with that key
 * alone. It may wait on several shards at once, and its client may be let go by time, by CLIENT UNBLOCK or by
 * closing: `taken` tells who answers it. Whoever sets it does, and nobody else changes anything for it. */
#ifndef MOON_EXEC_BLOCK_H
#define MOON_EXEC_BLOCK_H

#include <stdatomic.h>

#include "shard/exec/core.h"

/* A blocking command, shared by the shards of its keys and the core of its connection. */
struct waiter {
    atomic_bool taken;
    uint8_t proto;
    struct request rq; /* its arguments live as long as it */
};
/* Its place in the registry of one shard. */
struct waiter_part {
    struct waiting in;
    struct waiter *waiter;
};

static inline bool waiter_is_taken(const struct waiter *w)
{
    return atomic_load_explicit(&w->taken, memory_order_acquire);
}
/* True: the caller, and nobody else, answers it. */
static inline bool waiter_take(struct waiter *w)
{
    return !atomic_exchange_explicit(&w->taken, true, memory_order_acq_rel);
}

/* One run of a command that may wait. While exec.wait names it; else the command must not (EXEC). */
struct block_run {
    struct waiter *waiter; /* NULL: nobody else can know of it yet */
    uint32_t from, until;  /* in argv: only these keys are looked at; until 0: all */
    bool claimed;          /* the run answers */
    bool lost;             /* somebody else does: what was replied is void */
    bool waits;            /* nothing was there: for these keys, of this type */
    enum value_type type;
    uint32_t first, count;
};

/* Runs it as core_run() does, here, with those keys; then run->waits, or run->lost, or reply holds the answer and
 * the caller is the one to give it. */
void core_run_waiter(struct core *c, const struct request *rq, struct block_run *run,
                     struct reply *reply);
/* The same while it may change keys of all shards (span.h). */
struct span;
void span_run_waiter(struct span *s, const struct request *rq, struct block_run *run,
                     struct reply *reply);
/* Registers what a run said it waits for. False: no memory; it is not registered at all. */
MUST_CHECK bool core_wait(struct core *c, struct waiter_part *p, const struct request *rq,
                          const struct block_run *run);
void core_unwait(struct core *c, struct waiter_part *p);
/* Serves those who wait for keys that became ready: after each command that was run on this shard, or after the
 * last one of EXEC. Each one is told by c->on_served. A key that cannot be served in this step is kept from everybody
 * else (serve.c) and seen to by core_serve_kept(): when core_serves_later(), on the thread of the shard; while the others
 * stand (c->stands), if core_serves_apart(). */
void core_serve(struct core *c);
void core_serve_kept(struct core *c);
bool core_serves_apart(const struct core *c);
static inline bool core_serves_later(const struct core *c)
{
    return unlikely(c->serving.keys != NULL) &&
           atomic_load_explicit(&c->serving.due, memory_order_seq_cst);
}
/* tx_ops.serve: the shard that is to be woken, unless it is the caller's. */
struct core *core_kept(struct sched_entry *e);
/* Keys of this shard that another one kept and needs no more (c->serving.let_go). */
void core_let_go(struct core *c);
static inline bool core_must_serve(const struct core *c)
{
    return unlikely(c->waiters.ready_head != NULL);
}

/* The timeout of a blocking command: NULL and the milliseconds (0: none), or the error. */
const char *block_timeout(struct bytes text, int64_t now_ms, int64_t *ms_out);
/* Where it stands among the arguments. */
uint32_t block_timeout_place(const struct cmd_spec *spec, uint32_t argc);

#endif
