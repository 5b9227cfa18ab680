/* raftlog/raftlog_priv.h: the inside of a member. The only door to libraft's header.
 *
 * Order of things. Every call from outside enters libraft at most a few times and then runs rl__pump(),
 * which does what may not be done inside libraft: completes sends, starts proposals, hands out results,
 * lets held messages in. Messages leave when term and vote they were sent under are on the disk. */
#ifndef MOON_RAFTLOG_RAFTLOG_PRIV_H
#define MOON_RAFTLOG_RAFTLOG_PRIV_H

#include <raft.h>

#include "raftlog/raftlog.h"
#include "raftlog/session_priv.h"
#include "raftlog/store_priv.h"
#include "shard/base/rng.h"

enum rl_guard {
    GUARD_OLD_TERM = 1,       /* results wait until an entry of this term is on our disk */
    GUARD_STALE_RESULT = 2,   /* what was written for another term is not answered */
    GUARD_TAIL = 3,           /* answers and commits end with what was asked */
    GUARD_START_MEMBERS = 4,  /* members read at a start are not committed */
    GUARD_ROLLBACK = 5,       /* our own undoing of members */
    GUARD_SAVE_MEMBERS = 6,   /* no snapshot while members are pending */
    GUARD_BUSY = 7,           /* no election while the disk is behind */
    GUARD_OVERLAP = 8,        /* no entries below our log */
    GUARD_FAIL_STOP = 9,      /* the first disk error ends it */
    GUARD_ONE_BATCH = 10,     /* one batch under way */
    GUARD_SIZE = 11,          /* messages have a bound, back-tracking goes by terms */
    GUARD_PRE_VOTE = 12,      /* refusals tell the term */
    GUARD_TIMEOUT_NOW = 13,   /* its request is never touched */
    GUARD_CHANGE = 14,        /* when members may change */
    GUARD_TRANSFER_VOTE = 15, /* a transfer ends with the leadership */
    GUARD_LONE_TERM = 16,     /* a lone voter begins a new term, too */
    GUARD_VOTE = 17,          /* votes by what Raft knows, not by our copy of the members */
};
#ifdef MOON_TEST
#define guard_on(g) ((rl_guards_off >> (g)&1u) == 0)
#else
#define guard_on(g) true
#endif

/* A configuration as bytes and as a list. */
struct members_at {
    uint64_t index;
    struct rl_members list;
};

/* A message decoded for libraft, and what we keep of it. */
struct wire_head {
    uint8_t type;
    uint64_t from, to, term;
};
enum message_type {
    WIRE_APPEND = 1,
    WIRE_APPEND_RESULT,
    WIRE_VOTE,
    WIRE_VOTE_RESULT,
    WIRE_PIECE, /* of a snapshot */
    WIRE_TIMEOUT_NOW,
    WIRE_PIECE_ACK,
};
struct wire_piece {
    uint64_t index, term, members_index; /* of the snapshot */
    uint64_t total, offset;              /* body: members, then data */
    uint32_t members_bytes;
    struct bytes bytes;
};

struct held {
    struct held *next;
    uint32_t bytes;
    uint8_t data[];
};
struct out_message {
    struct out_message *next;
    uint64_t to, needs_meta; /* number of the meta operation that must be done */
    uint32_t bytes;
    char address[RAFT_ADDRESS_BYTES_MAX];
    uint8_t data[];
};

enum disk_kind { DISK_APPEND, DISK_TRUNCATE, DISK_META, DISK_SNAPSHOT };
/* An operation of the store on behalf of libraft. */
struct disk_op {
    struct store_op op;
    struct rl *rl;
    enum disk_kind kind;
    struct disk_op *next; /* of those under way, oldest first */
    uint64_t term;        /* ours when it was asked for */
    uint64_t last;        /* DISK_APPEND: its last index */
    uint64_t number;      /* DISK_META */
    bool install;
    void *request; /* libraft's */
    uint32_t entry_count;
    struct buf members, data;
    struct store_entry entries[];
};
struct send_done {
    struct send_done *next;
    struct raft_io_send *request;
    raft_io_send_cb cb;
};
struct snapshot_wanted {
    struct snapshot_wanted *next;
    struct raft_io_snapshot_get *request;
    raft_io_snapshot_get_cb cb;
};

/* A snapshot on its way to a member; one per member. */
struct piece_out {
    uint64_t to;
    struct store_snapshot snapshot; /* views into body */
    struct buf body;
    uint64_t offset, sent_ms, term;
    bool active;
};
/* … and from the leader. */
struct piece_in {
    uint64_t from, index, term, total;
    bool whole; /* handed on; kept to answer repetitions */
    struct buf body;
};

struct rl {
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct store store;
    struct rl_opts opts;
    struct rng rng;
    uint64_t now_ms;
    bool started, closing, failed, in_pump, tell_changed;
    char failure[STORE_WHY_MAX];
    struct store_load load; /* until libraft has taken it */

    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb close_cb;

    /* io */
    uint64_t meta_number, meta_done;
    uint64_t vote_term, vote;
    struct disk_op *disk_first, *disk_last;
    struct send_done *sent_first, *sent_last;
    struct snapshot_wanted *wanted;
    struct out_message *out_first, *out_last;
    struct held *held_first, *held_last;
    uint32_t held_count;
    uint64_t cap; /* highest index that a result may name now; 0: none */
    bool silent;  /* results that libraft sends now are dropped */
    struct {
        uint64_t to, next; /* member whose message was cut, and what it gets next */
    } cut[RAFT_MEMBERS_MAX];
    uint32_t cut_count;
    struct piece_out piece_out[RAFT_MEMBERS_MAX];
    struct piece_in piece_in;

    /* members */
    struct members_at committed; /* the last known to be committed */
    uint64_t last_mark_ms;

    /* leading */
    bool was_leader;
    uint64_t seen_term;
    unsigned seen_state;
    uint64_t seen_leader;
    uint64_t lead_from; /* index of the barrier of this term; 0: to be sent */
    uint64_t flight_last;
    struct rl_call *queue_first, *queue_last; /* proposals and barriers (entry NULL) not sent */
    uint32_t queue_count;
    struct rl_call *flight_first, *flight_last_call;
    struct rl_call *done_first, *done_last;
    struct rl_call *change_call;
    struct raft_change change;
    struct rl_call *transfer_call;
    struct raft_transfer transfer;
    uint64_t transfer_to, transfer_until_ms;

    /* applying (apply.c) */
    struct sessions sessions;
    uint64_t bytes_since_snapshot;
    uint64_t disk_install_index; /* snapshot that is being restored now */
    uint64_t snapshots_taken, snapshots_installed, held_total, dropped;
};

/* ---- core.c */
void rl__pump(struct rl *rl);
void rl__stop(struct rl *rl, const char *why);
void rl__call_done(struct rl *rl, struct rl_call *call);
void rl__applied(struct rl *rl, uint64_t index, enum rl_outcome outcome, uint32_t code);
void rl__disk_changed(struct store *s);
uint64_t rl__term_of(const struct rl *rl, uint64_t index);
const struct raft_entry *rl__entry(const struct rl *rl, uint64_t index);
uint64_t rl__last_index(const struct rl *rl);
bool rl__is_member(const struct rl *rl, uint64_t id);
const char *rl__address_of(const struct rl *rl, uint64_t id);

/* ---- io.c */
void rl__io_init(struct rl *rl);
void rl__io_finish(struct rl *rl); /* sends completed, snapshots handed out */
bool rl__io_pending(const struct rl *rl);
void rl__io_cancel(struct rl *rl);
#ifdef MOON_TEST
void rl__io_fail(struct rl *rl);
#endif
void rl__send_ready(struct rl *rl);
bool rl__disk_appends(const struct rl *rl); /* appends or an install are under way */
bool rl__disk_other_term(const struct rl *rl, uint64_t term);
void rl__queue_message(struct rl *rl, uint64_t to, const char *address, struct bytes message);

/* ---- guards.c: what is done to a message before libraft sees it, and after each call */
bool rl__must_hold(const struct rl *rl, const struct wire_head *head);
bool rl__admit_append(struct rl *rl, struct raft_message *m);
int rl__before_vote(struct rl *rl);
void rl__after_vote(struct rl *rl, int role);
void rl__cut_append(struct rl *rl, const struct raft_message *in, struct raft_message *out);
uint64_t rl__back_track(const struct rl *rl, uint64_t rejected, uint64_t last);
void rl__after_call(struct rl *rl);
void rl__note_members(struct rl *rl);
void rl__start_members(struct rl *rl);
const char *rl__change_refused(const struct rl *rl);

/* ---- members.c: libraft's coding of configurations, decoded with care */
bool members_decode(struct bytes in, struct rl_members *out);
void members_encode(const struct rl_members *m, struct buf *out); /* appends */
void members_from_raft(const struct raft_configuration *c, struct rl_members *out);
int members_to_raft(const struct rl_members *m, struct raft_configuration *out);

/* ---- wire.c */
void wire_put(struct buf *out, const struct rl *rl, const struct raft_message *m);
void wire_put_piece(struct buf *out, const struct rl *rl, uint64_t to, uint64_t term,
                    const struct wire_piece *p);
void wire_put_ack(struct buf *out, const struct rl *rl, uint64_t to, uint64_t index,
                  uint64_t offset);
MUST_CHECK bool wire_head_get(const struct rl *rl, struct bytes message, struct wire_head *out);
/* Everything but pieces and acks. Entries are libraft's kind: one array, one batch. */
MUST_CHECK bool wire_get(struct bytes message, struct raft_message *out);
MUST_CHECK bool wire_get_piece(struct bytes message, struct wire_piece *out);
MUST_CHECK bool wire_get_ack(struct bytes message, uint64_t *index_out, uint64_t *offset_out);

/* ---- transfer.c: snapshots between members, in pieces */
void rl__pieces_send(struct rl *rl, const struct raft_message *m);
void rl__pieces_tick(struct rl *rl);
void rl__pieces_receive(struct rl *rl, const struct wire_head *head, struct bytes message);
void rl__pieces_ack(struct rl *rl, const struct wire_head *head, struct bytes message);
void rl__pieces_free(struct rl *rl);

/* ---- apply.c */
void rl__fsm_init(struct rl *rl);
void *rl__envelope(const struct rl_request *r, struct bytes payload, size_t *bytes_out);

/* ---- heap.c */
void rl__heap_use(void);

#endif
