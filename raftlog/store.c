/* raftlog/store.c: what each operation writes, in which order. See store_priv.h.
 *
 *   append     [new segment: open, fallocate, head, sync, dir sync, meta] records, sync
 *   truncate   is a record; it shares the write with its neighbours
 *   meta       meta.0, sync, meta.1, sync: whichever is torn, the other one is whole
 *   snapshot   .tmp, sync, rename, dir sync; [install: new segment;] meta; then what is old is unlinked
 *
 * A new segment, and the first one still needed, are named in meta before anything builds on it. So a
 * start knows exactly which files must be there; all others are left-overs. */
#include "raftlog/store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"

void store__segment_path(const struct store *s, uint32_t sequence, uint64_t first_index, char *out)
{
    (void)snprintf(out, STORE_PATH_MAX, "%s/seg-%08x-%016llx.log", s->dir, sequence,
                   (unsigned long long)first_index);
}

void store__snapshot_path(const struct store *s, uint64_t index, uint64_t term, char *out)
{
    (void)snprintf(out, STORE_PATH_MAX, "%s/snap-%016llx-%016llx", s->dir,
                   (unsigned long long)index, (unsigned long long)term);
}

void store__segment_add(struct store *s, struct segment segment)
{
    if (s->segment_count == s->segment_cap) {
        uint32_t cap = s->segment_cap * 2 + 4;
        s->segment = mem_resize(MEM_RAFT, s->segment, s->segment_cap * sizeof *s->segment,
                                cap * sizeof *s->segment);
        s->segment_cap = cap;
    }
    s->segment[s->segment_count++] = segment;
}

/* ---- plans */

void store__plan_meta(struct store *s)
{
    s->meta.sequence++;
    meta_put(s->meta_bytes, &s->ids, &s->meta);
    for (int i = 0; i < 2; i++) {
        /* After a start that found one copy damaged or behind: never the good one first. */
        enum target t = (i == 0) == s->meta_one_first ? TARGET_META1 : TARGET_META0;
        store__step(s,
                    (struct step){
                        .kind = STEP_WRITE, .target = t, .data = s->meta_bytes, .len = META_BYTES});
        store__step(s, (struct step){.kind = STEP_SYNC, .target = t});
    }
}

bool store__unlink(struct store *s)
{
    char path[STORE_PATH_MAX];
    for (uint32_t i = 0; i < s->gone; i++) {
        store__segment_path(s, s->segment[i].sequence, s->segment[i].first_index, path);
        int err = s->io->ops->file_unlink(s->io, path);
        if (err < 0 && err != -ENOENT) {
            store__fail(s, path, "unlink", err);
            return false;
        }
    }
    s->segment_count -= s->gone;
    memmove(s->segment, s->segment + s->gone, s->segment_count * sizeof *s->segment);
    s->gone = 0;
    return true;
}

void store__plan_segment(struct store *s, uint64_t first_index, uint64_t prev_term,
                         uint64_t need_bytes, bool only)
{
    uint64_t bytes = SEGMENT_HEAD_BYTES + need_bytes;
    if (bytes < s->segment_bytes) bytes = s->segment_bytes;
    s->head = (struct segment_head){.sequence = s->meta.last_segment + 1,
                                    .file_bytes = (uint32_t)bytes,
                                    .first_index = first_index,
                                    .prev_term = prev_term};
    segment_head_put(s->head_bytes, &s->ids, &s->head);
    if (s->fd[TARGET_SEGMENT] >= 0) {
        /* A mark at its end is not on the disk yet; a torn one in a segment that is not the newest
         * would be damage. */
        if (s->synced != s->offset)
            store__step(s, (struct step){.kind = STEP_SYNC, .target = TARGET_SEGMENT});
        store__step(s, (struct step){.kind = STEP_CLOSE, .target = TARGET_SEGMENT});
    }
    store__segment_path(s, s->head.sequence, first_index, s->path[TARGET_SEGMENT]);
    store__step(s, (struct step){.kind = STEP_OPEN,
                                 .target = TARGET_SEGMENT,
                                 .flags = O_RDWR | O_CREAT | O_EXCL});
    store__step(s, (struct step){.kind = STEP_ALLOCATE, .target = TARGET_SEGMENT, .len = bytes});
    store__step(s, (struct step){.kind = STEP_WRITE,
                                 .target = TARGET_SEGMENT,
                                 .data = s->head_bytes,
                                 .len = SEGMENT_HEAD_BYTES});
    store__step(s, (struct step){.kind = STEP_SYNC, .target = TARGET_SEGMENT});
    store__step(s, (struct step){.kind = STEP_SYNC, .target = TARGET_DIR});
    s->meta.last_segment = s->head.sequence;
    if (only || s->meta.first_segment == 0) s->meta.first_segment = s->head.sequence;
    if (only) s->gone = s->segment_count;
    store__segment_add(
        s, (struct segment){s->head.sequence, first_index, first_index > 0 ? first_index - 1 : 0});
    s->offset = s->synced = SEGMENT_HEAD_BYTES;
    s->marked = true;
    store__plan_meta(s);
    if (only) store__step(s, (struct step){.kind = STEP_CALL, .call = store__unlink});
}

static uint64_t op_bytes(const struct store_op *op)
{
    if (op->kind == OP_TRUNCATE || op->kind == OP_MARK) return RECORD_HEAD_BYTES;
    uint64_t n = 0;
    for (uint32_t i = 0; i < op->count; i++)
        n += record_bytes(op->entries[i].payload.len);
    return n;
}

static void put_record(struct store *s, struct record r)
{
    size_t before = s->out.len;
    r.batch = (uint32_t)s->synced;
    record_put(&s->out, s->head.crc, s->offset, &r);
    s->offset += s->out.len - before;
    struct segment *newest = &s->segment[s->segment_count - 1];
    if (r.index > newest->last_index) newest->last_index = r.index;
}

static void put_op(struct store *s, const struct store_op *op)
{
    if (op->kind == OP_TRUNCATE) {
        assert(op->index <= s->last_index + 1);
        put_record(
            s, (struct record){.index = op->index, .term = op->prev_term, .type = RECORD_TRUNCATE});
        s->last_index = op->index - 1;
        s->last_term = op->prev_term;
        return;
    }
    for (uint32_t i = 0; i < op->count; i++) {
        const struct store_entry *e = &op->entries[i];
        assert(op->index + i == s->last_index + 1);
        put_record(s, (struct record){.index = op->index + i,
                                      .term = e->term,
                                      .type = e->type,
                                      .payload = e->payload});
        s->last_index = op->index + i;
        s->last_term = e->term;
    }
}

static struct store_op *pop(struct store *s)
{
    struct store_op *op = s->head_op;
    s->head_op = op->next;
    if (s->head_op == NULL) s->tail_op = NULL;
    op->next = NULL;
    return op;
}

static void plan_records(struct store *s)
{
    struct store_op **link = &s->running;
    uint64_t bytes = 0;
    do {
        bytes += op_bytes(s->head_op);
        *link = pop(s);
        link = &(*link)->next;
    } while (s->head_op != NULL &&
             (s->head_op->kind == OP_APPEND || s->head_op->kind == OP_TRUNCATE) &&
             bytes + op_bytes(s->head_op) <= RAFT_BATCH_BYTES_MAX);
    if (s->segment_count == 0 || s->offset + bytes > s->head.file_bytes)
        store__plan_segment(s, s->last_index + 1, s->last_term, bytes, false);
    s->out.len = 0;
    uint64_t at = s->offset;
    for (const struct store_op *op = s->running; op != NULL; op = op->next)
        put_op(s, op);
    assert(s->offset <= s->head.file_bytes);
    store__step(s, (struct step){.kind = STEP_WRITE,
                                 .target = TARGET_SEGMENT,
                                 .data = s->out.data,
                                 .len = s->out.len,
                                 .offset = at});
    store__step(s, (struct step){.kind = STEP_SYNC, .target = TARGET_SEGMENT});
    s->synced = s->offset; /* of whatever comes next, this holds */
    s->marked = false;
}

/* Not synced: it only has to be there some day. So what follows it begins its batch before it. */
static void plan_mark(struct store *s)
{
    s->running = pop(s);
    s->mark_queued = false;
    if (s->segment_count == 0 || s->offset + RECORD_HEAD_BYTES > s->head.file_bytes) return;
    s->out.len = 0;
    uint64_t at = s->offset;
    put_record(s,
               (struct record){.index = s->last_index, .term = s->last_term, .type = RECORD_MARK});
    store__step(s, (struct step){.kind = STEP_WRITE,
                                 .target = TARGET_SEGMENT,
                                 .data = s->out.data,
                                 .len = s->out.len,
                                 .offset = at});
    s->marked = true;
}

static bool snapshot_rename(struct store *s)
{
    int err = s->io->ops->file_rename(s->io, s->path[TARGET_SNAPSHOT], s->path_to);
    if (err < 0) store__fail(s, s->path_to, "rename", err);
    return err >= 0;
}

static bool snapshot_drop_oldest(struct store *s)
{
    const struct store_snapshot *fresh = &s->running->snapshot;
    char path[STORE_PATH_MAX];
    if (s->snapshot_index[1] != 0) {
        store__snapshot_path(s, s->snapshot_index[1], s->snapshot_term[1], path);
        int err = s->io->ops->file_unlink(s->io, path);
        if (err < 0 && err != -ENOENT) {
            store__fail(s, path, "unlink", err);
            return false;
        }
    }
    s->snapshot_index[1] = s->snapshot_index[0];
    s->snapshot_term[1] = s->snapshot_term[0];
    s->snapshot_index[0] = fresh->index;
    s->snapshot_term[0] = fresh->term;
    return true;
}

/* How many of the oldest segments hold nothing from `keep_from` on. Never the newest. */
static uint32_t segments_below(const struct store *s, uint64_t keep_from)
{
    uint32_t n = 0;
    while (n + 1 < s->segment_count && s->segment[n].last_index < keep_from)
        n++;
    return n;
}

static void plan_snapshot(struct store *s)
{
    struct store_op *op = s->running = pop(s);
    s->out.len = 0;
    snapshot_put(&s->out, &s->ids, &op->snapshot);
    store__snapshot_path(s, op->snapshot.index, op->snapshot.term, s->path_to);
    (void)snprintf(s->path[TARGET_SNAPSHOT], STORE_PATH_MAX, "%s/snap.tmp", s->dir);
    store__step(s, (struct step){.kind = STEP_OPEN,
                                 .target = TARGET_SNAPSHOT,
                                 .flags = O_WRONLY | O_CREAT | O_TRUNC});
    store__step(s, (struct step){.kind = STEP_WRITE,
                                 .target = TARGET_SNAPSHOT,
                                 .data = s->out.data,
                                 .len = s->out.len});
    store__step(s, (struct step){.kind = STEP_SYNC, .target = TARGET_SNAPSHOT});
    store__step(s, (struct step){.kind = STEP_CLOSE, .target = TARGET_SNAPSHOT});
    store__step(s, (struct step){.kind = STEP_CALL, .call = snapshot_rename});
    store__step(s, (struct step){.kind = STEP_SYNC, .target = TARGET_DIR});
    store__step(s, (struct step){.kind = STEP_CALL, .call = snapshot_drop_oldest});
    if (op->install) {
        s->last_index = op->snapshot.index;
        s->last_term = op->snapshot.term;
        store__plan_segment(s, s->last_index + 1, s->last_term, 0, true);
        return;
    }
    uint64_t keep_from = op->keep_from;
    if (s->snapshot_index[0] + 1 < keep_from) keep_from = s->snapshot_index[0] + 1;
    s->gone = segments_below(s, keep_from);
    if (s->gone == 0) return;
    s->meta.first_segment = s->segment[s->gone].sequence;
    store__plan_meta(s);
    store__step(s, (struct step){.kind = STEP_CALL, .call = store__unlink});
}

static void plan_vote(struct store *s)
{
    struct store_op **link = &s->running;
    do {
        s->meta.term = s->head_op->term;
        s->meta.vote = s->head_op->vote;
        *link = pop(s);
        link = &(*link)->next;
    } while (s->head_op != NULL && s->head_op->kind == OP_META);
    store__plan_meta(s);
}

bool store__plan_next(struct store *s)
{
    if (s->head_op == NULL) return false;
    switch (s->head_op->kind) {
    case OP_META:
        plan_vote(s);
        break;
    case OP_APPEND:
    case OP_TRUNCATE:
        plan_records(s);
        break;
    case OP_SNAPSHOT:
        plan_snapshot(s);
        break;
    case OP_MARK:
        plan_mark(s);
        break;
    }
    return true;
}

void store__complete(struct store *s)
{
    struct store_op *op = s->running;
    s->running = NULL;
    while (op != NULL) {
        struct store_op *next = op->next;
        if (op->done != NULL) op->done(op); /* may free it */
        op = next;
    }
}

/* ---- calls */

void store_submit(struct store *s, struct store_op *op)
{
    op->next = NULL;
    if (s->tail_op != NULL)
        s->tail_op->next = op;
    else
        s->head_op = op;
    s->tail_op = op;
    if (!s->busy && !s->failed) store__run(s);
}

void store_mark(struct store *s)
{
    if (s->marked || s->mark_queued || s->failed || !store_is_idle(s)) return;
    s->mark_queued = true;
    s->mark = (struct store_op){.kind = OP_MARK};
    store_submit(s, &s->mark);
}

enum rc store_read_snapshot(struct store *s, struct buf *body, struct store_snapshot *out)
{
    char path[STORE_PATH_MAX];
    store__snapshot_path(s, s->snapshot_index[0], s->snapshot_term[0], path);
    struct buf file;
    buf_init(&file, MEM_RAFT);
    uint64_t at = 0;
    const char *why = NULL;
    int err = store__read_file(s->io, path, &file);
    if (err == 0) why = snapshot_get(buf_bytes(&file), &s->ids, body, out, &at);
    buf_free(&file);
    if (err < 0) {
        store__fail(s, path, "read", err);
        return RC_IO;
    }
    if (why == NULL) return RC_OK;
    (void)snprintf(s->why, sizeof s->why, "%s: offset %llu: %s", path, (unsigned long long)at, why);
    s->failed = true;
    log_warning("raftlog", "the control log of this node stops: %s", s->why);
    return RC_CORRUPT;
}

static void release(struct store *s)
{
    mem_free(MEM_RAFT, s->segment, s->segment_cap * sizeof *s->segment);
    buf_free(&s->out);
    *s = (struct store){.failed = true};
}

void store_close(struct store *s)
{
    while (s->busy)
        (void)io_turn(s->io, -1);
    if (!s->failed && !s->marked) {
        store_mark(s);
        while (s->busy)
            (void)io_turn(s->io, -1);
    }
    for (enum target t = 0; t < TARGET_COUNT; t++) {
        if (s->fd[t] < 0) continue;
        if (!s->failed && t == TARGET_SEGMENT) (void)s->io->ops->file_sync(s->io, s->fd[t]);
        (void)s->io->ops->file_close(s->io, s->fd[t]);
    }
    release(s);
}

void store_abandon(struct store *s)
{
    release(s);
}
