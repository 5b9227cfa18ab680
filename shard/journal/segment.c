/* shard/journal/segment.c: files made ready before they are needed, one step after the other, each an
 * asynchronous operation:
 *
 *   open → allocate → head block → zeros (direct only) → sync → sync of the directory → ready
 *
 * When a segment is ready its name, size and head survive a crash. For `always` its blocks are zeros on
 * disk (a write then changes no metadata) and it is opened with O_DIRECT; where the file system
 * refuses that, and for the other policies, it is buffered and only allocated. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/journal/writer_priv.h"

#define ZERO_SLICE_BYTES (256u << 10)
/* Read only, shared by all threads; never touched, so it costs no memory but the zero page. */
static uint8_t zeros[ZERO_SLICE_BYTES] __attribute__((aligned(BLOCK_BYTES)));

static void on_step(struct io_op *op, int32_t result);

static uint32_t wanted(const struct journal *j)
{
    if (j->closing) return j->current == NULL && j->written < journal__lsn(j) ? 1 : 0;
    /* A log that gathers more than the files ahead can take needs more of them. */
    uint64_t capacity = journal_file_capacity(j->set->opts.segment_bytes);
    uint64_t gathered = (journal__lsn(j) - j->written) / capacity;
    return JOURNAL_SEGMENTS_AHEAD + (uint32_t)gathered + (j->current == NULL ? 1 : 0);
}

static uint64_t next_lsn(const struct journal *j)
{
    if (j->ready != NULL) return container_of(j->ready_tail, struct journal__segment, next)->end;
    return j->current != NULL ? j->current->end : j->written;
}

static void start_open(struct journal *j)
{
    const struct journal__segment *s = j->making;
    struct journal__name name = {.generation = j->generation, .log = j->log, .lsn = s->lsn};
    journal__file_path(j->make_path, j->set->dir, name);
    int flags = O_RDWR | O_CREAT | O_CLOEXEC;
    if (s->direct) flags |= O_DIRECT;
    if (!j->reopen) flags |= O_EXCL; /* what is there already is somebody's log */
    j->io->ops->open(j->io, &j->step_op, j->make_path, flags, 0644);
}

static void start_head(struct journal *j)
{
    struct journal_file_head h = {
        .log = j->log,
        .logs = j->logs,
        .generation = j->generation,
        .epoch = j->epoch,
        .lsn = j->making->lsn,
        .file_bytes = j->set->opts.segment_bytes,
        .created_us = clock_wall_us(j->clock),
        .prewritten = j->making->direct,
    };
    memcpy(h.cluster_id, j->set->manifest.cluster_id, sizeof h.cluster_id);
    memcpy(h.node_id, j->set->manifest.node_id, sizeof h.node_id);
    journal_file_head_encode(j->head_block, &h);
    j->step_offset = 0;
    j->step_iov = (struct iovec){.iov_base = j->head_block, .iov_len = BLOCK_BYTES};
    j->io->ops->write(j->io, &j->step_op, j->making->fd, &j->step_iov, 1, 0, false);
}

static void start_zero(struct journal *j)
{
    uint64_t rest = j->set->opts.segment_bytes - j->step_offset;
    size_t n = rest < ZERO_SLICE_BYTES ? (size_t)rest : ZERO_SLICE_BYTES;
    j->step_iov = (struct iovec){.iov_base = zeros, .iov_len = n};
    j->io->ops->write(j->io, &j->step_op, j->making->fd, &j->step_iov, 1, j->step_offset, false);
}

/* Starts the operation of j->step. */
static void start_step(struct journal *j)
{
    j->step_busy = true;
    j->step_op.done = on_step;
    switch (j->step) {
    case STEP_OPEN:
        start_open(j);
        return;
    case STEP_ALLOCATE:
        j->io->ops->fallocate(j->io, &j->step_op, j->making->fd, 0, j->set->opts.segment_bytes);
        return;
    case STEP_HEAD:
        start_head(j);
        return;
    case STEP_ZERO:
        start_zero(j);
        return;
    case STEP_SYNC:
        j->io->ops->fdatasync(j->io, &j->step_op, j->making->fd);
        return;
    case STEP_SYNC_DIR:
        j->io->ops->fsync(j->io, &j->step_op, j->dir_fd);
        return;
    case STEP_CLOSE_TO_REOPEN:
        j->io->ops->close(j->io, &j->step_op, j->making->fd);
        return;
    case STEP_NONE:
        break;
    }
    assert(false); /* no step to start */
}

void journal__prepare(struct journal *j)
{
    if (j->step_busy || j->failed || j->make_stalled) return;
    if (j->step != STEP_NONE) {
        if (j->closing && j->ready_count >= wanted(j))
            return; /* journal_close() removes the half made one */
        start_step(j);
        return;
    }
    if (j->ready_count >= wanted(j)) return;
    struct journal__segment *s = mem_alloc(MEM_JOURNAL, sizeof *s);
    uint64_t lsn = next_lsn(j);
    *s = (struct journal__segment){
        .fd = -1,
        .direct = j->fsync == JOURNAL_ALWAYS && !j->direct_refused,
        .lsn = lsn,
        .end = lsn + journal_file_capacity(j->set->opts.segment_bytes),
    };
    if (s->direct && j->image == NULL)
        j->image = mem_alloc_aligned(MEM_JOURNAL, BLOCK_BYTES, WRITE_BLOCKS_MAX * BLOCK_BYTES);
    j->making = s;
    j->reopen = false;
    j->step = STEP_OPEN;
    start_step(j);
}

static void made(struct journal *j)
{
    struct journal__segment *s = j->making;
    j->making = NULL;
    j->step = STEP_NONE;
    s->next = NULL;
    *j->ready_tail = s;
    j->ready_tail = &s->next;
    j->ready_count++;
    journal__resume(j);
    journal__flush(j);
}

/* The step went well: on to the next one. */
static void advance(struct journal *j, int32_t result)
{
    switch (j->step) {
    case STEP_OPEN:
        j->making->fd = result;
        j->step = STEP_ALLOCATE;
        return;
    case STEP_ALLOCATE:
        j->step = STEP_HEAD;
        return;
    case STEP_HEAD:
        j->step_offset = BLOCK_BYTES;
        j->step = j->making->direct ? STEP_ZERO : STEP_SYNC;
        return;
    case STEP_ZERO:
        j->step_offset += (uint64_t)result - (uint64_t)result % BLOCK_BYTES;
        if (j->step_offset >= j->set->opts.segment_bytes) j->step = STEP_SYNC;
        return;
    case STEP_SYNC:
        j->step = STEP_SYNC_DIR;
        return;
    case STEP_SYNC_DIR:
        made(j);
        return;
    case STEP_CLOSE_TO_REOPEN:
        j->making->fd = -1;
        j->step = STEP_OPEN;
        return;
    case STEP_NONE:
        break;
    }
    assert(false); /* no step was under way */
}

static bool is_for_lack(int32_t result)
{
    return result == -ENOSPC || result == -EDQUOT || result == -EMFILE || result == -ENFILE ||
           result == -ENOMEM;
}

/* The file system cannot do this step, but can do without. */
static bool step_around(struct journal *j, int32_t result)
{
    bool unknown = result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL;
    if (j->step == STEP_ALLOCATE && unknown) {
        j->step = STEP_HEAD;
        return true;
    }
    bool writes = j->step == STEP_OPEN || j->step == STEP_HEAD || j->step == STEP_ZERO;
    if (!writes || !j->making->direct || !unknown) return false;
    log_notice("journal",
               "log %u: the file system refuses O_DIRECT: appendfsync always writes through the "
               "page cache",
               j->log);
    j->direct_refused = true;
    j->making->direct = false;
    j->reopen = true;
    j->step = j->making->fd < 0 ? STEP_OPEN : STEP_CLOSE_TO_REOPEN;
    return true;
}

static void step_failed(struct journal *j, int32_t result)
{
    if (result == -EINTR || result == -EAGAIN) return; /* again at once */
    if (step_around(j, result)) return;
    bool lack = is_for_lack(result);
    if (!lack || !j->make_stalled)
        log_warning("journal", "log %u: cannot prepare %s: %s", j->log, j->make_path,
                    strerror(-result));
    j->make_stalled = lack;
    /* While a segment is ready or in use the log goes on; it refuses before room for what it promised
     * runs out. */
    if (!lack)
        journal__refuse(j, RC_IO);
    else if (j->ready == NULL)
        journal__refuse(j, RC_NOSPACE);
}

static void on_step(struct io_op *op, int32_t result)
{
    struct journal *j = container_of(op, struct journal, step_op);
    j->step_busy = false;
    bool is_write = j->step == STEP_HEAD || j->step == STEP_ZERO;
    if (is_write && result == 0) result = -ENOSPC;
    if (is_write && result > 0 && result < (int32_t)BLOCK_BYTES)
        result = -EAGAIN; /* not a whole block */
    if (j->step == STEP_OPEN && result >= 0) j->segments++;
    if (result < 0) {
        step_failed(j, result);
    } else {
        j->make_stalled = false;
        advance(j, result);
    }
    journal__prepare(j);
}

void journal__prepare_again(struct journal *j)
{
    /* Stalled until a step goes well: a try is no reason to take writes. */
    if (j->make_stalled && !j->step_busy && !j->failed) start_step(j);
}

struct journal__segment *journal__segment_take(struct journal *j)
{
    struct journal__segment *s = j->ready;
    if (s != NULL) {
        j->ready = s->next;
        if (j->ready == NULL) j->ready_tail = &j->ready;
        j->ready_count--;
        s->next = NULL;
        j->current = s;
    }
    journal__prepare(j);
    if (j->make_stalled && j->ready == NULL) journal__refuse(j, RC_NOSPACE);
    return s;
}
