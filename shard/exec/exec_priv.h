/* shard/exec/exec_priv.h: what the files of exec/ share. */
#ifndef MOON_EXEC_EXEC_PRIV_H
#define MOON_EXEC_EXEC_PRIV_H

#include "shard/base/rc.h"
#include "shard/exec/exec.h"

/* Added to every reservation: unit heads, decimal forms of times, the DEL of an expired key found on
 * the way (its name is among the request's bytes, so twice the request is asked for). */
#define EXEC_RESERVE_SLACK 256

/* The open key is past its time: logs DEL, deletes, tells "expired". */
void exec__expire_open(struct exec *x, struct change *c);
void exec__reply_refused(struct reply *reply, enum rc rc);
/* The command's name in lower case. */
void exec__name(const struct exec *x, char out[static 64]);
/* What the reply of a command that just ran waits for, if core.waits. */
void core__gate(struct core *c, const struct cmd_spec *spec);
/* Takes a record over for freeing in slices. */
void core__garbage_record(struct core *c, struct record *r);
void core__upkeep_init(struct core *c);
void core__upkeep_fini(struct core *c);
/* An internal request (expiry): no spec, replies dropped. */
void core__exec_init(struct core *c, struct exec *x, struct reply *reply);

#endif
