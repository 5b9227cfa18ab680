#include "shard/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/rng.h"

static void test_blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static struct {
        uint8_t *p;
        size_t bytes;
    } blocks[COUNT];
    struct rng r;
    rng_seed(&r, 4);
    struct arena a;
    arena_init(&a);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i].bytes = rng_below(&r, 50) == 0 ? rng_below(&r, 200000) : rng_below(&r, 300);
        blocks[i].p = arena_alloc(&a, blocks[i].bytes);
        assert_int_equal((uintptr_t)blocks[i].p % 16, 0);
        if (blocks[i].bytes != 0) memset(blocks[i].p, (int)(i & 0xff), blocks[i].bytes);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < blocks[i].bytes; k++)
            assert_int_equal(blocks[i].p[k], i & 0xff);
    }
    arena_free(&a);
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
}

/* Marks nest: what was before a mark survives the rewind to it, at every depth. */
static void nest(struct arena *a, struct rng *r, int depth)
{
    size_t bytes = 1 + rng_below(r, 20000);
    uint8_t *mine = arena_alloc(a, bytes);
    memset(mine, depth, bytes);
    for (int i = 0; depth < 6 && i < 3; i++) {
        struct arena_mark mark = arena_mark(a);
        nest(a, r, depth + 1);
        arena_rewind(a, mark);
        assert_ptr_equal(a->head, mark.head);
        assert_ptr_equal(a->next, mark.next);
        for (size_t k = 0; k < bytes; k++)
            assert_int_equal(mine[k], depth);
    }
}

static void test_marks_nest(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    struct arena a;
    arena_init(&a);
    struct arena_mark empty = arena_mark(&a);
    nest(&a, &r, 0);
    arena_rewind(&a, empty);
    uint64_t kept = mem_live_bytes(MEM_EXEC);
    assert_true(kept <= 64 << 10); /* at most one block of the usual size */
    nest(&a, &r, 0);
    arena_rewind(&a, empty);
    assert_int_equal(mem_live_bytes(MEM_EXEC), kept);
    arena_free(&a);
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
    arena_free(&a); /* twice is harmless */
}

static void test_large_block_is_not_kept(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    struct arena_mark empty = arena_mark(&a);
    memset(arena_alloc(&a, 10 << 20), 1, 10 << 20);
    arena_rewind(&a, empty);
    assert_true(mem_live_bytes(MEM_EXEC) <= 64 << 10);
    memset(arena_alloc(&a, 100), 1, 100); /* still usable */
    memset(arena_alloc(&a, 10 << 20), 1, 10 << 20);
    arena_rewind(&a, empty);
    assert_true(mem_live_bytes(MEM_EXEC) <= 64 << 10);
    arena_free(&a);
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
}

static void test_rewind_of_nothing(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    arena_rewind(&a, arena_mark(&a));
    assert_null(a.head);
    memset(arena_alloc(&a, 10), 1, 10);
    struct arena_mark mark = arena_mark(&a);
    arena_rewind(&a, mark);
    assert_ptr_equal(a.next, mark.next);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_aligned_and_apart),
        cmocka_unit_test(test_marks_nest),
        cmocka_unit_test(test_large_block_is_not_kept),
        cmocka_unit_test(test_rewind_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
