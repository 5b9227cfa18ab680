/* Which word was meant. */
#include "cli/cli.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const verbs[] = {"bench", "status", "version", "node"};

static const char *nearest(const char *word)
{
    return cli_nearest(word, verbs, COUNT_OF(verbs));
}

static void test_a_slip_finds_its_verb(void **state)
{
    (void)state;
    assert_string_equal(nearest("bnech"), "bench");
    assert_string_equal(nearest("benhc"), "bench");
    assert_string_equal(nearest("statu"), "status");
    assert_string_equal(nearest("stattus"), "status");
    assert_string_equal(nearest("vershion"), "version");
    assert_string_equal(nearest("node"), "node");
}

static void test_what_is_far_suggests_nothing(void **state)
{
    (void)state;
    assert_null(nearest("x"));
    assert_null(nearest("reticulate"));
    assert_null(nearest(""));
    assert_null(nearest("a-word-that-is-longer-than-any-verb-will-ever-be"));
    assert_null(cli_nearest("bench", verbs, 0));
}

static void test_the_nearer_of_two_wins(void **state)
{
    static const char *const words[] = {"list", "last", "lost"};
    (void)state;
    assert_string_equal(cli_nearest("losst", words, COUNT_OF(words)), "lost");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slip_finds_its_verb),
        cmocka_unit_test(test_what_is_far_suggests_nothing),
        cmocka_unit_test(test_the_nearer_of_two_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
