/* tests/sim/io_sim.c: see io_sim.h. What an operation does to the disk it does when it completes, so a
 * caller that touches borrowed bytes too early is seen. Syncs look at the disk when they are asked for:
 * they promise no more than that. */
#include "tests/sim/io_sim.h"

#include <errno.h>
#include <fcntl.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"
#include "tests/sim/disk.h"

#define FD_BASE (1 << 20) /* never mistaken for a real descriptor */
#define DELAY_US_MIN 20u
#define DELAY_US_MAX 2000u
#define DIRECT_BYTES 4096u
#define DIRECT_ALIGN 512u

struct sim_io {
    struct io io;
    struct io_sim *sim;
    struct sim_io *next;
    bool woken;
};
struct sim_fd {
    struct disk_file *file; /* held; NULL: free */
    int flags;
    bool locks;
};
enum request_kind { REQ_WRITE, REQ_READ, REQ_SYNC, REQ_ALLOCATE, REQ_OPEN, REQ_CLOSE };
struct request {
    enum request_kind kind;
    struct sim_io *io;
    struct io_op *op;
    uint64_t due_ns, number;
    int preset;             /* 0, or the error it ends with */
    struct disk_file *file; /* held; NULL with a preset, and for open and close */
    struct disk_sync *sync;
    const struct iovec *iov;
    uint32_t iov_count;
    void *into;
    const char *path;
    uint64_t offset, len;
    int fd, flags;
    bool dsync;
};
struct fault {
    uint32_t ops;
    uint64_t left; /* 0: none armed */
    int err;
    bool sticky, fired;
};
struct io_sim {
    struct rng rng;
    struct io_sim_opts opts;
    struct clock clock;
    struct disk *disk;
    struct sim_io *ios;
    uint64_t now_ns, number, ops, off_in;
    bool off;
    struct fault fault;
    struct request *request; /* under way, no order */
    uint32_t request_count, request_cap;
    struct sim_fd *fd;
    uint32_t fd_cap;
};

static struct io_sim *sim_of(struct io *io)
{
    return ((struct sim_io *)(void *)io)->sim;
}

/* ---- dice: what an operation meets */

/* Counts the operation. 0, or the error it must end with; sim->off may have become true. */
static int meet(struct io_sim *sim, uint32_t kind)
{
    sim->ops++;
    if (sim->off) return -EIO;
    if (sim->off_in > 0 && --sim->off_in == 0) {
        sim->off = true;
        return -EIO;
    }
    struct fault *f = &sim->fault;
    if (!(f->ops & kind) || f->left == 0) return 0;
    if (f->left > 1) {
        f->left--;
        return 0;
    }
    f->fired = true;
    if (!f->sticky) f->left = 0;
    return f->err;
}

/* A part of n, sometimes none of it. */
static uint64_t part_of(struct io_sim *sim, uint64_t n)
{
    return n == 0 ? 0 : rng_below(&sim->rng, n);
}

static uint64_t perhaps_short(struct io_sim *sim, uint64_t n)
{
    if (!sim->opts.short_io || n < 2 || rng_below(&sim->rng, 8) != 0) return n;
    return 1 + rng_below(&sim->rng, n - 1);
}

/* ---- descriptors */

static struct sim_fd *fd_find(struct io_sim *sim, int fd)
{
    int i = fd - FD_BASE;
    bool known = i >= 0 && (uint32_t)i < sim->fd_cap && sim->fd[i].file != NULL;
    return known ? &sim->fd[i] : NULL;
}

/* Takes the hold on `file`. */
static int fd_new(struct io_sim *sim, struct disk_file *file, int flags)
{
    uint32_t i = 0;
    while (i < sim->fd_cap && sim->fd[i].file != NULL)
        i++;
    if (i == sim->fd_cap) {
        uint32_t cap = sim->fd_cap + 16;
        sim->fd =
            mem_resize(MEM_TEST, sim->fd, sim->fd_cap * sizeof *sim->fd, cap * sizeof *sim->fd);
        memset(sim->fd + sim->fd_cap, 0, 16 * sizeof *sim->fd);
        sim->fd_cap = cap;
    }
    sim->fd[i] = (struct sim_fd){.file = file, .flags = flags};
    return FD_BASE + (int)i;
}

static int fd_close(struct io_sim *sim, int fd)
{
    struct sim_fd *at = fd_find(sim, fd);
    if (at == NULL) return -EBADF;
    if (at->locks) *disk_lock(at->file) = false;
    disk_release(sim->disk, at->file);
    *at = (struct sim_fd){0};
    return 0;
}

static bool direct_refuses(const struct io_sim *sim, const struct sim_fd *fd, const void *data,
                           uint64_t len, uint64_t offset)
{
    if (!sim->opts.check_direct || !(fd->flags & O_DIRECT)) return false;
    return len % DIRECT_BYTES != 0 || offset % DIRECT_BYTES != 0 ||
           (uintptr_t)data % DIRECT_ALIGN != 0;
}

/* ---- what operations do */

static uint64_t iov_bytes(const struct iovec *iov, uint32_t count)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += iov[i].iov_len;
    return n;
}

/* The first `max` bytes. */
static int64_t write_bytes(struct disk *disk, struct disk_file *file, const struct iovec *iov,
                           uint32_t count, uint64_t offset, uint64_t max)
{
    uint64_t done = 0;
    for (uint32_t i = 0; i < count && done < max; i++) {
        uint64_t n = iov[i].iov_len < max - done ? iov[i].iov_len : max - done;
        if (n == 0) continue;
        int64_t wrote = disk_write(disk, file, iov[i].iov_base, n, offset + done);
        if (wrote < 0) return done > 0 ? (int64_t)done : wrote;
        done += (uint64_t)wrote;
        if ((uint64_t)wrote < n) break;
    }
    return (int64_t)done;
}

static int64_t do_write(struct io_sim *sim, struct disk_file *file, const struct iovec *iov,
                        uint32_t count, uint64_t offset, bool dsync, int preset)
{
    uint64_t len = iov_bytes(iov, count);
    if (preset != 0) {
        uint64_t some = part_of(sim, len);
        int64_t wrote = write_bytes(sim->disk, file, iov, count, offset, some);
        bool told = preset == -ENOSPC && wrote > 0;
        if (told && dsync) disk_persist(sim->disk, file, offset, (uint64_t)wrote);
        return told ? wrote : preset;
    }
    int64_t wrote = write_bytes(sim->disk, file, iov, count, offset, perhaps_short(sim, len));
    if (dsync && wrote > 0) disk_persist(sim->disk, file, offset, (uint64_t)wrote);
    return wrote;
}

static int do_open(struct io_sim *sim, const char *path, int flags)
{
    struct disk_file *file = NULL;
    int rc = disk_open(sim->disk, path, flags, &file);
    return rc < 0 ? rc : fd_new(sim, file, flags);
}

static int do_sync(struct io_sim *sim, struct disk_sync *sync, int preset)
{
    if (preset == 0)
        disk_sync_done(sim->disk, sync);
    else
        disk_sync_failed(sim->disk, sync);
    return preset;
}

/* ---- asynchronous */

static uint64_t delay_ns(struct io_sim *sim)
{
    uint64_t min = sim->opts.delay_us_min, max = sim->opts.delay_us_max;
    return (min + rng_below(&sim->rng, max - min + 1)) * 1000;
}

/* The power failed while it was under way: did any of it reach the disk? */
static void leave_half(struct io_sim *sim, struct disk *disk, struct disk_file *file,
                       const struct request *r)
{
    if (rng_below(&sim->rng, 2) == 0) return;
    uint64_t len = iov_bytes(r->iov, r->iov_count);
    uint64_t some = rng_below(&sim->rng, 2) == 0 ? len : part_of(sim, len);
    if (r->kind == REQ_WRITE) (void)write_bytes(disk, file, r->iov, r->iov_count, r->offset, some);
}

static void request_push(struct io_sim *sim, const struct request *r)
{
    if (sim->request_count == sim->request_cap) {
        uint32_t cap = sim->request_cap * 2 + 16;
        sim->request = mem_resize(MEM_TEST, sim->request, sim->request_cap * sizeof *sim->request,
                                  cap * sizeof *sim->request);
        sim->request_cap = cap;
    }
    sim->request[sim->request_count++] = *r;
}

static void submit(struct io *io, struct io_op *op, uint32_t kind, struct request r)
{
    struct io_sim *sim = sim_of(io);
    assert(op->done != NULL);
    r.io = (void *)io;
    r.op = op;
    bool was_off = sim->off;
    r.preset = meet(sim, kind);
    r.due_ns = sim->now_ns + delay_ns(sim);
    r.number = ++sim->number;
    const struct sim_fd *fd = fd_find(sim, r.fd);
    bool needs_fd = r.kind != REQ_OPEN && r.kind != REQ_CLOSE;
    if (sim->off) {
        if (!was_off && needs_fd && fd != NULL) leave_half(sim, sim->disk, fd->file, &r);
        return;
    }
    if (needs_fd && fd == NULL) {
        r.preset = -EBADF;
    } else if (needs_fd) {
        r.file = disk_hold(fd->file);
        r.dsync = r.dsync || (fd->flags & O_DSYNC);
        const void *data = r.kind == REQ_WRITE ? r.iov[0].iov_base : r.into;
        uint64_t len = r.kind == REQ_WRITE ? iov_bytes(r.iov, r.iov_count) : r.len;
        bool moves = r.kind == REQ_WRITE || r.kind == REQ_READ;
        if (moves && direct_refuses(sim, fd, data, len, r.offset)) r.preset = -EINVAL;
        if (r.kind == REQ_WRITE && (fd->flags & O_ACCMODE) == O_RDONLY) r.preset = -EBADF;
        if (r.kind == REQ_SYNC) r.sync = disk_sync_begin(sim->disk, r.file);
    }
    request_push(sim, &r);
}

static int64_t request_finish(struct io_sim *sim, const struct request *r)
{
    bool refused = r->preset == -EBADF || r->preset == -EINVAL;
    switch (r->kind) {
    case REQ_WRITE:
        return refused
                   ? r->preset
                   : do_write(sim, r->file, r->iov, r->iov_count, r->offset, r->dsync, r->preset);
    case REQ_READ:
        if (r->preset != 0) return r->preset;
        return disk_read(sim->disk, r->file, r->into, perhaps_short(sim, r->len), r->offset);
    case REQ_SYNC:
        return refused ? r->preset : do_sync(sim, r->sync, r->preset);
    case REQ_ALLOCATE:
        return r->preset != 0 ? r->preset : disk_allocate(sim->disk, r->file, r->offset, r->len);
    case REQ_OPEN:
        return r->preset != 0 ? r->preset : do_open(sim, r->path, r->flags);
    case REQ_CLOSE:
        return fd_close(sim, r->fd);
    }
    assert(false && "a kind of request that nobody made");
    return -EINVAL;
}

/* The earliest of this io that was asked for before `number`, or NULL. */
static struct request *request_first(struct io_sim *sim, const struct sim_io *io, uint64_t number)
{
    struct request *first = NULL;
    for (uint32_t i = 0; i < sim->request_count; i++) {
        struct request *r = &sim->request[i];
        if (r->io == io && r->number <= number && (first == NULL || r->due_ns < first->due_ns))
            first = r;
    }
    return first;
}

static uint32_t dispatch_due(struct io_sim *sim, struct sim_io *io)
{
    uint64_t number = sim->number; /* what callbacks ask for belongs to the next turn */
    uint32_t count = 0;
    struct request *r = request_first(sim, io, number);
    while (r != NULL && r->due_ns <= sim->now_ns && !sim->off) {
        struct request done = *r;
        *r = sim->request[--sim->request_count];
        int64_t result = request_finish(sim, &done);
        if (done.file != NULL) disk_release(sim->disk, done.file);
        done.op->done(done.op, (int32_t)result);
        count++;
        r = request_first(sim, io, number);
    }
    return count;
}

static uint32_t sim_turn(struct io *base, int64_t timeout_us)
{
    struct sim_io *io = (void *)base;
    struct io_sim *sim = io->sim;
    uint32_t count = dispatch_due(sim, io);
    if (count > 0 || timeout_us == 0 || io->woken) {
        count += io->woken;
        io->woken = false;
        return count;
    }
    const struct request *r = sim->off ? NULL : request_first(sim, io, UINT64_MAX);
    if (r == NULL && timeout_us < 0) return 0;
    uint64_t until = timeout_us < 0 ? r->due_ns : sim->now_ns + (uint64_t)timeout_us * 1000;
    if (r != NULL && r->due_ns < until) until = r->due_ns;
    io_leave(base);
    if (until > sim->now_ns) sim->now_ns = until;
    io_back(base);
    return dispatch_due(sim, io);
}

static void sim_wake(struct io *io)
{
    ((struct sim_io *)(void *)io)->woken = true;
}

static void sim_write(struct io *io, struct io_op *op, int fd, const struct iovec *iov,
                      uint32_t count, uint64_t offset, bool dsync)
{
    assert(count > 0);
    submit(io, op, IO_SIM_WRITE,
           (struct request){.kind = REQ_WRITE,
                            .fd = fd,
                            .iov = iov,
                            .iov_count = count,
                            .offset = offset,
                            .dsync = dsync});
}

static void sim_read(struct io *io, struct io_op *op, int fd, void *into, size_t len,
                     uint64_t offset)
{
    submit(
        io, op, IO_SIM_READ,
        (struct request){.kind = REQ_READ, .fd = fd, .into = into, .len = len, .offset = offset});
}

static void sim_sync(struct io *io, struct io_op *op, int fd)
{
    submit(io, op, IO_SIM_SYNC, (struct request){.kind = REQ_SYNC, .fd = fd});
}

static void sim_fallocate(struct io *io, struct io_op *op, int fd, uint64_t offset, uint64_t len)
{
    submit(io, op, IO_SIM_ALLOC,
           (struct request){.kind = REQ_ALLOCATE, .fd = fd, .offset = offset, .len = len});
}

static void sim_open_file(struct io *io, struct io_op *op, const char *path, int flags, int mode)
{
    (void)mode;
    submit(io, op, IO_SIM_OPEN, (struct request){.kind = REQ_OPEN, .path = path, .flags = flags});
}

static void sim_close_file(struct io *io, struct io_op *op, int fd)
{
    submit(io, op, 0, (struct request){.kind = REQ_CLOSE, .fd = fd});
}

/* ---- blocking */

static int file_open(struct io *io, const char *path, int flags, int mode)
{
    (void)mode;
    int err = meet(sim_of(io), IO_SIM_OPEN);
    return err != 0 ? err : do_open(sim_of(io), path, flags);
}

static int file_close(struct io *io, int fd)
{
    return fd_close(sim_of(io), fd);
}

static int64_t file_pread(struct io *io, int fd, void *into, size_t len, uint64_t offset)
{
    struct io_sim *sim = sim_of(io);
    const struct sim_fd *at = fd_find(sim, fd);
    int err = meet(sim, IO_SIM_READ);
    if (at == NULL) return -EBADF;
    if (err != 0) return err;
    if (direct_refuses(sim, at, into, len, offset)) return -EINVAL;
    return disk_read(sim->disk, at->file, into, perhaps_short(sim, len), offset);
}

static int64_t file_pwritev(struct io *io, int fd, const struct iovec *iov, uint32_t count,
                            uint64_t offset)
{
    struct io_sim *sim = sim_of(io);
    const struct sim_fd *at = fd_find(sim, fd);
    bool was_off = sim->off;
    int err = meet(sim, IO_SIM_WRITE);
    if (at == NULL || (at->flags & O_ACCMODE) == O_RDONLY) return -EBADF;
    if (was_off) return -EIO;
    for (uint32_t i = 0; i < count; i++)
        if (direct_refuses(sim, at, iov[i].iov_base, iov[i].iov_len, offset)) return -EINVAL;
    return do_write(sim, at->file, iov, count, offset, (at->flags & O_DSYNC) != 0, err);
}

static int64_t file_pwrite(struct io *io, int fd, const void *from, size_t len, uint64_t offset)
{
    const struct iovec iov = {.iov_base = (void *)(uintptr_t)from, .iov_len = len};
    return file_pwritev(io, fd, &iov, 1, offset);
}

static int file_sync(struct io *io, int fd)
{
    struct io_sim *sim = sim_of(io);
    const struct sim_fd *at = fd_find(sim, fd);
    int err = meet(sim, IO_SIM_SYNC);
    if (at == NULL) return -EBADF;
    if (sim->off) return -EIO;
    return do_sync(sim, disk_sync_begin(sim->disk, at->file), err);
}

static int file_truncate(struct io *io, int fd, uint64_t len)
{
    struct io_sim *sim = sim_of(io);
    const struct sim_fd *at = fd_find(sim, fd);
    int err = meet(sim, IO_SIM_META);
    if (at == NULL) return -EBADF;
    return err != 0 ? err : disk_truncate(sim->disk, at->file, len);
}

static int64_t file_size(struct io *io, int fd)
{
    const struct sim_fd *at = fd_find(sim_of(io), fd);
    return at == NULL ? -EBADF : (int64_t)disk_size(at->file);
}

static int file_rename(struct io *io, const char *from, const char *to)
{
    int err = meet(sim_of(io), IO_SIM_META);
    return err != 0 ? err : disk_rename(sim_of(io)->disk, from, to);
}

static int file_unlink(struct io *io, const char *path)
{
    int err = meet(sim_of(io), IO_SIM_META);
    return err != 0 ? err : disk_unlink(sim_of(io)->disk, path);
}

static int file_mkdir(struct io *io, const char *path)
{
    int err = meet(sim_of(io), IO_SIM_META);
    return err != 0 ? err : disk_mkdir(sim_of(io)->disk, path);
}

static int file_list(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                     void *ctx)
{
    int err = meet(sim_of(io), IO_SIM_META);
    return err != 0 ? err : disk_list(sim_of(io)->disk, path, each, ctx);
}

static int file_lock(struct io *io, int fd)
{
    struct io_sim *sim = sim_of(io);
    struct sim_fd *at = fd_find(sim, fd);
    int err = meet(sim, IO_SIM_META);
    if (at == NULL) return -EBADF;
    if (err != 0) return err;
    bool *held = disk_lock(at->file);
    if (*held && !at->locks) return -EWOULDBLOCK;
    *held = at->locks = true;
    return 0;
}

/* ---- machines */

static void sim_free_io(struct io *io)
{
    struct sim_io *gone = (void *)io;
    struct io_sim *sim = gone->sim;
    for (uint32_t i = 0; i < sim->request_count; i++)
        assert(sim->request[i].io != gone); /* still waited for */
    struct sim_io **link = &sim->ios;
    while (*link != gone)
        link = &(*link)->next;
    *link = gone->next;
    mem_free(MEM_TEST, gone, sizeof *gone);
}

static const struct io_ops sim_ops = {
    .kind = IO_SIM,
    .free = sim_free_io,
    .turn = sim_turn,
    .wake = sim_wake,
    .write = sim_write,
    .read = sim_read,
    .fdatasync = sim_sync,
    .fallocate = sim_fallocate,
    .open = sim_open_file,
    .close = sim_close_file,
    .fsync = sim_sync,
    .file_open = file_open,
    .file_close = file_close,
    .file_pread = file_pread,
    .file_pwrite = file_pwrite,
    .file_pwritev = file_pwritev,
    .file_sync = file_sync,
    .file_truncate = file_truncate,
    .file_size = file_size,
    .file_rename = file_rename,
    .file_unlink = file_unlink,
    .file_mkdir = file_mkdir,
    .file_list = file_list,
    .file_lock = file_lock,
};

#define START_WALL_US 1767225600000000ll /* 2026-01-01 */

static uint64_t sim_mono_ns(void *ctx)
{
    return ((const struct io_sim *)ctx)->now_ns;
}

static int64_t sim_wall_us(void *ctx)
{
    return START_WALL_US + (int64_t)(((const struct io_sim *)ctx)->now_ns / 1000);
}

static struct io_sim *sim_new(uint64_t seed, const struct io_sim_opts *opts, struct disk *disk)
{
    struct io_sim *sim = mem_zalloc(MEM_TEST, sizeof *sim);
    rng_seed(&sim->rng, seed);
    sim->opts = *opts;
    if (sim->opts.delay_us_max == 0) {
        sim->opts.delay_us_min = DELAY_US_MIN;
        sim->opts.delay_us_max = DELAY_US_MAX;
    }
    assert(sim->opts.delay_us_min <= sim->opts.delay_us_max);
    sim->clock = (struct clock){.wall_us = sim_wall_us, .mono_ns = sim_mono_ns, .ctx = sim};
    sim->disk = disk;
    sim->now_ns = 1000000000;
    return sim;
}

struct io_sim *io_sim_new(uint64_t seed, const struct io_sim_opts *opts)
{
    static const struct io_sim_opts none;
    if (opts == NULL) opts = &none;
    return sim_new(seed, opts, disk_new(seed ^ 0x9e3779b97f4a7c15u, opts->disk_bytes));
}

/* Whatever is under way ends here without its callback. */
static void drop_requests(struct io_sim *sim, bool power_lost)
{
    while (sim->request_count > 0) {
        struct request *r = &sim->request[--sim->request_count];
        if (power_lost && r->file != NULL) leave_half(sim, sim->disk, r->file, r);
        if (r->sync != NULL) disk_sync_dropped(sim->disk, r->sync);
        if (r->file != NULL) disk_release(sim->disk, r->file);
    }
}

static void close_all(struct io_sim *sim)
{
    for (uint32_t i = 0; i < sim->fd_cap; i++)
        if (sim->fd[i].file != NULL) (void)fd_close(sim, FD_BASE + (int)i);
}

void io_sim_free(struct io_sim *sim)
{
    assert(sim->ios == NULL);
    drop_requests(sim, false);
    close_all(sim);
    disk_free(sim->disk);
    mem_free(MEM_TEST, sim->request, sim->request_cap * sizeof *sim->request);
    mem_free(MEM_TEST, sim->fd, sim->fd_cap * sizeof *sim->fd);
    mem_free(MEM_TEST, sim, sizeof *sim);
}

struct io *io_sim_open(struct io_sim *sim)
{
    struct sim_io *io = mem_zalloc(MEM_TEST, sizeof *io);
    *io = (struct sim_io){.io.ops = &sim_ops, .sim = sim, .next = sim->ios};
    sim->ios = io;
    return &io->io;
}

const struct clock *io_sim_clock(struct io_sim *sim)
{
    return &sim->clock;
}

void io_sim_advance(struct io_sim *sim, uint64_t us)
{
    sim->now_ns += us * 1000;
}

void io_sim_set_delay(struct io_sim *sim, uint32_t us_min, uint32_t us_max)
{
    assert(us_min <= us_max);
    sim->opts.delay_us_min = us_min;
    sim->opts.delay_us_max = us_max;
}

uint64_t io_sim_next_ns(const struct io_sim *sim)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < sim->request_count && !sim->off; i++)
        if (sim->request[i].due_ns < next) next = sim->request[i].due_ns;
    return next;
}

void io_sim_crash(struct io_sim *sim)
{
    drop_requests(sim, true);
    close_all(sim);
    disk_crash(sim->disk);
    for (struct sim_io *io = sim->ios; io != NULL; io = io->next)
        io->woken = false;
    sim->off = false;
    sim->off_in = 0;
    sim->fault = (struct fault){0};
}

struct io_sim *io_sim_crash_copy(struct io_sim *sim, uint64_t seed)
{
    struct io_sim *copy =
        sim_new(seed, &sim->opts, disk_copy(sim->disk, seed ^ 0x6a09e667f3bcc908u));
    copy->now_ns = sim->now_ns;
    for (uint32_t i = 0; i < sim->request_count; i++) {
        const struct request *r = &sim->request[i];
        const char *path = r->file != NULL ? disk_name(sim->disk, r->file) : NULL;
        struct disk_file *twin = NULL;
        if (path == NULL || disk_open(copy->disk, path, O_RDONLY, &twin) < 0) continue;
        leave_half(copy, copy->disk, twin, r);
        disk_release(copy->disk, twin);
    }
    disk_crash(copy->disk);
    return copy;
}

void io_sim_crash_at(struct io_sim *sim, uint64_t nth)
{
    sim->off_in = nth;
}

bool io_sim_is_off(const struct io_sim *sim)
{
    return sim->off;
}

void io_sim_fault(struct io_sim *sim, uint32_t ops, uint64_t nth, int err, bool sticky)
{
    assert(nth > 0);
    assert(err < 0);
    assert(err != -EBADF); /* those two mean that the call itself was wrong */
    assert(err != -EINVAL);
    sim->fault = (struct fault){.ops = ops, .left = nth, .err = err, .sticky = sticky};
}

bool io_sim_heal(struct io_sim *sim)
{
    bool fired = sim->fault.fired;
    sim->fault = (struct fault){0};
    return fired;
}

uint64_t io_sim_ops(const struct io_sim *sim)
{
    return sim->ops;
}

bool io_sim_flip_bit(struct io_sim *sim, const char *path, uint64_t bit)
{
    return disk_flip_bit(sim->disk, path, bit);
}
