/* Entries about slots: owners, marks by hand, migrations. */
#include "tests/unit/cluster/tfix.h"

#define G1 "8101010101010101010101010101010101010101"
#define G2 "8202020202020202020202020202020202020202"
#define G3 "8303030303030303030303030303030303030303"
#define G9 "8909090909090909090909090909090909090909"
#define M1 "4101010101010101010101010101010101010101"
#define M9 "4909090909090909090909090909090909090909"

#define SLOTS(...)                                                                                 \
    .ranges = R(__VA_ARGS__), .ranges_count = sizeof(R(__VA_ARGS__)) / sizeof(struct topo_range)

/* Groups 1 to 3; 1 owns 0-99, 2 owns 100-199. */
static void start(struct tworld *w)
{
    tworld_init(w);
    for (uint8_t k = 1; k <= 3; k++) {
        ok(w, NODE_JOIN, .node = info(k, 1));
        ok(w, GROUP_CREATE, .group = gid(k), .mode = TOPO_ASYNC, .min_isr = 1,
           .primary = life(k, 1));
    }
    ok(w, SLOT_ASSIGN, SLOTS({0, 99}), .group = gid(1));
    ok(w, SLOT_ASSIGN, SLOTS({100, 199}), .group = gid(2));
}

static void test_assign(void **state)
{
    (void)state;
    struct tworld w;
    start(&w);
    assert_int_equal(owner(&w, 0), 1);
    assert_int_equal(owner(&w, 199), 2);
    assert_int_equal(owner(&w, 200), 0);
    assert_int_equal(topology_group_find(w.t, gid(1))->slots_count, 100);
    assert_int_equal(epoch(&w, 1), 0); /* nobody had them: nobody is to be fenced */
    unreadable(&w, "no slots are named", SLOT_ASSIGN, .group = gid(1));
    unreadable(&w, "a range of slots out of bounds", SLOT_ASSIGN, SLOTS({16384, 16384}),
               .group = gid(1));
    unreadable(&w, "a range of slots out of bounds", SLOT_ASSIGN, SLOTS({300, 299}),
               .group = gid(1));
    unreadable(&w, "ranges of slots do not rise", SLOT_ASSIGN, SLOTS({300, 310}, {310, 311}),
               .group = gid(1));
    unreadable(&w, "slots are taken away from somebody", SLOT_ASSIGN, SLOTS({300, 310}));
    refuse(&w, "Unknown group " G9, SLOT_ASSIGN, SLOTS({300, 310}), .group = gid(9));
    refuse(&w, "Slot 199 is already busy", SLOT_ASSIGN, SLOTS({199, 210}), .group = gid(3));
    refuse(&w, "Slot 0 is already busy", SLOT_ASSIGN, SLOTS({0, 0}), .group = gid(1));
    refuse(&w, "slot 100 is owned by group " G2, SLOT_ASSIGN, SLOTS({99, 100}), .group = gid(3),
           .expect_owner = gid(1));
    refuse(&w, "slot 5 is owned by group " G1, SLOT_ASSIGN, SLOTS({5, 5}), .group = gid(3),
           .expect_owner = gid(9));
    /* Unowned or expected, both in one entry. */
    ok(&w, SLOT_ASSIGN, SLOTS({90, 99}, {200, 201}), .group = gid(3), .expect_owner = gid(1));
    assert_int_equal(owner(&w, 95), 3);
    assert_int_equal(owner(&w, 201), 3);
    assert_int_equal(epoch(&w, 1), 1);
    assert_int_equal(epoch(&w, 3), 1);
    assert_int_equal(epoch(&w, 2), 0);
    /* CLUSTER SETSLOT NODE for the owner itself: nothing moves. */
    ok(&w, SLOT_ASSIGN, SLOTS({90, 90}), .group = gid(3), .expect_owner = gid(3));
    assert_int_equal(epoch(&w, 3), 1);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_take_away(void **state)
{
    (void)state;
    struct tworld w;
    start(&w);
    refuse(&w, "Slot 200 is already unassigned", SLOT_ASSIGN, SLOTS({199, 200}),
           .expect_owner = gid(2));
    refuse(&w, "slot 99 is owned by group " G1, SLOT_ASSIGN, SLOTS({99, 100}),
           .expect_owner = gid(2));
    ok(&w, SLOT_ASSIGN, SLOTS({0, 9}, {20, 29}), .expect_owner = gid(1));
    assert_int_equal(epoch(&w, 1), 1);
    assert_int_equal(owner(&w, 29), 0);
    assert_int_equal(owner(&w, 15), 1);
    assert_int_equal(topology_group_find(w.t, gid(1))->slots_count, 80);
    struct topo_range range;
    const struct topo_group *g = NULL;
    assert_true(topology_next_range(w.t, 0, &range, &g));
    assert_int_equal(range.first, 10);
    assert_int_equal(range.last, 19);
    assert_true(topology_next_range(w.t, 20, &range, &g));
    assert_int_equal(range.first, 30);
    assert_int_equal(range.last, 99);
    assert_false(topology_next_range(w.t, 200, &range, &g));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_marks(void **state)
{
    (void)state;
    struct tworld w;
    start(&w);
#define MARK(s, m, g, p) .slot = (s), .mark = TOPO_##m, .group = gid(g), .peer = gid(p)
    unreadable(&w, "a slot out of bounds", SLOT_MARK, MARK(16384, STABLE, 1, 2));
    unreadable(&w, "no such mark of a slot", SLOT_MARK, .slot = 1, .group = gid(1));
    unreadable(&w, "no such mark of a slot", SLOT_MARK, .slot = 1, .mark = 4, .group = gid(1));
    refuse(&w, "Unknown group " G9, SLOT_MARK, MARK(1, STABLE, 9, 2));
    refuse(&w, "I'm not the owner of hash slot 100", SLOT_MARK, MARK(100, MIGRATING, 1, 2));
    refuse(&w, "I'm not the owner of hash slot 300", SLOT_MARK, MARK(300, MIGRATING, 1, 2));
    refuse(&w, "I'm already the owner of hash slot 5", SLOT_MARK, MARK(5, IMPORTING, 1, 2));
    refuse(&w, "Unknown group " G9, SLOT_MARK, MARK(5, MIGRATING, 1, 9));
    refuse(&w, "hash slot 5: both groups are the same", SLOT_MARK, MARK(5, MIGRATING, 1, 1));
    refuse(&w, "hash slot 5: both groups are the same", SLOT_MARK, MARK(5, IMPORTING, 2, 2));
    ok(&w, SLOT_MARK, MARK(5, STABLE, 1, 1)); /* nothing to end */
    assert_int_equal(topology_marks(w.t), 0);
    ok(&w, SLOT_MARK, MARK(7, MIGRATING, 1, 2));
    ok(&w, SLOT_MARK, MARK(5, IMPORTING, 2, 1));
    ok(&w, SLOT_MARK, MARK(5, MIGRATING, 1, 2));
    assert_int_equal(topology_marks(w.t), 2);
    const struct topo_slot_marks *m = topology_mark_at(w.t, 0);
    assert_int_equal(m->slot, 5);
    assert_true(topo_id_equal(m->migrating_to, gid(2)));
    assert_true(topo_id_equal(m->importing_to, gid(2)));
    assert_true(topo_id_equal(m->importing_from, gid(1)));
    refuse(&w, "hash slot 5 is being imported by group " G2, SLOT_MARK, MARK(5, IMPORTING, 3, 1));
    ok(&w, SLOT_MARK, MARK(5, IMPORTING, 2, 3)); /* the same again, from somebody else */
    tworld_check(&w);
    /* Each side ends its own. */
    ok(&w, SLOT_MARK, MARK(5, STABLE, 1, 1));
    assert_true(topo_id_is_none(topology_mark_at(w.t, 0)->migrating_to));
    ok(&w, SLOT_MARK, MARK(5, STABLE, 2, 2));
    assert_int_equal(topology_marks(w.t), 1);
    assert_int_equal(topology_mark_at(w.t, 0)->slot, 7);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_a_new_owner_ends_marks(void **state)
{
    (void)state;
    struct tworld w;
    start(&w);
    for (uint16_t slot = 3; slot <= 40; slot++)
        ok(&w, SLOT_MARK, MARK(slot, MIGRATING, 1, 2));
    ok(&w, SLOT_ASSIGN, SLOTS({4, 4}), .group = gid(2), .expect_owner = gid(1));
    assert_int_equal(topology_marks(w.t), 37);
    ok(&w, SLOT_ASSIGN, SLOTS({5, 9}), .group = gid(1),
       .expect_owner = gid(1)); /* or the old one */
    assert_int_equal(topology_marks(w.t), 32);
    assert_int_equal(topology_mark_at(w.t, 0)->slot, 3);
    assert_int_equal(topology_mark_at(w.t, 1)->slot, 10);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_plan(void **state)
{
    (void)state;
    struct tworld w;
    start(&w);
#define PLAN(m, s, t) .id = mid(m), .source = gid(s), .target = gid(t)
    unreadable(&w, "a migration needs an id", MIG_PLAN, .source = gid(1), .target = gid(2),
               SLOTS({1, 2}));
    unreadable(&w, "both groups are the same", MIG_PLAN, PLAN(1, 1, 1), SLOTS({1, 2}));
    unreadable(&w, "no slots are named", MIG_PLAN, PLAN(1, 1, 2));
    refuse(&w, "Unknown group " G9, MIG_PLAN, PLAN(1, 1, 9), SLOTS({1, 2}));
    refuse(&w, "Unknown group " G9, MIG_PLAN, PLAN(1, 9, 1), SLOTS({1, 2}));
    refuse(&w, "group " G1 " is in epoch 0, not 1", MIG_PLAN, PLAN(1, 1, 2), SLOTS({1, 2}),
           .source_epoch = 1);
    refuse(&w, "group " G2 " is in epoch 0, not 3", MIG_PLAN, PLAN(1, 1, 2), SLOTS({1, 2}),
           .target_epoch = 3);
    refuse(&w, "slot 100 is not owned by group " G1, MIG_PLAN, PLAN(1, 1, 2), SLOTS({98, 100}));
    refuse(&w, "slot 200 is not owned by group " G2, MIG_PLAN, PLAN(1, 2, 1), SLOTS({200, 200}));
    ok(&w, SLOT_MARK, MARK(50, MIGRATING, 1, 3));
    refuse(&w, "slot 50 is marked by hand", MIG_PLAN, PLAN(1, 1, 2), SLOTS({1, 2}, {40, 60}));
    ok(&w, MIG_PLAN, PLAN(1, 1, 2), SLOTS({1, 2}, {60, 70}));
    const struct topo_migration *m = topology_migration_find(w.t, mid(1));
    assert_int_equal(m->state, TOPO_MIG_PLANNED);
    assert_int_equal(m->ranges_count, 2);
    assert_int_equal(m->ranges[1].last, 70);
    assert_int_equal(m->planned, topology_version(w.t));
    assert_int_equal(m->planned_hlc, w.hlc);
    refuse(&w, "migration " M1 " exists already", MIG_PLAN, PLAN(1, 1, 3), SLOTS({10, 11}));
    refuse(&w, "slots of it are moved by migration " M1, MIG_PLAN, PLAN(2, 1, 3), SLOTS({70, 71}),
           .limit = 5);
    refuse(&w, "one of the groups has 1 migrations under way", MIG_PLAN, PLAN(2, 1, 3),
           SLOTS({71, 71}));
    ok(&w, SLOT_ASSIGN, SLOTS({300, 300}), .group = gid(3));
    refuse(&w, "one of the groups has 1 migrations under way", MIG_PLAN, PLAN(2, 3, 2),
           SLOTS({300, 300}));
    ok(&w, MIG_PLAN, PLAN(2, 1, 3), SLOTS({71, 71}), .limit = 2);
    ok(&w, MIG_PLAN, PLAN(3, 2, 1), SLOTS({100, 100})); /* the other way is open */
    /* Its slots stay where they are. */
    refuse(&w, "slots of it are moved by migration " M1, SLOT_ASSIGN, SLOTS({0, 1}),
           .expect_owner = gid(1));
    refuse(&w, "slots of it are moved by migration " M1, SLOT_MARK, MARK(60, MIGRATING, 1, 3));
    refuse(&w, "slots of it are moved by migration " M1, SLOT_MARK, MARK(60, IMPORTING, 3, 1));
    tworld_check(&w);
    tworld_free(&w);
}

static void plan_up_to(struct tworld *w, uint8_t m, uint8_t state)
{
    ok(w, MIG_PLAN, PLAN(m, 1, 2), SLOTS({10, 19}), .source_epoch = epoch(w, 1),
       .target_epoch = epoch(w, 2));
    for (uint8_t s = TOPO_MIG_PLANNED; s < state; s++)
        ok(w, MIG_STEP, .id = mid(m), .expect_state = s, .state = (uint8_t)(s + 1));
}

static void test_steps(void **state)
{
    (void)state;
    struct tworld w;
    start(&w);
    refuse(&w, "Unknown migration " M9, MIG_STEP, .id = mid(9), .expect_state = TOPO_MIG_PLANNED,
           .state = TOPO_MIG_COPY);
    plan_up_to(&w, 1, TOPO_MIG_COPY);
    unreadable(&w, "a migration moves on by one state", MIG_STEP, .id = mid(1), .expect_state = 2,
               .state = 4);
    unreadable(&w, "a migration moves on by one state", MIG_STEP, .id = mid(1), .expect_state = 4,
               .state = 5);
    unreadable(&w, "a migration moves on by one state", MIG_STEP, .id = mid(1), .expect_state = 0,
               .state = 1);
    refuse(&w, "migration " M1 " is in copy, not planned", MIG_STEP, .id = mid(1),
           .expect_state = TOPO_MIG_PLANNED, .state = TOPO_MIG_COPY);
    refuse(&w, "migration " M1 " is in copy, not switch", MIG_COMMIT, .id = mid(1));
    ok(&w, MIG_STEP, .id = mid(1), .expect_state = TOPO_MIG_COPY, .state = TOPO_MIG_CATCHUP);
    ok(&w, MIG_STEP, .id = mid(1), .expect_state = TOPO_MIG_CATCHUP, .state = TOPO_MIG_SWITCH);
    assert_int_equal(topology_migration_find(w.t, mid(1))->changed, topology_version(w.t));
    assert_true(topology_map_version(w.t) <
                topology_version(w.t)); /* nothing that routes has changed */
    tworld_check(&w);
    tworld_free(&w);
}

static void test_commit(void **state)
{
    (void)state;
    struct tworld w;
    char position[TOPOLOGY_NOTE_BYTES_MAX + 1] = "position";
    start(&w);
    ok(&w, GROUP_EPOCH, .group = gid(1), .epoch = 4);
    ok(&w, GROUP_EPOCH, .group = gid(2), .epoch = 6);
    refuse(&w, "Unknown migration " M9, MIG_COMMIT, .id = mid(9));
    plan_up_to(&w, 1, TOPO_MIG_SWITCH);
#define EPOCHS(s, t) .id = mid(1), .source_epoch = (s), .target_epoch = (t)
    refuse(&w, "migration " M1 " was planned in other epochs", MIG_COMMIT, EPOCHS(5, 6));
    refuse(&w, "migration " M1 " was planned in other epochs", MIG_COMMIT, EPOCHS(4, 7));
    unreadable(&w, "a position too long", MIG_COMMIT, EPOCHS(4, 6),
               .position = bytes_view(position, sizeof position));
    ok(&w, MIG_COMMIT, EPOCHS(4, 6), .position = bytes_view(position, sizeof position - 1));
    assert_int_equal(topology_map_version(w.t), topology_version(w.t));
    assert_int_equal(owner(&w, 9), 1);
    assert_int_equal(owner(&w, 10), 2);
    assert_int_equal(owner(&w, 19), 2);
    assert_int_equal(owner(&w, 20), 1);
    assert_int_equal(epoch(&w, 1), 5);
    assert_int_equal(epoch(&w, 2), 7);
    const struct topo_migration *m = topology_migration_find(w.t, mid(1));
    assert_int_equal(m->state, TOPO_MIG_DONE);
    assert_int_equal(m->position.len, sizeof position - 1);
    /* Exactly one of commit and abort. */
    refuse(&w, "migration " M1 " is over: done", MIG_COMMIT, EPOCHS(4, 6));
    refuse(&w, "migration " M1 " is over: done", MIG_ABORT, .id = mid(1));
    refuse(&w, "migration " M1 " is over: done", MIG_STEP, .id = mid(1), .expect_state = 3,
           .state = 4);
    tworld_check(&w);
    tworld_free(&w);
}

/* Whoever fails over while slots move, the commit comes too late. */
static void test_failover_of_a_side_stops_the_commit(void **state)
{
    (void)state;
    struct tworld w;
    start(&w);
    plan_up_to(&w, 1, TOPO_MIG_SWITCH);
    ok(&w, GROUP_EPOCH, .group = gid(2), .epoch = 1);
    refuse(&w, "group " G2 " is in epoch 1, not 0", MIG_COMMIT, EPOCHS(0, 0));
    ok(&w, MIG_ABORT, .id = mid(1), .reason = bytes_of("failover of the target"));
    refuse(&w, "migration " M1 " is over: aborted", MIG_COMMIT, EPOCHS(0, 0));
    assert_true(bytes_equal(topology_migration_find(w.t, mid(1))->reason,
                            bytes_of("failover of the target")));
    assert_int_equal(owner(&w, 10), 1);
    plan_up_to(&w, 2, TOPO_MIG_SWITCH); /* the same slots again */
    ok(&w, GROUP_EPOCH, .group = gid(1), .epoch = 1);
    refuse(&w, "group " G1 " is in epoch 1, not 0", MIG_COMMIT, .id = mid(2), .target_epoch = 1);
    char reason[TOPOLOGY_NOTE_BYTES_MAX + 1] = "reason";
    unreadable(&w, "a reason too long", MIG_ABORT, .id = mid(2),
               .reason = bytes_view(reason, sizeof reason));
    refuse(&w, "Unknown migration " M9, MIG_ABORT, .id = mid(9));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_finished_ones_are_kept_for_a_while(void **state)
{
    (void)state;
    struct tworld w;
    start(&w);
    for (uint8_t m = 1; m <= 100; m++) {
        uint8_t id = (uint8_t)(201 - m); /* falling: their order is not that of their ends */
        ok(&w, MIG_PLAN, PLAN(id, 1, 2), SLOTS({10, 19}));
        ok(&w, MIG_ABORT, .id = mid(id));
        assert_int_equal(topology_migrations(w.t),
                         m < TOPOLOGY_MIGRATIONS_KEPT ? m : TOPOLOGY_MIGRATIONS_KEPT);
    }
    assert_null(topology_migration_find(w.t, mid(200)));
    assert_null(topology_migration_find(w.t, mid(201 - 36)));
    assert_non_null(topology_migration_find(w.t, mid(201 - 37)));
    assert_non_null(topology_migration_find(w.t, mid(101)));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_every_second_slot(void **state)
{
    (void)state;
    static struct topo_range odd[TOPOLOGY_RANGES_MAX];
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 2);
    ok(&w, SLOT_ASSIGN, SLOTS({8192, 16383}), .group = gid(1), .expect_owner = gid(2));
    for (uint32_t i = 0; i < TOPOLOGY_RANGES_MAX; i++)
        odd[i] = (struct topo_range){.first = (uint16_t)(2 * i + 1), .last = (uint16_t)(2 * i + 1)};
    ok(&w, MIG_PLAN, PLAN(1, 1, 2), .ranges = odd, .ranges_count = TOPOLOGY_RANGES_MAX,
       .source_epoch = epoch(&w, 1), .target_epoch = epoch(&w, 2));
    refuse(&w, "slots of it are moved by migration " M1, SLOT_ASSIGN, .ranges = odd,
           .ranges_count = TOPOLOGY_RANGES_MAX, .expect_owner = gid(1));
    for (uint32_t i = 0; i < TOPOLOGY_RANGES_MAX; i++)
        odd[i].first--, odd[i].last--;
    ok(&w, SLOT_ASSIGN, .ranges = odd, .ranges_count = TOPOLOGY_RANGES_MAX, .expect_owner = gid(1));
    assert_int_equal(topology_group_find(w.t, gid(1))->slots_count, 8192);
    tworld_check(&w);
    tworld_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assign),
        cmocka_unit_test(test_take_away),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_a_new_owner_ends_marks),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_failover_of_a_side_stops_the_commit),
        cmocka_unit_test(test_finished_ones_are_kept_for_a_while),
        cmocka_unit_test(test_every_second_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
