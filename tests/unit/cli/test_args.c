/* Options of a verb: forms, ranges, where they end. */
#include "cli/args.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const colours[] = {"red", "green", NULL};

struct values {
    bool flag;
    uint64_t count;
    uint32_t port, colour;
    double seconds;
    const char *host;
};

static enum args_result parse(struct values *v, struct args *a, char **argv)
{
    const struct args_option options[] = {
        {.letter = 'f', .name = "flag", .kind = ARGS_FLAG, .target = &v->flag},
        {.letter = 'n', .name = "count", .kind = ARGS_U64, .target = &v->count},
        {.letter = 'p',
         .name = "port",
         .kind = ARGS_U32,
         .target = &v->port,
         .min = 1,
         .max = 65535},
        {.name = "colour", .kind = ARGS_CHOICE, .target = &v->colour, .choices = colours},
        {.letter = 'd',
         .name = "seconds",
         .kind = ARGS_DOUBLE,
         .target = &v->seconds,
         .min = 0,
         .max = 10},
        {.letter = 'h', .name = "host", .kind = ARGS_TEXT, .target = &v->host},
    };
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    *v = (struct values){.port = 6379, .host = "here"};
    *a = (struct args){.usage = "test", .options = options, .options_count = COUNT_OF(options)};
    enum args_result r = args_parse(a, argc, argv);
    a->options = NULL;
    return r;
}

#define WORDS(...) ((char *[]){(char[]){"verb"}, __VA_ARGS__, NULL})
#define W(text) ((char[]){text})

static void test_every_form_of_a_value(void **state)
{
    struct values v;
    struct args a;
    (void)state;
    assert_int_equal(parse(&v, &a,
                           WORDS(W("-p"), W("7000"), W("--host"), W("a.b"), W("--count=4k"),
                                 W("-d0.5"), W("--colour"), W("green"), W("-f"))),
                     ARGS_DONE);
    assert_int_equal(v.port, 7000);
    assert_string_equal(v.host, "a.b");
    assert_int_equal(v.count, 4000);
    assert_true(v.seconds == 0.5);
    assert_int_equal(v.colour, 1);
    assert_true(v.flag);
    assert_int_equal(a.rest_count, 0);
}

static void test_what_is_absent_keeps_its_value(void **state)
{
    struct values v;
    struct args a;
    (void)state;
    assert_int_equal(parse(&v, &a, WORDS(W("--flag"))), ARGS_DONE);
    assert_int_equal(v.port, 6379);
    assert_string_equal(v.host, "here");
}

static void test_options_end_at_the_first_other_word(void **state)
{
    struct values v;
    struct args a;
    (void)state;
    assert_int_equal(parse(&v, &a, WORDS(W("-n"), W("1"), W("SET"), W("-p"), W("1"))), ARGS_DONE);
    assert_int_equal(a.rest_count, 3);
    assert_string_equal(a.rest[0], "SET");
    assert_int_equal(v.port, 6379);
    assert_int_equal(parse(&v, &a, WORDS(W("--"), W("--port"))), ARGS_DONE);
    assert_int_equal(a.rest_count, 1);
    assert_int_equal(parse(&v, &a, WORDS(W("-"))), ARGS_DONE);
    assert_int_equal(a.rest_count, 1);
}

static void test_what_is_wrong_is_refused(void **state)
{
    char *const bad[][3] = {
        {(char[]){"--prot"}, (char[]){"1"}, NULL},
        {(char[]){"-x"}, NULL, NULL},
        {(char[]){"--port"}, NULL, NULL},
        {(char[]){"--port"}, (char[]){"0"}, NULL},
        {(char[]){"--port"}, (char[]){"65536"}, NULL},
        {(char[]){"--port"}, (char[]){"-1"}, NULL},
        {(char[]){"--port"}, (char[]){"1x"}, NULL},
        {(char[]){"--port"}, (char[]){""}, NULL},
        {(char[]){"--colour"}, (char[]){"blue"}, NULL},
        {(char[]){"--seconds"}, (char[]){"inf"}, NULL},
        {(char[]){"--seconds"}, (char[]){"11"}, NULL},
        {(char[]){"--flag=yes"}, NULL, NULL},
        {(char[]){"--count"}, (char[]){"99999999999999999999"}, NULL},
    };
    struct values v;
    struct args a;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(parse(&v, &a, WORDS(bad[i][0], bad[i][1])), ARGS_BAD);
        assert_int_equal(v.port, 6379);
    }
}

static void test_help_is_an_answer(void **state)
{
    struct values v;
    struct args a;
    (void)state;
    assert_int_equal(parse(&v, &a, WORDS(W("-f"), W("--help"))), ARGS_HELPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form_of_a_value),
        cmocka_unit_test(test_what_is_absent_keeps_its_value),
        cmocka_unit_test(test_options_end_at_the_first_other_word),
        cmocka_unit_test(test_what_is_wrong_is_refused),
        cmocka_unit_test(test_help_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
