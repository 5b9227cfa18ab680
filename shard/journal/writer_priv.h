/* shard/journal/writer_priv.h: one open log, on its shard's thread.
 *
 *   written ≤ sealed ≤ lsn            append.c: units → frames in chunks of memory, [written, lsn)
 *   synced ≤ synced_bytes ≤ written   flush.c: sealed frames → the segment; syncs
 *   current, ready, retired           segment.c: files prepared ahead; flush.c closes those it filled */
#ifndef MOON_JOURNAL_WRITER_PRIV_H
#define MOON_JOURNAL_WRITER_PRIV_H

#include "shard/journal/journal_priv.h"

#define WRITE_BLOCKS_MAX 256u /* of one write */
#define WRITE_LOG_BYTES_MAX (WRITE_BLOCKS_MAX * BLOCK_LOG_BYTES)
#define WRITE_IOVECS_MAX                                                                           \
    640u /* per block a piece and its stamp; frames in several chunks cut pieces */

/* Frames, one after the other; none lies in two chunks. */
struct journal__chunk {
    struct journal__chunk *next;
    uint64_t lsn;  /* of data[0] */
    uint32_t used; /* kept only once the chunk is not the newest */
    uint8_t data[FRAME_BYTES_MAX];
};
struct journal__segment {
    struct journal__segment *next;
    struct journal *j;
    int fd;
    bool direct;
    uint64_t lsn, end;
    uint64_t end_frames; /* the last frame end at or before `end`; known when it is full */
    struct io_op close_op;
};
enum journal__step { /* of preparing a segment; in this order */
                     STEP_NONE,
                     STEP_OPEN,
                     STEP_ALLOCATE,
                     STEP_HEAD,
                     STEP_ZERO, /* only prewritten ones */
                     STEP_SYNC,
                     STEP_SYNC_DIR,
                     STEP_CLOSE_TO_REOPEN, /* the file system refuses O_DIRECT */
};

struct journal {
    /* What an append touches. */
    uint8_t *next, *limit; /* in the newest chunk */
    uint8_t *frame;        /* head of the open frame, NULL: none */
    size_t grant;          /* a reservation up to this is given without a look */
    uint32_t frame_units;
    bool in_group, group_has_units;
    bool chained;                 /* the open frame continues a chain */
    struct journal__chunk *chunk; /* the newest */
    uint64_t tx_first;            /* frame of the oldest unit with a txid above the known cut */
    uint64_t tx_last;             /* the newest such unit */

    struct journal__chunk *oldest; /* holds `written`, or is the newest */
    struct journal__chunk *spare;
    uint32_t spare_count;
    struct journal__chunk *seal_chunk;
    uint8_t *seal_at;
    uint64_t sealed;
    uint32_t crc;
    int64_t hlc_us;
    uint64_t cut_known;

    struct journal_set *set;
    struct io *io;
    struct timer_wheel *timers;
    const struct clock *clock;
    struct journal_events events;
    struct timer tick;
    enum journal_fsync fsync;
    uint32_t generation, seed;
    uint64_t epoch;
    uint16_t log, logs;
    bool closing;
    bool refusing, failed; /* failed: for good */
    enum rc refuse_rc;

    /* Writing (flush.c). */
    struct journal__segment *current;
    uint64_t written, written_frames; /* the latter in whole chains of frames */
    uint64_t frame_lsn, frame_end;    /* the frame that holds the last byte handed to a write */
    uint64_t frame_chain_lsn;         /* where its chain begins */
    bool frame_is_last;
    bool writing, write_stalled; /* stalled: no space; tried again each second */
    bool write_dsync;
    uint32_t write_nowhere; /* writes in a row that wrote nothing */
    struct io_op write_op;
    uint64_t write_to, write_offset;
    uint32_t iov_first, iov_count, stamp_count;
    struct iovec iov[WRITE_IOVECS_MAX];
    uint32_t stamps[WRITE_BLOCKS_MAX + 1];
    uint8_t *image; /* blocks of a direct write; its first one is the partly filled last one */

    /* Syncing. */
    struct journal__segment *retired, **retired_tail; /* full, not yet synced; oldest first */
    struct io_op sync_op;
    bool syncing;
    uint64_t synced;       /* durable, in whole chains of frames: what others are told */
    uint64_t synced_bytes; /* ≥ synced */
    uint64_t sync_goal, sync_target, sync_target_frames, sync_started_ns;

    /* Preparing (segment.c). */
    struct journal__segment *ready, **ready_tail;
    uint32_t ready_count;
    struct journal__segment *making;
    enum journal__step step;
    bool step_busy, make_stalled; /* stalled: no space or descriptor; tried again each second */
    bool direct_refused, reopen;
    struct io_op step_op;
    struct iovec step_iov;
    uint64_t step_offset;
    uint8_t *head_block;
    char make_path[JOURNAL_PATH_MAX];
    int dir_fd;
    struct journal__segment *leaving; /* their descriptors are being closed */

    uint64_t frames, units, bytes, syncs, segments, last_sync_us, delayed_syncs;
};

uint64_t journal__lsn(const struct journal *j);

/* append.c */
void journal__chunks_init(struct journal *j, uint64_t lsn, uint32_t crc);
void journal__chunks_free(struct journal *j);
/* Everything below `written` is no longer needed. */
void journal__chunks_written(struct journal *j);
/* Gives back what a large reservation did not use. Not between reserve and append. */
void journal__chunks_trim(struct journal *j);
static inline uint32_t journal__chunk_used(const struct journal *j, const struct journal__chunk *c)
{
    return c == j->chunk ? (uint32_t)(j->next - c->data) : c->used;
}
/* Seals what is there, with hlc. */
void journal__seal(struct journal *j, int64_t wall_us);
void journal__append_closed(struct journal *j);

/* flush.c */
void journal__flush(
    struct journal *j); /* starts a write if there is something and none is under way */
void journal__sync(struct journal *j, uint64_t goal);
void journal__segment_close(struct journal *j,
                            struct journal__segment *s); /* asynchronous; frees it */
void journal__refuse(struct journal *j, enum rc rc);
void journal__write_again(struct journal *j); /* a stalled one */
void journal__resume(struct journal *j);      /* refuses no more, if nothing is stalled any more */

/* segment.c */
void journal__prepare(struct journal *j);       /* goes on if something is to be prepared */
void journal__prepare_again(struct journal *j); /* a stalled step */
/* The next one becomes current. NULL: none is ready. */
MUST_CHECK struct journal__segment *journal__segment_take(struct journal *j);

/* Waits for what is under way, closes and frees; writes nothing. */
void journal__discard(struct journal *j);
/* Frees everything and touches neither files nor io: for tests that simulate the end of a process. */
void journal__abandon(struct journal *j);

#endif
