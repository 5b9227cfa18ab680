/* The same logs on this machine's kernel: io_uring and epoll, a disk that takes O_DIRECT and a tmpfs
 * that may not; another process's lock. */
#include "shard/journal/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/clock.h"
#include "shard/base/log.h"
#include "shard/base/mem.h"

struct node {
    struct io *io;
    struct timer_wheel *timers;
    struct journal_set *set;
    struct journal *j;
    struct buf why;
    uint64_t durable;
};

static void on_durable(void *ctx, uint64_t lsn)
{
    *(uint64_t *)ctx = lsn;
}

static enum rc open_set(struct node *n, const char *dir, enum journal_fsync fsync)
{
    struct journal_opts opts = {
        .dir = dir, .logs = 1, .fsync = fsync, .segment_bytes = 256u << 10, .clock = &clock_real};
    return journal_set_open(&opts, n->io, &n->set, &n->why);
}

static void start(struct node *n)
{
    const struct journal_events events = {.ctx = &n->durable, .on_durable = on_durable};
    assert_int_equal(journal_set_start(n->set, &n->why), RC_OK);
    assert_int_equal(journal_open(n->set, 0, n->io, n->timers, &events, &n->j), RC_OK);
}

static bool check_unit(void *ctx, const struct journal_unit *u)
{
    uint32_t *next = ctx;
    uint32_t i = 0;
    assert_int_equal(u->argc, 2);
    memcpy(&i, u->args[0].data, sizeof i);
    assert_int_equal(i, *next);
    assert_int_equal(u->args[1].len, i % 7 == 0 ? 20000 : i % 100);
    ++*next;
    return true;
}

static void append(struct node *n, uint32_t i)
{
    static uint8_t value[20000];
    struct journal_head head = {.opcode = 1, .slot = 1};
    struct bytes args[2] = {bytes_view(&i, sizeof i),
                            bytes_view(value, i % 7 == 0 ? 20000 : i % 100)};
    assert_int_equal(journal_reserve(n->j, 21000), RC_OK);
    journal_append(n->j, &head, args, 2);
}

static void turn(struct node *n)
{
    (void)io_turn(n->io, 2000);
    journal_pass(n->j, clock_wall_us(&clock_real));
    timer_advance(n->timers, clock_mono_ns(&clock_real) / 1000000);
}

static void run(struct node *n, const char *dir, enum journal_fsync fsync)
{
    uint32_t written = 0;
    for (uint32_t life = 0; life < 3; life++) {
        uint32_t found = 0;
        assert_int_equal(open_set(n, dir, fsync), RC_OK);
        assert_int_equal(
            journal_set_replay(n->set, n->io,
                               &(struct journal_replay_opts){
                                   .shard = 0, .shards = 1, .apply = check_unit, .ctx = &found},
                               &n->why),
            RC_OK);
        assert_int_equal(found, written);
        start(n);
        for (uint32_t i = 0; i < 200; i++) {
            append(n, written++);
            if (i % 3 == 0) turn(n);
        }
        uint64_t until = clock_mono_ns(&clock_real) + 20000000000u;
        while (n->durable < journal_lsn(n->j) && clock_mono_ns(&clock_real) < until)
            turn(n);
        assert_int_equal(n->durable, journal_lsn(n->j));
        struct journal_set *second = NULL;
        struct journal_opts opts = {
            .dir = dir, .logs = 1, .segment_bytes = 256u << 10, .clock = &clock_real};
        assert_int_equal(journal_set_open(&opts, n->io, &second, &n->why), RC_LOCKED);
        journal_close(n->j, life % 2 == 0);
        journal_set_close(n->set);
        n->durable = 0;
    }
}

static void run_on(const char *parent, enum io_kind kind)
{
    const struct io_opts io_opts = {
        .kind = kind, .entries = 64, .buffers = 16, .buffer_bytes = 4096};
    const char *io_why = NULL;
    for (uint32_t fsync = JOURNAL_ALWAYS; fsync <= JOURNAL_EVERYSEC; fsync++) {
        struct node n = {0};
        char dir[128];
        char command[160];
        if (io_open(&io_opts, &n.io, &io_why) != RC_OK)
            skip(); /* no io_uring here: the reason is known */
        (void)snprintf(dir, sizeof dir, "%s/moon-test-journal-XXXXXX", parent);
        assert_non_null(mkdtemp(dir));
        buf_init(&n.why, MEM_TEST);
        n.timers = timer_wheel_new(clock_mono_ns(&clock_real) / 1000000);
        run(&n, dir, (enum journal_fsync)fsync);
        timer_wheel_free(n.timers);
        n.io->ops->free(n.io);
        buf_free(&n.why);
        (void)snprintf(command, sizeof command, "rm -r %s", dir);
        assert_int_equal(system(command), 0);
        assert_int_equal(mem_live_bytes(MEM_JOURNAL), 0);
    }
}

static void test_uring(void **state)
{
    (void)state;
    run_on("/tmp", IO_URING);
}

static void test_epoll(void **state)
{
    (void)state;
    run_on("/tmp", IO_EPOLL);
}

static void test_tmpfs(void **state)
{
    (void)state;
    run_on("/dev/shm", IO_EPOLL);
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uring),
        cmocka_unit_test(test_epoll),
        cmocka_unit_test(test_tmpfs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
