/* raftlog/apply.c: entries into the machine, each proposal once. An entry is {u8 version, 3 zeros, u32
 * zero, u64 node, u64 incarnation, u64 counter, u64 done below} and the payload. Of each proposer the
 * state keeps the answers from `done below` on; so a proposal that comes again is answered as it was the
 * first time. The sessions are part of every snapshot, in front of the machine's own bytes. */
#include "raftlog/raftlog_priv.h"

#include "shard/base/assert.h"

#define ENVELOPE_BYTES 40u
#define ENVELOPE_VERSION 1u
#define SAVED_VERSION 1u

void *rl__envelope(const struct rl_request *r, struct bytes payload, size_t *bytes_out)
{
    *bytes_out = ENVELOPE_BYTES + payload.len;
    uint8_t *out = raft_calloc(1, *bytes_out);
    out[0] = ENVELOPE_VERSION;
    memcpy(out + 8, &r->node, 8);
    memcpy(out + 16, &r->incarnation, 8);
    memcpy(out + 24, &r->counter, 8);
    memcpy(out + 32, &r->done_below, 8);
    if (payload.len > 0) memcpy(out + ENVELOPE_BYTES, payload.data, payload.len);
    return out;
}

static bool envelope_get(const struct raft_buffer *in, struct rl_request *r, struct bytes *payload)
{
    if (in->len < ENVELOPE_BYTES) return false;
    const uint8_t *at = in->base;
    if (at[0] != ENVELOPE_VERSION) return false;
    memcpy(&r->node, at + 8, 8);
    memcpy(&r->incarnation, at + 16, 8);
    memcpy(&r->counter, at + 24, 8);
    memcpy(&r->done_below, at + 32, 8);
    *payload = bytes_view(at + ENVELOPE_BYTES, in->len - ENVELOPE_BYTES);
    return true;
}

/* ---- sessions, by rising node */

static uint32_t session_place(const struct rl *rl, uint64_t node)
{
    uint32_t low = 0, high = rl->session_count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (rl->session[mid].node < node)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static size_t window_bytes(void)
{
    return RAFT_SESSION_WINDOW * sizeof(struct session_entry);
}

/* NULL: too many nodes. The same on every member. */
static struct session *session_of(struct rl *rl, uint64_t node)
{
    uint32_t at = session_place(rl, node);
    if (at < rl->session_count && rl->session[at].node == node) return &rl->session[at];
    if (rl->session_count == RAFT_SESSIONS_MAX) return NULL;
    if (rl->session_count == rl->session_cap) {
        uint32_t cap = rl->session_cap * 2 + 8;
        rl->session = mem_resize(MEM_RAFT, rl->session, rl->session_cap * sizeof *rl->session,
                                 cap * sizeof *rl->session);
        rl->session_cap = cap;
    }
    struct session *s = &rl->session[at];
    memmove(s + 1, s, (rl->session_count - at) * sizeof *s);
    rl->session_count++;
    *s = (struct session){.node = node, .entry = mem_alloc(MEM_RAFT, window_bytes())};
    return s;
}

static void session_remove(struct rl *rl, uint32_t at)
{
    mem_free(MEM_RAFT, rl->session[at].entry, window_bytes());
    rl->session_count--;
    memmove(&rl->session[at], &rl->session[at + 1], (rl->session_count - at) * sizeof *rl->session);
}

void rl_session_drop(struct rl *rl, uint64_t node)
{
    uint32_t at = session_place(rl, node);
    if (at < rl->session_count && rl->session[at].node == node) session_remove(rl, at);
}

static void sessions_clear(struct rl *rl)
{
    while (rl->session_count > 0)
        session_remove(rl, rl->session_count - 1);
}

void rl__sessions_free(struct rl *rl)
{
    sessions_clear(rl);
    mem_free(MEM_RAFT, rl->session, rl->session_cap * sizeof *rl->session);
    rl->session = NULL;
    rl->session_cap = 0;
}

static void forget_done(struct session *s, uint64_t below)
{
    if (below <= s->done_below) return;
    s->done_below = below;
    uint32_t n = 0;
    while (n < s->count && s->entry[n].counter < below)
        n++;
    s->count -= n;
    memmove(s->entry, s->entry + n, s->count * sizeof *s->entry);
}

/* Where the counter is or belongs. */
static uint32_t answer_place(const struct session *s, uint64_t counter)
{
    uint32_t at = s->count;
    while (at > 0 && s->entry[at - 1].counter >= counter)
        at--;
    return at;
}

static void apply_command(struct rl *rl, uint64_t index, const struct rl_request *r,
                          struct bytes payload)
{
    struct session *s = session_of(rl, r->node);
    if (s == NULL) {
        rl__applied(rl, index, RL_REFUSED, 0);
        return;
    }
    if (r->incarnation > s->incarnation) {
        s->incarnation = r->incarnation;
        s->count = 0;
        s->done_below = 0;
    }
    if (r->incarnation < s->incarnation || r->counter < s->done_below) {
        rl__applied(rl, index, RL_STALE, 0);
        return;
    }
    forget_done(s, r->done_below);
    uint32_t at = answer_place(s, r->counter);
    if (at < s->count && s->entry[at].counter == r->counter) {
        rl__applied(rl, s->entry[at].index, RL_APPLIED, s->entry[at].code);
        return;
    }
    if (s->count == RAFT_SESSION_WINDOW) {
        rl__applied(rl, index, RL_REFUSED, 0);
        return;
    }
    memmove(&s->entry[at + 1], &s->entry[at], (s->count - at) * sizeof *s->entry);
    s->count++;
    s->entry[at] = (struct session_entry){.counter = r->counter, .index = index};
    uint32_t code = rl->opts.machine.apply(rl->opts.machine.ctx, index, payload);
    /* It may have dropped sessions, this one too. */
    uint32_t place = session_place(rl, r->node);
    if (place < rl->session_count && rl->session[place].node == r->node) {
        s = &rl->session[place];
        s->entry[answer_place(s, r->counter)].code = code;
    }
    rl__applied(rl, index, RL_APPLIED, code);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct rl *rl = fsm->data;
    struct rl_request request;
    struct bytes payload;
    uint64_t index = rl->raft.last_applied + 1; /* libraft moves it after each */
    *result = NULL;
    rl->bytes_since_snapshot += buf->len;
    if (rl->bytes_since_snapshot >= rl->opts.snapshot_bytes)
        raft_set_snapshot_threshold(&rl->raft, 1);
    if (!envelope_get(buf, &request, &payload)) return RAFT_MALFORMED;
    apply_command(rl, index, &request, payload);
    return 0;
}

/* ---- snapshots */

static void sessions_save(const struct rl *rl, struct buf *out)
{
    uint32_t version = SAVED_VERSION;
    buf_add(out, &version, sizeof version);
    buf_add(out, &rl->session_count, sizeof rl->session_count);
    for (uint32_t i = 0; i < rl->session_count; i++) {
        const struct session *s = &rl->session[i];
        buf_add(out, &s->node, 8);
        buf_add(out, &s->incarnation, 8);
        buf_add(out, &s->done_below, 8);
        buf_add(out, &s->count, 4);
        for (uint32_t j = 0; j < s->count; j++) {
            buf_add(out, &s->entry[j].counter, 8);
            buf_add(out, &s->entry[j].index, 8);
            buf_add(out, &s->entry[j].code, 4);
        }
    }
}

static bool pick(struct bytes *in, void *out, size_t n)
{
    if (in->len < n) return false;
    memcpy(out, in->data, n);
    *in = bytes_view(in->data + n, in->len - n);
    return true;
}

static bool session_load(struct rl *rl, struct bytes *in)
{
    struct session head = {0};
    bool good = pick(in, &head.node, 8) && pick(in, &head.incarnation, 8) &&
                pick(in, &head.done_below, 8) && pick(in, &head.count, 4) &&
                head.count <= RAFT_SESSION_WINDOW;
    if (!good) return false;
    struct session *s = session_of(rl, head.node);
    if (s == NULL || s->count != 0) return false;
    head.entry = s->entry;
    *s = head;
    for (uint32_t j = 0; j < s->count; j++) {
        struct session_entry *e = &s->entry[j];
        *e = (struct session_entry){0};
        if (!pick(in, &e->counter, 8) || !pick(in, &e->index, 8) || !pick(in, &e->code, 4))
            return false;
        if (j > 0 && e->counter <= s->entry[j - 1].counter) return false;
    }
    return true;
}

static bool sessions_load(struct rl *rl, struct bytes *in)
{
    uint32_t version, count;
    sessions_clear(rl);
    if (!pick(in, &version, 4) || version != SAVED_VERSION) return false;
    if (!pick(in, &count, 4) || count > RAFT_SESSIONS_MAX) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!session_load(rl, in)) return false;
    return true;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct rl *rl = fsm->data;
    if (guard_on(GUARD_SAVE_MEMBERS) && rl->raft.configuration_uncommitted_index != 0)
        return RAFT_BUSY;
    struct buf out;
    buf_init(&out, MEM_RAFT);
    sessions_save(rl, &out);
    rl->opts.machine.save(rl->opts.machine.ctx, &out);
    assert(out.len <= RAFT_SNAPSHOT_BYTES_MAX / 2);
    *bufs = raft_malloc(sizeof **bufs);
    *n_bufs = 1;
    (*bufs)[0].len = out.len;
    (*bufs)[0].base = raft_malloc(out.len);
    memcpy((*bufs)[0].base, out.data, out.len);
    buf_free(&out);
    rl->bytes_since_snapshot = 0;
    raft_set_snapshot_threshold(&rl->raft, rl->opts.snapshot_entries);
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct rl *rl = fsm->data;
    struct bytes in = bytes_view(buf->base, buf->len);
    if (!sessions_load(rl, &in)) return RAFT_MALFORMED;
    /* At a start libraft does not say which snapshot it is; there is only one. */
    uint64_t index = rl->started ? rl->disk_install_index : rl->load.snapshot.index;
    if (rl->opts.machine.restore(rl->opts.machine.ctx, index, in) != RC_OK) return RAFT_MALFORMED;
    rl->bytes_since_snapshot = 0;
    raft_free(buf->base);
    return 0;
}

void rl__fsm_init(struct rl *rl)
{
    rl->fsm = (struct raft_fsm){.version = 1,
                                .data = rl,
                                .apply = fsm_apply,
                                .snapshot = fsm_snapshot,
                                .restore = fsm_restore};
}
