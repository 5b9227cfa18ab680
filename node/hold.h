/* node/hold.h: replies that depend on what several shards logged: a transaction whose coordinator answers for all
 * of its parts, with a part of its own or without; a command that looked at other shards' keys in place. (An
 * answer that another shard sends by answer.c has waited there already.)
 *
 *   struct hold h = {.shards = 0};
 *   … on the thread that works on it, after the part of each shard, after core_tx_end(): hold_add(&h, core) …
 *   uint32_t place = conn__pend(c, 1, NULL);          // before anything later of c is answered
 *   hold_answer(c, place, &h, wire);                  // now or later; wire is copied if it has to wait
 *
 * A reply that waits becomes OUTCOME_UNKNOWN if one of the logs cannot be written. */
#ifndef MOON_NODE_HOLD_H
#define MOON_NODE_HOLD_H

#include "node/worker.h"

struct hold {
    uint64_t shards; /* bits: those of which lsn is set */
    uint64_t lsn[SHARDS_MAX];
};
/* What is seen of c's shard now must lie inside the cut. Costs a branch where nothing has to. */
static inline void hold_add(struct hold *h, const struct core *c)
{
    if (likely(!c->waits)) return;
    uint64_t lsn = core_gate(c);
    if (lsn <= core_released(c)) return;
    h->shards |= UINT64_C(1) << c->index;
    h->lsn[c->index] = lsn;
}
/* Answers the place of c (on its worker's thread) once all of it lies inside the cut. */
void hold_answer(struct conn *c, uint32_t place, const struct hold *h, struct bytes wire);
/* The same for a reply that was begun: as conn__reply_end() if nothing of it has to wait. */
void hold_reply(struct conn *c, const struct hold *h, struct reply *reply, size_t start);

/* worker.c and stop.c: answers what may leave. */
void hold__look(struct worker *w);
bool hold__pending(const struct worker *w); /* would it? */
void hold__fail_all(struct worker *w);

#endif
