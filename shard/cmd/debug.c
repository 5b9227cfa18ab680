/* DEBUG: what tests of clients and servers ask for. Only what does no harm is here; the node refuses all
 * of it unless enable-debug-command allows. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "shard/base/glob.h"
#include "shard/cmd/cmd.h"
#include "shard/exec/core.h"

static void run_ok(struct call *c)
{
    reply_ok(c->reply);
}

/* Longer sleeps than this are a mistake: nobody else is served meanwhile. */
#define SLEEP_S_MAX 3600.0

/* Blocks the shard of the connection with all its clients: that is what it is for. */
static void run_sleep(struct call *c)
{
    double seconds;
    if (!num_parse_double(c->argv[2], &seconds)) {
        reply_error(c->reply, ERR_NOT_FLOAT);
        return;
    }
    if (!(seconds > 0)) seconds = 0;
    if (seconds > SLEEP_S_MAX) seconds = SLEEP_S_MAX;
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
    reply_ok(c->reply);
}

#define MATCH_TEXT_MAX (64 << 20)

static void run_stringmatch_len(struct call *c)
{
    int64_t len;
    uint8_t *text = NULL;
    if (num_parse_i64(c->argv[2], &len) && len >= 0 && len <= MATCH_TEXT_MAX)
        text = mem_try_alloc(MEM_EXEC, (size_t)len + 1);
    if (text == NULL) {
        reply_error(c->reply, ERR_NOT_INT);
        return;
    }
    memset(text, 'a', (size_t)len);
    reply_i64(c->reply, glob_match(c->argv[3], bytes_view(text, (size_t)len), false));
    mem_free(MEM_EXEC, text, (size_t)len + 1);
}

static void run_set_active_expire(struct exec *x)
{
    int64_t on;
    if (!exec_arg_i64(x, 2, &on)) return;
    atomic_store_explicit(&x->core->shared->active_expire, on != 0, memory_order_relaxed);
    reply_ok(x->reply);
}

static void run_object(struct exec *x)
{
    struct db_key key = exec_key(x, x->argv[2]);
    const struct record *r = exec_peek(x, &key);
    if (r == NULL) {
        reply_error(x->reply, ERR_NO_KEY);
        return;
    }
    char text[256];
    unsigned lru = r->lru[0] | (unsigned)r->lru[1] << 8 | (unsigned)r->lru[2] << 16;
    (void)snprintf(
        text, sizeof text,
        "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%u lru_seconds_idle:%llu",
        (const void *)r, value_encoding_name(r), value_bytes(r), lru,
        (unsigned long long)(db_idle_ms(r, x->now_ms) / 1000));
    reply_status(x->reply, text);
}

/* Forty digits as Redis has them (other ones): equal for equal values, zeros for an absent key. */
static void run_digest_value(struct exec *x)
{
    reply_array(x->reply, (int64_t)x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++) {
        struct db_key key = exec_key(x, x->argv[i]);
        const struct record *r = exec_peek(x, &key);
        uint64_t digest = r == NULL ? 0 : value_digest(r);
        if (r != NULL && record_expire_ms(r) != -1)
            digest = ~digest; /* that it expires, not when */
        char text[64];
        (void)snprintf(text, sizeof text, "%040llx", (unsigned long long)digest);
        reply_status(x->reply, text);
    }
}

static void run_help(struct call *c)
{
    static const char *const lines[] = {
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CHANGE-REPL-ID",
        "    Accepted; there is no replication id to change.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    A signature of the value of each key.",
        "JMAP",
        "    Accepted without effect.",
        "OBJECT <key>",
        "    How the value of <key> is kept.",
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "    Accepted without effect: large list elements always have a node of their own.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    0: keys expire only when they are looked at. 1: in the background too.",
        "SLEEP <seconds>",
        "    Stops the shard of this connection. Decimals allowed.",
        "STRINGMATCH-LEN <length> <pattern>",
        "    Whether a text of <length> times 'a' matches <pattern>, to see how long that takes.",
        "HELP",
        "    Prints this help.",
    };
    reply_array(c->reply, COUNT_OF(lines));
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        reply_status(c->reply, lines[i]);
}

/* ---- the rows */

#define DEBUG_FLAGS                                                                                \
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_PROTECTED,                   \
    .acl = ACL_ADMIN | ACL_DANGEROUS
#define DEBUG_ROW DEBUG_FLAGS, .group = "server", .since = "1.0.0"

// clang-format off
static const struct cmd_spec subs[] = {
    {.name = "CHANGE-REPL-ID", .run_conn = run_ok, .arity = 2, DEBUG_ROW, .spread = SPREAD_CONN, .complexity = "O(1)",
     .summary = "Accepted without effect.", .syntax = ""},
    {.name = "DIGEST-VALUE", .run = run_digest_value, .arity = -3, DEBUG_ROW, .keys = {2, -1, 1}, .spread = SPREAD_GATHER,
     .key_flags = KEY_RO | KEY_ACCESS, .complexity = "O(N), N the number of elements of the values",
     .summary = "Returns a signature of the value of each key.", .syntax = "key [key ...]"},
    {.name = "HELP", .run_conn = run_help, .arity = 2, DEBUG_ROW, .spread = SPREAD_CONN, .complexity = "O(1)",
     .summary = "Tells what the subcommands of DEBUG do.", .syntax = ""},
    {.name = "JMAP", .run_conn = run_ok, .arity = 2, DEBUG_ROW, .spread = SPREAD_CONN, .complexity = "O(1)",
     .summary = "Accepted without effect.", .syntax = ""},
    {.name = "OBJECT", .run = run_object, .arity = 3, DEBUG_ROW, .keys = {2, 2, 1}, .spread = SPREAD_KEY,
     .key_flags = KEY_RO, .complexity = "O(1)", .summary = "Tells how the value of a key is kept.", .syntax = "key"},
    {.name = "QUICKLIST-PACKED-THRESHOLD", .run_conn = run_ok, .arity = 3, DEBUG_ROW, .spread = SPREAD_CONN, .complexity = "O(1)",
     .summary = "Accepted without effect.", .syntax = "size"},
    {.name = "SET-ACTIVE-EXPIRE", .run = run_set_active_expire, .arity = 3, DEBUG_ROW, .spread = SPREAD_EVERY_OK, .complexity = "O(1)",
     .summary = "Switches expiry in the background on or off.", .syntax = "<0 | 1>"},
    {.name = "SLEEP", .run_conn = run_sleep, .arity = 3, DEBUG_ROW, .spread = SPREAD_CONN, .complexity = "O(1)",
     .summary = "Stops the shard of this connection for some seconds.", .syntax = "seconds"},
    {.name = "STRINGMATCH-LEN", .run_conn = run_stringmatch_len, .arity = 4, DEBUG_ROW, .spread = SPREAD_CONN,
     .complexity = "O(N), N the length of the text; more with stars", .summary = "Matches a text of a length against a pattern.",
     .syntax = "length pattern"},
};

static const struct cmd_spec rows[] = {
    {.name = "DEBUG", .arity = -2, DEBUG_ROW, .spread = SPREAD_CONN, .subs = subs, .subs_count = COUNT_OF(subs),
     .complexity = "Depends on subcommand.", .summary = "Container of commands for tests.", .syntax = ""},
};
// clang-format on

const struct cmd_table debug_cmds = {.rows = rows, .count = COUNT_OF(rows)};
