/* shard/journal/journal.c: one open log: opening, the end of a pass, the tick of a second, closing. */
#include "shard/journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/journal/writer_priv.h"

#define TICK_MS 1000u

/* ---- the tick: one moment for all logs of a node, so that they sync together */

static void arm_tick(struct journal *j)
{
    uint64_t now_ms = clock_mono_ns(j->clock) / 1000000;
    timer_arm(j->timers, &j->tick, (now_ms / TICK_MS + 1) * TICK_MS);
}

static void on_tick(struct timer *t)
{
    struct journal *j = container_of(t, struct journal, tick);
    if (j->failed) return;
    arm_tick(j);
    journal__write_again(j);
    journal__prepare_again(j);
    if (j->fsync != JOURNAL_EVERYSEC || j->written == j->synced_bytes) return;
    if (j->syncing) j->delayed_syncs++;
    journal__sync(j, j->written);
}

/* ---- opening */

static void free_segments(struct journal__segment *s)
{
    while (s != NULL) {
        struct journal__segment *next = s->next;
        mem_free(MEM_JOURNAL, s, sizeof *s);
        s = next;
    }
}

void journal__abandon(struct journal *j)
{
    if (timer_armed(&j->tick)) timer_cancel(j->timers, &j->tick);
    free_segments(j->current);
    free_segments(j->ready);
    free_segments(j->retired);
    free_segments(j->making);
    free_segments(j->leaving);
    journal__chunks_free(j);
    mem_free_aligned(MEM_JOURNAL, j->head_block, BLOCK_BYTES, BLOCK_BYTES);
    mem_free_aligned(MEM_JOURNAL, j->image, BLOCK_BYTES, WRITE_BLOCKS_MAX * BLOCK_BYTES);
    mem_free(MEM_JOURNAL, j, sizeof *j);
}

static void close_fd(struct journal *j, int fd)
{
    if (fd >= 0) (void)j->io->ops->file_close(j->io, fd);
}

/* Takes the log out of the set's last generation, where recovery left it. */
static struct journal *journal_new(struct journal_set *set, uint32_t log, struct io *io,
                                   struct timer_wheel *timers, const struct journal_events *events)
{
    const struct journal__generation *g = &set->manifest.generations[set->manifest.count - 1];
    struct journal *j = mem_zalloc(MEM_JOURNAL, sizeof *j);
    j->set = set;
    j->io = io;
    j->timers = timers;
    j->clock = set->opts.clock;
    j->events = *events;
    j->tick.fire = on_tick;
    j->fsync = set->opts.fsync;
    j->generation = g->number;
    j->epoch = g->epoch;
    j->log = (uint16_t)log;
    j->logs = g->logs;
    j->seed = journal_seed(set->manifest.cluster_id, set->manifest.node_id, g->number, j->log);
    j->hlc_us = set->hlc_us;
    j->dir_fd = -1;
    j->retired_tail = &j->retired;
    j->ready_tail = &j->ready;
    j->head_block = mem_alloc_aligned(MEM_JOURNAL, BLOCK_BYTES, BLOCK_BYTES);
    journal__chunks_init(j, g->log[log].frames_end, g->log[log].frames_crc);
    return j;
}

enum rc journal_open(struct journal_set *set, uint32_t log, struct io *io,
                     struct timer_wheel *timers, const struct journal_events *events,
                     struct journal **out)
{
    assert(set->started);
    assert(log < set->opts.logs);
    struct journal *j = journal_new(set, log, io, timers, events);
    j->dir_fd = io->ops->file_open(io, set->dir, O_RDONLY | O_DIRECTORY, 0);
    if (j->dir_fd < 0) {
        enum rc rc = rc_from_errno(j->dir_fd);
        journal__abandon(j);
        return rc;
    }
    /* The first segment by the same steps as all others, waited for. */
    journal__prepare(j);
    while (j->ready == NULL && !j->refusing)
        (void)io_turn(io, -1);
    if (j->refusing) {
        enum rc rc = j->refuse_rc;
        journal__discard(j);
        return rc;
    }
    arm_tick(j);
    *out = j;
    return RC_OK;
}

/* ---- a pass */

void journal_pass(struct journal *j, int64_t wall_us)
{
    assert(!j->in_group);
    if (journal__lsn(j) == j->sealed) return;
    journal__seal(j, wall_us);
    journal__chunks_trim(j);
    journal__flush(j);
}

uint64_t journal_durable_lsn(const struct journal *j)
{
    return j->synced;
}

uint64_t journal_safe_lsn(const struct journal *j)
{
    return j->fsync == JOURNAL_ALWAYS ? j->synced : j->written_frames;
}

uint64_t journal_generation(const struct journal *j)
{
    return j->generation;
}

void journal_set_fsync(struct journal *j, enum journal_fsync fsync)
{
    j->fsync = fsync;
    if (fsync != JOURNAL_NO) journal__sync(j, j->written);
    journal__flush(j);
}

bool journal_makes_wait(const struct journal *j)
{
    return !j->failed && (j->fsync == JOURNAL_ALWAYS || j->written != j->sealed);
}

void journal_stats_read(const struct journal *j, struct journal_stats *out)
{
    *out = (struct journal_stats){
        .lsn = journal__lsn(j),
        .durable_lsn = j->synced,
        .generation = j->generation,
        .frames = j->frames,
        .units = j->units,
        .bytes = j->bytes,
        .syncs = j->syncs,
        .segments = j->segments,
        .last_sync_us = j->last_sync_us,
        .delayed_syncs = j->delayed_syncs,
        .gathered_bytes = journal__lsn(j) - j->written,
        .direct = j->current != NULL && j->current->direct,
        .refusing = j->refusing,
        .refuse_rc = j->refuse_rc,
    };
}

/* ---- closing */

static bool is_busy(const struct journal *j)
{
    return j->writing || j->syncing || j->step_busy || j->leaving != NULL;
}

/* Until all is on disk, or the disk refuses. */
static void drain(struct journal *j)
{
    while (true) {
        journal__prepare(j);
        journal__flush(j);
        if (!j->failed && !j->syncing) journal__sync(j, j->written);
        if (!is_busy(j)) return;
        (void)io_turn(j->io, -1);
    }
}

static void wait_idle(struct journal *j)
{
    while (is_busy(j))
        (void)io_turn(j->io, -1);
}

static void unlink_segment(struct journal *j, const struct journal__segment *s)
{
    char path[JOURNAL_PATH_MAX];
    struct journal__name name = {.generation = j->generation, .log = j->log, .lsn = s->lsn};
    journal__file_path(path, j->set->dir, name);
    (void)j->io->ops->file_unlink(j->io, path); /* if it stays, the next start is an unclean one */
}

/* The segment in use shrinks to what is in it, those ahead go. */
static void tidy(struct journal *j)
{
    if (j->current != NULL) {
        uint64_t used = journal_file_offset(j->written - j->current->lsn);
        uint64_t want = (used + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
        (void)j->io->ops->file_truncate(j->io, j->current->fd, want);
    }
    for (const struct journal__segment *s = j->ready; s != NULL; s = s->next)
        unlink_segment(j, s);
    if (j->making != NULL) unlink_segment(j, j->making);
    if (j->io->ops->file_sync(j->io, j->dir_fd) < 0)
        log_warning("journal", "log %u: cannot sync the directory", j->log);
}

void journal__discard(struct journal *j)
{
    j->closing = true;
    wait_idle(j);
    for (const struct journal__segment *s = j->ready; s != NULL; s = s->next)
        close_fd(j, s->fd);
    for (const struct journal__segment *s = j->retired; s != NULL; s = s->next)
        close_fd(j, s->fd);
    if (j->current != NULL) close_fd(j, j->current->fd);
    if (j->making != NULL) close_fd(j, j->making->fd);
    close_fd(j, j->dir_fd);
    journal__abandon(j);
}

void journal_close(struct journal *j, bool clean)
{
    assert(!j->in_group);
    j->closing = true;
    if (journal__lsn(j) != j->sealed) journal__seal(j, j->hlc_us);
    drain(j);
    bool whole = j->synced == journal__lsn(j);
    if (clean && whole) {
        journal__append_closed(j);
        journal__seal(j, j->hlc_us);
        drain(j);
        whole = j->synced == journal__lsn(j);
    }
    if (whole)
        tidy(j);
    else
        log_warning("journal", "log %u: %" PRIu64 " bytes could not be written before the stop",
                    j->log, journal__lsn(j) - j->synced);
    journal__discard(j);
}
