/* The answers of several shards as one reply: sums, joined arrays, elements in the order they were asked. */
#include "node/place_priv.h"
#include "shard/resp/value.h"

static size_t merge_bytes(uint32_t shards)
{
    return sizeof(struct merge) + shards * sizeof(struct buf);
}

struct merge *merge__new(enum cmd_spread spread, uint32_t shards, uint32_t elements, uint8_t proto)
{
    struct merge *m = mem_alloc(MEM_REPLY, merge_bytes(shards));
    *m = (struct merge){.spread = spread, .shards = shards, .elements = elements, .proto = proto};
    for (uint32_t i = 0; i < shards; i++)
        buf_init(&m->part[i], MEM_REPLY);
    if (spread == SPREAD_GATHER) m->shard_of = mem_alloc(MEM_REPLY, elements);
    return m;
}

static void merge_free(struct merge *m)
{
    for (uint32_t i = 0; i < m->shards; i++)
        buf_free(&m->part[i]);
    if (m->shard_of != NULL) mem_free(MEM_REPLY, m->shard_of, m->elements);
    mem_free(MEM_REPLY, m, merge_bytes(m->shards));
}

void place__merge_drop(struct merge *m)
{
    merge_free(m); /* answers find the connection gone, never the merge */
}

static int64_t wire_integer(const struct bytes *wire)
{
    int64_t v = 0;
    size_t i = 1;
    bool negative = wire->len > 1 && wire->data[1] == '-';
    for (i += negative; i < wire->len && wire->data[i] != '\r'; i++)
        v = v * 10 + (wire->data[i] - '0');
    return negative ? -v : v;
}

/* Bytes of an aggregate's header line; *count_out its count. */
static size_t wire_header(const struct bytes *wire, int64_t *count_out)
{
    *count_out = wire_integer(wire);
    const uint8_t *end = memchr(wire->data, '\n', wire->len);
    return end == NULL ? wire->len : (size_t)(end - wire->data) + 1;
}

static void merge_sum(const struct merge_parts *m, struct reply *reply)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < m->shards; i++)
        if (m->part[i].len > 0) sum += wire_integer(&m->part[i]);
    reply_i64(reply, sum);
}

static void merge_concat(const struct merge_parts *m, struct reply *reply)
{
    int64_t total = 0, count;
    for (uint32_t i = 0; i < m->shards; i++) {
        (void)wire_header(&m->part[i], &count);
        total += count;
    }
    reply_array(reply, total);
    for (uint32_t i = 0; i < m->shards; i++) {
        size_t head = wire_header(&m->part[i], &count);
        reply_raw(reply, bytes_view(m->part[i].data + head, m->part[i].len - head));
    }
}

/* Of our own making, so whole and right. Most are bulk strings: "$3\r\nabc\r\n". */
static size_t wire_bytes_of(const uint8_t *value, size_t len)
{
    size_t at = 1, body = 0;
    if (value[0] == '$' && value[1] != '-') {
        for (; value[at] != '\r'; at++)
            body = body * 10 + (value[at] - '0');
        return at + 2 + body + 2;
    }
    int64_t bytes = resp_value_skip(value, len);
    assert(bytes > 0);
    return (size_t)bytes;
}

/* 0: before the header, which it goes over first. */
static size_t first_element(const struct bytes *part, size_t at)
{
    int64_t count;
    return at > 0 ? at : wire_header(part, &count);
}

size_t merge__skip_element(const struct bytes *part, size_t at)
{
    if (part->len == 0 || part->data[0] == '-') return 0;
    at = first_element(part, at);
    return at + wire_bytes_of(part->data + at, part->len - at);
}

static void merge_gather(const struct merge_parts *m, struct reply *reply)
{
    for (uint32_t i = 0; i < m->shards; i++)
        if (m->part[i].len > 0) m->at[i] = first_element(&m->part[i], m->at[i]);
    reply_array(reply, m->elements);
    for (uint32_t e = 0; e < m->elements;) {
        uint8_t s = m->shard_of[e];
        const struct bytes *part = &m->part[s];
        size_t from = m->at[s], to = from;
        for (; e < m->elements && m->shard_of[e] == s; e++) {
            to += wire_bytes_of(part->data + to, part->len - to);
            assert(to <= part->len);
        }
        m->at[s] = to;
        reply_raw(reply, bytes_view(part->data + from, to - from));
    }
}

static const struct bytes *merge_error(const struct merge_parts *m)
{
    for (uint32_t i = 0; i < m->shards; i++)
        if (m->part[i].len > 0 && m->part[i].data[0] == '-') return &m->part[i];
    return NULL;
}

static bool any_part(const struct merge_parts *m)
{
    for (uint32_t i = 0; i < m->shards; i++)
        if (m->part[i].len > 0) return true;
    return false;
}

void merge__views(const struct merge_parts *m, struct reply *reply)
{
    const struct bytes *error = merge_error(m);
    if (error != NULL) {
        reply_raw(reply, *error);
        return;
    }
    switch (m->spread) {
    case SPREAD_SUM:
    case SPREAD_EVERY_SUM:
        merge_sum(m, reply);
        return;
    case SPREAD_EVERY_CONCAT:
        merge_concat(m, reply);
        return;
    case SPREAD_GATHER:
        merge_gather(m, reply);
        return;
    case SPREAD_ALL_OK:
    case SPREAD_EVERY_OK:
        reply_ok(reply);
        return;
    case SPREAD_ALL_NEW:
        reply_i64(reply, any_part(m));
        return;
    case SPREAD_CONN:
    case SPREAD_KEY:
    case SPREAD_WAIT:
    case SPREAD_WAIT_MOVE:
    case SPREAD_SCRIPT:
    case SPREAD_CURSOR:
    case SPREAD_ANY:
        break;
    }
    assert(false);
}

void merge__reply(const struct merge *m, struct reply *reply)
{
    struct bytes part[SHARDS_MAX] UNINITIALIZED;
    size_t at[SHARDS_MAX] UNINITIALIZED;
    for (uint32_t i = 0; i < m->shards; i++) {
        part[i] = buf_bytes(&m->part[i]);
        at[i] = 0;
    }
    struct merge_parts parts = {.spread = m->spread,
                                .shards = m->shards,
                                .elements = m->elements,
                                .shard_of = m->shard_of,
                                .part = part,
                                .at = at};
    merge__views(&parts, reply);
}

void merge__finish(struct merge *m, struct reply *reply)
{
    merge__reply(m, reply);
    merge_free(m);
}

void merge__part(struct conn *c, uint32_t number, struct merge *m, uint32_t part, struct bytes wire)
{
    buf_add_bytes(&m->part[part], wire);
    assert(m->left > 0);
    if (--m->left > 0) return;
    struct buf joined;
    buf_init(&joined, MEM_REPLY);
    struct reply reply = {.out = &joined, .proto = m->proto};
    merge__finish(m, &reply);
    conn__answer(c, number, buf_bytes(&joined));
    buf_free(&joined);
}
