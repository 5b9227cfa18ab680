/* The simulated machine keeps exactly the promises of a real one, and no more. */
#include "tests/sim/io_sim.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/rng.h"

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
    for (uint32_t i = 0; i < 100 && !w->done; i++)
        io_turn(io, -1);
    assert_true(w->done);
    w->done = false;
    return w->result;
}

static int must_open(struct io *io, const char *path, int flags)
{
    int fd = io->ops->file_open(io, path, flags, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void sync_dir(struct io *io, const char *path)
{
    int fd = must_open(io, path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(io->ops->file_sync(io, fd), 0);
    assert_int_equal(io->ops->file_close(io, fd), 0);
}

/* ---- contents against a model: which values may each byte have after a crash? */

#define FILE_BYTES 40000u

struct model {
    uint64_t
        may[FILE_BYTES]; /* a bit per write (its number mod 64) that may show, newest included */
    uint8_t newest[FILE_BYTES];
    uint64_t size, size_min; /* as seen; surely there after a crash */
    uint32_t writes;
};

static uint8_t value_of(uint32_t write)
{
    return (uint8_t)(write + 1); /* 0 is the hole */
}

static void model_write(struct model *m, uint32_t offset, uint32_t len, bool dsync)
{
    uint32_t write = ++m->writes;
    for (uint32_t i = offset; i < offset + len; i++) {
        m->may[i] = (dsync ? 0 : m->may[i]) | 1ull << write;
        m->newest[i] = value_of(write);
    }
    if (offset + len > m->size) m->size = offset + len;
    if (dsync && offset + len > m->size_min) m->size_min = offset + len;
}

static void model_sync(struct model *m)
{
    for (uint32_t i = 0; i < FILE_BYTES; i++)
        m->may[i] = m->newest[i] == 0 ? 1 : 1ull << (m->newest[i] - 1);
    m->size_min = m->size;
}

static void model_check(const struct model *m, const uint8_t *got, uint64_t size)
{
    assert_true(size >= m->size_min);
    assert_true(size <= m->size);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t write = got[i] == 0 ? 0 : got[i] - 1u;
        if (!(m->may[i] >> write & 1)) fail_msg("byte %u shows write %u", i, write);
    }
}

static void run_contents(uint64_t seed, uint64_t *lost, uint64_t *kept)
{
    static struct model m;
    static uint8_t bytes[FILE_BYTES];
    struct rng rng;
    rng_seed(&rng, seed);
    memset(&m, 0, sizeof m);
    for (uint32_t i = 0; i < FILE_BYTES; i++)
        m.may[i] = 1;
    struct io_sim *sim = io_sim_new(seed, NULL);
    struct io *io = io_sim_open(sim);
    int fd = must_open(io, "f", O_RDWR | O_CREAT);
    sync_dir(io, "/");
    for (uint32_t steps = (uint32_t)rng_below(&rng, 60); steps > 0; steps--) {
        uint32_t offset = (uint32_t)rng_below(&rng, FILE_BYTES);
        uint32_t len = 1 + (uint32_t)rng_below(&rng, rng_below(&rng, 2) == 0 ? 100 : 12000);
        if (len > FILE_BYTES - offset) len = FILE_BYTES - offset;
        bool dsync = rng_below(&rng, 5) == 0;
        memset(bytes, value_of(m.writes + 1), len);
        struct iovec iov = {.iov_base = bytes, .iov_len = len};
        struct waiter w = {.op.done = waiter_done};
        io->ops->write(io, &w.op, fd, &iov, 1, offset, dsync);
        assert_int_equal(wait_for(io, &w), len);
        model_write(&m, offset, len, dsync);
        if (rng_below(&rng, 8) == 0) {
            io->ops->fdatasync(io, &w.op, fd);
            assert_int_equal(wait_for(io, &w), 0);
            model_sync(&m);
        }
    }
    assert_int_equal(io->ops->file_pread(io, fd, bytes, FILE_BYTES, 0), m.size);
    assert_memory_equal(bytes, m.newest, m.size);
    io_sim_crash(sim);
    assert_int_equal(io->ops->file_pread(io, fd, bytes, 1, 0), -EBADF);
    fd = must_open(io, "f", O_RDONLY);
    int64_t size = io->ops->file_pread(io, fd, bytes, FILE_BYTES, 0);
    model_check(&m, bytes, (uint64_t)size);
    for (int64_t i = 0; i < size; i++)
        *(bytes[i] == m.newest[i] ? kept : lost) += 1;
    io_free(io);
    io_sim_free(sim);
}

static void test_crash_keeps_what_was_synced(void **state)
{
    (void)state;
    uint64_t lost = 0, kept = 0;
    for (uint64_t seed = 1; seed <= 2000; seed++)
        run_contents(seed, &lost, &kept);
    assert_true(lost > 1000000); /* the dice do fall both ways */
    assert_true(kept > 1000000);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

/* A write under way may be there, partly there, or not; one that ended without a sync too. */
static void test_writes_under_way_are_torn(void **state)
{
    (void)state;
    uint32_t whole = 0, none = 0, torn = 0, inside_sector = 0;
    static uint8_t data[16384], back[16384];
    memset(data, 7, sizeof data);
    struct io_sim *sim = io_sim_new(5, NULL);
    struct io *io = io_sim_open(sim);
    int fd = must_open(io, "/f", O_RDWR | O_CREAT);
    assert_int_equal(io->ops->file_truncate(io, fd, sizeof data), 0);
    assert_int_equal(io->ops->file_sync(io, fd), 0);
    sync_dir(io, "");
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct waiter w = {.op.done = waiter_done};
    io->ops->write(io, &w.op, fd, &iov, 1, 0, true);
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct io_sim *after = io_sim_crash_copy(sim, seed);
        struct io *io2 = io_sim_open(after);
        int fd2 = must_open(io2, "f", O_RDONLY);
        assert_int_equal(io2->ops->file_pread(io2, fd2, back, sizeof back, 0), sizeof back);
        uint32_t new_bytes = 0, edges = 0;
        for (uint32_t i = 0; i < sizeof back; i++) {
            new_bytes += back[i] == 7;
            edges += i > 0 && i % 512 != 0 && back[i] != back[i - 1];
        }
        whole += new_bytes == sizeof back;
        none += new_bytes == 0;
        torn += new_bytes != 0 && new_bytes != sizeof back;
        inside_sector += edges > 0;
        io_free(io2);
        io_sim_free(after);
    }
    assert_true(whole > 100);
    assert_true(none > 100);
    assert_true(torn > 100);
    assert_true(inside_sector > 50);
    assert_int_equal(wait_for(io, &w), sizeof data); /* the original never noticed */
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct io_sim *after = io_sim_crash_copy(sim, seed);
        struct io *io2 = io_sim_open(after);
        int fd2 = must_open(io2, "f", O_RDONLY);
        assert_int_equal(io2->ops->file_pread(io2, fd2, back, sizeof back, 0), sizeof back);
        assert_memory_equal(back, data, sizeof back);
        io_free(io2);
        io_sim_free(after);
    }
    io_free(io);
    io_sim_free(sim);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

/* ---- names */

static bool exists(struct io *io, const char *path)
{
    int fd = io->ops->file_open(io, path, O_RDONLY, 0);
    if (fd >= 0) assert_int_equal(io->ops->file_close(io, fd), 0);
    return fd >= 0;
}

static void put(struct io *io, const char *path, char byte)
{
    int fd = must_open(io, path, O_RDWR | O_CREAT | O_TRUNC);
    assert_int_equal(io->ops->file_pwrite(io, fd, &byte, 1, 0), 1);
    assert_int_equal(io->ops->file_sync(io, fd), 0);
    assert_int_equal(io->ops->file_close(io, fd), 0);
}

static char get(struct io *io, const char *path)
{
    char byte = 0;
    int fd = must_open(io, path, O_RDONLY);
    assert_int_equal(io->ops->file_pread(io, fd, &byte, 1, 0), 1);
    assert_int_equal(io->ops->file_close(io, fd), 0);
    return byte;
}

static void test_names_need_their_directory_synced(void **state)
{
    (void)state;
    uint32_t vanished = 0, stayed = 0, renamed = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct io_sim *sim = io_sim_new(seed, NULL);
        struct io *io = io_sim_open(sim);
        assert_int_equal(io->ops->file_mkdir(io, "/d"), 0);
        sync_dir(io, "/");
        put(io, "d/old", 'o');
        sync_dir(io, "d");
        put(io, "d/new", 'n'); /* its bytes are synced, its name is not */
        assert_int_equal(io->ops->file_rename(io, "d/new", "d//old"), 0);
        assert_int_equal(get(io, "d/old"), 'n');
        put(io, "./d/more", 'm');
        io_sim_crash(sim);
        char old = get(io, "d/old"); /* one or the other, never neither */
        assert_true(old == 'o' || old == 'n');
        assert_false(old == 'n' && exists(io, "d/new"));
        if (exists(io, "d/more")) assert_int_equal(old, 'n'); /* in order */
        renamed += old == 'n';
        vanished += !exists(io, "d/more");
        stayed += exists(io, "d/more");
        io_free(io);
        io_sim_free(sim);
    }
    assert_true(vanished > 30);
    assert_true(stayed > 30);
    assert_true(renamed > stayed);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

static void collect(void *ctx, const char *name)
{
    strcat(ctx, name); /* at most three names of one byte */
}

static void test_names(void **state)
{
    (void)state;
    struct io_sim *sim = io_sim_new(1, NULL);
    struct io *io = io_sim_open(sim);
    const struct io_ops *ops = io->ops;
    assert_int_equal(ops->file_open(io, "d/f", O_RDWR | O_CREAT, 0), -ENOENT);
    assert_int_equal(ops->file_mkdir(io, "d/e"), -ENOENT);
    assert_int_equal(ops->file_mkdir(io, "d"), 0);
    assert_int_equal(ops->file_mkdir(io, "d/"), 0);
    put(io, "d/f", 'f');
    assert_int_equal(ops->file_open(io, "d/f/g", O_RDWR | O_CREAT, 0), -ENOTDIR);
    assert_int_equal(ops->file_open(io, "d/f", O_RDWR | O_CREAT | O_EXCL, 0), -EEXIST);
    assert_int_equal(ops->file_open(io, "d", O_RDWR, 0), -EISDIR);
    assert_int_equal(ops->file_open(io, "d/f", O_RDONLY | O_DIRECTORY, 0), -ENOTDIR);
    put(io, "d/g", 'g');
    put(io, "x", 'x');
    char names[8] = "";
    assert_int_equal(ops->file_list(io, "d", collect, names), 0);
    assert_string_equal(names, "fg");
    assert_int_equal(ops->file_unlink(io, "d/f"), 0);
    assert_int_equal(ops->file_unlink(io, "d/f"), -ENOENT);
    assert_int_equal(ops->file_unlink(io, "d"), -EISDIR);
    int fd = must_open(io, "x", O_RDONLY);
    assert_int_equal(ops->file_unlink(io, "x"), 0);
    char byte = 0;
    assert_int_equal(ops->file_pread(io, fd, &byte, 1, 0), 1); /* open files outlive their names */
    assert_int_equal(ops->file_pwrite(io, fd, &byte, 1, 0), -EBADF); /* read-only */
    assert_int_equal(ops->file_close(io, fd), 0);
    assert_int_equal(ops->file_close(io, fd), -EBADF);
    int a = must_open(io, "d/g", O_RDWR), b = must_open(io, "d/g", O_RDWR);
    assert_int_equal(ops->file_lock(io, a), 0);
    assert_int_equal(ops->file_lock(io, a), 0);
    assert_int_equal(ops->file_lock(io, b), -EWOULDBLOCK);
    assert_int_equal(ops->file_close(io, a), 0);
    assert_int_equal(ops->file_lock(io, b), 0);
    io_free(io);
    io_sim_free(sim);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

/* ---- time and order */

static void test_completions_come_in_an_order_of_the_seed(void **state)
{
    (void)state;
    enum { OPS = 12 };
    uint32_t first[OPS] = {0};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct io_sim *sim = io_sim_new(seed, NULL);
        struct io *io = io_sim_open(sim);
        int fd = must_open(io, "f", O_RDWR | O_CREAT);
        struct waiter w[OPS] = {0};
        for (uint32_t i = 0; i < OPS; i++) {
            w[i].op.done = waiter_done;
            io->ops->fdatasync(io, &w[i].op, fd);
        }
        assert_int_equal(io_turn(io, 0), 0); /* no time passed */
        uint64_t before = clock_mono_ns(io_sim_clock(sim));
        uint32_t count = io_turn(io, -1); /* one, or those of the same microsecond */
        assert_in_range(count, 1, 3);
        uint64_t took = clock_mono_ns(io_sim_clock(sim)) - before;
        assert_true(took >= 20000);
        assert_true(took <= 2000000);
        for (uint32_t i = 0; i < OPS; i++)
            first[i] += w[i].done;
        io_sim_advance(sim, 2000);
        assert_int_equal(io_turn(io, 0), OPS - count);
        assert_int_equal(io_turn(io, -1), 0); /* nothing under way: no endless sleep */
        before = clock_mono_ns(io_sim_clock(sim));
        int64_t wall = clock_wall_us(io_sim_clock(sim));
        assert_int_equal(io_turn(io, 700), 0);
        assert_int_equal(clock_mono_ns(io_sim_clock(sim)) - before, 700000);
        assert_int_equal(clock_wall_us(io_sim_clock(sim)) - wall, 700);
        io_wake(io);
        assert_int_equal(io_turn(io, 1000000), 1);
        assert_int_equal(clock_mono_ns(io_sim_clock(sim)) - before, 700000);
        io_free(io);
        io_sim_free(sim);
    }
    for (uint32_t i = 0; i < OPS; i++)
        assert_true(first[i] > 0);
}

/* One number for all that a seed leads to. */
static uint64_t fingerprint(uint64_t seed)
{
    struct io_sim_opts opts = {.short_io = true};
    struct io_sim *sim = io_sim_new(seed, &opts);
    struct io *io = io_sim_open(sim);
    static uint8_t data[9000], back[9000];
    uint64_t sum = 0;
    int fd = must_open(io, "f", O_RDWR | O_CREAT);
    sync_dir(io, "");
    for (uint32_t i = 0; i < 40; i++) {
        memset(data, (int)i, sizeof data);
        struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
        struct waiter w = {.op.done = waiter_done};
        io->ops->write(io, &w.op, fd, &iov, 1, i * 1000, false);
        sum = sum * 31 + (uint64_t)wait_for(io, &w);
        sum = sum * 31 + clock_mono_ns(io_sim_clock(sim));
    }
    io_sim_crash(sim);
    fd = must_open(io, "f", O_RDWR);
    int64_t n = 1;
    for (uint64_t at = 0; n > 0; at += (uint64_t)n) {
        n = io->ops->file_pread(io, fd, back, sizeof back, at);
        for (int64_t i = 0; i < n; i++)
            sum = sum * 31 + back[i];
    }
    io_free(io);
    io_sim_free(sim);
    return sum;
}

static void test_same_seed_same_story(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 50; seed++) {
        assert_true(fingerprint(seed) == fingerprint(seed));
        assert_true(fingerprint(seed) != fingerprint(seed + 1));
    }
}

/* ---- faults */

static void test_nth_operation_fails(void **state)
{
    (void)state;
    struct io_sim *sim = io_sim_new(3, NULL);
    struct io *io = io_sim_open(sim);
    int fd = must_open(io, "f", O_RDWR | O_CREAT);
    char c = 'c';
    io_sim_fault(sim, IO_SIM_WRITE, 3, -EIO, false);
    for (int i = 1; i <= 4; i++) {
        assert_int_equal(io->ops->file_sync(io, fd), 0); /* not of the kind */
        assert_int_equal(io->ops->file_pwrite(io, fd, &c, 1, 0), i == 3 ? -EIO : 1);
    }
    assert_true(io_sim_heal(sim));
    io_sim_fault(sim, IO_SIM_ALL, 2, -EIO, true);
    struct iovec iov = {.iov_base = &c, .iov_len = 1};
    struct waiter w = {.op.done = waiter_done};
    io->ops->write(io, &w.op, fd, &iov, 1, 0, false);
    assert_int_equal(wait_for(io, &w), 1);
    for (int i = 0; i < 3; i++) {
        io->ops->write(io, &w.op, fd, &iov, 1, 0, false);
        assert_int_equal(wait_for(io, &w), -EIO);
        assert_int_equal(io->ops->file_rename(io, "f", "g"), -EIO);
    }
    assert_true(io_sim_heal(sim));
    assert_int_equal(io->ops->file_rename(io, "f", "g"), 0);
    io_sim_fault(sim, IO_SIM_READ, 9, -EIO, false);
    assert_false(io_sim_heal(sim));
    io_free(io);
    io_sim_free(sim);
}

/* After a failed sync the next one says "fine" and has saved nothing: as Linux does. */
static void test_failed_sync_loses_for_good(void **state)
{
    (void)state;
    uint32_t lost = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct io_sim *sim = io_sim_new(seed, NULL);
        struct io *io = io_sim_open(sim);
        put(io, "f", 'a');
        sync_dir(io, "/");
        int fd = must_open(io, "f", O_RDWR);
        char b = 'b';
        assert_int_equal(io->ops->file_pwrite(io, fd, &b, 1, 0), 1);
        io_sim_fault(sim, IO_SIM_SYNC, 1, -EIO, false);
        struct waiter w = {.op.done = waiter_done};
        io->ops->fdatasync(io, &w.op, fd);
        assert_int_equal(wait_for(io, &w), -EIO);
        assert_int_equal(io->ops->file_sync(io, fd), 0);
        assert_int_equal(get(io, "f"), 'b');
        io_sim_crash(sim);
        lost += get(io, "f") == 'a';
        io_free(io);
        io_sim_free(sim);
    }
    assert_true(lost > 10);
}

/* What was written after a sync began is not covered by it, even if both end in the other order. */
static void test_sync_covers_what_was_before_it(void **state)
{
    (void)state;
    uint32_t old_seen = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct io_sim *sim = io_sim_new(seed, NULL);
        struct io *io = io_sim_open(sim);
        put(io, "f", 'a');
        sync_dir(io, "/");
        int fd = must_open(io, "f", O_RDWR);
        char b = 'b', c = 'c';
        assert_int_equal(io->ops->file_pwrite(io, fd, &b, 1, 0), 1);
        struct waiter w = {.op.done = waiter_done};
        io->ops->fdatasync(io, &w.op, fd);
        assert_int_equal(io->ops->file_pwrite(io, fd, &c, 1, 0), 1);
        assert_int_equal(wait_for(io, &w), 0);
        io_sim_crash(sim);
        assert_true(get(io, "f") != 'a');
        old_seen += get(io, "f") == 'b';
        io_free(io);
        io_sim_free(sim);
    }
    assert_true(old_seen > 50);
}

static void test_full_disk(void **state)
{
    (void)state;
    static uint8_t data[8192];
    memset(data, 1, sizeof data);
    struct io_sim_opts opts = {.disk_bytes = 5 * 4096};
    struct io_sim *sim = io_sim_new(3, &opts);
    struct io *io = io_sim_open(sim);
    const struct io_ops *ops = io->ops;
    int fd = must_open(io, "f", O_RDWR | O_CREAT);
    assert_int_equal(ops->file_pwrite(io, fd, data, 8192, 0), 8192);
    assert_int_equal(ops->file_pwrite(io, fd, data, 8192, 8192), 8192);
    assert_int_equal(ops->file_pwrite(io, fd, data, 8192, 16384), 4096); /* as far as it goes */
    assert_int_equal(ops->file_pwrite(io, fd, data, 1, 20480), -ENOSPC);
    assert_int_equal(ops->file_pwrite(io, fd, data, 8192, 0), 8192); /* blocks it has */
    assert_int_equal(ops->file_truncate(io, fd, 4096), 0);
    struct waiter w = {.op.done = waiter_done};
    ops->fallocate(io, &w.op, fd, 4096, 12288);
    assert_int_equal(wait_for(io, &w), 0);
    assert_int_equal(ops->file_size(io, fd), 16384);
    ops->fallocate(io, &w.op, fd, 0, 6 * 4096);
    assert_int_equal(wait_for(io, &w), -ENOSPC);
    assert_int_equal(ops->file_pread(io, fd, data, 10, 4090), 10);
    assert_memory_equal(data, "\1\1\1\1\1\1\0\0\0\0", 10); /* cut off, then zeros */
    assert_int_equal(ops->file_unlink(io, "f"), 0);
    assert_int_equal(ops->file_close(io, fd), 0);
    sync_dir(io, "");
    fd = must_open(io, "g", O_RDWR | O_CREAT);
    assert_int_equal(ops->file_pwrite(io, fd, data, 8192, 0), 8192);
    io_free(io);
    io_sim_free(sim);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

static void test_power_fails_at_the_nth_operation(void **state)
{
    (void)state;
    char c = 'c';
    struct iovec iov = {.iov_base = &c, .iov_len = 1};
    for (uint64_t nth = 1; nth <= 8; nth++) {
        struct io_sim *sim = io_sim_new(nth, NULL);
        struct io *io = io_sim_open(sim);
        int fd = must_open(io, "f", O_RDWR | O_CREAT);
        sync_dir(io, "/");
        struct waiter a = {.op.done = waiter_done}, b = {.op.done = waiter_done};
        io->ops->write(io, &a.op, fd, &iov, 1, 0, false);
        io_sim_crash_at(sim, nth);
        for (uint64_t i = 1; i < nth; i++)
            assert_int_equal(io->ops->file_pwrite(io, fd, &c, 1, i), 1);
        assert_false(io_sim_is_off(sim));
        io->ops->write(io, &b.op, fd, &iov, 1, 0, false);
        assert_true(io_sim_is_off(sim));
        assert_int_equal(io->ops->file_pwrite(io, fd, &c, 1, 0), -EIO);
        assert_int_equal(io->ops->file_open(io, "f", O_RDWR, 0), -EIO);
        for (uint32_t i = 0; i < 10; i++)
            assert_int_equal(io_turn(io, 10000), 0);
        assert_false(a.done);
        assert_false(b.done);
        io_sim_crash(sim);
        assert_false(io_sim_is_off(sim));
        fd = must_open(io, "f", O_RDWR);
        assert_int_equal(io->ops->file_pwrite(io, fd, &c, 1, 0), 1);
        io_free(io);
        io_sim_free(sim);
    }
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

static void test_short_reads_and_writes(void **state)
{
    (void)state;
    static uint8_t data[5000];
    struct io_sim_opts opts = {.short_io = true, .delay_us_min = 5, .delay_us_max = 5};
    struct io_sim *sim = io_sim_new(1, &opts);
    struct io *io = io_sim_open(sim);
    int fd = must_open(io, "f", O_RDWR | O_CREAT);
    uint32_t short_writes = 0, short_reads = 0;
    for (uint32_t i = 0; i < 400; i++) {
        int64_t wrote = io->ops->file_pwrite(io, fd, data, sizeof data, 0);
        assert_true(wrote > 0);
        short_writes += wrote < (int64_t)sizeof data;
        struct waiter w = {.op.done = waiter_done};
        io->ops->read(io, &w.op, fd, data, sizeof data, 0);
        int32_t got = wait_for(io, &w);
        assert_true(got > 0);
        short_reads += got < (int32_t)sizeof data && i > 20;
    }
    assert_true(short_writes > 10);
    assert_true(short_reads > 10);
    assert_true(short_writes < 200);
    io_free(io);
    io_sim_free(sim);
}

static void test_flip_and_direct(void **state)
{
    (void)state;
    _Alignas(512) static uint8_t data[8192];
    struct io_sim_opts opts = {.check_direct = true};
    struct io_sim *sim = io_sim_new(1, &opts);
    struct io *io = io_sim_open(sim);
    int fd = must_open(io, "f", O_RDWR | O_CREAT | O_DIRECT);
    assert_int_equal(io->ops->file_pwrite(io, fd, data, 4095, 0), -EINVAL);
    assert_int_equal(io->ops->file_pwrite(io, fd, data, 4096, 512), -EINVAL);
    assert_int_equal(io->ops->file_pwrite(io, fd, data + 8, 4096, 0), -EINVAL);
    struct iovec iov = {.iov_base = data + 8, .iov_len = 4096};
    struct waiter w = {.op.done = waiter_done};
    io->ops->write(io, &w.op, fd, &iov, 1, 0, false);
    assert_int_equal(wait_for(io, &w), -EINVAL);
    assert_int_equal(io->ops->file_pwrite(io, fd, data, 8192, 0), 8192);
    assert_int_equal(io->ops->file_sync(io, fd), 0);
    sync_dir(io, "/");
    assert_false(io_sim_flip_bit(sim, "g", 0));
    assert_false(io_sim_flip_bit(sim, "f", 8192 * 8));
    assert_true(io_sim_flip_bit(sim, "f", 5000 * 8 + 3));
    io_sim_crash(sim);
    fd = must_open(io, "f", O_RDONLY);
    assert_int_equal(io->ops->file_pread(io, fd, data, 8192, 0), 8192);
    for (uint32_t i = 0; i < 8192; i++)
        assert_int_equal(data[i], i == 5000 ? 8 : 0);
    io_free(io);
    io_sim_free(sim);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

/* Ten thousand crashes of a disk with megabytes on it must be a matter of seconds. */
static void test_crash_copies_are_cheap(void **state)
{
    (void)state;
    static uint8_t data[65536];
    struct io_sim *sim = io_sim_new(1, NULL);
    struct io *io = io_sim_open(sim);
    int fd = must_open(io, "f", O_RDWR | O_CREAT);
    for (uint32_t i = 0; i < 64; i++) {
        memset(data, (int)i + 1, sizeof data);
        assert_int_equal(io->ops->file_pwrite(io, fd, data, sizeof data, i * sizeof data),
                         sizeof data);
    }
    assert_int_equal(io->ops->file_sync(io, fd), 0);
    sync_dir(io, "/");
    uint64_t start = clock_thread_cpu_ns();
    for (uint64_t seed = 0; seed < 1000; seed++) {
        assert_int_equal(io->ops->file_pwrite(io, fd, data, 30000, seed * 100), 30000);
        struct io_sim *after = io_sim_crash_copy(sim, seed);
        io_sim_free(after);
    }
    uint64_t each = (clock_thread_cpu_ns() - start) / 1000;
    print_message("a crash of 4 MiB: %llu us\n", (unsigned long long)each / 1000);
    assert_true(each < 20000000);
    io_free(io);
    io_sim_free(sim);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_keeps_what_was_synced),
        cmocka_unit_test(test_writes_under_way_are_torn),
        cmocka_unit_test(test_names_need_their_directory_synced),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_completions_come_in_an_order_of_the_seed),
        cmocka_unit_test(test_same_seed_same_story),
        cmocka_unit_test(test_nth_operation_fails),
        cmocka_unit_test(test_failed_sync_loses_for_good),
        cmocka_unit_test(test_sync_covers_what_was_before_it),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_power_fails_at_the_nth_operation),
        cmocka_unit_test(test_short_reads_and_writes),
        cmocka_unit_test(test_flip_and_direct),
        cmocka_unit_test(test_crash_copies_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
