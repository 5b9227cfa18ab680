#include "shard/types/set_gather.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/hash.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"

#define MEMBERS 3000u

static char texts[MEMBERS][16];

static struct bytes text_of_number(uint32_t n)
{
    snprintf(texts[n], sizeof texts[n], "m%u", n * 7919 % MEMBERS);
    return bytes_of(texts[n]);
}

static void assert_freed(struct gather *g)
{
    gather_free(g);
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
}

/* Hashes that share what the index looks at first, or all of it, or nothing. */
static uint64_t hash_of(struct bytes member, int how)
{
    uint64_t hash = hash_bytes(member);
    if (how == 1) return hash & ~UINT64_C(0xffffffff);
    return how == 2 ? 5 : hash;
}

static void test_members_are_found_again(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct gather g;
        uint32_t members = how == 0 ? MEMBERS : 200;
        assert_true(gather_init(&g, (uint64_t)how * 50, true));
        for (uint32_t round = 0; round < 2; round++) {
            for (uint32_t n = 0; n < members; n += 2) {
                struct bytes member = text_of_number(n);
                bool added;
                gather_prefetch(&g, hash_of(member, how));
                struct gather_entry *e =
                    gather_put(&g, hash_of(member, how), member, false, &added);
                assert_non_null(e);
                assert_int_equal(added, round == 0);
                assert_true(e->score == (round == 0 ? 0 : n));
                e->score = n;
            }
        }
        assert_int_equal(g.count, members / 2);
        for (uint32_t n = 0; n < members; n++) {
            struct bytes member = text_of_number(n);
            const struct gather_entry *e = gather_find(&g, hash_of(member, how), member);
            assert_int_equal(e != NULL, n % 2 == 0);
            if (e != NULL) assert_true(bytes_equal(gather_member(e), member));
        }
        assert_freed(&g);
    }
}

static void test_copies_last(void **state)
{
    (void)state;
    struct gather g;
    char text[16];
    bool added;
    assert_true(gather_init(&g, 0, true));
    for (uint32_t n = 0; n < 2000; n++) {
        snprintf(text, sizeof text, "%u", n);
        assert_non_null(gather_put(&g, hash_bytes(bytes_of(text)), bytes_of(text), true, &added));
        assert_true(added);
    }
    for (uint32_t n = 0; n < 2000; n++) {
        snprintf(text, sizeof text, "%u", n);
        assert_true(bytes_equal(gather_member(&g.entries[n]), bytes_of(text)));
        assert_ptr_equal(gather_find(&g, hash_bytes(bytes_of(text)), bytes_of(text)),
                         &g.entries[n]);
    }
    assert_freed(&g);
}

static void append(struct gather *g, double score, uint32_t n)
{
    struct gather_entry *e = gather_append(g, text_of_number(n), false);
    assert_non_null(e);
    e->score = score;
}

static void assert_sorted(const struct gather *g, uint32_t count, double sum)
{
    assert_int_equal(g->count, count);
    for (uint32_t i = 0; i < count; i++) {
        sum -= g->entries[i].score;
        if (i == 0) continue;
        const struct gather_entry *a = &g->entries[i - 1], *b = &g->entries[i];
        assert_true(a->score <= b->score);
        if (a->score == b->score)
            assert_true(bytes_compare(gather_member(a), gather_member(b)) < 0);
    }
    assert_true(sum == 0);
}

/* `runs` runs in order, one after the other; `noise` entries in a thousand lie anywhere. */
static void sort_case(uint64_t seed, uint32_t count, uint32_t runs, uint32_t noise)
{
    struct rng rng;
    struct gather g;
    double sum = 0;
    rng_seed(&rng, seed);
    assert_true(gather_init(&g, count, false));
    for (uint32_t n = 0; n < count; n++) {
        double score = n % (count / runs + 1);
        if (rng_below(&rng, 1000) < noise) score = (double)rng_below(&rng, 50);
        sum += score;
        append(&g, score, n);
    }
    assert_true(gather_sort(&g));
    assert_sorted(&g, count, sum);
    assert_freed(&g);
}

static void test_sort(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 11, 12, 13, 24, 25, 100, 999, MEMBERS};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        for (uint32_t runs = 1; runs < 6; runs++) {
            sort_case(i, counts[i], runs, 0);
            sort_case(i, counts[i], runs, 20);
            sort_case(i, counts[i], runs, 1000);
        }
    }
    struct gather g;
    assert_true(gather_init(&g, 0, false));
    assert_true(gather_sort(&g)); /* nothing */
    assert_freed(&g);
}

static void test_infinities_and_zeros(void **state)
{
    (void)state;
    struct gather g;
    static const double scores[] = {0, -0.0, (double)INFINITY, -(double)INFINITY, 0, -0.0, 3};
    assert_true(gather_init(&g, 0, false));
    for (uint32_t i = 0; i < COUNT_OF(scores); i++)
        append(&g, scores[i], i);
    assert_true(gather_sort(&g));
    assert_true(g.entries[0].score == -(double)INFINITY);
    for (uint32_t i = 2; i < 5; i++) /* the two zeros are one score */
        assert_true(bytes_compare(gather_member(&g.entries[i - 1]), gather_member(&g.entries[i])) <
                    0);
    assert_true(g.entries[5].score == 3);
    assert_true(g.entries[6].score == (double)INFINITY);
    assert_freed(&g);
}

/* One of the next allocations fails: the call says so and nothing of it shows. */
static void test_no_memory(void **state)
{
    (void)state;
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct gather g;
        uint32_t stored = 0;
        bool added, sorted = false;
        mem_fault_arm(nth);
        if (gather_init(&g, 0, true)) {
            for (uint32_t n = 0; n < 500; n++) {
                struct bytes member = text_of_number(n);
                struct gather_entry *e =
                    gather_put(&g, hash_bytes(member), member, n % 2 == 0, &added);
                if (e != NULL) e->score = -(double)n;
                stored += e != NULL;
                assert_int_equal(g.count, stored);
            }
            sorted = gather_sort(&g);
            for (uint32_t i = 0; i < g.count; i++)
                assert_true(g.entries[i].len > 0);
            gather_free(&g);
        }
        fired = mem_fault_disarm();
        if (!fired) assert_true(sorted && stored == 500);
        assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
        assert_true(nth < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_found_again),
        cmocka_unit_test(test_copies_last),
        cmocka_unit_test(test_sort),
        cmocka_unit_test(test_infinities_and_zeros),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
