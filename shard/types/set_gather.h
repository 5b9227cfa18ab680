/* shard/types/set_gather.h: members gathered from several sets and sorted sets, each once, each with a
 * number: the temporary of unions and differences. An array of entries in the order in which they came, and
 * beside it, where members have to be found again, an index by hash. Members are borrowed from the values
 * they stand in, but for those that the caller's buffer holds, which are copied. Knows no encoding. */
#ifndef MOON_TYPES_SET_GATHER_H
#define MOON_TYPES_SET_GATHER_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"

struct gather_entry {
    const uint8_t *data;
    uint64_t hash; /* with an index only */
    double score;
    uint32_t len;
};
struct gather_text; /* a block of copied members */
struct gather {
    struct gather_entry *entries;
    uint64_t *index; /* hash bits 32–63 | number of the entry + 1; 0: free; NULL: no index */
    struct gather_text *texts;
    uint32_t count, cap;
    uint32_t mask; /* places of the index - 1 */
};

static inline struct bytes gather_member(const struct gather_entry *e)
{
    return bytes_view(e->data, e->len);
}

/* Empty, with room for `expected` entries; more come as they must. False: out of memory, nothing to free. */
MUST_CHECK bool gather_init(struct gather *g, uint64_t expected, bool indexed);
void gather_free(struct gather *g);
/* Starts loading the place where a member of this hash is looked for. */
void gather_prefetch(const struct gather *g, uint64_t hash);
/* NULL: not there. Needs the index, as gather_put() does. */
const struct gather_entry *gather_find(const struct gather *g, uint64_t hash, struct bytes member);
/* The member's entry, made with score 0 if it was not there (*added_out); valid until the next one is made.
 * `copied`: the member's bytes do not last. NULL: out of memory, nothing changed. */
MUST_CHECK struct gather_entry *gather_put(struct gather *g, uint64_t hash, struct bytes member,
                                           bool copied, bool *added_out);
/* A member that is known to be new; without index. The same otherwise. */
MUST_CHECK struct gather_entry *gather_append(struct gather *g, struct bytes member, bool copied);
/* By score, then by member; the index is of no more use. Takes little more than O(n) if the entries came as
 * a few runs in order. False: out of memory. */
MUST_CHECK bool gather_sort(struct gather *g);

#endif
