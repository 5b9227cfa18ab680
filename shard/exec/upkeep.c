/* Work of a shard that no client asked for: expiry of due keys, and freeing of big values in slices.
 * Both run as budgeted tasks and change keys by the same door as commands. */
#include "shard/exec/core.h"
#include "shard/exec/exec_priv.h"

#define EXPIRE_PERIOD_MS 100
/* Buckets looked at between two looks at the clock: about 20 µs of work when all are due. */
#define EXPIRE_BUCKETS_PER_STEP 16
#define FREE_ITEMS_PER_STEP 256

struct garbage {
    struct garbage *next;
    struct record *record; /* one of the two */
    struct db_garbage *keys;
};

static bool over_budget(const struct core *c, uint64_t start_ns, uint32_t budget_us)
{
    return clock_mono_ns(c->reactor.clock) - start_ns >= (uint64_t)budget_us * 1000;
}

/* ---- expiry */

struct expire_step {
    struct exec x;
    struct reply reply;
    bool stop; /* the log has no room */
};

static void expire_one(void *ctx, uint8_t db, uint16_t slot, struct record *r)
{
    struct expire_step *s = ctx;
    if (s->stop) return;
    struct core *c = s->x.core;
    struct bytes name = record_key(r);
    if (!sched_is_empty(&c->sched) && sched_holds(&c->sched, hash_bytes(name))) return;
    if (c->journal != NULL && journal_reserve(c->journal, name.len + EXEC_RESERVE_SLACK) != RC_OK) {
        s->stop = true;
        return;
    }
    struct change change = {
        .key = {.name = name, .hash = hash_bytes(name), .slot = slot, .db = db}};
    db_open(c->ks, &change.key, &change.e);
    if (change.e.record != NULL && record_expired(change.e.record, s->x.now_ms))
        exec__expire_open(&s->x, &change);
}

static bool expire_run(struct task *t, uint32_t budget_us)
{
    struct core *c = container_of(t, struct core, expire_task);
    if (atomic_load_explicit(&c->shared->refusing, memory_order_relaxed) != 0) return false;
    struct expire_step s = {.stop = false};
    struct buf none;
    buf_init(&none, MEM_EXEC);
    s.reply = (struct reply){.out = &none, .proto = 2, .muted = true};
    core__exec_init(c, &s.x, &s.reply);
    struct arena_mark mark = arena_mark(&c->scratch);
    uint64_t start = clock_mono_ns(c->reactor.clock);
    bool more = true;
    while (more && !s.stop && !over_budget(c, start, budget_us))
        more = db_expire_due(c->ks, s.x.now_ms, EXPIRE_BUCKETS_PER_STEP, expire_one, &s);
    arena_rewind(&c->scratch, mark);
    stat_bump(&c->stats.expire_cycle_us, (clock_mono_ns(c->reactor.clock) - start) / 1000);
    return more && !s.stop;
}

static void expire_tick(struct timer *t)
{
    struct core *c = container_of(t, struct core, expire_timer);
    if (atomic_load_explicit(&c->shared->active_expire, memory_order_relaxed))
        task_wake(&c->reactor.tasks, &c->expire_task);
    timer_arm(c->reactor.timers, t, c->reactor.mono_ns / 1000000 + EXPIRE_PERIOD_MS);
}

/* ---- freeing */

static bool free_step(struct garbage *g)
{
    if (g->record != NULL) return value_free_slice(g->record, FREE_ITEMS_PER_STEP);
    return db_garbage_free_slice(g->keys, FREE_ITEMS_PER_STEP);
}

static void pop_garbage(struct core *c)
{
    struct garbage *g = c->garbage;
    c->garbage = g->next;
    mem_free(MEM_EXEC, g, sizeof *g);
    stat_bump(&c->stats.lazy_pending, UINT64_MAX);
    stat_bump(&c->stats.lazy_freed, 1);
}

static bool free_run(struct task *t, uint32_t budget_us)
{
    struct core *c = container_of(t, struct core, free_task);
    uint64_t start = clock_mono_ns(c->reactor.clock);
    while (c->garbage != NULL && !over_budget(c, start, budget_us))
        if (free_step(c->garbage)) pop_garbage(c);
    return c->garbage != NULL;
}

static void push_garbage(struct core *c, struct record *r, struct db_garbage *keys)
{
    struct garbage *g = mem_alloc(MEM_EXEC, sizeof *g);
    *g = (struct garbage){.next = c->garbage, .record = r, .keys = keys};
    c->garbage = g;
    stat_bump(&c->stats.lazy_pending, 1);
    task_wake(&c->reactor.tasks, &c->free_task);
}

void core__garbage_record(struct core *c, struct record *r)
{
    push_garbage(c, r, NULL);
}

void core_free_garbage(struct core *c, struct db_garbage *g)
{
    if (g != NULL) push_garbage(c, NULL, g);
}

/* ---- life */

void core__upkeep_init(struct core *c)
{
    c->free_task = (struct task){.run = free_run, .name = "free"};
    c->expire_task = (struct task){.run = expire_run, .name = "expire"};
    c->expire_timer = (struct timer){.fire = expire_tick};
}

void core_start_upkeep(struct core *c)
{
    timer_arm(c->reactor.timers, &c->expire_timer, c->reactor.mono_ns / 1000000 + EXPIRE_PERIOD_MS);
}

void core__upkeep_fini(struct core *c)
{
    timer_cancel(c->reactor.timers, &c->expire_timer);
    while (c->garbage != NULL)
        if (free_step(c->garbage)) pop_garbage(c);
}
