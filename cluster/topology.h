/* cluster/topology.h: the state that the control log builds: which nodes there are, how they form groups,
 * which group owns which slot, who is in sync, what is being migrated, and the definitions all nodes share.
 *
 * A pure state machine: entries in, results out. It knows no clock, no chance, no disk and no Raft; the
 * same entries give the same state on every node and in every build, and the same hash. One thread at a
 * time. What is handed out by pointer lives until the next topology_apply() or _free(). */
#ifndef MOON_CLUSTER_TOPOLOGY_H
#define MOON_CLUSTER_TOPOLOGY_H

#include "cluster/topology_entry.h"

/* The newest feature level of this program: it can apply what was written at it or below. */
#define TOPOLOGY_LEVEL 1u

struct topology; /* opaque */

/* RC_NOMEM. Empty: takes a TOPO_CLUSTER_INIT first. */
MUST_CHECK enum rc topology_new(struct topology **out);
void topology_free(struct topology *t); /* NULL is fine */

/* ---- the log */

enum topology_verdict {
    TOPOLOGY_APPLIED,
    TOPOLOGY_REFUSED,    /* a precondition failed; the state says why */
    TOPOLOGY_UNREADABLE, /* not an entry, or fields out of bounds */
    TOPOLOGY_TOO_NEW,    /* needs a feature level that the cluster has not finished upgrading to */
    TOPOLOGY_STALE, /* of an earlier life of its proposer, or too old to tell whether it was applied */
};

struct topology_result {
    enum topology_verdict verdict;
    bool repeated; /* was applied before, with this verdict; nothing was done now */
    uint64_t
        value; /* RESERVE: the first id. NODE_JOIN, ABSORB: the node's number. GROUP_EPOCH: the epoch */
    char text[240]; /* for people, no newline; empty if applied. Same on every node */
};

/* Applies the entry at `index` of the log. Every entry that the log holds gives a result and moves the
 * version, refused or not; a refused one changes nothing else but what is remembered of its request.
 * RC_NOMEM: nothing has happened, the same call may be made again. RC_UNSUPPORTED: nothing has happened,
 * and this program is too old for the cluster's level: stop. RC_INVALID: `index` is not above the version,
 * a mistake of the caller. */
MUST_CHECK enum rc topology_apply(struct topology *t, uint64_t index, struct bytes entry,
                                  struct topology_result *result);

/* ---- snapshot */

/* Appends the snapshot: the same bytes for the same state. RC_NOMEM: *out is as it was. */
MUST_CHECK enum rc topology_snapshot(const struct topology *t, struct buf *out);
/* RC_CORRUPT, RC_UNSUPPORTED (a newer format or feature level), RC_NOMEM; why_out gets a text then.
 * All that snapshot() writes is taken, and gives the same snapshot again; nothing else is taken. */
MUST_CHECK enum rc topology_restore(struct bytes snapshot, struct topology **out,
                                    struct buf *why_out);
/* A checksum of the snapshot's bytes. RC_NOMEM. */
MUST_CHECK enum rc topology_hash(const struct topology *t, uint64_t *out);
/* Every relation that must hold between the parts; false: why_out says which does not. Slow. */
MUST_CHECK bool topology_check(const struct topology *t, struct buf *why_out);

/* ---- reading */

uint64_t topology_version(const struct topology *t); /* index of the last entry */
/* The last entry that changed what a slot map shows: nodes, groups, slots, marks. */
uint64_t topology_map_version(const struct topology *t);
uint64_t topology_hlc(const struct topology *t); /* largest of all entries */
uint32_t topology_level(const struct topology *t);
struct topo_cluster_id topology_cluster_id(const struct topology *t);

struct topo_node {
    struct topo_node_info info; /* strings inside this node's block */
    uint64_t number;            /* small, unique for ever: its Raft id */
    bool down;                  /* by consensus; a new incarnation is up */
    /* Requests applied: bit i of seen is counter highest - i; of ok, that it was not refused. */
    uint64_t req_incarnation, req_highest, req_seen, req_ok;
};
/* Nodes in rising order of their ids. */
uint32_t topology_nodes(const struct topology *t);
const struct topo_node *topology_node_at(const struct topology *t, uint32_t i);
const struct topo_node *topology_node_find(const struct topology *t, struct topo_id id);

enum topo_standing { TOPO_OUTSIDE = 0, TOPO_IN_SYNC = 1, TOPO_ELIGIBLE = 2 };
struct topo_group_member {
    struct topo_id node;
    uint64_t incarnation; /* the life that was in sync; 0 outside */
    uint8_t standing;     /* enum topo_standing */
};
struct topo_group {
    struct topo_id id;
    uint8_t mode;
    uint32_t min_isr;
    uint64_t epoch;
    uint64_t history; /* counts promotions: with the id it names a lineage of data */
    struct topo_id primary;
    struct topo_group_member *members; /* rising, the primary among them */
    uint32_t members_count, members_room;
    uint32_t slots_count;
    uint16_t handle; /* of the slot table; this process only */
};
uint32_t topology_groups(const struct topology *t); /* in rising order of their ids */
const struct topo_group *topology_group_at(const struct topology *t, uint32_t i);
const struct topo_group *topology_group_find(const struct topology *t, struct topo_id id);
/* The group that a node is a member of, or NULL. */
const struct topo_group *topology_group_of(const struct topology *t, struct topo_id node);
uint32_t topo_group_isr(const struct topo_group *g);

/* NULL: unowned. */
const struct topo_group *topology_owner(const struct topology *t, uint16_t slot);
/* The first range of slots with one owner that begins at or after `from`; false: no more. */
MUST_CHECK bool topology_next_range(const struct topology *t, uint32_t from,
                                    struct topo_range *range, const struct topo_group **owner_out);

/* CLUSTER SETSLOT's MIGRATING and IMPORTING, set by hand; an owner's change ends them. */
struct topo_slot_marks {
    uint16_t slot;
    struct topo_id migrating_to;                 /* set at the owner */
    struct topo_id importing_to, importing_from; /* set at importing_to */
};
uint32_t topology_marks(const struct topology *t); /* in rising order of slots */
const struct topo_slot_marks *topology_mark_at(const struct topology *t, uint32_t i);

struct topo_migration {
    struct topo_id id;
    const struct topo_range *ranges;
    uint32_t ranges_count;
    struct topo_id source, target;
    uint64_t source_epoch, target_epoch;
    uint8_t state; /* enum topo_mig_state */
    uint64_t planned, changed, planned_hlc, changed_hlc;
    struct bytes position, reason;
};
/* Open ones and the last TOPOLOGY_MIGRATIONS_KEPT finished ones, in rising order of ids. */
uint32_t topology_migrations(const struct topology *t);
const struct topo_migration *topology_migration_at(const struct topology *t, uint32_t i);
const struct topo_migration *topology_migration_find(const struct topology *t, struct topo_id id);

enum topo_section { TOPO_CONFIG = 1, TOPO_ACL = 2, TOPO_FUNCTIONS = 3, TOPO_CATALOG = 4 };
#define TOPO_SECTIONS 5u
struct topo_item {
    uint8_t section;
    uint32_t kind; /* of a catalog entry */
    struct bytes name, value;
    uint64_t version, hlc; /* of the entry that put it */
};
/* In rising order of section, kind, name. */
uint32_t topology_items(const struct topology *t);
const struct topo_item *topology_item_at(const struct topology *t, uint32_t i);
const struct topo_item *topology_item_find(const struct topology *t, enum topo_section section,
                                           uint32_t kind, struct bytes name);
/* The last entry that changed a section. */
uint64_t topology_section_version(const struct topology *t, enum topo_section section);

/* ---- joining another cluster */

/* The body of the entry by which another cluster takes in the one node of `t` with its slots (CLUSTER
 * MEET, redis-cli --cluster create). `ranges` has room for TOPOLOGY_RANGES_MAX and is pointed to, as are
 * the strings of t. Users, libraries, settings and the catalog are those of the cluster it joins. False:
 * t has not exactly one node. */
MUST_CHECK bool topology_absorb_body(const struct topology *t, struct topo_range *ranges,
                                     struct topo_absorb *out);

#endif
