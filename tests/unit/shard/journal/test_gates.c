/* What a node promises by letting a reply go, under power loss (`always`) and kills of the process (each policy):
 * random commands of one log and transactions over several, replies held back as the node does
 * (shard/exec/gate.c, node/hold.c), crashes at random points and a second one after the next start. Then:
 *
 *   - what a reply that left was about is there: the write, the transaction with all its parts, whatever a
 *     read saw;
 *   - no transaction is there by half;
 *   - what the recovery dropped does not come back after the next crash.
 *
 * With a bug planted (base/planted.h) the same campaign must find it. GATES_CRASHES=n, GATES_SEED=n as in test_crash. */
#include "shard/journal/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/log.h"
#include "shard/base/num.h"
#include "shard/base/planted.h"
#include "tests/unit/shard/journal/jlib.h"

#define REPLIES_MAX 64u
#define TX_MAX 6u

/* A reply on its way: of each log it waits for, what it is about. */
struct waiting {
    uint64_t due;                   /* logs whose part has run and has not let it go */
    uint64_t to_run;                /* logs whose part has not run yet */
    uint64_t about;                 /* logs */
    bool holds;                     /* answered by the coordinator alone (hold.c) */
    uint64_t lsn[JLIB_LOGS_MAX];    /* gate; 0: none */
    uint32_t passes[JLIB_LOGS_MAX]; /* it leaves at the end of its pass, not before */
    uint32_t count[JLIB_LOGS_MAX];  /* units of the log that must stay */
    uint64_t txid, mask;
    bool used;
};
struct campaign {
    struct jworld w;
    struct jmodel m;
    struct rng rng;
    struct waiting reply[REPLIES_MAX];
    uint32_t passes[JLIB_LOGS_MAX];
    uint32_t acked[JLIB_LOGS_MAX]; /* units of each log that replies told of */
    uint64_t txid, seed;
    uint64_t replies, held, crashes, dropped;
    uint64_t missing, halves, revived; /* what must not be */
};

static uint64_t below(struct campaign *c, uint64_t bound)
{
    return rng_below(&c->rng, bound);
}

static struct jrun *newest_run(struct campaign *c)
{
    return &c->m.run[c->m.count - 1];
}

/* ---- the node's rules */

static bool is_gated(const struct campaign *c)
{
    return c->w.fsync == JOURNAL_ALWAYS;
}

static uint64_t released(const struct campaign *c, uint32_t log)
{
    const struct jopen *o = &c->w.log[log];
    uint64_t safe = is_gated(c) ? journal_durable_lsn(o->j) : UINT64_MAX;
    if (!o->tail.unfinished) return safe;
    uint64_t cut = journal_track_cut(o->tail.shared, log);
    return cut < safe ? cut : safe;
}

/* The log as it is now is what the reply tells of. */
static void look_at(struct campaign *c, struct waiting *r, uint32_t log)
{
    const struct jopen *o = &c->w.log[log];
    r->about |= UINT64_C(1) << log;
    r->due |= UINT64_C(1) << log;
    r->lsn[log] = is_gated(c) || o->tail.unfinished ? journal_lsn(o->j) : 0;
    r->passes[log] = c->passes[log];
    r->count[log] = newest_run(c)->log[log].count;
}

/* At the end of a pass of the log. */
static bool lets_go(const struct campaign *c, const struct waiting *r, uint32_t log)
{
    const struct jopen *o = &c->w.log[log];
    if (c->passes[log] == r->passes[log]) return false;
    /* Without a gate the kernel has it, unless no segment was ready (journal.h): nothing is promised then. */
    if (r->lsn[log] == 0) return o->j->written == journal_lsn(o->j);
    if (r->holds) return journal_track_cut(o->tail.shared, log) >= r->lsn[log];
    return released(c, log) >= r->lsn[log] && (is_gated(c) || o->j->written >= r->lsn[log]);
}

static void leave(struct campaign *c, struct waiting *r)
{
    for (uint32_t l = 0; l < c->w.logs; l++)
        if ((r->about >> l & 1) && c->acked[l] < r->count[l]) c->acked[l] = r->count[l];
    c->replies++;
    *r = (struct waiting){.used = false};
}

static void let_go(struct campaign *c)
{
    for (uint32_t i = 0; i < REPLIES_MAX; i++) {
        struct waiting *r = &c->reply[i];
        for (uint32_t l = 0; l < c->w.logs; l++)
            if ((r->due >> l & 1) && lets_go(c, r, l)) r->due &= ~(UINT64_C(1) << l);
        if (!r->used) continue;
        if (r->due == 0 && r->to_run == 0)
            leave(c, r);
        else
            c->held++;
    }
}

/* ---- commands */

static struct waiting *new_reply(struct campaign *c)
{
    for (uint32_t i = 0; i < REPLIES_MAX; i++) {
        if (c->reply[i].used) continue;
        c->reply[i] = (struct waiting){.used = true};
        return &c->reply[i];
    }
    return NULL;
}

static uint32_t draw_bytes(struct campaign *c)
{
    uint64_t dice = below(c, 200);
    if (dice == 0) return (uint32_t)below(c, 300000);
    return (uint32_t)below(c, dice < 20 ? 9000 : 100);
}

static void command(struct campaign *c, bool writes)
{
    uint32_t log = (uint32_t)below(c, c->w.logs);
    struct waiting *r = new_reply(c);
    if (r == NULL) return;
    if (writes) jmodel_append(&c->m, &c->w, log, draw_bytes(c), 0, 0, false);
    look_at(c, r, log);
}

/* As core_tx_begin … core_tx_end. */
static void run_part(struct campaign *c, struct waiting *r, uint32_t log)
{
    struct jopen *o = &c->w.log[log];
    uint64_t begin = journal_lsn(o->j);
    uint32_t units = 1 + (uint32_t)below(c, 3);
    journal_group_begin(o->j);
    for (uint32_t i = 0; i < units; i++)
        jmodel_append(&c->m, &c->w, log, draw_bytes(c), r->txid, r->mask, i > 0);
    journal_group_end(o->j);
    journal_tail_part(&o->tail, r->txid, r->mask, begin, journal_lsn(o->j));
    r->to_run &= ~(UINT64_C(1) << log);
    look_at(c, r, log);
}

static void begin_tx(struct campaign *c)
{
    uint64_t all = (UINT64_C(1) << c->w.logs) - 1;
    uint32_t open = 0;
    for (uint32_t i = 0; i < REPLIES_MAX; i++)
        open += c->reply[i].to_run != 0;
    struct waiting *r = open < TX_MAX ? new_reply(c) : NULL;
    if (r == NULL) return;
    r->txid = ++c->txid;
    r->mask = r->to_run = 1 + below(c, all);
    r->holds = below(c, 3) == 0;
    if (!r->holds) return;
    for (uint32_t l = 0; l < c->w.logs; l++) /* under the barrier: all at once */
        if (r->to_run >> l & 1) run_part(c, r, l);
}

static void go_on_with_tx(struct campaign *c)
{
    uint32_t first = (uint32_t)below(c, REPLIES_MAX);
    for (uint32_t k = 0; k < REPLIES_MAX; k++) {
        struct waiting *r = &c->reply[(first + k) % REPLIES_MAX];
        if (r->to_run == 0) continue;
        uint32_t log = (uint32_t)below(c, c->w.logs);
        while ((r->to_run >> log & 1) == 0)
            log = (log + 1) % c->w.logs;
        run_part(c, r, log);
        return;
    }
}

/* Some shards have a pass, some stay behind: their frames are written later. */
static void turn(struct campaign *c, int64_t wait_us)
{
    const struct clock *clock = io_sim_clock(c->w.sim);
    (void)io_turn(c->w.io, wait_us);
    for (uint32_t l = 0; l < c->w.logs; l++) {
        if (below(c, 3) == 0) continue;
        if (c->w.log[l].tail.unfinished) (void)journal_tail_look(&c->w.log[l].tail);
        journal_pass(c->w.log[l].j, clock_wall_us(clock));
        c->passes[l]++;
    }
    timer_advance(c->w.timers, clock_mono_ns(clock) / 1000000);
    let_go(c);
}

static void step(struct campaign *c)
{
    uint64_t dice = below(c, 100);
    if (dice < 25)
        command(c, true);
    else if (dice < 35)
        command(c, false);
    else if (dice < 45)
        begin_tx(c);
    else if (dice < 60)
        go_on_with_tx(c);
    else
        turn(c, dice < 90 ? 0 : (int64_t)below(c, 4000));
}

/* ---- what is there after a crash */

struct reading {
    struct campaign *c;
    const struct jmodel *m;
    uint32_t next[JLIB_LOGS_MAX]; /* of the last run */
};

static bool on_unit(void *ctx, const struct journal_unit *u)
{
    struct reading *r = ctx;
    uint32_t who[3];
    memcpy(who, u->args[0].data, sizeof who);
    if (who[0] + 1 != r->m->count) return true;
    if (who[2] == r->next[who[1]])
        r->next[who[1]]++;
    else
        r->c->halves++; /* a hole */
    return true;
}

static bool has_part(const struct jlog *l, uint32_t count, uint64_t txid)
{
    for (uint32_t i = 0; i < count; i++)
        if (l->unit[i].txid == txid) return true;
    return false;
}

static uint64_t count_halves(const struct jrun *run, const uint32_t *found)
{
    uint64_t halves = 0;
    for (uint32_t l = 0; l < run->logs; l++)
        for (uint32_t i = 0; i < found[l]; i++)
            for (uint32_t o = 0; o < run->logs && run->log[l].unit[i].txid != 0; o++)
                if (run->log[l].unit[i].mask >> o & 1)
                    halves += !has_part(&run->log[o], found[o], run->log[l].unit[i].txid);
    return halves;
}

/* Opens what the crash left and reads it. */
static void recover(struct campaign *c, struct jworld *w, const struct jmodel *m, uint32_t *found)
{
    struct reading r = {.c = c, .m = m};
    enum rc rc = jworld_recover(w, 1 + (uint32_t)below(c, JLIB_LOGS_MAX));
    if (rc == RC_OK)
        rc = journal_set_replay(
            w->set, w->io,
            &(struct journal_replay_opts){.shard = 0, .shards = 1, .apply = on_unit, .ctx = &r},
            &w->why);
    if (rc != RC_OK)
        fail_msg("seed %llu: %s: %.*s", (unsigned long long)c->seed, rc_text(rc), (int)w->why.len,
                 (const char *)w->why.data);
    memcpy(found, r.next, sizeof r.next);
}

/* The crash has happened on w. Checks, starts, writes a little, crashes again: the same must be there. */
static void check_crash(struct campaign *c, struct jworld *w)
{
    const struct jrun *run = newest_run(c);
    uint32_t found[JLIB_LOGS_MAX], again[JLIB_LOGS_MAX];
    struct jmodel m = jmodel_copy(&c->m);
    c->crashes++;
    recover(c, w, &m, found);
    for (uint32_t l = 0; l < run->logs; l++) {
        c->missing += found[l] < c->acked[l];
        c->dropped += run->log[l].count - found[l];
    }
    c->halves += count_halves(run, found);
    assert_int_equal(jworld_start(w), RC_OK);
    for (uint32_t i = 0; i < 5; i++) {
        const struct journal_head head = {.opcode = 1};
        const struct bytes who[2] = {
            bytes_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12), bytes_view("", 0)};
        journal_append(w->log[0].j, &head, who, 2);
        jworld_turn(w, 500);
    }
    io_sim_crash(w->sim);
    jworld_abandon(w);
    c->crashes++;
    recover(c, w, &m, again);
    for (uint32_t l = 0; l < run->logs; l++)
        c->revived += again[l] != found[l];
    jmodel_free(&m);
}

static void power_loss_in_a_copy(struct campaign *c)
{
    struct jworld w;
    jworld_init(&w, io_sim_crash_copy(c->w.sim, rng_next(&c->rng)));
    w.segment_bytes = c->w.segment_bytes;
    check_crash(c, &w);
    jworld_free(&w);
}

static bool is_busy(const struct campaign *c)
{
    for (uint32_t l = 0; l < c->w.logs; l++) {
        const struct journal *j = c->w.log[l].j;
        if (j->writing || j->syncing || j->step_busy || j->leaving != NULL) return true;
    }
    return false;
}

/* The process is gone; what the kernel has it keeps. */
static void kill_process(struct campaign *c)
{
    while (is_busy(c))
        (void)io_turn(c->w.io, 1000);
    jworld_abandon(&c->w);
}

static void run_seed(uint64_t seed, struct campaign *total)
{
    struct campaign *c = mem_zalloc(MEM_TEST, sizeof *c);
    struct io_sim_opts opts = {.check_direct = true, .short_io = seed % 2 == 0};
    c->seed = seed;
    rng_seed(&c->rng, seed);
    jworld_init(&c->w, io_sim_new(seed, &opts));
    c->w.segment_bytes = BLOCK_BYTES * (uint32_t)(8 + below(c, 200));
    c->w.fsync = (enum journal_fsync)below(c, 3);
    c->w.tracks = true;
    assert_int_equal(jworld_recover(&c->w, 2 + (uint32_t)below(c, JLIB_LOGS_MAX - 1)), RC_OK);
    assert_int_equal(jworld_start(&c->w), RC_OK);
    jmodel_add_run(&c->m, c->w.logs);
    uint32_t steps = 100 + (uint32_t)below(c, 300);
    for (uint32_t i = 0; i < steps; i++) {
        step(c);
        if (is_gated(c) && below(c, 30) == 0) power_loss_in_a_copy(c);
    }
    kill_process(c);
    check_crash(c, &c->w);
    jworld_free(&c->w);
    jmodel_free(&c->m);
    total->crashes += c->crashes;
    total->replies += c->replies;
    total->held += c->held;
    total->dropped += c->dropped;
    total->missing += c->missing;
    total->halves += c->halves;
    total->revived += c->revived;
    mem_free(MEM_TEST, c, sizeof *c);
}

static void run_campaign(struct campaign *total, uint64_t crashes)
{
    const char *first = getenv("GATES_SEED");
    uint64_t seed = 1, v = 0;
    if (first != NULL && num_parse_u64(bytes_of(first), &v)) seed = v;
    for (; total->crashes < crashes; seed++) {
        run_seed(seed, total);
        if (total->missing + total->halves + total->revived > 0 && total->seed == 0)
            total->seed = seed;
    }
    print_message("%llu crashes, %llu replies left, held %llu times, %llu units dropped\n",
                  (unsigned long long)total->crashes, (unsigned long long)total->replies,
                  (unsigned long long)total->held, (unsigned long long)total->dropped);
}

static void test_what_left_stays(void **state)
{
    (void)state;
    struct campaign total = {.seed = 0};
    const char *asked = getenv("GATES_CRASHES");
    uint64_t crashes = 1000, v = 0;
    if (asked != NULL && num_parse_u64(bytes_of(asked), &v)) crashes = v;
    run_campaign(&total, crashes);
    if (total.seed != 0)
        fail_msg("seed %llu: missing %llu, half %llu, back again %llu",
                 (unsigned long long)total.seed, (unsigned long long)total.missing,
                 (unsigned long long)total.halves, (unsigned long long)total.revived);
    assert_true(total.dropped > 0); /* else nothing was ever at risk */
    assert_true(total.held > 0);
}

static void find_planted(enum plant bug, struct campaign *total)
{
    plant(bug);
    run_campaign(total, 120);
    plant_nothing();
}

static void test_own_gate_is_found(void **state)
{
    (void)state;
    struct campaign total = {.seed = 0};
    find_planted(PLANT_OWN_GATE, &total);
    assert_true(total.missing > 0);
    assert_int_equal(total.halves, 0);
}

static void test_lost_part_is_found(void **state)
{
    (void)state;
    struct campaign total = {.seed = 0};
    find_planted(PLANT_LOSE_PART, &total);
    assert_true(total.halves > 0);
}

/* ---- by hand */

static void open_two(struct campaign *c)
{
    c->seed = 1;
    rng_seed(&c->rng, 1);
    jworld_init(&c->w, io_sim_new(1, NULL));
    c->w.segment_bytes = BLOCK_BYTES * 16;
    c->w.fsync = JOURNAL_EVERYSEC;
    c->w.tracks = true;
    assert_int_equal(jworld_recover(&c->w, 2), RC_OK);
    assert_int_equal(jworld_start(&c->w), RC_OK);
    jmodel_add_run(&c->m, 2);
}

static void pass_of(struct campaign *c, uint32_t log)
{
    journal_pass(c->w.log[log].j, clock_wall_us(io_sim_clock(c->w.sim)));
    c->passes[log]++;
    let_go(c);
}

/* An acknowledged write behind half a transaction: it is not acknowledged, and a dropped suffix stays dropped. */
static void test_write_behind_half_a_transaction(void **state)
{
    (void)state;
    for (uint32_t whole = 0; whole < 2; whole++) {
        struct campaign *c = mem_zalloc(MEM_TEST, sizeof *c);
        open_two(c);
        struct waiting *t = new_reply(c), *r;
        t->txid = c->txid = 1;
        t->mask = t->to_run = 3;
        run_part(c, t, 0);
        jmodel_append(&c->m, &c->w, 0, 10, 0, 0,
                      false); /* a SET on shard 0, one of another client */
        r = new_reply(c);
        look_at(c, r, 0);
        pass_of(c, 0);
        assert_true(r->used); /* written, but not said so */
        if (whole == 1) {
            run_part(c, t, 1);
            pass_of(c, 1);
            (void)journal_tail_look(&c->w.log[0].tail);
            pass_of(c, 0);
            assert_false(r->used);
            assert_false(t->used);
        }
        kill_process(c);
        check_crash(c, &c->w);
        assert_int_equal(c->missing + c->halves + c->revived, 0);
        assert_int_equal(c->dropped > 0, whole == 0);
        jworld_free(&c->w);
        jmodel_free(&c->m);
        mem_free(MEM_TEST, c, sizeof *c);
    }
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_behind_half_a_transaction),
        cmocka_unit_test(test_what_left_stays),
        cmocka_unit_test(test_own_gate_is_found),
        cmocka_unit_test(test_lost_part_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
