/* shard/types/packed_priv.h: changing the blob of a packed collection in place. The blob lies inside
 * the record or beside it (record.h); every call may move the record. */
#ifndef MOON_TYPES_PACKED_PRIV_H
#define MOON_TYPES_PACKED_PRIV_H

#include "shard/ds/listpack.h"
#include "shard/types/record.h"

/* Larger blobs become full encodings whatever the thresholds say: their lengths are u32 and changing
 * them costs O(length). Redis's limit. */
#define PACKED_BYTES_MAX (1u << 30)

static inline uint8_t *packed_bytes(const struct record *r)
{
    return (uint8_t *)(uintptr_t)record_blob(r).data;
}
/* Replaces `cut` bytes at offset `at` by `room` bytes of no particular content (the old ones as far as
 * they reach); `used` bytes of the blob are in use. Returns where they lie. NULL: out of memory,
 * nothing changed; never if room ≤ cut: a blob that cannot be made shorter is padded with LP_PAD. */
MUST_CHECK uint8_t *packed_try_splice(struct record **r, size_t used, size_t at, size_t cut,
                                      size_t room);

/* The same for entries of a listpack blob: `cut` bytes at `at` become the items, the count changes by
 * count_delta. False: out of memory, nothing changed; never with item_count 0. */
MUST_CHECK bool packed_try_put(struct record **r, const uint8_t *at, size_t cut,
                               const struct lp_item *items, uint32_t item_count,
                               int32_t count_delta);
/* Drops `cut` bytes of entries at `at`. */
void packed_cut(struct record **r, const uint8_t *at, size_t cut, uint32_t entries);

/* A record with an empty listpack. NULL: out of memory. */
MUST_CHECK struct record *packed_try_new(struct bytes key, enum value_type t, int64_t expire_ms);
/* A record with r's key, type, expiry and stamp whose blob has value_len uninitialised bytes; r stays
 * as it is. NULL: out of memory. */
MUST_CHECK struct record *packed_try_remake(const struct record *r, enum value_encoding e,
                                            uint32_t value_len);

#endif
