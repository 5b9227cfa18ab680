/* cluster/ctl_priv.h: the inside of ctl: ctl.c (machine, calls, life), ctl_start.c (a cluster of one),
 * ctl_solo.c and ctl_raft.c (the drivers), ctl_forward.c (changes on their way to who leads). */
#ifndef MOON_CLUSTER_CTL_PRIV_H
#define MOON_CLUSTER_CTL_PRIV_H

#include "cluster/ctl.h"
#include "cluster/topology_priv.h"

/* What a driver of the log gives; raftlog.h has the words. */
struct ctl_driver {
    enum rc (*propose)(void *log, struct rl_call *call, const struct rl_request *request,
                       struct bytes payload);
    void (*tick)(void *log, uint64_t now_ms);
    void (*close)(void *log);
    const char *(*failure)(const void *log);
    uint64_t (*leader)(const void *log);
    void (*status)(const void *log, struct rl_status *out);
    void (*run)(void *log); /* NULL: there is nothing to start */
    void (*receive)(void *log, uint64_t now_ms, struct bytes message); /* NULL: alone */
};

enum call_place {
    CALL_WAITS,  /* for a leader, or for room */
    CALL_IN_LOG, /* log_call is under way: this member leads */
    CALL_SENT,   /* to sent_to */
    CALL_KNOWN,  /* answered; `index` is not applied here yet */
};

/* Answers of entries that were applied last: Raft applies batches before it tells who proposed them. More
 * than are in flight at once. */
#define CTL_KEPT 512u
static_assert(CTL_KEPT >= 2 * RAFT_BATCH_ENTRIES_MAX,
              "a batch, and what follows it in the same turn");
static_assert(CTL_TEXT_BYTES == sizeof((struct topology_result *)0)->text,
              "texts are copied whole");
struct ctl_kept {
    uint64_t index;
    struct topology_result result;
};
/* Calls open at once: fewer than a proposer may have unresolved. */
#define CTL_CALLS_MAX (RAFT_SESSION_WINDOW - 1)

struct ctl {
    const struct ctl_driver *driver;
    void *log;
    int lock_fd;
    struct ctl_opts opts;
    struct topology *t;
    struct topo_id me;
    uint64_t raft_id, incarnation, counter, now_ms;
    struct ctl_call *first, *last; /* not done, oldest first */
    uint32_t calls;
    struct ctl_kept *kept; /* CTL_KEPT of them, by index */
    bool starting;         /* no map before there is a cluster of one */
    bool ending;
    uint64_t shown;   /* map version that was handed out */
    const char *stop; /* an entry could not be applied */
    struct ctl_self self;
    char ip[TOPOLOGY_ADDRESS_BYTES_MAX + 1], hostname[TOPOLOGY_ADDRESS_BYTES_MAX + 1];
    struct ctl_call update;
    bool updating;
    uint64_t update_at_ms;     /* not before */
    struct ctl_remote *remote; /* proposals of other members, under way */
};

/* ---- ctl.c */
struct ctl *ctl__new(const struct ctl_opts *opts);
struct rl_machine ctl__machine(struct ctl *c);
const struct topology_result *ctl__result_at(const struct ctl *c,
                                             uint64_t index); /* NULL: not kept */
void ctl__call_ends(struct ctl *c, struct ctl_call *call, enum ctl_outcome outcome, uint64_t value,
                    const char *text);
void ctl__show_map(struct ctl *c);
uint64_t ctl__done_below(const struct ctl *c);
struct topo_node_info ctl__info(const struct ctl *c, uint64_t incarnation);
bool ctl__says(const struct ctl *c, const struct topo_node_info *old);
struct topo_id ctl__find_me(const struct ctl *c);

/* ---- ctl_start.c: with either driver, while it starts */
enum rc ctl__settle(struct ctl *c, char *why, size_t why_bytes);

/* ---- the drivers: reads what is there. The directory is locked. */
enum rc ctl__solo_open(struct ctl *c, char *why, size_t why_bytes);
enum rc ctl__raft_open(struct ctl *c, uint64_t id, const struct rl_members *first, char *why,
                       size_t why_bytes);

/* ---- ctl_forward.c */
enum meta_message_type { META_PROPOSE = 1, META_RESULT = 2 };
struct meta_propose {
    uint64_t incarnation, counter, done_below; /* the node is whoever sent it */
    struct bytes entry;
};
/* Numbers on the wire. */
enum meta_outcome { META_APPLIED = 1, META_NOT_LEADER = 2, META_UNKNOWN = 3, META_STALE = 4 };
struct meta_result {
    uint64_t incarnation, counter;
    uint32_t outcome;
    uint64_t index;
    uint32_t verdict;
    uint64_t value;
    struct bytes text;
};
extern const struct wire_type meta_propose_wire, meta_result_wire;
void ctl__forward(struct ctl *c, struct ctl_call *call, uint64_t leader);
bool ctl__forward_receive(struct ctl *c, uint64_t from, uint8_t type, struct bytes body);

#endif
