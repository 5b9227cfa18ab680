/* redis.call and redis.pcall: a command of a script runs as any other one of its shard, by core_run(). */
#include <stdio.h>

#include "shard/base/limits.h"
#include "shard/base/slot.h"
#include "shard/exec/span.h"
#include "shard/script/script_priv.h"

#define NUMBER_TEXT_MAX 40u

/* ---- arguments */

/* As Redis: %.17g, which writes whole numbers without a point. */
static struct bytes number_text(lua_State *l, int at, struct arena *arena)
{
    char *text = arena_alloc(arena, NUMBER_TEXT_MAX);
    if (lua_isinteger(l, at)) return bytes_view(text, num_format_i64(text, lua_tointeger(l, at)));
    int n = snprintf(text, NUMBER_TEXT_MAX, "%.17g", lua_tonumber(l, at));
    return bytes_view(text, (size_t)n);
}

/* Views into strings that stay on the stack. NULL: one is neither text nor number. */
static const struct bytes *read_args(lua_State *l, uint32_t argc, struct arena *arena)
{
    struct bytes *argv = arena_alloc(arena, argc * sizeof *argv);
    for (uint32_t i = 0; i < argc; i++) {
        int at = (int)i + 1;
        if (lua_type(l, at) == LUA_TNUMBER) {
            argv[i] = number_text(l, at, arena);
        } else if (lua_type(l, at) == LUA_TSTRING) {
            size_t len;
            const char *text = lua_tolstring(l, at, &len);
            argv[i] = bytes_view(text, len);
        } else {
            return NULL;
        }
    }
    return argv;
}

/* ---- commands that a connection would answer, as far as they make sense here */

static void call_ping(struct script *s, const struct request *rq, struct reply *reply)
{
    (void)s;
    if (rq->argc > 2)
        reply_error(reply, "ERR wrong number of arguments for 'ping' command");
    else if (rq->argc == 2)
        reply_bulk(reply, rq->argv[1]);
    else
        reply_status(reply, "PONG");
}

static void call_echo(struct script *s, const struct request *rq, struct reply *reply)
{
    (void)s;
    reply_bulk(reply, rq->argv[1]);
}

/* The script's one time. */
static void call_time(struct script *s, const struct request *rq, struct reply *reply)
{
    (void)rq;
    int64_t us = s->core->reactor.wall_us;
    reply_array(reply, 2);
    reply_bulk_i64(reply, us / 1000000);
    reply_bulk_i64(reply, us % 1000000);
}

/* For the rest of the script only. */
static void call_select(struct script *s, const struct request *rq, struct reply *reply)
{
    int64_t db;
    if (!num_parse_i64(rq->argv[1], &db)) {
        reply_error(reply, ERR_NOT_INT);
    } else if (db < 0 || db >= s->core->databases) {
        reply_error(reply, "ERR DB index is out of range");
    } else {
        s->run->db = (uint8_t)db;
        reply_ok(reply);
    }
}

static const struct {
    const char *name;
    void (*run)(struct script *s, const struct request *rq, struct reply *reply);
} here[] = {{"PING", call_ping}, {"ECHO", call_echo}, {"TIME", call_time}, {"SELECT", call_select}};

static const char *run_here(struct script *s, const struct request *rq, struct reply *reply)
{
    for (size_t i = 0; i < COUNT_OF(here); i++) {
        if (strcmp(rq->spec->name, here[i].name) != 0) continue;
        here[i].run(s, rq, reply);
        core_count_call(&s->core->cmd_stats[rq->spec->id], 0, 0);
        return NULL;
    }
    return "This command is about connections or the server; it cannot be used in scripts yet";
}

/* ---- one command */

static const char *find(struct request *rq)
{
    const struct script_host *host = script__host();
    const struct cmd_spec *spec = host->find(rq->argv[0]);
    if (spec != NULL && spec->subs_count > 0 && rq->argc > 1)
        spec = host->find_sub(spec, rq->argv[1]);
    if (spec == NULL) return "Unknown Redis command called from script";
    if (spec->arity >= 0 ? rq->argc != (uint32_t)spec->arity : rq->argc < (uint32_t)-spec->arity)
        return "Wrong number of args calling Redis command from script";
    if (spec->flags & CMD_NOSCRIPT) return "This Redis command is not allowed from script";
    rq->spec = spec;
    return NULL;
}

/* The shards a script may work on now. */
static uint64_t shards_of(const struct core *c)
{
    return c->run.span == NULL ? UINT64_C(1) << c->index : c->run.span->mask;
}

/* It wants a key of a shard that does not stand. What it did so far stays, and becomes part of a transaction of all. */
static void widen(struct script *s)
{
    script__host()->widen(s->core);
    s->run->own_group = false;
}

/* Where the keys are; the shards of all of them stand then. */
static void place(struct script *s, struct request *rq, struct arena *arena)
{
    const struct cmd_spec *spec = rq->spec;
    uint32_t count = s->core->count;
    if (count == 1 && spec->keys.first > 0) {
        if ((uint32_t)spec->keys.first < rq->argc)
            rq->key = db_key(rq->key.db, rq->argv[spec->keys.first]);
        return;
    }
    uint64_t mine = shards_of(s->core), wanted = 0;
    if (spec->spread >= SPREAD_EVERY_SUM) {
        wanted = UINT64_MAX >> (64 - count);
    } else {
        uint32_t *at = arena_alloc(arena, rq->argc * sizeof *at);
        uint32_t n = spec_key_positions(spec, rq->argv, rq->argc, at);
        if (n > 0) rq->key = db_key(rq->key.db, rq->argv[at[0]]);
        for (uint32_t i = 0; i < n && count > 1; i++)
            wanted |= UINT64_C(1) << slot_shard(slot_of_key(rq->argv[at[i]]), count);
    }
    if (unlikely(wanted & ~mine)) widen(s);
}

static const char *measure(struct request *rq)
{
    uint64_t bytes = 16;
    for (uint32_t i = 0; i < rq->argc; i++)
        bytes += rq->argv[i].len + 16;
    if (bytes > SCRIPT_CALL_BYTES_MAX) return "the arguments of this command are too large";
    rq->wire_bytes = (uint32_t)bytes;
    return NULL;
}

/* From the first write on a script is not stopped half way, and its effects are one group of the log. */
static void begin_writing(struct script *s)
{
    struct run *r = s->run;
    r->wrote = true;
    s->core->oom = false;
    if (s->core->journal == NULL || s->core->tx.open || s->core->run.span != NULL) return;
    core_tx_begin(s->core, 0, 0);
    r->own_group = true;
}

/* NULL: the reply is in s->inner; else why it did not run. */
static const char *run_command(struct script *s, const struct bytes *argv, uint32_t argc)
{
    struct run *r = s->run;
    struct core *c = s->core;
    struct request rq = {.argv = argv, .argc = argc, .key = {.db = r->db}, .no_touch = r->no_touch};
    const char *why = find(&rq);
    if (why != NULL) return why;
    if (r->read_only && (rq.spec->flags & (CMD_WRITE | CMD_MAY_REPLICATE)))
        return "Write commands are not allowed from read-only scripts.";
    why = measure(&rq);
    if (why != NULL) return why;
    struct reply reply = {.out = &s->inner, .proto = r->proto};
    const char *error = script__host()->refuse(&rq);
    if (error != NULL) {
        reply_error(&reply, error);
        return NULL;
    }
    if (rq.spec->run == NULL) return run_here(s, &rq, &reply);
    place(s, &rq, &c->scratch);
    why = script__host()->refuse_keys(&rq, r->one_slot ? &r->slot : NULL);
    if (why != NULL) return why;
    if (rq.spec->flags & CMD_WRITE) {
        if (c->oom && (rq.spec->flags & CMD_DENYOOM)) return "-" ERR_OOM;
        if (!r->wrote) begin_writing(s);
    }
    struct span *span = c->run.span;
    if (span == NULL)
        core_run(c, &rq, &reply);
    else if (rq.spec->spread >= SPREAD_EVERY_SUM)
        script__host()->run_spread(span, &rq, &reply);
    else
        span_run(span, &rq, &reply);
    return NULL;
}

/* ---- */

static int call(lua_State *l, bool raise)
{
    struct script *s = script__of(l);
    const char *why = NULL;
    uint32_t argc = (uint32_t)lua_gettop(l);
    if (s->run == NULL) {
        why = "redis.call/pcall can only be called inside a script invocation";
        raise = true;
    } else if (s->run->timed_out) {
        why = SCRIPT_TOO_LONG;
        raise = true;
    } else if (argc == 0) {
        why = "Please specify at least one argument for this redis lib call";
    }
    if (why == NULL) {
        struct arena *arena = &s->core->scratch;
        struct arena_mark mark = arena_mark(arena);
        s->inner.len = 0;
        const struct bytes *argv = read_args(l, argc, arena);
        why = argv == NULL ? "Lua redis lib command arguments must be strings or integers"
                           : run_command(s, argv, argc);
        arena_rewind(arena, mark);
    }
    /* From here on errors of Lua may leave this function: it holds nothing. */
    luaL_checkstack(l, 8, "too many arguments");
    if (why != NULL) {
        script__push_error(l, why);
        return raise ? lua_error(l) : 1;
    }
    bool failed = s->inner.data[0] == '-';
    if (failed && !raise) core_count_error(s->core, s->inner.data, s->inner.len);
    size_t used = script__push_reply(l, buf_bytes(&s->inner));
    assert(used == s->inner.len);
    if (s->inner.cap > SCRIPT_KEEP_BYTES) buf_free(&s->inner);
    return failed && raise ? lua_error(l) : 1;
}

int script__call(lua_State *l)
{
    return call(l, true);
}

int script__pcall(lua_State *l)
{
    return call(l, false);
}
