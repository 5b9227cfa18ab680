/* One slab node per member, held by the table and pointed to by the tree:
 *
 *   form u8 | member length u8 (long: 0) | score, 4 or 8 bytes | long: length u32 | member
 *
 * Scores that are 32-bit integers or exact floats take 4 bytes, so a member of 16 bytes fits a block
 * of 24. The tree keeps its own copy of the score, so that its searches do not come here. */
#include "shard/types/types_priv.h"
#include "shard/types/zset_priv.h"

#include "shard/base/hash.h"

enum { SCORE_I32, SCORE_F32, SCORE_F64, SCORE_MASK = 3, MEMBER_LONG = 4 };

/* ---- nodes */

static uint8_t score_form(double score)
{
    if (score >= INT32_MIN && score <= INT32_MAX && score == (double)(int32_t)score &&
        !(score == 0 && signbit(score))) {
        return SCORE_I32;
    }
    return (double)(float)score == score ? SCORE_F32 : SCORE_F64;
}

static uint8_t node_form(size_t member_len, double score)
{
    return (uint8_t)(score_form(score) | (member_len > UINT8_MAX ? MEMBER_LONG : 0));
}

static size_t member_offset(uint8_t form)
{
    return 2u + ((form & SCORE_MASK) == SCORE_F64 ? 8u : 4u) + (form & MEMBER_LONG ? 4u : 0u);
}

static inline struct bytes node_member(const void *node)
{
    const uint8_t *p = node, *member = p + member_offset(p[0]);
    if (likely(!(p[0] & MEMBER_LONG))) return bytes_view(member, p[1]);
    uint32_t len;
    memcpy(&len, member - 4, 4);
    return bytes_view(member, len);
}

struct bytes zset_node_member(const void *node)
{
    return node_member(node);
}

double zset_node_score(const void *node)
{
    const uint8_t *p = node;
    int32_t i32;
    float f32;
    double f64;
    switch (p[0] & SCORE_MASK) {
    case SCORE_I32:
        memcpy(&i32, p + 2, sizeof i32);
        return i32;
    case SCORE_F32:
        memcpy(&f32, p + 2, sizeof f32);
        return (double)f32;
    default:
        memcpy(&f64, p + 2, sizeof f64);
        return f64;
    }
}

/* The score has the node's form. */
static void node_set_score(void *node, double score)
{
    uint8_t *p = node;
    int32_t i32;
    float f32;
    switch (p[0] & SCORE_MASK) {
    case SCORE_I32:
        i32 = (int32_t)score;
        memcpy(p + 2, &i32, sizeof i32);
        break;
    case SCORE_F32:
        f32 = (float)score;
        memcpy(p + 2, &f32, sizeof f32);
        break;
    default:
        memcpy(p + 2, &score, sizeof score);
        break;
    }
}

static uint64_t node_hash(const void *node)
{
    return hash_bytes(node_member(node));
}

static size_t node_size(uint8_t form, size_t member_len)
{
    return slab_good_size(member_offset(form) + member_len);
}

static void *node_try_new(struct zset_full *z, struct bytes member, double score)
{
    uint8_t form = node_form(member.len, score);
    uint8_t *p = slab_try_alloc(node_size(form, member.len));
    if (p == NULL) return NULL;
    uint8_t *at = p + member_offset(form);
    p[0] = form;
    p[1] = form & MEMBER_LONG ? 0 : (uint8_t)member.len;
    node_set_score(p, score);
    uint32_t len = (uint32_t)member.len;
    if (form & MEMBER_LONG) memcpy(at - 4, &len, 4);
    if (member.len > 0) memcpy(at, member.data, member.len);
    z->node_bytes += node_size(form, member.len);
    return p;
}

static void node_free(struct zset_full *z, void *node)
{
    size_t size = node_size(*(const uint8_t *)node, node_member(node).len);
    z->node_bytes -= size;
    slab_free(node, size);
}

/* ---- the set */

struct zset_full *zset_full_try_new(uint64_t expected)
{
    struct zset_full *z = slab_try_alloc(sizeof *z);
    if (z == NULL) return NULL;
    memset(z, 0, sizeof *z);
    if (expected > 0 &&
        !table_reserve(&z->members, (uint32_t)(expected < UINT32_MAX ? expected : UINT32_MAX))) {
        slab_free(z, sizeof *z);
        return NULL;
    }
    return z;
}

static bool try_add(struct zset_full *z, uint64_t hash, struct bytes member, double score)
{
    void *node = node_try_new(z, member, score);
    if (node == NULL) return false;
    if (!bptree_try_insert(&z->order, score, node, node_member)) goto out_free;
    if (!table_insert(&z->members, hash, node, node_hash, NULL)) goto out_remove;
    return true;
out_remove:
    bptree_remove(&z->order, score, node, node_member);
out_free:
    node_free(z, node);
    return false;
}

bool zset_full_try_add(struct zset_full *z, struct bytes member, double score)
{
    return try_add(z, hash_bytes(member), member, score);
}

/* The member stands at pos as `old` and gets another score. */
static bool change_score(struct zset_full *z, const struct table_pos *pos, void *old,
                         struct bytes member, double score)
{
    double old_score = zset_node_score(old);
    if (node_form(member.len, score) == *(const uint8_t *)old) {
        if (!bptree_try_move(&z->order, old_score, old, score, old, node_member)) return false;
        node_set_score(old, score);
        return true;
    }
    void *node = node_try_new(z, member, score);
    if (node == NULL) return false;
    if (!bptree_try_move(&z->order, old_score, old, score, node, node_member)) {
        node_free(z, node);
        return false;
    }
    table_replace(&z->members, pos, node);
    node_free(z, old);
    return true;
}

enum zset_result zset_full_update(struct zset_full *z, struct bytes member, uint32_t how,
                                  double *score)
{
    uint64_t hash = hash_bytes(member);
    table_prefetch_bucket(&z->members, hash);
    /* Where it goes to, needed whether the member is new or not. */
    if (!(how & ZSET_INCR)) bptree_prefetch(&z->order, *score);
    struct table_pos pos;
    void *old = table_find(&z->members, hash, member, node_member, &pos);
    if (old == NULL) {
        if (how & ZSET_XX) return ZSET_REFUSED;
        return try_add(z, hash, member, *score) ? ZSET_ADDED : ZSET_NOMEM;
    }
    enum zset_result result = zset_judge(how, zset_node_score(old), score);
    if (result != ZSET_MOVED) return result;
    return change_score(z, &pos, old, member, *score) ? ZSET_MOVED : ZSET_NOMEM;
}

bool zset_full_remove(struct zset_full *z, struct bytes member)
{
    struct table_pos pos;
    void *node = table_find(&z->members, hash_bytes(member), member, node_member, &pos);
    if (node == NULL) return false;
    bptree_remove(&z->order, zset_node_score(node), node, node_member);
    table_remove(&z->members, &pos, node_hash);
    node_free(z, node);
    return true;
}

void zset_full_remove_at(struct zset_full *z, uint64_t rank)
{
    void *node = bptree_remove_at(&z->order, rank);
    struct table_pos pos;
    void *found = table_find(&z->members, node_hash(node), node_member(node), node_member, &pos);
    assert(found == node);
    table_remove(&z->members, &pos, node_hash);
    node_free(z, node);
}

bool zset_full_score(const struct zset_full *z, struct bytes member, double *out)
{
    const void *node = table_find(&z->members, hash_bytes(member), member, node_member, NULL);
    if (node == NULL) return false;
    *out = zset_node_score(node);
    return true;
}

bool zset_full_rank(const struct zset_full *z, struct bytes member, uint64_t *rank_out)
{
    const void *node = table_find(&z->members, hash_bytes(member), member, node_member, NULL);
    if (node == NULL) return false;
    *rank_out = bptree_rank(&z->order, zset_node_score(node), node, node_member);
    return true;
}

uint64_t zset_full_keys_before(const struct zset_full *z, struct bytes member, bool inclusive)
{
    return bptree_count_keys(&z->order, member, inclusive, node_member);
}

/* ---- for all types */

static void drain_one(void *ctx, void *item)
{
    node_free(ctx, item);
}

static bool free_slice(void *full, uint32_t max)
{
    struct zset_full *z = full;
    if (!bptree_free_slice(&z->order, max)) return false;
    if (table_drain(&z->members, max, drain_one, z)) return false;
    assert(z->node_bytes == 0);
    slab_free(z, sizeof *z);
    return true;
}

void zset_full_free(struct zset_full *z)
{
    while (!free_slice(z, UINT32_MAX)) {
    }
}

static size_t full_bytes(const void *full)
{
    const struct zset_full *z = full;
    return slab_good_size(sizeof *z) + table_bytes(&z->members) + z->order.bytes + z->node_bytes;
}

/* In order, so that the copy's leaves are full. */
static void *try_copy(const void *full)
{
    const struct zset_full *z = full;
    struct zset_full *copy = zset_full_try_new(z->members.count);
    if (copy == NULL) return NULL;
    struct bptree_cursor c;
    double score;
    void *node;
    bptree_seek(&z->order, 0, 1, &c);
    while (bptree_next(&c, 1, &score, &node)) {
        if (zset_full_try_add(copy, node_member(node), score)) continue;
        zset_full_free(copy);
        return NULL;
    }
    return copy;
}

static bool check_entry(const struct zset_full *z, double score, const void *node)
{
    struct bytes member = node_member(node);
    double own = zset_node_score(node);
    if (memcmp(&own, &score, sizeof own) != 0) return false;
    return table_find(&z->members, hash_bytes(member), member, node_member, NULL) == node;
}

static bool full_check(const void *full)
{
    const struct zset_full *z = full;
    struct bptree_cursor c;
    double score;
    void *node;
    uint64_t bytes = 0;
    bptree_seek(&z->order, 0, 1, &c);
    while (bptree_next(&c, 1, &score, &node)) {
        if (!check_entry(z, score, node)) return false;
        bytes += node_size(*(const uint8_t *)node, node_member(node).len);
    }
    return bytes == z->node_bytes && z->order.count == z->members.count &&
           bptree_check(&z->order, node_member) && table_check(&z->members, node_member, node_hash);
}

static uint64_t full_len(const void *full)
{
    return ((const struct zset_full *)full)->order.count;
}

const struct full_ops zset_full_ops = {
    .len = full_len,
    .bytes = full_bytes,
    .cost = full_len,
    .free_slice = free_slice,
    .try_copy = try_copy,
    .check = full_check,
};
