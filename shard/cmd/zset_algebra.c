/* Algebra of several sorted sets (and sets: their members have score 1): replied, counted, stored. In two phases,
 * as the scheduler wants it: all sources are read, then one key changes. */
#include "shard/types/zset_algebra.h"

#include <math.h>

#include "shard/cmd/cmd.h"
#include "shard/cmd/store.h"
#include "shard/cmd/zset_reply.h"
#include "shard/exec/exec.h"
#include "shard/types/set_algebra.h"

enum op { UNION, INTER, DIFF };
enum ends { REPLIED, COUNTED, STORED };

struct form {
    enum op op;
    enum ends ends;
    const char *event; /* STORED */
};
struct query {
    const struct form *form;
    uint32_t count;
    struct zset_source *sources; /* in scratch */
    enum zset_aggregate how;
    bool with_scores;
    int64_t limit; /* COUNTED; 0: none */
};

/* ---- arguments, in Redis's order: how many keys, the keys, what comes after them */

static void reply_no_keys(struct exec *x)
{
    char name[32];
    size_t n = 0;
    for (; x->spec->name[n] != 0 && n < sizeof name - 1; n++)
        name[n] = (char)(x->spec->name[n] | 0x20);
    reply_errorf(x->reply, "ERR at least 1 input key is needed for '%.*s' command", (int)n, name);
}

/* argv[at]. False: replied. */
static bool parse_count(struct exec *x, uint32_t at, uint32_t *count_out)
{
    int64_t count;
    if (!exec_arg_i64(x, at, &count)) return false;
    if (count < 1) {
        reply_no_keys(x);
        return false;
    }
    if (count > (int64_t)x->argc - at - 1) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    *count_out = (uint32_t)count;
    return true;
}

/* argv[at …]. False: replied. What is read stays valid until the first change. */
static bool read_sources(struct exec *x, uint32_t at, struct query *q)
{
    q->sources = arena_alloc(x->scratch, q->count * sizeof *q->sources);
    for (uint32_t i = 0; i < q->count; i++) {
        const struct record *r = exec_read(x, x->argv[at + i]);
        if (r != NULL && record_type(r) != VALUE_ZSET && record_type(r) != VALUE_SET) {
            reply_error(x->reply, ERR_WRONGTYPE);
            return false;
        }
        q->sources[i] = (struct zset_source){.record = r, .weight = 1};
    }
    return true;
}

static bool parse_weights(struct exec *x, uint32_t at, struct query *q)
{
    for (uint32_t i = 0; i < q->count; i++) {
        double *weight = &q->sources[i].weight;
        if (num_parse_double(x->argv[at + i], weight) && !isnan(*weight)) continue;
        reply_error(x->reply, "ERR weight value is not a float");
        return false;
    }
    return true;
}

static bool parse_aggregate(struct exec *x, uint32_t at, struct query *q)
{
    static const char *const names[] = {[ZSET_SUM] = "SUM", [ZSET_MIN] = "MIN", [ZSET_MAX] = "MAX"};
    for (uint32_t i = 0; i < COUNT_OF(names); i++) {
        if (!bytes_is(x->argv[at], names[i])) continue;
        q->how = (enum zset_aggregate)i;
        return true;
    }
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

/* argv[i …]. False: replied. */
static bool parse_options(struct exec *x, uint32_t i, struct query *q)
{
    enum ends ends = q->form->ends;
    bool weighs = q->form->op != DIFF && ends != COUNTED;
    while (i < x->argc) {
        struct bytes word = x->argv[i++];
        uint32_t left = x->argc - i;
        if (weighs && left >= q->count && bytes_is(word, "WEIGHTS")) {
            if (!parse_weights(x, i, q)) return false;
            i += q->count;
        } else if (weighs && left >= 1 && bytes_is(word, "AGGREGATE")) {
            if (!parse_aggregate(x, i++, q)) return false;
        } else if (ends == REPLIED && bytes_is(word, "WITHSCORES")) {
            q->with_scores = true;
        } else if (ends == COUNTED && left >= 1 && bytes_is(word, "LIMIT")) {
            if (!exec_arg_range(x, i++, 0, INT64_MAX, "ERR LIMIT can't be negative", &q->limit))
                return false;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* argv[at]: the number of keys. False: replied. */
static bool parse(struct exec *x, uint32_t at, struct query *q)
{
    return parse_count(x, at, &q->count) && read_sources(x, at + 1, q) &&
           parse_options(x, at + 1 + q->count, q);
}

/* ---- the result */

static const struct record **records_of(struct exec *x, const struct query *q)
{
    const struct record **records = arena_alloc(x->scratch, q->count * sizeof(struct record *));
    for (uint32_t i = 0; i < q->count; i++)
        records[i] = q->sources[i].record;
    return records;
}

/* False: out of memory. */
static bool combine(struct exec *x, const struct query *q, struct gather *out)
{
    switch (q->form->op) {
    case UNION:
        return zset_union(q->sources, q->count, q->how, out);
    case INTER:
        return zset_inter(q->sources, q->count, q->how, out);
    case DIFF:
        return zset_diff(records_of(x, q), q->count, out);
    }
    __builtin_unreachable();
}

static void reply_result(struct exec *x, const struct query *q)
{
    struct gather g;
    if (!combine(x, q, &g)) {
        exec_reply_nomem(x);
        return;
    }
    zset_reply_head(x->reply, g.count, q->with_scores);
    for (uint32_t i = 0; i < g.count; i++)
        zset_reply_member(x->reply, gather_member(&g.entries[i]), g.entries[i].score,
                          q->with_scores);
    gather_free(&g);
}

static void store(struct exec *x, const struct query *q)
{
    struct gather g;
    struct record *r = NULL;
    exec_build_for(x, x->argv[1]);
    if (combine(x, q, &g)) {
        r = zset_try_build(x->argv[1], &g);
        gather_free(&g);
    }
    store_result(x, x->argv[1], r, NOTIFY_ZSET, q->form->event);
}

struct counting {
    uint64_t count, limit;
};

static bool count_member(void *ctx, struct set_member *m, double score)
{
    struct counting *c = ctx;
    (void)m;
    (void)score;
    return ++c->count != c->limit;
}

static void reply_count(struct exec *x, const struct query *q)
{
    struct counting c = {.limit = (uint64_t)q->limit};
    set_inter(records_of(x, q), q->count, &(struct set_sink){.take = count_member, .ctx = &c});
    reply_i64(x->reply, (int64_t)c.count);
}

static void run_form(struct exec *x, const struct form *form)
{
    struct query q = {.form = form};
    if (!parse(x, form->ends == STORED ? 2 : 1, &q)) return;
    switch (form->ends) {
    case REPLIED:
        reply_result(x, &q);
        return;
    case COUNTED:
        reply_count(x, &q);
        return;
    case STORED:
        store(x, &q);
    }
}

static void run_zunion(struct exec *x)
{
    run_form(x, &(struct form){.op = UNION, .ends = REPLIED});
}

static void run_zinter(struct exec *x)
{
    run_form(x, &(struct form){.op = INTER, .ends = REPLIED});
}

static void run_zdiff(struct exec *x)
{
    run_form(x, &(struct form){.op = DIFF, .ends = REPLIED});
}

static void run_zintercard(struct exec *x)
{
    run_form(x, &(struct form){.op = INTER, .ends = COUNTED});
}

static void run_zunionstore(struct exec *x)
{
    run_form(x, &(struct form){.op = UNION, .ends = STORED, .event = "zunionstore"});
}

static void run_zinterstore(struct exec *x)
{
    run_form(x, &(struct form){.op = INTER, .ends = STORED, .event = "zinterstore"});
}

static void run_zdiffstore(struct exec *x)
{
    run_form(x, &(struct form){.op = DIFF, .ends = STORED, .event = "zdiffstore"});
}

/* ---- the rows */

// clang-format off
#define READS .arity = -3, .flags = CMD_READONLY | CMD_MOVABLE_KEYS, .acl = ACL_SORTEDSET, .spread = SPREAD_KEY, \
    .key_specs = read_specs, .key_specs_count = COUNT_OF(read_specs), .group = "sorted-set"
#define STORES .arity = -4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLE_KEYS, .acl = ACL_SORTEDSET, .keys = {1, 1, 1}, .spread = SPREAD_KEY, \
    .key_specs = store_specs, .key_specs_count = COUNT_OF(store_specs), .group = "sorted-set"
#define INTER_COST "O(N*K + M log M), N the members of the smallest sorted set, K their number, M the members of the result"
#define UNION_COST "O(N + M log M), N the members of all sorted sets, M those of the result"
#define DIFF_COST "O(N*K + M log M) at most, N the members of the first sorted set, K their number, M the members of the result"
#define WEIGHED " [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]"

static const struct cmd_key_spec read_specs[] = {
    {.flags = KEY_RO | KEY_ACCESS, .begin_index = 1, .keynum = true, .first_key = 1, .step = 1},
};
static const struct cmd_key_spec store_specs[] = {
    {.flags = KEY_OW | KEY_UPDATE, .begin_index = 1, .step = 1},
    {.flags = KEY_RO | KEY_ACCESS, .begin_index = 2, .keynum = true, .first_key = 1, .step = 1},
};
static const struct cmd_spec rows[] = {
    {.name = "ZDIFF", .run = run_zdiff, READS, .since = "6.2.0", .complexity = DIFF_COST,
     .summary = "Returns the members of a sorted set that no other of them has.", .syntax = "numkeys key [key ...] [WITHSCORES]"},
    {.name = "ZDIFFSTORE", .run = run_zdiffstore, STORES, .since = "6.2.0", .complexity = DIFF_COST,
     .summary = "Stores the members of a sorted set that no other of them has.", .syntax = "destination numkeys key [key ...]"},
    {.name = "ZINTER", .run = run_zinter, READS, .since = "6.2.0", .complexity = INTER_COST,
     .summary = "Returns the members that all of the sorted sets have.", .syntax = "numkeys key [key ...]" WEIGHED " [WITHSCORES]"},
    {.name = "ZINTERCARD", .run = run_zintercard, READS, .since = "7.0.0", .complexity = "O(N*K), N the members of the smallest sorted set, K their number",
     .summary = "Counts the members that all of the sorted sets have, up to a limit.", .syntax = "numkeys key [key ...] [LIMIT limit]"},
    {.name = "ZINTERSTORE", .run = run_zinterstore, STORES, .since = "2.0.0", .complexity = INTER_COST,
     .summary = "Stores the members that all of the sorted sets have.", .syntax = "destination numkeys key [key ...]" WEIGHED},
    {.name = "ZUNION", .run = run_zunion, READS, .since = "6.2.0", .complexity = UNION_COST,
     .summary = "Returns the members that any of the sorted sets has.", .syntax = "numkeys key [key ...]" WEIGHED " [WITHSCORES]"},
    {.name = "ZUNIONSTORE", .run = run_zunionstore, STORES, .since = "2.0.0", .complexity = UNION_COST,
     .summary = "Stores the members that any of the sorted sets has.", .syntax = "destination numkeys key [key ...]" WEIGHED},
};
// clang-format on

const struct cmd_table zset_algebra_cmds = {.rows = rows, .count = COUNT_OF(rows)};
