/* raftlog/steps.c: a plan of steps, run one after the other: on the ring, or blocking at a start. */
#include "raftlog/store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/log.h"

static void step_next(struct io_op *op, int32_t result);

void store__fail(struct store *s, const char *path, const char *what, int err)
{
    if (s->failed) return;
    s->failed = true;
    (void)snprintf(s->why, sizeof s->why, "%s: %s: %s", path, what, strerror(-err));
    log_warning("raftlog", "the control log of this node stops: %s", s->why);
}

void store__step(struct store *s, struct step step)
{
    assert(s->step_count < STORE_STEPS_MAX);
    s->step[s->step_count++] = step;
}

static const char *step_name(enum step_kind kind)
{
    static const char *const names[] = {
        [STEP_OPEN] = "open", [STEP_ALLOCATE] = "fallocate", [STEP_WRITE] = "write",
        [STEP_SYNC] = "sync", [STEP_CLOSE] = "close",        [STEP_CALL] = "call",
    };
    return names[kind];
}

static void step_issue(struct store *s, struct step *step)
{
    struct io *io = s->io;
    const struct io_ops *ops = io->ops;
    int fd = s->fd[step->target];
    s->op.done = step_next;
    switch (step->kind) {
    case STEP_OPEN:
        ops->open(io, &s->op, s->path[step->target], step->flags, 0644);
        return;
    case STEP_ALLOCATE:
        ops->fallocate(io, &s->op, fd, 0, step->len);
        return;
    case STEP_WRITE:
        s->iov = (struct iovec){.iov_base = (void *)(uintptr_t)(step->data + step->done),
                                .iov_len = (size_t)(step->len - step->done)};
        ops->write(io, &s->op, fd, &s->iov, 1, step->offset + step->done, false);
        return;
    case STEP_SYNC:
        if (step->target == TARGET_DIR)
            ops->fsync(io, &s->op, fd);
        else
            ops->fdatasync(io, &s->op, fd);
        return;
    case STEP_CLOSE:
        ops->close(io, &s->op, fd);
        return;
    case STEP_CALL:
        break;
    }
    assert(false && "calls are not issued");
}

/* Takes the result of a step. False: it is to be issued again (a short write), or all is over. */
static bool step_take(struct store *s, struct step *step, int64_t result)
{
    if (result < 0 || (step->kind == STEP_WRITE && result == 0)) {
        int err = result < 0 ? (int)result : -ENOSPC;
        store__fail(s, s->path[step->target], step_name(step->kind), err);
        return false;
    }
    if (step->kind == STEP_WRITE) {
        step->done += (uint64_t)result;
        return step->done == step->len;
    }
    if (step->kind == STEP_OPEN) s->fd[step->target] = (int)result;
    if (step->kind == STEP_CLOSE) s->fd[step->target] = -1;
    return true;
}

static void step_next(struct io_op *op, int32_t result)
{
    struct store *s = container_of(op, struct store, op);
    s->ops++;
    if (step_take(s, &s->step[s->step_at], result)) s->step_at++;
    store__run(s);
    if (s->on_done != NULL) s->on_done(s);
}

void store__run(struct store *s)
{
    s->busy = true;
    while (!s->failed) {
        if (s->step_at == s->step_count) {
            s->step_at = s->step_count = 0;
            store__complete(s);
            if (!store__plan_next(s)) break;
            continue;
        }
        struct step *step = &s->step[s->step_at];
        if (step->kind != STEP_CALL) {
            step_issue(s, step);
            return;
        }
        if (step->call(s)) s->step_at++;
    }
    s->busy = false;
}

static int64_t step_block(struct store *s, struct step *step)
{
    struct io *io = s->io;
    const struct io_ops *ops = io->ops;
    int fd = s->fd[step->target];
    static const uint8_t zeros[4096];
    switch (step->kind) {
    case STEP_OPEN:
        return ops->file_open(io, s->path[step->target], step->flags, 0644);
    case STEP_ALLOCATE: /* a table without a blocking one: zeros, which is as good */
        for (uint64_t at = 0; at < step->len;) {
            uint64_t n = step->len - at < sizeof zeros ? step->len - at : sizeof zeros;
            int64_t wrote = ops->file_pwrite(io, fd, zeros, (size_t)n, at);
            if (wrote <= 0) return wrote < 0 ? wrote : -ENOSPC;
            at += (uint64_t)wrote;
        }
        return 0;
    case STEP_WRITE:
        return ops->file_pwrite(io, fd, step->data + step->done, (size_t)(step->len - step->done),
                                step->offset + step->done);
    case STEP_SYNC:
        return ops->file_sync(io, fd);
    case STEP_CLOSE:
        return ops->file_close(io, fd);
    case STEP_CALL:
        return step->call(s) ? 0 : -EIO;
    }
    return -EINVAL;
}

bool store__run_blocking(struct store *s)
{
    while (!s->failed && s->step_at < s->step_count) {
        struct step *step = &s->step[s->step_at];
        if (step_take(s, step, step_block(s, step))) s->step_at++;
    }
    s->step_at = s->step_count = 0;
    return !s->failed;
}
