/* Requests with holes for digits: the image, what is drawn into it, and what is refused. */
#include "cli/bench_request.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "shard/base/arena.h"
#include "shard/resp/parse.h"

static const struct bench_shape shape = {
    .range = 1000000, .key_bytes = 16, .value_bytes = 8, .seed = 1};

static void build(struct bench_request *r, const struct bench_shape *s, const char *const *words,
                  uint32_t count)
{
    const char *why = NULL;
    assert_true(bench_request_build(r, s, words, count, &why));
}

static void assert_wire(const struct bench_request *r, const char *text)
{
    assert_int_equal(r->wire.len, strlen(text));
    assert_memory_equal(r->wire.data, text, r->wire.len);
}

static void test_a_command_without_placeholders(void **state)
{
    static const char *const words[] = {"ECHO", "", "a b"};
    struct bench_request r;
    (void)state;
    build(&r, &shape, words, 3);
    assert_wire(&r, "*3\r\n$4\r\nECHO\r\n$0\r\n\r\n$3\r\na b\r\n");
    assert_int_equal(r.spots_count, 0);
    bench_request_free(&r);
}

static void test_keys_have_their_length_and_number(void **state)
{
    static const char *const words[] = {"GET", "__key__"};
    struct bench_request r;
    (void)state;
    build(&r, &shape, words, 2);
    assert_wire(&r, "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n");
    bench_request_number(&r, r.wire.data, 123456);
    assert_wire(&r, "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000123456\r\n");
    bench_request_number(&r, r.wire.data, 1000007); /* round the range */
    assert_wire(&r, "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000007\r\n");
    bench_request_free(&r);
}

static void test_placeholders_inside_a_word(void **state)
{
    static const char *const words[] = {"ZADD", "z", "__rand__", "m:__rand__:__data__!"};
    struct bench_request r;
    (void)state;
    build(&r, &shape, words, 4);
    bench_request_number(&r, r.wire.data, 42);
    assert_int_equal(r.spots_count, 2);
    assert_memory_equal(
        r.wire.data,
        "*4\r\n$4\r\nZADD\r\n$1\r\nz\r\n$12\r\n000000000042\r\n$24\r\nm:000000000042:", 59);
    assert_memory_equal(r.wire.data + r.wire.len - 3, "!\r\n", 3);
    for (size_t i = r.wire.len - 11; i < r.wire.len - 3; i++)
        assert_in_range(r.wire.data[i], 'a', 'z');
    bench_request_free(&r);
}

static void test_short_keys(void **state)
{
    static const char *const words[] = {"GET", "__key__"};
    struct bench_shape s = {.range = 1000, .key_bytes = 3, .value_bytes = 1};
    struct bench_request r;
    const char *why = NULL;
    (void)state;
    build(&r, &s, words, 2);
    bench_request_number(&r, r.wire.data, 999);
    assert_wire(&r, "*2\r\n$3\r\nGET\r\n$3\r\n999\r\n");
    bench_request_free(&r);
    s.range = 1001; /* needs a fourth digit: 1000 */
    assert_false(bench_request_build(&r, &s, words, 2, &why));
    assert_non_null(why);
    bench_request_free(&r);
}

static void test_prefix_of_keys(void **state)
{
    static const char *const words[] = {"GET", "__key__"};
    struct bench_shape s = {
        .range = 1000, .key_prefix = "{t}1:", .key_bytes = 10, .value_bytes = 1};
    struct bench_request r;
    const char *why = NULL;
    (void)state;
    build(&r, &s, words, 2);
    bench_request_number(&r, r.wire.data, 999);
    assert_wire(&r, "*2\r\n$3\r\nGET\r\n$10\r\n{t}1:00999\r\n");
    bench_request_free(&r);
    s.key_bytes = 7; /* one that was asked for is not left out */
    assert_false(bench_request_build(&r, &s, words, 2, &why));
    assert_non_null(why);
    bench_request_free(&r);
}

static void test_draws_cover_the_range_and_stay_in_it(void **state)
{
    static const char *const words[] = {"__rand__"};
    struct bench_shape s = {.range = 100, .key_bytes = 16, .value_bytes = 1};
    struct bench_request r;
    struct rng rng;
    uint32_t seen[100] = {0};
    (void)state;
    build(&r, &s, words, 1);
    rng_seed(&rng, 7);
    for (uint32_t i = 0; i < 100000; i++) {
        bench_request_draw(&r, r.wire.data, &rng);
        const uint8_t *digits = r.wire.data + r.wire.len - 4;
        seen[(uint32_t)(digits[0] - '0') * 10 + (uint32_t)(digits[1] - '0')]++;
    }
    /* Uniform: 1,000 each, standard deviation 32. */
    for (uint32_t i = 0; i < 100; i++)
        assert_in_range(seen[i], 800, 1200);
    bench_request_free(&r);
}

static void test_too_many_placeholders(void **state)
{
    const char *words[BENCH_SPOTS_MAX + 1];
    struct bench_request r;
    const char *why = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        words[i] = "__rand__";
    build(&r, &shape, words, BENCH_SPOTS_MAX);
    bench_request_free(&r);
    assert_false(bench_request_build(&r, &shape, words, BENCH_SPOTS_MAX + 1, &why));
    assert_non_null(why);
    bench_request_free(&r);
}

/* Every named test is a well-formed request with as many words as its row has. */
static void test_named_tests_are_requests(void **state)
{
    struct resp_limits limits = {.multibulk_max = 100, .bulk_max = 1000, .authenticated = true};
    struct arena args;
    (void)state;
    arena_init(&args);
    for (uint32_t i = 0; i < bench_tests_count; i++) {
        const struct bench_test *t = &bench_tests[i];
        uint32_t count = bench_words_count(t->words, BENCH_WORDS_MAX);
        struct resp_parser parser = {.args_left = -1};
        struct resp_request parsed;
        struct bench_request r;
        build(&r, &shape, t->words, count);
        assert_int_equal(resp_parse(&parser, &limits, &args, r.wire.data, r.wire.len, &parsed),
                         RESP_DONE);
        assert_int_equal(parsed.argc, count);
        assert_int_equal(parsed.wire_bytes, r.wire.len);
        bench_request_free(&r);
    }
    arena_free(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_command_without_placeholders),
        cmocka_unit_test(test_keys_have_their_length_and_number),
        cmocka_unit_test(test_placeholders_inside_a_word),
        cmocka_unit_test(test_short_keys),
        cmocka_unit_test(test_prefix_of_keys),
        cmocka_unit_test(test_draws_cover_the_range_and_stay_in_it),
        cmocka_unit_test(test_too_many_placeholders),
        cmocka_unit_test(test_named_tests_are_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
