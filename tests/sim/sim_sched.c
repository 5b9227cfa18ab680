/* tests/sim/sim_sched.c: transactions over several shards (shard/exec/sched, tx), one seed each: shards on one
 * thread, messages that are late (in order between a pair, as mailboxes keep them) and posts in any order,
 * shards that stall, clients that pipeline, take no answers and leave. In a fourth of the seeds all want the same two keys.
 *
 * A write may make a key that somebody waits for: his element is moved to a key of another shard, later but before
 * anybody else comes to the first key, while all shards stand (a step of this program). He may give up before.
 *
 * Some that only read collect what they read (node/collect.c): no intents, in the end a look at the stamps, and a
 * transaction if that says no. What they read counts where it was read, not where it was found to be still so.
 *
 * Every run of an operation on a key is written down in its true order. The verdict: a graph of the operations
 * with an edge for each pair that conflicts on a key, for what was answered before another was asked for, and
 * for what one client may count on, has no circle. That is strict serializability, since the order of all
 * writes of a key is known.
 *
 *     sim_sched                      the seeds of `make sim`, and the mistakes that must be found
 *     sim_sched --seed N             one seed
 *     sim_sched --from N --count M   a campaign
 *     sim_sched --plant WORD …       with a mistake (base/planted.h) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/base/planted.h"
#include "shard/base/rng.h"
#include "shard/exec/tx.h"

#define SEEDS 10000u
#define SHARDS 5u
#define KEYS 12u
#define CLIENTS 6u
#define OPS 72u
#define STEPS_MAX 200000u
#define EVENTS 4096u
#define AWAY_MAX 5u /* of one transaction */
#define MOVES 24u   /* served waiters: their ids come behind those of operations */
#define IDS (OPS + MOVES)

enum shape { LONE, PARTS, CHECKED, ALL, BARRIER };
struct sim_part {
    struct tx_part part; /* first */
    struct op *op;
    uint64_t fingerprints[KEYS];
    uint32_t keys[KEYS]; /* of this shard, or all of its keys */
    uint32_t count;
};
struct op {
    uint32_t id, client, shards;
    enum shape shape;
    bool writes, open, ended, ran, dropped;
    bool collects, reads, refused; /* may be collected; is so now; by a shard */
    bool touches[KEYS];
    uint32_t left;              /* while it reads: shards that have not answered */
    uint64_t since[SHARDS];     /* stamps_begin() */
    uint32_t read_at[KEYS];     /* its event there */
    uint32_t began, finished;   /* steps */
    uint32_t rounds_lost, away; /* of the former: turned away */
    struct sched_entry entry;   /* LONE, while it waits */
    struct tx tx;
    struct tx_part *parts[SHARDS];
    struct sim_part part[SHARDS]; /* by shard; LONE: that of its shard */
    uint32_t lone_shard;
};
enum kind { MSG_SCHED, MSG_LONE, MSG_READ, MSG_ANSWER, MSG_LONE_ANSWER, MSG_READ_ANSWER };
struct message {
    enum kind kind;
    struct op *op;
    struct sim_part *part;
};
struct channel {
    struct message m[OPS * 40];
    uint32_t head, tail;
};
struct event {
    uint32_t op;
    bool write, vain; /* vain: read, but it came again */
};
struct move {                          /* BLMOVE of one who waited */
    struct sched_entry source, target; /* intents; the target's when it is not free */
    uint32_t id, from, to;             /* keys */
    uint32_t began, finished, seen;    /* seen: events of `from` when it was made */
    bool open, source_due, has_target, target_due, ran;
};
struct client {
    uint32_t home, window, issued, todo;
    bool gone;
    const struct op *redo; /* one of its reads that came again */
    struct op *ops[OPS];
};
struct sim {
    struct rng rng;
    uint32_t shards, keys, clients, steps, ops_count, stalled, stalled_until;
    uint64_t tickets;
    struct sched sched[SHARDS];
    struct tx_shard shard[SHARDS];
    struct stamps stamps[SHARDS];
    struct channel channel[SHARDS][SHARDS];
    struct inbox_link *posts[SHARDS];
    struct op *retries[OPS];
    uint32_t retries_count;
    struct client client[CLIENTS];
    struct op op[OPS];
    struct event event[KEYS][EVENTS];
    uint32_t events[KEYS];
    uint32_t rest_steps, read_share, collect_share, all_share, move_share, away_share, moves_count;
    uint32_t moved, lost;
    struct move move[MOVES];
    bool bad;
    bool edge[IDS][IDS];
};
static struct sim sim;
static bool loud;
static uint64_t collected, redone; /* of all seeds */

static uint32_t draw(uint32_t bound)
{
    return (uint32_t)rng_below(&sim.rng, bound);
}

static void fail(const char *why)
{
    if (loud && !sim.bad) printf("step %u: %s\n", sim.steps, why);
    sim.bad = true;
}

/* ---- what happens on keys */

static uint32_t shard_of(uint32_t key)
{
    return key % sim.shards;
}

static uint64_t fingerprint(uint32_t key)
{
    return (uint64_t)key << 20;
}

static uint64_t order_of(uint32_t client)
{
    return (UINT64_C(1) << 40) + ((uint64_t)client << 20);
}

static void touch(uint32_t id, uint32_t key, bool write)
{
    if (write) stamps_note(&sim.stamps[shard_of(key)], fingerprint(key));
    assert(sim.events[key] < EVENTS);
    sim.event[key][sim.events[key]++] = (struct event){.op = id, .write = write};
}

static bool is_waited_for(uint32_t key)
{
    for (uint32_t i = 0; i < sim.moves_count; i++)
        if (sim.move[i].open && sim.move[i].from == key) return true;
    return false;
}

/* The key that was just written is for one who waited. */
static void begin_move(uint32_t key)
{
    uint32_t to = draw(sim.keys);
    if (sim.moves_count == MOVES || shard_of(to) == shard_of(key) || is_waited_for(key)) return;
    struct move *m = &sim.move[sim.moves_count];
    *m = (struct move){.id = OPS + sim.moves_count++, .from = key, .to = to, .open = true};
    m->began = sim.steps;
    m->seen = sim.events[key];
    enum sched_verdict v = tx_serve(&sim.shard[shard_of(key)], &m->source, fingerprint(key));
    m->source_due = v == SCHED_GRANTED;
}

static void touch_part(struct sim_part *p, bool write)
{
    for (uint32_t i = 0; i < p->count; i++) {
        touch(p->op->id, p->keys[i], write);
        if (write && draw(100) < sim.move_share) begin_move(p->keys[i]);
    }
    p->op->ran = true;
}

static void end_move(struct move *m)
{
    m->open = false;
    m->finished = sim.steps;
    tx_served(&sim.shard[shard_of(m->from)], &m->source);
    if (m->has_target) tx_served(&sim.shard[shard_of(m->to)], &m->target);
}

/* All shards stand: it runs if both keys are its own, and if nothing has come between. */
static void try_move(struct move *m)
{
    uint64_t to = fingerprint(m->to);
    if (draw(12) == 0) {
        end_move(m);
        return;
    }
    if (!m->has_target && sched_must_wait(&sim.sched[shard_of(m->to)], SCHED_SERVE, &to, 1, 0)) {
        m->has_target = true;
        m->target_due = tx_serve(&sim.shard[shard_of(m->to)], &m->target, to) == SCHED_GRANTED;
        if (!m->target_due) return;
    }
    for (uint32_t i = m->seen; i < sim.events[m->from]; i++)
        if (sim.event[m->from][i].op < OPS) fail("somebody came between a push and who waited");
    touch(m->id, m->from, true);
    touch(m->id, m->to, true);
    m->ran = true;
    sim.moved++;
    end_move(m);
}

static bool may_try(const struct move *m)
{
    return m->open && m->source_due && (!m->has_target || m->target_due);
}

/* ---- the shards' side */

static uint32_t index_of(void *ctx)
{
    return (uint32_t)((struct tx_shard *)ctx - sim.shard);
}

static int64_t on_now(void *ctx)
{
    (void)ctx;
    return sim.steps;
}

static enum rc on_admit(void *ctx, struct tx_part *p)
{
    (void)ctx;
    (void)p;
    return RC_OK;
}

static bool on_check(void *ctx, struct tx_part *part)
{
    (void)ctx;
    struct sim_part *p = (struct sim_part *)(void *)part;
    bool may = true;
    for (uint32_t i = 0; i < p->count; i++) {
        uint32_t n = sim.events[p->keys[i]];
        may &= n == 0 || sim.event[p->keys[i]][n - 1].op % 3 != 0;
    }
    touch_part(p, false);
    return may;
}

static void on_run(void *ctx, struct tx_part *part)
{
    (void)ctx;
    struct sim_part *p = (struct sim_part *)(void *)part;
    if (p->op->shape != BARRIER) {
        touch_part(p, p->op->writes);
        return;
    }
    for (uint32_t s = 0; s < sim.shards; s++) /* in place, on all of them */
        touch_part(&p->op->part[s], true);
}

static void on_post(void *ctx, struct tx_part *p)
{
    (void)ctx;
    p->post_link.next = sim.posts[p->shard];
    sim.posts[p->shard] = &p->post_link;
}

static void send(uint32_t from, uint32_t to, enum kind kind, struct op *o, struct sim_part *p)
{
    struct channel *c = &sim.channel[from][to];
    assert(c->tail < COUNT_OF(c->m));
    c->m[c->tail++] = (struct message){.kind = kind, .op = o, .part = p};
}

/* Of c a transaction is under way. */
static bool has_open(const struct client *c)
{
    for (uint32_t i = 0; i < c->issued; i++) {
        const struct op *o = c->ops[i];
        if (!o->ended && o->shape != LONE && !o->reads) return true;
    }
    return false;
}

static void end(struct op *o)
{
    struct client *c = &sim.client[o->client];
    assert(!o->ended);
    o->ended = true;
    o->finished = sim.steps;
    if (c->redo == o) c->redo = NULL;
}

static void part_came_back(struct op *o)
{
    switch (tx_answered(&o->tx)) {
    case TX_OPEN:
        return;
    case TX_FAILED:
        fail("failed without a reason");
        return;
    case TX_RAN:
        end(o);
        return;
    case TX_AGAIN:
        o->rounds_lost++;
        sim.lost++;
        sim.retries[sim.retries_count++] = o;
        return;
    }
}

static void on_answer(void *ctx, struct tx_part *part)
{
    struct sim_part *p = (struct sim_part *)(void *)part;
    uint32_t me = index_of(ctx), home = sim.client[p->op->client].home;
    if (me == home)
        part_came_back(p->op);
    else
        send(me, home, MSG_ANSWER, p->op, p);
}

static void run_lone(uint32_t me, struct op *o)
{
    uint32_t home = sim.client[o->client].home;
    if (me == home && sim.client[o->client].gone) {
        o->dropped = true;
        end(o);
        return;
    }
    touch_part(&o->part[me], o->writes);
    if (me == home)
        end(o);
    else
        send(me, home, MSG_LONE_ANSWER, o, NULL);
}

static void on_lone(void *ctx, struct sched_entry *e)
{
    uint32_t me = index_of(ctx);
    run_lone(me, container_of(e, struct op, entry));
    tx_lone_done(ctx, e);
}

static void on_serve(void *ctx, struct sched_entry *e)
{
    (void)ctx;
    for (uint32_t i = 0; i < sim.moves_count; i++) {
        struct move *m = &sim.move[i];
        m->source_due |= e == &m->source;
        m->target_due |= e == &m->target;
    }
}

static const struct tx_ops ops = {.now_ms = on_now,
                                  .admit = on_admit,
                                  .check = on_check,
                                  .run = on_run,
                                  .post = on_post,
                                  .answer = on_answer,
                                  .lone = on_lone,
                                  .serve = on_serve};

static void take_lone(uint32_t me, struct op *o)
{
    struct sched *s = &sim.sched[me];
    struct sim_part *p = &o->part[me];
    enum sched_mode mode = o->writes ? SCHED_WRITE : SCHED_READ;
    uint64_t order = order_of(o->client);
    if (sched_is_empty(s) || !sched_must_wait(s, mode, p->fingerprints, p->count, order)) {
        run_lone(me, o);
        return;
    }
    enum sched_verdict v = sched_wait(s, &o->entry, mode, p->fingerprints, p->count, order);
    assert(v == SCHED_WAITS);
}

/* ---- reads without intents: on a shard */

static bool must_refuse(uint32_t me, const struct op *o)
{
    const struct sim_part *p = &o->part[me];
    return !planted(COLLECT_BLIND) && sched_must_wait(&sim.sched[me], SCHED_READ, p->fingerprints,
                                                      p->count, order_of(o->client));
}

static void read_part(uint32_t me, struct op *o)
{
    const struct sim_part *p = &o->part[me];
    o->since[me] = stamps_begin(&sim.stamps[me]);
    for (uint32_t i = 0; i < p->count; i++) {
        o->read_at[p->keys[i]] = sim.events[p->keys[i]];
        touch(o->id, p->keys[i], false);
    }
}

static void take_read(uint32_t me, struct op *o)
{
    if (must_refuse(me, o))
        o->refused = true;
    else
        read_part(me, o);
    send(me, sim.client[o->client].home, MSG_READ_ANSWER, o, NULL);
}

/* ---- the coordinators' side */

static void begin_round(struct op *o)
{
    uint32_t home = sim.client[o->client].home;
    if (sim.client[o->client].gone) {
        o->dropped = true;
        end(o);
        return;
    }
    struct tx *t = &o->tx;
    if (!tx_begin(&sim.shard[home], t, ++sim.tickets)) {
        fail("refused with the newest ticket");
        return;
    }
    for (uint32_t i = 0; i < t->count; i++)
        if (t->parts[i]->shard != home)
            send(home, t->parts[i]->shard, MSG_SCHED, o, (struct sim_part *)(void *)t->parts[i]);
}

/* The first of c's that read, if all have answered and none that came again is under way. */
static struct op *to_settle(const struct client *c)
{
    if (c->redo != NULL) return NULL;
    for (uint32_t i = 0; i < c->issued; i++) {
        struct op *o = c->ops[i];
        if (!o->ended && o->reads) return o->left == 0 ? o : NULL;
    }
    return NULL;
}

static bool holds(const struct op *o, uint32_t home)
{
    if (o->refused || (o->part[home].count > 0 && must_refuse(home, o))) return false;
    for (uint32_t s = 0; s < sim.shards; s++) {
        const struct sim_part *p = &o->part[s];
        if (s != home && p->count > 0 &&
            stamps_changed(&sim.stamps[s], o->since[s], p->fingerprints, p->count))
            return false;
    }
    return true;
}

/* What has been read, has been in vain. */
static void forget_reads(const struct op *o)
{
    for (uint32_t k = 0; k < sim.keys; k++) {
        if (o->read_at[k] == EVENTS) continue;
        struct event *e = &sim.event[k][o->read_at[k]];
        assert(e->op == o->id);
        e->vain = true;
    }
}

static void settle(struct client *c, struct op *o)
{
    o->reads = false;
    if (!c->gone && holds(o, c->home)) {
        read_part(c->home, o);
        o->ran = true;
        collected++;
        end(o);
        return;
    }
    forget_reads(o);
    if (c->gone) {
        o->dropped = true;
        end(o);
        return;
    }
    c->redo = o;
    redone++;
    sim.retries[sim.retries_count++] = o;
}

static void begin_reads(struct op *o)
{
    uint32_t home = sim.client[o->client].home;
    o->reads = true;
    for (uint32_t k = 0; k < KEYS; k++)
        o->read_at[k] = EVENTS;
    for (uint32_t s = 0; s < sim.shards; s++) {
        if (s == home || o->part[s].count == 0) continue;
        o->left++;
        send(home, s, MSG_READ, o, NULL);
    }
}

static void draw_keys(struct op *o)
{
    uint32_t n = 1 + draw(3), lone_shard = draw(sim.shards);
    if (o->shape == PARTS || o->shape == CHECKED) n++;
    for (uint32_t tries = 0; n > 0 && tries < 50; tries++) {
        uint32_t key = draw(sim.keys);
        if (o->touches[key] || (o->shape == LONE && shard_of(key) != lone_shard)) continue;
        o->touches[key] = true;
        n--;
    }
}

static void fill_parts(struct op *o)
{
    bool whole = o->shape == ALL || o->shape == BARRIER;
    for (uint32_t s = 0; s < sim.shards; s++) {
        struct sim_part *p = &o->part[s];
        p->op = o;
        for (uint32_t k = 0; k < sim.keys; k++) {
            if (shard_of(k) != s || !(whole || o->touches[k])) continue;
            o->touches[k] = true;
            p->fingerprints[p->count] = fingerprint(k);
            p->keys[p->count++] = k;
        }
        p->part = (struct tx_part){.tx = &o->tx,
                                   .fingerprints = p->fingerprints,
                                   .count = whole ? 0 : p->count,
                                   .shard = s};
        if (p->count == 0 && !whole) continue;
        o->lone_shard = s;
        o->parts[o->shards++] = &p->part;
    }
}

static void draw_op(struct op *o, uint32_t client)
{
    memset(o, 0, sizeof *o);
    o->id = (uint32_t)(o - sim.op);
    o->client = client;
    o->shape = draw(3) == 0 ? LONE : draw(6) == 0 ? CHECKED : PARTS;
    if (draw(100) < sim.all_share) o->shape = draw(2) == 0 ? BARRIER : ALL;
    o->writes = o->shape == CHECKED || o->shape == BARRIER || draw(100) >= sim.read_share;
    if (o->shape != ALL && o->shape != BARRIER) draw_keys(o);
    fill_parts(o);
    if (o->shards <= 1 && (o->shape == PARTS || o->shape == CHECKED)) o->shape = LONE;
    o->collects = o->shape == PARTS && !o->writes && draw(100) < sim.collect_share;
    o->tx = (struct tx){.parts = o->parts,
                        .order = order_of(client),
                        .count = o->shards,
                        .coordinator = sim.client[client].home,
                        .kind = o->shape == CHECKED   ? TX_CHECKED
                                : o->shape == BARRIER ? TX_BARRIER
                                                      : TX_PLAIN};
    bool whole = o->shape == ALL || o->shape == BARRIER;
    o->tx.mode = whole ? (o->writes ? SCHED_ALL_WRITE : SCHED_ALL_READ)
                       : (o->writes ? SCHED_WRITE : SCHED_READ);
}

/* Until a transaction is answered, what shares a key with it waits at the connection: it may yet be refused. Those that
 * read pass each other. */
static bool must_hold_back(const struct client *c, const struct op *o)
{
    uint32_t open = 0;
    bool among_reads = o->collects && !has_open(c);
    for (uint32_t i = 0; i < c->issued; i++) {
        const struct op *b = c->ops[i];
        if (b->ended) continue;
        open++;
        if (b->shape == LONE || among_reads) continue;
        for (uint32_t k = 0; k < sim.keys; k++)
            if (b->touches[k] && o->touches[k]) return true;
    }
    return open >= c->window;
}

static void issue(struct client *c)
{
    struct op *o = c->ops[c->issued];
    uint32_t home = c->home;
    c->issued++;
    o->open = true;
    o->began = sim.steps;
    if (o->collects)
        begin_reads(o);
    else if (o->shape != LONE)
        begin_round(o);
    else if (o->lone_shard == home)
        take_lone(home, o);
    else
        send(home, o->lone_shard, MSG_LONE, o, NULL);
}

/* ---- the world */

static void deliver(uint32_t from, uint32_t to)
{
    struct channel *c = &sim.channel[from][to];
    struct message m = c->m[c->head++];
    switch (m.kind) {
    case MSG_SCHED:
        if (draw(100) < sim.away_share && m.op->away < AWAY_MAX) { /* its client takes no answers */
            m.op->away++;
            tx_turn_away(&sim.shard[to], &m.part->part);
        } else {
            tx_arrive(&sim.shard[to], &m.part->part);
        }
        return;
    case MSG_LONE:
        take_lone(to, m.op);
        return;
    case MSG_READ:
        take_read(to, m.op);
        return;
    case MSG_ANSWER:
        part_came_back(m.op);
        return;
    case MSG_READ_ANSWER:
        m.op->left--;
        return;
    case MSG_LONE_ANSWER:
        end(m.op);
        return;
    }
}

static void take_post(uint32_t shard)
{
    uint32_t n = 0;
    for (const struct inbox_link *l = sim.posts[shard]; l != NULL; l = l->next)
        n++;
    struct inbox_link **link = &sim.posts[shard];
    for (uint32_t skip = draw(n); skip > 0; skip--)
        link = &(*link)->next;
    struct tx_part *p = container_of(*link, struct tx_part, post_link);
    *link = p->post_link.next;
    tx_posted(&sim.shard[shard], p);
}

/* All that can happen next: one is drawn. */
struct choice {
    enum { DELIVER, POST, RETRY, ISSUE, MOVE, SETTLE, READ } what;
    uint32_t a, b;
};

static uint32_t choices(struct choice *out, uint32_t but)
{
    uint32_t n = 0;
    for (uint32_t to = 0; to < sim.shards; to++) {
        if (to == but) continue;
        for (uint32_t from = 0; from < sim.shards; from++)
            if (sim.channel[from][to].head < sim.channel[from][to].tail)
                out[n++] = (struct choice){DELIVER, from, to};
        if (sim.posts[to] != NULL) out[n++] = (struct choice){POST, to, 0};
        if (tx_is_owed(&sim.shard[to])) out[n++] = (struct choice){SETTLE, to, 0};
    }
    for (uint32_t i = 0; i < sim.moves_count; i++)
        if (may_try(&sim.move[i]) && shard_of(sim.move[i].from) != but)
            out[n++] = (struct choice){MOVE, i, 0};
    for (uint32_t i = 0; i < sim.retries_count; i++) {
        const struct op *o = sim.retries[i];
        if (sim.client[o->client].home != but) out[n++] = (struct choice){RETRY, i, 0};
    }
    for (uint32_t i = 0; i < sim.clients; i++) {
        struct client *c = &sim.client[i];
        if (c->home == but) continue;
        if (to_settle(c) != NULL) out[n++] = (struct choice){READ, i, 0};
        if (c->gone || c->issued == c->todo) continue;
        if (!must_hold_back(c, c->ops[c->issued])) out[n++] = (struct choice){ISSUE, i, 0};
    }
    return n;
}

static bool step(void)
{
    struct choice c[SHARDS * SHARDS + 2 * SHARDS + OPS + 2 * CLIENTS + MOVES];
    if (sim.steps >= sim.stalled_until) {
        sim.stalled = draw(4) == 0 ? draw(sim.shards) : SHARDS;
        sim.stalled_until = sim.steps + 1 + draw(60);
    }
    uint32_t n = choices(c, sim.stalled);
    if (n == 0) n = choices(c, SHARDS);
    if (n == 0) return false;
    struct choice it = c[draw(n)];
    sim.steps++;
    switch (it.what) {
    case DELIVER:
        deliver(it.a, it.b);
        break;
    case POST:
        take_post(it.a);
        break;
    case RETRY: {
        struct op *o = sim.retries[it.a];
        sim.retries[it.a] = sim.retries[--sim.retries_count];
        begin_round(o);
        break;
    }
    case ISSUE:
        issue(&sim.client[it.a]);
        break;
    case MOVE:
        try_move(&sim.move[it.a]);
        break;
    case SETTLE:
        tx_settle(&sim.shard[it.a]);
        break;
    case READ:
        settle(&sim.client[it.a], to_settle(&sim.client[it.a]));
        break;
    }
    if (draw(sim.rest_steps) == 0) stamps_rest(&sim.stamps[draw(sim.shards)]);
    if (draw(400) == 0) sim.client[draw(sim.clients)].gone = true;
    return true;
}

static void build(uint64_t seed)
{
    memset(&sim, 0, sizeof sim);
    rng_seed(&sim.rng, seed);
    sim.shards = 2 + draw(SHARDS - 1);
    sim.keys = sim.shards + draw(KEYS - sim.shards + 1);
    if (draw(4) == 0) sim.keys = sim.shards = 2; /* all want the same two */
    sim.clients = 2 + draw(CLIENTS - 1);
    sim.read_share = draw(80);
    sim.collect_share = draw(3) == 0 ? 0 : 50 + draw(51);
    sim.rest_steps = draw(4) == 0 ? 2 : 200;
    sim.all_share = draw(3) == 0 ? 8 : 0;
    sim.move_share = draw(2) == 0 ? 1 + draw(40) : 0;
    sim.away_share = draw(4) == 0 ? 1 + draw(10) : 0;
    for (uint32_t s = 0; s < sim.shards; s++) {
        sched_init(&sim.sched[s]);
        sim.sched[s].stamps = &sim.stamps[s];
        tx_shard_init(&sim.shard[s], s, &sim.sched[s], &ops, &sim.shard[s]);
    }
    for (uint32_t i = 0; i < sim.clients; i++) {
        struct client *c = &sim.client[i];
        c->home = draw(sim.shards);
        c->window = 1 + draw(4);
        c->todo = 4 + draw(OPS / CLIENTS - 4 + 1);
        for (uint32_t k = 0; k < c->todo; k++) {
            c->ops[k] = &sim.op[sim.ops_count++];
            draw_op(c->ops[k], i);
        }
    }
}

/* ---- the verdict */

static void add_edges_of_keys(void)
{
    for (uint32_t k = 0; k < sim.keys; k++)
        for (uint32_t i = 0; i < sim.events[k]; i++)
            for (uint32_t j = i + 1; j < sim.events[k]; j++) {
                struct event a = sim.event[k][i], b = sim.event[k][j];
                if (a.vain || b.vain || a.op == b.op) continue;
                if (a.write || b.write) sim.edge[a.op][b.op] = true;
            }
}

static bool share_key(const struct op *a, const struct op *b)
{
    for (uint32_t k = 0; k < sim.keys; k++)
        if (a->touches[k] && b->touches[k]) return true;
    return false;
}

static void add_edges_of_time(void)
{
    for (uint32_t i = 0; i < sim.ops_count; i++)
        for (uint32_t j = 0; j < sim.ops_count; j++) {
            const struct op *a = &sim.op[i], *b = &sim.op[j];
            if (i == j || !a->ran || !b->ran) continue;
            if (a->ended && a->finished < b->began) sim.edge[i][j] = true;
            if (a->client != b->client || i > j)
                continue; /* the order of a client is that of its ids */
            bool same_shard =
                a->shape == LONE && b->shape == LONE && a->lone_shard == b->lone_shard;
            bool ordered = a->writes || b->writes || a->collects;
            if (same_shard || (share_key(a, b) && ordered)) sim.edge[i][j] = true;
        }
}

static void add_edges_of_moves(void)
{
    for (uint32_t i = 0; i < sim.moves_count; i++)
        for (uint32_t j = 0; j < sim.ops_count; j++) {
            const struct move *m = &sim.move[i];
            const struct op *o = &sim.op[j];
            if (!m->ran || !o->ran) continue;
            if (m->finished < o->began) sim.edge[m->id][j] = true;
            if (o->ended && o->finished < m->began) sim.edge[j][m->id] = true;
        }
}

static bool finds_circle(uint32_t at, uint8_t *mark)
{
    mark[at] = 1;
    for (uint32_t to = 0; to < IDS; to++) {
        if (!sim.edge[at][to] || mark[to] == 2) continue;
        if (mark[to] == 1 || finds_circle(to, mark)) return true;
    }
    mark[at] = 2;
    return false;
}

/* Commands that its client sent later, passing it, may wait with a larger ticket than that of its next round. */
static uint32_t window_of(const struct op *o)
{
    return sim.client[o->client].window;
}

static void judge(void)
{
    uint8_t mark[IDS] = {0};
    add_edges_of_keys();
    add_edges_of_time();
    add_edges_of_moves();
    for (uint32_t i = 0; i < IDS && !sim.bad; i++)
        if (mark[i] == 0 && finds_circle(i, mark)) fail("not serializable");
    for (uint32_t i = 0; i < sim.ops_count && !sim.bad; i++)
        if (sim.op[i].open && !sim.op[i].ended) fail("stuck: an operation never ended");
    for (uint32_t i = 0; i < sim.moves_count && !sim.bad; i++)
        if (sim.move[i].open) fail("stuck: one who waited is not served");
    for (uint32_t s = 0; s < sim.shards && !sim.bad; s++) {
        if (!sched_is_empty(&sim.sched[s])) fail("something stays locked");
    }
    if (sim.steps >= STEPS_MAX) fail("no end");
    for (uint32_t i = 0; i < sim.ops_count && !sim.bad; i++)
        if (sim.op[i].rounds_lost > sim.op[i].away + window_of(&sim.op[i]))
            fail("refused too often");
}

static void throw_away(void)
{
    for (uint32_t s = 0; s < sim.shards; s++) {
        sim.sched[s].entries = 0; /* after a failure */
        sched_fini(&sim.sched[s]);
    }
}

static bool run_seed(uint64_t seed)
{
    build(seed);
    while (!sim.bad && sim.steps < STEPS_MAX && step())
        ;
    judge();
    throw_away();
    if (sim.bad && loud) printf("seed %llu failed\n", (unsigned long long)seed);
    return !sim.bad;
}

static uint32_t campaign(uint64_t from, uint32_t count)
{
    uint32_t failed = 0;
    for (uint64_t seed = from; seed < from + count; seed++)
        failed += !run_seed(seed);
    return failed;
}

/* ---- mistakes */

#ifdef MOON_TEST
static const enum plant plants[] = {
    PLANT_RUN_BEFORE_GRANT,  PLANT_SKIP_LOCK,     PLANT_LONE_WITHOUT_TICKET, PLANT_LEAVE_EARLY,
    PLANT_SERVE_BEHIND,      PLANT_NEVER_RECALL,  PLANT_RECALL_BEGUN,        PLANT_OVERTAKE_OWN,
    PLANT_COLLECT_UNCHECKED, PLANT_COLLECT_BLIND, PLANT_INTENT_UNSTAMPED};

static uint32_t plants_not_found(uint32_t *found_out)
{
    uint32_t missed = 0;
    loud = false;
    for (uint32_t i = 0; i < COUNT_OF(plants); i++) {
        uint32_t seed = 1;
        plant_nothing();
        plant(plants[i]);
        while (seed < 500 && run_seed(seed))
            seed++;
        printf("%s: %s at seed %u\n", plant_text(plants[i]), seed < 500 ? "found" : "NOT FOUND",
               seed);
        missed += seed == 500;
    }
    plant_nothing();
    *found_out = (uint32_t)COUNT_OF(plants) - missed;
    return missed;
}
#else
static uint32_t plants_not_found(uint32_t *found_out)
{
    *found_out = 0;
    return 0;
}
#endif

int main(int argc, char **argv)
{
    uint64_t from = 1, count = SEEDS;
    bool whole = argc == 1;
    loud = true;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) {
            from = value;
            count = 1;
        } else if (strcmp(argv[i], "--from") == 0) {
            from = value;
        } else if (strcmp(argv[i], "--count") == 0) {
            count = value;
        } else if (strcmp(argv[i], "--plant") != 0 || !plant_words(argv[i + 1])) {
            fprintf(stderr, "sim_sched: what is %s?\n", argv[i]);
            return 2;
        }
    }
    clock_t start = clock();
    uint32_t failed = campaign(from, (uint32_t)count), found = 0;
    printf("%u seeds in %.1f s: %llu reads held, %llu came again\n", (uint32_t)count,
           (double)(clock() - start) / (double)CLOCKS_PER_SEC, (unsigned long long)collected,
           (unsigned long long)redone);
    uint32_t missed = whole ? plants_not_found(&found) : 0;
    printf("sim: %u passed, %u failed\n", (uint32_t)count - failed + found, failed + missed);
    return failed + missed > 0;
}
