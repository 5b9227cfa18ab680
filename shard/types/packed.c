/* Growing asks for memory first and then moves bytes; shrinking moves bytes first and then gives
 * memory back, which may fail for a record that would have to move to a smaller block. Then the blob
 * keeps its length and carries padding until a later change finds memory. */
#include "shard/types/packed_priv.h"

static void give_back(struct record **r, size_t used)
{
    if (record_try_resize_blob(r, (uint32_t)used)) return;
    if ((*r)->flags & RECORD_OUT) {
        record_out(*r)->len = (uint32_t)used; /* cap remembers what is allocated */
        return;
    }
    struct bytes blob = record_blob(*r);
    memset(packed_bytes(*r) + used, LP_PAD, blob.len - used);
}

uint8_t *packed_try_splice(struct record **r, size_t used, size_t at, size_t cut, size_t room)
{
    struct bytes blob = record_blob(*r);
    assert(used <= blob.len);
    assert(at + cut <= used);
    size_t used_after = used - cut + room, tail = used - at - cut;
    assert(used_after <= UINT32_MAX);
    if (used_after > blob.len && !record_try_resize_blob(r, (uint32_t)used_after)) return NULL;
    uint8_t *p = packed_bytes(*r) + at;
    if (tail > 0 && room != cut) memmove(p + room, p + cut, tail);
    if (record_blob(*r).len > used_after) give_back(r, used_after); /* shorter now, or was padded */
    return packed_bytes(*r) + at;
}

bool packed_try_put(struct record **r, const uint8_t *at, size_t cut, const struct lp_item *items,
                    uint32_t item_count, int32_t count_delta)
{
    struct bytes blob = record_blob(*r);
    size_t room = 0;
    for (uint32_t i = 0; i < item_count; i++)
        room += items[i].size;
    uint8_t *p = packed_try_splice(r, (size_t)(lp_end(blob) - blob.data), (size_t)(at - blob.data),
                                   cut, room);
    if (p == NULL) return false;
    for (uint32_t i = 0; i < item_count; i++)
        p = lp_write(p, &items[i]);
    blob = record_blob(*r);
    lp_set_count(packed_bytes(*r), (uint32_t)((int64_t)lp_count(blob) + count_delta));
    return true;
}

void packed_cut(struct record **r, const uint8_t *at, size_t cut, uint32_t entries)
{
    bool ok = packed_try_put(r, at, cut, NULL, 0, -(int32_t)entries);
    assert(ok);
}

struct record *packed_try_new(struct bytes key, enum value_type t, int64_t expire_ms)
{
    struct record *r = record_try_new(key, t, ENC_LISTPACK, LP_HEAD_BYTES, false, expire_ms);
    if (r == NULL) return NULL;
    lp_set_count(packed_bytes(r), 0);
    return r;
}

struct record *packed_try_remake(const struct record *r, enum value_encoding e, uint32_t value_len)
{
    struct record *fresh = packed_try_new(record_key(r), record_type(r), record_expire_ms(r));
    if (fresh == NULL) return NULL;
    if (!record_try_resize_blob(&fresh, value_len)) {
        record_free(fresh);
        return NULL;
    }
    record_set_kind(fresh, record_type(r), e);
    memcpy(fresh->lru, r->lru, sizeof fresh->lru);
    return fresh;
}
