/* shard/journal/track.c: parts that the cut has not passed, log by log, and their transactions by txid.
 *
 * The cut (cut.c) is computed again only when a report makes a transaction whole: without that nothing that
 * was outside can come inside, and of the log that reports only what stands before its first part does. When
 * no transaction lacks a part everything is inside, and nothing needs to be computed at all.
 *
 * Passing is for good. The greatest cut rises with the ends, so what was inside stays inside, and its parts
 * are forgotten: for the rest the logs begin behind it. Transitive waiting comes with the definition: a whole
 * transaction behind half a one in any of its logs is outside too, and so are those behind it.
 *
 * What frames name must be on disk everywhere, while `safe` may be the page cache. A vector that was the cut
 * once is one for ever: so it is remembered (`goal`), and when every log has synced up to its component,
 * that is known to be durable (`known`), and the next is taken. */
#include "shard/journal/track.h"

#include <pthread.h>
#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/base/planted.h"

struct tx {
    uint64_t txid; /* 0: free */
    uint64_t needed, present;
};
struct parts { /* of a log, by rising lsn */
    struct journal_part *part;
    uint32_t count, cap;
};
struct journal_track {
    struct journal_track_shared shared;
    pthread_mutex_t mutex; /* guards the rest */
    uint32_t logs;
    uint64_t end[SHARDS_MAX], cut[SHARDS_MAX];
    uint64_t synced[SHARDS_MAX], goal[SHARDS_MAX], known[SHARDS_MAX];
    bool has_goal;
    struct parts parts[SHARDS_MAX];
    struct tx *tx; /* open addressing by txid, at most half full */
    uint32_t tx_cap, tx_count;
    uint32_t incomplete; /* of them: lack a part */
    struct journal_part *all;
    uint32_t all_cap;
};

/* ---- life */

struct journal_track *journal_track_new(uint32_t logs)
{
    assert(logs > 0);
    assert(logs <= SHARDS_MAX);
    struct journal_track *t =
        mem_alloc_aligned(MEM_JOURNAL, _Alignof(struct journal_track), sizeof *t);
    memset(t, 0, sizeof *t);
    t->logs = logs;
    int err = pthread_mutex_init(&t->mutex, NULL);
    assert(err == 0);
    return t;
}

void journal_track_free(struct journal_track *t)
{
    if (t == NULL) return;
    for (uint32_t l = 0; l < t->logs; l++)
        mem_free(MEM_JOURNAL, t->parts[l].part, t->parts[l].cap * sizeof(struct journal_part));
    mem_free(MEM_JOURNAL, t->tx, t->tx_cap * sizeof *t->tx);
    mem_free(MEM_JOURNAL, t->all, t->all_cap * sizeof *t->all);
    (void)pthread_mutex_destroy(&t->mutex);
    mem_free_aligned(MEM_JOURNAL, t, _Alignof(struct journal_track), sizeof *t);
}

const struct journal_track_shared *journal_track_shared(const struct journal_track *t)
{
    return &t->shared;
}

static void lock(struct journal_track *t)
{
    int err = pthread_mutex_lock(&t->mutex);
    assert(err == 0);
}

static void unlock(struct journal_track *t)
{
    int err = pthread_mutex_unlock(&t->mutex);
    assert(err == 0);
}

/* ---- lock-free */

void journal_track_watch(struct journal_track *t, uint64_t logs, uint32_t shard)
{
    for (; logs != 0; logs &= logs - 1)
        atomic_fetch_or_explicit(&t->shared.log[__builtin_ctzll(logs)].watchers,
                                 UINT64_C(1) << shard, memory_order_seq_cst);
}

void journal_track_break(struct journal_track *t, uint32_t log, bool broken)
{
    if (broken)
        atomic_fetch_or_explicit(&t->shared.broken, UINT64_C(1) << log, memory_order_acq_rel);
    else
        atomic_fetch_and_explicit(&t->shared.broken, ~(UINT64_C(1) << log), memory_order_acq_rel);
}

/* The cut is stored before the watchers are read, and they sign up before they look at it. */
static uint64_t publish(struct journal_track *t, uint32_t log, uint64_t cut)
{
    struct journal_track_log *p = &t->shared.log[log];
    assert(cut >= atomic_load_explicit(&p->cut, memory_order_relaxed));
    atomic_store_explicit(&p->cut, cut, memory_order_seq_cst);
    if (likely(atomic_load_explicit(&p->watchers, memory_order_seq_cst) == 0)) return 0;
    return atomic_exchange_explicit(&p->watchers, 0, memory_order_seq_cst);
}

/* ---- transactions */

static uint32_t tx_home(const struct journal_track *t, uint64_t txid)
{
    return (uint32_t)((txid * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (t->tx_cap - 1);
}

static struct tx *tx_find(const struct journal_track *t, uint64_t txid)
{
    uint32_t i = tx_home(t, txid);
    while (t->tx[i].txid != 0 && t->tx[i].txid != txid)
        i = (i + 1) & (t->tx_cap - 1);
    return &t->tx[i];
}

static void tx_grow(struct journal_track *t)
{
    struct tx *old = t->tx;
    uint32_t old_cap = t->tx_cap;
    t->tx_cap = old_cap == 0 ? 64 : old_cap * 2;
    t->tx = mem_zalloc(MEM_JOURNAL, t->tx_cap * sizeof *t->tx);
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i].txid != 0) *tx_find(t, old[i].txid) = old[i];
    mem_free(MEM_JOURNAL, old, old_cap * sizeof *old);
}

/* Those behind it that its place kept from theirs move up. */
static void tx_remove(struct journal_track *t, struct tx *x)
{
    uint32_t mask = t->tx_cap - 1, hole = (uint32_t)(x - t->tx), i = hole;
    t->tx_count--;
    while (t->tx[i = (i + 1) & mask].txid != 0) {
        uint32_t home = tx_home(t, t->tx[i].txid);
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        t->tx[hole] = t->tx[i];
        hole = i;
    }
    t->tx[hole] = (struct tx){.txid = 0};
}

static void parts_room(struct journal_part **part, uint32_t *cap, uint32_t count)
{
    if (count <= *cap) return;
    uint32_t grown = *cap == 0 ? 64 : *cap;
    while (grown < count)
        grown *= 2;
    *part = mem_resize(MEM_JOURNAL, *part, *cap * sizeof **part, grown * sizeof **part);
    *cap = grown;
}

/* True: its transaction lacks nothing now. */
static bool add_part(struct journal_track *t, const struct journal_part *p)
{
    struct parts *to = &t->parts[p->log];
    parts_room(&to->part, &to->cap, to->count + 1);
    to->part[to->count++] = *p;
    if ((t->tx_count + 1) * 2 > t->tx_cap) tx_grow(t);
    struct tx *x = tx_find(t, p->txid);
    if (x->txid == 0) {
        *x = (struct tx){.txid = p->txid, .needed = p->shards_mask};
        t->tx_count++;
        t->incomplete++;
    }
    assert(x->needed == p->shards_mask);
    assert((x->present >> p->log & 1) == 0); /* one part a log */
    x->present |= UINT64_C(1) << p->log;
    if ((x->needed & ~x->present) != 0) return false;
    t->incomplete--;
    return true;
}

/* ---- the cut */

static void forget_all(struct journal_track *t)
{
    for (uint32_t l = 0; l < t->logs; l++)
        t->parts[l].count = 0;
    memset(t->tx, 0, t->tx_cap * sizeof *t->tx);
    t->tx_count = 0;
}

static void forget_passed(struct journal_track *t, uint32_t log)
{
    struct parts *p = &t->parts[log];
    uint32_t passed = 0;
    for (; passed < p->count && p->part[passed].lsn < t->cut[log]; passed++) {
        struct tx *x = tx_find(t, p->part[passed].txid);
        assert(x->txid != 0);
        x->present &= ~(UINT64_C(1) << log);
        if (x->present == 0) tx_remove(t, x); /* its other parts passed too: it is a cut */
    }
    p->count -= passed;
    if (passed > 0) memmove(p->part, p->part + passed, p->count * sizeof *p->part);
}

static void compute(struct journal_track *t)
{
    uint32_t count = 0;
    for (uint32_t l = 0; l < t->logs; l++)
        count += t->parts[l].count;
    parts_room(&t->all, &t->all_cap, count);
    count = 0;
    for (uint32_t l = 0; l < t->logs; l++) {
        if (t->parts[l].count > 0)
            memcpy(t->all + count, t->parts[l].part, t->parts[l].count * sizeof *t->all);
        count += t->parts[l].count;
    }
    memcpy(t->cut, t->end, sizeof t->cut);
    enum rc rc = journal_cut_greatest(t->cut, t->logs, t->all, count);
    assert(rc == RC_OK); /* as all of mem_alloc */
    for (uint32_t l = 0; l < t->logs; l++)
        forget_passed(t, l);
}

static void take_known(struct journal_track *t)
{
    while (true) {
        if (t->has_goal) {
            for (uint32_t l = 0; l < t->logs; l++)
                if (t->synced[l] < t->goal[l]) return;
            memcpy(t->known, t->goal, sizeof t->known);
            t->has_goal = false;
        }
        if (memcmp(t->known, t->cut, sizeof t->known) == 0) return;
        memcpy(t->goal, t->cut, sizeof t->goal);
        t->has_goal = true;
    }
}

static uint64_t publish_risen(struct journal_track *t, uint32_t log, const uint64_t *before)
{
    uint64_t wake = 0;
    for (uint32_t l = 0; l < t->logs; l++) {
        if (planted(OWN_GATE)) {
            if (l == log) wake |= publish(t, l, t->end[l]);
            continue;
        }
        if (t->cut[l] == before[l]) continue;
        wake |= publish(t, l, t->cut[l]) | UINT64_C(1) << l;
    }
    return wake & ~(UINT64_C(1) << log);
}

static uint64_t report(struct journal_track *t, uint32_t log, uint64_t end,
                       const struct journal_part *part, uint32_t count)
{
    uint64_t before[SHARDS_MAX];
    bool whole = false;
    memcpy(before, t->cut, sizeof before);
    for (uint32_t i = 0; i < count; i++)
        whole |= add_part(t, &part[i]);
    /* Another policy may promise less for a while, and while a log had no part it published without us. */
    uint64_t published = atomic_load_explicit(&t->shared.log[log].cut, memory_order_relaxed);
    if (end < published) end = published;
    if (end > t->end[log]) t->end[log] = end;
    if (!whole) {
        t->cut[log] = t->parts[log].count > 0 ? t->parts[log].part[0].lsn : t->end[log];
    } else if (t->incomplete > 0) {
        compute(t);
    } else {
        memcpy(t->cut, t->end, sizeof t->cut);
        forget_all(t);
    }
    return publish_risen(t, log, before);
}

/* ---- a log's side */

void journal_tail_open(struct journal_tail *t, struct journal_track *track, uint32_t log,
                       uint64_t lsn)
{
    *t =
        (struct journal_tail){.track = track, .log = log, .seen = lsn, .known = lsn, .synced = lsn};
    if (track == NULL) return;
    t->shared = &track->shared;
    lock(track);
    track->end[log] = track->cut[log] = track->synced[log] = track->known[log] = lsn;
    (void)publish(track, log, lsn);
    unlock(track);
}

void journal_tail_close(struct journal_tail *t)
{
    mem_free(MEM_JOURNAL, t->parts, t->cap * sizeof *t->parts);
    *t = (struct journal_tail){.track = NULL};
}

void journal_tail_part(struct journal_tail *t, uint64_t txid, uint64_t shards_mask, uint64_t begin,
                       uint64_t end)
{
    assert(shards_mask >> t->log & 1);
    if (t->track == NULL || (shards_mask & (shards_mask - 1)) == 0) return; /* whole by itself */
    assert((shards_mask >> (t->track->logs - 1)) >> 1 == 0);
    parts_room(&t->parts, &t->cap, t->count + 1);
    t->parts[t->count++] = (struct journal_part){
        .txid = txid, .lsn = begin, .shards_mask = shards_mask, .log = (uint16_t)t->log};
    t->newest = end;
    t->unfinished = t->unsettled = true;
}

bool journal_tail_look(struct journal_tail *t)
{
    uint64_t cut = journal_track_cut(t->shared, t->log);
    bool rose = cut != t->seen;
    t->seen = cut;
    if (t->count == 0 && cut >= t->newest) t->unfinished = false;
    return rose;
}

/* Parts that lie below `safe` leave for the track. */
static uint64_t report_parts(struct journal_tail *t, uint64_t safe)
{
    uint32_t n = 0;
    while (n < t->count && t->parts[n].lsn < safe)
        n++;
    uint64_t wake = report(t->track, t->log, safe, t->parts, n);
    t->count -= n;
    if (n > 0) memmove(t->parts, t->parts + n, t->count * sizeof *t->parts);
    return wake;
}

static COLD uint64_t moved_slow(struct journal_tail *t, uint64_t safe, uint64_t synced)
{
    struct journal_track *track = t->track;
    uint64_t wake = 0;
    lock(track);
    if (t->unfinished) wake = report_parts(t, safe);
    if (synced > t->synced) track->synced[t->log] = t->synced = synced;
    take_known(track);
    t->known = track->known[t->log];
    /* Vectors to come may have our component as it is: it must be told as synced before we fall silent. */
    if (t->known >= t->newest && track->synced[t->log] >= track->cut[t->log]) t->unsettled = false;
    unlock(track);
    return wake;
}

uint64_t journal_tail_moved(struct journal_tail *t, uint64_t safe, uint64_t synced)
{
    if (t->track == NULL) return 0;
    uint64_t wake = 0;
    bool finished = !t->unfinished;
    if (unlikely(t->unsettled) && (t->unfinished || synced > t->synced))
        wake = moved_slow(t, safe, synced);
    if (likely(finished) && safe > journal_track_cut(t->shared, t->log))
        wake |= publish(t->track, t->log, safe);
    (void)journal_tail_look(t);
    return wake & ~(UINT64_C(1) << t->log);
}
