/* The io table: the same scenarios over io_uring and over epoll. Where the kernel refuses io_uring
 * its half is skipped, and says so. */
#include "shard/rt/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shard/base/clock.h"
#include "shard/base/mem.h"
#include "shard/rt/sock.h"

#define BUFFERS 64u
#define BUFFER_BYTES 4096u
#define VIEWS_MAX 512

/* A stream under test: collects what it receives, with the views of the last turn kept apart to prove
 * that they stay valid until the next one. */
struct peer {
    struct io_stream s;
    struct io *io;
    bool echo, open;
    uint8_t *got;
    size_t got_len, got_cap;
    uint32_t views, closes, sents, gones;
    const uint8_t *view_at[VIEWS_MAX];
    size_t view_len[VIEWS_MAX];
    int32_t close_err, sent_err;
    uint8_t *sending;
    size_t sending_len, echoed;
};

static struct peer *peer_of(struct io_stream *s)
{
    return container_of(s, struct peer, s);
}

static void peer_on_data(struct io_stream *s, const uint8_t *data, size_t len)
{
    struct peer *p = peer_of(s);
    assert_true(p->open);
    assert_true(len > 0);
    assert_true(len <= BUFFER_BYTES);
    assert_true(p->views < VIEWS_MAX);
    p->view_at[p->views] = data;
    p->view_len[p->views++] = len;
}

static void peer_on_close(struct io_stream *s, int32_t err)
{
    peer_of(s)->closes++;
    peer_of(s)->close_err = err;
}

static void peer_on_sent(struct io_stream *s, int32_t err)
{
    struct peer *p = peer_of(s);
    p->sents++;
    p->sent_err = err;
    mem_free(MEM_TEST, p->sending, p->sending_len);
    p->sending = NULL;
}

static void peer_on_gone(struct io_stream *s)
{
    struct peer *p = peer_of(s);
    p->gones++;
    mem_free(MEM_TEST, p->sending, p->sending_len);
    p->sending = NULL;
}

static const struct io_stream_events peer_events = {.on_data = peer_on_data,
                                                    .on_close = peer_on_close,
                                                    .on_sent = peer_on_sent,
                                                    .on_gone = peer_on_gone};

/* After a turn: takes the views, as a pass would. */
static void peer_pass(struct peer *p)
{
    for (uint32_t i = 0; i < p->views; i++) {
        if (p->got_len + p->view_len[i] > p->got_cap) {
            size_t cap = (p->got_len + p->view_len[i]) * 2;
            p->got = mem_resize(MEM_TEST, p->got, p->got_cap, cap);
            p->got_cap = cap;
        }
        memcpy(p->got + p->got_len, p->view_at[i], p->view_len[i]);
        p->got_len += p->view_len[i];
    }
    p->views = 0;
    if (!p->echo || p->sending != NULL || p->echoed == p->got_len) return;
    p->sending_len = p->got_len - p->echoed;
    p->sending = mem_alloc(MEM_TEST, p->sending_len);
    memcpy(p->sending, p->got + p->echoed, p->sending_len);
    p->echoed = p->got_len;
    io_stream_send(p->io, &p->s, p->sending, p->sending_len);
}

static void peer_open(struct peer *p, struct io *io, int fd, bool echo)
{
    *p = (struct peer){.io = io, .echo = echo, .open = true, .s.events = &peer_events};
    assert_int_equal(io_stream_open(io, &p->s, fd), RC_OK);
}

static void turns_until_gone(struct io *io, struct peer *p)
{
    for (uint32_t i = 0; i < 100 && p->gones == 0; i++)
        io_turn(io, 20000);
    assert_int_equal(p->gones, 1);
}

static void peer_close(struct peer *p)
{
    p->open = false;
    io_stream_close(p->io, &p->s);
    assert_int_equal(p->gones, 0); /* never inside the call */
    turns_until_gone(p->io, p);
    mem_free(MEM_TEST, p->got, p->got_cap);
}

static void pair_open(int fd[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

/* Writes as much of bytes [from, to) of the pattern as the socket takes. */
static size_t push_pattern(int fd, size_t from, size_t to)
{
    uint8_t chunk[8192];
    while (from < to) {
        size_t n = to - from < sizeof chunk ? to - from : sizeof chunk;
        for (size_t i = 0; i < n; i++)
            chunk[i] = pattern(from + i);
        ssize_t sent = send(fd, chunk, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) break;
        from += (size_t)sent;
    }
    return from;
}

static size_t pull_pattern(int fd, size_t at, size_t max)
{
    uint8_t chunk[8192];
    while (max > 0) {
        ssize_t n = recv(fd, chunk, max < sizeof chunk ? max : sizeof chunk, MSG_DONTWAIT);
        if (n <= 0) break;
        for (ssize_t i = 0; i < n; i++)
            if (chunk[i] != pattern(at + (size_t)i)) fail_msg("byte %zu differs", at + (size_t)i);
        at += (size_t)n;
        max -= (size_t)n;
    }
    return at;
}

/* ---- streams */

static void test_echo_pipelined(void **state)
{
    struct io *io = *state;
    int fd[2];
    struct peer p;
    pair_open(fd);
    peer_open(&p, io, fd[0], true);
    size_t total = 3u << 20, sent = 0, back = 0;
    for (uint32_t i = 0; i < 20000 && back < total; i++) {
        sent = push_pattern(fd[1], sent, total < sent + 100000 ? total : sent + 100000);
        io_turn(io, 1000);
        peer_pass(&p);
        back = pull_pattern(fd[1], back, total);
    }
    assert_int_equal(back, total);
    assert_int_equal(p.closes, 0);
    close(fd[1]);
    for (uint32_t i = 0; i < 100 && p.closes == 0; i++)
        io_turn(io, 10000);
    assert_int_equal(p.closes, 1);
    assert_int_equal(p.close_err, 0);
    peer_close(&p);
    assert_int_equal(p.closes, 1);
}

/* More streams with more data than there are receive buffers: nobody starves, nothing is mixed up. */
static void test_buffers_run_dry(void **state)
{
    enum { STREAMS = 200, EACH = 60000 };
    struct io *io = *state;
    static struct peer p[STREAMS];
    int fd[STREAMS][2];
    size_t sent[STREAMS] = {0};
    for (uint32_t i = 0; i < STREAMS; i++) {
        pair_open(fd[i]);
        peer_open(&p[i], io, fd[i][0], false);
    }
    bool all = false;
    for (uint32_t turn = 0; turn < 5000 && !all; turn++) {
        all = true;
        for (uint32_t i = 0; i < STREAMS; i++)
            sent[i] = push_pattern(fd[i][1], sent[i], EACH);
        io_turn(io, 1000);
        for (uint32_t i = 0; i < STREAMS; i++) {
            peer_pass(&p[i]);
            all = all && p[i].got_len == EACH;
        }
    }
    assert_true(all);
    for (uint32_t i = 0; i < STREAMS; i++) {
        for (size_t at = 0; at < EACH; at++)
            assert_int_equal(p[i].got[at], pattern(at));
        peer_close(&p[i]);
        close(fd[i][1]);
    }
}

static void test_big_send_slow_reader(void **state)
{
    struct io *io = *state;
    int fd[2];
    struct peer p;
    pair_open(fd);
    peer_open(&p, io, fd[0], false);
    size_t total = 9u << 20, back = 0;
    p.sending_len = total;
    p.sending = mem_alloc(MEM_TEST, total);
    for (size_t i = 0; i < total; i++)
        p.sending[i] = pattern(i);
    io_stream_send(io, &p.s, p.sending, total);
    assert_int_equal(p.sents, 0);
    for (uint32_t i = 0; i < 20; i++)
        io_turn(io, 0);
    assert_int_equal(p.sents, 0); /* nobody reads */
    for (uint32_t i = 0; i < 100000 && back < total; i++) {
        back = pull_pattern(fd[1], back, 20000);
        io_turn(io, 0);
    }
    assert_int_equal(back, total);
    for (uint32_t i = 0; i < 10 && p.sents == 0; i++)
        io_turn(io, 10000);
    assert_int_equal(p.sents, 1);
    assert_int_equal(p.sent_err, 0);
    peer_close(&p);
    close(fd[1]);
}

static void test_pause_and_resume(void **state)
{
    struct io *io = *state;
    int fd[2];
    struct peer p;
    pair_open(fd);
    peer_open(&p, io, fd[0], false);
    io_turn(io, 0);
    io_stream_pause(io, &p.s);
    io_turn(io, 0);
    io_turn(io, 0); /* now nothing can be under way */
    size_t sent = push_pattern(fd[1], 0, 50000);
    assert_int_equal(sent, 50000);
    for (uint32_t i = 0; i < 5; i++) {
        io_turn(io, 2000);
        peer_pass(&p);
    }
    assert_int_equal(p.got_len, 0);
    io_stream_resume(io, &p.s);
    io_stream_pause(io, &p.s);
    io_stream_resume(io, &p.s); /* back and forth within one turn */
    for (uint32_t i = 0; i < 200 && p.got_len < sent; i++) {
        io_turn(io, 10000);
        peer_pass(&p);
        io_stream_pause(io, &p.s);
        if (i % 3 == 0) io_turn(io, 0);
        peer_pass(&p);
        io_stream_resume(io, &p.s);
    }
    assert_int_equal(p.got_len, sent);
    for (size_t at = 0; at < sent; at++)
        assert_int_equal(p.got[at], pattern(at));
    peer_close(&p);
    close(fd[1]);
}

/* Closed with a send that cannot finish, data on its way in, and while paused. */
static void test_close_during_send(void **state)
{
    struct io *io = *state;
    for (uint32_t round = 0; round < 60; round++) {
        int fd[2];
        struct peer p;
        pair_open(fd);
        peer_open(&p, io, fd[0], false);
        p.sending_len = 4u << 20;
        p.sending = mem_zalloc(MEM_TEST, p.sending_len);
        io_stream_send(io, &p.s, p.sending, p.sending_len);
        if (round & 1) io_turn(io, 0);
        if (round & 2) (void)push_pattern(fd[1], 0, 30000);
        if (round & 4) io_turn(io, 0);
        if (round & 8) io_stream_pause(io, &p.s);
        if (round & 16) io_turn(io, 0);
        p.views = 0;
        peer_close(&p);
        assert_int_equal(p.sents, 0);
        static uint8_t rest[65536]; /* the other end sees what went out, then the end */
        ssize_t n = 1;
        while (n > 0)
            n = recv(fd[1], rest, sizeof rest, MSG_DONTWAIT);
        assert_true(n == 0 || errno == ECONNRESET);
        close(fd[1]);
    }
}

static void test_send_to_closed_peer(void **state)
{
    struct io *io = *state;
    int fd[2];
    struct peer p;
    pair_open(fd);
    peer_open(&p, io, fd[0], false);
    close(fd[1]);
    p.sending_len = 10;
    p.sending = mem_zalloc(MEM_TEST, 10);
    io_stream_send(io, &p.s, p.sending, 10);
    for (uint32_t i = 0; i < 100 && (p.sents == 0 || p.closes == 0); i++)
        io_turn(io, 10000);
    assert_int_equal(p.sents, 1);
    assert_int_equal(p.sent_err, -EPIPE);
    assert_int_equal(p.closes, 1);
    peer_close(&p);
}

/* ---- listeners */

struct acceptor {
    struct io_listener l;
    struct io *io;
    struct peer *peers;
    uint32_t count, max;
};

static void acceptor_on_accept(struct io_listener *l, int fd)
{
    struct acceptor *a = container_of(l, struct acceptor, l);
    assert_true(a->count < a->max);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    peer_open(&a->peers[a->count++], a->io, fd, true);
}

static uint16_t acceptor_open(struct acceptor *a, struct io *io, struct peer *peers, uint32_t max)
{
    *a = (struct acceptor){.l.on_accept = acceptor_on_accept, .io = io, .peers = peers, .max = max};
    int fd = sock_listen_tcp("127.0.0.1", 0, 1024);
    assert_true(fd >= 0);
    uint16_t port = sock_local_port(fd);
    assert_int_equal(io_listen(io, &a->l, fd), RC_OK);
    return port;
}

static void acceptor_turn(struct acceptor *a, int64_t timeout_us)
{
    io_turn(a->io, timeout_us);
    for (uint32_t i = 0; i < a->count; i++)
        peer_pass(&a->peers[i]);
}

static void test_accept_thousand_and_drop(void **state)
{
    enum { CONNECTIONS = 1000, AT_ONCE = 50 };
    struct io *io = *state;
    static struct peer peers[AT_ONCE];
    struct acceptor a;
    uint16_t port = acceptor_open(&a, io, peers, AT_ONCE);
    for (uint32_t done = 0; done < CONNECTIONS; done += AT_ONCE) {
        int fd[AT_ONCE];
        a.count = 0;
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            fd[i] = sock_connect_tcp("127.0.0.1", port);
            assert_true(fd[i] >= 0);
        }
        for (uint32_t i = 0; i < 100 && a.count < AT_ONCE; i++)
            acceptor_turn(&a, 10000);
        assert_int_equal(a.count, AT_ONCE);
        size_t back[AT_ONCE] = {0};
        uint32_t whole = 0;
        for (uint32_t i = 0; i < AT_ONCE; i++)
            assert_int_equal(push_pattern(fd[i], 0, 300), 300);
        for (uint32_t turn = 0; turn < 200 && whole < AT_ONCE; turn++) {
            acceptor_turn(&a, 1000);
            for (uint32_t i = whole = 0; i < AT_ONCE; i++) {
                back[i] = pull_pattern(fd[i], back[i], 300);
                whole += back[i] == 300;
            }
        }
        assert_int_equal(whole, AT_ONCE);
        /* Half is dropped by them, half by us; every third of theirs with bytes unread: a reset. */
        for (uint32_t i = 0; i < AT_ONCE / 2; i++) {
            if (i % 3 == 0) {
                struct linger reset = {.l_onoff = 1};
                setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            }
            close(fd[i]);
        }
        for (uint32_t i = 0; i < AT_ONCE; i++)
            peers[i].open = false;
        acceptor_turn(&a, 1000);
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            assert_int_equal(peers[i].views, 0);
            peer_close(&peers[i]);
        }
        for (uint32_t i = AT_ONCE / 2; i < AT_ONCE; i++) {
            uint8_t byte = 0;
            assert_int_equal(recv(fd[i], &byte, 1, MSG_DONTWAIT), 0);
            close(fd[i]);
        }
    }
    io_unlisten(io, &a.l);
}

/* Out of descriptors: the loop must neither spin nor give up, and go on once there are some again. */
static void test_accept_without_descriptors(void **state)
{
    struct io *io = *state;
    static struct peer server;
    struct acceptor a;
    uint16_t port = acceptor_open(&a, io, &server, 1);
    int client = sock_connect_tcp("127.0.0.1", port);
    struct rlimit before, none; /* before the first turn: the kernel notes the limit when it arms */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t start = clock_mono_ns(&clock_real);
    uint32_t turns = 0;
    while (clock_mono_ns(&clock_real) - start < 120000000) {
        io_turn(io, 10000);
        turns++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(a.count, 0);
    assert_true(turns < 100);
    for (uint32_t i = 0; i < 100 && a.count == 0; i++)
        io_turn(io, 10000);
    assert_int_equal(a.count, 1);
    close(client);
    peer_close(&server);
    io_unlisten(io, &a.l);
}

static void never_accept(struct io_listener *l, int fd)
{
    (void)l;
    (void)fd;
    fail();
}

/* The listener's memory is the owner's again at once, the port is free at once, no callback follows. */
static void test_unlisten_frees_the_port(void **state)
{
    struct io *io = *state;
    uint16_t port = 0;
    for (uint32_t round = 0; round < 6; round++) {
        struct io_listener *l = mem_zalloc(MEM_TEST, sizeof *l);
        l->on_accept = never_accept;
        int fd = sock_listen_tcp("127.0.0.1", port, 16);
        assert_true(fd >= 0);
        port = sock_local_port(fd);
        assert_int_equal(io_listen(io, l, fd), RC_OK);
        for (uint32_t i = 0; i < round % 3; i++)
            io_turn(io, 0);
        int client = round >= 3 ? sock_connect_tcp("127.0.0.1", port) : -1;
        io_unlisten(io, l);
        mem_free(MEM_TEST, l, sizeof *l);
        io_turn(io, 0);
        io_turn(io, 0);
        if (client >= 0) close(client);
    }
}

static void test_connect_refused(void **state)
{
    struct io *io = *state;
    int listener = sock_listen_tcp("127.0.0.1", 0, 1);
    uint16_t port = sock_local_port(listener);
    close(listener);
    int fd = sock_connect_tcp("127.0.0.1", port);
    if (fd < 0) { /* loopback may say so at once */
        assert_int_equal(fd, -ECONNREFUSED);
        return;
    }
    struct peer p;
    peer_open(&p, io, fd, false);
    for (uint32_t i = 0; i < 100 && p.closes == 0; i++)
        io_turn(io, 10000);
    assert_int_equal(p.closes, 1);
    assert_int_equal(p.close_err, -ECONNREFUSED);
    peer_close(&p);
}

/* A stream may be opened and sent on before its connection is made. */
static void test_send_while_connecting(void **state)
{
    struct io *io = *state;
    static struct peer server, client;
    struct acceptor a;
    uint16_t port = acceptor_open(&a, io, &server, 1);
    peer_open(&client, io, sock_connect_tcp("127.0.0.1", port), false);
    client.sending_len = 5;
    client.sending = mem_alloc(MEM_TEST, 5);
    memcpy(client.sending, "hello", 5);
    io_stream_send(io, &client.s, client.sending, 5);
    for (uint32_t i = 0; i < 100 && client.got_len < 5; i++) {
        acceptor_turn(&a, 10000);
        peer_pass(&client);
    }
    assert_int_equal(client.sents, 1);
    assert_int_equal(client.sent_err, 0);
    assert_memory_equal(client.got, "hello", 5);
    peer_close(&client);
    peer_close(&server);
    io_unlisten(io, &a.l);
}

/* ---- wake and waiting */

struct waker {
    struct io *io;
    sem_t next; /* one wake each: wakes that come together are one */
};

static void *wake_each(void *arg)
{
    struct waker *w = arg;
    for (uint32_t i = 0; i < 20; i++) {
        sem_wait(&w->next);
        usleep(i % 2 * 3000); /* into a turn that sleeps, and before it does */
        io_wake(w->io);
    }
    return NULL;
}

#define UNWOKEN_US 5000000u /* a turn that misses its wake lasts so long */

/* A turn may end early without anything, as a system call may. */
static void turn_until_woken(struct io *io)
{
    uint32_t tries = 0;
    while (io_turn(io, UNWOKEN_US) == 0)
        assert_true(++tries < 10);
}

static void test_wake_from_another_thread(void **state)
{
    struct io *io = *state;
    struct waker w = {.io = io};
    pthread_t t;
    sem_init(&w.next, 0, 0);
    io_turn(io, 0);
    assert_int_equal(pthread_create(&t, NULL, wake_each, &w), 0);
    uint64_t start = clock_mono_ns(&clock_real);
    for (uint32_t i = 0; i < 20; i++) {
        sem_post(&w.next);
        turn_until_woken(io);
    }
    assert_true(clock_mono_ns(&clock_real) - start < UNWOKEN_US * UINT64_C(1000));
    pthread_join(t, NULL);
    sem_destroy(&w.next);
    io_wake(io); /* before the turn: it must not sleep */
    start = clock_mono_ns(&clock_real);
    turn_until_woken(io);
    assert_true(clock_mono_ns(&clock_real) - start < UNWOKEN_US * UINT64_C(1000));
}

static void test_timeout_is_kept(void **state)
{
    struct io *io = *state;
    while (io_turn(io, 0) > 0)
        continue;
    uint64_t start = clock_mono_ns(&clock_real), took = 0;
    for (uint32_t turns = 0; took < 19000000; turns++) {
        assert_true(turns < 5);
        assert_int_equal(io_turn(io, 20000), 0);
        took = clock_mono_ns(&clock_real) - start;
    }
    assert_true(took < 2000000000);
}

/* ---- files */

struct waiter {
    struct io_op op;
    bool done;
    int32_t result;
};

static void waiter_done(struct io_op *op, int32_t result)
{
    struct waiter *w = container_of(op, struct waiter, op);
    assert_false(w->done);
    w->done = true;
    w->result = result;
}

static int32_t wait_for(struct io *io, struct waiter *w)
{
    assert_false(w->done); /* never inside the call */
    for (uint32_t i = 0; i < 1000 && !w->done; i++)
        io_turn(io, 10000);
    assert_true(w->done);
    w->done = false;
    return w->result;
}

static void test_files(void **state)
{
    struct io *io = *state;
    const struct io_ops *ops = io->ops;
    char dir[] = "/tmp/moon-test-io-XXXXXX", path[64], other[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a", dir);
    snprintf(other, sizeof other, "%s/b", dir);
    struct waiter w = {.op.done = waiter_done};

    ops->open(io, &w.op, path, O_RDWR | O_CREAT | O_EXCL, 0600);
    int fd = wait_for(io, &w);
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    ops->open(io, &w.op, path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_int_equal(wait_for(io, &w), -EEXIST);
    ops->fallocate(io, &w.op, fd, 0, 1u << 16);
    assert_int_equal(wait_for(io, &w), 0);
    assert_int_equal(ops->file_size(io, fd), 1 << 16);

    char a[] = "one ", b[] = "two";
    struct iovec iov[2] = {{.iov_base = a, .iov_len = 4}, {.iov_base = b, .iov_len = 3}};
    ops->write(io, &w.op, fd, iov, 2, 100, false);
    assert_int_equal(wait_for(io, &w), 7);
    ops->write(io, &w.op, fd, iov, 1, 200, true);
    assert_int_equal(wait_for(io, &w), 4);
    ops->fdatasync(io, &w.op, fd);
    assert_int_equal(wait_for(io, &w), 0);
    ops->fsync(io, &w.op, fd);
    assert_int_equal(wait_for(io, &w), 0);

    char back[8] = {0};
    ops->read(io, &w.op, fd, back, 7, 100);
    assert_int_equal(wait_for(io, &w), 7);
    assert_memory_equal(back, "one two", 7);
    ops->read(io, &w.op, fd, back, 7, 1u << 20);
    assert_int_equal(wait_for(io, &w), 0); /* past the end */
    ops->read(io, &w.op, -1, back, 7, 0);
    assert_int_equal(wait_for(io, &w), -EBADF);

    ops->close(io, &w.op, fd);
    assert_int_equal(wait_for(io, &w), 0);
    ops->close(io, &w.op, fd);
    assert_int_equal(wait_for(io, &w), -EBADF);
    assert_int_equal(ops->file_rename(io, path, other), 0);
    assert_int_equal(ops->file_unlink(io, path), -ENOENT);
    assert_int_equal(ops->file_unlink(io, other), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* More at once than the ring has entries. */
static void test_many_operations_at_once(void **state)
{
    enum { OPS = 700 };
    struct io *io = *state;
    static struct waiter w[OPS];
    static uint32_t value[OPS], back[OPS];
    static struct iovec iov[OPS];
    char path[] = "/tmp/moon-test-io-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    for (uint32_t i = 0; i < OPS; i++) {
        value[i] = i * 2654435761u;
        w[i] = (struct waiter){.op.done = waiter_done};
        iov[i] = (struct iovec){.iov_base = &value[i], .iov_len = 4};
        io->ops->write(io, &w[i].op, fd, &iov[i], 1, i * 4, false);
    }
    for (uint32_t i = 0; i < OPS; i++)
        if (w[i].done) fail();
    for (uint32_t i = 0; i < OPS; i++) {
        while (!w[i].done)
            io_turn(io, 100000);
        assert_int_equal(w[i].result, 4);
        w[i].done = false;
        io->ops->read(io, &w[i].op, fd, &back[i], 4, i * 4);
    }
    for (uint32_t i = 0; i < OPS; i++) {
        while (!w[i].done)
            io_turn(io, 100000);
        assert_int_equal(back[i], value[i]);
    }
    close(fd);
}

static void count_name(void *ctx, const char *name)
{
    assert_true(strcmp(name, "x") == 0 || strcmp(name, "y") == 0);
    ++*(uint32_t *)ctx;
}

static void test_blocking_calls(void **state)
{
    struct io *io = *state;
    const struct io_ops *ops = io->ops;
    char dir[] = "/tmp/moon-test-io-XXXXXX", path[64], sub[64];
    assert_non_null(mkdtemp(dir));
    snprintf(sub, sizeof sub, "%s/x", dir);
    snprintf(path, sizeof path, "%s/y", dir);
    assert_int_equal(ops->file_mkdir(io, sub), 0);
    assert_int_equal(ops->file_mkdir(io, sub), 0);
    assert_int_equal(ops->file_open(io, path, O_RDONLY, 0), -ENOENT);
    int fd = ops->file_open(io, path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ops->file_mkdir(io, path), -EEXIST); /* there, but no directory */
    assert_int_equal(ops->file_pwrite(io, fd, "abcdef", 6, 10), 6);
    assert_int_equal(ops->file_size(io, fd), 16);
    assert_int_equal(ops->file_truncate(io, fd, 13), 0);
    char back[8] = {0};
    assert_int_equal(ops->file_pread(io, fd, back, 8, 10), 3);
    assert_memory_equal(back, "abc", 3);
    assert_int_equal(ops->file_sync(io, fd), 0);
    int dirfd = ops->file_open(io, dir, O_RDONLY | O_DIRECTORY, 0);
    assert_true(dirfd >= 0);
    assert_int_equal(ops->file_sync(io, dirfd), 0);
    uint32_t names = 0;
    assert_int_equal(ops->file_list(io, dir, count_name, &names), 0);
    assert_int_equal(names, 2);
    assert_int_equal(ops->file_list(io, path, count_name, &names), -ENOTDIR);
    int again = ops->file_open(io, path, O_RDWR, 0);
    assert_int_equal(ops->file_lock(io, fd), 0);
    assert_int_equal(ops->file_lock(io, again), -EWOULDBLOCK);
    assert_int_equal(ops->file_close(io, fd), 0);
    assert_int_equal(ops->file_lock(io, again), 0);
    assert_int_equal(ops->file_close(io, again), 0);
    assert_int_equal(ops->file_close(io, dirfd), 0);
    assert_int_equal(ops->file_close(io, dirfd), -EBADF);
    assert_int_equal(ops->file_unlink(io, path), 0);
    assert_int_equal(rmdir(sub), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* ---- choice */

static const struct io_opts opts = {
    .entries = 64, .buffers = BUFFERS, .buffer_bytes = BUFFER_BYTES};

static void test_choice(void **state)
{
    (void)state;
    struct io_opts o = opts;
    struct io *io = NULL;
    const char *why = "";
    setenv("MOON_NO_URING", "1", 1);
    o.kind = IO_URING;
    assert_int_equal(io_open(&o, &io, &why), RC_UNSUPPORTED);
    assert_non_null(strstr(why, "MOON_NO_URING"));
    o.kind = IO_AUTO;
    assert_int_equal(io_open(&o, &io, &why), RC_OK);
    assert_int_equal(io->ops->kind, IO_EPOLL);
    assert_non_null(strstr(why, "MOON_NO_URING"));
    io_free(io);
    unsetenv("MOON_NO_URING");
    assert_int_equal(io_open(&o, &io, &why), RC_OK);
    assert_int_equal(why == NULL, io->ops->kind == IO_URING);
    io_free(io);
    assert_int_equal(mem_live_bytes(MEM_RT), 0);
}

/* In a child whose io_uring_setup() fails with `err`, as containers and old kernels have it. */
static void check_refusal(int err, const char *remedy)
{
    pid_t child = fork();
    if (child == 0) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)err),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = COUNT_OF(code), .filter = code};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(10);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(11);
        struct io_opts o = opts;
        struct io *io = NULL;
        const char *why = NULL;
        o.kind = IO_URING;
        if (io_open(&o, &io, &why) != RC_UNSUPPORTED || strstr(why, remedy) == NULL) _exit(12);
        o.kind = IO_AUTO;
        why = NULL;
        if (io_open(&o, &io, &why) != RC_OK || strstr(why, remedy) == NULL) _exit(13);
        _exit(io->ops->kind == IO_EPOLL ? 0 : 14);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_refusals_name_the_remedy(void **state)
{
    (void)state;
    check_refusal(EPERM, "seccomp");
    check_refusal(ENOSYS, "6.1");
    check_refusal(EINVAL, "6.1");
    check_refusal(ENOMEM, "LimitMEMLOCK");
    check_refusal(EMFILE, "open files");
}

static int open_kind(void **state, enum io_kind kind)
{
    struct io_opts o = opts;
    const char *why = NULL;
    struct io *io = NULL;
    o.kind = kind;
    if (io_open(&o, &io, &why) != RC_OK) print_message("skipped: %s\n", why);
    *state = io;
    return 0;
}

static int open_uring(void **state)
{
    return open_kind(state, IO_URING);
}

static int open_epoll(void **state)
{
    return open_kind(state, IO_EPOLL);
}

static int close_io(void **state)
{
    if (*state != NULL) io_free(*state);
    assert_int_equal(mem_live_bytes(MEM_RT), 0);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
    return 0;
}

typedef void scenario(void **state);
static scenario *const scenarios[] = {
    test_echo_pipelined,           test_buffers_run_dry,
    test_big_send_slow_reader,     test_pause_and_resume,
    test_close_during_send,        test_send_to_closed_peer,
    test_accept_thousand_and_drop, test_accept_without_descriptors,
    test_unlisten_frees_the_port,  test_connect_refused,
    test_send_while_connecting,    test_wake_from_another_thread,
    test_timeout_is_kept,          test_files,
    test_many_operations_at_once,  test_blocking_calls,
};

/* All in one io: a leftover of one scenario would disturb the next. */
static void test_all(void **state)
{
    if (*state == NULL) skip();
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        uint64_t start = clock_mono_ns(&clock_real);
        scenarios[i](state);
        print_message("scenario %zu: %llu ms\n", i,
                      (unsigned long long)(clock_mono_ns(&clock_real) - start) / 1000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all, open_uring, close_io),
        cmocka_unit_test_setup_teardown(test_all, open_epoll, close_io),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_refusals_name_the_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
