#include "shard/types/set_algebra.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/hash.h"
#include "shard/types/value.h"
#include "tests/unit/shard/types/texts.h"

#define MEMBERS 3000u
#define SETS_MAX 12u

enum op { INTER, UNION, DIFF, OPS };

struct model {
    struct record *sets[SETS_MAX];
    bool has[SETS_MAX][MEMBERS];
    uint32_t members; /* drawn from so many */
    struct rng rng;
};

/* Members of one kind every fourth time: sets of integers stay intsets. */
static uint32_t draw(struct model *m, bool integers)
{
    uint32_t n = (uint32_t)rng_below(&m->rng, m->members);
    return integers && n / 4 * 4 + 2 < m->members ? n / 4 * 4 + 2 : n;
}

static void fill(struct model *m, uint32_t i, uint32_t draws)
{
    uint8_t text[TEXT_MAX];
    bool integers = rng_below(&m->rng, 3) == 0;
    m->sets[i] = set_try_new(BYTES_LIT("key"), BYTES_LIT("1"), 0, -1);
    assert_non_null(m->sets[i]);
    for (uint32_t k = 0; k < draws; k++) {
        uint32_t n = draw(m, integers);
        assert_true(set_add(&m->sets[i], text_of(n, text)) >= 0);
        m->has[i][n] = true;
    }
}

/* Sets of all sizes. */
static struct model *model_new(uint64_t seed, uint32_t members)
{
    static const uint32_t draws[] = {1, 3, 10, 60, 200, 800, 3000};
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    m->members = members;
    rng_seed(&m->rng, seed);
    for (uint32_t i = 0; i < SETS_MAX; i++)
        fill(m, i, draws[rng_below(&m->rng, COUNT_OF(draws))]);
    return m;
}

static void model_free(struct model *m)
{
    for (uint32_t i = 0; i < SETS_MAX; i++)
        record_free(m->sets[i]);
    mem_free(MEM_TEST, m, sizeof *m);
    assert_all_freed();
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
}

/* A choice of sets, absent ones and repetitions among them. */
struct choice {
    uint32_t count;
    int32_t index[SETS_MAX]; /* -1: absent */
    const struct record *sets[SETS_MAX];
};

static void choose(struct model *m, struct choice *c, bool absent)
{
    c->count = 1 + (uint32_t)rng_below(&m->rng, SETS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        bool none = absent && rng_below(&m->rng, 12) == 0;
        c->index[i] = none ? -1 : (int32_t)rng_below(&m->rng, SETS_MAX);
        c->sets[i] = none ? NULL : m->sets[c->index[i]];
    }
}

static bool has(const struct model *m, const struct choice *c, uint32_t i, uint32_t n)
{
    return c->index[i] >= 0 && m->has[c->index[i]][n];
}

static bool wanted(const struct model *m, const struct choice *c, enum op op, uint32_t n)
{
    uint32_t in = 0;
    for (uint32_t i = 0; i < c->count; i++)
        in += has(m, c, i, n);
    if (op == INTER) return in == c->count;
    return op == UNION ? in > 0 : in == 1 && has(m, c, 0, n);
}

struct told {
    uint32_t times[MEMBERS];
    uint32_t total, shown, stop_at;
};

static bool take(void *ctx, struct set_member *m, double score)
{
    (void)score;
    struct told *t = ctx;
    t->times[number_of(set_member_text(m), MEMBERS)]++;
    return ++t->total != t->stop_at;
}

static void show(void *ctx, struct set_member *m)
{
    struct told *t = ctx;
    assert_int_equal(set_member_hash(m), hash_bytes(set_member_text(m)));
    t->shown++;
}

static bool run_op(enum op op, struct choice *c, struct told *t, bool shown)
{
    struct set_sink sink = {.take = take, .prefetch = shown ? show : NULL, .ctx = t};
    if (op == UNION) return set_union(c->sets, c->count, &sink);
    if (op == DIFF) return set_diff(c->sets, c->count, &sink);
    set_inter(c->sets, c->count, &sink);
    return true;
}

static uint32_t expect_op(struct model *m, struct choice c, enum op op)
{
    static struct told t;
    uint32_t total = 0;
    t = (struct told){0};
    assert_true(run_op(op, &c, &t, c.count % 2 == 0));
    for (uint32_t n = 0; n < m->members; n++) {
        bool want = wanted(m, &c, op, n);
        assert_int_equal(t.times[n], want);
        total += want;
    }
    assert_int_equal(t.total, total);
    return total;
}

/* The sink says when it has enough: SINTERCARD … LIMIT. */
static void expect_limit(struct model *m, struct choice c, enum op op, uint32_t total)
{
    static struct told t;
    if (total == 0) return;
    t = (struct told){.stop_at = 1 + (uint32_t)rng_below(&m->rng, total)};
    assert_true(run_op(op, &c, &t, false));
    assert_int_equal(t.total, t.stop_at);
}

static void expect_each(const struct model *m, const struct choice *c)
{
    static struct told t;
    t = (struct told){0};
    set_each(c->sets, c->count, &(struct set_sink){.take = take, .ctx = &t});
    for (uint32_t n = 0; n < m->members; n++) {
        uint32_t in = 0;
        for (uint32_t i = 0; i < c->count; i++)
            in += has(m, c, i, n);
        assert_int_equal(t.times[n], in);
    }
}

/* By way of members as they come: each where the first set has it. */
struct in_order {
    const struct choice *c;
    uint32_t set, total;
    struct set_iter it;
    char tmp[NUM_I64_TEXT_MAX];
};

static bool take_in_order(void *ctx, struct set_member *m, double score)
{
    struct in_order *o = ctx;
    struct bytes next;
    (void)score;
    for (;;) {
        const struct record *r = o->c->sets[o->set];
        if (r != NULL && set_iter_next(&o->it, o->tmp, &next)) {
            if (bytes_equal(next, set_member_text(m))) break;
            bool before = false; /* what is passed over stood in a set before */
            for (uint32_t i = 0; i < o->set; i++)
                before |= o->c->sets[i] != NULL && set_has(o->c->sets[i], next);
            assert_true(before);
            continue;
        }
        assert_true(++o->set < o->c->count);
        if (o->c->sets[o->set] != NULL) set_iter_start(o->c->sets[o->set], &o->it);
    }
    o->total++;
    return true;
}

/* True: it was done in order. */
static bool expect_in_order(const struct choice *c, uint32_t total)
{
    struct in_order o = {.c = c};
    if (c->sets[0] != NULL) set_iter_start(c->sets[0], &o.it);
    if (!set_union_in_order(c->sets, c->count,
                            &(struct set_sink){.take = take_in_order, .ctx = &o})) {
        assert_int_equal(o.total, 0);
        return false;
    }
    assert_int_equal(o.total, total);
    return true;
}

static void test_against_arrays(void **state)
{
    (void)state;
    static const uint32_t members[] = {12, 150, MEMBERS};
    uint32_t in_order = 0;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        limits_set(limits);
        for (uint32_t k = 0; k < COUNT_OF(members); k++) {
            struct model *m = model_new(limits * 10 + k, members[k]);
            for (uint32_t i = 0; i < 40; i++) {
                struct choice c;
                choose(m, &c, i % 2 == 0);
                expect_each(m, &c);
                for (enum op op = INTER; op < OPS; op++)
                    expect_limit(m, c, op, expect_op(m, c, op));
                in_order += expect_in_order(&c, expect_op(m, c, UNION));
            }
            model_free(m);
        }
    }
    limits_set(0);
    assert_in_range(in_order, 100, 400); /* both ways */
}

/* Where many sets are gathered any allocation may fail, and then nothing was told. */
static void expect_survives(struct model *m, const struct choice *c, enum op op)
{
    static struct told t;
    uint32_t failures = 0;
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct choice again = *c;
        t = (struct told){0};
        mem_fault_arm(nth);
        bool ok = run_op(op, &again, &t, false);
        fired = mem_fault_disarm();
        assert_int_equal(ok, !fired);
        if (!ok) assert_int_equal(t.total, 0);
        failures += !ok;
    }
    assert_true(failures > 1);
    (void)expect_op(m, *c, op);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct model *m = mem_zalloc(MEM_TEST, sizeof *m);
    struct choice many = {.count = SETS_MAX}, large = {.count = SETS_MAX / 2};
    m->members = 400;
    rng_seed(&m->rng, 5);
    for (uint32_t i = 0; i < SETS_MAX; i++)
        fill(m, i, i > 0 && i < SETS_MAX / 2 ? 10 : 800);
    for (uint32_t i = 0; i < SETS_MAX; i++) {
        many.index[i] = large.index[i] = (int32_t)i;
        many.sets[i] = large.sets[i] = m->sets[i];
    }
    expect_survives(m, &many, UNION);
    expect_survives(m, &large, DIFF); /* one large set without five small ones */
    model_free(m);
}

/* ---- which way Redis goes, and what encoding comes of it */

static struct record *of_integers(uint32_t count)
{
    char text[NUM_I64_TEXT_MAX];
    struct record *r = set_try_new(BYTES_LIT("key"), BYTES_LIT("1"), count, -1);
    assert_non_null(r);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(set_add(&r, bytes_view(text, num_format_u64(text, i))), 1);
    return r;
}

static void test_difference_as_a_copy(void **state)
{
    (void)state;
    struct record *ten = of_integers(10), *one = of_integers(1), *five = of_integers(5);
    const struct record *few[] = {ten, one, one, one};        /* 40 / 2 > 13 */
    const struct record *equal[] = {ten, five, NULL, five};   /* 30 / 2 < 20 */
    const struct record *again[] = {ten, one, one, one, ten}; /* empty */
    const struct record *none[] = {NULL, one};
    const struct record *half[] = {one, NULL, NULL}; /* 1 / 2 = 0, not over 1 */
    assert_true(set_diff_is_copy(few, 4));
    assert_false(set_diff_is_copy(equal, 4));
    assert_false(set_diff_is_copy(again, 5));
    assert_false(set_diff_is_copy(none, 2));
    assert_false(set_diff_is_copy(half, 3));
    record_free(ten);
    record_free(one);
    record_free(five);
    assert_all_freed();
}

static void expect_like(struct record *r, const char *encoding)
{
    struct record *like = set_try_new_like(BYTES_LIT("other"), r);
    assert_non_null(like);
    assert_string_equal(value_encoding_name(like), encoding);
    assert_int_equal(set_len(like), 0);
    struct set_iter it;
    struct set_member m;
    set_iter_start(r, &it);
    while (set_iter_next_member(&it, &m))
        assert_true(set_add_absent(&like, &m));
    assert_string_equal(value_encoding_name(like), encoding);
    assert_int_equal(value_digest(like), value_digest(r));
    assert_true(value_check(like));
    record_free(like);
    record_free(r);
}

static void test_new_like_another(void **state)
{
    (void)state;
    expect_like(of_integers(512), "intset");
    expect_like(of_integers(513), "hashtable");
    struct record *r = of_integers(513);
    while (set_len(r) > 512) /* a table for good, but its members would be an intset again */
        assert_true(set_remove(&r, BYTES_LIT("7")) || set_remove(&r, BYTES_LIT("8")));
    expect_like(r, "intset");
    r = of_integers(127);
    assert_int_equal(set_add(&r, BYTES_LIT("x")), 1);
    expect_like(r, "listpack");
    r = of_integers(128);
    assert_int_equal(set_add(&r, BYTES_LIT("x")), 1);
    assert_true(set_remove(&r, BYTES_LIT("x")));
    expect_like(r, "intset");
    r = of_integers(200);
    assert_int_equal(set_add(&r, BYTES_LIT("x")), 1);
    expect_like(r, "hashtable");
    r = of_integers(3);
    assert_int_equal(
        set_add(&r, BYTES_LIT("01234567890123456789012345678901234567890123456789012345678901234")),
        1);
    expect_like(r, "hashtable");
    assert_all_freed();
}

static void expect_result(uint64_t at_least, const char *encoding)
{
    struct record *r = set_try_new_result(BYTES_LIT("key"), at_least);
    assert_non_null(r);
    assert_string_equal(value_encoding_name(r), encoding);
    record_free(r);
}

static void test_new_result(void **state)
{
    (void)state;
    expect_result(0, "intset");
    expect_result(512, "intset"); /* perhaps of integers */
    expect_result(513, "hashtable");
    type_limits.set_listpack_entries = 1000;
    expect_result(600, "intset"); /* perhaps a listpack of names */
    expect_result(1001, "hashtable");
    limits_set(0);
    assert_all_freed();
}

/* Members that are asked of sets of every encoding, and added to them. */
static void test_members_on_their_way(void **state)
{
    (void)state;
    struct record *numbers = of_integers(5), *table = of_integers(600), *packed = of_integers(3);
    assert_int_equal(set_add(&packed, BYTES_LIT("x")), 1);
    struct set_iter it;
    struct set_member m;
    set_iter_start(numbers, &it);
    for (int64_t i = 0; i < 5; i++) {
        assert_true(set_iter_next_member(&it, &m));
        assert_true(set_has_member(numbers, &m));
        assert_false(m.knows & SET_KNOWS_TEXT);
        assert_int_equal(m.number, i);
        assert_true(set_has_member(table, &m));
        assert_int_equal(set_has_member(packed, &m), i < 3);
        assert_int_equal(set_add_member(&packed, &m), i >= 3);
    }
    assert_false(set_iter_next_member(&it, &m));
    static const char *const others[] = {"05", "x", "", "-0", "99999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        set_member_of(&m, bytes_of(others[i]));
        assert_false(set_member_is_number(&m));
        assert_false(set_has_member(numbers, &m));
        assert_false(set_has_member(table, &m));
        assert_int_equal(set_has_member(packed, &m), i == 1);
    }
    set_member_of(&m, BYTES_LIT("4"));
    assert_true(set_has_member(numbers, &m));
    assert_int_equal(set_add_member(&numbers, &m), 0);
    record_free(numbers);
    record_free(table);
    record_free(packed);
    assert_all_freed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_arrays),       cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_difference_as_a_copy), cmocka_unit_test(test_new_like_another),
        cmocka_unit_test(test_new_result),           cmocka_unit_test(test_members_on_their_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
