/* Asking a listpack for a member is a walk over it. Where many are asked for its entries are indexed first, on the
 * stack: that is one walk, and after it a look-up compares one entry. The hash has no key: at worst, all
 * entries in one chain, a look-up is a walk again. */
#include "shard/types/set_batch_priv.h"

#include "shard/ds/listpack.h"
#include "shard/types/value.h"
#include "shard/types/zset_priv.h"

/* Below this a table stays in the cache anyway. */
#define PREFETCH_LEN_MIN 2048u

/* From so many entries on, asked for so many members, an index of a listpack pays. */
#define INDEXED_LEN_MIN 8u
#define INDEXED_ASKED_MIN 4u
#define INDEXED_LEN_MAX (BATCH_PLACES / 2)
#define INDEXED_ENTRY_MAX 128u /* longer entries are left out: finding one is a walk */

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

void batch_prefetch(struct batch *b, const struct record *r)
{
    if (!record_is_full(r) || value_len(r) < PREFETCH_LEN_MIN) return;
    for (uint32_t i = 0; i < b->count; i++)
        value_prefetch_bucket(r, set_member_hash(batch_member(b, i)));
    for (uint32_t i = 0; i < b->count; i++)
        (void)value_prefetch_item(r, set_member_hash(batch_member(b, i)));
}

/* ---- listpacks */

/* Of 2 bytes at least. */
static inline uint64_t load_start(const uint8_t *p, size_t n)
{
    uint64_t v;
    uint32_t w;
    if (n >= 8) return memcpy(&v, p, 8), v;
    if (n >= 4) return memcpy(&w, p, 4), w;
    return (uint64_t)p[0] << 8 | p[1];
}

static inline uint64_t load_end(const uint8_t *end, size_t n)
{
    return n >= 8 ? load_start(end - 8, 8) : n >= 4 ? load_start(end - 4, 4) : end[-1];
}

/* Of an entry as it is written. Names differ at their ends. */
static inline uint32_t place_of(const uint8_t *entry, size_t size)
{
    uint64_t h = load_start(entry, size) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ load_end(entry + size, size)) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(h >> 55);
}
static_assert(BATCH_PLACES == 1u << (64 - 55), "place_of() gives so many");

void batch_index(struct batch_indexes *x, uint32_t i, const struct record *r, uint64_t members)
{
    if (i >= BATCH_INDEXES) return;
    x->made[i] = false;
    if (record_encoding(r) != ENC_LISTPACK || members < INDEXED_ASKED_MIN) return;
    struct bytes blob = record_blob(r);
    uint64_t len = value_len(r);
    if (len < INDEXED_LEN_MIN || len > INDEXED_LEN_MAX || blob.len > UINT16_MAX) return;
    bool pairs = record_type(r) == VALUE_ZSET;
    uint16_t *places = x->of[i].places;
    x->made[i] = true;
    memset(places, 0, sizeof x->of[i].places);
    for (const uint8_t *p = lp_begin(blob), *end = lp_end(blob); p < end;) {
        size_t size = lp_entry_size(p);
        if (likely(size <= INDEXED_ENTRY_MAX)) {
            uint32_t at = place_of(p, size);
            while (places[at] != 0)
                at = (at + 1) % BATCH_PLACES;
            places[at] = (uint16_t)(p - blob.data);
        }
        p += size;
        if (pairs) p = lp_next(p);
    }
}

/* The entry of a packed set; NULL: not there. */
static const uint8_t *find_indexed(const struct batch_index *x, struct bytes blob,
                                   const struct lp_item *item)
{
    uint8_t entry[INDEXED_ENTRY_MAX];
    (void)lp_write(entry, item);
    for (uint32_t at = place_of(entry, item->size); x->places[at] != 0;
         at = (at + 1) % BATCH_PLACES) {
        const uint8_t *there = blob.data + x->places[at];
        if (lp_matches(there, item)) return there;
    }
    return NULL;
}

static bool find_packed(const struct batch_index *x, const struct record *r, struct set_member *m,
                        double *score_out)
{
    struct bytes blob = record_blob(r);
    struct lp_item item;
    bool pairs = record_type(r) == VALUE_ZSET;
    lp_item_text(set_member_text(m), &item);
    const uint8_t *entry = x != NULL && item.size <= INDEXED_ENTRY_MAX
                               ? find_indexed(x, blob, &item)
                               : lp_find(lp_begin(blob), lp_end(blob), &item, pairs ? 2 : 1);
    if (entry == NULL) return false;
    *score_out = pairs ? lp_double(lp_next(entry)) : 1;
    return true;
}

/* ---- */

bool batch_find(const struct batch_indexes *x, uint32_t i, const struct record *r,
                struct set_member *m, double *score_out)
{
    if (record_encoding(r) == ENC_LISTPACK) {
        bool indexed = i < BATCH_INDEXES && x->made[i];
        return find_packed(indexed ? &x->of[i] : NULL, r, m, score_out);
    }
    if (record_type(r) == VALUE_SET) {
        *score_out = 1;
        return set_has_member(r, m);
    }
    const void *node = table_find(&zset_full(r)->members, set_member_hash(m), set_member_text(m),
                                  zset_node_member, NULL);
    if (node == NULL) return false;
    *score_out = zset_node_score(node);
    return true;
}
