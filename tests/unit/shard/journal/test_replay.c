/* Starting on large logs: the check can be watched and stopped, the replay comes in steps. */
#include "shard/journal/journal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "shard/base/slot.h"
#include "tests/unit/shard/journal/jlib.h"

#define UNITS 3000u
#define UNIT_BYTES 2000u /* in all some MB: several files, and several looks at the clock */

static void fill(struct jworld *w, uint32_t logs)
{
    struct rng rng;
    struct bytes arg = bytes_view(mem_zalloc(MEM_TEST, UNIT_BYTES), UNIT_BYTES);
    rng_seed(&rng, 1);
    jworld_init(w, io_sim_new(1, NULL));
    w->fsync = JOURNAL_NO;
    assert_int_equal(jworld_recover(w, logs), RC_OK);
    assert_int_equal(jworld_start(w), RC_OK);
    for (uint32_t i = 0; i < UNITS; i++) {
        uint32_t log = i % logs;
        struct journal_head head = {.opcode = 9, .slot = jlib_slot(&rng, log, logs)};
        assert_int_equal(journal_reserve(w->log[log].j, UNIT_BYTES + 64), RC_OK);
        journal_append(w->log[log].j, &head, &arg, 1);
        if (i % 20 == 0) jworld_turn(w, 0);
    }
    jworld_close(w, true);
    mem_free(MEM_TEST, (void *)(uintptr_t)arg.data, UNIT_BYTES);
}

/* ---- the check */

struct watch {
    uint64_t calls, stop_at, done, total;
};

static bool watch(void *ctx, uint64_t done, uint64_t total)
{
    struct watch *w = ctx;
    assert_true(done >= w->done);
    assert_true(done <= total);
    assert_true(w->total == 0 || total == w->total);
    w->done = done;
    w->total = total;
    return ++w->calls != w->stop_at;
}

static enum rc open_watched(struct jworld *w, struct watch *to, struct journal_set **set)
{
    struct journal_opts opts = jworld_opts(w, 2);
    opts.watch = watch;
    opts.watch_ctx = to;
    w->why.len = 0;
    return journal_set_open(&opts, w->io, set, &w->why);
}

static void test_the_check_is_watched(void **state)
{
    (void)state;
    struct jworld w;
    struct watch all = {0};
    fill(&w, 2);
    struct journal_set *set = NULL;
    assert_int_equal(open_watched(&w, &all, &set), RC_OK);
    assert_true(all.calls > 4);
    assert_true(all.total > UNITS * UNIT_BYTES);
    assert_true(all.done > all.total / 2);
    assert_true(journal_set_bytes(set) > UNITS * UNIT_BYTES);
    assert_true(journal_set_bytes(set) < all.total);
    journal_set_close(set);
    for (uint64_t at = 1; at <= all.calls; at++) {
        struct watch one = {.stop_at = at};
        uint64_t ops = io_sim_ops(w.sim);
        io_sim_fault(w.sim, IO_SIM_WRITE | IO_SIM_SYNC | IO_SIM_ALLOC, 1, -EIO, true);
        set = NULL;
        assert_int_equal(open_watched(&w, &one, &set), RC_CLOSED);
        assert_null(set);
        assert_int_equal(one.calls, at);
        assert_false(io_sim_heal(w.sim)); /* nothing was written */
        assert_true(io_sim_ops(w.sim) > ops);
    }
    uint64_t units = 0;
    struct journal_replay_opts opts = {.shards = 1, .apply = jlib_count, .ctx = &units};
    assert_int_equal(jworld_recover(&w, 2), RC_OK); /* and the lock was given back */
    assert_int_equal(journal_set_replay(w.set, w.io, &opts, &w.why), RC_OK);
    assert_int_equal(units, UNITS);
    jworld_free(&w);
}

/* ---- the replay */

static void replay_in_steps(struct jworld *w, uint32_t shard, uint32_t shards, uint64_t *units)
{
    struct journal_replay_opts opts = {
        .shard = shard, .shards = shards, .apply = jlib_count, .ctx = units};
    struct journal_replay *r = NULL;
    uint64_t done = 0, steps = 0;
    bool more = true;
    assert_int_equal(journal_replay_open(w->set, w->io, &opts, &r), RC_OK);
    while (more) {
        assert_int_equal(journal_replay_step(r, 0, &more, &w->why), RC_OK);
        assert_true(journal_replay_done_bytes(r) >= done);
        assert_true(journal_replay_done_bytes(r) - done < (1u << 20) || shards == 2);
        done = journal_replay_done_bytes(r);
        steps++;
    }
    assert_int_equal(done, journal_set_bytes(w->set));
    assert_true(steps > 20);
    journal_replay_close(r);
}

static void test_replay_in_steps(void **state)
{
    (void)state;
    struct jworld w;
    fill(&w, 2);
    for (uint32_t shards = 1; shards <= 3; shards++) {
        uint64_t units = 0;
        assert_int_equal(jworld_recover(&w, 2), RC_OK);
        for (uint32_t shard = 0; shard < shards; shard++)
            replay_in_steps(&w, shard, shards, &units);
        assert_int_equal(units, UNITS);
        jworld_abandon(&w);
    }
    jworld_free(&w);
}

static void test_a_replay_may_end_early(void **state)
{
    (void)state;
    struct jworld w;
    fill(&w, 2);
    assert_int_equal(jworld_recover(&w, 2), RC_OK);
    uint64_t units = 0;
    struct journal_replay_opts opts = {.shards = 1, .apply = jlib_count, .ctx = &units};
    for (uint32_t steps = 0; steps < 10; steps++) {
        struct journal_replay *r = NULL;
        bool more = true;
        assert_int_equal(journal_replay_open(w.set, w.io, &opts, &r), RC_OK);
        for (uint32_t i = 0; i < steps; i++)
            assert_int_equal(journal_replay_step(r, 0, &more, &w.why), RC_OK);
        assert_true(more);
        journal_replay_close(r); /* ASan sees what it leaves */
    }
    jworld_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_check_is_watched),
        cmocka_unit_test(test_replay_in_steps),
        cmocka_unit_test(test_a_replay_may_end_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
