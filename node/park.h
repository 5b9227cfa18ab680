/* node/park.h: one worker changes what all read as plain fields (settings) while the others stand still. */
#ifndef MOON_NODE_PARK_H
#define MOON_NODE_PARK_H

#include "node/node.h"

/* Returns when every other worker stands, at the begin of a pass or here. False: the node stops, they may
 * never come. Keep short what comes between. */
MUST_CHECK bool park_begin(struct worker *w);
void park_end(void);
/* In the middle of a command, which a core of this thread's is in: nobody may work on it, so this thread does not stand for
 * others; they give way. One thread of the node at a time (node/script.c). Tokens of sleeping shards that it holds stay, or
 * go back at the end. */
void park_begin_inside(struct worker *w);
void park_pause_inside(struct worker *w, uint32_t turn); /* the others go on; begin again */
/* Between two commands, while this thread waits for something that others do: it stands if it is to, and runs its parts of
 * transactions, which others may wait for. */
void park_idle(struct worker *w, uint32_t *spins);

/* Every worker, at the begin of each pass. */
void park__stand(void);
static inline bool park_wanted(void)
{
    return atomic_load_explicit(&node.park.turn, memory_order_seq_cst) & 1;
}
static inline void park_here(void)
{
    if (unlikely(park_wanted())) park__stand();
}

#endif
