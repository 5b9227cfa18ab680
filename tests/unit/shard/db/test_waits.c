#include "shard/db/waits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/rng.h"

static struct db_key key_of(const char *name)
{
    return db_key(0, bytes_of(name));
}

static void add(struct waits *ws, struct waiting *who, const char *name, uint32_t place)
{
    struct db_key key = key_of(name);
    assert_true(waits_try_add(ws, who, &key, place));
    assert_true(waits_check(ws));
}

static void ready(struct waits *ws, const char *name)
{
    struct db_key key = key_of(name);
    waits_ready(ws, &key);
    assert_true(waits_check(ws));
}

/* Takes the next ready key, which must be this one (NULL: none is ready). */
static struct wait_key *take(struct waits *ws, const char *name)
{
    struct wait_key *k = waits_take_ready(ws);
    assert_true((k == NULL) == (name == NULL));
    if (k != NULL) assert_true(bytes_equal(waits_address(k).name, bytes_of(name)));
    return k;
}

static void expect_first(const struct wait_key *k, enum value_type type, const struct waiting *who,
                         uint32_t place)
{
    uint32_t at = UINT32_MAX;
    assert_ptr_equal(waits_first(k, type, &at), who);
    if (who != NULL) assert_int_equal(at, place);
}

static void test_order_of_coming(void **state)
{
    (void)state;
    struct waits ws;
    struct waiting a = {.type = VALUE_LIST}, b = a, z = {.type = VALUE_ZSET};
    waits_init(&ws);
    add(&ws, &z, "k", 7);
    add(&ws, &a, "k", 1);
    add(&ws, &a, "k", 2); /* already: its first place stays */
    add(&ws, &b, "k", 3);
    add(&ws, &b, "other", 4);
    assert_int_equal(ws.count, 4);
    ready(&ws, "k");
    struct wait_key *k = take(&ws, "k");
    expect_first(k, VALUE_LIST, &a, 1);
    expect_first(k, VALUE_ZSET, &z, 7);
    expect_first(k, VALUE_SET, NULL, 0);
    waits_drop(&ws, &a);
    expect_first(k, VALUE_LIST, &b, 3);
    waits_drop(&ws, &b); /* of both keys */
    waits_drop(&ws, &z);
    assert_int_equal(ws.count, 0);
    expect_first(k, VALUE_LIST, NULL, 0); /* still there: it is taken */
    assert_true(waits_check(&ws));
    waits_release(&ws, k);
    assert_int_equal(ws.keys, 0);
    waits_free(&ws);
}

static void test_order_of_becoming_ready(void **state)
{
    (void)state;
    struct waits ws;
    struct waiting a = {.type = VALUE_LIST};
    waits_init(&ws);
    ready(&ws, "x"); /* nobody waits for anything */
    add(&ws, &a, "x", 1);
    add(&ws, &a, "y", 2);
    add(&ws, &a, "z", 3);
    ready(&ws, "z");
    ready(&ws, "x");
    ready(&ws, "z"); /* once is enough */
    ready(&ws, "nobody waits for it");
    struct wait_key *k = take(&ws, "z");
    ready(&ws, "z"); /* again, while it is served: behind the others */
    waits_put_back(&ws, k);
    k = take(&ws, "x");
    waits_put_back(&ws, k); /* not again: it is the first as before */
    waits_release(&ws, take(&ws, "x"));
    waits_drop(&ws, &a);
    waits_release(&ws, take(&ws, "z")); /* nobody waits any more; it was noted */
    (void)take(&ws, NULL);
    assert_true(waits_check(&ws));
    assert_int_equal(ws.keys, 0);
    waits_free(&ws);
}

static void test_databases(void **state)
{
    (void)state;
    struct waits ws;
    struct waiting a = {.type = VALUE_LIST}, b = a;
    waits_init(&ws);
    struct db_key one = db_key(1, bytes_of("k")), two = db_key(2, bytes_of("k"));
    assert_true(waits_try_add(&ws, &a, &one, 1) && waits_try_add(&ws, &b, &two, 1));
    waits_ready_db(&ws, 0);
    assert_null(waits_take_ready(&ws));
    waits_ready_db(&ws, 2);
    struct wait_key *k = waits_take_ready(&ws);
    assert_int_equal(waits_address(k).db, 2);
    expect_first(k, VALUE_LIST, &b, 1);
    waits_release(&ws, k);
    assert_null(waits_take_ready(&ws));
    waits_free(&ws); /* who waits is forgotten */
    assert_null(a.entries);
}

/* Many keys and waiters come and go; the first of each key must be the one who came first. */
static void test_against_a_model(void **state)
{
    (void)state;
    enum { WAITERS = 64, KEYS = 40, STEPS = 20000 };
    static struct waiting who[WAITERS];
    static uint64_t came[WAITERS][KEYS]; /* 0: does not wait */
    struct waits ws;
    struct rng rng;
    waits_init(&ws);
    rng_seed(&rng, 5);
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint32_t i = (uint32_t)rng_below(&rng, WAITERS), k = (uint32_t)rng_below(&rng, KEYS);
        char name[16];
        snprintf(name, sizeof name, "key %u", k);
        struct db_key key = key_of(name);
        if (rng_below(&rng, 4) == 0) {
            waits_drop(&ws, &who[i]);
            memset(came[i], 0, sizeof came[i]);
        } else {
            who[i].type = VALUE_LIST;
            assert_true(waits_try_add(&ws, &who[i], &key, i));
            if (came[i][k] == 0) came[i][k] = step;
        }
        if (step % 16 == 0) assert_true(waits_check(&ws));
        const struct waiting *first = NULL;
        uint64_t since = UINT64_MAX;
        for (uint32_t w = 0; w < WAITERS; w++)
            if (came[w][k] != 0 && came[w][k] < since) {
                since = came[w][k];
                first = &who[w];
            }
        waits_ready(&ws, &key);
        struct wait_key *found = waits_take_ready(&ws);
        assert_true((found == NULL) == (first == NULL));
        if (found == NULL) continue;
        expect_first(found, VALUE_LIST, first, (uint32_t)(first - who));
        waits_release(&ws, found);
    }
    waits_free(&ws);
}

static void test_survives_every_failure(void **state)
{
    (void)state;
    uint64_t before = mem_live_bytes(MEM_EXEC);
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct waits ws;
        struct waiting who[40];
        memset(who, 0, sizeof who);
        waits_init(&ws);
        mem_fault_arm(nth);
        bool ok = true;
        for (uint32_t i = 0; i < 40; i++) {
            char name[16];
            snprintf(name, sizeof name, "key %u", i / 2);
            struct db_key key = key_of(name);
            uint32_t count = ws.count;
            bool added = waits_try_add(&ws, &who[i], &key, i);
            assert_int_equal(ws.count, count + added);
            assert_true((who[i].entries != NULL) == added);
            ok &= added;
        }
        fired = mem_fault_disarm();
        assert_true(ok != fired);
        assert_true(waits_check(&ws));
        for (uint32_t i = 0; i < 40; i++)
            waits_drop(&ws, &who[i]);
        assert_int_equal(ws.keys, 0);
        waits_free(&ws);
        assert_int_equal(mem_live_bytes(MEM_EXEC), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_coming),
        cmocka_unit_test(test_order_of_becoming_ready),
        cmocka_unit_test(test_databases),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_survives_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
