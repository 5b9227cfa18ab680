/* shard/db/db.h: the keyspace of one shard: per slot and database one struct table of records,
 * counters, deadlines. The only door to find a key and to put a changed one back. One owner thread.
 * Knows no command, no journal, no client: what a change means to others is told by exec. */
#ifndef MOON_DB_DB_H
#define MOON_DB_DB_H

#include "shard/base/hash.h"
#include "shard/base/slot.h"
#include "shard/ds/table.h"
#include "shard/types/value.h"

struct keyspace;

struct keyspace *keyspace_new(uint32_t databases);
void keyspace_free(struct keyspace *ks); /* at once: tests and process end */

/* A key, addressed: computed once per command. */
struct db_key {
    struct bytes name;
    uint64_t hash;
    uint16_t slot;
    uint8_t db;
};
static inline struct db_key db_key(uint8_t db, struct bytes name)
{
    return (struct db_key){
        .name = name, .hash = hash_bytes(name), .slot = slot_of_key(name), .db = db};
}
/* Four sweeps over a batch, each touching what the one before has fetched: slot head, bucket, record,
 * and for a few the overflow bucket. */
void db_prefetch_slot(const struct keyspace *ks, const struct db_key *key);
void db_prefetch_bucket(const struct keyspace *ks, const struct db_key *key);
/* Beside the bucket's, for a write: the slot's counters, which a commit changes. */
void db_prefetch_counters(const struct keyspace *ks, const struct db_key *key);
/* True: the record is not known yet, only where to look next; db_prefetch_overflow() in a further sweep
 * over such keys (one in six) fetches it. Skipping that sweep costs time, nothing else. */
bool db_prefetch_record(const struct keyspace *ks, const struct db_key *key);
void db_prefetch_overflow(const struct keyspace *ks, const struct db_key *key);

/* A found or missing key, to be changed: valid until the next change of the same slot and database. */
struct db_entry {
    struct record *record; /* NULL: absent. Types may move it; db_commit() stores the new place */
    struct record *was;    /* as found */
    struct table_pos pos;
    int64_t bytes_before;  /* mem_thread_data_bytes() at open, for the slot's counters */
    int64_t expire_before; /* of `was`, which may be gone at commit; -1: none */
};
/* Read: the record or NULL. Expired ones are returned: the caller knows the time. */
struct record *db_find(const struct keyspace *ks, const struct db_key *key);
void db_open(struct keyspace *ks, const struct db_key *key, struct db_entry *entry_out);
/* Bytes that enter or (negative) leave the slot's counter without being allocated or freed between an
 * open and its commit: an old record that is taken to be freed in slices leaves (value_bytes()), a
 * record renamed into another slot leaves one (before its commit) and enters the other (after it). */
void db_move_bytes(struct keyspace *ks, const struct db_key *key, int64_t bytes);
/* Makes the table say what entry->record says: inserts, replaces the pointer, or removes (NULL; the
 * old record must have been freed or taken by the caller). Keeps counts, bytes and deadlines. False:
 * an insert found no memory; entry->record is still the caller's. Afterwards the entry is as freshly
 * opened: it may be changed and committed again. */
MUST_CHECK bool db_commit(struct keyspace *ks, const struct db_key *key, struct db_entry *entry);

uint64_t db_count(const struct keyspace *ks, uint8_t db);         /* keys, expired ones included */
uint64_t db_count_expires(const struct keyspace *ks, uint8_t db); /* keys with an expiry */
int64_t db_average_ttl_ms(const struct keyspace *ks, uint8_t db,
                          int64_t now_ms); /* estimate, as INFO */
uint64_t db_slot_count(const struct keyspace *ks, uint8_t db, uint16_t slot);
struct db_slot_stats {
    uint64_t keys, bytes;   /* bytes: records, values and the slot's share of tables */
    uint64_t reads, writes; /* as counted by db_note_read() and by commits */
};
/* Of all databases. */
void db_slot_stats(const struct keyspace *ks, uint16_t slot, struct db_slot_stats *out);
uint64_t db_data_bytes(const struct keyspace *ks); /* all slots */
/* For whoever keeps statistics per slot; db_find() itself touches no counter. */
void db_note_read(struct keyspace *ks, const struct db_key *key);

/* SCAN over the slots of this shard: cursor = (slot, reversed bucket bits), 0 starts and ends.
 * Visits one bucket (or skips empty slots, boundedly many per call) and returns the next cursor. */
uint64_t db_scan(const struct keyspace *ks, uint8_t db, uint64_t cursor,
                 void (*each)(void *ctx, struct record *r), void *ctx);
/* The slot a SCAN cursor stands in, so that a node can route it to the owning shard. */
uint16_t db_scan_slot(uint64_t cursor);
/* First cursor at or after `slot`. */
uint64_t db_scan_from_slot(uint16_t slot);
void db_slot_each(const struct keyspace *ks, uint8_t db, uint16_t slot,
                  void (*each)(void *ctx, struct record *r), void *ctx);
/* Any key, evenly over keys; NULL if the database is empty. */
struct record *db_random(const struct keyspace *ks, uint8_t db, struct rng *rng);

/* Empties a database in O(1): the tables are handed over for freeing in slices. */
struct db_garbage;
struct db_garbage *db_detach(struct keyspace *ks, uint8_t db);        /* NULL if it was empty */
bool db_garbage_free_slice(struct db_garbage *g, uint32_t max_items); /* true: all gone */
void db_swap(struct keyspace *ks, uint8_t a, uint8_t b);
/* The same for the slots that `chosen` says: O(slots), and O(keys) of them if keys expire. */
typedef bool db_slot_chosen(const void *ctx, uint16_t slot);
struct db_garbage *db_detach_slots(struct keyspace *ks, uint8_t db, db_slot_chosen *chosen,
                                   const void *ctx);
void db_swap_slots(struct keyspace *ks, uint8_t a, uint8_t b, db_slot_chosen *chosen,
                   const void *ctx);

/* Active expiry: calls `each` for records due at now_ms, at most max_buckets buckets looked at;
 * found by the earliest deadlines kept per bucket, segment and slot, so nothing is sampled and idle
 * cost is a few µs. `each` may delete that very record through db_open/db_commit (or leave it: then
 * it is offered again by a later call). True: more may be due, the next call goes on from there;
 * false: the whole keyspace has been looked at since the last false. */
bool db_expire_due(struct keyspace *ks, int64_t now_ms, uint32_t max_buckets,
                   void (*each)(void *ctx, uint8_t db, uint16_t slot, struct record *r), void *ctx);

/* LRU / LFU stamp of a record on access, if the policy keeps one; cheap no-op otherwise. One setting
 * per process, changed between passes only. */
enum db_stamp { DB_STAMP_NONE, DB_STAMP_LRU, DB_STAMP_LFU };
struct db_stamps {
    enum db_stamp mode;
    uint32_t lfu_log_factor;    /* lfu-log-factor */
    uint32_t lfu_decay_minutes; /* lfu-decay-time; 0: never */
};
extern struct db_stamps db_stamps;
void db__touch(struct record *r, int64_t now_ms, struct rng *rng);
/* On every access, and after an insert (a new key starts with a fresh stamp). */
static inline void db_touch(struct record *r, int64_t now_ms, struct rng *rng)
{
    if (unlikely(db_stamps.mode != DB_STAMP_NONE)) db__touch(r, now_ms, rng);
}
/* 0 for a record never stamped, or stamped by the other mode. */
uint64_t db_idle_ms(const struct record *r, int64_t now_ms);
uint8_t db_frequency(const struct record *r, int64_t now_ms);

bool keyspace_check(const struct keyspace *ks); /* tests, DEBUG */

#endif
