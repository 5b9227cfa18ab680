/* cluster/show.h: replies of the CLUSTER commands that only tell, made from a slot map: Redis's formats,
 * byte for byte (held to recorded replies of Redis 7.0.15). Pure; any thread that holds the map. */
#ifndef MOON_CLUSTER_SHOW_H
#define MOON_CLUSTER_SHOW_H

#include "cluster/slotmap.h"
#include "shard/resp/reply.h"

/* cluster-preferred-endpoint-type */
enum cluster_endpoint { CLUSTER_BY_IP, CLUSTER_BY_HOSTNAME, CLUSTER_BY_NOTHING };

/* What this node sees of another one. Of itself: pings 0, connected. */
struct cluster_peer {
    int64_t ping_ms, pong_ms; /* wall clock: a ping unanswered since, 0 for none; the last answer */
    bool connected;
    bool suspected;  /* by this node, not by consensus */
    uint64_t offset; /* replication, as last heard; 0: a replica that is still loading */
};

struct cluster_messages {
    const char *type; /* "ping" */
    uint64_t sent, received;
};

/* INFO's lines that Redis does not have. */
struct cluster_control {
    const char *raft_role;      /* "leader", "follower", "candidate", "observer", "none" */
    struct topo_id raft_leader; /* none: not known */
    uint64_t raft_term, raft_commit, raft_applied, raft_snapshot, version;
    uint32_t raft_members;
    char raft_failure[160]; /* "": healthy */
    uint32_t groups_sync, groups_async, groups_down, migrations;
};

struct cluster_view {
    const struct slotmap *map;
    uint16_t me;                      /* node of the map */
    const struct cluster_peer *peers; /* one for each node of the map, in its order */
    enum cluster_endpoint endpoint;
    bool tls;           /* the asking client came by TLS: it is told those ports */
    bool full_coverage; /* cluster-require-full-coverage */
    const struct cluster_messages *messages;
    uint32_t messages_count;
    uint64_t links_limit_exceeded;
    struct cluster_control control;
};

struct cluster_link {
    struct topo_id node;
    bool outgoing;
    int64_t created_ms;
    bool reads, writes; /* what it waits for */
    uint64_t buffer_allocated, buffer_used;
};

void cluster_show_info(const struct cluster_view *v, struct reply *r);
void cluster_show_nodes(const struct cluster_view *v, struct reply *r);
void cluster_show_slots(const struct cluster_view *v, struct reply *r);
void cluster_show_shards(const struct cluster_view *v, struct reply *r);
void cluster_show_replicas(const struct cluster_view *v, struct bytes node, struct reply *r);
void cluster_show_myid(const struct cluster_view *v, struct reply *r);
void cluster_show_myshardid(const struct cluster_view *v, struct reply *r);
void cluster_show_links(const struct cluster_link *links, uint32_t count, struct reply *r);
void cluster_show_keyslot(struct bytes key, struct reply *r);
/* Whether all slots that must be are served, as cluster_state says. */
bool cluster_is_ok(const struct cluster_view *v);

/* Arguments of COUNTKEYSINSLOT and GETKEYSINSLOT, the latter with a count. False: replied an error. */
MUST_CHECK bool cluster_parse_slot(struct bytes slot, uint16_t *slot_out, struct reply *r);
MUST_CHECK bool cluster_parse_slot_count(struct bytes slot, struct bytes count, uint16_t *slot_out,
                                         uint64_t *count_out, struct reply *r);

#endif
