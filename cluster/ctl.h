/* cluster/ctl.h: a node's end of the control log: feeds the topology with what the log applies, proposes
 * changes of it, and hands out a slot map whenever one has changed. Which driver writes the log is hidden
 * here: today the one of a node alone (raftlog/solo.h); Raft's takes the same calls.
 *
 * All calls and callbacks on one thread, the one that turns `io`. */
#ifndef MOON_CLUSTER_CTL_H
#define MOON_CLUSTER_CTL_H

#include "cluster/slotmap.h"
#include "raftlog/raftlog.h"
#include "shard/base/clock.h"

struct ctl;

/* What this node says of itself; borrowed for the call. */
struct ctl_self {
    struct bytes ip, hostname;
    uint16_t port, tls_port, bus_port;
};
struct ctl_opts {
    struct io *io;
    const char *dir; /* borrowed for the life of the log */
    const struct clock *clock;
    struct ctl_self self;
    /* Of a node that starts for the first time. */
    struct topo_cluster_id new_cluster;
    struct topo_id new_node, new_group;
    /* A new slot map, with a reference for the callee. The first at the end of ctl_open_solo(). */
    void (*on_map)(void *ctx, struct slotmap *map, uint16_t me);
    void *ctx;
};

/* Blocking: reads what is there, makes this node a cluster of one if it is none yet. Errors as
 * solo_open(); why_out names file and offset. */
MUST_CHECK enum rc ctl_open_solo(const struct ctl_opts *opts, struct ctl **out, char *why_out,
                                 size_t why_bytes);
/* Waits for what is under way. */
void ctl_close(struct ctl *c);
/* About once a second. What this node says of itself is proposed if it is not what the topology says. */
void ctl_tick(struct ctl *c, const struct ctl_self *self);

/* ---- changes: a call is embedded in what waits for it and kept until `done` */

enum ctl_outcome {
    CTL_APPLIED,
    CTL_REFUSED, /* a precondition failed; result.text says which */
    CTL_UNKNOWN, /* it may happen or have happened: the log has stopped, text says why */
};
struct ctl_result {
    enum ctl_outcome outcome;
    uint64_t value;   /* as topology_result.value */
    const char *text; /* for people, "" if applied; for the call */
};
struct ctl_call {
    /* When the entry is on the disk and applied here, and its map was handed out. */
    void (*done)(struct ctl_call *call, const struct ctl_result *result);
    /* ctl's: */
    struct ctl *ctl;
    struct ctl_call *next;
    uint64_t counter;
    struct rl_call log_call;
};
/* Proposes an entry of that type. False: nothing happens, `done` does not come, why_out says why (static,
 * or as long as the log lives). */
MUST_CHECK bool ctl_propose(struct ctl *c, struct ctl_call *call, uint32_t type, const void *body,
                            const char **why_out);

/* ---- reading, between callbacks */
const struct topology *ctl_topology(const struct ctl *c);
struct topo_id ctl_me(const struct ctl *c);
const char *ctl_failure(const struct ctl *c); /* NULL: the log can be written */

#endif
