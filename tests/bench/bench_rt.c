/* What the reactor's parts cost: a message between cores, a timer, a request over both backends. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "shard/base/clock.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"
#include "shard/rt/io.h"
#include "shard/rt/mailbox.h"
#include "shard/rt/sock.h"
#include "shard/rt/timer.h"

static void pin(uint32_t core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

/* ---- mailbox: 64-byte messages there, 16-byte answers back, batches of 64, both sides spinning */

#define MESSAGES 100000u
#define ROUNDS 20 /* the best counts: on a busy machine the others show the scheduler */
struct boxes {
    struct mailbox *there, *back;
    uint32_t batch;
};

static void *answer(void *arg)
{
    struct boxes *b = arg;
    pin(1);
    for (uint32_t got = 0; got < MESSAGES;) {
        void *at = NULL;
        size_t len = 0;
        while (mailbox_room(b->back) >= 16 && mailbox_next(b->there, &at, &len)) {
            uint64_t *out = mailbox_reserve(b->back, 16);
            out[0] = *(const uint64_t *)at;
            out[1] = len;
            mailbox_push(b->back, 16);
            got++;
        }
        mailbox_release(b->there);
        (void)mailbox_publish(b->back);
    }
    return NULL;
}

static uint64_t mailbox_round(uint32_t batch)
{
    struct boxes b = {
        .there = mailbox_new(1u << 20), .back = mailbox_new(1u << 20), .batch = batch};
    pthread_t t;
    int rc = pthread_create(&t, NULL, answer, &b);
    assert(rc == 0);
    pin(0);
    uint64_t start = clock_mono_ns(&clock_real), sum = 0;
    for (uint32_t sent = 0, got = 0; got < MESSAGES;) {
        for (uint32_t i = 0; i < batch && sent < MESSAGES && sent - got < 8 * batch; i++) {
            uint64_t *out = mailbox_reserve(b.there, 64);
            if (out == NULL) break;
            memset(out, (int)i, 64);
            out[0] = sent++;
            mailbox_push(b.there, 64);
        }
        (void)mailbox_publish(b.there);
        void *at = NULL;
        size_t len = 0;
        while (mailbox_next(b.back, &at, &len)) {
            sum += *(const uint64_t *)at;
            got++;
        }
        mailbox_release(b.back);
    }
    uint64_t took = clock_mono_ns(&clock_real) - start;
    pthread_join(t, NULL);
    assert(sum == (uint64_t)MESSAGES * (MESSAGES - 1) / 2);
    mailbox_free(b.there);
    mailbox_free(b.back);
    return took;
}

static void bench_mailbox(uint32_t batch)
{
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t took = mailbox_round(batch);
        best = took < best ? took : best;
    }
    printf("mailbox, batch %3u: %5.1f ns per message and answer, %.1f M/s\n", batch,
           (double)best / MESSAGES, 1e3 * MESSAGES / (double)best);
}

/* Both ends on one thread, by its CPU clock: what the instructions cost, without the lines that travel. */
static void bench_mailbox_alone(void)
{
    struct mailbox *m = mailbox_new(1u << 20);
    const uint32_t rounds = 100000;
    uint64_t cpu = clock_thread_cpu_ns(), sum = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < 64; i++) {
            uint64_t *out = mailbox_reserve(m, 64);
            assert(out != NULL);
            memset(out, (int)i, 64);
            mailbox_push(m, 64);
        }
        (void)mailbox_publish(m);
        void *at = NULL;
        size_t len = 0;
        while (mailbox_next(m, &at, &len))
            sum += *(const uint64_t *)at;
        mailbox_release(m);
    }
    cpu = clock_thread_cpu_ns() - cpu;
    assert(sum != 0);
    printf("mailbox, one thread: %4.1f ns per message of 64 B\n", (double)cpu / rounds / 64);
    mailbox_free(m);
}

/* ---- timers: 100,000 armed, each re-armed again and again as an idle time-out is */

#define TIMERS 100000u
static uint64_t fires;

static void on_fire(struct timer *t)
{
    (void)t;
    fires++;
}

static void bench_timer(void)
{
    struct timer *t = mem_zalloc(MEM_TEST, TIMERS * sizeof *t);
    struct timer_wheel *w = timer_wheel_new(1000);
    struct rng rng;
    rng_seed(&rng, 1);
    for (uint32_t i = 0; i < TIMERS; i++)
        t[i].fire = on_fire;
    uint64_t now = 1000, start = clock_thread_cpu_ns();
    const uint32_t rounds = 50;
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < TIMERS; i++)
            timer_arm(w, &t[i], now + 1 + rng_below(&rng, 300000));
        timer_advance(w, now += 1000);
    }
    uint64_t took = clock_thread_cpu_ns() - start;
    printf("timer: %5.1f ns per arming (with its draw), %llu fired\n",
           (double)took / TIMERS / rounds, (unsigned long long)fires);
    timer_wheel_free(w);
    mem_free(MEM_TEST, t, TIMERS * sizeof *t);
}

/* ---- echo: CPU of the serving thread per request, 50 connections over loopback, a client on another core */

#define CONNECTIONS 50u
#define REQUEST_BYTES 40u
struct echo {
    struct io_stream s;
    struct io *io;
    const uint8_t *data[16];
    size_t len[16];
    uint32_t views;
    uint8_t *out, *sending;
    size_t out_len;
    bool busy;
    struct echo *dirty_next;
    bool dirty;
};
struct server {
    struct io_listener l;
    struct io *io;
    struct echo conn[CONNECTIONS];
    struct echo *dirty;
    uint32_t count, gone;
    uint64_t bytes;
};
static struct server server;

static void mark(struct echo *e)
{
    if (e->dirty) return;
    e->dirty = true;
    e->dirty_next = server.dirty;
    server.dirty = e;
}

static void on_data(struct io_stream *s, const uint8_t *data, size_t len)
{
    struct echo *e = container_of(s, struct echo, s);
    if (e->views == COUNT_OF(e->data))
        return; /* a closed-loop client never has so much under way */
    e->data[e->views] = data;
    e->len[e->views++] = len;
    mark(e);
}

static void on_close(struct io_stream *s, int32_t err)
{
    (void)err;
    container_of(s, struct echo, s)->busy = true; /* nothing is sent any more */
    io_stream_close(server.io, s);
}

static void on_sent(struct io_stream *s, int32_t err)
{
    struct echo *e = container_of(s, struct echo, s);
    (void)err;
    e->busy = false;
    if (e->out_len > 0) mark(e);
}

static void on_gone(struct io_stream *s)
{
    (void)s;
    server.gone++;
}

static const struct io_stream_events echo_events = {
    .on_data = on_data, .on_close = on_close, .on_sent = on_sent, .on_gone = on_gone};
#define OUT_BYTES (256u << 10)

static void on_accept(struct io_listener *l, int fd)
{
    (void)l;
    assert(server.count < CONNECTIONS);
    struct echo *e = &server.conn[server.count++];
    *e = (struct echo){.s.events = &echo_events, .out = mem_alloc(MEM_TEST, OUT_BYTES)};
    e->sending = mem_alloc(MEM_TEST, OUT_BYTES);
    sock_set_nodelay(fd);
    enum rc rc = io_stream_open(server.io, &e->s, fd);
    assert(rc == RC_OK);
}

/* One send per dirty connection; buffers are swapped, not copied, while one is under way. */
static void pass(void)
{
    while (server.dirty != NULL) {
        struct echo *e = server.dirty;
        server.dirty = e->dirty_next;
        e->dirty = false;
        for (uint32_t i = 0; i < e->views; i++) {
            memcpy(e->out + e->out_len, e->data[i], e->len[i]);
            e->out_len += e->len[i];
            server.bytes += e->len[i];
        }
        e->views = 0;
        if (e->busy || e->out_len == 0) continue;
        uint8_t *full = e->out;
        e->out = e->sending;
        e->sending = full;
        io_stream_send(server.io, &e->s, full, e->out_len);
        e->busy = true;
        e->out_len = 0;
    }
}

struct client {
    uint16_t port;
    uint32_t pipeline;
    uint64_t requests;
    _Atomic bool done;
};

/* Blocking rounds over all connections: write all, then read all. */
static void *client_main(void *arg)
{
    struct client *c = arg;
    pin(1);
    static uint8_t chunk[REQUEST_BYTES * 64];
    struct pollfd p[CONNECTIONS];
    size_t waiting[CONNECTIONS] = {0};
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        p[i] = (struct pollfd){.fd = sock_connect_tcp("127.0.0.1", c->port), .events = POLLOUT};
        assert(poll(&p[i], 1, 5000) == 1);
        sock_set_nodelay(p[i].fd);
        p[i].events = POLLIN;
    }
    uint64_t until = clock_mono_ns(&clock_real) + 2000000000ull;
    size_t batch = c->pipeline * REQUEST_BYTES;
    while (clock_mono_ns(&clock_real) < until) {
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            if (waiting[i] == 0 && send(p[i].fd, chunk, batch, MSG_NOSIGNAL) == (ssize_t)batch)
                waiting[i] = batch;
        }
        (void)poll(p, CONNECTIONS, 100);
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            if (!(p[i].revents & POLLIN)) continue;
            ssize_t n = recv(p[i].fd, chunk, waiting[i], MSG_DONTWAIT);
            if (n <= 0) continue;
            waiting[i] -= (size_t)n;
            if (waiting[i] == 0) c->requests += c->pipeline;
        }
    }
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        close(p[i].fd);
    atomic_store(&c->done, true);
    return NULL;
}

static void bench_echo(enum io_kind kind, uint32_t pipeline)
{
    struct io_opts opts = {.kind = kind, .entries = 1024, .buffers = 1024, .buffer_bytes = 16384};
    const char *why = NULL;
    memset(&server, 0, sizeof server);
    if (io_open(&opts, &server.io, &why) != RC_OK) {
        printf("echo: %s\n", why);
        return;
    }
    pin(0);
    struct client c = {.pipeline = pipeline};
    int fd = sock_listen_tcp("127.0.0.1", 0, 128);
    c.port = sock_local_port(fd);
    server.l.on_accept = on_accept;
    enum rc rc = io_listen(server.io, &server.l, fd);
    assert(rc == RC_OK);
    pthread_t t;
    int err = pthread_create(&t, NULL, client_main, &c);
    assert(err == 0);
    uint64_t cpu = clock_thread_cpu_ns(), turns = 0;
    while (!atomic_load(&c.done) || server.gone < server.count) {
        (void)io_turn(server.io, 100000);
        pass();
        turns++;
    }
    cpu = clock_thread_cpu_ns() - cpu;
    pthread_join(t, NULL);
    printf("echo, %s, pipeline %2u: %.3f us CPU per request, %.0f k/s, %.1f requests per turn\n",
           kind == IO_URING ? "io_uring" : "epoll   ", pipeline,
           (double)cpu / 1e3 / (double)c.requests, (double)c.requests / 2e3,
           (double)c.requests / (double)turns);
    io_unlisten(server.io, &server.l);
    (void)io_turn(server.io, 0);
    io_free(server.io);
    for (uint32_t i = 0; i < server.count; i++) {
        mem_free(MEM_TEST, server.conn[i].out, OUT_BYTES);
        mem_free(MEM_TEST, server.conn[i].sending, OUT_BYTES);
    }
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_mailbox_alone();
    bench_timer();
    bench_mailbox(1);
    bench_mailbox(16);
    bench_mailbox(64);
    for (uint32_t round = 0; round < 2; round++) {
        bench_echo(IO_URING, 1);
        bench_echo(IO_EPOLL, 1);
        bench_echo(IO_URING, 16);
        bench_echo(IO_EPOLL, 16);
    }
    return 0;
}
