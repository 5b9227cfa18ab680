/* moonctl raft status: how the control log of a node does, as the node's CLUSTER INFO has it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/connect.h"
#include "shard/base/buf.h"
#include "shard/resp/value.h"

#define USAGE "moonctl raft status [OPTION…]"
#define NEXT_USAGE "`moonctl raft --help` shows the form."
#define WAIT_MS 5000
#define REPLY_BYTES_MAX (64u << 10)

static const char epilogue[] =
    "The log is this node's part of the cluster's control log: who owns which slot, members, "
    "settings.\n"
    "Exit 10: it has stopped, or nobody leads. Exit 5: the node is not in cluster mode.\n"
    "A password is read from MOONCTL_AUTH ([user:]password).\n"
    "\nexamples:\n"
    "  moonctl raft status\n"
    "  moonctl raft status -h 10.0.0.5 -p 7000\n"
    "  moonctl raft status -o json\n";

struct raft_args {
    const char *host, *socket, *action;
    uint32_t port, output;
};

/* What is shown: a field of CLUSTER INFO, its name for people, and whether it is a number. */
static const struct {
    const char *field, *title, *key;
    bool number;
} rows[] = {
    {"cluster_raft_role", "role", "role", false},
    {"cluster_raft_leader", "leader", "leader", false},
    {"cluster_raft_term", "term", "term", true},
    {"cluster_raft_members", "members", "members", true},
    {"cluster_raft_commit_index", "committed", "commit_index", true},
    {"cluster_raft_applied_index", "applied", "applied_index", true},
    {"cluster_raft_snapshot_index", "snapshot at", "snapshot_index", true},
    {"cluster_meta_version", "state's version", "meta_version", true},
    {"cluster_raft_failure", "failure", "failure", false},
};

static enum cli_exit parse(struct raft_args *r, int argc, char **argv, bool *helped)
{
    static const char *const outputs[] = {"table", "json", NULL};
    const struct args_option options[] = {
        {.letter = 'h',
         .name = "host",
         .kind = ARGS_TEXT,
         .target = &r->host,
         .help = "of the node (127.0.0.1)"},
        {.letter = 'p',
         .name = "port",
         .kind = ARGS_U32,
         .target = &r->port,
         .min = 1,
         .max = 65535,
         .help = "of the node (6379)"},
        {.letter = 's',
         .name = "socket",
         .kind = ARGS_TEXT,
         .target = &r->socket,
         .help = "Unix socket instead of host and port"},
        {.letter = 'o',
         .name = "output",
         .kind = ARGS_CHOICE,
         .target = &r->output,
         .choices = outputs,
         .help = "table or json"},
    };
    struct args args = {.usage = USAGE,
                        .epilogue = epilogue,
                        .options = options,
                        .options_count = COUNT_OF(options)};
    for (;;) {
        enum args_result result = args_parse(&args, argc, argv);
        *helped = result == ARGS_HELPED;
        if (result != ARGS_DONE) return *helped ? CLI_OK : CLI_USAGE;
        if (args.rest_count == 0) break;
        if (r->action != NULL)
            return cli_fail(CLI_USAGE, NEXT_USAGE, "raft: one word too many: \"%.64s\"",
                            args.rest[0]);
        r->action = args.rest[0];
        argc = (int)args.rest_count; /* the word takes the verb's place */
        argv = args.rest;
    }
    if (r->action == NULL || strcmp(r->action, "status") != 0)
        return cli_fail(CLI_USAGE, NEXT_USAGE, "raft: status is all there is so far");
    return CLI_OK;
}

/* ---- asking */

static void add_word(struct buf *out, struct bytes word)
{
    buf_addf(out, "$%zu\r\n", word.len);
    buf_add_bytes(out, word);
    buf_add(out, "\r\n", 2);
}

/* AUTH, if there is a password, then CLUSTER INFO. Returns the number of replies. */
static uint32_t make_request(struct buf *out)
{
    const char *auth = getenv("MOONCTL_AUTH");
    if (auth != NULL && auth[0] != '\0') {
        const char *colon = strchr(auth, ':');
        buf_addf(out, "*%d\r\n", colon != NULL ? 3 : 2);
        add_word(out, BYTES_LIT("AUTH"));
        if (colon != NULL) add_word(out, bytes_view(auth, (size_t)(colon - auth)));
        add_word(out, bytes_of(colon != NULL ? colon + 1 : auth));
    }
    buf_addf(out, "*2\r\n");
    add_word(out, BYTES_LIT("CLUSTER"));
    add_word(out, BYTES_LIT("INFO"));
    return auth != NULL && auth[0] != '\0' ? 2 : 1;
}

static bool wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    int ready;
    do
        ready = poll(&p, 1, WAIT_MS);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

static bool send_all(int fd, struct bytes b)
{
    while (b.len > 0) {
        ssize_t n = write(fd, b.data, b.len);
        if (n < 0 && errno != EAGAIN) return false;
        if (n > 0) b = bytes_view(b.data + n, b.len - (size_t)n);
        if (b.len > 0 && !wait_for(fd, POLLOUT)) return false;
    }
    return true;
}

/* The last of `replies` replies; any error before it is taken for it. NULL, or what went wrong. */
static const char *read_reply(int fd, uint32_t replies, struct buf *in, struct arena *arena,
                              struct resp_value *out)
{
    size_t at = 0;
    while (in->len < REPLY_BYTES_MAX) {
        if (!wait_for(fd, POLLIN)) return "no answer within 5 seconds";
        ssize_t n = read(fd, buf_room(in, 4096), 4096);
        if (n == 0) return "the node closed the connection";
        if (n < 0 && errno != EAGAIN && errno != EINTR) return strerrordesc_np(errno);
        if (n > 0) in->len += (size_t)n;
        size_t used;
        int got;
        while ((got = resp_value_parse(arena, in->data + at, in->len - at, out, &used)) == 1) {
            at += used;
            if (--replies == 0 || out->type == RESP_ERROR) return NULL;
        }
        if (got < 0) return "that is no Redis server";
    }
    return "its answer is too long";
}

static const char *ask(int fd, struct buf *in, struct arena *arena, struct resp_value *out)
{
    struct buf request;
    buf_init(&request, MEM_CONN);
    uint32_t replies = make_request(&request);
    bool sent = send_all(fd, buf_bytes(&request));
    buf_free(&request);
    return sent ? read_reply(fd, replies, in, arena, out) : "the request cannot be sent";
}

/* ---- showing */

/* "": not there. */
static struct bytes field(struct bytes info, const char *name)
{
    size_t len = strlen(name);
    for (const uint8_t *line = info.data, *end = info.data + info.len; line < end;) {
        const uint8_t *stop = memchr(line, '\r', (size_t)(end - line));
        size_t bytes = (size_t)((stop != NULL ? stop : end) - line);
        if (bytes > len && memcmp(line, name, len) == 0 && line[len] == ':')
            return bytes_view(line + len + 1, bytes - len - 1);
        if (stop == NULL) break;
        line = stop + 2 <= end ? stop + 2 : end;
    }
    return bytes_view("", 0);
}

static void print_json_text(struct bytes text)
{
    putchar('"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_all(struct bytes info, bool json)
{
    if (json) fputs("{\"schema\": \"moonctl.raft.status/1\"", stdout);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bytes value = field(info, rows[i].field);
        if (!json) {
            printf("%-16s %.*s\n", rows[i].title, value.len > 0 ? (int)value.len : 1,
                   value.len > 0 ? (const char *)value.data : "-");
            continue;
        }
        printf(", \"%s\": ", rows[i].key);
        if (rows[i].number)
            printf("%.*s", value.len > 0 ? (int)value.len : 4,
                   value.len > 0 ? (const char *)value.data : "null");
        else
            print_json_text(value);
    }
    if (json) fputs("}\n", stdout);
}

static enum cli_exit show(struct bytes info, bool json)
{
    struct bytes role = field(info, "cluster_raft_role");
    if (role.len == 0)
        return cli_fail(CLI_REFUSED, NULL, "raft: this server has no control log: is it Moon?");
    print_all(info, json);
    bool led = field(info, "cluster_raft_leader").len > 0 || bytes_is(role, "follower");
    bool healthy = field(info, "cluster_raft_failure").len == 0;
    return led && healthy ? CLI_OK : CLI_UNHEALTHY;
}

static enum cli_exit refused(const struct resp_value *v)
{
    if (v->text.len >= 6 &&
        (memcmp(v->text.data, "NOAUTH", 6) == 0 || memcmp(v->text.data, "WRONGP", 6) == 0))
        return cli_fail(CLI_AUTH, "Set MOONCTL_AUTH to [user:]password.", "raft: %.*s",
                        (int)v->text.len, (const char *)v->text.data);
    return cli_fail(CLI_REFUSED, "A node has one with `cluster-enabled yes`.", "raft: %.*s",
                    (int)v->text.len, (const char *)v->text.data);
}

enum cli_exit cli_raft(int argc, char **argv)
{
    struct raft_args r = {.host = "127.0.0.1", .port = 6379};
    bool helped = false;
    const char *why = NULL;
    enum cli_exit code = parse(&r, argc, argv, &helped);
    if (code != CLI_OK || helped) return code;
    int fd = connect_open(r.host, (uint16_t)r.port, r.socket, &why);
    if (fd < 0)
        return cli_fail(CLI_FAILED, "Is the node running? -h, -p and -s say where.",
                        "raft: cannot connect to %s: %s", r.socket != NULL ? r.socket : r.host,
                        why);
    struct buf in;
    struct arena arena;
    struct resp_value value;
    buf_init(&in, MEM_CONN);
    arena_init(&arena);
    why = ask(fd, &in, &arena, &value);
    if (why != NULL)
        code = cli_fail(CLI_FAILED, NULL, "raft: %s", why);
    else
        code = value.type == RESP_ERROR ? refused(&value) : show(value.text, r.output == 1);
    arena_free(&arena);
    buf_free(&in);
    (void)close(fd);
    return code;
}
