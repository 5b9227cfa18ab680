/* cluster/loop.h: what the ctl thread of a node does: its own io, the control log with Raft's driver, and, if
 * there are others, the bus. Its owner lends it a thread: everything here is of the thread that called
 * loop_open(), but loop_post() and loop_stop(), which any thread may call. */
#ifndef MOON_CLUSTER_LOOP_H
#define MOON_CLUSTER_LOOP_H

#include "cluster/bus.h"
#include "cluster/ctl.h"
#include "shard/rt/inbox.h"
#include "shard/rt/io.h"

struct loop;
struct loop_opts {
    enum io_kind io;
    struct ctl_opts ctl; /* io, net, now_ms and seed are the loop's */
    /* Several voters, each with its address as loop_address() writes it; NULL: this node alone votes. */
    const struct rl_members *members;
    uint64_t id; /* of this node among them */
    /* binds_count 0: no bus. io, now_ms, cluster, node, incarnation and events are the loop's. */
    struct bus_opts bus;
    /* Once per turn, after everything else; may be NULL. */
    void (*on_turn)(void *ctx, struct loop *l);
    void *ctx;
};
/* "<node id, 40 hex>@<ip:port of its bus>", for rl_member.address. */
void loop_address(struct topo_id node, const char *bus, char *out, size_t out_bytes);

/* Blocking. Errors as ctl_open_…() and bus_open(). */
MUST_CHECK enum rc loop_open(const struct loop_opts *opts, struct loop **out, char *why_out,
                             size_t why_bytes);
void loop_run(struct loop *l); /* until loop_stop() */
void loop_close(struct loop *l);

struct ctl *loop_ctl(struct loop *l);
struct bus *loop_bus(struct loop *l); /* NULL: none */
uint64_t loop_now_ms(const struct loop *l);

/* ---- any thread; loop_stop() once, when nobody posts any more */
void loop_stop(struct loop *l);
/* Runs on the loop's thread, in the order of posting by one thread. What was posted and not run when the loop
 * stops is run by loop_close(). */
struct loop_post {
    struct inbox_link link;
    void (*run)(struct loop_post *post, struct loop *l);
};
void loop_post(struct loop *l, struct loop_post *post);

#endif
