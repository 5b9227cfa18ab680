/* node/block.h: connections that wait for a key (BLPOP, BZPOPMIN …): block.c. */
#ifndef MOON_NODE_BLOCK_H
#define MOON_NODE_BLOCK_H

#include "node/worker.h"

struct blocked;

/* A command of SPREAD_WAIT or SPREAD_WAIT_MOVE: runs it, or makes c wait. */
void block__place(struct worker *w, struct conn *c, struct request *rq);
/* Ends a wait with this reply (empty: none). False: c does not wait, or its answer is on the way. */
bool block__let_go(struct conn *c, struct bytes wire);
void block__close(struct conn *c);      /* the connection closes */
bool block_shown(const struct conn *c); /* "b" in CLIENT LIST */

/* Once per batch, after requests were taken in and before they run: who was seen to wait by whoever sent one of
 * them is then registered. */
void block__take(struct worker *w);
static inline bool block__noted(struct worker *w)
{
    return unlikely(inbox_pending(&w->notes));
}
/* The end of the pass, after the log's frame: answers leave for other workers. */
void block__publish(struct worker *w);
/* An answer that was held for the log may leave; or the log failed. */
void block__answer(struct worker *w, struct blocked *b);
void block__fail(struct blocked *b, struct bytes error);
/* Keys that were kept for those who wait may go on now. */
COLD void block__serve_kept(struct worker *w);
void block__on_apart(struct core *core, struct waiter_part *p);
void block__on_served(struct core *core, struct waiter_part *p, struct buf *reply);

#endif
