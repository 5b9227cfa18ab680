/* shard/journal/frame.c: file heads, frame heads, checksums, stamps.
 *
 *   file head block (4,096 bytes)          frame head (64 bytes)
 *   0     magic "MOONLOG\n"                0   magic a7 'M' 'n' 'F'
 *   8     format u32                       4   version u8
 *   12    block bytes u32                  5   flags u8
 *   16    cluster id 16 B                  6   log u16
 *   32    node id 20 B                     8   generation u32
 *   52    log u16, 54 logs u16             12  count u32
 *   56    generation u32                   16  lsn u64
 *   60    flags u32 (1: prewritten)        24  epoch u64
 *   64    epoch u64                        32  hlc i64, µs
 *   72    lsn u64                          40  synced u64
 *   80    file bytes u64                   48  cut u64
 *   88    created i64, µs                  56  length u32
 *   96    zeros                            60  crc32c u32
 *   4092  crc32c u32 of all before */
#include "shard/journal/record.h"

#include "shard/base/assert.h"
#include "shard/base/crc.h"

static const uint8_t file_magic[8] = {'M', 'O', 'O', 'N', 'L', 'O', 'G', '\n'};
/* Not ASCII and not zero at its start: a search for it in damaged logs finds little else. */
const uint8_t journal_frame_magic[4] = {0xa7, 'M', 'n', 'F'};
#define FRAME_VERSION 1u
#define FRAME_FLAGS_KNOWN (FRAME_FIRST | FRAME_LAST | FRAME_CLOSED)
#define FILE_PREWRITTEN 1u

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "put and get copy integers as they are");

static void put(uint8_t *out, size_t at, const void *value, size_t bytes)
{
    memcpy(out + at, value, bytes);
}

static uint16_t get16(const uint8_t *in, size_t at)
{
    uint16_t v;
    memcpy(&v, in + at, sizeof v);
    return v;
}

static uint32_t get32(const uint8_t *in, size_t at)
{
    uint32_t v;
    memcpy(&v, in + at, sizeof v);
    return v;
}

static uint64_t get64(const uint8_t *in, size_t at)
{
    uint64_t v;
    memcpy(&v, in + at, sizeof v);
    return v;
}

void journal_file_head_encode(uint8_t out[static BLOCK_BYTES], const struct journal_file_head *h)
{
    const uint32_t format = JOURNAL_FORMAT;
    const uint32_t block_bytes = BLOCK_BYTES;
    const uint32_t flags = h->prewritten ? FILE_PREWRITTEN : 0;
    memset(out, 0, BLOCK_BYTES);
    put(out, 0, file_magic, sizeof file_magic);
    put(out, 8, &format, 4);
    put(out, 12, &block_bytes, 4);
    put(out, 16, h->cluster_id, 16);
    put(out, 32, h->node_id, 20);
    put(out, 52, &h->log, 2);
    put(out, 54, &h->logs, 2);
    put(out, 56, &h->generation, 4);
    put(out, 60, &flags, 4);
    put(out, 64, &h->epoch, 8);
    put(out, 72, &h->lsn, 8);
    put(out, 80, &h->file_bytes, 8);
    put(out, 88, &h->created_us, 8);
    uint32_t crc = crc32c(0, out, BLOCK_LOG_BYTES);
    put(out, BLOCK_LOG_BYTES, &crc, 4);
}

enum rc journal_file_head_decode(const uint8_t in[static BLOCK_BYTES],
                                 struct journal_file_head *out)
{
    if (memcmp(in, file_magic, sizeof file_magic) != 0) return RC_CORRUPT;
    if (crc32c(0, in, BLOCK_LOG_BYTES) != get32(in, BLOCK_LOG_BYTES)) return RC_CORRUPT;
    if (get32(in, 8) != JOURNAL_FORMAT) return RC_UNSUPPORTED;
    if (get32(in, 12) != BLOCK_BYTES) return RC_UNSUPPORTED;
    struct journal_file_head h = {
        .log = get16(in, 52),
        .logs = get16(in, 54),
        .generation = get32(in, 56),
        .prewritten = (get32(in, 60) & FILE_PREWRITTEN) != 0,
        .epoch = get64(in, 64),
        .lsn = get64(in, 72),
        .file_bytes = get64(in, 80),
        .created_us = (int64_t)get64(in, 88),
    };
    memcpy(h.cluster_id, in + 16, sizeof h.cluster_id);
    memcpy(h.node_id, in + 32, sizeof h.node_id);
    *out = h;
    return RC_OK;
}

uint32_t journal_seed(const uint8_t cluster_id[static 16], const uint8_t node_id[static 20],
                      uint32_t generation, uint16_t log)
{
    uint8_t who[42];
    memcpy(who, cluster_id, 16);
    memcpy(who + 16, node_id, 20);
    put(who, 36, &generation, 4);
    put(who, 40, &log, 2);
    return crc32c(0, who, sizeof who);
}

bool journal_stamp_says_written(uint32_t stamp, uint32_t seed, uint64_t from, uint64_t block_end)
{
    assert(from < block_end);
    if (stamp == 0) return false; /* a block of zeros; costs one true stamp in 2^32 */
    return (uint64_t)((stamp ^ seed) - (uint32_t)from) < block_end - from;
}

void journal_frame_encode(uint8_t out[static FRAME_HEAD_BYTES], const struct journal_frame_head *h)
{
    assert(h->length <= FRAME_BODY_MAX);
    const uint8_t version = FRAME_VERSION;
    put(out, 0, journal_frame_magic, 4);
    put(out, 4, &version, 1);
    put(out, 5, &h->flags, 1);
    put(out, 6, &h->log, 2);
    put(out, 8, &h->generation, 4);
    put(out, 12, &h->count, 4);
    put(out, 16, &h->lsn, 8);
    put(out, 24, &h->epoch, 8);
    put(out, 32, &h->hlc_us, 8);
    put(out, 40, &h->synced, 8);
    put(out, 48, &h->cut, 8);
    put(out, 56, &h->length, 4);
    put(out, 60, &h->crc, 4);
}

bool journal_frame_decode(const uint8_t in[static FRAME_HEAD_BYTES], struct journal_frame_head *out)
{
    if (memcmp(in, journal_frame_magic, 4) != 0) return false;
    if (in[4] != FRAME_VERSION) return false;
    struct journal_frame_head h = {
        .flags = in[5],
        .log = get16(in, 6),
        .generation = get32(in, 8),
        .count = get32(in, 12),
        .lsn = get64(in, 16),
        .epoch = get64(in, 24),
        .hlc_us = (int64_t)get64(in, 32),
        .synced = get64(in, 40),
        .cut = get64(in, 48),
        .length = get32(in, 56),
        .crc = get32(in, 60),
    };
    if (h.length > FRAME_BODY_MAX) return false;
    if ((h.flags & ~FRAME_FLAGS_KNOWN) != 0) return false;
    *out = h;
    return true;
}

uint32_t journal_frame_crc(uint32_t previous, const uint8_t *frame, uint32_t length)
{
    uint32_t crc = crc32c(previous, frame, FRAME_HEAD_BYTES - 4);
    return length == 0 ? crc : crc32c(crc, frame + FRAME_HEAD_BYTES, length);
}

uint32_t journal_frame_seal(uint8_t *frame, int64_t hlc_us, uint64_t synced, uint64_t cut,
                            uint32_t previous)
{
    put(frame, 32, &hlc_us, 8);
    put(frame, 40, &synced, 8);
    put(frame, 48, &cut, 8);
    uint32_t crc = journal_frame_crc(previous, frame, journal_frame_length(frame));
    put(frame, 60, &crc, 4);
    return crc;
}
