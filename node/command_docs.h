/* node/command_docs.h: COMMAND DOCS: the words of the registry's rows, and the tree of arguments that
 * their syntax stands for. */
#ifndef MOON_NODE_COMMAND_DOCS_H
#define MOON_NODE_COMMAND_DOCS_H

#include "shard/exec/spec.h"

/* Replies the whole of COMMAND DOCS [name …]. On the connection's worker. */
void command_docs(struct call *c);

#endif
