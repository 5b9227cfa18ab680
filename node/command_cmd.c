/* COMMAND: what the registry's rows say about themselves, in the shapes of Redis 7. Whatever can follow from
 * a row does (categories from flags, key specifications from key positions), so that a row says a thing
 * once. DOCS is in command_docs.c. */
#include "node/command_docs.h"
#include "node/commands.h"
#include "node/conn_priv.h"
#include "node/text.h"
#include "shard/base/glob.h"

struct bit_name {
    uint32_t bit;
    const char *name;
};

/* In the order in which Redis 7 lists them; CMD_MAY_REPLICATE and CMD_PROTECTED it keeps to itself. */
static const struct bit_name flag_names[] = {
    {CMD_WRITE, "write"},
    {CMD_READONLY, "readonly"},
    {CMD_DENYOOM, "denyoom"},
    {CMD_MODULE, "module"},
    {CMD_ADMIN, "admin"},
    {CMD_PUBSUB, "pubsub"},
    {CMD_NOSCRIPT, "noscript"},
    {CMD_BLOCKING, "blocking"},
    {CMD_LOADING, "loading"},
    {CMD_STALE, "stale"},
    {CMD_SKIP_MONITOR, "skip_monitor"},
    {CMD_SKIP_SLOWLOG, "skip_slowlog"},
    {CMD_ASKING, "asking"},
    {CMD_FAST, "fast"},
    {CMD_NO_AUTH, "no_auth"},
    {CMD_NO_MANDATORY_KEYS, "no_mandatory_keys"},
    {CMD_NO_ASYNC_LOADING, "no_async_loading"},
    {CMD_NO_MULTI, "no_multi"},
    {CMD_MOVABLE_KEYS, "movablekeys"},
    {CMD_ALLOW_BUSY, "allow_busy"},
};
static const struct bit_name key_flag_names[] = {
    {KEY_RO, "RO"},
    {KEY_RW, "RW"},
    {KEY_OW, "OW"},
    {KEY_RM, "RM"},
    {KEY_ACCESS, "access"},
    {KEY_UPDATE, "update"},
    {KEY_INSERT, "insert"},
    {KEY_DELETE, "delete"},
    {KEY_NOT_KEY, "not_key"},
    {KEY_INCOMPLETE, "incomplete"},
    {KEY_VARIABLE, "variable_flags"},
};
/* Categories that flags alone decide; the others have the bits of enum cmd_acl. */
enum derived_acl {
    ACL_READ = 1u << 24,
    ACL_WRITE = 1u << 25,
    ACL_FAST = 1u << 26,
    ACL_SLOW = 1u << 27,
};
static const struct bit_name acl_names[] = {
    {ACL_KEYSPACE, "@keyspace"},
    {ACL_READ, "@read"},
    {ACL_WRITE, "@write"},
    {ACL_SET, "@set"},
    {ACL_SORTEDSET, "@sortedset"},
    {ACL_LIST, "@list"},
    {ACL_HASH, "@hash"},
    {ACL_STRING, "@string"},
    {ACL_BITMAP, "@bitmap"},
    {ACL_HYPERLOGLOG, "@hyperloglog"},
    {ACL_GEO, "@geo"},
    {ACL_STREAM, "@stream"},
    {ACL_PUBSUB, "@pubsub"},
    {ACL_ADMIN, "@admin"},
    {ACL_FAST, "@fast"},
    {ACL_SLOW, "@slow"},
    {ACL_BLOCKING, "@blocking"},
    {ACL_DANGEROUS, "@dangerous"},
    {ACL_CONNECTION, "@connection"},
    {ACL_TRANSACTION, "@transaction"},
    {ACL_SCRIPTING, "@scripting"},
};

static uint32_t acl_of(const struct cmd_spec *s)
{
    uint32_t acl = s->acl;
    if (s->flags & CMD_WRITE) acl |= ACL_WRITE;
    /* Scripts that only read may still run for long: @read is not the place to allow them. */
    if ((s->flags & CMD_READONLY) && !(acl & ACL_SCRIPTING)) acl |= ACL_READ;
    if (s->flags & CMD_ADMIN) acl |= ACL_ADMIN | ACL_DANGEROUS;
    if (s->flags & CMD_PUBSUB) acl |= ACL_PUBSUB;
    if (s->flags & CMD_BLOCKING) acl |= ACL_BLOCKING;
    return acl | (s->flags & CMD_FAST ? ACL_FAST : ACL_SLOW);
}

static void reply_bits(struct reply *r, uint32_t bits, const struct bit_name *names, size_t count)
{
    int64_t set = 0;
    for (size_t i = 0; i < count; i++)
        set += (bits & names[i].bit) != 0;
    reply_set(r, set);
    for (size_t i = 0; i < count; i++)
        if (bits & names[i].bit) reply_status(r, names[i].name);
}

/* ---- key specifications */

/* The one that the row's key positions stand for. */
static struct cmd_key_spec derive_key_spec(const struct cmd_spec *s)
{
    int last = s->keys.last >= 0 ? s->keys.last - s->keys.first : s->keys.last;
    return (struct cmd_key_spec){.flags = s->key_flags,
                                 .begin_index = s->keys.first,
                                 .last_key = (int16_t)last,
                                 .step = s->keys.step};
}

static uint32_t key_specs_count(const struct cmd_spec *s)
{
    return s->key_specs_count > 0 ? s->key_specs_count : s->keys.first > 0;
}

static struct cmd_key_spec key_spec_at(const struct cmd_spec *s, uint32_t i)
{
    return s->key_specs_count > 0 ? s->key_specs[i] : derive_key_spec(s);
}

/* Keys that no rule finds (SORT's patterns). */
static bool is_unknown(const struct cmd_key_spec *k)
{
    return k->begin_keyword == NULL && k->begin_index == 0;
}

static void reply_number_field(struct reply *r, const char *name, int64_t v)
{
    reply_bulk_text(r, name);
    reply_i64(r, v);
}

static void reply_text_field(struct reply *r, const char *name, const char *text)
{
    reply_bulk_text(r, name);
    reply_bulk_text(r, text);
}

/* "begin_search" or "find_keys": {type, spec: {…}}; the caller writes the pairs of spec. */
static void reply_search(struct reply *r, const char *which, const char *type, int64_t pairs)
{
    reply_bulk_text(r, which);
    reply_map(r, 2);
    reply_text_field(r, "type", type);
    reply_bulk_text(r, "spec");
    reply_map(r, pairs);
}

static void reply_begin_search(struct reply *r, const struct cmd_key_spec *k)
{
    if (is_unknown(k)) {
        reply_search(r, "begin_search", "unknown", 0);
    } else if (k->begin_keyword != NULL) {
        reply_search(r, "begin_search", "keyword", 2);
        reply_text_field(r, "keyword", k->begin_keyword);
        reply_number_field(r, "startfrom", k->begin_index);
    } else {
        reply_search(r, "begin_search", "index", 1);
        reply_number_field(r, "index", k->begin_index);
    }
}

static void reply_find_keys(struct reply *r, const struct cmd_key_spec *k)
{
    if (is_unknown(k)) {
        reply_search(r, "find_keys", "unknown", 0);
    } else if (k->keynum) {
        reply_search(r, "find_keys", "keynum", 3);
        reply_number_field(r, "keynumidx", k->keynum_index);
        reply_number_field(r, "firstkey", k->first_key);
        reply_number_field(r, "keystep", k->step > 0 ? k->step : 1);
    } else {
        reply_search(r, "find_keys", "range", 3);
        reply_number_field(r, "lastkey", k->last_key);
        reply_number_field(r, "keystep", k->step > 0 ? k->step : 1);
        reply_number_field(r, "limit", k->limit);
    }
}

static void reply_key_specs(struct reply *r, const struct cmd_spec *s)
{
    uint32_t count = key_specs_count(s);
    reply_set(r, count);
    for (uint32_t i = 0; i < count; i++) {
        struct cmd_key_spec k = key_spec_at(s, i);
        reply_map(r, k.notes != NULL ? 4 : 3);
        if (k.notes != NULL) reply_text_field(r, "notes", k.notes);
        reply_bulk_text(r, "flags");
        reply_bits(r, k.flags, key_flag_names, COUNT_OF(key_flag_names));
        reply_begin_search(r, &k);
        reply_find_keys(r, &k);
    }
}

/* ---- COMMAND, COMMAND INFO, COUNT */

static void reply_tips(struct reply *r, const char *tips)
{
    int64_t count = 0;
    for (const char *p = tips; p != NULL && *p != 0; p += strspn(p, " ")) {
        count++;
        p += strcspn(p, " ");
    }
    reply_set(r, count);
    for (const char *p = tips; p != NULL && *p != 0; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        reply_bulk(r, bytes_view(p, len));
        p += len;
    }
}

static void reply_info_head(struct reply *r, const struct cmd_spec *s)
{
    reply_array(r, 10);
    reply_bulk_text(r, commands_full_name(s));
    reply_i64(r, s->arity);
    reply_bits(r, s->flags, flag_names, COUNT_OF(flag_names));
    reply_i64(r, s->keys.first);
    reply_i64(r, s->keys.last);
    reply_i64(r, s->keys.step);
    reply_bits(r, acl_of(s), acl_names, COUNT_OF(acl_names));
    reply_tips(r, s->tips);
    reply_key_specs(r, s);
}

static void reply_info(struct reply *r, const struct cmd_spec *s)
{
    reply_info_head(r, s);
    if (s->subs_count == 0) { /* an empty set, but an array of entries: so does Redis */
        reply_set(r, 0);
        return;
    }
    reply_array(r, s->subs_count);
    for (uint32_t i = 0; i < s->subs_count; i++) {
        reply_info_head(r, &s->subs[i]);
        reply_set(r, 0);
    }
}

static void reply_info_all(struct reply *r)
{
    reply_array(r, commands_top_count());
    for (uint32_t i = 0; i < commands_top_count(); i++)
        reply_info(r, commands_by_id(i));
}

static void run_command(struct call *c)
{
    if (c->argc == 1)
        reply_info_all(c->reply);
    else
        reply_errorf(c->reply, "ERR unknown subcommand '%.*s'. Try COMMAND HELP.",
                     (int)(c->argv[1].len < 128 ? c->argv[1].len : 128),
                     (const char *)c->argv[1].data);
}

static void run_info(struct call *c)
{
    if (c->argc == 2) {
        reply_info_all(c->reply);
        return;
    }
    reply_array(c->reply, c->argc - 2);
    for (uint32_t i = 2; i < c->argc; i++) {
        const struct cmd_spec *s = commands_find_full(c->argv[i]);
        if (s != NULL)
            reply_info(c->reply, s);
        else
            reply_null(c->reply);
    }
}

static void run_count(struct call *c)
{
    reply_i64(c->reply, commands_top_count());
}

static void run_docs(struct call *c)
{
    command_docs(c);
}

/* ---- COMMAND LIST */

enum list_filter { LIST_ALL, LIST_NONE, LIST_ACLCAT, LIST_PATTERN };

static uint32_t acl_bit(struct bytes category)
{
    for (size_t i = 0; i < COUNT_OF(acl_names); i++)
        if (bytes_is(category, acl_names[i].name + 1)) return acl_names[i].bit;
    return 0;
}

/* False: a syntax error. Modules do not exist here, so none of their commands do. */
static bool parse_filter(const struct call *c, enum list_filter *out)
{
    *out = LIST_ALL;
    if (c->argc == 2) return true;
    if (c->argc != 5 || !bytes_is(c->argv[2], "filterby")) return false;
    if (bytes_is(c->argv[3], "module"))
        *out = LIST_NONE;
    else if (bytes_is(c->argv[3], "aclcat"))
        *out = LIST_ACLCAT;
    else if (bytes_is(c->argv[3], "pattern"))
        *out = LIST_PATTERN;
    return *out != LIST_ALL;
}

static void run_list(struct call *c)
{
    enum list_filter filter;
    if (!parse_filter(c, &filter)) {
        reply_error(c->reply, ERR_SYNTAX);
        return;
    }
    uint32_t category = filter == LIST_ACLCAT ? acl_bit(c->argv[4]) : 0;
    struct reply_later list = reply_later(c->reply, '*');
    int64_t count = 0;
    for (uint32_t i = 0; i < commands_count() && filter != LIST_NONE; i++) {
        const struct cmd_spec *s = commands_by_id(i);
        const char *name = commands_full_name(s);
        if (filter == LIST_ACLCAT && !(acl_of(s) & category)) continue;
        if (filter == LIST_PATTERN && !glob_match(c->argv[4], bytes_of(name), true)) continue;
        reply_bulk_text(c->reply, name);
        count++;
    }
    reply_later_done(c->reply, list, count);
}

/* ---- COMMAND GETKEYS, GETKEYSANDFLAGS */

/* The row of the call in argv; NULL: replied why its keys cannot be told. */
static const struct cmd_spec *spec_of_call(struct call *c, const struct bytes *argv, uint32_t argc)
{
    const struct cmd_spec *s = commands_find(argv[0]);
    if (s != NULL && s->subs_count > 0 && argc > 1) s = commands_find_sub(s, argv[1]);
    const char *error = NULL;
    if (s == NULL)
        error = "ERR Invalid command specified";
    else if (key_specs_count(s) == 0)
        error = "ERR The command has no key arguments";
    else if (s->arity >= 0 ? argc != (uint32_t)s->arity : argc < (uint32_t)-s->arity)
        error = "ERR Invalid number of arguments specified for command";
    if (error == NULL) return s;
    reply_error(c->reply, error);
    return NULL;
}

/* What this call does to its keys, where its options decide. */
static uint32_t call_key_flags(const struct cmd_spec *s, uint32_t flags, const struct bytes *argv,
                               uint32_t argc)
{
    if (!(flags & KEY_VARIABLE)) return flags;
    flags &= ~(uint32_t)KEY_VARIABLE;
    if (strcmp(s->name, "SET") != 0) return flags;
    for (uint32_t i = 3; i < argc; i++)
        if (bytes_is(argv[i], "GET")) return flags;
    return KEY_OW | KEY_UPDATE;
}

/* Replies the keys one specification finds; returns how many. */
static uint32_t reply_keys_of(struct call *c, const struct cmd_spec *s,
                              const struct cmd_key_spec *k, bool with_flags, uint32_t *positions)
{
    const struct bytes *argv = c->argv + 2;
    uint32_t argc = c->argc - 2;
    struct cmd_spec one = {.key_specs = k, .key_specs_count = 1};
    uint32_t count = spec_key_positions(&one, argv, argc, positions);
    uint32_t flags = call_key_flags(s, k->flags, argv, argc);
    for (uint32_t i = 0; i < count; i++) {
        if (with_flags) reply_array(c->reply, 2);
        reply_bulk(c->reply, argv[positions[i]]);
        if (with_flags) reply_bits(c->reply, flags, key_flag_names, COUNT_OF(key_flag_names));
    }
    return count;
}

static void reply_keys(struct call *c, bool with_flags)
{
    const struct cmd_spec *s = spec_of_call(c, c->argv + 2, c->argc - 2);
    if (s == NULL) return;
    struct arena *scratch = &call_conn(c)->worker->core.scratch;
    struct arena_mark mark = arena_mark(scratch);
    uint32_t *positions = arena_alloc(scratch, c->argc * sizeof *positions);
    if (spec_key_positions(s, c->argv + 2, c->argc - 2, positions) == 0 &&
        !(s->flags & CMD_NO_MANDATORY_KEYS)) {
        reply_error(c->reply, "ERR Invalid arguments specified for command");
        arena_rewind(scratch, mark);
        return;
    }
    struct reply_later list = reply_later(c->reply, '*');
    uint32_t count = 0;
    for (uint32_t i = 0; i < key_specs_count(s); i++) {
        struct cmd_key_spec k = key_spec_at(s, i);
        count += reply_keys_of(c, s, &k, with_flags, positions);
    }
    reply_later_done(c->reply, list, count);
    arena_rewind(scratch, mark);
}

static void run_getkeys(struct call *c)
{
    reply_keys(c, false);
}

static void run_getkeysandflags(struct call *c)
{
    reply_keys(c, true);
}

static void run_help(struct call *c)
{
    static const char *const lines[] = {
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "(no subcommand)",
        "    Return facts about every command.",
        "COUNT",
        "    Return the number of commands.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Return the names of commands, subcommands included.",
        "INFO [<command-name> ...]",
        "    Return facts about the named commands, or about all.",
        "DOCS [<command-name> ...]",
        "    Return documentation of the named commands, or of all.",
        "GETKEYS <full-command>",
        "    Return the keys of a full command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys of a full command, and what it does to them.",
        "HELP",
        "    Print this help.",
    };
    reply_text_lines(c->reply, lines, COUNT_OF(lines));
}

#define SUB .flags = CMD_LOADING | CMD_STALE, .acl = ACL_CONNECTION, .group = "server"

// clang-format off
static const struct cmd_spec subs[] = {
    {.name = "COUNT", .run_conn = run_count, .arity = 2, SUB, .since = "2.8.13", .complexity = "O(1)", .summary = "Returns the number of commands.", .syntax = ""},
    {.name = "DOCS", .run_conn = run_docs, .arity = -2, SUB, .since = "7.0.0", .complexity = "O(N), N the number of commands asked for", .summary = "Returns documentation of commands.",
     .syntax = "[command-name [command-name ...]]", .tips = "nondeterministic_output_order"},
    {.name = "GETKEYS", .run_conn = run_getkeys, .arity = -3, SUB, .since = "2.8.13", .complexity = "O(N), N the number of arguments", .summary = "Finds the keys in a full command.", .syntax = "command [arg [arg ...]]"},
    {.name = "GETKEYSANDFLAGS", .run_conn = run_getkeysandflags, .arity = -3, SUB, .since = "7.0.0", .complexity = "O(N), N the number of arguments",
     .summary = "Finds the keys in a full command, and what it does to them.", .syntax = "command [arg [arg ...]]"},
    {.name = "HELP", .run_conn = run_help, .arity = 2, SUB, .since = "5.0.0", .complexity = "O(1)", .summary = "Returns helpful text about the subcommands.", .syntax = ""},
    {.name = "INFO", .run_conn = run_info, .arity = -2, SUB, .since = "2.8.13", .complexity = "O(N), N the number of commands asked for", .summary = "Returns facts about commands.",
     .syntax = "[command-name [command-name ...]]", .tips = "nondeterministic_output_order", .history = "7.0.0:Allowed to be called with no argument to get info on all commands."},
    {.name = "LIST", .run_conn = run_list, .arity = -2, SUB, .since = "7.0.0", .complexity = "O(N), N the number of commands", .summary = "Returns the names of commands.",
     .syntax = "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]", .tips = "nondeterministic_output_order"},
};
static const struct cmd_spec rows[] = {
    {.name = "COMMAND", .run_conn = run_command, .arity = -1, SUB, .since = "2.8.13", .complexity = "O(N), N the number of commands", .summary = "Returns facts about all commands.", .syntax = "",
     .tips = "nondeterministic_output_order", .subs = subs, .subs_count = COUNT_OF(subs)},
};
// clang-format on

const struct cmd_table command_cmds = {.rows = rows, .count = COUNT_OF(rows)};
