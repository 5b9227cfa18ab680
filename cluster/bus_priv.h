/* cluster/bus_priv.h: what bus.c (peers, dialling, time) and bus_link.c (one connection) share.
 *
 * Links are ended (bus__link_end) only inside io_turn() and bus_tick(), and freed by their on_gone: so a call
 * of ours, which only marks, may come from any callback. */
#ifndef MOON_CLUSTER_BUS_PRIV_H
#define MOON_CLUSTER_BUS_PRIV_H

#include "cluster/bus_hello.h"
#include "shard/base/rng.h"
#include "shard/rt/io.h"
#include "shard/rt/tls.h"

enum { LANE_URGENT, LANE_RAFT, LANE_META, LANES };
struct bus_item {
    struct bus_item *next;
    uint16_t channel;
    uint8_t type;
    size_t len;
    uint8_t data[];
};
struct bus_lane {
    struct bus_item *head, **tail;
    size_t done; /* bytes of head that are in frames already */
    size_t bytes;
    uint32_t messages;
};

struct bus_peer;
struct bus_link {
    struct io_stream stream;
    struct bus *bus;
    struct bus_link *older, *newer; /* of all that are not ended */
    struct bus_peer *peer; /* we dial it, or it has said its hello; NULL: a stranger, a seed */
    struct bus_talk talk;
    struct tls *tls; /* NULL: plain text */
    struct buf out;  /* frames that wait for a send to end, or for TLS */
    struct buf wire; /* the send under way */
    struct bus_lane lanes[LANES];
    uint32_t turn; /* LANE_RAFT or LANE_META */
    bool sending, up, ended;
    bool goodbye; /* refused: ends when what is in `out` has been sent */
    bool broken;  /* ended by the next tick */
    uint64_t
        retire_at_ms; /* 0: no; another link took over, this one sends and hears what is under way */
    bool accepted;
    uint64_t begun_ms, up_ms, heard_ms, asked_ms, send_ms;
    size_t counted; /* of its half received messages, in bus.assembly */
    char name[64];  /* of the other end's socket */
};

/* A node that we want, or that has a link. */
struct bus_peer {
    struct topo_id id;
    bool wanted, told; /* told: on_link said up */
    bool close;        /* marked by a call; the next tick ends its links */
    char address[RAFT_ADDRESS_BYTES_MAX];
    struct bus_link *link; /* that is written to */
    struct bus_link *dial; /* until its hello is done */
    struct bus_node node;  /* as told */
    uint64_t incarnation;  /* the latest life that was seen */
    uint64_t retry_at_ms;
    uint32_t retry_ms;
};
struct bus_seed {
    char address[RAFT_ADDRESS_BYTES_MAX];
    uint64_t retry_at_ms, give_up_at_ms;
    uint32_t retry_ms;
    struct bus_link *dial;
};

struct bus_listener {
    struct io_listener io;
    struct bus *bus;
};
struct bus_quiet { /* how many lines about one kind of refusal */
    uint64_t since_ms;
    uint32_t lines, silenced;
};

struct bus {
    struct bus_opts opts; /* pointers in it: only those that are borrowed for ever */
    struct bus_self self;
    char pattern[256];
    uint64_t now_ms;
    struct rng rng;
    struct bus_listener listeners[BUS_BINDS_MAX];
    uint32_t listeners_count;
    uint16_t port;
    struct bus_link *oldest, *newest;
    uint32_t live, dying;
    bool closing;
    struct bus_peer **peers; /* sorted by id */
    uint32_t peers_count, peers_cap, guests;
    struct bus_seed seeds[BUS_SEEDS_MAX];
    uint32_t seeds_count;
    uint32_t accepts; /* in this tick, of strangers */
    size_t assembly, queued_bytes;
    uint64_t queued_messages;
    struct bus_stats stats;
    struct bus_quiet quiet[BUS_REFUSALS];
};

/* ---- bus_link.c */

/* Takes fd. `expected`: none for who connects to us, and for a seed. NULL: it could not be. */
MUST_CHECK struct bus_link *bus__link_open(struct bus *b, int fd, bool dialled,
                                           struct topo_id expected, bool meet);
/* Closes it; its peer hears. Nothing of it is used afterwards. */
void bus__link_end(struct bus_link *l);
/* Counts, logs, and ends it: at once, or when the rejection has been sent. */
void bus__link_refuse(struct bus_link *l, enum bus_refusal refusal, const char *why);
void bus__link_tick(struct bus_link *l);
MUST_CHECK enum rc bus__link_send(struct bus_link *l, uint16_t channel, uint8_t type,
                                  struct bytes body);

/* ---- bus.c */

void bus__refused(struct bus *b, enum bus_refusal refusal, const char *who, const char *why);
enum bus_refusal bus__judge(struct bus_link *l, const char **why_out);
void bus__link_up(struct bus_link *l);
void bus__link_over(struct bus_link *l); /* l has ended, is in no list any more */

/* ---- bus_address.c */

/* "ip:port" into its parts. False: it is none. */
MUST_CHECK bool bus__address_split(const char *address, char *ip_out, size_t ip_bytes,
                                   uint16_t *port_out);

#endif
