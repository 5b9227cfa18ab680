/* The way of an entry in: envelope, feature level, repetition; and that nothing is half done. */
#include "tests/unit/cluster/tscript.h"

static void test_ids(void **state)
{
    (void)state;
    struct topo_id id;
    struct topo_hex hex = topo_id_hex(gid(0x1f));
    assert_string_equal(hex.text, "9f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f");
    assert_true(topo_id_parse(bytes_of(hex.text), &id));
    assert_true(topo_id_equal(id, gid(0x1f)));
    assert_true(topo_id_parse(bytes_of("9F1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1F"), &id));
    assert_true(topo_id_equal(id, gid(0x1f)));
    assert_false(topo_id_parse(bytes_of("9f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1"), &id));
    assert_false(topo_id_parse(bytes_of("9f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1g"), &id));
    assert_false(topo_id_parse(bytes_of("9f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1"), &id));
    assert_false(topo_id_parse(bytes_of(" f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"), &id));
    assert_true(topo_id_is_none((struct topo_id){{0}}));
    assert_false(topo_id_is_none(nid(1)));
    assert_string_equal(topology_entry_name(TOPO_PROMOTE), "PROMOTE");
    assert_string_equal(topology_entry_name(0), "?");
    assert_string_equal(topology_entry_name(8), "?");
    assert_string_equal(topology_entry_name(UINT32_MAX), "?");
}

static void test_the_index_rises(void **state)
{
    (void)state;
    struct tworld w;
    struct topology_result r;
    tworld_init(&w); /* version 1 */
    assert_int_equal(topology_apply(w.t, 0, bytes_of("x"), &r), RC_INVALID);
    assert_int_equal(topology_apply(w.t, 1, bytes_of("x"), &r), RC_INVALID);
    assert_int_equal(topology_version(w.t), 1);
    assert_int_equal(topology_apply(w.t, 10, bytes_of("x"), &r),
                     RC_OK); /* others may lie between */
    assert_int_equal(topology_version(w.t), 10);
    tworld_free(&w);
}

/* Bytes of an envelope around any body bytes. */
static void put(struct tworld *w, const struct topology_entry *e)
{
    struct buf bytes;
    buf_init(&bytes, MEM_TEST);
    assert_int_equal(wire_encode(&topology_entry_wire, e, &bytes), RC_OK);
    tworld_apply_bytes(w, buf_bytes(&bytes));
    buf_free(&bytes);
}

static void expect(const struct tworld *w, enum topology_verdict verdict, const char *text)
{
    if (w->r.verdict != verdict || strncmp(w->r.text, text, strlen(text)) != 0)
        fail_msg("verdict %d \"%s\" instead of %d \"%s\"", w->r.verdict, w->r.text, verdict, text);
}

static void test_envelope(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_apply_bytes(&w, bytes_of(""));
    expect(&w, TOPOLOGY_UNREADABLE, "an entry without a feature level");
    tworld_apply_bytes(&w, bytes_of("not an entry"));
    expect(&w, TOPOLOGY_UNREADABLE, "the entry: ");
    static uint8_t big[WIRE_MESSAGE_BYTES_MAX + 1];
    tworld_apply_bytes(&w, bytes_view(big, sizeof big));
    expect(&w, TOPOLOGY_UNREADABLE, "the entry: a message over the size limit");
    put(&w, &(struct topology_entry){.level = 1, .type = 8, .hlc = 77});
    expect(&w, TOPOLOGY_UNREADABLE, "no type 8 of entries at feature level 1");
    put(&w, &(struct topology_entry){.level = 1, .type = UINT32_MAX});
    expect(&w, TOPOLOGY_UNREADABLE, "no type 4294967295 of entries");
    put(&w, &(struct topology_entry){.level = 2, .type = 8});
    expect(&w, TOPOLOGY_TOO_NEW, "it needs feature level 2, the cluster is at 1");
    put(&w, &(struct topology_entry){.level = 2, .type = TOPO_RESERVE, .body = bytes_of("junk")});
    expect(&w, TOPOLOGY_TOO_NEW, "it needs feature level 2, the cluster is at 1");
    put(&w,
        &(struct topology_entry){.level = 1, .type = TOPO_RESERVE, .body = bytes_of("\x18\x01")});
    expect(&w, TOPOLOGY_UNREADABLE, "the body of RESERVE: a field that is not known");
    /* All the time there is comes from entries. */
    assert_int_equal(topology_hlc(w.t), 1001);
    ok(&w, RESERVE, .kind = TOPO_COORDINATORS, .count = 1);
    assert_int_equal(topology_hlc(w.t), 1002);
    put(&w, &(struct topology_entry){.level = 1, .type = 8, .hlc = 5000});
    assert_int_equal(topology_hlc(w.t), 5000);
    ok(&w, RESERVE, .kind = TOPO_COORDINATORS, .count = 1);
    assert_int_equal(topology_hlc(w.t), 5000); /* and does not go back */
    static uint8_t value[WIRE_MESSAGE_BYTES_MAX];
    struct topo_item_put item = {.name = bytes_of("n"), .value = bytes_view(value, sizeof value)};
    struct buf bytes;
    buf_init(&bytes, MEM_TEST);
    assert_int_equal(
        topology_entry_encode(&(struct topology_entry){.type = TOPO_ACL_SET}, &item, &bytes),
        RC_TOOBIG);
    assert_int_equal(bytes.len, 0);
    buf_free(&bytes);
    tworld_check(&w);
    tworld_free(&w);
}

/* A program that is older than the level of its cluster must stop instead of guessing. */
static void test_a_program_that_is_too_old_stops(void **state)
{
    (void)state;
    struct tworld w;
    struct topology_result r;
    struct buf bytes;
    buf_init(&bytes, MEM_TEST);
    tworld_init_empty(&w);
    ok(&w, CLUSTER_INIT, .cluster_id = {{1}}, .level = TOPOLOGY_LEVEL + 1);
    struct topology_entry e = {.level = TOPOLOGY_LEVEL + 1, .type = 8};
    assert_int_equal(wire_encode(&topology_entry_wire, &e, &bytes), RC_OK);
    uint64_t hash = topo_hash(w.t);
    assert_int_equal(topology_apply(w.t, 2, buf_bytes(&bytes), &r), RC_UNSUPPORTED);
    assert_true(topo_hash(w.t) == hash);
    buf_free(&bytes);
    tworld_free(&w);
}

/* ---- requests */

/* Reserves `count` numbers under a request; count 0 is refused (unreadable). */
static void reserve(struct tworld *w, uint64_t incarnation, uint64_t counter, uint32_t count)
{
    struct topology_entry e = {
        .type = TOPO_RESERVE,
        .hlc = ++w->hlc,
        .request = {.node = nid(1), .incarnation = incarnation, .counter = counter}};
    struct topo_reserve_ids b = {.kind = TOPO_COORDINATORS, .count = count};
    tworld_apply(w, &e, &b);
}

static void test_a_request_applies_once(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    reserve(&w, 1, 1, 1); /* nobody knows the node yet: it is applied as often as it comes */
    reserve(&w, 1, 1, 1);
    assert_int_equal(w.r.value, 2);
    ok(&w, NODE_JOIN, .node = info(1, 1));
    reserve(&w, 1, 5, 1);
    assert_int_equal(w.r.value, 3);
    assert_false(w.r.repeated);
    reserve(&w, 1, 5, 1);
    expect(&w, TOPOLOGY_APPLIED, "");
    assert_true(w.r.repeated);
    assert_int_equal(w.t->next_coordinator, 4);
    reserve(&w, 1, 6, 0); /* a refusal is an answer, too: the proposer may have seen it */
    expect(&w, TOPOLOGY_UNREADABLE, "1 to ");
    reserve(&w, 1, 6, 1);
    expect(&w, TOPOLOGY_REFUSED, "the same request was refused before");
    assert_true(w.r.repeated);
    reserve(&w, 1, 3, 1); /* later than those proposed after it */
    assert_int_equal(w.r.value, 4);
    reserve(&w, 1, 3, 1);
    assert_true(w.r.repeated);
    reserve(&w, 1, 68, 1);
    assert_int_equal(w.r.value, 5);
    reserve(&w, 1, 5, 1);
    assert_true(w.r.repeated);
    expect(&w, TOPOLOGY_APPLIED, "");
    reserve(&w, 1, 4, 1);
    expect(&w, TOPOLOGY_STALE, "the request is too old to tell whether it was applied");
    tworld_check(&w);
    reserve(&w, 2, 1, 1); /* the node's next life */
    assert_int_equal(w.r.value, 6);
    reserve(&w, 1, 69, 1);
    expect(&w, TOPOLOGY_STALE, "the request is of an earlier life of its node");
    reserve(&w, 2, UINT64_MAX, 1);
    assert_int_equal(w.r.value, 7);
    reserve(&w, 2, 1, 1);
    expect(&w, TOPOLOGY_STALE, "the request is too old");
    tworld_check(&w);
    tworld_free(&w);
}

/* What is remembered stays with the node through updates of it, and goes with it. */
static void test_requests_of_a_node_that_changes(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    struct topo_node_join join = {.node = info(1, 1)};
    struct topology_entry e = {.type = TOPO_NODE_JOIN,
                               .request = {.node = nid(1), .incarnation = 1, .counter = 9}};
    tworld_apply(&w, &e, &join);
    expect(&w, TOPOLOGY_APPLIED, "");
    tworld_apply(&w, &e, &join);
    expect(&w, TOPOLOGY_APPLIED, "");
    assert_true(w.r.repeated);
    ok(&w, NODE_UPDATE, .node = info(1, 2));
    tworld_apply(&w, &e, &join);
    assert_true(w.r.repeated);
    ok(&w, NODE_JOIN, .node = info(2, 1));
    struct topo_node_forget forget = {.node = nid(1)};
    e.type = TOPO_NODE_FORGET;
    e.request.counter = 10;
    tworld_apply(&w, &e, &forget);
    expect(&w, TOPOLOGY_APPLIED, "");
    tworld_apply(&w, &e, &forget);
    expect(&w, TOPOLOGY_REFUSED, "Unknown node");
    tworld_check(&w);
    tworld_free(&w);
}

static void test_half_a_request(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    ok(&w, NODE_JOIN, .node = info(1, 1));
    const struct topo_request halves[] = {
        {.node = nid(1), .incarnation = 1},
        {.node = nid(1), .counter = 1},
        {.counter = 1},
        {.incarnation = 1},
        {.node = nid(1)},
    };
    for (uint32_t i = 0; i < COUNT_OF(halves); i++) {
        struct topology_entry e = {.type = TOPO_RESERVE, .request = halves[i]};
        struct topo_reserve_ids b = {.kind = TOPO_COORDINATORS, .count = 1};
        tworld_apply(&w, &e, &b);
        expect(&w, TOPOLOGY_UNREADABLE, "a request that lacks node, incarnation or counter");
    }
    tworld_free(&w);
}

/* ---- the whole script */

static void apply_one(void *ctx, struct bytes entry)
{
    tworld_apply_bytes(ctx, entry);
    tworld_check(ctx); /* snapshot, restore and replay at every point */
}

static void test_script(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init_empty(&w);
    tscript(apply_one, &w);
    assert_string_equal(members(&w, 1), "1?:1 4:1 5*:1 6:-");
    assert_int_equal(owner(&w, 5100), 3);
    tworld_free(&w);
}

/* Out of memory at any place: nothing has happened, and the same call goes through later. */
static void apply_at_last(void *ctx, struct bytes entry)
{
    struct tworld *w = ctx;
    struct topology_result r;
    struct buf why;
    uint64_t before = topo_hash(w->t);
    uint64_t index = topology_version(w->t) + 1;
    bool fired = true;
    buf_init(&why, MEM_TEST);
    for (uint32_t nth = 1; fired; nth++) {
        mem_fault_arm(nth);
        enum rc rc = topology_apply(w->t, index, entry, &r);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        if (!fired) break;
        w->hlc++; /* counts them */
        assert_true(topo_hash(w->t) == before);
        assert_true(topology_check(w->t, &why));
    }
    buf_free(&why);
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    struct tworld plain;
    struct tworld w;
    tworld_init_empty(&plain);
    tworld_init_empty(&w);
    tscript(apply_one, &plain);
    w.hlc = 0;
    tscript(apply_at_last, &w);
    assert_true(w.hlc > 40);
    assert_true(topo_hash(w.t) == topo_hash(plain.t));
    topology_free(w.t);
    tworld_free(&plain);
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct topology *t = NULL;
        mem_fault_arm(nth);
        enum rc rc = topology_new(&t);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        topology_free(t);
    }
    struct topology_entry e = {.type = TOPO_SLOT_ASSIGN};
    struct topo_range ranges[500] = {{0, 0}};
    struct topo_slot_assign b = {.ranges = ranges, .ranges_count = COUNT_OF(ranges)};
    struct buf bytes;
    buf_init(&bytes, MEM_TEST);
    fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        bytes.len = 0;
        mem_fault_arm(nth);
        enum rc rc = topology_entry_encode(&e, &b, &bytes);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        assert_true((bytes.len > 0) == (rc == RC_OK));
    }
    buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_the_index_rises),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_a_program_that_is_too_old_stops),
        cmocka_unit_test(test_a_request_applies_once),
        cmocka_unit_test(test_requests_of_a_node_that_changes),
        cmocka_unit_test(test_half_a_request),
        cmocka_unit_test(test_script),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
