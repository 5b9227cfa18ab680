/* shard/exec/core.h: one shard: its reactor, keyspace, log, scratch and statistics. Owned by one thread;
 * others may read the statistics (stat_get, for INFO). */
#ifndef MOON_EXEC_CORE_H
#define MOON_EXEC_CORE_H

#include <stdatomic.h>

#include "shard/base/stat.h"
#include "shard/db/waits.h"
#include "shard/db/watch.h"
#include "shard/exec/exec.h"
#include "shard/exec/sched.h"
#include "shard/journal/journal.h"
#include "shard/journal/track.h"
#include "shard/rt/inbox.h"
#include "shard/rt/reactor.h"

/* What all shards of a node share. Written by the config owner or by any shard, read relaxed. */
struct core_shared {
    _Atomic uint64_t maxmemory;        /* 0: none */
    _Atomic uint64_t string_bytes_max; /* proto-max-bulk-len */
    _Atomic uint32_t refusing;         /* logs that refuse writes; > 0: MISCONF on every shard */
    _Atomic uint32_t refuse_rc;        /* enum rc of the last refusal */
    atomic_bool active_expire;         /* DEBUG SET-ACTIVE-EXPIRE */
    _Atomic int64_t slowlog_us;        /* -1: off */
    _Atomic uint64_t script_ms_max;    /* 0: scripts run as long as they will */
};

struct core_cmd_stats {
    uint64_t calls, ticks, rejected, failed;
    struct stat_histogram *latency; /* ns; allocated at the first call (others: core_latency) */
};
struct core_stats { /* of uint64_t only */
    uint64_t commands, hits, misses, expired, evicted, dirty, error_replies;
    uint64_t expire_cycle_us, lazy_freed, lazy_pending;
    uint64_t net_in_bytes, net_out_bytes, connections_received, connections_rejected;
};
struct
    core_log_stats { /* the log as of the last pass: other threads do not touch the journal itself */
    uint64_t is_on, lsn, durable_lsn, generation, frames, units, bytes, syncs, segments;
    uint64_t last_sync_us, delayed_syncs, refusing;
};
#define CORE_ERRORS_MAX 64
struct core_error_count {
    char prefix[24];
    uint64_t count;
};

/* A request on its shard: what place (local) or a message (remote) hands to core_run(). */
struct request {
    const struct cmd_spec *spec;
    const struct bytes *argv;
    uint32_t argc;
    uint32_t wire_bytes; /* size of the request: what its effect may take in the log */
    struct db_key key;   /* valid if spec->keys.first > 0; db always */
    bool no_touch;
};

/* The transaction whose part runs on this shard: core_tx_begin(). */
struct core_tx {
    uint64_t txid, shards_mask; /* 0: on this shard alone */
    uint64_t begin_lsn;
    uint64_t since_lsn; /* units from there on name txid */
    bool open;
};

struct garbage;
struct waiter_part;
struct script;
struct serving;
struct tx_shard;
struct core {
    struct reactor reactor;
    struct io *io;
    struct keyspace *ks;
    struct journal *journal; /* NULL: appendonly no */
    struct core_shared *shared;
    struct slab *slab;
    struct arena scratch;
    struct exec run; /* of core_run(): what a pass keeps equal is filled in once per pass */
    struct rng rng;
    uint32_t index, count;
    uint16_t databases;
    bool oom;    /* of this pass */
    bool waits;  /* gated, or tail.unfinished: replies may have to wait for the log */
    bool gated;  /* appendfsync always: until it is durable; and for a moment after it: gate.c */
    bool lifted; /* of this pass: some log cannot be written, so parts may never be whole */
    uint64_t gate_lsn;        /* of the running command: newest position it looked at or made */
    uint64_t *slot_lsn;       /* newest position per slot, kept while gated */
    struct journal_tail tail; /* parts of transactions in this log, and the cut */
    struct core_tx tx;
    struct sched sched;     /* transactions over several shards that are under way here */
    struct stamps *stamps;  /* of changes of keys */
    uint64_t ticks;         /* clock_ticks() at the end of the last command */
    struct watches watches; /* keys of this shard that transactions wait on */
    struct waits waiters;   /* keys that blocking commands wait for: block.h */
    struct buf served;      /* a reply while it is made */
    /* Somebody who waited is registered here no more: `reply` is his (borrowed; his proto), and waits for gate_lsn;
     * NULL: another answers him. */
    void (*on_served)(struct core *c, struct waiter_part *p, struct buf *reply);
    struct core_serving {
        struct serving *keys; /* ready, and kept for those who wait: serve.c */
        atomic_bool due;      /* one of them may go on now; by any thread */
        struct inbox let_go;  /* by any thread */
    } serving;
    struct tx_shard *parts; /* of sched */
    struct span *stands;    /* the other shards do, while this one serves */
    /* While they stand. The command of p changes a key of another shard, too: runs it; p is registered no more. */
    void (*on_apart)(struct core *c, struct waiter_part *p);
    struct script *script; /* shard/script: its Lua state, made at the first script */
    const struct cmd_spec *const *by_opcode;
    uint32_t opcodes;
    struct core_cmd_stats *cmd_stats; /* by spec->id */
    uint32_t cmd_count;
    struct core_stats stats;
    struct core_error_count errors[CORE_ERRORS_MAX];
    _Atomic uint32_t errors_used; /* their words are there and stay */
    struct core_log_stats log_stats;
    struct garbage *garbage; /* values being freed in slices */
    struct task free_task;
    struct task expire_task;
    struct timer expire_timer;
    int64_t expire_now_ms;
    /* Told of each change, after the log (watchers, notifications). NULL: nobody listens. */
    void (*on_event)(void *ctx, const struct db_key *key, enum notify_class cls, const char *event);
    void *on_event_ctx;
    /* A command took longer than the slow log's threshold. */
    void (*on_slow)(struct core *c, const struct request *rq, uint64_t duration_us);
};

struct core_opts {
    uint32_t index, count;
    uint16_t databases;
    struct core_shared *shared;
    const struct cmd_spec *const *by_opcode; /* opcode → row, NULL where none */
    uint32_t opcodes;
    uint32_t cmd_count;
};
/* On the owning thread; io is taken over at core_fini. */
void core_init(struct core *c, const struct core_opts *opts, struct io *io,
               const struct clock *clock, struct reactor_handler handler);
void core_fini(struct core *c);
/* Replays the logs into this shard, in steps of about budget_us between which it may serve commands that
 * look at no key; before journal_open. */
struct core_replay;
MUST_CHECK enum rc core_replay_begin(struct core *c, struct journal_set *set,
                                     struct core_replay **out);
MUST_CHECK enum rc core_replay_step(struct core_replay *p, uint32_t budget_us, bool *more_out,
                                    struct buf *why);
uint64_t core_replay_bytes(const struct core_replay *p); /* done, of journal_set_bytes() */
uint64_t core_replay_units(const struct core_replay *p); /* applied here */
void core_replay_end(struct core_replay *p);
/* Gives the core its log. on_durable is passed on through events. */
void core_set_journal(struct core *c, struct journal *j, bool gated);
/* … and the cut over all logs of the node; after core_set_journal(). */
void core_set_track(struct core *c, struct journal_track *track);
void core_set_gated(struct core *c, bool gated);
/* Starts expiry and other upkeep. */
void core_start_upkeep(struct core *c);

/* Runs one data command to its end; the reply is written by it. Counts it. Sets c->gate_lsn to the
 * position that must be durable before the reply may leave (0: none). */
void core_run(struct core *c, const struct request *rq, struct reply *reply);
/* The same for a part of a call that another shard counts: its time is added, and it is no call. */
void core_run_part(struct core *c, const struct request *rq, struct reply *reply);
/* Between the two, all that is logged here is one group (exec_log_group_… nest in it and do nothing), each
 * unit naming txid and the shards that have a part: recovery replays all parts of it or none. Every shard
 * of the mask must begin and end it, once; if it changed nothing there a marker stands for its part. With
 * txid 0 and mask 0: one group on this shard alone (EXEC). On the thread that works on c, not across the end
 * of a pass; only for transactions that may write. Without a log nothing happens. After core_tx_end()
 * c->gate_lsn is what the reply of this part waits for: the part is unfinished until all of them lie inside the
 * durable cut, and while a shard has an unfinished part all that is seen of it waits, reads too. */
void core_tx_begin(struct core *c, uint64_t txid, uint64_t shards_mask);
void core_tx_end(struct core *c);
/* While it is open: what is logged from here on belongs to this transaction of more shards; what was before, too, as one
 * group. */
void core_tx_widen(struct core *c, uint64_t txid, uint64_t shards_mask);
/* It is one even if nothing is logged: for the sake of the reply. */
void core_tx_mark(struct core *c);
/* Instead of it if no shard of the transaction has logged anything: it was none. */
void core_tx_cancel(struct core *c);
bool core_tx_has_logged(const struct core *c);
/* Before a transaction: room in the log for all of it (log_bytes: the sum of core_log_bytes()), memory for what needs some
 * (flags: those of its rows). False: the error was replied. */
MUST_CHECK bool core_admit(struct core *c, uint32_t flags, size_t log_bytes, struct reply *reply);
size_t core_log_bytes(const struct request *rq);
/* The same for a part of a transaction over several shards: RC_OK, or why (RC_NOMEM: maxmemory), told by the
 * other function. Asked on every shard before any part runs; then core_run_admitted() does not refuse. */
MUST_CHECK enum rc core_may_run(struct core *c, uint32_t flags, size_t log_bytes);
void core_reply_refused(struct reply *reply, enum rc rc);
/* The same, counted as that command's. */
void core_refuse(struct core *c, const struct cmd_spec *spec, enum rc rc, struct reply *reply);
void core_run_admitted(struct core *c, const struct request *rq, int64_t now_ms,
                       struct reply *reply, bool part);
/* Is one of these keys there? In a transaction, at its time. Sets gate_lsn. */
bool core_has_any(struct core *c, int64_t now_ms, uint8_t db, const struct bytes *keys,
                  uint32_t count, uint32_t step);
/* WATCH (watching.c): the keys, all of this shard. A watcher is a number that is never used twice. False: no
 * memory; those before the one that found none are watched. */
MUST_CHECK bool core_watch(struct core *c, uint64_t watcher, uint8_t db, const struct bytes *keys,
                           uint32_t count);
/* Forgets them. EXEC: true: one was changed, or is past its time now. */
void core_unwatch(struct core *c, uint64_t watcher);
bool core_unwatch_changed(struct core *c, uint64_t watcher, int64_t now_ms);
/* The position of this log that a reply about anything that is seen of the shard now must wait for. 0: none.
 * On the thread that works on c. */
uint64_t core_gate(const struct core *c);
/* Replies that wait for positions up to this one may leave. */
uint64_t core_released(const struct core *c);
/* The log's end moved (on_durable, on_written): tells the other shards. Returns those to be woken. */
MUST_CHECK uint64_t core_log_moved(struct core *c);
/* Looks what other shards told. True: core_released() may have risen. */
bool core_look_at_cut(struct core *c);
/* Has core_look_at_cut() (or a pass) something to see? Also before sleeping. */
static inline bool core_cut_moved(const struct core *c)
{
    const struct journal_tail *t = &c->tail;
    return unlikely(t->unfinished) && (journal_track_cut(t->shared, t->log) != t->seen ||
                                       (journal_track_broken(t->shared) != 0) != c->lifted);
}
/* Start of a pass: memory pressure, tick reading. */
void core_pass_begin(struct core *c);
/* What the log says of itself becomes visible to other threads. */
void core_show_log(struct core *c);
/* End of a pass: the log's frame. */
static inline void core_pass_end(struct core *c)
{
    if (c->journal == NULL) return;
    journal_pass(c->journal, c->reactor.wall_us);
    core_show_log(c);
}
/* Position a reply not bound to a slot waits for. */
uint64_t core_newest_lsn(const struct core *c);
/* Counts an error reply by its first word ("ERR", "WRONGTYPE"); wire begins at '-'. */
void core_count_error(struct core *c, const uint8_t *wire, size_t len);
void core_reset_stats(struct core *c);
void core_count_call(struct core_cmd_stats *s, uint64_t ticks, uint64_t ns);
/* A call of which no part ran on this shard, which counts it. */
void core_count_call_only(struct core *c, const struct cmd_spec *spec);
/* Any thread; NULL: never called. */
static inline const struct stat_histogram *core_latency(const struct core_cmd_stats *s)
{
    return __atomic_load_n(&s->latency, __ATOMIC_ACQUIRE);
}
/* Values waiting to be freed in slices. */
void core_free_garbage(struct core *c, struct db_garbage *g);

#endif
