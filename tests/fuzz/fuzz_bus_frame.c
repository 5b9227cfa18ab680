/* tests/fuzz/fuzz_bus_frame.c: what comes from another node, read by the frame reader. The first byte chooses:
 *
 *   bit 0   bytes as they come; else frames { flags, channel, type, length u16, body } with right heads and
 *           checksums
 *   bit 1   the hello is done: frames of full length
 *   rest    where the stream is cut, as a seed
 *
 * Wherever it is cut, the same messages come of it and the same end; and no more memory is held than the
 * limits say. */
#include "cluster/bus_frame.h"
#include "shard/base/assert.h"
#include "shard/base/crc.h"
#include "shard/base/rng.h"

#define BYTES_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    uint32_t messages, ignored, hash;
    size_t held;
};

static bool on_message(void *ctx, uint16_t channel, uint8_t type, struct bytes body)
{
    struct told *t = ctx;
    bool is_long = channel == BUS_RAFT || channel == BUS_META;
    assert(body.len <= (is_long ? BUS_MESSAGE_BYTES_MAX : BUS_BODY_BYTES_MAX));
    t->messages++;
    t->hash = crc32c(t->hash, &channel, sizeof channel);
    t->hash = crc32c(t->hash, &type, sizeof type);
    t->hash = crc32c(t->hash, body.data, body.len);
    return true;
}

static bool on_hold(void *ctx, size_t more)
{
    struct told *t = ctx;
    t->held += more;
    return t->held <= 600000; /* of all messages, until now: now and then it is full */
}

static void on_ignored(void *ctx)
{
    ((struct told *)ctx)->ignored++;
}

/* All of `in`, cut by `seed`; 0: at once. */
static enum bus_refusal read_all(struct bytes in, bool grown, uint64_t seed, struct told *t)
{
    struct bus_reader r;
    struct rng rng;
    enum bus_refusal refusal = BUS_REFUSALS;
    const struct bus_reader_events events = {
        .message = on_message, .hold = on_hold, .ignored = on_ignored, .ctx = t};
    *t = (struct told){0};
    bus_reader_init(&r);
    rng_seed(&rng, seed);
    if (grown) bus_reader_grow(&r, 1);
    for (size_t at = 0; at < in.len && refusal == BUS_REFUSALS;) {
        size_t most = seed == 0 ? in.len : 1 + rng_below(&rng, rng_below(&rng, 2) ? 20 : 5000);
        size_t n = in.len - at < most ? in.len - at : most;
        const char *why = NULL;
        refusal = bus_reader_feed(&r, bytes_view(in.data + at, n), &events, &why);
        assert((refusal != BUS_REFUSALS) == (why != NULL));
        assert(r.held.len <=
               BUS_FRAME_HEAD_BYTES + (grown ? BUS_BODY_BYTES_MAX : BUS_HELLO_BYTES_MAX));
        assert(r.parts[0].len + r.parts[1].len == r.assembled || refusal != BUS_REFUSALS);
        assert(r.assembled <= 2 * BUS_MESSAGE_BYTES_MAX);
        at += n;
    }
    bus_reader_free(&r);
    return refusal;
}

static void frames(struct buf *out, const uint8_t *p, size_t n)
{
    while (n >= 5 && out->len < BYTES_MAX) {
        size_t length = (size_t)p[3] | (size_t)p[4] << 8;
        struct bus_head head = {
            .version = 1, .type = p[2], .flags = p[0] & 7, .channel = p[1] & 15};
        if (head.flags > 3 && p[0] < 0xf0) head.flags &= 3;
        size_t there = length < n - 5 ? length : n - 5;
        bus_frame_put(out, &head, bytes_view(p + 5, there < BUS_BODY_BYTES_MAX ? there : 0));
        p += 5 + there;
        n -= 5 + there;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > BYTES_MAX) return 0;
    struct buf in;
    struct told whole;
    struct told cut;
    buf_init(&in, MEM_TEST);
    if (data[0] & 1)
        buf_add(&in, data + 1, size - 1);
    else
        frames(&in, data + 1, size - 1);
    bool grown = (data[0] & 2) != 0;
    enum bus_refusal a = read_all(buf_bytes(&in), grown, 0, &whole);
    enum bus_refusal b = read_all(buf_bytes(&in), grown, 1u + data[0], &cut);
    assert(a == b);
    assert(whole.messages == cut.messages);
    assert(whole.ignored == cut.ignored);
    assert(whole.hash == cut.hash);
    buf_free(&in);
    return 0;
}
