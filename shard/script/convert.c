/* Replies to values of Lua and back, by the tables of Redis's manual ("Data type conversion").
 *
 * Towards Lua the replies are our own, so they are well formed; that is looked at all the same. Towards the client a
 * table may be anything a script can build: of itself, a million times the same. Depth and size are bounded. */
#include <math.h>
#include <stdlib.h>

#include "shard/base/limits.h"
#include "shard/script/script_priv.h"

#define TABLE_COSTS 16u
#define STACK_LIMIT "ERR reached lua stack limit"

/* ---- to Lua */

struct wire {
    lua_State *l;
    const uint8_t *at, *end;
};

/* What stands between the type byte and CRLF. */
static bool read_line(struct wire *w, struct bytes *line_out)
{
    const uint8_t *cr = memchr(w->at, '\r', (size_t)(w->end - w->at));
    if (cr == NULL || cr + 1 >= w->end || cr[1] != '\n') return false;
    *line_out = bytes_view(w->at, (size_t)(cr - w->at));
    w->at = cr + 2;
    return true;
}

static bool read_bulk(struct wire *w, int64_t len, struct bytes *out)
{
    if (len < 0 || len > w->end - w->at - 2) return false;
    *out = bytes_view(w->at, (size_t)len);
    w->at += len + 2;
    return w->at[-2] == '\r';
}

/* Pushes {[name]=…} with the value at the top. */
static void wrap(lua_State *l, const char *name)
{
    lua_createtable(l, 0, 1);
    lua_insert(l, -2);
    lua_setfield(l, -2, name);
}

static void push_text(lua_State *l, struct bytes text, const char *name)
{
    lua_pushlstring(l, (const char *)text.data, text.len);
    if (name != NULL) wrap(l, name);
}

static void push_error(lua_State *l, struct bytes text)
{
    push_text(l, text, "err");
    lua_pushboolean(l, true);
    lua_setfield(l, -2, "ignore_error_stats_update"); /* as scripts see it in Redis */
}

static bool push_verbatim(lua_State *l, struct bytes text)
{
    if (text.len < 4) return false;
    lua_createtable(l, 0, 2);
    push_text(l, bytes_view(text.data, 3), NULL);
    lua_setfield(l, -2, "format");
    push_text(l, bytes_view(text.data + 4, text.len - 4), NULL);
    lua_setfield(l, -2, "string");
    wrap(l, "verbatim_string");
    return true;
}

static bool push_double(lua_State *l, struct bytes text)
{
    double v;
    if (bytes_is(text, "nan") || bytes_is(text, "-nan"))
        v = NAN;
    else if (!num_parse_double(text, &v))
        return false;
    lua_pushnumber(l, v);
    wrap(l, "double");
    return true;
}

static bool push_value(struct wire *w, uint32_t depth);

static bool push_array(struct wire *w, int64_t count, uint32_t depth)
{
    lua_createtable(w->l, count > INT32_MAX ? 0 : (int)count, 0);
    for (int64_t i = 1; i <= count; i++) {
        if (!push_value(w, depth)) return false;
        lua_rawseti(w->l, -2, i);
    }
    return true;
}

/* Pairs, or members with true. */
static bool push_keyed(struct wire *w, int64_t count, bool is_map, uint32_t depth)
{
    lua_newtable(w->l);
    for (int64_t i = 0; i < count; i++) {
        if (!push_value(w, depth)) return false;
        if (!is_map)
            lua_pushboolean(w->l, true);
        else if (!push_value(w, depth))
            return false;
        if (lua_isnil(w->l, -2)) return false; /* no key in Lua */
        lua_rawset(w->l, -3);
    }
    wrap(w->l, is_map ? "map" : "set");
    return true;
}

static bool push_counted(struct wire *w, char type, int64_t n, uint32_t depth)
{
    struct bytes text;
    if (n == -1 && (type == '$' || type == '*')) {
        lua_pushboolean(w->l, false);
        return true;
    }
    if (n < 0) return false;
    switch (type) {
    case '$':
        if (!read_bulk(w, n, &text)) return false;
        push_text(w->l, text, NULL);
        return true;
    case '=':
        return read_bulk(w, n, &text) && push_verbatim(w->l, text);
    case '*':
        return n <= w->end - w->at && push_array(w, n, depth + 1);
    case '%':
        return n <= w->end - w->at && push_keyed(w, n, true, depth + 1);
    default:
        return n <= w->end - w->at && push_keyed(w, n, false, depth + 1);
    }
}

static bool push_value(struct wire *w, uint32_t depth)
{
    struct bytes line;
    int64_t n;
    if (w->at == w->end || depth > SCRIPT_REPLY_DEPTH_MAX) return false;
    char type = (char)*w->at++;
    if (!read_line(w, &line)) return false;
    luaL_checkstack(w->l, 8, "a reply is nested too deep");
    switch (type) {
    case '+':
        push_text(w->l, line, "ok");
        return true;
    case '-':
        push_error(w->l, line);
        return true;
    case ':':
        if (!num_parse_i64(line, &n)) return false;
        lua_pushinteger(w->l, n);
        return true;
    case '_':
        lua_pushnil(w->l);
        return true;
    case '#':
        lua_pushboolean(w->l, bytes_equal(line, BYTES_LIT("t")));
        return true;
    case ',':
        return push_double(w->l, line);
    case '(':
        push_text(w->l, line, "big_number");
        return true;
    case '$':
    case '=':
    case '*':
    case '%':
    case '~':
        return num_parse_i64(line, &n) && push_counted(w, type, n, depth);
    default:
        return false;
    }
}

size_t script__push_reply(lua_State *l, struct bytes wire)
{
    struct wire w = {.l = l, .at = wire.data, .end = wire.data + wire.len};
    int top = lua_gettop(l);
    if (push_value(&w, 0)) return (size_t)(w.at - wire.data);
    lua_settop(l, top);
    return 0;
}

/* ---- to the client */

struct writer {
    lua_State *l;
    struct reply *reply;
    size_t start;
    uint32_t elements;
    uint8_t script_proto;
    bool over;
};

static int64_t truncated(lua_State *l)
{
    if (lua_isinteger(l, -1)) return lua_tointeger(l, -1);
    double v = lua_tonumber(l, -1);
    if (v > -9223372036854775808.0 && v < 9223372036854775808.0) return (int64_t)v;
    return INT64_MIN; /* what the machine makes of it in Redis */
}

/* An error inside of an array is an element; the reply as a whole is none. */
static void write_error(struct writer *w, const char *text, uint32_t depth)
{
    bool before = w->reply->errored;
    reply_error(w->reply, text);
    if (depth > 0) w->reply->errored = before;
}

/* Pushes the field and returns its type. */
static int field(lua_State *l, const char *name)
{
    lua_pushstring(l, name);
    return lua_rawget(l, -2);
}

static void write_value(struct writer *w, uint32_t depth);

static void write_map(struct writer *w, uint32_t depth)
{
    int64_t pairs = 0;
    for (lua_pushnil(w->l); lua_next(w->l, -2); lua_pop(w->l, 1))
        pairs++;
    reply_map(w->reply, pairs);
    lua_pushnil(w->l);
    while (lua_next(w->l, -2)) {
        lua_pushvalue(w->l, -2);
        write_value(w, depth);
        write_value(w, depth);
    }
}

static void write_set(struct writer *w, uint32_t depth)
{
    int64_t members = 0;
    for (lua_pushnil(w->l); lua_next(w->l, -2); lua_pop(w->l, 1))
        members++;
    reply_set(w->reply, members);
    lua_pushnil(w->l);
    while (lua_next(w->l, -2)) {
        lua_pop(w->l, 1);
        lua_pushvalue(w->l, -1);
        write_value(w, depth);
    }
}

static void write_array(struct writer *w, uint32_t depth)
{
    lua_Integer n = 0;
    while (lua_rawgeti(w->l, -1, n + 1) != LUA_TNIL) {
        lua_pop(w->l, 1);
        n++;
    }
    lua_pop(w->l, 1);
    reply_array(w->reply, n);
    for (lua_Integer i = 1; i <= n && !w->over; i++) {
        lua_rawgeti(w->l, -1, i);
        write_value(w, depth);
    }
}

/* The text under `string` in the table at the top, with its format. */
static bool write_verbatim(struct writer *w)
{
    lua_State *l = w->l;
    bool ok = field(l, "format") == LUA_TSTRING;
    lua_pushliteral(l, "string");
    ok = lua_rawget(l, -3) == LUA_TSTRING && ok;
    if (ok) {
        size_t len, format_len;
        const char *text = lua_tolstring(l, -1, &len);
        const char *format = lua_tolstring(l, -2, &format_len);
        char three[3] = {' ', ' ', ' '};
        memcpy(three, format, format_len < 3 ? format_len : 3);
        reply_verbatim(w->reply, three, bytes_view(text, len));
    }
    lua_pop(l, 2);
    return ok;
}

static void write_big_number(struct writer *w)
{
    size_t len;
    const char *text = lua_tolstring(w->l, -1, &len);
    struct reply *r = w->reply;
    if (r->proto == 3) buf_add_byte(r->out, '(');
    char *to = r->proto == 3 ? buf_room(r->out, len + 2) : reply_bulk_space(r, len);
    for (size_t i = 0; i < len; i++)
        to[i] = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
    if (r->proto != 3) return;
    memcpy(to + len, "\r\n", 2);
    r->out->len += len + 2;
}

/* What a table says it is by a field of that name; it is at the top. */
static bool write_named(struct writer *w, uint32_t depth)
{
    static const struct {
        const char *name;
        int type;
    } kinds[] = {{"err", LUA_TSTRING},           {"ok", LUA_TSTRING}, {"double", LUA_TNUMBER},
                 {"big_number", LUA_TSTRING},    {"map", LUA_TTABLE}, {"set", LUA_TTABLE},
                 {"verbatim_string", LUA_TTABLE}};
    uint32_t kind = 0;
    while (kind < COUNT_OF(kinds) && field(w->l, kinds[kind].name) != kinds[kind].type) {
        lua_pop(w->l, 1);
        kind++;
    }
    bool done = true;
    switch (kind) {
    case 0:
        write_error(w, lua_tostring(w->l, -1), depth);
        break;
    case 1:
        reply_status(w->reply, lua_tostring(w->l, -1));
        break;
    case 2:
        reply_double(w->reply, lua_tonumber(w->l, -1));
        break;
    case 3:
        write_big_number(w);
        break;
    case 4:
        write_map(w, depth + 1);
        break;
    case 5:
        write_set(w, depth + 1);
        break;
    case 6:
        done = write_verbatim(w);
        break;
    default:
        return false;
    }
    lua_pop(w->l, 1);
    return done;
}

static void write_value(struct writer *w, uint32_t depth)
{
    lua_State *l = w->l;
    /* A table is asked for seven names. */
    w->elements += lua_istable(l, -1) ? TABLE_COSTS : 1;
    if (w->over || w->elements > SCRIPT_REPLY_ELEMENTS_MAX ||
        w->reply->out->len - w->start > SCRIPT_REPLY_BYTES_MAX) {
        w->over = true;
        lua_pop(l, 1);
        return;
    }
    if (depth > SCRIPT_REPLY_DEPTH_MAX || !lua_checkstack(l, 8)) {
        write_error(w, STACK_LIMIT, depth);
        lua_pop(l, 1);
        return;
    }
    size_t len;
    const char *text;
    switch (lua_type(l, -1)) {
    case LUA_TSTRING:
        text = lua_tolstring(l, -1, &len);
        reply_bulk(w->reply, bytes_view(text, len));
        break;
    case LUA_TBOOLEAN:
        if (w->script_proto == 3)
            reply_bool(w->reply, lua_toboolean(l, -1));
        else if (lua_toboolean(l, -1))
            reply_i64(w->reply, 1);
        else
            reply_null(w->reply);
        break;
    case LUA_TNUMBER:
        reply_i64(w->reply, truncated(l));
        break;
    case LUA_TTABLE:
        if (!write_named(w, depth)) write_array(w, depth + 1);
        break;
    default:
        reply_null(w->reply);
    }
    lua_pop(l, 1);
}

bool script__reply_value(lua_State *l, struct reply *reply, uint8_t script_proto)
{
    struct writer w = {
        .l = l, .reply = reply, .start = reply->out->len, .script_proto = script_proto};
    write_value(&w, 0);
    return !w.over;
}
