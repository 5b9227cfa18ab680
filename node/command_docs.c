/* COMMAND DOCS: a map from names to what their rows say. redis-cli (7 and newer) asks for all of it at its
 * start and makes its hints of it. */
#include "node/command_docs.h"

#include "node/command_syntax.h"
#include "node/commands.h"
#include "node/conn_priv.h"

struct writer {
    struct reply *reply;
    struct arena *scratch;
    uint32_t keys, key_specs; /* key arguments so far, specifications of the command */
};

static void field(struct reply *r, const char *name, const char *text)
{
    reply_bulk_text(r, name);
    reply_bulk_text(r, text);
}

static int64_t count_lines(const char *text)
{
    int64_t n = 1;
    for (; *text != 0; text++)
        n += *text == '\n' && text[1] != 0;
    return n;
}

/* "6.2.0:Added …\n7.0.0:…" as pairs. */
static void reply_history(struct reply *r, const char *history)
{
    reply_bulk_text(r, "history");
    reply_set(r, count_lines(history));
    while (*history != 0) {
        size_t len = strcspn(history, "\n"), since = strcspn(history, ":");
        assert(since < len);
        reply_array(r, 2);
        reply_bulk(r, bytes_view(history, since));
        reply_bulk(r, bytes_view(history + since + 1, len - since - 1));
        history += len + (history[len] != 0);
    }
}

/* ---- arguments */

static void reply_arg_flags(struct reply *r, const struct syntax_arg *a)
{
    reply_bulk_text(r, "flags");
    reply_set(r, a->optional + a->multiple + a->multiple_token);
    if (a->optional) reply_status(r, "optional");
    if (a->multiple) reply_status(r, "multiple");
    if (a->multiple_token) reply_status(r, "multiple_token");
}

static void reply_args(struct writer *w, const struct syntax_arg *parent);

static void reply_arg(struct writer *w, const struct syntax_arg *a)
{
    struct reply *r = w->reply;
    bool parent = a->type == SYNTAX_ONEOF || a->type == SYNTAX_BLOCK;
    bool key = a->type == SYNTAX_KEY, token = a->token.len > 0;
    bool flags = a->optional || a->multiple;
    reply_map(r, 3 + key + token + flags); /* name, type, display_text or arguments, … */
    reply_bulk_text(r, "name");
    reply_bulk(r, a->name);
    field(r, "type", syntax_type_name(a->type));
    if (!parent) {
        reply_bulk_text(r, "display_text");
        reply_bulk(r, a->name);
    }
    if (key) {
        uint32_t last = w->key_specs > 0 ? w->key_specs - 1 : 0;
        reply_bulk_text(r, "key_spec_index");
        reply_i64(r, w->keys < last ? w->keys : last);
        w->keys++;
    }
    if (token) {
        reply_bulk_text(r, "token");
        reply_bulk(r, a->token);
    }
    if (flags) reply_arg_flags(r, a);
    if (parent) reply_args(w, a);
}

static void reply_args(struct writer *w, const struct syntax_arg *parent)
{
    reply_bulk_text(w->reply, "arguments");
    reply_array(w->reply, parent->children_count);
    for (uint32_t i = 0; i < parent->children_count; i++)
        reply_arg(w, parent->children[i]);
}

/* ---- commands */

/* NULL: none, or a syntax text that cannot be parsed; tests/system/test_command.py sees to it that
 * there is none of those. */
static const struct syntax_arg *parse_args(struct writer *w, const struct cmd_spec *s)
{
    w->keys = 0;
    w->key_specs = s->key_specs_count > 0 ? s->key_specs_count : s->keys.first > 0;
    const struct syntax_arg *args = syntax_parse(s->syntax, w->key_specs > 0, w->scratch);
    return args != NULL && args->children_count > 0 ? args : NULL;
}

static void reply_docs(struct writer *w, const struct cmd_spec *s)
{
    struct reply *r = w->reply;
    struct arena_mark mark = arena_mark(w->scratch);
    const struct syntax_arg *args = parse_args(w, s);
    reply_bulk_text(r, commands_full_name(s));
    bool history = s->history != NULL, subs = s->subs_count > 0;
    reply_map(r, 4 + history + (args != NULL) + subs);
    field(r, "summary", s->summary);
    field(r, "since", s->since);
    field(r, "group", s->group);
    field(r, "complexity", s->complexity);
    if (history) reply_history(r, s->history);
    if (args != NULL) reply_args(w, args);
    arena_rewind(w->scratch, mark);
    if (!subs) return;
    reply_bulk_text(r, "subcommands");
    reply_map(r, s->subs_count);
    for (uint32_t i = 0; i < s->subs_count; i++)
        reply_docs(w, &s->subs[i]); /* one level: subcommands have none */
}

void command_docs(struct call *c)
{
    struct writer w = {.reply = c->reply, .scratch = &call_conn(c)->worker->core.scratch};
    if (c->argc == 2) {
        reply_map(c->reply, commands_top_count());
        for (uint32_t i = 0; i < commands_top_count(); i++)
            reply_docs(&w, commands_by_id(i));
        return;
    }
    int64_t known = 0;
    for (uint32_t i = 2; i < c->argc; i++)
        known += commands_find_full(c->argv[i]) != NULL;
    reply_map(c->reply, known);
    for (uint32_t i = 2; i < c->argc; i++) {
        const struct cmd_spec *s = commands_find_full(c->argv[i]);
        if (s != NULL) reply_docs(&w, s);
    }
}
