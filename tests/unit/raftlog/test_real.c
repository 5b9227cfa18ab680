/* One member alone on real files, over each of the real io tables: what was answered as applied is there
 * after a clean end, in order, once; snapshots are taken and old segments go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "raftlog/raftlog.h"
#include "shard/base/log.h"
#include "shard/rt/io.h"
#include "tests/unit/raftlog/rfix.h"

struct member {
    struct io *io;
    struct rl *rl;
    struct rmachine machine;
    char dir[128];
    uint64_t now_ms;
};
struct call {
    struct rl_call call;
    bool done;
    struct rl_result result;
};

static void no_send(void *ctx, uint64_t to, const char *address, struct bytes message)
{
    (void)ctx;
    (void)to;
    (void)address;
    (void)message;
    fail_msg("a lone member sends");
}

static void member_open(struct member *m, bool bootstrap)
{
    char why[512] = "";
    m->machine = (struct rmachine){0};
    struct rl_opts o = {
        .io = m->io,
        .dir = m->dir,
        .cluster_id = "c",
        .node_id = "n",
        .id = 1,
        .now_ms = m->now_ms,
        .seed = 1,
        .machine = {.apply = rmachine_apply,
                    .save = rmachine_save,
                    .restore = rmachine_restore,
                    .ctx = &m->machine},
        .link = {.send = no_send},
        .snapshot_entries = 200,
        .trailing_entries = 50,
        .segment_bytes = 16384,
    };
    struct rl_members members = {.count = 1, .at = {{.id = 1, .role = RL_VOTER, .address = "a"}}};
    if (bootstrap) {
        assert_int_equal(rl_bootstrap(&o, &members, why, sizeof why), RC_OK);
        assert_int_equal(rl_bootstrap(&o, &members, why, sizeof why), RC_EXISTS);
    }
    if (rl_open(&o, &m->rl, why, sizeof why) != RC_OK) fail_msg("%s", why);
}

static void on_done(struct rl_call *call, const struct rl_result *result)
{
    struct call *c = container_of(call, struct call, call);
    c->result = *result;
    c->done = true;
}

static void turn(struct member *m)
{
    m->now_ms += 25;
    rl_tick(m->rl, m->now_ms);
    (void)io_turn(m->io, 2000);
}

static void propose(struct member *m, uint64_t counter, struct rl_result *out)
{
    struct call c = {.call.done = on_done};
    struct rl_request r = {.node = 9, .incarnation = 1, .counter = counter, .done_below = counter};
    assert_int_equal(rl_propose(m->rl, &c.call, &r, bytes_view(&counter, sizeof counter)), RC_OK);
    for (int i = 0; i < 5000 && !c.done; i++)
        turn(m);
    assert_true(c.done);
    assert_int_equal(c.result.outcome, RL_APPLIED);
    *out = c.result;
}

static void files_of(const char *dir, const char *what, uint32_t *out)
{
    char command[256];
    (void)snprintf(command, sizeof command, "ls %s | grep -c %s", dir, what);
    FILE *in = popen(command, "r");
    assert_non_null(in);
    unsigned n = 0;
    assert_int_equal(fscanf(in, "%u", &n), 1);
    (void)pclose(in);
    *out = n;
}

static void over(enum io_kind kind)
{
    const struct io_opts io = {.kind = kind, .entries = 64, .buffers = 16, .buffer_bytes = 4096};
    struct member m = {.dir = "/tmp/moon-test-raftlog-XXXXXX", .now_ms = 1000};
    const char *why = NULL;
    if (io_open(&io, &m.io, &why) != RC_OK) skip(); /* no io_uring here: the reason is known */
    assert_non_null(mkdtemp(m.dir));
    member_open(&m, true);
    struct rl_result first = {0}, again = {0};
    for (uint64_t i = 1; i <= 700; i++)
        propose(&m, i, &first);
    propose(&m, 700, &again); /* the same once more */
    assert_int_equal(again.index, first.index);
    assert_int_equal(again.code, first.code);
    struct rmachine before = m.machine;
    assert_int_equal(before.count, 700);
    struct rl_status s;
    rl_status(m.rl, &s);
    assert_true(s.ready);
    assert_true(s.snapshots_taken >= 3);
    uint32_t snapshots = 0, segments = 0;
    files_of(m.dir, "snap-", &snapshots);
    files_of(m.dir, "seg-", &segments);
    assert_int_equal(snapshots, 2);
    assert_true(segments < 5); /* of the about ten that were written */
    rl_close(m.rl);
    member_open(&m, false);
    for (int i = 0; i < 100; i++)
        turn(&m);
    assert_memory_equal(&m.machine, &before, sizeof before);
    rl_close(m.rl);
    io_free(m.io);
    char command[160];
    (void)snprintf(command, sizeof command, "rm -r %s", m.dir);
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

int main(void)
{
    log_set_level(LOG_WARNING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uring),
        cmocka_unit_test(test_epoll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
