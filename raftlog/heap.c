/* raftlog/heap.c: libraft's memory, counted under MEM_RAFT. Its frees do not say the size, so each
 * block keeps it in front. Small and bounded by our limits, so running out aborts, as mem_alloc() does:
 * libraft's own handling of it leaves half-done state. */
#include "raftlog/raftlog_priv.h"

#include "shard/base/assert.h"
#include "shard/base/mem.h"

#define FRONT 16u /* keeps the alignment */

static void *heap_take(size_t bytes, bool zero)
{
    size_t total = bytes + FRONT;
    uint8_t *p = zero ? mem_zalloc(MEM_RAFT, total) : mem_alloc(MEM_RAFT, total);
    memcpy(p, &total, sizeof total);
    return p + FRONT;
}

static void *heap_malloc(void *data, size_t bytes)
{
    (void)data;
    return heap_take(bytes, false);
}

static void heap_free(void *data, void *p)
{
    (void)data;
    if (p == NULL) return;
    size_t total;
    memcpy(&total, (uint8_t *)p - FRONT, sizeof total);
    mem_free(MEM_RAFT, (uint8_t *)p - FRONT, total);
}

static void *heap_calloc(void *data, size_t count, size_t bytes)
{
    (void)data;
    assert(bytes == 0 || count <= SIZE_MAX / 2 / bytes);
    return heap_take(count * bytes, true);
}

static void *heap_realloc(void *data, void *p, size_t bytes)
{
    void *fresh = heap_take(bytes, false);
    if (p == NULL) return fresh;
    size_t total;
    memcpy(&total, (uint8_t *)p - FRONT, sizeof total);
    size_t old = total - FRONT;
    memcpy(fresh, p, old < bytes ? old : bytes);
    heap_free(data, p);
    return fresh;
}

static void *heap_aligned(void *data, size_t align, size_t bytes)
{
    assert(align <= FRONT);
    return heap_malloc(data, bytes);
}

static void heap_aligned_free(void *data, size_t align, void *p)
{
    (void)align;
    heap_free(data, p);
}

void rl__heap_use(void)
{
    static struct raft_heap heap = {
        .malloc = heap_malloc,
        .free = heap_free,
        .calloc = heap_calloc,
        .realloc = heap_realloc,
        .aligned_alloc = heap_aligned,
        .aligned_free = heap_aligned_free,
    };
    raft_heap_set(&heap);
}
