/* Hashes: every command, option and error, as Redis 7.4 answers. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"

#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define OOM "-OOM"

/* "s" is a string, to be the wrong type. */
static struct fixture *start(void)
{
    struct fixture *f = fixture_new(&hash_cmds, &string_cmds, &keys_cmds);
    expect(f, "+OK\r\n", "SET", "s", "1");
    (void)fixture_log(f);
    (void)fixture_events(f);
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

/* "f0" … with values "0" … */
static void fill(struct fixture *f, const char *key, int from, int to)
{
    for (int i = from; i < to; i++) {
        char field[16], value[16];
        snprintf(field, sizeof field, "f%d", i);
        snprintf(value, sizeof value, "%d", i);
        expect(f, ":1\r\n", "HSET", key, field, value);
    }
}

/* ---- HSET and its family */

static void test_set(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":2\r\n", "HSET", "h", "a", "1", "b", "two");
    expect(f, ":1\r\n", "HSET", "h", "a", "one", "c", "");
    expect(f, ":1\r\n", "HSET", "h", "d", "1", "d", "2");
    expect(f, "$3\r\none\r\n", "HGET", "h", "a");
    expect(f, "$0\r\n\r\n", "HGET", "h", "c");
    expect(f, "$1\r\n2\r\n", "HGET", "h", "d");
    expect_log(f, "HSET h a 1 b two\nHSET h a one c \nHSET h d 1 d 2\n");
    expect_events(f, "hset h\nhset h\nhset h\n");
    expect(f, "-ERR wrong number of arguments for 'hset' command\r\n", "HSET", "h", "a");
    expect(f, "-ERR wrong number of arguments for 'hset' command\r\n", "HSET", "h", "a", "1", "b");
    expect(f, "-ERR wrong number of arguments for 'hset' command\r\n", "HSET", "s", "a", "1", "b");
    expect(f, WRONGTYPE, "HSET", "s", "a", "1");
    expect_log(f, "");
    fixture_free(f);
}

static void test_mset(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "+OK\r\n", "HMSET", "h", "a", "1", "b", "2");
    expect(f, "+OK\r\n", "HMSET", "h", "a", "3");
    expect(f, "-ERR wrong number of arguments for 'hmset' command\r\n", "HMSET", "h", "a");
    expect(f, "-ERR wrong number of arguments for 'hmset' command\r\n", "HMSET", "s", "a", "1",
           "b");
    expect(f, WRONGTYPE, "HMSET", "s", "a", "1");
    expect_log(f, "HSET h a 1 b 2\nHSET h a 3\n");
    expect_events(f, "hset h\nhset h\n");
    fixture_free(f);
}

static void test_setnx(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "HSETNX", "h", "a", "1");
    expect(f, ":0\r\n", "HSETNX", "h", "a", "2");
    expect(f, ":1\r\n", "HSETNX", "h", "b", "2");
    expect(f, "$1\r\n1\r\n", "HGET", "h", "a");
    expect(f, WRONGTYPE, "HSETNX", "s", "a", "1");
    expect(f, "-ERR wrong number of arguments for 'hsetnx' command\r\n", "HSETNX", "h", "a", "1",
           "2");
    expect_log(f, "HSET h a 1\nHSET h b 2\n");
    expect_events(f, "hset h\nhset h\n");
    fixture_free(f);
}

static void test_del(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":0\r\n", "HDEL", "h", "a");
    expect(f, ":3\r\n", "HSET", "h", "a", "1", "b", "2", "c", "3");
    (void)fixture_log(f);
    (void)fixture_events(f);
    expect(f, ":0\r\n", "HDEL", "h", "x", "y");
    expect_log(f, "");
    expect_events(f, "");
    expect(f, ":1\r\n", "HDEL", "h", "x", "a", "a");
    expect_log(f, "HDEL h x a a\n");
    expect_events(f, "hdel h\n");
    expect(f, ":2\r\n", "HDEL", "h", "b", "c", "d");
    expect_log(f, "HDEL h b c d\n");
    expect_events(f, "hdel h\ndel h\n");
    assert_null(record_of(f, "h"));
    expect(f, WRONGTYPE, "HDEL", "s", "a");
    expect(f, "-ERR wrong number of arguments for 'hdel' command\r\n", "HDEL", "h");
    fixture_free(f);
}

/* ---- counters */

static void test_incrby(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":5\r\n", "HINCRBY", "h", "n", "5");
    expect(f, ":-2\r\n", "HINCRBY", "h", "n", "-7");
    expect_log(f, "HINCRBY h n 5\nHINCRBY h n -7\n");
    expect_events(f, "hincrby h\nhincrby h\n");
    expect(f, ":3\r\n", "HSET", "h", "max", "9223372036854775807", "min", "-9223372036854775808",
           "text", " 1");
    (void)fixture_log(f);
    expect(f, "-ERR increment or decrement would overflow\r\n", "HINCRBY", "h", "max", "1");
    expect(f, "-ERR increment or decrement would overflow\r\n", "HINCRBY", "h", "min", "-1");
    expect(f, "-ERR hash value is not an integer\r\n", "HINCRBY", "h", "text", "1");
    expect(f, NOT_INT, "HINCRBY", "h", "n", "1.5");
    expect(f, NOT_INT, "HINCRBY", "s", "n", "x");
    expect(f, WRONGTYPE, "HINCRBY", "s", "n", "1");
    expect(f, "-ERR wrong number of arguments for 'hincrby' command\r\n", "HINCRBY", "h", "n");
    expect_log(f, "");
    fixture_free(f);
}

static void test_incrbyfloat(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "$3\r\n0.1\r\n", "HINCRBYFLOAT", "h", "n", "0.1");
    expect(f, "$3\r\n0.3\r\n", "HINCRBYFLOAT", "h", "n", "0.2");
    expect(f, "$4\r\n1500\r\n", "HINCRBYFLOAT", "h", "e", "1.5e3");
    expect_log(f, "HSET h n 0.1\nHSET h n 0.3\nHSET h e 1500\n");
    expect_events(f, "hincrbyfloat h\nhincrbyfloat h\nhincrbyfloat h\n");
    expect(f, ":3\r\n", "HSET", "h", "text", "abc", "inf", "inf", "empty", "");
    (void)fixture_log(f);
    expect(f, "-ERR value is not a valid float\r\n", "HINCRBYFLOAT", "s", "n", "x");
    expect(f, "-ERR value is not a valid float\r\n", "HINCRBYFLOAT", "h", "n", " 1");
    expect(f, "-ERR value is not a valid float\r\n", "HINCRBYFLOAT", "h", "n", "nan");
    expect(f, "-ERR value is NaN or Infinity\r\n", "HINCRBYFLOAT", "h", "text", "inf");
    expect(f, "-ERR hash value is not a float\r\n", "HINCRBYFLOAT", "h", "text", "1");
    expect(f, "-ERR hash value is not a float\r\n", "HINCRBYFLOAT", "h", "empty", "1");
    expect(f, "-ERR increment would produce NaN or Infinity\r\n", "HINCRBYFLOAT", "h", "inf", "1");
    expect(f, WRONGTYPE, "HINCRBYFLOAT", "s", "n", "1");
    expect_log(f, "");
    fixture_free(f);
}

/* The result is thousands of digits of a request of tens: room in the log has to be asked for. */
static void test_incrbyfloat_long(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct bytes wire = run(f, "HINCRBYFLOAT", "h", "n", "1e4932");
    assert_true(wire.len > 4933);
    expect_encoding(f, "h", "hashtable");
    expect(f, ":4933\r\n", "HSTRLEN", "h", "n");
    fixture_free(f);
}

/* ---- reading fields */

static void test_reads(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":2\r\n", "HSET", "h", "a", "1", "-7", "seven");
    expect(f, "$1\r\n1\r\n", "HGET", "h", "a");
    expect(f, "$5\r\nseven\r\n", "HGET", "h", "-7");
    expect(f, "$-1\r\n", "HGET", "h", "A");
    expect(f, "$-1\r\n", "HGET", "none", "a");
    expect(f, "*3\r\n$5\r\nseven\r\n$-1\r\n$1\r\n1\r\n", "HMGET", "h", "-7", "x", "a");
    expect(f, "*2\r\n$-1\r\n$-1\r\n", "HMGET", "none", "a", "b");
    expect(f, ":2\r\n", "HLEN", "h");
    expect(f, ":0\r\n", "HLEN", "none");
    expect(f, ":1\r\n", "HEXISTS", "h", "a");
    expect(f, ":0\r\n", "HEXISTS", "h", "b");
    expect(f, ":0\r\n", "HEXISTS", "none", "b");
    expect(f, ":5\r\n", "HSTRLEN", "h", "-7");
    expect(f, ":1\r\n", "HSTRLEN", "h", "a");
    expect(f, ":0\r\n", "HSTRLEN", "h", "b");
    expect(f, ":0\r\n", "HSTRLEN", "none", "b");
    expect(f, WRONGTYPE, "HGET", "s", "a");
    expect(f, WRONGTYPE, "HMGET", "s", "a");
    expect(f, WRONGTYPE, "HLEN", "s");
    expect(f, WRONGTYPE, "HEXISTS", "s", "a");
    expect(f, WRONGTYPE, "HSTRLEN", "s", "a");
    f->proto = 3;
    expect(f, "_\r\n", "HGET", "h", "A");
    expect(f, "*2\r\n_\r\n$1\r\n1\r\n", "HMGET", "h", "x", "a");
    fixture_free(f);
}

static void test_walks(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "*0\r\n", "HGETALL", "none");
    expect(f, "*0\r\n", "HKEYS", "none");
    expect(f, "*0\r\n", "HVALS", "none");
    expect(f, ":2\r\n", "HSET", "h", "a", "1", "b", "x");
    expect(f, "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\nx\r\n", "HGETALL", "h");
    expect(f, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "HKEYS", "h");
    expect(f, "*2\r\n$1\r\n1\r\n$1\r\nx\r\n", "HVALS", "h");
    expect(f, WRONGTYPE, "HGETALL", "s");
    expect(f, WRONGTYPE, "HKEYS", "s");
    expect(f, WRONGTYPE, "HVALS", "s");
    f->proto = 3;
    expect(f, "%0\r\n", "HGETALL", "none");
    expect(f, "*0\r\n", "HKEYS", "none");
    expect(f, "%2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\nx\r\n", "HGETALL", "h");
    expect(f, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "HKEYS", "h");
    fixture_free(f);
}

/* ---- replies of fields in any order */

#define FIELDS_MAX 2000
struct tally {
    uint16_t seen[FIELDS_MAX];
    uint32_t fields;
};

/* Of "$<n>CRLF<text>CRLF" at *at. */
static struct bytes next_bulk(const uint8_t **at)
{
    assert_int_equal(**at, '$');
    char *end;
    unsigned long len = strtoul((const char *)*at + 1, &end, 10);
    struct bytes text = bytes_view(end + 2, len);
    *at = text.data + len + 2;
    return text;
}

/* Counts "f<i>", with their values i if `values`, each after `head`. */
static void tally_fields(struct tally *t, struct bytes wire, const char *head, bool values)
{
    const uint8_t *at = wire.data, *end = wire.data + wire.len;
    while (at < end) {
        assert_memory_equal(at, head, strlen(head));
        at += strlen(head);
        struct bytes field = next_bulk(&at);
        assert_int_equal(field.data[0], 'f');
        uint32_t i = (uint32_t)strtoul((const char *)field.data + 1, NULL, 10);
        assert_true(i < FIELDS_MAX);
        if (values) {
            struct bytes value = next_bulk(&at);
            assert_int_equal(strtoul((const char *)value.data, NULL, 10), i);
        }
        t->seen[i]++;
        t->fields++;
    }
    assert_ptr_equal(at, end);
}

/* What follows `head`, which the reply must begin with. */
static struct bytes after(struct bytes wire, const char *head)
{
    size_t len = strlen(head);
    assert_true(wire.len >= len);
    assert_memory_equal(wire.data, head, len);
    return bytes_view(wire.data + len, wire.len - len);
}

static void expect_distinct(const struct tally *t, uint32_t fields)
{
    assert_int_equal(t->fields, fields);
    for (uint32_t i = 0; i < FIELDS_MAX; i++)
        assert_true(t->seen[i] <= 1);
}

/* ---- HRANDFIELD */

static void test_randfield_errors(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "$-1\r\n", "HRANDFIELD", "none");
    expect(f, "*0\r\n", "HRANDFIELD", "none", "5");
    expect(f, "*0\r\n", "HRANDFIELD", "none", "-5", "WITHVALUES");
    expect(f, ":1\r\n", "HSET", "h", "a", "1");
    expect(f, "*0\r\n", "HRANDFIELD", "h", "0");
    expect(f, "*0\r\n", "HRANDFIELD", "h", "0", "WITHVALUES");
    expect(f, NOT_INT, "HRANDFIELD", "none", "x");
    expect(f,
           "-ERR value is out of range, value must between -9223372036854775807 and "
           "9223372036854775807\r\n",
           "HRANDFIELD", "h", "-9223372036854775808");
    expect(f, "-ERR value is out of range\r\n", "HRANDFIELD", "h", "9223372036854775807",
           "WITHVALUES");
    expect(f, "-ERR value is out of range\r\n", "HRANDFIELD", "h", "-9223372036854770000",
           "withvalues");
    expect(f, "-ERR value is out of range\r\n", "HRANDFIELD", "h", "-9223372036854770000");
    expect(f, "-ERR value is out of range\r\n", "HRANDFIELD", "h", "-16777217");
    expect(f, "-ERR syntax error\r\n", "HRANDFIELD", "s", "1", "WITHVALUE");
    expect(f, "-ERR syntax error\r\n", "HRANDFIELD", "h", "1", "WITHVALUES", "x");
    expect(f, WRONGTYPE, "HRANDFIELD", "s");
    expect(f, WRONGTYPE, "HRANDFIELD", "s", "0");
    f->proto = 3;
    expect(f, "_\r\n", "HRANDFIELD", "none");
    expect(f, "*0\r\n", "HRANDFIELD", "none", "5");
    fixture_free(f);
}

static void test_randfield_shapes(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "HSET", "h", "a", "1");
    expect(f, "$1\r\na\r\n", "HRANDFIELD", "h");
    expect(f, "*1\r\n$1\r\na\r\n", "HRANDFIELD", "h", "9223372036854775807");
    expect(f, "*2\r\n$1\r\na\r\n$1\r\n1\r\n", "HRANDFIELD", "h", "3", "WITHVALUES");
    expect(f, "*2\r\n$1\r\na\r\n$1\r\na\r\n", "HRANDFIELD", "h", "-2");
    expect(f, "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\n1\r\n", "HRANDFIELD", "h", "-2",
           "withvalues");
    f->proto = 3;
    expect(f, "*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n", "HRANDFIELD", "h", "3", "WITHVALUES");
    expect(f, "*1\r\n$1\r\na\r\n", "HRANDFIELD", "h", "3");
    fixture_free(f);
}

/* A packed hash, and a full one by walking and by drawing: distinct, and every field has its chance. */
static void test_randfield_distinct(void **state)
{
    (void)state;
    static const struct {
        int fields, wanted;
        const char *encoding;
    } cases[] = {{10, 3, "listpack"},      {10, 9, "listpack"},     {10, 50, "listpack"},
                 {1000, 900, "hashtable"}, {1000, 40, "hashtable"}, {1000, 333, "hashtable"},
                 {1000, 1000, "hashtable"}};
    struct fixture *f = start();
    fill(f, "small", 0, 10);
    fill(f, "large", 0, 1000);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *key = cases[i].fields == 10 ? "small" : "large";
        expect_encoding(f, key, cases[i].encoding);
        char count[16], head[16];
        int least = cases[i].wanted < cases[i].fields ? cases[i].wanted : cases[i].fields;
        snprintf(count, sizeof count, "%d", cases[i].wanted);
        snprintf(head, sizeof head, "*%d\r\n", least);
        struct tally all = {.fields = 0};
        for (int round = 0; round < 400; round++) {
            struct tally t = {.fields = 0};
            tally_fields(&t, after(run(f, "HRANDFIELD", key, count), head), "", false);
            expect_distinct(&t, (uint32_t)least);
            for (int k = 0; k < cases[i].fields; k++)
                all.seen[k] = (uint16_t)(all.seen[k] + t.seen[k]);
        }
        /* Expected draws of a field: 400 × wanted / fields, 16 at least; off by half is 8 sigma away or so. */
        uint32_t mean = 400u * (uint32_t)least / (uint32_t)cases[i].fields;
        for (int k = 0; k < cases[i].fields; k++) {
            if (mean >= 120) assert_in_range(all.seen[k], mean / 2, mean + mean / 2);
            assert_true(all.seen[k] > 0);
        }
    }
    f->proto = 3;
    struct tally t = {.fields = 0};
    tally_fields(&t, after(run(f, "HRANDFIELD", "large", "50", "WITHVALUES"), "*50\r\n"), "*2\r\n",
                 true);
    expect_distinct(&t, 50);
    fixture_free(f);
}

static void test_randfield_repeating(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "h", 0, 5);
    struct tally t = {.fields = 0};
    tally_fields(&t, after(run(f, "HRANDFIELD", "h", "-1000", "WITHVALUES"), "*2000\r\n"), "",
                 true);
    assert_int_equal(t.fields, 1000);
    for (int i = 0; i < 5; i++)
        assert_in_range(t.seen[i], 100, 300);
    fixture_free(f);
}

/* ---- HSCAN */

static void test_scan_small(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "*2\r\n$1\r\n0\r\n*0\r\n", "HSCAN", "none", "0", "BAD");
    expect(f, ":3\r\n", "HSET", "h", "a", "1", "b", "2", "ab", "3");
    expect(f,
           "*2\r\n$1\r\n0\r\n*6\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n$2\r\nab\r\n$"
           "1\r\n3\r\n",
           "HSCAN", "h", "0");
    expect(f, "*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\nab\r\n$1\r\n3\r\n", "HSCAN", "h",
           "0", "MATCH", "a*", "COUNT", "1");
    expect(f, "*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$2\r\nab\r\n", "HSCAN", "h", "0",
           "NOVALUES", "MATCH", "*");
    expect(f, "*2\r\n$1\r\n0\r\n*0\r\n", "HSCAN", "h", "0", "MATCH", "x");
    expect(f, "-ERR invalid cursor\r\n", "HSCAN", "none", "x");
    expect(f, "-ERR invalid cursor\r\n", "HSCAN", "s", "-1", "BAD");
    expect(f, "-ERR invalid cursor\r\n", "HSCAN", "h", "18446744073709551616");
    expect(f, WRONGTYPE, "HSCAN", "s", "0", "BAD");
    expect(f, "-ERR syntax error\r\n", "HSCAN", "h", "0", "BAD");
    expect(f, "-ERR syntax error\r\n", "HSCAN", "h", "0", "MATCH");
    expect(f, "-ERR syntax error\r\n", "HSCAN", "h", "0", "COUNT");
    expect(f, "-ERR syntax error\r\n", "HSCAN", "h", "0", "COUNT", "0");
    expect(f, "-ERR syntax error\r\n", "HSCAN", "h", "0", "TYPE", "hash");
    expect(f, NOT_INT, "HSCAN", "h", "0", "COUNT", "x");
    expect(f, "-ERR wrong number of arguments for 'hscan' command\r\n", "HSCAN", "h");
    fixture_free(f);
}

/* Reads the cursor of a scan's reply into cursor; what follows it and the count. */
static struct bytes split_scan(struct bytes wire, char cursor[32], uint32_t *count_out)
{
    struct bytes rest = after(wire, "*2\r\n");
    const uint8_t *at = rest.data;
    struct bytes text = next_bulk(&at);
    assert_true(text.len < 32);
    memcpy(cursor, text.data, text.len);
    cursor[text.len] = 0;
    assert_int_equal(*at, '*');
    char *end;
    *count_out = (uint32_t)strtoul((const char *)at + 1, &end, 10);
    at = (const uint8_t *)end + 2;
    return bytes_view(at, (size_t)(wire.data + wire.len - at));
}

static void test_scan_large(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "h", 0, 1500);
    expect_encoding(f, "h", "hashtable");
    struct tally t = {.fields = 0};
    char cursor[32] = "0";
    uint32_t calls = 0, count;
    do {
        uint32_t before = t.fields;
        tally_fields(&t, split_scan(run(f, "HSCAN", "h", cursor, "COUNT", "50"), cursor, &count),
                     "", true);
        assert_int_equal((t.fields - before) * 2, count);
        assert_true(count / 2 >= 50 || strcmp(cursor, "0") == 0);
        assert_true(count / 2 <= 100);
        calls++;
    } while (strcmp(cursor, "0") != 0);
    expect_distinct(&t, 1500);
    assert_in_range(calls, 15, 30);
    /* One call takes at most ten steps per COUNT, however little matches. */
    struct tally none = {.fields = 0};
    tally_fields(
        &none, split_scan(run(f, "HSCAN", "h", "0", "MATCH", "f1499", "NOVALUES"), cursor, &count),
        "", false);
    assert_string_not_equal(cursor, "0");
    struct tally whole = {.fields = 0};
    tally_fields(&whole,
                 split_scan(run(f, "HSCAN", "h", "0", "COUNT", "9223372036854775807", "NOVALUES"),
                            cursor, &count),
                 "", false);
    assert_string_equal(cursor, "0");
    expect_distinct(&whole, 1500);
    /* Any number is a cursor. */
    (void)split_scan(run(f, "HSCAN", "h", "18446744073709551615"), cursor, &count);
    fixture_free(f);
}

/* Fields that stay are seen, however the hash grows and shrinks between the calls. */
static void test_scan_while_changing(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "h", 0, 1000);
    struct tally t = {.fields = 0};
    char cursor[32] = "0", field[16];
    uint32_t count;
    for (int turn = 0; turn == 0 || strcmp(cursor, "0") != 0; turn++) {
        tally_fields(&t, split_scan(run(f, "HSCAN", "h", cursor), cursor, &count), "", true);
        for (int i = 0; i < 20; i++) {
            int k = 700 + (turn * 20 + i) % 300;
            snprintf(field, sizeof field, "f%d", k);
            (void)run(f, "HDEL", "h", field);
            k = 1000 + (turn * 20 + i) % 1000;
            snprintf(field, sizeof field, "f%d", k);
            char value[16];
            snprintf(value, sizeof value, "%d", k);
            (void)run(f, "HSET", "h", field, value);
        }
    }
    for (int i = 0; i < 700; i++)
        assert_true(t.seen[i] >= 1);
    fixture_free(f);
}

/* ---- encodings, expiry, memory */

static void test_encodings(void **state)
{
    (void)state;
    struct fixture *f = start();
    char text[66];
    memset(text, 'x', 65);
    text[64] = 0;
    expect(f, ":1\r\n", "HSET", "value", "f", text);
    expect_encoding(f, "value", "listpack");
    expect(f, ":1\r\n", "HSET", "field", text, "v");
    expect_encoding(f, "field", "listpack");
    text[64] = 'x';
    text[65] = 0;
    expect(f, ":1\r\n", "HSET", "value", "g", text);
    expect_encoding(f, "value", "hashtable");
    expect(f, ":1\r\n", "HSETNX", "field", text, "v");
    expect_encoding(f, "field", "hashtable");
    expect(f, ":3\r\n", "HSET", "several", "a", "1", "b", text, "c", "2");
    expect_encoding(f, "several", "hashtable");
    fill(f, "count", 0, 512);
    expect_encoding(f, "count", "listpack");
    expect(f, ":0\r\n", "HSET", "count", "f0", "0");
    expect_encoding(f, "count", "listpack");
    expect(f, ":1\r\n", "HINCRBY", "count", "one more", "1");
    expect_encoding(f, "count", "hashtable");
    expect(f, ":513\r\n", "HLEN", "count");
    expect(f, "$3\r\n511\r\n", "HGET", "count", "f511");
    expect(f, ":1\r\n", "HDEL", "count", "one more");
    expect_encoding(f, "count", "hashtable"); /* never back */
    fixture_free(f);
}

static void test_expiry(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, ":1\r\n", "HSET", "h", "a", "1");
    expect(f, ":1\r\n", "PEXPIRE", "h", "100");
    expect(f, ":2\r\n", "HINCRBY", "h", "a", "1"); /* keeps it */
    expect(f, ":1\r\n", "HSETNX", "h", "b", "1");
    expect(f, ":100\r\n", "PTTL", "h");
    expect(f, ":2\r\n", "HDEL", "h", "a", "b");
    expect(f, ":1\r\n", "HSET", "h", "a", "1");
    expect(f, ":-1\r\n", "PTTL", "h");
    expect(f, ":1\r\n", "PEXPIRE", "h", "100");
    fixture_advance(f, 100);
    (void)fixture_log(f);
    (void)fixture_events(f);
    expect(f, ":7\r\n", "HINCRBY", "h", "a", "7");
    expect_log(f, "DEL h\nHINCRBY h a 7\n");
    expect_events(f, "expired h\nhincrby h\n");
    fixture_free(f);
}

/* Whatever allocation fails: the reply says so, and what is stored is what is logged (fixture_free). */
static void test_no_memory(void **state)
{
    (void)state;
    char big[3000], longish[100];
    memset(big, 'b', sizeof big - 1);
    big[sizeof big - 1] = 0;
    memset(longish, 'l', sizeof longish - 1);
    longish[sizeof longish - 1] = 0;
    struct fixture *f = start();
    const char *const requests[][12] = {
        {"HSET", "k", "a", "1"},
        {"HSET", "k", "a", big},
        {"HSET", "k", "a", "1", "b", longish, "c", big, "d", "4"},
        {"HSET", "k", "a", "1", "b", "2", "c", "3", "d", "4"},
        {"HSETNX", "k", "n", big},
        {"HINCRBY", "k", "count", "7"},
        {"HINCRBYFLOAT", "k", "float", "1e200"},
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        for (int exists = 0; exists < 2; exists++) {
            bool fired = true;
            for (uint32_t nth = 1; fired; nth++) {
                char key[32];
                snprintf(key, sizeof key, "k%zu:%d:%u", i, exists, nth);
                if (exists)
                    expect(f, ":3\r\n", "HSET", key, "a", "old", "x", longish + 50, "y", "7");
                struct bytes argv[12];
                uint32_t argc = 0;
                for (; argc < 12 && requests[i][argc] != NULL; argc++)
                    argv[argc] = bytes_of(requests[i][argc]);
                argv[1] = bytes_of(key);
                mem_fault_arm(nth);
                struct bytes wire = fixture_run_bytes(f, argv, argc);
                fired = mem_fault_disarm();
                assert_true(wire.len >= 4);
                if (!fired) assert_int_not_equal(wire.data[0], '-');
                if (wire.data[0] == '-') assert_memory_equal(wire.data, OOM, 4);
                if (exists) expect(f, "$1\r\n7\r\n", "HGET", key, "y");
                assert_true(nth < 100);
            }
        }
    }
    fixture_free(f);
}

/* HRANDFIELD draws without memory, by walking. */
static void test_randfield_no_memory(void **state)
{
    (void)state;
    struct fixture *f = start();
    fill(f, "h", 0, 1000);
    struct tally t = {.fields = 0};
    mem_fault_arm(1);
    struct bytes wire = run(f, "HRANDFIELD", "h", "40");
    assert_true(mem_fault_disarm());
    tally_fields(&t, after(wire, "*40\r\n"), "", false);
    expect_distinct(&t, 40);
    fixture_free(f);
}

/* ---- any sequence of changes is what its log replays to */

static void test_random_changes(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct rng rng;
    rng_seed(&rng, 7);
    char key[8], field[16], value[128];
    for (int i = 0; i < 6000; i++) {
        snprintf(key, sizeof key, "h%d", (int)rng_below(&rng, 4));
        snprintf(field, sizeof field, "f%d", (int)rng_below(&rng, 700));
        size_t len = rng_below(&rng, 20) == 0 ? 100 : rng_below(&rng, 20);
        memset(value, 'v', len);
        value[len] = 0;
        switch (rng_below(&rng, 8)) {
        case 0:
            (void)run(f, "HDEL", key, field, "f1", "f2");
            break;
        case 1:
            (void)run(f, "HSETNX", key, field, value);
            break;
        case 2:
            (void)run(f, "HINCRBY", key, field, "11");
            break;
        case 3:
            (void)run(f, "HINCRBYFLOAT", key, field, "0.7");
            break;
        case 4:
            (void)run(f, "HMSET", key, field, "5", "f3", value);
            break;
        default:
            (void)run(f, "HSET", key, field, value, "f4", "1", "f5", "2");
            break;
        }
        f->db = i % 7 == 0;
    }
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_mset),
        cmocka_unit_test(test_setnx),
        cmocka_unit_test(test_del),
        cmocka_unit_test(test_incrby),
        cmocka_unit_test(test_incrbyfloat),
        cmocka_unit_test(test_incrbyfloat_long),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_walks),
        cmocka_unit_test(test_randfield_errors),
        cmocka_unit_test(test_randfield_shapes),
        cmocka_unit_test(test_randfield_distinct),
        cmocka_unit_test(test_randfield_repeating),
        cmocka_unit_test(test_scan_small),
        cmocka_unit_test(test_scan_large),
        cmocka_unit_test(test_scan_while_changing),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_randfield_no_memory),
        cmocka_unit_test(test_random_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
