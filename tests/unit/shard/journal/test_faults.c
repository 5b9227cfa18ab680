/* Disks that fail, fill up, or memory that does: the nth operation, for every n until none is left. */
#include "shard/journal/journal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "shard/base/log.h"
#include "tests/unit/shard/journal/jlib.h"

#define DISK_SEED 4

struct life {
    struct jworld w;
    struct jmodel m;
    uint64_t durable[JLIB_LOGS_MAX];
    enum rc rc; /* of the start */
};

/* A short life: a start, units small and large, all of them durable if the disk lets them. */
static void live(struct life *l, enum journal_fsync fsync)
{
    l->w.fsync = fsync;
    l->rc = jworld_recover(&l->w, 2);
    if (l->rc == RC_OK) l->rc = jworld_start(&l->w);
    if (l->rc != RC_OK) return;
    jmodel_add_run(&l->m, 2);
    for (uint32_t i = 0; i < 24; i++) {
        uint32_t log = i % 2;
        if (journal_reserve(l->w.log[log].j, 9000) == RC_OK)
            jmodel_append(&l->m, &l->w, log, i % 5 == 4 ? 8000 : 50, 0, 0, false);
        jworld_turn(&l->w, 3000);
    }
    io_sim_advance(l->w.sim, 1000000); /* over a tick, which tries again */
    for (uint32_t i = 0; i < 100; i++)
        jworld_turn(&l->w, 3000);
    (void)jworld_settle(&l->w, 1500000);
    for (uint32_t log = 0; log < 2; log++)
        l->durable[log] = l->w.log[log].durable;
}

static void check_durable(struct life *l, struct jworld *w)
{
    struct jfound f = jfound_read(w, &l->m);
    for (uint32_t log = 0; log < 2 && l->m.count > 0; log++) {
        const struct jlog *have = &l->m.run[0].log[log];
        uint32_t must = 0;
        while (must < have->count && have->unit[must].end <= l->durable[log])
            must++;
        assert_true(jfound_at(&f, 0, log) >= must);
    }
    jfound_free(&f);
}

static void open_disk(struct life *l, uint64_t seed)
{
    *l = (struct life){0};
    jworld_init(&l->w, io_sim_new(seed, &(struct io_sim_opts){.check_direct = true}));
    l->w.segment_bytes = 4 * BLOCK_BYTES;
}

/* Returns whether the fault fired. */
static bool once(uint64_t nth, uint32_t ops, int err, enum journal_fsync fsync)
{
    struct life l;
    open_disk(&l, DISK_SEED);
    io_sim_fault(l.w.sim, ops, nth, err, false);
    live(&l, fsync);
    if (l.rc != RC_OK) assert_true(l.w.set == NULL);
    if (l.rc == RC_OK) {
        /* What is refused for good stays so; what lacked space goes on. */
        for (uint32_t log = 0; log < 2; log++) {
            const struct jopen *o = &l.w.log[log];
            assert_int_equal(journal_reserve(o->j, 10), o->refusing ? RC_IO : RC_OK);
            if (!o->refusing) assert_int_equal(o->durable, journal_lsn(o->j));
        }
        jworld_close(&l.w, true);
    }
    bool fired = io_sim_heal(l.w.sim);
    io_sim_crash(l.w.sim);
    assert_int_equal(jworld_recover(&l.w, 2), RC_OK);
    check_durable(&l, &l.w);
    assert_int_equal(jworld_start(&l.w), RC_OK);
    jworld_close(&l.w, true);
    jworld_free(&l.w);
    jmodel_free(&l.m);
    return fired;
}

static void test_every_operation_fails_once(void **state)
{
    (void)state;
    static const int errors[] = {-EIO, -ENOSPC};
    for (uint32_t policy = 0; policy < 3; policy++) {
        if (policy == JOURNAL_NO) continue; /* nothing becomes durable before the stop */
        for (uint32_t e = 0; e < COUNT_OF(errors); e++) {
            uint32_t ops =
                errors[e] == -EIO ? IO_SIM_ALL : IO_SIM_WRITE | IO_SIM_ALLOC | IO_SIM_OPEN;
            uint64_t nth = 1;
            while (once(nth, ops, errors[e], (enum journal_fsync)policy))
                nth++;
            assert_true(nth > 20);
        }
    }
}

/* A recovery that meets a bad read says so and changes nothing. */
static void test_every_operation_of_a_restart_fails_once(void **state)
{
    (void)state;
    struct life l;
    open_disk(&l, DISK_SEED);
    live(&l, JOURNAL_EVERYSEC);
    jworld_close(&l.w, false);
    bool fired = true;
    uint64_t refused = 0;
    for (uint64_t nth = 1; fired; nth++) {
        struct jworld w;
        /* Nothing is under way and all is synced: this is a copy of the disk. */
        jworld_init(&w, io_sim_crash_copy(l.w.sim, nth));
        w.segment_bytes = l.w.segment_bytes;
        io_sim_fault(w.sim, IO_SIM_ALL, nth, -EIO, false);
        enum rc rc = jworld_recover(&w, 3);
        if (rc == RC_OK) rc = jworld_start(&w);
        fired = io_sim_heal(w.sim);
        if (rc == RC_OK)
            jworld_close(&w, true);
        else
            assert_true(w.why.len > 0 || w.logs == 0);
        refused += rc != RC_OK;
        io_sim_crash(w.sim);
        assert_int_equal(jworld_recover(&w, 1), RC_OK);
        check_durable(&l, &w);
        jworld_free(&w);
    }
    assert_true(refused > 10);
    jworld_free(&l.w);
    jmodel_free(&l.m);
}

/* Power goes in the middle of every operation of a restart, in turn. */
static void test_power_fails_during_recovery(void **state)
{
    (void)state;
    struct life l;
    open_disk(&l, DISK_SEED);
    live(&l, JOURNAL_EVERYSEC);
    jmodel_append(&l.m, &l.w, 0, 5000, 0, 0, false);
    jworld_turn(&l.w, 0);
    jworld_turn(&l.w, 3000);
    for (uint64_t nth = 1; nth < 60; nth++) {
        for (uint64_t seed = 0; seed < 4; seed++) {
            struct jworld w;
            jworld_init(&w, io_sim_crash_copy(l.w.sim, nth * 4 + seed));
            io_sim_crash_at(w.sim, nth);
            if (jworld_recover(&w, 3) == RC_OK) {
                enum rc rc = journal_set_start(w.set, &w.why);
                assert_true(rc == RC_OK || w.why.len > 0);
                journal_set_close(w.set);
                w.set = NULL;
            }
            io_sim_crash(w.sim);
            assert_int_equal(jworld_recover(&w, 1), RC_OK);
            check_durable(&l, &w);
            jworld_free(&w);
        }
    }
    jworld_free(&l.w);
    jmodel_free(&l.m);
}

static void test_no_space_then_space(void **state)
{
    (void)state;
    for (uint32_t policy = 0; policy < 2; policy++) {
        struct life l;
        open_disk(&l, 9);
        live(&l, (enum journal_fsync)policy);
        struct journal *j = l.w.log[0].j;
        io_sim_fault(l.w.sim, IO_SIM_WRITE | IO_SIM_ALLOC | IO_SIM_OPEN, 1, -ENOSPC, true);
        uint32_t taken = 0;
        while (journal_reserve(j, 2000) == RC_OK && taken < 1000) {
            jmodel_append(&l.m, &l.w, 0, 1900, 0, 0, false);
            jworld_turn(&l.w, 3000);
            taken++;
        }
        assert_in_range(taken, 1, 200); /* what was ahead, and no more */
        assert_int_equal(journal_reserve(j, 1), RC_NOSPACE);
        assert_true(l.w.log[0].refusing);
        assert_int_equal(l.w.log[0].refuse_rc, RC_NOSPACE);
        assert_false(jworld_settle(&l.w, 5000000));
        io_sim_heal(l.w.sim);
        assert_true(jworld_settle(&l.w, 3000000)); /* what was taken is not lost */
        assert_false(l.w.log[0].refusing);
        assert_int_equal(journal_reserve(j, 1), RC_OK);
        jworld_close(&l.w, true);
        assert_int_equal(jworld_recover(&l.w, 2), RC_OK);
        struct jfound f = jfound_read(&l.w, &l.m);
        assert_int_equal(jfound_at(&f, 0, 0), l.m.run[0].log[0].count);
        jfound_free(&f);
        jworld_free(&l.w);
        jmodel_free(&l.m);
    }
}

/* Writers wait for a disk that is behind, but are refused, and readers are not kept, when it takes nothing. */
static void test_nobody_waits_for_a_disk_that_refuses(void **state)
{
    (void)state;
    struct life l;
    open_disk(&l, 10);
    live(&l, JOURNAL_EVERYSEC);
    struct journal *j = l.w.log[0].j;
    io_sim_fault(l.w.sim, IO_SIM_WRITE | IO_SIM_ALLOC | IO_SIM_OPEN, 1, -ENOSPC, true);
    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(journal_reserve(j, 60000), RC_OK);
        jmodel_append(&l.m, &l.w, 0, 60000, 0, 0, false);
    }
    assert_true(journal_behind(j));
    assert_false(jworld_settle(&l.w, 3000000));
    assert_true(l.w.log[0].refusing);
    assert_false(journal_behind(j));
    assert_int_equal(journal_reserve(j, 1), RC_NOSPACE);
    io_sim_heal(l.w.sim);
    assert_true(jworld_settle(&l.w, 30000000));
    assert_false(journal_behind(j));
    jworld_free(&l.w);
    jmodel_free(&l.m);
}

/* After a failed sync nothing is tried again, and nothing more is promised. */
static void test_failed_sync_is_final(void **state)
{
    (void)state;
    struct life l;
    open_disk(&l, 9);
    live(&l, JOURNAL_EVERYSEC);
    struct journal *j = l.w.log[0].j;
    struct journal_stats before;
    jmodel_append(&l.m, &l.w, 0, 100, 0, 0, false);
    io_sim_fault(l.w.sim, IO_SIM_SYNC, 1, -EIO, false);
    journal_stats_read(j, &before);
    assert_false(jworld_settle(&l.w, 3000000));
    assert_true(io_sim_heal(l.w.sim));
    assert_int_equal(l.w.log[0].refuse_rc, RC_IO);
    assert_int_equal(journal_reserve(j, 1), RC_IO);
    uint64_t ops = io_sim_ops(l.w.sim);
    assert_false(jworld_settle(&l.w, 3000000));
    struct journal_stats after;
    journal_stats_read(j, &after);
    assert_int_equal(after.durable_lsn, before.durable_lsn);
    assert_int_equal(after.syncs, before.syncs);
    assert_int_equal(io_sim_ops(l.w.sim), ops); /* the disk is left alone */
    jworld_free(&l.w);
    jmodel_free(&l.m);
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    struct life l;
    open_disk(&l, DISK_SEED);
    live(&l, JOURNAL_EVERYSEC);
    journal_group_begin(l.w.log[0].j); /* a chain, so that recovery joins frames */
    for (uint32_t i = 0; i < 20; i++)
        jmodel_append(&l.m, &l.w, 0, 60000, i == 0, i == 0, i > 0);
    journal_group_end(l.w.log[0].j);
    jworld_close(&l.w, true);
    bool fired = true;
    uint64_t before = mem_live_bytes(MEM_JOURNAL);
    for (uint32_t nth = 1; fired; nth++) {
        struct journal_opts opts = jworld_opts(&l.w, 3);
        struct journal_set *set = NULL;
        l.w.why.len = 0;
        mem_fault_arm(nth);
        enum rc rc = journal_set_open(&opts, l.w.io, &set, &l.w.why);
        fired = mem_fault_disarm();
        assert_true((rc == RC_OK) == (set != NULL));
        if (rc != RC_OK) {
            assert_int_equal(rc, RC_NOMEM);
            assert_int_equal(mem_live_bytes(MEM_JOURNAL), before);
        }
        if (set != NULL) journal_set_close(set);
    }
    assert_int_equal(jworld_recover(&l.w, 3), RC_OK);
    fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        mem_fault_arm(nth);
        uint64_t units = 0;
        enum rc rc =
            journal_set_replay(l.w.set, l.w.io,
                               &(struct journal_replay_opts){
                                   .shard = 0, .shards = 1, .apply = jlib_count, .ctx = &units},
                               &l.w.why);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        if (!fired) assert_int_equal(units, l.m.run[0].log[0].count + l.m.run[0].log[1].count);
    }
    jworld_free(&l.w);
    jmodel_free(&l.m);
}

static void test_reservation_without_memory(void **state)
{
    (void)state;
    struct life l;
    open_disk(&l, DISK_SEED);
    live(&l, JOURNAL_EVERYSEC);
    mem_fault_arm(3);
    assert_int_equal(journal_reserve(l.w.log[0].j, 30u << 20), RC_NOMEM);
    assert_true(mem_fault_disarm());
    assert_int_equal(journal_reserve(l.w.log[0].j, 3u << 20), RC_OK);
    mem_fault_arm(1);
    jmodel_append(&l.m, &l.w, 0, 3u << 20, 0, 0, false); /* takes none: it was reserved */
    assert_false(mem_fault_disarm());
    jworld_turn(&l.w, 0);
    jworld_close(&l.w, true);
    assert_int_equal(jworld_recover(&l.w, 2), RC_OK);
    struct jfound f = jfound_read(&l.w, &l.m);
    assert_int_equal(jfound_at(&f, 0, 0), l.m.run[0].log[0].count);
    jfound_free(&f);
    jworld_free(&l.w);
    jmodel_free(&l.m);
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operation_fails_once),
        cmocka_unit_test(test_every_operation_of_a_restart_fails_once),
        cmocka_unit_test(test_power_fails_during_recovery),
        cmocka_unit_test(test_no_space_then_space),
        cmocka_unit_test(test_nobody_waits_for_a_disk_that_refuses),
        cmocka_unit_test(test_failed_sync_is_final),
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_reservation_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
