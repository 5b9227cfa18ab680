/* shard/types/record.c: blocks of keys and values; the layout is drawn in record.h.
 *
 * Blocks and blobs are asked for at their full size class (slab_good_size), so "fits where it is" is
 * a comparison of classes, and what is given back at free follows from the head alone. Whatever needs
 * another layout (expiry bytes, record_out, another key) builds a new block, moves the value over and
 * frees the old one last: a failure leaves the old one untouched. */
#include "shard/types/record.h"

#include "shard/base/assert.h"
#include "shard/types/types_priv.h"

/* A blob that shrank below this share of its room is moved back: packed collections near the limit
 * would otherwise change place at every other command. */
#define INLINE_AGAIN_MAX (RECORD_INLINE_MAX * 3 / 4)

static uint8_t *value_at(const struct record *r)
{
    struct bytes key = record_key(r);
    return (uint8_t *)(uintptr_t)(key.data + key.len);
}

size_t record_block_bytes(const struct record *r)
{
    struct bytes key = record_key(r);
    size_t used = (size_t)(key.data - (const uint8_t *)r) + key.len + r->value_len;
    return slab_good_size(used);
}

/* ---- blobs */

void *record_blob_try_alloc(uint32_t len, uint32_t *cap_out)
{
    size_t good = slab_good_size(len == 0 ? 1 : len);
    if (good > UINT32_MAX) good = UINT32_MAX; /* same class, but record_out counts in 32 bits */
    void *p = slab_try_alloc(good);
    if (p != NULL) *cap_out = (uint32_t)good;
    return p;
}

void record_blob_free(void *ptr, uint32_t cap)
{
    if (ptr != NULL) slab_free(ptr, cap);
}

/* Half as much again when a blob grows: a row of appends copies each byte a bounded number of times. */
static uint32_t grown_cap(uint32_t cap, uint32_t len)
{
    uint64_t grown = (uint64_t)cap + cap / 2;
    if (grown > STRING_BYTES_MAX) grown = STRING_BYTES_MAX;
    return grown > len ? (uint32_t)grown : len;
}

static bool blob_move(struct record_out *o, uint32_t room, uint32_t len)
{
    uint32_t cap;
    void *p;
    if (o->cap > SLAB_BYTES_MAX && room > SLAB_BYTES_MAX) {
        size_t good = mem_good_size(room);
        cap = good > UINT32_MAX ? UINT32_MAX : (uint32_t)good;
        p = mem_try_resize(MEM_DATA, o->ptr, o->cap, cap);
        if (p == NULL) return false;
    } else {
        p = record_blob_try_alloc(room, &cap);
        if (p == NULL) return false;
        memcpy(p, o->ptr, o->len < len ? o->len : len);
        record_blob_free(o->ptr, o->cap);
    }
    *o = (struct record_out){.ptr = p, .len = len, .cap = cap};
    return true;
}

static bool blob_resize(struct record_out *o, uint32_t len)
{
    if (len > o->cap) {
        return blob_move(o, grown_cap(o->cap, len), len) || blob_move(o, len, len);
    }
    /* Giving room back may fail: then it is kept. */
    if (len < o->cap / 2 && blob_move(o, len, len)) return true;
    o->len = len;
    return true;
}

/* ---- blocks */

/* Value bytes are left uninitialised, record_out is zero. */
static struct record *block_try_new(struct bytes key, uint32_t value_len, bool out,
                                    int64_t expire_ms)
{
    assert(key.len <= KEY_BYTES_MAX);
    struct record head = {.value_len = out ? 0 : (uint16_t)value_len};
    if (expire_ms != -1) head.flags |= RECORD_EXPIRES;
    if (out) head.flags |= RECORD_OUT;
    if (key.len > UINT8_MAX)
        head.flags |= RECORD_LONG_KEY;
    else
        head.key_len = (uint8_t)key.len;
    size_t key_at = record__key_offset(&head);
    struct record *r = slab_try_alloc(slab_good_size(key_at + key.len + head.value_len));
    if (r == NULL) return NULL;
    *r = head;
    uint8_t *p = (uint8_t *)r;
    if (expire_ms != -1) memcpy(p + 8, &expire_ms, 8);
    if (out) *record_out(r) = (struct record_out){0};
    uint32_t key_len = (uint32_t)key.len;
    if (head.flags & RECORD_LONG_KEY) memcpy(p + key_at - 4, &key_len, 4);
    if (key.len > 0) memcpy(p + key_at, key.data, key.len);
    return r;
}

struct record *record_try_new(struct bytes key, enum value_type t, enum value_encoding e,
                              uint32_t value_len, bool out, int64_t expire_ms)
{
    assert(out || record_fits_inline(key.len, value_len, expire_ms != -1));
    struct record *r = block_try_new(key, value_len, out, expire_ms);
    if (r != NULL) record_set_kind(r, t, e);
    return r;
}

struct record *record_try_new_blob(struct bytes key, enum value_type t, enum value_encoding e,
                                   struct bytes value, int64_t expire_ms)
{
    assert(value.len <= STRING_BYTES_MAX);
    bool out = !record_fits_inline(key.len, value.len, expire_ms != -1);
    struct record *r = record_try_new(key, t, e, out ? 0 : (uint32_t)value.len, out, expire_ms);
    if (r == NULL) return NULL;
    uint8_t *to = NULL;
    if (out) {
        struct record_out *o = record_out(r);
        o->ptr = to = record_blob_try_alloc((uint32_t)value.len, &o->cap);
        if (to == NULL) {
            record_free_shell(r);
            return NULL;
        }
        o->len = (uint32_t)value.len;
    } else {
        to = value_at(r);
    }
    if (value.len > 0) memcpy(to, value.data, value.len);
    return r;
}

/* The same key, type and stamps in another layout, expiry as given; record_out is taken over if both
 * have one. */
static struct record *block_try_remake(const struct record *r, struct bytes key, uint32_t value_len,
                                       bool out, int64_t expire_ms)
{
    struct record *n = block_try_new(key, value_len, out, expire_ms);
    if (n == NULL) return NULL;
    n->kind = r->kind;
    memcpy(n->lru, r->lru, sizeof n->lru);
    if (out && r->flags & RECORD_OUT) *record_out(n) = *record_out(r);
    return n;
}

void record_free_shell(struct record *r)
{
    slab_free(r, record_block_bytes(r));
}

void record_free(struct record *r)
{
    if (record_is_full(r)) {
        full_free(r);
    } else if (r->flags & RECORD_OUT) {
        record_blob_free(record_out(r)->ptr, record_out(r)->cap);
    }
    record_free_shell(r);
}

/* ---- changes of layout */

static bool inline_to_inline(struct record **r, uint32_t value_len)
{
    struct record *old = *r;
    size_t used = (size_t)(value_at(old) - (uint8_t *)old) + value_len;
    if (slab_good_size(used) == record_block_bytes(old)) {
        old->value_len = (uint16_t)value_len;
        return true;
    }
    struct record *n =
        block_try_remake(old, record_key(old), value_len, false, record_expire_ms(old));
    if (n == NULL) return false;
    memcpy(value_at(n), value_at(old), old->value_len < value_len ? old->value_len : value_len);
    record_free_shell(old);
    *r = n;
    return true;
}

static bool inline_to_out(struct record **r, uint32_t value_len)
{
    struct record *old = *r;
    struct record_out o = {.len = value_len};
    o.ptr = record_blob_try_alloc(value_len, &o.cap);
    if (o.ptr == NULL) return false;
    struct record *n = block_try_remake(old, record_key(old), 0, true, record_expire_ms(old));
    if (n == NULL) {
        record_blob_free(o.ptr, o.cap);
        return false;
    }
    memcpy(o.ptr, value_at(old), old->value_len < value_len ? old->value_len : value_len);
    *record_out(n) = o;
    record_free_shell(old);
    *r = n;
    return true;
}

static bool out_to_inline(struct record **r, uint32_t value_len)
{
    struct record *old = *r;
    struct record_out o = *record_out(old);
    struct record *n =
        block_try_remake(old, record_key(old), value_len, false, record_expire_ms(old));
    if (n == NULL) return false;
    if (value_len > 0) memcpy(value_at(n), o.ptr, o.len < value_len ? o.len : value_len);
    record_blob_free(o.ptr, o.cap);
    record_free_shell(old);
    *r = n;
    return true;
}

bool record_try_resize_blob(struct record **r, uint32_t value_len)
{
    assert(!record_is_full(*r));
    assert(value_len <= STRING_BYTES_MAX);
    struct record *old = *r;
    size_t key_len = record_key(old).len;
    bool expires = old->flags & RECORD_EXPIRES;
    bool fits = record_fits_inline(key_len, value_len, expires);
    if (!(old->flags & RECORD_OUT))
        return fits ? inline_to_inline(r, value_len) : inline_to_out(r, value_len);
    if (fits && (value_len <= 16 || key_len + value_len + 24 <= INLINE_AGAIN_MAX) &&
        out_to_inline(r, value_len)) {
        return true;
    }
    return blob_resize(record_out(*r), value_len);
}

bool record_try_set_full(struct record **r, enum value_encoding e, void *full)
{
    struct record *old = *r;
    assert(!record_is_full(old));
    if (old->flags & RECORD_OUT) {
        record_blob_free(record_out(old)->ptr, record_out(old)->cap);
    } else {
        struct record *n = block_try_remake(old, record_key(old), 0, true, record_expire_ms(old));
        if (n == NULL) return false;
        record_free_shell(old);
        *r = n;
    }
    record_set_kind(*r, record_type(*r), e);
    *record_out(*r) = (struct record_out){.ptr = full};
    return true;
}

bool record_try_set_expire(struct record **r, int64_t expire_ms)
{
    struct record *old = *r;
    bool had = old->flags & RECORD_EXPIRES, wants = expire_ms != -1;
    if (had && wants) memcpy((uint8_t *)old + 8, &expire_ms, 8);
    if (had == wants) return true;
    /* The value stays where it is, inline or not: 8 bytes over RECORD_INLINE_MAX do no harm. */
    struct record *n =
        block_try_remake(old, record_key(old), old->value_len, old->flags & RECORD_OUT, expire_ms);
    if (n == NULL) return false;
    memcpy(value_at(n), value_at(old), old->value_len);
    record_free_shell(old);
    *r = n;
    return true;
}

bool record_try_rename(struct record **r, struct bytes key)
{
    struct record *old = *r, *n;
    int64_t expire_ms = record_expire_ms(old);
    if (!(old->flags & RECORD_OUT) &&
        !record_fits_inline(key.len, old->value_len, expire_ms != -1)) {
        struct bytes value = bytes_view(value_at(old), old->value_len);
        n = record_try_new_blob(key, record_type(old), record_encoding(old), value, expire_ms);
        if (n == NULL) return false;
        memcpy(n->lru, old->lru, sizeof n->lru);
    } else {
        n = block_try_remake(old, key, old->value_len, old->flags & RECORD_OUT, expire_ms);
        if (n == NULL) return false;
        memcpy(value_at(n), value_at(old), old->value_len);
    }
    record_free_shell(old);
    *r = n;
    return true;
}
