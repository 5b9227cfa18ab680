/* The table `redis`, but for call and pcall: call.c. Texts are Redis's. */
#include "shard/base/log.h"
#include "shard/script/script_priv.h"

static const struct script_host *host;

void script_set_host(const struct script_host *h)
{
    host = h;
}

const struct script_host *script__host(void)
{
    return host;
}

void script__push_error(lua_State *l, const char *error)
{
    const char *space = strchr(error, ' ');
    size_t len = strlen(error);
    while (len > 0 && (error[len - 1] == '\n' || error[len - 1] == '\r'))
        len--;
    lua_createtable(l, 0, 1);
    if (error[0] == '-' && space != NULL) {
        lua_pushlstring(l, error + 1, len - 1);
    } else {
        lua_pushliteral(l, "ERR ");
        lua_pushlstring(l, error + (error[0] == '-'), len - (error[0] == '-'));
        lua_concat(l, 2);
    }
    lua_setfield(l, -2, "err");
}

static int raise(lua_State *l, const char *error)
{
    script__push_error(l, error);
    return lua_error(l);
}

static int error_reply(lua_State *l)
{
    if (lua_gettop(l) != 1 || lua_type(l, 1) != LUA_TSTRING) {
        script__push_error(l, "wrong number or type of arguments");
        return 1;
    }
    const char *text = lua_tostring(l, 1);
    if (text[0] == '-' && text[1] == 0) text = "";
    if (text[0] != '-') text = lua_pushfstring(l, "-%s", text);
    script__push_error(l, text);
    return 1;
}

static int status_reply(lua_State *l)
{
    if (lua_gettop(l) != 1 || lua_type(l, 1) != LUA_TSTRING) {
        script__push_error(l, "wrong number or type of arguments");
        return 1;
    }
    lua_createtable(l, 0, 1);
    lua_pushvalue(l, 1);
    lua_setfield(l, -2, "ok");
    return 1;
}

static int sha1hex(lua_State *l)
{
    if (lua_gettop(l) != 1) return raise(l, "wrong number of arguments");
    size_t len;
    const char *text = lua_tolstring(l, 1, &len);
    char sha[SHA1_TEXT];
    script__sha1_text(bytes_view(text, text == NULL ? 0 : len), sha);
    lua_pushlstring(l, sha, sizeof sha);
    return 1;
}

/* What a script says goes to the log in one line of bounded length; it may be anything. */
static int write_log(lua_State *l)
{
    int n = lua_gettop(l);
    if (n < 2) return raise(l, "redis.log() requires two arguments or more.");
    if (!lua_isnumber(l, 1)) return raise(l, "First argument must be a number (log level).");
    int level = (int)lua_tonumber(l, 1);
    if (level < 0 || level > 3) return raise(l, "Invalid debug level.");
    char text[512];
    size_t at = 0;
    for (int i = 2; i <= n; i++) {
        size_t len = 0;
        const char *part = lua_tolstring(l, i, &len);
        if (part == NULL) continue;
        if (i > 2 && at < sizeof text - 1) text[at++] = ' ';
        for (size_t k = 0; k < len && at < sizeof text - 1; k++)
            text[at++] = (char)((unsigned char)part[k] < 32 ? ' ' : part[k]);
    }
    text[at] = 0;
    if (level == 3)
        log_warning("script", "%s", text);
    else if (level == 2)
        log_notice("script", "%s", text);
    else if (level == 1)
        log_verbose("script", "%s", text);
    else
        log_debug("script", "%s", text);
    return 0;
}

static int setresp(lua_State *l)
{
    if (lua_gettop(l) != 1) return raise(l, "redis.setresp() requires one argument.");
    lua_Number proto = lua_tonumber(l, 1);
    if (proto != 2 && proto != 3) return raise(l, "RESP version must be 2 or 3.");
    struct run *r = script__of(l)->run;
    if (r != NULL) r->proto = (uint8_t)proto;
    return 0;
}

static int replicate_commands(lua_State *l)
{
    lua_pushboolean(l, true); /* effects are what is logged, always */
    return 1;
}

static int set_repl(lua_State *l)
{
    if (lua_gettop(l) != 1) return raise(l, "redis.set_repl() requires two arguments.");
    int flags = (int)lua_tonumber(l, 1);
    if ((flags & ~3) != 0)
        return raise(
            l, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    if (flags != 3)
        return raise(
            l, "redis.set_repl() of other than REPL_ALL is not available: all effects are logged");
    return 0;
}

static int breakpoint(lua_State *l)
{
    lua_pushboolean(l, false);
    return 1;
}

static const luaL_Reg functions[] = {{"call", script__call},
                                     {"pcall", script__pcall},
                                     {"error_reply", error_reply},
                                     {"status_reply", status_reply},
                                     {"sha1hex", sha1hex},
                                     {"log", write_log},
                                     {"setresp", setresp},
                                     {"replicate_commands", replicate_commands},
                                     {"set_repl", set_repl},
                                     {"breakpoint", breakpoint},
                                     {NULL, NULL}};
static const struct {
    const char *name;
    int value;
} constants[] = {{"LOG_DEBUG", 0},   {"LOG_VERBOSE", 1},  {"LOG_NOTICE", 2},
                 {"LOG_WARNING", 3}, {"REPL_NONE", 0},    {"REPL_AOF", 1},
                 {"REPL_SLAVE", 2},  {"REPL_REPLICA", 2}, {"REPL_ALL", 3}};

void script__open_redis(lua_State *l)
{
    luaL_newlib(l, functions);
    for (size_t i = 0; i < COUNT_OF(constants); i++) {
        lua_pushinteger(l, constants[i].value);
        lua_setfield(l, -2, constants[i].name);
    }
    if (host == NULL) return;
    int major = 0, minor = 0, patch = 0;
    (void)sscanf(host->version, "%d.%d.%d", &major, &minor, &patch);
    lua_pushstring(l, host->version);
    lua_setfield(l, -2, "REDIS_VERSION");
    lua_pushinteger(l, major << 16 | minor << 8 | patch);
    lua_setfield(l, -2, "REDIS_VERSION_NUM");
}
