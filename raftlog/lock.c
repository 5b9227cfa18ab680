/* raftlog/lock.c: one directory, one process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "raftlog/raftlog.h"
#include "raftlog/store_priv.h"
#include "shard/rt/io.h"

static enum rc complain(enum rc rc, char *why, size_t why_bytes, const char *path, const char *text)
{
    (void)snprintf(why, why_bytes, "%s: %s", path, text);
    return rc;
}

/* The name of a new directory is on the disk. */
static int sync_parent(struct io *io, const char *dir)
{
    char path[STORE_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", dir);
    char *slash = strrchr(path, '/');
    if (slash == NULL) return -EINVAL;
    *slash = '\0';
    int fd = io->ops->file_open(io, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fd;
    int err = io->ops->file_sync(io, fd);
    (void)io->ops->file_close(io, fd);
    return err;
}

enum rc rl_lock(struct io *io, const char *dir, int *fd_out, char *why_out, size_t why_bytes)
{
    char path[STORE_PATH_MAX];
    int err = io->ops->file_mkdir(io, dir);
    if (err == 0) err = sync_parent(io, dir);
    if (err < 0) return complain(rc_from_errno(err), why_out, why_bytes, dir, strerror(-err));
    if (snprintf(path, sizeof path, "%s/lock", dir) >= (int)sizeof path)
        return complain(RC_TOOBIG, why_out, why_bytes, dir, "the name is too long");
    int fd = io->ops->file_open(io, path, O_RDWR | O_CREAT, 0644);
    if (fd < 0) return complain(rc_from_errno(fd), why_out, why_bytes, path, strerror(-fd));
    if (io->ops->file_lock(io, fd) < 0) {
        (void)io->ops->file_close(io, fd);
        return complain(RC_LOCKED, why_out, why_bytes, dir, "in use by another process");
    }
    *fd_out = fd;
    return RC_OK;
}

void rl_unlock(struct io *io, int fd)
{
    if (fd >= 0) (void)io->ops->file_close(io, fd);
}
