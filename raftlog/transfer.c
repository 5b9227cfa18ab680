/* raftlog/transfer.c: snapshots between members. libraft sends one as a single message; here it goes in
 * pieces that fit a control frame, one at a time, each acknowledged, repeated after a while. When all of
 * it has arrived libraft gets its single message. libraft's own repetition starts it anew. */
#include "raftlog/raftlog_priv.h"

#include "shard/base/assert.h"

#define REPEAT_MS 200u

static struct piece_out *find_out(struct rl *rl, uint64_t to)
{
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (rl->piece_out[i].active && rl->piece_out[i].to == to) return &rl->piece_out[i];
    return NULL;
}

static void stop_out(struct piece_out *p)
{
    buf_free(&p->body);
    *p = (struct piece_out){0};
}

static void send_piece(struct rl *rl, struct piece_out *p)
{
    uint64_t left = p->body.len - p->offset;
    size_t n = left < RAFT_SNAPSHOT_PIECE_BYTES ? (size_t)left : RAFT_SNAPSHOT_PIECE_BYTES;
    struct wire_piece piece = {
        .index = p->snapshot.index,
        .term = p->snapshot.term,
        .members_index = p->snapshot.members_index,
        .total = p->body.len,
        .offset = p->offset,
        .members_bytes = (uint32_t)p->snapshot.members.len,
        .bytes = bytes_view(p->body.data + p->offset, n),
    };
    struct buf out;
    buf_init(&out, MEM_RAFT);
    wire_put_piece(&out, rl, p->to, p->term, &piece);
    rl__queue_message(rl, p->to, rl__address_of(rl, p->to), buf_bytes(&out));
    buf_free(&out);
    p->sent_ms = rl->now_ms;
}

void rl__pieces_send(struct rl *rl, const struct raft_message *m)
{
    const struct raft_install_snapshot *s = &m->install_snapshot;
    struct piece_out *p = find_out(rl, m->server_id);
    if (p == NULL) {
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX && p == NULL; i++)
            if (!rl->piece_out[i].active) p = &rl->piece_out[i];
    }
    assert(p != NULL); /* as many as members */
    stop_out(p);
    struct raft_buffer members;
    int rv = raft_configuration_encode(&s->conf, &members);
    assert(rv == 0);
    buf_init(&p->body, MEM_RAFT);
    buf_add(&p->body, members.base, members.len);
    buf_add(&p->body, s->data.base, s->data.len);
    p->to = m->server_id;
    p->term = s->term;
    p->active = true;
    p->snapshot = (struct store_snapshot){.index = s->last_index,
                                          .term = s->last_term,
                                          .members_index = s->conf_index,
                                          .members = bytes_view(p->body.data, members.len)};
    raft_free(members.base);
    send_piece(rl, p);
}

void rl__pieces_tick(struct rl *rl)
{
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct piece_out *p = &rl->piece_out[i];
        if (!p->active) continue;
        bool leads = rl->raft.state == RAFT_LEADER && rl->raft.current_term == p->term;
        if (!leads || !rl__is_member(rl, p->to)) {
            stop_out(p);
            continue;
        }
        if (rl->now_ms - p->sent_ms >= REPEAT_MS) send_piece(rl, p);
    }
}

void rl__pieces_ack(struct rl *rl, const struct wire_head *head, struct bytes message)
{
    uint64_t index, offset;
    struct piece_out *p = find_out(rl, head->from);
    if (p == NULL || !wire_get_ack(message, &index, &offset)) return;
    if (index != p->snapshot.index || offset <= p->offset || offset > p->body.len) return;
    p->offset = offset;
    if (offset == p->body.len)
        stop_out(p);
    else
        send_piece(rl, p);
}

static void deliver(struct rl *rl, const struct wire_head *head, const struct wire_piece *p)
{
    struct piece_in *in = &rl->piece_in;
    struct rl_members members;
    if (!members_decode(bytes_view(in->body.data, p->members_bytes), &members)) {
        rl->dropped++;
        return;
    }
    struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT, .server_id = head->from};
    struct raft_install_snapshot *s = &m.install_snapshot;
    m.server_address = rl__address_of(rl, head->from);
    s->term = head->term;
    s->last_index = p->index;
    s->last_term = p->term;
    s->conf_index = p->members_index;
    int rv = members_to_raft(&members, &s->conf);
    assert(rv == 0);
    s->data.len = in->body.len - p->members_bytes;
    s->data.base = raft_malloc(s->data.len + 1);
    memcpy(s->data.base, in->body.data + p->members_bytes, s->data.len);
    rl->cap = p->index;
    rl->recv(&rl->io, &m);
    rl->cap = 0;
}

void rl__pieces_receive(struct rl *rl, const struct wire_head *head, struct bytes message)
{
    struct piece_in *in = &rl->piece_in;
    struct wire_piece p;
    if (!wire_get_piece(message, &p)) {
        rl->dropped++;
        return;
    }
    if (head->term < rl->raft.current_term) return; /* of a leader that is none any more */
    bool same = in->from == head->from && in->index == p.index && in->term == p.term &&
                in->total == p.total;
    if (p.offset == 0 && (!same || in->whole)) {
        buf_free(&in->body);
        *in = (struct piece_in){
            .from = head->from, .index = p.index, .term = p.term, .total = p.total};
        buf_init(&in->body, MEM_RAFT);
        same = true;
    }
    if (!same) return;
    bool fresh = !in->whole && p.offset == in->body.len;
    if (fresh) buf_add_bytes(&in->body, p.bytes);
    bool whole = in->whole || in->body.len == in->total;
    struct buf out;
    buf_init(&out, MEM_RAFT);
    wire_put_ack(&out, rl, head->from, p.index, whole ? in->total : in->body.len);
    rl__queue_message(rl, head->from, rl__address_of(rl, head->from), buf_bytes(&out));
    buf_free(&out);
    if (!fresh || !whole) return;
    in->whole = true;
    deliver(rl, head, &p);
    buf_free(&in->body);
}

void rl__pieces_free(struct rl *rl)
{
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        stop_out(&rl->piece_out[i]);
    buf_free(&rl->piece_in.body);
    rl->piece_in = (struct piece_in){0};
}
