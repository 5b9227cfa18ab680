/* Sorted sets, member by member: scores set and counted up, ranks, the lowest and highest popped, members
 * drawn at random, scanned. Ranges: zset_range.c. */
#include "shard/types/zset.h"

#include <math.h>
#include <stdio.h>

#include "shard/cmd/cmd.h"
#include "shard/cmd/mpop_args.h"
#include "shard/cmd/scan_args.h"
#include "shard/cmd/zset_reply.h"
#include "shard/exec/exec.h"

static bool read_zset(struct exec *x, struct record **record_out)
{
    return exec_read_as(x, x->argv[1], VALUE_ZSET, record_out);
}

/* ---- ZADD and ZINCRBY */

#define ZADD_CH (1u << 8) /* beside enum zset_how */

struct zadd {
    uint32_t how;   /* enum zset_how, ZADD_CH */
    uint32_t first; /* argv of the first score; a member follows each */
    uint32_t pairs;
    double *scores; /* in scratch; once applied the results, NAN where nothing changed */
    uint32_t added, moved;
    enum zset_result last; /* of the last pair that was looked at */
};

static const struct option {
    const char *name;
    uint32_t flag;
} options[] = {
    {"NX", ZSET_NX},     {"XX", ZSET_XX}, {"CH", ZADD_CH},
    {"INCR", ZSET_INCR}, {"GT", ZSET_GT}, {"LT", ZSET_LT},
};

static uint32_t option_flag(struct bytes word)
{
    for (size_t i = 0; i < COUNT_OF(options); i++)
        if (bytes_is(word, options[i].name)) return options[i].flag;
    return 0;
}

/* Why the options cannot be, NULL if they can. */
static const char *conflict(const struct zadd *z)
{
    bool nx = z->how & ZSET_NX, gt = z->how & ZSET_GT, lt = z->how & ZSET_LT;
    if (nx && (z->how & ZSET_XX))
        return "ERR XX and NX options at the same time are not compatible";
    if ((gt && nx) || (lt && nx) || (gt && lt))
        return "ERR GT, LT, and/or NX options at the same time are not compatible";
    if ((z->how & ZSET_INCR) && z->pairs > 1)
        return "ERR INCR option supports a single increment-element pair";
    return NULL;
}

/* False: replied. ZINCRBY comes through here too, as in Redis, where "ZINCRBY k nx m" is a syntax error. */
static bool parse_zadd(struct exec *x, struct zadd *z)
{
    uint32_t i = 2;
    for (uint32_t flag; i < x->argc && (flag = option_flag(x->argv[i])) != 0; i++)
        z->how |= flag;
    uint32_t left = x->argc - i;
    z->first = i;
    z->pairs = left / 2;
    const char *why = left == 0 || left % 2 != 0 ? ERR_SYNTAX : conflict(z);
    if (unlikely(why != NULL)) {
        reply_error(x->reply, why);
        return false;
    }
    z->scores = arena_alloc(x->scratch, z->pairs * sizeof *z->scores);
    for (uint32_t k = 0; k < z->pairs; k++)
        if (!exec_arg_double(x, i + 2 * k, &z->scores[k])) return false;
    return true;
}

/* Makes the record if there is none, in the encoding that the pairs will need: Redis goes by their number
 * and the first member's length. False: out of memory. */
static bool make_room(struct exec *x, struct change *c, const struct zadd *z)
{
    size_t first_bytes = 0;
    if (c->e.record == NULL) {
        c->e.record = zset_try_new(c->key.name, -1);
        if (unlikely(c->e.record == NULL)) return false;
        first_bytes = x->argv[z->first + 1].len;
    }
    return zset_try_expect(&c->e.record, z->pairs, first_bytes);
}

static void apply_zadd(struct exec *x, struct change *c, struct zadd *z)
{
    for (uint32_t k = 0; k < z->pairs; k++) {
        double *score = &z->scores[k];
        z->last = zset_update(&c->e.record, x->argv[z->first + 2 * k + 1], z->how, score);
        z->added += z->last == ZSET_ADDED;
        z->moved += z->last == ZSET_MOVED;
        if (z->last == ZSET_ADDED || z->last == ZSET_MOVED) continue;
        /* An increment's result is replied, changed or not; it is a pair alone and logged by `last`. */
        if (!(z->how & ZSET_INCR)) *score = NAN;
        if (unlikely(z->last == ZSET_NOMEM)) {
            for (k++; k < z->pairs; k++)
                z->scores[k] = NAN;
            return;
        }
    }
}

/* Members that changed and their scores now, as one ZADD without options. Scores that were given stand as
 * they were sent. */
static void log_zadd(struct exec *x, const struct change *c, const struct zadd *z)
{
    uint32_t changed = z->added + z->moved;
    if (z->how & ZSET_INCR) {
        char text[NUM_DOUBLE_TEXT_MAX];
        struct bytes args[3] = {c->key.name,
                                bytes_view(text, num_format_double(text, z->scores[0])),
                                x->argv[z->first + 1]};
        exec_log(x, c, OP_ZADD, args, 3);
        return;
    }
    if (likely(changed == z->pairs && z->first == 2)) {
        exec_log(x, c, OP_ZADD, x->argv + 1, x->argc - 1);
        return;
    }
    struct bytes *args = arena_alloc(x->scratch, (1 + 2 * (size_t)changed) * sizeof *args);
    uint32_t n = 0;
    args[n++] = c->key.name;
    for (uint32_t k = 0; k < z->pairs; k++) {
        if (isnan(z->scores[k])) continue;
        args[n++] = x->argv[z->first + 2 * k];
        args[n++] = x->argv[z->first + 2 * k + 1];
    }
    assert(n == 1 + 2 * changed);
    exec_log(x, c, OP_ZADD, args, n);
}

static void reply_zadd(struct exec *x, const struct zadd *z)
{
    if (z->last == ZSET_NAN)
        reply_error(x->reply, "ERR resulting score is not a number (NaN)");
    else if (z->last == ZSET_NOMEM)
        exec_reply_nomem(x);
    else if (!(z->how & ZSET_INCR))
        reply_i64(x->reply, z->how & ZADD_CH ? (int64_t)z->added + z->moved : z->added);
    else if (z->last == ZSET_REFUSED)
        reply_null(x->reply);
    else
        reply_double(x->reply, z->scores[0]);
}

static void add_generic(struct exec *x, uint32_t how)
{
    struct zadd z = {.how = how};
    struct change c;
    if (!parse_zadd(x, &z) || !exec_open_as(x, x->argv[1], VALUE_ZSET, &c)) return;
    if (c.e.record == NULL && (z.how & ZSET_XX)) {
        z.last = ZSET_REFUSED;
        reply_zadd(x, &z);
        return;
    }
    bool ok = make_room(x, &c, &z);
    if (likely(ok)) apply_zadd(x, &c, &z);
    bool changed = z.added + z.moved > 0;
    if (unlikely(!ok || (z.last == ZSET_NOMEM && !changed))) {
        exec_abandon(x, &c);
        return;
    }
    const char *event = z.how & ZSET_INCR ? "zincr" : "zadd";
    if (unlikely(!changed))
        exec_put_back(x, &c);
    else if (!exec_commit(x, &c, NOTIFY_ZSET, event))
        return;
    if (likely(changed)) log_zadd(x, &c, &z);
    reply_zadd(x, &z);
}

static void run_zadd(struct exec *x)
{
    add_generic(x, 0);
}

static void run_zincrby(struct exec *x)
{
    add_generic(x, ZSET_INCR);
}

/* ---- ZREM */

static void run_zrem(struct exec *x)
{
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_ZSET, &c)) return;
    if (c.e.record == NULL) {
        reply_i64(x->reply, 0);
        return;
    }
    int64_t removed = 0;
    for (uint32_t i = 2; i < x->argc && zset_len(c.e.record) > 0; i++)
        removed += zset_remove(&c.e.record, x->argv[i]);
    if (removed > 0) exec_log_same(x, &c);
    if (removed > 0)
        (void)exec_commit(x, &c, NOTIFY_ZSET, "zrem"); /* it was there: cannot fail */
    else
        exec_put_back(x, &c);
    reply_i64(x->reply, removed);
}

/* ---- asking */

static void run_zcard(struct exec *x)
{
    struct record *r;
    if (!read_zset(x, &r)) return;
    reply_i64(x->reply, r == NULL ? 0 : (int64_t)zset_len(r));
}

static void reply_score(struct exec *x, const struct record *r, struct bytes member)
{
    double score;
    if (r != NULL && zset_score(r, member, &score))
        reply_double(x->reply, score);
    else
        reply_null(x->reply);
}

static void run_zscore(struct exec *x)
{
    struct record *r;
    if (read_zset(x, &r)) reply_score(x, r, x->argv[2]);
}

static void run_zmscore(struct exec *x)
{
    struct record *r;
    if (!read_zset(x, &r)) return;
    reply_array(x->reply, (int64_t)x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++)
        reply_score(x, r, x->argv[i]);
}

static void reply_rank(struct exec *x, const struct record *r, uint64_t rank, bool with_score)
{
    if (with_score) reply_array(x->reply, 2);
    reply_i64(x->reply, (int64_t)rank);
    if (!with_score) return;
    double score;
    bool there = zset_score(r, x->argv[2], &score);
    assert(there);
    reply_double(x->reply, score);
}

static void rank_generic(struct exec *x, bool from_highest)
{
    struct record *r;
    uint64_t rank;
    if (x->argc > 4) {
        exec_reply_arity(x);
        return;
    }
    bool with_score = x->argc == 4;
    if (with_score && !bytes_is(x->argv[3], "WITHSCORE")) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if (!read_zset(x, &r)) return;
    if (r != NULL && zset_rank(r, x->argv[2], &rank))
        reply_rank(x, r, from_highest ? zset_len(r) - 1 - rank : rank, with_score);
    else if (with_score)
        reply_null_array(x->reply);
    else
        reply_null(x->reply);
}

static void run_zrank(struct exec *x)
{
    rank_generic(x, false);
}

static void run_zrevrank(struct exec *x)
{
    rank_generic(x, true);
}

/* ---- ZPOPMIN and ZPOPMAX */

#define POP_CHUNK 128u /* members per unit of the log */

/* Replies `n` members from the lowest (or highest) end and logs them as removed. */
static void tell_popped(struct exec *x, const struct change *c, bool highest, uint32_t n,
                        bool pairs)
{
    struct bytes args[POP_CHUNK + 1] = {c->key.name};
    char tmp[NUM_I64_TEXT_MAX];
    struct zset_iter it;
    double score;
    struct arena_mark mark = arena_mark(x->scratch);
    zset_iter_start(c->e.record, highest ? zset_len(c->e.record) - 1 : 0, highest ? -1 : 1, &it);
    for (uint32_t i = 1; i <= n && zset_iter_next(&it, tmp, &args[i], &score); i++) {
        if (pairs) reply_array(x->reply, 2);
        reply_bulk(x->reply, args[i]);
        reply_double(x->reply, score);
        if (args[i].data != (const uint8_t *)tmp) continue; /* it lies in the record, which waits */
        uint8_t *own = arena_alloc(x->scratch, args[i].len);
        memcpy(own, tmp, args[i].len);
        args[i].data = own;
    }
    exec_log(x, c, OP_ZREM, args, n + 1);
    arena_rewind(x->scratch, mark);
}

/* Names the members in the log, not their ranks: a reader of the log learns what left. */
static void pop_members(struct exec *x, struct change *c, bool highest, uint64_t count, bool pairs)
{
    bool grouped = count > POP_CHUNK;
    if (grouped) exec_log_group_begin(x);
    for (uint64_t left = count; left > 0;) {
        uint32_t n = left < POP_CHUNK ? (uint32_t)left : POP_CHUNK;
        tell_popped(x, c, highest, n, pairs);
        zset_remove_ranks(&c->e.record, highest ? zset_len(c->e.record) - n : 0, n);
        left -= n;
    }
    if (grouped) exec_log_group_end(x);
    (void)exec_commit(x, c, NOTIFY_ZSET,
                      highest ? "zpopmax" : "zpopmin"); /* it was there: cannot fail */
}

/* What the log takes for `count` members from one end. */
static size_t pop_log_bytes(const struct change *c, bool highest, uint64_t count)
{
    const struct record *r = c->e.record;
    struct zset_iter it;
    struct bytes member;
    double score;
    char tmp[NUM_I64_TEXT_MAX];
    size_t bytes = (size_t)(count / POP_CHUNK + 1) * (c->key.name.len + 32);
    zset_iter_start(r, highest ? zset_len(r) - 1 : 0, highest ? -1 : 1, &it);
    for (; count > 0 && zset_iter_next(&it, tmp, &member, &score); count--)
        bytes += member.len + 8;
    return bytes;
}

static void pop_generic(struct exec *x, bool highest)
{
    struct change c;
    int64_t count = 1;
    if (x->argc > 3) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if (x->argc == 3 &&
        !exec_arg_range(x, 2, 0, INT64_MAX, "ERR value is out of range, must be positive", &count))
        return;
    if (!exec_open_as(x, x->argv[1], VALUE_ZSET, &c)) return;
    if (c.e.record == NULL || count == 0) {
        reply_array(x->reply, 0);
        return;
    }
    uint64_t len = zset_len(c.e.record), n = (uint64_t)count < len ? (uint64_t)count : len;
    if (!exec_reserve(x, pop_log_bytes(&c, highest, n))) return;
    bool pairs = x->reply->proto > 2 && x->argc == 3; /* without a count RESP3 is flat as well */
    reply_array(x->reply, (int64_t)(pairs ? n : 2 * n));
    pop_members(x, &c, highest, n, pairs);
}

static void run_zpopmin(struct exec *x)
{
    pop_generic(x, false);
}

static void run_zpopmax(struct exec *x)
{
    pop_generic(x, true);
}

/* The sorted set that argv[place] names is there. Pairs in both protocols. */
static void pop_counted(struct exec *x, uint32_t place, const struct mpop_args *args)
{
    struct change c;
    exec_open(x, x->argv[place], &c);
    uint64_t len = zset_len(c.e.record), n = args->count < len ? args->count : len;
    if (!exec_reserve(x, pop_log_bytes(&c, args->other_end, n)) || !exec_claim(x)) return;
    reply_array(x->reply, 2);
    reply_bulk(x->reply, c.key.name);
    reply_array(x->reply, (int64_t)n);
    pop_members(x, &c, args->other_end, n, true);
}

/* Of the first sorted set that is there. */
static void run_zmpop(struct exec *x)
{
    struct mpop_args args;
    uint32_t place;
    if (!mpop_parse(x, 1, "MIN", "MAX", &args) || !mpop_find(x, &args, VALUE_ZSET, &place)) return;
    if (place == 0)
        reply_null_array(x->reply);
    else
        pop_counted(x, place, &args);
}

/* ---- BZPOPMIN, BZPOPMAX, BZMPOP: waiting for a sorted set to be there */

static void run_bzmpop(struct exec *x)
{
    struct mpop_args args;
    uint32_t place;
    if (mpop_parse(x, 2, "MIN", "MAX", &args) && exec_arg_timeout(x, 1) &&
        mpop_find_or_wait(x, &args, VALUE_ZSET, &place))
        pop_counted(x, place, &args);
}

static void block_pop(struct exec *x, bool highest)
{
    struct mpop_args args = {.first = 1, .keys = x->argc - 2};
    struct change c;
    uint32_t place;
    if (!exec_arg_timeout(x, x->argc - 1) || !mpop_find_or_wait(x, &args, VALUE_ZSET, &place))
        return;
    exec_open(x, x->argv[place], &c);
    if (!exec_reserve(x, pop_log_bytes(&c, highest, 1)) || !exec_claim(x)) return;
    reply_array(x->reply, 3);
    reply_bulk(x->reply, c.key.name);
    pop_members(x, &c, highest, 1, false);
}

static void run_bzpopmin(struct exec *x)
{
    block_pop(x, false);
}

static void run_bzpopmax(struct exec *x)
{
    block_pop(x, true);
}

/* ---- ZRANDMEMBER */

/* A set of ranks: open addressing, at most half full; 0 is an empty place, so rank + 1 is stored. */
#define DRAWN_MAX (1u << 18) /* 4 MiB of scratch */

struct drawn {
    uint64_t *places;
    uint64_t mask;
};

static bool drawn_add(struct drawn *d, uint64_t rank)
{
    uint64_t at = rank * 0x9E3779B97F4A7C15u >> 20;
    for (;; at++) {
        uint64_t *place = &d->places[at & d->mask];
        if (*place == rank + 1) return false;
        if (*place != 0) continue;
        *place = rank + 1;
        return true;
    }
}

static void reply_rank_drawn(struct exec *x, const struct record *r, uint64_t rank,
                             bool with_scores)
{
    struct zset_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes member;
    double score;
    zset_iter_start(r, rank, 1, &it);
    bool any = zset_iter_next(&it, tmp, &member, &score);
    assert(any);
    zset_reply_member(x->reply, member, score, with_scores);
}

/* Few of many: Floyd's way to draw `count` different ranks below len, one draw each. */
static void reply_few(struct exec *x, const struct record *r, uint64_t count, bool with_scores)
{
    uint64_t len = zset_len(r), places = 4;
    while (places < 2 * count)
        places *= 2;
    struct drawn d = {.places = arena_alloc(x->scratch, places * sizeof *d.places),
                      .mask = places - 1};
    memset(d.places, 0, places * sizeof *d.places);
    for (uint64_t top = len - count; top < len; top++) {
        uint64_t rank = rng_below(x->rng, top + 1);
        if (!drawn_add(&d, rank)) {
            rank = top;
            (void)drawn_add(&d, rank);
        }
        reply_rank_drawn(x, r, rank, with_scores);
    }
}

/* Many: one walk, taking each with the chance that is left (selection sampling, Knuth 3.4.2 S). */
static void reply_many(struct exec *x, const struct record *r, uint64_t count, bool with_scores)
{
    struct zset_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes member;
    double score;
    uint64_t left = zset_len(r);
    zset_iter_start(r, 0, 1, &it);
    while (count > 0 && zset_iter_next(&it, tmp, &member, &score)) {
        if (rng_below(x->rng, left--) >= count) continue;
        zset_reply_member(x->reply, member, score, with_scores);
        count--;
    }
}

/* Below a tenth of the set single draws are cheaper than the walk. */
static bool is_few(uint64_t count, uint64_t len)
{
    return count < len / 10 && count <= DRAWN_MAX;
}

static void reply_drawn(struct exec *x, const struct record *r, int64_t count, bool with_scores)
{
    char tmp[NUM_I64_TEXT_MAX];
    double score;
    if (count >= 0) {
        uint64_t len = zset_len(r), n = (uint64_t)count < len ? (uint64_t)count : len;
        zset_reply_head(x->reply, n, with_scores);
        if (is_few(n, len))
            reply_few(x, r, n, with_scores);
        else
            reply_many(x, r, n, with_scores);
        return;
    }
    zset_reply_head(x->reply, (uint64_t)-count, with_scores); /* any member, any number of times */
    for (; count < 0; count++) {
        struct bytes member = zset_random(r, x->rng, tmp, &score);
        zset_reply_member(x->reply, member, score, with_scores);
    }
}

/* False: replied. */
static bool parse_randmember(struct exec *x, int64_t *count_out)
{
    if (!exec_arg_i64(x, 2, count_out)) return false;
    const char *why = NULL;
    if (*count_out == INT64_MIN)
        why = "ERR value is out of range, value must between -9223372036854775807 and "
              "9223372036854775807";
    else if (x->argc > 4 || (x->argc == 4 && !bytes_is(x->argv[3], "WITHSCORES")))
        why = ERR_SYNTAX;
    else if (*count_out < -RANDOM_DRAWS_MAX || (x->argc == 4 && *count_out > INT64_MAX / 2))
        why = "ERR value is out of range";
    if (why != NULL) reply_error(x->reply, why);
    return why == NULL;
}

static void run_zrandmember(struct exec *x)
{
    struct record *r;
    int64_t count = 0;
    char tmp[NUM_I64_TEXT_MAX];
    double score;
    bool counted = x->argc > 2;
    if (counted && !parse_randmember(x, &count)) return;
    if (!read_zset(x, &r)) return;
    if (r != NULL && !counted)
        reply_bulk(x->reply, zset_random(r, x->rng, tmp, &score));
    else if (r != NULL)
        reply_drawn(x, r, count, x->argc == 4);
    else if (!counted)
        reply_null(x->reply);
    else
        reply_array(x->reply, 0);
}

/* ---- ZSCAN */

struct zscan {
    struct exec *x;
    const struct scan_args *args;
    bool packed;
    int64_t found;
    uint64_t seen;
};

/* Redis shows scores of a packed set as it stores them, others with 17 digits; never as a double. */
static void reply_scanned_score(struct reply *reply, double score, bool packed)
{
    char text[NUM_DOUBLE_TEXT_MAX];
    size_t len = packed ? num_format_double(text, score)
                        : (size_t)snprintf(text, sizeof text, "%.17g", score);
    reply_bulk(reply, bytes_view(text, len));
}

static void zscan_each(void *ctx, struct bytes member, double score)
{
    struct zscan *s = ctx;
    s->seen++;
    if (!scan_wants(s->args, member)) return;
    reply_bulk(s->x->reply, member);
    reply_scanned_score(s->x->reply, score, s->packed);
    s->found++;
}

static void run_zscan(struct exec *x)
{
    uint64_t cursor;
    struct record *r;
    struct scan_args args;
    if (!scan_parse_cursor(x, 2, &cursor)) return;
    if (!read_zset(x, &r)) return;
    if (r == NULL) {
        scan_reply_empty(x);
        return;
    }
    if (!scan_parse_options(x, 3, 0, &args)) return;
    /* The cursor stands before the members in the reply: they are written behind, then joined. */
    struct buf members;
    buf_init(&members, MEM_REPLY);
    struct reply inner = {.out = &members, .proto = x->reply->proto, .muted = x->reply->muted};
    struct reply *outer = x->reply;
    struct zscan s = {.x = x, .args = &args, .packed = record_encoding(r) == ENC_LISTPACK};
    x->reply = &inner;
    uint64_t steps = scan_steps_max(&args);
    do {
        cursor = zset_scan(r, cursor, zscan_each, &s);
    } while (cursor != 0 && --steps > 0 && s.seen < (uint64_t)args.count);
    x->reply = outer;
    char text[NUM_I64_TEXT_MAX];
    reply_array(outer, 2);
    reply_bulk(outer, bytes_view(text, num_format_u64(text, cursor)));
    reply_array(outer, 2 * s.found);
    reply_raw(outer, buf_bytes(&members));
    buf_free(&members);
}

/* ---- the rows */

// clang-format off
#define ZSET_ROW .acl = ACL_SORTEDSET, .keys = {1, 1, 1}, .spread = SPREAD_KEY, .group = "sorted-set"

static const struct cmd_key_spec mpop_specs[] = {
    {.flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .begin_index = 1, .keynum = true, .first_key = 1, .step = 1},
};
static const struct cmd_key_spec block_mpop_specs[] = {
    {.flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .begin_index = 2, .keynum = true, .first_key = 1, .step = 1},
};
#define ZSET_BLOCKS .acl = ACL_SORTEDSET | ACL_BLOCKING, .spread = SPREAD_WAIT, .group = "sorted-set"
static const struct cmd_spec rows[] = {
    {.name = "BZMPOP", .run = run_bzmpop, .arity = -5, .flags = CMD_WRITE | CMD_BLOCKING | CMD_MOVABLE_KEYS | CMD_SHRINKS, ZSET_BLOCKS,
     .key_specs = block_mpop_specs, .key_specs_count = COUNT_OF(block_mpop_specs),
     .since = "7.0.0", .complexity = "O(K + M log N), K the number of keys, N the size of the sorted set, M the members popped",
     .summary = "As ZMPOP, but waits until one of the sorted sets has a member.",
     .syntax = "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]"},
    {.name = "BZPOPMAX", .run = run_bzpopmax, .arity = -3, .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_BLOCKING | CMD_FAST | CMD_SHRINKS, ZSET_BLOCKS,
     .keys = {1, -2, 1}, .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
     .since = "5.0.0", .complexity = "O(log N), N the size of the sorted set", .summary = "Removes and returns the member with the highest score of the first of several sorted sets that has one, or waits for it.",
     .syntax = "key [key ...] timeout", .history = "6.0.0:`timeout` is interpreted as a double instead of an integer."},
    {.name = "BZPOPMIN", .run = run_bzpopmin, .arity = -3, .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_BLOCKING | CMD_FAST | CMD_SHRINKS, ZSET_BLOCKS,
     .keys = {1, -2, 1}, .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
     .since = "5.0.0", .complexity = "O(log N), N the size of the sorted set", .summary = "Removes and returns the member with the lowest score of the first of several sorted sets that has one, or waits for it.",
     .syntax = "key [key ...] timeout", .history = "6.0.0:`timeout` is interpreted as a double instead of an integer."},
    {.name = "ZADD", .element = 3, .run = run_zadd, .arity = -4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, ZSET_ROW, .opcode = OP_ZADD, .key_flags = KEY_RW | KEY_UPDATE,
     .since = "1.2.0", .complexity = "O(log N) for each member, N the size of the sorted set", .summary = "Adds members to a sorted set, or gives members another score.",
     .syntax = "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
     .history = "2.4.0:Accepts multiple elements.\n3.0.2:Added the `XX`, `NX`, `CH` and `INCR` options.\n6.2.0:Added the `GT` and `LT` options."},
    {.name = "ZCARD", .run = run_zcard, .arity = 2, .flags = CMD_READONLY | CMD_FAST, ZSET_ROW, .key_flags = KEY_RO,
     .since = "1.2.0", .complexity = "O(1)", .summary = "Returns the number of members of a sorted set.", .syntax = "key"},
    {.name = "ZINCRBY", .element = 3, .run = run_zincrby, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, ZSET_ROW, .key_flags = KEY_RW | KEY_ACCESS | KEY_UPDATE,
     .since = "1.2.0", .complexity = "O(log N), N the size of the sorted set", .summary = "Adds to the score of a member, which is added if it is not there.", .syntax = "key increment member"},
    {.name = "ZMPOP", .run = run_zmpop, .arity = -4, .flags = CMD_WRITE | CMD_MOVABLE_KEYS | CMD_SHRINKS, .acl = ACL_SORTEDSET, .spread = SPREAD_KEY, .group = "sorted-set",
     .key_specs = mpop_specs, .key_specs_count = COUNT_OF(mpop_specs),
     .since = "7.0.0", .complexity = "O(K + M log N), K the number of keys, N the size of the sorted set, M the members popped",
     .summary = "Removes and returns the members with the lowest or highest scores of the first of several sorted sets that exists.",
     .syntax = "numkeys key [key ...] <MIN | MAX> [COUNT count]"},
    {.name = "ZMSCORE", .element = 2, .run = run_zmscore, .arity = -3, .flags = CMD_READONLY | CMD_FAST, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "6.2.0", .complexity = "O(N), N the members given", .summary = "Returns the scores of several members.", .syntax = "key member [member ...]"},
    {.name = "ZPOPMAX", .run = run_zpopmax, .arity = -2, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, ZSET_ROW, .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
     .since = "5.0.0", .complexity = "O(M log N), N the size of the sorted set, M the members popped", .summary = "Removes the members with the highest scores and returns them.", .syntax = "key [count]"},
    {.name = "ZPOPMIN", .run = run_zpopmin, .arity = -2, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, ZSET_ROW, .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
     .since = "5.0.0", .complexity = "O(M log N), N the size of the sorted set, M the members popped", .summary = "Removes the members with the lowest scores and returns them.", .syntax = "key [count]"},
    {.name = "ZRANDMEMBER", .run = run_zrandmember, .arity = -2, .flags = CMD_READONLY, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "6.2.0", .complexity = "O(N), N the members returned", .summary = "Returns members drawn at random from a sorted set.", .syntax = "key [count [WITHSCORES]]",
     .tips = "nondeterministic_output"},
    {.name = "ZRANK", .element = 2, .run = run_zrank, .arity = -3, .flags = CMD_READONLY | CMD_FAST, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.0.0", .complexity = "O(log N), N the size of the sorted set", .summary = "Returns the place of a member, counted from the lowest score.", .syntax = "key member [WITHSCORE]",
     .history = "7.2.0:Added the optional `WITHSCORE` argument."},
    {.name = "ZREM", .element = 2, .run = run_zrem, .arity = -3, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, ZSET_ROW, .opcode = OP_ZREM, .key_flags = KEY_RW | KEY_DELETE,
     .since = "1.2.0", .complexity = "O(M log N), N the size of the sorted set, M the members given", .summary = "Removes members from a sorted set; an empty one is deleted.", .syntax = "key member [member ...]",
     .history = "2.4.0:Accepts multiple elements."},
    {.name = "ZREVRANK", .element = 2, .run = run_zrevrank, .arity = -3, .flags = CMD_READONLY | CMD_FAST, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.0.0", .complexity = "O(log N), N the size of the sorted set", .summary = "Returns the place of a member, counted from the highest score.", .syntax = "key member [WITHSCORE]",
     .history = "7.2.0:Added the optional `WITHSCORE` argument."},
    {.name = "ZSCAN", .run = run_zscan, .arity = -3, .flags = CMD_READONLY, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.8.0", .complexity = "O(1) for each call, O(N) for a whole iteration", .summary = "Iterates over members and scores of a sorted set.", .syntax = "key cursor [MATCH pattern] [COUNT count]",
     .tips = "nondeterministic_output"},
    {.name = "ZSCORE", .element = 2, .run = run_zscore, .arity = 3, .flags = CMD_READONLY | CMD_FAST, ZSET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "1.2.0", .complexity = "O(1)", .summary = "Returns the score of a member.", .syntax = "key member"},
};
// clang-format on

const struct cmd_table zset_cmds = {.rows = rows, .count = COUNT_OF(rows)};
