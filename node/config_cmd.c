/* CONFIG GET, SET, REWRITE, RESETSTAT, HELP. */
#include <stdio.h>

#include "node/commands.h"
#include "node/config_priv.h"
#include "node/conn_priv.h"
#include "node/text.h"
#include "node/worker.h"
#include "shard/base/glob.h"

/* ---- GET: several patterns, the union, in the table's order */

static bool name_matches(const struct directive *d, const char *name, const struct bytes *patterns,
                         uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (bytes_is(patterns[i], name)) return true;
        if (!d->hidden && glob_match(patterns[i], bytes_of(name), true)) return true;
    }
    return false;
}

static void reply_directive(struct reply *reply, const struct directive *d, const char *name)
{
    struct buf value;
    buf_init(&value, MEM_NODE);
    config__print(d, &value);
    reply_bulk_text(reply, name);
    reply_bulk(reply, buf_bytes(&value));
    buf_free(&value);
}

static void run_get(struct call *c)
{
    struct reply_later map = reply_later(c->reply, '%');
    int64_t pairs = 0;
    for (uint32_t i = 0; i < config__count; i++) {
        const struct directive *d = &config__table[i];
        if (name_matches(d, d->name, c->argv + 2, c->argc - 2)) {
            reply_directive(c->reply, d, d->name);
            pairs++;
        }
        if (d->alias != NULL && name_matches(d, d->alias, c->argv + 2, c->argc - 2)) {
            reply_directive(c->reply, d, d->alias);
            pairs++;
        }
    }
    reply_later_done(c->reply, map, pairs);
}

/* ---- SET: all or nothing */

static const struct directive *check_pair(struct call *c, uint32_t i)
{
    const struct directive *d = config__find(c->argv[i]);
    int len = (int)(c->argv[i].len < 128 ? c->argv[i].len : 128);
    if (d == NULL) {
        reply_errorf(c->reply, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                     len, (const char *)c->argv[i].data);
        return NULL;
    }
    const char *error = NULL;
    if (d->denied_loading && node_loading()) {
        reply_error(c->reply, "LOADING Redis is loading the dataset in memory");
        return NULL;
    }
    if (d->mode == MODE_START)
        error = "can't set immutable config";
    else if (config__set(d, c->argv[i + 1], false, &error))
        return d;
    reply_errorf(c->reply, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s", len,
                 (const char *)c->argv[i].data, error);
    return NULL;
}

static bool check_pairs(struct call *c)
{
    for (uint32_t i = 2; i < c->argc; i += 2) {
        const struct directive *d = check_pair(c, i);
        if (d == NULL) return false;
        for (uint32_t k = 2; k < i; k += 2) {
            if (config__find(c->argv[k]) != d) continue;
            reply_errorf(
                c->reply,
                "ERR CONFIG SET failed (possibly related to argument '%s') - duplicate parameter",
                d->name);
            return false;
        }
    }
    return true;
}

static void set_fsync_part(struct worker *w, void *arg, struct buf *out)
{
    (void)arg;
    (void)out;
    if (w->core.journal == NULL) return;
    journal_set_fsync(w->core.journal, config.appendfsync);
    core_set_gated(&w->core, config.appendfsync == JOURNAL_ALWAYS);
    /* Under `no` nothing would sync what they wait for: they leave under the level that holds now. */
    if (w->core.gated) return;
    place__durable(w, UINT64_MAX);
    conn__durable(w, UINT64_MAX);
}

static void set_fsync_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    (void)arg;
    (void)parts;
    (void)count;
    reply_ok(c->reply);
}

static void run_set(struct call *c)
{
    if (c->argc < 4 || c->argc % 2 != 0) {
        reply_errorf(c->reply, "ERR wrong number of arguments for 'config|set' command");
        return;
    }
    if (!check_pairs(c)) return;
    config__changed_fsync = false;
    for (uint32_t i = 2; i < c->argc; i += 2) {
        const char *error = NULL;
        bool ok = config__set(config__find(c->argv[i]), c->argv[i + 1], true, &error);
        assert(ok); /* the same text was checked above */
    }
    if (config__changed_fsync)
        worker_everywhere(c, set_fsync_part, set_fsync_join, NULL);
    else
        reply_ok(c->reply);
}

static void run_rewrite(struct call *c)
{
    struct buf why;
    buf_init(&why, MEM_NODE);
    if (config__rewrite(&why))
        reply_ok(c->reply);
    else
        reply_errorf(c->reply, "ERR %.*s", (int)why.len, (const char *)why.data);
    buf_free(&why);
}

/* ---- RESETSTAT */

static void reset_part(struct worker *w, void *arg, struct buf *out)
{
    (void)arg;
    (void)out;
    core_reset_stats(&w->core);
    stat_clear(&w->core.reactor.pass_cpu);
    w->ops = (struct ops_sample){.at_ms = reactor_now_ms(&w->core.reactor)};
}

static void reset_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    (void)arg;
    (void)parts;
    (void)count;
    reply_ok(c->reply);
}

static void run_resetstat(struct call *c)
{
    worker_everywhere(c, reset_part, reset_join, NULL);
}

static void run_help(struct call *c)
{
    static const char *const lines[] = {
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
        "HELP",
        "    Print this help.",
    };
    reply_text_lines(c->reply, lines, COUNT_OF(lines));
}

#define ADMIN (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)

// clang-format off
static const struct cmd_spec subs[] = {
    {.name = "GET", .run_conn = run_get, .arity = -3, .flags = ADMIN, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "server", .since = "2.0.0",
     .complexity = "O(N), N the number of directives", .summary = "Returns the values of directives by name or pattern.", .syntax = "parameter [parameter ...]"},
    {.name = "HELP", .run_conn = run_help, .arity = 2, .flags = CMD_LOADING | CMD_STALE, .group = "server", .since = "5.0.0",
     .complexity = "O(1)", .summary = "Returns helpful text about the subcommands.", .syntax = ""},
    {.name = "RESETSTAT", .run_conn = run_resetstat, .arity = 2, .flags = ADMIN, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "server", .since = "2.0.0",
     .complexity = "O(1)", .summary = "Sets the statistics that INFO reports to zero.", .syntax = "", .tips = "request_policy:all_nodes response_policy:all_succeeded"},
    {.name = "REWRITE", .run_conn = run_rewrite, .arity = 2, .flags = ADMIN, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "server", .since = "2.8.0",
     .complexity = "O(1)", .summary = "Writes the values in force into the configuration file.", .syntax = "", .tips = "request_policy:all_nodes response_policy:all_succeeded"},
    {.name = "SET", .run_conn = run_set, .arity = -4, .flags = ADMIN, .acl = ACL_ADMIN | ACL_DANGEROUS, .group = "server", .since = "2.0.0",
     .complexity = "O(N), N the number of directives given", .summary = "Sets directives at run time, all or none.", .syntax = "parameter value [parameter value ...]",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},
};
static const struct cmd_spec rows[] = {
    {.name = "CONFIG", .arity = -2, .group = "server", .since = "2.0.0", .complexity = "Depends on subcommand.",
     .summary = "A container for commands about settings.", .syntax = "", .subs = subs, .subs_count = COUNT_OF(subs)},
};
// clang-format on

const struct cmd_table config_cmds = {.rows = rows, .count = COUNT_OF(rows)};
