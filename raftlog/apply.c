/* raftlog/apply.c: libraft's state machine: the sessions (session.c) and what lies behind them. */
#include "raftlog/raftlog_priv.h"

#include "shard/base/assert.h"

void *rl__envelope(const struct rl_request *r, struct bytes payload, size_t *bytes_out)
{
    *bytes_out = ENVELOPE_BYTES + payload.len;
    uint8_t *out = raft_calloc(1, *bytes_out);
    envelope_put(out, r, payload);
    return out;
}

void rl_session_drop(struct rl *rl, uint64_t node)
{
    sessions_drop(&rl->sessions, node);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct rl *rl = fsm->data;
    struct rl_result r;
    uint64_t index = rl->raft.last_applied + 1; /* libraft moves it after each */
    *result = NULL;
    rl->bytes_since_snapshot += buf->len;
    if (rl->bytes_since_snapshot >= rl->opts.snapshot_bytes)
        raft_set_snapshot_threshold(&rl->raft, 1);
    if (!sessions_apply(&rl->sessions, &rl->opts.machine, index, bytes_view(buf->base, buf->len),
                        &r))
        return RAFT_MALFORMED;
    rl__applied(rl, r.index, r.outcome, r.code);
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct rl *rl = fsm->data;
    if (guard_on(GUARD_SAVE_MEMBERS) && rl->raft.configuration_uncommitted_index != 0)
        return RAFT_BUSY;
    struct buf out;
    buf_init(&out, MEM_RAFT);
    sessions_save(&rl->sessions, &out);
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
    if (!sessions_load(&rl->sessions, &in)) return RAFT_MALFORMED;
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
