#include "shard/exec/block.h"

#include <math.h>

#include "shard/base/num.h"
#include "shard/exec/exec_priv.h"
#include "shard/exec/span.h"

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
void exec__close_run(struct exec *x, struct block_run *run)
{
    if (!run->waits) run->lost = !exec_claim(x);
    x->wait = NULL;
}

void core_run_waiter(struct core *c, const struct request *rq, struct block_run *run,
                     struct reply *reply)
{
    c->run.wait = run;
    core_run(c, rq, reply);
    exec__close_run(&c->run, run);
}

void span_run_waiter(struct span *s, const struct request *rq, struct block_run *run,
                     struct reply *reply)
{
    struct exec *x = &s->home->run;
    struct span *before = x->span;
    struct slab *slab = slab_use(s->home->slab);
    x->span = s;
    x->wait = run;
    span_run(s, rq, reply);
    exec__close_run(x, run);
    x->span = before;
    (void)slab_use(slab);
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
    if (unlikely(c->serving.keys != NULL)) core__serve_again(c); /* it may have been its turn */
}
