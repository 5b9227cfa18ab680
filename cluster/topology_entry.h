/* cluster/topology_entry.h: entries of the control log as structs, and their bytes. What each one asks
 * for before it is applied, and what it then does, stands in docs/formats/topology.md; its texts of
 * refusal in the file that applies it (topology_nodes.c, _groups.c, _slots.c, _items.c).
 *
 * Numbers here are written to disks and to other nodes: never reused, never changed. */
#ifndef MOON_CLUSTER_TOPOLOGY_ENTRY_H
#define MOON_CLUSTER_TOPOLOGY_ENTRY_H

#include "cluster/wire.h"
#include "shard/base/slot.h"

/* Of a node, a group (the shard id of CLUSTER NODES) or a migration; 40 hex digits for people. All
 * zeros: none. */
#define TOPO_ID_BYTES 20u
struct topo_id {
    uint8_t bytes[TOPO_ID_BYTES];
};
#define TOPO_HEX_BYTES (2 * TOPO_ID_BYTES + 1) /* with the NUL */
struct topo_hex {
    char text[TOPO_HEX_BYTES];
};
struct topo_hex topo_id_hex(struct topo_id id);
/* 40 hex digits, either case. */
MUST_CHECK bool topo_id_parse(struct bytes text, struct topo_id *out);
static inline int topo_id_compare(struct topo_id a, struct topo_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes);
}
static inline bool topo_id_equal(struct topo_id a, struct topo_id b)
{
    return topo_id_compare(a, b) == 0;
}
static inline bool topo_id_is_none(struct topo_id id)
{
    return topo_id_equal(id, (struct topo_id){{0}});
}

struct topo_cluster_id {
    uint8_t bytes[16];
};

struct topo_range {
    uint16_t first, last; /* last included */
};

/* One life of a node: a restarted process is a new incarnation. */
struct topo_member {
    struct topo_id node;
    uint64_t incarnation;
};

struct topo_node_info {
    struct topo_id id;
    uint64_t incarnation;
    struct bytes ip, hostname, az;
    uint16_t port, tls_port, bus_port; /* 0: none */
    uint32_t level;                    /* newest feature level its program knows */
    uint32_t flags;                    /* TOPO_NODE_… */
};
#define TOPO_NODE_NOFAILOVER 1u

enum topo_mode { TOPO_ASYNC = 1, TOPO_SYNC = 2, TOPO_SYNC_FSYNC = 3 };
enum topo_cause { TOPO_FAILOVER = 1, TOPO_PLANNED = 2, TOPO_RESTART = 3, TOPO_RECOVER = 4 };
enum topo_mark { TOPO_STABLE = 1, TOPO_MIGRATING = 2, TOPO_IMPORTING = 3 };
enum topo_mig_state {
    TOPO_MIG_PLANNED = 1,
    TOPO_MIG_COPY = 2,
    TOPO_MIG_CATCHUP = 3,
    TOPO_MIG_SWITCH = 4,
    TOPO_MIG_DONE = 5,
    TOPO_MIG_ABORTED = 6,
};
enum topo_reserve { TOPO_NODE_NUMBERS = 1, TOPO_COORDINATORS = 2 };
enum topo_catalog {
    TOPO_CATALOG_FT = 1,
    TOPO_CATALOG_WS = 2,
    TOPO_CATALOG_TEMPORAL = 3,
    TOPO_CATALOG_CDC = 4
};

/* X(number, name, struct of the body, feature level it came with) */
#define TOPOLOGY_ENTRIES(X)                                                                        \
    X(1, CLUSTER_INIT, topo_cluster_init, 1)                                                       \
    X(2, NODE_JOIN, topo_node_join, 1)                                                             \
    X(3, NODE_UPDATE, topo_node_update, 1)                                                         \
    X(4, NODE_HEALTH, topo_node_health, 1)                                                         \
    X(5, NODE_FORGET, topo_node_forget, 1)                                                         \
    X(6, ABSORB, topo_absorb, 1)                                                                   \
    X(7, FEATURE_LEVEL, topo_feature_level, 1)                                                     \
    X(10, GROUP_CREATE, topo_group_create, 1)                                                      \
    X(11, GROUP_DELETE, topo_group_delete, 1)                                                      \
    X(12, GROUP_MODE, topo_group_mode, 1)                                                          \
    X(13, GROUP_EPOCH, topo_group_epoch, 1)                                                        \
    X(14, REPLICA_ADD, topo_replica_add, 1)                                                        \
    X(15, REPLICA_REMOVE, topo_replica_remove, 1)                                                  \
    X(16, ISR_SHRINK, topo_isr_shrink, 1)                                                          \
    X(17, ISR_GROW, topo_isr_grow, 1)                                                              \
    X(18, PROMOTE, topo_promote, 1)                                                                \
    X(20, SLOT_ASSIGN, topo_slot_assign, 1)                                                        \
    X(21, SLOT_MARK, topo_slot_mark, 1)                                                            \
    X(30, MIG_PLAN, topo_mig_plan, 1)                                                              \
    X(31, MIG_STEP, topo_mig_step, 1)                                                              \
    X(32, MIG_COMMIT, topo_mig_commit, 1)                                                          \
    X(33, MIG_ABORT, topo_mig_abort, 1)                                                            \
    X(40, CONFIG_SET, topo_item_put, 1)                                                            \
    X(41, CONFIG_UNSET, topo_item_drop, 1)                                                         \
    X(42, ACL_SET, topo_item_put, 1)                                                               \
    X(43, ACL_DELETE, topo_item_drop, 1)                                                           \
    X(44, FUNCTION_LOAD, topo_item_put, 1)                                                         \
    X(45, FUNCTION_DELETE, topo_item_drop, 1)                                                      \
    X(46, CATALOG_PUT, topo_item_put, 1)                                                           \
    X(47, CATALOG_DROP, topo_item_drop, 1)                                                         \
    X(50, RESERVE, topo_reserve_ids, 1)

#define X(number, name, body, level) TOPO_##name = (number),
enum topology_entry_type { TOPOLOGY_ENTRIES(X) TOPO_TYPE_COUNT };
#undef X

/* ---- bodies, in the order of their types */

struct topo_cluster_init {
    struct topo_cluster_id cluster_id;
    uint32_t level;
};
struct topo_node_join {
    struct topo_node_info node;
};
struct topo_node_update {
    struct topo_node_info node;
};
struct topo_node_health {
    struct topo_id node;
    uint64_t incarnation;
    bool down;
};
struct topo_node_forget {
    struct topo_id node;
};
struct topo_absorb {
    struct topo_node_info node;
    struct topo_id group; /* none: the node has none */
    uint8_t mode;
    uint32_t min_isr;
    uint64_t epoch, history;
    const struct topo_range *ranges;
    uint32_t ranges_count;
    struct topo_cluster_id from_cluster;
};
struct topo_feature_level {
    uint32_t level;
};
struct topo_group_create {
    struct topo_id group;
    uint8_t mode;
    uint32_t min_isr;
    struct topo_member primary;
};
struct topo_group_delete {
    struct topo_id group;
};
struct topo_group_mode {
    struct topo_id group;
    uint8_t mode;
    uint32_t min_isr;
};
struct topo_group_epoch {
    struct topo_id group;
    uint64_t epoch;
    bool initial; /* CLUSTER SET-CONFIG-EPOCH; else BUMPEPOCH */
};
struct topo_replica_add {
    struct topo_id group, node;
};
struct topo_replica_remove {
    struct topo_id group, node;
};
struct topo_isr_shrink {
    struct topo_id group;
    uint64_t epoch;
    const struct topo_member *out;
    uint32_t out_count;
    struct topo_member by;
    bool by_leader; /* of the control log, after the primary's lease has run out */
};
struct topo_isr_grow {
    struct topo_id group;
    uint64_t epoch;
    const struct topo_member *in;
    uint32_t in_count;
    struct topo_member by;
};
struct topo_promote {
    struct topo_id group;
    uint64_t epoch;
    struct topo_member to;
    uint8_t cause;
    const struct topo_member *drop; /* out of the in-sync set at the same time */
    uint32_t drop_count;
    const struct topo_member *fenced; /* evidence: who has stopped to acknowledge that epoch */
    uint32_t fenced_count;
    bool log_intact;   /* evidence for TOPO_RESTART */
    struct bytes note; /* evidence for TOPO_RECOVER: who decided */
};
struct topo_slot_assign {
    const struct topo_range *ranges;
    uint32_t ranges_count;
    struct topo_id group;        /* none: they become unowned */
    struct topo_id expect_owner; /* none: they must be unowned */
};
struct topo_slot_mark {
    uint16_t slot;
    uint8_t mark;
    struct topo_id group, peer;
};
struct topo_mig_plan {
    struct topo_id id;
    const struct topo_range *ranges;
    uint32_t ranges_count;
    struct topo_id source;
    uint64_t source_epoch;
    struct topo_id target;
    uint64_t target_epoch;
    uint32_t limit;
};
struct topo_mig_step {
    struct topo_id id;
    uint8_t expect_state, state;
};
struct topo_mig_commit {
    struct topo_id id;
    uint64_t source_epoch, target_epoch;
    struct bytes position;
};
struct topo_mig_abort {
    struct topo_id id;
    struct bytes reason;
};
struct topo_item_put {
    uint32_t kind;
    struct bytes name, value;
    bool expect;
    uint64_t expect_version;
};
struct topo_item_drop {
    uint32_t kind;
    struct bytes name;
    bool expect;
    uint64_t expect_version;
};
struct topo_reserve_ids {
    uint32_t kind, count;
};

/* ---- entries */

/* Names one proposal of one life of a node; a retry carries the same. No node: not a request. */
struct topo_request {
    struct topo_id node;
    uint64_t incarnation;
    uint64_t counter; /* from 1 up; at most 64 may be in flight */
};

struct topology_entry {
    uint32_t level; /* 0 when encoding: the level of its type */
    uint32_t type;  /* enum topology_entry_type, or one that is not known here */
    uint64_t hlc;   /* the proposer's clock: apply knows no other time */
    struct topo_request request;
    struct bytes body; /* bytes of the struct of that type */
};

/* Appends the bytes of an entry whose body is `body`, the struct of entry->type (entry->body is not
 * read). RC_NOMEM; RC_TOOBIG: more than WIRE_MESSAGE_BYTES_MAX. Nothing is appended then. */
MUST_CHECK enum rc topology_entry_encode(const struct topology_entry *entry, const void *body,
                                         struct buf *out);

/* Name of a type for people, "?" if it is not known. */
const char *topology_entry_name(uint32_t type);

#endif
