#include "shard/types/zset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/assert.h"
#include "shard/types/value.h"
#include "tests/unit/shard/types/texts.h"

#define MEMBERS 600u

/* The model: members in order, and where each is (or not). */
struct entry {
    double score;
    uint32_t n;
};
struct run {
    struct record *r;
    struct entry order[MEMBERS];
    uint64_t count;
    struct rng rng;
    uint32_t members;
    uint32_t scores; /* kinds of scores, see draw_score */
    uint32_t fail_one_in;
};

static uint8_t text_a[TEXT_MAX], text_b[TEXT_MAX];

static bool before(const struct entry *a, const struct entry *b)
{
    if (a->score != b->score) return a->score < b->score;
    return bytes_compare(text_of(a->n, text_a), text_of(b->n, text_b)) < 0;
}

static int64_t model_find(const struct run *run, uint32_t n)
{
    for (uint64_t i = 0; i < run->count; i++) {
        if (run->order[i].n == n) return (int64_t)i;
    }
    return -1;
}

static void model_remove(struct run *run, uint64_t at, uint64_t count)
{
    memmove(run->order + at, run->order + at + count,
            (run->count - at - count) * sizeof run->order[0]);
    run->count -= count;
}

static void model_put(struct run *run, uint32_t n, double score)
{
    int64_t old = model_find(run, n);
    if (old >= 0 && run->order[old].score == score) return; /* 0 and -0 are the same score */
    if (old >= 0) model_remove(run, (uint64_t)old, 1);
    struct entry e = {score, n};
    uint64_t at = 0;
    while (at < run->count && before(&run->order[at], &e))
        at++;
    memmove(run->order + at + 1, run->order + at, (run->count - at) * sizeof run->order[0]);
    run->order[at] = e;
    run->count++;
}

static double draw_score(struct run *run)
{
    static const double odd[] = {0.0,        -0.0,       INFINITY,    -INFINITY, 1e300, 5e-324,
                                 2147483647, 2147483648, -2147483649, 0.1,       3.5,   1.0 / 3,
                                 0x1.8p60,   0x1p63,     -0x1p63,     16777217,  1e-7};
    struct rng *rng = &run->rng;
    switch (run->scores == 0 ? rng_below(rng, 4) : run->scores) {
    case 1:
        return 7;
    case 2:
        return (double)rng_below(rng, 5);
    case 3:
        return (double)rng_below(rng, 100000) - 50000;
    case 4:
        return (double)rng_below(rng, 100000000) / 997 - 20000;
    default:
        return odd[rng_below(rng, COUNT_OF(odd))];
    }
}

static void compare_walk(struct run *run, uint64_t rank, int step)
{
    char tmp[NUM_I64_TEXT_MAX];
    struct zset_iter it;
    struct bytes member;
    double score;
    zset_iter_start(run->r, rank, step, &it);
    for (int64_t i = (int64_t)rank; rank < run->count && i >= 0 && i < (int64_t)run->count;
         i += step) {
        assert_true(zset_iter_next(&it, tmp, &member, &score));
        assert_int_equal(number_of(member, MEMBERS), run->order[i].n);
        assert_memory_equal(&score, &run->order[i].score, sizeof score);
    }
    assert_false(zset_iter_next(&it, tmp, &member, &score));
}

static void compare_scores(struct run *run)
{
    struct zset_range range = {.min = draw_score(run),
                               .max = draw_score(run),
                               .min_open = rng_below(&run->rng, 2) == 0,
                               .max_open = rng_below(&run->rng, 2) == 0};
    uint64_t first = 0, end = 0, got;
    for (uint64_t i = 0; i < run->count; i++) {
        double s = run->order[i].score;
        first += range.min_open ? s <= range.min : s < range.min;
        end += range.max_open ? s < range.max : s <= range.max;
    }
    uint64_t expected = end > first ? end - first : 0;
    assert_int_equal(zset_count_scores(run->r, &range, &got), expected);
    assert_int_equal(got, first);
}

static void compare_lex(struct run *run)
{
    if (run->scores != 1) return;
    struct zset_lex range = {.min_open = rng_below(&run->rng, 2) == 0,
                             .max_open = rng_below(&run->rng, 2) == 0,
                             .min_unbounded = rng_below(&run->rng, 8) == 0,
                             .max_unbounded = rng_below(&run->rng, 8) == 0};
    uint8_t min[TEXT_MAX], max[TEXT_MAX];
    range.min = text_of((uint32_t)rng_below(&run->rng, MEMBERS), min);
    range.max = text_of((uint32_t)rng_below(&run->rng, MEMBERS), max);
    uint64_t first = 0, end = 0, got;
    for (uint64_t i = 0; i < run->count; i++) {
        struct bytes member = text_of(run->order[i].n, text_a);
        int low = bytes_compare(member, range.min), high = bytes_compare(member, range.max);
        first += !range.min_unbounded && (range.min_open ? low <= 0 : low < 0);
        end += range.max_unbounded || (range.max_open ? high < 0 : high <= 0);
    }
    uint64_t expected = end > first ? end - first : 0;
    assert_int_equal(zset_count_lex(run->r, &range, &got), expected);
    if (expected > 0) assert_int_equal(got, first);
    range.empty = true;
    assert_int_equal(zset_count_lex(run->r, &range, &got), 0);
}

static void count_one(void *ctx, struct bytes member, double score)
{
    struct run *run = ctx;
    int64_t at = model_find(run, number_of(member, MEMBERS));
    assert_true(at >= 0);
    assert_memory_equal(&score, &run->order[at].score, sizeof score);
    run->order[at].n |= 1u << 31;
}

static void compare(struct run *run)
{
    char tmp[NUM_I64_TEXT_MAX];
    double score;
    uint64_t rank;
    assert_true(value_check(run->r));
    assert_int_equal(zset_len(run->r), run->count);
    assert_int_equal((int64_t)value_bytes(run->r), mem_thread_data_bytes());
    compare_walk(run, 0, 1);
    compare_walk(run, rng_below(&run->rng, run->count + 1), 1);
    compare_walk(run, rng_below(&run->rng, run->count + 1), -1);
    for (uint32_t n = 0; n < run->members; n++) {
        int64_t at = model_find(run, n);
        assert_int_equal(zset_score(run->r, text_of(n, text_a), &score), at >= 0);
        if (at >= 0) assert_memory_equal(&score, &run->order[at].score, sizeof score);
        assert_int_equal(zset_rank(run->r, text_of(n, text_a), &rank), at >= 0);
        if (at >= 0) assert_int_equal(rank, at);
    }
    compare_scores(run);
    compare_lex(run);
    if (run->count == 0) return;
    uint32_t n = number_of(zset_random(run->r, &run->rng, tmp, &score), MEMBERS);
    assert_true(run->order[model_find(run, n)].score == score);
    uint64_t cursor = 0;
    do
        cursor = zset_scan(run->r, cursor, count_one, run);
    while (cursor != 0);
    for (uint64_t i = 0; i < run->count; i++) {
        assert_true(run->order[i].n >> 31);
        run->order[i].n &= ~(1u << 31);
    }
}

static void put(struct run *run, uint32_t n)
{
    double score = draw_score(run);
    int64_t old = model_find(run, n);
    if (old >= 0 && run->scores != 1 && rng_below(&run->rng, 3) == 0)
        score = run->order[old].score + (double)rng_below(&run->rng, 2);
    if (isnan(score)) return;
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    int result = zset_put(&run->r, text_of(n, text_a), score);
    disarm_fault(armed, result != -1);
    if (result == -1) return;
    assert_int_equal(result, old < 0);
    if (record_encoding(run->r) == ENC_LISTPACK) score += 0.0; /* which keeps no -0 */
    model_put(run, n, score);
}

static void step(struct run *run, uint32_t puts_in_ten)
{
    uint32_t n = (uint32_t)rng_below(&run->rng, run->members),
             dice = (uint32_t)rng_below(&run->rng, 10);
    if (dice < puts_in_ten) {
        put(run, n);
        return;
    }
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    if (dice < 9) {
        int64_t at = model_find(run, n);
        assert_int_equal(zset_remove(&run->r, text_of(n, text_a)), at >= 0);
        if (at >= 0) model_remove(run, (uint64_t)at, 1);
    } else {
        uint64_t first = rng_below(&run->rng, run->count + 1), few = rng_below(&run->rng, 5);
        if (few > run->count - first) few = run->count - first;
        zset_remove_ranks(&run->r, first, few);
        model_remove(run, first, few);
    }
    disarm_fault(armed, true);
}

static void run_model(uint64_t seed, uint32_t limits, uint32_t members, uint32_t scores,
                      uint32_t fail_one_in)
{
    struct run run = {.members = members, .scores = scores, .fail_one_in = fail_one_in};
    limits_set(limits);
    rng_seed(&run.rng, seed);
    run.r = zset_try_new(BYTES_LIT("a key"), seed % 2 == 0 ? -1 : 99);
    assert_non_null(run.r);
    for (uint32_t i = 0; i < 2500; i++) {
        step(&run, i / 800 == 1 ? 3 : 8);
        if (i % 151 == 0 || i < 40) compare(&run);
    }
    compare(&run);
    assert_int_equal(record_expire_ms(run.r), seed % 2 == 0 ? -1 : 99);
    while (!value_free_slice(run.r, 50)) {
    }
    assert_all_freed();
    limits_set(0);
}

/* One member "m" of score 5, in either encoding; then zset_update() of it. */
static void expect_update(bool full, const char *member, uint32_t how, double score,
                          enum zset_result result, double after)
{
    limits_set(0);
    struct record *r = zset_try_new(BYTES_LIT("k"), -1);
    assert_non_null(r);
    assert_int_equal(zset_put(&r, BYTES_LIT("m"), 5), 1);
    if (full) assert_true(zset_try_expect(&r, 100000, 0));
    double out = score, held = NAN;
    assert_int_equal(zset_update(&r, bytes_of(member), how, &out), result);
    if (result <= ZSET_MOVED) assert_true(out == after);
    bool there = zset_score(r, bytes_of(member), &held);
    assert_int_equal(there, !isnan(after));
    if (there) assert_true(held == after);
    assert_true(value_check(r));
    record_free(r);
    assert_all_freed();
}

static void test_update(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        expect_update(full, "m", 0, 7, ZSET_MOVED, 7);
        expect_update(full, "m", 0, 5, ZSET_SAME, 5);
        expect_update(full, "n", 0, 7, ZSET_ADDED, 7);
        expect_update(full, "m", ZSET_NX, 7, ZSET_REFUSED, 5);
        expect_update(full, "n", ZSET_NX, 7, ZSET_ADDED, 7);
        expect_update(full, "m", ZSET_XX, 7, ZSET_MOVED, 7);
        expect_update(full, "n", ZSET_XX, 7, ZSET_REFUSED, NAN);
        expect_update(full, "m", ZSET_GT, 7, ZSET_MOVED, 7);
        expect_update(full, "m", ZSET_GT, 5, ZSET_REFUSED, 5);
        expect_update(full, "m", ZSET_GT, 4, ZSET_REFUSED, 5);
        expect_update(full, "n", ZSET_GT, 4, ZSET_ADDED, 4);
        expect_update(full, "m", ZSET_LT, 4, ZSET_MOVED, 4);
        expect_update(full, "m", ZSET_LT, 5, ZSET_REFUSED, 5);
        expect_update(full, "m", ZSET_LT, 6, ZSET_REFUSED, 5);
        expect_update(full, "m", ZSET_INCR, 2, ZSET_MOVED, 7);
        expect_update(full, "m", ZSET_INCR, 0, ZSET_SAME, 5);
        expect_update(full, "n", ZSET_INCR, 2, ZSET_ADDED, 2);
        expect_update(full, "n", ZSET_INCR | ZSET_XX, 2, ZSET_REFUSED, NAN);
        expect_update(full, "m", ZSET_INCR | ZSET_NX, 2, ZSET_REFUSED, 5);
        expect_update(full, "m", ZSET_INCR | ZSET_GT, -2, ZSET_REFUSED, 5);
        expect_update(full, "m", ZSET_INCR | ZSET_GT | ZSET_XX, 2, ZSET_MOVED, 7);
        expect_update(full, "m", ZSET_INCR | ZSET_LT, -0.5, ZSET_MOVED, 4.5);
        expect_update(full, "m", ZSET_INCR, INFINITY, ZSET_MOVED, INFINITY);
    }
}

static void test_update_to_no_number(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct record *r = zset_try_new(BYTES_LIT("k"), -1);
        assert_non_null(r);
        assert_int_equal(zset_put(&r, BYTES_LIT("m"), INFINITY), 1);
        if (full) assert_true(zset_try_expect(&r, 100000, 0));
        double score = -INFINITY;
        assert_int_equal(zset_update(&r, BYTES_LIT("m"), ZSET_INCR | ZSET_GT, &score), ZSET_NAN);
        assert_true(zset_score(r, BYTES_LIT("m"), &score));
        assert_true(isinf(score));
        record_free(r);
        assert_all_freed();
    }
}

static void test_against_an_array(void **state)
{
    (void)state;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        for (uint32_t scores = 0; scores < 6; scores++)
            run_model(1 + limits, limits, limits == 3 ? 60 : 12, scores, 0);
        run_model(11 + limits, limits, MEMBERS, limits, 0);
    }
    run_model(15, 0, MEMBERS, 4, 0);
}

static void test_failing_allocations_change_nothing(void **state)
{
    (void)state;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        run_model(21 + limits, limits, 12, 0, 2);
        run_model(31 + limits, limits, 250, 3, 2);
    }
}

static struct record *with_members(uint32_t count)
{
    struct record *r = zset_try_new(BYTES_LIT("key"), -1);
    char text[NUM_I64_TEXT_MAX];
    assert_non_null(r);
    for (uint32_t n = 0; n < count; n++) {
        assert_int_equal(zset_put(&r, bytes_view(text, num_format_u64(text, n)), n), 1);
    }
    return r;
}

static void test_encodings_change_at_the_thresholds(void **state)
{
    (void)state;
    uint8_t text[65] = {0};
    struct record *r = with_members(128);
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_int_equal(zset_put(&r, BYTES_LIT("5"), 3), 0);
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_int_equal(zset_put(&r, BYTES_LIT("x"), 3), 1);
    assert_string_equal(value_encoding_name(r), "skiplist");
    zset_remove_ranks(&r, 0, 129);
    assert_int_equal(zset_len(r), 0);
    assert_string_equal(value_encoding_name(r), "skiplist");
    record_free(r);
    r = with_members(2);
    assert_int_equal(zset_put(&r, bytes_view(text, 64), 1), 1);
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_int_equal(zset_put(&r, bytes_view(text, 65), 1), 1);
    assert_string_equal(value_encoding_name(r), "skiplist");
    record_free(r);
    r = with_members(2);
    assert_true(zset_try_expect(&r, 128, 64));
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_true(zset_try_expect(&r, 129, 1));
    assert_string_equal(value_encoding_name(r), "skiplist");
    assert_int_equal(zset_len(r), 2);
    record_free(r);
    assert_all_freed();
}

static double bytes_per_member(uint32_t count, bool rising, double scale)
{
    struct record *r = zset_try_new(BYTES_LIT("key"), -1);
    struct rng rng;
    char text[17];
    rng_seed(&rng, 3);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(text, "member:", 7);
        for (uint32_t k = 0, v = i; k < 9; k++, v /= 10)
            text[15 - k] = (char)('0' + v % 10);
        double score = rising ? i : (double)rng_below(&rng, 1u << 30);
        assert_int_equal(zset_put(&r, bytes_view(text, 16), score * scale), 1);
    }
    double bytes = (double)value_bytes(r) / count;
    record_free(r);
    return bytes;
}

static void test_sixteen_byte_members_take_few_bytes(void **state)
{
    (void)state;
    assert_true(bytes_per_member(100000, true, 1) < 56);
    assert_true(bytes_per_member(100000, false, 1) < 60);
    assert_true(bytes_per_member(100000, false, 0.1) < 68);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_update_to_no_number),
        cmocka_unit_test(test_against_an_array),
        cmocka_unit_test(test_failing_allocations_change_nothing),
        cmocka_unit_test(test_encodings_change_at_the_thresholds),
        cmocka_unit_test(test_sixteen_byte_members_take_few_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
