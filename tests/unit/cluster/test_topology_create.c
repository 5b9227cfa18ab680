/* What `redis-cli --cluster create` does, in its order: slots on each node while it is a cluster of one,
 * a config epoch on each, then MEET with the first, then REPLICATE (again: the first try comes too early). */
#include "tests/unit/cluster/tfix.h"

#define NODES 6 /* three that own slots, three that become replicas */
#define N2 "0202020202020202020202020202020202020202"

static const struct topo_range shares[] = {{0, 5460}, {5461, 10922}, {10923, 16383}};

/* A node as it starts: its own cluster, its own group. */
static void fresh(struct tworld *w, uint8_t n)
{
    tworld_init_empty(w);
    ok(w, CLUSTER_INIT, .cluster_id = {{n}}, .level = TOPOLOGY_LEVEL);
    ok(w, NODE_JOIN, .node = info(n, 1));
    ok(w, GROUP_CREATE, .group = gid(n), .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(n, 1));
}

static void end(struct tworld *w)
{
    topology_free(w->t);
    buf_free(&w->log);
    buf_free(&w->parts);
}

/* MEET at node `from`: the cluster that it names takes it in. */
static void meet(struct tworld *to, const struct tworld *from, const char *refusal)
{
    static struct topo_range ranges[TOPOLOGY_RANGES_MAX];
    struct topo_absorb body;
    assert_true(topology_absorb_body(from->t, ranges, &body));
    if (refusal == NULL)
        tworld_ok(to, TOPO_ABSORB, &body, __FILE__, __LINE__);
    else
        tworld_refused(to, TOPOLOGY_REFUSED, refusal, TOPO_ABSORB, &body, __FILE__, __LINE__);
}

static void before_meeting(struct tworld *w)
{
    for (uint8_t n = 1; n <= NODES; n++) {
        fresh(&w[n], n);
        if (n <= 3)
            ok(&w[n], SLOT_ASSIGN, .ranges = &shares[n - 1], .ranges_count = 1, .group = gid(n));
        else /* CLUSTER REPLICATE: redis-cli expects this error, and comes back */
            refuse(&w[n], "Unknown group", REPLICA_ADD, .group = gid((uint8_t)(n - 3)),
                   .node = nid(n));
        assert_int_equal(epoch(&w[n], n), 0);
    }
    for (uint8_t n = 1; n <= NODES; n++) {
        ok(&w[n], GROUP_EPOCH, .group = gid(n), .epoch = n, .initial = true);
        refuse(&w[n], "Node config epoch is already non-zero", GROUP_EPOCH, .group = gid(n),
               .epoch = n, .initial = true);
    }
}

static void test_create(void **state)
{
    (void)state;
    struct tworld w[NODES + 1];
    before_meeting(w);
    struct tworld *c = &w[1];
    for (uint8_t n = 2; n <= NODES; n++) {
        meet(c, &w[n], NULL);
        meet(c, &w[n], "node 0"); /* sent again: "… is known already" */
        assert_non_null(strstr(c->r.text, "is known already"));
    }
    /* All that each brought along, and nobody's slot twice. */
    assert_int_equal(topology_nodes(c->t), NODES);
    assert_int_equal(topology_groups(c->t), NODES);
    for (uint8_t n = 1; n <= NODES; n++)
        assert_int_equal(epoch(c, n), n);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
        assert_int_equal(owner(c, (uint16_t)slot), slot <= 5460 ? 1 : slot <= 10922 ? 2 : 3);
    refuse(c, "The user can assign a config epoch only when", GROUP_EPOCH, .group = gid(4),
           .epoch = 9, .initial = true);
    refuse(c, "Slot 0 is already busy", SLOT_ASSIGN, .ranges = R({0, 0}), .ranges_count = 1,
           .group = gid(2));
    for (uint8_t n = 4; n <= NODES; n++)
        ok(c, REPLICA_ADD, .group = gid((uint8_t)(n - 3)), .node = nid(n));
    assert_int_equal(topology_groups(c->t), 3);
    assert_string_equal(members(c, 1), "1*:1 4:-");
    assert_string_equal(members(c, 3), "3*:1 6:-");
    tworld_check(c);
    for (uint8_t n = 1; n <= NODES; n++)
        end(&w[n]);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
}

/* Two nodes that were given the same slot do not become one cluster. */
static void test_create_over_used_slots(void **state)
{
    (void)state;
    struct tworld w[3];
    for (uint8_t n = 1; n <= 2; n++) {
        fresh(&w[n], n);
        ok(&w[n], SLOT_ASSIGN, .ranges = R({100, 200}), .ranges_count = 1, .group = gid(n));
    }
    meet(&w[1], &w[2], "slot 100 is owned by group 81");
    assert_null(topology_node_find(w[1].t, nid(2)));
    /* CLUSTER FLUSHSLOTS there, and again. */
    ok(&w[2], SLOT_ASSIGN, .ranges = R({100, 200}), .ranges_count = 1, .expect_owner = gid(2));
    meet(&w[1], &w[2], NULL);
    tworld_check(&w[1]);
    end(&w[1]);
    end(&w[2]);
}

/* The node that was absorbed goes, restarts empty and is met again. */
static void test_absorbed_forgotten_and_back(void **state)
{
    (void)state;
    struct tworld w[3];
    fresh(&w[1], 1);
    fresh(&w[2], 2);
    meet(&w[1], &w[2], NULL);
    ok(&w[1], NODE_FORGET, .node = nid(2));
    meet(&w[1], &w[2], "node " N2 " was forgotten in incarnation 1: restart it first");
    ok(&w[2], NODE_UPDATE, .node = info(2, 2));
    meet(&w[1], &w[2], NULL);
    tworld_check(&w[1]);
    end(&w[1]);
    end(&w[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_over_used_slots),
        cmocka_unit_test(test_absorbed_forgotten_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
