/* raftlog/raftlog.h: one member of the replicated control log. A few small entries a second; never data
 * of clients. Behind these calls stands libraft with our own files and guards (README.md).
 *
 * Sans-I/O. In: rl_receive(), rl_tick() and completions of `io` (inside io_turn()). Out: opts.link and
 * operations of `io`. Time is what the caller says. All calls come from one thread, the one that turns
 * `io`; none of the callbacks runs inside rl_propose(), rl_barrier(), rl_change() or rl_transfer(), all
 * may run inside the others and io_turn(). A callback may call rl_propose() and rl_status(), no others.
 *
 * Disk errors. The first failed operation stops the member for good: nothing is sent, applied or
 * answered as applied any more, rl_status().failure says why. The remedy is a restart with a disk that
 * works. Syncs are never retried. */
#ifndef MOON_RAFTLOG_H
#define MOON_RAFTLOG_H

#include "shard/base/buf.h"
#include "shard/base/limits.h"
#include "shard/base/rc.h"

struct io;
struct rl;

enum rl_role { RL_SPARE, RL_STANDBY, RL_VOTER }; /* nothing; the log; the log and a vote */
struct rl_member {
    uint64_t id; /* > 0, never reused for another node */
    enum rl_role role;
    char address[RAFT_ADDRESS_BYTES_MAX];
};
struct rl_members {
    uint32_t count;
    struct rl_member at[RAFT_MEMBERS_MAX];
};

/* What the log feeds: deterministic, the same on every member. */
struct rl_machine {
    /* Entries in order of rising index, each once. Returns the code of its result (0: well done): the
     * same for every member, and what a repeated proposal is answered again. */
    uint32_t (*apply)(void *ctx, uint64_t index, struct bytes payload);
    void (*save)(void *ctx, struct buf *out);
    /* Replaces the state by a saved one, which holds all entries up to `index`. */
    MUST_CHECK enum rc (*restore)(void *ctx, uint64_t index, struct bytes saved);
    void *ctx;
};
struct rl_link {
    /* `message` is borrowed for the call; may be lost, repeated, reordered. ≤ RAFT_MESSAGE_BYTES_MAX. */
    void (*send)(void *ctx, uint64_t to, const char *address, struct bytes message);
    void (*changed)(void *ctx); /* leader, members or health; may be NULL */
    void *ctx;
};

struct rl_opts {
    struct io *io;
    const char *dir; /* exists, the caller has locked it; borrowed for the life of the member */
    uint8_t cluster_id[16], node_id[20];
    uint64_t id;
    uint64_t now_ms;
    uint64_t seed; /* of election timeouts; different on each member */
    struct rl_machine machine;
    struct rl_link link;
    /* 0: the default. */
    uint32_t heartbeat_ms;     /* 100 */
    uint32_t election_ms;      /* 600: drawn between this and twice this */
    uint32_t snapshot_entries; /* 4,096 since the last one, or … */
    uint32_t snapshot_bytes;   /* … 8 MiB */
    uint32_t trailing_entries; /* 4,096 kept behind a snapshot */
    uint32_t segment_bytes;    /* 4 MiB */
};

/* Makes the directory (absolute) if it is not there, and keeps other processes out of it until rl_unlock().
 * Blocking. RC_LOCKED, RC_IO: why_out says it. */
MUST_CHECK enum rc rl_lock(struct io *io, const char *dir, int *fd_out, char *why_out,
                           size_t why_bytes);
void rl_unlock(struct io *io, int fd); /* -1 is fine */

/* Reads the directory (blocking) and begins to follow. RC_CORRUPT, RC_IO, RC_INVALID (of another node
 * or cluster): why_out names file and offset. A lone voter leads when this returns. */
MUST_CHECK enum rc rl_open(const struct rl_opts *opts, struct rl **out, char *why_out,
                           size_t why_bytes);
/* First members of a new cluster, written to an empty directory; the same on each of them, before
 * rl_open(). A node that joins later starts with an empty directory instead. RC_EXISTS: not empty. */
MUST_CHECK enum rc rl_bootstrap(const struct rl_opts *opts, const struct rl_members *members,
                                char *why_out, size_t why_bytes);
/* Waits for the operation under way, marks the log as closed. Open calls end as RL_UNKNOWN. */
void rl_close(struct rl *rl);
/* The same without touching io: after a simulated power loss. */
void rl_abandon(struct rl *rl);

void rl_receive(struct rl *rl, uint64_t now_ms, struct bytes message);
/* Starts at once what was proposed since the last of these calls; else the next tick or message does. */
void rl_run(struct rl *rl);
/* Every 25 ms or so: the grain of all timers. */
void rl_tick(struct rl *rl, uint64_t now_ms);

/* ---- calls: embedded in what waits for them, kept until `done`, which comes exactly once */

enum rl_outcome {
    RL_APPLIED,    /* at result.index with result.code */
    RL_NOT_LEADER, /* nothing happened; result.leader may know who leads, 0: nobody does */
    RL_UNKNOWN,    /* it may happen or have happened: ask again with the same request */
    RL_STALE,   /* nothing happened now: the proposer has a newer incarnation, or took it as done */
    RL_REFUSED, /* nothing happened: too many unresolved requests of this proposer */
};
struct rl_result {
    enum rl_outcome outcome;
    uint32_t code;
    uint64_t index, leader;
};
struct rl_call {
    void (*done)(struct rl_call *call, const struct rl_result *result);
    /* raftlog's: */
    struct rl_call *next;
    struct rl_result result;
    void *entry;
    size_t entry_bytes;
};

/* Names a proposal for ever: proposing it again is answered, not applied again. */
struct rl_request {
    uint64_t node, incarnation; /* of the proposer; a newer incarnation makes older ones stale */
    uint64_t counter;           /* from 1, rising */
    uint64_t done_below;        /* answers of all smaller counters have arrived */
};
/* RC_TOOBIG: over RAFT_ENTRY_BYTES_MAX. RC_FULL: too many wait. RC_CLOSED: the member stopped. Else
 * `done` follows. The payload is copied. */
MUST_CHECK enum rc rl_propose(struct rl *rl, struct rl_call *call, const struct rl_request *request,
                              struct bytes payload);
/* Done when everything proposed before is applied here, and this member surely led until then. */
MUST_CHECK enum rc rl_barrier(struct rl *rl, struct rl_call *call);

enum rl_change_kind { RL_ADD, RL_ASSIGN, RL_REMOVE };
struct rl_change {
    enum rl_change_kind kind;
    uint64_t id;
    const char *address; /* RL_ADD: as a spare; then RL_ASSIGN */
    enum rl_role role;   /* RL_ASSIGN */
};
/* One step at a time. RC_AGAIN: an earlier one is not complete on all voters, or this leader is new.
 * RC_INVALID: unknown, the same already, the leader itself (transfer first), or fewer voters than one. */
MUST_CHECK enum rc rl_change(struct rl *rl, struct rl_call *call, const struct rl_change *change);
/* To a voter; 0: any. RL_APPLIED when it leads. RC_AGAIN: one is under way; RC_INVALID: no voter. */
MUST_CHECK enum rc rl_transfer(struct rl *rl, struct rl_call *call, uint64_t id);

/* Forgets what a node proposed. Only from machine.apply(), so that all members do it alike. */
void rl_session_drop(struct rl *rl, uint64_t node);

enum rl_state { RL_STOPPED, RL_FOLLOWER, RL_CANDIDATE, RL_LEADER };
const char *rl_state_name(enum rl_state s); /* "stopped", "follower", … */
struct rl_status {
    enum rl_state state;
    uint64_t id, leader, term;
    uint64_t last_index, stored_index, commit_index, applied_index, snapshot_index;
    uint64_t members_index; /* of the configuration shown */
    bool members_pending;   /* … which is not known to be committed */
    bool ready;             /* leads, and an entry of its term is applied */
    struct rl_members members;
    uint32_t queued; /* proposals waiting or under way */
    uint64_t disk_ops, snapshots_taken, snapshots_installed, held, dropped;
    const char *failure; /* NULL: healthy */
};
void rl_status(const struct rl *rl, struct rl_status *out);
/* Of the last proposal of a node that was applied here; 0: none was. */
uint64_t rl_incarnation(const struct rl *rl, uint64_t node);
const char *rl_failure(const struct rl *rl); /* as rl_status().failure; also while it closes */
/* Who leads as far as is known here, which may be this member; 0: nobody. */
uint64_t rl_leader(const struct rl *rl);
/* The raft id that a message claims to come from; 0: it is no message. */
uint64_t rl_message_from(struct bytes message);

/* ---- for tests: guards around libraft, numbered as in README.md, that can be switched off */
#ifdef MOON_TEST
extern uint32_t rl_guards_off; /* bit n: guard n is off */
#endif

#endif
