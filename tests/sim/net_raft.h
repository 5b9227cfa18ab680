/* tests/sim/net_raft.h: a simulated cluster of control-log members: one thread, one seed. Each node has
 * a disk (io_sim), a clock of its own rate and the real raftlog/; between them a network that delays,
 * loses, repeats and reorders. The world checks after every event what Raft promises; the first broken
 * promise ends the process with the seed and the last events. */
#ifndef MOON_TESTS_NET_RAFT_H
#define MOON_TESTS_NET_RAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "raftlog/raftlog.h"
#include "shard/base/rng.h"
#include "tests/sim/io_sim.h"

#define NET_NODES_MAX 8u
#define NET_CLIENTS 3u
#define NET_WINDOW 8u /* unresolved proposals of a client */
#define NET_EVENTS_KEPT 400u

/* Drawn by the seed; 0 switches a thing off. */
struct net_opts {
    uint32_t voters, spares; /* nodes at the start; nodes that may join */
    uint32_t delay_us_min, delay_us_max, tail_permille;
    uint32_t loss_permille, repeat_permille;
    uint32_t disk_us_min, disk_us_max;
    uint64_t disk_bytes;
    uint32_t crash_ms, pause_ms, cut_ms, disk_fault_ms, churn_ms, transfer_ms; /* mean interval */
    uint32_t flip_permille; /* of crashes that damage a file */
    uint32_t propose_ms, payload_bytes_max;
    uint32_t snapshot_entries, snapshot_bytes, trailing_entries, segment_bytes;
    uint32_t election_ms, heartbeat_ms;
    uint32_t rate_ppm; /* clocks differ by up to this */
    uint32_t safety_ms, live_ms;
    bool topology; /* entries are the topology's */
};
void net_swarm(struct net_opts *o, uint64_t seed);

struct net;
struct net_message {
    uint64_t from, to; /* raft ids */
    struct bytes bytes;
};
/* NET_KEEP: until net_release(). NET_COPY: pass it, and once more then. */
enum net_verdict { NET_PASS, NET_DROP, NET_KEEP, NET_COPY };

struct net *net_new(uint64_t seed, const struct net_opts *opts);
void net_free(struct net *n);
/* All faults for safety_ms, then heals and demands progress. Returns the steps it took. */
uint64_t net_campaign(struct net *n);

/* ---- for directed tests: nodes by place, 0 .. voters + spares - 1 */
void net_run_ms(struct net *n, uint64_t ms);
bool net_run_until(struct net *n, bool (*met)(struct net *n, void *ctx), void *ctx, uint64_t ms);
struct rl *net_rl(struct net *n, uint32_t node); /* NULL: down */
uint64_t net_id(const struct net *n, uint32_t node);
struct io_sim *net_disk(struct net *n, uint32_t node);
uint64_t net_now_ms(const struct net *n, uint32_t node);
uint32_t net_place(const struct net *n, uint64_t id); /* NET_NODES_MAX: nobody */
void net_crash(struct net *n, uint32_t node);         /* power loss */
void net_start(struct net *n, uint32_t node);
void net_stop(struct net *n, uint32_t node); /* clean */
void net_pause(struct net *n, uint32_t node, uint64_t ms);
void net_cut(struct net *n, uint32_t from, uint32_t to, bool cut); /* one way */
void net_isolate(struct net *n, uint32_t node, bool isolated);
void net_filter(struct net *n, enum net_verdict (*filter)(void *ctx, const struct net_message *m),
                void *ctx);
void net_release(struct net *n); /* what the filter kept goes out now */
void net_no_ticks(struct net *n, uint32_t node, bool frozen);   /* its timers stand still */
void net_disk_will_fail(struct net *n, uint32_t node, int err); /* its next write, and all after */
uint64_t net_applied(const struct net *n); /* highest index that anyone applied */
uint32_t net_resolved(const struct net *n);
uint32_t net_leader(struct net *n);           /* place of a ready leader, NET_NODES_MAX: none */
bool net_converged(struct net *n, void *ctx); /* a leader, and all its members are where it is */
_Noreturn void net_fail(struct net *n, const char *fmt, ...) PRINTF_LIKE(2, 3);
void net_note(struct net *n, uint32_t node, const char *what, uint64_t a, uint64_t b);

/* ---- what was met, so that nobody takes an empty run for a good one: sums of one process */
enum net_sum { /* below: entries that were applied, by their type */
               NET_SUM_REFUSED = 56,
               NET_SUM_REPEATED,
               NET_SUM_RESTORED, /* snapshots: at a start, or from the leader */
               NET_SUM_INSTALLED,
               NET_SUM_LEADERS,
               NET_SUM_RESOLVED, /* proposals */
               NET_SUM_FAULTS,
               NET_SUM_HEAL_MS, /* from the end of all faults to all proposals resolved and all members alike */
               NET_SUMS,
};
extern uint64_t net_sums[NET_SUMS];

/* ---- runs of many seeds, each in its own process */
struct net_counts {
    uint32_t passed, failed;
    uint64_t steps, first_failed;
    uint64_t sums[NET_SUMS];
};
extern uint32_t net_fork_jobs;
/* run() returns the steps it took; a process that does not exit with 0 has failed. */
void net_fork_seeds(uint64_t first, uint32_t count, uint64_t (*run)(uint64_t seed), bool quiet,
                    struct net_counts *out);

#endif
