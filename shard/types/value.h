/* shard/types/value.h: what all value types have in common, and the thresholds of their encodings. */
#ifndef MOON_TYPES_VALUE_H
#define MOON_TYPES_VALUE_H

#include "shard/types/record.h"

/* Thresholds (CONFIG), one set per process, changed only between passes by the config owner; readers
 * on other threads may see either value. */
struct type_limits {
    uint32_t hash_listpack_entries, hash_listpack_value;
    uint32_t set_intset_entries, set_listpack_entries, set_listpack_value;
    uint32_t zset_listpack_entries, zset_listpack_value;
    int32_t list_listpack_size;   /* > 0 entries, -1…-5: 4, 8, 16, 32, 64 KiB */
    uint32_t list_compress_depth; /* accepted; lists are not compressed */
};
extern struct type_limits type_limits; /* Redis 7.4's defaults */

const char *value_type_name(enum value_type t);          /* "string", "none", … as TYPE */
const char *value_encoding_name(const struct record *r); /* as OBJECT ENCODING */
/* Elements of a collection, bytes of a string. */
uint64_t value_len(const struct record *r);
/* Memory of record, blob and full structures; O(1). */
size_t value_bytes(const struct record *r);
/* Deep copy under another key (COPY); keeps expiry. NULL: out of memory. */
MUST_CHECK struct record *value_try_copy(const struct record *r, struct bytes key);
/* Work that freeing it would take, in elements: decides between at once and in slices. */
uint64_t value_free_cost(const struct record *r);
/* Frees up to `max` elements of the value; true when record and value are gone. */
bool value_free_slice(struct record *r, uint32_t max);
/* Loading ahead, in the sweeps over a batch before its commands run: what a lookup of the element with
 * this hash (hash_bytes()) will read of a big hash, set or sorted set; no-ops for other values. First
 * the bucket; when that had time to arrive, the element. The record must be loaded. As in ds/table.h,
 * true asks for value_prefetch_overflow() in one more sweep. */
void value_prefetch_bucket(const struct record *r, uint64_t element_hash);
bool value_prefetch_item(const struct record *r, uint64_t element_hash);
void value_prefetch_overflow(const struct record *r, uint64_t element_hash);
/* A digest of the contents independent of encoding and (for unordered types) of order. */
uint64_t value_digest(const struct record *r);
/* Structure walk, for tests and DEBUG. */
bool value_check(const struct record *r);
/* Moves slab blocks off sparse runs: active defragmentation later. */

#endif
