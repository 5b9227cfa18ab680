/* shard/base/assert.c: the end of a process that found itself wrong. */
#include "shard/base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void assert_fail(const char *expr, const char *file, int line)
{
    /* dprintf, not stdio: no lock that the failing thread might hold, no buffer that abort() loses. */
    (void)dprintf(STDERR_FILENO, "%s:%d: assertion failed: %s\n", file, line, expr);
    abort();
}
