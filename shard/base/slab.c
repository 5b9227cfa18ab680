/* shard/base/slab.c: blocks of 8 .. SLAB_BYTES_MAX bytes in steps of 8, without a header per block.
 *
 *   chunk, 2 MiB, aligned        run, 64 KiB, aligned: blocks of one size
 *   +--------+-----+-----+--     +-------+-------+-------+-------------------+
 *   | head   |run 1|run 2|       | block | freed | block | never touched yet |
 *   | run 0  |     |     |       +-------+-------+-------+-------------------+
 *   +--------+-----+-----+--             ^ run->free      ^ run->fresh       ^ run->end
 *
 * The descriptors of a chunk's runs lie in its head, one cache line each, found from a block by two
 * masks. Not at the start of each run: descriptors 64 KiB apart would all fall into the same few
 * cache sets, and blocks of 1,024 bytes would waste one in 64.
 *
 * Pages are touched in order and only when blocks on them are handed out, so a class with one block
 * costs one page, however large its run. Chunks refuse huge pages: one of them would make 2 MiB
 * resident at the first block (batch prefetch hides what they would save).
 *
 * A class keeps a list of its runs that may have room; the head serves. A full head is found at the
 * next allocation and dropped from the list; the first free into a full run puts it back, behind
 * the head. A run without blocks goes back to its chunk at once. Its pages stay for the next taker
 * until the set has too many of them (dirty_runs_max); above that each retired run costs a madvise()
 * or two, so mass deletion never stalls in one big purge. A chunk without runs is unmapped, except
 * for one.
 *
 * A set belongs to one thread at a time (slab_use). Under sanitizers blocks are plain allocations. */
#include <pthread.h>
#include <sys/mman.h>
#ifdef MOON_SANITIZE
#include <sanitizer/asan_interface.h> /* without ASan its macros are empty */
#endif

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/base/mem_priv.h"

#define STEP_BYTES 8u
#define CLASS_COUNT (SLAB_BYTES_MAX / STEP_BYTES + 1) /* class 0 is not used */
#define RUN_BYTES ((size_t)64 << 10)
#define CHUNK_BYTES ((size_t)2 << 20)
#define CHUNK_RUNS (CHUNK_BYTES / RUN_BYTES)
#define CHUNK_HEAD_BYTES 4096u
#define YOUNG_BYTES_MAX 4096u

static uint32_t class_of(size_t bytes)
{
    return (uint32_t)((bytes + (bytes == 0) + STEP_BYTES - 1) / STEP_BYTES);
}

static _Thread_local struct slab *self __attribute__((tls_model("initial-exec")));
static _Thread_local struct slab *self_private; /* made on first use by a thread without a set */
static pthread_key_t private_key;
static pthread_once_t private_key_once = PTHREAD_ONCE_INIT;

static bool slab_is_empty(const struct slab *s);

/* A thread's private set dies with it, unless blocks of it were handed to others: those stay. */
static void private_end(void *set)
{
    struct slab *s = set;
    if (self == s) self = NULL;
    self_private = NULL;
    if (slab_is_empty(s)) slab_delete(s);
}

static void private_key_make(void)
{
    int err = pthread_key_create(&private_key, private_end);
    assert(err == 0);
}

static COLD struct slab *self_make(void)
{
    if (self_private == NULL) {
        pthread_once(&private_key_once, private_key_make);
        self_private = slab_new();
        int err = pthread_setspecific(private_key, self_private);
        assert(err == 0);
    }
    self = self_private;
    return self;
}

struct slab *slab_use(struct slab *s)
{
    struct slab *former = self;
    self = s;
    return former;
}

#ifdef MOON_SANITIZE

struct slab {
    uint64_t blocks;
};

struct slab *slab_new(void)
{
    return mem_zalloc(MEM_BASE, sizeof(struct slab));
}

static bool slab_is_empty(const struct slab *s)
{
    return s->blocks == 0;
}

void slab_delete(struct slab *s)
{
    if (self == s) self = NULL;
    mem_free(MEM_BASE, s, sizeof *s);
}

void slab__purge(void) {}

/* Before each block, poisoned: what the real runs know of a block by its address. */
struct block_head {
    struct slab *owner;
    size_t bytes;
};
static_assert(sizeof(struct block_head) == 16, "blocks keep the alignment of the heap");

/* Counted as a slab block, allocated as exactly the bytes asked for, so that overruns are seen. */
static void *block_take(struct slab *s, size_t bytes)
{
    struct block_head *head = mem__alloc(MEM_DATA, sizeof *head + bytes);
    if (head == NULL) return NULL;
    *head = (struct block_head){.owner = s, .bytes = bytes};
    ASAN_POISON_MEMORY_REGION(head, sizeof *head);
    mem__count(MEM_DATA, -(int64_t)mem_good_size(sizeof *head + bytes));
    mem__count(MEM__SLAB, (int64_t)class_of(bytes) * STEP_BYTES);
    s->blocks++;
    return head + 1;
}

static void block_give(struct slab *s, void *p, size_t bytes)
{
    struct block_head *head = (struct block_head *)p - 1;
    ASAN_UNPOISON_MEMORY_REGION(head, sizeof *head);
    assert(head->owner == s); /* as in the real runs below */
    assert(class_of(head->bytes) == class_of(bytes));
    assert(s->blocks > 0);
    s->blocks--;
    bytes = head->bytes;
    mem__count(MEM_DATA, (int64_t)mem_good_size(sizeof *head + bytes));
    mem__count(MEM__SLAB, -(int64_t)class_of(bytes) * STEP_BYTES);
    mem_free(MEM_DATA, head, sizeof *head + bytes);
}

#else

struct run {
    void *free;     /* blocks given back, linked through their first word */
    uint8_t *fresh; /* first block never handed out, up to end */
    uint8_t *end;
    struct slab *owner;
    struct run *prev, *next; /* the class's list, if listed */
    uint32_t used;           /* blocks out */
    uint16_t class;
    bool listed;
};
static_assert(sizeof(struct run) <= 64, "a descriptor is one cache line");

struct chunk {
    struct run runs[CHUNK_RUNS];
    struct chunk *prev, *next;           /* all chunks of the set */
    struct chunk *open_prev, *open_next; /* those with idle runs */
    uint32_t idle;                       /* bit per run: no blocks, belongs to no class */
    uint32_t dirty;                      /* bit per idle run whose pages may be resident */
};
static_assert(sizeof(struct chunk) <= CHUNK_HEAD_BYTES, "the head is one page");
static_assert(CHUNK_RUNS == 32, "one bit per run in a u32");
#define ALL_IDLE UINT32_MAX

struct slab {
    struct run *heads[CLASS_COUNT]; /* never NULL: &nothing ends the search */
    struct chunk *chunks;
    struct chunk *open;
    uint32_t used_runs;   /* of a class */
    uint32_t dirty_runs;  /* idle, pages perhaps resident */
    uint32_t idle_chunks; /* chunks whose runs are all idle */
};

/* Stands for "no run": no blocks, so every allocation from it takes the slow path. */
static struct run nothing;

static struct chunk *chunk_of(const void *p)
{
    return (struct chunk *)((uintptr_t)p & ~(uintptr_t)(CHUNK_BYTES - 1));
}

static uint32_t run_index(const void *p)
{
    return (uint32_t)(((uintptr_t)p & (CHUNK_BYTES - 1)) / RUN_BYTES);
}

static uint8_t *run_start(const struct chunk *c, uint32_t index)
{
    return (uint8_t *)(uintptr_t)c + (index == 0 ? CHUNK_HEAD_BYTES : index * RUN_BYTES);
}

/* ---- chunks */

static void *map_aligned(void)
{
    int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint8_t *p = mmap(NULL, CHUNK_BYTES, prot, flags, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (((uintptr_t)p & (CHUNK_BYTES - 1)) != 0) {
        munmap(p, CHUNK_BYTES);
        p = mmap(NULL, CHUNK_BYTES * 2, prot, flags, -1, 0);
        if (p == MAP_FAILED) return NULL;
        size_t before = (0 - (uintptr_t)p) & (CHUNK_BYTES - 1);
        if (before != 0) munmap(p, before);
        munmap(p + before + CHUNK_BYTES, CHUNK_BYTES - before);
        p += before;
    }
    (void)madvise(p, CHUNK_BYTES, MADV_NOHUGEPAGE); /* refused where there are none: as good */
    return p;
}

static void open_link(struct slab *s, struct chunk *c)
{
    c->open_prev = NULL;
    c->open_next = s->open;
    if (s->open != NULL) s->open->open_prev = c;
    s->open = c;
}

static void open_unlink(struct slab *s, struct chunk *c)
{
    if (c->open_prev != NULL)
        c->open_prev->open_next = c->open_next;
    else
        s->open = c->open_next;
    if (c->open_next != NULL) c->open_next->open_prev = c->open_prev;
}

static struct chunk *chunk_new(struct slab *s)
{
    struct chunk *c = map_aligned();
    if (c == NULL) return NULL;
    mem__count(MEM__SLAB_MAPPED, CHUNK_BYTES);
    c->idle = ALL_IDLE;
    c->next = s->chunks;
    if (s->chunks != NULL) s->chunks->prev = c;
    s->chunks = c;
    open_link(s, c);
    s->idle_chunks++;
    return c;
}

static void chunk_unmap(struct slab *s, struct chunk *c)
{
    open_unlink(s, c);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        s->chunks = c->next;
    if (c->next != NULL) c->next->prev = c->prev;
    s->dirty_runs -= (uint32_t)__builtin_popcount(c->dirty);
    s->idle_chunks--;
    munmap(c, CHUNK_BYTES);
    mem__count(MEM__SLAB_MAPPED, -(int64_t)CHUNK_BYTES);
}

static void run_clean(struct slab *s, struct chunk *c, uint32_t index)
{
    uint8_t *from = run_start(c, index);
    uint8_t *to = (uint8_t *)c + (index + 1) * RUN_BYTES;
    (void)madvise(from, (size_t)(to - from), MADV_DONTNEED);
    c->dirty &= ~(1u << index);
    s->dirty_runs--;
}

/* ---- runs */

/* Chunks with dirty idle runs are at the front, where run_retire puts them. */
static struct run *run_acquire(struct slab *s, uint32_t class)
{
    struct chunk *c = s->open;
    if (c == NULL) c = chunk_new(s);
    if (c == NULL) return NULL;
    assert(c->idle != 0);
    uint32_t index = (uint32_t)__builtin_ctz(c->dirty != 0 ? c->dirty : c->idle);
    if (c->idle == ALL_IDLE) s->idle_chunks--;
    c->idle &= ~(1u << index);
    if ((c->dirty & (1u << index)) != 0) {
        c->dirty &= ~(1u << index);
        s->dirty_runs--;
    }
    if (c->idle == 0) open_unlink(s, c);

    size_t block_bytes = class * STEP_BYTES;
    uint8_t *start = run_start(c, index);
    size_t room = (size_t)((uint8_t *)c + (index + 1) * RUN_BYTES - start);
    struct run *r = &c->runs[index];
    *r = (struct run){.fresh = start,
                      .end = start + room / block_bytes * block_bytes,
                      .owner = s,
                      .class = (uint16_t) class};
    s->used_runs++;
    mem__count(MEM__SLAB_RUNS, RUN_BYTES);
    return r;
}

static void list_unlink(struct slab *s, struct run *r)
{
    assert(r->listed);
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        s->heads[r->class] = r->next != NULL ? r->next : &nothing;
    if (r->next != NULL) r->next->prev = r->prev;
    r->listed = false;
}

/* Behind the head: the head's lines are warm, and an emptying run should be left to empty. */
static void list_link(struct slab *s, struct run *r)
{
    struct run *head = s->heads[r->class];
    assert(!r->listed);
    r->listed = true;
    if (head == &nothing) {
        r->prev = r->next = NULL;
        s->heads[r->class] = r;
        return;
    }
    r->prev = head;
    r->next = head->next;
    if (head->next != NULL) head->next->prev = r;
    head->next = r;
}

/* 2 MiB, or 3 % of a large set: what churns should find its pages, a fault costs more than a SET. */
static uint32_t dirty_runs_max(const struct slab *s)
{
    return 32 + s->used_runs / 32;
}

static COLD void run_retire(struct slab *s, struct run *r)
{
    struct chunk *c = chunk_of(r);
    uint32_t index = (uint32_t)(r - c->runs);
    list_unlink(s, r);
    s->used_runs--;
    mem__count(MEM__SLAB_RUNS, -(int64_t)RUN_BYTES);
    if (c->idle != 0) open_unlink(s, c);
    open_link(s, c);
    c->idle |= 1u << index;
    c->dirty |= 1u << index;
    s->dirty_runs++;
    if (c->idle == ALL_IDLE) {
        s->idle_chunks++;
        if (s->idle_chunks > 1) {
            chunk_unmap(s, c);
            return;
        }
    }
    /* Two per run retired: the limit falls while runs are retired. */
    for (int i = 0; i < 2 && c->dirty != 0 && s->dirty_runs > dirty_runs_max(s); i++) {
        run_clean(s, c, (uint32_t)__builtin_ctz(c->dirty));
    }
}

/* No block is out. A head that has touched one page only stays: a block taken and given back in
 * turns would otherwise cost a run each time, and a page per class is cheap. */
static COLD void run_emptied(struct slab *s, struct run *r)
{
    const struct chunk *c = chunk_of(r);
    size_t touched_bytes = (size_t)(r->fresh - run_start(c, (uint32_t)(r - c->runs)));
    if (r == s->heads[r->class] && touched_bytes <= YOUNG_BYTES_MAX) return;
    run_retire(s, r);
}

/* ---- the set */

struct slab *slab_new(void)
{
    struct slab *s = mem_zalloc(MEM_BASE, sizeof *s);
    for (uint32_t i = 0; i < CLASS_COUNT; i++)
        s->heads[i] = &nothing;
    return s;
}

static uint64_t chunk_live_bytes(const struct chunk *c)
{
    uint64_t sum = 0;
    for (uint32_t busy = ~c->idle; busy != 0; busy &= busy - 1) {
        const struct run *r = &c->runs[__builtin_ctz(busy)];
        sum += (uint64_t)r->used * r->class * STEP_BYTES;
    }
    return sum;
}

static bool slab_is_empty(const struct slab *s)
{
    for (const struct chunk *c = s->chunks; c != NULL; c = c->next) {
        if (chunk_live_bytes(c) != 0) return false;
    }
    return true;
}

void slab_delete(struct slab *s)
{
    if (self == s) self = NULL;
    struct chunk *next;
    for (struct chunk *c = s->chunks; c != NULL; c = next) {
        next = c->next;
        mem__count(MEM__SLAB, -(int64_t)chunk_live_bytes(c));
        munmap(c, CHUNK_BYTES);
        mem__count(MEM__SLAB_MAPPED, -(int64_t)CHUNK_BYTES);
    }
    mem__count(MEM__SLAB_RUNS, -(int64_t)(s->used_runs * RUN_BYTES));
    mem_free(MEM_BASE, s, sizeof *s);
}

void slab__purge(void)
{
    struct slab *s = self;
    if (s == NULL) return;
    for (uint32_t i = 0; i < CLASS_COUNT; i++) {
        if (s->heads[i] != &nothing && s->heads[i]->used == 0) run_retire(s, s->heads[i]);
    }
    struct chunk *next;
    for (struct chunk *c = s->open; c != NULL; c = next) {
        next = c->open_next;
        if (c->idle == ALL_IDLE) {
            chunk_unmap(s, c);
            continue;
        }
        while (c->dirty != 0)
            run_clean(s, c, (uint32_t)__builtin_ctz(c->dirty));
    }
}

/* The head has no block left: drop full runs, then find or make one with room. */
static COLD void *block_take_slow(struct slab *s, uint32_t class)
{
    struct run *r = s->heads[class];
    while (r != &nothing && r->free == NULL && r->fresh == r->end) {
        list_unlink(s, r);
        r = s->heads[class];
    }
    if (r == &nothing) {
        r = run_acquire(s, class);
        if (r == NULL) return NULL;
        list_link(s, r);
    }
    r->used++;
    void *p = r->free;
    if (p != NULL) {
        r->free = *(void **)p;
    } else {
        p = r->fresh;
        r->fresh += class * STEP_BYTES;
    }
    mem__count(MEM__SLAB, (int64_t) class * STEP_BYTES);
    return p;
}

HOT_INLINE void *block_take(struct slab *s, size_t bytes)
{
    uint32_t class = class_of(bytes);
    struct run *r = s->heads[class];
    void *p = r->free;
    if (likely(p != NULL)) {
        r->free = *(void **)p;
    } else if (likely(r->fresh != r->end)) {
        p = r->fresh;
        r->fresh += class * STEP_BYTES;
    } else {
        return block_take_slow(s, class);
    }
    r->used++;
    mem__count(MEM__SLAB, (int64_t) class * STEP_BYTES);
    return p;
}

HOT_INLINE void block_give(struct slab *s, void *p, size_t bytes)
{
    uint32_t class = class_of(bytes);
    struct run *r = &chunk_of(p)->runs[run_index(p)];
    assert(r->owner == s); /* blocks go home by message: free lists have no lock */
    assert(r->class == class);
    assert(r->used > 0);
    *(void **)p = r->free;
    r->free = p;
    mem__count(MEM__SLAB, -(int64_t) class * STEP_BYTES);
    if (unlikely(!r->listed)) list_link(s, r);
    if (unlikely(--r->used == 0)) run_emptied(s, r);
}

#endif

/* ---- both builds */

static struct slab *self_get(void)
{
    return likely(self != NULL) ? self : self_make();
}

void *slab_try_alloc(size_t bytes)
{
    if (unlikely(mem__fault())) return NULL;
    if (unlikely(bytes > SLAB_BYTES_MAX)) return mem__alloc(MEM_DATA, bytes);
    return block_take(self_get(), bytes);
}

void *slab_alloc(size_t bytes)
{
    if (unlikely(bytes > SLAB_BYTES_MAX)) return mem_alloc(MEM_DATA, bytes);
    void *p = block_take(self_get(), bytes);
    if (unlikely(p == NULL)) mem__die(bytes);
    return p;
}

void slab_free(void *p, size_t bytes)
{
    if (p == NULL) return;
    if (unlikely(bytes > SLAB_BYTES_MAX))
        mem_free(MEM_DATA, p, bytes);
    else
        block_give(self_get(), p, bytes);
}
