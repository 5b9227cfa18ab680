#include "shard/base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shard/base/rng.h"

static void test_good_size_is_a_class(void **state)
{
    (void)state;
    static const size_t classes[] = {8,   16,  32,   48,   64,   80,   96,   112, 128,
                                     160, 192, 224,  256,  320,  384,  448,  512, 640,
                                     768, 896, 1024, 1280, 1536, 1792, 2048, 2560};
    size_t at = 0;
    for (size_t bytes = 1; bytes <= 2560; bytes++) {
        if (bytes > classes[at]) at++;
        assert_int_equal(mem_good_size(bytes), classes[at]);
    }
    for (size_t bytes = 3000; bytes < ((size_t)1 << 40); bytes = bytes * 5 / 3) {
        size_t good = mem_good_size(bytes);
        assert_true(good >= bytes);
        assert_true(good - bytes < bytes / 4 + 16);
        assert_int_equal(mem_good_size(good), good);
    }
}

static void test_counters_follow_and_return_to_zero(void **state)
{
    (void)state;
    enum { COUNT = 500, STEPS = 20000 };
    static struct {
        uint8_t *p;
        size_t bytes;
    } slots[COUNT];
    uint64_t expected = 0;
    struct rng r;
    rng_seed(&r, 2);
    for (int step = 0; step < STEPS; step++) {
        size_t i = rng_below(&r, COUNT);
        size_t bytes = rng_below(&r, rng_below(&r, 20) == 0 ? 100000 : 700);
        if (slots[i].p == NULL) {
            slots[i].p =
                rng_below(&r, 2) ? mem_alloc(MEM_TEST, bytes) : mem_zalloc(MEM_TEST, bytes);
            expected += mem_good_size(bytes);
            memset(slots[i].p, (int)(i & 0xff), bytes);
            slots[i].bytes = bytes;
        } else if (rng_below(&r, 2) == 0) {
            size_t kept = bytes < slots[i].bytes ? bytes : slots[i].bytes;
            slots[i].p = mem_resize(MEM_TEST, slots[i].p, slots[i].bytes, bytes);
            for (size_t k = 0; k < kept; k++)
                assert_int_equal(slots[i].p[k], i & 0xff);
            memset(slots[i].p, (int)(i & 0xff), bytes);
            expected += mem_good_size(bytes) - mem_good_size(slots[i].bytes);
            slots[i].bytes = bytes;
        } else {
            mem_free(MEM_TEST, slots[i].p, slots[i].bytes);
            expected -= mem_good_size(slots[i].bytes);
            slots[i].p = NULL;
        }
        if (step % 1000 == 0) assert_int_equal(mem_live_bytes(MEM_TEST), expected);
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (slots[i].p != NULL) mem_free(MEM_TEST, slots[i].p, slots[i].bytes);
        slots[i].p = NULL;
    }
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

static void test_zalloc_is_zero(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes < 5000; bytes += 113) {
        uint8_t *dirty = mem_alloc(MEM_TEST, bytes);
        memset(dirty, 0xff, bytes);
        mem_free(MEM_TEST, dirty, bytes);
        uint8_t *p = mem_zalloc(MEM_TEST, bytes);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(p[i], 0);
        mem_free(MEM_TEST, p, bytes);
    }
}

static void test_aligned(void **state)
{
    (void)state;
    for (size_t align = 8; align <= 4096; align *= 2) {
        for (size_t bytes = 1; bytes < 9000; bytes += 1111) {
            void *p = mem_alloc_aligned(MEM_TEST, align, bytes);
            assert_int_equal((uintptr_t)p % align, 0);
            memset(p, 1, bytes);
            assert_true(mem_live_bytes(MEM_TEST) >= bytes);
            mem_free_aligned(MEM_TEST, p, align, bytes);
            assert_int_equal(mem_live_bytes(MEM_TEST), 0);
        }
    }
}

static void test_null_and_zero(void **state)
{
    (void)state;
    mem_free(MEM_TEST, NULL, 10);
    mem_free_aligned(MEM_TEST, NULL, 64, 10);
    void *p = mem_alloc(MEM_TEST, 0);
    assert_non_null(p);
    mem_free(MEM_TEST, p, 0);
    p = mem_resize(MEM_TEST, NULL, 0, 100);
    memset(p, 1, 100);
    p = mem_resize(MEM_TEST, p, 100, 0);
    mem_free(MEM_TEST, p, 0);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

static void test_try_refuses_the_impossible(void **state)
{
    (void)state;
    volatile size_t huge = SIZE_MAX; /* volatile: the compiler would warn, rightly */
    assert_null(mem_try_alloc(MEM_TEST, huge));
    assert_null(mem_try_zalloc(MEM_TEST, huge / 2 + 1));
    char *p = mem_alloc(MEM_TEST, 4);
    memcpy(p, "abc", 4);
    assert_null(mem_try_resize(MEM_TEST, p, 4, huge));
    assert_string_equal(p, "abc");
    assert_int_equal(mem_live_bytes(MEM_TEST), mem_good_size(4));
    mem_free(MEM_TEST, p, 4);
}

static void test_fault_fires_once_at_the_nth(void **state)
{
    (void)state;
    for (uint32_t nth = 1; nth <= 9; nth++) {
        mem_fault_arm(nth);
        for (uint32_t i = 1; i <= 8; i++) {
            void *p = i % 2 ? mem_try_alloc(MEM_TEST, 8) : mem_try_zalloc(MEM_TEST, 8);
            assert_int_equal(p == NULL, i == nth);
            if (p != NULL) mem_free(MEM_TEST, p, 8);
        }
        assert_int_equal(mem_fault_disarm(), nth <= 8);
        assert_false(mem_fault_disarm());
    }
}

static void test_fault_counts_try_calls_only(void **state)
{
    (void)state;
    static const size_t sizes[] = {24, 5000}; /* a slab block, and one beyond */
    for (size_t i = 0; i < 2; i++) {
        mem_fault_arm(2);
        void *must = mem_alloc(MEM_TEST, 8), *record = slab_alloc(sizes[i]);
        void *first = slab_try_alloc(sizes[i]), *second = slab_try_alloc(sizes[i]);
        void *third = slab_try_alloc(sizes[i]);
        assert_true(mem_fault_disarm());
        assert_non_null(first);
        assert_null(second);
        assert_non_null(third);
        mem_free(MEM_TEST, must, 8);
        slab_free(record, sizes[i]);
        slab_free(first, sizes[i]);
        slab_free(third, sizes[i]);
    }
    assert_int_equal(mem_live_bytes(MEM_DATA), 0);
}

static struct slab *wrong_set;
static void *wrong_block;

static void free_into_wrong_set(void)
{
    slab_use(wrong_set);
    slab_free(wrong_block, 40);
}

static void free_with_wrong_size(void)
{
    slab_free(wrong_block, 48);
}

static bool dies(void (*run)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL); /* not cmocka's */
        close(STDERR_FILENO);
        run();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_blocks_must_go_home_at_their_size(void **state)
{
    (void)state;
    struct slab *own = slab_new();
    struct slab *former = slab_use(own);
    wrong_set = slab_new();
    wrong_block = slab_alloc(40);
    assert_true(dies(free_into_wrong_set));
    assert_true(dies(free_with_wrong_size));
    slab_free(wrong_block, 40);
    slab_use(former);
    slab_delete(own);
    slab_delete(wrong_set);
}

static void *thread_takes(void *out)
{
    void **block = out;
    *block = mem_alloc(MEM_TEST, 1000);
    return NULL;
}

static void *thread_gives(void *block)
{
    mem_free(MEM_TEST, block, 1000);
    assert_true(mem_thread_data_bytes() == 0);
    return NULL;
}

/* What one thread takes and another gives back must cancel out, though both have ended. */
static void test_counters_outlive_their_threads(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        pthread_t t;
        void *block = NULL;
        assert_int_equal(pthread_create(&t, NULL, thread_takes, &block), 0);
        pthread_join(t, NULL);
        assert_int_equal(mem_live_bytes(MEM_TEST), mem_good_size(1000));
        assert_int_equal(pthread_create(&t, NULL, thread_gives, block), 0);
        pthread_join(t, NULL);
        assert_int_equal(mem_live_bytes(MEM_TEST), 0);
    }
}

static void *thread_churns(void *seed)
{
    struct rng r;
    rng_seed(&r, (uint64_t)(uintptr_t)seed);
    for (int i = 0; i < 20000; i++) {
        size_t bytes = rng_below(&r, 500);
        mem_free(MEM_TEST, mem_alloc(MEM_TEST, bytes), bytes);
    }
    return NULL;
}

static void test_counters_are_read_while_threads_run(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, thread_churns, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < 200; i++)
        assert_true(mem_live_bytes(MEM_TEST) <= 4 * 512);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

static void test_data_bytes_are_this_threads_data_and_tables(void **state)
{
    (void)state;
    int64_t before = mem_thread_data_bytes();
    void *table = mem_alloc(MEM_TABLE, 100), *data = mem_alloc(MEM_DATA, 5000);
    void *other = mem_alloc(MEM_TEST, 5000), *record = slab_alloc(20);
    assert_int_equal(mem_thread_data_bytes() - before,
                     mem_good_size(100) + mem_good_size(5000) + slab_good_size(20));
    mem_free(MEM_TABLE, table, 100);
    mem_free(MEM_DATA, data, 5000);
    mem_free(MEM_TEST, other, 5000);
    slab_free(record, 20);
    assert_int_equal(mem_thread_data_bytes(), before);
}

static void test_tags_and_totals(void **state)
{
    (void)state;
    for (int i = 0; i < MEM_TAG_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(mem_tag_name((enum mem_tag)i), mem_tag_name((enum mem_tag)j));
        }
    }
    uint64_t all = mem_live_bytes_all();
    void *p = mem_alloc(MEM_TEST, 4096);
    assert_int_equal(mem_live_bytes_all() - all, 4096);
    mem_free(MEM_TEST, p, 4096);
    assert_true(mem_rss_bytes() > 100000);
    struct mem_stats stats;
    mem_stats_read(&stats);
    assert_true(stats.allocated_bytes <= stats.mapped_bytes);
    mem_purge();
    assert_true(mem_background(true)); /* under the sanitizers there is none to start */
    assert_true(mem_background(false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_size_is_a_class),
        cmocka_unit_test(test_counters_follow_and_return_to_zero),
        cmocka_unit_test(test_zalloc_is_zero),
        cmocka_unit_test(test_aligned),
        cmocka_unit_test(test_null_and_zero),
        cmocka_unit_test(test_try_refuses_the_impossible),
        cmocka_unit_test(test_fault_fires_once_at_the_nth),
        cmocka_unit_test(test_fault_counts_try_calls_only),
        cmocka_unit_test(test_blocks_must_go_home_at_their_size),
        cmocka_unit_test(test_counters_outlive_their_threads),
        cmocka_unit_test(test_counters_are_read_while_threads_run),
        cmocka_unit_test(test_data_bytes_are_this_threads_data_and_tables),
        cmocka_unit_test(test_tags_and_totals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
