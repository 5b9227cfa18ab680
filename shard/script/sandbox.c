/* What a script sees. The real tables of globals and of libraries are out of its reach; it gets empty tables in front of
 * them whose metatables read from the real ones and refuse to be written to or replaced. So no script leaves anything
 * behind for the next one. Names that Lua 5.1 had and 5.4 has not are added: Redis's scripts are written for 5.1. */
#include <math.h>

#include "shard/script/script_priv.h"

#define READ_ONLY "Attempt to modify a readonly table"

static const char marker;  /* its address: in metatables of tables that scripts only read */
static const char globals; /* its address: the real globals, in the registry */

/* ---- tables that are only read */

static bool is_protected(lua_State *l, int at)
{
    if (!lua_getmetatable(l, at)) return false;
    bool is = lua_rawgetp(l, -1, &marker) != LUA_TNIL;
    lua_pop(l, 2);
    return is;
}

static int refuse_write(lua_State *l)
{
    return luaL_error(l, READ_ONLY);
}

/* Without a line number, as in Redis, where Lua itself refuses. */
static int refuse_raw(lua_State *l)
{
    lua_pushliteral(l, READ_ONLY);
    return lua_error(l);
}

static int next_pair(lua_State *l)
{
    lua_settop(l, 2);
    if (lua_next(l, 1)) return 2;
    lua_pushnil(l);
    return 1;
}

/* Upvalue: the real table, of which the walk sees copies of the pairs only. */
static int pairs_of_real(lua_State *l)
{
    lua_pushcfunction(l, next_pair);
    lua_newtable(l);
    lua_pushnil(l);
    while (lua_next(l, lua_upvalueindex(1))) {
        lua_pushvalue(l, -2);
        lua_insert(l, -2);
        lua_rawset(l, -4);
    }
    lua_pushnil(l);
    return 3;
}

void script__protect(lua_State *l)
{
    int real = lua_gettop(l);
    lua_newtable(l);
    lua_createtable(l, 0, 5);
    lua_pushvalue(l, real);
    lua_setfield(l, -2, "__index");
    lua_pushcfunction(l, refuse_write);
    lua_setfield(l, -2, "__newindex");
    lua_pushvalue(l, real);
    lua_pushcclosure(l, pairs_of_real, 1);
    lua_setfield(l, -2, "__pairs");
    lua_pushboolean(l, false);
    lua_setfield(l, -2, "__metatable");
    lua_pushboolean(l, true);
    lua_rawsetp(l, -2, &marker);
    lua_setmetatable(l, -2);
    lua_replace(l, real);
}

static int no_such_global(lua_State *l)
{
    const char *name = lua_isstring(l, 2) ? lua_tostring(l, 2) : luaL_typename(l, 2);
    return luaL_error(l, "Script attempted to access nonexistent global variable '%s'", name);
}

void script__push_globals(lua_State *l)
{
    lua_rawgetp(l, LUA_REGISTRYINDEX, &globals);
}

/* ---- base functions that are other than Lua's */

static int raw_set(lua_State *l)
{
    luaL_checktype(l, 1, LUA_TTABLE);
    luaL_checkany(l, 2);
    luaL_checkany(l, 3);
    if (is_protected(l, 1)) return refuse_raw(l);
    lua_settop(l, 3);
    lua_rawset(l, 1);
    return 1;
}

/* Of a table that is only read: what lies behind. */
static int raw_get(lua_State *l)
{
    luaL_checktype(l, 1, LUA_TTABLE);
    luaL_checkany(l, 2);
    lua_settop(l, 2);
    if (is_protected(l, 1)) {
        luaL_getmetafield(l, 1, "__index");
        lua_insert(l, 2);
    }
    lua_rawget(l, -2);
    return 1;
}

/* Tables have no finalizers in 5.1, and here they would run inside of some other script: a metatable's __gc is out
 * of sight for the moment in which Lua looks for it. */
static int set_metatable(lua_State *l)
{
    int type = lua_type(l, 2);
    luaL_checktype(l, 1, LUA_TTABLE);
    luaL_argexpected(l, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (is_protected(l, 1)) return refuse_raw(l);
    if (luaL_getmetafield(l, 1, "__metatable") != LUA_TNIL)
        return luaL_error(l, "cannot change a protected metatable");
    lua_settop(l, 2);
    bool has_gc = false;
    if (type == LUA_TTABLE) {
        lua_pushliteral(l, "__gc");
        has_gc = lua_rawget(l, 2) != LUA_TNIL; /* stays at 3 */
    }
    if (has_gc) {
        lua_pushliteral(l, "__gc");
        lua_pushnil(l);
        lua_rawset(l, 2);
    }
    lua_pushvalue(l, 2);
    lua_setmetatable(l, 1);
    if (has_gc) {
        lua_pushliteral(l, "__gc");
        lua_pushvalue(l, 3);
        lua_rawset(l, 2);
    }
    lua_settop(l, 1);
    return 1;
}

/* An error that redis.call raised is caught as its text. */
static int protected_call(lua_State *l)
{
    luaL_checkany(l, 1);
    lua_pushboolean(l, true);
    lua_insert(l, 1);
    if (lua_pcall(l, lua_gettop(l) - 2, LUA_MULTRET, 0) == LUA_OK) return lua_gettop(l);
    lua_settop(l, 2);
    if (lua_istable(l, 2)) {
        lua_pushliteral(l, "err");
        lua_rawget(l, 2);
        lua_replace(l, lua_isstring(l, 3) ? 2 : 3);
    }
    lua_settop(l, 2);
    lua_pushboolean(l, false);
    lua_replace(l, 1);
    return 2;
}

/* Upvalue: Lua's load. Text only: bytecode can do anything. */
static int load_text(lua_State *l)
{
    int given = lua_gettop(l);
    lua_settop(l, given >= 4 ? 4 : 2);
    lua_pushliteral(l, "t");
    if (given >= 4) lua_replace(l, 3);
    lua_pushvalue(l, lua_upvalueindex(1));
    lua_insert(l, 1);
    lua_call(l, lua_gettop(l) - 1, LUA_MULTRET);
    return lua_gettop(l);
}

/* ---- names of 5.1 */

static int table_getn(lua_State *l)
{
    luaL_checktype(l, 1, LUA_TTABLE);
    lua_pushinteger(l, luaL_len(l, 1));
    return 1;
}

static int table_maxn(lua_State *l)
{
    lua_Number max = 0;
    luaL_checktype(l, 1, LUA_TTABLE);
    lua_pushnil(l);
    while (lua_next(l, 1)) {
        lua_pop(l, 1);
        if (lua_type(l, -1) == LUA_TNUMBER && lua_tonumber(l, -1) > max) max = lua_tonumber(l, -1);
    }
    if (max == floor(max) && max < 9e15)
        lua_pushinteger(l, (lua_Integer)max);
    else
        lua_pushnumber(l, max);
    return 1;
}

static int table_foreach(lua_State *l)
{
    luaL_checktype(l, 1, LUA_TTABLE);
    luaL_checktype(l, 2, LUA_TFUNCTION);
    lua_pushnil(l);
    while (lua_next(l, 1)) {
        lua_pushvalue(l, 2);
        lua_pushvalue(l, -3);
        lua_pushvalue(l, -3);
        lua_call(l, 2, 1);
        if (!lua_isnil(l, -1)) return 1;
        lua_pop(l, 2);
    }
    return 0;
}

static int table_foreachi(lua_State *l)
{
    luaL_checktype(l, 1, LUA_TTABLE);
    luaL_checktype(l, 2, LUA_TFUNCTION);
    lua_Integer n = luaL_len(l, 1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_pushvalue(l, 2);
        lua_pushinteger(l, i);
        lua_geti(l, 1, i);
        lua_call(l, 2, 1);
        if (!lua_isnil(l, -1)) return 1;
        lua_pop(l, 1);
    }
    return 0;
}

#define ONE(name, f)                                                                               \
    static int name(lua_State *l)                                                                  \
    {                                                                                              \
        lua_pushnumber(l, f(luaL_checknumber(l, 1)));                                              \
        return 1;                                                                                  \
    }
ONE(math_log10, log10)
ONE(math_cosh, cosh)
ONE(math_sinh, sinh)
ONE(math_tanh, tanh)
#define TWO(name, f)                                                                               \
    static int name(lua_State *l)                                                                  \
    {                                                                                              \
        lua_pushnumber(l, f(luaL_checknumber(l, 1), luaL_checknumber(l, 2)));                      \
        return 1;                                                                                  \
    }
TWO(math_pow, pow)
TWO(math_atan2, atan2)
TWO(math_mod, fmod)

static int math_ldexp(lua_State *l)
{
    lua_Integer e = luaL_checkinteger(l, 2);
    int bounded = e > 100000 ? 100000 : e < -100000 ? -100000 : (int)e;
    lua_pushnumber(l, ldexp(luaL_checknumber(l, 1), bounded));
    return 1;
}

static int math_frexp(lua_State *l)
{
    int e;
    lua_pushnumber(l, frexp(luaL_checknumber(l, 1), &e));
    lua_pushinteger(l, e);
    return 2;
}

/* ---- random numbers as Redis draws them: 48 bits by drand48's rule */

void script__seed_random(struct script *s, int32_t seed)
{
    s->random = (uint64_t)(uint32_t)seed << 16 | 0x330E;
}

static int32_t draw(struct script *s)
{
    s->random = (s->random * 0x5DEECE66Du + 0xB) & 0xFFFFFFFFFFFFu;
    return (int32_t)(s->random >> 17);
}

static int math_random(lua_State *l)
{
    double r = (double)(draw(script__of(l)) % INT32_MAX) / INT32_MAX;
    lua_Integer low = 1, high;
    switch (lua_gettop(l)) {
    case 0:
        lua_pushnumber(l, r);
        return 1;
    case 1:
        high = luaL_checkinteger(l, 1);
        luaL_argcheck(l, 1 <= high, 1, "interval is empty");
        break;
    case 2:
        low = luaL_checkinteger(l, 1);
        high = luaL_checkinteger(l, 2);
        luaL_argcheck(l, low <= high, 2, "interval is empty");
        break;
    default:
        return luaL_error(l, "wrong number of arguments");
    }
    double at = floor(r * ((double)high - (double)low + 1)) + (double)low;
    if (at >= -9e15 && at <= 9e15)
        lua_pushinteger(l, (lua_Integer)at);
    else
        lua_pushnumber(l, at);
    return 1;
}

static int math_randomseed(lua_State *l)
{
    script__seed_random(script__of(l), (int32_t)luaL_checkinteger(l, 1));
    return 0;
}

/* ---- libraries that Redis has and this does not yet */

/* Upvalue: the name. */
static int unavailable(lua_State *l)
{
    return luaL_error(l, "%s is not available yet", lua_tostring(l, lua_upvalueindex(1)));
}

static void add_unavailable(lua_State *l, const char *name)
{
    lua_newtable(l);
    script__protect(l);
    lua_getmetatable(l, -1);
    lua_pushstring(l, name);
    lua_pushcclosure(l, unavailable, 1);
    lua_setfield(l, -2, "__index");
    lua_pop(l, 1);
    lua_setglobal(l, name);
}

/* ---- the whole */

static const luaL_Reg libraries[] = {{LUA_GNAME, luaopen_base},
                                     {LUA_STRLIBNAME, luaopen_string},
                                     {LUA_TABLIBNAME, luaopen_table},
                                     {LUA_MATHLIBNAME, luaopen_math},
                                     {LUA_COLIBNAME, luaopen_coroutine}};
static const char *const removed[] = {"dofile", "loadfile", "collectgarbage", "print", "warn"};
static const luaL_Reg table_more[] = {{"getn", table_getn},
                                      {"maxn", table_maxn},
                                      {"foreach", table_foreach},
                                      {"foreachi", table_foreachi},
                                      {NULL, NULL}};
static const luaL_Reg math_more[] = {{"log10", math_log10},
                                     {"cosh", math_cosh},
                                     {"sinh", math_sinh},
                                     {"tanh", math_tanh},
                                     {"pow", math_pow},
                                     {"atan2", math_atan2},
                                     {"mod", math_mod},
                                     {"ldexp", math_ldexp},
                                     {"frexp", math_frexp},
                                     {"random", math_random},
                                     {"randomseed", math_randomseed},
                                     {NULL, NULL}};

static void set_base(lua_State *l)
{
    for (size_t i = 0; i < COUNT_OF(removed); i++) {
        lua_pushnil(l);
        lua_setglobal(l, removed[i]);
    }
    lua_getglobal(l, "load");
    lua_pushcclosure(l, load_text, 1);
    lua_pushvalue(l, -1);
    lua_setglobal(l, "load");
    lua_setglobal(l, "loadstring");
    lua_register(l, "rawset", raw_set);
    lua_register(l, "rawget", raw_get);
    lua_register(l, "setmetatable", set_metatable);
    lua_register(l, "pcall", protected_call);
}

static void set_libraries(lua_State *l)
{
    lua_getglobal(l, LUA_TABLIBNAME);
    luaL_setfuncs(l, table_more, 0);
    lua_getfield(l, -1, "unpack");
    lua_setglobal(l, "unpack");
    lua_getglobal(l, LUA_MATHLIBNAME);
    luaL_setfuncs(l, math_more, 0);
    lua_getglobal(l, LUA_STRLIBNAME);
    lua_getfield(l, -1, "gmatch");
    lua_setfield(l, -2, "gfind");
    lua_pushnil(l);
    lua_setfield(l, -2, "dump");
    lua_pop(l, 3);
    /* The methods of strings come from the real table: their metatable is out of reach, too. */
    lua_pushliteral(l, "");
    lua_getmetatable(l, -1);
    lua_pushboolean(l, false);
    lua_setfield(l, -2, "__metatable");
    lua_pop(l, 2);
    script__open_redis(l);
    lua_setglobal(l, "redis");
}

static void protect_all(lua_State *l)
{
    static const char *const names[] = {LUA_STRLIBNAME, LUA_TABLIBNAME, LUA_MATHLIBNAME,
                                        LUA_COLIBNAME, "redis"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        lua_getglobal(l, names[i]);
        script__protect(l);
        lua_setglobal(l, names[i]);
    }
    add_unavailable(l, "cjson");
    add_unavailable(l, "cmsgpack");
    add_unavailable(l, "struct");
    add_unavailable(l, "bit");
    lua_pushglobaltable(l);
    lua_pushvalue(l, -1);
    lua_rawsetp(l, LUA_REGISTRYINDEX, &globals);
    lua_createtable(l, 0, 2);
    lua_pushcfunction(l, no_such_global);
    lua_setfield(l, -2, "__index");
    lua_pushboolean(l, false);
    lua_setfield(l, -2, "__metatable");
    lua_setmetatable(l, -2);
    script__protect(l);
    lua_pushvalue(l, -1);
    lua_rawseti(l, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    script__push_globals(l);
    lua_insert(l, -2);
    lua_setfield(l, -2, LUA_GNAME);
    lua_pop(l, 1);
}

void script__sandbox(lua_State *l)
{
    for (size_t i = 0; i < COUNT_OF(libraries); i++) {
        luaL_requiref(l, libraries[i].name, libraries[i].func, 1);
        lua_pop(l, 1);
    }
    set_base(l);
    set_libraries(l);
    protect_all(l);
}
