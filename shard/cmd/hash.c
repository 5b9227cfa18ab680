/* Hashes: fields set, read, counted up, drawn and scanned. */
#include "shard/types/hash.h"

#include <math.h>

#include "shard/cmd/cmd.h"
#include "shard/cmd/scan_args.h"
#include "shard/exec/exec.h"

/* The hash under argv[1], or a new empty one in c->e.record. False: replied. */
static bool open_hash(struct exec *x, struct change *c)
{
    if (!exec_open_as(x, x->argv[1], VALUE_HASH, c)) return false;
    if (c->e.record != NULL) return true;
    c->e.record = hash_try_new(c->key.name, -1);
    if (likely(c->e.record != NULL)) return true;
    exec_reply_nomem(x);
    return false;
}

static bool read_hash(struct exec *x, struct record **record_out)
{
    return exec_read_as(x, x->argv[1], VALUE_HASH, record_out);
}

/* ---- HSET and its family */

static size_t longest_arg(const struct exec *x, uint32_t from)
{
    size_t longest = 0;
    for (uint32_t i = from; i < x->argc; i++)
        if (x->argv[i].len > longest) longest = x->argv[i].len;
    return longest;
}

/* Stores the pairs from argv[2] on. Returns where it stopped: argc, or earlier for want of memory. */
static uint32_t store_fields(struct exec *x, struct change *c, int64_t *added_out)
{
    *added_out = 0;
    /* A single pair is looked at by hash_set() itself. */
    if (x->argc > 4 && !hash_try_expect(&c->e.record, longest_arg(x, 2))) return 2;
    uint32_t i = 2;
    for (; i < x->argc; i += 2) {
        enum hash_set_result done = hash_set(&c->e.record, x->argv[i], x->argv[i + 1]);
        if (unlikely(done == HASH_NOMEM)) break;
        if (done == HASH_ADDED) (*added_out)++;
    }
    return i;
}

/* Without memory for all pairs those before the failing one are stored, logged and told; the reply is
 * the error. False: replied. */
static bool set_fields(struct exec *x, int64_t *added_out)
{
    if (x->argc % 2 != 0) {
        exec_reply_arity(x);
        return false;
    }
    struct change c;
    if (!open_hash(x, &c)) return false;
    uint32_t stop = store_fields(x, &c, added_out);
    if (unlikely(stop == 2)) {
        exec_abandon(x, &c);
        return false;
    }
    if (!exec_commit(x, &c, NOTIFY_HASH, "hset")) return false;
    exec_log(x, &c, OP_HSET, x->argv + 1, stop - 1);
    if (likely(stop == x->argc)) return true;
    exec_reply_nomem(x);
    return false;
}

static void run_hset(struct exec *x)
{
    int64_t added;
    if (set_fields(x, &added)) reply_i64(x->reply, added);
}

static void run_hmset(struct exec *x)
{
    int64_t added;
    if (set_fields(x, &added)) reply_ok(x->reply);
}

/* Stores one field and logs it as HSET. False: replied. */
static bool set_one(struct exec *x, struct change *c, struct bytes value, const char *event)
{
    if (unlikely(hash_set(&c->e.record, x->argv[2], value) == HASH_NOMEM)) {
        exec_abandon(x, c);
        return false;
    }
    if (!exec_commit(x, c, NOTIFY_HASH, event)) return false;
    struct bytes args[3] = {c->key.name, x->argv[2], value};
    exec_log(x, c, OP_HSET, args, 3);
    return true;
}

static void run_hsetnx(struct exec *x)
{
    struct change c;
    if (!open_hash(x, &c)) return;
    if (hash_has(c.e.record, x->argv[2])) {
        reply_i64(x->reply, 0);
        return;
    }
    if (set_one(x, &c, x->argv[3], "hset")) reply_i64(x->reply, 1);
}

static void run_hdel(struct exec *x)
{
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_HASH, &c)) return;
    int64_t deleted = 0;
    for (uint32_t i = 2; c.e.record != NULL && i < x->argc; i++)
        if (hash_delete(&c.e.record, x->argv[i])) deleted++;
    if (deleted > 0) {
        exec_commit(x, &c, NOTIFY_HASH, "hdel"); /* no insert: cannot fail */
        exec_log_same(x, &c);
    }
    reply_i64(x->reply, deleted);
}

/* ---- counters */

static void run_hincrby(struct exec *x)
{
    int64_t delta, value = 0;
    if (!exec_arg_i64(x, 3, &delta)) return;
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_HASH, &c)) return;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes old;
    if (c.e.record != NULL && hash_get(c.e.record, x->argv[2], tmp, &old) &&
        !num_parse_i64(old, &value)) {
        reply_error(x->reply, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(value, delta, &value)) {
        reply_error(x->reply, "ERR increment or decrement would overflow");
        return;
    }
    if (c.e.record == NULL) c.e.record = hash_try_new(c.key.name, -1);
    struct bytes text = bytes_view(tmp, num_format_i64(tmp, value));
    if (c.e.record == NULL || hash_set(&c.e.record, x->argv[2], text) == HASH_NOMEM) {
        exec_abandon(x, &c);
        return;
    }
    if (!exec_commit(x, &c, NOTIFY_HASH, "hincrby")) return;
    exec_log_same(x, &c);
    reply_i64(x->reply, value);
}

/* The field's value plus delta. False: replied. */
static bool add_float(struct exec *x, const struct record *r, long double delta,
                      long double *sum_out)
{
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes old;
    long double value = 0;
    if (r != NULL && hash_get(r, x->argv[2], tmp, &old) && !num_parse_ldouble(old, &value)) {
        reply_error(x->reply, "ERR hash value is not a float");
        return false;
    }
    *sum_out = value + delta;
    if (!isnan(*sum_out) && !isinf(*sum_out)) return true;
    reply_error(x->reply, "ERR increment would produce NaN or Infinity");
    return false;
}

/* The result goes to the log: adding again might round otherwise elsewhere. */
static void run_hincrbyfloat(struct exec *x)
{
    long double delta, sum;
    if (!num_parse_ldouble(x->argv[3], &delta)) {
        reply_error(x->reply, ERR_NOT_FLOAT);
        return;
    }
    if (isnan(delta) || isinf(delta)) {
        reply_error(x->reply, "ERR value is NaN or Infinity");
        return;
    }
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_HASH, &c)) return;
    if (!add_float(x, c.e.record, delta, &sum)) return;
    char *text = arena_alloc(x->scratch, NUM_LDOUBLE_TEXT_MAX);
    struct bytes result = bytes_view(text, num_format_ldouble(text, NUM_LDOUBLE_TEXT_MAX, sum));
    if (!exec_reserve(x, c.key.name.len + x->argv[2].len + result.len)) return;
    if (c.e.record == NULL) c.e.record = hash_try_new(c.key.name, -1);
    if (c.e.record == NULL) {
        exec_abandon(x, &c);
        return;
    }
    if (set_one(x, &c, result, "hincrbyfloat")) reply_bulk(x->reply, result);
}

/* ---- reading fields */

static void reply_field(struct exec *x, const struct record *r, struct bytes field)
{
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes value;
    if (r != NULL && hash_get(r, field, tmp, &value))
        reply_bulk(x->reply, value);
    else
        reply_null(x->reply);
}

static void run_hget(struct exec *x)
{
    struct record *r;
    if (read_hash(x, &r)) reply_field(x, r, x->argv[2]);
}

static void run_hmget(struct exec *x)
{
    struct record *r;
    if (!read_hash(x, &r)) return;
    reply_array(x->reply, (int64_t)x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++)
        reply_field(x, r, x->argv[i]);
}

static void run_hlen(struct exec *x)
{
    struct record *r;
    if (!read_hash(x, &r)) return;
    reply_i64(x->reply, r == NULL ? 0 : (int64_t)hash_len(r));
}

static void run_hexists(struct exec *x)
{
    struct record *r;
    if (!read_hash(x, &r)) return;
    reply_i64(x->reply, r != NULL && hash_has(r, x->argv[2]));
}

static void run_hstrlen(struct exec *x)
{
    struct record *r;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes value;
    if (!read_hash(x, &r)) return;
    bool found = r != NULL && hash_get(r, x->argv[2], tmp, &value);
    reply_i64(x->reply, found ? (int64_t)value.len : 0);
}

static void reply_walk(struct exec *x, const struct record *r, bool fields, bool values)
{
    struct hash_iter it;
    struct bytes field, value;
    char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    hash_iter_start(r, &it);
    while (hash_iter_next(&it, tmp_f, tmp_v, &field, &value)) {
        if (fields) reply_bulk(x->reply, field);
        if (values) reply_bulk(x->reply, value);
    }
}

static void run_hgetall(struct exec *x)
{
    struct record *r;
    if (!read_hash(x, &r)) return;
    reply_map(x->reply, r == NULL ? 0 : (int64_t)hash_len(r));
    if (r != NULL) reply_walk(x, r, true, true);
}

static void run_hkeys(struct exec *x)
{
    struct record *r;
    if (!read_hash(x, &r)) return;
    reply_array(x->reply, r == NULL ? 0 : (int64_t)hash_len(r));
    if (r != NULL) reply_walk(x, r, true, false);
}

static void run_hvals(struct exec *x)
{
    struct record *r;
    if (!read_hash(x, &r)) return;
    reply_array(x->reply, r == NULL ? 0 : (int64_t)hash_len(r));
    if (r != NULL) reply_walk(x, r, false, true);
}

/* ---- HRANDFIELD
 *
 * Distinct fields: a walk that takes each field with the chance that makes all subsets equally likely
 * costs a look at every field. Where fewer than a third are wanted from a table, drawing again whatever
 * was drawn before is cheaper: 1.5 draws per field at most. */

struct draws {
    struct exec *x;
    const struct record *record;
    uint64_t count;
    bool with_values;
};

static void reply_drawn(const struct draws *d, struct bytes field, struct bytes value)
{
    struct reply *reply = d->x->reply;
    if (d->with_values && reply->proto == 3) reply_array(reply, 2); /* RESP2: flat */
    reply_bulk(reply, field);
    if (d->with_values) reply_bulk(reply, value);
}

static void reply_drawn_head(const struct draws *d, uint64_t count)
{
    bool flat = d->with_values && d->x->reply->proto != 3;
    reply_array(d->x->reply, (int64_t)(flat ? 2 * count : count));
}

static void draw_repeating(const struct draws *d)
{
    struct bytes field, value;
    char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    for (uint64_t i = 0; i < d->count; i++) {
        hash_random(d->record, d->x->rng, tmp_f, tmp_v, &field, &value);
        reply_drawn(d, field, value);
    }
}

static void draw_walking(const struct draws *d)
{
    struct hash_iter it;
    struct bytes field, value;
    char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    uint64_t left = hash_len(d->record), wanted = d->count;
    hash_iter_start(d->record, &it);
    for (; wanted > 0 && hash_iter_next(&it, tmp_f, tmp_v, &field, &value); left--) {
        if (wanted < left && rng_below(d->x->rng, left) >= wanted) continue;
        reply_drawn(d, field, value);
        wanted--;
    }
    assert(wanted == 0);
}

/* Open addressing over addresses of fields: those of a full hash stay where they are while it is read. */
struct seen {
    const void **places;
    uint64_t mask;
};

static bool seen_add(struct seen *s, const void *p)
{
    uint64_t i = ((uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
    for (;; i++) {
        const void **place = &s->places[i & s->mask];
        if (*place == p) return false;
        if (*place != NULL) continue;
        *place = p;
        return true;
    }
}

/* False: no memory for what was seen; nothing was replied. */
static bool draw_distinct(const struct draws *d)
{
    struct seen seen = {.mask = 15};
    while (seen.mask < 2 * d->count)
        seen.mask = seen.mask * 2 + 1;
    size_t bytes = (size_t)(seen.mask + 1) * sizeof *seen.places;
    seen.places = mem_try_zalloc(MEM_EXEC, bytes);
    if (seen.places == NULL) return false;
    struct bytes field, value;
    char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    for (uint64_t got = 0; got < d->count;) {
        hash_random(d->record, d->x->rng, tmp_f, tmp_v, &field, &value);
        if (!seen_add(&seen, field.data)) continue;
        reply_drawn(d, field, value);
        got++;
    }
    mem_free(MEM_EXEC, seen.places, bytes);
    return true;
}

static void draw(struct draws *d, int64_t count)
{
    uint64_t len = hash_len(d->record);
    d->count = count < 0 ? (uint64_t)-count : (uint64_t)count;
    if (count > 0 && d->count > len) d->count = len;
    reply_drawn_head(d, d->count);
    if (count < 0 || d->count == 1)
        draw_repeating(d);
    else if (!record_is_full(d->record) || d->count * 3 > len || !draw_distinct(d))
        draw_walking(d);
}

static void run_hrandfield_one(struct exec *x)
{
    struct record *r;
    if (!read_hash(x, &r)) return;
    if (r == NULL) {
        reply_null(x->reply);
        return;
    }
    struct draws d = {.x = x, .record = r, .count = 1};
    draw_repeating(&d);
}

/* Count and WITHVALUES; false: replied. */
static bool parse_draws(struct exec *x, int64_t *count_out, bool *with_values_out)
{
    if (!exec_arg_i64(x, 2, count_out)) return false;
    if (*count_out == INT64_MIN) {
        reply_error(x->reply, ERR_NOT_NEGATABLE);
        return false;
    }
    *with_values_out = x->argc == 4 && bytes_is(x->argv[3], "WITHVALUES");
    if (x->argc > 3 && !*with_values_out) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    bool doubled = *with_values_out && (*count_out < -INT64_MAX / 2 || *count_out > INT64_MAX / 2);
    if (!doubled && *count_out >= -RANDOM_DRAWS_MAX) return true;
    reply_error(x->reply, "ERR value is out of range");
    return false;
}

static void run_hrandfield(struct exec *x)
{
    if (x->argc == 2) {
        run_hrandfield_one(x);
        return;
    }
    int64_t count;
    struct draws d = {.x = x};
    struct record *r;
    if (!parse_draws(x, &count, &d.with_values) || !read_hash(x, &r)) return;
    if (r == NULL || count == 0) {
        reply_array(x->reply, 0);
        return;
    }
    d.record = r;
    draw(&d, count);
}

/* ---- HSCAN */

static void reply_scanned(struct exec *x, const struct scan_args *a, struct bytes field,
                          struct bytes value)
{
    reply_bulk(x->reply, field);
    if (!a->no_values) reply_bulk(x->reply, value);
}

/* A packed hash comes whole. */
static void scan_packed(struct exec *x, const struct record *r, const struct scan_args *a)
{
    struct hash_iter it;
    struct bytes field, value;
    char tmp_f[NUM_I64_TEXT_MAX], tmp_v[NUM_I64_TEXT_MAX];
    int64_t replied = 0;
    reply_array(x->reply, 2);
    reply_bulk(x->reply, BYTES_LIT("0"));
    struct reply_later later = reply_later(x->reply, '*');
    hash_iter_start(r, &it);
    while (hash_iter_next(&it, tmp_f, tmp_v, &field, &value)) {
        if (!scan_wants(a, field)) continue;
        reply_scanned(x, a, field, value);
        replied++;
    }
    reply_later_done(x->reply, later, a->no_values ? replied : 2 * replied);
}

/* Views of what a scan met: the cursor, known last, stands first in the reply. */
struct found_pair {
    struct bytes field, value;
};
struct found {
    struct exec *x;
    const struct scan_args *args;
    struct found_pair *pairs;
    uint64_t count, room;
};

static void add_found(void *ctx, struct bytes field, struct bytes value)
{
    struct found *f = ctx;
    if (!scan_wants(f->args, field)) return;
    if (f->count == f->room) {
        f->room = f->room == 0 ? 16 : f->room * 2;
        void *larger = arena_alloc(f->x->scratch, f->room * sizeof *f->pairs);
        if (f->count > 0) memcpy(larger, f->pairs, f->count * sizeof *f->pairs);
        f->pairs = larger;
    }
    f->pairs[f->count].field = field;
    f->pairs[f->count++].value = value;
}

static void scan_full(struct exec *x, const struct record *r, uint64_t cursor,
                      const struct scan_args *a)
{
    struct found f = {.x = x, .args = a};
    uint64_t steps = scan_steps_max(a);
    do {
        cursor = hash_scan(r, cursor, add_found, &f);
    } while (cursor != 0 && --steps > 0 && f.count < (uint64_t)a->count);
    char text[NUM_I64_TEXT_MAX];
    reply_array(x->reply, 2);
    reply_bulk(x->reply, bytes_view(text, num_format_u64(text, cursor)));
    reply_array(x->reply, (int64_t)(a->no_values ? f.count : 2 * f.count));
    for (uint64_t i = 0; i < f.count; i++)
        reply_scanned(x, a, f.pairs[i].field, f.pairs[i].value);
}

static void run_hscan(struct exec *x)
{
    uint64_t cursor;
    struct record *r;
    struct scan_args args;
    if (!scan_parse_cursor(x, 2, &cursor) || !read_hash(x, &r)) return;
    if (r == NULL) {
        scan_reply_empty(x);
        return;
    }
    if (!scan_parse_options(x, 3, SCAN_NOVALUES, &args)) return;
    if (record_is_full(r))
        scan_full(x, r, cursor, &args);
    else
        scan_packed(x, r, &args);
}

/* ---- the rows */

#define OF_HASH .acl = ACL_HASH, .keys = {1, 1, 1}, .spread = SPREAD_KEY, .group = "hash"
#define READS .key_flags = KEY_RO | KEY_ACCESS
#define COUNTS .key_flags = KEY_RW | KEY_ACCESS | KEY_UPDATE

// clang-format off
static const struct cmd_spec rows[] = {
    {.name = "HDEL", .element = 2, .run = run_hdel, .arity = -3, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, OF_HASH,
     .opcode = OP_HDEL, .key_flags = KEY_RW | KEY_DELETE, .since = "2.0.0", .complexity = "O(N), N the number of fields given",
     .summary = "Deletes fields of a hash, and the hash when none is left.", .syntax = "key field [field ...]",
     .history = "2.4.0:Accepts multiple `field` arguments."},
    {.name = "HEXISTS", .element = 2, .run = run_hexists, .arity = 3, .flags = CMD_READONLY | CMD_FAST, OF_HASH,
     .key_flags = KEY_RO, .since = "2.0.0", .complexity = "O(1)",
     .summary = "Tells whether a hash has a field.", .syntax = "key field"},
    {.name = "HGET", .element = 2, .run = run_hget, .arity = 3, .flags = CMD_READONLY | CMD_FAST, OF_HASH,
     READS, .since = "2.0.0", .complexity = "O(1)",
     .summary = "Returns the value of a field of a hash.", .syntax = "key field"},
    {.name = "HGETALL", .run = run_hgetall, .arity = 2, .flags = CMD_READONLY, OF_HASH,
     READS, .since = "2.0.0", .complexity = "O(N), N the number of fields",
     .summary = "Returns all fields of a hash with their values.", .syntax = "key", .tips = "nondeterministic_output_order"},
    {.name = "HINCRBY", .element = 2, .run = run_hincrby, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_HASH,
     .opcode = OP_HINCRBY, COUNTS, .since = "2.0.0", .complexity = "O(1)",
     .summary = "Adds a number to the integer value of a field; an absent field counts as 0.", .syntax = "key field increment"},
    {.name = "HINCRBYFLOAT", .element = 2, .run = run_hincrbyfloat, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_HASH,
     COUNTS, .since = "2.6.0", .complexity = "O(1)",
     .summary = "Adds a floating point number to the value of a field; an absent field counts as 0.", .syntax = "key field increment"},
    {.name = "HKEYS", .run = run_hkeys, .arity = 2, .flags = CMD_READONLY, OF_HASH,
     READS, .since = "2.0.0", .complexity = "O(N), N the number of fields",
     .summary = "Returns all fields of a hash.", .syntax = "key", .tips = "nondeterministic_output_order"},
    {.name = "HLEN", .run = run_hlen, .arity = 2, .flags = CMD_READONLY | CMD_FAST, OF_HASH,
     .key_flags = KEY_RO, .since = "2.0.0", .complexity = "O(1)",
     .summary = "Returns how many fields a hash has.", .syntax = "key"},
    {.name = "HMGET", .element = 2, .run = run_hmget, .arity = -3, .flags = CMD_READONLY | CMD_FAST, OF_HASH,
     READS, .since = "2.0.0", .complexity = "O(N), N the number of fields given",
     .summary = "Returns the values of several fields of a hash.", .syntax = "key field [field ...]"},
    {.name = "HMSET", .element = 2, .run = run_hmset, .arity = -4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_HASH,
     .key_flags = KEY_RW | KEY_UPDATE, .since = "2.0.0", .complexity = "O(N), N the number of fields given",
     .summary = "Sets the values of several fields of a hash; HSET does the same and counts.",
     .syntax = "key field value [field value ...]"},
    {.name = "HRANDFIELD", .run = run_hrandfield, .arity = -2, .flags = CMD_READONLY, OF_HASH,
     READS, .since = "6.2.0", .complexity = "O(N), N the number of fields returned",
     .summary = "Returns one or several fields of a hash drawn at random.", .syntax = "key [count [WITHVALUES]]",
     .tips = "nondeterministic_output"},
    {.name = "HSCAN", .run = run_hscan, .arity = -3, .flags = CMD_READONLY, OF_HASH,
     READS, .since = "2.8.0", .complexity = "O(1) per call, O(N) for a whole iteration, N the number of fields",
     .summary = "Returns some fields of a hash with their values, and where to go on.",
     .syntax = "key cursor [MATCH pattern] [COUNT count] [NOVALUES]", .tips = "nondeterministic_output"},
    {.name = "HSET", .element = 2, .run = run_hset, .arity = -4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_HASH,
     .opcode = OP_HSET, .key_flags = KEY_RW | KEY_UPDATE, .since = "2.0.0", .complexity = "O(N), N the number of fields given",
     .summary = "Sets the values of fields of a hash and tells how many are new.",
     .syntax = "key field value [field value ...]", .history = "4.0.0:Accepts multiple `field` and `value` arguments."},
    {.name = "HSETNX", .element = 2, .run = run_hsetnx, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, OF_HASH,
     .key_flags = KEY_RW | KEY_INSERT, .since = "2.0.0", .complexity = "O(1)",
     .summary = "Sets the value of a field of a hash only if the field does not exist.", .syntax = "key field value"},
    {.name = "HSTRLEN", .element = 2, .run = run_hstrlen, .arity = 3, .flags = CMD_READONLY | CMD_FAST, OF_HASH,
     .key_flags = KEY_RO, .since = "3.2.0", .complexity = "O(1)",
     .summary = "Returns the length of the value of a field of a hash.", .syntax = "key field"},
    {.name = "HVALS", .run = run_hvals, .arity = 2, .flags = CMD_READONLY, OF_HASH,
     READS, .since = "2.0.0", .complexity = "O(N), N the number of fields",
     .summary = "Returns all values of a hash.", .syntax = "key", .tips = "nondeterministic_output_order"},
};
// clang-format on

const struct cmd_table hash_cmds = {.rows = rows, .count = COUNT_OF(rows)};
