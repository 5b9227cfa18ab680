/* shard/base/mem.h: the one door to the heap: tagged and counted allocation over jemalloc, and the
 * slabs that records live in. Sizes are given back at free, so nothing is stored per block.
 * mem_… abort on failure (small, fixed sizes); mem_try_… may fail (client-sized).
 * Counters are per thread (no atomics on the path); mem_live_bytes() sums all threads. */
#ifndef MOON_BASE_MEM_H
#define MOON_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard/base/attr.h"

enum mem_tag {
    MEM_BASE,
    MEM_RT,    /* reactor, rings, mailboxes */
    MEM_CONN,  /* connections, their buffers */
    MEM_REPLY, /* replies on their way */
    MEM_DATA,  /* records, blobs, collections: what users stored (slabs included) */
    MEM_TABLE, /* hash tables and directories over them */
    MEM_JOURNAL,
    MEM_EXEC,    /* scratch, sessions, registries */
    MEM_NODE,    /* config, logs, statistics */
    MEM_CLUSTER, /* topology, slot maps, links between nodes */
    MEM_RAFT,    /* the control log: its entries, libraft's heap */
    MEM_SCRIPT,  /* Lua states, scripts */
    MEM_TEST,
    MEM_TAG_COUNT
};

void *mem_alloc(enum mem_tag tag, size_t bytes) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(enum mem_tag tag, size_t bytes) __attribute__((malloc, returns_nonnull));
MUST_CHECK void *mem_try_alloc(enum mem_tag tag, size_t bytes);
MUST_CHECK void *mem_try_zalloc(enum mem_tag tag, size_t bytes);
void *mem_alloc_aligned(enum mem_tag tag, size_t align, size_t bytes);
/* As realloc; old_bytes as allocated. mem_resize aborts, mem_try_resize leaves p valid on NULL. */
void *mem_resize(enum mem_tag tag, void *p, size_t old_bytes, size_t new_bytes);
MUST_CHECK void *mem_try_resize(enum mem_tag tag, void *p, size_t old_bytes, size_t new_bytes);
/* `bytes` as allocated; aligned blocks by mem_free_aligned. p may be NULL. */
void mem_free(enum mem_tag tag, void *p, size_t bytes);
void mem_free_aligned(enum mem_tag tag, void *p, size_t align, size_t bytes);
/* The size class that `bytes` occupies: grow to it for free. */
size_t mem_good_size(size_t bytes);

/* Bytes live under a tag over all threads (approximate while others run). */
uint64_t mem_live_bytes(enum mem_tag tag);
uint64_t mem_live_bytes_all(void);
const char *mem_tag_name(enum mem_tag tag);
/* Bytes this thread has live under MEM_DATA + MEM_TABLE, slabs included: before/after differences
 * give the cost of a change. May be negative in a thread that frees what another allocated. */
int64_t mem_thread_data_bytes(void);
/* Allocator totals (jemalloc: stats.allocated, resident, ...; zeros under sanitizers). */
struct mem_stats {
    uint64_t allocated_bytes, active_bytes, resident_bytes, mapped_bytes, retained_bytes;
};
void mem_stats_read(struct mem_stats *out);
const char *mem_allocator_name(void); /* "jemalloc"; "libc" under sanitizers */
uint64_t mem_rss_bytes(void);         /* of the process, from the kernel */
/* Gives unused pages back to the kernel (MEMORY PURGE). */
void mem_purge(void);
/* Freed pages go back to the kernel a second later: by the allocator's own threads (on), or by
 * whichever thread allocates or frees when they are due (off, and at first). A shard allocates seldom, so
 * it then pays for many at once: 1 to 2 ms when 16,384 tables have grown, measured. False: no thread. */
bool mem_background(bool on);

/* ---- slabs: blocks with 8-byte steps, 8 .. SLAB_BYTES_MAX, in 64 KiB runs; larger sizes fall
 * through to mem_. One slab set per shard; slab_use() names the set this thread works on (lending
 * swaps it). A thread that never calls slab_use() gets a private set on first use. Under ASan
 * every block is a plain allocation, so overruns are seen. */
#define SLAB_BYTES_MAX 1024
struct slab;
struct slab *slab_new(void);
void slab_delete(struct slab *s);      /* every block must be free, or the process about to end */
struct slab *slab_use(struct slab *s); /* returns the former one */
void *slab_alloc(size_t bytes) __attribute__((returns_nonnull));
MUST_CHECK void *slab_try_alloc(size_t bytes);
void slab_free(void *p, size_t bytes);
/* Bytes a block of this size really takes (rounded to its step). */
static inline size_t slab_good_size(size_t bytes)
{
    return bytes <= SLAB_BYTES_MAX ? (bytes + 7) & ~(size_t)7 : mem_good_size(bytes);
}

/* ---- fault injection (MOON_TEST builds): the n-th mem_try_ or slab_try_ allocation from now fails. */
#ifdef MOON_TEST
void mem_fault_arm(uint32_t nth);
bool mem_fault_disarm(void); /* true: it fired */
#endif

#endif
