/* tests/proc/proc_raft.c: one member of a control log as a process: the loop of a node's ctl thread with the
 * topology behind it and the real bus, told what to do by lines on stdin. The end of stdin ends it.
 *
 *   proc_raft --dir D --cluster HEX --id N --members N=NODE@IP:PORT,… --bind IP --port P [--io epoll|uring]
 *
 * Lines are "tag word …", answers "tag …" on stdout, in any order:
 *   init                 the cluster's first entry          → applied | refused WHY | unknown WHY
 *   put NAME VALUE       a setting that must not be there   → the same
 *   burst COUNT FLIGHT   rounds of FLIGHT settings at once  → done ENTRIES MICROSECONDS P50 P99 (of a round)
 *   status               → one line of JSON
 *   list                 → the names of all settings, by commas */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/loop.h"
#include "shard/base/log.h"
#include "shard/base/num.h"
#include "shard/rt/tls.h"

#define LINE_BYTES 4096
#define FLIGHT_MAX 200u
#define ROUNDS_MAX 20000u

static struct loop *loop;

/* ---- answers; on the loop's thread only */

static void answer_result(const char *tag, const struct ctl_result *r)
{
    static const char *const words[] = {
        [CTL_APPLIED] = "applied", [CTL_REFUSED] = "refused", [CTL_UNKNOWN] = "unknown"};
    printf("%s %s %s\n", tag, words[r->outcome], r->text);
}

struct change {
    struct ctl_call call;
    char tag[32];
};

static void change_done(struct ctl_call *call, const struct ctl_result *result)
{
    struct change *c = container_of(call, struct change, call);
    answer_result(c->tag, result);
    free(c);
}

static void propose(const char *tag, uint32_t type, const void *body)
{
    struct change *c = calloc(1, sizeof *c);
    const char *why = NULL;
    (void)snprintf(c->tag, sizeof c->tag, "%s", tag);
    c->call.done = change_done;
    if (ctl_propose(loop_ctl(loop), &c->call, type, body, &why)) return;
    printf("%s unknown %s\n", tag, why);
    free(c);
}

/* --cluster: what the bus says until the topology knows, and so what the topology must say. */
static struct topo_cluster_id cluster_id;

static void run_init(const char *tag)
{
    struct topo_cluster_init init = {.cluster_id = cluster_id, .level = TOPOLOGY_LEVEL};
    propose(tag, TOPO_CLUSTER_INIT, &init);
}

static void run_put(const char *tag, const char *name, const char *value)
{
    struct topo_item_put put = {
        .name = bytes_of(name), .value = bytes_of(value), .expect = true, .expect_version = 0};
    propose(tag, TOPO_CONFIG_SET, &put);
}

/* ---- a burst */

static struct burst {
    char tag[32];
    struct ctl_call call[FLIGHT_MAX];
    uint32_t flight, open, rounds, round;
    uint64_t began_us, round_us;
    uint64_t took_us[ROUNDS_MAX];
    bool running, failed;
} burst;

static uint64_t now_us(void)
{
    return clock_mono_ns(&clock_real) / 1000;
}

static int rising(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void burst_ends(void)
{
    uint64_t took = now_us() - burst.began_us;
    burst.running = false;
    qsort(burst.took_us, burst.round, sizeof burst.took_us[0], rising);
    if (burst.failed || burst.round == 0)
        printf("%s unknown a change of the burst was not applied\n", burst.tag);
    else
        printf("%s done %llu %llu %llu %llu\n", burst.tag,
               (unsigned long long)burst.round * burst.flight, (unsigned long long)took,
               (unsigned long long)burst.took_us[burst.round / 2],
               (unsigned long long)burst.took_us[burst.round * 99 / 100]);
}

static void burst_call_done(struct ctl_call *call, const struct ctl_result *result)
{
    (void)call;
    if (result->outcome != CTL_APPLIED) burst.failed = true;
    if (--burst.open > 0) return;
    burst.took_us[burst.round++] = now_us() - burst.round_us;
}

/* Not from a callback: a round begins when the one before was told whole. */
static void burst_round(void)
{
    char name[32];
    burst.round_us = now_us();
    for (uint32_t i = 0; i < burst.flight && !burst.failed; i++) {
        const char *why = NULL;
        (void)snprintf(name, sizeof name, "burst-%u", i);
        struct topo_item_put put = {.name = bytes_of(name),
                                    .value = bytes_of("a value of some bytes")};
        burst.call[i].done = burst_call_done;
        burst.open++;
        if (ctl_propose(loop_ctl(loop), &burst.call[i], TOPO_CONFIG_SET, &put, &why)) continue;
        burst.open--;
        burst.failed = true;
    }
    ctl_run(loop_ctl(loop));
}

static void on_turn(void *ctx, struct loop *l)
{
    (void)ctx;
    (void)l;
    if (!burst.running || burst.open > 0) return;
    if (burst.failed || burst.round == burst.rounds)
        burst_ends();
    else
        burst_round();
}

static void run_burst(const char *tag, uint64_t count, uint64_t flight)
{
    if (burst.running || flight == 0 || flight > FLIGHT_MAX || count / flight > ROUNDS_MAX) {
        printf("%s unknown no such burst\n", tag);
        return;
    }
    memset(&burst, 0, sizeof burst);
    (void)snprintf(burst.tag, sizeof burst.tag, "%s", tag);
    burst.flight = (uint32_t)flight;
    burst.rounds = (uint32_t)(count / flight);
    burst.running = true;
    burst.began_us = now_us();
}

/* ---- reading */

static void run_status(const char *tag)
{
    struct rl_status s;
    uint64_t hash = 0;
    const struct topology *t = ctl_topology(loop_ctl(loop));
    ctl_status(loop_ctl(loop), &s);
    enum rc rc = topology_hash(t, &hash);
    printf("%s {\"state\": \"%s\", \"ready\": %s, \"id\": %llu, \"leader\": %llu, \"term\": %llu, "
           "\"commit\": %llu, \"applied\": %llu, \"snapshot\": %llu, \"installed\": %llu, "
           "\"version\": %llu, \"hash\": \"%016llx\", \"failure\": \"%s\"}\n",
           tag, rl_state_name(s.state), s.ready ? "true" : "false", (unsigned long long)s.id,
           (unsigned long long)s.leader, (unsigned long long)s.term,
           (unsigned long long)s.commit_index, (unsigned long long)s.applied_index,
           (unsigned long long)s.snapshot_index, (unsigned long long)s.snapshots_installed,
           (unsigned long long)topology_version(t), (unsigned long long)(rc == RC_OK ? hash : 0),
           s.failure != NULL ? s.failure : "");
}

static void run_list(const char *tag)
{
    const struct topology *t = ctl_topology(loop_ctl(loop));
    printf("%s ", tag);
    for (uint32_t i = 0; i < topology_items(t); i++) {
        struct bytes name = topology_item_at(t, i)->name;
        printf("%s%.*s", i > 0 ? "," : "", (int)name.len, (const char *)name.data);
    }
    printf("\n");
}

/* ---- lines */

struct line {
    struct loop_post post;
    char text[LINE_BYTES];
};

static void run_line(struct loop_post *post, struct loop *l)
{
    struct line *line = container_of(post, struct line, post);
    (void)l;
    char *rest = line->text, *word[4] = {NULL};
    for (uint32_t i = 0; i < 4; i++)
        word[i] = strsep(&rest, " \n");
    uint64_t a = 0, b = 0;
    const char *verb = word[1] != NULL ? word[1] : "";
    if (strcmp(verb, "init") == 0)
        run_init(word[0]);
    else if (strcmp(verb, "put") == 0 && word[3] != NULL)
        run_put(word[0], word[2], word[3]);
    else if (strcmp(verb, "burst") == 0 && word[3] != NULL &&
             num_parse_u64(bytes_of(word[2]), &a) && num_parse_u64(bytes_of(word[3]), &b))
        run_burst(word[0], a, b);
    else if (strcmp(verb, "status") == 0)
        run_status(word[0]);
    else if (strcmp(verb, "list") == 0)
        run_list(word[0]);
    else
        printf("%s unknown what is that\n", word[0]);
    free(line);
}

static void *read_lines(void *arg)
{
    (void)arg;
    for (;;) {
        struct line *line = calloc(1, sizeof *line);
        if (fgets(line->text, sizeof line->text, stdin) == NULL) {
            free(line);
            loop_stop(loop);
            return NULL;
        }
        line->post.run = run_line;
        loop_post(loop, &line->post);
    }
}

/* ---- start */

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "proc_raft: %s %s\n", what, why);
    exit(1);
}

static bool parse_members(char *text, struct rl_members *out)
{
    char *rest = text, *one;
    while ((one = strsep(&rest, ",")) != NULL) {
        char *address = strchr(one, '=');
        if (address == NULL || out->count == RAFT_MEMBERS_MAX) return false;
        *address++ = '\0';
        struct rl_member *m = &out->at[out->count++];
        m->role = RL_VOTER;
        if (!num_parse_u64(bytes_of(one), &m->id)) return false;
        (void)snprintf(m->address, sizeof m->address, "%s", address);
    }
    return out->count > 0;
}

static bool find_node(const struct rl_members *members, uint64_t id, struct topo_id *out)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (members->at[i].id == id)
            return topo_id_parse(bytes_view(members->at[i].address, 2 * TOPO_ID_BYTES), out);
    return false;
}

int main(int argc, char **argv)
{
    static struct rl_members members;
    static const char *binds[1] = {"127.0.0.1"};
    static char announce[64];
    struct loop_opts o = {.io = IO_AUTO, .members = &members, .on_turn = on_turn};
    struct topo_id cluster = {{0}};
    struct tls_files tls = {0};
    uint64_t port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        char *value = argv[i + 1];
        bool good = true;
        if (strcmp(argv[i], "--dir") == 0)
            o.ctl.dir = value;
        else if (strcmp(argv[i], "--id") == 0)
            good = num_parse_u64(bytes_of(value), &o.id);
        else if (strcmp(argv[i], "--cluster") == 0)
            good = topo_id_parse(bytes_of(value), &cluster);
        else if (strcmp(argv[i], "--members") == 0)
            good = parse_members(value, &members);
        else if (strcmp(argv[i], "--bind") == 0)
            binds[0] = value;
        else if (strcmp(argv[i], "--port") == 0)
            good = num_parse_u64(bytes_of(value), &port) && port < 65536;
        else if (strcmp(argv[i], "--io") == 0)
            o.io = strcmp(value, "epoll") == 0 ? IO_EPOLL : IO_URING;
        else if (strcmp(argv[i], "--tls-cert-file") == 0)
            tls.cert = value;
        else if (strcmp(argv[i], "--tls-key-file") == 0)
            tls.key = value;
        else if (strcmp(argv[i], "--tls-ca-cert-file") == 0)
            tls.ca_file = value;
        else
            good = false;
        if (!good) die(argv[i], value);
    }
    if (o.ctl.dir == NULL || !find_node(&members, o.id, &o.ctl.new_node)) die("lacks", "arguments");
    memcpy(cluster_id.bytes, cluster.bytes, sizeof cluster_id.bytes);
    o.ctl.new_cluster = cluster_id;
    (void)snprintf(announce, sizeof announce, "%s:%u", binds[0], (unsigned)port);
    o.ctl.clock = &clock_real;
    o.ctl.patience_ms =
        60000; /* tests count what is never answered as lost time, not as an error */
    o.bus = (struct bus_opts){.binds = binds,
                              .binds_count = 1,
                              .port = (uint16_t)port,
                              .announce = announce,
                              .plain_anywhere = true};
    char why[768] = "";
    pthread_t reader;
    if (tls.cert != NULL && tls_context_new(&tls, &o.bus.tls, why, sizeof why) != RC_OK)
        die("cannot start:", why);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of the size of files is a full disk */
    (void)setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    if (loop_open(&o, &loop, why, sizeof why) != RC_OK) die("cannot start:", why);
    printf("ready\n");
    if (pthread_create(&reader, NULL, read_lines, NULL) != 0) die("no", "thread");
    loop_run(loop);
    (void)pthread_join(reader, NULL);
    loop_close(loop);
    tls_context_free(o.bus.tls);
    return 0;
}
