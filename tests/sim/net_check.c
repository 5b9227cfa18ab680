/* tests/sim/net_check.c: the promises, checked after every event of a node, against plain books:
 *
 *   one leader per term; log matching: (index, term) names one entry and one term before it; leader
 *   completeness: who leads has all that anyone applied; what is applied at an index is the same
 *   everywhere and for ever, without gaps; each proposal is applied once, and answered with where. */
#include <stdio.h>
#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/crc.h"
#include "shard/base/mem.h"
#include "tests/sim/net_priv.h"

static struct net *the_net; /* one per process */

struct net *net__of(const struct node *node)
{
    (void)node;
    return the_net;
}

static uint32_t place_of(const struct node *node)
{
    return (uint32_t)(node - the_net->node);
}

static uint64_t hash(uint64_t seed, struct bytes b)
{
    uint32_t low = crc32c((uint32_t)seed, b.data, b.len);
    return (uint64_t)crc32c((uint32_t)(seed >> 32) ^ low, b.data, b.len) << 32 | low;
}

/* ---- the model behind the log */

struct payload {
    uint64_t client, counter, seed;
};

static uint32_t model_apply(void *ctx, uint64_t index, struct bytes payload)
{
    struct node *node = ctx;
    struct net *n = the_net;
    struct payload p;
    uint32_t place = place_of(node);
    if (payload.len < sizeof p) net_fail(n, "node %u applies %zu bytes", place, payload.len);
    memcpy(&p, payload.data, sizeof p);
    if (index >= NET_INDEX_MAX) net_fail(n, "the log of the test is too long");
    if (index <= node->model.index)
        net_fail(n, "node %u applies %llu after %llu", place, (unsigned long long)index,
                 (unsigned long long)node->model.index);
    if (!n->at[index].applied && index < n->applied)
        net_fail(n, "node %u applies at %llu what others did not", place,
                 (unsigned long long)index);
    struct at_index *at = &n->at[index];
    uint64_t result = 0;
    if (n->world != NULL)
        result = world_apply(n->world, place, index,
                             bytes_view(payload.data + sizeof p, payload.len - sizeof p));
    uint64_t chain =
        crc64(node->model.chain ^ index * 0x9e3779b97f4a7c15u ^ result, payload.data, payload.len);
    if (!at->applied) {
        if (p.client >= NET_CLIENTS || p.counter >= NET_INDEX_MAX / 8)
            net_fail(n, "node %u applies what nobody proposed", place);
        if (n->counters[p.client][p.counter]++ != 0)
            net_fail(n, "proposal %llu of client %llu is applied twice, now at %llu",
                     (unsigned long long)p.counter, (unsigned long long)p.client,
                     (unsigned long long)index);
        *at = (struct at_index){.chain = chain,
                                .prev_index = node->model.index,
                                .client = p.client,
                                .counter = p.counter,
                                .term = at->term,
                                .commit_term = at->commit_term,
                                .applied = true};
        n->applied = index;
    } else if (at->chain != chain || at->prev_index != node->model.index) {
        net_fail(n, "node %u applies something else at %llu", place, (unsigned long long)index);
    }
    node->model = (struct model){index, chain, node->model.count + 1};
    return (uint32_t)(chain >> 40) | 1;
}

static void model_save(void *ctx, struct buf *out)
{
    struct node *node = ctx;
    struct net *n = the_net;
    buf_add(out, &node->model, sizeof node->model);
    if (n->world != NULL) world_save(n->world, place_of(node), out);
    /* Ballast: snapshots of several pieces and chunks. */
    uint32_t ballast = (uint32_t)(n->seed % 5) * 20000;
    uint8_t *at = buf_room(out, ballast + 1);
    for (uint32_t i = 0; i < ballast; i++)
        at[i] = (uint8_t)(node->model.chain >> (i % 8 * 8));
    out->len += ballast;
}

static enum rc model_restore(void *ctx, uint64_t index, struct bytes saved)
{
    struct node *node = ctx;
    struct net *n = the_net;
    struct model m;
    uint32_t place = place_of(node);
    if (saved.len < sizeof m) return RC_CORRUPT;
    memcpy(&m, saved.data, sizeof m);
    if (m.index > index) net_fail(n, "node %u restores a snapshot of its future", place);
    if (m.index != 0 && (!n->at[m.index].applied || n->at[m.index].chain != m.chain))
        net_fail(n, "node %u restores what nobody applied at %llu", place,
                 (unsigned long long)m.index);
    if (m.index < node->model.index)
        net_fail(n, "node %u goes back from %llu to %llu", place,
                 (unsigned long long)node->model.index, (unsigned long long)m.index);
    saved = bytes_view(saved.data + sizeof m, saved.len - sizeof m);
    if (n->world != NULL) world_restore(n->world, place, &saved);
    if (n->world != NULL && topology_version(node->topology) != m.index)
        net_fail(n, "node %u restores version %llu with entry %llu", place,
                 (unsigned long long)topology_version(node->topology), (unsigned long long)m.index);
    for (size_t i = 0; i < saved.len; i++)
        if (saved.data[i] != (uint8_t)(m.chain >> (i % 8 * 8)))
            net_fail(n, "node %u restores damaged bytes", place);
    net_sums[NET_SUM_RESTORED]++;
    if (node->rl != NULL) net_sums[NET_SUM_INSTALLED]++;
    node->model = m;
    net_note(n, place, "restores up to", index, m.index);
    return RC_OK;
}

struct rl_machine net__machine(struct node *node)
{
    return (struct rl_machine){
        .apply = model_apply, .save = model_save, .restore = model_restore, .ctx = node};
}

/* ---- log matching */

static struct by_term *term_slot(struct net *n, uint64_t index, uint64_t term)
{
    uint64_t h = (index * 0x9e3779b97f4a7c15u ^ term * 0xc2b2ae3d27d4eb4fu) >> 20;
    uint32_t i = (uint32_t)h & (n->term_cap - 1);
    while (n->terms[i].index != 0 && (n->terms[i].index != index || n->terms[i].term != term))
        i = (i + 1) & (n->term_cap - 1);
    return &n->terms[i];
}

static void terms_need(struct net *n)
{
    if (n->term_count * 2 < n->term_cap) return;
    struct by_term *old = n->terms;
    uint32_t cap = n->term_cap;
    n->term_cap = cap == 0 ? 1024 : cap * 2;
    n->terms = mem_zalloc(MEM_TEST, n->term_cap * sizeof *n->terms);
    for (uint32_t i = 0; i < cap; i++)
        if (old[i].index != 0) *term_slot(n, old[i].index, old[i].term) = old[i];
    mem_free(MEM_TEST, old, cap * sizeof *old);
}

static void check_entry(struct net *n, uint32_t place, const struct rl *rl, uint64_t index)
{
    const struct raft_entry *e = rl__entry(rl, index);
    uint64_t h = hash(e->type, bytes_view(e->buf.base, e->buf.len));
    uint64_t prev = index > 1 ? rl__term_of(rl, index - 1) : 0;
    terms_need(n);
    struct by_term *t = term_slot(n, index, e->term);
    if (t->index == 0) {
        *t = (struct by_term){index, e->term, h, prev};
        n->term_count++;
        return;
    }
    if (t->prev_term == 0) t->prev_term = prev;
    if (t->hash != h || (prev != 0 && t->prev_term != 0 && t->prev_term != prev))
        net_fail(n, "node %u: log matching: entry %llu of term %llu is another one", place,
                 (unsigned long long)index, (unsigned long long)e->term);
}

static void check_log(struct net *n, uint32_t place, const struct rl *rl)
{
    struct node *node = &n->node[place];
    if (rl->meta_done != rl->meta_number) return; /* nothing of it has left this node's memory */
    uint64_t last = rl__last_index(rl);
    uint64_t last_term = rl__term_of(rl, last);
    if (last == node->seen_last && last_term == node->seen_last_term) return;
    uint64_t from = rl->raft.log.offset + 1;
    /* What was seen before and is still as it was need not be looked at again. */
    if (last > node->seen_last && node->seen_last >= from &&
        rl__term_of(rl, node->seen_last) == node->seen_last_term)
        from = node->seen_last + 1;
    if (node->seen_members > last || from <= node->seen_members) node->seen_members = 0;
    for (uint64_t i = from; i <= last; i++) {
        check_entry(n, place, rl, i);
        if (rl__entry(rl, i)->type == RAFT_CHANGE) node->seen_members = i;
    }
    for (uint64_t i = from; node->seen_members == 0 && --i > rl->raft.log.offset;)
        if (rl__entry(rl, i)->type == RAFT_CHANGE) node->seen_members = i;
    node->seen_last = last;
    node->seen_last_term = last_term;
}

/* What anyone calls committed stays what it is. */
static void check_committed(struct net *n, uint32_t place, const struct rl *rl)
{
    struct node *node = &n->node[place];
    uint64_t commit = rl->raft.commit_index;
    if (commit >= NET_INDEX_MAX) net_fail(n, "the log of the test is too long");
    for (uint64_t i = node->seen_commit + 1; i <= commit; i++) {
        uint64_t term = rl__term_of(rl, i);
        if (term == 0) continue; /* covered by a snapshot */
        if (n->at[i].term == 0) {
            n->at[i].term = term;
            n->at[i].commit_term = rl->raft.current_term;
        }
        if (n->at[i].term != term)
            net_fail(n, "node %u commits %llu of term %llu, another one committed it of term %llu",
                     place, (unsigned long long)i, (unsigned long long)term,
                     (unsigned long long)n->at[i].term);
    }
    if (commit > node->seen_commit) node->seen_commit = commit;
    if (commit > n->committed) n->committed = commit;
}

/* A member goes by the last configuration in its log, committed or not. */
static void check_members(struct net *n, uint32_t place, const struct rl *rl)
{
    uint64_t index = n->node[place].seen_members;
    const struct raft_entry *e = rl__entry(rl, index);
    struct rl_members in_log, in_use;
    if (e == NULL || index > rl->raft.last_stored || rl__disk_appends(rl)) return;
    if (!members_decode(bytes_view(e->buf.base, e->buf.len), &in_log))
        net_fail(n, "node %u has a configuration that cannot be read", place);
    members_from_raft(&rl->raft.configuration, &in_use);
    bool same = in_log.count == in_use.count;
    for (uint32_t i = 0; same && i < in_log.count; i++)
        same = in_log.at[i].id == in_use.at[i].id && in_log.at[i].role == in_use.at[i].role;
    if (!same)
        net_fail(n, "node %u does not go by the members of entry %llu", place,
                 (unsigned long long)index);
}

/* ---- leaders */

/* Who wins a term by votes that come late, when a later one has its leader and commits already, need not
 * have what that one committed. */
static void check_complete(struct net *n, uint32_t place, const struct rl *rl)
{
    uint64_t last = rl__last_index(rl), lead_term = rl->raft.current_term;
    for (uint64_t i = rl->raft.log.offset + 1; i <= n->committed; i++) {
        const struct at_index *at = &n->at[i];
        if (at->term == 0 || at->commit_term >= lead_term) continue;
        if (i > last)
            net_fail(n, "node %u leads term %llu without %llu, which is committed", place,
                     (unsigned long long)lead_term, (unsigned long long)i);
        if (rl__term_of(rl, i) != at->term)
            net_fail(n, "node %u leads term %llu with another entry at %llu", place,
                     (unsigned long long)lead_term, (unsigned long long)i);
    }
}

static void check_leader(struct net *n, uint32_t place, const struct rl *rl)
{
    struct node *node = &n->node[place];
    uint64_t term = rl->raft.current_term;
    if (node->led_term == term) return;
    node->led_term = term;
    net_note(n, place, "leads term, last", term, rl__last_index(rl));
    for (uint32_t i = 0; i < n->leads; i++)
        if (n->lead[i].term == term && n->lead[i].id != node->id)
            net_fail(n, "two leaders in term %llu: %llu and %llu", (unsigned long long)term,
                     (unsigned long long)n->lead[i].id, (unsigned long long)node->id);
    if (n->leads == NET_RUNS_MAX) net_fail(n, "too many elections");
    n->lead[n->leads].term = term;
    n->lead[n->leads++].id = node->id;
    check_complete(n, place, rl);
}

static void check_health(struct net *n, uint32_t place, const struct rl *rl)
{
    struct node *node = &n->node[place];
    if (!rl->failed) return;
    if (!node->disk_faulted) net_fail(n, "node %u stopped: %s", place, rl->failure);
    if (node->stopped_at_us != 0) return;
    node->stopped_at_us = n->now_us;
    n->faults++;
    net_note(n, place, "stopped by its disk", 0, 0);
    net__after(n, EVENT_START, net__spread(n, 500), place, node->life);
}

void net__check(struct net *n, uint32_t place)
{
    the_net = n;
    const struct rl *rl = n->node[place].rl;
    if (rl == NULL) return;
    if (io_sim_is_off(n->node[place].sim)) { /* the power went in the middle of an operation */
        net__down(n, place, true);
        net__after(n, EVENT_START, net__spread(n, 700), place, n->node[place].life);
        return;
    }
    check_health(n, place, rl);
    if (rl->failed) return;
    check_log(n, place, rl);
    check_members(n, place, rl);
    check_committed(n, place, rl);
    if (rl->raft.commit_index > rl__last_index(rl) && rl->raft.snapshot.put.data == NULL)
        net_fail(n, "node %u has committed what it does not have", place);
    if (rl->raft.state == RAFT_LEADER) check_leader(n, place, rl);
}

void net__checked_start(struct net *n, uint32_t place)
{
    the_net = n;
    struct node *node = &n->node[place];
    node->seen_last = node->seen_last_term = node->seen_members = node->seen_commit = 0;
    node->led_term = 0;
    node->stopped_at_us = 0;
}

/* ---- clients */

static void payload_make(struct net *n, const struct operation *op, uint32_t client,
                         struct buf *out)
{
    struct payload p = {.client = client, .counter = op->counter, .seed = op->payload_seed};
    buf_add(out, &p, sizeof p);
    if (n->world != NULL) {
        buf_add_bytes(out, buf_bytes(&op->entry));
        return;
    }
    uint8_t *at = buf_room(out, op->bytes + 1);
    for (uint32_t i = 0; i < op->bytes; i++)
        at[i] = (uint8_t)(op->payload_seed >> (i % 8 * 8));
    out->len += op->bytes;
}

static void answer_check(struct net *n, const struct proposal *p, const struct rl_result *r)
{
    const struct at_index *at = &n->at[r->index];
    uint64_t counter = n->client[p->client].op[p->slot].counter;
    if (!at->applied || at->client != p->client || at->counter != counter)
        net_fail(n, "client %u was told that %llu is applied at %llu: it is not", p->client,
                 (unsigned long long)counter, (unsigned long long)r->index);
    if (r->code != ((uint32_t)(at->chain >> 40) | 1))
        net_fail(n, "client %u got another result than was applied", p->client);
}

static void answered(struct rl_call *call, const struct rl_result *r)
{
    struct proposal *p = container_of(call, struct proposal, call);
    struct net *n = p->net;
    struct client *c = &n->client[p->client];
    struct operation *op = &c->op[p->slot];
    p->busy = false;
    uint32_t hint = net_place(n, r->leader);
    if (hint != NET_NODES_MAX) c->hint = hint;
    if (r->outcome == RL_REFUSED) net_fail(n, "a proposal inside the window is refused");
    if (r->outcome == RL_STALE && op->counter != 0) net_fail(n, "an open proposal is called stale");
    if (r->outcome == RL_APPLIED) answer_check(n, p, r);
    if (r->outcome == RL_APPLIED && !op->resolved) c->resolved++;
    op->resolved = op->resolved || r->outcome == RL_APPLIED;
    if (op->resolved && !op->try[0].busy && !op->try[1].busy) op->counter = 0;
}

static uint64_t lowest_open(const struct client *c)
{
    uint64_t low = c->next_counter;
    for (uint32_t i = 0; i < NET_WINDOW; i++)
        if (c->op[i].counter != 0 && c->op[i].counter < low) low = c->op[i].counter;
    return low;
}

static void try_at(struct net *n, uint32_t client, uint32_t slot, uint32_t which, uint32_t place)
{
    struct client *c = &n->client[client];
    struct operation *op = &c->op[slot];
    struct proposal *p = &op->try[which];
    struct rl *rl = n->node[place].rl;
    if (rl == NULL || p->busy || n->node[place].paused_until_us > n->now_us) return;
    struct buf payload;
    buf_init(&payload, MEM_TEST);
    payload_make(n, op, client, &payload);
    struct rl_request request = {
        .node = client + 1, .incarnation = 1, .counter = op->counter, .done_below = lowest_open(c)};
    p->net = n;
    p->client = client;
    p->slot = slot;
    p->call.done = answered;
    p->busy = true;
    enum rc rc = rl_propose(rl, &p->call, &request, buf_bytes(&payload));
    buf_free(&payload);
    if (rc != RC_OK) p->busy = false;
    /* Whatever it queued goes on by itself: a tick at the latest. */
}

static uint32_t open_slot(struct net *n, uint32_t client)
{
    struct client *c = &n->client[client];
    for (uint32_t i = 0; i < NET_WINDOW; i++) {
        struct operation *op = &c->op[i];
        if (op->counter != 0 || op->try[0].busy || op->try[1].busy) continue;
        if (c->next_counter >= lowest_open(c) + RAFT_SESSION_WINDOW) return NET_WINDOW;
        op->counter = c->next_counter++;
        op->payload_seed = rng_next(&n->rng);
        op->resolved = false;
        op->bytes = (uint32_t)rng_below(&n->rng, n->opts.payload_bytes_max + 1);
        op->entry.len = 0;
        if (n->world != NULL) world_draw(n->world, client, c->hint, &op->entry);
        return i;
    }
    return NET_WINDOW;
}

static uint32_t some_place(struct net *n, const struct client *c)
{
    if (rng_below(&n->rng, 4) != 0) return c->hint;
    return (uint32_t)rng_below(&n->rng, n->nodes);
}

void net__client(struct net *n, uint32_t client)
{
    struct client *c = &n->client[client];
    uint32_t burst = rng_below(&n->rng, 8) == 0 ? NET_WINDOW : 1;
    for (uint32_t i = 0; i < burst && !n->quiet; i++)
        (void)open_slot(n, client);
    for (uint32_t i = 0; i < NET_WINDOW; i++) {
        if (c->op[i].counter == 0 || c->op[i].resolved) continue;
        try_at(n, client, i, 0, some_place(n, c));
        if (rng_below(&n->rng, 16) == 0) try_at(n, client, i, 1, some_place(n, c));
    }
    net__after(n, EVENT_CLIENT, net__spread(n, n->opts.propose_ms), client, 0);
}

bool net__clients_idle(const struct net *n)
{
    for (uint32_t c = 0; c < NET_CLIENTS; c++)
        for (uint32_t i = 0; i < NET_WINDOW; i++)
            if (n->client[c].op[i].counter != 0) return false;
    return true;
}

/* At the end: what was answered as applied is in the state that all share. */
void net__check_clients(struct net *n)
{
    uint32_t leader = net_leader(n);
    assert(leader != NET_NODES_MAX);
    if (n->node[leader].model.index != n->applied)
        net_fail(n, "the leader ends at %llu, applied is %llu",
                 (unsigned long long)n->node[leader].model.index, (unsigned long long)n->applied);
}
