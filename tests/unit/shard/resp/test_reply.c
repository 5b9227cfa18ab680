/* tests/unit/shard/resp/test_reply.c: the bytes of every kind of reply in both protocols. */
#include "shard/resp/reply.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct both {
    struct buf out2, out3;
    struct reply r2, r3;
};

static void begin(struct both *b)
{
    buf_init(&b->out2, MEM_TEST);
    buf_init(&b->out3, MEM_TEST);
    b->r2 = (struct reply){.out = &b->out2, .proto = 2};
    b->r3 = (struct reply){.out = &b->out3, .proto = 3};
}

static void expect_out(struct buf *out, struct bytes expected)
{
    if (!bytes_equal(buf_bytes(out), expected)) {
        print_error("expected: %.*s\nwritten:  %.*s\n", (int)expected.len,
                    (const char *)expected.data, (int)out->len, (const char *)out->data);
        fail();
    }
    buf_free(out);
}

/* Runs `call` on r in both protocols and compares the bytes. */
#define EXPECT(call, wire2, wire3)                                                                 \
    do {                                                                                           \
        struct both b;                                                                             \
        begin(&b);                                                                                 \
        struct reply *r = &b.r2;                                                                   \
        call;                                                                                      \
        r = &b.r3;                                                                                 \
        call;                                                                                      \
        expect_out(&b.out2, BYTES_LIT(wire2));                                                     \
        expect_out(&b.out3, BYTES_LIT(wire3));                                                     \
    } while (0)
#define EXPECT_SAME(call, wire) EXPECT(call, wire, wire)

static void test_lines(void **state)
{
    (void)state;
    EXPECT_SAME(reply_ok(r), "+OK\r\n");
    EXPECT_SAME(reply_status(r, "PONG"), "+PONG\r\n");
    EXPECT_SAME(reply_error(r, ERR_SYNTAX), "-ERR syntax error\r\n");
    EXPECT_SAME(reply_error(r, "ERR a\r\nb\nc\r\n"), "-ERR a  b c\r\n");
    EXPECT_SAME(reply_error(r, "\n"), "-\r\n");
    EXPECT_SAME(reply_errorf(r, "ERR unknown '%s', %d", "x\ny", 7), "-ERR unknown 'x y', 7\r\n");
    EXPECT_SAME(reply_raw(r, BYTES_LIT("*0\r\n")), "*0\r\n");
    EXPECT_SAME(reply_raw(r, (struct bytes){0}), "");
}

static void test_error_is_remembered(void **state)
{
    (void)state;
    struct both b;
    begin(&b);
    reply_ok(&b.r2);
    assert_false(b.r2.errored);
    reply_error(&b.r2, ERR_NO_KEY);
    assert_true(b.r2.errored);
    b.r3.muted = true;
    reply_errorf(&b.r3, "ERR %d", 1);
    assert_true(b.r3.errored);
    assert_int_equal(b.out3.len, 0);
    buf_free(&b.out2);
}

static void test_long_error(void **state)
{
    (void)state;
    for (size_t len = 500; len < 520; len++) { /* around the size of the local text */
        struct both b;
        begin(&b);
        char *word = mem_alloc(MEM_TEST, len + 1);
        memset(word, 'x', len);
        word[len] = '\0';
        reply_errorf(&b.r2, "%s", word);
        assert_int_equal(b.out2.len, len + 3);
        assert_memory_equal(b.out2.data + 1, word, len);
        assert_memory_equal(b.out2.data + 1 + len, "\r\n", 2);
        mem_free(MEM_TEST, word, len + 1);
        buf_free(&b.out2);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const int64_t numbers[] = {0,         1,         9,     10, 99,       100, 101,
                                      999,       1000,      12345, -1, -9,       -10, -1000,
                                      INT64_MAX, INT64_MIN, 500,   42, INT32_MAX};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        struct both b;
        begin(&b);
        char expected[64];
        int len = snprintf(expected, sizeof expected, ":%lld\r\n", (long long)numbers[i]);
        reply_i64(&b.r2, numbers[i]);
        expect_out(&b.out2, bytes_view(expected, (size_t)len));
    }
    for (int64_t n = 0; n <= 1100; n++) {
        struct both b;
        begin(&b);
        char expected[64];
        int len = snprintf(expected, sizeof expected, "*%lld\r\n", (long long)n);
        reply_array(&b.r2, n);
        expect_out(&b.out2, bytes_view(expected, (size_t)len));
    }
    EXPECT_SAME(reply_bulk_i64(r, -123), "$4\r\n-123\r\n");
}

static void test_bulks(void **state)
{
    (void)state;
    EXPECT_SAME(reply_bulk(r, BYTES_LIT("a\r\n\0b")), "$5\r\na\r\n\0b\r\n");
    EXPECT_SAME(reply_bulk(r, (struct bytes){0}), "$0\r\n\r\n");
    EXPECT_SAME(reply_bulk_text(r, "hello world"), "$11\r\nhello world\r\n");
    EXPECT_SAME(memcpy(reply_bulk_space(r, 3), "abc", 3), "$3\r\nabc\r\n");
    EXPECT(reply_verbatim(r, "txt", BYTES_LIT("some")), "$4\r\nsome\r\n", "=8\r\ntxt:some\r\n");
    EXPECT(reply_verbatim(r, "mkd", (struct bytes){0}), "$0\r\n\r\n", "=4\r\nmkd:\r\n");
}

static void test_bulk_of_every_header_size(void **state)
{
    (void)state;
    for (size_t len = 1; len < 200000; len = len * 10 - 1) {
        struct both b;
        begin(&b);
        uint8_t *space = reply_bulk_space(&b.r2, len);
        memset(space, 'v', len);
        struct bytes body = bytes_view(space, len);
        reply_bulk(&b.r3, body);
        expect_out(&b.out3, buf_bytes(&b.out2));
        assert_memory_equal(b.out2.data + b.out2.len - 2, "\r\n", 2);
        buf_free(&b.out2);
        if (len == 1) len = 2;
    }
}

static void test_nulls_and_bools(void **state)
{
    (void)state;
    EXPECT(reply_null(r), "$-1\r\n", "_\r\n");
    EXPECT(reply_null_array(r), "*-1\r\n", "_\r\n");
    EXPECT(reply_bool(r, true), ":1\r\n", "#t\r\n");
    EXPECT(reply_bool(r, false), ":0\r\n", "#f\r\n");
}

static void test_aggregates(void **state)
{
    (void)state;
    EXPECT_SAME(reply_array(r, 0), "*0\r\n");
    EXPECT(reply_map(r, 3), "*6\r\n", "%3\r\n");
    EXPECT(reply_set(r, 12), "*12\r\n", "~12\r\n");
    EXPECT(reply_push(r, 3), "*3\r\n", ">3\r\n");
}

static void test_doubles(void **state)
{
    (void)state;
    EXPECT(reply_double(r, 1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    EXPECT(reply_double(r, 3), "$1\r\n3\r\n", ",3\r\n");
    EXPECT(reply_double(r, (double)INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    EXPECT(reply_double(r, -(double)INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
}

/* ---- deferred aggregates */

static void write_later(struct reply *r, char type, int64_t count)
{
    reply_ok(r);
    struct reply_later later = reply_later(r, type);
    for (int64_t i = 0; i < (type == '%' ? 2 * count : count); i++)
        reply_i64(r, i % 10);
    reply_later_done(r, later, count);
    reply_ok(r);
}

static void test_later_of_every_header_size(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 9, 10, 99, 100, 500, 999, 1000, 12345};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        for (const char *type = "*%~"; *type != '\0'; type++) {
            struct both later, known;
            begin(&later);
            begin(&known);
            for (int proto = 2; proto <= 3; proto++) {
                struct reply *r = proto == 2 ? &known.r2 : &known.r3;
                write_later(proto == 2 ? &later.r2 : &later.r3, *type, counts[i]);
                reply_ok(r);
                if (*type == '*') reply_array(r, counts[i]);
                if (*type == '%') reply_map(r, counts[i]);
                if (*type == '~') reply_set(r, counts[i]);
                for (int64_t n = 0; n < (*type == '%' ? 2 : 1) * counts[i]; n++)
                    reply_i64(r, n % 10);
                reply_ok(r);
            }
            expect_out(&later.out2, buf_bytes(&known.out2));
            expect_out(&later.out3, buf_bytes(&known.out3));
            buf_free(&known.out2);
            buf_free(&known.out3);
        }
    }
}

static void write_nested(struct reply *r)
{
    struct reply_later outer = reply_later(r, '*');
    reply_bulk_text(r, "cursor");
    struct reply_later first = reply_later(r, '%');
    reply_i64(r, 1);
    reply_i64(r, 2);
    reply_later_done(r, first, 1);
    struct reply_later second = reply_later(r, '~');
    reply_later_done(r, second, 0);
    reply_later_done(r, outer, 3);
}

static void test_later_nested(void **state)
{
    (void)state;
    EXPECT(write_nested(r), "*3\r\n$6\r\ncursor\r\n*2\r\n:1\r\n:2\r\n*0\r\n",
           "*3\r\n$6\r\ncursor\r\n%1\r\n:1\r\n:2\r\n~0\r\n");
}

/* ---- nobody listens */

static void write_everything(struct reply *r)
{
    reply_raw(r, BYTES_LIT("x"));
    reply_ok(r);
    reply_status(r, "x");
    reply_error(r, "ERR x");
    reply_errorf(r, "ERR %s", "x");
    reply_i64(r, 1);
    reply_bulk(r, BYTES_LIT("x"));
    reply_bulk_text(r, "x");
    reply_bulk_i64(r, 1);
    assert_null(reply_bulk_space(r, 5));
    reply_null(r);
    reply_null_array(r);
    reply_array(r, 1);
    reply_map(r, 1);
    reply_set(r, 1);
    reply_push(r, 1);
    reply_double(r, 1.5);
    reply_bool(r, true);
    reply_verbatim(r, "txt", BYTES_LIT("x"));
    struct reply_later later = reply_later(r, '*');
    reply_later_done(r, later, 3);
}

static void test_muted_writes_nothing(void **state)
{
    (void)state;
    for (uint8_t proto = 2; proto <= 3; proto++) {
        struct buf out;
        buf_init(&out, MEM_TEST);
        write_everything(&(struct reply){.out = &out, .proto = proto, .muted = true});
        assert_int_equal(out.len, 0);
        assert_null(out.data);
        write_everything(&(struct reply){.out = NULL, .proto = proto});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),           cmocka_unit_test(test_error_is_remembered),
        cmocka_unit_test(test_long_error),      cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_bulks),           cmocka_unit_test(test_bulk_of_every_header_size),
        cmocka_unit_test(test_nulls_and_bools), cmocka_unit_test(test_aggregates),
        cmocka_unit_test(test_doubles),         cmocka_unit_test(test_later_of_every_header_size),
        cmocka_unit_test(test_later_nested),    cmocka_unit_test(test_muted_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
