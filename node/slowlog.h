/* node/slowlog.h: the slow log: each worker keeps the newest slow commands of its connections, SLOWLOG gathers
 * them. Secrets are not kept. On the worker's thread. */
#ifndef MOON_NODE_SLOWLOG_H
#define MOON_NODE_SLOWLOG_H

#include "node/worker.h"

/* Makes w->slowlog and has the core report slow data commands to it. */
void slowlog_open(struct worker *w);
void slowlog_close(struct worker *w);
/* A command about the connection took this long: kept if that is slow. */
void slowlog_judge(struct worker *w, const struct request *rq, uint64_t duration_ns);

/* Takes what other shards ran for connections of this worker. */
void slowlog__take_notes(struct worker *w);
static inline void slowlog_take_notes(struct worker *w)
{
    if (unlikely(inbox_pending(&w->slow_notes))) slowlog__take_notes(w);
}

#endif
