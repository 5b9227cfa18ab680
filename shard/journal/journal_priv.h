/* shard/journal/journal_priv.h: what the files of this room share. Who does what: README.md. */
#ifndef MOON_JOURNAL_JOURNAL_PRIV_H
#define MOON_JOURNAL_JOURNAL_PRIV_H

#include "shard/base/buf.h"
#include "shard/base/limits.h"
#include "shard/journal/cut.h"
#include "shard/journal/journal.h"
#include "shard/journal/record.h"

#define JOURNAL_PATH_MAX 1024u
#define JOURNAL_LSN_OPEN UINT64_MAX /* the end of a log that still grows */

/* ---- what the directory holds (manifest.c, files.c) */
struct journal__file {
    uint64_t lsn;     /* of its first log byte, from its name */
    uint64_t bytes;   /* on disk */
    uint64_t written; /* of these, found by recovery: without what was only made ready */
    bool head_ok;
};
struct journal__log {
    /* From the manifest. */
    uint64_t start, end; /* end: JOURNAL_LSN_OPEN in the last generation */
    uint32_t start_crc;  /* the chain before the first frame at start */
    /* From the directory, by rising lsn. */
    struct journal__file *files;
    uint32_t files_count, files_cap;
    /* Found by recovery. */
    uint64_t frames_end; /* after the last whole frame */
    uint32_t frames_crc; /* the chain there */
    uint64_t apply_end;  /* replay stops here: the cut */
    uint64_t synced;     /* the highest any frame named */
    bool closed;         /* ends with a clean stop, nothing after it */
};
struct journal__generation {
    uint32_t number;
    uint16_t logs;
    uint64_t epoch;
    bool ended;    /* its ends are recorded */
    bool repaired; /* the repair cut it: what follows it is given up */
    struct journal__log *log;
};
struct journal__manifest {
    uint8_t cluster_id[16], node_id[20];
    struct journal__generation *generations; /* by rising number */
    uint32_t count, cap;
};

struct journal_set {
    struct journal_opts opts;
    char root[JOURNAL_PATH_MAX]; /* opts.dir */
    char dir[JOURNAL_PATH_MAX];  /* where the logs lie: <root>/log */
    struct io *io;
    int lock_fd;
    struct journal__manifest manifest;
    bool fresh;           /* no manifest yet */
    bool started;         /* journal_set_start() is done: logs may be opened */
    bool given_up;        /* the repair drops generations */
    uint32_t newest;      /* the highest generation number ever used here */
    int64_t hlc_us;       /* the highest any frame names */
    uint64_t txid;        /* the highest any unit names */
    uint64_t total_bytes; /* of log below the cut: what replay reads */
    uint64_t files_bytes, checked_bytes, told_bytes; /* for opts.watch */
};

/* Adds a generation with `logs` empty logs. NULL: out of memory. */
MUST_CHECK struct journal__generation *journal__manifest_add(struct journal__manifest *m,
                                                             uint32_t number, uint16_t logs);
void journal__manifest_drop(struct journal__manifest *m, uint32_t index);
void journal__manifest_free(struct journal__manifest *m);
void journal__manifest_format(const struct journal__manifest *m, struct buf *out);
/* RC_CORRUPT, RC_UNSUPPORTED (newer format), RC_NOMEM. *m is zeroed before, freed by the caller. */
MUST_CHECK enum rc journal__manifest_parse(struct bytes text, struct journal__manifest *m);
/* RC_NOTFOUND: there is none. */
MUST_CHECK enum rc journal__manifest_load(struct journal_set *set, struct buf *why);
/* Swaps the file atomically: when this returns RC_OK the new one is on disk. */
MUST_CHECK enum rc journal__manifest_store(struct journal_set *set, struct buf *why);

struct journal__name {
    uint32_t generation, log;
    uint64_t lsn;
};
void journal__path(char out[static JOURNAL_PATH_MAX], const char *dir, const char *name);
void journal__file_path(char out[static JOURNAL_PATH_MAX], const char *dir,
                        struct journal__name name);
MUST_CHECK bool journal__name_parse(const char *text, struct journal__name *out);
/* Fills files of every log of the manifest. Files that belong to no log stay unread. */
MUST_CHECK enum rc journal__files_list(struct journal_set *set, struct buf *why);
/* Removes what no generation of the manifest refers to, and cuts files behind the last frame. */
MUST_CHECK enum rc journal__files_clean(struct journal_set *set, struct buf *why);
MUST_CHECK enum rc journal__error(struct buf *why, int64_t negative_errno, const char *what,
                                  const char *path);
/* All of len, or fewer at the end of the file, or -errno. */
int64_t journal__pread(struct io *io, int fd, void *into, size_t len, uint64_t offset);
/* Names in `dir` survive a crash from here on. why may be NULL. */
MUST_CHECK enum rc journal__sync_dir(struct io *io, const char *dir, struct buf *why);
/* End of the log bytes of file k that can be read: by its size, or where the next file begins. */
uint64_t journal__file_end(const struct journal__log *log, uint32_t k);

/* ---- the bytes of one log, across its files, without stamps (reader.c) */
struct journal__reader {
    struct io *io;
    const char *dir;
    const struct journal__log *log;
    uint32_t generation, log_index;
    bool past_bad_heads; /* also reads files whose head is damaged */
    int fd;
    uint32_t fd_file;
    uint8_t *raw, *window;
    size_t raw_cap, window_cap;
    uint64_t base; /* LSN of window[0] */
    size_t len;
    enum rc rc; /* a read failed; sticks */
    char path[JOURNAL_PATH_MAX];
};
MUST_CHECK enum rc journal__reader_open(struct journal__reader *r, struct io *io, const char *dir,
                                        const struct journal__generation *g, uint32_t log_index);
/* Gives a copy of a reader buffers of its own. On failure it is closed. */
MUST_CHECK enum rc journal__reader_buffers(struct journal__reader *r);
void journal__reader_close(struct journal__reader *r);
/* The bytes from lsn on, n if there are as many (n ≤ FRAME_BYTES_MAX), without a gap. Returns how
 * many; *out is borrowed until the next call. */
size_t journal__reader_view(struct journal__reader *r, uint64_t lsn, size_t n, const uint8_t **out);
/* The whole block that holds lsn, stamp included, and the LSN at which it begins. False: the log does not
 * fill it. */
bool journal__reader_block(struct journal__reader *r, uint64_t lsn, uint8_t out[static BLOCK_BYTES],
                           uint64_t *start_out);
/* Name of the file and offset in it of lsn, for people. */
void journal__reader_where(const struct journal__reader *r, uint64_t lsn, char *out, size_t cap);

/* ---- frames and units in order (walk.c) */
struct journal__walk {
    struct journal__reader r;
    uint32_t seed, generation;
    uint16_t log;
    uint64_t lsn;                   /* of the next frame: valid frames end here */
    uint32_t crc;                   /* the chain there */
    struct journal_frame_head head; /* of the last frame taken */
    const uint8_t *body;
    struct buf
        chain; /* the last group of a frame that is first and not last, and what follows it */
    uint64_t chain_lsn; /* that frame */
    uint64_t chain_at;  /* where the group begins; JOURNAL_LSN_OPEN: no chain is open */
    int64_t chain_hlc_us;
    struct bytes *args;
    uint32_t args_cap;
    const char *what; /* why the last call did not go on; static text */
};
/* One whole group's unit. `group_at`: the LSN at which its group begins, the place a cut may be. False
 * stops the walk (RC_CLOSED). */
typedef bool journal__on_unit(void *ctx, const struct journal_unit_raw *raw,
                              const struct journal_unit *unit, uint64_t group_at);
MUST_CHECK enum rc journal__walk_open(struct journal__walk *w, struct io *io,
                                      const struct journal_set *set,
                                      const struct journal__generation *g, uint32_t log_index);
void journal__walk_close(struct journal__walk *w);
/* Takes the next frame. RC_OK; RC_NOTFOUND: no valid frame there; RC_CORRUPT: valid, but it makes no
 * sense (w->lsn stays at it); RC_IO, RC_NOMEM. */
MUST_CHECK enum rc journal__walk_frame(struct journal__walk *w);
/* Calls back with each unit of each group that the taken frame completes. With `args` the unit's
 * arguments are decoded. RC_CORRUPT as above, RC_NOMEM, RC_CLOSED. */
MUST_CHECK enum rc journal__walk_units(struct journal__walk *w, uint16_t logs,
                                       journal__on_unit *each, void *ctx);

/* ---- one bad place: damage, or the torn tail of a crash (judge.c) */
struct journal__verdict {
    bool damage;
    const char *proof;   /* static text */
    uint64_t torn_bytes; /* from the place to the last byte that is not zero */
};
MUST_CHECK enum rc journal__judge(struct journal__walk *w, struct journal__verdict *out);

/* ---- recovery (recover.c) */
MUST_CHECK enum rc journal__recover(struct journal_set *set, struct buf *why);

#endif
