/* shard/base/buf.c: growth of owned buffers. Capacities are allocator size classes, so that the
 * rounding of the heap is room we can use. */
#include "shard/base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "shard/base/assert.h"

#define BUF_BYTES_MIN 64u

void buf_free(struct buf *b)
{
    mem_free(b->tag, b->data, b->cap);
    *b = (struct buf){.tag = b->tag};
}

/* Doubling, but never less than asked. 0 if the sum does not fit a size_t. */
static size_t cap_for(const struct buf *b, size_t more)
{
    size_t need;
    if (__builtin_add_overflow(b->len, more, &need) || need > PTRDIFF_MAX) return 0;
    size_t doubled = b->cap > PTRDIFF_MAX / 2 ? need : b->cap * 2;
    size_t want = need > doubled ? need : doubled;
    return mem_good_size(want < BUF_BYTES_MIN ? BUF_BYTES_MIN : want);
}

void *buf_grow(struct buf *b, size_t more)
{
    size_t cap = cap_for(b, more);
    assert(cap != 0);
    b->data = mem_resize(b->tag, b->data, b->cap, cap);
    b->cap = cap;
    return b->data + b->len;
}

bool buf_try_room(struct buf *b, size_t more)
{
    if (b->cap - b->len >= more) return true;
    size_t cap = cap_for(b, more);
    if (cap == 0) return false;
    uint8_t *data = mem_try_resize(b->tag, b->data, b->cap, cap);
    if (data == NULL) return false;
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t free_bytes = b->cap - b->len;
    int n = vsnprintf(free_bytes != 0 ? (char *)b->data + b->len : NULL, free_bytes, fmt, args);
    assert(n >= 0);
    if ((size_t)n >= free_bytes) {
        char *at = buf_room(b, (size_t)n + 1);
        n = vsnprintf(at, (size_t)n + 1, fmt, again);
        assert(n >= 0);
    }
    b->len += (size_t)n; /* the NUL is not counted */
    va_end(again);
    va_end(args);
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0) return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void buf_shrink(struct buf *b, size_t keep)
{
    if (b->len == 0 && b->cap > keep) buf_free(b);
}
