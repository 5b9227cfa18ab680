/* shard/journal/track.h: the durable cut of a running node (architecture.md §7): which positions of the logs
 * hold every transaction of several shards with all its parts or with none. No I/O; the end of a log is
 * what its policy promises (journal_safe_lsn).
 *
 * Each log has a tail, on its shard's thread, where parts are noted as they are appended. While the tail has
 * unfinished parts its shard holds back everything that depends on its data until the published cut has passed
 * it. All tails share one track: whoever moves the end of a log with unfinished parts reports there, under a
 * mutex that is held for microseconds, and learns which shards may let go. A shard without unfinished
 * parts never takes it (docs/adr). */
#ifndef MOON_JOURNAL_TRACK_H
#define MOON_JOURNAL_TRACK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "shard/journal/cut.h"

struct journal_track;
struct journal_track *journal_track_new(uint32_t logs);
void journal_track_free(struct journal_track *t);

/* What everybody may read, lock-free. */
struct journal_track_log {
    /* Below this the log lies inside the cut. Rises. Moved by the owner while it has no unfinished part, by
     * whoever reports while it has some. */
    _Alignas(64) _Atomic uint64_t cut;
    _Atomic uint64_t watchers; /* shards that want to be woken when it rises, once */
};
struct journal_track_shared {
    _Atomic uint64_t broken; /* logs that cannot be written now */
    struct journal_track_log log[SHARDS_MAX];
};
const struct journal_track_shared *journal_track_shared(const struct journal_track *t);
static inline uint64_t journal_track_cut(const struct journal_track_shared *s, uint32_t log)
{
    return atomic_load_explicit(&s->log[log].cut, memory_order_seq_cst);
}
static inline uint64_t journal_track_broken(const struct journal_track_shared *s)
{
    return atomic_load_explicit(&s->broken, memory_order_acquire);
}
/* `shard` is named by the next journal_tail_moved() that moves the cut of one of these logs: ask, then look,
 * then sleep. Any thread. */
void journal_track_watch(struct journal_track *t, uint64_t logs, uint32_t shard);
/* While a log cannot be written, a transaction that lacks its part there may never become whole. Any
 * thread. */
void journal_track_break(struct journal_track *t, uint32_t log, bool broken);

/* One log's side. */
struct journal_tail {
    struct journal_track *track; /* NULL: nothing is tracked */
    const struct journal_track_shared *shared;
    uint32_t log;
    bool unfinished;            /* the cut has not passed `newest` */
    bool unsettled;             /* … or not durably: the frames do not name it yet */
    uint64_t newest;            /* end of the newest part */
    uint64_t seen;              /* the published cut when its owner last looked */
    uint64_t known;             /* for journal_cut_known() */
    uint64_t synced;            /* as the track knows it */
    struct journal_part *parts; /* appended, not yet reported */
    uint32_t count, cap;
};
/* The log begins at lsn. Before any log of the track has a part. */
void journal_tail_open(struct journal_tail *t, struct journal_track *track, uint32_t log,
                       uint64_t lsn);
void journal_tail_close(struct journal_tail *t);
/* A part lies in [begin, end) of the log: begin is where its group begins. */
void journal_tail_part(struct journal_tail *t, uint64_t txid, uint64_t shards_mask, uint64_t begin,
                       uint64_t end);
/* The end of the log moved: `safe` by its policy, `synced` on disk. Returns the shards to wake: those whose cut
 * rose, and watchers. */
MUST_CHECK uint64_t journal_tail_moved(struct journal_tail *t, uint64_t safe, uint64_t synced);
/* Looks at the published cut. True: it rose since the last look. */
bool journal_tail_look(struct journal_tail *t);

#endif
