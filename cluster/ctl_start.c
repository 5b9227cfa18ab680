/* How a control log is opened: alone, as the only voter, or as one of several. A node that is alone makes
 * itself a cluster of one at its first start, before anything is served; so does an only voter, by the
 * same way, and gives the log to Raft then. */
#include "cluster/ctl_priv.h"

#include <stdio.h>

#include "shard/rt/io.h"

/* ---- a cluster of one */

struct waiting {
    struct ctl_call call;
    enum ctl_outcome outcome;
    char text[CTL_TEXT_BYTES];
    bool is_done;
};

static void waited(struct ctl_call *call, const struct ctl_result *result)
{
    struct waiting *w = container_of(call, struct waiting, call);
    w->outcome = result->outcome;
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
    ctl_run(c);
    while (!w.is_done)
        (void)io_turn(c->opts.io, -1);
    if (w.outcome == CTL_APPLIED) return RC_OK;
    (void)snprintf(why, why_bytes, "%s: %s: %s", c->opts.dir, topology_entry_name(type), w.text);
    return w.outcome == CTL_UNKNOWN ? RC_IO : RC_INVALID;
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
        struct topo_node_join join = {.node = ctl__info(c, 1)};
        return propose_now(c, TOPO_NODE_JOIN, &join, why, why_bytes);
    }
    if (rc != RC_OK || ctl__says(c, &node->info)) return rc;
    /* The same incarnation: alone nobody mistakes one life for another (docs/adr/0008). */
    struct topo_node_update update = {.node = ctl__info(c, node->info.incarnation)};
    return propose_now(c, TOPO_NODE_UPDATE, &update, why, why_bytes);
}

enum rc ctl__settle(struct ctl *c, char *why, size_t why_bytes)
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

/* ---- opening */

static enum rc open_alone(struct ctl *c, char *why, size_t why_bytes)
{
    enum rc rc = ctl__solo_open(c, why, why_bytes);
    if (rc != RC_OK) return rc;
    if (c->stop != NULL) {
        (void)snprintf(why, why_bytes, "%s: %s", c->opts.dir, c->stop);
        return RC_UNSUPPORTED;
    }
    c->me = ctl__find_me(c);
    return ctl__settle(c, why, why_bytes);
}

/* A lone voter leads at once; what it has is applied when an entry of its new term is on the disk. */
static enum rc wait_until_ready(struct ctl *c, char *why, size_t why_bytes)
{
    struct rl_status s;
    for (ctl_status(c, &s); !s.ready && s.failure == NULL; ctl_status(c, &s))
        (void)io_turn(c->opts.io, -1);
    if (s.failure == NULL) return RC_OK;
    (void)snprintf(why, why_bytes, "%s: %s", c->opts.dir, s.failure);
    return RC_IO;
}

/* The same log again, read by Raft. */
static enum rc change_driver(struct ctl *c, char *why, size_t why_bytes)
{
    c->driver->close(c->log);
    c->log = NULL;
    topology_free(c->t);
    c->t = NULL;
    enum rc rc = topology_new(&c->t);
    if (rc == RC_OK) rc = ctl__raft_open(c, c->raft_id, NULL, why, why_bytes);
    return rc == RC_OK ? wait_until_ready(c, why, why_bytes) : rc;
}

static enum rc begin(const struct ctl_opts *opts, struct ctl **out, char *why, size_t why_bytes)
{
    struct ctl *c = ctl__new(opts);
    c->starting = true;
    *out = c;
    enum rc rc = topology_new(&c->t);
    return rc == RC_OK ? rl_lock(opts->io, opts->dir, &c->lock_fd, why, why_bytes) : rc;
}

static enum rc end(struct ctl *c, enum rc rc, struct ctl **out)
{
    if (rc != RC_OK) {
        ctl_close(c);
        return rc;
    }
    c->starting = false;
    ctl__show_map(c);
    *out = c;
    return RC_OK;
}

enum rc ctl_open_solo(const struct ctl_opts *opts, struct ctl **out, char *why_out,
                      size_t why_bytes)
{
    struct ctl *c;
    enum rc rc = begin(opts, &c, why_out, why_bytes);
    if (rc == RC_OK) rc = open_alone(c, why_out, why_bytes);
    return end(c, rc, out);
}

enum rc ctl_open_voter(const struct ctl_opts *opts, struct ctl **out, char *why_out,
                       size_t why_bytes)
{
    struct ctl *c;
    enum rc rc = begin(opts, &c, why_out, why_bytes);
    if (rc == RC_OK) rc = open_alone(c, why_out, why_bytes);
    if (rc == RC_OK) rc = change_driver(c, why_out, why_bytes);
    return end(c, rc, out);
}

enum rc ctl_open_member(const struct ctl_opts *opts, uint64_t id, const struct rl_members *first,
                        struct ctl **out, char *why_out, size_t why_bytes)
{
    struct ctl *c;
    enum rc rc = begin(opts, &c, why_out, why_bytes);
    c->me = opts->new_node;
    if (rc == RC_OK) rc = ctl__raft_open(c, id, first, why_out, why_bytes);
    return end(c, rc, out);
}
