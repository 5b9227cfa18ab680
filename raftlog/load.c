/* raftlog/load.c: what a directory holds, read at a start; and what a crash left half done, ended.
 *
 * Damage is told from a torn tail by what later bytes prove: a record names where its batch began, and
 * all before that was on the disk when it was written. So a bad record in front of such a place, in a
 * segment that is not the newest, or in a file that is shorter than its head says, is damage and the
 * member does not start. Anything else behind the last good record is what a power loss leaves: it is
 * overwritten with zeros. */
#include "raftlog/store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"

struct name_seg {
    uint32_t sequence;
    uint64_t first_index;
};
struct name_snap {
    uint64_t index, term;
};
struct names {
    struct name_seg *seg;
    uint32_t seg_count, seg_cap;
    struct name_snap *snap;
    uint32_t snap_count, snap_cap;
    bool tmp, meta[2];
};

/* ---- small things */

static enum rc refuse(struct store *s, enum rc rc, const char *path, uint64_t offset,
                      const char *why)
{
    s->failed = true;
    (void)snprintf(s->why, sizeof s->why, "%s: offset %llu: %s", path, (unsigned long long)offset,
                   why);
    return rc;
}

static enum rc refuse_io(struct store *s, const char *path, const char *what, int err)
{
    s->failed = true;
    (void)snprintf(s->why, sizeof s->why, "%s: %s: %s", path, what, strerror(-err));
    return rc_from_errno(err);
}

int store__read_file(struct io *io, const char *path, struct buf *out)
{
    int fd = io->ops->file_open(io, path, O_RDONLY, 0);
    if (fd < 0) return fd;
    int64_t size = io->ops->file_size(io, fd), got = size;
    out->len = 0;
    if (size > 0) (void)buf_room(out, (size_t)size);
    while (got > 0 && (int64_t)out->len < size) {
        got = io->ops->file_pread(io, fd, out->data + out->len, (size_t)size - out->len, out->len);
        if (got > 0) out->len += (size_t)got;
    }
    (void)io->ops->file_close(io, fd);
    return got < 0 ? (int)got : 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static void name_found(void *ctx, const char *name)
{
    struct names *n = ctx;
    unsigned sequence = 0;
    unsigned long long a = 0, b = 0;
    if (strcmp(name, "meta.0") == 0) n->meta[0] = true;
    if (strcmp(name, "meta.1") == 0) n->meta[1] = true;
    if (strcmp(name, "snap.tmp") == 0) n->tmp = true;
    if (ends_with(name, ".log") && sscanf(name, "seg-%8x-%16llx.log", &sequence, &a) == 2) {
        if (n->seg_count == n->seg_cap) {
            uint32_t cap = n->seg_cap * 2 + 8;
            n->seg =
                mem_resize(MEM_RAFT, n->seg, n->seg_cap * sizeof *n->seg, cap * sizeof *n->seg);
            n->seg_cap = cap;
        }
        n->seg[n->seg_count++] = (struct name_seg){sequence, a};
    }
    if (strlen(name) == 38 && sscanf(name, "snap-%16llx-%16llx", &a, &b) == 2) {
        if (n->snap_count == n->snap_cap) {
            uint32_t cap = n->snap_cap * 2 + 4;
            n->snap =
                mem_resize(MEM_RAFT, n->snap, n->snap_cap * sizeof *n->snap, cap * sizeof *n->snap);
            n->snap_cap = cap;
        }
        n->snap[n->snap_count++] = (struct name_snap){a, b};
    }
}

static int seg_order(const void *a, const void *b)
{
    uint32_t x = ((const struct name_seg *)a)->sequence, y = ((const struct name_seg *)b)->sequence;
    return x < y ? -1 : x > y;
}

static int snap_newest_first(const void *a, const void *b)
{
    uint64_t x = ((const struct name_snap *)a)->index, y = ((const struct name_snap *)b)->index;
    return x > y ? -1 : x < y;
}

static enum rc names_read(struct store *s, struct names *n)
{
    int err = s->io->ops->file_list(s->io, s->dir, name_found, n);
    if (err < 0) return refuse_io(s, s->dir, "list", err);
    if (n->seg_count > 0) qsort(n->seg, n->seg_count, sizeof *n->seg, seg_order);
    if (n->snap_count > 0) qsort(n->snap, n->snap_count, sizeof *n->snap, snap_newest_first);
    return RC_OK;
}

static void names_free(struct names *n)
{
    mem_free(MEM_RAFT, n->seg, n->seg_cap * sizeof *n->seg);
    mem_free(MEM_RAFT, n->snap, n->snap_cap * sizeof *n->snap);
}

/* ---- meta */

static bool is_foreign(const char *why)
{
    return strncmp(why, "of another", 10) == 0 || strcmp(why, "written by a newer version") == 0;
}

/* Reads both copies. *repair_out: they differ, or one is bad. */
static enum rc metas_read(struct store *s, const struct names *names, bool *pristine_out,
                          bool *repair_out)
{
    struct store_meta meta[2];
    const char *why[2] = {NULL, NULL};
    uint64_t at[2] = {0, 0};
    bool short_or_gone = false;
    for (int i = 0; i < 2; i++) {
        struct buf file;
        buf_init(&file, MEM_RAFT);
        int err = names->meta[i] ? store__read_file(s->io, s->path[TARGET_META0 + i], &file) : 0;
        if (err < 0) {
            buf_free(&file);
            return refuse_io(s, s->path[TARGET_META0 + i], "read", err);
        }
        why[i] = meta_get(buf_bytes(&file), &s->ids, &meta[i], &at[i]);
        short_or_gone |= file.len < META_BYTES;
        buf_free(&file);
        if (why[i] != NULL && is_foreign(why[i]))
            return refuse(s, RC_INVALID, s->path[TARGET_META0 + i], 0, why[i]);
    }
    bool empty = names->seg_count == 0 && names->snap_count == 0;
    *pristine_out = false;
    if (why[0] != NULL && why[1] != NULL) {
        *pristine_out = empty && short_or_gone; /* power was lost during the first start */
        if (*pristine_out) return RC_OK;
        (void)refuse(s, RC_CORRUPT, s->path[TARGET_META0], at[0], why[0]);
        size_t n = strlen(s->why);
        (void)snprintf(s->why + n, sizeof s->why - n, "; and meta.1: offset %llu: %s",
                       (unsigned long long)at[1], why[1]);
        return RC_CORRUPT;
    }
    for (int i = 0; i < 2; i++)
        if (why[i] != NULL)
            log_warning("raftlog", "%s: offset %llu: %s: rewritten from the other copy",
                        s->path[TARGET_META0 + i], (unsigned long long)at[i], why[i]);
    int best = why[0] != NULL || (why[1] == NULL && meta[1].sequence > meta[0].sequence) ? 1 : 0;
    s->meta = meta[best];
    s->meta_one_first = best == 0;
    *repair_out = why[0] != NULL || why[1] != NULL || meta[0].sequence != meta[1].sequence;
    return RC_OK;
}

static enum rc metas_open(struct store *s)
{
    for (enum target t = TARGET_META0; t <= TARGET_META1; t++) {
        s->fd[t] = s->io->ops->file_open(s->io, s->path[t], O_RDWR | O_CREAT, 0644);
        if (s->fd[t] < 0) return refuse_io(s, s->path[t], "open", s->fd[t]);
    }
    s->fd[TARGET_DIR] = s->io->ops->file_open(s->io, s->dir, O_RDONLY | O_DIRECTORY, 0);
    return s->fd[TARGET_DIR] < 0 ? refuse_io(s, s->dir, "open", s->fd[TARGET_DIR]) : RC_OK;
}

/* ---- snapshots */

/* The newest that is whole. Damaged ones are named; whether the log can do without them, the caller
 * finds out. */
static enum rc snapshots_read(struct store *s, const struct names *names, struct store_load *load)
{
    struct buf file;
    buf_init(&file, MEM_RAFT);
    enum rc rc = RC_OK;
    uint32_t known = 0;
    for (uint32_t i = 0; i < names->snap_count && rc == RC_OK; i++) {
        char path[STORE_PATH_MAX];
        uint64_t at = 0;
        store__snapshot_path(s, names->snap[i].index, names->snap[i].term, path);
        if (known < 2) {
            s->snapshot_index[known] = names->snap[i].index;
            s->snapshot_term[known] = names->snap[i].term;
            known++;
        } else {
            (void)s->io->ops->file_unlink(s->io, path);
            continue;
        }
        if (load->has_snapshot) continue;
        int err = store__read_file(s->io, path, &file);
        if (err < 0) {
            rc = refuse_io(s, path, "read", err);
            break;
        }
        const char *why =
            snapshot_get(buf_bytes(&file), &s->ids, &load->snapshot_body, &load->snapshot, &at);
        if (why == NULL && (load->snapshot.index != names->snap[i].index ||
                            load->snapshot.term != names->snap[i].term))
            why = "its name and its head differ";
        load->has_snapshot = why == NULL;
        if (why != NULL && is_foreign(why)) rc = refuse(s, RC_INVALID, path, 0, why);
        if (why == NULL || rc != RC_OK) continue;
        log_warning("raftlog", "%s: offset %llu: %s", path, (unsigned long long)at, why);
        /* Kept as the reason, should nothing older do. */
        (void)snprintf(s->why, sizeof s->why, "%s: offset %llu: %s", path, (unsigned long long)at,
                       why);
    }
    buf_free(&file);
    return rc;
}

/* ---- segments */

static void entry_push(struct store_load *load, struct store_entry e)
{
    if (load->count == load->cap) {
        uint32_t cap = load->cap * 2 + 256;
        load->entries = mem_resize(MEM_RAFT, load->entries, load->cap * sizeof e, cap * sizeof e);
        load->cap = cap;
    }
    load->entries[load->count++] = e;
}

/* False: it does not follow what is there. */
static bool record_take(struct store_load *load, const struct record *r)
{
    uint64_t last = load->base_index + load->count;
    if (r->type == RECORD_MARK) return true;
    if (r->type == RECORD_TRUNCATE) {
        if (r->index == 0 || r->index > last + 1) return false;
        if (r->index > load->base_index) {
            load->count = (uint32_t)(r->index - load->base_index - 1);
        } else {
            load->count = 0;
            load->base_index = r->index - 1;
            load->base_term = r->term;
        }
        return true;
    }
    if (r->index != last + 1) return false;
    entry_push(load, (struct store_entry){r->term, r->type, r->payload});
    return true;
}

static enum rc zero_tail(struct store *s, const char *path, struct bytes file, uint64_t from)
{
    uint64_t to = file.len;
    while (to > from && file.data[to - 1] == 0)
        to--;
    if (to == from) return RC_OK;
    log_warning("raftlog", "%s: offset %llu: a torn tail of %llu bytes is cut off", path,
                (unsigned long long)from, (unsigned long long)(to - from));
    static const uint8_t zeros[4096];
    int fd = s->io->ops->file_open(s->io, path, O_RDWR, 0);
    if (fd < 0) return refuse_io(s, path, "open", fd);
    int64_t wrote = 1;
    for (uint64_t at = from; at < to && wrote > 0; at += wrote > 0 ? (uint64_t)wrote : 0) {
        uint64_t n = to - at < sizeof zeros ? to - at : sizeof zeros;
        wrote = s->io->ops->file_pwrite(s->io, fd, zeros, (size_t)n, at);
    }
    int err = wrote < 0 ? (int)wrote : s->io->ops->file_sync(s->io, fd);
    (void)s->io->ops->file_close(s->io, fd);
    return err < 0 ? refuse_io(s, path, "cut the torn tail", err) : RC_OK;
}

static enum rc segment_scan(struct store *s, const char *path, struct bytes file, bool newest,
                            struct store_load *load)
{
    uint64_t at = SEGMENT_HEAD_BYTES, highest = s->head.first_index - 1;
    struct record r;
    s->proven = SEGMENT_HEAD_BYTES;
    while (record_get(file, s->head.crc, at, &r)) {
        if (r.batch > s->proven) s->proven = r.batch;
        if (!record_take(load, &r))
            return refuse(s, RC_CORRUPT, path, at, "the record does not follow the one before");
        if (r.index > highest) highest = r.index;
        at += record_bytes(r.payload.len);
    }
    store__segment_add(s, (struct segment){s->head.sequence, s->head.first_index, highest});
    s->offset = at;
    if (bytes_all_zero(bytes_view(file.data + at, file.len - at))) return RC_OK;
    if (!newest || segment_is_damaged(file, s->head.crc, at))
        return refuse(s, RC_CORRUPT, path, at, "a record is damaged");
    return zero_tail(s, path, file, at);
}

static enum rc segment_load(struct store *s, struct name_seg name, bool newest,
                            struct store_load *load, struct buf *file)
{
    char path[STORE_PATH_MAX];
    uint64_t at = 0;
    store__segment_path(s, name.sequence, name.first_index, path);
    int err = store__read_file(s->io, path, file);
    if (err < 0) return refuse_io(s, path, "read", err);
    struct bytes bytes = buf_bytes(file);
    const char *why = segment_head_get(bytes, &s->ids, &s->head, &at);
    if (why != NULL) return refuse(s, is_foreign(why) ? RC_INVALID : RC_CORRUPT, path, at, why);
    if (s->head.sequence != name.sequence || s->head.first_index != name.first_index)
        return refuse(s, RC_CORRUPT, path, 0, "its name and its head differ");
    if (s->segment_count == 0) {
        load->base_index = s->head.first_index - 1;
        load->base_term = s->head.prev_term;
    }
    uint64_t last = load->base_index + load->count;
    uint64_t last_term = load->count > 0 ? load->entries[load->count - 1].term : load->base_term;
    if (s->head.first_index != last + 1 || s->head.prev_term != last_term)
        return refuse(s, RC_CORRUPT, path, 56, "it does not follow the segment before");
    memcpy(s->path[TARGET_SEGMENT], path, sizeof path);
    return segment_scan(s, path, bytes, newest, load);
}

static enum rc segments_read(struct store *s, const struct names *names, struct store_load *load)
{
    uint32_t expected = s->meta.first_segment;
    uint32_t count = s->meta.first_segment == 0 ? 0 : s->meta.last_segment - expected + 1;
    load->file_bytes = (count + 1) * sizeof *load->file;
    load->file = mem_zalloc(MEM_RAFT, load->file_bytes);
    char path[STORE_PATH_MAX];
    for (uint32_t i = 0; i < names->seg_count; i++) {
        struct name_seg name = names->seg[i];
        store__segment_path(s, name.sequence, name.first_index, path);
        bool used = count > 0 && name.sequence >= s->meta.first_segment &&
                    name.sequence <= s->meta.last_segment;
        if (!used) { /* a crash came before it was named in meta, or before it was unlinked */
            int err = s->io->ops->file_unlink(s->io, path);
            if (err < 0) return refuse_io(s, path, "unlink", err);
            continue;
        }
        if (name.sequence != expected)
            return refuse(s, RC_CORRUPT, path, 0, "the segment before it is missing");
        struct buf *file = &load->file[load->file_count++];
        buf_init(file, MEM_RAFT);
        enum rc rc = segment_load(s, name, expected == s->meta.last_segment, load, file);
        if (rc != RC_OK) return rc;
        expected++;
    }
    if (count > 0 && expected != s->meta.last_segment + 1) {
        store__segment_path(s, expected, 0, path);
        return refuse(s, RC_CORRUPT, path, 0, "this segment is missing (of any first index)");
    }
    s->last_index = load->base_index + load->count;
    s->last_term = load->count > 0 ? load->entries[load->count - 1].term : load->base_term;
    return RC_OK;
}

/* ---- snapshot and log together */

/* Is the entry that the snapshot ends with also where the log says it is? */
static bool log_agrees(const struct store_load *load)
{
    uint64_t at = load->snapshot.index, last = load->base_index + load->count;
    if (at > last || at < load->base_index) return false;
    uint64_t term =
        at == load->base_index ? load->base_term : load->entries[at - load->base_index - 1].term;
    return term == load->snapshot.term;
}

/* A snapshot was installed and power was lost before the log was replaced. */
static enum rc finish_install(struct store *s, struct store_load *load)
{
    log_warning("raftlog", "%s: the log ends before the snapshot %llu: begun anew behind it",
                s->dir, (unsigned long long)load->snapshot.index);
    load->count = 0;
    load->base_index = s->last_index = load->snapshot.index;
    load->base_term = s->last_term = load->snapshot.term;
    store__plan_segment(s, s->last_index + 1, s->last_term, 0, true);
    return store__run_blocking(s) ? RC_OK : RC_IO;
}

static enum rc join(struct store *s, const struct names *names, struct store_load *load)
{
    bool newest = load->has_snapshot && names->snap[0].index == load->snapshot.index;
    if (!load->has_snapshot) {
        if (names->snap_count > 0) return RC_CORRUPT; /* why: it is set */
        if (load->base_index == 0) return RC_OK;
        return refuse(s, RC_CORRUPT, s->path[TARGET_SEGMENT], 56, "the snapshot is missing");
    }
    if (!log_agrees(load)) {
        if (!newest) return RC_CORRUPT; /* the damaged one cannot be done without */
        if (load->snapshot.index >= load->base_index) return finish_install(s, load);
        return refuse(s, RC_CORRUPT, s->path[TARGET_SEGMENT], 56,
                      "entries between snapshot and log are missing");
    }
    if (newest || names->snap_count < 2) return RC_OK;
    /* Without the damaged one, which would be taken for the newest for ever. */
    char path[STORE_PATH_MAX];
    store__snapshot_path(s, names->snap[0].index, names->snap[0].term, path);
    log_warning("raftlog", "%s: removed: an older one and the log hold all of it", path);
    int err = s->io->ops->file_unlink(s->io, path);
    if (err < 0) return refuse_io(s, path, "unlink", err);
    s->snapshot_index[0] = load->snapshot.index;
    s->snapshot_term[0] = load->snapshot.term;
    s->snapshot_index[1] = 0;
    s->why[0] = '\0';
    return RC_OK;
}

/* The last batch is only in the page cache if its sync failed, or the process was killed before it; and
 * a kernel whose sync has failed once calls those pages clean. So it is written again. */
static enum rc segment_reopen(struct store *s, const struct store_load *load)
{
    s->synced = s->offset;
    s->marked = s->segment_count == 0;
    if (s->segment_count == 0 || s->fd[TARGET_SEGMENT] >= 0) return RC_OK;
    const char *path = s->path[TARGET_SEGMENT];
    const uint8_t *file = load->file[load->file_count - 1].data;
    int fd = s->fd[TARGET_SEGMENT] = s->io->ops->file_open(s->io, path, O_RDWR, 0);
    if (fd < 0) return refuse_io(s, path, "open", fd);
    for (uint64_t at = s->proven; at < s->offset;) {
        int64_t wrote = s->io->ops->file_pwrite(s->io, fd, file + at, (size_t)(s->offset - at), at);
        if (wrote <= 0) return refuse_io(s, path, "write", wrote < 0 ? (int)wrote : -ENOSPC);
        at += (uint64_t)wrote;
    }
    int err = s->io->ops->file_sync(s->io, fd);
    return err < 0 ? refuse_io(s, path, "sync", err) : RC_OK;
}

static enum rc open_all(struct store *s, struct names *names, struct store_load *load)
{
    bool pristine = false, repair = false;
    enum rc rc = names_read(s, names);
    if (rc == RC_OK) rc = metas_read(s, names, &pristine, &repair);
    if (rc == RC_OK) rc = metas_open(s);
    if (rc != RC_OK) return rc;
    if (pristine || repair) {
        store__plan_meta(s);
        store__step(s, (struct step){.kind = STEP_SYNC, .target = TARGET_DIR});
        if (!store__run_blocking(s)) return RC_IO;
    }
    if (names->tmp) {
        (void)snprintf(s->path[TARGET_SNAPSHOT], STORE_PATH_MAX, "%s/snap.tmp", s->dir);
        (void)s->io->ops->file_unlink(s->io, s->path[TARGET_SNAPSHOT]);
    }
    rc = snapshots_read(s, names, load);
    if (rc == RC_OK) rc = segments_read(s, names, load);
    if (rc == RC_OK && !(load->file_count == 0 && names->snap_count == 0))
        rc = join(s, names, load);
    if (rc == RC_OK) rc = segment_reopen(s, load);
    return rc;
}

enum rc store_open(struct store *s, struct io *io, const char *dir, const struct store_ids *ids,
                   uint32_t segment_bytes, struct store_load *load)
{
    *s = (struct store){.io = io, .dir = dir, .ids = *ids, .segment_bytes = segment_bytes};
    *load = (struct store_load){0};
    buf_init(&s->out, MEM_RAFT);
    buf_init(&load->snapshot_body, MEM_RAFT);
    for (enum target t = 0; t < TARGET_COUNT; t++)
        s->fd[t] = -1;
    (void)snprintf(s->path[TARGET_META0], STORE_PATH_MAX, "%s/meta.0", dir);
    (void)snprintf(s->path[TARGET_META1], STORE_PATH_MAX, "%s/meta.1", dir);
    (void)snprintf(s->path[TARGET_DIR], STORE_PATH_MAX, "%s", dir);
    struct names names = {0};
    enum rc rc = open_all(s, &names, load);
    names_free(&names);
    if (rc != RC_OK) {
        s->failed = true;
        if (s->why[0] == '\0') (void)snprintf(s->why, sizeof s->why, "%s: %s", dir, rc_text(rc));
    }
    load->start_index = load->base_index + 1;
    return rc;
}

void store_load_free(struct store_load *load)
{
    for (uint32_t i = 0; i < load->file_count; i++)
        buf_free(&load->file[i]);
    mem_free(MEM_RAFT, load->entries, load->cap * sizeof *load->entries);
    buf_free(&load->snapshot_body);
    if (load->file != NULL) mem_free(MEM_RAFT, load->file, load->file_bytes);
    *load = (struct store_load){0};
}

enum rc store_bootstrap(struct io *io, const char *dir, const struct store_ids *ids,
                        uint32_t segment_bytes, struct bytes members, char *why, size_t why_bytes)
{
    struct store s;
    struct store_load load;
    enum rc rc = store_open(&s, io, dir, ids, segment_bytes, &load);
    bool empty = load.count == 0 && !load.has_snapshot && s.meta.term == 0;
    store_load_free(&load);
    if (rc == RC_OK && !empty) {
        (void)snprintf(s.why, sizeof s.why, "%s: it holds a log already", dir);
        rc = RC_EXISTS;
    }
    struct store_entry entry = {.term = 1, .type = RECORD_CHANGE, .payload = members};
    struct store_op term = {.kind = OP_META, .term = 1};
    struct store_op append = {.kind = OP_APPEND, .index = 1, .entries = &entry, .count = 1};
    if (rc == RC_OK) {
        store_submit(&s, &term);
        store_submit(&s, &append);
        while (s.busy)
            (void)io_turn(io, -1);
        if (s.failed) rc = RC_IO;
    }
    if (rc != RC_OK) (void)snprintf(why, why_bytes, "%s", s.why);
    store_close(&s);
    return rc;
}
