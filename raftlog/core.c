/* raftlog/core.c: the calls of raftlog.h around one struct raft. The only file that turns RAFT_… codes
 * into ours. */
#include "raftlog/raftlog_priv.h"

#include <stdio.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"

#define HEARTBEAT_MS 100u
#define ELECTION_MS 600u
#define SNAPSHOT_ENTRIES 4096u
#define SNAPSHOT_BYTES (8u << 20)
#define TRAILING_ENTRIES 4096u
#define INSTALL_TIMEOUT_MS 10000u
#define MARK_AFTER_MS 1000u /* without writing */

struct batch {
    struct raft_apply req;
};
struct barrier {
    struct raft_barrier req;
    struct rl *rl;
    struct rl_call *call; /* NULL: our own, after an election */
};

/* ---- results */

static void push_call(struct rl_call **first, struct rl_call **last, struct rl_call *call)
{
    call->next = NULL;
    if (*last != NULL)
        (*last)->next = call;
    else
        *first = call;
    *last = call;
}

static struct rl_call *pop_call(struct rl_call **first, struct rl_call **last)
{
    struct rl_call *call = *first;
    *first = call->next;
    if (*first == NULL) *last = NULL;
    return call;
}

/* Its result is set; `done` follows from the pump. */
void rl__call_done(struct rl *rl, struct rl_call *call)
{
    if (call->entry != NULL) raft_free(call->entry);
    call->entry = NULL;
    push_call(&rl->done_first, &rl->done_last, call);
}

static void call_end(struct rl *rl, struct rl_call *call, enum rl_outcome outcome)
{
    call->result = (struct rl_result){.outcome = outcome};
    rl__call_done(rl, call);
}

void rl__applied(struct rl *rl, uint64_t index, enum rl_outcome outcome, uint32_t code)
{
    struct rl_call *call = rl->flight_first;
    if (call == NULL || call->result.index != rl->raft.last_applied + 1) return;
    (void)pop_call(&rl->flight_first, &rl->flight_last_call);
    call->result = (struct rl_result){.outcome = outcome, .code = code, .index = index};
    rl__call_done(rl, call);
}

static uint64_t leader_of(const struct rl *rl)
{
    if (rl->failed || rl->raft.state == RAFT_UNAVAILABLE) return 0;
    if (rl->raft.state == RAFT_LEADER) return rl->opts.id;
    return rl->raft.state == RAFT_FOLLOWER ? rl->raft.follower_state.current_leader.id : 0;
}

static void hand_out(struct rl *rl)
{
    while (rl->done_first != NULL) {
        struct rl_call *call = pop_call(&rl->done_first, &rl->done_last);
        struct rl_result result = call->result;
        result.leader = leader_of(rl);
        call->done(call, &result); /* may free it */
    }
}

/* ---- leading */

static void flight_lost(struct rl *rl)
{
    while (rl->flight_first != NULL)
        call_end(rl, pop_call(&rl->flight_first, &rl->flight_last_call), RL_UNKNOWN);
    rl->flight_last = 0;
}

static void queue_refused(struct rl *rl)
{
    while (rl->queue_first != NULL)
        call_end(rl, pop_call(&rl->queue_first, &rl->queue_last), RL_NOT_LEADER);
    rl->queue_count = 0;
}

static void barrier_done(struct raft_barrier *req, int status)
{
    struct barrier *b = container_of(req, struct barrier, req);
    if (b->call != NULL) {
        b->call->result = (struct rl_result){.outcome = status == 0 ? RL_APPLIED : RL_UNKNOWN,
                                             .index = req->index};
        rl__call_done(b->rl, b->call);
    }
    raft_free(b);
}

static void start_barrier(struct rl *rl, struct rl_call *call)
{
    struct barrier *b = raft_malloc(sizeof *b);
    *b = (struct barrier){.rl = rl, .call = call};
    int rv = raft_barrier(&rl->raft, &b->req, barrier_done);
    assert(rv == 0); /* leads, no transfer, our io never refuses */
    rl->flight_last = rl__last_index(rl);
}

static void batch_done(struct raft_apply *req, int status, void *result)
{
    (void)status; /* each proposal is answered when it is applied, or when leading ends */
    (void)result;
    raft_free(container_of(req, struct batch, req));
}

static void start_batch(struct rl *rl)
{
    struct raft_buffer bufs[RAFT_BATCH_ENTRIES_MAX];
    uint32_t n = 0;
    uint64_t bytes = 0, first = rl__last_index(rl) + 1;
    while (n < RAFT_BATCH_ENTRIES_MAX && rl->queue_first != NULL &&
           rl->queue_first->entry != NULL &&
           (n == 0 || bytes + rl->queue_first->entry_bytes <= RAFT_BATCH_BYTES_MAX)) {
        struct rl_call *call = pop_call(&rl->queue_first, &rl->queue_last);
        rl->queue_count--;
        bytes += call->entry_bytes;
        bufs[n] = (struct raft_buffer){.base = call->entry, .len = call->entry_bytes};
        call->entry = NULL; /* libraft's now */
        call->result.index = first + n++;
        push_call(&rl->flight_first, &rl->flight_last_call, call);
    }
    struct batch *b = raft_malloc(sizeof *b);
    int rv = raft_apply(&rl->raft, &b->req, bufs, n, batch_done);
    assert(rv == 0);
    rl->flight_last = first + n - 1;
}

static bool may_start(const struct rl *rl)
{
    const struct raft *r = &rl->raft;
    if (r->state != RAFT_LEADER || r->transfer != NULL || rl->closing) return false;
    if (rl->lead_from == 0) return true;
    if (rl->queue_first == NULL) return false;
    return !guard_on(GUARD_ONE_BATCH) || r->last_applied >= rl->flight_last;
}

static void start_next(struct rl *rl)
{
    if (rl->lead_from == 0) {
        start_barrier(rl, NULL);
        rl->lead_from = rl->flight_last;
    } else if (rl->queue_first->entry == NULL) {
        struct rl_call *call = pop_call(&rl->queue_first, &rl->queue_last);
        rl->queue_count--;
        start_barrier(rl, call);
    } else {
        start_batch(rl);
    }
    rl__after_call(rl);
}

static void transfer_check(struct rl *rl)
{
    if (rl->transfer_call == NULL) return;
    bool leads = leader_of(rl) == rl->transfer_to;
    bool over = rl->now_ms >= rl->transfer_until_ms || rl->raft.state == RAFT_UNAVAILABLE;
    if (!leads && !over) return;
    call_end(rl, rl->transfer_call, leads ? RL_APPLIED : RL_UNKNOWN);
    rl->transfer_call = NULL;
}

/* Two of three that stand in the same tick split the votes, and one that stands a little earlier than the
 * other has given the old leader up is refused. libraft would let another election's time go by, with
 * nobody leading; a first attempt is therefore repeated soon. Later ones take their time: should votes be
 * slower than this, they must not be cut short for ever. */
static void retry_soon(struct rl *rl)
{
    struct raft *r = &rl->raft;
    if (r->state != RAFT_CANDIDATE || rl->seen_state == RAFT_CANDIDATE) return;
    r->candidate_state.randomized_election_timeout =
        rl->opts.election_ms / 4 + (unsigned)rng_below(&rl->rng, rl->opts.election_ms / 2 + 1);
}

/* What changed in libraft since the last look. */
static void look(struct rl *rl)
{
    struct raft *r = &rl->raft;
    retry_soon(rl);
    bool led = rl->seen_state == RAFT_LEADER, leads = r->state == RAFT_LEADER;
    if (led && (!leads || r->current_term != rl->seen_term)) {
        flight_lost(rl);
        rl->lead_from = 0;
    }
    if (leads && (!led || r->current_term != rl->seen_term)) rl->lead_from = 0;
    if (!leads) queue_refused(rl);
    uint64_t leader = leader_of(rl);
    if (leader != rl->seen_leader || r->state != rl->seen_state) rl->tell_changed = true;
    rl->seen_leader = leader;
    rl->seen_state = r->state;
    rl->seen_term = r->current_term;
    transfer_check(rl);
}

/* ---- stopping */

void rl__stop(struct rl *rl, const char *why)
{
    if (rl->failed) return;
    rl->failed = true;
    (void)snprintf(rl->failure, sizeof rl->failure, "%s", why);
    log_warning("raftlog", "this member stops: %s", rl->failure);
    if (rl->raft.state != RAFT_UNAVAILABLE && rl->change_call != NULL) {
        call_end(rl, rl->change_call, RL_UNKNOWN);
        rl->change_call = NULL;
    }
    flight_lost(rl);
    queue_refused(rl);
    if (rl->transfer_call != NULL) call_end(rl, rl->transfer_call, RL_UNKNOWN);
    rl->transfer_call = NULL;
    rl->tell_changed = true;
}

#ifdef MOON_TEST
/* What happens without guard 9: libraft is told, and goes on. */
static void disk_error_shrugged(struct rl *rl)
{
    struct store *s = &rl->store;
    s->failed = s->busy = false;
    s->why[0] = '\0';
    s->head_op = s->tail_op = s->running = NULL;
    s->step_at = s->step_count = 0;
    rl__io_fail(rl);
}
#endif

static void check_health(struct rl *rl)
{
#ifdef MOON_TEST
    if (rl->store.failed && !guard_on(GUARD_FAIL_STOP) && !rl->failed) disk_error_shrugged(rl);
#endif
    if (rl->store.failed) {
        rl__stop(rl, rl->store.why);
    } else if (rl->started && !rl->closing && rl->raft.state == RAFT_UNAVAILABLE) {
        char why[RAFT_ERRMSG_BUF_SIZE + 64];
        (void)snprintf(why, sizeof why, "libraft gave up: %s", raft_errmsg(&rl->raft));
        rl__stop(rl, why);
    }
}

/* ---- messages in */

bool rl__is_member(const struct rl *rl, uint64_t id)
{
    for (uint32_t i = 0; i < rl->raft.configuration.n; i++)
        if (rl->raft.configuration.servers[i].id == id) return true;
    return false;
}

const char *rl__address_of(const struct rl *rl, uint64_t id)
{
    for (uint32_t i = 0; i < rl->raft.configuration.n; i++)
        if (rl->raft.configuration.servers[i].id == id)
            return rl->raft.configuration.servers[i].address;
    return ""; /* who joins knows nobody: the bus finds the way by the id */
}

static void deliver_to_raft(struct rl *rl, struct bytes message)
{
    struct raft_message m;
    char address[RAFT_ADDRESS_BYTES_MAX];
    if (!wire_get(message, &m)) {
        rl->dropped++;
        return;
    }
    (void)snprintf(address, sizeof address, "%s", rl__address_of(rl, m.server_id));
    m.server_address = address; /* a copy: members may change in the call */
    if (m.type == RAFT_IO_APPEND_ENTRIES && !rl__admit_append(rl, &m)) return;
    int role = m.type == RAFT_IO_REQUEST_VOTE ? rl__before_vote(rl) : -1;
    rl->recv(&rl->io, &m);
    rl__after_vote(rl, role);
}

static void deliver(struct rl *rl, const struct wire_head *head, struct bytes message)
{
    switch (head->type) {
    case WIRE_PIECE:
        rl__pieces_receive(rl, head, message);
        break;
    case WIRE_PIECE_ACK:
        rl__pieces_ack(rl, head, message);
        break;
    case WIRE_TIMEOUT_NOW:
        if (guard_on(GUARD_BUSY) && rl__disk_appends(rl)) return;
        deliver_to_raft(rl, message);
        break;
    default:
        deliver_to_raft(rl, message);
        break;
    }
    rl__after_call(rl);
}

static void hold(struct rl *rl, struct bytes message)
{
    if (rl->held_count == RAFT_HELD_MAX) {
        rl->dropped++;
        return;
    }
    struct held *h = mem_alloc(MEM_RAFT, sizeof *h + message.len);
    h->next = NULL;
    h->bytes = (uint32_t)message.len;
    memcpy(h->data, message.data, message.len);
    if (rl->held_last != NULL)
        rl->held_last->next = h;
    else
        rl->held_first = h;
    rl->held_last = h;
    rl->held_count++;
    rl->held_total++;
}

static void held_free(struct rl *rl, struct held *h)
{
    rl->held_count--;
    mem_free(MEM_RAFT, h, sizeof *h + h->bytes);
}

/* Lets in what need not be held any more. False: nothing. */
static bool let_in_held(struct rl *rl)
{
    bool any = false;
    struct held *list = rl->held_first;
    rl->held_first = rl->held_last = NULL;
    while (list != NULL) {
        struct held *h = list;
        list = h->next;
        h->next = NULL;
        struct wire_head head;
        bool known = wire_head_get(rl, bytes_view(h->data, h->bytes), &head);
        assert(known);
        if (!rl->failed && rl__must_hold(rl, &head)) {
            if (rl->held_last != NULL)
                rl->held_last->next = h;
            else
                rl->held_first = h;
            rl->held_last = h;
            continue;
        }
        if (!rl->failed) deliver(rl, &head, bytes_view(h->data, h->bytes));
        held_free(rl, h);
        any = true;
    }
    return any;
}

/* ---- the pump */

static bool pump_once(struct rl *rl)
{
    check_health(rl);
    bool more = false;
    if (rl__io_pending(rl)) {
        rl__io_finish(rl);
        rl__after_call(rl);
        more = true;
    }
    if (!rl->failed) look(rl);
    check_health(rl);
    if (!rl->failed && may_start(rl)) {
        start_next(rl);
        more = true;
    }
    if (let_in_held(rl)) more = true;
    rl__send_ready(rl);
    if (rl->done_first != NULL) {
        hand_out(rl);
        more = true;
    }
    return more;
}

void rl__pump(struct rl *rl)
{
    if (rl->in_pump || !rl->started) return;
    rl->in_pump = true;
    while (pump_once(rl)) {
    }
    rl->in_pump = false;
    if (!rl->tell_changed) return;
    rl->tell_changed = false;
    if (rl->opts.link.changed != NULL && !rl->closing) rl->opts.link.changed(rl->opts.link.ctx);
}

void rl__disk_changed(struct store *s)
{
    rl__pump(s->owner);
}

static void set_now(struct rl *rl, uint64_t now_ms)
{
    if (now_ms > rl->now_ms) rl->now_ms = now_ms;
}

void rl_receive(struct rl *rl, uint64_t now_ms, struct bytes message)
{
    struct wire_head head;
    if (rl->failed || rl->closing) return;
    set_now(rl, now_ms);
    if (!wire_head_get(rl, message, &head)) {
        rl->dropped++;
        return;
    }
    if (rl__must_hold(rl, &head))
        hold(rl, message);
    else
        deliver(rl, &head, message);
    rl__pump(rl);
}

void rl_run(struct rl *rl)
{
    rl__pump(rl);
}

void rl_tick(struct rl *rl, uint64_t now_ms)
{
    if (rl->failed || rl->closing) {
        rl__pump(rl);
        return;
    }
    set_now(rl, now_ms);
    /* An election while entries are on their way to our disk would compare a log that is not there. */
    bool busy = guard_on(GUARD_BUSY) && rl->raft.state != RAFT_LEADER && rl__disk_appends(rl);
    if (!busy) rl->tick(&rl->io);
    rl__after_call(rl);
    rl__pieces_tick(rl);
    if (!store_is_idle(&rl->store)) rl->last_mark_ms = rl->now_ms;
    if (rl->now_ms - rl->last_mark_ms >= MARK_AFTER_MS) {
        rl->last_mark_ms = rl->now_ms;
        store_mark(&rl->store);
    }
    rl__pump(rl);
}

/* ---- calls */

static enum rc call_start(struct rl *rl, struct rl_call *call)
{
    assert(call->done != NULL);
    call->next = NULL;
    call->entry = NULL;
    call->entry_bytes = 0;
    call->result = (struct rl_result){0};
    return rl->failed || rl->closing ? RC_CLOSED : RC_OK;
}

static bool leads(const struct rl *rl)
{
    return rl->raft.state == RAFT_LEADER;
}

static enum rc queue_call(struct rl *rl, struct rl_call *call)
{
    push_call(&rl->queue_first, &rl->queue_last, call);
    rl->queue_count++;
    return RC_OK;
}

enum rc rl_propose(struct rl *rl, struct rl_call *call, const struct rl_request *request,
                   struct bytes payload)
{
    assert(request->node != 0);
    assert(request->counter != 0);
    enum rc rc = call_start(rl, call);
    if (rc != RC_OK) return rc;
    if (payload.len > RAFT_ENTRY_BYTES_MAX) return RC_TOOBIG;
    if (rl->queue_count >= RAFT_QUEUE_MAX) return RC_FULL;
    if (!leads(rl)) {
        call_end(rl, call, RL_NOT_LEADER);
        return RC_OK;
    }
    call->entry = rl__envelope(request, payload, &call->entry_bytes);
    return queue_call(rl, call);
}

enum rc rl_barrier(struct rl *rl, struct rl_call *call)
{
    enum rc rc = call_start(rl, call);
    if (rc != RC_OK) return rc;
    if (rl->queue_count >= RAFT_QUEUE_MAX) return RC_FULL;
    if (leads(rl)) return queue_call(rl, call);
    call_end(rl, call, RL_NOT_LEADER);
    return RC_OK;
}

static void change_done(struct raft_change *req, int status)
{
    struct rl *rl = container_of(req, struct rl, change);
    struct rl_call *call = rl->change_call;
    rl->change_call = NULL;
    if (call == NULL) return;
    enum rl_outcome outcome = RL_UNKNOWN;
    if (status == 0) outcome = RL_APPLIED;
    if (status == RAFT_NOCONNECTION) outcome = RL_REFUSED; /* who was to vote did not catch up */
    call->result = (struct rl_result){.outcome = outcome, .index = rl->raft.configuration_index};
    rl__call_done(rl, call);
}

static uint32_t voters(const struct rl *rl)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rl->raft.configuration.n; i++)
        n += rl->raft.configuration.servers[i].role == RAFT_VOTER;
    return n;
}

static bool change_is_sane(const struct rl *rl, const struct rl_change *c)
{
    if (c->kind == RL_ADD) {
        bool fits = c->address != NULL && strlen(c->address) < RAFT_ADDRESS_BYTES_MAX;
        return fits && c->id != 0 && rl->raft.configuration.n < RAFT_MEMBERS_MAX;
    }
    return c->id != rl->opts.id && rl__is_member(rl, c->id) && voters(rl) > 0;
}

static int change_start(struct rl *rl, const struct rl_change *c)
{
    static const int roles[] = {
        [RL_SPARE] = RAFT_SPARE, [RL_STANDBY] = RAFT_STANDBY, [RL_VOTER] = RAFT_VOTER};
    switch (c->kind) {
    case RL_ADD:
        return raft_add(&rl->raft, &rl->change, c->id, c->address, change_done);
    case RL_ASSIGN:
        return raft_assign(&rl->raft, &rl->change, c->id, roles[c->role], change_done);
    case RL_REMOVE:
        return raft_remove(&rl->raft, &rl->change, c->id, change_done);
    }
    return RAFT_INVALID;
}

static enum rc rc_of(int rv)
{
    if (rv == 0) return RC_OK;
    return rv == RAFT_CANTCHANGE || rv == RAFT_NOTLEADER ? RC_AGAIN : RC_INVALID;
}

enum rc rl_change(struct rl *rl, struct rl_call *call, const struct rl_change *change)
{
    enum rc rc = call_start(rl, call);
    if (rc != RC_OK) return rc;
    if (!leads(rl)) {
        call_end(rl, call, RL_NOT_LEADER);
        return RC_OK;
    }
    if (!change_is_sane(rl, change)) return RC_INVALID;
    if (rl->change_call != NULL || rl->raft.transfer != NULL || rl__change_refused(rl) != NULL)
        return RC_AGAIN;
    if (guard_on(GUARD_CHANGE) && rl->raft.last_applied < rl->flight_last) return RC_AGAIN;
    uint64_t before = rl__last_index(rl);
    rl->change_call = call;
    rc = rc_of(change_start(rl, change));
    if (rc != RC_OK) rl->change_call = NULL;
    if (rl__last_index(rl) > before) rl->flight_last = rl__last_index(rl);
    rl__after_call(rl);
    return rc;
}

enum rc rl_transfer(struct rl *rl, struct rl_call *call, uint64_t id)
{
    enum rc rc = call_start(rl, call);
    if (rc != RC_OK) return rc;
    if (!leads(rl)) {
        call_end(rl, call, RL_NOT_LEADER);
        return RC_OK;
    }
    if (rl->transfer_call != NULL || rl->raft.transfer != NULL || rl->change_call != NULL)
        return RC_AGAIN;
    rc = rc_of(raft_transfer(&rl->raft, &rl->transfer, id, NULL));
    if (rc == RC_OK) {
        rl->transfer_call = call;
        rl->transfer_to = rl->transfer.id;
        rl->transfer_until_ms = rl->now_ms + 2 * rl->opts.election_ms;
    }
    rl__after_call(rl);
    return rc;
}

uint64_t rl_incarnation(const struct rl *rl, uint64_t node)
{
    return sessions_incarnation(&rl->sessions, node);
}

const char *rl_failure(const struct rl *rl)
{
    return rl->failed ? rl->failure : NULL;
}

uint64_t rl_leader(const struct rl *rl)
{
    return leader_of(rl);
}

const char *rl_state_name(enum rl_state s)
{
    static const char *const names[] = {[RL_STOPPED] = "stopped",
                                        [RL_FOLLOWER] = "follower",
                                        [RL_CANDIDATE] = "candidate",
                                        [RL_LEADER] = "leader"};
    return names[s];
}

void rl_status(const struct rl *rl, struct rl_status *out)
{
    const struct raft *r = &rl->raft;
    static const enum rl_state states[] = {[RAFT_UNAVAILABLE] = RL_STOPPED,
                                           [RAFT_FOLLOWER] = RL_FOLLOWER,
                                           [RAFT_CANDIDATE] = RL_CANDIDATE,
                                           [RAFT_LEADER] = RL_LEADER};
    *out = (struct rl_status){
        .state = rl->failed ? RL_STOPPED : states[r->state],
        .id = rl->opts.id,
        .leader = leader_of(rl),
        .term = r->current_term,
        .last_index = rl__last_index(rl),
        .stored_index = r->last_stored,
        .commit_index = r->commit_index,
        .applied_index = r->last_applied,
        .snapshot_index = r->log.snapshot.last_index,
        .members_index = r->configuration_uncommitted_index != 0
                             ? r->configuration_uncommitted_index
                             : r->configuration_index,
        .members_pending = r->configuration_uncommitted_index != 0,
        .ready = !rl->failed && r->state == RAFT_LEADER && rl->lead_from != 0 &&
                 r->last_applied >= rl->lead_from,
        .queued = rl->queue_count,
        .disk_ops = rl->store.ops,
        .snapshots_taken = rl->snapshots_taken,
        .snapshots_installed = rl->snapshots_installed,
        .held = rl->held_total,
        .dropped = rl->dropped,
        .failure = rl->failed ? rl->failure : NULL,
    };
    for (const struct rl_call *c = rl->flight_first; c != NULL; c = c->next)
        out->queued++;
    members_from_raft(&r->configuration, &out->members);
}

/* ---- open and close */

static void set_defaults(struct rl_opts *o)
{
    if (o->heartbeat_ms == 0) o->heartbeat_ms = HEARTBEAT_MS;
    if (o->election_ms == 0) o->election_ms = ELECTION_MS;
    if (o->snapshot_entries == 0) o->snapshot_entries = SNAPSHOT_ENTRIES;
    if (o->snapshot_bytes == 0) o->snapshot_bytes = SNAPSHOT_BYTES;
    if (o->trailing_entries == 0) o->trailing_entries = TRAILING_ENTRIES;
    if (o->segment_bytes == 0) o->segment_bytes = RAFT_SEGMENT_BYTES;
}

static struct store_ids ids_of(const struct rl_opts *o)
{
    struct store_ids ids = {.raft_id = o->id};
    memcpy(ids.cluster, o->cluster_id, sizeof ids.cluster);
    memcpy(ids.node, o->node_id, sizeof ids.node);
    return ids;
}

static void set_raft(struct rl *rl)
{
    struct raft *r = &rl->raft;
    raft_set_election_timeout(r, rl->opts.election_ms);
    raft_set_heartbeat_timeout(r, rl->opts.heartbeat_ms);
    raft_set_install_snapshot_timeout(r, INSTALL_TIMEOUT_MS);
    raft_set_snapshot_threshold(r, rl->opts.snapshot_entries);
    raft_set_snapshot_trailing(r, rl->opts.trailing_entries);
    raft_set_pre_vote(r, true);
}

static void closed(struct raft *r)
{
    (void)r;
}

/* libraft and all that hangs on it; the store is idle, or nobody will hear from it any more. */
static void release_raft(struct rl *rl)
{
    rl->closing = true;
    raft_close(&rl->raft, closed);
    while (rl__io_pending(rl))
        rl__io_finish(rl);
    rl__io_cancel(rl);
    while (rl__io_pending(rl))
        rl__io_finish(rl);
    if (rl->close_cb != NULL) rl->close_cb(&rl->io);
}

static void release(struct rl *rl)
{
    flight_lost(rl);
    queue_refused(rl);
    if (rl->change_call != NULL) call_end(rl, rl->change_call, RL_UNKNOWN);
    if (rl->transfer_call != NULL) call_end(rl, rl->transfer_call, RL_UNKNOWN);
    rl->change_call = rl->transfer_call = NULL;
    hand_out(rl);
    while (rl->held_first != NULL) {
        struct held *h = rl->held_first;
        rl->held_first = h->next;
        held_free(rl, h);
    }
    rl->meta_done = UINT64_MAX;
    rl__send_ready(rl);
    rl__pieces_free(rl);
    sessions_free(&rl->sessions);
    mem_free(MEM_RAFT, rl, sizeof *rl);
}

enum rc rl_open(const struct rl_opts *opts, struct rl **out, char *why_out, size_t why_bytes)
{
    assert(opts->id != 0);
    rl__heap_use();
    struct rl *rl = mem_zalloc(MEM_RAFT, sizeof *rl);
    rl->opts = *opts;
    set_defaults(&rl->opts);
    rl->now_ms = rl->last_mark_ms = opts->now_ms;
    rng_seed(&rl->rng, opts->seed);
    struct store_ids ids = ids_of(opts);
    int rv = 0;
    enum rc rc =
        store_open(&rl->store, opts->io, opts->dir, &ids, rl->opts.segment_bytes, &rl->load);
    if (rc != RC_OK) {
        (void)snprintf(why_out, why_bytes, "%s", rl->store.why);
        goto out_store;
    }
    rl->store.on_done = rl__disk_changed;
    rl->store.owner = rl;
    rl__io_init(rl);
    rl__fsm_init(rl);
    rv = raft_init(&rl->raft, &rl->io, &rl->fsm, opts->id, "self");
    assert(rv == 0);
    set_raft(rl);
    rv = raft_start(&rl->raft);
    if (rv != 0) {
        (void)snprintf(why_out, why_bytes, "%s: %s", opts->dir, raft_strerror(rv));
        rc = RC_CORRUPT;
        goto out_raft;
    }
    store_load_free(&rl->load);
    rl->started = true;
    rl__after_call(rl);
    rl__pump(rl);
    *out = rl;
    return RC_OK;
out_raft:
    release_raft(rl);
out_store:
    store_load_free(&rl->load);
    store_close(&rl->store);
    release(rl);
    return rc;
}

enum rc rl_bootstrap(const struct rl_opts *opts, const struct rl_members *members, char *why_out,
                     size_t why_bytes)
{
    rl__heap_use();
    struct rl_opts o = *opts;
    set_defaults(&o);
    struct store_ids ids = ids_of(&o);
    struct raft_configuration conf;
    struct raft_buffer bytes;
    int rv = members_to_raft(members, &conf);
    if (rv == 0) rv = raft_configuration_encode(&conf, &bytes);
    raft_configuration_close(&conf);
    if (rv != 0) {
        (void)snprintf(why_out, why_bytes, "members: %s", raft_strerror(rv));
        return RC_INVALID;
    }
    enum rc rc = store_bootstrap(o.io, o.dir, &ids, o.segment_bytes,
                                 bytes_view(bytes.base, bytes.len), why_out, why_bytes);
    raft_free(bytes.base);
    return rc;
}

void rl_close(struct rl *rl)
{
    rl->closing = true;
    while (!store_is_idle(&rl->store) && !rl->store.failed)
        (void)io_turn(rl->opts.io, -1);
    release_raft(rl);
    store_close(&rl->store);
    release(rl);
}

void rl_abandon(struct rl *rl)
{
    release_raft(rl);
    store_abandon(&rl->store);
    release(rl);
}
