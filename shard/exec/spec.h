/* shard/exec/spec.h: one row per command. Routing, argument errors, ACL, COMMAND (INFO, DOCS, GETKEYS),
 * completion, docs and the differential tests all read this row. */
#ifndef MOON_EXEC_SPEC_H
#define MOON_EXEC_SPEC_H

#include "shard/base/bytes.h"

struct exec;
struct reply;

/* What a command about connections, nodes and settings gets: it runs on the connection's core. */
struct call {
    const struct cmd_spec *spec;
    const struct bytes *argv; /* argv[0] is the command's name as sent */
    uint32_t argc;
    struct reply *reply;
    void *conn; /* node: struct conn */
};
typedef void cmd_run(struct exec *x);      /* on the shard that owns the keys */
typedef void cmd_run_conn(struct call *c); /* on the connection's core */

enum cmd_flag { /* names and meaning as COMMAND INFO; the order is that of Redis's reply */
                CMD_WRITE = 1u << 0,
                CMD_READONLY = 1u << 1,
                CMD_DENYOOM = 1u << 2,
                CMD_MODULE = 1u << 3,
                CMD_ADMIN = 1u << 4,
                CMD_PUBSUB = 1u << 5,
                CMD_NOSCRIPT = 1u << 6,
                CMD_BLOCKING = 1u << 7,
                CMD_LOADING = 1u << 8,
                CMD_STALE = 1u << 9,
                CMD_SKIP_MONITOR = 1u << 10,
                CMD_SKIP_SLOWLOG = 1u << 11,
                CMD_ASKING = 1u << 12,
                CMD_FAST = 1u << 13,
                CMD_NO_AUTH = 1u << 14,
                CMD_MAY_REPLICATE = 1u << 15,
                CMD_NO_MANDATORY_KEYS = 1u << 16,
                CMD_PROTECTED = 1u << 17,
                CMD_MOVABLE_KEYS = 1u << 18,
                CMD_NO_ASYNC_LOADING = 1u << 19,
                CMD_NO_MULTI = 1u << 20,
                CMD_ALLOW_BUSY = 1u << 21,
                /* ours, not shown */
                CMD_SHRINKS =
                    1u << 24, /* passes every memory and disk-space refusal (DEL, EXPIRE, …) */
                CMD_AT_ONCE = 1u << 25, /* inside MULTI it runs instead of being queued */
};
enum cmd_acl { /* categories beyond those that follow from flags (@read @write @fast @slow @admin …) */
               ACL_KEYSPACE = 1u << 0,
               ACL_STRING = 1u << 1,
               ACL_LIST = 1u << 2,
               ACL_SET = 1u << 3,
               ACL_SORTEDSET = 1u << 4,
               ACL_HASH = 1u << 5,
               ACL_BITMAP = 1u << 6,
               ACL_HYPERLOGLOG = 1u << 7,
               ACL_GEO = 1u << 8,
               ACL_STREAM = 1u << 9,
               ACL_PUBSUB = 1u << 10,
               ACL_ADMIN = 1u << 11,
               ACL_BLOCKING = 1u << 12,
               ACL_DANGEROUS = 1u << 13,
               ACL_CONNECTION = 1u << 14,
               ACL_TRANSACTION = 1u << 15,
               ACL_SCRIPTING = 1u << 16,
};

/* Where a command runs and how answers of several shards become one. Data, never code in the command. */
enum cmd_spread {
    SPREAD_CONN, /* run_conn on the connection's core */
    SPREAD_KEY, /* on the shard of its keys; if they lie on several, on all of these at once while none does else */
    SPREAD_WAIT, /* waits until one of its keys, on one or several shards, has what it pops: BLPOP */
    SPREAD_WAIT_MOVE,    /* waits for its first key; the second is changed, too: BLMOVE */
    SPREAD_SUM,          /* keys are split by shard, integers added: DEL EXISTS TOUCH UNLINK */
    SPREAD_GATHER,       /* keys are split, elements put back in the keys' order: MGET */
    SPREAD_ALL_OK,       /* keys (with their values: step) are split, +OK when all did: MSET */
    SPREAD_ALL_NEW,      /* as ALL_OK if none of the keys exists, then :1, else :0: MSETNX */
    SPREAD_SCRIPT,       /* as SPREAD_KEY; it may turn out to need further shards: EVAL */
    SPREAD_EVERY_SUM,    /* on every shard, integers added: DBSIZE */
    SPREAD_EVERY_CONCAT, /* on every shard, arrays joined: KEYS */
    SPREAD_EVERY_OK,     /* on every shard, +OK: FLUSHALL FLUSHDB SWAPDB */
    SPREAD_CURSOR,       /* on the shard that the cursor argument names: SCAN */
    SPREAD_ANY,          /* on one shard that has keys, drawn by their number: RANDOMKEY */
};

/* Key specifications as COMMAND INFO shows them; NULL: derived from `keys` and the flags below. */
enum cmd_key_flag {
    KEY_RO = 1u << 0,
    KEY_RW = 1u << 1,
    KEY_OW = 1u << 2,
    KEY_RM = 1u << 3,
    KEY_ACCESS = 1u << 4,
    KEY_UPDATE = 1u << 5,
    KEY_INSERT = 1u << 6,
    KEY_DELETE = 1u << 7,
    KEY_NOT_KEY = 1u << 8,
    KEY_INCOMPLETE = 1u << 9,
    KEY_VARIABLE = 1u << 10,
};
struct cmd_key_spec {
    uint32_t flags;
    const char *begin_keyword;       /* NULL: by index */
    int16_t begin_index;             /* index, or where the search for the keyword starts */
    bool keynum;                     /* find_keys: keynum (else range) */
    int16_t keynum_index, first_key; /* keynum: relative to begin */
    int16_t last_key, step, limit;   /* range: relative last, step */
    const char *notes;
};

struct cmd_spec {
    const char *name;       /* "GET"; a subcommand's is its own word: "GETKEYS" */
    cmd_run *run;           /* data commands */
    cmd_run_conn *run_conn; /* connection commands, or NULL */
    int16_t arity;          /* name included; negative: at least */
    uint32_t flags;         /* enum cmd_flag */
    uint32_t acl;           /* enum cmd_acl */
    struct {
        int16_t first, last, step; /* as COMMAND INFO; last negative: from the end; 0 first: none */
    } keys;
    uint16_t
        element; /* argument that names the element looked up in a collection (HGET's field), to be loaded
                       * ahead; 0: none */
    enum cmd_spread spread;
    uint16_t opcode;    /* the effect that the command's own arguments are (opcode.def), 0: none */
    uint32_t key_flags; /* enum cmd_key_flag of the one spec that `keys` describes */
    const struct cmd_key_spec *key_specs; /* if they need more than that */
    uint8_t key_specs_count;
    const struct cmd_spec *subs; /* container: CONFIG, CLIENT, … */
    uint16_t subs_count;
    const char *group; /* "string", "generic", "connection", … */
    const char *since, *complexity, *summary;
    const char *syntax;  /* as redis-cli shows it: "key value [NX | XX] [GET] [EX seconds | …]" */
    const char *tips;    /* space-separated, NULL: none */
    const char *history; /* "6.2.0:Added the `GET` option.\n…", NULL: none */
    uint16_t id; /* dense, given by the registry when it copies the rows: statistics index */
};

/* Positions in argv of all keys of a call, in order, by `keys` or by the key specs; 0 if there are none or
 * a count among the arguments is not one. positions_out has room for argc. */
uint32_t spec_key_positions(const struct cmd_spec *spec, const struct bytes *argv, uint32_t argc,
                            uint32_t *positions_out);

struct cmd_table {
    const struct cmd_spec *rows;
    uint32_t count;
};

#endif
