/* tests/fuzz/fuzz_bus_hello.c: what another node says when a link begins. The first byte chooses:
 *
 *   0 … 3   the rest is a Challenge, Hello, HelloOk or HelloReject: read, and if it is one, written and read
 *           again
 *   4, 5    an acceptor, a dialler is told { type, length, body } as frames of the link's channel; the dialler's
 *           acceptor has sent its challenge already if bit 3 is set
 *
 * No link comes up whose hello does not answer our nonce, what is refused stays refused with a reason, and
 * nothing is left behind. */
#include "cluster/bus_hello.h"
#include "shard/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct wire_type *type, const void *message, struct buf *out)
{
    out->len = 0;
    enum rc rc = wire_encode(type, message, out);
    assert(rc == RC_OK);
}

static void decode(uint32_t which, struct bytes in)
{
    static const struct wire_type *const types[] = {&bus_challenge_wire, &bus_hello_wire,
                                                    &bus_hello_ok_wire, &bus_hello_reject_wire};
    const struct wire_type *type = types[which];
    _Alignas(16) uint8_t message[256];
    struct wire_pool pool;
    struct wire_pool again;
    struct buf first;
    struct buf second;
    const char *why = NULL;
    assert(type->struct_bytes <= sizeof message);
    wire_pool_init(&pool);
    wire_pool_init(&again);
    buf_init(&first, MEM_TEST);
    buf_init(&second, MEM_TEST);
    if (wire_decode(type, in, &pool, message, &why) == RC_OK) {
        encode(type, message, &first);
        assert(first.len <= in.len);
        enum rc rc = wire_decode(type, buf_bytes(&first), &again, message, &why);
        assert(rc == RC_OK);
        encode(type, message, &second);
        assert(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    } else {
        assert(why != NULL);
    }
    wire_pool_free(&pool);
    wire_pool_free(&again);
    buf_free(&first);
    buf_free(&second);
}

/* ---- a talk */

struct world {
    uint32_t ups, messages;
    bool answered; /* a hello or an answer to one carried our nonce */
};

static enum bus_refusal on_judge(void *ctx, struct bus_talk *t, const char **why_out)
{
    (void)ctx;
    assert(!topo_id_is_none(t->node.id));
    for (const char *c = t->node.address; *c != '\0'; c++)
        assert(*c > ' ' && *c < 0x7f);
    *why_out = "no";
    return t->node.incarnation % 5 == 4 ? BUS_REFUSED_INCARNATION : BUS_REFUSALS;
}

static void on_up(void *ctx, struct bus_talk *t)
{
    struct world *w = ctx;
    assert(w->answered);
    assert(t->node.version == 1);
    w->ups++;
}

static bool on_message(void *ctx, struct bus_talk *t, uint16_t channel, uint8_t type,
                       struct bytes body)
{
    struct world *w = ctx;
    (void)type;
    (void)body;
    assert(t->phase == BUS_UP);
    assert(channel != BUS_LINK);
    w->messages++;
    return true;
}

static bool on_hold(void *ctx, size_t more)
{
    (void)ctx;
    return more < 1000;
}

static void on_unknown(void *ctx)
{
    (void)ctx;
}

/* Whether these bytes carry our nonce somewhere: then they may be a good hello. */
static bool carries(struct bytes body, struct bus_nonce nonce)
{
    return memmem(body.data, body.len, &nonce, sizeof nonce) != NULL;
}

static void talk(const uint8_t *p, size_t n, bool dialler, bool challenged)
{
    static const struct bus_self self = {
        .cluster = {{1}}, .node = {{1}}, .incarnation = 1, .version_min = 1, .version_max = 1};
    const struct bus_nonce nonce = {"0123456789abcde"};
    struct world w = {0};
    struct bus_talk t;
    struct buf out;
    struct buf in;
    const struct bus_talk_events events = {.judge = on_judge,
                                           .up = on_up,
                                           .message = on_message,
                                           .hold = on_hold,
                                           .unknown = on_unknown,
                                           .ctx = &w};
    const char *why = NULL;
    buf_init(&out, MEM_TEST);
    buf_init(&in, MEM_TEST);
    if (dialler)
        bus_talk_dial(&t, &self, nonce, (struct topo_id){{0}}, (n & 1) != 0);
    else
        bus_talk_accept(&t, &self, nonce, &out);
    if (dialler && challenged) {
        struct bus_talk other;
        bus_talk_accept(&other, &self, (struct bus_nonce){"fedcba9876543210"}, &in);
        (void)bus_talk_feed(&t, buf_bytes(&in), &out, &events, &why);
        bus_talk_free(&other);
    }
    while (n >= 3) {
        size_t length = p[1] | (size_t)(p[2] & 1) << 8;
        if (length > n - 3) length = n - 3;
        struct bytes body = bytes_view(p + 3, length);
        const struct bus_head head = {
            .version = 1, .type = p[0] & 7, .flags = (p[2] >> 1) & 3, .channel = p[2] >> 5};
        w.answered |= carries(body, nonce);
        in.len = out.len = 0;
        bus_frame_put(&in, &head, body);
        enum bus_phase before = t.phase;
        why = NULL;
        enum bus_refusal refusal = bus_talk_feed(&t, buf_bytes(&in), &out, &events, &why);
        assert((refusal != BUS_REFUSALS) == (why != NULL));
        assert((refusal != BUS_REFUSALS) == (before != BUS_OVER && t.phase == BUS_OVER));
        assert(out.len <= 2 * (BUS_FRAME_HEAD_BYTES + BUS_HELLO_BYTES_MAX));
        p += 3 + length;
        n -= 3 + length;
    }
    assert(w.ups <= 1);
    assert(w.messages == 0 || w.ups == 1);
    bus_talk_free(&t);
    buf_free(&out);
    buf_free(&in);
    assert(mem_live_bytes(MEM_CLUSTER) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096) return 0;
    uint32_t mode = data[0] & 7;
    if (mode < 4)
        decode(mode, bytes_view(data + 1, size - 1));
    else
        talk(data + 1, size - 1, (mode & 1) != 0, (data[0] & 8) != 0);
    return 0;
}
