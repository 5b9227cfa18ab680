/* MULTI, EXEC, DISCARD, WATCH, UNWATCH.
 *
 * Commands are queued with the connection as one block of bytes: struct body, then for each command a struct
 * entry and its arguments. EXEC runs the block on the shard of its keys, watched ones included, here or by one
 * message that takes the block along: data commands in their order, nothing in between, their effects one
 * group of the log. If there are several such shards it runs here while the others stand (span.c).
 * Commands about the connection run on its own core when that is done, and take their places in the reply;
 * what they mean for the data commands behind them (SELECT, HELLO, CLIENT NO-TOUCH) is worked out before. */
#include "node/cluster.h"
#include "node/commands.h"
#include "node/config.h"
#include "node/hold.h"
#include "node/txn_priv.h"
#include "shard/base/log.h"
#include "shard/base/planted.h"
#include "shard/resp/value.h"

#define KEEP_BYTES 4096u /* of the queue's memory, for the next transaction */
#define ABORTED "EXECABORT Transaction discarded because of"
#define NO_MEMORY_TO_WAIT "OOM out of memory: the allocator refused to let it wait for its keys"
#define NO_MEMORY "OOM out of memory: the allocator refused to watch these keys"

struct body {
    size_t log_bytes;
    uint64_t watcher;
    uint32_t count, data_count; /* commands; those that run on the shard */
    uint32_t flags;             /* of their rows, or-ed */
    uint8_t proto;
    bool watches, scripts;
};
struct entry {
    const struct cmd_spec *spec;
    uint64_t hash;
    uint32_t argc, wire_bytes;
    size_t bytes; /* to the next one: then lengths and data, as place__write_args */
    uint16_t slot;
    uint8_t db, proto;
    bool no_touch;
};
static_assert(sizeof(struct body) % 8 == 0 && sizeof(struct entry) % 8 == 0,
              "what lies behind is aligned");

struct multi {
    struct buf queue;
    uint64_t watcher;
    uint64_t keys, watched; /* shards with keys of the commands; with watched keys */
    bool aborted;           /* a command was refused while queueing */
    bool rests;             /* in w->resting: the EXEC at `place` waits for room */
    uint32_t place;
};

struct join { /* a reply that is made of answers of the shard and of the connection's core */
    struct buf body;
    uint32_t count, left;
    uint32_t next; /* up to this one commands about the connection have run */
    size_t from;   /* where it lies in `body` */
    bool busy, dropped;
    struct buf element[];
};

static struct body *body_of(struct buf *queue)
{
    return (struct body *)(void *)queue->data;
}

static struct entry *entry_at(const struct buf *queue, size_t at)
{
    return (struct entry *)(void *)(queue->data + at);
}

static struct multi *get(struct conn *c)
{
    if (c->multi != NULL) return c->multi;
    struct multi *m = mem_zalloc(MEM_CONN, sizeof *m);
    buf_init(&m->queue, MEM_REPLY); /* its memory travels as a message's block */
    return c->multi = m;
}

/* ---- leaving */

/* Another shard hears of it when there is room for the message: numbers are not used twice, so late is not wrong. */
static void unwatch(struct conn *c)
{
    struct multi *m = c->multi;
    struct worker *w = c->worker;
    if (m == NULL) return;
    for (uint64_t left = m->watched; left != 0; left &= left - 1) {
        uint32_t s = (uint32_t)__builtin_ctzll(left);
        if (s == w->index)
            core_unwatch(&w->core, m->watcher);
        else
            buf_add(&w->peers[s].unwatch, &m->watcher, sizeof m->watcher);
    }
    m->watched = 0;
}

void multi__publish(struct worker *w, uint32_t to)
{
    struct peer *p = &w->peers[to];
    size_t sent = 0;
    for (; sent < p->unwatch.len && place__has_room(w, to); sent += sizeof(uint64_t)) {
        struct msg_request *r = mailbox_reserve(p->requests_out, sizeof *r);
        assert(r != NULL);
        *r = (struct msg_request){.kind = MSG_UNWATCH};
        memcpy(&r->hash, p->unwatch.data + sent, sizeof r->hash);
        mailbox_push(p->requests_out, sizeof *r);
    }
    if (sent > 0) buf_consume(&p->unwatch, sent);
}

static void end_multi(struct conn *c)
{
    c->flags &= ~(uint32_t)CONN_MULTI;
    c->multi->queue.len = 0;
    if (c->multi->queue.cap > KEEP_BYTES) buf_free(&c->multi->queue);
}

void multi__reset(struct conn *c)
{
    if (c->multi == NULL) return;
    unwatch(c);
    end_multi(c);
}

static void leave_resting(struct conn *c)
{
    struct conn **link = &c->worker->resting;
    while (*link != c)
        link = &(*link)->room_next;
    *link = c->room_next;
    c->multi->rests = false;
}

void multi__close(struct conn *c)
{
    if (c->multi == NULL) return;
    unwatch(c);
    if (c->multi->rests) leave_resting(c);
    buf_free(&c->multi->queue);
    mem_free(MEM_CONN, c->multi, sizeof *c->multi);
    c->multi = NULL;
}

int64_t multi_queued(const struct conn *c)
{
    if (!(c->flags & CONN_MULTI)) return -1;
    return body_of(&c->multi->queue)->count;
}

size_t multi_bytes(const struct conn *c)
{
    return c->multi == NULL ? 0 : sizeof *c->multi + c->multi->queue.cap;
}

/* ---- queueing */

static void meet_keys(struct worker *w, struct multi *m, const struct request *rq)
{
    switch (rq->spec->spread) {
    case SPREAD_CONN:
        return;
    case SPREAD_EVERY_SUM:
    case SPREAD_EVERY_CONCAT:
    case SPREAD_EVERY_OK:
    case SPREAD_ANY:
        m->keys |= UINT64_MAX >> (64 - w->core.count);
        return;
    case SPREAD_CURSOR:
        m->keys |= UINT64_C(1) << place__shard_of_cursor(w, rq);
        return;
    case SPREAD_SCRIPT: {
        uint64_t shards = place__shards_of(w, rq); /* one without keys may want any */
        m->keys |= shards != 0 ? shards : UINT64_MAX >> (64 - w->core.count);
        return;
    }
    case SPREAD_KEY:
    case SPREAD_WAIT: /* waits for nothing in here */
    case SPREAD_WAIT_MOVE:
    case SPREAD_SUM:
    case SPREAD_GATHER:
    case SPREAD_ALL_OK:
    case SPREAD_ALL_NEW:
        break;
    }
    m->keys |= place__shards_of(w, rq);
}

static void append(struct multi *m, const struct request *rq)
{
    size_t args = place__args_bytes(rq->argv, rq->argc);
    size_t bytes = sizeof(struct entry) + ((args + 7) & ~(size_t)7);
    struct entry *e = buf_room(&m->queue, bytes);
    *e = (struct entry){.spec = rq->spec,
                        .hash = rq->spec->keys.first > 0 ? rq->key.hash : 0,
                        .slot = rq->spec->keys.first > 0 ? rq->key.slot : 0,
                        .argc = rq->argc,
                        .wire_bytes = rq->wire_bytes,
                        .bytes = bytes};
    place__write_args((uint8_t *)(e + 1), rq->argv, rq->argc);
    m->queue.len += bytes;
    struct body *b = body_of(&m->queue);
    b->count++;
    b->flags |= rq->spec->flags;
    if (rq->spec->spread == SPREAD_CONN) return;
    b->data_count++;
    b->scripts |= rq->spec->spread == SPREAD_SCRIPT;
    b->log_bytes += core_log_bytes(rq);
}

static bool is_over_limit(const struct conn *c, const struct request *rq)
{
    if (c->multi->queue.len + rq->wire_bytes <= config.client_query_buffer_limit) return false;
    log_warning("net",
                "closing client id=%llu addr=%s: the commands of its transaction are over "
                "client-query-buffer-limit (%llu)",
                (unsigned long long)c->id, c->peer,
                (unsigned long long)config.client_query_buffer_limit);
    return true;
}

/* As Redis: what cannot run now is refused now, and the transaction with it. */
static bool may_queue(struct worker *w, const struct request *rq, struct reply *reply)
{
    if (rq->spec->flags & CMD_NO_MULTI) {
        reply_error(reply, "ERR Command not allowed inside a transaction");
        return false;
    }
    if (core_admit(&w->core, rq->spec->flags | CMD_DENYOOM, core_log_bytes(rq), reply)) return true;
    stat_bump(&w->core.cmd_stats[rq->spec->id].rejected, 1);
    return false;
}

void multi__queue(struct conn *c, const struct request *rq)
{
    struct worker *w = c->worker;
    struct multi *m = c->multi;
    if (is_over_limit(c, rq)) {
        conn_close_now(c);
        return;
    }
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    if (may_queue(w, rq, &reply)) {
        if (!m->aborted) {
            if (w->core.count > 1) meet_keys(w, m, rq);
            append(m, rq);
        }
        reply_status(&reply, "QUEUED");
    } else {
        m->aborted = true;
        core_count_error(&w->core, reply.out->data + start, reply.out->len - start);
    }
    conn__reply_end(c, &reply, start);
}

void multi__abort(struct conn *c)
{
    if (c->multi != NULL) c->multi->aborted = true;
}

bool multi__writes(const struct conn *c)
{
    return body_of(&c->multi->queue)->flags & MAY_WRITE;
}

/* ---- running the data commands, on their shard */

/* `why` is an error reply. */
static void reply_aborted(struct reply *reply, const struct buf *why)
{
    reply_errorf(reply, ABORTED ": %.*s", (int)why->len - 3, (const char *)why->data + 1);
}

static bool admit_all(struct core *core, const struct body *b, struct reply *reply)
{
    struct buf why;
    buf_init(&why, MEM_REPLY);
    struct reply refusal = {.out = &why, .proto = 2};
    bool ok = core_admit(core, b->flags, b->log_bytes, &refusal);
    if (!ok) reply_aborted(reply, &why);
    buf_free(&why);
    return ok;
}

/* The views live in w->args until the caller rewinds it. */
static struct request request_of(struct worker *w, const struct entry *e)
{
    const uint8_t *lengths = (const uint8_t *)(e + 1);
    struct bytes *argv = arena_alloc(&w->args, e->argc * sizeof *argv);
    place__read_args(lengths, argv, e->argc);
    struct request rq = {.spec = e->spec,
                         .argv = argv,
                         .argc = e->argc,
                         .wire_bytes = e->wire_bytes,
                         .key = {.hash = e->hash, .slot = e->slot, .db = e->db},
                         .no_touch = e->no_touch};
    if (e->spec->keys.first > 0 && (uint32_t)e->spec->keys.first < e->argc)
        rq.key.name = argv[e->spec->keys.first];
    return rq;
}

static void run_data(struct worker *w, const struct entry *e, struct buf *out)
{
    struct arena_mark mark = arena_mark(&w->args);
    struct request rq = request_of(w, e);
    size_t start = out->len;
    struct reply reply = {.out = out, .proto = e->proto};
    core_run(&w->core, &rq, &reply);
    if (unlikely(reply.errored)) core_count_error(&w->core, out->data + start, out->len - start);
    arena_rewind(&w->args, mark);
}

/* core.gate_lsn is then what the reply waits for. */
static void run_body(struct worker *w, struct buf *queue, struct reply *reply)
{
    struct core *core = &w->core;
    const struct body *b = body_of(queue);
    uint64_t gate = 0;
    if (b->scripts) script__begin(w); /* others may work here until it returns */
    if (b->watches && core_unwatch_changed(core, b->watcher, core->run.now_ms) &&
        !planted(WATCH_UNCHECKED)) {
        reply_null_array(reply);
        gate = core_gate(core);
    } else if (admit_all(core, b, reply)) {
        reply_array(reply, b->data_count);
        if (b->flags & MAY_WRITE) core_tx_begin(core, 0, 0);
        for (size_t at = sizeof *b; at < queue->len; at += entry_at(queue, at)->bytes) {
            if (entry_at(queue, at)->spec->spread == SPREAD_CONN) continue;
            run_data(w, entry_at(queue, at), reply->out);
            if (core->gate_lsn > gate) gate = core->gate_lsn;
        }
        if ((b->flags & MAY_WRITE) && !w->widened) core_tx_end(core);
    }
    if (b->scripts && script__end(w)) gate = core_gate(core);
    core->gate_lsn = core->waits ? gate : 0;
}

/* ---- the same while the other shards stand */

/* A command about all keys of all shards (or of one, a number of keys draws which). */
static void run_everywhere(struct span *s, const struct request *rq, struct reply *reply)
{
    struct merge *m = merge__new(rq->spec->spread, s->count, 0, reply->proto);
    for (uint32_t i = 0; i < s->count; i++) {
        struct reply part = {.out = &m->part[i], .proto = reply->proto};
        span_run_on(s, i, rq, &part, i > 0);
        reply->errored |= part.errored;
    }
    merge__finish(m, reply);
}

void multi__run_spread(struct span *s, const struct request *rq, struct reply *reply)
{
    struct worker *w = container_of(s, struct worker, span);
    switch (rq->spec->spread) {
    case SPREAD_EVERY_SUM:
    case SPREAD_EVERY_CONCAT:
    case SPREAD_EVERY_OK:
        run_everywhere(s, rq, reply);
        return;
    case SPREAD_ANY:
        span_run_on(s, place__shard_by_keys(w, rq->key.db), rq, reply, false);
        return;
    case SPREAD_CURSOR:
        span_run_on(s, place__shard_of_cursor(w, rq), rq, reply, false);
        return;
    case SPREAD_CONN:
    case SPREAD_KEY:
    case SPREAD_WAIT:
    case SPREAD_WAIT_MOVE:
    case SPREAD_SCRIPT:
    case SPREAD_SUM:
    case SPREAD_GATHER:
    case SPREAD_ALL_OK:
    case SPREAD_ALL_NEW:
        break;
    }
    span_run(s, rq, reply);
}

static bool watched_changed(struct span *s, uint64_t watched, uint64_t watcher)
{
    bool changed = false;
    for (uint64_t left = watched; left != 0; left &= left - 1)
        changed |=
            core_unwatch_changed(s->core[__builtin_ctzll(left)], watcher, s->home->run.now_ms);
    return changed;
}

static bool admit_span(struct span *s, const struct body *b, struct reply *reply)
{
    struct buf why;
    buf_init(&why, MEM_REPLY);
    struct reply refusal = {.out = &why, .proto = 2};
    bool ok = span_admit(s, b->flags, b->log_bytes, &refusal);
    if (!ok) reply_aborted(reply, &why);
    buf_free(&why);
    return ok;
}

static void run_queue_span(struct worker *w, struct buf *queue, struct buf *out)
{
    for (size_t at = sizeof(struct body); at < queue->len; at += entry_at(queue, at)->bytes) {
        const struct entry *e = entry_at(queue, at);
        if (e->spec->spread == SPREAD_CONN) continue;
        struct arena_mark mark = arena_mark(&w->args);
        struct request rq = request_of(w, e);
        size_t start = out->len;
        struct reply reply = {.out = out, .proto = e->proto};
        multi__run_spread(&w->span, &rq, &reply);
        if (reply.errored) core_count_error(&w->core, out->data + start, out->len - start);
        arena_rewind(&w->args, mark);
    }
}

static void run_body_span(struct worker *w, struct multi *m, struct reply *reply)
{
    struct span *s = &w->span;
    const struct body *b = body_of(&m->queue);
    s->mask = m->keys;
    if (watched_changed(s, m->watched, m->watcher) && !planted(WATCH_UNCHECKED)) {
        reply_null_array(reply);
    } else if (admit_span(s, b, reply)) {
        reply_array(reply, b->data_count);
        if (b->flags & MAY_WRITE) span_tx_begin(s, node_txid(w));
        run_queue_span(w, &m->queue, reply->out);
        if (b->flags & MAY_WRITE) span_tx_end(s);
    }
}

/* ---- on the shard of the keys, for another */

/* ---- when their keys are spoken for by transactions over several shards: they wait like other commands */

struct exec_job {
    struct queued q; /* from a peer, or whose it is here */
    struct buf queue;
};

/* It does not run, so nothing else takes its keys from the watched ones. */
static void forget_job(struct worker *w, struct exec_job *j)
{
    const struct body *b = body_of(&j->queue);
    if (b->watches) core_unwatch(&w->core, b->watcher);
    buf_free(&j->queue);
}

static void run_job(struct worker *w, struct exec_job *j, bool refused)
{
    struct reply reply = {.out = &w->part_reply, .proto = j->q.proto};
    w->core.gate_lsn = 0;
    if (refused) {
        reply_error(&reply, ABORTED ": " NO_MEMORY_TO_WAIT);
        forget_job(w, j);
        return;
    }
    worker_runs_for(w, j->q.from, j->q.conn_index, j->q.conn_id);
    run_body(w, &j->queue, &reply);
    worker_runs_for_nobody(w);
    buf_free(&j->queue);
}

static void exec_of_peer(struct worker *w, void *job, bool refused)
{
    struct exec_job *j = job;
    run_job(w, j, refused);
    answer__send(w, &j->q, &w->part_reply);
    if (core_must_serve(&w->core)) core_serve(&w->core);
    mem_free(MEM_REPLY, j, sizeof *j);
}

static void exec_of_ours(struct worker *w, void *job, bool refused)
{
    struct exec_job *j = job;
    struct conn *c = j->q.conn_index < w->conns_cap ? w->conns[j->q.conn_index] : NULL;
    if (c != NULL && c->id == j->q.conn_id) {
        run_job(w, j, refused);
        if (w->core.gate_lsn > c->gate_lsn) c->gate_lsn = w->core.gate_lsn;
        struct buf out = w->part_reply; /* commands about the connection may need it */
        buf_init(&w->part_reply, MEM_REPLY);
        if (conn__pend_at(c, j->q.pend)->join != NULL)
            multi__join(c, j->q.pend, buf_bytes(&out));
        else
            conn__answer(c, j->q.pend, buf_bytes(&out));
        buf_free(&out);
        if (core_must_serve(&w->core)) core_serve(&w->core);
    } else {
        forget_job(w, j); /* nobody asks any more, and nothing was begun */
    }
    w->txn.waits--;
    mem_free(MEM_REPLY, j, sizeof *j);
}

static bool must_wait(struct worker *w, const struct buf *queue, uint64_t conn_id,
                      struct wait *wait)
{
    *wait = (struct wait){.conn_id = conn_id};
    if (sched_is_empty(&w->core.sched)) return false;
    if (((const struct body *)(const void *)queue->data)->scripts) {
        wait->mode = SCHED_ALL_WRITE; /* they may use more keys than they say */
        return true;
    }
    for (size_t at = sizeof(struct body); at < queue->len; at += entry_at(queue, at)->bytes) {
        struct request rq = request_of(w, entry_at(queue, at));
        if (rq.spec->spread != SPREAD_CONN) wait__add_keys(w, wait, &rq);
    }
    return wait__must(w, wait);
}

/* Of which the client has seen parts on other shards: those here come before. EXEC waits for its own keys, not for those that
 * it watches. */
static void hear_of_transactions(struct worker *w)
{
    txn__take_posts(w);
}

void multi__take_exec(struct worker *w, uint32_t from, const struct msg_request *r)
{
    struct queued q = {.conn_id = r->conn_id,
                       .conn_index = r->conn_index,
                       .pend = r->pend,
                       .from = from,
                       .taken = r->taken,
                       .round = r->round,
                       .proto = r->proto};
    struct buf queue = {
        .data = r->block, .len = (size_t)r->hash, .cap = r->block_bytes, .tag = MEM_REPLY};
    struct exec_job *j = mem_alloc(MEM_REPLY, sizeof *j);
    struct arena_mark mark = arena_mark(&w->args);
    struct wait wait;
    *j = (struct exec_job){.q = q, .queue = queue};
    hear_of_transactions(w);
    if (must_wait(w, &queue, q.conn_id, &wait))
        wait__queue(w, &wait, exec_of_peer, j);
    else
        exec_of_peer(w, j, false);
    arena_rewind(&w->args, mark);
}

static struct bytes watch_here(struct worker *w, uint64_t watcher, uint8_t db,
                               const struct bytes *keys, uint32_t count)
{
    return core_watch(&w->core, watcher, db, keys, count) ? BYTES_LIT("+OK\r\n")
                                                          : BYTES_LIT("-" NO_MEMORY "\r\n");
}

void multi__take_watch(struct worker *w, uint32_t from, const struct msg_request *r)
{
    struct arena_mark mark = arena_mark(&w->args);
    struct bytes *keys = arena_alloc(&w->args, r->argc * sizeof *keys);
    hear_of_transactions(w);
    place__read_args(r->block, keys, r->argc);
    struct bytes answer = watch_here(w, r->hash, r->db, keys, r->argc);
    arena_rewind(&w->args, mark);
    mem_free(MEM_REPLY, r->block, r->block_bytes);
    struct msg_answer a = {.conn_id = r->conn_id,
                           .conn_index = r->conn_index,
                           .pend = r->pend,
                           .part = r->part,
                           .len = answer.len};
    answer__push(w, from, &a, answer);
}

/* ---- joining what the shard answered with what the connection's core says */

static void join_free(struct join *j)
{
    for (uint32_t i = 0; i < j->count; i++)
        buf_free(&j->element[i]);
    buf_free(&j->body);
    mem_free(MEM_REPLY, j, sizeof *j + j->count * sizeof *j->element);
}

void multi__join_drop(struct join *j)
{
    if (j->busy)
        j->dropped = true;
    else
        join_free(j);
}

static struct join *join_new(const struct buf *queue)
{
    uint32_t count = ((const struct body *)(const void *)queue->data)->count;
    struct join *j = mem_zalloc(MEM_REPLY, sizeof *j + count * sizeof *j->element);
    j->count = count;
    j->from = sizeof(struct body);
    buf_init(&j->body, MEM_REPLY);
    buf_add(&j->body, queue->data, queue->len);
    for (uint32_t i = 0; i < count; i++)
        buf_init(&j->element[i], MEM_REPLY);
    return j;
}

/* One thing less to wait for; the last one makes the reply. */
static void step(struct conn *c, uint32_t number, struct join *j)
{
    assert(j->left > 0);
    if (--j->left > 0) return;
    struct buf out;
    buf_init(&out, MEM_REPLY);
    struct reply reply = {.out = &out, .proto = 2};
    reply_array(&reply, j->count);
    for (uint32_t i = 0; i < j->count; i++)
        buf_add_bytes(&out, buf_bytes(&j->element[i]));
    conn__pend_at(c, number)->join = NULL;
    join_free(j);
    conn__answer(c, number, buf_bytes(&out));
    buf_free(&out);
}

void multi__element(struct conn *c, uint32_t number, uint32_t element, struct bytes wire)
{
    struct join *j = conn__pend_at(c, number)->join;
    buf_add_bytes(&j->element[element], wire);
    step(c, number, j);
}

void multi__element_due(struct conn *c)
{
    conn__pend_at(c, c->exec_pend)->join->left++;
}

static void run_conn(struct conn *c, uint32_t number, uint32_t i, const struct entry *e)
{
    struct worker *w = c->worker;
    struct join *j = conn__pend_at(c, number)->join;
    struct reply reply = {.out = &j->element[i], .proto = c->session.proto};
    struct arena_mark mark = arena_mark(&w->args);
    struct request rq = request_of(w, e);
    c->exec_pend = number;
    c->exec_element = i;
    c->in_exec = true;
    w->running = c;
    place__call(w, c, &rq, &reply);
    w->running = NULL;
    c->in_exec = false;
    if (reply.errored && !j->dropped)
        core_count_error(&w->core, j->element[i].data, j->element[i].len);
    arena_rewind(&w->args, mark);
}

/* worker_everywhere() and worker_ask() count on room. One EXEC may use up what there was: it goes on when there is
 * some again. */
static bool lacks_room(const struct worker *w, const struct cmd_spec *spec)
{
    return !(spec->flags & CMD_FAST) && !place__everyone_has_room(w);
}

static void rest(struct conn *c, uint32_t number)
{
    struct conn **link = &c->worker->resting;
    assert(!(c->flags & CONN_WAIT_ROOM)); /* room_next is free */
    while (*link != NULL)
        link = &(*link)->room_next;
    *link = c;
    c->room_next = NULL;
    c->multi->rests = true;
    c->multi->place = number;
}

static void run_conns(struct conn *c, uint32_t number, struct join *j)
{
    j->busy = true;
    for (; j->next < j->count && !j->dropped; j->next++) {
        const struct entry *e = entry_at(&j->body, j->from);
        if (e->spec->spread == SPREAD_CONN) {
            if (unlikely(lacks_room(c->worker, e->spec))) {
                j->busy = false;
                rest(c, number);
                return;
            }
            run_conn(c, number, j->next, e);
        }
        j->from += e->bytes;
    }
    j->busy = false;
    if (j->dropped)
        join_free(j);
    else
        step(c, number, j);
}

bool multi__may_go_on(const struct worker *w)
{
    return unlikely(w->resting != NULL) && place__everyone_has_room(w);
}

void multi__go_on(struct worker *w)
{
    while (multi__may_go_on(w)) {
        struct conn *c = w->resting;
        uint32_t number = c->multi->place;
        leave_resting(c);
        run_conns(c, number, conn__pend_at(c, number)->join);
    }
}

void multi__join(struct conn *c, uint32_t number, struct bytes wire)
{
    struct join *j = conn__pend_at(c, number)->join;
    const uint8_t *line_end = memchr(wire.data, '\n', wire.len);
    if (wire.data[0] != '*' || wire.data[1] == '-') { /* an error, or a watched key changed */
        conn__pend_at(c, number)->join = NULL;
        join_free(j);
        conn__answer(c, number, wire);
        return;
    }
    size_t at = (size_t)(line_end - wire.data) + 1, from = sizeof(struct body);
    for (uint32_t i = 0; i < j->count; i++) {
        const struct entry *e = entry_at(&j->body, from);
        from += e->bytes;
        if (e->spec->spread == SPREAD_CONN) continue;
        int64_t len = resp_value_skip(wire.data + at, wire.len - at);
        assert(len > 0);
        buf_add(&j->element[i], wire.data + at, (size_t)len);
        at += (size_t)len;
    }
    j->left = 1;
    run_conns(c, number, j);
}

/* ---- EXEC */

/* What commands about the connection mean for the data commands behind them, as far as they succeed. */
static void foresee(struct worker *w, struct entry *e, struct session *s)
{
    struct arena_mark mark = arena_mark(&w->args);
    struct request rq = request_of(w, e);
    const char *name = commands_full_name(e->spec);
    int64_t v;
    if (strcmp(name, "select") == 0) {
        int64_t databases = config.cluster_enabled ? 1 : (int64_t)config.databases;
        if (num_parse_i64(rq.argv[1], &v) && v >= 0 && v < databases) s->db = (uint8_t)v;
    } else if (strcmp(name, "hello") == 0) {
        if (rq.argc > 1 && num_parse_i64(rq.argv[1], &v) && (v == 2 || v == 3))
            s->proto = (uint8_t)v;
    } else if (strcmp(name, "client|no-touch") == 0) {
        if (bytes_is(rq.argv[2], "on")) s->no_touch = true;
        if (bytes_is(rq.argv[2], "off")) s->no_touch = false;
    }
    arena_rewind(&w->args, mark);
}

static void fill_in(struct conn *c, struct multi *m)
{
    struct session s = c->session;
    struct body *b = body_of(&m->queue);
    b->proto = s.proto;
    b->watches = m->watched != 0;
    b->watcher = m->watcher;
    for (size_t at = sizeof *b; at < m->queue.len; at += entry_at(&m->queue, at)->bytes) {
        struct entry *e = entry_at(&m->queue, at);
        e->db = s.db;
        e->proto = s.proto;
        e->no_touch = s.no_touch;
        if (e->spec->spread == SPREAD_CONN) foresee(c->worker, e, &s);
    }
}

/* What comes behind may depend on a SELECT among the commands that will run when the answer is there. */
static void wait_behind(struct conn *c)
{
    c->flags |= CONN_WAIT_ORDER | CONN_RAN;
    c->skip_batch = c->worker->batch_id;
}

/* On this shard, behind transactions that have spoken for its keys. */
static bool exec_waits(struct conn *c, struct multi *m, struct join *j)
{
    struct worker *w = c->worker;
    struct wait wait;
    if (!must_wait(w, &m->queue, c->id, &wait)) return false;
    struct exec_job *job = mem_alloc(MEM_REPLY, sizeof *job);
    *job = (struct exec_job){.q = {.conn_id = c->id,
                                   .conn_index = c->index,
                                   .from = w->index,
                                   .proto = c->session.proto},
                             .queue = m->queue};
    buf_init(&m->queue, MEM_REPLY);
    job->q.pend = conn__pend(c, 1, NULL);
    conn__pend_at(c, job->q.pend)->join = j;
    m->watched = 0; /* it travels with the job */
    end_multi(c);
    w->txn.waits++;
    if (j != NULL) wait_behind(c);
    wait__queue(w, &wait, exec_of_ours, job);
    return true;
}

static void exec_here(struct conn *c, struct multi *m, struct join *j, struct reply *reply)
{
    struct worker *w = c->worker;
    if (exec_waits(c, m, j)) return;
    struct buf out;
    buf_init(&out, MEM_REPLY);
    struct reply apart = {.out = &out, .proto = reply->proto};
    run_body(w, &m->queue, j == NULL ? reply : &apart);
    if (w->core.gate_lsn > c->gate_lsn) c->gate_lsn = w->core.gate_lsn;
    m->watched = 0; /* forgotten there */
    end_multi(c);
    if (core_must_serve(&w->core)) core_serve(&w->core);
    if (j == NULL) return;
    uint32_t number = conn__pend(c, 1, NULL);
    conn__pend_at(c, number)->join = j;
    multi__join(c, number, buf_bytes(&out));
    buf_free(&out);
}

static void exec_there(struct conn *c, struct multi *m, struct join *j, uint32_t shard)
{
    struct msg_request r = {.kind = MSG_EXEC,
                            .proto = c->session.proto,
                            .hash = m->queue.len,
                            .block = m->queue.data,
                            .block_bytes = m->queue.cap};
    buf_init(&m->queue, MEM_REPLY); /* the memory is the message's */
    place__send(c, shard, &r);
    conn__pend_at(c, r.pend)->join = j;
    m->watched = 0;
    end_multi(c);
    if (j != NULL) wait_behind(c);
}

/* The others stand, and go on in here. */
static void exec_span(struct conn *c, struct multi *m, struct join *j, struct reply *reply)
{
    struct worker *w = c->worker;
    struct buf out;
    buf_init(&out, MEM_REPLY);
    struct reply all = {.out = &out, .proto = reply->proto};
    run_body_span(w, m, &all);
    struct hold hold;
    span__end(w, w->span.mask | m->watched, &hold);
    m->watched = 0;
    end_multi(c);
    if (j == NULL && hold.shards == 0) {
        reply_raw(reply, buf_bytes(&out));
    } else {
        uint32_t place = conn__pend(c, 1, NULL);
        conn__pend_at(c, place)->join = j;
        if (j != NULL && hold.shards != 0) wait_behind(c);
        hold_answer(c, place, &hold, buf_bytes(&out));
    }
    buf_free(&out);
}

/* In cluster mode: all keys are of one slot, and it is served here still. False: replied. */
static bool is_served_here(struct conn *c, struct multi *m, struct reply *reply)
{
    struct worker *w = c->worker;
    uint16_t slot = SLOTMAP_NONE;
    bool served = true;
    for (size_t at = sizeof(struct body); served && at < m->queue.len;) {
        struct entry *e = entry_at(&m->queue, at);
        struct arena_mark mark = arena_mark(&w->args);
        struct request rq = request_of(w, e);
        served = cluster_admits_next(w, &rq, &slot, reply);
        arena_rewind(&w->args, mark);
        at += e->bytes;
    }
    return served;
}

void multi__exec(struct call *call)
{
    struct conn *c = call_conn(call);
    struct multi *m = c->multi;
    uint64_t shards;
    if (!(c->flags & CONN_MULTI)) {
        reply_error(call->reply, "ERR EXEC without MULTI");
        return;
    }
    if (unlikely(c->worker->map != NULL) && !is_served_here(c, m, call->reply)) {
        struct hold nothing;
        if (multi__spans(c, &shards)) span__end(c->worker, 0, &nothing); /* the others go on */
        multi__reset(c);
        return;
    }
    if (m->aborted) {
        reply_error(call->reply, ABORTED " previous errors.");
        multi__reset(c);
        return;
    }
    const struct body *b = body_of(&m->queue);
    shards = m->keys | m->watched;
    fill_in(c, m);
    struct join *j = b->count > b->data_count ? join_new(&m->queue) : NULL;
    if (multi__spans(c, &shards))
        exec_span(c, m, j, call->reply);
    else if (shards == 0 || shards == UINT64_C(1) << c->worker->index)
        exec_here(c, m, j, call->reply);
    else
        exec_there(c, m, j, (uint32_t)__builtin_ctzll(shards));
    if (!(c->flags & CONN_CLOSING) && m->rests) wait_behind(c);
}

bool multi__spans(const struct conn *c, uint64_t *shards_out)
{
    const struct multi *m = c->multi;
    if (!(c->flags & CONN_MULTI) || m->aborted) return false;
    *shards_out = m->keys | m->watched;
    return (*shards_out & (*shards_out - 1)) != 0;
}

void multi__refuse_exec(struct conn *c, struct reply *reply, const char *why)
{
    reply_errorf(reply, ABORTED ": %s", why);
    multi__reset(c);
}

/* ---- the other commands */

static void run_multi(struct call *call)
{
    struct conn *c = call_conn(call);
    if (c->flags & CONN_MULTI) {
        reply_error(call->reply, "ERR MULTI calls can not be nested");
        return;
    }
    struct multi *m = get(c);
    struct body head = {.count = 0};
    m->queue.len = 0;
    buf_add(&m->queue, &head, sizeof head);
    m->keys = 0;
    m->aborted = false;
    c->flags |= CONN_MULTI;
    reply_ok(call->reply);
}

static void run_discard(struct call *call)
{
    struct conn *c = call_conn(call);
    if (!(c->flags & CONN_MULTI)) {
        reply_error(call->reply, "ERR DISCARD without MULTI");
        return;
    }
    multi__reset(c);
    reply_ok(call->reply);
}

static void watch_there(struct conn *c, uint32_t shard, uint32_t pend, const struct bytes *keys,
                        uint32_t count)
{
    size_t bytes = place__args_bytes(keys, count);
    struct msg_request r = {.kind = MSG_WATCH,
                            .db = c->session.db,
                            .argc = count,
                            .hash = c->multi->watcher,
                            .pend = pend,
                            .part = shard,
                            .block = mem_alloc(MEM_REPLY, bytes),
                            .block_bytes = bytes};
    place__write_args(r.block, keys, count);
    place__send_part(c, shard, &r);
}

/* The keys of one shard among those of a WATCH, in w->args. */
static uint32_t keys_of_shard(struct worker *w, const struct call *call, uint32_t shard,
                              struct bytes *keys)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < call->argc; i++)
        if (slot_shard(slot_of_key(call->argv[i]), w->core.count) == shard)
            keys[n++] = call->argv[i];
    return n;
}

static void run_watch(struct call *call)
{
    struct conn *c = call_conn(call);
    struct worker *w = c->worker;
    if (c->flags & CONN_MULTI) {
        reply_error(call->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    struct multi *m = get(c);
    if (m->watched == 0) m->watcher = ++w->watchers * SHARDS_MAX + w->index;
    struct bytes *keys = arena_alloc(&w->args, call->argc * sizeof *keys);
    uint64_t shards = 0;
    for (uint32_t i = 1; i < call->argc; i++)
        shards |= UINT64_C(1) << slot_shard(slot_of_key(call->argv[i]), w->core.count);
    m->watched |= shards;
    /* Not at one moment: a change after the first has heard of it and before the last has is one all the same. */
    struct merge *merge = merge__new(SPREAD_ALL_OK, w->core.count, 0, c->session.proto);
    merge->left = (uint32_t)__builtin_popcountll(shards);
    uint32_t pend = conn__pend(c, merge->left, merge);
    for (uint64_t left = shards; left != 0; left &= left - 1) {
        uint32_t s = (uint32_t)__builtin_ctzll(left), n = keys_of_shard(w, call, s, keys);
        if (s != w->index) watch_there(c, s, pend, keys, n);
    }
    if (!(shards >> w->index & 1)) return;
    uint32_t n = keys_of_shard(w, call, w->index, keys);
    merge__part(c, pend, merge, w->index, watch_here(w, m->watcher, c->session.db, keys, n));
}

static void run_unwatch(struct call *call)
{
    unwatch(call_conn(call));
    reply_ok(call->reply);
}

// clang-format off
#define ROW .acl = ACL_TRANSACTION, .group = "transactions"
#define FLAGS (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define QUICK (FLAGS | CMD_FAST | CMD_ALLOW_BUSY)
static const struct cmd_spec rows[] = {
    {.name = "DISCARD", .run_conn = run_discard, .arity = 1, .flags = QUICK | CMD_AT_ONCE, ROW, .since = "2.0.0", .complexity = "O(N), N the number of queued commands", .summary = "Forgets a transaction and what is watched.", .syntax = ""},
    {.name = "EXEC", .run_conn = multi__exec, .arity = 1, .flags = FLAGS | CMD_SKIP_SLOWLOG | CMD_AT_ONCE, ROW, .since = "1.2.0", .complexity = "Depends on the commands in the transaction", .summary = "Runs the queued commands, unless a watched key changed.", .syntax = ""},
    {.name = "MULTI", .run_conn = run_multi, .arity = 1, .flags = QUICK | CMD_AT_ONCE, ROW, .since = "1.2.0", .complexity = "O(1)", .summary = "Begins a transaction: commands are queued until EXEC.", .syntax = ""},
    {.name = "UNWATCH", .run_conn = run_unwatch, .arity = 1, .flags = QUICK, ROW, .since = "2.2.0", .complexity = "O(1)", .summary = "Forgets what is watched.", .syntax = ""},
    {.name = "WATCH", .run_conn = run_watch, .arity = -2, .flags = QUICK | CMD_AT_ONCE, ROW, .keys = {1, -1, 1}, .key_flags = KEY_RO, .since = "2.2.0", .complexity = "O(1) for every key", .summary = "Lets the next EXEC run nothing if one of the keys changes before.", .syntax = "key [key ...]"},
};
// clang-format on

const struct cmd_table multi_cmds = {.rows = rows, .count = COUNT_OF(rows)};
