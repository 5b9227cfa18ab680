#include "shard/exec/tx.h"

#include "shard/base/assert.h"
#include "shard/base/planted.h"

enum {
    PART_AWAY, /* its SCHED has not been taken */
    PART_HERE, /* in the scheduler */
    PART_OUT,  /* not (or no more) in it: a CANCEL is on its way */
    PART_GONE, /* the CANCEL came before the SCHED */
};

/* Whoever has begun is granted on all shards, and waits for nobody. */
static bool recall(struct sched_entry *e)
{
    struct tx *t = ((struct tx_part *)(void *)e)->tx;
    uint32_t ungranted = atomic_load_explicit(&t->ungranted, memory_order_relaxed);
    do
        if (ungranted == 0) return planted(RECALL_BEGUN);
    while (!atomic_compare_exchange_weak_explicit(&t->ungranted, &ungranted, ungranted + 1,
                                                  memory_order_acq_rel, memory_order_relaxed));
    return true;
}

void tx_shard_init(struct tx_shard *s, uint32_t index, struct sched *sched,
                   const struct tx_ops *ops, void *ctx)
{
    *s = (struct tx_shard){.sched = sched, .ops = ops, .ctx = ctx, .index = index};
    sched->recall = recall;
}

/* ---- what a shard does with its part */

static void post(struct tx_shard *s, struct tx_part *p, enum tx_post what)
{
    p->post = (uint8_t)what;
    s->ops->post(s->ctx, p);
}

static void post_others(struct tx_shard *s, const struct tx_part *mine, enum tx_post what)
{
    const struct tx *t = mine->tx; /* lives: the own part is not answered */
    for (uint32_t i = 0; i < t->count; i++)
        if (t->parts[i] != mine) post(s, t->parts[i], what);
}

static void let_go(struct tx_shard *s, struct tx_part *p)
{
    if (!planted(LEAVE_EARLY) || p->entry.nodes != NULL) sched_leave(s->sched, &p->entry);
    s->ops->answer(s->ctx, p);
}

/* The planted mistake; once, however many rounds it takes. */
static bool has_run_early(const struct tx_part *p)
{
#ifdef MOON_TEST
    return p->early;
#else
    (void)p;
    return false;
#endif
}

static void run_early(struct tx_shard *s, struct tx_part *p)
{
#ifdef MOON_TEST
    if (p->early || p->tx->kind != TX_PLAIN) return;
    p->early = true;
    s->ops->run(s->ctx, p);
#else
    (void)s;
    (void)p;
#endif
}

static void run_and_let_go(struct tx_shard *s, struct tx_part *p)
{
    struct tx *t = p->tx;
    bool may = atomic_load_explicit(&t->error, memory_order_relaxed) == RC_OK &&
               !atomic_load_explicit(&t->forbidden, memory_order_relaxed);
    if (may && !has_run_early(p)) s->ops->run(s->ctx, p);
    let_go(s, p);
}

static void run_barrier(struct tx_shard *s, struct tx_part *p)
{
    p->tx->held = false;
    s->ops->run(s->ctx, p);
    if (p->tx->held) return;
    post_others(s, p, TX_RELEASE);
    let_go(s, p);
}

static void check(struct tx_shard *s, struct tx_part *p)
{
    struct tx *t = p->tx;
    if (atomic_load_explicit(&t->error, memory_order_relaxed) == RC_OK && !s->ops->check(s->ctx, p))
        atomic_store_explicit(&t->forbidden, true, memory_order_relaxed);
    if (atomic_fetch_sub_explicit(&t->unchecked, 1, memory_order_acq_rel) > 1) return;
    post_others(s, p, TX_RUN_CHECKED);
    run_and_let_go(s, p);
}

static void run(struct tx_shard *s, struct tx_part *p)
{
    switch (p->tx->kind) {
    case TX_PLAIN:
        run_and_let_go(s, p);
        return;
    case TX_CHECKED:
        check(s, p);
        return;
    case TX_BARRIER:
        run_barrier(s, p);
        return;
    }
}

/* p's is the last grant. */
static void all_granted(struct tx_shard *s, struct tx_part *p)
{
    struct tx *t = p->tx;
    if (t->kind != TX_BARRIER) {
        post_others(s, p, TX_RUN);
        run(s, p);
        return;
    }
    if (p->shard == t->coordinator) {
        run(s, p);
        return;
    }
    for (uint32_t i = 0; i < t->count; i++)
        if (t->parts[i]->shard == t->coordinator) {
            post(s, t->parts[i], TX_RUN);
            return;
        }
    assert(false); /* a barrier has a part on its coordinator's shard */
}

/* Time goes on between the grants of several shards. What ran here before this grant saw no later time than
 * now; what conflicts runs after the part: so the latest of all is good for every part. */
static void raise_time(struct tx *t, int64_t now_ms)
{
    int64_t seen = atomic_load_explicit(&t->now_ms, memory_order_relaxed);
    while (seen < now_ms &&
           !atomic_compare_exchange_weak_explicit(&t->now_ms, &seen, now_ms, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

static void granted(struct tx_shard *s, struct tx_part *p)
{
    struct tx *t = p->tx;
    raise_time(t, s->ops->now_ms(s->ctx));
    enum rc rc = s->ops->admit(s->ctx, p);
    if (unlikely(rc != RC_OK)) atomic_store_explicit(&t->error, rc, memory_order_relaxed);
    if (planted(RUN_BEFORE_GRANT)) run_early(s, p);
    if (planted(LEAVE_EARLY)) sched_leave(s->sched, &p->entry);
    if (atomic_fetch_sub_explicit(&t->ungranted, 1, memory_order_acq_rel) == 1) all_granted(s, p);
}

/* Of several that refuse in one round, the first tells all others; they wait to be told. */
static void refuse(struct tx_shard *s, struct tx_part *p)
{
    p->state = PART_OUT;
    if (atomic_exchange_explicit(&p->tx->refused, true, memory_order_acq_rel)) return;
    post_others(s, p, TX_CANCEL);
    s->ops->answer(s->ctx, p);
}

void tx_settle(struct tx_shard *s)
{
    if (s->at_work) return;
    s->at_work = true;
    struct sched_entry *e;
    while ((e = sched_next_granted(s->sched)) != NULL) {
        if (e->serves)
            s->ops->serve(s->ctx, e);
        else if (e->lone)
            s->ops->lone(s->ctx, e);
        else
            granted(s, (struct tx_part *)(void *)e);
    }
    s->at_work = false;
}

static enum sched_verdict queue_part(struct tx_shard *s, struct tx_part *p)
{
    struct tx *t = p->tx;
    enum sched_verdict v = SCHED_NOMEM;
    if (!planted(NO_MEMORY_ALONE) || t->kind != TX_BARRIER || s->index == t->coordinator)
        v = sched_arrive(s->sched, &p->entry, t->ticket, t->mode, p->fingerprints, p->count,
                         t->order);
    if (v == SCHED_NOMEM) atomic_store_explicit(&t->error, RC_NOMEM, memory_order_relaxed);
    if (v == SCHED_GRANTED || v == SCHED_WAITS) p->state = PART_HERE;
    return v;
}

/* Of a round that another shard has refused already. */
static bool is_over(struct tx_shard *s, struct tx_part *p)
{
    if (p->state == PART_GONE) {
        s->ops->answer(s->ctx, p);
        return true;
    }
    assert(p->state == PART_AWAY);
    if (!atomic_load_explicit(&p->tx->refused, memory_order_acquire)) return false;
    p->state = PART_OUT;
    return true;
}

void tx_turn_away(struct tx_shard *s, struct tx_part *p)
{
    if (!is_over(s, p)) refuse(s, p);
}

void tx_arrive(struct tx_shard *s, struct tx_part *p)
{
    if (is_over(s, p)) return;
    switch (queue_part(s, p)) {
    case SCHED_GRANTED:
        granted(s, p);
        tx_settle(s);
        return;
    case SCHED_WAITS:
        return;
    case SCHED_REFUSED:
    case SCHED_NOMEM:
        refuse(s, p);
        return;
    }
}

static void cancel(struct tx_shard *s, struct tx_part *p)
{
    if (p->state == PART_AWAY) {
        p->state = PART_GONE;
        return;
    }
    if (p->state == PART_HERE)
        let_go(s, p);
    else
        s->ops->answer(s->ctx, p);
}

void tx_posted(struct tx_shard *s, struct tx_part *p)
{
    switch ((enum tx_post)p->post) {
    case TX_RUN:
        run(s, p);
        break;
    case TX_RUN_CHECKED:
        run_and_let_go(s, p);
        break;
    case TX_RELEASE:
        let_go(s, p);
        break;
    case TX_CANCEL:
        cancel(s, p);
        break;
    }
    tx_settle(s);
}

void tx_end_barrier(struct tx_shard *s, struct tx_part *own)
{
    post_others(s, own, TX_RELEASE);
    let_go(s, own);
    tx_settle(s);
}

void tx_lone_done(struct tx_shard *s, struct sched_entry *e)
{
    sched_leave(s->sched, e);
    tx_settle(s);
}

/* ---- who serves */

enum sched_verdict tx_serve(struct tx_shard *s, struct sched_entry *e, uint64_t fingerprint)
{
    return sched_serve(s->sched, e, fingerprint);
}

void tx_served(struct tx_shard *s, struct sched_entry *e)
{
    sched_leave(s->sched, e);
}

/* ---- the coordinator */

bool tx_begin(struct tx_shard *s, struct tx *t, uint64_t ticket)
{
    struct tx_part *own = NULL;
    t->ticket = ticket;
    t->left = t->count;
    atomic_store_explicit(&t->ungranted, t->count, memory_order_relaxed);
    atomic_store_explicit(&t->unchecked, t->count, memory_order_relaxed);
    atomic_store_explicit(&t->error, RC_OK, memory_order_relaxed);
    atomic_store_explicit(&t->now_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&t->refused, false, memory_order_relaxed);
    atomic_store_explicit(&t->forbidden, false, memory_order_relaxed);
    for (uint32_t i = 0; i < t->count; i++) {
        t->parts[i]->state = PART_AWAY;
        if (t->parts[i]->shard == s->index) own = t->parts[i];
    }
    if (own == NULL) return true;
    enum sched_verdict v = queue_part(s, own);
    if (v == SCHED_GRANTED) {
        granted(s, own);
        tx_settle(s);
    }
    if (v == SCHED_GRANTED || v == SCHED_WAITS) return true;
    return false;
}

enum tx_outcome tx_answered(struct tx *t)
{
    assert(t->left > 0);
    if (--t->left > 0) return TX_OPEN;
    if (atomic_load_explicit(&t->error, memory_order_relaxed) != RC_OK) return TX_FAILED;
    return atomic_load_explicit(&t->refused, memory_order_relaxed) ? TX_AGAIN : TX_RAN;
}

static bool has_begun(const struct sched_entry *e)
{
    if (e->lone) return false;
    const struct tx_part *p = (const struct tx_part *)(const void *)e;
    return atomic_load_explicit(&p->tx->ungranted, memory_order_acquire) == 0;
}

bool tx_has_begun(const struct sched *s)
{
    return sched_has_granted(s, has_begun);
}
