/* Entries about nodes and about the cluster as a whole: what they ask for, what they do. */
#include "tests/unit/cluster/tfix.h"

#define N1 "0101010101010101010101010101010101010101"
#define N2 "0202020202020202020202020202020202020202"
#define N9 "0909090909090909090909090909090909090909"
#define G1 "8101010101010101010101010101010101010101"

static void test_init(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init_empty(&w);
    refuse(&w, "the cluster has no id yet", NODE_JOIN, .node = info(1, 1));
    unreadable(&w, "a cluster needs an id", CLUSTER_INIT, .level = 1);
    unreadable(&w, "feature levels begin at 1", CLUSTER_INIT, .cluster_id = {{1}});
    ok(&w, CLUSTER_INIT, .cluster_id = {{1, 2}}, .level = 1);
    assert_int_equal(topology_cluster_id(w.t).bytes[1], 2);
    refuse(&w, "the cluster has an id already", CLUSTER_INIT, .cluster_id = {{1, 2}}, .level = 1);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_join(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    ok(&w, NODE_JOIN, .node = info(2, 7));
    assert_int_equal(w.r.value, 1);
    ok(&w, NODE_JOIN, .node = info(1, 3));
    assert_int_equal(w.r.value, 2);
    assert_int_equal(topology_nodes(w.t), 2);
    const struct topo_node *n = topology_node_at(w.t, 1);
    assert_true(topo_id_equal(n->info.id, nid(2)));
    assert_true(bytes_equal(n->info.ip, bytes_of("2001:db8::1")));
    assert_true(bytes_equal(n->info.hostname, bytes_of("host.example")));
    assert_int_equal(n->info.port, 7002);
    assert_int_equal(topology_map_version(w.t), topology_version(w.t));
    refuse(&w, "node " N2 " is known already, in incarnation 7", NODE_JOIN, .node = info(2, 7));
    refuse(&w, "node " N2 " is known already, in incarnation 7", NODE_JOIN, .node = info(2, 6));
    assert_int_equal(topology_map_version(w.t), topology_version(w.t) - 2);
    /* A new life keeps its number and is up. */
    ok(&w, NODE_HEALTH, .node = nid(2), .incarnation = 7, .down = true);
    assert_true(topology_node_find(w.t, nid(2))->down);
    ok(&w, NODE_JOIN, .node = info(2, 8));
    assert_int_equal(w.r.value, 1);
    assert_false(topology_node_find(w.t, nid(2))->down);
    assert_null(topology_node_find(w.t, nid(3)));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_what_a_node_says_of_itself(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    struct topo_node_info n = info(1, 1);
    n.id = (struct topo_id){{0}};
    unreadable(&w, "a node needs an id", NODE_JOIN, .node = n);
    n = info(1, 0);
    unreadable(&w, "a node needs an incarnation", NODE_JOIN, .node = n);
    n = info(1, 1);
    n.level = 0;
    refuse(&w, "node " N1 " knows feature level 0, the cluster is at 1", NODE_JOIN, .node = n);
    static const char *const odd[] = {"a b", "a,b", "a\nb", "\x7f", "\xc3\xa9"};
    char longer[TOPOLOGY_ADDRESS_BYTES_MAX + 2];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    for (uint32_t i = 0; i <= COUNT_OF(odd); i++) {
        struct bytes text = bytes_of(i < COUNT_OF(odd) ? odd[i] : longer);
        n = info(1, 1);
        n.ip = text;
        unreadable(&w, "addresses and labels", NODE_JOIN, .node = n);
        n = info(1, 1);
        n.hostname = text;
        unreadable(&w, "addresses and labels", NODE_UPDATE, .node = n);
        n = info(1, 1);
        n.az = text;
        unreadable(&w, "addresses and labels", NODE_JOIN, .node = n);
    }
    longer[sizeof longer - 2] = '\0';
    n = info(1, 1);
    n.hostname = bytes_of(longer);
    ok(&w, NODE_JOIN, .node = n);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_update_and_health(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    refuse(&w, "Unknown node " N1, NODE_UPDATE, .node = info(1, 1));
    refuse(&w, "Unknown node " N1, NODE_HEALTH, .node = nid(1), .incarnation = 1);
    ok(&w, NODE_JOIN, .node = info(1, 5));
    refuse(&w, "node " N1 " is in incarnation 5 by now", NODE_UPDATE, .node = info(1, 4));
    struct topo_node_info n = info(1, 5);
    n.level = 0;
    refuse(&w, "node " N1 " knows feature level 0", NODE_UPDATE, .node = n);
    n = info(1, 5);
    n.port = 7777;
    n.ip = bytes_of("192.0.2.7");
    ok(&w, NODE_UPDATE, .node = n);
    assert_int_equal(topology_node_find(w.t, nid(1))->info.port, 7777);
    refuse(&w, "node " N1 " is in incarnation 5", NODE_HEALTH, .node = nid(1), .incarnation = 4,
           .down = true);
    refuse(&w, "node " N1 " is in incarnation 5", NODE_HEALTH, .node = nid(1), .incarnation = 6,
           .down = true);
    ok(&w, NODE_HEALTH, .node = nid(1), .incarnation = 5, .down = true);
    ok(&w, NODE_UPDATE, .node = n); /* the same life: still down */
    assert_true(topology_node_find(w.t, nid(1))->down);
    ok(&w, NODE_HEALTH, .node = nid(1), .incarnation = 5, .down = false);
    assert_false(topology_node_find(w.t, nid(1))->down);
    ok(&w, NODE_HEALTH, .node = nid(1), .incarnation = 5, .down = true);
    ok(&w, NODE_UPDATE, .node = info(1, 6));
    assert_false(topology_node_find(w.t, nid(1))->down);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_forget(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 1);
    refuse(&w, "Unknown node " N9, NODE_FORGET, .node = nid(9));
    refuse(&w, "the last node cannot be forgotten", NODE_FORGET, .node = nid(1));
    tworld_replica(&w, 1, 2, true);
    tworld_replica(&w, 1, 3, false);
    refuse(&w, "group " G1 " needs the node: it is the primary and the group owns slots",
           NODE_FORGET, .node = nid(1));
    refuse(&w, "group " G1 " needs the node: it is in the in-sync set, or eligible", NODE_FORGET,
           .node = nid(2));
    ok(&w, NODE_FORGET, .node = nid(3)); /* a replica that is not in sync just goes */
    assert_string_equal(members(&w, 1), "1*:1 2:1");
    ok(&w, SLOT_ASSIGN, .ranges = R({0, SLOT_COUNT - 1}), .ranges_count = 1,
       .expect_owner = gid(1));
    refuse(&w, "group " G1 " needs the node: it is the primary and the group has other members",
           NODE_FORGET, .node = nid(1));
    /* A primary alone in a group that owns nothing takes the group with it, unless somebody refers to it. */
    ok(&w, NODE_JOIN, .node = info(4, 1));
    ok(&w, GROUP_CREATE, .group = gid(4), .mode = TOPO_SYNC, .min_isr = 2, .primary = life(4, 1));
    ok(&w, SLOT_ASSIGN, .ranges = R({0, 9}), .ranges_count = 1, .group = gid(1));
    ok(&w, SLOT_MARK, .slot = 5, .mark = TOPO_MIGRATING, .group = gid(1), .peer = gid(4));
    refuse(&w, "group 84", NODE_FORGET, .node = nid(4));
    assert_non_null(strstr(w.r.text, "a slot is marked as migrating or importing"));
    ok(&w, SLOT_MARK, .slot = 5, .mark = TOPO_STABLE, .group = gid(1));
    ok(&w, NODE_FORGET, .node = nid(4));
    assert_null(topology_group_find(w.t, gid(4)));
    assert_null(topology_node_find(w.t, nid(4)));
    tworld_check(&w);
    tworld_free(&w);
}

/* Who was forgotten does not come back in the same life, however late its entry arrives. */
static void test_forgotten_stay_away(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    ok(&w, NODE_JOIN, .node = info(1, 1));
    ok(&w, NODE_JOIN, .node = info(2, 5));
    ok(&w, NODE_FORGET, .node = nid(2));
    refuse(&w, "node " N2 " was forgotten in incarnation 5: restart it first", NODE_JOIN,
           .node = info(2, 5));
    refuse(&w, "node " N2 " was forgotten in incarnation 5: restart it first", ABSORB,
           .node = info(2, 4), .from_cluster = {{9}});
    refuse(&w, "Unknown node " N2, NODE_UPDATE, .node = info(2, 6));
    tworld_check(&w); /* the snapshot knows them, too */
    ok(&w, NODE_JOIN, .node = info(2, 6));
    assert_int_equal(w.r.value, 3); /* numbers are not reused */
    /* 64 are remembered. */
    for (uint8_t n = 0; n < TOPOLOGY_FORGOTTEN_KEPT; n++) {
        ok(&w, NODE_JOIN, .node = info((uint8_t)(100 + n), 1));
        ok(&w, NODE_FORGET, .node = nid((uint8_t)(100 + n)));
    }
    refuse(&w, "node 64", NODE_JOIN, .node = info(100, 1));
    ok(&w, NODE_FORGET, .node = nid(2));
    ok(&w, NODE_JOIN, .node = info(100, 1));
    tworld_check(&w);
    tworld_free(&w);
}

static void test_absorb(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 1);
    ok(&w, SLOT_ASSIGN, .ranges = R({100, 199}), .ranges_count = 1, .expect_owner = gid(1));
    refuse(&w, "node " N2 " is of this cluster", ABSORB, .node = info(2, 1), .group = gid(2),
           .mode = TOPO_ASYNC, .min_isr = 1, .from_cluster = {{1, 2, 3}});
#define FROM .from_cluster = { {7} }
#define GROUP2 .group = gid(2), .mode = TOPO_ASYNC, .min_isr = 1
    refuse(&w, "node " N1 " is known already", ABSORB, .node = info(1, 2), GROUP2, FROM);
    refuse(&w, "group " G1 " exists already", ABSORB, .node = info(2, 1), .group = gid(1),
           .mode = TOPO_ASYNC, .min_isr = 1, FROM);
    refuse(&w, "slot 99 is owned by group " G1 " here: give it up there first", ABSORB,
           .node = info(2, 1), GROUP2, .ranges = R({99, 100}), .ranges_count = 1, FROM);
    struct topo_node_info n = info(2, 1);
    n.level = 0;
    refuse(&w, "node " N2 " knows feature level 0", ABSORB, .node = n, GROUP2, FROM);
    unreadable(&w, "slots without a group", ABSORB, .node = info(2, 1), .ranges = R({100, 100}),
               .ranges_count = 1, FROM);
    unreadable(&w, "no such mode of a group", ABSORB, .node = info(2, 1), .group = gid(2),
               .min_isr = 1, FROM);
    unreadable(&w, "a range of slots out of bounds", ABSORB, .node = info(2, 1), GROUP2,
               .ranges = R({100, SLOT_COUNT}), .ranges_count = 1, FROM);
    unreadable(&w, "a node needs an id", ABSORB, GROUP2, FROM);
    ok(&w, ABSORB, .node = info(2, 4), GROUP2, .epoch = 12, .history = 3,
       .ranges = R({100, 120}, {150, 199}), .ranges_count = 2, FROM);
    assert_int_equal(w.r.value, 2);
    assert_string_equal(members(&w, 2), "2*:4");
    assert_int_equal(epoch(&w, 2), 12);
    assert_int_equal(owner(&w, 99), 1);
    assert_int_equal(owner(&w, 120), 2);
    assert_int_equal(owner(&w, 121), 0);
    ok(&w, ABSORB, .node = info(3, 1), FROM); /* a node that has no group yet */
    assert_null(topology_group_of(w.t, nid(3)));
    tworld_check(&w);
    tworld_free(&w);
#undef FROM
#undef GROUP2
}

static void test_absorb_body(void **state)
{
    (void)state;
    struct tworld w;
    static struct topo_range ranges[TOPOLOGY_RANGES_MAX];
    struct topo_absorb a;
    tworld_init(&w);
    assert_false(topology_absorb_body(w.t, ranges, &a));
    ok(&w, NODE_JOIN, .node = info(1, 1));
    assert_true(topology_absorb_body(w.t, ranges, &a));
    assert_true(topo_id_is_none(a.group));
    ok(&w, GROUP_CREATE, .group = gid(1), .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(1, 1));
    static struct topo_range odd[TOPOLOGY_RANGES_MAX]; /* as many ranges as there can be */
    for (uint32_t i = 0; i < TOPOLOGY_RANGES_MAX; i++)
        odd[i] = (struct topo_range){.first = (uint16_t)(2 * i), .last = (uint16_t)(2 * i)};
    ok(&w, SLOT_ASSIGN, .ranges = odd, .ranges_count = TOPOLOGY_RANGES_MAX, .group = gid(1));
    assert_true(topology_absorb_body(w.t, ranges, &a));
    assert_int_equal(a.ranges_count, TOPOLOGY_RANGES_MAX);
    assert_memory_equal(a.ranges, odd, sizeof odd);
    struct tworld other;
    tworld_init_empty(&other);
    ok(&other, CLUSTER_INIT, .cluster_id = {{8}}, .level = 1);
    tworld_ok(&other, TOPO_ABSORB, &a, __FILE__, __LINE__);
    assert_int_equal(owner(&other, 16382), 1);
    tworld_check(&other);
    ok(&w, NODE_JOIN, .node = info(2, 1));
    assert_false(topology_absorb_body(w.t, ranges, &a));
    topology_free(w.t);
    w.t = NULL;
    buf_free(&w.log);
    buf_free(&w.parts);
    tworld_free(&other);
}

static void test_feature_level(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    refuse(&w, "no node has joined yet", FEATURE_LEVEL, .level = 2);
    ok(&w, NODE_JOIN, .node = info(1, 1));
    refuse(&w, "the cluster is at feature level 1 already", FEATURE_LEVEL, .level = 1);
    refuse(&w, "the cluster is at feature level 1 already", FEATURE_LEVEL, .level = 0);
    refuse(&w, "node " N1 " knows feature level 1 only", FEATURE_LEVEL, .level = 2);
    struct topo_node_info n = info(1, 1);
    n.level = 3;
    ok(&w, NODE_UPDATE, .node = n);
    ok(&w, FEATURE_LEVEL, .level = 2);
    assert_int_equal(topology_level(w.t), 2);
    refuse(&w, "node " N2 " knows feature level 1, the cluster is at 2", NODE_JOIN,
           .node = info(2, 1));
    n.level = 1;
    refuse(&w, "node " N1 " knows feature level 1, the cluster is at 2", NODE_UPDATE, .node = n);
    tworld_free(&w); /* above what this program restores: no tworld_check */
}

static void test_limit_of_nodes(void **state)
{
    (void)state;
    struct topology *t = NULL;
    struct topology_result r;
    struct buf bytes;
    uint64_t index = 0;
    buf_init(&bytes, MEM_TEST);
    assert_int_equal(topology_new(&t), RC_OK);
    struct topo_cluster_init init = {.cluster_id = {{1}}, .level = 1};
    assert_int_equal(
        topology_entry_encode(&(struct topology_entry){.type = TOPO_CLUSTER_INIT}, &init, &bytes),
        RC_OK);
    assert_int_equal(topology_apply(t, ++index, buf_bytes(&bytes), &r), RC_OK);
    for (uint32_t n = 0; n <= TOPOLOGY_NODES_MAX; n++) {
        struct topo_node_join join = {.node = info(1, 1)};
        memcpy(join.node.id.bytes + 4, &n, sizeof n);
        bytes.len = 0;
        assert_int_equal(
            topology_entry_encode(&(struct topology_entry){.type = TOPO_NODE_JOIN}, &join, &bytes),
            RC_OK);
        assert_int_equal(topology_apply(t, ++index, buf_bytes(&bytes), &r), RC_OK);
        assert_int_equal(r.verdict, n < TOPOLOGY_NODES_MAX ? TOPOLOGY_APPLIED : TOPOLOGY_REFUSED);
    }
    assert_string_equal(r.text, "the cluster has 4096 nodes already");
    topology_free(t);
    buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_what_a_node_says_of_itself),
        cmocka_unit_test(test_update_and_health),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_forgotten_stay_away),
        cmocka_unit_test(test_absorb),
        cmocka_unit_test(test_absorb_body),
        cmocka_unit_test(test_feature_level),
        cmocka_unit_test(test_limit_of_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
