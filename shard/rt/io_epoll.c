/* shard/rt/io_epoll.c: the io table over epoll, for kernels and containers that refuse io_uring. Same
 * batches, same promises:
 *
 *   turn: sends, closes → epoll_wait → receive into this turn's pool → callbacks
 *
 * Streams are registered once, edge-triggered, for both directions: pausing and waiting for room to
 * send cost no system call. What was readable and not read to its end stays on the `ready` list.
 * Received bytes are packed into one pool that starts anew with each turn; when it is full, the rest
 * of the ready streams are first in the next turn.
 *
 * Files have no readiness, so one helper thread runs their operations in order and rings the same
 * eventfd that io_wake() rings. Only `inbox`, `outbox` and `quit` are shared, under `lock`. */
#include "shard/rt/io_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "shard/base/clock.h"
#include "shard/base/limits.h"
#include "shard/base/log.h"
#include "shard/base/mem.h"

#define EPOLL_EVENTS_MAX 512
#define EPOLL_ACCEPTS_MAX 128 /* per listener and turn */
#define HELPER_STACK_BYTES (128u << 10)

enum stream_state {
    SENDING = 1 << 0, /* on_sent is owed */
    BLOCKED = 1 << 1, /* the socket took no more: waits for EPOLLOUT */
    PAUSED = 1 << 2,
    CLOSING = 1 << 3,
    ENDED = 1 << 4,    /* on_close was told */
    QUEUED = 1 << 5,   /* on todo */
    READABLE = 1 << 6, /* not read to its end since the last edge */
    READY = 1 << 7,    /* on the ready list */
    HANGUP = 1 << 8,   /* an end or error follows the bytes: a short read is not the last one */
};
/* Low bits of epoll_event.data.ptr tell what it points to. */
enum tag { TAG_STREAM, TAG_LISTENER, TAG_WAKE };
#define TAG_MASK 3ull

struct epoll_listener {
    struct io_listener *owner; /* NULL: unlistened in this turn, freed by the next */
    struct epoll_listener *next;
    uint64_t retry_ns; /* 0: registered */
    int fd;
};

struct epoll_io {
    struct io__base base;
    struct io__todo todo;
    struct io_stream *ready_head, *ready_tail; /* linked by backend[0] */
    struct epoll_listener *listeners;
    bool listeners_dirty; /* one backs off or has to be freed */
    int epoll_fd, wake_fd;
    uint8_t *pool;
    size_t pool_bytes, pool_used, buffer_bytes;

    pthread_t helper;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct io__ops inbox, outbox; /* outbox: done, the result in io__request.count */
    bool quit;
    struct epoll_event events[EPOLL_EVENTS_MAX];
};

static struct epoll_io *epoll_of(struct io *io)
{
    return (void *)io;
}

static void *tagged(const void *p, enum tag tag)
{
    assert(((uintptr_t)p & TAG_MASK) == 0);
    return (void *)((uintptr_t)p | (uintptr_t)tag);
}

/* ---- the helper thread */

static void *helper_main(void *arg)
{
    struct epoll_io *e = arg;
    pthread_mutex_lock(&e->lock);
    while (true) {
        while (e->inbox.head == NULL && !e->quit)
            pthread_cond_wait(&e->work, &e->lock);
        struct io_op *op = io__ops_pop(&e->inbox);
        if (op == NULL) break; /* quit, and everything asked for is done */
        pthread_mutex_unlock(&e->lock);
        io__request(op)->count = (uint64_t)(int64_t)io__request_run(io__request(op));
        pthread_mutex_lock(&e->lock);
        bool first = e->outbox.head == NULL;
        io__ops_push(&e->outbox, op);
        if (first) io_wake(&e->base.io);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static int helper_open(struct epoll_io *e)
{
    sigset_t all, before;
    pthread_attr_t attr;
    io__ops_init(&e->inbox);
    io__ops_init(&e->outbox);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, HELPER_STACK_BYTES);
    sigfillset(&all); /* signals belong to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&e->helper, &attr, helper_main, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -rc;
}

static void helper_close(struct epoll_io *e)
{
    pthread_mutex_lock(&e->lock);
    e->quit = true;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->helper, NULL);
}

static void ops_start(struct epoll_io *e)
{
    if (e->base.ops.head == NULL) return;
    pthread_mutex_lock(&e->lock);
    *e->inbox.tail = e->base.ops.head;
    e->inbox.tail = e->base.ops.tail;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    io__ops_init(&e->base.ops);
}

static uint32_t ops_done(struct epoll_io *e)
{
    struct io__ops done;
    io__ops_init(&done);
    pthread_mutex_lock(&e->lock);
    done.head = e->outbox.head;
    io__ops_init(&e->outbox);
    pthread_mutex_unlock(&e->lock);
    uint32_t count = 0;
    for (struct io_op *op = io__ops_pop(&done); op != NULL; op = io__ops_pop(&done), count++)
        op->done(op, (int32_t)(int64_t)io__request(op)->count);
    return count;
}

/* ---- streams: sending */

static void stream_queue(struct epoll_io *e, struct io_stream *s)
{
    if (s->state & QUEUED) return;
    s->state |= QUEUED;
    io__todo_push(&e->todo, s);
}

static void stream_sent(struct io_stream *s, int32_t err)
{
    s->state &= ~(uint32_t)SENDING;
    s->events->on_sent(s, err);
}

static void send_some(struct epoll_io *e, struct io_stream *s)
{
    size_t share = IO__SEND_BYTES_MAX;
    while (s->send_left > 0 && share > 0) {
        size_t len = s->send_left < share ? s->send_left : share;
        ssize_t n = send(s->fd, s->send_data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            s->state |= BLOCKED;
            return;
        }
        if (n < 0) {
            stream_sent(s, -errno);
            return;
        }
        s->send_data += n;
        s->send_left -= (size_t)n;
        share -= (size_t)n;
    }
    if (s->send_left == 0)
        stream_sent(s, 0);
    else
        stream_queue(e, s);
}

static void stream_finish(struct epoll_io *e, struct io_stream *s)
{
    /* Not left to close(): a copy of the descriptor in a forked child would keep events coming. */
    (void)epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    (void)close(s->fd);
    s->fd = -1;
    s->events->on_gone(s);
}

static uint32_t streams_start(struct epoll_io *e)
{
    uint32_t count = 0;
    struct io__todo todo = e->todo; /* callbacks may queue others: those wait for the next turn */
    e->todo = (struct io__todo){0};
    for (struct io_stream *s = io__todo_pop(&todo); s != NULL; s = io__todo_pop(&todo), count++) {
        s->state &= ~(uint32_t)QUEUED;
        if (!(s->state & CLOSING)) {
            if ((s->state & SENDING) && !(s->state & BLOCKED)) send_some(e, s);
        } else if (s->state & READY) {
            stream_queue(e, s); /* still linked there: this turn takes it off */
        } else {
            stream_finish(e, s);
        }
    }
    return count;
}

/* ---- streams: receiving */

static struct io_stream *ready_next(const struct io_stream *s)
{
    return (void *)(uintptr_t)s->backend[0];
}

static void ready_push(struct epoll_io *e, struct io_stream *s)
{
    if (s->state & READY) return;
    s->state |= READY;
    s->backend[0] = 0;
    if (e->ready_head == NULL)
        e->ready_head = s;
    else
        e->ready_tail->backend[0] = (uint64_t)(uintptr_t)s;
    e->ready_tail = s;
}

static bool wants_data(const struct io_stream *s)
{
    return (s->state & READABLE) && !(s->state & (PAUSED | CLOSING | ENDED));
}

static void stream_ended(struct io_stream *s, int32_t err)
{
    s->state = (s->state | ENDED) & ~(uint32_t)READABLE;
    s->events->on_close(s, err);
}

/* One share of what the socket holds. */
static void recv_some(struct epoll_io *e, struct io_stream *s)
{
    size_t share = PASS_CONN_BYTES_MAX > e->buffer_bytes ? PASS_CONN_BYTES_MAX : e->buffer_bytes;
    while (wants_data(s) && share > 0 && e->pool_used < e->pool_bytes) {
        uint8_t *into = e->pool + e->pool_used;
        size_t cap = e->pool_bytes - e->pool_used;
        if (cap > e->buffer_bytes) cap = e->buffer_bytes;
        if (cap > share) cap = share;
        ssize_t n = recv(s->fd, into, cap, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            s->state &= ~(uint32_t)READABLE;
            return;
        }
        if (n <= 0) {
            stream_ended(s, n < 0 ? -errno : 0);
            return;
        }
        if ((size_t)n < cap && !(s->state & HANGUP)) s->state &= ~(uint32_t)READABLE;
        share -= (size_t)n;
        e->pool_used +=
            ((size_t)n + 63) & ~(size_t)63; /* a cache line is never shared by two streams */
        s->events->on_data(s, into, (size_t)n);
    }
}

/* Visits each stream that is ready now once; who could not be served stays in front. */
static uint32_t ready_run(struct epoll_io *e)
{
    uint32_t count = 0;
    struct io_stream *last = e->ready_tail;
    while (e->ready_head != NULL && e->pool_used < e->pool_bytes) {
        struct io_stream *s = e->ready_head;
        e->ready_head = ready_next(s);
        s->state &= ~(uint32_t)READY;
        if (wants_data(s)) {
            recv_some(e, s);
            count++;
            if (wants_data(s)) ready_push(e, s);
        }
        if (s == last) break;
    }
    return count;
}

static void on_stream_event(struct epoll_io *e, struct io_stream *s, uint32_t events)
{
    if (s->state & CLOSING) return;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) s->state |= HANGUP;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        s->state |= READABLE;
        if (wants_data(s)) ready_push(e, s);
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) && (s->state & BLOCKED)) {
        s->state &= ~(uint32_t)BLOCKED;
        send_some(e, s);
    }
}

static enum rc epoll_stream_open(struct io *io, struct io_stream *s, int fd)
{
    assert(fd >= 0);
    s->fd = fd;
    s->state = 0;
    s->slot = 0;
    s->send_data = NULL;
    s->send_left = 0;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                             .data.ptr = tagged(s, TAG_STREAM)};
    if (epoll_ctl(epoll_of(io)->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
        return rc_from_errno(-errno);
    return RC_OK;
}

static void epoll_stream_send(struct io *io, struct io_stream *s, const uint8_t *data, size_t len)
{
    assert(len > 0);
    assert(!(s->state & (SENDING | CLOSING)));
    s->send_data = data;
    s->send_left = len;
    s->state |= SENDING;
    stream_queue(epoll_of(io), s);
}

static void epoll_stream_pause(struct io *io, struct io_stream *s)
{
    (void)io;
    s->state |= PAUSED;
}

static void epoll_stream_resume(struct io *io, struct io_stream *s)
{
    s->state &= ~(uint32_t)PAUSED;
    if (wants_data(s)) ready_push(epoll_of(io), s);
}

static void epoll_stream_close(struct io *io, struct io_stream *s)
{
    assert(!(s->state & CLOSING));
    s->state |= CLOSING;
    stream_queue(epoll_of(io), s);
}

/* ---- listeners */

static void listener_back_off(struct epoll_io *e, struct epoll_listener *l, int err)
{
    log_warning("rt", "accept failed: %s; trying again in %llu ms", strerror(err),
                IO__ACCEPT_RETRY_NS / 1000000);
    struct epoll_event none = {.events = 0, .data.ptr = tagged(l, TAG_LISTENER)};
    (void)epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, l->fd, &none);
    l->retry_ns = clock_mono_ns(&clock_real) + IO__ACCEPT_RETRY_NS;
    e->listeners_dirty = true;
}

static uint32_t on_listener_event(struct epoll_io *e, struct epoll_listener *l)
{
    uint32_t count = 0;
    while (l->owner != NULL && count < EPOLL_ACCEPTS_MAX) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            count++;
            l->owner->on_accept(l->owner, fd);
            continue;
        }
        if (errno == EAGAIN) break;
        bool again = errno == EINTR || errno == ECONNABORTED;
        if (!again) {
            listener_back_off(e, l, errno);
            break;
        }
    }
    return count;
}

/* Frees and registers again. Returns ns until a listener that backs off may try, UINT64_MAX if none. */
static uint64_t listeners_start(struct epoll_io *e)
{
    uint64_t wait_ns = UINT64_MAX;
    uint64_t now = clock_mono_ns(&clock_real);
    struct epoll_listener **link = &e->listeners;
    e->listeners_dirty = false;
    while (*link != NULL) {
        struct epoll_listener *l = *link;
        if (l->owner == NULL) {
            *link = l->next;
            mem_free(MEM_RT, l, sizeof *l);
            continue;
        }
        if (l->retry_ns > now) {
            e->listeners_dirty = true;
            wait_ns = l->retry_ns - now < wait_ns ? l->retry_ns - now : wait_ns;
        } else if (l->retry_ns != 0) {
            struct epoll_event in = {.events = EPOLLIN, .data.ptr = tagged(l, TAG_LISTENER)};
            (void)epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, l->fd, &in);
            l->retry_ns = 0;
        }
        link = &l->next;
    }
    return wait_ns;
}

static enum rc epoll_listen(struct io *io, struct io_listener *owner, int fd)
{
    struct epoll_io *e = epoll_of(io);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) return rc_from_errno(-errno);
    struct epoll_listener *l = mem_zalloc(MEM_RT, sizeof *l);
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = tagged(l, TAG_LISTENER)};
    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &in) != 0) {
        enum rc rc = rc_from_errno(-errno);
        mem_free(MEM_RT, l, sizeof *l);
        return rc;
    }
    *l = (struct epoll_listener){.owner = owner, .fd = fd, .next = e->listeners};
    e->listeners = l;
    owner->fd = fd;
    owner->backend[0] = (uint64_t)(uintptr_t)l;
    return RC_OK;
}

static void epoll_unlisten(struct io *io, struct io_listener *owner)
{
    struct epoll_io *e = epoll_of(io);
    struct epoll_listener *l = (void *)(uintptr_t)owner->backend[0];
    assert(l->owner == owner);
    (void)epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
    (void)close(l->fd);
    l->owner = NULL; /* an event of this turn may still point to it */
    e->listeners_dirty = true;
    owner->fd = -1;
}

/* ---- turn */

static uint32_t on_wake(struct epoll_io *e)
{
    uint64_t count = 0;
    ssize_t n = read(e->wake_fd, &count, sizeof count);
    assert(n == sizeof count || errno == EAGAIN);
    return 1 + ops_done(e);
}

static uint32_t on_event(struct epoll_io *e, const struct epoll_event *ev)
{
    uintptr_t p = (uintptr_t)ev->data.ptr;
    void *target = (void *)(p & ~(uintptr_t)TAG_MASK);
    switch ((enum tag)(p & TAG_MASK)) {
    case TAG_STREAM:
        on_stream_event(e, target, ev->events);
        return 1;
    case TAG_LISTENER:
        return on_listener_event(e, target);
    case TAG_WAKE:
        return on_wake(e);
    }
    assert(false && "event of a descriptor that nobody registered");
    return 0;
}

static int wait_events(struct epoll_io *e, int64_t timeout_us)
{
    struct timespec ts = {.tv_sec = timeout_us / 1000000, .tv_nsec = timeout_us % 1000000 * 1000};
    int n =
        epoll_pwait2(e->epoll_fd, e->events, EPOLL_EVENTS_MAX, timeout_us < 0 ? NULL : &ts, NULL);
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) { /* before 5.11, or a filter that is older */
        int64_t ms = timeout_us < 0 ? -1 : (timeout_us + 999) / 1000;
        n = epoll_wait(e->epoll_fd, e->events, EPOLL_EVENTS_MAX,
                       ms > INT32_MAX ? INT32_MAX : (int)ms);
    }
    assert(n >= 0 || errno == EINTR);
    return n < 0 ? 0 : n;
}

static uint32_t epoll_turn(struct io *io, int64_t timeout_us)
{
    struct epoll_io *e = epoll_of(io);
    e->pool_used = 0;
    uint32_t count = streams_start(e);
    io->asked = false;
    ops_start(e);
    if (unlikely(e->listeners_dirty)) {
        uint64_t wait_ns = listeners_start(e);
        int64_t wait_us = (int64_t)(wait_ns / 1000) + 1;
        if (wait_ns != UINT64_MAX && (timeout_us < 0 || timeout_us > wait_us)) timeout_us = wait_us;
    }
    if (e->todo.head != NULL || e->ready_head != NULL || count > 0) timeout_us = 0;
    io_leave(io);
    int n = wait_events(e, timeout_us);
    io_back(io);
    for (int i = 0; i < n; i++)
        count += on_event(e, &e->events[i]);
    return count + ready_run(e);
}

static void epoll_wake(struct io *io)
{
    uint64_t one = 1;
    ssize_t n = write(epoll_of(io)->wake_fd, &one, sizeof one);
    assert(n == sizeof one);
}

/* ---- open and free */

static void epoll_release(struct epoll_io *e)
{
    if (e->epoll_fd >= 0) (void)close(e->epoll_fd);
    if (e->wake_fd >= 0) (void)close(e->wake_fd);
    if (e->pool != NULL) munmap(e->pool, e->pool_bytes);
    mem_free(MEM_RT, e, sizeof *e);
}

static void epoll_free(struct io *io)
{
    struct epoll_io *e = epoll_of(io);
    helper_close(e);
    pthread_cond_destroy(&e->work);
    pthread_mutex_destroy(&e->lock);
    while (e->listeners != NULL) {
        struct epoll_listener *l = e->listeners;
        e->listeners = l->next;
        if (l->owner != NULL) (void)close(l->fd);
        mem_free(MEM_RT, l, sizeof *l);
    }
    epoll_release(e);
}

static const struct io_ops epoll_ops = {
    .kind = IO_EPOLL,
    .free = epoll_free,
    .turn = epoll_turn,
    .wake = epoll_wake,
    .stream_open = epoll_stream_open,
    .stream_send = epoll_stream_send,
    .stream_pause = epoll_stream_pause,
    .stream_resume = epoll_stream_resume,
    .stream_close = epoll_stream_close,
    .listen = epoll_listen,
    .unlisten = epoll_unlisten,
    IO__FILE_OPS,
};

static int descriptors_open(struct epoll_io *e, const struct io_opts *opts)
{
    e->buffer_bytes = opts->buffer_bytes;
    e->pool_bytes = (size_t)opts->buffers * opts->buffer_bytes;
    void *pool =
        mmap(NULL, e->pool_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool == MAP_FAILED) return -errno;
    e->pool = pool;
    e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->wake_fd < 0) return -errno;
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll_fd < 0) return -errno;
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = tagged(NULL, TAG_WAKE)};
    return epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->wake_fd, &in) == 0 ? 0 : -errno;
}

enum rc io__epoll_open(const struct io_opts *opts, struct io **out)
{
    struct epoll_io *e = mem_zalloc(MEM_RT, sizeof *e);
    e->base.io.ops = &epoll_ops;
    e->epoll_fd = -1;
    e->wake_fd = -1;
    io__ops_init(&e->base.ops);
    int rc = descriptors_open(e, opts);
    if (rc == 0) rc = helper_open(e);
    if (rc < 0) {
        epoll_release(e);
        return rc_from_errno(rc);
    }
    *out = &e->base.io;
    return RC_OK;
}
