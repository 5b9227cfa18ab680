/* Nodes: joining, new lives, addresses, health, leaving; and taking in another cluster of one. */
#include "cluster/topology_priv.h"

#include <inttypes.h>

/* ---- blocks */

static size_t node_bytes(const struct topo_node *n)
{
    return sizeof *n + n->info.ip.len + n->info.hostname.len + n->info.az.len;
}

static struct bytes put_string(uint8_t **at, struct bytes from)
{
    struct bytes to = bytes_view(*at, from.len);
    if (from.len > 0) memcpy(*at, from.data, from.len);
    *at += from.len;
    return to;
}

struct topo_node *topology__node_new(const struct topo_node *like)
{
    struct topo_node *n = mem_try_alloc(MEM_CLUSTER, node_bytes(like));
    if (n == NULL) return NULL;
    uint8_t *at = (uint8_t *)(n + 1);
    *n = *like;
    n->info.ip = put_string(&at, like->info.ip);
    n->info.hostname = put_string(&at, like->info.hostname);
    n->info.az = put_string(&at, like->info.az);
    return n;
}

void topology__node_free(struct topo_node *n)
{
    mem_free(MEM_CLUSTER, n, node_bytes(n));
}

static int compare_node(const void *key, const void *element)
{
    const struct topo_node *n = element;
    return topo_id_compare(*(const struct topo_id *)key, n->info.id);
}

uint32_t topology__node_place(const struct topology *t, struct topo_id id, bool *found_out)
{
    return topology__list_find(&t->nodes, &id, compare_node, found_out);
}

struct topo_node *topology__node(const struct topology *t, struct topo_id id)
{
    bool found = false;
    uint32_t place = topology__node_place(t, id, &found);
    return found ? t->nodes.at[place] : NULL;
}

/* ---- what may be said about a node */

/* Addresses and labels are shown in lines with spaces and commas between fields. */
static bool is_plain(struct bytes text)
{
    if (text.len > TOPOLOGY_ADDRESS_BYTES_MAX) return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f || text.data[i] == ',') return false;
    return true;
}

const char *topology__info_fault(const struct topo_node_info *info)
{
    if (topo_id_is_none(info->id)) return "a node needs an id";
    if (info->incarnation == 0) return "a node needs an incarnation";
    if (!is_plain(info->ip) || !is_plain(info->hostname) || !is_plain(info->az))
        return "addresses and labels are up to 255 characters without spaces and commas";
    return NULL;
}

static bool refuse_level(struct change *c, const struct topo_node_info *info)
{
    if (info->level >= c->t->level) return false;
    return refused(topology__refuse(c, "node %s knows feature level %u, the cluster is at %u",
                                    topo_id_hex(info->id).text, info->level, c->t->level));
}

static bool refuse_new_node(struct change *c, const struct topo_node_info *info)
{
    const struct topology *t = c->t;
    for (uint32_t i = 0; i < t->forgotten_count; i++) {
        const struct topo_member *f = &t->forgotten[i];
        if (!topo_id_equal(f->node, info->id) || info->incarnation > f->incarnation) continue;
        return refused(topology__refuse(
            c, "node %s was forgotten in incarnation %" PRIu64 ": restart it first",
            topo_id_hex(info->id).text, f->incarnation));
    }
    if (t->nodes.count < TOPOLOGY_NODES_MAX) return false;
    return refused(topology__refuse(c, "the cluster has %u nodes already", TOPOLOGY_NODES_MAX));
}

/* ---- join, update, health */

static void insert_node(struct topology *t, struct topo_node *n)
{
    bool found = false;
    uint32_t place = topology__node_place(t, n->info.id, &found);
    assert(!found);
    n->number = t->next_node_number++;
    topology__list_insert(&t->nodes, place, n);
}

/* Another block for a known node; what is remembered of its requests stays. */
static enum rc replace_node(struct change *c, const struct topo_node *old,
                            const struct topo_node_info *info)
{
    struct topo_node like = *old;
    like.info = *info;
    if (info->incarnation > old->info.incarnation) like.down = false;
    struct topo_node *n = topology__node_new(&like);
    if (n == NULL) return RC_NOMEM;
    bool found = false;
    uint32_t place = topology__node_place(c->t, info->id, &found);
    topology__node_free(c->t->nodes.at[place]);
    c->t->nodes.at[place] = n;
    c->result->value = n->number;
    return RC_OK;
}

enum rc topology__apply_NODE_JOIN(struct change *c, const void *body)
{
    const struct topo_node_info *info = &((const struct topo_node_join *)body)->node;
    const char *fault = topology__info_fault(info);
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    const struct topo_node *old = topology__node(c->t, info->id);
    if (old != NULL && info->incarnation <= old->info.incarnation)
        return topology__refuse(c, "node %s is known already, in incarnation %" PRIu64,
                                topo_id_hex(info->id).text, old->info.incarnation);
    if (refuse_level(c, info)) return RC_OK;
    if (old != NULL) return replace_node(c, old, info);
    if (refuse_new_node(c, info)) return RC_OK;
    if (!topology__list_room(&c->t->nodes)) return RC_NOMEM;
    struct topo_node *n = topology__node_new(&(struct topo_node){.info = *info});
    if (n == NULL) return RC_NOMEM;
    insert_node(c->t, n);
    c->result->value = n->number;
    return RC_OK;
}

/* NULL: refused. */
static struct topo_node *known_node(struct change *c, struct topo_id id)
{
    struct topo_node *n = topology__node(c->t, id);
    if (n == NULL) (void)topology__refuse(c, "Unknown node %s", topo_id_hex(id).text);
    return n;
}

enum rc topology__apply_NODE_UPDATE(struct change *c, const void *body)
{
    const struct topo_node_info *info = &((const struct topo_node_update *)body)->node;
    const char *fault = topology__info_fault(info);
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    const struct topo_node *old = known_node(c, info->id);
    if (old == NULL) return RC_OK;
    if (info->incarnation < old->info.incarnation)
        return topology__refuse(c, "node %s is in incarnation %" PRIu64 " by now",
                                topo_id_hex(info->id).text, old->info.incarnation);
    if (refuse_level(c, info)) return RC_OK;
    return replace_node(c, old, info);
}

enum rc topology__apply_NODE_HEALTH(struct change *c, const void *body)
{
    const struct topo_node_health *b = body;
    struct topo_node *n = known_node(c, b->node);
    if (n == NULL) return RC_OK;
    if (n->info.incarnation != b->incarnation)
        return topology__refuse(c, "node %s is in incarnation %" PRIu64, topo_id_hex(b->node).text,
                                n->info.incarnation);
    n->down = b->down;
    return RC_OK;
}

/* ---- forget */

/* The group of the node needs it. */
static bool refuse_needed(struct change *c, const struct topo_group *g, struct topo_id node)
{
    const char *why = NULL;
    if (!topo_id_equal(g->primary, node)) {
        if (topology__member(g, node)->standing == TOPO_OUTSIDE) return false;
        why = "it is in the in-sync set, or eligible";
    } else if (g->slots_count > 0) {
        why = "it is the primary and the group owns slots";
    } else if (g->members_count > 1) {
        why = "it is the primary and the group has other members";
    } else {
        why = topology__group_use(c->t, g);
    }
    if (why == NULL) return false;
    return refused(
        topology__refuse(c, "group %s needs the node: %s", topo_id_hex(g->id).text, why));
}

static void remember_forgotten(struct topology *t, const struct topo_node *n)
{
    if (t->forgotten_count == TOPOLOGY_FORGOTTEN_KEPT) {
        t->forgotten_count--;
        memmove(t->forgotten, t->forgotten + 1, t->forgotten_count * sizeof t->forgotten[0]);
    }
    t->forgotten[t->forgotten_count++] =
        (struct topo_member){.node = n->info.id, .incarnation = n->info.incarnation};
}

enum rc topology__apply_NODE_FORGET(struct change *c, const void *body)
{
    struct topo_id id = ((const struct topo_node_forget *)body)->node;
    struct topology *t = c->t;
    struct topo_node *n = known_node(c, id);
    if (n == NULL) return RC_OK;
    if (t->nodes.count == 1) return topology__refuse(c, "the last node cannot be forgotten");
    struct topo_group *g = topology__group_having(t, id);
    if (g != NULL) {
        if (refuse_needed(c, g, id)) return RC_OK;
        if (topo_id_equal(g->primary, id))
            topology__group_remove(t, g);
        else
            topology__member_remove(g, id);
    }
    bool found = false;
    uint32_t place = topology__node_place(t, id, &found);
    remember_forgotten(t, n);
    topology__list_remove(&t->nodes, place);
    topology__node_free(n);
    return RC_OK;
}

/* ---- absorb */

static bool refuse_absorb(struct change *c, const struct topo_absorb *b)
{
    const struct topology *t = c->t;
    if (topology__node(t, b->node.id) != NULL) {
        return refused(
            topology__refuse(c, "node %s is known already", topo_id_hex(b->node.id).text));
    }
    if (refuse_level(c, &b->node) || refuse_new_node(c, &b->node)) return true;
    if (topology__group(t, b->group) != NULL) {
        return refused(topology__refuse(c, "group %s exists already", topo_id_hex(b->group).text));
    }
    if (t->groups.count >= TOPOLOGY_GROUPS_MAX) {
        return refused(
            topology__refuse(c, "the cluster has %u groups already", TOPOLOGY_GROUPS_MAX));
    }
    for (uint32_t i = 0; i < b->ranges_count; i++) {
        for (uint32_t slot = b->ranges[i].first; slot <= b->ranges[i].last; slot++) {
            const struct topo_group *owner = topology__owner(t, (uint16_t)slot);
            if (owner == NULL) continue;
            return refused(
                topology__refuse(c, "slot %u is owned by group %s here: give it up there first",
                                 slot, topo_id_hex(owner->id).text));
        }
    }
    return false;
}

static const char *absorb_fault(const struct topo_absorb *b)
{
    const char *fault = topology__info_fault(&b->node);
    if (fault == NULL && topo_id_is_none(b->group))
        return b->ranges_count > 0 ? "slots without a group" : NULL;
    if (fault == NULL) fault = topology__mode_fault(b->mode, b->min_isr);
    if (fault == NULL && b->ranges_count > 0)
        fault = topology__ranges_fault(b->ranges, b->ranges_count);
    return fault;
}

enum rc topology__apply_ABSORB(struct change *c, const void *body)
{
    const struct topo_absorb *b = body;
    struct topology *t = c->t;
    const char *fault = absorb_fault(b);
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    if (memcmp(&b->from_cluster, &t->cluster_id, sizeof t->cluster_id) == 0)
        return topology__refuse(c, "node %s is of this cluster", topo_id_hex(b->node.id).text);
    if (refuse_absorb(c, b)) return RC_OK;
    struct topo_group like = {.id = b->group,
                              .mode = b->mode,
                              .min_isr = b->min_isr,
                              .epoch = b->epoch,
                              .history = b->history,
                              .primary = b->node.id};
    if (!topology__list_room(&t->nodes) || !topology__group_room(t)) return RC_NOMEM;
    struct topo_node *n = topology__node_new(&(struct topo_node){.info = b->node});
    if (n == NULL) return RC_NOMEM;
    struct topo_group *g = NULL;
    if (!topo_id_is_none(b->group)) {
        g = topology__group_new(&like, 1);
        if (g == NULL) {
            topology__node_free(n);
            return RC_NOMEM;
        }
    }
    insert_node(t, n);
    c->result->value = n->number;
    if (g == NULL) return RC_OK;
    topology__member_insert(g, (struct topo_group_member){.node = b->node.id,
                                                          .incarnation = b->node.incarnation,
                                                          .standing = TOPO_IN_SYNC});
    topology__group_insert(t, g);
    for (uint32_t i = 0; i < b->ranges_count; i++)
        topology__give(t, b->ranges[i], g);
    return RC_OK;
}

bool topology_absorb_body(const struct topology *t, struct topo_range *ranges,
                          struct topo_absorb *out)
{
    if (t->nodes.count != 1) return false;
    assert(t->groups.count <= 1); /* each has a member, and nothing can be under way between two */
    const struct topo_node *n = t->nodes.at[0];
    *out = (struct topo_absorb){.node = n->info, .ranges = ranges, .from_cluster = t->cluster_id};
    if (t->groups.count == 0) return true;
    const struct topo_group *g = t->groups.at[0];
    const struct topo_group *owner = NULL;
    struct topo_range range;
    out->group = g->id;
    out->mode = g->mode;
    out->min_isr = g->min_isr;
    out->epoch = g->epoch;
    out->history = g->history;
    for (uint32_t from = 0; topology_next_range(t, from, &range, &owner); from = range.last + 1u)
        ranges[out->ranges_count++] = range;
    return true;
}

/* ---- reading */

uint32_t topology_nodes(const struct topology *t)
{
    return t->nodes.count;
}

const struct topo_node *topology_node_at(const struct topology *t, uint32_t i)
{
    assert(i < t->nodes.count);
    return t->nodes.at[i];
}

const struct topo_node *topology_node_find(const struct topology *t, struct topo_id id)
{
    return topology__node(t, id);
}
