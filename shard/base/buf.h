/* shard/base/buf.h: an owned, growing byte buffer. Growth doubles; allocation failure of these
 * (bounded by their callers' limits) aborts unless the try form is used. */
#ifndef MOON_BASE_BUF_H
#define MOON_BASE_BUF_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"
#include "shard/base/mem.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    enum mem_tag tag;
};

static inline void buf_init(struct buf *b, enum mem_tag tag)
{
    *b = (struct buf){.tag = tag};
}
void buf_free(struct buf *b);
/* Room for `more` bytes after len; returns where they go. Caller adds to len. */
void *buf_grow(struct buf *b, size_t more);
static inline void *buf_room(struct buf *b, size_t more)
{
    if (likely(b->cap - b->len >= more)) return b->data + b->len;
    return buf_grow(b, more);
}
MUST_CHECK bool buf_try_room(struct buf *b, size_t more);
static inline void buf_add(struct buf *b, const void *data, size_t len)
{
    if (len == 0) return;
    memcpy(buf_room(b, len), data, len);
    b->len += len;
}
static inline void buf_add_byte(struct buf *b, uint8_t byte)
{
    *(uint8_t *)buf_room(b, 1) = byte;
    b->len++;
}
static inline void buf_add_bytes(struct buf *b, struct bytes v)
{
    buf_add(b, v.data, v.len);
}
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Drops the first n bytes, moving the rest down. */
void buf_consume(struct buf *b, size_t n);
/* Gives back memory if cap > keep and len is 0. */
void buf_shrink(struct buf *b, size_t keep);
static inline struct bytes buf_bytes(const struct buf *b)
{
    return bytes_view(b->data, b->len);
}

#endif
