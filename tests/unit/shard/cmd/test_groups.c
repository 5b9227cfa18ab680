/* A crash in the middle of what a command logs leaves all of it or nothing: every command that logs several
 * units, cut after each of them. MULTI and the scheduler build on this, and on core_tx_begin(). */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"
#include "tests/unit/shard/cmd/journal_memory.h"

static uint64_t units(const struct fixture *f)
{
    return journal_lsn(f->core.journal);
}

/* Contents after a crash that left the first `count` units. */
static uint64_t digest_after(struct fixture *f, uint64_t count)
{
    journal_memory_crash(f->set, count);
    uint64_t digest = fixture_replay_digest(f, 1);
    journal_memory_crash(f->set, UINT64_MAX);
    return digest;
}

static void fill(struct fixture *f, const char *command, const char *key, int count)
{
    for (int i = 0; i < count; i++) {
        char member[16], score[16];
        snprintf(member, sizeof member, "m%d", i);
        snprintf(score, sizeof score, "%d", i);
        if (strcmp(command, "SADD") == 0)
            (void)run(f, command, key, member);
        else
            (void)run(f, command, key, score, member);
    }
}

/* Keys of every type, some large, one with a time to live. */
static struct fixture *start(void)
{
    struct fixture *f =
        fixture_new(&string_cmds, &keys_cmds, &hash_cmds, &list_cmds, &set_cmds, &set_algebra_cmds,
                    &zset_cmds, &zset_range_cmds, &zset_algebra_cmds);
    expect(f, "+OK\r\n", "MSET", "s1", "1", "s2", "2", "s3", "3");
    expect(f, ":3\r\n", "RPUSH", "l1", "a", "b", "c");
    expect(f, ":1\r\n", "RPUSH", "l2", "x");
    fill(f, "SADD", "t1", 300);
    expect(f, ":2\r\n", "SADD", "t2", "m1", "x");
    fill(f, "ZADD", "z1", 300);
    expect(f, ":2\r\n", "ZADD", "z2", "1", "m1", "2", "x");
    fill(f, "HSET", "h1", 300);
    expect(f, ":1\r\n", "PEXPIRE", "h1", "1000000");
    expect(f, ":1\r\n", "PEXPIRE", "s3", "1000000");
    return f;
}

static const char *const commands[][8] = {
    {"DEL", "s1", "s2", "l1"},
    {"UNLINK", "t1", "z1"},
    {"MSET", "s1", "new", "l1", "new", "n", "new"},
    {"MSETNX", "n1", "new", "n2", "new"},
    {"RENAME", "s1", "s2"},
    {"RENAME", "h1", "s1"},
    {"RENAMENX", "t1", "n"},
    {"COPY", "h1", "n"},
    {"COPY", "z1", "s1", "REPLACE"},
    {"LMOVE", "l1", "l2", "LEFT", "RIGHT"},
    {"LMOVE", "l2", "l1", "LEFT", "RIGHT"},
    {"LMOVE", "l1", "l1", "LEFT", "RIGHT"},
    {"RPOPLPUSH", "l1", "l2"},
    {"RPOPLPUSH", "l2", "n"},
    {"SMOVE", "t1", "t2", "m5"},
    {"SMOVE", "t2", "n", "x"},
    {"SPOP", "t1", "280"},
    {"SUNIONSTORE", "t2", "t1", "t2"},
    {"SUNIONSTORE", "n", "t1"},
    {"SINTERSTORE", "s1", "t1", "t2"},
    {"SDIFFSTORE", "t1", "t1", "t2"},
    {"ZPOPMIN", "z1", "200"},
    {"ZMPOP", "1", "z1", "MAX", "COUNT", "299"},
    {"ZUNIONSTORE", "z2", "2", "z1", "z2"},
    {"ZINTERSTORE", "l1", "2", "z1", "t1"},
    {"ZDIFFSTORE", "z1", "2", "z1", "z2"},
    {"ZRANGESTORE", "z2", "z1", "0", "-1"},
    {"ZRANGESTORE", "n", "z1", "0", "250"},
};

/* Some lose the last of what their key held: its end is logged by the unit that takes it. */
static void test_all_or_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        struct fixture *f = start();
        uint64_t first = units(f), before = fixture_digest(f);
        struct bytes wire = fixture_run(f, commands[i]);
        assert_int_not_equal(wire.data[0], '-');
        uint64_t last = units(f), after = fixture_digest(f);
        if (last < first + 2)
            fail_msg("%s logs %d units: not for this test", commands[i][0], (int)(last - first));
        assert_true(before != after);
        for (uint64_t cut = first; cut < last; cut++)
            if (digest_after(f, cut) != before)
                fail_msg("%s, cut after %d of %d units: half is there", commands[i][0],
                         (int)(cut - first), (int)(last - first));
        assert_true(digest_after(f, last) == after);
        fixture_upkeep(f);
        fixture_free(f);
    }
}

/* A crash between two commands does show: the harness sees what it is meant to see. */
static void test_between_commands(void **state)
{
    (void)state;
    struct fixture *f = start();
    uint64_t before = fixture_digest(f);
    expect(f, ":1\r\n", "DEL", "s1");
    uint64_t first = units(f), middle = fixture_digest(f);
    expect(f, ":1\r\n", "DEL", "s2");
    assert_true(digest_after(f, first - 1) == before);
    assert_true(digest_after(f, first) == middle);
    assert_true(digest_after(f, first + 1) == fixture_digest(f));
    assert_true(before != middle);
    fixture_free(f);
}

/* Expired keys found on the way are gone whatever becomes of the command. */
static void test_expired_on_the_way(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "PEXPIRE", "t2", "10");
    expect(f, ":1\r\n", "PEXPIRE", "s1", "10");
    fixture_advance(f, 10);
    uint64_t first = units(f);
    expect(f, ":300\r\n", "SUNIONSTORE", "s1", "t1", "t2");
    uint64_t expired = digest_after(f, first + 2);
    for (uint64_t cut = first + 2; cut < units(f); cut++)
        assert_true(digest_after(f, cut) == expired);
    assert_true(digest_after(f, units(f)) == fixture_digest(f));
    fixture_upkeep(f);
    fixture_free(f);
}

/* ---- core_tx_begin: several commands, one group */

static void run_in_tx(struct fixture *f, uint64_t txid, uint64_t mask)
{
    core_tx_begin(&f->core, txid, mask);
    expect(f, ":3\r\n", "DEL", "s1", "s2", "l1"); /* a group of its own elsewhere */
    expect(f, "+OK\r\n", "MSET", "n1", "x", "n2", "y");
    expect(f, "+OK\r\n", "SET", "n1", "z");
    core_tx_end(&f->core);
    journal_pass(f->core.journal, 0);
}

static void test_tx_is_one_group(void **state)
{
    (void)state;
    for (uint64_t txid = 0; txid < 2; txid++) {
        struct fixture *f = start();
        uint64_t first = units(f), before = fixture_digest(f);
        run_in_tx(f, txid * 77, txid * 1);
        uint64_t last = units(f);
        assert_int_equal(last - first, 6);
        for (uint64_t cut = first; cut < last; cut++)
            assert_true(digest_after(f, cut) == before);
        assert_true(digest_after(f, last) == fixture_digest(f));
        for (uint64_t i = first; i < last; i++) {
            struct journal_head head = journal_memory_head(f->set, i);
            assert_int_equal(head.txid, txid * 77);
            assert_int_equal(head.shards_mask, txid);
        }
        expect(f, "+OK\r\n", "SET", "n1", "after");
        assert_int_equal(journal_memory_head(f->set, last).txid, 0);
        fixture_upkeep(f);
        fixture_free(f);
    }
}

/* A part that changed nothing is marked, so that the others are not dropped; EXEC on one shard is not. */
static void test_tx_without_change(void **state)
{
    (void)state;
    struct fixture *f = start();
    uint64_t first = units(f), before = fixture_digest(f);
    core_tx_begin(&f->core, 77, 3);
    expect(f, ":0\r\n", "DEL", "nothing");
    core_tx_end(&f->core);
    assert_int_equal(units(f), first + 1);
    struct journal_head head = journal_memory_head(f->set, first);
    assert_int_equal(head.opcode, OP_TX);
    assert_int_equal(head.txid, 77);
    assert_int_equal(head.shards_mask, 3);
    journal_pass(f->core.journal, 0);
    core_tx_begin(&f->core, 0, 0);
    expect(f, "$1\r\n1\r\n", "GET", "s1");
    core_tx_end(&f->core);
    assert_int_equal(units(f), first + 1);
    for (uint32_t shards = 1; shards <= 3; shards++)
        assert_true(fixture_replay_digest(f, shards) == before);
    fixture_free(f);
}

static void test_tx_without_log(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct journal *j = f->core.journal;
    core_set_journal(&f->core, NULL, false);
    core_tx_begin(&f->core, 77, 3);
    expect(f, "+OK\r\n", "SET", "s1", "9");
    core_tx_end(&f->core);
    expect(f, "+OK\r\n", "SET", "s1", "1");
    core_set_journal(&f->core, j, false);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_or_nothing),     cmocka_unit_test(test_between_commands),
        cmocka_unit_test(test_expired_on_the_way), cmocka_unit_test(test_tx_is_one_group),
        cmocka_unit_test(test_tx_without_change),  cmocka_unit_test(test_tx_without_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
