/* The driver of a Raft member. */
#include "cluster/bus.h"
#include "cluster/ctl_priv.h"
#include "shard/base/clock.h"

#define LONE_SEGMENT_BYTES (256u << 10) /* as of a node alone: it may have a small disk */

static enum rc propose(void *log, struct rl_call *call, const struct rl_request *request,
                       struct bytes payload)
{
    return rl_propose(log, call, request, payload);
}

static void tick(void *log, uint64_t now_ms)
{
    rl_tick(log, now_ms);
}

static void close_log(void *log)
{
    rl_close(log);
}

static const char *failure(const void *log)
{
    return rl_failure(log);
}

static uint64_t leader(const void *log)
{
    return rl_leader(log);
}

static void status(const void *log, struct rl_status *out)
{
    rl_status(log, out);
}

static void run(void *log)
{
    rl_run(log);
}

static void receive(void *log, uint64_t now_ms, struct bytes message)
{
    rl_receive(log, now_ms, message);
}

static const struct ctl_driver driver = {.propose = propose,
                                         .tick = tick,
                                         .close = close_log,
                                         .failure = failure,
                                         .leader = leader,
                                         .status = status,
                                         .run = run,
                                         .receive = receive};

static void send(void *ctx, uint64_t to, const char *address, struct bytes message)
{
    struct ctl *c = ctx;
    const struct ctl_net *net = &c->opts.net;
    if (net->send != NULL) net->send(net->ctx, to, address, BUS_RAFT, BUS_RAFT_MESSAGE, message);
}

static void changed(void *ctx)
{
    struct ctl *c = ctx;
    if (c->opts.net.on_change != NULL && c->log != NULL) c->opts.net.on_change(c->opts.net.ctx);
}

/* Higher than that of any earlier start: by the clock, and should it have gone back, by the log. */
static uint64_t new_incarnation(const struct ctl *c, const struct rl *rl)
{
    uint64_t by_log = rl_incarnation(rl, c->raft_id) + 1;
    uint64_t by_clock = (uint64_t)clock_wall_us(c->opts.clock);
    return by_clock > by_log ? by_clock : by_log;
}

enum rc ctl__raft_open(struct ctl *c, uint64_t id, const struct rl_members *first, char *why,
                       size_t why_bytes)
{
    struct rl_opts opts = {.io = c->opts.io,
                           .dir = c->opts.dir,
                           .id = id,
                           .now_ms = c->opts.now_ms,
                           .seed = c->opts.seed,
                           .machine = ctl__machine(c),
                           .link = {.send = send, .changed = changed, .ctx = c}};
    struct rl *rl;
    if (first == NULL) opts.segment_bytes = LONE_SEGMENT_BYTES;
    memcpy(opts.cluster_id, c->opts.new_cluster.bytes, sizeof opts.cluster_id);
    memcpy(opts.node_id, c->opts.new_node.bytes, sizeof opts.node_id);
    enum rc rc = first != NULL ? rl_bootstrap(&opts, first, why, why_bytes) : RC_OK;
    if (rc == RC_EXISTS) rc = RC_OK; /* a later start */
    if (rc == RC_OK) rc = rl_open(&opts, &rl, why, why_bytes);
    if (rc != RC_OK) return rc;
    c->driver = &driver;
    c->log = rl;
    c->raft_id = id;
    c->incarnation = new_incarnation(c, rl);
    return RC_OK;
}
