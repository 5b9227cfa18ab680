#include "shard/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static void test_wall_is_now(void **state)
{
    (void)state;
    int64_t us = clock_wall_us(&clock_real);
    assert_true(us >
                (int64_t)1700000000 * 1000000); /* after 2023: seconds taken for µs would not be */
    assert_true(us < (int64_t)1700000000 * 1000000 * 4);
}

static void test_clocks_advance_together(void **state)
{
    (void)state;
    uint64_t mono = clock_mono_ns(&clock_real), ticks = clock_ticks();
    int64_t wall = clock_wall_us(&clock_real);
    usleep(30000);
    uint64_t ticks_ns = clock_ticks_to_ns(clock_ticks() - ticks);
    uint64_t mono_ns = clock_mono_ns(&clock_real) - mono;
    int64_t wall_us = clock_wall_us(&clock_real) - wall;
    assert_true(mono_ns >= 30000000);
    assert_true(wall_us >= 29000);
    /* Read inside the other pair: never longer, but for the error of the calibration. */
    assert_true(ticks_ns <= mono_ns + mono_ns / 50);
    assert_true(ticks_ns >= 29000000);
}

static void test_mono_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t now = clock_mono_ns(&clock_real);
        assert_true(now >= last);
        last = now;
    }
}

static void test_thread_cpu_counts_work_not_sleep(void **state)
{
    (void)state;
    uint64_t before = clock_thread_cpu_ns();
    usleep(50000);
    uint64_t slept = clock_thread_cpu_ns() - before;
    assert_true(slept < 25000000);
    before = clock_thread_cpu_ns();
    for (volatile int i = 0; i < 1000000; i++)
        continue;
    assert_true(clock_thread_cpu_ns() > before);
}

static int64_t fixed_wall(void *ctx)
{
    return *(int64_t *)ctx;
}

static uint64_t fixed_mono(void *ctx)
{
    return (uint64_t) * (int64_t *)ctx * 2;
}

static void test_a_clock_is_a_table(void **state)
{
    (void)state;
    int64_t now = 21;
    const struct clock c = {.wall_us = fixed_wall, .mono_ns = fixed_mono, .ctx = &now};
    assert_int_equal(clock_wall_us(&c), 21);
    assert_int_equal(clock_mono_ns(&c), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wall_is_now),
        cmocka_unit_test(test_clocks_advance_together),
        cmocka_unit_test(test_mono_never_goes_back),
        cmocka_unit_test(test_thread_cpu_counts_work_not_sleep),
        cmocka_unit_test(test_a_clock_is_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
