/* The log of a node alone: what was answered as applied is there after an end, a kill, a power loss at any
 * moment; damage is refused, naming the file; a full or broken disk ends it without a lie; and the files are
 * those of a lone Raft voter. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "raftlog/solo.h"
#include "shard/base/log.h"
#include "tests/unit/raftlog/rfix.h"

struct alone {
    struct io *io;
    const char *dir;
    struct solo *solo;
    struct rmachine machine;
    uint64_t counter;
    char why[768];
};
struct call {
    struct rl_call call;
    bool done;
    struct rl_result result;
};

static enum rc start(struct alone *a)
{
    a->machine = (struct rmachine){0};
    a->counter = 0;
    struct solo_opts o = {
        .io = a->io,
        .dir = a->dir,
        .new_cluster_id = "c",
        .new_node_id = "n",
        .machine = {.apply = rmachine_apply,
                    .save = rmachine_save,
                    .restore = rmachine_restore,
                    .ctx = &a->machine},
        .snapshot_entries = 20,
        .trailing_entries = 5,
        .segment_bytes = 2048,
    };
    a->why[0] = '\0';
    return solo_open(&o, &a->solo, a->why, sizeof a->why);
}

static void start_well(struct alone *a)
{
    if (start(a) != RC_OK) fail_msg("%s", a->why);
}

static void on_done(struct rl_call *call, const struct rl_result *result)
{
    struct call *c = container_of(call, struct call, call);
    assert_false(c->done);
    c->result = *result;
    c->done = true;
}

static enum rc propose(struct alone *a, struct call *c, uint64_t v)
{
    struct solo_status s;
    solo_status(a->solo, &s);
    a->counter++;
    *c = (struct call){.call.done = on_done};
    struct rl_request r = {.node = s.id,
                           .incarnation = s.incarnation,
                           .counter = a->counter,
                           .done_below = a->counter};
    return solo_propose(a->solo, &c->call, &r, bytes_view(&v, sizeof v));
}

/* One after the other; false: the log has stopped. */
static bool propose_all(struct alone *a, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct call c;
        uint64_t before = a->machine.count;
        if (propose(a, &c, i) != RC_OK) return false;
        assert_false(c.done);
        for (int turns = 0; turns < 5000 && !c.done; turns++)
            (void)io_turn(a->io, 2000);
        if (!c.done || c.result.outcome == RL_UNKNOWN) return false;
        assert_int_equal(c.result.outcome, RL_APPLIED);
        assert_int_equal(c.result.code, before + 1);
    }
    return true;
}

/* ---- real files */

static void over(enum io_kind kind)
{
    const struct io_opts io = {.kind = kind, .entries = 64, .buffers = 16, .buffer_bytes = 4096};
    char dir[] = "/tmp/moon-test-solo-XXXXXX", raft[64];
    struct alone a = {.dir = raft}, second = {.dir = raft};
    struct call many[100];
    const char *why = NULL;
    if (io_open(&io, &a.io, &why) != RC_OK) skip(); /* no io_uring here: the reason is known */
    second.io = a.io;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(raft, sizeof raft, "%s/raft", dir);
    start_well(&a);
    assert_int_equal(start(&second), RC_LOCKED);
    assert_non_null(strstr(second.why, "in use by another process"));
    assert_true(propose_all(&a, 150));
    for (uint64_t i = 0; i < COUNT_OF(many); i++) { /* side by side */
        struct solo_status s;
        solo_status(a.solo, &s);
        many[i] = (struct call){.call.done = on_done};
        struct rl_request r = {.node = s.id,
                               .incarnation = s.incarnation,
                               .counter = a.counter + 1 + i,
                               .done_below = a.counter + 1};
        assert_int_equal(solo_propose(a.solo, &many[i].call, &r, bytes_view(&i, sizeof i)), RC_OK);
    }
    struct solo_status before;
    solo_close(a.solo); /* waits for them */
    for (uint64_t i = 0; i < COUNT_OF(many); i++)
        assert_true(many[i].done && many[i].result.outcome == RL_APPLIED);
    struct rmachine machine = a.machine;
    assert_int_equal(machine.count, 250);
    start_well(&a);
    assert_memory_equal(&a.machine, &machine, sizeof machine);
    solo_status(a.solo, &before);
    assert_string_equal((const char *)before.node_id, "n");
    assert_true(before.snapshot_index > 0);
    solo_tick(a.solo);
    solo_close(a.solo);
    io_free(a.io);
    char command[160];
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(mem_live_bytes(MEM_RAFT), 0);
}

static void test_uring(void **state)
{
    (void)state;
    over(IO_URING);
}

static void test_epoll(void **state)
{
    (void)state;
    over(IO_EPOLL);
}

/* ---- power losses, on a simulated disk */

static void world(struct rworld *w, struct alone *a, uint64_t seed)
{
    *w = (struct rworld){.sim = io_sim_new(seed, NULL)};
    w->io = io_sim_open(w->sim);
    *a = (struct alone){.io = w->io, .dir = RFIX_DIR};
}

/* Before and after each turn of the io, the start's own too, a copy of the machine loses power. */
static const struct io_ops *real_ops;
static struct {
    struct io_sim *sim;
    const struct rmachine *machine; /* what was answered at least */
    uint64_t copies;
} loss;

static void lose_power(void)
{
    struct io_sim *copy = io_sim_crash_copy(loss.sim, ++loss.copies);
    struct alone a = {.io = io_sim_open(copy), .dir = RFIX_DIR};
    start_well(&a);
    assert_in_range(a.machine.count, loss.machine->count, loss.machine->count + 1);
    assert_true(propose_all(&a, 2)); /* and it goes on */
    struct rmachine after = a.machine;
    solo_close(a.solo);
    start_well(&a);
    assert_memory_equal(&a.machine, &after, sizeof after);
    solo_close(a.solo);
    io_free(a.io);
    io_sim_free(copy);
}

static uint32_t losing_turn(struct io *io, int64_t timeout_us)
{
    lose_power();
    uint32_t n = real_ops->turn(io, timeout_us);
    lose_power();
    return n;
}

static void test_power_loss_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct rworld w;
        struct alone a;
        world(&w, &a, seed);
        real_ops = w.io->ops;
        struct io_ops losing = *real_ops;
        losing.turn = losing_turn;
        w.io->ops = &losing;
        loss.sim = w.sim;
        loss.machine = &a.machine;
        start_well(&a);
        assert_true(propose_all(&a, 60));
        solo_close(a.solo);
        w.io->ops = real_ops;
        rworld_free(&w);
    }
    assert_true(loss.copies > 600);
}

/* ---- damage */

static void test_every_byte_flipped_is_refused_or_harmless(void **state)
{
    (void)state;
    struct rworld w;
    struct alone a;
    struct rfiles files;
    uint32_t refused = 0;
    world(&w, &a, 1);
    start_well(&a);
    assert_true(propose_all(&a, 47));
    struct rmachine machine = a.machine;
    solo_close(a.solo);
    rfix_read(&w, &files);
    rworld_free(&w);
    for (uint32_t f = 0; f < files.count; f++) {
        struct rfile *file = &files.at[f];
        for (size_t at = 0; at < file->bytes.len; at += at < 160 ? 1 : 7) {
            world(&w, &a, 1);
            assert_int_equal(w.io->ops->file_mkdir(w.io, RFIX_DIR), 0);
            file->bytes.data[at] ^= 0x10;
            rfix_place(&w, &files);
            file->bytes.data[at] ^= 0x10;
            if (start(&a) == RC_OK) { /* the other copy of meta, the older snapshot */
                assert_memory_equal(&a.machine, &machine, sizeof machine);
                solo_close(a.solo);
            } else {
                refused++;
                assert_non_null(strstr(a.why, file->name));
                assert_non_null(strstr(a.why, "offset"));
            }
            rworld_free(&w);
        }
    }
    assert_true(refused > 300);
    rfiles_free(&files);
}

/* ---- a disk that fails */

static void fails(uint32_t ops, int err, const char *text)
{
    struct rworld w;
    struct alone a;
    struct call c, queued, late;
    world(&w, &a, 3);
    start_well(&a);
    assert_true(propose_all(&a, 3));
    io_sim_fault(w.sim, ops, 1, err, true);
    assert_int_equal(propose(&a, &c, 1), RC_OK);
    assert_int_equal(propose(&a, &queued, 1), RC_OK);
    for (int i = 0; i < 100 && !(c.done && queued.done); i++)
        (void)io_turn(a.io, 1000);
    assert_int_equal(c.result.outcome, RL_UNKNOWN);
    assert_int_equal(queued.result.outcome, RL_UNKNOWN);
    assert_int_equal(a.machine.count, 3);
    assert_int_equal(propose(&a, &late, 1), RC_CLOSED);
    struct solo_status s;
    solo_status(a.solo, &s);
    assert_non_null(strstr(s.failure, text));
    (void)io_sim_heal(w.sim);
    solo_close(a.solo);
    start_well(&a); /* what was not answered may be there */
    assert_in_range(a.machine.count, 3, 5);
    solo_close(a.solo);
    rworld_free(&w);
}

static void test_a_disk_that_fails_ends_it(void **state)
{
    (void)state;
    fails(IO_SIM_WRITE, -ENOSPC, "No space left");
    fails(IO_SIM_SYNC, -EIO, "sync");
}

/* ---- Raft */

static void no_send(void *ctx, uint64_t to, const char *address, struct bytes message)
{
    (void)ctx;
    (void)to;
    (void)address;
    (void)message;
    fail_msg("a lone member sends");
}

/* Both ways: a node alone becomes a lone voter, and is alone again. */
static void test_the_files_are_those_of_a_lone_voter(void **state)
{
    (void)state;
    struct rworld w;
    struct alone a;
    char why[512] = "";
    world(&w, &a, 5);
    start_well(&a);
    assert_true(propose_all(&a, 33));
    struct rmachine machine = a.machine;
    solo_close(a.solo);
    struct rl_opts o = {
        .io = w.io,
        .dir = RFIX_DIR,
        .cluster_id = "c",
        .node_id = "n",
        .id = 1,
        .now_ms = 1000,
        .seed = 1,
        .machine = {.apply = rmachine_apply,
                    .save = rmachine_save,
                    .restore = rmachine_restore,
                    .ctx = &a.machine},
        .link = {.send = no_send},
    };
    struct rl *rl;
    a.machine = (struct rmachine){0};
    if (rl_open(&o, &rl, why, sizeof why) != RC_OK) fail_msg("%s", why);
    struct call c = {.call.done = on_done};
    struct rl_request r = {.node = 1, .incarnation = 77, .counter = 1, .done_below = 1};
    uint64_t v = 5;
    assert_int_equal(rl_propose(rl, &c.call, &r, bytes_view(&v, sizeof v)), RC_OK);
    for (int i = 0; i < 5000 && !c.done; i++) {
        o.now_ms += 25;
        rl_tick(rl, o.now_ms);
        (void)io_turn(w.io, 2000);
    }
    assert_int_equal(c.result.outcome, RL_APPLIED);
    assert_int_equal(c.result.code, machine.count + 1);
    machine = a.machine;
    rl_close(rl);
    start_well(&a);
    assert_memory_equal(&a.machine, &machine, sizeof machine);
    struct solo_status s;
    solo_status(a.solo, &s);
    assert_int_equal(s.incarnation, 78);
    assert_true(propose_all(&a, 30)); /* past a snapshot */
    machine = a.machine;
    solo_close(a.solo);
    start_well(&a);
    assert_memory_equal(&a.machine, &machine, sizeof machine);
    solo_close(a.solo);
    rworld_free(&w);
}

static void test_one_of_several_members_is_not_alone(void **state)
{
    (void)state;
    struct rworld w;
    struct alone a;
    char why[512] = "";
    world(&w, &a, 6);
    assert_int_equal(w.io->ops->file_mkdir(w.io, RFIX_DIR), 0);
    struct rl_opts o = {.io = w.io, .dir = RFIX_DIR, .cluster_id = "c", .node_id = "n", .id = 1};
    struct rl_members members = {.count = 2,
                                 .at = {{.id = 1, .role = RL_VOTER, .address = "a"},
                                        {.id = 2, .role = RL_VOTER, .address = "b"}}};
    assert_int_equal(rl_bootstrap(&o, &members, why, sizeof why), RC_OK);
    assert_int_equal(start(&a), RC_INVALID);
    assert_non_null(strstr(a.why, "several members"));
    rworld_free(&w);
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uring),
        cmocka_unit_test(test_epoll),
        cmocka_unit_test(test_power_loss_at_any_moment),
        cmocka_unit_test(test_every_byte_flipped_is_refused_or_harmless),
        cmocka_unit_test(test_a_disk_that_fails_ends_it),
        cmocka_unit_test(test_the_files_are_those_of_a_lone_voter),
        cmocka_unit_test(test_one_of_several_members_is_not_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
