#include "shard/types/zset_algebra.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/types/set.h"
#include "shard/types/value.h"
#include "shard/types/zset.h"
#include "tests/unit/shard/types/texts.h"

#define MEMBERS 2000u
#define SOURCES_MAX 8u

enum op { UNION, INTER, DIFF, OPS };

struct model {
    struct record *sources[SOURCES_MAX]; /* the last two are sets */
    bool has[SOURCES_MAX][MEMBERS];
    double score[SOURCES_MAX][MEMBERS];
    uint64_t len[SOURCES_MAX];
    uint32_t members;
    struct rng rng;
};

static double draw_score(struct rng *rng)
{
    static const double odd[] = {0, -0.0, (double)INFINITY, -(double)INFINITY, 0.1, 1e300, -5};
    uint64_t dice = rng_below(rng, 12);
    return dice < COUNT_OF(odd) ? odd[dice] : (double)rng_below(rng, 50) - 10;
}

static bool is_set(uint32_t i)
{
    return i >= SOURCES_MAX - 2;
}

static void put(struct model *m, uint32_t i, uint32_t n, double score)
{
    uint8_t text[TEXT_MAX];
    if (is_set(i))
        assert_true(set_add(&m->sources[i], text_of(n, text)) >= 0);
    else
        assert_true(zset_put(&m->sources[i], text_of(n, text), score) >= 0);
    m->len[i] += !m->has[i][n];
    m->has[i][n] = true;
    m->score[i][n] = is_set(i) ? 1 : score;
    if (!is_set(i)) assert_true(zset_score(m->sources[i], text_of(n, text), &m->score[i][n]));
}

static struct model *model_new(uint64_t seed, uint32_t members)
{
    static const uint32_t draws[] = {1, 5, 40, 200, 900, 2500};
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    m->members = members;
    rng_seed(&m->rng, seed);
    for (uint32_t i = 0; i < SOURCES_MAX; i++) {
        m->sources[i] = is_set(i) ? set_try_new(BYTES_LIT("key"), BYTES_LIT("1"), 0, -1)
                                  : zset_try_new(BYTES_LIT("key"), -1);
        assert_non_null(m->sources[i]);
        uint32_t count = draws[rng_below(&m->rng, COUNT_OF(draws))];
        for (uint32_t k = 0; k < count; k++)
            put(m, i, (uint32_t)rng_below(&m->rng, members), draw_score(&m->rng));
    }
    return m;
}

static void model_free(struct model *m)
{
    for (uint32_t i = 0; i < SOURCES_MAX; i++)
        record_free(m->sources[i]);
    mem_free(MEM_TEST, m, sizeof *m);
    assert_all_freed();
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
}

struct choice {
    uint32_t count;
    int32_t index[SOURCES_MAX]; /* -1: absent */
    struct zset_source sources[SOURCES_MAX];
    enum zset_aggregate how;
};

static void choose(struct model *m, struct choice *c)
{
    c->count = 1 + (uint32_t)rng_below(&m->rng, rng_below(&m->rng, 2) ? 3 : SOURCES_MAX);
    c->how = (enum zset_aggregate)rng_below(&m->rng, 3);
    for (uint32_t i = 0; i < c->count; i++) {
        bool none = rng_below(&m->rng, 15) == 0;
        c->index[i] = none ? -1 : (int32_t)rng_below(&m->rng, SOURCES_MAX);
        c->sources[i].record = none ? NULL : m->sources[c->index[i]];
        c->sources[i].weight = rng_below(&m->rng, 2) ? 1 : draw_score(&m->rng);
    }
}

/* ---- as Redis does it, member by member */

static double redis_aggregate(double target, double score, enum zset_aggregate how)
{
    if (how == ZSET_MIN) return score < target ? score : target;
    if (how == ZSET_MAX) return score > target ? score : target;
    target += score;
    return isnan(target) ? 0 : target;
}

static uint64_t len_of(const struct model *m, const struct choice *c, uint32_t i)
{
    return c->index[i] < 0 ? 0 : m->len[c->index[i]];
}

/* Places of sources from the smallest up; equal ones as they were given. */
static void order_of(const struct model *m, const struct choice *c, uint32_t order[SOURCES_MAX])
{
    for (uint32_t i = 0; i < c->count; i++) {
        uint32_t at = i;
        for (; at > 0 && len_of(m, c, order[at - 1]) > len_of(m, c, i); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

static bool wanted(const struct model *m, const struct choice *c, enum op op, uint32_t n,
                   double *score_out)
{
    uint32_t order[SOURCES_MAX], in = 0;
    order_of(m, c, order);
    if (op == DIFF) {
        for (uint32_t i = 1; i < c->count; i++)
            if (c->index[i] >= 0 && m->has[c->index[i]][n]) return false;
        if (c->index[0] < 0 || !m->has[c->index[0]][n]) return false;
        *score_out = m->score[c->index[0]][n];
        return true;
    }
    for (uint32_t k = 0; k < c->count; k++) {
        int32_t i = c->index[order[k]];
        if (i < 0 || !m->has[i][n]) continue;
        double score = m->score[i][n] * c->sources[order[k]].weight;
        if (isnan(score) && (op == UNION || in == 0)) score = 0;
        *score_out = in++ == 0 ? score : redis_aggregate(*score_out, score, c->how);
    }
    return op == UNION ? in > 0 : in == c->count;
}

/* ---- */

static bool run_op(enum op op, struct choice c, struct gather *out)
{
    if (op == UNION) return zset_union(c.sources, c.count, c.how, out);
    if (op == INTER) return zset_inter(c.sources, c.count, c.how, out);
    const struct record *records[SOURCES_MAX];
    for (uint32_t i = 0; i < c.count; i++)
        records[i] = c.sources[i].record;
    return zset_diff(records, c.count, out);
}

static bool same_score(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void expect_sorted(const struct gather *g)
{
    for (uint32_t i = 1; i < g->count; i++) {
        const struct gather_entry *a = &g->entries[i - 1], *b = &g->entries[i];
        assert_true(a->score <= b->score);
        if (!(a->score < b->score))
            assert_true(bytes_compare(gather_member(a), gather_member(b)) < 0);
    }
}

static void expect_built(const struct gather *g)
{
    struct record *r = zset_try_build(BYTES_LIT("another key"), g);
    struct record *by_one = zset_try_new(BYTES_LIT("another key"), -1);
    assert_non_null(r);
    assert_non_null(by_one);
    for (uint32_t i = 0; i < g->count; i++)
        assert_int_equal(zset_put(&by_one, gather_member(&g->entries[i]), g->entries[i].score), 1);
    assert_true(value_check(r));
    assert_int_equal(zset_len(r), g->count);
    assert_string_equal(value_encoding_name(r), value_encoding_name(by_one));
    assert_int_equal(value_digest(r), value_digest(by_one));
    record_free(r);
    record_free(by_one);
}

static void expect_op(const struct model *m, const struct choice *c, enum op op)
{
    static double scores[MEMBERS];
    static bool there[MEMBERS];
    struct gather g;
    memset(there, 0, sizeof there);
    assert_true(run_op(op, *c, &g));
    for (uint32_t i = 0; i < g.count; i++) {
        uint32_t n = number_of(gather_member(&g.entries[i]), MEMBERS);
        assert_false(there[n]);
        there[n] = true;
        scores[n] = g.entries[i].score;
    }
    for (uint32_t n = 0; n < m->members; n++) {
        double score = 0;
        assert_int_equal(there[n], wanted(m, c, op, n, &score));
        if (there[n]) assert_true(same_score(scores[n], score));
    }
    expect_sorted(&g);
    if (g.count > 0) expect_built(&g);
    gather_free(&g);
}

static void test_against_arrays(void **state)
{
    (void)state;
    static const uint32_t members[] = {10, 150, MEMBERS};
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        limits_set(limits);
        for (uint32_t k = 0; k < COUNT_OF(members); k++) {
            struct model *m = model_new(limits * 10 + k, members[k]);
            for (uint32_t i = 0; i < 40; i++) {
                struct choice c;
                choose(m, &c);
                for (enum op op = UNION; op < OPS; op++)
                    expect_op(m, &c, op);
            }
            model_free(m);
        }
    }
    limits_set(0);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct model *m = model_new(5, 300);
    for (uint32_t k = 0; k < 20; k++) {
        struct choice c;
        choose(m, &c);
        for (enum op op = UNION; op < OPS; op++) {
            bool fired = true;
            for (uint32_t nth = 1; fired; nth++) {
                struct gather g;
                struct record *r = NULL;
                mem_fault_arm(nth);
                bool ok = run_op(op, c, &g);
                if (ok) {
                    r = zset_try_build(BYTES_LIT("key"), &g);
                    if (r != NULL) assert_int_equal(zset_len(r), g.count);
                    gather_free(&g);
                }
                fired = mem_fault_disarm();
                if (!fired) assert_non_null(r);
                if (r != NULL) record_free(r);
                assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
                assert_true(nth < 2000);
            }
        }
    }
    model_free(m);
}

/* What the model says as well, said aloud. */
static void test_what_is_no_number(void **state)
{
    (void)state;
    struct record *inf = zset_try_new(BYTES_LIT("key"), -1),
                  *five = zset_try_new(BYTES_LIT("k"), -1),
                  *minus = zset_try_new(BYTES_LIT("l"), -1);
    assert_int_equal(zset_put(&inf, BYTES_LIT("a"), (double)INFINITY), 1);
    assert_int_equal(zset_put(&minus, BYTES_LIT("a"), -(double)INFINITY), 1);
    assert_int_equal(zset_put(&five, BYTES_LIT("a"), 5), 1);
    static const struct {
        double weight, minus_weight, score;
    } cases[] = {
        {1, 1, 0}, /* inf - inf */
        {1, -1, (double)INFINITY},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int inter = 0; inter < 2; inter++) {
            struct gather g;
            struct zset_source s[] = {{inf, cases[i].weight, 0}, {minus, cases[i].minus_weight, 0}};
            assert_true((inter ? zset_inter : zset_union)(s, 2, ZSET_SUM, &g));
            assert_true(g.entries[0].score == cases[i].score);
            gather_free(&g);
        }
    }
    /* 0 times infinity: 0 where it begins; a sum that it is added to becomes 0, but for unions. */
    struct gather g;
    struct zset_source first[] = {{inf, 0, 0}, {five, 1, 0}},
                       second[] = {{five, 1, 0}, {inf, 0, 0}};
    assert_true(zset_inter(first, 2, ZSET_SUM, &g));
    assert_true(g.entries[0].score == 5);
    gather_free(&g);
    assert_true(zset_inter(second, 2, ZSET_SUM, &g));
    assert_true(g.entries[0].score == 0);
    gather_free(&g);
    struct zset_source united[] = {{five, 1, 0}, {inf, 0, 0}};
    assert_true(zset_union(united, 2, ZSET_SUM, &g));
    assert_true(g.entries[0].score == 5);
    gather_free(&g);
    record_free(inf);
    record_free(five);
    record_free(minus);
    assert_all_freed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_arrays),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_what_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
