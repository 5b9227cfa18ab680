/* shard/script/script.h: EVAL and its family. One Lua state per shard, made at its first script; the scripts that were
 * sent are known to the whole node. The one room that knows Lua. */
#ifndef MOON_SCRIPT_SCRIPT_H
#define MOON_SCRIPT_SCRIPT_H

#include "shard/exec/spec.h"

struct core;
struct request;
struct span;

/* How scripts find the commands they name; set once, before any shard runs. */
struct script_host {
    const struct cmd_spec *(*find)(struct bytes name); /* NULL: there is none */
    const struct cmd_spec *(*find_sub)(const struct cmd_spec *container, struct bytes name);
    /* NULL: it may run in this node; else the error. */
    const char *(*refuse)(const struct request *rq);
    /* A command about all keys of all shards, or of one that is to be found. */
    void (*run_spread)(struct span *s, const struct request *rq, struct reply *reply);
    const char *version; /* redis.REDIS_VERSION */
};
void script_set_host(const struct script_host *host);
/* Frees what this shard holds: its Lua state and its functions. On its thread, before core_fini(). */
void script_close(struct core *c);
/* Forgets the node's scripts, as SCRIPT FLUSH. Any thread. */
void script_flush(void);

extern const struct cmd_table script_cmds;

#endif
