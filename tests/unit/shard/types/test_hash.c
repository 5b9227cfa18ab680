#include "shard/types/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/types/value.h"
#include "tests/unit/shard/types/texts.h"

#define FIELDS 600u
#define VALUES 500u
#define ABSENT UINT32_MAX

struct run {
    struct record *r;
    uint32_t value[FIELDS]; /* the model */
    uint64_t count;
    struct rng rng;
    uint32_t fields; /* drawn from so many */
    uint32_t fail_one_in;
};

static void count_one(void *ctx, struct bytes field, struct bytes value)
{
    uint32_t **seen = ctx;
    uint32_t n = number_of(field, FIELDS);
    (*seen)[n]++;
    assert_int_equal(number_of(value, VALUES), seen[1][n]);
}

static void compare(struct run *run)
{
    uint8_t text[TEXT_MAX], other[TEXT_MAX];
    char tmp[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    struct bytes field, value;
    assert_true(value_check(run->r));
    assert_int_equal(hash_len(run->r), run->count);
    assert_int_equal(value_len(run->r), run->count);
    for (uint32_t n = 0; n < run->fields; n++) {
        bool there = hash_get(run->r, text_of(n, text), tmp, &value);
        assert_int_equal(there, run->value[n] != ABSENT);
        assert_int_equal(hash_has(run->r, text_of(n, text)), there);
        if (there) assert_true(bytes_equal(value, text_of(run->value[n], other)));
    }
    struct hash_iter it;
    uint64_t seen = 0;
    hash_iter_start(run->r, &it);
    while (hash_iter_next(&it, tmp, tmp_v, &field, &value)) {
        uint32_t n = number_of(field, FIELDS);
        assert_int_equal(number_of(value, VALUES), run->value[n]);
        seen++;
    }
    assert_int_equal(seen, run->count);
    if (run->count == 0) return;
    hash_random(run->r, &run->rng, tmp, tmp_v, &field, &value);
    assert_int_equal(number_of(value, VALUES), run->value[number_of(field, FIELDS)]);
    uint32_t counts[FIELDS] = {0}, *ctx[2] = {counts, run->value};
    uint64_t cursor = 0;
    do
        cursor = hash_scan(run->r, cursor, count_one, ctx);
    while (cursor != 0);
    for (uint32_t n = 0; n < FIELDS; n++)
        assert_int_equal(counts[n], run->value[n] != ABSENT);
}

static void step(struct run *run, uint32_t sets_in_ten)
{
    uint8_t text[TEXT_MAX], other[TEXT_MAX];
    uint32_t n = (uint32_t)rng_below(&run->rng, run->fields),
             v = (uint32_t)rng_below(&run->rng, VALUES);
    bool armed = arm_fault(&run->rng, run->fail_one_in);
    if (rng_below(&run->rng, 10) < sets_in_ten) {
        enum hash_set_result result = hash_set(&run->r, text_of(n, text), text_of(v, other));
        disarm_fault(armed, result != HASH_NOMEM);
        if (result == HASH_NOMEM) return;
        assert_int_equal(result, run->value[n] == ABSENT ? HASH_ADDED : HASH_UPDATED);
        run->count += run->value[n] == ABSENT;
        run->value[n] = v;
    } else {
        bool there = hash_delete(&run->r, text_of(n, text));
        disarm_fault(armed, true);
        assert_int_equal(there, run->value[n] != ABSENT);
        run->count -= there;
        run->value[n] = ABSENT;
    }
}

static void check_bytes(const struct record *r)
{
    assert_int_equal((int64_t)value_bytes(r), mem_thread_data_bytes());
}

static void run_model(uint64_t seed, uint32_t limits, uint32_t fields, size_t key_len,
                      uint32_t fail_one_in)
{
    uint8_t key[TEXT_MAX] = {0};
    struct run run = {.fields = fields, .fail_one_in = fail_one_in};
    limits_set(limits);
    rng_seed(&run.rng, seed);
    memset(run.value, 0xff, sizeof run.value);
    run.r = hash_try_new(bytes_view(key, key_len), seed % 2 == 0 ? -1 : 12345);
    assert_non_null(run.r);
    for (uint32_t i = 0; i < 4000; i++) {
        step(&run, i / 1000 % 2 == 0 ? 8 : 3);
        if (i % 101 == 0 || i < 60) compare(&run);
        if (i % 101 == 0) check_bytes(run.r);
    }
    compare(&run);
    assert_int_equal(record_expire_ms(run.r), seed % 2 == 0 ? -1 : 12345);
    assert_int_equal(record_key(run.r).len, key_len);
    while (!value_free_slice(run.r, 50)) {
    }
    assert_all_freed();
    limits_set(0);
}

static void test_against_an_array(void **state)
{
    (void)state;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        run_model(1 + limits, limits, 8, 16, 0);
        run_model(11 + limits, limits, FIELDS, 16, 0);
    }
}

static void test_keys_that_leave_no_room_inline(void **state)
{
    (void)state;
    run_model(21, 0, 8, 500, 0);
    run_model(22, 3, 60, 4000, 0);
}

static void test_failing_allocations_change_nothing(void **state)
{
    (void)state;
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        run_model(31 + limits, limits, 12, 16, 2);
        run_model(41 + limits, limits, FIELDS, 16, 2);
        run_model(51 + limits, limits, 40, 480, 2);
    }
}

static struct record *with_fields(uint32_t count)
{
    uint8_t text[TEXT_MAX];
    struct record *r = hash_try_new(BYTES_LIT("key"), -1);
    assert_non_null(r);
    for (uint32_t n = 0; n < count; n++) {
        size_t len = num_format_u64((char *)text, n);
        assert_int_equal(hash_set(&r, bytes_view(text, len), BYTES_LIT("v")), HASH_ADDED);
    }
    return r;
}

static void test_encodings_change_at_the_thresholds(void **state)
{
    (void)state;
    uint8_t text[65] = {0};
    struct record *r = with_fields(512);
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_int_equal(hash_set(&r, BYTES_LIT("0"), BYTES_LIT("w")), HASH_UPDATED);
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_int_equal(hash_set(&r, BYTES_LIT("512"), BYTES_LIT("w")), HASH_ADDED);
    assert_string_equal(value_encoding_name(r), "hashtable");
    assert_int_equal(hash_len(r), 513);
    record_free(r);
    for (int is_value = 0; is_value < 2; is_value++) {
        r = with_fields(2);
        struct bytes longest = bytes_view(text, 64), longer = bytes_view(text, 65);
        assert_int_equal(
            hash_set(&r, is_value ? BYTES_LIT("f") : longest, is_value ? longest : BYTES_LIT("v")),
            HASH_ADDED);
        assert_string_equal(value_encoding_name(r), "listpack");
        assert_int_equal(
            hash_set(&r, is_value ? BYTES_LIT("f") : longer, is_value ? longer : BYTES_LIT("v")),
            is_value ? HASH_UPDATED : HASH_ADDED);
        assert_string_equal(value_encoding_name(r), "hashtable");
        record_free(r);
    }
    r = with_fields(2);
    assert_true(hash_try_expect(&r, 64));
    assert_string_equal(value_encoding_name(r), "listpack");
    assert_true(hash_try_expect(&r, 65));
    assert_string_equal(value_encoding_name(r), "hashtable");
    assert_int_equal(hash_len(r), 2);
    record_free(r);
    assert_all_freed();
}

static void test_ten_small_fields_stay_small(void **state)
{
    (void)state;
    uint8_t field[16], value[16];
    struct record *r = hash_try_new(BYTES_LIT("key:000000000001"), -1);
    for (uint32_t n = 0; n < 10; n++) {
        memcpy(field, "field_x", 7);
        memcpy(value, "value_00x", 9);
        field[6] = value[8] = (uint8_t)('0' + n);
        assert_int_equal(hash_set(&r, bytes_view(field, 7), bytes_view(value, 9)), HASH_ADDED);
    }
    /* With the table's 14 or 15 bytes per key. */
    assert_true(value_bytes(r) + 15 <= 250);
    record_free(r);
}

static void test_random_reaches_every_field_about_equally(void **state)
{
    (void)state;
    enum { N = 700, DRAWS = 70000 };
    struct record *r = with_fields(N);
    assert_string_equal(value_encoding_name(r), "hashtable");
    static uint32_t drawn[N];
    struct rng rng;
    rng_seed(&rng, 5);
    for (int i = 0; i < DRAWS; i++) {
        char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
        struct bytes field, value;
        uint64_t n;
        hash_random(r, &rng, tmp_f, tmp_v, &field, &value);
        assert_true(num_parse_u64(field, &n));
        drawn[n]++;
    }
    for (int i = 0; i < N; i++) {
        assert_true(drawn[i] > 40);
        assert_true(drawn[i] < 190);
    }
    record_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_an_array),
        cmocka_unit_test(test_keys_that_leave_no_room_inline),
        cmocka_unit_test(test_failing_allocations_change_nothing),
        cmocka_unit_test(test_encodings_change_at_the_thresholds),
        cmocka_unit_test(test_ten_small_fields_stay_small),
        cmocka_unit_test(test_random_reaches_every_field_about_equally),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
