/* shard/db/db_priv.h: the keyspace's own structures, for this folder only.
 *
 *   keyspace ── database[0…] ── slots      16,384 table heads of 16 B, the only thing a read needs
 *                            ├─ counters   16,384 × 24 B, written by commits
 *                            ├─ groups     keys per 64 slots: RANDOMKEY and SCAN skip by them
 *                            └─ deadlines  from the first expiry on (expire.c)
 *
 * The arrays of a database come with its first key and go with FLUSHDB. */
#ifndef MOON_DB_DB_PRIV_H
#define MOON_DB_DB_PRIV_H

#include "shard/base/assert.h"
#include "shard/base/stat.h"
#include "shard/db/db.h"

#define GROUP_SLOTS 64u
#define GROUPS (SLOT_COUNT / GROUP_SLOTS)

struct slot_counters {
    int64_t bytes;
    uint64_t reads, writes;
};

struct deadlines; /* expire.c */

struct database {
    struct table *slots; /* NULL: no key since the start or the last flush */
    struct slot_counters *counters;
    uint64_t *groups;
    struct deadlines *deadlines; /* NULL: no expiry since then */
    int64_t bytes;               /* sum over counters */
    uint64_t keys;               /* this and what follows: stat_get() of other threads */
    uint64_t expires;
    uint64_t expire_base_ms; /* the first expiry of those that are there */
    uint64_t expire_sum_ms;  /* of all expiries less the base, modulo 2^64; for the average */
};

struct keyspace {
    uint32_t databases;
    uint64_t expire_at; /* where active expiry goes on; see expire.c */
    int64_t epoch_ms;   /* zero of the deadlines' units; -1: not set yet */
    int64_t attributed; /* bytes ever given to slots: open entries may overlap */
    struct database db[];
};

static inline struct bytes db__key_of(const void *item)
{
    return record_key(item);
}
uint64_t db__hash_of(const void *item);

/* ---- expire.c */

/* A record of this expiry lies in bucket `home` now. */
void db__deadline_add(struct keyspace *ks, struct database *db, uint16_t slot, uint32_t home,
                      int64_t expire_ms);
/* The slot's table had `before` buckets and may have one more or one less now. */
void db__deadlines_follow(struct database *db, uint16_t slot, uint32_t before);
/* The slot is empty, or its database is being thrown away; `t` as it was when they were last told. */
void db__deadlines_drop_slot(struct deadlines *d, uint16_t slot, uint32_t buckets);
void db__deadlines_free(struct deadlines *d);
/* Beside the slot's tables, which are swapped as they are. */
void db__deadlines_swap_slot(struct database *a, struct database *b, uint16_t slot);
bool db__deadlines_check(const struct keyspace *ks, const struct database *db);

#endif
