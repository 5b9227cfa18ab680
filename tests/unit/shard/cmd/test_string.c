/* Strings: every command, option and error, as Redis 7.4 answers. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"

static struct fixture *start(void)
{
    return fixture_new(&string_cmds);
}

static void test_get_set(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "$-1\r\n", "GET", "k");
    expect(f, "+OK\r\n", "SET", "k", "v");
    expect(f, "$1\r\nv\r\n", "GET", "k");
    expect_log(f, "SET k v\n");
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
