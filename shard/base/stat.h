/* shard/base/stat.h: counters and log-linear latency histograms (2 significant digits, mergeable; 1 ns …
 * ~18 s). Their owner alone writes them; other threads may read at any time and see each number as it
 * once was, several numbers not as of one moment. */
#ifndef MOON_BASE_STAT_H
#define MOON_BASE_STAT_H

#include <stdint.h>

/* ---- counters */

/* The owner's side of a relaxed atomic: one plain instruction, no lock. gcc would make three of a relaxed
 * load and store (it fuses no atomics), eight times a command. */
static inline void stat_bump(uint64_t *at, uint64_t n)
{
#if defined(__x86_64__) && !defined(MOON_SANITIZE)
    __asm__("addq %1, %0" : "+m"(*at) : "er"(n) : "cc");
#else
    __atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
#endif
}
static inline void stat_bump32(uint32_t *at, uint32_t n)
{
#if defined(__x86_64__) && !defined(MOON_SANITIZE)
    __asm__("addl %1, %0" : "+m"(*at) : "ir"(n) : "cc");
#else
    __atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
#endif
}
static inline void stat_set(uint64_t *at, uint64_t n)
{
    __atomic_store_n(at, n, __ATOMIC_RELAXED);
}
/* Any thread. */
static inline uint64_t stat_get(const uint64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}
static inline uint32_t stat_get32(const uint32_t *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* ---- histograms */

#define STAT_SUB_BITS 5 /* 32 steps per power of two: ≤ 3.2 % error */
#define STAT_BUCKETS ((35 - STAT_SUB_BITS + 1) << STAT_SUB_BITS)
struct stat_histogram {
    uint64_t count, sum_ns, max_ns;
    uint32_t bucket[STAT_BUCKETS];
};
void stat_add(struct stat_histogram *h, uint64_t ns);
/* `from` may be another thread's. */
void stat_merge(struct stat_histogram *into, const struct stat_histogram *from);
uint64_t stat_percentile(const struct stat_histogram *h, double percent); /* upper edge, ns */
uint64_t stat_count_below(const struct stat_histogram *h, uint64_t ns);
void stat_clear(struct stat_histogram *h);

#endif
