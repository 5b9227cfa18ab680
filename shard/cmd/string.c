/* Strings: GET and SET with their family, counters, ranges, several keys at once. */
#include <math.h>

#include "shard/cmd/cmd.h"
#include "shard/exec/exec.h"
#include "shard/types/str.h"

/* ---- SET and GETEX options */

enum set_flag {
    SET_NX = 1 << 0,
    SET_XX = 1 << 1,
    SET_GET = 1 << 2,
    SET_KEEPTTL = 1 << 3,
    SET_PERSIST = 1 << 4,
    SET_EX = 1 << 5,
    SET_PX = 1 << 6,
    SET_EXAT = 1 << 7,
    SET_PXAT = 1 << 8,
};
#define SET_ANY_TTL (SET_KEEPTTL | SET_PERSIST | SET_EX | SET_PX | SET_EXAT | SET_PXAT)
#define OTHER_TTL(flag) (SET_ANY_TTL & ~(uint32_t)(flag)) /* the same one again: the last counts */

struct set_options {
    uint32_t flags;
    uint32_t time_arg; /* 0: none */
    int64_t expire_ms; /* -1: none */
};

static const struct option {
    const char *name;
    uint32_t flag, excludes;
    bool takes_time, of_set, of_getex;
} options[] = {
    {"NX", SET_NX, SET_XX, false, true, false},
    {"XX", SET_XX, SET_NX, false, true, false},
    {"GET", SET_GET, 0, false, true, false},
    {"KEEPTTL", SET_KEEPTTL, OTHER_TTL(SET_KEEPTTL), false, true, false},
    {"PERSIST", SET_PERSIST, OTHER_TTL(SET_PERSIST), false, false, true},
    {"EX", SET_EX, OTHER_TTL(SET_EX), true, true, true},
    {"PX", SET_PX, OTHER_TTL(SET_PX), true, true, true},
    {"EXAT", SET_EXAT, OTHER_TTL(SET_EXAT), true, true, true},
    {"PXAT", SET_PXAT, OTHER_TTL(SET_PXAT), true, true, true},
};

/* argv[from …]; false: "syntax error" was replied. Times are read later: Redis checks them after the
 * syntax of all options. */
static bool parse_options(struct exec *x, uint32_t from, bool of_set, struct set_options *o)
{
    *o = (struct set_options){.expire_ms = -1};
    for (uint32_t i = from; i < x->argc; i++) {
        const struct option *found = NULL;
        for (size_t k = 0; k < COUNT_OF(options) && found == NULL; k++)
            if ((of_set ? options[k].of_set : options[k].of_getex) &&
                bytes_is(x->argv[i], options[k].name))
                found = &options[k];
        if (found == NULL || (o->flags & found->excludes) ||
            (found->takes_time && i + 1 >= x->argc)) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
        o->flags |= found->flag;
        if (found->takes_time) o->time_arg = ++i;
    }
    return true;
}

static bool read_time(struct exec *x, struct set_options *o)
{
    if (o->time_arg == 0) return true;
    int64_t unit_ms = o->flags & (SET_EX | SET_EXAT) ? 1000 : 1;
    return exec_arg_expire(x, o->time_arg, unit_ms, o->flags & (SET_EXAT | SET_PXAT),
                           &o->expire_ms);
}

/* ---- replies */

static void reply_string(struct exec *x, const struct record *r)
{
    char tmp[NUM_I64_TEXT_MAX];
    if (r == NULL)
        reply_null(x->reply);
    else
        reply_bulk(x->reply, str_view(r, tmp));
}

static void run_get(struct exec *x)
{
    struct record *r;
    if (!exec_read_as(x, x->argv[1], VALUE_STRING, &r)) return;
    reply_string(x, r);
}

/* ---- writing one string */

/* Stores value under the open key (any type is overwritten). False: replied. */
static bool store(struct exec *x, struct change *c, struct bytes value, int64_t expire_ms)
{
    struct record *old = c->e.record;
    if (old != NULL && record_type(old) != VALUE_STRING) {
        struct record *fresh = str_try_new(c->key.name, value, expire_ms);
        if (fresh == NULL) {
            exec_reply_nomem(x);
            return false;
        }
        c->e.record = fresh;
        if (!exec_commit(x, c, NOTIFY_STRING, "set")) return false;
        exec_free_replaced(x, c, old);
        return true;
    }
    bool ok = true;
    if (old == NULL) {
        c->e.record = str_try_new(c->key.name, value, expire_ms);
        ok = c->e.record != NULL;
    } else {
        ok = str_try_set(&c->e.record, value, expire_ms);
    }
    if (unlikely(!ok)) {
        exec_reply_nomem(x);
        return false;
    }
    return exec_commit(x, c, NOTIFY_STRING, "set");
}

/* SET key value [PXAT ms] as the effect. */
static void log_set(struct exec *x, const struct change *c, struct bytes value, int64_t expire_ms)
{
    char text[NUM_I64_TEXT_MAX];
    struct bytes args[4] = {c->key.name, value, BYTES_LIT("PXAT")};
    uint32_t n = 2;
    if (expire_ms >= 0) {
        args[3] = bytes_view(text, num_format_i64(text, expire_ms));
        n = 4;
    }
    exec_log(x, c, OP_SET, args, n);
}

static void set_plain(struct exec *x, struct bytes key, struct bytes value, int64_t expire_ms)
{
    struct change c;
    exec_open(x, key, &c);
    if (!store(x, &c, value, expire_ms)) return;
    log_set(x, &c, value, expire_ms);
    if (unlikely(expire_ms >= 0)) exec_notify(x, &c.key, NOTIFY_GENERIC, "expire");
    reply_ok(x->reply);
}

/* A deadline that has passed already deletes instead: SET … PXAT in the past. */
static bool in_the_past(const struct exec *x, int64_t expire_ms)
{
    return expire_ms >= 0 && expire_ms <= x->now_ms;
}

static void delete_open(struct exec *x, struct change *c)
{
    if (c->e.record == NULL) return;
    struct bytes name = c->key.name;
    exec_log(x, c, OP_DEL, &name, 1);
    exec_delete(x, c, NOTIFY_GENERIC, "del");
}

static void set_general(struct exec *x, struct bytes key, struct bytes value, struct set_options *o)
{
    struct change c;
    exec_open(x, key, &c);
    const struct record *old = c.e.record;
    if ((o->flags & SET_GET) && old != NULL && record_type(old) != VALUE_STRING) {
        reply_error(x->reply, ERR_WRONGTYPE);
        return;
    }
    bool refused = ((o->flags & SET_NX) && old != NULL) || ((o->flags & SET_XX) && old == NULL);
    if (o->flags & SET_GET) reply_string(x, old);
    if (refused) {
        if (!(o->flags & SET_GET)) reply_null(x->reply);
        return;
    }
    if (in_the_past(x, o->expire_ms)) {
        delete_open(x, &c);
        if (!(o->flags & SET_GET)) reply_ok(x->reply);
        return;
    }
    int64_t expire_ms =
        o->flags & SET_KEEPTTL && old != NULL ? record_expire_ms(old) : o->expire_ms;
    if (!store(x, &c, value, expire_ms)) return;
    log_set(x, &c, value, expire_ms);
    if (o->time_arg != 0) exec_notify(x, &c.key, NOTIFY_GENERIC, "expire");
    if (!(o->flags & SET_GET)) reply_ok(x->reply);
}

static void run_set(struct exec *x)
{
    if (likely(x->argc == 3)) {
        set_plain(x, x->argv[1], x->argv[2], -1);
        return;
    }
    struct set_options o;
    if (!parse_options(x, 3, true, &o) || !read_time(x, &o)) return;
    set_general(x, x->argv[1], x->argv[2], &o);
}

static void run_setnx(struct exec *x)
{
    struct change c;
    exec_open(x, x->argv[1], &c);
    if (c.e.record != NULL) {
        reply_i64(x->reply, 0);
        return;
    }
    if (!store(x, &c, x->argv[2], -1)) return;
    log_set(x, &c, x->argv[2], -1);
    reply_i64(x->reply, 1);
}

static void set_with_time(struct exec *x, int64_t unit_ms)
{
    int64_t when_ms;
    if (!exec_arg_expire(x, 2, unit_ms, false, &when_ms)) return;
    set_plain(x, x->argv[1], x->argv[3], when_ms);
}

static void run_setex(struct exec *x)
{
    set_with_time(x, 1000);
}

static void run_psetex(struct exec *x)
{
    set_with_time(x, 1);
}

static void run_getset(struct exec *x)
{
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_STRING, &c)) return;
    reply_string(x, c.e.record);
    if (!store(x, &c, x->argv[2], -1)) return;
    log_set(x, &c, x->argv[2], -1);
}

static void run_getdel(struct exec *x)
{
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_STRING, &c)) return;
    reply_string(x, c.e.record);
    delete_open(x, &c);
}

/* GETEX with a time or PERSIST: the record's expiry changes, its value does not. */
static void run_getex(struct exec *x)
{
    struct set_options o;
    if (!parse_options(x, 2, false, &o)) return;
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_STRING, &c)) return;
    if (c.e.record == NULL) {
        reply_null(x->reply);
        return;
    }
    if (!read_time(x, &o)) return;
    reply_string(x, c.e.record);
    if (in_the_past(x, o.expire_ms)) {
        delete_open(x, &c);
        return;
    }
    bool persists = (o.flags & SET_PERSIST) && record_expire_ms(c.e.record) >= 0;
    if (o.time_arg == 0 && !persists) return;
    if (!record_try_set_expire(&c.e.record, o.expire_ms))
        return; /* no memory: the deadline stays */
    if (!exec_commit(x, &c, NOTIFY_GENERIC, persists ? "persist" : "expire")) return;
    char text[NUM_I64_TEXT_MAX];
    struct bytes args[2] = {c.key.name};
    if (!persists) args[1] = bytes_view(text, num_format_i64(text, o.expire_ms));
    exec_log(x, &c, persists ? OP_PERSIST : OP_PEXPIREAT, args, persists ? 1 : 2);
}

/* ---- parts of a string */

static bool check_length(struct exec *x, uint64_t length)
{
    if (length <= x->string_bytes_max) return true;
    reply_error(x->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

static void run_append(struct exec *x)
{
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_STRING, &c)) return;
    struct bytes tail = x->argv[2];
    bool ok;
    if (c.e.record == NULL) {
        c.e.record = str_try_new(c.key.name, tail, -1);
        ok = c.e.record != NULL;
    } else {
        if (!check_length(x, str_len(c.e.record) + tail.len)) return;
        ok = str_try_append(&c.e.record, tail);
    }
    if (!ok) {
        exec_reply_nomem(x);
        return;
    }
    size_t len = str_len(c.e.record);
    if (!exec_commit(x, &c, NOTIFY_STRING, "append")) return;
    exec_log_same(x, &c);
    reply_i64(x->reply, (int64_t)len);
}

static void run_setrange(struct exec *x)
{
    int64_t offset;
    if (!exec_arg_i64(x, 2, &offset)) return;
    if (offset < 0) {
        reply_error(x->reply, "ERR offset is out of range");
        return;
    }
    struct change c;
    if (!exec_open_as(x, x->argv[1], VALUE_STRING, &c)) return;
    struct bytes part = x->argv[3];
    if (part.len == 0) {
        reply_i64(x->reply, c.e.record == NULL ? 0 : (int64_t)str_len(c.e.record));
        return;
    }
    if (!check_length(x, (uint64_t)offset + part.len)) return;
    if (c.e.record == NULL) {
        c.e.record = str_try_new(c.key.name, bytes_view("", 0), -1);
        if (c.e.record == NULL) {
            exec_reply_nomem(x);
            return;
        }
    }
    if (!str_try_setrange(&c.e.record, (uint32_t)offset, part)) {
        if (c.e.was == NULL) record_free(c.e.record);
        exec_reply_nomem(x);
        return;
    }
    size_t len = str_len(c.e.record);
    if (!exec_commit(x, &c, NOTIFY_STRING, "setrange")) return;
    exec_log_same(x, &c);
    reply_i64(x->reply, (int64_t)len);
}

static void run_getrange(struct exec *x)
{
    int64_t start, end;
    struct record *r;
    if (!exec_arg_i64(x, 2, &start) || !exec_arg_i64(x, 3, &end)) return;
    if (!exec_read_as(x, x->argv[1], VALUE_STRING, &r)) return;
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes v = r == NULL ? bytes_view("", 0) : str_view(r, tmp);
    int64_t len = (int64_t)v.len;
    bool inverted = start < 0 && end < 0 && start > end;
    if (start < 0) start = start + len < 0 ? 0 : start + len;
    if (end < 0) end = end + len < 0 ? 0 : end + len;
    if (end >= len) end = len - 1;
    if (inverted || start > end || len == 0)
        reply_bulk(x->reply, bytes_view("", 0));
    else
        reply_bulk(x->reply, bytes_view(v.data + start, (size_t)(end - start + 1)));
}

static void run_strlen(struct exec *x)
{
    struct record *r;
    if (!exec_read_as(x, x->argv[1], VALUE_STRING, &r)) return;
    reply_i64(x->reply, r == NULL ? 0 : (int64_t)str_len(r));
}

/* ---- counters */

static void add_integer(struct exec *x, int64_t delta)
{
    struct change c;
    int64_t value = 0;
    if (!exec_open_as(x, x->argv[1], VALUE_STRING, &c)) return;
    if (c.e.record != NULL && !str_get_int(c.e.record, &value)) {
        reply_error(x->reply, ERR_NOT_INT);
        return;
    }
    if (__builtin_add_overflow(value, delta, &value)) {
        reply_error(x->reply, "ERR increment or decrement would overflow");
        return;
    }
    char text[NUM_I64_TEXT_MAX];
    if (c.e.record == NULL) c.e.record = str_try_new(c.key.name, BYTES_LIT("0"), -1);
    if (c.e.record == NULL || !str_try_set_int(&c.e.record, value)) {
        if (c.e.record != NULL && c.e.was == NULL) record_free(c.e.record);
        exec_reply_nomem(x);
        return;
    }
    if (!exec_commit(x, &c, NOTIFY_STRING, "incrby")) return;
    struct bytes args[2] = {c.key.name, bytes_view(text, num_format_i64(text, delta))};
    exec_log(x, &c, OP_INCRBY, args, 2);
    reply_i64(x->reply, value);
}

static void run_incr(struct exec *x)
{
    add_integer(x, 1);
}

static void run_decr(struct exec *x)
{
    add_integer(x, -1);
}

static void run_incrby(struct exec *x)
{
    int64_t delta;
    if (exec_arg_i64(x, 2, &delta)) add_integer(x, delta);
}

static void run_decrby(struct exec *x)
{
    int64_t delta;
    if (!exec_arg_i64(x, 2, &delta)) return;
    if (delta == INT64_MIN) {
        reply_error(x->reply, "ERR decrement would overflow");
        return;
    }
    add_integer(x, -delta);
}

/* The result goes to the log as a SET: adding again might round otherwise elsewhere. */
static void run_incrbyfloat(struct exec *x)
{
    struct change c;
    long double value = 0, delta;
    if (!exec_open_as(x, x->argv[1], VALUE_STRING, &c)) return;
    char tmp[NUM_I64_TEXT_MAX];
    if ((c.e.record != NULL && !num_parse_ldouble(str_view(c.e.record, tmp), &value)) ||
        !num_parse_ldouble(x->argv[2], &delta)) {
        reply_error(x->reply, ERR_NOT_FLOAT);
        return;
    }
    value += delta;
    if (isnan(value) || isinf(value)) {
        reply_error(x->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char *text = arena_alloc(x->scratch, NUM_LDOUBLE_TEXT_MAX);
    struct bytes result = bytes_view(text, num_format_ldouble(text, NUM_LDOUBLE_TEXT_MAX, value));
    if (!exec_reserve(x, result.len + c.key.name.len)) return;
    if (c.e.record == NULL) c.e.record = str_try_new(c.key.name, result, -1);
    if (c.e.record == NULL || !str_try_set_text(&c.e.record, result)) {
        exec_abandon(x, &c);
        return;
    }
    if (!exec_commit(x, &c, NOTIFY_STRING, "incrbyfloat")) return;
    struct bytes args[3] = {c.key.name, result, BYTES_LIT("KEEPTTL")};
    exec_log(x, &c, OP_SET, args, 3);
    reply_bulk(x->reply, result);
}

/* ---- several keys */

static void run_mget(struct exec *x)
{
    reply_array(x->reply, (int64_t)x->argc - 1);
    struct exec_keys keys;
    exec_keys_begin(&keys, 1, 1);
    while (exec_keys_next(x, &keys)) {
        struct record *r = exec_read_at(x, keys.key);
        reply_string(x, r != NULL && record_type(r) == VALUE_STRING ? r : NULL);
    }
}

static bool check_pairs(struct exec *x)
{
    if (x->argc % 2 == 1) return true;
    exec_reply_arity(x);
    return false;
}

static bool store_pairs(struct exec *x)
{
    struct exec_keys keys;
    exec_keys_begin(&keys, 1, 2);
    while (exec_keys_next(x, &keys)) {
        struct change c;
        struct bytes value = x->argv[keys.arg + 1];
        exec_open_at(x, *keys.key, &c);
        if (!store(x, &c, value, -1)) return false;
        log_set(x, &c, value, -1);
    }
    return true;
}

static void run_mset(struct exec *x)
{
    if (!check_pairs(x)) return;
    exec_log_group_begin(x);
    bool ok = store_pairs(x);
    exec_log_group_end(x);
    if (ok) reply_ok(x->reply);
}

static void run_msetnx(struct exec *x)
{
    if (!check_pairs(x)) return;
    struct exec_keys keys;
    exec_keys_begin(&keys, 1, 2);
    while (exec_keys_next(x, &keys)) {
        if (exec_peek(x, keys.key) == NULL) continue;
        reply_i64(x->reply, 0);
        return;
    }
    exec_log_group_begin(x);
    bool ok = store_pairs(x);
    exec_log_group_end(x);
    if (ok) reply_i64(x->reply, 1);
}

/* ---- LCS: longest common subsequence by dynamic programming */

struct lcs {
    struct bytes a, b;
    bool want_len, want_idx, with_len;
    int64_t match_len_min;
    uint32_t *table; /* (a.len + 1) × (b.len + 1) lengths */
};

static bool lcs_options(struct exec *x, struct lcs *l)
{
    for (uint32_t i = 3; i < x->argc; i++) {
        if (bytes_is(x->argv[i], "IDX")) {
            l->want_idx = true;
        } else if (bytes_is(x->argv[i], "LEN")) {
            l->want_len = true;
        } else if (bytes_is(x->argv[i], "WITHMATCHLEN")) {
            l->with_len = true;
        } else if (bytes_is(x->argv[i], "MINMATCHLEN") && i + 1 < x->argc) {
            if (!exec_arg_i64(x, ++i, &l->match_len_min)) return false;
            if (l->match_len_min < 0) l->match_len_min = 0;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (!l->want_idx || !l->want_len) return true;
    reply_error(x->reply, "ERR If you want both the length and indexes, please just use IDX.");
    return false;
}

static uint32_t *lcs_at(const struct lcs *l, size_t i, size_t j)
{
    return &l->table[i * (l->b.len + 1) + j];
}

static void lcs_fill(const struct lcs *l)
{
    for (size_t i = 0; i <= l->a.len; i++)
        for (size_t j = 0; j <= l->b.len; j++) {
            uint32_t *at = lcs_at(l, i, j);
            if (i == 0 || j == 0)
                *at = 0;
            else if (l->a.data[i - 1] == l->b.data[j - 1])
                *at = *lcs_at(l, i - 1, j - 1) + 1;
            else
                *at = *lcs_at(l, i - 1, j) > *lcs_at(l, i, j - 1) ? *lcs_at(l, i - 1, j)
                                                                  : *lcs_at(l, i, j - 1);
        }
}

static void lcs_reply_range(struct exec *x, const struct lcs *l, size_t a_from, size_t b_from,
                            size_t len)
{
    reply_array(x->reply, l->with_len ? 3 : 2);
    reply_array(x->reply, 2);
    reply_i64(x->reply, (int64_t)a_from);
    reply_i64(x->reply, (int64_t)(a_from + len - 1));
    reply_array(x->reply, 2);
    reply_i64(x->reply, (int64_t)b_from);
    reply_i64(x->reply, (int64_t)(b_from + len - 1));
    if (l->with_len) reply_i64(x->reply, (int64_t)len);
}

/* Walks back through the table; calls of lcs_reply_range go from the last range to the first. */
static int64_t lcs_walk(struct exec *x, const struct lcs *l, uint8_t *result)
{
    size_t i = l->a.len, j = l->b.len, run = 0, at = *lcs_at(l, i, j);
    int64_t ranges = 0;
    while (i > 0 && j > 0) {
        bool same = l->a.data[i - 1] == l->b.data[j - 1];
        if (same) {
            if (result != NULL) result[at - 1] = l->a.data[i - 1];
            at--, i--, j--, run++;
        }
        /* A run ends where the texts part, or at either text's start. */
        if (run > 0 && (!same || i == 0 || j == 0)) {
            if (l->want_idx && run >= (size_t)l->match_len_min) {
                lcs_reply_range(x, l, i, j, run);
                ranges++;
            }
            run = 0;
        }
        if (same) continue;
        if (*lcs_at(l, i - 1, j) > *lcs_at(l, i, j - 1))
            i--;
        else
            j--;
    }
    return ranges;
}

static void lcs_reply(struct exec *x, const struct lcs *l)
{
    uint32_t length = *lcs_at(l, l->a.len, l->b.len);
    if (l->want_len) {
        reply_i64(x->reply, length);
    } else if (l->want_idx) {
        reply_map(x->reply, 2);
        reply_bulk_text(x->reply, "matches");
        struct reply_later later = reply_later(x->reply, '*');
        reply_later_done(x->reply, later, lcs_walk(x, l, NULL));
        reply_bulk_text(x->reply, "len");
        reply_i64(x->reply, length);
    } else {
        uint8_t *result = mem_alloc(MEM_EXEC, (size_t)length + 1);
        (void)lcs_walk(x, l, result);
        reply_bulk(x->reply, bytes_view(result, length));
        mem_free(MEM_EXEC, result, (size_t)length + 1);
    }
}

static void run_lcs(struct exec *x)
{
    struct lcs l = {.match_len_min = 0};
    char tmp_a[NUM_I64_TEXT_MAX], tmp_b[NUM_I64_TEXT_MAX];
    const struct record *a = exec_read(x, x->argv[1]), *b = exec_read(x, x->argv[2]);
    if ((a != NULL && record_type(a) != VALUE_STRING) ||
        (b != NULL && record_type(b) != VALUE_STRING)) {
        reply_error(x->reply, "ERR The specified keys must contain string values");
        return;
    }
    if (!lcs_options(x, &l)) return;
    /* Reading b may have deleted an expired b, never a; a's view is still good. */
    l.a = a == NULL ? bytes_view("", 0) : str_view(a, tmp_a);
    l.b = b == NULL ? bytes_view("", 0) : str_view(b, tmp_b);
    uint64_t cells = ((uint64_t)l.a.len + 1) * ((uint64_t)l.b.len + 1);
    l.table = cells > UINT32_MAX ? NULL : mem_try_alloc(MEM_EXEC, (size_t)cells * sizeof *l.table);
    if (l.table == NULL) {
        reply_error(
            x->reply,
            "ERR Insufficient memory, failed allocating transient memory, string too long for LCS");
        return;
    }
    lcs_fill(&l);
    lcs_reply(x, &l);
    mem_free(MEM_EXEC, l.table, (size_t)cells * sizeof *l.table);
}

/* ---- the rows */

#define ONE_KEY .keys = {1, 1, 1}, .spread = SPREAD_KEY
#define RW_ACCESS (KEY_RW | KEY_ACCESS | KEY_UPDATE)
#define RO_ACCESS (KEY_RO | KEY_ACCESS)

// clang-format off
static const struct cmd_spec rows[] = {
    {.name = "APPEND", .run = run_append, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .opcode = OP_APPEND, .key_flags = KEY_RW | KEY_INSERT, .group = "string", .since = "2.0.0", .complexity = "O(1) amortised",
     .summary = "Appends a string to the value of a key, creating the key if there is none.", .syntax = "key value"},
    {.name = "DECR", .run = run_decr, .arity = 2, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RW_ACCESS, .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Subtracts one from the integer value of a key; an absent key counts as 0.", .syntax = "key"},
    {.name = "DECRBY", .run = run_decrby, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RW_ACCESS, .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Subtracts a number from the integer value of a key; an absent key counts as 0.", .syntax = "key decrement"},
    {.name = "GET", .run = run_get, .arity = 2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RO_ACCESS, .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Returns the string value of a key.", .syntax = "key"},
    {.name = "GETDEL", .run = run_getdel, .arity = 2, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, .acl = ACL_STRING, ONE_KEY,
     .key_flags = KEY_RW | KEY_ACCESS | KEY_DELETE, .group = "string", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Returns the string value of a key and deletes the key.", .syntax = "key"},
    {.name = "GETEX", .run = run_getex, .arity = -2, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RW_ACCESS, .group = "string", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Returns the string value of a key and sets or removes its expiration.",
     .syntax = "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]"},
    {.name = "GETRANGE", .run = run_getrange, .arity = 4, .flags = CMD_READONLY, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RO_ACCESS, .group = "string", .since = "2.4.0", .complexity = "O(N), N the length returned",
     .summary = "Returns a part of the string value of a key.", .syntax = "key start end"},
    {.name = "GETSET", .run = run_getset, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RW_ACCESS, .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Sets the string value of a key and returns the former one.", .syntax = "key value"},
    {.name = "INCR", .run = run_incr, .arity = 2, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RW_ACCESS, .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Adds one to the integer value of a key; an absent key counts as 0.", .syntax = "key"},
    {.name = "INCRBY", .run = run_incrby, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RW_ACCESS, .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Adds a number to the integer value of a key; an absent key counts as 0.", .syntax = "key increment"},
    {.name = "INCRBYFLOAT", .run = run_incrbyfloat, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RW_ACCESS, .group = "string", .since = "2.6.0", .complexity = "O(1)",
     .summary = "Adds a floating point number to the value of a key; an absent key counts as 0.", .syntax = "key increment"},
    {.name = "LCS", .run = run_lcs, .arity = -3, .flags = CMD_READONLY, .acl = ACL_STRING, .keys = {1, 2, 1}, .spread = SPREAD_KEY,
     .key_flags = RO_ACCESS, .group = "string", .since = "7.0.0", .complexity = "O(N*M), N and M the lengths of the strings",
     .summary = "Finds the longest common subsequence of two strings.",
     .syntax = "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]"},
    {.name = "MGET", .run = run_mget, .arity = -2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_STRING, .keys = {1, -1, 1},
     .spread = SPREAD_GATHER, .key_flags = RO_ACCESS, .group = "string", .since = "1.0.0", .complexity = "O(N), N the number of keys",
     .summary = "Returns the string values of several keys.", .syntax = "key [key ...]", .tips = "request_policy:multi_shard"},
    {.name = "MSET", .run = run_mset, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_STRING, .keys = {1, -1, 2},
     .spread = SPREAD_ALL_OK, .key_flags = KEY_OW | KEY_UPDATE, .group = "string", .since = "1.0.1", .complexity = "O(N), N the number of keys",
     .summary = "Sets the string values of several keys.", .syntax = "key value [key value ...]",
     .tips = "request_policy:multi_shard response_policy:all_succeeded"},
    {.name = "MSETNX", .run = run_msetnx, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_STRING, .keys = {1, -1, 2},
     .spread = SPREAD_ALL_NEW, .key_flags = KEY_OW | KEY_INSERT, .group = "string", .since = "1.0.1", .complexity = "O(N), N the number of keys",
     .summary = "Sets the string values of several keys only if none of them exists.", .syntax = "key value [key value ...]"},
    {.name = "PSETEX", .run = run_psetex, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_STRING, ONE_KEY,
     .key_flags = KEY_OW | KEY_UPDATE, .group = "string", .since = "2.6.0", .complexity = "O(1)",
     .summary = "Sets the string value of a key and its expiration in milliseconds.", .syntax = "key milliseconds value"},
    {.name = "SET", .run = run_set, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_STRING, ONE_KEY,
     .key_flags = KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE, .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Sets the string value of a key, whatever it held before.",
     .syntax = "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
     .history = "2.6.12:Added the `EX`, `PX`, `NX` and `XX` options.\n6.0.0:Added the `KEEPTTL` option.\n6.2.0:Added the `GET`, `EXAT` and `PXAT` option.\n7.0.0:Allowed the `NX` and `GET` options to be used together."},
    {.name = "SETEX", .run = run_setex, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_STRING, ONE_KEY,
     .key_flags = KEY_OW | KEY_UPDATE, .group = "string", .since = "2.0.0", .complexity = "O(1)",
     .summary = "Sets the string value of a key and its expiration in seconds.", .syntax = "key seconds value"},
    {.name = "SETNX", .run = run_setnx, .arity = 3, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = KEY_OW | KEY_INSERT, .group = "string", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Sets the string value of a key only if it does not exist.", .syntax = "key value"},
    {.name = "SETRANGE", .run = run_setrange, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_STRING, ONE_KEY,
     .opcode = OP_SETRANGE, .key_flags = KEY_RW | KEY_UPDATE, .group = "string", .since = "2.2.0", .complexity = "O(N), N the length written",
     .summary = "Overwrites a part of the string value of a key from an offset on.", .syntax = "key offset value"},
    {.name = "STRLEN", .run = run_strlen, .arity = 2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_STRING, ONE_KEY,
     .key_flags = KEY_RO, .group = "string", .since = "2.2.0", .complexity = "O(1)",
     .summary = "Returns the length of the string value of a key.", .syntax = "key"},
    {.name = "SUBSTR", .run = run_getrange, .arity = 4, .flags = CMD_READONLY, .acl = ACL_STRING, ONE_KEY,
     .key_flags = RO_ACCESS, .group = "string", .since = "1.0.0", .complexity = "O(N), N the length returned",
     .summary = "Returns a part of the string value of a key; GETRANGE is its newer name.", .syntax = "key start end"},
};
// clang-format on

const struct cmd_table string_cmds = {.rows = rows, .count = COUNT_OF(rows)};
