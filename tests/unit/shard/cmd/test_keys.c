/* Keys: every command, option and error, as Redis 7.4 answers; what is logged; what is told. */
#include "shard/cmd/cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/cmd_fixture.h"

static struct fixture *start(void)
{
    return fixture_new(&string_cmds, &keys_cmds, &scan_cmds, &debug_cmds);
}

static void test_del(void **state)
{
    (void)state;
    struct fixture *f = start();
    expect(f, "+OK\r\n", "MSET", "a", "1", "b", "2", "c", "3");
    expect(f, ":2\r\n", "DEL", "a", "nothing", "c", "a");
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_del),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
