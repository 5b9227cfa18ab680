/* A node's end of the control log, with the driver of a node alone and with Raft's, on a simulated disk: a
 * cluster of one from the first start on, kept from start to start, whoever wrote it; changes are answered
 * when they are stored, applied and shown; a refusal has the topology's text; half of a change is put right
 * at the next start. */
#include "cluster/ctl.h"

#include <errno.h>
#include <stdio.h>

#include "shard/base/log.h"
#include "tests/sim/io_sim.h"
#include "tests/unit/cluster/tfix.h"

#define DIR "/raft"

struct cworld {
    struct io_sim *sim;
    struct io *io;
    struct ctl *ctl;
    struct ctl_self self;
    struct slotmap *map;
    uint16_t me;
    uint32_t maps;
    uint64_t now_ms;
    bool raft; /* as the only voter of a Raft log */
    char why[768];
};
struct change_call {
    struct ctl_call call;
    struct cworld *w;
    bool done;
    enum ctl_outcome outcome;
    uint64_t value, map_version; /* of the map that was out by then */
    char text[256];
};

static void on_map(void *ctx, struct slotmap *map, uint16_t me)
{
    struct cworld *w = ctx;
    slotmap_release(w->map);
    w->map = map;
    w->me = me;
    w->maps++;
}

static enum rc open_ctl(struct cworld *w, uint8_t n)
{
    struct ctl_opts o = {.io = w->io,
                         .dir = DIR,
                         .clock = io_sim_clock(w->sim),
                         .self = w->self,
                         .new_cluster = {.bytes = {n}},
                         .new_node = nid(n),
                         .new_group = gid(n),
                         .on_map = on_map,
                         .ctx = w};
    w->why[0] = '\0';
    return w->raft ? ctl_open_voter(&o, &w->ctl, w->why, sizeof w->why)
                   : ctl_open_solo(&o, &w->ctl, w->why, sizeof w->why);
}

static bool with_raft; /* the tests run once with each driver */

static void begin(struct cworld *w)
{
    *w = (struct cworld){.raft = with_raft,
                         .sim = io_sim_new(7, NULL),
                         .self = {.ip = BYTES_LIT("10.0.0.1"), .port = 6379, .bus_port = 16379}};
    w->io = io_sim_open(w->sim);
    if (open_ctl(w, 1) != RC_OK) fail_msg("%s", w->why);
}

static void again(struct cworld *w, uint8_t n)
{
    ctl_close(w->ctl);
    if (open_ctl(w, n) != RC_OK) fail_msg("%s", w->why);
}

static void end(struct cworld *w)
{
    ctl_close(w->ctl);
    slotmap_release(w->map);
    io_free(w->io);
    io_sim_free(w->sim);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
    assert_int_equal(mem_live_bytes(MEM_RAFT), 0);
}

static void on_done(struct ctl_call *call, const struct ctl_result *result)
{
    struct change_call *c = container_of(call, struct change_call, call);
    c->done = true;
    c->outcome = result->outcome;
    c->value = result->value;
    c->map_version = c->w->map->map_version;
    (void)snprintf(c->text, sizeof c->text, "%s", result->text);
}

static void turn_until(struct cworld *w, const bool *done)
{
    ctl_run(w->ctl);
    for (int i = 0; i < 1000 && !*done; i++)
        (void)io_turn(w->io, 2000);
    assert_true(*done);
}

static void say(struct cworld *w)
{
    ctl_set_self(w->ctl, &w->self);
    ctl_tick(w->ctl, w->now_ms += 1000);
    ctl_run(w->ctl);
}

static void change(struct cworld *w, struct change_call *c, uint32_t type, const void *body)
{
    const char *why = NULL;
    *c = (struct change_call){.call.done = on_done, .w = w};
    assert_true(ctl_propose(w->ctl, &c->call, type, body, &why));
    assert_false(c->done);
    turn_until(w, &c->done);
}

static void assign(struct cworld *w, struct change_call *c, uint16_t first, uint16_t last)
{
    struct topo_slot_assign body = {.ranges = R({first, last}),
                                    .ranges_count = 1,
                                    .group = w->map->groups[w->map->nodes[w->me].group].id};
    change(w, c, TOPO_SLOT_ASSIGN, &body);
}

static void test_a_cluster_of_one(void **state)
{
    (void)state;
    struct cworld w;
    begin(&w);
    const struct topology *t = ctl_topology(w.ctl);
    assert_int_equal(w.maps, 1);
    assert_int_equal(w.map->nodes_count, 1);
    assert_int_equal(w.map->groups_count, 1);
    assert_true(topo_id_equal(w.map->nodes[w.me].info.id, nid(1)));
    assert_true(topo_id_equal(w.map->groups[0].id, gid(1)));
    assert_int_equal(w.map->slots_count, 0);
    assert_int_equal(w.map->epoch, 0);
    assert_int_equal(topology_cluster_id(t).bytes[0], 1);
    uint64_t version = topology_version(t);
    again(&w, 2); /* other ids are for new ones */
    t = ctl_topology(w.ctl);
    assert_int_equal(topology_version(t), version); /* nothing new was written */
    assert_true(topo_id_equal(ctl_me(w.ctl), nid(1)));
    assert_int_equal(w.map->version, version);
    end(&w);
}

static void test_changes_are_shown_before_they_are_answered(void **state)
{
    (void)state;
    struct cworld w;
    struct change_call c;
    begin(&w);
    assign(&w, &c, 0, 99);
    assert_int_equal(c.outcome, CTL_APPLIED);
    assert_string_equal(c.text, "");
    assert_int_equal(c.map_version, topology_map_version(ctl_topology(w.ctl)));
    assert_int_equal(w.map->slots_count, 100);
    uint32_t maps = w.maps;
    assign(&w, &c, 50, 120);
    assert_int_equal(c.outcome, CTL_REFUSED);
    assert_string_equal(c.text, "Slot 50 is already busy");
    assert_int_equal(w.maps, maps); /* a refusal changes no map */
    struct topo_group_epoch epoch = {.group = gid(1), .epoch = 9, .initial = true};
    change(&w, &c, TOPO_GROUP_EPOCH, &epoch);
    assert_int_equal(c.value, 9);
    assert_int_equal(w.map->epoch, 9);
    again(&w, 2);
    assert_int_equal(w.map->slots_count, 100);
    assert_int_equal(w.map->epoch, 9);
    end(&w);
}

static void test_addresses_follow_what_the_node_says(void **state)
{
    (void)state;
    struct cworld w;
    begin(&w);
    uint64_t incarnation = w.map->nodes[0].info.incarnation;
    w.self.port = 7000;
    again(&w, 1);
    assert_int_equal(w.map->nodes[0].info.port, 7000);
    w.self.hostname = BYTES_LIT("a.example");
    uint32_t maps = w.maps;
    say(&w);
    say(&w); /* the first is under way */
    for (int i = 0; i < 100; i++)
        (void)io_turn(w.io, 2000);
    say(&w);
    assert_int_equal(w.maps, maps + 1);
    assert_true(bytes_equal(w.map->nodes[0].info.hostname, w.self.hostname));
    assert_int_equal(w.map->nodes[0].info.incarnation, incarnation);
    w.self.hostname = BYTES_LIT("not, plain");
    uint64_t version = topology_version(ctl_topology(w.ctl));
    for (int i = 0; i < 10; i++) {
        say(&w);
        (void)io_turn(w.io, 2000);
    }
    assert_int_equal(topology_version(ctl_topology(w.ctl)),
                     version); /* not proposed again and again */
    w.self.hostname = bytes_view(NULL, 0);
    end(&w);
}

/* CLUSTER RESET HARD is three entries; power may be lost between any two. */
static void test_half_of_a_reset_is_put_right(void **state)
{
    (void)state;
    for (int done = 0; done <= 3; done++) {
        struct cworld w;
        struct change_call c;
        begin(&w);
        struct topo_node_join join = {
            .node = {.id = nid(9), .incarnation = 1, .port = 6379, .level = TOPOLOGY_LEVEL}};
        struct topo_node_forget forget = {.node = nid(1)};
        struct topo_group_create create = {
            .group = gid(9), .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(9, 1)};
        if (done >= 1) change(&w, &c, TOPO_NODE_JOIN, &join);
        if (done >= 2) change(&w, &c, TOPO_NODE_FORGET, &forget);
        if (done >= 3) change(&w, &c, TOPO_GROUP_CREATE, &create);
        if (done > 0) assert_int_equal(c.outcome, CTL_APPLIED);
        assert_true(topo_id_equal(ctl_me(w.ctl), nid(done >= 2 ? 9 : 1)));
        again(&w, 5);
        assert_int_equal(w.map->nodes_count, 1);
        assert_int_equal(w.map->groups_count, 1);
        assert_true(topo_id_equal(w.map->nodes[w.me].info.id, nid(done >= 2 ? 9 : 1)));
        assert_int_equal(w.map->nodes[w.me].group, 0);
        assign(&w, &c, 0, 5);
        assert_int_equal(c.outcome, CTL_APPLIED);
        end(&w);
    }
}

static void test_a_log_that_fails_says_so(void **state)
{
    (void)state;
    struct cworld w;
    struct change_call c;
    const char *why = NULL;
    begin(&w);
    io_sim_fault(w.sim, IO_SIM_WRITE, 1, -ENOSPC, true);
    assign(&w, &c, 0, 5);
    assert_int_equal(c.outcome, CTL_UNKNOWN);
    assert_non_null(strstr(c.text, "No space left"));
    assert_non_null(ctl_failure(w.ctl));
    assert_int_equal(w.map->slots_count, 0);
    struct topo_group_epoch epoch = {.group = gid(1), .epoch = 9, .initial = true};
    assert_false(ctl_propose(w.ctl, &c.call, TOPO_GROUP_EPOCH, &epoch, &why));
    assert_non_null(strstr(why, "No space left"));
    say(&w);
    (void)io_sim_heal(w.sim);
    end(&w);
}

static void test_a_full_disk_refuses_the_first_start(void **state)
{
    (void)state;
    struct cworld w = {.raft = with_raft, .sim = io_sim_new(7, NULL)};
    w.io = io_sim_open(w.sim);
    io_sim_fault(w.sim, IO_SIM_SYNC, 6, -EIO, true);
    assert_int_equal(open_ctl(&w, 1), RC_IO);
    assert_non_null(strstr(w.why, "/raft"));
    (void)io_sim_heal(w.sim);
    if (open_ctl(&w, 1) != RC_OK) fail_msg("%s", w.why);
    assert_int_equal(w.map->nodes_count, 1);
    end(&w);
}

/* Raft applies a batch before it tells the first of those who asked: each gets its own answer. */
static void test_each_change_of_a_batch_gets_its_own_answer(void **state)
{
    (void)state;
    struct cworld w;
    static struct change_call many[200];
    const char *why = NULL;
    begin(&w);
    for (uint32_t i = 0; i < COUNT_OF(many); i++) {
        struct topo_reserve_ids odd = {.kind = TOPO_COORDINATORS, .count = i + 1};
        struct topo_group_delete even = {.group = gid((uint8_t)i)};
        many[i] = (struct change_call){.call.done = on_done, .w = &w};
        bool taken = i % 2 == 1 ? ctl_propose(w.ctl, &many[i].call, TOPO_RESERVE, &odd, &why)
                                : ctl_propose(w.ctl, &many[i].call, TOPO_GROUP_DELETE, &even, &why);
        assert_true(taken);
    }
    turn_until(&w, &many[COUNT_OF(many) - 1].done);
    uint64_t next = 1;
    for (uint32_t i = 0; i < COUNT_OF(many); i++) {
        assert_true(many[i].done);
        if (i % 2 == 1) {
            assert_int_equal(many[i].outcome, CTL_APPLIED);
            assert_int_equal(many[i].value, next);
            next += i + 1;
        } else if (i != 1) {
            char text[64];
            (void)snprintf(text, sizeof text, "Unknown group %s",
                           topo_id_hex(gid((uint8_t)i)).text);
            assert_int_equal(many[i].outcome, CTL_REFUSED);
            assert_string_equal(many[i].text, text);
        }
    }
    end(&w);
}

static void test_no_more_calls_than_the_log_remembers(void **state)
{
    (void)state;
    struct cworld w;
    static struct change_call many[RAFT_SESSION_WINDOW];
    const char *why = NULL;
    struct topo_reserve_ids one = {.kind = TOPO_COORDINATORS, .count = 1};
    begin(&w);
    for (uint32_t i = 0; i < COUNT_OF(many); i++) {
        many[i] = (struct change_call){.call.done = on_done, .w = &w};
        bool taken = ctl_propose(w.ctl, &many[i].call, TOPO_RESERVE, &one, &why);
        assert_int_equal(taken, i < RAFT_SESSION_WINDOW - 1);
    }
    assert_string_equal(why, "too many changes are under way");
    turn_until(&w, &many[RAFT_SESSION_WINDOW - 2].done);
    end(&w);
}

static void test_either_driver_goes_on_where_the_other_was(void **state)
{
    (void)state;
    struct cworld w;
    struct change_call c;
    begin(&w);
    for (uint32_t i = 0; i < 6; i++) {
        assign(&w, &c, (uint16_t)(i * 10), (uint16_t)(i * 10 + 9));
        assert_int_equal(c.outcome, CTL_APPLIED);
        uint64_t hash = topo_hash(ctl_topology(w.ctl));
        w.raft = !w.raft;
        again(&w, 9);
        assert_true(topo_hash(ctl_topology(w.ctl)) == hash);
        assert_int_equal(w.map->slots_count, (i + 1) * 10);
        assert_true(topo_id_equal(ctl_me(w.ctl), nid(1)));
    }
    end(&w);
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cluster_of_one),
        cmocka_unit_test(test_changes_are_shown_before_they_are_answered),
        cmocka_unit_test(test_addresses_follow_what_the_node_says),
        cmocka_unit_test(test_half_of_a_reset_is_put_right),
        cmocka_unit_test(test_a_log_that_fails_says_so),
        cmocka_unit_test(test_a_full_disk_refuses_the_first_start),
        cmocka_unit_test(test_each_change_of_a_batch_gets_its_own_answer),
        cmocka_unit_test(test_no_more_calls_than_the_log_remembers),
        cmocka_unit_test(test_either_driver_goes_on_where_the_other_was),
    };
    int failed = cmocka_run_group_tests_name("alone", tests, NULL, NULL);
    with_raft = true;
    return failed + cmocka_run_group_tests_name("raft", tests, NULL, NULL);
}
