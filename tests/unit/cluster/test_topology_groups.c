/* Entries about groups: what they ask for, and who is in sync afterwards. */
#include "tests/unit/cluster/tfix.h"

#define N1 "0101010101010101010101010101010101010101"
#define N2 "0202020202020202020202020202020202020202"
#define N3 "0303030303030303030303030303030303030303"
#define N9 "0909090909090909090909090909090909090909"
#define G1 "8101010101010101010101010101010101010101"
#define G2 "8202020202020202020202020202020202020202"
#define G9 "8909090909090909090909090909090909090909"

/* One group that owns all slots: primary 1, then these replicas, all in sync. */
static void three(struct tworld *w, uint8_t mode, uint32_t min_isr)
{
    tworld_init(w);
    tworld_groups(w, 1);
    tworld_replica(w, 1, 2, true);
    tworld_replica(w, 1, 3, true);
    ok(w, GROUP_MODE, .group = gid(1), .mode = mode, .min_isr = min_isr);
    assert_string_equal(members(w, 1), "1*:1 2:1 3:1");
}

static void test_create_and_delete(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    ok(&w, NODE_JOIN, .node = info(1, 3));
    unreadable(&w, "a group needs an id", GROUP_CREATE, .mode = TOPO_ASYNC, .min_isr = 1,
               .primary = life(1, 3));
    unreadable(&w, "no such mode of a group", GROUP_CREATE, .group = gid(1), .min_isr = 1,
               .primary = life(1, 3));
    unreadable(&w, "no such mode of a group", GROUP_CREATE, .group = gid(1), .mode = 4,
               .min_isr = 1, .primary = life(1, 3));
    unreadable(&w, "min_isr is 1 to 32", GROUP_CREATE, .group = gid(1), .mode = TOPO_SYNC,
               .primary = life(1, 3));
    unreadable(&w, "min_isr is 1 to 32", GROUP_CREATE, .group = gid(1), .mode = TOPO_SYNC,
               .min_isr = 33, .primary = life(1, 3));
    refuse(&w, "Unknown node " N2, GROUP_CREATE, .group = gid(1), .mode = TOPO_ASYNC, .min_isr = 1,
           .primary = life(2, 1));
    refuse(&w, "node " N1 " is in incarnation 3, not 2", GROUP_CREATE, .group = gid(1),
           .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(1, 2));
    ok(&w, GROUP_CREATE, .group = gid(1), .mode = TOPO_SYNC, .min_isr = 2, .primary = life(1, 3));
    assert_string_equal(members(&w, 1), "1*:3");
    assert_int_equal(epoch(&w, 1), 0);
    refuse(&w, "group " G1 " exists already", GROUP_CREATE, .group = gid(1), .mode = TOPO_ASYNC,
           .min_isr = 1, .primary = life(1, 3));
    refuse(&w, "node " N1 " is a member of group " G1, GROUP_CREATE, .group = gid(2),
           .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(1, 3));
    ok(&w, SLOT_ASSIGN, .ranges = R({3, 4}), .ranges_count = 1, .group = gid(1));
    refuse(&w, "group " G1 " owns 2 slots", GROUP_DELETE, .group = gid(1));
    refuse(&w, "Unknown group " G9, GROUP_DELETE, .group = gid(9));
    ok(&w, SLOT_ASSIGN, .ranges = R({3, 4}), .ranges_count = 1, .expect_owner = gid(1));
    ok(&w, GROUP_DELETE, .group = gid(1));
    assert_int_equal(topology_groups(w.t), 0);
    assert_null(topology_group_of(w.t, nid(1)));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_delete_what_others_name(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 1);
    ok(&w, NODE_JOIN, .node = info(2, 1));
    ok(&w, GROUP_CREATE, .group = gid(2), .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(2, 1));
    ok(&w, MIG_PLAN, .id = mid(1), .ranges = R({1, 2}), .ranges_count = 1, .source = gid(1),
       .target = gid(2));
    refuse(&w, "group " G2 ": a migration is under way", GROUP_DELETE, .group = gid(2));
    ok(&w, MIG_ABORT, .id = mid(1));
    ok(&w, SLOT_MARK, .slot = 9, .mark = TOPO_IMPORTING, .group = gid(2), .peer = gid(1));
    refuse(&w, "group " G2 ": a slot is marked as migrating or importing", GROUP_DELETE,
           .group = gid(2));
    ok(&w, SLOT_MARK, .slot = 9, .mark = TOPO_STABLE, .group = gid(2));
    ok(&w, GROUP_DELETE, .group = gid(2));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_mode(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 1);
    refuse(&w, "Unknown group " G9, GROUP_MODE, .group = gid(9), .mode = TOPO_ASYNC, .min_isr = 1);
    unreadable(&w, "no such mode", GROUP_MODE, .group = gid(1), .mode = 9, .min_isr = 1);
    unreadable(&w, "min_isr is 1 to 32", GROUP_MODE, .group = gid(1), .mode = TOPO_SYNC);
    refuse(&w, "group " G1 " has 1 members in sync, that mode needs 2", GROUP_MODE, .group = gid(1),
           .mode = TOPO_SYNC, .min_isr = 2);
    refuse(&w, "group " G1 " has 1 members in sync, that mode needs 2", GROUP_MODE, .group = gid(1),
           .mode = TOPO_SYNC_FSYNC, .min_isr = 2);
    ok(&w, GROUP_MODE, .group = gid(1), .mode = TOPO_ASYNC, .min_isr = 2);
    tworld_replica(&w, 1, 2, true);
    ok(&w, GROUP_MODE, .group = gid(1), .mode = TOPO_SYNC, .min_isr = 2);
    /* Fewer are asked for: who was eligible is no more. */
    ok(&w, ISR_SHRINK, .group = gid(1), .epoch = 1, .out = M(life(2, 1)), .out_count = 1,
       .by = life(1, 1));
    assert_string_equal(members(&w, 1), "1*:1 2?:1");
    ok(&w, GROUP_MODE, .group = gid(1), .mode = TOPO_SYNC, .min_isr = 1);
    assert_string_equal(members(&w, 1), "1*:1 2:-");
    tworld_check(&w);
    tworld_free(&w);
}

static void test_epoch(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 1);
    refuse(&w, "Unknown group " G9, GROUP_EPOCH, .group = gid(9), .epoch = 1);
    ok(&w, GROUP_EPOCH, .group = gid(1), .epoch = 5, .initial = true);
    assert_int_equal(epoch(&w, 1), 5);
    refuse(&w, "Node config epoch is already non-zero", GROUP_EPOCH, .group = gid(1), .epoch = 6,
           .initial = true);
    refuse(&w, "group " G1 " is in epoch 5: epochs only rise", GROUP_EPOCH, .group = gid(1),
           .epoch = 5);
    ok(&w, GROUP_EPOCH, .group = gid(1), .epoch = 6);
    assert_int_equal(w.r.value, 6);
    ok(&w, NODE_JOIN, .node = info(2, 1));
    refuse(&w,
           "The user can assign a config epoch only when the node does not know any other node.",
           GROUP_EPOCH, .group = gid(1), .epoch = 7, .initial = true);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_replicas(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 2);
    refuse(&w, "Unknown group " G9, REPLICA_ADD, .group = gid(9), .node = nid(1));
    refuse(&w, "Unknown node " N9, REPLICA_ADD, .group = gid(1), .node = nid(9));
    refuse(&w, "node " N1 " is a member of group " G1 " already", REPLICA_ADD, .group = gid(1),
           .node = nid(1));
    refuse(&w, "To set a master the node must be empty and without assigned slots.", REPLICA_ADD,
           .group = gid(1), .node = nid(2));
    ok(&w, NODE_JOIN, .node = info(3, 1));
    ok(&w, REPLICA_ADD, .group = gid(1), .node = nid(3));
    assert_string_equal(members(&w, 1), "1*:1 3:-");
    assert_int_equal(epoch(&w, 1), 0);
    /* An empty primary alone takes its group along. */
    ok(&w, NODE_JOIN, .node = info(4, 1));
    ok(&w, GROUP_CREATE, .group = gid(4), .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(4, 1));
    ok(&w, REPLICA_ADD, .group = gid(1), .node = nid(4));
    assert_null(topology_group_find(w.t, gid(4)));
    assert_string_equal(members(&w, 1), "1*:1 3:- 4:-");
    /* To another group, out of the in-sync set: the old one's epoch tells its primary. */
    ok(&w, ISR_GROW, .group = gid(1), .epoch = 0, .in = M(life(3, 1)), .in_count = 1,
       .by = life(1, 1));
    ok(&w, REPLICA_ADD, .group = gid(2), .node = nid(3));
    assert_int_equal(epoch(&w, 1), 2);
    assert_string_equal(members(&w, 1), "1*:1 4:-");
    assert_string_equal(members(&w, 2), "2*:1 3:-");
    refuse(&w, "node " N1 " is the primary of group " G1, REPLICA_REMOVE, .group = gid(1),
           .node = nid(1));
    refuse(&w, "node " N3 " is no member of group " G1, REPLICA_REMOVE, .group = gid(1),
           .node = nid(3));
    refuse(&w, "Unknown group " G9, REPLICA_REMOVE, .group = gid(9), .node = nid(3));
    ok(&w, REPLICA_REMOVE, .group = gid(1), .node = nid(4));
    assert_string_equal(members(&w, 1), "1*:1");
    assert_int_equal(epoch(&w, 1), 2);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_primary_with_replicas_stays(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 1);
    ok(&w, NODE_JOIN, .node = info(2, 1));
    ok(&w, GROUP_CREATE, .group = gid(2), .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(2, 1));
    tworld_replica(&w, 2, 3, false);
    refuse(&w, "it is the primary of a group that has other members", REPLICA_ADD, .group = gid(1),
           .node = nid(2));
    ok(&w, REPLICA_REMOVE, .group = gid(2), .node = nid(3));
    ok(&w, SLOT_MARK, .slot = 0, .mark = TOPO_MIGRATING, .group = gid(1), .peer = gid(2));
    refuse(&w, "a slot is marked as migrating or importing", REPLICA_ADD, .group = gid(1),
           .node = nid(2));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_members_in_sync_are_let_go_one_by_one(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_SYNC, 2);
    uint64_t e = epoch(&w, 1);
    ok(&w, REPLICA_REMOVE, .group = gid(1), .node = nid(3));
    assert_int_equal(epoch(&w, 1), e + 1);
    assert_string_equal(members(&w, 1), "1*:1 2:1");
    refuse(&w, "too few members would be in sync", REPLICA_REMOVE, .group = gid(1), .node = nid(2));
    ok(&w, ISR_SHRINK, .group = gid(1), .epoch = e + 1, .out = M(life(2, 1)), .out_count = 1,
       .by = life(1, 1));
    refuse(&w, "it may be the only one that has what was acknowledged", REPLICA_REMOVE,
           .group = gid(1), .node = nid(2));
    refuse(&w, "group " G1 " needs the node: it is in the in-sync set, or eligible", NODE_FORGET,
           .node = nid(2));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_limit_of_members(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 1);
    for (uint8_t n = 2; n <= TOPOLOGY_MEMBERS_MAX; n++)
        tworld_replica(&w, 1, n, true);
    ok(&w, NODE_JOIN, .node = info(60, 1));
    refuse(&w, "group " G1 " has 32 members already", REPLICA_ADD, .group = gid(1),
           .node = nid(60));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_shrink(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_SYNC, 2);
    uint64_t e = epoch(&w, 1);
#define SHRINK .group = gid(1), .epoch = e
    unreadable(&w, "nobody to take out", ISR_SHRINK, SHRINK, .by = life(1, 1));
    refuse(&w, "Unknown group " G9, ISR_SHRINK, .group = gid(9), .out = M(life(2, 1)),
           .out_count = 1, .by = life(1, 1));
    refuse(&w, "group " G1 " is in epoch 2, not 1", ISR_SHRINK, .group = gid(1), .epoch = e - 1,
           .out = M(life(2, 1)), .out_count = 1, .by = life(1, 1));
    refuse(&w, "only the primary of group " G1, ISR_SHRINK, SHRINK, .out = M(life(3, 1)),
           .out_count = 1, .by = life(2, 1));
    refuse(&w, "only the primary of group " G1, ISR_SHRINK, SHRINK, .out = M(life(3, 1)),
           .out_count = 1, .by = life(1, 2));
    refuse(&w, "only the primary of group " G1, ISR_SHRINK, SHRINK, .out = M(life(3, 1)),
           .out_count = 1, .by = life(9, 1));
    refuse(&w, "node " N3 " is not in the in-sync set", ISR_SHRINK, SHRINK, .out = M(life(3, 2)),
           .out_count = 1, .by = life(1, 1));
    refuse(&w, "node " N9 " is not in the in-sync set", ISR_SHRINK, SHRINK, .out = M(life(9, 1)),
           .out_count = 1, .by = life(1, 1));
    refuse(&w, "node " N2 " is not in the in-sync set", ISR_SHRINK, SHRINK,
           .out = M(life(2, 1), life(2, 1)), .out_count = 2, .by = life(1, 1));
    refuse(&w, "the primary of group " G1 " cannot leave", ISR_SHRINK, SHRINK, .out = M(life(1, 1)),
           .out_count = 1, .by = life(1, 1));
    /* Enough are left: who goes may not lead any more. */
    ok(&w, ISR_SHRINK, SHRINK, .out = M(life(3, 1)), .out_count = 1, .by = life(1, 1));
    assert_string_equal(members(&w, 1), "1*:1 2:1 3:-");
    assert_int_equal(epoch(&w, 1), e + 1);
    /* Too few are left to commit: who goes then has all. */
    ok(&w, ISR_SHRINK, .group = gid(1), .epoch = e + 1, .out = M(life(2, 1)), .out_count = 1,
       .by_leader = true);
    assert_string_equal(members(&w, 1), "1*:1 2?:1 3:-");
    tworld_check(&w);
    tworld_free(&w);
#undef SHRINK
}

/* A primary that was restarted is no longer the one that was promoted. */
static void test_only_the_promoted_life_speaks_for_the_group(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_SYNC, 2);
    uint64_t e = epoch(&w, 1);
    ok(&w, NODE_UPDATE, .node = info(1, 2));
    refuse(&w, "node " N1 " is in incarnation 2, not 1", ISR_SHRINK, .group = gid(1), .epoch = e,
           .out = M(life(3, 1)), .out_count = 1, .by = life(1, 1));
    refuse(&w, "only the primary of group " G1, ISR_SHRINK, .group = gid(1), .epoch = e,
           .out = M(life(3, 1)), .out_count = 1, .by = life(1, 2));
    refuse(&w, "node " N1 " is in incarnation 2, not 1", ISR_GROW, .group = gid(1), .epoch = e,
           .in = M(life(3, 1)), .in_count = 1, .by = life(1, 1));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_grow(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_SYNC, 3);
    uint64_t e = epoch(&w, 1);
    tworld_replica(&w, 1, 4, false);
    ok(&w, ISR_SHRINK, .group = gid(1), .epoch = e, .out = M(life(2, 1), life(3, 1)),
       .out_count = 2, .by = life(1, 1));
    assert_string_equal(members(&w, 1), "1*:1 2?:1 3?:1 4:-");
    e++;
#define GROW .group = gid(1), .epoch = e, .by = life(1, 1)
    unreadable(&w, "nobody to take in", ISR_GROW, GROW);
    refuse(&w, "group " G1 " is in epoch 3, not 2", ISR_GROW, .group = gid(1), .epoch = e - 1,
           .by = life(1, 1), .in = M(life(4, 1)), .in_count = 1);
    refuse(&w, "only the primary of group " G1, ISR_GROW, .group = gid(1), .epoch = e,
           .by = life(2, 1), .in = M(life(4, 1)), .in_count = 1);
    refuse(&w, "node " N9 " is no member of group " G1, ISR_GROW, GROW, .in = M(life(9, 1)),
           .in_count = 1);
    refuse(&w, "node 04", ISR_GROW, GROW, .in = M(life(4, 2)), .in_count = 1);
    refuse(&w, "node " N1 " is in the in-sync set of group " G1 " already", ISR_GROW, GROW,
           .in = M(life(1, 1)), .in_count = 1);
    refuse(&w, "node 04", ISR_GROW, GROW, .in = M(life(4, 1), life(4, 1)), .in_count = 2);
    ok(&w, NODE_UPDATE, .node = info(3, 2));
    refuse(&w, "node " N3 " is in incarnation 2, not 1", ISR_GROW, GROW, .in = M(life(3, 1)),
           .in_count = 1);
    ok(&w, ISR_GROW, GROW, .in = M(life(4, 1)), .in_count = 1);
    assert_string_equal(members(&w, 1),
                        "1*:1 2?:1 3?:1 4:1"); /* two of three: nothing can commit yet */
    e++;
    ok(&w, ISR_GROW, GROW, .in = M(life(3, 2)), .in_count = 1);
    assert_string_equal(members(&w, 1), "1*:1 2:- 3:2 4:1");
    assert_int_equal(epoch(&w, 1), e + 1);
    tworld_check(&w);
    tworld_free(&w);
#undef GROW
}

/* A member that restarted while in the set enters again in its new life. */
static void test_grow_replaces_an_earlier_life(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_ASYNC, 1);
    ok(&w, NODE_UPDATE, .node = info(3, 5));
    ok(&w, ISR_GROW, .group = gid(1), .epoch = epoch(&w, 1), .in = M(life(3, 5)), .in_count = 1,
       .by = life(1, 1));
    assert_string_equal(members(&w, 1), "1*:1 2:1 3:5");
    tworld_check(&w);
    tworld_free(&w);
}

static uint64_t history(const struct tworld *w)
{
    return topology_group_find(w->t, gid(1))->history;
}

static void test_failover(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_SYNC, 2);
    uint64_t e = epoch(&w, 1);
#define TO(n) .group = gid(1), .epoch = e, .to = life(n, 1), .cause = TOPO_FAILOVER
#define FENCED(...)                                                                                \
    .fenced = M(__VA_ARGS__), .fenced_count = sizeof(M(__VA_ARGS__)) / sizeof(struct topo_member)
    unreadable(&w, "no such cause", PROMOTE, .group = gid(1), .epoch = e, .to = life(2, 1));
    unreadable(&w, "no such cause", PROMOTE, .group = gid(1), .epoch = e, .to = life(2, 1),
               .cause = 5);
    refuse(&w, "group " G1 " is in epoch 2, not 7", PROMOTE, .group = gid(1), .epoch = 7,
           .to = life(2, 1), .cause = TOPO_FAILOVER, FENCED(life(2, 1)));
    refuse(&w, "Unknown node " N9, PROMOTE, TO(9), FENCED(life(9, 1)));
    refuse(&w, "node " N2 " cannot lead group " G1 ": it has not said", PROMOTE, TO(2));
    refuse(&w, "node " N2 " cannot lead group " G1 ": it has not said", PROMOTE, TO(2),
           FENCED(life(3, 1)));
    refuse(&w, "node " N2 " cannot lead group " G1 ": it would be dropped itself", PROMOTE, TO(2),
           FENCED(life(2, 1)), .drop = M(life(2, 1)), .drop_count = 1);
    refuse(&w, "node " N9 " is not in the in-sync set", PROMOTE, TO(2), FENCED(life(2, 1)),
           .drop = M(life(9, 1)), .drop_count = 1);
    ok(&w, NODE_HEALTH, .node = nid(2), .incarnation = 1, .down = true);
    refuse(&w, "node " N2 " cannot lead group " G1 ": it is down", PROMOTE, TO(2),
           FENCED(life(2, 1)));
    ok(&w, NODE_HEALTH, .node = nid(2), .incarnation = 1);
    ok(&w, PROMOTE, TO(2), FENCED(life(2, 1), life(3, 1)), .drop = M(life(1, 1)), .drop_count = 1);
    assert_string_equal(members(&w, 1), "1:- 2*:1 3:1");
    assert_int_equal(epoch(&w, 1), e + 1);
    assert_int_equal(history(&w), 1);
    e++;
    /* Below min_isr who is dropped stays eligible, and may be promoted as such. */
    ok(&w, PROMOTE, TO(3), FENCED(life(3, 1)), .drop = M(life(2, 1)), .drop_count = 1);
    assert_string_equal(members(&w, 1), "1:- 2?:1 3*:1");
    e++;
    refuse(&w, "node " N1 " cannot lead group " G1 ": it is neither in sync nor eligible", PROMOTE,
           TO(1), FENCED(life(1, 1)));
    ok(&w, PROMOTE, TO(2), FENCED(life(2, 1)), .drop = M(life(3, 1)), .drop_count = 1);
    assert_string_equal(members(&w, 1), "1:- 2*:1 3?:1");
    assert_int_equal(history(&w), 3);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_planned(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_ASYNC, 1);
    uint64_t e = epoch(&w, 1);
    ok(&w, NODE_UPDATE, .node = info(3, 2));
    refuse(&w, "node " N3 " is in incarnation 2, not 1", PROMOTE, TO(3), FENCED(life(3, 1)));
    refuse(&w, "node " N3 " cannot lead group " G1 ": it is neither in sync nor eligible in that",
           PROMOTE, .group = gid(1), .epoch = e, .to = life(3, 2), .cause = TOPO_PLANNED,
           FENCED(life(3, 2)));
    ok(&w, NODE_JOIN, .node = info(7, 1));
    refuse(&w, "node 07", PROMOTE, TO(7), FENCED(life(7, 1)));
    assert_non_null(strstr(w.r.text, "it is no member"));
    ok(&w, PROMOTE, .group = gid(1), .epoch = e, .to = life(2, 1), .cause = TOPO_PLANNED,
       FENCED(life(2, 1)));
    assert_string_equal(members(&w, 1), "1:1 2*:1 3:1"); /* the old primary is in sync, and stays */
    tworld_check(&w);
    tworld_free(&w);
}

static void test_restart_of_all(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_SYNC_FSYNC, 2);
    uint64_t e = epoch(&w, 1);
#define BACK(n, i) .group = gid(1), .epoch = e, .to = life(n, i), .cause = TOPO_RESTART
    ok(&w, NODE_UPDATE, .node = info(2, 2));
    refuse(&w, "node " N2 " cannot lead group " G1 ": it has not said that its log is whole",
           PROMOTE, BACK(2, 2));
    refuse(&w, "node " N2 " cannot lead group " G1 ": another member has not been restarted",
           PROMOTE, BACK(2, 2), .log_intact = true);
    refuse(&w, "node " N3 " cannot lead group " G1 ": it was neither in sync nor eligible in an",
           PROMOTE, BACK(3, 1), .log_intact = true);
    unreadable(&w, "nobody else stays in sync anyway", PROMOTE, BACK(2, 2), .log_intact = true,
               .drop = M(life(3, 1)), .drop_count = 1);
    ok(&w, NODE_UPDATE, .node = info(1, 2));
    ok(&w, NODE_UPDATE, .node = info(3, 2));
    ok(&w, PROMOTE, BACK(2, 2), .log_intact = true);
    assert_string_equal(members(&w, 1), "1?:1 2*:2 3?:1"); /* they have all that was synced, too */
    assert_int_equal(history(&w), 1);
    /* Its next life may lead again, or one of those that are eligible. */
    ok(&w, NODE_UPDATE, .node = info(2, 3));
    e++;
    ok(&w, PROMOTE, BACK(3, 2), .log_intact = true);
    assert_string_equal(members(&w, 1), "1?:1 2?:2 3*:2");
    tworld_check(&w);
    tworld_free(&w);
}

static void test_restart_without_fsync(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 1);
    uint64_t e = epoch(&w, 1);
    /* Alone it is what it is: a node by itself that was restarted. */
    ok(&w, NODE_UPDATE, .node = info(1, 2));
    ok(&w, PROMOTE, BACK(1, 2), .log_intact = true);
    assert_string_equal(members(&w, 1), "1*:2");
    assert_int_equal(epoch(&w, 1), e + 1);
    e = epoch(&w, 1) + 1;
    ok(&w, NODE_JOIN, .node = info(2, 1));
    ok(&w, REPLICA_ADD, .group = gid(1), .node = nid(2));
    ok(&w, ISR_GROW, .group = gid(1), .epoch = e - 1, .in = M(life(2, 1)), .in_count = 1,
       .by = life(1, 2));
    ok(&w, NODE_UPDATE, .node = info(1, 3));
    ok(&w, NODE_UPDATE, .node = info(2, 2));
    refuse(&w, "node " N1 " cannot lead group " G1 ": another member may have more than it has",
           PROMOTE, BACK(1, 3), .log_intact = true);
    /* So somebody decides. */
#define DECIDED(n, i)                                                                              \
    .group = gid(1), .epoch = e, .to = life(n, i), .cause = TOPO_RECOVER, .note = bytes_of("ops")
    unreadable(&w, "a recovery says who decided it", PROMOTE, .group = gid(1), .epoch = e,
               .to = life(1, 3), .cause = TOPO_RECOVER);
    refuse(&w, "node " N1 " is in incarnation 3, not 2", PROMOTE, DECIDED(1, 2));
    ok(&w, PROMOTE, DECIDED(1, 3));
    assert_string_equal(members(&w, 1), "1*:3 2:-");
    tworld_check(&w);
    tworld_free(&w);
}

static void test_recover_any_member(void **state)
{
    (void)state;
    struct tworld w;
    three(&w, TOPO_SYNC, 3);
    tworld_replica(&w, 1, 4, false);
    uint64_t e = epoch(&w, 1);
    char note[TOPOLOGY_NOTE_BYTES_MAX + 1];
    memset(note, 'n', sizeof note);
    unreadable(&w, "a note too long", PROMOTE, .group = gid(1), .epoch = e, .to = life(4, 1),
               .cause = TOPO_RECOVER, .note = bytes_view(note, sizeof note));
    ok(&w, PROMOTE, DECIDED(4, 1));
    assert_string_equal(members(&w, 1), "1:- 2:- 3:- 4*:1");
    tworld_check(&w);
    tworld_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_and_delete),
        cmocka_unit_test(test_delete_what_others_name),
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_epoch),
        cmocka_unit_test(test_replicas),
        cmocka_unit_test(test_primary_with_replicas_stays),
        cmocka_unit_test(test_members_in_sync_are_let_go_one_by_one),
        cmocka_unit_test(test_limit_of_members),
        cmocka_unit_test(test_shrink),
        cmocka_unit_test(test_only_the_promoted_life_speaks_for_the_group),
        cmocka_unit_test(test_grow),
        cmocka_unit_test(test_grow_replaces_an_earlier_life),
        cmocka_unit_test(test_failover),
        cmocka_unit_test(test_planned),
        cmocka_unit_test(test_restart_of_all),
        cmocka_unit_test(test_restart_without_fsync),
        cmocka_unit_test(test_recover_any_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
