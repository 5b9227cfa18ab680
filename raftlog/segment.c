/* raftlog/segment.c: heads and records of log segments. A record's checksum is seeded with the head's
 * and with its own offset: bytes of another file or place never match. */
#include "raftlog/store_priv.h"

#include "shard/base/assert.h"
#include "shard/base/crc.h"

static const char magic[8] = {'M', 'O', 'O', 'N', 'R', 'S', 'E', 'G'};
#define FORMAT 1u

static void put32(uint8_t *at, uint32_t v)
{
    memcpy(at, &v, sizeof v);
}
static void put64(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, sizeof v);
}
static uint32_t get32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return v;
}
static uint64_t get64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files are little-endian");

bool bytes_all_zero(struct bytes b)
{
    if (b.len == 0) return true;
    return b.data[0] == 0 && memcmp(b.data, b.data + 1, b.len - 1) == 0;
}

void segment_head_put(uint8_t out[SEGMENT_HEAD_BYTES], const struct store_ids *ids,
                      struct segment_head *head)
{
    memset(out, 0, SEGMENT_HEAD_BYTES);
    memcpy(out, magic, sizeof magic);
    put32(out + 8, FORMAT);
    put32(out + 12, head->sequence);
    memcpy(out + 16, ids->cluster, sizeof ids->cluster);
    memcpy(out + 32, ids->node, sizeof ids->node);
    put32(out + 52, head->file_bytes);
    put64(out + 56, head->first_index);
    put64(out + 64, head->prev_term);
    head->crc = crc32c(0, out, SEGMENT_HEAD_BYTES - 4);
    put32(out + SEGMENT_HEAD_BYTES - 4, head->crc);
}

const char *segment_head_get(struct bytes file, const struct store_ids *ids,
                             struct segment_head *out, uint64_t *offset_out)
{
    *offset_out = 0;
    const uint8_t *at = file.data;
    if (file.len < SEGMENT_HEAD_BYTES) {
        *offset_out = file.len;
        return "the head is cut off";
    }
    if (memcmp(at, magic, sizeof magic) != 0) return "no segment of a control log";
    out->crc = get32(at + SEGMENT_HEAD_BYTES - 4);
    if (crc32c(0, at, SEGMENT_HEAD_BYTES - 4) != out->crc) return "the head's checksum is wrong";
    if (get32(at + 8) != FORMAT) return "written by a newer version";
    if (memcmp(at + 16, ids->cluster, sizeof ids->cluster) != 0) return "of another cluster";
    if (memcmp(at + 32, ids->node, sizeof ids->node) != 0) return "of another node";
    out->sequence = get32(at + 12);
    out->file_bytes = get32(at + 52);
    out->first_index = get64(at + 56);
    out->prev_term = get64(at + 64);
    *offset_out = file.len < out->file_bytes ? file.len : out->file_bytes;
    if (file.len < out->file_bytes) return "the file is cut off";
    if (file.len > out->file_bytes) return "bytes behind the end";
    return NULL;
}

static uint32_t record_crc(uint32_t seed, uint64_t offset, const uint8_t *at, uint64_t total)
{
    uint32_t crc = crc32c(seed, &offset, sizeof offset);
    crc = crc32c(crc, at, 4);
    return crc32c(crc, at + 8, total - 8);
}

void record_put(struct buf *out, uint32_t seed, uint64_t offset, const struct record *r)
{
    uint64_t total = record_bytes(r->payload.len);
    uint8_t *at = buf_room(out, total);
    memset(at, 0, RECORD_HEAD_BYTES);
    put32(at, (uint32_t)r->payload.len);
    put64(at + 8, r->index);
    put64(at + 16, r->term);
    put32(at + 24, r->batch);
    at[28] = r->type;
    if (r->payload.len > 0) memcpy(at + RECORD_HEAD_BYTES, r->payload.data, r->payload.len);
    memset(at + RECORD_HEAD_BYTES + r->payload.len, 0, total - RECORD_HEAD_BYTES - r->payload.len);
    put32(at + 4, record_crc(seed, offset, at, total));
    out->len += total;
}

bool record_get(struct bytes file, uint32_t seed, uint64_t offset, struct record *out)
{
    if (offset > file.len || file.len - offset < RECORD_HEAD_BYTES) return false;
    const uint8_t *at = file.data + offset;
    uint64_t payload = get32(at);
    if (payload > RAFT_BATCH_BYTES_MAX) return false;
    uint64_t total = record_bytes(payload);
    if (total > file.len - offset) return false;
    *out = (struct record){
        .index = get64(at + 8),
        .term = get64(at + 16),
        .batch = get32(at + 24),
        .type = at[28],
        .payload = bytes_view(at + RECORD_HEAD_BYTES, payload),
    };
    bool sane = out->type >= RECORD_COMMAND && out->type <= RECORD_MARK &&
                out->batch >= SEGMENT_HEAD_BYTES && out->batch <= offset;
    return sane && get32(at + 4) == record_crc(seed, offset, at, total);
}

bool segment_is_damaged(struct bytes file, uint32_t seed, uint64_t at)
{
    for (uint64_t offset = at + 8; offset + RECORD_HEAD_BYTES <= file.len; offset += 8) {
        struct record r;
        if (record_get(file, seed, offset, &r) && r.batch > at) return true;
    }
    return false;
}
