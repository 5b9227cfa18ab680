/* Entries about what all nodes share by name, and numbers handed out once. */
#include "tests/unit/cluster/tfix.h"

#include <stdio.h>

struct kind {
    const char *name; /* in texts */
    uint32_t put, drop, kind;
    enum topo_section section;
};
static const struct kind kinds[] = {
    {"setting", TOPO_CONFIG_SET, TOPO_CONFIG_UNSET, 0, TOPO_CONFIG},
    {"user", TOPO_ACL_SET, TOPO_ACL_DELETE, 0, TOPO_ACL},
    {"library", TOPO_FUNCTION_LOAD, TOPO_FUNCTION_DELETE, 0, TOPO_FUNCTIONS},
    {"catalog entry", TOPO_CATALOG_PUT, TOPO_CATALOG_DROP, TOPO_CATALOG_FT, TOPO_CATALOG},
    {"catalog entry", TOPO_CATALOG_PUT, TOPO_CATALOG_DROP, TOPO_CATALOG_CDC, TOPO_CATALOG},
};

static void refused_with(struct tworld *w, const struct kind *k, const char *rest, uint32_t type,
                         const void *body)
{
    char text[200];
    (void)snprintf(text, sizeof text, "%s %s", k->name, rest);
    tworld_refused(w, TOPOLOGY_REFUSED, text, type, body, __FILE__, __LINE__);
}

static void one_kind(struct tworld *w, const struct kind *k)
{
    struct topo_item_put put = {.kind = k->kind, .name = bytes_of("name"), .value = bytes_of("v1")};
    struct topo_item_drop drop = {.kind = k->kind, .name = bytes_of("name")};
    refused_with(w, k, "'name' does not exist", k->drop, &drop);
    put.expect = true;
    put.expect_version = 1;
    refused_with(w, k, "'name' does not exist", k->put, &put);
    put.expect_version = 0;
    tworld_ok(w, k->put, &put, __FILE__, __LINE__);
    uint64_t version = topology_version(w->t);
    const struct topo_item *item = topology_item_find(w->t, k->section, k->kind, put.name);
    assert_true(bytes_equal(item->value, put.value));
    assert_int_equal(item->version, version);
    assert_int_equal(item->hlc, w->hlc);
    assert_int_equal(topology_section_version(w->t, k->section), version);
    assert_true(topology_map_version(w->t) < version);
    refused_with(w, k, "'name' exists already", k->put, &put);
    put.expect_version = version + 1;
    refused_with(w, k, "'name' is at version", k->put, &put);
    put.expect_version = version;
    put.value = bytes_of("another value");
    tworld_ok(w, k->put, &put, __FILE__, __LINE__);
    item = topology_item_find(w->t, k->section, k->kind, put.name);
    assert_true(bytes_equal(item->value, bytes_of("another value")));
    put.expect = false; /* whatever there is */
    put.value = bytes_of("");
    tworld_ok(w, k->put, &put, __FILE__, __LINE__);
    version = topology_version(w->t);
    drop.expect = true;
    drop.expect_version = version - 1;
    refused_with(w, k, "'name' is at version", k->drop, &drop);
    drop.expect_version = version;
    tworld_ok(w, k->drop, &drop, __FILE__, __LINE__);
    assert_null(topology_item_find(w->t, k->section, k->kind, put.name));
    assert_int_equal(topology_section_version(w->t, k->section), topology_version(w->t));
    tworld_ok(w, k->put, &put, __FILE__, __LINE__);
    drop.expect = false;
    tworld_ok(w, k->drop, &drop, __FILE__, __LINE__);
    tworld_ok(w, k->put, &put, __FILE__, __LINE__); /* stays for those that follow */
}

static void test_all_kinds(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    for (uint32_t i = 0; i < COUNT_OF(kinds); i++)
        one_kind(&w, &kinds[i]);
    assert_int_equal(topology_items(w.t), COUNT_OF(kinds));
    for (uint32_t i = 0; i < COUNT_OF(kinds); i++)
        assert_int_equal(topology_item_at(w.t, i)->section, kinds[i].section);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_bounds(void **state)
{
    (void)state;
    struct tworld w;
    static char big[TOPOLOGY_VALUE_BYTES_MAX + 1];
    tworld_init(&w);
    memset(big, 'x', sizeof big);
    unreadable(&w, "no such kind of a catalog entry", CATALOG_PUT, .name = bytes_of("n"));
    unreadable(&w, "no such kind of a catalog entry", CATALOG_PUT, .kind = 5,
               .name = bytes_of("n"));
    unreadable(&w, "no such kind of a catalog entry", CATALOG_DROP, .name = bytes_of("n"));
    unreadable(&w, "only catalog entries have a kind", ACL_SET, .kind = 1, .name = bytes_of("n"));
    unreadable(&w, "a name has 1 to 1024 bytes", CONFIG_SET, .value = bytes_of("v"));
    unreadable(&w, "a name has 1 to 1024 bytes", FUNCTION_LOAD, .name = bytes_view(big, 1025));
    unreadable(&w, "a definition over 512 KiB", FUNCTION_LOAD, .name = bytes_of("n"),
               .value = bytes_view(big, sizeof big));
    unreadable(&w, "what is not there cannot be dropped", ACL_DELETE, .name = bytes_of("n"),
               .expect = true);
    ok(&w, FUNCTION_LOAD, .name = bytes_view(big, 1024), .value = bytes_view(big, sizeof big - 1));
    tworld_check(&w);
    tworld_free(&w);
}

/* Names are bytes; in texts what cannot be printed is not. */
static void test_names_are_bytes(void **state)
{
    (void)state;
    struct tworld w;
    uint8_t name[200];
    tworld_init(&w);
    for (uint32_t i = 0; i < sizeof name; i++)
        name[i] = (uint8_t)(i + 30);
    struct bytes all = bytes_view(name, sizeof name);
    ok(&w, CATALOG_PUT, .kind = TOPO_CATALOG_WS, .name = all, .value = all);
    refuse(&w, "catalog entry '?? !\"#$%&'", CATALOG_PUT, .kind = TOPO_CATALOG_WS, .name = all,
           .expect = true);
    assert_non_null(strstr(w.r.text, "[\\]...' exists already"));
    ok(&w, CATALOG_PUT, .kind = TOPO_CATALOG_WS, .name = bytes_view(name, 7), .value = all);
    ok(&w, CATALOG_PUT, .kind = TOPO_CATALOG_FT, .name = all, .value = all);
    assert_int_equal(topology_item_at(w.t, 0)->kind, TOPO_CATALOG_FT);
    assert_int_equal(topology_item_at(w.t, 1)->name.len, 7);
    tworld_check(&w);
    tworld_free(&w);
}

static void test_limit_of_all_definitions(void **state)
{
    (void)state;
    struct topology *t = NULL;
    struct topology_result r;
    struct buf bytes;
    static char value[TOPOLOGY_VALUE_BYTES_MAX];
    uint64_t index = 0;
    uint32_t applied = 0;
    buf_init(&bytes, MEM_TEST);
    assert_int_equal(topology_new(&t), RC_OK);
    struct topo_cluster_init init = {.cluster_id = {{1}}, .level = 1};
    assert_int_equal(
        topology_entry_encode(&(struct topology_entry){.type = TOPO_CLUSTER_INIT}, &init, &bytes),
        RC_OK);
    assert_int_equal(topology_apply(t, ++index, buf_bytes(&bytes), &r), RC_OK);
    for (uint32_t i = 0; i < 600 && r.verdict == TOPOLOGY_APPLIED; i++, applied++) {
        struct topo_item_put put = {.name = bytes_view(&i, sizeof i),
                                    .value = bytes_view(value, sizeof value)};
        bytes.len = 0;
        assert_int_equal(
            topology_entry_encode(&(struct topology_entry){.type = TOPO_ACL_SET}, &put, &bytes),
            RC_OK);
        assert_int_equal(topology_apply(t, ++index, buf_bytes(&bytes), &r), RC_OK);
    }
    assert_int_equal(r.verdict, TOPOLOGY_REFUSED);
    assert_string_equal(r.text, "all definitions together may have 268435456 bytes");
    assert_int_equal(applied, 512); /* the last one was refused: 511 and their heads fit */
    topology_free(t);
    buf_free(&bytes);
}

static void test_reserve(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    unreadable(&w, "no such kind of numbers", RESERVE, .count = 1);
    unreadable(&w, "no such kind of numbers", RESERVE, .kind = 3, .count = 1);
    unreadable(&w, "1 to 1048576 numbers at once", RESERVE, .kind = TOPO_NODE_NUMBERS);
    unreadable(&w, "1 to 1048576 numbers at once", RESERVE, .kind = TOPO_NODE_NUMBERS,
               .count = TOPOLOGY_RESERVE_MAX + 1);
    ok(&w, RESERVE, .kind = TOPO_COORDINATORS, .count = 10);
    assert_int_equal(w.r.value, 1);
    ok(&w, RESERVE, .kind = TOPO_COORDINATORS, .count = TOPOLOGY_RESERVE_MAX);
    assert_int_equal(w.r.value, 11);
    ok(&w, RESERVE, .kind = TOPO_NODE_NUMBERS, .count = 5);
    assert_int_equal(w.r.value, 1);
    ok(&w, NODE_JOIN, .node = info(1, 1));
    assert_int_equal(w.r.value, 6);
    tworld_check(&w);
    ok(&w, RESERVE, .kind = TOPO_COORDINATORS, .count = 1);
    assert_int_equal(w.r.value, 11 + TOPOLOGY_RESERVE_MAX);
    w.t->next_coordinator = UINT64_MAX - 5;
    ok(&w, RESERVE, .kind = TOPO_COORDINATORS, .count = 5);
    refuse(&w, "there are no numbers left", RESERVE, .kind = TOPO_COORDINATORS, .count = 1);
    tworld_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_kinds),       cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_names_are_bytes), cmocka_unit_test(test_limit_of_all_definitions),
        cmocka_unit_test(test_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
