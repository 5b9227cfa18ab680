/* Replies of CLUSTER against those that Redis 7.0.15 gave for the same clusters: recorded, byte for byte,
 * in tests/fixtures/cluster-redis-7.0.15/<case>-<command>-<protocol>. */
#include "cluster/show.h"

#include <stdio.h>

#include "tests/unit/cluster/tfix.h"

#define FIXTURE "tests/fixtures/cluster-redis-7.0.15/"
#define REPLICA "81eb358e4612e0bd6ae4b0200aa248efc4cc0a5b"
#define MASTER "59ba33a44658468db1a194659205f9c0b98db039" /* the one that was asked */
#define OTHER "24044bb9fd2259bcd45f59ca9d056166904ad299"

/* In the order of a map: by id. */
enum { AT_OTHER, AT_MASTER, AT_REPLICA };

struct shown {
    struct tworld w;
    struct slotmap *map;
    struct cluster_peer peers[4];
    struct cluster_view v;
    struct buf out;
};

static struct topo_id id(const char *hex)
{
    struct topo_id out;
    assert_true(topo_id_parse(bytes_of(hex), &out));
    return out;
}

static void load(const char *name, uint8_t proto, struct buf *out)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s%s-%u", FIXTURE, name, proto);
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("%s is missing", path);
    buf_init(out, MEM_TEST);
    out->len = fread(buf_room(out, 8192), 1, 8192, f);
    (void)fclose(f);
}

static struct topo_node_info node(const char *hex, uint16_t port)
{
    return (struct topo_node_info){.id = id(hex),
                                   .incarnation = 1,
                                   .ip = bytes_of("127.0.0.1"),
                                   .port = port,
                                   .bus_port = (uint16_t)(port + 10000),
                                   .level = 1};
}

static void view(struct shown *s, uint16_t me)
{
    assert_int_equal(slotmap_build(s->w.t, &s->map), RC_OK);
    s->v = (struct cluster_view){.map = s->map, .me = me, .peers = s->peers, .full_coverage = true};
    s->v.control.raft_role = "none";
    for (uint32_t i = 0; i < COUNT_OF(s->peers); i++)
        s->peers[i].connected = true;
    buf_init(&s->out, MEM_TEST);
}

static void make_group(struct tworld *w, struct topo_node_info n, uint64_t epoch)
{
    ok(w, NODE_JOIN, .node = n);
    ok(w, GROUP_CREATE, .group = n.id, .mode = TOPO_ASYNC, .min_isr = 1,
       .primary = {.node = n.id, .incarnation = 1});
    if (epoch > 0) ok(w, GROUP_EPOCH, .group = n.id, .epoch = epoch);
}

/* Two masters, a replica, a slot on its way each way. */
static void three_nodes(struct shown *s)
{
    *s = (struct shown){0};
    tworld_init(&s->w);
    struct topo_node_info replica = node(REPLICA, 27105);
    replica.hostname = bytes_of("host-5.example");
    make_group(&s->w, node(MASTER, 27101), 1);
    make_group(&s->w, node(OTHER, 27103), 2);
    ok(&s->w, NODE_JOIN, .node = replica);
    ok(&s->w, REPLICA_ADD, .group = id(MASTER), .node = id(REPLICA));
    ok(&s->w, SLOT_ASSIGN, .ranges = R({0, 5}, {7, 7}, {100, 16383}), .ranges_count = 3,
       .group = id(MASTER));
    ok(&s->w, SLOT_ASSIGN, .ranges = R({6, 6}), .ranges_count = 1, .group = id(OTHER));
    ok(&s->w, SLOT_MARK, .slot = 7, .mark = TOPO_MIGRATING, .group = id(MASTER), .peer = id(OTHER));
    ok(&s->w, SLOT_MARK, .slot = 6, .mark = TOPO_IMPORTING, .group = id(MASTER), .peer = id(OTHER));
    view(s, AT_MASTER);
    s->peers[AT_MASTER].offset = s->peers[AT_REPLICA].offset = 138;
}

static void end(struct shown *s)
{
    slotmap_release(s->map);
    buf_free(&s->out);
    tworld_free(&s->w);
}

typedef void show_function(const struct cluster_view *v, struct reply *r);

static struct bytes show(struct shown *s, show_function *f, uint8_t proto)
{
    struct reply r = {.out = &s->out, .proto = proto};
    s->out.len = 0;
    f(&s->v, &r);
    return buf_bytes(&s->out);
}

static void expect(struct shown *s, show_function *f, const char *name, uint8_t proto)
{
    struct buf want;
    load(name, proto, &want);
    struct bytes got = show(s, f, proto);
    if (!bytes_equal(got, buf_bytes(&want)))
        fail_msg("%s-%u:\n%.*s\ninstead of\n%.*s", name, proto, (int)got.len,
                 (const char *)got.data, (int)want.len, (const char *)want.data);
    buf_free(&want);
}

static void expect_text(struct shown *s, show_function *f, uint8_t proto, const char *text)
{
    struct bytes got = show(s, f, proto);
    if (!bytes_equal(got, bytes_of(text)))
        fail_msg("%.*s\ninstead of\n%s", (int)got.len, (const char *)got.data, text);
}

static void test_slots_and_shards(void **state)
{
    (void)state;
    struct shown s;
    three_nodes(&s);
    for (uint8_t proto = 2; proto <= 3; proto++) {
        s.v.endpoint = CLUSTER_BY_IP;
        expect(&s, cluster_show_slots, "ip-slots", proto);
        s.v.endpoint = CLUSTER_BY_HOSTNAME;
        expect(&s, cluster_show_slots, "host-slots", proto);
        expect(&s, cluster_show_shards, "host-shards", proto);
        s.v.endpoint = CLUSTER_BY_NOTHING;
        expect(&s, cluster_show_slots, "unknown-slots", proto);
        expect(&s, cluster_show_shards, "unknown-shards", proto);
    }
    end(&s);
}

static void test_nodes_that_do_not_answer(void **state)
{
    (void)state;
    struct shown s;
    three_nodes(&s);
    s.peers[AT_OTHER] = (struct cluster_peer){.connected = true,
                                              .suspected = true,
                                              .ping_ms = INT64_C(1795772086408),
                                              .pong_ms = INT64_C(1795772085405)};
    s.peers[AT_MASTER].pong_ms = INT64_C(1795772089000);
    s.peers[AT_MASTER].offset = 152;
    s.peers[AT_REPLICA] = (struct cluster_peer){.connected = true,
                                                .suspected = true,
                                                .ping_ms = INT64_C(1795772090424),
                                                .pong_ms = INT64_C(1795772089421),
                                                .offset = 152};
    expect(&s, cluster_show_nodes, "failed-nodes", 2);
    expect(&s, cluster_show_nodes, "failed-nodes", 3);
    expect(&s, cluster_show_shards, "failed-shards", 2);
    s.peers[AT_MASTER].offset = 166;
    expect(&s, cluster_show_shards, "failed-shards", 3);
    end(&s);
}

/* INFO ends with lines that Redis does not have. */
static void expect_info(struct shown *s, const char *name, uint8_t proto)
{
    struct buf want;
    char control[400];
    load(name, proto, &want);
    struct bytes got = show(s, cluster_show_info, proto);
    const char *first = memchr(want.data, '\n', want.len);
    size_t from = (size_t)(first + 1 - (const char *)want.data); /* behind the length */
    size_t lines = want.len - from - 2;
    assert_true(got.len > want.len);
    assert_int_equal(got.data[0], want.data[0]);
    assert_memory_equal(got.data + from, want.data + from, lines);
    int n =
        snprintf(control, sizeof control,
                 "cluster_meta_version:%llu\r\ncluster_raft_role:none\r\ncluster_raft_leader:\r\n"
                 "cluster_raft_term:0\r\n"
                 "cluster_raft_commit_index:0\r\ncluster_raft_applied_index:0\r\n"
                 "cluster_raft_snapshot_index:0\r\ncluster_raft_members:0\r\n"
                 "cluster_raft_failure:\r\ncluster_groups_sync:0\r\ncluster_groups_async:1\r\n"
                 "cluster_groups_down:0\r\ncluster_migrations_active:0\r\n\r\n",
                 (unsigned long long)s->v.control.version);
    assert_int_equal(got.len, from + lines + (size_t)n);
    assert_memory_equal(got.data + from + lines, control, (size_t)n);
    buf_free(&want);
}

/* A cluster of one as it starts, without and with slots; it does not know its own address yet. */
static void one_node(const char *name, bool with_slots)
{
    char file[40];
    struct buf nodes;
    struct shown s = {0};
    (void)snprintf(file, sizeof file, "%s-nodes", name);
    load(file, 2, &nodes);
    struct bytes hex = bytes_view(nodes.data + (nodes.data[3] == '\r' ? 5 : 6), 40);
    struct topo_node_info n = node(MASTER, 27107);
    if (!topo_id_parse(hex, &n.id)) fail_msg("no id in %s", file);
    n.ip = bytes_of("");
    tworld_init(&s.w);
    make_group(&s.w, n, 0);
    if (with_slots)
        ok(&s.w, SLOT_ASSIGN, .ranges = R({0, 16383}), .ranges_count = 1, .group = n.id);
    view(&s, 0);
    s.v.control = (struct cluster_control){
        .raft_role = "none", .version = topology_version(s.w.t), .groups_async = 1};
    for (uint8_t proto = 2; proto <= 3; proto++) {
        expect(&s, cluster_show_nodes, file, proto);
        (void)snprintf(file, sizeof file, "%s-shards", name);
        expect(&s, cluster_show_shards, file, proto);
        (void)snprintf(file, sizeof file, "%s-slots", name);
        expect(&s, cluster_show_slots, file, proto);
        (void)snprintf(file, sizeof file, "%s-info", name);
        expect_info(&s, file, proto);
        (void)snprintf(file, sizeof file, "%s-nodes", name);
    }
    assert_int_equal(cluster_is_ok(&s.v), with_slots);
    s.v.full_coverage = false;
    assert_true(cluster_is_ok(&s.v));
    buf_free(&nodes);
    end(&s);
}

static void test_cluster_of_one(void **state)
{
    (void)state;
    one_node("fresh", false);
    one_node("alone", true);
}

static void expect_line(struct shown *s, const char *line)
{
    struct bytes got = show(s, cluster_show_info, 2);
    assert_true(got.len > 0);
    buf_add_byte(&s->out, 0);
    if (strstr((const char *)s->out.data, line) == NULL)
        fail_msg("no %s in\n%s", line, (const char *)s->out.data);
}

static void test_info(void **state)
{
    (void)state;
    struct shown s;
    const struct cluster_messages messages[] = {{"ping", 5, 6}, {"pong", 7, 0}, {"meet", 0, 1}};
    three_nodes(&s);
    s.v.messages = messages;
    s.v.messages_count = COUNT_OF(messages);
    s.v.links_limit_exceeded = 3;
    s.v.control = (struct cluster_control){.raft_role = "follower",
                                           .raft_leader = id(OTHER),
                                           .raft_term = 9,
                                           .groups_down = 1,
                                           .migrations = 2};
    expect_line(&s,
                "cluster_state:fail\r\ncluster_slots_assigned:16292\r\ncluster_slots_ok:16292\r\n"
                "cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:3\r\n"
                "cluster_size:2\r\ncluster_current_epoch:2\r\ncluster_my_epoch:1\r\n"
                "cluster_stats_messages_ping_sent:5\r\ncluster_stats_messages_pong_sent:7\r\n"
                "cluster_stats_messages_sent:12\r\ncluster_stats_messages_ping_received:6\r\n"
                "cluster_stats_messages_meet_received:1\r\n"
                "cluster_stats_messages_received:7\r\n"
                "total_cluster_links_buffer_limit_exceeded:3\r\n");
    expect_line(&s, "cluster_raft_role:follower\r\ncluster_raft_leader:" OTHER
                    "\r\ncluster_raft_term:9\r\n");
    expect_line(&s, "cluster_groups_down:1\r\ncluster_migrations_active:2\r\n");
    s.peers[AT_OTHER].suspected = true;
    expect_line(&s, "cluster_slots_ok:16291\r\ncluster_slots_pfail:1\r\ncluster_slots_fail:0\r\n");
    end(&s);
    /* By consensus it is down: its slots are not served, and it is no place to read. */
    three_nodes(&s);
    ok(&s.w, NODE_HEALTH, .node = id(OTHER), .incarnation = 1, .down = true);
    ok(&s.w, NODE_HEALTH, .node = id(REPLICA), .incarnation = 1, .down = true);
    ok(&s.w, SLOT_ASSIGN, .ranges = R({8, 99}), .ranges_count = 1, .group = id(MASTER));
    slotmap_release(s.map);
    view(&s, AT_MASTER);
    expect_line(&s, "cluster_slots_ok:16383\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:1\r\n");
    assert_false(cluster_is_ok(&s.v));
    s.v.full_coverage = false;
    expect_line(&s, "cluster_state:ok\r\n");
    (void)show(&s, cluster_show_nodes, 2);
    buf_add_byte(&s.out, 0);
    assert_non_null(strstr((const char *)s.out.data, " master,fail - 0 0 2 connected 6\n"));
    assert_non_null(strstr((const char *)s.out.data, " slave,fail " MASTER " "));
    (void)show(&s, cluster_show_slots, 2);
    buf_add_byte(&s.out, 0);
    assert_null(strstr((const char *)s.out.data, REPLICA));
    (void)show(&s, cluster_show_shards, 2);
    buf_add_byte(&s.out, 0);
    assert_non_null(strstr((const char *)s.out.data, "health\r\n$4\r\nfail\r\n"));
    end(&s);
}

static void test_tls_ports(void **state)
{
    (void)state;
    struct shown s = {0};
    tworld_init(&s.w);
    struct topo_node_info n = node(MASTER, 27101);
    n.tls_port = 28101;
    n.flags = TOPO_NODE_NOFAILOVER;
    make_group(&s.w, n, 1);
    n = node(OTHER, 0); /* TLS only */
    n.tls_port = 28103;
    n.bus_port = 37103;
    n.ip = bytes_of("");
    ok(&s.w, NODE_JOIN, .node = n);
    view(&s, AT_MASTER);
    s.v.tls = true;
    s.peers[AT_OTHER].connected = false;
    expect_text(&s, cluster_show_nodes, 2,
                "$195\r\n" OTHER " :28103@37103 master,noaddr - 0 0 0 disconnected\n" MASTER
                " 127.0.0.1:28101@37101 myself,master,nofailover - 0 0 1 connected\n\r\n");
    (void)show(&s, cluster_show_shards, 2);
    buf_add_byte(&s.out, 0);
    assert_non_null(strstr((const char *)s.out.data,
                           "*16\r\n$2\r\nid\r\n$40\r\n" MASTER
                           "\r\n$4\r\nport\r\n:27101\r\n$8\r\ntls-port\r\n:28101\r\n"));
    assert_non_null(strstr((const char *)s.out.data,
                           "*14\r\n$2\r\nid\r\n$40\r\n" OTHER "\r\n$8\r\ntls-port\r\n:28103\r\n"));
    expect_text(&s, cluster_show_myshardid, 2, "$40\r\n" MASTER "\r\n");
    end(&s);
}

static void expect_replicas(struct shown *s, const char *of, const char *text)
{
    struct reply r = {.out = &s->out, .proto = 2};
    s->out.len = 0;
    cluster_show_replicas(&s->v, bytes_of(of), &r);
    buf_add_byte(&s->out, 0);
    assert_string_equal((const char *)s->out.data, text);
}

static void test_replicas_and_ids(void **state)
{
    (void)state;
    struct shown s;
    three_nodes(&s);
    s.peers[AT_REPLICA].pong_ms = INT64_C(1795772024149);
    expect_replicas(&s, MASTER,
                    "*1\r\n$152\r\n" REPLICA " 127.0.0.1:27105@37105,host-5.example slave " MASTER
                    " 0 1795772024149 1 connected\r\n");
    expect_replicas(&s, OTHER, "*0\r\n");
    expect_replicas(&s, REPLICA, "-ERR The specified node is not a master\r\n");
    expect_replicas(&s, "abc", "-ERR Unknown node abc\r\n");
    expect_replicas(&s, "24044bb9fd2259bcd45f59ca9d056166904ad298",
                    "-ERR Unknown node 24044bb9fd2259bcd45f59ca9d056166904ad298\r\n");
    expect_text(&s, cluster_show_myid, 2, "$40\r\n" MASTER "\r\n");
    s.v.me = AT_REPLICA;
    expect_text(&s, cluster_show_myid, 2, "$40\r\n" REPLICA "\r\n");
    expect_text(&s, cluster_show_myshardid, 2, "$40\r\n" MASTER "\r\n");
    end(&s);
}

static void test_links(void **state)
{
    (void)state;
    const struct cluster_link links[] = {
        {.node = id(OTHER), .outgoing = true, .created_ms = INT64_C(1795772001558), .reads = true},
        {.node = id(MASTER),
         .created_ms = 7,
         .reads = true,
         .writes = true,
         .buffer_allocated = 5114,
         .buffer_used = 12},
    };
    struct buf out;
    buf_init(&out, MEM_TEST);
    struct reply r = {.out = &out, .proto = 3};
    cluster_show_links(links, 2, &r);
    r.proto = 2;
    cluster_show_links(links, 0, &r);
    buf_add_byte(&out, 0);
    assert_string_equal(
        (const char *)out.data,
        "*2\r\n%6\r\n$9\r\ndirection\r\n$2\r\nto\r\n$4\r\nnode\r\n$40\r\n" OTHER
        "\r\n$11\r\ncreate-time\r\n:1795772001558\r\n$6\r\nevents\r\n$1\r\nr\r\n"
        "$21\r\nsend-buffer-allocated\r\n:0\r\n$16\r\nsend-buffer-used\r\n:0\r\n"
        "%6\r\n$9\r\ndirection\r\n$4\r\nfrom\r\n$4\r\nnode\r\n$40\r\n" MASTER
        "\r\n$11\r\ncreate-time\r\n:7\r\n$6\r\nevents\r\n$2\r\nrw\r\n"
        "$21\r\nsend-buffer-allocated\r\n:5114\r\n$16\r\nsend-buffer-used\r\n:12\r\n*0\r\n");
    buf_free(&out);
}

static void test_arguments(void **state)
{
    (void)state;
    static const struct {
        const char *slot, *count, *error; /* NULL: taken */
    } cases[] = {
        {"0", NULL, NULL},
        {"16383", NULL, NULL},
        {"16384", NULL, "-ERR Invalid slot\r\n"},
        {"-1", NULL, "-ERR Invalid slot\r\n"},
        {"x", NULL, "-ERR value is not an integer or out of range\r\n"},
        {"", NULL, "-ERR value is not an integer or out of range\r\n"},
        {"5", "10", NULL},
        {"5", "0", NULL},
        {"16384", "1", "-ERR Invalid slot or number of keys\r\n"},
        {"5", "-1", "-ERR Invalid slot or number of keys\r\n"},
        {"x", "1", "-ERR value is not an integer or out of range\r\n"},
        {"5", "x", "-ERR value is not an integer or out of range\r\n"},
    };
    struct buf out;
    buf_init(&out, MEM_TEST);
    struct reply r = {.out = &out, .proto = 2};
    for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
        uint16_t slot = 0;
        uint64_t count = 0;
        out.len = 0;
        bool taken = cases[i].count == NULL
                         ? cluster_parse_slot(bytes_of(cases[i].slot), &slot, &r)
                         : cluster_parse_slot_count(bytes_of(cases[i].slot),
                                                    bytes_of(cases[i].count), &slot, &count, &r);
        buf_add_byte(&out, 0);
        assert_int_equal(taken, cases[i].error == NULL);
        assert_string_equal((const char *)out.data, taken ? "" : cases[i].error);
    }
    out.len = 0;
    cluster_show_keyslot(bytes_of("foo"), &r);
    buf_add_byte(&out, 0);
    assert_string_equal((const char *)out.data, ":12182\r\n");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_and_shards),
        cmocka_unit_test(test_nodes_that_do_not_answer),
        cmocka_unit_test(test_cluster_of_one),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_tls_ports),
        cmocka_unit_test(test_replicas_and_ids),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
