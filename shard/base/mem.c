/* shard/base/mem.c: tagged, counted allocation.
 *
 * Every allocation is counted at the size class it occupies, not at what was asked, so that the
 * sums are what the process really holds. Sizes come back at free: sdallocx then needs no look-up
 * of its own. Plain malloc() and calloc() are used where no flag is needed because jemalloc has a
 * fast path for them that mallocx() lacks.
 *
 * Counters live in thread-local storage. A thread enters the list at its first allocation and folds
 * its sums into `ended` when it ends (pthread key destructor). Under sanitizers the heap is theirs,
 * and every free checks that the size given back belongs to the block. */
#include "shard/base/mem.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifndef MOON_SANITIZE
#include <jemalloc/jemalloc.h>
#endif

#include "shard/base/assert.h"
#include "shard/base/mem_priv.h"
#include "shard/base/num.h"

_Thread_local struct mem__thread mem__self;

static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mem__thread *threads;
static int64_t ended[MEM__COUNTERS]; /* left by threads that are gone */
static pthread_key_t thread_key;
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;

/* ---- the heap below: jemalloc, or the sanitizer's */

#ifdef MOON_SANITIZE

static void *heap_alloc(size_t bytes)
{
    return malloc(bytes);
}
static void *heap_zalloc(size_t bytes)
{
    return calloc(1, bytes);
}
static void *heap_resize(void *p, size_t bytes)
{
    return realloc(p, bytes);
}
/* A size given back must be of the class that was taken: else the counters and, in normal builds,
 * the allocator's own lists go wrong. Only the sanitizers remember the exact size. */
static void heap_check(const void *p, size_t bytes)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    size_t taken = malloc_usable_size((void *)(uintptr_t)p);
    assert(mem__class_bytes(taken) == mem__class_bytes(bytes));
#else
    (void)p;
    (void)bytes;
#endif
}
static void heap_free(void *p, size_t bytes)
{
    heap_check(p, bytes);
    free(p);
}
static size_t aligned_bytes(size_t align, size_t bytes)
{
    return (bytes + align - 1) & ~(align - 1);
}
static void *heap_alloc_aligned(size_t align, size_t bytes)
{
    return aligned_alloc(align, aligned_bytes(align, bytes));
}
static void heap_free_aligned(void *p, size_t align, size_t bytes)
{
    heap_check(p, aligned_bytes(align, bytes));
    free(p);
}
static size_t heap_good_size_aligned(size_t align, size_t bytes)
{
    return mem__class_bytes(aligned_bytes(align, bytes));
}
static void heap_check_classes(void) {}
static void heap_stats(struct mem_stats *out)
{
    (void)out;
}
static void heap_purge(void) {}
static const char heap_name[] = "libc";
static bool heap_background(bool on)
{
    (void)on;
    return true;
}

#else

/* One second of grace before dirty pages go back: memory that is reported free should soon be free.
 * Who gives them back: see mem_background(); programs that do not ask for the thread do it in passing. Sizes of one to four
 * pages come from slabs of 16 pages: by default each such block is an extent of its own, which costs
 * 140 bytes beside it (values of 4 KiB, table segments). */
const char *malloc_conf = "background_thread:false,dirty_decay_ms:1000,muzzy_decay_ms:0,"
                          "slab_sizes:2048-2048:16|4096-4096:16|8192-8192:16";

static void *heap_alloc(size_t bytes)
{
    return malloc(bytes);
}
static void *heap_zalloc(size_t bytes)
{
    return calloc(1, bytes);
}
static void *heap_resize(void *p, size_t bytes)
{
    return rallocx(p, bytes, 0);
}
static void heap_free(void *p, size_t bytes)
{
    sdallocx(p, bytes, 0);
}
static void *heap_alloc_aligned(size_t align, size_t bytes)
{
    return mallocx(bytes, MALLOCX_ALIGN(align));
}
static void heap_free_aligned(void *p, size_t align, size_t bytes)
{
    sdallocx(p, bytes, MALLOCX_ALIGN(align));
}
static size_t heap_good_size_aligned(size_t align, size_t bytes)
{
    return nallocx(bytes, MALLOCX_ALIGN(align));
}
static void heap_check_classes(void)
{
    static const size_t samples[] = {1, 8, 9, 16, 17, 100, 129, 1025, 5000, 14337, 70000, 3u << 20};
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        assert(nallocx(samples[i], 0) == mem__class_bytes(samples[i]));
    }
}
static uint64_t heap_stat(const char *name)
{
    size_t value = 0, value_bytes = sizeof value;
    return mallctl(name, &value, &value_bytes, NULL, 0) == 0 ? value : 0;
}
static void heap_stats(struct mem_stats *out)
{
    uint64_t epoch = 1;
    size_t epoch_bytes = sizeof epoch;
    (void)mallctl("epoch", &epoch, &epoch_bytes, &epoch, sizeof epoch); /* refreshes the sums */
    out->allocated_bytes = heap_stat("stats.allocated");
    out->active_bytes = heap_stat("stats.active");
    out->resident_bytes = heap_stat("stats.resident");
    out->mapped_bytes = heap_stat("stats.mapped");
    out->retained_bytes = heap_stat("stats.retained");
}
static void heap_purge(void)
{
    char name[32];
    (void)snprintf(name, sizeof name, "arena.%u.purge", (unsigned)MALLCTL_ARENAS_ALL);
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    (void)mallctl(name, NULL, NULL, NULL, 0);
}
static const char heap_name[] = "jemalloc";
static bool heap_background(bool on)
{
    return mallctl("background_thread", NULL, NULL, &on, sizeof on) == 0;
}

#endif

/* ---- counters */

static void thread_leave(void *unused)
{
    (void)unused;
    struct mem__thread *t = &mem__self;
    pthread_mutex_lock(&threads_lock);
    for (uint32_t i = 0; i < MEM__COUNTERS; i++) {
        ended[i] += atomic_load_explicit(&t->live[i], memory_order_relaxed);
        atomic_store_explicit(&t->live[i], 0, memory_order_relaxed);
    }
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        threads = t->next;
    if (t->next != NULL) t->next->prev = t->prev;
    t->prev = t->next = NULL;
    t->listed = false; /* a later destructor that frees enters again, and leaves again */
    pthread_mutex_unlock(&threads_lock);
}

static void thread_key_make(void)
{
    int err = pthread_key_create(&thread_key, thread_leave);
    assert(err == 0);
    heap_check_classes();
}

void mem__thread_enter(void)
{
    struct mem__thread *t = &mem__self;
    pthread_once(&thread_key_once, thread_key_make);
    int err = pthread_setspecific(thread_key, t);
    assert(err == 0);
    pthread_mutex_lock(&threads_lock);
    t->prev = NULL;
    t->next = threads;
    if (threads != NULL) threads->prev = t;
    threads = t;
    t->listed = true;
    pthread_mutex_unlock(&threads_lock);
}

static uint64_t counter_sum(uint32_t counter)
{
    pthread_mutex_lock(&threads_lock);
    int64_t sum = ended[counter];
    for (struct mem__thread *t = threads; t != NULL; t = t->next) {
        sum += atomic_load_explicit(&t->live[counter], memory_order_relaxed);
    }
    pthread_mutex_unlock(&threads_lock);
    return sum > 0 ? (uint64_t)sum : 0; /* a block caught between two threads' counters */
}

uint64_t mem_live_bytes(enum mem_tag tag)
{
    assert(tag < MEM_TAG_COUNT);
    return counter_sum(tag) + (tag == MEM_DATA ? counter_sum(MEM__SLAB) : 0);
}

uint64_t mem_live_bytes_all(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < MEM__COUNTERS; i++)
        sum += counter_sum(i);
    return sum;
}

int64_t mem_thread_data_bytes(void)
{
    const struct mem__thread *t = &mem__self;
    return atomic_load_explicit(&t->live[MEM_DATA], memory_order_relaxed) +
           atomic_load_explicit(&t->live[MEM_TABLE], memory_order_relaxed) +
           atomic_load_explicit(&t->live[MEM__SLAB], memory_order_relaxed);
}

const char *mem_tag_name(enum mem_tag tag)
{
    static const char *const names[MEM_TAG_COUNT] = {
        [MEM_BASE] = "base",       [MEM_RT] = "rt",     [MEM_CONN] = "conn",
        [MEM_REPLY] = "reply",     [MEM_DATA] = "data", [MEM_TABLE] = "table",
        [MEM_JOURNAL] = "journal", [MEM_EXEC] = "exec", [MEM_NODE] = "node",
        [MEM_CLUSTER] = "cluster", [MEM_RAFT] = "raft", [MEM_SCRIPT] = "script",
        [MEM_TEST] = "test",
    };
    assert(tag < MEM_TAG_COUNT);
    return names[tag];
}

/* ---- fault injection */

#ifdef MOON_TEST
static _Thread_local uint32_t fault_nth; /* 0: disarmed or spent */
static _Thread_local bool fault_fired;

void mem_fault_arm(uint32_t nth)
{
    assert(nth > 0);
    fault_nth = nth;
    fault_fired = false;
}

bool mem_fault_disarm(void)
{
    bool fired = fault_fired;
    fault_nth = 0;
    fault_fired = false;
    return fired;
}

bool mem__fault(void)
{
    if (fault_nth == 0) return false;
    fault_nth--;
    if (fault_nth != 0) return false;
    fault_fired = true;
    return true;
}
#endif

void mem__die(size_t bytes)
{
    (void)dprintf(STDERR_FILENO, "out of memory: cannot allocate %zu bytes\n", bytes);
    abort();
}

/* ---- allocation */

static void *count_new(enum mem_tag tag, void *p, size_t class_bytes)
{
    if (likely(p != NULL)) mem__count(tag, (int64_t)class_bytes);
    return p;
}

void *mem__alloc(enum mem_tag tag, size_t bytes)
{
    if (unlikely(bytes > PTRDIFF_MAX)) return NULL;
    return count_new(tag, heap_alloc(bytes + (bytes == 0)), mem__class_bytes(bytes));
}

static void *zalloc_raw(enum mem_tag tag, size_t bytes)
{
    if (unlikely(bytes > PTRDIFF_MAX)) return NULL;
    return count_new(tag, heap_zalloc(bytes + (bytes == 0)), mem__class_bytes(bytes));
}

void *mem_alloc(enum mem_tag tag, size_t bytes)
{
    void *p = mem__alloc(tag, bytes);
    if (unlikely(p == NULL)) mem__die(bytes);
    return p;
}

void *mem_zalloc(enum mem_tag tag, size_t bytes)
{
    void *p = zalloc_raw(tag, bytes);
    if (unlikely(p == NULL)) mem__die(bytes);
    return p;
}

void *mem_try_alloc(enum mem_tag tag, size_t bytes)
{
    if (unlikely(mem__fault())) return NULL;
    return mem__alloc(tag, bytes);
}

void *mem_try_zalloc(enum mem_tag tag, size_t bytes)
{
    if (unlikely(mem__fault())) return NULL;
    return zalloc_raw(tag, bytes);
}

void *mem_alloc_aligned(enum mem_tag tag, size_t align, size_t bytes)
{
    assert(align >= sizeof(void *));
    assert((align & (align - 1)) == 0);
    assert(bytes > 0);
    void *p = heap_alloc_aligned(align, bytes);
    if (unlikely(p == NULL)) mem__die(bytes);
    mem__count(tag, (int64_t)heap_good_size_aligned(align, bytes));
    return p;
}

static void *resize_raw(enum mem_tag tag, void *p, size_t old_bytes, size_t new_bytes)
{
    if (p == NULL) return mem__alloc(tag, new_bytes);
    if (unlikely(new_bytes > PTRDIFF_MAX)) return NULL;
    size_t old_class = mem__class_bytes(old_bytes), new_class = mem__class_bytes(new_bytes);
#ifdef MOON_SANITIZE
    heap_check(p, old_bytes); /* and always move, so that a kept pointer is seen */
#else
    if (old_class == new_class) return p;
#endif
    void *moved = heap_resize(p, new_bytes + (new_bytes == 0));
    if (unlikely(moved == NULL)) return NULL;
    mem__count(tag, (int64_t)new_class - (int64_t)old_class);
    return moved;
}

void *mem_resize(enum mem_tag tag, void *p, size_t old_bytes, size_t new_bytes)
{
    void *moved = resize_raw(tag, p, old_bytes, new_bytes);
    if (unlikely(moved == NULL)) mem__die(new_bytes);
    return moved;
}

void *mem_try_resize(enum mem_tag tag, void *p, size_t old_bytes, size_t new_bytes)
{
    if (unlikely(mem__fault())) return NULL;
    return resize_raw(tag, p, old_bytes, new_bytes);
}

void mem_free(enum mem_tag tag, void *p, size_t bytes)
{
    if (p == NULL) return;
    mem__count(tag, -(int64_t)mem__class_bytes(bytes));
    heap_free(p, bytes + (bytes == 0));
}

void mem_free_aligned(enum mem_tag tag, void *p, size_t align, size_t bytes)
{
    if (p == NULL) return;
    mem__count(tag, -(int64_t)heap_good_size_aligned(align, bytes));
    heap_free_aligned(p, align, bytes);
}

size_t mem_good_size(size_t bytes)
{
    return mem__class_bytes(bytes);
}

/* ---- totals */

void mem_stats_read(struct mem_stats *out)
{
    *out = (struct mem_stats){0};
    heap_stats(out);
    uint64_t runs_bytes = counter_sum(MEM__SLAB_RUNS), mapped_bytes = counter_sum(MEM__SLAB_MAPPED);
    if (mapped_bytes == 0) return; /* no slabs, or a sanitizer's, which are in its heap */
    out->allocated_bytes += counter_sum(MEM__SLAB);
    out->active_bytes += runs_bytes;
    out->resident_bytes += runs_bytes; /* upper bound: the tail of a young run is untouched */
    out->mapped_bytes += mapped_bytes;
}

uint64_t mem_rss_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    if (n <= 0) return 0;
    /* "size resident shared ...", in pages */
    const char *from = memchr(text, ' ', (size_t)n);
    if (from == NULL) return 0;
    from++;
    const char *to = memchr(from, ' ', (size_t)(text + n - from));
    uint64_t pages;
    if (to == NULL || !num_parse_u64(bytes_view(from, (size_t)(to - from)), &pages)) return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

const char *mem_allocator_name(void)
{
    return heap_name;
}

bool mem_background(bool on)
{
    return heap_background(on);
}

void mem_purge(void)
{
    slab__purge();
    heap_purge();
}
