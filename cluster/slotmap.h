/* cluster/slotmap.h: what routing and CLUSTER commands need of a topology, at one version: immutable, one
 * block, counted. The thread that applies entries builds one when topology_map_version() has moved and
 * hands it to every core; a core keeps it until the next comes. Reading needs no lock and no call. */
#ifndef MOON_CLUSTER_SLOTMAP_H
#define MOON_CLUSTER_SLOTMAP_H

#include <stdatomic.h>

#include "cluster/topology.h"

#define SLOTMAP_NONE 0xffffu /* an index of nothing */

struct slotmap_node {
    struct topo_node_info info; /* strings inside the map's block */
    bool down;
    uint16_t group; /* SLOTMAP_NONE: a member of none */
};

/* Members stand in slotmap.members, ranges in slotmap.ranges, both from `first` on. */
struct slotmap_group {
    struct topo_id id;
    uint64_t epoch;
    uint8_t mode;
    uint16_t primary; /* node */
    uint16_t first_member, members_count;
    uint16_t first_range, ranges_count, slots_count;
};

struct slotmap {
    _Atomic uint32_t references;
    size_t bytes;
    uint64_t version, map_version;
    struct topo_cluster_id cluster_id;
    uint16_t group_of[SLOT_COUNT]; /* SLOTMAP_NONE: unowned */
    uint32_t nodes_count, groups_count, ranges_count, marks_count;
    uint32_t slots_count;               /* owned ones */
    uint64_t epoch;                     /* the largest of all groups */
    const struct slotmap_node *nodes;   /* rising ids */
    const struct slotmap_group *groups; /* rising ids */
    const uint16_t *members;            /* nodes; the primary first, then rising */
    const struct topo_range *ranges;    /* those of group 0, rising, then of group 1 … */
    const uint16_t *rising;             /* all ranges in rising order: indexes of ranges */
    const struct topo_slot_marks *marks;
};

/* With one reference. RC_NOMEM. */
MUST_CHECK enum rc slotmap_build(const struct topology *t, struct slotmap **out);
/* Both from any thread. */
struct slotmap *slotmap_hold(struct slotmap *m);
void slotmap_release(struct slotmap *m); /* NULL is fine */

/* Indexes, or SLOTMAP_NONE. */
uint16_t slotmap_node_find(const struct slotmap *m, struct topo_id id);
uint16_t slotmap_group_find(const struct slotmap *m, struct topo_id id);
/* NULL: unowned. */
static inline const struct slotmap_group *slotmap_owner(const struct slotmap *m, uint16_t slot)
{
    uint16_t group = m->group_of[slot];
    return group == SLOTMAP_NONE ? NULL : &m->groups[group];
}

#endif
