/* A chain seldom holds more than 14 entries, so a window is nearly always a whole chain. A longer one
 * is read again with what was seen skipped. */
#include "shard/types/window.h"

struct fill {
    struct window *w;
    uint32_t seen;
};

static void fill_one(void *ctx, void *item)
{
    struct fill *f = ctx;
    if (f->seen++ < f->w->skip || f->w->filled == WINDOW_ITEMS) return;
    f->w->items[f->w->filled++] = item;
    __builtin_prefetch(item); /* the items of a chain are misses of their own: let them overlap */
}

static void refill(struct window *w)
{
    w->next = w->filled = 0;
    while (w->filled == 0 && w->bucket < w->table->buckets) {
        struct fill f = {.w = w, .seen = 0};
        table_bucket_each(w->table, w->bucket, fill_one, &f);
        if (w->skip + w->filled == f.seen) {
            w->bucket++;
            w->skip = 0;
        } else {
            w->skip += w->filled;
        }
    }
}

void window_start(struct window *w, const struct table *t)
{
    w->table = t;
    w->bucket = w->skip = w->next = w->filled = 0;
}

void *window_next(struct window *w)
{
    assert(w->next <= w->filled);
    if (w->next == w->filled) refill(w);
    return w->next < w->filled ? w->items[w->next++] : NULL;
}
