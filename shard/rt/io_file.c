/* shard/rt/io_file.c: the file calls, the same under io_uring and epoll. The blocking ones are plain
 * system calls, repeated on EINTR; -errno is returned. The asynchronous ones queue a request: the
 * backend's next turn gives it to the kernel or to the helper thread. */
#include "shard/rt/io_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shard/base/assert.h"

/* The kernel moves at most this much per call (MAX_RW_COUNT); more only makes a short count. */
#define FILE_BYTES_MAX 0x7ffff000u

static size_t bounded(uint64_t len)
{
    return len < FILE_BYTES_MAX ? (size_t)len : FILE_BYTES_MAX;
}

int io__file_open(struct io *io, const char *path, int flags, int mode)
{
    (void)io;
    int fd = 0;
    do
        fd = open(path, flags | O_CLOEXEC, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int io__file_close(struct io *io, int fd)
{
    (void)io;
    /* Never repeated: Linux has freed the descriptor even when it says EINTR. */
    return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

int64_t io__file_pread(struct io *io, int fd, void *into, size_t len, uint64_t offset)
{
    (void)io;
    ssize_t n = 0;
    do
        n = pread(fd, into, bounded(len), (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int64_t io__file_pwritev(struct io *io, int fd, const struct iovec *iov, uint32_t count,
                         uint64_t offset)
{
    (void)io;
    ssize_t n = 0;
    do
        n = pwritev(fd, iov, (int)count, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int64_t io__file_pwrite(struct io *io, int fd, const void *from, size_t len, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)from, .iov_len = bounded(len)};
    return io__file_pwritev(io, fd, &iov, 1, offset);
}

int io__file_sync(struct io *io, int fd)
{
    (void)io;
    struct stat st;
    if (fstat(fd, &st) != 0) return -errno;
    /* Never repeated after an error: the kernel reports a lost page once and then forgets it. */
    int rc = S_ISDIR(st.st_mode) ? fsync(fd) : fdatasync(fd);
    return rc == 0 ? 0 : -errno;
}

int io__file_truncate(struct io *io, int fd, uint64_t len)
{
    (void)io;
    int rc = 0;
    do
        rc = ftruncate(fd, (off_t)len);
    while (rc < 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

int64_t io__file_size(struct io *io, int fd)
{
    (void)io;
    struct stat st;
    return fstat(fd, &st) == 0 ? (int64_t)st.st_size : -errno;
}

int io__file_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return rename(from, to) == 0 ? 0 : -errno;
}

int io__file_unlink(struct io *io, const char *path)
{
    (void)io;
    return unlink(path) == 0 ? 0 : -errno;
}

int io__file_mkdir(struct io *io, const char *path)
{
    (void)io;
    if (mkdir(path, 0755) == 0) return 0;
    int err = -errno;
    struct stat st;
    bool there = err == -EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    return there ? 0 : err;
}

int io__file_list(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                  void *ctx)
{
    (void)io;
    DIR *d = opendir(path);
    if (d == NULL) return -errno;
    errno = 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        bool self = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        if (!self) each(ctx, e->d_name);
        errno = 0; /* readdir() tells its end from its errors by errno only */
    }
    int rc = -errno;
    closedir(d);
    return rc;
}

int io__file_lock(struct io *io, int fd)
{
    (void)io;
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

/* ---- asynchronous */

static void queue(struct io *io, struct io_op *op, struct io__request request)
{
    struct io__base *base = (void *)io;
    assert(op->done != NULL);
    *io__request(op) = request;
    io__ops_push(&base->ops, op);
    io->asked = true;
}

void io__write(struct io *io, struct io_op *op, int fd, const struct iovec *iov, uint32_t count,
               uint64_t offset, bool dsync)
{
    queue(io, op,
          (struct io__request){.kind = IO__WRITE,
                               .fd = fd,
                               .iov = iov,
                               .count = count,
                               .offset = offset,
                               .dsync = dsync});
}

void io__read(struct io *io, struct io_op *op, int fd, void *into, size_t len, uint64_t offset)
{
    queue(io, op,
          (struct io__request){
              .kind = IO__READ, .fd = fd, .into = into, .count = bounded(len), .offset = offset});
}

void io__fdatasync(struct io *io, struct io_op *op, int fd)
{
    queue(io, op, (struct io__request){.kind = IO__FDATASYNC, .fd = fd});
}

void io__fallocate(struct io *io, struct io_op *op, int fd, uint64_t offset, uint64_t len)
{
    queue(io, op,
          (struct io__request){.kind = IO__FALLOCATE, .fd = fd, .count = len, .offset = offset});
}

void io__open(struct io *io, struct io_op *op, const char *path, int flags, int mode)
{
    queue(io, op,
          (struct io__request){.kind = IO__OPEN,
                               .fd = -1,
                               .path = path,
                               .count = (uint64_t)mode,
                               .offset = (uint64_t)(flags | O_CLOEXEC)});
}

void io__close(struct io *io, struct io_op *op, int fd)
{
    queue(io, op, (struct io__request){.kind = IO__CLOSE, .fd = fd});
}

void io__fsync(struct io *io, struct io_op *op, int fd)
{
    queue(io, op, (struct io__request){.kind = IO__FSYNC, .fd = fd});
}

static int32_t run_write(const struct io__request *r)
{
    ssize_t n = 0;
    do
        n = pwritev2(r->fd, r->iov, (int)r->count, (off_t)r->offset, r->dsync ? RWF_DSYNC : 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int32_t)n;
}

int32_t io__request_run(const struct io__request *r)
{
    switch ((enum io__file_kind)r->kind) {
    case IO__WRITE:
        return run_write(r);
    case IO__READ:
        return (int32_t)io__file_pread(NULL, r->fd, r->into, r->count, r->offset);
    case IO__FDATASYNC:
        return fdatasync(r->fd) == 0 ? 0 : -errno;
    case IO__FALLOCATE:
        return fallocate(r->fd, 0, (off_t)r->offset, (off_t)r->count) == 0 ? 0 : -errno;
    case IO__OPEN:
        return io__file_open(NULL, r->path, (int)r->offset, (int)r->count);
    case IO__CLOSE:
        return io__file_close(NULL, r->fd);
    case IO__FSYNC:
        return fsync(r->fd) == 0 ? 0 : -errno;
    }
    assert(false && "a kind of request that nobody made");
    return -EINVAL;
}
