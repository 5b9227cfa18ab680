/* Commands of one shard that meet keys which a transaction over several shards has spoken for: they wait in its
 * queues (shard/exec/sched), with their own copy of the request, and the shard runs other work meanwhile. */
#include "node/txn_priv.h"

/* Of one connection, of its own shard; then it is not parsed until they have run. Those of peers are bounded by
 * the mailboxes' credit. */
#define WAITS_MAX 64u
#define WAIT_BYTES_MAX (64u << 10) /* a larger request waits alone */

struct parked {
    struct sched_entry entry; /* first */
    wait_run *run;
    void *job;
};

/* Spread out: numbers of connections are small. Apart from keys by their top bit only if chance has it, which
 * merely lets two wait for each other. */
uint64_t wait__order(uint64_t conn_id)
{
    return (conn_id + 1) * 0x9E3779B97F4A7C15u | 1;
}

/* An argument without bytes begins where the next one does. */
static bool is_same(struct bytes a, struct bytes b)
{
    return a.data == b.data && a.len == b.len;
}

void wait__add_keys(struct worker *w, struct wait *wait, const struct request *rq)
{
    const struct cmd_spec *spec = rq->spec;
    struct bytes first = {.len = 0};
    if (spec->keys.first > 0 && (uint32_t)spec->keys.first < rq->argc)
        first = rq->argv[spec->keys.first];
    uint32_t *at = arena_alloc(&w->args, rq->argc * sizeof *at);
    uint32_t n = spec_key_positions(spec, rq->argv, rq->argc, at);
    uint64_t *hashes = arena_alloc(&w->args, (wait->count + n) * sizeof *hashes);
    if (wait->count > 0) memcpy(hashes, wait->hashes, wait->count * sizeof *hashes);
    for (uint32_t i = 0; i < n; i++) {
        struct bytes key = rq->argv[at[i]];
        bool routed = is_same(key, first) && is_same(key, rq->key.name);
        hashes[wait->count + i] = routed ? rq->key.hash : hash_bytes(key);
    }
    wait->hashes = hashes;
    wait->count += n;
    if (spec->flags & CMD_WRITE) wait->mode = SCHED_WRITE;
}

bool wait__must(const struct worker *w, const struct wait *wait)
{
    return sched_must_wait(&w->core.sched, wait->mode, wait->hashes, wait->count,
                           wait__order(wait->conn_id));
}

void wait__queue(struct worker *w, const struct wait *wait, wait_run *run, void *job)
{
    struct parked *waiter = mem_alloc(MEM_REPLY, sizeof *waiter);
    *waiter = (struct parked){.run = run, .job = job};
    enum sched_verdict v = sched_wait(w->txn.shard.sched, &waiter->entry, wait->mode, wait->hashes,
                                      wait->count, wait__order(wait->conn_id));
    if (likely(v == SCHED_WAITS)) return;
    mem_free(MEM_REPLY, waiter, sizeof *waiter);
    run(w, job, true);
}

void wait__granted(struct worker *w, struct sched_entry *e)
{
    struct parked *waiter = (struct parked *)(void *)e;
    waiter->run(w, waiter->job, false);
    tx_lone_done(&w->txn.shard, e);
    mem_free(MEM_REPLY, waiter, sizeof *waiter);
}

/* ---- one request */

struct job { /* then the arguments: views, and their bytes if they are not in q.block */
    struct queued q;
    size_t bytes;
    uint32_t conn_index, pend; /* of a connection of this worker */
    uint64_t conn_id;
};

static struct job *job_new(const struct request *rq, bool copy)
{
    size_t views = rq->argc * sizeof *rq->argv, bytes = sizeof(struct job) + views;
    if (copy)
        for (uint32_t i = 0; i < rq->argc; i++)
            bytes += rq->argv[i].len;
    struct job *j = mem_alloc(MEM_REPLY, bytes);
    struct bytes *argv = (struct bytes *)(void *)(j + 1);
    uint8_t *data = (uint8_t *)(argv + rq->argc);
    *j = (struct job){.bytes = bytes};
    if (!copy) memcpy(argv, rq->argv, views);
    for (uint32_t i = 0; copy && i < rq->argc; i++) {
        if (rq->argv[i].len > 0) memcpy(data, rq->argv[i].data, rq->argv[i].len);
        argv[i] = bytes_view(data, rq->argv[i].len);
        data += rq->argv[i].len;
    }
    j->q.rq = *rq;
    j->q.rq.argv = argv;
    j->q.rq.key.name = bytes_view(NULL, 0);
    bool has_key = rq->spec->keys.first > 0 || rq->spec->key_specs_count > 0;
    for (uint32_t i = 0; has_key && i < rq->argc; i++)
        if (is_same(rq->argv[i], rq->key.name)) j->q.rq.key.name = argv[i];
    return j;
}

static void run_here(struct worker *w, void *arg, bool refused)
{
    struct job *j = arg;
    struct conn *c = j->conn_index < w->conns_cap ? w->conns[j->conn_index] : NULL;
    if (c != NULL && c->id == j->conn_id) { /* else nobody asks any more, and nothing was begun */
        struct reply reply = {.out = &w->part_reply, .proto = j->q.proto};
        w->running = c;
        if (refused)
            core_reply_refused(&reply, RC_NOMEM);
        else
            core_run(&w->core, &j->q.rq, &reply);
        if (reply.errored) core_count_error(&w->core, w->part_reply.data, w->part_reply.len);
        if (w->core.gate_lsn > c->gate_lsn) c->gate_lsn = w->core.gate_lsn;
        c->waits--;
        conn__answer(c, j->pend, buf_bytes(&w->part_reply));
        w->part_reply.len = 0;
        w->running = NULL;
        if (core_must_serve(&w->core)) core_serve(&w->core);
    }
    w->txn.waits--;
    mem_free(MEM_REPLY, j, j->bytes);
}

bool wait__here(struct worker *w, struct conn *c, const struct request *rq)
{
    struct wait wait = {.conn_id = c->id};
    wait__add_keys(w, &wait, rq);
    if (!wait__must(w, &wait)) return false;
    if (c->waits >= WAITS_MAX || (c->waits > 0 && rq->wire_bytes > WAIT_BYTES_MAX)) {
        place__stall(w, c, CONN_WAIT_ORDER);
        return true;
    }
    struct job *j = job_new(rq, true);
    j->q.proto = c->session.proto;
    j->conn_id = c->id;
    j->conn_index = c->index;
    j->pend = conn__pend(c, 1, NULL);
    c->waits++;
    w->txn.waits++;
    wait__queue(w, &wait, run_here, j);
    return true;
}

static void run_peer(struct worker *w, void *arg, bool refused)
{
    struct job *j = arg;
    if (refused) {
        struct reply reply = {.out = &w->part_reply, .proto = j->q.proto};
        w->core.gate_lsn = 0;
        core_reply_refused(&reply, RC_NOMEM);
        answer__send(w, &j->q, &w->part_reply);
        if (j->q.block != NULL) {
            mem_free(MEM_REPLY, j->q.block, j->q.block_bytes);
            answer__took_block(w, &j->q);
        }
    } else {
        place__run_peer(w, &j->q);
    }
    mem_free(MEM_REPLY, j, j->bytes);
}

bool wait__peer(struct worker *w, const struct queued *q)
{
    struct wait wait = {.conn_id = q->conn_id};
    if (q->rq.spec->spread == SPREAD_SCRIPT)
        wait.mode = SCHED_ALL_WRITE; /* it may use more keys than it says */
    else
        wait__add_keys(w, &wait, &q->rq);
    if (!wait__must(w, &wait)) return false;
    struct job *j = job_new(&q->rq, q->block == NULL);
    struct request own = j->q.rq;
    j->q = *q;
    j->q.rq = own;
    wait__queue(w, &wait, run_peer, j);
    return true;
}
