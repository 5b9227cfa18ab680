/* shard/rt/io.h: everything a thread asks of the kernel, as one table with three implementations:
 * io_uring.c and io_epoll.c here, io_sim.c in tests/sim. One struct io belongs to one thread; every
 * call but io_wake() comes from it. Callbacks run inside io_turn(), never inside the call that
 * started the operation. */
#ifndef MOON_RT_IO_H
#define MOON_RT_IO_H

#include <sys/uio.h>

#include "shard/base/attr.h"
#include "shard/base/bytes.h"
#include "shard/base/rc.h"

struct io;

enum io_kind { IO_AUTO, IO_URING, IO_EPOLL, IO_SIM };

/* One asynchronous file operation; embedded in what waits for it and kept until `done` was called. */
struct io_op {
    void (*done)(struct io_op *op, int32_t result); /* bytes or 0, or -errno */
    uint64_t backend[6];
};

/* A connected stream socket. Embedded in a connection. */
struct io_stream;
struct io_stream_events {
    /* `data` stays valid until the next io_turn(): parse it in place after the turn. */
    void (*on_data)(struct io_stream *s, const uint8_t *data, size_t len);
    /* Peer closed (0) or the link failed (-errno). Once; no on_data follows. The owner still calls
     * io_stream_close(). */
    void (*on_close)(struct io_stream *s, int32_t err);
    /* The send in flight is over: all bytes went out (0), or -errno. */
    void (*on_sent)(struct io_stream *s, int32_t err);
    /* io_stream_close() is complete, nothing refers to the stream or its buffers any more: free it. */
    void (*on_gone)(struct io_stream *s);
};
struct io_stream {
    const struct io_stream_events *events;
    int fd;
    uint32_t slot;            /* backend: direct descriptor or table index */
    uint32_t state;           /* backend */
    const uint8_t *send_data; /* backend: the send in flight */
    size_t send_left;
    void *backend_next;
    uint64_t backend[4];
};
struct io_listener {
    void (*on_accept)(struct io_listener *l,
                      int fd); /* fd owned by the callee; non-blocking, cloexec */
    int fd;
    uint64_t backend[4];
};

struct io_ops {
    enum io_kind kind;
    void (*free)(struct io *io);
    /* Submits what was queued, waits up to timeout_us for the first completion (0: no wait, -1: no
     * bound), dispatches all that is there. Returns the number dispatched; a signal may end the wait
     * early with 0. */
    uint32_t (*turn)(struct io *io, int64_t timeout_us);
    void (*wake)(struct io *io); /* any thread: the running or next waiting turn returns */

    /* Takes fd if RC_OK (a socket that is still connecting may be given too: the first on_sent or
     * on_close tells how it went); receives at once. The owner set s->events, the rest is ours. */
    enum rc (*stream_open)(struct io *io, struct io_stream *s, int fd);
    /* One send in flight per stream; `data` borrowed until on_sent. */
    void (*stream_send)(struct io *io, struct io_stream *s, const uint8_t *data, size_t len);
    void (*stream_pause)(
        struct io *io, struct io_stream *s); /* stop receiving; what is under way may still come */
    void (*stream_resume)(struct io *io, struct io_stream *s);
    /* Aborts a send in flight (its bytes stay borrowed until on_gone). After this call no callback of
     * the stream comes but on_gone, in a later turn. */
    void (*stream_close)(struct io *io, struct io_stream *s);
    enum rc (*listen)(struct io *io, struct io_listener *l,
                      int fd); /* takes a bound, listening fd */
    void (*unlisten)(struct io *io,
                     struct io_listener *l); /* cancels, closes; no callback follows a return */

    /* Files, asynchronous. The iovec array and its bytes are borrowed until done. dsync: RWF_DSYNC. */
    void (*write)(struct io *io, struct io_op *op, int fd, const struct iovec *iov, uint32_t count,
                  uint64_t offset, bool dsync);
    void (*read)(struct io *io, struct io_op *op, int fd, void *into, size_t len, uint64_t offset);
    void (*fdatasync)(struct io *io, struct io_op *op, int fd);
    void (*fallocate)(struct io *io, struct io_op *op, int fd, uint64_t offset, uint64_t len);
    /* As open(2), O_CLOEXEC added; the result is the descriptor. `path` is borrowed until done. */
    void (*open)(struct io *io, struct io_op *op, const char *path, int flags, int mode);
    void (*close)(struct io *io, struct io_op *op, int fd);
    /* Data and all metadata; on a directory its names: a file created in it is found after a crash. */
    void (*fsync)(struct io *io, struct io_op *op, int fd);

    /* Files, blocking: for start, stop and helper threads, never on a serving shard. As the system
     * calls, but -errno is returned. */
    int (*file_open)(struct io *io, const char *path, int flags, int mode);
    int (*file_close)(struct io *io, int fd);
    int64_t (*file_pread)(struct io *io, int fd, void *into, size_t len, uint64_t offset);
    int64_t (*file_pwrite)(struct io *io, int fd, const void *from, size_t len, uint64_t offset);
    /* The one of these that a serving shard calls, on buffered log segments only: when it returns the
     * bytes are with the kernel, so killing the process loses nothing that is answered after it. It
     * blocks only while the kernel throttles writers for dirty pages (docs/adr). */
    int64_t (*file_pwritev)(struct io *io, int fd, const struct iovec *iov, uint32_t count,
                            uint64_t offset);
    int (*file_sync)(struct io *io, int fd); /* fdatasync; on a directory fsync */
    int (*file_truncate)(struct io *io, int fd, uint64_t len);
    int64_t (*file_size)(struct io *io, int fd);
    int (*file_rename)(struct io *io, const char *from, const char *to);
    int (*file_unlink)(struct io *io, const char *path);
    int (*file_mkdir)(struct io *io, const char *path); /* 0 also if it is there */
    /* Calls back with each name of the directory, "." and ".." left out. */
    int (*file_list)(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                     void *ctx);
    int (*file_lock)(struct io *io,
                     int fd); /* exclusive, advisory; -EWOULDBLOCK if held elsewhere */
};
/* Told around the one moment of a turn in which the thread waits and touches nothing of its own: between the
 * two calls somebody else may work on what belongs to it (reactor.h: the run token). */
struct io_rest {
    void (*leave)(
        struct io_rest *rest); /* what this turn starts is with the kernel, or goes there now */
    void (*back)(struct io_rest *rest); /* before anything is dispatched */
};
struct io {
    const struct io_ops *ops;
    struct io_rest *rest; /* NULL: nobody is told */
    bool asked;           /* file operations wait for the next turn to be started */
};

struct io_opts {
    enum io_kind kind;
    uint32_t entries;      /* ring size, power of two */
    uint32_t buffers;      /* receive buffers in the ring, power of two, ≤ 32,768 */
    uint32_t buffer_bytes; /* ≥ 512; what one on_data brings at most */
};
/* IO_AUTO: io_uring if the kernel grants what we need, else epoll and *why_out says what was refused
 * and the remedy (static text; NULL if io_uring was taken). IO_URING: RC_UNSUPPORTED and *why_out
 * instead. Must be called on the owning thread. io_free(): when no stream, listener or operation is
 * left. */
MUST_CHECK enum rc io_open(const struct io_opts *opts, struct io **out, const char **why_out);

/* For implementations, around their wait. */
static inline void io_leave(const struct io *io)
{
    if (unlikely(io->rest != NULL)) io->rest->leave(io->rest);
}
static inline void io_back(const struct io *io)
{
    if (unlikely(io->rest != NULL)) io->rest->back(io->rest);
}

static inline uint32_t io_turn(struct io *io, int64_t timeout_us)
{
    return io->ops->turn(io, timeout_us);
}
static inline void io_wake(struct io *io)
{
    io->ops->wake(io);
}
static inline void io_free(struct io *io)
{
    io->ops->free(io);
}
MUST_CHECK static inline enum rc io_stream_open(struct io *io, struct io_stream *s, int fd)
{
    return io->ops->stream_open(io, s, fd);
}
static inline void io_stream_send(struct io *io, struct io_stream *s, const uint8_t *data,
                                  size_t len)
{
    io->ops->stream_send(io, s, data, len);
}
static inline void io_stream_pause(struct io *io, struct io_stream *s)
{
    io->ops->stream_pause(io, s);
}
static inline void io_stream_resume(struct io *io, struct io_stream *s)
{
    io->ops->stream_resume(io, s);
}
static inline void io_stream_close(struct io *io, struct io_stream *s)
{
    io->ops->stream_close(io, s);
}
MUST_CHECK static inline enum rc io_listen(struct io *io, struct io_listener *l, int fd)
{
    return io->ops->listen(io, l, fd);
}
static inline void io_unlisten(struct io *io, struct io_listener *l)
{
    io->ops->unlisten(io, l);
}

#endif
