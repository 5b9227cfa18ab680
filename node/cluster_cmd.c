/* CLUSTER, READONLY, READWRITE, ASKING, for a cluster of one. What only tells is made from the worker's slot
 * map (cluster/show.h); what changes something is checked against it in Redis's order and then proposed to
 * the control log on its thread, by way of worker 0: the reply comes when the entry is on the disk, and from
 * then on every worker routes by it. */
#include <stdio.h>

#include "cluster/show.h"
#include "node/cluster.h"
#include "node/commands.h"
#include "node/config.h"
#include "node/text.h"

#define SHOWN_BYTES 128 /* of an argument, in an error */

static int shown_len(struct bytes b)
{
    return (int)(b.len < SHOWN_BYTES ? b.len : SHOWN_BYTES);
}

static const struct slotmap *map_of(const struct call *c)
{
    return call_conn(c)->worker->map;
}

static const struct slotmap_node *me_of(const struct call *c)
{
    return &map_of(c)->nodes[call_conn(c)->worker->map_me];
}

static const struct slotmap_group *group_of(const struct call *c)
{
    return &map_of(c)->groups[me_of(c)->group];
}

/* False: replied. */
static bool is_on(struct call *c)
{
    if (map_of(c) != NULL) return true;
    reply_error(c->reply, "ERR This instance has cluster support disabled");
    return false;
}

/* ---- what only tells */

/* What this node sees of the others, by the nodes of the map: there are others only for the moment of a
 * CLUSTER RESET HARD. */
static size_t peers_bytes(const struct slotmap *m)
{
    return m->nodes_count * sizeof(struct cluster_peer);
}

static struct cluster_view open_view(const struct call *c)
{
    const struct worker *w = call_conn(c)->worker;
    struct cluster_peer *peers = mem_zalloc(MEM_CLUSTER, peers_bytes(w->map));
    for (uint32_t i = 0; i < w->map->nodes_count; i++)
        peers[i].connected = true;
    struct cluster_view v = {
        .map = w->map,
        .me = w->map_me,
        .peers = peers,
        .endpoint = (enum cluster_endpoint)config.cluster_endpoint,
        .full_coverage = config.cluster_full_coverage,
    };
    cluster_control(&v.control);
    v.control.version = w->map->version;
    for (uint32_t i = 0; i < w->map->groups_count; i++)
        v.control.groups_async += w->map->groups[i].mode == TOPO_ASYNC;
    return v;
}

static void close_view(const struct cluster_view *v)
{
    mem_free(MEM_CLUSTER, (void *)(uintptr_t)v->peers, peers_bytes(v->map));
}

static void with_view(struct call *c, void (*show)(const struct cluster_view *v, struct reply *r))
{
    if (!is_on(c)) return;
    struct cluster_view v = open_view(c);
    show(&v, c->reply);
    close_view(&v);
}

static void run_info(struct call *c)
{
    with_view(c, cluster_show_info);
}

static void run_nodes(struct call *c)
{
    with_view(c, cluster_show_nodes);
}

static void run_slots(struct call *c)
{
    with_view(c, cluster_show_slots);
}

static void run_shards(struct call *c)
{
    with_view(c, cluster_show_shards);
}

static void run_myid(struct call *c)
{
    with_view(c, cluster_show_myid);
}

static void run_myshardid(struct call *c)
{
    with_view(c, cluster_show_myshardid);
}

static void run_links(struct call *c)
{
    if (is_on(c)) cluster_show_links(NULL, 0, c->reply);
}

static void run_keyslot(struct call *c)
{
    if (is_on(c)) cluster_show_keyslot(c->argv[2], c->reply);
}

/* SLOTMAP_NONE: not known. */
static uint16_t find_node(const struct call *c, struct bytes text)
{
    struct topo_id id;
    return topo_id_parse(text, &id) ? slotmap_node_find(map_of(c), id) : SLOTMAP_NONE;
}

/* False: replied. */
static bool known_node(struct call *c, struct bytes text)
{
    if (find_node(c, text) != SLOTMAP_NONE) return true;
    reply_errorf(c->reply, "ERR Unknown node %.*s", shown_len(text), (const char *)text.data);
    return false;
}

static void run_count_failure_reports(struct call *c)
{
    if (is_on(c) && known_node(c, c->argv[2])) reply_i64(c->reply, 0);
}

static void run_replicas(struct call *c)
{
    if (!is_on(c)) return;
    struct cluster_view v = open_view(c);
    cluster_show_replicas(&v, c->argv[2], c->reply);
    close_view(&v);
}

/* ---- keys of a slot: asked of the worker that has it, as these replies are its alone to make */

struct slot_query {
    uint16_t slot;
    bool names;    /* GETKEYSINSLOT */
    uint64_t most; /* … so many */
};

struct slot_names {
    struct reply reply;
    uint64_t left;
};

static void add_name(void *ctx, struct record *r)
{
    struct slot_names *n = ctx;
    if (n->left == 0) return;
    n->left--;
    reply_bulk(&n->reply, record_key(r));
}

static void slot_part(struct worker *w, void *arg, struct buf *out)
{
    const struct slot_query *q = arg;
    if (slot_shard(q->slot, node.shards) != w->index) return;
    uint64_t keys = db_slot_count(w->core.ks, 0, q->slot);
    struct slot_names n = {.reply = {.out = out, .proto = 2},
                           .left = keys < q->most ? keys : q->most};
    if (!q->names) {
        reply_i64(&n.reply, (int64_t)keys);
        return;
    }
    reply_array(&n.reply, (int64_t)n.left);
    db_slot_each(w->core.ks, 0, q->slot, add_name, &n);
}

static void slot_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    struct slot_query *q = arg;
    (void)count;
    if (!c->reply->muted) reply_raw(c->reply, parts[slot_shard(q->slot, node.shards)]);
    mem_free(MEM_EXEC, q, sizeof *q);
}

static void ask_slot(struct call *c, struct slot_query query)
{
    struct slot_query *q = mem_alloc(MEM_EXEC, sizeof *q);
    *q = query;
    worker_everywhere(c, slot_part, slot_join, q);
}

static void run_countkeysinslot(struct call *c)
{
    struct slot_query q = {.names = false};
    if (is_on(c) && cluster_parse_slot(c->argv[2], &q.slot, c->reply)) ask_slot(c, q);
}

static void run_getkeysinslot(struct call *c)
{
    struct slot_query q = {.names = true};
    if (is_on(c) && cluster_parse_slot_count(c->argv[2], c->argv[3], &q.slot, &q.most, c->reply))
        ask_slot(c, q);
}

/* ---- changes: entries proposed one after the other; the first refusal ends them */

enum { STEPS_MAX = 4 };
struct step {
    uint32_t type;
    union {
        struct topo_slot_assign assign;
        struct topo_group_epoch epoch;
        struct topo_node_join join;
        struct topo_node_forget forget;
        struct topo_group_create create;
    };
};

struct cluster_change {
    struct loop_post post;
    struct cluster_answer answer;
    struct ctl_call call;
    struct ctl *ctl;
    struct everywhere *ask;
    struct step step[STEPS_MAX];
    uint32_t count, at;
    bool failed;
    char text[256];
    bool bumps; /* BUMPEPOCH: its reply names the epoch */
    uint64_t value;
    struct ctl_self self;
    struct topo_range *ranges; /* of TOPOLOGY_RANGES_MAX; NULL: none */
};

static struct cluster_change *change_new(void)
{
    return mem_zalloc(MEM_CLUSTER, sizeof(struct cluster_change));
}

static void change_free(struct cluster_change *g)
{
    mem_free(MEM_CLUSTER, g->ranges,
             g->ranges == NULL ? 0 : TOPOLOGY_RANGES_MAX * sizeof *g->ranges);
    mem_free(MEM_CLUSTER, g, sizeof *g);
}

/* On the ctl thread, until it answers. */
static void change_next(struct cluster_change *g);

static void change_fails(struct cluster_change *g, const char *why)
{
    g->failed = true;
    (void)snprintf(g->text, sizeof g->text, "%s", why);
}

static void step_done(struct ctl_call *call, const struct ctl_result *result)
{
    struct cluster_change *g = container_of(call, struct cluster_change, call);
    if (result->outcome != CTL_APPLIED) {
        change_fails(g, result->text);
        cluster_answer(&g->answer);
        return;
    }
    g->value = result->value;
    g->at++;
    change_next(g);
}

static void change_next(struct cluster_change *g)
{
    const struct step *s = &g->step[g->at];
    const char *why = NULL;
    if (g->at < g->count && ctl_propose(g->ctl, &g->call, s->type, &s->assign, &why)) return;
    if (why != NULL) change_fails(g, why);
    cluster_answer(&g->answer);
}

static void change_arrives(struct loop_post *post, struct loop *l)
{
    struct cluster_change *g = container_of(post, struct cluster_change, post);
    g->ctl = loop_ctl(l);
    g->call.done = step_done;
    change_next(g);
}

/* On worker 0. */
static void change_answered(struct cluster_answer *answer, struct worker *w)
{
    worker_answer(w, container_of(answer, struct cluster_change, answer)->ask);
}

static void change_begin(struct worker *w, struct everywhere *ask, void *arg)
{
    struct cluster_change *g = arg;
    g->ask = ask;
    g->post.run = change_arrives;
    g->answer.run = change_answered;
    if (cluster_post(&g->post)) return;
    change_fails(g, "the node stops");
    worker_answer(w, ask);
}

static void reply_epoch(struct call *c, const char *what, uint64_t epoch)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%s %llu", what, (unsigned long long)epoch);
    reply_status(c->reply, text);
}

static void change_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    struct cluster_change *g = arg;
    (void)parts;
    (void)count;
    if (g->failed) {
        reply_errorf(c->reply, "ERR %s", g->text);
    } else if (g->bumps) {
        reply_epoch(c, "BUMPED", g->value);
    } else {
        reply_ok(c->reply);
    }
    change_free(g);
}

static void propose(struct call *c, struct cluster_change *g)
{
    worker_ask(c, 0, change_begin, change_join, g);
}

static struct step *add_step(struct cluster_change *g, uint32_t type)
{
    assert(g->count < STEPS_MAX);
    struct step *s = &g->step[g->count++];
    s->type = type;
    return s;
}

/* ---- slots by number */

struct slot_set {
    uint64_t bits[SLOT_COUNT / 64];
};

static bool set_has(const struct slot_set *set, uint32_t slot)
{
    return set->bits[slot / 64] >> (slot % 64) & 1;
}

static void set_add(struct slot_set *set, uint32_t slot)
{
    set->bits[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static bool parse_slot(struct call *c, uint32_t i, uint16_t *out)
{
    int64_t slot;
    if (num_parse_i64(c->argv[i], &slot) && slot >= 0 && slot < SLOT_COUNT) {
        *out = (uint16_t)slot;
        return true;
    }
    reply_error(c->reply, "ERR Invalid or out of range slot");
    return false;
}

/* False: replied, in Redis's order: each slot's owner, then whether it was named before. */
static bool take_range(struct call *c, bool del, uint16_t first, uint16_t last,
                       struct slot_set *set)
{
    for (uint32_t slot = first; slot <= last; slot++) {
        bool owned = map_of(c)->group_of[slot] != SLOTMAP_NONE;
        const char *fault = del && !owned        ? "is already unassigned"
                            : !del && owned      ? "is already busy"
                            : set_has(set, slot) ? "specified multiple times"
                                                 : NULL;
        if (fault != NULL) {
            reply_errorf(c->reply, "ERR Slot %u %s", slot, fault);
            return false;
        }
        set_add(set, slot);
    }
    return true;
}

static void add_assign(struct call *c, struct cluster_change *g, bool del,
                       const struct slot_set *set)
{
    struct topo_slot_assign *a = &add_step(g, TOPO_SLOT_ASSIGN)->assign;
    g->ranges = mem_alloc(MEM_CLUSTER, TOPOLOGY_RANGES_MAX * sizeof *g->ranges);
    a->ranges = g->ranges;
    *(del ? &a->expect_owner : &a->group) = group_of(c)->id;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (!set_has(set, slot)) continue;
        if (slot == 0 || !set_has(set, slot - 1))
            g->ranges[a->ranges_count++].first = (uint16_t)slot;
        g->ranges[a->ranges_count - 1].last = (uint16_t)slot;
    }
}

static void assign(struct call *c, bool del, const struct slot_set *set)
{
    struct cluster_change *g = change_new();
    add_assign(c, g, del, set);
    propose(c, g);
}

static void change_slots(struct call *c, bool del)
{
    struct slot_set set = {{0}};
    uint16_t slot;
    if (!is_on(c)) return;
    for (uint32_t i = 2; i < c->argc; i++)
        if (!parse_slot(c, i, &slot)) return;
    for (uint32_t i = 2; i < c->argc; i++)
        if (!parse_slot(c, i, &slot) || !take_range(c, del, slot, slot, &set)) return;
    assign(c, del, &set);
}

static void change_ranges(struct call *c, bool del)
{
    struct slot_set set = {{0}};
    if (!is_on(c)) return;
    if (c->argc % 2 == 1) {
        reply_errorf(c->reply, "ERR wrong number of arguments for '%s' command",
                     commands_full_name(c->spec));
        return;
    }
    for (uint32_t i = 2; i < c->argc; i += 2) {
        uint16_t first, last;
        if (!parse_slot(c, i, &first) || !parse_slot(c, i + 1, &last)) return;
        if (first > last) {
            reply_errorf(c->reply, "ERR start slot number %u is greater than end slot number %u",
                         first, last);
            return;
        }
        if (!take_range(c, del, first, last, &set)) return;
    }
    assign(c, del, &set);
}

static void run_addslots(struct call *c)
{
    change_slots(c, false);
}

static void run_delslots(struct call *c)
{
    change_slots(c, true);
}

static void run_addslotsrange(struct call *c)
{
    change_ranges(c, false);
}

static void run_delslotsrange(struct call *c)
{
    change_ranges(c, true);
}

/* All slots of this node; none: false. */
static bool own_slots(const struct call *c, struct slot_set *set)
{
    *set = (struct slot_set){{0}};
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
        if (map_of(c)->group_of[slot] == me_of(c)->group) set_add(set, slot);
    return group_of(c)->slots_count > 0;
}

static void run_flushslots(struct call *c)
{
    struct slot_set set;
    if (!is_on(c)) return;
    if (cluster_keys() != 0)
        reply_error(c->reply, "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.");
    else if (own_slots(c, &set))
        assign(c, true, &set);
    else
        reply_ok(c->reply);
}

static void reply_usage(struct call *c)
{
    reply_errorf(
        c->reply,
        "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try CLUSTER HELP.",
        shown_len(c->argv[1]), (const char *)c->argv[1].data);
}

/* ---- SETSLOT: there is nobody to migrate to or to import from */

static void reply_bad_setslot(struct call *c)
{
    reply_error(c->reply,
                "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");
}

static void set_slot_peer(struct call *c, uint16_t slot, bool migrating)
{
    bool mine = map_of(c)->group_of[slot] == me_of(c)->group;
    if (migrating && !mine)
        reply_errorf(c->reply, "ERR I'm not the owner of hash slot %u", slot);
    else if (!migrating && mine)
        reply_errorf(c->reply, "ERR I'm already the owner of hash slot %u", slot);
    else if (find_node(c, c->argv[4]) == SLOTMAP_NONE)
        reply_errorf(c->reply, "ERR I don't know about node %.*s", shown_len(c->argv[4]),
                     (const char *)c->argv[4].data);
    else
        reply_errorf(c->reply, "ERR hash slot %u: both groups are the same", slot);
}

static void set_slot_node(struct call *c, uint16_t slot)
{
    if (!known_node(c, c->argv[4])) return;
    if (map_of(c)->group_of[slot] != SLOTMAP_NONE) {
        reply_ok(c->reply); /* mine: there is no other node */
        return;
    }
    struct slot_set set = {{0}};
    set_add(&set, slot);
    assign(c, false, &set);
}

static void run_setslot(struct call *c)
{
    uint16_t slot;
    if (!is_on(c) || !parse_slot(c, 2, &slot)) return;
    struct bytes action = c->argv[3];
    if (c->argc == 5 && bytes_is(action, "migrating"))
        set_slot_peer(c, slot, true);
    else if (c->argc == 5 && bytes_is(action, "importing"))
        set_slot_peer(c, slot, false);
    else if (c->argc == 5 && bytes_is(action, "node"))
        set_slot_node(c, slot);
    else if (c->argc == 4 && bytes_is(action, "stable"))
        reply_ok(c->reply); /* no slot is marked */
    else
        reply_bad_setslot(c);
}

/* ---- epochs */

static void set_epoch(struct call *c, uint64_t epoch, bool initial)
{
    struct cluster_change *g = change_new();
    g->bumps = !initial;
    add_step(g, TOPO_GROUP_EPOCH)->epoch =
        (struct topo_group_epoch){.group = group_of(c)->id, .epoch = epoch, .initial = initial};
    propose(c, g);
}

static void run_set_config_epoch(struct call *c)
{
    int64_t epoch;
    if (!is_on(c)) return;
    if (!num_parse_i64(c->argv[2], &epoch))
        reply_error(c->reply, ERR_NOT_INT);
    else if (epoch < 0)
        reply_errorf(c->reply, "ERR Invalid config epoch specified: %lld", (long long)epoch);
    else if (group_of(c)->epoch != 0)
        reply_error(c->reply, "ERR Node config epoch is already non-zero");
    else if (epoch == 0)
        reply_ok(c->reply);
    else
        set_epoch(c, (uint64_t)epoch, true);
}

static void run_bumpepoch(struct call *c)
{
    if (!is_on(c)) return;
    uint64_t epoch = group_of(c)->epoch;
    if (epoch == 0)
        set_epoch(c, map_of(c)->epoch + 1, false);
    else
        reply_epoch(c, "STILL", epoch);
}

/* ---- RESET */

/* Another node in the place of this one: a new id, epoch 0. */
static void add_rebirth(struct call *c, struct cluster_change *g)
{
    struct topo_id node_id, group_id;
    rng_secret(node_id.bytes, sizeof node_id.bytes);
    rng_secret(group_id.bytes, sizeof group_id.bytes);
    cluster_self(&g->self);
    add_step(g, TOPO_NODE_JOIN)->join.node = (struct topo_node_info){.id = node_id,
                                                                     .incarnation = 1,
                                                                     .ip = g->self.ip,
                                                                     .hostname = g->self.hostname,
                                                                     .port = g->self.port,
                                                                     .tls_port = g->self.tls_port,
                                                                     .bus_port = g->self.bus_port,
                                                                     .level = TOPOLOGY_LEVEL};
    add_step(g, TOPO_NODE_FORGET)->forget.node = me_of(c)->info.id;
    add_step(g, TOPO_GROUP_CREATE)->create =
        (struct topo_group_create){.group = group_id,
                                   .mode = TOPO_ASYNC,
                                   .min_isr = 1,
                                   .primary = {.node = node_id, .incarnation = 1}};
}

static void run_reset(struct call *c)
{
    struct slot_set set;
    if (!is_on(c)) return;
    bool hard = c->argc == 3 && bytes_is(c->argv[2], "hard");
    if (c->argc > 3) {
        reply_usage(c);
    } else if (c->argc == 3 && !hard && !bytes_is(c->argv[2], "soft")) {
        reply_error(c->reply, ERR_SYNTAX);
    } else if (cluster_keys() != 0) {
        reply_error(c->reply,
                    "ERR CLUSTER RESET can't be called with master nodes containing keys");
    } else {
        struct cluster_change *g = change_new();
        if (own_slots(c, &set)) add_assign(c, g, true, &set);
        if (hard) add_rebirth(c, g);
        propose(c, g);
    }
}

/* ---- what needs other nodes */

static void run_saveconfig(struct call *c)
{
    if (is_on(c)) reply_ok(c->reply); /* what was answered is on the disk */
}

static bool is_port(struct bytes text)
{
    int64_t port;
    return num_parse_i64(text, &port);
}

static void run_meet(struct call *c)
{
    if (!is_on(c)) return;
    if (c->argc > 5)
        reply_usage(c);
    else if (!is_port(c->argv[3]))
        reply_errorf(c->reply, "ERR Invalid TCP base port specified: %.*s", shown_len(c->argv[3]),
                     (const char *)c->argv[3].data);
    else if (c->argc == 5 && !is_port(c->argv[4]))
        reply_errorf(c->reply, "ERR Invalid TCP bus port specified: %.*s", shown_len(c->argv[4]),
                     (const char *)c->argv[4].data);
    else
        reply_error(c->reply, "ERR CLUSTER MEET is not there yet: a cluster has one node so far");
}

static void run_forget(struct call *c)
{
    if (is_on(c) && known_node(c, c->argv[2]))
        reply_error(c->reply, "ERR I tried hard but I can't forget myself...");
}

static void run_replicate(struct call *c)
{
    if (is_on(c) && known_node(c, c->argv[2])) reply_error(c->reply, "ERR Can't replicate myself");
}

static void run_failover(struct call *c)
{
    if (!is_on(c)) return;
    if (c->argc > 3)
        reply_usage(c);
    else if (c->argc == 3 && !bytes_is(c->argv[2], "force") && !bytes_is(c->argv[2], "takeover"))
        reply_error(c->reply, ERR_SYNTAX);
    else
        reply_error(c->reply, "ERR You should send CLUSTER FAILOVER to a replica");
}

/* ---- the session */

static void run_readonly(struct call *c)
{
    if (!is_on(c)) return;
    call_conn(c)->session.readonly = true;
    reply_ok(c->reply);
}

static void run_readwrite(struct call *c)
{
    if (!is_on(c)) return;
    call_conn(c)->session.readonly = false;
    reply_ok(c->reply);
}

static void run_asking(struct call *c)
{
    if (is_on(c)) reply_ok(c->reply); /* for slots that are imported: there are none */
}

static void run_help(struct call *c)
{
    static const char *const lines[] = {
        "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ADDSLOTS <slot> [<slot> ...]",
        "    Assign slots to current node.",
        "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "    Assign slots which are between <start-slot> and <end-slot> to current node.",
        "BUMPEPOCH",
        "    Advance the cluster config epoch.",
        "COUNT-FAILURE-REPORTS <node-id>",
        "    Return number of failure reports for <node-id>.",
        "COUNTKEYSINSLOT <slot>",
        "    Return the number of keys in <slot>.",
        "DELSLOTS <slot> [<slot> ...]",
        "    Delete slots information from current node.",
        "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "    Delete slots information which are between <start-slot> and <end-slot> from current "
        "node.",
        "FAILOVER [FORCE|TAKEOVER]",
        "    Promote current replica node to being a master.",
        "FORGET <node-id>",
        "    Remove a node from the cluster.",
        "GETKEYSINSLOT <slot> <count>",
        "    Return key names stored by current node in a slot.",
        "FLUSHSLOTS",
        "    Delete current node own slots information.",
        "INFO",
        "    Return information about the cluster.",
        "KEYSLOT <key>",
        "    Return the hash slot for <key>.",
        "MEET <ip> <port> [<bus-port>]",
        "    Connect nodes into a working cluster.",
        "MYID",
        "    Return the node id.",
        "MYSHARDID",
        "    Return the node's shard id.",
        "NODES",
        "    Return cluster configuration seen by node. Output format:",
        "    <id> <ip:port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
        "REPLICATE <node-id>",
        "    Configure current node as replica to <node-id>.",
        "RESET [HARD|SOFT]",
        "    Reset current node (default: soft).",
        "SET-CONFIG-EPOCH <epoch>",
        "    Set config epoch of current node.",
        "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
        "    Set slot state.",
        "REPLICAS <node-id>",
        "    Return <node-id> replicas.",
        "SAVECONFIG",
        "    Force saving cluster configuration on disk.",
        "SLOTS",
        "    Return information about slots range mappings. Each range is made of:",
        "    start, end, master and replicas IP addresses, ports and ids",
        "SHARDS",
        "    Return information about slot range mappings and the nodes associated with them.",
        "LINKS",
        "    Return information about all network links between this node and its peers.",
        "    Output format is an array where each array element is a map containing attributes of "
        "a link",
        "HELP",
        "    Prints this help.",
    };
    if (is_on(c)) reply_text_lines(c->reply, lines, COUNT_OF(lines));
}

// clang-format off
static const struct cmd_spec cluster_subs[] = {
    {.name = "ADDSLOTS", .run_conn = run_addslots, .arity = -3, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(N) where N is the total number of hash slot arguments", .summary = "Assigns slots to this node.", .syntax = "slot [slot ...]"},
    {.name = "ADDSLOTSRANGE", .run_conn = run_addslotsrange, .arity = -4, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "7.0.0", .complexity = "O(N) where N is the total number of the slots between the start slot and end slot arguments.", .summary = "Assigns ranges of slots to this node.", .syntax = "start-slot end-slot [start-slot end-slot ...]"},
    {.name = "BUMPEPOCH", .run_conn = run_bumpepoch, .arity = 2, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Raises the configuration epoch.", .syntax = "", .tips = "nondeterministic_output"},
    {.name = "COUNT-FAILURE-REPORTS", .run_conn = run_count_failure_reports, .arity = 3, .flags = CMD_ADMIN | CMD_STALE, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(N) where N is the number of failure reports", .summary = "Returns how many nodes report a node as failing.", .syntax = "node-id", .tips = "nondeterministic_output"},
    {.name = "COUNTKEYSINSLOT", .run_conn = run_countkeysinslot, .arity = 3, .flags = CMD_STALE, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Returns the number of keys in a slot.", .syntax = "slot"},
    {.name = "DELSLOTS", .run_conn = run_delslots, .arity = -3, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(N) where N is the total number of hash slot arguments", .summary = "Takes slots away from this node.", .syntax = "slot [slot ...]"},
    {.name = "DELSLOTSRANGE", .run_conn = run_delslotsrange, .arity = -4, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "7.0.0", .complexity = "O(N) where N is the total number of the slots between the start slot and end slot arguments.", .summary = "Takes ranges of slots away from this node.", .syntax = "start-slot end-slot [start-slot end-slot ...]"},
    {.name = "FAILOVER", .run_conn = run_failover, .arity = -2, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Makes a replica the master of its group.", .syntax = "[FORCE | TAKEOVER]"},
    {.name = "FLUSHSLOTS", .run_conn = run_flushslots, .arity = 2, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Takes all slots away from this node.", .syntax = ""},
    {.name = "FORGET", .run_conn = run_forget, .arity = 3, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Removes a node from the cluster.", .syntax = "node-id"},
    {.name = "GETKEYSINSLOT", .run_conn = run_getkeysinslot, .arity = 4, .flags = CMD_STALE, .group = "cluster", .since = "3.0.0", .complexity = "O(log(N)) where N is the number of requested keys", .summary = "Returns names of keys in a slot.", .syntax = "slot count", .tips = "nondeterministic_output"},
    {.name = "HELP", .run_conn = run_help, .arity = 2, .flags = CMD_LOADING | CMD_STALE, .group = "cluster", .since = "5.0.0", .complexity = "O(1)", .summary = "Returns helpful text about the subcommands.", .syntax = ""},
    {.name = "INFO", .run_conn = run_info, .arity = 2, .flags = CMD_STALE, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Returns facts about the cluster as this node sees it.", .syntax = "", .tips = "nondeterministic_output"},
    {.name = "KEYSLOT", .run_conn = run_keyslot, .arity = 3, .flags = CMD_STALE, .group = "cluster", .since = "3.0.0", .complexity = "O(N) where N is the number of bytes in the key", .summary = "Returns the slot of a key.", .syntax = "key"},
    {.name = "LINKS", .run_conn = run_links, .arity = 2, .flags = CMD_STALE, .group = "cluster", .since = "7.0.0", .complexity = "O(N) where N is the total number of Cluster nodes", .summary = "Lists the connections to other nodes.", .syntax = "", .tips = "nondeterministic_output"},
    {.name = "MEET", .run_conn = run_meet, .arity = -4, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Joins the cluster of another node.", .syntax = "ip port [cluster-bus-port]", .history = "4.0.0:Added the optional `cluster_bus_port` argument."},
    {.name = "MYID", .run_conn = run_myid, .arity = 2, .flags = CMD_STALE, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Returns the id of this node.", .syntax = ""},
    {.name = "MYSHARDID", .run_conn = run_myshardid, .arity = 2, .flags = CMD_STALE, .group = "cluster", .since = "7.2.0", .complexity = "O(1)", .summary = "Returns the id of the group of this node.", .syntax = "", .tips = "nondeterministic_output"},
    {.name = "NODES", .run_conn = run_nodes, .arity = 2, .flags = CMD_STALE, .group = "cluster", .since = "3.0.0", .complexity = "O(N) where N is the total number of Cluster nodes", .summary = "Lists the nodes with their slots.", .syntax = "", .tips = "nondeterministic_output"},
    {.name = "REPLICAS", .run_conn = run_replicas, .arity = 3, .flags = CMD_ADMIN | CMD_STALE, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "5.0.0", .complexity = "O(1)", .summary = "Lists the replicas of a master.", .syntax = "node-id", .tips = "nondeterministic_output"},
    {.name = "REPLICATE", .run_conn = run_replicate, .arity = 3, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Makes this node a replica of a master.", .syntax = "node-id"},
    {.name = "RESET", .run_conn = run_reset, .arity = -2, .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_STALE, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.", .summary = "Makes this node forget the cluster.", .syntax = "[HARD | SOFT]"},
    {.name = "SAVECONFIG", .run_conn = run_saveconfig, .arity = 2, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Has the state of the cluster written to disk.", .syntax = ""},
    {.name = "SET-CONFIG-EPOCH", .run_conn = run_set_config_epoch, .arity = 3, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Sets the configuration epoch of a new node.", .syntax = "config-epoch"},
    {.name = "SETSLOT", .run_conn = run_setslot, .arity = -4, .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Sets the owner of a slot, or marks it for a move.", .syntax = "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>"},
    {.name = "SHARDS", .run_conn = run_shards, .arity = 2, .flags = CMD_STALE, .group = "cluster", .since = "7.0.0", .complexity = "O(N) where N is the total number of cluster nodes", .summary = "Lists the groups with their slots and nodes.", .syntax = "", .tips = "nondeterministic_output"},
    {.name = "SLAVES", .run_conn = run_replicas, .arity = 3, .flags = CMD_ADMIN | CMD_STALE, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Lists the replicas of a master.", .syntax = "node-id", .tips = "nondeterministic_output"},
    {.name = "SLOTS", .run_conn = run_slots, .arity = 2, .flags = CMD_STALE, .group = "cluster", .since = "3.0.0", .complexity = "O(N) where N is the total number of Cluster nodes", .summary = "Lists the ranges of slots with their nodes.", .syntax = "", .tips = "nondeterministic_output", .history = "4.0.0:Added node IDs.\n7.0.0:Added additional networking metadata field."},
};
static const struct cmd_spec rows[] = {
    {.name = "ASKING", .run_conn = run_asking, .arity = 1, .flags = CMD_FAST, .acl = ACL_CONNECTION, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Says that the next command is about a slot that is being imported.", .syntax = ""},
    {.name = "CLUSTER", .arity = -2, .group = "cluster", .since = "3.0.0", .complexity = "Depends on subcommand.", .summary = "A container for commands about the cluster.", .syntax = "", .subs = cluster_subs, .subs_count = COUNT_OF(cluster_subs)},
    {.name = "READONLY", .run_conn = run_readonly, .arity = 1, .flags = CMD_LOADING | CMD_STALE | CMD_FAST, .acl = ACL_CONNECTION, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Allows reads from a replica.", .syntax = ""},
    {.name = "READWRITE", .run_conn = run_readwrite, .arity = 1, .flags = CMD_LOADING | CMD_STALE | CMD_FAST, .acl = ACL_CONNECTION, .group = "cluster", .since = "3.0.0", .complexity = "O(1)", .summary = "Ends READONLY.", .syntax = ""},
};
// clang-format on

const struct cmd_table cluster_cmds = {.rows = rows, .count = COUNT_OF(rows)};
