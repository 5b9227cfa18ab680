#include "shard/ds/quicklist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/rng.h"

/* The model: an array of numbers, each of which stands for one element: text(n). */
#define MODEL_MAX 4096
struct model {
    uint32_t items[MODEL_MAX];
    uint64_t count;
};

static uint8_t text_bytes[20000];

/* Every seventh is an integer, every 97th is larger than a small chunk. */
static struct bytes text_of(uint32_t n)
{
    if (n % 7 == 0) return bytes_view(text_bytes, num_format_u64((char *)text_bytes, n));
    size_t len = n % 97 == 0 ? 300 + n % 5 * 3000 : n % 60 + 8;
    memset(text_bytes, 'a' + (int)(n % 26), len);
    memcpy(text_bytes, &n, sizeof n);
    return bytes_view(text_bytes, len);
}

static void model_insert(struct model *m, uint64_t index, uint32_t n)
{
    memmove(m->items + index + 1, m->items + index, (m->count - index) * sizeof m->items[0]);
    m->items[index] = n;
    m->count++;
}

static void model_remove(struct model *m, uint64_t index, uint64_t count)
{
    memmove(m->items + index, m->items + index + count,
            (m->count - index - count) * sizeof m->items[0]);
    m->count -= count;
}

static uint64_t model_remove_equal(struct model *m, uint32_t n, uint64_t max, bool from_tail)
{
    uint64_t removed = 0;
    for (uint64_t i = 0; i < m->count;) {
        uint64_t at = from_tail ? m->count - 1 - i : i;
        if (m->items[at] == n && (max == 0 || removed < max)) {
            model_remove(m, at, 1);
            removed++;
        } else {
            i++;
        }
    }
    return removed;
}

static void compare(const struct quicklist *ql, const struct model *m, struct rng *rng)
{
    char tmp[NUM_I64_TEXT_MAX];
    assert_true(quicklist_check(ql));
    assert_int_equal(ql->count, m->count);
    uint64_t i = 0;
    for (const struct ql_chunk *c = ql->head; c != NULL; c = c->next) {
        for (const uint8_t *p = ql_begin(c); p < ql_end(c); p = lp_next(p), i++) {
            assert_true(bytes_equal(lp_text(p, tmp), text_of(m->items[i])));
        }
    }
    assert_int_equal(i, m->count);
    for (int k = 0; k < 3 && m->count > 0; k++) {
        uint64_t index = rng_below(rng, m->count);
        uint32_t in_chunk;
        const struct ql_chunk *c = quicklist_locate(ql, index, &in_chunk);
        const uint8_t *p = lp_seek(ql_begin(c), ql_end(c), c->count, in_chunk);
        assert_true(bytes_equal(lp_text(p, tmp), text_of(m->items[index])));
    }
}

struct run {
    struct quicklist ql;
    struct model m;
    struct ql_limit limit;
    uint32_t fail_one_in; /* 0: allocations never fail */
    struct rng rng;
};

static bool failing(struct run *r)
{
    if (r->fail_one_in == 0 || rng_below(&r->rng, r->fail_one_in) != 0) return false;
    mem_fault_arm(1);
    return true;
}

/* What could not be done for want of memory must have changed nothing: the model is not told. */
static void step(struct run *r)
{
    struct rng *rng = &r->rng;
    struct model *m = &r->m;
    uint32_t n = (uint32_t)rng_below(rng, 400);
    struct lp_item item;
    lp_item_text(text_of(n), &item);
    uint64_t index = rng_below(rng, m->count + 1), left = m->count - index;
    bool coin = rng_below(rng, 2) == 0, armed, ok;
    switch (m->count + 8 > MODEL_MAX ? 6 : rng_below(rng, 9)) {
    case 0:
    case 1:
    case 2:
        armed = failing(r);
        ok = quicklist_try_push(&r->ql, coin, &item, r->limit);
        if (ok) model_insert(m, coin ? 0 : m->count, n);
        break;
    case 3:
    case 4:
        armed = failing(r);
        ok = quicklist_try_insert(&r->ql, index, &item, r->limit);
        if (ok) model_insert(m, index, n);
        break;
    case 5:
        if (left == 0) return;
        armed = failing(r);
        ok = quicklist_try_set(&r->ql, index, &item, r->limit);
        if (ok) m->items[index] = n;
        break;
    case 6:
        armed = failing(r);
        ok = true;
        left = rng_below(rng, left + 1);
        if (rng_below(rng, 4) != 0 && left > 20) left = 20;
        quicklist_remove(&r->ql, index, left, r->limit);
        model_remove(m, index, left);
        break;
    case 7:
        armed = failing(r);
        ok = true;
        left = rng_below(rng, left < 30 ? left + 1 : 30);
        quicklist_drop(&r->ql, coin, left);
        model_remove(m, coin ? 0 : m->count - left, left);
        break;
    default:
        armed = failing(r);
        ok = true;
        left = rng_below(rng, 3);
        assert_int_equal(quicklist_remove_equal(&r->ql, &item, left, coin, r->limit),
                         model_remove_equal(m, n, left, coin));
        break;
    }
    bool fired = armed && mem_fault_disarm();
    assert_true(ok || fired);
}

static void run_model(uint64_t seed, struct ql_limit limit, uint32_t steps, uint32_t fail_one_in)
{
    struct run *r = mem_zalloc(MEM_TEST, sizeof *r);
    quicklist_init(&r->ql);
    rng_seed(&r->rng, seed);
    r->limit = limit;
    r->fail_one_in = fail_one_in;
    for (uint32_t i = 0; i < steps; i++) {
        step(r);
        if (i % 37 == 0 || i < 200) compare(&r->ql, &r->m, &r->rng);
    }
    compare(&r->ql, &r->m, &r->rng);
    struct quicklist copy;
    quicklist_init(&copy);
    assert_true(quicklist_try_copy(&r->ql, &copy));
    compare(&copy, &r->m, &r->rng);
    assert_true(quicklist_free_slice(&copy, UINT32_MAX));
    while (!quicklist_free_slice(&r->ql, 3))
        assert_true(quicklist_check(&r->ql));
    assert_int_equal(r->ql.bytes, 0);
    assert_int_equal(mem_live_bytes(MEM_DATA), 0);
    mem_free(MEM_TEST, r, sizeof *r);
}

static void test_against_an_array_small_chunks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        run_model(seed, (struct ql_limit){.block_bytes = 400, .count = UINT32_MAX}, 4000, 0);
    }
}

static void test_against_an_array_few_elements_per_chunk(void **state)
{
    (void)state;
    run_model(5, (struct ql_limit){.block_bytes = 8192, .count = 1}, 3000, 0);
    run_model(6, (struct ql_limit){.block_bytes = 8192, .count = 3}, 3000, 0);
}

static void test_against_an_array_usual_chunks(void **state)
{
    (void)state;
    run_model(7, (struct ql_limit){.block_bytes = 4096, .count = UINT32_MAX}, 6000, 0);
    run_model(8, (struct ql_limit){.block_bytes = 8192, .count = UINT32_MAX}, 6000, 0);
}

static void test_failing_allocations_change_nothing(void **state)
{
    (void)state;
    run_model(9, (struct ql_limit){.block_bytes = 400, .count = UINT32_MAX}, 4000, 3);
    run_model(10, (struct ql_limit){.block_bytes = 2048, .count = 20}, 4000, 2);
}

static void test_a_queue_keeps_few_bytes(void **state)
{
    (void)state;
    struct ql_limit limit = {.block_bytes = 8192, .count = UINT32_MAX};
    struct quicklist ql;
    quicklist_init(&ql);
    struct lp_item item;
    lp_item_text(bytes_of("forty bytes of an element of some length"), &item);
    for (int i = 0; i < 10; i++)
        assert_true(quicklist_try_push(&ql, false, &item, limit));
    for (int i = 0; i < 100000; i++) {
        bool at_head = i % 2000 < 1000;
        assert_true(quicklist_try_push(&ql, at_head, &item, limit));
        quicklist_drop(&ql, !at_head, 1);
    }
    assert_true(quicklist_check(&ql));
    assert_int_equal(ql.count, 10);
    assert_true(ql.bytes <= 2 * 8192);
    assert_true(quicklist_free_slice(&ql, UINT32_MAX));
}

static void test_pushed_elements_fill_their_chunks(void **state)
{
    (void)state;
    struct ql_limit limit = {.block_bytes = 8192, .count = UINT32_MAX};
    for (int at_head = 0; at_head < 2; at_head++) {
        struct quicklist ql;
        quicklist_init(&ql);
        struct lp_item item;
        lp_item_text(bytes_of("sixteen bytes..."), &item);
        for (int i = 0; i < 100000; i++)
            assert_true(quicklist_try_push(&ql, at_head, &item, limit));
        assert_true(ql.bytes < 100000 * item.size * 102 / 100 + 8192);
        assert_true(quicklist_check(&ql));
        assert_true(quicklist_free_slice(&ql, UINT32_MAX));
    }
}

static void test_depth_of_the_tree(void **state)
{
    (void)state;
    struct ql_limit limit = {.block_bytes = 8192, .count = 1};
    struct quicklist ql;
    quicklist_init(&ql);
    struct lp_item item;
    lp_item_int(1, &item);
    for (int i = 0; i < 20000; i++)
        assert_true(quicklist_try_push(&ql, false, &item, limit));
    uint32_t deepest = 0;
    for (const struct ql_chunk *c = ql.head; c != NULL; c = c->next) {
        uint32_t depth = 0;
        for (const struct ql_chunk *p = c; p != NULL; p = p->parent)
            depth++;
        if (depth > deepest) deepest = depth;
    }
    assert_true(deepest < 60); /* a list would have 20,000; about 35 is usual */
    assert_true(quicklist_free_slice(&ql, UINT32_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_an_array_small_chunks),
        cmocka_unit_test(test_against_an_array_few_elements_per_chunk),
        cmocka_unit_test(test_against_an_array_usual_chunks),
        cmocka_unit_test(test_failing_allocations_change_nothing),
        cmocka_unit_test(test_a_queue_keeps_few_bytes),
        cmocka_unit_test(test_pushed_elements_fill_their_chunks),
        cmocka_unit_test(test_depth_of_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
