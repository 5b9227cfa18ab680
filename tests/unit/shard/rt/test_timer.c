/* The wheel against a sorted list, over all levels, with jumps of years. */
#include "shard/rt/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "shard/base/attr.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"

#define TIMERS 300
#define YEAR_MS 31536000000ull

struct probe {
    struct timer t;
    uint64_t order; /* of arming */
    bool armed;
};
static struct probe probe[TIMERS];
static struct timer_wheel *wheel;
static struct rng rng;
static uint64_t now_ms, order, last_at, last_order, fired;
static bool advancing, meddle;

static uint64_t random_delay(void)
{
    return rng_next(&rng) >>
           (rng_below(&rng, 3) == 0 ? 20 + rng_below(&rng, 44) : 48 + rng_below(&rng, 16));
}

static void arm(struct probe *p, uint64_t at_ms)
{
    p->order = ++order;
    p->armed = true;
    timer_arm(wheel, &p->t, at_ms);
}

static void on_fire(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, t);
    assert_true(advancing);
    assert_true(p->armed);
    assert_false(timer_armed(t));
    assert_true(t->at_ms <= now_ms);
    assert_true(t->at_ms >= last_at);                         /* in order of time, … */
    assert_true(t->at_ms > last_at || p->order > last_order); /* … equal ones in order of arming */
    last_at = t->at_ms;
    last_order = p->order;
    p->armed = false;
    fired++;
    if (!meddle) return;
    struct probe *other = &probe[rng_below(&rng, TIMERS)];
    uint64_t dice = rng_below(&rng, 4);
    if (dice == 0) arm(p, now_ms + 1 + random_delay());
    if (dice == 1 && other->armed && other->t.at_ms > now_ms)
        arm(other, now_ms + 1 + random_delay());
    if (dice == 2) {
        timer_cancel(wheel, &other->t);
        other->armed = false;
    }
}

static void advance_to(uint64_t to_ms)
{
    now_ms = to_ms;
    last_at = last_order = 0;
    advancing = true;
    timer_advance(wheel, now_ms);
    advancing = false;
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < TIMERS; i++) {
        assert_int_equal(probe[i].armed, timer_armed(&probe[i].t));
        if (!probe[i].armed) continue;
        assert_true(probe[i].t.at_ms > now_ms); /* all that was due has fired */
        if (probe[i].t.at_ms < next) next = probe[i].t.at_ms;
    }
    uint64_t wait = timer_wait_ms(wheel, now_ms);
    if (next == UINT64_MAX) {
        assert_true(wait == UINT64_MAX);
    } else {
        assert_true(wait > 0);              /* no busy waiting … */
        assert_true(wait <= next - now_ms); /* … and never too late */
    }
}

static void run_model(uint64_t seed, bool with_meddling)
{
    rng_seed(&rng, seed);
    meddle = with_meddling;
    now_ms = rng_next(&rng) >> rng_below(&rng, 60);
    wheel = timer_wheel_new(now_ms);
    for (uint32_t i = 0; i < TIMERS; i++)
        probe[i] = (struct probe){.t.fire = on_fire};
    for (uint32_t step = 0; step < 600; step++) {
        struct probe *p = &probe[rng_below(&rng, TIMERS)];
        uint64_t dice = rng_below(&rng, 10);
        if (dice < 6) {
            uint64_t at = now_ms + random_delay();
            if (at < now_ms) at = UINT64_MAX;
            arm(p, at > now_ms ? at : now_ms + 1);
        } else if (dice < 8) {
            timer_cancel(wheel, &p->t);
            p->armed = false;
        } else {
            uint64_t to = now_ms + random_delay();
            advance_to(to > now_ms && to < 1ull << 63 ? to : now_ms);
        }
    }
    timer_wheel_free(wheel);
}

static void test_against_a_model(void **state)
{
    (void)state;
    fired = 0;
    for (uint64_t seed = 0; seed < 150; seed++)
        run_model(seed, false);
    for (uint64_t seed = 0; seed < 150; seed++)
        run_model(seed, true);
    assert_true(fired > 10000);
    assert_int_equal(mem_live_bytes(MEM_RT), 0);
}

/* ---- single properties */

static uint32_t count;
static struct timer *seen[16];

static void on_count(struct timer *t)
{
    seen[count++ % 16] = t;
}

static void on_rearm_now(struct timer *t)
{
    count++;
    timer_arm(wheel, t, t->at_ms); /* its time has passed */
}

static void on_rearm_periodic(struct timer *t)
{
    count++;
    timer_arm(wheel, t, t->at_ms + 100);
}

static void test_passed_time_fires_at_the_next_advance(void **state)
{
    (void)state;
    struct timer late = {.fire = on_rearm_now};
    wheel = timer_wheel_new(1000);
    count = 0;
    timer_arm(wheel, &late, 10);
    assert_int_equal(timer_wait_ms(wheel, 1000), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        timer_advance(wheel, 1000);
        assert_int_equal(count, i);
    }
    timer_cancel(wheel, &late);
    timer_cancel(wheel, &late);
    timer_advance(wheel, 2000);
    assert_int_equal(count, 3);
    timer_wheel_free(wheel);
}

/* The clock jumps ahead by years: everything fires once, nothing is counted tick by tick; it steps
 * back: nothing fires, nothing is lost. */
static void test_jumps(void **state)
{
    (void)state;
    struct timer periodic = {.fire = on_rearm_periodic}, far = {.fire = on_count},
                 near = {.fire = on_count};
    wheel = timer_wheel_new(5 * YEAR_MS);
    count = 0;
    timer_arm(wheel, &far, 50 * YEAR_MS);
    timer_arm(wheel, &near, 50 * YEAR_MS - 1);
    timer_arm(wheel, &periodic, 5 * YEAR_MS + 1);
    timer_advance(wheel, 4 * YEAR_MS);
    assert_int_equal(count, 0);
    timer_advance(wheel, 60 * YEAR_MS);
    assert_int_equal(count, 3);
    assert_ptr_equal(seen[1], &near);
    assert_ptr_equal(seen[2], &far);
    timer_advance(wheel, 60 * YEAR_MS);
    assert_int_equal(count, 4);
    timer_arm(wheel, &far, UINT64_MAX);
    timer_cancel(wheel, &periodic);
    timer_advance(wheel, UINT64_MAX - 1);
    assert_int_equal(count, 4);
    timer_advance(wheel, UINT64_MAX);
    assert_int_equal(count, 5);
    assert_true(timer_wait_ms(wheel, UINT64_MAX) == UINT64_MAX);
    timer_wheel_free(wheel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_passed_time_fires_at_the_next_advance),
        cmocka_unit_test(test_jumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
