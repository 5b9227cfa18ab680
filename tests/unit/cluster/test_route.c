/* Who may run a request, in Redis's order of errors. */
#include "cluster/route.h"

#include <stdio.h>

#include "tests/unit/cluster/tfix.h"

#define S(...) ((const uint16_t[]){__VA_ARGS__})
#define COUNT(...) (sizeof(S(__VA_ARGS__)) / sizeof(uint16_t))
#define where(m, rules, writes, ...)                                                               \
    route_slots((m), 0, (rules), S(__VA_ARGS__), COUNT(__VA_ARGS__), (writes))

static const struct route_rules strict = {.full_coverage = true};
static const struct route_rules reads = {.full_coverage = true, .reads_when_down = true};
static const struct route_rules loose = {.full_coverage = false};

/* Node 1 has 0 to 99, node 2 has 100 to 199, and the rest if `whole`. */
static struct slotmap *two_nodes(struct tworld *w, bool whole)
{
    struct slotmap *m;
    tworld_init(w);
    for (uint8_t n = 1; n <= 2; n++) {
        ok(w, NODE_JOIN, .node = info(n, 1));
        ok(w, GROUP_CREATE, .group = gid(n), .mode = TOPO_ASYNC, .min_isr = 1,
           .primary = life(n, 1));
    }
    ok(w, SLOT_ASSIGN, .ranges = R({0, 99}), .ranges_count = 1, .group = gid(1));
    ok(w, SLOT_ASSIGN, .ranges = R({100, whole ? 16383 : 199}), .ranges_count = 1, .group = gid(2));
    assert_int_equal(slotmap_build(w->t, &m), RC_OK);
    return m;
}

static void test_all_slots_served(void **state)
{
    (void)state;
    struct tworld w;
    struct slotmap *m = two_nodes(&w, true);
    assert_int_equal(where(m, &strict, true, 5), ROUTE_HERE);
    assert_int_equal(where(m, &strict, true, 5, 5, 5), ROUTE_HERE);
    assert_int_equal(where(m, &strict, false, 5, 6), ROUTE_CROSSSLOT);
    assert_int_equal(where(m, &strict, false, 150), ROUTE_MOVED);
    assert_int_equal(where(m, &strict, false, 150, 5), ROUTE_CROSSSLOT);
    slotmap_release(m);
    tworld_free(&w);
}

static void test_slots_that_nobody_serves(void **state)
{
    (void)state;
    struct tworld w;
    struct slotmap *m = two_nodes(&w, false);
    assert_int_equal(where(m, &strict, false, 5000), ROUTE_UNSERVED);
    assert_int_equal(where(m, &loose, false, 5000), ROUTE_UNSERVED);
    assert_int_equal(where(m, &strict, false, 5000, 5), ROUTE_UNSERVED);
    assert_int_equal(where(m, &strict, false, 5, 5000), ROUTE_CROSSSLOT);
    assert_int_equal(where(m, &strict, false, 5), ROUTE_DOWN);
    assert_int_equal(where(m, &strict, false, 150), ROUTE_DOWN);
    assert_int_equal(where(m, &reads, false, 5), ROUTE_HERE);
    assert_int_equal(where(m, &reads, true, 5), ROUTE_DOWN_WRITE);
    assert_int_equal(where(m, &reads, false, 150), ROUTE_MOVED);
    assert_int_equal(where(m, &loose, true, 5), ROUTE_HERE);
    assert_int_equal(where(m, &loose, true, 150), ROUTE_MOVED);
    slotmap_release(m);
    tworld_free(&w);
}

static void expect_text(const struct slotmap *m, enum route route, uint16_t slot, const char *text)
{
    struct buf out;
    buf_init(&out, MEM_TEST);
    struct reply r = {.out = &out, .proto = 2};
    route_reply(route, m, slot, &r);
    if (!bytes_equal(buf_bytes(&out), bytes_of(text)))
        fail_msg("%.*s", (int)out.len, (const char *)out.data);
    buf_free(&out);
}

static void test_texts(void **state)
{
    (void)state;
    struct tworld w;
    struct slotmap *m = two_nodes(&w, true);
    expect_text(m, ROUTE_UNSERVED, 1, "-CLUSTERDOWN Hash slot not served\r\n");
    expect_text(m, ROUTE_CROSSSLOT, 1,
                "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    expect_text(m, ROUTE_DOWN, 1, "-CLUSTERDOWN The cluster is down\r\n");
    expect_text(m, ROUTE_DOWN_WRITE, 1,
                "-CLUSTERDOWN The cluster is down and only accepts read commands\r\n");
    const struct topo_node_info *two = &m->nodes[1].info;
    char moved[200];
    (void)snprintf(moved, sizeof moved, "-MOVED 150 %.*s:%u\r\n", (int)two->ip.len,
                   (const char *)two->ip.data, two->port);
    expect_text(m, ROUTE_MOVED, 150, moved);
    slotmap_release(m);
    tworld_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_slots_served),
        cmocka_unit_test(test_slots_that_nobody_serves),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
