/* Databases as a whole: SCAN finds every key and only keys, on one shard and on several; KEYS, RANDOMKEY,
 * DBSIZE; flushing and swapping, and their replay under other numbers of shards. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shard/resp/value.h"
#include "tests/lib/cmd_fixture.h"

#define OK "+OK\r\n"
#define NIL "$-1\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define EMPTY_SCAN "*2\r\n$1\r\n0\r\n*0\r\n"

enum { SHARDS = 3, KEYS_MAX = 3000 };

static const struct cmd_table *const tables[] = {&string_cmds, &keys_cmds, &scan_cmds,
                                                 &list_cmds,   &hash_cmds, NULL};

/* A node of `count` shards: requests about a key go to its shard. */
struct node {
    struct fixture *shard[SHARDS];
    uint32_t count;
};

static struct node node_start(uint32_t count)
{
    struct node n = {.count = count};
    for (uint32_t i = 0; i < count; i++)
        n.shard[i] = fixture_open(tables, i, count, n.shard[0]);
    return n;
}

static uint64_t node_digest(const struct node *n)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n->count; i++)
        sum += fixture_digest(n->shard[i]);
    return sum;
}

/* Contents after replay under every number of shards are those of the node. */
static void node_check(const struct node *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        assert_true(keyspace_check(n->shard[i]->core.ks));
    for (uint32_t shards = 1; shards <= 4; shards++)
        assert_true(fixture_replay_digest(n->shard[0], shards) == node_digest(n));
}

static void node_free(struct node *n)
{
    node_check(n);
    for (uint32_t i = n->count; i-- > 0;)
        fixture_free(n->shard[i]);
}

static void node_db(const struct node *n, uint8_t db)
{
    for (uint32_t i = 0; i < n->count; i++)
        n->shard[i]->db = db;
}

static struct fixture *shard_of(const struct node *n, const char *key)
{
    return n->shard[slot_shard(slot_of_key(bytes_of(key)), n->count)];
}

/* SPREAD_EVERY_OK */
#define every(n, ...) node_every((n), (const char *const[]){__VA_ARGS__, NULL})
static void node_every(const struct node *n, const char *const *args)
{
    for (uint32_t i = 0; i < n->count; i++)
        fixture_expect(n->shard[i], OK, args, __FILE__, __LINE__);
}

static void key_name(char out[32], uint32_t i)
{
    (void)snprintf(out, 32, i % 3 == 0 ? "{tag}:%u" : "key:%u", i);
}

static void fill(const struct node *n, uint32_t count)
{
    char name[32];
    for (uint32_t i = 0; i < count; i++) {
        key_name(name, i);
        struct fixture *f = shard_of(n, name);
        if (i % 5 == 0)
            (void)run(f, "RPUSH", name, "x");
        else if (i % 7 == 0)
            (void)run(f, "SET", name, "v", "PX", "500");
        else
            (void)run(f, "SET", name, "v");
    }
}

/* ---- SCAN */

struct scan {
    uint32_t seen[KEYS_MAX];
    uint32_t calls, keys;
    uint32_t keys_max; /* of one call */
};

static uint32_t key_number(struct bytes name)
{
    const uint8_t *colon = memchr(name.data, ':', name.len);
    assert_non_null(colon);
    char digits[16] = {0};
    memcpy(digits, colon + 1, name.len - (size_t)(colon + 1 - name.data));
    return (uint32_t)strtoul(digits, NULL, 10);
}

/* Counts the keys of one reply; its cursor. */
static uint64_t scan_take(struct scan *s, struct bytes wire)
{
    struct resp_value v;
    size_t used;
    uint64_t cursor;
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(resp_value_parse(&arena, wire.data, wire.len, &v, &used), 1);
    assert_int_equal(v.count, 2);
    assert_true(num_parse_u64(v.items[0].text, &cursor));
    for (uint32_t i = 0; i < v.items[1].count; i++)
        s->seen[key_number(v.items[1].items[i].text)]++;
    s->calls++;
    s->keys += v.items[1].count;
    if (v.items[1].count > s->keys_max) s->keys_max = v.items[1].count;
    arena_free(&arena);
    return cursor;
}

/* A whole iteration, each call on the shard that its cursor names. between(i) runs after call i. */
static void scan_all(const struct node *n, struct scan *s, const char *const *options,
                     void (*between)(const struct node *n, uint32_t call))
{
    *s = (struct scan){.calls = 0};
    uint64_t cursor = 0;
    do {
        char text[24];
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)cursor);
        const char *args[12] = {"SCAN", text};
        for (uint32_t i = 0; options[i] != NULL; i++)
            args[2 + i] = options[i];
        cursor =
            scan_take(s, fixture_run(n->shard[slot_shard(db_scan_slot(cursor), n->count)], args));
        if (between != NULL) between(n, s->calls);
        assert_true(s->calls < 100000);
    } while (cursor != 0);
}

static const char *const no_options[] = {NULL};

static void test_scan_finds_all(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= SHARDS; count++) {
        struct node n = node_start(count);
        struct scan s;
        scan_all(&n, &s, no_options, NULL);
        assert_int_equal(s.keys, 0);
        assert_int_equal(s.calls, count);
        fill(&n, KEYS_MAX);
        scan_all(&n, &s, no_options, NULL);
        for (uint32_t i = 0; i < KEYS_MAX; i++)
            assert_int_equal(s.seen[i], 1);
        assert_true(s.keys_max < 10 + 100); /* COUNT and one bucket with its chain */
        scan_all(&n, &s, (const char *const[]){"COUNT", "1000000", NULL}, NULL);
        assert_int_equal(s.keys, KEYS_MAX);
        assert_int_equal(s.calls, count);
        node_free(&n);
    }
}

static void grow_and_shrink(const struct node *n, uint32_t call)
{
    char name[32];
    for (uint32_t i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, i % 2 == 0 ? "{tag}more:%u" : "more:%u", call * 20 + i);
        (void)run(shard_of(n, name), "SET", name, "v");
    }
    key_name(name, KEYS_MAX / 2 + call);
    if (KEYS_MAX / 2 + call < KEYS_MAX) (void)run(shard_of(n, name), "DEL", name);
}

/* Keys that are there throughout are found, whatever comes and goes. */
static void test_scan_during_changes(void **state)
{
    (void)state;
    struct node n = node_start(2);
    fill(&n, KEYS_MAX);
    struct scan s;
    scan_all(&n, &s, (const char *const[]){"MATCH", "key:*", "COUNT", "20", NULL}, grow_and_shrink);
    for (uint32_t i = 0; i < KEYS_MAX / 2; i++)
        assert_true(i % 3 == 0 ? s.seen[i] == 0 : s.seen[i] >= 1);
    node_free(&n);
}

static void test_scan_filters(void **state)
{
    (void)state;
    struct node n = node_start(1);
    struct fixture *f = n.shard[0];
    struct scan s;
    fill(&n, 300);
    scan_all(&n, &s, (const char *const[]){"MATCH", "{tag}:*", NULL}, NULL);
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(s.seen[i], i % 3 == 0);
    scan_all(&n, &s, (const char *const[]){"TYPE", "LIST", NULL}, NULL);
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(s.seen[i], i % 5 == 0);
    scan_all(&n, &s,
             (const char *const[]){"TYPE", "string", "MATCH", "key:*", "COUNT", "100", NULL}, NULL);
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(s.seen[i], i % 3 != 0 && i % 5 != 0);
    scan_all(&n, &s, (const char *const[]){"TYPE", "nosuch", NULL}, NULL);
    assert_int_equal(s.keys, 0);
    scan_all(&n, &s, (const char *const[]){"MATCH", "*", NULL}, NULL);
    assert_int_equal(s.keys, 300);
    every(&n, "FLUSHDB");
    expect(f, OK, "SET", "", "the empty name");
    expect(f, "*2\r\n$1\r\n0\r\n*1\r\n$0\r\n\r\n", "SCAN", "0", "MATCH", "*");
    expect(f, "*1\r\n$0\r\n\r\n", "KEYS", "*");
    node_free(&n);
}

/* Expired keys are not shown and do not stay. */
static void test_scan_expired(void **state)
{
    (void)state;
    struct node n = node_start(1);
    struct fixture *f = n.shard[0];
    struct scan s;
    fill(&n, 1000);
    fixture_advance(f, 500);
    scan_all(&n, &s, (const char *const[]){"COUNT", "100", NULL}, NULL);
    uint32_t live = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        bool is_expired = i % 5 != 0 && i % 7 == 0;
        assert_int_equal(s.seen[i], !is_expired);
        live += !is_expired;
    }
    assert_int_equal(db_count(f->core.ks, 0), live);
    assert_int_equal(f->core.stats.expired, 1000 - live);
    node_free(&n);
}

static void test_scan_errors(void **state)
{
    (void)state;
    struct node n = node_start(1);
    struct fixture *f = n.shard[0];
    expect(f, "-ERR invalid cursor\r\n", "SCAN", "x");
    expect(f, "-ERR invalid cursor\r\n", "SCAN", "-1");
    expect(f, "-ERR invalid cursor\r\n", "SCAN", "x", "COUNT", "0");
    expect(f, SYNTAX, "SCAN", "0", "COUNT", "0");
    expect(f, "-ERR value is not an integer or out of range\r\n", "SCAN", "0", "COUNT", "x");
    expect(f, SYNTAX, "SCAN", "0", "COUNT");
    expect(f, SYNTAX, "SCAN", "0", "MATCH");
    expect(f, SYNTAX, "SCAN", "0", "foo", "bar");
    expect(f, EMPTY_SCAN, "SCAN", "0", "COUNT", "9223372036854775807");
    expect(f, EMPTY_SCAN, "SCAN", "18446744073709551615");
    expect(f, OK, "SET", "k", "v");
    expect(f, EMPTY_SCAN, "SCAN", "18446744073709551615");
    expect(f, "-ERR wrong number of arguments for 'scan' command\r\n", "SCAN");
    node_free(&n);
}

/* ---- KEYS RANDOMKEY DBSIZE */

static void test_keys(void **state)
{
    (void)state;
    struct node n = node_start(1);
    struct fixture *f = n.shard[0];
    expect(f, "*0\r\n", "KEYS", "*");
    expect(f, OK, "MSET", "one", "1", "two", "2");
    expect(f, OK, "SET", "old", "1", "PX", "5");
    fixture_advance(f, 5);
    expect(f, "*1\r\n$3\r\ntwo\r\n", "KEYS", "t*");
    expect(f, "*1\r\n$3\r\none\r\n", "KEYS", "?n[a-f]");
    expect(f, "*0\r\n", "KEYS", "old");
    expect(f, "*0\r\n", "KEYS", "");
    expect(f, ":3\r\n", "DBSIZE"); /* an expired key counts until someone meets it */
    f->db = 1;
    expect(f, "*0\r\n", "KEYS", "*");
    expect(f, ":0\r\n", "DBSIZE");
    f->db = 0;
    fill(&n, 1500);
    assert_memory_equal(run(f, "KEYS", "*").data, "*1502\r\n", 7);
    expect(f, "-ERR wrong number of arguments for 'keys' command\r\n", "KEYS");
    node_free(&n);
}

static void test_randomkey(void **state)
{
    (void)state;
    struct node n = node_start(1);
    struct fixture *f = n.shard[0];
    uint32_t seen[10] = {0};
    expect(f, NIL, "RANDOMKEY");
    f->proto = 3;
    expect(f, "_\r\n", "RANDOMKEY");
    for (char name[] = "0"; name[0] <= '9'; name[0]++)
        expect(f, OK, "SET", name, "v", "PX", name[0] % 2 == 0 ? "5" : "5000");
    for (uint32_t i = 0; i < 500; i++)
        seen[run(f, "RANDOMKEY").data[4] - '0']++;
    for (uint32_t i = 0; i < 10; i++)
        assert_true(seen[i] > 10);
    fixture_advance(f, 5);
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal((run(f, "RANDOMKEY").data[4] - '0') % 2, 1);
    fixture_advance(f, 5000);
    expect(f, "_\r\n", "RANDOMKEY");
    expect(f, ":0\r\n", "DBSIZE");
    node_free(&n);
}

/* ---- FLUSHDB FLUSHALL SWAPDB */

static void test_flush(void **state)
{
    (void)state;
    struct node n = node_start(1);
    struct fixture *f = n.shard[0];
    expect(f, OK, "FLUSHDB");
    expect_log(f, "");
    fill(&n, 200);
    f->db = 2;
    fill(&n, 100);
    (void)fixture_log(f);
    uint64_t dirty = f->core.stats.dirty;
    expect(f, OK, "FLUSHDB", "async");
    expect_log(f, "2:FLUSHDB\n");
    assert_int_equal(f->core.stats.dirty, dirty + 100);
    expect(f, ":0\r\n", "DBSIZE");
    f->db = 0;
    expect(f, ":200\r\n", "DBSIZE");
    fixture_check(f);
    expect(f, OK, "FLUSHALL", "SYNC");
    expect_log(f, "FLUSHALL\n");
    expect(f, ":0\r\n", "DBSIZE");
    assert_int_equal(f->core.stats.lazy_pending, 2);
    fixture_upkeep(f);
    assert_int_equal(f->core.stats.lazy_pending, 0);
    expect(f, OK, "FLUSHALL");
    expect_log(f, "");
    expect(f, SYNTAX, "FLUSHALL", "foo");
    expect(f, SYNTAX, "FLUSHDB", "SYNC", "ASYNC");
    fill(&n, 50);
    node_free(&n);
}

static void test_swapdb(void **state)
{
    (void)state;
    struct node n = node_start(1);
    struct fixture *f = n.shard[0];
    expect(f, OK, "SET", "k", "zero", "PX", "700");
    f->db = 1;
    expect(f, OK, "SET", "k", "one");
    expect(f, OK, "SWAPDB", "0", "1");
    expect(f, "$4\r\nzero\r\n", "GET", "k");
    expect(f, ":700\r\n", "PTTL", "k");
    f->db = 0;
    expect(f, "$3\r\none\r\n", "GET", "k");
    expect(f, OK, "SWAPDB", "0", "0");
    expect(f, OK, "SWAPDB", "3", "0");
    expect(f, NIL, "GET", "k");
    expect_log(f,
               "SET k zero PXAT 1700000000700\n1:SET k one\nSWAPDB 0 1\nSWAPDB 0 0\nSWAPDB 3 0\n");
    expect(f, "-ERR invalid first DB index\r\n", "SWAPDB", "a", "1");
    expect(f, "-ERR invalid first DB index\r\n", "SWAPDB", "9999999999", "b");
    expect(f, "-ERR invalid second DB index\r\n", "SWAPDB", "99", "b");
    expect(f, "-ERR DB index is out of range\r\n", "SWAPDB", "1", "99");
    expect(f, "-ERR DB index is out of range\r\n", "SWAPDB", "-1", "1");
    node_free(&n);
}

/* Units about all slots mean those of the log that wrote them: what the other shards wrote later, or
 * earlier, is untouched in a replay by any number of shards. */
static void test_replay_by_slots(void **state)
{
    (void)state;
    for (uint32_t count = 2; count <= SHARDS; count++) {
        struct node n = node_start(count);
        fill(&n, 500);
        node_db(&n, 1);
        fill(&n, 300);
        node_check(&n);
        expect(n.shard[1], OK, "FLUSHDB"); /* one shard's part only */
        node_check(&n);
        expect(n.shard[0], OK, "SWAPDB", "0", "1");
        node_check(&n);
        every(&n, "SWAPDB", "1", "2");
        node_db(&n, 2);
        fill(&n, 700);
        node_check(&n);
        expect(n.shard[0], OK, "FLUSHALL");
        node_check(&n);
        node_db(&n, 0);
        fill(&n, 100);
        every(&n, "FLUSHDB");
        fill(&n, 20);
        node_free(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_finds_all), cmocka_unit_test(test_scan_during_changes),
        cmocka_unit_test(test_scan_filters),   cmocka_unit_test(test_scan_expired),
        cmocka_unit_test(test_scan_errors),    cmocka_unit_test(test_keys),
        cmocka_unit_test(test_randomkey),      cmocka_unit_test(test_flush),
        cmocka_unit_test(test_swapdb),         cmocka_unit_test(test_replay_by_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
