/* shard/db/waits.h: which keys blocking commands wait for (BLPOP, BZPOPMIN …), and in which order. Keys carry no
 * mark: a change asks `count` first and looks here only while somebody waits. One owner thread.
 *
 * A key that gets a value is noted as ready; who runs the command takes the ready keys when it is done, in the
 * order in which they became so, and serves those who wait, in the order in which they came. */
#ifndef MOON_DB_WAITS_H
#define MOON_DB_WAITS_H

#include "shard/db/db.h"

struct wait_entry;
struct wait_key;

/* One who waits: for any of some keys to hold a value of this type. Embedded in whatever the owner knows of it,
 * zeroed but for `type` before its first key. */
struct waiting {
    struct wait_entry *entries;
    enum value_type type;
};
struct waits {
    uint32_t count; /* pairs of key and waiting */
    uint32_t keys, cap;
    struct wait_key **table; /* chained, by hash */
    struct wait_key *ready_head, **ready_tail;
};

void waits_init(struct waits *ws);
void waits_free(struct waits *ws); /* those who wait are forgotten, not told */

/* `who` waits for the key too, behind all who do already; `place` comes back when it is served. Nothing if it
 * waits for that key already. False: no memory, nothing changed. */
MUST_CHECK bool waits_try_add(struct waits *ws, struct waiting *who, const struct db_key *key,
                              uint32_t place);
/* It waits for nothing any more. */
void waits_drop(struct waits *ws, struct waiting *who);

/* The key holds a value now (or: all keys of a database may): if somebody waits, it is noted as ready. */
void waits_ready(struct waits *ws, const struct db_key *key);
void waits_ready_db(struct waits *ws, uint8_t db);

/* The first ready key, which stays valid until it is released (or put back: it is the first again); NULL: none. */
struct wait_key *waits_take_ready(struct waits *ws);
struct db_key waits_address(const struct wait_key *k); /* borrows the name of k */
/* Who has waited longest for the key to hold that type; NULL: nobody. */
struct waiting *waits_first(const struct wait_key *k, enum value_type type, uint32_t *place_out);
void waits_release(struct waits *ws, struct wait_key *k);
void waits_put_back(struct waits *ws, struct wait_key *k);

bool waits_check(const struct waits *ws); /* tests */

#endif
