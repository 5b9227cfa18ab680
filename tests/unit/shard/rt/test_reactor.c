/* The loop: order of a turn and length of a sleep on simulated time; wakes between real threads over
 * both backends (this program also runs under TSan). */
#include "shard/rt/reactor.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/rt/mailbox.h"
#include "tests/sim/io_sim.h"

/* ---- one reactor on simulated time */

struct stage {
    struct io_sim *sim;
    struct io *io;
    struct reactor r;
    char order[32];
    uint32_t steps;
    uint32_t pending_for, expecting_for; /* answers "yes" so many times */
    struct timer timer;
    struct task task;
    struct io_op op;
};
static struct stage *stage;

static void note(char c)
{
    if (stage->steps < sizeof stage->order - 1) stage->order[stage->steps++] = c;
}

static void stage_pass(void *ctx)
{
    assert_ptr_equal(ctx, stage);
    assert_int_equal(reactor_core(), 3);
    note('P');
}

static bool stage_pending(void *ctx)
{
    assert_ptr_equal(ctx, stage);
    if (stage->pending_for == 0) return false;
    stage->pending_for--;
    return true;
}

static bool stage_expecting(void *ctx)
{
    assert_ptr_equal(ctx, stage);
    if (stage->expecting_for == 0) return false;
    stage->expecting_for--;
    return true;
}

static void stage_fire(struct timer *t)
{
    assert_ptr_equal(t, &stage->timer);
    note('T');
}

static bool stage_task(struct task *t, uint32_t budget_us)
{
    (void)t;
    assert_true(budget_us > 0);
    note('B');
    return false;
}

static void stage_done(struct io_op *op, int32_t result)
{
    (void)op;
    (void)result;
    note('C');
}

static int stage_open(void **state)
{
    stage = mem_zalloc(MEM_TEST, sizeof *stage);
    struct io_sim_opts opts = {.delay_us_min = 300, .delay_us_max = 300};
    stage->sim = io_sim_new(1, &opts);
    stage->io = io_sim_open(stage->sim);
    stage->timer.fire = stage_fire;
    stage->task.run = stage_task;
    stage->op.done = stage_done;
    reactor_init(&stage->r, 3, stage->io, io_sim_clock(stage->sim),
                 (struct reactor_handler){.ctx = stage,
                                          .pass = stage_pass,
                                          .pending = stage_pending,
                                          .expecting = stage_expecting});
    *state = stage;
    return 0;
}

static int stage_close(void **state)
{
    (void)state;
    reactor_fini(&stage->r);
    assert_int_equal(reactor_core(), UINT32_MAX);
    io_free(stage->io);
    io_sim_free(stage->sim);
    mem_free(MEM_TEST, stage, sizeof *stage);
    assert_int_equal(mem_live_bytes(MEM_RT), 0);
    assert_int_equal(mem_live_bytes(MEM_TEST), 0);
    return 0;
}

static uint64_t slept_us(void)
{
    uint64_t before = clock_mono_ns(io_sim_clock(stage->sim));
    reactor_turn(&stage->r, true);
    assert_false(atomic_load(&stage->r.sleeping));
    return (clock_mono_ns(io_sim_clock(stage->sim)) - before) / 1000;
}

static void test_order_of_a_turn(void **state)
{
    (void)state;
    io_sim_advance(stage->sim, 123);
    reactor_turn(&stage->r, false);
    assert_string_equal(stage->order, "P");
    int fd = stage->io->ops->file_open(stage->io, "f", O_RDWR | O_CREAT, 0600);
    stage->io->ops->fdatasync(stage->io, &stage->op, fd);
    reactor_arm(&stage->r, &stage->timer, 0);
    task_wake(&stage->r.tasks, &stage->task);
    io_sim_advance(stage->sim, 1000);
    reactor_turn(&stage->r, true);
    assert_string_equal(stage->order, "PCPTB");
    assert_int_equal(stage->r.turns, 2);
    assert_int_equal(stage->r.sleeps, 0);
    assert_int_equal(stage->r.mono_ns, clock_mono_ns(io_sim_clock(stage->sim)));
    assert_int_equal(stage->r.wall_us, clock_wall_us(io_sim_clock(stage->sim)));
    assert_int_equal(reactor_now_ms(&stage->r), stage->r.wall_us / 1000);
}

static void test_sleeps_until_the_timer(void **state)
{
    (void)state;
    reactor_turn(&stage->r, false);
    reactor_arm(&stage->r, &stage->timer, 5);
    assert_int_equal(slept_us(), 5000);
    assert_string_equal(stage->order, "PPT");
    io_sim_advance(stage->sim, 700); /* the pass took its time: the sleep is the shorter for it */
    reactor_turn(&stage->r, false);
    reactor_arm(&stage->r, &stage->timer, 2);
    io_sim_advance(stage->sim, 400);
    assert_int_equal(slept_us(), 900);
    assert_int_equal(stage->order[stage->steps - 1], 'T');
    assert_int_equal(stage->r.sleeps, 2);
}

static void test_what_keeps_it_awake(void **state)
{
    (void)state;
    reactor_turn(&stage->r, false);
    reactor_arm(&stage->r, &stage->timer, 50);
    stage->pending_for = 1;
    assert_int_equal(slept_us(), 0);
    task_wake(&stage->r.tasks, &stage->task);
    assert_int_equal(slept_us(), 0);
    io_wake(stage->io);
    assert_int_equal(slept_us(), 0);
    uint64_t slept =
        0; /* the wheel may ask to look again on the way: how often is bounded by its levels */
    for (uint32_t i = 0; i < 4 && slept < 50000; i++)
        slept += slept_us();
    assert_int_equal(slept, 50000);
    assert_int_equal(stage->order[stage->steps - 1], 'T');
    assert_int_equal(slept_us(),
                     1000000); /* with nothing to wait for it looks around once a second */
    int fd = stage->io->ops->file_open(stage->io, "f", O_RDWR | O_CREAT, 0600);
    stage->io->ops->fdatasync(stage->io, &stage->op, fd);
    assert_int_equal(slept_us(), 300);
}

/* On simulated time nothing moves while it spins, so only what comes ends the spin. */
static void test_spins_while_answers_are_due(void **state)
{
    (void)state;
    stage->r.spin_us = 50;
    stage->expecting_for = 1;
    int fd = stage->io->ops->file_open(stage->io, "f", O_RDWR | O_CREAT, 0600);
    stage->io->ops->fdatasync(stage->io, &stage->op, fd);
    io_sim_advance(stage->sim, 300);
    assert_int_equal(slept_us(), 0);
    assert_int_equal(stage->r.sleeps, 0);
    assert_int_equal(stage->expecting_for, 0);
    assert_string_equal(stage->order, "CP");
}

static void test_passes_are_measured(void **state)
{
    (void)state;
    stage->r.pass_cpu_every = 1;
    reactor_turn(&stage->r, false);
    assert_int_equal(stage->r.pass_cpu.count, 0); /* no work */
    io_wake(stage->io);
    reactor_turn(&stage->r, false);
    assert_int_equal(stage->r.pass_cpu.count, 1);
    stage->r.pass_cpu_every = 0;
    io_wake(stage->io);
    reactor_turn(&stage->r, false);
    assert_int_equal(stage->r.pass_cpu.count, 1);
}

/* ---- the run token */

static struct io_rest real; /* what the reactor does around a sleep; the spies look at it */
static uint32_t rests;

static void spy_leave(struct io_rest *rest)
{
    assert_false(reactor_try_take(&stage->r, TOKEN_FREE));
    real.leave(rest);
    assert_true(atomic_load(&stage->r.sleeping)); /* who finds it held has rung */
    assert_false(reactor_try_take(&stage->r, TOKEN_STANDS));
    assert_true(reactor_try_take(&stage->r, TOKEN_FREE));
    assert_false(reactor_try_take(&stage->r, TOKEN_FREE));
    assert_false(reactor_owed(&stage->r));
    task_wake(&stage->r.tasks, &stage->task);
    assert_true(reactor_owed(&stage->r));
    reactor_give(&stage->r, TOKEN_FREE);
}

static void spy_back(struct io_rest *rest)
{
    real.back(rest);
    assert_false(reactor_try_take(&stage->r, TOKEN_FREE));
    rests++;
}

static void test_the_token_is_free_in_sleep_only(void **state)
{
    (void)state;
    real = stage->r.rest;
    stage->r.rest = (struct io_rest){.leave = spy_leave, .back = spy_back};
    reactor_turn(&stage->r, true);
    assert_int_equal(stage->r.sleeps, 1);
    assert_int_equal(rests, 0); /* one that does not lend */
    stage->r.lends = true;
    assert_false(reactor_try_take(&stage->r, TOKEN_FREE));
    reactor_turn(&stage->r, false);
    stage->pending_for = 1;
    reactor_turn(&stage->r, true);
    assert_int_equal(rests, 0);
    assert_false(reactor_try_take(&stage->r, TOKEN_FREE));
    assert_string_equal(stage->order, "PPP");
    reactor_turn(&stage->r, true);
    assert_int_equal(rests, 1);
    assert_string_equal(stage->order, "PPPPB"); /* what was left for it while it slept */
}

static void stop_in_pass(void *ctx)
{
    struct stage *s = ctx;
    if (s->steps++ == 0) reactor_stop(&s->r);
}

static void test_a_stopped_reactor_sleeps_again(void **state)
{
    (void)state;
    stage->r.handler.pass = stop_in_pass;
    reactor_run(&stage->r);
    uint64_t sleeps = stage->r.sleeps;
    reactor_turn(&stage->r, true); /* the bell of the stop itself */
    reactor_turn(&stage->r, true);
    assert_true(stage->r.sleeps > sleeps);
}

/* ---- two reactors on two threads */

#define TRIPS 3000u

struct core {
    struct reactor r;
    struct mailbox *in, *out;
    struct reactor *peer;
    enum io_kind kind;
    uint32_t number, got, to_send;
    uint64_t sent_ns, trip_ns_max;
    bool starts, failed;
};
static pthread_barrier_t both_ready;

static void send_number(struct core *c, uint32_t value)
{
    uint32_t *at = mailbox_reserve(c->out, sizeof *at);
    if (at == NULL) {
        c->failed = true;
        return;
    }
    *at = value;
    mailbox_push(c->out, sizeof *at);
}

static void core_pass(void *ctx)
{
    struct core *c = ctx;
    void *at = NULL;
    size_t len = 0;
    bool any = false;
    while (mailbox_next(c->in, &at, &len)) {
        uint32_t value = *(const uint32_t *)at;
        if (len != 4 || value != c->got || reactor_core() != c->number) c->failed = true;
        c->got++;
        any = true;
        if (!c->starts) send_number(c, value);
    }
    mailbox_release(c->in);
    if (c->starts && c->got == TRIPS) {
        reactor_stop(c->peer);
        reactor_stop(&c->r);
        return;
    }
    if (c->starts && (any || c->got == 0) && c->to_send == c->got) {
        uint64_t now = clock_mono_ns(&clock_real);
        if (c->got > 0 && now - c->sent_ns > c->trip_ns_max) c->trip_ns_max = now - c->sent_ns;
        c->sent_ns = now;
        send_number(c, c->to_send++);
    }
    if (mailbox_publish(c->out)) reactor_wake(c->peer);
}

static bool core_pending(void *ctx)
{
    return mailbox_pending(((struct core *)ctx)->in);
}

static void *core_main(void *arg)
{
    struct core *c = arg;
    struct io_opts opts = {.kind = c->kind, .entries = 64, .buffers = 16, .buffer_bytes = 4096};
    const char *why = NULL;
    struct io *io = NULL;
    c->failed = io_open(&opts, &io, &why) != RC_OK;
    if (!c->failed) {
        reactor_init(
            &c->r, c->number, io, &clock_real,
            (struct reactor_handler){.ctx = c, .pass = core_pass, .pending = core_pending});
        c->r.pass_cpu_every = 1;
    }
    pthread_barrier_wait(&both_ready); /* the peer's reactor must be there before it is woken */
    if (!c->failed) reactor_run(&c->r);
    pthread_barrier_wait(&both_ready); /* and may be woken or stopped until here */
    if (c->failed) return NULL;
    reactor_fini(&c->r);
    io_free(io);
    return NULL;
}

/* One message at a time: each side sleeps between two. A wake that is lost costs a second. */
static void ping_pong(enum io_kind kind)
{
    static struct core core[2];
    struct mailbox *there = mailbox_new(4096), *back = mailbox_new(4096);
    core[0] = (struct core){.in = back, .out = there, .kind = kind, .number = 0, .starts = true};
    core[1] = (struct core){.in = there, .out = back, .kind = kind, .number = 1};
    core[0].peer = &core[1].r;
    core[1].peer = &core[0].r;
    pthread_t t[2];
    pthread_barrier_init(&both_ready, NULL, 2);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, core_main, &core[i]), 0);
    for (uint32_t i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&both_ready);
    assert_false(core[0].failed);
    assert_false(core[1].failed);
    assert_int_equal(core[0].got, TRIPS);
    assert_int_equal(core[1].got, TRIPS);
    print_message("round trip: at most %llu us; %llu sleeps, %llu wakes\n",
                  (unsigned long long)core[0].trip_ns_max / 1000,
                  (unsigned long long)(core[0].r.sleeps + core[1].r.sleeps),
                  (unsigned long long)(core[0].r.wakes_sent + core[1].r.wakes_sent));
    assert_true(core[0].trip_ns_max < 900000000);
    assert_true(core[0].r.sleeps + core[1].r.sleeps > 0);
    assert_true(core[0].r.wakes_sent <= TRIPS); /* at most one per message */
    assert_true(core[1].r.wakes_sent <= TRIPS);
    mailbox_free(there);
    mailbox_free(back);
    assert_int_equal(mem_live_bytes(MEM_RT), 0);
}

/* ---- one reactor, and a thread that works on it while it sleeps */

struct lent {
    struct reactor r;
    struct timer timer;
    enum io_kind kind;
    uint64_t work, passes; /* plain: what the token protects */
    pthread_barrier_t ready;
    bool failed;
};

static void lent_pass(void *ctx)
{
    struct lent *l = ctx;
    l->work++;
    l->passes++;
}

static void lent_fire(struct timer *t)
{
    struct lent *l = container_of(t, struct lent, timer);
    l->work++;
    l->passes++;
    reactor_arm(&l->r, t, 1);
}

static void *lent_main(void *arg)
{
    struct lent *l = arg;
    struct io_opts opts = {.kind = l->kind, .entries = 64, .buffers = 16, .buffer_bytes = 4096};
    const char *why = NULL;
    struct io *io = NULL;
    l->failed = io_open(&opts, &io, &why) != RC_OK;
    if (!l->failed)
        reactor_init(&l->r, 0, io, &clock_real,
                     (struct reactor_handler){.ctx = l, .pass = lent_pass});
    l->r.lends = true;
    pthread_barrier_wait(&l->ready);
    if (l->failed) return NULL;
    l->timer.fire = lent_fire;
    reactor_arm(&l->r, &l->timer, 1);
    reactor_run(&l->r);
    pthread_barrier_wait(&l->ready); /* nobody touches it any more */
    timer_cancel(l->r.timers, &l->timer);
    reactor_fini(&l->r);
    io_free(io);
    return NULL;
}

static void lend(enum io_kind kind)
{
    static struct lent l;
    pthread_t t;
    uint64_t lends = 0, rings = 0;
    l = (struct lent){.kind = kind};
    pthread_barrier_init(&l.ready, NULL, 2);
    assert_int_equal(pthread_create(&t, NULL, lent_main, &l), 0);
    pthread_barrier_wait(&l.ready);
    assert_false(l.failed);
    uint64_t until = clock_mono_ns(&clock_real) + 300000000;
    for (uint32_t i = 0; clock_mono_ns(&clock_real) < until; i++) {
        if (reactor_try_take(&l.r, TOKEN_FREE)) {
            l.work++;
            lends++;
            reactor_give(&l.r, TOKEN_FREE);
        }
        if (i % 64 != 0) continue;
        reactor_wake(&l.r);
        rings++;
    }
    reactor_stop(&l.r);
    pthread_barrier_wait(&l.ready);
    pthread_join(t, NULL);
    pthread_barrier_destroy(&l.ready);
    print_message("%llu times lent, %llu turns and timers of its own, %llu rings\n",
                  (unsigned long long)lends, (unsigned long long)l.passes,
                  (unsigned long long)rings);
    assert_int_equal(l.work, l.passes + lends);
    assert_true(lends > 0);
    assert_true(l.passes > 0);
    assert_int_equal(mem_live_bytes(MEM_RT), 0);
}

static bool kind_works(enum io_kind kind)
{
    struct io_opts opts = {.kind = kind, .entries = 8, .buffers = 8, .buffer_bytes = 4096};
    const char *why = NULL;
    struct io *io = NULL;
    if (io_open(&opts, &io, &why) != RC_OK) {
        print_message("skipped: %s\n", why);
        return false;
    }
    io_free(io);
    return true;
}

static void test_wakes_over_uring(void **state)
{
    (void)state;
    if (!kind_works(IO_URING)) skip();
    ping_pong(IO_URING);
}

static void test_wakes_over_epoll(void **state)
{
    (void)state;
    ping_pong(IO_EPOLL);
}

static void test_is_lent_over_uring(void **state)
{
    (void)state;
    if (!kind_works(IO_URING)) skip();
    lend(IO_URING);
}

static void test_is_lent_over_epoll(void **state)
{
    (void)state;
    lend(IO_EPOLL);
}

int main(void)
{
#define ON_STAGE(test) cmocka_unit_test_setup_teardown(test, stage_open, stage_close)
    const struct CMUnitTest tests[] = {
        ON_STAGE(test_order_of_a_turn),
        ON_STAGE(test_sleeps_until_the_timer),
        ON_STAGE(test_what_keeps_it_awake),
        ON_STAGE(test_spins_while_answers_are_due),
        ON_STAGE(test_passes_are_measured),
        ON_STAGE(test_a_stopped_reactor_sleeps_again),
        ON_STAGE(test_the_token_is_free_in_sleep_only),
        cmocka_unit_test(test_wakes_over_uring),
        cmocka_unit_test(test_wakes_over_epoll),
        cmocka_unit_test(test_is_lent_over_uring),
        cmocka_unit_test(test_is_lent_over_epoll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
