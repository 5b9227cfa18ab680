/* shard/base/arena.h: scratch memory with marks: all temporaries of a command, freed at once. */
#ifndef MOON_BASE_ARENA_H
#define MOON_BASE_ARENA_H

#include "shard/base/mem.h"

struct arena_block;
struct arena {
    struct arena_block *head;
    uint8_t *next, *end;
};
struct arena_mark {
    struct arena_block *head;
    uint8_t *next;
};

void arena_init(struct arena *a);
void arena_free(struct arena *a);
/* 16-byte aligned, uninitialised; aborts when out of memory (callers bound their asks). */
void *arena_alloc_slow(struct arena *a, size_t bytes);
static inline void *arena_alloc(struct arena *a, size_t bytes)
{
    size_t n = (bytes + 15) & ~(size_t)15;
    if (likely((size_t)(a->end - a->next) >= n)) {
        void *p = a->next;
        a->next += n;
        return p;
    }
    return arena_alloc_slow(a, n);
}
static inline struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){.head = a->head, .next = a->next};
}
/* Everything since the mark is gone. Keeps at most one spare block. */
void arena_rewind(struct arena *a, struct arena_mark mark);

#endif
