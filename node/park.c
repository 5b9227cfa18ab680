/* `turn` is odd while others are to stand. Who comes to the begin of a pass then leaves its token to the one that
 * began the turn (TOKEN_STANDS) and goes on when the turn has moved. Who sleeps left its token free: it is taken,
 * and not woken. So all tokens in one hand is what standing means; who is in a long command is waited for, as
 * all clients of its shard wait for it. */
#include "node/park.h"

#include "node/lend.h"
#include "node/txn_priv.h"

void park_idle(struct worker *w, uint32_t *spins)
{
    const struct conn *running = w->running;
    struct for_conn running_for = w->running_for;
    worker_runs_for_nobody(w); /* what others run here meanwhile is not of that connection */
    park_here();
    txn__take_posts(w);
    txn__publish(w);
    w->running = running;
    w->running_for = running_for;
    reactor_pause(spins);
}

/* Two that want it at once: the second stands for the first. */
static void lock(struct worker *w)
{
    uint32_t spins = 0;
    while (atomic_load_explicit(&node.park.inside, memory_order_seq_cst) ||
           atomic_exchange_explicit(&node.park.locked, true, memory_order_acquire))
        park_idle(w, &spins);
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

enum gathered { ALL_STAND, GIVE_WAY, STOPS };

static enum gathered gather(struct worker *w)
{
    uint32_t spins = 0;
    for (uint32_t i = 0; i < node.shards; i++)
        while (i != w->index && !take(node.workers[i])) {
            if (atomic_load_explicit(&w->core.reactor.stop, memory_order_acquire)) return STOPS;
            if (atomic_load_explicit(&node.park.inside, memory_order_seq_cst)) return GIVE_WAY;
            reactor_pause(&spins);
        }
    return ALL_STAND;
}

bool park_begin(struct worker *w)
{
    lend__give_back(w); /* who stands for another holds no third's */
    for (;;) {
        lock(w);
        node.park.asleep = node.park.standing = 0;
        atomic_fetch_add_explicit(&node.park.turn, 1, memory_order_seq_cst);
        enum gathered g = gather(w);
        if (g == ALL_STAND) return true;
        park_end();
        if (g == STOPS) return false;
    }
}

void park_begin_inside(struct worker *w)
{
    uint32_t spins = 0;
    atomic_store_explicit(&node.park.inside, true, memory_order_seq_cst);
    while (atomic_exchange_explicit(&node.park.locked, true, memory_order_acquire))
        reactor_pause(&spins);
    node.park.asleep = node.park.held = w->lent;
    node.park.standing = 0;
    w->lent = 0;
    atomic_fetch_add_explicit(&node.park.turn, 1, memory_order_seq_cst);
    for (uint32_t i = 0; i < node.shards; i++)
        while (i != w->index && !(node.park.asleep >> i & 1) && !take(node.workers[i]))
            reactor_pause(&spins);
    atomic_store_explicit(&node.park.inside, false, memory_order_seq_cst);
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

void park_pause_inside(struct worker *w, uint32_t turn)
{
    uint32_t spins = 0;
    txn__publish(w);
    w->lent = node.park.held;
    node.park.asleep &= ~node.park.held;
    park_end();
    for (uint32_t i = 0; i < 64u << (turn < 8 ? turn : 8); i++)
        reactor_pause(&spins);
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
