/* DEL, MGET, MSET …: the keys (with what follows each, up to step) are dealt to their shards. KEYS, FLUSHALL …:
 * every shard gets the same. */
#include "node/lend.h"
#include "node/txn_priv.h"

void split__count(struct worker *w, const struct request *rq, struct deal *d)
{
    uint32_t first = (uint32_t)rq->spec->keys.first, step = (uint32_t)rq->spec->keys.step;
    d->elements = (rq->argc - first) / step;
    d->shard_of = arena_alloc(&w->args, d->elements);
    d->slot_of = arena_alloc(&w->args, d->elements * sizeof *d->slot_of);
    d->used = 0;
    memset(d->keys, 0, w->core.count * sizeof *d->keys);
    memset(d->argc, 0, w->core.count * sizeof *d->argc);
    for (uint32_t e = 0; e < d->elements; e++) {
        d->slot_of[e] = slot_of_key(rq->argv[first + e * step]);
        uint32_t s = slot_shard(d->slot_of[e], w->core.count);
        d->shard_of[e] = (uint8_t)s;
        d->used += d->keys[s] == 0;
        d->only = s;
        d->keys[s]++;
    }
}

static void deal_elements(struct worker *w, const struct request *rq, struct deal *d)
{
    uint32_t first = (uint32_t)rq->spec->keys.first, step = (uint32_t)rq->spec->keys.step;
    for (uint32_t s = 0; s < w->core.count; s++) {
        if (d->keys[s] == 0) continue;
        d->argv[s] = arena_alloc(&w->args, (d->keys[s] * step + first) * sizeof **d->argv);
        d->hashes[s] = arena_alloc(&w->args, d->keys[s] * sizeof **d->hashes);
        d->slots[s] = arena_alloc(&w->args, d->keys[s] * sizeof **d->slots);
        memcpy(d->argv[s], rq->argv, first * sizeof **d->argv);
        d->argc[s] = first;
        d->keys[s] = 0;
    }
    for (uint32_t e = 0; e < d->elements; e++) {
        uint32_t s = d->shard_of[e];
        const struct bytes *from = rq->argv + first + e * step;
        d->slots[s][d->keys[s]] = d->slot_of[e];
        d->hashes[s][d->keys[s]++] = hash_bytes(*from);
        memcpy(d->argv[s] + d->argc[s], from, step * sizeof **d->argv);
        d->argc[s] += step;
    }
}

static bool meets_own(const struct worker *w, const struct conn *c, const struct deal *d)
{
    for (uint32_t s = 0; s < w->core.count; s++)
        for (uint32_t k = 0; k < d->keys[s]; k++)
            if (txn__has_key(w, c, d->hashes[s][k])) return true;
    return false;
}

static struct txn_plan plan_of(const struct worker *w, const struct conn *c,
                               const struct request *rq, const struct deal *d)
{
    struct merge *m = merge__new(rq->spec->spread, w->core.count, d->elements, c->session.proto);
    if (m->shard_of != NULL) memcpy(m->shard_of, d->shard_of, d->elements);
    return (struct txn_plan){.rq = rq,
                             .argv = d->argv,
                             .argc = d->argc,
                             .hashes = d->hashes,
                             .slots = d->slots,
                             .keys = d->keys,
                             .merge = m};
}

bool split__keys(struct worker *w, struct conn *c, struct request *rq, uint32_t *shard_out)
{
    const struct cmd_spec *spec = rq->spec;
    uint32_t first = (uint32_t)spec->keys.first, step = (uint32_t)spec->keys.step;
    struct deal d UNINITIALIZED;
    *shard_out = w->index;
    /* A wrong number of arguments (MSET k) is the command's to refuse. */
    if ((rq->argc - first) % step != 0 || w->core.count == 1) return false;
    split__count(w, rq, &d);
    *shard_out = d.only;
    if (d.used <= 1) return false;
    if (place__must_wait_for_parts(w, c, d.keys)) return true;
    if (txn__is_full(w, c)) {
        place__stall(w, c, CONN_WAIT_ORDER);
        return true;
    }
    bool lent = lend__take_all(w, rq, d.keys), reads = collect__may(rq);
    if (!lent && reads && c->txns == c->collects_count) {
        collect__start(w, c, rq, &d, true);
        return true;
    }
    deal_elements(w, rq, &d);
    if (c->txns > 0 && meets_own(w, c, &d)) {
        place__stall(w, c, CONN_WAIT_ORDER);
    } else if (!lent && reads) {
        collect__start(w, c, rq, &d, false);
    } else {
        struct txn_plan plan = plan_of(w, c, rq, &d);
        if (lent)
            lend__run_all(w, c, &plan);
        else
            txn__start(w, c, &plan);
    }
    return true;
}

void split__again(struct worker *w, struct conn *c, const struct request *rq, uint32_t pend)
{
    struct deal d UNINITIALIZED;
    split__count(w, rq, &d);
    deal_elements(w, rq, &d);
    struct txn_plan plan = plan_of(w, c, rq, &d);
    plan.pend = &pend;
    txn__start(w, c, &plan);
}

bool split__everywhere(struct worker *w, struct conn *c, struct request *rq)
{
    struct deal d = {.used = 0};
    if (w->core.count == 1) return false;
    if (place__must_wait_for_parts(w, c, NULL)) return true;
    if (c->txns > 0) { /* it shares keys with all of them */
        place__stall(w, c, CONN_WAIT_ORDER);
        return true;
    }
    for (uint32_t s = 0; s < w->core.count; s++) {
        d.argv[s] = (struct bytes *)(uintptr_t)rq->argv;
        d.argc[s] = rq->argc;
    }
    struct txn_plan plan = {.rq = rq,
                            .argv = d.argv,
                            .argc = d.argc,
                            .keys = d.keys,
                            .merge =
                                merge__new(rq->spec->spread, w->core.count, 0, c->session.proto)};
    txn__start(w, c, &plan);
    return true;
}
