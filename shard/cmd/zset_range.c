/* Ranges of a sorted set, by rank, score or member: read, counted, removed, stored. Whatever the words of
 * a range, it comes down to a run of ascending ranks, walked upwards or downwards. */
#include "shard/types/zset.h"

#include <math.h>
#include <stdlib.h>

#include "shard/cmd/cmd.h"
#include "shard/cmd/store.h"
#include "shard/cmd/zset_reply.h"
#include "shard/exec/exec.h"

enum range_by { BY_RANK, BY_SCORE, BY_LEX };

struct range {
    enum range_by by;
    bool downwards, with_scores;
    int64_t offset, limit; /* limit negative: all */
    int64_t start, stop;   /* BY_RANK, as given */
    struct zset_range scores;
    struct zset_lex lex;
};

/* A run of members in the order of the reply. */
struct run {
    uint64_t first_rank; /* ascending rank of the first one */
    uint64_t count;
};

/* ---- bounds */

/* "(" makes a bound open. What follows is strtod's: leading blanks, no digits at all and numbers that
 * overflow are fine here, and nothing after a NUL is seen. */
static bool parse_score(struct exec *x, struct bytes text, double *out, bool *open_out)
{
    *open_out = text.len > 0 && text.data[0] == '(';
    if (*open_out) text = bytes_view(text.data + 1, text.len - 1);
    if (likely(num_parse_double(text, out))) return true;
    char *copy = arena_alloc(x->scratch, text.len + 1), *end;
    if (text.len > 0) memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    *out = strtod(copy, &end);
    return *end == 0 && !isnan(*out);
}

/* False: replied. */
static bool parse_scores(struct exec *x, uint32_t min, uint32_t max, struct zset_range *out)
{
    if (parse_score(x, x->argv[min], &out->min, &out->min_open) &&
        parse_score(x, x->argv[max], &out->max, &out->max_open))
        return true;
    reply_error(x->reply, "ERR min or max is not a float");
    return false;
}

struct lex_bound {
    char kind; /* '-', '+', '[' or '(' */
    struct bytes member;
};

static bool parse_lex_bound(struct bytes text, struct lex_bound *out)
{
    if (text.len == 0) return false;
    out->kind = (char)text.data[0];
    out->member = bytes_view(text.data + 1, text.len - 1);
    switch (out->kind) {
    case '-':
    case '+':
        return text.len == 1 || text.data[1] == 0; /* Redis looks at one character as a C string */
    case '[':
    case '(':
        return true;
    default:
        return false;
    }
}

/* False: replied. */
static bool parse_lex(struct exec *x, uint32_t min, uint32_t max, struct zset_lex *out)
{
    struct lex_bound low, high;
    if (!parse_lex_bound(x->argv[min], &low) || !parse_lex_bound(x->argv[max], &high)) {
        reply_error(x->reply, "ERR min or max not valid string range item");
        return false;
    }
    *out = (struct zset_lex){
        .min = low.member,
        .max = high.member,
        .min_open = low.kind == '(',
        .max_open = high.kind == '(',
        .min_unbounded = low.kind == '-',
        .max_unbounded = high.kind == '+',
        .empty = low.kind == '+' || high.kind == '-',
    };
    return true;
}

/* ---- options of ZRANGE and its relatives */

/* What the command's name says already; the words for the rest are then unknown to it. */
struct form {
    uint32_t first; /* argv of the first bound */
    bool any_by, any_direction;
    bool stores; /* no WITHSCORES */
};

static bool parse_limit(struct exec *x, uint32_t i, struct range *q)
{
    return exec_arg_i64(x, i, &q->offset) && exec_arg_i64(x, i + 1, &q->limit);
}

/* argv[i …]. False: replied. */
static bool parse_options(struct exec *x, uint32_t i, const struct form *form, struct range *q)
{
    bool by_known = !form->any_by, direction_known = !form->any_direction;
    for (; i < x->argc; i++) {
        struct bytes word = x->argv[i];
        if (!form->stores && bytes_is(word, "WITHSCORES")) {
            q->with_scores = true;
        } else if (bytes_is(word, "LIMIT") && i + 2 < x->argc) {
            if (!parse_limit(x, i + 1, q)) return false;
            i += 2;
        } else if (!direction_known && bytes_is(word, "REV")) {
            q->downwards = direction_known = true;
        } else if (!by_known && bytes_is(word, "BYLEX")) {
            q->by = BY_LEX;
            by_known = true;
        } else if (!by_known && bytes_is(word, "BYSCORE")) {
            q->by = BY_SCORE;
            by_known = true;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* False: replied. Downwards, scores and members are given with the higher bound first. */
static bool parse_bounds(struct exec *x, uint32_t first, struct range *q)
{
    uint32_t min = q->downwards ? first + 1 : first, max = q->downwards ? first : first + 1;
    switch (q->by) {
    case BY_RANK:
        return exec_arg_i64(x, first, &q->start) && exec_arg_i64(x, first + 1, &q->stop);
    case BY_SCORE:
        return parse_scores(x, min, max, &q->scores);
    case BY_LEX:
        return parse_lex(x, min, max, &q->lex);
    }
    __builtin_unreachable();
}

static bool parse_range(struct exec *x, const struct form *form, struct range *q)
{
    q->limit = -1;
    if (!parse_options(x, form->first + 2, form, q)) return false;
    const char *why = NULL;
    if (q->by == BY_RANK && q->limit != -1)
        why =
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
    else if (q->by == BY_LEX && q->with_scores)
        why = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
    if (why == NULL) return parse_bounds(x, form->first, q);
    reply_error(x->reply, why);
    return false;
}

/* ---- from a range to ranks */

/* Negative places count from the end, in the order of the reply. */
static struct run clip(int64_t start, int64_t stop, uint64_t members)
{
    int64_t len = (int64_t)members;
    if (start < 0) start = start + len < 0 ? 0 : start + len;
    if (stop < 0) stop += len;
    if (stop >= len) stop = len - 1;
    if (start > stop) return (struct run){0};
    return (struct run){.first_rank = (uint64_t)start, .count = (uint64_t)(stop - start) + 1};
}

/* Turns places counted in the order of the reply into ranks: `first` is the lowest rank of `members`. */
static void place(struct run *run, uint64_t first, uint64_t members, bool downwards)
{
    if (run->count == 0) return;
    run->first_rank = downwards ? first + members - 1 - run->first_rank : first + run->first_rank;
}

static struct run find_run(const struct record *r, const struct range *q)
{
    uint64_t first = 0, members;
    struct run run = {0};
    if (q->by == BY_RANK) {
        members = zset_len(r);
        run = clip(q->start, q->stop, members);
    } else {
        members = q->by == BY_SCORE ? zset_count_scores(r, &q->scores, &first)
                                    : zset_count_lex(r, &q->lex, &first);
        if (q->offset >= 0 && (uint64_t)q->offset < members) {
            run.first_rank = (uint64_t)q->offset;
            run.count = members - run.first_rank;
            if (q->limit >= 0 && (uint64_t)q->limit < run.count) run.count = (uint64_t)q->limit;
        }
    }
    place(&run, first, members, q->downwards);
    return run;
}

/* ---- reading */

static void reply_run(struct exec *x, const struct record *r, const struct run *run,
                      const struct range *q)
{
    struct zset_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes member;
    double score;
    zset_reply_head(x->reply, run->count, q->with_scores);
    if (run->count == 0) return;
    zset_iter_start(r, run->first_rank, q->downwards ? -1 : 1, &it);
    for (uint64_t left = run->count; left > 0 && zset_iter_next(&it, tmp, &member, &score); left--)
        zset_reply_member(x->reply, member, score, q->with_scores);
}

static void range_generic(struct exec *x, const struct form *form, struct range *q)
{
    struct record *r;
    if (!parse_range(x, form, q) || !exec_read_as(x, x->argv[1], VALUE_ZSET, &r)) return;
    if (r == NULL) {
        reply_array(x->reply, 0);
        return;
    }
    struct run run = find_run(r, q);
    reply_run(x, r, &run, q);
}

static void run_zrange(struct exec *x)
{
    range_generic(x, &(struct form){.first = 2, .any_by = true, .any_direction = true},
                  &(struct range){0});
}

static void range_named(struct exec *x, enum range_by by, bool downwards)
{
    range_generic(x, &(struct form){.first = 2}, &(struct range){.by = by, .downwards = downwards});
}

static void run_zrevrange(struct exec *x)
{
    range_named(x, BY_RANK, true);
}

static void run_zrangebyscore(struct exec *x)
{
    range_named(x, BY_SCORE, false);
}

static void run_zrevrangebyscore(struct exec *x)
{
    range_named(x, BY_SCORE, true);
}

static void run_zrangebylex(struct exec *x)
{
    range_named(x, BY_LEX, false);
}

static void run_zrevrangebylex(struct exec *x)
{
    range_named(x, BY_LEX, true);
}

static void count_generic(struct exec *x, enum range_by by)
{
    struct range q = {.by = by, .limit = -1};
    struct record *r;
    if (!parse_bounds(x, 2, &q) || !exec_read_as(x, x->argv[1], VALUE_ZSET, &r)) return;
    reply_i64(x->reply, r == NULL ? 0 : (int64_t)find_run(r, &q).count);
}

static void run_zcount(struct exec *x)
{
    count_generic(x, BY_SCORE);
}

static void run_zlexcount(struct exec *x)
{
    count_generic(x, BY_LEX);
}

/* ---- removing */

/* The log gets the ranks as they are now, whatever words named the range. */
static void log_removed(struct exec *x, const struct change *c, const struct run *run)
{
    char first[NUM_I64_TEXT_MAX], last[NUM_I64_TEXT_MAX];
    struct bytes args[3] = {
        c->key.name,
        bytes_view(first, num_format_u64(first, run->first_rank)),
        bytes_view(last, num_format_u64(last, run->first_rank + run->count - 1)),
    };
    exec_log(x, c, OP_ZREMRANGEBYRANK, args, 3);
}

static void remove_generic(struct exec *x, enum range_by by, const char *event)
{
    struct range q = {.by = by, .limit = -1};
    struct change c;
    if (!parse_bounds(x, 2, &q) || !exec_open_as(x, x->argv[1], VALUE_ZSET, &c)) return;
    struct run run = {0};
    if (c.e.record != NULL) run = find_run(c.e.record, &q);
    if (run.count > 0) {
        log_removed(x, &c, &run);
        if (run.count == zset_len(c.e.record)) {
            exec_notify(x, &c.key, NOTIFY_ZSET, event);
            exec_delete(x, &c, NOTIFY_GENERIC, "del"); /* freed in slices */
        } else {
            zset_remove_ranks(&c.e.record, run.first_rank, run.count);
            (void)exec_commit(x, &c, NOTIFY_ZSET, event); /* it was there: cannot fail */
        }
    }
    reply_i64(x->reply, (int64_t)run.count);
}

static void run_zremrangebyrank(struct exec *x)
{
    remove_generic(x, BY_RANK, "zremrangebyrank");
}

static void run_zremrangebyscore(struct exec *x)
{
    remove_generic(x, BY_SCORE, "zremrangebyscore");
}

static void run_zremrangebylex(struct exec *x)
{
    remove_generic(x, BY_LEX, "zremrangebylex");
}

/* ---- ZRANGESTORE */

/* The run as a sorted set under another key. NULL: out of memory. */
static struct record *copy_run(struct exec *x, const struct record *r, const struct run *run,
                               bool downwards, struct bytes key)
{
    struct zset_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes member;
    double score;
    exec_build_for(x, key);
    struct record *copy = zset_try_new(key, -1);
    if (copy == NULL || !zset_try_expect(&copy, run->count, 0)) goto out_nomem;
    zset_iter_start(r, run->first_rank, downwards ? -1 : 1, &it);
    for (uint64_t left = run->count; left > 0 && zset_iter_next(&it, tmp, &member, &score); left--)
        if (zset_put(&copy, member, score) < 0) goto out_nomem;
    return copy;
out_nomem:
    if (copy != NULL) exec_free_record(x, copy);
    return NULL;
}

static void run_zrangestore(struct exec *x)
{
    struct form form = {.first = 3, .any_by = true, .any_direction = true, .stores = true};
    struct range q = {0};
    struct record *r;
    if (!parse_range(x, &form, &q) || !exec_read_as(x, x->argv[2], VALUE_ZSET, &r)) return;
    struct run run = {0};
    if (r != NULL) run = find_run(r, &q);
    if (run.count == 0)
        store_nothing(x, x->argv[1]);
    else
        store_result(x, x->argv[1], copy_run(x, r, &run, q.downwards, x->argv[1]), NOTIFY_ZSET,
                     "zrangestore");
}

/* ---- the rows */

// clang-format off
#define ZSET_ROW .acl = ACL_SORTEDSET, .keys = {1, 1, 1}, .spread = SPREAD_KEY, .group = "sorted-set"
#define LOG_N "O(log N), N the size of the sorted set"
#define LOG_N_PLUS_M "O(log N + M), N the size of the sorted set, M the members returned"
#define LOG_N_TIMES_M "O(M log N), N the size of the sorted set, M the members removed"

static const struct cmd_key_spec store_specs[] = {
    {.flags = KEY_OW | KEY_UPDATE, .begin_index = 1, .step = 1},
    {.flags = KEY_RO | KEY_ACCESS, .begin_index = 2, .step = 1},
};
static const struct cmd_spec rows[] = {
    {.name = "ZCOUNT", .run = run_zcount, .arity = 4, .flags = CMD_READONLY | CMD_FAST, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.0.0", .complexity = LOG_N, .summary = "Counts the members with scores in a range.", .syntax = "key min max"},
    {.name = "ZLEXCOUNT", .run = run_zlexcount, .arity = 4, .flags = CMD_READONLY | CMD_FAST, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.8.9", .complexity = LOG_N, .summary = "Counts the members in a range of names, all scores being equal.", .syntax = "key min max"},
    {.name = "ZRANGE", .run = run_zrange, .arity = -4, .flags = CMD_READONLY, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "1.2.0", .complexity = LOG_N_PLUS_M, .summary = "Returns members in a range of places, scores or names.",
     .syntax = "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]", .history = "6.2.0:Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options."},
    {.name = "ZRANGEBYLEX", .run = run_zrangebylex, .arity = -4, .flags = CMD_READONLY, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.8.9", .complexity = LOG_N_PLUS_M, .summary = "Returns members in a range of names, all scores being equal.", .syntax = "key min max [LIMIT offset count]"},
    {.name = "ZRANGEBYSCORE", .run = run_zrangebyscore, .arity = -4, .flags = CMD_READONLY, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "1.0.5", .complexity = LOG_N_PLUS_M, .summary = "Returns members with scores in a range.", .syntax = "key min max [WITHSCORES] [LIMIT offset count]",
     .history = "2.0.0:Added the `WITHSCORES` modifier."},
    {.name = "ZRANGESTORE", .run = run_zrangestore, .arity = -5, .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_SORTEDSET, .keys = {1, 2, 1}, .spread = SPREAD_KEY, .group = "sorted-set",
     .key_specs = store_specs, .key_specs_count = COUNT_OF(store_specs),
     .since = "6.2.0", .complexity = "O(log N + M log M), N the size of the sorted set, M the members stored", .summary = "Stores members in a range of places, scores or names under another key.",
     .syntax = "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]"},
    {.name = "ZREMRANGEBYLEX", .run = run_zremrangebylex, .arity = 4, .flags = CMD_WRITE | CMD_SHRINKS, ZSET_ROW, .key_flags = KEY_RW | KEY_DELETE,
     .since = "2.8.9", .complexity = LOG_N_TIMES_M, .summary = "Removes members in a range of names, all scores being equal.", .syntax = "key min max"},
    {.name = "ZREMRANGEBYRANK", .run = run_zremrangebyrank, .arity = 4, .flags = CMD_WRITE | CMD_SHRINKS, ZSET_ROW, .opcode = OP_ZREMRANGEBYRANK, .key_flags = KEY_RW | KEY_DELETE,
     .since = "2.0.0", .complexity = LOG_N_TIMES_M, .summary = "Removes members in a range of places.", .syntax = "key start stop"},
    {.name = "ZREMRANGEBYSCORE", .run = run_zremrangebyscore, .arity = 4, .flags = CMD_WRITE | CMD_SHRINKS, ZSET_ROW, .key_flags = KEY_RW | KEY_DELETE,
     .since = "1.2.0", .complexity = LOG_N_TIMES_M, .summary = "Removes members with scores in a range.", .syntax = "key min max"},
    {.name = "ZREVRANGE", .run = run_zrevrange, .arity = -4, .flags = CMD_READONLY, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "1.2.0", .complexity = LOG_N_PLUS_M, .summary = "Returns members in a range of places, from the highest score down.", .syntax = "key start stop [WITHSCORES]"},
    {.name = "ZREVRANGEBYLEX", .run = run_zrevrangebylex, .arity = -4, .flags = CMD_READONLY, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.8.9", .complexity = LOG_N_PLUS_M, .summary = "Returns members in a range of names downwards, all scores being equal.", .syntax = "key max min [LIMIT offset count]"},
    {.name = "ZREVRANGEBYSCORE", .run = run_zrevrangebyscore, .arity = -4, .flags = CMD_READONLY, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.2.0", .complexity = LOG_N_PLUS_M, .summary = "Returns members with scores in a range, from the highest down.", .syntax = "key max min [WITHSCORES] [LIMIT offset count]",
     .history = "2.1.6:`min` and `max` can be exclusive."},
};
// clang-format on

const struct cmd_table zset_range_cmds = {.rows = rows, .count = COUNT_OF(rows)};
