/* journal.h without a disk, for tests of commands: units are kept in memory, and every command is held to
 * what journal.h and exec.h ask of it:
 *   - room for what it appends was reserved in the same pass,
 *   - a unit's first argument is a key of the unit's slot,
 *   - more than one unit in a pass (DELs of expired keys aside) stands in one group.
 * A pass of the fixture is one command. */
#include "tests/unit/shard/cmd/journal_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/limits.h"
#include "shard/base/slot.h"
#include "shard/exec/exec.h"
#include "shard/journal/journal.h"

/* What a unit takes beside its arguments: length, flags, opcode, slot, database; a count per argument. */
#define UNIT_BYTES 16
#define ARG_BYTES 5
#define TX_BYTES 18 /* txid, shards */

struct unit {
    struct unit *next;
    struct journal_head head;
    bool goes_on; /* its group does not end with it */
    uint32_t argc;
    size_t bytes;
    uint8_t data[]; /* argc times: u32 length, bytes */
};

struct journal {
    struct journal_set *set;
    struct unit *units, **tail;
    struct unit *last; /* of the open group */
    uint64_t count;
    size_t room;
    bool grouped;
    uint32_t alone;  /* units of this pass outside of groups, DELs not counted */
    uint32_t groups; /* of this pass */
};

struct journal_set {
    uint32_t logs;
    uint64_t crash; /* units of log 0 that are found, UINT64_MAX: all */
    struct journal log[SHARDS_MAX];
};

enum rc journal_set_open(const struct journal_opts *opts, struct io *io, struct journal_set **out,
                         struct buf *why)
{
    (void)io;
    (void)why;
    struct journal_set *set = mem_zalloc(MEM_TEST, sizeof *set);
    set->logs = opts->logs;
    set->crash = UINT64_MAX;
    for (uint32_t i = 0; i < set->logs; i++)
        set->log[i] = (struct journal){.set = set, .tail = &set->log[i].units};
    *out = set;
    return RC_OK;
}

void journal_set_close(struct journal_set *set)
{
    for (uint32_t i = 0; i < set->logs; i++) {
        for (struct unit *u = set->log[i].units, *next; u != NULL; u = next) {
            next = u->next;
            mem_free(MEM_TEST, u, sizeof *u + u->bytes);
        }
    }
    mem_free(MEM_TEST, set, sizeof *set);
}

enum rc journal_open(struct journal_set *set, uint32_t log, struct io *io,
                     struct timer_wheel *timers, const struct journal_events *events,
                     struct journal **out)
{
    (void)io;
    (void)timers;
    (void)events;
    assert_true(log < set->logs);
    *out = &set->log[log];
    return RC_OK;
}

void journal_close(struct journal *j, bool clean)
{
    (void)clean;
    assert_false(j->grouped);
}

/* ---- writing */

enum rc journal_reserve(struct journal *j, size_t body_bytes)
{
    if (body_bytes > j->room) j->room = body_bytes;
    return RC_OK;
}

static void check_unit(struct journal *j, const struct journal_head *head, const struct bytes *args,
                       uint32_t argc, size_t bytes)
{
    size_t takes = bytes + UNIT_BYTES + argc * (size_t)(ARG_BYTES - 4);
    if (head->txid != 0) takes += TX_BYTES;
    if (takes > j->room)
        fail_msg("unit of opcode %u takes %zu bytes, room is left for %zu", head->opcode, takes,
                 j->room);
    j->room -= takes;
    if (head->slot != JOURNAL_SLOT_ALL) {
        assert_true(argc > 0);
        if (slot_of_key(args[0]) != head->slot)
            fail_msg("unit of opcode %u about a key of another slot than its own", head->opcode);
    }
    if (!j->grouped && head->opcode != OP_DEL) j->alone++;
    if (j->alone + j->groups > 1)
        fail_msg("opcode %u: several units of one command outside of a group", head->opcode);
}

void journal_append(struct journal *j, const struct journal_head *head, const struct bytes *args,
                    uint32_t argc)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < argc; i++)
        bytes += 4 + args[i].len;
    check_unit(j, head, args, argc, bytes);
    struct unit *u = mem_alloc(MEM_TEST, sizeof *u + bytes);
    *u = (struct unit){.head = *head, .goes_on = j->grouped, .argc = argc, .bytes = bytes};
    j->last = u;
    uint8_t *p = u->data;
    for (uint32_t i = 0; i < argc; i++) {
        uint32_t len = (uint32_t)args[i].len;
        memcpy(p, &len, 4);
        if (len > 0) memcpy(p + 4, args[i].data, len);
        p += 4 + len;
    }
    *j->tail = u;
    j->tail = &u->next;
    j->count++;
}

void journal_group_begin(struct journal *j)
{
    assert_false(j->grouped);
    j->grouped = true;
    j->last = NULL;
    j->groups++;
}

void journal_group_end(struct journal *j)
{
    assert_true(j->grouped);
    j->grouped = false;
    if (j->last != NULL) j->last->goes_on = false;
}

void journal_pass(struct journal *j, int64_t wall_us)
{
    (void)wall_us;
    assert_false(j->grouped);
    j->room = 0;
    j->alone = j->groups = 0;
}

uint64_t journal_lsn(const struct journal *j)
{
    return j->count;
}

uint64_t journal_durable_lsn(const struct journal *j)
{
    return j->count;
}

uint64_t journal_safe_lsn(const struct journal *j)
{
    return j->count;
}

void journal_cut_known(struct journal *j, uint64_t lsn)
{
    (void)j;
    (void)lsn;
}

void journal_stats_read(const struct journal *j, struct journal_stats *out)
{
    *out = (struct journal_stats){.units = j->count};
}

/* ---- reading */

void journal_memory_crash(struct journal_set *set, uint64_t units)
{
    set->crash = units;
}

struct journal_head journal_memory_head(const struct journal_set *set, uint64_t number)
{
    return journal_memory_head_of(set, 0, number);
}

struct journal_head journal_memory_head_of(const struct journal_set *set, uint32_t log,
                                           uint64_t number)
{
    const struct unit *u = set->log[log].units;
    for (; number > 0; number--)
        u = u->next;
    return u->head;
}

/* How many of the log's units are found. */
static uint64_t found(const struct journal *j)
{
    uint64_t whole = 0, n = 0;
    for (const struct unit *u = j->units; u != NULL && n < j->set->crash; u = u->next) {
        n++;
        if (!u->goes_on) whole = n;
    }
    return whole;
}

static bool apply_unit(const struct unit *u, uint32_t log, uint32_t logs, uint64_t lsn,
                       bool (*apply)(void *ctx, const struct journal_unit *u), void *ctx)
{
    struct bytes *args = mem_alloc(MEM_TEST, (u->argc + 1) * sizeof *args);
    const uint8_t *p = u->data;
    for (uint32_t i = 0; i < u->argc; i++) {
        uint32_t len;
        memcpy(&len, p, 4);
        args[i] = bytes_view(p + 4, len);
        p += 4 + len;
    }
    struct journal_unit unit = {.lsn = lsn,
                                .args = args,
                                .argc = u->argc,
                                .opcode = u->head.opcode,
                                .slot = u->head.slot,
                                .db = u->head.db,
                                .log = (uint16_t)log,
                                .logs = (uint16_t)logs};
    bool ok = apply(ctx, &unit);
    mem_free(MEM_TEST, args, (u->argc + 1) * sizeof *args);
    return ok;
}

/* A step replays all of one log, so that several make a replay. */
struct journal_replay {
    struct journal_set *set;
    struct journal_replay_opts opts;
    uint32_t log;
};

enum rc journal_replay_open(struct journal_set *set, struct io *io,
                            const struct journal_replay_opts *opts, struct journal_replay **out)
{
    (void)io;
    *out = mem_zalloc(MEM_TEST, sizeof **out);
    **out = (struct journal_replay){.set = set, .opts = *opts};
    return RC_OK;
}

enum rc journal_replay_step(struct journal_replay *r, uint32_t budget_us, bool *more_out,
                            struct buf *why)
{
    (void)budget_us;
    (void)why;
    const struct journal_replay_opts *o = &r->opts;
    const struct journal *j = &r->set->log[r->log];
    uint64_t lsn = 0, end = r->log == 0 ? found(j) : UINT64_MAX;
    for (const struct unit *u = j->units; u != NULL && lsn < end; u = u->next, lsn++) {
        bool mine =
            u->head.slot == JOURNAL_SLOT_ALL || slot_shard(u->head.slot, o->shards) == o->shard;
        if (mine && !apply_unit(u, r->log, r->set->logs, lsn, o->apply, o->ctx)) return RC_CORRUPT;
    }
    *more_out = ++r->log < r->set->logs;
    return RC_OK;
}

void journal_replay_close(struct journal_replay *r)
{
    mem_free(MEM_TEST, r, sizeof *r);
}

enum rc journal_set_replay(struct journal_set *set, struct io *io,
                           const struct journal_replay_opts *opts, struct buf *why)
{
    struct journal_replay *r;
    enum rc rc = journal_replay_open(set, io, opts, &r);
    bool more = true;
    while (rc == RC_OK && more)
        rc = journal_replay_step(r, UINT32_MAX, &more, why);
    journal_replay_close(r);
    return rc;
}

uint64_t journal_replay_done_bytes(const struct journal_replay *r)
{
    return r->log;
}
