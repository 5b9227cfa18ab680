/* A slot map says what its topology said, and goes on saying it. */
#include "cluster/slotmap.h"

#include "shard/base/rng.h"
#include "tests/unit/cluster/tscript.h"

static struct slotmap *build(const struct topology *t)
{
    struct slotmap *m = NULL;
    assert_int_equal(slotmap_build(t, &m), RC_OK);
    return m;
}

static void compare_ranges(const struct slotmap *m, const struct topology *t)
{
    const struct topo_group *owner = NULL;
    struct topo_range range;
    uint32_t nth = 0;
    for (uint32_t from = 0; topology_next_range(t, from, &range, &owner); from = range.last + 1u) {
        uint16_t place = m->rising[nth++];
        uint16_t g = slotmap_group_find(m, owner->id);
        assert_memory_equal(&m->ranges[place], &range, sizeof range);
        assert_in_range(place, m->groups[g].first_range,
                        m->groups[g].first_range + m->groups[g].ranges_count - 1);
    }
    assert_int_equal(nth, m->ranges_count);
    for (uint32_t g = 0; g < m->groups_count; g++)
        for (uint32_t i = 1; i < m->groups[g].ranges_count; i++)
            assert_true(m->ranges[m->groups[g].first_range + i - 1].last <
                        m->ranges[m->groups[g].first_range + i].first);
}

static void compare_groups(const struct slotmap *m, const struct topology *t)
{
    uint64_t epoch_max = 0;
    for (uint32_t g = 0; g < m->groups_count; g++) {
        const struct topo_group *from = topology_group_at(t, g);
        const struct slotmap_group *to = &m->groups[g];
        assert_true(topo_id_equal(from->id, to->id));
        assert_int_equal(from->epoch, to->epoch);
        assert_int_equal(from->mode, to->mode);
        assert_int_equal(from->slots_count, to->slots_count);
        assert_int_equal(from->members_count, to->members_count);
        assert_true(topo_id_equal(m->nodes[to->primary].info.id, from->primary));
        assert_int_equal(m->members[to->first_member], to->primary);
        for (uint32_t i = 0; i < to->members_count; i++) {
            uint16_t node = m->members[to->first_member + i];
            assert_non_null(topology__member(from, m->nodes[node].info.id));
            assert_int_equal(m->nodes[node].group, g);
            if (i > 1) assert_true(node > m->members[to->first_member + i - 1]);
        }
        if (from->epoch > epoch_max) epoch_max = from->epoch;
    }
    assert_int_equal(m->epoch, epoch_max);
}

static void compare(const struct slotmap *m, const struct topology *t)
{
    uint32_t owned = 0;
    assert_int_equal(m->version, topology_version(t));
    assert_int_equal(m->map_version, topology_map_version(t));
    assert_int_equal(m->nodes_count, topology_nodes(t));
    assert_int_equal(m->groups_count, topology_groups(t));
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct topo_group *from = topology_owner(t, (uint16_t)slot);
        const struct slotmap_group *to = slotmap_owner(m, (uint16_t)slot);
        if ((from == NULL) != (to == NULL)) fail_msg("slot %u", slot);
        if (from != NULL && !topo_id_equal(from->id, to->id)) fail_msg("slot %u", slot);
        owned += from != NULL;
    }
    assert_int_equal(m->slots_count, owned);
    for (uint32_t i = 0; i < m->nodes_count; i++) {
        const struct topo_node *from = topology_node_at(t, i);
        const struct slotmap_node *to = &m->nodes[i];
        assert_true(topo_id_equal(from->info.id, to->info.id));
        assert_true(bytes_equal(from->info.ip, to->info.ip));
        assert_true(bytes_equal(from->info.hostname, to->info.hostname));
        assert_true(bytes_equal(from->info.az, to->info.az));
        assert_int_equal(from->info.bus_port, to->info.bus_port);
        assert_int_equal(from->down, to->down);
        assert_true((topology_group_of(t, from->info.id) == NULL) == (to->group == SLOTMAP_NONE));
        assert_int_equal(slotmap_node_find(m, from->info.id), i);
    }
    compare_groups(m, t);
    compare_ranges(m, t);
    assert_int_equal(m->marks_count, topology_marks(t));
    for (uint32_t i = 0; i < m->marks_count; i++)
        assert_memory_equal(&m->marks[i], topology_mark_at(t, i), sizeof m->marks[i]);
}

static void apply_and_compare(void *ctx, struct bytes entry)
{
    struct tworld *w = ctx;
    tworld_apply_bytes(w, entry);
    struct slotmap *m = build(w->t);
    compare(m, w->t);
    slotmap_release(m);
}

static void test_same_as_its_topology(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init_empty(&w);
    tscript(apply_and_compare, &w);
    struct slotmap *m = build(w.t);
    assert_int_equal(slotmap_node_find(m, nid(99)), SLOTMAP_NONE);
    assert_int_equal(slotmap_group_find(m, gid(99)), SLOTMAP_NONE);
    assert_int_equal(slotmap_group_find(m, nid(0)), SLOTMAP_NONE);
    slotmap_release(m);
    tworld_free(&w);
}

/* Slots given out at random, so that ranges of groups lie between each other. */
static void test_scattered(void **state)
{
    (void)state;
    struct tworld w;
    struct rng r;
    rng_seed(&r, 5);
    tworld_init(&w);
    for (uint8_t n = 1; n <= 5; n++) {
        ok(&w, NODE_JOIN, .node = info(n, 1));
        ok(&w, GROUP_CREATE, .group = gid(n), .mode = TOPO_SYNC, .min_isr = 1,
           .primary = life(n, 1));
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint64_t g = rng_below(&r, 6);
        if (g > 0)
            topology__give(w.t, (struct topo_range){(uint16_t)slot, (uint16_t)slot},
                           topology__group(w.t, gid((uint8_t)g)));
    }
    struct slotmap *m = build(w.t);
    compare(m, w.t);
    assert_true(m->ranges_count > 8000);
    slotmap_release(m);
    topology__give(w.t, (struct topo_range){0, SLOT_COUNT - 1}, topology__group(w.t, gid(3)));
    m = build(w.t); /* one group that owns all */
    compare(m, w.t);
    assert_int_equal(m->ranges_count, 1);
    assert_int_equal(m->slots_count, SLOT_COUNT);
    slotmap_release(m);
    tworld_free(&w);
}

static void test_it_outlives_the_state_it_was_made_of(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init(&w);
    tworld_groups(&w, 2);
    struct slotmap *m = build(w.t);
    struct slotmap *same = slotmap_hold(m);
    assert_ptr_equal(same, m);
    topology_free(w.t);
    w.t = NULL;
    slotmap_release(m);
    assert_true(topo_id_equal(slotmap_owner(same, 16383)->id, gid(2)));
    assert_true(bytes_equal(same->nodes[1].info.hostname, bytes_of("host.example")));
    slotmap_release(same);
    slotmap_release(NULL);
    tworld_free(&w);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct tworld w;
    struct slotmap *m = NULL;
    tworld_init(&w);
    mem_fault_arm(1);
    assert_int_equal(slotmap_build(w.t, &m), RC_NOMEM);
    assert_true(mem_fault_disarm());
    assert_null(m);
    assert_int_equal(slotmap_build(w.t, &m), RC_OK); /* of nothing at all */
    compare(m, w.t);
    slotmap_release(m);
    tworld_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_its_topology),
        cmocka_unit_test(test_scattered),
        cmocka_unit_test(test_it_outlives_the_state_it_was_made_of),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
