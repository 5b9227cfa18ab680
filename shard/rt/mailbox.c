/* shard/rt/mailbox.c: the ring between two cores.
 *
 *   | head 8 B | message … pad to 8 | head | message |  skip  |     a message never wraps: when it does
 *   ^ taken                         ^ published      ^ tail         not fit before the end, a head with
 *                                                                   SKIP sends the consumer to the start
 *
 * Positions only grow; the offset is position mod size. Each side owns its cache line and keeps a copy
 * of the other's position, which it refreshes only when the copy says full (or empty): two cores that
 * keep up with each other exchange one line per batch.
 *
 * `published` and what precedes reactor.sleeping are sequentially consistent: a producer stores
 * published, then loads sleeping; a consumer stores sleeping, then loads published. At least one of the
 * two sees the other, so no message is slept over. */
#include "shard/rt/mailbox.h"

#include <stdatomic.h>

#include "shard/base/assert.h"
#include "shard/base/limits.h"
#include "shard/base/mem.h"

#define LINE 128 /* pairs of lines are fetched together */
#define HEAD_BYTES 8u
#define AHEAD_BYTES 1024u
#define SKIP UINT32_MAX

struct mailbox {
    _Alignas(LINE) _Atomic uint64_t published; /* written by the producer, read by the consumer */
    _Alignas(LINE) _Atomic uint64_t taken;     /* the other way round */

    _Alignas(LINE) uint64_t tail; /* producer: pushed, perhaps not yet published */
    uint64_t reserved_at;         /* where the reserved message will lie (after a skip) */
    uint64_t reserved_bytes;
    uint64_t taken_seen;

    _Alignas(LINE) uint64_t head; /* consumer: handed out, perhaps not yet released */
    uint64_t published_seen;

    _Alignas(LINE) uint64_t size; /* both, never written */
    uint8_t *ring;
};
struct head {
    uint32_t bytes; /* or SKIP */
    uint32_t used;  /* ring bytes of head and message */
};
static_assert(sizeof(struct head) == HEAD_BYTES, "messages start 8-byte aligned");

static uint64_t ring_bytes(uint64_t message_bytes)
{
    return HEAD_BYTES + ((message_bytes + 7) & ~7ull);
}

static struct head *head_at(const struct mailbox *m, uint64_t position)
{
    return (void *)(m->ring + (position & (m->size - 1)));
}

struct mailbox *mailbox_new(size_t bytes)
{
    assert(bytes >= 64);
    assert((bytes & (bytes - 1)) == 0);
    assert(bytes < SKIP);
    struct mailbox *m = mem_alloc_aligned(MEM_RT, LINE, sizeof *m);
    *m = (struct mailbox){.size = bytes};
    m->ring = mem_alloc_aligned(MEM_RT, LINE, bytes);
    return m;
}

void mailbox_free(struct mailbox *m)
{
    if (m == NULL) return;
    mem_free_aligned(MEM_RT, m->ring, LINE, m->size);
    mem_free_aligned(MEM_RT, m, LINE, sizeof *m);
}

/* Ring bytes from `tail` on for a message of `need`, the skip included. */
static uint64_t with_skip(const struct mailbox *m, uint64_t need)
{
    uint64_t to_end = m->size - (m->tail & (m->size - 1));
    return need <= to_end ? need : to_end + need;
}

static uint64_t room_fresh(struct mailbox *m)
{
    m->taken_seen = atomic_load_explicit(&m->taken, memory_order_acquire);
    assert(m->tail - m->taken_seen <= m->size); /* more would mean a consumer ran past us */
    return m->size - (m->tail - m->taken_seen);
}

void *mailbox_reserve(struct mailbox *m, size_t bytes)
{
    assert(bytes <= m->size / 4);
    uint64_t need = ring_bytes(bytes);
    uint64_t span = with_skip(m, need);
    bool fits = m->size - (m->tail - m->taken_seen) >= span || room_fresh(m) >= span;
    if (!fits) return NULL;
    m->reserved_at = m->tail + span - need;
    m->reserved_bytes = bytes;
    return (uint8_t *)head_at(m, m->reserved_at) + HEAD_BYTES;
}

void mailbox_push(struct mailbox *m, size_t bytes)
{
    assert(m->reserved_at >= m->tail);
    assert(bytes <= m->reserved_bytes);
    if (m->reserved_at != m->tail)
        *head_at(m, m->tail) =
            (struct head){.bytes = SKIP, .used = (uint32_t)(m->reserved_at - m->tail)};
    uint32_t used = (uint32_t)ring_bytes(bytes);
    *head_at(m, m->reserved_at) = (struct head){.bytes = (uint32_t)bytes, .used = used};
    m->tail = m->reserved_at + used;
    /* The consumer has had these lines: we fetch those of the next message before it is written. */
    for (uint64_t ahead = 0; ahead < used && ahead < AHEAD_BYTES; ahead += 64)
        __builtin_prefetch((uint8_t *)head_at(m, m->tail + ahead), 1);
    m->reserved_at = 0; /* a second push without a reserve is caught above */
    m->reserved_bytes = 0;
}

bool mailbox_publish(struct mailbox *m)
{
    if (atomic_load_explicit(&m->published, memory_order_relaxed) == m->tail) return false;
    atomic_store_explicit(&m->published, m->tail, memory_order_seq_cst);
    return true;
}

static size_t room_from(const struct mailbox *m, uint64_t taken)
{
    uint64_t room = m->size - (m->tail - taken);
    uint64_t to_end = m->size - (m->tail & (m->size - 1));
    uint64_t here = room < to_end ? room : to_end;
    uint64_t there = room > to_end ? room - to_end : 0;
    uint64_t best = here > there ? here : there;
    uint64_t message = best > HEAD_BYTES ? best - HEAD_BYTES : 0;
    return message < m->size / 4 ? message : m->size / 4;
}

size_t mailbox_room(const struct mailbox *m)
{
    size_t room = room_from(m, m->taken_seen); /* asked per message: spares the other core's line */
    if (room == m->size / 4) return room;
    return room_from(m, atomic_load_explicit(&m->taken, memory_order_seq_cst));
}

bool mailbox_has_spare(struct mailbox *m, size_t bytes)
{
    uint64_t span = with_skip(m, ring_bytes(bytes)), keep = m->size / 8 * 5;
    return m->size - (m->tail - m->taken_seen) >= span + keep || room_fresh(m) >= span + keep;
}

bool mailbox_next(struct mailbox *m, void **message_out, size_t *bytes_out)
{
    while (true) {
        if (m->head == m->published_seen) {
            m->published_seen = atomic_load_explicit(&m->published, memory_order_acquire);
            if (m->head == m->published_seen) return false;
        }
        struct head *h = head_at(m, m->head);
        assert(h->used <= m->published_seen - m->head);
        m->head += h->used;
        if (h->bytes == SKIP) continue;
        *message_out = (uint8_t *)h + HEAD_BYTES;
        *bytes_out = h->bytes;
        return true;
    }
}

/* A producer waits when at least 7/8 are taken up. If we saw no more than a quarter of that, another half
 * becomes visible to us before the ring is empty, and the release after it rings. That one is sequentially
 * consistent, as published above: the producer, about to sleep, sees it, or we see it asleep. */
bool mailbox_release(struct mailbox *m)
{
    uint64_t before = atomic_load_explicit(&m->taken, memory_order_relaxed);
    if (before == m->head) return false;
    if (likely(m->published_seen - before <= m->size / 4)) {
        atomic_store_explicit(&m->taken, m->head, memory_order_release);
        return false;
    }
    atomic_store_explicit(&m->taken, m->head, memory_order_seq_cst);
    return true;
}

bool mailbox_pending(const struct mailbox *m)
{
    return atomic_load_explicit(&m->published, memory_order_seq_cst) != m->head;
}
