/* raftlog/meta.c: term, vote and which segments are in use, in one block that exists twice. */
#include "raftlog/store_priv.h"

#include "shard/base/crc.h"

static const char magic[8] = {'M', 'O', 'O', 'N', 'R', 'M', 'E', 'T'};
#define FORMAT 1u

struct meta_block { /* little-endian, as the machines we build for; zeros up to the checksum */
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t sequence;
    uint8_t cluster[16], node[20];
    uint32_t zero_too;
    uint64_t raft_id, term, vote;
    uint32_t first_segment, last_segment;
};

void meta_put(uint8_t out[META_BYTES], const struct store_ids *ids, const struct store_meta *meta)
{
    struct meta_block b = {
        .format = FORMAT,
        .sequence = meta->sequence,
        .raft_id = ids->raft_id,
        .term = meta->term,
        .vote = meta->vote,
        .first_segment = meta->first_segment,
        .last_segment = meta->last_segment,
    };
    memcpy(b.magic, magic, sizeof magic);
    memcpy(b.cluster, ids->cluster, sizeof b.cluster);
    memcpy(b.node, ids->node, sizeof b.node);
    memset(out, 0, META_BYTES);
    memcpy(out, &b, sizeof b);
    uint32_t crc = crc32c(0, out, META_BYTES - 4);
    memcpy(out + META_BYTES - 4, &crc, sizeof crc);
}

bool meta_ids(struct bytes file, struct store_ids *out)
{
    struct meta_block b;
    uint32_t crc;
    if (file.len != META_BYTES) return false;
    memcpy(&b, file.data, sizeof b);
    memcpy(&crc, file.data + META_BYTES - 4, sizeof crc);
    if (crc32c(0, file.data, META_BYTES - 4) != crc) return false;
    if (memcmp(b.magic, magic, sizeof magic) != 0) return false;
    *out = (struct store_ids){.raft_id = b.raft_id};
    memcpy(out->cluster, b.cluster, sizeof out->cluster);
    memcpy(out->node, b.node, sizeof out->node);
    return true;
}

const char *meta_get(struct bytes file, const struct store_ids *ids, struct store_meta *out,
                     uint64_t *offset_out)
{
    *offset_out = 0;
    struct meta_block b;
    uint32_t crc;
    if (file.len != META_BYTES) {
        *offset_out = file.len < META_BYTES ? file.len : META_BYTES;
        return file.len < META_BYTES ? "the file is cut off" : "bytes behind the end";
    }
    memcpy(&b, file.data, sizeof b);
    memcpy(&crc, file.data + META_BYTES - 4, sizeof crc);
    if (crc32c(0, file.data, META_BYTES - 4) != crc) return "the checksum is wrong";
    if (memcmp(b.magic, magic, sizeof magic) != 0) return "no meta block of a control log";
    if (b.format != FORMAT) return "written by a newer version";
    if (memcmp(b.cluster, ids->cluster, sizeof b.cluster) != 0) return "of another cluster";
    if (memcmp(b.node, ids->node, sizeof b.node) != 0) return "of another node";
    if (b.raft_id != ids->raft_id) return "of another member";
    *out = (struct store_meta){.sequence = b.sequence,
                               .term = b.term,
                               .vote = b.vote,
                               .first_segment = b.first_segment,
                               .last_segment = b.last_segment};
    return NULL;
}
