/* Held replies of a worker, few: only transactions over several shards make them, and they wait for a write, or
 * under `always` a sync. Each is asked for again when a log it waits for moves (journal_track_watch). */
#include "node/hold.h"

#include "node/place_priv.h"

struct held_reply {
    struct held_reply *next;
    uint64_t conn_id;
    uint32_t conn_index, place;
    struct hold gate;
    size_t len;
    uint8_t wire[];
};

enum verdict { HOLD_WAITS, HOLD_INSIDE, HOLD_BROKEN };

/* With one shard there is no track: its own log is the cut. */
static bool reached(const struct worker *w, const struct hold *h, uint32_t shard)
{
    if (node.track == NULL) return core_released(&w->core) >= h->lsn[shard];
    return journal_track_cut(journal_track_shared(node.track), shard) >= h->lsn[shard];
}

static enum verdict judge(const struct worker *w, const struct hold *h)
{
    uint64_t broken =
        node.track != NULL ? journal_track_broken(journal_track_shared(node.track)) : 0;
    enum verdict v = HOLD_INSIDE;
    for (uint64_t left = h->shards; left != 0; left &= left - 1) {
        uint32_t shard = (uint32_t)__builtin_ctzll(left);
        if (reached(w, h, shard)) continue;
        if (broken != 0) return HOLD_BROKEN;
        v = HOLD_WAITS;
    }
    return v;
}

/* Signs up before the last look, so that no move is missed. */
static enum verdict watch(struct worker *w, const struct hold *h)
{
    enum verdict v = judge(w, h);
    if (v != HOLD_WAITS || node.track == NULL) return v;
    journal_track_watch(node.track, h->shards, w->index);
    return judge(w, h);
}

/* An EXEC with commands about the connection among others goes on with these. */
static void answer(struct conn *c, uint32_t place, struct bytes wire)
{
    if (unlikely(conn__pend_at(c, place)->join != NULL))
        multi__join(c, place, wire);
    else
        conn__answer(c, place, wire);
}

static void answer_unknown(struct conn *c, uint32_t place)
{
    static const char text[] = OUTCOME_UNKNOWN;
    core_count_error(&c->worker->core, (const uint8_t *)text, sizeof text - 1);
    answer(c, place, bytes_view(text, sizeof text - 1));
}

void hold_answer(struct conn *c, uint32_t place, const struct hold *h, struct bytes wire)
{
    struct worker *w = c->worker;
    enum verdict v = likely(h->shards == 0) ? HOLD_INSIDE : watch(w, h);
    if (v == HOLD_INSIDE) {
        answer(c, place, wire);
        return;
    }
    if (v == HOLD_BROKEN) {
        answer_unknown(c, place);
        return;
    }
    struct held_reply *r = mem_alloc(MEM_REPLY, sizeof *r + wire.len);
    *r = (struct held_reply){.next = w->holds,
                             .conn_id = c->id,
                             .conn_index = c->index,
                             .place = place,
                             .gate = *h,
                             .len = wire.len};
    if (wire.len > 0) memcpy(r->wire, wire.data, wire.len);
    w->holds = r;
}

void hold_reply(struct conn *c, const struct hold *h, struct reply *reply, size_t start)
{
    if (likely(h->shards == 0)) {
        conn__reply_end(c, reply, start);
        return;
    }
    struct buf out;
    buf_init(&out, MEM_REPLY);
    buf_add(&out, reply->out->data + start, reply->out->len - start);
    reply->out->len = start;
    hold_answer(c, conn__pend(c, 1, NULL), h, buf_bytes(&out));
    buf_free(&out);
}

static void let_go(struct worker *w, struct held_reply *r, bool inside)
{
    struct conn *c = r->conn_index < w->conns_cap ? w->conns[r->conn_index] : NULL;
    if (c != NULL && c->id == r->conn_id) {
        if (inside)
            answer(c, r->place, bytes_view(r->wire, r->len));
        else
            answer_unknown(c, r->place);
    }
    mem_free(MEM_REPLY, r, sizeof *r + r->len);
}

void hold__look(struct worker *w)
{
    struct held_reply *list = w->holds;
    w->holds = NULL;
    while (list != NULL) {
        struct held_reply *r = list;
        list = r->next;
        enum verdict v = watch(w, &r->gate);
        if (v != HOLD_WAITS) {
            let_go(w, r, v == HOLD_INSIDE);
            continue;
        }
        r->next = w->holds;
        w->holds = r;
    }
}

bool hold__pending(const struct worker *w)
{
    for (const struct held_reply *r = w->holds; r != NULL; r = r->next)
        if (judge(w, &r->gate) != HOLD_WAITS) return true;
    return false;
}

void hold__fail_all(struct worker *w)
{
    while (w->holds != NULL) {
        struct held_reply *r = w->holds;
        w->holds = r->next;
        let_go(w, r, false);
    }
}
