/* Connections that wait for a key. What waits is one shared record, struct blocked: it belongs to the worker of the
 * connection (its home) and to each shard on which it is registered. One atomic says who answers it
 * (exec/block.h); the others find it taken and let go.
 *
 * Notes. Workers tell each other of it by notes that lie in the record itself, so that telling never fails and
 * needs no room: a list per worker, pushed by compare-and-swap, taken whole. A note says "look at it", no more; it is
 * in a list once at most:
 *
 *   part's note   to a shard: your turn to try (walk), or, if it is taken: forget it
 *   home's note   to the connection's worker: the answer is in the record
 *
 * Each note on its way and each registration holds the record.
 *
 * The walk. Shards are visited one after the other in the order of the keys: each tries those of its keys that
 * come next, and if there is nothing registers them and passes the record on. So the first key that has something
 * is served, and a push to an earlier key while a later one is tried claims the record first or comes after.
 *
 * A move between two shards (BLMOVE) waits on that of its source, and runs while the others stand (exec/serve.c).
 *
 * A connection that waits is not parsed. Its earlier replies were all given before its command ran. */
#include "node/block.h"

#include "node/conn_priv.h"
#include "node/hold.h"
#include "node/place_priv.h"
#include "node/txn_priv.h"

struct block_note {
    struct inbox_link link;
    struct block_note *next; /* in worker.served_head */
    struct blocked *of;
    atomic_bool posted;
};
struct block_part { /* of one shard; its thread's, but for the note */
    struct waiter_part wp;
    struct block_note note;
    uint32_t shard;
    bool registered;
};
enum { COUNT_NOT_YET, COUNT_YES, COUNT_OVER };
struct blocked {
    struct waiter waiter;
    _Atomic uint32_t holds;
    _Atomic uint32_t counted; /* in node.blocked: registered everywhere, and not taken */
    atomic_bool overdue;      /* its time was over before that: whoever ends the walk lets it go */
    /* Of the home worker. */
    struct conn *conn; /* NULL: gone */
    uint64_t conn_id;
    uint32_t conn_index, home, pend;
    struct timer timer;
    /* Of whoever has the walk. */
    uint32_t from, end; /* argv: keys that were not looked at yet */
    /* Of whoever took it, then of home. */
    struct buf reply;
    struct hold *gate; /* what the reply waits for on several shards; NULL: nothing */
    struct block_note home_note;
    size_t bytes; /* all of it */
    uint32_t parts;
    struct block_part part[]; /* then argv, and what it views */
};

static uint32_t shard_of_arg(const struct request *rq, uint32_t i)
{
    return slot_shard(slot_of_key(rq->argv[i]), node.shards);
}

/* ---- life */

static void copy_args(struct request *to, const struct request *from, struct bytes *argv)
{
    uint8_t *data = (uint8_t *)(argv + from->argc);
    for (uint32_t i = 0; i < from->argc; i++) {
        argv[i] = bytes_view(data, from->argv[i].len);
        if (from->argv[i].len > 0) memcpy(data, from->argv[i].data, from->argv[i].len);
        data += from->argv[i].len;
    }
    *to = *from;
    to->argv = argv;
}

static void add_part(struct blocked *b, uint32_t shard)
{
    for (uint32_t i = 0; i < b->parts; i++)
        if (b->part[i].shard == shard) return;
    struct block_part *p = &b->part[b->parts++];
    p->shard = shard;
    p->note.of = b;
    p->wp.waiter = &b->waiter;
}

/* Keys: argv[first … end). NULL: no memory. */
static struct blocked *blocked_try_new(struct conn *c, const struct request *rq, uint32_t first,
                                       uint32_t end)
{
    uint32_t keys = end - first, most = keys < node.shards ? keys : node.shards;
    size_t bytes =
        sizeof(struct blocked) + most * sizeof(struct block_part) + rq->argc * sizeof(struct bytes);
    for (uint32_t i = 0; i < rq->argc; i++)
        bytes += rq->argv[i].len;
    struct blocked *b = mem_try_zalloc(MEM_CONN, bytes);
    if (b == NULL) return NULL;
    b->bytes = bytes;
    b->waiter.proto = c->session.proto;
    b->holds = 1; /* home's */
    b->home = c->worker->index;
    b->conn_id = c->id;
    b->conn_index = c->index;
    b->from = first;
    b->end = end;
    b->home_note.of = b;
    buf_init(&b->reply, MEM_REPLY);
    copy_args(&b->waiter.rq, rq, (struct bytes *)(void *)(b->part + most));
    for (uint32_t i = first; i < end; i++)
        add_part(b, shard_of_arg(rq, i));
    return b;
}

static void keep(struct blocked *b)
{
    atomic_fetch_add_explicit(&b->holds, 1, memory_order_relaxed);
}

static void release(struct blocked *b)
{
    if (atomic_fetch_sub_explicit(&b->holds, 1, memory_order_acq_rel) > 1) return;
    buf_free(&b->reply);
    mem_free(MEM_REPLY, b->gate, sizeof *b->gate);
    mem_free(MEM_CONN, b, b->bytes);
}

/* INFO and CLIENT LIST say that it waits when it does so on all its shards: from then on whoever pushes serves it,
 * and until the reply to that push. */
static void count(struct blocked *b)
{
    if (atomic_exchange_explicit(&b->counted, COUNT_YES, memory_order_seq_cst) == COUNT_NOT_YET)
        atomic_fetch_add_explicit(&node.blocked, 1, memory_order_relaxed);
}

static void count_off(struct blocked *b)
{
    if (atomic_exchange_explicit(&b->counted, COUNT_OVER, memory_order_acq_rel) == COUNT_YES)
        atomic_fetch_sub_explicit(&node.blocked, 1, memory_order_relaxed);
}

bool block_shown(const struct conn *c)
{
    return c->blocked != NULL &&
           atomic_load_explicit(&c->blocked->counted, memory_order_relaxed) == COUNT_YES;
}

static struct block_part *part_of(struct blocked *b, uint32_t shard)
{
    struct block_part *p = b->part;
    while (p->shard != shard)
        p++;
    return p;
}

/* ---- notes */

static void post(uint32_t to, struct block_note *n)
{
    if (atomic_exchange_explicit(&n->posted, true, memory_order_acq_rel)) return;
    keep(n->of);
    struct worker *w = node.workers[to];
    inbox_add(&w->notes, &n->link);
    reactor_wake(&w->core.reactor);
}

/* Forgets it on this shard, or tells the other to. */
static void forget(struct worker *w, struct block_part *p)
{
    if (p->shard != w->index) {
        post(p->shard, &p->note);
        return;
    }
    if (!p->registered) return;
    core_unwait(&w->core, &p->wp);
    p->registered = false;
    release(p->note.of);
}

/* By who took it. */
static void forget_all(struct worker *w, struct blocked *b)
{
    count_off(b);
    for (uint32_t i = 0; i < b->parts; i++)
        forget(w, &b->part[i]);
}

/* ---- at home */

/* The wait is over; b is held by the caller. */
static void detach(struct conn *c)
{
    struct worker *w = c->worker;
    struct blocked *b = c->blocked;
    if (timer_armed(&b->timer)) timer_cancel(w->core.reactor.timers, &b->timer);
    b->conn = NULL;
    c->blocked = NULL;
    w->blocked_count--;
}

static void finish(struct conn *c, struct bytes wire)
{
    uint32_t pend = c->blocked->pend;
    detach(c);
    conn__answer(c, pend, wire);
    conn__unblock(c, CONN_WAIT_KEYS);
}

bool block__let_go(struct conn *c, struct bytes wire)
{
    struct blocked *b = c->blocked;
    if (b == NULL || !waiter_take(&b->waiter)) return false;
    finish(c, wire);
    forget_all(c->worker, b);
    release(b);
    return true;
}

void block__close(struct conn *c)
{
    struct blocked *b = c->blocked;
    if (b == NULL) return;
    detach(c);
    if (!waiter_take(&b->waiter)) return; /* the answer is on its way, and releases it */
    forget_all(c->worker, b);
    release(b);
}

/* Every key is tried once, however short the time. */
static void on_timeout(struct timer *t)
{
    struct blocked *b = container_of(t, struct blocked, timer);
    struct conn *c = b->conn;
    atomic_store_explicit(&b->overdue, true, memory_order_seq_cst);
    if (atomic_load_explicit(&b->counted, memory_order_seq_cst) == COUNT_NOT_YET) return;
    struct buf text;
    buf_init(&text, MEM_REPLY);
    struct reply reply = {.out = &text, .proto = b->waiter.proto};
    reply_null_array(&reply);
    if (block__let_go(c, buf_bytes(&text))) conn__flush(c); /* no pass may come for long */
    buf_free(&text);
}

/* As finish(); what the connection sent behind it is not parsed before it is answered. */
static void finish_later(struct conn *c, const struct hold *gate, struct bytes wire)
{
    uint32_t pend = c->blocked->pend;
    detach(c);
    c->flags = (c->flags & ~(uint32_t)CONN_WAIT_KEYS) | CONN_WAIT_ORDER;
    hold_answer(c, pend, gate, wire);
}

/* The answer is here. */
static void arrive(struct blocked *b)
{
    if (b->conn != NULL && b->gate != NULL)
        finish_later(b->conn, b->gate, buf_bytes(&b->reply));
    else if (b->conn != NULL)
        finish(b->conn, buf_bytes(&b->reply));
    release(b);
}

static void start(struct conn *c, struct blocked *b)
{
    struct worker *w = c->worker;
    const struct request *rq = &b->waiter.rq;
    int64_t ms;
    b->conn = c;
    b->pend = conn__pend(c, 1, NULL);
    c->blocked = b;
    c->flags |= CONN_WAIT_KEYS;
    w->blocked_count++;
    b->timer.fire = on_timeout;
    const char *error = block_timeout(rq->argv[block_timeout_place(rq->spec, rq->argc)],
                                      reactor_now_ms(&w->core.reactor), &ms);
    /* An error is the command's to reply. The turn began up to a millisecond after its reading: never early. */
    if (error == NULL && ms > 0) reactor_arm(&w->core.reactor, &b->timer, (uint64_t)ms + 1);
}

/* ---- on a shard */

/* This shard took it; what it replied is in `reply`, and waits for core.gate_lsn. */
static void answer(struct worker *w, struct blocked *b, struct buf *reply)
{
    b->reply = *reply;
    buf_init(reply, MEM_REPLY);
    forget_all(w, b);
    if (b->home == w->index && worker_self() == w) { /* who works in its place has no sockets */
        if (b->conn != NULL && w->core.gate_lsn > b->conn->gate_lsn)
            b->conn->gate_lsn = w->core.gate_lsn;
        arrive(b);
    } else if (!answer__hold_served(w, b->home, b)) {
        block__answer(w, b);
    }
}

void block__answer(struct worker *w, struct blocked *b)
{
    *w->served_tail = &b->home_note;
    b->home_note.next = NULL;
    w->served_tail = &b->home_note.next;
}

void block__fail(struct blocked *b, struct bytes error)
{
    b->reply.len = 0;
    buf_add_bytes(&b->reply, error);
}

void block__publish(struct worker *w)
{
    struct block_note *n = w->served_head;
    w->served_head = NULL;
    w->served_tail = &w->served_head;
    while (n != NULL) {
        struct block_note *next = n->next;
        post(n->of->home, n);
        n = next;
    }
}

void block__on_served(struct core *core, struct waiter_part *wp, struct buf *reply)
{
    struct worker *w = container_of(core, struct worker, core);
    struct block_part *p = container_of(wp, struct block_part, wp);
    struct blocked *b = p->note.of;
    p->registered = false;
    if (reply != NULL) answer(w, b, reply);
    release(b);
}

/* ---- moves between two shards */

static void run_apart(struct worker *w, uint64_t shards, const struct request *rq,
                      struct block_run *run, struct reply *reply)
{
    struct span *s = &w->span;
    uint64_t mask = s->mask;
    bool oom = w->core.oom;
    s->mask = shards;
    w->core.oom &= run->waiter == NULL; /* who waited is served, as on one shard */
    span_tx_begin(s, node_txid(w));
    span_run_waiter(s, rq, run, reply);
    span_tx_end(s);
    s->mask = mask;
    w->core.oom = oom;
}

static void gate_on(struct worker *w, struct blocked *b, uint64_t shards)
{
    struct hold gate;
    span__hold(w, shards, &gate);
    if (gate.shards == 0) return;
    b->gate = mem_alloc(MEM_REPLY, sizeof gate);
    *b->gate = gate;
}

/* By whose worker all others stand for. */
void block__on_apart(struct core *core, struct waiter_part *wp)
{
    struct worker *w = worker_self(), *owner = container_of(core, struct worker, core);
    struct block_part *p = container_of(wp, struct block_part, wp);
    struct blocked *b = p->note.of;
    struct request rq = b->waiter.rq;
    struct block_run run = {.waiter = &b->waiter};
    struct arena_mark mark = arena_mark(&w->args);
    uint64_t shards = place__shards_of(w, &rq);
    struct buf out;
    buf_init(&out, MEM_REPLY);
    struct reply reply = {.out = &out, .proto = b->waiter.proto};
    rq.key = db_key(rq.key.db, rq.argv[1]);
    run_apart(w, shards, &rq, &run, &reply);
    assert(!run.waits); /* there is an element, and all keep away from it */
    core_unwait(core, wp);
    p->registered = false;
    if (!run.lost) {
        if (reply.errored) core_count_error(&w->core, out.data, out.len);
        gate_on(w, b, shards);
        core->gate_lsn = 0;
        answer(owner, b, &out);
    }
    buf_free(&out);
    arena_rewind(&w->args, mark);
    release(b);
}

void block__serve_kept(struct worker *w)
{
    if (core_serves_apart(&w->core) && span__serve_kept(w)) return;
    core_serve_kept(&w->core);
}

/* NULL: a null array, its time is over. */
static void answer_nothing(struct worker *w, struct blocked *b, const char *error)
{
    struct buf text;
    if (!waiter_take(&b->waiter)) return;
    buf_init(&text, MEM_REPLY);
    struct reply reply = {.out = &text, .proto = b->waiter.proto};
    if (error == NULL)
        reply_null_array(&reply);
    else
        reply_error(&reply, error);
    if (error != NULL) core_count_error(&w->core, text.data, text.len);
    w->core.gate_lsn = 0;
    answer(w, b, &text);
}

/* Tries the keys from b->from on that lie together on this shard. True: there was nothing, and it is registered. */
static bool try_here(struct worker *w, struct blocked *b, uint32_t until)
{
    struct block_part *p = part_of(b, w->index);
    struct request rq = b->waiter.rq;
    struct block_run run = {.waiter = &b->waiter, .from = b->from, .until = until};
    struct buf *out = &w->core.served;
    out->len = 0;
    struct reply reply = {.out = out, .proto = b->waiter.proto};
    rq.key = db_key(rq.key.db, rq.argv[b->from]);
    worker_runs_for(w, b->home, b->conn_index, b->conn_id);
    core_run_waiter(&w->core, &rq, &run, &reply);
    worker_runs_for_nobody(w);
    if (run.lost) return false;
    if (!run.waits) {
        if (reply.errored) core_count_error(&w->core, out->data, out->len);
        answer(w, b, out);
        return false;
    }
    if (!p->registered) keep(b);
    p->registered = core_wait(&w->core, &p->wp, &rq, &run);
    if (p->registered) return true;
    release(b);
    answer_nothing(w, b, ERR_WAIT_NOMEM);
    return false;
}

static void walk(struct worker *w, struct blocked *b, bool granted);

static void walk_on(struct worker *w, void *arg, bool refused)
{
    struct blocked *b = arg;
    if (refused)
        answer_nothing(w, b, ERR_WAIT_NOMEM);
    else if (!waiter_is_taken(&b->waiter))
        walk(w, b, true);
    if (core_must_serve(&w->core)) core_serve(&w->core);
    release(b);
}

/* True: a transaction has spoken for its keys, and the walk goes on behind it. */
static COLD bool waits_for_transaction(struct worker *w, struct blocked *b)
{
    struct arena_mark mark = arena_mark(&w->args);
    struct wait wait = {.conn_id = b->conn_id};
    wait__add_keys(w, &wait, &b->waiter.rq);
    bool must = wait__must(w, &wait);
    keep(b);
    if (must)
        wait__queue(w, &wait, walk_on, b);
    else
        release(b);
    arena_rewind(&w->args, mark);
    return must;
}

/* granted: the keys that come next here are its own now. */
static void walk(struct worker *w, struct blocked *b, bool granted)
{
    while (b->from < b->end) {
        uint32_t shard = shard_of_arg(&b->waiter.rq, b->from), until = b->from + 1;
        if (shard != w->index) {
            post(shard, &part_of(b, shard)->note);
            return;
        }
        while (until < b->end && shard_of_arg(&b->waiter.rq, until) == shard)
            until++;
        if (!granted && !sched_is_empty(&w->core.sched) && waits_for_transaction(w, b)) return;
        granted = false;
        if (!try_here(w, b, until)) return;
        b->from = until;
    }
    count(b);
    if (atomic_load_explicit(&b->overdue, memory_order_seq_cst)) answer_nothing(w, b, NULL);
}

static void look(struct worker *w, struct block_part *p)
{
    struct blocked *b = p->note.of;
    if (waiter_is_taken(&b->waiter))
        forget(w, p);
    else
        walk(w, b, false);
}

void block__take(struct worker *w)
{
    struct inbox_link *link = inbox_take(&w->notes);
    while (link != NULL) {
        struct block_note *n = container_of(link, struct block_note, link);
        struct blocked *b = n->of;
        link = link->next; /* before n is posted again, or gone */
        (void)atomic_exchange_explicit(&n->posted, false, memory_order_acq_rel);
        if (n == &b->home_note)
            arrive(b);
        else
            look(w, container_of(n, struct block_part, note));
        if (core_must_serve(&w->core)) core_serve(&w->core);
        release(b);
    }
}

/* ---- a request */

/* All its keys are here: it runs as any command, and only if there is nothing a record is made. */
static void run_or_wait(struct worker *w, struct conn *c, const struct request *rq, uint32_t first,
                        uint32_t end)
{
    size_t begin;
    struct reply reply = conn__reply_begin(c, &begin);
    struct block_run run = {.waiter = NULL};
    core_run_waiter(&w->core, rq, &run, &reply);
    if (run.waits) {
        struct blocked *b = blocked_try_new(c, rq, first, end);
        if (b != NULL && core_wait(&w->core, &b->part[0].wp, &b->waiter.rq, &run)) {
            b->from = end;
            b->part[0].registered = true;
            keep(b);
            start(c, b);
            count(b);
            return;
        }
        if (b != NULL) release(b);
        reply_error(&reply, ERR_WAIT_NOMEM);
    }
    place__reply_end(w, c, &reply, begin);
}

static void wait_apart(struct worker *w, struct conn *c, const struct request *rq, uint32_t first,
                       uint32_t end)
{
    struct blocked *b = blocked_try_new(c, rq, first, end);
    if (b == NULL) {
        place__reply_error(c, ERR_WAIT_NOMEM);
        return;
    }
    start(c, b);
    keep(b);
    walk(w, b, false);
    release(b);
}

/* Registers it on the shard of its source, which stands. NULL: no memory. */
static struct blocked *wait_there(struct conn *c, const struct request *rq,
                                  const struct block_run *run)
{
    struct blocked *b = blocked_try_new(c, rq, 1, 2);
    if (b == NULL) return NULL;
    struct block_part *p = &b->part[0];
    b->from = b->end;
    if (!core_wait(&node.workers[p->shard]->core, &p->wp, &b->waiter.rq, run)) {
        release(b);
        return NULL;
    }
    p->registered = true;
    keep(b);
    return b;
}

static void move_apart(struct worker *w, struct conn *c, struct request *rq)
{
    uint64_t shards = place__shards_of(w, rq);
    const char *why;
    switch (span__begin(w, c, shards, true, &why)) {
    case SPAN_REFUSED:
        place__reply_error(c, why);
        return;
    case SPAN_WAITS:
        return;
    case SPAN_READY:
        break;
    }
    size_t begin;
    struct reply reply = conn__reply_begin(c, &begin);
    struct block_run run = {.waiter = NULL};
    run_apart(w, shards, rq, &run, &reply);
    struct blocked *b = run.waits ? wait_there(c, rq, &run) : NULL;
    if (b != NULL) {
        struct hold none;
        span__end(w, 0, &none);
        start(c, b);
        count(b);
        return;
    }
    if (run.waits) reply_error(&reply, ERR_WAIT_NOMEM);
    span__reply(w, c, &reply, begin);
}

void block__place(struct worker *w, struct conn *c, struct request *rq)
{
    if (c->pends_count > 0) {
        place__stall(w, c, CONN_WAIT_ORDER);
        return;
    }
    uint32_t *at = arena_alloc(&w->args, rq->argc * sizeof *at), here = 0;
    uint32_t n = spec_key_positions(rq->spec, rq->argv, rq->argc, at);
    rq->key = db_key(c->session.db, n > 0 ? rq->argv[at[0]] : rq->argv[0]);
    rq->no_touch = c->session.no_touch;
    for (uint32_t i = 0; i < n; i++)
        here += shard_of_arg(rq, at[i]) == w->index;
    if (n > 0) assert(at[n - 1] - at[0] == n - 1);
    bool moves = rq->spec->spread == SPREAD_WAIT_MOVE;
    if (here == n && sched_is_empty(&w->core.sched)) /* or n is 0, and the command replies why */
        run_or_wait(w, c, rq, n > 0 ? at[0] : 0, n > 0 ? at[0] + (moves ? 1 : n) : 0);
    else if (n == 0)
        run_or_wait(w, c, rq, 0, 0);
    else if (moves && shard_of_arg(rq, at[0]) != shard_of_arg(rq, at[1]))
        move_apart(w, c, rq);
    else
        wait_apart(w, c, rq, at[0], at[0] + (moves ? 1 : n));
    if (core_must_serve(&w->core)) core_serve(&w->core);
}
