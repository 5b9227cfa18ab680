/* CONFIG GET, SET, REWRITE, RESETSTAT, HELP. */
#include <stdio.h>

#include "node/commands.h"
#include "node/config_priv.h"
#include "node/conn_priv.h"
#include "node/park.h"
#include "node/place_priv.h"
#include "node/text.h"
#include "node/worker_priv.h"
#include "shard/base/glob.h"
#include "shard/base/log.h"
#include "shard/rt/sock.h"

/* ---- GET: several patterns, the union, in the table's order */

static bool is_pattern(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr("[*?", text.data[i]) != NULL && text.data[i] != 0) return true;
    return false;
}

/* What the reply calls d: its name, or as it was spelled where it was asked for by name. False: not asked
 * for. */
static bool is_asked(const struct directive *d, const char *name, const struct bytes *patterns,
                     uint32_t n, struct bytes *shown_out)
{
    for (uint32_t i = 0; i < n; i++) {
        bool pattern = is_pattern(patterns[i]);
        if (pattern ? d->hidden || !glob_match(patterns[i], bytes_of(name), true)
                    : !bytes_is(patterns[i], name))
            continue;
        *shown_out = pattern ? bytes_of(name) : patterns[i];
        return true;
    }
    return false;
}

static int64_t reply_directive(struct call *c, const struct directive *d, const char *name)
{
    struct bytes shown;
    if (name == NULL || !is_asked(d, name, c->argv + 2, c->argc - 2, &shown)) return 0;
    struct buf value;
    buf_init(&value, MEM_NODE);
    config__print(d, &value);
    reply_bulk(c->reply, shown);
    reply_bulk(c->reply, buf_bytes(&value));
    buf_free(&value);
    return 1;
}

static void run_get(struct call *c)
{
    struct reply_later map = reply_later(c->reply, '%');
    int64_t pairs = 0;
    config_lock();
    for (uint32_t i = 0; i < config__count; i++) {
        pairs += reply_directive(c, &config__table[i], config__table[i].name);
        pairs += reply_directive(c, &config__table[i], config__table[i].alias);
    }
    config_unlock();
    reply_later_done(c->reply, map, pairs);
}

/* ---- SET: all or nothing. First the names of all pairs, then their values, as in Redis. */

static void reply_failed(struct call *c, struct bytes name, const char *error)
{
    reply_errorf(c->reply, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                 (int)(name.len < 128 ? name.len : 128), (const char *)name.data, error);
}

static bool may_set_guarded(struct call *c)
{
    if (config.enable_protected_configs == DEBUG_LOCAL)
        return sock_peer_is_loopback(call_conn(c)->stream.fd);
    return config.enable_protected_configs == DEBUG_YES;
}

static bool check_name(struct call *c, uint32_t i, bool *denied_out)
{
    const struct directive *d = config__find(c->argv[i]);
    if (d == NULL) {
        reply_errorf(c->reply, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                     (int)(c->argv[i].len < 128 ? c->argv[i].len : 128),
                     (const char *)c->argv[i].data);
        return false;
    }
    const char *error = NULL;
    if (d->mode == MODE_START || d->immutable)
        error = "can't set immutable config";
    else if (d->guarded && !may_set_guarded(c))
        error = "can't set protected config";
    for (uint32_t k = 2; k < i && error == NULL; k += 2)
        if (bytes_equal_nocase(c->argv[k], c->argv[i])) error = "duplicate parameter";
    if (error != NULL) reply_failed(c, c->argv[i], error);
    *denied_out |= d->denied_loading && node_loading();
    return error == NULL;
}

static bool check_pairs(struct call *c)
{
    bool denied = false;
    for (uint32_t i = 2; i < c->argc; i += 2)
        if (!check_name(c, i, &denied)) return false;
    if (denied) {
        reply_error(c->reply, "LOADING Redis is loading the dataset in memory");
        return false;
    }
    for (uint32_t i = 2; i < c->argc; i += 2) {
        const struct directive *d = config__find(c->argv[i]);
        const char *error = NULL;
        bool ok = config__set(d, c->argv[i + 1], false, &error);
        if (ok && d->check_live != NULL) ok = d->check_live(c->argv[i + 1], &error);
        if (ok) continue;
        bool alias = d->alias != NULL && bytes_is(c->argv[i], d->alias);
        reply_failed(c, bytes_of(alias ? d->alias : d->name), error); /* not as it was spelled */
        return false;
    }
    return true;
}

static void warn_without_effect(const struct directive *d)
{
    log_warning("config", "CONFIG SET: '%s' is accepted but has no effect here%s%s", d->name,
                d->why != NULL ? ": " : "", d->why != NULL ? d->why : "");
}

static void apply_pair(const struct directive *d, struct bytes value)
{
    const char *error = NULL;
    if (d->mode == MODE_KEPT && !config__is_value(d, value)) warn_without_effect(d);
    bool ok = config__set(d, value, true, &error);
    assert(ok); /* the same text was checked before */
}

/* The other workers read settings as plain fields: they stand still while some change. False: the node
 * stops. */
static bool set_begin(struct worker *w)
{
    if (!park_begin(w)) return false;
    config_lock(); /* free, or soon: a worker that holds it reaches its next pass */
    return true;
}

static void set_end(void)
{
    config_unlock();
    park_end();
}

static void set_fsync_part(struct worker *w, void *arg, struct buf *out)
{
    (void)arg;
    (void)out;
    if (w->core.journal != NULL) worker__policy_changed(w);
}

static void set_fsync_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    (void)arg;
    (void)parts;
    (void)count;
    reply_ok(c->reply);
}

/* ---- SET port, bind: worker 0 has the listeners. It tries; what else was set follows if it could. */

struct relisten {
    uint32_t pairs;
    struct buf text[]; /* name and value of each pair: argv is gone when the answer comes */
};

static const struct directive *pair_of(const struct relisten *r, uint32_t i)
{
    return config__find(buf_bytes(&r->text[2 * i]));
}

static void apply_listening(const struct relisten *r)
{
    for (uint32_t i = 0; i < r->pairs; i++)
        if (pair_of(r, i)->listens) apply_pair(pair_of(r, i), buf_bytes(&r->text[2 * i + 1]));
}

static void relisten_part(struct worker *w, void *arg, struct buf *out)
{
    if (w->index != 0) return;
    static struct config before; /* worker 0's */
    if (!set_begin(w)) {
        buf_add_byte(out, 1);
        return;
    }
    before = config;
    apply_listening(arg);
    if (!listen__again(w)) {
        config.port = before.port;
        config.bind_count = before.bind_count;
        memcpy(config.bind, before.bind, sizeof before.bind);
        if (!listen__again(w)) log_warning("net", "the old addresses could not be taken again");
        buf_add_byte(out, 1);
    }
    set_end();
}

static void relisten_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    (void)count;
    struct relisten *r = arg;
    bool failed = parts[0].len > 0, stops = !set_begin(worker_self());
    for (uint32_t i = 0; i < r->pairs; i++) {
        const struct directive *d = pair_of(r, i);
        if (stops) {
            reply_error(c->reply, STOPS_ERROR);
            break;
        }
        if (failed && d->listens) {
            reply_errorf(
                c->reply, "ERR CONFIG SET failed (possibly related to argument '%s') - %s", d->name,
                d->type == CONFIG_LIST ? "Failed to bind to specified addresses."
                                       : "Unable to listen on this port. Check server logs.");
            break;
        }
        if (!failed && !d->listens) apply_pair(d, buf_bytes(&r->text[2 * i + 1]));
    }
    if (!stops) set_end();
    if (!failed && !stops) reply_ok(c->reply);
    for (uint32_t i = 0; i < 2 * r->pairs; i++)
        buf_free(&r->text[i]);
    mem_free(MEM_NODE, r, sizeof *r + (size_t)r->pairs * 2 * sizeof *r->text);
}

static void relisten(struct call *c)
{
    uint32_t pairs = (c->argc - 2) / 2;
    struct relisten *r = mem_zalloc(MEM_NODE, sizeof *r + (size_t)pairs * 2 * sizeof *r->text);
    r->pairs = pairs;
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        buf_init(&r->text[i], MEM_NODE);
        buf_add_bytes(&r->text[i], c->argv[2 + i]);
    }
    worker_everywhere(c, relisten_part, relisten_join, r);
}

/* ---- SET */

static bool changes(struct call *c, bool (*is_kind)(const struct directive *d))
{
    for (uint32_t i = 2; i < c->argc; i += 2) {
        const struct directive *d = config__find(c->argv[i]);
        if (is_kind(d) && !config__is_value(d, c->argv[i + 1])) return true;
    }
    return false;
}

static bool is_listening(const struct directive *d)
{
    return d->listens;
}

static bool is_fsync(const struct directive *d)
{
    return d->target == &config.appendfsync;
}

static void run_set(struct call *c)
{
    if (c->argc % 2 != 0) {
        reply_error(c->reply, ERR_SYNTAX);
        return;
    }
    if (!set_begin(call_conn(c)->worker)) {
        reply_error(c->reply, STOPS_ERROR);
        return;
    }
    bool ok = check_pairs(c), listens = ok && changes(c, is_listening),
         fsync = ok && changes(c, is_fsync);
    if (ok && listens && fsync)
        reply_error(c->reply, "ERR appendfsync cannot be set together with port or bind");
    for (uint32_t i = 2; ok && !listens && i < c->argc; i += 2)
        apply_pair(config__find(c->argv[i]), c->argv[i + 1]);
    set_end();
    if (!ok || (listens && fsync)) return;
    if (listens)
        relisten(c);
    else if (fsync)
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
    struct ops_sample *o = &w->ops;
    o->commands = o->in_bytes = o->out_bytes = 0;
    o->at_ms = reactor_now_ms(&w->core.reactor);
    stat_set(&o->commands_per_s, 0); /* INFO reads them on other threads */
    stat_set(&o->in_per_s, 0);
    stat_set(&o->out_per_s, 0);
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
