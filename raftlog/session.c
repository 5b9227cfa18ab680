/* raftlog/session.c: entries into the machine, each proposal once. An entry is {u8 version, 3 zeros, u32
 * zero, u64 node, u64 incarnation, u64 counter, u64 done below} and the payload. Of each proposer the
 * state keeps the answers from `done below` on; so a proposal that comes again is answered as it was the
 * first time. The sessions are part of every snapshot, in front of the machine's own bytes. Shared by both
 * drivers of the log: libraft's (apply.c) and the one of a node alone (solo.c). */
#include "raftlog/session_priv.h"

#include "shard/base/assert.h"

#define ENVELOPE_VERSION 1u
#define SAVED_VERSION 1u

void envelope_put(uint8_t *out, const struct rl_request *r, struct bytes payload)
{
    memset(out, 0, ENVELOPE_BYTES);
    out[0] = ENVELOPE_VERSION;
    memcpy(out + 8, &r->node, 8);
    memcpy(out + 16, &r->incarnation, 8);
    memcpy(out + 24, &r->counter, 8);
    memcpy(out + 32, &r->done_below, 8);
    if (payload.len > 0) memcpy(out + ENVELOPE_BYTES, payload.data, payload.len);
}

static bool envelope_get(struct bytes in, struct rl_request *r, struct bytes *payload)
{
    if (in.len < ENVELOPE_BYTES || in.data[0] != ENVELOPE_VERSION) return false;
    memcpy(&r->node, in.data + 8, 8);
    memcpy(&r->incarnation, in.data + 16, 8);
    memcpy(&r->counter, in.data + 24, 8);
    memcpy(&r->done_below, in.data + 32, 8);
    *payload = bytes_view(in.data + ENVELOPE_BYTES, in.len - ENVELOPE_BYTES);
    return true;
}

/* ---- sessions, by rising node */

static uint32_t session_place(const struct sessions *ss, uint64_t node)
{
    uint32_t low = 0, high = ss->count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (ss->at[mid].node < node)
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
static struct session *session_of(struct sessions *ss, uint64_t node)
{
    uint32_t at = session_place(ss, node);
    if (at < ss->count && ss->at[at].node == node) return &ss->at[at];
    if (ss->count == RAFT_SESSIONS_MAX) return NULL;
    if (ss->count == ss->cap) {
        uint32_t cap = ss->cap * 2 + 8;
        ss->at = mem_resize(MEM_RAFT, ss->at, ss->cap * sizeof *ss->at, cap * sizeof *ss->at);
        ss->cap = cap;
    }
    struct session *s = &ss->at[at];
    memmove(s + 1, s, (ss->count - at) * sizeof *s);
    ss->count++;
    *s = (struct session){.node = node, .entry = mem_alloc(MEM_RAFT, window_bytes())};
    return s;
}

static void session_remove(struct sessions *ss, uint32_t at)
{
    mem_free(MEM_RAFT, ss->at[at].entry, window_bytes());
    ss->count--;
    memmove(&ss->at[at], &ss->at[at + 1], (ss->count - at) * sizeof *ss->at);
}

void sessions_drop(struct sessions *ss, uint64_t node)
{
    uint32_t at = session_place(ss, node);
    if (at < ss->count && ss->at[at].node == node) session_remove(ss, at);
}

static void sessions_clear(struct sessions *ss)
{
    while (ss->count > 0)
        session_remove(ss, ss->count - 1);
}

void sessions_free(struct sessions *ss)
{
    sessions_clear(ss);
    mem_free(MEM_RAFT, ss->at, ss->cap * sizeof *ss->at);
    ss->at = NULL;
    ss->cap = 0;
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

static struct rl_result outcome(enum rl_outcome outcome, uint64_t index, uint32_t code)
{
    return (struct rl_result){.outcome = outcome, .index = index, .code = code};
}

static struct rl_result apply_command(struct sessions *ss, const struct rl_machine *machine,
                                      uint64_t index, const struct rl_request *r,
                                      struct bytes payload)
{
    struct session *s = session_of(ss, r->node);
    if (s == NULL) return outcome(RL_REFUSED, index, 0);
    if (r->incarnation > s->incarnation) {
        s->incarnation = r->incarnation;
        s->count = 0;
        s->done_below = 0;
    }
    if (r->incarnation < s->incarnation || r->counter < s->done_below)
        return outcome(RL_STALE, index, 0);
    forget_done(s, r->done_below);
    uint32_t at = answer_place(s, r->counter);
    if (at < s->count && s->entry[at].counter == r->counter)
        return outcome(RL_APPLIED, s->entry[at].index, s->entry[at].code);
    if (s->count == RAFT_SESSION_WINDOW) return outcome(RL_REFUSED, index, 0);
    memmove(&s->entry[at + 1], &s->entry[at], (s->count - at) * sizeof *s->entry);
    s->count++;
    s->entry[at] = (struct session_entry){.counter = r->counter, .index = index};
    uint32_t code = machine->apply(machine->ctx, index, payload);
    /* It may have dropped sessions, this one too. */
    uint32_t place = session_place(ss, r->node);
    if (place < ss->count && ss->at[place].node == r->node) {
        s = &ss->at[place];
        s->entry[answer_place(s, r->counter)].code = code;
    }
    return outcome(RL_APPLIED, index, code);
}

bool sessions_apply(struct sessions *ss, const struct rl_machine *machine, uint64_t index,
                    struct bytes entry, struct rl_result *out)
{
    struct rl_request request;
    struct bytes payload;
    if (!envelope_get(entry, &request, &payload)) return false;
    *out = apply_command(ss, machine, index, &request, payload);
    return true;
}

uint64_t sessions_incarnation(const struct sessions *ss, uint64_t node)
{
    uint32_t at = session_place(ss, node);
    return at < ss->count && ss->at[at].node == node ? ss->at[at].incarnation : 0;
}

/* ---- snapshots */

void sessions_save(const struct sessions *ss, struct buf *out)
{
    uint32_t version = SAVED_VERSION;
    buf_add(out, &version, sizeof version);
    buf_add(out, &ss->count, sizeof ss->count);
    for (uint32_t i = 0; i < ss->count; i++) {
        const struct session *s = &ss->at[i];
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

static bool session_load(struct sessions *ss, struct bytes *in)
{
    struct session head = {0};
    bool good = pick(in, &head.node, 8) && pick(in, &head.incarnation, 8) &&
                pick(in, &head.done_below, 8) && pick(in, &head.count, 4) &&
                head.count <= RAFT_SESSION_WINDOW;
    if (!good) return false;
    struct session *s = session_of(ss, head.node);
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

bool sessions_load(struct sessions *ss, struct bytes *in)
{
    uint32_t version, count;
    sessions_clear(ss);
    if (!pick(in, &version, 4) || version != SAVED_VERSION) return false;
    if (!pick(in, &count, 4) || count > RAFT_SESSIONS_MAX) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!session_load(ss, in)) return false;
    return true;
}
