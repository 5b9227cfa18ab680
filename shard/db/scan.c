/* shard/db/scan.c: walks over slots: SCAN, one slot whole, a random key.
 *
 * A cursor is slot << 32 | position in the slot's table, so it is below 2^46: clients that keep
 * cursors in signed 64-bit numbers or in doubles get through. */
#include "shard/db/db_priv.h"

#define POSITION_BITS 32u

struct each {
    void (*call)(void *ctx, struct record *r);
    void *ctx;
};

static void each_record(void *ctx, void *item)
{
    const struct each *e = ctx;
    e->call(e->ctx, item);
}

/* First slot from `slot` on that has keys, SLOT_COUNT if none: at most 64 heads and 256 groups. */
static uint32_t slot_with_keys(const struct database *db, uint32_t slot)
{
    while (slot < SLOT_COUNT) {
        if (slot % GROUP_SLOTS == 0 && db->groups[slot / GROUP_SLOTS] == 0) {
            slot += GROUP_SLOTS;
        } else if (db->slots[slot].count == 0) {
            slot++;
        } else {
            return slot;
        }
    }
    return SLOT_COUNT;
}

uint64_t db_scan(const struct keyspace *ks, uint8_t db, uint64_t cursor,
                 void (*each)(void *ctx, struct record *r), void *ctx)
{
    assert(db < ks->databases);
    const struct database *d = &ks->db[db];
    uint64_t slot = cursor >> POSITION_BITS, at = cursor & UINT32_MAX;
    if (d->slots == NULL || slot >= SLOT_COUNT) return 0;
    struct each e = {each, ctx};
    if (d->slots[slot].count == 0) {
        slot = slot_with_keys(d, (uint32_t)slot);
        at = 0;
        if (slot == SLOT_COUNT) return 0;
    }
    at = table_scan(&d->slots[slot], at, each_record, &e);
    if (at == 0) slot = slot_with_keys(d, (uint32_t)slot + 1);
    return slot == SLOT_COUNT ? 0 : slot << POSITION_BITS | at;
}

uint16_t db_scan_slot(uint64_t cursor)
{
    return (uint16_t)(cursor >> POSITION_BITS & (SLOT_COUNT - 1)); /* a client may send anything */
}

uint64_t db_scan_from_slot(uint16_t slot)
{
    return (uint64_t)slot << POSITION_BITS;
}

void db_slot_each(const struct keyspace *ks, uint8_t db, uint16_t slot,
                  void (*each)(void *ctx, struct record *r), void *ctx)
{
    assert(db < ks->databases);
    assert(slot < SLOT_COUNT);
    if (ks->db[db].slots == NULL) return;
    const struct table *t = &ks->db[db].slots[slot];
    struct each e = {each, ctx};
    for (uint32_t i = 0; i < t->buckets; i++)
        table_bucket_each(t, i, each_record, &e);
}

struct record *db_random(const struct keyspace *ks, uint8_t db, struct rng *rng)
{
    assert(db < ks->databases);
    const struct database *d = &ks->db[db];
    if (d->keys == 0) return NULL;
    /* Slots weigh what they hold: the n-th key of all decides which one, then any key of it. */
    uint64_t n = rng_below(rng, d->keys);
    uint32_t group = 0;
    while (n >= d->groups[group])
        n -= d->groups[group++];
    uint32_t slot = group * GROUP_SLOTS;
    while (n >= d->slots[slot].count)
        n -= d->slots[slot++].count;
    assert(slot < SLOT_COUNT);
    return table_random(&d->slots[slot], rng);
}
