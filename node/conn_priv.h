/* node/conn_priv.h: what conn.c, place.c, worker.c and listen.c share about connections on a worker. */
#ifndef MOON_NODE_CONN_PRIV_H
#define MOON_NODE_CONN_PRIV_H

#include "node/worker.h"

/* ---- conn.c */
struct conn *conn__open(struct worker *w, int fd, bool is_unix);
void conn__ready(struct conn *c); /* has input that may be parsed */
void conn__dirty(struct conn *c); /* has output to be sent at the end of the pass */
/* Puts requests of c into the batch; false: the batch is full (c has more). */
bool conn__fill(struct worker *w, struct conn *c);
/* End of pass: what was not consumed moves to c->in; views of this turn end. */
void conn__settle(struct conn *c);
/* After conn__settle(): stops reading from a peer that sends faster than its requests run, so that what
 * waits in memory stays bounded, or reads again. */
void conn__throttle(struct conn *c);
/* After the end of its input: closes once nothing of it is left to be run. */
void conn__close_if_drained(struct conn *c);
void conn__flush(struct conn *c); /* starts a send of what may leave */
/* Where the next reply of c goes, in order; the reply writer is then finished with conn__reply_end. */
static inline struct reply conn__reply_begin(struct conn *c, size_t *start_out)
{
    struct buf *to = likely(c->pends_count == 0) ? &c->out : &c->held;
    *start_out = to->len;
    return (struct reply){.out = to, .proto = c->session.proto};
}
void conn__reply_end(struct conn *c, const struct reply *r, size_t start);
/* A place in the order for an answer to come; returns its number. */
uint32_t conn__pend(struct conn *c, uint32_t parts, struct merge *merge);
struct pend *conn__pend_at(struct conn *c, uint32_t number); /* NULL: gone */
/* The answer of a place: moves everything that is in order now to out. */
void conn__answer(struct conn *c, uint32_t number, struct bytes wire);
/* The answer of a place that is the next to leave may be written to out where it is, from `start` on. */
bool conn__is_next(struct conn *c, uint32_t number);
void conn__answered(struct conn *c, size_t start);
/* The log's durable position moved. */
void conn__durable(struct worker *w, uint64_t lsn);
/* What waits for the log will not become durable: each such reply becomes OUTCOME_UNKNOWN. */
#define OUTCOME_UNKNOWN                                                                            \
    "-IOERR the log failed while this was being written: its outcome is unknown\r\n"
void conn__fail_gated(struct worker *w);
void conn__cron(struct conn *c, int64_t now_ms); /* timeouts, buffers of idle connections */
/* Reads again after WAIT_ROOM or WAIT_ORDER. */
void conn__unblock(struct conn *c, uint32_t flag);

/* ---- stop.c */
/* All that is owed to c is with the kernel, and the node stops: FIN when it is time, and the end. */
void stop__farewell(struct conn *c);

/* ---- place.c */
void place__run(struct worker *w);           /* the batch, in order */
void place__take_requests(struct worker *w); /* from peers into the batch */
void place__take_answers(struct worker *w);
void place__publish(
    struct worker *w); /* end of pass: messages become visible, sleepers are woken */
void place__publish_for(struct worker *owner); /* the same, of a worker whose token we hold */
void place__retry_room(struct worker *w);      /* who found no room, where there is some now */
bool place__pending(struct worker *w); /* a message waits, or room that somebody waits for */
void place__leave_room(struct worker *w, struct conn *c); /* CONN_WAIT_ROOM, and it closes */
/* Sends requests that were given back again, if c takes answers now. */
void place__resend(struct conn *c);
void place__drop_returned(struct returned *list);
void place__durable(struct worker *w, uint64_t lsn);
/* The log failed: answers that wait for it leave as errors. */
void place__fail_held(struct worker *w);
/* Hands a socket to another worker; false: its ring is full, keep it. */
bool place__hand_over(struct worker *w, struct worker *to, int fd, bool is_unix);
void place__merge_drop(struct merge *m); /* the connection is gone */

/* ---- collect.c */
void collect__drop_all(struct conn *c); /* the connection ends */

/* ---- multi.c */
void multi__reset(struct conn *c); /* DISCARD, and UNWATCH */
void multi__close(struct conn *c); /* the connection ends */
void multi__join_drop(struct join *j);

#endif
