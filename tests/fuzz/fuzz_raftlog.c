/* tests/fuzz/fuzz_raftlog.c: what comes from a peer or a disk: messages, member lists, segments, meta blocks,
 * snapshots. The first byte chooses the reader. Checked: no bad access, no size beyond the input, and
 * that what is accepted makes sense. */
#include <stdint.h>

#include "raftlog/raftlog_priv.h" /* lint: allow private-headers, readers are not public */
#include "shard/base/assert.h"

static void read_message(struct bytes in)
{
    static struct rl rl = {.opts.id = 1};
    struct wire_head head;
    struct raft_message m;
    struct wire_piece piece;
    uint64_t index, offset;
    rl__heap_use();
    if (!wire_head_get(&rl, in, &head)) {
        /* The rest of the reader must not build on who it comes from. */
        if (in.len < 32) return;
    }
    (void)wire_get_ack(in, &index, &offset);
    if (wire_get_piece(in, &piece)) assert(piece.offset + piece.bytes.len <= piece.total);
    if (!wire_get(in, &m)) return;
    if (m.type != RAFT_IO_APPEND_ENTRIES || m.append_entries.n_entries == 0) return;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < m.append_entries.n_entries; i++)
        bytes += m.append_entries.entries[i].buf.len;
    assert(bytes <= in.len);
    raft_free(m.append_entries.entries[0].batch);
    raft_free(m.append_entries.entries);
}

static void read_records(struct bytes in)
{
    struct record r;
    uint64_t at = 0;
    while (record_get(in, 0, at, &r)) {
        at += record_bytes(r.payload.len);
        assert(at <= in.len);
    }
    (void)segment_is_damaged(in, 0, at);
}

static void read_files(uint8_t which, struct bytes in)
{
    static const struct store_ids ids;
    struct segment_head head;
    struct store_meta meta;
    struct store_snapshot snapshot;
    struct buf body;
    uint64_t at = 0;
    buf_init(&body, MEM_TEST);
    const char *why = which == 0   ? segment_head_get(in, &ids, &head, &at)
                      : which == 1 ? meta_get(in, &ids, &meta, &at)
                                   : snapshot_get(in, &ids, &body, &snapshot, &at);
    assert(why == NULL || at <= in.len);
    assert(body.len <= in.len);
    buf_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rl_members members;
    if (size == 0) return 0;
    struct bytes in = bytes_view(data + 1, size - 1);
    switch (data[0] % 6) {
    case 0:
        read_message(in);
        break;
    case 1:
        if (members_decode(in, &members)) assert(members.count <= RAFT_MEMBERS_MAX);
        break;
    case 2:
        read_records(in);
        break;
    default:
        read_files(data[0] % 6 - 3, in);
        break;
    }
    return 0;
}
