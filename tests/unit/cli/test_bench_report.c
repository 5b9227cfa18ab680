/* The arithmetic and the text of reports. */
#include "cli/bench_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct bench_result sample(void)
{
    struct bench_result r = {.requests = 200,
                             .wall_ns = 500000000,
                             .io = IO_URING,
                             .generator_share = 0.25,
                             .server_known = true,
                             .server_cpu_ns = 300000,
                             .server_requests = 150};
    for (uint32_t i = 0; i < 198; i++)
        stat_add(&r.latency, 10000);
    for (uint32_t i = 0; i < 2; i++)
        stat_add(&r.latency, 1000000);
    return r;
}

static const char *text_of(struct buf *b)
{
    buf_add_byte(b, '\0');
    return (const char *)b->data;
}

static void test_rates(void **state)
{
    struct bench_result r = sample();
    (void)state;
    assert_true(bench_ops_per_s(&r) == 400);
    assert_true(bench_server_us(&r) == 2);
    r.wall_ns = 0;
    r.server_requests = 0;
    assert_true(bench_ops_per_s(&r) == 0);
    assert_true(bench_server_us(&r) == 0);
    r.server_requests = 150;
    r.server_known = false;
    assert_true(bench_server_us(&r) == 0);
}

static void test_row_of_the_table(void **state)
{
    struct bench_result r = sample();
    struct buf b;
    double p50 = 0;
    double p999 = 0;
    double max = 0;
    (void)state;
    buf_init(&b, MEM_TEST);
    bench_table_row(&b, "get", &r);
    assert_int_equal(
        sscanf(text_of(&b), "get 200 400 %lf %*f %lf %lf 0 0 25.0 2.000", &p50, &p999, &max), 3);
    assert_true(p50 >= 10.0);
    assert_true(p50 <= 10.4);    /* 3.2 % is what the histogram may round up */
    assert_true(p999 == 1000.0); /* never above the largest that was seen */
    assert_true(max == 1000.0);
    buf_free(&b);
}

static void test_json_is_whole_and_escaped(void **state)
{
    struct bench_plan plan = {
        .target = {.host = "a\"b", .port = 7}, .conns = 1, .pipeline = 2, .threads = 1};
    struct bench_shape shape = {.range = 10, .key_bytes = 16, .value_bytes = 64};
    struct bench_result r = sample();
    struct buf b;
    (void)state;
    buf_init(&b, MEM_TEST);
    r.errors = 1;
    memcpy(r.first_error, "ERR \\ \n", 8);
    bench_json_head(&b, &plan, &shape, 0);
    bench_json_row(&b, "get", &r, true);
    bench_json_row(&b, "set", &r, false);
    bench_json_tail(&b);
    const char *text = text_of(&b);
    assert_non_null(strstr(text, "\"started\": \"1970-01-01T00:00:00Z\""));
    assert_non_null(strstr(text, "\"target\": \"a\\\"b\", \"port\": 7"));
    assert_non_null(strstr(text, "\"first_error\": \"ERR \\\\ \\u000a\""));
    assert_non_null(strstr(text, "\"cpu_us_per_request\": 2.00000"));
    assert_non_null(strstr(text, "},\n  {\"name\": \"set\""));
    int depth = 0;
    for (const char *c = text; *c != '\0'; c++)
        depth += (*c == '{') + (*c == '[') - (*c == '}') - (*c == ']');
    assert_int_equal(depth, 0);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_row_of_the_table),
        cmocka_unit_test(test_json_is_whole_and_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
