/* shard/journal/record.h: the bytes of a log: file head, frame, unit, block stamps. Pure functions, no
 * I/O, any thread. The drawing of the format is docs/formats/journal.md; both are frozen by
 * tests/fixtures/journal-v1. All integers are little-endian. */
#ifndef MOON_JOURNAL_RECORD_H
#define MOON_JOURNAL_RECORD_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"
#include "shard/base/limits.h"
#include "shard/base/rc.h"
#include "shard/journal/journal.h"

#define JOURNAL_FORMAT 1u
#define FRAME_BODY_MAX (FRAME_BYTES_MAX - FRAME_HEAD_BYTES)
/* A block of a file holds this many bytes of log and then its stamp. */
#define BLOCK_LOG_BYTES (BLOCK_BYTES - 4u)
/* Everything of a unit before its arguments: length 10, flags 1, opcode 5, slot 2, db 1, engine 1,
 * txid 8, shards 10. */
#define UNIT_HEAD_BYTES_MAX 38u

/* ---- file: one head block, then blocks of log. */
struct journal_file_head {
    uint8_t cluster_id[16];
    uint8_t node_id[20];
    uint16_t log, logs;
    uint32_t generation;
    uint64_t epoch;
    uint64_t lsn;        /* of the first log byte of this file */
    uint64_t file_bytes; /* planned size, head block included; a multiple of BLOCK_BYTES */
    int64_t created_us;
    bool prewritten; /* blocks were zeroed: written with O_DIRECT */
};
void journal_file_head_encode(uint8_t out[static BLOCK_BYTES], const struct journal_file_head *h);
/* RC_CORRUPT: not a head block, or damaged. RC_UNSUPPORTED: of a newer format. */
MUST_CHECK enum rc journal_file_head_decode(const uint8_t in[static BLOCK_BYTES],
                                            struct journal_file_head *out);

/* Log bytes that a file of file_bytes can hold, and where the i-th of them lies in the file. */
static inline uint64_t journal_file_capacity(uint64_t file_bytes)
{
    uint64_t body = file_bytes < BLOCK_BYTES ? 0 : file_bytes - BLOCK_BYTES;
    uint64_t rest = body % BLOCK_BYTES;
    return body / BLOCK_BYTES * BLOCK_LOG_BYTES + (rest < BLOCK_LOG_BYTES ? rest : BLOCK_LOG_BYTES);
}
static inline uint64_t journal_file_offset(uint64_t i)
{
    return BLOCK_BYTES + i / BLOCK_LOG_BYTES * BLOCK_BYTES + i % BLOCK_LOG_BYTES;
}

/* ---- the chain: each frame's checksum starts from that of the frame before it, the first one of a
 * log from this. The same number disguises the stamps, so that zeros are never a stamp. */
uint32_t journal_seed(const uint8_t cluster_id[static 16], const uint8_t node_id[static 20],
                      uint32_t generation, uint16_t log);
static inline uint32_t journal_stamp(uint64_t frame_lsn, uint32_t seed)
{
    return (uint32_t)frame_lsn ^ seed;
}
/* Does `stamp` say that its block, which ends at LSN block_end, was written through by a frame that
 * begins at or after `from`? */
bool journal_stamp_says_written(uint32_t stamp, uint32_t seed, uint64_t from, uint64_t block_end);

/* ---- frame */
enum journal_frame_flag {
    FRAME_FIRST = 1,  /* begins a chain; a frame that is alone is first and last */
    FRAME_LAST = 2,   /* ends it */
    FRAME_CLOSED = 4, /* clean stop: all before is on disk; no body */
};
struct journal_frame_head {
    uint8_t flags;
    uint16_t log;
    uint32_t generation;
    uint32_t count;  /* units that begin in the body */
    uint32_t length; /* bytes of the body */
    uint32_t crc;
    uint64_t lsn, epoch;
    int64_t hlc_us;  /* never less than in the frame before */
    uint64_t synced; /* everything below was on disk when this frame was built */
    uint64_t cut;    /* this log's part of the durable cut then known; ≤ synced */
};
void journal_frame_encode(uint8_t out[static FRAME_HEAD_BYTES], const struct journal_frame_head *h);
/* False: no frame of this format begins here. Says nothing of the checksum. */
MUST_CHECK bool journal_frame_decode(const uint8_t in[static FRAME_HEAD_BYTES],
                                     struct journal_frame_head *out);
/* Of a whole frame, head and body, except the head's last 4 bytes, which hold it. */
uint32_t journal_frame_crc(uint32_t previous, const uint8_t *frame, uint32_t length);
extern const uint8_t journal_frame_magic[4];
/* Fills in what is known only when a pass ends, and the checksum, which it returns. */
uint32_t journal_frame_seal(uint8_t *frame, int64_t hlc_us, uint64_t synced, uint64_t cut,
                            uint32_t previous);
static inline uint8_t journal_frame_flags(const uint8_t *frame)
{
    return frame[5];
}
static inline uint32_t journal_frame_length(const uint8_t *frame)
{
    uint32_t v;
    memcpy(&v, frame + 56, sizeof v);
    return v;
}

/* ---- unit */
enum journal_unit_flag {
    UNIT_DB = 1,     /* a database other than 0 is named */
    UNIT_ENGINE = 2, /* an engine other than the keyspace is named; opcode is its kind */
    UNIT_TX = 4,     /* txid and shards follow */
    UNIT_JOINED = 8, /* belongs to the group of the unit before it */
};
struct journal_unit_raw {
    uint64_t txid, shards_mask;
    uint32_t opcode;
    uint16_t slot;
    uint8_t flags, db, engine;
    struct bytes args; /* still encoded; borrowed from the input */
    size_t bytes;      /* of the whole unit, length included */
};
/* RC_AGAIN: the unit does not end within the n bytes. RC_CORRUPT: not a unit. */
MUST_CHECK enum rc journal_unit_decode(const uint8_t *p, size_t n, struct journal_unit_raw *out);
/* Takes the next argument off *args. False at the end, or (then *args is not empty) on nonsense. */
MUST_CHECK bool journal_unit_arg(struct bytes *args, struct bytes *out);

/* Encoding in two steps: the size of all after the length, then head and arguments. */
size_t journal_unit_size(const struct journal_head *h, const struct bytes *args, uint32_t argc);
/* Writes length, flags … shards into out (UNIT_HEAD_BYTES_MAX); returns the bytes used. */
size_t journal_unit_encode_head(uint8_t *out, const struct journal_head *h, bool joined,
                                size_t size);

/* ---- varint: 7 bits a byte, lowest first, the high bit says that more follow; shortest form. */
static inline size_t journal_varint_bytes(uint64_t v)
{
    if (likely(v < 0x80)) return 1;
    return ((size_t)(63 - __builtin_clzll(v)) * 9 + 73) / 64;
}
static inline uint8_t *journal_varint_put(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}
/* Returns the byte after it, NULL if it does not end before `end` or is over 64 bits. */
const uint8_t *journal_varint_get(const uint8_t *p, const uint8_t *end, uint64_t *out);

#endif
