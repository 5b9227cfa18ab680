/* A connection's bytes: received views are parsed in place; what is left over is copied once. Replies are
 * appended to `out`, or to `held` while an earlier answer of another shard is outstanding; one send per
 * connection and pass, buffers swapped, not copied, while it is in flight. */
#include "node/conn.h"

#include <stdio.h>
#include <unistd.h>

#include "node/block.h"
#include "node/commands.h"
#include "node/config.h"
#include "node/conn_priv.h"
#include "shard/base/log.h"
#include "shard/resp/value.h"
#include "shard/rt/sock.h"

#define IN_PAUSE_BYTES                                                                             \
    (4 * PASS_CONN_BYTES_MAX) /* a connection that may not be parsed stops reading here */
#define IDLE_KEEP_BYTES 512   /* buffers above this are given back after a quiet second */

/* ---- life */

static void on_data(struct io_stream *s, const uint8_t *data, size_t len);
static void on_close(struct io_stream *s, int32_t err);
static void on_sent(struct io_stream *s, int32_t err);
static void on_gone(struct io_stream *s);
static const struct io_stream_events conn_events = {
    .on_data = on_data, .on_close = on_close, .on_sent = on_sent, .on_gone = on_gone};

static uint32_t take_index(struct worker *w)
{
    if (w->conns_free_count == 0) {
        uint32_t old = w->conns_cap, cap = old == 0 ? 64 : old * 2;
        w->conns = mem_resize(MEM_CONN, w->conns, old * sizeof *w->conns, cap * sizeof *w->conns);
        w->conns_free = mem_resize(MEM_CONN, w->conns_free, old * sizeof *w->conns_free,
                                   cap * sizeof *w->conns_free);
        memset(w->conns + old, 0, (cap - old) * sizeof *w->conns);
        for (uint32_t i = cap; i > old; i--)
            w->conns_free[w->conns_free_count++] = i - 1;
        w->conns_cap = cap;
    }
    return w->conns_free[--w->conns_free_count];
}

struct conn *conn__open(struct worker *w, int fd, bool is_unix)
{
    struct conn *c = mem_zalloc(MEM_CONN, sizeof *c);
    c->stream.events = &conn_events;
    c->collects_tail = &c->collects;
    c->worker = w;
    c->flags = is_unix ? CONN_UNIX : 0;
    c->id = atomic_fetch_add_explicit(&node.next_client_id, 1, memory_order_relaxed);
    c->session = (struct session){.proto = 2, .authenticated = config.requirepass[0] == 0};
    buf_init(&c->in, MEM_CONN);
    buf_init(&c->out, MEM_CONN);
    buf_init(&c->sending, MEM_CONN);
    buf_init(&c->held, MEM_CONN);
    c->created_ms = c->active_ms = reactor_now_ms(&w->core.reactor);
    sock_peer_name(fd, c->peer, sizeof c->peer);
    sock_local_name(fd, c->local, sizeof c->local);
    if (!is_unix) {
        sock_set_nodelay(fd);
        sock_set_keepalive(fd, config.tcp_keepalive_s);
    }
    enum rc rc = w->core.io->ops->stream_open(w->core.io, &c->stream, fd);
    if (rc != RC_OK) {
        log_warning("net", "cannot receive on an accepted connection: %s", rc_text(rc));
        (void)close(fd);
        mem_free(MEM_CONN, c, sizeof *c);
        atomic_fetch_sub_explicit(&node.clients, 1, memory_order_relaxed);
        return NULL;
    }
    c->index = take_index(w);
    w->conns[c->index] = c;
    stat_bump32(&w->conns_count, 1);
    stat_bump(&w->core.stats.connections_received, 1);
    return c;
}

static void free_text(char *text)
{
    if (text != NULL) mem_free(MEM_CONN, text, strlen(text) + 1);
}

static void on_gone(struct io_stream *s)
{
    struct conn *c = container_of(s, struct conn, stream);
    buf_free(&c->in);
    buf_free(&c->out);
    buf_free(&c->sending);
    buf_free(&c->held);
    mem_free(MEM_CONN, c->marks, c->marks_cap * sizeof *c->marks);
    mem_free(MEM_CONN, c->pends, c->pends_cap * sizeof *c->pends);
    mem_free(MEM_CONN, c->far_bytes, node.shards * sizeof *c->far_bytes);
    free_text(c->session.name);
    free_text(c->session.lib_name);
    free_text(c->session.lib_ver);
    mem_free(MEM_CONN, c, sizeof *c);
}

/* Takes c out of a singly linked list threaded through `next`. */
#define UNLINK(list_head, c, next)                                                                 \
    do {                                                                                           \
        struct conn **link_ = &(list_head);                                                        \
        while (*link_ != NULL && *link_ != (c))                                                    \
            link_ = &(*link_)->next;                                                               \
        if (*link_ != NULL) *link_ = (c)->next;                                                    \
    } while (0)

void conn_close_now(struct conn *c)
{
    if (c->flags & CONN_CLOSING) return;
    struct worker *w = c->worker;
    if (c->flags & CONN_DIRTY) UNLINK(w->dirty, c, dirty_next);
    if (c->flags & CONN_GATED) UNLINK(w->gated, c, gated_next);
    if (c->is_collected) UNLINK(w->txn.collected, c, collected_next);
    if (c->flags & CONN_WAIT_ROOM) place__leave_room(w, c);
    if (c->flags & CONN_WAIT_KEYS) block__close(c);
    /* The ready list and the batch may be under way: they skip what is closing; settle unlinks it. */
    c->flags = (c->flags & (CONN_READY | CONN_UNIX)) | CONN_CLOSING;
    for (uint32_t i = 0; i < c->pends_count; i++) {
        struct pend *p = &c->pends[(c->pends_head + i) & (c->pends_cap - 1)];
        if (p->merge != NULL) place__merge_drop(p->merge);
        if (p->join != NULL) multi__join_drop(p->join);
        p->merge = NULL;
        p->join = NULL;
        place__drop_returned(p->returned);
    }
    collect__drop_all(c);
    multi__close(c);
    w->returned -= c->returned_count;
    c->pends_count = c->returned_count = 0;
    w->conns[c->index] = NULL;
    w->conns_free[w->conns_free_count++] = c->index;
    stat_bump32(&w->conns_count, UINT32_MAX);
    atomic_fetch_sub_explicit(&node.clients, 1, memory_order_relaxed);
    if (!(c->flags & CONN_READY)) w->core.io->ops->stream_close(w->core.io, &c->stream);
}

void conn_close_after_reply(struct conn *c)
{
    c->flags |= CONN_CLOSE_AFTER_REPLY;
    conn__dirty(c);
}

size_t conn_memory_bytes(const struct conn *c)
{
    return sizeof *c + c->in.cap + c->out.cap + c->sending.cap + c->held.cap +
           c->marks_cap * sizeof *c->marks + c->pends_cap * sizeof *c->pends + multi_bytes(c);
}

/* ---- input */

void conn__ready(struct conn *c)
{
    if (c->flags & (CONN_READY | CONN_CLOSING | CONN_WAITS | CONN_CLOSE_AFTER_REPLY)) return;
    c->flags |= CONN_READY;
    c->drained = false;
    c->ready_next = NULL;
    *c->worker->ready_tail = c;
    c->worker->ready_tail = &c->ready_next;
}

static bool is_blocked(const struct conn *c)
{
    return c->flags & (CONN_WAITS | CONN_CLOSE_AFTER_REPLY);
}

/* A request larger than the bound is read to its end: nothing of it can run before. */
static void pause_if_long(struct conn *c)
{
    if ((c->flags & CONN_RECV_PAUSED) || c->in.len < IN_PAUSE_BYTES) return;
    if (!is_blocked(c) && c->in.len < c->parser.bytes_wanted) return;
    c->flags |= CONN_RECV_PAUSED;
    c->worker->core.io->ops->stream_pause(c->worker->core.io, &c->stream);
}

void conn__throttle(struct conn *c)
{
    bool waits = is_blocked(c) || (c->flags & CONN_READY);
    if (waits && c->in.len >= IN_PAUSE_BYTES / 2) {
        pause_if_long(c);
        return;
    }
    if (!(c->flags & CONN_RECV_PAUSED) || is_blocked(c)) return;
    c->flags &= ~(uint32_t)CONN_RECV_PAUSED;
    c->worker->core.io->ops->stream_resume(c->worker->core.io, &c->stream);
}

static void on_data(struct io_stream *s, const uint8_t *data, size_t len)
{
    struct conn *c = container_of(s, struct conn, stream);
    if (c->flags & (CONN_CLOSING | CONN_CLOSE_AFTER_REPLY)) {
        c->flags |= CONN_UNHEARD;
        return;
    }
    struct worker *w = c->worker;
    c->in_bytes += len;
    stat_bump(&w->core.stats.net_in_bytes, len);
    c->active_ms = reactor_now_ms(&w->core.reactor);
    if (c->in.len == 0 && c->chunk == NULL) {
        c->chunk = data;
        c->chunk_len = len;
    } else {
        if (c->chunk != NULL) buf_add(&c->in, c->chunk, c->chunk_len);
        c->chunk = NULL;
        if (c->in.len + len > config.client_query_buffer_limit) {
            log_warning("net",
                        "closing client id=%llu addr=%s: query buffer over "
                        "client-query-buffer-limit (%llu)",
                        (unsigned long long)c->id, c->peer,
                        (unsigned long long)config.client_query_buffer_limit);
            conn_close_now(c);
            return;
        }
        buf_add(&c->in, data, len);
        pause_if_long(c);
        /* Bytes known to be useless yet: a large bulk is coming in pieces. */
        if (c->consumed == 0 && c->in.len < c->parser.bytes_wanted) return;
    }
    conn__ready(c);
    /* Blocked: settle must still move the view before the turn's buffers go back. */
    if (!(c->flags & CONN_READY) && c->chunk != NULL) {
        buf_add(&c->in, c->chunk, c->chunk_len);
        c->chunk = NULL;
    }
}

/* The peer sends no more. What it sent before is still run and answered, as Redis answers what it read
 * before the end; then the connection closes. */
void conn__close_if_drained(struct conn *c)
{
    if (c->flags & CONN_WAIT_KEYS)
        conn_close_now(c); /* nobody is there to be given what comes */
    else if (!(c->flags & (CONN_READY | CONN_WAITS)))
        conn_close_after_reply(c);
}

static void on_close(struct io_stream *s, int32_t err)
{
    struct conn *c = container_of(s, struct conn, stream);
    if (err != 0) {
        conn_close_now(c);
        return;
    }
    c->flags |= CONN_EOF;
    conn__close_if_drained(c);
}

static struct queued *queue(struct worker *w, struct conn *c)
{
    struct queued *q = &w->batch[w->batch_count++];
    q->conn = c;
    q->bad = NULL;
    q->end = c->parsed;
    q->rq.argc = 0;
    q->rq.spec = NULL;
    q->rq.no_touch = false;
    return q;
}

static inline void prepare(struct worker *w, struct conn *c, struct queued *q,
                           const struct resp_request *in)
{
    struct request *rq = &q->rq;
    rq->argv = in->argv;
    rq->argc = in->argc;
    rq->wire_bytes = (uint32_t)(in->wire_bytes > UINT32_MAX ? UINT32_MAX : in->wire_bytes);
    rq->key.slot = 0;
    const struct cmd_spec *spec = commands_find(in->argv[0]);
    if (spec != NULL && unlikely(spec->subs != NULL) && in->argc > 1) {
        const struct cmd_spec *sub = commands_find_sub(spec, in->argv[1]);
        if (sub != NULL) spec = sub;
    }
    rq->spec = spec;
    if (spec == NULL || spec->keys.first <= 0 || (uint32_t)spec->keys.first >= in->argc) return;
    rq->key = db_key(c->session.db, in->argv[spec->keys.first]);
    if (slot_shard(rq->key.slot, w->core.count) == w->index) db_prefetch_slot(w->core.ks, &rq->key);
}

/* The parser's text is good until its next error, which another connection of this batch may make. */
static const char *keep_text(struct arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(arena_alloc(arena, bytes), text, bytes);
}

bool conn__fill(struct worker *w, struct conn *c)
{
    struct resp_limits limits = {
        .multibulk_max = c->session.authenticated ? MULTIBULK_MAX : MULTIBULK_UNAUTH_MAX,
        .bulk_max = c->session.authenticated ? (int64_t)config.proto_max_bulk_len : BULK_UNAUTH_MAX,
        .authenticated = c->session.authenticated,
    };
    /* Stalled in an earlier batch of this pass, and free again: first what was not run, from the next pass on. */
    if (unlikely(c->parsed != c->consumed)) return true;
    for (;;) {
        if (c->flags & (CONN_CLOSING | CONN_WAITS | CONN_CLOSE_AFTER_REPLY)) return true;
        if (c->pass_bytes >= PASS_CONN_BYTES_MAX || c->pass_commands >= PASS_CONN_COMMANDS_MAX)
            return true;
        if (w->batch_count == BATCH_MAX) return false;
        const uint8_t *in = c->chunk != NULL ? c->chunk : c->in.data;
        size_t len = c->chunk != NULL ? c->chunk_len : c->in.len;
        c->drained = c->parsed >= len;
        if (c->drained) return true;
        struct resp_request request;
        switch (
            resp_parse(&c->parser, &limits, &w->args, in + c->parsed, len - c->parsed, &request)) {
        case RESP_MORE:
            c->drained = true;
            return true;
        case RESP_BAD:
            queue(w, c)->bad =
                keep_text(&w->args, c->parser.error); /* closes when its turn comes */
            c->drained = true;
            return true;
        case RESP_DONE:
            break;
        }
        c->parsed += request.wire_bytes;
        c->pass_bytes +=
            (uint32_t)(request.wire_bytes > UINT32_MAX / 2 ? UINT32_MAX / 2 : request.wire_bytes);
        c->pass_commands++;
        struct queued *q = queue(w, c);
        if (request.argc > 0) prepare(w, c, q, &request);
        /* Limits may change with this very command. */
        if (unlikely(!c->session.authenticated)) return true;
    }
}

void conn__settle(struct conn *c)
{
    if (c->flags & CONN_CLOSING) return;
    if (c->chunk != NULL) {
        if (c->consumed < c->chunk_len)
            buf_add(&c->in, c->chunk + c->consumed, c->chunk_len - c->consumed);
        c->chunk = NULL;
    } else if (c->consumed > 0) {
        if (c->consumed == c->in.len)
            c->in.len = 0;
        else
            buf_consume(&c->in, c->consumed);
    }
    c->parsed = c->consumed = 0;
    c->pass_bytes = c->pass_commands = 0;
    if (c->in.len == 0 && c->in.cap > FREE_SLICE_BYTES) buf_shrink(&c->in, 0);
}

void conn__unblock(struct conn *c, uint32_t flag)
{
    c->flags &= ~flag;
    if (c->flags & (CONN_WAITS | CONN_CLOSING)) return;
    if ((c->flags & CONN_RECV_PAUSED) && c->in.len < IN_PAUSE_BYTES) {
        c->flags &= ~(uint32_t)CONN_RECV_PAUSED;
        c->worker->core.io->ops->stream_resume(c->worker->core.io, &c->stream);
    }
    if (c->in.len > 0) conn__ready(c);
    if (c->flags & CONN_EOF) conn__close_if_drained(c);
}

/* ---- order of replies */

static void mark_gate(struct conn *c, size_t start)
{
    struct worker *w = c->worker;
    if (c->gate_lsn <= core_released(&w->core)) return;
    uint64_t end = c->out_begin + c->out.len;
    if (c->marks_count > 0) {
        struct gate_mark *last =
            &c->marks[(c->marks_head + c->marks_count - 1) & (c->marks_cap - 1)];
        if (last->lsn == c->gate_lsn) {
            last->end = end;
            return;
        }
    } else {
        c->open_end = c->out_begin + start;
    }
    if (c->marks_count == c->marks_cap) {
        uint32_t cap = c->marks_cap == 0 ? 8 : c->marks_cap * 2;
        struct gate_mark *marks = mem_alloc(MEM_CONN, cap * sizeof *marks);
        for (uint32_t i = 0; i < c->marks_count; i++)
            marks[i] = c->marks[(c->marks_head + i) & (c->marks_cap - 1)];
        mem_free(MEM_CONN, c->marks, c->marks_cap * sizeof *c->marks);
        c->marks = marks;
        c->marks_cap = cap;
        c->marks_head = 0;
    }
    c->marks[(c->marks_head + c->marks_count++) & (c->marks_cap - 1)] =
        (struct gate_mark){.end = end, .lsn = c->gate_lsn};
    if (!(c->flags & CONN_GATED)) {
        c->flags |= CONN_GATED;
        c->gated_next = w->gated;
        w->gated = c;
    }
}

static struct pend *push_pend(struct conn *c)
{
    if (c->pends_count == c->pends_cap) {
        uint32_t cap = c->pends_cap == 0 ? 16 : c->pends_cap * 2;
        struct pend *pends = mem_alloc(MEM_CONN, cap * sizeof *pends);
        for (uint32_t i = 0; i < c->pends_count; i++) {
            uint32_t number = c->pends_head + i;
            pends[number & (cap - 1)] = c->pends[number & (c->pends_cap - 1)];
        }
        mem_free(MEM_CONN, c->pends, c->pends_cap * sizeof *c->pends);
        c->pends = pends;
        c->pends_cap = cap;
    }
    struct pend *p = &c->pends[(c->pends_head + c->pends_count++) & (c->pends_cap - 1)];
    *p = (struct pend){.parts_left = 0};
    return p;
}

/* Something that c has been told, or will be, is not safe in this shard's log. */
static inline bool is_gated(const struct conn *c)
{
    const struct core *core = &c->worker->core;
    return unlikely(core->waits) && c->gate_lsn > core_released(core);
}

void conn__reply_end(struct conn *c, const struct reply *r, size_t start)
{
    struct buf *to = r->out;
    if (unlikely(c->session.reply_mode != REPLY_ON)) {
        bool drop = c->session.reply_mode == REPLY_OFF || c->session.reply_mode == REPLY_SKIP_THIS;
        if (c->session.reply_mode == REPLY_SKIP_NEXT) {
            c->session.reply_mode = REPLY_SKIP_THIS;
            drop = true; /* CLIENT REPLY SKIP itself is silent */
        } else if (c->session.reply_mode == REPLY_SKIP_THIS) {
            c->session.reply_mode = REPLY_ON;
        }
        if (drop) to->len = start;
    }
    if (to->len == start) return;
    if (likely(to == &c->out)) {
        if (unlikely(c->worker->core.waits)) mark_gate(c, start);
        conn__dirty(c);
        return;
    }
    struct pend *last = &c->pends[(c->pends_head + c->pends_count - 1) & (c->pends_cap - 1)];
    size_t len = to->len - start;
    if (last->parts_left == 0 && last->off + last->len == start) {
        last->len += len;
        last->gated |= is_gated(c);
        return;
    }
    struct pend *p = push_pend(c);
    p->off = start;
    p->len = len;
    p->gated = is_gated(c);
}

uint32_t conn__pend(struct conn *c, uint32_t parts, struct merge *merge)
{
    struct pend *p = push_pend(c);
    c->pends_shard = PENDS_MIXED; /* unless the caller knows better */
    p->parts_left = parts;
    p->merge = merge;
    p->muted = c->session.reply_mode == REPLY_OFF || c->session.reply_mode == REPLY_SKIP_THIS;
    if (c->session.reply_mode == REPLY_SKIP_THIS) c->session.reply_mode = REPLY_ON;
    return c->pends_head + c->pends_count - 1;
}

struct pend *conn__pend_at(struct conn *c, uint32_t number)
{
    if (number - c->pends_head >= c->pends_count) return NULL;
    return &c->pends[number & (c->pends_cap - 1)];
}

static void append_out(struct conn *c, const uint8_t *data, size_t len)
{
    if (len == 0) return;
    size_t start = c->out.len;
    buf_add(&c->out, data, len);
    if (unlikely(c->worker->core.waits)) mark_gate(c, start);
    conn__dirty(c);
}

/* Its answer is in out, and so is all that only waited for it. */
static void leave_head(struct conn *c)
{
    c->pends_head++;
    c->pends_count--;
    while (c->pends_count > 0) {
        const struct pend *p = &c->pends[c->pends_head & (c->pends_cap - 1)];
        if (p->parts_left > 0) return;
        append_out(c, c->held.data + p->off, p->len);
        c->pends_head++;
        c->pends_count--;
    }
    c->held.len = 0;
    /* A muted answer left nothing to send that would lead to the close. */
    if (unlikely(c->flags & CONN_CLOSE_AFTER_REPLY)) conn__dirty(c);
    if (c->flags & CONN_WAIT_ORDER) conn__unblock(c, CONN_WAIT_ORDER);
}

void conn__answer(struct conn *c, uint32_t number, struct bytes wire)
{
    struct pend *p = conn__pend_at(c, number);
    if (p == NULL) return;
    assert(p->parts_left > 0);
    p->parts_left = 0;
    p->merge = NULL;
    p->collect = NULL;
    if (p->muted) wire.len = 0;
    if (number != c->pends_head) {
        p->off = c->held.len;
        p->len = wire.len;
        p->gated = is_gated(c);
        buf_add(&c->held, wire.data, wire.len);
        return;
    }
    append_out(c, wire.data, wire.len);
    leave_head(c);
}

bool conn__is_next(struct conn *c, uint32_t number)
{
    return number == c->pends_head && !conn__pend_at(c, number)->muted;
}

void conn__answered(struct conn *c, size_t start)
{
    if (unlikely(c->worker->core.waits)) mark_gate(c, start);
    conn__dirty(c);
    leave_head(c);
}

/* ---- output */

void conn__dirty(struct conn *c)
{
    if (c->flags & (CONN_DIRTY | CONN_CLOSING)) return;
    c->flags |= CONN_DIRTY;
    c->dirty_next = c->worker->dirty;
    c->worker->dirty = c;
}

/* All that was owed is with the kernel. */
static void end(struct conn *c)
{
    if (likely(c->worker->stage == WORKER_RUNS))
        conn_close_now(c);
    else
        stop__farewell(c);
}

static bool over_output_limit(struct conn *c)
{
    size_t bytes = conn_output_bytes(c);
    uint64_t hard = config.output_limit[CLIENT_NORMAL].hard,
             soft = config.output_limit[CLIENT_NORMAL].soft;
    if (hard != 0 && bytes > hard) return true;
    if (soft == 0 || bytes <= soft) {
        c->soft_since_ms = 0;
        return false;
    }
    int64_t now = reactor_now_ms(&c->worker->core.reactor);
    if (c->soft_since_ms == 0) c->soft_since_ms = now;
    return now - c->soft_since_ms > (int64_t)config.output_limit[CLIENT_NORMAL].soft_seconds * 1000;
}

static void send_prefix(struct conn *c, size_t len)
{
    assert(!(c->flags & CONN_SENDING));
    c->sending.len = 0;
    if (len == c->out.len) {
        struct buf swap = c->sending;
        c->sending = c->out;
        c->out = swap;
    } else {
        buf_add(&c->sending, c->out.data, len);
        buf_consume(&c->out, len);
    }
    c->out_begin += len;
    c->out_bytes += len;
    stat_bump(&c->worker->core.stats.net_out_bytes, len);
    c->flags |= CONN_SENDING;
    struct io *io = c->worker->core.io;
    io->ops->stream_send(io, &c->stream, c->sending.data, c->sending.len);
}

void conn__flush(struct conn *c)
{
    if (c->flags & CONN_CLOSING) return;
    if (unlikely(over_output_limit(c))) {
        log_warning("net",
                    "closing client id=%llu addr=%s: output buffer of %zu bytes over "
                    "client-output-buffer-limit",
                    (unsigned long long)c->id, c->peer, conn_output_bytes(c));
        conn_close_now(c);
        return;
    }
    if (c->flags & CONN_SENDING) return;
    size_t may = c->marks_count > 0 ? (size_t)(c->open_end - c->out_begin) : c->out.len;
    if (may > 0)
        send_prefix(c, may);
    else if ((c->flags & CONN_CLOSE_AFTER_REPLY) && c->out.len == 0 && c->pends_count == 0)
        end(c);
    if (unlikely(conn_output_bytes(c) > OUT_PAUSE_BYTES)) c->flags |= CONN_WAIT_OUTPUT;
}

static void on_sent(struct io_stream *s, int32_t err)
{
    struct conn *c = container_of(s, struct conn, stream);
    c->flags &= ~(uint32_t)CONN_SENDING;
    c->sending.len = 0;
    if (err != 0) {
        conn_close_now(c);
        return;
    }
    c->active_ms = reactor_now_ms(&c->worker->core.reactor);
    if (c->sending.cap > OUT_RESUME_BYTES) buf_shrink(&c->sending, 0);
    if (c->out.len > 0 || (c->flags & CONN_CLOSE_AFTER_REPLY)) conn__dirty(c);
    if (unlikely(c->returned_count > 0))
        place__resend(c);
    else if ((c->flags & CONN_WAIT_OUTPUT) && conn_output_bytes(c) < OUT_RESUME_BYTES)
        conn__unblock(c, CONN_WAIT_OUTPUT);
}

static bool pass_marks(struct conn *c, uint64_t lsn)
{
    while (c->marks_count > 0) {
        struct gate_mark *m = &c->marks[c->marks_head & (c->marks_cap - 1)];
        if (m->lsn > lsn) return false;
        c->open_end = m->end;
        c->marks_head++;
        c->marks_count--;
    }
    return true;
}

void conn__durable(struct worker *w, uint64_t lsn)
{
    struct conn **link = &w->gated;
    while (*link != NULL) {
        struct conn *c = *link;
        uint32_t before = c->marks_count;
        bool all = pass_marks(c, lsn);
        if (c->marks_count != before) conn__dirty(c);
        if (all) {
            c->flags &= ~(uint32_t)CONN_GATED;
            *link = c->gated_next;
        } else {
            link = &c->gated_next;
        }
    }
}

/* Whole replies, one error for each; pushes among them are no replies. */
static void add_unknown(struct conn *c, const uint8_t *replies, size_t len, struct buf *out)
{
    static const char text[] = OUTCOME_UNKNOWN;
    for (size_t at = 0; at < len;) {
        int64_t one = resp_value_skip(replies + at, len - at);
        assert(one > 0);
        bool push = replies[at] == '>';
        if (push)
            buf_add(out, replies + at, (size_t)one);
        else
            buf_add(out, text, sizeof text - 1);
        if (!push) core_count_error(&c->worker->core, (const uint8_t *)text, sizeof text - 1);
        at += (size_t)one;
    }
}

/* The replies behind open_end: marks lie between whole replies. */
static void fail_gated(struct conn *c)
{
    size_t at = (size_t)(c->open_end - c->out_begin);
    struct buf out;
    buf_init(&out, MEM_CONN);
    buf_add(&out, c->out.data, at);
    add_unknown(c, c->out.data + at, c->out.len - at, &out);
    buf_free(&c->out);
    c->out = out;
    c->marks_count = 0;
    c->flags &= ~(uint32_t)CONN_GATED;
    conn__dirty(c);
}

/* And those that wait in order behind another shard's: later nothing would know that they were gated. */
static void fail_pends(struct conn *c, void *unused)
{
    (void)unused;
    if (c->pends_count == 0 || c->held.len == 0) return;
    struct buf held;
    buf_init(&held, MEM_CONN);
    for (uint32_t i = 0; i < c->pends_count; i++) {
        struct pend *p = conn__pend_at(c, c->pends_head + i);
        if (p->parts_left > 0) continue;
        size_t start = held.len;
        if (p->gated)
            add_unknown(c, c->held.data + p->off, p->len, &held);
        else
            buf_add(&held, c->held.data + p->off, p->len);
        p->off = start;
        p->len = held.len - start;
        p->gated = false;
    }
    buf_free(&c->held);
    c->held = held;
}

void conn__fail_gated(struct worker *w)
{
    while (w->gated != NULL) {
        struct conn *c = w->gated;
        w->gated = c->gated_next;
        fail_gated(c);
    }
    worker_each_conn(w, fail_pends, NULL);
}

/* ---- once a second */

/* A deep pipeline once made them long. */
static void shrink_rings(struct conn *c)
{
    if (c->pends_count == 0 && c->pends_cap > 0) {
        mem_free(MEM_CONN, c->pends, c->pends_cap * sizeof *c->pends);
        c->pends = NULL;
        c->pends_cap = 0;
    }
    if (c->marks_count == 0 && c->marks_cap > 0) {
        mem_free(MEM_CONN, c->marks, c->marks_cap * sizeof *c->marks);
        c->marks = NULL;
        c->marks_cap = 0;
    }
}

void conn__cron(struct conn *c, int64_t now_ms)
{
    int64_t idle_ms = now_ms - c->active_ms;
    if (config.timeout_s != 0 && idle_ms > (int64_t)config.timeout_s * 1000 &&
        c->pends_count == 0) {
        log_verbose("net", "closing idle client id=%llu", (unsigned long long)c->id);
        conn_close_now(c);
        return;
    }
    if ((c->flags & CONN_SENDING) && config.client_write_timeout_ms != 0 &&
        idle_ms > (int64_t)config.client_write_timeout_ms && c->out.len > OUT_PAUSE_BYTES) {
        log_warning("net",
                    "closing client id=%llu addr=%s: its replies made no progress for %lld ms",
                    (unsigned long long)c->id, c->peer, (long long)idle_ms);
        conn_close_now(c);
        return;
    }
    if (c->out.len > 0) conn__dirty(c); /* soft limits */
    if (idle_ms < 1000) return;
    if (c->in.len == 0) buf_shrink(&c->in, IDLE_KEEP_BYTES);
    if (c->out.len == 0) buf_shrink(&c->out, IDLE_KEEP_BYTES);
    if (c->held.len == 0) buf_shrink(&c->held, IDLE_KEEP_BYTES);
    if (!(c->flags & CONN_SENDING)) buf_shrink(&c->sending, IDLE_KEEP_BYTES);
    shrink_rings(c);
}
