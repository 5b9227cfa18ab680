/* shard/rt/io.c: which implementation a thread gets. */
#include "shard/rt/io.h"

#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/rt/io_priv.h"

static bool uring_forbidden(void)
{
    const char *no = getenv("MOON_NO_URING");
    return no != NULL && no[0] != '\0' && strcmp(no, "0") != 0;
}

static bool power_of_two(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

enum rc io_open(const struct io_opts *opts, struct io **out, const char **why_out)
{
    assert(opts->kind != IO_SIM); /* made by tests/sim */
    assert(power_of_two(opts->entries));
    assert(power_of_two(opts->buffers));
    assert(opts->buffers <= 32768); /* the kernel's limit for a buffer ring */
    assert(opts->buffer_bytes >= 512);
    *why_out = NULL;
    if (opts->kind != IO_EPOLL) {
        enum rc rc = RC_UNSUPPORTED;
        if (uring_forbidden())
            *why_out = "io_uring is switched off by MOON_NO_URING in the environment";
        else
            rc = io__uring_open(opts, out, why_out);
        if (rc == RC_OK || opts->kind == IO_URING) return rc;
    }
    return io__epoll_open(opts, out);
}
