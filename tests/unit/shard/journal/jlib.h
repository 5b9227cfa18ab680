/* tests/unit/shard/journal/jlib.h: what the tests of the journal share: a node's logs on a simulated
 * machine, and a plain model of what was appended to them. */
#ifndef MOON_TESTS_JLIB_H
#define MOON_TESTS_JLIB_H

#include "shard/base/rng.h"
#include "shard/journal/journal.h"
#include "shard/journal/track.h"
#include "shard/journal/writer_priv.h"
#include "tests/sim/io_sim.h"

#define JLIB_LOGS_MAX 4u
#define JLIB_DIR "/data"

/* One appended unit. Its arguments follow from run, log and number. */
struct junit {
    uint64_t begin,
        end; /* LSN around it; begin is where its frame's or its own bytes start at the earliest */
    uint64_t txid, mask;
    int64_t at_us;  /* when its pass ended; INT64_MAX: it has not */
    uint32_t bytes; /* of its second argument */
    bool joined;
};
struct jlog {
    struct junit *unit;
    uint32_t count, cap;
};
/* From one opening to the next. */
struct jrun {
    uint32_t logs;
    struct jlog log[JLIB_LOGS_MAX];
};
struct jmodel {
    struct jrun *run;
    uint32_t count, cap;
};
void jmodel_free(struct jmodel *m);
struct jmodel jmodel_copy(const struct jmodel *m);
struct jrun *jmodel_add_run(struct jmodel *m, uint32_t logs);

struct jopen { /* one open log, and what it told */
    struct journal *j;
    struct journal_tail tail; /* with jworld.tracks */
    uint64_t durable;
    uint32_t refusals;
    bool refusing;
    enum rc refuse_rc;
};
/* Logs of one node, open. */
struct jworld {
    struct io_sim *sim;
    struct io *io;
    struct timer_wheel *timers;
    struct journal_set *set;
    uint32_t logs;
    uint32_t segment_bytes;
    enum journal_fsync fsync;
    bool repair;
    bool tracks; /* the cut is kept, as a node does */
    struct journal_track *track;
    struct jopen log[JLIB_LOGS_MAX];
    struct buf why;
};
/* Takes the machine. */
void jworld_init(struct jworld *w, struct io_sim *sim);
void jworld_free(struct jworld *w); /* abandons what is open, frees the machine */
struct journal_opts jworld_opts(const struct jworld *w, uint32_t logs);
/* The steps of a start. On failure nothing is left open and w->why says why. */
enum rc jworld_recover(struct jworld *w, uint32_t logs);
enum rc jworld_start(struct jworld *w);
void jworld_abandon(struct jworld *w); /* the process is gone; no I/O */
void jworld_close(struct jworld *w, bool clean);
/* One turn of the reactor: completions, pass of every log, timers. Waits at most wait_us. */
void jworld_turn(struct jworld *w, int64_t wait_us);
/* Turns until everything appended is durable (or us have passed). */
bool jworld_settle(struct jworld *w, uint64_t us);

/* Appends unit number log.count to the newest run of the model. */
void jmodel_append(struct jmodel *m, struct jworld *w, uint32_t log, uint32_t bytes, uint64_t txid,
                   uint64_t mask, bool joined);
/* Notes that the pass of this log has ended. */
void jmodel_passed(struct jmodel *m, uint32_t log, int64_t now_us);

/* What a recovered set holds, per run and log of the model: how many units, in order, each as it was
 * appended. Fails the test if anything else comes. */
struct jfound {
    uint32_t *count; /* [run * JLIB_LOGS_MAX + log] */
    uint32_t runs;
    uint64_t units;
};
struct jfound jfound_read(struct jworld *w, const struct jmodel *m);
void jfound_free(struct jfound *f);
static inline uint32_t jfound_at(const struct jfound *f, uint32_t run, uint32_t log)
{
    return f->count[run * JLIB_LOGS_MAX + log];
}

/* An apply that only counts; ctx: uint64_t. */
bool jlib_count(void *ctx, const struct journal_unit *u);
void jlib_args(uint32_t run, uint32_t log, uint32_t number, uint32_t bytes, struct buf *out);
uint16_t jlib_slot(struct rng *r, uint32_t log, uint32_t logs);

#endif
