/* tests/sim/net_priv.h: the inside of the simulated cluster, for net_raft.c, net_check.c, net_faults.c. */
#ifndef MOON_TESTS_NET_PRIV_H
#define MOON_TESTS_NET_PRIV_H

#include "raftlog/raftlog_priv.h" /* lint: allow private-headers, invariants look inside */
#include "tests/sim/net_raft.h"
#include "tests/sim/net_topology.h"

#define NET_RUNS_MAX 4096u /* terms that have a leader */
#define NET_INDEX_MAX 65536u

enum event_kind {
    EVENT_MESSAGE,
    EVENT_TICK,
    EVENT_CLIENT,
    EVENT_CRASH,
    EVENT_START,
    EVENT_PAUSE,
    EVENT_CUT,
    EVENT_HEAL_CUT,
    EVENT_DISK,
    EVENT_CHURN,
    EVENT_TRANSFER,
};
struct event {
    uint64_t at_us, number;
    enum event_kind kind;
    uint32_t a, b;
    uint64_t from, to;
    uint8_t *data; /* owned */
    uint32_t bytes;
};

/* The model that the log feeds: a chain over all that was applied. */
struct model {
    uint64_t index, chain, count; /* of the last command */
};
struct proposal {
    struct rl_call call;
    struct net *net;
    uint32_t client, slot;
    bool busy;
};
struct operation {
    uint64_t counter; /* 0: free */
    uint64_t payload_seed;
    uint32_t bytes;
    struct buf entry; /* of the topology */
    bool resolved;
    struct proposal try[2]; /* the second: the same once more, elsewhere, on purpose */
};
struct client {
    uint64_t next_counter, resolved;
    uint32_t hint; /* place of who may lead */
    struct operation op[NET_WINDOW];
};
struct node {
    uint64_t id;
    bool exists, lost; /* lost: its disk is damaged, it stays away */
    bool frozen, removing;
    struct rl *rl;
    struct io_sim *sim;
    struct io *io;
    struct model model;
    struct topology *topology; /* NULL: down, or none in this run */
    uint32_t life;             /* counts starts: ticks of an earlier one are stale */
    int64_t rate_ppm;
    uint64_t offset_ms, paused_until_us, step_in_life;
    bool disk_faulted;
    uint64_t stopped_at_us;
    /* checks */
    uint64_t seen_last, seen_last_term, seen_members, seen_commit;
    uint64_t led_term;
    struct rl_call admin;
    bool admin_busy;
};
/* What is known of an index. */
struct at_index {
    uint64_t chain, prev_index; /* commands that were applied: chain up to and with it */
    uint64_t client, counter;
    uint64_t term;        /* of the committed entry; 0: not known to be committed */
    uint64_t commit_term; /* of who committed it first: leaders of later terms must have it */
    bool applied;
};
struct by_term { /* log matching: (index, term) → what it holds, and what is before it */
    uint64_t index, term, hash, prev_term;
};
struct note {
    uint64_t at_us;
    uint32_t node;
    const char *what;
    uint64_t a, b;
};

struct net {
    uint64_t seed;
    struct net_opts opts;
    struct rng rng;
    uint64_t now_us, numbers, steps;
    struct event **heap;
    uint32_t heap_count, heap_cap;
    struct node node[NET_NODES_MAX];
    uint32_t nodes;
    uint64_t next_id;
    bool cut[NET_NODES_MAX][NET_NODES_MAX];
    bool calm;  /* no faults any more */
    bool quiet; /* nothing new is proposed */
    enum net_verdict (*filter)(void *ctx, const struct net_message *m);
    void *filter_ctx;
    struct event **kept;
    uint32_t kept_count, kept_cap;
    struct client client[NET_CLIENTS];
    struct at_index *at; /* NET_INDEX_MAX */
    uint64_t applied, committed;
    struct by_term *terms; /* open hash */
    uint32_t term_count, term_cap;
    struct {
        uint64_t term, id;
    } lead[NET_RUNS_MAX];
    uint32_t leads;
    uint8_t *counters[NET_CLIENTS]; /* applied once */
    struct world *world;            /* NULL: nothing but the model is behind the log */
    struct note note[NET_EVENTS_KEPT];
    uint64_t notes;
    uint64_t faults; /* that really happened */
};

void net__push(struct net *n, struct event e);
void net__after(struct net *n, enum event_kind kind, uint64_t us, uint32_t a, uint32_t b);
uint64_t net__spread(struct net *n, uint32_t mean_ms); /* µs, exponential-like */
void net__open(struct net *n, uint32_t place, bool bootstrap);
void net__renew(struct net *n, uint32_t place);
void net__down(struct net *n, uint32_t place, bool power);
void net__fault(struct net *n, const struct event *e);
void net__plan_faults(struct net *n);
void net__heal(struct net *n);
bool net__may_lose(const struct net *n);
void net__client(struct net *n, uint32_t c);
void net__check(struct net *n, uint32_t place);
bool net__clients_idle(const struct net *n);
void net__check_clients(struct net *n);
void net__checked_start(struct net *n, uint32_t place);
struct rl_machine net__machine(struct node *node);
struct net *net__of(const struct node *node);

#endif
