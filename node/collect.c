/* Reads over several shards (MGET, EXISTS, TOUCH). Each shard runs its part when the request comes, nothing is spoken
 * for, and this worker's own part runs when all others have answered. Then the replies are one moment's, if
 *
 *   no key of a part has been changed since that part ran, and no transaction has spoken for one to write it (the
 *   stamps of the other shards say so: shard/exec/stamps.h),
 *   no part met such an intent, or stood behind an earlier command of its connection that waits: it is refused,
 *   and no key lives at the time of its part and not at that of the reply, the latest of all.
 *
 * The moment is the one at which the stamps are looked at: whatever changed earlier, and could have been heard of, is
 * seen in them. If not, the request comes again as a transaction (txn.c), which nothing disturbs. Of one connection they
 * end in their order: those behind one that comes again are looked at when it has ended, so none is older.
 *
 * Those that a connection sends one behind the other go as one request of all their keys, if their parts are joined by
 * element (MGET). Whether one holds is asked of its own keys, so it comes again alone.
 *
 *   request   struct msg_request, the keys' hashes, their slots (padded to 8), their lengths, their bytes
 *   answer    struct collect_answer, the part's reply */
#include "node/txn_priv.h"

struct collect_answer {
    uint64_t since; /* stamps_begin() */
    int64_t now_ms; /* its time */
    int64_t
        alive_till_ms; /* of its keys that are there the first to expire does then; INT64_MAX: none */
    uint64_t refused; /* bit i % 64: its key i; all of them: it did not run */
};
struct collect_part {
    uint32_t shard, first, count; /* hashes[first …] */
    uint32_t done, now;           /* of these: of calls that have ended, of those looked at */
    size_t wire_at;               /* behind the elements of the former */
    struct collect_answer answer;
    bool in_ring;      /* so is wire, until the drain of the mailbox ends */
    struct bytes wire; /* its reply, without what comes before it in … */
    uint8_t *block;    /* … when it is not in the ring */
    size_t block_bytes;
};
struct collect_call { /* one command of the connection */
    uint32_t pend, elements;
};
struct collect { /* then its parts and what is pointed to, in that order */
    struct collect *next;
    const struct cmd_spec *spec;
    const struct bytes *argv;
    uint64_t *hashes; /* by shard */
    struct collect_call *call;
    uint32_t *element; /* by shard: which one it is */
    uint16_t *slots;   /* by shard; then the arguments' bytes */
    uint8_t *shard_of; /* by element */
    size_t bytes;
    uint32_t elements, wire_bytes, parts, left; /* left: parts that have not answered */
    uint32_t calls, calls_done, elements_done;
    uint8_t proto, db;
    bool no_touch;
    bool loaded;              /* the keys of the own part */
    bool one_by_one;          /* together they did not hold */
    struct collect_part *own; /* this shard's; NULL: it has none */
    struct collect_part part[];
};

/* Enough to look through, for a command that may share a key with them. */
#define OPEN_KEYS_MAX 1024u
/* Of calls that go together: no part takes long. */
#define TOGETHER_KEYS_MAX 256u

static bool fits(size_t wire_bytes, size_t argc)
{
    return wire_bytes + argc * 16 <= REQUEST_INLINE_MAX;
}

bool collect__may(const struct request *rq)
{
    const struct cmd_spec *spec = rq->spec;
    return (spec->flags & CMD_READONLY) && spec->keys.first == 1 && spec->keys.step == 1 &&
           (spec->spread == SPREAD_GATHER || spec->spread == SPREAD_SUM) &&
           fits(rq->wire_bytes, rq->argc);
}

static size_t padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

/* ---- asking */

/* It, and those right behind it in the batch that go with it. */
static uint32_t count_together(const struct worker *w, const struct conn *c, const struct queued *q)
{
    const struct queued *end = w->batch + w->batch_count;
    size_t argc = q->rq.argc, wire_bytes = q->rq.wire_bytes;
    uint32_t most = txn__room(c), calls = 1;
    if (q->rq.spec->spread != SPREAD_GATHER || w->map != NULL || !place__all_take_parts(w))
        return 1;
    for (const struct queued *n = q + 1; n < end && n->conn == c && calls < most; n++) {
        if (n->rq.argc < 2 || n->rq.spec != q->rq.spec) break;
        argc += n->rq.argc - 1;
        wire_bytes += n->rq.wire_bytes;
        if (argc > TOGETHER_KEYS_MAX || !fits(wire_bytes, argc)) break;
        calls++;
    }
    return calls;
}

static struct request joined(struct worker *w, const struct queued *q, uint32_t calls)
{
    struct request all = q->rq;
    for (uint32_t i = 1; i < calls; i++) {
        all.argc += q[i].rq.argc - 1;
        all.wire_bytes += q[i].rq.wire_bytes;
    }
    struct bytes *argv = arena_alloc(&w->args, all.argc * sizeof *argv), *to = argv;
    *to++ = q->rq.argv[0];
    for (uint32_t i = 0; i < calls; i++) {
        memcpy(to, q[i].rq.argv + 1, (q[i].rq.argc - 1) * sizeof *to);
        to += q[i].rq.argc - 1;
    }
    all.argv = argv;
    return all;
}

/* Nothing of them is left in the batch. */
static void take_along(struct conn *c, struct queued *q, uint32_t calls)
{
    size_t end = q[calls - 1].end;
    q->end = end;
    c->commands += calls - 1;
    for (uint32_t i = 1; i < calls; i++) {
        q[i].rq.argc = 0;
        q[i].end = end;
    }
}

/* From the first to the end of the last, if they lie in the input, as they mostly do; else 0. */
static size_t piece_bytes(const struct conn *c, const struct request *rq)
{
    uintptr_t in = (uintptr_t)(c->chunk != NULL ? c->chunk : c->in.data);
    size_t len = c->chunk != NULL ? c->chunk_len : c->in.len;
    uintptr_t begin = (uintptr_t)rq->argv[0].data;
    const struct bytes *last = &rq->argv[rq->argc - 1];
    size_t bytes = (uintptr_t)last->data + last->len - begin;
    bool together = begin - in <= len && bytes <= len - (begin - in);
    for (uint32_t i = 0; i < rq->argc; i++)
        together &= (uintptr_t)rq->argv[i].data - begin + rq->argv[i].len <= bytes;
    return together ? bytes : 0;
}

static void keep_args(struct bytes *argv, uint8_t *to, const struct request *rq, size_t piece)
{
    if (likely(piece > 0)) memcpy(to, rq->argv[0].data, piece);
    for (uint32_t i = 0; i < rq->argc; i++) {
        struct bytes from = rq->argv[i];
        if (likely(piece > 0)) {
            argv[i] = bytes_view(to + (from.data - rq->argv[0].data), from.len);
            continue;
        }
        if (from.len > 0) memcpy(to, from.data, from.len);
        argv[i] = bytes_view(to, from.len);
        to += from.len;
    }
}

static struct collect *collect_new(const struct conn *c, const struct request *rq,
                                   const struct deal *d, uint32_t calls)
{
    const struct worker *w = c->worker;
    size_t piece = piece_bytes(c, rq), data = piece, parts = d->used * sizeof(struct collect_part);
    for (uint32_t i = 0; i < rq->argc && piece == 0; i++)
        data += rq->argv[i].len;
    size_t views = rq->argc * sizeof(struct bytes), hashes = d->elements * sizeof(uint64_t),
           slots = d->elements * sizeof(uint16_t), ends = calls * sizeof(struct collect_call),
           order = d->elements * sizeof(uint32_t);
    size_t bytes =
        sizeof(struct collect) + parts + views + hashes + ends + order + slots + data + d->elements;
    struct collect *k = mem_alloc(MEM_REPLY, bytes);
    uint8_t *at = (uint8_t *)&k->part[d->used];
    struct bytes *argv = (struct bytes *)(void *)at;
    *k = (struct collect){.spec = rq->spec,
                          .argv = argv,
                          .hashes = (uint64_t *)(void *)(at + views),
                          .call = (struct collect_call *)(void *)(at + views + hashes),
                          .element = (uint32_t *)(void *)(at + views + hashes + ends),
                          .slots = (uint16_t *)(void *)(at + views + hashes + ends + order),
                          .shard_of = at + views + hashes + ends + order + slots + data,
                          .bytes = bytes,
                          .elements = d->elements,
                          .calls = calls,
                          .wire_bytes = rq->wire_bytes};
    keep_args(argv, at + views + hashes + ends + order + slots, rq, piece);
    memcpy(k->shard_of, d->shard_of, d->elements);
    uint32_t first = 0;
    for (uint32_t s = 0; s < w->core.count; s++) {
        if (d->keys[s] == 0) continue;
        struct collect_part *p = &k->part[k->parts++];
        *p = (struct collect_part){.shard = s, .first = first};
        first += d->keys[s];
        if (s == w->index) k->own = p;
    }
    return k;
}

static struct bytes key_of(const struct collect *k, uint32_t at)
{
    return k->argv[1 + k->element[at]];
}

/* The one of that shard, which has one. */
static struct collect_part *part_of(struct collect *k, uint32_t shard)
{
    struct collect_part *p = k->part;
    while (p->shard != shard)
        p++;
    return p;
}

static void fill_keys(struct collect *k, const struct deal *d)
{
    struct collect_part *by_shard[SHARDS_MAX] UNINITIALIZED;
    for (uint32_t i = 0; i < k->parts; i++)
        by_shard[k->part[i].shard] = &k->part[i];
    for (uint32_t e = 0; e < k->elements; e++) {
        struct collect_part *p = by_shard[k->shard_of[e]];
        uint32_t at = p->first + p->count++;
        k->hashes[at] = hash_bytes(k->argv[1 + e]);
        k->element[at] = e;
        k->slots[at] = d->slot_of[e];
    }
}

static void send(struct conn *c, const struct collect *k, const struct collect_part *p)
{
    struct worker *w = c->worker;
    struct peer *peer = &w->peers[p->shard];
    size_t hashes = p->count * sizeof *k->hashes, slots = p->count * sizeof *k->slots;
    size_t bytes =
        sizeof(struct msg_request) + hashes + padded(slots) + p->count * sizeof(uint32_t);
    for (uint32_t i = 0; i < p->count; i++)
        bytes += key_of(k, p->first + i).len;
    struct msg_request *m = mailbox_reserve(peer->requests_out, bytes);
    assert(m != NULL); /* the caller looked, and collect__may() */
    *m = (struct msg_request){.kind = MSG_COLLECT,
                              .db = k->db,
                              .proto = k->proto,
                              .no_touch = k->no_touch,
                              .argc = p->count,
                              .conn_index = c->index,
                              .conn_id = c->id,
                              .pend = k->call[0].pend,
                              .wire_bytes = k->wire_bytes,
                              .spec = k->spec,
                              .round = c->round};
    uint8_t *to = (uint8_t *)(m + 1);
    memcpy(to, k->hashes + p->first, hashes);
    memcpy(to + hashes, k->slots + p->first, slots);
    uint32_t *lengths = (uint32_t *)(void *)(to + hashes + padded(slots));
    uint8_t *data = (uint8_t *)(lengths + p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        struct bytes key = key_of(k, p->first + i);
        *lengths++ = (uint32_t)key.len;
        if (key.len > 0) memcpy(data, key.data, key.len);
        data += key.len;
    }
    mailbox_push(peer->requests_out, bytes);
    peer->outstanding++;
    w->outstanding++;
    c->due++;
}

static void open_places(struct conn *c, struct collect *k, const struct queued *q)
{
    for (uint32_t i = 0; i < k->calls; i++)
        k->call[i] =
            (struct collect_call){.pend = conn__pend(c, 1, NULL), .elements = q[i].rq.argc - 1};
    conn__pend_at(c, k->call[0].pend)->collect = k;
}

void collect__start(struct worker *w, struct conn *c, struct request *rq, const struct deal *d,
                    bool together)
{
    struct queued *q = container_of(rq, struct queued, rq);
    uint32_t calls = together ? count_together(w, c, q) : 1;
    struct request all = *rq;
    struct deal all_d UNINITIALIZED;
    if (calls > 1) {
        all = joined(w, q, calls);
        split__count(w, &all, &all_d);
        d = &all_d;
    }
    struct collect *k = collect_new(c, &all, d, calls);
    k->db = c->session.db;
    k->proto = c->session.proto;
    k->no_touch = c->session.no_touch;
    fill_keys(k, d);
    stat_bump(&w->txn.collects, calls);
    *c->collects_tail = k;
    c->collects_tail = &k->next;
    c->collects_count += calls;
    c->txns += calls;
    w->txn.bytes += k->bytes;
    open_places(c, k, q);
    if (calls > 1) take_along(c, q, calls);
    for (uint32_t i = 0; i < k->parts; i++) {
        if (k->part[i].shard == w->index) continue;
        k->left++;
        send(c, k, &k->part[i]);
    }
}

bool collect__has_key(const struct conn *c, uint64_t hash)
{
    uint32_t seen = 0;
    for (const struct collect *k = c->collects; k != NULL; k = k->next) {
        seen += k->elements;
        if (seen > OPEN_KEYS_MAX) return true;
        for (uint32_t i = 0; i < k->elements; i++)
            if (k->hashes[i] == hash) return true;
    }
    return false;
}

/* ---- on another shard */

void collect__take(struct worker *w, uint32_t from, const struct msg_request *m)
{
    struct queued *q = &w->batch[w->batch_count++];
    const uint64_t *hashes = (const uint64_t *)(const void *)(m + 1);
    const uint16_t *slots = (const uint16_t *)(const void *)(hashes + m->argc);
    *q = (struct queued){
        .conn_id = m->conn_id,
        .conn_index = m->conn_index,
        .pend = m->pend,
        .from = from,
        .round = m->round,
        .proto = m->proto,
        .known = {.hashes = hashes, .slots = slots},
        .rq = {.spec = m->spec,
               .argc = m->argc + 1,
               .wire_bytes = m->wire_bytes,
               .no_touch = m->no_touch},
    };
    struct bytes *argv = arena_alloc(&w->args, (m->argc + 1) * sizeof *argv);
    argv[0] = bytes_of(m->spec->name);
    place__read_args((const uint8_t *)slots + padded(m->argc * sizeof *slots), argv + 1, m->argc);
    q->rq.argv = argv;
    q->rq.key = (struct db_key){.name = argv[1], .hash = hashes[0], .slot = slots[0], .db = m->db};
}

static uint32_t add_keys(struct db_key *keys, uint32_t n, const struct exec_known *known,
                         uint32_t count, uint8_t db)
{
    for (uint32_t i = 0; i < count; i++)
        keys[n++] = (struct db_key){.hash = known->hashes[i], .slot = known->slots[i], .db = db};
    return n;
}

/* This one's, and of those behind it in the batch as many as are best loaded at once. */
static void load_batch(struct worker *w, struct queued *q)
{
    struct db_key keys[EXEC_KEYS_AHEAD];
    uint32_t n = 0;
    for (struct queued *end = w->batch + w->batch_count; q < end && n < EXEC_KEYS_AHEAD; q++) {
        if (q->conn != NULL || q->known.hashes == NULL) continue;
        if (n + q->rq.argc - 1 > EXEC_KEYS_AHEAD) break;
        n = add_keys(keys, n, &q->known, q->rq.argc - 1, q->rq.key.db);
        q->known.loaded = true;
    }
    exec_load(w->core.ks, keys, n, false);
}

static bool must_wait(const struct worker *w, const struct queued *q, uint32_t first,
                      uint32_t count)
{
    struct wait wait = {.mode = SCHED_READ,
                        .hashes = q->known.hashes + first,
                        .count = count,
                        .conn_id = q->conn_id};
    return wait__must(w, &wait);
}

/* Of several calls only those come again whose keys are spoken for. */
static COLD uint64_t refused_keys(const struct worker *w, const struct queued *q)
{
    uint64_t refused = 0;
    if (must_wait(w, q, 0, 0)) return UINT64_MAX;
    for (uint32_t i = 0; i + 1 < q->rq.argc; i++)
        if (must_wait(w, q, i, 1)) refused |= UINT64_C(1) << i % 64;
    return refused;
}

static uint64_t must_refuse(const struct worker *w, const struct queued *q)
{
    if (unlikely(w->peers[q->from].over > 0) &&
        answer__gives_back(w, q->from, q->conn_index, q->conn_id, q->round))
        return UINT64_MAX;
    if (likely(sched_is_empty(&w->core.sched)) || planted(COLLECT_BLIND)) return 0;
    return must_wait(w, q, 0, q->rq.argc - 1) ? refused_keys(w, q) : 0;
}

/* What has expired by now is absent, and stays so. */
static int64_t alive_till(const struct keyspace *ks, const struct queued *q, int64_t now_ms)
{
    int64_t till_ms = INT64_MAX;
    if (likely(db_count_expires(ks, q->rq.key.db) == 0)) return till_ms;
    for (uint32_t i = 0; i + 1 < q->rq.argc; i++) {
        struct db_key key = {.name = q->rq.argv[1 + i],
                             .hash = q->known.hashes[i],
                             .slot = q->known.slots[i],
                             .db = q->rq.key.db};
        const struct record *r = db_find(ks, &key);
        if (r == NULL || !(r->flags & RECORD_EXPIRES)) continue;
        int64_t expire_ms = record_expire_ms(r);
        if (expire_ms > now_ms && expire_ms < till_ms) till_ms = expire_ms;
    }
    return till_ms;
}

void collect__serve(struct worker *w, struct queued *q)
{
    struct core *core = &w->core;
    struct buf *out = &w->part_reply;
    struct collect_answer answer = {.refused = must_refuse(w, q)};
    buf_add(out, &answer, sizeof answer);
    core->gate_lsn = 0;
    if (likely(answer.refused != UINT64_MAX)) {
        struct reply reply = {.out = out, .proto = q->proto};
        if (!q->known.loaded) load_batch(w, q);
        answer.now_ms = core->run.now_ms;
        worker_runs_for(w, q->from, q->conn_index, q->conn_id);
        core->run.known = &q->known;
        core_run_part(core, &q->rq, &reply);
        core->run.known = NULL;
        worker_runs_for_nobody(w);
        answer.since = stamps_begin(core->stamps); /* what it removed itself, expired, was absent */
        answer.alive_till_ms = alive_till(core->ks, q, answer.now_ms);
        memcpy(out->data, &answer, sizeof answer);
    }
    answer__send(w, q, out);
}

struct bytes collect__failed(struct bytes error)
{
    static _Thread_local uint8_t wire[sizeof(struct collect_answer) + 128];
    struct collect_answer answer = {.since = UINT64_MAX, .alive_till_ms = INT64_MAX};
    assert(error.len <= sizeof wire - sizeof answer);
    memcpy(wire, &answer, sizeof answer);
    memcpy(wire + sizeof answer, error.data, error.len);
    return bytes_view(wire, sizeof answer + error.len);
}

/* ---- the end of one */

static void drop(struct worker *w, struct collect *k)
{
    w->txn.bytes -= k->bytes;
    for (uint32_t i = 0; i < k->parts; i++)
        mem_free(MEM_REPLY, k->part[i].block, k->part[i].block_bytes);
    mem_free(MEM_REPLY, k, k->bytes);
}

static struct collect *pop(struct conn *c)
{
    struct collect *k = c->collects;
    c->collects = k->next;
    if (c->collects == NULL) c->collects_tail = &c->collects;
    return k;
}

static void count_ended(struct conn *c, uint32_t calls)
{
    c->collects_count -= calls;
    c->txns -= calls;
}

void collect__drop_all(struct conn *c)
{
    while (c->collects != NULL) {
        struct collect *k = pop(c);
        count_ended(c, k->calls - k->calls_done);
        drop(c->worker, k);
    }
}

static struct stamps *stamps_of(const struct worker *w, const struct collect_part *p)
{
    return w->peers[p->shard].worker->core.stamps;
}

/* Of the calls looked at. */
static struct exec_known known_of(const struct collect *k, const struct collect_part *p)
{
    uint32_t at = p->first + p->done;
    return (struct exec_known){
        .hashes = k->hashes + at, .slots = k->slots + at, .loaded = k->loaded};
}

static uint32_t elements_of(const struct collect *k, uint32_t calls)
{
    uint32_t elements = 0;
    for (uint32_t i = 0; i < calls; i++)
        elements += k->call[k->calls_done + i].elements;
    return elements;
}

/* The next so many calls are looked at. */
static void look_at(struct collect *k, uint32_t calls)
{
    if (calls == k->calls - k->calls_done) {
        for (uint32_t i = 0; i < k->parts; i++)
            k->part[i].now = k->part[i].count - k->part[i].done;
        return;
    }
    for (uint32_t i = 0; i < k->parts; i++)
        k->part[i].now = 0;
    uint32_t end = k->elements_done + elements_of(k, calls);
    for (uint32_t e = k->elements_done; e < end; e++)
        part_of(k, k->shard_of[e])->now++;
}

static void leave_behind(struct conn *c, struct collect *k, uint32_t calls)
{
    k->elements_done += elements_of(k, calls);
    k->calls_done += calls;
    for (uint32_t i = 0; i < k->parts; i++)
        k->part[i].done += k->part[i].now;
    count_ended(c, calls);
    if (k->calls_done == k->calls) (void)pop(c);
}

/* Nothing of this shard's own part has to wait. */
static bool is_free_here(struct worker *w, const struct conn *c, const struct collect *k)
{
    if (k->own == NULL || likely(sched_is_empty(&w->core.sched)) || planted(COLLECT_BLIND))
        return true;
    struct wait wait = {.mode = SCHED_READ,
                        .hashes = known_of(k, k->own).hashes,
                        .count = k->own->now,
                        .conn_id = c->id};
    return !wait__must(w, &wait);
}

/* Of the calls looked at. */
static bool is_refused(const struct collect_part *p)
{
    uint32_t from = p->done % 64;
    if (likely(p->answer.refused == 0)) return false;
    if (p->now + from >= 64) return true; /* or a neighbour's */
    return (p->answer.refused >> from & ((UINT64_C(1) << p->now) - 1)) != 0;
}

/* What the parts have read for the calls looked at is there now, at *now_ms_out. */
static bool holds(struct worker *w, const struct conn *c, struct collect *k, int64_t *now_ms_out)
{
    int64_t now_ms = w->core.run.now_ms;
    if (unlikely(!is_free_here(w, c, k))) return false;
    for (uint32_t i = 0; i < k->parts; i++)
        if (k->part[i].answer.now_ms > now_ms) now_ms = k->part[i].answer.now_ms;
    for (uint32_t i = 0; i < k->parts; i++) {
        const struct collect_part *p = &k->part[i];
        if (p == k->own || p->now == 0) continue;
        if (unlikely(is_refused(p)) || unlikely(p->answer.alive_till_ms <= now_ms) ||
            unlikely(
                stamps_changed(stamps_of(w, p), p->answer.since, known_of(k, p).hashes, p->now)))
            return false;
    }
    *now_ms_out = now_ms;
    return true;
}

static void load_stamps(const struct worker *w, const struct collect *k)
{
    for (uint32_t i = 0; i < k->parts; i++)
        if (&k->part[i] != k->own)
            stamps_load(stamps_of(w, &k->part[i]), k->hashes + k->part[i].first, k->part[i].count);
}

/* Its own keys, and those of the next that are ready as many as are best loaded at once; and the stamps. */
static void load_ready(struct worker *w, struct collect *k)
{
    struct db_key keys[EXEC_KEYS_AHEAD];
    uint32_t n = 0;
    for (; k != NULL && k->left == 0; k = k->next) {
        uint32_t own = k->own != NULL ? k->own->count : 0;
        load_stamps(w, k);
        if (n + own > EXEC_KEYS_AHEAD) break; /* so many are loaded when they are read */
        if (own > 0) {
            struct exec_known known = known_of(k, k->own);
            n = add_keys(keys, n, &known, own, k->db);
        }
        k->loaded = true;
    }
    exec_load(w->core.ks, keys, n, false);
}

static void count_calls(struct core *core, const struct cmd_spec *spec, uint32_t calls,
                        uint64_t ticks)
{
    uint64_t ns = clock_ticks_to_ns(ticks) / calls;
    stat_bump(&core->stats.commands, calls);
    for (uint32_t i = 0; i < calls; i++)
        core_count_call(&core->cmd_stats[spec->id], 0, ns);
}

/* Of the calls looked at, all as one. */
static struct bytes run_own(struct worker *w, struct conn *c, const struct collect *k,
                            int64_t now_ms)
{
    struct core *core = &w->core;
    struct arena_mark mark = arena_mark(&w->args);
    struct bytes *argv = arena_alloc(&w->args, (k->own->now + 1) * sizeof *argv);
    argv[0] = k->argv[0];
    for (uint32_t i = 0; i < k->own->now; i++)
        argv[1 + i] = key_of(k, k->own->first + k->own->done + i);
    struct exec_known known = known_of(k, k->own);
    struct request rq = {
        .spec = k->spec,
        .argv = argv,
        .argc = k->own->now + 1,
        .wire_bytes = k->wire_bytes,
        .no_touch = k->no_touch,
        .key = {.name = argv[1], .hash = known.hashes[0], .slot = known.slots[0], .db = k->db}};
    struct reply reply = {.out = &w->part_reply, .proto = k->proto};
    w->running = c;
    core->run.known = &known;
    core_run_admitted(core, &rq, now_ms, &reply, true);
    core->run.known = NULL;
    worker_runs_for_nobody(w);
    if (unlikely(core->gate_lsn > c->gate_lsn)) c->gate_lsn = core->gate_lsn;
    arena_rewind(&w->args, mark);
    return buf_bytes(&w->part_reply);
}

static void reply_to_call(struct worker *w, struct conn *c, const struct collect_call *call,
                          const struct merge_parts *parts, uint8_t proto)
{
    bool next = conn__is_next(c, call->pend);
    struct buf *out = next ? &c->out : &w->txn.joined;
    struct reply reply = {.out = out, .proto = proto};
    size_t start = out->len;
    merge__views(parts, &reply);
    if (unlikely(out->data[start] == '-'))
        core_count_error(&w->core, out->data + start, out->len - start);
    txn__adapt_window(c, out->len - start);
    if (next) {
        conn__answered(c, start);
        return;
    }
    conn__answer(c, call->pend, buf_bytes(out));
    out->len = 0;
    buf_shrink(out, JOINED_KEEP_BYTES);
}

/* Each reply of all its parts. */
static void join(struct worker *w, struct conn *c, struct collect *k, uint32_t calls,
                 struct bytes own)
{
    struct bytes part[SHARDS_MAX] UNINITIALIZED;
    size_t at[SHARDS_MAX] UNINITIALIZED;
    struct merge_parts parts = {.spread = k->spec->spread,
                                .shards = w->core.count,
                                .shard_of = k->shard_of + k->elements_done,
                                .part = part,
                                .at = at};
    for (uint32_t s = 0; s < w->core.count; s++) {
        part[s] = bytes_view(NULL, 0);
        at[s] = 0;
    }
    for (uint32_t i = 0; i < k->parts; i++) {
        const struct collect_part *p = &k->part[i];
        if (p->now == 0) continue;
        part[p->shard] = p == k->own ? own : p->wire;
        at[p->shard] = p->wire_at;
    }
    for (uint32_t i = 0; i < calls; i++) {
        const struct collect_call *call = &k->call[k->calls_done + i];
        parts.elements = call->elements;
        reply_to_call(w, c, call, &parts, k->proto);
        parts.shard_of += call->elements;
    }
    for (uint32_t i = 0; i < k->parts; i++) {
        struct collect_part *p = &k->part[i];
        if (p != k->own && p->now > 0) p->wire_at = at[p->shard];
    }
}

static void reply_to(struct worker *w, struct conn *c, struct collect *k, uint32_t calls,
                     int64_t now_ms)
{
    struct bytes own = bytes_view(NULL, 0);
    uint64_t before = w->core.ticks;
    if (likely(k->own != NULL && k->own->now > 0)) own = run_own(w, c, k, now_ms);
    count_calls(&w->core, k->spec, calls, w->core.ticks - before);
    join(w, c, k, calls, own);
    w->part_reply.len = 0;
    leave_behind(c, k, calls);
}

static void skip_elements(struct collect *k, uint32_t elements)
{
    for (uint32_t e = k->elements_done; e < k->elements_done + elements; e++) {
        struct collect_part *p = part_of(k, k->shard_of[e]);
        if (p != k->own) p->wire_at = merge__skip_element(&p->wire, p->wire_at);
    }
}

/* One comes again. When it is on its way k may be gone. */
static void redo(struct worker *w, struct conn *c, struct collect *k)
{
    struct arena_mark mark = arena_mark(&w->args);
    struct collect_call call = k->call[k->calls_done];
    struct bytes *argv = arena_alloc(&w->args, (call.elements + 1) * sizeof *argv);
    argv[0] = k->argv[0];
    memcpy(argv + 1, k->argv + 1 + k->elements_done, call.elements * sizeof *argv);
    struct request rq = {
        .spec = k->spec, .argv = argv, .argc = call.elements + 1, .wire_bytes = k->wire_bytes};
    if (k->calls > 1) skip_elements(k, call.elements);
    leave_behind(c, k, 1);
    c->redoing = true;
    c->redo_pend = call.pend;
    stat_bump(&w->txn.redone, 1);
    split__again(w, c, &rq, call.pend);
    arena_rewind(&w->args, mark);
}

/* Those at the head of its connection that have all their parts, unless one comes again. */
static void settle(struct worker *w, struct conn *c)
{
    while (c->collects != NULL && c->collects->left == 0 && !c->redoing) {
        struct collect *k = c->collects;
        int64_t now_ms;
        if (!k->loaded) load_ready(w, k);
        uint32_t calls = k->one_by_one ? 1 : k->calls - k->calls_done;
        look_at(k, calls);
        bool hold = holds(w, c, k, &now_ms);
        if (unlikely(!hold) && calls > 1) {
            k->one_by_one = true;
            continue;
        }
        bool last = k->calls_done + calls == k->calls;
        if (likely(hold))
            reply_to(w, c, k, calls, now_ms);
        else
            redo(w, c, k);
        if (last) drop(w, k);
    }
}

/* Of those behind it parts have run before it did; but what it found expired is not to be there again. */
void collect__go_on(struct worker *w, struct conn *c, int64_t now_ms)
{
    c->redoing = false;
    if (now_ms > w->core.run.now_ms) w->core.run.now_ms = now_ms;
    settle(w, c);
}

/* The ring is given back, and others have to come first. */
static void keep_parts(const struct conn *c)
{
    for (struct collect *k = c->collects; k != NULL; k = k->next)
        for (uint32_t i = 0; i < k->parts; i++) {
            struct collect_part *p = &k->part[i];
            if (!p->in_ring) continue;
            p->in_ring = false;
            if (p->wire.len == 0) continue;
            p->block_bytes = p->wire.len;
            p->block = mem_alloc(MEM_REPLY, p->block_bytes);
            memcpy(p->block, p->wire.data, p->wire.len);
            p->wire.data = p->block;
        }
}

void collect__settle(struct worker *w)
{
    while (w->txn.collected != NULL) {
        struct conn *c = w->txn.collected;
        w->txn.collected = c->collected_next;
        c->is_collected = false;
        settle(w, c);
        keep_parts(c);
    }
}

bool collect__part(struct worker *w, struct conn *c, struct collect *k, uint32_t from,
                   const struct msg_answer *a)
{
    struct collect_part *p = part_of(k, from);
    const uint8_t *wire = a->block != NULL ? a->block : (const uint8_t *)(a + 1);
    memcpy(&p->answer, wire, sizeof p->answer);
    p->wire = bytes_view(wire + sizeof p->answer, a->len - sizeof p->answer);
    p->in_ring = a->block == NULL;
    p->block = a->block;
    p->block_bytes = a->block_bytes;
    k->left--;
    if (!c->is_collected) {
        c->is_collected = true;
        c->collected_next = w->txn.collected;
        w->txn.collected = c;
    }
    return a->block != NULL;
}
