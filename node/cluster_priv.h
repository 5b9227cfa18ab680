/* node/cluster_priv.h: between cluster.c (maps, requests) and cluster_log.c (the control log). */
#ifndef MOON_NODE_CLUSTER_PRIV_H
#define MOON_NODE_CLUSTER_PRIV_H

#include "node/cluster.h"

void cluster__on_map(void *ctx, struct slotmap *map, uint16_t me);
void cluster__set_control(const struct cluster_control *control);
void cluster__find_specs(void);
void cluster__tell_worker0(void); /* any thread: it looks at its answers */
void cluster__take_answers(struct worker *w);

#endif
