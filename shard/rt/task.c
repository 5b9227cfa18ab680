/* shard/rt/task.c: background work in slices. A task that wants more goes to the end of the queue, so
 * none can starve the others; the time of each run is measured, because a slice is only a request. */
#include "shard/rt/task.h"

#include <stddef.h>

#include "shard/base/assert.h"
#include "shard/base/clock.h"
#include "shard/base/limits.h"

void task_queue_init(struct task_queue *q, const struct clock *clock)
{
    *q = (struct task_queue){.clock = clock};
    q->tail = &q->head;
}

void task_wake(struct task_queue *q, struct task *t)
{
    assert(t->run != NULL);
    if (t->queued) return;
    t->queued = true;
    t->next = NULL;
    *q->tail = t;
    q->tail = &t->next;
    q->count++;
}

static struct task *take_first(struct task_queue *q)
{
    struct task *t = q->head;
    q->head = t->next;
    if (q->head == NULL) q->tail = &q->head;
    q->count--;
    t->next = NULL;
    t->queued = false;
    return t;
}

bool task_run(struct task_queue *q, uint32_t total_us)
{
    if (q->count == 0) return false;
    uint64_t left_ns = (uint64_t)total_us * 1000;
    uint64_t before = clock_mono_ns(q->clock);
    for (uint32_t n = q->count; n > 0 && left_ns >= 1000; n--) {

        struct task *t = take_first(q);
        uint64_t slice_us = left_ns / 1000 < TASK_SLICE_US ? left_ns / 1000 : TASK_SLICE_US;
        bool more = t->run(t, (uint32_t)slice_us);
        uint64_t after = clock_mono_ns(q->clock);
        uint64_t took = after - before;
        before = after;
        t->cpu_ns += took;
        if (took > t->slice_ns_max) t->slice_ns_max = took;
        if (more) task_wake(q, t);
        left_ns -= took < left_ns ? took : left_ns;
    }
    return q->count > 0;
}
