/* A turn: completions and messages → posts → what they proposed begins → timers. The members' list of the log
 * says who has a link; a peer's messages count as those of the member that its node id stands for. */
#include "cluster/loop.h"

#include <sched.h>
#include <stdio.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/base/rng.h"

#define TICK_MS 25u
#define ALONE_TICK_MS 250u /* nobody to send heartbeats to: only marks in the log, addresses */

struct peer_member {
    uint64_t raft_id;
    struct topo_id node;
};
struct loop {
    struct io *io;
    struct ctl *ctl;
    struct bus *bus;
    struct loop_opts opts;
    struct peer_member peer[RAFT_MEMBERS_MAX];
    uint32_t peers;
    bool members_changed;
    uint64_t now_ms, tick_at_ms;
    struct inbox posts;
    atomic_bool stop, stop_told; /* the latter: loop_stop() touches nothing more */
};

/* ---- members and links */

void loop_address(struct topo_id node, const char *bus, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "%s@%s", topo_id_hex(node).text, bus);
}

static bool parse_address(const char *address, struct topo_id *node_out, const char **bus_out)
{
    const char *at = strchr(address, '@');
    if (at == NULL || !topo_id_parse(bytes_view(address, (size_t)(at - address)), node_out))
        return false;
    *bus_out = at + 1;
    return true;
}

static bool is_listed(const struct peer_member *list, uint32_t count, struct topo_id node)
{
    for (uint32_t i = 0; i < count; i++)
        if (topo_id_equal(list[i].node, node)) return true;
    return false;
}

static void take_members(struct loop *l)
{
    struct rl_status s;
    struct peer_member old[RAFT_MEMBERS_MAX];
    uint32_t old_count = l->peers;
    memcpy(old, l->peer, sizeof old);
    l->members_changed = false;
    if (l->bus == NULL) return;
    ctl_status(l->ctl, &s);
    l->peers = 0;
    for (uint32_t i = 0; i < s.members.count; i++) {
        const struct rl_member *m = &s.members.at[i];
        struct topo_id node;
        const char *bus;
        if (m->id == s.id || !parse_address(m->address, &node, &bus)) continue;
        l->peer[l->peers++] = (struct peer_member){.raft_id = m->id, .node = node};
        enum rc rc = bus_peer_add(l->bus, node, bus);
        if (rc != RC_OK) log_warning("cluster", "no link to %s: %s", m->address, rc_text(rc));
    }
    for (uint32_t i = 0; i < old_count; i++)
        if (!is_listed(l->peer, l->peers, old[i].node)) bus_peer_remove(l->bus, old[i].node);
}

static void net_send(void *ctx, uint64_t to, const char *address, uint16_t channel, uint8_t type,
                     struct bytes body)
{
    struct loop *l = ctx;
    (void)address;
    for (uint32_t i = 0; i < l->peers; i++)
        if (l->peer[i].raft_id == to) {
            /* What is lost is counted by the bus and sent again by who needs an answer. */
            enum rc rc = bus_send(l->bus, l->peer[i].node, channel, type, body);
            (void)rc;
        }
}

static void net_changed(void *ctx)
{
    struct loop *l = ctx;
    l->members_changed = true; /* not from within the log's callback */
}

static bool on_message(void *ctx, const struct bus_node *from, uint16_t channel, uint8_t type,
                       struct bytes body)
{
    struct loop *l = ctx;
    for (uint32_t i = 0; i < l->peers; i++)
        if (topo_id_equal(l->peer[i].node, from->id))
            return ctl_receive(l->ctl, l->now_ms, l->peer[i].raft_id, channel, type, body);
    return false;
}

/* ---- life */

static uint64_t read_clock(const struct loop *l)
{
    return clock_mono_ns(l->opts.ctl.clock) / 1000000;
}

static enum rc open_ctl(struct loop *l, char *why, size_t why_bytes)
{
    struct ctl_opts o = l->opts.ctl;
    struct rng rng;
    rng_seed_random(&rng);
    o.io = l->io;
    o.net = (struct ctl_net){.send = net_send, .on_change = net_changed, .ctx = l};
    o.now_ms = l->now_ms;
    o.seed = rng_next(&rng);
    if (l->opts.members == NULL) return ctl_open_voter(&o, &l->ctl, why, why_bytes);
    return ctl_open_member(&o, l->opts.id, l->opts.members, &l->ctl, why, why_bytes);
}

static bool all_zero(struct topo_cluster_id id)
{
    return memcmp(&id, &(struct topo_cluster_id){{0}}, sizeof id) == 0;
}

static enum rc open_bus(struct loop *l, char *why, size_t why_bytes)
{
    struct bus_opts o = l->opts.bus;
    if (o.binds_count == 0) return RC_OK;
    o.io = l->io;
    o.now_ms = l->now_ms;
    o.cluster = topology_cluster_id(ctl_topology(l->ctl));
    if (all_zero(o.cluster))
        o.cluster = l->opts.ctl.new_cluster; /* its first entry is on its way */
    o.node = ctl_me(l->ctl);
    o.incarnation = ctl_incarnation(l->ctl);
    o.meta_version = topology_version(ctl_topology(l->ctl));
    /* Who hears of links? Nobody: what was lost with one is sent again by who needs an answer. */
    o.events = (struct bus_events){.on_message = on_message, .ctx = l};
    return bus_open(&o, &l->bus, why, why_bytes);
}

enum rc loop_open(const struct loop_opts *opts, struct loop **out, char *why_out, size_t why_bytes)
{
    struct loop *l = mem_zalloc(MEM_CLUSTER, sizeof *l);
    struct io_opts io = {.kind = opts->io, .entries = 256, .buffers = 64, .buffer_bytes = 16384};
    const char *why_not = NULL;
    l->opts = *opts;
    l->now_ms = l->tick_at_ms = read_clock(l);
    enum rc rc = io_open(&io, &l->io, &why_not);
    if (rc != RC_OK) {
        (void)snprintf(why_out, why_bytes, "no way to do input and output: %s",
                       why_not != NULL ? why_not : rc_text(rc));
        mem_free(MEM_CLUSTER, l, sizeof *l);
        return rc;
    }
    rc = open_ctl(l, why_out, why_bytes);
    if (rc == RC_OK) rc = open_bus(l, why_out, why_bytes);
    if (rc != RC_OK) {
        loop_close(l);
        return rc;
    }
    take_members(l);
    *out = l;
    return RC_OK;
}

static void run_posts(struct loop *l)
{
    struct inbox_link *link = inbox_take(&l->posts);
    while (link != NULL) {
        struct loop_post *post = container_of(link, struct loop_post, link);
        link = link->next;
        post->run(post, l); /* may free it */
    }
}

static void turn(struct loop *l)
{
    uint64_t rest_ms = l->tick_at_ms > l->now_ms ? l->tick_at_ms - l->now_ms : 0;
    (void)io_turn(l->io, inbox_pending(&l->posts) ? 0 : (int64_t)rest_ms * 1000);
    l->now_ms = read_clock(l);
    run_posts(l);
    ctl_run(l->ctl);
    if (l->members_changed) take_members(l);
    if (l->opts.on_turn != NULL) l->opts.on_turn(l->opts.ctx, l);
    if (l->now_ms < l->tick_at_ms) return;
    l->tick_at_ms = l->now_ms + (l->bus != NULL ? TICK_MS : ALONE_TICK_MS);
    if (l->bus != NULL) bus_tick(l->bus, l->now_ms);
    ctl_tick(l->ctl, l->now_ms);
}

void loop_run(struct loop *l)
{
    while (!atomic_load_explicit(&l->stop, memory_order_acquire))
        turn(l);
}

void loop_close(struct loop *l)
{
    while (atomic_load_explicit(&l->stop, memory_order_acquire) &&
           !atomic_load_explicit(&l->stop_told, memory_order_acquire))
        (void)sched_yield();
    if (l->bus != NULL) bus_close(l->bus);
    l->bus = NULL;
    l->peers = 0;
    if (l->ctl != NULL) {
        run_posts(l);
        ctl_run(l->ctl);
        ctl_close(l->ctl);
    }
    io_free(l->io);
    mem_free(MEM_CLUSTER, l, sizeof *l);
}

struct ctl *loop_ctl(struct loop *l)
{
    return l->ctl;
}

struct bus *loop_bus(struct loop *l)
{
    return l->bus;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return l->now_ms;
}

/* ---- any thread */

void loop_stop(struct loop *l)
{
    atomic_store_explicit(&l->stop, true, memory_order_release);
    l->io->ops->wake(l->io);
    atomic_store_explicit(&l->stop_told, true, memory_order_release);
}

void loop_post(struct loop *l, struct loop_post *post)
{
    inbox_add(&l->posts, &post->link);
    l->io->ops->wake(l->io);
}
