/* Transactions over several shards, carried between workers. The steps are shard/exec/tx's; here is how they
 * travel, and what stands behind them.
 *
 *   SCHED   a message in the ring of requests, so in order with the commands that its connection sent before;
 *           it takes credit, and its answer gives it back
 *   RUN, CANCEL, RELEASE   posts: the part itself is the list's link, pushed on a stack of the worker that
 *           it is for. They need no room, so none can be short of it
 *   answer  a message in the ring of answers, whose room the credit of SCHED is
 *
 * The record is one block: arguments are copied into it once and read where they lie by all parts, replies lie
 * in its merge. The coordinator made it, and frees it when all parts have answered: whether the connection
 * is still there does not matter to it.
 *
 * Nobody is refused for what others want (sched.h). What comes back all the same, with a new ticket, did so because its
 * connection takes no answers now, or has sent something else there before. */
#include "node/txn_priv.h"

#include "shard/base/log.h"

#define OPEN_MAX                                                                                   \
    256u /* of one connection; it begins with OPEN_FIRST and shrinks by large replies */
#define OPEN_FIRST 32u
#define GATHER_GUESS_BYTES 80u      /* of one value in a reply: growing step by step costs more */
#define OPEN_REPLY_BYTES (2u << 20) /* of one connection on their way, judged by the last one */
#define OPEN_BYTES_MAX (8u << 20)   /* of requests of one worker; and one more of any size */

struct open_key { /* in w->txn.keys, by hash */
    struct open_key *next;
    uint64_t hash, conn_id;
};
struct part {
    struct tx_part part; /* first */
    const struct bytes *argv;
    struct exec_known known;
    uint32_t argc;
    uint64_t gate_lsn; /* what its reply waits for, on its shard */
};
struct txn {
    struct tx tx;                /* first */
    const struct cmd_spec *spec; /* NULL: a barrier */
    struct txn *retry_next;
    uint64_t conn_id, txid, mask;
    size_t bytes; /* of this block */
    struct merge *merge;
    struct open_key *keys;
    struct part *part;
    uint32_t conn_index, pend, keys_count, wire_bytes, round;
    uint8_t db, proto;
    bool no_touch, global;
};

static struct worker *worker_of(void *ctx)
{
    return ctx;
}

static struct part *part_of(struct tx_part *p)
{
    return (struct part *)(void *)p;
}

static struct txn *txn_of(const struct tx_part *p)
{
    return (struct txn *)(void *)p->tx;
}

static struct conn *conn_of(const struct worker *w, const struct txn *t)
{
    struct conn *c = t->conn_index < w->conns_cap ? w->conns[t->conn_index] : NULL;
    return c != NULL && c->id == t->conn_id ? c : NULL;
}

/* ---- what a shard does */

static int64_t now_ms(void *ctx)
{
    return worker_of(ctx)->core.run.now_ms;
}

static size_t log_bytes(const struct txn *t, const struct part *p)
{
    struct request rq = {.argc = p->argc, .wire_bytes = t->wire_bytes};
    return core_log_bytes(&rq);
}

static enum rc admit(void *ctx, struct tx_part *p)
{
    const struct txn *t = txn_of(p);
    if (t->spec == NULL) return RC_OK;
    return core_may_run(&worker_of(ctx)->core, t->spec->flags, log_bytes(t, part_of(p)));
}

static int64_t time_of(const struct txn *t)
{
    return atomic_load_explicit(&t->tx.now_ms, memory_order_relaxed);
}

static bool check(void *ctx, struct tx_part *tp)
{
    struct worker *w = worker_of(ctx);
    const struct txn *t = txn_of(tp);
    struct part *p = part_of(tp);
    uint32_t first = (uint32_t)t->spec->keys.first;
    bool any = core_has_any(&w->core, time_of(t), t->db, p->argv + first, p->argc - first,
                            (uint32_t)t->spec->keys.step);
    p->gate_lsn = w->core.gate_lsn;
    return !any;
}

static void run_request(struct worker *w, struct txn *t, struct part *p)
{
    struct request rq = {.spec = t->spec,
                         .argv = p->argv,
                         .argc = p->argc,
                         .wire_bytes = t->wire_bytes,
                         .key = {.db = t->db},
                         .no_touch = t->no_touch};
    if (p->part.count > 0) {
        rq.key = (struct db_key){.name = p->argv[t->spec->keys.first],
                                 .hash = p->known.hashes[0],
                                 .slot = p->known.slots[0],
                                 .db = t->db};
        w->core.run.known = &p->known;
    }
    struct buf *out = &t->merge->part[p->part.shard];
    struct reply reply = {.out = out, .proto = t->proto};
    if (t->spec->spread == SPREAD_GATHER) (void)buf_room(out, p->argc * (size_t)GATHER_GUESS_BYTES);
    bool writes = t->spec->flags & CMD_WRITE;
    worker_runs_for(w, t->tx.coordinator, t->conn_index, t->conn_id);
    if (writes) core_tx_begin(&w->core, t->txid, t->mask);
    core_run_admitted(&w->core, &rq, time_of(t), &reply, p != t->part);
    worker_runs_for_nobody(w);
    w->core.run.known = NULL;
    if (writes) core_tx_end(&w->core);
    if (w->core.gate_lsn > p->gate_lsn) p->gate_lsn = w->core.gate_lsn;
    if (core_must_serve(&w->core)) core_serve(&w->core);
}

/* The connection goes on, and finds itself alone. */
static void hold_for_conn(struct worker *w, struct txn *t)
{
    struct conn *c = conn_of(w, t);
    if (c == NULL) return;
    assert(w->txn.alone == NULL);
    t->tx.held = true;
    w->txn.alone = t;
    w->txn.alone_passes = 0;
    conn__answer(c, t->pend, bytes_view(NULL, 0));
}

static void run(void *ctx, struct tx_part *p)
{
    struct txn *t = txn_of(p);
    if (t->spec == NULL)
        hold_for_conn(worker_of(ctx), t);
    else
        run_request(worker_of(ctx), t, part_of(p));
}

static void post(void *ctx, struct tx_part *p)
{
    struct worker *w = worker_of(ctx);
    inbox_add(&node.workers[p->shard]->txn.posts, &p->post_link);
    w->txn.posted |= UINT64_C(1) << p->shard;
}

static void came_back(struct worker *w, struct txn *t);

static void answer(void *ctx, struct tx_part *p)
{
    struct worker *w = worker_of(ctx);
    struct txn *t = txn_of(p);
    if (t->tx.coordinator == w->index)
        came_back(w, t);
    else
        answer__part(w, t->tx.coordinator, t, part_of(p)->gate_lsn);
}

static void lone(void *ctx, struct sched_entry *e)
{
    wait__granted(worker_of(ctx), e);
}

static void serve(void *ctx, struct sched_entry *e)
{
    struct core *home = core_kept(e);
    if (home != &worker_of(ctx)->core) reactor_wake(&home->reactor);
}

static const struct tx_ops ops = {.now_ms = now_ms,
                                  .admit = admit,
                                  .check = check,
                                  .run = run,
                                  .post = post,
                                  .answer = answer,
                                  .lone = lone,
                                  .serve = serve};

void txn__init(struct worker *w)
{
    sched_init(&w->core.sched);
    w->core.sched.stamps = w->core.stamps;
    tx_shard_init(&w->txn.shard, w->index, &w->core.sched, &ops, w);
    w->core.parts = &w->txn.shard;
    w->txn.retry_tail = &w->txn.retry;
    buf_init(&w->txn.joined, MEM_REPLY);
}

/* Another thread wrote all of it a moment ago. */
void txn__prefetch(const struct tx_part *p)
{
    const struct part *part = (const struct part *)(const void *)p;
    __builtin_prefetch(p->tx, 1);
    __builtin_prefetch((const uint8_t *)p->tx + 64, 1);
    __builtin_prefetch(p->fingerprints);
    __builtin_prefetch(part->argv);
    __builtin_prefetch(part->argv + 4);
}

void txn__arrive(struct worker *w, const struct queued *q)
{
    const struct txn *t = txn_of(q->part_here);
    if (unlikely(w->peers[q->from].over > 0) &&
        answer__gives_back(w, q->from, t->conn_index, t->conn_id, t->round))
        tx_turn_away(&w->txn.shard, q->part_here);
    else
        tx_arrive(&w->txn.shard, q->part_here);
}

void txn__outcome_unknown(struct txn *t, uint32_t shard)
{
    if (t->merge == NULL) return;
    struct buf *out = &t->merge->part[shard];
    out->len = 0;
    buf_add(out, OUTCOME_UNKNOWN, sizeof OUTCOME_UNKNOWN - 1);
}

void txn__take_posts(struct worker *w)
{
    core_let_go(&w->core);
    if (tx_is_owed(&w->txn.shard)) tx_settle(&w->txn.shard);
    struct inbox_link *link = inbox_take(&w->txn.posts);
    while (link != NULL) {
        struct tx_part *p = container_of(link, struct tx_part, post_link);
        link = link->next; /* p may be gone afterwards */
        tx_posted(&w->txn.shard, p);
    }
}

void txn__publish(struct worker *w)
{
    for (uint64_t left = w->txn.posted; left != 0; left &= left - 1)
        reactor_wake(&node.workers[__builtin_ctzll(left)]->core.reactor);
    w->txn.posted = 0;
}

/* ---- keys of a connection's own transactions */

/* By key and connection: by key alone, 1,000 connections that want the same one were a chain to be walked to its end. */
static struct open_key **chain_of(const struct worker *w, uint64_t hash, uint64_t conn_id)
{
    uint64_t at = (hash >> 8) + conn_id;
    return (struct open_key **)(uintptr_t)&w->txn.keys[at & (TXN_KEY_CHAINS - 1)];
}

bool txn__has_key(const struct worker *w, const struct conn *c, uint64_t hash)
{
    for (const struct open_key *k = *chain_of(w, hash, c->id); k != NULL; k = k->next)
        if (k->hash == hash && k->conn_id == c->id) return true;
    return c->txns_global > 0 || (c->collects_count > 0 && collect__has_key(c, hash));
}

bool txn__holds_back(struct worker *w, struct conn *c, const struct request *rq)
{
    if (c->txns_global > 0) return true;
    struct wait keys = {.count = 0};
    wait__add_keys(w, &keys, rq);
    for (uint32_t i = 0; i < keys.count; i++)
        if (txn__has_key(w, c, keys.hashes[i])) return true;
    return false;
}

uint32_t txn__room(const struct conn *c)
{
    uint32_t window = c->txn_window == 0 ? OPEN_FIRST : c->txn_window;
    return c->txns < window ? window - c->txns : 0;
}

bool txn__is_full(const struct worker *w, const struct conn *c)
{
    if (c->pends_count == 0) return false; /* one of any size */
    return txn__room(c) == 0 || w->txn.bytes > OPEN_BYTES_MAX;
}

static void open_keys(struct worker *w, struct txn *t)
{
    for (uint32_t i = 0; i < t->keys_count; i++) {
        struct open_key **chain = chain_of(w, t->keys[i].hash, t->conn_id);
        t->keys[i].conn_id = t->conn_id;
        t->keys[i].next = *chain;
        *chain = &t->keys[i];
    }
}

/* The last one in is the first in its chain: the other way round 200,000 keys took 80 million steps. */
static void close_keys(struct worker *w, struct txn *t)
{
    for (uint32_t i = t->keys_count; i-- > 0;) {
        struct open_key **link = chain_of(w, t->keys[i].hash, t->conn_id);
        while (*link != &t->keys[i])
            link = &(*link)->next;
        *link = t->keys[i].next;
    }
}

/* ---- the end of one */

static void free_txn(struct worker *w, struct txn *t)
{
    close_keys(w, t);
    w->txn.open--;
    w->txn.bytes -= t->bytes;
    if (t->merge != NULL) place__merge_drop(t->merge);
    mem_free(MEM_REPLY, t, t->bytes);
}

/* Replies of any size may come; how many at a time is judged by the last one. */
void txn__adapt_window(struct conn *c, size_t reply_bytes)
{
    uint32_t window = c->txn_window == 0 ? OPEN_FIRST : c->txn_window;
    size_t fit = OPEN_REPLY_BYTES / (reply_bytes + 1);
    window = window >= OPEN_MAX / 2 ? OPEN_MAX : window * 2;
    if (window > fit) window = fit == 0 ? 1 : (uint32_t)fit;
    c->txn_window = window;
}

/* MSETNX that found a key: a call of which no part ran. */
static void count_forbidden(struct worker *w, const struct txn *t)
{
    if (!atomic_load_explicit(&t->tx.forbidden, memory_order_relaxed)) return;
    core_count_call_only(&w->core, t->spec);
}

/* The connection's request comes again and is told so (span__begin). */
static void refuse_alone(struct worker *w, const struct txn *t)
{
    struct conn *c = conn_of(w, t);
    if (c == NULL) return;
    c->alone_refused = c->commands + 1;
    conn__answer(c, t->pend, bytes_view(NULL, 0));
}

static void finish(struct worker *w, struct txn *t, bool ran)
{
    if (t->spec == NULL && !ran) refuse_alone(w, t);
    struct conn *c = t->spec != NULL ? conn_of(w, t) : NULL;
    if (ran && t->spec != NULL) count_forbidden(w, t);
    if (c != NULL) {
        struct buf *joined = &w->txn.joined;
        struct reply reply = {.out = joined, .proto = t->proto};
        if (ran)
            merge__reply(t->merge, &reply);
        else
            core_refuse(&w->core, t->spec,
                        (enum rc)atomic_load_explicit(&t->tx.error, memory_order_relaxed), &reply);
        if (joined->len > 0 && unlikely(joined->data[0] == '-'))
            core_count_error(&w->core, joined->data, joined->len); /* once, for all parts */
        for (uint32_t i = 0; i < t->tx.count; i++) {
            const struct part *p = &t->part[i];
            if (p->part.shard == w->index && p->gate_lsn > c->gate_lsn) c->gate_lsn = p->gate_lsn;
        }
        c->txns--;
        c->txns_global -= t->global;
        txn__adapt_window(c, joined->len);
        conn__answer(c, t->pend, buf_bytes(joined));
        joined->len = 0;
        buf_shrink(joined, JOINED_KEEP_BYTES);
    }
    bool redone = c != NULL && unlikely(c->redoing) && c->redo_pend == t->pend;
    int64_t at_ms = time_of(t);
    free_txn(w, t);
    if (redone) collect__go_on(w, c, at_ms);
}

/* ---- rounds */

static void try_later(struct worker *w, struct txn *t)
{
    t->retry_next = NULL;
    *w->txn.retry_tail = t;
    w->txn.retry_tail = &t->retry_next;
}

static void refused(struct worker *w, struct txn *t)
{
    stat_bump(&w->refused, 1);
    try_later(w, t);
}

static void came_back(struct worker *w, struct txn *t)
{
    switch (tx_answered(&t->tx)) {
    case TX_OPEN:
        return;
    case TX_RAN:
        finish(w, t, true);
        return;
    case TX_FAILED:
        finish(w, t, false);
        return;
    case TX_AGAIN:
        refused(w, t);
        return;
    }
}

void txn__answered(struct worker *w, struct txn *t)
{
    came_back(w, t);
}

static bool has_room(const struct worker *w, const struct txn *t)
{
    for (uint32_t i = 0; i < t->tx.count; i++) {
        uint32_t s = t->tx.parts[i]->shard;
        if (s != w->index && !place__has_room(w, s)) return false;
    }
    return true;
}

/* Its connection's requests from before must be on their way first. */
static bool must_wait_for_conn(const struct conn *c)
{
    return c != NULL && c->returned_count > 0;
}

static bool may_begin(const struct worker *w, const struct txn *t)
{
    const struct conn *c = conn_of(w, t);
    if (t->spec != NULL && c == NULL) return true; /* to its end */
    if (must_wait_for_conn(c)) return false;
    return has_room(w, t);
}

static void send_sched(struct worker *w, struct tx_part *part)
{
    uint32_t to = part->shard;
    struct peer *p = &w->peers[to];
    struct msg_request *m = mailbox_reserve(p->requests_out, sizeof *m);
    assert(m != NULL); /* may_begin() looked */
    *m = (struct msg_request){.kind = MSG_TXN, .tx_part = part};
    mailbox_push(p->requests_out, sizeof *m);
    p->outstanding++;
    w->outstanding++;
}

static void begin(struct worker *w, struct txn *t)
{
    const struct conn *c = conn_of(w, t);
    uint32_t count = t->tx.count;
    bool all_here = count == 1 && t->tx.parts[0]->shard == w->index;
    uint64_t ticket = atomic_fetch_add_explicit(&node.tickets, 1, memory_order_relaxed) + 1;
    if (c != NULL) t->round = c->round;
    if (!tx_begin(&w->txn.shard, &t->tx, ticket)) {
        if (atomic_load_explicit(&t->tx.error, memory_order_relaxed) == RC_OK)
            refused(w, t);
        else
            finish(w, t, false);
        return;
    }
    if (all_here) return; /* it may be over and gone */
    for (uint32_t i = 0; i < count; i++)
        if (t->tx.parts[i]->shard != w->index) send_sched(w, t->tx.parts[i]);
}

void txn__retry(struct worker *w)
{
    struct txn *list = w->txn.retry;
    if (likely(list == NULL)) return;
    w->txn.retry = NULL;
    w->txn.retry_tail = &w->txn.retry;
    while (list != NULL) {
        struct txn *t = list;
        list = t->retry_next;
        if (!may_begin(w, t))
            try_later(w, t);
        else if (t->spec != NULL && conn_of(w, t) == NULL)
            free_txn(w, t); /* nobody asks any more, and nothing of it ran */
        else
            begin(w, t);
    }
}

bool txn__pending(const struct worker *w)
{
    if (inbox_pending(&w->txn.posts) || inbox_pending(&w->core.serving.let_go)) return true;
    if (tx_is_owed(&w->txn.shard)) return true;
    if (w->txn.alone != NULL) return true;
    for (const struct txn *t = w->txn.retry; t != NULL; t = t->retry_next)
        if (may_begin(w, t)) return true;
    return false;
}

/* ---- making one */

static size_t aligned(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

struct layout {
    uint32_t parts, views, keys;
    size_t data; /* of the arguments, each once */
};

static struct layout measure(const struct worker *w, const struct txn_plan *plan)
{
    struct layout l = {.parts = 0};
    for (uint32_t i = 0; i < plan->rq->argc; i++)
        l.data += plan->rq->argv[i].len;
    for (uint32_t s = 0; s < w->core.count; s++) {
        if (plan->argc[s] == 0) continue;
        l.parts++;
        l.keys += plan->keys[s];
        l.views += plan->argc[s];
    }
    return l;
}

static struct txn *txn_new(struct worker *w, const struct layout *l)
{
    size_t head = aligned(sizeof(struct txn)), parts = aligned(l->parts * sizeof(struct part)),
           list = l->parts * sizeof(struct tx_part *), keys = l->keys * sizeof(struct open_key),
           hashes = l->keys * sizeof(uint64_t), slots = l->keys * sizeof(uint16_t),
           views = l->views * sizeof(struct bytes);
    size_t bytes = head + parts + list + keys + hashes + views + slots + l->data;
    uint8_t *block = mem_alloc(MEM_REPLY, bytes);
    struct txn *t = (struct txn *)(void *)block;
    memset(block, 0, head + parts);
    t->bytes = bytes;
    t->part = (struct part *)(void *)(block + head);
    t->tx.parts = (struct tx_part **)(void *)(block + head + parts);
    t->keys = (struct open_key *)(void *)(block + head + parts + list);
    t->keys_count = l->keys;
    t->tx.count = l->parts;
    t->tx.coordinator = w->index;
    w->txn.open++;
    w->txn.bytes += bytes;
    return t;
}

static struct bytes keep(uint8_t **data, struct bytes from)
{
    uint8_t *at = *data;
    if (from.len > 0) memcpy(at, from.data, from.len);
    *data += from.len;
    return bytes_view(at, from.len);
}

/* Arguments before the first key are the same for all parts, and kept once; without keys all are. */
static void fill_parts(const struct worker *w, struct txn *t, const struct txn_plan *plan)
{
    uint64_t *hash = (uint64_t *)(void *)(t->keys + t->keys_count);
    struct bytes *view = (struct bytes *)(void *)(hash + t->keys_count);
    uint32_t views = 0, n = 0, keys = 0;
    for (uint32_t s = 0; s < w->core.count; s++)
        views += plan->argc[s];
    uint16_t *slot = (uint16_t *)(void *)(view + views);
    uint8_t *data = (uint8_t *)(slot + t->keys_count);
    uint32_t common = plan->hashes != NULL ? (uint32_t)plan->rq->spec->keys.first : plan->rq->argc;
    const struct bytes *shared = view;
    for (uint32_t s = 0; s < w->core.count; s++) {
        if (plan->argc[s] == 0) continue;
        struct part *p = &t->part[n];
        t->tx.parts[n++] = &p->part;
        t->mask |= UINT64_C(1) << s;
        p->argv = view;
        p->argc = plan->argc[s];
        for (uint32_t i = 0; i < p->argc; i++)
            view[i] = i < common && n > 1 ? shared[i] : keep(&data, plan->argv[s][i]);
        view += p->argc;
        p->part = (struct tx_part){
            .tx = &t->tx, .shard = s, .fingerprints = hash, .count = plan->keys[s]};
        p->known = (struct exec_known){.hashes = hash, .slots = slot};
        for (uint32_t k = 0; k < plan->keys[s]; k++) {
            *hash++ = t->keys[keys++].hash = plan->hashes[s][k];
            *slot++ = plan->slots[s][k];
        }
    }
}

static enum sched_mode mode_of(const struct cmd_spec *spec, bool global)
{
    if (spec->flags & CMD_WRITE) return global ? SCHED_ALL_WRITE : SCHED_WRITE;
    return global ? SCHED_ALL_READ : SCHED_READ;
}

void txn__start(struct worker *w, struct conn *c, const struct txn_plan *plan)
{
    const struct cmd_spec *spec = plan->rq->spec;
    struct layout l = measure(w, plan);
    struct txn *t = txn_new(w, &l);
    t->spec = spec;
    t->merge = plan->merge;
    t->global = plan->hashes == NULL;
    t->tx.kind = spec->spread == SPREAD_ALL_NEW ? TX_CHECKED : TX_PLAIN;
    t->tx.mode = mode_of(spec, t->global);
    t->tx.order = wait__order(c->id);
    t->conn_id = c->id;
    t->conn_index = c->index;
    t->db = c->session.db;
    t->proto = c->session.proto;
    t->no_touch = c->session.no_touch;
    t->wire_bytes = plan->rq->wire_bytes;
    t->txid = node_txid(w);
    fill_parts(w, t, plan);
    open_keys(w, t);
    c->txns++;
    c->txns_global += t->global;
    if (plan->pend == NULL) {
        t->pend = conn__pend(c, 1, NULL);
        begin(w, t);
    } else {
        t->pend = *plan->pend;
        try_later(w, t); /* when there is room */
    }
}

static struct txn *barrier_new(struct worker *w)
{
    struct layout l = {.parts = w->core.count};
    struct txn *t = txn_new(w, &l);
    t->tx.kind = TX_BARRIER;
    t->tx.mode = SCHED_ALL_WRITE;
    for (uint32_t s = 0; s < l.parts; s++) {
        t->part[s].part = (struct tx_part){.tx = &t->tx, .shard = s};
        t->tx.parts[s] = &t->part[s].part;
    }
    return t;
}

/* ---- a request that wants everything to itself */

bool txn__is_alone(const struct worker *w, const struct conn *c)
{
    if (w->txn.alone != NULL && w->txn.alone->conn_id == c->id) return true;
    for (uint32_t s = 0; s < w->core.count; s++)
        if (!sched_is_empty(&node.workers[s]->core.sched)) return false;
    return true;
}

void txn__make_alone(struct worker *w, struct conn *c)
{
    struct txn *t = barrier_new(w);
    enum reply_mode mode = c->session.reply_mode;
    t->conn_id = c->id;
    t->conn_index = c->index;
    t->pend = conn__pend(c, 1, NULL);
    c->session.reply_mode = mode; /* the place is nobody's reply */
    place__stall(w, c, CONN_WAIT_ORDER);
    try_later(w, t);
}

/* Its connection was not reached in this pass: others were before it. */
static bool has_its_turn_yet(const struct worker *w, const struct txn *t)
{
    const struct conn *c = conn_of(w, t);
    return c != NULL && (c->flags & CONN_READY) && c->pass_commands == 0;
}

/* One whole pass is enough for the request to be parsed again, unless its connection has to wait for something
 * else; then it asks anew. */
void txn__end_pass(struct worker *w)
{
    struct txn *t = w->txn.alone;
    if (likely(t == NULL) || ++w->txn.alone_passes < 2 || has_its_turn_yet(w, t)) return;
    w->txn.alone = NULL;
    tx_end_barrier(&w->txn.shard, t->tx.parts[w->index]);
}
