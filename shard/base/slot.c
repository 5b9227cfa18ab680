/* shard/base/slot.c: the slot of a key, by Redis Cluster's rule: what stands between the first '{'
 * and the next '}' is hashed alone if it is not empty. */
#include "shard/base/slot.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "shard/base/assert.h"
#include "shard/base/crc.h"

static_assert((SLOT_COUNT & (SLOT_COUNT - 1)) == 0, "slots are taken by mask");

/* The first '{'. Most names have none and are short: eight or 16 bytes are seen at a time, the last ones again. */
static const uint8_t *find_open(struct bytes key)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), open = ones * '{';
    uint64_t seen = 0;
    if (key.len < 8 || key.len > 64) return key.len != 0 ? memchr(key.data, '{', key.len) : NULL;
#ifdef __SSE2__
    if (key.len >= 16) {
        __m128i wanted = _mm_set1_epi8('{'), any = _mm_setzero_si128();
        for (size_t at = 0; at < key.len; at += 16) {
            const uint8_t *from = key.data + (at + 16 <= key.len ? at : key.len - 16);
            any = _mm_or_si128(any, _mm_cmpeq_epi8(_mm_loadu_si128((const void *)from), wanted));
        }
        return _mm_movemask_epi8(any) != 0 ? memchr(key.data, '{', key.len) : NULL;
    }
#endif
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
