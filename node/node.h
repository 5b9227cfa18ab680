/* node/node.h: the process: its settings, its workers (one per shard), its command registry. One struct
 * node per process, filled by main.c, alive until exit. */
#ifndef MOON_NODE_NODE_H
#define MOON_NODE_NODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "shard/base/limits.h"
#include "shard/exec/core.h"

struct worker;

/* How far the start is: load.c. */
enum node_phase { NODE_CHECKS, NODE_REPLAYS, NODE_OPENS, NODE_SERVES };
struct node_load {
    _Atomic uint32_t phase;        /* enum node_phase */
    _Atomic uint32_t workers_done; /* with the phase */
    atomic_bool failed;            /* a worker could not */
    int64_t start_wall_us;
    _Atomic uint64_t file_bytes, checked_bytes; /* main checks the logs */
    _Atomic uint64_t replay_bytes;              /* what each worker reads of them */
};

struct node_park {      /* park.h */
    atomic_bool inside; /* a thread that cannot stand wants all others to */
    uint64_t held;      /* of it: tokens that it came with */
    atomic_bool locked;
    _Atomic uint64_t turn;
    uint64_t asleep, standing; /* bits: whose tokens the one that began the turn holds */
};

struct node {
    struct core_shared shared;
    struct worker *workers[SHARDS_MAX];
    uint32_t shards;
    struct journal_set *journal_set; /* NULL: appendonly no */
    struct journal_track *track;     /* the cut over all logs; NULL: one shard, or no log */
    int64_t start_wall_us;
    char run_id[41];
    char executable[256], config_file[256]; /* config_file empty: none */
    char dir[256];                          /* data directory, absolute */
    _Atomic uint64_t next_client_id;
    _Atomic uint32_t clients; /* connected, all shards */
    _Atomic int32_t blocked;  /* of them, in a blocking command */
    struct node_load load;
    struct node_park park;
    _Alignas(64) atomic_bool script; /* one runs that may want all shards to stand: node/script.c */
    _Alignas(
        64) _Atomic uint64_t tickets; /* every transaction over several shards takes one: txn.c */
    _Alignas(64) atomic_bool stopping;
    _Atomic uint32_t stop_quiet, stop_logs; /* workers that have taken that step: stop.c */
    const char *io_name;                    /* "io_uring" or "epoll" */
};
extern struct node node;

/* Asks the process to stop (SHUTDOWN, SIGTERM). Any thread. */
void node_stop(void);
/* Sends a signal to the main thread, which waits for some. */
void node_ring(int signal_number);
/* The data is not all there yet. Any thread. */
static inline bool node_loading(void)
{
    return atomic_load_explicit(&node.load.phase, memory_order_relaxed) != NODE_SERVES;
}

#endif
