/* cluster/ctl.h: a node's end of the control log: feeds the topology with what the log applies, proposes
 * changes of it, and hands out a slot map whenever one has changed. Which driver writes the log is hidden
 * behind the same calls: that of a node alone (raftlog/solo.h), or Raft (raftlog/raftlog.h), where a
 * proposal goes to whoever leads and is repeated under the same name until its answer is known.
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
/* The way to other members. Messages are borrowed for the call; they may be lost, repeated, reordered. */
struct ctl_net {
    /* `address`: as the members' list of the log has it; "": not known. */
    void (*send)(void *ctx, uint64_t to, const char *address, uint16_t channel, uint8_t type,
                 struct bytes body);
    void (*on_change)(void *ctx); /* leader, members or health; may be NULL */
    void *ctx;
};
struct ctl_opts {
    struct io *io;
    const char *dir; /* absolute; borrowed for the life of the log */
    const struct clock *clock;
    struct ctl_self self;
    /* Of a node that starts for the first time. */
    struct topo_cluster_id new_cluster;
    struct topo_id new_node, new_group;
    /* A new slot map, with a reference for the callee. The first at the end of ctl_open_…(). NULL: none is
     * wanted. */
    void (*on_map)(void *ctx, struct slotmap *map, uint16_t me);
    void *ctx;
    /* Of a member. */
    struct ctl_net net;
    uint64_t now_ms;      /* as in ctl_tick() */
    uint64_t seed;        /* of election timeouts */
    uint32_t patience_ms; /* 0: 5,000. So long a change waits for a leader */
};

/* Blocking: reads what is there, makes this node a cluster of one if it is none yet. Errors as
 * solo_open(); why_out names file and offset. */
MUST_CHECK enum rc ctl_open_solo(const struct ctl_opts *opts, struct ctl **out, char *why_out,
                                 size_t why_bytes);
/* The same with Raft and this node as its only voter; a log that a node alone wrote goes on. */
MUST_CHECK enum rc ctl_open_voter(const struct ctl_opts *opts, struct ctl **out, char *why_out,
                                  size_t why_bytes);
/* One of the voters `first`, the same list at each of them, with `id`; later starts go by the log. It makes no
 * cluster: that is proposed by one of them. opts: new_cluster is the same for all, new_node its own. */
MUST_CHECK enum rc ctl_open_member(const struct ctl_opts *opts, uint64_t id,
                                   const struct rl_members *first, struct ctl **out, char *why_out,
                                   size_t why_bytes);
/* Waits for what is under way on the disk; calls that are open end as CTL_UNKNOWN. */
void ctl_close(struct ctl *c);
/* After a round of ctl_propose(), not from a callback: else what was proposed waits for the next tick. */
void ctl_run(struct ctl *c);
/* With Raft every 25 ms or so, monotonic; of a node alone about once a second. */
void ctl_tick(struct ctl *c, uint64_t now_ms);
/* What a node says of itself is proposed if the topology says otherwise. Copied. */
void ctl_set_self(struct ctl *c, const struct ctl_self *self);
/* A message of another member, by the raft id that its link stands for. False: no such message. */
MUST_CHECK bool ctl_receive(struct ctl *c, uint64_t now_ms, uint64_t from, uint16_t channel,
                            uint8_t type, struct bytes body);

/* ---- changes: a call is embedded in what waits for it and kept until `done` */

enum ctl_outcome {
    CTL_APPLIED,
    CTL_REFUSED, /* a precondition failed; result.text says which */
    CTL_UNKNOWN, /* it may happen or have happened: the log has stopped, or nobody leads; text says why */
};
struct ctl_result {
    enum ctl_outcome outcome;
    uint64_t value;   /* as topology_result.value */
    const char *text; /* for people, "" if applied; for the call */
};
#define CTL_TEXT_BYTES 240u /* as topology_result.text */
struct ctl_call {
    /* When the entry is on the disk and applied here, and its map was handed out. */
    void (*done)(struct ctl_call *call, const struct ctl_result *result);
    /* ctl's: */
    struct ctl *ctl;
    struct ctl_call *next;
    uint64_t counter, sent_to, sent_ms, until_ms, index;
    uint32_t place; /* enum call_place */
    struct buf entry;
    struct rl_call log_call;
    struct ctl_result result;
    char text[CTL_TEXT_BYTES];
};
/* Proposes an entry of that type. False: nothing happens, `done` does not come, why_out says why (static,
 * or as long as the log lives). */
MUST_CHECK bool ctl_propose(struct ctl *c, struct ctl_call *call, uint32_t type, const void *body,
                            const char **why_out);

/* ---- reading, between callbacks */
const struct topology *ctl_topology(const struct ctl *c);
struct topo_id ctl_me(const struct ctl *c);
const char *ctl_failure(const struct ctl *c);  /* NULL: the log can be written */
bool ctl_is_alone(const struct ctl *c);        /* solo */
uint64_t ctl_incarnation(const struct ctl *c); /* of this start: rising */
void ctl_status(const struct ctl *c, struct rl_status *out);

#endif
