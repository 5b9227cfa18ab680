/* `turn` is odd while others are to stand; they count themselves in `arrived`, which begins at 0 for each
 * turn, and go on when it has moved: who is late to notice finds a newer turn, never counts twice. A peer that
 * sleeps is woken; one in a long command is waited for, as all clients of its shard wait for it. */
#include "node/park.h"

#include <sched.h>

#include "node/worker.h"

#define SPINS 200 /* then the CPU may be needed by the one that is waited for */

static void pause_a_little(uint32_t *spins)
{
    if (++*spins > SPINS) (void)sched_yield();
}

/* Two that want it at once: the second stands for the first. */
static void lock(void)
{
    uint32_t spins = 0;
    while (atomic_exchange_explicit(&node.park.locked, true, memory_order_acquire)) {
        park_here();
        pause_a_little(&spins);
    }
}

bool park_begin(struct worker *w)
{
    uint32_t spins = 0;
    lock();
    atomic_store_explicit(&node.park.arrived, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&node.park.turn, 1, memory_order_seq_cst);
    for (uint32_t i = 0; i < node.shards; i++)
        if (i != w->index) reactor_wake(&node.workers[i]->core.reactor);
    while (atomic_load_explicit(&node.park.arrived, memory_order_acquire) < node.shards - 1) {
        if (atomic_load_explicit(&w->core.reactor.stop, memory_order_acquire)) {
            park_end();
            return false;
        }
        pause_a_little(&spins);
    }
    return true;
}

void park_end(void)
{
    atomic_fetch_add_explicit(&node.park.turn, 1, memory_order_release);
    atomic_store_explicit(&node.park.locked, false, memory_order_release);
}

void park__stand(void)
{
    uint32_t spins = 0;
    uint64_t turn = atomic_load_explicit(&node.park.turn, memory_order_acquire);
    if (!(turn & 1)) return;
    atomic_fetch_add_explicit(&node.park.arrived, 1, memory_order_acq_rel);
    while (atomic_load_explicit(&node.park.turn, memory_order_acquire) == turn)
        pause_a_little(&spins);
}
