/* shard/base/clock.c: the kernel's clocks behind the table, and the cycle counter for statistics.
 * The counter is used only where the processor says that it runs at one rate on all cores;
 * elsewhere a tick is a nanosecond of the monotonic clock. */
#include "shard/base/clock.h"

#include <stddef.h>
#include <time.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <x86intrin.h>
#endif

#define CALIBRATE_NS 200000u /* two clock readings of ±50 ns: 0.05 % */

static uint64_t ns_per_tick_q32; /* 32.32 fixed point; 0: ticks are nanoseconds */

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int64_t real_wall_us(void *ctx)
{
    (void)ctx;
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000);
}

static uint64_t real_mono_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_MONOTONIC);
}

const struct clock clock_real = {.wall_us = real_wall_us, .mono_ns = real_mono_ns, .ctx = NULL};

uint64_t clock_thread_cpu_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

#ifdef __x86_64__
static int tsc_is_steady(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
}

struct reading {
    uint64_t ns, ticks;
};

/* Both clocks at one moment. Of several tries the one that took least: a pause between the two
 * readings would spoil the ratio for the life of the process. */
static struct reading read_both(void)
{
    struct reading best = {0};
    uint64_t best_width = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        uint64_t before = __rdtsc(), ns = read_ns(CLOCK_MONOTONIC), width = __rdtsc() - before;
        if (width >= best_width) continue;
        best_width = width;
        best = (struct reading){.ns = ns, .ticks = before + width / 2};
    }
    return best;
}

__attribute__((constructor)) static void calibrate(void)
{
    if (!tsc_is_steady()) return;
    struct reading from = read_both();
    while (read_ns(CLOCK_MONOTONIC) - from.ns < CALIBRATE_NS)
        continue;
    struct reading to = read_both();
    if (to.ticks > from.ticks)
        ns_per_tick_q32 = ((to.ns - from.ns) << 32) / (to.ticks - from.ticks);
}
#endif

uint64_t clock_ticks(void)
{
#ifdef __x86_64__
    if (ns_per_tick_q32 != 0) return __rdtsc();
#endif
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_ticks_to_ns(uint64_t ticks)
{
    if (ns_per_tick_q32 == 0) return ticks;
    return (uint64_t)((unsigned __int128)ticks * ns_per_tick_q32 >> 32);
}
