/* node/place_priv.h: what place.c, answer.c and merge.c share: the messages between workers, and how the
 * answers of several shards become one reply. */
#ifndef MOON_NODE_PLACE_PRIV_H
#define MOON_NODE_PLACE_PRIV_H

#include "node/conn_priv.h"

/* Requests above this travel as a block on the heap, the ring carries its address. */
#define REQUEST_INLINE_MAX (16u << 10)

enum msg_kind {
    MSG_REQUEST,
    MSG_BLOCK,
    MSG_SOCKET,
    MSG_EVERYWHERE,
    MSG_TXN,
    MSG_COLLECT, /* a request; but first its keys' hashes and slots (collect.c) */
    MSG_EXEC,
    MSG_WATCH,
    MSG_UNWATCH,
    MSG_PROBE, /* nothing: answered when the log of the shard is not behind */
};

/* A script is known for what it does when it has run. */
#define MAY_WRITE (CMD_WRITE | CMD_MAY_REPLICATE)

struct
    msg_request { /* then: uint32_t lengths[argc], the arguments' bytes; or (MSG_BLOCK) in block */
    uint8_t kind, db, proto, no_touch;
    uint32_t argc;
    uint32_t conn_index, pend, part;
    uint32_t wire_bytes;
    uint64_t conn_id;
    uint64_t hash; /* MSG_EXEC: bytes used of the block; MSG_WATCH, MSG_UNWATCH: the watcher */
    const struct cmd_spec *spec;
    void *block;
    size_t block_bytes;
    uint16_t slot;
    uint32_t round; /* conn.round: the first of a new one ends the giving back */
    union {
        uint64_t taken; /* bytes of this shard's counted answers that the connection has */
        struct {        /* MSG_SOCKET */
            int32_t fd;
            uint32_t is_unix;
        };
        struct everywhere *everywhere;
        struct tx_part *tx_part; /* MSG_TXN, which has no more than that */
    };
};
enum answer_kind {
    ANSWER_REPLY,
    ANSWER_RETURNED,
    ANSWER_EVERYWHERE,
    ANSWER_TXN,
    ANSWER_COLLECT,
    ANSWER_SERVED, /* only while held: block.c sends it */
};
struct msg_answer {
    uint64_t conn_id;
    uint32_t conn_index, pend, part;
    uint8_t kind;
    size_t len;     /* of the reply's bytes that follow, or of block */
    uint8_t *block; /* replies over ANSWER_INLINE_MAX, a request given back; freed by the asker */
    size_t block_bytes;
    union {
        uint64_t counted; /* what it adds to conn.far_bytes */
        struct everywhere *everywhere;
        struct blocked *served;
        struct txn *txn; /* its part of shard `part` */
    };
};
struct returned { /* a request given back to its connection without being run */
    struct returned *next;
    uint32_t shard;
    uint32_t inline_bytes;
    struct msg_request m; /* then the arguments (inline_bytes), or they are in m.block */
};
struct held_answer { /* waits in the answering worker until the log is durable up to lsn */
    struct held_answer *next;
    uint64_t lsn;
    uint32_t to;
    struct msg_answer answer; /* with a block, or of a transaction's part */
};
struct everywhere {
    everywhere_part *part;
    ask_begin *begin; /* or this, on one worker */
    uint32_t asker;
    everywhere_join *join;
    void *arg;
    const struct cmd_spec *spec;
    uint64_t conn_id;
    uint32_t conn_index, pend, left, count;
    bool in_exec; /* the joined reply is an element of the EXEC at pend */
    uint32_t element;
    struct buf out[SHARDS_MAX];
};
/* How the answers of several shards become one. */
struct merge {
    enum cmd_spread spread;
    uint32_t shards, left, elements;
    uint8_t proto;
    uint8_t *shard_of; /* SPREAD_GATHER: element → shard */
    struct buf part[]; /* by shard */
};

struct txn;

/* ---- merge.c */
void merge__reply(const struct merge *m, struct reply *reply);
struct merge *merge__new(enum cmd_spread spread, uint32_t shards, uint32_t elements, uint8_t proto);
/* The same of parts that lie elsewhere, by shard. */
struct merge_parts {
    enum cmd_spread spread;
    uint32_t shards, elements;
    const uint8_t *shard_of;
    const struct bytes *part;
    size_t *at; /* SPREAD_GATHER: where its next element begins in each; 0: the first */
};
void merge__views(const struct merge_parts *m, struct reply *reply);
size_t merge__skip_element(const struct bytes *part, size_t at); /* where the next begins */
/* One part is here; the last one writes the reply and frees the merge. */
void merge__part(struct conn *c, uint32_t number, struct merge *m, uint32_t part,
                 struct bytes wire);

/* ---- place.c */
size_t place__args_bytes(const struct bytes *argv, uint32_t argc); /* in a message */
void place__write_args(uint8_t *to, const struct bytes *argv, uint32_t argc);
void place__read_args(const uint8_t *from, struct bytes *argv, uint32_t argc); /* as views */
bool place__everyone_has_room(const struct worker *w);
uint32_t place__shard_of_cursor(const struct worker *w, const struct request *rq);
uint32_t place__shard_by_keys(struct worker *w,
                              uint8_t db); /* one that has some, drawn by their number */
uint64_t place__shards_of(struct worker *w, const struct request *rq); /* of its keys, as bits */
/* A message that will be answered, for which there is room: fills in whose it is, and its place. */
void place__send(struct conn *c, uint32_t to, struct msg_request *m);
/* The same of several for one place (m->pend). */
void place__send_part(struct conn *c, uint32_t to, struct msg_request *m);
/* The rest of what c has in this batch is not run, nor what runs now: again, when the flag is gone. */
void place__stall(struct worker *w, struct conn *c, uint32_t flag);
/* True: c waits until there is room for a message to each of the others. */
bool place__must_wait(struct worker *w, struct conn *c);
void place__reply_error(struct conn *c, const char *error);
#define STOPS_ERROR "ERR the server is shutting down"
/* A command about the connection: runs and counts it. */
void place__call(struct worker *w, struct conn *c, const struct request *rq, struct reply *reply);
bool place__has_room(const struct worker *w, uint32_t to); /* for a request to that shard */
/* c has a request that found no room in the mailbox of that shard (or, ROOM_LOG, in the log): it is seen to
 * again when there is some. */
#define ROOM_LOG SHARDS_MAX
#define ROOM_TXN 0x80u /* beside the shard: room for a part of a transaction */
static_assert(SHARDS_MAX <= 64, "worker.room_shards has a bit for each");
void place__wait_room(struct worker *w, struct conn *c, uint32_t wanted);
/* A reply that core_run() made for c. */
void place__reply_end(struct worker *w, struct conn *c, const struct reply *reply, size_t start);
#define ERR_WAIT_NOMEM "OOM no memory for waiting"

/* All parts are there: writes the reply, frees the merge. */
void merge__finish(struct merge *m, struct reply *reply);

/* ---- span.c */
void span__place(struct worker *w, struct conn *c, struct request *rq, uint64_t shards);
/* READY: the others stand, w->span is begun, and span__end() must come soon. WAITS: c is stalled. REFUSED: *why_out, an
 * error reply. */
enum span_ready { SPAN_READY, SPAN_WAITS, SPAN_REFUSED };
enum span_ready span__begin(struct worker *w, struct conn *c, uint64_t mask, bool writes,
                            const char **why_out);
/* The others go on. The shards that a reply depends on: their newest position, as far as it has to wait for it. */
struct hold;
void span__end(struct worker *w, uint64_t shards, struct hold *hold_out);
/* The same for a reply that is made while they stand. What need not wait is written. */
void span__hold(struct worker *w, uint64_t shards, struct hold *hold_out);
/* The same for a reply of c that was begun: answers it, at once or when it may leave. */
void span__reply(struct worker *w, struct conn *c, struct reply *reply, size_t start);
/* Serves keys of this shard that were kept until the others stand. False: the node stops. */
bool span__serve_kept(struct worker *w);

void span__begin_on(struct worker *w,
                    struct core *home); /* all stand; home is that of the running command */

/* ---- script.c */
/* Around a script that runs on one shard, and may come to want others. The first is not to be called in the middle of a command:
 * others may run meanwhile. */
void script__begin(struct worker *w);
MUST_CHECK bool script__try_begin(void);
MUST_CHECK bool script__begin_soon(struct worker *w); /* false: not within some tens of µs */
/* True: it came to that, and all shards have a part in its transaction: its reply waits for core_gate() of any of them. */
bool script__end(struct worker *w);
void script__widen(struct core *c);
const char *script__refuses(const struct request *rq, uint16_t *slot);

/* ---- multi.c */
void multi__queue(struct conn *c, const struct request *rq); /* it was admitted */
void multi__abort(struct conn *c);                           /* it was not */
/* Any data command, by its spread, while the other shards stand; also for those of scripts. */
void multi__run_spread(struct span *s, const struct request *rq, struct reply *reply);
bool multi__writes(const struct conn *c); /* one of the queued commands does */
void multi__exec(struct call *call);
/* EXEC of c is to run while the other shards stand; and the shards of its keys. */
bool multi__spans(const struct conn *c, uint64_t *shards_out);
/* An EXEC that cannot even be looked at ends the transaction all the same. */
void multi__refuse_exec(struct conn *c, struct reply *reply, const char *why);
void multi__take_exec(struct worker *w, uint32_t from, const struct msg_request *r);
void multi__take_watch(struct worker *w, uint32_t from, const struct msg_request *r);
void multi__publish(struct worker *w, uint32_t to);
/* The shard has answered: the reply, or its parts. */
void multi__join(struct conn *c, uint32_t number, struct bytes wire);
/* worker_everywhere() inside an EXEC: one more part is due; and it is there. */
void multi__element_due(struct conn *c);
void multi__element(struct conn *c, uint32_t number, uint32_t element, struct bytes wire);
/* EXECs that ask others more often than there is room for. */
bool multi__may_go_on(const struct worker *w);
void multi__go_on(struct worker *w);

/* ---- answer.c */
/* The block of a request of a peer is done with: its sender may send the next. */
void answer__took_block(struct worker *w, const struct queued *q);
/* True: too much is on its way to the connection that asks; the request went back to it. */
bool answer__gave_back(struct worker *w, const struct queued *q);
/* Are requests of that round given back? */
bool answer__gives_back(const struct worker *w, uint32_t from, uint32_t conn_index,
                        uint64_t conn_id, uint32_t round);
/* A part of a transaction has come to its end here: when the log is durable up to lsn. */
void answer__part(struct worker *w, uint32_t to, struct txn *t, uint64_t lsn);
/* The reply to a request of a peer: now, or (gated) when the log is durable. Empties `out`. */
void answer__send(struct worker *w, const struct queued *q, struct buf *out);
/* True: the answer of somebody who waited here is held: it may not be told yet. */
MUST_CHECK bool answer__hold_served(struct worker *w, uint32_t to, struct blocked *b);
void answer__push(struct worker *w, uint32_t to, const struct msg_answer *a, struct bytes wire);
void answer__everywhere(struct worker *w, struct everywhere *e); /* one more part is done */

#endif
