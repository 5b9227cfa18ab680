/* Lists: every command, option and error, as Redis 7.4 answers. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"

#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define NOT_POSITIVE "-ERR value is out of range, must be positive\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"
#define ABC "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"

static void forget(struct fixture *f)
{
    (void)fixture_log(f);
    (void)fixture_events(f);
}

/* "s" is a string, to be the wrong type. */
static struct fixture *start(void)
{
    struct fixture *f = fixture_new(&list_cmds, &string_cmds, &keys_cmds);
    expect(f, "+OK\r\n", "SET", "s", "1");
    forget(f);
    return f;
}

/* With "l": a b c. */
static struct fixture *start_abc(void)
{
    struct fixture *f = start();
    expect(f, ":3\r\n", "RPUSH", "l", "a", "b", "c");
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

/* Elements are "0", "1", … */
static void fill(struct fixture *f, const char *key, int count)
{
    for (int i = 0; i < count; i++) {
        char element[16];
        snprintf(element, sizeof element, "%d", i);
        (void)run(f, "RPUSH", key, element);
    }
}

/* ---- the ends */

static void test_push(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":2\r\n", "RPUSH", "l", "b", "c");
    expect(f, ":4\r\n", "LPUSH", "l", "a", "1");
    expect(f, "*4\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "LRANGE", "l", "0", "-1");
    expect(f, ":5\r\n", "LPUSHX", "l", "x");
    expect(f, ":7\r\n", "RPUSHX", "l", "y", "");
    expect_log(f, "RPUSH l b c\nLPUSH l a 1\nLPUSH l x\nRPUSH l y \n");
    expect_events(f, "rpush l\nlpush l\nlpush l\nrpush l\n");
    expect(f, ":0\r\n", "LPUSHX", "none", "x");
    expect(f, ":0\r\n", "RPUSHX", "none", "x");
    expect(f, WRONGTYPE, "LPUSH", "s", "x");
    expect(f, WRONGTYPE, "RPUSH", "s", "x");
    expect(f, WRONGTYPE, "LPUSHX", "s", "x");
    expect(f, WRONGTYPE, "RPUSHX", "s", "x");
    expect(f, ARITY("lpush"), "LPUSH", "l");
    expect(f, ARITY("rpushx"), "RPUSHX", "l");
    expect_log(f, "");
    expect_events(f, "");
    assert_null(record_of(f, "none"));
    fixture_free(f);
}

static void test_pop(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":5\r\n", "RPUSH", "l", "a", "1", "b", "2", "c");
    forget(f);
    expect(f, "$1\r\na\r\n", "LPOP", "l");
    expect(f, "$1\r\nc\r\n", "RPOP", "l");
    expect(f, "*2\r\n$1\r\n2\r\n$1\r\nb\r\n", "RPOP", "l", "2");
    expect_log(f, "LPOP l\nRPOP l\nRPOP l 2\n");
    expect_events(f, "lpop l\nrpop l\nrpop l\n");
    expect(f, "*0\r\n", "LPOP", "l", "0");
    expect_log(f, "");
    expect_events(f, "");
    expect(f, "*1\r\n$1\r\n1\r\n", "LPOP", "l", "9223372036854775807");
    expect_log(f, "LPOP l 9223372036854775807\n");
    expect_events(f, "lpop l\ndel l\n");
    assert_null(record_of(f, "l"));
    expect(f, "$-1\r\n", "LPOP", "l");
    expect(f, "*-1\r\n", "LPOP", "l", "0");
    expect(f, "*-1\r\n", "RPOP", "l", "3");
    f->proto = 3;
    expect(f, "_\r\n", "LPOP", "l");
    expect(f, "_\r\n", "RPOP", "l", "3");
    fixture_free(f);
}

static void test_pop_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NOT_POSITIVE, "LPOP", "none", "-1");
    expect(f, NOT_POSITIVE, "RPOP", "s", "-1");
    expect(f, NOT_POSITIVE, "LPOP", "none", "x");
    expect(f, NOT_POSITIVE, "LPOP", "none", "9223372036854775808");
    expect(f, WRONGTYPE, "LPOP", "s");
    expect(f, WRONGTYPE, "RPOP", "s", "0");
    expect(f, ARITY("lpop"), "LPOP", "none", "x", "y");
    expect(f, ARITY("rpop"), "RPOP", "none", "1", "2");
    expect(f, ARITY("rpop"), "RPOP");
    expect_log(f, "");
    fixture_free(f);
}

static void test_mpop(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":2\r\n", "RPUSH", "m", "1", "2");
    forget(f);
    expect(f, "*2\r\n$1\r\nl\r\n*1\r\n$1\r\na\r\n", "LMPOP", "3", "none", "l", "m", "LEFT");
    expect(f, "*2\r\n$1\r\nl\r\n*2\r\n$1\r\nc\r\n$1\r\nb\r\n", "LMPOP", "2", "l", "m", "right",
           "count", "2");
    expect_log(f, "LPOP l 1\nRPOP l 2\n");
    expect_events(f, "lpop l\nrpop l\ndel l\n");
    assert_null(record_of(f, "l"));
    expect(f, "*2\r\n$1\r\nm\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n", "LMPOP", "3", "l", "m", "s", "LEFT",
           "COUNT", "9223372036854775807"); /* nobody looks at "s" */
    expect_log(f, "LPOP m 2\n");
    expect_events(f, "lpop m\ndel m\n");
    expect(f, "*-1\r\n", "LMPOP", "2", "l", "m", "LEFT", "COUNT", "3");
    f->proto = 3;
    expect(f, "_\r\n", "LMPOP", "1", "l", "RIGHT");
    expect_log(f, "");
    expect_events(f, "");
    fixture_free(f);
}

static void test_mpop_errors(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    static const char numkeys[] = "-ERR numkeys should be greater than 0\r\n";
    static const char count[] = "-ERR count should be greater than 0\r\n";
    expect(f, numkeys, "LMPOP", "0", "s", "LEFT");
    expect(f, numkeys, "LMPOP", "-1", "s", "LEFT");
    expect(f, numkeys, "LMPOP", "x", "s", "LEFT");
    expect(f, numkeys, "LMPOP", "9223372036854775808", "s", "LEFT");
    expect(f, SYNTAX, "LMPOP", "9223372036854775807", "s", "LEFT");
    expect(f, SYNTAX, "LMPOP", "2", "s", "LEFT");
    expect(f, SYNTAX, "LMPOP", "1", "s", "LEFT", "COUNT");
    expect(f, SYNTAX, "LMPOP", "1", "s", "MIDDLE");
    expect(f, SYNTAX, "LMPOP", "1", "s", "LEFT", "NOSUCH", "1");
    expect(f, SYNTAX, "LMPOP", "1", "s", "LEFT", "COUNT", "1", "COUNT", "2");
    expect(f, count, "LMPOP", "1", "s", "LEFT", "COUNT", "0", "x");
    expect(f, count, "LMPOP", "1", "s", "LEFT", "COUNT", "x");
    expect(f, count, "LMPOP", "1", "s", "LEFT", "COUNT", "-1");
    expect(f, WRONGTYPE, "LMPOP", "3", "none", "s", "l", "LEFT");
    expect(f, ARITY("lmpop"), "LMPOP", "1", "l");
    expect(f, ":3\r\n", "LLEN", "l");
    expect_log(f, "");
    fixture_free(f);
}

/* ---- indexes and ranges */

static void test_index(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":3\r\n", "LLEN", "l");
    expect(f, ":0\r\n", "LLEN", "none");
    expect(f, "$1\r\na\r\n", "LINDEX", "l", "0");
    expect(f, "$1\r\nc\r\n", "LINDEX", "l", "2");
    expect(f, "$1\r\nc\r\n", "LINDEX", "l", "-1");
    expect(f, "$1\r\na\r\n", "LINDEX", "l", "-3");
    expect(f, "$-1\r\n", "LINDEX", "l", "3");
    expect(f, "$-1\r\n", "LINDEX", "l", "-4");
    expect(f, "$-1\r\n", "LINDEX", "l", "-9223372036854775808");
    expect(f, "$-1\r\n", "LINDEX", "none", "x");
    expect(f, NOT_INT, "LINDEX", "l", "x");
    expect(f, NOT_INT, "LINDEX", "l", "99999999999999999999");
    expect(f, WRONGTYPE, "LINDEX", "s", "x");
    expect(f, WRONGTYPE, "LLEN", "s");
    f->proto = 3;
    expect(f, "_\r\n", "LINDEX", "l", "3");
    fixture_free(f);
}

static void test_range(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ABC, "LRANGE", "l", "0", "-1");
    expect(f, ABC, "LRANGE", "l", "-9223372036854775808", "9223372036854775807");
    expect(f, "*1\r\n$1\r\nb\r\n", "LRANGE", "l", "1", "1");
    expect(f, "*2\r\n$1\r\nb\r\n$1\r\nc\r\n", "LRANGE", "l", "-2", "5");
    expect(f, "*0\r\n", "LRANGE", "l", "2", "1");
    expect(f, "*0\r\n", "LRANGE", "l", "3", "5");
    expect(f, "*0\r\n", "LRANGE", "l", "0", "-4");
    expect(f, "*0\r\n", "LRANGE", "none", "0", "-1");
    expect(f, NOT_INT, "LRANGE", "s", "x", "0");
    expect(f, NOT_INT, "LRANGE", "none", "0", "x");
    expect(f, WRONGTYPE, "LRANGE", "s", "0", "1");
    expect(f, ARITY("lrange"), "LRANGE", "l", "0");
    fixture_free(f);
}

static void test_trim(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":5\r\n", "RPUSH", "l", "x", "a", "b", "c", "y");
    forget(f);
    expect(f, "+OK\r\n", "LTRIM", "l", "1", "-2");
    expect(f, ABC, "LRANGE", "l", "0", "-1");
    expect_log(f, "LTRIM l 1 -2\n");
    expect(f, "+OK\r\n", "LTRIM", "l", "-100", "100");
    expect(f, ABC, "LRANGE", "l", "0", "-1");
    expect_log(f, "");
    expect_events(f, "ltrim l\nltrim l\n");
    expect(f, "+OK\r\n", "LTRIM", "l", "5", "9");
    expect_log(f, "LTRIM l 5 9\n");
    expect_events(f, "ltrim l\ndel l\n");
    assert_null(record_of(f, "l"));
    expect(f, "+OK\r\n", "LTRIM", "none", "0", "0");
    expect(f, NOT_INT, "LTRIM", "none", "x", "0");
    expect(f, NOT_INT, "LTRIM", "s", "0", "x");
    expect(f, WRONGTYPE, "LTRIM", "s", "0", "0");
    expect_log(f, "");
    fixture_free(f);
}

static void test_set(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, "+OK\r\n", "LSET", "l", "0", "first");
    expect(f, "+OK\r\n", "LSET", "l", "-1", "3");
    expect(f, "*3\r\n$5\r\nfirst\r\n$1\r\nb\r\n$1\r\n3\r\n", "LRANGE", "l", "0", "-1");
    expect_log(f, "LSET l 0 first\nLSET l -1 3\n");
    expect_events(f, "lset l\nlset l\n");
    expect(f, "-ERR no such key\r\n", "LSET", "none", "x", "a");
    expect(f, WRONGTYPE, "LSET", "s", "x", "a");
    expect(f, NOT_INT, "LSET", "l", "x", "a");
    expect(f, "-ERR index out of range\r\n", "LSET", "l", "3", "a");
    expect(f, "-ERR index out of range\r\n", "LSET", "l", "-4", "a");
    expect_log(f, "");
    fixture_free(f);
}

/* ---- by value */

static void test_insert(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":2\r\n", "RPUSH", "l", "a", "7");
    forget(f);
    expect(f, ":3\r\n", "LINSERT", "l", "before", "a", "x");
    expect(f, ":4\r\n", "LINSERT", "l", "AFTER", "7", "z");
    expect(f, ":5\r\n", "LINSERT", "l", "Before", "7", "");
    expect(f, "*5\r\n$1\r\nx\r\n$1\r\na\r\n$0\r\n\r\n$1\r\n7\r\n$1\r\nz\r\n", "LRANGE", "l", "0",
           "-1");
    expect_log(f, "LINSERT l before a x\nLINSERT l AFTER 7 z\nLINSERT l Before 7 \n");
    expect_events(f, "linsert l\nlinsert l\nlinsert l\n");
    expect(f, ":-1\r\n", "LINSERT", "l", "BEFORE", "07", "x");
    expect(f, ":0\r\n", "LINSERT", "none", "BEFORE", "a", "x");
    expect(f, SYNTAX, "LINSERT", "s", "BEFOREx", "a", "x");
    expect(f, WRONGTYPE, "LINSERT", "s", "BEFORE", "a", "x");
    expect(f, ARITY("linsert"), "LINSERT", "l", "BEFORE", "a");
    expect_log(f, "");
    fixture_free(f);
}

static void test_rem(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":7\r\n", "RPUSH", "l", "a", "1", "a", "b", "a", "1", "a");
    forget(f);
    expect(f, ":1\r\n", "LREM", "l", "1", "a");
    expect(f, ":1\r\n", "LREM", "l", "-1", "a");
    expect(f, "*5\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\na\r\n$1\r\n1\r\n", "LRANGE", "l", "0",
           "-1");
    expect(f, ":2\r\n", "LREM", "l", "5", "1");
    expect(f, ":0\r\n", "LREM", "l", "0", "1");
    expect(f, ":0\r\n", "LREM", "none", "0", "1");
    expect_log(f, "LREM l 1 a\nLREM l -1 a\nLREM l 5 1\n");
    expect_events(f, "lrem l\nlrem l\nlrem l\n");
    expect(f, ":2\r\n", "LREM", "l", "-9223372036854775808", "a");
    expect(f, ":1\r\n", "LREM", "l", "0", "b");
    expect_events(f, "lrem l\nlrem l\ndel l\n");
    assert_null(record_of(f, "l"));
    expect(f, NOT_INT, "LREM", "s", "x", "a");
    expect(f, WRONGTYPE, "LREM", "s", "0", "a");
    fixture_free(f);
}

static void test_pos(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":8\r\n", "RPUSH", "l", "a", "b", "c", "1", "2", "c", "c", "a");
    expect(f, ":0\r\n", "LPOS", "l", "a");
    expect(f, ":3\r\n", "LPOS", "l", "1");
    expect(f, "$-1\r\n", "LPOS", "l", "x");
    expect(f, ":5\r\n", "LPOS", "l", "c", "RANK", "2");
    expect(f, ":6\r\n", "LPOS", "l", "c", "rank", "-1");
    expect(f, ":5\r\n", "LPOS", "l", "c", "RANK", "-2");
    expect(f, "$-1\r\n", "LPOS", "l", "c", "RANK", "4");
    expect(f, "$-1\r\n", "LPOS", "l", "c", "RANK", "-9223372036854775807");
    expect(f, "*3\r\n:2\r\n:5\r\n:6\r\n", "LPOS", "l", "c", "COUNT", "0");
    expect(f, "*2\r\n:2\r\n:5\r\n", "LPOS", "l", "c", "COUNT", "2");
    expect(f, "*2\r\n:5\r\n:6\r\n", "LPOS", "l", "c", "RANK", "2", "COUNT", "5");
    expect(f, "*2\r\n:6\r\n:5\r\n", "LPOS", "l", "c", "COUNT", "2", "RANK", "-1");
    expect(f, "*0\r\n", "LPOS", "l", "x", "COUNT", "0");
    expect(f, "*1\r\n:2\r\n", "LPOS", "l", "c", "COUNT", "0", "MAXLEN", "4");
    expect(f, "*0\r\n", "LPOS", "l", "c", "COUNT", "0", "MAXLEN", "2");
    expect(f, "$-1\r\n", "LPOS", "l", "c", "MAXLEN", "2");
    expect(f, ":6\r\n", "LPOS", "l", "c", "MAXLEN", "2", "RANK", "-1");
    expect(f, "*3\r\n:2\r\n:5\r\n:6\r\n", "LPOS", "l", "c", "MAXLEN", "0", "COUNT", "0");
    expect(f, "$-1\r\n", "LPOS", "none", "a");
    expect(f, "*0\r\n", "LPOS", "none", "a", "COUNT", "1");
    f->proto = 3;
    expect(f, "_\r\n", "LPOS", "none", "a");
    fixture_free(f);
}

static void test_pos_errors(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f,
           "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or "
           "use negative "
           "to start from the end of the list\r\n",
           "LPOS", "l", "a", "RANK", "0");
    expect(f, NOT_INT, "LPOS", "l", "a", "RANK", "x");
    expect(f,
           "-ERR value is out of range, value must between -9223372036854775807 and "
           "9223372036854775807\r\n",
           "LPOS", "l", "a", "RANK", "-9223372036854775808");
    expect(f, "-ERR COUNT can't be negative\r\n", "LPOS", "l", "a", "COUNT", "-1");
    expect(f, "-ERR COUNT can't be negative\r\n", "LPOS", "l", "a", "COUNT", "x");
    expect(f, "-ERR MAXLEN can't be negative\r\n", "LPOS", "l", "a", "MAXLEN", "-1");
    expect(f, SYNTAX, "LPOS", "l", "a", "MAXLEN");
    expect(f, SYNTAX, "LPOS", "none", "a", "FOO", "1");
    expect(f, SYNTAX, "LPOS", "l", "a", "COUNT", "1", "x");
    expect(f, WRONGTYPE, "LPOS", "s", "a", "COUNT", "0");
    fixture_free(f);
}

/* ---- from one list to another, or round */

static void test_move(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, "$1\r\na\r\n", "LMOVE", "l", "t", "LEFT", "RIGHT");
    expect(f, "$1\r\nc\r\n", "LMOVE", "l", "t", "right", "left");
    expect(f, "*2\r\n$1\r\nc\r\n$1\r\na\r\n", "LRANGE", "t", "0", "-1");
    expect_log(f, "LPOP l\nRPUSH t a\nRPOP l\nLPUSH t c\n");
    expect_events(f, "rpush t\nlpop l\nlpush t\nrpop l\n");
    expect(f, "$1\r\nb\r\n", "RPOPLPUSH", "l", "t");
    expect_log(f, "RPOP l\nLPUSH t b\n");
    expect_events(f, "lpush t\nrpop l\ndel l\n");
    assert_null(record_of(f, "l"));
    expect(f, "$1\r\nb\r\n", "LMOVE", "t", "l", "LEFT", "LEFT");
    expect(f, "$1\r\na\r\n", "LMOVE", "t", "l", "RIGHT", "RIGHT");
    expect(f, "*2\r\n$1\r\nb\r\n$1\r\na\r\n", "LRANGE", "l", "0", "-1");
    expect(f, ":3\r\n", "RPUSH", "l", "");
    expect(f, "$0\r\n\r\n", "LMOVE", "l", "l", "RIGHT", "LEFT"); /* no bytes to carry round */
    expect(f, "$0\r\n\r\n", "LMOVE", "l", "t", "LEFT", "LEFT");
    fixture_free(f);
}

static void test_move_errors(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, "$-1\r\n", "LMOVE", "none", "s", "LEFT", "RIGHT");
    expect(f, "$-1\r\n", "RPOPLPUSH", "none", "none");
    expect(f, SYNTAX, "LMOVE", "none", "s", "UP", "RIGHT");
    expect(f, SYNTAX, "LMOVE", "none", "s", "LEFT", "DOWN");
    expect(f, WRONGTYPE, "LMOVE", "s", "l", "LEFT", "RIGHT");
    expect(f, WRONGTYPE, "LMOVE", "l", "s", "LEFT", "RIGHT");
    expect(f, WRONGTYPE, "RPOPLPUSH", "s", "s");
    expect(f, ARITY("lmove"), "LMOVE", "l", "l", "LEFT");
    expect(f, ABC, "LRANGE", "l", "0", "-1");
    expect_log(f, "");
    expect_events(f, "");
    f->proto = 3;
    expect(f, "_\r\n", "LMOVE", "none", "s", "LEFT", "RIGHT");
    fixture_free(f);
}

static void test_move_round(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, "$1\r\nc\r\n", "RPOPLPUSH", "l", "l");
    expect(f, "*3\r\n$1\r\nc\r\n$1\r\na\r\n$1\r\nb\r\n", "LRANGE", "l", "0", "-1");
    expect(f, "$1\r\nc\r\n", "LMOVE", "l", "l", "LEFT", "RIGHT");
    expect(f, ABC, "LRANGE", "l", "0", "-1");
    expect_log(f, "RPOP l\nLPUSH l c\nLPOP l\nRPUSH l c\n");
    expect_events(f, "lpush l\nrpop l\nrpush l\nlpop l\n");
    expect(f, "$1\r\na\r\n", "LMOVE", "l", "l", "LEFT", "LEFT");
    expect(f, "$1\r\nc\r\n", "LMOVE", "l", "l", "RIGHT", "RIGHT");
    expect_events(f, "lpush l\nlpop l\nrpush l\nrpop l\n");
    expect(f, ":1\r\n", "RPUSH", "one", "x");
    forget(f);
    expect(f, "$1\r\nx\r\n", "RPOPLPUSH", "one", "one");
    expect_events(f, "lpush one\nrpop one\n");
    expect_log(f, ""); /* popping it in replay would end the key and its expiry */
    expect(f, ABC, "LRANGE", "l", "0", "-1");
    fixture_free(f);
}

/* The element that is logged is larger than the request. */
static void test_move_large(void **state)
{
    (void)state;
    struct fixture *f = start();
    static char large[20001];
    memset(large, 'x', 20000);
    large[20000] = 0;
    expect(f, ":2\r\n", "RPUSH", "l", large, "a");
    assert_int_equal(run(f, "LMOVE", "l", "t", "LEFT", "LEFT").len, 20010);
    expect(f, ":2\r\n", "LPUSH", "t", "b");
    assert_int_equal(run(f, "RPOPLPUSH", "t", "t").len, 20010);
    expect(f, "$1\r\nb\r\n", "LINDEX", "t", "-1");
    fixture_free(f);
}

/* ---- encodings, expiry, memory */

static void test_encodings(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct type_limits before = type_limits;
    type_limits.list_listpack_size = 3;
    expect(f, ":3\r\n", "RPUSH", "l", "a", "b", "c");
    expect_encoding(f, "l", "listpack");
    expect(f, "$1\r\nc\r\n", "RPOPLPUSH", "l", "l"); /* full, and never fuller */
    expect_encoding(f, "l", "listpack");
    expect(f, ":4\r\n", "LPUSH", "l", "d");
    expect_encoding(f, "l", "quicklist");
    expect(f, "$1\r\nd\r\n", "LPOP", "l");
    expect_encoding(f, "l", "quicklist");
    expect(f, "+OK\r\n", "LTRIM", "l", "0", "0"); /* back at half of what fits */
    expect_encoding(f, "l", "listpack");
    expect(f, ":3\r\n", "RPUSH", "i", "a", "b", "c");
    expect(f, ":4\r\n", "LINSERT", "i", "AFTER", "b", "x");
    expect_encoding(f, "i", "quicklist");
    expect(f, "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nx\r\n$1\r\nc\r\n", "LRANGE", "i", "0", "-1");
    expect(f, ":3\r\n", "RPUSH", "m", "1", "2", "3");
    expect(f, "$1\r\na\r\n", "LMOVE", "i", "m", "LEFT", "LEFT");
    expect_encoding(f, "m", "quicklist");
    type_limits.list_listpack_size = -1; /* 4 KiB */
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    expect(f, ":1\r\n", "RPUSH", "b", "a");
    expect(f, "+OK\r\n", "LSET", "b", "0", big);
    expect_encoding(f, "b", "quicklist");
    type_limits = before;
    fixture_free(f);
}

static void test_expiry(void **state)
{
    (void)state;
    struct fixture *f = start_abc();
    expect(f, ":1\r\n", "PEXPIRE", "l", "100");
    expect(f, ":4\r\n", "RPUSH", "l", "d"); /* keeps it */
    expect(f, ":1\r\n", "RPUSH", "one", "x");
    expect(f, ":1\r\n", "PEXPIRE", "one", "200");
    expect(f, "$1\r\nx\r\n", "RPOPLPUSH", "one", "one");
    expect(f, ":200\r\n", "PTTL", "one");
    fixture_advance(f, 100);
    forget(f);
    expect(f, "$-1\r\n", "LMOVE", "l", "one", "LEFT", "LEFT");
    expect_log(f, "DEL l\n");
    expect(f, ":2\r\n", "RPUSH", "from", "1", "2");
    fixture_advance(f, 100);
    forget(f);
    expect(f, "$1\r\n2\r\n", "RPOPLPUSH", "from", "one");
    expect(f, "*1\r\n$1\r\n2\r\n", "LRANGE", "one", "0", "-1");
    expect(f, ":-1\r\n", "PTTL", "one");
    expect_log(f, "DEL one\nRPOP from\nLPUSH one 2\n");
    expect_events(f, "expired one\nlpush one\nrpop from\n");
    expect(f, ":1\r\n", "PEXPIRE", "one", "100");
    fixture_advance(f, 100);
    forget(f);
    expect(f, "*2\r\n$4\r\nfrom\r\n*1\r\n$1\r\n1\r\n", "LMPOP", "2", "one", "from", "LEFT");
    expect_log(f, "DEL one\nLPOP from 1\n");
    fixture_free(f);
}

/* Lists of many chunks answer like small ones. */
static void test_long_list(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "l", 5000);
    expect_encoding(f, "l", "quicklist");
    expect(f, ":5000\r\n", "LLEN", "l");
    expect(f, "$4\r\n2500\r\n", "LINDEX", "l", "2500");
    expect(f, "$4\r\n2500\r\n", "LINDEX", "l", "-2500");
    expect(f, ":4321\r\n", "LPOS", "l", "4321");
    expect(f, ":4321\r\n", "LPOS", "l", "4321", "RANK", "-1");
    expect(f, "*2\r\n$4\r\n3000\r\n$4\r\n3001\r\n", "LRANGE", "l", "3000", "3001");
    expect(f, ":5001\r\n", "LINSERT", "l", "BEFORE", "2500", "x");
    expect(f, "$1\r\nx\r\n", "LINDEX", "l", "2500");
    expect(f, ":1\r\n", "LREM", "l", "-3", "x");
    expect(f, "*3\r\n$4\r\n4999\r\n$4\r\n4998\r\n$4\r\n4997\r\n", "RPOP", "l", "3");
    expect(f, "*3\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n", "LPOP", "l", "3");
    assert_true(run(f, "LPOP", "l", "1000").len > 1000 * 7);
    expect(f, "$4\r\n1003\r\n", "LINDEX", "l", "0");
    expect(f, "+OK\r\n", "LTRIM", "l", "-2", "-1");
    expect(f, "*2\r\n$4\r\n4995\r\n$4\r\n4996\r\n", "LRANGE", "l", "0", "-1");
    expect_encoding(f, "l", "listpack");
    fixture_free(f);
}

/* Whatever allocation fails: the reply says so, no element is lost, and what is stored is what is logged
 * (fixture_free). "t": three elements; "k" absent, small, or of many chunks. */
static void test_no_memory(void **state)
{
    (void)state;
    char big[12000], middle[400];
    memset(big, 'b', sizeof big - 1);
    big[sizeof big - 1] = 0;
    memset(middle, 'm', sizeof middle - 1);
    middle[sizeof middle - 1] = 0;
    struct fixture *f = start();
    const char *const requests[][8] = {
        {"LPUSH", "k", middle, "7", big, "8", middle},
        {"RPUSH", "k", "a"},
        {"LPUSHX", "k", big},
        {"LSET", "k", "1", middle},
        {"LSET", "k", "-1", big},
        {"LINSERT", "k", "AFTER", "1", middle},
        {"LINSERT", "k", "BEFORE", "1", big},
        {"LREM", "k", "1", "1"},
        {"LTRIM", "k", "1", "3"},
        {"RPOP", "k", "2"},
        {"LMOVE", "k", "t", "LEFT", "RIGHT"},
        {"LMOVE", "t", "k", "RIGHT", "RIGHT"},
        {"RPOPLPUSH", "k", "k"},
        {"LMOVE", "k", "k", "LEFT", "RIGHT"},
    };
    static const int sizes[] = {0, 4, 1200};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        for (size_t s = 0; s < COUNT_OF(sizes); s++) {
            bool fired = true;
            for (uint32_t nth = 1; fired; nth++) {
                (void)run(f, "LTRIM", "k", "1", "0");
                (void)run(f, "LTRIM", "t", "1", "0");
                expect(f, ":3\r\n", "RPUSH", "t", "a", "b", middle);
                fill(f, "k", sizes[s]);
                uint64_t digest = fixture_digest(f);
                mem_fault_arm(nth);
                struct bytes wire = fixture_run(f, requests[i]);
                fired = mem_fault_disarm();
                assert_true(wire.len >= 3);
                bool failed = wire.data[0] == '-' && wire.data[1] == 'O';
                if (!fired) assert_false(failed);
                if (failed && i > 0) assert_int_equal(fixture_digest(f), digest);
                if (failed && i == 0)
                    fixture_check(f); /* some may have been pushed: so says the log */
                assert_true(nth < 100);
            }
        }
    }
    fixture_free(f);
}

/* ---- any sequence of changes is what its log replays to */

static void change_once(struct fixture *f, struct rng *rng)
{
    char key[8], target[8], element[600], number[16];
    snprintf(key, sizeof key, "l%d", (int)rng_below(rng, 4));
    snprintf(target, sizeof target, "l%d", (int)rng_below(rng, 4));
    snprintf(number, sizeof number, "%d", (int)rng_below(rng, 40) - 20);
    if (rng_below(rng, 3) == 0) {
        size_t len = rng_below(rng, sizeof element);
        memset(element, 'e', len);
        element[len] = 0;
    } else {
        snprintf(element, sizeof element, "%d", (int)rng_below(rng, 30));
    }
    switch (rng_below(rng, 14)) {
    case 0:
        (void)run(f, "LPOP", key);
        break;
    case 1:
        (void)run(f, "RPOP", key, "3");
        break;
    case 2:
        (void)run(f, "LREM", key, number, "7");
        break;
    case 3:
        (void)run(f, "LSET", key, number, element);
        break;
    case 4:
        (void)run(f, "LINSERT", key, "BEFORE", "3", element);
        break;
    case 5:
        (void)run(f, "LINSERT", key, "AFTER", "4", element);
        break;
    case 6:
        (void)run(f, "LMOVE", key, target, "LEFT", "RIGHT");
        break;
    case 7:
        (void)run(f, "LMOVE", key, target, "RIGHT", "RIGHT");
        break;
    case 8:
        (void)run(f, "RPOPLPUSH", key, target);
        break;
    case 9:
        (void)run(f, "LPUSHX", key, element);
        break;
    case 10:
        (void)run(f, "LPUSH", key, element, "1", "2");
        break;
    case 11:
        if (rng_below(rng, 60) == 0) (void)run(f, "LTRIM", key, "3", "40");
        break;
    default:
        (void)run(f, "RPUSH", key, element, "3", "4");
        break;
    }
}

static void test_random_changes(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct rng rng;
    rng_seed(&rng, 11);
    for (int i = 0; i < 6000; i++) {
        f->db = i % 5 == 0;
        change_once(f, &rng);
    }
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push),        cmocka_unit_test(test_pop),
        cmocka_unit_test(test_mpop),        cmocka_unit_test(test_mpop_errors),
        cmocka_unit_test(test_pop_errors),  cmocka_unit_test(test_index),
        cmocka_unit_test(test_range),       cmocka_unit_test(test_trim),
        cmocka_unit_test(test_set),         cmocka_unit_test(test_insert),
        cmocka_unit_test(test_rem),         cmocka_unit_test(test_pos),
        cmocka_unit_test(test_pos_errors),  cmocka_unit_test(test_move),
        cmocka_unit_test(test_move_errors), cmocka_unit_test(test_move_round),
        cmocka_unit_test(test_move_large),  cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_expiry),      cmocka_unit_test(test_long_list),
        cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_random_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
