/* Commands and transactions over several shards of a node: they answer and leave what one shard with all keys
 * does, in the log as in memory, also when they find no memory on the way. */
#include "shard/exec/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"
#include "tests/unit/shard/cmd/journal_memory.h"

enum { SHARDS = 3, WORDS_MAX = 10 };

static const struct cmd_table *const tables[] = {
    &string_cmds,      &keys_cmds, &hash_cmds,       &list_cmds,         &set_cmds,
    &set_algebra_cmds, &zset_cmds, &zset_range_cmds, &zset_algebra_cmds, NULL};

struct node {
    struct fixture *shard[SHARDS];
    uint32_t count;
    struct span span;
    struct buf out;
    uint64_t txid;
};

static void start(struct node *n, uint32_t count)
{
    *n = (struct node){.count = count};
    buf_init(&n->out, MEM_TEST);
    for (uint32_t i = 0; i < count; i++) {
        n->shard[i] = fixture_open(tables, i, count, n->shard[0]);
        n->shard[i]->core.tail.log = i; /* no track: nothing waits */
    }
}

static uint64_t digest(const struct node *n)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n->count; i++)
        sum += fixture_digest(n->shard[i]);
    return sum;
}

static void check(const struct node *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        assert_true(keyspace_check(n->shard[i]->core.ks));
    for (uint32_t shards = 1; shards <= SHARDS; shards++)
        assert_true(fixture_replay_digest(n->shard[0], shards) == digest(n));
}

static void end(struct node *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        fixture_upkeep(n->shard[i]);
    check(n);
    for (uint32_t i = n->count; i-- > 0;)
        fixture_free(n->shard[i]);
    buf_free(&n->out);
}

static void advance(struct node *n, int64_t ms)
{
    for (uint32_t i = 0; i < n->count; i++)
        fixture_advance(n->shard[i], ms);
}

static uint32_t words(const char *const *args, struct bytes *argv)
{
    uint32_t argc = 0;
    for (; args[argc] != NULL; argc++)
        argv[argc] = bytes_of(args[argc]);
    return argc;
}

static const struct cmd_spec *row(const struct fixture *f, struct bytes name)
{
    for (uint32_t i = 0; i < f->top_count; i++)
        if (bytes_is(name, f->specs[i].name)) return &f->specs[i];
    fail_msg("no command %.*s", (int)name.len, (const char *)name.data);
    return NULL;
}

static uint64_t mask_of(const struct node *n, const struct request *rq, struct bytes *first_out)
{
    uint32_t at[WORDS_MAX], keys = spec_key_positions(rq->spec, rq->argv, rq->argc, at);
    uint64_t mask = 0;
    for (uint32_t i = 0; i < keys; i++)
        mask |= UINT64_C(1) << slot_shard(slot_of_key(rq->argv[at[i]]), n->count);
    *first_out = keys > 0 ? rq->argv[at[0]] : bytes_view("", 0);
    return mask;
}

static struct request request_of(const struct node *n, const char *const *args, struct bytes *argv,
                                 uint64_t *mask_out)
{
    struct request rq = {.argv = argv, .argc = words(args, argv)};
    struct bytes first;
    rq.spec = row(n->shard[0], argv[0]);
    for (uint32_t i = 0; i < rq.argc; i++)
        rq.wire_bytes += 10 + (uint32_t)argv[i].len;
    *mask_out = mask_of(n, &rq, &first);
    rq.key = db_key(0, first);
    return rq;
}

/* From the last core, which need not have any of the keys. */
static void begin(struct node *n, uint64_t mask, bool writes)
{
    struct core *home = &n->shard[n->count - 1]->core;
    (void)slab_use(home->slab);
    core_pass_begin(home);
    n->span.home = home;
    n->span.count = n->count;
    n->span.mask = mask;
    for (uint32_t i = 0; i < n->count; i++)
        n->span.core[i] = &n->shard[i]->core;
    span_begin(&n->span);
    if (writes) span_tx_begin(&n->span, ++n->txid);
    n->out.len = 0;
}

static void finish(struct node *n, bool writes)
{
    if (writes) span_tx_end(&n->span);
    span_end(&n->span);
    for (uint32_t i = 0; i < n->count; i++)
        core_pass_end(&n->shard[i]->core);
}

static struct bytes run_over(struct node *n, const char *const *args)
{
    struct bytes argv[WORDS_MAX];
    uint64_t mask;
    struct request rq = request_of(n, args, argv, &mask);
    struct reply reply = {.out = &n->out, .proto = 2};
    bool writes = rq.spec->flags & CMD_WRITE;
    begin(n, mask, writes);
    span_run(&n->span, &rq, &reply);
    finish(n, writes);
    return buf_bytes(&n->out);
}

#define over(n, wire, ...)                                                                         \
    do {                                                                                           \
        struct bytes got_ = run_over((n), (const char *const[]){__VA_ARGS__, NULL});               \
        assert_int_equal(got_.len, strlen(wire));                                                  \
        assert_memory_equal(got_.data, (wire), got_.len);                                          \
    } while (0)

static uint64_t units(const struct node *n)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n->count; i++)
        sum += journal_lsn(n->shard[i]->core.journal);
    return sum;
}

/* ---- the same as on one shard */

static const char *const fill[][WORDS_MAX] = {
    {"MSET", "s1", "one", "s2", "two", "s3", "three"},
    {"RPUSH", "l1", "a", "b", "c"},
    {"RPUSH", "l2", "x"},
    {"SADD", "t1", "a", "b", "c", "1"},
    {"SADD", "t2", "b", "c", "d", "2"},
    {"ZADD", "z1", "1", "a", "2", "b"},
    {"ZADD", "z2", "3", "b", "4", "c"},
    {"HSET", "h1", "f", "v", "g", "w"},
    {"PEXPIRE", "h1", "1000"},
    {"PEXPIRE", "s3", "1000"},
};

static const char *const commands[][WORDS_MAX] = {
    {"RENAME", "s1", "s2"},
    {"RENAME", "h1", "s1"},
    {"RENAME", "l1", "n"},
    {"RENAME", "none", "s1"},
    {"RENAMENX", "t1", "t2"},
    {"RENAMENX", "t1", "n"},
    {"COPY", "h1", "n"},
    {"COPY", "z1", "s1", "REPLACE"},
    {"COPY", "s3", "s2"},
    {"SMOVE", "t1", "t2", "a"},
    {"SMOVE", "t2", "n", "d"},
    {"SMOVE", "t1", "s1", "a"},
    {"LMOVE", "l1", "l2", "LEFT", "RIGHT"},
    {"LMOVE", "l2", "n", "RIGHT", "LEFT"},
    {"RPOPLPUSH", "l2", "l1"},
    {"SINTER", "t1", "t2"},
    {"SDIFF", "t1", "t2"},
    {"SINTERCARD", "2", "t1", "t2"},
    {"SUNIONSTORE", "t1", "t1", "t2", "n"},
    {"SINTERSTORE", "s1", "t1", "t2"},
    {"SDIFFSTORE", "t2", "t2", "t2"},
    {"ZUNION", "2", "z1", "z2", "WITHSCORES"},
    {"ZINTER", "2", "z1", "t2"},
    {"ZDIFFSTORE", "z2", "2", "z1", "z2"},
    {"ZUNIONSTORE", "l1", "2", "z1", "z2"},
    {"ZRANGESTORE", "n", "z1", "0", "-1"},
    {"LMPOP", "3", "n", "l1", "l2", "LEFT"},
    {"LMPOP", "2", "n", "l2", "RIGHT"},
    {"ZMPOP", "2", "none", "z2", "MIN"},
    {"LCS", "s1", "s3"},
    {"MSETNX", "n", "1", "n2", "2"},
    {"MSET", "s1", "x", "l1", "y", "n", "z"},
    {"MGET", "s1", "s2", "s3", "l1"},
    {"DEL", "s1", "l1", "t1", "z1"},
    {"EXISTS", "s1", "s2", "t1"},
};

static struct bytes both_run(struct node *n, struct fixture *one, const char *const *args)
{
    struct bytes got = run_over(n, args);
    struct bytes want = fixture_run(one, args);
    if (!bytes_equal(got, want))
        fail_msg("%s %s %s: %.*s, on one shard %.*s", args[0], args[1], args[2], (int)got.len,
                 (const char *)got.data, (int)want.len, (const char *)want.data);
    assert_true(digest(n) == fixture_digest(one));
    return got;
}

/* One after the other on what the one before left, twice with keys that expire between. */
static void test_as_one_shard(void **state)
{
    (void)state;
    for (uint32_t count = 2; count <= SHARDS; count++)
        for (size_t from = 0; from < COUNT_OF(commands); from += 7) {
            struct node n;
            start(&n, count);
            struct fixture *one = fixture_open(tables, 0, 1, NULL);
            for (size_t i = 0; i < COUNT_OF(fill); i++)
                (void)both_run(&n, one, fill[i]);
            for (size_t i = from; i < COUNT_OF(commands); i++) {
                (void)both_run(&n, one, commands[i]);
                if (i % 11 != 10) continue;
                advance(&n, 1000);
                fixture_advance(one, 1000);
            }
            fixture_upkeep(one);
            fixture_free(one);
            end(&n);
        }
}

/* ---- no memory: an error and nothing has changed, or all of it */

static bool fails_whole(const char *const *args, uint32_t nth)
{
    struct node n;
    start(&n, 2);
    for (size_t i = 0; i < COUNT_OF(fill); i++)
        (void)run_over(&n, fill[i]);
    uint64_t before = digest(&n), logged = units(&n);
    mem_fault_arm(nth);
    struct bytes wire = run_over(&n, args);
    bool fired = mem_fault_disarm();
    if (wire.data[0] == '-' && fired) {
        assert_true(digest(&n) == before);
        assert_int_equal(units(&n), logged);
    }
    end(&n);
    return fired;
}

static void test_without_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (commands[i][0][0] == 'M') continue; /* MSET may stop half way, also on one shard */
        for (uint32_t nth = 1; fails_whole(commands[i], nth); nth++)
            assert_true(nth < 200);
    }
}

/* ---- the log */

/* Each shard's part is a group that names the transaction and all its shards; no part, no transaction. */
static void test_parts(void **state)
{
    (void)state;
    struct node n;
    start(&n, 2);
    assert_int_not_equal(slot_shard(slot_of_key(BYTES_LIT("s1")), 2),
                         slot_shard(slot_of_key(BYTES_LIT("s2")), 2));
    over(&n, "+OK\r\n", "MSET", "s1", "1", "s2", "2");
    uint64_t was = units(&n);
    over(&n, ":0\r\n", "RENAMENX", "s1", "s2");
    over(&n, "-ERR no such key\r\n", "RENAME", "none", "s2");
    over(&n, "*0\r\n", "SINTER", "t1", "t2");
    assert_int_equal(units(&n), was);
    uint64_t first = journal_lsn(n.shard[0]->core.journal);
    over(&n, "+OK\r\n", "RENAME", "s1", "s2");
    for (uint64_t i = first; i < journal_lsn(n.shard[0]->core.journal); i++) {
        struct journal_head head = journal_memory_head(n.shard[0]->set, i);
        assert_int_equal(head.txid, n.txid);
        assert_int_equal(head.shards_mask, 3);
    }
    assert_int_equal(units(&n), was + 3);
    over(&n, ":0\r\n", "SINTERSTORE", "s2", "t1", "t2"); /* s1's shard is of the sources */
    end(&n);
}

static void run_inside(struct node *n, const char *const *args)
{
    struct bytes argv[WORDS_MAX];
    uint64_t mask;
    struct request rq = request_of(n, args, argv, &mask);
    struct reply reply = {.out = &n->out, .proto = 2};
    span_run(&n->span, &rq, &reply);
}

static struct journal_head newest(const struct node *n, uint32_t shard)
{
    uint64_t lsn = journal_lsn(n->shard[shard]->core.journal);
    assert_true(lsn > 0);
    return journal_memory_head_of(n->shard[shard]->set, shard, lsn - 1);
}

/* What began on some shards goes on as a transaction of all: each has a part, whatever it logged before. */
static void test_widened(void **state)
{
    (void)state;
    static const char *const set[SHARDS][4] = {
        {"SET", "s1", "a"}, {"SET", "s2", "b"}, {"SET", "s3", "c"}};
    for (uint64_t mask = 0; mask < 1u << SHARDS; mask++)
        for (uint32_t before = 0; before <= SHARDS; before++)
            for (uint32_t after = 0; after <= SHARDS; after++) {
                struct node n;
                start(&n, SHARDS);
                begin(&n, mask, true);
                uint32_t at = before == SHARDS
                                  ? 0
                                  : slot_shard(slot_of_key(bytes_of(set[before][1])), SHARDS);
                bool first = before < SHARDS && (mask >> at & 1);
                if (first) run_inside(&n, set[before]);
                span_widen(&n.span, ++n.txid);
                assert_int_equal(n.span.mask, (1u << SHARDS) - 1);
                if (after < SHARDS) run_inside(&n, set[after]);
                finish(&n, true);
                bool logged = first || after < SHARDS;
                assert_int_equal(units(&n) > 0, logged);
                for (uint32_t i = 0; i < SHARDS && logged; i++) {
                    assert_int_equal(newest(&n, i).txid, n.txid);
                    assert_int_equal(newest(&n, i).shards_mask, (1u << SHARDS) - 1);
                }
                end(&n);
            }
}

/* A transaction: several commands between one begin and one end. */
static void test_several_commands(void **state)
{
    (void)state;
    struct node n;
    start(&n, SHARDS);
    static const char *const inner[][WORDS_MAX] = {
        {"SET", "s1", "a"},    {"SET", "s2", "b"},   {"RENAME", "s1", "s3"},
        {"APPEND", "s2", "c"}, {"INCR", "s3"},       {"RPUSH", "l1", "s2"},
        {"DEL", "none"},       {"COPY", "s3", "s1"}, {"MGET", "s1", "s2", "s3"},
    };
    begin(&n, (1u << SHARDS) - 1, true);
    for (size_t i = 0; i < COUNT_OF(inner); i++) {
        struct bytes argv[WORDS_MAX];
        uint64_t mask;
        struct request rq = request_of(&n, inner[i], argv, &mask);
        struct reply reply = {.out = &n.out, .proto = 2};
        span_run(&n.span, &rq, &reply);
    }
    finish(&n, true);
    static const char want[] =
        "+OK\r\n+OK\r\n+OK\r\n:2\r\n-ERR value is not an integer or out of "
        "range\r\n:1\r\n:0\r\n:1\r\n*3\r\n$1\r\na\r\n$2\r\nbc\r\n$1\r\na\r\n";
    assert_int_equal(n.out.len, sizeof want - 1);
    assert_memory_equal(n.out.data, want, n.out.len);
    end(&n);
}

/* ---- watched keys */

static void test_watchers_hear_of_it_on_their_shards(void **state)
{
    (void)state;
    static const struct {
        const char *command[WORDS_MAX];
        const char *key;
        bool changed;
    } cases[] = {
        {{"RENAME", "s1", "s2"}, "s1", true},
        {{"RENAME", "s1", "s2"}, "s2", true},
        {{"RENAME", "s1", "s2"}, "s3", false},
        {{"RENAMENX", "s1", "s2"}, "s1", false},
        {{"COPY", "s1", "n"}, "n", true},
        {{"COPY", "s1", "n"}, "s1", false},
        {{"LMOVE", "l1", "l2", "LEFT", "LEFT"}, "l1", true},
        {{"SUNIONSTORE", "n", "t1", "t2"}, "n", true},
        {{"SUNIONSTORE", "n", "t1", "t2"}, "t2", false},
        {{"DEL", "s1", "s2"}, "s2", true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct node n;
        start(&n, 2);
        for (size_t k = 0; k < COUNT_OF(fill); k++)
            (void)run_over(&n, fill[k]);
        struct bytes key = bytes_of(cases[i].key);
        struct core *c = &n.shard[slot_shard(slot_of_key(key), 2)]->core;
        assert_true(core_watch(c, 7, 0, &key, 1));
        (void)run_over(&n, cases[i].command);
        if (core_unwatch_changed(c, 7, FIXTURE_START_MS) != cases[i].changed)
            fail_msg("%s: %s", cases[i].command[0], cases[i].key);
        end(&n);
    }
}

/* ---- time */

/* A shard that stood goes on with a pass that began before: what was seen there is not earlier. The key is spoken for by a
 * transaction that has not begun, else it would be gone. */
static void test_no_shard_goes_back_in_time(void **state)
{
    (void)state;
    for (uint32_t ahead = 0; ahead < SHARDS; ahead++)
        for (uint32_t i = 0; i < 3; i++) {
            const char *const keys[] = {"t1", "s1", "n"};
            struct bytes key = bytes_of(keys[i]);
            uint64_t hash = hash_bytes(key);
            struct sched_entry e;
            struct node n;
            start(&n, SHARDS);
            struct fixture *f = n.shard[slot_shard(slot_of_key(key), SHARDS)];
            over(&n, "+OK\r\n", "SET", keys[i], "v", "PX", "100");
            fixture_advance(n.shard[ahead], 100);
            assert_int_equal(sched_arrive(&f->core.sched, &e, 1, SCHED_WRITE, &hash, 1, 0),
                             SCHED_GRANTED);
            over(&n, "$-1\r\n", "GET", keys[i]);
            expect(f, "$-1\r\n", "GET", keys[i]);
            for (uint32_t s = 0; s < SHARDS; s++)
                assert_int_equal(reactor_now_ms(&n.shard[s]->core.reactor), FIXTURE_START_MS + 100);
            sched_leave(&f->core.sched, &e);
            end(&n);
        }
}

/* Inside of a script its own shard stays at the time at which it began, others' keys at that of when they were made to stand. */
static void test_a_script_has_one_time(void **state)
{
    (void)state;
    static const char *const sets[SHARDS][WORDS_MAX] = {{"SET", "t1", "a", "PX", "50"},
                                                        {"SET", "s1", "b", "PX", "50"},
                                                        {"SET", "n", "c", "PX", "50"}};
    static const char *const gets[SHARDS][WORDS_MAX] = {{"GET", "t1"}, {"GET", "s1"}, {"GET", "n"}};
    struct node n;
    start(&n, SHARDS);
    for (uint32_t i = 0; i < SHARDS; i++)
        assert_int_equal(slot_shard(slot_of_key(bytes_of(sets[i][1])), SHARDS), i);
    (void)run_over(&n, sets[SHARDS - 1]); /* of home */
    for (uint32_t i = 0; i + 1 < SHARDS; i++)
        fixture_advance(n.shard[i], 200);
    n.span.inside = true;
    begin(&n, (1u << SHARDS) - 1, true);
    for (uint32_t i = 0; i + 1 < SHARDS; i++)
        run_inside(&n, sets[i]);
    for (uint32_t i = 0; i < SHARDS; i++)
        run_inside(&n, gets[i]);
    finish(&n, true);
    static const char want[] = "+OK\r\n+OK\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    assert_int_equal(n.out.len, sizeof want - 1);
    assert_memory_equal(n.out.data, want, n.out.len);
    for (uint32_t i = 0; i + 1 < SHARDS; i++)
        assert_int_equal(n.shard[i]->core.run.now_ms, FIXTURE_START_MS + 200);
    assert_int_equal(n.shard[SHARDS - 1]->core.run.now_ms, FIXTURE_START_MS);
    end(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_one_shard),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_widened),
        cmocka_unit_test(test_several_commands),
        cmocka_unit_test(test_watchers_hear_of_it_on_their_shards),
        cmocka_unit_test(test_no_shard_goes_back_in_time),
        cmocka_unit_test(test_a_script_has_one_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
