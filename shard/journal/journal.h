/* shard/journal/journal.h: append-only logs of effects, one per shard, in one directory. Sees opcodes,
 * slots and bytes, never values. Format of every byte: docs/formats/journal.md; design:
 * architecture.md §7 (frames, units, generations, cuts). Nothing here blocks a serving shard: disk
 * operations complete in a later turn of the reactor's io. */
#ifndef MOON_JOURNAL_JOURNAL_H
#define MOON_JOURNAL_JOURNAL_H

#include "shard/base/buf.h"
#include "shard/base/clock.h"
#include "shard/base/rc.h"
#include "shard/rt/io.h"
#include "shard/rt/timer.h"

enum journal_fsync { JOURNAL_ALWAYS, JOURNAL_EVERYSEC, JOURNAL_NO };
#define JOURNAL_SLOT_ALL 0xFFFFu /* a unit about all slots of its log (FLUSHDB, SWAPDB) */

struct journal_opts {
    const char *dir; /* the data directory; files live in <dir>/log/ */
    uint32_t logs;   /* shards of this start */
    enum journal_fsync fsync;
    uint32_t segment_bytes;
    bool repair; /* cut at damage instead of refusing; final with journal_set_start() */
    const struct clock *clock;
    uint64_t
        epoch; /* of this tenure, in a cluster; 0 alone. Another one than last time opens a generation */
    uint8_t cluster_id[16],
        node_id[20]; /* zeros: those of the directory; a new one draws its own */
    /* NULL, or called now and then while the logs are checked: bytes done, and in all. False stops:
     * journal_set_open() gives RC_CLOSED, and nothing was changed. */
    bool (*watch)(void *ctx, uint64_t done, uint64_t total);
    void *watch_ctx;
};

/* ---- the directory: lock, manifest, generations, recovery. Opened before any shard runs. */
struct journal_set;

/* Locks the directory (RC_LOCKED: another process has it), reads the manifest, validates all logs
 * (checksums, chain, stamps) and computes the cut to replay to. Damage: RC_CORRUPT and *why names
 * file, offset and the repair command; a torn tail is cut with a WARN saying how many bytes. */
MUST_CHECK enum rc journal_set_open(const struct journal_opts *opts, struct io *io,
                                    struct journal_set **out, struct buf *why);
/* Closes files and gives the lock back. After journal_close() of every log. */
void journal_set_close(struct journal_set *set);

struct journal_unit {
    uint64_t lsn;             /* of its frame */
    uint64_t txid;            /* 0: not part of a cross-shard transaction */
    const struct bytes *args; /* borrowed during the call */
    uint32_t argc;
    uint32_t opcode;
    uint16_t slot; /* or JOURNAL_SLOT_ALL: then slots of `log` among `logs` are meant */
    uint8_t db;
    uint8_t engine;     /* 0: the keyspace */
    uint16_t log, logs; /* the writer's place in its generation */
    int64_t wall_ms;    /* hlc of the frame: the time its effects were decided */
};
/* Replays, generation by generation and up to the cut, every unit whose slot belongs to shard `shard` of
 * `shards` (units about all slots: every one, the callee picks its slots). Each shard's thread does it for
 * itself, in parallel, with its own io, in steps; reading blocks. apply returns false to stop:
 * RC_CORRUPT. */
struct journal_replay;
struct journal_replay_opts {
    uint32_t shard, shards;
    bool (*apply)(void *ctx, const struct journal_unit *u);
    void *ctx;
};
MUST_CHECK enum rc journal_replay_open(struct journal_set *set, struct io *io,
                                       const struct journal_replay_opts *opts,
                                       struct journal_replay **out);
/* Goes on until budget_us are over, or to the end (RC_OK and *more_out false). At least a frame is done,
 * so a step may take longer than asked. */
MUST_CHECK enum rc journal_replay_step(struct journal_replay *r, uint32_t budget_us, bool *more_out,
                                       struct buf *why);
uint64_t journal_replay_done_bytes(const struct journal_replay *r); /* of journal_set_bytes() */
void journal_replay_close(struct journal_replay *r);
/* All of it at once: for tests and tools. */
MUST_CHECK enum rc journal_set_replay(struct journal_set *set, struct io *io,
                                      const struct journal_replay_opts *opts, struct buf *why);
/* What a replay reads: all logs up to the cut. */
uint64_t journal_set_bytes(const struct journal_set *set);
/* The largest txid of any unit in the logs, 0: there is none. Later ones must be larger: a clean stop and
 * start goes on in the same generation, where one txid may name one transaction only. */
uint64_t journal_set_txid(const struct journal_set *set);
/* After replay, before any append: ends the old generation durably and opens the next, unless the
 * last stop was clean with the same number of logs. Blocking. */
MUST_CHECK enum rc journal_set_start(struct journal_set *set, struct buf *why);

/* ---- one log: everything below on its shard's thread. */
struct journal;
struct journal_events {
    void *ctx;
    void (*on_durable)(void *ctx, uint64_t lsn); /* everything below lsn is on disk */
    /* NULL, or: journal_safe_lsn() may have risen without that. Inside journal_pass(), journal_close() and
     * from the io. */
    void (*on_written)(void *ctx);
    /* This log cannot be written: refuse writes on all shards (MISCONF). rc RC_NOSPACE or RC_IO. `on`
     * false: writable again (space came back; never after RC_IO). May come inside journal_pass(),
     * journal_open() and journal_close() as well as from the io and the timers. */
    void (*on_refuse)(void *ctx, bool on, enum rc rc);
};
MUST_CHECK enum rc journal_open(struct journal_set *set, uint32_t log, struct io *io,
                                struct timer_wheel *timers, const struct journal_events *events,
                                struct journal **out);
/* Writes what is left, syncs, and with `clean` ends with a `closed` frame. Blocking; at shutdown. */
void journal_close(struct journal *j, bool clean);

/* Asked before a change: room for units of body_bytes in all (arguments and heads). RC_NOSPACE, RC_IO:
 * the log refuses writes; RC_TOOBIG never (large units are chained). RC_AGAIN: more than
 * JOURNAL_GATHER_BYTES_MAX wait for the disk: let the writer wait and ask again in a later turn.
 * RC_NOMEM. After RC_OK the appends of this command cannot fail. Hot: a few ns. */
MUST_CHECK enum rc journal_reserve(struct journal *j, size_t body_bytes);

/* So much waits for the disk (half of what RC_AGAIN allows) that writers which can wait should: the rest
 * is for those that are under way already. Never while writes are refused. Hot. */
bool journal_behind(const struct journal *j);

struct journal_head {
    uint32_t opcode;
    uint16_t slot;
    uint8_t db;
    uint8_t engine;
    uint64_t txid;        /* 0: none */
    uint64_t shards_mask; /* shards of the transaction, with txid */
};
/* Adds one unit to the pass's frame. Copies the arguments (values over 64 KiB too: the caller may free
 * them at once). Hot: ~11 ns for a SET 16/64. */
void journal_append(struct journal *j, const struct journal_head *head, const struct bytes *args,
                    uint32_t argc);
/* All units between begin and end are replayed whole or not at all. Nesting is not allowed. */
void journal_group_begin(struct journal *j);
void journal_group_end(struct journal *j);

/* End of a pass: closes the frame (if any unit was added) and writes as the policy says. Without
 * `always` the kernel has it when this returns, so that replies sent after it survive a kill of the
 * process (unless no segment is ready, see journal_stats.gathered_bytes). */
void journal_pass(struct journal *j, int64_t wall_us);
/* Position after the newest unit: what a reply of this pass waits for. */
uint64_t journal_lsn(const struct journal *j);
uint64_t journal_durable_lsn(const struct journal *j);
/* What the policy promises to keep: under `always` what is durable, else what the kernel has (whole groups). */
uint64_t journal_safe_lsn(const struct journal *j);
uint64_t journal_generation(const struct journal *j);
void journal_set_fsync(struct journal *j, enum journal_fsync fsync); /* CONFIG SET, each shard */
/* Must who tells of this log wait for journal_safe_lsn()? Under `always`; and after a change from it, until the
 * write under way then and what gathered behind it are with the kernel. Not once the log has failed. */
bool journal_makes_wait(const struct journal *j);
/* The published durable cut reaches up to lsn in this log (architecture.md §7): named by the frames that
 * follow. Never asked for while no unit with a txid was appended. */
void journal_cut_known(struct journal *j, uint64_t lsn);
struct journal_stats {
    uint64_t lsn, durable_lsn, generation, frames, units, bytes, syncs, segments;
    uint64_t last_sync_us, delayed_syncs;
    uint64_t gathered_bytes; /* in memory, not yet handed to the kernel */
    bool direct;             /* the segment being written bypasses the page cache */
    bool refusing;
    enum rc refuse_rc;
};
void journal_stats_read(const struct journal *j, struct journal_stats *out);

#endif
