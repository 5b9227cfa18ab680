/* SINTER, SUNION, SDIFF and their relatives, as Redis 7.4 answers. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"

#define SYNTAX "-ERR syntax error\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"

static void forget(struct fixture *f)
{
    (void)fixture_log(f);
    (void)fixture_events(f);
}

/* "s" is a string; "abc", "bcd", "cde" are sets of letters, "n4", "n6" of the numbers below. */
static struct fixture *start(void)
{
    struct fixture *f = fixture_new(&set_algebra_cmds, &set_cmds, &string_cmds, &keys_cmds);
    expect(f, "+OK\r\n", "SET", "s", "1");
    expect(f, ":3\r\n", "SADD", "abc", "a", "b", "c");
    expect(f, ":3\r\n", "SADD", "bcd", "b", "c", "d");
    expect(f, ":3\r\n", "SADD", "cde", "c", "d", "e");
    expect(f, ":4\r\n", "SADD", "n4", "0", "1", "2", "3");
    expect(f, ":6\r\n", "SADD", "n6", "0", "1", "2", "3", "4", "5");
    forget(f);
    return f;
}

static const struct record *record_of(struct fixture *f, const char *key)
{
    struct db_key k = db_key(f->db, bytes_of(key));
    return db_find(f->core.ks, &k);
}

static void expect_encoding(struct fixture *f, const char *key, const char *encoding)
{
    assert_string_equal(value_encoding_name(record_of(f, key)), encoding);
}

/* "m0" … or "0" … */
static void fill(struct fixture *f, const char *key, const char *prefix, int from, int to)
{
    for (int i = from; i < to; i++) {
        char member[80];
        snprintf(member, sizeof member, "%s%d", prefix, i);
        (void)run(f, "SADD", key, member);
    }
    forget(f);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* The reply's members in alphabetic order, without anything between. They are one letter or digit long. */
#define expect_members(f, members, ...)                                                            \
    assert_string_equal(members_of((f), run((f), __VA_ARGS__)), (members))
static const char *members_of(struct fixture *f, struct bytes wire)
{
    static char text[64][2];
    static char joined[65];
    assert_true(wire.len > 3);
    assert_int_equal(wire.data[0], f->proto == 3 ? '~' : '*');
    int count = atoi((const char *)wire.data + 1);
    assert_true(count < 64);
    const char *p = strchr((const char *)wire.data, '\n') + 1;
    for (int i = 0; i < count; i++, p += 7) {
        assert_memory_equal(p, "$1\r\n", 4);
        text[i][0] = p[4];
    }
    assert_ptr_equal(p, wire.data + wire.len);
    qsort(text, (size_t)count, sizeof text[0], by_text);
    for (int i = 0; i < count; i++)
        joined[i] = text[i][0];
    joined[count] = 0;
    return joined;
}

static void test_read(void **state)
{
    (void)state;
    struct fixture *f = start();
    for (f->proto = 2; f->proto <= 3; f->proto++) {
        expect_members(f, "c", "SINTER", "abc", "bcd", "cde");
        expect_members(f, "bc", "SINTER", "abc", "bcd");
        expect_members(f, "abc", "SINTER", "abc");
        expect_members(f, "abc", "SINTER", "abc", "abc");
        expect_members(f, "", "SINTER", "abc", "none", "bcd");
        expect_members(f, "", "SINTER", "none");
        expect_members(f, "", "SINTER", "abc", "n4");
        expect_members(f, "0123", "SINTER", "n6", "n4");
        expect_members(f, "abcde", "SUNION", "abc", "bcd", "cde");
        expect_members(f, "0123abc", "SUNION", "abc", "none", "n4");
        expect_members(f, "012345", "SUNION", "n4", "n6", "n4");
        expect_members(f, "", "SUNION", "none", "none");
        expect_members(f, "a", "SDIFF", "abc", "bcd", "cde");
        expect_members(f, "ab", "SDIFF", "abc", "cde");
        expect_members(f, "", "SDIFF", "none", "abc");
        expect_members(f, "", "SDIFF", "abc", "none", "abc");
        expect_members(f, "abc", "SDIFF", "abc", "none");
        expect_members(f, "45", "SDIFF", "n6", "n4");
        expect_members(f, "", "SDIFF", "n4", "n6");
    }
    expect_log(f, "");
    expect_events(f, "");
    fixture_free(f);
}

/* Members that are numbers never become text on the way. */
static void test_numbers(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":3\r\n", "SADD", "n", "-9223372036854775808", "3", "9223372036854775807");
    expect(f, "*2\r\n$20\r\n-9223372036854775808\r\n$19\r\n9223372036854775807\r\n", "SDIFF", "n",
           "n4");
    expect(f, "*1\r\n$1\r\n3\r\n", "SINTER", "n", "n4");
    expect(f, ":1\r\n", "SADD", "n4", "x"); /* a listpack now */
    expect(f, "*1\r\n$1\r\n3\r\n", "SINTER", "n", "n4");
    fill(f, "n4", "y", 0, 200); /* a table */
    expect(f, "*1\r\n$1\r\n3\r\n", "SINTER", "n", "n4");
    expect(f, "*1\r\n$1\r\n3\r\n", "SINTER", "n4", "n");
    fixture_free(f);
}

static void test_card(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":4\r\n", "SINTERCARD", "2", "n4", "n6");
    expect(f, ":4\r\n", "SINTERCARD", "2", "n4", "n6", "LIMIT", "0");
    expect(f, ":3\r\n", "SINTERCARD", "2", "n4", "n6", "limit", "3");
    expect(f, ":4\r\n", "SINTERCARD", "2", "n4", "n6", "LIMIT", "9");
    expect(f, ":1\r\n", "SINTERCARD", "2", "n4", "n6", "LIMIT", "9", "LIMIT", "1");
    expect(f, ":3\r\n", "SINTERCARD", "1", "abc");
    expect(f, ":0\r\n", "SINTERCARD", "2", "abc", "none");
    expect(f, ":0\r\n", "SINTERCARD", "2", "abc", "n4", "LIMIT", "1");
    fixture_free(f);
}

static void test_card_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    static const char numkeys[] = "-ERR numkeys should be greater than 0\r\n";
    static const char limit[] = "-ERR LIMIT can't be negative\r\n";
    expect(f, numkeys, "SINTERCARD", "0", "s");
    expect(f, numkeys, "SINTERCARD", "-1", "s");
    expect(f, numkeys, "SINTERCARD", "x", "s");
    expect(f, numkeys, "SINTERCARD", "9223372036854775808", "s");
    expect(f, "-ERR Number of keys can't be greater than number of args\r\n", "SINTERCARD", "3",
           "a", "b");
    expect(f, "-ERR Number of keys can't be greater than number of args\r\n", "SINTERCARD",
           "9223372036854775807", "a");
    expect(f, SYNTAX, "SINTERCARD", "1", "s", "t");
    expect(f, SYNTAX, "SINTERCARD", "1", "s", "LIMIT");
    expect(f, SYNTAX, "SINTERCARD", "1", "s", "LIMIT", "1", "x");
    expect(f, limit, "SINTERCARD", "1", "s", "LIMIT", "-1", "x");
    expect(f, limit, "SINTERCARD", "1", "s", "LIMIT", "x");
    expect(f, WRONGTYPE, "SINTERCARD", "2", "none", "s", "LIMIT", "1");
    expect(f, ARITY("sintercard"), "SINTERCARD", "1");
    fixture_free(f);
}

static void test_errors(void **state)
{
    (void)state;
    static const char *const reads[] = {"SINTER", "SUNION", "SDIFF"};
    static const char *const stores[] = {"SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"};
    struct fixture *f = start();
    for (size_t i = 0; i < COUNT_OF(reads); i++) {
        expect(f, WRONGTYPE, reads[i], "s");
        expect(f, WRONGTYPE, reads[i], "none", "s"); /* whatever the result must be */
        expect(f, WRONGTYPE, reads[i], "abc", "s");
        expect(f, WRONGTYPE, stores[i], "d", "none", "s");
        expect(f, WRONGTYPE, stores[i], "abc", "abc", "s");
    }
    expect(f, ARITY("sinter"), "SINTER");
    expect(f, ARITY("sunion"), "SUNION");
    expect(f, ARITY("sdiff"), "SDIFF");
    expect(f, ARITY("sinterstore"), "SINTERSTORE", "d");
    expect(f, ARITY("sunionstore"), "SUNIONSTORE", "d");
    expect(f, ARITY("sdiffstore"), "SDIFFSTORE", "d");
    expect_log(f, "");
    expect_events(f, "");
    assert_null(record_of(f, "d"));
    fixture_free(f);
}

/* ---- stored */

static void test_store(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "SINTERSTORE", "d", "abc", "bcd", "cde");
    expect_log(f, "SADD d c\n");
    expect_events(f, "sinterstore d\n");
    expect(f, ":5\r\n", "SUNIONSTORE", "d", "abc", "bcd", "cde"); /* over what it held */
    expect_log(f, "DEL d\nSADD d a b c d e\n");
    expect_events(f, "sunionstore d\n");
    expect_members(f, "abcde", "SMEMBERS", "d");
    expect(f, ":2\r\n", "SDIFFSTORE", "d", "n6", "n4");
    expect_log(f, "DEL d\nSADD d 4 5\n");
    expect_events(f, "sdiffstore d\n");
    expect_encoding(f, "d", "intset");
    expect(f, ":3\r\n", "SUNIONSTORE", "s", "abc"); /* over another type */
    expect_log(f, "DEL s\nSADD s a b c\n");
    expect_encoding(f, "s", "listpack");
    fixture_free(f);
}

/* A small set keeps the order in which its members came: that of the arguments, as in Redis. */
static void test_store_order(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "SADD", "z", "z");
    expect(f, ":4\r\n", "SUNIONSTORE", "d", "z", "none", "bcd", "z");
    expect(f, "*4\r\n$1\r\nz\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n", "SMEMBERS", "d");
    expect(f, ":5\r\n", "SUNIONSTORE", "d", "cde", "abc");
    expect(f, "*5\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\na\r\n$1\r\nb\r\n", "SMEMBERS", "d");
    fixture_free(f);
}

static void test_store_onto_a_source(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":2\r\n", "SINTERSTORE", "abc", "abc", "bcd");
    expect_members(f, "bc", "SMEMBERS", "abc");
    expect(f, ":4\r\n", "SUNIONSTORE", "bcd", "cde", "bcd");
    expect_members(f, "bcde", "SMEMBERS", "bcd");
    expect(f, ":1\r\n", "SDIFFSTORE", "abc", "abc", "cde");
    expect_members(f, "b", "SMEMBERS", "abc");
    forget(f);
    expect(f, ":0\r\n", "SDIFFSTORE", "abc", "abc", "abc");
    expect_log(f, "DEL abc\n");
    expect_events(f, "del abc\n");
    assert_null(record_of(f, "abc"));
    fixture_free(f);
}

static void test_store_nothing(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":0\r\n", "SINTERSTORE", "d", "abc", "none");
    expect(f, ":0\r\n", "SUNIONSTORE", "d", "none");
    expect(f, ":0\r\n", "SDIFFSTORE", "d", "none", "abc");
    expect_log(f, "");
    expect_events(f, "");
    expect(f, ":0\r\n", "SINTERSTORE", "s", "abc", "n4"); /* a destination of any type goes */
    expect_log(f, "DEL s\n");
    expect_events(f, "del s\n");
    assert_null(record_of(f, "s"));
    fixture_free(f);
}

static void test_store_and_time(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "PEXPIRE", "abc", "100");
    expect(f, ":1\r\n", "PEXPIRE", "bcd", "100");
    expect(f, ":3\r\n", "SUNIONSTORE", "d", "abc"); /* members go over, the time to live does not */
    expect(f, ":-1\r\n", "PTTL", "d");
    expect(f, ":3\r\n", "SUNIONSTORE", "bcd", "cde");
    expect(f, ":-1\r\n", "PTTL", "bcd");
    fixture_advance(f, 100);
    forget(f);
    expect(f, ":0\r\n", "SINTERSTORE", "d", "abc", "d"); /* a source that has expired */
    expect_log(f, "DEL abc\nDEL d\n");
    expect_events(f, "expired abc\ndel d\n");
    expect(f, ":1\r\n", "PEXPIRE", "cde", "100");
    fixture_advance(f, 100);
    forget(f);
    expect(f, ":4\r\n", "SUNIONSTORE", "cde", "n4"); /* a destination that has */
    expect_log(f, "DEL cde\nSADD cde 0 1 2 3\n");
    expect_events(f, "expired cde\nsunionstore cde\n");
    fixture_free(f);
}

static uint64_t slot_bytes(const struct fixture *f, const char *key)
{
    struct db_slot_stats s;
    db_slot_stats(f->core.ks, slot_of_key(bytes_of(key)), &s);
    return s.bytes;
}

/* A result is made before its slot is opened; the slot counts it all the same. */
static void test_store_counts_bytes(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "m3000", "member", 0, 3000);
    for (int i = 0; i < 2; i++) { /* anew, and in place of itself */
        expect(f, ":3000\r\n", "SUNIONSTORE", "d", "m3000");
        assert_in_range(slot_bytes(f, "d"), slot_bytes(f, "m3000") / 2, slot_bytes(f, "m3000") * 2);
    }
    expect(f, ":3\r\n", "SUNIONSTORE", "d", "abc");
    assert_in_range(slot_bytes(f, "d"), 20, 200);
    expect(f, ":1\r\n", "DEL", "d");
    assert_int_equal(slot_bytes(f, "d"), 0);
    fixture_upkeep(f);
    fixture_free(f);
}

/* The encodings of Redis 7.4, which follow from the result, but for a difference that is made by copying. */
static void test_store_encodings(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "i600", "", 0, 600);
    fill(f, "i512", "", 0, 512);
    fill(f, "m200", "m", 0, 200);
    fill(f, "one", "", 0, 1);
    expect(f, ":600\r\n", "SUNIONSTORE", "d", "i600");
    expect_encoding(f, "d", "hashtable");
    expect(f, ":512\r\n", "SINTERSTORE", "d", "i600", "i512");
    expect_encoding(f, "d", "intset");
    expect(f, ":200\r\n", "SUNIONSTORE", "d", "m200");
    expect_encoding(f, "d", "hashtable");
    expect(f, ":7\r\n", "SUNIONSTORE", "d", "abc", "n4");
    expect_encoding(f, "d", "listpack");
    expect(f, ":515\r\n", "SUNIONSTORE", "d", "abc", "i512");
    expect_encoding(f, "d", "hashtable");
    expect(f, ":88\r\n", "SDIFFSTORE", "d", "i600", "i512");
    expect_encoding(f, "d", "intset");
    expect(f, ":1\r\n", "SADD", "m200", "0");
    expect(f, ":1\r\n", "SINTERSTORE", "d", "m200", "i600");
    expect_encoding(f, "d", "intset");
    /* 201 * 4 / 2 > 201 + 3: Redis copies and removes; what is left is a table still. */
    expect(f, ":200\r\n", "SDIFFSTORE", "d", "m200", "one", "one", "one");
    expect_encoding(f, "d", "hashtable");
    fill(f, "m100", "m", 0, 100);
    expect(f, ":101\r\n", "SDIFFSTORE", "d", "m200", "m100", "none");
    expect_encoding(f, "d", "listpack");
    fixture_upkeep(f);
    fixture_free(f);
}

/* Many sets, of which most are too small to be asked one by one. */
static void test_many_sets(void **state)
{
    (void)state;
    struct fixture *f = start();
    char keys[40][16];
    const char *args[43] = {"SUNION"};
    for (int i = 0; i < 40; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        fill(f, keys[i], "", i, i + 3);
        args[i + 1] = keys[i];
    }
    struct bytes wire = fixture_run(f, args);
    assert_memory_equal(wire.data, "*42\r\n", 5);
    const char *store[44] = {"SUNIONSTORE", "u"};
    memcpy(store + 2, args + 1, 40 * sizeof *args);
    fixture_expect(f, ":42\r\n", store, __FILE__, __LINE__);
    args[0] = "SDIFF";
    args[1] = "i600";
    fill(f, "i600", "", 0, 600);
    wire = fixture_run(f, args);
    assert_memory_equal(wire.data, "*559\r\n", 6); /* without 1 … 41 */
    args[0] = "SDIFFSTORE";
    for (int i = 41; i > 1; i--)
        args[i] = args[i - 1];
    args[1] = "d";
    fixture_expect(f, ":559\r\n", args, __FILE__, __LINE__);
    expect(f, ":0\r\n", "SISMEMBER", "d", "41");
    expect(f, ":1\r\n", "SISMEMBER", "d", "42");
    fixture_upkeep(f);
    fixture_free(f);
}

/* ---- without memory */

static void test_no_memory(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "m200", "m", 0, 200);
    fill(f, "m300", "m", 100, 300);
    fill(f, "i600", "", 0, 600);
    static const char *const requests[][6] = {
        {"SUNIONSTORE", "k", "m200", "m300"},
        {"SUNIONSTORE", "k", "abc", "n4"},
        {"SUNIONSTORE", "k", "n4", "i600"},
        {"SINTERSTORE", "k", "m200", "m300"},
        {"SINTERSTORE", "k", "n4", "i600"},
        {"SDIFFSTORE", "k", "m200", "m300"},
        {"SDIFFSTORE", "k", "m200", "abc", "bcd", "cde"},
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        for (int exists = 0; exists < 2; exists++) {
            bool fired = true;
            for (uint32_t nth = 1; fired; nth++) {
                char key[32];
                const char *args[8] = {NULL};
                memcpy(args, requests[i], sizeof requests[i]);
                snprintf(key, sizeof key, "k%zu:%d:%u", i, exists, nth);
                args[1] = key;
                if (exists) expect(f, ":1\r\n", "SADD", key, "old");
                mem_fault_arm(nth);
                struct bytes wire = fixture_run(f, args);
                fired = mem_fault_disarm();
                assert_true(wire.len >= 4);
                if (!fired) assert_int_equal(wire.data[0], ':');
                if (wire.data[0] != '-') continue;
                assert_memory_equal(wire.data, "-OOM", 4);
                expect(f, exists ? ":1\r\n" : ":0\r\n", "SCARD", key); /* as it was */
                assert_true(nth < 2000);
            }
        }
    }
    fixture_upkeep(f);
    fixture_free(f);
}

static void test_read_without_memory(void **state)
{
    (void)state;
    struct fixture *f = start();
    char keys[20][16];
    const char *args[22] = {"SUNION"};
    for (int i = 0; i < 20; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        fill(f, keys[i], "", i, i + 3);
        args[i + 1] = keys[i];
    }
    uint32_t failures = 0;
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        mem_fault_arm(nth);
        struct bytes wire = fixture_run(f, args);
        fired = mem_fault_disarm();
        if (fired) assert_memory_equal(wire.data, "-OOM", 4); /* and nothing before it */
        if (!fired) assert_memory_equal(wire.data, "*22\r\n", 5);
        failures += fired;
    }
    assert_true(failures >= 2);
    fixture_free(f);
}

/* ---- any sequence of changes is what its log replays to */

static void test_random_changes(void **state)
{
    (void)state;
    static const char *const stores[] = {"SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"};
    struct fixture *f = start();
    struct rng rng;
    rng_seed(&rng, 7);
    char key[4][8], member[2][16];
    for (int i = 0; i < 6000; i++) {
        for (int k = 0; k < 4; k++)
            snprintf(key[k], sizeof key[k], "t%d", (int)rng_below(&rng, 5));
        for (int k = 0; k < 2; k++)
            snprintf(member[k], sizeof member[k], rng_below(&rng, 3) ? "%d" : "m%d",
                     (int)rng_below(&rng, 300));
        switch (rng_below(&rng, 30)) {
        case 0:
        case 1:
            (void)run(f, stores[rng_below(&rng, 3)], key[0], key[1], key[2], key[3]);
            break;
        case 2:
            (void)run(f, "SMOVE", key[0], key[1], member[0]);
            break;
        case 3:
            (void)run(f, "SREM", key[0], member[0], member[1]);
            break;
        case 4:
            (void)run(f, "DEL", key[0]);
            break;
        default:
            (void)run(f, "SADD", key[0], member[0], member[1]);
            break;
        }
    }
    fixture_upkeep(f);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_card),
        cmocka_unit_test(test_card_errors),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_store_order),
        cmocka_unit_test(test_store_onto_a_source),
        cmocka_unit_test(test_store_nothing),
        cmocka_unit_test(test_store_and_time),
        cmocka_unit_test(test_store_counts_bytes),
        cmocka_unit_test(test_store_encodings),
        cmocka_unit_test(test_many_sets),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_read_without_memory),
        cmocka_unit_test(test_random_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
