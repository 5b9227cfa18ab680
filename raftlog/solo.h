/* raftlog/solo.h: the control log of a node alone. The same files, entries and machine as raftlog.h, without
 * Raft: what is on the disk is applied. So the files of a lone voter may be opened either way.
 *
 * All calls and callbacks on the thread that turns `io`; `done` comes inside io_turn(), never inside
 * solo_propose(). The first disk error ends it: what is under way ends as RL_UNKNOWN, nothing more is taken. */
#ifndef MOON_RAFTLOG_SOLO_H
#define MOON_RAFTLOG_SOLO_H

#include "raftlog/raftlog.h"

struct solo;
struct solo_opts {
    struct io *io;
    const char
        *dir;    /* absolute; made if it is not there; locked; borrowed for the life of the log */
    bool locked; /* by the caller, rl_lock(): and it stays so when the log is closed */
    /* Of a new log; one that is there has its own. */
    uint8_t new_cluster_id[16], new_node_id[20];
    struct rl_machine machine;
    /* 0: the default. */
    uint32_t snapshot_entries; /* 4,096 since the last one */
    uint32_t trailing_entries; /* 4,096 kept behind a snapshot */
    uint32_t segment_bytes;    /* 256 KiB */
};

/* Blocking: reads the files, feeds the machine. RC_CORRUPT, RC_IO, RC_INVALID (a log with other members too,
 * or of a newer version), RC_LOCKED (another process has it): why_out names file and offset. */
MUST_CHECK enum rc solo_open(const struct solo_opts *opts, struct solo **out, char *why_out,
                             size_t why_bytes);
/* Waits for what is under way and marks the log as closed. */
void solo_close(struct solo *s);
/* Now and then: after a rest, the last entries are marked as safely written. */
void solo_tick(struct solo *s);

/* As rl_propose(). */
MUST_CHECK enum rc solo_propose(struct solo *s, struct rl_call *call,
                                const struct rl_request *request, struct bytes payload);

struct solo_status {
    uint8_t cluster_id[16], node_id[20];
    uint64_t id;          /* of the one member */
    uint64_t incarnation; /* of its proposals: one that was not used yet */
    uint64_t applied_index, snapshot_index, term;
    uint32_t queued;
    const char *failure; /* NULL: healthy */
};
void solo_status(const struct solo *s, struct solo_status *out);

#endif
