#include "shard/ds/bptree.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"

struct item {
    uint32_t len;
    uint8_t key[12];
};

static struct bytes key_of(const void *p)
{
    const struct item *item = p;
    return bytes_view(item->key, item->len);
}

static struct item *item_new(uint64_t n)
{
    struct item *item = mem_zalloc(MEM_TEST, sizeof *item);
    item->len = (uint32_t)(4 + n % 9);
    uint32_t order = __builtin_bswap32((uint32_t)n);
    memcpy(item->key, &order, 4);
    return item;
}

/* The model: an array in order. */
struct pair {
    double score;
    struct item *item;
};
struct model {
    struct pair *pairs;
    uint64_t count, cap;
};

static int compare_pair(double score, struct bytes key, const struct pair *p)
{
    if (score < p->score) return -1;
    if (score > p->score) return 1;
    return bytes_compare(key, key_of(p->item));
}

static uint64_t model_rank(const struct model *m, double score, struct bytes key)
{
    uint64_t low = 0, high = m->count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (compare_pair(score, key, &m->pairs[middle]) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void model_insert(struct model *m, double score, struct item *item)
{
    uint64_t at = model_rank(m, score, key_of(item));
    assert_true(m->count < m->cap);
    memmove(m->pairs + at + 1, m->pairs + at, (m->count - at) * sizeof m->pairs[0]);
    m->pairs[at] = (struct pair){score, item};
    m->count++;
}

static void model_remove(struct model *m, uint64_t at)
{
    memmove(m->pairs + at, m->pairs + at + 1, (m->count - at - 1) * sizeof m->pairs[0]);
    m->count--;
}

static void compare(const struct bptree *t, const struct model *m, struct rng *rng)
{
    assert_true(bptree_check(t, key_of));
    assert_int_equal(t->count, m->count);
    struct bptree_cursor c;
    double score;
    void *item;
    uint64_t from = rng_below(rng, m->count + 1);
    bptree_seek(t, from, 1, &c);
    for (uint64_t i = from; i < m->count; i++) {
        assert_true(bptree_next(&c, 1, &score, &item));
        assert_ptr_equal(item, m->pairs[i].item);
        assert_true(score == m->pairs[i].score);
    }
    assert_false(bptree_next(&c, 1, &score, &item));
    if (from == m->count) return;
    bptree_seek(t, from, -1, &c);
    for (uint64_t i = from + 1; i-- > 0;) {
        assert_true(bptree_next(&c, -1, &score, &item));
        assert_ptr_equal(item, m->pairs[i].item);
    }
    assert_false(bptree_next(&c, -1, &score, &item));
}

static void compare_counts(const struct bptree *t, const struct model *m, double score)
{
    uint64_t below = 0, through = 0;
    for (uint64_t i = 0; i < m->count; i++) {
        below += m->pairs[i].score < score;
        through += m->pairs[i].score <= score;
    }
    assert_int_equal(bptree_count_scores(t, score, false), below);
    assert_int_equal(bptree_count_scores(t, score, true), through);
}

struct run {
    struct bptree t;
    struct model m;
    struct rng rng;
    uint64_t next, scores; /* scores are drawn from so many: few make ties */
    uint32_t fail_one_in;
};

static double draw_score(struct run *r)
{
    if (r->scores == 0) return (double)r->next; /* rising */
    uint64_t n = rng_below(&r->rng, r->scores);
    if (n == 0) return rng_below(&r->rng, 2) == 0 ? -INFINITY : INFINITY;
    return (double)n / 8 - (double)r->scores / 16;
}

static bool arm(struct run *r)
{
    if (r->fail_one_in == 0 || rng_below(&r->rng, r->fail_one_in) != 0) return false;
    mem_fault_arm(1 + (uint32_t)rng_below(&r->rng, 3));
    return true;
}

static void insert(struct run *r)
{
    if (r->m.count == r->m.cap) return;
    struct item *item = item_new(r->next++);
    double score = draw_score(r);
    bool armed = arm(r), ok = bptree_try_insert(&r->t, score, item, key_of);
    bool fired = armed && mem_fault_disarm();
    assert_true(ok || fired);
    if (ok) {
        model_insert(&r->m, score, item);
    } else {
        mem_free(MEM_TEST, item, sizeof *item);
    }
}

static void remove_one(struct run *r)
{
    if (r->m.count == 0) return;
    uint64_t at = rng_below(&r->rng, r->m.count);
    if (rng_below(&r->rng, 4) == 0) at = 0;
    struct pair p = r->m.pairs[at];
    if (rng_below(&r->rng, 2) == 0) {
        assert_ptr_equal(bptree_remove_at(&r->t, at), p.item);
    } else {
        bptree_prefetch(&r->t, p.score);
        bptree_remove(&r->t, p.score, p.item, key_of);
    }
    model_remove(&r->m, at);
    mem_free(MEM_TEST, p.item, sizeof *p.item);
}

static void move_one(struct run *r)
{
    if (r->m.count == 0) return;
    uint64_t at = rng_below(&r->rng, r->m.count);
    struct pair old = r->m.pairs[at];
    struct item *fresh = mem_alloc(MEM_TEST, sizeof *fresh);
    *fresh = *old.item;
    double score = old.score;
    if (rng_below(&r->rng, 3) > 0) score += (double)rng_below(&r->rng, 3) / 16;
    if (rng_below(&r->rng, 3) == 0) score = draw_score(r);
    if (score != score) score = 0;
    bool armed = arm(r), ok = bptree_try_move(&r->t, old.score, old.item, score, fresh, key_of);
    bool fired = armed && mem_fault_disarm();
    assert_true(ok || (fired && score != old.score));
    if (ok) {
        model_remove(&r->m, at);
        model_insert(&r->m, score, fresh);
    }
    mem_free(MEM_TEST, ok ? old.item : fresh, sizeof *fresh);
}

static void look(struct run *r)
{
    if (r->m.count > 0) {
        uint64_t at = rng_below(&r->rng, r->m.count);
        struct pair p = r->m.pairs[at];
        assert_int_equal(bptree_rank(&r->t, p.score, p.item, key_of), at);
        compare_counts(&r->t, &r->m, p.score);
    }
    compare_counts(&r->t, &r->m, draw_score(r) + 0.01);
}

static void phase(struct run *r, uint32_t steps, uint32_t inserts_in_ten)
{
    for (uint32_t i = 0; i < steps; i++) {
        uint64_t dice = rng_below(&r->rng, 10);
        if (dice < inserts_in_ten) {
            insert(r);
        } else if (dice == 9) {
            move_one(r);
        } else {
            remove_one(r);
        }
        if (i % 97 == 0) look(r);
        if (i % 401 == 0 || r->m.count < 10) compare(&r->t, &r->m, &r->rng);
    }
}

static void run_model(uint64_t seed, uint64_t scores, uint64_t most, uint32_t fail_one_in)
{
    struct run r = {.scores = scores, .fail_one_in = fail_one_in};
    bptree_init(&r.t);
    rng_seed(&r.rng, seed);
    r.m.cap = most;
    r.m.pairs = mem_alloc(MEM_TEST, most * sizeof r.m.pairs[0]);
    phase(&r, 9000, 8);
    phase(&r, 3000, 5);
    phase(&r, 9000, 1);
    phase(&r, 2000, 8);
    compare(&r.t, &r.m, &r.rng);
    while (!bptree_free_slice(&r.t, 100))
        assert_true(bptree_check(&r.t, key_of));
    assert_true(bptree_check(&r.t, key_of));
    assert_int_equal(mem_live_bytes(MEM_DATA), 0);
    for (uint64_t i = 0; i < r.m.count; i++)
        mem_free(MEM_TEST, r.m.pairs[i].item, sizeof(struct item));
    mem_free(MEM_TEST, r.m.pairs, most * sizeof r.m.pairs[0]);
}

static void test_against_an_array_distinct_scores(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        run_model(seed, 1u << 30, 20000, 0);
}

static void test_against_an_array_many_ties(void **state)
{
    (void)state;
    run_model(4, 2, 20000, 0);
    run_model(5, 40, 20000, 0);
}

static void test_against_an_array_rising(void **state)
{
    (void)state;
    run_model(6, 0, 20000, 0);
}

static void test_failing_allocations_change_nothing(void **state)
{
    (void)state;
    run_model(7, 1u << 20, 20000, 2);
    run_model(8, 0, 20000, 2);
}

/* Deep enough for inner nodes to split and to join: over 68 leaves under one, twice. */
static void test_four_levels(void **state)
{
    (void)state;
    struct bptree t;
    bptree_init(&t);
    uint64_t n = 300000;
    struct item *items = mem_zalloc(MEM_TEST, n * sizeof *items);
    struct rng rng;
    rng_seed(&rng, 3);
    for (uint64_t i = 0; i < n; i++) {
        items[i].len = 4;
        memcpy(items[i].key, &i, 4);
        assert_true(bptree_try_insert(&t, (double)(i * 2654435761u % n), &items[i], key_of));
    }
    assert_true(bptree_check(&t, key_of));
    assert_int_equal(t.height, 4);
    double fill = (double)n * 14 / (double)t.bytes;
    assert_true(fill > 0.7);
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t rank = rng_below(&rng, n);
        assert_int_equal(bptree_count_scores(&t, (double)rank, false), rank);
    }
    while (t.count > 100) {
        (void)bptree_remove_at(&t, rng_below(&rng, t.count));
        if (t.count % 50000 == 0) assert_true(bptree_check(&t, key_of));
    }
    assert_true(bptree_check(&t, key_of));
    assert_true(t.bytes < 100 * 1024); /* the joins gave the nodes back */
    assert_true(bptree_free_slice(&t, UINT64_MAX));
    mem_free(MEM_TEST, items, n * sizeof *items);
}

static void test_edges_fill_leaves(void **state)
{
    (void)state;
    for (int direction = -1; direction <= 1; direction += 2) {
        struct bptree t;
        bptree_init(&t);
        struct item items[2] = {{.len = 1}, {.len = 2}};
        for (int i = 0; i < 50000; i++)
            assert_true(bptree_try_insert(&t, i * direction, &items[i & 1], key_of));
        assert_true(bptree_check(&t, key_of));
        assert_true(t.bytes < 50000 * 15 + 16384);
        assert_true(bptree_free_slice(&t, UINT64_MAX));
    }
}

static void test_keys_alone(void **state)
{
    (void)state;
    struct bptree t;
    bptree_init(&t);
    enum { N = 3000 };
    static struct item *items[N];
    for (uint64_t i = 0; i < N; i++) {
        items[i] = item_new(i * 2);
        items[i]->len = 4;
        assert_true(bptree_try_insert(&t, 1.5, items[i], key_of));
    }
    for (uint64_t i = 0; i < 2 * N; i++) {
        struct item *probe = item_new(i);
        probe->len = 4;
        assert_int_equal(bptree_count_keys(&t, key_of(probe), false, key_of), (i + 1) / 2);
        assert_int_equal(bptree_count_keys(&t, key_of(probe), true, key_of), i / 2 + 1);
        mem_free(MEM_TEST, probe, sizeof *probe);
    }
    assert_int_equal(bptree_count_keys(&t, bytes_view(NULL, 0), true, key_of), 0);
    assert_true(bptree_free_slice(&t, UINT64_MAX));
    for (uint64_t i = 0; i < N; i++)
        mem_free(MEM_TEST, items[i], sizeof(struct item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_an_array_distinct_scores),
        cmocka_unit_test(test_against_an_array_many_ties),
        cmocka_unit_test(test_against_an_array_rising),
        cmocka_unit_test(test_failing_allocations_change_nothing),
        cmocka_unit_test(test_four_levels),
        cmocka_unit_test(test_edges_fill_leaves),
        cmocka_unit_test(test_keys_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
