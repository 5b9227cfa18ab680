#include "cluster/route.h"

#include "shard/base/assert.h"

static bool is_up(const struct slotmap *m, const struct route_rules *rules)
{
    return !rules->full_coverage || m->slots_count == SLOT_COUNT;
}

enum route route_slots(const struct slotmap *m, uint16_t me, const struct route_rules *rules,
                       const uint16_t *slots, uint32_t count, bool writes)
{
    uint16_t group = m->group_of[slots[0]];
    if (group == SLOTMAP_NONE) return ROUTE_UNSERVED;
    for (uint32_t i = 1; i < count; i++)
        if (slots[i] != slots[0]) return ROUTE_CROSSSLOT;
    if (unlikely(!is_up(m, rules))) {
        if (!rules->reads_when_down) return ROUTE_DOWN;
        if (writes) return ROUTE_DOWN_WRITE;
    }
    return group == m->nodes[me].group ? ROUTE_HERE : ROUTE_MOVED;
}

void route_reply(enum route route, const struct slotmap *m, uint16_t slot, struct reply *r)
{
    switch (route) {
    case ROUTE_HERE:
        assert(false && "no error");
        return;
    case ROUTE_UNSERVED:
        reply_error(r, "CLUSTERDOWN Hash slot not served");
        return;
    case ROUTE_CROSSSLOT:
        reply_error(r, "CROSSSLOT Keys in request don't hash to the same slot");
        return;
    case ROUTE_DOWN:
        reply_error(r, "CLUSTERDOWN The cluster is down");
        return;
    case ROUTE_DOWN_WRITE:
        reply_error(r, "CLUSTERDOWN The cluster is down and only accepts read commands");
        return;
    case ROUTE_MOVED:
        break;
    }
    const struct topo_node_info *to = &m->nodes[slotmap_owner(m, slot)->primary].info;
    reply_errorf(r, "MOVED %u %.*s:%u", slot, (int)to->ip.len,
                 to->ip.len > 0 ? (const char *)to->ip.data : "", to->port);
}
