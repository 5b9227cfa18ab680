#include "shard/exec/core.h"

#include <stdlib.h>

#include "shard/base/log.h"
#include "shard/exec/exec_priv.h"

/* ---- running a request */

static void init_exec(struct core *c, struct exec *x, struct reply *reply)
{
    *x = (struct exec){
        .core = c,
        .ks = c->ks,
        .reply = reply,
        .scratch = &c->scratch,
        .rng = &c->rng,
        .now_ms = reactor_now_ms(&c->reactor),
        .shard = c->index,
        .shards = c->count,
        .databases = c->databases,
        .string_bytes_max =
            atomic_load_explicit(&c->shared->string_bytes_max, memory_order_relaxed),
    };
}

void core__exec_init(struct core *c, struct exec *x, struct reply *reply)
{
    init_exec(c, x, reply);
}

static inline size_t log_bytes(const struct request *rq)
{
    return (size_t)rq->wire_bytes * 2 + (size_t)rq->argc * 16 + EXEC_RESERVE_SLACK;
}

size_t core_log_bytes(const struct request *rq)
{
    return log_bytes(rq);
}

/* What may refuse a write before it runs. False: the error was replied. */
static bool admit_bytes(struct core *c, size_t bytes, struct reply *reply)
{
    if (unlikely(atomic_load_explicit(&c->shared->refusing, memory_order_acquire) != 0 ||
                 c->lifted)) {
        exec__reply_refused(
            reply, (enum rc)atomic_load_explicit(&c->shared->refuse_rc, memory_order_relaxed));
        return false;
    }
    if (c->journal == NULL) return true;
    enum rc rc = journal_reserve(c->journal, bytes);
    if (likely(rc == RC_OK)) return true;
    exec__reply_refused(reply, rc);
    return false;
}

bool core_admit(struct core *c, uint32_t flags, size_t bytes, struct reply *reply)
{
    if (unlikely(c->oom) && (flags & CMD_DENYOOM)) {
        reply_error(reply, ERR_OOM);
        return false;
    }
    return !(flags & CMD_WRITE) || admit_bytes(c, bytes, reply);
}

void core_count_call(struct core_cmd_stats *s, uint64_t ticks, uint64_t ns)
{
    stat_bump(&s->calls, 1);
    stat_bump(&s->ticks, ticks);
    if (unlikely(s->latency == NULL)) {
        struct stat_histogram *h = mem_zalloc(MEM_NODE, sizeof *h);
        __atomic_store_n(&s->latency, h, __ATOMIC_RELEASE); /* others follow it: zeroed */
    }
    stat_add(s->latency, ns);
}

void core_count_call_only(struct core *c, const struct cmd_spec *spec)
{
    stat_bump(&c->stats.commands, 1);
    core_count_call(&c->cmd_stats[spec->id], 0, 0);
}

/* `part`: of a call that another shard counts; the time of all is the sum. */
HOT_INLINE void account(struct core *c, const struct request *rq, uint64_t spent, bool part)
{
    struct core_cmd_stats *s = &c->cmd_stats[rq->spec->id];
    uint64_t ns = clock_ticks_to_ns(spent);
    if (part)
        stat_bump(&s->ticks, spent);
    else
        core_count_call(s, spent, ns);
    int64_t slow_us = atomic_load_explicit(&c->shared->slowlog_us, memory_order_relaxed);
    if (unlikely(slow_us >= 0 && ns >= (uint64_t)slow_us * 1000) && c->on_slow != NULL)
        c->on_slow(c, rq, ns / 1000);
}

HOT_INLINE void run_request(struct core *c, const struct request *rq, struct reply *reply,
                            bool part)
{
    const struct cmd_spec *spec = rq->spec;
    struct arena_mark mark = arena_mark(&c->scratch);
    struct exec *x = &c->run;
    x->reply = reply;
    x->spec = spec;
    x->argv = rq->argv;
    x->argc = rq->argc;
    x->key = rq->key;
    x->no_touch = rq->no_touch;
    /* May have been set by the command before, in this very pass. */
    x->string_bytes_max = atomic_load_explicit(&c->shared->string_bytes_max, memory_order_relaxed);
    spec->run(x);
    arena_rewind(&c->scratch, mark);
    if (unlikely(c->waits)) core__gate(c, spec);
    if (!part && unlikely(reply->errored)) stat_bump(&c->cmd_stats[spec->id].failed, 1);
    uint64_t now = clock_ticks();
    account(c, rq, now - c->ticks, part);
    c->ticks = now;
}

HOT_INLINE void run_any(struct core *c, const struct request *rq, struct reply *reply, bool part)
{
    const struct cmd_spec *spec = rq->spec;
    c->gate_lsn = 0;
    if (!part) stat_bump(&c->stats.commands, 1);
    reply->errored = false;
    if (unlikely(c->oom) && (spec->flags & CMD_DENYOOM)) {
        reply_error(reply, ERR_OOM);
        if (!part) stat_bump(&c->cmd_stats[spec->id].rejected, 1);
        return;
    }
    if ((spec->flags & CMD_WRITE) && unlikely(!admit_bytes(c, log_bytes(rq), reply))) {
        if (!part) stat_bump(&c->cmd_stats[spec->id].rejected, 1);
        return;
    }
    run_request(c, rq, reply, part);
}

void core_run(struct core *c, const struct request *rq, struct reply *reply)
{
    run_any(c, rq, reply, false);
}

void core_run_part(struct core *c, const struct request *rq, struct reply *reply)
{
    run_any(c, rq, reply, true);
}

/* ---- transactions */

enum rc core_may_run(struct core *c, uint32_t flags, size_t log_bytes_wanted)
{
    if (unlikely(c->oom) && (flags & CMD_DENYOOM)) return RC_NOMEM;
    if (!(flags & CMD_WRITE)) return RC_OK;
    if (unlikely(atomic_load_explicit(&c->shared->refusing, memory_order_acquire) != 0 ||
                 c->lifted))
        return (enum rc)atomic_load_explicit(&c->shared->refuse_rc, memory_order_relaxed);
    return c->journal == NULL ? RC_OK : journal_reserve(c->journal, log_bytes_wanted);
}

void core_reply_refused(struct reply *reply, enum rc rc)
{
    if (rc == RC_NOMEM)
        reply_error(reply, ERR_OOM);
    else
        exec__reply_refused(reply, rc);
}

void core_refuse(struct core *c, const struct cmd_spec *spec, enum rc rc, struct reply *reply)
{
    core_reply_refused(reply, rc);
    stat_bump(&c->cmd_stats[spec->id].rejected, 1);
}

/* The time of a transaction may be behind what this shard has read by now (readers pass each other) or ahead of
 * its pass: then what runs after it in this pass is not earlier. */
void core_run_admitted(struct core *c, const struct request *rq, int64_t now_ms,
                       struct reply *reply, bool part)
{
    int64_t own_ms = c->run.now_ms;
    c->gate_lsn = 0;
    if (!part) stat_bump(&c->stats.commands, 1);
    reply->errored = false;
    if ((rq->spec->flags & CMD_WRITE) && c->journal != NULL) {
        /* Asked when it was granted; if the log has begun to refuse since, this part waits in memory like all
         * that was appended. */
        enum rc rc = journal_reserve(c->journal, log_bytes(rq));
        (void)rc;
    }
    c->run.now_ms = now_ms;
    run_request(c, rq, reply, part);
    c->run.now_ms = now_ms > own_ms ? now_ms : own_ms;
}

bool core_has_any(struct core *c, int64_t now_ms, uint8_t db, const struct bytes *keys,
                  uint32_t count, uint32_t step)
{
    struct exec *x = &c->run;
    int64_t own_ms = x->now_ms;
    bool found = false;
    c->gate_lsn = 0;
    x->now_ms = now_ms;
    for (uint32_t i = 0; i < count && !found; i += step) {
        struct db_key key = db_key(db, keys[i]);
        found = exec_peek(x, &key) != NULL;
    }
    if (unlikely(c->waits)) c->gate_lsn = core_gate(c);
    x->now_ms = now_ms > own_ms ? now_ms : own_ms;
    return found;
}

void core_show_log(struct core *c)
{
    struct core_log_stats *to = &c->log_stats;
    struct journal_stats s;
    journal_stats_read(c->journal, &s);
    stat_set(&to->is_on, 1);
    stat_set(&to->lsn, s.lsn);
    stat_set(&to->durable_lsn, s.durable_lsn);
    stat_set(&to->generation, s.generation);
    stat_set(&to->frames, s.frames);
    stat_set(&to->units, s.units);
    stat_set(&to->bytes, s.bytes);
    stat_set(&to->syncs, s.syncs);
    stat_set(&to->segments, s.segments);
    stat_set(&to->last_sync_us, s.last_sync_us);
    stat_set(&to->delayed_syncs, s.delayed_syncs);
    stat_set(&to->refusing, s.refusing);
}

uint64_t core_newest_lsn(const struct core *c)
{
    return c->journal == NULL ? 0 : journal_lsn(c->journal);
}

void core_pass_begin(struct core *c)
{
    c->ticks = clock_ticks();
    uint64_t max = atomic_load_explicit(&c->shared->maxmemory, memory_order_relaxed);
    c->oom = unlikely(max != 0) && mem_live_bytes_all() > max;
    c->lifted = c->tail.track != NULL && unlikely(journal_track_broken(c->tail.shared) != 0);
    init_exec(c, &c->run, NULL);
}

/* ---- errors by first word, for INFO errorstats */

void core_count_error(struct core *c, const uint8_t *wire, size_t len)
{
    stat_bump(&c->stats.error_replies, 1);
    size_t n = 0;
    while (1 + n < len && n < sizeof c->errors[0].prefix - 1 && wire[1 + n] != ' ' &&
           wire[1 + n] != '\r')
        n++;
    for (uint32_t i = 0; i < CORE_ERRORS_MAX; i++) {
        struct core_error_count *e = &c->errors[i];
        if (i == c->errors_used) {
            memcpy(e->prefix, wire + 1, n);
            e->prefix[n] = 0;
            atomic_store_explicit(&c->errors_used, i + 1, memory_order_release);
        }
        if (strlen(e->prefix) == n && memcmp(e->prefix, wire + 1, n) == 0) {
            stat_bump(&e->count, 1);
            return;
        }
    }
}

void core_reset_stats(struct core *c)
{
    struct core_stats kept = {.dirty = c->stats.dirty, .lazy_pending = c->stats.lazy_pending};
    const uint64_t *from = (const uint64_t *)&kept;
    uint64_t *to = (uint64_t *)&c->stats;
    for (size_t i = 0; i < sizeof kept / sizeof *to; i++)
        stat_set(&to[i], from[i]);
    for (uint32_t i = 0; i < CORE_ERRORS_MAX; i++)
        stat_set(&c->errors[i].count, 0); /* their words stay: somebody may be reading */
    for (uint32_t i = 0; i < c->cmd_count; i++) {
        struct core_cmd_stats *s = &c->cmd_stats[i];
        stat_set(&s->calls, 0);
        stat_set(&s->ticks, 0);
        stat_set(&s->rejected, 0);
        stat_set(&s->failed, 0);
        if (s->latency != NULL) stat_clear(s->latency);
    }
}

/* ---- replay */

struct core_replay {
    struct core *core;
    struct journal_replay *log;
    struct exec x;
    struct buf sink;
    struct reply reply;
    const char *bad; /* why a unit was refused */
    uint32_t bad_opcode;
    struct bytes *argv;
    uint32_t argv_cap;
    uint64_t units;
};

static bool replay_unit(void *ctx, const struct journal_unit *u)
{
    struct core_replay *p = ctx;
    struct core *c = p->core;
    if (unlikely(u->opcode == OP_TX && u->engine == 0)) return true;
    const struct cmd_spec *spec = u->opcode < c->opcodes ? c->by_opcode[u->opcode] : NULL;
    if (spec == NULL || u->engine != 0 || u->db >= c->databases) {
        p->bad = spec == NULL ? "an opcode this version does not know"
                              : "a database or engine that is not there";
        p->bad_opcode = u->opcode;
        return false;
    }
    if (u->argc + 1 > p->argv_cap) {
        size_t old = p->argv_cap;
        p->argv_cap = (u->argc + 1) * 2;
        p->argv =
            mem_resize(MEM_EXEC, p->argv, old * sizeof *p->argv, p->argv_cap * sizeof *p->argv);
    }
    p->argv[0] = bytes_of(spec->name);
    if (u->argc > 0) memcpy(p->argv + 1, u->args, u->argc * sizeof *u->args);
    p->x.spec = spec;
    p->x.argv = p->argv;
    p->x.argc = u->argc + 1;
    p->x.key = (struct db_key){.db = u->db};
    p->x.replay_log = u->log;
    p->x.replay_logs = u->logs;
    if (u->slot != JOURNAL_SLOT_ALL && u->argc > 0)
        p->x.key = (struct db_key){
            .name = u->args[0], .hash = hash_bytes(u->args[0]), .slot = u->slot, .db = u->db};
    struct arena_mark mark = arena_mark(&c->scratch);
    p->reply.errored = false;
    spec->run(&p->x);
    arena_rewind(&c->scratch, mark);
    p->units++;
    if (!p->reply.errored) return true;
    p->bad = "a unit that its command refuses";
    p->bad_opcode = u->opcode;
    return false;
}

enum rc core_replay_begin(struct core *c, struct journal_set *set, struct core_replay **out)
{
    struct core_replay *p = mem_zalloc(MEM_EXEC, sizeof *p);
    struct journal_replay_opts opts = {
        .shard = c->index, .shards = c->count, .apply = replay_unit, .ctx = p};
    enum rc rc = journal_replay_open(set, c->io, &opts, &p->log);
    if (rc != RC_OK) {
        mem_free(MEM_EXEC, p, sizeof *p);
        return rc;
    }
    p->core = c;
    p->reply = (struct reply){.out = &p->sink, .proto = 2, .muted = true};
    buf_init(&p->sink, MEM_EXEC);
    init_exec(c, &p->x, &p->reply);
    p->x.replay = true;
    p->x.no_touch = true;
    p->x.now_ms = 0;
    *out = p;
    return RC_OK;
}

enum rc core_replay_step(struct core_replay *p, uint32_t budget_us, bool *more_out, struct buf *why)
{
    enum rc rc = journal_replay_step(p->log, budget_us, more_out, why);
    if (rc == RC_CORRUPT && p->bad != NULL)
        buf_addf(why, " (%s: opcode %u)", p->bad, p->bad_opcode);
    return rc;
}

uint64_t core_replay_bytes(const struct core_replay *p)
{
    return journal_replay_done_bytes(p->log);
}

uint64_t core_replay_units(const struct core_replay *p)
{
    return p->units;
}

void core_replay_end(struct core_replay *p)
{
    stat_set(&p->core->stats.dirty, 0);
    journal_replay_close(p->log);
    mem_free(MEM_EXEC, p->argv, p->argv_cap * sizeof *p->argv);
    buf_free(&p->sink);
    mem_free(MEM_EXEC, p, sizeof *p);
}

/* ---- life */

void core_init(struct core *c, const struct core_opts *opts, struct io *io,
               const struct clock *clock, struct reactor_handler handler)
{
    *c = (struct core){
        .io = io,
        .shared = opts->shared,
        .index = opts->index,
        .count = opts->count,
        .databases = opts->databases,
        .by_opcode = opts->by_opcode,
        .opcodes = opts->opcodes,
        .cmd_count = opts->cmd_count,
    };
    c->slab = slab_new();
    (void)slab_use(c->slab);
    reactor_init(&c->reactor, opts->index, io, clock, handler);
    c->ks = keyspace_new(opts->databases);
    arena_init(&c->scratch);
    c->stamps = mem_zalloc(MEM_EXEC, sizeof *c->stamps);
    waits_init(&c->waiters);
    buf_init(&c->served, MEM_REPLY);
    rng_seed_random(&c->rng);
    c->cmd_stats = mem_zalloc(MEM_NODE, opts->cmd_count * sizeof *c->cmd_stats);
    core__upkeep_init(c);
}

void core_set_journal(struct core *c, struct journal *j, bool gated)
{
    c->journal = j;
    core_set_gated(c, gated);
    if (j != NULL) core_show_log(c);
}

void core_fini(struct core *c)
{
    core__upkeep_fini(c);
    core__serve_fini(c);
    if (sched_is_empty(&c->sched)) sched_fini(&c->sched); /* else a stop was cut short */
    mem_free(MEM_EXEC, c->stamps, sizeof *c->stamps);
    watches_free(&c->watches);
    journal_tail_close(&c->tail);
    waits_free(&c->waiters);
    buf_free(&c->served);
    keyspace_free(c->ks);
    for (uint32_t i = 0; i < c->cmd_count; i++)
        mem_free(MEM_NODE, c->cmd_stats[i].latency, sizeof *c->cmd_stats[i].latency);
    mem_free(MEM_NODE, c->cmd_stats, c->cmd_count * sizeof *c->cmd_stats);
    mem_free(MEM_EXEC, c->slot_lsn, c->slot_lsn == NULL ? 0 : SLOT_COUNT * sizeof *c->slot_lsn);
    arena_free(&c->scratch);
    reactor_fini(&c->reactor);
    (void)slab_use(NULL);
    slab_delete(c->slab);
}
