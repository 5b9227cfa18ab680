/* shard/db/db.c: find, open, commit, and what keeps their counts true. */
#include "shard/db/db.h"

#include "shard/db/db_priv.h"

#define GARBAGE_AT_ONCE 64u /* elements of a flushed value that are freed in one go */

uint64_t db__hash_of(const void *item)
{
    return hash_bytes(record_key(item));
}

/* ---- databases */

static bool database_fill(struct database *db)
{
    db->slots = mem_try_zalloc(MEM_TABLE, SLOT_COUNT * sizeof *db->slots);
    db->counters = mem_try_zalloc(MEM_TABLE, SLOT_COUNT * sizeof *db->counters);
    db->groups = mem_try_zalloc(MEM_TABLE, GROUPS * sizeof *db->groups);
    if (db->slots != NULL && db->counters != NULL && db->groups != NULL) return true;
    mem_free(MEM_TABLE, db->slots, SLOT_COUNT * sizeof *db->slots);
    mem_free(MEM_TABLE, db->counters, SLOT_COUNT * sizeof *db->counters);
    mem_free(MEM_TABLE, db->groups, GROUPS * sizeof *db->groups);
    *db = (struct database){0};
    return false;
}

static size_t keyspace_bytes(uint32_t databases)
{
    return sizeof(struct keyspace) + databases * sizeof(struct database);
}

struct keyspace *keyspace_new(uint32_t databases)
{
    assert(databases > 0);
    assert(databases <= DATABASES_MAX);
    struct keyspace *ks = mem_zalloc(MEM_TABLE, keyspace_bytes(databases));
    ks->databases = databases;
    ks->epoch_ms = -1;
    return ks;
}

void keyspace_free(struct keyspace *ks)
{
    if (ks == NULL) return;
    for (uint32_t i = 0; i < ks->databases; i++) {
        struct db_garbage *g = db_detach(ks, (uint8_t)i);
        while (g != NULL && !db_garbage_free_slice(g, UINT32_MAX))
            continue;
    }
    mem_free(MEM_TABLE, ks, keyspace_bytes(ks->databases));
}

static struct database *database_of(struct keyspace *ks, const struct db_key *key)
{
    assert(key->db < ks->databases);
    assert(key->slot < SLOT_COUNT);
    return &ks->db[key->db];
}

/* NULL if the database has no slots. */
static inline const struct table *slot_table(const struct keyspace *ks, const struct db_key *key)
{
    assert(key->db < ks->databases);
    const struct table *slots = ks->db[key->db].slots;
    return likely(slots != NULL) ? &slots[key->slot & (SLOT_COUNT - 1)] : NULL;
}

/* ---- find and commit */

void db_prefetch_slot(const struct keyspace *ks, const struct db_key *key)
{
    __builtin_prefetch(slot_table(ks, key));
}

void db_prefetch_bucket(const struct keyspace *ks, const struct db_key *key)
{
    const struct table *t = slot_table(ks, key);
    if (likely(t != NULL)) table_prefetch_bucket(t, key->hash);
}

void db_prefetch_counters(const struct keyspace *ks, const struct db_key *key)
{
    const struct database *db = &ks->db[key->db];
    if (likely(db->counters != NULL)) __builtin_prefetch(&db->counters[key->slot], 1);
}

bool db_prefetch_record(const struct keyspace *ks, const struct db_key *key)
{
    const struct table *t = slot_table(ks, key);
    return likely(t != NULL) && table_prefetch_item(t, key->hash);
}

void db_prefetch_overflow(const struct keyspace *ks, const struct db_key *key)
{
    const struct table *t = slot_table(ks, key);
    if (likely(t != NULL)) table_prefetch_overflow(t, key->hash);
}

struct record *db_find(const struct keyspace *ks, const struct db_key *key)
{
    const struct table *t = slot_table(ks, key);
    return likely(t != NULL) ? table_find(t, key->hash, key->name, db__key_of, NULL) : NULL;
}

static void entry_settle(const struct keyspace *ks, struct db_entry *entry)
{
    entry->was = entry->record;
    entry->expire_before = entry->record != NULL ? record_expire_ms(entry->record) : -1;
    entry->bytes_before = mem_thread_data_bytes() - ks->attributed;
}

void db_open(struct keyspace *ks, const struct db_key *key, struct db_entry *entry_out)
{
    const struct table *t = slot_table(ks, key);
    *entry_out = (struct db_entry){0};
    if (likely(t != NULL)) {
        entry_out->record = table_find(t, key->hash, key->name, db__key_of, &entry_out->pos);
    }
    entry_settle(ks, entry_out);
}

/* Not `attributed`: the memory does not change, so what entries have seen stays true. */
void db_move_bytes(struct keyspace *ks, const struct db_key *key, int64_t bytes)
{
    struct database *db = database_of(ks, key);
    assert(db->counters != NULL);
    db->bytes += bytes;
    db->counters[key->slot].bytes += bytes;
}

/* So many more with that sum; both may be negative. */
static void add_expiries(struct database *db, uint64_t count, uint64_t sum_ms)
{
    if (db->expires == 0) {
        if (count == 0) return;
        stat_set(&db->expire_base_ms, sum_ms / count);
        stat_set(&db->expire_sum_ms, 0);
    }
    stat_bump(&db->expires, count);
    stat_bump(&db->expire_sum_ms, sum_ms - count * db->expire_base_ms);
}

static void count_expiry(struct database *db, int64_t before_ms, int64_t after_ms)
{
    if (before_ms != -1) add_expiries(db, UINT64_MAX, -(uint64_t)before_ms);
    if (after_ms != -1) add_expiries(db, 1, (uint64_t)after_ms);
}

static bool commit_insert(struct database *db, const struct db_key *key, struct db_entry *entry)
{
    if (unlikely(db->slots == NULL) && !database_fill(db)) return false;
    struct table *t = &db->slots[key->slot];
    uint32_t buckets = t->buckets;
    bool inserted = table_insert(t, key->hash, entry->record, db__hash_of, &entry->pos);
    if (unlikely(db->deadlines != NULL)) db__deadlines_follow(db, key->slot, buckets);
    if (!inserted) return false;
    stat_bump(&db->keys, 1);
    db->groups[key->slot / GROUP_SLOTS]++;
    return true;
}

static void commit_remove(struct database *db, const struct db_key *key,
                          const struct db_entry *entry)
{
    struct table *t = &db->slots[key->slot];
    uint32_t buckets = t->buckets;
    table_remove(t, &entry->pos, db__hash_of);
    if (unlikely(db->deadlines != NULL)) db__deadlines_follow(db, key->slot, buckets);
    stat_bump(&db->keys, UINT64_MAX);
    db->groups[key->slot / GROUP_SLOTS]--;
}

bool db_commit(struct keyspace *ks, const struct db_key *key, struct db_entry *entry)
{
    struct database *db = database_of(ks, key);
    struct record *r = entry->record;
    if (entry->was != NULL) {
        assert(table__entry_item(entry->pos.bucket->entry[entry->pos.entry]) == entry->was);
        if (r == NULL)
            commit_remove(db, key, entry);
        else if (r != entry->was)
            table_replace(&db->slots[key->slot], &entry->pos, r);
    } else if (r != NULL) {
        if (!commit_insert(db, key, entry)) return false;
    } else {
        return true;
    }
    int64_t expire_ms = r != NULL ? record_expire_ms(r) : -1;
    if (unlikely(expire_ms != entry->expire_before))
        count_expiry(db, entry->expire_before, expire_ms);
    if (unlikely(expire_ms != -1) && (expire_ms != entry->expire_before || entry->was == NULL)) {
        db__deadline_add(ks, db, key->slot, entry->pos.home_index, expire_ms);
    }
    db->counters[key->slot].writes++;
    int64_t bytes = mem_thread_data_bytes() - ks->attributed - entry->bytes_before;
    db_move_bytes(ks, key, bytes);
    ks->attributed += bytes;
    entry_settle(ks, entry);
    return true;
}

/* ---- counts */

uint64_t db_count(const struct keyspace *ks, uint8_t db)
{
    assert(db < ks->databases);
    return stat_get(&ks->db[db].keys);
}

uint64_t db_count_expires(const struct keyspace *ks, uint8_t db)
{
    assert(db < ks->databases);
    return stat_get(&ks->db[db].expires);
}

int64_t db_average_ttl_ms(const struct keyspace *ks, uint8_t db, int64_t now_ms)
{
    assert(db < ks->databases);
    const struct database *d = &ks->db[db];
    uint64_t count = stat_get(&d->expires);
    if (count == 0) return 0;
    int64_t sum_ms = (int64_t)stat_get(&d->expire_sum_ms);
    int64_t left_ms = (int64_t)stat_get(&d->expire_base_ms) - now_ms + sum_ms / (int64_t)count;
    return left_ms > 0 ? left_ms : 0;
}

uint64_t db_slot_count(const struct keyspace *ks, uint8_t db, uint16_t slot)
{
    assert(db < ks->databases);
    assert(slot < SLOT_COUNT);
    return ks->db[db].slots != NULL ? ks->db[db].slots[slot].count : 0;
}

void db_slot_stats(const struct keyspace *ks, uint16_t slot, struct db_slot_stats *out)
{
    assert(slot < SLOT_COUNT);
    *out = (struct db_slot_stats){0};
    int64_t bytes = 0;
    for (uint32_t i = 0; i < ks->databases; i++) {
        const struct database *db = &ks->db[i];
        if (db->slots == NULL) continue;
        const struct slot_counters *c = &db->counters[slot];
        out->keys += db->slots[slot].count;
        out->reads += c->reads;
        out->writes += c->writes;
        bytes += c->bytes;
    }
    out->bytes = bytes > 0 ? (uint64_t)bytes : 0;
}

uint64_t db_data_bytes(const struct keyspace *ks)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < ks->databases; i++)
        bytes += ks->db[i].bytes;
    return bytes > 0 ? (uint64_t)bytes : 0;
}

void db_note_read(struct keyspace *ks, const struct db_key *key)
{
    struct database *db = database_of(ks, key);
    if (db->counters != NULL) db->counters[key->slot].reads++;
}

/* ---- whole databases */

/* What a flushed database was, being given back. */
struct db_garbage {
    struct database db;
    uint32_t slot;
    struct record *big; /* out of its table, freed in slices of its own */
};

/* Not by a copy of the whole: others may be reading the counts. */
static void database_move(struct database *to, const struct database *from)
{
    to->slots = from->slots;
    to->counters = from->counters;
    to->groups = from->groups;
    to->deadlines = from->deadlines;
    to->bytes = from->bytes;
    stat_set(&to->keys, from->keys);
    stat_set(&to->expires, from->expires);
    stat_set(&to->expire_base_ms, from->expire_base_ms);
    stat_set(&to->expire_sum_ms, from->expire_sum_ms);
}

struct db_garbage *db_detach(struct keyspace *ks, uint8_t db)
{
    assert(db < ks->databases);
    struct database *d = &ks->db[db];
    if (d->slots == NULL) return NULL;
    struct db_garbage *g = mem_alloc(MEM_TABLE, sizeof *g);
    *g = (struct db_garbage){.db = *d};
    database_move(d, &(struct database){.keys = 0});
    return g;
}

static void garbage_item(void *ctx, void *item)
{
    struct db_garbage *g = ctx;
    if (value_free_cost(item) <= GARBAGE_AT_ONCE)
        record_free(item);
    else
        g->big = item;
}

/* Takes steps off *left; true when the slot is empty. */
static bool garbage_slot(struct db_garbage *g, uint32_t *left)
{
    struct table *t = &g->db.slots[g->slot];
    if (t->root == 0 && g->big == NULL) return true;
    if (g->db.deadlines != NULL)
        db__deadlines_drop_slot(g->db.deadlines, (uint16_t)g->slot, t->buckets);
    for (; *left > 0; --*left) {
        if (g->big == NULL) {
            bool more = table_drain(t, 1, garbage_item, g);
            if (more || g->big != NULL) continue;
            --*left;
            return true;
        }
        if (!value_free_slice(g->big, *left)) {
            *left = 0;
            return false;
        }
        g->big = NULL;
    }
    return false;
}

bool db_garbage_free_slice(struct db_garbage *g, uint32_t max_items)
{
    struct database *db = &g->db;
    for (; g->slot < SLOT_COUNT; g->slot++) {
        if (!garbage_slot(g, &max_items)) return false;
    }
    if (db->deadlines != NULL) db__deadlines_free(db->deadlines);
    mem_free(MEM_TABLE, db->slots, SLOT_COUNT * sizeof *db->slots);
    mem_free(MEM_TABLE, db->counters, SLOT_COUNT * sizeof *db->counters);
    mem_free(MEM_TABLE, db->groups, GROUPS * sizeof *db->groups);
    mem_free(MEM_TABLE, g, sizeof *g);
    return true;
}

void db_swap(struct keyspace *ks, uint8_t a, uint8_t b)
{
    assert(a < ks->databases);
    assert(b < ks->databases);
    struct database t = ks->db[a];
    database_move(&ks->db[a], &ks->db[b]);
    database_move(&ks->db[b], &t);
}

/* ---- some slots of a database */

struct slot_totals {
    int64_t keys, bytes;
    uint64_t expires, expire_sum_ms;
};

static void total_expiry(void *ctx, void *item)
{
    struct slot_totals *t = ctx;
    int64_t expire_ms = record_expire_ms(item);
    if (expire_ms == -1) return;
    t->expires++;
    t->expire_sum_ms += (uint64_t)expire_ms;
}

static struct slot_totals totals_of(const struct database *db, uint16_t slot)
{
    const struct table *t = &db->slots[slot];
    struct slot_totals sum = {.keys = t->count, .bytes = db->counters[slot].bytes};
    if (db->expires == 0) return sum;
    for (uint32_t i = 0; i < t->buckets; i++)
        table_bucket_each(t, i, total_expiry, &sum);
    return sum;
}

static void add_totals(struct database *db, uint16_t slot, const struct slot_totals *t, int sign)
{
    stat_bump(&db->keys, (uint64_t)(t->keys * sign));
    db->groups[slot / GROUP_SLOTS] += (uint64_t)(t->keys * sign);
    db->bytes += t->bytes * sign;
    add_expiries(db, t->expires * (uint64_t)(int64_t)sign,
                 t->expire_sum_ms * (uint64_t)(int64_t)sign);
}

static void swap_slot(struct database *a, struct database *b, uint16_t slot)
{
    struct table table = a->slots[slot];
    if (table.root == 0 && b->slots[slot].root == 0) return;
    struct slot_totals of_a = totals_of(a, slot), of_b = totals_of(b, slot);
    add_totals(a, slot, &of_a, -1);
    add_totals(b, slot, &of_b, -1);
    add_totals(a, slot, &of_b, 1);
    add_totals(b, slot, &of_a, 1);
    struct slot_counters counters = a->counters[slot];
    a->counters[slot] = b->counters[slot];
    b->counters[slot] = counters;
    a->slots[slot] = b->slots[slot];
    b->slots[slot] = table;
    db__deadlines_swap_slot(a, b, slot);
}

static void database_fill_or_die(struct database *db)
{
    bool filled = db->slots != NULL || database_fill(db);
    assert(filled); /* of a fixed size, as mem_alloc() */
}

struct db_garbage *db_detach_slots(struct keyspace *ks, uint8_t db, db_slot_chosen *chosen,
                                   const void *ctx)
{
    assert(db < ks->databases);
    if (ks->db[db].slots == NULL) return NULL;
    struct db_garbage *g = mem_zalloc(MEM_TABLE, sizeof *g);
    database_fill_or_die(&g->db);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (chosen(ctx, (uint16_t)slot)) swap_slot(&ks->db[db], &g->db, (uint16_t)slot);
    }
    return g;
}

void db_swap_slots(struct keyspace *ks, uint8_t a, uint8_t b, db_slot_chosen *chosen,
                   const void *ctx)
{
    assert(a < ks->databases);
    assert(b < ks->databases);
    struct database *da = &ks->db[a], *db = &ks->db[b];
    if (a == b || (da->slots == NULL && db->slots == NULL)) return;
    database_fill_or_die(da);
    database_fill_or_die(db);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (chosen(ctx, (uint16_t)slot)) swap_slot(da, db, (uint16_t)slot);
    }
}

/* ---- check */

struct check {
    const struct keyspace *ks;
    uint16_t slot;
    uint64_t expires, expire_sum_ms;
    bool ok;
};

static void check_record(void *ctx, void *item)
{
    struct check *c = ctx;
    const struct record *r = item;
    if (slot_of_key(record_key(r)) != c->slot) c->ok = false;
    if (!(r->flags & RECORD_EXPIRES)) return;
    c->expires++;
    c->expire_sum_ms += (uint64_t)record_expire_ms(r);
}

static bool check_database(const struct keyspace *ks, const struct database *db)
{
    if (db->slots == NULL)
        return db->keys == 0 && db->expires == 0 && db->bytes == 0 && db->deadlines == NULL;
    struct check c = {.ks = ks, .ok = true};
    uint64_t keys = 0, group = 0;
    int64_t bytes = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct table *t = &db->slots[slot];
        if (!table_check(t, db__key_of, db__hash_of)) return false;
        c.slot = (uint16_t)slot;
        for (uint32_t i = 0; i < t->buckets; i++)
            table_bucket_each(t, i, check_record, &c);
        keys += t->count;
        group += t->count;
        bytes += db->counters[slot].bytes;
        if ((slot + 1) % GROUP_SLOTS != 0) continue;
        if (group != db->groups[slot / GROUP_SLOTS]) return false;
        group = 0;
    }
    if (keys != db->keys || bytes != db->bytes) return false;
    if (c.expires != db->expires) return false;
    if (db->expires > 0 && c.expire_sum_ms - c.expires * db->expire_base_ms != db->expire_sum_ms)
        return false;
    return c.ok && db__deadlines_check(ks, db);
}

bool keyspace_check(const struct keyspace *ks)
{
    for (uint32_t i = 0; i < ks->databases; i++) {
        if (!check_database(ks, &ks->db[i])) return false;
    }
    return true;
}
