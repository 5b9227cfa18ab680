/* Random entries against the model. At every version: the model says the same; all relations hold, so a
 * slot has no two owners; a second topology that gets the same bytes has the same hash, whether it came
 * from the first entry on or from a snapshot on the way; and now and then the first is thrown away for
 * what its snapshot restores. */
#include "shard/base/rng.h"
#include "tests/unit/cluster/model.h"

#define SEEDS 30
#define STEPS 600

struct run {
    struct model m;
    struct topology *t;
    struct topology *twin;
    struct rng r;
    struct buf entry;
    struct topo_range ranges[4];
    struct topo_member some[3], others[3];
};

static uint32_t applied_of[TOPO_TYPE_COUNT + 1];
static uint32_t refused_of[TOPO_TYPE_COUNT + 1];

/* ---- drawing: mostly what could be right */

static uint64_t below(struct run *u, uint64_t n)
{
    return rng_below(&u->r, n);
}

static bool often(struct run *u)
{
    return below(u, 8) != 0;
}

static int any_node(struct run *u)
{
    return (int)below(u, NODES);
}

static struct topo_id draw_gid(struct run *u)
{
    return gid((uint8_t)(1 + below(u, GROUPS)));
}

static int draw_group(struct run *u)
{
    int g = (int)below(u, GROUPS);
    for (uint32_t i = 0; i < 4 && !u->m.group[g].exists; i++)
        g = (int)below(u, GROUPS);
    return g;
}

static struct topo_member present(struct run *u, int n)
{
    uint64_t incarnation = u->m.node[n].incarnation;
    if (!often(u)) incarnation += below(u, 3);
    return life((uint8_t)(n + 1), incarnation);
}

static uint64_t draw_epoch(struct run *u, int g)
{
    return u->m.group[g].epoch + (often(u) ? 0 : below(u, 3));
}

/* Few slots, in blocks, so that entries meet. */
static uint32_t draw_ranges(struct run *u)
{
    uint32_t count = 1 + (uint32_t)below(u, 3);
    uint32_t at = (uint32_t)below(u, 24) * 16;
    if (below(u, 10) == 0) at = SLOT_COUNT - 16 * 8;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = at + (uint32_t)below(u, 3) * 16;
        uint32_t last = first + (below(u, 4) == 0 ? 0 : 15);
        if (last >= SLOT_COUNT) last = first = SLOT_COUNT - 1 - count + i;
        u->ranges[i] = (struct topo_range){.first = (uint16_t)first, .last = (uint16_t)last};
        at = last + 1;
        if (at + 100 > SLOT_COUNT) return i + 1;
    }
    return count;
}

/* A range that one group owns, if it can be found at once. */
static uint32_t draw_owned(struct run *u, int *owner_out)
{
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t count = draw_ranges(u);
        bool same = true;
        *owner_out = u->m.owner[u->ranges[0].first];
        for (uint32_t k = 0; k < count; k++)
            for (uint32_t s = u->ranges[k].first; s <= u->ranges[k].last; s++)
                same &= u->m.owner[s] == *owner_out;
        if (same && *owner_out != NOBODY) return count;
    }
    return draw_ranges(u);
}

/* Members of a group at that place, in the life they have there. */
static uint32_t draw_members(struct run *u, int g, enum place place, struct topo_member *out)
{
    uint32_t count = 0;
    int from = any_node(u);
    uint32_t want = 1 + (uint32_t)below(u, 2);
    for (int i = 0; i < NODES && count < want; i++) {
        int n = (from + i) % NODES;
        if (u->m.group[g].place[n] != place ||
            (place == IN_SYNC && u->m.group[g].primary == n && often(u)))
            continue;
        out[count++] = life((uint8_t)(n + 1), u->m.group[g].life[n]);
    }
    if (count == 0 || !often(u)) out[count++] = present(u, any_node(u));
    return count;
}

static struct topo_member primary_of(struct run *u, int g)
{
    int n = often(u) ? u->m.group[g].primary : any_node(u);
    return life((uint8_t)(n + 1), u->m.group[g].life[n]);
}

/* ---- one entry of each type */

#define DO(type, ...) run_entry(u, TOPO_##type, &(const body_##type){__VA_ARGS__})

static void step_both(struct run *u, const struct topology_entry *e, bool expected)
{
    struct topology_result r;
    struct topology_result r2;
    uint64_t index = topology_version(u->t) + 1;
    assert_int_equal(topology_apply(u->t, index, buf_bytes(&u->entry), &r), RC_OK);
    assert_int_equal(topology_apply(u->twin, index, buf_bytes(&u->entry), &r2), RC_OK);
    if ((r.verdict == TOPOLOGY_APPLIED) != expected ||
        (r.verdict != TOPOLOGY_APPLIED && r.verdict != TOPOLOGY_REFUSED))
        fail_msg("%s: %s, but the model %s it", topology_entry_name(e->type),
                 r.verdict == TOPOLOGY_APPLIED ? "applied" : r.text,
                 expected ? "takes" : "refuses");
    assert_int_equal(r2.verdict, r.verdict);
    assert_int_equal(r2.value, r.value);
    assert_string_equal(r2.text, r.text);
    ++*(expected ? &applied_of[e->type] : &refused_of[e->type]);
}

static void run_entry(struct run *u, uint32_t type, const void *body)
{
    struct topology_entry e = {.type = type, .hlc = rng_next(&u->r) >> 20};
    u->entry.len = 0;
    assert_int_equal(topology_entry_encode(&e, body, &u->entry), RC_OK);
    step_both(u, &e, model_apply(&u->m, type, body));
}

static void draw_node_entry(struct run *u)
{
    int n = any_node(u);
    uint64_t incarnation = u->m.node[n].incarnation + below(u, 3);
    if (incarnation == 0) incarnation = 1;
    struct topo_node_info i = info((uint8_t)(n + 1), incarnation);
    switch (below(u, 12)) {
    case 0:
    case 1:
    case 2:
        DO(NODE_JOIN, .node = i);
        break;
    case 3:
        DO(NODE_UPDATE, .node = i);
        break;
    case 4:
    case 5:
        DO(NODE_HEALTH, .node = i.id, .incarnation = u->m.node[n].incarnation + below(u, 2),
           .down = below(u, 4) == 0);
        break;
    case 6:
    case 7:
        DO(NODE_FORGET, .node = i.id);
        break;
    case 8:
        DO(FEATURE_LEVEL, .level = (uint32_t)below(u, 3));
        break;
    case 9:
        DO(CLUSTER_INIT, .cluster_id = {{1, 2, 3}}, .level = 1);
        break;
    default:
        DO(ABSORB, .node = i, .group = draw_gid(u), .mode = (uint8_t)(1 + below(u, 3)),
           .min_isr = 1 + (uint32_t)below(u, 2), .epoch = below(u, 5), .history = below(u, 5),
           .ranges = u->ranges, .ranges_count = below(u, 2) == 0 ? 0 : draw_ranges(u),
           .from_cluster = {{4}});
    }
}

static void draw_group_entry(struct run *u)
{
    int g = draw_group(u);
    struct topo_id id = gid((uint8_t)(g + 1));
    int n = any_node(u);
    struct topo_id unused = id;
    for (int k = 0; k < GROUPS && often(u); k++)
        if (!u->m.group[k].exists) unused = gid((uint8_t)(k + 1));
    switch (below(u, 10)) {
    case 0:
    case 1:
        DO(GROUP_CREATE, .group = unused, .mode = (uint8_t)(1 + below(u, 3)),
           .min_isr = 1 + (uint32_t)below(u, 3), .primary = present(u, n));
        break;
    case 2:
        if (below(u, 3) == 0)
            DO(GROUP_EPOCH, .group = id, .epoch = draw_epoch(u, g) + 1,
               .initial = below(u, 4) == 0);
        else
            DO(GROUP_DELETE, .group = id);
        break;
    case 3:
    case 4:
        DO(GROUP_MODE, .group = id, .mode = (uint8_t)(1 + below(u, 3)),
           .min_isr = 1 + (uint32_t)below(u, 3));
        break;
    case 5:
        (void)draw_members(u, g, below(u, 2) == 0 ? OUTSIDE : IN_SYNC, u->some);
        DO(REPLICA_REMOVE, .group = id, .node = u->some[0].node);
        break;
    default:
        DO(REPLICA_ADD, .group = id, .node = nid((uint8_t)(n + 1)));
    }
}

static void draw_promote(struct run *u, int g)
{
    uint8_t cause = (uint8_t)(1 + below(u, 4));
    enum place place = below(u, 3) == 0 ? ELIGIBLE : IN_SYNC;
    uint32_t drop = 0;
    (void)draw_members(u, g, place, u->others);
    struct topo_member to = u->others[0];
    if (cause == TOPO_RESTART && often(u))
        to.incarnation = u->m.node[node_index(to.node)].incarnation;
    if (cause == TOPO_RECOVER) to = present(u, node_index(to.node));
    if (cause < TOPO_RESTART && below(u, 2) == 0) drop = draw_members(u, g, IN_SYNC, u->some);
    u->others[1] = often(u) ? to : u->others[0];
    DO(PROMOTE, .group = gid((uint8_t)(g + 1)), .epoch = draw_epoch(u, g), .to = to, .cause = cause,
       .drop = u->some, .drop_count = drop, .fenced = u->others + 1,
       .fenced_count = often(u) ? 1 : 0, .log_intact = often(u), .note = bytes_of("note"));
}

static void draw_isr_entry(struct run *u)
{
    int g = draw_group(u);
    struct topo_id id = gid((uint8_t)(g + 1));
    uint32_t count = 0;
    switch (below(u, 5)) {
    case 0:
        count = draw_members(u, g, IN_SYNC, u->some);
        DO(ISR_SHRINK, .group = id, .epoch = draw_epoch(u, g), .out = u->some, .out_count = count,
           .by = primary_of(u, g), .by_leader = below(u, 2) == 0);
        break;
    case 1:
        draw_promote(u, g);
        break;
    default:
        count = draw_members(u, g, below(u, 4) == 0 ? ELIGIBLE : OUTSIDE, u->some);
        for (uint32_t i = 0; i < count; i++)
            u->some[i] = present(u, node_index(u->some[i].node));
        DO(ISR_GROW, .group = id, .epoch = draw_epoch(u, g), .in = u->some, .in_count = count,
           .by = primary_of(u, g));
    }
}

static void draw_slot_entry(struct run *u)
{
    int owner = NOBODY;
    uint32_t count = below(u, 2) == 0 ? draw_owned(u, &owner) : draw_ranges(u);
    struct topo_id id = owner == NOBODY ? draw_gid(u) : gid((uint8_t)(owner + 1));
    uint16_t slot = u->ranges[0].first;
    struct topo_id of_slot =
        u->m.owner[slot] != NOBODY && often(u) ? gid((uint8_t)(u->m.owner[slot] + 1)) : draw_gid(u);
    uint8_t mark = (uint8_t)(1 + below(u, 3));
    switch (below(u, 4)) {
    case 0: /* to nobody */
        DO(SLOT_ASSIGN, .ranges = u->ranges, .ranges_count = count, .expect_owner = id);
        break;
    case 1:
        DO(SLOT_ASSIGN, .ranges = u->ranges, .ranges_count = count, .group = draw_gid(u),
           .expect_owner = owner == NOBODY ? (struct topo_id){{0}} : id);
        break;
    case 2:
        DO(SLOT_ASSIGN, .ranges = u->ranges, .ranges_count = count, .group = draw_gid(u));
        break;
    default:
        DO(SLOT_MARK, .slot = slot, .mark = mark,
           .group = mark == TOPO_IMPORTING ? draw_gid(u) : of_slot, .peer = draw_gid(u));
    }
}

static void draw_plan_entry(struct run *u)
{
    int owner = NOBODY;
    uint32_t count = draw_owned(u, &owner);
    int source = owner == NOBODY ? draw_group(u) : owner;
    int target = draw_group(u);
    int p = (int)below(u, PLANS);
    for (int i = 0; i < PLANS && u->m.plan[p].state == 0 && below(u, 100) != 0; i++)
        p = (p + 1) % PLANS; /* mostly one that was planned */
    if (below(u, 3) == 0) {
        if (target == source) return;
        DO(MIG_PLAN, .id = mid((uint8_t)(1 + below(u, PLANS))), .ranges = u->ranges,
           .ranges_count = count, .source = gid((uint8_t)(source + 1)),
           .source_epoch = draw_epoch(u, source), .target = gid((uint8_t)(target + 1)),
           .target_epoch = draw_epoch(u, target), .limit = (uint32_t)below(u, 4));
        return;
    }
    for (int i = 0; i < PLANS && (u->m.plan[p].state == 0 || u->m.plan[p].state >= TOPO_MIG_DONE);
         i++)
        p = (p + 1) % PLANS;
    struct topo_id id = mid((uint8_t)(p + 1));
    int state = u->m.plan[p].state;
    if (below(u, 10) == 0)
        DO(MIG_ABORT, .id = id, .reason = bytes_of("why"));
    else if (state == TOPO_MIG_SWITCH || below(u, 10) == 0)
        DO(MIG_COMMIT, .id = id, .source_epoch = u->m.plan[p].source_epoch + (often(u) ? 0 : 1),
           .target_epoch = u->m.plan[p].target_epoch, .position = bytes_of("position"));
    else if (state >= TOPO_MIG_PLANNED && state < TOPO_MIG_SWITCH)
        DO(MIG_STEP, .id = id, .expect_state = (uint8_t)state, .state = (uint8_t)(state + 1));
    else
        DO(MIG_STEP, .id = id, .expect_state = TOPO_MIG_COPY, .state = TOPO_MIG_CATCHUP);
}

static void draw_item_entry(struct run *u)
{
    static const uint32_t types[SECTIONS] = {TOPO_CONFIG_SET, TOPO_ACL_SET, TOPO_FUNCTION_LOAD,
                                             TOPO_CATALOG_PUT, TOPO_CATALOG_PUT};
    static const uint32_t kinds[SECTIONS] = {0, 0, 0, TOPO_CATALOG_FT, TOPO_CATALOG_WS};
    uint32_t s = (uint32_t)below(u, SECTIONS);
    uint32_t k = (uint32_t)below(u, NAMES);
    char name = (char)('a' + k);
    uint64_t version = often(u) ? u->m.item[s][k] : below(u, 20);
    bool expect = below(u, 2) == 0;
    struct topo_item_put put = {.kind = kinds[s],
                                .name = bytes_view(&name, 1),
                                .value = bytes_view(u->entry.data, below(u, 30)),
                                .expect = expect,
                                .expect_version = version};
    struct topo_item_drop drop = {.kind = kinds[s],
                                  .name = bytes_view(&name, 1),
                                  .expect = expect && version > 0,
                                  .expect_version = version};
    uint8_t value[30];
    memcpy(value, u->entry.data, put.value.len);
    put.value.data = value;
    if (below(u, 20) == 0)
        DO(RESERVE, .kind = 1 + (uint32_t)below(u, 2), .count = 1 + (uint32_t)below(u, 9));
    else if (below(u, 3) == 0)
        run_entry(u, types[s] + 1, &drop);
    else
        run_entry(u, types[s], &put);
}

/* ---- runs */

static struct topology *copy_of(const struct topology *t)
{
    struct buf snapshot;
    struct buf why;
    struct topology *copy = NULL;
    buf_init(&snapshot, MEM_TEST);
    buf_init(&why, MEM_TEST);
    topo_snapshot(t, &snapshot);
    enum rc rc = topology_restore(buf_bytes(&snapshot), &copy, &why);
    if (rc != RC_OK) fail_msg("%s: %.*s", rc_text(rc), (int)why.len, (const char *)why.data);
    buf_free(&snapshot);
    buf_free(&why);
    return copy;
}

static void one_step(struct run *u)
{
    struct buf why;
    switch (below(u, 12)) {
    case 0:
    case 1:
    case 2:
        draw_node_entry(u);
        break;
    case 3:
    case 4:
        draw_group_entry(u);
        break;
    case 5:
    case 6:
        draw_isr_entry(u);
        break;
    case 7:
    case 8:
        draw_slot_entry(u);
        break;
    case 9:
    case 10:
        draw_plan_entry(u);
        break;
    default:
        draw_item_entry(u);
    }
    buf_init(&why, MEM_TEST);
    if (!topology_check(u->t, &why)) fail_msg("%.*s", (int)why.len, (const char *)why.data);
    buf_free(&why);
    model_compare(&u->m, u->t);
    assert_true(topo_hash(u->t) == topo_hash(u->twin));
    if (below(u, 8) != 0) return;
    struct topology *copy = copy_of(u->t);
    assert_true(topo_hash(copy) == topo_hash(u->t));
    struct topology **replaced = below(u, 2) == 0 ? &u->t : &u->twin;
    topology_free(*replaced);
    *replaced = copy;
}

static void run_seed(uint64_t seed)
{
    static struct run u;
    memset(&u, 0, sizeof u);
    rng_seed(&u.r, seed);
    buf_init(&u.entry, MEM_TEST);
    buf_grow(&u.entry, 64);
    model_init(&u.m);
    assert_int_equal(topology_new(&u.t), RC_OK);
    assert_int_equal(topology_new(&u.twin), RC_OK);
    for (uint32_t step = 0; step < STEPS; step++)
        one_step(&u);
    topology_free(u.t);
    topology_free(u.twin);
    buf_free(&u.entry);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
}

static void test_random_entries(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
    /* Both answers of every type were met, or the drawing is at fault. */
    for (uint32_t type = 0; type <= TOPO_TYPE_COUNT; type++) {
        if (topology__handler(type) == NULL) continue;
        print_message("%-16s %6u applied %6u refused\n", topology_entry_name(type),
                      applied_of[type], refused_of[type]);
    }
    for (uint32_t type = 0; type <= TOPO_TYPE_COUNT; type++) {
        if (topology__handler(type) == NULL) continue;
        assert_true(applied_of[type] > 4 || type == TOPO_FEATURE_LEVEL);
        assert_true(refused_of[type] > 4 || type == TOPO_RESERVE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_entries)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
