/* tests/sim/net_faults.c: which faults a run has (drawn by its seed, so that runs differ in kind and not
 * only in luck), and how each is done. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shard/base/assert.h"
#include "tests/sim/net_priv.h"

/* ---- the draw */

static uint32_t maybe(struct rng *r, uint32_t one_in, uint32_t low, uint32_t high)
{
    if (rng_below(r, one_in) != 0) return 0;
    return low + (uint32_t)rng_below(r, high - low + 1);
}

static uint32_t between(struct rng *r, uint32_t low, uint32_t high)
{
    return low + (uint32_t)rng_below(r, high - low + 1);
}

void net_swarm(struct net_opts *o, uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed ^ 0x5eed);
    static const uint32_t sizes[] = {3, 3, 3, 5, 5, 1, 2, 4};
    *o = (struct net_opts){.voters = sizes[rng_below(&r, COUNT_OF(sizes))]};
    o->delay_us_min = between(&r, 50, 500);
    o->delay_us_max = o->delay_us_min + between(&r, 100, 20000);
    o->tail_permille = maybe(&r, 2, 1, 100);
    o->loss_permille = maybe(&r, 2, 1, 150);
    o->repeat_permille = maybe(&r, 2, 1, 100);
    o->disk_us_min = between(&r, 20, 300);
    o->disk_us_max = o->disk_us_min +
                     (rng_below(&r, 3) == 0 ? between(&r, 1000, 60000) : between(&r, 100, 3000));
    o->crash_ms = maybe(&r, 2, 300, 4000);
    o->pause_ms = maybe(&r, 2, 300, 3000);
    o->cut_ms = maybe(&r, 2, 200, 2000);
    o->disk_fault_ms = maybe(&r, 4, 500, 4000);
    o->churn_ms = maybe(&r, 2, 150, 1500);
    o->transfer_ms = maybe(&r, 3, 200, 2000);
    o->spares = o->churn_ms > 0 ? between(&r, 1, 3) : 0;
    o->flip_permille = o->churn_ms == 0 ? maybe(&r, 3, 100, 500) : 0;
    o->propose_ms = between(&r, 5, 120);
    o->payload_bytes_max = rng_below(&r, 8) == 0 ? 20000 : between(&r, 0, 400);
    o->snapshot_entries = rng_below(&r, 3) == 0 ? 4096 : between(&r, 5, 120);
    o->snapshot_bytes = rng_below(&r, 4) == 0 ? between(&r, 2000, 50000) : 8u << 20;
    o->trailing_entries = rng_below(&r, 3) == 0 ? 200 : between(&r, 1, 40);
    o->segment_bytes = rng_below(&r, 3) == 0 ? 1u << 20 : between(&r, 4096, 65536);
    o->election_ms = 600;
    o->heartbeat_ms = 100;
    o->rate_ppm = maybe(&r, 2, 1000, 50000);
    o->safety_ms = between(&r, 4000, 10000);
    o->live_ms = 20000;
    o->topology = true;
}

/* ---- small things */

static bool runs(const struct net *n, uint32_t place)
{
    return n->node[place].exists && n->node[place].rl != NULL;
}

static uint32_t any_node(struct net *n)
{
    return (uint32_t)rng_below(&n->rng, n->nodes);
}

static const uint32_t *interval_of(const struct net *n, enum event_kind kind)
{
    static const uint32_t none;
    switch (kind) {
    case EVENT_CRASH:
        return &n->opts.crash_ms;
    case EVENT_PAUSE:
        return &n->opts.pause_ms;
    case EVENT_CUT:
        return &n->opts.cut_ms;
    case EVENT_DISK:
        return &n->opts.disk_fault_ms;
    case EVENT_CHURN:
        return &n->opts.churn_ms;
    case EVENT_TRANSFER:
        return &n->opts.transfer_ms;
    case EVENT_MESSAGE:
    case EVENT_TICK:
    case EVENT_CLIENT:
    case EVENT_START:
    case EVENT_HEAL_CUT:
        break;
    }
    return &none;
}

static void again(struct net *n, enum event_kind kind)
{
    uint32_t mean = *interval_of(n, kind);
    if (mean > 0) net__after(n, kind, net__spread(n, mean), 0, 0);
}

void net__plan_faults(struct net *n)
{
    for (enum event_kind k = EVENT_CRASH; k <= EVENT_TRANSFER; k++)
        again(n, k);
}

/* ---- crash, with damage */

struct pick {
    struct net *net;
    const struct store *store;
    char name[64];
    uint32_t seen;
};

/* Any file whose damage a start must notice: not the newest segment, whose last batch nothing proves. */
static void pick_file(void *ctx, const char *name)
{
    struct pick *p = ctx;
    char newest[32];
    (void)snprintf(newest, sizeof newest, "seg-%08x-", p->store->head.sequence);
    if (strncmp(name, newest, strlen(newest)) == 0 || strcmp(name, "snap.tmp") == 0) return;
    if (strncmp(name, "seg-", 4) == 0) {
        unsigned sequence = 0;
        if (sscanf(name, "seg-%8x", &sequence) != 1 || sequence > p->store->head.sequence ||
            sequence < p->store->meta.first_segment)
            return;
    }
    if (rng_below(&p->net->rng, ++p->seen) == 0)
        (void)snprintf(p->name, sizeof p->name, "%s", name);
}

static void flip(struct net *n, uint32_t place, struct pick *p)
{
    struct node *node = &n->node[place];
    if (p->name[0] == '\0') return;
    char path[128];
    (void)snprintf(path, sizeof path, "/raft/%s", p->name);
    int fd = node->io->ops->file_open(node->io, path, 0, 0);
    if (fd < 0) return; /* the power loss took it */
    int64_t bytes = node->io->ops->file_size(node->io, fd);
    (void)node->io->ops->file_close(node->io, fd);
    if (bytes <= 0) return;
    uint64_t bit = rng_below(&n->rng, (uint64_t)bytes * 8);
    if (!io_sim_flip_bit(node->sim, path, bit)) return;
    node->lost = true; /* until it starts all the same */
    n->faults++;
    net_note(n, place, p->name, bit / 8, bit % 8);
}

/* All others together must still be a majority. */
bool net__may_lose(const struct net *n)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < n->nodes; i++)
        lost += n->node[i].lost;
    return n->opts.spares == 0 && (lost + 1) * 2 < n->opts.voters;
}

static void crash(struct net *n)
{
    uint32_t place = any_node(n);
    if (!runs(n, place)) return;
    struct node *node = &n->node[place];
    struct pick p = {.net = n, .store = &node->rl->store};
    bool damage = net__may_lose(n) && rng_below(&n->rng, 1000) < n->opts.flip_permille &&
                  node->rl->store.segment_count > 0;
    if (damage) (void)node->io->ops->file_list(node->io, "/raft", pick_file, &p);
    net__down(n, place, true);
    if (damage) flip(n, place, &p);
    n->faults++;
    /* Sometimes the next start does not get far. */
    if (rng_below(&n->rng, 4) == 0) io_sim_crash_at(node->sim, 1 + rng_below(&n->rng, 40));
    net__after(n, EVENT_START, net__spread(n, 700), place, node->life);
}

static void start(struct net *n, uint32_t place, uint32_t life)
{
    struct node *node = &n->node[place];
    if (!node->exists || node->life != life) return;
    if (node->rl != NULL && node->rl->failed) { /* somebody gave it a new disk cable */
        bool power = rng_below(&n->rng, 2) == 0;
        (void)io_sim_heal(node->sim);
        net__down(n, place, power);
        node->disk_faulted = false;
    }
    if (node->rl == NULL) net__open(n, place, false);
}

static void disk_fault(struct net *n)
{
    static const uint32_t kinds[] = {IO_SIM_WRITE, IO_SIM_SYNC, IO_SIM_ALLOC | IO_SIM_OPEN,
                                     IO_SIM_META, IO_SIM_ALL};
    uint32_t place = any_node(n);
    struct node *node = &n->node[place];
    if (!runs(n, place) || node->rl->failed) return;
    uint32_t kind = kinds[rng_below(&n->rng, COUNT_OF(kinds))];
    int err = rng_below(&n->rng, 2) == 0 ? -EIO : -ENOSPC;
    io_sim_fault(node->sim, kind, 1 + rng_below(&n->rng, 30), err, true);
    node->disk_faulted = true;
    net_note(n, place, "its disk will fail: kind, errno", kind, (uint64_t)-err);
}

/* ---- network */

static void cut(struct net *n)
{
    uint32_t a = any_node(n), b = any_node(n);
    uint64_t us = net__spread(n, 1200);
    switch (rng_below(&n->rng, 3)) {
    case 0: /* one way */
        n->cut[a][b] = true;
        break;
    case 1: /* one node */
        net_isolate(n, a, true);
        break;
    default: /* two camps */
        for (uint32_t i = 0; i < n->nodes; i++)
            for (uint32_t j = 0; j < n->nodes; j++)
                if ((i <= a) != (j <= a)) n->cut[i][j] = true;
        break;
    }
    n->faults++;
    net_note(n, a, "cut", b, us);
    net__after(n, EVENT_HEAL_CUT, us, 0, 0);
}

/* ---- members */

static void admin_done(struct rl_call *call, const struct rl_result *result)
{
    struct node *node = container_of(call, struct node, admin);
    (void)result;
    node->admin_busy = false;
}

static const struct rl_member *find_member(const struct rl_members *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->at[i].id == id) return &m->at[i];
    return NULL;
}

static void renew_removed(struct net *n, const struct rl_status *s)
{
    if (s->members_pending) return;
    for (uint32_t i = 0; i < n->nodes; i++) {
        struct node *node = &n->node[i];
        if (!node->removing || find_member(&s->members, node->id) != NULL) continue;
        node->removing = false;
        net__renew(n, i);
        return;
    }
}

static bool choose_change(struct net *n, const struct rl_status *s, struct rl_change *c,
                          char *address, size_t address_bytes)
{
    uint32_t place = any_node(n), voters = 0;
    struct node *node = &n->node[place];
    if (!node->exists || node->id == s->id) return false;
    for (uint32_t i = 0; i < s->members.count; i++)
        voters += s->members.at[i].role == RL_VOTER;
    const struct rl_member *m = find_member(&s->members, node->id);
    *c = (struct rl_change){.id = node->id};
    if (m == NULL) {
        (void)snprintf(address, address_bytes, "n%llu", (unsigned long long)node->id);
        c->kind = RL_ADD;
        c->address = address;
        return true;
    }
    bool voter = m->role == RL_VOTER;
    if (voter && voters <= 2) return false;
    if (rng_below(&n->rng, 4) == 0) {
        c->kind = RL_REMOVE;
        node->removing = true; /* if it happens */
        return true;
    }
    c->kind = RL_ASSIGN;
    if (voter)
        c->role = rng_below(&n->rng, 2) == 0 ? RL_STANDBY : RL_SPARE;
    else
        c->role = m->role == RL_SPARE && rng_below(&n->rng, 2) == 0 ? RL_STANDBY : RL_VOTER;
    return true;
}

static void churn(struct net *n)
{
    uint32_t leader = net_leader(n);
    if (leader == NET_NODES_MAX || n->node[leader].paused_until_us > n->now_us) return;
    struct node *node = &n->node[leader];
    struct rl_status s;
    rl_status(node->rl, &s);
    renew_removed(n, &s);
    struct rl_change c;
    char address[32];
    if (node->admin_busy || !choose_change(n, &s, &c, address, sizeof address)) return;
    node->admin.done = admin_done;
    enum rc rc = rl_change(node->rl, &node->admin, &c);
    node->admin_busy = rc == RC_OK;
    if (rc == RC_OK) net_note(n, leader, "changes members: kind, id", c.kind, c.id);
    net__check(n, leader);
}

static void transfer(struct net *n)
{
    uint32_t leader = net_leader(n);
    if (leader == NET_NODES_MAX || n->node[leader].paused_until_us > n->now_us) return;
    struct node *node = &n->node[leader];
    if (node->admin_busy) return;
    node->admin.done = admin_done;
    enum rc rc = rl_transfer(node->rl, &node->admin, 0);
    node->admin_busy = rc == RC_OK;
    if (rc == RC_OK) net_note(n, leader, "hands over", 0, 0);
    net__check(n, leader);
}

/* ---- */

void net__fault(struct net *n, const struct event *e)
{
    if (e->kind == EVENT_START) {
        start(n, e->a, e->b);
        return;
    }
    if (e->kind == EVENT_HEAL_CUT) {
        memset(n->cut, 0, sizeof n->cut);
        return;
    }
    if (n->calm) return;
    again(n, e->kind);
    switch (e->kind) {
    case EVENT_CRASH:
        crash(n);
        return;
    case EVENT_PAUSE: {
        uint32_t place = any_node(n);
        if (runs(n, place)) net_pause(n, place, net__spread(n, 700) / 1000);
        return;
    }
    case EVENT_CUT:
        cut(n);
        return;
    case EVENT_DISK:
        disk_fault(n);
        return;
    case EVENT_CHURN:
        churn(n);
        return;
    case EVENT_TRANSFER:
        transfer(n);
        return;
    case EVENT_MESSAGE:
    case EVENT_TICK:
    case EVENT_CLIENT:
    case EVENT_START:
    case EVENT_HEAL_CUT:
        break;
    }
    assert(false && "no fault");
}

void net__heal(struct net *n)
{
    n->calm = true;
    memset(n->cut, 0, sizeof n->cut);
    for (uint32_t i = 0; i < n->nodes; i++) {
        struct node *node = &n->node[i];
        node->paused_until_us = 0;
        (void)io_sim_heal(node->sim);
        io_sim_crash_at(node->sim, 0);
        if (node->rl != NULL && io_sim_is_off(node->sim)) net__down(n, i, true);
        if (node->rl != NULL && node->rl->failed) net__down(n, i, false);
        if (node->rl == NULL && !node->lost) {
            if (io_sim_is_off(node->sim)) io_sim_crash(node->sim);
            net__open(n, i, false);
        }
        /* disk_faulted stays: an operation that is under way may still end with the fault. */
    }
    net_note(n, 0, "all faults are over", n->faults, 0);
}
