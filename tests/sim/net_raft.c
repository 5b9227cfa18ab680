/* tests/sim/net_raft.c: see net_raft.h. Time is in µs of the world; a node's own milliseconds run a
 * little faster or slower. Whatever is due first happens next: a message, a timer, a completion of a
 * disk, a fault. Nothing here asks the real clock or the real random. */
#include "tests/sim/net_raft.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "tests/sim/net_priv.h"
#include "version.h"

#ifndef MOON_COMMIT
#define MOON_COMMIT "unknown"
#endif
#define TICK_MS 25u
#define STEPS_MAX 3000000u
#define DIR "/raft"

uint64_t net_sums[NET_SUMS];

/* ---- failing */

void net_note(struct net *n, uint32_t node, const char *what, uint64_t a, uint64_t b)
{
    n->note[n->notes++ % NET_EVENTS_KEPT] = (struct note){n->now_us, node, what, a, b};
}

static void print_notes(const struct net *n)
{
    uint64_t from = n->notes > NET_EVENTS_KEPT ? n->notes - NET_EVENTS_KEPT : 0;
    for (uint64_t i = from; i < n->notes; i++) {
        const struct note *e = &n->note[i % NET_EVENTS_KEPT];
        printf("  %10.3f ms  node %u  %s %llu %llu\n", (double)e->at_us / 1000, e->node, e->what,
               (unsigned long long)e->a, (unsigned long long)e->b);
    }
}

static void print_nodes(const struct net *n)
{
    for (uint32_t i = 0; i < n->nodes; i++) {
        const struct node *node = &n->node[i];
        struct rl_status s = {0};
        if (node->rl != NULL) rl_status(node->rl, &s);
        printf(
            "  node %u id %llu %s%s state %d term %llu last %llu stored %llu commit %llu applied "
            "%llu snapshot %llu members %llu%s leader %llu %s\n",
            i, (unsigned long long)node->id, node->rl != NULL ? "up" : "down",
            node->lost ? " lost" : "", (int)s.state, (unsigned long long)s.term,
            (unsigned long long)s.last_index, (unsigned long long)s.stored_index,
            (unsigned long long)s.commit_index, (unsigned long long)s.applied_index,
            (unsigned long long)s.snapshot_index, (unsigned long long)s.members_index,
            s.members_pending ? " pending" : "", (unsigned long long)s.leader,
            s.failure != NULL ? s.failure : "");
        for (uint32_t m = 0; m < s.members.count; m++)
            printf("      member %llu role %d\n", (unsigned long long)s.members.at[m].id,
                   (int)s.members.at[m].role);
    }
}

_Noreturn void net_fail(struct net *n, const char *fmt, ...)
{
    va_list args;
    print_notes(n);
    print_nodes(n);
    printf("FAILED seed %llu commit %s at %.3f ms, step %llu: ", (unsigned long long)n->seed,
           MOON_COMMIT, (double)n->now_us / 1000, (unsigned long long)n->steps);
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    printf("\n");
    (void)fflush(stdout);
    _exit(1);
}

/* ---- events: a heap by time, then by number */

static bool sooner(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static void *grow(void *p, uint32_t *cap, uint32_t count, size_t each)
{
    if (count < *cap) return p;
    uint32_t next = *cap * 2 + 64;
    p = mem_resize(MEM_TEST, p, *cap * each, next * each);
    *cap = next;
    return p;
}

static void heap_add(struct net *n, struct event *e)
{
    n->heap = grow(n->heap, &n->heap_cap, n->heap_count, sizeof *n->heap);
    uint32_t i = n->heap_count++;
    while (i > 0 && sooner(e, n->heap[(i - 1) / 2])) {
        n->heap[i] = n->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    n->heap[i] = e;
}

static struct event *heap_pop(struct net *n)
{
    struct event *top = n->heap[0], *last = n->heap[--n->heap_count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= n->heap_count) break;
        if (child + 1 < n->heap_count && sooner(n->heap[child + 1], n->heap[child])) child++;
        if (!sooner(n->heap[child], last)) break;
        n->heap[i] = n->heap[child];
        i = child;
    }
    if (n->heap_count > 0) n->heap[i] = last;
    return top;
}

void net__push(struct net *n, struct event e)
{
    struct event *copy = mem_alloc(MEM_TEST, sizeof *copy);
    *copy = e;
    copy->number = ++n->numbers;
    heap_add(n, copy);
}

void net__after(struct net *n, enum event_kind kind, uint64_t us, uint32_t a, uint32_t b)
{
    net__push(n, (struct event){.kind = kind, .at_us = n->now_us + us, .a = a, .b = b});
}

static void event_free(struct event *e)
{
    mem_free(MEM_TEST, e->data, e->bytes);
    mem_free(MEM_TEST, e, sizeof *e);
}

uint64_t net__spread(struct net *n, uint32_t mean_ms)
{
    /* Sum of two dice: mostly around the mean, sometimes at once, seldom much later. */
    uint64_t mean = (uint64_t)mean_ms * 1000;
    return rng_below(&n->rng, mean + 1) + rng_below(&n->rng, mean + 1);
}

/* ---- nodes */

uint64_t net_now_ms(const struct net *n, uint32_t place)
{
    const struct node *node = &n->node[place];
    return node->offset_ms + n->now_us / 1000 * (uint64_t)(1000000 + node->rate_ppm) / 1000000;
}

uint32_t net_place(const struct net *n, uint64_t id)
{
    for (uint32_t i = 0; i < n->nodes; i++)
        if (n->node[i].exists && n->node[i].id == id) return i;
    return NET_NODES_MAX;
}

static uint64_t delay_us(struct net *n)
{
    uint64_t us =
        n->opts.delay_us_min + rng_below(&n->rng, n->opts.delay_us_max - n->opts.delay_us_min + 1);
    if (rng_below(&n->rng, 1000) < n->opts.tail_permille) us *= 1 + rng_below(&n->rng, 60);
    return us;
}

static struct event *message_event(struct net *n, const struct net_message *m, uint64_t us)
{
    struct event *e = mem_alloc(MEM_TEST, sizeof *e);
    *e = (struct event){.kind = EVENT_MESSAGE,
                        .at_us = n->now_us + us,
                        .number = ++n->numbers,
                        .from = m->from,
                        .to = m->to,
                        .bytes = (uint32_t)m->bytes.len,
                        .data = mem_alloc(MEM_TEST, m->bytes.len)};
    memcpy(e->data, m->bytes.data, m->bytes.len);
    return e;
}

static void node_send(void *ctx, uint64_t to, const char *address, struct bytes bytes)
{
    struct node *node = ctx;
    struct net *n = net__of(node);
    (void)address;
    struct net_message m = {.from = node->id, .to = to, .bytes = bytes};
    if (bytes.len > RAFT_MESSAGE_BYTES_MAX) net_fail(n, "a message of %zu bytes", bytes.len);
    enum net_verdict verdict = n->filter != NULL ? n->filter(n->filter_ctx, &m) : NET_PASS;
    if (verdict == NET_DROP) return;
    if (verdict != NET_PASS) {
        n->kept = grow(n->kept, &n->kept_cap, n->kept_count, sizeof *n->kept);
        n->kept[n->kept_count++] = message_event(n, &m, 0);
    }
    if (verdict == NET_KEEP) return;
    bool faulty = !n->calm;
    if (faulty && rng_below(&n->rng, 1000) < n->opts.loss_permille) return;
    heap_add(n, message_event(n, &m, delay_us(n)));
    if (faulty && rng_below(&n->rng, 1000) < n->opts.repeat_permille)
        heap_add(n, message_event(n, &m, delay_us(n) * 3));
}

static struct rl_opts node_opts(struct net *n, uint32_t place)
{
    struct node *node = &n->node[place];
    struct rl_opts o = {
        .io = node->io,
        .dir = DIR,
        .cluster_id = "simulated",
        .id = node->id,
        .now_ms = net_now_ms(n, place),
        .seed = rng_next(&n->rng),
        .machine = net__machine(node),
        .link = {.send = node_send, .ctx = node},
        .heartbeat_ms = n->opts.heartbeat_ms,
        .election_ms = n->opts.election_ms,
        .snapshot_entries = n->opts.snapshot_entries,
        .snapshot_bytes = n->opts.snapshot_bytes,
        .trailing_entries = n->opts.trailing_entries,
        .segment_bytes = n->opts.segment_bytes,
    };
    memcpy(o.node_id, &node->id, sizeof node->id);
    return o;
}

static void machine_now(struct net *n, uint32_t place)
{
    struct node *node = &n->node[place];
    uint64_t at_us = clock_mono_ns(io_sim_clock(node->sim)) / 1000 - 1000000;
    if (n->now_us > at_us) io_sim_advance(node->sim, n->now_us - at_us);
}

static void first_members(const struct net *n, struct rl_members *m)
{
    *m = (struct rl_members){.count = n->opts.voters};
    for (uint32_t i = 0; i < n->opts.voters; i++) {
        m->at[i].id = n->node[i].id;
        m->at[i].role = RL_VOTER;
        (void)snprintf(m->at[i].address, sizeof m->at[i].address, "n%llu",
                       (unsigned long long)n->node[i].id);
    }
}

/* A damaged file must be refused, not believed; that is no failure while the others suffice. */
static void refused(struct net *n, uint32_t place, enum rc rc, const char *why)
{
    struct node *node = &n->node[place];
    net_note(n, place, "refuses to start, rc", rc, 0);
    if (io_sim_is_off(node->sim) || node->disk_faulted) {
        io_sim_crash(node->sim);
        node->disk_faulted = false;
        net__after(n, EVENT_START, 1000, place, node->life);
        return;
    }
    if (!node->lost) net_fail(n, "node %u does not start: %s", place, why);
}

void net__open(struct net *n, uint32_t place, bool bootstrap)
{
    struct node *node = &n->node[place];
    char why[1024] = "";
    assert(node->rl == NULL);
    machine_now(n, place);
    node->life++;
    node->model = (struct model){0};
    if (n->world != NULL) world_begin(n->world, node);
    struct rl_opts opts = node_opts(n, place);
    enum rc rc = RC_OK;
    if (bootstrap) {
        struct rl_members members;
        first_members(n, &members);
        rc = rl_bootstrap(&opts, &members, why, sizeof why);
        if (rc != RC_OK) net_fail(n, "bootstrap: %s", why);
    }
    net__checked_start(n, place);
    rc = rl_open(&opts, &node->rl, why, sizeof why);
    if (rc != RC_OK) {
        node->rl = NULL;
        if (n->world != NULL) world_end(n->world, node);
        refused(n, place, rc, why);
        return;
    }
    node->lost = false; /* it mended itself */
    net_note(n, place, "started", node->life, 0);
    net__after(n, EVENT_TICK, rng_below(&n->rng, TICK_MS * 1000), place, node->life);
    net__check(n, place);
}

void net__down(struct net *n, uint32_t place, bool power)
{
    struct node *node = &n->node[place];
    if (node->rl == NULL) return;
    machine_now(n, place);
    struct rl *rl = node->rl;
    /* It may have gone in the middle of an operation, and nobody has looked since. While it stops it must not go:
     * no disk would answer any more, and a power loss is another event. */
    power = power || io_sim_is_off(node->sim);
    if (!power) io_sim_crash_at(node->sim, 0);
    if (power) {
        io_sim_crash(node->sim);
        rl_abandon(rl);
    } else {
        rl_close(rl);
    }
    node->rl = NULL;
    if (n->world != NULL) world_end(n->world, node);
    node->admin_busy = false;
    node->paused_until_us = 0;
    net_note(n, place, power ? "power lost" : "stopped", 0, 0);
}

static void node_make(struct net *n, uint32_t place)
{
    struct node *node = &n->node[place];
    struct io_sim_opts io = {.disk_bytes = n->opts.disk_bytes,
                             .delay_us_min = n->opts.disk_us_min,
                             .delay_us_max = n->opts.disk_us_max,
                             .short_io = n->seed % 2 == 0};
    *node = (struct node){.id = ++n->next_id, .exists = true, .life = node->life};
    node->sim = io_sim_new(rng_next(&n->rng), &io);
    node->io = io_sim_open(node->sim);
    int64_t rate = (int64_t)n->opts.rate_ppm;
    node->rate_ppm = (int64_t)rng_below(&n->rng, (uint64_t)(2 * rate + 1)) - rate;
    node->offset_ms = rng_below(&n->rng, 1000000);
    int err = node->io->ops->file_mkdir(node->io, DIR);
    assert(err == 0);
    int fd = node->io->ops->file_open(node->io, "", 0, 0); /* the root: DIR's name is durable */
    if (fd >= 0) {
        err = node->io->ops->file_sync(node->io, fd);
        assert(err == 0);
        (void)node->io->ops->file_close(node->io, fd);
    }
}

static void node_free(struct node *node)
{
    io_free(node->io);
    io_sim_free(node->sim);
    node->exists = false;
}

/* A removed member's place is taken by a new node with an empty disk. */
void net__renew(struct net *n, uint32_t place)
{
    net__down(n, place, false);
    node_free(&n->node[place]);
    node_make(n, place);
    net_note(n, place, "is a new node", n->node[place].id, 0);
    net__open(n, place, false);
}

struct net *net_new(uint64_t seed, const struct net_opts *opts)
{
    struct net *n = mem_zalloc(MEM_TEST, sizeof *n);
    n->seed = seed;
    n->opts = *opts;
    rng_seed(&n->rng, seed);
    n->nodes = opts->voters + opts->spares;
    assert(n->nodes <= NET_NODES_MAX);
    n->at = mem_zalloc(MEM_TEST, NET_INDEX_MAX * sizeof *n->at);
    for (uint32_t i = 0; i < NET_CLIENTS; i++) {
        n->counters[i] = mem_zalloc(MEM_TEST, NET_INDEX_MAX / 8);
        n->client[i].next_counter = 1;
        for (uint32_t k = 0; k < NET_WINDOW; k++)
            buf_init(&n->client[i].op[k].entry, MEM_TEST);
    }
    if (opts->topology) n->world = world_new(n);
    for (uint32_t i = 0; i < n->nodes; i++)
        node_make(n, i);
    for (uint32_t i = 0; i < n->nodes; i++)
        net__open(n, i, i < opts->voters);
    return n;
}

void net_free(struct net *n)
{
    for (uint32_t i = 0; i < n->nodes; i++) {
        net__down(n, i, false);
        node_free(&n->node[i]);
    }
    while (n->heap_count > 0)
        event_free(heap_pop(n));
    for (uint32_t i = 0; i < n->kept_count; i++)
        event_free(n->kept[i]);
    mem_free(MEM_TEST, n->kept, n->kept_cap * sizeof *n->kept);
    mem_free(MEM_TEST, n->heap, n->heap_cap * sizeof *n->heap);
    mem_free(MEM_TEST, n->at, NET_INDEX_MAX * sizeof *n->at);
    for (uint32_t i = 0; i < NET_CLIENTS; i++) {
        mem_free(MEM_TEST, n->counters[i], NET_INDEX_MAX / 8);
        for (uint32_t k = 0; k < NET_WINDOW; k++)
            buf_free(&n->client[i].op[k].entry);
    }
    if (n->world != NULL) world_free(n->world);
    mem_free(MEM_TEST, n->terms, n->term_cap * sizeof *n->terms);
    mem_free(MEM_TEST, n, sizeof *n);
}

/* ---- one step */

static void on_message(struct net *n, struct event *e)
{
    uint32_t to = net_place(n, e->to), from = net_place(n, e->from);
    if (to == NET_NODES_MAX || n->node[to].rl == NULL) return;
    if (from != NET_NODES_MAX && n->cut[from][to]) return;
    rl_receive(n->node[to].rl, net_now_ms(n, to), bytes_view(e->data, e->bytes));
    net__check(n, to);
}

static void on_tick(struct net *n, const struct event *e)
{
    struct node *node = &n->node[e->a];
    if (node->rl == NULL || node->life != e->b) return;
    uint64_t us = TICK_MS * 1000 + rng_below(&n->rng, 2000);
    net__after(n, EVENT_TICK, us, e->a, e->b);
    if (node->frozen) return;
    rl_tick(node->rl, net_now_ms(n, e->a));
    net__check(n, e->a);
}

/* Paused nodes get theirs when they wake. */
static bool put_off(struct net *n, struct event *e)
{
    uint32_t place = NET_NODES_MAX;
    if (e->kind == EVENT_TICK) place = e->a;
    if (e->kind == EVENT_MESSAGE) place = net_place(n, e->to);
    if (place == NET_NODES_MAX || n->node[place].paused_until_us <= n->now_us) return false;
    e->at_us = n->node[place].paused_until_us;
    e->number = ++n->numbers;
    heap_add(n, e);
    return true;
}

static void dispatch(struct net *n, struct event *e)
{
    if (put_off(n, e)) return;
    switch (e->kind) {
    case EVENT_MESSAGE:
        on_message(n, e);
        break;
    case EVENT_TICK:
        on_tick(n, e);
        break;
    case EVENT_CLIENT:
        net__client(n, e->a);
        break;
    case EVENT_CRASH:
    case EVENT_START:
    case EVENT_PAUSE:
    case EVENT_CUT:
    case EVENT_HEAL_CUT:
    case EVENT_DISK:
    case EVENT_CHURN:
    case EVENT_TRANSFER:
        net__fault(n, e);
        break;
    }
    event_free(e);
}

/* The disk whose completion is due first. */
static uint64_t next_disk_us(const struct net *n, uint32_t *place_out)
{
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < n->nodes; i++) {
        if (n->node[i].rl == NULL) continue;
        uint64_t ns = io_sim_next_ns(n->node[i].sim);
        if (ns == UINT64_MAX) continue;
        uint64_t at = ns / 1000 - 1000000 + 1;
        if (n->node[i].paused_until_us > at) at = n->node[i].paused_until_us;
        if (at < best) {
            best = at;
            *place_out = i;
        }
    }
    return best;
}

static void step(struct net *n, uint64_t until_us)
{
    uint32_t place = 0;
    uint64_t disk_us = next_disk_us(n, &place);
    uint64_t event_us = n->heap_count > 0 ? n->heap[0]->at_us : UINT64_MAX;
    uint64_t next = disk_us < event_us ? disk_us : event_us;
    if (next > until_us) {
        n->now_us = until_us;
        return;
    }
    if (next > n->now_us) n->now_us = next;
    if (++n->steps > STEPS_MAX) net_fail(n, "too many steps");
    if (disk_us <= event_us) {
        machine_now(n, place);
        (void)io_turn(n->node[place].io, 0);
        net__check(n, place);
        return;
    }
    dispatch(n, heap_pop(n));
}

void net_run_ms(struct net *n, uint64_t ms)
{
    uint64_t until = n->now_us + ms * 1000;
    while (n->now_us < until)
        step(n, until);
}

bool net_run_until(struct net *n, bool (*met)(struct net *n, void *ctx), void *ctx, uint64_t ms)
{
    uint64_t until = n->now_us + ms * 1000, look = 0;
    while (n->now_us < until) {
        step(n, until);
        if (n->now_us < look) continue;
        look = n->now_us + 1000;
        if (met(n, ctx)) return true;
    }
    return met(n, ctx);
}

/* ---- for directed tests */

struct rl *net_rl(struct net *n, uint32_t place)
{
    return n->node[place].rl;
}
uint64_t net_id(const struct net *n, uint32_t place)
{
    return n->node[place].id;
}
struct io_sim *net_disk(struct net *n, uint32_t place)
{
    machine_now(n, place);
    return n->node[place].sim;
}
void net_crash(struct net *n, uint32_t place)
{
    net__down(n, place, true);
}
void net_start(struct net *n, uint32_t place)
{
    if (n->node[place].rl == NULL) net__open(n, place, false);
}
void net_stop(struct net *n, uint32_t place)
{
    net__down(n, place, false);
}
void net_pause(struct net *n, uint32_t place, uint64_t ms)
{
    n->node[place].paused_until_us = n->now_us + ms * 1000;
    net_note(n, place, "paused for ms", ms, 0);
}
void net_cut(struct net *n, uint32_t from, uint32_t to, bool cut)
{
    n->cut[from][to] = cut;
}
void net_isolate(struct net *n, uint32_t place, bool isolated)
{
    for (uint32_t i = 0; i < n->nodes; i++)
        n->cut[i][place] = n->cut[place][i] = isolated;
}
void net_no_ticks(struct net *n, uint32_t place, bool frozen)
{
    n->node[place].frozen = frozen;
}
void net_filter(struct net *n, enum net_verdict (*filter)(void *ctx, const struct net_message *m),
                void *ctx)
{
    n->filter = filter;
    n->filter_ctx = ctx;
}
void net_disk_will_fail(struct net *n, uint32_t place, int err)
{
    io_sim_fault(n->node[place].sim, IO_SIM_WRITE, 1, err, true);
    n->node[place].disk_faulted = true;
}
void net_release(struct net *n)
{
    for (uint32_t i = 0; i < n->kept_count; i++) {
        n->kept[i]->at_us = n->now_us;
        n->kept[i]->number = ++n->numbers;
        heap_add(n, n->kept[i]);
    }
    n->kept_count = 0;
}
uint32_t net_leader(struct net *n)
{
    uint32_t best = NET_NODES_MAX;
    uint64_t term = 0;
    for (uint32_t i = 0; i < n->nodes; i++) {
        const struct rl *rl = n->node[i].rl;
        if (rl == NULL || rl->failed || rl->raft.state != RAFT_LEADER || rl->lead_from == 0 ||
            rl->raft.last_applied < rl->lead_from || rl->raft.current_term < term)
            continue;
        best = i;
        term = rl->raft.current_term;
    }
    return best;
}
bool net_converged(struct net *n, void *ctx)
{
    (void)ctx;
    uint32_t leader = net_leader(n);
    if (leader == NET_NODES_MAX) return false;
    const struct raft *r = &n->node[leader].rl->raft;
    if (r->last_applied != rl__last_index(n->node[leader].rl)) return false;
    for (uint32_t i = 0; i < r->configuration.n; i++) {
        if (r->configuration.servers[i].role == RAFT_SPARE) continue;
        uint32_t place = net_place(n, r->configuration.servers[i].id);
        if (place == NET_NODES_MAX || n->node[place].lost) continue;
        const struct rl *rl = n->node[place].rl;
        if (rl == NULL || rl->failed || rl->raft.last_applied != r->last_applied) return false;
        if (n->node[place].model.chain != n->node[leader].model.chain) return false;
    }
    return true;
}
uint64_t net_applied(const struct net *n)
{
    return n->applied;
}
uint32_t net_resolved(const struct net *n)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < NET_CLIENTS; i++)
        all += n->client[i].resolved;
    return (uint32_t)all;
}

/* ---- campaigns */

static bool went_on(struct net *n, void *ctx)
{
    return net_resolved(n) >= *(const uint64_t *)ctx && net_leader(n) != NET_NODES_MAX;
}

static bool settled(struct net *n, void *ctx)
{
    return net__clients_idle(n) && net_converged(n, ctx);
}

uint64_t net_campaign(struct net *n)
{
    net__plan_faults(n);
    for (uint32_t c = 0; c < NET_CLIENTS; c++)
        net__after(n, EVENT_CLIENT, net__spread(n, 200), c, 0);
    net_run_ms(n, n->opts.safety_ms);
    net__heal(n);
    uint64_t healed_us = n->now_us;
    net_run_ms(n, 100);
    uint64_t goal = net_resolved(n) + 20;
    if (!net_run_until(n, went_on, &goal, n->opts.live_ms))
        net_fail(n, "no progress %u ms after all faults were over: %u of %llu proposals",
                 n->opts.live_ms, net_resolved(n), (unsigned long long)goal);
    n->quiet = true;
    if (!net_run_until(n, settled, NULL, n->opts.live_ms))
        net_fail(n, "not all members are where the leader is after %u ms", n->opts.live_ms);
    net__check_clients(n);
    if (n->world != NULL) world_check_all(n->world);
    net_sums[NET_SUM_HEAL_MS] += (n->now_us - healed_us) / 1000;
    net_sums[NET_SUM_LEADERS] += n->leads;
    net_sums[NET_SUM_RESOLVED] += net_resolved(n);
    net_sums[NET_SUM_FAULTS] += n->faults;
    return n->steps;
}
