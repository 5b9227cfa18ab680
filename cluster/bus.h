/* cluster/bus.h: links between the nodes of a cluster, and messages over them. The control channel only:
 * small messages, never behind bulk. Bytes on the wire: docs/formats/bus.md.
 *
 * A peer is a node that we want a link to: it is dialled, and dialled again with back-off, until it is
 * removed. A node that dials us is a peer for as long as its link lives. Whoever it is, it counts only
 * after its hello: right cluster, a version both know, not an earlier life of the node, and over TLS a
 * certificate that names it. Whoever is refused costs one log line (few, if there are many) and bounded
 * memory. There is at most one link with a node that is written to, whoever dialled.
 *
 * Like a network: what was sent may be lost (a link that breaks takes its queue along), and never comes
 * twice over one link or out of order within a channel. Nothing waits for a link that is down.
 *
 * Threads. All calls and callbacks on one, the ctl thread, which turns `io`. Callbacks run inside io_turn()
 * and bus_tick(), never inside bus_send() or bus_peer_…; they may call everything here but bus_close(). */
#ifndef MOON_CLUSTER_BUS_H
#define MOON_CLUSTER_BUS_H

#include "cluster/topology_entry.h"
#include "shard/base/limits.h"

struct io;
struct bus;
struct tls_context; /* shard/rt/tls.h */

/* Which part of a node a message is for. Numbers are on the wire: never reused. */
enum bus_channel {
    BUS_LINK = 0,   /* the bus itself: hello, ping */
    BUS_RAFT = 1,   /* up to BUS_MESSAGE_BYTES_MAX, as all of RAFT and META: goes in fragments */
    BUS_META = 2,   /* deltas of the topology, forwarded proposals */
    BUS_HEALTH = 3, /* up to one frame; overtakes RAFT and META */
    BUS_GROUP = 4,  /* as HEALTH */
    BUS_CHANNELS = 5,
};
/* The types of a channel are its owner's, from 1; raftlog's messages name their own type, so: */
#define BUS_RAFT_MESSAGE 1u

/* A node at the other end of a link. */
struct bus_node {
    struct topo_id id;
    struct topo_cluster_id cluster; /* not ours: only if it was admitted as such */
    uint64_t incarnation;
    uint64_t meta_version;                /* at its hello */
    uint32_t version;                     /* of the protocol on this link: the lower of both */
    char address[RAFT_ADDRESS_BYTES_MAX]; /* where it says that it can be dialled; "": nowhere */
    bool dialled;                         /* by us */
};

struct bus_events {
    /* `body` is borrowed for the call. False: nobody here knows this type; it is counted, nothing else. */
    bool (*on_message)(void *ctx, const struct bus_node *from, uint16_t channel, uint8_t type,
                       struct bytes body);
    /* Up: messages may be sent. Down: what waited is lost. A new life of the node is a down and an up. NULL:
     * nobody hears. */
    void (*on_link)(void *ctx, const struct bus_node *node, bool up);
    /* Whether a node that is no peer of ours, or (bus_node.cluster) of another cluster that wants to be
     * met, may have a link. NULL: nodes of our cluster may, others not. */
    bool (*admit)(void *ctx, const struct bus_node *node);
    void *ctx;
};

struct bus_opts {
    struct io *io;
    uint64_t now_ms; /* monotonic, as in bus_tick() */
    struct topo_cluster_id cluster;
    struct topo_id node;
    uint64_t incarnation;  /* of this process: rising from start to start */
    uint64_t meta_version; /* bus_set_meta_version() */
    const char *announce;  /* "ip:port" that others dial; NULL or "": they cannot. Copied */
    struct bus_events events;
    /* Listening: numeric addresses ("*", "::*" too), a "-" in front: may be missing. None: only dials. */
    const char *const *binds;
    uint32_t binds_count;
    uint16_t port; /* 0: one the kernel chooses, bus_port() */
    /* NULL: plain text. Borrowed; bus_set_tls() changes it. */
    struct tls_context *tls;
    /* Of names in certificates: one that matches this glob may be any node ("moon-*.example.net"). NULL or
     * "": a certificate must name the node's id, 40 hex digits, as DNS name or URI. Copied. */
    const char *tls_name_pattern;
    bool plain_anywhere; /* plain text also with others than loopback: `tls-cluster no` */
    /* 0: the default. */
    uint32_t hello_ms; /* 3,000: from a connection to the end of its hello */
    uint32_t ping_ms;  /* 500: what says nothing for so long is asked */
    uint32_t
        silence_ms; /* 3,000: what says nothing for so long is closed; so is what takes nothing */
    uint32_t retry_ms;     /* 100: before the second attempt to dial; doubles … */
    uint32_t retry_ms_max; /* … up to 2,000; each drawn from half of it to all of it */
};

/* RC_INVALID, RC_IO, RC_EXISTS (port in use): why_out says what and the remedy. Blocking (it binds). */
MUST_CHECK enum rc bus_open(const struct bus_opts *opts, struct bus **out, char *why_out,
                            size_t why_bytes);
/* Closes all links and turns io until they are gone. No callback of ours comes from here on. */
void bus_close(struct bus *b);
uint16_t bus_port(const struct bus *b); /* that it listens on; 0: none */
/* Every 25 ms or so: the grain of dialling, pings and limits of time. */
void bus_tick(struct bus *b, uint64_t now_ms);

/* ---- peers */

/* Wants a link to that node; again with another address: moves it there. RC_FULL: BUS_PEERS_MAX.
 * RC_INVALID: ourselves, or no "ip:port" (numeric; "[::1]:7000" and "::1:7000" are the same). */
MUST_CHECK enum rc bus_peer_add(struct bus *b, struct topo_id id, const char *address);
/* Closes the link, if there is one (on_link says so in a later tick or turn). */
void bus_peer_remove(struct bus *b, struct topo_id id);
/* Dials an address whose node is not known (CLUSTER MEET), once in a while for `give_up_ms`: its hello
 * makes it a guest as if it had dialled us, admit() and on_link() tell. Both ends may be of different
 * clusters: each asks its admit(). RC_FULL: BUS_SEEDS_MAX. */
MUST_CHECK enum rc bus_meet(struct bus *b, const char *address, uint32_t give_up_ms);

/* Copies. RC_CLOSED: no link (or not known). RC_FULL: its queue, nothing was queued. RC_TOOBIG. Each is
 * counted, and a sender that repeats what is not answered need not look. */
enum rc bus_send(struct bus *b, struct topo_id to, uint16_t channel, uint8_t type,
                 struct bytes body);
/* NULL: no link. Valid until the next call of io_turn() or bus_tick(). */
const struct bus_node *bus_find(const struct bus *b, struct topo_id id);

/* ---- what may change while it runs */
void bus_set_meta_version(struct bus *b, uint64_t version);
/* Closes links to nodes of other clusters that were not admitted as such. */
void bus_set_cluster(struct bus *b, struct topo_cluster_id cluster);
/* For links that begin from now on. The former context may be freed when this returns. */
void bus_set_tls(struct bus *b, struct tls_context *tls);

/* ---- numbers */

/* Why a link was refused or ended. */
enum bus_refusal {
    BUS_REFUSED_TLS,         /* no TLS, or a certificate that our CA does not know */
    BUS_REFUSED_NAME,        /* a certificate that names another node */
    BUS_REFUSED_CLUSTER,     /* another cluster */
    BUS_REFUSED_VERSION,     /* no version that both know, in its hello or in a frame */
    BUS_REFUSED_REPLAY,      /* a hello that answers the challenge of another connection */
    BUS_REFUSED_INCARNATION, /* an earlier life of a node that has a later one */
    BUS_REFUSED_NODE,        /* not admitted, or ourselves */
    BUS_REFUSED_OVERSIZED,   /* a frame or message over its limit */
    BUS_REFUSED_FRAME,       /* bad magic, checksum, order of fragments; a hello that is none */
    BUS_REFUSED_SLOW,        /* no hello within hello_ms */
    BUS_REFUSED_CROWD, /* the oldest of too many without a hello, too many at once, too many guests */
    BUS_REFUSED_SILENT,  /* said or took nothing for silence_ms */
    BUS_REFUSED_MEMORY,  /* all half received messages together are over their limit */
    BUS_REFUSED_BY_PEER, /* the other end sent HELLO_REJECT */
    BUS_REFUSALS,
};
const char *bus_refusal_name(enum bus_refusal r); /* "wrong-certificate", … */

struct bus_stats {
    uint64_t links, strangers; /* now: after their hello, before it */
    uint64_t dialled, dial_failed, accepted, linked, lost, duplicates;
    uint64_t frames_in, frames_out, bytes_in, bytes_out, messages_in, messages_out;
    uint64_t unknown; /* types and channels, ignored */
    uint64_t dropped_down, dropped_full,
        dropped_lost; /* messages: no link; no room; its link broke */
    uint64_t queued_messages, queued_bytes, assembly_bytes; /* now */
    uint64_t refused[BUS_REFUSALS];
};
void bus_stats(const struct bus *b, struct bus_stats *out);

/* For CLUSTER LINKS. */
struct bus_link_info {
    const struct bus_node *node;
    uint64_t since_ms; /* monotonic: when its hello was done */
    uint64_t queued_messages, queued_bytes;
    bool tls;
};
void bus_each_link(const struct bus *b, void (*each)(void *ctx, const struct bus_link_info *link),
                   void *ctx);

/* ---- plain text or not: the rule of `tls-cluster` */

enum bus_tls_wish { BUS_TLS_UNSET, BUS_TLS_YES, BUS_TLS_NO };
enum bus_mode { BUS_MODE_TLS, BUS_MODE_PLAIN, BUS_MODE_REFUSED };
/* REFUSED: why_out says what is wrong and what may be done about it. `has_files`: certificate, key and CA
 * are all named. */
enum bus_mode bus_mode_of(enum bus_tls_wish wish, bool has_files, const char *const *binds,
                          uint32_t binds_count, char *why_out, size_t why_bytes);

#endif
