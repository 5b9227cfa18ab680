/* shard/rt/io_uring.c: the io table over io_uring. One ring per thread, one io_uring_enter per turn:
 *
 *   turn: give last turn's receive buffers back → start what waits → enter (submit + wait) → reap
 *
 * Calls of the owner only mark the stream and put it on `todo`; the next turn compares what the stream
 * wants with what is under way (stream_start) and queues the difference. So no call can fail for want
 * of a submission entry, and cancel, resume and close need no protocol of their own.
 *
 * Completions carry the address of their stream, op or listener with a tag in the low three bits. A
 * stream is given back (on_gone) only when neither its receive nor its send is in the kernel.
 *
 * Sockets must be blocking here: on O_NONBLOCK ones the kernel answers EAGAIN instead of waiting. */
#include "shard/rt/io_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "shard/base/clock.h"
#include "shard/base/log.h"
#include "shard/base/mem.h"
#include "shard/rt/io_uring_compat.h"

/* Kernel memory, 8-16 B each; connections beyond use their plain descriptor. */
#define URING_FIXED_MAX 16384u
#define URING_CQ_MIN 8192u
#define URING_GROUP 0 /* the one buffer group */
#define SLOT_NONE UINT32_MAX

enum tag { TAG_RECV, TAG_SEND, TAG_ACCEPT, TAG_OP, TAG_WAKE, TAG_IGNORE };
#define TAG_MASK 7ull

enum stream_state {
    RECEIVING = 1 << 0,   /* multishot receive is in the kernel */
    SENDING = 1 << 1,     /* on_sent is owed */
    SEND_FLYING = 1 << 2, /* its send is in the kernel */
    PAUSED = 1 << 3,
    CLOSING = 1 << 4,
    ENDED = 1 << 5,  /* on_close was told */
    QUEUED = 1 << 6, /* on todo */
    RECV_CANCELLED = 1 << 7,
    SEND_CANCELLED = 1 << 8,
};

struct uring_listener {
    struct io_listener *owner; /* NULL: unlistened, waits for its accept to end */
    struct uring_listener *next;
    uint64_t retry_ns;
    int fd;
    bool armed;
};

struct uring {
    struct io__base base;
    struct io_uring ring;
    struct io__todo todo;
    struct uring_listener *listeners;
    bool listeners_dirty; /* one has to be armed or freed */

    struct io_uring_buf_ring *buf_ring;
    uint8_t *buffers;
    uint32_t buffer_count, buffer_bytes;
    uint16_t *used; /* ids handed out since the turn began */
    uint32_t used_count;

    uint32_t *free_slots; /* stack of free entries of the fixed-file table */
    uint32_t free_count, fixed_count;
    int wake_fd;
    bool wake_armed;
};

static struct uring *uring_of(struct io *io)
{
    return (void *)io;
}

static uint64_t tagged(const void *p, enum tag tag)
{
    assert(((uintptr_t)p & TAG_MASK) == 0);
    return (uint64_t)(uintptr_t)p | (uint64_t)tag;
}

/* NULL: the ring is full and the kernel takes no more now; try again next turn. */
static struct io_uring_sqe *take_sqe(struct uring *u, uint64_t user_data)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (unlikely(sqe == NULL)) {
        (void)io_uring_submit(&u->ring);
        sqe = io_uring_get_sqe(&u->ring);
        if (sqe == NULL) return NULL;
    }
    sqe->user_data = user_data; /* the prep calls leave it alone */
    return sqe;
}

/* ---- streams */

static void stream_queue(struct uring *u, struct io_stream *s)
{
    if (s->state & QUEUED) return;
    s->state |= QUEUED;
    io__todo_push(&u->todo, s);
}

static void sqe_target(struct io_uring_sqe *sqe, const struct io_stream *s)
{
    if (s->slot == SLOT_NONE) return;
    sqe->fd = (int)s->slot;
    sqe->flags |= IOSQE_FIXED_FILE;
}

static bool start_recv(struct uring *u, struct io_stream *s)
{
    struct io_uring_sqe *sqe = take_sqe(u, tagged(s, TAG_RECV));
    if (sqe == NULL) return false;
    io_uring_prep_recv_multishot(sqe, s->fd, NULL, 0, 0);
    sqe_target(sqe, s);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_GROUP;
    s->state = (s->state | RECEIVING) & ~(uint32_t)RECV_CANCELLED;
    return true;
}

static bool start_send(struct uring *u, struct io_stream *s)
{
    struct io_uring_sqe *sqe = take_sqe(u, tagged(s, TAG_SEND));
    if (sqe == NULL) return false;
    size_t len = s->send_left < IO__SEND_BYTES_MAX ? s->send_left : IO__SEND_BYTES_MAX;
    /* WAITALL: the kernel goes on with a partial send itself. */
    io_uring_prep_send(sqe, s->fd, s->send_data, len, MSG_NOSIGNAL | MSG_WAITALL);
    sqe_target(sqe, s);
    s->state = (s->state | SEND_FLYING) & ~(uint32_t)SEND_CANCELLED;
    return true;
}

static bool start_cancel(struct uring *u, struct io_stream *s, enum tag tag, uint32_t mark)
{
    struct io_uring_sqe *sqe = take_sqe(u, tagged(NULL, TAG_IGNORE));
    if (sqe == NULL) return false;
    io_uring_prep_cancel64(sqe, tagged(s, tag), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    s->state |= mark;
    return true;
}

static void stream_finish(struct uring *u, struct io_stream *s)
{
    if (s->slot != SLOT_NONE) {
        int none = -1;
        int rc = io_uring_register_files_update(&u->ring, s->slot, &none, 1);
        if (rc == 1) u->free_slots[u->free_count++] = s->slot; /* else it is lost, not shared */
    }
    (void)close(s->fd);
    s->fd = -1;
    s->events->on_gone(s);
}

/* Queues what the stream wants and the kernel does not know yet. False: no room, call again. */
static bool stream_start(struct uring *u, struct io_stream *s)
{
    uint32_t state = s->state;
    bool unwanted = (state & (CLOSING | PAUSED)) != 0;
    if ((state & RECEIVING) && unwanted && !(state & RECV_CANCELLED)) {
        if (!start_cancel(u, s, TAG_RECV, RECV_CANCELLED)) return false;
    }
    if ((state & SEND_FLYING) && (state & CLOSING) && !(state & SEND_CANCELLED)) {
        if (!start_cancel(u, s, TAG_SEND, SEND_CANCELLED)) return false;
    }
    if (state & CLOSING) return true;
    if ((state & SENDING) && !(state & SEND_FLYING) && !start_send(u, s)) return false;
    if (!(state & (RECEIVING | PAUSED | ENDED)) && !start_recv(u, s)) return false;
    return true;
}

/* Returns how many streams were given back. */
static uint32_t streams_start(struct uring *u)
{
    uint32_t gone = 0;
    struct io__todo todo = u->todo; /* callbacks may queue others: those wait for the next turn */
    u->todo = (struct io__todo){0};
    for (struct io_stream *s = io__todo_pop(&todo); s != NULL; s = io__todo_pop(&todo)) {
        s->state &= ~(uint32_t)QUEUED;
        if ((s->state & CLOSING) && !(s->state & (RECEIVING | SEND_FLYING))) {
            stream_finish(u, s);
            gone++;
        } else if (!stream_start(u, s)) {
            stream_queue(u, s);
        }
    }
    return gone;
}

static void stream_ended(struct io_stream *s, int32_t err)
{
    if (s->state & (ENDED | CLOSING)) return;
    s->state |= ENDED;
    s->events->on_close(s, err);
}

static void on_recv(struct uring *u, struct io_stream *s, int32_t res, uint32_t flags)
{
    if (!(flags & IORING_CQE_F_MORE)) {
        s->state &= ~(uint32_t)RECEIVING;
        stream_queue(u, s); /* armed again, or finished, by the next turn */
    }
    const uint8_t *data = NULL;
    if (flags & IORING_CQE_F_BUFFER) {
        uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
        assert(id < u->buffer_count);
        assert(u->used_count < u->buffer_count);
        u->used[u->used_count++] = (uint16_t)id;
        data = u->buffers + (size_t)id * u->buffer_bytes;
    }
    if (res > 0) {
        assert(data != NULL);
        if (!(s->state & (CLOSING | ENDED))) s->events->on_data(s, data, (size_t)res);
        return;
    }
    /* Dry ring, our own cancel, or a signal: the receive is armed again if it is wanted. */
    bool again = res == -ENOBUFS || res == -ECANCELED || res == -EAGAIN || res == -EINTR;
    if (!again) stream_ended(s, res);
}

static void on_send(struct uring *u, struct io_stream *s, int32_t res)
{
    s->state &= ~(uint32_t)SEND_FLYING;
    if (s->state & CLOSING) {
        stream_queue(u, s);
        return;
    }
    assert(s->state & SENDING);
    if (res > 0) {
        assert((size_t)res <= s->send_left);
        s->send_data += res;
        s->send_left -= (size_t)res;
    }
    bool again = res == -EAGAIN || res == -EINTR || (res > 0 && s->send_left > 0);
    if (again) {
        stream_queue(u, s);
        return;
    }
    s->state &= ~(uint32_t)SENDING;
    s->events->on_sent(s, res < 0 ? res : 0);
}

static enum rc uring_stream_open(struct io *io, struct io_stream *s, int fd)
{
    struct uring *u = uring_of(io);
    assert(fd >= 0);
    if (fcntl(fd, F_SETFL, 0) != 0) return rc_from_errno(-errno);
    s->fd = fd;
    s->state = 0;
    s->slot = SLOT_NONE;
    s->send_data = NULL;
    s->send_left = 0;
    if (u->free_count > 0) {
        uint32_t slot = u->free_slots[u->free_count - 1];
        if (io_uring_register_files_update(&u->ring, slot, &fd, 1) == 1) {
            s->slot = slot;
            u->free_count--;
        }
    }
    stream_queue(u, s);
    return RC_OK;
}

static void uring_stream_send(struct io *io, struct io_stream *s, const uint8_t *data, size_t len)
{
    assert(len > 0);
    assert(!(s->state & (SENDING | CLOSING)));
    s->send_data = data;
    s->send_left = len;
    s->state |= SENDING;
    stream_queue(uring_of(io), s);
}

static void uring_stream_pause(struct io *io, struct io_stream *s)
{
    s->state |= PAUSED;
    stream_queue(uring_of(io), s);
}

static void uring_stream_resume(struct io *io, struct io_stream *s)
{
    s->state &= ~(uint32_t)PAUSED;
    stream_queue(uring_of(io), s);
}

static void uring_stream_close(struct io *io, struct io_stream *s)
{
    assert(!(s->state & CLOSING));
    s->state |= CLOSING;
    stream_queue(uring_of(io), s);
}

/* ---- listeners */

static bool start_accept(struct uring *u, struct uring_listener *l)
{
    struct io_uring_sqe *sqe = take_sqe(u, tagged(l, TAG_ACCEPT));
    if (sqe == NULL) return false;
    io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    l->armed = true;
    return true;
}

/* Arms and frees. Returns ns until a listener that backs off may try again, UINT64_MAX if none. */
static uint64_t listeners_start(struct uring *u)
{
    uint64_t wait_ns = UINT64_MAX;
    uint64_t now = clock_mono_ns(&clock_real);
    struct uring_listener **link = &u->listeners;
    u->listeners_dirty = false;
    while (*link != NULL) {
        struct uring_listener *l = *link;
        if (l->owner == NULL && !l->armed) {
            *link = l->next;
            mem_free(MEM_RT, l, sizeof *l);
            continue;
        }
        bool due = l->retry_ns <= now;
        if (!l->armed && (!due || !start_accept(u, l))) {
            u->listeners_dirty = true;
            uint64_t left = due ? 0 : l->retry_ns - now;
            wait_ns = left < wait_ns ? left : wait_ns;
        }
        link = &l->next;
    }
    return wait_ns;
}

static void on_accept(struct uring *u, struct uring_listener *l, int32_t res, uint32_t flags)
{
    if (!(flags & IORING_CQE_F_MORE)) {
        l->armed = false;
        u->listeners_dirty = true;
    }
    if (res >= 0) {
        if (l->owner != NULL)
            l->owner->on_accept(l->owner, res);
        else
            (void)close(res);
        return;
    }
    if (l->owner == NULL || res == -ECANCELED || res == -EINTR || res == -ECONNABORTED) return;
    log_warning("rt", "accept failed: %s; trying again in %llu ms", strerror(-res),
                IO__ACCEPT_RETRY_NS / 1000000);
    l->retry_ns = clock_mono_ns(&clock_real) + IO__ACCEPT_RETRY_NS;
}

static enum rc uring_listen(struct io *io, struct io_listener *owner, int fd)
{
    struct uring *u = uring_of(io);
    if (fcntl(fd, F_SETFL, 0) != 0) return rc_from_errno(-errno);
    struct uring_listener *l = mem_zalloc(MEM_RT, sizeof *l);
    *l = (struct uring_listener){.owner = owner, .fd = fd, .next = u->listeners};
    u->listeners = l;
    u->listeners_dirty = true;
    owner->fd = fd;
    owner->backend[0] = (uint64_t)(uintptr_t)l;
    return RC_OK;
}

/* The port must be free when this returns, so the accept is cancelled here and now: its request holds
 * the socket until its completion was posted. */
static void uring_unlisten(struct io *io, struct io_listener *owner)
{
    struct uring *u = uring_of(io);
    struct uring_listener *l = (void *)(uintptr_t)owner->backend[0];
    assert(l->owner == owner);
    l->owner = NULL;
    u->listeners_dirty = true;
    if (l->armed) {
        (void)io_uring_submit(&u->ring); /* the accept itself may still wait in our ring */
        struct io_uring_sync_cancel_reg reg = {
            .addr = tagged(l, TAG_ACCEPT), .fd = -1, .timeout = {.tv_sec = 1, .tv_nsec = 0}};
        int rc = io_uring_register_sync_cancel(&u->ring, &reg);
        if (rc < 0 && rc != -ENOENT) (void)shutdown(l->fd, SHUT_RDWR);
        (void)io_uring_get_events(&u->ring);
    }
    (void)close(l->fd);
    owner->fd = -1;
}

/* ---- files */

static void prepare_request(struct io_uring_sqe *sqe, const struct io__request *r)
{
    uint32_t count = r->count < INT32_MAX ? (uint32_t)r->count : INT32_MAX;
    switch ((enum io__file_kind)r->kind) {
    case IO__WRITE:
        io_uring_prep_writev2(sqe, r->fd, r->iov, count, r->offset, r->dsync ? RWF_DSYNC : 0);
        return;
    case IO__READ:
        io_uring_prep_read(sqe, r->fd, r->into, count, r->offset);
        return;
    case IO__FDATASYNC:
        io_uring_prep_fsync(sqe, r->fd, IORING_FSYNC_DATASYNC);
        return;
    case IO__FALLOCATE:
        io_uring_prep_fallocate(sqe, r->fd, 0, (off_t)r->offset, (off_t)r->count);
        return;
    case IO__OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, r->path, (int)r->offset, (mode_t)r->count);
        return;
    case IO__CLOSE:
        io_uring_prep_close(sqe, r->fd);
        return;
    case IO__FSYNC:
        io_uring_prep_fsync(sqe, r->fd, 0);
        return;
    }
    assert(false && "a kind of request that nobody made");
}

static void ops_start(struct uring *u)
{
    while (u->base.ops.head != NULL) {
        struct io_uring_sqe *sqe = take_sqe(u, tagged(u->base.ops.head, TAG_OP));
        if (sqe == NULL) return;
        prepare_request(sqe, io__request(io__ops_pop(&u->base.ops)));
    }
}

/* ---- turn */

static void buffers_recycle(struct uring *u)
{
    int mask = io_uring_buf_ring_mask(u->buffer_count);
    for (uint32_t i = 0; i < u->used_count; i++) {
        uint16_t id = u->used[i];
        io_uring_buf_ring_add(u->buf_ring, u->buffers + (size_t)id * u->buffer_bytes,
                              u->buffer_bytes, id, mask, (int)i);
    }
    io_uring_buf_ring_advance(u->buf_ring, (int)u->used_count);
    u->used_count = 0;
}

/* Multishot poll on the eventfd: every write to it makes a completion, so it is never read. */
static void wake_start(struct uring *u)
{
    struct io_uring_sqe *sqe = take_sqe(u, tagged(NULL, TAG_WAKE));
    if (sqe == NULL) return;
    io_uring_prep_poll_multishot(sqe, u->wake_fd, POLLIN);
    u->wake_armed = true;
}

static void dispatch(struct uring *u, const struct io_uring_cqe *cqe)
{
    void *target = (void *)(uintptr_t)(cqe->user_data & ~TAG_MASK);
    switch ((enum tag)(cqe->user_data & TAG_MASK)) {
    case TAG_RECV:
        on_recv(u, target, cqe->res, cqe->flags);
        return;
    case TAG_SEND:
        on_send(u, target, cqe->res);
        return;
    case TAG_ACCEPT:
        on_accept(u, target, cqe->res, cqe->flags);
        return;
    case TAG_OP:
        ((struct io_op *)target)->done(target, cqe->res);
        return;
    case TAG_WAKE:
        if (!(cqe->flags & IORING_CQE_F_MORE)) u->wake_armed = false;
        return;
    case TAG_IGNORE:
        return;
    }
    assert(false && "completion of an operation that nobody started");
}

/* Exactly what is there now: what callbacks cause belongs to the next turn. */
static uint32_t reap(struct uring *u)
{
    uint32_t count = io_uring_cq_ready(&u->ring);
    for (uint32_t i = 0; i < count; i++) {
        struct io_uring_cqe *slot = NULL;
        int rc = io_uring_peek_cqe(&u->ring, &slot);
        assert(rc == 0);
        struct io_uring_cqe cqe = {
            .user_data = slot->user_data, .res = slot->res, .flags = slot->flags};
        io_uring_cq_advance(&u->ring, 1);
        dispatch(u, &cqe);
    }
    return count;
}

static void enter(struct uring *u, int64_t timeout_us)
{
    int rc = 0;
    struct io_uring_cqe *first = NULL;
    if (timeout_us == 0) {
        rc = io_uring_submit_and_get_events(&u->ring);
    } else if (timeout_us < 0) {
        rc = io_uring_submit_and_wait(&u->ring, 1);
    } else {
        struct __kernel_timespec ts = {.tv_sec = timeout_us / 1000000,
                                       .tv_nsec = timeout_us % 1000000 * 1000};
        rc = io_uring_submit_and_wait_timeout(&u->ring, &first, 1, &ts, NULL);
    }
    /* Time, signals and a momentary lack of kernel memory leave entries for the next turn. */
    assert(rc >= 0 || rc == -ETIME || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY ||
           rc == -ENOMEM);
}

static uint32_t uring_turn(struct io *io, int64_t timeout_us)
{
    struct uring *u = uring_of(io);
    buffers_recycle(u);
    uint32_t gone = streams_start(u);
    io->asked = false;
    ops_start(u);
    if (unlikely(!u->wake_armed)) wake_start(u);
    if (unlikely(u->listeners_dirty)) {
        uint64_t wait_ns = listeners_start(u);
        if (wait_ns != UINT64_MAX) {
            int64_t wait_us = (int64_t)(wait_ns / 1000) + 1;
            if (timeout_us < 0 || timeout_us > wait_us) timeout_us = wait_us;
        }
    }
    if (gone > 0 || u->todo.head != NULL || u->base.ops.head != NULL) timeout_us = 0;
    io_leave(io);
    enter(u, timeout_us);
    io_back(io);
    return gone + reap(u);
}

static void uring_wake(struct io *io)
{
    uint64_t one = 1;
    ssize_t n = write(uring_of(io)->wake_fd, &one, sizeof one);
    assert(n == sizeof one);
}

/* ---- open and free */

static const char *refusal(int rc)
{
    if (rc == -EPERM)
        return "io_uring is forbidden here (EPERM): allow it in the container's seccomp profile, "
               "or set "
               "kernel.io_uring_disabled=0";
    if (rc == -ENOSYS) return "this kernel has no io_uring (ENOSYS): Linux 6.1 or newer is needed";
    if (rc == -ENOMEM)
        return "no memory for an io_uring (ENOMEM): raise the memlock limit "
               "(LimitMEMLOCK=infinity)";
    if (rc == -EMFILE || rc == -ENFILE)
        return "no descriptor left for an io_uring: raise the open files limit";
    return "this kernel's io_uring lacks set-up flags we need (EINVAL): Linux 6.1 or newer is "
           "needed";
}

static bool ops_supported(struct io_uring *ring)
{
    static const int needed[] = {IORING_OP_RECV,         IORING_OP_SEND,      IORING_OP_ACCEPT,
                                 IORING_OP_ASYNC_CANCEL, IORING_OP_WRITEV,    IORING_OP_READ,
                                 IORING_OP_FSYNC,        IORING_OP_FALLOCATE, IORING_OP_POLL_ADD,
                                 IORING_OP_OPENAT,       IORING_OP_CLOSE};
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (probe == NULL) return false;
    bool all = true;
    for (size_t i = 0; i < COUNT_OF(needed); i++)
        all = all && io_uring_opcode_supported(probe, needed[i]);
    io_uring_free_probe(probe);
    return all;
}

static int ring_open(struct uring *u, uint32_t entries)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN |
                                              IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                                              IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP};
    params.cq_entries = entries * 4 > URING_CQ_MIN ? entries * 4 : URING_CQ_MIN;
    int rc = io_uring_queue_init_params(entries, &u->ring, &params);
    if (rc < 0) return rc;
    uint32_t needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE |
                      IORING_FEAT_FAST_POLL | IORING_FEAT_CQE_SKIP;
    if ((params.features & needed) != needed || !ops_supported(&u->ring)) {
        io_uring_queue_exit(&u->ring);
        return -EINVAL;
    }
    (void)io_uring_register_ring_fd(&u->ring); /* saves a descriptor look-up per enter, no more */
    return 0;
}

static void *map_pages(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static size_t buf_ring_bytes(const struct uring *u)
{
    return u->buffer_count * sizeof(struct io_uring_buf);
}

static size_t buffers_bytes(const struct uring *u)
{
    return (size_t)u->buffer_count * u->buffer_bytes;
}

static void buffers_close(struct uring *u)
{
    if (u->buf_ring != NULL) munmap(u->buf_ring, buf_ring_bytes(u));
    if (u->buffers != NULL) munmap(u->buffers, buffers_bytes(u));
    mem_free(MEM_RT, u->used, u->buffer_count * sizeof *u->used);
}

/* By hand: the packaged liburing has no io_uring_setup_buf_ring(). */
static int buffers_open(struct uring *u, const struct io_opts *opts)
{
    u->buffer_count = opts->buffers;
    u->buffer_bytes = opts->buffer_bytes;
    u->used = mem_alloc(MEM_RT, u->buffer_count * sizeof *u->used);
    u->buf_ring = map_pages(buf_ring_bytes(u));
    u->buffers = map_pages(buffers_bytes(u));
    if (u->buf_ring == NULL || u->buffers == NULL) return -ENOMEM;
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)u->buf_ring,
                                   .ring_entries = u->buffer_count,
                                   .bgid = URING_GROUP};
    int rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (rc < 0) return rc;
    io_uring_buf_ring_init(u->buf_ring);
    for (uint32_t i = 0; i < u->buffer_count; i++)
        u->used[i] = (uint16_t)i;
    u->used_count = u->buffer_count; /* the first turn gives them all */
    return 0;
}

/* Direct descriptors save 8-13 % of CPU; without them all works the same. Before Linux 6.14 an emptied
 * slot kept its socket until every older request on any slot had ended: with receives that wait for
 * hours, closed connections would pile up. */
static void fixed_open(struct uring *u)
{
    if (!(u->ring.features & COMPAT_FEAT_RW_ATTR)) return;
    struct rlimit limit = {0};
    uint32_t count = URING_FIXED_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < count)
        count = (uint32_t)limit.rlim_cur;
    if (io_uring_register_files_sparse(&u->ring, count) < 0) return;
    u->fixed_count = count;
    u->free_slots = mem_alloc(MEM_RT, count * sizeof *u->free_slots);
    while (u->free_count < count) {
        u->free_slots[u->free_count] = count - 1 - u->free_count; /* lowest slot on top */
        u->free_count++;
    }
}

static void uring_free(struct io *io)
{
    struct uring *u = uring_of(io);
    while (u->listeners != NULL) {
        struct uring_listener *l = u->listeners;
        u->listeners = l->next;
        if (l->owner != NULL) (void)close(l->fd);
        mem_free(MEM_RT, l, sizeof *l);
    }
    /* What is still under way must not write into memory that others get next. */
    struct io_uring_sync_cancel_reg reg = {.fd = -1,
                                           .flags =
                                               IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
                                           .timeout = {.tv_sec = 1, .tv_nsec = 0}};
    (void)io_uring_register_sync_cancel(&u->ring, &reg);
    (void)io_uring_get_events(&u->ring);
    io_uring_queue_exit(&u->ring);
    buffers_close(u);
    mem_free(MEM_RT, u->free_slots, u->fixed_count * sizeof *u->free_slots);
    (void)close(u->wake_fd);
    mem_free(MEM_RT, u, sizeof *u);
}

static const struct io_ops uring_ops = {
    .kind = IO_URING,
    .free = uring_free,
    .turn = uring_turn,
    .wake = uring_wake,
    .stream_open = uring_stream_open,
    .stream_send = uring_stream_send,
    .stream_pause = uring_stream_pause,
    .stream_resume = uring_stream_resume,
    .stream_close = uring_stream_close,
    .listen = uring_listen,
    .unlisten = uring_unlisten,
    IO__FILE_OPS,
};

enum rc io__uring_open(const struct io_opts *opts, struct io **out, const char **why_out)
{
    struct uring *u = mem_zalloc(MEM_RT, sizeof *u);
    u->base.io.ops = &uring_ops;
    io__ops_init(&u->base.ops);
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = u->wake_fd >= 0 ? ring_open(u, opts->entries) : -errno;
    if (rc < 0) goto out_wake;
    rc = buffers_open(u, opts);
    if (rc < 0) goto out_ring;
    fixed_open(u);
    *out = &u->base.io;
    return RC_OK;
out_ring:
    io_uring_queue_exit(&u->ring);
    buffers_close(u);
out_wake:
    if (u->wake_fd >= 0) (void)close(u->wake_fd);
    mem_free(MEM_RT, u, sizeof *u);
    *why_out = refusal(rc);
    return RC_UNSUPPORTED;
}
