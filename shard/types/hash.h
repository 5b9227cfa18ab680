/* shard/types/hash.h: hashes. Encodings: listpack (field, value, …), hashtable (struct table of
 * field-value nodes). Per-field expiry joins later.
 *
 * Bytes given to a changing call must not lie inside the record that it changes. */
#ifndef MOON_TYPES_HASH_H
#define MOON_TYPES_HASH_H

#include "shard/base/num.h"
#include "shard/base/rng.h"
#include "shard/types/record.h"
#include "shard/types/window.h"

MUST_CHECK struct record *hash_try_new(struct bytes key, int64_t expire_ms); /* empty */
uint64_t hash_len(const struct record *r);
/* Borrowed until the hash changes; integers of packed hashes are written into tmp. */
MUST_CHECK bool hash_get(const struct record *r, struct bytes field, char tmp[NUM_I64_TEXT_MAX],
                         struct bytes *value_out);
bool hash_has(const struct record *r, struct bytes field);
enum hash_set_result { HASH_NOMEM = -1, HASH_UPDATED, HASH_ADDED };
/* A field or value too long, or one field too many, converts to the full encoding first. */
enum hash_set_result hash_set(struct record **r, struct bytes field, struct bytes value);
/* For a command that stores several fields: converts at once if one of them, the longest of
 * longest_bytes, is too long for a packed hash. False: out of memory, nothing changed. */
MUST_CHECK bool hash_try_expect(struct record **r, size_t longest_bytes);
/* True: it was there. The last field may go: an empty hash is the caller's to delete. */
bool hash_delete(struct record **r, struct bytes field);

struct hash_iter { /* invalid after any change */
    const struct record *record;
    uint64_t at; /* offset in a packed hash */
    struct window window;
};
void hash_iter_start(const struct record *r, struct hash_iter *it_out);
/* tmp_f and tmp_v hold integers of packed entries. */
MUST_CHECK bool hash_iter_next(struct hash_iter *it, char tmp_f[NUM_I64_TEXT_MAX],
                               char tmp_v[NUM_I64_TEXT_MAX], struct bytes *field_out,
                               struct bytes *value_out);
/* SCAN step: packed hashes come whole (next cursor 0). Returns the next cursor. */
uint64_t hash_scan(const struct record *r, uint64_t cursor,
                   void (*each)(void *ctx, struct bytes field, struct bytes value), void *ctx);
/* A random field with its value; the hash is not empty. */
void hash_random(const struct record *r, struct rng *rng, char tmp_f[NUM_I64_TEXT_MAX],
                 char tmp_v[NUM_I64_TEXT_MAX], struct bytes *field_out, struct bytes *value_out);

#endif
