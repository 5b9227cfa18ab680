/* Packed: a listpack of member, score, member, score, … in order of (score, member). Full: zset_full.c.
 * Converts as Redis 7.4 does: one member too many or too long makes it full, nothing makes it packed. And
 * as there, a packed set keeps -0 as 0. */
#include "shard/types/zset.h"

#include "shard/types/packed_priv.h"
#include "shard/types/value.h"
#include "shard/types/zset_priv.h"

static bool is_full(const struct record *r)
{
    assert(record_type(r) == VALUE_ZSET);
    return record_encoding(r) == ENC_SKIPLIST;
}

/* ---- packed */

static void score_item(double score, struct lp_item *out)
{
    lp_item_double(score + 0.0, out); /* -0 + 0 is 0 */
}

static const uint8_t *pair_next(const uint8_t *pair)
{
    return lp_next(lp_next(pair));
}

static double pair_score(const uint8_t *pair)
{
    return lp_double(lp_next(pair));
}

static const uint8_t *find_packed(const struct record *r, struct bytes member)
{
    struct bytes blob = record_blob(r);
    struct lp_item item;
    lp_item_text(member, &item);
    return lp_find(lp_begin(blob), lp_end(blob), &item, 2);
}

/* The first pair, from `pair` on, that comes after (score, member). */
static const uint8_t *place_for(const uint8_t *pair, const uint8_t *end, double score,
                                struct bytes member)
{
    for (; pair < end; pair = pair_next(pair)) {
        double there = pair_score(pair);
        if (there > score) break;
        char tmp[NUM_I64_TEXT_MAX];
        if (!(there < score) && bytes_compare(lp_text(pair, tmp), member) > 0) break;
    }
    return pair;
}

/* Is (score, member) in order at the pair, if that gets the score? */
static bool stays(struct bytes blob, const uint8_t *pair, double score, struct bytes member)
{
    const uint8_t *begin = lp_begin(blob), *end = lp_end(blob), *next = pair_next(pair);
    char tmp[NUM_I64_TEXT_MAX];
    if (pair > begin) {
        const uint8_t *before = lp_before(lp_before(pair));
        double there = pair_score(before);
        if (there > score) return false;
        if (!(there < score) && bytes_compare(lp_text(before, tmp), member) > 0) return false;
    }
    if (next == end) return true;
    double there = pair_score(next);
    if (there > score) return true;
    return !(there < score) && bytes_compare(lp_text(next, tmp), member) > 0;
}

static bool packed_move(struct record **r, const uint8_t *pair, const struct lp_item items[2],
                        struct bytes member, double score)
{
    struct bytes blob = record_blob(*r);
    if (stays(blob, pair, score, member)) {
        const uint8_t *old = lp_next(pair);
        return packed_try_put(r, old, lp_entry_size(old), &items[1], 1, 0);
    }
    const uint8_t *place = place_for(lp_begin(blob), lp_end(blob), score, member);
    size_t added = items[0].size + items[1].size, old_at = (size_t)(pair - blob.data);
    if (place <= pair) old_at += added;
    /* In before out: only the first can fail. */
    if (!packed_try_put(r, place, 0, items, 2, 2)) return false;
    const uint8_t *old = record_blob(*r).data + old_at;
    packed_cut(r, old, (size_t)(pair_next(old) - old), 2);
    return true;
}

/* The packed set becomes a full one. */
static bool convert(struct record **r, uint64_t expected)
{
    struct bytes blob = record_blob(*r);
    uint64_t count = lp_count(blob) / 2;
    struct zset_full *z = zset_full_try_new(expected > count ? expected : count);
    if (z == NULL) return false;
    for (const uint8_t *p = lp_begin(blob), *end = lp_end(blob); p < end; p = pair_next(p)) {
        char tmp[NUM_I64_TEXT_MAX];
        if (!zset_full_try_add(z, lp_text(p, tmp), pair_score(p))) goto out_free;
    }
    if (!record_try_set_full(r, ENC_SKIPLIST, z)) goto out_free;
    return true;
out_free:
    zset_full_free(z);
    return false;
}

static enum zset_result packed_update(struct record **r, struct bytes member, uint32_t how,
                                      double *score)
{
    struct bytes blob = record_blob(*r);
    struct lp_item items[2];
    lp_item_text(member, &items[0]);
    const uint8_t *begin = lp_begin(blob), *end = lp_end(blob),
                  *pair = lp_find(begin, end, &items[0], 2);
    if (pair != NULL) {
        enum zset_result result = zset_judge(how, pair_score(pair), score);
        if (result != ZSET_MOVED) return result;
        score_item(*score, &items[1]);
        return packed_move(r, pair, items, member, *score) ? ZSET_MOVED : ZSET_NOMEM;
    }
    if (how & ZSET_XX) return ZSET_REFUSED;
    uint64_t count = lp_count(blob) / 2;
    if (count < type_limits.zset_listpack_entries &&
        member.len <= type_limits.zset_listpack_value &&
        blob.len + member.len <= PACKED_BYTES_MAX) {
        score_item(*score, &items[1]);
        bool ok = packed_try_put(r, place_for(begin, end, *score, member), 0, items, 2, 2);
        return ok ? ZSET_ADDED : ZSET_NOMEM;
    }
    if (!convert(r, count + 1)) return ZSET_NOMEM;
    return zset_full_try_add(zset_full(*r), member, *score) ? ZSET_ADDED : ZSET_NOMEM;
}

/* How many pairs come before the bound, by score or (scores all equal) by member. */
static uint64_t packed_scores_before(struct bytes blob, double score, bool inclusive)
{
    uint64_t n = 0;
    for (const uint8_t *p = lp_begin(blob), *end = lp_end(blob); p < end; p = pair_next(p), n++) {
        double there = pair_score(p);
        if (inclusive ? there > score : there >= score) break;
    }
    return n;
}

static uint64_t packed_members_before(struct bytes blob, struct bytes member, bool inclusive)
{
    uint64_t n = 0;
    for (const uint8_t *p = lp_begin(blob), *end = lp_end(blob); p < end; p = pair_next(p), n++) {
        char tmp[NUM_I64_TEXT_MAX];
        int order = bytes_compare(lp_text(p, tmp), member);
        if (order > 0 || (order == 0 && !inclusive)) break;
    }
    return n;
}

/* Where pair `rank` ≤ count begins. */
static const uint8_t *packed_pair(struct bytes blob, uint64_t rank)
{
    uint32_t entries = lp_count(blob);
    return rank * 2 == entries ? lp_end(blob)
                               : lp_seek(lp_begin(blob), lp_end(blob), entries, rank * 2);
}

/* ---- both */

struct record *zset_try_new(struct bytes key, int64_t expire_ms)
{
    return packed_try_new(key, VALUE_ZSET, expire_ms);
}

bool zset_try_expect(struct record **r, uint64_t count, size_t longest_bytes)
{
    if (is_full(*r)) return true;
    if (count <= type_limits.zset_listpack_entries &&
        longest_bytes <= type_limits.zset_listpack_value)
        return true;
    return convert(r, count);
}

uint64_t zset_len(const struct record *r)
{
    return is_full(r) ? zset_full(r)->order.count : lp_count(record_blob(r)) / 2;
}

bool zset_score(const struct record *r, struct bytes member, double *out)
{
    if (is_full(r)) return zset_full_score(zset_full(r), member, out);
    const uint8_t *pair = find_packed(r, member);
    if (pair == NULL) return false;
    *out = pair_score(pair);
    return true;
}

enum zset_result zset_update(struct record **r, struct bytes member, uint32_t how, double *score)
{
    return is_full(*r) ? zset_full_update(zset_full(*r), member, how, score)
                       : packed_update(r, member, how, score);
}

int zset_put(struct record **r, struct bytes member, double score)
{
    enum zset_result result = zset_update(r, member, 0, &score);
    return result == ZSET_MOVED ? 0 : (int)result;
}

bool zset_remove(struct record **r, struct bytes member)
{
    if (is_full(*r)) return zset_full_remove(zset_full(*r), member);
    const uint8_t *pair = find_packed(*r, member);
    if (pair == NULL) return false;
    packed_cut(r, pair, (size_t)(pair_next(pair) - pair), 2);
    return true;
}

bool zset_rank(const struct record *r, struct bytes member, uint64_t *rank_out)
{
    if (is_full(r)) return zset_full_rank(zset_full(r), member, rank_out);
    const uint8_t *pair = find_packed(r, member);
    if (pair == NULL) return false;
    *rank_out = 0;
    for (const uint8_t *p = lp_begin(record_blob(r)); p < pair; p = pair_next(p))
        ++*rank_out;
    return true;
}

static uint64_t scores_before(const struct record *r, double score, bool inclusive)
{
    if (is_full(r)) return bptree_count_scores(&zset_full(r)->order, score, inclusive);
    return packed_scores_before(record_blob(r), score, inclusive);
}

static uint64_t members_before(const struct record *r, struct bytes member, bool inclusive)
{
    if (is_full(r)) return zset_full_keys_before(zset_full(r), member, inclusive);
    return packed_members_before(record_blob(r), member, inclusive);
}

uint64_t zset_count_scores(const struct record *r, const struct zset_range *range,
                           uint64_t *first_rank_out)
{
    uint64_t first = scores_before(r, range->min, range->min_open);
    uint64_t end = scores_before(r, range->max, !range->max_open);
    *first_rank_out = first;
    return end > first ? end - first : 0;
}

uint64_t zset_count_lex(const struct record *r, const struct zset_lex *range,
                        uint64_t *first_rank_out)
{
    *first_rank_out = 0;
    if (range->empty) return 0;
    uint64_t first = range->min_unbounded ? 0 : members_before(r, range->min, range->min_open);
    uint64_t end =
        range->max_unbounded ? zset_len(r) : members_before(r, range->max, !range->max_open);
    *first_rank_out = first;
    return end > first ? end - first : 0;
}

void zset_remove_ranks(struct record **r, uint64_t first, uint64_t count)
{
    assert(first <= zset_len(*r));
    assert(count <= zset_len(*r) - first);
    if (is_full(*r)) {
        for (; count > 0; count--)
            zset_full_remove_at(zset_full(*r), first);
    } else if (count > 0) {
        struct bytes blob = record_blob(*r);
        const uint8_t *from = packed_pair(blob, first), *to = packed_pair(blob, first + count);
        packed_cut(r, from, (size_t)(to - from), (uint32_t)count * 2);
    }
}

/* ---- walks */

void zset_iter_start(const struct record *r, uint64_t rank, int step, struct zset_iter *it_out)
{
    assert(step == 1 || step == -1);
    uint64_t len = zset_len(r);
    assert(rank <= len);
    *it_out = (struct zset_iter){.record = r, .step = (int8_t)step};
    if (rank == len) return;
    it_out->left = step > 0 ? len - rank : rank + 1;
    if (is_full(r)) {
        bptree_seek(&zset_full(r)->order, rank, step, &it_out->cursor);
    } else {
        struct bytes blob = record_blob(r);
        it_out->at = (uint64_t)(packed_pair(blob, step > 0 ? rank : rank + 1) - blob.data);
    }
}

static void packed_iter_next(struct zset_iter *it, char tmp[NUM_I64_TEXT_MAX],
                             struct bytes *member_out, double *score_out)
{
    const uint8_t *base = record_blob(it->record).data, *p = base + it->at;
    const uint8_t *pair = it->step > 0 ? p : lp_before(lp_before(p));
    *member_out = lp_text(pair, tmp);
    *score_out = pair_score(pair);
    it->at = (uint64_t)((it->step > 0 ? pair_next(pair) : pair) - base);
}

bool zset_iter_next(struct zset_iter *it, char tmp[NUM_I64_TEXT_MAX], struct bytes *member_out,
                    double *score_out)
{
    if (it->left == 0) return false;
    it->left--;
    if (!is_full(it->record)) {
        packed_iter_next(it, tmp, member_out, score_out);
        return true;
    }
    void *node;
    bool any = bptree_next(&it->cursor, it->step, score_out, &node);
    assert(any);
    *member_out = zset_node_member(node);
    return true;
}

struct scan {
    void (*each)(void *ctx, struct bytes member, double score);
    void *ctx;
};

static void scan_node(void *ctx, void *item)
{
    struct scan *s = ctx;
    s->each(s->ctx, zset_node_member(item), zset_node_score(item));
}

uint64_t zset_scan(const struct record *r, uint64_t cursor,
                   void (*each)(void *ctx, struct bytes member, double score), void *ctx)
{
    if (is_full(r)) {
        struct scan s = {.each = each, .ctx = ctx};
        return table_scan(&zset_full(r)->members, cursor, scan_node, &s);
    }
    struct zset_iter it;
    struct bytes member;
    double score;
    char tmp[NUM_I64_TEXT_MAX];
    zset_iter_start(r, 0, 1, &it);
    while (zset_iter_next(&it, tmp, &member, &score))
        each(ctx, member, score);
    return 0;
}

struct bytes zset_random(const struct record *r, struct rng *rng, char tmp[NUM_I64_TEXT_MAX],
                         double *score_out)
{
    assert(zset_len(r) > 0);
    if (is_full(r)) {
        const void *node = table_random(&zset_full(r)->members, rng);
        *score_out = zset_node_score(node);
        return zset_node_member(node);
    }
    const uint8_t *pair = packed_pair(record_blob(r), rng_below(rng, zset_len(r)));
    *score_out = pair_score(pair);
    return lp_text(pair, tmp);
}
