/* Where a request runs: here, on the one shard that owns its keys, or in parts on several. Requests and
 * answers between workers are byte messages: they own what they carry, so nobody touches another shard's
 * memory. */
#include <stdio.h>

#include "node/block.h"
#include "node/cluster.h"
#include "node/commands.h"
#include "node/config.h"
#include "node/lend.h"
#include "node/slowlog.h"
#include "node/txn_priv.h"
#include "shard/base/log.h"
#include "shard/rt/sock.h"

#define CREDIT_MAX (MAILBOX_BYTES / 2 / (sizeof(struct msg_answer) + ANSWER_INLINE_MAX))
/* Of it, for parts of transactions: they wait for others, and commands that need not shall find room. */
#define CREDIT_TXNS_MAX (CREDIT_MAX / 4 * 3)
/* Of such blocks on their way to one shard, and one more of any size. */
#define REQUEST_BLOCKS_MAX (8u << 20)
/* Of peers per batch: a request taken must run, so what a batch may add to the log is bounded. */
#define TAKE_BLOCK_BYTES (1u << 20)

/* ---- sending requests */

static bool peer_takes(const struct peer *p, uint32_t outstanding_max)
{
    return p->outstanding < outstanding_max &&
           atomic_load_explicit(&p->block_bytes, memory_order_seq_cst) < REQUEST_BLOCKS_MAX &&
           mailbox_room(p->requests_out) >= sizeof(struct msg_request) + REQUEST_INLINE_MAX;
}

static bool peer_has_room(const struct peer *p)
{
    return peer_takes(p, CREDIT_MAX);
}

bool place__has_room(const struct worker *w, uint32_t to)
{
    return peer_has_room(&w->peers[to]);
}

size_t place__args_bytes(const struct bytes *argv, uint32_t argc)
{
    size_t n = (size_t)argc * sizeof(uint32_t);
    for (uint32_t i = 0; i < argc; i++)
        n += argv[i].len;
    return n;
}

void place__write_args(uint8_t *to, const struct bytes *argv, uint32_t argc)
{
    uint8_t *data = to + (size_t)argc * sizeof(uint32_t);
    for (uint32_t i = 0; i < argc; i++) {
        uint32_t len = (uint32_t)argv[i].len;
        memcpy(to + (size_t)i * sizeof len, &len, sizeof len);
        if (len > 0) memcpy(data, argv[i].data, len);
        data += len;
    }
}

void place__read_args(const uint8_t *from, struct bytes *argv, uint32_t argc)
{
    const uint8_t *data = from + (size_t)argc * sizeof(uint32_t);
    for (uint32_t i = 0; i < argc; i++) {
        uint32_t len;
        memcpy(&len, from + (size_t)i * sizeof len, sizeof len);
        argv[i] = bytes_view(data, len);
        data += len;
    }
}

void place__send(struct conn *c, uint32_t to, struct msg_request *m)
{
    m->pend = conn__pend(c, 1, NULL);
    place__send_part(c, to, m);
}

void place__send_part(struct conn *c, uint32_t to, struct msg_request *m)
{
    struct worker *w = c->worker;
    struct peer *p = &w->peers[to];
    m->conn_index = c->index;
    m->conn_id = c->id;
    m->round = c->round;
    m->taken = c->far_bytes != NULL ? c->far_bytes[to] : 0;
    struct msg_request *sent = mailbox_reserve(p->requests_out, sizeof *m);
    assert(sent != NULL); /* the caller looked */
    *sent = *m;
    mailbox_push(p->requests_out, sizeof *m);
    p->outstanding++;
    w->outstanding++;
    c->due++;
}

/* The caller checked peer_has_room(). */
static void send_request(struct worker *w, uint32_t to, const struct request *rq, struct conn *c,
                         uint32_t pend, uint32_t part)
{
    struct peer *p = &w->peers[to];
    size_t bytes = place__args_bytes(rq->argv, rq->argc);
    bool inline_args = bytes <= REQUEST_INLINE_MAX;
    struct msg_request *m = mailbox_reserve(p->requests_out, sizeof *m + (inline_args ? bytes : 0));
    assert(m != NULL);
    *m = (struct msg_request){
        .kind = inline_args ? MSG_REQUEST : MSG_BLOCK,
        .db = rq->key.db,
        .proto = c->session.proto,
        .no_touch = rq->no_touch,
        .argc = rq->argc,
        .conn_index = c->index,
        .conn_id = c->id,
        .pend = pend,
        .part = part,
        .wire_bytes = rq->wire_bytes,
        .hash = rq->key.hash,
        .slot = rq->key.slot,
        .spec = rq->spec,
        .round = c->round,
        .taken = c->far_bytes != NULL ? c->far_bytes[to] : 0,
    };
    uint8_t *args = (uint8_t *)(m + 1);
    if (!inline_args) {
        args = m->block = mem_alloc(MEM_REPLY, bytes);
        m->block_bytes = bytes;
        atomic_fetch_add_explicit(&p->block_bytes, bytes, memory_order_relaxed);
    }
    place__write_args(args, rq->argv, rq->argc);
    mailbox_push(p->requests_out, sizeof *m + (inline_args ? bytes : 0));
    p->outstanding++;
    w->outstanding++;
    c->due++;
}

/* ---- running a request of a connection */

/* Writers wait for the disk instead of being refused. */
static bool log_behind(const struct worker *w)
{
    return w->core.journal != NULL && journal_behind(w->core.journal);
}

void place__wait_room(struct worker *w, struct conn *c, uint32_t wanted)
{
    if (c->flags & CONN_WAIT_ROOM) return;
    c->flags |= CONN_WAIT_ROOM;
    c->room_for = (uint8_t)wanted;
    /* Who got something in this pass goes behind all who got nothing. */
    struct conn **link = c->consumed > 0 ? w->room_tail : w->room_front;
    c->room_next = *link;
    *link = c;
    if (c->room_next == NULL) w->room_tail = &c->room_next;
    if (c->consumed == 0) w->room_front = &c->room_next;
    if (wanted == ROOM_LOG)
        w->room_log = true;
    else if (wanted & ROOM_TXN)
        w->room_txns |= UINT64_C(1) << (wanted & ~ROOM_TXN);
    else
        w->room_shards |= UINT64_C(1) << wanted;
}

void place__leave_room(struct worker *w, struct conn *c)
{
    struct conn **link = &w->room;
    while (*link != c)
        link = &(*link)->room_next;
    *link = c->room_next;
    if (w->room_tail == &c->room_next) w->room_tail = link;
    if (w->room_front == &c->room_next) w->room_front = link;
}

/* Of the shards in the mask. */
static uint64_t have_room(const struct worker *w, uint64_t mask, size_t outstanding_max)
{
    uint64_t have = 0;
    for (uint64_t left = mask; left != 0; left &= left - 1) {
        uint32_t s = (uint32_t)__builtin_ctzll(left);
        if (peer_takes(&w->peers[s], (uint32_t)outstanding_max)) have |= UINT64_C(1) << s;
    }
    return have;
}

/* What is waited for and is there now. */
struct room {
    uint64_t shards, txns;
    bool log;
};

static struct room room_that_came(const struct worker *w)
{
    return (struct room){.shards = have_room(w, w->room_shards, CREDIT_MAX),
                         .txns = have_room(w, w->room_txns, CREDIT_TXNS_MAX),
                         .log = w->room_log && !log_behind(w)};
}

static bool is_any(const struct room *r)
{
    return r->shards != 0 || r->txns != 0 || r->log;
}

static bool room_came(const struct worker *w)
{
    struct room r = room_that_came(w);
    return is_any(&r);
}

/* Takes what c waits for. As many go on as there are places: of 1,000 that wait each would else be parsed again for
 * each place. */
static bool takes_room(const struct worker *w, struct room *r, const struct conn *c,
                       uint32_t *promised)
{
    if (c->room_for == ROOM_LOG) return r->log;
    bool txn = c->room_for & ROOM_TXN;
    uint32_t s = c->room_for & ~ROOM_TXN;
    uint64_t *have = txn ? &r->txns : &r->shards;
    if (!(*have >> s & 1)) return false;
    promised[s]++;
    if (w->peers[s].outstanding + promised[s] >= (txn ? CREDIT_TXNS_MAX : CREDIT_MAX))
        *have &= ~(UINT64_C(1) << s);
    return true;
}

void place__retry_room(struct worker *w)
{
    if (likely(w->room == NULL)) return;
    struct room came = room_that_came(w);
    if (!is_any(&came)) return;
    struct room asked = {.shards = w->room_shards, .txns = w->room_txns, .log = w->room_log};
    uint32_t promised[SHARDS_MAX] = {0};
    struct conn *list = w->room, **tail = w->room_tail;
    w->room = NULL;
    w->room_tail = w->room_front = &w->room;
    w->room_shards = w->room_txns = 0;
    w->room_log = false;
    while (list != NULL && is_any(&came)) {
        struct conn *c = list;
        list = c->room_next;
        c->flags &= ~(uint32_t)CONN_WAIT_ROOM;
        if (!takes_room(w, &came, c, promised)) {
            place__wait_room(w, c, c->room_for);
            continue;
        }
        conn__unblock(c, CONN_WAIT_ROOM);
        if (unlikely(c->returned_count > 0)) place__resend(c);
    }
    if (list == NULL) return;
    *w->room_tail = list; /* nothing is left for these; what they wait for is not looked at */
    w->room_tail = w->room_front = tail;
    w->room_shards |= asked.shards;
    w->room_txns |= asked.txns;
    w->room_log |= asked.log;
}

void place__stall(struct worker *w, struct conn *c, uint32_t flag)
{
    c->flags |= flag;
    c->skip_batch = w->batch_id;
}

static void stall_for_room(struct worker *w, struct conn *c, uint32_t wanted)
{
    place__wait_room(w, c, wanted);
    c->skip_batch = w->batch_id;
}

void place__reply_error(struct conn *c, const char *error)
{
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    reply_error(&reply, error);
    core_count_error(&c->worker->core, reply.out->data + start, reply.out->len - start);
    conn__reply_end(c, &reply, start);
}

void place__reply_end(struct worker *w, struct conn *c, const struct reply *reply, size_t start)
{
    if (unlikely(reply->errored))
        core_count_error(&w->core, reply->out->data + start, reply->out->len - start);
    if (unlikely(w->core.gate_lsn > c->gate_lsn)) c->gate_lsn = w->core.gate_lsn;
    conn__reply_end(c, reply, start);
}

static void run_here(struct worker *w, struct conn *c, struct request *rq)
{
    size_t start;
    rq->key.db = c->session.db;
    rq->no_touch = c->session.no_touch;
    if (unlikely(!sched_is_empty(&w->core.sched)) && wait__here(w, c, rq)) return;
    struct reply reply = conn__reply_begin(c, &start);
    core_run(&w->core, rq, &reply);
    place__reply_end(w, c, &reply, start);
    if (core_must_serve(&w->core)) core_serve(&w->core);
}

static void run_there(struct worker *w, struct conn *c, struct request *rq, uint32_t shard)
{
    if (!peer_has_room(&w->peers[shard])) {
        stall_for_room(w, c, shard);
        return;
    }
    rq->key.db = c->session.db;
    rq->no_touch = c->session.no_touch;
    bool alone = c->pends_count == 0 || c->pends_shard == shard;
    uint32_t pend = conn__pend(c, 1, NULL);
    if (alone) c->pends_shard = (uint8_t)shard;
    send_request(w, shard, rq, c, pend, 0);
}

/* In place, on the core of a shard that sleeps. */
static void run_lent(struct worker *w, struct conn *c, struct request *rq, uint32_t shard)
{
    struct core *core = lend__core(w, shard);
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    rq->key.db = c->session.db;
    rq->no_touch = c->session.no_touch;
    lend__run(w, shard, rq, &reply);
    if (unlikely(reply.errored))
        core_count_error(core, reply.out->data + start, reply.out->len - start);
    conn__reply_end(c, &reply, start);
}

static void run_on(struct worker *w, struct conn *c, struct request *rq, uint32_t shard)
{
    if (shard == w->index)
        run_here(w, c, rq);
    else if (lend__take(w, shard))
        run_lent(w, c, rq, shard);
    else
        run_there(w, c, rq, shard);
}

bool place__must_wait(struct worker *w, struct conn *c)
{
    for (uint32_t s = 0; s < w->core.count; s++) {
        if (s == w->index || likely(peer_has_room(&w->peers[s]))) continue;
        stall_for_room(w, c, s);
        return true;
    }
    return false;
}

/* Of those with arguments (NULL: of all) one that takes no part now, or their number. */
static uint32_t first_full(const struct worker *w, const uint32_t *arguments)
{
    uint32_t s = 0;
    for (; s < w->core.count; s++)
        if (s != w->index && (arguments == NULL || arguments[s] > 0) &&
            unlikely(!peer_takes(&w->peers[s], CREDIT_TXNS_MAX)))
            break;
    return s;
}

bool place__all_take_parts(const struct worker *w)
{
    return first_full(w, NULL) == w->core.count;
}

bool place__must_wait_for_parts(struct worker *w, struct conn *c, const uint32_t *arguments)
{
    uint32_t s = first_full(w, arguments);
    if (likely(s == w->core.count)) return false;
    stall_for_room(w, c, s | ROOM_TXN);
    return true;
}

/* True and *shard_out if all keys lie on one shard: keys found by their specs (numkeys, keywords). */
static bool one_shard_of_specs(struct worker *w, struct request *rq, uint32_t *shard_out)
{
    uint32_t *at = arena_alloc(&w->args, rq->argc * sizeof *at);
    uint32_t n = spec_key_positions(rq->spec, rq->argv, rq->argc, at);
    *shard_out = w->index; /* no keys, or an error that the command replies */
    if (n == 0) return true;
    rq->key = db_key(rq->key.db, rq->argv[at[0]]);
    *shard_out = slot_shard(rq->key.slot, w->core.count);
    for (uint32_t i = 1; i < n; i++)
        if (slot_shard(slot_of_key(rq->argv[at[i]]), w->core.count) != *shard_out) return false;
    return true;
}

static bool one_shard_of_many(struct worker *w, struct request *rq, uint32_t *shard_out)
{
    const struct cmd_spec *spec = rq->spec;
    /* `keys` says all, unless some are found by their number (ZUNIONSTORE names its first only). */
    if (spec->keys.first <= 0 || unlikely(spec->flags & CMD_MOVABLE_KEYS))
        return one_shard_of_specs(w, rq, shard_out);
    if (w->core.count == 1) return true;
    int64_t last = spec->keys.last >= 0 ? spec->keys.last : (int64_t)rq->argc + spec->keys.last;
    if (last >= (int64_t)rq->argc) last = (int64_t)rq->argc - 1;
    for (int64_t i = spec->keys.first + spec->keys.step; i <= last; i += spec->keys.step)
        if (slot_shard(slot_of_key(rq->argv[i]), w->core.count) != *shard_out) return false;
    return true;
}

/* All keys of a request that runs on one shard. */
HOT_INLINE bool one_shard(struct worker *w, struct request *rq, uint32_t *shard_out)
{
    const struct cmd_spec *spec = rq->spec;
    *shard_out = slot_shard(rq->key.slot, w->core.count);
    if (likely(spec->keys.first == spec->keys.last && !(spec->flags & CMD_MOVABLE_KEYS)) &&
        spec->keys.first > 0)
        return true;
    return one_shard_of_many(w, rq, shard_out);
}

uint64_t place__shards_of(struct worker *w, const struct request *rq)
{
    uint64_t mask = 0;
    uint32_t *at = arena_alloc(&w->args, rq->argc * sizeof *at);
    uint32_t n = spec_key_positions(rq->spec, rq->argv, rq->argc, at);
    for (uint32_t i = 0; i < n; i++)
        mask |= UINT64_C(1) << slot_shard(slot_of_key(rq->argv[at[i]]), w->core.count);
    return mask;
}

uint32_t place__shard_of_cursor(const struct worker *w, const struct request *rq)
{
    uint64_t cursor;
    if (rq->argc < 2 || !num_parse_u64(rq->argv[1], &cursor))
        return w->index; /* the command replies the error */
    return slot_shard(db_scan_slot(cursor), w->core.count);
}

/* RANDOMKEY: a shard drawn by its number of keys, which may change meanwhile. */
uint32_t place__shard_by_keys(struct worker *w, uint8_t db)
{
    uint64_t total = 0;
    for (uint32_t s = 0; s < w->core.count; s++)
        total += db_count(node.workers[s]->core.ks, db);
    if (total == 0) return w->index;
    uint64_t at = rng_below(&w->core.rng, total);
    for (uint32_t s = 0; s < w->core.count; s++) {
        uint64_t n = db_count(node.workers[s]->core.ks, db);
        if (at < n) return s;
        at -= n;
    }
    return w->index;
}

/* Any of them may be about every worker: worker_everywhere() counts on room for one message to each. */
bool place__everyone_has_room(const struct worker *w)
{
    for (uint32_t s = 0; s < w->core.count; s++)
        if (s != w->index && !peer_has_room(&w->peers[s])) return false;
    return true;
}

void place__call(struct worker *w, struct conn *c, const struct request *rq, struct reply *reply)
{
    struct call call = {
        .spec = rq->spec, .argv = rq->argv, .argc = rq->argc, .reply = reply, .conn = c};
    stat_bump(&w->core.stats.commands, 1);
    uint64_t ticks = clock_ticks();
    rq->spec->run_conn(&call);
    struct core_cmd_stats *s = &w->core.cmd_stats[rq->spec->id];
    uint64_t spent = clock_ticks() - ticks;
    uint64_t spent_ns = clock_ticks_to_ns(spent);
    core_count_call(s, spent, spent_ns);
    slowlog_judge(w, rq, spent_ns);
    w->core.ticks = clock_ticks();
    if (reply->errored) stat_bump(&s->failed, 1);
}

/* Of an EXEC, whose end a refusal is. */
static void refuse_exec(struct conn *c, const char *why)
{
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    multi__refuse_exec(c, &reply, why);
    core_count_error(&c->worker->core, reply.out->data + start, reply.out->len - start);
    conn__reply_end(c, &reply, start);
}

/* False: it waits, or was refused. True, and there are keys on several shards: the others stand. */
static bool ready_for_exec(struct worker *w, struct conn *c)
{
    uint64_t shards;
    if (!multi__spans(c, &shards)) return true;
    const char *why;
    enum span_ready ready = span__begin(w, c, shards, multi__writes(c), &why);
    if (ready == SPAN_REFUSED) refuse_exec(c, why);
    return ready == SPAN_READY;
}

static void run_conn(struct worker *w, struct conn *c, struct request *rq)
{
    if (c->pends_count > 0) { /* settings, MULTI, SELECT …: after all that came before */
        place__stall(w, c, CONN_WAIT_ORDER);
        return;
    }
    lend__give_back(w); /* it may take long, or want the others to stand */
    uint64_t shards;
    bool exec = rq->spec->run_conn == multi__exec;
    /* An EXEC that runs here while the others stand needs no room, but for commands about connections, which rest. */
    if (!(unlikely(exec) && multi__spans(c, &shards)) && place__must_wait(w, c)) return;
    if (unlikely(exec) && !ready_for_exec(w, c)) return;
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    place__call(w, c, rq, &reply);
    if (reply.errored) core_count_error(&w->core, reply.out->data + start, reply.out->len - start);
    if (w->core.waits && c->gate_lsn < core_gate(&w->core)) c->gate_lsn = core_gate(&w->core);
    /* worker_everywhere() may have opened a place for the reply; then nothing was written here. */
    if (!(c->flags & CONN_CLOSING)) conn__reply_end(c, &reply, start);
}

static void reply_unknown(struct conn *c, const struct request *rq)
{
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    struct buf args;
    buf_init(&args, MEM_REPLY);
    for (uint32_t i = 1; i < rq->argc && args.len < 128; i++) {
        size_t len = rq->argv[i].len < 128 - args.len ? rq->argv[i].len : 128 - args.len;
        buf_addf(&args, "'%.*s' ", (int)len, (const char *)rq->argv[i].data);
    }
    size_t name = rq->argv[0].len < 128 ? rq->argv[0].len : 128;
    reply_errorf(&reply, "ERR unknown command '%.*s', with args beginning with: %.*s", (int)name,
                 (const char *)rq->argv[0].data, (int)args.len,
                 args.len > 0 ? (const char *)args.data : "");
    buf_free(&args);
    core_count_error(&c->worker->core, reply.out->data + start, reply.out->len - start);
    conn__reply_end(c, &reply, start);
}

static void reply_unknown_sub(struct conn *c, const struct request *rq)
{
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    char upper[64];
    size_t n = strlen(rq->spec->name) < 63 ? strlen(rq->spec->name) : 63;
    memcpy(upper, rq->spec->name, n);
    upper[n] = 0;
    size_t len = rq->argv[1].len < 128 ? rq->argv[1].len : 128;
    reply_errorf(&reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)len,
                 (const char *)rq->argv[1].data, upper);
    core_count_error(&c->worker->core, reply.out->data + start, reply.out->len - start);
    conn__reply_end(c, &reply, start);
}

static void reply_arity(struct conn *c, const struct cmd_spec *spec)
{
    if (unlikely(spec->run_conn == multi__exec)) {
        refuse_exec(c, "wrong number of arguments for 'exec' command");
        return;
    }
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    reply_errorf(&reply, "ERR wrong number of arguments for '%s' command",
                 commands_full_name(spec));
    core_count_error(&c->worker->core, reply.out->data + start, reply.out->len - start);
    conn__reply_end(c, &reply, start);
}

/* DEBUG is the only protected command so far: its directive decides for all rows of that flag. */
static bool may_debug(const struct conn *c)
{
    if (config.enable_debug_command == DEBUG_LOCAL) return sock_peer_is_loopback(c->stream.fd);
    return config.enable_debug_command == DEBUG_YES;
}

/* A page in somebody's browser can be made to send HTTP here (cross-protocol scripting): such a connection
 * ends before anything hidden in its body is run, without a word, as in Redis. */
static void refuse_browser(struct conn *c)
{
    log_warning("net",
                "closing client id=%llu addr=%s: it speaks HTTP (POST or Host:), perhaps an attack "
                "by way of a browser",
                (unsigned long long)c->id, c->peer);
    conn_close_now(c);
}

/* In cluster mode. False: replied. */
static bool is_served_here(struct worker *w, struct conn *c, const struct request *rq)
{
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    if (cluster_admits(w, rq, &reply)) return true;
    core_count_error(&w->core, reply.out->data + start, reply.out->len - start);
    conn__reply_end(c, &reply, start);
    return false;
}

/* What every request must pass before it is placed; false: replied. */
static bool admit(struct worker *w, struct conn *c, const struct request *rq)
{
    const struct cmd_spec *spec = rq->spec;
    if (unlikely(spec == NULL)) {
        if (bytes_is(rq->argv[0], "post") || bytes_is(rq->argv[0], "host:"))
            refuse_browser(c);
        else
            reply_unknown(c, rq);
        return false;
    }
    /* Before the subcommand's arity, as in Redis, where DEBUG alone is looked at; bare "DEBUG" is wrong
     * for everyone. */
    if (unlikely(spec->flags & CMD_PROTECTED) && rq->argc > 1 && !may_debug(c)) {
        place__reply_error(
            c, "ERR DEBUG command not allowed. If the enable-debug-command option is set "
               "to \"local\", you can run it from a local connection, otherwise you need "
               "to set this option in the configuration file, and then restart the "
               "server.");
        return false;
    }
    if (unlikely(spec->arity >= 0 ? rq->argc != (uint32_t)spec->arity
                                  : rq->argc < (uint32_t)-spec->arity)) {
        reply_arity(c, spec);
        return false;
    }
    if (unlikely(spec->subs != NULL && spec->run == NULL && spec->run_conn == NULL)) {
        reply_unknown_sub(c, rq);
        return false;
    }
    if (unlikely(!c->session.authenticated) && !(spec->flags & CMD_NO_AUTH)) {
        if (spec->run_conn == multi__exec)
            refuse_exec(c, "NOAUTH Authentication required.");
        else
            place__reply_error(c, "NOAUTH Authentication required.");
        return false;
    }
    if (unlikely(w->map != NULL) && !is_served_here(w, c, rq)) return false;
    if (unlikely(node_loading()) && !(spec->flags & CMD_LOADING)) {
        place__reply_error(c, "LOADING Redis is loading the dataset in memory");
        return false;
    }
    return true;
}

/* True: it waits for a transaction of its own connection. */
static bool held_back(struct worker *w, struct conn *c, const struct request *rq)
{
    if (likely(c->txns == 0) || !txn__holds_back(w, c, rq)) return false;
    place__stall(w, c, CONN_WAIT_ORDER);
    return true;
}

/* On the shard that holds the keys it declares: this one, or one that sleeps (script.c). */
static void run_script_on(struct worker *w, struct conn *c, struct request *rq, uint32_t shard)
{
    struct core *core = shard == w->index ? &w->core : lend__core(w, shard);
    size_t start;
    struct reply reply = conn__reply_begin(c, &start);
    if (shard == w->index)
        core_run(core, rq, &reply);
    else
        lend__run(w, shard, rq, &reply);
    bool widened = script__end(w);
    if (widened) core = &w->core; /* the other may be gone */
    if (unlikely(reply.errored))
        core_count_error(core, reply.out->data + start, reply.out->len - start);
    uint64_t gate = widened ? core_gate(core) : core == &w->core ? core->gate_lsn : 0;
    if (unlikely(gate > c->gate_lsn)) c->gate_lsn = gate;
    conn__reply_end(c, &reply, start);
    if (core_must_serve(&w->core)) core_serve(&w->core);
}

/* While anything is under way on this shard, of transactions over several, it runs alone. */
static void run_script(struct worker *w, struct conn *c, struct request *rq)
{
    uint32_t shard;
    if (held_back(w, c, rq)) return;
    if (unlikely(c->pends_count > 0) && place__shards_of(w, rq) == 0) { /* it may want any key */
        place__stall(w, c, CONN_WAIT_ORDER);
        return;
    }
    if (!one_shard(w, rq, &shard)) {
        span__place(w, c, rq, place__shards_of(w, rq));
        return;
    }
    rq->key.db = c->session.db;
    rq->no_touch = c->session.no_touch;
    bool quiet = sched_is_empty(&w->core.sched);
    if (shard == w->index && unlikely(!quiet)) {
        span__place(w, c, rq, place__shards_of(w, rq) | UINT64_C(1) << w->index);
        return;
    }
    if (shard == w->index) {
        if (script__begin_soon(w))
            run_script_on(w, c, rq, shard);
        else
            c->skip_batch =
                w->batch_id; /* others are served meanwhile; it comes again in the next pass */
    } else if (!quiet || !script__try_begin()) {
        run_there(w, c, rq, shard);
    } else if (lend__take(w, shard)) {
        run_script_on(w, c, rq, shard);
    } else {
        (void)script__end(w);
        run_there(w, c, rq, shard);
    }
}

/* pipeline-order strict: a write is not seen before what its connection asked earlier. On one shard that is so
 * anyway, and what concerns the connection waits for all replies. */
COLD static bool waits_for_order(struct worker *w, struct conn *c, struct request *rq)
{
    uint32_t shard;
    if (!config.strict_order || !(rq->spec->flags & MAY_WRITE)) return false;
    if (rq->spec->spread == SPREAD_KEY && one_shard(w, rq, &shard) && c->pends_shard == shard)
        return false;
    place__stall(w, c, CONN_WAIT_ORDER);
    return true;
}

static void place(struct worker *w, struct conn *c, struct request *rq)
{
    uint32_t shard;
    if (unlikely(c->pends_count > 0) && waits_for_order(w, c, rq)) return;
    switch (rq->spec->spread) {
    case SPREAD_CONN:
        run_conn(w, c, rq);
        return;
    case SPREAD_KEY:
        if (held_back(w, c, rq)) return;
        if (likely(one_shard(w, rq, &shard)))
            run_on(w, c, rq, shard);
        else
            span__place(w, c, rq, place__shards_of(w, rq));
        return;
    case SPREAD_SCRIPT:
        run_script(w, c, rq);
        return;
    case SPREAD_WAIT:
    case SPREAD_WAIT_MOVE:
        block__place(w, c, rq);
        return;
    case SPREAD_SUM:
    case SPREAD_GATHER:
    case SPREAD_ALL_OK:
    case SPREAD_ALL_NEW:
        if (!split__keys(w, c, rq, &shard) && !held_back(w, c, rq)) run_on(w, c, rq, shard);
        return;
    case SPREAD_EVERY_SUM:
    case SPREAD_EVERY_CONCAT:
    case SPREAD_EVERY_OK:
        if (!split__everywhere(w, c, rq)) run_here(w, c, rq);
        return;
    case SPREAD_CURSOR:
        if (!held_back(w, c, rq)) run_on(w, c, rq, place__shard_of_cursor(w, rq));
        return;
    case SPREAD_ANY:
        if (unlikely(c->pends_count > 0)) /* what came before changes the numbers of keys */
            place__stall(w, c, CONN_WAIT_ORDER);
        else
            run_on(w, c, rq, place__shard_by_keys(w, c->session.db));
        return;
    }
}

/* A request between MULTI and its end. */
static void run_in_multi(struct worker *w, struct queued *q)
{
    struct conn *c = q->conn;
    const struct cmd_spec *spec = q->rq.spec;
    if (log_behind(w) && spec != NULL && spec->run_conn == multi__exec && multi__writes(c)) {
        stall_for_room(w, c, ROOM_LOG);
        return;
    }
    c->commands++;
    w->running = c;
    if (spec != NULL) c->last_spec = spec;
    if (!admit(w, c, &q->rq))
        multi__abort(c);
    else if (spec->flags & CMD_AT_ONCE)
        place(w, c, &q->rq);
    else
        multi__queue(c, &q->rq);
    if (c->skip_batch == w->batch_id && !(c->flags & CONN_RAN)) {
        c->commands--;
        return;
    }
    c->flags &= ~(uint32_t)CONN_RAN;
    c->consumed = q->end;
}

/* Protocol errors, and output beyond its bounds; true: nothing is to be run. */
HOT_INLINE bool may_not_run(struct worker *w, struct queued *q)
{
    struct conn *c = q->conn;
    if (unlikely(q->bad != NULL)) {
        char text[256];
        (void)snprintf(text, sizeof text, "ERR %s", q->bad);
        place__reply_error(c, text);
        conn_close_after_reply(c);
        return true;
    }
    /* What one pass may answer is not bounded by what it takes: 512 GETs of a megabyte each. */
    if (unlikely(conn_output_bytes(c) > OUT_PAUSE_BYTES)) {
        place__stall(w, c, CONN_WAIT_OUTPUT);
        return true;
    }
    return false;
}

HOT_INLINE void run_queued_conn(struct worker *w, struct queued *q)
{
    struct conn *c = q->conn;
    const uint32_t stops = CONN_CLOSING | CONN_CLOSE_AFTER_REPLY | CONN_WAIT_KEYS | CONN_WAIT_ORDER;
    if (unlikely((c->flags & (stops | CONN_MULTI)) || c->skip_batch == w->batch_id)) {
        if ((c->flags & stops) || c->skip_batch == w->batch_id) {
            c->skip_batch = w->batch_id; /* it may wait no more before the batch ends */
            return;
        }
        if (q->rq.argc > 0) {
            if (!may_not_run(w, q)) run_in_multi(w, q);
            return;
        }
    }
    if (unlikely(may_not_run(w, q))) return;
    if (unlikely(log_behind(w)) && q->rq.argc > 0 && q->rq.spec != NULL &&
        (q->rq.spec->flags & MAY_WRITE)) {
        stall_for_room(w, c, ROOM_LOG);
        return;
    }
    if (likely(q->rq.argc > 0)) {
        c->commands++;
        w->running = c;
        if (q->rq.spec != NULL) c->last_spec = q->rq.spec;
        if (likely(admit(w, c, &q->rq))) place(w, c, &q->rq);
        if (unlikely(c->skip_batch == w->batch_id)) { /* stalled: it runs when it is its turn */
            c->commands--;
            return;
        }
    }
    c->consumed = q->end;
}

/* ---- requests of peers */

void place__run_peer(struct worker *w, struct queued *q)
{
    struct reply reply = {.out = &w->part_reply, .proto = q->proto};
    bool is_script = q->rq.spec->spread == SPREAD_SCRIPT;
    if (unlikely(is_script)) script__begin(w);
    worker_runs_for(w, q->from, q->conn_index, q->conn_id);
    core_run(&w->core, &q->rq, &reply);
    worker_runs_for_nobody(w);
    if (unlikely(is_script) && script__end(w)) w->core.gate_lsn = core_gate(&w->core);
    if (unlikely(reply.errored)) core_count_error(&w->core, w->part_reply.data, w->part_reply.len);
    answer__send(w, q, &w->part_reply);
    if (core_must_serve(&w->core)) core_serve(&w->core);
    if (unlikely(q->block != NULL)) {
        mem_free(MEM_REPLY, q->block, q->block_bytes);
        answer__took_block(w, q);
    }
}

static void run_queued_peer(struct worker *w, struct queued *q)
{
    if (q->rq.argc == 0) {
        txn__arrive(w, q);
        return;
    }
    if (q->known.hashes != NULL) {
        collect__serve(w, q);
        return;
    }
    if (unlikely(w->peers[q->from].over > 0) && answer__gave_back(w, q)) return;
    if (unlikely(!sched_is_empty(&w->core.sched)) && wait__peer(w, q)) return;
    place__run_peer(w, q);
}

/* Requests whose lines are brought near together. A core keeps some twenty misses in flight, and a prefetch
 * that has to wait for its page walk or for a free place holds up all behind it: groups of 16 cost 10 to 15 %
 * less than groups of 32 or than loading ahead one by one while others run. */
#define GROUP 16u

/* The keyspace that holds the first key, if it may be looked at now. */
static struct keyspace *keyspace_of(struct worker *w, const struct request *rq)
{
    if (rq->argc == 0 || rq->spec == NULL || rq->spec->keys.first <= 0 ||
        rq->argc <= (uint32_t)rq->spec->keys.first)
        return NULL;
    uint32_t shard = slot_shard(rq->key.slot, w->core.count);
    if (likely(shard == w->index)) return w->core.ks;
    return lend__take(w, shard) ? lend__core(w, shard)->ks : NULL;
}

/* HGET, SADD, ZSCORE … on big collections: the bucket and the node of the element, in the same way. */
static void prefetch_elements(struct keyspace *const *ks, const struct queued *q,
                              const uint32_t *here, uint32_t keys)
{
    const struct record *record[GROUP];
    uint64_t hash[GROUP];
    uint32_t n = 0, more = 0;
    for (uint32_t k = 0; k < keys; k++) {
        const struct request *rq = &q[here[k]].rq;
        if (likely(rq->spec->element == 0) || rq->spec->element >= rq->argc) continue;
        struct record *r = db_find(ks[k], &rq->key);
        if (r == NULL || !(r->flags & RECORD_OUT))
            continue; /* packed and inline: it is here already */
        record[n] = r;
        hash[n] = hash_bytes(rq->argv[rq->spec->element]);
        value_prefetch_bucket(r, hash[n++]);
    }
    for (uint32_t k = 0; k < n; k++) {
        if (!value_prefetch_item(record[k], hash[k])) continue;
        record[more] = record[k];
        hash[more++] = hash[k];
    }
    for (uint32_t k = 0; k < more; k++)
        value_prefetch_overflow(record[k], hash[k]);
}

/* The slot heads were asked for while parsing; now sweep by sweep the buckets, the records, and for the few
 * keys that lie in an overflow bucket that bucket's record. */
static void prefetch_group(struct worker *w, const struct queued *q, uint32_t n)
{
    struct keyspace *ks[GROUP];
    uint32_t here[GROUP], overflow[GROUP], keys = 0, more = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (q[i].conn == NULL && q[i].known.hashes != NULL)
            continue; /* collect.c loads more of them at once */
        ks[keys] = keyspace_of(w, &q[i].rq);
        if (ks[keys] == NULL) {
            if (q[i].conn == NULL && q[i].rq.argc == 0) txn__prefetch(q[i].part_here);
            continue;
        }
        db_prefetch_bucket(ks[keys], &q[i].rq.key);
        if (q[i].rq.spec->flags & CMD_WRITE) db_prefetch_counters(ks[keys], &q[i].rq.key);
        here[keys++] = i;
    }
    for (uint32_t k = 0; k < keys; k++)
        if (db_prefetch_record(ks[k], &q[here[k]].rq.key)) overflow[more++] = k;
    for (uint32_t k = 0; k < more; k++)
        db_prefetch_overflow(ks[overflow[k]], &q[here[overflow[k]]].rq.key);
    prefetch_elements(ks, q, here, keys);
}

void place__run(struct worker *w)
{
    for (uint32_t at = 0; at < w->batch_count; at += GROUP) {
        uint32_t n = w->batch_count - at < GROUP ? w->batch_count - at : GROUP;
        struct queued *q = w->batch + at;
        prefetch_group(w, q, n);
        for (uint32_t i = 0; i < n; i++) {
            if (unlikely(w->core.ticks > w->due_ticks)) worker_see_to_due(w);
            if (q[i].conn != NULL)
                run_queued_conn(w, &q[i]);
            else
                run_queued_peer(w, &q[i]);
        }
    }
    /* It may be gone by the next pass. What runs outside of a batch says whose it is. */
    w->running = NULL;
    lend__give_back(w);
}

/* ---- messages coming in */

static void take_request(struct worker *w, uint32_t from, const struct msg_request *m)
{
    struct queued *q = &w->batch[w->batch_count++];
    *q = (struct queued){
        .conn_id = m->conn_id,
        .conn_index = m->conn_index,
        .pend = m->pend,
        .part = m->part,
        .from = from,
        .taken = m->taken,
        .round = m->round,
        .proto = m->proto,
        .block = m->block,
        .block_bytes = m->block_bytes,
        .rq = {.spec = m->spec,
               .argc = m->argc,
               .wire_bytes = m->wire_bytes,
               .no_touch = m->no_touch},
    };
    const uint8_t *lengths = m->kind == MSG_BLOCK ? m->block : (const uint8_t *)(m + 1);
    struct bytes *argv = arena_alloc(&w->args, m->argc * sizeof *argv);
    place__read_args(lengths, argv, m->argc);
    q->rq.argv = argv;
    q->rq.key = (struct db_key){.hash = m->hash, .slot = m->slot, .db = m->db};
    if (m->spec->keys.first > 0 && (uint32_t)m->spec->keys.first < m->argc) {
        q->rq.key.name = argv[m->spec->keys.first];
        db_prefetch_slot(w->core.ks, &q->rq.key);
    }
}

/* Runs in the order of the batch: its connection's commands from before come first. */
static void take_txn(struct worker *w, uint32_t from, struct tx_part *p)
{
    struct queued *q = &w->batch[w->batch_count++];
    *q = (struct queued){.from = from, .part_here = p};
    __builtin_prefetch(p, 1);
    __builtin_prefetch((uint8_t *)p + 64, 1);
}

static void everywhere_here(struct worker *w, uint32_t from, struct everywhere *e)
{
    if (e->begin != NULL) {
        e->begin(w, e, e->arg);
        return;
    }
    e->part(w, e->arg, &e->out[w->index]);
    struct msg_answer a = {.conn_id = e->conn_id,
                           .conn_index = e->conn_index,
                           .pend = e->pend,
                           .part = w->index,
                           .kind = ANSWER_EVERYWHERE,
                           .everywhere = e};
    answer__push(w, from, &a, bytes_view(NULL, 0));
}

static void answer_probe(struct worker *w, uint32_t from, const struct msg_request *m)
{
    struct msg_answer a = {.conn_id = m->conn_id, .conn_index = m->conn_index, .pend = m->pend};
    answer__push(w, from, &a, bytes_view(NULL, 0));
}

void place__take_requests(struct worker *w)
{
    /* Peers may ask without end: half of a batch is for the connections that live here, and each batch
     * begins with another peer. */
    uint32_t most = w->ready_head != NULL ? BATCH_MAX / 2 : BATCH_MAX;
    size_t block_bytes = 0;
    if (unlikely(log_behind(w))) return; /* their turn comes when the disk has caught up */
    for (uint32_t k = 0; k < w->core.count; k++) {
        uint32_t s = (uint32_t)((w->batch_id + k) % w->core.count);
        if (s == w->index) continue;
        void *message;
        size_t bytes;
        while (w->batch_count < most && block_bytes < TAKE_BLOCK_BYTES &&
               mailbox_next(w->peers[s].requests_in, &message, &bytes)) {
            struct msg_request *m = message;
            switch ((enum msg_kind)m->kind) {
            case MSG_REQUEST:
            case MSG_BLOCK:
                take_request(w, s, m);
                block_bytes += m->block_bytes;
                break;
            case MSG_COLLECT:
                collect__take(w, s, m);
                break;
            case MSG_TXN:
                take_txn(w, s, m->tx_part);
                break;
            case MSG_SOCKET:
                worker_adopt(w, m->fd, m->is_unix != 0);
                break;
            case MSG_EVERYWHERE:
                everywhere_here(w, s, m->everywhere);
                break;
            case MSG_EXEC:
                block_bytes += m->block_bytes;
                multi__take_exec(w, s, m);
                break;
            case MSG_WATCH:
                block_bytes += m->block_bytes;
                multi__take_watch(w, s, m);
                break;
            case MSG_UNWATCH:
                core_unwatch(&w->core, m->hash);
                break;
            case MSG_PROBE:
                answer_probe(w, s, m);
                break;
            }
        }
    }
}

HOT_INLINE void publish(struct worker *w)
{
    if (unlikely(w->served_head != NULL)) block__publish(w);
    w->owes_publish = false;
    if (w->txn.posted != 0) txn__publish(w);
    for (uint32_t s = 0; s < w->core.count; s++) {
        if (s == w->index) continue;
        struct peer *p = &w->peers[s];
        bool news = mailbox_release(p->requests_in);
        news |= p->owes_wake;
        p->owes_wake = false;
        if (unlikely(p->unwatch.len > 0)) multi__publish(w, s);
        news |= mailbox_publish(p->requests_out);
        news |= mailbox_publish(p->answers_out);
        if (news) reactor_wake(&p->worker->core.reactor);
    }
}

void place__publish(struct worker *w)
{
    publish(w);
}

void place__publish_for(struct worker *owner)
{
    publish(owner);
}

bool place__pending(struct worker *w)
{
    for (uint32_t s = 0; s < w->core.count; s++) {
        if (s == w->index) continue;
        if (mailbox_pending(w->peers[s].answers_in)) return true;
        if (mailbox_pending(w->peers[s].requests_in) && !log_behind(w)) return true;
    }
    return block__noted(w) || (unlikely(w->room != NULL) && room_came(w));
}

bool place__hand_over(struct worker *w, struct worker *to, int fd, bool is_unix)
{
    struct peer *p = &w->peers[to->index];
    if (mailbox_room(p->requests_out) < sizeof(struct msg_request) + REQUEST_INLINE_MAX)
        return false;
    struct msg_request *m = mailbox_reserve(p->requests_out, sizeof *m);
    assert(m != NULL);
    *m = (struct msg_request){.kind = MSG_SOCKET, .fd = fd, .is_unix = is_unix};
    mailbox_push(p->requests_out, sizeof *m);
    return true;
}

static struct everywhere *everywhere_new(const struct call *call, everywhere_join *join, void *arg,
                                         uint32_t answers)
{
    struct conn *c = call_conn(call);
    assert(!(call->spec->flags & CMD_FAST)); /* inside EXEC nobody looks for room for those */
    struct everywhere *e = mem_zalloc(MEM_REPLY, sizeof *e);
    e->join = join;
    e->arg = arg;
    e->asker = c->worker->index;
    e->spec = call->spec;
    e->conn_id = c->id;
    e->conn_index = c->index;
    e->left = answers;
    e->in_exec = c->in_exec;
    e->element = c->exec_element;
    e->pend = c->in_exec ? c->exec_pend : conn__pend(c, 1, NULL);
    if (e->in_exec) multi__element_due(c);
    return e;
}

static void send_everywhere(struct worker *w, uint32_t to, struct everywhere *e)
{
    struct peer *p = &w->peers[to];
    struct msg_request *m = mailbox_reserve(p->requests_out, sizeof *m);
    assert(m != NULL); /* run_conn() looked */
    *m = (struct msg_request){.kind = MSG_EVERYWHERE, .everywhere = e};
    mailbox_push(p->requests_out, sizeof *m);
    p->outstanding++;
}

void worker_everywhere(struct call *call, everywhere_part *part, everywhere_join *join, void *arg)
{
    struct conn *c = call_conn(call);
    struct worker *w = c->worker;
    struct everywhere *e = everywhere_new(call, join, arg, w->core.count);
    e->part = part;
    e->count = w->core.count;
    for (uint32_t i = 0; i < e->count; i++)
        buf_init(&e->out[i], MEM_REPLY);
    w->outstanding += w->core.count - 1;
    for (uint32_t s = 0; s < w->core.count; s++)
        if (s != w->index) send_everywhere(w, s, e);
    part(w, arg, &e->out[w->index]);
    answer__everywhere(w, e);
}

void worker_answer(struct worker *w, struct everywhere *e)
{
    if (e->asker == w->index) {
        w->outstanding--;
        answer__everywhere(w, e);
        return;
    }
    struct msg_answer a = {.conn_id = e->conn_id,
                           .conn_index = e->conn_index,
                           .pend = e->pend,
                           .kind = ANSWER_EVERYWHERE,
                           .everywhere = e};
    answer__push(w, e->asker, &a, bytes_view(NULL, 0));
}

void worker_ask(struct call *call, uint32_t to, ask_begin *begin, everywhere_join *join, void *arg)
{
    struct conn *c = call_conn(call);
    struct worker *w = c->worker;
    struct everywhere *e = everywhere_new(call, join, arg, 1);
    e->begin = begin;
    c->flags |= CONN_WAIT_ORDER;
    w->outstanding++; /* a stop waits for it */
    if (to == w->index) {
        begin(w, e, arg);
        return;
    }
    send_everywhere(w, to, e);
}
