/* shard/journal/recover.c: pass 1 over the logs: every frame of every generation is checked, the last
 * generation's ends are found, and from them the cut up to which pass 2 (journal_set_replay) runs.
 * Nothing is written here: what is cut off becomes final in journal_set_start(). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/base/planted.h"
#include "shard/journal/journal_priv.h"

#define WHERE_BYTES (JOURNAL_PATH_MAX + 64)
#define WATCH_STEP_BYTES (1u << 20)

struct tally { /* of one generation */
    struct journal_part *parts;
    size_t count, cap;
    uint64_t txid; /* the largest */
    uint16_t log;
    bool no_memory;
    bool keeps; /* parts; else only the largest txid is wanted */
};

static bool tally_room(struct tally *t)
{
    if (t->count < t->cap) return true;
    size_t cap = t->cap == 0 ? 256 : t->cap * 2;
    void *grown =
        mem_try_resize(MEM_JOURNAL, t->parts, t->cap * sizeof *t->parts, cap * sizeof *t->parts);
    if (grown == NULL) return false;
    t->parts = grown;
    t->cap = cap;
    return true;
}

static bool note_part(void *ctx, const struct journal_unit_raw *raw,
                      const struct journal_unit *unit, uint64_t group_at)
{
    struct tally *t = ctx;
    (void)unit;
    if ((raw->flags & UNIT_TX) == 0) return true;
    if (raw->txid > t->txid) t->txid = raw->txid;
    if (!t->keeps) return true;
    struct journal_part *last = t->count == 0 ? NULL : &t->parts[t->count - 1];
    bool same =
        last != NULL && last->log == t->log && last->lsn == group_at && last->txid == raw->txid;
    if (same) {
        last->shards_mask |= raw->shards_mask;
        return true;
    }
    t->no_memory = !tally_room(t);
    if (t->no_memory) return false;
    t->parts[t->count++] = (struct journal_part){
        .txid = raw->txid, .lsn = group_at, .shards_mask = raw->shards_mask, .log = t->log};
    return true;
}

/* ---- heads of files */

static bool is_whole_of(const struct journal_file_head *h, const struct journal__generation *g,
                        uint32_t log_index, uint64_t lsn)
{
    return h->generation == g->number && h->log == log_index && h->lsn == lsn;
}

static enum rc judge_head(struct journal_set *set, const struct journal__generation *g,
                          uint32_t log_index, struct journal__file *f, const uint8_t *block,
                          const char *path, struct buf *why)
{
    struct journal_file_head h;
    enum rc rc = journal_file_head_decode(block, &h);
    if (rc == RC_UNSUPPORTED) {
        buf_addf(why, "%s was written by a newer version", path);
        return rc;
    }
    if (rc != RC_OK) return RC_OK; /* head_ok stays false */
    bool ours = memcmp(h.cluster_id, set->manifest.cluster_id, sizeof h.cluster_id) == 0 &&
                memcmp(h.node_id, set->manifest.node_id, sizeof h.node_id) == 0;
    if (!ours) {
        buf_addf(why, "%s belongs to another node", path);
        return RC_INVALID;
    }
    f->head_ok = is_whole_of(&h, g, log_index, f->lsn);
    return RC_OK;
}

/* Is that block of the file zero? Negative: it cannot be read. */
static int is_blank(struct io *io, int fd, uint8_t *block, uint64_t index)
{
    int64_t n = journal__pread(io, fd, block, BLOCK_BYTES, index * BLOCK_BYTES);
    if (n < 0) return (int)n;
    for (int64_t i = 0; i < n; i++)
        if (block[i] != 0) return 0;
    return 1;
}

/* Bytes of blocks that were written; what was only made ready is zero behind them. For progress alone: a value
 * of many zeros may mislead it. Negative: error. */
static int64_t written_bytes(struct io *io, int fd, uint8_t *block, uint64_t file_bytes)
{
    uint64_t low = 1, high = (file_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES, at = 1;
    while (low < high) { /* the first that is blank */
        int blank = is_blank(io, fd, block, at);
        if (blank < 0) return blank;
        if (blank)
            high = at;
        else
            low = at + 1;
        at = low + (high - low) / 2;
    }
    return low > 1 ? (int64_t)(low * BLOCK_BYTES) : 0;
}

/* `is_full`: a file that follows it was begun. */
static enum rc check_file(struct journal_set *set, const struct journal__generation *g,
                          uint32_t log_index, struct journal__file *f, bool is_full, uint8_t *block,
                          struct buf *why)
{
    struct io *io = set->io;
    char path[JOURNAL_PATH_MAX];
    journal__file_path(
        path, set->dir,
        (struct journal__name){.generation = g->number, .log = log_index, .lsn = f->lsn});
    int fd = io->ops->file_open(io, path, O_RDONLY, 0);
    if (fd < 0) return journal__error(why, fd, "cannot open", path);
    enum rc rc = RC_OK;
    int64_t n = io->ops->file_size(io, fd);
    if (n >= 0) {
        f->bytes = (uint64_t)n;
        n = journal__pread(io, fd, block, BLOCK_BYTES, 0);
    }
    if (n < 0)
        rc = journal__error(why, n, "cannot read", path);
    else if (n == BLOCK_BYTES)
        rc = judge_head(set, g, log_index, f, block, path, why);
    if (n >= 0) n = is_full ? (int64_t)f->bytes : written_bytes(io, fd, block, f->bytes);
    if (n < 0 && rc == RC_OK) rc = journal__error(why, n, "cannot read", path);
    f->written = n < 0 ? 0 : (uint64_t)n;
    (void)io->ops->file_close(io, fd);
    return rc;
}

static enum rc check_files(struct journal_set *set, const struct journal__generation *g,
                           uint32_t log_index, struct buf *why)
{
    struct journal__log *log = &g->log[log_index];
    uint8_t *block = mem_try_alloc(MEM_JOURNAL, BLOCK_BYTES);
    if (block == NULL) return RC_NOMEM;
    enum rc rc = RC_OK;
    bool is_full = false;
    for (uint32_t k = log->files_count; k-- > 0 && rc == RC_OK;) {
        rc = check_file(set, g, log_index, &log->files[k], is_full, block, why);
        is_full = is_full || log->files[k].written > 0;
        set->files_bytes += log->files[k].written;
    }
    mem_free(MEM_JOURNAL, block, BLOCK_BYTES);
    return rc;
}

/* ---- one log */

static enum rc refuse(struct journal_set *set, const struct journal__walk *w, const char *what,
                      const char *proof, struct buf *why)
{
    char where[WHERE_BYTES];
    journal__reader_where(&w->r, w->lsn, where, sizeof where);
    buf_addf(why,
             "the log is damaged: %s: %s (%s). Restore the file from a backup, or cut the log "
             "there with: "
             "moonctl data repair %s",
             where, what, proof, set->opts.dir);
    return RC_CORRUPT;
}

static void warn_cut(const struct journal__walk *w, uint64_t bytes, const char *reason)
{
    char where[WHERE_BYTES];
    journal__reader_where(&w->r, w->lsn, where, sizeof where);
    log_warning("journal", "%s: %s: %" PRIu64 " bytes cut off", where, reason, bytes);
}

/* Checked bytes for opts.watch. False: it says stop. */
static bool tell(struct journal_set *set, uint64_t bytes)
{
    set->checked_bytes += bytes;
    if (set->opts.watch == NULL || set->checked_bytes - set->told_bytes < WATCH_STEP_BYTES)
        return true;
    set->told_bytes = set->checked_bytes;
    return set->opts.watch(set->opts.watch_ctx, set->checked_bytes, set->files_bytes);
}

/* Takes frames as far as they go. RC_CLOSED: opts.watch says stop. RC_NOTFOUND or RC_CORRUPT: w->lsn is where they end and w->what says
 * why; RC_OK: the recorded end is reached. */
static enum rc take_frames(struct journal_set *set, struct journal__walk *w,
                           const struct journal__generation *g, struct journal__log *log,
                           struct tally *t)
{
    while (w->lsn < log->end) {
        uint64_t before = w->lsn;
        uint32_t crc_before = w->crc;
        enum rc rc = journal__walk_frame(w);
        if (rc == RC_OK) rc = journal__walk_units(w, g->logs, note_part, t);
        if (rc == RC_CLOSED) rc = RC_NOMEM; /* note_part stops for nothing else */
        if (rc == RC_OK && !tell(set, w->lsn - before)) return RC_CLOSED;
        if (rc != RC_OK) {
            w->lsn = before;
            w->crc = crc_before;
            return rc;
        }
        if (w->head.synced > log->synced) log->synced = w->head.synced;
        if (w->head.hlc_us > set->hlc_us) set->hlc_us = w->head.hlc_us;
        log->closed = (w->head.flags & FRAME_CLOSED) != 0;
    }
    return RC_OK;
}

/* The frames stopped before a recorded end, or at the open end of the last generation. */
static enum rc judge_end(struct journal_set *set, struct journal__walk *w,
                         struct journal__generation *g, struct journal__log *log, bool nonsense,
                         struct buf *why)
{
    struct journal__verdict v = {0};
    const char *what = w->what;
    enum rc rc = journal__judge(w, &v);
    if (rc != RC_OK) return rc;
    if (nonsense)
        v = (struct journal__verdict){
            .damage = true, .proof = "its checksum is right", .torn_bytes = v.torn_bytes};
    if (!v.damage && log->end != JOURNAL_LSN_OPEN) {
        v.damage = true;
        v.proof = "the log of this generation is known to be longer";
    }
    if (v.damage && !set->opts.repair) return refuse(set, w, what, v.proof, why);
    log->apply_end = w->chain_at == JOURNAL_LSN_OPEN ? w->lsn : w->chain_at;
    uint64_t cut = w->lsn - log->apply_end + v.torn_bytes;
    if (v.damage) {
        g->repaired = true;
        warn_cut(w, cut, "damage, the repair cuts here");
    } else if (cut > 0) {
        log->closed = false;
        warn_cut(w, cut, "torn tail of an unclean stop");
    }
    return RC_OK;
}

/* A closing frame is a clean stop only if nothing was begun behind it. */
static bool ends_there(const struct journal__log *log)
{
    if (log->files_count == 0) return false;
    const struct journal__file *f = &log->files[log->files_count - 1];
    if (f->lsn >= log->frames_end) return false;
    uint64_t used = journal_file_offset(log->frames_end - f->lsn);
    return f->bytes <= (used + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

static enum rc recover_log(struct journal_set *set, struct journal__generation *g,
                           uint32_t log_index, struct tally *t, struct buf *why)
{
    struct journal__log *log = &g->log[log_index];
    struct journal__walk w;
    enum rc rc = journal__walk_open(&w, set->io, set, g, log_index);
    if (rc != RC_OK) return rc;
    t->log = (uint16_t)log_index;
    log->apply_end = log->end;
    rc = take_frames(set, &w, g, log, t);
    if (t->txid > set->txid) set->txid = t->txid;
    if (rc == RC_NOTFOUND || rc == RC_CORRUPT)
        rc = judge_end(set, &w, g, log, rc == RC_CORRUPT, why);
    if (rc == RC_IO && why->len == 0) {
        char where[WHERE_BYTES];
        journal__reader_where(&w.r, w.lsn, where, sizeof where);
        buf_addf(why, "cannot read %s", where);
    }
    log->frames_end = w.lsn;
    log->frames_crc = w.crc;
    log->closed = log->closed && ends_there(log);
    journal__walk_close(&w);
    return rc;
}

/* ---- one generation, then all */

static void warn_dropped(const struct journal__generation *g, uint32_t log_index, uint64_t from,
                         uint64_t to)
{
    log_warning("journal",
                "generation %" PRIu32 " log %" PRIu32 ": cut at %" PRIu64 ", %" PRIu64
                " bytes dropped: they depend on a transaction that other logs do not hold",
                g->number, log_index, to, from - to);
}

static enum rc find_cut(struct journal__generation *g, struct tally *t)
{
    uint64_t ends[SHARDS_MAX];
    size_t kept = 0;
    for (uint32_t l = 0; l < g->logs; l++)
        ends[l] = g->log[l].apply_end;
    for (size_t i = 0; i < t->count; i++)
        if (t->parts[i].lsn < ends[t->parts[i].log]) t->parts[kept++] = t->parts[i];
    enum rc rc = journal_cut_greatest(ends, g->logs, t->parts, kept);
    for (uint32_t l = 0; l < g->logs && rc == RC_OK; l++) {
        if (ends[l] == g->log[l].apply_end) continue;
        warn_dropped(g, l, g->log[l].apply_end, ends[l]);
        g->log[l].apply_end = ends[l];
        g->log[l].closed = false;
    }
    return rc;
}

static enum rc recover_generation(struct journal_set *set, struct journal__generation *g,
                                  struct buf *why)
{
    /* The recorded ends of an ended generation are a cut already. */
    struct tally t = {.keeps = !g->ended || set->opts.repair};
    enum rc rc = set->opts.watch == NULL ||
                         set->opts.watch(set->opts.watch_ctx, set->checked_bytes, set->files_bytes)
                     ? RC_OK
                     : RC_CLOSED;
    for (uint32_t l = 0; l < g->logs && rc == RC_OK; l++)
        rc = recover_log(set, g, l, &t, why);
    if (rc == RC_OK && (!g->ended || g->repaired) && !planted(KEEP_HALVES)) rc = find_cut(g, &t);
    mem_free(MEM_JOURNAL, t.parts, t.cap * sizeof *t.parts);
    return rc;
}

/* What follows a repaired generation was decided on data that are gone now. */
static void give_up_after(struct journal_set *set, uint32_t index)
{
    struct journal__manifest *m = &set->manifest;
    while (m->count > index + 1) {
        log_warning("journal", "generation %" PRIu32 " follows the damage and is given up",
                    m->generations[m->count - 1].number);
        journal__manifest_drop(m, m->count - 1);
    }
    set->given_up = true;
}

/* Heads of all files first: their sizes tell how much there is to do. */
static enum rc check_all_files(struct journal_set *set, struct buf *why)
{
    const struct journal__manifest *m = &set->manifest;
    enum rc rc = RC_OK;
    for (uint32_t i = 0; i < m->count; i++)
        for (uint32_t l = 0; l < m->generations[i].logs && rc == RC_OK; l++)
            rc = check_files(set, &m->generations[i], l, why);
    return rc;
}

enum rc journal__recover(struct journal_set *set, struct buf *why)
{
    struct journal__manifest *m = &set->manifest;
    enum rc checked = check_all_files(set, why);
    if (checked != RC_OK) return checked;
    for (uint32_t i = 0; i < m->count; i++) {
        enum rc rc = recover_generation(set, &m->generations[i], why);
        if (rc != RC_OK) return rc;
        if (m->generations[i].repaired) give_up_after(set, i);
    }
    for (uint32_t i = 0; i < m->count; i++)
        for (uint32_t l = 0; l < m->generations[i].logs; l++)
            set->total_bytes += m->generations[i].log[l].apply_end - m->generations[i].log[l].start;
    return RC_OK;
}
