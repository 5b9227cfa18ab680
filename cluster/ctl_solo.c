/* The driver of a node alone. */
#include "cluster/ctl_priv.h"
#include "raftlog/solo.h"

static enum rc propose(void *log, struct rl_call *call, const struct rl_request *request,
                       struct bytes payload)
{
    return solo_propose(log, call, request, payload);
}

static void tick(void *log, uint64_t now_ms)
{
    (void)now_ms;
    solo_tick(log);
}

static void close_log(void *log)
{
    solo_close(log);
}

static const char *failure(const void *log)
{
    struct solo_status s;
    solo_status(log, &s);
    return s.failure;
}

static uint64_t leader(const void *log)
{
    struct solo_status s;
    solo_status(log, &s);
    return s.id;
}

static void status(const void *log, struct rl_status *out)
{
    struct solo_status s;
    solo_status(log, &s);
    *out = (struct rl_status){.state = s.failure != NULL ? RL_STOPPED : RL_LEADER,
                              .id = s.id,
                              .leader = s.id,
                              .term = s.term,
                              .last_index = s.applied_index,
                              .stored_index = s.applied_index,
                              .commit_index = s.applied_index,
                              .applied_index = s.applied_index,
                              .snapshot_index = s.snapshot_index,
                              .ready = s.failure == NULL,
                              .queued = s.queued,
                              .failure = s.failure};
}

static const struct ctl_driver driver = {.propose = propose,
                                         .tick = tick,
                                         .close = close_log,
                                         .failure = failure,
                                         .leader = leader,
                                         .status = status};

bool ctl_is_alone(const struct ctl *c)
{
    return c->driver == &driver;
}

enum rc ctl__solo_open(struct ctl *c, char *why, size_t why_bytes)
{
    struct solo_opts opts = {
        .io = c->opts.io, .dir = c->opts.dir, .locked = true, .machine = ctl__machine(c)};
    struct solo *log;
    memcpy(opts.new_cluster_id, c->opts.new_cluster.bytes, sizeof opts.new_cluster_id);
    memcpy(opts.new_node_id, c->opts.new_node.bytes, sizeof opts.new_node_id);
    enum rc rc = solo_open(&opts, &log, why, why_bytes);
    if (rc != RC_OK) return rc;
    struct solo_status s;
    solo_status(log, &s);
    c->driver = &driver;
    c->log = log;
    c->raft_id = s.id;
    c->incarnation = s.incarnation;
    /* The files were begun, and power was lost before the first entry: they have the ids. */
    memcpy(c->opts.new_cluster.bytes, s.cluster_id, sizeof s.cluster_id);
    memcpy(c->opts.new_node.bytes, s.node_id, sizeof s.node_id);
    return RC_OK;
}
