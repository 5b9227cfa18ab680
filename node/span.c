/* Requests whose keys lie on several shards and that do not split by key: the worker of the connection stops the
 * others at the begin of a pass (park.h), runs the request on their data (shard/exec/span.h) and lets them go
 * on. It waits for all earlier replies of its connection.
 *
 * Its reply waits until what it did and saw on all these shards lies inside the cut (hold.h). */
#include "node/hold.h"
#include "node/park.h"
#include "node/txn_priv.h"

/* Its log is behind: an empty request is taken when it has caught up, and its answer lets the connection go on. */
static void wait_for_log(struct worker *w, struct conn *c, uint32_t shard)
{
    if (place__must_wait(w, c)) return; /* for room */
    enum reply_mode mode = c->session.reply_mode;
    struct msg_request r = {.kind = MSG_PROBE};
    place__send(c, shard, &r);
    c->session.reply_mode = mode; /* the place is nobody's reply */
    place__stall(w, c, CONN_WAIT_ORDER);
}

static bool logs_ready(struct worker *w, struct conn *c, uint64_t mask)
{
    for (uint64_t left = mask & ~(UINT64_C(1) << w->index); left != 0; left &= left - 1) {
        uint32_t s = (uint32_t)__builtin_ctzll(left);
        const struct journal *j = node.workers[s]->core.journal;
        if (j == NULL || !journal_behind(j)) continue;
        park_end();
        wait_for_log(w, c, s);
        return false;
    }
    return true;
}

static void begin_on(struct worker *w, struct core *home, uint64_t mask, bool alone)
{
    struct span *s = &w->span;
    s->home = home;
    s->count = w->core.count;
    s->mask = mask;
    s->alone = alone;
    for (uint32_t i = 0; i < s->count; i++)
        s->core[i] = &node.workers[i]->core;
    span_begin(s);
}

void span__begin_on(struct worker *w, struct core *home)
{
    w->span.inside = true;
    begin_on(w, home, 0, false);
}

static enum span_ready refuse(const char *why, const char **why_out)
{
    *why_out = why;
    return SPAN_REFUSED;
}

enum span_ready span__begin(struct worker *w, struct conn *c, uint64_t mask, bool writes,
                            const char **why_out)
{
    if (!park_begin(w)) return refuse(STOPS_ERROR, why_out);
    if (!txn__is_alone(w, c)) {
        park_end();
        if (c->alone_refused == c->commands) return refuse(ERR_WAIT_NOMEM, why_out);
        txn__make_alone(w, c);
        return SPAN_WAITS;
    }
    if (writes && !logs_ready(w, c, mask)) return SPAN_WAITS;
    begin_on(w, &w->core, mask, true);
    return SPAN_READY;
}

/* A reply leaves after the write of what it tells of. A shard that stands writes when its pass ends, which may be long
 * after our reply, and may stand in the middle of its batch: what concerns several shards waits for the cut, but not what
 * was logged on one, here or by its own thread before. */
static void write_log(const struct worker *w, struct core *c)
{
    if (c != &w->core && core_gate(c) == 0) core_pass_end(c);
}

void span__hold(struct worker *w, uint64_t shards, struct hold *hold_out)
{
    hold_out->shards = 0;
    for (uint64_t left = shards; left != 0; left &= left - 1) {
        struct core *c = w->span.core[__builtin_ctzll(left)];
        write_log(w, c);
        hold_add(hold_out, c);
    }
}

void span__end(struct worker *w, uint64_t shards, struct hold *hold_out)
{
    span_serve(&w->span);
    span__hold(w, shards, hold_out);
    span_end(&w->span);
    park_end();
}

bool span__serve_kept(struct worker *w)
{
    struct hold none;
    if (!park_begin(w)) return false;
    begin_on(w, &w->core, 0, false);
    span_serve_kept(&w->span, &w->core);
    span__end(w, 0, &none);
    return true;
}

/* ---- one command */

static void run_one(struct worker *w, const struct request *rq, struct reply *reply)
{
    bool writes = rq->spec->flags & MAY_WRITE;
    if (writes) span_tx_begin(&w->span, node_txid(w));
    span_run(&w->span, rq, reply);
    if (writes) span_tx_end(&w->span);
}

void span__reply(struct worker *w, struct conn *c, struct reply *reply, size_t start)
{
    struct hold hold;
    if (unlikely(reply->errored))
        core_count_error(&w->core, reply->out->data + start, reply->out->len - start);
    span__end(w, w->span.mask, &hold);
    hold_reply(c, &hold, reply, start);
}

static void run(struct worker *w, struct conn *c, struct request *rq)
{
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    rq->key.db = c->session.db;
    rq->no_touch = c->session.no_touch;
    run_one(w, rq, &reply);
    span__reply(w, c, &reply, start);
}

void span__place(struct worker *w, struct conn *c, struct request *rq, uint64_t shards)
{
    if (c->pends_count > 0) {
        place__stall(w, c, CONN_WAIT_ORDER);
        return;
    }
    const char *why;
    switch (span__begin(w, c, shards, rq->spec->flags & MAY_WRITE, &why)) {
    case SPAN_READY:
        run(w, c, rq);
        return;
    case SPAN_REFUSED:
        place__reply_error(c, why);
        return;
    case SPAN_WAITS:
        return;
    }
}
