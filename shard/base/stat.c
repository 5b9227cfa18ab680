/* shard/base/stat.c: histogram with 32 equal steps in every power of two. Values below 32 have a
 * bucket each; from there on the bucket is the exponent and the five bits behind the leading one. */
#include "shard/base/stat.h"

#include "shard/base/assert.h"

#define STEPS (1u << STAT_SUB_BITS)

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < STEPS) return (uint32_t)ns;
    uint32_t exponent = 63u - (uint32_t)__builtin_clzll(ns);
    uint32_t shift = exponent - STAT_SUB_BITS;
    uint32_t index = ((shift + 1) << STAT_SUB_BITS) + (uint32_t)((ns >> shift) & (STEPS - 1));
    return index < STAT_BUCKETS ? index : STAT_BUCKETS - 1; /* the last one takes all above */
}

/* The largest value that falls into the bucket. */
static uint64_t upper_edge(uint32_t index)
{
    if (index < STEPS) return index;
    uint32_t shift = (index >> STAT_SUB_BITS) - 1;
    uint64_t lead = STEPS + (index & (STEPS - 1));
    return ((lead + 1) << shift) - 1;
}

void stat_add(struct stat_histogram *h, uint64_t ns)
{
    stat_bump(&h->count, 1);
    stat_bump(&h->sum_ns, ns);
    if (ns > h->max_ns) stat_set(&h->max_ns, ns);
    stat_bump32(&h->bucket[bucket_of(ns)], 1);
}

void stat_merge(struct stat_histogram *into, const struct stat_histogram *from)
{
    uint64_t max_ns = stat_get(&from->max_ns);
    into->count += stat_get(&from->count);
    into->sum_ns += stat_get(&from->sum_ns);
    if (max_ns > into->max_ns) into->max_ns = max_ns;
    for (uint32_t i = 0; i < STAT_BUCKETS; i++)
        into->bucket[i] += stat_get32(&from->bucket[i]);
}

uint64_t stat_percentile(const struct stat_histogram *h, double percent)
{
    assert(percent >= 0);
    assert(percent <= 100);
    if (h->count == 0) return 0;
    /* The rank is rounded up, so that 100 means the last and 0 the first value. */
    double exact = percent / 100 * (double)h->count;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact || rank == 0) rank++;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < STAT_BUCKETS - 1; i++) {
        seen += h->bucket[i];
        if (seen < rank) continue;
        uint64_t edge = upper_edge(i);
        return edge < h->max_ns ? edge : h->max_ns;
    }
    return h->max_ns;
}

uint64_t stat_count_below(const struct stat_histogram *h, uint64_t ns)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < STAT_BUCKETS - 1; i++) {
        if (upper_edge(i) >= ns) return sum;
        sum += h->bucket[i];
    }
    return h->max_ns < ns ? h->count : sum;
}

void stat_clear(struct stat_histogram *h)
{
    stat_set(&h->count, 0);
    stat_set(&h->sum_ns, 0);
    stat_set(&h->max_ns, 0);
    for (uint32_t i = 0; i < STAT_BUCKETS; i++)
        __atomic_store_n(&h->bucket[i], 0, __ATOMIC_RELAXED);
}
