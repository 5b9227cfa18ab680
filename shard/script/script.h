/* shard/script/script.h: EVAL and its family. One Lua state per shard, made at its first script; the scripts that were
 * sent are known to the whole node. The one room that knows Lua. */
#ifndef MOON_SCRIPT_SCRIPT_H
#define MOON_SCRIPT_SCRIPT_H

#include "shard/exec/spec.h"

struct core;
struct request;
struct span;

#define SCRIPT_NO_SLOT UINT16_MAX
/* How scripts find the commands they name; set once, before any shard runs. */
struct script_host {
    const struct cmd_spec *(*find)(struct bytes name); /* NULL: there is none */
    const struct cmd_spec *(*find_sub)(const struct cmd_spec *container, struct bytes name);
    /* NULL: it may run in this node; else the error. */
    const char *(*refuse)(const struct request *rq);
    /* A command about all keys of all shards, or of one that is to be found. */
    void (*run_spread)(struct span *s, const struct request *rq, struct reply *reply);
    /* The script that runs on c wants a key of a shard that it may not touch. When it returns all others stand, until the
     * script has ended and its caller lets them go on; c->run.span is all of them. */
    void (*widen)(struct core *c);
    /* In cluster mode: why the command must not run here; NULL: it may. *slot: of the keys so far, SCRIPT_NO_SLOT at first;
     * those of the command must be of it, too. NULL: they need not. */
    const char *(*refuse_keys)(const struct request *rq, uint16_t *slot);
    const char *version; /* redis.REDIS_VERSION */
};
void script_set_host(const struct script_host *host);
/* Frees what this shard holds: its Lua state and its functions. On its thread, before core_fini(). */
void script_close(struct core *c);
/* Forgets the node's scripts, as SCRIPT FLUSH. Any thread. */
void script_flush(void);

extern const struct cmd_table script_cmds;

#endif
