/* ZUNION, ZINTER, ZDIFF and their relatives, as Redis 7.4 answers. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"

#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"
#define NO_KEYS(name) "-ERR at least 1 input key is needed for '" name "' command\r\n"

static void forget(struct fixture *f)
{
    (void)fixture_log(f);
    (void)fixture_events(f);
}

/* "s" is a string, "a": x 1 y 2, "b": y 10 z 20, "t" the set y z w. */
static struct fixture *start(void)
{
    struct fixture *f = fixture_new(&zset_algebra_cmds, &zset_cmds, &zset_range_cmds, &set_cmds,
                                    &string_cmds, &keys_cmds);
    expect(f, "+OK\r\n", "SET", "s", "1");
    expect(f, ":2\r\n", "ZADD", "a", "1", "x", "2", "y");
    expect(f, ":2\r\n", "ZADD", "b", "10", "y", "20", "z");
    expect(f, ":3\r\n", "SADD", "t", "y", "z", "w");
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

/* Members m<from> … with their number as the score. */
static void fill(struct fixture *f, const char *key, int from, int to)
{
    for (int i = from; i < to; i++) {
        char member[16], score[16];
        snprintf(member, sizeof member, "m%d", i);
        snprintf(score, sizeof score, "%d", i);
        (void)run(f, "ZADD", key, score, member);
    }
    forget(f);
}

/* "x 1 y 12" of a RESP2 reply with scores; all words are short. */
#define expect_pairs(f, text, ...) assert_string_equal(words_of(run((f), __VA_ARGS__)), (text))
static const char *words_of(struct bytes wire)
{
    static char text[512];
    size_t n = 0;
    assert_int_equal(wire.data[0], '*');
    const uint8_t *p = memchr(wire.data, '\n', wire.len), *end = wire.data + wire.len;
    for (p++; p < end; n++) {
        assert_int_equal(*p, '$');
        long len = strtol((const char *)p + 1, NULL, 10);
        p = (const uint8_t *)memchr(p, '\n', (size_t)(end - p)) + 1;
        assert_true(n + (size_t)len + 2 < sizeof text);
        if (n > 0) text[n - 1] = ' ';
        memcpy(text + n, p, (size_t)len);
        n += (size_t)len;
        p += len + 2;
    }
    text[n > 0 ? n - 1 : 0] = 0;
    return text;
}

static void test_read(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect_pairs(f, "x 1 y 12 z 20", "ZUNION", "2", "a", "b", "WITHSCORES");
    expect_pairs(f, "x y z", "ZUNION", "2", "a", "b");
    expect_pairs(f, "y 12", "ZINTER", "2", "a", "b", "WITHSCORES");
    expect_pairs(f, "", "ZINTER", "2", "a", "none");
    expect_pairs(f, "x 1", "ZDIFF", "2", "a", "b", "WITHSCORES");
    expect_pairs(f, "x 1 y 2", "ZDIFF", "2", "a", "none", "withscores");
    expect_pairs(f, "", "ZDIFF", "2", "a", "a");
    expect_pairs(f, "", "ZDIFF", "2", "none", "a");
    expect_pairs(f, "x 2 y 4", "ZUNION", "2", "a", "a", "WITHSCORES");
    expect_pairs(f, "x 2 y 4", "ZINTER", "2", "a", "a", "WITHSCORES");
    expect(f, "*0\r\n", "ZUNION", "1", "none", "WITHSCORES");
    f->proto = 3;
    expect(f, "*2\r\n*2\r\n$1\r\nx\r\n,1\r\n*2\r\n$1\r\ny\r\n,2\r\n", "ZUNION", "1", "a",
           "WITHSCORES");
    expect(f, "*2\r\n$1\r\nx\r\n$1\r\ny\r\n", "ZUNION", "1", "a");
    expect(f, "*1\r\n*2\r\n$1\r\ny\r\n,12\r\n", "ZINTER", "2", "a", "b", "WITHSCORES");
    expect(f, "*0\r\n", "ZDIFF", "1", "none", "WITHSCORES");
    expect_log(f, "");
    expect_events(f, "");
    fixture_free(f);
}

static void test_sets_as_sources(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect_pairs(f, "w 1 x 1 z 1 y 3", "ZUNION", "2", "a", "t", "WITHSCORES");
    expect_pairs(f, "y 11 z 21", "ZINTER", "2", "t", "b", "WITHSCORES");
    expect_pairs(f, "w 1 y 1 z 1", "ZUNION", "1", "t", "WITHSCORES");
    expect_pairs(f, "w 1", "ZDIFF", "2", "t", "b", "WITHSCORES");
    expect_pairs(f, "x 1", "ZDIFF", "2", "a", "t", "WITHSCORES");
    expect(f, ":2\r\n", "ZINTERCARD", "2", "t", "b");
    expect(f, ":2\r\n", "SADD", "n", "1", "2");
    expect(f, ":1\r\n", "ZADD", "p", "5", "2");
    expect_pairs(f, "1 1 2 6", "ZUNION", "2", "n", "p", "WITHSCORES");
    expect_pairs(f, "2 6", "ZINTER", "2", "n", "p", "WITHSCORES");
    expect(f, ":2\r\n", "ZUNIONSTORE", "d", "1", "n");
    expect_encoding(f, "d", "listpack");
    fixture_free(f);
}

static void test_weights(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect_pairs(f, "x 2 y 34 z 60", "ZUNION", "2", "a", "b", "WEIGHTS", "2", "3", "WITHSCORES");
    expect_pairs(f, "x 1 y 2 z 20", "ZUNION", "2", "a", "b", "AGGREGATE", "MIN", "WITHSCORES");
    expect_pairs(f, "x 1 y 10 z 20", "ZUNION", "2", "a", "b", "aggregate", "max", "WITHSCORES");
    expect_pairs(f, "x 2 y 4", "ZUNION", "1", "a", "WEIGHTS", "2", "AGGREGATE", "SUM",
                 "WITHSCORES");
    expect_pairs(f, "y -2 x -1", "ZUNION", "1", "a", "WITHSCORES", "WEIGHTS", "-1");
    expect_pairs(f, "x 0.5 y 1", "ZUNION", "1", "a", "WEIGHTS", "3", "WEIGHTS", "0.5",
                 "WITHSCORES");
    expect_pairs(f, "y 4", "ZINTER", "2", "a", "b", "WEIGHTS", "2", "0.1", "AGGREGATE", "MAX",
                 "WITHSCORES");
    expect(f, ":1\r\n", "ZADD", "inf", "inf", "y");
    expect(f, ":1\r\n", "ZADD", "minus", "-inf", "y");
    expect_pairs(f, "y 0", "ZUNION", "2", "inf", "minus", "WITHSCORES");
    expect_pairs(f, "y 0", "ZINTER", "2", "inf", "minus", "WITHSCORES");
    expect_pairs(f, "y inf", "ZUNION", "2", "inf", "minus", "WEIGHTS", "1", "-1", "WITHSCORES");
    expect_pairs(f, "y 0", "ZUNION", "1", "inf", "WEIGHTS", "0", "WITHSCORES");
    expect_pairs(f, "y inf", "ZUNION", "1", "inf", "WEIGHTS", "inf", "WITHSCORES");
    expect(f, ":1\r\n", "ZADD", "zero", "0", "y");
    expect_pairs(f, "y -0", "ZUNION", "1", "zero", "WEIGHTS", "-1", "WITHSCORES");
    expect(f, ":1\r\n", "ZUNIONSTORE", "d", "1", "zero", "WEIGHTS",
           "-1"); /* a packed one keeps 0 */
    expect(f, "$1\r\n0\r\n", "ZSCORE", "d", "y");
    fixture_free(f);
}

static void test_card(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "big", 0, 200);
    fill(f, "half", 100, 300);
    expect(f, ":100\r\n", "ZINTERCARD", "2", "big", "half");
    expect(f, ":100\r\n", "ZINTERCARD", "2", "big", "half", "LIMIT", "0");
    expect(f, ":7\r\n", "ZINTERCARD", "2", "big", "half", "limit", "7");
    expect(f, ":100\r\n", "ZINTERCARD", "2", "big", "half", "LIMIT", "101");
    expect(f, ":200\r\n", "ZINTERCARD", "2", "big", "big");
    expect(f, ":0\r\n", "ZINTERCARD", "2", "big", "none");
    expect(f, ":1\r\n", "ZINTERCARD", "2", "a", "b", "LIMIT", "5", "LIMIT", "3");
    expect_log(f, "");
    fixture_free(f);
}

/* ---- errors */

static void test_count_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NO_KEYS("zunion"), "ZUNION", "0", "s");
    expect(f, NO_KEYS("zinter"), "ZINTER", "-1", "s");
    expect(f, NO_KEYS("zdiff"), "ZDIFF", "0", "s", "x", "y");
    expect(f, NO_KEYS("zintercard"), "ZINTERCARD", "0", "s");
    expect(f, NO_KEYS("zunionstore"), "ZUNIONSTORE", "d", "0", "s");
    expect(f, NO_KEYS("zinterstore"), "ZINTERSTORE", "d", "-9223372036854775808", "s");
    expect(f, NO_KEYS("zdiffstore"), "ZDIFFSTORE", "d", "0", "s");
    expect(f, NOT_INT, "ZUNION", "x", "s");
    expect(f, NOT_INT, "ZUNIONSTORE", "d", "1.5", "s");
    expect(f, NOT_INT, "ZDIFF", "9223372036854775808", "s");
    expect(f, SYNTAX, "ZUNION", "2", "s"); /* before anybody looks at a key */
    expect(f, SYNTAX, "ZINTERCARD", "9223372036854775807", "s");
    expect(f, SYNTAX, "ZDIFFSTORE", "d", "3", "s", "s");
    expect(f, ARITY("zunion"), "ZUNION", "1");
    expect(f, ARITY("zintercard"), "ZINTERCARD", "1");
    expect(f, ARITY("zunionstore"), "ZUNIONSTORE", "d", "1");
    expect_log(f, "");
    fixture_free(f);
}

static void test_option_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    static const char weight[] = "-ERR weight value is not a float\r\n";
    static const char limit[] = "-ERR LIMIT can't be negative\r\n";
    expect(f, WRONGTYPE, "ZUNION", "2", "none", "s", "NOSUCH"); /* keys come first */
    expect(f, WRONGTYPE, "ZINTERSTORE", "d", "2", "s", "a", "NOSUCH");
    expect(f, WRONGTYPE, "ZINTERCARD", "1", "s", "LIMIT", "-1");
    expect(f, SYNTAX, "ZUNION", "1", "a", "NOSUCH");
    expect(f, SYNTAX, "ZUNION", "1", "a", "WEIGHTS");
    expect(f, SYNTAX, "ZUNION", "2", "a", "b", "WEIGHTS", "1");
    expect(f, SYNTAX, "ZUNION", "1", "a", "WEIGHTS", "1", "2");
    expect(f, weight, "ZUNION", "1", "a", "WEIGHTS", "x");
    expect(f, weight, "ZUNION", "1", "a", "WEIGHTS", "nan");
    expect(f, weight, "ZUNION", "2", "a", "b", "WEIGHTS", "1", "WITHSCORES");
    expect(f, SYNTAX, "ZUNION", "1", "a", "AGGREGATE");
    expect(f, SYNTAX, "ZUNION", "1", "a", "AGGREGATE", "AVG");
    expect(f, SYNTAX, "ZUNION", "1", "a", "LIMIT", "1");
    expect(f, SYNTAX, "ZUNIONSTORE", "d", "1", "a", "WITHSCORES");
    expect(f, SYNTAX, "ZDIFF", "1", "a", "WEIGHTS", "1");
    expect(f, SYNTAX, "ZDIFF", "1", "a", "AGGREGATE", "SUM");
    expect(f, SYNTAX, "ZDIFFSTORE", "d", "1", "a", "WITHSCORES");
    expect(f, SYNTAX, "ZINTERCARD", "1", "a", "WITHSCORES");
    expect(f, SYNTAX, "ZINTERCARD", "1", "a", "WEIGHTS", "1");
    expect(f, SYNTAX, "ZINTERCARD", "1", "a", "LIMIT");
    expect(f, limit, "ZINTERCARD", "1", "a", "LIMIT", "-1");
    expect(f, limit, "ZINTERCARD", "1", "a", "LIMIT", "x");
    expect_log(f, "");
    expect_events(f, "");
    fixture_free(f);
}

/* ---- stored */

static void test_store(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":3\r\n", "ZUNIONSTORE", "d", "2", "a", "b");
    expect_log(f, "ZADD d 1 x 12 y 20 z\n");
    expect_events(f, "zunionstore d\n");
    expect(f, ":1\r\n", "ZINTERSTORE", "d", "2", "a", "b", "WEIGHTS", "2", "1");
    expect_log(f, "DEL d\nZADD d 14 y\n");
    expect_events(f, "zinterstore d\n");
    expect(f, ":1\r\n", "ZDIFFSTORE", "s", "2", "a", "b"); /* over another type */
    expect_log(f, "DEL s\nZADD s 1 x\n");
    expect_events(f, "zdiffstore s\n");
    expect(f, ":2\r\n", "ZUNIONSTORE", "a", "1", "a", "WEIGHTS", "2"); /* onto a source */
    expect_pairs(f, "x 2 y 4", "ZRANGE", "a", "0", "-1", "WITHSCORES");
    expect(f, ":3\r\n", "ZUNIONSTORE", "t", "1", "t"); /* a set becomes a sorted one */
    expect_pairs(f, "w 1 y 1 z 1", "ZRANGE", "t", "0", "-1", "WITHSCORES");
    expect(f, ":0\r\n", "ZDIFFSTORE", "b", "2", "b", "b");
    assert_null(record_of(f, "b"));
    fixture_free(f);
}

static void test_store_nothing(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":0\r\n", "ZUNIONSTORE", "d", "1", "none");
    expect_log(f, "");
    expect_events(f, "");
    expect(f, ":0\r\n", "ZINTERSTORE", "s", "2", "a", "none");
    expect_log(f, "DEL s\n");
    expect_events(f, "del s\n");
    expect(f, ":0\r\n", "ZINTERSTORE", "a", "2", "a", "none");
    expect_log(f, "DEL a\n");
    assert_null(record_of(f, "a"));
    fixture_free(f);
}

static void test_store_and_time(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "PEXPIRE", "a", "100");
    expect(f, ":2\r\n", "ZUNIONSTORE", "d", "1", "a");
    expect(f, ":-1\r\n", "PTTL", "d");
    expect(f, ":1\r\n", "PEXPIRE", "d", "100");
    fixture_advance(f, 100);
    forget(f);
    expect(f, ":2\r\n", "ZUNIONSTORE", "d", "2", "a", "b");
    expect_log(f, "DEL a\nDEL d\nZADD d 10 y 20 z\n");
    expect_events(f, "expired a\nexpired d\nzunionstore d\n");
    fixture_free(f);
}

static void test_store_encodings(void **state)
{
    (void)state;
    struct fixture *f = start();
    char longish[66];
    memset(longish, 'l', 65);
    longish[65] = 0;
    fill(f, "big", 0, 1000);
    fill(f, "fits", 0, 128);
    fill(f, "one", 128, 129);
    expect(f, ":1000\r\n", "ZUNIONSTORE", "d", "1", "big");
    expect_encoding(f, "d", "skiplist");
    expect(f, ":128\r\n", "ZUNIONSTORE", "d", "1", "fits");
    expect_encoding(f, "d", "listpack");
    expect(f, ":129\r\n", "ZUNIONSTORE", "d", "2", "fits", "one");
    expect_encoding(f, "d", "skiplist");
    expect(f, ":128\r\n", "ZINTERSTORE", "d", "2", "big", "fits");
    expect_encoding(f, "d", "listpack");
    expect(f, ":872\r\n", "ZDIFFSTORE", "d", "2", "big", "fits");
    expect_encoding(f, "d", "skiplist");
    expect(f, "*1\r\n$4\r\nm999\r\n", "ZRANGE", "d", "-1", "-1");
    expect(f, ":1\r\n", "ZADD", "one", "5", longish);
    expect(f, ":1\r\n", "ZDIFFSTORE", "d", "2", "one", "big");
    expect_encoding(f, "d", "skiplist");
    fixture_upkeep(f);
    fixture_free(f);
}

/* ---- without memory */

static void test_no_memory(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "big", 0, 200);
    fill(f, "half", 100, 300);
    static const char *const requests[][6] = {
        {"ZUNIONSTORE", "k", "2", "big", "half"}, {"ZUNIONSTORE", "k", "2", "a", "t"},
        {"ZINTERSTORE", "k", "2", "big", "half"}, {"ZDIFFSTORE", "k", "2", "big", "half"},
        {"ZUNION", "2", "big", "half"},           {"ZINTER", "2", "big", "half"},
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        bool stores = strstr(requests[i][0], "STORE") != NULL, fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            char key[32];
            const char *args[8] = {NULL};
            memcpy(args, requests[i], sizeof requests[i]);
            snprintf(key, sizeof key, "k%zu:%u", i, nth);
            bool exists = stores && nth % 2 == 0;
            if (stores) args[1] = key;
            if (exists) expect(f, ":1\r\n", "ZADD", key, "7", "old");
            mem_fault_arm(nth);
            struct bytes wire = fixture_run(f, args);
            fired = mem_fault_disarm();
            assert_true(wire.len >= 4);
            if (!fired) assert_int_equal(wire.data[0], stores ? ':' : '*');
            if (wire.data[0] != '-') continue;
            assert_memory_equal(wire.data, "-OOM", 4); /* and nothing before it */
            if (stores) expect(f, exists ? ":1\r\n" : ":0\r\n", "ZCARD", key);
            assert_true(nth < 2000);
        }
    }
    fixture_upkeep(f);
    fixture_free(f);
}

/* ---- any sequence of changes is what its log replays to */

static void test_random_changes(void **state)
{
    (void)state;
    static const char *const stores[] = {"ZINTERSTORE", "ZUNIONSTORE", "ZDIFFSTORE"};
    static const char *const weights[] = {"0", "-1", "0.1", "inf", "1e300"};
    struct fixture *f = start();
    struct rng rng;
    rng_seed(&rng, 7);
    char key[4][8], member[2][16], score[16];
    for (int i = 0; i < 6000; i++) {
        for (int k = 0; k < 4; k++)
            snprintf(key[k], sizeof key[k], "z%d", (int)rng_below(&rng, 5));
        for (int k = 0; k < 2; k++)
            snprintf(member[k], sizeof member[k], "m%d", (int)rng_below(&rng, 300));
        snprintf(score, sizeof score, "%d.%d", (int)rng_below(&rng, 20) - 5,
                 (int)rng_below(&rng, 7));
        switch (rng_below(&rng, 30)) {
        case 0:
            (void)run(f, stores[rng_below(&rng, 3)], key[0], "3", key[1], key[2], key[3]);
            break;
        case 1:
            (void)run(f, stores[rng_below(&rng, 2)], key[0], "2", key[1], key[2], "WEIGHTS", "1",
                      weights[rng_below(&rng, COUNT_OF(weights))]);
            break;
        case 2:
            (void)run(f, "ZREM", key[0], member[0], member[1]);
            break;
        case 3:
            (void)run(f, "DEL", key[0]);
            break;
        default:
            (void)run(f, "ZADD", key[0], score, member[0], "7", member[1]);
            break;
        }
    }
    fixture_upkeep(f);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),           cmocka_unit_test(test_sets_as_sources),
        cmocka_unit_test(test_weights),        cmocka_unit_test(test_card),
        cmocka_unit_test(test_count_errors),   cmocka_unit_test(test_option_errors),
        cmocka_unit_test(test_store),          cmocka_unit_test(test_store_nothing),
        cmocka_unit_test(test_store_and_time), cmocka_unit_test(test_store_encodings),
        cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_random_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
