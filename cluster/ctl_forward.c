/* Changes on their way to who leads. A member sends a call of its own to the leader and sends it again until
 * it is answered; the leader proposes it in the member's name, so however often it comes it is applied
 * once, and answers with where it is and what became of it. */
#include "cluster/bus.h"
#include "cluster/ctl_priv.h"

/* At the leader: a proposal of another member. */
struct ctl_remote {
    struct rl_call log_call;
    struct ctl *ctl;
    struct ctl_remote *next, **self;
    uint64_t from, incarnation, counter;
};

static void send_message(struct ctl *c, uint64_t to, uint8_t type, const struct wire_type *table,
                         const void *message)
{
    const struct ctl_net *net = &c->opts.net;
    struct buf body;
    buf_init(&body, MEM_CLUSTER);
    if (wire_encode(table, message, &body) == RC_OK && net->send != NULL)
        net->send(net->ctx, to, "", BUS_META, type, buf_bytes(&body));
    buf_free(&body);
}

/* ---- who asks */

void ctl__forward(struct ctl *c, struct ctl_call *call, uint64_t leader)
{
    struct meta_propose m = {.incarnation = c->incarnation,
                             .counter = call->counter,
                             .done_below = ctl__done_below(c),
                             .entry = buf_bytes(&call->entry)};
    call->place = CALL_SENT;
    call->sent_to = leader;
    call->sent_ms = c->now_ms;
    send_message(c, leader, META_PROPOSE, &meta_propose_wire, &m);
}

static struct ctl_call *find_call(struct ctl *c, const struct meta_result *m)
{
    if (m->incarnation != c->incarnation) return NULL;
    for (struct ctl_call *call = c->first; call != NULL; call = call->next)
        if (call->counter == m->counter) return call;
    return NULL;
}

/* An answer is true whoever else was asked since: the log is one. */
static void take_result(struct ctl *c, const struct meta_result *m)
{
    struct ctl_call *call = find_call(c, m);
    if (call == NULL || call->place == CALL_IN_LOG || call->place == CALL_KNOWN) return;
    if (m->outcome == META_STALE) {
        ctl__call_ends(c, call, CTL_UNKNOWN, 0, "the log has heard of a later start of this node");
        return;
    }
    if (m->outcome != META_APPLIED)
        return; /* asked again after a while, or when somebody else leads */
    size_t len = m->text.len < sizeof call->text ? m->text.len : sizeof call->text - 1;
    if (len > 0) memcpy(call->text, m->text.data, len);
    call->text[len] = '\0';
    call->result.outcome = m->verdict == TOPOLOGY_APPLIED ? CTL_APPLIED : CTL_REFUSED;
    call->result.value = m->value;
    call->index = m->index;
    call->place = CALL_KNOWN; /* until it is applied here */
}

/* ---- who leads */

static void answer(struct ctl *c, uint64_t to, struct meta_result *m)
{
    send_message(c, to, META_RESULT, &meta_result_wire, m);
}

static void remote_done(struct rl_call *log_call, const struct rl_result *r)
{
    struct ctl_remote *remote = container_of(log_call, struct ctl_remote, log_call);
    struct ctl *c = remote->ctl;
    const struct topology_result *kept = ctl__result_at(c, r->index);
    struct meta_result m = {
        .incarnation = remote->incarnation, .counter = remote->counter, .outcome = META_UNKNOWN};
    if (r->outcome == RL_NOT_LEADER) m.outcome = META_NOT_LEADER;
    if (r->outcome == RL_STALE) m.outcome = META_STALE;
    if (r->outcome == RL_APPLIED && c->stop == NULL) {
        m.outcome = META_APPLIED;
        m.index = r->index;
        m.verdict = r->code;
        if (kept != NULL) {
            m.value = kept->value;
            m.text = bytes_of(kept->text);
        }
    }
    *remote->self = remote->next;
    if (remote->next != NULL) remote->next->self = remote->self;
    uint64_t from = remote->from;
    mem_free(MEM_CLUSTER, remote, sizeof *remote);
    if (!c->ending) answer(c, from, &m);
}

static void take_proposal(struct ctl *c, uint64_t from, const struct meta_propose *m)
{
    struct meta_result no = {.incarnation = m->incarnation, .counter = m->counter};
    struct rl_request request = {.node = from,
                                 .incarnation = m->incarnation,
                                 .counter = m->counter,
                                 .done_below = m->done_below};
    if (m->counter == 0 || c->ending) return;
    struct ctl_remote *remote = mem_zalloc(MEM_CLUSTER, sizeof *remote);
    remote->log_call.done = remote_done;
    remote->ctl = c;
    remote->from = from;
    remote->incarnation = m->incarnation;
    remote->counter = m->counter;
    if (c->driver->leader(c->log) == c->raft_id &&
        c->driver->propose(c->log, &remote->log_call, &request, m->entry) == RC_OK) {
        remote->next = c->remote;
        remote->self = &c->remote;
        if (c->remote != NULL) c->remote->self = &remote->next;
        c->remote = remote;
        return;
    }
    mem_free(MEM_CLUSTER, remote, sizeof *remote);
    no.outcome = META_NOT_LEADER;
    answer(c, from, &no);
}

/* ---- */

static bool is_member(const struct ctl *c, uint64_t id)
{
    struct rl_status s;
    c->driver->status(c->log, &s);
    for (uint32_t i = 0; i < s.members.count; i++)
        if (s.members.at[i].id == id) return true;
    return false;
}

bool ctl__forward_receive(struct ctl *c, uint64_t from, uint8_t type, struct bytes body)
{
    struct wire_pool pool;
    struct meta_propose propose;
    struct meta_result result;
    const char *why;
    if ((type != META_PROPOSE && type != META_RESULT) || !is_member(c, from)) return false;
    wire_pool_init(&pool);
    if (type == META_PROPOSE) {
        if (wire_decode(&meta_propose_wire, body, &pool, &propose, &why) == RC_OK)
            take_proposal(c, from, &propose);
    } else if (wire_decode(&meta_result_wire, body, &pool, &result, &why) == RC_OK) {
        take_result(c, &result);
    }
    wire_pool_free(&pool);
    return true;
}
