/* tests/sim/net_draw.c: entries of the topology as somebody at a node would propose them: mostly right by
 * the state that this node has, which may be an old one; sometimes wrong; sometimes no entry at all. Few
 * ids and few slots, so that entries meet. */
#include <string.h>

#include "shard/base/assert.h"
#include "tests/sim/net_topology.h"

struct draw {
    struct rng *r;
    const struct topology *t;
    struct draw_request *request;
    struct buf *out;
    struct topo_range ranges[4];
    struct topo_member some[2], others[2];
};

static uint64_t below(struct draw *d, uint64_t n)
{
    return rng_below(d->r, n);
}

static bool often(struct draw *d)
{
    return below(d, 8) != 0;
}

static struct topo_id filled(uint8_t first, uint32_t n)
{
    struct topo_id id;
    memset(id.bytes, (int)n, sizeof id.bytes);
    id.bytes[0] = (uint8_t)(first | n);
    return id;
}

struct topo_id draw_node_id(uint32_t n)
{
    return filled(0x00, n + 1);
}

struct topo_id draw_group_id(uint32_t n)
{
    return filled(0x80, n + 1);
}

static struct topo_id migration_id(uint32_t n)
{
    return filled(0x40, n + 1);
}

/* ---- the bytes */

static void put(struct draw *d, uint32_t type, const void *body)
{
    struct topology_entry e = {.type = type, .hlc = rng_next(d->r) >> 20};
    struct draw_request *q = d->request;
    if (below(d, 40) == 0) e.level = TOPOLOGY_LEVEL + 1;
    bool known = topology_node_find(d->t, draw_node_id(q->node)) != NULL;
    bool named = known && below(d, 3) == 0;
    if (named)
        e.request = (struct topo_request){
            .node = draw_node_id(q->node), .incarnation = 1, .counter = ++q->counter};
    enum rc rc = topology_entry_encode(&e, body, d->out);
    assert(rc == RC_OK);
    if (!named) return;
    q->last.len = 0;
    buf_add_bytes(&q->last, buf_bytes(d->out));
}
#define DO(type, body, ...) put(d, TOPO_##type, &(const struct body){__VA_ARGS__})

/* ---- picking */

static struct topo_node_info info(uint32_t n, uint64_t incarnation)
{
    static const char *const ips[] = {"127.0.0.1", "10.0.0.1", "2001:db8::1"};
    return (struct topo_node_info){.id = draw_node_id(n),
                                   .incarnation = incarnation,
                                   .ip = bytes_of(ips[n % 3]),
                                   .port = (uint16_t)(7000 + n),
                                   .bus_port = (uint16_t)(17000 + n),
                                   .level = TOPOLOGY_LEVEL};
}

static const struct topo_group *any_group(struct draw *d)
{
    uint32_t n = topology_groups(d->t);
    return n == 0 ? NULL : topology_group_at(d->t, (uint32_t)below(d, n));
}

static struct topo_id any_group_id(struct draw *d)
{
    const struct topo_group *g = any_group(d);
    return g != NULL && often(d) ? g->id : draw_group_id((uint32_t)below(d, DRAW_GROUPS));
}

static struct topo_member alive(struct draw *d, struct topo_id id)
{
    const struct topo_node *n = topology_node_find(d->t, id);
    uint64_t incarnation = n != NULL ? n->info.incarnation : 1;
    if (!often(d)) incarnation += below(d, 2);
    return (struct topo_member){.node = id, .incarnation = incarnation};
}

static uint64_t epoch_of(struct draw *d, const struct topo_group *g)
{
    return g->epoch + (often(d) ? 0 : below(d, 3));
}

static struct topo_member primary_of(struct draw *d, const struct topo_group *g)
{
    for (uint32_t i = 0; i < g->members_count; i++)
        if (topo_id_equal(g->members[i].node, g->primary))
            return (struct topo_member){g->primary, g->members[i].incarnation};
    return alive(d, g->primary);
}

/* A member at that standing; else anybody. */
static struct topo_member member_at(struct draw *d, const struct topo_group *g, uint8_t standing)
{
    uint32_t from = (uint32_t)below(d, g->members_count);
    for (uint32_t i = 0; i < g->members_count; i++) {
        const struct topo_group_member *m = &g->members[(from + i) % g->members_count];
        if (m->standing != standing || (topo_id_equal(m->node, g->primary) && often(d))) continue;
        return (struct topo_member){m->node, m->incarnation};
    }
    return alive(d, draw_node_id((uint32_t)below(d, DRAW_NODES)));
}

static uint32_t some_ranges(struct draw *d)
{
    uint32_t count = 1 + (uint32_t)below(d, 2);
    uint32_t at = (uint32_t)below(d, 24) * 16;
    if (below(d, 12) == 0) { /* what redis-cli --cluster create gives to one of three */
        uint32_t third = (uint32_t)below(d, 3);
        uint32_t last = third == 2 ? SLOT_COUNT - 1 : (third + 1) * 5461 - 1;
        d->ranges[0] = (struct topo_range){(uint16_t)(third * 5461), (uint16_t)last};
        return 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = at + (uint32_t)below(d, 3) * 16;
        uint32_t last = first + (below(d, 4) == 0 ? 0 : 15);
        d->ranges[i] = (struct topo_range){(uint16_t)first, (uint16_t)last};
        at = last + 1;
    }
    return count;
}

/* Slots of one owner; NULL: of nobody. */
static const struct topo_group *owned_range(struct draw *d)
{
    struct topo_range range;
    const struct topo_group *owner;
    if (!topology_next_range(d->t, (uint32_t)below(d, 24) * 16, &range, &owner)) {
        (void)some_ranges(d);
        return NULL;
    }
    if (range.last - range.first > 31) range.last = (uint16_t)(range.first + below(d, 32));
    d->ranges[0] = range;
    return owner;
}

/* ---- one entry of each kind */

static void draw_join(struct draw *d)
{
    uint32_t n = (uint32_t)below(d, DRAW_NODES);
    const struct topo_node *known = topology_node_find(d->t, draw_node_id(n));
    uint64_t incarnation = known != NULL ? known->info.incarnation + below(d, 2) : 1 + below(d, 4);
    if (below(d, 3) == 0)
        DO(ABSORB, topo_absorb, .node = info(n, incarnation), .group = any_group_id(d),
           .mode = TOPO_ASYNC, .min_isr = 1, .epoch = below(d, 5), .ranges = d->ranges,
           .ranges_count = some_ranges(d), .from_cluster = {{4}});
    else
        DO(NODE_JOIN, topo_node_join, .node = info(n, incarnation));
}

static void draw_node_entry(struct draw *d)
{
    uint32_t n = (uint32_t)below(d, DRAW_NODES);
    struct topo_member m = alive(d, draw_node_id(n));
    /* Who makes requests stays: what was asked is forgotten with the node. */
    uint32_t leaver = NET_CLIENTS + (uint32_t)below(d, DRAW_NODES - NET_CLIENTS);
    switch (below(d, 8)) {
    case 0:
        DO(NODE_UPDATE, topo_node_update, .node = info(n, m.incarnation));
        break;
    case 1:
        DO(NODE_HEALTH, topo_node_health, .node = m.node, .incarnation = m.incarnation,
           .down = below(d, 3) == 0);
        break;
    case 2:
        DO(NODE_FORGET, topo_node_forget, .node = draw_node_id(leaver));
        break;
    case 3:
        DO(FEATURE_LEVEL, topo_feature_level, .level = 1 + (uint32_t)below(d, 2));
        break;
    case 4:
        DO(RESERVE, topo_reserve_ids, .kind = 1 + (uint32_t)below(d, 2),
           .count = 1 + (uint32_t)below(d, 9));
        break;
    default:
        draw_join(d);
    }
}

static void draw_group_entry(struct draw *d)
{
    struct topo_id id = any_group_id(d);
    struct topo_id node = draw_node_id((uint32_t)below(d, DRAW_NODES));
    const struct topo_group *g = topology_group_find(d->t, id);
    uint32_t min_isr = 1 + (uint32_t)below(d, 2);
    uint8_t mode = (uint8_t)(1 + below(d, 3));
    switch (below(d, 9)) {
    case 0:
    case 1:
        DO(GROUP_CREATE, topo_group_create, .group = draw_group_id((uint32_t)below(d, DRAW_GROUPS)),
           .mode = mode, .min_isr = min_isr, .primary = alive(d, node));
        break;
    case 2:
        DO(GROUP_DELETE, topo_group_delete, .group = id);
        break;
    case 3:
        DO(GROUP_MODE, topo_group_mode, .group = id, .mode = mode, .min_isr = min_isr);
        break;
    case 4:
        DO(GROUP_EPOCH, topo_group_epoch, .group = id, .epoch = (g != NULL ? g->epoch : 0) + 1,
           .initial = below(d, 4) == 0);
        break;
    case 5:
        if (g != NULL && often(d)) node = member_at(d, g, (uint8_t)below(d, 2)).node;
        DO(REPLICA_REMOVE, topo_replica_remove, .group = id, .node = node);
        break;
    default:
        DO(REPLICA_ADD, topo_replica_add, .group = id, .node = node);
    }
}

static void draw_promote(struct draw *d, const struct topo_group *g)
{
    uint8_t cause = (uint8_t)(1 + below(d, 4));
    struct topo_member to =
        member_at(d, g, below(d, 3) == 0 ? (uint8_t)TOPO_ELIGIBLE : (uint8_t)TOPO_IN_SYNC);
    if (cause >= TOPO_RESTART) to = alive(d, to.node);
    d->some[0] = to;
    d->others[0] = member_at(d, g, TOPO_IN_SYNC);
    DO(PROMOTE, topo_promote, .group = g->id, .epoch = epoch_of(d, g), .to = to, .cause = cause,
       .fenced = d->some, .fenced_count = often(d) ? 1 : 0, .drop = d->others,
       .drop_count = below(d, 3) == 0 ? 1 : 0, .log_intact = often(d), .note = bytes_of("note"));
}

static void draw_isr_entry(struct draw *d)
{
    const struct topo_group *g = any_group(d);
    if (g == NULL) {
        draw_join(d);
        return;
    }
    switch (below(d, 5)) {
    case 0:
        d->some[0] = member_at(d, g, TOPO_IN_SYNC);
        DO(ISR_SHRINK, topo_isr_shrink, .group = g->id, .epoch = epoch_of(d, g), .out = d->some,
           .out_count = 1, .by = primary_of(d, g), .by_leader = below(d, 2) == 0);
        break;
    case 1:
        draw_promote(d, g);
        break;
    default:
        d->some[0] = alive(
            d, member_at(d, g, below(d, 4) == 0 ? (uint8_t)TOPO_ELIGIBLE : (uint8_t)TOPO_OUTSIDE)
                   .node);
        DO(ISR_GROW, topo_isr_grow, .group = g->id, .epoch = epoch_of(d, g), .in = d->some,
           .in_count = 1, .by = primary_of(d, g));
    }
}

static void draw_slot_entry(struct draw *d)
{
    bool owned = below(d, 2) == 0;
    const struct topo_group *owner = owned ? owned_range(d) : NULL;
    uint32_t count = owned ? 1 : some_ranges(d);
    struct topo_id of = owner != NULL && often(d) ? owner->id : any_group_id(d);
    uint8_t mark = (uint8_t)(1 + below(d, 3));
    static const struct topo_id nobody;
    switch (below(d, 5)) {
    case 0:
        DO(SLOT_ASSIGN, topo_slot_assign, .ranges = d->ranges, .ranges_count = count,
           .expect_owner = of);
        break;
    case 1:
        DO(SLOT_MARK, topo_slot_mark, .slot = d->ranges[0].first, .mark = mark,
           .group = mark == TOPO_IMPORTING ? any_group_id(d) : of, .peer = any_group_id(d));
        break;
    default:
        DO(SLOT_ASSIGN, topo_slot_assign, .ranges = d->ranges, .ranges_count = count,
           .group = any_group_id(d), .expect_owner = owner != NULL ? of : nobody);
    }
}

static void draw_plan(struct draw *d)
{
    const struct topo_group *source = owned_range(d);
    const struct topo_group *target = any_group(d);
    if (source == NULL || target == NULL || source == target) {
        draw_slot_entry(d);
        return;
    }
    DO(MIG_PLAN, topo_mig_plan, .id = migration_id((uint32_t)below(d, DRAW_MIGRATIONS)),
       .ranges = d->ranges, .ranges_count = 1, .source = source->id,
       .source_epoch = epoch_of(d, source), .target = target->id,
       .target_epoch = epoch_of(d, target), .limit = (uint32_t)below(d, 4));
}

static void draw_migration_entry(struct draw *d)
{
    uint32_t all = topology_migrations(d->t);
    if (all == 0 || below(d, 3) == 0) {
        draw_plan(d);
        return;
    }
    const struct topo_migration *m = topology_migration_at(d->t, (uint32_t)below(d, all));
    for (uint32_t i = 0; i < all && m->state >= TOPO_MIG_DONE && often(d); i++)
        m = topology_migration_at(d->t, i);
    if (below(d, 12) == 0)
        DO(MIG_ABORT, topo_mig_abort, .id = m->id, .reason = bytes_of("why"));
    else if (m->state >= TOPO_MIG_SWITCH)
        DO(MIG_COMMIT, topo_mig_commit, .id = m->id, .source_epoch = m->source_epoch,
           .target_epoch = m->target_epoch, .position = bytes_of("position"));
    else
        DO(MIG_STEP, topo_mig_step, .id = m->id, .expect_state = m->state,
           .state = (uint8_t)(m->state + 1));
}

static void draw_item_entry(struct draw *d)
{
    static const uint32_t puts[] = {TOPO_CONFIG_SET, TOPO_ACL_SET, TOPO_FUNCTION_LOAD,
                                    TOPO_CATALOG_PUT};
    uint32_t s = (uint32_t)below(d, COUNT_OF(puts));
    uint32_t kind = puts[s] == TOPO_CATALOG_PUT ? (uint32_t)TOPO_CATALOG_FT : 0;
    char name = (char)('a' + below(d, 3));
    uint8_t value[64];
    memset(value, (int)below(d, 256), sizeof value);
    const struct topo_item *old =
        topology_item_find(d->t, (enum topo_section)(s + 1), kind, bytes_view(&name, 1));
    uint64_t version = old != NULL ? old->version : 0;
    bool expect = below(d, 2) == 0;
    if (below(d, 3) == 0)
        put(d, puts[s] + 1,
            &(const struct topo_item_drop){.kind = kind,
                                           .name = bytes_view(&name, 1),
                                           .expect = expect,
                                           .expect_version = version});
    else
        put(d, puts[s],
            &(const struct topo_item_put){.kind = kind,
                                          .name = bytes_view(&name, 1),
                                          .value = bytes_view(value, below(d, sizeof value)),
                                          .expect = expect,
                                          .expect_version = version});
}

static void draw_garbage(struct draw *d)
{
    uint32_t bytes = (uint32_t)below(d, 40);
    for (uint32_t i = 0; i < bytes; i++)
        buf_add_byte(d->out, (uint8_t)rng_next(d->r));
}

void draw_entry(struct rng *r, const struct topology *t, struct draw_request *request,
                struct buf *out)
{
    static const struct topo_cluster_id none;
    struct draw state = {.r = r, .t = t, .request = request, .out = out};
    struct draw *d = &state;
    struct topo_cluster_id id = topology_cluster_id(t);
    uint32_t kind = (uint32_t)below(d, 36);
    if (memcmp(&id, &none, sizeof id) == 0 && kind != 0) {
        DO(CLUSTER_INIT, topo_cluster_init, .cluster_id = {{1, 2, 3}}, .level = TOPOLOGY_LEVEL);
        return;
    }
    if (topology_node_find(t, draw_node_id(request->node)) == NULL && often(d)) {
        DO(NODE_JOIN, topo_node_join, .node = info(request->node, 1));
        return;
    }
    if (kind == 0)
        draw_garbage(d);
    else if (kind == 1 && request->last.len > 0) /* the same request in another proposal */
        buf_add_bytes(out, buf_bytes(&request->last));
    else if (kind < 8)
        draw_node_entry(d);
    else if (kind < 14)
        draw_group_entry(d);
    else if (kind < 19)
        draw_isr_entry(d);
    else if (kind < 26)
        draw_slot_entry(d);
    else if (kind < 32)
        draw_migration_entry(d);
    else
        draw_item_entry(d);
}
