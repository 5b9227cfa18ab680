/* COMMAND DOCS: a map from names to what their rows say. redis-cli (7 and newer) asks for all of it at its
 * start and makes its hints of it. */
#include "node/command_docs.h"

#include "node/commands.h"
#include "node/conn_priv.h"

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

static void reply_docs(struct reply *r, const struct cmd_spec *s)
{
    reply_bulk_text(r, commands_full_name(s));
    bool history = s->history != NULL, subs = s->subs_count > 0;
    reply_map(r, 4 + history + subs);
    field(r, "summary", s->summary);
    field(r, "since", s->since);
    field(r, "group", s->group);
    field(r, "complexity", s->complexity);
    if (history) reply_history(r, s->history);
    if (!subs) return;
    reply_bulk_text(r, "subcommands");
    reply_map(r, s->subs_count);
    for (uint32_t i = 0; i < s->subs_count; i++)
        reply_docs(r, &s->subs[i]); /* one level: subcommands have none */
}

void command_docs(struct call *c)
{
    if (c->argc == 2) {
        reply_map(c->reply, commands_top_count());
        for (uint32_t i = 0; i < commands_top_count(); i++)
            reply_docs(c->reply, commands_by_id(i));
        return;
    }
    int64_t known = 0;
    for (uint32_t i = 2; i < c->argc; i++)
        known += commands_find_full(c->argv[i]) != NULL;
    reply_map(c->reply, known);
    for (uint32_t i = 2; i < c->argc; i++) {
        const struct cmd_spec *s = commands_find_full(c->argv[i]);
        if (s != NULL) reply_docs(c->reply, s);
    }
}
