#include "shard/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Simulations print a seed to be run again: the sequence of a seed may never change. */
static void test_sequence_is_fixed(void **state)
{
    (void)state;
    struct rng r = {.s = {1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < 4; i++)
        assert_true(rng_next(&r) == expected[i]);
    struct rng a, b;
    rng_seed(&a, 5);
    rng_seed(&b, 5);
    for (int i = 0; i < 100; i++)
        assert_true(rng_next(&a) == rng_next(&b));
    rng_seed(&b, 6);
    assert_true(rng_next(&a) != rng_next(&b));
    rng_seed(&a, 0);
    assert_true(a.s[0] == 0xe220a8397b1dcdaf); /* first value of splitmix64 from 0 */
}

static void test_below_is_even(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 13);
    enum { BOUND = 7, DRAWS = 70000 };
    uint32_t counts[BOUND] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint64_t v = rng_below(&r, BOUND);
        assert_true(v < BOUND);
        counts[v]++;
    }
    for (int i = 0; i < BOUND; i++)
        assert_in_range(counts[i], 9500, 10500); /* 5 sigma */
    for (int i = 0; i < 1000; i++)
        assert_true(rng_below(&r, 1) == 0);
    /* With a bound of 3/4 of the range, plain modulo would give the lower third twice as often. */
    uint64_t bound = (uint64_t)3 << 62;
    uint32_t low = 0;
    for (int i = 0; i < DRAWS; i++)
        low += rng_below(&r, bound) < bound / 3;
    assert_in_range(low, DRAWS / 3 - 700, DRAWS / 3 + 700);
}

static void test_secrets_differ_and_fill(void **state)
{
    (void)state;
    uint8_t a[1000] = {0}, b[1000] = {0};
    rng_secret(a, sizeof a);
    rng_secret(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    size_t zeros = 0;
    for (size_t i = 0; i < sizeof a; i++)
        zeros += a[i] == 0;
    assert_true(zeros < 40);
    struct rng x, y;
    rng_seed_random(&x);
    rng_seed_random(&y);
    assert_memory_not_equal(&x, &y, sizeof x);
}

static void test_hex(void **state)
{
    (void)state;
    char text[101];
    for (size_t digits = 0; digits <= 100; digits++) {
        memset(text, '#', sizeof text);
        rng_hex(text, digits);
        for (size_t i = 0; i < digits; i++)
            assert_non_null(strchr("0123456789abcdef", text[i]));
        assert_int_equal(text[digits], '#');
    }
    char other[101];
    rng_hex(other, 100);
    assert_memory_not_equal(text, other, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequence_is_fixed),
        cmocka_unit_test(test_below_is_even),
        cmocka_unit_test(test_secrets_differ_and_fill),
        cmocka_unit_test(test_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
