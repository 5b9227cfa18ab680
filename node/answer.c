/* Answers to requests of other shards: sent by the shard that ran them, taken by the worker whose
 * connection asked. An answer finds its connection by (index, id): either may be gone, then it is
 * dropped.
 *
 * A bound. Nobody knows how large an answer will be before it is made, so requests go out freely, and the
 * shard that answers counts (in a flow) the bytes that are on their way to a connection: those of its
 * answers less those the connection had taken when it sent the request at hand. Over AHEAD_BYTES the shard
 * runs no further request of that connection but gives them back, until one of a new round comes. The
 * connection keeps them at their places in the order of replies, parses nothing more, and when it has no
 * request under way and little unsent output it opens a new round and sends, from the first on, as many as
 * should fit. So requests of one connection stay in order on each shard, memory is bounded by the answers
 * really made, and a connection that reads its small answers pays two numbers per message. */
#include "node/block.h"
#include "node/txn_priv.h"

/* Answers up to this size are bounded by the credit of the mailbox. */
#define COUNTED_BYTES_MIN 4096u
#define AHEAD_BYTES (2u << 20)

struct flow { /* of one connection of a peer */
    uint64_t conn_id;
    uint64_t sent;  /* bytes of counted answers */
    uint32_t round; /* given back */
    bool over;
    bool gives_back; /* requests of `round` */
};

/* ---- on the shard that ran the request */

void answer__push(struct worker *w, uint32_t to, const struct msg_answer *a, struct bytes wire)
{
    struct mailbox *box = w->peers[to].answers_out;
    size_t bytes = sizeof *a + (a->block == NULL ? wire.len : 0);
    struct msg_answer *m = mailbox_reserve(box, bytes);
    assert(m != NULL); /* credit: an answer's room was there when the request was sent */
    *m = *a;
    if (a->block == NULL && wire.len > 0) memcpy(m + 1, wire.data, wire.len);
    mailbox_push(box, bytes);
    w->owes_publish = true;
}

static struct flow *flow_of(struct peer *p, const struct queued *q)
{
    if (q->conn_index >= p->flows_cap) {
        uint32_t old = p->flows_cap, cap = old == 0 ? 64 : old;
        while (cap <= q->conn_index)
            cap *= 2;
        p->flows = mem_resize(MEM_CONN, p->flows, old * sizeof *p->flows, cap * sizeof *p->flows);
        memset(p->flows + old, 0, (cap - old) * sizeof *p->flows);
        p->flows_cap = cap;
    }
    struct flow *f = &p->flows[q->conn_index];
    if (f->conn_id == q->conn_id) return f;
    p->over -= f->over; /* that connection is gone */
    *f = (struct flow){.conn_id = q->conn_id};
    return f;
}

static void count_answer(struct peer *p, const struct queued *q, size_t len)
{
    struct flow *f = flow_of(p, q);
    f->sent += len;
    if (f->over || f->sent - q->taken <= AHEAD_BYTES) return;
    f->over = true;
    p->over++;
}

void answer__took_block(struct worker *w, const struct queued *q)
{
    struct peer *theirs = &node.workers[q->from]->peers[w->index];
    atomic_fetch_sub_explicit(&theirs->block_bytes, q->block_bytes, memory_order_seq_cst);
    w->peers[q->from].owes_wake = true;
}

static void give_back(struct worker *w, const struct queued *q)
{
    if (q->block != NULL) answer__took_block(w, q);
    size_t bytes = q->block != NULL ? 0 : place__args_bytes(q->rq.argv, q->rq.argc);
    struct returned *r = mem_alloc(MEM_REPLY, sizeof *r + bytes);
    *r = (struct returned){.shard = w->index,
                           .inline_bytes = (uint32_t)bytes,
                           .m = {.kind = q->block != NULL ? MSG_BLOCK : MSG_REQUEST,
                                 .db = q->rq.key.db,
                                 .proto = q->proto,
                                 .no_touch = q->rq.no_touch,
                                 .argc = q->rq.argc,
                                 .conn_index = q->conn_index,
                                 .pend = q->pend,
                                 .part = q->part,
                                 .wire_bytes = q->rq.wire_bytes,
                                 .conn_id = q->conn_id,
                                 .hash = q->rq.key.hash,
                                 .spec = q->rq.spec,
                                 .block = q->block,
                                 .block_bytes = q->block_bytes,
                                 .slot = q->rq.key.slot}};
    if (q->block == NULL) place__write_args((uint8_t *)(r + 1), q->rq.argv, q->rq.argc);
    struct msg_answer a = {.conn_id = q->conn_id,
                           .conn_index = q->conn_index,
                           .pend = q->pend,
                           .part = q->part,
                           .kind = ANSWER_RETURNED,
                           .block = (uint8_t *)r,
                           .block_bytes = sizeof *r + bytes};
    answer__push(w, q->from, &a, bytes_view(NULL, 0));
}

bool answer__gave_back(struct worker *w, const struct queued *q)
{
    struct peer *p = &w->peers[q->from];
    if (q->conn_index >= p->flows_cap) return false;
    struct flow *f = &p->flows[q->conn_index];
    if (f->conn_id != q->conn_id || !f->over) return false;
    if (f->gives_back ? f->round == q->round : f->sent - q->taken > AHEAD_BYTES) {
        f->gives_back = true;
        f->round = q->round;
        give_back(w, q);
        return true;
    }
    f->over = f->gives_back = false;
    p->over--;
    return false;
}

bool answer__gives_back(const struct worker *w, uint32_t from, uint32_t conn_index,
                        uint64_t conn_id, uint32_t round)
{
    const struct peer *p = &w->peers[from];
    if (conn_index >= p->flows_cap) return false;
    const struct flow *f = &p->flows[conn_index];
    return f->conn_id == conn_id && f->over && f->gives_back && f->round == round;
}

static void hold_answer(struct worker *w, uint32_t to, const struct msg_answer *a, uint64_t lsn)
{
    struct held_answer *h = mem_alloc(MEM_REPLY, sizeof *h);
    *h = (struct held_answer){.lsn = lsn, .to = to, .answer = *a};
    *w->held_tail = h;
    w->held_tail = &h->next;
}

/* What the command made or saw may not be told yet. */
static bool must_hold(const struct worker *w)
{
    return unlikely(w->core.waits) && w->core.gate_lsn > core_released(&w->core);
}

bool answer__hold_served(struct worker *w, uint32_t to, struct blocked *b)
{
    if (!must_hold(w)) return false;
    struct msg_answer a = {.kind = ANSWER_SERVED, .served = b};
    hold_answer(w, to, &a, w->core.gate_lsn);
    return true;
}

static void let_go(struct worker *w, const struct held_answer *h)
{
    if (unlikely(h->answer.kind == ANSWER_SERVED))
        block__answer(w, h->answer.served);
    else
        answer__push(w, h->to, &h->answer, bytes_view(NULL, 0));
}

static bool fits_ring(const struct worker *w, uint32_t to, const struct msg_answer *a)
{
    if (likely(a->len <= ANSWER_INLINE_MAX)) return true;
    return a->len <= ANSWER_SPARE_MAX &&
           mailbox_has_spare(w->peers[to].answers_out, sizeof *a + a->len);
}

void answer__send(struct worker *w, const struct queued *q, struct buf *out)
{
    struct msg_answer a = {.conn_id = q->conn_id,
                           .conn_index = q->conn_index,
                           .pend = q->pend,
                           .part = q->part,
                           .kind = q->known.hashes != NULL ? ANSWER_COLLECT : ANSWER_REPLY,
                           .len = out->len};
    if (unlikely(out->len >= COUNTED_BYTES_MIN) && a.kind == ANSWER_REPLY) {
        a.counted = out->len;
        count_answer(&w->peers[q->from], q, out->len);
    }
    bool held = must_hold(w);
    if (held || !fits_ring(w, q->from, &a)) {
        a.block = out->data != NULL ? out->data : mem_alloc(MEM_REPLY, 1);
        a.block_bytes = out->data != NULL ? out->cap : 1;
        buf_init(out, MEM_REPLY);
    }
    if (held)
        hold_answer(w, q->from, &a, w->core.gate_lsn);
    else
        answer__push(w, q->from, &a, buf_bytes(out));
    out->len = 0;
}

void answer__part(struct worker *w, uint32_t to, struct txn *t, uint64_t lsn)
{
    struct msg_answer a = {.kind = ANSWER_TXN, .part = w->index, .txn = t};
    if (unlikely(w->core.waits) && lsn > core_released(&w->core))
        hold_answer(w, to, &a, lsn);
    else
        answer__push(w, to, &a, bytes_view(NULL, 0));
}

void place__durable(struct worker *w, uint64_t lsn)
{
    struct held_answer **link = &w->held_head;
    w->held_tail = link;
    while (*link != NULL) {
        struct held_answer *h = *link;
        if (h->lsn <= lsn) {
            let_go(w, h);
            *link = h->next;
            mem_free(MEM_REPLY, h, sizeof *h);
        } else {
            link = &h->next;
            w->held_tail = link;
        }
    }
}

static void fail_answer(struct worker *w, const struct held_answer *h, struct bytes error)
{
    struct msg_answer a = h->answer;
    if (a.kind == ANSWER_SERVED) {
        block__fail(a.served, error);
        block__answer(w, a.served);
        return;
    }
    if (a.kind == ANSWER_TXN) {
        txn__outcome_unknown(a.txn, w->index);
        answer__push(w, h->to, &a, bytes_view(NULL, 0));
        return;
    }
    mem_free(MEM_REPLY, a.block, a.block_bytes);
    a.block = NULL;
    if (a.kind == ANSWER_COLLECT) error = collect__failed(error);
    a.len = error.len;
    answer__push(w, h->to, &a, error);
}

void place__fail_held(struct worker *w)
{
    static const char text[] = OUTCOME_UNKNOWN;
    while (w->held_head != NULL) {
        struct held_answer *h = w->held_head;
        w->held_head = h->next;
        fail_answer(w, h, bytes_view(text, sizeof text - 1));
        mem_free(MEM_REPLY, h, sizeof *h);
    }
    w->held_tail = &w->held_head;
}

/* ---- on the worker that asked */

void place__drop_returned(struct returned *list)
{
    while (list != NULL) {
        struct returned *r = list;
        list = r->next;
        if (r->m.block != NULL) mem_free(MEM_REPLY, r->m.block, r->m.block_bytes);
        mem_free(MEM_REPLY, r, sizeof *r + r->inline_bytes);
    }
}

static void send_returned(struct worker *w, struct conn *c, struct returned *r)
{
    struct peer *p = &w->peers[r->shard];
    struct msg_request *m = mailbox_reserve(p->requests_out, sizeof *m + r->inline_bytes);
    assert(m != NULL); /* the caller looked */
    memcpy(m, &r->m, sizeof *m + r->inline_bytes);
    m->round = c->round;
    m->taken = c->far_bytes != NULL ? c->far_bytes[r->shard] : 0;
    mailbox_push(p->requests_out, sizeof *m + r->inline_bytes);
    mem_free(MEM_REPLY, r, sizeof *r + r->inline_bytes);
    if (m->block != NULL)
        atomic_fetch_add_explicit(&p->block_bytes, m->block_bytes, memory_order_relaxed);
    p->outstanding++;
    w->outstanding++;
    c->due++;
    c->returned_count--;
    w->returned--;
}

/* The places of c from the first on; as many requests as answers like the last one fit, and twice as many in
 * each round that has none so large. */
static void send_round(struct worker *w, struct conn *c)
{
    size_t may = AHEAD_BYTES / (c->far_last > COUNTED_BYTES_MIN ? c->far_last : COUNTED_BYTES_MIN);
    c->far_last /= 2;
    c->round++;
    for (uint32_t i = 0; c->returned_count > 0; i++) {
        struct pend *p = conn__pend_at(c, c->pends_head + i);
        assert(p != NULL);
        while (p->returned != NULL) {
            struct returned *r = p->returned;
            if (c->due > 0 && c->due >= may) return;
            if (!place__has_room(w, r->shard)) {
                place__wait_room(w, c, r->shard);
                return;
            }
            p->returned = r->next;
            send_returned(w, c, r);
        }
    }
}

void place__resend(struct conn *c)
{
    if (c->returned_count == 0 || c->due > 0) return;
    if (c->out.len + c->sending.len >= OUT_RESUME_BYTES) return;
    send_round(c->worker, c);
    if (c->returned_count == 0 && conn_output_bytes(c) < OUT_RESUME_BYTES)
        conn__unblock(c, CONN_WAIT_OUTPUT);
}

static void count_taken(struct conn *c, uint32_t from, uint64_t bytes)
{
    if (c->far_bytes == NULL)
        c->far_bytes = mem_zalloc(MEM_CONN, node.shards * sizeof *c->far_bytes);
    c->far_bytes[from] += bytes;
    c->far_last = bytes;
}

static void keep_returned(struct conn *c, struct pend *p, struct returned *r)
{
    r->next = p->returned;
    p->returned = r;
    c->returned_count++;
    c->worker->returned++;
    c->flags |= CONN_WAIT_OUTPUT;
}

/* True: the block is kept. */
static bool answer_conn(struct worker *w, uint32_t from, const struct msg_answer *a,
                        struct bytes wire)
{
    struct conn *c = a->conn_index < w->conns_cap ? w->conns[a->conn_index] : NULL;
    if (c == NULL || c->id != a->conn_id) return false;
    struct pend *p = conn__pend_at(c, a->pend);
    assert(p != NULL); /* places of a live connection wait for their answers */
    bool kept = a->kind == ANSWER_RETURNED;
    c->due--;
    if (unlikely(a->counted > 0)) count_taken(c, from, a->counted);
    if (unlikely(a->kind == ANSWER_RETURNED))
        keep_returned(c, p, (struct returned *)(void *)a->block);
    else if (a->kind == ANSWER_COLLECT)
        kept = collect__part(w, c, p->collect, from, a);
    else if (p->merge != NULL)
        merge__part(c, a->pend, p->merge, a->part, wire);
    else if (unlikely(p->join != NULL))
        multi__join(c, a->pend, wire);
    else
        conn__answer(c, a->pend, wire);
    if (unlikely(c->returned_count > 0)) place__resend(c);
    return kept;
}

void answer__everywhere(struct worker *w, struct everywhere *e)
{
    if (--e->left > 0) return;
    struct conn *c = e->conn_index < w->conns_cap ? w->conns[e->conn_index] : NULL;
    if (c != NULL && c->id != e->conn_id) c = NULL;
    struct buf joined;
    buf_init(&joined, MEM_REPLY);
    struct reply reply = {
        .out = &joined, .proto = c != NULL ? c->session.proto : 2, .muted = c == NULL};
    struct call call = {.spec = e->spec, .reply = &reply, .conn = c};
    struct bytes parts[SHARDS_MAX];
    for (uint32_t i = 0; i < e->count; i++)
        parts[i] = buf_bytes(&e->out[i]);
    e->join(&call, e->arg, parts, e->count);
    if (c != NULL && !(c->flags & CONN_CLOSING)) {
        if (e->in_exec)
            multi__element(c, e->pend, e->element, buf_bytes(&joined));
        else
            conn__answer(c, e->pend, buf_bytes(&joined));
    }
    buf_free(&joined);
    for (uint32_t i = 0; i < e->count; i++)
        buf_free(&e->out[i]);
    mem_free(MEM_REPLY, e, sizeof *e);
}

static void take_answer(struct worker *w, uint32_t from, const struct msg_answer *a)
{
    if (unlikely(a->kind == ANSWER_EVERYWHERE)) {
        answer__everywhere(w, a->everywhere);
        return;
    }
    if (a->kind == ANSWER_TXN) {
        txn__answered(w, a->txn);
        return;
    }
    const uint8_t *reply = a->block != NULL ? a->block : (const uint8_t *)(a + 1);
    if (answer_conn(w, from, a, bytes_view(reply, a->len))) return;
    if (unlikely(a->kind == ANSWER_RETURNED))
        place__drop_returned((struct returned *)(void *)a->block);
    else if (a->block != NULL)
        mem_free(MEM_REPLY, a->block, a->block_bytes);
}

void place__take_answers(struct worker *w)
{
    for (uint32_t s = 0; s < w->core.count; s++) {
        if (s == w->index) continue;
        struct peer *p = &w->peers[s];
        void *message;
        size_t bytes;
        bool any = false;
        while (mailbox_next(p->answers_in, &message, &bytes)) {
            const struct msg_answer *a = message;
            any = true;
            p->outstanding--;
            w->outstanding--;
            take_answer(w, s, a);
        }
        if (unlikely(w->txn.collected != NULL)) collect__settle(w);
        if (any) mailbox_release(p->answers_in);
    }
}
