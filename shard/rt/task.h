/* shard/rt/task.h: budgeted background work of a core, round robin: one slice of the tasks that have
 * work per pass, each told its budget. */
#ifndef MOON_RT_TASK_H
#define MOON_RT_TASK_H

#include <stdbool.h>
#include <stdint.h>

struct task {
    bool (*run)(struct task *t, uint32_t budget_us); /* true: more to do, call again next pass */
    struct task *next;
    bool queued;
    const char *name;
    uint64_t cpu_ns, slice_ns_max; /* statistics, kept by the runner */
};
struct clock;
struct task_queue {
    const struct clock *clock; /* the reactor's, so that a simulated run is repeatable */
    struct task *head, **tail;
    uint32_t count;
};
void task_queue_init(struct task_queue *q, const struct clock *clock);
void task_wake(struct task_queue *q, struct task *t); /* idempotent */
/* Runs each queued task once, one slice each, at most total_us in all; who was not reached is first
 * next time. Returns true if any has more to do. */
bool task_run(struct task_queue *q, uint32_t total_us);

#endif
