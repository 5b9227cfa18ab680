/* node/cluster_bus.h: the settings of the cluster bus. */
#ifndef MOON_NODE_CLUSTER_BUS_H
#define MOON_NODE_CLUSTER_BUS_H

#include "cluster/bus.h"

/* Where it listens, and how it speaks, by the settings as they are now; pointers live until
 * cluster_bus_free(). Blocking: reads certificates. False: why_out says what has to be changed. */
MUST_CHECK bool cluster_bus_settings(struct bus_opts *out, char *why_out, size_t why_bytes);
void cluster_bus_free(void); /* when the bus is closed */
/* A setting of TLS has changed: cluster_bus_cron() reads the files anew. */
void cluster_bus_reload(void);
/* Worker 0, about once a second. */
void cluster_bus_cron(void);
uint16_t cluster_bus_port(void);

#endif
