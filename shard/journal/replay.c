/* shard/journal/replay.c: pass 2: the units of one shard, out of all logs, in slices. Pass 1 (recover.c) has
 * checked every frame and found the cut. */
#include "shard/base/assert.h"
#include "shard/base/planted.h"
#include "shard/base/slot.h"
#include "shard/journal/journal_priv.h"

/* Reading the clock for each frame of a log of small ones would cost a tenth of the time. */
#define BYTES_PER_LOOK (16u << 10)

struct journal_replay {
    struct journal_set *set;
    struct io *io;
    struct journal_replay_opts opts;
    uint32_t generation, log; /* the next to be opened, or the one under way */
    bool walking;
    struct journal__walk walk;
    uint64_t apply_end; /* of the log under way */
    uint64_t done_bytes;
};

enum rc journal_replay_open(struct journal_set *set, struct io *io,
                            const struct journal_replay_opts *opts, struct journal_replay **out)
{
    assert(opts->shard < opts->shards);
    assert(!set->started);
    struct journal_replay *r = mem_try_zalloc(MEM_JOURNAL, sizeof *r);
    if (r == NULL) return RC_NOMEM;
    r->set = set;
    r->io = io;
    r->opts = *opts;
    *out = r;
    return RC_OK;
}

void journal_replay_close(struct journal_replay *r)
{
    if (r->walking) journal__walk_close(&r->walk);
    mem_free(MEM_JOURNAL, r, sizeof *r);
}

uint64_t journal_replay_done_bytes(const struct journal_replay *r)
{
    return r->done_bytes;
}

uint64_t journal_set_bytes(const struct journal_set *set)
{
    return set->total_bytes;
}

static bool replay_unit(void *ctx, const struct journal_unit_raw *raw,
                        const struct journal_unit *unit, uint64_t group_at)
{
    struct journal_replay *r = ctx;
    (void)raw;
    if (group_at >= r->apply_end) return true;
    if (planted(LOSE_PART) && unit->txid % 3 == 1 && raw->shards_mask >> unit->log == 1)
        return true;
    bool mine =
        unit->slot == JOURNAL_SLOT_ALL || slot_shard(unit->slot, r->opts.shards) == r->opts.shard;
    return !mine || r->opts.apply(r->opts.ctx, unit);
}

static enum rc stopped(struct journal_replay *r, enum rc rc, struct buf *why)
{
    if (rc == RC_NOMEM) return rc;
    char where[JOURNAL_PATH_MAX + 64];
    const struct journal__walk *w = &r->walk;
    const char *what = rc == RC_CLOSED ? "a unit could not be applied" : w->what;
    journal__reader_where(&w->r, rc == RC_CLOSED ? w->head.lsn : w->lsn, where, sizeof where);
    buf_addf(why, "replay stopped: %s: %s", where, rc == RC_IO ? "cannot be read" : what);
    return rc == RC_IO ? rc : RC_CORRUPT;
}

static void next_log(struct journal_replay *r)
{
    if (r->walking) journal__walk_close(&r->walk);
    r->walking = false;
    r->log++;
}

/* The next log with units of this shard, at its start. False: there is none. */
static bool open_log(struct journal_replay *r, enum rc *rc_out)
{
    *rc_out = RC_OK;
    for (; r->generation < r->set->manifest.count; r->generation++, r->log = 0) {
        const struct journal__generation *g = &r->set->manifest.generations[r->generation];
        for (; r->log < g->logs; r->log++) {
            /* With the same count every slot of a log, and so every unit about all of them, is the
             * business of the shard of that number only. */
            if (g->logs == r->opts.shards && r->log != r->opts.shard) {
                r->done_bytes += g->log[r->log].apply_end - g->log[r->log].start;
                continue;
            }
            *rc_out = journal__walk_open(&r->walk, r->io, r->set, g, r->log);
            r->walking = *rc_out == RC_OK;
            r->apply_end = g->log[r->log].apply_end;
            return r->walking;
        }
    }
    return false;
}

static enum rc replay_frame(struct journal_replay *r, struct buf *why)
{
    struct journal__walk *w = &r->walk;
    uint64_t before = w->lsn;
    enum rc rc = journal__walk_frame(w);
    if (rc == RC_OK)
        rc = journal__walk_units(w, r->set->manifest.generations[r->generation].logs, replay_unit,
                                 r);
    if (rc != RC_OK) return stopped(r, rc, why);
    r->done_bytes += w->lsn - before;
    return RC_OK;
}

enum rc journal_replay_step(struct journal_replay *r, uint32_t budget_us, bool *more_out,
                            struct buf *why)
{
    const struct clock *clock = r->set->opts.clock;
    uint64_t start_ns = clock_mono_ns(clock);
    uint64_t look_at = r->done_bytes + BYTES_PER_LOOK;
    *more_out = true;
    while (true) {
        enum rc rc = RC_OK;
        if (!r->walking && !open_log(r, &rc)) {
            *more_out = false;
            return rc;
        }
        if (r->walk.lsn >= r->apply_end) {
            next_log(r);
            continue;
        }
        rc = replay_frame(r, why);
        if (rc != RC_OK) return rc;
        if (r->done_bytes < look_at) continue;
        if (clock_mono_ns(clock) - start_ns >= (uint64_t)budget_us * 1000) return RC_OK;
        look_at = r->done_bytes + BYTES_PER_LOOK;
    }
}

enum rc journal_set_replay(struct journal_set *set, struct io *io,
                           const struct journal_replay_opts *opts, struct buf *why)
{
    struct journal_replay *r;
    enum rc rc = journal_replay_open(set, io, opts, &r);
    if (rc != RC_OK) return rc;
    bool more = true;
    while (rc == RC_OK && more)
        rc = journal_replay_step(r, UINT32_MAX, &more, why);
    journal_replay_close(r);
    return rc;
}
