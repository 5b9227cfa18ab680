/* `turn` is odd while others are to stand. Who comes to the begin of a pass then leaves its token to the one that
 * began the turn (TOKEN_STANDS) and goes on when the turn has moved. Who sleeps left its token free: it is taken,
 * and not woken. So all tokens in one hand is what standing means; who is in a long command is waited for, as
 * all clients of its shard wait for it. */
#include "node/park.h"

#include "node/lend.h"

/* Two that want it at once: the second stands for the first. */
static void lock(void)
{
    uint32_t spins = 0;
    while (atomic_exchange_explicit(&node.park.locked, true, memory_order_acquire)) {
        park_here();
        reactor_pause(&spins);
    }
}

static bool take(struct worker *peer)
{
    uint64_t bit = UINT64_C(1) << peer->index;
    if (reactor_try_take(&peer->core.reactor, TOKEN_FREE)) {
        node.park.asleep |= bit;
        return true;
    }
    if (!reactor_try_take(&peer->core.reactor, TOKEN_STANDS)) return false;
    node.park.standing |= bit;
    return true;
}

bool park_begin(struct worker *w)
{
    uint32_t spins = 0;
    lend__give_back(w); /* who stands for another holds no third's */
    lock();
    node.park.asleep = node.park.standing = 0;
    atomic_fetch_add_explicit(&node.park.turn, 1, memory_order_seq_cst);
    for (uint32_t i = 0; i < node.shards; i++) {
        while (i != w->index && !take(node.workers[i])) {
            if (atomic_load_explicit(&w->core.reactor.stop, memory_order_acquire)) {
                park_end();
                return false;
            }
            reactor_pause(&spins);
        }
    }
    return true;
}

void park_end(void)
{
    uint64_t asleep = node.park.asleep, standing = node.park.standing;
    for (uint64_t left = asleep; left != 0; left &= left - 1) {
        struct worker *peer = node.workers[__builtin_ctzll(left)];
        bool wake = lend__settle(peer);
        reactor_give(&peer->core.reactor, TOKEN_FREE);
        if (wake) reactor_wake(&peer->core.reactor);
    }
    for (uint64_t left = standing; left != 0; left &= left - 1)
        reactor_give(&node.workers[__builtin_ctzll(left)]->core.reactor, TOKEN_STANDS);
    atomic_fetch_add_explicit(&node.park.turn, 1, memory_order_release);
    atomic_store_explicit(&node.park.locked, false, memory_order_release);
}

void park__stand(void)
{
    struct reactor *r = &worker_self()->core.reactor;
    uint32_t spins = 0;
    uint64_t turn = atomic_load_explicit(&node.park.turn, memory_order_acquire);
    if (!(turn & 1)) return;
    reactor_give(r, TOKEN_STANDS);
    while (atomic_load_explicit(&node.park.turn, memory_order_acquire) == turn ||
           !reactor_try_take(r, TOKEN_STANDS))
        reactor_pause(&spins);
}
