/* cli/proc.h: what a process on this machine has used, from /proc. */
#ifndef MOON_CLI_PROC_H
#define MOON_CLI_PROC_H

#include "shard/base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct proc_usage {
    uint64_t cpu_ns;  /* user + system of all its live threads; a running one lags ≤ one tick */
    uint64_t wait_ns; /* they were ready to run, but another process had the CPU */
    uint64_t rss_bytes;
};
/* False if the process is not there or may not be looked at. */
MUST_CHECK bool proc_usage_read(int64_t pid, struct proc_usage *out);

#endif
