/* LATENCY: HISTOGRAM shows what each shard counts of its commands anyway. Events of a latency monitor are
 * not kept, so the commands about them find none. */
#include "node/commands.h"
#include "node/text.h"
#include "node/worker.h"

/* Edges of the shown buckets: below 1024 ns, 2048 ns, … The names are those Redis shows, which rounds its
 * own buckets' upper ends to microseconds: 1, 2, 4, 8, 16, 33, 66, 132 … */
#define EDGE_NS(k) ((uint64_t)1024 << (k))
#define EDGE_NAME(k) ((int64_t)((((uint64_t)1032 << (k)) - 1) / 1000))
#define EDGES_MAX 30u /* 2^40 ns: far above the last bucket of stat_histogram, 2^35 */

/* The commands asked for, in that order, each once. Parts and join go through it in step. */
struct wanted {
    uint32_t count, cap;
    uint16_t ids[];
};

static size_t wanted_bytes(uint32_t cap)
{
    return sizeof(struct wanted) + (size_t)cap * sizeof(uint16_t);
}

/* `seen` by id: names may come again, thousands of times. */
static void want(struct wanted *w, bool *seen, const struct cmd_spec *s)
{
    if (seen[s->id]) return;
    seen[s->id] = true;
    w->ids[w->count++] = s->id;
}

static void want_named(struct wanted *w, bool *seen, struct bytes name)
{
    const struct cmd_spec *s = commands_find_full(name);
    if (s == NULL) return;
    want(w, seen, s);
    for (uint32_t i = 0; i < s->subs_count; i++)
        want(w, seen, &s->subs[i]);
}

/* Parts are {id, histogram} of the wanted commands that ran. */
static void histogram_part(struct worker *w, void *arg, struct buf *out)
{
    const struct wanted *wanted = arg;
    for (uint32_t i = 0; i < wanted->count; i++) {
        const struct stat_histogram *h = w->core.cmd_stats[wanted->ids[i]].latency;
        if (h == NULL || h->count == 0) continue;
        buf_add(out, &wanted->ids[i], sizeof wanted->ids[i]);
        buf_add(out, h, sizeof *h);
    }
}

/* Adds the part's histogram if it is the one of this command, and goes on to its next. */
static void merge_one(struct stat_histogram *sum, struct bytes *part, uint16_t id)
{
    uint16_t part_id;
    struct stat_histogram h;
    if (part->len == 0) return;
    memcpy(&part_id, part->data, sizeof part_id);
    if (part_id != id) return;
    memcpy(&h, part->data + sizeof part_id, sizeof h);
    stat_merge(sum, &h);
    *part =
        bytes_view(part->data + sizeof part_id + sizeof h, part->len - sizeof part_id - sizeof h);
}

static void reply_histogram(struct reply *r, const char *name, const struct stat_histogram *h)
{
    reply_bulk_text(r, name);
    reply_map(r, 2);
    reply_bulk_text(r, "calls");
    reply_i64(r, (int64_t)h->count);
    reply_bulk_text(r, "histogram_usec");
    struct reply_later buckets = reply_later(r, '%');
    int64_t shown = 0;
    uint64_t before = 0;
    for (uint32_t k = 0; k < EDGES_MAX && before < h->count; k++) {
        uint64_t below = stat_count_below(h, EDGE_NS(k));
        if (below == before) continue; /* as Redis: only where the count rises */
        reply_i64(r, EDGE_NAME(k));
        reply_i64(r, (int64_t)below);
        before = below;
        shown++;
    }
    reply_later_done(r, buckets, shown);
}

static void histogram_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    struct wanted *wanted = arg;
    struct bytes rest[SHARDS_MAX];
    struct stat_histogram sum;
    memcpy(rest, parts, count * sizeof *rest);
    struct reply_later map = reply_later(c->reply, '%');
    int64_t shown = 0;
    for (uint32_t i = 0; i < wanted->count; i++) {
        stat_clear(&sum);
        for (uint32_t s = 0; s < count; s++)
            merge_one(&sum, &rest[s], wanted->ids[i]);
        if (sum.count == 0) continue;
        reply_histogram(c->reply, commands_full_name(commands_by_id(wanted->ids[i])), &sum);
        shown++;
    }
    reply_later_done(c->reply, map, shown);
    mem_free(MEM_EXEC, wanted, wanted_bytes(wanted->cap));
}

static void run_histogram(struct call *c)
{
    uint32_t cap = commands_count();
    struct wanted *wanted = mem_alloc(MEM_EXEC, wanted_bytes(cap));
    bool *seen = mem_zalloc(MEM_EXEC, cap * sizeof *seen);
    *wanted = (struct wanted){.cap = cap};
    if (c->argc == 2)
        for (uint32_t id = 0; id < cap; id++)
            want(wanted, seen, commands_by_id(id));
    for (uint32_t i = 2; i < c->argc; i++)
        want_named(wanted, seen, c->argv[i]);
    mem_free(MEM_EXEC, seen, cap * sizeof *seen);
    worker_everywhere(c, histogram_part, histogram_join, wanted);
}

/* ---- events: there are none */

static void run_no_events(struct call *c)
{
    reply_array(c->reply, 0);
}

static void run_reset(struct call *c)
{
    reply_i64(c->reply, 0);
}

static void run_graph(struct call *c)
{
    reply_errorf(c->reply, "ERR No samples available for event '%.*s'",
                 (int)(c->argv[2].len < 128 ? c->argv[2].len : 128), (const char *)c->argv[2].data);
}

static void run_doctor(struct call *c)
{
    reply_verbatim(
        c->reply, "txt",
        BYTES_LIT("Latency events are not kept here: LATENCY HISTOGRAM, INFO latencystats "
                  "and INFO shards tell how long commands and passes took.\n"));
}

static void run_help(struct call *c)
{
    static const char *const lines[] = {
        "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "HISTOGRAM [COMMAND ...]",
        "    Return how many calls of each command took up to so many microseconds, by powers of "
        "two.",
        "    Without names, of all commands that ran.",
        "DOCTOR",
        "    Tell where latencies can be seen.",
        "GRAPH <event>, HISTORY <event>, LATEST, RESET [<event> ...]",
        "    About latency events, of which there are none.",
        "HELP",
        "    Print this help.",
    };
    reply_text_lines(c->reply, lines, COUNT_OF(lines));
}

#define SUB                                                                                        \
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, .group = "server",                \
    .since = "2.8.13", .complexity = "O(1)"
#define READS .tips = "nondeterministic_output request_policy:all_nodes response_policy:special"

// clang-format off
static const struct cmd_spec subs[] = {
    {.name = "DOCTOR", .run_conn = run_doctor, .arity = 2, SUB, READS, .summary = "Tells where latencies can be seen.", .syntax = ""},
    {.name = "GRAPH", .run_conn = run_graph, .arity = 3, SUB, READS, .summary = "Draws a latency event; none is kept.", .syntax = "event"},
    {.name = "HELP", .run_conn = run_help, .arity = 2, .flags = CMD_LOADING | CMD_STALE, .group = "server", .since = "2.8.13", .complexity = "O(1)", .summary = "Returns helpful text about the subcommands.", .syntax = ""},
    {.name = "HISTOGRAM", .run_conn = run_histogram, .arity = -2, .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, .group = "server", .since = "7.0.0", READS,
     .complexity = "O(N), N the number of commands asked for", .summary = "Returns the cumulative distribution of the latencies of commands.", .syntax = "[command [command ...]]"},
    {.name = "HISTORY", .run_conn = run_no_events, .arity = 3, SUB, READS, .summary = "Returns the samples of a latency event; none is kept.", .syntax = "event"},
    {.name = "LATEST", .run_conn = run_no_events, .arity = 2, SUB, READS, .summary = "Returns the newest latency events; none is kept.", .syntax = ""},
    {.name = "RESET", .run_conn = run_reset, .arity = -2, SUB, .summary = "Forgets latency events; none is kept.", .syntax = "[event [event ...]]", .tips = "request_policy:all_nodes response_policy:all_succeeded"},
};
static const struct cmd_spec rows[] = {
    {.name = "LATENCY", .arity = -2, .group = "server", .since = "2.8.13", .complexity = "Depends on subcommand.", .summary = "A container for commands about latencies.", .syntax = "", .subs = subs, .subs_count = COUNT_OF(subs)},
};
// clang-format on

const struct cmd_table latency_cmds = {.rows = rows, .count = COUNT_OF(rows)};
