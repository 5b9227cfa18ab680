#include "shard/exec/block.h"

#include <math.h>

#include "shard/base/num.h"
#include "shard/exec/exec_priv.h"

/* ---- what the command calls */

bool exec_wait(struct exec *x, enum value_type type, uint32_t first, uint32_t count)
{
    struct block_run *run = x->wait;
    if (run == NULL) return false;
    run->waits = true;
    run->type = type;
    run->first = first;
    run->count = count;
    return true;
}

void exec_wait_keys(const struct exec *x, uint32_t *first, uint32_t *count)
{
    const struct block_run *run = x->wait;
    if (run == NULL || run->until == 0) return;
    uint32_t end = *first + *count;
    if (run->from > *first) *first = run->from;
    if (run->until < end) end = run->until;
    *count = end - *first;
}

bool exec_claim(struct exec *x)
{
    struct block_run *run = x->wait;
    if (run == NULL) return true;
    if (!run->claimed && !run->lost) {
        run->claimed = run->waiter == NULL || waiter_take(run->waiter);
        run->lost = !run->claimed;
    }
    return run->claimed;
}

bool exec_arg_timeout(struct exec *x, uint32_t i)
{
    int64_t ms;
    const char *error = block_timeout(x->argv[i], x->now_ms, &ms);
    if (error == NULL) return true;
    reply_error(x->reply, error);
    return false;
}

const char *block_timeout(struct bytes text, int64_t now_ms, int64_t *ms_out)
{
    long double seconds;
    if (!num_parse_ldouble(text, &seconds)) return "ERR timeout is not a float or out of range";
    long double ms = ceill(seconds * 1000);
    if (ms < 0) return "ERR timeout is negative";
    if (ms > (long double)(INT64_MAX - now_ms)) return "ERR timeout is out of range";
    *ms_out = (int64_t)ms;
    return NULL;
}

uint32_t block_timeout_place(const struct cmd_spec *spec, uint32_t argc)
{
    return spec->flags & CMD_MOVABLE_KEYS ? 1 : argc - 1; /* BLMPOP and BZMPOP: in front */
}

/* ---- one run */

/* An error, or a null, came without a claim: it is one all the same. */
static void close_run(struct exec *x, struct block_run *run)
{
    if (!run->waits) run->lost = !exec_claim(x);
    x->wait = NULL;
}

void core_run_waiter(struct core *c, const struct request *rq, struct block_run *run,
                     struct reply *reply)
{
    c->run.wait = run;
    core_run(c, rq, reply);
    close_run(&c->run, run);
}

bool core_wait(struct core *c, struct waiter_part *p, const struct request *rq,
               const struct block_run *run)
{
    p->in.type = run->type;
    for (uint32_t i = run->first; i < run->first + run->count; i++) {
        struct db_key key = db_key(rq->key.db, rq->argv[i]);
        if (waits_try_add(&c->waiters, &p->in, &key, i)) continue;
        core_unwait(c, p);
        return false;
    }
    return true;
}

void core_unwait(struct core *c, struct waiter_part *p)
{
    waits_drop(&c->waiters, &p->in);
}

/* ---- serving */

/* False: the log takes nothing now; it is tried again. */
static bool may_write(struct core *c, const struct request *rq)
{
    if (atomic_load_explicit(&c->shared->refusing, memory_order_acquire) != 0 || c->lifted)
        return false;
    if (c->journal == NULL) return true;
    return journal_reserve(c->journal, core_log_bytes(rq)) == RC_OK;
}

/* The command of p again, with the key at `place` alone. Others may have taken it meanwhile. */
static void serve(struct core *c, struct waiter_part *p, uint32_t place, const struct db_key *key)
{
    const struct request *rq = &p->waiter->rq;
    struct block_run run = {.waiter = p->waiter, .from = place, .until = place + 1};
    struct reply reply = {.out = &c->served, .proto = p->waiter->proto};
    struct arena_mark mark = arena_mark(&c->scratch);
    struct exec *x = &c->run;
    c->gate_lsn = 0;
    c->served.len = 0;
    x->reply = &reply;
    x->spec = rq->spec;
    x->argv = rq->argv;
    x->argc = rq->argc;
    x->key = *key;
    x->key.name = rq->argv[place];
    x->no_touch = rq->no_touch;
    x->wait = &run;
    rq->spec->run(x);
    close_run(x, &run);
    arena_rewind(&c->scratch, mark);
    if (unlikely(c->waits)) core__gate(c, rq->spec);
    assert(!run.waits); /* the key holds a value of the type */
    core_unwait(c, p);
    if (unlikely(reply.errored) && run.claimed) {
        stat_bump(&c->cmd_stats[rq->spec->id].failed, 1);
        core_count_error(c, c->served.data, c->served.len);
    }
    c->on_served(c, p, run.claimed ? &c->served : NULL);
}

static bool serve_key(struct core *c, const struct wait_key *k)
{
    struct db_key key = waits_address(k);
    for (;;) {
        c->run.key = key;
        const struct record *r = exec_peek(&c->run, &key);
        if (r == NULL) return true;
        uint32_t place;
        struct waiting *who = waits_first(k, record_type(r), &place);
        if (who == NULL) return true;
        struct waiter_part *p = container_of(who, struct waiter_part, in);
        if (waiter_is_taken(p->waiter)) {
            core_unwait(c, p);
            c->on_served(c, p, NULL);
            continue;
        }
        if (!may_write(c, &p->waiter->rq)) return false;
        serve(c, p, place, &key);
    }
}

void core_serve(struct core *c)
{
    struct wait_key *k;
    while ((k = waits_take_ready(&c->waiters)) != NULL) {
        if (!serve_key(c, k)) {
            waits_put_back(&c->waiters, k);
            return;
        }
        waits_release(&c->waiters, k);
    }
}
