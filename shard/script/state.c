/* The Lua state of a shard: its memory, counted and bounded, and the functions it has compiled. Whatever may raise an error
 * of Lua, want of memory included, runs inside lua_pcall: a state is never left in the middle. */
#include "shard/base/hash.h"
#include "shard/base/limits.h"
#include "shard/base/log.h"
#include "shard/script/script_priv.h"

#define CHUNK_NAME "@user_script"

size_t script__bytes_max = SCRIPT_STATE_BYTES_MAX;

/* ---- memory */

static void *allocate(void *ctx, void *p, size_t old, size_t wanted)
{
    struct script *s = ctx;
    if (p == NULL) old = 0; /* then it tells the type of what is to be made */
    if (wanted == 0) {
        mem_free(MEM_SCRIPT, p, old);
        s->bytes -= old;
        return NULL;
    }
    void *to;
    if (wanted <= old) {
        to = mem_resize(MEM_SCRIPT, p, old, wanted); /* Lua counts on it that this cannot fail */
    } else {
        if (s->bytes + (wanted - old) > script__bytes_max) return NULL;
        to = p == NULL ? mem_try_alloc(MEM_SCRIPT, wanted)
                       : mem_try_resize(MEM_SCRIPT, p, old, wanted);
        if (to == NULL) return NULL;
    }
    s->bytes += wanted - old; /* wraps right when it shrinks */
    return to;
}

static int panic(lua_State *l)
{
    log_warning("script", "an error of Lua outside of lua_pcall: %s", lua_tostring(l, -1));
    assert(false);
    return 0;
}

/* ---- life */

static int open_protected(lua_State *l)
{
    script__sandbox(l);
    return 0;
}

static struct script *state_new(struct core *c)
{
    struct script *s = mem_try_zalloc(MEM_SCRIPT, sizeof *s);
    if (s == NULL) return NULL;
    s->core = c;
    s->generation = script__cache_generation();
    script__seed_random(s, (int32_t)(uint32_t)rng_next(&c->rng));
    buf_init(&s->inner, MEM_SCRIPT);
    s->lua = lua_newstate(allocate, s);
    if (s->lua == NULL) {
        mem_free(MEM_SCRIPT, s, sizeof *s);
        return NULL;
    }
    lua_atpanic(s->lua, panic);
    memcpy(lua_getextraspace(s->lua), &s, sizeof s);
    lua_pushcfunction(s->lua, open_protected);
    int rc = lua_pcall(s->lua, 0, 0, 0);
    c->script = s;
    if (rc == LUA_OK) return s;
    if (rc != LUA_ERRMEM)
        log_warning("script", "no Lua state could be made: %s", lua_tostring(s->lua, -1));
    script_close(c);
    return NULL;
}

static void forget_functions(struct script *s)
{
    for (uint32_t i = 0; i < FUNCTION_BUCKETS; i++) {
        while (s->by_sha[i] != NULL) {
            struct function *f = s->by_sha[i];
            s->by_sha[i] = f->by_sha;
            luaL_unref(s->lua, LUA_REGISTRYINDEX, f->ref);
            script__source_drop(f->source);
            mem_free(MEM_SCRIPT, f, sizeof *f);
        }
        s->by_text[i] = NULL;
    }
    s->functions = 0;
}

void script_close(struct core *c)
{
    struct script *s = c->script;
    if (s == NULL) return;
    c->script = NULL;
    forget_functions(s);
    lua_close(s->lua);
    assert(s->bytes == 0);
    buf_free(&s->inner);
    mem_free(MEM_SCRIPT, s, sizeof *s);
}

struct script *script__state(struct core *c)
{
    struct script *s = c->script;
    if (likely(s != NULL && s->generation == script__cache_generation())) return s;
    script_close(c);
    return state_new(c);
}

/* ---- functions */

static uint32_t sha_bucket(const char sha[static SHA1_TEXT])
{
    uint32_t h = 0;
    for (uint32_t i = 0; i < 4; i++)
        h = h << 4 ^ (uint32_t)((sha[i] & 15) + (sha[i] >> 6) * 9);
    return h % FUNCTION_BUCKETS;
}

/* A piece of text to its function's place in the registry. */
struct compile {
    struct bytes text;
    int ref;
};

static int compile_protected(lua_State *l)
{
    struct compile *c = lua_touserdata(l, 1);
    /* As text only: bytecode can do anything. */
    if (luaL_loadbufferx(l, (const char *)c->text.data, c->text.len, CHUNK_NAME, "t") != LUA_OK)
        return lua_error(l);
    c->ref = luaL_ref(l, LUA_REGISTRYINDEX);
    return 0;
}

static bool compile(struct script *s, struct bytes text, int *ref_out, struct reply *reply)
{
    struct compile c = {.text = text};
    lua_pushcfunction(s->lua, compile_protected);
    lua_pushlightuserdata(s->lua, &c);
    int rc = lua_pcall(s->lua, 1, 0, 0);
    if (rc == LUA_ERRMEM)
        reply_error(reply, NOT_ENOUGH_MEMORY);
    else if (rc != LUA_OK)
        reply_errorf(reply, "ERR Error compiling script (new function): %s",
                     lua_tostring(s->lua, -1));
    lua_settop(s->lua, 0);
    *ref_out = c.ref;
    return rc == LUA_OK;
}

/* Takes over the reference to the source and the place in the registry. */
static const struct function *function_new(struct script *s, struct source *source, int ref)
{
    if (s->functions >= SCRIPT_FUNCTIONS_MAX) forget_functions(s);
    struct function *f = mem_alloc(MEM_SCRIPT, sizeof *f);
    uint64_t hash = hash_bytes(bytes_view(source->text, source->len));
    struct function **by_sha = &s->by_sha[sha_bucket(source->sha)];
    struct function **by_text = &s->by_text[hash % FUNCTION_BUCKETS];
    *f = (struct function){
        .by_sha = *by_sha, .by_text = *by_text, .source = source, .text_hash = hash, .ref = ref};
    *by_sha = f;
    *by_text = f;
    s->functions++;
    return f;
}

static const struct function *find_text(struct script *s, struct bytes text)
{
    uint64_t hash = hash_bytes(text);
    struct function *f = s->by_text[hash % FUNCTION_BUCKETS];
    for (; f != NULL; f = f->by_text)
        if (f->text_hash == hash && bytes_equal(bytes_view(f->source->text, f->source->len), text))
            return f;
    return NULL;
}

static const struct function *find_sha(struct script *s, const char sha[static SHA1_TEXT])
{
    struct function *f = s->by_sha[sha_bucket(sha)];
    while (f != NULL && memcmp(f->source->sha, sha, SHA1_TEXT) != 0)
        f = f->by_sha;
    return f;
}

static bool read_shebang(struct bytes text, struct source *like, struct reply *reply)
{
    struct buf why;
    buf_init(&why, MEM_SCRIPT);
    bool ok = script__shebang(text, &like->flags, &like->skip, &why);
    if (!ok) reply_errorf(reply, "%.*s", (int)why.len, (const char *)why.data);
    buf_free(&why);
    return ok;
}

const struct function *script__function_of_text(struct script *s, struct bytes text, bool keep,
                                                struct reply *reply)
{
    const struct function *f = find_text(s, text);
    if (likely(f != NULL && !keep)) return f;
    struct source like = {.refs = 0};
    int ref = LUA_NOREF;
    if (f == NULL) {
        if (!read_shebang(text, &like, reply)) return NULL;
        struct bytes code = bytes_view(text.data + like.skip, text.len - like.skip);
        if (!compile(s, code, &ref, reply)) return NULL;
        script__sha1_text(text, like.sha);
    } else {
        like.flags = f->source->flags;
        like.skip = f->source->skip;
        memcpy(like.sha, f->source->sha, SHA1_TEXT);
    }
    struct source *source = script__cache_add(&like, text, keep);
    if (source == NULL) {
        luaL_unref(s->lua, LUA_REGISTRYINDEX, ref);
        reply_error(reply, "OOM the scripts of this node take all the memory that is set aside for "
                           "them; SCRIPT FLUSH gives it back");
        return NULL;
    }
    if (f == NULL) return function_new(s, source, ref);
    script__source_drop(source);
    return f;
}

bool script__sha_of(struct bytes text, char out[static SHA1_TEXT])
{
    if (text.len != SHA1_TEXT) return false;
    for (uint32_t i = 0; i < SHA1_TEXT; i++) {
        char ch = (char)text.data[i];
        out[i] = (char)(ch >= 'A' && ch <= 'Z' ? ch + 32 : ch);
    }
    return true;
}

const struct function *script__function_of_sha(struct script *s, struct bytes sha,
                                               struct reply *reply)
{
    char lower[SHA1_TEXT];
    if (!script__sha_of(sha, lower)) return NULL;
    const struct function *f = find_sha(s, lower);
    if (likely(f != NULL)) return f;
    struct source *source = script__cache_find(lower);
    if (source == NULL) return NULL;
    int ref;
    if (!compile(s, bytes_view(source->text + source->skip, source->len - source->skip), &ref,
                 reply)) {
        script__source_drop(source);
        return NULL;
    }
    return function_new(s, source, ref);
}
