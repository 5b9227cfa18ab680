/* shard/types/record.h: the block that holds a key and its value.
 *
 *   head 8 B | expiry i64 (RECORD_EXPIRES) | struct record_out 16 B (RECORD_OUT) |
 *   key length u32 (RECORD_LONG_KEY) | key | inline value (value_len bytes, unless RECORD_OUT)
 *
 * A record is one slab block. Small values (the whole record ≤ RECORD_INLINE_MAX) lie inline: strings,
 * integers (8 bytes, host order) and packed collections alike. Larger ones hang off record_out: a
 * headerless block (strings, packed), or the struct of a full encoding. Records move when they are
 * resized: every function that may do so takes struct record ** and stores the new place; db puts it
 * back into the table. Owned by one shard thread. */
#ifndef MOON_TYPES_RECORD_H
#define MOON_TYPES_RECORD_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"
#include "shard/base/limits.h"
#include "shard/base/mem.h"

enum value_type {
    VALUE_STRING,
    VALUE_LIST,
    VALUE_SET,
    VALUE_ZSET,
    VALUE_HASH,
    VALUE_STREAM,
    VALUE_NONE = 15
};
enum value_encoding {
    ENC_RAW,
    ENC_EMBSTR,
    ENC_INT,
    ENC_LISTPACK,
    ENC_QUICKLIST,
    ENC_INTSET,
    ENC_HASHTABLE,
    ENC_SKIPLIST,
    ENC_STREAM
};
enum { RECORD_EXPIRES = 1, RECORD_OUT = 2, RECORD_LONG_KEY = 4 };

struct record {
    uint8_t kind; /* type in the low 4 bits, encoding in the high 4 */
    uint8_t flags;
    uint8_t lru[3];     /* LRU clock or LFU counter; 0 when the policy needs none */
    uint8_t key_len;    /* unless RECORD_LONG_KEY */
    uint16_t value_len; /* inline bytes */
};
static_assert(sizeof(struct record) == 8, "head of every key");

struct record_out {
    void *ptr;
    uint32_t len; /* bytes in use (strings, packed blobs); full encodings: free for the type */
    uint32_t cap; /* bytes allocated (given back at free); 0 for full encodings */
};

static inline enum value_type record_type(const struct record *r)
{
    return (enum value_type)(r->kind & 15);
}
static inline enum value_encoding record_encoding(const struct record *r)
{
    return (enum value_encoding)(r->kind >> 4);
}
static inline void record_set_kind(struct record *r, enum value_type t, enum value_encoding e)
{
    r->kind = (uint8_t)((unsigned)t | (unsigned)e << 4);
}
static inline size_t record__out_offset(const struct record *r)
{
    return 8u + (r->flags & RECORD_EXPIRES ? 8u : 0u);
}
static inline size_t record__key_offset(const struct record *r)
{
    return record__out_offset(r) + (r->flags & RECORD_OUT ? 16u : 0u) +
           (r->flags & RECORD_LONG_KEY ? 4u : 0u);
}
static inline struct bytes record_key(const struct record *r)
{
    size_t at = record__key_offset(r);
    const uint8_t *p = (const uint8_t *)r + at;
    uint32_t len = r->key_len;
    if (unlikely(r->flags & RECORD_LONG_KEY)) memcpy(&len, p - 4, 4);
    return bytes_view(p, len);
}
/* -1: never. */
static inline int64_t record_expire_ms(const struct record *r)
{
    int64_t ms = -1;
    if (r->flags & RECORD_EXPIRES) memcpy(&ms, (const uint8_t *)r + 8, 8);
    return ms;
}
static inline bool record_expired(const struct record *r, int64_t now_ms)
{
    return unlikely(r->flags & RECORD_EXPIRES) && record_expire_ms(r) <= now_ms;
}
static inline struct record_out *record_out(const struct record *r)
{
    return (struct record_out *)((uintptr_t)r + record__out_offset(r));
}
/* The value's bytes as stored: inline or the out-of-line blob (not for full encodings). */
static inline struct bytes record_blob(const struct record *r)
{
    if (r->flags & RECORD_OUT) {
        const struct record_out *o = record_out(r);
        return bytes_view(o->ptr, o->len);
    }
    struct bytes key = record_key(r);
    return bytes_view(key.data + key.len, r->value_len);
}

/* Full encodings: record_out.ptr is a structure of the type; all others are blobs. */
static inline bool record_is_full(const struct record *r)
{
    enum value_encoding e = record_encoding(r);
    return e == ENC_QUICKLIST || e == ENC_HASHTABLE || e == ENC_SKIPLIST || e == ENC_STREAM;
}
/* Whether a value of value_len bytes lies inside the record: the whole stays within
 * RECORD_INLINE_MAX, or the value is no larger than the record_out it would need instead. */
static inline bool record_fits_inline(size_t key_len, size_t value_len, bool expires)
{
    size_t rest = 8u + (expires ? 8u : 0u) + (key_len > UINT8_MAX ? 4u : 0u) + key_len;
    return value_len <= sizeof(struct record_out) ||
           (value_len < RECORD_INLINE_MAX && rest + value_len <= RECORD_INLINE_MAX);
}
/* Blobs: the only way to get and to give back what a blob's record_out.ptr points to. cap_out is for
 * record_out.cap: at least len, and no byte of the allocator's size class is left unused. */
MUST_CHECK void *record_blob_try_alloc(uint32_t len, uint32_t *cap_out);
void record_blob_free(void *ptr, uint32_t cap);

/* A record without value: type and encoding as said, inline value of value_len bytes, uninitialised
 * (record_fits_inline() says whether it may), or RECORD_OUT with a zeroed record_out if
 * `out`. expire_ms -1: none. NULL: out of memory. */
MUST_CHECK struct record *record_try_new(struct bytes key, enum value_type t, enum value_encoding e,
                                         uint32_t value_len, bool out, int64_t expire_ms);
/* Makes the blob value_len bytes long, keeping the common prefix: moves between inline and out of
 * line as the size asks (growing out-of-line blobs with slack in record_out.cap). False: no memory,
 * nothing changed. Not for full encodings. */
MUST_CHECK bool record_try_resize_blob(struct record **r, uint32_t value_len);
/* A record with a copy of `value` as its blob, inline or out of line as it fits. */
MUST_CHECK struct record *record_try_new_blob(struct bytes key, enum value_type t,
                                              enum value_encoding e, struct bytes value,
                                              int64_t expire_ms);
/* Turns a blob record into one whose record_out.ptr is `full` (the blob is freed), and back is never
 * needed. Keeps key, expiry, lru. */
MUST_CHECK bool record_try_set_full(struct record **r, enum value_encoding e, void *full);
/* Adds, changes or (-1) removes the expiry. */
MUST_CHECK bool record_try_set_expire(struct record **r, int64_t expire_ms);
/* Same value under another key (RENAME): takes the value over; *r becomes the renamed record. */
MUST_CHECK bool record_try_rename(struct record **r, struct bytes key);
/* Frees record and value whole. Large values: value.h value_free_slice. */
void record_free(struct record *r);
/* Only the block of the record itself; its blob or full value must be gone or taken. */
void record_free_shell(struct record *r);
size_t record_block_bytes(const struct record *r); /* of the record's own slab block */

#endif
