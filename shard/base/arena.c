/* shard/base/arena.c: blocks of scratch, newest first. Rewinding to the beginning keeps one block
 * of the usual size in place, so that the next command starts without the heap. Under sanitizers
 * every allocation is a block of its own: overruns and uses after the rewind are seen. */
#include "shard/base/arena.h"

#include "shard/base/assert.h"

#define ARENA_BLOCK_BYTES ((size_t)32 << 10)

struct arena_block {
    struct arena_block *prev;
    size_t bytes; /* with this head */
};
static_assert(sizeof(struct arena_block) == 16, "what follows is 16-byte aligned");

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

static uint8_t *block_start(struct arena_block *b)
{
    return (uint8_t *)(b + 1);
}

static uint8_t *block_end(struct arena_block *b)
{
    return (uint8_t *)b + b->bytes;
}

static void pop(struct arena *a)
{
    struct arena_block *b = a->head;
    a->head = b->prev;
    mem_free(MEM_EXEC, b, b->bytes);
}

void arena_free(struct arena *a)
{
    while (a->head != NULL)
        pop(a);
    arena_init(a);
}

void *arena_alloc_slow(struct arena *a, size_t bytes)
{
    size_t block_bytes = bytes + sizeof(struct arena_block);
    assert(block_bytes > bytes);
#ifndef MOON_SANITIZE
    if (block_bytes < ARENA_BLOCK_BYTES) block_bytes = ARENA_BLOCK_BYTES;
#endif
    struct arena_block *b = mem_alloc(MEM_EXEC, block_bytes);
    *b = (struct arena_block){.prev = a->head, .bytes = block_bytes};
    a->head = b;
    a->next = block_start(b) + bytes;
    a->end = block_end(b);
    return block_start(b);
}

void arena_rewind(struct arena *a, struct arena_mark mark)
{
    if (a->head == mark.head && mark.head != NULL) {
        a->next = mark.next;
        return;
    }
    /* A mark of an empty arena has no block: it stands for "before the first one". */
#ifndef MOON_SANITIZE
    while (a->head != NULL && a->head->prev != mark.head)
        pop(a);
    if (mark.head == NULL && a->head != NULL && a->head->bytes == ARENA_BLOCK_BYTES) {
        a->next = block_start(a->head);
        a->end = block_end(a->head);
        return;
    }
#endif
    while (a->head != mark.head) {
        assert(a->head != NULL); /* a mark of another arena, or one already rewound past */
        pop(a);
    }
    a->next = mark.next;
    a->end = mark.head != NULL ? block_end(mark.head) : NULL;
}
