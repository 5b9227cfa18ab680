/* shard/exec/exec.h: what a data command sees. It runs to its end on the shard that owns its keys, on
 * that shard's thread. Order inside a command: check arguments and types first (replying the error and
 * returning), then change and tell. Room in the log was asked for before run() is entered (by the size
 * of the request): only a command whose effect may be larger asks again with exec_reserve().
 *
 * A change:   struct change c;
 *             if (!exec_open_as(x, key, VALUE_HASH, &c)) return;           // WRONGTYPE was replied
 *             … hash_set(&c.e.record, field, value) …                      // the record may move
 *             exec_commit(x, &c, NOTIFY_HASH, "hset");                     // table, counters, event
 *             exec_log_same(x, &c);                                        // or exec_log(x, &c, OP_…, args, n)
 *
 * Replay runs the same functions: then x->replay is set, replies are muted, x->now_ms is 0 (nothing is
 * expired, no deadline is in the past), exec_log does nothing. */
#ifndef MOON_EXEC_EXEC_H
#define MOON_EXEC_EXEC_H

#include "shard/base/arena.h"
#include "shard/base/rng.h"
#include "shard/db/db.h"
#include "shard/exec/spec.h"
#include "shard/resp/reply.h"

enum opcode {
    OP_NONE = 0,
#define X(number, name) OP_##name = number,
#include "shard/exec/opcode.def"
#undef X
};

enum notify_class { /* keyspace events, as notify-keyspace-events letters */
                    NOTIFY_GENERIC = 1 << 2,
                    NOTIFY_STRING = 1 << 3,
                    NOTIFY_LIST = 1 << 4,
                    NOTIFY_SET = 1 << 5,
                    NOTIFY_HASH = 1 << 6,
                    NOTIFY_ZSET = 1 << 7,
                    NOTIFY_EXPIRED = 1 << 8,
                    NOTIFY_EVICTED = 1 << 9,
                    NOTIFY_STREAM = 1 << 10,
                    NOTIFY_KEY_MISS = 1 << 11,
                    NOTIFY_NEW = 1 << 14,
};

struct block_run;
struct core; /* exec/core.h: the shard; commands need only what stands below */
struct span; /* exec/span.h */

/* What was computed of a request's keys when it was dealt to its shards, in their order. */
struct exec_known {
    const uint64_t *hashes;
    const uint16_t *slots;
    bool loaded; /* exec_load() was called for them, a moment ago */
};

struct exec {
    struct core *core;
    struct keyspace *ks;
    const struct cmd_spec *spec;
    const struct bytes *argv; /* borrowed for the run */
    uint32_t argc;
    struct reply *reply;
    struct arena *scratch; /* rewound after the command */
    struct rng *rng;
    int64_t now_ms;    /* wall clock, as the worker last read it in this pass; 0 in replay */
    struct db_key key; /* of the first key: hash and slot computed when the request was routed */
    uint32_t shard, shards;
    uint16_t databases;
    uint64_t string_bytes_max; /* proto-max-bulk-len: the longest string a command may make */
    bool replay;
    uint16_t replay_log,
        replay_logs;        /* in replay: whose unit it is; a unit about all slots means those of
                                       * replay_log among replay_logs */
    bool no_touch;          /* CLIENT NO-TOUCH: reads leave LRU/LFU alone */
    struct block_run *wait; /* the command may wait, and how (block.h); NULL: it must not */
    const struct exec_known *known; /* of all keys; NULL: not computed */
    struct span
        *span; /* keys lie on several shards: core and ks are those of the last key; else NULL */
};

static inline struct bytes exec_arg(const struct exec *x, uint32_t i)
{
    return x->argv[i];
}
/* Address of a key in the current database: the routed one at no cost, others hashed here. */
struct db_key exec_key(const struct exec *x, struct bytes name);
struct db_key exec_key_db(const struct exec *x, struct bytes name, uint8_t db);

/* ---- reading. Expired keys read as absent (and are deleted). Counts keyspace hits and misses. */
struct record *exec_read(struct exec *x, struct bytes key);
/* As exec_read, but no LRU touch: TYPE, TTL, EXISTS. */
struct record *exec_look(struct exec *x, struct bytes key);
/* No LRU touch and no hit or miss count: internal looks. */
struct record *exec_peek(struct exec *x, const struct db_key *key);
/* False: WRONGTYPE was replied. True with NULL: absent. */
MUST_CHECK bool exec_read_as(struct exec *x, struct bytes key, enum value_type type,
                             struct record **record_out);

/* As exec_look and exec_read, of a key whose address is known. */
struct record *exec_look_at(struct exec *x, const struct db_key *key);
struct record *exec_read_at(struct exec *x, const struct db_key *key);

/* ---- many keys: MGET, MSET, DEL … walk them in their order, while those behind are loaded.
 *      struct exec_keys keys;
 *      exec_keys_begin(&keys, 1, 2);
 *      while (exec_keys_next(x, &keys)) … keys.key, x->argv[keys.arg + 1] … */
#define EXEC_KEYS_AHEAD 16u
struct exec_keys {
    const struct db_key *key; /* the current one, and its argument: good until the next call */
    uint32_t arg;
    uint32_t step, next, known, at;
    struct db_key ahead[EXEC_KEYS_AHEAD];
};
/* Brings keys near, sweep by sweep: their slots, buckets, records. So many at a time are best (EXEC_KEYS_AHEAD), whatever
 * commands they belong to. Their names are not looked at. */
void exec_load(const struct keyspace *ks, const struct db_key *keys, uint32_t count, bool writes);
void exec_keys_begin(struct exec_keys *k, uint32_t first, uint32_t step);
bool exec_keys_next(struct exec *x, struct exec_keys *k);

/* ---- changing. */
struct change {
    struct db_key key;
    struct db_entry e; /* e.record: NULL if absent (expired ones were deleted first) */
};
void exec_open(struct exec *x, struct bytes key, struct change *c);
void exec_open_at(struct exec *x, struct db_key key, struct change *c);
MUST_CHECK bool exec_open_as(struct exec *x, struct bytes key, enum value_type type,
                             struct change *c);
/* Puts c->e.record back and tells watchers and subscribers of the event ("hset"; NULL: none). A
 * collection that became empty is deleted instead (and "del" told after the event). If an insert found
 * no memory the new record is freed, the error replied and false returned: then log nothing. */
bool exec_commit(struct exec *x, struct change *c, enum notify_class cls, const char *event);
/* Before a value is made whose key is opened only later: it will lie with that key. */
void exec_build_for(struct exec *x, struct bytes key);
/* Keys of one shard: a record may move from one to the other. */
bool exec_same_shard(const struct exec *x, const struct db_key *a, const struct db_key *b);
/* Instead of exec_commit() when no memory was found before anything changed: a new record (it may also be
 * NULL) is freed, one that was there is put back where it lies now (a try that failed may have moved it).
 * Replies the error; log nothing. */
void exec_abandon(struct exec *x, struct change *c);
/* Instead of exec_commit() when nothing was changed: the record, which a type may have moved, is put back, or freed
 * if there was none. Nobody is told. */
void exec_put_back(struct exec *x, struct change *c);
/* Deletes the open key: frees the value (in slices if big). event NULL: none; e.g. "del", "expired". */
void exec_delete(struct exec *x, struct change *c, enum notify_class cls, const char *event);
/* An event about a key beyond the one exec_commit told. */
void exec_notify(struct exec *x, const struct db_key *key, enum notify_class cls,
                 const char *event);
/* To watchers (WATCH): a key went without exec_delete(), its record being another's now; and, before it is
 * done, a database is emptied (with: -1) or becomes what the database `with` is. */
void exec_touch_removed(struct exec *x, const struct db_key *key);
void exec_touch_db(struct exec *x, uint8_t db, int32_t with);
/* Frees a record that is in no table, in slices when big (never stalls). */
void exec_free_record(struct exec *x, struct record *r);
/* The same for one that stood under c's key until a commit put another in its place. */
void exec_free_replaced(struct exec *x, const struct change *c, struct record *r);

/* ---- blocking commands (block.h): parse; look at the keys; then either exec_wait(), or reply that there is
 * nothing; or exec_claim() and change. */

/* Nothing is there: waits until one of argv[first … first + count) holds the type. False: it must not wait (EXEC, a
 * script): reply as after a timeout. */
MUST_CHECK bool exec_wait(struct exec *x, enum value_type type, uint32_t first, uint32_t count);
/* Those of its keys that it is to look at now. */
void exec_wait_keys(const struct exec *x, uint32_t *first, uint32_t *count);
/* Before the first change: false: somebody else has answered the client; change nothing, reply what you like. */
MUST_CHECK bool exec_claim(struct exec *x);
/* False: the error was replied. */
MUST_CHECK bool exec_arg_timeout(struct exec *x, uint32_t i);

/* ---- the log. Effects of one command on one shard are replayed whole or not at all. */
void exec_log(struct exec *x, const struct change *c, enum opcode op, const struct bytes *args,
              uint32_t argc);
/* The command's own arguments (argv[1…]) under spec->opcode. */
void exec_log_same(struct exec *x, const struct change *c);
/* The slots that a command about all slots means here: those of this shard, or in replay those of the
 * writing log that this shard owns now. */
bool exec_owns_slot(const struct exec *x, uint16_t slot);
/* Units that build the whole value of c->e.record anew (in chunks of ordinary effects, the expiry last),
 * for RENAME, COPY and the like; the key is absent, or was logged as deleted, before. The caller reserved
 * exec_value_log_bytes(record) and opened a group. */
void exec_log_value(struct exec *x, const struct change *c);
size_t exec_value_log_bytes(const struct record *r);
/* The same if the value is logged under another key. */
size_t exec_value_log_bytes_as(const struct record *r, struct bytes key);
/* Units between the two are replayed whole or not at all. A command that logs more than one unit opens
 * a group; not nested in another, but inside of a transaction (core_tx_begin), whose group it joins. */
void exec_log_group_begin(struct exec *x);
void exec_log_group_end(struct exec *x);
/* A unit not bound to one slot: FLUSHDB, SWAPDB. */
void exec_log_all(struct exec *x, uint8_t db, enum opcode op, const struct bytes *args,
                  uint32_t argc);
/* More room than the request's size: false: the error was replied; nothing may be changed then. */
MUST_CHECK bool exec_reserve(struct exec *x, size_t bytes);
/* Answers "-OOM" / RC_NOMEM of a try function in Redis's words. */
void exec_reply_nomem(struct exec *x);

/* ---- arguments; each replies its error and returns false. */
MUST_CHECK bool exec_arg_i64(struct exec *x, uint32_t i, int64_t *out); /* ERR_NOT_INT */
MUST_CHECK bool exec_arg_range(struct exec *x, uint32_t i, int64_t min, int64_t max,
                               const char *error, int64_t *out);
MUST_CHECK bool exec_arg_double(struct exec *x, uint32_t i, double *out); /* ERR_NOT_FLOAT */
/* "ERR wrong number of arguments for 'get' command" in this command's name. */
void exec_reply_arity(struct exec *x);
/* Relative or absolute expire arguments in Redis's words and overflow rules: unit_ms 1000 or 1;
 * absolute: against the epoch. Replies "ERR invalid expire time in 'set' command". */
MUST_CHECK bool exec_arg_expire(struct exec *x, uint32_t i, int64_t unit_ms, bool absolute,
                                int64_t *when_ms_out);

#endif
