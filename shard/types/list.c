/* Three states: a listpack blob in the record; chunks that OBJECT ENCODING still calls listpack
 * (LIST_QUICK); chunks. The rules by which the name changes are Redis 7.4's and are
 * checked where it checks them: growing before a push, insert or set, shrinking after a removal or
 * set, to half the limit so that a list at the edge does not change back and forth. */
#include "shard/types/list.h"

#include "shard/ds/quicklist.h"
#include "shard/types/packed_priv.h"
#include "shard/types/types_priv.h"
#include "shard/types/value.h"

/* Blobs stay inline with a key of usual length; an eighth of a chunk would be copied otherwise. */
#define BLOB_BYTES_MAX 448u
#define BLOB_BYTES_BACK 224u     /* a chunked list at or under this becomes a blob again */
#define REDIS_LISTPACK_FRAME 7u  /* head and end byte that Redis counts in */
#define REDIS_SAFETY_BYTES 8192u /* bound of a node when the limit is a count */

/* In quicklist.flags: the list is a quicklist by Redis's rules. Without it the list is one that Redis
 * would keep in a single listpack; we chunk it already when it no longer fits its record, so that
 * pushing at the head does not move kilobytes. */
#define LIST_QUICK 1u

/* ---- limits */

static uint32_t limit_bytes(int32_t size)
{
    int32_t level = size < -5 ? 5 : -size;
    return 2048u << level;
}

static struct ql_limit chunk_limit(void)
{
    int32_t size = type_limits.list_listpack_size;
    if (size < 0) return (struct ql_limit){.block_bytes = limit_bytes(size), .count = UINT32_MAX};
    return (struct ql_limit){.block_bytes = REDIS_SAFETY_BYTES + (uint32_t)sizeof(struct ql_chunk),
                             .count = size == 0 ? 1u : (uint32_t)size};
}

/* More than a single listpack may hold? part 2: half of that, for shrinking. */
static bool exceeds(uint64_t bytes, uint64_t count, uint32_t part)
{
    int32_t size = type_limits.list_listpack_size;
    if (size < 0) return bytes > limit_bytes(size) / part;
    if (part == 1 && bytes > REDIS_SAFETY_BYTES) return true;
    return count > (size == 0 ? 1u : (uint32_t)size) / part;
}

/* ---- states */

static bool is_full(const struct record *r)
{
    assert(record_type(r) == VALUE_LIST);
    return record_encoding(r) == ENC_QUICKLIST;
}

static struct quicklist *list_full(const struct record *r)
{
    return record_out(r)->ptr;
}

bool list_is_quick(const struct record *r)
{
    return is_full(r) && (list_full(r)->flags & LIST_QUICK);
}

/* The size that Redis's one listpack would have. */
static uint64_t packed_size(const struct record *r)
{
    uint64_t bytes = REDIS_LISTPACK_FRAME;
    if (!is_full(r)) {
        struct bytes blob = record_blob(r);
        return bytes + (uint64_t)(lp_end(blob) - lp_begin(blob));
    }
    for (const struct ql_chunk *c = list_full(r)->head; c != NULL; c = c->next)
        bytes += ql_used(c);
    return bytes;
}

static bool try_unpack(struct record **r)
{
    if (is_full(*r)) return true;
    struct quicklist *ql = slab_try_alloc(sizeof *ql);
    if (ql == NULL) return false;
    quicklist_init(ql);
    struct bytes blob = record_blob(*r);
    const uint8_t *begin = lp_begin(blob);
    if (!quicklist_try_adopt(ql, bytes_view(begin, (size_t)(lp_end(blob) - begin)), lp_count(blob)))
        goto out_free;
    if (!record_try_set_full(r, ENC_QUICKLIST, ql)) goto out_free;
    return true;
out_free:
    quicklist_free_slice(ql, UINT32_MAX);
    slab_free(ql, sizeof *ql);
    return false;
}

/* Before an element of this length joins (or replaces one, which counts the same). */
static bool try_grow(struct record **r, size_t element_len)
{
    if (list_is_quick(*r)) return true;
    if (exceeds(packed_size(*r) + element_len, list_len(*r) + 1, 1)) {
        if (!try_unpack(r)) return false;
        list_full(*r)->flags |= LIST_QUICK;
        return true;
    }
    if (is_full(*r) || record_blob(*r).len + element_len + LP_ENTRY_OVERHEAD_MAX <= BLOB_BYTES_MAX)
        return true;
    return try_unpack(r);
}

/* Back into the record. Without memory for that the list stays as it is: no harm. */
static void pack(struct record **r)
{
    struct quicklist *ql = list_full(*r);
    uint32_t used = ql->head == NULL ? 0 : ql_used(ql->head);
    struct record *old = *r, *fresh = packed_try_remake(old, ENC_LISTPACK, LP_HEAD_BYTES + used);
    if (fresh == NULL) return;
    lp_set_count(packed_bytes(fresh), (uint32_t)ql->count);
    if (used > 0) memcpy(packed_bytes(fresh) + LP_HEAD_BYTES, ql_begin(ql->head), used);
    full_free(old);
    record_free_shell(old);
    *r = fresh;
}

static void shrink(struct record **r)
{
    if (!is_full(*r)) return;
    struct quicklist *ql = list_full(*r);
    if (ql->chunks > 1) return;
    if ((ql->flags & LIST_QUICK) && exceeds(packed_size(*r), ql->count, 2)) return;
    ql->flags &= ~LIST_QUICK;
    if (ql->head == NULL || ql_used(ql->head) <= BLOB_BYTES_BACK) pack(r);
}

/* ---- ends */

struct record *list_try_new(struct bytes key, int64_t expire_ms)
{
    return packed_try_new(key, VALUE_LIST, expire_ms);
}

uint64_t list_len(const struct record *r)
{
    return is_full(r) ? list_full(r)->count : lp_count(record_blob(r));
}

bool list_try_push(struct record **r, enum list_end end, struct bytes element)
{
    if (!try_grow(r, element.len)) return false;
    struct lp_item item;
    lp_item_text(element, &item);
    if (is_full(*r))
        return quicklist_try_push(list_full(*r), end == LIST_HEAD, &item, chunk_limit());
    struct bytes blob = record_blob(*r);
    return packed_try_put(r, end == LIST_HEAD ? lp_begin(blob) : lp_end(blob), 0, &item, 1, 1);
}

bool list_peek(const struct record *r, enum list_end end, char tmp[NUM_I64_TEXT_MAX],
               struct bytes *out)
{
    if (list_len(r) == 0) return false;
    const uint8_t *p;
    if (is_full(r)) {
        const struct quicklist *ql = list_full(r);
        p = end == LIST_HEAD ? ql_begin(ql->head) : lp_before(ql_end(ql->tail));
    } else {
        p = end == LIST_HEAD ? lp_begin(record_blob(r)) : lp_before(lp_end(record_blob(r)));
    }
    *out = lp_text(p, tmp);
    return true;
}

/* Where entry `index` ≤ count of a blob begins. */
static const uint8_t *blob_entry(struct bytes blob, uint64_t index)
{
    uint32_t count = lp_count(blob);
    return index == count ? lp_end(blob) : lp_seek(lp_begin(blob), lp_end(blob), count, index);
}

static void blob_remove(struct record **r, uint64_t index, uint64_t count)
{
    struct bytes blob = record_blob(*r);
    const uint8_t *from = blob_entry(blob, index), *to = blob_entry(blob, index + count);
    packed_cut(r, from, (size_t)(to - from), (uint32_t)count);
}

void list_drop(struct record **r, enum list_end end, uint64_t count)
{
    uint64_t len = list_len(*r);
    assert(count <= len);
    if (count == 0) return;
    if (is_full(*r)) {
        quicklist_drop(list_full(*r), end == LIST_HEAD, count);
        shrink(r);
    } else {
        blob_remove(r, end == LIST_HEAD ? 0 : len - count, count);
    }
}

/* ---- walks */

bool list_iter_start(const struct record *r, int64_t index, int step, struct list_iter *it_out)
{
    assert(step == 1 || step == -1);
    int64_t len = (int64_t)list_len(r);
    if (index < 0) index += len;
    if (index < 0 || index >= len) return false;
    *it_out = (struct list_iter){.record = r, .index = (uint64_t)index, .step = (int8_t)step};
    const uint8_t *base, *entry;
    if (is_full(r)) {
        uint32_t in_chunk;
        const struct ql_chunk *c = quicklist_locate(list_full(r), (uint64_t)index, &in_chunk);
        it_out->chunk = c;
        base = c->data;
        entry = lp_seek(ql_begin(c), ql_end(c), c->count, in_chunk);
    } else {
        base = record_blob(r).data;
        entry = blob_entry(record_blob(r), (uint64_t)index);
    }
    it_out->at = (uint32_t)((step > 0 ? entry : lp_next(entry)) - base);
    return true;
}

/* The bytes in which the next entry lies. False: the walk is over. */
static bool iter_base(struct list_iter *it, const uint8_t **base_out)
{
    const struct ql_chunk *c = it->chunk;
    if (c == NULL) {
        struct bytes blob = record_blob(it->record);
        *base_out = blob.data;
        return blob.data + it->at != (it->step > 0 ? lp_end(blob) : lp_begin(blob));
    }
    if (it->at == (it->step > 0 ? c->end : c->begin)) {
        c = it->step > 0 ? c->next : c->prev;
        if (c == NULL) return false;
        it->chunk = c;
        it->at = it->step > 0 ? c->begin : c->end;
    }
    *base_out = c->data;
    return true;
}

bool list_iter_next(struct list_iter *it, char tmp[NUM_I64_TEXT_MAX], struct bytes *out)
{
    const uint8_t *base;
    if (!iter_base(it, &base)) return false;
    const uint8_t *p = base + it->at, *entry = it->step > 0 ? p : lp_before(p);
    *out = lp_text(entry, tmp);
    it->at = (uint32_t)((it->step > 0 ? lp_next(entry) : entry) - base);
    it->index += (uint64_t)(int64_t)it->step;
    return true;
}

/* ---- the middle */

bool list_try_set(struct record **r, int64_t index, struct bytes element)
{
    if (index < 0) index += (int64_t)list_len(*r);
    assert(index >= 0);
    if (!try_grow(r, element.len)) return false;
    struct lp_item item;
    lp_item_text(element, &item);
    if (!is_full(*r)) {
        const uint8_t *p = blob_entry(record_blob(*r), (uint64_t)index);
        return packed_try_put(r, p, lp_entry_size(p), &item, 1, 0);
    }
    if (!quicklist_try_set(list_full(*r), (uint64_t)index, &item, chunk_limit())) return false;
    shrink(r);
    return true;
}

bool list_try_insert(struct record **r, uint64_t index, struct bytes element)
{
    assert(index <= list_len(*r));
    if (!try_grow(r, element.len)) return false;
    struct lp_item item;
    lp_item_text(element, &item);
    if (is_full(*r)) return quicklist_try_insert(list_full(*r), index, &item, chunk_limit());
    return packed_try_put(r, blob_entry(record_blob(*r), index), 0, &item, 1, 1);
}

void list_remove(struct record **r, uint64_t index, uint64_t count)
{
    uint64_t len = list_len(*r);
    assert(index <= len);
    assert(count <= len - index);
    if (count == 0) return;
    if (is_full(*r)) {
        quicklist_remove(list_full(*r), index, count, chunk_limit());
        shrink(r);
    } else {
        blob_remove(r, index, count);
    }
}

/* In a blob of some hundred bytes each removal may move the rest. */
static uint64_t blob_remove_equal(struct record **r, const struct lp_item *item, uint64_t max,
                                  bool from_tail)
{
    uint64_t removed = 0;
    size_t at = LP_HEAD_BYTES;
    if (from_tail) at = (size_t)(lp_end(record_blob(*r)) - record_blob(*r).data);
    while (removed < max) {
        struct bytes blob = record_blob(*r);
        const uint8_t *p = blob.data + at;
        if (p == (from_tail ? lp_begin(blob) : lp_end(blob))) break;
        const uint8_t *entry = from_tail ? lp_before(p) : p;
        size_t begin = (size_t)(entry - blob.data), size = lp_entry_size(entry);
        bool drop = lp_matches(entry, item);
        if (drop) {
            packed_cut(r, entry, size, 1);
            removed++;
        }
        at = from_tail || drop ? begin : begin + size;
    }
    return removed;
}

uint64_t list_remove_equal(struct record **r, struct bytes element, uint64_t count, bool from_tail)
{
    struct lp_item item;
    lp_item_text(element, &item);
    if (!is_full(*r))
        return blob_remove_equal(r, &item, count == 0 ? UINT64_MAX : count, from_tail);
    uint64_t removed =
        quicklist_remove_equal(list_full(*r), &item, count, from_tail, chunk_limit());
    if (removed > 0) shrink(r);
    return removed;
}

/* ---- for all types */

static uint64_t full_len(const void *full)
{
    return ((const struct quicklist *)full)->count;
}

static size_t full_bytes(const void *full)
{
    const struct quicklist *ql = full;
    return slab_good_size(sizeof *ql) + ql->bytes;
}

static uint64_t full_cost(const void *full)
{
    return ((const struct quicklist *)full)->chunks;
}

static bool full_free_slice(void *full, uint32_t max)
{
    struct quicklist *ql = full;
    if (!quicklist_free_slice(ql, max)) return false;
    slab_free(ql, sizeof *ql);
    return true;
}

static void *full_try_copy(const void *full)
{
    const struct quicklist *ql = full;
    struct quicklist *copy = slab_try_alloc(sizeof *copy);
    if (copy == NULL) return NULL;
    quicklist_init(copy);
    if (!quicklist_try_copy(ql, copy)) {
        slab_free(copy, sizeof *copy);
        return NULL;
    }
    copy->flags = ql->flags;
    return copy;
}

static bool full_check(const void *full)
{
    return quicklist_check(full);
}

const struct full_ops list_full_ops = {
    .len = full_len,
    .bytes = full_bytes,
    .cost = full_cost,
    .free_slice = full_free_slice,
    .try_copy = full_try_copy,
    .check = full_check,
};
