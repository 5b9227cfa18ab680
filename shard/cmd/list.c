/* Lists: both ends, indexes and ranges, search, moving between lists. */
#include "shard/types/list.h"

#include "shard/cmd/cmd.h"
#include "shard/cmd/mpop_args.h"
#include "shard/exec/exec.h"

static const char *push_event(enum list_end end)
{
    return end == LIST_HEAD ? "lpush" : "rpush";
}

static const char *pop_event(enum list_end end)
{
    return end == LIST_HEAD ? "lpop" : "rpop";
}

static bool read_list(struct exec *x, struct record **record_out)
{
    return exec_read_as(x, x->argv[1], VALUE_LIST, record_out);
}

/* `count` elements from an index on, towards the tail (step 1) or the head (-1). */
static void reply_elements(struct exec *x, const struct record *r, int64_t index, int step,
                           uint64_t count)
{
    struct list_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes element;
    bool ok = list_iter_start(r, index, step, &it);
    assert(ok);
    for (; count > 0; count--) {
        ok = list_iter_next(&it, tmp, &element);
        assert(ok);
        reply_bulk(x->reply, element);
    }
}

/* ---- the ends */

/* Without memory for all elements those before the failing one are pushed, logged and told; the reply
 * is the error. */
static void push(struct exec *x, enum list_end end, bool only_existing)
{
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_LIST, &c)) return;
    if (c.e.record == NULL) {
        if (only_existing) {
            reply_i64(x->reply, 0);
            return;
        }
        c.e.record = list_try_new(c.key.name, -1);
    }
    uint32_t stop = 2;
    if (likely(c.e.record != NULL))
        while (stop < x->argc && list_try_push(&c.e.record, end, x->argv[stop]))
            stop++;
    if (unlikely(stop == 2)) {
        exec_abandon(x, &c);
        return;
    }
    uint64_t len = list_len(c.e.record);
    if (!exec_commit(x, &c, NOTIFY_LIST, push_event(end))) return;
    exec_log(x, &c, end == LIST_HEAD ? OP_LPUSH : OP_RPUSH, x->argv + 1, stop - 1);
    if (likely(stop == x->argc))
        reply_i64(x->reply, (int64_t)len);
    else
        exec_reply_nomem(x);
}

static void run_lpush(struct exec *x)
{
    push(x, LIST_HEAD, false);
}

static void run_rpush(struct exec *x)
{
    push(x, LIST_TAIL, false);
}

static void run_lpushx(struct exec *x)
{
    push(x, LIST_HEAD, true);
}

static void run_rpushx(struct exec *x)
{
    push(x, LIST_TAIL, true);
}

static void reply_end(struct exec *x, const struct record *r, enum list_end end)
{
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes element;
    bool any = list_peek(r, end, tmp, &element);
    assert(any);
    reply_bulk(x->reply, element);
}

static void pop(struct exec *x, enum list_end end)
{
    bool counted = x->argc > 2;
    int64_t count = 1;
    if (x->argc > 3) {
        exec_reply_arity(x);
        return;
    }
    if (counted && !exec_arg_range(x, 2, 0, INT64_MAX, ERR_NOT_POSITIVE, &count)) return;
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_LIST, &c)) return;
    if (c.e.record == NULL) {
        if (counted)
            reply_null_array(x->reply);
        else
            reply_null(x->reply);
        return;
    }
    uint64_t len = list_len(c.e.record), n = (uint64_t)count < len ? (uint64_t)count : len;
    if (!counted) {
        reply_end(x, c.e.record, end);
    } else {
        reply_array(x->reply, (int64_t)n);
        if (n == 0) return;
        reply_elements(x, c.e.record, end == LIST_HEAD ? 0 : -1, end == LIST_HEAD ? 1 : -1, n);
    }
    list_drop(&c.e.record, end, n);
    exec_commit(x, &c, NOTIFY_LIST, pop_event(end)); /* no insert: cannot fail */
    exec_log_same(x, &c);
}

static void run_lpop(struct exec *x)
{
    pop(x, LIST_HEAD);
}

static void run_rpop(struct exec *x)
{
    pop(x, LIST_TAIL);
}

/* The list that argv[place] names is there. */
static void pop_counted(struct exec *x, uint32_t place, const struct mpop_args *args)
{
    struct change c;
    exec_open(x, x->argv[place], &c);
    uint64_t len = list_len(c.e.record), n = args->count < len ? args->count : len;
    enum list_end end = args->other_end ? LIST_TAIL : LIST_HEAD;
    reply_array(x->reply, 2);
    reply_bulk(x->reply, c.key.name);
    reply_array(x->reply, (int64_t)n);
    reply_elements(x, c.e.record, end == LIST_HEAD ? 0 : -1, end == LIST_HEAD ? 1 : -1, n);
    list_drop(&c.e.record, end, n);
    exec_commit(x, &c, NOTIFY_LIST, pop_event(end)); /* no insert: cannot fail */
    char text[NUM_I64_TEXT_MAX];
    struct bytes logged[2] = {x->argv[place], bytes_view(text, num_format_u64(text, n))};
    exec_log(x, &c, end == LIST_HEAD ? OP_LPOP : OP_RPOP, logged, 2);
}

/* Of the first list that is there. */
static void run_lmpop(struct exec *x)
{
    struct mpop_args args;
    uint32_t place;
    if (!mpop_parse(x, 1, "LEFT", "RIGHT", &args) || !mpop_find(x, &args, VALUE_LIST, &place))
        return;
    if (place == 0)
        reply_null_array(x->reply);
    else
        pop_counted(x, place, &args);
}

/* ---- the ends, waiting for a list to be there */

static void run_blmpop(struct exec *x)
{
    struct mpop_args args;
    uint32_t place;
    if (!mpop_parse(x, 2, "LEFT", "RIGHT", &args) || !exec_arg_timeout(x, 1) ||
        !mpop_find_or_wait(x, &args, VALUE_LIST, &place))
        return;
    if (exec_claim(x)) pop_counted(x, place, &args);
}

static void block_pop(struct exec *x, enum list_end end)
{
    struct mpop_args args = {.first = 1, .keys = x->argc - 2};
    struct change c;
    uint32_t place;
    if (!exec_arg_timeout(x, x->argc - 1) || !mpop_find_or_wait(x, &args, VALUE_LIST, &place))
        return;
    if (!exec_claim(x)) return;
    exec_open(x, x->argv[place], &c);
    reply_array(x->reply, 2);
    reply_bulk(x->reply, c.key.name);
    reply_end(x, c.e.record, end);
    list_drop(&c.e.record, end, 1);
    exec_commit(x, &c, NOTIFY_LIST, pop_event(end)); /* no insert: cannot fail */
    exec_log(x, &c, end == LIST_HEAD ? OP_LPOP : OP_RPOP, &x->argv[place], 1);
}

static void run_blpop(struct exec *x)
{
    block_pop(x, LIST_HEAD);
}

static void run_brpop(struct exec *x)
{
    block_pop(x, LIST_TAIL);
}

/* ---- indexes and ranges */

static void run_llen(struct exec *x)
{
    struct record *r;
    if (!read_list(x, &r)) return;
    reply_i64(x->reply, r == NULL ? 0 : (int64_t)list_len(r));
}

static void run_lindex(struct exec *x)
{
    struct record *r;
    int64_t index;
    if (!read_list(x, &r)) return;
    if (r == NULL) {
        reply_null(x->reply);
        return;
    }
    if (!exec_arg_i64(x, 2, &index)) return;
    int64_t len = (int64_t)list_len(r);
    if (index < -len || index >= len)
        reply_null(x->reply);
    else
        reply_elements(x, r, index, 1, 1);
}

/* Start and stop as LRANGE and LTRIM understand them: what they name, within the list. */
struct range {
    uint64_t first, count;
};

static struct range clamp_range(int64_t start, int64_t stop, uint64_t list_len)
{
    int64_t len = (int64_t)list_len;
    if (start < 0) start += len;
    if (stop < 0) stop += len;
    if (start < 0) start = 0;
    if (stop >= len) stop = len - 1;
    if (start > stop) return (struct range){.count = 0};
    return (struct range){.first = (uint64_t)start, .count = (uint64_t)(stop - start + 1)};
}

static void run_lrange(struct exec *x)
{
    int64_t start, stop;
    struct record *r;
    if (!exec_arg_i64(x, 2, &start) || !exec_arg_i64(x, 3, &stop)) return;
    if (!read_list(x, &r)) return;
    struct range range = clamp_range(start, stop, r == NULL ? 0 : list_len(r));
    reply_array(x->reply, (int64_t)range.count);
    if (range.count > 0) reply_elements(x, r, (int64_t)range.first, 1, range.count);
}

static void run_ltrim(struct exec *x)
{
    int64_t start, stop;
    if (!exec_arg_i64(x, 2, &start) || !exec_arg_i64(x, 3, &stop)) return;
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_LIST, &c)) return;
    if (c.e.record == NULL) {
        reply_ok(x->reply);
        return;
    }
    uint64_t len = list_len(c.e.record);
    struct range keep = clamp_range(start, stop, len);
    if (keep.count == len) {
        exec_notify(x, &c.key, NOTIFY_LIST, "ltrim"); /* as Redis, which tells it in any case */
    } else {
        list_drop(&c.e.record, LIST_TAIL, len - keep.first - keep.count);
        list_drop(&c.e.record, LIST_HEAD, keep.first);
        exec_commit(x, &c, NOTIFY_LIST, "ltrim"); /* no insert: cannot fail */
        exec_log_same(x, &c);
    }
    reply_ok(x->reply);
}

static void run_lset(struct exec *x)
{
    struct change c;
    int64_t index;
    if (!exec_open_as(x, x->argv[1], VALUE_LIST, &c)) return;
    if (c.e.record == NULL) {
        reply_error(x->reply, ERR_NO_KEY);
        return;
    }
    if (!exec_arg_i64(x, 2, &index)) return;
    int64_t len = (int64_t)list_len(c.e.record);
    if (index < -len || index >= len) {
        reply_error(x->reply, ERR_RANGE_INDEX);
        return;
    }
    if (!list_try_set(&c.e.record, index, x->argv[3])) {
        exec_abandon(x, &c);
        return;
    }
    exec_commit(x, &c, NOTIFY_LIST, "lset"); /* no insert: cannot fail */
    exec_log_same(x, &c);
    reply_ok(x->reply);
}

/* ---- by value */

/* The first element equal to `wanted`, from the head. */
static bool find_element(const struct record *r, struct bytes wanted, uint64_t *index_out)
{
    struct list_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes element;
    if (!list_iter_start(r, 0, 1, &it)) return false;
    for (uint64_t i = 0; list_iter_next(&it, tmp, &element); i++) {
        if (!bytes_equal(element, wanted)) continue;
        *index_out = i;
        return true;
    }
    return false;
}

static void run_linsert(struct exec *x)
{
    bool after = bytes_is(x->argv[2], "AFTER");
    if (!after && !bytes_is(x->argv[2], "BEFORE")) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    struct change c;
    uint64_t index;
    if (!exec_open_as(x, x->argv[1], VALUE_LIST, &c)) return;
    if (c.e.record == NULL || !find_element(c.e.record, x->argv[3], &index)) {
        reply_i64(x->reply, c.e.record == NULL ? 0 : -1);
        return;
    }
    if (!list_try_insert(&c.e.record, index + (after ? 1 : 0), x->argv[4])) {
        exec_abandon(x, &c);
        return;
    }
    uint64_t len = list_len(c.e.record);
    exec_commit(x, &c, NOTIFY_LIST, "linsert"); /* no insert into the table: cannot fail */
    exec_log_same(x, &c);
    reply_i64(x->reply, (int64_t)len);
}

static void run_lrem(struct exec *x)
{
    int64_t count;
    if (!exec_arg_i64(x, 2, &count)) return;
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_LIST, &c)) return;
    uint64_t removed = 0, max = count < 0 ? -(uint64_t)count : (uint64_t)count;
    if (c.e.record != NULL) removed = list_remove_equal(&c.e.record, x->argv[3], max, count < 0);
    if (removed > 0) {
        exec_commit(x, &c, NOTIFY_LIST, "lrem"); /* no insert: cannot fail */
        exec_log_same(x, &c);
    }
    reply_i64(x->reply, (int64_t)removed);
}

/* ---- LPOS */

struct search {
    int64_t rank;  /* from 1; negative: from the tail */
    int64_t count; /* -1: not given, 0: all */
    int64_t max;   /* elements to look at, 0: all */
};

static bool parse_rank(struct exec *x, uint32_t i, int64_t *rank_out)
{
    if (!exec_arg_i64(x, i, rank_out)) return false;
    if (*rank_out != 0 && *rank_out != INT64_MIN) return true;
    reply_error(x->reply,
                *rank_out != 0
                    ? ERR_NOT_NEGATABLE
                    : "ERR RANK can't be zero: use 1 to start from the first match, 2 from the "
                      "second ... or use negative to start from the end of the list");
    return false;
}

static bool parse_search(struct exec *x, struct search *s)
{
    *s = (struct search){.rank = 1, .count = -1};
    for (uint32_t i = 3; i < x->argc; i += 2) {
        bool has_value = i + 1 < x->argc, ok;
        if (has_value && bytes_is(x->argv[i], "RANK")) {
            ok = parse_rank(x, i + 1, &s->rank);
        } else if (has_value && bytes_is(x->argv[i], "COUNT")) {
            ok = exec_arg_range(x, i + 1, 0, INT64_MAX, "ERR COUNT can't be negative", &s->count);
        } else if (has_value && bytes_is(x->argv[i], "MAXLEN")) {
            ok = exec_arg_range(x, i + 1, 0, INT64_MAX, "ERR MAXLEN can't be negative", &s->max);
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            ok = false;
        }
        if (!ok) return false;
    }
    return true;
}

/* Replies the index of each match that counts; returns how many. */
static int64_t search_list(struct exec *x, const struct record *r, const struct search *s)
{
    struct list_iter it;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes element;
    bool backwards = s->rank < 0;
    int64_t len = (int64_t)list_len(r), skip = (backwards ? -s->rank : s->rank) - 1;
    int64_t wanted = s->count < 0 ? 1 : s->count, found = 0;
    bool ok = list_iter_start(r, backwards ? -1 : 0, backwards ? -1 : 1, &it);
    assert(ok);
    for (int64_t i = 0; (s->max == 0 || i < s->max) && list_iter_next(&it, tmp, &element); i++) {
        if (!bytes_equal(element, x->argv[2]) || skip-- > 0) continue;
        reply_i64(x->reply, backwards ? len - 1 - i : i);
        if (++found == wanted) break;
    }
    return found;
}

static void run_lpos(struct exec *x)
{
    struct search s;
    struct record *r;
    if (!parse_search(x, &s) || !read_list(x, &r)) return;
    if (s.count < 0) {
        if (r == NULL || search_list(x, r, &s) == 0) reply_null(x->reply);
    } else if (r == NULL) {
        reply_array(x->reply, 0);
    } else {
        struct reply_later later = reply_later(x->reply, '*');
        reply_later_done(x->reply, later, search_list(x, r, &s));
    }
}

/* ---- from one list to another, or round */

static void log_move(struct exec *x, const struct change *source, enum list_end from,
                     const struct change *target, enum list_end to, struct bytes element)
{
    struct bytes popped = source->key.name, pushed[2] = {target->key.name, element};
    exec_log_group_begin(x);
    exec_log(x, source, from == LIST_HEAD ? OP_LPOP : OP_RPOP, &popped, 1);
    exec_log(x, target, to == LIST_HEAD ? OP_LPUSH : OP_RPUSH, pushed, 2);
    exec_log_group_end(x);
}

/* The element comes out of the store: it may be larger than the request for which room was asked. */
static bool reserve_move(struct exec *x, struct bytes element)
{
    return exec_reserve(x, x->argv[1].len + x->argv[2].len + element.len);
}

/* The target first: pushing may find no memory, dropping never fails. From then on the element is that of the
 * target: the source is not read again, only opened to be changed (the commit of the target may have moved
 * entries of the same slot). */
static void move_between(struct exec *x, const struct record *source, enum list_end from,
                         enum list_end to)
{
    struct change s, t;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes element;
    bool any = list_peek(source, from, tmp, &element);
    assert(any);
    if (!reserve_move(x, element)) return;
    exec_open(x, x->argv[2], &t);
    if (t.e.record == NULL) t.e.record = list_try_new(t.key.name, -1);
    if (t.e.record == NULL || !list_try_push(&t.e.record, to, element)) {
        exec_abandon(x, &t);
        return;
    }
    if (!exec_commit(x, &t, NOTIFY_LIST, push_event(to))) return;
    any = list_peek(t.e.record, to, tmp, &element);
    assert(any);
    reply_bulk(x->reply, element);
    exec_open(x, x->argv[1], &s);
    log_move(x, &s, from, &t, to, element);
    list_drop(&s.e.record, from, 1);
    exec_commit(x, &s, NOTIFY_LIST, pop_event(from));
}

/* No memory to push what was popped: the room just given up takes it back. Should even that fail, the
 * element is lost, and the log says so. */
static void undo_pop(struct exec *x, struct change *c, enum list_end from, struct bytes element)
{
    if (list_try_push(&c->e.record, from, element)) {
        exec_abandon(x, c);
        return;
    }
    struct bytes name = c->key.name;
    exec_log(x, c, from == LIST_HEAD ? OP_LPOP : OP_RPOP, &name, 1);
    exec_commit(x, c, NOTIFY_LIST, pop_event(from));
    exec_reply_nomem(x);
}

/* Source and target are one list. Popped before it is pushed, as the log will replay it: the other way
 * round the list might be one element too long for its encoding for a moment. */
static void move_round(struct exec *x, enum list_end from, enum list_end to)
{
    struct change c;
    exec_open(x, x->argv[1], &c);
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes element;
    bool any = list_peek(c.e.record, from, tmp, &element);
    assert(any);
    bool stays = from == to || list_len(c.e.record) == 1;
    if (!stays) {
        if (!reserve_move(x, element)) return;
        uint8_t *copy = arena_alloc(x->scratch, element.len);
        if (element.len > 0) memcpy(copy, element.data, element.len);
        element.data = copy;
        list_drop(&c.e.record, from, 1);
        if (!list_try_push(&c.e.record, to, element)) {
            undo_pop(x, &c, from, element);
            return;
        }
        exec_commit(x, &c, NOTIFY_LIST, NULL); /* no insert: cannot fail */
        log_move(x, &c, from, &c, to, element);
    }
    exec_notify(x, &c.key, NOTIFY_LIST, push_event(to));
    exec_notify(x, &c.key, NOTIFY_LIST, pop_event(from));
    reply_bulk(x->reply, element);
}

/* Both keys are read before either changes. */
static void move(struct exec *x, enum list_end from, enum list_end to)
{
    struct db_key source_key = exec_key(x, x->argv[1]), target_key = exec_key(x, x->argv[2]);
    const struct record *source = exec_peek(x, &source_key), *target = exec_peek(x, &target_key);
    if (source == NULL)
        reply_null(x->reply);
    else if (record_type(source) != VALUE_LIST ||
             (target != NULL && record_type(target) != VALUE_LIST))
        reply_error(x->reply, ERR_WRONGTYPE);
    else if (source == target)
        move_round(x, from, to);
    else
        move_between(x, source, from, to);
}

static bool parse_end(struct exec *x, uint32_t i, enum list_end *end_out)
{
    bool left = bytes_is(x->argv[i], "LEFT");
    if (!left && !bytes_is(x->argv[i], "RIGHT")) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    *end_out = left ? LIST_HEAD : LIST_TAIL;
    return true;
}

static void run_lmove(struct exec *x)
{
    enum list_end from, to;
    if (parse_end(x, 3, &from) && parse_end(x, 4, &to)) move(x, from, to);
}

static void run_rpoplpush(struct exec *x)
{
    move(x, LIST_TAIL, LIST_HEAD);
}

/* Waits for the source, whatever the target holds. */
static void block_move(struct exec *x, enum list_end from, enum list_end to)
{
    struct db_key key = exec_key(x, x->argv[1]);
    if (exec_peek(x, &key) != NULL) {
        if (exec_claim(x)) move(x, from, to);
    } else if (!exec_wait(x, VALUE_LIST, 1, 1)) {
        reply_null(x->reply);
    }
}

static void run_blmove(struct exec *x)
{
    enum list_end from, to;
    if (parse_end(x, 3, &from) && parse_end(x, 4, &to) && exec_arg_timeout(x, 5))
        block_move(x, from, to);
}

static void run_brpoplpush(struct exec *x)
{
    if (exec_arg_timeout(x, 3)) block_move(x, LIST_TAIL, LIST_HEAD);
}

/* ---- the rows */

#define OF_LIST .acl = ACL_LIST, .keys = {1, 1, 1}, .spread = SPREAD_KEY, .group = "list"
#define MOVES                                                                                      \
    .acl = ACL_LIST, .keys = {1, 2, 1}, .spread = SPREAD_KEY, .group = "list",                     \
    .key_specs = move_keys, .key_specs_count = COUNT_OF(move_keys)
#define BLOCKS                                                                                     \
    .acl = ACL_LIST | ACL_BLOCKING, .keys = {1, -2, 1}, .spread = SPREAD_WAIT, .group = "list",    \
    .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE
#define BLOCKING_MOVES                                                                             \
    .acl = ACL_LIST | ACL_BLOCKING, .keys = {1, 2, 1}, .spread = SPREAD_WAIT_MOVE,                 \
    .group = "list", .key_specs = move_keys, .key_specs_count = COUNT_OF(move_keys)
#define READS .key_flags = KEY_RO | KEY_ACCESS

static const struct cmd_key_spec mpop_keys[] = {
    {.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
     .begin_index = 1,
     .keynum = true,
     .first_key = 1,
     .step = 1},
};
static const struct cmd_key_spec block_mpop_keys[] = {
    {.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
     .begin_index = 2,
     .keynum = true,
     .first_key = 1,
     .step = 1},
};
static const struct cmd_key_spec move_keys[] = {
    {.flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .begin_index = 1, .step = 1},
    {.flags = KEY_RW | KEY_INSERT, .begin_index = 2, .step = 1},
};

// clang-format off
static const struct cmd_spec rows[] = {
    {.name = "BLMOVE", .run = run_blmove, .arity = 6, .flags = CMD_WRITE | CMD_DENYOOM | CMD_NOSCRIPT | CMD_BLOCKING, BLOCKING_MOVES,
     .since = "6.2.0", .complexity = "O(1)",
     .summary = "As LMOVE, but waits until the source has an element.",
     .syntax = "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout"},
    {.name = "BLMPOP", .run = run_blmpop, .arity = -5, .flags = CMD_WRITE | CMD_BLOCKING | CMD_MOVABLE_KEYS | CMD_SHRINKS, .acl = ACL_LIST | ACL_BLOCKING,
     .spread = SPREAD_WAIT, .key_specs = block_mpop_keys, .key_specs_count = COUNT_OF(block_mpop_keys), .group = "list", .since = "7.0.0",
     .complexity = "O(N + M), N the number of keys, M the number of elements returned",
     .summary = "As LMPOP, but waits until one of the lists has an element.",
     .syntax = "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]"},
    {.name = "BLPOP", .run = run_blpop, .arity = -3, .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_BLOCKING | CMD_SHRINKS, BLOCKS,
     .since = "2.0.0", .complexity = "O(N), N the number of keys",
     .summary = "Removes and returns the first element of the first of several lists that has one, or waits for it.",
     .syntax = "key [key ...] timeout", .history = "6.0.0:`timeout` is interpreted as a double instead of an integer."},
    {.name = "BRPOP", .run = run_brpop, .arity = -3, .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_BLOCKING | CMD_SHRINKS, BLOCKS,
     .since = "2.0.0", .complexity = "O(N), N the number of keys",
     .summary = "Removes and returns the last element of the first of several lists that has one, or waits for it.",
     .syntax = "key [key ...] timeout", .history = "6.0.0:`timeout` is interpreted as a double instead of an integer."},
    {.name = "BRPOPLPUSH", .run = run_brpoplpush, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_NOSCRIPT | CMD_BLOCKING, BLOCKING_MOVES,
     .since = "2.2.0", .complexity = "O(1)",
     .summary = "As RPOPLPUSH, but waits until the source has an element.",
     .syntax = "source destination timeout", .history = "6.0.0:`timeout` is interpreted as a double instead of an integer."},
    {.name = "LINDEX", .run = run_lindex, .arity = 3, .flags = CMD_READONLY, OF_LIST,
     READS, .since = "1.0.0", .complexity = "O(log N), N the length of the list",
     .summary = "Returns the element of a list at an index.", .syntax = "key index"},
    {.name = "LINSERT", .run = run_linsert, .arity = 5, .flags = CMD_WRITE | CMD_DENYOOM, OF_LIST,
     .opcode = OP_LINSERT, .key_flags = KEY_RW | KEY_INSERT, .since = "2.2.0",
     .complexity = "O(N), N the number of elements before the pivot",
     .summary = "Inserts an element before or after another one of a list.", .syntax = "key <BEFORE | AFTER> pivot element"},
    {.name = "LLEN", .run = run_llen, .arity = 2, .flags = CMD_READONLY | CMD_FAST, OF_LIST,
     .key_flags = KEY_RO, .since = "1.0.0", .complexity = "O(1)",
     .summary = "Returns the length of a list.", .syntax = "key"},
    {.name = "LMOVE", .run = run_lmove, .arity = 5, .flags = CMD_WRITE | CMD_DENYOOM, MOVES,
     .since = "6.2.0", .complexity = "O(1)",
     .summary = "Takes an element from an end of a list, puts it to an end of another (or the same) list and returns it.",
     .syntax = "source destination <LEFT | RIGHT> <LEFT | RIGHT>"},
    {.name = "LMPOP", .run = run_lmpop, .arity = -4, .flags = CMD_WRITE | CMD_MOVABLE_KEYS | CMD_SHRINKS, .acl = ACL_LIST, .spread = SPREAD_KEY,
     .key_specs = mpop_keys, .key_specs_count = COUNT_OF(mpop_keys), .group = "list", .since = "7.0.0",
     .complexity = "O(N + M), N the number of keys, M the number of elements returned",
     .summary = "Removes and returns the first or last elements of the first of several lists that exists.",
     .syntax = "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]"},
    {.name = "LPOP", .run = run_lpop, .arity = -2, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, OF_LIST,
     .opcode = OP_LPOP, .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .since = "1.0.0",
     .complexity = "O(N), N the number of elements returned",
     .summary = "Removes and returns the first elements of a list.", .syntax = "key [count]",
     .history = "6.2.0:Added the `count` argument."},
    {.name = "LPOS", .run = run_lpos, .arity = -3, .flags = CMD_READONLY, OF_LIST,
     READS, .since = "6.0.6", .complexity = "O(N), N the number of elements looked at",
     .summary = "Returns the indexes of elements of a list that equal a given one.",
     .syntax = "key element [RANK rank] [COUNT num-matches] [MAXLEN len]"},
    {.name = "LPUSH", .run = run_lpush, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_LIST,
     .opcode = OP_LPUSH, .key_flags = KEY_RW | KEY_INSERT, .since = "1.0.0", .complexity = "O(N), N the number of elements given",
     .summary = "Puts elements in front of a list, creating the list if there is none.", .syntax = "key element [element ...]",
     .history = "2.4.0:Accepts multiple `element` arguments."},
    {.name = "LPUSHX", .run = run_lpushx, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_LIST,
     .key_flags = KEY_RW | KEY_INSERT, .since = "2.2.0", .complexity = "O(N), N the number of elements given",
     .summary = "Puts elements in front of a list that exists.", .syntax = "key element [element ...]",
     .history = "4.0.0:Accepts multiple `element` arguments."},
    {.name = "LRANGE", .run = run_lrange, .arity = 4, .flags = CMD_READONLY, OF_LIST,
     READS, .since = "1.0.0", .complexity = "O(log N + M), N the length of the list, M the number of elements returned",
     .summary = "Returns the elements of a list between two indexes.", .syntax = "key start stop"},
    {.name = "LREM", .run = run_lrem, .arity = 4, .flags = CMD_WRITE | CMD_SHRINKS, OF_LIST,
     .opcode = OP_LREM, .key_flags = KEY_RW | KEY_DELETE, .since = "1.0.0", .complexity = "O(N), N the length of the list",
     .summary = "Removes elements of a list that equal a given one.", .syntax = "key count element"},
    {.name = "LSET", .run = run_lset, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM, OF_LIST,
     .opcode = OP_LSET, .key_flags = KEY_RW | KEY_UPDATE, .since = "1.0.0", .complexity = "O(log N), N the length of the list",
     .summary = "Replaces the element of a list at an index.", .syntax = "key index element"},
    {.name = "LTRIM", .run = run_ltrim, .arity = 4, .flags = CMD_WRITE | CMD_SHRINKS, OF_LIST,
     .opcode = OP_LTRIM, .key_flags = KEY_RW | KEY_DELETE, .since = "1.0.0", .complexity = "O(N), N the number of elements removed",
     .summary = "Removes all elements of a list but those between two indexes.", .syntax = "key start stop"},
    {.name = "RPOP", .run = run_rpop, .arity = -2, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, OF_LIST,
     .opcode = OP_RPOP, .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .since = "1.0.0",
     .complexity = "O(N), N the number of elements returned",
     .summary = "Removes and returns the last elements of a list.", .syntax = "key [count]",
     .history = "6.2.0:Added the `count` argument."},
    {.name = "RPOPLPUSH", .run = run_rpoplpush, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM, MOVES,
     .since = "1.2.0", .complexity = "O(1)",
     .summary = "Takes the last element of a list, puts it in front of another (or the same) list and returns it.",
     .syntax = "source destination"},
    {.name = "RPUSH", .run = run_rpush, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_LIST,
     .opcode = OP_RPUSH, .key_flags = KEY_RW | KEY_INSERT, .since = "1.0.0", .complexity = "O(N), N the number of elements given",
     .summary = "Appends elements to a list, creating the list if there is none.", .syntax = "key element [element ...]",
     .history = "2.4.0:Accepts multiple `element` arguments."},
    {.name = "RPUSHX", .run = run_rpushx, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_LIST,
     .key_flags = KEY_RW | KEY_INSERT, .since = "2.2.0", .complexity = "O(N), N the number of elements given",
     .summary = "Appends elements to a list that exists.", .syntax = "key element [element ...]",
     .history = "4.0.0:Accepts multiple `element` arguments."},
};
// clang-format on

const struct cmd_table list_cmds = {.rows = rows, .count = COUNT_OF(rows)};
