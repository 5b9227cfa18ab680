/* shard/journal/set.c: the directory of all logs of a node: lock, recovery, replay, and the opening of
 * a generation. Everything here blocks; nothing here runs on a serving shard. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/base/planted.h"
#include "shard/base/rng.h"
#include "shard/base/slot.h"
#include "shard/journal/journal_priv.h"

static bool is_zero(const uint8_t *id, size_t bytes)
{
    while (bytes > 0 && id[bytes - 1] == 0)
        bytes--;
    return bytes == 0;
}

static enum rc check_opts(const struct journal_opts *opts, struct buf *why)
{
    if (opts->logs == 0 || opts->logs > SHARDS_MAX) {
        buf_addf(why, "%" PRIu32 " logs: 1 to %u are possible", opts->logs, SHARDS_MAX);
        return RC_INVALID;
    }
    bool blocks = opts->segment_bytes % BLOCK_BYTES == 0 && opts->segment_bytes >= 2 * BLOCK_BYTES;
    if (!blocks) {
        buf_addf(why, "a segment has whole blocks of %u bytes, at least 2", BLOCK_BYTES);
        return RC_INVALID;
    }
    if (strlen(opts->dir) + 128 > JOURNAL_PATH_MAX) {
        buf_addf(why, "the path of the data directory is too long");
        return RC_INVALID;
    }
    return RC_OK;
}

static enum rc take_lock(struct journal_set *set, struct buf *why)
{
    char path[JOURNAL_PATH_MAX];
    int err = set->io->ops->file_mkdir(set->io, set->opts.dir);
    if (err == 0) err = set->io->ops->file_mkdir(set->io, set->dir);
    if (err < 0) return journal__error(why, err, "cannot create", set->dir);
    journal__path(path, set->dir, "LOCK");
    set->lock_fd = set->io->ops->file_open(set->io, path, O_RDWR | O_CREAT, 0644);
    if (set->lock_fd < 0) return journal__error(why, set->lock_fd, "cannot open", path);
    err = set->io->ops->file_lock(set->io, set->lock_fd);
    if (err == -EWOULDBLOCK) {
        buf_addf(why, "%s is in use by another process", set->opts.dir);
        return RC_LOCKED;
    }
    return err < 0 ? journal__error(why, err, "cannot lock", path) : RC_OK;
}

static enum rc agree_on_ids(struct journal_set *set, struct buf *why)
{
    struct journal__manifest *m = &set->manifest;
    const struct journal_opts *o = &set->opts;
    bool cluster_given = !is_zero(o->cluster_id, sizeof o->cluster_id);
    bool node_given = !is_zero(o->node_id, sizeof o->node_id);
    if (set->fresh) {
        rng_secret(m->cluster_id, sizeof m->cluster_id);
        rng_secret(m->node_id, sizeof m->node_id);
        if (cluster_given) memcpy(m->cluster_id, o->cluster_id, sizeof m->cluster_id);
        if (node_given) memcpy(m->node_id, o->node_id, sizeof m->node_id);
        return RC_OK;
    }
    bool same =
        (!cluster_given || memcmp(m->cluster_id, o->cluster_id, sizeof m->cluster_id) == 0) &&
        (!node_given || memcmp(m->node_id, o->node_id, sizeof m->node_id) == 0);
    if (same) return RC_OK;
    buf_addf(why, "%s belongs to another node", set->dir);
    return RC_INVALID;
}

static enum rc load_all(struct journal_set *set, struct buf *why)
{
    enum rc rc = journal__manifest_load(set, why);
    set->fresh = rc == RC_NOTFOUND;
    if (rc != RC_OK && !set->fresh) return rc;
    if (!set->fresh) set->newest = set->manifest.generations[set->manifest.count - 1].number;
    rc = agree_on_ids(set, why);
    if (rc == RC_OK) rc = journal__files_list(set, why);
    if (rc == RC_OK) rc = journal__recover(set, why);
    return rc;
}

enum rc journal_set_open(const struct journal_opts *opts, struct io *io, struct journal_set **out,
                         struct buf *why)
{
    assert(opts->clock != NULL);
    enum rc rc = check_opts(opts, why);
    if (rc != RC_OK) return rc;
    struct journal_set *set = mem_try_zalloc(MEM_JOURNAL, sizeof *set);
    if (set == NULL) return RC_NOMEM;
    set->opts = *opts;
    set->io = io;
    set->lock_fd = -1;
    /* Both paths live in the set: the caller's string may go. */
    (void)snprintf(set->root, sizeof set->root, "%s", opts->dir);
    (void)snprintf(set->dir, sizeof set->dir, "%s/log", opts->dir);
    set->opts.dir = set->root;
    rc = take_lock(set, why);
    if (rc == RC_OK) rc = load_all(set, why);
    if (rc != RC_OK) {
        journal_set_close(set);
        return rc;
    }
    *out = set;
    return RC_OK;
}

uint64_t journal_set_txid(const struct journal_set *set)
{
    return set->txid;
}

void journal_set_close(struct journal_set *set)
{
    if (set->lock_fd >= 0) (void)set->io->ops->file_close(set->io, set->lock_fd);
    journal__manifest_free(&set->manifest);
    mem_free(MEM_JOURNAL, set, sizeof *set);
}

/* ---- the next generation */

static bool may_continue(const struct journal_set *set)
{
    const struct journal__manifest *m = &set->manifest;
    if (m->count == 0) return false;
    const struct journal__generation *g = &m->generations[m->count - 1];
    if (g->ended || g->repaired || g->logs != set->opts.logs || g->epoch != set->opts.epoch)
        return false;
    for (uint32_t l = 0; l < g->logs; l++)
        if (!g->log[l].closed && !planted(SAME_GENERATION)) return false;
    return true;
}

static enum rc sync_file(struct journal_set *set, const struct journal__generation *g,
                         uint32_t log_index, uint64_t lsn, struct buf *why)
{
    char path[JOURNAL_PATH_MAX];
    journal__file_path(
        path, set->dir,
        (struct journal__name){.generation = g->number, .log = log_index, .lsn = lsn});
    int fd = set->io->ops->file_open(set->io, path, O_RDWR, 0);
    if (fd < 0) return journal__error(why, fd, "cannot open", path);
    int err = set->io->ops->file_sync(set->io, fd);
    (void)set->io->ops->file_close(set->io, fd);
    return err < 0 ? journal__error(why, err, "cannot sync", path) : RC_OK;
}

/* After a kill the tail was read from the page cache. It counts from now on, so it must be on disk
 * before the end behind it is recorded: else a power loss now would look like damage. */
static enum rc sync_tails(struct journal_set *set, const struct journal__generation *g,
                          struct buf *why)
{
    for (uint32_t l = 0; l < g->logs; l++) {
        const struct journal__log *log = &g->log[l];
        for (uint32_t k = 0; k < log->files_count; k++) {
            bool dirty =
                journal__file_end(log, k) > log->synced && log->files[k].lsn < log->frames_end;
            enum rc rc = dirty ? sync_file(set, g, l, log->files[k].lsn, why) : RC_OK;
            if (rc != RC_OK) return rc;
        }
    }
    return RC_OK;
}

static bool is_empty(const struct journal__generation *g)
{
    for (uint32_t l = 0; l < g->logs; l++)
        if (g->log[l].end > g->log[l].start) return false;
    return true;
}

static enum rc next_generation(struct journal_set *set, struct buf *why)
{
    struct journal__manifest *m = &set->manifest;
    if (m->count > 0) {
        struct journal__generation *g = &m->generations[m->count - 1];
        enum rc rc = sync_tails(set, g, why);
        if (rc != RC_OK) return rc;
        for (uint32_t l = 0; l < g->logs; l++)
            g->log[l].end = g->log[l].apply_end;
        g->ended = true;
        if (is_empty(g)) journal__manifest_drop(m, m->count - 1);
    }
    if (set->newest == UINT32_MAX - 1) return RC_TOOBIG;
    struct journal__generation *g =
        journal__manifest_add(m, ++set->newest, (uint16_t)set->opts.logs);
    if (g == NULL) return RC_NOMEM;
    g->epoch = set->opts.epoch;
    for (uint32_t l = 0; l < g->logs; l++) {
        g->log[l].start_crc = journal_seed(m->cluster_id, m->node_id, g->number, (uint16_t)l);
        g->log[l].frames_crc = g->log[l].start_crc;
    }
    return journal__manifest_store(set, why);
}

enum rc journal_set_start(struct journal_set *set, struct buf *why)
{
    assert(!set->started);
    bool go_on = may_continue(set);
    enum rc rc = go_on ? RC_OK : next_generation(set, why);
    if (rc == RC_OK && set->fresh) rc = journal__sync_dir(set->io, set->root, why);
    if (rc == RC_OK) rc = journal__files_clean(set, why);
    if (rc != RC_OK) return rc;
    const struct journal__generation *g = &set->manifest.generations[set->manifest.count - 1];
    log_verbose("journal", "generation %" PRIu32 " with %u logs %s", g->number, g->logs,
                go_on ? "goes on" : "begins");
    set->started = true;
    return RC_OK;
}
