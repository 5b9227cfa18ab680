/* Sets of one key: members in, out, asked for, drawn at random, scanned; and SMOVE, of two. Algebra of several
 * sets: set_algebra.c. */
#include "shard/types/set.h"
#include "shard/cmd/cmd.h"
#include "shard/cmd/scan_args.h"
#include "shard/exec/exec.h"

/* ---- adding and removing */

/* Adds argv[from …]; returns how many were new, and in *done_out how many were looked at before memory
 * ran out (argc: all). */
static int64_t add_members(struct exec *x, struct record **r, uint32_t from, uint32_t *done_out)
{
    int64_t added = 0;
    uint32_t i = from;
    for (; i < x->argc; i++) {
        int one = set_add(r, x->argv[i]);
        if (unlikely(one < 0)) break;
        added += one;
    }
    *done_out = i;
    return added;
}

static void run_sadd(struct exec *x)
{
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_SET, &c)) return;
    bool ok = true;
    if (c.e.record == NULL)
        ok = (c.e.record = set_try_new(c.key.name, x->argv[2], x->argc - 2, -1)) != NULL;
    else
        ok = set_try_expect(&c.e.record, x->argc - 2);
    uint32_t done = 0;
    int64_t added = ok ? add_members(x, &c.e.record, 2, &done) : 0;
    if (!ok || (added == 0 && done < x->argc)) {
        exec_abandon(x, &c);
        return;
    }
    if (added == 0)
        exec_put_back(x, &c);
    else if (!exec_commit(x, &c, NOTIFY_SET, "sadd"))
        return;
    if (added > 0) exec_log(x, &c, OP_SADD, x->argv + 1, done - 1); /* exactly what was applied */
    if (done < x->argc)
        exec_reply_nomem(x);
    else
        reply_i64(x->reply, added);
}

static void run_srem(struct exec *x)
{
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_SET, &c)) return;
    if (c.e.record == NULL) {
        reply_i64(x->reply, 0);
        return;
    }
    int64_t removed = 0;
    for (uint32_t i = 2; i < x->argc && set_len(c.e.record) > 0; i++)
        removed += set_remove(&c.e.record, x->argv[i]);
    if (removed > 0) exec_log_same(x, &c);
    if (removed > 0)
        (void)exec_commit(x, &c, NOTIFY_SET, "srem"); /* it was there: cannot fail */
    else
        exec_put_back(x, &c);
    reply_i64(x->reply, removed);
}

/* The destination gains the member: it may find no memory, then nothing has changed. False: replied. */
static bool move_in(struct exec *x, struct db_key key, struct bytes member, struct change *to)
{
    exec_open_at(x, key, to);
    if (to->e.record == NULL) to->e.record = set_try_new(to->key.name, member, 1, -1);
    if (to->e.record == NULL || set_add(&to->e.record, member) < 0) {
        exec_abandon(x, to);
        return false;
    }
    return exec_commit(x, to, NOTIFY_SET, NULL); /* told when the source has lost it, as in Redis */
}

static void move_out(struct exec *x, struct db_key key, struct bytes member)
{
    struct change from;
    exec_open_at(x, key, &from);
    struct bytes args[2] = {from.key.name, member};
    exec_log(x, &from, OP_SREM, args, 2);
    (void)set_remove(&from.e.record, member);
    (void)exec_commit(x, &from, NOTIFY_SET, "srem"); /* the key is there: it cannot fail */
}

/* Two slots, two units. Both keys are read before either changes. */
static void run_smove(struct exec *x)
{
    struct db_key from = exec_key(x, x->argv[1]), to = exec_key(x, x->argv[2]);
    struct bytes member = x->argv[3];
    const struct record *source = exec_peek(x, &from), *target = exec_peek(x, &to);
    if (source == NULL) {
        reply_i64(x->reply, 0);
        return;
    }
    if (record_type(source) != VALUE_SET || (target != NULL && record_type(target) != VALUE_SET)) {
        reply_error(x->reply, ERR_WRONGTYPE);
        return;
    }
    bool there = set_has(source, member), added = target == NULL || !set_has(target, member);
    if (there && !bytes_equal(from.name, to.name)) {
        struct change c;
        if (added && !move_in(x, to, member, &c)) return;
        exec_log_group_begin(x);
        struct bytes args[2] = {to.name, member};
        if (added) exec_log(x, &c, OP_SADD, args, 2);
        move_out(x, from, member);
        exec_log_group_end(x);
        if (added) exec_notify(x, &to, NOTIFY_SET, "sadd");
    }
    reply_i64(x->reply, there);
}

/* ---- asking */

static void run_sismember(struct exec *x)
{
    struct record *r;
    if (!exec_read_as(x, x->argv[1], VALUE_SET, &r)) return;
    reply_i64(x->reply, r != NULL && set_has(r, x->argv[2]));
}

static void run_smismember(struct exec *x)
{
    struct record *r;
    if (!exec_read_as(x, x->argv[1], VALUE_SET, &r)) return;
    reply_array(x->reply, (int64_t)x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++)
        reply_i64(x->reply, r != NULL && set_has(r, x->argv[i]));
}

static void run_scard(struct exec *x)
{
    struct record *r;
    if (!exec_read_as(x, x->argv[1], VALUE_SET, &r)) return;
    reply_i64(x->reply, r == NULL ? 0 : (int64_t)set_len(r));
}

static void reply_members(struct exec *x, const struct record *r)
{
    struct set_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes member;
    reply_set(x->reply, r == NULL ? 0 : (int64_t)set_len(r));
    if (r == NULL) return;
    set_iter_start(r, &it);
    while (set_iter_next(&it, tmp, &member))
        reply_bulk(x->reply, member);
}

static void run_smembers(struct exec *x)
{
    struct record *r;
    if (!exec_read_as(x, x->argv[1], VALUE_SET, &r)) return;
    reply_members(x, r);
}

/* ---- drawing */

/* The log gets the chosen members: choosing again would choose others. */
static void log_popped(struct exec *x, const struct change *c, struct bytes *args, uint32_t argc)
{
    exec_log(x, c, OP_SREM, args, argc);
}

static void pop_one(struct exec *x, struct change *c)
{
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes member = set_random(c->e.record, x->rng, tmp);
    if (!exec_reserve(x, member.len + c->key.name.len)) return;
    reply_bulk(x->reply, member);
    struct bytes args[2] = {c->key.name, member};
    log_popped(x, c, args, 2);
    (void)set_remove(&c->e.record, member);
    (void)exec_commit(x, c, NOTIFY_SET, "spop");
}

/* All members leave: the key is deleted. */
static void pop_all(struct exec *x, struct change *c)
{
    reply_members(x, c->e.record);
    struct bytes name = c->key.name;
    exec_log(x, c, OP_DEL, &name, 1);
    exec_notify(x, &c->key, NOTIFY_SET, "spop");
    exec_delete(x, c, NOTIFY_GENERIC, "del");
}

#define POP_CHUNK 256u

/* Some of them, in units of at most POP_CHUNK members. */
static void pop_some(struct exec *x, struct change *c, uint64_t count)
{
    struct bytes args[POP_CHUNK + 1];
    char tmp[NUM_I64_TEXT_MAX];
    reply_set(x->reply, (int64_t)count);
    exec_log_group_begin(x);
    while (count > 0) {
        uint32_t n = 1;
        args[0] = c->key.name;
        struct arena_mark mark = arena_mark(x->scratch);
        for (; n <= POP_CHUNK && count > 0; n++, count--) {
            struct bytes member = set_random(c->e.record, x->rng, tmp);
            uint8_t *own = arena_alloc(x->scratch, member.len + 1);
            memcpy(own, member.data, member.len);
            args[n] = bytes_view(own, member.len);
            reply_bulk(x->reply, member);
            (void)set_remove(&c->e.record, args[n]);
        }
        log_popped(x, c, args, n);
        arena_rewind(x->scratch, mark);
    }
    exec_log_group_end(x);
    (void)exec_commit(x, c, NOTIFY_SET, "spop");
}

static void run_spop(struct exec *x)
{
    struct change c;
    int64_t count = 0;
    if (x->argc > 3) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if (x->argc == 3 &&
        !exec_arg_range(x, 2, 0, INT64_MAX, "ERR value is out of range, must be positive", &count))
        return;
    if (!exec_open_as(x, x->argv[1], VALUE_SET, &c)) return;
    if (c.e.record == NULL) {
        if (x->argc == 2)
            reply_null(x->reply);
        else
            reply_set(x->reply, 0);
        return;
    }
    uint64_t len = set_len(c.e.record);
    if (x->argc == 2)
        pop_one(x, &c);
    else if (count == 0)
        reply_set(x->reply, 0);
    else if ((uint64_t)count >= len)
        pop_all(x, &c);
    else if (exec_reserve(x, value_bytes(c.e.record) + len * NUM_I64_TEXT_MAX))
        pop_some(x, &c, (uint64_t)count);
}

/* `count` different members: by drawing again when few are wanted, else by walking once and taking each
 * with the chance that is left (selection sampling, Knuth 3.4.2 S). */
static void reply_distinct(struct exec *x, const struct record *r, uint64_t count)
{
    struct set_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes member;
    uint64_t left = set_len(r);
    if (count > left) count = left;
    reply_array(x->reply, (int64_t)count);
    set_iter_start(r, &it);
    while (count > 0 && set_iter_next(&it, tmp, &member)) {
        if (rng_below(x->rng, left--) >= count) continue;
        reply_bulk(x->reply, member);
        count--;
    }
}

static bool random_count(struct exec *x, int64_t *count_out)
{
    if (!exec_arg_i64(x, 2, count_out)) return false;
    if (*count_out >= -RANDOM_DRAWS_MAX) return true;
    if (*count_out == INT64_MIN)
        reply_errorf(x->reply, "ERR value is out of range, value must between %lld and %lld",
                     (long long)-INT64_MAX, (long long)INT64_MAX);
    else
        reply_errorf(x->reply, "ERR value is out of range, a count below -%lld is refused",
                     (long long)RANDOM_DRAWS_MAX);
    return false;
}

static void run_srandmember(struct exec *x)
{
    struct record *r;
    int64_t count = 0;
    char tmp[NUM_I64_TEXT_MAX];
    if (x->argc > 3) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if (x->argc == 3 && !random_count(x, &count)) return;
    if (!exec_read_as(x, x->argv[1], VALUE_SET, &r)) return;
    if (x->argc == 2) {
        if (r == NULL)
            reply_null(x->reply);
        else
            reply_bulk(x->reply, set_random(r, x->rng, tmp));
        return;
    }
    if (r == NULL || count == 0) {
        reply_array(x->reply, 0);
        return;
    }
    if (count > 0) {
        reply_distinct(x, r, (uint64_t)count);
        return;
    }
    reply_array(x->reply, -count);
    for (; count < 0; count++)
        reply_bulk(x->reply, set_random(r, x->rng, tmp));
}

/* ---- SSCAN */

struct sscan {
    struct exec *x;
    const struct scan_args *args;
    int64_t found;
    uint64_t seen;
};

static void sscan_each(void *ctx, struct bytes member)
{
    struct sscan *s = ctx;
    s->seen++;
    if (!scan_wants(s->args, member)) return;
    reply_bulk(s->x->reply, member);
    s->found++;
}

static void run_sscan(struct exec *x)
{
    uint64_t cursor;
    struct record *r;
    struct scan_args args;
    if (!scan_parse_cursor(x, 2, &cursor)) return;
    if (!exec_read_as(x, x->argv[1], VALUE_SET, &r)) return;
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
    struct sscan s = {.x = x, .args = &args};
    x->reply = &inner;
    uint64_t steps = scan_steps_max(&args);
    do {
        cursor = set_scan(r, cursor, sscan_each, &s);
    } while (cursor != 0 && --steps > 0 && s.seen < (uint64_t)args.count);
    x->reply = outer;
    char text[NUM_I64_TEXT_MAX];
    reply_array(outer, 2);
    reply_bulk(outer, bytes_view(text, num_format_u64(text, cursor)));
    reply_array(outer, s.found);
    reply_raw(outer, buf_bytes(&members));
    buf_free(&members);
}

/* ---- the rows */

// clang-format off
#define SET_ROW .acl = ACL_SET, .keys = {1, 1, 1}, .spread = SPREAD_KEY, .group = "set"

static const struct cmd_key_spec smove_specs[] = {
    {.flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .begin_index = 1, .step = 1},
    {.flags = KEY_RW | KEY_INSERT, .begin_index = 2, .step = 1},
};
static const struct cmd_spec rows[] = {
    {.name = "SADD", .element = 2, .run = run_sadd, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, SET_ROW, .opcode = OP_SADD, .key_flags = KEY_RW | KEY_INSERT,
     .since = "1.0.0", .complexity = "O(N), N the members given", .summary = "Adds members to a set, creating it if there is none.", .syntax = "key member [member ...]",
     .history = "2.4.0:Accepts multiple `member` arguments."},
    {.name = "SCARD", .run = run_scard, .arity = 2, .flags = CMD_READONLY | CMD_FAST, SET_ROW, .key_flags = KEY_RO,
     .since = "1.0.0", .complexity = "O(1)", .summary = "Returns the number of members of a set.", .syntax = "key"},
    {.name = "SISMEMBER", .element = 2, .run = run_sismember, .arity = 3, .flags = CMD_READONLY | CMD_FAST, SET_ROW, .key_flags = KEY_RO,
     .since = "1.0.0", .complexity = "O(1)", .summary = "Tells whether a member is in a set.", .syntax = "key member"},
    {.name = "SMEMBERS", .run = run_smembers, .arity = 2, .flags = CMD_READONLY, SET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "1.0.0", .complexity = "O(N), N the number of members", .summary = "Returns all members of a set.", .syntax = "key", .tips = "nondeterministic_output_order"},
    {.name = "SMISMEMBER", .element = 2, .run = run_smismember, .arity = -3, .flags = CMD_READONLY | CMD_FAST, SET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "6.2.0", .complexity = "O(N), N the members given", .summary = "Tells of several members whether each is in a set.", .syntax = "key member [member ...]"},
    {.name = "SMOVE", .run = run_smove, .arity = 4, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_SET, .keys = {1, 2, 1}, .spread = SPREAD_KEY, .group = "set",
     .key_specs = smove_specs, .key_specs_count = COUNT_OF(smove_specs),
     .since = "1.0.0", .complexity = "O(1)", .summary = "Moves a member from one set to another.", .syntax = "source destination member"},
    {.name = "SPOP", .run = run_spop, .arity = -2, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, SET_ROW, .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
     .since = "1.0.0", .complexity = "O(1) without count, else O(N), N the count", .summary = "Removes members drawn at random from a set and returns them.", .syntax = "key [count]",
     .tips = "nondeterministic_output", .history = "3.2.0:Added the `count` argument."},
    {.name = "SRANDMEMBER", .run = run_srandmember, .arity = -2, .flags = CMD_READONLY, SET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "1.0.0", .complexity = "O(1) without count, else O(N), N the count", .summary = "Returns members drawn at random from a set.", .syntax = "key [count]",
     .tips = "nondeterministic_output", .history = "2.6.0:Added the optional `count` argument."},
    {.name = "SREM", .element = 2, .run = run_srem, .arity = -3, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, SET_ROW, .opcode = OP_SREM, .key_flags = KEY_RW | KEY_DELETE,
     .since = "1.0.0", .complexity = "O(N), N the members given", .summary = "Removes members from a set; an empty set is deleted.", .syntax = "key member [member ...]",
     .history = "2.4.0:Accepts multiple `member` arguments."},
    {.name = "SSCAN", .run = run_sscan, .arity = -3, .flags = CMD_READONLY, SET_ROW, .key_flags = KEY_RO | KEY_ACCESS,
     .since = "2.8.0", .complexity = "O(1) for each call, O(N) for a whole iteration", .summary = "Iterates over the members of a set.", .syntax = "key cursor [MATCH pattern] [COUNT count]",
     .tips = "nondeterministic_output"},
};
// clang-format on

const struct cmd_table set_cmds = {.rows = rows, .count = COUNT_OF(rows)};
