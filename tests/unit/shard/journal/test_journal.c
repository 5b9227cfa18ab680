/* Logs from end to end on a simulated machine: what is appended is replayed, whole groups at a time,
 * over restarts, policies, shard counts and file boundaries. */
#include "shard/journal/journal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "shard/base/slot.h"
#include "tests/unit/shard/journal/jlib.h"

static void open_world(struct jworld *w, uint64_t seed, uint32_t logs, enum journal_fsync fsync)
{
    jworld_init(w, io_sim_new(seed, &(struct io_sim_opts){.check_direct = true, .short_io = true}));
    w->fsync = fsync;
    assert_int_equal(jworld_recover(w, logs), RC_OK);
    assert_int_equal(jworld_start(w), RC_OK);
}

static void reopen(struct jworld *w, uint32_t logs)
{
    enum rc rc = jworld_recover(w, logs);
    if (rc != RC_OK) fail_msg("%s: %.*s", rc_text(rc), (int)w->why.len, (const char *)w->why.data);
}

static void check_counts(struct jworld *w, const struct jmodel *m)
{
    struct jfound f = jfound_read(w, m);
    for (uint32_t r = 0; r < m->count; r++)
        for (uint32_t l = 0; l < m->run[r].logs; l++)
            assert_int_equal(jfound_at(&f, r, l), m->run[r].log[l].count);
    jfound_free(&f);
}

static void append_some(struct jmodel *m, struct jworld *w, struct rng *rng, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t log = (uint32_t)rng_below(rng, w->logs);
        assert_int_equal(journal_reserve(w->log[log].j, 9000), RC_OK);
        jmodel_append(m, w, log, (uint32_t)rng_below(rng, rng_below(rng, 20) == 0 ? 9000 : 100), 0,
                      0, false);
        if (rng_below(rng, 3) == 0) jworld_turn(w, 0);
    }
}

static void test_restarts(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 25; seed++) {
        struct jworld w;
        struct jmodel m = {0};
        struct rng rng;
        rng_seed(&rng, seed);
        jworld_init(
            &w, io_sim_new(seed, &(struct io_sim_opts){.check_direct = true, .short_io = true}));
        for (uint32_t start = 0; start < 5; start++) {
            w.fsync = (enum journal_fsync)rng_below(&rng, 3);
            uint32_t logs = 1 + (uint32_t)rng_below(&rng, JLIB_LOGS_MAX);
            reopen(&w, logs);
            check_counts(&w, &m);
            assert_int_equal(jworld_start(&w), RC_OK);
            jmodel_add_run(&m, logs);
            append_some(&m, &w, &rng, 300);
            jworld_turn(&w, 0);
            jworld_close(&w, rng_below(&rng, 2) == 0);
        }
        reopen(&w, 2);
        check_counts(&w, &m);
        jworld_free(&w);
        jmodel_free(&m);
    }
}

static void test_clean_stop_continues_the_generation(void **state)
{
    (void)state;
    struct jworld w;
    struct jmodel m = {0};
    open_world(&w, 1, 2, JOURNAL_ALWAYS);
    jmodel_add_run(&m, 2);
    jmodel_append(&m, &w, 0, 10, 0, 0, false);
    jmodel_append(&m, &w, 1, 10, 0, 0, false);
    uint64_t generation = journal_generation(w.log[0].j);
    uint64_t lsn = journal_lsn(w.log[0].j);
    jworld_close(&w, true);
    reopen(&w, 2);
    assert_int_equal(jworld_start(&w), RC_OK);
    assert_int_equal(journal_generation(w.log[0].j), generation);
    assert_int_equal(journal_lsn(w.log[0].j), lsn + FRAME_HEAD_BYTES);
    assert_int_equal(journal_durable_lsn(w.log[0].j), lsn + FRAME_HEAD_BYTES);
    jworld_close(&w, true);
    reopen(&w, 3); /* another count: another generation */
    assert_int_equal(jworld_start(&w), RC_OK);
    assert_int_equal(journal_generation(w.log[0].j), generation + 1);
    jworld_close(&w, false);
    reopen(&w, 3); /* no clean stop */
    check_counts(&w, &m);
    assert_int_equal(jworld_start(&w), RC_OK);
    assert_int_equal(journal_generation(w.log[0].j), generation + 2);
    jworld_close(&w, true);
    jworld_free(&w);
    jmodel_free(&m);
}

/* A unit over a frame, one over many segments, one that is exactly a frame; groups that overflow. */
/* A clean stop and start goes on in the generation: a txid of before would make one transaction of two. */
static void test_txids_of_before_are_known(void **state)
{
    (void)state;
    struct jworld w;
    struct jmodel m = {0};
    open_world(&w, 1, 2, JOURNAL_ALWAYS);
    assert_int_equal(journal_set_txid(w.set), 0);
    jmodel_add_run(&m, 2);
    jmodel_append(&m, &w, 0, 10, 9, 3, false);
    jmodel_append(&m, &w, 1, 10, 9, 3, false);
    jmodel_append(&m, &w, 1, 10, 77, 2, false);
    jmodel_append(&m, &w, 0, 10, 8, 1, false);
    for (uint32_t start = 0; start < 3; start++) {
        jworld_close(&w, start != 1);
        reopen(&w, 2 + start);
        assert_int_equal(journal_set_txid(w.set), 77);
        assert_int_equal(jworld_start(&w), RC_OK);
    }
    jworld_free(&w);
    jmodel_free(&m);
}

static void test_large_units_and_groups(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1u << 20,
                                     FRAME_BODY_MAX,
                                     FRAME_BODY_MAX - 24,
                                     FRAME_BODY_MAX - 25,
                                     5u << 20,
                                     (1u << 20) - 150,
                                     0,
                                     FRAME_BODY_MAX + 1,
                                     (2u << 20) + 11,
                                     FRAME_BODY_MAX - 110};
    for (uint32_t policy = 0; policy < 3; policy++) {
        struct jworld w;
        struct jmodel m = {0};
        open_world(&w, policy, 1, (enum journal_fsync)policy);
        jmodel_add_run(&m, 1);
        for (uint32_t i = 0; i < COUNT_OF(sizes); i++) {
            jmodel_append(&m, &w, 0, 40, 0, 0, false);
            assert_int_equal(journal_reserve(w.log[0].j, sizes[i] + 64), RC_OK);
            jmodel_append(&m, &w, 0, sizes[i], 0, 0, false);
            jmodel_append(&m, &w, 0, 40, 0, 0, false);
            if (i % 3 == 0) jworld_turn(&w, 1000);
        }
        for (uint32_t group = 0; group < 6; group++) {
            jmodel_append(&m, &w, 0, 100 * group, 0, 0, false);
            journal_group_begin(w.log[0].j);
            for (uint32_t i = 0; i < 1 + group * 2; i++)
                jmodel_append(&m, &w, 0, 200000 + i + (i == 3 ? sizes[group % COUNT_OF(sizes)] : 0),
                              0, 0, i > 0);
            journal_group_end(w.log[0].j);
            if (group % 2 == 0) jworld_turn(&w, 1000);
        }
        jworld_turn(&w, 0);
        assert_true(jworld_settle(&w, 60000000) || w.fsync == JOURNAL_NO);
        jworld_close(&w, policy != 1);
        reopen(&w, 1);
        check_counts(&w, &m);
        jworld_free(&w);
        jmodel_free(&m);
    }
}

/* Frames of a chain reach the disk one after the other; nothing of the group counts before the last. */
static void test_group_is_durable_as_one(void **state)
{
    (void)state;
    for (uint32_t policy = 0; policy < 2; policy++) {
        struct jworld w;
        struct jmodel m = {0};
        open_world(&w, 8, 1, (enum journal_fsync)policy);
        jmodel_add_run(&m, 1);
        jmodel_append(&m, &w, 0, 500, 0, 0, false);
        uint64_t begin = journal_lsn(w.log[0].j);
        journal_group_begin(w.log[0].j);
        for (uint32_t i = 0; i < 6; i++)
            jmodel_append(&m, &w, 0, 700000, 0, 0, i > 0);
        journal_group_end(w.log[0].j);
        uint64_t end = journal_lsn(w.log[0].j);
        jmodel_append(&m, &w, 0, 500, 0, 0, false);
        uint64_t between = 0;
        for (uint32_t i = 0; i < 20000 && w.log[0].durable < journal_lsn(w.log[0].j); i++) {
            jworld_turn(&w, 500);
            assert_true(w.log[0].durable <= begin || w.log[0].durable >= end);
            between += w.log[0].j->synced_bytes > begin && w.log[0].j->synced_bytes < end;
        }
        assert_int_equal(w.log[0].durable, journal_lsn(w.log[0].j));
        assert_true(between > 0); /* there were moments at which it could have gone wrong */
        jworld_close(&w, true);
        reopen(&w, 1);
        check_counts(&w, &m);
        jworld_free(&w);
        jmodel_free(&m);
    }
}

static void count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(uint32_t *)ctx;
}

static void note_name(void *ctx, const char *name)
{
    uint32_t *generations = ctx;
    struct journal__name n;
    if (journal__name_parse(name, &n))
        *generations |= 1u << n.generation;
    else
        assert_true(strcmp(name, "LOCK") == 0 || strcmp(name, "MANIFEST") == 0);
}

static uint32_t generations_on_disk(struct jworld *w)
{
    uint32_t generations = 0;
    assert_int_equal(w->io->ops->file_list(w->io, JLIB_DIR "/log", note_name, &generations), 0);
    return generations;
}

static void test_leftovers_go(void **state)
{
    (void)state;
    struct jworld w;
    struct jmodel m = {0};
    open_world(&w, 3, 2, JOURNAL_EVERYSEC);
    io_sim_crash(w.sim); /* nothing in it: the next start forgets the generation */
    jworld_abandon(&w);
    reopen(&w, 2);
    assert_int_equal(generations_on_disk(&w), 1u << 1);
    assert_int_equal(jworld_start(&w), RC_OK);
    assert_int_equal(generations_on_disk(&w), 1u << 2);
    jmodel_add_run(&m, 2);
    jmodel_append(&m, &w, 1, 10, 0, 0, false);
    assert_true(jworld_settle(&w, 2000000));
    io_sim_crash(w.sim);
    jworld_abandon(&w);
    reopen(&w, 1);
    check_counts(&w, &m);
    assert_int_equal(jworld_start(&w), RC_OK);
    assert_int_equal(generations_on_disk(&w), 1u << 2 | 1u << 3);
    uint32_t files = 0;
    assert_int_equal(w.io->ops->file_list(w.io, JLIB_DIR "/log", count_name, &files), 0);
    assert_in_range(files, 4, 6); /* LOCK, MANIFEST, one of generation 2, one to three of 3 */
    jworld_close(&w, true);
    jworld_free(&w);
    jmodel_free(&m);
}

/* The cut that the newest frame of a log names. */
static uint64_t newest_cut(struct jworld *w, uint32_t log)
{
    const struct journal *j = w->log[log].j;
    uint64_t cut = 0;
    const uint8_t *end = j->next;
    for (const uint8_t *p = j->chunk->data; p < end;) {
        struct journal_frame_head h;
        assert_true(journal_frame_decode(p, &h));
        assert_true(h.cut <= h.synced);
        cut = h.cut;
        p += FRAME_HEAD_BYTES + h.length;
    }
    return cut;
}

/* Frames name what is synced, but not beyond a transaction of which nobody said that it is whole. */
static void test_frames_name_the_cut(void **state)
{
    (void)state;
    struct jworld w;
    struct jmodel m = {0};
    struct journal *j = NULL;
    jworld_init(&w, io_sim_new(1, &(struct io_sim_opts){.delay_us_min = 100, .delay_us_max = 100}));
    w.fsync = JOURNAL_ALWAYS;
    reopen(&w, 2);
    assert_int_equal(jworld_start(&w), RC_OK);
    j = w.log[0].j;
    jmodel_add_run(&m, 2);
    jmodel_append(&m, &w, 0, 10, 0, 0, false);
    assert_true(jworld_settle(&w, 100000));
    uint64_t before = journal_lsn(j);
    jmodel_append(&m, &w, 0, 10, 0, 0, false);
    jworld_turn(&w, 0); /* sealed, its write under way: it stays in memory */
    assert_int_equal(newest_cut(&w, 0), before);
    assert_true(jworld_settle(&w, 100000));
    uint64_t first = journal_lsn(j);
    jmodel_append(&m, &w, 0, 10, 77, 3, false);
    assert_true(jworld_settle(&w, 100000));
    uint64_t second = journal_lsn(j);
    jmodel_append(&m, &w, 0, 10, 78, 3, false);
    assert_true(jworld_settle(&w, 100000));
    jmodel_append(&m, &w, 0, 10, 0, 0, false);
    jworld_turn(&w, 0);
    assert_int_equal(newest_cut(&w, 0), first);
    assert_true(jworld_settle(&w, 100000));
    journal_cut_known(j, second); /* the first transaction is whole */
    jmodel_append(&m, &w, 0, 10, 0, 0, false);
    jworld_turn(&w, 0);
    assert_int_equal(newest_cut(&w, 0), second);
    assert_true(jworld_settle(&w, 100000));
    journal_cut_known(j, journal_lsn(j));
    before = journal_lsn(j);
    jmodel_append(&m, &w, 0, 10, 0, 0, false);
    jworld_turn(&w, 0);
    assert_int_equal(newest_cut(&w, 0), before);
    jworld_free(&w);
    jmodel_free(&m);
}

/* The known cut may lie between two parts of one frame. */
static void test_frames_name_no_cut_in_their_middle(void **state)
{
    (void)state;
    struct jworld w;
    struct jmodel m = {0};
    jworld_init(&w, io_sim_new(1, &(struct io_sim_opts){.delay_us_min = 100, .delay_us_max = 100}));
    w.fsync = JOURNAL_ALWAYS;
    reopen(&w, 2);
    assert_int_equal(jworld_start(&w), RC_OK);
    struct journal *j = w.log[0].j;
    jmodel_add_run(&m, 2);
    jmodel_append(&m, &w, 0, 10, 77, 3, false);
    uint64_t second = journal_lsn(j);
    jmodel_append(&m, &w, 0, 10, 78, 3, false);
    assert_true(jworld_settle(&w, 100000));
    journal_cut_known(j, second);
    jmodel_append(&m, &w, 0, 10, 0, 0, false);
    jworld_turn(&w, 0);
    assert_int_equal(newest_cut(&w, 0), second);
    jworld_free(&w);
    jmodel_free(&m);
}

struct routed {
    uint32_t shard, shards;
    uint32_t units, all;
};

static bool on_routed(void *ctx, const struct journal_unit *u)
{
    struct routed *r = ctx;
    if (u->slot == JOURNAL_SLOT_ALL) {
        r->all++;
        return true;
    }
    assert_int_equal(slot_shard(u->slot, r->shards), r->shard);
    r->units++;
    return true;
}

static void test_replay_routes_by_slot(void **state)
{
    (void)state;
    struct jworld w;
    struct rng rng;
    rng_seed(&rng, 7);
    open_world(&w, 3, 3, JOURNAL_EVERYSEC);
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t log = i % 3;
        struct journal_head head = {
            .opcode = 9, .slot = i % 100 == 0 ? JOURNAL_SLOT_ALL : jlib_slot(&rng, log, 3)};
        struct bytes arg = BYTES_LIT("value");
        journal_append(w.log[log].j, &head, &arg, 1);
    }
    jworld_close(&w, true);
    for (uint32_t shards = 1; shards <= 5; shards++) {
        uint32_t units = 0;
        reopen(&w, 3);
        for (uint32_t s = 0; s < shards; s++) {
            struct routed r = {.shard = s, .shards = shards};
            assert_int_equal(
                journal_set_replay(w.set, w.io,
                                   &(struct journal_replay_opts){
                                       .shard = s, .shards = shards, .apply = on_routed, .ctx = &r},
                                   &w.why),
                RC_OK);
            units += r.units;
            assert_int_equal(r.all, shards == 3 ? 10 : 30);
        }
        assert_int_equal(units, 2970);
        jworld_abandon(&w);
    }
    jworld_free(&w);
}

static bool stop_at_once(void *ctx, const struct journal_unit *u)
{
    (void)ctx;
    (void)u;
    return false;
}

static void test_apply_may_refuse(void **state)
{
    (void)state;
    struct jworld w;
    struct jmodel m = {0};
    open_world(&w, 3, 1, JOURNAL_NO);
    jmodel_add_run(&m, 1);
    jmodel_append(&m, &w, 0, 10, 0, 0, false);
    jworld_close(&w, true);
    reopen(&w, 1);
    assert_int_equal(
        journal_set_replay(w.set, w.io,
                           &(struct journal_replay_opts){
                               .shard = 0, .shards = 1, .apply = stop_at_once, .ctx = NULL},
                           &w.why),
        RC_CORRUPT);
    assert_true(w.why.len > 0);
    jworld_free(&w);
    jmodel_free(&m);
}

static void test_lock_and_ids(void **state)
{
    (void)state;
    struct jworld w;
    open_world(&w, 3, 1, JOURNAL_NO);
    struct journal_opts opts = jworld_opts(&w, 1);
    struct journal_set *set = NULL;
    assert_int_equal(journal_set_open(&opts, w.io, &set, &w.why), RC_LOCKED);
    jworld_close(&w, true);
    opts.node_id[0] ^= 1;
    assert_int_equal(journal_set_open(&opts, w.io, &set, &w.why), RC_INVALID);
    memset(opts.node_id, 0, sizeof opts.node_id);
    assert_int_equal(journal_set_open(&opts, w.io, &set, &w.why), RC_OK);
    journal_set_close(set);
    opts.segment_bytes = 5000;
    assert_int_equal(journal_set_open(&opts, w.io, &set, &w.why), RC_INVALID);
    jworld_free(&w);
}

static void test_policies(void **state)
{
    (void)state;
    struct jworld w;
    struct jmodel m = {0};
    open_world(&w, 5, 1, JOURNAL_EVERYSEC);
    struct journal *j = w.log[0].j;
    jmodel_add_run(&m, 1);
    jmodel_append(&m, &w, 0, 100, 0, 0, false);
    assert_true(jworld_settle(&w, 1100000)); /* the tick comes within a second */
    journal_set_fsync(j, JOURNAL_NO);
    jmodel_append(&m, &w, 0, 100, 0, 0, false);
    assert_false(jworld_settle(&w, 3000000));
    struct journal_stats stats;
    journal_stats_read(j, &stats);
    assert_int_equal(stats.gathered_bytes, 0);
    assert_true(stats.durable_lsn < stats.lsn);
    assert_false(stats.direct);
    journal_set_fsync(j, JOURNAL_ALWAYS);
    assert_true(jworld_settle(&w, 10000));
    jmodel_append(&m, &w, 0, 100, 0, 0, false);
    assert_true(jworld_settle(&w, 10000)); /* on a buffered segment: by write and sync */
    for (uint32_t i = 0; i < 400;
         i++) { /* until the segments that were prepared buffered are used up */
        jmodel_append(&m, &w, 0, 1000, 0, 0, false);
        assert_true(jworld_settle(&w, 100000));
    }
    journal_stats_read(j, &stats);
    assert_true(stats.direct);
    journal_set_fsync(j, JOURNAL_EVERYSEC); /* a direct segment stays direct */
    jmodel_append(&m, &w, 0, 1000, 0, 0, false);
    journal_pass(j, 0);
    journal_stats_read(j, &stats);
    assert_int_equal(stats.gathered_bytes,
                     0); /* with the kernel at the end of the pass, as in any other */
    jmodel_append(&m, &w, 0, 7000, 0, 0, false);
    assert_true(jworld_settle(&w, 1100000));
    assert_int_equal(m.run[0].log[0].count, stats.units + 1);
    jworld_close(&w, false);
    reopen(&w, 1);
    check_counts(&w, &m);
    jworld_free(&w);
    jmodel_free(&m);
}

/* What was begun under `always` is not with the kernel yet, and what gathers behind it neither: who tells of it goes on
 * waiting. */
static void test_a_write_is_under_way_when_always_ends(void **state)
{
    (void)state;
    struct jworld w;
    struct jmodel m = {0};
    open_world(&w, 6, 1, JOURNAL_ALWAYS);
    struct journal *j = w.log[0].j;
    jmodel_add_run(&m, 1);
    jmodel_append(&m, &w, 0, 100, 0, 0, false);
    assert_true(jworld_settle(&w, 100000));
    assert_true(journal_makes_wait(j));
    uint64_t before = journal_safe_lsn(j);
    jmodel_append(&m, &w, 0, 100, 0, 0, false);
    journal_pass(j, 0);
    uint64_t first = journal_lsn(j);
    journal_set_fsync(j, JOURNAL_NO);
    assert_true(journal_makes_wait(j));
    assert_int_equal(journal_safe_lsn(j), before);
    jmodel_append(&m, &w, 0, 100, 0, 0, false);
    journal_pass(j, 0);
    uint64_t second = journal_lsn(j);
    assert_int_equal(journal_safe_lsn(j), before);
    while (journal_makes_wait(j)) {
        assert_true(journal_safe_lsn(j) < second);
        jworld_turn(&w, 1000);
    }
    assert_true(journal_safe_lsn(j) >= second);
    assert_true(first < second);
    jmodel_append(&m, &w, 0, 100, 0, 0, false);
    journal_pass(j, 0);
    assert_false(journal_makes_wait(j)); /* the level of now: the kernel had it at once */
    jworld_close(&w, false);
    reopen(&w, 1);
    check_counts(&w, &m);
    jworld_free(&w);
    jmodel_free(&m);
}

/* More than the bound is waiting for the disk: writers are asked to wait, and are let in again. */
static void test_backlog_is_bounded(void **state)
{
    (void)state;
    struct jworld w;
    jworld_init(
        &w, io_sim_new(2, &(struct io_sim_opts){.delay_us_min = 3000000, .delay_us_max = 3000000}));
    assert_int_equal(jworld_recover(&w, 1), RC_OK);
    assert_int_equal(jworld_start(&w), RC_OK);
    struct jmodel m = {0};
    jmodel_add_run(&m, 1);
    uint32_t count = 0;
    enum rc rc = RC_OK;
    while (count < 1000 && (rc = journal_reserve(w.log[0].j, 100000)) == RC_OK) {
        jmodel_append(&m, &w, 0, 99000, 0, 0, false);
        if (++count % 10 == 0) jworld_turn(&w, 0);
    }
    assert_int_equal(rc, RC_AGAIN);
    assert_in_range((uint64_t)count * 99000, JOURNAL_GATHER_BYTES_MAX,
                    JOURNAL_GATHER_BYTES_MAX + (4u << 20));
    jworld_turn(&w, 0);
    assert_false(w.log[0].refusing); /* waiting is no refusal */
    assert_true(jworld_settle(&w, UINT64_MAX / 4000));
    assert_int_equal(journal_reserve(w.log[0].j, 100000), RC_OK);
    jworld_close(&w, true);
    reopen(&w, 1);
    check_counts(&w, &m);
    jworld_free(&w);
    jmodel_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_clean_stop_continues_the_generation),
        cmocka_unit_test(test_txids_of_before_are_known),
        cmocka_unit_test(test_large_units_and_groups),
        cmocka_unit_test(test_group_is_durable_as_one),
        cmocka_unit_test(test_leftovers_go),
        cmocka_unit_test(test_frames_name_the_cut),
        cmocka_unit_test(test_frames_name_no_cut_in_their_middle),
        cmocka_unit_test(test_replay_routes_by_slot),
        cmocka_unit_test(test_apply_may_refuse),
        cmocka_unit_test(test_lock_and_ids),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_a_write_is_under_way_when_always_ends),
        cmocka_unit_test(test_backlog_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
