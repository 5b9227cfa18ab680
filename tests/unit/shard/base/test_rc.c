#include "shard/base/rc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_every_code_has_its_own_text(void **state)
{
    (void)state;
    for (int i = 0; i < RC_COUNT; i++) {
        assert_true(strlen(rc_text((enum rc)i)) > 0);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(rc_text((enum rc)i), rc_text((enum rc)j));
        }
    }
    assert_non_null(rc_text((enum rc)RC_COUNT));
    assert_non_null(rc_text((enum rc) - 1));
}

static void test_errno_is_mapped(void **state)
{
    (void)state;
    assert_int_equal(rc_from_errno(0), RC_OK);
    assert_int_equal(rc_from_errno(-ENOMEM), RC_NOMEM);
    assert_int_equal(rc_from_errno(-ENOSPC), RC_NOSPACE);
    assert_int_equal(rc_from_errno(-EDQUOT), RC_NOSPACE);
    assert_int_equal(rc_from_errno(-EIO), RC_IO);
    assert_int_equal(rc_from_errno(-EAGAIN), RC_AGAIN);
    assert_int_equal(rc_from_errno(-ENOENT), RC_NOTFOUND);
    assert_int_equal(rc_from_errno(-EEXIST), RC_EXISTS);
    assert_int_equal(rc_from_errno(-EPIPE), RC_CLOSED);
}

static void test_only_zero_is_ok(void **state)
{
    (void)state;
    for (int err = 1; err < 4096; err++)
        assert_int_not_equal(rc_from_errno(-err), RC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_its_own_text),
        cmocka_unit_test(test_errno_is_mapped),
        cmocka_unit_test(test_only_zero_is_ok),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
