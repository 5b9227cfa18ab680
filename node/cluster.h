/* node/cluster.h: this node in its cluster: the control log, a slot map on every worker, and what is asked of
 * a request before it runs. In cluster mode the log is Raft's, on a thread of its own (cluster/loop.h). In a
 * node without cluster mode worker 0 keeps it alone and nothing else happens: no worker has a map. */
#ifndef MOON_NODE_CLUSTER_H
#define MOON_NODE_CLUSTER_H

#include "cluster/loop.h"
#include "cluster/route.h"
#include "cluster/show.h"
#include "node/worker.h"

/* ---- worker 0 */
/* Blocking, before anybody is served. False: why was logged. */
bool cluster_open(struct worker *w);
void cluster_close(struct worker *w);
void cluster_cron(struct worker *w);
/* To the ctl thread; and what it made of it back to worker 0, whose `run` it is. False: the node stops. */
MUST_CHECK bool cluster_post(struct loop_post *post);
struct cluster_answer {
    struct inbox_link link;
    void (*run)(struct cluster_answer *answer, struct worker *w);
};
void cluster_answer(struct cluster_answer *answer);
/* After the data was loaded, before it is served: slots that have keys and no owner become this node's, as in
 * Redis. Turns the worker. False: why was logged. */
bool cluster_claim_slots(struct worker *w);

/* ---- main, at the start. False: why was logged. */
bool cluster_settings_fit(void);
/* ---- main, when all shards have their data and nobody changes it: what cluster mode cannot serve. */
bool cluster_data_fits(void); /* false: why was logged */

/* ---- any worker */
/* Rises with each new map. */
extern _Atomic uint64_t cluster_map_version;
void cluster_take_map(struct worker *w);
static inline void cluster_pass_begin(struct worker *w)
{
    if (unlikely(w->map_version !=
                 atomic_load_explicit(&cluster_map_version, memory_order_acquire)))
        cluster_take_map(w);
}
/* In cluster mode (w->map): false: the request may not run here, `reply` says why. */
bool cluster_admits(struct worker *w, const struct request *rq, struct reply *reply);
/* A command of a script: in cluster mode there is database 0 only. NULL: it may run; else the error. */
const char *cluster_refuses(const struct request *rq);
/* The same of requests that run together: *slot is that of all keys so far, SLOTMAP_NONE at first. */
bool cluster_admits_next(struct worker *w, const struct request *rq, uint16_t *slot,
                         struct reply *reply);
/* The same of a command that a script calls: why not, in Redis's words, or NULL. *slot as above; slot NULL: any. */
const char *cluster_refuses_script(struct worker *w, const struct request *rq, uint16_t *slot);
/* Keys of database 0 on all shards. */
uint64_t cluster_keys(void);
void cluster_self(struct ctl_self *out);           /* by the settings */
void cluster_control(struct cluster_control *out); /* of the control log, as last told */
struct route_rules cluster_rules(void);

#endif
