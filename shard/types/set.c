/* Full: one slab node per member: length u8 (255: a u32 follows) | member. When and to what a set
 * converts is Redis 7.4's: integers stay an intset up to its limit; the first other member makes a
 * listpack of it if both limits of listpacks hold, else a table. Nothing converts back. */
#include "shard/types/set.h"

#include "shard/base/hash.h"
#include "shard/ds/intset.h"
#include "shard/types/packed_priv.h"
#include "shard/types/types_priv.h"
#include "shard/types/value.h"

#define LEN_LONG 255u

struct set_full {
    struct table members; /* of nodes */
    uint64_t node_bytes;  /* as allocated */
};
static_assert(offsetof(struct set_full, members) == 0, "value.c looks it up");

/* ---- nodes */

static struct bytes node_member(const void *node)
{
    const uint8_t *p = node;
    if (likely(p[0] != LEN_LONG)) return bytes_view(p + 1, p[0]);
    uint32_t len;
    memcpy(&len, p + 1, 4);
    return bytes_view(p + 5, len);
}

static size_t node_size(size_t len)
{
    return slab_good_size(len + (len < LEN_LONG ? 1 : 5));
}

static uint64_t node_hash(const void *node)
{
    return hash_bytes(node_member(node));
}

static void *node_try_new(struct bytes member)
{
    uint8_t *p = slab_try_alloc(node_size(member.len));
    if (p == NULL) return NULL;
    uint8_t *at = p + 1;
    if (member.len < LEN_LONG) {
        p[0] = (uint8_t)member.len;
    } else {
        uint32_t len = (uint32_t)member.len;
        p[0] = LEN_LONG;
        memcpy(at, &len, 4);
        at += 4;
    }
    if (member.len > 0) memcpy(at, member.data, member.len);
    return p;
}

static size_t node_free(void *node)
{
    size_t size = node_size(node_member(node).len);
    slab_free(node, size);
    return size;
}

/* ---- full */

static struct set_full *set_full(const struct record *r)
{
    return record_out(r)->ptr;
}

/* An empty one sized for so many members. NULL: out of memory. */
static struct set_full *full_try_new(uint64_t expected)
{
    struct set_full *s = slab_try_alloc(sizeof *s);
    if (s == NULL) return NULL;
    memset(s, 0, sizeof *s);
    if (expected > 0 &&
        !table_reserve(&s->members, (uint32_t)(expected < UINT32_MAX ? expected : UINT32_MAX))) {
        slab_free(s, sizeof *s);
        return NULL;
    }
    return s;
}

static void drain_one(void *ctx, void *item)
{
    struct set_full *s = ctx;
    s->node_bytes -= node_free(item);
}

static bool full_free_slice(void *full, uint32_t max)
{
    struct set_full *s = full;
    if (table_drain(&s->members, max, drain_one, s)) return false;
    assert(s->node_bytes == 0);
    slab_free(s, sizeof *s);
    return true;
}

static void full_free_all(struct set_full *s)
{
    while (!full_free_slice(s, UINT32_MAX)) {
    }
}

static bool full_try_add_absent(struct set_full *s, uint64_t hash, struct bytes member)
{
    void *node = node_try_new(member);
    if (node == NULL) return false;
    if (!table_insert(&s->members, hash, node, node_hash, NULL)) {
        node_free(node);
        return false;
    }
    s->node_bytes += node_size(member.len);
    return true;
}

static int full_add_hashed(struct set_full *s, uint64_t hash, struct bytes member)
{
    if (table_find(&s->members, hash, member, node_member, NULL) != NULL) return 0;
    return full_try_add_absent(s, hash, member) ? 1 : -1;
}

static int full_add(struct set_full *s, struct bytes member)
{
    return full_add_hashed(s, hash_bytes(member), member);
}

/* ---- conversions */

static bool to_full(struct record **r, uint64_t expected)
{
    struct set_full *s = full_try_new(expected > set_len(*r) ? expected : set_len(*r));
    if (s == NULL) return false;
    struct set_iter it;
    struct bytes member;
    char tmp[NUM_I64_TEXT_MAX];
    set_iter_start(*r, &it);
    while (set_iter_next(&it, tmp, &member)) {
        if (!full_try_add_absent(s, hash_bytes(member), member)) goto out_free;
    }
    if (!record_try_set_full(r, ENC_HASHTABLE, s)) goto out_free;
    return true;
out_free:
    full_free_all(s);
    return false;
}

static bool intset_to_listpack(struct record **r)
{
    struct bytes set = record_blob(*r);
    uint32_t count = intset_count(set);
    struct lp_item item;
    size_t bytes = LP_HEAD_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        lp_item_int(intset_get(set, i), &item);
        bytes += item.size;
    }
    struct record *fresh = packed_try_remake(*r, ENC_LISTPACK, (uint32_t)bytes);
    if (fresh == NULL) return false;
    uint8_t *p = packed_bytes(fresh);
    lp_set_count(p, count);
    p += LP_HEAD_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        lp_item_int(intset_get(set, i), &item);
        p = lp_write(p, &item);
    }
    record_free(*r);
    *r = fresh;
    return true;
}

/* Would all members be short enough for a listpack? The outermost integers are the longest. */
static bool intset_is_short(struct bytes set)
{
    uint32_t count = intset_count(set);
    if (count == 0) return true;
    char text[NUM_I64_TEXT_MAX];
    return num_format_i64(text, intset_get(set, 0)) <= type_limits.set_listpack_value &&
           num_format_i64(text, intset_get(set, count - 1)) <= type_limits.set_listpack_value;
}

/* ---- all encodings */

static enum value_encoding encoding(const struct record *r)
{
    assert(record_type(r) == VALUE_SET);
    return record_encoding(r);
}

static struct record *try_new_full(struct bytes key, uint64_t expected, int64_t expire_ms)
{
    struct record *r = record_try_new(key, VALUE_SET, ENC_HASHTABLE, 0, true, expire_ms);
    if (r == NULL) return NULL;
    record_out(r)->ptr = full_try_new(expected);
    if (record_out(r)->ptr != NULL) return r;
    record_free_shell(r);
    return NULL;
}

struct record *set_try_new(struct bytes key, struct bytes first, uint64_t expected,
                           int64_t expire_ms)
{
    int64_t v;
    if (expected <= type_limits.set_intset_entries && first.len < NUM_I64_TEXT_MAX &&
        num_parse_i64(first, &v)) {
        struct record *r = packed_try_new(key, VALUE_SET, expire_ms);
        if (r == NULL) return NULL;
        record_set_kind(r, VALUE_SET, ENC_INTSET);
        intset_init(packed_bytes(r)); /* as long as the head of a listpack */
        return r;
    }
    if (expected <= type_limits.set_listpack_entries)
        return packed_try_new(key, VALUE_SET, expire_ms);
    return try_new_full(key, expected, expire_ms);
}

bool set_try_expect(struct record **r, uint64_t count)
{
    if (encoding(*r) == ENC_HASHTABLE) return true;
    uint32_t most = encoding(*r) == ENC_INTSET ? type_limits.set_intset_entries
                                               : type_limits.set_listpack_entries;
    return count <= most || to_full(r, count);
}

uint64_t set_len(const struct record *r)
{
    switch ((unsigned)encoding(r)) {
    case ENC_INTSET:
        return intset_count(record_blob(r));
    case ENC_LISTPACK:
        return lp_count(record_blob(r));
    default:
        return set_full(r)->members.count;
    }
}

static bool intset_has(struct bytes set, struct bytes member, uint32_t *index_out)
{
    int64_t v;
    return member.len < NUM_I64_TEXT_MAX && num_parse_i64(member, &v) &&
           intset_find(set, v, index_out);
}

static const uint8_t *find_packed(const struct record *r, struct bytes member)
{
    struct bytes blob = record_blob(r);
    struct lp_item item;
    lp_item_text(member, &item);
    return lp_find(lp_begin(blob), lp_end(blob), &item, 1);
}

bool set_has(const struct record *r, struct bytes member)
{
    uint32_t index;
    switch ((unsigned)encoding(r)) {
    case ENC_INTSET:
        return intset_has(record_blob(r), member, &index);
    case ENC_LISTPACK:
        return find_packed(r, member) != NULL;
    default:
        return table_find(&set_full(r)->members, hash_bytes(member), member, node_member, NULL) !=
               NULL;
    }
}

static int intset_add_number(struct record **r, int64_t v)
{
    struct bytes set = record_blob(*r);
    uint32_t index, count = intset_count(set), width = intset_width(set),
                    wanted = intset_width_of(v);
    if (intset_find(set, v, &index)) return 0;
    size_t used = intset_bytes(width, count);
    size_t grown = intset_bytes(wanted > width ? wanted : width, count + 1);
    if (packed_try_splice(r, used, used, 0, grown - used) == NULL) return -1;
    uint8_t *blob = packed_bytes(*r);
    if (wanted > width) intset_widen(blob, wanted);
    intset_insert(blob, index, v);
    return 1;
}

static int intset_add(struct record **r, struct bytes member)
{
    uint32_t count = intset_count(record_blob(*r)), index;
    int64_t v;
    if (member.len < NUM_I64_TEXT_MAX && num_parse_i64(member, &v)) {
        if (count < type_limits.set_intset_entries && count < INTSET_COUNT_MAX)
            return intset_add_number(r, v);
        if (intset_find(record_blob(*r), v, &index)) return 0;
        return to_full(r, (uint64_t)count + 1) ? full_add(set_full(*r), member) : -1;
    }
    if (count < type_limits.set_listpack_entries && member.len <= type_limits.set_listpack_value &&
        intset_is_short(record_blob(*r))) {
        if (!intset_to_listpack(r)) return -1;
        return set_add(r, member);
    }
    return to_full(r, (uint64_t)count + 1) ? full_add(set_full(*r), member) : -1;
}

/* It is not there. */
static int listpack_add_absent(struct record **r, struct bytes member, const struct lp_item *item)
{
    struct bytes blob = record_blob(*r);
    if (lp_count(blob) < type_limits.set_listpack_entries &&
        member.len <= type_limits.set_listpack_value && blob.len + member.len <= PACKED_BYTES_MAX) {
        return packed_try_put(r, lp_end(blob), 0, item, 1, 1) ? 1 : -1;
    }
    return to_full(r, (uint64_t)lp_count(blob) + 1) ? full_add(set_full(*r), member) : -1;
}

static int listpack_add(struct record **r, struct bytes member)
{
    struct bytes blob = record_blob(*r);
    struct lp_item item;
    lp_item_text(member, &item);
    if (lp_find(lp_begin(blob), lp_end(blob), &item, 1) != NULL) return 0;
    return listpack_add_absent(r, member, &item);
}

int set_add(struct record **r, struct bytes member)
{
    switch ((unsigned)encoding(*r)) {
    case ENC_INTSET:
        return intset_add(r, member);
    case ENC_LISTPACK:
        return listpack_add(r, member);
    default:
        return full_add(set_full(*r), member);
    }
}

static bool intset_remove_member(struct record **r, struct bytes member)
{
    struct bytes set = record_blob(*r);
    uint32_t index;
    if (!intset_has(set, member, &index)) return false;
    uint32_t width = intset_width(set), count = intset_count(set);
    intset_remove(packed_bytes(*r), index);
    size_t used = intset_bytes(width, count), left = intset_bytes(width, count - 1);
    uint8_t *p = packed_try_splice(r, used, left, used - left, 0);
    assert(p != NULL);
    return true;
}

static bool full_remove(struct set_full *s, struct bytes member)
{
    struct table_pos pos;
    void *node = table_find(&s->members, hash_bytes(member), member, node_member, &pos);
    if (node == NULL) return false;
    table_remove(&s->members, &pos, node_hash);
    s->node_bytes -= node_free(node);
    return true;
}

bool set_remove(struct record **r, struct bytes member)
{
    if (encoding(*r) == ENC_HASHTABLE) return full_remove(set_full(*r), member);
    if (encoding(*r) == ENC_INTSET) return intset_remove_member(r, member);
    const uint8_t *p = find_packed(*r, member);
    if (p == NULL) return false;
    packed_cut(r, p, lp_entry_size(p), 1);
    return true;
}

/* ---- walks */

void set_iter_start(const struct record *r, struct set_iter *it_out)
{
    it_out->record = r;
    it_out->at = encoding(r) == ENC_LISTPACK ? LP_HEAD_BYTES : 0;
    if (encoding(r) == ENC_HASHTABLE) window_start(&it_out->window, &set_full(r)->members);
}

bool set_iter_next(struct set_iter *it, char tmp[NUM_I64_TEXT_MAX], struct bytes *member_out)
{
    if (encoding(it->record) == ENC_HASHTABLE) {
        const void *node = window_next(&it->window);
        if (node == NULL) return false;
        *member_out = node_member(node);
        return true;
    }
    struct bytes blob = record_blob(it->record);
    if (encoding(it->record) == ENC_INTSET) {
        if (it->at == intset_count(blob)) return false;
        *member_out = bytes_view(tmp, num_format_i64(tmp, intset_get(blob, (uint32_t)it->at++)));
        return true;
    }
    const uint8_t *p = blob.data + it->at;
    if (p == lp_end(blob)) return false;
    *member_out = lp_text(p, tmp);
    it->at += lp_entry_size(p);
    return true;
}

struct scan {
    void (*each)(void *ctx, struct bytes member);
    void *ctx;
};

static void scan_node(void *ctx, void *item)
{
    struct scan *s = ctx;
    s->each(s->ctx, node_member(item));
}

uint64_t set_scan(const struct record *r, uint64_t cursor,
                  void (*each)(void *ctx, struct bytes member), void *ctx)
{
    if (encoding(r) == ENC_HASHTABLE) {
        struct scan s = {.each = each, .ctx = ctx};
        return table_scan(&set_full(r)->members, cursor, scan_node, &s);
    }
    struct set_iter it;
    struct bytes member;
    char tmp[NUM_I64_TEXT_MAX];
    set_iter_start(r, &it);
    while (set_iter_next(&it, tmp, &member))
        each(ctx, member);
    return 0;
}

struct bytes set_random(const struct record *r, struct rng *rng, char tmp[NUM_I64_TEXT_MAX])
{
    assert(set_len(r) > 0);
    if (encoding(r) == ENC_HASHTABLE) return node_member(table_random(&set_full(r)->members, rng));
    struct bytes blob = record_blob(r);
    uint32_t index = (uint32_t)rng_below(rng, set_len(r));
    if (encoding(r) == ENC_INTSET)
        return bytes_view(tmp, num_format_i64(tmp, intset_get(blob, index)));
    return lp_text(lp_seek(lp_begin(blob), lp_end(blob), lp_count(blob), index), tmp);
}

/* ---- members on their way */

void set_member_of(struct set_member *m_out, struct bytes text)
{
    m_out->text = text;
    m_out->knows = SET_KNOWS_TEXT;
}

struct bytes set_member_text(struct set_member *m)
{
    if (!(m->knows & SET_KNOWS_TEXT)) {
        m->text = bytes_view(m->tmp, num_format_i64(m->tmp, m->number));
        m->knows |= SET_KNOWS_TEXT;
    }
    return m->text;
}

uint64_t set_member_hash(struct set_member *m)
{
    if (!(m->knows & SET_KNOWS_HASH)) {
        m->hash = hash_bytes(set_member_text(m));
        m->knows |= SET_KNOWS_HASH;
    }
    return m->hash;
}

bool set_member_is_number(struct set_member *m)
{
    if (!(m->knows & SET_KNOWS_NUMBER)) {
        m->knows |= SET_KNOWS_NUMBER;
        if (m->text.len < NUM_I64_TEXT_MAX && num_parse_i64(m->text, &m->number))
            m->knows |= SET_IS_NUMBER;
    }
    return m->knows & SET_IS_NUMBER;
}

bool set_iter_next_member(struct set_iter *it, struct set_member *m_out)
{
    if (encoding(it->record) != ENC_INTSET) {
        m_out->knows = SET_KNOWS_TEXT;
        return set_iter_next(it, m_out->tmp, &m_out->text);
    }
    struct bytes blob = record_blob(it->record);
    if (it->at == intset_count(blob)) return false;
    m_out->number = intset_get(blob, (uint32_t)it->at++);
    m_out->knows = SET_KNOWS_NUMBER | SET_IS_NUMBER;
    return true;
}

bool set_has_member(const struct record *r, struct set_member *m)
{
    uint32_t index;
    switch ((unsigned)encoding(r)) {
    case ENC_INTSET:
        return set_member_is_number(m) && intset_find(record_blob(r), m->number, &index);
    case ENC_LISTPACK:
        return find_packed(r, set_member_text(m)) != NULL;
    default:
        return table_find(&set_full(r)->members, set_member_hash(m), set_member_text(m),
                          node_member, NULL) != NULL;
    }
}

/* Where that is all there is to it. False: set_add() has to look. */
static bool takes_number(const struct record *r, struct set_member *m)
{
    return encoding(r) == ENC_INTSET && set_member_is_number(m) &&
           intset_count(record_blob(r)) < type_limits.set_intset_entries &&
           intset_count(record_blob(r)) < INTSET_COUNT_MAX;
}

int set_add_member(struct record **r, struct set_member *m)
{
    if (encoding(*r) == ENC_HASHTABLE)
        return full_add_hashed(set_full(*r), set_member_hash(m), set_member_text(m));
    if (takes_number(*r, m)) return intset_add_number(r, m->number);
    return set_add(r, set_member_text(m));
}

bool set_add_absent(struct record **r, struct set_member *m)
{
    if (encoding(*r) == ENC_HASHTABLE)
        return full_try_add_absent(set_full(*r), set_member_hash(m), set_member_text(m));
    if (encoding(*r) == ENC_INTSET) return set_add_member(r, m) > 0;
    struct lp_item item;
    lp_item_text(set_member_text(m), &item);
    return listpack_add_absent(r, m->text, &item) > 0;
}

struct record *set_try_new_result(struct bytes key, uint64_t at_least)
{
    if (at_least > type_limits.set_intset_entries && at_least > type_limits.set_listpack_entries)
        return try_new_full(key, at_least, -1);
    return set_try_new(key, BYTES_LIT("0"), 0, -1);
}

/* The encoding that r's members would have in a set that was made for them. */
static enum value_encoding fresh_encoding(const struct record *r)
{
    uint64_t len = set_len(r);
    bool numbers = true, is_short = true;
    if (len > type_limits.set_intset_entries && len > type_limits.set_listpack_entries)
        return ENC_HASHTABLE;
    struct set_iter it;
    struct set_member m;
    set_iter_start(r, &it);
    while (set_iter_next_member(&it, &m)) {
        numbers = numbers && set_member_is_number(&m);
        is_short = is_short && set_member_text(&m).len <= type_limits.set_listpack_value;
    }
    if (numbers) return len <= type_limits.set_intset_entries ? ENC_INTSET : ENC_HASHTABLE;
    return is_short && len <= type_limits.set_listpack_entries ? ENC_LISTPACK : ENC_HASHTABLE;
}

struct record *set_try_new_like(struct bytes key, const struct record *r)
{
    switch ((unsigned)fresh_encoding(r)) {
    case ENC_INTSET:
        return set_try_new(key, BYTES_LIT("0"), 0, -1);
    case ENC_LISTPACK:
        return packed_try_new(key, VALUE_SET, -1);
    default:
        return try_new_full(key, 0, -1);
    }
}

/* ---- for all types */

static uint64_t full_len(const void *full)
{
    return ((const struct set_full *)full)->members.count;
}

static size_t full_bytes(const void *full)
{
    const struct set_full *s = full;
    return slab_good_size(sizeof *s) + table_bytes(&s->members) + s->node_bytes;
}

static void *full_try_copy(const void *full)
{
    const struct set_full *s = full;
    struct set_full *copy = full_try_new(s->members.count);
    if (copy == NULL) return NULL;
    struct window w;
    window_start(&w, &s->members);
    for (const void *node; (node = window_next(&w)) != NULL;) {
        struct bytes member = node_member(node);
        if (full_try_add_absent(copy, hash_bytes(member), member)) continue;
        full_free_all(copy);
        return NULL;
    }
    return copy;
}

static void sum_node(void *ctx, void *item)
{
    *(uint64_t *)ctx += node_size(node_member(item).len);
}

static bool full_check(const void *full)
{
    const struct set_full *s = full;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < s->members.buckets; i++)
        table_bucket_each(&s->members, i, sum_node, &bytes);
    return bytes == s->node_bytes && table_check(&s->members, node_member, node_hash);
}

const struct full_ops set_full_ops = {
    .len = full_len,
    .bytes = full_bytes,
    .cost = full_len,
    .free_slice = full_free_slice,
    .try_copy = full_try_copy,
    .check = full_check,
};
