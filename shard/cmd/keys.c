/* Keys, whatever they hold: deleting, deadlines, renaming, copying, OBJECT. */
#include <limits.h>

#include "shard/cmd/cmd.h"
#include "shard/exec/exec.h"
#include "shard/types/str.h"

/* ---- DEL UNLINK EXISTS TOUCH TYPE */

static void delete_open(struct exec *x, struct change *c)
{
    struct bytes name = c->key.name;
    exec_log(x, c, OP_DEL, &name, 1);
    exec_delete(x, c, NOTIFY_GENERIC, "del");
}

/* UNLINK is the same: big values are always freed in slices. */
static void run_del(struct exec *x)
{
    int64_t deleted = 0;
    if (x->argc > 2) exec_log_group_begin(x);
    struct exec_keys keys;
    exec_keys_begin(&keys, 1, 1);
    while (exec_keys_next(x, &keys)) {
        struct change c;
        exec_open_at(x, *keys.key, &c);
        if (c.e.record == NULL) continue;
        delete_open(x, &c);
        deleted++;
    }
    if (x->argc > 2) exec_log_group_end(x);
    reply_i64(x->reply, deleted);
}

static void run_exists(struct exec *x)
{
    int64_t found = 0;
    struct exec_keys keys;
    exec_keys_begin(&keys, 1, 1);
    while (exec_keys_next(x, &keys))
        found += exec_look_at(x, keys.key) != NULL;
    reply_i64(x->reply, found);
}

static void run_touch(struct exec *x)
{
    int64_t found = 0;
    x->no_touch = false; /* CLIENT NO-TOUCH is about all commands but this one */
    struct exec_keys keys;
    exec_keys_begin(&keys, 1, 1);
    while (exec_keys_next(x, &keys))
        found += exec_read_at(x, keys.key) != NULL;
    reply_i64(x->reply, found);
}

static void run_type(struct exec *x)
{
    const struct record *r = exec_look(x, x->argv[1]);
    reply_status(x->reply, r == NULL ? "none" : value_type_name(record_type(r)));
}

/* ---- deadlines */

enum expire_flag { EXPIRE_NX = 1 << 0, EXPIRE_XX = 1 << 1, EXPIRE_GT = 1 << 2, EXPIRE_LT = 1 << 3 };

static bool expire_options(struct exec *x, uint32_t *flags_out)
{
    static const char *const names[] = {"NX", "XX", "GT", "LT"};
    uint32_t flags = 0;
    for (uint32_t i = 3; i < x->argc; i++) {
        uint32_t k = 0;
        while (k < COUNT_OF(names) && !bytes_is(x->argv[i], names[k]))
            k++;
        if (k == COUNT_OF(names)) {
            reply_errorf(x->reply, "ERR Unsupported option %.*s", (int)x->argv[i].len,
                         (const char *)x->argv[i].data);
            return false;
        }
        flags |= 1u << k;
    }
    const char *error = NULL;
    if ((flags & EXPIRE_NX) && (flags & ~(uint32_t)EXPIRE_NX))
        error = "ERR NX and XX, GT or LT options at the same time are not compatible";
    else if ((flags & EXPIRE_GT) && (flags & EXPIRE_LT))
        error = "ERR GT and LT options at the same time are not compatible";
    if (error != NULL) reply_error(x->reply, error);
    *flags_out = flags;
    return error == NULL;
}

/* Unlike SET … EX any time is good, also a negative one: it lies in the past. */
static bool expire_when(struct exec *x, int64_t unit_ms, bool absolute, int64_t *when_ms_out)
{
    int64_t when;
    if (!exec_arg_i64(x, 2, &when)) return false;
    if (!__builtin_mul_overflow(when, unit_ms, &when) &&
        !__builtin_add_overflow(when, absolute ? 0 : x->now_ms, &when)) {
        *when_ms_out = when;
        return true;
    }
    reply_errorf(x->reply, "ERR invalid expire time in '%s%s%s' command", unit_ms == 1 ? "p" : "",
                 "expire", absolute ? "at" : "");
    return false;
}

/* No deadline counts as one that never comes. */
static bool expire_allowed(const struct record *r, uint32_t flags, int64_t when_ms)
{
    int64_t current_ms = record_expire_ms(r);
    bool has = current_ms != -1;
    if ((flags & EXPIRE_NX) && has) return false;
    if ((flags & EXPIRE_XX) && !has) return false;
    if ((flags & EXPIRE_GT) && (!has || when_ms <= current_ms)) return false;
    return !(flags & EXPIRE_LT) || !has || when_ms < current_ms;
}

static void set_deadline(struct exec *x, struct change *c, int64_t when_ms)
{
    if (!record_try_set_expire(&c->e.record, when_ms)) {
        exec_reply_nomem(x);
        return;
    }
    if (!exec_commit(x, c, NOTIFY_GENERIC, "expire")) return;
    char text[NUM_I64_TEXT_MAX];
    struct bytes args[2] = {c->key.name, bytes_view(text, num_format_i64(text, when_ms))};
    exec_log(x, c, OP_PEXPIREAT, args, 2);
    reply_i64(x->reply, 1);
}

static void expire(struct exec *x, int64_t unit_ms, bool absolute)
{
    uint32_t flags;
    int64_t when_ms;
    if (!expire_options(x, &flags) || !expire_when(x, unit_ms, absolute, &when_ms)) return;
    struct change c;
    exec_open(x, x->argv[1], &c);
    if (c.e.record == NULL || !expire_allowed(c.e.record, flags, when_ms)) {
        reply_i64(x->reply, 0);
    } else if (when_ms <= x->now_ms) {
        delete_open(x, &c);
        reply_i64(x->reply, 1);
    } else {
        set_deadline(x, &c, when_ms);
    }
}

static void run_expire(struct exec *x)
{
    expire(x, 1000, false);
}

static void run_expireat(struct exec *x)
{
    expire(x, 1000, true);
}

static void run_pexpire(struct exec *x)
{
    expire(x, 1, false);
}

static void run_pexpireat(struct exec *x)
{
    expire(x, 1, true);
}

static void reply_deadline(struct exec *x, bool in_ms, bool absolute)
{
    const struct record *r = exec_look(x, x->argv[1]);
    int64_t when_ms = r == NULL ? -2 : record_expire_ms(r);
    if (when_ms < 0) {
        reply_i64(x->reply, when_ms);
        return;
    }
    int64_t ms = absolute ? when_ms : when_ms - x->now_ms;
    reply_i64(x->reply, in_ms ? ms : ms / 1000 + (ms % 1000 >= 500));
}

static void run_ttl(struct exec *x)
{
    reply_deadline(x, false, false);
}

static void run_pttl(struct exec *x)
{
    reply_deadline(x, true, false);
}

static void run_expiretime(struct exec *x)
{
    reply_deadline(x, false, true);
}

static void run_pexpiretime(struct exec *x)
{
    reply_deadline(x, true, true);
}

static void run_persist(struct exec *x)
{
    struct change c;
    exec_open(x, x->argv[1], &c);
    if (c.e.record == NULL || record_expire_ms(c.e.record) == -1) {
        reply_i64(x->reply, 0);
        return;
    }
    if (!record_try_set_expire(&c.e.record, -1)) {
        exec_reply_nomem(x);
        return;
    }
    if (!exec_commit(x, &c, NOTIFY_GENERIC, "persist")) return;
    exec_log_same(x, &c);
    reply_i64(x->reply, 1);
}

/* ---- RENAME: the record leaves its key and becomes another's. All that may fail is done before the
 * first change that shows: an absent destination first gets an empty string in its place. */

static bool hold_place(struct exec *x, struct change *to)
{
    struct record *r = str_try_new(to->key.name, bytes_view("", 0), -1);
    if (r == NULL) return false;
    to->e.record = r;
    if (db_commit(x->ks, &to->key, &to->e)) return true;
    record_free(r);
    return false;
}

/* The open key vanishes without an event; its record was freed or taken. */
static void remove_open(struct exec *x, struct change *c)
{
    c->e.record = NULL;
    bool removed = db_commit(x->ks, &c->key, &c->e);
    exec_touch_removed(x, &c->key);
    assert(removed); /* only inserts allocate */
}

/* `to` holds a record, which is replaced. False: out of memory, nothing changed. */
static bool move_record(struct exec *x, struct change *from, struct change *to)
{
    db_open(x->ks, &from->key, &from->e); /* other changes came since */
    struct record *r = from->e.record;
    if (!record_try_rename(&r, to->key.name)) return false;
    int64_t bytes = (int64_t)value_bytes(r);
    db_move_bytes(x->ks, &from->key, -bytes);
    remove_open(x, from);
    db_open(x->ks, &to->key, &to->e);
    struct record *old = to->e.record;
    to->e.record = r;
    bool stored = exec_commit(x, to, NOTIFY_GENERIC, NULL);
    assert(stored);
    db_move_bytes(x->ks, &to->key, bytes);
    exec_free_replaced(x, to, old);
    return true;
}

/* DEL of the source and of a former destination, then the value under its new key. */
static void log_renamed(struct exec *x, const struct change *from, const struct change *to,
                        bool replaced)
{
    exec_log_group_begin(x);
    if (from != NULL) exec_log(x, from, OP_DEL, &from->key.name, 1);
    if (replaced) exec_log(x, to, OP_DEL, &to->key.name, 1);
    exec_log_value(x, to);
    exec_log_group_end(x);
}

static size_t renamed_log_bytes(const struct exec *x, const struct record *r)
{
    return exec_value_log_bytes_as(r, x->argv[2]) + x->argv[1].len + x->argv[2].len + 64;
}

/* The source and what is there under the new name (or NULL): both are read before either changes. NULL: replied. */
static const struct record *read_for_rename(struct exec *x, const struct record **target_out)
{
    struct db_key from = exec_key(x, x->argv[1]), to = exec_key(x, x->argv[2]);
    const struct record *source = exec_peek(x, &from);
    if (source == NULL)
        reply_error(x->reply, ERR_NO_KEY);
    else
        *target_out = exec_peek(x, &to);
    return source;
}

/* A copy under another key, in place of what is there. False: replied, nothing has changed. */
static bool put_copy(struct exec *x, const struct record *source, struct db_key key,
                     struct change *to, bool *replaced_out)
{
    exec_build_for(x, key.name);
    struct record *copy = value_try_copy(source, key.name);
    if (copy == NULL) {
        exec_reply_nomem(x);
        return false;
    }
    exec_open_at(x, key, to); /* from here on the source is not read */
    struct record *old = to->e.record;
    to->e.record = copy;
    *replaced_out = old != NULL;
    if (!exec_commit(x, to, NOTIFY_GENERIC, NULL)) return false;
    db_move_bytes(x->ks, &to->key, (int64_t)value_bytes(copy)); /* made before the slot was open */
    if (old != NULL) exec_free_replaced(x, to, old);
    return true;
}

/* Keys of two shards: a record stays where its memory is, so the other gets a copy. */
static bool move_copy(struct exec *x, const struct record *source, struct change *from,
                      struct change *to, bool *replaces_out)
{
    if (!put_copy(x, source, exec_key(x, x->argv[2]), to, replaces_out)) return false;
    exec_open(x, x->argv[1], from);
    struct record *r = from->e.record;
    db_move_bytes(x->ks, &from->key, -(int64_t)value_bytes(r));
    remove_open(x, from);
    exec_free_record(x, r);
    return true;
}

/* False: replied, nothing has changed. */
static bool move_here(struct exec *x, struct change *from, struct change *to, bool *replaces_out)
{
    exec_open(x, x->argv[2], to);
    *replaces_out = to->e.record != NULL;
    if (!*replaces_out && !hold_place(x, to)) {
        exec_reply_nomem(x);
        return false;
    }
    if (move_record(x, from, to)) return true;
    if (!*replaces_out) {
        record_free(to->e.record);
        remove_open(x, to);
    }
    exec_reply_nomem(x);
    return false;
}

/* False: replied, nothing has changed. */
static bool rename_to(struct exec *x, const struct record *source)
{
    if (!exec_reserve(x, renamed_log_bytes(x, source))) return false;
    struct change from = {.key = exec_key(x, x->argv[1])}, to = {.key = exec_key(x, x->argv[2])};
    bool replaces;
    bool moved = exec_same_shard(x, &from.key, &to.key)
                     ? move_here(x, &from, &to, &replaces)
                     : move_copy(x, source, &from, &to, &replaces);
    if (!moved) return false;
    log_renamed(x, &from, &to, replaces);
    exec_notify(x, &to.key, NOTIFY_NEW, "new");
    exec_notify(x, &from.key, NOTIFY_GENERIC, "rename_from");
    exec_notify(x, &to.key, NOTIFY_GENERIC, "rename_to");
    return true;
}

static void run_rename(struct exec *x)
{
    const struct record *target, *source = read_for_rename(x, &target);
    if (source != NULL && (source == target || rename_to(x, source))) reply_ok(x->reply);
}

static void run_renamenx(struct exec *x)
{
    const struct record *target, *source = read_for_rename(x, &target);
    if (source == NULL) return;
    if (target != NULL)
        reply_i64(x->reply, 0);
    else if (rename_to(x, source))
        reply_i64(x->reply, 1);
}

/* ---- COPY and MOVE */

static bool arg_database(struct exec *x, uint32_t i, uint8_t *db_out)
{
    int64_t db;
    if (!exec_arg_i64(x, i, &db)) return false;
    const char *error = NULL;
    if (db < INT_MIN || db > INT_MAX)
        error = "ERR value is out of range, value must between -2147483648 and 2147483647";
    else if (db < 0 || db >= x->databases)
        error = "ERR DB index is out of range";
    if (error != NULL) reply_error(x->reply, error);
    *db_out = (uint8_t)db;
    return error == NULL;
}

static bool copy_options(struct exec *x, uint8_t *db_out, bool *replace_out)
{
    *db_out = x->key.db;
    *replace_out = false;
    for (uint32_t i = 3; i < x->argc; i++) {
        if (bytes_is(x->argv[i], "REPLACE")) {
            *replace_out = true;
        } else if (bytes_is(x->argv[i], "DB") && i + 1 < x->argc) {
            if (!arg_database(x, ++i, db_out)) return false;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void copy_to(struct exec *x, const struct record *source, struct db_key key)
{
    if (!exec_reserve(x, renamed_log_bytes(x, source))) return;
    struct change to;
    bool replaced;
    if (!put_copy(x, source, key, &to, &replaced)) return;
    if (replaced)
        exec_notify(x, &to.key, NOTIFY_NEW, "new"); /* as if it had been deleted and made anew */
    log_renamed(x, NULL, &to, replaced);
    exec_notify(x, &to.key, NOTIFY_GENERIC, "copy_to");
    reply_i64(x->reply, 1);
}

static void run_copy(struct exec *x)
{
    uint8_t db;
    bool replace;
    if (!copy_options(x, &db, &replace)) return;
    if (db == x->key.db && bytes_equal(x->argv[1], x->argv[2])) {
        reply_error(x->reply, "ERR source and destination objects are the same");
        return;
    }
    struct db_key to = exec_key_db(x, x->argv[2], db);
    const struct record *source = exec_read(x, x->argv[1]);
    if (source == NULL || (exec_peek(x, &to) != NULL && !replace))
        reply_i64(x->reply, 0);
    else
        copy_to(x, source, to);
}

/* The record itself changes database; slot and key stay. */
static void move_to(struct exec *x, struct change *from, struct change *to)
{
    struct record *r = from->e.record;
    int64_t bytes = (int64_t)value_bytes(r);
    to->e.record = r;
    if (!db_commit(x->ks, &to->key, &to->e)) {
        exec_reply_nomem(x);
        return;
    }
    bool stored = exec_commit(x, to, NOTIFY_GENERIC, NULL);
    assert(stored); /* it is there already: this is for what else a commit does */
    db_move_bytes(x->ks, &to->key, bytes);
    db_open(x->ks, &from->key, &from->e);
    db_move_bytes(x->ks, &from->key, -bytes);
    remove_open(x, from);
    exec_log_same(x, from);
    exec_notify(x, &to->key, NOTIFY_NEW, "new");
    exec_notify(x, &from->key, NOTIFY_GENERIC, "move_from");
    exec_notify(x, &to->key, NOTIFY_GENERIC, "move_to");
    reply_i64(x->reply, 1);
}

static void run_move(struct exec *x)
{
    uint8_t db;
    if (!arg_database(x, 2, &db)) return;
    if (db == x->key.db) {
        reply_error(x->reply, "ERR source and destination objects are the same");
        return;
    }
    struct change from, to;
    exec_open(x, x->argv[1], &from);
    if (from.e.record == NULL) {
        reply_i64(x->reply, 0);
        return;
    }
    exec_open_at(x, exec_key_db(x, x->argv[1], db), &to);
    if (to.e.record != NULL)
        reply_i64(x->reply, 0);
    else
        move_to(x, &from, &to);
}

/* ---- OBJECT */

/* NULL: replied. Looking at a key this way leaves its use and the hit counts alone. */
static const struct record *object_find(struct exec *x)
{
    struct db_key key = exec_key(x, x->argv[2]);
    const struct record *r = exec_peek(x, &key);
    if (r == NULL) reply_null(x->reply);
    return r;
}

static void run_object_encoding(struct exec *x)
{
    const struct record *r = object_find(x);
    if (r != NULL) reply_bulk_text(x->reply, value_encoding_name(r));
}

#define LFU_TAIL                                                                                   \
    " Please note that when switching between policies at runtime LRU and LFU data will take "     \
    "some time to adjust."

static void run_object_freq(struct exec *x)
{
    const struct record *r = object_find(x);
    if (r == NULL) return;
    if (db_stamps.mode == DB_STAMP_LFU)
        reply_i64(x->reply, db_frequency(r, x->now_ms));
    else
        reply_error(
            x->reply,
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked." LFU_TAIL);
}

/* 0 under policies that need no times of use: none is kept then. */
static void run_object_idletime(struct exec *x)
{
    const struct record *r = object_find(x);
    if (r == NULL) return;
    if (db_stamps.mode == DB_STAMP_LFU)
        reply_error(x->reply,
                    "ERR An LFU maxmemory policy is selected, idle time not tracked." LFU_TAIL);
    else
        reply_i64(x->reply, (int64_t)(db_idle_ms(r, x->now_ms) / 1000));
}

/* Small integers are shared objects in Redis, and clients' tests know the number that stands for them. */
static void run_object_refcount(struct exec *x)
{
    const struct record *r = object_find(x);
    int64_t v;
    if (r == NULL) return;
    bool shared = record_encoding(r) == ENC_INT && str_get_int(r, &v) && v >= 0 && v < 10000;
    reply_i64(x->reply, shared ? INT32_MAX : 1);
}

static void run_object_help(struct call *c)
{
    static const char *const lines[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value of <key> is represented in memory.",
        "FREQ <key>",
        "    How often <key> was used lately, on a logarithmic scale of 0 to 255. Only under",
        "    an LFU maxmemory policy.",
        "IDLETIME <key>",
        "    Seconds since <key> was last used. Only under an LRU maxmemory policy.",
        "REFCOUNT <key>",
        "    References to the value of <key>.",
        "HELP",
        "    Prints this help.",
    };
    reply_array(c->reply, COUNT_OF(lines));
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        reply_status(c->reply, lines[i]);
}

/* ---- the rows */

#define ONE_KEY .keys = {1, 1, 1}, .spread = SPREAD_KEY
#define ALL_KEYS .keys = {1, -1, 1}, .spread = SPREAD_SUM
#define TWO_KEYS .keys = {1, 2, 1}, .spread = SPREAD_KEY, .key_specs_count = 2
#define OBJECT_KEY .keys = {2, 2, 1}, .spread = SPREAD_KEY, .key_flags = KEY_RO
#define SUM_TIPS "request_policy:multi_shard response_policy:agg_sum"
#define EXPIRE_HISTORY "7.0.0:Added options: `NX`, `XX`, `GT` and `LT`."
#define FROM_KEY(how)                                                                              \
    {                                                                                              \
        .flags = (how), .begin_index = 1, .step = 1                                                \
    }
#define TO_KEY(how)                                                                                \
    {                                                                                              \
        .flags = (how), .begin_index = 2, .step = 1                                                \
    }

static const struct cmd_key_spec copy_keys[] = {FROM_KEY(KEY_RO | KEY_ACCESS),
                                                TO_KEY(KEY_OW | KEY_UPDATE)};
static const struct cmd_key_spec rename_keys[] = {FROM_KEY(KEY_RW | KEY_ACCESS | KEY_DELETE),
                                                  TO_KEY(KEY_OW | KEY_UPDATE)};
static const struct cmd_key_spec renamenx_keys[] = {FROM_KEY(KEY_RW | KEY_ACCESS | KEY_DELETE),
                                                    TO_KEY(KEY_OW | KEY_INSERT)};

// clang-format off
static const struct cmd_spec object_rows[] = {
    {.name = "ENCODING", .run = run_object_encoding, .arity = 3, .flags = CMD_READONLY, .acl = ACL_KEYSPACE, OBJECT_KEY,
     .group = "generic", .since = "2.2.3", .complexity = "O(1)", .tips = "nondeterministic_output",
     .summary = "Returns how the value of a key is represented in memory.", .syntax = "key"},
    {.name = "FREQ", .run = run_object_freq, .arity = 3, .flags = CMD_READONLY, .acl = ACL_KEYSPACE, OBJECT_KEY,
     .group = "generic", .since = "4.0.0", .complexity = "O(1)", .tips = "nondeterministic_output",
     .summary = "Returns how often a key was used lately, on a logarithmic scale.", .syntax = "key"},
    {.name = "HELP", .run_conn = run_object_help, .arity = 2, .flags = CMD_LOADING | CMD_STALE, .acl = ACL_KEYSPACE, .spread = SPREAD_CONN,
     .group = "generic", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Tells what the subcommands of OBJECT do.", .syntax = ""},
    {.name = "IDLETIME", .run = run_object_idletime, .arity = 3, .flags = CMD_READONLY, .acl = ACL_KEYSPACE, OBJECT_KEY,
     .group = "generic", .since = "2.2.3", .complexity = "O(1)", .tips = "nondeterministic_output",
     .summary = "Returns the seconds since a key was last used.", .syntax = "key"},
    {.name = "REFCOUNT", .run = run_object_refcount, .arity = 3, .flags = CMD_READONLY, .acl = ACL_KEYSPACE, OBJECT_KEY,
     .group = "generic", .since = "2.2.3", .complexity = "O(1)", .tips = "nondeterministic_output",
     .summary = "Returns the number of references to the value of a key.", .syntax = "key"},
};

static const struct cmd_spec rows[] = {
    {.name = "COPY", .run = run_copy, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM, .acl = ACL_KEYSPACE, TWO_KEYS, .key_specs = copy_keys,
     .group = "generic", .since = "6.2.0", .complexity = "O(N), N the number of elements of the value; O(1) for strings",
     .summary = "Copies the value of a key to another key.", .syntax = "source destination [DB destination-db] [REPLACE]"},
    {.name = "DEL", .run = run_del, .arity = -2, .flags = CMD_WRITE | CMD_SHRINKS, .acl = ACL_KEYSPACE, ALL_KEYS,
     .key_flags = KEY_RM | KEY_DELETE, .group = "generic", .since = "1.0.0", .complexity = "O(N), N the number of keys; values are freed in slices",
     .summary = "Deletes keys.", .syntax = "key [key ...]", .tips = SUM_TIPS},
    {.name = "EXISTS", .run = run_exists, .arity = -2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_KEYSPACE, ALL_KEYS,
     .key_flags = KEY_RO, .group = "generic", .since = "1.0.0", .complexity = "O(N), N the number of keys",
     .summary = "Counts those of the keys that exist; a key named twice counts twice.", .syntax = "key [key ...]", .tips = SUM_TIPS,
     .history = "3.0.3:Accepts multiple `key` arguments."},
    {.name = "EXPIRE", .run = run_expire, .arity = -3, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RW | KEY_UPDATE, .group = "generic", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Lets a key expire after some seconds.", .syntax = "key seconds [NX | XX | GT | LT]", .history = EXPIRE_HISTORY},
    {.name = "EXPIREAT", .run = run_expireat, .arity = -3, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RW | KEY_UPDATE, .group = "generic", .since = "1.2.0", .complexity = "O(1)",
     .summary = "Lets a key expire at a Unix time in seconds.", .syntax = "key unix-time-seconds [NX | XX | GT | LT]", .history = EXPIRE_HISTORY},
    {.name = "EXPIRETIME", .run = run_expiretime, .arity = 2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RO | KEY_ACCESS, .group = "generic", .since = "7.0.0", .complexity = "O(1)",
     .summary = "Returns the Unix time in seconds at which a key expires.", .syntax = "key"},
    {.name = "MOVE", .run = run_move, .arity = 3, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_KEYSPACE, ONE_KEY, .opcode = OP_MOVE,
     .key_flags = KEY_RW | KEY_ACCESS | KEY_UPDATE, .group = "generic", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Moves a key to another database unless it exists there.", .syntax = "key db"},
    {.name = "OBJECT", .arity = -2, .group = "generic", .since = "2.2.3", .complexity = "Depends on subcommand.",
     .subs = object_rows, .subs_count = COUNT_OF(object_rows), .summary = "Container of commands that look inside a key.", .syntax = ""},
    {.name = "PERSIST", .run = run_persist, .arity = 2, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_KEYSPACE, ONE_KEY, .opcode = OP_PERSIST,
     .key_flags = KEY_RW | KEY_UPDATE, .group = "generic", .since = "2.2.0", .complexity = "O(1)",
     .summary = "Takes the expiration of a key away.", .syntax = "key"},
    {.name = "PEXPIRE", .run = run_pexpire, .arity = -3, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RW | KEY_UPDATE, .group = "generic", .since = "2.6.0", .complexity = "O(1)",
     .summary = "Lets a key expire after some milliseconds.", .syntax = "key milliseconds [NX | XX | GT | LT]", .history = EXPIRE_HISTORY},
    {.name = "PEXPIREAT", .run = run_pexpireat, .arity = -3, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RW | KEY_UPDATE, .group = "generic", .since = "2.6.0", .complexity = "O(1)",
     .summary = "Lets a key expire at a Unix time in milliseconds.", .syntax = "key unix-time-milliseconds [NX | XX | GT | LT]", .history = EXPIRE_HISTORY},
    {.name = "PEXPIRETIME", .run = run_pexpiretime, .arity = 2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RO | KEY_ACCESS, .group = "generic", .since = "7.0.0", .complexity = "O(1)",
     .summary = "Returns the Unix time in milliseconds at which a key expires.", .syntax = "key"},
    {.name = "PTTL", .run = run_pttl, .arity = 2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RO | KEY_ACCESS, .group = "generic", .since = "2.6.0", .complexity = "O(1)", .tips = "nondeterministic_output",
     .summary = "Returns the milliseconds until a key expires.", .syntax = "key", .history = "2.8.0:Added the -2 reply."},
    {.name = "RENAME", .run = run_rename, .arity = 3, .flags = CMD_WRITE, .acl = ACL_KEYSPACE, TWO_KEYS, .key_specs = rename_keys,
     .group = "generic", .since = "1.0.0", .complexity = "O(1); the log takes O(N), N the size of the value",
     .summary = "Renames a key, replacing what was under the new name.", .syntax = "key newkey"},
    {.name = "RENAMENX", .run = run_renamenx, .arity = 3, .flags = CMD_WRITE | CMD_FAST, .acl = ACL_KEYSPACE, TWO_KEYS, .key_specs = renamenx_keys,
     .group = "generic", .since = "1.0.0", .complexity = "O(1); the log takes O(N), N the size of the value",
     .summary = "Renames a key unless the new name exists.", .syntax = "key newkey",
     .history = "3.2.0:The command no longer returns an error when source and destination names are the same."},
    {.name = "TOUCH", .run = run_touch, .arity = -2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_KEYSPACE, ALL_KEYS,
     .key_flags = KEY_RO, .group = "generic", .since = "3.2.1", .complexity = "O(N), N the number of keys",
     .summary = "Marks keys as used now and counts those that exist.", .syntax = "key [key ...]", .tips = SUM_TIPS},
    {.name = "TTL", .run = run_ttl, .arity = 2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RO | KEY_ACCESS, .group = "generic", .since = "1.0.0", .complexity = "O(1)", .tips = "nondeterministic_output",
     .summary = "Returns the seconds until a key expires.", .syntax = "key", .history = "2.8.0:Added the -2 reply."},
    {.name = "TYPE", .run = run_type, .arity = 2, .flags = CMD_READONLY | CMD_FAST, .acl = ACL_KEYSPACE, ONE_KEY,
     .key_flags = KEY_RO, .group = "generic", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Returns the type of the value of a key.", .syntax = "key"},
    {.name = "UNLINK", .run = run_del, .arity = -2, .flags = CMD_WRITE | CMD_FAST | CMD_SHRINKS, .acl = ACL_KEYSPACE, ALL_KEYS,
     .key_flags = KEY_RM | KEY_DELETE, .group = "generic", .since = "4.0.0", .complexity = "O(N), N the number of keys; values are freed in slices",
     .summary = "Deletes keys; here the same as DEL.", .syntax = "key [key ...]", .tips = SUM_TIPS},
};
// clang-format on

const struct cmd_table keys_cmds = {.rows = rows, .count = COUNT_OF(rows)};
