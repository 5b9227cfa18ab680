#include "shard/base/info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_sections_and_lines(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, MEM_TEST);
    struct info_writer w = {.out = &b, .first = true};
    info_section(&w, "Server");
    info_str(&w, "redis_version", "7.4.0");
    info_i64(&w, "offset", INT64_MIN);
    info_u64(&w, "keys", UINT64_MAX);
    info_section(&w, "CPU");
    info_f2(&w, "ratio", 1.005);
    info_fmt(&w, "db0", "keys=%d,expires=%d", 3, 0);
    static const char expected[] =
        "# Server\r\nredis_version:7.4.0\r\noffset:-9223372036854775808\r\n"
        "keys:18446744073709551615\r\n\r\n# CPU\r\nratio:1.00\r\n"
        "db0:keys=3,expires=0\r\n";
    assert_true(bytes_equal(buf_bytes(&b), BYTES_LIT(expected)));
    buf_free(&b);
}

static void check_human(uint64_t bytes, const char *expected)
{
    struct buf b;
    buf_init(&b, MEM_TEST);
    struct info_writer w = {.out = &b, .first = true};
    info_human(&w, "m", bytes);
    buf_add_byte(&b, 0);
    assert_string_equal((char *)b.data, expected);
    buf_free(&b);
}

static void test_human_sizes(void **state)
{
    (void)state;
    check_human(0, "m:0B\r\n");
    check_human(1023, "m:1023B\r\n");
    check_human(1024, "m:1.00K\r\n");
    check_human(1536, "m:1.50K\r\n");
    check_human((1 << 20) - 1, "m:1024.00K\r\n");
    check_human(1 << 20, "m:1.00M\r\n");
    check_human((uint64_t)5 << 29, "m:2.50G\r\n");
    check_human((uint64_t)1 << 40, "m:1.00T\r\n");
    check_human((uint64_t)1 << 50, "m:1.00P\r\n");
    check_human((uint64_t)1 << 63, "m:8192.00P\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections_and_lines),
        cmocka_unit_test(test_human_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
