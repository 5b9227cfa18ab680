/* shard/base/mem_priv.h: what mem.c and slab.c share: the counters of a thread, and the fault. */
#ifndef MOON_BASE_MEM_PRIV_H
#define MOON_BASE_MEM_PRIV_H

#include <stdatomic.h>

#include "shard/base/mem.h"

/* Counters beside those of the tags. Slab blocks have one of their own, so that counting a block is
 * one addition and the totals of the allocator can still tell them apart; readers see them under
 * MEM_DATA. The other two are for mem_stats_read. */
enum {
    MEM__SLAB = MEM_TAG_COUNT,
    MEM__LIVE_COUNTERS, /* those up to here add up to what is live */
    MEM__SLAB_RUNS = MEM__LIVE_COUNTERS,
    MEM__SLAB_MAPPED,
    MEM__COUNTERS
};

struct mem__thread {
    _Atomic int64_t live[MEM__COUNTERS]; /* one writer, its thread; anybody reads */
    struct mem__thread *prev, *next;     /* list of all threads, under the lock in mem.c */
    bool listed;
};
extern _Thread_local struct mem__thread mem__self __attribute__((tls_model("initial-exec")));

COLD void mem__thread_enter(void);
COLD __attribute__((noreturn)) void mem__die(size_t bytes);

static inline void mem__count(uint32_t counter, int64_t delta)
{
    struct mem__thread *t = &mem__self;
    if (unlikely(!t->listed)) mem__thread_enter();
    /* Load and store, not an atomic add: nobody else writes. */
    int64_t live = atomic_load_explicit(&t->live[counter], memory_order_relaxed);
    atomic_store_explicit(&t->live[counter], live + delta, memory_order_relaxed);
}

/* The size class of the heap: 8, then steps of 16 to 128, then four steps per power of two.
 * Computed here because asking the allocator costs more than some allocations; mem.c checks once
 * per thread that the allocator agrees. */
static inline size_t mem__class_bytes(size_t bytes)
{
    if (bytes <= 8) return 8;
    if (unlikely(bytes > SIZE_MAX / 4)) return bytes;
    unsigned lg = 63u - (unsigned)__builtin_clzll(bytes - 1);
    size_t step = lg <= 6 ? 16 : (size_t)1 << (lg - 2);
    return (bytes + step - 1) & ~(step - 1);
}

#ifdef MOON_TEST
bool mem__fault(void); /* true: this try_ allocation must fail */
#else
static inline bool mem__fault(void)
{
    return false;
}
#endif

/* mem_try_alloc without the fault: for callers that have asked mem__fault() themselves. */
MUST_CHECK void *mem__alloc(enum mem_tag tag, size_t bytes);
/* Gives back what the slab set of this thread keeps spare. */
void slab__purge(void);

#endif
