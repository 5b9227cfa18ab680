/* cli/bench_load_priv.h: one thread of the generator, shared by bench_load.c (threads, window,
 * totals) and bench_conn.c (connections, sends, replies). */
#ifndef MOON_CLI_BENCH_LOAD_PRIV_H
#define MOON_CLI_BENCH_LOAD_PRIV_H

#include "cli/bench_load.h"

#include <stdatomic.h>

struct load_worker;

struct load_conn {
    struct io_stream stream;
    struct load_worker *worker;
    struct load_conn *next_ready;
    uint8_t *wire;        /* plan->pipeline requests; borrowed by the stream while sending */
    struct buf carry;     /* start of a reply whose rest has not come */
    uint32_t outstanding; /* replies still to come */
    bool sending, opened, authenticating;
    uint64_t start_ns; /* latency of the batch under way counts from here */
};

/* What threads tell each other. */
struct load_shared {
    const struct bench_plan *plan;
    atomic_bool stop;  /* a thread failed: all end */
    uint64_t start_ns; /* written by thread 0 between the barriers */
};

struct load_worker {
    struct load_shared *shared;
    const struct bench_plan *plan;
    uint32_t index;
    struct io *io;
    enum io_kind io_kind; /* what io_open() chose */
    const char *io_why;
    struct load_conn *conns;
    size_t wire_bytes;                               /* of each connection's wire */
    uint32_t conns_count, gone_count, unready_count; /* unready: not authenticated yet */
    struct load_conn *ready, **ready_tail; /* first in, first out: connections take turns */
    struct rng rng;
    uint64_t sequence;    /* next number of a sequential run */
    uint64_t quota;       /* requests that may still be sent */
    uint64_t in_flight;   /* requests sent and not answered */
    uint64_t turn_ns;     /* clock of this turn's completions, 0: not read yet */
    double interval_ns;   /* open loop: between batches; 0: closed loop */
    uint64_t schedule_ns; /* open loop: when batch 0 was due */
    uint64_t batches_due; /* open loop: number of the next batch */
    bool measuring;
    atomic_uint_fast64_t done; /* answered since the start, for thread 0's view of the whole */
    uint64_t measured, errors, nulls;
    uint64_t window_start_ns, window_end_ns, cpu_start_ns, cpu_end_ns;
    enum cli_exit failed; /* CLI_OK: not */
    char why[BENCH_TEXT_MAX];
    char first_error[BENCH_TEXT_MAX];
    struct stat_histogram latency;
};

/* Opens this thread's connections and sends the password where there is one. */
void load__open(struct load_worker *w);
/* Starts what may start at now_ns. Returns when the next batch is due, UINT64_MAX if completions
 * alone decide. */
uint64_t load__start_batches(struct load_worker *w, uint64_t now_ns);
/* One turn of at most wait_us (-1: no bound). */
void load__turn(struct load_worker *w, int64_t wait_us);
/* Closes and frees everything load__open() made, however far it came. */
void load__close(struct load_worker *w);
/* The first failure of a thread stays; it stops all threads. */
COLD void load__fail(struct load_worker *w, enum cli_exit code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
