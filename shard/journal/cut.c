/* shard/journal/cut.c: drop each transaction that lacks a part, together with all that follows it in
 * the logs that have one, until nothing changes. Every dropped part makes its own transaction one
 * that lacks a part, so the work is a queue: each transaction enters it at most once, each part is
 * passed at most once when its log's end moves down over it. O(n log n), by the sort. */
#include "shard/journal/cut.h"

#include <stdlib.h>
#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"

struct member { /* of a transaction: which part */
    uint64_t txid;
    uint32_t part;
};
struct tx {
    uint32_t first, count; /* members */
    bool dropped;
};
struct work {
    const struct journal_part *parts;
    uint64_t *ends;
    struct member *members; /* by txid */
    struct tx *txs;
    uint32_t *tx_of; /* part → its transaction */
    uint32_t *queue; /* dropped, and not yet spread to its logs */
    uint32_t tx_count, queued;
    uint32_t low[SHARDS_MAX],
        high[SHARDS_MAX]; /* parts of a log that are still inside: [low, high) */
};

static int by_txid(const void *a, const void *b)
{
    const struct member *x = a;
    const struct member *y = b;
    if (x->txid != y->txid) return x->txid < y->txid ? -1 : 1;
    return x->part < y->part ? -1 : 1;
}

static void drop(struct work *w, uint32_t tx)
{
    if (w->txs[tx].dropped) return;
    w->txs[tx].dropped = true;
    w->queue[w->queued++] = tx;
}

static void lower(struct work *w, uint16_t log, uint64_t lsn)
{
    if (lsn >= w->ends[log]) return;
    w->ends[log] = lsn;
    while (w->high[log] > w->low[log] && w->parts[w->high[log] - 1].lsn >= lsn)
        drop(w, w->tx_of[--w->high[log]]);
}

static void find_ranges(struct work *w, uint32_t logs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct journal_part *p = &w->parts[i];
        assert(p->log < logs);
        assert(p->lsn < w->ends[p->log]);
        bool same = i > 0 && w->parts[i - 1].log == p->log;
        if (same) assert(w->parts[i - 1].lsn <= p->lsn);
        if (!same) {
            assert(w->high[p->log] == 0); /* each log's parts stand together */
            w->low[p->log] = i;
        }
        w->high[p->log] = i + 1;
    }
}

static void find_txs(struct work *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        w->members[i] = (struct member){.txid = w->parts[i].txid, .part = i};
    qsort(w->members, count, sizeof *w->members, by_txid);
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || w->members[i].txid != w->members[i - 1].txid)
            w->txs[w->tx_count++] = (struct tx){.first = i};
        w->txs[w->tx_count - 1].count++;
        w->tx_of[w->members[i].part] = w->tx_count - 1;
    }
}

static void drop_incomplete(struct work *w)
{
    for (uint32_t t = 0; t < w->tx_count; t++) {
        uint64_t needed = 0;
        uint64_t present = 0;
        for (uint32_t m = 0; m < w->txs[t].count; m++) {
            const struct journal_part *p = &w->parts[w->members[w->txs[t].first + m].part];
            needed |= p->shards_mask;
            present |= 1ull << p->log;
        }
        if ((needed & ~present) != 0) drop(w, t);
    }
}

static void spread(struct work *w)
{
    for (uint32_t next = 0; next < w->queued; next++) {
        const struct tx *t = &w->txs[w->queue[next]];
        for (uint32_t m = 0; m < t->count; m++) {
            const struct journal_part *p = &w->parts[w->members[t->first + m].part];
            lower(w, p->log, p->lsn);
        }
    }
}

enum rc journal_cut_greatest(uint64_t *ends, uint32_t logs, const struct journal_part *parts,
                             size_t count)
{
    assert(logs <= SHARDS_MAX);
    assert(count < UINT32_MAX);
    if (count == 0) return RC_OK;
    struct work w = {.parts = parts, .ends = ends};
    size_t bytes = count * (sizeof *w.members + sizeof *w.txs + 2 * sizeof(uint32_t));
    uint8_t *room = mem_try_alloc(MEM_JOURNAL, bytes);
    if (room == NULL) return RC_NOMEM;
    w.members = (void *)room;
    w.txs = (void *)(room + count * sizeof *w.members);
    w.tx_of = (void *)(room + count * (sizeof *w.members + sizeof *w.txs));
    w.queue = w.tx_of + count;
    find_ranges(&w, logs, (uint32_t)count);
    find_txs(&w, (uint32_t)count);
    drop_incomplete(&w);
    spread(&w);
    mem_free(MEM_JOURNAL, room, bytes);
    return RC_OK;
}
