/* Answers to requests of other shards: sent by the shard that ran them, taken by the worker whose
 * connection asked. An answer finds its connection by (index, id): either may be gone, then it is
 * dropped. */
#include "node/place_priv.h"

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
}

static void hold_answer(struct worker *w, uint32_t to, const struct msg_answer *a, uint64_t lsn)
{
    struct held_answer *h = mem_alloc(MEM_REPLY, sizeof *h);
    *h = (struct held_answer){.lsn = lsn, .to = to, .answer = *a};
    *w->held_tail = h;
    w->held_tail = &h->next;
}

void answer__send(struct worker *w, const struct queued *q, struct buf *out)
{
    struct msg_answer a = {.conn_id = q->conn_id,
                           .conn_index = q->conn_index,
                           .pend = q->pend,
                           .part = q->part,
                           .len = out->len};
    bool held = w->core.gated && w->core.gate_lsn > journal_durable_lsn(w->core.journal);
    if (out->len > ANSWER_INLINE_MAX || held) {
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

void place__durable(struct worker *w, uint64_t lsn)
{
    struct held_answer **link = &w->held_head;
    w->held_tail = link;
    while (*link != NULL) {
        struct held_answer *h = *link;
        if (h->lsn <= lsn) {
            answer__push(w, h->to, &h->answer, bytes_view(NULL, 0));
            *link = h->next;
            mem_free(MEM_REPLY, h, sizeof *h);
        } else {
            link = &h->next;
            w->held_tail = link;
        }
    }
}

void place__fail_held(struct worker *w)
{
    static const char text[] =
        "-IOERR the log failed while this was being written: its outcome is unknown\r\n";
    while (w->held_head != NULL) {
        struct held_answer *h = w->held_head;
        w->held_head = h->next;
        struct msg_answer a = h->answer;
        mem_free(MEM_REPLY, a.block, a.block_bytes);
        a.block = NULL;
        a.len = sizeof text - 1;
        answer__push(w, h->to, &a, bytes_view(text, sizeof text - 1));
        mem_free(MEM_REPLY, h, sizeof *h);
    }
    w->held_tail = &w->held_head;
}

/* ---- on the worker that asked */

static void answer_conn(struct worker *w, const struct msg_answer *a, struct bytes wire)
{
    struct conn *c = a->conn_index < w->conns_cap ? w->conns[a->conn_index] : NULL;
    if (c == NULL || c->id != a->conn_id) return;
    struct pend *p = conn__pend_at(c, a->pend);
    if (p == NULL) return;
    if (p->merge != NULL)
        merge__part(c, a->pend, p->merge, a->part, wire);
    else
        conn__answer(c, a->pend, wire);
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
    if (c != NULL && !(c->flags & CONN_CLOSING)) conn__answer(c, e->pend, buf_bytes(&joined));
    buf_free(&joined);
    for (uint32_t i = 0; i < e->count; i++)
        buf_free(&e->out[i]);
    mem_free(MEM_REPLY, e, sizeof *e);
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
            if (a->everywhere != NULL) {
                answer__everywhere(w, a->everywhere);
                continue;
            }
            answer_conn(w, a,
                        bytes_view(a->block != NULL ? a->block : (const uint8_t *)(a + 1), a->len));
            if (a->block != NULL) mem_free(MEM_REPLY, a->block, a->block_bytes);
        }
        if (any) mailbox_release(p->answers_in);
    }
    if (w->room == NULL) return;
    struct conn *list = w->room;
    w->room = NULL;
    while (list != NULL) {
        struct conn *c = list;
        list = c->room_next;
        conn__unblock(c, CONN_WAIT_ROOM);
    }
}
