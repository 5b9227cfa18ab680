/* The runs themselves, also under sanitizers, where the rest of the tree gets plain allocations:
 * the source is compiled in here with its sanitizer variant off, so the archive's is not linked. */
#undef MOON_SANITIZE
#include "shard/base/slab.c" /* NOLINT: see above */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/rng.h"

static size_t dirty_by_walk(const struct slab *s)
{
    size_t sum = 0;
    for (const struct chunk *c = s->open; c != NULL; c = c->open_next) {
        sum += (size_t)__builtin_popcount(c->dirty);
    }
    return sum;
}

/* All that the structure promises about itself. */
static void check_set(const struct slab *s)
{
    size_t idle_chunks = 0, open_chunks = 0, walked_open = 0, used_runs = 0;
    for (const struct chunk *c = s->chunks; c != NULL; c = c->next) {
        assert_int_equal((uintptr_t)c % CHUNK_BYTES, 0);
        assert_int_equal(c->dirty & ~c->idle, 0);
        idle_chunks += c->idle == ALL_IDLE;
        open_chunks += c->idle != 0;
        for (uint32_t i = 0; i < CHUNK_RUNS; i++) {
            const struct run *r = &c->runs[i];
            if ((c->idle & (1u << i)) != 0) continue;
            size_t block_bytes = r->class * STEP_BYTES;
            size_t carved = (size_t)(r->fresh - run_start(c, i)) / block_bytes, freed = 0;
            for (void *p = r->free; p != NULL; p = *(void **)p)
                freed++;
            assert_ptr_equal(r->owner, s);
            assert_true(r->used > 0 || r == s->heads[r->class]);
            used_runs++;
            assert_int_equal(carved, r->used + freed);
            assert_true(r->listed || (r->free == NULL && r->fresh == r->end));
        }
    }
    for (const struct chunk *c = s->open; c != NULL; c = c->open_next)
        walked_open++;
    assert_int_equal(s->idle_chunks, idle_chunks);
    assert_int_equal(s->used_runs, used_runs);
    assert_int_equal(walked_open, open_chunks);
    assert_int_equal(s->dirty_runs, dirty_by_walk(s));
    assert_true(s->idle_chunks <= 1);
}

static void assert_nothing_mapped(void)
{
    assert_int_equal(mem__self.live[MEM__SLAB_MAPPED], 0);
    assert_int_equal(mem__self.live[MEM__SLAB_RUNS], 0);
}

enum { SHADOW_COUNT = 30000 };
static struct {
    uint8_t *p;
    uint16_t bytes;
} shadow[SHADOW_COUNT];
static uint64_t shadow_bytes;

static void shadow_take(struct rng *r, size_t i)
{
    size_t bytes = 1 + rng_below(r, rng_below(r, 4) == 0 ? SLAB_BYTES_MAX : 128);
    shadow[i].p = slab_alloc(bytes);
    shadow[i].bytes = (uint16_t)bytes;
    assert_int_equal((uintptr_t)shadow[i].p % 8, 0);
    memset(shadow[i].p, (int)(i & 0xff), bytes);
    shadow_bytes += slab_good_size(bytes);
}

static void shadow_give(size_t i)
{
    for (size_t k = 0; k < shadow[i].bytes; k++)
        assert_int_equal(shadow[i].p[k], i & 0xff);
    slab_free(shadow[i].p, shadow[i].bytes);
    shadow_bytes -= slab_good_size(shadow[i].bytes);
    shadow[i].p = NULL;
}

static void test_stress_against_a_shadow(void **state)
{
    (void)state;
    struct slab *s = slab_new();
    struct slab *former = slab_use(s);
    struct rng r;
    rng_seed(&r, 3);
    shadow_bytes = 0;
    for (int step = 0; step < 600000; step++) {
        size_t i = rng_below(&r, SHADOW_COUNT);
        /* Waves: mostly takes, then mostly gives, so that runs fill, empty and change class. */
        bool give = rng_below(&r, 4) == 0 ? step / 100000 % 2 == 0 : step / 100000 % 2 == 1;
        if (shadow[i].p == NULL && !give)
            shadow_take(&r, i);
        else if (shadow[i].p != NULL && give)
            shadow_give(i);
        if (step % 50000 == 0) {
            check_set(s);
            assert_int_equal(mem_live_bytes(MEM_DATA), shadow_bytes);
        }
    }
    for (size_t i = 0; i < SHADOW_COUNT; i++) {
        if (shadow[i].p != NULL) shadow_give(i);
    }
    check_set(s);
    assert_int_equal(mem_live_bytes(MEM_DATA), 0);
    assert_true(slab_is_empty(s));
    assert_true(s->dirty_runs <= 2 * dirty_runs_max(s));
    slab_use(former);
    slab_delete(s);
    assert_nothing_mapped();
}

static void test_every_size_fills_its_run(void **state)
{
    (void)state;
    struct slab *s = slab_new();
    struct slab *former = slab_use(s);
    for (size_t bytes = 8; bytes <= SLAB_BYTES_MAX; bytes += 8) {
        uint32_t first_count = 0, count = 0;
        struct chunk *c = NULL;
        static void *blocks[2 * RUN_BYTES / 8];
        /* Two runs of each class: the first may be the one that holds the chunk's head. */
        while (c == NULL || (c->idle & 4u) != 0) {
            blocks[count++] = slab_alloc(bytes);
            c = s->chunks;
            if ((c->idle & 2u) != 0) first_count = count;
        }
        count--;
        slab_free(blocks[count], bytes);
        assert_int_equal(first_count, (RUN_BYTES - CHUNK_HEAD_BYTES) / bytes);
        assert_int_equal(count - first_count, RUN_BYTES / bytes);
        while (count > 0)
            slab_free(blocks[--count], bytes);
        slab__purge();
        assert_null(s->chunks);
    }
    slab_use(former);
    slab_delete(s);
}

static void test_one_block_touches_one_page(void **state)
{
    (void)state;
    struct slab *s = slab_new();
    struct slab *former = slab_use(s);
    void *blocks[CLASS_COUNT];
    uint64_t before = mem_rss_bytes();
    for (uint32_t class = 1; class < CLASS_COUNT; class ++) {
        blocks[class] = slab_alloc(class * STEP_BYTES);
        memset(blocks[class], 1, class * STEP_BYTES);
    }
    uint64_t pages = (mem_rss_bytes() - before) / 4096;
    assert_true(pages < CLASS_COUNT + 64); /* the rest is the test's own noise */
    for (uint32_t class = 1; class < CLASS_COUNT; class ++) {
        slab_free(blocks[class], class * STEP_BYTES);
    }
    check_set(s);
    slab_use(former);
    slab_delete(s);
}

static void test_freed_memory_goes_back(void **state)
{
    (void)state;
    enum { COUNT = 60000 };
    static void *blocks[COUNT];
    struct slab *s = slab_new();
    struct slab *former = slab_use(s);
    uint64_t before = mem_rss_bytes();
    for (size_t i = 0; i < COUNT; i++)
        memset(blocks[i] = slab_alloc(1000), 1, 1000);
    assert_true(mem_rss_bytes() - before > 1000ull * COUNT);
    for (size_t i = 0; i < COUNT; i++)
        slab_free(blocks[i], 1000);
    assert_true(mem_rss_bytes() - before < 4 * dirty_runs_max(s) * RUN_BYTES);
    slab__purge();
    assert_null(s->chunks);
    slab_use(former);
    slab_delete(s);
}

static void test_delete_takes_what_is_left(void **state)
{
    (void)state;
    struct slab *s = slab_new();
    struct slab *former = slab_use(s);
    for (int i = 0; i < 1000; i++)
        memset(slab_alloc(40), 1, 40);
    assert_int_equal(mem_live_bytes(MEM_DATA), 40000);
    slab_use(former);
    slab_delete(s);
    assert_int_equal(mem_live_bytes(MEM_DATA), 0);
}

static void test_use_swaps_sets(void **state)
{
    (void)state;
    struct slab *a = slab_new(), *b = slab_new();
    struct slab *former = slab_use(a);
    void *in_a = slab_alloc(64);
    assert_ptr_equal(slab_use(b), a);
    void *in_b = slab_alloc(64);
    assert_ptr_not_equal(chunk_of(in_a), chunk_of(in_b));
    slab_free(in_b, 64);
    assert_ptr_equal(slab_use(a), b);
    slab_free(in_a, 64);
    assert_ptr_equal(slab_use(former), a);
    slab_delete(a);
    slab_delete(b);
}

static void *thread_with_private_set(void *unused)
{
    (void)unused;
    void *p = slab_alloc(100);
    slab_free(p, 100);
    return NULL;
}

static void test_private_set_ends_with_its_thread(void **state)
{
    (void)state;
    uint64_t base_before = mem_live_bytes(MEM_BASE);
    for (int i = 0; i < 10; i++) {
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, thread_with_private_set, NULL), 0);
        pthread_join(t, NULL);
    }
    assert_int_equal(mem_live_bytes(MEM_BASE), base_before); /* slab_delete() was called */
}

static void test_large_sizes_and_null_fall_through(void **state)
{
    (void)state;
    slab_free(NULL, 10);
    void *p = slab_alloc(SLAB_BYTES_MAX + 1);
    assert_int_equal(mem_live_bytes(MEM_DATA), mem_good_size(SLAB_BYTES_MAX + 1));
    assert_int_equal(slab_good_size(SLAB_BYTES_MAX + 1), mem_good_size(SLAB_BYTES_MAX + 1));
    slab_free(p, SLAB_BYTES_MAX + 1);
    assert_int_equal(mem_live_bytes(MEM_DATA), 0);
}

static void test_try_fails_on_demand(void **state)
{
    (void)state;
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        mem_fault_arm(nth);
        void *small = slab_try_alloc(24), *large = slab_try_alloc(5000);
        fired = mem_fault_disarm();
        assert_int_equal(small != NULL && large != NULL, !fired);
        slab_free(small, 24);
        slab_free(large, 5000);
        assert_int_equal(mem_live_bytes(MEM_DATA), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stress_against_a_shadow),
        cmocka_unit_test(test_every_size_fills_its_run),
        cmocka_unit_test(test_private_set_ends_with_its_thread),
        cmocka_unit_test(test_one_block_touches_one_page),
        cmocka_unit_test(test_freed_memory_goes_back),
        cmocka_unit_test(test_delete_takes_what_is_left),
        cmocka_unit_test(test_use_swaps_sets),
        cmocka_unit_test(test_large_sizes_and_null_fall_through),
        cmocka_unit_test(test_try_fails_on_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
