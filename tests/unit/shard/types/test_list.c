#include "shard/types/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/types/value.h"
#include "tests/unit/shard/types/texts.h"

#define MOST 1500u
#define NUMBERS 300u

struct run {
    struct record *r;
    uint32_t items[MOST]; /* the model */
    uint64_t count;
    struct rng rng;
    uint64_t most;
    uint32_t fail_one_in;
    bool ends_only;
};

static void model_insert(struct run *run, uint64_t index, uint32_t n)
{
    memmove(run->items + index + 1, run->items + index,
            (run->count - index) * sizeof run->items[0]);
    run->items[index] = n;
    run->count++;
}

static void model_remove(struct run *run, uint64_t index, uint64_t count)
{
    memmove(run->items + index, run->items + index + count,
            (run->count - index - count) * sizeof run->items[0]);
    run->count -= count;
}

static uint64_t model_remove_equal(struct run *run, uint32_t n, uint64_t max, bool from_tail)
{
    uint64_t removed = 0;
    for (uint64_t i = 0; i < run->count;) {
        uint64_t at = from_tail ? run->count - 1 - i : i;
        if (run->items[at] == n && (max == 0 || removed < max)) {
            model_remove(run, at, 1);
            removed++;
        } else {
            i++;
        }
    }
    return removed;
}

static void compare_walk(struct run *run, int64_t from, int step)
{
    uint8_t text[TEXT_MAX];
    char tmp[NUM_I64_TEXT_MAX];
    struct list_iter it;
    struct bytes element;
    int64_t i = from < 0 ? from + (int64_t)run->count : from;
    bool any = list_iter_start(run->r, from, step, &it);
    assert_int_equal(any, i >= 0 && i < (int64_t)run->count);
    if (!any) return;
    for (; i >= 0 && i < (int64_t)run->count; i += step) {
        assert_int_equal(it.index, (uint64_t)i);
        assert_true(list_iter_next(&it, tmp, &element));
        assert_true(bytes_equal(element, text_of(run->items[i], text)));
    }
    assert_false(list_iter_next(&it, tmp, &element));
    assert_false(list_iter_next(&it, tmp, &element));
}

static void compare(struct run *run)
{
    uint8_t text[TEXT_MAX];
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes element;
    assert_true(value_check(run->r));
    assert_int_equal(list_len(run->r), run->count);
    assert_int_equal((int64_t)value_bytes(run->r), mem_thread_data_bytes());
    compare_walk(run, 0, 1);
    compare_walk(run, -1, -1);
    int64_t index = (int64_t)rng_below(&run->rng, 2 * run->count + 3) - (int64_t)run->count - 1;
    compare_walk(run, index, 1);
    compare_walk(run, index, -1);
    assert_int_equal(list_peek(run->r, LIST_HEAD, tmp, &element), run->count > 0);
    if (run->count == 0) return;
    assert_true(bytes_equal(element, text_of(run->items[0], text)));
    assert_true(list_peek(run->r, LIST_TAIL, tmp, &element));
    assert_true(bytes_equal(element, text_of(run->items[run->count - 1], text)));
}

static void push(struct run *run, uint32_t n, bool at_head)
{
    uint8_t text[TEXT_MAX];
    if (run->count == run->most) return;
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    bool ok = list_try_push(&run->r, at_head ? LIST_HEAD : LIST_TAIL, text_of(n, text));
    disarm_fault(armed, ok);
    if (ok) model_insert(run, at_head ? 0 : run->count, n);
}

static void insert(struct run *run, uint32_t n, uint64_t index)
{
    uint8_t text[TEXT_MAX];
    if (run->count == run->most) return;
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    bool ok = list_try_insert(&run->r, index, text_of(n, text));
    disarm_fault(armed, ok);
    if (ok) model_insert(run, index, n);
}

static void set(struct run *run, uint32_t n, uint64_t index, bool from_tail)
{
    uint8_t text[TEXT_MAX];
    if (index == run->count) return;
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    int64_t signed_index = from_tail ? (int64_t)index - (int64_t)run->count : (int64_t)index;
    bool ok = list_try_set(&run->r, signed_index, text_of(n, text));
    disarm_fault(armed, ok);
    if (ok) run->items[index] = n;
}

static void shrink(struct run *run, uint32_t how, uint32_t n, uint64_t index, bool coin)
{
    uint8_t text[TEXT_MAX];
    uint64_t few = rng_below(&run->rng, 6), left = run->count - index;
    if (rng_below(&run->rng, 30) == 0) few = run->count;
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    if (how == 0) {
        few = few < run->count ? few : run->count;
        list_drop(&run->r, coin ? LIST_HEAD : LIST_TAIL, few);
        model_remove(run, coin ? 0 : run->count - few, few);
    } else if (how == 1) {
        few = few < left ? few : left;
        list_remove(&run->r, index, few);
        model_remove(run, index, few);
    } else {
        few = few > 3 ? 0 : few;
        assert_int_equal(list_remove_equal(&run->r, text_of(n, text), few, coin),
                         model_remove_equal(run, n, few, coin));
    }
    disarm_fault(armed, true);
}

static void step(struct run *run)
{
    uint32_t n = (uint32_t)rng_below(&run->rng, NUMBERS), dice = (uint32_t)rng_below(&run->rng, 10);
    uint64_t index = rng_below(&run->rng, run->count + 1);
    bool coin = rng_below(&run->rng, 2) == 0;
    if (dice < 4) {
        push(run, n, coin);
    } else if (run->ends_only) {
        shrink(run, 0, n, index, coin);
    } else if (dice < 6) {
        insert(run, n, index);
    } else if (dice < 7) {
        set(run, n, index, coin);
    } else {
        shrink(run, dice - 7, n, index, coin);
    }
}

static void run_model(uint64_t seed, uint32_t limits, uint64_t most, bool ends_only,
                      uint32_t fail_one_in)
{
    static struct run run;
    run = (struct run){.most = most, .ends_only = ends_only, .fail_one_in = fail_one_in};
    limits_set(limits);
    rng_seed(&run.rng, seed);
    run.r =
        list_try_new(bytes_view("a key of some length", 5 + seed % 15), seed % 2 == 0 ? -1 : 99);
    assert_non_null(run.r);
    for (uint32_t i = 0; i < 3000; i++) {
        step(&run);
        if (i % 71 == 0 || run.count < 12) compare(&run);
    }
    compare(&run);
    assert_int_equal(record_expire_ms(run.r), seed % 2 == 0 ? -1 : 99);
    while (!value_free_slice(run.r, 2)) {
    }
    assert_all_freed();
    limits_set(0);
}

static void test_against_an_array(void **state)
{
    (void)state;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        run_model(1 + limits, limits, 10, false, 0);
        run_model(11 + limits, limits, 80, false, 0);
        run_model(21 + limits, limits, MOST, false, 0);
        run_model(31 + limits, limits, MOST, true, 0);
    }
}

static void test_failing_allocations_change_nothing(void **state)
{
    (void)state;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        run_model(41 + limits, limits, 12, false, 2);
        run_model(51 + limits, limits, MOST, false, 2);
    }
}

static struct record *with_elements(uint32_t count, struct bytes element)
{
    struct record *r = list_try_new(BYTES_LIT("key"), -1);
    assert_non_null(r);
    for (uint32_t n = 0; n < count; n++)
        assert_true(list_try_push(&r, LIST_TAIL, element));
    return r;
}

static void test_encoding_by_bytes(void **state)
{
    (void)state;
    limits_set(0);
    uint8_t text[8192] = {0};
    struct bytes element = bytes_view(text, 100); /* 103 as an entry */
    /* Redis: 7 bytes around the entries, and the new element counts by its length alone. */
    uint32_t most = (8192 - 7 - 100) / 103 + 1;
    struct record *r = with_elements(most, element);
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_true(list_try_push(&r, LIST_TAIL, element));
    assert_string_equal(value_encoding_name(r), "quicklist");
    uint32_t half = (4096 - 7) / 103;
    list_drop(&r, LIST_TAIL, list_len(r) - half - 1);
    assert_string_equal(value_encoding_name(r), "quicklist");
    list_drop(&r, LIST_TAIL, 1);
    assert_string_equal(value_encoding_name(r), "listpack");
    record_free(r);
    r = with_elements(1, bytes_view(text, 8185));
    assert_string_equal(value_encoding_name(r), "listpack");
    record_free(r);
    r = with_elements(1, bytes_view(text, 8186));
    assert_string_equal(value_encoding_name(r), "quicklist");
    assert_true(list_try_set(&r, 0, BYTES_LIT("x")));
    assert_string_equal(value_encoding_name(r), "listpack");
    record_free(r);
    assert_all_freed();
}

static void test_encoding_by_count(void **state)
{
    (void)state;
    type_limits.list_listpack_size = 4;
    struct record *r = with_elements(4, BYTES_LIT("x"));
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_true(list_try_push(&r, LIST_TAIL, BYTES_LIT("x")));
    assert_string_equal(value_encoding_name(r), "quicklist");
    list_drop(&r, LIST_TAIL, 1);
    assert_string_equal(value_encoding_name(r), "quicklist");
    list_drop(&r, LIST_TAIL, 1);
    assert_string_equal(value_encoding_name(r), "quicklist");
    list_drop(&r, LIST_TAIL, 1);
    assert_string_equal(value_encoding_name(r), "listpack");
    record_free(r);
    limits_set(0);
    assert_all_freed();
}

static void test_huge_elements(void **state)
{
    (void)state;
    size_t huge = 3000000;
    uint8_t *text = mem_zalloc(MEM_TEST, huge);
    struct record *r = list_try_new(BYTES_LIT("key"), -1);
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes out;
    assert_non_null(r);
    for (size_t i = 0; i < 6; i++) {
        text[0] = (uint8_t)i;
        assert_true(list_try_push(&r, i % 2 == 0 ? LIST_HEAD : LIST_TAIL,
                                  bytes_view(text, huge - i * 100000)));
        assert_true(list_try_insert(&r, 1, BYTES_LIT("small")));
    }
    assert_true(value_check(r));
    for (size_t i = 6; i-- > 0;) {
        enum list_end end = i % 2 == 0 ? LIST_HEAD : LIST_TAIL;
        for (;;) {
            assert_true(list_peek(r, end, tmp, &out));
            bool small = out.len == 5;
            if (!small) {
                assert_int_equal(out.data[0], i);
                assert_int_equal(out.len, huge - i * 100000);
            }
            list_drop(&r, end, 1);
            if (!small) break;
        }
    }
    assert_true(value_check(r));
    record_free(r);
    mem_free(MEM_TEST, text, huge);
    assert_all_freed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_an_array),
        cmocka_unit_test(test_failing_allocations_change_nothing),
        cmocka_unit_test(test_encoding_by_bytes),
        cmocka_unit_test(test_encoding_by_count),
        cmocka_unit_test(test_huge_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
