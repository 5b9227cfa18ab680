/* shard/rt/io_priv.h: what the implementations of io.h share: openers, the blocking file calls, and
 * how a file operation waits in its io_op until the next turn starts it. */
#ifndef MOON_RT_IO_PRIV_H
#define MOON_RT_IO_PRIV_H

#include "shard/base/assert.h"
#include "shard/rt/io.h"

/* Both take checked options. *why_out: static text, what was refused and the remedy. */
MUST_CHECK enum rc io__uring_open(const struct io_opts *opts, struct io **out,
                                  const char **why_out);
MUST_CHECK enum rc io__epoll_open(const struct io_opts *opts, struct io **out);

/* ---- file operations: kept in io_op.backend from the call until `done` */

enum io__file_kind {
    IO__WRITE,
    IO__READ,
    IO__FDATASYNC,
    IO__FALLOCATE,
    IO__OPEN,
    IO__CLOSE,
    IO__FSYNC
};
struct io__request {
    struct io_op *next;
    int fd;
    uint16_t kind;
    uint16_t dsync;
    union {
        const struct iovec *iov; /* write: `count` of them */
        void *into;              /* read */
        const char *path;        /* open */
    };
    uint64_t count;  /* iovecs, or bytes of a read or fallocate, or the mode of an open */
    uint64_t offset; /* or the flags of an open */
};
static_assert(sizeof(struct io__request) <= sizeof(((struct io_op *)0)->backend),
              "request lives in the op");

static inline struct io__request *io__request(struct io_op *op)
{
    return (void *)op->backend;
}

struct io__ops {
    struct io_op *head, **tail;
};
static inline void io__ops_init(struct io__ops *q)
{
    q->head = NULL;
    q->tail = &q->head;
}
static inline void io__ops_push(struct io__ops *q, struct io_op *op)
{
    io__request(op)->next = NULL;
    *q->tail = op;
    q->tail = &io__request(op)->next;
}
static inline struct io_op *io__ops_pop(struct io__ops *q)
{
    struct io_op *op = q->head;
    if (op == NULL) return NULL;
    q->head = io__request(op)->next;
    if (q->head == NULL) q->tail = &q->head;
    return op;
}

/* What every backend begins with: the file operations asked for since the last turn. */
struct io__base {
    struct io io;
    struct io__ops ops;
};
/* Runs it here and now; the result as `done` wants it. */
int32_t io__request_run(const struct io__request *r);

/* ---- file calls (io_file.c): the asynchronous ones queue in io__base.ops, the others block */

void io__write(struct io *io, struct io_op *op, int fd, const struct iovec *iov, uint32_t count,
               uint64_t offset, bool dsync);
void io__read(struct io *io, struct io_op *op, int fd, void *into, size_t len, uint64_t offset);
void io__fdatasync(struct io *io, struct io_op *op, int fd);
void io__fallocate(struct io *io, struct io_op *op, int fd, uint64_t offset, uint64_t len);
void io__open(struct io *io, struct io_op *op, const char *path, int flags, int mode);
void io__close(struct io *io, struct io_op *op, int fd);
void io__fsync(struct io *io, struct io_op *op, int fd);

int io__file_open(struct io *io, const char *path, int flags, int mode);
int io__file_close(struct io *io, int fd);
int64_t io__file_pread(struct io *io, int fd, void *into, size_t len, uint64_t offset);
int64_t io__file_pwrite(struct io *io, int fd, const void *from, size_t len, uint64_t offset);
int64_t io__file_pwritev(struct io *io, int fd, const struct iovec *iov, uint32_t count,
                         uint64_t offset);
int io__file_sync(struct io *io, int fd);
int io__file_truncate(struct io *io, int fd, uint64_t len);
int64_t io__file_size(struct io *io, int fd);
int io__file_rename(struct io *io, const char *from, const char *to);
int io__file_unlink(struct io *io, const char *path);
int io__file_mkdir(struct io *io, const char *path);
int io__file_list(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                  void *ctx);
int io__file_lock(struct io *io, int fd);

#define IO__FILE_OPS                                                                               \
    .write = io__write, .read = io__read, .fdatasync = io__fdatasync, .fallocate = io__fallocate,  \
    .open = io__open, .close = io__close, .fsync = io__fsync, .file_open = io__file_open,          \
    .file_close = io__file_close, .file_pread = io__file_pread, .file_pwrite = io__file_pwrite,    \
    .file_pwritev = io__file_pwritev, .file_sync = io__file_sync,                                  \
    .file_truncate = io__file_truncate, .file_size = io__file_size,                                \
    .file_rename = io__file_rename, .file_unlink = io__file_unlink, .file_mkdir = io__file_mkdir,  \
    .file_list = io__file_list, .file_lock = io__file_lock

/* ---- streams with something to start at the beginning of the next turn, first in, first out */

struct io__todo {
    struct io_stream *head, *tail;
};
static inline void io__todo_push(struct io__todo *q, struct io_stream *s)
{
    s->backend_next = NULL;
    if (q->head == NULL)
        q->head = s;
    else
        q->tail->backend_next = s;
    q->tail = s;
}
static inline struct io_stream *io__todo_pop(struct io__todo *q)
{
    struct io_stream *s = q->head;
    if (s != NULL) q->head = s->backend_next;
    return s;
}
static inline void io__todo_push_front(struct io__todo *q, struct io_stream *s)
{
    s->backend_next = q->head;
    if (q->head == NULL) q->tail = s;
    q->head = s;
}

/* A listener that ran out of descriptors or memory tries again after this long: the kernel would
 * report the same waiting connection over and over. */
#define IO__ACCEPT_RETRY_NS 50000000ull
/* One send system call takes at most this much, so that one fast reader cannot hold a turn. */
#define IO__SEND_BYTES_MAX (1u << 20)

#endif
