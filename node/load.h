/* node/load.h: from the start of the workers to the first command: the logs are checked, then replayed, while
 * the node already answers LOADING and the commands that look at no key. */
#ifndef MOON_NODE_LOAD_H
#define MOON_NODE_LOAD_H

#include <signal.h>

#include "node/worker.h"

/* Signals of main's waits: the two that stop, and the one by which workers ring. */
#define LOAD_BELL SIGUSR1

/* Main thread, the workers run: until they serve. False: a stop was asked for (node.stopping is set), or
 * *failed_out and why was logged. */
MUST_CHECK bool load_node(struct io *io, const sigset_t *signals, bool *failed_out);
/* A worker's part of it, on its thread. Returns when it serves, or the node stops. */
void load__run(struct worker *w);
/* Bytes of log that were looked at, and in all, for INFO: a checked byte is half of one. */
void load_progress(uint64_t *done_out, uint64_t *total_out);

#endif
