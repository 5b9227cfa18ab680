/* node/conn.h: a client's connection: input, order of replies, output. On one worker for life. */
#ifndef MOON_NODE_CONN_H
#define MOON_NODE_CONN_H

#include "node/session.h"
#include "shard/base/buf.h"
#include "shard/exec/spec.h"
#include "shard/resp/parse.h"
#include "shard/resp/reply.h"
#include "shard/rt/io.h"

struct worker;
struct blocked;
struct merge;
struct join;
struct multi;
struct returned;
struct collect;

/* One place in the order of replies. While an answer of another shard is outstanding, every later reply
 * of the connection waits behind it in `held`. */
struct pend {
    size_t off, len;     /* in conn.held, when ready */
    uint32_t parts_left; /* 0: ready */
    bool muted;          /* CLIENT REPLY OFF or SKIP was in force: the answer is dropped */
    bool gated; /* ready, and when it was put here the own log was not safe up to conn.gate_lsn */
    struct merge *merge; /* several shards answer: how they become one reply; NULL: one answer */
    struct collect *collect; /* reads of several shards (collect.c) */
    struct join *join;       /* of an EXEC: its data commands, then what this core says (multi.c) */
    struct returned *returned; /* requests that other shards gave back (answer.c) */
};
/* Output up to `end` (counted in bytes since the connection began) waits for the log to reach lsn. */
struct gate_mark {
    uint64_t end, lsn;
};

enum conn_flag {
    CONN_CLOSE_AFTER_REPLY = 1 << 0, /* QUIT, protocol error: send what is there, then close */
    CONN_CLOSING = 1 << 1,           /* stream_close was called; waiting for on_gone */
    CONN_WAIT_ORDER = 1 << 2,        /* not parsed until all earlier replies are there */
    CONN_WAIT_ROOM = 1 << 3,         /* a mailbox was full or the disk is behind: see room_for */
    CONN_WAIT_OUTPUT = 1 << 4, /* unsent output over OUT_PAUSE_BYTES, or requests were given back:
                                      * not parsed */
    CONN_RECV_PAUSED = 1 << 5, /* io_stream_pause in force */
    CONN_READY = 1 << 6,       /* in the worker's ready list */
    CONN_DIRTY = 1 << 7,       /* in the worker's dirty list */
    CONN_GATED = 1 << 8,       /* in the worker's gated list */
    CONN_EOF = 1 << 9,         /* the peer will send no more */
    CONN_UNIX = 1 << 10,
    CONN_SENDING = 1 << 11,   /* `sending` is with the kernel */
    CONN_UNHEARD = 1 << 12,   /* input was dropped, or will be, because the connection ends */
    CONN_FIN = 1 << 13,       /* at a stop: all was sent, and the end of it */
    CONN_MULTI = 1 << 14,     /* between MULTI and its end: commands are queued (multi.c) */
    CONN_RAN = 1 << 15,       /* of a batch that stops here the last request did run */
    CONN_WAIT_KEYS = 1 << 16, /* in a blocking command (block.c): not parsed */
};
/* Any of them: nothing of its input is parsed. */
#define PENDS_MIXED 255u
#define CONN_WAITS (CONN_WAIT_ORDER | CONN_WAIT_ROOM | CONN_WAIT_OUTPUT | CONN_WAIT_KEYS)

struct conn {
    struct io_stream stream; /* first: callbacks cast back */
    struct worker *worker;
    uint32_t index; /* in the worker's table */
    uint32_t flags;
    uint64_t id; /* CLIENT ID: unique in the process */
    struct session session;
    /* Input: either a view into the receive buffer of this turn, or (left-overs, pieces) `in`. */
    struct buf in;
    const uint8_t *chunk;
    size_t chunk_len;
    size_t consumed; /* bytes of the input that are done */
    size_t parsed;   /* … that are in the batch */
    struct resp_parser parser;
    /* Output. */
    struct buf out, sending;
    uint64_t out_begin; /* stream position of out.data[0] */
    struct gate_mark *marks;
    uint32_t marks_head, marks_count, marks_cap;
    uint64_t gate_lsn;     /* newest position any reply so far depends on */
    uint64_t open_end;     /* with marks: output up to here may leave */
    int64_t soft_since_ms; /* output over the soft limit since; 0: it is not */
    /* Order. */
    struct pend *pends; /* ring of pends_cap (power of two) */
    uint32_t pends_head, pends_count, pends_cap;
    struct buf held;
    uint8_t pends_shard; /* all requests under way are on this one, or PENDS_MIXED */
    /* What other shards do for it (answer.c). */
    uint32_t due; /* requests under way there */
    /* Transactions over several shards (txn.c); commands of its own shard that wait for some (wait.c). */
    uint32_t txns, txns_global, txn_window, waits;
    uint64_t
        alone_refused; /* of `commands`: the one that found no memory to have everything to itself */
    struct collect *collects,
        **collects_tail; /* of the former, reads without intents (collect.c) */
    uint32_t collects_count;
    bool redoing; /* one of them comes again, as the transaction at redo_pend */
    uint32_t redo_pend;
    bool is_collected;
    struct conn *collected_next;
    uint32_t
        returned_count; /* given back, to be sent again in this order before anything is parsed */
    uint32_t round;
    size_t far_last;         /* size of the last counted answer */
    uint64_t *far_bytes;     /* counted answers by shard; NULL: none so far */
    struct blocked *blocked; /* with CONN_WAIT_KEYS */
    struct conn *ready_next, *dirty_next, *gated_next, *room_next;
    uint8_t room_for;          /* CONN_WAIT_ROOM: as place__wait_room() was told */
    struct conn *touched_next; /* had input in this pass: settled at its end */
    uint64_t
        skip_batch; /* the rest of its requests in this batch are not run: parsed again later */
    uint32_t pass_bytes, pass_commands; /* taken in this pass (admission) */
    bool drained;                       /* all that can be parsed of the input is in the batch */
    /* Facts for CLIENT LIST and limits. */
    int64_t created_ms, active_ms;
    const struct cmd_spec *last_spec;
    /* Transactions (multi.c). */
    struct multi *multi; /* NULL: none so far */
    bool in_exec;        /* a command of the EXEC at exec_pend runs, the one at exec_element */
    uint32_t exec_pend, exec_element;
    uint64_t commands, in_bytes, out_bytes;
    char peer[64], local[64];
};

static inline struct conn *call_conn(const struct call *c)
{
    return c->conn;
}

/* Closes as soon as what was written so far has been sent. */
void conn_close_after_reply(struct conn *c);
/* Closes at once, unsent output is lost. The memory lives until the kernel lets go. */
void conn_close_now(struct conn *c);
/* Bytes of output not yet taken by the kernel, held replies included. */
static inline size_t conn_output_bytes(const struct conn *c)
{
    return c->out.len + c->sending.len + c->held.len;
}
int64_t multi_queued(const struct conn *c); /* -1: not in MULTI */
size_t multi_bytes(const struct conn *c);
size_t conn_memory_bytes(const struct conn *c);

#endif
