#include "cluster/ctl.h"

#include <stdio.h>

#include "cluster/topology_priv.h"
#include "raftlog/solo.h"
#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/rt/io.h"

/* What a driver of the log gives; raftlog.h has the words. `done` comes before the next entry is applied. */
struct ctl_driver {
    enum rc (*propose)(void *log, struct rl_call *call, const struct rl_request *request,
                       struct bytes payload);
    void (*tick)(void *log);
    void (*close)(void *log);
    const char *(*failure)(const void *log);
};

struct ctl {
    const struct ctl_driver *driver;
    void *log;
    struct ctl_opts opts;
    struct topology *t;
    struct topo_id me;
    uint64_t proposer, incarnation, counter;
    struct ctl_call *first, *last;  /* not done, oldest first */
    struct topology_result applied; /* of the last entry */
    bool starting;                  /* no map before there is a cluster of one */
    uint64_t shown;                 /* map version that was handed out */
    const char *stop;               /* an entry could not be applied */
    struct ctl_call update;
    bool updating;
};

/* ---- the machine */

/* The one that has a group; of several (a CLUSTER RESET HARD that a power loss cut short) the others were
 * not, or are not any more, in use. */
static struct topo_id find_me(const struct ctl *c)
{
    const struct topology *t = c->t;
    for (uint32_t i = 0; i < topology_nodes(t); i++) {
        struct topo_id id = topology_node_at(t, i)->info.id;
        if (topology_group_of(t, id) != NULL) return id;
    }
    return topology_nodes(t) > 0 ? topology_node_at(t, 0)->info.id : c->opts.new_node;
}

static void show_map(struct ctl *c)
{
    struct slotmap *map;
    if (c->starting || c->shown == topology_map_version(c->t)) return;
    if (slotmap_build(c->t, &map) != RC_OK) {
        log_warning("cluster", "no memory for a new slot map: the old one stays for now");
        return; /* the next tick tries again */
    }
    if (topology_node_find(c->t, c->me) == NULL) c->me = find_me(c); /* CLUSTER RESET HARD */
    c->shown = map->map_version;
    c->opts.on_map(c->opts.ctx, map, slotmap_node_find(map, c->me));
}

/* An entry that this node cannot apply leaves it behind for good: it may not go on as if. */
static uint32_t cannot_apply(struct ctl *c, uint64_t index, enum rc rc)
{
    log_warning("cluster", "entry %llu of the control log cannot be applied: %s",
                (unsigned long long)index, rc_text(rc));
    c->stop = rc == RC_NOMEM ? "no memory for an entry of the control log"
                             : "the control log holds entries of a newer version";
    return TOPOLOGY_TOO_NEW;
}

static uint32_t apply(void *ctx, uint64_t index, struct bytes payload)
{
    struct ctl *c = ctx;
    if (c->stop != NULL) return TOPOLOGY_TOO_NEW;
    enum rc rc = topology_apply(c->t, index, payload, &c->applied);
    if (rc != RC_OK) return cannot_apply(c, index, rc);
    show_map(c);
    return c->applied.verdict;
}

static void save(void *ctx, struct buf *out)
{
    struct ctl *c = ctx;
    enum rc rc = topology_snapshot(c->t, out);
    assert(rc == RC_OK); /* buffers grow or the process ends */
}

static enum rc restore(void *ctx, uint64_t index, struct bytes saved)
{
    struct ctl *c = ctx;
    struct topology *t;
    struct buf why;
    (void)index;
    buf_init(&why, MEM_CLUSTER);
    enum rc rc = topology_restore(saved, &t, &why);
    if (rc != RC_OK) {
        log_warning("cluster", "the saved topology: %.*s", (int)why.len, (const char *)why.data);
    } else {
        topology_free(c->t);
        c->t = t;
    }
    buf_free(&why);
    return rc;
}

/* ---- the driver of a node alone */

static enum rc solo_driver_propose(void *log, struct rl_call *call,
                                   const struct rl_request *request, struct bytes payload)
{
    return solo_propose(log, call, request, payload);
}

static void solo_driver_tick(void *log)
{
    solo_tick(log);
}

static void solo_driver_close(void *log)
{
    solo_close(log);
}

static const char *solo_driver_failure(const void *log)
{
    struct solo_status s;
    solo_status(log, &s);
    return s.failure;
}

static const struct ctl_driver solo_driver = {.propose = solo_driver_propose,
                                              .tick = solo_driver_tick,
                                              .close = solo_driver_close,
                                              .failure = solo_driver_failure};

/* ---- proposals */

const char *ctl_failure(const struct ctl *c)
{
    return c->stop != NULL ? c->stop : c->driver->failure(c->log);
}

static void on_done(struct rl_call *log_call, const struct rl_result *r)
{
    struct ctl_call *call = container_of(log_call, struct ctl_call, log_call);
    struct ctl *c = call->ctl;
    struct ctl_result result = {.outcome = CTL_UNKNOWN, .text = ""};
    assert(call == c->first); /* both lists are in the order of proposals */
    c->first = call->next;
    if (c->first == NULL) c->last = NULL;
    if (r->outcome == RL_APPLIED && c->stop == NULL) {
        bool applied = c->applied.verdict == TOPOLOGY_APPLIED;
        result.outcome = applied ? CTL_APPLIED : CTL_REFUSED;
        result.value = c->applied.value;
        result.text = c->applied.text;
    } else if (ctl_failure(c) != NULL) {
        result.text = ctl_failure(c);
    }
    call->done(call, &result); /* may free it */
}

static const char *propose_bytes(struct ctl *c, struct ctl_call *call, struct bytes entry)
{
    call->ctl = c;
    call->next = NULL;
    call->counter = ++c->counter;
    call->log_call.done = on_done;
    struct rl_request request = {.node = c->proposer,
                                 .incarnation = c->incarnation,
                                 .counter = call->counter,
                                 .done_below =
                                     c->first != NULL ? c->first->counter : call->counter};
    enum rc rc = c->driver->propose(c->log, &call->log_call, &request, entry);
    if (rc == RC_CLOSED) return ctl_failure(c) != NULL ? ctl_failure(c) : rc_text(rc);
    if (rc != RC_OK) return rc_text(rc);
    if (c->last != NULL)
        c->last->next = call;
    else
        c->first = call;
    c->last = call;
    return NULL;
}

bool ctl_propose(struct ctl *c, struct ctl_call *call, uint32_t type, const void *body,
                 const char **why_out)
{
    struct topology_entry entry = {.type = type, .hlc = topology_hlc(c->t)};
    uint64_t now_us = (uint64_t)clock_wall_us(c->opts.clock);
    if (now_us > entry.hlc) entry.hlc = now_us;
    struct buf bytes;
    buf_init(&bytes, MEM_CLUSTER);
    enum rc rc = topology_entry_encode(&entry, body, &bytes);
    if (rc != RC_OK)
        *why_out = rc_text(rc);
    else if (c->stop != NULL)
        *why_out = c->stop;
    else
        *why_out = propose_bytes(c, call, buf_bytes(&bytes));
    buf_free(&bytes);
    return *why_out == NULL;
}

/* ---- start: a cluster of one */

struct waiting {
    struct ctl_call call;
    struct ctl_result result;
    char text[256];
    bool is_done;
};

static void waited(struct ctl_call *call, const struct ctl_result *result)
{
    struct waiting *w = container_of(call, struct waiting, call);
    w->result = *result;
    (void)snprintf(w->text, sizeof w->text, "%s", result->text);
    w->is_done = true;
}

static enum rc propose_now(struct ctl *c, uint32_t type, const void *body, char *why,
                           size_t why_bytes)
{
    struct waiting w = {.call.done = waited};
    const char *refused = NULL;
    if (!ctl_propose(c, &w.call, type, body, &refused)) {
        (void)snprintf(why, why_bytes, "%s: %s", c->opts.dir, refused);
        return RC_IO;
    }
    while (!w.is_done)
        (void)io_turn(c->opts.io, -1);
    if (w.result.outcome == CTL_APPLIED) return RC_OK;
    (void)snprintf(why, why_bytes, "%s: %s: %s", c->opts.dir, topology_entry_name(type), w.text);
    return w.result.outcome == CTL_UNKNOWN ? RC_IO : RC_INVALID;
}

static struct topo_node_info info_of(const struct ctl_self *self, struct topo_id id,
                                     uint64_t incarnation)
{
    return (struct topo_node_info){.id = id,
                                   .incarnation = incarnation,
                                   .ip = self->ip,
                                   .hostname = self->hostname,
                                   .port = self->port,
                                   .tls_port = self->tls_port,
                                   .bus_port = self->bus_port,
                                   .level = TOPOLOGY_LEVEL};
}

static bool says(const struct topo_node_info *old, const struct ctl_self *self)
{
    return bytes_equal(old->ip, self->ip) && bytes_equal(old->hostname, self->hostname) &&
           old->port == self->port && old->tls_port == self->tls_port &&
           old->bus_port == self->bus_port && old->level == TOPOLOGY_LEVEL;
}

static enum rc forget_others(struct ctl *c, char *why, size_t why_bytes)
{
    enum rc rc = RC_OK;
    for (uint32_t i = 0; rc == RC_OK && i < topology_nodes(c->t);) {
        struct topo_node_forget other = {.node = topology_node_at(c->t, i)->info.id};
        if (topo_id_equal(other.node, c->me))
            i++;
        else
            rc = propose_now(c, TOPO_NODE_FORGET, &other, why, why_bytes);
    }
    return rc;
}

static enum rc settle_node(struct ctl *c, char *why, size_t why_bytes)
{
    static const struct topo_cluster_id none;
    struct topo_cluster_id id = topology_cluster_id(c->t);
    enum rc rc = RC_OK;
    if (memcmp(&id, &none, sizeof id) == 0) {
        struct topo_cluster_init init = {.cluster_id = c->opts.new_cluster,
                                         .level = TOPOLOGY_LEVEL};
        rc = propose_now(c, TOPO_CLUSTER_INIT, &init, why, why_bytes);
    }
    const struct topo_node *node = topology_node_find(c->t, c->me);
    if (rc == RC_OK && node == NULL) {
        struct topo_node_join join = {.node = info_of(&c->opts.self, c->me, 1)};
        return propose_now(c, TOPO_NODE_JOIN, &join, why, why_bytes);
    }
    if (rc != RC_OK || says(&node->info, &c->opts.self)) return rc;
    /* The same incarnation: alone nobody mistakes one life for another (docs/adr/0008). */
    struct topo_node_update update = {.node =
                                          info_of(&c->opts.self, c->me, node->info.incarnation)};
    return propose_now(c, TOPO_NODE_UPDATE, &update, why, why_bytes);
}

static enum rc settle(struct ctl *c, char *why, size_t why_bytes)
{
    enum rc rc = settle_node(c, why, why_bytes);
    if (rc == RC_OK) rc = forget_others(c, why, why_bytes);
    if (rc != RC_OK || topology_group_of(c->t, c->me) != NULL) return rc;
    const struct topo_node *node = topology_node_find(c->t, c->me);
    struct topo_group_create create = {
        .group = c->opts.new_group,
        .mode = TOPO_ASYNC,
        .min_isr = 1,
        .primary = {.node = c->me, .incarnation = node->info.incarnation}};
    return propose_now(c, TOPO_GROUP_CREATE, &create, why, why_bytes);
}

static enum rc open_log(struct ctl *c, char *why, size_t why_bytes)
{
    struct solo_opts opts = {
        .io = c->opts.io,
        .dir = c->opts.dir,
        .machine = {.apply = apply, .save = save, .restore = restore, .ctx = c},
    };
    struct solo *log;
    memcpy(opts.new_cluster_id, c->opts.new_cluster.bytes, sizeof opts.new_cluster_id);
    memcpy(opts.new_node_id, c->opts.new_node.bytes, sizeof opts.new_node_id);
    enum rc rc = solo_open(&opts, &log, why, why_bytes);
    if (rc != RC_OK) return rc;
    struct solo_status status;
    solo_status(log, &status);
    c->driver = &solo_driver;
    c->log = log;
    c->proposer = status.id;
    c->incarnation = status.incarnation;
    /* The files were begun, and power was lost before the first entry: they have the ids. */
    memcpy(c->opts.new_cluster.bytes, status.cluster_id, sizeof status.cluster_id);
    memcpy(c->opts.new_node.bytes, status.node_id, sizeof status.node_id);
    if (c->stop == NULL) return RC_OK;
    (void)snprintf(why, why_bytes, "%s: %s", c->opts.dir, c->stop);
    return RC_UNSUPPORTED;
}

enum rc ctl_open_solo(const struct ctl_opts *opts, struct ctl **out, char *why_out,
                      size_t why_bytes)
{
    struct ctl *c = mem_zalloc(MEM_CLUSTER, sizeof *c);
    c->opts = *opts;
    c->starting = true;
    enum rc rc = topology_new(&c->t);
    if (rc == RC_OK) rc = open_log(c, why_out, why_bytes);
    if (rc == RC_OK) {
        c->me = find_me(c);
        rc = settle(c, why_out, why_bytes);
    }
    if (rc != RC_OK) {
        ctl_close(c);
        return rc;
    }
    c->starting = false;
    show_map(c);
    *out = c;
    return RC_OK;
}

/* ---- life */

static void update_done(struct ctl_call *call, const struct ctl_result *result)
{
    struct ctl *c = container_of(call, struct ctl, update);
    c->updating = false;
    if (result->outcome != CTL_APPLIED)
        log_warning("cluster", "this node's addresses were not stored: %s", result->text);
}

void ctl_tick(struct ctl *c, const struct ctl_self *self)
{
    const struct topo_node *node = topology_node_find(c->t, c->me);
    const char *why;
    c->driver->tick(c->log);
    show_map(c);
    if (c->updating || node == NULL || ctl_failure(c) != NULL || says(&node->info, self)) return;
    struct topo_node_update update = {.node = info_of(self, c->me, node->info.incarnation)};
    if (topology__info_fault(&update.node) != NULL) return; /* the settings refuse such words */
    c->update.done = update_done;
    c->updating = ctl_propose(c, &c->update, TOPO_NODE_UPDATE, &update, &why);
}

void ctl_close(struct ctl *c)
{
    if (c->log != NULL) c->driver->close(c->log);
    topology_free(c->t);
    mem_free(MEM_CLUSTER, c, sizeof *c);
}

const struct topology *ctl_topology(const struct ctl *c)
{
    return c->t;
}

struct topo_id ctl_me(const struct ctl *c)
{
    return c->me;
}
