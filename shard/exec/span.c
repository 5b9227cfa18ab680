/* While a command runs, x->core and x->ks are those of the key it looked at last, and the thread's slab is that
 * of this core: what is made or freed then belongs there. Commands open a key, change it and commit before they
 * open another, so this needs no care of theirs but in two cases: a value made before its key is opened
 * (exec_build_for), and a record that would move to another shard (RENAME copies it). Logs are named by the
 * slot of the key told, so units may come in any order.
 *
 * What another thread sees of it is ordered by the park: it stands between a release of its own and an acquire. */
#include "shard/exec/span.h"

#include "shard/exec/block.h"
#include "shard/exec/exec_priv.h"

static int64_t time_on(const struct span *s, const struct core *c)
{
    return c == s->home ? s->home_ms : s->others_ms;
}

struct core *exec__core_of(const struct exec *x, uint16_t slot)
{
    return x->span->core[slot_shard(slot, x->span->count)];
}

void exec__stand(struct exec *x, uint16_t slot)
{
    struct core *c = exec__core_of(x, slot);
    if (c == x->core) return;
    x->core = c;
    x->ks = c->ks;
    x->now_ms = time_on(x->span, c);
    (void)slab_use(c->slab);
}

bool exec__reserve_span(struct exec *x, size_t bytes)
{
    for (uint64_t left = x->span->mask; left != 0; left &= left - 1) {
        struct core *c = x->span->core[__builtin_ctzll(left)];
        enum rc rc = c->journal == NULL ? RC_OK : journal_reserve(c->journal, bytes);
        if (rc == RC_OK) continue;
        exec__reply_refused(x->reply, rc);
        return false;
    }
    return true;
}

/* Who stands goes on with a pass that may have begun before: nothing that was seen here is earlier there, nor a transaction
 * that is granted there only then. */
static void raise_time(struct core *c, int64_t now_ms)
{
    if (reactor_now_ms(&c->reactor) < now_ms) c->reactor.wall_us = now_ms * 1000;
    if (c->run.now_ms < now_ms) c->run.now_ms = now_ms;
}

void span_begin(struct span *s)
{
    struct exec *x = &s->home->run;
    s->in_tx = false;
    s->home_ms = s->others_ms = x->now_ms;
    for (uint32_t i = 0; i < s->count; i++) {
        struct core *c = s->core[i];
        if (c == s->home) continue;
        core_pass_begin(c);
        /* No shard's time goes back by what ran here. */
        if (c->run.now_ms > s->others_ms) s->others_ms = c->run.now_ms;
    }
    if (!s->inside) s->home_ms = s->others_ms;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->core[i] != s->home || !s->inside) raise_time(s->core[i], s->others_ms);
    x->span = s;
}

static void go_home(struct span *s)
{
    struct exec *x = &s->home->run;
    x->core = s->home;
    x->ks = s->home->ks;
    x->now_ms = s->home_ms;
    (void)slab_use(s->home->slab);
}

void span_end(struct span *s)
{
    assert(!s->in_tx);
    go_home(s);
    s->home->run.span = NULL;
    s->inside = false;
}

bool span_admit(struct span *s, uint32_t flags, size_t log_bytes, struct reply *reply)
{
    if (!core_admit(s->home, flags, log_bytes, reply)) return false;
    s->home->run.reply = reply;
    return !(flags & CMD_WRITE) || exec__reserve_span(&s->home->run, log_bytes);
}

void span_tx_begin(struct span *s, uint64_t txid)
{
    bool several = (s->mask & (s->mask - 1)) != 0;
    for (uint64_t left = s->mask; left != 0; left &= left - 1)
        core_tx_begin(s->core[__builtin_ctzll(left)], several ? txid : 0, several ? s->mask : 0);
    s->in_tx = true;
}

static bool has_logged(const struct span *s)
{
    bool logged = false;
    for (uint64_t left = s->mask; left != 0; left &= left - 1)
        logged |= core_tx_has_logged(s->core[__builtin_ctzll(left)]);
    return logged;
}

void span_widen(struct span *s, uint64_t txid)
{
    uint64_t all = UINT64_MAX >> (64 - s->count);
    bool logged = s->in_tx && has_logged(s);
    for (uint32_t i = 0; i < s->count && s->in_tx; i++) {
        struct core *c = s->core[i];
        if (c->tx.open && logged)
            core_tx_mark(c); /* what others logged names its part of what was begun */
        if (c->tx.open)
            core_tx_widen(c, txid, all);
        else
            core_tx_begin(c, txid, all);
    }
    s->mask = all;
}

/* If no shard has logged anything there is no transaction: no part of it is marked anywhere. */
void span_tx_end(struct span *s)
{
    bool logged = has_logged(s);
    for (uint64_t left = s->mask; left != 0; left &= left - 1) {
        struct core *c = s->core[__builtin_ctzll(left)];
        if (logged)
            core_tx_end(c);
        else
            core_tx_cancel(c);
    }
    s->in_tx = false;
}

void span_run(struct span *s, const struct request *rq, struct reply *reply)
{
    if (!span_admit(s, rq->spec->flags, core_log_bytes(rq), reply)) {
        stat_bump(&s->home->cmd_stats[rq->spec->id].rejected, 1);
        return;
    }
    /* What it says of time counts from that of its key. */
    if (s->inside && rq->spec->keys.first > 0) exec__stand(&s->home->run, rq->key.slot);
    core_run(s->home, rq, reply);
    go_home(s);
}

void span_run_on(struct span *s, uint32_t shard, const struct request *rq, struct reply *reply,
                 bool part)
{
    struct core *c = s->core[shard];
    struct exec *x = &s->home->run;
    x->span = NULL; /* c may be home */
    c->run.now_ms = time_on(s, c);
    (void)slab_use(c->slab);
    if (part)
        core_run_part(c, rq, reply);
    else
        core_run(c, rq, reply);
    (void)slab_use(s->home->slab);
    x->span = s;
}

/* On its own, as its thread would. */
static void serve_on(struct span *s, struct core *c, void (*serve)(struct core *c))
{
    struct exec *x = &s->home->run;
    x->span = NULL; /* c may be home */
    c->run.now_ms = time_on(s, c);
    c->stands = s;
    (void)slab_use(c->slab);
    serve(c);
    (void)slab_use(s->home->slab);
    c->stands = NULL;
    x->span = s;
}

void span_serve(struct span *s)
{
    bool again = true;
    while (again) {
        again = false;
        for (uint32_t i = 0; i < s->count; i++) {
            if (!core_must_serve(s->core[i])) continue;
            serve_on(s, s->core[i], core_serve);
            again |= !core_must_serve(s->core[i]); /* else its log takes nothing */
        }
    }
}

void span_serve_kept(struct span *s, struct core *c)
{
    serve_on(s, c, core_serve_kept);
}
