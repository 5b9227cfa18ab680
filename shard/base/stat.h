/* shard/base/stat.h: log-linear latency histogram, 2 significant digits, mergeable; 1 ns … ~18 s.
 * One writer; a reader on another thread may see a count mid-way (statistics only). */
#ifndef MOON_BASE_STAT_H
#define MOON_BASE_STAT_H

#include <stdint.h>

#define STAT_SUB_BITS 5 /* 32 steps per power of two: ≤ 3.2 % error */
#define STAT_BUCKETS ((35 - STAT_SUB_BITS + 1) << STAT_SUB_BITS)
struct stat_histogram {
    uint64_t count, sum_ns, max_ns;
    uint32_t bucket[STAT_BUCKETS];
};
void stat_add(struct stat_histogram *h, uint64_t ns);
void stat_merge(struct stat_histogram *into, const struct stat_histogram *from);
uint64_t stat_percentile(const struct stat_histogram *h, double percent); /* upper edge, ns */
uint64_t stat_count_below(const struct stat_histogram *h, uint64_t ns);
void stat_clear(struct stat_histogram *h);

#endif
