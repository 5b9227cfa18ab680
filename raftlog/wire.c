/* raftlog/wire.c: messages between members. Little-endian, packed:
 *
 *   head    u8 version 1, u8 type, u16 0, u32 tag of the cluster, u64 from, u64 to, u64 term
 *   append  u64 prev index, u64 prev term, u64 commit, u32 count, count × {u64 term, u8 type, u32 bytes},
 *           then their payloads
 *   result  u64 rejected, u64 last        vote    u64 last index, u64 last term, u8 flags
 *   answer  u8 flags                      now     u64 last index, u64 last term
 *   piece   u64 index, u64 term, u64 members index, u64 total, u64 offset, u32 members bytes, bytes
 *   ack     u64 index, u64 offset
 *
 * A reader takes nothing on trust: every length is checked, configurations are decoded, and a message
 * must end where its fields end. The bus adds frames, checksums and identities. */
#include "raftlog/raftlog_priv.h"

#include "shard/base/assert.h"
#include "shard/base/crc.h"

#define WIRE_VERSION 1u
#define HEAD_BYTES 32u
#define ENTRY_HEAD_BYTES 13u
#define FLAG_DISRUPT 1u
#define FLAG_PRE_VOTE 2u
#define FLAG_GRANTED 4u
#define FLAG_PRE_VOTE_UNKNOWN 8u

/* ---- writing */

static void put8(struct buf *out, uint8_t v)
{
    buf_add_byte(out, v);
}
static void put32(struct buf *out, uint32_t v)
{
    buf_add(out, &v, sizeof v);
}
static void put64(struct buf *out, uint64_t v)
{
    buf_add(out, &v, sizeof v);
}

static uint32_t cluster_tag(const struct rl *rl)
{
    return crc32c(0, rl->opts.cluster_id, sizeof rl->opts.cluster_id);
}

static void put_head(struct buf *out, const struct rl *rl, enum message_type type, uint64_t to,
                     uint64_t term)
{
    put8(out, WIRE_VERSION);
    put8(out, (uint8_t)type);
    put8(out, 0);
    put8(out, 0);
    put32(out, cluster_tag(rl));
    put64(out, rl->opts.id);
    put64(out, to);
    put64(out, term);
}

static void put_append(struct buf *out, const struct raft_append_entries *a)
{
    put64(out, a->prev_log_index);
    put64(out, a->prev_log_term);
    put64(out, a->leader_commit);
    put32(out, a->n_entries);
    for (uint32_t i = 0; i < a->n_entries; i++) {
        put64(out, a->entries[i].term);
        put8(out, (uint8_t)a->entries[i].type);
        put32(out, (uint32_t)a->entries[i].buf.len);
    }
    for (uint32_t i = 0; i < a->n_entries; i++)
        buf_add(out, a->entries[i].buf.base, a->entries[i].buf.len);
}

void wire_put(struct buf *out, const struct rl *rl, const struct raft_message *m)
{
    uint64_t to = m->server_id;
    switch (m->type) {
    case RAFT_IO_APPEND_ENTRIES:
        put_head(out, rl, WIRE_APPEND, to, m->append_entries.term);
        put_append(out, &m->append_entries);
        return;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        put_head(out, rl, WIRE_APPEND_RESULT, to, m->append_entries_result.term);
        put64(out, m->append_entries_result.rejected);
        put64(out, m->append_entries_result.last_log_index);
        return;
    case RAFT_IO_REQUEST_VOTE:
        put_head(out, rl, WIRE_VOTE, to, m->request_vote.term);
        put64(out, m->request_vote.last_log_index);
        put64(out, m->request_vote.last_log_term);
        put8(out, (uint8_t)((m->request_vote.disrupt_leader ? FLAG_DISRUPT : 0) |
                            (m->request_vote.pre_vote ? FLAG_PRE_VOTE : 0)));
        return;
    case RAFT_IO_REQUEST_VOTE_RESULT: {
        uint32_t pre = m->request_vote_result.pre_vote == raft_tribool_true ? FLAG_PRE_VOTE : 0;
        if (m->request_vote_result.pre_vote == raft_tribool_unknown) pre = FLAG_PRE_VOTE_UNKNOWN;
        put_head(out, rl, WIRE_VOTE_RESULT, to, m->request_vote_result.term);
        put8(out, (uint8_t)((m->request_vote_result.vote_granted ? FLAG_GRANTED : 0) | pre));
        return;
    }
    case RAFT_IO_TIMEOUT_NOW:
        put_head(out, rl, WIRE_TIMEOUT_NOW, to, m->timeout_now.term);
        put64(out, m->timeout_now.last_log_index);
        put64(out, m->timeout_now.last_log_term);
        return;
    default:
        assert(false && "snapshots go in pieces");
    }
}

void wire_put_piece(struct buf *out, const struct rl *rl, uint64_t to, uint64_t term,
                    const struct wire_piece *p)
{
    put_head(out, rl, WIRE_PIECE, to, term);
    put64(out, p->index);
    put64(out, p->term);
    put64(out, p->members_index);
    put64(out, p->total);
    put64(out, p->offset);
    put32(out, p->members_bytes);
    buf_add_bytes(out, p->bytes);
}

void wire_put_ack(struct buf *out, const struct rl *rl, uint64_t to, uint64_t index,
                  uint64_t offset)
{
    put_head(out, rl, WIRE_PIECE_ACK, to, rl->raft.current_term);
    put64(out, index);
    put64(out, offset);
}

/* ---- reading */

struct reader {
    struct bytes in;
    bool good;
};

static void take(struct reader *r, void *out, size_t n)
{
    memset(out, 0, n);
    if (!r->good || r->in.len < n) {
        r->good = false;
        return;
    }
    memcpy(out, r->in.data, n);
    r->in = bytes_view(r->in.data + n, r->in.len - n);
}
static uint64_t take64(struct reader *r)
{
    uint64_t v;
    take(r, &v, sizeof v);
    return v;
}
static uint32_t take32(struct reader *r)
{
    uint32_t v;
    take(r, &v, sizeof v);
    return v;
}
static uint8_t take8(struct reader *r)
{
    uint8_t v;
    take(r, &v, sizeof v);
    return v;
}

static struct reader body_of(struct bytes message)
{
    assert(message.len >= HEAD_BYTES);
    return (struct reader){.in = bytes_view(message.data + HEAD_BYTES, message.len - HEAD_BYTES),
                           .good = true};
}

static bool at_end(const struct reader *r)
{
    return r->good && r->in.len == 0;
}

static struct wire_head head_of(struct reader *r, uint8_t *version, uint32_t *tag)
{
    struct wire_head h = {0};
    *version = take8(r);
    h.type = take8(r);
    (void)take8(r);
    (void)take8(r);
    *tag = take32(r);
    h.from = take64(r);
    h.to = take64(r);
    h.term = take64(r);
    return h;
}

bool wire_head_get(const struct rl *rl, struct bytes message, struct wire_head *out)
{
    struct reader r = {.in = message, .good = message.len <= RAFT_MESSAGE_BYTES_MAX};
    uint8_t version;
    uint32_t tag;
    *out = head_of(&r, &version, &tag);
    return r.good && version == WIRE_VERSION && tag == cluster_tag(rl) && out->to == rl->opts.id &&
           out->from != 0 && out->from != rl->opts.id && out->type >= WIRE_APPEND &&
           out->type <= WIRE_PIECE_ACK;
}

uint64_t rl_message_from(struct bytes message)
{
    struct reader r = {.in = message, .good = message.len <= RAFT_MESSAGE_BYTES_MAX};
    uint8_t version;
    uint32_t tag;
    struct wire_head head = head_of(&r, &version, &tag);
    return r.good ? head.from : 0;
}

static bool entries_sane(const struct raft_entry *e, uint32_t count)
{
    struct rl_members members;
    for (uint32_t i = 0; i < count; i++) {
        if (e[i].term == 0 || e[i].type < RAFT_COMMAND || e[i].type > RAFT_CHANGE) return false;
        if (e[i].type == RAFT_CHANGE &&
            !members_decode(bytes_view(e[i].buf.base, e[i].buf.len), &members))
            return false;
    }
    return true;
}

static bool get_entries(struct reader *r, struct raft_append_entries *a)
{
    uint64_t need = (uint64_t)a->n_entries * ENTRY_HEAD_BYTES, payload = 0;
    if (need > r->in.len) return false;
    struct reader heads = {.in = bytes_view(r->in.data, need), .good = true};
    a->entries = raft_calloc(a->n_entries, sizeof *a->entries);
    for (uint32_t i = 0; i < a->n_entries; i++) {
        a->entries[i].term = take64(&heads);
        a->entries[i].type = take8(&heads);
        a->entries[i].buf.len = take32(&heads);
        payload += a->entries[i].buf.len;
    }
    if (payload != r->in.len - need) return false;
    uint8_t *batch = raft_malloc(payload + 1); /* never nothing: libraft frees by it */
    if (payload > 0) memcpy(batch, r->in.data + need, payload);
    for (uint64_t i = 0, at = 0; i < a->n_entries; i++) {
        a->entries[i].batch = batch;
        a->entries[i].buf.base = batch + at;
        at += a->entries[i].buf.len;
    }
    r->in.len = 0;
    return entries_sane(a->entries, a->n_entries);
}

static bool get_append(struct reader *r, struct raft_append_entries *a, uint64_t term)
{
    *a = (struct raft_append_entries){.term = term};
    a->prev_log_index = take64(r);
    a->prev_log_term = take64(r);
    a->leader_commit = take64(r);
    a->n_entries = take32(r);
    bool sane = r->good && (a->prev_log_index == 0) == (a->prev_log_term == 0) &&
                a->prev_log_index < UINT64_MAX / 2;
    if (!sane) return false;
    if (a->n_entries == 0) return at_end(r);
    if (get_entries(r, a)) return true;
    if (a->entries != NULL) raft_free(a->entries[0].batch);
    raft_free(a->entries);
    a->entries = NULL;
    return false;
}

bool wire_get(struct bytes message, struct raft_message *out)
{
    struct reader whole = {.in = message, .good = true};
    uint8_t version, flags;
    uint32_t tag;
    struct wire_head h = head_of(&whole, &version, &tag);
    if (!whole.good) return false;
    struct reader r = body_of(message);
    *out = (struct raft_message){.server_id = h.from};
    switch (h.type) {
    case WIRE_APPEND:
        out->type = RAFT_IO_APPEND_ENTRIES;
        return get_append(&r, &out->append_entries, h.term);
    case WIRE_APPEND_RESULT:
        out->type = RAFT_IO_APPEND_ENTRIES_RESULT;
        out->append_entries_result.term = h.term;
        out->append_entries_result.rejected = take64(&r);
        out->append_entries_result.last_log_index = take64(&r);
        return at_end(&r);
    case WIRE_VOTE:
        out->type = RAFT_IO_REQUEST_VOTE;
        out->request_vote.term = h.term;
        out->request_vote.candidate_id = h.from;
        out->request_vote.last_log_index = take64(&r);
        out->request_vote.last_log_term = take64(&r);
        flags = take8(&r);
        out->request_vote.disrupt_leader = flags & FLAG_DISRUPT;
        out->request_vote.pre_vote = flags & FLAG_PRE_VOTE;
        return at_end(&r) && h.term > 0;
    case WIRE_VOTE_RESULT:
        out->type = RAFT_IO_REQUEST_VOTE_RESULT;
        out->request_vote_result.term = h.term;
        flags = take8(&r);
        out->request_vote_result.vote_granted = flags & FLAG_GRANTED;
        out->request_vote_result.pre_vote =
            flags & FLAG_PRE_VOTE_UNKNOWN
                ? raft_tribool_unknown
                : (flags & FLAG_PRE_VOTE ? raft_tribool_true : raft_tribool_false);
        return at_end(&r);
    case WIRE_TIMEOUT_NOW:
        out->type = RAFT_IO_TIMEOUT_NOW;
        out->timeout_now.term = h.term;
        out->timeout_now.last_log_index = take64(&r);
        out->timeout_now.last_log_term = take64(&r);
        return at_end(&r);
    default:
        return false;
    }
}

bool wire_get_piece(struct bytes message, struct wire_piece *out)
{
    struct reader r = body_of(message);
    out->index = take64(&r);
    out->term = take64(&r);
    out->members_index = take64(&r);
    out->total = take64(&r);
    out->offset = take64(&r);
    out->members_bytes = take32(&r);
    out->bytes = r.in;
    return r.good && out->index > 0 && out->term > 0 && out->total <= RAFT_SNAPSHOT_BYTES_MAX &&
           out->members_bytes <= out->total && out->offset <= out->total &&
           out->bytes.len <= RAFT_SNAPSHOT_PIECE_BYTES &&
           out->bytes.len <= out->total - out->offset && out->members_index <= out->index;
}

bool wire_get_ack(struct bytes message, uint64_t *index_out, uint64_t *offset_out)
{
    struct reader r = body_of(message);
    *index_out = take64(&r);
    *offset_out = take64(&r);
    return at_end(&r);
}
