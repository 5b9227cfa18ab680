#include "shard/base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(bytes_equal(bytes_view(NULL, 0), BYTES_LIT("")));
    assert_true(bytes_equal(BYTES_LIT("a\0b"), bytes_view("a\0b", 3)));
    assert_false(bytes_equal(BYTES_LIT("a\0b"), BYTES_LIT("a\0c")));
    assert_false(bytes_equal(BYTES_LIT("a"), BYTES_LIT("ab")));
}

static void test_equal_nocase_folds_ascii_letters_only(void **state)
{
    (void)state;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            uint8_t x = (uint8_t)a, y = (uint8_t)b;
            int fold_x = x >= 'A' && x <= 'Z' ? x + 32 : x;
            int fold_y = y >= 'A' && y <= 'Z' ? y + 32 : y;
            bool equal = bytes_equal_nocase(bytes_view(&x, 1), bytes_view(&y, 1));
            assert_int_equal(equal, fold_x == fold_y);
        }
    }
    assert_true(bytes_is(BYTES_LIT("GeTdEl"), "getdel"));
    assert_false(bytes_is(BYTES_LIT("getdel"), "getdelx"));
    assert_false(bytes_is(BYTES_LIT("getdelx"), "getdel"));
    assert_true(bytes_is(bytes_view(NULL, 0), ""));
}

static void test_compare_is_memcmp_then_length(void **state)
{
    (void)state;
    const struct bytes order[] = {
        BYTES_LIT(""),   BYTES_LIT("\0"),   BYTES_LIT("\0\0"), BYTES_LIT("A"),
        BYTES_LIT("AB"), BYTES_LIT("a"),    BYTES_LIT("a\0"),  BYTES_LIT("aa"),
        BYTES_LIT("b"),  BYTES_LIT("\x7f"), BYTES_LIT("\x80"), BYTES_LIT("\xff"),
    };
    int count = (int)(sizeof order / sizeof order[0]);
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < count; j++) {
            assert_int_equal(sign(bytes_compare(order[i], order[j])), sign(i - j));
        }
    }
    assert_int_equal(bytes_compare(bytes_view(NULL, 0), BYTES_LIT("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_equal_nocase_folds_ascii_letters_only),
        cmocka_unit_test(test_compare_is_memcmp_then_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
