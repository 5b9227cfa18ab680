/* What replies of a shard wait for, and transactions, for whose sake they do.
 *
 *   always          until the newest position of the slots that were looked at is durable; after a change to another
 *                   level until the kernel has what was under way then (`gated` ends later than the level)
 *   unfinished part until the cut has passed the newest position of the whole shard: whoever looked may
 *                   have seen what the part did, or what was done because of it
 *
 * While any log cannot be written (`lifted`, seen once per pass) a part may never become whole. Then nothing
 * waits for the cut, what waited becomes an error (node), and no write is let in: nothing that a recovery might
 * drop is acknowledged. */
#include "shard/exec/core.h"
#include "shard/exec/exec_priv.h"

/* ---- transactions */

#define TX_MARK_BYTES 64u

void core_tx_begin(struct core *c, uint64_t txid, uint64_t shards_mask)
{
    assert(!c->tx.open);
    assert((txid == 0) == (shards_mask == 0));
    if (c->journal == NULL) return;
    /* A log that refuses gets its marker all the same: it waits in memory like all that was appended. */
    enum rc rc = journal_reserve(c->journal, TX_MARK_BYTES);
    (void)rc;
    c->tx = (struct core_tx){.txid = txid,
                             .shards_mask = shards_mask,
                             .begin_lsn = journal_lsn(c->journal),
                             .since_lsn = journal_lsn(c->journal),
                             .open = true};
    journal_group_begin(c->journal);
}

/* The other shards' parts name this one: without a part here recovery would drop theirs. */
static void mark_part(struct core *c)
{
    struct journal_head head = {.opcode = OP_TX,
                                .slot = JOURNAL_SLOT_ALL,
                                .txid = c->tx.txid,
                                .shards_mask = c->tx.shards_mask};
    journal_append(c->journal, &head, NULL, 0);
}

static bool lacks_part(const struct core *c)
{
    return c->tx.txid != 0 && journal_lsn(c->journal) == c->tx.since_lsn;
}

/* Beyond the one for which core_tx_begin() took room. */
static void mark_more(struct core *c)
{
    enum rc rc = journal_reserve(c->journal, TX_MARK_BYTES);
    (void)rc; /* as there */
    mark_part(c);
}

void core_tx_widen(struct core *c, uint64_t txid, uint64_t shards_mask)
{
    if (c->journal == NULL) return;
    assert(c->tx.open);
    c->tx.txid = txid;
    c->tx.shards_mask = shards_mask;
    c->tx.since_lsn = journal_lsn(c->journal);
}

void core_tx_mark(struct core *c)
{
    if (c->journal != NULL && lacks_part(c)) mark_more(c);
}

void core_tx_end(struct core *c)
{
    if (c->journal == NULL) return;
    assert(c->tx.open);
    if (lacks_part(c)) mark_more(c);
    journal_group_end(c->journal);
    if (c->tx.txid != 0)
        journal_tail_part(&c->tail, c->tx.txid, c->tx.shards_mask, c->tx.begin_lsn,
                          journal_lsn(c->journal));
    c->waits = c->gated || c->tail.unfinished;
    c->gate_lsn = core_gate(c);
    c->tx = (struct core_tx){.open = false};
}

bool core_tx_has_logged(const struct core *c)
{
    return c->journal != NULL && journal_lsn(c->journal) != c->tx.begin_lsn;
}

void core_tx_cancel(struct core *c)
{
    if (c->journal == NULL) return;
    assert(c->tx.open);
    assert(!core_tx_has_logged(c));
    journal_group_end(c->journal);
    c->tx = (struct core_tx){.open = false};
}

/* ---- gates */

void core_set_gated(struct core *c, bool gated)
{
    if (gated && c->slot_lsn == NULL)
        c->slot_lsn = mem_alloc(MEM_EXEC, SLOT_COUNT * sizeof *c->slot_lsn);
    /* Whatever was written before gates began counts as looked at: nothing older may slip out. */
    if (gated && !c->gated)
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
            c->slot_lsn[slot] = core_newest_lsn(c);
    c->gated = gated && c->journal != NULL;
    c->waits = c->gated || c->tail.unfinished;
}

void core_set_track(struct core *c, struct journal_track *track)
{
    if (c->journal == NULL || track == NULL) return;
    journal_tail_open(&c->tail, track, c->index, journal_lsn(c->journal));
}

static bool waits_for_cut(const struct core *c)
{
    return c->tail.unfinished && !c->lifted;
}

uint64_t core_gate(const struct core *c)
{
    return c->gated || waits_for_cut(c) ? core_newest_lsn(c) : 0;
}

/* Commands not bound to slots: KEYS and RANDOMKEY show what any write of this shard made. */
void core__gate(struct core *c, const struct cmd_spec *spec)
{
    if (waits_for_cut(c) || spec->keys.first == 0) c->gate_lsn = core_gate(c);
}

uint64_t core_released(const struct core *c)
{
    uint64_t safe = c->gated && c->journal != NULL ? journal_safe_lsn(c->journal) : UINT64_MAX;
    if (!waits_for_cut(c)) return safe;
    uint64_t cut = journal_track_cut(c->tail.shared, c->tail.log);
    return cut < safe ? cut : safe;
}

bool core_look_at_cut(struct core *c)
{
    if (!c->tail.unfinished) return false;
    bool rose = journal_tail_look(&c->tail);
    c->waits = c->gated || c->tail.unfinished;
    return rose;
}

uint64_t core_log_moved(struct core *c)
{
    struct journal *j = c->journal;
    if (c->tail.track == NULL || j == NULL) return 0;
    uint64_t wake = journal_tail_moved(&c->tail, journal_safe_lsn(j), journal_durable_lsn(j));
    journal_cut_known(j, c->tail.known);
    c->waits = c->gated || c->tail.unfinished;
    return wake;
}
