#include "shard/types/set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/types/value.h"
#include "tests/unit/shard/types/texts.h"

#define MEMBERS 700u

struct run {
    struct record *r;
    bool there[MEMBERS]; /* the model */
    uint64_t count;
    struct rng rng;
    uint32_t members; /* drawn from so many */
    bool integers;    /* of which only integers */
    uint32_t fail_one_in;
};

static void count_one(void *ctx, struct bytes member)
{
    ((uint32_t *)ctx)[number_of(member, MEMBERS)]++;
}

static void compare(struct run *run)
{
    uint8_t text[TEXT_MAX];
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes member;
    assert_true(value_check(run->r));
    assert_int_equal(set_len(run->r), run->count);
    assert_int_equal(value_len(run->r), run->count);
    assert_int_equal((int64_t)value_bytes(run->r), mem_thread_data_bytes());
    for (uint32_t n = 0; n < run->members; n++)
        assert_int_equal(set_has(run->r, text_of(n, text)), run->there[n]);
    uint32_t counts[MEMBERS] = {0};
    struct set_iter it;
    set_iter_start(run->r, &it);
    while (set_iter_next(&it, tmp, &member))
        count_one(counts, member);
    for (uint32_t n = 0; n < MEMBERS; n++)
        assert_int_equal(counts[n], run->there[n]);
    if (run->count == 0) return;
    assert_true(run->there[number_of(set_random(run->r, &run->rng, tmp), MEMBERS)]);
    uint64_t cursor = 0;
    do
        cursor = set_scan(run->r, cursor, count_one, counts);
    while (cursor != 0);
    for (uint32_t n = 0; n < MEMBERS; n++)
        assert_int_equal(counts[n], 2 * run->there[n]);
}

static void add(struct run *run, uint32_t n)
{
    uint8_t text[TEXT_MAX];
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    int result = set_add(&run->r, text_of(n, text));
    disarm_fault(armed, result != -1);
    if (result == -1) return;
    assert_int_equal(result, !run->there[n]);
    run->count += !run->there[n];
    run->there[n] = true;
}

static void remove_one(struct run *run, uint32_t n)
{
    uint8_t text[TEXT_MAX];
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    bool was = set_remove(&run->r, text_of(n, text));
    disarm_fault(armed, true);
    assert_int_equal(was, run->there[n]);
    run->count -= was;
    run->there[n] = false;
}

static void pop(struct run *run)
{
    char tmp[NUM_I64_TEXT_MAX];
    if (run->count == 0) return;
    struct bytes member = set_random(run->r, &run->rng, tmp);
    uint32_t n = number_of(member, MEMBERS);
    assert_true(set_remove(&run->r, member));
    assert_true(run->there[n]);
    run->there[n] = false;
    run->count--;
}

static void run_model(uint64_t seed, uint32_t limits, uint32_t members, bool integers,
                      uint32_t fail_one_in)
{
    uint8_t text[TEXT_MAX];
    struct run run = {.members = members, .integers = integers, .fail_one_in = fail_one_in};
    limits_set(limits);
    rng_seed(&run.rng, seed);
    run.r = set_try_new(BYTES_LIT("a key"), text_of(integers ? 2 : 3, text), 1,
                        seed % 2 == 0 ? -1 : 99);
    assert_non_null(run.r);
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t n = (uint32_t)rng_below(&run.rng, members),
                 dice = (uint32_t)rng_below(&run.rng, 10);
        if (integers) n = n / 4 * 4 + 2;
        if (integers && n >= members) continue;
        if (dice < (i / 1000 == 1 ? 3 : 7)) {
            add(&run, n);
        } else if (dice == 9) {
            pop(&run);
        } else {
            remove_one(&run, n);
        }
        if (i % 71 == 0 || i < 60) compare(&run);
    }
    compare(&run);
    assert_int_equal(record_expire_ms(run.r), seed % 2 == 0 ? -1 : 99);
    while (!value_free_slice(run.r, 50)) {
    }
    assert_all_freed();
    limits_set(0);
}

static void test_against_an_array(void **state)
{
    (void)state;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        for (int integers = 0; integers < 2; integers++) {
            run_model(1 + limits, limits, 12, integers, 0);
            run_model(11 + limits, limits, MEMBERS, integers, 0);
        }
    }
}

static void test_failing_allocations_change_nothing(void **state)
{
    (void)state;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        for (int integers = 0; integers < 2; integers++) {
            run_model(21 + limits, limits, 20, integers, 2);
            run_model(31 + limits, limits, MEMBERS, integers, 2);
        }
    }
}

static struct record *with_integers(uint64_t count, int64_t first)
{
    char text[NUM_I64_TEXT_MAX];
    struct record *r = set_try_new(BYTES_LIT("key"), BYTES_LIT("1"), 1, -1);
    assert_non_null(r);
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(set_add(&r, bytes_view(text, num_format_i64(text, first + (int64_t)i))),
                         1);
    }
    return r;
}

static void add_and_expect(struct record **r, const char *member, const char *encoding)
{
    assert_int_equal(set_add(r, bytes_of(member)), 1);
    assert_string_equal(value_encoding_name(*r), encoding);
    assert_true(set_has(*r, bytes_of(member)));
}

static void test_encodings_change_at_the_thresholds(void **state)
{
    (void)state;
    struct record *r = with_integers(512, 0);
    assert_string_equal(value_encoding_name(r), "intset");
    assert_int_equal(set_add(&r, BYTES_LIT("511")), 0);
    assert_string_equal(value_encoding_name(r), "intset");
    add_and_expect(&r, "512", "hashtable");
    record_free(r);
    r = with_integers(128, 0); /* no room for a 129th in a listpack */
    add_and_expect(&r, "a", "hashtable");
    record_free(r);
    r = with_integers(127, 0);
    add_and_expect(&r, "a", "listpack");
    add_and_expect(&r, "b", "hashtable");
    record_free(r);
    r = with_integers(3, 0);
    add_and_expect(&r, "0123456789012345678901234567890123456789012345678901234567890123",
                   "listpack");
    add_and_expect(&r, "01234567890123456789012345678901234567890123456789012345678901234",
                   "hashtable");
    record_free(r);
    type_limits.set_listpack_value = 3;
    r = with_integers(3, 999);
    add_and_expect(&r, "a", "hashtable"); /* 1000 and 1001 are too long for a listpack */
    record_free(r);
    limits_set(0);
    assert_all_freed();
}

static void new_and_expect(const char *first, uint64_t expected, const char *encoding)
{
    struct record *r = set_try_new(BYTES_LIT("key"), bytes_of(first), expected, -1);
    assert_non_null(r);
    assert_int_equal(set_len(r), 0);
    assert_string_equal(value_encoding_name(r), encoding);
    assert_int_equal(set_add(&r, bytes_of(first)), 1);
    assert_string_equal(value_encoding_name(r), encoding);
    record_free(r);
}

static void test_what_is_expected_chooses_the_encoding(void **state)
{
    (void)state;
    new_and_expect("5", 0, "intset");
    new_and_expect("5", 512, "intset");
    new_and_expect("5", 513, "hashtable");
    new_and_expect("x", 128, "listpack");
    new_and_expect("x", 129, "hashtable");
    new_and_expect("05", 1, "listpack");
    struct record *r = with_integers(3, 0);
    assert_true(set_try_expect(&r, 512));
    assert_string_equal(value_encoding_name(r), "intset");
    assert_true(set_try_expect(&r, 513));
    assert_string_equal(value_encoding_name(r), "hashtable");
    assert_int_equal(set_len(r), 3);
    record_free(r);
    assert_all_freed();
}

static void test_sixteen_byte_members_take_few_bytes(void **state)
{
    (void)state;
    struct record *r = set_try_new(BYTES_LIT("key"), BYTES_LIT("x"), 0, -1);
    enum { N = 100000 };
    char text[17];
    for (uint32_t i = 0; i < N; i++) {
        memcpy(text, "member:", 7);
        for (uint32_t k = 0, v = i; k < 9; k++, v /= 10)
            text[15 - k] = (char)('0' + v % 10);
        assert_int_equal(set_add(&r, bytes_view(text, 16)), 1);
    }
    assert_true(value_bytes(r) < (size_t)N * 39);
    record_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_an_array),
        cmocka_unit_test(test_failing_allocations_change_nothing),
        cmocka_unit_test(test_encodings_change_at_the_thresholds),
        cmocka_unit_test(test_what_is_expected_chooses_the_encoding),
        cmocka_unit_test(test_sixteen_byte_members_take_few_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
