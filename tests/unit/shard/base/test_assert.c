/* The real thing is tried in a child: it must die by SIGABRT and say where. */
#include "shard/base/assert.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shard/base/limits.h" /* must not bring libc's assert back */

static int count_evaluated;

static bool evaluated(void)
{
    count_evaluated++;
    return true;
}

static void fail_in_child(int stderr_fd)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL);
    dup2(stderr_fd, STDERR_FILENO);
    assert(count_evaluated < 0);
    _exit(0);
}

#include <cmocka.h>

static void test_failure_aborts_and_says_where(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) fail_in_child(ends[1]);
    close(ends[1]);
    char text[512] = {0};
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "test_assert.c:"));
    assert_non_null(strstr(text, "count_evaluated < 0"));
}

static void test_true_is_evaluated_once(void **state)
{
    (void)state;
    count_evaluated = 0;
    assert(evaluated());
    assert_int_equal(count_evaluated, 1);
    assert_slow(evaluated());
    assert_int_equal(count_evaluated, 2); /* unit tests are MOON_TEST builds */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_aborts_and_says_where),
        cmocka_unit_test(test_true_is_evaluated_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
