/* shard/types/set_algebra.h: what is in all of several sets, in any, in the first only. Sources are read and
 * never changed; each member of the result is told once. Absent sets are NULL. Sorted sets are sets here, too:
 * a member comes with the score that it has in the set it was taken from (1 in one without scores), which
 * means something for set_diff(): those of the first, in its order. */
#ifndef MOON_TYPES_SET_ALGEBRA_H
#define MOON_TYPES_SET_ALGEBRA_H

#include "shard/types/set.h"

struct set_sink {
    bool (*take)(void *ctx, struct set_member *m, double score); /* false: no more, please */
    /* Before some members are taken, each is shown here: to load what taking it will read. May be NULL. */
    void (*prefetch)(void *ctx, struct set_member *m);
    void *ctx;
};

/* `sets` is put into another order. */
void set_inter(const struct record **sets, uint32_t count, const struct set_sink *sink);
/* False: out of memory, nothing was told. */
MUST_CHECK bool set_union(const struct record **sets, uint32_t count, const struct set_sink *sink);
MUST_CHECK bool set_diff(const struct record **sets, uint32_t count, const struct set_sink *sink);
/* The union with members in the order in which the sets, as given, have them first; needs no memory. False: so
 * many sets that set_each() is the better way to it; nothing was told. */
MUST_CHECK bool set_union_in_order(const struct record *const *sets, uint32_t count,
                                   const struct set_sink *sink);
/* All members of all sets, those of several sets several times: for a sink that sees to it itself. */
void set_each(const struct record *const *sets, uint32_t count, const struct set_sink *sink);

/* Does Redis make this difference by copying the first set and removing from the copy what is in the others?
 * Then the result has the encoding of such a copy (set_try_new_like()). Of sets only. */
bool set_diff_is_copy(const struct record *const *sets, uint32_t count);

#endif
