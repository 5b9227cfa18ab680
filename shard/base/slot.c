/* shard/base/slot.c: the slot of a key, by Redis Cluster's rule: what stands between the first '{'
 * and the next '}' is hashed alone if it is not empty. */
#include "shard/base/slot.h"

#include "shard/base/assert.h"
#include "shard/base/crc.h"

static_assert((SLOT_COUNT & (SLOT_COUNT - 1)) == 0, "slots are taken by mask");

/* The first '{'. Most names have none and are short: eight bytes are seen at a time, the last eight again. */
static const uint8_t *find_open(struct bytes key)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), open = ones * '{';
    uint64_t seen = 0;
    if (key.len < 8 || key.len > 64) return key.len != 0 ? memchr(key.data, '{', key.len) : NULL;
    for (size_t at = 0; at < key.len; at += 8) {
        uint64_t v;
        memcpy(&v, key.data + (at + 8 <= key.len ? at : key.len - 8), sizeof v);
        v ^= open;
        seen |= (v - ones) & ~v;
    }
    return seen & ones << 7 ? memchr(key.data, '{', key.len) : NULL;
}

uint16_t slot_of_key(struct bytes key)
{
    const uint8_t *open = find_open(key);
    if (unlikely(open != NULL)) {
        const uint8_t *tag = open + 1;
        size_t rest = (size_t)(key.data + key.len - tag);
        const uint8_t *close = memchr(tag, '}', rest);
        if (close != NULL && close != tag) key = bytes_view(tag, (size_t)(close - tag));
    }
    return crc16(key.data, key.len) & (SLOT_COUNT - 1);
}
