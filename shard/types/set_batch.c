#include "shard/types/set_batch_priv.h"

#include "shard/types/value.h"
#include "shard/types/zset_priv.h"

/* Below this a table stays in the cache anyway. */
#define PREFETCH_LEN_MIN 2048u

void batch_start(const struct record *r, struct batch_source *s_out)
{
    assert(batch_takes(r));
    s_out->record = r;
    if (record_type(r) == VALUE_SET)
        set_iter_start(r, &s_out->at.set);
    else if (record_encoding(r) == ENC_LISTPACK)
        zset_iter_start(r, 0, 1, &s_out->at.packed);
    else
        bptree_seek(&zset_full(r)->order, 0, 1, &s_out->at.full);
}

static uint32_t fill_of_set(struct batch *b, struct batch_source *s)
{
    uint32_t n = 0;
    for (; n < BATCH && set_iter_next_member(&s->at.set, &b->members[n]); n++)
        b->scores[n] = 1;
    return n;
}

static uint32_t fill_packed(struct batch *b, struct batch_source *s)
{
    uint32_t n = 0;
    for (struct set_member *m; n < BATCH; n++) {
        m = &b->members[n];
        m->knows = SET_KNOWS_TEXT;
        if (!zset_iter_next(&s->at.packed, m->tmp, &m->text, &b->scores[n])) break;
    }
    return n;
}

/* The order has scores and pointers to nodes, which lie anywhere. */
static uint32_t fill_full(struct batch *b, struct batch_source *s)
{
    void *nodes[BATCH];
    uint32_t n = 0;
    for (; n < BATCH && bptree_next(&s->at.full, 1, &b->scores[n], &nodes[n]); n++)
        __builtin_prefetch(nodes[n]);
    for (uint32_t i = 0; i < n; i++)
        set_member_of(&b->members[i], zset_node_member(nodes[i]));
    return n;
}

void batch_fill(struct batch *b, struct batch_source *s)
{
    if (record_type(s->record) == VALUE_SET)
        b->count = fill_of_set(b, s);
    else if (record_encoding(s->record) == ENC_LISTPACK)
        b->count = fill_packed(b, s);
    else
        b->count = fill_full(b, s);
    for (uint32_t i = 0; i < b->count; i++)
        b->left[i] = (uint8_t)i;
}

bool batch_find(const struct record *r, struct set_member *m, double *score_out)
{
    if (record_type(r) == VALUE_SET) {
        *score_out = 1;
        return set_has_member(r, m);
    }
    if (record_encoding(r) == ENC_LISTPACK) return zset_score(r, set_member_text(m), score_out);
    const void *node = table_find(&zset_full(r)->members, set_member_hash(m), set_member_text(m),
                                  zset_node_member, NULL);
    if (node == NULL) return false;
    *score_out = zset_node_score(node);
    return true;
}

void batch_prefetch(struct batch *b, const struct record *r)
{
    if (!record_is_full(r) || value_len(r) < PREFETCH_LEN_MIN) return;
    for (uint32_t i = 0; i < b->count; i++)
        value_prefetch_bucket(r, set_member_hash(batch_member(b, i)));
    for (uint32_t i = 0; i < b->count; i++)
        (void)value_prefetch_item(r, set_member_hash(batch_member(b, i)));
}

void batch_filter(struct batch *b, const struct record *r, bool wanted)
{
    double score;
    uint32_t kept = 0;
    batch_prefetch(b, r);
    for (uint32_t i = 0; i < b->count; i++)
        if (batch_find(r, batch_member(b, i), &score) == wanted) b->left[kept++] = b->left[i];
    b->count = kept;
}
