/* Budgets and fairness of background work, on a clock that only the tasks move. */
#include "shard/rt/task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "shard/base/attr.h"
#include "shard/base/clock.h"
#include "shard/base/limits.h"

static uint64_t now_ns;

static uint64_t mono_ns(void *ctx)
{
    (void)ctx;
    return now_ns;
}

static int64_t wall_us(void *ctx)
{
    (void)ctx;
    return (int64_t)(now_ns / 1000);
}

static const struct clock fake = {.wall_us = wall_us, .mono_ns = mono_ns};

struct worker {
    struct task t;
    uint32_t runs, left, takes_us, budget_seen;
    struct task_queue *wakes_in;
    struct task *wakes;
};

static bool work(struct task *t, uint32_t budget_us)
{
    struct worker *w = container_of(t, struct worker, t);
    w->runs++;
    w->budget_seen = budget_us;
    now_ns += (uint64_t)w->takes_us * 1000;
    if (w->wakes != NULL) task_wake(w->wakes_in, w->wakes);
    if (w->left > 0) w->left--;
    return w->left > 0;
}

static void test_each_once_until_done(void **state)
{
    (void)state;
    struct task_queue q;
    task_queue_init(&q, &fake);
    assert_false(task_run(&q, 200));
    struct worker a = {.t.run = work, .left = 3, .takes_us = 10},
                  b = {.t.run = work, .left = 1, .takes_us = 20};
    task_wake(&q, &a.t);
    task_wake(&q, &b.t);
    task_wake(&q, &a.t); /* idempotent */
    assert_int_equal(q.count, 2);
    assert_true(task_run(&q, 200));
    assert_int_equal(a.runs, 1);
    assert_int_equal(b.runs, 1);
    assert_false(b.t.queued);
    assert_true(task_run(&q, 200));
    assert_false(task_run(&q, 200));
    assert_int_equal(a.runs, 3);
    assert_int_equal(b.runs, 1);
    assert_int_equal(a.t.cpu_ns, 30000);
    assert_int_equal(a.t.slice_ns_max, 10000);
    assert_int_equal(b.t.slice_ns_max, 20000);
}

/* Each takes all it is given: the total bounds the call, and the next one goes on with the others. */
static void test_total_is_kept_and_nobody_starves(void **state)
{
    (void)state;
    enum { WORKERS = 10 };
    struct task_queue q;
    task_queue_init(&q, &fake);
    struct worker w[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){.t.run = work, .left = UINT32_MAX, .takes_us = TASK_SLICE_US};
        task_wake(&q, &w[i].t);
    }
    for (uint32_t round = 0; round < 50; round++) {
        uint64_t before = now_ns;
        assert_true(task_run(&q, 3 * TASK_SLICE_US));
        assert_int_equal(now_ns - before, 3 * TASK_SLICE_US * 1000);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_int_equal(w[i].runs, 15);
        assert_int_equal(w[i].budget_seen, TASK_SLICE_US);
    }
    w[0].takes_us = 0;
    (void)task_run(&q, 30); /* less than a slice is left: that is the budget */
    assert_int_equal(w[0].budget_seen, 30);
}

static void test_tasks_wake_each_other(void **state)
{
    (void)state;
    struct task_queue q;
    task_queue_init(&q, &fake);
    struct worker b = {.t.run = work, .left = 1};
    struct worker a = {.t.run = work, .left = 1, .wakes_in = &q, .wakes = &b.t};
    struct worker self = {.t.run = work, .left = 1, .wakes_in = &q, .wakes = &self.t};
    task_wake(&q, &a.t);
    task_wake(&q, &self.t);
    assert_true(task_run(&q, 200));
    assert_int_equal(b.runs, 0); /* its turn comes in the next call */
    assert_int_equal(self.runs, 1);
    assert_true(task_run(&q, 200));
    assert_int_equal(b.runs, 1);
    assert_int_equal(self.runs, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once_until_done),
        cmocka_unit_test(test_total_is_kept_and_nobody_starves),
        cmocka_unit_test(test_tasks_wake_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
