/* shard/types/window.h: pulling the items of a table one by one: a window over one bucket chain at a
 * time, refilled as it runs empty. Part of the iterators of hashes and sets. */
#ifndef MOON_TYPES_WINDOW_H
#define MOON_TYPES_WINDOW_H

#include "shard/base/assert.h"
#include "shard/ds/table.h"

#define WINDOW_ITEMS 16
struct window {
    const struct table *table;
    uint32_t bucket; /* home bucket to be read next */
    uint32_t skip;   /* entries of that bucket already handed out */
    uint32_t next, filled;
    void *items[WINDOW_ITEMS];
};

void window_start(struct window *w, const struct table *t);
/* The next item, NULL at the end. The table must not have changed since the start. */
void *window_next(struct window *w);

#endif
