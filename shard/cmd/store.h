/* shard/cmd/store.h: how the …STORE commands end. What they read they have read by now: the destination may
 * be one of the sources. */
#ifndef MOON_CMD_STORE_H
#define MOON_CMD_STORE_H

#include "shard/exec/exec.h"

/* The collection `fresh` (taken; its key is `key`, made after exec_build_for(key)) replaces whatever is under key; without members the key
 * goes. Replies how many there are; NULL: out of memory. */
void store_result(struct exec *x, struct bytes key, struct record *fresh, enum notify_class cls,
                  const char *event);
void store_nothing(struct exec *x, struct bytes key);

#endif
