/* node/worker_priv.h: how main.c starts workers, and the listeners of worker 0. */
#ifndef MOON_NODE_WORKER_PRIV_H
#define MOON_NODE_WORKER_PRIV_H

#include <stdio.h>

#include "node/worker.h"

struct worker_start {
    struct worker *worker;
    pthread_barrier_t *made, *checked;
    const bool *go; /* set by main between the two: false ends the thread */
    bool ok;
};
struct worker *worker_new(uint32_t index);
void worker_link(struct worker *a, struct worker *b); /* rings from a to b and for b's answers */
void *worker_main(void *worker_start);
void worker__stop(struct worker *w);     /* stop.c */
bool worker__open_log(struct worker *w); /* false: logged why */
/* The end of its log moved: replies that need not wait any more leave. */
void worker__log_moved(struct worker *w);
/* config.appendfsync is another one now, and this worker has a log. */
void worker__policy_changed(struct worker *w);
/* What waits for the log will not become durable, or nobody waits until it does. Nobody is told it is:
 * replies and answers to peers become errors that say so. */
void worker__fail_held(struct worker *w);
/* The log failed for good: that, and from here on reads answer from memory, which INFO calls newer than the
 * disk. */
void worker__give_up_gates(struct worker *w);

/* Listeners, on worker 0: accepts and deals connections out round robin. False: logged why. */
bool listen__open(struct worker *w);
void listen__close(struct worker *w); /* also if they were only bound */
/* After another port or other addresses were set (CONFIG SET). False: logged why; some may be open. */
bool listen__again(struct worker *w);
/* Sockets are bound before the shards start, so that a taken port is told at once. */
bool listen__bind(void);

#endif
