/* shard/ds/table.c: linear hashing with 64-byte buckets.
 *
 *   struct table           bucket, 64 B                              overflow bucket
 *   root, flags            +----+----+----+----+----+----+----+----+  +----+--
 *   buckets, count  ---->  | e0 | e1 | e2 | e3 | e4 | e5 | e6 |tags|->| e0 | …
 *                          +----+----+----+----+----+----+----+----+  +----+--
 *                            16 hash bits | 48-bit pointer  `- with META LINK: the overflow bucket
 *
 * Up to 64 buckets lie in one array that grows along the allocator's size classes (ARRAY_ROOM), so
 * most splits move nothing. Above, segments of 64 buckets hang off a directory; a directory of more
 * than 512 segments has two levels, so nothing larger than 4 KiB is ever copied below 2^27 buckets.
 * flags bits 1–5 say how much room there is: of an array the index into ARRAY_ROOM, of a directory
 * the binary logarithm of the segments it can name.
 *
 * Chains are dense: a bucket with a link has six entries, the last one of a chain has its entries in
 * front, and an overflow bucket that would hold a single one is folded back. So a chain of m entries
 * has exactly chain_buckets(m) buckets, splitting one never needs an overflow bucket that the chain
 * did not have already (ceil x + ceil y <= ceil (x + y) + 1), and growth fails only for want of the
 * new bucket itself: it is then put off to the next insert.
 *
 * Bit-reversed, the hashes of one bucket are one interval; splits and merges refine and coarsen the
 * intervals but never reorder them. That is the whole of the SCAN guarantee. */
#include "shard/ds/table.h"

#include "shard/base/assert.h"

#define BUCKET_BYTES sizeof(struct table_bucket)
#define SEGMENT_BUCKETS (1u << TABLE__SEGMENT_SHIFT)
#define SEGMENT_SIZE (SEGMENT_BUCKETS * BUCKET_BYTES)
#define PAGE_SEGMENTS (1u << TABLE__PAGE_SHIFT)
#define BUCKETS_MAX (UINT32_C(1) << 30)
#define STORED_HASH_BITS 24u

/* Grow above 0.85 × 7 entries per bucket, shrink below half full. Simulated with size classes and
 * overflow buckets: 15.0 B per key and 1.16 lines per hit at 61 keys, 13.7–14 B and 1.2 above. */
#define GROW_NUM 119u
#define GROW_DEN 20u
#define SHRINK_ENTRIES_X2 7u

/* Buckets of an array: the size classes of the allocator that are multiples of 64 up to 4 KiB. */
static const uint8_t ARRAY_ROOM[] = {1,  2,  3,  4,  5,  6,  7,  8,  10, 12,
                                     14, 16, 20, 24, 28, 32, 40, 48, 56, 64};
#define ARRAY_ROOM_LAST (COUNT_OF(ARRAY_ROOM) - 1)
static_assert(COUNT_OF(ARRAY_ROOM) <= 32, "the index has five bits");

/* ---- the head's bits */

static void set_root(struct table *t, const void *p)
{
    assert(((uintptr_t)p & ~TABLE__PTR_MASK) == 0);
    t->root = (uintptr_t)p & TABLE__PTR_MASK;
}

static struct table__dir *dir_of(const struct table *t)
{
    assert(t->flags & TABLE__SEGMENTED);
    return (struct table__dir *)(uintptr_t)t->root;
}

static void set_room(struct table *t, bool segmented, uint32_t room)
{
    assert(room < 32);
    t->flags = ((t->flags & 0xffc0u) | room << 1 | (segmented ? TABLE__SEGMENTED : 0u)) & 0xffffu;
}

/* Longest chain ever, for table_random: 0: 1 bucket, 1: 2, 2: up to 4, 3: more. */
static void note_chain(struct table *t, uint32_t buckets)
{
    uint32_t class = buckets <= 2 ? buckets - 1 : buckets <= 4 ? 2 : 3;
    if (class > (uint32_t)(t->flags >> 6 & 3))
        t->flags = ((t->flags & 0xff3fu) | class << 6) & 0xffffu;
}

/* ---- buckets */

static uint64_t make_entry(uint64_t hash, const void *item)
{
    assert(((uintptr_t)item & ~TABLE__PTR_MASK) == 0);
    return (uint64_t)(uintptr_t)item | hash << 48;
}

static void set_link(struct table_bucket *b, struct table_bucket *next)
{
    b->entry[TABLE__ENTRIES - 1] = (uint64_t)(uintptr_t)next;
    b->tag[TABLE__ENTRIES - 1] = 0;
    b->meta |= TABLE__LINK;
}

/* Entries in a bucket, the link not counted. */
static uint32_t bucket_used(const struct table_bucket *b)
{
    uint32_t n = b->meta & TABLE__LINK ? TABLE__ENTRIES - 1 : TABLE__ENTRIES;
    while (n > 0 && b->entry[n - 1] == 0)
        n--;
    return n;
}

static struct table_bucket *chain_last(struct table_bucket *b, struct table_bucket **before_out,
                                       uint32_t *buckets_out)
{
    *before_out = NULL;
    *buckets_out = 1;
    for (struct table_bucket *next = table__next(b); next != NULL; next = table__next(b)) {
        *before_out = b;
        b = next;
        (*buckets_out)++;
    }
    return b;
}

static uint32_t chain_overflows(const struct table_bucket *b)
{
    uint32_t n = 0;
    while ((b = table__next(b)) != NULL)
        n++;
    return n;
}

static struct table_bucket *overflow_new(struct table *t)
{
    struct table_bucket *b = mem_try_alloc(MEM_TABLE, BUCKET_BYTES);
    if (b == NULL) return NULL;
    memset(b, 0, sizeof *b);
    if (t->flags & TABLE__SEGMENTED) dir_of(t)->overflows++;
    return b;
}

static void overflow_free(struct table *t, struct table_bucket *b)
{
    if (t->flags & TABLE__SEGMENTED) {
        assert(dir_of(t)->overflows > 0);
        dir_of(t)->overflows--;
    }
    mem_free(MEM_TABLE, b, BUCKET_BYTES);
}

/* ---- directory */

static size_t dir_bytes(uint32_t places)
{
    return sizeof(struct table__dir) + (size_t)places * sizeof(void *);
}

/* Places in the topmost directory. */
static uint32_t dir_places(uint32_t room)
{
    return 1u << (room > TABLE__PAGE_SHIFT ? room - TABLE__PAGE_SHIFT : room);
}

static uint32_t segments_of(uint32_t buckets)
{
    return (buckets + SEGMENT_BUCKETS - 1) >> TABLE__SEGMENT_SHIFT;
}

static uint64_t array_overflows(const struct table *t)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < t->buckets; i++)
        n += chain_overflows(table__bucket(t, i));
    return n;
}

/* A full array becomes the first segment. */
static bool array_to_dir(struct table *t)
{
    struct table__dir *d = mem_try_alloc(MEM_TABLE, dir_bytes(2));
    if (d == NULL) return false;
    void *segment = mem_try_alloc(MEM_TABLE, SEGMENT_SIZE);
    if (segment == NULL) {
        mem_free(MEM_TABLE, d, dir_bytes(2));
        return false;
    }
    d->overflows = array_overflows(t);
    d->at[0] = (void *)(uintptr_t)t->root;
    d->at[1] = segment;
    set_root(t, d);
    set_room(t, true, 1);
    return true;
}

/* Twice the segments. One page becomes the first of two levels; else the topmost level doubles. */
static bool dir_grow(struct table *t)
{
    uint32_t room = table__room(t);
    struct table__dir *d = dir_of(t);
    if (room == TABLE__PAGE_SHIFT) {
        struct table__dir *top = mem_try_alloc(MEM_TABLE, dir_bytes(2));
        if (top == NULL) return false;
        top->overflows = d->overflows;
        top->at[0] = d;
        d = top;
    } else {
        uint32_t places = dir_places(room);
        d = mem_try_resize(MEM_TABLE, d, dir_bytes(places), dir_bytes(places * 2));
        if (d == NULL) return false;
    }
    set_root(t, d);
    set_room(t, true, room + 1);
    return true;
}

static bool segment_add(struct table *t, uint32_t segment)
{
    if (segment == 1u << table__room(t) && !dir_grow(t)) return false;
    void *buckets = mem_try_alloc(MEM_TABLE, SEGMENT_SIZE);
    if (buckets == NULL) return false;
    struct table__dir *d = dir_of(t);
    if (table__room(t) > TABLE__PAGE_SHIFT) {
        uint32_t page = segment >> TABLE__PAGE_SHIFT;
        segment &= PAGE_SEGMENTS - 1;
        if (segment == 0) {
            d->at[page] = mem_try_alloc(MEM_TABLE, dir_bytes(PAGE_SEGMENTS));
            if (d->at[page] == NULL) {
                mem_free(MEM_TABLE, buckets, SEGMENT_SIZE);
                return false;
            }
        }
        d = d->at[page];
    }
    d->at[segment] = buckets;
    return true;
}

/* Half the segments, when a quarter is used; also undoes what dir_grow() built. */
static void dir_shrink(struct table *t, uint32_t segments)
{
    uint32_t room = table__room(t);
    struct table__dir *d = dir_of(t);
    if (room <= 1 || segments > 1u << (room - 2)) return;
    uint32_t places = dir_places(room);
    if (room == TABLE__PAGE_SHIFT + 1) {
        struct table__dir *page = d->at[0];
        page->overflows = d->overflows;
        mem_free(MEM_TABLE, d, dir_bytes(places));
        d = page;
    } else {
        d = mem_try_resize(MEM_TABLE, d, dir_bytes(places), dir_bytes(places / 2));
        if (d == NULL) return; /* later then */
    }
    set_root(t, d);
    set_room(t, true, room - 1);
}

static void segment_drop(struct table *t, uint32_t segment)
{
    assert(segment > 0);
    struct table__dir *d = dir_of(t);
    uint32_t room = table__room(t), at = segment & (PAGE_SEGMENTS - 1);
    bool paged = room > TABLE__PAGE_SHIFT;
    struct table__dir *holder = paged ? d->at[segment >> TABLE__PAGE_SHIFT] : d;
    mem_free(MEM_TABLE, holder->at[at], SEGMENT_SIZE);
    if (paged && at == 0) mem_free(MEM_TABLE, holder, dir_bytes(PAGE_SEGMENTS));
    if (segment > 1) {
        dir_shrink(t, segment);
        return;
    }
    set_root(t, holder->at[0]);
    set_room(t, false, ARRAY_ROOM_LAST);
    if (paged) mem_free(MEM_TABLE, holder, dir_bytes(PAGE_SEGMENTS));
    mem_free(MEM_TABLE, d, dir_bytes(dir_places(room)));
}

/* ---- room for one bucket more, or less */

static bool array_grow(struct table *t)
{
    if (t->root == 0) {
        void *first = mem_try_alloc(MEM_TABLE, BUCKET_BYTES);
        if (first == NULL) return false;
        set_root(t, first);
        set_room(t, false, 0);
        return true;
    }
    uint32_t room = table__room(t);
    if (room == ARRAY_ROOM_LAST) return array_to_dir(t);
    void *p = mem_try_resize(MEM_TABLE, (void *)(uintptr_t)t->root, ARRAY_ROOM[room] * BUCKET_BYTES,
                             ARRAY_ROOM[room + 1] * BUCKET_BYTES);
    if (p == NULL) return false;
    set_root(t, p);
    set_room(t, false, room + 1);
    return true;
}

/* Appends an empty bucket; it is no entry's home before the caller has made it so. */
static bool bucket_add(struct table *t)
{
    uint32_t n = t->buckets;
    if (t->flags & TABLE__SEGMENTED) {
        if ((n & (SEGMENT_BUCKETS - 1)) == 0 && !segment_add(t, n >> TABLE__SEGMENT_SHIFT))
            return false;
    } else if (t->root == 0 || n == ARRAY_ROOM[table__room(t)]) {
        if (!array_grow(t)) return false;
    }
    t->buckets = n + 1;
    struct table_bucket *b = table__bucket(t, n);
    memset(b, 0, sizeof *b);
    return true;
}

/* Gives the last bucket back; it is empty and without chain. */
static void bucket_drop(struct table *t)
{
    uint32_t n = --t->buckets;
    if (t->flags & TABLE__SEGMENTED) {
        if ((n & (SEGMENT_BUCKETS - 1)) == 0) segment_drop(t, n >> TABLE__SEGMENT_SHIFT);
        return;
    }
    uint32_t room = table__room(t);
    if (n == 0) {
        mem_free(MEM_TABLE, (void *)(uintptr_t)t->root, ARRAY_ROOM[room] * BUCKET_BYTES);
        set_root(t, NULL);
        t->flags &= 0xff00u;
        return;
    }
    if (room < 2 || n > ARRAY_ROOM[room - 2]) return;
    void *p = mem_try_resize(MEM_TABLE, (void *)(uintptr_t)t->root, ARRAY_ROOM[room] * BUCKET_BYTES,
                             ARRAY_ROOM[room - 1] * BUCKET_BYTES);
    if (p == NULL) return; /* stays larger until the next one */
    set_root(t, p);
    set_room(t, false, room - 1);
}

/* ---- moving the entries of a chain */

/* Where entries go: a dense chain being written. */
struct writer {
    struct table_bucket *at;
    uint32_t used;
    uint32_t buckets;
};

struct pour {
    struct table_bucket *spare; /* linked through entry[0] */
    struct writer low, high;
    uint32_t bit; /* hash bit that sends an entry high; 64: none does */
    table_hash_fn hash_of;
};

static void spare_add(struct pour *p, struct table_bucket *b)
{
    b->entry[0] = (uint64_t)(uintptr_t)p->spare;
    p->spare = b;
}

static struct table_bucket *spare_take(struct pour *p)
{
    struct table_bucket *b = p->spare;
    assert(b != NULL);
    p->spare = table__entry_item(b->entry[0]);
    memset(b, 0, sizeof *b);
    return b;
}

static void pour_entry(struct pour *p, uint64_t entry, uint8_t tag)
{
    uint64_t hash = entry >> 48 | (uint64_t)tag << 16;
    if (unlikely(p->bit >= STORED_HASH_BITS) && p->bit < 64)
        hash = p->hash_of(table__entry_item(entry));
    struct writer *w = p->bit < 64 && (hash >> p->bit & 1) ? &p->high : &p->low;
    if (w->used == TABLE__ENTRIES) {
        struct table_bucket *b = spare_take(p);
        b->entry[0] = w->at->entry[TABLE__ENTRIES - 1];
        b->tag[0] = w->at->tag[TABLE__ENTRIES - 1];
        set_link(w->at, b);
        w->at = b;
        w->used = 1;
        w->buckets++;
    }
    w->at->entry[w->used] = entry;
    w->at->tag[w->used] = tag;
    w->used++;
}

/* Empties a chain into the writers. Each bucket is copied out first, so that it can be written to,
 * or serve as a spare, while its former entries are placed. */
static void pour_chain(struct pour *p, struct table_bucket *home)
{
    struct table_bucket copy = *home;
    memset(home, 0, sizeof *home);
    home->meta = (uint8_t)(copy.meta & ~TABLE__LINK);
    for (;;) {
        uint32_t used = bucket_used(&copy);
        for (uint32_t e = 0; e < used; e++)
            pour_entry(p, copy.entry[e], copy.tag[e]);
        struct table_bucket *next = table__next(&copy);
        if (next == NULL) return;
        copy = *next;
        spare_add(p, next);
    }
}

static void pour_end(struct pour *p, struct table *t)
{
    while (p->spare != NULL) {
        struct table_bucket *b = p->spare;
        p->spare = table__entry_item(b->entry[0]);
        overflow_free(t, b);
    }
    note_chain(t, p->low.buckets);
    if (p->high.at != NULL) note_chain(t, p->high.buckets);
}

/* One step of growth; nothing happens if there is no memory for the bucket. */
static void split(struct table *t, table_hash_fn hash_of)
{
    uint32_t n = t->buckets;
    if (unlikely(n >= BUCKETS_MAX) || !bucket_add(t)) return;
    struct table_bucket *source = table__bucket(t, table_split_source(n)),
                        *target = table__bucket(t, n);
    struct pour p = {.low = {.at = source, .buckets = 1},
                     .high = {.at = target, .buckets = 1},
                     .bit = 31u - (uint32_t)__builtin_clz(n),
                     .hash_of = hash_of};
    target->meta = (uint8_t)(source->meta & ~TABLE__LINK);
    pour_chain(&p, source);
    pour_end(&p, t);
}

static uint32_t chain_count(const struct table_bucket *b)
{
    uint32_t n = 0;
    for (; b != NULL; b = table__next(b))
        n += bucket_used(b);
    return n;
}

/* One step of shrinking: the last bucket goes back to where it was split from. Buckets of different
 * walk marks stay apart: a snapshot has saved one and not the other. */
static void merge(struct table *t)
{
    uint32_t n = t->buckets - 1;
    struct table_bucket *target = table__bucket(t, table_split_source(n)),
                        *source = table__bucket(t, n);
    if ((target->meta ^ source->meta) & (TABLE__WALK_A | TABLE__WALK_B)) return;
    struct pour p = {.low = {.at = target, .buckets = 1}, .bit = 64};
    if (chain_count(target) + chain_count(source) > TABLE__ENTRIES) {
        /* While entries move, the chain may be two buckets longer than what was freed of the others. */
        for (int i = 0; i < 2; i++) {
            struct table_bucket *b = overflow_new(t);
            if (b != NULL)
                spare_add(&p, b);
            else if (i == 0)
                return;
            else
                goto out_spares;
        }
    }
    pour_chain(&p, target);
    pour_chain(&p, source);
    target->meta |= (uint8_t)(source->meta & TABLE__EXPIRES);
    pour_end(&p, t);
    bucket_drop(t);
    return;
out_spares:
    pour_end(&p, t);
}

/* ---- the interface */

static bool is_full(const struct table *t)
{
    if (t->buckets == 1) return t->count >= TABLE__ENTRIES;
    return (uint64_t)t->count * GROW_DEN >= (uint64_t)t->buckets * GROW_NUM;
}

bool table_insert(struct table *t, uint64_t hash, void *item, table_hash_fn hash_of,
                  struct table_pos *pos_out)
{
    assert(item != NULL);
    assert(t->count < UINT32_MAX);
    if (unlikely(t->buckets == 0)) {
        if (!bucket_add(t)) return false;
    } else if (unlikely(is_full(t))) {
        split(t, hash_of);
    }
    uint32_t index = table__index(t, hash), buckets;
    struct table_bucket *home = table__bucket(t, index), *before;
    struct table_bucket *b = chain_last(home, &before, &buckets);
    uint32_t e = bucket_used(b);
    if (unlikely(e == TABLE__ENTRIES)) {
        struct table_bucket *more = overflow_new(t);
        if (more == NULL) return false;
        more->entry[0] = b->entry[TABLE__ENTRIES - 1];
        more->tag[0] = b->tag[TABLE__ENTRIES - 1];
        set_link(b, more);
        note_chain(t, buckets + 1);
        b = more;
        e = 1;
    }
    b->entry[e] = make_entry(hash, item);
    b->tag[e] = (uint8_t)(hash >> 16);
    t->count++;
    if (pos_out != NULL) *pos_out = (struct table_pos){b, home, index, e};
    return true;
}

void table_replace(struct table *t, const struct table_pos *pos, void *item)
{
    assert(pos->home_index < t->buckets);
    assert(item != NULL);
    uint64_t *entry = &pos->bucket->entry[pos->entry];
    assert(*entry != 0);
    *entry = (*entry & ~TABLE__PTR_MASK) | (make_entry(0, item) & TABLE__PTR_MASK);
}

/* The chain's last entry fills the hole; an overflow bucket with one left is folded back. */
static void chain_remove(struct table *t, const struct table_pos *pos)
{
    struct table_bucket *before;
    uint32_t buckets;
    struct table_bucket *last = chain_last(pos->bucket, &before, &buckets);
    uint32_t used = bucket_used(last);
    assert(used > 0);
    uint32_t e = used - 1;
    pos->bucket->entry[pos->entry] = last->entry[e];
    pos->bucket->tag[pos->entry] = last->tag[e];
    last->entry[e] = 0;
    last->tag[e] = 0;
    if (e != 1 || last == pos->home) return;
    if (before == NULL) {
        before = pos->home;
        while (table__next(before) != last)
            before = table__next(before);
    }
    before->entry[TABLE__ENTRIES - 1] = last->entry[0];
    before->tag[TABLE__ENTRIES - 1] = last->tag[0];
    before->meta = (uint8_t)(before->meta & ~TABLE__LINK);
    overflow_free(t, last);
}

void table_remove(struct table *t, const struct table_pos *pos, table_hash_fn hash_of)
{
    (void)hash_of; /* a merge asks for no hash bit; the parameter keeps the room to */
    assert(t->count > 0);
    assert(pos->home_index < t->buckets);
    assert(pos->bucket->entry[pos->entry] != 0);
    chain_remove(t, pos);
    t->count--;
    if (t->buckets > 1) {
        if ((uint64_t)t->count * 2 < (uint64_t)t->buckets * SHRINK_ENTRIES_X2) merge(t);
    } else if (t->count == 0) {
        bucket_drop(t);
    }
}

void table_bucket_each(const struct table *t, uint32_t home_index,
                       void (*each)(void *ctx, void *item), void *ctx)
{
    assert(home_index < t->buckets);
    for (const struct table_bucket *b = table__bucket(t, home_index); b != NULL;
         b = table__next(b)) {
        uint32_t used = bucket_used(b);
        for (uint32_t e = 0; e < used; e++)
            each(ctx, table__entry_item(b->entry[e]));
    }
}

static uint32_t reverse_bits(uint32_t v)
{
    v = (v >> 1 & 0x55555555u) | (v & 0x55555555u) << 1;
    v = (v >> 2 & 0x33333333u) | (v & 0x33333333u) << 2;
    v = (v >> 4 & 0x0f0f0f0fu) | (v & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(v);
}

/* Hash bits that all entries of a bucket share. */
static uint32_t bucket_bits(const struct table *t, uint32_t index)
{
    uint32_t level = 31u - (uint32_t)__builtin_clz(t->buckets);
    bool halved = index >= 1u << level || index < t->buckets - (1u << level);
    return level + (halved ? 1 : 0);
}

uint64_t table_scan(const struct table *t, uint64_t cursor, void (*each)(void *ctx, void *item),
                    void *ctx)
{
    if (t->count == 0) return 0;
    cursor &= UINT32_MAX;
    uint32_t index = table__index(t, reverse_bits((uint32_t)cursor));
    table_bucket_each(t, index, each, ctx);
    uint64_t width = UINT64_C(1) << (32 - bucket_bits(t, index));
    uint64_t next = (cursor & ~(width - 1)) + width;
    return next > UINT32_MAX ? 0 : next;
}

void *table_random(const struct table *t, struct rng *rng)
{
    if (t->count == 0) return NULL;
    /* Every place of every possible bucket is equally likely, so every entry is. Chains of more than
     * eight buckets, which keyed hashing does not make, give only their first eight. Most draws hit no
     * entry: in large tables, where each is a cache miss, some are drawn at once. */
    static const uint8_t places[] = {7, 14, 28, 56};
    uint32_t place_count = places[t->flags >> 6 & 3], draws = t->flags & TABLE__SEGMENTED ? 6 : 1;
    for (;;) {
        const struct table_bucket *bucket[6];
        uint32_t place[6];
        for (uint32_t i = 0; i < draws; i++) {
            uint64_t draw = rng_below(rng, (uint64_t)t->buckets * place_count);
            place[i] = (uint32_t)(draw % place_count);
            bucket[i] = table__bucket(t, (uint32_t)(draw / place_count));
            __builtin_prefetch(bucket[i]);
        }
        for (uint32_t i = 0; i < draws; i++) {
            const struct table_bucket *b = bucket[i];
            for (; b != NULL && place[i] >= TABLE__ENTRIES; place[i] -= TABLE__ENTRIES)
                b = table__next(b);
            if (b != NULL && place[i] < bucket_used(b))
                return table__entry_item(b->entry[place[i]]);
        }
    }
}

bool table_drain(struct table *t, uint32_t max, void (*each)(void *ctx, void *item), void *ctx)
{
    while (t->buckets > 0) {
        uint32_t index = t->buckets - 1;
        struct table_bucket *home = table__bucket(t, index), *before;
        uint32_t buckets;
        struct table_bucket *last = chain_last(home, &before, &buckets);
        uint32_t used = bucket_used(last);
        if (used == 0) {
            bucket_drop(t); /* as a merge with an empty bucket: the table stays whole */
            continue;
        }
        if (max-- == 0) return true;
        struct table_pos pos = {last, home, index, used - 1};
        void *item = table__entry_item(last->entry[used - 1]);
        chain_remove(t, &pos);
        t->count--;
        each(ctx, item);
    }
    return false;
}

bool table_reserve(struct table *t, uint32_t count)
{
    assert(t->count == 0);
    uint64_t buckets = (uint64_t)count * GROW_DEN / GROW_NUM + 1;
    while (t->buckets < buckets && t->buckets < BUCKETS_MAX) {
        if (bucket_add(t)) continue;
        while (t->buckets > 0)
            bucket_drop(t);
        return false;
    }
    return true;
}

size_t table_bytes(const struct table *t)
{
    if (t->root == 0) return 0;
    uint32_t room = table__room(t);
    if (!(t->flags & TABLE__SEGMENTED))
        return (ARRAY_ROOM[room] + array_overflows(t)) * BUCKET_BYTES;
    uint32_t segments = segments_of(t->buckets);
    size_t bytes = mem_good_size(dir_bytes(dir_places(room))) + segments * SEGMENT_SIZE;
    if (room > TABLE__PAGE_SHIFT) {
        bytes += (segments + PAGE_SEGMENTS - 1) / PAGE_SEGMENTS *
                 mem_good_size(dir_bytes(PAGE_SEGMENTS));
    }
    return bytes + dir_of(t)->overflows * BUCKET_BYTES;
}

bool table_bucket_expires(const struct table *t, uint32_t home_index)
{
    assert(home_index < t->buckets);
    return table__bucket(t, home_index)->meta & TABLE__EXPIRES;
}

void table_bucket_set_expires(struct table *t, uint32_t home_index, bool on)
{
    assert(home_index < t->buckets);
    struct table_bucket *b = table__bucket(t, home_index);
    b->meta = (uint8_t)(on ? b->meta | TABLE__EXPIRES : b->meta & ~TABLE__EXPIRES);
}

/* ---- check */

static bool check_item(const struct table *t, const struct table_bucket *b, uint32_t e,
                       uint32_t index, table_key_fn key_of, table_hash_fn hash_of)
{
    const void *item = table__entry_item(b->entry[e]);
    uint64_t hash = hash_of(item);
    if ((uint16_t)(b->entry[e] >> 48) != (uint16_t)hash || b->tag[e] != (uint8_t)(hash >> 16))
        return false;
    if (table__index(t, hash) != index) return false;
    return table_find(t, hash, key_of(item), key_of, NULL) ==
           item; /* no second entry of this key */
}

static bool check_chain(const struct table *t, uint32_t index, table_key_fn key_of,
                        table_hash_fn hash_of, uint64_t *count_out, uint64_t *overflows_out)
{
    const struct table_bucket *home = table__bucket(t, index);
    for (const struct table_bucket *b = home; b != NULL; b = table__next(b)) {
        uint32_t used = bucket_used(b);
        if (b != home && (used < 2 || (b->meta & ~TABLE__LINK) != 0)) return false;
        if (b->meta & TABLE__LINK && used != TABLE__ENTRIES - 1) return false;
        for (uint32_t e = 0; e < used; e++) {
            if (b->entry[e] == 0 || !check_item(t, b, e, index, key_of, hash_of)) return false;
        }
        *count_out += used;
        *overflows_out += b != home;
    }
    return true;
}

bool table_check(const struct table *t, table_key_fn key_of, table_hash_fn hash_of)
{
    if (t->root == 0) return t->buckets == 0 && t->count == 0 && (t->flags & 0xff) == 0;
    bool segmented = t->flags & TABLE__SEGMENTED;
    uint32_t room = table__room(t);
    if (t->buckets == 0) return false;
    if (segmented ? segments_of(t->buckets) > 1u << room : t->buckets > ARRAY_ROOM[room])
        return false;
    uint64_t count = 0, overflows = 0;
    for (uint32_t i = 0; i < t->buckets; i++) {
        if (!check_chain(t, i, key_of, hash_of, &count, &overflows)) return false;
    }
    if (segmented && dir_of(t)->overflows != overflows) return false;
    return count == t->count;
}
