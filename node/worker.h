/* node/worker.h: one thread of the node: a shard's core, the connections that live on it, and the
 * mailboxes to and from the other workers. */
#ifndef MOON_NODE_WORKER_H
#define MOON_NODE_WORKER_H

#include "node/conn.h"
#include "node/node.h"
#include "shard/exec/block.h"
#include "shard/exec/span.h"
#include "shard/exec/tx.h"
#include "shard/rt/mailbox.h"

#define BATCH_MAX                                                                                  \
    128u /* requests parsed before they are run: keeps views, buckets and records in cache */

struct block_note;
struct held_answer;
struct held_reply;
struct slotmap;
struct slowlog;

/* Requests travel in one ring, answers in another: an answer always has room, because no more requests
 * are outstanding than answers fit (CREDIT_MAX in place.c). */
struct peer {
    struct worker *worker;
    struct mailbox *requests_out, *requests_in;
    struct mailbox *answers_out, *answers_in;
    uint32_t outstanding;       /* requests sent, not yet answered */
    _Atomic size_t block_bytes; /* of them, in blocks; the peer takes off what it has run */
    bool owes_wake;             /* we took such bytes off */
    struct flow *flows;         /* answers on their way to its connections, by index (answer.c) */
    uint32_t flows_cap;
    uint32_t over;      /* flows over their bound */
    struct buf unwatch; /* numbers of watchers that are to be forgotten there (multi.c) */
};

struct queued { /* one request of a batch */
    struct request rq;
    struct conn *conn; /* NULL: from a peer */
    union {
        struct {
            size_t end;      /* conn->consumed after it */
            const char *bad; /* protocol error after the requests before it */
        };
        struct { /* from a peer: whose answer it is */
            uint64_t conn_id;
            uint64_t taken;
            uint32_t conn_index, pend, part, round;
            struct tx_part *part_here; /* SCHED: rq.argc is 0 */
            struct exec_known known;   /* collect.c: of all keys; else NULL */
            uint32_t from;
            uint8_t proto;
            void *block; /* the request's bytes, if too large for the ring; freed after the run */
            size_t block_bytes;
        };
    };
};

#define TXN_KEY_CHAINS 8192u /* as many keys as 50 pipelines of 16 MGETs of 10 have open */
struct txn_work {            /* transactions over several shards: txn.c */
    struct tx_shard shard;
    struct txn *retry, **retry_tail; /* of its connections: rounds to be begun again */
    uint32_t open, waits; /* of its connections: transactions; lone commands that wait for some */
    size_t bytes;         /* of the former */
    struct txn *alone;    /* a barrier that is held for a request of one of its connections */
    uint32_t alone_passes;
    uint64_t posted;           /* bits: workers to be woken */
    struct buf joined;         /* scratch: the reply of one whose parts are all in */
    struct conn *collected;    /* those that had parts in this drain of a mailbox (collect.c) */
    uint64_t collects, redone; /* reads without intents; of them, as transactions in the end */
    struct open_key *keys[TXN_KEY_CHAINS];
    _Alignas(64) struct inbox posts; /* of struct tx_part, by any worker */
};

struct worker {
    struct core core;
    struct txn_work txn;
    uint32_t index;
    pthread_t thread;
    struct peer peers[SHARDS_MAX];
    uint32_t outstanding; /* over all peers */
    uint64_t lent;        /* bits: shards whose token we hold (lend.h) */
    uint64_t lent_ticks;  /* clock_ticks() when we took the first of them */
    uint64_t lends;       /* tokens taken; others read it with stat_get() */
    uint64_t refused;     /* rounds of transactions that came to nothing; likewise */
    bool owes_publish;    /* answers were pushed that nobody has published */
    uint32_t returned;    /* over all connections: requests that were given back (answer.c) */
    struct inbox notes;   /* of blocked connections, by any worker: block.c */
    struct block_note *served_head, **served_tail; /* their answers, until the pass ends */
    uint32_t blocked_count;                        /* connections with one */
    struct conn **conns;                           /* by index, NULL: free */
    uint32_t conns_cap, conns_count;        /* the latter: others read it with stat_get32() */
    uint32_t *conns_free, conns_free_count; /* indexes */
    struct conn *ready_head, **ready_tail;
    struct conn *dirty;
    struct conn *gated;
    struct conn *room, **room_tail; /* CONN_WAIT_ROOM, who waits longest first */
    struct conn **room_front;       /* behind those who got nothing in this pass */
    uint64_t room_shards,
        room_txns;        /* bits: those whose mailbox somebody waits for; with a transaction */
    bool room_log;        /* somebody waits for the disk */
    struct conn *resting; /* their EXECs want room with everybody; by room_next */
    struct queued *batch;
    uint32_t batch_count;
    uint64_t batch_id;
    uint64_t read_ticks;        /* clock_ticks() when this pass read the clocks */
    uint64_t due_ticks;         /* then place__run() sees to the clocks, or to what is lent */
    const struct conn *running; /* whose request runs now; NULL: for_conn's, or nobody's */
    struct for_conn {           /* of any worker; id 0: nobody's */
        uint64_t id;
        uint32_t index, home;
    } running_for;
    struct arena args;                          /* argv of the batch */
    struct buf part_reply;                      /* an answer to a peer while it is written */
    struct held_answer *held_head, **held_tail; /* answers waiting for the log */
    struct timer cron;
    uint64_t watchers;   /* numbers given so far (multi.c) */
    bool widened;        /* by the script that runs: script.c */
    struct span span;    /* of a request that runs while the others stand (span.c) */
    struct slotmap *map; /* in cluster mode: who owns which slot (cluster.h); else NULL */
    uint64_t map_version;
    uint16_t map_me;         /* this node in it */
    struct slowlog *slowlog; /* node/slowlog.c */
    struct inbox slow_notes; /* of what other shards ran for connections of this one */
    struct ops_sample {      /* instantaneous_* of INFO, by cron */
        uint64_t commands, in_bytes, out_bytes;
        int64_t at_ms;
        uint64_t commands_per_s, in_per_s, out_per_s;
    } ops;
    uint64_t txids;                  /* node_txid(): the number of the last one */
    struct held_reply *holds;        /* node/hold.h */
    bool was_lifted;                 /* core.lifted of the last pass */
    bool refuses;                    /* its log cannot be written */
    _Atomic uint64_t replayed_bytes; /* load.c */
    enum worker_stage { WORKER_RUNS, WORKER_STOPS, WORKER_LEAVES } stage; /* stop.c */
};

/* From here on w runs something for that connection, which it may not look at; for the slow log. */
static inline void worker_runs_for(struct worker *w, uint32_t home, uint32_t index, uint64_t id)
{
    w->running = NULL;
    w->running_for = (struct for_conn){.id = id, .index = index, .home = home};
}
static inline void worker_runs_for_nobody(struct worker *w)
{
    worker_runs_for(w, 0, 0, 0);
}

/* A pass has one time, but where it takes long: what runs from here on in it does so at a later one. */
void worker_read_clocks(struct worker *w);
void worker_see_to_due(struct worker *w); /* core.ticks > due_ticks */
static inline void worker_due_by(struct worker *w, uint64_t ticks)
{
    if (ticks < w->due_ticks) w->due_ticks = ticks;
}

/* The worker this thread runs; NULL on other threads. */
struct worker *worker_self(void);
/* Names a transaction that w coordinates (core_tx_begin): unique among those in the logs and those of this
 * start. Positions are told by generation, so the generation is not in it. */
uint64_t node_txid(struct worker *w);
/* Takes a connected socket over, on the worker's own thread. */
void worker_adopt(struct worker *w, int fd, bool is_unix);

/* Work on every worker for one command of a connection: CLIENT LIST, CONFIG SET appendfsync, …
 * `part` runs on each worker's thread and writes whatever bytes it likes to out; when all have, `join`
 * runs on the connection's worker with the parts by worker index and writes the reply. The command's
 * argv is gone by then: what is needed travels in arg. If the connection has gone meanwhile, join is
 * called with c->conn NULL and a muted reply, so that it can free arg. */
typedef void everywhere_part(struct worker *w, void *arg, struct buf *out);
typedef void everywhere_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count);
void worker_everywhere(struct call *c, everywhere_part *part, everywhere_join *join, void *arg);

/* Work on one worker that may take its time: `begin` runs on that worker's thread, which calls
 * worker_answer() there and then, or later. `join` as above, with no parts. Nothing that the connection
 * sent behind this command is run before its reply. */
struct everywhere;
typedef void ask_begin(struct worker *w, struct everywhere *ask, void *arg);
void worker_ask(struct call *c, uint32_t to, ask_begin *begin, everywhere_join *join, void *arg);
void worker_answer(struct worker *w, struct everywhere *ask);

/* Every live connection of a worker, on its thread; fn may close but not free. */
void worker_each_conn(struct worker *w, void (*fn)(struct conn *c, void *ctx), void *ctx);

#endif
