/* node/txn.h: what several shards do as one: transactions (shard/exec/tx.h) carried between workers. */
#ifndef MOON_NODE_TXN_H
#define MOON_NODE_TXN_H

#include "node/worker.h"

/* Runs `run` on w's thread, soon but not in this call, while no transaction and no data command is under way on any
 * shard and none begins: those that come wait. What `run` needs beyond that (other threads that stand: park.h)
 * is its own affair. It must not block for long, and is always called, once. On w's thread. */
typedef void sched_barrier_run(struct worker *w, void *arg);
void sched_barrier(struct worker *w, sched_barrier_run *run, void *arg);

#endif
