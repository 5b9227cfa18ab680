/* shard/types/list.h: lists. Encodings: listpack (one packed chunk), quicklist (packed chunks in a
 * counted structure: index, range and trim in O(log chunks + chunk)). Elements are bytes; those that
 * are canonical integers are packed as such and read back the same. An element over the chunk size
 * gets a chunk of its own ("plain").
 *
 * Elements given to a changing call must not lie inside the record that it changes. */
#ifndef MOON_TYPES_LIST_H
#define MOON_TYPES_LIST_H

#include "shard/base/num.h"
#include "shard/types/record.h"

enum list_end { LIST_HEAD, LIST_TAIL };

MUST_CHECK struct record *list_try_new(struct bytes key, int64_t expire_ms); /* empty */
uint64_t list_len(const struct record *r);
MUST_CHECK bool list_try_push(struct record **r, enum list_end end, struct bytes element);
/* The end's element (borrowed until the list changes; integers are written into tmp). False: empty. */
MUST_CHECK bool list_peek(const struct record *r, enum list_end end, char tmp[NUM_I64_TEXT_MAX],
                          struct bytes *out);
/* Drops `count` elements from an end (≤ len). Cannot fail. An empty list is the caller's to delete. */
void list_drop(struct record **r, enum list_end end, uint64_t count);

/* Iteration from an index (0 … len-1, negative from the tail as Redis) in a direction. The iterator
 * is invalid after any change. */
struct list_iter {
    const struct record *record;
    const void *chunk; /* NULL in a packed list */
    uint64_t index;    /* of the element that comes next */
    uint32_t at;       /* where it begins, or (backwards) ends */
    int8_t step;       /* +1, -1 */
};
MUST_CHECK bool list_iter_start(const struct record *r, int64_t index, int step,
                                struct list_iter *it_out);
MUST_CHECK bool list_iter_next(struct list_iter *it, char tmp[NUM_I64_TEXT_MAX], struct bytes *out);

MUST_CHECK bool list_try_set(struct record **r, int64_t index,
                             struct bytes element); /* index must exist */
/* Inserts so that the new element has `index` (0 … len). */
MUST_CHECK bool list_try_insert(struct record **r, uint64_t index, struct bytes element);
/* Removes `count` elements from `index` on. */
void list_remove(struct record **r, uint64_t index, uint64_t count);
/* LREM: up to `count` equal elements (0: all) from head, or from the tail if from_tail. */
uint64_t list_remove_equal(struct record **r, struct bytes element, uint64_t count, bool from_tail);

#endif
