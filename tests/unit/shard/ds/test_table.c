/* The table against a plain array of flags: same operations, same answers; every invariant after each
 * phase, with good hashes and with the worst. */
#include "shard/ds/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS_MAX = 300000 };

struct item {
    uint64_t hash;
    char key[16];
    uint8_t key_len;
    bool present;
    uint32_t seen;
};

static struct item *items; /* item n is the key "key:n" */

static struct bytes key_of(const void *item)
{
    const struct item *i = item;
    return bytes_view(i->key, i->key_len);
}

static uint64_t hash_of(const void *item)
{
    return ((const struct item *)item)->hash;
}

static uint64_t mixed(uint64_t n)
{
    n = (n + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    n = (n ^ n >> 27) * 0x94d049bb133111ebu;
    return n ^ n >> 31;
}

enum hashes { GOOD, CONSTANT, SAME_LOW_BITS, FEW };

static void items_make(enum hashes kind, uint32_t count)
{
    assert_true(count <= ITEMS_MAX);
    for (uint32_t n = 0; n < count; n++) {
        struct item *i = &items[n];
        i->key_len = (uint8_t)snprintf(i->key, sizeof i->key, "key:%u", n);
        i->present = false;
        i->seen = 0;
        i->hash = mixed(n);
        if (kind == CONSTANT) i->hash = 0x123456789abcdef0u;
        if (kind == SAME_LOW_BITS) i->hash = i->hash << 24 | 0x5a5a5au;
        if (kind == FEW) i->hash = mixed(n % 50);
    }
}

static bool insert(struct table *t, uint32_t n)
{
    struct item *i = &items[n];
    struct table_pos pos;
    if (!table_insert(t, i->hash, i, hash_of, &pos)) return false;
    i->present = true;
    struct table_pos found;
    assert_ptr_equal(table_find(t, i->hash, key_of(i), key_of, &found), i);
    assert_ptr_equal(found.bucket, pos.bucket);
    assert_int_equal(found.entry, pos.entry);
    assert_int_equal(found.home_index, pos.home_index);
    return true;
}

static void remove_one(struct table *t, uint32_t n)
{
    struct item *i = &items[n];
    struct table_pos pos;
    assert_ptr_equal(table_find(t, i->hash, key_of(i), key_of, &pos), i);
    table_remove(t, &pos, hash_of);
    i->present = false;
}

static void check_all(const struct table *t, uint32_t count)
{
    uint32_t present = 0;
    for (uint32_t n = 0; n < count; n++) {
        struct item *i = &items[n];
        table_prefetch_bucket(t, i->hash);
        table_prefetch_item(t, i->hash);
        void *found = table_find(t, i->hash, key_of(i), key_of, NULL);
        assert_ptr_equal(found, i->present ? i : NULL);
        present += i->present;
    }
    assert_int_equal(t->count, present);
    assert_true(table_check(t, key_of, hash_of));
}

static void drop(void *ctx, void *item)
{
    (void)ctx;
    ((struct item *)item)->present = false;
}

static void drain(struct table *t)
{
    while (table_drain(t, 7, drop, NULL))
        continue;
    assert_int_equal(t->root, 0);
    assert_int_equal(t->count, 0);
}

/* Random inserts and removals whose balance swings, so that the table grows and shrinks repeatedly. */
static void run_model(enum hashes kind, uint32_t count, uint32_t ops, uint64_t seed)
{
    uint64_t before = mem_live_bytes(MEM_TABLE);
    items_make(kind, count);
    struct rng rng;
    rng_seed(&rng, seed);
    struct table t = {.flags = 0xab00};
    for (uint32_t op = 0; op < ops; op++) {
        uint32_t n = (uint32_t)rng_below(&rng, count);
        bool growing = op / (ops / 6) % 2 == 0;
        bool want = rng_below(&rng, 10) < (growing ? 8u : 1u);
        if (want && !items[n].present)
            assert_true(insert(&t, n));
        else if (!want && items[n].present)
            remove_one(&t, n);
        if (op % (ops / 12) == 0) check_all(&t, count);
    }
    check_all(&t, count);
    assert_int_equal(t.flags >> 8, 0xab);
    uint64_t bytes = mem_live_bytes(MEM_TABLE) - before;
    assert_true(table_bytes(&t) <= bytes + 64 &&
                bytes <= table_bytes(&t) + table_bytes(&t) / 4 + 64);
    drain(&t);
    assert_int_equal(mem_live_bytes(MEM_TABLE), before);
}

static void test_model_small(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_model(GOOD, 1 + (uint32_t)seed * 11, 4000, seed);
}

static void test_model_large(void **state)
{
    (void)state;
    run_model(GOOD, ITEMS_MAX, 900000, 7);
}

static void test_model_collisions(void **state)
{
    (void)state;
    run_model(CONSTANT, 400, 8000, 1);
    run_model(SAME_LOW_BITS, 400, 8000, 2);
    run_model(FEW, 2000, 20000, 3);
}

/* Down to nothing by single removals, in another order than they came: all memory returns. */
static void test_remove_all(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 7, 8, 63, 400, 450, 3000, 250000};
    for (size_t s = 0; s < COUNT_OF(sizes); s++) {
        items_make(GOOD, sizes[s]);
        uint64_t before = mem_live_bytes(MEM_TABLE);
        struct table t = {0};
        for (uint32_t n = 0; n < sizes[s]; n++)
            assert_true(insert(&t, n));
        assert_true(table_check(&t, key_of, hash_of));
        for (uint32_t n = 0; n < sizes[s]; n++) {
            remove_one(&t, n);
            if (n == sizes[s] / 2) assert_true(table_check(&t, key_of, hash_of));
        }
        assert_int_equal(t.root, 0);
        assert_int_equal(mem_live_bytes(MEM_TABLE), before);
    }
}

static void test_replace(void **state)
{
    (void)state;
    items_make(GOOD, 100);
    struct table t = {0};
    for (uint32_t n = 0; n < 100; n++)
        assert_true(insert(&t, n));
    struct item twin = items[42];
    struct table_pos pos;
    assert_non_null(table_find(&t, twin.hash, key_of(&twin), key_of, &pos));
    table_replace(&t, &pos, &twin);
    assert_ptr_equal(table_find(&t, twin.hash, key_of(&twin), key_of, NULL), &twin);
    assert_true(table_check(&t, key_of, hash_of));
    drain(&t);
}

static void test_reserve(void **state)
{
    (void)state;
    items_make(GOOD, 200000);
    static const uint32_t sizes[] = {0, 5, 100, 5000, 200000};
    for (size_t s = 0; s < COUNT_OF(sizes); s++) {
        struct table t = {0};
        assert_true(table_reserve(&t, sizes[s]));
        uint32_t buckets = t.buckets;
        for (uint32_t n = 0; n < sizes[s]; n++)
            assert_true(insert(&t, n));
        assert_int_equal(t.buckets, buckets);
        assert_true(table_check(&t, key_of, hash_of));
        drain(&t);
    }
}

/* ---- SCAN */

static void mark(void *ctx, void *item)
{
    (void)ctx;
    ((struct item *)item)->seen++;
}

/* Elements present from the first call to the last are seen, whatever happens between the calls. */
static void test_scan_guarantee(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 99);
    for (uint32_t round = 0; round < 120; round++) {
        items_make(GOOD, 12000);
        struct table t = {0};
        uint32_t keep = 1 + (uint32_t)rng_below(&rng, 3000), more = (uint32_t)rng_below(&rng, 9000);
        bool shrinking = rng_below(&rng, 2);
        for (uint32_t n = 0; n < keep; n++)
            assert_true(insert(&t, n));
        for (uint32_t n = keep; shrinking && n < keep + more; n++)
            assert_true(insert(&t, n));
        uint64_t cursor = 0, calls = 0;
        uint32_t next = keep;
        do {
            cursor = table_scan(&t, cursor, mark, NULL);
            for (uint64_t i = rng_below(&rng, 20); i > 0 && next < keep + more; i--, next++) {
                if (shrinking)
                    remove_one(&t, next);
                else
                    assert_true(insert(&t, next));
            }
            assert_true(++calls < 100000);
        } while (cursor != 0);
        for (uint32_t n = 0; n < keep; n++)
            assert_true(items[n].seen >= 1);
        drain(&t);
    }
}

static void test_scan_of_a_still_table_is_exact(void **state)
{
    (void)state;
    for (uint32_t count = 1; count < 3000; count += 37) {
        items_make(GOOD, 3000);
        struct table t = {0};
        for (uint32_t n = 0; n < count; n++)
            assert_true(insert(&t, n));
        uint64_t cursor = 0, calls = 0;
        do {
            cursor = table_scan(&t, cursor, mark, NULL);
            calls++;
            assert_true(cursor <= UINT32_MAX);
        } while (cursor != 0);
        assert_int_equal(calls, t.buckets);
        for (uint32_t n = 0; n < count; n++)
            assert_int_equal(items[n].seen, 1);
        drain(&t);
    }
}

static void test_scan_takes_any_cursor(void **state)
{
    (void)state;
    items_make(GOOD, 1000);
    struct table t = {0};
    assert_int_equal(table_scan(&t, 12345, mark, NULL), 0);
    for (uint32_t n = 0; n < 1000; n++)
        assert_true(insert(&t, n));
    struct rng rng;
    rng_seed(&rng, 5);
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t cursor = rng_next(&rng), next = table_scan(&t, cursor, mark, NULL);
        assert_true(next == 0 || next > (cursor & UINT32_MAX));
    }
    drain(&t);
}

/* ---- the expiry bit */

static void find_bit(void *ctx, void *item)
{
    (void)item;
    *(bool *)ctx = true;
}

/* Never lost: every bucket with an entry of a marked bucket is marked, through growth and shrinking. */
static void test_expires_bit_follows(void **state)
{
    (void)state;
    items_make(GOOD, 20000);
    struct table t = {0};
    for (uint32_t n = 0; n < 40; n++)
        assert_true(insert(&t, n));
    struct table_pos pos;
    assert_non_null(table_find(&t, items[17].hash, key_of(&items[17]), key_of, &pos));
    table_bucket_set_expires(&t, pos.home_index, true);
    for (uint32_t n = 40; n < 20000; n++) {
        assert_true(insert(&t, n));
        if (n % 997 != 0) continue;
        assert_non_null(table_find(&t, items[17].hash, key_of(&items[17]), key_of, &pos));
        assert_true(table_bucket_expires(&t, pos.home_index));
    }
    bool any = false;
    table_bucket_each(&t, pos.home_index, find_bit, &any);
    assert_true(any);
    for (uint32_t n = 0; n < 20000; n++) {
        if (n != 17) remove_one(&t, n);
    }
    assert_non_null(table_find(&t, items[17].hash, key_of(&items[17]), key_of, &pos));
    assert_true(table_bucket_expires(&t, pos.home_index));
    table_bucket_set_expires(&t, pos.home_index, false);
    assert_false(table_bucket_expires(&t, pos.home_index));
    drain(&t);
}

/* A snapshot has saved one of two buckets: they must not become one. */
static void test_walk_marks_keep_buckets_apart(void **state)
{
    (void)state;
    items_make(GOOD, 1000);
    struct table t = {0};
    for (uint32_t n = 0; n < 1000; n++)
        assert_true(insert(&t, n));
    uint32_t buckets = t.buckets;
    table__bucket(&t, buckets - 1)->meta |= TABLE__WALK_A;
    for (uint32_t n = 0; n < 1000; n++)
        remove_one(&t, n);
    assert_int_equal(t.buckets, buckets);
    table__bucket(&t, buckets - 1)->meta &= (uint8_t)~TABLE__WALK_A;
    for (uint32_t n = 0; n < 2000; n++) {
        assert_true(insert(&t, 0));
        remove_one(&t, 0);
    }
    assert_int_equal(t.root, 0);
}

/* ---- random */

static void test_random_is_fair(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 10, 61, 100, 500};
    struct rng rng;
    rng_seed(&rng, 2024);
    for (size_t s = 0; s < COUNT_OF(sizes); s++) {
        items_make(GOOD, sizes[s]);
        struct table t = {0};
        assert_null(table_random(&t, &rng));
        for (uint32_t n = 0; n < sizes[s]; n++)
            assert_true(insert(&t, n));
        uint32_t draws = sizes[s] * 400;
        for (uint32_t i = 0; i < draws; i++)
            ((struct item *)table_random(&t, &rng))->seen++;
        double chi2 = 0;
        for (uint32_t n = 0; n < sizes[s]; n++) {
            double off = (double)items[n].seen - 400;
            chi2 += off * off / 400;
        }
        /* Mean k, variance 2k for k = sizes - 1: five deviations, and the seed is fixed. */
        double k = sizes[s] - 1;
        assert_true((chi2 - k) * (chi2 - k) <= 25 * 2 * k + 0.001);
        drain(&t);
    }
}

/* ---- memory */

/* Tables of 61 keys, as 1 M keys over 16,384 slots make them. */
static void test_bytes_per_key_over_slots(void **state)
{
    (void)state;
    enum { SLOTS = 4000 };
    items_make(GOOD, SLOTS * 61);
    uint64_t before = mem_live_bytes(MEM_TABLE);
    struct table *t = calloc(SLOTS, sizeof *t);
    for (uint32_t n = 0; n < SLOTS * 61; n++)
        assert_true(insert(&t[items[n].hash >> 40 & 0xfff % SLOTS], n));
    double bytes = (double)(mem_live_bytes(MEM_TABLE) - before) + SLOTS * sizeof *t;
    printf("table: %.2f bytes per key at 61 keys\n", bytes / (SLOTS * 61));
    assert_true(bytes / (SLOTS * 61) <= 15.5);
    for (uint32_t s = 0; s < SLOTS; s++)
        drain(&t[s]);
    free(t);
    assert_int_equal(mem_live_bytes(MEM_TABLE), before);
}

static uint32_t lines_of_hit(const struct table *t, const struct item *i)
{
    struct table_pos pos;
    assert_non_null(table_find(t, i->hash, key_of(i), key_of, &pos));
    uint32_t lines = 1;
    for (const struct table_bucket *b = pos.home; b != pos.bucket; b = table__next(b))
        lines++;
    return lines;
}

static void test_bytes_and_lines_in_one_slot(void **state)
{
    (void)state;
    items_make(GOOD, ITEMS_MAX);
    struct table t = {0};
    uint64_t worst_lines = 0;
    for (uint32_t n = 0; n < ITEMS_MAX; n++) {
        assert_true(insert(&t, n));
        if ((n + 1) % 50000 != 0) continue;
        uint64_t lines = 0;
        for (uint32_t i = 0; i <= n; i++)
            lines += lines_of_hit(&t, &items[i]);
        double per_key = (double)table_bytes(&t) / (n + 1), per_hit = (double)lines / (n + 1);
        printf("table: %u keys: %.2f bytes per key, %.3f lines per hit\n", n + 1, per_key, per_hit);
        assert_true(per_key <= 15.5);
        assert_true(per_hit <= 1.25);
        worst_lines += lines;
    }
    assert_true(worst_lines > 0);
    drain(&t);
}

/* ---- failures */

/* A failed insert changes nothing; one that succeeds may have put its split off. */
static void test_insert_survives_every_failure(void **state)
{
    (void)state;
    static const enum hashes kinds[] = {GOOD, CONSTANT, FEW};
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        items_make(kinds[k], 40000);
        struct table t = {0};
        uint32_t failed = 0;
        for (uint32_t n = 0; n < (kinds[k] == GOOD ? 40000u : 800u); n++) {
            bool fired = true;
            for (uint32_t nth = 1; fired && !items[n].present; nth++) {
                uint32_t count = t.count;
                mem_fault_arm(nth);
                bool ok = table_insert(&t, items[n].hash, &items[n], hash_of, NULL);
                fired = mem_fault_disarm();
                items[n].present = ok;
                assert_true(ok || fired);
                assert_int_equal(t.count, count + ok);
                failed += !ok;
            }
            if (n % 4999 == 0) check_all(&t, n + 1);
        }
        assert_true(failed > 0);
        check_all(&t, kinds[k] == GOOD ? 40000 : 800);
        drain(&t);
    }
}

/* Removing needs no memory: what it would have asked for only decides how tightly it packs. */
static void test_remove_survives_every_failure(void **state)
{
    (void)state;
    items_make(GOOD, 30000);
    uint64_t before = mem_live_bytes(MEM_TABLE);
    struct table t = {0};
    for (uint32_t n = 0; n < 30000; n++)
        assert_true(insert(&t, n));
    for (uint32_t n = 0; n < 30000; n++) {
        mem_fault_arm(1 + n % 3);
        remove_one(&t, n);
        (void)mem_fault_disarm();
        if (n % 5003 == 0) check_all(&t, 30000);
    }
    assert_int_equal(t.count, 0);
    while (table_drain(&t, 100, drop, NULL))
        continue;
    assert_int_equal(mem_live_bytes(MEM_TABLE), before);
}

static void test_reserve_survives_every_failure(void **state)
{
    (void)state;
    uint64_t before = mem_live_bytes(MEM_TABLE);
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct table t = {0};
        mem_fault_arm(nth);
        bool ok = table_reserve(&t, 3000);
        fired = mem_fault_disarm();
        assert_true(ok != fired);
        assert_true(ok == (t.root != 0));
        while (table_drain(&t, 1, drop, NULL))
            continue;
        assert_int_equal(mem_live_bytes(MEM_TABLE), before);
    }
}

static void test_drain_in_slices(void **state)
{
    (void)state;
    items_make(GOOD, 5000);
    struct table t = {0};
    for (uint32_t n = 0; n < 5000; n++)
        assert_true(insert(&t, n));
    uint32_t left = 5000, slices = 0;
    while (table_drain(&t, 100, drop, NULL)) {
        assert_int_equal(t.count, left - 100);
        left -= 100;
        if (slices++ % 10 == 0) check_all(&t, 5000);
    }
    assert_int_equal(left, 100 * (t.count == 0 ? left / 100 : 0));
    for (uint32_t n = 0; n < 5000; n++)
        assert_false(items[n].present);
}

static int setup(void **state)
{
    (void)state;
    items = calloc(ITEMS_MAX, sizeof *items);
    return items == NULL;
}

static int teardown(void **state)
{
    (void)state;
    free(items);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_small),
        cmocka_unit_test(test_model_large),
        cmocka_unit_test(test_model_collisions),
        cmocka_unit_test(test_remove_all),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_scan_guarantee),
        cmocka_unit_test(test_scan_of_a_still_table_is_exact),
        cmocka_unit_test(test_scan_takes_any_cursor),
        cmocka_unit_test(test_expires_bit_follows),
        cmocka_unit_test(test_walk_marks_keep_buckets_apart),
        cmocka_unit_test(test_random_is_fair),
        cmocka_unit_test(test_bytes_per_key_over_slots),
        cmocka_unit_test(test_bytes_and_lines_in_one_slot),
        cmocka_unit_test(test_insert_survives_every_failure),
        cmocka_unit_test(test_remove_survives_every_failure),
        cmocka_unit_test(test_reserve_survives_every_failure),
        cmocka_unit_test(test_drain_in_slices),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
