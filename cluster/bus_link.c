/* One connection: socket ↔ TLS ↔ talk, and what waits to be sent.
 *
 *   on_data → tls_receive → bus_talk_feed → message, up, refusal
 *   bus_send → lane → (pump) frames in `out` → tls_send → `wire` → io_stream_send → on_sent → pump …
 *
 * One send is under way; while it is, everything else waits in the lanes, where urgent messages overtake:
 * pump() takes all of them, then a frame of RAFT and one of META in turn, until BUS_SEND_BYTES are full. */
#include "cluster/bus_priv.h"

#include <stdio.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"
#include "shard/rt/sock.h"

#define KEEP_BYTES (16u << 10) /* of an empty buffer */

static struct bus_link *link_of(struct io_stream *s)
{
    return container_of(s, struct bus_link, stream);
}

/* ---- lanes */

static uint32_t lane_of(uint16_t channel)
{
    if (channel == BUS_RAFT) return LANE_RAFT;
    return channel == BUS_META ? LANE_META : LANE_URGENT;
}

static void lane_pop(struct bus *b, struct bus_lane *lane)
{
    struct bus_item *item = lane->head;
    lane->head = item->next;
    if (lane->head == NULL) lane->tail = &lane->head;
    lane->done = 0;
    lane->bytes -= item->len;
    lane->messages--;
    b->queued_bytes -= item->len;
    b->queued_messages--;
    mem_free(MEM_CLUSTER, item, sizeof *item + item->len);
}

static void lanes_drop(struct bus_link *l)
{
    for (uint32_t i = 0; i < LANES; i++) {
        while (l->lanes[i].head != NULL) {
            lane_pop(l->bus, &l->lanes[i]);
            l->bus->stats.dropped_lost++;
        }
    }
}

/* Its next frame into `out`. False: it is empty. */
static bool lane_frame(struct bus_link *l, struct bus_lane *lane)
{
    const struct bus_item *item = lane->head;
    if (item == NULL) return false;
    bool last = bus_fragment_put(&l->out, (uint8_t)l->talk.node.version, item->channel, item->type,
                                 bytes_view(item->data, item->len), &lane->done);
    l->bus->stats.frames_out++;
    if (last) {
        l->bus->stats.messages_out++;
        lane_pop(l->bus, lane);
    }
    return true;
}

static void fill(struct bus_link *l)
{
    bool more = true;
    while (l->lanes[LANE_URGENT].head != NULL && l->out.len < BUS_SEND_BYTES)
        (void)lane_frame(l, &l->lanes[LANE_URGENT]);
    /* A long frame alone may fill it: whose turn it is must be remembered. */
    while (more && l->out.len < BUS_SEND_BYTES) {
        uint32_t lane = l->turn;
        l->turn = lane == LANE_RAFT ? LANE_META : LANE_RAFT;
        more = lane_frame(l, &l->lanes[lane]) || lane_frame(l, &l->lanes[l->turn]);
    }
}

/* ---- sending */

/* `out` into `wire`, sealed if there is TLS. */
static void seal(struct bus_link *l)
{
    if (l->tls == NULL) {
        struct buf empty = l->wire;
        l->wire = l->out;
        l->out = empty;
        return;
    }
    const char *why = NULL;
    bool text = tls_ready(l->tls) && l->out.len > 0;
    enum rc rc = tls_send(l->tls, text ? buf_bytes(&l->out) : bytes_view(NULL, 0), &l->wire, &why);
    if (text) {
        l->out.len = 0;
        buf_shrink(&l->out, KEEP_BYTES);
    }
    if (rc != RC_OK) l->broken = true; /* what is in wire, an alert, may still go */
}

static void pump(struct bus_link *l)
{
    if (l->ended || l->sending) return;
    if (l->up) {
        if (l->talk.pong_owed) bus_pong_put(&l->out, &l->talk);
        l->talk.pong_owed = false;
        fill(l);
    }
    assert(l->wire.len == 0);
    if (l->out.len > 0 || l->tls != NULL) seal(l);
    if (l->wire.len > 0) {
        l->sending = true;
        l->send_ms = l->bus->now_ms;
        l->bus->stats.bytes_out += l->wire.len;
        io_stream_send(l->bus->opts.io, &l->stream, l->wire.data, l->wire.len);
    } else if (l->goodbye) {
        l->broken = true;
    }
}

enum rc bus__link_send(struct bus_link *l, uint16_t channel, uint8_t type, struct bytes body)
{
    struct bus *b = l->bus;
    struct bus_lane *lane = &l->lanes[lane_of(channel)];
    if (lane->messages >= BUS_QUEUE_MESSAGES_MAX || lane->bytes + body.len > BUS_QUEUE_BYTES_MAX ||
        b->queued_bytes + body.len > BUS_QUEUES_BYTES_MAX)
        return RC_FULL;
    struct bus_item *item = mem_try_alloc(MEM_CLUSTER, sizeof *item + body.len);
    if (item == NULL) return RC_FULL;
    item->next = NULL;
    item->channel = channel;
    item->type = type;
    item->len = body.len;
    if (body.len > 0) memcpy(item->data, body.data, body.len);
    *lane->tail = item;
    lane->tail = &item->next;
    lane->bytes += body.len;
    lane->messages++;
    b->queued_bytes += body.len;
    b->queued_messages++;
    pump(l);
    return RC_OK;
}

/* ---- receiving */

static enum bus_refusal on_judge(void *ctx, struct bus_talk *t, const char **why_out)
{
    (void)t;
    return bus__judge(ctx, why_out);
}

static void on_up(void *ctx, struct bus_talk *t)
{
    (void)t;
    bus__link_up(ctx);
}

static bool on_message(void *ctx, struct bus_talk *t, uint16_t channel, uint8_t type,
                       struct bytes body)
{
    struct bus_link *l = ctx;
    const struct bus_events *events = &l->bus->opts.events;
    /* A link whose closing is only marked says nothing more. */
    if (l->broken || l->peer->close) return true;
    l->bus->stats.messages_in++;
    return events->on_message(events->ctx, &t->node, channel, type, body);
}

static bool on_hold(void *ctx, size_t more)
{
    struct bus_link *l = ctx;
    if (l->bus->assembly + more > BUS_ASSEMBLY_BYTES_MAX) return false;
    l->bus->assembly += more;
    l->counted += more;
    return true;
}

static void on_unknown(void *ctx)
{
    struct bus_link *l = ctx;
    l->bus->stats.unknown++;
}

static bool on_plain(void *ctx, struct bytes text)
{
    struct bus_link *l = ctx;
    const struct bus_talk_events events = {.judge = on_judge,
                                           .up = on_up,
                                           .message = on_message,
                                           .hold = on_hold,
                                           .unknown = on_unknown,
                                           .ctx = l};
    const char *why = NULL;
    uint64_t frames = l->talk.reader.frames;
    enum bus_refusal refusal = bus_talk_feed(&l->talk, text, &l->out, &events, &why);
    l->bus->stats.frames_in += l->talk.reader.frames - frames;
    l->bus->assembly -= l->counted - l->talk.reader.assembled;
    l->counted = l->talk.reader.assembled;
    if (refusal == BUS_REFUSALS) return true;
    bus__link_refuse(l, refusal, why);
    return false;
}

static void on_data(struct io_stream *s, const uint8_t *data, size_t len)
{
    struct bus_link *l = link_of(s);
    assert(!l->ended);
    l->bus->stats.bytes_in += len;
    if (l->goodbye || l->broken) return;
    l->heard_ms = l->bus->now_ms;
    if (l->tls == NULL) {
        (void)on_plain(l, bytes_view(data, len));
    } else {
        const char *why = "out of memory";
        enum rc rc = tls_receive(l->tls, bytes_view(data, len), on_plain, l, &why);
        if (rc == RC_CLOSED)
            bus__link_end(l);
        else if (rc != RC_OK && !l->ended && !l->goodbye)
            bus__link_refuse(l, BUS_REFUSED_TLS, why);
    }
    pump(l);
}

static void on_close(struct io_stream *s, int32_t err)
{
    (void)err;
    bus__link_end(link_of(s));
}

static void on_sent(struct io_stream *s, int32_t err)
{
    struct bus_link *l = link_of(s);
    l->sending = false;
    l->wire.len = 0;
    buf_shrink(&l->wire, KEEP_BYTES);
    if (err < 0 || l->broken)
        bus__link_end(l);
    else
        pump(l);
}

static void on_gone(struct io_stream *s)
{
    struct bus_link *l = link_of(s);
    l->bus->dying--;
    bus_talk_free(&l->talk);
    tls_free(l->tls);
    buf_free(&l->out);
    buf_free(&l->wire);
    mem_free(MEM_CLUSTER, l, sizeof *l);
}

/* ---- begin and end */

static const struct io_stream_events stream_events = {
    .on_data = on_data, .on_close = on_close, .on_sent = on_sent, .on_gone = on_gone};

static void list_add(struct bus_link *l)
{
    struct bus *b = l->bus;
    l->older = b->newest;
    if (b->newest != NULL)
        b->newest->newer = l;
    else
        b->oldest = l;
    b->newest = l;
    b->live++;
}

static void list_remove(struct bus_link *l)
{
    struct bus *b = l->bus;
    if (l->older != NULL)
        l->older->newer = l->newer;
    else
        b->oldest = l->newer;
    if (l->newer != NULL)
        l->newer->older = l->older;
    else
        b->newest = l->older;
    b->live--;
}

struct bus_link *bus__link_open(struct bus *b, int fd, bool dialled, struct topo_id expected,
                                bool meet)
{
    struct bus_link *l = mem_try_zalloc(MEM_CLUSTER, sizeof *l);
    struct bus_nonce nonce;
    if (l == NULL) return NULL;
    l->bus = b;
    l->begun_ms = l->heard_ms = l->asked_ms = b->now_ms;
    l->stream.events = &stream_events;
    l->accepted = !dialled;
    l->turn = LANE_RAFT;
    buf_init(&l->out, MEM_CLUSTER);
    buf_init(&l->wire, MEM_CLUSTER);
    for (uint32_t i = 0; i < LANES; i++)
        l->lanes[i].tail = &l->lanes[i].head;
    sock_set_nodelay(fd);
    sock_peer_name(fd, l->name, sizeof l->name);
    if (b->opts.tls != NULL) {
        l->tls = tls_new(b->opts.tls, !dialled);
        if (l->tls == NULL) goto out_free;
    }
    if (io_stream_open(b->opts.io, &l->stream, fd) != RC_OK) goto out_free;
    rng_secret(&nonce, sizeof nonce);
    if (dialled)
        bus_talk_dial(&l->talk, &b->self, nonce, expected, meet);
    else
        bus_talk_accept(&l->talk, &b->self, nonce, &l->out);
    list_add(l);
    pump(l); /* the challenge; or TLS begins */
    return l;
out_free:
    tls_free(l->tls);
    mem_free(MEM_CLUSTER, l, sizeof *l);
    return NULL;
}

void bus__link_end(struct bus_link *l)
{
    if (l->ended) return;
    l->ended = true;
    list_remove(l);
    l->bus->dying++;
    l->bus->assembly -= l->counted;
    l->counted = 0;
    io_stream_close(l->bus->opts.io, &l->stream);
    lanes_drop(l);
    bus__link_over(l);
}

void bus__link_refuse(struct bus_link *l, enum bus_refusal refusal, const char *why)
{
    bus__refused(l->bus, refusal, l->name, why);
    if (l->up) {
        bus__link_end(l);
        return;
    }
    l->goodbye = true; /* hello_ms bounds how long that takes */
    pump(l);
}

/* ---- time */

static void up_tick(struct bus_link *l)
{
    const struct bus_opts *o = &l->bus->opts;
    uint64_t now = l->bus->now_ms;
    char why[96];
    bool stuck = l->sending && now - l->send_ms >= o->silence_ms;
    if (stuck || now - l->heard_ms >= o->silence_ms) {
        (void)snprintf(why, sizeof why, "it %s nothing for %u ms", stuck ? "took" : "said",
                       o->silence_ms);
        bus__link_refuse(l, BUS_REFUSED_SILENT, why);
        return;
    }
    if (now - l->heard_ms >= o->ping_ms && now - l->asked_ms >= o->ping_ms && !l->sending) {
        l->asked_ms = now;
        bus_ping_put(&l->out, &l->talk);
    }
    pump(l);
}

void bus__link_tick(struct bus_link *l)
{
    const struct bus_opts *o = &l->bus->opts;
    char why[96];
    bool retires = l->retire_at_ms != 0 && l->bus->now_ms >= l->retire_at_ms;
    if (l->broken || retires || (l->peer != NULL && l->peer->close)) {
        bus__link_end(l);
    } else if (l->up) {
        up_tick(l);
    } else if (l->bus->now_ms - l->begun_ms >= o->hello_ms) {
        (void)snprintf(why, sizeof why, "no hello within %u ms%s", o->hello_ms,
                       l->tls == NULL ? "" : "; does it speak TLS?");
        if (!l->goodbye) bus__refused(l->bus, BUS_REFUSED_SLOW, l->name, why);
        bus__link_end(l);
    }
}
