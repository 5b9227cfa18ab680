/* EVAL, EVALSHA, their _RO forms, and SCRIPT. A script runs to its end on the shard of its keys, inside of core_run(); the
 * commands it calls run by core_run() too, so what this one needs of struct exec is taken out before. */
#include "shard/base/clock.h"
#include "shard/base/limits.h"
#include "shard/base/slot.h"
#include "shard/script/script_priv.h"

#define NO_SUCH_SCRIPT "NOSCRIPT No matching script. Please use EVAL."
#define HOOK_INSTRUCTIONS 100000

static uint64_t now_ns(void)
{
    return clock_ticks_to_ns(clock_ticks());
}

/* ---- inside of Lua */

/* Every so many instructions. What has written goes on: half a script would be worse. */
static void on_count(lua_State *l, lua_Debug *unused)
{
    (void)unused;
    struct script *s = script__of(l);
    struct run *r = s->run;
    if (r->wrote || now_ns() - r->start_ns < r->limit_ns) return;
    /* A script that catches the error meets it again at once, in this coroutine and in the first one. */
    r->timed_out = true;
    lua_sethook(l, on_count, LUA_MASKCOUNT, 1);
    lua_sethook(s->lua, on_count, LUA_MASKCOUNT, 1);
    luaL_error(l, SCRIPT_TOO_LONG);
}

/* An error becomes a table that says where it happened. */
static int on_error(lua_State *l)
{
    lua_Debug where;
    bool known = lua_getstack(l, 1, &where) && lua_getinfo(l, "Sl", &where);
    if (known && strcmp(where.what, "C") == 0)
        known = lua_getstack(l, 2, &where) && lua_getinfo(l, "Sl", &where);
    if (!lua_istable(l, 1)) {
        lua_createtable(l, 0, 3);
        lua_pushliteral(l, "ERR ");
        luaL_tolstring(l, 1, NULL);
        lua_concat(l, 2);
        lua_setfield(l, -2, "err");
    }
    if (known) {
        lua_pushstring(l, where.source);
        lua_setfield(l, -2, "source");
        lua_pushinteger(l, where.currentline);
        lua_setfield(l, -2, "line");
    }
    return 1;
}

static void push_array(lua_State *l, const struct bytes *items, uint32_t count)
{
    lua_createtable(l, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushlstring(l, (const char *)items[i].data, items[i].len);
        lua_rawseti(l, -2, (lua_Integer)i + 1);
    }
}

/* Without calling metamethods: the table is the script's. */
static const char *raw_text(lua_State *l, const char *name)
{
    lua_pushstring(l, name);
    lua_rawget(l, 2);
    return lua_isstring(l, -1) ? lua_tostring(l, -1) : NULL;
}

/* The error is at index 2, alone. */
static void reply_failure(lua_State *l, const struct run *r)
{
    if (!lua_istable(l, 2)) {
        const char *text = lua_isstring(l, 2) ? lua_tostring(l, 2) : "execution failure";
        reply_errorf(r->reply, "ERR Error running script %.40s, %.100s", r->function->source->sha,
                     text);
        return;
    }
    const char *text = raw_text(l, "err"), *source = raw_text(l, "source"),
               *line = raw_text(l, "line");
    if (text == NULL) text = "ERR unknown error";
    if (source != NULL && line != NULL)
        reply_errorf(r->reply, "%s script: %.40s, on %s:%s.", text, r->function->source->sha,
                     source, line);
    else
        reply_error(r->reply, text);
}

static int run_protected(lua_State *l)
{
    struct script *s = script__of(l);
    struct run *r = s->run;
    lua_settop(l, 0);
    script__push_globals(l);
    push_array(l, r->keys, r->keys_count);
    lua_setfield(l, 1, "KEYS");
    push_array(l, r->args, r->args_count);
    lua_setfield(l, 1, "ARGV");
    lua_settop(l, 0);
    lua_pushcfunction(l, on_error);
    lua_rawgeti(l, LUA_REGISTRYINDEX, r->function->ref);
    /* A script may have given its last run another table of globals. */
    lua_rawgeti(l, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_setupvalue(l, 2, 1);
    int rc = lua_pcall(l, 0, 1, 1);
    if (rc == LUA_ERRMEM)
        reply_error(r->reply, NOT_ENOUGH_MEMORY);
    else if (rc != LUA_OK)
        reply_failure(l, r);
    else
        r->failed = !script__reply_value(l, r->reply, r->proto);
    return 0;
}

/* ---- around it */

static void end(struct script *s, struct run *r)
{
    if (r->own_group) core_tx_end(s->core);
    lua_sethook(s->lua, NULL, 0, 0);
    lua_settop(s->lua, 0);
    s->run = NULL;
    if (s->inner.cap > SCRIPT_KEEP_BYTES) buf_free(&s->inner);
    /* The next script finds room. */
    if (s->bytes > SCRIPT_STATE_BYTES_MAX / 2) lua_gc(s->lua, LUA_GCCOLLECT);
}

static void run(struct script *s, struct run *r)
{
    struct core *c = s->core;
    size_t start = r->reply->out->len;
    bool oom = c->oom;
    c->oom = oom && !r->allow_oom;
    s->run = r;
    uint64_t limit_ms = atomic_load_explicit(&c->shared->script_ms_max, memory_order_relaxed);
    if (limit_ms > 0) {
        r->start_ns = now_ns();
        r->limit_ns = limit_ms * 1000000;
        lua_sethook(s->lua, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    }
    lua_pushcfunction(s->lua, run_protected);
    int rc = lua_pcall(s->lua, 0, 0, 0);
    if (unlikely(rc != LUA_OK || r->failed)) {
        r->reply->out->len = start;
        r->reply->errored = false;
        if (rc == LUA_ERRMEM)
            reply_error(r->reply, NOT_ENOUGH_MEMORY);
        else if (rc != LUA_OK)
            reply_errorf(r->reply, "ERR Error running script %.40s, %.100s",
                         r->function->source->sha,
                         lua_isstring(s->lua, -1) ? lua_tostring(s->lua, -1) : "execution failure");
        else
            reply_error(r->reply, "ERR the reply of this script is too large");
    }
    end(s, r);
    c->oom = oom;
}

/* What the flags in a script's first line do not allow. */
static bool may_run(struct core *c, uint32_t flags, bool read_only, struct reply *reply)
{
    if (!(flags & SCRIPT_HAS_FLAGS)) return true;
    if (read_only && !(flags & SCRIPT_NO_WRITES)) {
        reply_error(reply, "ERR Can not execute a script with write flag using *_ro command.");
        return false;
    }
    if (c->oom && !(flags & (SCRIPT_ALLOW_OOM | SCRIPT_NO_WRITES))) {
        reply_error(reply, "OOM allow-oom flag is not set on the script, can not run it when used "
                           "memory > 'maxmemory'");
        return false;
    }
    return true;
}

static bool count_keys(const struct exec *x, uint32_t *out)
{
    int64_t n;
    if (!num_parse_i64(x->argv[2], &n))
        reply_error(x->reply, ERR_NOT_INT);
    else if (n > (int64_t)x->argc - 3)
        reply_error(x->reply, "ERR Number of keys can't be greater than number of args");
    else if (n < 0)
        reply_error(x->reply, "ERR Number of keys can't be negative");
    else
        return *out = (uint32_t)n, true;
    return false;
}

static void eval(struct exec *x, bool by_sha, bool read_only)
{
    struct core *c = x->core;
    struct run r = {.reply = x->reply,
                    .proto = 2,
                    .db = x->key.db,
                    .no_touch = x->no_touch,
                    .read_only = read_only};
    if (by_sha && x->argv[1].len != SHA1_TEXT) {
        reply_error(x->reply, NO_SUCH_SCRIPT);
        return;
    }
    if (!count_keys(x, &r.keys_count)) return;
    r.keys = x->argv + 3;
    r.args = r.keys + r.keys_count;
    r.args_count = x->argc - 3 - r.keys_count;
    struct script *s = script__state(c);
    if (s == NULL) {
        reply_error(x->reply, NOT_ENOUGH_MEMORY);
        return;
    }
    if (by_sha) {
        bool errored = x->reply->errored;
        r.function = script__function_of_sha(s, x->argv[1], x->reply);
        if (r.function == NULL && x->reply->errored == errored)
            reply_error(x->reply, NO_SUCH_SCRIPT);
    } else {
        r.function = script__function_of_text(s, x->argv[1], false, x->reply);
    }
    if (r.function == NULL) return;
    uint32_t flags = r.function->source->flags;
    if (!may_run(c, flags, read_only, x->reply)) return;
    r.read_only |= (flags & SCRIPT_NO_WRITES) != 0;
    r.allow_oom = (flags & SCRIPT_ALLOW_OOM) != 0;
    r.one_slot = (flags & (SCRIPT_HAS_FLAGS | SCRIPT_CROSS_SLOT)) == SCRIPT_HAS_FLAGS;
    r.slot = r.one_slot && r.keys_count > 0 ? slot_of_key(r.keys[0]) : SCRIPT_NO_SLOT;
    uint64_t ticks = c->ticks;
    run(s, &r);
    c->ticks = ticks; /* the commands inside have moved it: the script's time is all of it */
}

static void cmd_eval(struct exec *x)
{
    eval(x, false, false);
}

static void cmd_eval_ro(struct exec *x)
{
    eval(x, false, true);
}

static void cmd_evalsha(struct exec *x)
{
    eval(x, true, false);
}

static void cmd_evalsha_ro(struct exec *x)
{
    eval(x, true, true);
}

/* ---- SCRIPT */

static void cmd_load(struct exec *x)
{
    struct script *s = script__state(x->core);
    if (s == NULL) {
        reply_error(x->reply, NOT_ENOUGH_MEMORY);
        return;
    }
    const struct function *f = script__function_of_text(s, x->argv[2], true, x->reply);
    if (f != NULL) reply_bulk(x->reply, bytes_view(f->source->sha, SHA1_TEXT));
}

static void cmd_exists(struct exec *x)
{
    reply_array(x->reply, (int64_t)x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++) {
        char sha[SHA1_TEXT];
        struct source *source = script__sha_of(x->argv[i], sha) ? script__cache_find(sha) : NULL;
        reply_i64(x->reply, source != NULL);
        if (source != NULL) script__source_drop(source);
    }
}

static void cmd_flush(struct exec *x)
{
    if (x->argc > 3 ||
        (x->argc == 3 && !bytes_is(x->argv[2], "sync") && !bytes_is(x->argv[2], "async"))) {
        reply_error(x->reply, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    script__cache_flush();
    reply_ok(x->reply);
}

/* A script runs to its end before anybody else is heard. */
static void cmd_kill(struct exec *x)
{
    reply_error(x->reply, "NOTBUSY No scripts in execution right now.");
}

static void cmd_debug(struct exec *x)
{
    reply_error(x->reply, "ERR SCRIPT DEBUG is not available");
}

static void cmd_help(struct exec *x)
{
    static const char *const lines[] = {
        "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Forgets all scripts, of all shards.",
        "KILL",
        "    There is never a script to kill: others are heard when it has ended.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
        "HELP",
        "    Prints this help."};
    reply_array(x->reply, COUNT_OF(lines));
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        reply_status(x->reply, lines[i]);
}

/* ---- the table */

// clang-format off
#define ROW .acl = ACL_SCRIPTING, .group = "scripting"
#define EVAL_FLAGS (CMD_NOSCRIPT | CMD_STALE | CMD_SKIP_MONITOR | CMD_NO_MANDATORY_KEYS | CMD_MOVABLE_KEYS)
#define KEYS(spec) .key_specs = spec, .key_specs_count = 1
#define TIME_OF_SCRIPT .complexity = "Depends on the script"
static const struct cmd_key_spec keys_rw[] = {{.flags = KEY_RW | KEY_ACCESS | KEY_UPDATE, .begin_index = 2, .keynum = true, .keynum_index = 0, .first_key = 1, .step = 1, .notes = "What a script does with its keys is not known beforehand."}};
static const struct cmd_key_spec keys_ro[] = {{.flags = KEY_RO | KEY_ACCESS, .begin_index = 2, .keynum = true, .keynum_index = 0, .first_key = 1, .step = 1, .notes = "A read-only script only reads its keys."}};

static const struct cmd_spec script_subs[] = {
    {.name = "DEBUG", .run = cmd_debug, .arity = 3, .flags = CMD_NOSCRIPT, ROW, .spread = SPREAD_KEY, .since = "3.2.0", .complexity = "O(1)", .summary = "Not available.", .syntax = "<YES | SYNC | NO>"},
    {.name = "EXISTS", .run = cmd_exists, .arity = -3, .flags = CMD_NOSCRIPT, ROW, .spread = SPREAD_KEY, .since = "2.6.0", .complexity = "O(N), N the number of digests", .summary = "Says which scripts are known.", .syntax = "sha1 [sha1 ...]", .tips = "request_policy:all_shards response_policy:agg_logical_and"},
    {.name = "FLUSH", .run = cmd_flush, .arity = -2, .flags = CMD_NOSCRIPT, ROW, .spread = SPREAD_KEY, .since = "2.6.0", .complexity = "O(N), N the number of scripts", .summary = "Forgets all scripts.", .syntax = "[ASYNC | SYNC]", .tips = "request_policy:all_nodes response_policy:all_succeeded", .history = "6.2.0:Added the `ASYNC` and `SYNC` flushing mode modifiers."},
    {.name = "HELP", .run = cmd_help, .arity = 2, .flags = CMD_LOADING | CMD_STALE, ROW, .spread = SPREAD_KEY, .since = "5.0.0", .complexity = "O(1)", .summary = "Says what SCRIPT can do.", .syntax = ""},
    {.name = "KILL", .run = cmd_kill, .arity = 2, .flags = CMD_NOSCRIPT | CMD_ALLOW_BUSY, ROW, .spread = SPREAD_KEY, .since = "2.6.0", .complexity = "O(1)", .summary = "Ends the script that runs.", .syntax = "", .tips = "request_policy:all_shards response_policy:one_succeeded"},
    {.name = "LOAD", .run = cmd_load, .arity = 3, .flags = CMD_NOSCRIPT | CMD_STALE, ROW, .spread = SPREAD_KEY, .since = "2.6.0", .complexity = "O(N), N the length of the script", .summary = "Makes a script known to the node.", .syntax = "script", .tips = "request_policy:all_nodes response_policy:all_succeeded"},
};
static const struct cmd_spec rows[] = {
    {.name = "EVAL", .run = cmd_eval, .arity = -3, .flags = EVAL_FLAGS | CMD_MAY_REPLICATE, ROW, .spread = SPREAD_SCRIPT, KEYS(keys_rw), TIME_OF_SCRIPT, .since = "2.6.0", .summary = "Runs a Lua script.", .syntax = "script numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "EVALSHA", .run = cmd_evalsha, .arity = -3, .flags = EVAL_FLAGS | CMD_MAY_REPLICATE, ROW, .spread = SPREAD_SCRIPT, KEYS(keys_rw), TIME_OF_SCRIPT, .since = "2.6.0", .summary = "Runs a Lua script by its SHA1 digest.", .syntax = "sha1 numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "EVALSHA_RO", .run = cmd_evalsha_ro, .arity = -3, .flags = EVAL_FLAGS | CMD_READONLY, ROW, .spread = SPREAD_SCRIPT, KEYS(keys_ro), TIME_OF_SCRIPT, .since = "7.0.0", .summary = "Runs a Lua script that only reads by its SHA1 digest.", .syntax = "sha1 numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "EVAL_RO", .run = cmd_eval_ro, .arity = -3, .flags = EVAL_FLAGS | CMD_READONLY, ROW, .spread = SPREAD_SCRIPT, KEYS(keys_ro), TIME_OF_SCRIPT, .since = "7.0.0", .summary = "Runs a Lua script that only reads.", .syntax = "script numkeys [key [key ...]] [arg [arg ...]]"},
    {.name = "SCRIPT", .arity = -2, .group = "scripting", .since = "2.6.0", .complexity = "Depends on subcommand", .summary = "Commands about scripts.", .syntax = "", .subs = script_subs, .subs_count = COUNT_OF(script_subs)},
};
// clang-format on

const struct cmd_table script_cmds = {.rows = rows, .count = COUNT_OF(rows)};
