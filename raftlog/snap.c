/* raftlog/snap.c: a snapshot as a file: head, chunks with a checksum each, footer with one over all. */
#include "raftlog/store_priv.h"

#include "shard/base/assert.h"
#include "shard/base/crc.h"

static const char magic[8] = {'M', 'O', 'O', 'N', 'R', 'S', 'N', 'P'};
static const char foot_magic[8] = {'M', 'O', 'O', 'N', 'R', 'E', 'N', 'D'};
#define FORMAT 1u

struct snap_head { /* little-endian */
    char magic[8];
    uint32_t format, chunk_bytes;
    uint8_t cluster[16], node[20];
    uint32_t members_bytes;
    uint64_t index, term, members_index, body_bytes;
    uint32_t zero, crc;
};
static_assert(sizeof(struct snap_head) == 96, "no padding");
struct snap_foot {
    char magic[8];
    uint64_t body_bytes;
    uint32_t body_crc, crc;
};
static_assert(sizeof(struct snap_foot) == 24, "no padding");

static uint32_t chunk_crc(uint32_t seed, uint64_t number, const void *data, size_t len)
{
    return crc32c(crc32c(seed, &number, sizeof number), data, len);
}

/* The body is members, then data. */
static void body_copy(uint8_t *out, const struct store_snapshot *s, uint64_t from, size_t len)
{
    for (size_t done = 0; done < len;) {
        uint64_t at = from + done;
        bool in_members = at < s->members.len;
        struct bytes part = in_members ? s->members : s->data;
        uint64_t skip = in_members ? at : at - s->members.len;
        size_t n = part.len - skip < len - done ? (size_t)(part.len - skip) : len - done;
        assert(n > 0);
        memcpy(out + done, part.data + skip, n);
        done += n;
    }
}

void snapshot_put(struct buf *out, const struct store_ids *ids, const struct store_snapshot *s)
{
    uint64_t body = s->members.len + s->data.len;
    struct snap_head h = {
        .format = FORMAT,
        .chunk_bytes = RAFT_SNAPSHOT_CHUNK_BYTES,
        .members_bytes = (uint32_t)s->members.len,
        .index = s->index,
        .term = s->term,
        .members_index = s->members_index,
        .body_bytes = body,
    };
    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.cluster, ids->cluster, sizeof h.cluster);
    memcpy(h.node, ids->node, sizeof h.node);
    h.crc = crc32c(0, &h, sizeof h - 4);
    buf_add(out, &h, sizeof h);
    uint32_t all = 0;
    uint64_t number = 0;
    for (uint64_t at = 0; at < body; number++) {
        size_t n =
            body - at < RAFT_SNAPSHOT_CHUNK_BYTES ? (size_t)(body - at) : RAFT_SNAPSHOT_CHUNK_BYTES;
        uint8_t *to = buf_room(out, n + 4);
        body_copy(to, s, at, n);
        uint32_t crc = chunk_crc(h.crc, number, to, n);
        memcpy(to + n, &crc, sizeof crc);
        all = crc32c(all, to, n);
        out->len += n + 4;
        at += n;
    }
    struct snap_foot f = {.body_bytes = body, .body_crc = all};
    memcpy(f.magic, foot_magic, sizeof foot_magic);
    f.crc = crc32c(h.crc, &f, sizeof f - 4);
    buf_add(out, &f, sizeof f);
}

static const char *head_get(struct bytes file, const struct store_ids *ids, struct snap_head *h,
                            uint64_t *offset_out)
{
    if (file.len < sizeof *h) {
        *offset_out = file.len;
        return "the head is cut off";
    }
    memcpy(h, file.data, sizeof *h);
    if (memcmp(h->magic, magic, sizeof magic) != 0) return "no snapshot of a control log";
    if (crc32c(0, h, sizeof *h - 4) != h->crc) return "the head's checksum is wrong";
    if (h->format != FORMAT) return "written by a newer version";
    if (memcmp(h->cluster, ids->cluster, sizeof h->cluster) != 0) return "of another cluster";
    if (memcmp(h->node, ids->node, sizeof h->node) != 0) return "of another node";
    bool sane = h->chunk_bytes > 0 && h->members_bytes <= h->body_bytes &&
                h->body_bytes <= RAFT_SNAPSHOT_BYTES_MAX;
    return sane ? NULL : "the head makes no sense";
}

const char *snapshot_get(struct bytes file, const struct store_ids *ids, struct buf *body,
                         struct store_snapshot *out, uint64_t *offset_out)
{
    *offset_out = 0;
    struct snap_head h;
    const char *why = head_get(file, ids, &h, offset_out);
    if (why != NULL) return why;
    body->len = 0;
    uint64_t at = sizeof h, number = 0;
    uint32_t all = 0;
    while (body->len < h.body_bytes) {
        uint64_t left = h.body_bytes - body->len;
        size_t n = left < h.chunk_bytes ? (size_t)left : h.chunk_bytes;
        *offset_out = at;
        if (file.len - at < n + 4) {
            *offset_out = file.len;
            return "the file is cut off";
        }
        uint32_t crc;
        memcpy(&crc, file.data + at + n, sizeof crc);
        if (crc != chunk_crc(h.crc, number++, file.data + at, n))
            return "a chunk's checksum is wrong";
        all = crc32c(all, file.data + at, n);
        buf_add(body, file.data + at, n);
        at += n + 4;
    }
    struct snap_foot f;
    *offset_out = file.len < at + sizeof f ? file.len : at;
    if (file.len < at + sizeof f) return "the file is cut off";
    memcpy(&f, file.data + at, sizeof f);
    bool good = memcmp(f.magic, foot_magic, sizeof foot_magic) == 0 &&
                f.body_bytes == h.body_bytes && f.body_crc == all &&
                f.crc == crc32c(h.crc, &f, sizeof f - 4);
    if (!good) return "the footer is wrong";
    *offset_out = at + sizeof f;
    if (file.len > at + sizeof f) return "bytes behind the end";
    *out = (struct store_snapshot){
        .index = h.index,
        .term = h.term,
        .members_index = h.members_index,
        .members = bytes_view(body->data, h.members_bytes),
        .data = bytes_view(body->data + h.members_bytes, (size_t)h.body_bytes - h.members_bytes),
    };
    return NULL;
}
