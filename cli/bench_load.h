/* cli/bench_load.h: the load generator. Each thread owns a ring (or epoll), its share of the
 * connections, and one histogram; what they share is a window of time and counters.
 *
 * A connection sends its whole pipeline in one send and starts the next one when the last reply is
 * in. Closed loop: at once. Open loop (rate > 0): when the schedule says so; a batch that finds no
 * connection free waits, and its latency counts from when it should have been sent. */
#ifndef MOON_CLI_BENCH_LOAD_H
#define MOON_CLI_BENCH_LOAD_H

#include "cli/bench_request.h"
#include "cli/cli.h"
#include "shard/base/stat.h"
#include "shard/rt/io.h"

#define BENCH_CONNS_MAX 10000u
#define BENCH_PIPELINE_MAX 10000u
#define BENCH_THREADS_MAX 64u
#define BENCH_TEXT_MAX 160u

struct bench_target {
    const char *host;
    uint16_t port;
    const char *path; /* Unix socket instead, or NULL */
    const char *auth; /* "password" or "user:password", or NULL */
};
struct bench_plan {
    struct bench_target target;
    const struct bench_request *request; /* borrowed */
    enum io_kind io;
    uint32_t conns, pipeline, threads;
    uint64_t requests; /* measured ones, over all threads; 0: by duration */
    uint64_t duration_ns;
    uint64_t warmup_ns; /* before the measured part, same load */
    double rate;        /* requests a second over all threads; 0: closed loop */
    uint64_t seed;
    bool sequential;    /* numbers 0, 1, 2 … instead of random ones */
    int32_t cpu;        /* thread i is pinned to cpu + i; -1: not */
    int64_t server_pid; /* 0: unknown */
};
struct bench_result {
    uint64_t requests; /* answered inside the measured window, errors included */
    uint64_t errors, nulls;
    uint64_t wall_ns;
    double generator_share; /* CPU time over wall time of the busiest thread */
    bool server_known;
    uint64_t server_cpu_ns;   /* inside the window */
    uint64_t server_wait_ns;  /* ready to run, but another process had its CPU: noise */
    uint64_t server_requests; /* answered in it, as counted when the server was looked at */
    uint64_t server_rss_before, server_rss_after; /* around the whole run, warm-up included */
    enum io_kind io;                              /* what was used */
    const char *io_why;                           /* static: why not io_uring, or NULL */
    char first_error[BENCH_TEXT_MAX];
    struct stat_histogram latency;
};

/* CLI_OK with *out filled, also when replies were errors; anything else was said on stderr. */
MUST_CHECK enum cli_exit bench_load_run(const struct bench_plan *plan, struct bench_result *out);

#endif
