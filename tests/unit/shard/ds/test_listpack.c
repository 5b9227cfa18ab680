#include "shard/ds/listpack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/rng.h"

static struct bytes entry_of(struct bytes text, uint8_t *out)
{
    struct lp_item item;
    lp_item_text(text, &item);
    uint8_t *end = lp_write(out, &item);
    assert_int_equal(end - out, item.size);
    return bytes_view(out, item.size);
}

static void round_trip(struct bytes text)
{
    /* Exactly as large as needed, so that ASan sees any read outside. */
    struct lp_item item;
    lp_item_text(text, &item);
    uint8_t *p = mem_alloc(MEM_TEST, item.size);
    struct bytes entry = entry_of(text, p);
    char tmp[NUM_I64_TEXT_MAX];
    assert_true(bytes_equal(lp_text(p, tmp), text));
    assert_int_equal(lp_entry_size(p), item.size);
    assert_ptr_equal(lp_before(p + item.size), p);
    assert_true(lp_matches(p, &item));
    assert_int_not_equal(p[item.size - 1], LP_PAD);
    uint64_t count = 0;
    assert_true(lp_check_entries(entry, &count));
    assert_int_equal(count, 1);
    for (size_t cut = 1; cut < item.size && cut < 300; cut++) {
        assert_false(lp_check_entries(bytes_view(p, item.size - cut), &count));
    }
    mem_free(MEM_TEST, p, item.size);
}

static void test_integers_keep_their_value_and_size(void **state)
{
    (void)state;
    static const struct {
        int64_t v;
        size_t size;
    } cases[] = {
        {0, 2},
        {127, 2},
        {128, 3},
        {-1, 3},
        {4095, 3},
        {-4096, 3},
        {4096, 4},
        {-4097, 4},
        {INT16_MAX, 4},
        {INT16_MIN, 4},
        {INT16_MAX + 1, 5},
        {INT16_MIN - 1, 5},
        {(1 << 23) - 1, 5},
        {-(1 << 23), 5},
        {1 << 23, 6},
        {-(1 << 23) - 1, 6},
        {INT32_MAX, 6},
        {INT32_MIN, 6},
        {(int64_t)INT32_MAX + 1, 10},
        {(int64_t)INT32_MIN - 1, 10},
        {INT64_MAX, 10},
        {INT64_MIN, 10},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[NUM_I64_TEXT_MAX];
        size_t len = num_format_i64(text, cases[i].v);
        uint8_t entry[32];
        assert_int_equal(entry_of(bytes_view(text, len), entry).len, cases[i].size);
        int64_t back = 0;
        assert_true(lp_int(entry, &back));
        assert_true(back == cases[i].v);
        round_trip(bytes_view(text, len));
    }
}

static void test_what_is_no_canonical_integer_stays_text(void **state)
{
    (void)state;
    static const char *texts[] = {"",
                                  "-",
                                  "-0",
                                  "00",
                                  "01",
                                  "+1",
                                  " 1",
                                  "1 ",
                                  "9223372036854775808",
                                  "-9223372036854775809",
                                  "1.0",
                                  "0x1",
                                  "18446744073709551615"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        uint8_t entry[64];
        int64_t v;
        entry_of(bytes_of(texts[i]), entry);
        assert_false(lp_int(entry, &v));
        round_trip(bytes_of(texts[i]));
    }
}

static void test_strings_of_every_length_class(void **state)
{
    (void)state;
    static const size_t lens[] = {1,    62,   63,      64,      65,      125,     126,
                                  127,  128,  4094,    4095,    4096,    8185,    8186,
                                  8187, 8192, 1048570, 1048571, 1048576, 70000000};
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        uint8_t *text = mem_alloc(MEM_TEST, lens[i]);
        memset(text, 0xff, lens[i]);
        round_trip(bytes_view(text, lens[i]));
        mem_free(MEM_TEST, text, lens[i]);
    }
}

static void test_doubles(void **state)
{
    (void)state;
    static const struct {
        double v;
        size_t size_max;
    } cases[] = {
        {0, 2},
        {-0.0, 4},
        {1, 2},
        {-1, 3},
        {0.5, 5},
        {3.14, 6},
        {-12.345, 9},
        {1e300, 10},
        {1e-300, 10},
        {INFINITY, 5},
        {-INFINITY, 6},
        {0.1 + 0.2, 10},
        {4503599627370497.5, 10},
        {0x1p53, 10},
        {0x1p63, 10},
        {-0x1p63, 10},
        {5e-324, 10},
        {1.7976931348623157e308, 10},
        {99999.99, 10},
        {0.000001, 10},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct lp_item item;
        uint8_t entry[16];
        lp_item_double(cases[i].v, &item);
        assert_true(item.size <= cases[i].size_max);
        lp_write(entry, &item);
        double back = lp_double(entry);
        assert_memory_equal(&back, &cases[i].v, sizeof back);
        uint64_t count;
        assert_true(lp_check_entries(bytes_view(entry, item.size), &count));
    }
    struct rng rng;
    rng_seed(&rng, 7);
    for (int i = 0; i < 20000; i++) {
        double v =
            (double)(int64_t)rng_below(&rng, 20000000) / (double)(1 + rng_below(&rng, 1000)) - 1000;
        struct lp_item item;
        uint8_t entry[16];
        lp_item_double(v, &item);
        lp_write(entry, &item);
        assert_true(lp_double(entry) == v);
    }
}

#define MODEL_MAX 64
#define TEXT_MAX 5000
struct model {
    struct bytes texts[MODEL_MAX];
    uint32_t count;
};

static void compare_to_model(struct bytes blob, const struct model *m)
{
    assert_true(lp_check(blob));
    assert_int_equal(lp_count(blob), m->count);
    const uint8_t *p = lp_begin(blob), *end = lp_end(blob);
    char tmp[NUM_I64_TEXT_MAX];
    for (uint32_t i = 0; i < m->count; i++) {
        assert_true(bytes_equal(lp_text(p, tmp), m->texts[i]));
        assert_ptr_equal(lp_seek(lp_begin(blob), end, m->count, i), p);
        struct lp_item item;
        lp_item_text(m->texts[i], &item);
        const uint8_t *found = lp_find(lp_begin(blob), end, &item, 1);
        assert_non_null(found);
        assert_true(found <= p);
        p = lp_next(p);
    }
    assert_ptr_equal(p, end);
    for (uint32_t i = m->count; i-- > 0;) {
        p = lp_before(p);
        assert_true(bytes_equal(lp_text(p, tmp), m->texts[i]));
    }
    assert_ptr_equal(p, lp_begin(blob));
}

static void test_blobs_of_random_elements(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 5, 63, 64, 130, 5000};
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 200; round++) {
        struct model m = {.count = (uint32_t)rng_below(&rng, MODEL_MAX + 1)};
        size_t cap = LP_HEAD_BYTES + 64, used = LP_HEAD_BYTES;
        for (uint32_t i = 0; i < m.count; i++) {
            size_t len = lens[rng_below(&rng, COUNT_OF(lens))];
            uint8_t *text = mem_alloc(MEM_TEST, TEXT_MAX);
            if (rng_below(&rng, 2) == 0) {
                len =
                    num_format_i64((char *)text, (int64_t)(rng_next(&rng) >> rng_below(&rng, 64)));
            } else {
                for (size_t k = 0; k < len; k++)
                    text[k] = (uint8_t)rng_next(&rng);
            }
            m.texts[i] = bytes_view(text, len);
            cap += len + LP_ENTRY_OVERHEAD_MAX;
        }
        uint8_t *blob = mem_alloc(MEM_TEST, cap);
        lp_set_count(blob, m.count);
        for (uint32_t i = 0; i < m.count; i++) {
            struct lp_item item;
            lp_item_text(m.texts[i], &item);
            assert_true(item.size <= m.texts[i].len + LP_ENTRY_OVERHEAD_MAX);
            used = (size_t)(lp_write(blob + used, &item) - blob);
        }
        compare_to_model(bytes_view(blob, used), &m);
        memset(blob + used, LP_PAD, cap - used);
        compare_to_model(bytes_view(blob, cap), &m);
        lp_set_count(blob, m.count + 1);
        assert_false(lp_check(bytes_view(blob, used)));
        mem_free(MEM_TEST, blob, cap);
        for (uint32_t i = 0; i < m.count; i++)
            mem_free(MEM_TEST, (void *)(uintptr_t)m.texts[i].data, TEXT_MAX);
    }
}

static void test_check_refuses_a_second_encoding(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[12];
        size_t len;
    } bad[] = {
        {{0x81, '7', 2}, 3},             /* "7" as a string */
        {{0xc0, 5, 2}, 3},               /* 5 in 13 bits */
        {{0xf1, 1, 0, 3}, 4},            /* 1 in 16 bits */
        {{0xe0, 1, 'a', 3}, 4},          /* 12-bit length for one byte */
        {{0xf0, 1, 0, 0, 0, 'a', 6}, 7}, /* 32-bit length for one byte */
        {{0x81, 'a', 3}, 3},             /* back says 3 */
        {{0x81, 'a', 0x82, 0x00}, 4},    /* back in more bytes than it needs */
        {{0xf6, 1}, 2},                  /* no such head */
        {{0xff, 1}, 2},
        {{0xf5, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 9}, 10}, /* 1.0 in binary */
        {{0xf5, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 9}, 10}, /* NaN */
        {{0xf0, 0xff, 0xff, 0xff, 0xff, 'a', 6}, 7},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint64_t count;
        uint8_t *p = mem_alloc(MEM_TEST, bad[i].len);
        memcpy(p, bad[i].bytes, bad[i].len);
        assert_false(lp_check_entries(bytes_view(p, bad[i].len), &count));
        mem_free(MEM_TEST, p, bad[i].len);
    }
    assert_false(lp_check(bytes_view("\0\0\0", 3)));
    assert_true(lp_check(bytes_view("\0\0\0\0", 4)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_keep_their_value_and_size),
        cmocka_unit_test(test_what_is_no_canonical_integer_stays_text),
        cmocka_unit_test(test_strings_of_every_length_class),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_blobs_of_random_elements),
        cmocka_unit_test(test_check_refuses_a_second_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
