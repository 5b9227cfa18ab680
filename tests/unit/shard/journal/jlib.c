/* tests/unit/shard/journal/jlib.c: see jlib.h. */
#include "tests/unit/shard/journal/jlib.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "shard/base/clock.h"
#include "shard/base/slot.h"

/* ---- the model */

void jmodel_free(struct jmodel *m)
{
    for (uint32_t r = 0; r < m->count; r++)
        for (uint32_t l = 0; l < JLIB_LOGS_MAX; l++)
            mem_free(MEM_TEST, m->run[r].log[l].unit, m->run[r].log[l].cap * sizeof(struct junit));
    mem_free(MEM_TEST, m->run, m->cap * sizeof *m->run);
    *m = (struct jmodel){0};
}

struct jmodel jmodel_copy(const struct jmodel *m)
{
    struct jmodel c = {0};
    for (uint32_t r = 0; r < m->count; r++) {
        struct jrun *run = jmodel_add_run(&c, m->run[r].logs);
        for (uint32_t l = 0; l < JLIB_LOGS_MAX; l++) {
            const struct jlog *from = &m->run[r].log[l];
            if (from->count == 0) continue;
            run->log[l].unit = mem_alloc(MEM_TEST, from->count * sizeof *from->unit);
            memcpy(run->log[l].unit, from->unit, from->count * sizeof *from->unit);
            run->log[l].count = run->log[l].cap = from->count;
        }
    }
    return c;
}

struct jrun *jmodel_add_run(struct jmodel *m, uint32_t logs)
{
    if (m->count == m->cap) {
        uint32_t cap = m->cap == 0 ? 8 : m->cap * 2;
        m->run = mem_resize(MEM_TEST, m->run, m->cap * sizeof *m->run, cap * sizeof *m->run);
        m->cap = cap;
    }
    struct jrun *run = &m->run[m->count++];
    *run = (struct jrun){.logs = logs};
    return run;
}

/* Bytes of a unit: who it is, and as many more as asked, all from its name. */
void jlib_args(uint32_t run, uint32_t log, uint32_t number, uint32_t bytes, struct buf *out)
{
    uint32_t who[3] = {run, log, number};
    out->len = 0;
    buf_add(out, who, sizeof who);
    uint8_t *p = buf_room(out, bytes);
    uint32_t x = run * 2654435761u ^ log * 40503u ^ number * 2246822519u;
    for (uint32_t i = 0; i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (uint8_t)(x >> 24);
    }
    out->len += bytes;
}

bool jlib_count(void *ctx, const struct journal_unit *u)
{
    *(uint64_t *)ctx += u->argc > 0;
    return true;
}

uint16_t jlib_slot(struct rng *r, uint32_t log, uint32_t logs)
{
    while (true) {
        uint16_t slot = (uint16_t)rng_below(r, SLOT_COUNT);
        if (slot_shard(slot, logs) == log) return slot;
    }
}

void jmodel_append(struct jmodel *m, struct jworld *w, uint32_t log, uint32_t bytes, uint64_t txid,
                   uint64_t mask, bool joined)
{
    struct jrun *run = &m->run[m->count - 1];
    struct jlog *l = &run->log[log];
    struct buf text;
    buf_init(&text, MEM_TEST);
    jlib_args(m->count - 1, log, l->count, bytes, &text);
    const struct bytes args[2] = {bytes_view(text.data, 12), bytes_view(text.data + 12, bytes)};
    uint16_t slot = (uint16_t)(log * SLOT_BLOCK + l->count % SLOT_BLOCK);
    const struct journal_head head = {.opcode = 1 + l->count % 300,
                                      .slot = slot,
                                      .db = (uint8_t)(l->count % 3),
                                      .engine = (uint8_t)(l->count % 5 == 4),
                                      .txid = txid,
                                      .shards_mask = mask};
    if (l->count == l->cap) {
        uint32_t cap = l->cap == 0 ? 64 : l->cap * 2;
        l->unit = mem_resize(MEM_TEST, l->unit, l->cap * sizeof *l->unit, cap * sizeof *l->unit);
        l->cap = cap;
    }
    struct junit *u = &l->unit[l->count++];
    u->begin = journal_lsn(w->log[log].j);
    journal_append(w->log[log].j, &head, args, 2);
    u->end = journal_lsn(w->log[log].j);
    u->txid = txid;
    u->mask = mask;
    u->at_us = INT64_MAX;
    u->bytes = bytes;
    u->joined = joined;
    buf_free(&text);
}

void jmodel_passed(struct jmodel *m, uint32_t log, int64_t now_us)
{
    struct jlog *l = &m->run[m->count - 1].log[log];
    for (uint32_t i = l->count; i > 0 && l->unit[i - 1].at_us == INT64_MAX; i--)
        l->unit[i - 1].at_us = now_us;
}

/* ---- reading back */

struct reading {
    const struct jmodel *m;
    struct jfound *f;
    struct buf text;
};

static bool on_unit(void *ctx, const struct journal_unit *u)
{
    struct reading *r = ctx;
    uint32_t who[3];
    assert_int_equal(u->argc, 2);
    assert_int_equal(u->args[0].len, sizeof who);
    memcpy(who, u->args[0].data, sizeof who);
    assert_true(who[0] < r->m->count);
    const struct jrun *run = &r->m->run[who[0]];
    assert_true(who[1] < run->logs);
    assert_int_equal(u->log, who[1]);
    assert_int_equal(u->logs, run->logs);
    uint32_t *count = &r->f->count[who[0] * JLIB_LOGS_MAX + who[1]];
    assert_int_equal(who[2], *count); /* in order, none twice, none left out */
    assert_true(*count < run->log[who[1]].count);
    const struct junit *want = &run->log[who[1]].unit[*count];
    jlib_args(who[0], who[1], who[2], want->bytes, &r->text);
    assert_int_equal(u->args[1].len, want->bytes);
    assert_memory_equal(u->args[1].data, r->text.data + sizeof who, want->bytes);
    assert_int_equal(u->opcode, 1 + who[2] % 300);
    assert_int_equal(u->slot, who[1] * SLOT_BLOCK + who[2] % SLOT_BLOCK);
    assert_int_equal(u->db, who[2] % 3);
    assert_int_equal(u->engine, who[2] % 5 == 4);
    assert_int_equal(u->txid, want->txid);
    ++*count;
    r->f->units++;
    return true;
}

struct jfound jfound_read(struct jworld *w, const struct jmodel *m)
{
    struct jfound f = {.runs = m->count};
    f.count = mem_zalloc(MEM_TEST, (m->count + 1) * JLIB_LOGS_MAX * sizeof *f.count);
    struct reading r = {.m = m, .f = &f};
    buf_init(&r.text, MEM_TEST);
    enum rc rc = journal_set_replay(
        w->set, w->io,
        &(struct journal_replay_opts){.shard = 0, .shards = 1, .apply = on_unit, .ctx = &r},
        &w->why);
    if (rc != RC_OK)
        fail_msg("replay: %s: %.*s", rc_text(rc), (int)w->why.len, (const char *)w->why.data);
    buf_free(&r.text);
    return f;
}

void jfound_free(struct jfound *f)
{
    mem_free(MEM_TEST, f->count, (f->runs + 1) * JLIB_LOGS_MAX * sizeof *f->count);
}

/* ---- the world */

static void on_written(void *ctx)
{
    struct jopen *o = ctx;
    if (o->tail.track == NULL) return;
    uint64_t woken =
        journal_tail_moved(&o->tail, journal_safe_lsn(o->j), journal_durable_lsn(o->j));
    assert_int_equal(woken >> o->tail.log & 1, 0);
    journal_cut_known(o->j, o->tail.known);
}

static void on_durable(void *ctx, uint64_t lsn)
{
    struct jopen *o = ctx;
    assert_true(lsn > o->durable);
    o->durable = lsn;
    on_written(ctx);
}

static void on_refuse(void *ctx, bool on, enum rc rc)
{
    struct jopen *o = ctx;
    o->refusing = on;
    o->refuse_rc = rc;
    o->refusals += on;
}

void jworld_init(struct jworld *w, struct io_sim *sim)
{
    *w = (struct jworld){.sim = sim, .segment_bytes = 64u << 10, .fsync = JOURNAL_EVERYSEC};
    w->io = io_sim_open(sim);
    buf_init(&w->why, MEM_TEST);
}

void jworld_abandon(struct jworld *w)
{
    for (uint32_t l = 0; l < w->logs; l++) {
        if (w->log[l].j != NULL) journal__abandon(w->log[l].j);
        w->log[l].j = NULL;
        journal_tail_close(&w->log[l].tail);
    }
    journal_track_free(w->track);
    w->track = NULL;
    if (w->timers != NULL) timer_wheel_free(w->timers);
    if (w->set != NULL) journal_set_close(w->set);
    w->timers = NULL;
    w->set = NULL;
    w->logs = 0;
}

void jworld_free(struct jworld *w)
{
    io_sim_crash(w->sim); /* what is under way lets go of the logs */
    jworld_abandon(w);
    w->io->ops->free(w->io);
    io_sim_free(w->sim);
    buf_free(&w->why);
}

struct journal_opts jworld_opts(const struct jworld *w, uint32_t logs)
{
    return (struct journal_opts){
        .dir = JLIB_DIR,
        .logs = logs,
        .fsync = w->fsync,
        .segment_bytes = w->segment_bytes,
        .repair = w->repair,
        .clock = io_sim_clock(w->sim),
        .cluster_id = {1, 2, 3},
        .node_id = {4, 5, 6},
    };
}

enum rc jworld_recover(struct jworld *w, uint32_t logs)
{
    struct journal_opts opts = jworld_opts(w, logs);
    w->why.len = 0;
    enum rc rc = journal_set_open(&opts, w->io, &w->set, &w->why);
    if (rc != RC_OK) w->set = NULL;
    return rc;
}

enum rc jworld_start(struct jworld *w)
{
    enum rc rc = journal_set_start(w->set, &w->why);
    if (rc != RC_OK) {
        journal_set_close(w->set);
        w->set = NULL;
        return rc;
    }
    w->timers = timer_wheel_new(clock_mono_ns(io_sim_clock(w->sim)) / 1000000);
    w->logs = w->set->opts.logs;
    if (w->tracks) w->track = journal_track_new(w->logs);
    for (uint32_t l = 0; l < w->logs && rc == RC_OK; l++) {
        struct jopen *o = &w->log[l];
        *o = (struct jopen){0};
        struct journal_events events = {
            .ctx = o, .on_durable = on_durable, .on_written = on_written, .on_refuse = on_refuse};
        rc = journal_open(w->set, l, w->io, w->timers, &events, &o->j);
        if (rc == RC_OK) o->durable = journal_durable_lsn(o->j);
        if (rc == RC_OK) journal_tail_open(&o->tail, w->track, l, journal_lsn(o->j));
    }
    if (rc != RC_OK) jworld_close(w, false);
    return rc;
}

void jworld_close(struct jworld *w, bool clean)
{
    for (uint32_t l = 0; l < w->logs; l++) {
        if (w->log[l].j != NULL) journal_close(w->log[l].j, clean);
        w->log[l].j = NULL;
        journal_tail_close(&w->log[l].tail);
    }
    journal_track_free(w->track);
    w->track = NULL;
    timer_wheel_free(w->timers);
    journal_set_close(w->set);
    w->timers = NULL;
    w->set = NULL;
    w->logs = 0;
}

void jworld_turn(struct jworld *w, int64_t wait_us)
{
    const struct clock *clock = io_sim_clock(w->sim);
    /* As a reactor: never past the next timer. */
    uint64_t timer_ms = timer_wait_ms(w->timers, clock_mono_ns(clock) / 1000000);
    if (timer_ms < (uint64_t)wait_us / 1000) wait_us = (int64_t)timer_ms * 1000;
    (void)io_turn(w->io, wait_us);
    for (uint32_t l = 0; l < w->logs; l++)
        journal_pass(w->log[l].j, clock_wall_us(clock));
    timer_advance(w->timers, clock_mono_ns(clock) / 1000000);
}

bool jworld_settle(struct jworld *w, uint64_t us)
{
    uint64_t until = clock_mono_ns(io_sim_clock(w->sim)) + us * 1000;
    while (clock_mono_ns(io_sim_clock(w->sim)) < until) {
        jworld_turn(w, 1000);
        bool all = true;
        for (uint32_t l = 0; l < w->logs; l++)
            all = all && w->log[l].durable == journal_lsn(w->log[l].j);
        if (all) return true;
    }
    return false;
}
