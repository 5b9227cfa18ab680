/* shard/journal/walk.c: frames in order, each checked against the chain, and the groups of units that
 * they complete.
 *
 *   frame first+last   all its groups are whole
 *   frame first        its last group goes on in the next frame: kept in `chain` until …
 *   frame (neither)    … more of it …
 *   frame last         … the end of it, and of nothing else
 *
 * So a chain is one group (or one unit), and every other group lies in one frame. */
#include "shard/base/assert.h"
#include "shard/journal/journal_priv.h"

enum rc journal__walk_open(struct journal__walk *w, struct io *io, const struct journal_set *set,
                           const struct journal__generation *g, uint32_t log_index)
{
    *w = (struct journal__walk){.generation = g->number,
                                .log = (uint16_t)log_index,
                                .lsn = g->log[log_index].start,
                                .crc = g->log[log_index].start_crc,
                                .chain_at = JOURNAL_LSN_OPEN};
    w->seed = journal_seed(set->manifest.cluster_id, set->manifest.node_id, g->number, w->log);
    buf_init(&w->chain, MEM_JOURNAL);
    return journal__reader_open(&w->r, io, set->dir, g, log_index);
}

void journal__walk_close(struct journal__walk *w)
{
    journal__reader_close(&w->r);
    buf_free(&w->chain);
    mem_free(MEM_JOURNAL, w->args, w->args_cap * sizeof *w->args);
    w->args = NULL;
    w->args_cap = 0;
}

static enum rc nonsense(struct journal__walk *w, const char *what)
{
    w->what = what;
    return RC_CORRUPT;
}

/* What a valid frame cannot be, unless another program wrote it. */
static const char *odd_head(const struct journal__walk *w, const struct journal_frame_head *h)
{
    bool chained = w->chain_at != JOURNAL_LSN_OPEN;
    if (((h->flags & FRAME_FIRST) != 0) == chained) return "a frame out of its chain";
    if ((h->flags & FRAME_CLOSED) != 0 &&
        (h->flags != (FRAME_FIRST | FRAME_LAST | FRAME_CLOSED) || h->length != 0))
        return "a closing frame with units";
    if (h->synced > h->lsn || h->cut > h->synced) return "a frame that names a future position";
    return NULL;
}

enum rc journal__walk_frame(struct journal__walk *w)
{
    const uint8_t *p = NULL;
    struct journal_frame_head h;
    w->what = "no frame";
    size_t n = journal__reader_view(&w->r, w->lsn, FRAME_HEAD_BYTES, &p);
    if (w->r.rc != RC_OK) return w->r.rc;
    if (n < FRAME_HEAD_BYTES || !journal_frame_decode(p, &h)) return RC_NOTFOUND;
    if (h.lsn != w->lsn || h.generation != w->generation || h.log != w->log) return RC_NOTFOUND;
    w->what = "a frame with a wrong checksum";
    size_t bytes = FRAME_HEAD_BYTES + (size_t)h.length;
    n = journal__reader_view(&w->r, w->lsn, bytes, &p);
    if (w->r.rc != RC_OK) return w->r.rc;
    if (n < bytes || journal_frame_crc(w->crc, p, h.length) != h.crc) return RC_NOTFOUND;
    const char *odd = odd_head(w, &h);
    if (odd != NULL) return nonsense(w, odd);
    w->head = h;
    w->body = p + FRAME_HEAD_BYTES;
    w->lsn += bytes;
    w->crc = h.crc;
    return RC_OK;
}

/* ---- units */

static bool args_grow(struct journal__walk *w)
{
    uint32_t cap = w->args_cap == 0 ? 16 : w->args_cap * 2;
    void *grown =
        mem_try_resize(MEM_JOURNAL, w->args, w->args_cap * sizeof *w->args, cap * sizeof *w->args);
    if (grown == NULL) return false;
    w->args = grown;
    w->args_cap = cap;
    return true;
}

static enum rc decode_args(struct journal__walk *w, struct bytes args, uint32_t *argc_out)
{
    uint32_t argc = 0;
    struct bytes arg;
    while (journal_unit_arg(&args, &arg)) {
        if (argc == w->args_cap && !args_grow(w)) return RC_NOMEM;
        w->args[argc++] = arg;
    }
    if (args.len != 0) return nonsense(w, "a unit with a broken argument");
    *argc_out = argc;
    return RC_OK;
}

struct group_run {                 /* what is the same for all units of a run */
    uint64_t frame_lsn, units_lsn; /* the frame's, and that of p[0] */
    int64_t hlc_us;
    uint16_t logs;
    bool one_group; /* a chain: every unit after the first is joined */
    journal__on_unit *each;
    void *ctx;
};

/* The LSN of a group: of its frame if it is the first thing in it, so that a cut there leaves nothing
 * of the frame. */
static uint64_t group_lsn(const struct group_run *run, size_t at)
{
    uint64_t lsn = run->units_lsn + at;
    return lsn == run->frame_lsn + FRAME_HEAD_BYTES ? run->frame_lsn : lsn;
}

static enum rc run_unit(struct journal__walk *w, const struct group_run *run,
                        const struct journal_unit_raw *raw, uint64_t group_at)
{
    struct journal_unit unit = {
        .lsn = run->frame_lsn,
        .txid = raw->txid,
        .opcode = raw->opcode,
        .slot = raw->slot,
        .db = raw->db,
        .engine = raw->engine,
        .log = w->log,
        .logs = run->logs,
        .wall_ms = run->hlc_us / 1000,
    };
    enum rc rc = decode_args(w, raw->args, &unit.argc);
    if (rc != RC_OK) return rc;
    unit.args = w->args;
    return run->each(run->ctx, raw, &unit, group_at) ? RC_OK : RC_CLOSED;
}

/* Units in p[0 … n): all of them must end there. */
static enum rc run_units(struct journal__walk *w, const struct group_run *run, const uint8_t *p,
                         size_t n, uint64_t group_at)
{
    for (size_t at = 0; at < n;) {
        struct journal_unit_raw raw;
        enum rc rc = journal_unit_decode(p + at, n - at, &raw);
        if (rc != RC_OK) return nonsense(w, "a unit that does not end with its frame");
        bool joined = (raw.flags & UNIT_JOINED) != 0;
        if (at == 0 && joined) return nonsense(w, "a unit joined to nothing");
        if (at > 0 && !joined && run->one_group) return nonsense(w, "a chain with a second group");
        if (!joined && !run->one_group) group_at = group_lsn(run, at);
        rc = run_unit(w, run, &raw, group_at);
        if (rc != RC_OK) return rc;
        at += raw.bytes;
    }
    return RC_OK;
}

/* Where the last group of a frame that goes on begins in its body. */
static enum rc last_group(struct journal__walk *w, size_t *out)
{
    size_t at = 0;
    size_t group = 0;
    while (at < w->head.length) {
        const uint8_t *p = w->body + at;
        size_t n = w->head.length - at;
        struct journal_unit_raw raw;
        enum rc rc = journal_unit_decode(p, n, &raw);
        if (rc == RC_CORRUPT) return nonsense(w, "a unit that is none");
        uint64_t size = 0;
        if (rc == RC_AGAIN) {
            /* The unit goes on in the next frame; whether it opens a group or is joined stands in its
             * flags, behind the length. If even those are in the next frame, it is joined: a group
             * never begins so close to the end of a frame. */
            const uint8_t *flags = journal_varint_get(p, p + n, &size);
            if (flags != NULL && flags < p + n && (*flags & UNIT_JOINED) == 0) group = at;
            break;
        }
        if ((raw.flags & UNIT_JOINED) == 0) group = at;
        at += raw.bytes;
    }
    *out = group;
    return RC_OK;
}

static bool chain_add(struct journal__walk *w, const uint8_t *data, size_t len)
{
    if (!buf_try_room(&w->chain, len)) return false;
    buf_add(&w->chain, data, len);
    return true;
}

static enum rc chain_begin(struct journal__walk *w, struct group_run *run)
{
    size_t group = 0;
    if (w->head.length == 0) return nonsense(w, "a chain that begins empty");
    enum rc rc = last_group(w, &group);
    if (rc == RC_OK) rc = run_units(w, run, w->body, group, 0);
    if (rc != RC_OK) return rc;
    w->chain.len = 0;
    if (!chain_add(w, w->body + group, w->head.length - group)) return RC_NOMEM;
    w->chain_lsn = run->frame_lsn;
    w->chain_at = group_lsn(run, group);
    w->chain_hlc_us = w->head.hlc_us;
    return RC_OK;
}

static enum rc chain_end(struct journal__walk *w, struct group_run *run)
{
    uint64_t group_at = w->chain_at;
    run->frame_lsn = w->chain_lsn;
    run->hlc_us = w->chain_hlc_us;
    run->one_group = true;
    enum rc rc = run_units(w, run, w->chain.data, w->chain.len, group_at);
    if (rc != RC_OK) return rc;
    w->chain_at = JOURNAL_LSN_OPEN;
    w->chain.len = 0;
    buf_shrink(&w->chain, FRAME_BYTES_MAX);
    return RC_OK;
}

enum rc journal__walk_units(struct journal__walk *w, uint16_t logs, journal__on_unit *each,
                            void *ctx)
{
    struct group_run run = {.frame_lsn = w->head.lsn,
                            .units_lsn = w->head.lsn + FRAME_HEAD_BYTES,
                            .hlc_us = w->head.hlc_us,
                            .logs = logs,
                            .each = each,
                            .ctx = ctx};
    bool first = (w->head.flags & FRAME_FIRST) != 0;
    bool last = (w->head.flags & FRAME_LAST) != 0;
    if (first && last) return run_units(w, &run, w->body, w->head.length, 0);
    if (first) return chain_begin(w, &run);
    if (!chain_add(w, w->body, w->head.length)) return RC_NOMEM;
    return last ? chain_end(w, &run) : RC_OK;
}
