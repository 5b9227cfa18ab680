/* A frame is 16 bytes of head and its body; all numbers little endian:
 *
 *   0  u16 magic    2  u8 version    3  u8 type    4  u16 flags    6  u16 channel
 *   8  u32 length of the body       12  u32 crc32c of bytes 0 to 11 and the body
 *
 * The head is judged as soon as it is there, before its body is waited for: a length over the limit costs
 * 16 bytes. Frames that arrive whole are read where they lie; `held` takes what has only begun. */
#include "cluster/bus_frame.h"

#include <endian.h>

#include "shard/base/assert.h"
#include "shard/base/crc.h"

#define CRC_AT 12u
#define HELD_KEEP_BYTES 4096u /* of a buffer that is empty */

static uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static void store16(uint8_t *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof v);
}

static void store32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

/* ---- writing */

void bus_frame_put(struct buf *out, const struct bus_head *head, struct bytes body)
{
    assert(body.len <= BUS_BODY_BYTES_MAX);
    uint8_t *p = buf_room(out, BUS_FRAME_HEAD_BYTES + body.len);
    store16(p, BUS_MAGIC);
    p[2] = head->version;
    p[3] = head->type;
    store16(p + 4, head->flags);
    store16(p + 6, head->channel);
    store32(p + 8, (uint32_t)body.len);
    store32(p + CRC_AT, crc32c(crc32c(0, p, CRC_AT), body.data, body.len));
    if (body.len > 0) memcpy(p + BUS_FRAME_HEAD_BYTES, body.data, body.len);
    out->len += BUS_FRAME_HEAD_BYTES + body.len;
}

bool bus_fragment_put(struct buf *out, uint8_t version, uint16_t channel, uint8_t type,
                      struct bytes message, size_t *done)
{
    assert(*done <= message.len);
    size_t left = message.len - *done;
    size_t part = left < BUS_BODY_BYTES_MAX ? left : BUS_BODY_BYTES_MAX;
    struct bus_head head = {.version = version, .type = type, .channel = channel};
    if (*done > 0) head.flags |= BUS_FLAG_CONTINUED;
    if (part < left) head.flags |= BUS_FLAG_MORE;
    bus_frame_put(out, &head, bytes_view(message.data + *done, part));
    *done += part;
    return part == left;
}

/* ---- reading: one frame */

void bus_reader_init(struct bus_reader *r)
{
    *r = (struct bus_reader){.body_max = BUS_HELLO_BYTES_MAX, .version = BUS_VERSION_HELLO};
    buf_init(&r->held, MEM_CLUSTER);
    buf_init(&r->parts[0], MEM_CLUSTER);
    buf_init(&r->parts[1], MEM_CLUSTER);
}

void bus_reader_free(struct bus_reader *r)
{
    buf_free(&r->held);
    buf_free(&r->parts[0]);
    buf_free(&r->parts[1]);
}

void bus_reader_grow(struct bus_reader *r, uint8_t version)
{
    r->body_max = BUS_BODY_BYTES_MAX;
    r->version = version;
}

static enum bus_refusal read_head(const struct bus_reader *r, const uint8_t *p,
                                  struct bus_head *head, const char **why_out)
{
    *head = (struct bus_head){.version = p[2],
                              .type = p[3],
                              .flags = load16(p + 4),
                              .channel = load16(p + 6),
                              .length = load32(p + 8)};
    if (load16(p) != BUS_MAGIC) {
        *why_out = p[0] == 0x16 && p[1] == 0x03 ? "it speaks TLS, and this bus does not"
                                                : "what it sends are no frames of this bus";
        return BUS_REFUSED_FRAME;
    }
    if (head->version != r->version) {
        *why_out = "a frame of another version than was agreed on";
        return BUS_REFUSED_VERSION;
    }
    if (head->length > r->body_max) {
        *why_out = "a frame over the size limit";
        return BUS_REFUSED_OVERSIZED;
    }
    if ((head->flags & ~(BUS_FLAG_MORE | BUS_FLAG_CONTINUED)) != 0) {
        *why_out = "a frame with flags that are not known";
        return BUS_REFUSED_FRAME;
    }
    return BUS_REFUSALS;
}

static bool crc_fits(const uint8_t *p, size_t length)
{
    uint32_t crc = crc32c(crc32c(0, p, CRC_AT), p + BUS_FRAME_HEAD_BYTES, length);
    return crc == load32(p + CRC_AT);
}

/* ---- reading: messages of several frames */

static void part_end(struct bus_reader *r, uint32_t i)
{
    r->assembled -= r->parts[i].len;
    r->parts[i].len = 0;
    r->parts_type[i] = 0;
    buf_shrink(&r->parts[i], HELD_KEEP_BYTES);
}

static enum bus_refusal take_fragment(struct bus_reader *r, const struct bus_head *head,
                                      struct bytes body, const struct bus_reader_events *events,
                                      bool *go_on, const char **why_out)
{
    uint32_t i = head->channel - BUS_RAFT;
    struct buf *part = &r->parts[i];
    bool first = (head->flags & BUS_FLAG_CONTINUED) == 0;
    if (first != (r->parts_type[i] == 0) || (!first && r->parts_type[i] != head->type) ||
        head->type == 0) {
        *why_out = "fragments of a message out of order";
        return BUS_REFUSED_FRAME;
    }
    if (part->len + body.len > BUS_MESSAGE_BYTES_MAX) {
        *why_out = "a message over the size limit";
        return BUS_REFUSED_OVERSIZED;
    }
    if (!events->hold(events->ctx, body.len) || !buf_try_room(part, body.len)) {
        *why_out = "no memory for half received messages is left";
        return BUS_REFUSED_MEMORY;
    }
    buf_add_bytes(part, body);
    r->assembled += body.len;
    r->parts_type[i] = head->type;
    if (head->flags & BUS_FLAG_MORE) return BUS_REFUSALS;
    *go_on = events->message(events->ctx, head->channel, head->type, buf_bytes(part));
    if (*go_on) part_end(r, i);
    return BUS_REFUSALS;
}

static enum bus_refusal take_frame(struct bus_reader *r, const struct bus_head *head,
                                   struct bytes body, const struct bus_reader_events *events,
                                   bool *go_on, const char **why_out)
{
    bool long_channel = head->channel == BUS_RAFT || head->channel == BUS_META;
    if (long_channel && (head->flags != 0 || r->parts_type[head->channel - BUS_RAFT] != 0))
        return take_fragment(r, head, body, events, go_on, why_out);
    if (head->flags != 0 && head->channel < BUS_CHANNELS) {
        *why_out = "a fragment in a channel that has none";
        return BUS_REFUSED_FRAME;
    }
    if (head->flags != 0)
        events->ignored(events->ctx);
    else
        *go_on = events->message(events->ctx, head->channel, head->type, body);
    return BUS_REFUSALS;
}

/* ---- reading: bytes as they come */

/* Bytes of the frame that starts at p, of which n are there; 0 and no refusal: not even its head is. */
static enum bus_refusal frame_bytes(const struct bus_reader *r, const uint8_t *p, size_t n,
                                    struct bus_head *head, size_t *out, const char **why_out)
{
    *out = 0;
    if (n < BUS_FRAME_HEAD_BYTES) return BUS_REFUSALS;
    enum bus_refusal refusal = read_head(r, p, head, why_out);
    *out = BUS_FRAME_HEAD_BYTES + (size_t)head->length;
    return refusal;
}

static enum bus_refusal read_frame(struct bus_reader *r, const struct bus_head *head,
                                   const uint8_t *p, const struct bus_reader_events *events,
                                   bool *go_on, const char **why_out)
{
    if (!crc_fits(p, head->length)) {
        *why_out = "a frame with a wrong checksum";
        return BUS_REFUSED_FRAME;
    }
    r->frames++;
    struct bytes body = bytes_view(p + BUS_FRAME_HEAD_BYTES, head->length);
    return take_frame(r, head, body, events, go_on, why_out);
}

/* Adds to `held` until it is a whole head, or a whole frame. */
static void held_add(struct bus_reader *r, struct bytes *in, size_t want)
{
    size_t more = want - r->held.len < in->len ? want - r->held.len : in->len;
    buf_add(&r->held, in->data, more);
    in->data += more;
    in->len -= more;
}

enum bus_refusal bus_reader_feed(struct bus_reader *r, struct bytes in,
                                 const struct bus_reader_events *events, const char **why_out)
{
    bool go_on = true;
    r->bytes += in.len;
    while (go_on && in.len > 0) {
        struct bus_head head;
        size_t whole = 0;
        bool held = r->held.len > 0;
        if (held && r->held.len < BUS_FRAME_HEAD_BYTES) held_add(r, &in, BUS_FRAME_HEAD_BYTES);
        const uint8_t *p = held ? r->held.data : in.data;
        size_t n = held ? r->held.len : in.len;
        enum bus_refusal refusal = frame_bytes(r, p, n, &head, &whole, why_out);
        if (refusal != BUS_REFUSALS) return refusal;
        if (!held && (whole == 0 || whole > n)) {
            held_add(r, &in, n); /* all of it */
            return BUS_REFUSALS;
        }
        if (held && whole > n) {
            held_add(r, &in, whole);
            p = r->held.data;
            n = r->held.len;
        }
        if (whole == 0 || whole > n) return BUS_REFUSALS; /* and in is empty */
        refusal = read_frame(r, &head, p, events, &go_on, why_out);
        if (refusal != BUS_REFUSALS || !go_on) return refusal;
        if (held) {
            r->held.len = 0;
            buf_shrink(&r->held, HELD_KEEP_BYTES);
        } else {
            in.data += whole;
            in.len -= whole;
        }
    }
    return BUS_REFUSALS;
}
