/* An entry is kept as the wire will show it, its arguments already cut: it is written once and read as it
 * is. Ids count up over all workers, so that joining is a merge by id. Every worker keeps as many entries as
 * the whole log may show: they might all be the newest.
 *
 * What ran on another shard than its connection's comes home as a note, before the answer: only there address and name
 * are known. */
#include "node/slowlog.h"

#include <stdio.h>

#include "node/commands.h"
#include "node/config.h"
#include "node/config_priv.h"
#include "node/text.h"

#define ARGS_MAX 32u /* Redis's: what is more is counted in the last one */
#define ARG_BYTES_MAX 128u
#define GET_DEFAULT 10

struct entry {
    struct entry *newer, *older;
    uint64_t id;
    size_t len; /* of wire */
    uint8_t wire[];
};
struct slowlog {
    struct entry *newest, *oldest;
    uint32_t count;
};
static _Atomic uint64_t next_id;

/* ---- keeping */

static void drop_oldest(struct slowlog *log)
{
    struct entry *e = log->oldest;
    log->oldest = e->newer;
    if (log->oldest != NULL)
        log->oldest->older = NULL;
    else
        log->newest = NULL;
    log->count--;
    mem_free(MEM_NODE, e, sizeof *e + e->len);
}

static void trim(struct slowlog *log, uint32_t count_max)
{
    while (log->count > count_max)
        drop_oldest(log);
}

/* Passwords: what AUTH and HELLO … AUTH say, and the values of sensitive settings. */
static bool is_secret(const struct request *rq, uint32_t i)
{
    const char *name = commands_full_name(rq->spec);
    if (strcmp(name, "auth") == 0) return i > 0;
    if (strcmp(name, "hello") == 0)
        return (i >= 1 && bytes_is(rq->argv[i - 1], "auth")) ||
               (i >= 2 && bytes_is(rq->argv[i - 2], "auth"));
    if (strcmp(name, "config|set") != 0 || i < 3 || i % 2 == 0) return false;
    const struct directive *d = config__find(rq->argv[i - 1]);
    return d != NULL && d->sensitive;
}

static void add_arg(struct reply *r, struct bytes arg)
{
    if (arg.len <= ARG_BYTES_MAX) {
        reply_bulk(r, arg);
        return;
    }
    char more[48];
    int len = snprintf(more, sizeof more, "... (%zu more bytes)", arg.len - ARG_BYTES_MAX);
    uint8_t *to = reply_bulk_space(r, ARG_BYTES_MAX + (size_t)len);
    memcpy(to, arg.data, ARG_BYTES_MAX);
    memcpy(to + ARG_BYTES_MAX, more, (size_t)len);
}

static void add_args(struct reply *r, const struct request *rq)
{
    bool all = rq->argc <= ARGS_MAX;
    uint32_t shown = all ? rq->argc : ARGS_MAX - 1;
    reply_array(r, all ? shown : ARGS_MAX);
    for (uint32_t i = 0; i < shown; i++)
        add_arg(r, is_secret(rq, i) ? BYTES_LIT("(redacted)") : rq->argv[i]);
    if (all) return;
    char more[48];
    int len = snprintf(more, sizeof more, "... (%u more arguments)", rq->argc - shown);
    reply_bulk(r, bytes_view(more, (size_t)len));
}

/* A slow command, wherever it ran; allocated with the arguments as they will be shown. */
struct slow_note {
    struct inbox_link link;
    struct for_conn of;
    int64_t at_s;
    uint64_t duration_us;
    size_t len;
    uint8_t args[];
};

static struct slow_note *note_new(const struct request *rq, uint64_t duration_us)
{
    struct buf args;
    buf_init(&args, MEM_NODE);
    struct reply r = {.out = &args, .proto = 2}; /* the same bytes in both protocols */
    add_args(&r, rq);
    struct slow_note *n = mem_alloc(MEM_NODE, sizeof *n + args.len);
    *n = (struct slow_note){
        .at_s = clock_wall_us(&clock_real) / 1000000, .duration_us = duration_us, .len = args.len};
    memcpy(n->args, args.data, args.len);
    buf_free(&args);
    return n;
}

/* `c` NULL: it is gone, or nobody's. */
static void write_entry(struct buf *out, uint64_t id, const struct conn *c,
                        const struct slow_note *n)
{
    struct reply r = {.out = out, .proto = 2};
    reply_array(&r, 6);
    reply_i64(&r, (int64_t)id);
    reply_i64(&r, n->at_s);
    reply_i64(&r, (int64_t)n->duration_us);
    reply_raw(&r, bytes_view(n->args, n->len));
    reply_bulk_text(&r, c != NULL ? c->peer : "");
    reply_bulk_text(&r, c != NULL && c->session.name != NULL ? c->session.name : "");
}

/* Takes n. */
static void keep_note(struct worker *w, const struct conn *c, struct slow_note *n)
{
    struct slowlog *log = w->slowlog;
    uint32_t count_max = config.slowlog_max_len;
    trim(log, count_max > 0 ? count_max - 1 : 0);
    if (count_max > 0) {
        struct buf wire;
        buf_init(&wire, MEM_NODE);
        uint64_t id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed);
        write_entry(&wire, id, c, n);
        struct entry *e = mem_alloc(MEM_NODE, sizeof *e + wire.len);
        *e = (struct entry){.older = log->newest, .id = id, .len = wire.len};
        memcpy(e->wire, wire.data, wire.len);
        buf_free(&wire);
        if (log->newest != NULL)
            log->newest->newer = e;
        else
            log->oldest = e;
        log->newest = e;
        log->count++;
    }
    mem_free(MEM_NODE, n, sizeof *n + n->len);
}

static const struct conn *conn_of(const struct worker *w, const struct for_conn *of)
{
    const struct conn *c = of->index < w->conns_cap ? w->conns[of->index] : NULL;
    return c != NULL && c->id == of->id ? c : NULL;
}

void slowlog__take_notes(struct worker *w)
{
    struct inbox_link *link = inbox_take(&w->slow_notes);
    while (link != NULL) {
        struct slow_note *n = container_of(link, struct slow_note, link);
        link = link->next;
        keep_note(w, conn_of(w, &n->of), n);
    }
}

static void keep(struct worker *w, const struct request *rq, uint64_t duration_us)
{
    if (rq->spec->flags & CMD_SKIP_SLOWLOG) return;
    struct slow_note *n = note_new(rq, duration_us);
    n->of = w->running_for;
    if (w->running != NULL || n->of.id == 0)
        keep_note(w, w->running, n);
    else if (n->of.home == w->index)
        keep_note(w, conn_of(w, &n->of), n);
    else
        inbox_add(&node.workers[n->of.home]->slow_notes, &n->link); /* its answer wakes it */
}

static void on_slow(struct core *core, const struct request *rq, uint64_t duration_us)
{
    keep(container_of(core, struct worker, core), rq, duration_us);
}

void slowlog_judge(struct worker *w, const struct request *rq, uint64_t duration_ns)
{
    int64_t slow_us = atomic_load_explicit(&node.shared.slowlog_us, memory_order_relaxed);
    if (slow_us >= 0 && duration_ns >= (uint64_t)slow_us * 1000) keep(w, rq, duration_ns / 1000);
}

void slowlog_open(struct worker *w)
{
    w->slowlog = mem_zalloc(MEM_NODE, sizeof *w->slowlog);
    w->core.on_slow = on_slow;
}

void slowlog_close(struct worker *w)
{
    w->core.on_slow = NULL;
    slowlog_take_notes(w);
    trim(w->slowlog, 0);
    mem_free(MEM_NODE, w->slowlog, sizeof *w->slowlog);
    w->slowlog = NULL;
}

/* ---- SLOWLOG GET: parts are {id, len, wire} of entries, the newest first */

struct get {
    uint64_t count_max;
};
struct part_head {
    uint64_t id;
    size_t len;
};

static void get_part(struct worker *w, void *arg, struct buf *out)
{
    const struct get *get = arg;
    uint64_t left = get->count_max;
    for (const struct entry *e = w->slowlog->newest; e != NULL && left > 0; e = e->older, left--) {
        struct part_head head = {.id = e->id, .len = e->len};
        buf_add(out, &head, sizeof head);
        buf_add(out, e->wire, e->len);
    }
}

static struct part_head read_head(struct bytes part)
{
    struct part_head head;
    memcpy(&head, part.data, sizeof head);
    return head;
}

/* The part whose first entry is the newest of all; count if none has one left. */
static uint32_t find_newest(const struct bytes *parts, uint32_t count)
{
    uint32_t best = count;
    uint64_t best_id = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i].len == 0) continue;
        uint64_t id = read_head(parts[i]).id;
        if (best < count && id < best_id) continue;
        best = i;
        best_id = id;
    }
    return best;
}

static void get_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    struct get *get = arg;
    struct bytes rest[SHARDS_MAX];
    memcpy(rest, parts, count * sizeof *rest);
    struct reply_later list = reply_later(c->reply, '*');
    uint64_t shown = 0;
    for (; shown < get->count_max; shown++) {
        uint32_t from = find_newest(rest, count);
        if (from == count) break;
        size_t len = read_head(rest[from]).len;
        struct bytes *part = &rest[from];
        reply_raw(c->reply, bytes_view(part->data + sizeof(struct part_head), len));
        *part = bytes_view(part->data + sizeof(struct part_head) + len,
                           part->len - sizeof(struct part_head) - len);
    }
    reply_later_done(c->reply, list, (int64_t)shown);
    mem_free(MEM_EXEC, get, sizeof *get);
}

static void run_get(struct call *c)
{
    int64_t count = GET_DEFAULT;
    if (c->argc > 3) {
        reply_errorf(
            c->reply,
            "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try SLOWLOG HELP.",
            (int)c->argv[1].len, (const char *)c->argv[1].data);
        return;
    }
    if (c->argc == 3 && (!num_parse_i64(c->argv[2], &count) || count < -1)) {
        reply_error(c->reply, "ERR count should be greater than or equal to -1");
        return;
    }
    struct get *get = mem_alloc(MEM_EXEC, sizeof *get);
    get->count_max = config.slowlog_max_len;
    if (count >= 0 && (uint64_t)count < get->count_max) get->count_max = (uint64_t)count;
    worker_everywhere(c, get_part, get_join, get);
}

/* ---- SLOWLOG LEN, RESET */

static void len_part(struct worker *w, void *arg, struct buf *out)
{
    (void)arg;
    buf_add(out, &w->slowlog->count, sizeof w->slowlog->count);
}

static void len_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    (void)arg;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t one;
        memcpy(&one, parts[i].data, sizeof one);
        sum += one;
    }
    reply_i64(c->reply, (int64_t)(sum < config.slowlog_max_len ? sum : config.slowlog_max_len));
}

static void run_len(struct call *c)
{
    worker_everywhere(c, len_part, len_join, NULL);
}

static void reset_part(struct worker *w, void *arg, struct buf *out)
{
    (void)arg;
    (void)out;
    trim(w->slowlog, 0);
}

static void reset_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    (void)arg;
    (void)parts;
    (void)count;
    reply_ok(c->reply);
}

static void run_reset(struct call *c)
{
    worker_everywhere(c, reset_part, reset_join, NULL);
}

static void run_help(struct call *c)
{
    static const char *const lines[] = {
        "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET [<count>]",
        "    Return the newest <count> entries (default: 10, -1 means all).",
        "    An entry is an array of: id, unix time, microseconds, arguments,",
        "    client address and port, client name.",
        "LEN",
        "    Return the number of entries.",
        "RESET",
        "    Remove all entries.",
        "HELP",
        "    Print this help.",
    };
    reply_text_lines(c->reply, lines, COUNT_OF(lines));
}

#define SUB .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE, .group = "server", .since = "2.2.12"

// clang-format off
static const struct cmd_spec subs[] = {
    {.name = "GET", .run_conn = run_get, .arity = -2, SUB, .complexity = "O(N), N the number of entries returned", .summary = "Returns the newest slow commands.", .syntax = "[count]",
     .tips = "request_policy:all_nodes nondeterministic_output", .history = "4.0.0:Added client IP address, port and name to the reply."},
    {.name = "HELP", .run_conn = run_help, .arity = 2, .flags = CMD_LOADING | CMD_STALE, .group = "server", .since = "6.2.0", .complexity = "O(1)", .summary = "Returns helpful text about the subcommands.", .syntax = ""},
    {.name = "LEN", .run_conn = run_len, .arity = 2, SUB, .complexity = "O(1)", .summary = "Returns the number of entries in the slow log.", .syntax = "",
     .tips = "request_policy:all_nodes response_policy:agg_sum nondeterministic_output"},
    {.name = "RESET", .run_conn = run_reset, .arity = 2, SUB, .complexity = "O(N), N the number of entries", .summary = "Removes all entries from the slow log.", .syntax = "",
     .tips = "request_policy:all_nodes response_policy:all_succeeded"},
};
static const struct cmd_spec rows[] = {
    {.name = "SLOWLOG", .arity = -2, .group = "server", .since = "2.2.12", .complexity = "Depends on subcommand.", .summary = "A container for commands about slow commands.", .syntax = "", .subs = subs, .subs_count = COUNT_OF(subs)},
};
// clang-format on

const struct cmd_table slowlog_cmds = {.rows = rows, .count = COUNT_OF(rows)};
