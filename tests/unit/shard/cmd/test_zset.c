/* Sorted sets member by member: every command, option and error, as Redis 7.4 answers. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/types/zset.h"
#include "tests/lib/cmd_fixture.h"

#define SYNTAX "-ERR syntax error\r\n"
#define NOT_FLOAT "-ERR value is not a valid float\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define NOT_POSITIVE "-ERR value is out of range, must be positive\r\n"
#define OUT_OF_RANGE "-ERR value is out of range\r\n"
#define NX_XX "-ERR XX and NX options at the same time are not compatible\r\n"
#define GT_LT_NX "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n"
#define ONE_PAIR "-ERR INCR option supports a single increment-element pair\r\n"
#define NO_NUMBER "-ERR resulting score is not a number (NaN)\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"

static void forget(struct fixture *f)
{
    (void)fixture_log(f);
    (void)fixture_events(f);
}

/* "s" is a string, to be the wrong type. */
static struct fixture *start(void)
{
    struct fixture *f = fixture_new(&zset_cmds, &zset_range_cmds, &string_cmds, &keys_cmds);
    expect(f, "+OK\r\n", "SET", "s", "1");
    forget(f);
    return f;
}

/* With "z": a 1, b 2, c 3. */
static struct fixture *start_abc(void)
{
    struct fixture *f = start();
    expect(f, ":3\r\n", "ZADD", "z", "1", "a", "2", "b", "3", "c");
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

/* Members "m<first>" … with scores first % 10, in one request. */
static void fill(struct fixture *f, const char *key, int first, int count)
{
    size_t texts = (size_t)count * 2;
    char(*text)[16] = mem_alloc(MEM_TEST, texts * sizeof *text);
    struct bytes *argv = mem_alloc(MEM_TEST, (texts + 2) * sizeof *argv);
    argv[0] = BYTES_LIT("ZADD");
    argv[1] = bytes_of(key);
    for (size_t i = 0; i < texts; i++) {
        int n = first + (int)(i / 2);
        snprintf(text[i], sizeof text[i], i % 2 == 0 ? "%d" : "m%d", i % 2 == 0 ? n % 10 : n);
        argv[i + 2] = bytes_of(text[i]);
    }
    struct bytes wire = fixture_run_bytes(f, argv, (uint32_t)texts + 2);
    assert_int_equal(wire.data[0], ':');
    mem_free(MEM_TEST, argv, (texts + 2) * sizeof *argv);
    mem_free(MEM_TEST, text, texts * sizeof *text);
}

/* ---- ZADD */

static void test_add(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":2\r\n", "ZADD", "z", "2", "b", "1", "a");
    expect(f, ":1\r\n", "ZADD", "z", "3", "b", "0.5", "c");
    expect(f, ":0\r\n", "ZADD", "z", "3", "b"); /* changes nothing: no effect, no event */
    expect(f, ":0\r\n", "ZADD", "z", "3", "b", "4", "a", "0.5", "c");
    expect_log(f, "ZADD z 2 b 1 a\nZADD z 3 b 0.5 c\nZADD z 4 a\n");
    expect_events(f, "zadd z\nzadd z\nzadd z\n");
    expect(f, "*6\r\n$1\r\nc\r\n$3\r\n0.5\r\n$1\r\nb\r\n$1\r\n3\r\n$1\r\na\r\n$1\r\n4\r\n",
           "ZRANGE", "z", "0", "-1", "WITHSCORES");
    expect(f, ":1\r\n", "ZADD", "twice", "1", "m", "2", "m"); /* the last counts */
    expect(f, "$1\r\n2\r\n", "ZSCORE", "twice", "m");
    expect(f, ":1\r\n", "ZADD", "twice", "1", ""); /* a member without bytes */
    expect(f, "$1\r\n1\r\n", "ZSCORE", "twice", "");
    fixture_free(f);
}

static void test_add_options(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":1\r\n", "ZADD", "z", "NX", "9", "a", "4", "d");
    expect(f, ":0\r\n", "ZADD", "z", "XX", "9", "a", "4", "e");
    expect(f, ":3\r\n", "ZADD", "z", "CH", "8", "a", "2", "b", "5", "e", "6", "c");
    expect_log(f, "ZADD z 4 d\nZADD z 9 a\nZADD z 8 a 5 e 6 c\n");
    expect(f, ":1\r\n", "ZADD", "z", "gt", "ch", "7", "a", "7", "c");           /* a 8 stays */
    expect(f, ":2\r\n", "ZADD", "z", "LT", "CH", "7", "a", "8", "c", "1", "n"); /* c 7 stays */
    expect(f, ":0\r\n", "ZADD", "z", "XX", "GT", "CH", "7", "a", "1", "nobody");
    expect_log(f, "ZADD z 7 c\nZADD z 7 a 1 n\n");
    expect_events(f, "zadd z\nzadd z\nzadd z\nzadd z\nzadd z\n");
    expect(f, ":0\r\n", "ZADD", "none", "XX", "1", "a");
    assert_null(record_of(f, "none"));
    expect(f, ":1\r\n", "ZADD", "gt", "GT", "1", "a"); /* about members that are there only */
    expect(f, ":1\r\n", "ZADD", "lt", "LT", "1", "a");
    /* Members named like options come after the first score. */
    expect(f, ":2\r\n", "ZADD", "words", "1", "NX", "2", "CH");
    expect_log(f, "ZADD gt 1 a\nZADD lt 1 a\nZADD words 1 NX 2 CH\n");
    fixture_free(f);
}

static void test_add_incr(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, "$3\r\n3.5\r\n", "ZADD", "z", "INCR", "2.5", "a");
    expect(f, "$2\r\n10\r\n", "ZADD", "z", "INCR", "10", "new");
    expect(f, "$2\r\n10\r\n", "ZADD", "z", "INCR", "0", "new"); /* no change, but a score */
    expect(f, "$-1\r\n", "ZADD", "z", "NX", "INCR", "1", "a");
    expect(f, "$-1\r\n", "ZADD", "z", "XX", "INCR", "1", "nobody");
    expect(f, "$-1\r\n", "ZADD", "none", "XX", "INCR", "1", "a");
    expect(f, "$-1\r\n", "ZADD", "z", "GT", "INCR", "0", "a");
    expect(f, "$-1\r\n", "ZADD", "z", "GT", "INCR", "-1", "a");
    expect(f, "$-1\r\n", "ZADD", "z", "LT", "INCR", "1", "a");
    expect(f, "$3\r\n4.5\r\n", "ZADD", "z", "GT", "INCR", "1", "a");
    expect_log(f, "ZADD z 3.5 a\nZADD z 10 new\nZADD z 4.5 a\n");
    expect_events(f, "zincr z\nzincr z\nzincr z\n");
    f->proto = 3;
    expect(f, ",5.5\r\n", "ZADD", "z", "INCR", "1", "a");
    expect(f, "_\r\n", "ZADD", "z", "LT", "INCR", "1", "a");
    expect(f, ",inf\r\n", "ZADD", "z", "INCR", "inf", "a");
    fixture_free(f);
}

static void test_add_errors(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ARITY("zadd"), "ZADD", "z", "1");
    expect(f, SYNTAX, "ZADD", "z", "1", "a", "2");
    expect(f, SYNTAX, "ZADD", "z", "NX", "XX");
    expect(f, SYNTAX, "ZADD", "z", "NX", "XX", "1"); /* before the conflict */
    expect(f, NX_XX, "ZADD", "z", "NX", "XX", "x", "a");
    expect(f, NX_XX, "ZADD", "z", "NX", "XX", "GT", "INCR", "1", "a", "2", "b");
    expect(f, GT_LT_NX, "ZADD", "z", "GT", "LT", "INCR", "1", "a", "2", "b");
    expect(f, GT_LT_NX, "ZADD", "z", "GT", "NX", "1", "a");
    expect(f, GT_LT_NX, "ZADD", "z", "LT", "NX", "1", "a");
    expect(f, ONE_PAIR, "ZADD", "z", "INCR", "x", "a", "2", "b");
    expect(f, NOT_FLOAT, "ZADD", "z", "1", "d", "x", "a"); /* d was not added */
    expect(f, NOT_FLOAT, "ZADD", "z", "nan", "d");
    expect(f, NOT_FLOAT, "ZADD", "z", "", "d");
    expect(f, NOT_FLOAT, "ZADD", "z", " 1", "d");
    expect(f, NOT_FLOAT, "ZADD", "z", "1e400", "d");
    expect(f, NOT_FLOAT, "ZADD", "s", "x", "d");
    expect(f, WRONGTYPE, "ZADD", "s", "1", "d");
    expect(f, WRONGTYPE, "ZADD", "s", "XX", "1", "d");
    expect(f, "$3\r\ninf\r\n", "ZADD", "z", "INCR", "inf", "c");
    forget(f);
    expect(f, NO_NUMBER, "ZADD", "z", "INCR", "-inf", "c");
    expect(f, NO_NUMBER, "ZADD", "z", "GT", "INCR", "-inf", "c");
    expect(f, "$-1\r\n", "ZADD", "z", "NX", "INCR", "-inf", "c");
    expect(f, ":3\r\n", "ZCARD", "z");
    expect_log(f, "");
    expect_events(f, "");
    fixture_free(f);
}

static void test_incrby(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "$1\r\n2\r\n", "ZINCRBY", "z", "2", "m");
    expect(f, "$3\r\n1.9\r\n", "ZINCRBY", "z", "-0.1", "m");
    expect(f, "$18\r\n1.9999999999999998\r\n", "ZINCRBY", "z", "0.09999999999999987", "m");
    expect_log(f, "ZADD z 2 m\nZADD z 1.9 m\nZADD z 1.9999999999999998 m\n");
    expect_events(f, "zincr z\nzincr z\nzincr z\n");
    expect(f, "$4\r\n-inf\r\n", "ZINCRBY", "z", "-inf", "m");
    expect(f, NO_NUMBER, "ZINCRBY", "z", "inf", "m");
    expect(f, NOT_FLOAT, "ZINCRBY", "z", "one", "m");
    expect(f, NOT_FLOAT, "ZINCRBY", "s", "one", "m");
    expect(f, SYNTAX, "ZINCRBY", "z", "NX", "m"); /* an option even here */
    expect(f, WRONGTYPE, "ZINCRBY", "s", "1", "m");
    expect(f, ARITY("zincrby"), "ZINCRBY", "z", "1");
    f->proto = 3;
    expect(f, ",-inf\r\n", "ZINCRBY", "z", "1", "m");
    fixture_free(f);
}

/* What a score may look like, and what it looks like then. */
static void test_scores(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"0", "0"},
        {"+5", "5"},
        {"-7.25", "-7.25"},
        {"0x10", "16"},
        {"1e3", "1000"},
        {"infinity", "inf"},
        {"-Inf", "-inf"},
        {"1e21", "1e+21"},
        {"100000000000000000", "100000000000000000"},
        {"9007199254740993", "9007199254740992"},
        {"0.1", "0.1"},
        {"3.14159265358979", "3.14159265358979"},
        {"5e-324", "5e-324"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
    };
    struct fixture *f = start();
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        for (int full = 0; full < 2; full++) {
            const char *key = full ? "full" : "packed";
            char wire[64];
            snprintf(wire, sizeof wire, "$%zu\r\n%s\r\n", strlen(texts[i][1]), texts[i][1]);
            if (full) fill(f, key, 0, 200);
            (void)run(f, "ZADD", key, texts[i][0], "m");
            expect(f, wire, "ZSCORE", key, "m");
            snprintf(wire, sizeof wire, ",%s\r\n", texts[i][1]);
            f->proto = 3;
            expect(f, wire, "ZSCORE", key, "m");
            f->proto = 2;
        }
    }
    fixture_free(f);
}

/* A packed set keeps -0 as 0, a full one as it is: as Redis does, whose replies differ as well. */
static void test_negative_zero(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "ZADD", "z", "-0", "m");
    expect(f, "$1\r\n0\r\n", "ZSCORE", "z", "m");
    expect(f, "$2\r\n-0\r\n", "ZADD", "z", "INCR", "-0", "n");
    expect(f, "$1\r\n0\r\n", "ZSCORE", "z", "n");
    expect_log(f, "ZADD z -0 m\nZADD z -0 n\n");
    fill(f, "z", 0, 200);
    expect(f, ":1\r\n", "ZADD", "z", "-0", "o");
    expect(f, "$2\r\n-0\r\n", "ZSCORE", "z", "o");
    expect(f, ":0\r\n", "ZADD", "z", "CH", "0", "o"); /* equal: it stays */
    expect(f, "$2\r\n-0\r\n", "ZSCORE", "z", "o");
    expect(f, "*1\r\n$1\r\nn\r\n", "ZRANGE", "z", "21", "21"); /* m0 … m190, m, n, o: by name */
    fixture_free(f);
}

/* ---- ZREM */

static void test_rem(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":2\r\n", "ZREM", "z", "a", "nobody", "b", "a");
    expect(f, ":0\r\n", "ZREM", "z", "a");
    expect(f, ":0\r\n", "ZREM", "none", "a");
    expect_log(f, "ZREM z a nobody b a\n");
    expect_events(f, "zrem z\n");
    expect(f, ":1\r\n", "ZREM", "z", "c", "more");
    expect_log(f, "ZREM z c more\n");
    expect_events(f, "zrem z\ndel z\n");
    assert_null(record_of(f, "z"));
    expect(f, WRONGTYPE, "ZREM", "s", "a");
    expect(f, ARITY("zrem"), "ZREM", "z");
    fixture_free(f);
}

/* ---- asking */

static void test_reads(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":3\r\n", "ZCARD", "z");
    expect(f, ":0\r\n", "ZCARD", "none");
    expect(f, WRONGTYPE, "ZCARD", "s");
    expect(f, "$1\r\n2\r\n", "ZSCORE", "z", "b");
    expect(f, "$-1\r\n", "ZSCORE", "z", "nobody");
    expect(f, "$-1\r\n", "ZSCORE", "none", "b");
    expect(f, WRONGTYPE, "ZSCORE", "s", "b");
    expect(f, "*3\r\n$1\r\n3\r\n$-1\r\n$1\r\n1\r\n", "ZMSCORE", "z", "c", "x", "a");
    expect(f, "*2\r\n$-1\r\n$-1\r\n", "ZMSCORE", "none", "c", "x");
    expect(f, WRONGTYPE, "ZMSCORE", "s", "b");
    expect(f, ARITY("zmscore"), "ZMSCORE", "z");
    f->proto = 3;
    expect(f, ",2\r\n", "ZSCORE", "z", "b");
    expect(f, "_\r\n", "ZSCORE", "none", "b");
    expect(f, "*3\r\n,3\r\n_\r\n,1\r\n", "ZMSCORE", "z", "c", "x", "a");
    expect_log(f, "");
    fixture_free(f);
}

static void test_rank(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":0\r\n", "ZRANK", "z", "a");
    expect(f, ":2\r\n", "ZREVRANK", "z", "a");
    expect(f, "*2\r\n:1\r\n$1\r\n2\r\n", "ZRANK", "z", "b", "WithScore");
    expect(f, "*2\r\n:0\r\n$1\r\n3\r\n", "ZREVRANK", "z", "c", "WITHSCORE");
    expect(f, "$-1\r\n", "ZRANK", "z", "nobody");
    expect(f, "*-1\r\n", "ZRANK", "z", "nobody", "WITHSCORE");
    expect(f, "$-1\r\n", "ZREVRANK", "none", "a");
    expect(f, "*-1\r\n", "ZREVRANK", "none", "a", "WITHSCORE");
    expect(f, SYNTAX, "ZRANK", "s", "a", "WITHSCORES");
    expect(f, ARITY("zrank"), "ZRANK", "s", "a", "WITHSCORE", "x");
    expect(f, ARITY("zrevrank"), "ZREVRANK", "z", "a", "x", "y");
    expect(f, WRONGTYPE, "ZRANK", "s", "a");
    f->proto = 3;
    expect(f, "*2\r\n:1\r\n,2\r\n", "ZRANK", "z", "b", "WITHSCORE");
    expect(f, "_\r\n", "ZRANK", "z", "nobody");
    expect(f, "_\r\n", "ZRANK", "z", "nobody", "WITHSCORE");
    fixture_free(f);
}

/* Equal scores: by bytes, a prefix first; the same in both encodings. */
static void test_ties(void **state)
{
    (void)state;
    struct fixture *f = start();
    for (int full = 0; full < 2; full++) {
        const char *key = full ? "full" : "packed";
        if (full) fill(f, key, 0, 200);
        expect(f, ":5\r\n", "ZADD", key, "-1", "b", "-1", "a", "-1", "10", "-1", "9", "-1", "aa");
        expect(f, "*5\r\n$2\r\n10\r\n$1\r\n9\r\n$1\r\na\r\n$2\r\naa\r\n$1\r\nb\r\n", "ZRANGE", key,
               "0", "4");
        expect(f, ":0\r\n", "ZRANK", key, "10");
        expect(f, ":3\r\n", "ZRANK", key, "aa");
        expect_encoding(f, key, full ? "skiplist" : "listpack");
    }
    fixture_free(f);
}

/* ---- ZPOPMIN and ZPOPMAX */

static void test_pop(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":2\r\n", "ZADD", "z", "0", "7", "9", "x");
    forget(f);
    expect(f, "*2\r\n$1\r\n7\r\n$1\r\n0\r\n", "ZPOPMIN", "z");
    expect(f, "*2\r\n$1\r\nx\r\n$1\r\n9\r\n", "ZPOPMAX", "z");
    expect(f, "*4\r\n$1\r\nc\r\n$1\r\n3\r\n$1\r\nb\r\n$1\r\n2\r\n", "ZPOPMAX", "z", "2");
    expect_log(f, "ZREM z 7\nZREM z x\nZREM z c b\n");
    expect_events(f, "zpopmin z\nzpopmax z\nzpopmax z\n");
    expect(f, "*0\r\n", "ZPOPMIN", "z", "0");
    expect(f, "*2\r\n$1\r\na\r\n$1\r\n1\r\n", "ZPOPMIN", "z", "10");
    expect_log(f, "ZREM z a\n");
    expect_events(f, "zpopmin z\ndel z\n");
    assert_null(record_of(f, "z"));
    expect(f, "*0\r\n", "ZPOPMIN", "z");
    expect(f, "*0\r\n", "ZPOPMAX", "z", "3");
    fixture_free(f);
}

static void test_pop_shapes(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    f->proto = 3;
    expect(f, "*2\r\n$1\r\na\r\n,1\r\n", "ZPOPMIN", "z");
    expect(f, "*1\r\n*2\r\n$1\r\nc\r\n,3\r\n", "ZPOPMAX", "z", "1");
    expect(f, "*1\r\n*2\r\n$1\r\nb\r\n,2\r\n", "ZPOPMIN", "z", "5");
    expect(f, "*0\r\n", "ZPOPMIN", "z");
    expect(f, "*0\r\n", "ZPOPMIN", "z", "5");
    fixture_free(f);
}

static void test_pop_errors(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, NOT_POSITIVE, "ZPOPMIN", "z", "-1");
    expect(f, NOT_POSITIVE, "ZPOPMIN", "s", "x");
    expect(f, NOT_POSITIVE, "ZPOPMAX", "none", "9223372036854775808");
    expect(f, SYNTAX, "ZPOPMIN", "z", "x", "y");
    expect(f, WRONGTYPE, "ZPOPMAX", "s");
    expect(f, WRONGTYPE, "ZPOPMIN", "s", "0");
    expect(f, ARITY("zpopmin"), "ZPOPMIN");
    expect_log(f, "");
    fixture_free(f);
}

static void expect_starts(struct bytes wire, const char *text)
{
    assert_true(wire.len >= strlen(text));
    assert_memory_equal(wire.data, text, strlen(text));
}

static uint32_t lines_in(const char *text)
{
    uint32_t n = 0;
    for (; *text != 0; text++)
        n += *text == '\n';
    return n;
}

/* Many at once: several units in one group, integers among the members copied out of their packed form. */
static void test_pop_many(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "z", 0, 1000);
    fill(f, "y", 0, 300);
    for (int i = 0; i < 100; i++) {
        char member[16];
        snprintf(member, sizeof member, "%d", i * 7);
        (void)run(f, "ZADD", "ints", member, member);
    }
    forget(f);
    expect_starts(run(f, "ZPOPMAX", "z", "400"), "*800\r\n$4\r\nm999\r\n$1\r\n9\r\n");
    assert_int_equal(lines_in(fixture_log(f)), 4);
    expect(f, ":600\r\n", "ZCARD", "z");
    expect_encoding(f, "z", "skiplist");
    expect_starts(run(f, "ZPOPMIN", "y", "1000"), "*600\r\n$2\r\nm0\r\n$1\r\n0\r\n$3\r\nm10\r\n");
    assert_null(record_of(f, "y"));
    expect_starts(run(f, "ZPOPMIN", "ints", "90"),
                  "*180\r\n$1\r\n0\r\n$1\r\n0\r\n$1\r\n7\r\n$1\r\n7\r\n");
    expect(f, ":0\r\n", "ZRANK", "ints", "630");
    fixture_free(f);
}

/* Pairs in both protocols; members named in the log. */
static void test_mpop(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":1\r\n", "ZADD", "y", "0.5", "m");
    forget(f);
    expect(f, "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n", "ZMPOP", "3", "none", "z", "y",
           "MIN");
    expect_log(f, "ZREM z a\n");
    expect_events(f, "zpopmin z\n");
    expect(f, "*2\r\n$1\r\nz\r\n*2\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n",
           "ZMPOP", "3", "z", "y", "s", "max", "count",
           "9223372036854775807"); /* nobody looks at "s" */
    expect_log(f, "ZREM z c b\n");
    expect_events(f, "zpopmax z\ndel z\n");
    expect(f, "*-1\r\n", "ZMPOP", "1", "z", "MAX", "COUNT", "2");
    f->proto = 3;
    expect(f, "*2\r\n$1\r\ny\r\n*1\r\n*2\r\n$1\r\nm\r\n,0.5\r\n", "ZMPOP", "2", "z", "y", "MIN",
           "COUNT", "1");
    expect(f, "_\r\n", "ZMPOP", "2", "z", "y", "MIN");
    f->proto = 2;
    fill(f, "z", 0, 1000);
    forget(f);
    expect_starts(run(f, "ZMPOP", "1", "z", "MAX", "COUNT", "400"),
                  "*2\r\n$1\r\nz\r\n*400\r\n*2\r\n$4\r\nm999\r\n$1\r\n9\r\n");
    assert_int_equal(lines_in(fixture_log(f)), 4);
    expect(f, ":600\r\n", "ZCARD", "z");
    fixture_free(f);
}

static void test_mpop_errors(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    static const char numkeys[] = "-ERR numkeys should be greater than 0\r\n";
    static const char count[] = "-ERR count should be greater than 0\r\n";
    expect(f, numkeys, "ZMPOP", "0", "s", "MIN");
    expect(f, numkeys, "ZMPOP", "x", "s", "MIN");
    expect(f, SYNTAX, "ZMPOP", "2", "s", "MIN");
    expect(f, SYNTAX, "ZMPOP", "1", "s", "MID");
    expect(f, SYNTAX, "ZMPOP", "1", "s", "MIN", "COUNT");
    expect(f, SYNTAX, "ZMPOP", "1", "s", "MIN", "COUNT", "1", "COUNT", "2");
    expect(f, count, "ZMPOP", "1", "s", "MIN", "COUNT", "0");
    expect(f, count, "ZMPOP", "1", "s", "MIN", "COUNT", "1.5");
    expect(f, WRONGTYPE, "ZMPOP", "3", "none", "s", "z", "MAX");
    expect(f, ARITY("zmpop"), "ZMPOP", "1", "z");
    expect(f, ":3\r\n", "ZCARD", "z");
    expect_log(f, "");
    fixture_free(f);
}

/* ---- ZRANDMEMBER */

static void test_randmember_replies(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "ZADD", "one", "1.5", "m");
    expect(f, "$1\r\nm\r\n", "ZRANDMEMBER", "one");
    expect(f, "*1\r\n$1\r\nm\r\n", "ZRANDMEMBER", "one", "5");
    expect(f, "*3\r\n$1\r\nm\r\n$1\r\nm\r\n$1\r\nm\r\n", "ZRANDMEMBER", "one", "-3");
    expect(f, "*2\r\n$1\r\nm\r\n$3\r\n1.5\r\n", "ZRANDMEMBER", "one", "2", "withscores");
    expect(f, "*4\r\n$1\r\nm\r\n$3\r\n1.5\r\n$1\r\nm\r\n$3\r\n1.5\r\n", "ZRANDMEMBER", "one", "-2",
           "WITHSCORES");
    expect(f, "*0\r\n", "ZRANDMEMBER", "one", "0");
    expect(f, "*0\r\n", "ZRANDMEMBER", "one", "0", "WITHSCORES");
    expect(f, "$-1\r\n", "ZRANDMEMBER", "none");
    expect(f, "*0\r\n", "ZRANDMEMBER", "none", "2");
    expect(f, "*0\r\n", "ZRANDMEMBER", "none", "-2", "WITHSCORES");
    f->proto = 3;
    expect(f, "_\r\n", "ZRANDMEMBER", "none");
    expect(f, "*1\r\n$1\r\nm\r\n", "ZRANDMEMBER", "one", "5");
    expect(f, "*1\r\n*2\r\n$1\r\nm\r\n,1.5\r\n", "ZRANDMEMBER", "one", "2", "WITHSCORES");
    expect(f, "*2\r\n*2\r\n$1\r\nm\r\n,1.5\r\n*2\r\n$1\r\nm\r\n,1.5\r\n", "ZRANDMEMBER", "one",
           "-2", "WITHSCORES");
    fixture_free(f);
}

static void test_randmember_errors(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, NOT_INT, "ZRANDMEMBER", "s", "x");
    expect(f, NOT_INT, "ZRANDMEMBER", "z", "x", "WITHSCORES", "y");
    expect(f, SYNTAX, "ZRANDMEMBER", "s", "1", "x");
    expect(f, SYNTAX, "ZRANDMEMBER", "z", "1", "WITHSCORES", "x");
    expect(f,
           "-ERR value is out of range, value must between -9223372036854775807 and "
           "9223372036854775807\r\n",
           "ZRANDMEMBER", "z", "-9223372036854775808", "x");
    expect(f, OUT_OF_RANGE, "ZRANDMEMBER", "z", "4611686018427387904", "WITHSCORES");
    expect(f, OUT_OF_RANGE, "ZRANDMEMBER", "z", "-4611686018427387904", "WITHSCORES");
    expect(f, OUT_OF_RANGE, "ZRANDMEMBER", "z", "-16777217"); /* RANDOM_DRAWS_MAX */
    expect(f, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "ZRANDMEMBER", "z", "9223372036854775807");
    expect(f, WRONGTYPE, "ZRANDMEMBER", "s");
    expect(f, WRONGTYPE, "ZRANDMEMBER", "s", "1");
    fixture_free(f);
}

/* How often each of "m0" … stands in the reply. */
static void tally(struct bytes wire, uint32_t *times, uint32_t members, uint32_t expected)
{
    const char *at = (const char *)wire.data, *end = at + wire.len;
    uint32_t found = 0;
    for (; at < end; at++) {
        if (*at != 'm') continue;
        unsigned long n = strtoul(at + 1, NULL, 10);
        assert_true(n < members);
        times[n]++;
        found++;
    }
    assert_int_equal(found, expected);
}

/* Every way of drawing: different members if the count is positive, and each member's turn comes. */
static void test_randmember_draws(void **state)
{
    (void)state;
    enum { MEMBERS = 300 };
    static const struct {
        int count;
        uint32_t rounds;
    } ways[] = {{20, 200}, {29, 200}, {30, 150}, {299, 10}, {300, 5}, {-40, 100}, {1, 3000}};
    struct fixture *f = start();
    fill(f, "z", 0, MEMBERS);
    for (size_t w = 0; w < COUNT_OF(ways); w++) {
        uint32_t total[MEMBERS] = {0}, drawn = (uint32_t)abs(ways[w].count);
        char count[16];
        snprintf(count, sizeof count, "%d", ways[w].count);
        for (uint32_t round = 0; round < ways[w].rounds; round++) {
            uint32_t times[MEMBERS] = {0};
            tally(run(f, "ZRANDMEMBER", "z", count), times, MEMBERS, drawn);
            for (uint32_t i = 0; i < MEMBERS; i++) {
                if (ways[w].count > 0) assert_true(times[i] <= 1);
                total[i] += times[i];
            }
        }
        uint32_t fair = drawn * ways[w].rounds / MEMBERS;
        for (uint32_t i = 0; i < MEMBERS; i++) {
            assert_true(total[i] > 0);
            assert_true(total[i] < 4 * fair + 10);
        }
    }
    uint32_t times[MEMBERS] = {0};
    for (int i = 0; i < 3000; i++)
        tally(run(f, "ZRANDMEMBER", "z"), times, MEMBERS, 1);
    for (uint32_t i = 0; i < MEMBERS; i++)
        assert_true(times[i] > 0);
    fixture_free(f);
}

/* ---- ZSCAN */

static void test_scan(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":3\r\n", "ZADD", "z", "1", "one", "3.1", "b", "1e21", "7");
    expect(f,
           "*2\r\n$1\r\n0\r\n*6\r\n$3\r\none\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n3.1\r\n$1\r\n7\r\n$"
           "5\r\n1e+21\r\n",
           "ZSCAN", "z", "0");
    expect(f, "*2\r\n$1\r\n0\r\n*2\r\n$3\r\none\r\n$1\r\n1\r\n", "ZSCAN", "z", "0", "MATCH", "o*",
           "COUNT", "1");
    expect(f, "*2\r\n$1\r\n0\r\n*0\r\n", "ZSCAN", "none", "0");
    expect(f, "*2\r\n$1\r\n0\r\n*0\r\n", "ZSCAN", "none", "0", "no", "option");
    expect(f, "-ERR invalid cursor\r\n", "ZSCAN", "s", "x");
    expect(f, WRONGTYPE, "ZSCAN", "s", "0", "x");
    expect(f, SYNTAX, "ZSCAN", "z", "0", "COUNT", "0");
    expect(f, SYNTAX, "ZSCAN", "z", "0", "TYPE", "zset");
    expect(f, NOT_INT, "ZSCAN", "z", "0", "COUNT", "x");
    expect(f, "-ERR NOVALUES option can only be used in HSCAN\r\n", "ZSCAN", "z", "0", "NOVALUES");
    f->proto = 3; /* scores are text here, never doubles */
    expect(f, "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$3\r\n3.1\r\n", "ZSCAN", "z", "0", "MATCH", "b");
    char longish[66];
    memset(longish, 'l', 65);
    longish[65] = 0;
    expect(f, ":1\r\n", "ZADD", "z", "-inf", longish);
    expect(f, "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$18\r\n3.1000000000000001\r\n", "ZSCAN", "z", "0",
           "MATCH", "b", "COUNT", "100");
    fixture_free(f);
}

static void test_scan_finds_all(void **state)
{
    (void)state;
    enum { MEMBERS = 2000 };
    struct fixture *f = start();
    fill(f, "z", 0, MEMBERS);
    uint32_t times[MEMBERS] = {0}, calls = 0;
    char cursor[32] = "0";
    do {
        struct bytes wire = run(f, "ZSCAN", "z", cursor, "COUNT", "50");
        const char *at = (const char *)wire.data, *end = at + wire.len;
        assert_memory_equal(at, "*2\r\n$", 5);
        assert_int_equal(sscanf(at, "*2\r\n$%*d\r\n%31[0-9]", cursor), 1);
        for (; at < end; at++)
            if (*at == 'm') times[strtoul(at + 1, NULL, 10) % MEMBERS]++;
        assert_true(++calls < MEMBERS);
    } while (strcmp(cursor, "0") != 0);
    assert_true(calls > 10);
    for (uint32_t i = 0; i < MEMBERS; i++)
        assert_int_equal(times[i], 1);
    fixture_free(f);
}

/* ---- encodings, expiry */

static void test_encodings(void **state)
{
    (void)state;
    struct fixture *f = start();
    char member[80];
    fill(f, "z", 0, 128);
    expect_encoding(f, "z", "listpack");
    expect(f, ":0\r\n", "ZADD", "z", "5", "m1");
    expect_encoding(f, "z", "listpack");
    expect(f, ":1\r\n", "ZADD", "z", "5", "more");
    expect_encoding(f, "z", "skiplist");
    expect(f, ":129\r\n", "ZCARD", "z");
    (void)run(f, "ZPOPMIN", "z", "100");
    expect_encoding(f, "z", "skiplist"); /* never back */
    fill(f, "at once", 0, 129);
    expect_encoding(f, "at once", "skiplist");
    memset(member, 'm', sizeof member);
    member[64] = 0;
    expect(f, ":1\r\n", "ZADD", "long", "1", member);
    expect_encoding(f, "long", "listpack");
    member[64] = 'm';
    member[65] = 0;
    expect(f, "$1\r\n1\r\n", "ZINCRBY", "long", "1", member);
    expect_encoding(f, "long", "skiplist");
    expect(f, ":2\r\n", "ZCARD", "long");
    fixture_free(f);
}

static void test_expiry(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":1\r\n", "PEXPIRE", "z", "100");
    expect(f, ":1\r\n", "ZADD", "z", "9", "d"); /* keeps it */
    expect(f, ":100\r\n", "PTTL", "z");
    fixture_advance(f, 100);
    forget(f);
    expect(f, "$1\r\n2\r\n", "ZINCRBY", "z", "2", "a");
    expect_log(f, "DEL z\nZADD z 2 a\n");
    expect_events(f, "expired z\nzincr z\n");
    expect(f, ":-1\r\n", "PTTL", "z");
    fixture_free(f);
}

/* ---- without memory */

/* Whatever allocation fails: the reply says so, and what is stored is what is logged (fixture_free). */
static void expect_survives(struct fixture *f, const char *const *request, bool exists)
{
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        static uint32_t keys;
        char key[32];
        snprintf(key, sizeof key, "k%u", keys++);
        if (exists) expect(f, ":3\r\n", "ZADD", key, "1", "a", "2", "x", "7", "y");
        struct bytes argv[12];
        uint32_t argc = 0;
        for (; argc < 12 && request[argc] != NULL; argc++)
            argv[argc] = bytes_of(request[argc]);
        argv[1] = bytes_of(key);
        mem_fault_arm(nth);
        struct bytes wire = fixture_run_bytes(f, argv, argc);
        fired = mem_fault_disarm();
        assert_true(wire.len >= 4);
        if (!fired) assert_int_not_equal(wire.data[0], '-');
        if (wire.data[0] == '-') assert_memory_equal(wire.data, "-OOM", 4);
        if (exists) expect(f, "$1\r\n7\r\n", "ZSCORE", key, "y");
        assert_true(nth < 100);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    char longish[101];
    memset(longish, 'l', sizeof longish - 1);
    longish[sizeof longish - 1] = 0;
    struct fixture *f = start();
    const char *const requests[][12] = {
        {"ZADD", "k", "1.5", "b"},
        {"ZADD", "k", "1", longish},
        {"ZADD", "k", "NX", "1", "a", "2", longish, "3", "c"},
        {"ZADD", "k", "CH", "0.1", "a", "2", longish, "3", "c"},
        {"ZINCRBY", "k", "0.3", "a"},
        {"ZINCRBY", "k", "0.3", longish},
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        for (int exists = 0; exists < 2; exists++)
            expect_survives(f, requests[i], exists);
    fixture_free(f);
}

/* ---- any sequence of changes is what its log replays to */

static const char *draw_score(struct rng *rng, char text[static 32])
{
    static const char *const odd[] = {"inf", "-inf", "-0",   "0",     "1e21",
                                      "0.1", "-3.3", "1e17", "5e-324"};
    if (rng_below(rng, 3) == 0) return odd[rng_below(rng, COUNT_OF(odd))];
    snprintf(text, 32, "%.17g", (double)rng_below(rng, 1000) / 7 - 60);
    return text;
}

static void test_random_changes(void **state)
{
    (void)state;
    static const char *const conditions[] = {"NX", "XX", "GT", "LT", "CH"};
    struct fixture *f = start();
    struct rng rng;
    rng_seed(&rng, 7);
    char key[8], member[16], a[32], b[32];
    for (int i = 0; i < 8000; i++) {
        snprintf(key, sizeof key, "z%d", (int)rng_below(&rng, 4));
        snprintf(member, sizeof member, rng_below(&rng, 2) ? "m%d" : "%d",
                 (int)rng_below(&rng, 400));
        const char *score = draw_score(&rng, a), *other = draw_score(&rng, b);
        const char *condition = conditions[rng_below(&rng, COUNT_OF(conditions))];
        switch (rng_below(&rng, 10)) {
        case 0:
            (void)run(f, "ZREM", key, member, "f1", "m2");
            break;
        case 1:
            (void)run(f, rng_below(&rng, 2) ? "ZPOPMIN" : "ZPOPMAX", key, "2");
            break;
        case 2:
        case 3:
            (void)run(f, "ZINCRBY", key, score, member);
            break;
        case 4:
        case 5:
            (void)run(f, "ZADD", key, condition, score, member, other, "f1", "3", "m2");
            break;
        case 6:
            (void)run(f, "ZADD", key, condition, "INCR", score, member);
            break;
        default:
            (void)run(f, "ZADD", key, score, member, other, "f1");
            break;
        }
        f->db = i % 7 == 0;
    }
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_add_options),
        cmocka_unit_test(test_add_incr),
        cmocka_unit_test(test_add_errors),
        cmocka_unit_test(test_incrby),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_negative_zero),
        cmocka_unit_test(test_rem),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_rank),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_pop),
        cmocka_unit_test(test_pop_shapes),
        cmocka_unit_test(test_pop_errors),
        cmocka_unit_test(test_pop_many),
        cmocka_unit_test(test_mpop),
        cmocka_unit_test(test_mpop_errors),
        cmocka_unit_test(test_randmember_replies),
        cmocka_unit_test(test_randmember_errors),
        cmocka_unit_test(test_randmember_draws),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_scan_finds_all),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_random_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
