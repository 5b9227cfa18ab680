/* tests/bench/bench_journal.c: what a log costs: ns and bytes per SET of 16 and 64 bytes, from
 * reservation to the end of the pass, by commands per pass; then how fast a start checks and replays
 * what was written. Files go to JOURNAL_BENCH_DIR (a new folder under /tmp). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/base/limits.h"
#include "shard/base/log.h"
#include "shard/base/stat.h"
#include "shard/journal/journal.h"

#define ROUNDS 150
#define SETS_PER_ROUND (1u << 14)
#define SLOTS 64u

struct bench {
    struct io *io;
    struct timer_wheel *timers;
    struct journal_set *set;
    struct journal *j;
    struct buf why;
    char dir[64];
};

static void open_set(struct bench *b, enum journal_fsync fsync)
{
    struct journal_opts opts = {.dir = b->dir,
                                .logs = 1,
                                .fsync = fsync,
                                .segment_bytes = SEGMENT_BYTES,
                                .clock = &clock_real};
    enum rc rc = journal_set_open(&opts, b->io, &b->set, &b->why);
    if (rc != RC_OK) {
        fprintf(stderr, "%s: %.*s\n", rc_text(rc), (int)b->why.len, (const char *)b->why.data);
        exit(1);
    }
}

static void open_log(struct bench *b)
{
    const struct journal_events events = {0};
    enum rc rc = journal_set_start(b->set, &b->why);
    if (rc == RC_OK) rc = journal_open(b->set, 0, b->io, b->timers, &events, &b->j);
    assert(rc == RC_OK);
}

static void set_once(struct bench *b, uint32_t i)
{
    static uint8_t keys[SLOTS][16];
    static uint8_t values[SLOTS][64];
    uint32_t k = i % SLOTS;
    struct journal_head head = {.opcode = 1, .slot = (uint16_t)(i * 7 % 16384)};
    struct bytes args[2] = {bytes_view(keys[k], 16), bytes_view(values[k], 64)};
    enum rc rc = journal_reserve(b->j, 100);
    assert(rc == RC_OK);
    journal_append(b->j, &head, args, 2);
}

static void wait_for_disk(struct bench *b)
{
    struct journal_stats stats;
    (void)io_turn(b->io, 0);
    journal_stats_read(b->j, &stats);
    for (; stats.gathered_bytes > (4u << 20); journal_stats_read(b->j, &stats))
        (void)io_turn(b->io, 1000);
}

/* Fills memory only: the pass is timed apart, completions and syncs are taken between. */
static void run_passes(struct bench *b, uint32_t per_pass)
{
    uint64_t best_append = UINT64_MAX;
    uint64_t best_pass = UINT64_MAX;
    uint64_t from = journal_lsn(b->j);
    for (uint32_t r = 0; r < ROUNDS; r++) {
        uint64_t append_ns = 0;
        uint64_t pass_ns = 0;
        for (uint32_t i = 0; i < SETS_PER_ROUND; i += per_pass) {
            uint64_t t0 = clock_ticks();
            for (uint32_t k = 0; k < per_pass; k++)
                set_once(b, i + k);
            uint64_t t1 = clock_ticks();
            journal_pass(b->j, (int64_t)i);
            uint64_t t2 = clock_ticks();
            append_ns += clock_ticks_to_ns(t1 - t0);
            pass_ns += clock_ticks_to_ns(t2 - t1);
            wait_for_disk(b);
        }
        timer_advance(b->timers, clock_mono_ns(&clock_real) / 1000000);
        best_append = append_ns < best_append ? append_ns : best_append;
        best_pass = pass_ns < best_pass ? pass_ns : best_pass;
    }
    double bytes = (double)(journal_lsn(b->j) - from) / (double)ROUNDS / SETS_PER_ROUND;
    printf("%4u SETs per pass: append %5.1f ns, end of pass %5.1f ns (checksum, write to the page "
           "cache), "
           "%6.2f bytes per SET\n",
           per_pass, (double)best_append / SETS_PER_ROUND, (double)best_pass / SETS_PER_ROUND,
           bytes);
}

static bool count_unit(void *ctx, const struct journal_unit *u)
{
    uint64_t *count = ctx;
    *count += u->argc == 2;
    return true;
}

static void run_start(struct bench *b, uint64_t bytes)
{
    uint64_t units = 0;
    uint64_t t0 = clock_thread_cpu_ns();
    open_set(b, JOURNAL_EVERYSEC);
    uint64_t t1 = clock_thread_cpu_ns();
    enum rc rc = journal_set_replay(
        b->set, b->io,
        &(struct journal_replay_opts){.shard = 0, .shards = 1, .apply = count_unit, .ctx = &units},
        &b->why);
    uint64_t t2 = clock_thread_cpu_ns();
    assert(rc == RC_OK);
    printf("start: %.2f GB, from the page cache, CPU time: checked at %.2f GB/s, replayed at %.2f "
           "GB/s (%.1f ns per unit)\n",
           (double)bytes / 1e9, (double)bytes / (double)(t1 - t0),
           (double)bytes / (double)(t2 - t1), (double)(t2 - t1) / (double)units);
    journal_set_close(b->set);
}

/* One SET per pass, each waited for: what a single client under `always` gets from this disk. */
static void run_always(struct bench *b)
{
    struct stat_histogram *h = mem_zalloc(MEM_TEST, sizeof *h);
    struct journal_stats stats;
    open_set(b, JOURNAL_ALWAYS);
    open_log(b);
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t t0 = clock_mono_ns(&clock_real);
        set_once(b, i);
        journal_pass(b->j, (int64_t)i);
        while (journal_durable_lsn(b->j) < journal_lsn(b->j))
            (void)io_turn(b->io, 1000);
        stat_add(h, clock_mono_ns(&clock_real) - t0);
    }
    journal_stats_read(b->j, &stats);
    printf("always, one at a time, %s: p50 %.0f us, p99 %.0f us\n",
           stats.direct ? "O_DIRECT" : "buffered", (double)stat_percentile(h, 50) / 1e3,
           (double)stat_percentile(h, 99) / 1e3);
    journal_close(b->j, true);
    journal_set_close(b->set);
    mem_free(MEM_TEST, h, sizeof *h);
}

int main(void)
{
    const char *dir = getenv("JOURNAL_BENCH_DIR");
    struct bench b = {0};
    const struct io_opts io_opts = {
        .kind = IO_AUTO, .entries = 256, .buffers = 64, .buffer_bytes = 4096};
    const char *io_why = NULL;
    log_set_level(LOG_WARNING);
    buf_init(&b.why, MEM_TEST);
    (void)snprintf(b.dir, sizeof b.dir, "%s", dir != NULL ? dir : "/tmp/moon-bench-journal-XXXXXX");
    if (dir == NULL && mkdtemp(b.dir) == NULL) return 1;
    enum rc rc = io_open(&io_opts, &b.io, &io_why);
    assert(rc == RC_OK);
    b.timers = timer_wheel_new(clock_mono_ns(&clock_real) / 1000000);
    open_set(&b, JOURNAL_EVERYSEC);
    open_log(&b);
    static const uint32_t per_pass[] = {1, 16, 64, 1024};
    for (uint32_t i = 0; i < COUNT_OF(per_pass); i++)
        run_passes(&b, per_pass[i]);
    uint64_t bytes = journal_lsn(b.j);
    journal_close(b.j, true);
    journal_set_close(b.set);
    run_start(&b, bytes);
    run_start(&b, bytes);
    run_always(&b);
    timer_wheel_free(b.timers);
    b.io->ops->free(b.io);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", b.dir);
    if (dir == NULL && system(command) != 0) return 1;
    buf_free(&b.why);
    return 0;
}
