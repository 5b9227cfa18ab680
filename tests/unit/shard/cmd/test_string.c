/* Strings: every command, option and error, as Redis 7.4 answers; what is logged; what is told. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shard/types/str.h"
#include "tests/lib/cmd_fixture.h"

#define OK "+OK\r\n"
#define NIL "$-1\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define NOT_FLOAT "-ERR value is not a valid float\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define BAD_TIME(name) "-ERR invalid expire time in '" name "' command\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"

static struct fixture *start(void)
{
    return fixture_new(&string_cmds, &keys_cmds, &list_cmds);
}

static void test_get_set(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NIL, "GET", "k");
    expect(f, OK, "SET", "k", "v");
    expect(f, "$1\r\nv\r\n", "get", "k");
    expect(f, OK, "SET", "k", "");
    expect(f, "$0\r\n\r\n", "GET", "k");
    expect(f, OK, "SET", "", "empty name");
    expect(f, "$10\r\nempty name\r\n", "GET", "");
    f->proto = 3;
    expect(f, "_\r\n", "GET", "nothing");
    expect(f, ":1\r\n", "RPUSH", "list", "x");
    expect(f, WRONGTYPE, "GET", "list");
    expect(f, OK, "SET", "list", "now a string");
    expect(f, "$12\r\nnow a string\r\n", "GET", "list");
    expect_log(f, "SET k v\nSET k \nSET  empty name\nRPUSH list x\nSET list now a string\n");
    expect(f, ARITY("get"), "GET");
    expect(f, ARITY("get"), "GET", "k", "k");
    expect(f, ARITY("set"), "SET", "k");
    fixture_free(f);
}

static void test_set_conditions(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NIL, "SET", "k", "v", "XX");
    expect(f, OK, "SET", "k", "v", "nx");
    expect(f, NIL, "SET", "k", "w", "NX");
    expect(f, OK, "SET", "k", "w", "XX");
    expect(f, "$1\r\nw\r\n", "SET", "k", "x", "GET");
    expect(f, "$1\r\nx\r\n", "SET", "k", "y", "NX", "GET");
    expect(f, "$1\r\nx\r\n", "GET", "k");
    expect(f, NIL, "SET", "n", "1", "NX", "GET");
    expect(f, NIL, "SET", "m", "1", "XX", "GET");
    expect(f, NIL, "GET", "m");
    expect(f, "$1\r\n1\r\n", "GET", "n");
    expect_log(f, "SET k v\nSET k w\nSET k x\nSET n 1\n");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, WRONGTYPE, "SET", "list", "v", "GET");
    expect(f, NIL, "SET", "list", "v", "NX");
    expect(f, OK, "SET", "list", "v", "XX");
    fixture_free(f);
}

static void test_set_syntax(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, SYNTAX, "SET", "k", "v", "NX", "XX");
    expect(f, SYNTAX, "SET", "k", "v", "EX", "1", "PX", "1");
    expect(f, SYNTAX, "SET", "k", "v", "EX", "1", "KEEPTTL");
    expect(f, SYNTAX, "SET", "k", "v", "KEEPTTL", "EXAT", "1");
    expect(f, SYNTAX, "SET", "k", "v", "EX");
    expect(f, SYNTAX, "SET", "k", "v", "PERSIST");
    expect(f, SYNTAX, "SET", "k", "v", "1");
    expect(f, SYNTAX, "SET", "k", "v", "EX", "x", "foo");
    expect(f, OK, "SET", "k", "v", "NX", "NX");
    expect(f, OK, "SET", "k", "v", "EX", "1", "EX", "10");
    expect(f, ":10\r\n", "TTL", "k");
    expect(f, OK, "SET", "k", "v", "KEEPTTL", "KEEPTTL");
    expect(f, NOT_INT, "SET", "k", "v", "EX", "x");
    expect(f, BAD_TIME("set"), "SET", "k", "v", "EX", "0");
    expect(f, BAD_TIME("set"), "SET", "k", "v", "PX", "-1");
    expect(f, BAD_TIME("set"), "SET", "k", "v", "EX", "9223372036854775807");
    expect(f, BAD_TIME("set"), "SET", "k", "v", "EXAT", "9223372036854776");
    expect(f, BAD_TIME("set"), "SET", "k", "v", "PX", "9223372036854775807");
    expect(f, OK, "SET", "k", "v", "PXAT", "9223372036854775807");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, BAD_TIME("set"), "SET", "list", "v", "GET", "EX", "0");
    fixture_free(f);
}

static void test_set_times(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "SET", "a", "v", "EX", "10");
    expect(f, OK, "SET", "b", "v", "PX", "10");
    expect(f, OK, "SET", "c", "v", "EXAT", "1700000020");
    expect(f, OK, "SET", "d", "v", "PXAT", "1700000000030");
    expect_log(f, "SET a v PXAT 1700000010000\nSET b v PXAT 1700000000010\n"
                  "SET c v PXAT 1700000020000\nSET d v PXAT 1700000000030\n");
    expect_events(f, "set a\nexpire a\nset b\nexpire b\nset c\nexpire c\nset d\nexpire d\n");
    expect(f, ":10000\r\n", "PTTL", "a");
    fixture_advance(f, 10);
    expect(f, NIL, "GET", "b");
    expect_log(f, "DEL b\n");
    expect_events(f, "expired b\n");
    expect(f, OK, "SET", "a", "w", "KEEPTTL");
    expect(f, ":9990\r\n", "PTTL", "a");
    expect_log(f, "SET a w PXAT 1700000010000\n");
    expect(f, OK, "SET", "a", "w");
    expect(f, ":-1\r\n", "PTTL", "a");
    expect_events(f, "set a\nset a\n");
    expect(f, OK, "SET", "a", "w", "KEEPTTL");
    expect(f, ":-1\r\n", "PTTL", "a");
    fixture_free(f);
}

/* A deadline in the past: the key is gone at once, and the answer is that of a SET that worked. */
static void test_set_in_the_past(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "SET", "k", "v");
    expect(f, OK, "SET", "k", "w", "PXAT", "1700000000000");
    expect(f, NIL, "GET", "k");
    expect(f, OK, "SET", "k", "w", "EXAT", "1");
    expect(f, ":0\r\n", "EXISTS", "k");
    expect(f, OK, "SET", "k", "v");
    expect(f, "$1\r\nv\r\n", "SET", "k", "w", "GET", "EXAT", "1");
    expect(f, NIL, "GET", "k");
    expect_log(f, "SET k v\nDEL k\nSET k v\nDEL k\n");
    fixture_free(f);
}

static void test_setex(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "SETEX", "k", "10", "v");
    expect(f, OK, "PSETEX", "p", "10", "v");
    expect_log(f, "SET k v PXAT 1700000010000\nSET p v PXAT 1700000000010\n");
    expect(f, BAD_TIME("setex"), "SETEX", "k", "0", "v");
    expect(f, BAD_TIME("psetex"), "PSETEX", "k", "-5", "v");
    expect(f, NOT_INT, "SETEX", "k", "1.5", "v");
    expect(f, ARITY("setex"), "SETEX", "k", "10");
    expect(f, ":1\r\n", "SETNX", "n", "v");
    expect(f, ":0\r\n", "SETNX", "n", "w");
    fixture_advance(f, 10);
    expect(f, ":1\r\n", "SETNX", "p", "w");
    expect_log(f, "SET n v\nDEL p\nSET p w\n");
    expect_events(f, "set k\nexpire k\nset p\nexpire p\nset n\nexpired p\nset p\n");
    fixture_free(f);
}

static void test_getset_getdel(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NIL, "GETSET", "k", "1");
    expect(f, "$1\r\n1\r\n", "GETSET", "k", "two");
    expect(f, "$3\r\ntwo\r\n", "GETDEL", "k");
    expect(f, NIL, "GETDEL", "k");
    expect_log(f, "SET k 1\nSET k two\nDEL k\n");
    expect_events(f, "set k\nset k\ndel k\n");
    expect(f, OK, "SET", "k", "v", "EX", "10");
    expect(f, "$1\r\nv\r\n", "GETSET", "k", "w");
    expect(f, ":-1\r\n", "TTL", "k");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, WRONGTYPE, "GETSET", "list", "v");
    expect(f, WRONGTYPE, "GETDEL", "list");
    fixture_free(f);
}

static void test_getex(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NIL, "GETEX", "k");
    expect(f, NIL, "GETEX", "k", "EX", "10");
    expect(f, OK, "SET", "k", "v");
    (void)fixture_log(f);
    (void)fixture_events(f);
    expect(f, "$1\r\nv\r\n", "GETEX", "k");
    expect(f, "$1\r\nv\r\n", "GETEX", "k", "PERSIST");
    expect_log(f, "");
    expect(f, "$1\r\nv\r\n", "GETEX", "k", "EX", "10");
    expect(f, ":10000\r\n", "PTTL", "k");
    expect(f, "$1\r\nv\r\n", "GETEX", "k", "PX", "20");
    expect(f, "$1\r\nv\r\n", "GETEX", "k", "EXAT", "1700000030");
    expect(f, "$1\r\nv\r\n", "GETEX", "k", "PXAT", "1700000000040");
    expect(f, ":40\r\n", "PTTL", "k");
    expect(f, "$1\r\nv\r\n", "GETEX", "k", "PERSIST");
    expect(f, ":-1\r\n", "PTTL", "k");
    expect_log(f,
               "PEXPIREAT k 1700000010000\nPEXPIREAT k 1700000000020\nPEXPIREAT k 1700000030000\n"
               "PEXPIREAT k 1700000000040\nPERSIST k\n");
    expect_events(f, "expire k\nexpire k\nexpire k\nexpire k\npersist k\n");
    expect(f, "$1\r\nv\r\n", "GETEX", "k", "EXAT", "1");
    expect(f, NIL, "GET", "k");
    expect_log(f, "DEL k\n");
    expect_events(f, "del k\n");
    expect(f, SYNTAX, "GETEX", "k", "KEEPTTL");
    expect(f, SYNTAX, "GETEX", "k", "EX", "1", "PERSIST");
    expect(f, SYNTAX, "GETEX", "k", "NX");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, WRONGTYPE, "GETEX", "list");
    expect(f, OK, "SET", "k", "v");
    expect(f, BAD_TIME("getex"), "GETEX", "k", "EX", "0");
    expect(f, NOT_INT, "GETEX", "k", "EX", "x");
    fixture_free(f);
}

static void test_append_setrange(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->shared.string_bytes_max = 1000;
    expect(f, ":5\r\n", "APPEND", "k", "Hello");
    expect(f, ":11\r\n", "APPEND", "k", " World");
    expect(f, "$11\r\nHello World\r\n", "GET", "k");
    expect(f, ":11\r\n", "SETRANGE", "k", "6", "Redis");
    expect(f, "$11\r\nHello Redis\r\n", "GET", "k");
    expect(f, ":0\r\n", "SETRANGE", "n", "10", "");
    expect(f, ":0\r\n", "EXISTS", "n");
    expect(f, ":11\r\n", "SETRANGE", "k", "0", "");
    expect(f, ":5\r\n", "SETRANGE", "n", "2", "abc");
    assert_true(bytes_equal(run(f, "GET", "n"), bytes_view("$5\r\n\0\0abc\r\n", 11)));
    expect(f, OK, "SET", "i", "12");
    expect(f, ":3\r\n", "APPEND", "i", "3");
    expect(f, ":124\r\n", "INCR", "i");
    expect_log(f, "APPEND k Hello\nAPPEND k  World\nSETRANGE k 6 Redis\nSETRANGE n 2 abc\nSET i "
                  "12\nAPPEND i 3\n"
                  "INCRBY i 1\n");
    expect_events(f, "append k\nappend k\nsetrange k\nsetrange n\nset i\nappend i\nincrby i\n");
    expect(f, "-ERR offset is out of range\r\n", "SETRANGE", "k", "-1", "x");
    expect(f, NOT_INT, "SETRANGE", "k", "x", "x");
    expect(f, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n", "SETRANGE", "k",
           "998", "abc");
    expect(f, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n", "SETRANGE", "n",
           "9223372036854775807", "abc");
    expect(f, ":1000\r\n", "SETRANGE", "k", "997", "abc");
    expect(f, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n", "APPEND", "k",
           "x");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, WRONGTYPE, "APPEND", "list", "v");
    expect(f, WRONGTYPE, "SETRANGE", "list", "0", "v");
    expect(f, WRONGTYPE, "SETRANGE", "list", "0", "");
    fixture_free(f);
}

static void test_getrange_strlen(void **state)
{
    (void)state;
    struct fixture *f = start();
    static const struct {
        const char *start, *end, *want;
    } cases[] = {
        {"0", "3", "$4\r\nThis\r\n"},
        {"-3", "-1", "$3\r\ning\r\n"},
        {"0", "-1", "$16\r\nThis is a string\r\n"},
        {"10", "100", "$6\r\nstring\r\n"},
        {"5", "3", "$0\r\n\r\n"},
        {"16", "20", "$0\r\n\r\n"},
        {"-1", "-5", "$0\r\n\r\n"},
        {"-100", "-90", "$1\r\nT\r\n"},
        {"-90", "-100", "$0\r\n\r\n"},
        {"-9223372036854775808", "9223372036854775807", "$16\r\nThis is a string\r\n"},
    };
    (void)run(f, "SET", "k", "This is a string");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        expect(f, cases[i].want, "GETRANGE", "k", cases[i].start, cases[i].end);
        expect(f, cases[i].want, "SUBSTR", "k", cases[i].start, cases[i].end);
    }
    expect(f, "$0\r\n\r\n", "GETRANGE", "nothing", "0", "-1");
    expect(f, OK, "SET", "i", "-1234");
    expect(f, "$3\r\n-12\r\n", "GETRANGE", "i", "0", "2");
    expect(f, ":5\r\n", "STRLEN", "i");
    expect(f, ":16\r\n", "STRLEN", "k");
    expect(f, ":0\r\n", "STRLEN", "nothing");
    expect(f, NOT_INT, "GETRANGE", "k", "a", "1");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, NOT_INT, "GETRANGE", "list", "0", "b");
    expect(f, WRONGTYPE, "GETRANGE", "list", "0", "1");
    expect(f, WRONGTYPE, "STRLEN", "list");
    fixture_free(f);
}

static void test_counters(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "INCR", "k");
    expect(f, ":11\r\n", "INCRBY", "k", "10");
    expect(f, ":10\r\n", "DECR", "k");
    expect(f, ":-10\r\n", "DECRBY", "k", "20");
    expect(f, "$3\r\n-10\r\n", "GET", "k");
    expect_log(f, "INCRBY k 1\nINCRBY k 10\nINCRBY k -1\nINCRBY k -20\n");
    expect_events(f, "incrby k\nincrby k\nincrby k\nincrby k\n");
    expect(f, NOT_INT, "INCRBY", "k", "1.5");
    expect(f, NOT_INT, "INCRBY", "k", "9223372036854775808");
    expect(f, "-ERR decrement would overflow\r\n", "DECRBY", "k", "-9223372036854775808");
    expect(f, "-ERR increment or decrement would overflow\r\n", "DECRBY", "k",
           "9223372036854775807");
    expect(f, OK, "SET", "k", "9223372036854775807");
    expect(f, "-ERR increment or decrement would overflow\r\n", "INCR", "k");
    expect(f, OK, "SET", "k", "x");
    expect(f, NOT_INT, "INCR", "k");
    expect(f, OK, "SET", "k", " 1");
    expect(f, NOT_INT, "INCR", "k");
    expect(f, OK, "SET", "k", "01");
    expect(f, NOT_INT, "INCR", "k");
    expect(f, OK, "SET", "k", "5", "EX", "10");
    expect(f, ":6\r\n", "INCR", "k");
    expect(f, ":10\r\n", "TTL", "k");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, WRONGTYPE, "INCR", "list");
    expect(f, NOT_INT, "INCRBY", "list", "x");
    fixture_free(f);
}

static void test_incrbyfloat(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "$4\r\n10.5\r\n", "INCRBYFLOAT", "k", "10.5");
    expect(f, "$4\r\n10.6\r\n", "INCRBYFLOAT", "k", "0.1");
    expect(f, "$3\r\n5.6\r\n", "INCRBYFLOAT", "k", "-5");
    expect(f, OK, "SET", "k", "5.0e3", "EX", "10");
    expect(f, "$4\r\n5200\r\n", "INCRBYFLOAT", "k", "2.0e2");
    expect(f, ":10\r\n", "TTL", "k");
    expect_log(f, "SET k 10.5 KEEPTTL\nSET k 10.6 KEEPTTL\nSET k 5.6 KEEPTTL\n"
                  "SET k 5.0e3 PXAT 1700000010000\nSET k 5200 KEEPTTL\n");
    expect_events(f,
                  "incrbyfloat k\nincrbyfloat k\nincrbyfloat k\nset k\nexpire k\nincrbyfloat k\n");
    expect(f, OK, "SET", "k", "3");
    expect(f, ":4\r\n", "INCR", "k");
    expect(f, "$3\r\n5.5\r\n", "INCRBYFLOAT", "k", "1.5");
    expect(f, "$1\r\n6\r\n", "INCRBYFLOAT", "k", "0.5");
    expect(f, ":7\r\n", "INCR", "k");
    expect(f, NOT_FLOAT, "INCRBYFLOAT", "k", "x");
    expect(f, NOT_FLOAT, "INCRBYFLOAT", "k", "");
    expect(f, NOT_FLOAT, "INCRBYFLOAT", "k", " 1");
    expect(f, "-ERR increment would produce NaN or Infinity\r\n", "INCRBYFLOAT", "k", "+inf");
    expect(f, NOT_FLOAT, "INCRBYFLOAT", "k", "nan");
    expect(f, OK, "SET", "k", "x");
    expect(f, NOT_FLOAT, "INCRBYFLOAT", "k", "1");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, WRONGTYPE, "INCRBYFLOAT", "list", "x");
    f->proto = 3;
    expect(f, "$1\r\n1\r\n", "INCRBYFLOAT", "three", "1");
    fixture_free(f);
}

static void test_several(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "MSET", "a", "1", "b", "2", "a", "3");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, "*4\r\n$1\r\n3\r\n$1\r\n2\r\n$-1\r\n$-1\r\n", "MGET", "a", "b", "c", "list");
    f->proto = 3;
    expect(f, "*2\r\n_\r\n$1\r\n3\r\n", "MGET", "c", "a");
    expect(f, ":0\r\n", "MSETNX", "c", "1", "b", "4");
    expect(f, ":0\r\n", "EXISTS", "c");
    expect(f, ":1\r\n", "MSETNX", "c", "1", "d", "4", "c", "5");
    expect(f, "$1\r\n5\r\n", "GET", "c");
    expect_log(f, "SET a 1\nSET b 2\nSET a 3\nRPUSH list x\nSET c 1\nSET d 4\nSET c 5\n");
    expect(f, ARITY("mset"), "MSET", "a");
    expect(f, ARITY("mset"), "MSET", "a", "1", "b");
    expect(f, ARITY("msetnx"), "MSETNX", "a", "1", "b");
    expect(f, ARITY("mget"), "MGET");
    expect(f, OK, "SET", "a", "1", "EX", "10");
    expect(f, OK, "MSET", "a", "2");
    expect(f, ":-1\r\n", "TTL", "a");
    fixture_free(f);
}

static void test_lcs(void **state)
{
    (void)state;
    struct fixture *f = start();
    (void)run(f, "MSET", "a", "ohmytext", "b", "mynewtext");
    expect(f, "$6\r\nmytext\r\n", "LCS", "a", "b");
    expect(f, ":6\r\n", "LCS", "a", "b", "LEN");
    expect(f,
           "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n*2\r\n*2\r\n:"
           "2\r\n:3\r\n*2\r\n:0\r\n:1\r\n"
           "$3\r\nlen\r\n:6\r\n",
           "LCS", "a", "b", "IDX");
    expect(f,
           "*4\r\n$7\r\nmatches\r\n*1\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n$3\r\nlen\r\n:"
           "6\r\n",
           "LCS", "a", "b", "IDX", "MINMATCHLEN", "4");
    f->proto = 3;
    expect(f,
           "%2\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$"
           "3\r\nlen\r\n:6\r\n",
           "LCS", "a", "b", "IDX", "MINMATCHLEN", "4", "WITHMATCHLEN");
    expect(f, "$0\r\n\r\n", "LCS", "a", "nothing");
    expect(f, ":0\r\n", "LCS", "nothing", "b", "LEN");
    expect(f, "%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n", "LCS", "nothing", "b", "IDX");
    expect(f, "%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:6\r\n", "LCS", "a", "b", "IDX",
           "MINMATCHLEN", "99");
    expect(f, "-ERR If you want both the length and indexes, please just use IDX.\r\n", "LCS", "a",
           "b", "IDX", "LEN");
    expect(f, SYNTAX, "LCS", "a", "b", "foo");
    expect(f, SYNTAX, "LCS", "a", "b", "MINMATCHLEN");
    expect(f, NOT_INT, "LCS", "a", "b", "MINMATCHLEN", "x");
    (void)run(f, "RPUSH", "list", "x");
    expect(f, "-ERR The specified keys must contain string values\r\n", "LCS", "a", "list");
    expect(f, "-ERR The specified keys must contain string values\r\n", "LCS", "list", "a", "foo");
    fixture_free(f);
}

/* Long values: stored out of line, overwritten by short ones and back, with and without deadlines. */
static void test_sizes(void **state)
{
    (void)state;
    struct fixture *f = start();
    enum { LONGEST = 100000 };
    char *text = mem_alloc(MEM_TEST, LONGEST + 1);
    static const uint32_t sizes[] = {0, 1, 44, 45, 400, 520, 1024, 5000, LONGEST, 17, 600, 0};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        memset(text, 'a' + (int)i, sizes[i]);
        text[sizes[i]] = 0;
        if (i % 2 == 0)
            expect(f, OK, "SET", "k", text);
        else
            expect(f, OK, "SET", "k", text, "EX", "10");
        struct bytes got = run(f, "GET", "k");
        assert_true(got.len > sizes[i] + 4);
        assert_memory_equal(got.data + got.len - 2 - sizes[i], text, sizes[i]);
    }
    mem_free(MEM_TEST, text, LONGEST + 1);
    fixture_free(f);
}

static bool is_oom(struct bytes wire)
{
    return wire.len > 4 && memcmp(wire.data, "-OOM", 4) == 0;
}

/* Whatever fails for want of memory answers OOM and leaves the value as it was, and the log too. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char *const requests[][5] = {
        {"SET", "k",
         "a much longer value than the one before, longer than an embedded string can be"},
        {"SET", "new", "value"},
        {"SET", "list", "value"},
        {"APPEND", "k", "tail"},
        {"APPEND", "new", "tail"},
        {"SETRANGE", "new", "700", "tail"},
        {"INCR", "new"},
        {"INCRBYFLOAT", "float", "1.25"},
        {"GETSET", "k",
         "a much longer value than the one before, longer than an embedded string can be"},
        {"SETEX", "k", "100", "v"},
        {"MSET", "new", "1"},
        {"MSETNX", "new", "1"},
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        bool fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            struct fixture *f = start();
            (void)run(f, "RPUSH", "list", "x");
            (void)run(f, "MSET", "k", "v", "float", "1");
            uint64_t before = fixture_digest(f);
            mem_fault_arm(nth);
            struct bytes got = fixture_run(f, requests[i]);
            fired = mem_fault_disarm();
            bool refused = is_oom(got);
            if (refused) assert_true(fixture_digest(f) == before);
            if (!fired) assert_false(refused);
            fixture_free(f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_set),         cmocka_unit_test(test_set_conditions),
        cmocka_unit_test(test_set_syntax),      cmocka_unit_test(test_set_times),
        cmocka_unit_test(test_set_in_the_past), cmocka_unit_test(test_setex),
        cmocka_unit_test(test_getset_getdel),   cmocka_unit_test(test_getex),
        cmocka_unit_test(test_append_setrange), cmocka_unit_test(test_getrange_strlen),
        cmocka_unit_test(test_counters),        cmocka_unit_test(test_incrbyfloat),
        cmocka_unit_test(test_several),         cmocka_unit_test(test_lcs),
        cmocka_unit_test(test_sizes),           cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
