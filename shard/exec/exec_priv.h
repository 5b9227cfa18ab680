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
/* While commands span shards (span.c): the core of a slot; x works on it from now on; room in all logs. */
COLD struct core *exec__core_of(const struct exec *x, uint16_t slot);
COLD void exec__stand(struct exec *x, uint16_t slot);
COLD bool exec__reserve_span(struct exec *x, size_t bytes);
/* The run of a command that may wait is over: what it replied answers whoever waits, or is void. */
void exec__close_run(struct exec *x, struct block_run *run);
/* Keys kept for those who wait are looked at again. */
void core__serve_again(struct core *c);
void core__serve_fini(struct core *c);
/* Takes a record over for freeing in slices. */
void core__garbage_record(struct core *c, struct record *r);
void core__upkeep_init(struct core *c);
void core__upkeep_fini(struct core *c);
/* An internal request (expiry): no spec, replies dropped. */
void core__exec_init(struct core *c, struct exec *x, struct reply *reply);

#endif
