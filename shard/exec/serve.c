/* Serving those who wait for keys: after each command that was run on this shard, in the same step, so that nobody
 * comes between. Three things put it off:
 *
 *   a transaction has spoken for a key that would be changed (also: the very command that made it holds it)
 *   the command changes a key of another shard too (BLMOVE): it runs while all shards stand
 *   the log takes nothing
 *
 * In the first two cases the key is kept from everybody else (sched_serve) until it is done; the target of a move, if it is
 * not free when its turn comes, likewise. While the log takes nothing nothing is kept: it may be long, and others read.
 *
 * What is kept belongs to the key, not to who waits: one may give up, and the next one's turn it is. The thread of the
 * shard does all of this, or who stands for it; only an intent on another shard is let go of by that shard's thread. */
#include "shard/exec/block.h"
#include "shard/exec/exec_priv.h"
#include "shard/exec/span.h"
#include "shard/exec/tx.h"

struct kept {                 /* an intent of ours on a key of `at` */
    struct sched_entry entry; /* first */
    struct inbox_link link;   /* on its way to be let go of */
    struct core *home, *at;
    uint64_t hash;
};
struct serving { /* a ready key that has to wait */
    struct serving *next;
    struct wait_key *key;
    struct kept *source, *target; /* target: of the command whose turn it is */
    bool apart;                   /* that one wants all shards to stand */
};

/* ---- intents */

static void let_go(struct core *home, struct kept *k)
{
    if (k == NULL) return;
    struct core *at = k->at;
    if (at != home && home->stands == NULL) {
        inbox_add(&at->serving.let_go, &k->link); /* it may be gone now */
        reactor_wake(&at->reactor);
        return;
    }
    tx_served(at->parts, &k->entry);
    mem_free(MEM_EXEC, k, sizeof *k);
}

void core_let_go(struct core *c)
{
    struct inbox_link *link = inbox_take(&c->serving.let_go);
    while (link != NULL) {
        struct kept *k = container_of(link, struct kept, link);
        link = link->next;
        tx_served(c->parts, &k->entry);
        mem_free(MEM_EXEC, k, sizeof *k);
    }
}

void core__serve_again(struct core *c)
{
    atomic_store_explicit(&c->serving.due, true, memory_order_seq_cst);
}

struct core *core_kept(struct sched_entry *e)
{
    struct kept *k = (struct kept *)(void *)e;
    core__serve_again(k->home);
    return k->home;
}

/* NULL: no memory; it is tried again. */
static struct kept *keep(struct core *home, struct core *at, uint64_t hash)
{
    struct kept *k = mem_alloc(MEM_EXEC, sizeof *k);
    *k = (struct kept){.home = home, .at = at, .hash = hash};
    if (tx_serve(at->parts, &k->entry, hash) != SCHED_NOMEM) return k;
    mem_free(MEM_EXEC, k, sizeof *k);
    core__serve_again(home);
    return NULL;
}

static struct serving *serving_of(const struct core *c, const struct wait_key *key)
{
    struct serving *s = c->serving.keys;
    while (s != NULL && s->key != key)
        s = s->next;
    return s;
}

static struct serving *serving_made(struct core *c, struct wait_key *key)
{
    struct serving *s = serving_of(c, key);
    if (s != NULL) return s;
    s = mem_zalloc(MEM_EXEC, sizeof *s);
    s->key = key;
    s->next = c->serving.keys;
    return c->serving.keys = s;
}

static void stop_serving(struct core *c, const struct wait_key *key)
{
    struct serving **link = &c->serving.keys;
    while (*link != NULL && (*link)->key != key)
        link = &(*link)->next;
    struct serving *s = *link;
    if (s == NULL) return;
    *link = s->next;
    let_go(c, s->source);
    let_go(c, s->target);
    mem_free(MEM_EXEC, s, sizeof *s);
}

static bool is_same(const struct kept *k, const struct core *at, uint64_t hash)
{
    return k != NULL && k->at == at && k->hash == hash;
}

/* Who waits on several shards may look at a later key as soon as they go on: what was pushed is given before that. */
static bool is_alone(const struct core *c)
{
    return c->stands != NULL && c->stands->alone;
}

/* May that key be changed now? Else it is kept, and comes. */
static bool has_source(struct core *c, struct wait_key *key, uint64_t hash)
{
    if (is_alone(c)) return true;
    struct serving *s = serving_of(c, key);
    if (s == NULL || s->source == NULL) {
        if (!sched_must_wait(&c->sched, SCHED_SERVE, &hash, 1, 0)) return true;
        s = serving_made(c, key);
        s->source = keep(c, c, hash);
    }
    return s->source != NULL && s->source->entry.waits == 0;
}

static bool has_target(struct core *c, struct wait_key *key, struct core *at, uint64_t hash)
{
    if (is_alone(c)) return true;
    struct serving *s = serving_of(c, key);
    if (s == NULL || !is_same(s->target, at, hash)) {
        if (s != NULL) {
            let_go(c, s->target); /* of one who gave up */
            s->target = NULL;
        }
        if (!sched_must_wait(&at->sched, SCHED_SERVE, &hash, 1, 0)) return true;
        s = serving_made(c, key);
        s->target = keep(c, at, hash);
    }
    return s->target != NULL && s->target->entry.waits == 0;
}

/* From now on nobody else comes to it. */
static struct serving *keep_source(struct core *c, struct wait_key *key, uint64_t hash)
{
    struct serving *s = serving_made(c, key);
    if (s->source == NULL) s->source = keep(c, c, hash);
    return s;
}

/* It is served when all shards stand. */
static void keep_apart(struct core *c, struct wait_key *key, uint64_t hash)
{
    keep_source(c, key, hash)->apart = true;
    core__serve_again(c);
}

/* For a move, whose target lies on `at`. */
static bool has_both(struct core *c, struct wait_key *key, uint64_t hash, struct core *at,
                     uint64_t to_hash)
{
    if (!has_source(c, key, hash)) return false;
    if (has_target(c, key, at, to_hash)) return true;
    (void)keep_source(c, key, hash); /* it was free, and the element is not to be taken meanwhile */
    return false;
}

/* ---- one who waits */

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
    exec__close_run(x, &run);
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

enum served { SERVED, KEPT, NOT_NOW };

static enum served move(struct core *c, struct wait_key *k, const struct db_key *key,
                        struct waiter_part *p)
{
    const struct request *rq = &p->waiter->rq;
    struct db_key to = db_key(key->db, rq->argv[2]);
    uint32_t shard = slot_shard(to.slot, c->count);
    if (shard == c->index) {
        if (!has_both(c, k, key->hash, c, to.hash)) return KEPT;
        serve(c, p, 1, key);
        return SERVED;
    }
    if (c->stands == NULL) {
        keep_apart(c, k, key->hash);
        return KEPT;
    }
    struct core *at = c->stands->core[shard];
    if (!may_write(at, rq)) return NOT_NOW;
    if (!has_both(c, k, key->hash, at, to.hash)) return KEPT;
    c->on_apart(c, p);
    return SERVED;
}

static enum served serve_next(struct core *c, struct wait_key *k, const struct db_key *key,
                              struct waiter_part *p, uint32_t place)
{
    const struct request *rq = &p->waiter->rq;
    if (waiter_is_taken(p->waiter)) {
        core_unwait(c, p);
        c->on_served(c, p, NULL);
        return SERVED;
    }
    if (!may_write(c, rq)) return NOT_NOW;
    if (rq->spec->spread == SPREAD_WAIT_MOVE) return move(c, k, key, p);
    if (unlikely(!sched_is_empty(&c->sched)) && !has_source(c, k, key->hash)) return KEPT;
    serve(c, p, place, key);
    return SERVED;
}

/* ---- one key */

static enum served serve_key(struct core *c, struct wait_key *k)
{
    struct db_key key = waits_address(k);
    for (;;) {
        c->run.key = key;
        const struct record *r = exec_peek(&c->run, &key);
        if (r == NULL) return SERVED;
        uint32_t place;
        struct waiting *who = waits_first(k, record_type(r), &place);
        if (who == NULL) return SERVED;
        struct waiter_part *p = container_of(who, struct waiter_part, in);
        enum served s = serve_next(c, k, &key, p, place);
        if (s != SERVED) return s;
    }
}

/* False: the log takes nothing now. */
static bool serve_taken(struct core *c, struct wait_key *k)
{
    enum served o = serve_key(c, k);
    if (o == KEPT) return true;
    stop_serving(c, k);
    if (o == NOT_NOW)
        waits_put_back(&c->waiters, k);
    else
        waits_release(&c->waiters, k);
    return o == SERVED;
}

void core_serve(struct core *c)
{
    struct wait_key *k;
    while ((k = waits_take_ready(&c->waiters)) != NULL)
        if (!serve_taken(c, k)) return;
}

void core_serve_kept(struct core *c)
{
    atomic_store_explicit(&c->serving.due, false, memory_order_seq_cst);
    struct serving *s = c->serving.keys;
    while (s != NULL) {
        struct wait_key *k = s->key;
        s->apart = false;
        s = s->next; /* this one may be gone afterwards, others not */
        (void)serve_taken(c, k);
    }
    core_serve(c); /* a move made a key ready, or a key is so again */
}

bool core_serves_apart(const struct core *c)
{
    for (const struct serving *s = c->serving.keys; s != NULL; s = s->next)
        if (s->apart) return true;
    return false;
}

void core__serve_fini(struct core *c)
{
    while (c->serving.keys != NULL) { /* a stop was cut short */
        struct serving *s = c->serving.keys;
        c->serving.keys = s->next;
        if (s->source != NULL) mem_free(MEM_EXEC, s->source, sizeof *s->source);
        if (s->target != NULL) mem_free(MEM_EXEC, s->target, sizeof *s->target);
        mem_free(MEM_EXEC, s, sizeof *s);
    }
}
