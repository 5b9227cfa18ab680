/* cluster/route.h: whether a request may run on this node, by a slot map. Pure; order of errors and texts as
 * in Redis. */
#ifndef MOON_CLUSTER_ROUTE_H
#define MOON_CLUSTER_ROUTE_H

#include "cluster/slotmap.h"
#include "shard/resp/reply.h"

enum route {
    ROUTE_HERE,
    ROUTE_UNSERVED,   /* nobody owns the slot */
    ROUTE_CROSSSLOT,  /* keys of several slots */
    ROUTE_DOWN,       /* not all slots are served */
    ROUTE_DOWN_WRITE, /* … and this is a write: reads are allowed */
    ROUTE_MOVED,      /* another group owns the slot */
};
struct route_rules {
    bool full_coverage;   /* cluster-require-full-coverage */
    bool reads_when_down; /* cluster-allow-reads-when-down */
};

/* Of a request whose first key has this slot, and the others slots[1…]. `me`: node of the map. */
enum route route_slots(const struct slotmap *m, uint16_t me, const struct route_rules *rules,
                       const uint16_t *slots, uint32_t count, bool writes);
/* The error for anything but ROUTE_HERE. */
void route_reply(enum route route, const struct slotmap *m, uint16_t slot, struct reply *r);

#endif
