/* shard/base/clock.h: time as a table, so the simulator can own it. */
#ifndef MOON_BASE_CLOCK_H
#define MOON_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*wall_us)(void *ctx);  /* since 1970, may jump */
    uint64_t (*mono_ns)(void *ctx); /* never backwards */
    void *ctx;
};
extern const struct clock clock_real;

static inline int64_t clock_wall_us(const struct clock *c)
{
    return c->wall_us(c->ctx);
}
static inline uint64_t clock_mono_ns(const struct clock *c)
{
    return c->mono_ns(c->ctx);
}
/* Raw cycle counter scaled to ns, for statistics only (a few ns to read; calibrated at start). */
uint64_t clock_ticks(void);
uint64_t clock_ticks_to_ns(uint64_t ticks);
uint64_t clock_thread_cpu_ns(void);

#endif
