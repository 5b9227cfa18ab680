/* node/park.h: one worker changes what all read as plain fields (settings) while the others stand still. */
#ifndef MOON_NODE_PARK_H
#define MOON_NODE_PARK_H

#include "node/node.h"

/* Returns when every other worker stands, at the begin of a pass or here. False: the node stops, they may
 * never come. Keep short what comes between. */
MUST_CHECK bool park_begin(struct worker *w);
void park_end(void);

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
