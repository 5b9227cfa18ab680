/* cluster/bus_hello.h: how a link begins, pure: messages as structs and their bytes, and the state machine
 * that two nodes run until they know each other. Messages and their order: docs/formats/bus.md. */
#ifndef MOON_CLUSTER_BUS_HELLO_H
#define MOON_CLUSTER_BUS_HELLO_H

#include "cluster/bus_frame.h"

#define BUS_VERSION_MIN 1u /* that this program speaks */
#define BUS_VERSION_MAX 1u
#define BUS_NONCE_BYTES 16u
#define BUS_KIND_CONTROL 0u

/* Types of BUS_LINK. */
enum bus_link_type {
    BUS_CHALLENGE = 1,
    BUS_HELLO = 2,
    BUS_HELLO_OK = 3,
    BUS_HELLO_REJECT = 4,
    BUS_PING = 5,
    BUS_PONG = 6,
};
/* Reasons of a HelloReject: on the wire. */
enum bus_reject {
    BUS_REJECT_OTHER = 0,
    BUS_REJECT_CLUSTER = 1,
    BUS_REJECT_VERSION = 2,
    BUS_REJECT_REPLAY = 3,
    BUS_REJECT_INCARNATION = 4,
    BUS_REJECT_NODE = 5,
    BUS_REJECT_NAME = 6,
};

struct bus_nonce {
    uint8_t bytes[BUS_NONCE_BYTES];
};
struct bus_challenge {
    struct bus_nonce nonce;
    uint32_t version_min, version_max;
};
struct bus_hello {
    struct bus_nonce answer, nonce;
    uint32_t version_min, version_max, kind;
    struct topo_cluster_id cluster;
    struct topo_id node;
    uint64_t incarnation, meta_version;
    struct bytes address;
    bool meet;
};
struct bus_hello_ok {
    struct bus_nonce answer;
    uint32_t version;
    struct topo_cluster_id cluster;
    struct topo_id node;
    uint64_t incarnation, meta_version;
    struct bytes address;
};
struct bus_hello_reject {
    uint32_t reason;
    struct bytes text;
};
extern const struct wire_type bus_challenge_wire, bus_hello_wire, bus_hello_ok_wire,
    bus_hello_reject_wire;

/* What this node says of itself. */
struct bus_self {
    struct topo_cluster_id cluster;
    struct topo_id node;
    uint64_t incarnation, meta_version;
    char address[RAFT_ADDRESS_BYTES_MAX];
    uint32_t version_min, version_max;
};

enum bus_phase {
    BUS_WAITS_CHALLENGE, /* we dialled */
    BUS_WAITS_HELLO,     /* they dialled */
    BUS_WAITS_OK,        /* we dialled, and said who we are */
    BUS_UP,
    BUS_OVER, /* refused: what was written may still be sent */
};
/* One link's talk. */
struct bus_talk {
    const struct bus_self *self; /* borrowed */
    enum bus_phase phase;
    bool dialled, meet;
    bool pong_owed;
    struct topo_id expected; /* who should answer; none: anybody */
    struct bus_nonce nonce;  /* ours */
    struct bus_node node;    /* the other end: from its hello on */
    struct bus_reader reader;
    char why[200]; /* of a refusal */
};
struct bus_talk_events {
    /* The other end has said who it is, in t->node; what can be said without knowing other links is
     * judged already. BUS_REFUSALS: it is welcome; else *why_out (static, or in t->why) says why not. */
    enum bus_refusal (*judge)(void *ctx, struct bus_talk *t, const char **why_out);
    void (*up)(void *ctx, struct bus_talk *t); /* messages may flow */
    /* False: unknown type. */
    bool (*message)(void *ctx, struct bus_talk *t, uint16_t channel, uint8_t type,
                    struct bytes body);
    bool (*hold)(void *ctx, size_t more);
    void (*unknown)(void *ctx);
    void *ctx;
};

/* `expected`: who should answer what we dial; none: whoever does. `meet`: of any cluster, if judge() says. */
void bus_talk_accept(struct bus_talk *t, const struct bus_self *self, struct bus_nonce nonce,
                     struct buf *out);
void bus_talk_dial(struct bus_talk *t, const struct bus_self *self, struct bus_nonce nonce,
                   struct topo_id expected, bool meet);
void bus_talk_free(struct bus_talk *t);
/* Plain bytes as they come; answers are appended to `out`. BUS_REFUSALS: go on. Else the talk is over and
 * *why_out says why, for the log; what is in `out` should still be sent. */
enum bus_refusal bus_talk_feed(struct bus_talk *t, struct bytes in, struct buf *out,
                               const struct bus_talk_events *events, const char **why_out);
void bus_ping_put(struct buf *out, const struct bus_talk *t);
void bus_pong_put(struct buf *out, const struct bus_talk *t);

#endif
