/* shard/journal/flush.c: from memory to the segment, and from there to the disk.
 *
 * A buffered segment is written at the end of the pass, by one system call into the page cache. Of a
 * direct one, one write is in flight at most; what is sealed meanwhile goes with the next. In the file
 * every block ends with a stamp, so a write alternates between pieces of frames, where they lie in
 * memory, and stamps:
 *
 *   │ frames … 4,092 bytes │stamp│ 4,092 bytes │stamp│ rest
 *
 * A direct segment takes whole blocks only: the pieces are copied into `image`, whose first block
 * is the partly filled one that the last write ended with. It may be rewritten because nothing else
 * is in flight, and a torn rewrite leaves its older part as it was.
 *
 * Syncs go through the segments in order, so that nothing is missing below `synced_bytes`. A frame may
 * lie in two writes, or two segments, and a group in several frames: what counts as durable is
 * `synced`, the end of the last whole chain, for recovery takes frames and groups whole. */
#include <errno.h>
#include <inttypes.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/journal/writer_priv.h"

#define NOWHERE_MAX 8u

static void on_written(struct io_op *op, int32_t result);
static void on_synced(struct io_op *op, int32_t result);

enum outcome {
    WRITE_DONE,
    WRITE_MORE,    /* a part is left, or nothing was written by chance */
    WRITE_STOPPED, /* no space, or failed for good */
};

/* ---- faults */

void journal__refuse(struct journal *j, enum rc rc)
{
    bool worse = rc == RC_IO && !j->failed;
    if (j->refusing && !worse) return;
    j->refusing = true;
    j->refuse_rc = rc;
    j->failed = rc == RC_IO;
    j->grant = 0;
    log_warning("journal", "log %u refuses writes: %s", j->log, rc_text(rc));
    if (j->events.on_refuse != NULL) j->events.on_refuse(j->events.ctx, true, rc);
}

void journal__resume(struct journal *j)
{
    if (!j->refusing || j->failed || j->write_stalled || j->make_stalled) return;
    j->refusing = false;
    j->refuse_rc = RC_OK;
    log_notice("journal", "log %u takes writes again", j->log);
    if (j->events.on_refuse != NULL) j->events.on_refuse(j->events.ctx, false, RC_OK);
}

/* ---- segments that are full */

static void on_closed(struct io_op *op, int32_t result)
{
    struct journal__segment *s = container_of(op, struct journal__segment, close_op);
    struct journal__segment **link = &s->j->leaving;
    (void)result; /* what it held was synced before */
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    mem_free(MEM_JOURNAL, s, sizeof *s);
}

/* Asynchronous; frees it at the end. */
static void segment_close(struct journal *j, struct journal__segment *s)
{
    s->j = j;
    s->close_op.done = on_closed;
    s->next = j->leaving;
    j->leaving = s;
    j->io->ops->close(j->io, &s->close_op, s->fd);
}

static void retire(struct journal *j)
{
    struct journal__segment *s = j->current;
    j->current = NULL;
    s->next = NULL;
    s->end_frames = j->written_frames;
    *j->retired_tail = s;
    j->retired_tail = &s->next;
    /* Also under `no`: a segment leaves only when it is on disk, once per segment. */
    journal__sync(j, s->end);
}

static void close_synced(struct journal *j)
{
    while (j->retired != NULL && j->retired->end <= j->synced_bytes) {
        struct journal__segment *s = j->retired;
        j->retired = s->next;
        if (j->retired == NULL) j->retired_tail = &j->retired;
        segment_close(j, s);
    }
}

/* ---- syncing */

/* Bytes below lsn are on disk, and so are the chains of frames that end at or below `frames`. */
static void set_synced(struct journal *j, uint64_t lsn, uint64_t frames)
{
    assert(lsn >= j->synced_bytes);
    j->synced_bytes = lsn;
    if (frames <= j->synced) return;
    j->synced = frames;
    if (j->events.on_durable != NULL) j->events.on_durable(j->events.ctx, frames);
}

void journal__sync(struct journal *j, uint64_t goal)
{
    assert(goal <= j->written);
    if (goal > j->sync_goal) j->sync_goal = goal;
    close_synced(j);
    if (j->syncing || j->failed || j->synced_bytes >= j->sync_goal) return;
    const struct journal__segment *s = j->retired != NULL ? j->retired : j->current;
    assert(s != NULL);
    bool whole = s->end <= j->written;
    j->sync_target = whole ? s->end : j->written;
    j->sync_target_frames = whole ? s->end_frames : j->written_frames;
    j->sync_op.done = on_synced;
    j->syncing = true;
    j->sync_started_ns = clock_mono_ns(j->clock);
    j->io->ops->fdatasync(j->io, &j->sync_op, s->fd);
}

static void on_synced(struct io_op *op, int32_t result)
{
    struct journal *j = container_of(op, struct journal, sync_op);
    j->syncing = false;
    if (j->failed) return;
    if (result < 0) {
        /* Never tried again: the kernel may have dropped the pages and would now say yes. */
        log_warning("journal", "log %u: sync failed: %s", j->log, strerror(-result));
        journal__refuse(j, RC_IO);
        return;
    }
    j->syncs++;
    j->last_sync_us = (clock_mono_ns(j->clock) - j->sync_started_ns) / 1000;
    set_synced(j, j->sync_target, j->sync_target_frames);
    journal__sync(j, j->sync_goal);
    journal__flush(j);
}

/* ---- building a write */

/* The frame that holds the byte before lsn; that byte lies in chunk c. */
static uint64_t frame_of(struct journal *j, const struct journal__chunk *c, uint64_t lsn)
{
    while (j->frame_end < lsn) {
        assert(j->frame_end >= c->lsn);
        j->frame_lsn = j->frame_end;
        const uint8_t *head = c->data + (j->frame_lsn - c->lsn);
        uint8_t flags = journal_frame_flags(head);
        if ((flags & FRAME_FIRST) != 0) j->frame_chain_lsn = j->frame_lsn;
        j->frame_is_last = (flags & FRAME_LAST) != 0;
        j->frame_end += FRAME_HEAD_BYTES + journal_frame_length(head);
    }
    return j->frame_lsn;
}

static void add_piece(struct journal *j, uint64_t lsn, const void *data, size_t len,
                      size_t at_block)
{
    if (j->current->direct) {
        uint64_t first = (j->written - j->current->lsn) / BLOCK_LOG_BYTES;
        uint64_t block = (lsn - j->current->lsn) / BLOCK_LOG_BYTES;
        memcpy(j->image + (block - first) * BLOCK_BYTES + at_block, data, len);
        return;
    }
    assert(j->iov_count < WRITE_IOVECS_MAX);
    j->iov[j->iov_count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
}

/* Takes [written, …) as far as one write and the segment go. Returns where it ends. */
static uint64_t add_pieces(struct journal *j)
{
    uint64_t lsn = j->written;
    uint64_t limit = lsn + WRITE_LOG_BYTES_MAX - BLOCK_LOG_BYTES;
    if (limit > j->sealed) limit = j->sealed;
    if (limit > j->current->end) limit = j->current->end;
    const struct journal__chunk *c = j->oldest;
    while (lsn < limit && j->iov_count + 2 <= WRITE_IOVECS_MAX) {
        uint64_t chunk_end = c->lsn + journal__chunk_used(j, c);
        if (lsn >= chunk_end) {
            c = c->next;
            continue;
        }
        size_t at_block = (size_t)((lsn - j->current->lsn) % BLOCK_LOG_BYTES);
        size_t n = BLOCK_LOG_BYTES - at_block;
        if (n > limit - lsn) n = (size_t)(limit - lsn);
        if (n > chunk_end - lsn) n = (size_t)(chunk_end - lsn);
        add_piece(j, lsn, c->data + (lsn - c->lsn), n, at_block);
        uint64_t frame = frame_of(j, c, lsn + n);
        if (at_block + n == BLOCK_LOG_BYTES) {
            uint32_t *stamp = &j->stamps[j->stamp_count++];
            *stamp = journal_stamp(frame, j->seed);
            add_piece(j, lsn, stamp, sizeof *stamp, BLOCK_LOG_BYTES);
        }
        lsn += n;
    }
    return lsn;
}

/* Rounds the image to whole blocks, the rest of the last one zero. */
static void close_image(struct journal *j, uint64_t from, uint64_t to)
{
    uint64_t first = (from - j->current->lsn) / BLOCK_LOG_BYTES;
    uint64_t used = journal_file_offset(to - j->current->lsn) - BLOCK_BYTES - first * BLOCK_BYTES;
    uint64_t whole = (used + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    assert(whole <= WRITE_BLOCKS_MAX * BLOCK_BYTES);
    memset(j->image + used, 0, whole - used);
    j->iov[0] = (struct iovec){.iov_base = j->image, .iov_len = whole};
    j->iov_count = 1;
    j->write_offset = BLOCK_BYTES + first * BLOCK_BYTES;
}

/* Builds the next write. False: there is nothing to write, or not now. */
static bool build(struct journal *j)
{
    if (j->writing || j->write_stalled || j->failed || j->written == j->sealed) return false;
    /* `always` on a buffered segment: write and sync take turns. */
    if (j->fsync == JOURNAL_ALWAYS && j->syncing) return false;
    /* Without one, the segment that is being made comes back to flush when it is ready. */
    if (j->current == NULL && journal__segment_take(j) == NULL) return false;
    assert(j->written >= j->current->lsn && j->written < j->current->end);
    j->iov_first = 0;
    j->iov_count = 0;
    j->stamp_count = 0;
    j->write_dsync = j->fsync == JOURNAL_ALWAYS && j->current->direct;
    j->write_offset = journal_file_offset(j->written - j->current->lsn);
    j->write_to = add_pieces(j);
    if (j->current->direct) close_image(j, j->written, j->write_to);
    return true;
}

/* ---- the end of a write */

/* Drops what was written from the front of the iovecs. True: nothing is left. */
static bool advance(struct journal *j, size_t bytes)
{
    if (j->current->direct) bytes -= bytes % BLOCK_BYTES;
    j->write_offset += bytes;
    while (j->iov_first < j->iov_count && bytes >= j->iov[j->iov_first].iov_len)
        bytes -= j->iov[j->iov_first++].iov_len;
    if (j->iov_first == j->iov_count) return true;
    struct iovec *part = &j->iov[j->iov_first];
    part->iov_base = (uint8_t *)part->iov_base + bytes;
    part->iov_len -= bytes;
    return false;
}

static void keep_last_block(struct journal *j, uint64_t from, uint64_t to)
{
    uint64_t first = (from - j->current->lsn) / BLOCK_LOG_BYTES;
    uint64_t last = (to - j->current->lsn) / BLOCK_LOG_BYTES;
    bool partly = (to - j->current->lsn) % BLOCK_LOG_BYTES != 0;
    if (partly && last != first)
        memcpy(j->image, j->image + (last - first) * BLOCK_BYTES, BLOCK_BYTES);
}

static void write_done(struct journal *j)
{
    uint64_t from = j->written;
    if (j->current->direct) keep_last_block(j, from, j->write_to);
    j->written = j->write_to;
    bool whole = j->frame_end == j->written && j->frame_is_last;
    j->written_frames = whole ? j->frame_end : j->frame_chain_lsn;
    journal__chunks_written(j);
    if (j->write_dsync && j->synced_bytes >= from) {
        set_synced(j, j->written, j->written_frames);
        if (j->sync_goal < j->written) j->sync_goal = j->written;
    }
    if (j->written == j->current->end) retire(j);
    if (j->fsync == JOURNAL_ALWAYS)
        journal__sync(j, j->written);
    else
        close_synced(j);
    if (j->events.on_written != NULL) j->events.on_written(j->events.ctx);
}

/* Takes the result of a write. */
static enum outcome after_write(struct journal *j, int64_t result)
{
    j->writing = false;
    if (j->failed) return WRITE_STOPPED;
    if (result == -EINTR || result == -EAGAIN) return WRITE_MORE;
    /* A direct write that did not get through one block has got nowhere; a few times may be chance. */
    bool nowhere =
        result == 0 || (j->current->direct && result > 0 && result < (int64_t)BLOCK_BYTES);
    j->write_nowhere = nowhere ? j->write_nowhere + 1 : 0;
    if (result == -ENOSPC || result == -EDQUOT || j->write_nowhere > NOWHERE_MAX) {
        j->write_stalled = true; /* tried again each second */
        j->write_nowhere = 0;
        journal__refuse(j, RC_NOSPACE);
        return WRITE_STOPPED;
    }
    if (result < 0) {
        log_warning("journal", "log %u: write failed: %s", j->log, strerror((int)-result));
        journal__refuse(j, RC_IO);
        return WRITE_STOPPED;
    }
    bool done = advance(j, (size_t)result);
    if (done) write_done(j);
    journal__resume(j);
    return done ? WRITE_DONE : WRITE_MORE;
}

/* A write that is not durable happens here and now: replies of this pass leave after it, so that a kill of the
 * process loses none of them. Asked of the ring it would be done by another thread, later. (Also where the
 * segment is direct, from a time when the policy was `always`: then the disk is waited for, not its sync.) */
static enum outcome write_now(struct journal *j)
{
    enum outcome o = WRITE_MORE;
    while (o == WRITE_MORE)
        o = after_write(j, j->io->ops->file_pwritev(j->io, j->current->fd, j->iov + j->iov_first,
                                                    j->iov_count - j->iov_first, j->write_offset));
    return o;
}

/* The write that is built, or what is left of it. True: it is done already. */
static bool submit(struct journal *j)
{
    if (!j->write_dsync) return write_now(j) == WRITE_DONE;
    j->writing = true;
    j->write_op.done = on_written;
    j->io->ops->write(j->io, &j->write_op, j->current->fd, j->iov + j->iov_first,
                      j->iov_count - j->iov_first, j->write_offset, j->write_dsync);
    return false;
}

void journal__flush(struct journal *j)
{
    bool more = true;
    while (more)
        more = build(j) && submit(j);
}

static void on_written(struct io_op *op, int32_t result)
{
    struct journal *j = container_of(op, struct journal, write_op);
    enum outcome o = after_write(j, result);
    if (o == WRITE_DONE || (o == WRITE_MORE && submit(j))) journal__flush(j);
}

void journal__write_again(struct journal *j)
{
    if (!j->write_stalled) return;
    j->write_stalled = false;
    if (submit(j)) journal__flush(j);
}
