#include "cluster/show.h"

#include "shard/base/assert.h"
#include "shard/base/num.h"

#include <inttypes.h>

/* ---- a node as others see it */

static const struct slotmap_group *group_of(const struct cluster_view *v, uint16_t node)
{
    uint16_t group = v->map->nodes[node].group;
    return group == SLOTMAP_NONE ? NULL : &v->map->groups[group];
}

/* A node without a group is shown as a master without slots. */
static bool is_master(const struct cluster_view *v, uint16_t node)
{
    const struct slotmap_group *g = group_of(v, node);
    return g == NULL || g->primary == node;
}

static uint16_t port_of(const struct cluster_view *v, uint16_t node)
{
    const struct topo_node_info *info = &v->map->nodes[node].info;
    return v->tls && info->tls_port != 0 ? info->tls_port : info->port;
}

static void add_id(struct buf *b, struct topo_id id)
{
    struct topo_hex hex = topo_id_hex(id);
    buf_add(b, hex.text, sizeof hex.text - 1);
}

static void reply_id(struct reply *r, struct topo_id id)
{
    reply_bulk_text(r, topo_id_hex(id).text);
}

/* ---- NODES, REPLICAS */

static void add_flags(const struct cluster_view *v, uint16_t node, struct buf *b)
{
    const struct slotmap_node *n = &v->map->nodes[node];
    buf_addf(b, "%s%s", node == v->me ? "myself," : "", is_master(v, node) ? "master" : "slave");
    if (n->down)
        buf_addf(b, ",fail");
    else if (v->peers[node].suspected)
        buf_addf(b, ",fail?");
    if (n->info.ip.len == 0 && node != v->me) buf_addf(b, ",noaddr");
    if ((n->info.flags & TOPO_NODE_NOFAILOVER) != 0) buf_addf(b, ",nofailover");
}

static void add_slots(const struct cluster_view *v, const struct slotmap_group *g, struct buf *b)
{
    for (uint32_t i = 0; i < g->ranges_count; i++) {
        struct topo_range range = v->map->ranges[g->first_range + i];
        buf_addf(b, " %u", range.first);
        if (range.last > range.first) buf_addf(b, "-%u", range.last);
    }
}

/* Marks name groups; the line names the node that leads each. */
static void add_mark(const struct cluster_view *v, uint16_t slot, const char *arrow,
                     struct topo_id group, struct buf *b)
{
    uint16_t g = slotmap_group_find(v->map, group);
    if (g == SLOTMAP_NONE) return;
    buf_addf(b, " [%u-%s-", slot, arrow);
    add_id(b, v->map->nodes[v->map->groups[g].primary].info.id);
    buf_addf(b, "]");
}

/* Only on the line of the node itself, as Redis does. */
static void add_marks(const struct cluster_view *v, const struct slotmap_group *g, struct buf *b)
{
    for (uint32_t i = 0; i < v->map->marks_count; i++) {
        const struct topo_slot_marks *m = &v->map->marks[i];
        const struct slotmap_group *owner = slotmap_owner(v->map, m->slot);
        if (owner == g && !topo_id_is_none(m->migrating_to))
            add_mark(v, m->slot, ">", m->migrating_to, b);
        else if (topo_id_equal(m->importing_to, g->id))
            add_mark(v, m->slot, "<", m->importing_from, b);
    }
}

static void add_node(const struct cluster_view *v, uint16_t node, struct buf *b)
{
    const struct topo_node_info *info = &v->map->nodes[node].info;
    const struct cluster_peer *peer = &v->peers[node];
    const struct slotmap_group *g = group_of(v, node);
    bool master = is_master(v, node);
    add_id(b, info->id);
    buf_addf(b, " %.*s:%u@%u", (int)info->ip.len, (const char *)info->ip.data, port_of(v, node),
             info->bus_port);
    if (info->hostname.len > 0)
        buf_addf(b, ",%.*s", (int)info->hostname.len, (const char *)info->hostname.data);
    buf_addf(b, " ");
    add_flags(v, node, b);
    buf_addf(b, " ");
    if (master)
        buf_addf(b, "-");
    else
        add_id(b, v->map->nodes[g->primary].info.id);
    buf_addf(b, " %" PRId64 " %" PRId64 " %" PRIu64 " %s", peer->ping_ms, peer->pong_ms,
             g == NULL ? 0 : g->epoch, peer->connected ? "connected" : "disconnected");
    if (g == NULL || !master) return;
    add_slots(v, g, b);
    if (node == v->me) add_marks(v, g, b);
}

void cluster_show_nodes(const struct cluster_view *v, struct reply *r)
{
    struct buf b;
    buf_init(&b, MEM_CLUSTER);
    for (uint32_t i = 0; i < v->map->nodes_count; i++) {
        add_node(v, (uint16_t)i, &b);
        buf_add_byte(&b, '\n');
    }
    reply_verbatim(r, "txt", buf_bytes(&b));
    buf_free(&b);
}

void cluster_show_replicas(const struct cluster_view *v, struct bytes node, struct reply *r)
{
    struct topo_id id;
    uint16_t at = topo_id_parse(node, &id) ? slotmap_node_find(v->map, id) : SLOTMAP_NONE;
    if (at == SLOTMAP_NONE) {
        reply_errorf(r, "ERR Unknown node %.*s", (int)(node.len < 128 ? node.len : 128),
                     (const char *)node.data);
        return;
    }
    if (!is_master(v, at)) {
        reply_error(r, "ERR The specified node is not a master");
        return;
    }
    const struct slotmap_group *g = group_of(v, at);
    uint32_t count = g == NULL ? 1 : g->members_count;
    reply_array(r, count - 1);
    for (uint32_t i = 1; i < count; i++) {
        struct buf b;
        buf_init(&b, MEM_CLUSTER);
        add_node(v, v->map->members[g->first_member + i], &b);
        reply_bulk(r, buf_bytes(&b));
        buf_free(&b);
    }
}

/* ---- SLOTS */

static struct bytes hostname_or_question(const struct topo_node_info *info)
{
    return info->hostname.len > 0 ? info->hostname : BYTES_LIT("?");
}

/* Endpoint, port, id, and whatever else is known of where it is. */
static void reply_place(const struct cluster_view *v, uint16_t node, struct reply *r)
{
    const struct topo_node_info *info = &v->map->nodes[node].info;
    bool by_ip = v->endpoint == CLUSTER_BY_IP;
    bool tells_hostname = v->endpoint != CLUSTER_BY_HOSTNAME && info->hostname.len > 0;
    reply_array(r, 4);
    if (by_ip)
        reply_bulk(r, info->ip);
    else if (v->endpoint == CLUSTER_BY_HOSTNAME)
        reply_bulk(r, hostname_or_question(info));
    else
        reply_null(r);
    reply_i64(r, port_of(v, node));
    reply_id(r, info->id);
    reply_map(r, !by_ip + tells_hostname);
    if (!by_ip) {
        reply_bulk_text(r, "ip");
        reply_bulk(r, info->ip);
    }
    if (tells_hostname) {
        reply_bulk_text(r, "hostname");
        reply_bulk(r, info->hostname);
    }
}

static bool serves_reads(const struct cluster_view *v, uint16_t replica)
{
    return !v->map->nodes[replica].down && v->peers[replica].offset != 0;
}

void cluster_show_slots(const struct cluster_view *v, struct reply *r)
{
    const struct slotmap *m = v->map;
    reply_array(r, m->ranges_count);
    for (uint32_t i = 0; i < m->ranges_count; i++) {
        struct topo_range range = m->ranges[m->rising[i]];
        const struct slotmap_group *g = slotmap_owner(m, range.first);
        const uint16_t *members = m->members + g->first_member;
        uint32_t replicas = 0;
        for (uint32_t k = 1; k < g->members_count; k++)
            replicas += serves_reads(v, members[k]);
        reply_array(r, 3 + replicas);
        reply_i64(r, range.first);
        reply_i64(r, range.last);
        reply_place(v, g->primary, r);
        for (uint32_t k = 1; k < g->members_count; k++)
            if (serves_reads(v, members[k])) reply_place(v, members[k], r);
    }
}

/* ---- SHARDS */

static struct bytes preferred_endpoint(const struct cluster_view *v,
                                       const struct topo_node_info *info)
{
    switch (v->endpoint) {
    case CLUSTER_BY_IP:
        return info->ip;
    case CLUSTER_BY_HOSTNAME:
        return hostname_or_question(info);
    case CLUSTER_BY_NOTHING:
        break;
    }
    return bytes_view(NULL, 0);
}

static void reply_pair(struct reply *r, const char *name, struct bytes value)
{
    reply_bulk_text(r, name);
    reply_bulk(r, value);
}

static const char *health_of(const struct cluster_view *v, uint16_t node)
{
    if (v->map->nodes[node].down) return "fail";
    return is_master(v, node) || v->peers[node].offset != 0 ? "online" : "loading";
}

static void reply_member(const struct cluster_view *v, uint16_t node, struct reply *r)
{
    const struct topo_node_info *info = &v->map->nodes[node].info;
    reply_map(r, 6 + (info->port != 0) + (info->tls_port != 0) + (info->hostname.len > 0));
    reply_bulk_text(r, "id");
    reply_id(r, info->id);
    if (info->port != 0) {
        reply_bulk_text(r, "port");
        reply_i64(r, info->port);
    }
    if (info->tls_port != 0) {
        reply_bulk_text(r, "tls-port");
        reply_i64(r, info->tls_port);
    }
    reply_pair(r, "ip", info->ip);
    reply_pair(r, "endpoint", preferred_endpoint(v, info));
    if (info->hostname.len > 0) reply_pair(r, "hostname", info->hostname);
    reply_pair(r, "role", is_master(v, node) ? BYTES_LIT("master") : BYTES_LIT("replica"));
    reply_bulk_text(r, "replication-offset");
    reply_i64(r, (int64_t)v->peers[node].offset);
    reply_pair(r, "health", bytes_of(health_of(v, node)));
}

static void reply_shard(const struct cluster_view *v, const struct slotmap_group *g,
                        const uint16_t *members, uint32_t count, struct reply *r)
{
    uint32_t ranges = g == NULL ? 0 : g->ranges_count;
    reply_map(r, 2);
    reply_bulk_text(r, "slots");
    reply_array(r, 2 * ranges);
    for (uint32_t i = 0; i < ranges; i++) {
        reply_i64(r, v->map->ranges[g->first_range + i].first);
        reply_i64(r, v->map->ranges[g->first_range + i].last);
    }
    reply_bulk_text(r, "nodes");
    reply_array(r, count);
    for (uint32_t i = 0; i < count; i++)
        reply_member(v, members[i], r);
}

void cluster_show_shards(const struct cluster_view *v, struct reply *r)
{
    const struct slotmap *m = v->map;
    uint32_t alone = 0;
    for (uint32_t n = 0; n < m->nodes_count; n++)
        alone += m->nodes[n].group == SLOTMAP_NONE;
    reply_array(r, m->groups_count + alone);
    for (uint32_t g = 0; g < m->groups_count; g++)
        reply_shard(v, &m->groups[g], m->members + m->groups[g].first_member,
                    m->groups[g].members_count, r);
    for (uint16_t n = 0; n < m->nodes_count; n++)
        if (m->nodes[n].group == SLOTMAP_NONE) reply_shard(v, NULL, &n, 1, r);
}

/* ---- INFO */

struct served {
    uint32_t ok, suspected, down, masters;
};

static struct served count_served(const struct cluster_view *v)
{
    struct served s = {0};
    for (uint32_t i = 0; i < v->map->groups_count; i++) {
        const struct slotmap_group *g = &v->map->groups[i];
        s.masters += g->slots_count > 0;
        if (v->map->nodes[g->primary].down)
            s.down += g->slots_count;
        else if (v->peers[g->primary].suspected)
            s.suspected += g->slots_count;
        else
            s.ok += g->slots_count;
    }
    return s;
}

static bool is_ok(const struct cluster_view *v, const struct served *s)
{
    return !v->full_coverage || (v->map->slots_count == SLOT_COUNT && s->down == 0);
}

bool cluster_is_ok(const struct cluster_view *v)
{
    struct served s = count_served(v);
    return is_ok(v, &s);
}

static void add_messages(const struct cluster_view *v, struct buf *b)
{
    uint64_t sent = 0;
    uint64_t received = 0;
    for (uint32_t i = 0; i < v->messages_count; i++) {
        const struct cluster_messages *m = &v->messages[i];
        sent += m->sent;
        if (m->sent > 0)
            buf_addf(b, "cluster_stats_messages_%s_sent:%" PRIu64 "\r\n", m->type, m->sent);
    }
    buf_addf(b, "cluster_stats_messages_sent:%" PRIu64 "\r\n", sent);
    for (uint32_t i = 0; i < v->messages_count; i++) {
        const struct cluster_messages *m = &v->messages[i];
        received += m->received;
        if (m->received > 0)
            buf_addf(b, "cluster_stats_messages_%s_received:%" PRIu64 "\r\n", m->type, m->received);
    }
    buf_addf(b, "cluster_stats_messages_received:%" PRIu64 "\r\n", received);
    buf_addf(b, "total_cluster_links_buffer_limit_exceeded:%" PRIu64 "\r\n",
             v->links_limit_exceeded);
}

static void add_control(const struct cluster_control *c, struct buf *b)
{
    buf_addf(b, "cluster_meta_version:%" PRIu64 "\r\n", c->version);
    buf_addf(b, "cluster_raft_role:%s\r\n", c->raft_role);
    buf_addf(b, "cluster_raft_leader:%s\r\n",
             topo_id_is_none(c->raft_leader) ? "" : topo_id_hex(c->raft_leader).text);
    buf_addf(b, "cluster_raft_term:%" PRIu64 "\r\n", c->raft_term);
    buf_addf(b, "cluster_raft_commit_index:%" PRIu64 "\r\n", c->raft_commit);
    buf_addf(b, "cluster_raft_applied_index:%" PRIu64 "\r\n", c->raft_applied);
    buf_addf(b, "cluster_raft_snapshot_index:%" PRIu64 "\r\n", c->raft_snapshot);
    buf_addf(b, "cluster_raft_members:%u\r\n", c->raft_members);
    buf_addf(b, "cluster_raft_failure:%s\r\n", c->raft_failure);
    buf_addf(b, "cluster_groups_sync:%u\r\n", c->groups_sync);
    buf_addf(b, "cluster_groups_async:%u\r\n", c->groups_async);
    buf_addf(b, "cluster_groups_down:%u\r\n", c->groups_down);
    buf_addf(b, "cluster_migrations_active:%u\r\n", c->migrations);
}

void cluster_show_info(const struct cluster_view *v, struct reply *r)
{
    struct served s = count_served(v);
    const struct slotmap_group *mine = group_of(v, v->me);
    struct buf b;
    buf_init(&b, MEM_CLUSTER);
    buf_addf(&b, "cluster_state:%s\r\n", is_ok(v, &s) ? "ok" : "fail");
    buf_addf(&b, "cluster_slots_assigned:%u\r\n", v->map->slots_count);
    buf_addf(&b, "cluster_slots_ok:%u\r\n", s.ok);
    buf_addf(&b, "cluster_slots_pfail:%u\r\n", s.suspected);
    buf_addf(&b, "cluster_slots_fail:%u\r\n", s.down);
    buf_addf(&b, "cluster_known_nodes:%u\r\n", v->map->nodes_count);
    buf_addf(&b, "cluster_size:%u\r\n", s.masters);
    buf_addf(&b, "cluster_current_epoch:%" PRIu64 "\r\n", v->map->epoch);
    buf_addf(&b, "cluster_my_epoch:%" PRIu64 "\r\n", mine == NULL ? 0 : mine->epoch);
    add_messages(v, &b);
    add_control(&v->control, &b);
    reply_verbatim(r, "txt", buf_bytes(&b));
    buf_free(&b);
}

/* ---- the small ones */

void cluster_show_myid(const struct cluster_view *v, struct reply *r)
{
    reply_id(r, v->map->nodes[v->me].info.id);
}

void cluster_show_myshardid(const struct cluster_view *v, struct reply *r)
{
    const struct slotmap_group *g = group_of(v, v->me);
    reply_id(r, g == NULL ? v->map->nodes[v->me].info.id : g->id);
}

void cluster_show_links(const struct cluster_link *links, uint32_t count, struct reply *r)
{
    reply_array(r, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct cluster_link *l = &links[i];
        const char *events = l->reads ? (l->writes ? "rw" : "r") : l->writes ? "w" : "";
        reply_map(r, 6);
        reply_pair(r, "direction", l->outgoing ? BYTES_LIT("to") : BYTES_LIT("from"));
        reply_bulk_text(r, "node");
        reply_id(r, l->node);
        reply_bulk_text(r, "create-time");
        reply_i64(r, l->created_ms);
        reply_pair(r, "events", bytes_of(events));
        reply_bulk_text(r, "send-buffer-allocated");
        reply_i64(r, (int64_t)l->buffer_allocated);
        reply_bulk_text(r, "send-buffer-used");
        reply_i64(r, (int64_t)l->buffer_used);
    }
}

void cluster_show_keyslot(struct bytes key, struct reply *r)
{
    reply_i64(r, slot_of_key(key));
}

/* ---- arguments */

static bool parse_number(struct bytes text, int64_t *out, struct reply *r)
{
    if (num_parse_i64(text, out)) return true;
    reply_error(r, ERR_NOT_INT);
    return false;
}

bool cluster_parse_slot(struct bytes slot, uint16_t *slot_out, struct reply *r)
{
    int64_t number = 0;
    if (!parse_number(slot, &number, r)) return false;
    if (number < 0 || number >= SLOT_COUNT) {
        reply_error(r, "ERR Invalid slot");
        return false;
    }
    *slot_out = (uint16_t)number;
    return true;
}

bool cluster_parse_slot_count(struct bytes slot, struct bytes count, uint16_t *slot_out,
                              uint64_t *count_out, struct reply *r)
{
    int64_t number = 0;
    int64_t keys = 0;
    if (!parse_number(slot, &number, r) || !parse_number(count, &keys, r)) return false;
    if (number < 0 || number >= SLOT_COUNT || keys < 0) {
        reply_error(r, "ERR Invalid slot or number of keys");
        return false;
    }
    *slot_out = (uint16_t)number;
    *count_out = (uint64_t)keys;
    return true;
}
