/* The machine behind the log, the calls that change it, and its life. A call is kept until its answer is
 * known: with Raft it may be proposed many times, to one leader after the other, always as the same
 * request, which the log applies once. */
#include "cluster/ctl_priv.h"

#include <stdio.h>

#include "cluster/bus.h"
#include "shard/base/assert.h"
#include "shard/base/log.h"

#define PATIENCE_MS 5000u
#define ANSWER_MS 1000u      /* then it is sent again */
#define UPDATE_REST_MS 1000u /* between attempts to say what this node says of itself */

/* ---- the machine */

/* The one that has a group; of several (a CLUSTER RESET HARD that a power loss cut short) the others were
 * not, or are not any more, in use. */
struct topo_id ctl__find_me(const struct ctl *c)
{
    const struct topology *t = c->t;
    for (uint32_t i = 0; i < topology_nodes(t); i++) {
        struct topo_id id = topology_node_at(t, i)->info.id;
        if (topology_group_of(t, id) != NULL) return id;
    }
    return topology_nodes(t) > 0 ? topology_node_at(t, 0)->info.id : c->opts.new_node;
}

void ctl__show_map(struct ctl *c)
{
    struct slotmap *map;
    if (c->starting || c->opts.on_map == NULL || c->shown == topology_map_version(c->t)) return;
    if (slotmap_build(c->t, &map) != RC_OK) {
        log_warning("cluster", "no memory for a new slot map: the old one stays for now");
        return; /* the next tick tries again */
    }
    if (topology_node_find(c->t, c->me) == NULL) c->me = ctl__find_me(c); /* CLUSTER RESET HARD */
    c->shown = map->map_version;
    c->opts.on_map(c->opts.ctx, map, slotmap_node_find(map, c->me));
}

/* An entry that this node cannot apply leaves it behind for good: it may not go on as if. */
static uint32_t cannot_apply(struct ctl *c, uint64_t index, enum rc rc)
{
    log_warning("cluster", "entry %llu of the control log cannot be applied: %s",
                (unsigned long long)index, rc_text(rc));
    c->stop = rc == RC_NOMEM ? "no memory for an entry of the control log"
                             : "the control log holds entries of a newer version";
    return TOPOLOGY_TOO_NEW;
}

static uint32_t apply(void *ctx, uint64_t index, struct bytes payload)
{
    struct ctl *c = ctx;
    struct ctl_kept *kept = &c->kept[index % CTL_KEPT];
    if (c->stop != NULL) return TOPOLOGY_TOO_NEW;
    enum rc rc = topology_apply(c->t, index, payload, &kept->result);
    if (rc != RC_OK) {
        kept->index = 0;
        return cannot_apply(c, index, rc);
    }
    kept->index = index;
    ctl__show_map(c);
    return kept->result.verdict;
}

const struct topology_result *ctl__result_at(const struct ctl *c, uint64_t index)
{
    const struct ctl_kept *kept = &c->kept[index % CTL_KEPT];
    return kept->index == index ? &kept->result : NULL;
}

static void save(void *ctx, struct buf *out)
{
    struct ctl *c = ctx;
    enum rc rc = topology_snapshot(c->t, out);
    assert(rc == RC_OK); /* buffers grow or the process ends */
}

static enum rc restore(void *ctx, uint64_t index, struct bytes saved)
{
    struct ctl *c = ctx;
    struct topology *t;
    struct buf why;
    (void)index;
    buf_init(&why, MEM_CLUSTER);
    enum rc rc = topology_restore(saved, &t, &why);
    if (rc != RC_OK) {
        log_warning("cluster", "the saved topology: %.*s", (int)why.len, (const char *)why.data);
    } else {
        topology_free(c->t);
        c->t = t;
        ctl__show_map(c);
    }
    buf_free(&why);
    return rc;
}

struct rl_machine ctl__machine(struct ctl *c)
{
    return (struct rl_machine){.apply = apply, .save = save, .restore = restore, .ctx = c};
}

/* ---- calls */

const char *ctl_failure(const struct ctl *c)
{
    return c->stop != NULL ? c->stop : c->driver->failure(c->log);
}

void ctl__call_ends(struct ctl *c, struct ctl_call *call, enum ctl_outcome outcome, uint64_t value,
                    const char *text)
{
    struct ctl_call **at = &c->first, *before = NULL;
    while (*at != call) {
        before = *at;
        at = &before->next;
    }
    *at = call->next;
    if (c->last == call) c->last = before;
    c->calls--;
    buf_free(&call->entry);
    struct ctl_result result = {.outcome = outcome, .value = value, .text = text};
    call->done(call, &result); /* may free it */
}

static void call_fails(struct ctl *c, struct ctl_call *call, const char *why)
{
    ctl__call_ends(c, call, CTL_UNKNOWN, 0, ctl_failure(c) != NULL ? ctl_failure(c) : why);
}

/* Its entry is applied here, or was when it was proposed before. */
static void call_applied(struct ctl *c, struct ctl_call *call, uint64_t index, uint32_t code)
{
    const struct topology_result *kept = ctl__result_at(c, index);
    if (c->stop != NULL)
        call_fails(c, call, c->stop);
    else if (kept != NULL)
        ctl__call_ends(c, call, kept->verdict == TOPOLOGY_APPLIED ? CTL_APPLIED : CTL_REFUSED,
                       kept->value, kept->text);
    else if (code == TOPOLOGY_APPLIED)
        ctl__call_ends(c, call, CTL_APPLIED, 0, "");
    else
        ctl__call_ends(c, call, CTL_REFUSED, 0, "it was refused; the reason is not known any more");
}

static void on_done(struct rl_call *log_call, const struct rl_result *r)
{
    struct ctl_call *call = container_of(log_call, struct ctl_call, log_call);
    struct ctl *c = call->ctl;
    switch (r->outcome) {
    case RL_APPLIED:
        call_applied(c, call, r->index, r->code);
        return;
    case RL_STALE:
        call_fails(c, call, "the log has heard of a later start of this node");
        return;
    case RL_NOT_LEADER:
    case RL_REFUSED:
    case RL_UNKNOWN:
        break;
    }
    if (ctl_failure(c) != NULL || ctl_is_alone(c) || c->ending)
        call_fails(c, call, "the node stops");
    else
        call->place = CALL_WAITS; /* the same request again: applied once */
}

uint64_t ctl__done_below(const struct ctl *c)
{
    return c->first != NULL ? c->first->counter : c->counter + 1;
}

/* RC_OK: it is under way, or waits for who leads. */
static enum rc call_try(struct ctl *c, struct ctl_call *call)
{
    uint64_t leader = c->driver->leader(c->log);
    if (leader == c->raft_id) {
        struct rl_request request = {.node = c->raft_id,
                                     .incarnation = c->incarnation,
                                     .counter = call->counter,
                                     .done_below = ctl__done_below(c)};
        enum rc rc = c->driver->propose(c->log, &call->log_call, &request, buf_bytes(&call->entry));
        if (rc == RC_OK) call->place = CALL_IN_LOG;
        return rc;
    }
    if (leader != 0) ctl__forward(c, call, leader);
    return RC_OK;
}

static void call_add(struct ctl *c, struct ctl_call *call)
{
    call->ctl = c;
    call->next = NULL;
    call->place = CALL_WAITS;
    call->counter = ++c->counter;
    call->until_ms = c->now_ms + (c->opts.patience_ms != 0 ? c->opts.patience_ms : PATIENCE_MS);
    call->log_call.done = on_done;
    if (c->last != NULL)
        c->last->next = call;
    else
        c->first = call;
    c->last = call;
    c->calls++;
}

/* Undone: the newest. */
static void call_take_back(struct ctl *c, struct ctl_call *call)
{
    struct ctl_call *before = NULL;
    for (struct ctl_call *k = c->first; k != call; k = k->next)
        before = k;
    c->last = before;
    *(before != NULL ? &before->next : &c->first) = NULL;
    c->calls--;
    buf_free(&call->entry);
}

bool ctl_propose(struct ctl *c, struct ctl_call *call, uint32_t type, const void *body,
                 const char **why_out)
{
    struct topology_entry entry = {.type = type, .hlc = topology_hlc(c->t)};
    uint64_t now_us = (uint64_t)clock_wall_us(c->opts.clock);
    if (now_us > entry.hlc) entry.hlc = now_us;
    *why_out = ctl_failure(c);
    if (*why_out == NULL && c->calls >= CTL_CALLS_MAX) *why_out = "too many changes are under way";
    if (*why_out != NULL) return false;
    buf_init(&call->entry, MEM_CLUSTER);
    enum rc rc = topology_entry_encode(&entry, body, &call->entry);
    if (rc != RC_OK) {
        buf_free(&call->entry);
        *why_out = rc_text(rc);
        return false;
    }
    call_add(c, call);
    rc = call_try(c, call);
    if (rc == RC_OK || rc == RC_FULL) return true;
    call_take_back(c, call);
    *why_out = ctl_failure(c) != NULL ? ctl_failure(c) : rc_text(rc);
    return false;
}

static void call_look(struct ctl *c, struct ctl_call *call)
{
    if (call->place == CALL_KNOWN && topology_version(c->t) >= call->index) {
        ctl__call_ends(c, call, call->result.outcome, call->result.value, call->text);
        return;
    }
    if (call->place == CALL_SENT &&
        (c->driver->leader(c->log) != call->sent_to || c->now_ms - call->sent_ms >= ANSWER_MS))
        call->place = CALL_WAITS;
    if (call->place != CALL_WAITS && call->place != CALL_SENT) return;
    if (c->now_ms >= call->until_ms)
        call_fails(c, call, "nobody leads the control log (no quorum?)");
    else if (call->place == CALL_WAITS && call_try(c, call) == RC_CLOSED)
        call_fails(c, call, "the control log has stopped");
}

static void look_at_calls(struct ctl *c)
{
    for (struct ctl_call *call = c->first, *next; call != NULL; call = next) {
        next = call->next; /* a call that ends may add others, behind all; never takes them away */
        call_look(c, call);
    }
}

/* ---- what this node says of itself */

static struct bytes copy_text(char *to, size_t room, struct bytes text)
{
    size_t len = text.len < room ? text.len : room - 1;
    if (len > 0) memcpy(to, text.data, len);
    return bytes_view(to, len);
}

void ctl_set_self(struct ctl *c, const struct ctl_self *self)
{
    struct ctl_self copy = *self;
    copy.ip = copy_text(c->ip, sizeof c->ip, self->ip);
    copy.hostname = copy_text(c->hostname, sizeof c->hostname, self->hostname);
    c->self = copy;
}

struct topo_node_info ctl__info(const struct ctl *c, uint64_t incarnation)
{
    return (struct topo_node_info){.id = c->me,
                                   .incarnation = incarnation,
                                   .ip = c->self.ip,
                                   .hostname = c->self.hostname,
                                   .port = c->self.port,
                                   .tls_port = c->self.tls_port,
                                   .bus_port = c->self.bus_port,
                                   .level = TOPOLOGY_LEVEL};
}

bool ctl__says(const struct ctl *c, const struct topo_node_info *old)
{
    const struct ctl_self *self = &c->self;
    return bytes_equal(old->ip, self->ip) && bytes_equal(old->hostname, self->hostname) &&
           old->port == self->port && old->tls_port == self->tls_port &&
           old->bus_port == self->bus_port && old->level == TOPOLOGY_LEVEL;
}

static void update_done(struct ctl_call *call, const struct ctl_result *result)
{
    struct ctl *c = container_of(call, struct ctl, update);
    c->updating = false;
    c->update_at_ms = c->now_ms + UPDATE_REST_MS;
    if (result->outcome != CTL_APPLIED)
        log_warning("cluster", "this node's addresses were not stored: %s", result->text);
}

static void look_at_self(struct ctl *c)
{
    const struct topo_node *node = topology_node_find(c->t, c->me);
    const char *why;
    if (c->updating || node == NULL || ctl_failure(c) != NULL || ctl__says(c, &node->info)) return;
    if (c->now_ms < c->update_at_ms) return;
    struct topo_node_update update = {.node = ctl__info(c, node->info.incarnation)};
    if (topology__info_fault(&update.node) != NULL) return; /* the settings refuse such words */
    c->update.done = update_done;
    c->updating = ctl_propose(c, &c->update, TOPO_NODE_UPDATE, &update, &why);
}

/* ---- life */

struct ctl *ctl__new(const struct ctl_opts *opts)
{
    struct ctl *c = mem_zalloc(MEM_CLUSTER, sizeof *c);
    c->opts = *opts;
    c->now_ms = opts->now_ms;
    c->lock_fd = -1;
    c->kept = mem_zalloc(MEM_CLUSTER, CTL_KEPT * sizeof *c->kept);
    ctl_set_self(c, &opts->self);
    return c;
}

void ctl_tick(struct ctl *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    c->driver->tick(c->log, now_ms);
    ctl__show_map(c);
    look_at_calls(c);
    look_at_self(c);
}

void ctl_run(struct ctl *c)
{
    if (c->driver->run != NULL) c->driver->run(c->log);
}

bool ctl_receive(struct ctl *c, uint64_t now_ms, uint64_t from, uint16_t channel, uint8_t type,
                 struct bytes body)
{
    bool known = false;
    if (c->driver->receive == NULL) return false;
    c->now_ms = now_ms;
    if (channel == BUS_RAFT && type == BUS_RAFT_MESSAGE && rl_message_from(body) == from) {
        known = true;
        c->driver->receive(c->log, now_ms, body);
    } else if (channel == BUS_META) {
        known = ctl__forward_receive(c, from, type, body);
    }
    look_at_calls(c);
    return known;
}

void ctl_close(struct ctl *c)
{
    c->ending = true;
    if (c->log != NULL) c->driver->close(c->log);
    while (c->first != NULL)
        ctl__call_ends(c, c->first, CTL_UNKNOWN, 0, "the node stops");
    assert(c->remote == NULL); /* the log told all */
    rl_unlock(c->opts.io, c->lock_fd);
    topology_free(c->t);
    mem_free(MEM_CLUSTER, c->kept, CTL_KEPT * sizeof *c->kept);
    mem_free(MEM_CLUSTER, c, sizeof *c);
}

const struct topology *ctl_topology(const struct ctl *c)
{
    return c->t;
}

struct topo_id ctl_me(const struct ctl *c)
{
    return c->me;
}

uint64_t ctl_incarnation(const struct ctl *c)
{
    return c->incarnation;
}

void ctl_status(const struct ctl *c, struct rl_status *out)
{
    c->driver->status(c->log, out);
    if (c->stop != NULL) out->failure = c->stop;
}
