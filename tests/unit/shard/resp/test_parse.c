/* tests/unit/shard/resp/test_parse.c: requests as Redis reads them. Every case is given whole, byte
 * by byte and cut in two at every place: the answer must not depend on it. */
#include "shard/resp/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/buf.h"
#include "shard/base/limits.h"

static const struct resp_limits open_limits = {
    .multibulk_max = 1 << 20, .bulk_max = 512 << 20, .authenticated = true};
static const struct resp_limits stranger_limits = {.multibulk_max = 1 << 20, .bulk_max = 512 << 20};

/* The answer in one text: "done N: [a][b]", "more", "bad: …". Caller frees. */
static void describe(struct buf *text, enum resp_result result, const struct resp_parser *p,
                     const struct resp_request *request)
{
    text->len = 0;
    if (result == RESP_MORE) buf_addf(text, "more");
    if (result == RESP_BAD) buf_addf(text, "bad: %s", p->error);
    if (result == RESP_DONE) {
        buf_addf(text, "done %zu:", request->wire_bytes);
        for (uint32_t i = 0; i < request->argc; i++) {
            buf_addf(text, "[");
            buf_add_bytes(text, request->argv[i]);
            buf_addf(text, "]");
        }
    }
    buf_add_byte(text, '\0');
}

/* Feeds `in` up to each of the given lengths in turn until the answer is not "more". */
static void feed(const struct resp_limits *limits, struct bytes in, size_t first, size_t step,
                 struct buf *text)
{
    struct resp_parser parser = {0};
    struct resp_request request = {0};
    struct arena args;
    arena_init(&args);
    enum resp_result result = RESP_MORE;
    size_t given = first > in.len ? in.len : first;
    for (;;) {
        /* A block of its own size, so that a read past the end is seen. */
        uint8_t *copy = mem_alloc(MEM_TEST, given + (given == 0));
        if (given > 0) memcpy(copy, in.data, given);
        result = resp_parse(&parser, limits, &args, copy, given, &request);
        if (result == RESP_MORE) assert_true(parser.bytes_wanted > given);
        if (result != RESP_MORE || given == in.len) {
            describe(text, result, &parser, &request);
            if (result == RESP_DONE) { /* ready for the next request */
                assert_int_equal(parser.resume_at, 0);
                assert_int_equal(parser.bytes_wanted, 0);
            }
            mem_free(MEM_TEST, copy, given + (given == 0));
            break;
        }
        mem_free(MEM_TEST, copy, given + (given == 0));
        given = in.len - given > step ? given + step : in.len;
    }
    arena_free(&args);
}

static void expect_bytes(const struct resp_limits *limits, struct bytes in, const char *expected)
{
    struct buf text;
    buf_init(&text, MEM_TEST);
    feed(limits, in, in.len, 1, &text);
    assert_string_equal((char *)text.data, expected);
    feed(limits, in, 0, 1, &text);
    assert_string_equal((char *)text.data, expected);
    for (size_t cut = 1; cut < in.len && in.len < 400; cut++) {
        feed(limits, in, cut, in.len, &text);
        assert_string_equal((char *)text.data, expected);
    }
    buf_free(&text);
}

#define EXPECT(in, expected) expect_bytes(&open_limits, BYTES_LIT(in), expected)

static void test_multibulk(void **state)
{
    (void)state;
    EXPECT("*1\r\n$4\r\nPING\r\n", "done 14:[PING]");
    EXPECT("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "done 26:[SET][k][]");
    EXPECT("*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl\r\n*1\r\n", "done 32:[GET][abcdefghijkl]");
    EXPECT("*2\r\n$3\r\nGET\r\n$5\r\na\r\nb\n\r\n", "done 24:[GET][a\r\nb\n]");
    EXPECT("*10\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$"
           "1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n",
           "done 75:[a][b][c][d][e][f][g][h][i][j]");
    EXPECT("", "more");
    EXPECT("*", "more");
    EXPECT("*1\r", "more");
    EXPECT("*1\r\n$4\r\nPING\r", "more");
    EXPECT("*2\r\n$4\r\nPING\r\n", "more");
}

/* Redis skips the bytes where LF and CRLF belong without looking at them. */
static void test_line_ends_are_not_looked_at(void **state)
{
    (void)state;
    EXPECT("*1\rX$4\rYPINGZZ", "done 14:[PING]");
}

static void test_no_request(void **state)
{
    (void)state;
    EXPECT("*0\r\n*1\r\n", "done 4:");
    EXPECT("*-1\r\n", "done 5:");
    EXPECT("*-9223372036854775808\r\n", "done 23:");
}

static void test_multibulk_length_is_strict(void **state)
{
    (void)state;
    const char *const invalid = "bad: Protocol error: invalid multibulk length";
    EXPECT("*\r\n", invalid);
    EXPECT("*abc\r\n", invalid);
    EXPECT("*+1\r\n", invalid);
    EXPECT("*01\r\n", invalid);
    EXPECT("*-0\r\n", invalid);
    EXPECT("* 1\r\n", invalid);
    EXPECT("*1 \r\n", invalid);
    EXPECT("*2147483648\r\n", invalid);
    EXPECT("*99999999999999999999\r\n", invalid);
    EXPECT("*1048577\r\n", invalid); /* over multibulk_max */
    EXPECT("*1048576\r\n", "more");
}

static void test_bulk_length_is_strict(void **state)
{
    (void)state;
    const char *const invalid = "bad: Protocol error: invalid bulk length";
    EXPECT("*1\r\n$\r\n", invalid);
    EXPECT("*1\r\n$-1\r\n", invalid);
    EXPECT("*1\r\n$04\r\nPING\r\n", invalid);
    EXPECT("*1\r\n$+4\r\nPING\r\n", invalid);
    EXPECT("*1\r\n$4x\r\nPING\r\n", invalid);
    EXPECT("*2\r\n$3\r\nSET\r\n$blabla\r\n", invalid);
    EXPECT("*1\r\n$2000000000\r\n", invalid);
    EXPECT("*1\r\n$536870912\r\n", "more");
    EXPECT("*1\r\n$536870913\r\n", invalid);
}

static void test_bulk_max_is_obeyed_by_the_fast_path(void **state)
{
    (void)state;
    struct resp_limits small = {.multibulk_max = 2, .bulk_max = 5, .authenticated = true};
    expect_bytes(&small, BYTES_LIT("*1\r\n$5\r\nabcde\r\n"), "done 15:[abcde]");
    expect_bytes(&small, BYTES_LIT("*1\r\n$6\r\nabcdef\r\n"),
                 "bad: Protocol error: invalid bulk length");
    expect_bytes(&small, BYTES_LIT("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
                 "bad: Protocol error: invalid multibulk length");
}

static void test_dollar_expected(void **state)
{
    (void)state;
    EXPECT("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "bad: Protocol error: expected '$', got 'f'");
    EXPECT("*1\r\nfoo\r\n", "bad: Protocol error: expected '$', got 'f'");
    EXPECT("*1\r\n\r\n", "bad: Protocol error: expected '$', got '\r'");
    EXPECT("*1\r\nfoo", "more"); /* only a whole line is judged */
}

static void test_before_auth(void **state)
{
    (void)state;
    expect_bytes(&stranger_limits, BYTES_LIT("*11\r\n$1\r\na\r\n"),
                 "bad: Protocol error: unauthenticated multibulk length");
    expect_bytes(&stranger_limits, BYTES_LIT("*10\r\n"), "more");
    expect_bytes(&stranger_limits, BYTES_LIT("*2147483648\r\n"),
                 "bad: Protocol error: invalid multibulk length");
    expect_bytes(&stranger_limits, BYTES_LIT("*1\r\n$16385\r\n"),
                 "bad: Protocol error: unauthenticated bulk length");
    expect_bytes(&stranger_limits, BYTES_LIT("*1\r\n$16384\r\n"), "more");
    expect_bytes(&stranger_limits, BYTES_LIT("*1\r\n$536870913\r\n"),
                 "bad: Protocol error: invalid bulk length");
    expect_bytes(&stranger_limits, BYTES_LIT("*1\r\n$4\r\nPING\r\n"), "done 14:[PING]");
}

/* The same when the caller has put the strangers' limits into the numbers as well. */
static void test_before_auth_with_small_numbers(void **state)
{
    (void)state;
    struct resp_limits limits = {.multibulk_max = MULTIBULK_UNAUTH_MAX,
                                 .bulk_max = BULK_UNAUTH_MAX};
    expect_bytes(&limits, BYTES_LIT("*11\r\n"),
                 "bad: Protocol error: unauthenticated multibulk length");
    expect_bytes(&limits, BYTES_LIT("*1\r\n$16385\r\n"),
                 "bad: Protocol error: unauthenticated bulk length");
}

static void test_unauthenticated_large_argument_whole(void **state)
{
    (void)state;
    struct buf in;
    buf_init(&in, MEM_TEST);
    buf_addf(&in, "*1\r\n$16385\r\n");
    for (int i = 0; i < 16387; i++)
        buf_add_byte(&in, 'x');
    struct buf text;
    buf_init(&text, MEM_TEST);
    feed(&stranger_limits, buf_bytes(&in), in.len, 1, &text);
    assert_string_equal((char *)text.data, "bad: Protocol error: unauthenticated bulk length");
    buf_free(&text);
    buf_free(&in);
}

static void test_inline(void **state)
{
    (void)state;
    EXPECT("PING\r\n", "done 6:[PING]");
    EXPECT("PING\n", "done 5:[PING]");
    EXPECT("\r\n", "done 2:");
    EXPECT("\n", "done 1:");
    EXPECT("  \t \r\n", "done 6:");
    EXPECT("  SET  k\tv  \r\nGET", "done 14:[SET][k][v]");
    EXPECT("SET a\rb c\n", "done 10:[SET][a][b][c]");
    EXPECT("PING", "more");
    EXPECT("PING\r", "more");
    EXPECT("$\r\n", "done 3:[$]");
    EXPECT("a\vb \f c\n", "done 8:[a\vb][c]"); /* VT, FF: spaces before an argument only */
}

static void test_inline_double_quotes(void **state)
{
    (void)state;
    EXPECT("SET k \"a b\"\r\n", "done 13:[SET][k][a b]");
    EXPECT("\"\\x41\\x7a\\n\\r\\t\\b\\a\\\\\\\"\\q\"\n", "done 27:[Az\n\r\t\b\a\\\"q]");
    EXPECT("\"\\x4\" \"\\xzz\" \"\\x4g\"\n", "done 20:[x4][xzz][x4g]");
    EXPECT("\"\"\n", "done 3:[]");
    EXPECT("\"\" \"\" a \"\"\n", "done 11:[][][a][]");
    EXPECT("foo\"bar\"\n", "done 9:[foobar]");
    EXPECT("\"it's\"\n", "done 7:[it's]");
}

static void test_inline_quoted_nul_and_high_bytes(void **state)
{
    (void)state;
    struct resp_parser parser = {0};
    struct resp_request request = {0};
    struct arena args;
    arena_init(&args);
    struct bytes in = BYTES_LIT("SET k \"\\x00\\xff\"\r\n");
    assert_int_equal(resp_parse(&parser, &open_limits, &args, in.data, in.len, &request),
                     RESP_DONE);
    assert_int_equal(request.argc, 3);
    assert_true(bytes_equal(request.argv[2], BYTES_LIT("\0\xff")));
    arena_free(&args);
}

static void test_inline_single_quotes(void **state)
{
    (void)state;
    EXPECT("'a b' 'c\\'d' 'e\\n'\n", "done 19:[a b][c'd][e\\n]");
    EXPECT("''\n", "done 3:[]");
    EXPECT("foo'bar baz'\n", "done 13:[foobar baz]");
    EXPECT("'say \"x\"'\n", "done 10:[say \"x\"]");
}

static void test_inline_unbalanced(void **state)
{
    (void)state;
    const char *const unbalanced = "bad: Protocol error: unbalanced quotes in request";
    EXPECT("SET \"abc\r\n", unbalanced);
    EXPECT("SET 'abc\r\n", unbalanced);
    EXPECT("SET \"abc\"d\r\n", unbalanced);
    EXPECT("SET 'abc'd\r\n", unbalanced);
    EXPECT("\"\\\"\n", unbalanced);
    EXPECT("\"a\\\n", unbalanced);
    EXPECT("'a\\'\n", unbalanced);
    EXPECT("set \"\"\"test\"\"\" test\r\n", unbalanced);
}

/* Many quoted arguments share one piece of scratch: memory stays linear in the line. */
static void test_inline_many_quoted(void **state)
{
    (void)state;
    struct buf in;
    buf_init(&in, MEM_TEST);
    for (int i = 0; i < 16000; i++)
        buf_addf(&in, "'a' ");
    buf_addf(&in, "\n");
    struct resp_parser parser = {0};
    struct resp_request request = {0};
    struct arena args;
    arena_init(&args);
    uint64_t before = mem_live_bytes_all();
    assert_int_equal(resp_parse(&parser, &open_limits, &args, in.data, in.len, &request),
                     RESP_DONE);
    assert_int_equal(request.argc, 16000);
    assert_true(bytes_equal(request.argv[15999], BYTES_LIT("a")));
    assert_true(mem_live_bytes_all() - before < 2 << 20);
    arena_free(&args);
    buf_free(&in);
}

/* ---- lines that do not end */

static void expect_long(const char *head, size_t line_start, const char *tail, size_t line_bytes,
                        const char *expected)
{
    struct buf in, text;
    buf_init(&in, MEM_TEST);
    buf_init(&text, MEM_TEST);
    buf_addf(&in, "%s", head);
    while (in.len < line_start + line_bytes)
        buf_add_byte(&in, '1');
    buf_addf(&in, "%s", tail);
    feed(&open_limits, buf_bytes(&in), in.len, 1, &text);
    assert_string_equal((char *)text.data, expected);
    feed(&open_limits, buf_bytes(&in), 1000, 997, &text);
    assert_string_equal((char *)text.data, expected);
    buf_free(&text);
    buf_free(&in);
}

static void test_endless_lines(void **state)
{
    (void)state;
    size_t max = INLINE_BYTES_MAX;
    expect_long("", 0, "", max, "more");
    expect_long("", 0, "", max + 1, "bad: Protocol error: too big inline request");
    expect_long("", 0, "\n", max + 1, "bad: Protocol error: too big inline request");
    expect_long("*", 0, "", max, "more");
    expect_long("*", 0, "", max + 1, "bad: Protocol error: too big mbulk count string");
    expect_long("*", 0, "\r\n", max + 1, "bad: Protocol error: too big mbulk count string");
    expect_long("*", 0, "\r\n", max, "bad: Protocol error: invalid multibulk length");
    expect_long("*1\r\n$", 4, "", max, "more");
    expect_long("*1\r\n$", 4, "", max + 1, "bad: Protocol error: too big bulk count string");
    expect_long("*1\r\nx", 4, "", max + 1, "bad: Protocol error: too big bulk count string");
}

static void test_inline_of_full_length(void **state)
{
    (void)state;
    struct buf in;
    buf_init(&in, MEM_TEST);
    while (in.len < INLINE_BYTES_MAX)
        buf_add_byte(&in, 'x');
    buf_addf(&in, "\n");
    struct resp_parser parser = {0};
    struct resp_request request = {0};
    struct arena args;
    arena_init(&args);
    assert_int_equal(resp_parse(&parser, &open_limits, &args, in.data, in.len, &request),
                     RESP_DONE);
    assert_int_equal(request.argv[0].len, INLINE_BYTES_MAX);
    arena_free(&args);
    buf_free(&in);
}

/* As in Redis, a NUL hides the end of a line; the desync ends at 64 KiB. */
static void test_nul_hides_line_end(void **state)
{
    (void)state;
    EXPECT("PI\0NG\r\n", "more");
    EXPECT("*1\0\r\n$4\r\nPING\r\n", "more");
    EXPECT("*1\r\n$4\0\r\nPING\r\n", "more");
    EXPECT("*1\r\n$4\r\nP\0NG\r\n", "done 14:[P\0NG]"); /* text compared up to the NUL */
    struct buf in, text;
    buf_init(&in, MEM_TEST);
    buf_init(&text, MEM_TEST);
    buf_add(&in, "*\0", 2);
    while (in.len <= INLINE_BYTES_MAX)
        buf_addf(&in, "payload\r\n");
    feed(&open_limits, buf_bytes(&in), 1, 1021, &text);
    assert_string_equal((char *)text.data, "bad: Protocol error: too big mbulk count string");
    buf_free(&text);
    buf_free(&in);
}

/* ---- state */

static void test_half_frame_allocates_nothing(void **state)
{
    (void)state;
    struct resp_parser parser = {0};
    struct resp_request request = {0};
    struct arena args;
    arena_init(&args);
    uint64_t before = mem_live_bytes_all();
    struct bytes in = BYTES_LIT("*1000000\r\n$3\r\nDEL\r\n$1\r\na\r\n");
    assert_int_equal(resp_parse(&parser, &open_limits, &args, in.data, in.len, &request),
                     RESP_MORE);
    assert_int_equal(mem_live_bytes_all(), before);
    assert_true(parser.bytes_wanted > 5000000); /* what a million arguments take at least */
    arena_free(&args);
}

static void test_failed_fast_path_gives_memory_back(void **state)
{
    (void)state;
    struct resp_parser parser = {0};
    struct resp_request request = {0};
    struct arena args;
    arena_init(&args);
    (void)arena_alloc(&args, 16);
    struct arena_mark before = arena_mark(&args);
    struct bytes in = BYTES_LIT("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nhal");
    assert_int_equal(resp_parse(&parser, &open_limits, &args, in.data, in.len, &request),
                     RESP_MORE);
    assert_ptr_equal(arena_mark(&args).next, before.next);
    assert_int_equal(parser.bytes_wanted, in.len + 3);
    arena_free(&args);
}

/* Large requests take the careful path after a fast one, and back. */
static void test_pipeline_of_all_kinds(void **state)
{
    (void)state;
    struct buf in;
    buf_init(&in, MEM_TEST);
    buf_addf(&in, "*1\r\n$4\r\nPING\r\nPING x\r\n*0\r\n*300\r\n");
    for (int i = 0; i < 300; i++)
        buf_addf(&in, "$%d\r\n%0*d\r\n", 1 + i, 1 + i, i);
    buf_addf(&in, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    const uint32_t argc[] = {1, 2, 0, 300, 2};
    struct resp_parser parser = {0};
    struct arena args;
    arena_init(&args);
    size_t at = 0;
    for (size_t i = 0; i < COUNT_OF(argc); i++) {
        struct resp_request request = {0};
        assert_int_equal(
            resp_parse(&parser, &open_limits, &args, in.data + at, in.len - at, &request),
            RESP_DONE);
        assert_int_equal(request.argc, argc[i]);
        if (argc[i] == 300) assert_int_equal(request.argv[299].len, 300);
        at += request.wire_bytes;
    }
    assert_int_equal(at, in.len);
    arena_free(&args);
    buf_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multibulk),
        cmocka_unit_test(test_line_ends_are_not_looked_at),
        cmocka_unit_test(test_no_request),
        cmocka_unit_test(test_multibulk_length_is_strict),
        cmocka_unit_test(test_bulk_length_is_strict),
        cmocka_unit_test(test_bulk_max_is_obeyed_by_the_fast_path),
        cmocka_unit_test(test_dollar_expected),
        cmocka_unit_test(test_before_auth),
        cmocka_unit_test(test_before_auth_with_small_numbers),
        cmocka_unit_test(test_unauthenticated_large_argument_whole),
        cmocka_unit_test(test_inline),
        cmocka_unit_test(test_inline_double_quotes),
        cmocka_unit_test(test_inline_quoted_nul_and_high_bytes),
        cmocka_unit_test(test_inline_single_quotes),
        cmocka_unit_test(test_inline_unbalanced),
        cmocka_unit_test(test_inline_many_quoted),
        cmocka_unit_test(test_endless_lines),
        cmocka_unit_test(test_inline_of_full_length),
        cmocka_unit_test(test_nul_hides_line_end),
        cmocka_unit_test(test_half_frame_allocates_nothing),
        cmocka_unit_test(test_failed_fast_path_gives_memory_back),
        cmocka_unit_test(test_pipeline_of_all_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
