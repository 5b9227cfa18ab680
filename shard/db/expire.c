/* shard/db/expire.c: which keys are due, without sampling: the earliest deadline of every bucket, of
 * every 64 buckets, and so on up to the database.
 *
 *   groups[256]  min of 64 slots                     up to 64 buckets: an array, 4 B per bucket
 *   slots[16384] min of a slot       slot[16384] ->  more: struct tree: high[] min of a branch
 *                                                                       branch[] -> low[64], leaf[64]
 *                                                                       leaf -> 64 buckets, or NULL
 *
 * A deadline is a u32 of 16 ms units since the keyspace's epoch, rounded down and clamped, so it is
 * never later than the record's own; the record decides. It is a lower bound, not more: a key that
 * goes or is given more time leaves it, a split copies it. Looking at a bucket that is due makes it
 * exact again, so each such leftover costs one look. Units reach 2.2 years; when time has used up half
 * of that, all deadlines are moved to a new epoch (4 B per bucket, once in a year).
 *
 * Small and seldom: memory is taken with mem_alloc(), which aborts, so committing a change of an
 * expiry cannot fail half-way. */
#include "shard/db/db_priv.h"

#define UNIT_MS 16
#define NONE UINT32_MAX
#define LATEST (UINT32_MAX - 1)
/* Where "now" stands after a new epoch: clocks may step back 99 days before the next one. */
#define EPOCH_LEAD_UNITS (INT64_C(1) << 29)
#define EPOCH_USED_UNITS (INT64_C(1) << 31)

#define ARRAY_BUCKETS 64u
#define FAN 64u
#define DUE_MAX 64u /* due records handed out per look at a bucket */

#define BRANCH_BUCKETS (FAN * FAN)

struct branch {
    uint32_t low[FAN];
    uint32_t *leaf[FAN];
};

/* 12 B per 4,096 buckets are all that is copied when a tree doubles. */
struct tree {
    uint32_t branches, cap;
    uint32_t *high;
    struct branch **branch;
};

struct deadlines {
    uint32_t groups[GROUPS];
    uint32_t slots[SLOT_COUNT];
    void *slot
        [SLOT_COUNT]; /* uint32_t array or struct tree, as the table has at most 64 buckets or more */
};

static uint32_t unit_of(const struct keyspace *ks, int64_t ms)
{
    __int128 unit = ((__int128)ms - ks->epoch_ms) / UNIT_MS;
    if (unit <= 0) return 0;
    return unit < LATEST ? (uint32_t)unit : LATEST;
}

static uint32_t min_of(const uint32_t *at, uint32_t count)
{
    uint32_t min = NONE;
    for (uint32_t i = 0; i < count; i++)
        min = at[i] < min ? at[i] : min;
    return min;
}

/* First index from `from` on whose deadline is not after `now`; count if none. */
static uint32_t first_due(const uint32_t *at, uint32_t count, uint32_t from, uint32_t now)
{
    while (from < count && at[from] > now)
        from++;
    return from;
}

static uint32_t *none_alloc(uint32_t count)
{
    uint32_t *p = mem_alloc(MEM_TABLE, count * sizeof *p);
    for (uint32_t i = 0; i < count; i++)
        p[i] = NONE;
    return p;
}

static void none_free(uint32_t *p, uint32_t count)
{
    mem_free(MEM_TABLE, p, count * sizeof *p);
}

/* ---- one slot */

/* In steps of 8 bytes: every other split moves the array. */
static uint32_t array_cap(uint32_t buckets)
{
    return (buckets + 1) & ~1u;
}

static void branch_add(struct tree *t)
{
    if (t->branches == t->cap) {
        uint32_t cap = t->cap == 0 ? 1 : t->cap * 2;
        t->high = mem_resize(MEM_TABLE, t->high, t->cap * sizeof *t->high, cap * sizeof *t->high);
        t->branch =
            mem_resize(MEM_TABLE, t->branch, t->cap * sizeof *t->branch, cap * sizeof *t->branch);
        t->cap = cap;
    }
    struct branch *b = mem_zalloc(MEM_TABLE, sizeof *b);
    memset(b->low, 0xff, sizeof b->low); /* NONE */
    t->high[t->branches] = NONE;
    t->branch[t->branches++] = b;
}

static void tree_grow(struct tree *t, uint32_t buckets)
{
    while (t->branches * BRANCH_BUCKETS < buckets)
        branch_add(t);
}

static void tree_free(struct tree *t)
{
    for (uint32_t i = 0; i < t->branches; i++) {
        for (uint32_t k = 0; k < FAN; k++)
            none_free(t->branch[i]->leaf[k], FAN);
        mem_free(MEM_TABLE, t->branch[i], sizeof *t->branch[i]);
    }
    mem_free(MEM_TABLE, t->high, t->cap * sizeof *t->high);
    mem_free(MEM_TABLE, t->branch, t->cap * sizeof *t->branch);
    mem_free(MEM_TABLE, t, sizeof *t);
}

static struct tree *tree_of_array(uint32_t *array, uint32_t buckets)
{
    struct tree *t = mem_zalloc(MEM_TABLE, sizeof *t);
    tree_grow(t, buckets);
    t->branch[0]->leaf[0] = array; /* array_cap(64) is one leaf */
    t->branch[0]->low[0] = t->high[0] = min_of(array, FAN);
    return t;
}

static uint32_t *array_of_tree(struct tree *t)
{
    uint32_t *array = t->branch[0]->leaf[0];
    if (array == NULL) array = none_alloc(FAN);
    t->branch[0]->leaf[0] = NULL;
    tree_free(t);
    return array;
}

static void *slot_new(uint32_t buckets)
{
    uint32_t *array = none_alloc(buckets > ARRAY_BUCKETS ? FAN : array_cap(buckets));
    if (buckets <= ARRAY_BUCKETS) return array;
    return tree_of_array(array, buckets);
}

static void slot_free(void *p, uint32_t buckets)
{
    if (p == NULL) return;
    if (buckets > ARRAY_BUCKETS)
        tree_free(p);
    else
        none_free(p, array_cap(buckets));
}

static uint32_t slot_get(void *p, uint32_t buckets, uint32_t bucket)
{
    assert(bucket < buckets);
    if (buckets <= ARRAY_BUCKETS) return ((uint32_t *)p)[bucket];
    const struct tree *t = p;
    const uint32_t *leaf = t->branch[bucket / BRANCH_BUCKETS]->leaf[bucket / FAN % FAN];
    return leaf != NULL ? leaf[bucket % FAN] : NONE;
}

/* Stores a bucket's deadline and returns the slot's. `exact`: it may have become later, so what stands
 * above is computed anew; else it is only lowered. */
static uint32_t slot_set(void *p, uint32_t buckets, uint32_t bucket, uint32_t value, bool exact)
{
    if (buckets <= ARRAY_BUCKETS) {
        ((uint32_t *)p)[bucket] = value;
        return exact ? min_of(p, buckets) : value;
    }
    struct tree *t = p;
    uint32_t at = bucket / BRANCH_BUCKETS, segment = bucket / FAN % FAN;
    struct branch *b = t->branch[at];
    if (b->leaf[segment] == NULL && value != NONE) b->leaf[segment] = none_alloc(FAN);
    if (b->leaf[segment] != NULL) b->leaf[segment][bucket % FAN] = value;
    if (!exact) {
        if (value < b->low[segment]) b->low[segment] = value;
        if (value < t->high[at]) t->high[at] = value;
        return value;
    }
    b->low[segment] = b->leaf[segment] != NULL ? min_of(b->leaf[segment], FAN) : NONE;
    t->high[at] = min_of(b->low, FAN);
    return min_of(t->high, t->branches);
}

static uint32_t branch_next_due(const struct branch *b, uint32_t from, uint32_t now)
{
    uint32_t segment = from / FAN, at = from % FAN;
    while ((segment = first_due(b->low, FAN, segment, now)) < FAN) {
        if (segment != from / FAN) at = 0;
        at = first_due(b->leaf[segment], FAN, at, now);
        if (at < FAN) return segment * FAN + at;
        segment++;
    }
    return BRANCH_BUCKETS;
}

static uint32_t tree_next_due(const struct tree *t, uint32_t from, uint32_t now)
{
    uint32_t at = from / BRANCH_BUCKETS, rest = from % BRANCH_BUCKETS;
    while ((at = first_due(t->high, t->branches, at, now)) < t->branches) {
        if (at != from / BRANCH_BUCKETS) rest = 0;
        uint32_t due = branch_next_due(t->branch[at], rest, now);
        if (due < BRANCH_BUCKETS) return at * BRANCH_BUCKETS + due;
        at++;
    }
    return UINT32_MAX;
}

/* First due bucket from `from` on, UINT32_MAX if none. */
static uint32_t slot_next_due(const void *p, uint32_t buckets, uint32_t from, uint32_t now)
{
    if (buckets > ARRAY_BUCKETS) return tree_next_due(p, from, now);
    uint32_t at = first_due(p, buckets, from, now);
    return at < buckets ? at : UINT32_MAX;
}

/* ---- one database */

static struct deadlines *deadlines_new(void)
{
    struct deadlines *d = mem_zalloc(MEM_TABLE, sizeof *d);
    memset(d->groups, 0xff, sizeof d->groups); /* NONE */
    memset(d->slots, 0xff, sizeof d->slots);
    return d;
}

void db__deadlines_free(struct deadlines *d)
{
    mem_free(MEM_TABLE, d, sizeof *d);
}

static void raise_slot(struct deadlines *d, uint32_t slot, uint32_t value)
{
    uint32_t group = slot / GROUP_SLOTS;
    d->slots[slot] = value;
    d->groups[group] = min_of(d->slots + group * GROUP_SLOTS, GROUP_SLOTS);
}

static void lower_slot(struct deadlines *d, uint32_t slot, uint32_t value)
{
    if (value < d->slots[slot]) d->slots[slot] = value;
    if (value < d->groups[slot / GROUP_SLOTS]) d->groups[slot / GROUP_SLOTS] = value;
}

void db__deadlines_drop_slot(struct deadlines *d, uint16_t slot, uint32_t buckets)
{
    if (d->slot[slot] == NULL) return;
    slot_free(d->slot[slot], buckets);
    d->slot[slot] = NULL;
    raise_slot(d, slot, NONE);
}

void db__deadlines_swap_slot(struct database *a, struct database *b, uint16_t slot)
{
    if (a->deadlines == NULL && b->deadlines == NULL) return;
    if (a->deadlines == NULL) a->deadlines = deadlines_new();
    if (b->deadlines == NULL) b->deadlines = deadlines_new();
    struct deadlines *da = a->deadlines, *db = b->deadlines;
    void *p = da->slot[slot];
    da->slot[slot] = db->slot[slot];
    db->slot[slot] = p;
    uint32_t earliest = da->slots[slot];
    raise_slot(da, slot, db->slots[slot]);
    raise_slot(db, slot, earliest);
}

void db__deadline_add(struct keyspace *ks, struct database *db, uint16_t slot, uint32_t home,
                      int64_t expire_ms)
{
    if (unlikely(ks->epoch_ms == -1)) ks->epoch_ms = expire_ms - EPOCH_LEAD_UNITS * UNIT_MS;
    if (unlikely(db->deadlines == NULL)) db->deadlines = deadlines_new();
    struct deadlines *d = db->deadlines;
    struct table *t = &db->slots[slot];
    uint32_t unit = unit_of(ks, expire_ms);
    if (d->slot[slot] == NULL) d->slot[slot] = slot_new(t->buckets);
    table_bucket_set_expires(t, home, true);
    if (unit >= slot_get(d->slot[slot], t->buckets, home)) return;
    (void)slot_set(d->slot[slot], t->buckets, home, unit, false);
    lower_slot(d, slot, unit);
}

/* Bucket `before` was split off another one, which gave it its expiry bit. */
static void follow_split(struct deadlines *d, const struct table *t, uint16_t slot, uint32_t before)
{
    void **p = &d->slot[slot];
    if (before == ARRAY_BUCKETS) {
        *p = tree_of_array(*p, before + 1);
    } else if (before > ARRAY_BUCKETS) {
        tree_grow(*p, before + 1);
    } else if (array_cap(before) != array_cap(before + 1)) {
        uint32_t *array = none_alloc(array_cap(before + 1));
        memcpy(array, *p, before * sizeof *array);
        none_free(*p, array_cap(before));
        *p = array;
    }
    if (!table_bucket_expires(t, before)) return;
    uint32_t value = slot_get(*p, t->buckets, table_split_source(before));
    (void)slot_set(*p, t->buckets, before, value, false);
}

/* Bucket `after` was merged into another one. */
static void follow_merge(struct deadlines *d, uint16_t slot, uint32_t after)
{
    void **p = &d->slot[slot];
    uint32_t before = after + 1, target = table_split_source(after);
    uint32_t gone = slot_get(*p, before, after), kept = slot_get(*p, before, target);
    if (gone < kept) (void)slot_set(*p, before, target, gone, false);
    (void)slot_set(*p, before, after, NONE, true);
    if (after == ARRAY_BUCKETS) {
        *p = array_of_tree(*p);
    } else if (after < ARRAY_BUCKETS && array_cap(before) != array_cap(after)) {
        uint32_t *array = none_alloc(array_cap(after));
        memcpy(array, *p, after * sizeof *array);
        none_free(*p, array_cap(before));
        *p = array;
    }
}

void db__deadlines_follow(struct database *db, uint16_t slot, uint32_t before)
{
    struct deadlines *d = db->deadlines;
    const struct table *t = &db->slots[slot];
    if (d->slot[slot] == NULL || t->buckets == before) return;
    if (t->buckets == 0) {
        db__deadlines_drop_slot(d, slot, before);
    } else if (t->buckets > before) {
        assert(t->buckets == before + 1);
        follow_split(d, t, slot, before);
    } else {
        assert(t->buckets == before - 1);
        follow_merge(d, slot, t->buckets);
    }
}

/* ---- the epoch */

/* Zero means "at or before the epoch" and stays; what was clamped at the far end may come out too
 * early, never too late. Order is kept, so the minima need no new computation. */
static void shift(uint32_t *at, uint32_t count, int64_t units)
{
    for (uint32_t i = 0; i < count; i++) {
        if (at[i] == NONE || at[i] == 0) continue;
        int64_t v = (int64_t)at[i] + units;
        at[i] = v <= 0 ? 0 : v < LATEST ? (uint32_t)v : LATEST;
    }
}

static void shift_slot(void *p, uint32_t buckets, int64_t units)
{
    if (p == NULL) return;
    if (buckets <= ARRAY_BUCKETS) {
        shift(p, buckets, units);
        return;
    }
    const struct tree *t = p;
    for (uint32_t i = 0; i < t->branches; i++) {
        struct branch *b = t->branch[i];
        for (uint32_t k = 0; k < FAN; k++) {
            if (b->leaf[k] != NULL) shift(b->leaf[k], FAN, units);
        }
        shift(b->low, FAN, units);
    }
    shift(t->high, t->branches, units);
}

static void set_epoch(struct keyspace *ks, int64_t now_ms)
{
    int64_t before = ks->epoch_ms;
    /* A whole number of units away from the former one, or deadlines would round up. */
    int64_t start = now_ms - EPOCH_LEAD_UNITS * UNIT_MS;
    __int128 units = before == -1 ? 0 : ((__int128)before - start) / UNIT_MS;
    ks->epoch_ms = before == -1 ? start : (int64_t)(before - units * UNIT_MS);
    if (units > UINT32_MAX) units = UINT32_MAX;
    if (units < -(__int128)UINT32_MAX) units = -(__int128)UINT32_MAX;
    for (uint32_t i = 0; i < ks->databases; i++) {
        struct deadlines *d = ks->db[i].deadlines;
        if (d == NULL) continue;
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            shift_slot(d->slot[slot], ks->db[i].slots[slot].buckets, (int64_t)units);
        }
        shift(d->slots, SLOT_COUNT, (int64_t)units);
        shift(d->groups, GROUPS, (int64_t)units);
    }
}

/* ---- active expiry */

/* A place to look at: database, slot, bucket in one number, so that the next one is a comparison. */
static uint64_t place_of(uint32_t db, uint32_t slot, uint32_t bucket)
{
    return ((uint64_t)db * SLOT_COUNT + slot) << 32 | bucket;
}

static uint64_t next_due(const struct keyspace *ks, uint32_t now, uint64_t place)
{
    uint32_t bucket = (uint32_t)place;
    uint64_t at = place >> 32;
    for (; at < (uint64_t)ks->databases * SLOT_COUNT; bucket = 0) {
        uint32_t i = (uint32_t)(at / SLOT_COUNT), slot = (uint32_t)(at % SLOT_COUNT);
        const struct deadlines *d = ks->db[i].deadlines;
        if (d == NULL) {
            at = (uint64_t)(i + 1) * SLOT_COUNT;
        } else if (slot % GROUP_SLOTS == 0 && d->groups[slot / GROUP_SLOTS] > now) {
            slot = first_due(d->groups, GROUPS, slot / GROUP_SLOTS, now) * GROUP_SLOTS;
            at = (uint64_t)i * SLOT_COUNT + slot;
        } else if (d->slots[slot] > now) {
            at++;
        } else {
            uint32_t due = slot_next_due(d->slot[slot], ks->db[i].slots[slot].buckets, bucket, now);
            if (due != UINT32_MAX) return place_of(i, slot, due);
            at++;
        }
    }
    return UINT64_MAX;
}

struct look {
    int64_t now_ms;
    int64_t earliest_ms; /* INT64_MAX: none */
    uint32_t count;
    struct record *due[DUE_MAX];
};

static void look_due(void *ctx, void *item)
{
    struct look *l = ctx;
    if (record_expired(item, l->now_ms) && l->count < DUE_MAX) l->due[l->count++] = item;
}

static void look_earliest(void *ctx, void *item)
{
    struct look *l = ctx;
    const struct record *r = item;
    if ((r->flags & RECORD_EXPIRES) && record_expire_ms(r) < l->earliest_ms)
        l->earliest_ms = record_expire_ms(r);
}

/* Hands out what is due in a bucket and makes its deadline exact. Deleting may merge buckets and even
 * empty the slot, so where things lie is asked again afterwards. True: buckets were merged, and keys
 * with them into others. */
static bool visit(struct keyspace *ks, uint64_t place, struct look *l,
                  void (*each)(void *ctx, uint8_t db, uint16_t slot, struct record *r), void *ctx)
{
    uint32_t i = (uint32_t)(place >> 32) / SLOT_COUNT, slot = (uint32_t)(place >> 32) % SLOT_COUNT;
    uint32_t bucket = (uint32_t)place;
    struct database *db = &ks->db[i];
    uint32_t buckets = db->slots[slot].buckets;
    l->count = 0;
    table_bucket_each(&db->slots[slot], bucket, look_due, l);
    for (uint32_t n = 0; n < l->count; n++)
        each(ctx, (uint8_t)i, (uint16_t)slot, l->due[n]);
    struct table *t = &db->slots[slot];
    bool merged = t->buckets < buckets;
    if (db->deadlines->slot[slot] == NULL || bucket >= t->buckets) return merged;
    l->earliest_ms = INT64_MAX;
    table_bucket_each(t, bucket, look_earliest, l);
    bool none = l->earliest_ms == INT64_MAX;
    if (none) table_bucket_set_expires(t, bucket, false);
    uint32_t unit = none ? NONE : unit_of(ks, l->earliest_ms);
    raise_slot(db->deadlines, slot,
               slot_set(db->deadlines->slot[slot], t->buckets, bucket, unit, true));
    return merged;
}

bool db_expire_due(struct keyspace *ks, int64_t now_ms, uint32_t max_buckets,
                   void (*each)(void *ctx, uint8_t db, uint16_t slot, struct record *r), void *ctx)
{
    __int128 used = ((__int128)now_ms - ks->epoch_ms) / UNIT_MS;
    if (ks->epoch_ms == -1 || used < 0 || used > EPOCH_USED_UNITS) set_epoch(ks, now_ms);
    uint32_t now = unit_of(ks, now_ms);
    struct look look = {.now_ms = now_ms};
    /* One round: from where the last call stopped to the end, then from the start to there. Buckets
     * that stay due (within the unit, or left alone by `each`) are so looked at once per round. A merge
     * may carry due keys to where the round has been: then there is another one. */
    bool again;
    do {
        uint64_t start = ks->expire_at, at = start, end = UINT64_MAX;
        again = false;
        for (int half = 0; half < 2; half++) {
            while ((at = next_due(ks, now, at)) < end) {
                if (max_buckets == 0) {
                    ks->expire_at = at;
                    return true;
                }
                max_buckets--;
                again |= visit(ks, at, &look, each, ctx);
                at++;
            }
            end = start;
            at = 0;
        }
    } while (again);
    return false;
}

/* ---- check */

struct check {
    const struct keyspace *ks;
    void *slot;
    const struct table *table;
    uint32_t bucket;
    bool ok;
};

static void check_record(void *ctx, void *item)
{
    struct check *c = ctx;
    const struct record *r = item;
    if (!(r->flags & RECORD_EXPIRES)) return;
    if (c->slot == NULL || !table_bucket_expires(c->table, c->bucket)) {
        c->ok = false;
    } else if (slot_get(c->slot, c->table->buckets, c->bucket) >
               unit_of(c->ks, record_expire_ms(r))) {
        c->ok = false;
    }
}

static bool check_tree(const struct tree *t)
{
    for (uint32_t i = 0; i < t->branches; i++) {
        const struct branch *b = t->branch[i];
        for (uint32_t k = 0; k < FAN; k++) {
            if (b->low[k] != (b->leaf[k] != NULL ? min_of(b->leaf[k], FAN) : NONE)) return false;
        }
        if (t->high[i] != min_of(b->low, FAN)) return false;
    }
    return true;
}

/* A minimum may be too early only together with what it stands for: it must be exact. */
static bool check_minima(const struct deadlines *d, uint32_t slot, const struct table *t)
{
    uint32_t min = NONE;
    for (uint32_t i = 0; i < t->buckets && d->slot[slot] != NULL; i++) {
        uint32_t v = slot_get(d->slot[slot], t->buckets, i);
        if (v != NONE && !table_bucket_expires(t, i)) return false;
        min = v < min ? v : min;
    }
    if (t->buckets > ARRAY_BUCKETS && d->slot[slot] != NULL) {
        if (!check_tree(d->slot[slot])) return false;
    }
    return d->slots[slot] == min;
}

bool db__deadlines_check(const struct keyspace *ks, const struct database *db)
{
    const struct deadlines *d = db->deadlines;
    if (d == NULL) return db->expires == 0;
    struct check c = {.ks = ks, .ok = true};
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        c.table = &db->slots[slot];
        c.slot = d->slot[slot];
        for (c.bucket = 0; c.bucket < c.table->buckets; c.bucket++) {
            table_bucket_each(c.table, c.bucket, check_record, &c);
        }
        if (!c.ok || !check_minima(d, slot, c.table)) return false;
    }
    for (uint32_t i = 0; i < GROUPS; i++) {
        if (d->groups[i] != min_of(d->slots + i * GROUP_SLOTS, GROUP_SLOTS)) return false;
    }
    return true;
}
