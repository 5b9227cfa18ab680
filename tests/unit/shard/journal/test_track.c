/* The published cut against its definition, after every report of random histories; chains of transactions
 * by hand; threads that report at once (also under TSan). */
#include "shard/journal/track.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/planted.h"
#include "shard/base/rng.h"

#define LOGS_MAX 5u
#define PARTS_MAX 400u

/* ---- a plain model: all that was ever appended and reported */

struct model_part {
    uint64_t txid, mask, begin, end;
};
struct model_log {
    struct model_part part[PARTS_MAX];
    uint32_t count;
    uint64_t lsn, safe, synced;
    struct journal_tail tail;
};
struct model {
    uint32_t logs;
    struct journal_track *track;
    struct model_log log[LOGS_MAX];
    uint64_t txid;
};

static void model_open(struct model *m, uint32_t logs)
{
    memset(m, 0, sizeof *m);
    m->logs = logs;
    m->track = journal_track_new(logs);
    for (uint32_t l = 0; l < logs; l++) {
        m->log[l].lsn = m->log[l].safe = m->log[l].synced = 100 * l;
        journal_tail_open(&m->log[l].tail, m->track, l, m->log[l].lsn);
    }
}

static void model_close(struct model *m)
{
    for (uint32_t l = 0; l < m->logs; l++)
        journal_tail_close(&m->log[l].tail);
    journal_track_free(m->track);
}

static void append(struct model *m, uint32_t log, uint64_t txid, uint64_t mask, uint64_t bytes)
{
    struct model_log *l = &m->log[log];
    if (txid != 0) {
        assert_true(l->count < PARTS_MAX);
        l->part[l->count++] = (struct model_part){txid, mask, l->lsn, l->lsn + bytes};
        journal_tail_part(&l->tail, txid, mask, l->lsn, l->lsn + bytes);
    }
    l->lsn += bytes;
}

static uint64_t cut_of(const struct model *m, uint32_t log)
{
    return journal_track_cut(journal_track_shared(m->track), log);
}

static bool is_inside(const struct model_log *l, uint64_t txid, uint64_t end)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->part[i].txid == txid) return l->part[i].end <= end;
    return false;
}

/* By definition: as long as a transaction lacks a part below the ends, they go down to its parts. */
static void lower_to_cut(const struct model *m, uint64_t *end)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t l = 0; l < m->logs; l++) {
            for (uint32_t i = 0; i < m->log[l].count; i++) {
                const struct model_part *p = &m->log[l].part[i];
                if (p->end > end[l]) continue;
                bool whole = true;
                for (uint32_t o = 0; o < m->logs; o++)
                    if (p->mask >> o & 1) whole = whole && is_inside(&m->log[o], p->txid, end[o]);
                if (whole) continue;
                end[l] = p->begin;
                changed = true;
            }
        }
    }
}

/* Shards whose published cut rose must be named, but for the one that reported. */
static void report(struct model *m, uint32_t log)
{
    uint64_t before[LOGS_MAX], want[LOGS_MAX];
    for (uint32_t l = 0; l < m->logs; l++) {
        before[l] = cut_of(m, l);
        want[l] = m->log[l].safe;
    }
    struct model_log *r = &m->log[log];
    uint64_t woken = journal_tail_moved(&r->tail, r->safe, r->synced);
    lower_to_cut(m, want);
    for (uint32_t l = 0; l < m->logs; l++) {
        /* Who reported nothing since it moved is behind; its last report counts. */
        if (l == log || m->log[l].tail.unfinished) assert_int_equal(cut_of(m, l), want[l]);
        bool rose = cut_of(m, l) != before[l];
        assert_int_equal(woken >> l & 1, l != log && rose);
    }
}

/* ---- histories */

struct open_tx {
    uint64_t txid, mask, left;
};

static void run_history(uint64_t seed)
{
    struct rng rng;
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    struct open_tx tx[4] = {{.txid = 0}};
    rng_seed(&rng, seed);
    model_open(m, 2 + (uint32_t)rng_below(&rng, LOGS_MAX - 1));
    for (uint32_t step = 0; step < 600; step++) {
        uint32_t log = (uint32_t)rng_below(&rng, m->logs);
        struct model_log *l = &m->log[log];
        uint64_t end;
        switch (rng_below(&rng, 6)) {
        case 0:
            append(m, log, 0, 0, 1 + rng_below(&rng, 50));
            break;
        case 1:
        case 2: {
            struct open_tx *t = &tx[rng_below(&rng, seed % 2 == 0 ? 4 : 2)];
            if (t->left == 0) {
                t->mask = t->left = 1 + rng_below(&rng, (1u << m->logs) - 1);
                t->txid = ++m->txid;
            }
            while ((t->left >> log & 1) == 0)
                log = (log + 1) % m->logs;
            if (m->log[log].count == PARTS_MAX) break;
            append(m, log, t->txid, t->mask, 1 + rng_below(&rng, 50));
            t->left &= ~(UINT64_C(1) << log);
            break;
        }
        case 3: /* written: up to the end of any group */
            end = l->lsn;
            for (uint32_t i = l->count; i > 0 && rng_below(&rng, 3) > 0; i--)
                end = l->part[i - 1].begin;
            if (end > l->safe) l->safe = end;
            report(m, log);
            break;
        case 4:
            l->synced = l->safe;
            report(m, log);
            break;
        default:
            (void)journal_tail_look(&l->tail);
            break;
        }
    }
    /* All comes to an end: nobody waits for ever. */
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t log = 0; log < m->logs; log++)
            if (tx[i].left >> log & 1) append(m, log, tx[i].txid, tx[i].mask, 5);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t log = 0; log < m->logs; log++) {
            append(m, log, 0, 0, 1); /* what others synced is heard of with the next sync */
            m->log[log].safe = m->log[log].synced = m->log[log].lsn;
            report(m, log);
        }
    }
    for (uint32_t log = 0; log < m->logs; log++) {
        struct journal_tail *t = &m->log[log].tail;
        (void)journal_tail_look(t);
        assert_false(t->unfinished);
        assert_false(t->unsettled);
        assert_true(t->known >= t->newest);
        assert_int_equal(cut_of(m, log), m->log[log].lsn);
    }
    model_close(m);
    mem_free(MEM_TEST, m, sizeof *m);
}

static void test_random_histories(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++)
        run_history(seed);
}

/* What is told as durable is a cut below what is synced, whenever it is asked for. */
static void test_known_is_durable_everywhere(void **state)
{
    (void)state;
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    model_open(m, 2);
    append(m, 0, 1, 3, 10);
    append(m, 1, 1, 3, 10);
    for (uint32_t l = 0; l < 2; l++) {
        m->log[l].safe = m->log[l].lsn; /* written */
        report(m, l);
    }
    assert_int_equal(cut_of(m, 0), 10);
    m->log[0].synced = 10;
    report(m, 0);
    assert_int_equal(m->log[0].tail.known, 0); /* log 1 may still lose its part */
    assert_true(m->log[0].tail.unsettled);
    m->log[1].synced = 110;
    report(m, 1);
    assert_int_equal(m->log[1].tail.known, 110);
    append(m, 0, 0, 0, 5);
    m->log[0].safe = m->log[0].synced = 15;
    report(m, 0);
    assert_int_equal(m->log[0].tail.known, 10);
    assert_false(m->log[0].tail.unsettled);
    model_close(m);
    mem_free(MEM_TEST, m, sizeof *m);
}

/* ---- directed */

static void safe(struct model *m, uint32_t log)
{
    m->log[log].safe = m->log[log].lsn;
    report(m, log);
}

/* T on A, B; U on B, C; V on C, D. All of U and V are written, of T one part: nothing behind it may pass. */
static void test_chain(void **state)
{
    (void)state;
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    model_open(m, 4);
    append(m, 1, 1, 3, 10); /* T in B */
    append(m, 1, 2, 6, 10); /* U */
    append(m, 2, 2, 6, 10);
    append(m, 2, 3, 12, 10); /* V */
    append(m, 3, 3, 12, 10);
    append(m, 3, 0, 0, 10); /* and one of D alone */
    for (uint32_t l = 1; l < 4; l++)
        safe(m, l);
    for (uint32_t l = 1; l < 4; l++) {
        assert_int_equal(cut_of(m, l), 100 * l);
        assert_true(m->log[l].tail.unfinished);
    }
    append(m, 0, 0, 0, 10);
    safe(m, 0); /* A has no part: it waits for nobody */
    assert_int_equal(cut_of(m, 0), 10);
    append(m, 0, 1, 3, 10);
    safe(m, 0);
    assert_int_equal(cut_of(m, 0), 20);
    assert_int_equal(cut_of(m, 1), 120);
    assert_int_equal(cut_of(m, 2), 220);
    assert_int_equal(cut_of(m, 3), 320);
    for (uint32_t l = 0; l < 4; l++) {
        (void)journal_tail_look(&m->log[l].tail);
        assert_false(m->log[l].tail.unfinished);
    }
    model_close(m);
    mem_free(MEM_TEST, m, sizeof *m);
}

/* In the other order in each of two logs: both are whole, so both are inside. */
static void test_crossing(void **state)
{
    (void)state;
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    model_open(m, 2);
    append(m, 0, 1, 3, 10);
    append(m, 0, 2, 3, 10);
    append(m, 1, 2, 3, 10);
    safe(m, 0);
    safe(m, 1);
    assert_int_equal(cut_of(m, 0), 0);
    assert_int_equal(cut_of(m, 1), 100);
    append(m, 1, 1, 3, 10);
    safe(m, 1);
    assert_int_equal(cut_of(m, 0), 20);
    assert_int_equal(cut_of(m, 1), 120);
    model_close(m);
    mem_free(MEM_TEST, m, sizeof *m);
}

static void test_watchers_and_broken_logs(void **state)
{
    (void)state;
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    model_open(m, 3);
    struct model_log *l = &m->log[0];
    journal_track_watch(m->track, 5, 2);
    append(m, 0, 0, 0, 10);
    assert_int_equal(journal_tail_moved(&l->tail, l->safe, 0), 0); /* it did not move */
    l->safe = 10;
    assert_int_equal(journal_tail_moved(&l->tail, l->safe, 0), 4);
    l->safe = 11;
    assert_int_equal(journal_tail_moved(&l->tail, l->safe, 0), 0); /* once */
    assert_int_equal(journal_track_broken(journal_track_shared(m->track)), 0);
    journal_track_break(m->track, 2, true);
    journal_track_break(m->track, 0, true);
    journal_track_break(m->track, 2, false);
    assert_int_equal(journal_track_broken(journal_track_shared(m->track)), 1);
    model_close(m);
    mem_free(MEM_TEST, m, sizeof *m);
}

/* The bug that hides best: letting go by one's own log. */
static void test_own_gate_is_seen(void **state)
{
    (void)state;
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    plant(PLANT_OWN_GATE);
    model_open(m, 2);
    append(m, 0, 1, 3, 10);
    m->log[0].safe = 10;
    assert_int_equal(journal_tail_moved(&m->log[0].tail, 10, 0), 0);
    assert_int_equal(cut_of(m, 0), 10); /* half a transaction: test_chain would fail */
    model_close(m);
    plant_nothing();
    mem_free(MEM_TEST, m, sizeof *m);
}

/* `always` after `everysec`: what was promised of the page cache is more than what is on disk. */
static void test_policy_that_promises_less(void **state)
{
    (void)state;
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    model_open(m, 2);
    append(m, 0, 0, 0, 50);
    assert_int_equal(journal_tail_moved(&m->log[0].tail, 50, 0),
                     0); /* published without a report */
    assert_int_equal(cut_of(m, 0), 50);
    append(m, 0, 1, 3, 10);
    assert_int_equal(journal_tail_moved(&m->log[0].tail, 20, 20), 0);
    assert_int_equal(cut_of(m, 0), 50);
    append(m, 1, 1, 3, 10);
    assert_int_equal(journal_tail_moved(&m->log[1].tail, 110, 110), 0);
    assert_int_equal(cut_of(m, 1), 100);
    assert_int_equal(journal_tail_moved(&m->log[0].tail, 60, 60), 2);
    assert_int_equal(cut_of(m, 0), 60);
    assert_int_equal(cut_of(m, 1), 110);
    model_close(m);
    mem_free(MEM_TEST, m, sizeof *m);
}

/* ---- threads: every log's owner appends parts of transactions that all draw alike, writes, looks */

#define THREADS 4u
#define TXS 4000u

struct runner {
    struct journal_track *track;
    uint32_t log;
    uint64_t end, woken;
};

static uint64_t mask_of(uint64_t txid)
{
    uint64_t mask = (txid * UINT64_C(0x9e3779b97f4a7c15)) >> 60;
    return mask == 0 ? 3 : mask;
}

static void *run_log(void *arg)
{
    struct runner *r = arg;
    struct journal_tail tail;
    struct rng rng;
    uint64_t lsn = 0, safe_lsn = 0, cut = 0;
    rng_seed(&rng, r->log);
    journal_tail_open(&tail, r->track, r->log, 0);
    for (uint64_t txid = 1; txid <= TXS; txid++) {
        if (mask_of(txid) >> r->log & 1) {
            journal_tail_part(&tail, txid, mask_of(txid), lsn, lsn + 10);
            lsn += 10;
        }
        if (rng_below(&rng, 5) == 0) safe_lsn = lsn;
        uint64_t woken =
            journal_tail_moved(&tail, safe_lsn, rng_below(&rng, 50) == 0 ? safe_lsn : 0);
        assert_int_equal(woken >> r->log & 1, 0);
        uint64_t now = journal_track_cut(tail.shared, r->log);
        assert_true(now >= cut);
        assert_true(now <= safe_lsn);
        cut = now;
    }
    r->woken = journal_tail_moved(&tail, lsn, lsn);
    while (tail.unfinished)
        (void)journal_tail_look(&tail);
    r->end = lsn;
    journal_tail_close(&tail);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct journal_track *track = journal_track_new(THREADS);
    struct runner runner[THREADS];
    pthread_t thread[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        runner[i] = (struct runner){.track = track, .log = i};
        assert_int_equal(pthread_create(&thread[i], NULL, run_log, &runner[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (uint32_t i = 0; i < THREADS; i++)
        assert_int_equal(journal_track_cut(journal_track_shared(track), i), runner[i].end);
    journal_track_free(track);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_histories),
        cmocka_unit_test(test_known_is_durable_everywhere),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_watchers_and_broken_logs),
        cmocka_unit_test(test_own_gate_is_seen),
        cmocka_unit_test(test_policy_that_promises_less),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
