#include "shard/base/num.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/rng.h"

/* ---- integers */

static void test_parse_i64_accepts_canonical_text_only(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "01",
        "-01",
        "-0",
        "00",
        "1a",
        "0x1",
        "1.0",
        "--1",
        "1-",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
        "100000000000000000000",
        "-100000000000000000000",
        "/",
        ":",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t v = 77;
        assert_false(num_parse_i64(bytes_of(bad[i]), &v));
        assert_int_equal(v, 77);
    }
    static const struct {
        const char *text;
        int64_t v;
    } good[] = {
        {"0", 0},
        {"7", 7},
        {"-1", -1},
        {"10", 10},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"-9223372036854775807", INT64_MIN + 1},
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        int64_t v = 77;
        assert_true(num_parse_i64(bytes_of(good[i].text), &v));
        assert_true(v == good[i].v);
    }
    int64_t v = 77;
    assert_false(num_parse_i64(BYTES_LIT("1\0"), &v));
}

static void test_parse_u64_limits(void **state)
{
    (void)state;
    uint64_t v = 77;
    static const char *const bad[] = {"",
                                      "-1",
                                      "-0",
                                      "+1",
                                      "01",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "184467440737095516150",
                                      "1 "};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(num_parse_u64(bytes_of(bad[i]), &v));
        assert_int_equal(v, 77);
    }
    assert_true(num_parse_u64(BYTES_LIT("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    assert_true(num_parse_u64(BYTES_LIT("0"), &v));
    assert_true(v == 0);
}

static void check_integer(uint64_t u)
{
    char ours[NUM_I64_TEXT_MAX], libc[32];
    size_t len = num_format_u64(ours, u);
    snprintf(libc, sizeof libc, "%llu", (unsigned long long)u);
    assert_int_equal(len, strlen(libc));
    assert_memory_equal(ours, libc, len);
    assert_int_equal(num_digits_u64(u), len);
    uint64_t back_u;
    assert_true(num_parse_u64(bytes_view(ours, len), &back_u));
    assert_true(back_u == u);

    int64_t i = (int64_t)u;
    len = num_format_i64(ours, i);
    snprintf(libc, sizeof libc, "%lld", (long long)i);
    assert_int_equal(len, strlen(libc));
    assert_memory_equal(ours, libc, len);
    int64_t back_i;
    assert_true(num_parse_i64(bytes_view(ours, len), &back_i));
    assert_true(back_i == i);
}

static void test_integers_match_libc(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 6);
    for (uint64_t p = 1, i = 0; i < 20; i++, p *= 10) {
        check_integer(p - 1);
        check_integer(p);
        check_integer(p + 1);
        check_integer(0 - p);
    }
    check_integer(UINT64_MAX);
    check_integer((uint64_t)INT64_MAX);
    check_integer((uint64_t)INT64_MAX + 1);
    for (int i = 0; i < 100000; i++)
        check_integer(rng_next(&r) >> rng_below(&r, 64));
}

/* ---- doubles */

static void check_double_text(double v, const char *expected)
{
    char text[NUM_DOUBLE_TEXT_MAX + 1];
    size_t len = num_format_double(text, v);
    text[len] = '\0';
    assert_string_equal(text, expected);
}

static void test_double_shapes(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } golden[] = {
        {0, "0"},
        {3, "3"},
        {-3, "-3"},
        {0.1, "0.1"},
        {-0.1, "-0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.5, "1.5"},
        {100.25, "100.25"},
        {1e-6, "0.000001"},
        {1e-7, "1e-7"},
        {1.5e-7, "1.5e-7"},
        {0.00012, "0.00012"},
        {0.001234567890123, "0.001234567890123"},
        {0.0001234567890123, "1.234567890123e-4"},
        {12345678901.25, "12345678901.25"},
        {1234567.1234567, "1.2345671234567e+6"},
        {12345.1234567, "1.23451234567e+4"},
        {1234.1234567, "1234.1234567"},
        {12345.123456, "12345.123456"},
        {1e15, "1000000000000000"},
        {1e18, "1000000000000000000"},
        {0x1p62, "4611686018427387904"},
        {-0x1p62, "-4611686018427387904"},
        {0x1p63, "9223372036854776000"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e19, "1e+19"},
        {1e20, "1e+20"},
        {1e21, "1e+21"},
        {1.25e25, "1.25e+25"},
        {-1.25e100, "-1.25e+100"},
        {1e100, "1e+100"},
        {1e105, "1e+105"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {5e-324, "5e-324"},
    };
    for (size_t i = 0; i < COUNT_OF(golden); i++)
        check_double_text(golden[i].v, golden[i].text);
    check_double_text(-0.0, "-0");
    check_double_text((double)INFINITY, "inf");
    check_double_text(-(double)INFINITY, "-inf");
    check_double_text((double)NAN, "nan");
    check_double_text(-(double)NAN, "nan");
}

static double random_double(struct rng *r)
{
    double v;
    uint64_t bits;
    do {
        bits = rng_next(r);
        if (rng_below(r, 4) == 0) bits &= 0xfff0000000000000; /* powers of two: uneven neighbours */
        if (rng_below(r, 8) == 0) bits &= 0x800fffffffffffff; /* denormals */
        memcpy(&v, &bits, sizeof v);
        if (rng_below(r, 3) == 0) v = (double)(int64_t)(bits % 2000000) / 1000;
    } while (!isfinite(v));
    return v;
}

static size_t count_digits(const char *text)
{
    size_t n = 0, zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text < '0' || *text > '9') continue;
        if (*text == '0') {
            zeros += n > 0;
        } else {
            n += zeros + 1;
            zeros = 0;
        }
    }
    return n;
}

static void test_doubles_read_back_and_are_nearly_always_shortest(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    struct rng r;
    rng_seed(&r, 7);
    size_t longer = 0;
    for (int i = 0; i < COUNT; i++) {
        double v = random_double(&r);
        char text[NUM_DOUBLE_TEXT_MAX + 1], shortest[64];
        size_t len = num_format_double(text, v);
        assert_true(len <= NUM_DOUBLE_TEXT_MAX);
        text[len] = '\0';
        double back;
        assert_true(num_parse_double(bytes_view(text, len), &back));
        assert_memory_equal(&back, &v, sizeof v);
        int precision = 0;
        do
            snprintf(shortest, sizeof shortest, "%.*e", precision++, v);
        while (strtod(shortest, NULL) != v);
        if (fabs(v) >= 0x1p53) continue; /* integers in full may have more digits than needed */
        longer += count_digits(text) > count_digits(shortest);
    }
    assert_true(longer < COUNT / 500);
}

static void check_parse_double(const char *text)
{
    char *stop;
    errno = 0;
    double expected = strtod(text, &stop);
    bool good = *text != '\0' && *stop == '\0' && !isnan(expected) &&
                !(errno == ERANGE && (isinf(expected) || expected == 0)) && *text != ' ';
    double v = 77;
    assert_int_equal(num_parse_double(bytes_of(text), &v), good);
    if (!good) expected = 77;
    assert_memory_equal(&v, &expected, sizeof v);
}

static void test_parse_double_is_strtod(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " 1",
        "1 ",
        "1x",
        "-",
        "+",
        ".",
        "-.",
        "1.",
        ".5",
        "-.5",
        "+.5",
        "+1",
        "--1",
        "1..2",
        "1.2.3",
        "0x10",
        "0x1p3",
        "1e5",
        "1e",
        "e5",
        "1e400",
        "-1e400",
        "1e-400",
        "4e-324",
        "inf",
        "+inf",
        "-inf",
        "INF",
        "infinity",
        "-Infinity",
        "infin",
        "nan",
        "-nan",
        "NaN(1)",
        "-0",
        "0",
        "000123.500",
        "123456789012345",
        "1234567890123456",
        "123456789012345.6",
        "0.000000000000001",
        "9007199254740993",
        "1_000",
        "1,5",
        "3.0",
        "-3.000",
        "\t1",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (texts[i][0] != '\t') check_parse_double(texts[i]);
    }
    double v;
    assert_false(num_parse_double(BYTES_LIT("\t1"), &v));
    assert_false(num_parse_double(BYTES_LIT("1\0"), &v));
    assert_true(num_parse_double(BYTES_LIT("-0"), &v));
    assert_true(signbit(v) != 0);

    struct rng r;
    rng_seed(&r, 8);
    for (int i = 0; i < 200000; i++) {
        static const char alphabet[] = "0123456789012345678901234567890123456789..-+e";
        char text[24];
        size_t len = rng_below(&r, sizeof text - 1);
        for (size_t k = 0; k < len; k++)
            text[k] = alphabet[rng_below(&r, sizeof alphabet - 1)];
        text[len] = '\0';
        check_parse_double(text);
    }
}

static void test_parse_double_of_long_text(void **state)
{
    (void)state;
    char text[NUM_LDOUBLE_TEXT_MAX + 2];
    double v;
    for (size_t len = 60; len < 70; len++) { /* around the small copy */
        memset(text, '0', len);
        text[len - 1] = '5';
        assert_true(num_parse_double(bytes_view(text, len), &v));
        assert_true(v == 5);
    }
    memset(text, '0', sizeof text);
    assert_true(num_parse_double(bytes_view(text, NUM_LDOUBLE_TEXT_MAX), &v));
    assert_false(num_parse_double(bytes_view(text, NUM_LDOUBLE_TEXT_MAX + 1), &v));
}

static void check_ldouble_text(const char *in, const char *expected)
{
    char text[NUM_LDOUBLE_TEXT_MAX];
    long double v;
    assert_true(num_parse_ldouble(bytes_of(in), &v));
    size_t len = num_format_ldouble(text, sizeof text, v);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(text, expected, len);
}

static void test_ldouble(void **state)
{
    (void)state;
    check_ldouble_text("3", "3");
    check_ldouble_text("3.0", "3");
    check_ldouble_text("100", "100");
    check_ldouble_text("-0", "0");
    check_ldouble_text("0.1", "0.1");
    check_ldouble_text("10.5", "10.5");
    check_ldouble_text("5.0e3", "5000");
    check_ldouble_text("-1.25", "-1.25");
    check_ldouble_text("1e-17", "0.00000000000000001");
    check_ldouble_text("1e-18", "0");
    check_ldouble_text("-1e-18", "0");
    check_ldouble_text("inf", "inf");
    check_ldouble_text("-inf", "-inf");
    static const char *const bad[] = {"", " 1", "1 ", "nan", "1e5000", "1e-5000", "x", "1x"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        long double v;
        assert_false(num_parse_ldouble(bytes_of(bad[i]), &v));
    }
}

static void test_ldouble_that_does_not_fit(void **state)
{
    (void)state;
    char text[NUM_LDOUBLE_TEXT_MAX];
    long double largest;
    assert_true(num_parse_ldouble(BYTES_LIT("1.18973149535723176502e+4932"), &largest));
    assert_int_equal(num_format_ldouble(text, sizeof text, largest), 4933);
    assert_int_equal(num_format_ldouble(text, 4933, largest), 0);
    assert_int_equal(num_format_ldouble(text, 3, (long double)INFINITY), 0);
    assert_int_equal(num_format_ldouble(text, 4, (long double)INFINITY), 3);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t v;
    } good[] = {
        {"0", 0},
        {"100", 100},
        {"100b", 100},
        {"1k", 1000},
        {"1kb", 1024},
        {"1KB", 1024},
        {"1m", 1000000},
        {"1mB", 1048576},
        {"2g", 2000000000},
        {"2gb", 2147483648},
        {"1t", 1000000000000},
        {"1tb", 1ull << 40},
        {"0012", 12},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        uint64_t v = 77;
        assert_true(num_parse_size(bytes_of(good[i].text), &v));
        assert_true(v == good[i].v);
    }
    static const char *const bad[] = {"",
                                      "kb",
                                      "-1",
                                      "1 kb",
                                      "1kbb",
                                      "1x",
                                      " 1",
                                      "1.5gb",
                                      "18446744073709551616",
                                      "18446744073709551615kb"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint64_t v = 77;
        assert_false(num_parse_size(bytes_of(bad[i]), &v));
        assert_int_equal(v, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_i64_accepts_canonical_text_only),
        cmocka_unit_test(test_parse_u64_limits),
        cmocka_unit_test(test_integers_match_libc),
        cmocka_unit_test(test_double_shapes),
        cmocka_unit_test(test_doubles_read_back_and_are_nearly_always_shortest),
        cmocka_unit_test(test_parse_double_is_strtod),
        cmocka_unit_test(test_parse_double_of_long_text),
        cmocka_unit_test(test_ldouble),
        cmocka_unit_test(test_ldouble_that_does_not_fit),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
