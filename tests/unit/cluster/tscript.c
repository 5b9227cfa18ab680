#include "tests/unit/cluster/tscript.h"

/* A script of entries that has every type, applied and refused. It is what tests/fixtures/topology-v1
 * holds, so it is never changed: what comes later gets a script of its own. */

struct script {
    void (*each)(void *ctx, struct bytes entry);
    void *ctx;
    uint64_t hlc, counter;
};

static void add(struct script *s, uint32_t type, const void *body)
{
    struct topology_entry e = {.type = type, .hlc = s->hlc += 1000};
    struct buf bytes;
    buf_init(&bytes, MEM_TEST);
    if (type != TOPO_CLUSTER_INIT) /* the first node proposes all of it */
        e.request =
            (struct topo_request){.node = nid(1), .incarnation = 1, .counter = ++s->counter};
    assert_int_equal(topology_entry_encode(&e, body, &bytes), RC_OK);
    s->each(s->ctx, buf_bytes(&bytes));
    buf_free(&bytes);
}

#define ADD(type, ...) add(s, TOPO_##type, &(const body_##type){__VA_ARGS__})

static void nodes_and_groups(struct script *s)
{
    ADD(NODE_JOIN, .node = info(1, 1));
    ADD(CLUSTER_INIT, .cluster_id = {{0x11, 0x22, 0x33}}, .level = 1);
    ADD(CLUSTER_INIT, .cluster_id = {{0x11, 0x22, 0x33}}, .level = 1);
    for (uint8_t n = 1; n <= 9; n++)
        ADD(NODE_JOIN, .node = info(n, 1));
    ADD(NODE_JOIN, .node = info(3, 1));
    ADD(NODE_UPDATE, .node = info(9, 2));
    ADD(NODE_HEALTH, .node = nid(8), .incarnation = 1, .down = true);
    for (uint8_t n = 1; n <= 3; n++)
        ADD(GROUP_CREATE, .group = gid(n), .mode = TOPO_ASYNC, .min_isr = 1, .primary = life(n, 1));
    ADD(GROUP_CREATE, .group = gid(4), .mode = TOPO_SYNC, .min_isr = 2, .primary = life(4, 1));
    ADD(GROUP_DELETE, .group = gid(4));
    ADD(GROUP_EPOCH, .group = gid(1), .epoch = 3, .initial = true);
    ADD(GROUP_EPOCH, .group = gid(1), .epoch = 3);
    for (uint8_t n = 4; n <= 7; n++)
        ADD(REPLICA_ADD, .group = gid(1), .node = nid(n));
    ADD(REPLICA_REMOVE, .group = gid(1), .node = nid(7));
    ADD(NODE_FORGET, .node = nid(7));
    ADD(NODE_FORGET, .node = nid(7));
    ADD(ABSORB, .node = info(10, 1), .group = gid(10), .mode = TOPO_ASYNC, .min_isr = 1, .epoch = 2,
        .history = 1, .ranges = R({16000, 16099}, {16200, 16383}), .ranges_count = 2,
        .from_cluster = {{0x44}});
    ADD(FEATURE_LEVEL, .level = 2);
}

static void slots_and_migrations(struct script *s)
{
    ADD(SLOT_ASSIGN, .ranges = R({0, 4999}, {10000, 10999}), .ranges_count = 2, .group = gid(1));
    ADD(SLOT_ASSIGN, .ranges = R({5000, 9999}), .ranges_count = 1, .group = gid(2));
    ADD(SLOT_ASSIGN, .ranges = R({11000, 15999}), .ranges_count = 1, .group = gid(3));
    ADD(SLOT_ASSIGN, .ranges = R({15999, 16001}), .ranges_count = 1, .group = gid(3));
    ADD(SLOT_ASSIGN, .ranges = R({16050, 16099}), .ranges_count = 1, .expect_owner = gid(10));
    ADD(SLOT_MARK, .slot = 42, .mark = TOPO_MIGRATING, .group = gid(1), .peer = gid(2));
    ADD(SLOT_MARK, .slot = 42, .mark = TOPO_IMPORTING, .group = gid(2), .peer = gid(1));
    ADD(SLOT_MARK, .slot = 43, .mark = TOPO_MIGRATING, .group = gid(1), .peer = gid(2));
    ADD(SLOT_MARK, .slot = 43, .mark = TOPO_STABLE, .group = gid(1));
    ADD(MIG_PLAN, .id = mid(1), .ranges = R({100, 199}, {300, 399}), .ranges_count = 2,
        .source = gid(1), .source_epoch = 0, .target = gid(3), .target_epoch = 0);
    ADD(MIG_PLAN, .id = mid(1), .ranges = R({5100, 5199}, {5300, 5399}), .ranges_count = 2,
        .source = gid(2), .target = gid(3));
    for (uint8_t at = TOPO_MIG_PLANNED; at < TOPO_MIG_SWITCH; at++)
        ADD(MIG_STEP, .id = mid(1), .expect_state = at, .state = (uint8_t)(at + 1));
    ADD(MIG_COMMIT, .id = mid(1), .position = bytes_of("7:0:4096"));
    ADD(MIG_PLAN, .id = mid(2), .ranges = R({5000, 5001}), .ranges_count = 1, .source = gid(2),
        .source_epoch = 1, .target = gid(1), .target_epoch = 3);
    ADD(MIG_ABORT, .id = mid(2), .reason = bytes_of("cancelled"));
    ADD(MIG_PLAN, .id = mid(3), .ranges = R({5002, 5003}), .ranges_count = 1, .source = gid(2),
        .source_epoch = 1, .target = gid(3), .target_epoch = 1, .limit = 4);
}

static void sync_sets(struct script *s)
{
    ADD(ISR_GROW, .group = gid(1), .epoch = 3, .in = M(life(4, 1), life(5, 1)), .in_count = 2,
        .by = life(1, 1));
    ADD(GROUP_MODE, .group = gid(1), .mode = TOPO_SYNC_FSYNC, .min_isr = 3);
    ADD(ISR_SHRINK, .group = gid(1), .epoch = 4, .out = M(life(5, 1)), .out_count = 1,
        .by = life(1, 1));
    ADD(PROMOTE, .group = gid(1), .epoch = 5, .to = life(5, 1), .cause = TOPO_FAILOVER,
        .drop = M(life(1, 1)), .drop_count = 1, .fenced = M(life(4, 1), life(5, 1)),
        .fenced_count = 2, .note = bytes_of("beat lost"));
    ADD(PROMOTE, .group = gid(1), .epoch = 6, .to = life(4, 1), .cause = TOPO_RESTART,
        .log_intact = true);
}

static void items_and_numbers(struct script *s)
{
    ADD(CONFIG_SET, .name = bytes_of("cluster-require-full-coverage"), .value = bytes_of("no"));
    ADD(CONFIG_SET, .name = bytes_of("gone"), .value = bytes_of("1"));
    ADD(CONFIG_UNSET, .name = bytes_of("gone"));
    ADD(ACL_SET, .name = bytes_of("alice"), .value = bytes_of("on ~* +@all"), .expect = true);
    ADD(ACL_SET, .name = bytes_of("alice"), .value = bytes_of("off"), .expect = true);
    ADD(ACL_SET, .name = bytes_of("bob"), .value = bytes_of("on"));
    ADD(ACL_DELETE, .name = bytes_of("bob"));
    ADD(FUNCTION_LOAD, .name = bytes_of("lib"), .value = bytes_of("#!lua name=lib\n"));
    ADD(FUNCTION_LOAD, .name = bytes_of("old"), .value = bytes_of("#!lua name=old\n"));
    ADD(FUNCTION_DELETE, .name = bytes_of("old"));
    ADD(CATALOG_PUT, .kind = TOPO_CATALOG_FT, .name = bytes_of("idx"), .value = bytes_of("\0\1\2"));
    ADD(CATALOG_PUT, .kind = TOPO_CATALOG_CDC, .name = bytes_of("idx"), .value = bytes_of("slot"));
    ADD(CATALOG_DROP, .kind = TOPO_CATALOG_CDC, .name = bytes_of("idx"));
    ADD(CATALOG_DROP, .kind = TOPO_CATALOG_WS, .name = bytes_of("idx"));
    ADD(RESERVE, .kind = TOPO_COORDINATORS, .count = 1000);
    ADD(RESERVE, .kind = TOPO_NODE_NUMBERS, .count = 3);
    ADD(NODE_JOIN, .node = info(11, 1));
}

void tscript(void (*each)(void *ctx, struct bytes entry), void *ctx)
{
    struct script s = {.each = each, .ctx = ctx, .hlc = UINT64_C(1700000000000000)};
    nodes_and_groups(&s);
    slots_and_migrations(&s);
    sync_sets(&s);
    items_and_numbers(&s);
    each(ctx, bytes_of("not an entry"));
}
