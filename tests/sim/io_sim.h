/* tests/sim/io_sim.h: the io table over a simulated machine: a disk in memory (disk.h), a clock that
 * only the test and waiting move, completions in an order drawn by the seed, faults on demand. One
 * machine may have several struct io, one per simulated thread; all run on the test's thread.
 *
 * Time. io_turn(io, t) dispatches what is due; if nothing is, it lets time pass until something is, at
 * most t µs (t < 0: to the next completion; with none under way it returns 0). Blocking calls take no
 * time. Files only: the stream calls of the table are not there. */
#ifndef MOON_TESTS_SIM_IO_SIM_H
#define MOON_TESTS_SIM_IO_SIM_H

#include "shard/base/clock.h"
#include "shard/rt/io.h"

struct io_sim;

struct io_sim_opts {
    uint64_t disk_bytes;                 /* 0: no bound; else ENOSPC beyond */
    uint32_t delay_us_min, delay_us_max; /* of a completion; max 0: 20..2,000 */
    bool short_io;     /* now and then reads and writes move fewer bytes than asked */
    bool check_direct; /* O_DIRECT: refuse (EINVAL) what is not a multiple of 4,096 B at 512 B */
};

/* opts may be NULL: an endless disk without faults. */
struct io_sim *io_sim_new(uint64_t seed, const struct io_sim_opts *opts);
void io_sim_free(struct io_sim *sim); /* after io_free() of all its io */
struct io *io_sim_open(struct io_sim *sim);
const struct clock *io_sim_clock(struct io_sim *sim);
void io_sim_advance(struct io_sim *sim,
                    uint64_t us); /* no callbacks: the next io_turn() has them */

/* Of operations asked for from now on. */
void io_sim_set_delay(struct io_sim *sim, uint32_t us_min, uint32_t us_max);
/* When the next completion is due, on the machine's clock; UINT64_MAX: none is under way. */
uint64_t io_sim_next_ns(const struct io_sim *sim);

/* Power loss now. Operations under way never complete (their io_op is the caller's again), every
 * descriptor is closed, the disk holds what survived. The io stay usable: this is the next start. */
void io_sim_crash(struct io_sim *sim);
/* What a power loss at this moment could leave behind, as a machine of its own; the first one goes on
 * undisturbed. Pages are shared: thousands of these per second. */
struct io_sim *io_sim_crash_copy(struct io_sim *sim, uint64_t seed);
/* Power is lost in the middle of the nth file operation from now (1: the next): it and all later ones
 * fail with -EIO, asynchronous ones never complete. Then call io_sim_crash(). 0: never. */
void io_sim_crash_at(struct io_sim *sim, uint64_t nth);
bool io_sim_is_off(const struct io_sim *sim);

/* Kinds of file operations, for faults. */
enum {
    IO_SIM_WRITE = 1 << 0,
    IO_SIM_READ = 1 << 1,
    IO_SIM_SYNC = 1 << 2,  /* fdatasync, fsync, file_sync; not dsync writes */
    IO_SIM_ALLOC = 1 << 3, /* fallocate */
    IO_SIM_OPEN = 1 << 4,
    IO_SIM_META = 1 << 5, /* rename, unlink, mkdir, truncate, list, lock */
    IO_SIM_ALL = (1 << 6) - 1,
};
/* The nth operation of the kinds `ops` from now fails with err (-EIO, -ENOSPC, …); sticky: and all
 * after it, until io_sim_heal(). A write that fails with -EIO may have written a part; with -ENOSPC it
 * writes a part (and says how much) or nothing. One fault at a time. */
void io_sim_fault(struct io_sim *sim, uint32_t ops, uint64_t nth, int err, bool sticky);
bool io_sim_heal(struct io_sim *sim);          /* no more faults; true if it fired */
uint64_t io_sim_ops(const struct io_sim *sim); /* file operations so far, all kinds */
/* Damages the medium. False: no such file, or beyond its end. */
bool io_sim_flip_bit(struct io_sim *sim, const char *path, uint64_t bit);

#endif
