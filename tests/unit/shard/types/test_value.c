#include "shard/types/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/hash.h"
#include "shard/types/hash.h"
#include "shard/types/list.h"
#include "shard/types/set.h"
#include "shard/types/str.h"
#include "shard/types/zset.h"
#include "tests/unit/shard/types/texts.h"

/* A value of `count` elements, put in from either side. */
static struct record *build(enum value_type t, uint32_t count, bool backwards)
{
    static uint8_t text[TEXT_MAX], other[TEXT_MAX];
    struct record *r = NULL;
    struct bytes key = BYTES_LIT("key");
    if (t == VALUE_STRING) r = str_try_new(key, text_of(count, text), 77);
    if (t == VALUE_LIST) r = list_try_new(key, 77);
    if (t == VALUE_SET) r = set_try_new(key, text_of(2, text), 0, 77);
    if (t == VALUE_HASH) r = hash_try_new(key, 77);
    if (t == VALUE_ZSET) r = zset_try_new(key, 77);
    assert_non_null(r);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = backwards ? count - 1 - i : i;
        struct bytes e = text_of(n, text);
        if (t == VALUE_LIST) assert_true(list_try_push(&r, backwards ? LIST_HEAD : LIST_TAIL, e));
        if (t == VALUE_SET) assert_int_equal(set_add(&r, e), 1);
        if (t == VALUE_HASH) assert_int_equal(hash_set(&r, e, text_of(n + 1, other)), HASH_ADDED);
        if (t == VALUE_ZSET) assert_int_equal(zset_put(&r, e, n / 3.0), 1);
    }
    return r;
}

static const uint32_t counts[] = {0, 1, 3, 40, 600};

static void each_value(void (*check)(enum value_type t, uint32_t count, struct record *r))
{
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        for (enum value_type t = VALUE_STRING; t <= VALUE_HASH; t++) {
            for (size_t i = 0; i < COUNT_OF(counts); i++) {
                limits_set(limits);
                struct record *r = build(t, counts[i], false);
                check(t, counts[i], r);
                record_free(r);
                limits_set(0);
                assert_all_freed();
            }
        }
    }
}

static void check_digest(enum value_type t, uint32_t count, struct record *r)
{
    for (uint32_t limits = 0; limits < LIMITS_COUNT; limits++) {
        limits_set(limits);
        struct record *twin = build(t, count, true);
        assert_true(value_digest(twin) == value_digest(r));
        record_free(twin);
        twin = build(t, count + 1, false);
        assert_true(value_digest(twin) != value_digest(r));
        record_free(twin);
    }
}

static void test_digest_depends_on_contents_alone(void **state)
{
    (void)state;
    each_value(check_digest);
}

static void check_copy(enum value_type t, uint32_t count, struct record *r)
{
    uint64_t digest = value_digest(r);
    bool fired = true;
    for (uint32_t nth = 1; fired; nth += 1 + nth / 8) {
        mem_fault_arm(nth);
        int64_t before = mem_thread_data_bytes();
        struct record *copy = value_try_copy(r, BYTES_LIT("a longer key"));
        fired = mem_fault_disarm();
        if (copy == NULL) {
            assert_true(fired);
            assert_int_equal(mem_thread_data_bytes(), before);
            continue;
        }
        assert_true(value_check(copy));
        assert_int_equal(record_type(copy), t);
        assert_int_equal(record_expire_ms(copy), 77);
        assert_true(bytes_equal(record_key(copy), BYTES_LIT("a longer key")));
        assert_true(value_digest(copy) == digest);
        assert_string_equal(value_encoding_name(copy), value_encoding_name(r));
        assert_int_equal((int64_t)value_bytes(copy), mem_thread_data_bytes() - before);
        record_free(copy);
    }
    assert_true(value_digest(r) == digest);
    if (t != VALUE_STRING) assert_int_equal(value_len(r), count);
}

static void test_copies_are_whole_or_not_there(void **state)
{
    (void)state;
    each_value(check_copy);
}

static void check_slices(enum value_type t, uint32_t count, struct record *r)
{
    (void)t;
    (void)count;
    struct record *copy = value_try_copy(r, BYTES_LIT("k"));
    assert_non_null(copy);
    uint64_t slices = 1, cost = value_free_cost(copy);
    while (!value_free_slice(copy, 7)) {
        slices++;
        if (record_is_full(copy)) assert_true(value_bytes(copy) > 0);
    }
    assert_true(slices <= 2 * (cost / 7 + 2)); /* sorted sets go through tree and table */
    assert_true(record_is_full(r) || slices == 1);
}

static void test_freeing_takes_slices(void **state)
{
    (void)state;
    each_value(check_slices);
}

static void check_prefetch(enum value_type t, uint32_t count, struct record *r)
{
    static uint8_t text[TEXT_MAX];
    (void)t;
    for (uint32_t n = 0; n < count + 2; n++) {
        uint64_t hash = hash_bytes(text_of(n, text));
        value_prefetch_bucket(r, hash);
        if (value_prefetch_item(r, hash)) {
            assert_true(record_is_full(r)); /* only tables have overflows */
            value_prefetch_overflow(r, hash);
        }
    }
    assert_true(value_check(r));
}

static void test_loading_ahead_reads_only_what_is_there(void **state)
{
    (void)state;
    each_value(check_prefetch);
}

static void test_names(void **state)
{
    (void)state;
    static const char *names[] = {"string", "list", "set", "zset", "hash", "stream"};
    for (enum value_type t = VALUE_STRING; t <= VALUE_STREAM; t++)
        assert_string_equal(value_type_name(t), names[t]);
    assert_string_equal(value_type_name(VALUE_NONE), "none");
    struct record *r = str_try_new(BYTES_LIT("k"), BYTES_LIT("12"), -1);
    assert_non_null(r);
    assert_string_equal(value_encoding_name(r), "int");
    assert_int_equal(value_len(r), 2);
    record_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest_depends_on_contents_alone),
        cmocka_unit_test(test_copies_are_whole_or_not_there),
        cmocka_unit_test(test_freeing_takes_slices),
        cmocka_unit_test(test_loading_ahead_reads_only_what_is_there),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
