#include "shard/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "shard/base/rng.h"

static void test_random_edits_match_a_plain_array(void **state)
{
    (void)state;
    enum { MODEL_BYTES = 1 << 16, STEPS = 20000 };
    static uint8_t model[MODEL_BYTES];
    size_t model_len = 0;
    struct rng r;
    rng_seed(&r, 1);
    struct buf b;
    buf_init(&b, MEM_TEST);
    for (int step = 0; step < STEPS; step++) {
        uint8_t chunk[300];
        size_t n = rng_below(&r, sizeof chunk);
        for (size_t i = 0; i < n; i++)
            chunk[i] = (uint8_t)rng_next(&r);
        if (model_len + n > MODEL_BYTES || rng_below(&r, 10) == 0) {
            size_t drop = rng_below(&r, model_len + 1);
            buf_consume(&b, drop);
            memmove(model, model + drop, model_len - drop);
            model_len -= drop;
        } else if (rng_below(&r, 2) == 0) {
            buf_add(&b, chunk, n);
            memcpy(model + model_len, chunk, n);
            model_len += n;
        } else {
            buf_add_byte(&b, 7);
            model[model_len++] = 7;
        }
        assert_true(b.cap >= b.len);
        assert_true(bytes_equal(buf_bytes(&b), bytes_view(model, model_len)));
    }
    assert_int_equal(mem_live_bytes(MEM_TEST), mem_good_size(b.cap));
    buf_free(&b);
    assert_null(b.data);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

static void test_addf_grows_to_fit(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, MEM_TEST);
    char expected[4096];
    size_t expected_len = 0;
    for (int width = 1; width < 60; width++) { /* meets every distance from the end, 0 included */
        buf_addf(&b, "%*d|", width, width);
        expected_len += (size_t)snprintf(expected + expected_len, sizeof expected - expected_len,
                                         "%*d|", width, width);
        assert_true(bytes_equal(buf_bytes(&b), bytes_view(expected, expected_len)));
    }
    buf_free(&b);
}

static void test_shrink_only_when_empty_and_large(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, MEM_TEST);
    buf_add(&b, "x", 1);
    buf_shrink(&b, 0);
    assert_int_equal(b.len, 1);
    buf_consume(&b, 1);
    buf_shrink(&b, b.cap);
    assert_non_null(b.data);
    buf_shrink(&b, b.cap - 1);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
    buf_free(&b);
}

static void test_try_room_survives_every_failure(void **state)
{
    (void)state;
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct buf b;
        buf_init(&b, MEM_TEST);
        mem_fault_arm(nth);
        bool all = true;
        for (size_t i = 0; i < 1000 && all; i++) {
            all = buf_try_room(&b, 17);
            assert_int_equal(b.len, i * 17); /* a failure changes nothing */
            if (!all) break;
            memset(b.data + b.len, (int)(i & 0xff), 17);
            b.len += 17;
        }
        fired = mem_fault_disarm();
        assert_int_equal(all, !fired);
        for (size_t i = 0; i < b.len; i++)
            assert_int_equal(b.data[i], i / 17 & 0xff);
        buf_free(&b);
        assert_int_equal(mem_live_bytes(MEM_TEST), 0);
    }
}

static void test_try_room_refuses_what_does_not_fit_a_size(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, MEM_TEST);
    buf_add(&b, "abc", 3);
    assert_false(buf_try_room(&b, SIZE_MAX));
    assert_false(buf_try_room(&b, SIZE_MAX / 2));
    assert_true(bytes_equal(buf_bytes(&b), BYTES_LIT("abc")));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_edits_match_a_plain_array),
        cmocka_unit_test(test_addf_grows_to_fit),
        cmocka_unit_test(test_shrink_only_when_empty_and_large),
        cmocka_unit_test(test_try_room_survives_every_failure),
        cmocka_unit_test(test_try_room_refuses_what_does_not_fit_a_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
