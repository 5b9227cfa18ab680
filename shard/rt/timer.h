/* shard/rt/timer.h: hierarchical timer wheel in milliseconds of the reactor's monotonic clock. Not thread-safe. */
#ifndef MOON_RT_TIMER_H
#define MOON_RT_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct timer {
    void (*fire)(struct timer *t);   /* may re-add itself */
    struct timer *next, **prev_link; /* NULL link: not armed */
    uint64_t at_ms;
};
struct timer_wheel;

struct timer_wheel *timer_wheel_new(uint64_t now_ms);
void timer_wheel_free(struct timer_wheel *w); /* armed timers are forgotten */
/* Re-arms if armed. A time that has passed fires at the next timer_advance(), also when armed from a
 * callback: one advance never fires the same timer twice. */
void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t at_ms);
void timer_cancel(struct timer_wheel *w, struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
    return t->prev_link != 0;
}
void timer_advance(struct timer_wheel *w,
                   uint64_t now_ms); /* fires what is due, in order of time */
/* ms until the next one may be due (a lower bound, ≥ 0), UINT64_MAX if none. */
uint64_t timer_wait_ms(const struct timer_wheel *w, uint64_t now_ms);

#endif
