/* node/text.h: small texts that several commands of this room share. */
#ifndef MOON_NODE_TEXT_H
#define MOON_NODE_TEXT_H

#include "shard/resp/reply.h"

/* The Redis whose behaviour clients may count on: HELLO and INFO redis_version. */
#define REDIS_VERSION_SPOKEN "7.4.0"

/* HELP: an array of status lines. */
void reply_text_lines(struct reply *r, const char *const *lines, size_t count);

#endif
