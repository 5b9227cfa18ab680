/* Sets: every command, option and error, as Redis 7.4 answers. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"

#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define NOT_POSITIVE "-ERR value is out of range, must be positive\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"

static void forget(struct fixture *f)
{
    (void)fixture_log(f);
    (void)fixture_events(f);
}

/* "s" is a string, to be the wrong type; "t": a b c. */
static struct fixture *start(void)
{
    struct fixture *f = fixture_new(&set_cmds, &string_cmds, &keys_cmds);
    expect(f, "+OK\r\n", "SET", "s", "1");
    expect(f, ":3\r\n", "SADD", "t", "a", "b", "c");
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

static void fill(struct fixture *f, const char *key, const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        char member[80];
        snprintf(member, sizeof member, "%s%d", prefix, i);
        (void)run(f, "SADD", key, member);
    }
    forget(f);
}

static void test_add(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":2\r\n", "SADD", "n", "1", "2", "1");
    expect_log(f, "SADD n 1 2 1\n");
    expect_events(f, "sadd n\n");
    expect(f, ":0\r\n", "SADD", "n", "1", "2");
    expect_log(f, "");
    expect_events(f, "");
    expect_encoding(f, "n", "intset");
    expect(f, ":1\r\n", "SADD", "n", "x");
    expect_encoding(f, "n", "listpack");
    fill(f, "n", "m", 126);
    expect_encoding(f, "n", "hashtable");
    expect(f, ":129\r\n", "SCARD", "n");
    fill(f, "i", "", 512);
    expect_encoding(f, "i", "intset");
    fill(f, "i", "", 513);
    expect_encoding(f, "i", "hashtable");
    expect(f, WRONGTYPE, "SADD", "s", "x");
    expect(f, ARITY("sadd"), "SADD", "t");
    fixture_free(f);
}

static void test_rem(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":2\r\n", "SREM", "t", "a", "x", "b", "a");
    expect_log(f, "SREM t a x b a\n");
    expect_events(f, "srem t\n");
    expect(f, ":0\r\n", "SREM", "t", "a");
    expect(f, ":0\r\n", "SREM", "none", "a");
    expect_log(f, "");
    expect_events(f, "");
    expect(f, ":1\r\n", "SREM", "t", "c");
    expect_log(f, "SREM t c\n");
    expect_events(f, "srem t\ndel t\n");
    assert_null(record_of(f, "t"));
    expect(f, WRONGTYPE, "SREM", "s", "x");
    expect(f, ARITY("srem"), "SREM", "t");
    fixture_free(f);
}

static void test_asked(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":3\r\n", "SCARD", "t");
    expect(f, ":0\r\n", "SCARD", "none");
    expect(f, ":1\r\n", "SISMEMBER", "t", "a");
    expect(f, ":0\r\n", "SISMEMBER", "t", "x");
    expect(f, ":0\r\n", "SISMEMBER", "none", "x");
    expect(f, "*3\r\n:1\r\n:0\r\n:1\r\n", "SMISMEMBER", "t", "a", "x", "c");
    expect(f, "*1\r\n:0\r\n", "SMISMEMBER", "none", "a");
    expect(f, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "SMEMBERS", "t");
    expect(f, "*0\r\n", "SMEMBERS", "none");
    f->proto = 3;
    expect(f, "~3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "SMEMBERS", "t");
    expect(f, "~0\r\n", "SMEMBERS", "none");
    f->proto = 2;
    expect(f, WRONGTYPE, "SCARD", "s");
    expect(f, WRONGTYPE, "SISMEMBER", "s", "a");
    expect(f, WRONGTYPE, "SMISMEMBER", "s", "a");
    expect(f, WRONGTYPE, "SMEMBERS", "s");
    expect(f, ARITY("smismember"), "SMISMEMBER", "t");
    fixture_free(f);
}

/* ---- SMOVE */

static void test_move(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "SMOVE", "t", "u", "a");
    expect_log(f, "SADD u a\nSREM t a\n");
    expect_events(f, "srem t\nsadd u\n");
    expect(f, ":0\r\n", "SMOVE", "t", "u", "a"); /* it is not there any more */
    expect(f, ":0\r\n", "SMOVE", "none", "u", "a");
    expect(f, ":1\r\n", "SMOVE", "u", "u", "a"); /* nothing changes */
    expect(f, ":0\r\n", "SMOVE", "u", "u", "x");
    expect_log(f, "");
    expect_events(f, "");
    expect(f, ":1\r\n", "SADD", "u", "b");
    forget(f);
    expect(f, ":1\r\n", "SMOVE", "t", "u", "b"); /* the destination has it already */
    expect_log(f, "SREM t b\n");
    expect_events(f, "srem t\n");
    expect(f, ":1\r\n", "SMOVE", "t", "u", "c"); /* the last one */
    expect_log(f, "SADD u c\nSREM t c\n");
    expect_events(f, "srem t\ndel t\nsadd u\n");
    assert_null(record_of(f, "t"));
    expect(f, ":3\r\n", "SCARD", "u");
    expect(f, ":1\r\n", "SADD", "n", "5");
    expect(f, ":1\r\n", "SMOVE", "n", "m", "5");
    expect_encoding(f, "m", "intset");
    fixture_free(f);
}

static void test_move_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, WRONGTYPE, "SMOVE", "s", "t", "a");
    expect(f, WRONGTYPE, "SMOVE", "t", "s", "a");
    expect(f, WRONGTYPE, "SMOVE", "t", "s", "x"); /* though it is not there */
    expect(f, WRONGTYPE, "SMOVE", "s", "s", "x");
    expect(f, ":0\r\n", "SMOVE", "none", "s", "a"); /* no source: nobody looks further */
    expect(f, ARITY("smove"), "SMOVE", "t", "u");
    expect_log(f, "");
    expect_events(f, "");
    fixture_free(f);
}

static void test_move_and_time(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "SADD", "u", "x");
    expect(f, ":1\r\n", "PEXPIRE", "u", "100");
    expect(f, ":1\r\n", "PEXPIRE", "t", "200");
    expect(f, ":1\r\n", "SMOVE", "t", "u", "a"); /* both keep theirs */
    expect(f, ":100\r\n", "PTTL", "u");
    expect(f, ":200\r\n", "PTTL", "t");
    fixture_advance(f, 100);
    forget(f);
    expect(f, ":1\r\n", "SMOVE", "t", "u", "b");
    expect_log(f, "DEL u\nSADD u b\nSREM t b\n");
    expect_events(f, "expired u\nsrem t\nsadd u\n");
    expect(f, ":-1\r\n", "PTTL", "u");
    fixture_advance(f, 100);
    forget(f);
    expect(f, ":0\r\n", "SMOVE", "t", "u", "c");
    expect_log(f, "DEL t\n");
    expect(f, ":1\r\n", "SCARD", "u");
    fixture_free(f);
}

static void test_move_without_memory(void **state)
{
    (void)state;
    struct fixture *f = start();
    char longish[101];
    memset(longish, 'l', sizeof longish - 1);
    longish[sizeof longish - 1] = 0;
    for (int exists = 0; exists < 2; exists++) {
        bool fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            char from[32], to[32];
            snprintf(from, sizeof from, "f%d:%u", exists, nth);
            snprintf(to, sizeof to, "t%d:%u", exists, nth);
            expect(f, ":2\r\n", "SADD", from, longish, "stays");
            if (exists) expect(f, ":2\r\n", "SADD", to, "1", "2");
            mem_fault_arm(nth);
            struct bytes wire = run(f, "SMOVE", from, to, longish);
            fired = mem_fault_disarm();
            bool moved = wire.data[0] == ':';
            if (!moved) assert_memory_equal(wire.data, "-OOM", 4);
            if (!fired) assert_true(moved);
            expect(f, moved ? ":0\r\n" : ":1\r\n", "SISMEMBER", from, longish); /* never in both */
            expect(f, moved ? ":1\r\n" : ":0\r\n", "SISMEMBER", to, longish);
            assert_true(nth < 100);
        }
    }
    fixture_free(f);
}

/* ---- drawing */

static void test_pop(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "SADD", "one", "x");
    forget(f);
    expect(f, "$1\r\nx\r\n", "SPOP", "one");
    expect_log(f, "SREM one x\n");
    expect_events(f, "spop one\ndel one\n");
    expect(f, "$-1\r\n", "SPOP", "one");
    expect(f, "*0\r\n", "SPOP", "one", "2");
    expect(f, "*0\r\n", "SPOP", "t", "0");
    expect_log(f, "");
    struct bytes wire = run(f, "SPOP", "t", "2");
    assert_memory_equal(wire.data, "*2\r\n", 4);
    expect(f, ":1\r\n", "SCARD", "t");
    expect_events(f, "spop t\n");
    fill(f, "m", "m", 1000);
    wire = run(f, "SPOP", "m", "700");
    assert_memory_equal(wire.data, "*700\r\n", 6);
    expect(f, ":300\r\n", "SCARD", "m");
    forget(f);
    f->proto = 3;
    wire = run(f, "SPOP", "m", "300");
    assert_memory_equal(wire.data, "~300\r\n", 6);
    expect_log(f, "DEL m\n");
    expect_events(f, "spop m\ndel m\n");
    expect(f, "~0\r\n", "SPOP", "m", "1");
    expect(f, "_\r\n", "SPOP", "m");
    fixture_upkeep(f);
    fixture_free(f);
}

static void test_pop_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NOT_POSITIVE, "SPOP", "t", "-1");
    expect(f, NOT_POSITIVE, "SPOP", "s", "x");
    expect(f, SYNTAX, "SPOP", "t", "1", "2");
    expect(f, WRONGTYPE, "SPOP", "s");
    expect(f, WRONGTYPE, "SPOP", "s", "0");
    fixture_free(f);
}

static void test_randmember(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "SADD", "one", "x");
    forget(f);
    expect(f, "$1\r\nx\r\n", "SRANDMEMBER", "one");
    expect(f, "*1\r\n$1\r\nx\r\n", "SRANDMEMBER", "one", "5");
    expect(f, "*2\r\n$1\r\nx\r\n$1\r\nx\r\n", "SRANDMEMBER", "one", "-2");
    expect(f, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "SRANDMEMBER", "t", "3");
    expect(f, "*0\r\n", "SRANDMEMBER", "t", "0");
    expect(f, "$-1\r\n", "SRANDMEMBER", "none");
    expect(f, "*0\r\n", "SRANDMEMBER", "none", "3");
    expect(f, NOT_INT, "SRANDMEMBER", "s", "x");
    expect(f, SYNTAX, "SRANDMEMBER", "t", "1", "2");
    expect(f, WRONGTYPE, "SRANDMEMBER", "s", "1");
    expect(f, "-ERR value is out of range, a count below -16777216 is refused\r\n", "SRANDMEMBER",
           "t", "-16777217");
    expect_log(f, "");
    expect_events(f, "");
    fixture_free(f);
}

static void test_scan(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "SSCAN", "t", "0");
    expect(f, "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n", "SSCAN", "t", "0", "MATCH", "[b]", "COUNT",
           "1");
    expect(f, "*2\r\n$1\r\n0\r\n*0\r\n", "SSCAN", "none", "0");
    expect(f, "-ERR invalid cursor\r\n", "SSCAN", "t", "x");
    expect(f, WRONGTYPE, "SSCAN", "s", "0");
    expect(f, SYNTAX, "SSCAN", "t", "0", "COUNT", "0");
    expect(f, SYNTAX, "SSCAN", "t", "0", "NOSUCH");
    fixture_free(f);
}

static void test_add_without_memory(void **state)
{
    (void)state;
    struct fixture *f = start();
    char longish[101];
    memset(longish, 'l', sizeof longish - 1);
    longish[sizeof longish - 1] = 0;
    for (int exists = 0; exists < 2; exists++) {
        bool fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            char key[32];
            snprintf(key, sizeof key, "k%d:%u", exists, nth);
            if (exists) expect(f, ":2\r\n", "SADD", key, "1", "2");
            mem_fault_arm(nth);
            struct bytes wire = run(f, "SADD", key, "3", "x", longish, "4"); /* all encodings */
            fired = mem_fault_disarm();
            if (!fired) assert_memory_equal(wire.data, ":4", 2);
            if (wire.data[0] == '-') assert_memory_equal(wire.data, "-OOM", 4);
            assert_true(nth < 200);
        }
    }
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_rem),
        cmocka_unit_test(test_asked),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_move_errors),
        cmocka_unit_test(test_move_and_time),
        cmocka_unit_test(test_move_without_memory),
        cmocka_unit_test(test_pop),
        cmocka_unit_test(test_pop_errors),
        cmocka_unit_test(test_randmember),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_add_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
