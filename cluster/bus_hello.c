/* The talk of two nodes on one link:
 *
 *   acceptor                                    dialler
 *      -- CHALLENGE { nonce A, versions } ------->
 *      <- HELLO { answer A, nonce B, who } -------   judged: who is it
 *      -- HELLO_OK { answer B, version, who } --->   judged: who is it
 *      (or HELLO_REJECT, and the end)
 *
 * A hello that was recorded on another connection answers another nonce: that is how a replay is known,
 * in both directions. Without TLS this is no proof against somebody who sits between the two; that is why
 * plain text stays on the loopback interface unless it is asked for. */
#include "cluster/bus_hello.h"

#include <stdio.h>

#include "shard/base/assert.h"

/* ---- messages out */

static void put_message(struct buf *out, uint8_t type, const struct wire_type *wire,
                        const void *message)
{
    struct buf body;
    buf_init(&body, MEM_CLUSTER);
    enum rc rc = wire_encode(wire, message, &body);
    /* A few hundred bytes. Without memory even for these the frame stays out, and the hello's limit of
     * time ends the link. */
    if (rc == RC_OK) {
        assert(body.len <= BUS_HELLO_BYTES_MAX);
        bus_frame_put(out, &(struct bus_head){.version = BUS_VERSION_HELLO, .type = type},
                      buf_bytes(&body));
    }
    buf_free(&body);
}

static void put_empty(struct buf *out, const struct bus_talk *t, uint8_t type)
{
    bus_frame_put(out, &(struct bus_head){.version = (uint8_t)t->node.version, .type = type},
                  bytes_view(NULL, 0));
}

void bus_ping_put(struct buf *out, const struct bus_talk *t)
{
    put_empty(out, t, BUS_PING);
}

void bus_pong_put(struct buf *out, const struct bus_talk *t)
{
    put_empty(out, t, BUS_PONG);
}

static uint32_t reject_of(enum bus_refusal refusal)
{
    switch (refusal) {
    case BUS_REFUSED_CLUSTER:
        return BUS_REJECT_CLUSTER;
    case BUS_REFUSED_VERSION:
        return BUS_REJECT_VERSION;
    case BUS_REFUSED_REPLAY:
        return BUS_REJECT_REPLAY;
    case BUS_REFUSED_INCARNATION:
        return BUS_REJECT_INCARNATION;
    case BUS_REFUSED_NODE:
        return BUS_REJECT_NODE;
    case BUS_REFUSED_NAME:
        return BUS_REJECT_NAME;
    case BUS_REFUSED_TLS:
    case BUS_REFUSED_OVERSIZED:
    case BUS_REFUSED_FRAME:
    case BUS_REFUSED_SLOW:
    case BUS_REFUSED_CROWD:
    case BUS_REFUSED_SILENT:
    case BUS_REFUSED_MEMORY:
    case BUS_REFUSED_BY_PEER:
    case BUS_REFUSALS:
        break;
    }
    return BUS_REJECT_OTHER;
}

static void put_reject(struct buf *out, enum bus_refusal refusal, const char *why)
{
    struct bytes text = bytes_of(why);
    if (text.len > 128) text.len = 128;
    const struct bus_hello_reject reject = {.reason = reject_of(refusal), .text = text};
    put_message(out, BUS_HELLO_REJECT, &bus_hello_reject_wire, &reject);
}

/* ---- begin and end */

static void talk_init(struct bus_talk *t, const struct bus_self *self, struct bus_nonce nonce)
{
    *t = (struct bus_talk){.self = self, .nonce = nonce};
    bus_reader_init(&t->reader);
}

void bus_talk_accept(struct bus_talk *t, const struct bus_self *self, struct bus_nonce nonce,
                     struct buf *out)
{
    talk_init(t, self, nonce);
    t->phase = BUS_WAITS_HELLO;
    const struct bus_challenge challenge = {
        .nonce = nonce, .version_min = self->version_min, .version_max = self->version_max};
    put_message(out, BUS_CHALLENGE, &bus_challenge_wire, &challenge);
}

void bus_talk_dial(struct bus_talk *t, const struct bus_self *self, struct bus_nonce nonce,
                   struct topo_id expected, bool meet)
{
    talk_init(t, self, nonce);
    t->phase = BUS_WAITS_CHALLENGE;
    t->dialled = true;
    t->expected = expected;
    t->meet = meet;
}

void bus_talk_free(struct bus_talk *t)
{
    bus_reader_free(&t->reader);
}

/* ---- judging */

/* One call of bus_talk_feed(). */
struct feed {
    struct bus_talk *t;
    struct buf *out;
    const struct bus_talk_events *events;
    enum bus_refusal refusal;
    const char *why;
};

static bool refuse(struct feed *f, enum bus_refusal refusal, const char *why)
{
    f->refusal = refusal;
    f->why = why;
    return false;
}

/* The other end is told why, by a HelloReject. */
static bool reject(struct feed *f, enum bus_refusal refusal, const char *why)
{
    put_reject(f->out, refusal, why);
    return refuse(f, refusal, why);
}

static bool same(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

/* The highest that both speak; 0: none. */
static uint32_t version_of_both(const struct bus_self *self, uint32_t min, uint32_t max)
{
    uint32_t version = max < self->version_max ? max : self->version_max;
    return version >= min && version >= self->version_min ? version : 0;
}

static bool take_address(struct bus_node *node, struct bytes address)
{
    if (address.len >= sizeof node->address) return false;
    for (size_t i = 0; i < address.len; i++)
        if (address.data[i] <= ' ' || address.data[i] >= 0x7f) return false;
    if (address.len > 0) memcpy(node->address, address.data, address.len);
    node->address[address.len] = '\0';
    return true;
}

static const char *hex_of(const uint8_t *bytes, size_t n, char *into)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        into[2 * i] = digits[bytes[i] >> 4];
        into[2 * i + 1] = digits[bytes[i] & 15];
    }
    into[2 * n] = '\0';
    return into;
}

static bool judge_cluster(struct feed *f, bool meet)
{
    struct bus_talk *t = f->t;
    const uint8_t *theirs = t->node.cluster.bytes;
    const uint8_t *ours = t->self->cluster.bytes;
    if (meet || same(theirs, ours, sizeof t->node.cluster)) return true;
    char a[33];
    char b[33];
    (void)snprintf(t->why, sizeof t->why, "it belongs to cluster %s, we to %s",
                   hex_of(theirs, 16, a), hex_of(ours, 16, b));
    return reject(f, BUS_REFUSED_CLUSTER, t->why);
}

static bool judge_node(struct feed *f, bool meet)
{
    struct bus_talk *t = f->t;
    const char *why = NULL;
    if (topo_id_is_none(t->node.id)) return reject(f, BUS_REFUSED_FRAME, "a node without an id");
    if (topo_id_equal(t->node.id, t->self->node))
        return reject(f, BUS_REFUSED_NODE, "that is this node itself");
    if (!judge_cluster(f, meet)) return false;
    if (!topo_id_is_none(t->expected) && !topo_id_equal(t->expected, t->node.id)) {
        struct topo_hex hex = topo_id_hex(t->node.id);
        (void)snprintf(t->why, sizeof t->why, "another node answers at this address: %s", hex.text);
        return reject(f, BUS_REFUSED_NODE, t->why);
    }
    enum bus_refusal refusal = f->events->judge(f->events->ctx, t, &why);
    return refusal == BUS_REFUSALS || reject(f, refusal, why);
}

static void go_up(struct feed *f)
{
    f->t->phase = BUS_UP;
    bus_reader_grow(&f->t->reader, (uint8_t)f->t->node.version);
    f->events->up(f->events->ctx, f->t);
}

/* ---- messages in */

static bool unreadable(struct feed *f)
{
    return refuse(f, BUS_REFUSED_FRAME, "a hello that cannot be read");
}

static bool decode(const struct wire_type *wire, struct bytes body, void *out)
{
    struct wire_pool pool;
    const char *why = NULL;
    wire_pool_init(&pool);
    enum rc rc = wire_decode(wire, body, &pool, out, &why);
    wire_pool_free(&pool);
    return rc == RC_OK;
}

static bool on_challenge(struct feed *f, struct bytes body)
{
    struct bus_talk *t = f->t;
    const struct bus_self *self = t->self;
    struct bus_challenge c;
    if (t->phase != BUS_WAITS_CHALLENGE || !decode(&bus_challenge_wire, body, &c))
        return unreadable(f);
    if (version_of_both(self, c.version_min, c.version_max) == 0) {
        (void)snprintf(t->why, sizeof t->why, "it speaks versions %u to %u, we %u to %u",
                       c.version_min, c.version_max, self->version_min, self->version_max);
        return refuse(f, BUS_REFUSED_VERSION, t->why);
    }
    const struct bus_hello hello = {.answer = c.nonce,
                                    .nonce = t->nonce,
                                    .version_min = self->version_min,
                                    .version_max = self->version_max,
                                    .kind = BUS_KIND_CONTROL,
                                    .cluster = self->cluster,
                                    .node = self->node,
                                    .incarnation = self->incarnation,
                                    .meta_version = self->meta_version,
                                    .address = bytes_of(self->address),
                                    .meet = t->meet};
    put_message(f->out, BUS_HELLO, &bus_hello_wire, &hello);
    t->phase = BUS_WAITS_OK;
    return true;
}

static bool judge_hello(struct feed *f, const struct bus_hello *h)
{
    struct bus_talk *t = f->t;
    const struct bus_self *self = t->self;
    if (!same(&h->answer, &t->nonce, sizeof h->answer))
        return reject(f, BUS_REFUSED_REPLAY,
                      "its hello answers the challenge of another connection");
    t->node.version = version_of_both(self, h->version_min, h->version_max);
    if (t->node.version == 0) {
        (void)snprintf(t->why, sizeof t->why, "it speaks versions %u to %u, we %u to %u",
                       h->version_min, h->version_max, self->version_min, self->version_max);
        return reject(f, BUS_REFUSED_VERSION, t->why);
    }
    if (h->kind != BUS_KIND_CONTROL)
        return reject(f, BUS_REFUSED_VERSION, "a kind of connection that is not known here");
    return judge_node(f, h->meet);
}

static bool on_hello(struct feed *f, struct bytes body)
{
    struct bus_talk *t = f->t;
    const struct bus_self *self = t->self;
    struct wire_pool pool;
    struct bus_hello h;
    const char *why = NULL;
    wire_pool_init(&pool); /* h.address lies in it */
    bool good =
        t->phase == BUS_WAITS_HELLO && wire_decode(&bus_hello_wire, body, &pool, &h, &why) == RC_OK;
    if (good) {
        t->node = (struct bus_node){.id = h.node,
                                    .cluster = h.cluster,
                                    .incarnation = h.incarnation,
                                    .meta_version = h.meta_version};
        good = take_address(&t->node, h.address);
    }
    wire_pool_free(&pool);
    if (!good) return unreadable(f);
    if (!judge_hello(f, &h)) return false;
    const struct bus_hello_ok ok = {.answer = h.nonce,
                                    .version = t->node.version,
                                    .cluster = self->cluster,
                                    .node = self->node,
                                    .incarnation = self->incarnation,
                                    .meta_version = self->meta_version,
                                    .address = bytes_of(self->address)};
    put_message(f->out, BUS_HELLO_OK, &bus_hello_ok_wire, &ok);
    go_up(f);
    return true;
}

static bool on_hello_ok(struct feed *f, struct bytes body)
{
    struct bus_talk *t = f->t;
    struct wire_pool pool;
    struct bus_hello_ok ok;
    const char *why = NULL;
    wire_pool_init(&pool);
    bool good = t->phase == BUS_WAITS_OK &&
                wire_decode(&bus_hello_ok_wire, body, &pool, &ok, &why) == RC_OK;
    if (good) {
        t->node = (struct bus_node){.id = ok.node,
                                    .cluster = ok.cluster,
                                    .incarnation = ok.incarnation,
                                    .meta_version = ok.meta_version,
                                    .version = ok.version,
                                    .dialled = true};
        good = take_address(&t->node, ok.address);
    }
    wire_pool_free(&pool);
    if (!good) return unreadable(f);
    if (!same(&ok.answer, &t->nonce, sizeof ok.answer))
        return refuse(f, BUS_REFUSED_REPLAY, "its answer is to the hello of another connection");
    if (ok.version < t->self->version_min || ok.version > t->self->version_max)
        return refuse(f, BUS_REFUSED_VERSION, "it chose a version that we do not speak");
    if (!judge_node(f, t->meet)) return false;
    go_up(f);
    return true;
}

static bool on_hello_reject(struct feed *f, struct bytes body)
{
    struct bus_talk *t = f->t;
    struct wire_pool pool;
    struct bus_hello_reject r;
    const char *why = NULL;
    wire_pool_init(&pool);
    bool good = wire_decode(&bus_hello_reject_wire, body, &pool, &r, &why) == RC_OK;
    char text[129] = "";
    for (size_t i = 0; good && i < r.text.len && i < sizeof text - 1; i++) {
        uint8_t c = r.text.data[i];
        text[i] = (char)(c >= ' ' && c < 0x7f ? c : '?'); /* it goes into our log */
        text[i + 1] = '\0';
    }
    wire_pool_free(&pool);
    if (!good) return unreadable(f);
    (void)snprintf(t->why, sizeof t->why, "the other end refuses us: %s", text);
    return refuse(f, BUS_REFUSED_BY_PEER, t->why);
}

static bool on_link_message(struct feed *f, uint8_t type, struct bytes body)
{
    struct bus_talk *t = f->t;
    switch (type) {
    case BUS_CHALLENGE:
        return on_challenge(f, body);
    case BUS_HELLO:
        return on_hello(f, body);
    case BUS_HELLO_OK:
        return on_hello_ok(f, body);
    case BUS_HELLO_REJECT:
        return on_hello_reject(f, body);
    default:
        break;
    }
    if (t->phase != BUS_UP) return unreadable(f);
    if (type == BUS_PING)
        t->pong_owed = true;
    else if (type != BUS_PONG)
        f->events->unknown(f->events->ctx);
    return true;
}

static bool on_message(void *ctx, uint16_t channel, uint8_t type, struct bytes body)
{
    struct feed *f = ctx;
    if (channel == BUS_LINK) return on_link_message(f, type, body);
    if (f->t->phase != BUS_UP)
        return refuse(f, BUS_REFUSED_FRAME, "a message before the hello is done");
    if (!f->events->message(f->events->ctx, f->t, channel, type, body))
        f->events->unknown(f->events->ctx);
    return f->t->phase == BUS_UP;
}

static bool on_hold(void *ctx, size_t more)
{
    const struct feed *f = ctx;
    return f->t->phase == BUS_UP && f->events->hold(f->events->ctx, more);
}

static void on_ignored(void *ctx)
{
    const struct feed *f = ctx;
    f->events->unknown(f->events->ctx);
}

enum bus_refusal bus_talk_feed(struct bus_talk *t, struct bytes in, struct buf *out,
                               const struct bus_talk_events *events, const char **why_out)
{
    if (t->phase == BUS_OVER) return BUS_REFUSALS; /* what comes now is nobody's */
    struct feed f = {.t = t, .out = out, .events = events, .refusal = BUS_REFUSALS};
    const struct bus_reader_events reading = {
        .message = on_message, .hold = on_hold, .ignored = on_ignored, .ctx = &f};
    enum bus_refusal refusal = bus_reader_feed(&t->reader, in, &reading, &f.why);
    if (refusal == BUS_REFUSALS) refusal = f.refusal;
    if (refusal != BUS_REFUSALS) {
        t->phase = BUS_OVER;
        *why_out = f.why;
    }
    return refusal;
}
