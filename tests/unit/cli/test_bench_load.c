/* The generator against a server of a few lines on a Unix socket: exact counts, errors and nulls,
 * replies cut anywhere, open loop, a server that goes away or never answers to a password. */
#include "cli/bench_load.h"
#include "shard/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX 16u

/* Answers each request_bytes of input with one reply, cut into pieces of cut_bytes. */
struct server {
    char path[64];
    int listener;
    pthread_t thread;
    atomic_bool stop;
    const char *reply; /* to every request */
    const char
        *auth_reply; /* to the first request of a connection; NULL: no password is expected */
    size_t auth_bytes, request_bytes, cut_bytes;
    uint64_t close_after; /* requests over all connections; 0: never */
    atomic_uint_fast64_t requests;
};
struct client {
    int fd;
    size_t pending;
    bool knows_password;
};

static void write_cut(const struct server *s, int fd, const char *text)
{
    size_t len = strlen(text);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < s->cut_bytes ? len - at : s->cut_bytes;
        ssize_t put = write(fd, text + at, n);
        if (put <= 0) return; /* the generator has closed */
        at += (size_t)put;
    }
}

/* False: the connection is over. */
static bool serve(struct server *s, struct client *c)
{
    char in[4096];
    ssize_t n = read(c->fd, in, sizeof in);
    if (n <= 0) return false;
    c->pending += (size_t)n;
    if (s->auth_reply != NULL && !c->knows_password && c->pending >= s->auth_bytes) {
        c->pending -= s->auth_bytes;
        c->knows_password = true;
        write_cut(s, c->fd, s->auth_reply);
    }
    while (c->pending >= s->request_bytes && (s->auth_reply == NULL || c->knows_password)) {
        if (s->close_after != 0 && atomic_load(&s->requests) >= s->close_after) return false;
        c->pending -= s->request_bytes;
        atomic_fetch_add(&s->requests, 1);
        if (s->reply != NULL) write_cut(s, c->fd, s->reply);
    }
    return true;
}

static void *server_main(void *arg)
{
    struct server *s = arg;
    struct pollfd polled[CLIENTS_MAX + 1] = {{.fd = s->listener, .events = POLLIN}};
    struct client clients[CLIENTS_MAX + 1] = {{.fd = -1}};
    nfds_t count = 1;
    while (!atomic_load(&s->stop)) {
        if (poll(polled, count, 10) <= 0) continue;
        for (nfds_t i = count - 1; i > 0; i--) {
            if (polled[i].revents == 0 || serve(s, &clients[i])) continue;
            close(clients[i].fd);
            count--;
            clients[i] = clients[count];
            polled[i] = polled[count];
        }
        if ((polled[0].revents & POLLIN) != 0 && count <= CLIENTS_MAX) {
            clients[count] = (struct client){.fd = accept(s->listener, NULL, NULL)};
            polled[count] = (struct pollfd){.fd = clients[count].fd, .events = POLLIN};
            count++;
        }
    }
    for (nfds_t i = 1; i < count; i++)
        close(clients[i].fd);
    return NULL;
}

static void server_start(struct server *s)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (s->cut_bytes == 0) s->cut_bytes = SIZE_MAX;
    snprintf(s->path, sizeof s->path, "/tmp/moon-test-bench-%d", (int)getpid());
    unlink(s->path);
    memcpy(at.sun_path, s->path, strlen(s->path) + 1);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 64), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_stop(struct server *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
}

static enum cli_exit run(struct server *s, struct bench_plan *plan, struct bench_result *out)
{
    static const char *const words[] = {"GET", "__key__"};
    static const struct bench_shape shape = {
        .range = 1000, .key_bytes = 16, .value_bytes = 1, .seed = 1};
    struct bench_request request;
    const char *why = NULL;
    assert_true(bench_request_build(&request, &shape, words, 2, &why));
    s->request_bytes = request.wire.len;
    server_start(s);
    plan->request = &request;
    plan->target.path = s->path;
    plan->cpu = -1;
    enum cli_exit code = bench_load_run(plan, out);
    server_stop(s);
    bench_request_free(&request);
    return code;
}

static const enum io_kind backends[] = {IO_AUTO, IO_EPOLL};

static void test_a_number_of_requests_is_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        struct server s = {.reply = "$3\r\nabc\r\n"};
        struct bench_plan plan = {
            .io = backends[i], .conns = 7, .pipeline = 16, .threads = 1, .requests = 1003};
        struct bench_result r;
        assert_int_equal(run(&s, &plan, &r), CLI_OK);
        assert_int_equal(r.requests, 1003);
        assert_int_equal(r.latency.count, 1003);
        assert_int_equal(atomic_load(&s.requests), 1003);
        assert_int_equal(r.errors, 0);
        assert_int_equal(r.nulls, 0);
        assert_true(r.wall_ns > 0);
    }
}

static void test_threads_share_the_requests(void **state)
{
    struct server s = {.reply = ":1\r\n"};
    struct bench_plan plan = {.conns = 5, .pipeline = 3, .threads = 3, .requests = 500};
    struct bench_result r;
    (void)state;
    assert_int_equal(run(&s, &plan, &r), CLI_OK);
    assert_int_equal(r.requests, 500);
    assert_int_equal(atomic_load(&s.requests), 500);
}

static void test_replies_may_be_cut_anywhere(void **state)
{
    (void)state;
    for (size_t cut = 1; cut <= 7; cut += 3) {
        struct server s = {.reply = "*2\r\n$2\r\nxy\r\n:12\r\n", .cut_bytes = cut};
        struct bench_plan plan = {.conns = 2, .pipeline = 5, .threads = 1, .requests = 100};
        struct bench_result r;
        assert_int_equal(run(&s, &plan, &r), CLI_OK);
        assert_int_equal(r.requests, 100);
    }
}

static void test_errors_and_nulls_are_counted(void **state)
{
    struct server s = {.reply = "-ERR no\tgood\r\n"};
    struct server n = {.reply = "$-1\r\n"};
    struct bench_plan plan = {.conns = 2, .pipeline = 2, .threads = 1, .requests = 20};
    struct bench_result r;
    (void)state;
    assert_int_equal(run(&s, &plan, &r), CLI_OK);
    assert_int_equal(r.errors, 20);
    assert_int_equal(r.nulls, 0);
    assert_string_equal(r.first_error, "ERR no?good");
    assert_int_equal(run(&n, &plan, &r), CLI_OK);
    assert_int_equal(r.errors, 0);
    assert_int_equal(r.nulls, 20);
}

/* A batch never goes out before it is due. When the machine lets it go out, or its answer in, later, the latency tells by
 * how much: what is left of the run's time is the schedule's. */
static void test_open_loop_keeps_its_rate(void **state)
{
    const uint64_t interval_ns = 500000, warmup_ns = 50000000, requests = 1200;
    struct server s = {.reply = "+OK\r\n"};
    struct bench_plan plan = {.conns = 4,
                              .pipeline = 2,
                              .threads = 1,
                              .rate = 4000,
                              .requests = requests,
                              .warmup_ns = warmup_ns};
    struct bench_result r;
    (void)state;
    uint64_t begin_ns = clock_mono_ns(&clock_real);
    assert_int_equal(run(&s, &plan, &r), CLI_OK);
    uint64_t took_ns = clock_mono_ns(&clock_real) - begin_ns;
    uint64_t last_due_ns = (atomic_load(&s.requests) / plan.pipeline - 1) * interval_ns;
    assert_int_equal(r.requests, requests);
    assert_true(last_due_ns >= (requests / plan.pipeline - 1) * interval_ns);
    assert_true(took_ns >= last_due_ns);
    assert_true(warmup_ns + r.wall_ns <= last_due_ns + r.latency.max_ns + last_due_ns / 2);
}

static void test_open_loop_counts_from_the_intended_start(void **state)
{
    struct server s = {.reply = "+OK\r\n", .cut_bytes = 1};
    struct bench_plan plan = {
        .conns = 1, .pipeline = 1, .threads = 1, .rate = 1e6, .duration_ns = 200000000};
    struct bench_result r;
    (void)state;
    assert_int_equal(run(&s, &plan, &r), CLI_OK);
    /* No server of one connection answers a million a second: the last ones are late by most of
     * the run, where closed-loop timing would show some microseconds. */
    assert_true(r.latency.max_ns > 100000000);
}

static void test_a_server_that_goes_away_is_a_failure(void **state)
{
    struct server s = {.reply = "+OK\r\n", .close_after = 50};
    struct bench_plan plan = {.conns = 3, .pipeline = 4, .threads = 2, .requests = 100000};
    struct bench_result r;
    (void)state;
    assert_int_equal(run(&s, &plan, &r), CLI_FAILED);
}

static void test_garbage_is_a_failure(void **state)
{
    struct server s = {.reply = "hello\r\n"};
    struct server twice = {.reply = "+OK\r\n+OK\r\n"};
    struct bench_plan plan = {.conns = 1, .pipeline = 1, .threads = 1, .requests = 100};
    struct bench_result r;
    (void)state;
    assert_int_equal(run(&s, &plan, &r), CLI_FAILED);
    assert_int_equal(run(&twice, &plan, &r), CLI_FAILED);
}

static void test_password_comes_first(void **state)
{
    struct server s = {.reply = "+OK\r\n",
                       .auth_reply = "+OK\r\n",
                       .auth_bytes = strlen("*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$3\r\na:b\r\n")};
    struct server refused = {.reply = "+OK\r\n",
                             .auth_reply = "-WRONGPASS no\r\n",
                             .auth_bytes = strlen("*2\r\n$4\r\nAUTH\r\n$2\r\nab\r\n")};
    struct bench_plan plan = {
        .conns = 3, .pipeline = 2, .threads = 1, .requests = 100, .target.auth = "me:a:b"};
    struct bench_result r;
    (void)state;
    assert_int_equal(run(&s, &plan, &r), CLI_OK);
    assert_int_equal(atomic_load(&s.requests), 100);
    plan.target.auth = "ab";
    assert_int_equal(run(&refused, &plan, &r), CLI_AUTH);
    assert_int_equal(atomic_load(&refused.requests), 0);
}

static void test_nobody_listens(void **state)
{
    static const char *const words[] = {"PING"};
    static const struct bench_shape shape = {.range = 1, .key_bytes = 16};
    struct bench_plan plan = {.conns = 3,
                              .pipeline = 1,
                              .threads = 3,
                              .requests = 1,
                              .cpu = -1,
                              .target.path = "/tmp/moon-test-nobody"};
    struct bench_request request;
    struct bench_result r;
    const char *why = NULL;
    (void)state;
    assert_true(bench_request_build(&request, &shape, words, 1, &why));
    plan.request = &request;
    assert_int_equal(bench_load_run(&plan, &r), CLI_FAILED);
    plan.server_pid = INT32_MAX; /* above any pid_max */
    assert_int_equal(bench_load_run(&plan, &r), CLI_NOT_FOUND);
    bench_request_free(&request);
}

static void test_own_process_as_server(void **state)
{
    struct server s = {.reply = "+OK\r\n"};
    struct bench_plan plan = {
        .conns = 3, .pipeline = 4, .threads = 1, .requests = 20000, .server_pid = getpid()};
    struct bench_result r;
    (void)state;
    assert_int_equal(run(&s, &plan, &r), CLI_OK);
    assert_true(r.server_known);
    assert_true(r.server_cpu_ns > 0);
    assert_in_range(r.server_requests, 19000, 20000);
    assert_true(r.server_rss_after > 1 << 20);
    assert_true(r.generator_share > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_number_of_requests_is_exact),
        cmocka_unit_test(test_threads_share_the_requests),
        cmocka_unit_test(test_replies_may_be_cut_anywhere),
        cmocka_unit_test(test_errors_and_nulls_are_counted),
        cmocka_unit_test(test_open_loop_keeps_its_rate),
        cmocka_unit_test(test_open_loop_counts_from_the_intended_start),
        cmocka_unit_test(test_a_server_that_goes_away_is_a_failure),
        cmocka_unit_test(test_garbage_is_a_failure),
        cmocka_unit_test(test_password_comes_first),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_own_process_as_server),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
