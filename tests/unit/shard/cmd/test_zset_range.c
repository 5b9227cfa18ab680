/* Ranges of sorted sets: every command, option and error, as Redis 7.4 answers. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "shard/types/zset.h"
#include "tests/lib/cmd_fixture.h"

#define SYNTAX "-ERR syntax error\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define NOT_FLOAT "-ERR min or max is not a float\r\n"
#define NOT_LEX "-ERR min or max not valid string range item\r\n"
#define NO_LIMIT                                                                                   \
    "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX\r\n"
#define NO_SCORES "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"
#define EMPTY "*0\r\n"

static void forget(struct fixture *f)
{
    (void)fixture_log(f);
    (void)fixture_events(f);
}

/* "s" is a string, to be the wrong type. */
static struct fixture *start(void)
{
    struct fixture *f = fixture_new(&zset_range_cmds, &zset_cmds, &string_cmds, &keys_cmds);
    expect(f, "+OK\r\n", "SET", "s", "1");
    forget(f);
    return f;
}

/* Members that make any sorted set a full one, above all others by score and by name. */
static void fill(struct fixture *f, const char *key, int count, const char *score)
{
    for (int i = 0; i < count; i++) {
        char member[16];
        snprintf(member, sizeof member, "~%03d", i);
        expect(f, ":1\r\n", "ZADD", key, score, member);
    }
}

/* "z", packed or full: lo -inf, a 1, b 1, c 1, d 2.5, hi inf (full: and 200 more at inf). */
static void add_scores(struct fixture *f, bool full)
{
    expect(f, ":6\r\n", "ZADD", "z", "-inf", "lo", "1", "a", "1", "b", "1", "c", "2.5", "d", "inf",
           "hi");
    if (full) fill(f, "z", 200, "inf");
    forget(f);
}

/* "l": a aa b c and one of no bytes, all 0 (full: and 200 more). */
static void add_names(struct fixture *f, bool full)
{
    expect(f, ":5\r\n", "ZADD", "l", "0", "b", "0", "a", "0", "", "0", "aa", "0", "c");
    if (full) fill(f, "l", 200, "0");
    forget(f);
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

/* ---- ranges by place */

static void test_by_rank(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct fixture *f = start();
        add_scores(f, full);
        expect(f, "*2\r\n$2\r\nlo\r\n$1\r\na\r\n", "ZRANGE", "z", "0", "1");
        expect(f, "*1\r\n$1\r\nb\r\n", "ZRANGE", "z", "2", "2");
        expect(f, EMPTY, "ZRANGE", "z", "3", "2");
        expect(f, EMPTY, "ZRANGE", "z", "500", "600");
        expect(f, EMPTY, "ZRANGE", "z", "0", "-500");
        expect(f, EMPTY, "ZRANGE", "z", "9223372036854775807", "-9223372036854775808");
        expect(f, "*1\r\n$2\r\nlo\r\n", "ZRANGE", "z", "-9223372036854775808", "0");
        expect(f, EMPTY, "ZRANGE", "none", "0", "-1");
        if (!full) {
            expect(f, "*2\r\n$1\r\nd\r\n$2\r\nhi\r\n", "ZRANGE", "z", "-2", "-1");
            expect(f, "*2\r\n$1\r\nd\r\n$2\r\nhi\r\n", "ZRANGE", "z", "4", "100");
            expect(f, "*2\r\n$2\r\nhi\r\n$1\r\nd\r\n", "ZRANGE", "z", "0", "1", "REV");
            expect(f, "*2\r\n$2\r\nhi\r\n$1\r\nd\r\n", "ZREVRANGE", "z", "0", "1");
            expect(f, "*2\r\n$2\r\nlo\r\n$4\r\n-inf\r\n", "ZREVRANGE", "z", "-1", "-1",
                   "WITHSCORES");
        } else {
            expect(f, "*1\r\n$4\r\n~199\r\n", "ZREVRANGE", "z", "0", "0");
            expect(f, "*2\r\n$1\r\na\r\n$2\r\nlo\r\n", "ZREVRANGE", "z", "-2", "-1");
        }
        expect(f, "*4\r\n$1\r\nc\r\n$1\r\n1\r\n$1\r\nd\r\n$3\r\n2.5\r\n", "ZRANGE", "z", "3", "4",
               "WITHSCORES");
        f->proto = 3;
        expect(f, "*1\r\n$1\r\nb\r\n", "ZRANGE", "z", "2", "2");
        expect(f, "*2\r\n*2\r\n$1\r\nc\r\n,1\r\n*2\r\n$1\r\nd\r\n,2.5\r\n", "ZRANGE", "z", "3", "4",
               "WITHSCORES");
        expect(f, EMPTY, "ZRANGE", "z", "3", "2", "WITHSCORES");
        expect_log(f, "");
        fixture_free(f);
    }
}

/* ---- by score */

static void test_by_score(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct fixture *f = start();
        add_scores(f, full);
        expect(f, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "ZRANGEBYSCORE", "z", "1", "1");
        expect(f, "*1\r\n$1\r\nd\r\n", "ZRANGEBYSCORE", "z", "(1", "2.5");
        expect(f, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "ZRANGEBYSCORE", "z", "1", "(2.5");
        expect(f, EMPTY, "ZRANGEBYSCORE", "z", "(1", "(2.5");
        expect(f, EMPTY, "ZRANGEBYSCORE", "z", "2", "1");
        expect(f, EMPTY, "ZRANGEBYSCORE", "z", "(1", "1");
        expect(f, "*1\r\n$2\r\nlo\r\n", "ZRANGEBYSCORE", "z", "-inf", "(1");
        expect(f, "*1\r\n$1\r\nd\r\n", "ZRANGEBYSCORE", "z", "(1", "(+inf");
        expect(f, "*4\r\n$1\r\nd\r\n$1\r\nc\r\n$1\r\nb\r\n$1\r\na\r\n", "ZREVRANGEBYSCORE", "z",
               "(inf", "(-inf");
        expect(f, "*1\r\n$1\r\nd\r\n", "ZRANGE", "z", "(1", "100", "BYSCORE");
        expect(f, "*2\r\n$1\r\nd\r\n$3\r\n2.5\r\n", "ZRANGE", "z", "100", "(1", "REV", "WITHSCORES",
               "BYSCORE");
        expect(f, EMPTY, "ZRANGE", "z", "1", "100", "REV", "BYSCORE");
        expect(f, EMPTY, "ZRANGEBYSCORE", "none", "1", "2");
        f->proto = 3;
        expect(f, "*1\r\n*2\r\n$1\r\nd\r\n,2.5\r\n", "ZREVRANGEBYSCORE", "z", "3", "2",
               "WITHSCORES");
        fixture_free(f);
    }
}

static void test_limit(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct fixture *f = start();
        add_scores(f, full);
        expect(f, "*2\r\n$1\r\nb\r\n$1\r\nc\r\n", "ZRANGEBYSCORE", "z", "1", "3", "LIMIT", "1",
               "2");
        expect(f, "*2\r\n$1\r\nc\r\n$1\r\nd\r\n", "ZRANGEBYSCORE", "z", "1", "3", "limit", "2",
               "-1");
        expect(f, "*2\r\n$1\r\nc\r\n$1\r\nb\r\n", "ZREVRANGEBYSCORE", "z", "3", "1", "LIMIT", "1",
               "2");
        expect(f, EMPTY, "ZRANGEBYSCORE", "z", "1", "3", "LIMIT", "0", "0");
        expect(f, EMPTY, "ZRANGEBYSCORE", "z", "1", "3", "LIMIT", "4", "1");
        expect(f, EMPTY, "ZRANGEBYSCORE", "z", "1", "3", "LIMIT", "-1", "5");
        expect(f, "*1\r\n$1\r\na\r\n", "ZRANGEBYSCORE", "z", "1", "3", "LIMIT", "0", "5", "LIMIT",
               "0", "1");
        expect(f, "*1\r\n$1\r\nb\r\n", "ZRANGE", "z", "3", "1", "BYSCORE", "LIMIT", "2", "1",
               "REV");
        expect(f, "*1\r\n$2\r\nlo\r\n", "ZRANGE", "z", "0", "0", "LIMIT", "7",
               "-1"); /* -1: as if not given */
        fixture_free(f);
    }
}

/* Bounds are read by strtod, which takes more than scores may be. */
static void test_score_bounds(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"", ":4\r\n"},          {"(", ":4\r\n"},      {" 1", ":4\r\n"},     {"(  1", ":1\r\n"},
        {"1e400", ":0\r\n"},     {"-1e400", ":5\r\n"}, {"0x1", ":4\r\n"},    {"(0X1p0", ":1\r\n"},
        {"-INFINITY", ":5\r\n"}, {"(-inf", ":4\r\n"},  {"1e-400", ":4\r\n"},
    };
    static const char *const bad[] = {"x", "((1", "1 ", "nan", "(nan", "+", "-", "[1", "1x", "(1("};
    struct fixture *f = start();
    add_scores(f, false);
    for (size_t i = 0; i < COUNT_OF(good); i++)
        expect(f, good[i][1], "ZCOUNT", "z", good[i][0], "(inf");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        expect(f, NOT_FLOAT, "ZCOUNT", "s", bad[i], "1");
        expect(f, NOT_FLOAT, "ZCOUNT", "z", "1", bad[i]);
        expect(f, NOT_FLOAT, "ZRANGEBYSCORE", "s", bad[i], "1");
        expect(f, NOT_FLOAT, "ZREMRANGEBYSCORE", "s", "1", bad[i]);
        expect(f, NOT_FLOAT, "ZRANGESTORE", "d", "s", "1", bad[i], "BYSCORE");
    }
    struct bytes nul[4] = {BYTES_LIT("ZCOUNT"), BYTES_LIT("z"), BYTES_LIT("1\0x"), BYTES_LIT("1")};
    struct bytes wire = fixture_run_bytes(f, nul, 4); /* nothing after a NUL is seen */
    assert_int_equal(wire.len, 4);
    assert_memory_equal(wire.data, ":3\r\n", 4);
    fixture_free(f);
}

/* ---- by name */

static void test_by_name(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct fixture *f = start();
        add_names(f, full);
        expect(f, "*2\r\n$1\r\na\r\n$2\r\naa\r\n", "ZRANGEBYLEX", "l", "[a", "(b");
        expect(f, "*2\r\n$2\r\naa\r\n$1\r\nb\r\n", "ZRANGEBYLEX", "l", "(a", "[b");
        expect(f, "*2\r\n$0\r\n\r\n$1\r\na\r\n", "ZRANGEBYLEX", "l", "-", "[a");
        expect(f, "*1\r\n$0\r\n\r\n", "ZRANGEBYLEX", "l", "[", "(a");
        expect(f, "*1\r\n$1\r\na\r\n", "ZRANGEBYLEX", "l", "(", "(aa");
        expect(f, EMPTY, "ZRANGEBYLEX", "l", "+", "-");
        expect(f, EMPTY, "ZRANGEBYLEX", "l", "-", "-");
        expect(f, EMPTY, "ZRANGEBYLEX", "l", "+", "+");
        expect(f, EMPTY, "ZRANGEBYLEX", "l", "[c", "[b");
        expect(f, EMPTY, "ZRANGEBYLEX", "l", "(b", "[b");
        expect(f, EMPTY, "ZRANGEBYLEX", "none", "-", "+");
        expect(f, "*2\r\n$1\r\nc\r\n$1\r\nb\r\n", "ZREVRANGEBYLEX", "l", "[c", "(aa");
        expect(f, "*1\r\n$1\r\nb\r\n", "ZREVRANGEBYLEX", "l", "[c", "-", "LIMIT", "1", "1");
        expect(f, "*2\r\n$1\r\nb\r\n$1\r\nc\r\n", "ZRANGE", "l", "(aa", "[c", "BYLEX");
        expect(f, "*1\r\n$2\r\naa\r\n", "ZRANGE", "l", "[c", "[a", "BYLEX", "LIMIT", "2", "1",
               "REV");
        expect(f, full ? ":205\r\n" : ":5\r\n", "ZLEXCOUNT", "l", "-", "+");
        expect(f, ":2\r\n", "ZLEXCOUNT", "l", "(a", "(c");
        expect(f, ":0\r\n", "ZLEXCOUNT", "l", "+", "-");
        expect(f, ":0\r\n", "ZLEXCOUNT", "none", "-", "+");
        fixture_free(f);
    }
}

static void test_name_bounds(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a", "++", "-x", "*", "1"};
    struct fixture *f = start();
    add_names(f, false);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        expect(f, NOT_LEX, "ZLEXCOUNT", "s", bad[i], "+");
        expect(f, NOT_LEX, "ZRANGEBYLEX", "l", "-", bad[i]);
        expect(f, NOT_LEX, "ZREVRANGEBYLEX", "s", bad[i], "-");
        expect(f, NOT_LEX, "ZREMRANGEBYLEX", "s", bad[i], "+");
        expect(f, NOT_LEX, "ZRANGE", "s", bad[i], "+", "BYLEX");
    }
    struct bytes nul[4] = {BYTES_LIT("ZLEXCOUNT"), BYTES_LIT("l"), BYTES_LIT("-\0x"),
                           BYTES_LIT("+")};
    struct bytes wire = fixture_run_bytes(f, nul, 4);
    assert_int_equal(wire.len, 4);
    assert_memory_equal(wire.data, ":5\r\n", 4);
    expect(f, WRONGTYPE, "ZLEXCOUNT", "s", "-", "+");
    expect(f, WRONGTYPE, "ZRANGEBYLEX", "s", "-", "+");
    fixture_free(f);
}

/* ---- counting */

static void test_count(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct fixture *f = start();
        add_scores(f, full);
        expect(f, full ? ":206\r\n" : ":6\r\n", "ZCOUNT", "z", "-inf", "+inf");
        expect(f, ":4\r\n", "ZCOUNT", "z", "1", "(inf");
        expect(f, ":1\r\n", "ZCOUNT", "z", "(1", "2.5");
        expect(f, ":0\r\n", "ZCOUNT", "z", "3", "2");
        expect(f, ":0\r\n", "ZCOUNT", "none", "1", "2");
        expect(f, WRONGTYPE, "ZCOUNT", "s", "1", "2");
        expect(f, ARITY("zcount"), "ZCOUNT", "z", "1");
        fixture_free(f);
    }
}

/* ---- options */

static void test_option_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    add_scores(f, false);
    expect(f, SYNTAX, "ZRANGE", "s", "x", "y", "z");
    expect(f, SYNTAX, "ZRANGE", "z", "0", "1", "LIMIT", "1");
    expect(f, SYNTAX, "ZRANGE", "z", "0", "1", "LIMIT");
    expect(f, SYNTAX, "ZRANGE", "z", "0", "1", "BYSCORE", "BYLEX");
    expect(f, SYNTAX, "ZRANGE", "z", "0", "1", "BYSCORE", "BYSCORE");
    expect(f, SYNTAX, "ZRANGE", "z", "0", "1", "REV", "REV");
    expect(f, SYNTAX, "ZREVRANGE", "z", "0", "1", "REV");
    expect(f, SYNTAX, "ZREVRANGE", "z", "0", "1", "BYSCORE");
    expect(f, SYNTAX, "ZRANGEBYSCORE", "z", "0", "1", "BYSCORE");
    expect(f, SYNTAX, "ZRANGEBYLEX", "z", "-", "+", "REV");
    expect(f, NOT_INT, "ZRANGE", "s", "0", "1", "BYSCORE", "LIMIT", "x", "1", "bad");
    expect(f, NOT_INT, "ZRANGEBYSCORE", "s", "0", "1", "LIMIT", "0", "y");
    expect(f, NO_LIMIT, "ZRANGE", "s", "x", "y", "LIMIT", "0", "1", "WITHSCORES");
    expect(f, NO_LIMIT, "ZREVRANGE", "s", "0", "1", "LIMIT", "0", "1");
    expect(f, NO_SCORES, "ZRANGE", "s", "x", "y", "WITHSCORES", "BYLEX");
    expect(f, NO_SCORES, "ZRANGEBYLEX", "s", "x", "y", "WITHSCORES");
    expect(f, NO_SCORES, "ZREVRANGEBYLEX", "none", "+", "-", "WITHSCORES", "LIMIT", "0", "1");
    expect(f, NOT_INT, "ZRANGE", "s", "x", "1");
    expect(f, NOT_INT, "ZRANGE", "z", "0", "1.0");
    expect(f, NOT_INT, "ZREVRANGE", "s", "0", "9223372036854775808");
    expect(f, WRONGTYPE, "ZRANGE", "s", "0", "1");
    expect(f, WRONGTYPE, "ZREVRANGEBYSCORE", "s", "0", "1");
    expect(f, ARITY("zrange"), "ZRANGE", "z", "0");
    fixture_free(f);
}

/* ---- removing */

static void test_remove(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct fixture *f = start();
        add_scores(f, full);
        add_names(f, full);
        expect(f, ":2\r\n", "ZREMRANGEBYRANK", "z", "1", "2");
        expect(f, ":1\r\n", "ZREMRANGEBYSCORE", "z", "(1", "(inf");
        expect(f, ":3\r\n", "ZREMRANGEBYLEX", "l", "(", "[b");
        expect_log(f, "ZREMRANGEBYRANK z 1 2\nZREMRANGEBYRANK z 2 2\nZREMRANGEBYRANK l 1 3\n");
        expect_events(f, "zremrangebyrank z\nzremrangebyscore z\nzremrangebylex l\n");
        expect(f, "*2\r\n$2\r\nlo\r\n$1\r\nc\r\n", "ZRANGE", "z", "0", "1");
        expect(f, ":0\r\n", "ZREMRANGEBYRANK", "z", "5", "4");
        expect(f, ":0\r\n", "ZREMRANGEBYSCORE", "z", "5", "4");
        expect(f, ":0\r\n", "ZREMRANGEBYLEX", "l", "+", "-");
        expect(f, ":0\r\n", "ZREMRANGEBYRANK", "none", "0", "-1");
        expect(f, ":0\r\n", "ZREMRANGEBYSCORE", "none", "1", "2");
        expect(f, ":0\r\n", "ZREMRANGEBYLEX", "none", "-", "+");
        expect_log(f, "");
        expect_events(f, "");
        expect(f, full ? ":203\r\n" : ":3\r\n", "ZREMRANGEBYSCORE", "z", "-inf", "inf");
        expect(f, full ? ":202\r\n" : ":2\r\n", "ZREMRANGEBYRANK", "l", "0", "-1");
        expect_log(f, full ? "ZREMRANGEBYRANK z 0 202\nZREMRANGEBYRANK l 0 201\n"
                           : "ZREMRANGEBYRANK z 0 2\nZREMRANGEBYRANK l 0 1\n");
        expect_events(f, "zremrangebyscore z\ndel z\nzremrangebyrank l\ndel l\n");
        assert_null(record_of(f, "z"));
        assert_null(record_of(f, "l"));
        fixture_upkeep(f);
        fixture_free(f);
    }
}

static void test_remove_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NOT_INT, "ZREMRANGEBYRANK", "s", "x", "1");
    expect(f, NOT_INT, "ZREMRANGEBYRANK", "s", "1", "(1");
    expect(f, WRONGTYPE, "ZREMRANGEBYRANK", "s", "0", "1");
    expect(f, WRONGTYPE, "ZREMRANGEBYSCORE", "s", "0", "1");
    expect(f, WRONGTYPE, "ZREMRANGEBYLEX", "s", "-", "+");
    expect(f, ARITY("zremrangebyrank"), "ZREMRANGEBYRANK", "s", "0");
    expect(f, ARITY("zremrangebylex"), "ZREMRANGEBYLEX", "s", "-", "+", "x");
    fixture_free(f);
}

/* ---- ZRANGESTORE: keys of one slot by their tag, though this shard has all slots */

static void test_store(void **state)
{
    (void)state;
    struct fixture *f = start();
    add_scores(f, false);
    expect(f, ":3\r\n", "ZRANGESTORE", "d", "z", "1", "3");
    expect_log(f, "ZADD d 1 a 1 b 1 c\n");
    expect_events(f, "zrangestore d\n");
    expect(f, "*6\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n1\r\n$1\r\nc\r\n$1\r\n1\r\n", "ZRANGE",
           "d", "0", "-1", "WITHSCORES");
    expect(f, ":1\r\n", "EXPIRE", "d", "100");
    forget(f);
    expect(f, ":2\r\n", "ZRANGESTORE", "d", "z", "inf", "(1", "BYSCORE",
           "REV"); /* replaced, expiry too */
    expect_log(f, "DEL d\nZADD d 2.5 d inf hi\n");
    expect(f, ":-1\r\n", "TTL", "d");
    expect(f, ":1\r\n", "ZRANGESTORE", "s", "z", "-inf", "inf", "BYSCORE", "LIMIT", "1", "1");
    expect_log(f, "DEL s\nZADD s 1 a\n");
    expect_events(f, "zrangestore d\nzrangestore s\n");
    expect(f, ":2\r\n", "ZRANGESTORE", "z", "z", "0", "1", "REV"); /* onto itself */
    expect_log(f, "DEL z\nZADD z 2.5 d inf hi\n");
    add_names(f, false);
    expect(f, ":2\r\n", "ZRANGESTORE", "d", "l", "[b", "+", "BYLEX");
    expect_log(f, "DEL d\nZADD d 0 b 0 c\n");
    fixture_free(f);
}

static void test_store_nothing(void **state)
{
    (void)state;
    struct fixture *f = start();
    add_scores(f, false);
    expect(f, ":0\r\n", "ZRANGESTORE", "d", "none", "0", "-1");
    expect(f, ":0\r\n", "ZRANGESTORE", "d", "z", "5", "1");
    expect_log(f, "");
    expect_events(f, "");
    expect(f, ":0\r\n", "ZRANGESTORE", "s", "none", "0", "-1");
    expect_log(f, "DEL s\n");
    expect_events(f, "del s\n");
    assert_null(record_of(f, "s"));
    expect(f, ":0\r\n", "ZRANGESTORE", "z", "z", "100", "5", "BYSCORE");
    expect_log(f, "DEL z\n");
    assert_null(record_of(f, "z"));
    fixture_free(f);
}

static void test_store_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    add_scores(f, false);
    expect(f, SYNTAX, "ZRANGESTORE", "d", "s", "0", "-1", "WITHSCORES");
    expect(f, NO_LIMIT, "ZRANGESTORE", "d", "s", "x", "-1", "LIMIT", "1", "2");
    expect(f, NOT_INT, "ZRANGESTORE", "d", "s", "x", "-1");
    expect(f, NOT_LEX, "ZRANGESTORE", "d", "s", "0", "-1", "BYLEX");
    expect(f, WRONGTYPE, "ZRANGESTORE", "d", "s", "0", "-1");
    expect(f, ARITY("zrangestore"), "ZRANGESTORE", "d", "z", "0");
    assert_null(record_of(f, "d"));
    expect_log(f, "");
    fixture_free(f);
}

/* A destination that has expired, one of another type, big ones: room in the log is enough for all. */
static void test_store_big(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "z", 1000, "1.2345678901234567");
    expect(f, "+OK\r\n", "SET", "d", "v", "PX", "10");
    fixture_advance(f, 20);
    expect(f, ":128\r\n", "ZRANGESTORE", "d", "z", "0", "127");
    expect_encoding(f, "d", "listpack");
    expect(f, ":129\r\n", "ZRANGESTORE", "d", "z", "0", "128");
    expect_encoding(f, "d", "skiplist");
    expect(f, ":1000\r\n", "ZRANGESTORE", "d", "z", "0", "-1", "REV");
    expect(f, "*1\r\n$4\r\n~999\r\n", "ZRANGE", "d", "-1", "-1");
    expect(f, ":2\r\n", "ZRANGESTORE", "d", "d", "0", "1");
    expect_encoding(f, "d", "listpack");
    char longish[66];
    memset(longish, 'a', 65);
    longish[65] = 0;
    expect(f, ":1\r\n", "ZADD", "z", "-5", longish);
    expect(f, ":1\r\n", "ZRANGESTORE", "d", "z", "0", "0");
    expect_encoding(f, "d", "skiplist");
    fixture_upkeep(f);
    fixture_free(f);
}

static void test_store_no_memory(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "z", 200, "0.1");
    static const char *const stops[] = {"0", "50", "199"};
    for (size_t i = 0; i < COUNT_OF(stops); i++) {
        for (int exists = 0; exists < 2; exists++) {
            bool fired = true;
            for (uint32_t nth = 1; fired; nth++) {
                char key[32];
                snprintf(key, sizeof key, "k%zu:%d:%u", i, exists, nth);
                if (exists) expect(f, ":1\r\n", "ZADD", key, "7", "old");
                mem_fault_arm(nth);
                struct bytes wire = run(f, "ZRANGESTORE", key, "z", "0", stops[i]);
                fired = mem_fault_disarm();
                assert_true(wire.len >= 4);
                if (!fired) assert_int_equal(wire.data[0], ':');
                if (wire.data[0] != '-') continue;
                assert_memory_equal(wire.data, "-OOM", 4);
                expect(f, exists ? "$1\r\n7\r\n" : "$-1\r\n", "ZSCORE", key, "old");
                assert_true(nth < 2000);
            }
        }
    }
    fixture_upkeep(f);
    fixture_free(f);
}

/* ---- both encodings answer alike, and any sequence of changes is what its log replays to */

static const char *draw_bound(struct rng *rng, char text[static 16])
{
    static const char *const ends[] = {"-inf", "+inf", "(-inf", "(inf"};
    if (rng_below(rng, 4) == 0) return ends[rng_below(rng, COUNT_OF(ends))];
    snprintf(text, 16, "%s%d", rng_below(rng, 2) ? "(" : "", (int)rng_below(rng, 12) - 1);
    return text;
}

static const char *draw_index(struct rng *rng, char text[static 16])
{
    snprintf(text, 16, "%d", (int)rng_below(rng, 80) - 40);
    return text;
}

static void expect_same(struct fixture *f, const char *const *args)
{
    const char *copy[12] = {NULL};
    for (size_t i = 0; args[i] != NULL; i++)
        copy[i] = args[i];
    struct bytes wire = fixture_run(f, copy);
    char first[4096];
    assert_true(wire.len < sizeof first);
    memcpy(first, wire.data, wire.len);
    first[wire.len] = 0;
    copy[1] = "full";
    fixture_expect(f, first, copy, __FILE__, __LINE__);
}

static void test_encodings_alike(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct rng rng;
    rng_seed(&rng, 3);
    char longish[66], a[16], b[16], c[16], d[16];
    memset(longish, 'a', 65);
    longish[65] = 0;
    for (int i = 0; i < 30; i++) {
        snprintf(a, sizeof a, "%d", (int)rng_below(&rng, 10));
        snprintf(b, sizeof b, "m%d", i);
        expect_same(f, (const char *const[]){"ZADD", "packed", a, b, NULL});
        if (i > 0) continue;
        /* A long member, if only for a moment, makes it full for good. */
        expect(f, ":1\r\n", "ZADD", "full", "1", longish);
        expect(f, ":1\r\n", "ZREM", "full", longish);
    }
    expect_encoding(f, "packed", "listpack");
    expect_encoding(f, "full", "skiplist");
    for (int i = 0; i < 3000; i++) {
        const char *min = draw_bound(&rng, a), *max = draw_bound(&rng, b);
        const char *from = draw_index(&rng, c), *to = draw_index(&rng, d);
        expect_same(f, (const char *const[]){"ZRANGE", "packed", from, to, "WITHSCORES", NULL});
        expect_same(f, (const char *const[]){"ZREVRANGE", "packed", from, to, NULL});
        expect_same(f, (const char *const[]){"ZCOUNT", "packed", min, max, NULL});
        expect_same(f, (const char *const[]){"ZRANGE", "packed", min, max, "BYSCORE", "LIMIT", from,
                                             to, NULL});
        expect_same(f, (const char *const[]){"ZREVRANGEBYSCORE", "packed", max, min, "LIMIT", from,
                                             to, NULL});
    }
    fixture_free(f);
}

static void test_random_removals(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct rng rng;
    rng_seed(&rng, 5);
    char key[8], member[16], a[16], b[16];
    for (int i = 0; i < 6000; i++) {
        snprintf(key, sizeof key, "z%d", (int)rng_below(&rng, 4));
        snprintf(member, sizeof member, "m%d", (int)rng_below(&rng, 300));
        snprintf(a, sizeof a, "%d", (int)rng_below(&rng, 10));
        switch (rng_below(&rng, 40)) {
        case 0:
            snprintf(b, sizeof b, "%d", (int)rng_below(&rng, 60));
            (void)run(f, "ZREMRANGEBYRANK", key, a, b);
            break;
        case 1:
            (void)run(f, "ZREMRANGEBYSCORE", key, a, draw_bound(&rng, b));
            break;
        case 2:
            (void)run(f, "ZREMRANGEBYSCORE", key, "(3", "4.5");
            break;
        case 3:
            snprintf(b, sizeof b, "z%d", (int)rng_below(&rng, 4));
            (void)run(f, "ZRANGESTORE", key, b, draw_index(&rng, a), "-1",
                      rng_below(&rng, 2) ? "REV" : NULL);
            break;
        default:
            (void)run(f, "ZADD", key, a, member, "7", "x");
            break;
        }
    }
    fixture_upkeep(f);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_rank),         cmocka_unit_test(test_by_score),
        cmocka_unit_test(test_limit),           cmocka_unit_test(test_score_bounds),
        cmocka_unit_test(test_by_name),         cmocka_unit_test(test_name_bounds),
        cmocka_unit_test(test_count),           cmocka_unit_test(test_option_errors),
        cmocka_unit_test(test_remove),          cmocka_unit_test(test_remove_errors),
        cmocka_unit_test(test_store),           cmocka_unit_test(test_store_nothing),
        cmocka_unit_test(test_store_errors),    cmocka_unit_test(test_store_big),
        cmocka_unit_test(test_store_no_memory), cmocka_unit_test(test_encodings_alike),
        cmocka_unit_test(test_random_removals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
