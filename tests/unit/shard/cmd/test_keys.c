/* Keys: every command, option and error, as Redis 7.4 answers; what is logged; what is told. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"

#define OK "+OK\r\n"
#define NIL "$-1\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define BAD_TIME(name) "-ERR invalid expire time in '" name "' command\r\n"
#define BAD_DB "-ERR DB index is out of range\r\n"
#define SAME "-ERR source and destination objects are the same\r\n"
#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"

static struct fixture *start(void)
{
    return fixture_new(&string_cmds, &keys_cmds, &scan_cmds, &debug_cmds, &list_cmds, &hash_cmds,
                       &set_cmds);
}

static void test_del(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "MSET", "a", "1", "b", "2", "c", "3", "d", "4");
    (void)fixture_log(f);
    (void)fixture_events(f);
    expect(f, ":2\r\n", "DEL", "a", "nothing", "c", "a");
    expect(f, ":1\r\n", "UNLINK", "b");
    expect(f, ":0\r\n", "DEL", "b");
    expect(f, ":0\r\n", "UNLINK", "b", "c");
    expect_log(f, "DEL a\nDEL c\nDEL b\n");
    expect_events(f, "del a\ndel c\ndel b\n");
    expect(f, ":1\r\n", "PEXPIRE", "d", "5");
    fixture_advance(f, 5);
    expect(f, ":0\r\n", "DEL", "d");
    expect_log(f, "PEXPIREAT d 1700000000005\nDEL d\n");
    expect_events(f, "expire d\nexpired d\n");
    expect(f, ARITY("del"), "DEL");
    fixture_free(f);
}

static void test_exists_type_touch(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "SET", "s", "1", "PX", "10");
    expect(f, ":1\r\n", "RPUSH", "l", "x");
    expect(f, ":1\r\n", "HSET", "h", "f", "v");
    expect(f, ":4\r\n", "EXISTS", "s", "s", "nothing", "l", "h");
    expect(f, ":3\r\n", "TOUCH", "s", "l", "h", "nothing");
    expect(f, "+string\r\n", "TYPE", "s");
    expect(f, "+list\r\n", "TYPE", "l");
    expect(f, "+hash\r\n", "TYPE", "h");
    expect(f, "+none\r\n", "TYPE", "nothing");
    assert_int_equal(f->core.stats.hits, 4 + 3 + 3);
    assert_int_equal(f->core.stats.misses, 3);
    fixture_advance(f, 10);
    expect(f, ":0\r\n", "EXISTS", "s", "s");
    expect(f, "+none\r\n", "TYPE", "s");
    expect(f, ":0\r\n", "TOUCH", "s");
    fixture_free(f);
}

static void test_expire(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "SET", "k", "v");
    expect(f, ":1\r\n", "EXPIRE", "k", "10");
    expect(f, ":10\r\n", "TTL", "k");
    expect(f, ":10000\r\n", "PTTL", "k");
    expect(f, ":1\r\n", "PEXPIRE", "k", "1499");
    expect(f, ":1\r\n", "TTL", "k");
    expect(f, ":1\r\n", "PEXPIRE", "k", "1500");
    expect(f, ":2\r\n", "TTL", "k");
    expect(f, ":1\r\n", "EXPIREAT", "k", "1700000020");
    expect(f, ":1700000020\r\n", "EXPIRETIME", "k");
    expect(f, ":1\r\n", "PEXPIREAT", "k", "1700000030500");
    expect(f, ":1700000030500\r\n", "PEXPIRETIME", "k");
    expect(f, ":1700000031\r\n", "EXPIRETIME", "k");
    expect_log(
        f,
        "SET k v\nPEXPIREAT k 1700000010000\nPEXPIREAT k 1700000001499\nPEXPIREAT k 1700000001500\n"
        "PEXPIREAT k 1700000020000\nPEXPIREAT k 1700000030500\n");
    expect_events(f, "set k\nexpire k\nexpire k\nexpire k\nexpire k\nexpire k\n");
    expect(f, ":1\r\n", "PEXPIREAT", "k", "9223372036854775807");
    expect(f, ":9223372036854775807\r\n", "PEXPIRETIME", "k");
    expect(f, ":9223372036854776\r\n", "EXPIRETIME", "k");
    expect(f, ":0\r\n", "EXPIRE", "nothing", "10");
    expect(f, ":-2\r\n", "TTL", "nothing");
    expect(f, ":-2\r\n", "PTTL", "nothing");
    expect(f, ":-2\r\n", "EXPIRETIME", "nothing");
    expect(f, ":-2\r\n", "PEXPIRETIME", "nothing");
    expect(f, OK, "SET", "k", "v");
    expect(f, ":-1\r\n", "TTL", "k");
    expect(f, ":-1\r\n", "PTTL", "k");
    expect(f, ":-1\r\n", "EXPIRETIME", "k");
    expect(f, ":-1\r\n", "PEXPIRETIME", "k");
    fixture_free(f);
}

static void test_expire_in_the_past(void **state)
{
    (void)state;
    struct fixture *f = start();
    static const char *const requests[][4] = {
        {"EXPIRE", "k", "0"},
        {"EXPIRE", "k", "-1"},
        {"PEXPIRE", "k", "-9223372036854775808"},
        {"EXPIREAT", "k", "1"},
        {"PEXPIREAT", "k", "1700000000000"},
        {"PEXPIREAT", "k", "-1"},
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        expect(f, OK, "SET", "k", "v");
        fixture_expect(f, ":1\r\n", requests[i], __FILE__, __LINE__);
        expect(f, NIL, "GET", "k");
        expect_log(f, "SET k v\nDEL k\n");
        expect_events(f, "set k\ndel k\n");
        fixture_expect(f, ":0\r\n", requests[i], __FILE__, __LINE__);
    }
    fixture_free(f);
}

static void test_expire_conditions(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "SET", "k", "v");
    expect(f, ":0\r\n", "EXPIRE", "k", "100", "XX");
    expect(f, ":0\r\n", "EXPIRE", "k", "100", "GT");
    expect(f, ":1\r\n", "EXPIRE", "k", "100", "LT");
    expect(f, ":0\r\n", "EXPIRE", "k", "200", "NX");
    expect(f, ":0\r\n", "EXPIRE", "k", "100", "LT");
    expect(f, ":0\r\n", "EXPIRE", "k", "100", "GT");
    expect(f, ":1\r\n", "EXPIRE", "k", "200", "gt");
    expect(f, ":1\r\n", "EXPIRE", "k", "150", "XX", "LT");
    expect(f, ":0\r\n", "EXPIRE", "k", "150", "XX", "GT");
    expect(f, ":150\r\n", "TTL", "k");
    expect(f, ":0\r\n", "EXPIRE", "k", "-1", "NX");
    expect(f, ":1\r\n", "EXISTS", "k");
    expect(f, ":1\r\n", "EXPIRE", "k", "-1", "LT");
    expect(f, ":0\r\n", "EXISTS", "k");
    expect(f, OK, "SET", "k", "v");
    expect(f, ":1\r\n", "PEXPIREAT", "k", "1700000100000", "NX");
    expect(f, ":0\r\n", "EXPIREAT", "k", "1700000100", "GT");
    fixture_free(f);
}

static void test_expire_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "-ERR Unsupported option foo\r\n", "EXPIRE", "k", "x", "foo");
    expect(f, "-ERR Unsupported option foo\r\n", "EXPIRE", "k", "1", "NX", "XX", "foo");
    expect(f, "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n", "EXPIRE",
           "k", "10", "NX", "XX");
    expect(f, "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n", "PEXPIRE",
           "k", "10", "LT", "GT", "NX");
    expect(f, "-ERR GT and LT options at the same time are not compatible\r\n", "EXPIREAT", "k",
           "10", "LT", "GT");
    expect(f, NOT_INT, "EXPIRE", "k", "1.5");
    expect(f, NOT_INT, "PEXPIREAT", "k", "9223372036854775808");
    expect(f, BAD_TIME("expire"), "EXPIRE", "k", "9223372036854775807");
    expect(f, BAD_TIME("expire"), "EXPIRE", "k", "-9223372036854775808");
    expect(f, BAD_TIME("expireat"), "EXPIREAT", "k", "9223372036854776");
    expect(f, BAD_TIME("expireat"), "EXPIREAT", "k", "-9223372036854776");
    expect(f, BAD_TIME("pexpire"), "PEXPIRE", "k", "9223372036854775807");
    expect(f, BAD_TIME("expire"), "EXPIRE", "k", "9223372036854775");
    expect(f, ":0\r\n", "PEXPIREAT", "k", "9223372036854775807");
    expect(f, ARITY("expire"), "EXPIRE", "k");
    expect(f, ARITY("ttl"), "TTL", "k", "k");
    fixture_free(f);
}

static void test_persist(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":0\r\n", "PERSIST", "k");
    expect(f, OK, "SET", "k", "v", "EX", "10");
    (void)fixture_events(f);
    expect(f, ":1\r\n", "PERSIST", "k");
    expect(f, ":0\r\n", "PERSIST", "k");
    expect(f, ":-1\r\n", "TTL", "k");
    expect_log(f, "SET k v PXAT 1700000010000\nPERSIST k\n");
    expect_events(f, "persist k\n");
    fixture_free(f);
}

static void test_rename(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "-ERR no such key\r\n", "RENAME", "a", "b");
    expect(f, "-ERR no such key\r\n", "RENAME", "a", "a");
    expect(f, OK, "SET", "a", "1", "EX", "10");
    expect(f, OK, "RENAME", "a", "a");
    (void)fixture_log(f);
    (void)fixture_events(f);
    expect(f, OK, "RENAME", "a", "b");
    expect_log(f, "DEL a\nSET b 1\nPEXPIREAT b 1700000010000\n");
    expect_events(f, "rename_from a\nrename_to b\n");
    expect(f, NIL, "GET", "a");
    expect(f, "$1\r\n1\r\n", "GET", "b");
    expect(f, ":10\r\n", "TTL", "b");
    expect(f, ":2\r\n", "RPUSH", "list", "x", "y");
    expect(f, OK, "RENAME", "list", "b");
    expect_log(f, "RPUSH list x y\nDEL list\nDEL b\nRPUSH b x y\n");
    expect(f, "+list\r\n", "TYPE", "b");
    expect(f, ":-1\r\n", "TTL", "b");
    /* An expired destination is none. */
    expect(f, OK, "SET", "{b}old", "1", "PX", "5");
    fixture_advance(f, 5);
    expect(f, OK, "RENAME", "b", "{b}old");
    expect_log(f, "SET {b}old 1 PXAT 1700000000005\nDEL {b}old\nDEL b\nRPUSH {b}old x y\n");
    expect(f, "*2\r\n$1\r\nx\r\n$1\r\ny\r\n", "LRANGE", "{b}old", "0", "-1");
    expect(f, ":1\r\n", "DBSIZE");
    expect(f, ARITY("rename"), "RENAME", "a");
    fixture_free(f);
}

static void test_renamenx(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "-ERR no such key\r\n", "RENAMENX", "a", "b");
    expect(f, OK, "MSET", "a", "1", "b", "2");
    expect(f, ":0\r\n", "RENAMENX", "a", "b");
    expect(f, ":0\r\n", "RENAMENX", "a", "a");
    (void)fixture_log(f);
    (void)fixture_events(f);
    expect(f, ":1\r\n", "RENAMENX", "a", "c");
    expect_log(f, "DEL a\nSET c 1\n");
    expect_events(f, "rename_from a\nrename_to c\n");
    expect(f, ":1\r\n", "PEXPIRE", "b", "1");
    fixture_advance(f, 1);
    expect(f, ":1\r\n", "RENAMENX", "c", "b");
    expect(f, "$1\r\n1\r\n", "GET", "b");
    fixture_free(f);
}

static void test_copy(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":0\r\n", "COPY", "a", "b");
    expect(f, SAME, "COPY", "a", "a");
    expect(f, SAME, "COPY", "a", "a", "DB", "0", "REPLACE");
    expect(f, OK, "SET", "a", "1", "EX", "10");
    (void)fixture_log(f);
    (void)fixture_events(f);
    expect(f, ":1\r\n", "COPY", "a", "b");
    expect(f, ":0\r\n", "COPY", "a", "b");
    expect(f, ":10\r\n", "TTL", "b");
    expect_log(f, "SET b 1\nPEXPIREAT b 1700000010000\n");
    expect_events(f, "copy_to b\n");
    expect(f, OK, "SET", "a", "2");
    expect(f, "$1\r\n1\r\n", "GET", "b");
    expect(f, ":1\r\n", "COPY", "a", "b", "replace");
    expect(f, "$1\r\n2\r\n", "GET", "b");
    expect(f, ":-1\r\n", "TTL", "b");
    expect_log(f, "SET a 2\nDEL b\nSET b 2\n");
    expect(f, ":1\r\n", "COPY", "a", "a", "DB", "3");
    expect(f, ":1\r\n", "HSET", "h", "f", "v");
    expect(f, ":1\r\n", "COPY", "h", "a", "DB", "3", "REPLACE");
    expect_log(f, "3:SET a 2\nHSET h f v\n3:DEL a\n3:HSET a f v\n");
    expect_events(f, "set a\ncopy_to b\n3:copy_to a\nhset h\n3:copy_to a\n");
    f->db = 3;
    expect(f, "$1\r\nv\r\n", "HGET", "a", "f");
    expect(f, ":1\r\n", "COPY", "a", "a", "DB", "1");
    expect(f, ":0\r\n", "COPY", "b", "b", "DB", "1");
    fixture_free(f);
}

static void test_copy_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, SYNTAX, "COPY", "a", "b", "foo");
    expect(f, SYNTAX, "COPY", "a", "b", "DB");
    expect(f, NOT_INT, "COPY", "a", "b", "DB", "x");
    expect(f, NOT_INT, "COPY", "a", "b", "DB", "99999999999999999999");
    expect(f, "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
           "COPY", "a", "b", "DB", "9999999999");
    expect(f, BAD_DB, "COPY", "a", "b", "DB", "99");
    expect(f, BAD_DB, "COPY", "a", "b", "DB", "-1");
    expect(f, BAD_DB, "COPY", "a", "a", "DB", "99", "foo");
    expect(f, SYNTAX, "COPY", "a", "a", "foo", "DB", "99");
    expect(f, ARITY("copy"), "COPY", "a");
    fixture_free(f);
}

static void test_move(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":0\r\n", "MOVE", "a", "1");
    expect(f, OK, "SET", "a", "1", "EX", "10");
    (void)fixture_events(f);
    expect(f, ":1\r\n", "MOVE", "a", "1");
    expect_log(f, "SET a 1 PXAT 1700000010000\nMOVE a 1\n");
    expect_events(f, "move_from a\n1:move_to a\n");
    expect(f, ":0\r\n", "EXISTS", "a");
    expect(f, OK, "SET", "a", "2");
    expect(f, ":0\r\n", "MOVE", "a", "1");
    f->db = 1;
    expect(f, "$1\r\n1\r\n", "GET", "a");
    expect(f, ":10\r\n", "TTL", "a");
    expect(f, SAME, "MOVE", "a", "1");
    fixture_advance(f, 10000);
    f->db = 0;
    expect(f, ":1\r\n", "MOVE", "a", "1");
    expect_log(f, "SET a 2\n1:DEL a\nMOVE a 1\n");
    f->db = 1;
    expect(f, "$1\r\n2\r\n", "GET", "a");
    expect(f, ":0\r\n", "MOVE", "nothing", "2");
    expect(f, BAD_DB, "MOVE", "nothing", "99");
    expect(f, BAD_DB, "MOVE", "nothing", "-1");
    expect(f, NOT_INT, "MOVE", "nothing", "x");
    expect(f, "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
           "MOVE", "nothing", "9999999999");
    fixture_free(f);
}

static void test_object(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, NIL, "OBJECT", "ENCODING", "nothing");
    expect(f, NIL, "OBJECT", "FREQ", "nothing");
    expect(f, NIL, "OBJECT", "IDLETIME", "nothing");
    expect(f, NIL, "OBJECT", "REFCOUNT", "nothing");
    f->proto = 3;
    expect(f, "_\r\n", "OBJECT", "ENCODING", "nothing");
    f->proto = 2;
    expect(f, OK, "SET", "i", "12");
    expect(f, OK, "SET", "big", "123456789");
    expect(f, OK, "SET", "s", "text");
    expect(f, ":5\r\n", "APPEND", "s", "s");
    expect(f, ":1\r\n", "RPUSH", "l", "x");
    expect(f, "$3\r\nint\r\n", "OBJECT", "ENCODING", "i");
    expect(f, "$3\r\nraw\r\n", "object", "encoding", "s");
    expect(f, "$8\r\nlistpack\r\n", "OBJECT", "ENCODING", "l");
    expect(f, ":2147483647\r\n", "OBJECT", "REFCOUNT", "i");
    expect(f, ":1\r\n", "OBJECT", "REFCOUNT", "big");
    expect(f, ":1\r\n", "OBJECT", "REFCOUNT", "s");
    expect(f, ":0\r\n", "OBJECT", "IDLETIME", "s");
    expect(
        f,
        "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
        "that when "
        "switching between policies at runtime LRU and LFU data will take some time to adjust.\r\n",
        "OBJECT", "FREQ", "s");
    expect(f, ARITY("object"), "OBJECT");
    expect(f, ARITY("object|freq"), "OBJECT", "FREQ");
    expect(f, ARITY("object|encoding"), "OBJECT", "ENCODING", "a", "b");
    assert_memory_equal(run(f, "OBJECT", "HELP").data, "*12\r\n+OBJECT <subcommand>", 23);
    fixture_free(f);
}

/* Which commands count as use of a key, by OBJECT IDLETIME. */
static void test_idle_time(void **state)
{
    (void)state;
    struct fixture *f = start();
    db_stamps.mode = DB_STAMP_LRU;
    expect(f, OK, "SET", "k", "v");
    fixture_advance(f, 100000);
    expect(f, ":1\r\n", "EXISTS", "k");
    expect(f, "+string\r\n", "TYPE", "k");
    expect(f, ":-1\r\n", "TTL", "k");
    expect(f, ":100\r\n", "OBJECT", "IDLETIME", "k");
    f->no_touch = true;
    expect(f, "$1\r\nv\r\n", "GET", "k");
    expect(f, ":100\r\n", "OBJECT", "IDLETIME", "k");
    expect(f, ":1\r\n", "TOUCH", "k");
    expect(f, ":0\r\n", "OBJECT", "IDLETIME", "k");
    f->no_touch = false;
    fixture_advance(f, 50000);
    expect(f, "$1\r\nv\r\n", "GET", "k");
    expect(f, ":0\r\n", "OBJECT", "IDLETIME", "k");
    fixture_advance(f, 50000);
    expect(f, ":2\r\n", "APPEND", "k", "w");
    expect(f, ":0\r\n", "OBJECT", "IDLETIME", "k");
    db_stamps.mode = DB_STAMP_NONE;
    fixture_free(f);
}

static void test_frequency(void **state)
{
    (void)state;
    struct fixture *f = start();
    db_stamps.mode = DB_STAMP_LFU;
    expect(f, OK, "SET", "k", "v");
    expect(f, ":5\r\n", "OBJECT", "FREQ", "k");
    expect(f, "$1\r\nv\r\n", "GET", "k");
    expect(f, ":6\r\n", "OBJECT", "FREQ", "k");
    fixture_advance(f, 3 * 60000);
    expect(f, ":3\r\n", "OBJECT", "FREQ", "k");
    expect(f,
           "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when "
           "switching between "
           "policies at runtime LRU and LFU data will take some time to adjust.\r\n",
           "OBJECT", "IDLETIME", "k");
    db_stamps.mode = DB_STAMP_NONE;
    fixture_free(f);
}

static void test_debug(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, OK, "SET", "k", "v");
    expect(f, "-ERR no such key\r\n", "DEBUG", "OBJECT", "nothing");
    struct bytes got = run(f, "DEBUG", "OBJECT", "k");
    char line[256];
    (void)snprintf(line, sizeof line, "%.*s", (int)got.len, (const char *)got.data);
    assert_non_null(strstr(line, "+Value at:0x"));
    assert_non_null(strstr(line, " refcount:1 encoding:embstr serializedlength:"));
    expect(f, OK, "DEBUG", "SET-ACTIVE-EXPIRE", "0");
    assert_false(f->shared.active_expire);
    expect(f, OK, "DEBUG", "SET-ACTIVE-EXPIRE", "1");
    assert_true(f->shared.active_expire);
    expect(f, NOT_INT, "DEBUG", "SET-ACTIVE-EXPIRE", "yes");
    expect(f, OK, "DEBUG", "SLEEP", "0.001");
    expect(f, OK, "DEBUG", "SLEEP", "-1");
    expect(f, "-ERR value is not a valid float\r\n", "DEBUG", "SLEEP", "x");
    expect(f, OK, "DEBUG", "JMAP");
    expect(f, OK, "DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b");
    expect(f, OK, "DEBUG", "CHANGE-REPL-ID");
    expect(f, ":1\r\n", "DEBUG", "STRINGMATCH-LEN", "50000", "a*a");
    expect(f, ":0\r\n", "DEBUG", "STRINGMATCH-LEN", "40", "a*a*a*a*a*a*a*b");
    expect(f, NOT_INT, "DEBUG", "STRINGMATCH-LEN", "-1", "a");
    assert_memory_equal(run(f, "DEBUG", "HELP").data, "*19\r\n+DEBUG <subcommand>", 22);
    fixture_free(f);
}

#define ZEROS "+0000000000000000000000000000000000000000\r\n"

static void test_digest_value(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "*2\r\n" ZEROS ZEROS, "DEBUG", "DIGEST-VALUE", "a", "b");
    char first[64];
    expect(f, OK, "MSET", "a", "v", "b", "v", "c", "w");
    struct bytes got = run(f, "DEBUG", "DIGEST-VALUE", "a", "b", "c");
    assert_int_equal(got.len, 4 + 3 * 43);
    memcpy(first, got.data + 4, 43);
    assert_memory_equal(got.data + 4 + 43, first, 43);
    assert_memory_not_equal(got.data + 4 + 86, first, 43);
    expect(f, ":1\r\n", "EXPIRE", "a", "100");
    got = run(f, "DEBUG", "DIGEST-VALUE", "a");
    assert_memory_not_equal(got.data + 4, first, 43);
    fixture_free(f);
}

static void fill_hash(struct fixture *f, uint32_t count)
{
    char text[40];
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(text, sizeof text, "field number %u", i);
        (void)run(f, "HSET", "big", text, i % 2 == 0 ? "1" : "text");
    }
}

static uint64_t slot_bytes(const struct fixture *f, const char *key)
{
    struct db_slot_stats s;
    db_slot_stats(f->core.ks, slot_of_key(bytes_of(key)), &s);
    return s.bytes;
}

/* A big value goes through rename, copy, move and delete whole, its bytes leave and enter slots, and what
 * is deleted is freed by the task. */
static void test_big_values(void **state)
{
    (void)state;
    struct fixture *f = start();
    /* The arrays of a database count for the slot of its first key. */
    expect(f, OK, "SET", "first", "v");
    expect(f, ":1\r\n", "COPY", "first", "first", "DB", "2");
    fill_hash(f, 3000);
    uint64_t bytes = slot_bytes(f, "big");
    assert_true(bytes > 3000 * 15);
    expect(f, OK, "RENAME", "big", "renamed");
    assert_int_equal(slot_bytes(f, "big"), 0);
    assert_true(slot_bytes(f, "renamed") + 64 > bytes);
    expect(f, ":1\r\n", "COPY", "renamed", "copied");
    assert_true(slot_bytes(f, "copied") > 3000 * 15);
    expect(f, ":1\r\n", "MOVE", "copied", "2");
    assert_true(slot_bytes(f, "copied") > 3000 * 15);
    expect(f, ":3000\r\n", "HLEN", "renamed");
    expect(f, "$4\r\ntext\r\n", "HGET", "renamed", "field number 2999");
    fixture_check(f);
    expect(f, OK, "SET", "renamed", "short");
    expect(f, ":1\r\n", "DEL", "renamed");
    f->db = 2;
    expect(f, ":1\r\n", "UNLINK", "copied");
    assert_int_equal(slot_bytes(f, "copied"), 0);
    assert_int_equal(slot_bytes(f, "renamed"), 0);
    assert_int_equal(f->core.stats.lazy_pending, 2);
    fixture_upkeep(f);
    assert_int_equal(f->core.stats.lazy_pending, 0);
    fixture_free(f);
}

/* COPY and RENAME of every type and encoding: the copy has the same contents, and so has what replay
 * builds of the log (fixture_free). */
static void test_copy_of_types(void **state)
{
    (void)state;
    struct fixture *f = start();
    char text[600], more[32];
    for (uint32_t i = 0; i < 400; i++) {
        (void)snprintf(text, sizeof text, "%0*u", (int)(i % 7 * 80 + 1), i);
        (void)snprintf(more, sizeof more, "%u", i * i);
        (void)run(f, "RPUSH", "quicklist", text, more);
        (void)run(f, "HSET", "hashtable", text, more);
        (void)run(f, "SADD", "hashtable-set", text);
        if (i < 100) (void)run(f, "SADD", "intset", more);
        if (i < 50) (void)run(f, "SADD", "listpack-set", more, "member");
        if (i < 50) (void)run(f, "HSET", "listpack-hash", more, "-17");
        if (i < 30) (void)run(f, "RPUSH", "listpack", more);
    }
    expect(f, ":1000000\r\n", "SETRANGE", "string", "999999", "x");
    expect(f, OK, "SET", "int", "-5");
    static const char *const names[] = {"quicklist", "hashtable",    "hashtable-set",
                                        "intset",    "listpack-set", "listpack-hash",
                                        "listpack",  "string",       "int"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char digest[64];
        (void)run(f, "EXPIRE", names[i], "5000");
        struct bytes got = run(f, "DEBUG", "DIGEST-VALUE", names[i]);
        memcpy(digest, got.data, got.len);
        expect(f, ":1\r\n", "COPY", names[i], "copy", "REPLACE");
        assert_memory_equal(run(f, "DEBUG", "DIGEST-VALUE", "copy").data, digest, 44);
        expect(f, OK, "RENAME", names[i], "a-name-that-is-longer-than-any-of-the-others");
        got = run(f, "DEBUG", "DIGEST-VALUE", "a-name-that-is-longer-than-any-of-the-others");
        assert_memory_equal(got.data, digest, 44);
    }
    fixture_free(f);
}

static bool is_oom(struct bytes wire)
{
    return wire.len > 4 && memcmp(wire.data, "-OOM", 4) == 0;
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char *const requests[][6] = {
        {"RENAME", "h", "a name much longer than the one before"},
        {"RENAME", "h", "s"},
        {"RENAMENX", "h", "{h}new"},
        {"COPY", "h", "new"},
        {"COPY", "h", "s", "REPLACE"},
        {"MOVE", "h", "1"},
        {"EXPIRE", "s", "100"},
        {"PERSIST", "h"},
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        bool fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            struct fixture *f = start();
            (void)run(f, "HSET", "h", "field", "value");
            (void)run(f, "EXPIRE", "h", "1000");
            (void)run(f, "SET", "s", "v");
            uint64_t before = fixture_digest(f);
            mem_fault_arm(nth);
            bool refused = is_oom(fixture_run(f, requests[i]));
            fired = mem_fault_disarm();
            if (refused) assert_true(fixture_digest(f) == before);
            if (!fired) assert_false(refused);
            fixture_free(f);
        }
    }
}

/* Keys expire when nobody looks, too. */
static void test_upkeep(void **state)
{
    (void)state;
    struct fixture *f = start();
    char name[32];
    for (uint32_t i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "key:%u", i);
        (void)run(f, "SET", name, "v", "PX", i % 2 == 0 ? "100" : "100000");
    }
    fixture_advance(f, 100);
    expect(f, ":500\r\n", "DBSIZE");
    fixture_upkeep(f);
    expect(f, ":250\r\n", "DBSIZE");
    assert_int_equal(f->core.stats.expired, 250);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_del),
        cmocka_unit_test(test_exists_type_touch),
        cmocka_unit_test(test_expire),
        cmocka_unit_test(test_expire_in_the_past),
        cmocka_unit_test(test_expire_conditions),
        cmocka_unit_test(test_expire_errors),
        cmocka_unit_test(test_persist),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_renamenx),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_errors),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_object),
        cmocka_unit_test(test_idle_time),
        cmocka_unit_test(test_frequency),
        cmocka_unit_test(test_debug),
        cmocka_unit_test(test_digest_value),
        cmocka_unit_test(test_big_values),
        cmocka_unit_test(test_copy_of_types),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_upkeep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
