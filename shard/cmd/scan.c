/* Databases as a whole: SCAN, KEYS, RANDOMKEY, DBSIZE; FLUSHDB, FLUSHALL, SWAPDB. Each runs on one shard
 * and sees the slots of that shard only; spec.spread says how the node makes one answer of several. */
#include <limits.h>

#include "shard/cmd/cmd.h"
#include "shard/cmd/scan_args.h"
#include "shard/exec/core.h"

/* ---- SCAN and KEYS */

struct filter {
    struct scan_args args;
    enum value_type
        type; /* with args.type; VALUE_NONE: a name that no type has, so nothing is of it */
};

/* Records met on a walk. They stay where they are while nothing is changed. */
struct found {
    struct found *next;
    uint32_t count;
    struct record *at[60];
};

struct walk {
    struct exec *x;
    struct filter filter;
    int64_t seen; /* before filtering: COUNT is about work */
    int64_t kept_count;
    struct found *kept, **kept_tail;
    struct found *expired;
};

static struct found *found_new(struct exec *x, struct found *next)
{
    struct found *f = arena_alloc(x->scratch, sizeof *f);
    f->next = next;
    f->count = 0;
    return f;
}

static void keep(struct walk *w, struct record *r)
{
    struct found *f = *w->kept_tail;
    if (f == NULL) {
        f = *w->kept_tail = found_new(w->x, NULL);
    } else if (f->count == COUNT_OF(f->at)) {
        w->kept_tail = &f->next;
        f = f->next = found_new(w->x, NULL);
    }
    f->at[f->count++] = r;
    w->kept_count++;
}

static void keep_expired(struct walk *w, struct record *r)
{
    if (w->expired == NULL || w->expired->count == COUNT_OF(w->expired->at))
        w->expired = found_new(w->x, w->expired);
    w->expired->at[w->expired->count++] = r;
}

static bool passes(const struct filter *f, const struct record *r)
{
    if (f->args.type.data != NULL && record_type(r) != f->type) return false;
    return scan_wants(&f->args, record_key(r));
}

static void scan_record(void *ctx, struct record *r)
{
    struct walk *w = ctx;
    w->seen++;
    if (record_expired(r, w->x->now_ms))
        keep_expired(w, r);
    else if (passes(&w->filter, r))
        keep(w, r);
}

static void reply_kept(struct walk *w)
{
    reply_array(w->x->reply, w->kept_count);
    for (const struct found *f = w->kept; f != NULL; f = f->next)
        for (uint32_t i = 0; i < f->count; i++)
            reply_bulk(w->x->reply, record_key(f->at[i]));
}

/* After the walk and after what was kept is written: deleting may merge buckets. */
static void delete_expired(struct walk *w)
{
    for (const struct found *f = w->expired; f != NULL; f = f->next) {
        for (uint32_t i = 0; i < f->count; i++) {
            struct db_key key = exec_key(w->x, record_key(f->at[i]));
            const struct record *gone = exec_peek(w->x, &key);
            assert(gone == NULL); /* looking deletes */
        }
    }
}

static enum value_type type_by_name(struct bytes name)
{
    for (unsigned t = VALUE_STRING; t <= VALUE_STREAM; t++)
        if (bytes_is(name, value_type_name((enum value_type)t))) return (enum value_type)t;
    return VALUE_NONE;
}

/* The end of this shard's slots is the start of the next shard's: only the last one ends the scan. The
 * node finds the shard of a cursor by its slot. */
static uint64_t cursor_after_shard(const struct exec *x)
{
    if (x->shard + 1 >= x->shards) return 0;
    return db_scan_from_slot((uint16_t)((x->shard + 1) * SLOT_BLOCK));
}

static void run_scan(struct exec *x)
{
    uint64_t cursor;
    struct walk w = {.x = x, .kept_tail = &w.kept};
    struct scan_args *args = &w.filter.args;
    if (!scan_parse_cursor(x, 1, &cursor) || !scan_parse_options(x, 2, SCAN_TYPE, args)) return;
    w.filter.type = type_by_name(args->type);
    uint64_t steps = scan_steps_max(args);
    do {
        cursor = db_scan(x->ks, x->key.db, cursor, scan_record, &w);
    } while (cursor != 0 && --steps > 0 && w.seen < args->count);
    if (cursor == 0) cursor = cursor_after_shard(x);
    char text[NUM_I64_TEXT_MAX];
    reply_array(x->reply, 2);
    reply_bulk(x->reply, bytes_view(text, num_format_u64(text, cursor)));
    reply_kept(&w);
    delete_expired(&w);
}

static void keys_record(void *ctx, struct record *r)
{
    struct walk *w = ctx;
    if (record_expired(r, w->x->now_ms) || !passes(&w->filter, r)) return;
    reply_bulk(w->x->reply, record_key(r));
    w->kept_count++;
}

static void run_keys(struct exec *x)
{
    struct walk w = {.x = x};
    w.filter.args.pattern = x->argv[1];
    w.filter.args.matches = !bytes_equal(x->argv[1], BYTES_LIT("*"));
    struct reply_later later = reply_later(x->reply, '*');
    uint64_t cursor = 0;
    do {
        cursor = db_scan(x->ks, x->key.db, cursor, keys_record, &w);
    } while (cursor != 0);
    reply_later_done(x->reply, later, w.kept_count);
}

/* ---- RANDOMKEY and DBSIZE */

/* Expired keys are deleted on the way; when the log has no room for that, the search ends some time. */
#define RANDOM_TRIES_MAX 100

static void run_randomkey(struct exec *x)
{
    uint32_t tries = 0;
    for (;;) {
        uint64_t before = db_count(x->ks, x->key.db);
        const struct record *r = db_random(x->ks, x->key.db, x->rng);
        if (r == NULL) break;
        struct db_key key = exec_key(x, record_key(r));
        if (exec_peek(x, &key) != NULL) {
            reply_bulk(x->reply, record_key(r));
            return;
        }
        if (db_count(x->ks, x->key.db) == before && ++tries == RANDOM_TRIES_MAX) break;
    }
    reply_null(x->reply);
}

static void run_dbsize(struct exec *x)
{
    reply_i64(x->reply, (int64_t)db_count(x->ks, x->key.db));
}

/* ---- FLUSHDB FLUSHALL SWAPDB. Live, a shard holds nothing but its own slots. In replay the unit is
 * about the slots of the log that wrote it, which may be some of ours, or none. */

static bool owns_slot(const void *ctx, uint16_t slot)
{
    const struct exec *x = ctx;
    return exec_owns_slot(x, slot);
}

/* Keys that went. */
static uint64_t flush(struct exec *x, uint8_t db)
{
    uint64_t before = db_count(x->ks, db);
    if (x->replay) {
        struct db_garbage *g = db_detach_slots(x->ks, db, owns_slot, x);
        while (g != NULL && !db_garbage_free_slice(g, UINT32_MAX))
            continue;
    } else {
        core_free_garbage(x->core, db_detach(x->ks, db));
    }
    return before - db_count(x->ks, db);
}

/* SYNC and ASYNC are the same: the database is empty at once and its memory comes back in slices. */
static bool flush_options(struct exec *x)
{
    if (x->argc == 1) return true;
    if (x->argc == 2 && (bytes_is(x->argv[1], "SYNC") || bytes_is(x->argv[1], "ASYNC")))
        return true;
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

static void run_flushdb(struct exec *x)
{
    if (!flush_options(x)) return;
    exec_touch_db(x, x->key.db, -1);
    uint64_t keys = flush(x, x->key.db);
    if (keys > 0) exec_log_all(x, x->key.db, OP_FLUSHDB, NULL, 0);
    stat_bump(&x->core->stats.dirty, keys);
    reply_ok(x->reply);
}

static void run_flushall(struct exec *x)
{
    if (!flush_options(x)) return;
    uint64_t keys = 0;
    for (uint32_t db = 0; db < x->databases; db++) {
        exec_touch_db(x, (uint8_t)db, -1);
        keys += flush(x, (uint8_t)db);
    }
    if (keys > 0) exec_log_all(x, 0, OP_FLUSHALL, NULL, 0);
    stat_bump(&x->core->stats.dirty, keys);
    reply_ok(x->reply);
}

static void run_swapdb(struct exec *x)
{
    int64_t a, b;
    if (!exec_arg_range(x, 1, INT_MIN, INT_MAX, "ERR invalid first DB index", &a)) return;
    if (!exec_arg_range(x, 2, INT_MIN, INT_MAX, "ERR invalid second DB index", &b)) return;
    if (a < 0 || a >= x->databases || b < 0 || b >= x->databases) {
        reply_error(x->reply, "ERR DB index is out of range");
        return;
    }
    if (a != b) {
        exec_touch_db(x, (uint8_t)a, (int32_t)b);
        exec_touch_db(x, (uint8_t)b, (int32_t)a);
    }
    if (x->replay)
        db_swap_slots(x->ks, (uint8_t)a, (uint8_t)b, owns_slot, x);
    else
        db_swap(x->ks, (uint8_t)a, (uint8_t)b);
    waits_ready_db(&x->core->waiters, (uint8_t)a);
    waits_ready_db(&x->core->waiters, (uint8_t)b);
    exec_log_all(x, 0, OP_SWAPDB, x->argv + 1, 2);
    stat_bump(&x->core->stats.dirty, 1);
    reply_ok(x->reply);
}

/* ---- the rows */

#define FLUSH_HISTORY                                                                              \
    "4.0.0:Added the `ASYNC` flushing mode modifier.\n6.2.0:Added the `SYNC` flushing mode "       \
    "modifier."
#define FLUSH_TIPS "request_policy:all_shards response_policy:all_succeeded"

// clang-format off
static const struct cmd_spec rows[] = {
    {.name = "DBSIZE", .run = run_dbsize, .arity = 1, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_KEYSPACE, .spread = SPREAD_EVERY_SUM,
     .group = "server", .since = "1.0.0", .complexity = "O(1)", .tips = "request_policy:all_shards response_policy:agg_sum",
     .summary = "Returns the number of keys in the database.", .syntax = ""},
    {.name = "FLUSHALL", .run = run_flushall, .arity = -1, .flags = CMD_WRITE | CMD_SHRINKS, .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .spread = SPREAD_EVERY_OK, .opcode = OP_FLUSHALL, .group = "server", .since = "1.0.0",
     .complexity = "O(1); memory of N keys is given back in slices", .tips = FLUSH_TIPS, .history = FLUSH_HISTORY,
     .summary = "Deletes all keys of all databases.", .syntax = "[ASYNC | SYNC]"},
    {.name = "FLUSHDB", .run = run_flushdb, .arity = -1, .flags = CMD_WRITE | CMD_SHRINKS, .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .spread = SPREAD_EVERY_OK, .opcode = OP_FLUSHDB, .group = "server", .since = "1.0.0",
     .complexity = "O(1); memory of N keys is given back in slices", .tips = FLUSH_TIPS, .history = FLUSH_HISTORY,
     .summary = "Deletes all keys of the current database.", .syntax = "[ASYNC | SYNC]"},
    {.name = "KEYS", .run = run_keys, .arity = 2, .flags = CMD_READONLY, .acl = ACL_KEYSPACE | ACL_DANGEROUS, .spread = SPREAD_EVERY_CONCAT,
     .group = "generic", .since = "1.0.0", .complexity = "O(N), N the number of keys in the database",
     .tips = "request_policy:all_shards nondeterministic_output_order",
     .summary = "Returns all keys whose names match a pattern.", .syntax = "pattern"},
    {.name = "RANDOMKEY", .run = run_randomkey, .arity = 1, .flags = CMD_READONLY, .acl = ACL_KEYSPACE, .spread = SPREAD_ANY,
     .group = "generic", .since = "1.0.0", .complexity = "O(1)", .tips = "request_policy:all_shards nondeterministic_output",
     .summary = "Returns the name of a random key.", .syntax = ""},
    {.name = "SCAN", .run = run_scan, .arity = -2, .flags = CMD_READONLY, .acl = ACL_KEYSPACE, .spread = SPREAD_CURSOR,
     .group = "generic", .since = "2.8.0", .complexity = "O(1) for every call, O(N) for a whole iteration, N the number of keys",
     .tips = "nondeterministic_output request_policy:special",
     .summary = "Iterates over the keys of the database.", .syntax = "cursor [MATCH pattern] [COUNT count] [TYPE type]",
     .history = "6.0.0:Added the `TYPE` subcommand."},
    {.name = "SWAPDB", .run = run_swapdb, .arity = 3, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_KEYSPACE | ACL_DANGEROUS,
     .spread = SPREAD_EVERY_OK, .opcode = OP_SWAPDB, .group = "server", .since = "4.0.0", .complexity = "O(1)",
     .summary = "Swaps the contents of two databases.", .syntax = "index1 index2"},
};
// clang-format on

const struct cmd_table scan_cmds = {.rows = rows, .count = COUNT_OF(rows)};
