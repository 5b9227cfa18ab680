/* raftlog/store_priv.h: the files of a member (docs/formats/raftlog.md) and the one queue in which they
 * are written. Knows indexes, terms and bytes; nothing of libraft.
 *
 * Operations run strictly one after the other, each ends with its sync: so what a later one builds on is
 * on the disk. Neighbouring appends and truncations share one write and one sync. The first error ends
 * it all: no operation completes any more. */
#ifndef MOON_RAFTLOG_STORE_PRIV_H
#define MOON_RAFTLOG_STORE_PRIV_H

#include "shard/base/buf.h"
#include "shard/base/limits.h"
#include "shard/base/rc.h"
#include "shard/rt/io.h"

#define SEGMENT_HEAD_BYTES 96u
#define RECORD_HEAD_BYTES 32u
#define META_BYTES 4096u
#define STORE_PATH_MAX 512u
#define STORE_WHY_MAX 768u
#define STORE_STEPS_MAX 40u

/* Types of records: the first three are libraft's. */
enum record_type {
    RECORD_COMMAND = 1,
    RECORD_BARRIER = 2,
    RECORD_CHANGE = 3,
    RECORD_TRUNCATE = 4, /* entries from `index` on are gone; term: of the entry before */
    RECORD_MARK = 5,     /* all before it is on the disk */
};

struct store_ids {
    uint8_t cluster[16], node[20];
    uint64_t raft_id;
};
struct store_meta {
    uint64_t sequence, term, vote;
    uint32_t first_segment, last_segment; /* in use; 0, 0: none yet */
};
struct store_entry {
    uint64_t term;
    uint8_t type;
    struct bytes payload;
};
struct store_snapshot {
    uint64_t index, term, members_index;
    struct bytes members, data;
};

/* ---- codecs, pure (segment.c, meta.c, snap.c) */

struct segment_head {
    uint32_t sequence, file_bytes;
    uint64_t first_index, prev_term;
    uint32_t crc; /* seeds the records' */
};
void segment_head_put(uint8_t out[SEGMENT_HEAD_BYTES], const struct store_ids *ids,
                      struct segment_head *head);
/* NULL: good. Else why not, and where. */
const char *segment_head_get(struct bytes file, const struct store_ids *ids,
                             struct segment_head *out, uint64_t *offset_out);
struct record {
    uint64_t index, term;
    uint32_t batch; /* offset in the file where its batch began: all before is synced */
    uint8_t type;
    struct bytes payload;
};
static inline uint64_t record_bytes(uint64_t payload)
{
    return RECORD_HEAD_BYTES + ((payload + 7) & ~(uint64_t)7);
}
/* Appends the record that will lie at `offset` of the file. */
void record_put(struct buf *out, uint32_t seed, uint64_t offset, const struct record *r);
/* The record at `offset`, a view; false: none that is whole. */
bool record_get(struct bytes file, uint32_t seed, uint64_t offset, struct record *out);
/* Of a record that cannot be read at `at`: does a later one prove that it was on the disk once? */
bool segment_is_damaged(struct bytes file, uint32_t seed, uint64_t at);
bool bytes_all_zero(struct bytes b);

void meta_put(uint8_t out[META_BYTES], const struct store_ids *ids, const struct store_meta *meta);
/* Whose log it is, of a whole block of any log; false: not whole. */
bool meta_ids(struct bytes file, struct store_ids *out);
const char *meta_get(struct bytes file, const struct store_ids *ids, struct store_meta *out,
                     uint64_t *offset_out);

void snapshot_put(struct buf *out, const struct store_ids *ids, const struct store_snapshot *s);
/* Unpacks into `body`, which the views of *out point into. */
const char *snapshot_get(struct bytes file, const struct store_ids *ids, struct buf *body,
                         struct store_snapshot *out, uint64_t *offset_out);

/* ---- the queue (store.c, steps.c) */

enum op_kind { OP_META, OP_APPEND, OP_TRUNCATE, OP_SNAPSHOT, OP_MARK };
/* Owned by the caller until `done`; what it points to, too. */
struct store_op {
    void (*done)(struct store_op *op); /* on the disk; NULL: nobody waits */
    enum op_kind kind;
    uint64_t term, vote; /* OP_META */
    uint64_t index;      /* OP_APPEND: of the first; OP_TRUNCATE: of the first that goes */
    uint64_t prev_term;  /* OP_TRUNCATE: of the entry before `index` */
    const struct store_entry *entries;
    uint32_t count;
    struct store_snapshot snapshot; /* OP_SNAPSHOT */
    bool install;                   /* … which replaces the whole log */
    uint64_t keep_from;             /* … entries below this are not needed any more */
    struct store_op *next;
};

struct segment {
    uint32_t sequence;
    uint64_t first_index; /* as in its name */
    uint64_t last_index;  /* highest it holds; of the newest: so far */
};
enum target {
    TARGET_META0,
    TARGET_META1,
    TARGET_SEGMENT,
    TARGET_SNAPSHOT,
    TARGET_DIR,
    TARGET_COUNT
};
enum step_kind { STEP_OPEN, STEP_ALLOCATE, STEP_WRITE, STEP_SYNC, STEP_CLOSE, STEP_CALL };
struct store;
struct step {
    enum step_kind kind;
    enum target target;
    int flags;
    const uint8_t *data;
    uint64_t len, offset, done;
    bool (*call)(struct store *s); /* false: it has said why */
};

struct store {
    struct io *io;
    const char *dir;
    struct store_ids ids;
    uint32_t segment_bytes;
    struct store_meta meta;
    bool meta_one_first; /* of its two copies: written in this order */
    /* segments from meta.first_segment on */
    struct segment *segment;
    uint32_t segment_count, segment_cap;
    uint32_t gone;            /* the first so many are to be removed */
    struct segment_head head; /* of the newest */
    uint64_t offset;          /* where the next record goes */
    uint64_t synced;          /* all before it is on the disk */
    uint64_t proven;          /* at a start: all before it was synced */
    uint64_t last_index, last_term;
    bool marked;                                  /* nothing was written since the last mark */
    uint64_t snapshot_index[2], snapshot_term[2]; /* newest first; 0: none */
    int fd[TARGET_COUNT];
    char path[TARGET_COUNT][STORE_PATH_MAX];
    char path_to[STORE_PATH_MAX];
    /* queue */
    struct store_op *head_op, *tail_op;
    struct store_op *running; /* list of those that the steps under way complete */
    struct store_op mark;
    bool mark_queued;
    struct step step[STORE_STEPS_MAX];
    uint32_t step_count, step_at;
    bool busy;
    struct io_op op;
    struct iovec iov;
    uint8_t meta_bytes[META_BYTES], head_bytes[SEGMENT_HEAD_BYTES];
    struct buf out;
    uint64_t ops;
    bool failed;
    char why[STORE_WHY_MAX];
    void (*on_done)(struct store *s); /* after completions, and when it failed; may submit */
    void *owner;
};

/* What a directory holds. Freed by store_load_free(). */
struct store_load {
    bool has_snapshot;
    struct store_snapshot snapshot;
    struct buf snapshot_body;
    uint64_t start_index; /* of entries[0] */
    struct store_entry *entries;
    uint32_t count, cap;
    struct buf *file; /* what the payloads point into */
    uint32_t file_count;
    size_t file_bytes;              /* of the array */
    uint64_t base_index, base_term; /* entry before the first in the files */
};
/* Blocking. Ends torn tails, removes left-overs, finishes an interrupted install. */
MUST_CHECK enum rc store_open(struct store *s, struct io *io, const char *dir,
                              const struct store_ids *ids, uint32_t segment_bytes,
                              struct store_load *load);
void store_load_free(struct store_load *load);
/* Into an empty directory, blocking: one entry at index 1, term 1. */
MUST_CHECK enum rc store_bootstrap(struct io *io, const char *dir, const struct store_ids *ids,
                                   uint32_t segment_bytes, struct bytes members, char *why,
                                   size_t why_bytes);
/* The newest snapshot, blocking; views into `body`. */
MUST_CHECK enum rc store_read_snapshot(struct store *s, struct buf *body,
                                       struct store_snapshot *out);
void store_submit(struct store *s, struct store_op *op);
static inline bool store_is_idle(const struct store *s)
{
    return !s->busy && s->head_op == NULL;
}
void store_mark(struct store *s); /* when idle: what was written last is now proven, too */
void store_close(struct store *s);
void store_abandon(struct store *s);

/* ---- between store.c, steps.c and load.c */
void store__fail(struct store *s, const char *path, const char *what, int err);
void store__step(struct store *s, struct step step);
void store__plan_meta(struct store *s);
/* Begins a new segment; `only`: all older ones are not needed any more. */
void store__plan_segment(struct store *s, uint64_t first_index, uint64_t prev_term,
                         uint64_t need_bytes, bool only);
bool store__plan_next(struct store *s); /* false: nothing to do */
void store__complete(struct store *s);
void store__run(struct store *s);
bool store__run_blocking(struct store *s);
void store__segment_path(const struct store *s, uint32_t sequence, uint64_t first_index, char *out);
void store__snapshot_path(const struct store *s, uint64_t index, uint64_t term, char *out);
void store__segment_add(struct store *s, struct segment segment);
int store__read_file(struct io *io, const char *path, struct buf *out); /* 0 or -errno */
bool store__unlink(struct store *s);                                    /* segments that are gone */

#endif
