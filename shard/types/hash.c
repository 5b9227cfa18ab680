/* Packed: a listpack of field, value, field, value, … in order of insertion. Full: one slab node per
 * field,
 *
 *   small   form u8 | field length u8  | value length u16 | field | value
 *   large   form u8 | 3 B unused | field length u32 | value length u32 | field | value, or a pointer to it
 *
 * so that the usual field costs 4 bytes beside its text, and a lookup touches the bucket and the node.
 * A value goes to a block of its own when the node would exceed what slabs hold well: overwriting a
 * large value then leaves the node where it is. */
#include "shard/types/hash.h"

#include "shard/base/hash.h"
#include "shard/types/packed_priv.h"
#include "shard/types/types_priv.h"
#include "shard/types/value.h"

enum { NODE_LARGE = 1, NODE_OUT = 2 };
struct hash_full {
    struct table fields; /* of nodes, by field name */
    uint64_t node_bytes; /* nodes with what hangs off them, as allocated */
};
static_assert(offsetof(struct hash_full, fields) == 0, "value.c looks it up");

#define NODE_INLINE_MAX 512u
#define SMALL_HEAD 4u
#define LARGE_HEAD 12u

/* ---- nodes */

struct node_view {
    struct bytes field, value;
    size_t bytes; /* of the node, rounded as slabs do */
    uint8_t form;
    uint8_t *value_at; /* inline value, or the pointer to it */
};

static size_t node_head(uint8_t form)
{
    return form & NODE_LARGE ? LARGE_HEAD : SMALL_HEAD;
}

static void node_layout(size_t field_len, size_t value_len, uint8_t *form_out, size_t *bytes_out)
{
    uint8_t form = field_len > UINT8_MAX || value_len > UINT16_MAX ? NODE_LARGE : 0;
    if (node_head(form) + field_len + value_len > NODE_INLINE_MAX && value_len > sizeof(void *)) {
        form = NODE_LARGE | NODE_OUT;
    }
    *form_out = form;
    *bytes_out = slab_good_size(node_head(form) + field_len +
                                (form & NODE_OUT ? sizeof(void *) : value_len));
}

static void node_view(const void *node, struct node_view *out)
{
    uint8_t *p = (uint8_t *)(uintptr_t)node;
    uint32_t field_len = p[1], value_len;
    if (p[0] & NODE_LARGE) {
        memcpy(&field_len, p + 4, 4);
        memcpy(&value_len, p + 8, 4);
    } else {
        uint16_t len;
        memcpy(&len, p + 2, 2);
        value_len = len;
    }
    out->form = p[0];
    out->field = bytes_view(p + node_head(p[0]), field_len);
    out->value_at = p + node_head(p[0]) + field_len;
    const uint8_t *value = out->value_at;
    if (p[0] & NODE_OUT) memcpy(&value, out->value_at, sizeof value);
    out->value = bytes_view(value, value_len);
    out->bytes = slab_good_size(node_head(p[0]) + field_len +
                                (p[0] & NODE_OUT ? sizeof(void *) : value_len));
}

static struct bytes node_field(const void *node)
{
    const uint8_t *p = node;
    if (likely(!(p[0] & NODE_LARGE))) return bytes_view(p + SMALL_HEAD, p[1]);
    uint32_t len;
    memcpy(&len, p + 4, 4);
    return bytes_view(p + LARGE_HEAD, len);
}

static uint64_t node_hash(const void *node)
{
    return hash_bytes(node_field(node));
}

static void node_set_lengths(uint8_t *p, uint8_t form, size_t field_len, size_t value_len)
{
    p[0] = form;
    if (form & NODE_LARGE) {
        uint32_t f = (uint32_t)field_len, v = (uint32_t)value_len;
        memset(p + 1, 0, 3);
        memcpy(p + 4, &f, 4);
        memcpy(p + 8, &v, 4);
    } else {
        uint16_t v = (uint16_t)value_len;
        p[1] = (uint8_t)field_len;
        memcpy(p + 2, &v, 2);
    }
}

/* Returns the node, NULL when out of memory. *bytes_out: all it takes. */
static void *node_try_new(struct bytes field, struct bytes value, size_t *bytes_out)
{
    uint8_t form;
    size_t bytes;
    node_layout(field.len, value.len, &form, &bytes);
    uint8_t *block = NULL;
    if (form & NODE_OUT) {
        block = mem_try_alloc(MEM_DATA, value.len);
        if (block == NULL) return NULL;
        memcpy(block, value.data, value.len);
    }
    uint8_t *p = slab_try_alloc(bytes);
    if (p == NULL) {
        mem_free(MEM_DATA, block, value.len);
        return NULL;
    }
    node_set_lengths(p, form, field.len, value.len);
    uint8_t *at = p + node_head(form);
    if (field.len > 0) memcpy(at, field.data, field.len);
    at += field.len;
    if (form & NODE_OUT) {
        memcpy(at, &block, sizeof block);
    } else if (value.len > 0) {
        memcpy(at, value.data, value.len);
    }
    *bytes_out = bytes + (form & NODE_OUT ? mem_good_size(value.len) : 0);
    return p;
}

static size_t node_bytes(const struct node_view *v)
{
    return v->bytes + (v->form & NODE_OUT ? mem_good_size(v->value.len) : 0);
}

static size_t node_free(void *node)
{
    struct node_view v;
    node_view(node, &v);
    size_t bytes = node_bytes(&v);
    if (v.form & NODE_OUT) mem_free(MEM_DATA, (void *)(uintptr_t)v.value.data, v.value.len);
    slab_free(node, v.bytes);
    return bytes;
}

/* ---- full */

static struct hash_full *hash_full(const struct record *r)
{
    return record_out(r)->ptr;
}

/* An empty one sized for `count` fields. NULL: out of memory. */
static struct hash_full *full_try_new(uint64_t count)
{
    struct hash_full *h = slab_try_alloc(sizeof *h);
    if (h == NULL) return NULL;
    memset(h, 0, sizeof *h);
    if (count > 0 &&
        !table_reserve(&h->fields, (uint32_t)(count < UINT32_MAX ? count : UINT32_MAX))) {
        slab_free(h, sizeof *h);
        return NULL;
    }
    return h;
}

static void drain_one(void *ctx, void *item)
{
    struct hash_full *h = ctx;
    h->node_bytes -= node_free(item);
}

static bool full_free_slice(void *full, uint32_t max)
{
    struct hash_full *h = full;
    if (table_drain(&h->fields, max, drain_one, h)) return false;
    assert(h->node_bytes == 0);
    slab_free(h, sizeof *h);
    return true;
}

static void full_free_all(struct hash_full *h)
{
    while (!full_free_slice(h, UINT32_MAX)) {
    }
}

static bool full_try_add(struct hash_full *h, uint64_t hash, struct bytes field, struct bytes value)
{
    size_t bytes;
    void *node = node_try_new(field, value, &bytes);
    if (node == NULL) return false;
    if (!table_insert(&h->fields, hash, node, node_hash, NULL)) {
        node_free(node);
        return false;
    }
    h->node_bytes += bytes;
    return true;
}

static enum hash_set_result full_set(struct hash_full *h, struct bytes field, struct bytes value)
{
    uint64_t hash = hash_bytes(field);
    struct table_pos pos;
    void *node = table_find(&h->fields, hash, field, node_field, &pos);
    if (node == NULL) return full_try_add(h, hash, field, value) ? HASH_ADDED : HASH_NOMEM;
    struct node_view old;
    node_view(node, &old);
    uint8_t form;
    size_t bytes;
    node_layout(field.len, value.len, &form, &bytes);
    if (form == old.form && bytes == old.bytes && !(form & NODE_OUT)) {
        node_set_lengths(node, form, field.len, value.len);
        if (value.len > 0) memcpy(old.value_at, value.data, value.len);
        return HASH_UPDATED;
    }
    void *fresh = node_try_new(field, value, &bytes);
    if (fresh == NULL) return HASH_NOMEM;
    table_replace(&h->fields, &pos, fresh);
    h->node_bytes += bytes;
    h->node_bytes -= node_free(node);
    return HASH_UPDATED;
}

/* Turns the packed hash into a full one. */
static bool convert(struct record **r, uint64_t expected)
{
    struct bytes blob = record_blob(*r);
    uint64_t count = lp_count(blob) / 2;
    struct hash_full *h = full_try_new(count > expected ? count : expected);
    if (h == NULL) return false;
    const uint8_t *end = lp_end(blob);
    for (const uint8_t *p = lp_begin(blob); p < end;) {
        char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
        struct bytes field = lp_text(p, tmp_f);
        p = lp_next(p);
        if (!full_try_add(h, hash_bytes(field), field, lp_text(p, tmp_v))) goto out_free;
        p = lp_next(p);
    }
    if (!record_try_set_full(r, ENC_HASHTABLE, h)) goto out_free;
    return true;
out_free:
    full_free_all(h);
    return false;
}

/* ---- both */

static bool is_full(const struct record *r)
{
    assert(record_type(r) == VALUE_HASH);
    return record_encoding(r) == ENC_HASHTABLE;
}

static const uint8_t *find_packed(const struct record *r, struct bytes field)
{
    struct bytes blob = record_blob(r);
    struct lp_item item;
    lp_item_text(field, &item);
    return lp_find(lp_begin(blob), lp_end(blob), &item, 2);
}

struct record *hash_try_new(struct bytes key, int64_t expire_ms)
{
    return packed_try_new(key, VALUE_HASH, expire_ms);
}

uint64_t hash_len(const struct record *r)
{
    return is_full(r) ? hash_full(r)->fields.count : lp_count(record_blob(r)) / 2;
}

bool hash_get(const struct record *r, struct bytes field, char tmp[NUM_I64_TEXT_MAX],
              struct bytes *value_out)
{
    if (is_full(r)) {
        const void *node =
            table_find(&hash_full(r)->fields, hash_bytes(field), field, node_field, NULL);
        if (node == NULL) return false;
        struct node_view v;
        node_view(node, &v);
        *value_out = v.value;
        return true;
    }
    const uint8_t *p = find_packed(r, field);
    if (p == NULL) return false;
    *value_out = lp_text(lp_next(p), tmp);
    return true;
}

bool hash_has(const struct record *r, struct bytes field)
{
    if (!is_full(r)) return find_packed(r, field) != NULL;
    return table_find(&hash_full(r)->fields, hash_bytes(field), field, node_field, NULL) != NULL;
}

bool hash_try_expect(struct record **r, size_t longest_bytes)
{
    if (is_full(*r) || longest_bytes <= type_limits.hash_listpack_value) return true;
    return convert(r, 0);
}

static enum hash_set_result packed_set(struct record **r, struct bytes field, struct bytes value)
{
    struct lp_item items[2];
    lp_item_text(field, &items[0]);
    lp_item_text(value, &items[1]);
    struct bytes blob = record_blob(*r);
    const uint8_t *end = lp_end(blob), *p = lp_find(lp_begin(blob), end, &items[0], 2);
    uint32_t count = lp_count(blob) / 2, most = type_limits.hash_listpack_entries;
    if (p != NULL && count <= most) {
        p = lp_next(p);
        if (lp_matches(p, &items[1])) return HASH_UPDATED;
        return packed_try_put(r, p, lp_entry_size(p), &items[1], 1, 0) ? HASH_UPDATED : HASH_NOMEM;
    }
    if (p == NULL && count < most) {
        return packed_try_put(r, end, 0, items, 2, 2) ? HASH_ADDED : HASH_NOMEM;
    }
    if (!convert(r, (uint64_t)count + 1)) return HASH_NOMEM;
    return full_set(hash_full(*r), field, value);
}

enum hash_set_result hash_set(struct record **r, struct bytes field, struct bytes value)
{
    if (is_full(*r)) return full_set(hash_full(*r), field, value);
    uint32_t longest = type_limits.hash_listpack_value;
    if (field.len <= longest && value.len <= longest &&
        record_blob(*r).len + field.len + value.len <= PACKED_BYTES_MAX) {
        return packed_set(r, field, value);
    }
    return convert(r, 0) ? full_set(hash_full(*r), field, value) : HASH_NOMEM;
}

bool hash_delete(struct record **r, struct bytes field)
{
    if (!is_full(*r)) {
        const uint8_t *p = find_packed(*r, field);
        if (p == NULL) return false;
        packed_cut(r, p, lp_entry_size(p) + lp_entry_size(lp_next(p)), 2);
        return true;
    }
    struct hash_full *h = hash_full(*r);
    struct table_pos pos;
    void *node = table_find(&h->fields, hash_bytes(field), field, node_field, &pos);
    if (node == NULL) return false;
    table_remove(&h->fields, &pos, node_hash);
    h->node_bytes -= node_free(node);
    return true;
}

/* ---- walks */

void hash_iter_start(const struct record *r, struct hash_iter *it_out)
{
    it_out->record = r;
    it_out->at = LP_HEAD_BYTES;
    if (is_full(r)) window_start(&it_out->window, &hash_full(r)->fields);
}

bool hash_iter_next(struct hash_iter *it, char tmp_f[NUM_I64_TEXT_MAX],
                    char tmp_v[NUM_I64_TEXT_MAX], struct bytes *field_out, struct bytes *value_out)
{
    if (is_full(it->record)) {
        const void *node = window_next(&it->window);
        if (node == NULL) return false;
        struct node_view v;
        node_view(node, &v);
        *field_out = v.field;
        *value_out = v.value;
        return true;
    }
    struct bytes blob = record_blob(it->record);
    const uint8_t *p = blob.data + it->at;
    if (p == lp_end(blob)) return false;
    *field_out = lp_text(p, tmp_f);
    p = lp_next(p);
    *value_out = lp_text(p, tmp_v);
    it->at = (uint64_t)(lp_next(p) - blob.data);
    return true;
}

struct scan {
    void (*each)(void *ctx, struct bytes field, struct bytes value);
    void *ctx;
};

static void scan_node(void *ctx, void *item)
{
    struct scan *s = ctx;
    struct node_view v;
    node_view(item, &v);
    s->each(s->ctx, v.field, v.value);
}

uint64_t hash_scan(const struct record *r, uint64_t cursor,
                   void (*each)(void *ctx, struct bytes field, struct bytes value), void *ctx)
{
    if (is_full(r)) {
        struct scan s = {.each = each, .ctx = ctx};
        return table_scan(&hash_full(r)->fields, cursor, scan_node, &s);
    }
    struct hash_iter it;
    struct bytes field, value;
    char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    hash_iter_start(r, &it);
    while (hash_iter_next(&it, tmp_f, tmp_v, &field, &value))
        each(ctx, field, value);
    return 0;
}

void hash_random(const struct record *r, struct rng *rng, char tmp_f[NUM_I64_TEXT_MAX],
                 char tmp_v[NUM_I64_TEXT_MAX], struct bytes *field_out, struct bytes *value_out)
{
    if (is_full(r)) {
        const void *node = table_random(&hash_full(r)->fields, rng);
        assert(node != NULL);
        struct node_view v;
        node_view(node, &v);
        *field_out = v.field;
        *value_out = v.value;
        return;
    }
    struct bytes blob = record_blob(r);
    uint32_t count = lp_count(blob);
    assert(count > 0);
    const uint8_t *p = lp_seek(lp_begin(blob), lp_end(blob), count, rng_below(rng, count / 2) * 2);
    *field_out = lp_text(p, tmp_f);
    *value_out = lp_text(lp_next(p), tmp_v);
}

/* ---- for all types */

static uint64_t full_len(const void *full)
{
    return ((const struct hash_full *)full)->fields.count;
}

static size_t full_bytes(const void *full)
{
    const struct hash_full *h = full;
    return slab_good_size(sizeof *h) + table_bytes(&h->fields) + h->node_bytes;
}

static void *full_try_copy(const void *full)
{
    const struct hash_full *h = full;
    struct hash_full *copy = full_try_new(h->fields.count);
    if (copy == NULL) return NULL;
    struct window w;
    window_start(&w, &h->fields);
    for (const void *node; (node = window_next(&w)) != NULL;) {
        struct node_view v;
        node_view(node, &v);
        if (full_try_add(copy, hash_bytes(v.field), v.field, v.value)) continue;
        full_free_all(copy);
        return NULL;
    }
    return copy;
}

static void sum_node(void *ctx, void *item)
{
    struct node_view v;
    node_view(item, &v);
    *(uint64_t *)ctx += node_bytes(&v);
}

static bool full_check(const void *full)
{
    const struct hash_full *h = full;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < h->fields.buckets; i++)
        table_bucket_each(&h->fields, i, sum_node, &bytes);
    return bytes == h->node_bytes && table_check(&h->fields, node_field, node_hash);
}

const struct full_ops hash_full_ops = {
    .len = full_len,
    .bytes = full_bytes,
    .cost = full_len,
    .free_slice = full_free_slice,
    .try_copy = full_try_copy,
    .check = full_check,
};
