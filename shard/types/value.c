/* Blobs are handled here, full encodings by their type's table (types_priv.h). */
#include "shard/types/value.h"

#include "shard/ds/intset.h"
#include "shard/ds/listpack.h"
#include "shard/ds/table.h"
#include "shard/types/hash.h"
#include "shard/types/list.h"
#include "shard/types/set.h"
#include "shard/types/str.h"
#include "shard/types/types_priv.h"
#include "shard/types/zset.h"

struct type_limits type_limits = {
    .hash_listpack_entries = 512,
    .hash_listpack_value = 64,
    .set_intset_entries = 512,
    .set_listpack_entries = 128,
    .set_listpack_value = 64,
    .zset_listpack_entries = 128,
    .zset_listpack_value = 64,
    .list_listpack_size = -2,
    .list_compress_depth = 0,
};

const struct full_ops *full_ops_of(const struct record *r)
{
    assert(record_is_full(r));
    switch ((unsigned)record_type(r)) {
    case VALUE_LIST:
        return &list_full_ops;
    case VALUE_SET:
        return &set_full_ops;
    case VALUE_ZSET:
        return &zset_full_ops;
    default:
        assert(record_type(r) == VALUE_HASH);
        return &hash_full_ops;
    }
}

static void *full_of(const struct record *r)
{
    return record_out(r)->ptr;
}

void full_free(struct record *r)
{
    while (!full_ops_of(r)->free_slice(full_of(r), UINT32_MAX)) {
    }
}

/* ---- names and sizes */

const char *value_type_name(enum value_type t)
{
    static const char *const names[] = {
        [VALUE_STRING] = "string", [VALUE_LIST] = "list", [VALUE_SET] = "set",
        [VALUE_ZSET] = "zset",     [VALUE_HASH] = "hash", [VALUE_STREAM] = "stream",
    };
    if (t == VALUE_NONE) return "none";
    assert((size_t)t < COUNT_OF(names));
    return names[t];
}

const char *value_encoding_name(const struct record *r)
{
    static const char *const names[] = {
        [ENC_RAW] = "raw",
        [ENC_EMBSTR] = "embstr",
        [ENC_INT] = "int",
        [ENC_LISTPACK] = "listpack",
        [ENC_QUICKLIST] = "quicklist",
        [ENC_INTSET] = "intset",
        [ENC_HASHTABLE] = "hashtable",
        [ENC_SKIPLIST] = "skiplist",
        [ENC_STREAM] = "stream",
    };
    enum value_encoding e = record_encoding(r);
    assert((size_t)e < COUNT_OF(names));
    if (e == ENC_QUICKLIST && !list_is_quick(r)) return names[ENC_LISTPACK];
    return names[e];
}

/* Elements of a listpack entry's worth: pairs count once. */
static uint32_t entries_per_element(enum value_type t)
{
    return t == VALUE_HASH || t == VALUE_ZSET ? 2 : 1;
}

uint64_t value_len(const struct record *r)
{
    if (record_is_full(r)) return full_ops_of(r)->len(full_of(r));
    if (record_type(r) == VALUE_STRING) return str_len(r);
    if (record_encoding(r) == ENC_INTSET) return intset_count(record_blob(r));
    return lp_count(record_blob(r)) / entries_per_element(record_type(r));
}

size_t value_bytes(const struct record *r)
{
    size_t bytes = record_block_bytes(r);
    if (record_is_full(r)) return bytes + full_ops_of(r)->bytes(full_of(r));
    return bytes + (r->flags & RECORD_OUT ? slab_good_size(record_out(r)->cap) : 0);
}

/* ---- copying, freeing */

struct record *value_try_copy(const struct record *r, struct bytes key)
{
    struct record *copy;
    int64_t expire_ms = record_expire_ms(r);
    if (!record_is_full(r)) {
        copy =
            record_try_new_blob(key, record_type(r), record_encoding(r), record_blob(r), expire_ms);
        if (copy == NULL) return NULL;
    } else {
        copy = record_try_new(key, record_type(r), record_encoding(r), 0, true, expire_ms);
        if (copy == NULL) return NULL;
        record_out(copy)->ptr = full_ops_of(r)->try_copy(full_of(r));
        if (record_out(copy)->ptr == NULL) {
            record_free_shell(copy);
            return NULL;
        }
    }
    memcpy(copy->lru, r->lru, sizeof copy->lru);
    return copy;
}

uint64_t value_free_cost(const struct record *r)
{
    return record_is_full(r) ? full_ops_of(r)->cost(full_of(r)) : 1;
}

bool value_free_slice(struct record *r, uint32_t max)
{
    if (!record_is_full(r)) {
        record_free(r);
        return true;
    }
    if (!full_ops_of(r)->free_slice(full_of(r), max)) return false;
    record_free_shell(r);
    return true;
}

/* ---- loading ahead */

/* All but lists and streams begin with their table (types_priv.h). */
static const struct table *table_of(const struct record *r)
{
    enum value_encoding e = record_encoding(r);
    return e == ENC_HASHTABLE || e == ENC_SKIPLIST ? full_of(r) : NULL;
}

void value_prefetch_bucket(const struct record *r, uint64_t element_hash)
{
    const struct table *t = table_of(r);
    if (t != NULL) table_prefetch_bucket(t, element_hash);
}

bool value_prefetch_item(const struct record *r, uint64_t element_hash)
{
    const struct table *t = table_of(r);
    return t != NULL && table_prefetch_item(t, element_hash);
}

void value_prefetch_overflow(const struct record *r, uint64_t element_hash)
{
    const struct table *t = table_of(r);
    if (t != NULL) table_prefetch_overflow(t, element_hash);
}

/* ---- digest */

/* A good 64-bit mix, keyed by nothing: two nodes must come to the same. */
static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 29;
}

static uint64_t mix_bytes(uint64_t h, struct bytes b)
{
    h = mix(h, b.len);
    for (size_t at = 0; at < b.len; at += 8) {
        uint64_t word = 0;
        memcpy(&word, b.data + at, b.len - at < 8 ? b.len - at : 8);
        h = mix(h, word);
    }
    return h;
}

static uint64_t digest_list(const struct record *r)
{
    uint64_t h = 0;
    struct list_iter it;
    struct bytes element;
    char tmp[NUM_I64_TEXT_MAX];
    if (!list_iter_start(r, 0, 1, &it)) return h;
    while (list_iter_next(&it, tmp, &element))
        h = mix_bytes(h, element);
    return h;
}

static uint64_t digest_set(const struct record *r)
{
    uint64_t sum = 0;
    struct set_iter it;
    struct bytes member;
    char tmp[NUM_I64_TEXT_MAX];
    set_iter_start(r, &it);
    while (set_iter_next(&it, tmp, &member))
        sum += mix_bytes(1, member);
    return sum;
}

static uint64_t digest_hash(const struct record *r)
{
    uint64_t sum = 0;
    struct hash_iter it;
    struct bytes field, value;
    char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    hash_iter_start(r, &it);
    while (hash_iter_next(&it, tmp_f, tmp_v, &field, &value))
        sum += mix_bytes(mix_bytes(2, field), value);
    return sum;
}

static uint64_t digest_zset(const struct record *r)
{
    uint64_t sum = 0, bits;
    struct zset_iter it;
    struct bytes member;
    double score;
    char tmp[NUM_I64_TEXT_MAX];
    zset_iter_start(r, 0, 1, &it);
    while (zset_iter_next(&it, tmp, &member, &score)) {
        score += 0.0; /* -0 is 0: a packed set does not keep it */
        memcpy(&bits, &score, sizeof bits);
        sum += mix(mix_bytes(3, member), bits);
    }
    return sum;
}

uint64_t value_digest(const struct record *r)
{
    char tmp[NUM_I64_TEXT_MAX];
    uint64_t type = record_type(r);
    switch ((unsigned)record_type(r)) {
    case VALUE_STRING:
        return mix_bytes(type, str_view(r, tmp));
    case VALUE_LIST:
        return mix(type, digest_list(r));
    case VALUE_SET:
        return mix(type, digest_set(r));
    case VALUE_ZSET:
        return mix(type, digest_zset(r));
    default:
        assert(type == VALUE_HASH);
        return mix(type, digest_hash(r));
    }
}

/* ---- check */

static bool zset_blob_sorted(const struct record *r)
{
    struct zset_iter it;
    struct bytes member, before = {0};
    double score, last = 0;
    char tmp[2][NUM_I64_TEXT_MAX];
    bool any = false;
    zset_iter_start(r, 0, 1, &it);
    for (int turn = 0; zset_iter_next(&it, tmp[turn], &member, &score); turn ^= 1) {
        if (any && (score < last || (!(score > last) && bytes_compare(before, member) >= 0)))
            return false;
        before = member;
        last = score;
        any = true;
    }
    return true;
}

bool value_check(const struct record *r)
{
    enum value_type t = record_type(r);
    if (record_is_full(r)) return full_ops_of(r)->check(full_of(r));
    if (r->flags & RECORD_OUT && record_out(r)->len > record_out(r)->cap) return false;
    if (t == VALUE_STRING)
        return record_encoding(r) != ENC_INT || record_blob(r).len == sizeof(int64_t);
    if (record_encoding(r) == ENC_INTSET) return t == VALUE_SET && intset_check(record_blob(r));
    if (!lp_check(record_blob(r)) || lp_count(record_blob(r)) % entries_per_element(t) != 0)
        return false;
    return t != VALUE_ZSET || zset_blob_sorted(r);
}
