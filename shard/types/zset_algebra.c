/* Rules of Redis for scores that are no numbers: 0 times infinity is 0 in the first place where a member is
 * met, and elsewhere only when it is added; infinities of both signs add up to 0. */
#include "shard/types/zset_algebra.h"

#include <math.h>
#include <stdlib.h>

#include "shard/types/packed_priv.h"
#include "shard/types/set_algebra.h"
#include "shard/types/set_batch_priv.h"
#include "shard/types/value.h"
#include "shard/types/zset_priv.h"

/* ---- scores */

static double first_score(double score, double weight)
{
    double product = score * weight;
    return isnan(product) ? 0 : product;
}

static double aggregate(double target, double score, enum zset_aggregate how)
{
    switch (how) {
    case ZSET_SUM:
        target += score;
        return isnan(target) ? 0 : target;
    case ZSET_MIN:
        return score < target ? score : target;
    case ZSET_MAX:
        return score > target ? score : target;
    }
    __builtin_unreachable();
}

/* ---- sources */

static uint64_t source_len(const struct zset_source *s)
{
    return s->record == NULL ? 0 : value_len(s->record);
}

static int by_len(const void *a, const void *b)
{
    const struct zset_source *x = a, *y = b;
    uint64_t x_len = source_len(x), y_len = source_len(y);
    if (x_len != y_len) return x_len < y_len ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static void arrange(struct zset_source *sources, uint32_t count)
{
    assert(count > 0);
    for (uint32_t i = 0; i < count; i++)
        sources[i].place = i;
    qsort(sources, count, sizeof *sources, by_len);
}

/* ---- the result */

static bool lies_in(const struct set_member *m, struct bytes text)
{
    return text.data == (const uint8_t *)m->tmp;
}

static bool append(struct gather *out, struct set_member *m, double score)
{
    struct bytes text = set_member_text(m);
    struct gather_entry *e = gather_append(out, text, lies_in(m, text));
    if (unlikely(e == NULL)) return false;
    e->score = score;
    return true;
}

static bool finish(struct gather *out, bool ok)
{
    if (ok) ok = gather_sort(out);
    if (!ok) gather_free(out);
    return ok;
}

/* ---- union */

static bool put(struct gather *out, struct set_member *m, double score, enum zset_aggregate how)
{
    bool added;
    struct bytes text = set_member_text(m);
    struct gather_entry *e = gather_put(out, set_member_hash(m), text, lies_in(m, text), &added);
    if (unlikely(e == NULL)) return false;
    e->score = added ? score : aggregate(e->score, score, how);
    return true;
}

static bool unite(struct gather *out, const struct zset_source *s, enum zset_aggregate how)
{
    struct batch_source at;
    struct batch b;
    batch_start(s->record, &at);
    for (batch_fill(&b, &at); b.count > 0; batch_fill(&b, &at)) {
        if (out->index != NULL)
            for (uint32_t i = 0; i < b.count; i++)
                gather_prefetch(out, set_member_hash(&b.members[i]));
        for (uint32_t i = 0; i < b.count; i++) {
            double score = first_score(b.scores[i], s->weight);
            bool ok = out->index != NULL ? put(out, &b.members[i], score, how)
                                         : append(out, &b.members[i], score);
            if (!ok) return false;
        }
    }
    return true;
}

bool zset_union(struct zset_source *sources, uint32_t count, enum zset_aggregate how,
                struct gather *out)
{
    arrange(sources, count);
    bool ok = true, alone = count == 1 || source_len(&sources[count - 2]) == 0;
    if (!gather_init(out, source_len(&sources[count - 1]), !alone)) return false;
    for (uint32_t i = 0; i < count && ok; i++)
        if (sources[i].record != NULL) ok = unite(out, &sources[i], how);
    return finish(out, ok);
}

/* ---- intersection */

/* Keeps those that another source has, too; `scores` is what has come together. */
static void intersect(struct batch *b, double *scores, const struct batch_indexes *x,
                      const struct zset_source *sources, uint32_t source, enum zset_aggregate how)
{
    const struct zset_source *s = &sources[source];
    uint32_t kept = 0;
    bool same = s->record == sources[0].record;
    if (!same) batch_prefetch(b, s->record);
    for (uint32_t i = 0; i < b->count; i++) {
        uint8_t at = b->left[i];
        double score = b->scores[at];
        if (!same && !batch_find(x, source, s->record, &b->members[at], &score)) continue;
        scores[at] = aggregate(scores[at], score * s->weight, how);
        b->left[kept++] = at;
    }
    b->count = kept;
}

static bool intersect_all(struct gather *out, const struct zset_source *sources, uint32_t count,
                          enum zset_aggregate how)
{
    const struct record *first = sources[0].record;
    struct batch_source at;
    struct batch b;
    double scores[BATCH];
    struct batch_indexes indexes;
    for (uint32_t i = 1; i < count && i < BATCH_INDEXES; i++)
        batch_index(&indexes, i, sources[i].record, value_len(first));
    batch_start(first, &at);
    for (batch_fill(&b, &at); b.count > 0; batch_fill(&b, &at)) {
        for (uint32_t i = 0; i < b.count; i++)
            scores[i] = first_score(b.scores[i], sources[0].weight);
        for (uint32_t i = 1; i < count && b.count > 0; i++)
            intersect(&b, scores, &indexes, sources, i, how);
        for (uint32_t i = 0; i < b.count; i++)
            if (!append(out, batch_member(&b, i), scores[b.left[i]])) return false;
    }
    return true;
}

bool zset_inter(struct zset_source *sources, uint32_t count, enum zset_aggregate how,
                struct gather *out)
{
    arrange(sources, count);
    if (!gather_init(out, 0, false)) return false;
    bool none = source_len(&sources[0]) == 0;
    return finish(out, none || intersect_all(out, sources, count, how));
}

/* ---- difference */

struct differing {
    struct gather *out;
    bool failed;
};

static bool keep(void *ctx, struct set_member *m, double score)
{
    struct differing *d = ctx;
    d->failed = !append(d->out, m, score);
    return !d->failed;
}

bool zset_diff(const struct record **sources, uint32_t count, struct gather *out)
{
    struct differing d = {.out = out};
    if (!gather_init(out, 0, false)) return false;
    bool ok = set_diff(sources, count, &(struct set_sink){.take = keep, .ctx = &d});
    return finish(out, ok && !d.failed);
}

/* ---- built */

static void pair_items(const struct gather_entry *e, struct lp_item items[2])
{
    lp_item_text(gather_member(e), &items[0]);
    lp_item_double(e->score + 0.0, &items[1]); /* as zset.c: a packed set keeps -0 as 0 */
}

/* Bytes of a listpack of all; SIZE_MAX: it may not be one. */
static size_t packed_size(const struct gather *g)
{
    size_t bytes = LP_HEAD_BYTES;
    struct lp_item items[2];
    if (g->count > type_limits.zset_listpack_entries) return SIZE_MAX;
    for (uint32_t i = 0; i < g->count; i++) {
        if (g->entries[i].len > type_limits.zset_listpack_value) return SIZE_MAX;
        pair_items(&g->entries[i], items);
        bytes += items[0].size + items[1].size;
    }
    return bytes <= PACKED_BYTES_MAX ? bytes : SIZE_MAX;
}

static struct record *build_packed(struct record *r, const struct gather *g, size_t bytes)
{
    struct lp_item items[2];
    if (!record_try_resize_blob(&r, (uint32_t)bytes)) {
        record_free(r);
        return NULL;
    }
    uint8_t *p = packed_bytes(r);
    lp_set_count(p, g->count * 2);
    p += LP_HEAD_BYTES;
    for (uint32_t i = 0; i < g->count; i++) {
        pair_items(&g->entries[i], items);
        p = lp_write(lp_write(p, &items[0]), &items[1]);
    }
    return r;
}

/* In order, so that leaves are full. */
static struct record *build_full(struct record *r, const struct gather *g)
{
    struct zset_full *z = zset_full_try_new(g->count);
    if (z == NULL) goto out_record;
    for (uint32_t i = 0; i < g->count; i++)
        if (!zset_full_try_add(z, gather_member(&g->entries[i]), g->entries[i].score))
            goto out_full;
    if (!record_try_set_full(&r, ENC_SKIPLIST, z)) goto out_full;
    return r;
out_full:
    zset_full_free(z);
out_record:
    record_free(r);
    return NULL;
}

struct record *zset_try_build(struct bytes key, const struct gather *members)
{
    struct record *r = zset_try_new(key, -1);
    if (r == NULL) return NULL;
    size_t bytes = packed_size(members);
    return bytes == SIZE_MAX ? build_full(r, members) : build_packed(r, members, bytes);
}
