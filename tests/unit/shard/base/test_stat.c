#include "shard/base/stat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/rng.h"

static struct stat_histogram h, other, sum;

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t random_latency(struct rng *r)
{
    return rng_next(r) >> (30 + rng_below(r, 34)); /* all magnitudes up to 17 s */
}

/* A percentile is the upper edge of the bucket of the exact one: never below, at most 1/32 above. */
static void test_percentiles_against_sorted_values(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static uint64_t values[COUNT];
    struct rng r;
    rng_seed(&r, 14);
    stat_clear(&h);
    uint64_t total = 0;
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = random_latency(&r);
        total += values[i];
        stat_add(&h, values[i]);
    }
    qsort(values, COUNT, sizeof values[0], by_value);
    static const double percents[] = {0, 0.1, 1, 10, 50, 90, 99, 99.9, 99.99, 100};
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        double exact_rank = percents[i] / 100 * COUNT;
        size_t rank = (size_t)exact_rank;
        if ((double)rank < exact_rank || rank == 0) rank++;
        uint64_t exact = values[rank - 1], got = stat_percentile(&h, percents[i]);
        assert_true(got >= exact);
        assert_true(got <= exact + exact / 32);
    }
    assert_int_equal(h.count, COUNT);
    assert_int_equal(h.sum_ns, total);
    assert_int_equal(h.max_ns, values[COUNT - 1]);
    assert_int_equal(stat_percentile(&h, 100), values[COUNT - 1]);
}

static void test_small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t v = 0; v < 64; v++) {
        stat_clear(&h);
        stat_add(&h, v);
        stat_add(&h, 1000);
        assert_int_equal(stat_percentile(&h, 50), v);
    }
}

static void test_counts_below_powers_of_two_are_exact(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 15);
    stat_clear(&h);
    uint64_t expected[36] = {0};
    for (int i = 0; i < 5000; i++) {
        uint64_t v = random_latency(&r);
        stat_add(&h, v);
        for (uint32_t p = 0; p < 36; p++)
            expected[p] += v < (uint64_t)1 << p;
    }
    for (uint32_t p = 0; p < 36; p++) {
        assert_int_equal(stat_count_below(&h, (uint64_t)1 << p), expected[p]);
    }
    assert_int_equal(stat_count_below(&h, 0), 0);
    assert_int_equal(stat_count_below(&h, UINT64_MAX), 5000);
}

static void test_huge_values_stay_in_the_last_bucket(void **state)
{
    (void)state;
    stat_clear(&h);
    stat_add(&h, UINT64_MAX);
    stat_add(&h, (uint64_t)1 << 36);
    assert_int_equal(h.bucket[STAT_BUCKETS - 1], 2);
    assert_true(stat_percentile(&h, 50) == UINT64_MAX);
    assert_int_equal(stat_count_below(&h, (uint64_t)1 << 20), 0);
}

static void test_merge_is_adding_both(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 16);
    stat_clear(&h);
    stat_clear(&other);
    stat_clear(&sum);
    for (int i = 0; i < 2000; i++) {
        uint64_t v = random_latency(&r);
        stat_add(i % 3 == 0 ? &h : &other, v);
        stat_add(&sum, v);
    }
    stat_merge(&h, &other);
    assert_memory_equal(&h, &sum, sizeof h);
}

static void test_empty(void **state)
{
    (void)state;
    stat_clear(&h);
    assert_int_equal(stat_percentile(&h, 99), 0);
    assert_int_equal(stat_count_below(&h, 100), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_against_sorted_values),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_counts_below_powers_of_two_are_exact),
        cmocka_unit_test(test_huge_values_stay_in_the_last_bucket),
        cmocka_unit_test(test_merge_is_adding_both),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
