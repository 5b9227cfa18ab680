/* Commands about the connection itself: PING, AUTH, HELLO, SELECT …, and CLIENT. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/block.h"
#include "node/commands.h"
#include "node/config.h"
#include "node/conn_priv.h"
#include "node/text.h"
#include "version.h"

/* ---- PING, ECHO, QUIT, SELECT, RESET */

static void run_ping(struct call *c)
{
    if (c->argc > 2)
        reply_error(c->reply, "ERR wrong number of arguments for 'ping' command");
    else if (c->argc == 2)
        reply_bulk(c->reply, c->argv[1]);
    else
        reply_status(c->reply, "PONG");
}

static void run_echo(struct call *c)
{
    reply_bulk(c->reply, c->argv[1]);
}

static void run_quit(struct call *c)
{
    reply_ok(c->reply);
    conn_close_after_reply(call_conn(c));
}

static void run_select(struct call *c)
{
    int64_t db;
    const char *error = NULL;
    if (!num_parse_i64(c->argv[1], &db))
        error = ERR_NOT_INT;
    else if (db < INT_MIN || db > INT_MAX)
        error = "ERR value is out of range, value must between -2147483648 and 2147483647";
    else if (config.cluster_enabled && db != 0)
        error = "ERR SELECT is not allowed in cluster mode";
    else if (db < 0 || db >= (int64_t)config.databases)
        error = "ERR DB index is out of range";
    if (error != NULL) {
        reply_error(c->reply, error);
        return;
    }
    call_conn(c)->session.db = (uint8_t)db;
    reply_ok(c->reply);
}

static void set_text(char **to, struct bytes from)
{
    if (*to != NULL) mem_free(MEM_CONN, *to, strlen(*to) + 1);
    *to = NULL;
    if (from.len == 0) return;
    *to = mem_alloc(MEM_CONN, from.len + 1);
    memcpy(*to, from.data, from.len);
    (*to)[from.len] = 0;
}

static void run_reset(struct call *c)
{
    struct session *s = &call_conn(c)->session;
    multi__reset(call_conn(c));
    set_text(&s->name, bytes_view("", 0));
    s->db = 0;
    s->proto = 2;
    s->authenticated = config.requirepass[0] == 0;
    s->no_touch = s->no_evict = s->readonly = false;
    s->reply_mode = REPLY_ON;
    c->reply->proto = 2;
    reply_status(c->reply, "RESET");
}

/* ---- AUTH and HELLO */

/* Compares in a time that does not tell where the two differ. */
static bool same_secret(struct bytes given, const char *secret)
{
    size_t len = strlen(secret);
    uint8_t differs = given.len != len;
    for (size_t i = 0; i < given.len; i++)
        differs |= (uint8_t)(given.data[i] ^ (uint8_t)(len > 0 ? secret[i % len] : 0));
    return differs == 0;
}

/* False: replied. */
static bool authenticate(struct call *c, struct bytes user, struct bytes password)
{
    bool known = bytes_equal(user, BYTES_LIT("default"));
    config_lock();
    bool right = config.requirepass[0] == 0 || same_secret(password, config.requirepass);
    config_unlock();
    if (known && right) {
        call_conn(c)->session.authenticated = true;
        return true;
    }
    reply_error(c->reply, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

static void run_auth(struct call *c)
{
    if (c->argc > 3) {
        reply_error(c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 2 && config.requirepass[0] == 0) {
        reply_error(c->reply, "ERR AUTH <password> called without any password configured for the "
                              "default user. Are you "
                              "sure your configuration is correct?");
        return;
    }
    struct bytes user = c->argc == 3 ? c->argv[1] : BYTES_LIT("default");
    if (authenticate(c, user, c->argv[c->argc - 1])) reply_ok(c->reply);
}

/* Names are printable without spaces, so that CLIENT LIST stays one word per field. */
static bool is_name(struct bytes v)
{
    for (size_t i = 0; i < v.len; i++)
        if (v.data[i] < '!' || v.data[i] > '~') return false;
    return true;
}

static bool check_name(struct call *c, struct bytes name)
{
    if (is_name(name)) return true;
    reply_error(c->reply,
                "ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
}

static void reply_hello(struct call *c)
{
    struct conn *conn = call_conn(c);
    reply_map(c->reply, 7);
    reply_bulk_text(c->reply, "server");
    reply_bulk_text(c->reply, "redis");
    reply_bulk_text(c->reply, "version");
    reply_bulk_text(c->reply, REDIS_VERSION_SPOKEN);
    reply_bulk_text(c->reply, "proto");
    reply_i64(c->reply, conn->session.proto);
    reply_bulk_text(c->reply, "id");
    reply_i64(c->reply, (int64_t)conn->id);
    reply_bulk_text(c->reply, "mode");
    reply_bulk_text(c->reply, config.cluster_enabled ? "cluster" : "standalone");
    reply_bulk_text(c->reply, "role");
    reply_bulk_text(c->reply, "master");
    reply_bulk_text(c->reply, "modules");
    reply_array(c->reply, 0);
}

static void run_hello(struct call *c)
{
    struct session *s = &call_conn(c)->session;
    int64_t proto = s->proto;
    uint32_t i = 1;
    if (c->argc > 1) {
        if (!num_parse_i64(c->argv[i++], &proto)) {
            reply_error(c->reply, "ERR Protocol version is not an integer or out of range");
            return;
        }
        if (proto != 2 && proto != 3) {
            reply_error(c->reply, "NOPROTO unsupported protocol version");
            return;
        }
    }
    struct bytes user = {NULL, 0}, password = {NULL, 0}, name = {NULL, 0};
    bool auth = false, named = false;
    for (; i < c->argc; i++) {
        if (bytes_is(c->argv[i], "AUTH") && i + 2 < c->argc) {
            auth = true;
            user = c->argv[++i];
            password = c->argv[++i];
        } else if (bytes_is(c->argv[i], "SETNAME") && i + 1 < c->argc) {
            named = true;
            name = c->argv[++i];
            if (!check_name(c, name)) return;
        } else {
            reply_errorf(c->reply, "ERR Syntax error in HELLO option '%.*s'",
                         (int)(c->argv[i].len < 128 ? c->argv[i].len : 128),
                         (const char *)c->argv[i].data);
            return;
        }
    }
    if (auth && !authenticate(c, user, password)) return;
    if (!s->authenticated) {
        reply_error(c->reply, "NOAUTH HELLO must be called with the client already authenticated, "
                              "otherwise the HELLO <proto> "
                              "AUTH <user> <pass> option can be used to authenticate the client "
                              "and select the RESP protocol "
                              "version at the same time");
        return;
    }
    if (named) set_text(&s->name, name);
    s->proto = c->reply->proto = (uint8_t)proto;
    reply_hello(c);
}

/* ---- CLIENT: itself */

static void run_id(struct call *c)
{
    reply_i64(c->reply, (int64_t)call_conn(c)->id);
}

static void run_getname(struct call *c)
{
    const char *name = call_conn(c)->session.name;
    if (name == NULL)
        reply_null(c->reply);
    else
        reply_bulk_text(c->reply, name);
}

static void run_setname(struct call *c)
{
    if (!check_name(c, c->argv[2])) return;
    set_text(&call_conn(c)->session.name, c->argv[2]);
    reply_ok(c->reply);
}

static void run_setinfo(struct call *c)
{
    struct session *s = &call_conn(c)->session;
    char **to = bytes_is(c->argv[2], "lib-name")  ? &s->lib_name
                : bytes_is(c->argv[2], "lib-ver") ? &s->lib_ver
                                                  : NULL;
    if (to == NULL) {
        reply_errorf(c->reply, "ERR Unrecognized option '%.*s'",
                     (int)(c->argv[2].len < 128 ? c->argv[2].len : 128),
                     (const char *)c->argv[2].data);
        return;
    }
    if (!is_name(c->argv[3])) {
        reply_errorf(c->reply, "ERR %s cannot contain spaces, newlines or special characters.",
                     to == &s->lib_name ? "lib-name" : "lib-ver");
        return;
    }
    set_text(to, c->argv[3]);
    reply_ok(c->reply);
}

static bool on_or_off(struct call *c, bool *out)
{
    *out = bytes_is(c->argv[2], "on");
    if (*out || bytes_is(c->argv[2], "off")) return true;
    reply_error(c->reply, ERR_SYNTAX);
    return false;
}

static void run_no_evict(struct call *c)
{
    if (on_or_off(c, &call_conn(c)->session.no_evict)) reply_ok(c->reply);
}

static void run_no_touch(struct call *c)
{
    if (on_or_off(c, &call_conn(c)->session.no_touch)) reply_ok(c->reply);
}

static void run_reply(struct call *c)
{
    struct session *s = &call_conn(c)->session;
    if (bytes_is(c->argv[2], "on")) {
        s->reply_mode = REPLY_ON;
        reply_ok(c->reply);
    } else if (bytes_is(c->argv[2], "off")) {
        s->reply_mode = REPLY_OFF;
    } else if (bytes_is(c->argv[2], "skip")) {
        if (s->reply_mode != REPLY_OFF) s->reply_mode = REPLY_SKIP_NEXT;
    } else {
        reply_error(c->reply, ERR_SYNTAX);
    }
}

/* ---- one line of CLIENT LIST */

static void add_line(struct conn *c, struct buf *out)
{
    int64_t now_ms = reactor_now_ms(&c->worker->core.reactor);
    char flags[8] = "", *flag = flags;
    if (c->flags & CONN_MULTI) *flag++ = 'x';
    if (block_shown(c)) *flag++ = 'b';
    if (c->flags & CONN_CLOSE_AFTER_REPLY) *flag++ = 'c';
    if (c->flags & CONN_UNIX) *flag++ = 'U';
    if (flag == flags) *flag++ = 'N';
    const struct session *s = &c->session;
    buf_addf(out,
             "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%u sub=0 "
             "psub=0 ssub=0 multi=%lld "
             "qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=%zu rbs=%zu rbp=0 obl=%zu oll=0 omem=%zu "
             "tot-mem=%zu events=r "
             "cmd=%s user=default redir=-1 resp=%u lib-name=%s lib-ver=%s",
             (unsigned long long)c->id, c->peer, c->local, c->stream.fd,
             s->name != NULL ? s->name : "", (long long)((now_ms - c->created_ms) / 1000),
             (long long)((now_ms - c->active_ms) / 1000), flags, s->db, (long long)multi_queued(c),
             c->in.len, c->in.cap - c->in.len, multi_bytes(c), c->out.cap, c->out.len,
             conn_output_bytes(c), conn_memory_bytes(c),
             c->last_spec != NULL ? commands_full_name(c->last_spec) : "NULL", s->proto,
             s->lib_name != NULL ? s->lib_name : "", s->lib_ver != NULL ? s->lib_ver : "");
}

static void run_info(struct call *c)
{
    struct buf line;
    buf_init(&line, MEM_REPLY);
    add_line(call_conn(c), &line);
    buf_add_byte(&line, '\n');
    reply_verbatim(c->reply, "txt", buf_bytes(&line));
    buf_free(&line);
}

/* ---- CLIENT LIST and KILL: over all workers */

struct filter {
    bool by_addr, by_laddr, skip_me, nothing; /* nothing: a type or user that nobody has */
    char addr[64], laddr[64];
    uint64_t me;
    int64_t max_age_s; /* 0: any */
    bool kill_one;     /* old form: an error if nobody has that address */
    uint32_t ids_count, ids_cap;
    uint64_t ids[]; /* sorted when all are there */
};

/* Each argument may be an id. */
static struct filter *filter_new(const struct call *c)
{
    struct filter *f = mem_zalloc(MEM_EXEC, sizeof *f + c->argc * sizeof *f->ids);
    f->ids_cap = c->argc;
    return f;
}

static void filter_free(struct filter *f)
{
    mem_free(MEM_EXEC, f, sizeof *f + f->ids_cap * sizeof *f->ids);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Many ids times many connections would hold up a pass: each connection is one binary search. */
static void sort_ids(struct filter *f)
{
    if (f->ids_count > 1) qsort(f->ids, f->ids_count, sizeof *f->ids, by_number);
}

static bool matches(const struct filter *f, const struct conn *c)
{
    if (f->nothing || (f->skip_me && c->id == f->me)) return false;
    if (f->by_addr && strcmp(f->addr, c->peer) != 0) return false;
    if (f->by_laddr && strcmp(f->laddr, c->local) != 0) return false;
    if (f->max_age_s > 0 &&
        reactor_now_ms(&c->worker->core.reactor) - c->created_ms < f->max_age_s * 1000)
        return false;
    return f->ids_count == 0 ||
           bsearch(&c->id, f->ids, f->ids_count, sizeof *f->ids, by_number) != NULL;
}

struct visit {
    const struct filter *filter;
    struct buf *out;
    int64_t killed;
};

static void list_one(struct conn *c, void *ctx)
{
    struct visit *v = ctx;
    if (!matches(v->filter, c)) return;
    add_line(c, v->out);
    buf_add_byte(v->out, '\n');
}

static void list_part(struct worker *w, void *arg, struct buf *out)
{
    struct visit v = {.filter = arg, .out = out};
    worker_each_conn(w, list_one, &v);
}

static void list_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    struct buf all;
    buf_init(&all, MEM_REPLY);
    for (uint32_t i = 0; i < count; i++)
        buf_add_bytes(&all, parts[i]);
    reply_verbatim(c->reply, "txt", buf_bytes(&all));
    buf_free(&all);
    filter_free(arg);
}

static void kill_one(struct conn *c, void *ctx)
{
    struct visit *v = ctx;
    if (!matches(v->filter, c)) return;
    v->killed++;
    if (c->id == v->filter->me)
        conn_close_after_reply(c); /* it still gets its reply */
    else
        conn_close_now(c);
}

static void kill_part(struct worker *w, void *arg, struct buf *out)
{
    struct visit v = {.filter = arg};
    worker_each_conn(w, kill_one, &v);
    buf_add(out, &v.killed, sizeof v.killed);
}

static void kill_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    struct filter *f = arg;
    int64_t killed = 0, n;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&n, parts[i].data, sizeof n);
        killed += n;
    }
    if (!f->kill_one)
        reply_i64(c->reply, killed);
    else if (killed == 0)
        reply_error(c->reply, "ERR No such client");
    else
        reply_ok(c->reply);
    filter_free(f);
}

/* LIST takes any number, KILL only what may be one. */
static bool parse_id(struct call *c, uint32_t i, int64_t min, const char *error, uint64_t *out)
{
    int64_t v;
    if (num_parse_i64(c->argv[i], &v) && v >= min) {
        *out = (uint64_t)v;
        return true;
    }
    reply_error(c->reply, error);
    return false;
}

static bool parse_type(struct call *c, struct bytes type, struct filter *f)
{
    if (bytes_is(type, "normal")) return true;
    f->nothing = true;
    if (bytes_is(type, "master") || bytes_is(type, "primary") || bytes_is(type, "replica") ||
        bytes_is(type, "slave") || bytes_is(type, "pubsub"))
        return true;
    reply_errorf(c->reply, "ERR Unknown client type '%.*s'", (int)(type.len < 64 ? type.len : 64),
                 (const char *)type.data);
    return false;
}

static bool parse_list(struct call *c, struct filter *f)
{
    if (c->argc == 2) return true;
    if (c->argc == 4 && bytes_is(c->argv[2], "type")) return parse_type(c, c->argv[3], f);
    if (c->argc < 4 || !bytes_is(c->argv[2], "id")) {
        reply_error(c->reply, ERR_SYNTAX);
        return false;
    }
    for (uint32_t i = 3; i < c->argc; i++)
        if (!parse_id(c, i, INT64_MIN, "ERR Invalid client ID", &f->ids[f->ids_count++]))
            return false;
    sort_ids(f);
    return true;
}

static void run_list(struct call *c)
{
    struct filter *f = filter_new(c);
    if (parse_list(c, f))
        worker_everywhere(c, list_part, list_join, f);
    else
        filter_free(f);
}

static void copy_name(char to[static 64], struct bytes from)
{
    size_t len = from.len < 63 ? from.len : 63;
    memcpy(to, from.data, len);
    to[len] = 0;
}

static bool parse_kill_option(struct call *c, uint32_t i, struct filter *f)
{
    struct bytes option = c->argv[i], value = c->argv[i + 1];
    if (bytes_is(option, "id")) {
        return parse_id(c, i + 1, 1, "ERR client-id should be greater than 0",
                        &f->ids[f->ids_count++]);
    }
    if (bytes_is(option, "type")) return parse_type(c, value, f);
    if (bytes_is(option, "addr")) {
        f->by_addr = true;
        copy_name(f->addr, value);
    } else if (bytes_is(option, "laddr")) {
        f->by_laddr = true;
        copy_name(f->laddr, value);
    } else if (bytes_is(option, "user")) {
        if (!bytes_equal(value, BYTES_LIT("default"))) {
            reply_errorf(c->reply, "ERR No such user '%.*s'",
                         (int)(value.len < 64 ? value.len : 64), (const char *)value.data);
            return false;
        }
    } else if (bytes_is(option, "skipme") && (bytes_is(value, "yes") || bytes_is(value, "no"))) {
        f->skip_me = bytes_is(value, "yes");
    } else if (bytes_is(option, "maxage")) {
        if (!num_parse_i64(value, &f->max_age_s) || f->max_age_s <= 0) {
            reply_error(c->reply, "ERR maxage is not an integer or out of range");
            return false;
        }
    } else {
        reply_error(c->reply, ERR_SYNTAX);
        return false;
    }
    return true;
}

static bool parse_kill(struct call *c, struct filter *f)
{
    f->me = call_conn(c)->id;
    if (c->argc == 3) { /* old form: the address alone, itself included */
        f->by_addr = f->kill_one = true;
        copy_name(f->addr, c->argv[2]);
        return true;
    }
    f->skip_me = true;
    if (c->argc % 2 != 0) {
        reply_error(c->reply, ERR_SYNTAX);
        return false;
    }
    for (uint32_t i = 2; i < c->argc; i += 2)
        if (!parse_kill_option(c, i, f)) return false;
    sort_ids(f);
    return true;
}

static void run_kill(struct call *c)
{
    struct filter *f = filter_new(c);
    if (parse_kill(c, f))
        worker_everywhere(c, kill_part, kill_join, f);
    else
        filter_free(f);
}

/* ---- CLIENT UNBLOCK */

struct unblock {
    uint64_t id;
    bool by_error;
    bool done;
};

static void unblock_one(struct conn *c, void *ctx)
{
    static const char error[] = "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";
    struct unblock *u = ctx;
    if (c->id != u->id) return;
    struct buf text;
    buf_init(&text, MEM_REPLY);
    struct reply reply = {.out = &text, .proto = c->session.proto};
    if (u->by_error)
        buf_add(&text, error, sizeof error - 1);
    else
        reply_null_array(&reply);
    u->done = block__let_go(c, buf_bytes(&text));
    if (u->done && u->by_error) core_count_error(&c->worker->core, text.data, text.len);
    buf_free(&text);
}

static void unblock_part(struct worker *w, void *arg, struct buf *out)
{
    struct unblock mine = *(const struct unblock *)arg;
    worker_each_conn(w, unblock_one, &mine);
    if (mine.done) buf_add_byte(out, 1);
}

static void unblock_join(struct call *c, void *arg, const struct bytes *parts, uint32_t count)
{
    int64_t unblocked = 0;
    for (uint32_t i = 0; i < count; i++)
        unblocked += (int64_t)parts[i].len;
    reply_i64(c->reply, unblocked);
    mem_free(MEM_EXEC, arg, sizeof(struct unblock));
}

static void run_unblock(struct call *c)
{
    struct unblock u = {.by_error = c->argc == 4 && bytes_is(c->argv[3], "error")};
    int64_t id;
    if (c->argc > 4) {
        reply_errorf(c->reply,
                     "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try CLIENT "
                     "HELP.",
                     (int)c->argv[1].len, (const char *)c->argv[1].data);
    } else if (c->argc == 4 && !u.by_error && !bytes_is(c->argv[3], "timeout")) {
        reply_error(c->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    } else if (!num_parse_i64(c->argv[2], &id)) {
        reply_error(c->reply, ERR_NOT_INT);
    } else {
        struct unblock *arg = mem_alloc(MEM_EXEC, sizeof *arg);
        u.id = (uint64_t)id;
        *arg = u;
        worker_everywhere(c, unblock_part, unblock_join, arg);
    }
}

static void run_help(struct call *c)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0), LADDR (<ip:port>|<unixsocket>:0)",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER <username>, SKIPME (YES|NO), ID "
        "<client-id>, MAXAGE <seconds>",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB), ID <client-id> [<client-id> ...]",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "SETINFO <option> <value>",
        "    Set client meta attr. Options are: LIB-NAME, LIB-VER.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Will not touch LRU/LFU stats when this mode is on.",
        "HELP",
        "    Print this help.",
    };
    reply_text_lines(c->reply, lines, COUNT_OF(lines));
}

#define CONN_FLAGS (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define CONN_ROW .acl = ACL_CONNECTION, .group = "connection", .complexity = "O(1)"

// clang-format off
static const struct cmd_spec client_subs[] = {
    {.name = "GETNAME", .run_conn = run_getname, .arity = 2, .flags = CONN_FLAGS, CONN_ROW, .since = "2.6.9", .summary = "Returns the name of the connection.", .syntax = ""},
    {.name = "HELP", .run_conn = run_help, .arity = 2, .flags = CMD_LOADING | CMD_STALE, CONN_ROW, .since = "5.0.0", .summary = "Returns helpful text about the subcommands.", .syntax = ""},
    {.name = "ID", .run_conn = run_id, .arity = 2, .flags = CONN_FLAGS, CONN_ROW, .since = "5.0.0", .summary = "Returns the number of the connection, unique in the process.", .syntax = ""},
    {.name = "INFO", .run_conn = run_info, .arity = 2, .flags = CONN_FLAGS, CONN_ROW, .since = "6.2.0", .summary = "Returns facts about the connection.", .syntax = "", .tips = "nondeterministic_output"},
    {.name = "KILL", .run_conn = run_kill, .arity = -3, .flags = CMD_ADMIN | CONN_FLAGS, .acl = ACL_CONNECTION | ACL_ADMIN | ACL_DANGEROUS, .group = "connection", .complexity = "O(N), N the number of connections", .since = "2.4.0", .summary = "Closes connections.",
     .syntax = "<old-format | <filter [filter ...]>>"},
    {.name = "LIST", .run_conn = run_list, .arity = -2, .flags = CMD_ADMIN | CONN_FLAGS, .acl = ACL_CONNECTION | ACL_ADMIN | ACL_DANGEROUS, .group = "connection", .complexity = "O(N), N the number of connections", .since = "2.4.0", .summary = "Lists the connections.",
     .syntax = "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]", .tips = "nondeterministic_output"},
    {.name = "NO-EVICT", .run_conn = run_no_evict, .arity = 3, .flags = CMD_ADMIN | CONN_FLAGS, .acl = ACL_CONNECTION | ACL_ADMIN | ACL_DANGEROUS, .group = "connection", .complexity = "O(1)", .since = "7.0.0", .summary = "Protects the connection from being closed for its memory.", .syntax = "<ON | OFF>"},
    {.name = "NO-TOUCH", .run_conn = run_no_touch, .arity = 3, .flags = CONN_FLAGS, CONN_ROW, .since = "7.2.0", .summary = "Keeps the connection's reads from touching the age of keys.", .syntax = "<ON | OFF>"},
    {.name = "REPLY", .run_conn = run_reply, .arity = 3, .flags = CONN_FLAGS, CONN_ROW, .since = "3.2.0", .summary = "Tells the server whether to reply.", .syntax = "<ON | OFF | SKIP>"},
    {.name = "SETINFO", .run_conn = run_setinfo, .arity = 4, .flags = CONN_FLAGS, CONN_ROW, .since = "7.2.0", .summary = "Says which client library is at work.", .syntax = "<LIB-NAME libname | LIB-VER libver>"},
    {.name = "SETNAME", .run_conn = run_setname, .arity = 3, .flags = CONN_FLAGS, CONN_ROW, .since = "2.6.9", .summary = "Names the connection.", .syntax = "connection-name"},
    {.name = "UNBLOCK", .run_conn = run_unblock, .arity = -3, .flags = CMD_ADMIN | CONN_FLAGS, .acl = ACL_CONNECTION | ACL_ADMIN | ACL_DANGEROUS, .group = "connection", .complexity = "O(N), N the number of connections", .since = "5.0.0", .summary = "Ends the waiting of another connection.", .syntax = "client-id [TIMEOUT | ERROR]"},
};
static const struct cmd_spec rows[] = {
    {.name = "AUTH", .run_conn = run_auth, .arity = -2, .flags = CONN_FLAGS | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY, CONN_ROW, .since = "1.0.0", .summary = "Authenticates the connection.", .syntax = "[username] password"},
    {.name = "CLIENT", .arity = -2, .group = "connection", .since = "2.4.0", .complexity = "Depends on subcommand.", .summary = "A container for commands about connections.", .syntax = "", .subs = client_subs, .subs_count = COUNT_OF(client_subs)},
    {.name = "ECHO", .run_conn = run_echo, .arity = 2, .flags = CMD_LOADING | CMD_STALE | CMD_FAST, CONN_ROW, .since = "1.0.0", .summary = "Returns its argument.", .syntax = "message"},
    {.name = "HELLO", .run_conn = run_hello, .arity = -1, .flags = CONN_FLAGS | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY, CONN_ROW, .since = "6.0.0", .summary = "Greets the server: protocol version, authentication, name.", .syntax = "[protover [AUTH username password] [SETNAME clientname]]"},
    {.name = "PING", .run_conn = run_ping, .arity = -1, .flags = CMD_FAST, CONN_ROW, .since = "1.0.0", .summary = "Returns PONG, or its argument.", .syntax = "[message]", .tips = "request_policy:all_shards response_policy:all_succeeded"},
    {.name = "QUIT", .run_conn = run_quit, .arity = -1, .flags = CONN_FLAGS | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY | CMD_AT_ONCE, CONN_ROW, .since = "1.0.0", .summary = "Closes the connection.", .syntax = ""},
    {.name = "RESET", .run_conn = run_reset, .arity = 1, .flags = CONN_FLAGS | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY | CMD_AT_ONCE, CONN_ROW, .since = "6.2.0", .summary = "Puts the connection back into its first state.", .syntax = ""},
    {.name = "SELECT", .run_conn = run_select, .arity = 2, .flags = CMD_LOADING | CMD_STALE | CMD_FAST, CONN_ROW, .since = "1.0.0", .summary = "Changes the database of the connection.", .syntax = "index"},
};
// clang-format on

const struct cmd_table client_cmds = {.rows = rows, .count = COUNT_OF(rows)};
