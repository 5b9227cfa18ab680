/* Algebra of several sets: read, counted, stored. In two phases, as the scheduler wants it: first all sources
 * are read, in the order of the arguments, and the result made of them; then one key changes. */
#include "shard/types/set_algebra.h"

#include "shard/cmd/cmd.h"
#include "shard/cmd/store.h"
#include "shard/exec/exec.h"

enum op { INTER, UNION, DIFF };

/* NULL: replied. The sets of argv[first …], absent ones NULL. They stay valid until the first change. */
static const struct record **read_sets(struct exec *x, uint32_t first, uint32_t count)
{
    const struct record **sets = arena_alloc(x->scratch, count * sizeof(struct record *));
    for (uint32_t i = 0; i < count; i++) {
        struct record *r;
        if (!exec_read_as(x, x->argv[first + i], VALUE_SET, &r)) return NULL;
        sets[i] = r;
    }
    return sets;
}

/* False: out of memory, nothing was told. */
static bool run_op(enum op op, const struct record **sets, uint32_t count,
                   const struct set_sink *sink)
{
    switch (op) {
    case INTER:
        set_inter(sets, count, sink);
        return true;
    case UNION:
        return set_union(sets, count, sink);
    case DIFF:
        return set_diff(sets, count, sink);
    }
    __builtin_unreachable();
}

/* ---- replied */

struct replying {
    struct reply *reply;
    struct reply_later head;
    int64_t count;
};

static bool reply_member(void *ctx, struct set_member *m, double score)
{
    (void)score;
    struct replying *r = ctx;
    if (r->count++ == 0) r->head = reply_later(r->reply, '~');
    if (m->knows & SET_KNOWS_TEXT)
        reply_bulk(r->reply, m->text);
    else
        reply_bulk_i64(r->reply, m->number);
    return true;
}

static void reply_op(struct exec *x, enum op op)
{
    const struct record **sets = read_sets(x, 1, x->argc - 1);
    if (sets == NULL) return;
    struct replying r = {.reply = x->reply};
    if (!run_op(op, sets, x->argc - 1, &(struct set_sink){.take = reply_member, .ctx = &r}))
        exec_reply_nomem(x);
    else if (r.count == 0)
        reply_set(x->reply, 0);
    else
        reply_later_done(x->reply, r.head, r.count);
}

static void run_sinter(struct exec *x)
{
    reply_op(x, INTER);
}

static void run_sunion(struct exec *x)
{
    reply_op(x, UNION);
}

static void run_sdiff(struct exec *x)
{
    reply_op(x, DIFF);
}

/* ---- counted */

struct counting {
    uint64_t count, limit;
};

static bool count_member(void *ctx, struct set_member *m, double score)
{
    (void)score;
    struct counting *c = ctx;
    (void)m;
    return ++c->count != c->limit;
}

static void run_sintercard(struct exec *x)
{
    int64_t keys, limit = 0;
    if (!exec_arg_range(x, 1, 1, INT64_MAX, "ERR numkeys should be greater than 0", &keys)) return;
    if (keys > (int64_t)x->argc - 2) {
        reply_error(x->reply, "ERR Number of keys can't be greater than number of args");
        return;
    }
    uint32_t count = (uint32_t)keys;
    for (uint32_t i = 2 + count; i < x->argc; i += 2) {
        if (!bytes_is(x->argv[i], "LIMIT") || i + 1 == x->argc) {
            reply_error(x->reply, ERR_SYNTAX);
            return;
        }
        if (!exec_arg_range(x, i + 1, 0, INT64_MAX, "ERR LIMIT can't be negative", &limit)) return;
    }
    const struct record **sets = read_sets(x, 2, count);
    if (sets == NULL) return;
    struct counting c = {.limit = (uint64_t)limit};
    set_inter(sets, count, &(struct set_sink){.take = count_member, .ctx = &c});
    reply_i64(x->reply, (int64_t)c.count);
}

/* ---- stored */

struct storing {
    struct exec *x;
    struct record *result; /* NULL: out of memory */
};

static bool added(struct storing *s, bool ok)
{
    if (likely(ok)) return true;
    exec_free_record(s->x, s->result);
    s->result = NULL;
    return false;
}

static bool add_new(void *ctx, struct set_member *m, double score)
{
    (void)score;
    struct storing *s = ctx;
    return added(s, set_add_absent(&s->result, m));
}

static bool add_any(void *ctx, struct set_member *m, double score)
{
    (void)score;
    struct storing *s = ctx;
    return added(s, set_add_member(&s->result, m) >= 0);
}

static void prefetch_place(void *ctx, struct set_member *m)
{
    const struct storing *s = ctx;
    if (record_encoding(s->result) == ENC_HASHTABLE)
        value_prefetch_bucket(s->result, set_member_hash(m));
}

static uint64_t largest_len(const struct record *const *sets, uint32_t count)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < count; i++)
        if (sets[i] != NULL && set_len(sets[i]) > largest) largest = set_len(sets[i]);
    return largest;
}

/* An empty set in the encoding in which Redis would build the result. NULL: out of memory. */
static struct record *start_result(struct bytes key, enum op op, const struct record **sets,
                                   uint32_t count)
{
    if (op == DIFF && set_diff_is_copy(sets, count)) return set_try_new_like(key, sets[0]);
    return set_try_new_result(key, op == UNION ? largest_len(sets, count) : 0);
}

/* The result as a set under argv[1]. NULL: out of memory. */
static struct record *make_result(struct exec *x, enum op op, const struct record **sets,
                                  uint32_t count)
{
    struct storing s = {.x = x, .result = start_result(x->argv[1], op, sets, count)};
    struct set_sink sink = {.take = add_new, .prefetch = prefetch_place, .ctx = &s};
    if (s.result == NULL) return NULL;
    if (op == UNION) {
        if (record_encoding(s.result) != ENC_HASHTABLE && set_union_in_order(sets, count, &sink))
            return s.result;
        sink.take = add_any; /* a table finds by itself what it has already */
        set_each(sets, count, &sink);
    } else if (!run_op(op, sets, count, &sink)) {
        (void)added(&s, false);
    }
    return s.result;
}

static void store_op(struct exec *x, enum op op, const char *event)
{
    uint32_t count = x->argc - 2;
    const struct record **sets = read_sets(x, 2, count);
    if (sets == NULL) return;
    exec_build_for(x, x->argv[1]);
    store_result(x, x->argv[1], make_result(x, op, sets, count), NOTIFY_SET, event);
}

static void run_sinterstore(struct exec *x)
{
    store_op(x, INTER, "sinterstore");
}

static void run_sunionstore(struct exec *x)
{
    store_op(x, UNION, "sunionstore");
}

static void run_sdiffstore(struct exec *x)
{
    store_op(x, DIFF, "sdiffstore");
}

/* ---- the rows */

// clang-format off
#define READS .flags = CMD_READONLY, .acl = ACL_SET, .keys = {1, -1, 1}, .spread = SPREAD_KEY, .key_flags = KEY_RO | KEY_ACCESS, \
    .group = "set", .tips = "nondeterministic_output_order", .syntax = "key [key ...]"
#define STORES .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_SET, .keys = {1, -1, 1}, .spread = SPREAD_KEY, \
    .key_specs_count = 2, .group = "set", .syntax = "destination key [key ...]"
#define INTER_COST "O(N*M), N the members of the smallest set, M the number of sets"
#define ALL_COST "O(N), N the members of all sets"

static const struct cmd_key_spec update_specs[] = {
    {.flags = KEY_RW | KEY_UPDATE, .begin_index = 1, .step = 1},
    {.flags = KEY_RO | KEY_ACCESS, .begin_index = 2, .last_key = -1, .step = 1},
};
static const struct cmd_key_spec overwrite_specs[] = {
    {.flags = KEY_OW | KEY_UPDATE, .begin_index = 1, .step = 1},
    {.flags = KEY_RO | KEY_ACCESS, .begin_index = 2, .last_key = -1, .step = 1},
};
static const struct cmd_key_spec counted_specs[] = {
    {.flags = KEY_RO | KEY_ACCESS, .begin_index = 1, .keynum = true, .first_key = 1, .step = 1},
};
static const struct cmd_spec rows[] = {
    {.name = "SDIFF", .run = run_sdiff, .arity = -2, READS, .since = "1.0.0", .complexity = ALL_COST,
     .summary = "Returns the members of a set that no other of the sets has."},
    {.name = "SDIFFSTORE", .run = run_sdiffstore, .arity = -3, STORES, .key_specs = overwrite_specs, .since = "1.0.0", .complexity = ALL_COST,
     .summary = "Stores the members of a set that no other of the sets has."},
    {.name = "SINTER", .run = run_sinter, .arity = -2, READS, .since = "1.0.0", .complexity = INTER_COST,
     .summary = "Returns the members that all of the sets have."},
    {.name = "SINTERCARD", .run = run_sintercard, .arity = -3, .flags = CMD_READONLY | CMD_MOVABLE_KEYS, .acl = ACL_SET, .spread = SPREAD_KEY,
     .key_specs = counted_specs, .key_specs_count = COUNT_OF(counted_specs), .group = "set", .since = "7.0.0", .complexity = INTER_COST,
     .summary = "Counts the members that all of the sets have, up to a limit.", .syntax = "numkeys key [key ...] [LIMIT limit]"},
    {.name = "SINTERSTORE", .run = run_sinterstore, .arity = -3, STORES, .key_specs = update_specs, .since = "1.0.0", .complexity = INTER_COST,
     .summary = "Stores the members that all of the sets have."},
    {.name = "SUNION", .run = run_sunion, .arity = -2, READS, .since = "1.0.0", .complexity = ALL_COST,
     .summary = "Returns the members that any of the sets has."},
    {.name = "SUNIONSTORE", .run = run_sunionstore, .arity = -3, STORES, .key_specs = overwrite_specs, .since = "1.0.0", .complexity = ALL_COST,
     .summary = "Stores the members that any of the sets has."},
};
// clang-format on

const struct cmd_table set_algebra_cmds = {.rows = rows, .count = COUNT_OF(rows)};
