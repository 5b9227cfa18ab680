/* shard/base/slot.c: the slot of a key, by Redis Cluster's rule: what stands between the first '{'
 * and the next '}' is hashed alone if it is not empty. */
#include "shard/base/slot.h"

#include "shard/base/assert.h"
#include "shard/base/crc.h"

static_assert((SLOT_COUNT & (SLOT_COUNT - 1)) == 0, "slots are taken by mask");

uint16_t slot_of_key(struct bytes key)
{
    const uint8_t *open = key.len != 0 ? memchr(key.data, '{', key.len) : NULL;
    if (open != NULL) {
        const uint8_t *tag = open + 1;
        size_t rest = (size_t)(key.data + key.len - tag);
        const uint8_t *close = memchr(tag, '}', rest);
        if (close != NULL && close != tag) key = bytes_view(tag, (size_t)(close - tag));
    }
    return crc16(key.data, key.len) & (SLOT_COUNT - 1);
}
