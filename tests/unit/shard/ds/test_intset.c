#include "shard/ds/intset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/rng.h"

static void add(uint8_t *blob, size_t cap, int64_t v)
{
    uint32_t index, wanted = intset_width_of(v);
    if (intset_find(bytes_view(blob, cap), v, &index)) return;
    if (wanted > intset_width(bytes_view(blob, cap))) intset_widen(blob, wanted);
    intset_insert(blob, index, v);
}

static void test_random_members_stay_sorted(void **state)
{
    (void)state;
    enum { CAP = 8192, MEMBERS = 400 };
    static const uint32_t shifts[] = {50, 33, 0};
    struct rng rng;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        rng_seed(&rng, seed);
        uint8_t *blob = mem_alloc(MEM_TEST, CAP);
        memset(blob, 0xff, CAP);
        intset_init(blob);
        int64_t kept[MEMBERS];
        for (uint32_t i = 0; i < MEMBERS; i++) {
            kept[i] = (int64_t)rng_next(&rng) >> shifts[i * 3 / MEMBERS];
            add(blob, CAP, kept[i]);
            assert_true(intset_check(bytes_view(blob, CAP)));
        }
        uint32_t index, count = intset_count(bytes_view(blob, CAP));
        for (uint32_t i = 0; i < MEMBERS; i++) {
            if (!intset_find(bytes_view(blob, CAP), kept[i], &index))
                continue; /* drawn twice, gone already */
            assert_true(intset_get(bytes_view(blob, CAP), index) == kept[i]);
            intset_remove(blob, index);
            assert_int_equal(intset_count(bytes_view(blob, CAP)), --count);
            assert_false(intset_find(bytes_view(blob, CAP), kept[i], &index));
            assert_true(intset_check(bytes_view(blob, CAP)));
        }
        assert_int_equal(count, 0);
        mem_free(MEM_TEST, blob, CAP);
    }
}

static void test_edges_of_widths(void **state)
{
    (void)state;
    static const int64_t edges[] = {0,
                                    -1,
                                    INT16_MAX,
                                    INT16_MIN,
                                    INT16_MAX + 1,
                                    INT16_MIN - 1,
                                    INT32_MAX,
                                    INT32_MIN,
                                    (int64_t)INT32_MAX + 1,
                                    (int64_t)INT32_MIN - 1,
                                    INT64_MAX,
                                    INT64_MIN};
    uint8_t blob[256];
    intset_init(blob);
    for (size_t i = 0; i < COUNT_OF(edges); i++) {
        add(blob, sizeof blob, edges[i]);
        assert_int_equal(intset_width(bytes_view(blob, sizeof blob)), i < 4 ? 0 : i < 8 ? 1 : 2);
        uint32_t index;
        for (size_t k = 0; k <= i; k++)
            assert_true(intset_find(bytes_view(blob, sizeof blob), edges[k], &index));
        assert_int_equal(intset_count(bytes_view(blob, sizeof blob)), i + 1);
    }
    assert_true(intset_get(bytes_view(blob, sizeof blob), 0) == INT64_MIN);
    assert_true(intset_get(bytes_view(blob, sizeof blob), COUNT_OF(edges) - 1) == INT64_MAX);
}

static void test_check_refuses(void **state)
{
    (void)state;
    uint8_t blob[16] = {2, 0, 0, 0, 5, 0, 6, 0};
    assert_true(intset_check(bytes_view(blob, 8)));
    assert_false(intset_check(bytes_view(blob, 7)));
    assert_false(intset_check(bytes_view(blob, 3)));
    blob[4] = 6;
    assert_false(intset_check(bytes_view(blob, 8)));
    blob[4] = 7;
    assert_false(intset_check(bytes_view(blob, 8)));
    blob[3] = 0xc0;
    assert_false(intset_check(bytes_view(blob, 16)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_members_stay_sorted),
        cmocka_unit_test(test_edges_of_widths),
        cmocka_unit_test(test_check_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
