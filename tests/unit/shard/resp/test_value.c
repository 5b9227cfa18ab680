/* tests/unit/shard/resp/test_value.c: replies of servers, whole, cut short at every byte, and wrong. */
#include "shard/resp/value.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/buf.h"

struct fixture {
    struct arena arena;
};

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(MEM_TEST, sizeof *f);
    arena_init(&f->arena);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    arena_free(&f->arena);
    mem_free(MEM_TEST, f, sizeof *f);
    return 0;
}

/* Parses a whole reply; every proper prefix of it must be "incomplete". */
static struct resp_value parse(void **state, struct bytes in)
{
    struct fixture *f = *state;
    struct resp_value v = {0};
    size_t used = 0;
    for (size_t len = 0; len < in.len; len++) {
        uint8_t *copy = mem_alloc(MEM_TEST, len + 1);
        memcpy(copy + 1, in.data, len); /* ends where its block ends */
        assert_int_equal(resp_value_skip(copy + 1, len), 0);
        assert_int_equal(resp_value_parse(&f->arena, copy + 1, len, &v, &used), 0);
        mem_free(MEM_TEST, copy, len + 1);
    }
    assert_int_equal(resp_value_skip(in.data, in.len), in.len);
    assert_int_equal(resp_value_parse(&f->arena, in.data, in.len, &v, &used), 1);
    assert_int_equal(used, in.len);
    return v;
}
#define PARSE(text) parse(state, BYTES_LIT(text))

static void expect_text(const struct resp_value *v, enum resp_type type, const char *text)
{
    assert_int_equal(v->type, type);
    assert_true(bytes_equal(v->text, bytes_of(text)));
    assert_false(v->null);
}

static void test_texts(void **state)
{
    struct resp_value v = PARSE("+OK\r\n");
    expect_text(&v, RESP_SIMPLE, "OK");
    v = PARSE("-ERR no\r\n");
    expect_text(&v, RESP_ERROR, "ERR no");
    v = PARSE("$5\r\na\r\nbc\r\n");
    expect_text(&v, RESP_BULK, "a\r\nbc");
    v = PARSE("$0\r\n\r\n");
    expect_text(&v, RESP_BULK, "");
    v = PARSE("!5\r\nERR x\r\n");
    expect_text(&v, RESP_BLOB_ERROR, "ERR x");
    v = PARSE("=8\r\ntxt:some\r\n");
    expect_text(&v, RESP_VERBATIM, "some");
    v = PARSE("(-12345678901234567890123\r\n");
    expect_text(&v, RESP_BIGNUM, "-12345678901234567890123");
}

static void test_numbers(void **state)
{
    assert_int_equal(PARSE(":42\r\n").integer, 42);
    assert_int_equal(PARSE(":+42\r\n").integer, 42);
    assert_true(PARSE(":-9223372036854775808\r\n").integer == INT64_MIN);
    assert_int_equal(PARSE("#t\r\n").integer, 1);
    assert_int_equal(PARSE("#f\r\n").integer, 0);
    assert_true(PARSE(",1.5\r\n").number > 1.49);
    assert_true(isinf(PARSE(",-inf\r\n").number));
    assert_true(isnan(PARSE(",nan\r\n").number));
    assert_true(isnan(PARSE(",-nan\r\n").number));
}

static void test_nulls(void **state)
{
    assert_true(PARSE("$-1\r\n").null);
    assert_true(PARSE("*-1\r\n").null);
    assert_true(PARSE("_\r\n").null);
    assert_int_equal(PARSE("_\r\n").type, RESP_NULL);
}

static void test_aggregates(void **state)
{
    struct resp_value v = PARSE("*3\r\n:1\r\n*0\r\n%2\r\n+a\r\n:1\r\n+b\r\n~2\r\n$1\r\nx\r\n_\r\n");
    assert_int_equal(v.count, 3);
    assert_int_equal(v.items[0].integer, 1);
    assert_int_equal(v.items[1].count, 0);
    const struct resp_value *map = &v.items[2];
    assert_int_equal(map->type, RESP_MAP);
    assert_int_equal(map->count, 2);
    expect_text(&map->items[2], RESP_SIMPLE, "b");
    assert_int_equal(map->items[3].type, RESP_SET);
    assert_int_equal(map->items[3].count, 2);
    assert_true(map->items[3].items[1].null);
}

static void test_push_and_attribute_at_the_top(void **state)
{
    struct resp_value v = PARSE(">2\r\n+message\r\n+x\r\n");
    assert_int_equal(v.type, RESP_PUSH);
    assert_int_equal(v.count, 2);
    v = PARSE("|1\r\n+key\r\n:1\r\n");
    assert_int_equal(v.type, RESP_ATTRIBUTE);
    assert_int_equal(v.count, 1);
    expect_text(&v.items[0], RESP_SIMPLE, "key");
}

static void test_inner_attributes_are_passed_over(void **state)
{
    struct resp_value v =
        PARSE("*2\r\n|1\r\n+ttl\r\n:5\r\n:1\r\n|0\r\n|1\r\n+a\r\n*1\r\n|0\r\n+b\r\n:2\r\n");
    assert_int_equal(v.count, 2);
    assert_int_equal(v.items[0].integer, 1);
    assert_int_equal(v.items[1].integer, 2);
    assert_int_equal(resp_value_skip((const uint8_t *)"*1\r\n|0\r\n", 8), 0);
}

static void test_only_the_first_reply_is_used(void **state)
{
    struct fixture *f = *state;
    struct resp_value v = {0};
    size_t used = 0;
    struct bytes in = BYTES_LIT("+OK\r\n:1\r\nrubbish");
    assert_int_equal(resp_value_parse(&f->arena, in.data, in.len, &v, &used), 1);
    assert_int_equal(used, 5);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "OK\r\n",          "\r\n",         "+O\nK\r\n", "+OK\rx",  ":\r\n",
        ":1x\r\n",         ":+-1\r\n",     ":01\r\n",   "$-2\r\n", "$x\r\n",
        "$3\r\nabcd\r\n",  "$1\r\nabc",    "*-2\r\n",   "%-1\r\n", "~-1\r\n",
        ">-1\r\n",         "|-1\r\n",      "=-1\r\n",   "!-1\r\n", "=3\r\ntxt\r\n",
        "=5\r\ntxtx:\r\n", "#x\r\n",       "#tt\r\n",   "_x\r\n",  ",abc\r\n",
        ",\r\n",           "(12a\r\n",     "(\r\n",     "(-\r\n",  "*2147483648\r\n",
        "$4294967297\r\n", "*1\r\n>0\r\n", "*1\r\n?",   "$?\r\n",  "*?\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        int64_t got = resp_value_skip((const uint8_t *)wrong[i], strlen(wrong[i]));
        if (got != -1) fail_msg("%s was taken: %lld", wrong[i], (long long)got);
    }
}

static void nest(struct buf *in, int depth, const char *head)
{
    buf_init(in, MEM_TEST);
    for (int i = 0; i < depth; i++)
        buf_addf(in, "%s", head);
    buf_addf(in, ":1\r\n");
}

static void test_depth(void **state)
{
    struct buf in;
    nest(&in, RESP_VALUE_DEPTH_MAX, "*1\r\n");
    struct resp_value v = parse(state, buf_bytes(&in));
    for (int i = 0; i < RESP_VALUE_DEPTH_MAX; i++)
        v = v.items[0];
    assert_int_equal(v.integer, 1);
    buf_free(&in);
    nest(&in, RESP_VALUE_DEPTH_MAX + 1, "*1\r\n");
    assert_int_equal(resp_value_skip(in.data, in.len), -1);
    buf_free(&in);
}

static void test_lines_are_bounded(void **state)
{
    (void)state;
    struct buf in;
    buf_init(&in, MEM_TEST);
    buf_add_byte(&in, '+');
    while (in.len <= RESP_VALUE_LINE_MAX)
        buf_add_byte(&in, 'x');
    assert_int_equal(resp_value_skip(in.data, in.len), 0);
    buf_add_byte(&in, 'x');
    assert_int_equal(resp_value_skip(in.data, in.len), -1);
    buf_free(&in);
}

static void test_announced_counts_are_not_trusted(void **state)
{
    struct fixture *f = *state;
    struct resp_value v = {0};
    size_t used = 0;
    uint64_t before = mem_live_bytes_all();
    struct bytes in = BYTES_LIT("*2147483647\r\n:1\r\n");
    assert_int_equal(resp_value_parse(&f->arena, in.data, in.len, &v, &used), 0);
    assert_int_equal(mem_live_bytes_all(), before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_texts),
        TEST(test_numbers),
        TEST(test_nulls),
        TEST(test_aggregates),
        TEST(test_push_and_attribute_at_the_top),
        TEST(test_inner_attributes_are_passed_over),
        TEST(test_only_the_first_reply_is_used),
        TEST(test_malformed),
        TEST(test_depth),
        TEST(test_lines_are_bounded),
        TEST(test_announced_counts_are_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
