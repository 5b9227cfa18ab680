/* shard/script/script_priv.h: what the files of this room share. */
#ifndef MOON_SCRIPT_SCRIPT_PRIV_H
#define MOON_SCRIPT_SCRIPT_PRIV_H

#include <stdatomic.h>

#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#include <lua5.4/lualib.h>

#include "shard/exec/core.h"
#include "shard/script/script.h"

#define SHA1_BYTES 20u
#define SHA1_TEXT 40u
#define SCRIPT_TOO_LONG                                                                            \
    "Script ran longer than busy-reply-threshold without writing, and was stopped"
#define SCRIPT_KEEP_BYTES (64u << 10) /* of the buffer for inner replies */
#define NOT_ENOUGH_MEMORY "OOM not enough memory for this script"

/* ---- sha1.c */
void script__sha1(struct bytes data, uint8_t out[static SHA1_BYTES]);
void script__sha1_text(struct bytes data, char out[static SHA1_TEXT]); /* no NUL */

/* ---- shebang.c: "#!lua flags=no-writes,allow-oom" in a script's first line */
enum script_flag {
    SCRIPT_NO_WRITES = 1u << 0,
    SCRIPT_ALLOW_OOM = 1u << 1,
    SCRIPT_CROSS_SLOT = 1u << 3,
    SCRIPT_HAS_FLAGS =
        1u << 2, /* there is such a line: what the flags do not allow is refused beforehand */
};
/* *skip_out: bytes of that line. False: *why holds what is wrong with it. */
MUST_CHECK bool script__shebang(struct bytes text, uint32_t *flags_out, size_t *skip_out,
                                struct buf *why);

/* ---- cache.c: the scripts of the node. Immutable once there; counted references. Any thread. */
struct source {
    _Atomic uint32_t refs;
    uint32_t flags; /* enum script_flag */
    bool kept;      /* by SCRIPT LOAD: it stays until SCRIPT FLUSH */
    char sha[SHA1_TEXT];
    struct source *next;          /* of its bucket */
    struct source *older, *newer; /* not kept: in the order they came */
    size_t skip, len;
    uint8_t text[];
};
/* NULL: unknown. The caller owns a reference: script__source_drop(). */
struct source *script__cache_find(const char sha[static SHA1_TEXT]);
/* Adds it, unless it is there. NULL: no room. The caller owns a reference. */
struct source *script__cache_add(const struct source *like, struct bytes text, bool keep);
void script__source_drop(struct source *s);
/* Counts the flushes: what a shard compiled before one is void. */
uint64_t script__cache_generation(void);
void script__cache_flush(void);

/* ---- state.c: the Lua state of a shard */
extern size_t script__bytes_max;       /* that one may take; tests lower it */
struct function {                      /* a script that this shard compiled */
    struct function *by_sha, *by_text; /* next of the bucket */
    struct source *source;
    uint64_t text_hash;
    int ref; /* in the registry */
};
#define FUNCTION_BUCKETS 1024u

struct run;
struct script {
    lua_State *lua;
    struct core *core;
    struct run *run; /* NULL: none is running */
    size_t bytes;    /* that Lua holds */
    uint64_t generation;
    uint32_t functions;
    struct function *by_sha[FUNCTION_BUCKETS], *by_text[FUNCTION_BUCKETS];
    struct buf inner; /* the reply of a command that the script called */
    uint64_t random;  /* 48 bits: of math.random */
};
/* One execution of a script. */
struct run {
    const struct function *function;
    struct reply *reply;
    const struct bytes *keys, *args;
    uint32_t keys_count, args_count;
    uint8_t db;
    bool one_slot; /* in cluster mode all its keys are of `slot` */
    uint16_t slot;
    uint8_t proto; /* of replies inside the script: redis.setresp */
    bool no_touch, read_only, allow_oom;
    bool wrote;     /* a write command was called */
    bool timed_out; /* sticky: whatever it catches, it ends */
    bool failed;
    bool own_group;              /* of the log, which this run began */
    uint64_t start_ns, limit_ns; /* 0: none */
};

/* The state of this shard, made if there is none; after a SCRIPT FLUSH anew. NULL: no memory. */
struct script *script__state(struct core *c);
static inline struct script *script__of(lua_State *l)
{
    struct script *s;
    memcpy(&s, lua_getextraspace(l), sizeof s);
    return s;
}
/* The function of a script, compiled if need be; NULL: the error was replied. */
const struct function *script__function_of_text(struct script *s, struct bytes text, bool keep,
                                                struct reply *reply);
/* What a client calls a script by, in small letters. False: that is no digest. */
MUST_CHECK bool script__sha_of(struct bytes text, char out[static SHA1_TEXT]);
/* NULL without a reply: nobody knows this script. */
const struct function *script__function_of_sha(struct script *s, struct bytes sha,
                                               struct reply *reply);

/* ---- sandbox.c: what a script sees. On a fresh state, protected. */
void script__sandbox(lua_State *l);
void script__seed_random(struct script *s, int32_t seed);
/* Pushes the table of globals that scripts only read. */
void script__push_globals(lua_State *l);
/* Puts the table at the top behind a view that cannot be written to; it is replaced by that view. */
void script__protect(lua_State *l);

/* ---- redis_lib.c: the table `redis` */
void script__open_redis(lua_State *l); /* pushes it */
const struct script_host *script__host(void);
/* Pushes {err=…}: "msg" gets ERR in front, "-CODE msg" stays. */
void script__push_error(lua_State *l, const char *error);

/* ---- call.c: redis.call and redis.pcall */
int script__call(lua_State *l);
int script__pcall(lua_State *l);

/* ---- convert.c */
/* Pushes what one complete reply of ours means in Lua; returns the bytes it took, 0 if it is none. */
size_t script__push_reply(lua_State *l, struct bytes wire);
/* Writes the value at the top as a reply; pops it. False: it is over the bounds, and the reply is to be replaced. */
MUST_CHECK bool script__reply_value(lua_State *l, struct reply *reply, uint8_t script_proto);

#endif
