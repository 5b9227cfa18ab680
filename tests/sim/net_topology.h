/* tests/sim/net_topology.h: cluster/topology behind the simulated log: entries as a client would draw them,
 * what each node makes of them, and books of what was decided.
 *
 * Checked: at one version all nodes have one state (by hash) and gave one result; a slot has the owner that
 * the entries gave it, never two, and an owner that lost one has a new epoch; a request is applied once
 * however often and through whatever proposal it came; a snapshot restores to the state it was made of. */
#ifndef MOON_TESTS_NET_TOPOLOGY_H
#define MOON_TESTS_NET_TOPOLOGY_H

#include "cluster/topology.h"
#include "tests/sim/net_raft.h"

#define DRAW_NODES 8u /* the first NET_CLIENTS make requests */
#define DRAW_GROUPS 6u
#define DRAW_MIGRATIONS 64u

struct node;

/* Of a proposer: its node in the topology, and its requests so far. */
struct draw_request {
    uint32_t node;
    uint64_t counter;
    struct buf last; /* the newest entry that named a request */
};
/* Appends the bytes of an entry. */
void draw_entry(struct rng *r, const struct topology *t, struct draw_request *request,
                struct buf *out);
struct topo_id draw_node_id(uint32_t n);
struct topo_id draw_group_id(uint32_t n);

struct world; /* the books of one run */
struct world *world_new(struct net *n);
void world_free(struct world *w);

void world_begin(struct world *w, struct node *node); /* an empty state: the node starts */
void world_end(struct world *w, struct node *node);   /* the node is gone */
/* The next entry of a client that looks at a node. */
void world_draw(struct world *w, uint32_t client, uint32_t place, struct buf *out);
/* Returns what all nodes must get alike. */
uint64_t world_apply(struct world *w, uint32_t place, uint64_t index, struct bytes entry);
void world_save(struct world *w, uint32_t place, struct buf *out);
/* Takes its bytes off the front of *saved. */
void world_restore(struct world *w, uint32_t place, struct bytes *saved);
/* At the end: all nodes that have applied everything. */
void world_check_all(struct world *w);

#endif
