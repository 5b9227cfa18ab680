/* Power loss at random moments, thousands of them: random appends in passes, groups and transactions
 * over several logs, all policies, restarts with other log counts. After each crash:
 *
 *   - each log holds a first part of what was appended to it, whole groups, nothing else;
 *   - a transaction is there with all its parts or with none;
 *   - what on_durable told is there (as far as it lies inside the greatest cut), and under `everysec`
 *     all that is older than a second and some;
 *   - what an earlier recovery dropped or kept stays so: after the next crash, too.
 *
 * JOURNAL_CRASHES=n in the environment sets the number of crashes (1,000). */
#include "shard/journal/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/log.h"
#include "shard/base/num.h"
#include "tests/unit/shard/journal/jlib.h"

#define TX_MAX 8u
/* Under `everysec`: the tick's second, and the longest way of a write and a sync through the
 * simulated machine (preparing a segment included). */
#define EVERYSEC_US_MAX 1100000
#define SEGMENT_US_MAX 30000

struct pending_tx { /* parts still to be appended */
    uint64_t txid, mask, left;
};
struct campaign {
    struct jworld w;
    struct jmodel m;
    struct rng rng;
    struct pending_tx tx[TX_MAX];
    uint64_t txid;
    uint64_t seed;
    uint32_t crashes, crashes_max;
    uint64_t units_checked, dropped;
};

static uint64_t below(struct campaign *c, uint64_t bound)
{
    return rng_below(&c->rng, bound);
}

/* ---- what must be there */

static uint32_t group_start(const struct jlog *l, uint32_t unit)
{
    while (l->unit[unit].joined)
        unit--;
    return unit;
}

static bool has_part(const struct jlog *l, uint32_t count, uint64_t txid)
{
    for (uint32_t i = 0; i < count; i++)
        if (l->unit[i].txid == txid) return true;
    return false;
}

/* By definition: as long as a transaction lacks a part, cut its other logs before it. */
static void lower_to_cut(const struct jrun *run, uint32_t *count)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t l = 0; l < run->logs; l++) {
            for (uint32_t i = 0; i < count[l]; i++) {
                const struct junit *u = &run->log[l].unit[i];
                bool whole = true;
                for (uint32_t o = 0; o < run->logs && u->txid != 0; o++)
                    if (u->mask >> o & 1)
                        whole = whole && has_part(&run->log[o], count[o], u->txid);
                if (whole) continue;
                count[l] = group_start(&run->log[l], i);
                changed = true;
            }
        }
    }
}

static void promised(struct campaign *c, uint32_t *count)
{
    const struct jrun *run = &c->m.run[c->m.count - 1];
    int64_t now = clock_wall_us(io_sim_clock(c->w.sim));
    for (uint32_t l = 0; l < run->logs; l++) {
        count[l] = 0;
        for (uint32_t i = 0; i < run->log[l].count; i++) {
            const struct junit *u = &run->log[l].unit[i];
            /* A backlog over many segments waits for each to be prepared, written and synced. */
            uint64_t segments =
                u->end <= c->w.log[l].durable
                    ? 0
                    : (u->end - c->w.log[l].durable) / journal_file_capacity(c->w.segment_bytes);
            int64_t age_max = EVERYSEC_US_MAX + (int64_t)segments * SEGMENT_US_MAX;
            bool old =
                c->w.fsync == JOURNAL_EVERYSEC && u->at_us != INT64_MAX && now - u->at_us > age_max;
            if (u->end <= c->w.log[l].durable || old) count[l] = i + 1;
        }
    }
    lower_to_cut(run, count);
}

/* ---- what is there */

static void check_prefix(const struct jrun *run, const uint32_t *found)
{
    uint32_t cut[JLIB_LOGS_MAX];
    memcpy(cut, found, sizeof cut);
    lower_to_cut(run, cut);
    for (uint32_t l = 0; l < run->logs; l++) {
        assert_int_equal(cut[l], found[l]); /* no half transaction */
        bool splits = found[l] < run->log[l].count && run->log[l].unit[found[l]].joined;
        assert_false(splits);
    }
}

static void recover(struct campaign *c, struct jworld *w, const char *when)
{
    uint32_t logs = 1 + (uint32_t)below(c, JLIB_LOGS_MAX);
    w->fsync = (enum journal_fsync)below(c, 3);
    enum rc rc = jworld_recover(w, logs);
    if (rc != RC_OK)
        fail_msg("seed %llu crash %u, %s: %s: %.*s", (unsigned long long)c->seed, c->crashes, when,
                 rc_text(rc), (int)w->why.len, (const char *)w->why.data);
}

/* Reads what recovery found and cuts the model's newest run to it. */
static void settle_model(struct campaign *c, struct jworld *w, struct jmodel *m,
                         const uint32_t *must)
{
    struct jfound f = jfound_read(w, m);
    c->units_checked += f.units;
    for (uint32_t r = 0; r + 1 < m->count; r++)
        for (uint32_t l = 0; l < m->run[r].logs; l++)
            assert_int_equal(jfound_at(&f, r, l), m->run[r].log[l].count);
    if (m->count > 0) {
        struct jrun *run = &m->run[m->count - 1];
        uint32_t found[JLIB_LOGS_MAX] = {0};
        for (uint32_t l = 0; l < run->logs; l++)
            found[l] = jfound_at(&f, m->count - 1, l);
        check_prefix(run, found);
        for (uint32_t l = 0; l < run->logs; l++) {
            if (found[l] < must[l]) {
                const struct junit *u = &run->log[l].unit[must[l] - 1];
                int64_t now = clock_wall_us(io_sim_clock(c->w.sim));
                fail_msg(
                    "seed %llu crash %u: log %u has %u units, %u were promised (to %llu, durable "
                    "%llu, age %lld us, policy %d)",
                    (unsigned long long)c->seed, c->crashes, l, found[l], must[l],
                    (unsigned long long)u->end, (unsigned long long)c->w.log[l].durable,
                    (long long)(now - u->at_us), (int)c->w.fsync);
            }
            c->dropped += run->log[l].count - found[l];
            run->log[l].count = found[l];
        }
    }
    jfound_free(&f);
}

static void append_little(struct campaign *c, struct jworld *w, struct jmodel *m)
{
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t log = (uint32_t)below(c, w->logs);
        jmodel_append(m, w, log, (uint32_t)below(c, 3000), 0, 0, false);
        jworld_turn(w, (int64_t)below(c, 3000));
    }
}

/* What the disk would hold if power went now; then once more after a new start on it. */
static void crash_copy(struct campaign *c)
{
    uint32_t must[JLIB_LOGS_MAX];
    const uint32_t nothing[JLIB_LOGS_MAX] = {0};
    struct jworld w;
    promised(c, must);
    c->crashes++;
    struct jmodel m = jmodel_copy(&c->m);
    jworld_init(&w, io_sim_crash_copy(c->w.sim, rng_next(&c->rng)));
    recover(c, &w, "copy");
    settle_model(c, &w, &m, must);
    if (below(c, 2) == 0) {
        assert_int_equal(jworld_start(&w), RC_OK);
        jmodel_add_run(&m, w.logs);
        append_little(c, &w, &m);
        c->crashes++;
        io_sim_crash(w.sim);
        jworld_abandon(&w);
        recover(c, &w, "copy, second crash");
        settle_model(c, &w, &m, nothing);
    }
    jworld_free(&w);
    jmodel_free(&m);
}

/* ---- the life of the node */

static uint32_t draw_bytes(struct campaign *c)
{
    uint64_t dice = below(c, 400);
    if (dice == 0) return (uint32_t)below(c, 1500000);
    if (dice < 20) return (uint32_t)below(c, 30000);
    return (uint32_t)below(c, 200);
}

static void append_group(struct campaign *c, uint32_t log)
{
    uint32_t units = 2 + (uint32_t)below(c, 4);
    journal_group_begin(c->w.log[log].j);
    for (uint32_t i = 0; i < units; i++)
        jmodel_append(&c->m, &c->w, log, draw_bytes(c), 0, 0, i > 0);
    journal_group_end(c->w.log[log].j);
}

static void append_part(struct campaign *c, struct pending_tx *t)
{
    uint32_t log = (uint32_t)below(c, c->w.logs);
    while ((t->left >> log & 1) == 0)
        log = (log + 1) % c->w.logs;
    t->left &= ~(1ull << log);
    bool group = below(c, 4) == 0;
    if (group) journal_group_begin(c->w.log[log].j);
    jmodel_append(&c->m, &c->w, log, draw_bytes(c), t->txid, t->mask, false);
    if (group) jmodel_append(&c->m, &c->w, log, draw_bytes(c), 0, 0, true);
    if (group) journal_group_end(c->w.log[log].j);
}

static void begin_or_go_on_tx(struct campaign *c)
{
    struct pending_tx *t = &c->tx[below(c, TX_MAX)];
    if (t->left == 0) {
        uint64_t all = (1ull << c->w.logs) - 1;
        t->mask = t->left = (1 + below(c, all)) & all;
        t->txid = ++c->txid;
    }
    append_part(c, t);
}

static void finish_txs(struct campaign *c)
{
    for (uint32_t i = 0; i < TX_MAX; i++)
        while (c->tx[i].left != 0)
            append_part(c, &c->tx[i]);
}

static void turn(struct campaign *c, int64_t wait_us)
{
    jworld_turn(&c->w, wait_us);
    for (uint32_t l = 0; l < c->w.logs; l++)
        jmodel_passed(&c->m, l, clock_wall_us(io_sim_clock(c->w.sim)));
}

/* The cut that the node would publish: the greatest below what is durable, by the definition. */
static void tell_cut(struct campaign *c)
{
    const struct jrun *run = &c->m.run[c->m.count - 1];
    uint32_t count[JLIB_LOGS_MAX];
    for (uint32_t l = 0; l < run->logs; l++) {
        count[l] = 0;
        while (count[l] < run->log[l].count &&
               run->log[l].unit[count[l]].end <= c->w.log[l].durable)
            count[l]++;
    }
    lower_to_cut(run, count);
    for (uint32_t l = 0; l < run->logs; l++)
        if (count[l] > 0) journal_cut_known(c->w.log[l].j, run->log[l].unit[count[l] - 1].end);
}

static void step(struct campaign *c)
{
    uint32_t log = (uint32_t)below(c, c->w.logs);
    uint64_t dice = below(c, 100);
    if (dice < 40)
        jmodel_append(&c->m, &c->w, log, draw_bytes(c), 0, 0, false);
    else if (dice < 45)
        append_group(c, log);
    else if (dice < 58)
        begin_or_go_on_tx(c);
    else if (dice < 62)
        tell_cut(c);
    else if (dice < 85)
        turn(c, 0);
    else if (dice < 97)
        turn(c, (int64_t)below(c, 5000));
    else
        for (uint32_t i = 0; i < 5; i++)
            turn(c, (int64_t)below(c, 400000));
    if (below(c, 300) == 0) {
        c->w.fsync = (enum journal_fsync)below(c, 3);
        for (uint32_t l = 0; l < c->w.logs; l++)
            journal_set_fsync(c->w.log[l].j, c->w.fsync);
        /* The promise of `everysec` begins now, and holds for what is older after one tick. */
        int64_t until = clock_wall_us(io_sim_clock(c->w.sim)) + EVERYSEC_US_MAX;
        while (clock_wall_us(io_sim_clock(c->w.sim)) < until)
            turn(c, 100000);
    }
}

static void live(struct campaign *c)
{
    const uint32_t all[JLIB_LOGS_MAX] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    uint32_t must[JLIB_LOGS_MAX] = {0};
    (void)all;
    for (uint32_t start = 0; start < 4; start++) {
        recover(c, &c->w, "the node itself");
        settle_model(c, &c->w, &c->m, must);
        assert_int_equal(jworld_start(&c->w), RC_OK);
        jmodel_add_run(&c->m, c->w.logs);
        memset(c->tx, 0, sizeof c->tx);
        uint32_t steps = 50 + (uint32_t)below(c, 200);
        for (uint32_t i = 0; i < steps; i++) {
            step(c);
            if (below(c, 12) == 0) crash_copy(c);
        }
        if (below(c, 3) == 0) {
            finish_txs(c);
            for (uint32_t l = 0; l < c->w.logs; l++)
                must[l] = c->m.run[c->m.count - 1].log[l].count;
            jworld_close(&c->w, below(c, 3) > 0);
            if (below(c, 2) == 0) io_sim_crash(c->w.sim);
        } else {
            promised(c, must);
            c->crashes++;
            io_sim_crash(c->w.sim);
            jworld_abandon(&c->w);
        }
    }
}

static void run_seed(uint64_t seed, struct campaign *total)
{
    struct campaign c = {.seed = seed};
    struct io_sim_opts opts = {.check_direct = true, .short_io = seed % 2 == 0};
    rng_seed(&c.rng, seed);
    if (seed % 3 == 0) opts.delay_us_min = opts.delay_us_max = 0;
    jworld_init(&c.w, io_sim_new(seed, &opts));
    c.w.segment_bytes = BLOCK_BYTES * (uint32_t)(2 + below(&c, below(&c, 2) == 0 ? 4 : 60));
    live(&c);
    jworld_free(&c.w);
    jmodel_free(&c.m);
    total->crashes += c.crashes;
    total->units_checked += c.units_checked;
    total->dropped += c.dropped;
}

static void test_power_loss(void **state)
{
    (void)state;
    struct campaign total = {.crashes_max = 1000};
    const char *asked = getenv("JOURNAL_CRASHES");
    const char *first = getenv("JOURNAL_SEED");
    uint64_t v = 0;
    uint64_t seed = 1;
    if (asked != NULL && num_parse_u64(bytes_of(asked), &v)) total.crashes_max = (uint32_t)v;
    if (first != NULL && num_parse_u64(bytes_of(first), &v)) seed = v;
    for (; total.crashes < total.crashes_max; seed++)
        run_seed(seed, &total);
    print_message("%u crashes, %llu units read back, %llu dropped, seeds up to %llu\n",
                  total.crashes, (unsigned long long)total.units_checked,
                  (unsigned long long)total.dropped, (unsigned long long)(seed - 1));
    assert_true(total.dropped > 0); /* else nothing was ever at risk */
}

static bool is_idle(const struct jworld *w)
{
    bool idle = true;
    for (uint32_t l = 0; l < w->logs; l++) {
        const struct journal *j = w->log[l].j;
        bool busy = j->writing || j->syncing || j->step_busy || j->leaving != NULL;
        idle = idle && !busy && j->written == journal_lsn(j);
    }
    return idle;
}

/* A killed process leaves its writes in the page cache: the next start reads them there, and makes them
 * part of the past. A power loss right after that start must not take them back. */
static void test_kill_then_power_loss(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct campaign c = {.seed = seed};
        const uint32_t nothing[JLIB_LOGS_MAX] = {0};
        rng_seed(&c.rng, seed);
        jworld_init(&c.w, io_sim_new(seed, NULL));
        c.w.segment_bytes = 4 * BLOCK_BYTES;
        c.w.fsync = JOURNAL_NO;
        assert_int_equal(jworld_recover(&c.w, 2), RC_OK);
        assert_int_equal(jworld_start(&c.w), RC_OK);
        jmodel_add_run(&c.m, 2);
        for (uint32_t i = 0; i < 30; i++) {
            jmodel_append(&c.m, &c.w, i % 2, (uint32_t)below(&c, 2000), 0, 0, false);
            turn(&c, 100);
        }
        while (!is_idle(&c.w))
            turn(&c, 1000);
        uint32_t all[JLIB_LOGS_MAX] = {c.m.run[0].log[0].count, c.m.run[0].log[1].count};
        jworld_abandon(&c.w); /* no power loss: the disk's cache lives */
        recover(&c, &c.w, "kill");
        settle_model(&c, &c.w, &c.m, all);
        assert_int_equal(jworld_start(&c.w), RC_OK);
        jmodel_add_run(&c.m, c.w.logs);
        io_sim_crash(c.w.sim);
        jworld_abandon(&c.w);
        recover(&c, &c.w, "power loss after it");
        settle_model(&c, &c.w, &c.m, nothing);
        jworld_free(&c.w);
        jmodel_free(&c.m);
    }
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_power_loss),
                                       cmocka_unit_test(test_kill_then_power_loss)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
