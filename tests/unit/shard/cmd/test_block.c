/* Blocking commands on one shard: what they wait for, who is served, what the log says. */
#include "shard/exec/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/exec/tx.h"
#include "tests/lib/cmd_fixture.h"

#define ARGS_MAX 8

struct client { /* one who waits */
    struct waiter_part part;
    struct waiter waiter;
    struct bytes argv[ARGS_MAX];
    struct buf got;
    bool dropped;
};

static void on_served(struct core *c, struct waiter_part *p, struct buf *reply)
{
    struct client *k = container_of(p, struct client, part);
    assert_null(p->in.entries);
    core_pass_end(
        c); /* to the log of these tests a pass is one command, and each one served is one */
    if (reply == NULL)
        k->dropped = true;
    else
        buf_add_bytes(&k->got, buf_bytes(reply));
}

static struct fixture *start(void)
{
    struct fixture *f = fixture_new(&string_cmds, &keys_cmds, &list_cmds, &zset_cmds, &scan_cmds);
    f->core.on_served = on_served;
    return f;
}

static const struct cmd_spec *spec_of(const struct fixture *f, const char *name)
{
    for (uint32_t i = 0; i < f->top_count; i++)
        if (strcmp(f->specs[i].name, name) == 0) return &f->specs[i];
    fail_msg("no %s", name);
    return NULL;
}

/* Runs it as a node would. True: it waits now; else its reply is in got. */
static bool block_args(struct fixture *f, struct client *k, const char *const *args)
{
    *k = (struct client){.part.waiter = &k->waiter, .waiter.proto = f->proto};
    struct request *rq = &k->waiter.rq;
    buf_init(&k->got, MEM_TEST);
    for (; args[rq->argc] != NULL; rq->argc++)
        k->argv[rq->argc] = bytes_of(args[rq->argc]);
    rq->argv = k->argv;
    rq->wire_bytes = 64;
    rq->spec = spec_of(f, args[0]);
    uint32_t at[ARGS_MAX];
    if (spec_key_positions(rq->spec, rq->argv, rq->argc, at) > 0)
        rq->key = db_key(f->db, rq->argv[at[0]]);
    struct block_run run = {.waiter = &k->waiter};
    struct reply reply = {.out = &k->got, .proto = f->proto};
    core_pass_begin(&f->core);
    core_run_waiter(&f->core, rq, &run, &reply);
    if (run.waits) assert_true(core_wait(&f->core, &k->part, rq, &run));
    assert_false(run.lost);
    core_pass_end(&f->core);
    return run.waits;
}
#define block(f, k, ...) block_args((f), (k), (const char *const[]){__VA_ARGS__, NULL})

static void serve(struct fixture *f)
{
    core_serve(&f->core);
    core_pass_end(&f->core);
    assert_true(waits_check(&f->core.waiters));
}

static void expect_got(struct client *k, const char *wire)
{
    if (!bytes_equal(buf_bytes(&k->got), bytes_of(wire)))
        fail_msg("got %.*s, not %s", (int)k->got.len, (const char *)k->got.data, wire);
    buf_free(&k->got);
}

static void test_served_in_order_and_logged_as_plain_pops(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a, b, c, d;
    assert_true(block(f, &a, "BLPOP", "k", "0"));
    assert_true(block(f, &b, "BRPOP", "k", "0"));
    assert_true(block(f, &c, "BLMPOP", "0", "2", "j", "k", "LEFT", "COUNT", "5"));
    assert_true(block(f, &d, "BLPOP", "k", "0"));
    expect(f, ":4\r\n", "RPUSH", "k", "1", "2", "3", "4");
    serve(f);
    expect_got(&a, "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
    expect_got(&b, "*2\r\n$1\r\nk\r\n$1\r\n4\r\n");
    expect_got(&c, "*2\r\n$1\r\nk\r\n*2\r\n$1\r\n2\r\n$1\r\n3\r\n");
    expect_log(f, "RPUSH k 1 2 3 4\nLPOP k\nRPOP k\nLPOP k 2\n");
    expect(f, ":0\r\n", "EXISTS", "k");
    assert_int_equal(f->core.waiters.count, 1); /* d */
    expect(f, ":1\r\n", "RPUSH", "k", "5");
    serve(f);
    expect_got(&d, "*2\r\n$1\r\nk\r\n$1\r\n5\r\n");
    assert_int_equal(f->core.waiters.keys, 0);
    fixture_free(f);
}

static void test_moves_and_sorted_sets(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a, b, c, d;
    f->proto = 3;
    assert_true(block(f, &a, "BLMOVE", "k", "j", "LEFT", "RIGHT", "0"));
    assert_true(block(f, &b, "BZPOPMAX", "j", "z", "0"));
    assert_true(block(f, &c, "BLPOP", "j", "0"));
    assert_true(block(f, &d, "BZMPOP", "0", "1", "z", "MIN"));
    expect(f, ":1\r\n", "RPUSH", "k", "x");
    serve(f); /* the move makes j ready */
    expect_got(&a, "$1\r\nx\r\n");
    expect_got(&c, "*2\r\n$1\r\nj\r\n$1\r\nx\r\n");
    expect(f, ":2\r\n", "ZADD", "z", "1", "m", "2", "n");
    serve(f);
    expect_got(&b, "*3\r\n$1\r\nz\r\n$1\r\nn\r\n,2\r\n");
    expect_got(&d, "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nm\r\n,1\r\n");
    expect_log(f, "RPUSH k x\nLPOP k\nRPUSH j x\nLPOP j\nZADD z 1 m 2 n\nZREM z n\nZREM z m\n");
    fixture_free(f);
}

static void test_who_was_taken_is_passed_over(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a, b, c;
    assert_true(block(f, &a, "BLPOP", "k", "j", "0"));
    assert_true(block(f, &b, "BLPOP", "k", "0"));
    assert_true(block(f, &c, "BLPOP", "k", "0"));
    assert_true(waiter_take(&a.waiter));
    assert_false(waiter_take(&a.waiter));
    core_unwait(&f->core, &b.part);
    expect(f, ":1\r\n", "RPUSH", "k", "x");
    serve(f);
    assert_true(a.dropped);
    expect_got(&a, "");
    expect_got(&b, "");
    expect_got(&c, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
    assert_int_equal(f->core.waiters.keys, 0);
    fixture_free(f);
}

static void test_what_is_there_is_taken_only_if_claimed(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a;
    expect(f, ":2\r\n", "RPUSH", "k", "x", "y");
    assert_false(block(f, &a, "BLPOP", "j", "k", "0"));
    assert_true(waiter_is_taken(&a.waiter));
    expect_got(&a, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
    static const char *const pops[][7] = {{"BLPOP", "k", "0"},
                                          {"BLMPOP", "0", "1", "k", "LEFT"},
                                          {"BLMOVE", "k", "k", "LEFT", "RIGHT", "0"},
                                          {"BRPOPLPUSH", "k", "j", "0"},
                                          {"BZPOPMIN", "z", "0"},
                                          {"BZMPOP", "0", "1", "z", "MIN"},
                                          {"BLPOP", "k", "-1"},
                                          {"BLPOP", "z", "0"}};
    expect(f, ":1\r\n", "ZADD", "z", "1", "m");
    (void)fixture_log(f);
    for (size_t i = 0; i < COUNT_OF(pops);
         i++) { /* somebody else answers, between parsing and popping */
        struct bytes argv[7];
        struct request rq = {.spec = spec_of(f, pops[i][0]), .argv = argv, .wire_bytes = 64};
        for (; pops[i][rq.argc] != NULL; rq.argc++)
            argv[rq.argc] = bytes_of(pops[i][rq.argc]);
        struct waiter taken = {.taken = true, .proto = 2, .rq = rq};
        struct block_run run = {.waiter = &taken};
        struct reply reply = {.out = &f->core.served, .proto = 2};
        core_pass_begin(&f->core);
        core_run_waiter(&f->core, &rq, &run, &reply);
        core_pass_end(&f->core);
        assert_true(run.lost);
        assert_false(run.waits);
    }
    expect_log(f, "");
    expect(f, ":1\r\n", "LLEN", "k");
    fixture_free(f);
}

static void test_nothing_waits_where_it_may_not(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "*-1\r\n", "BLPOP", "k", "0");
    expect(f, "*-1\r\n", "BLMPOP", "0", "1", "k", "LEFT");
    expect(f, "$-1\r\n", "BLMOVE", "k", "k", "LEFT", "RIGHT", "0");
    expect(f, "$-1\r\n", "BRPOPLPUSH", "k", "k", "0");
    expect(f, "*-1\r\n", "BZPOPMAX", "k", "0");
    expect(f, "*-1\r\n", "BZMPOP", "0", "1", "k", "MAX");
    expect(f, "-ERR timeout is out of range\r\n", "BLPOP", "k", "inf");
    expect(f, "-ERR timeout is out of range\r\n", "BLPOP", "k", "9223372036854775");
    expect(f, "-ERR timeout is negative\r\n", "BLPOP", "k", "-inf");
    expect(f, "*-1\r\n", "BLPOP", "k", "-0.0001"); /* rounded up to whole milliseconds */
    assert_int_equal(f->core.waiters.keys, 0);
    fixture_free(f);
}

static void test_a_log_without_room_puts_it_off(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a;
    assert_true(block(f, &a, "BLPOP", "k", "0"));
    expect(f, ":1\r\n", "RPUSH", "k", "x");
    f->shared.refusing = 1;
    serve(f);
    assert_false(a.dropped);
    assert_true(core_must_serve(&f->core));
    f->shared.refusing = 0;
    serve(f);
    assert_false(core_must_serve(&f->core));
    expect_got(&a, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
    fixture_free(f);
}

/* ---- beside transactions over several shards, which have spoken for keys */

static void on_serve(void *ctx, struct sched_entry *e)
{
    assert_ptr_equal(core_kept(e), ctx);
}
static const struct tx_ops ops = {.serve = on_serve};

struct held { /* a transaction that was granted on all shards, and has not run */
    struct tx_shard shard;
    struct tx tx;
    struct tx_part part;
    uint64_t hash;
};

static void hold(struct fixture *f, struct held *h, uint64_t ticket, const char *key)
{
    tx_shard_init(&h->shard, 0, &f->core.sched, &ops, &f->core);
    f->core.parts = &h->shard;
    h->hash = hash_bytes(bytes_of(key));
    memset(&h->tx, 0, sizeof h->tx);
    h->part = (struct tx_part){.tx = &h->tx};
    assert_int_equal(
        sched_arrive(&f->core.sched, &h->part.entry, ticket, SCHED_WRITE, &h->hash, 1, 0),
        SCHED_GRANTED);
}

static void let_go(struct fixture *f, struct held *h)
{
    tx_served(&h->shard, &h->part.entry); /* leaves, as any other entry would */
    tx_settle(&h->shard);
    assert_true(core_serves_later(&f->core));
    core_serve_kept(&f->core);
    core_pass_end(&f->core);
    assert_true(waits_check(&f->core.waiters));
}

static bool must_wait(struct fixture *f, const char *key)
{
    uint64_t hash = hash_bytes(bytes_of(key));
    return sched_must_wait(&f->core.sched, SCHED_READ, &hash, 1, 0);
}

static void test_put_off_it_waits_behind_whoever_came_meanwhile(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a;
    struct held tx;
    assert_true(block(f, &a, "BLPOP", "k", "0"));
    expect(f, ":2\r\n", "RPUSH", "k", "x", "y");
    f->shared.refusing = 1;
    serve(f);
    assert_false(must_wait(f, "k")); /* it may be long: others may read */
    hold(f, &tx, 7, "k");
    f->shared.refusing = 0;
    serve(f);
    expect(f, ":2\r\n", "LLEN", "k"); /* not served while the key is spoken for */
    let_go(f, &tx);
    expect_got(&a, "*2\r\n$1\r\nk\r\n$1\r\nx\r\n");
    assert_true(sched_is_empty(&f->core.sched));
    fixture_free(f);
}

static void test_a_move_waits_for_its_target_and_keeps_its_source(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a, b, c;
    struct held tx;
    assert_true(block(f, &a, "BLMOVE", "k", "j", "LEFT", "RIGHT", "0"));
    assert_true(block(f, &b, "BLMOVE", "k", "i", "LEFT", "RIGHT", "0"));
    assert_true(block(f, &c, "BLPOP", "k", "0"));
    hold(f, &tx, 7, "j");
    expect(f, ":3\r\n", "RPUSH", "k", "1", "2", "3");
    serve(f);
    expect(f, ":3\r\n", "LLEN", "k");
    let_go(f, &tx);
    expect_got(&a, "$1\r\n1\r\n");
    expect_got(&b, "$1\r\n2\r\n");
    expect_got(&c, "*2\r\n$1\r\nk\r\n$1\r\n3\r\n");
    assert_true(sched_is_empty(&f->core.sched));
    assert_int_equal(f->core.waiters.keys, 0);
    fixture_free(f);
}

static void test_who_gives_up_while_it_is_his_turn_lets_the_next_one_have_it(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a, b;
    struct held tx;
    assert_true(block(f, &a, "BLMOVE", "k", "j", "LEFT", "RIGHT", "0"));
    assert_true(block(f, &b, "BLPOP", "k", "0"));
    hold(f, &tx, 7, "j");
    expect(f, ":2\r\n", "RPUSH", "k", "1", "2");
    serve(f);
    assert_true(must_wait(f, "j"));
    assert_true(waiter_take(&a.waiter));
    core_unwait(&f->core, &a.part);
    assert_true(core_serves_later(&f->core));
    core_serve_kept(&f->core);
    core_pass_end(&f->core);
    expect_got(&a, "");
    expect_got(&b, "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
    assert_false(core_serves_later(&f->core));
    tx_served(&tx.shard, &tx.part.entry);
    assert_true(sched_is_empty(&f->core.sched));
    fixture_free(f);
}

static void test_a_move_apart_keeps_its_source_at_once(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct client a;
    struct held other;
    hold(f, &other, 7, "nothing");
    f->core.count = 2; /* of whose slots "j" is not ours */
    const char *there = slot_shard(slot_of_key(bytes_of("j")), 2) == 1 ? "j" : "i";
    assert_int_equal(slot_shard(slot_of_key(bytes_of(there)), 2), 1);
    assert_true(block(f, &a, "BLMOVE", "k", there, "LEFT", "RIGHT", "0"));
    expect(f, ":1\r\n", "RPUSH", "k", "x");
    serve(f);
    assert_true(must_wait(f, "k"));
    assert_true(core_serves_later(&f->core));
    assert_true(core_serves_apart(&f->core));
    assert_true(waiter_take(&a.waiter)); /* its time is over */
    core_serve_kept(&f->core);
    core_pass_end(&f->core);
    assert_true(a.dropped);
    assert_false(must_wait(f, "k"));
    expect_got(&a, "");
    tx_served(&other.shard, &other.part.entry);
    f->core.count = 1;
    fixture_free(f);
}

static void test_registering_survives_every_failure(void **state)
{
    (void)state;
    struct fixture *f = start();
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct client k = {.part.waiter = &k.waiter};
        struct bytes argv[] = {bytes_of("BLPOP"), bytes_of("a"), bytes_of("b"), bytes_of("0")};
        struct request rq = {.spec = spec_of(f, "BLPOP"), .argv = argv, .argc = 4};
        struct block_run run = {.type = VALUE_LIST, .first = 1, .count = 2};
        mem_fault_arm(nth);
        bool ok = core_wait(&f->core, &k.part, &rq, &run);
        fired = mem_fault_disarm();
        assert_true(ok != fired);
        assert_int_equal(f->core.waiters.count, ok ? 2 : 0);
        assert_int_equal(f->core.waiters.keys, ok ? 2 : 0);
        core_unwait(&f->core, &k.part);
    }
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_served_in_order_and_logged_as_plain_pops),
        cmocka_unit_test(test_moves_and_sorted_sets),
        cmocka_unit_test(test_who_was_taken_is_passed_over),
        cmocka_unit_test(test_what_is_there_is_taken_only_if_claimed),
        cmocka_unit_test(test_nothing_waits_where_it_may_not),
        cmocka_unit_test(test_a_log_without_room_puts_it_off),
        cmocka_unit_test(test_put_off_it_waits_behind_whoever_came_meanwhile),
        cmocka_unit_test(test_a_move_waits_for_its_target_and_keeps_its_source),
        cmocka_unit_test(test_who_gives_up_while_it_is_his_turn_lets_the_next_one_have_it),
        cmocka_unit_test(test_a_move_apart_keeps_its_source_at_once),
        cmocka_unit_test(test_registering_survives_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
