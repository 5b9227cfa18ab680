/* A slot map is one block: the struct, its arrays, its strings. It is made in two walks over the topology:
 * one that counts, one that fills. */
#include "cluster/slotmap.h"

#include "shard/base/assert.h"
#include "shard/base/limits.h"

static_assert(TOPOLOGY_NODES_MAX < SLOTMAP_NONE, "an index is 16 bits");
static_assert(TOPOLOGY_GROUPS_MAX < SLOTMAP_NONE, "an index is 16 bits");

/* ---- sizes */

struct sizes {
    size_t nodes, groups, members, ranges, marks, text;
};

static struct sizes sizes_of(const struct topology *t)
{
    struct sizes s = {
        .nodes = topology_nodes(t), .groups = topology_groups(t), .marks = topology_marks(t)};
    const struct topo_group *owner = NULL;
    struct topo_range range;
    for (uint32_t i = 0; i < s.nodes; i++) {
        const struct topo_node_info *info = &topology_node_at(t, i)->info;
        s.text += info->ip.len + info->hostname.len + info->az.len;
    }
    for (uint32_t i = 0; i < s.groups; i++)
        s.members += topology_group_at(t, i)->members_count;
    for (uint32_t from = 0; topology_next_range(t, from, &range, &owner); from = range.last + 1u)
        s.ranges++;
    return s;
}

/* Where arrays go, one behind the other, the widest first. */
static void *take(uint8_t **at, size_t bytes)
{
    void *p = *at;
    *at += (bytes + 7) & ~(size_t)7;
    return p;
}

/* ---- filling */

struct filler {
    const struct topology *t;
    struct slotmap *m;
    struct slotmap_node *nodes;
    struct slotmap_group *groups;
    uint16_t *members;
    struct topo_range *ranges;
    uint16_t *rising;
    struct topo_slot_marks *marks;
    uint8_t *text;
    uint16_t by_handle[TOPOLOGY_GROUPS_MAX]; /* of a topology's group → its index here */
};

static struct bytes copy_text(struct filler *f, struct bytes from)
{
    struct bytes to = bytes_view(f->text, from.len);
    if (from.len > 0) memcpy(f->text, from.data, from.len);
    f->text += from.len;
    return to;
}

static void fill_nodes(struct filler *f)
{
    for (uint32_t i = 0; i < f->m->nodes_count; i++) {
        const struct topo_node *from = topology_node_at(f->t, i);
        struct slotmap_node *to = &f->nodes[i];
        *to = (struct slotmap_node){.info = from->info, .down = from->down, .group = SLOTMAP_NONE};
        to->info.ip = copy_text(f, from->info.ip);
        to->info.hostname = copy_text(f, from->info.hostname);
        to->info.az = copy_text(f, from->info.az);
    }
}

static void fill_groups(struct filler *f)
{
    uint16_t at = 0;
    for (uint16_t g = 0; g < f->m->groups_count; g++) {
        const struct topo_group *from = topology_group_at(f->t, g);
        uint16_t primary = slotmap_node_find(f->m, from->primary);
        f->by_handle[from->handle] = g;
        f->groups[g] = (struct slotmap_group){.id = from->id,
                                              .epoch = from->epoch,
                                              .mode = from->mode,
                                              .primary = primary,
                                              .first_member = at,
                                              .members_count = (uint16_t)from->members_count};
        if (from->epoch > f->m->epoch) f->m->epoch = from->epoch;
        f->members[at++] = primary;
        for (uint32_t i = 0; i < from->members_count; i++) {
            uint16_t node = slotmap_node_find(f->m, from->members[i].node);
            assert(node != SLOTMAP_NONE);
            f->nodes[node].group = g;
            if (node != primary) f->members[at++] = node;
        }
    }
}

/* Ranges in rising order, counted per group; then each to its group's part, in the same order. */
static void fill_ranges(struct filler *f)
{
    const struct topo_group *owner = NULL;
    struct topo_range range;
    for (uint32_t from = 0; topology_next_range(f->t, from, &range, &owner);
         from = range.last + 1u) {
        uint16_t g = f->by_handle[owner->handle];
        uint16_t slots = (uint16_t)(range.last - range.first + 1);
        for (uint32_t slot = range.first; slot <= range.last; slot++)
            f->m->group_of[slot] = g;
        f->groups[g].ranges_count++;
        f->groups[g].slots_count = (uint16_t)(f->groups[g].slots_count + slots);
        f->m->slots_count += slots;
    }
    uint16_t at = 0;
    for (uint32_t g = 0; g < f->m->groups_count; g++) {
        f->groups[g].first_range = at;
        at = (uint16_t)(at + f->groups[g].ranges_count);
        f->groups[g].ranges_count = 0;
    }
    uint32_t nth = 0;
    for (uint32_t from = 0; topology_next_range(f->t, from, &range, &owner);
         from = range.last + 1u) {
        struct slotmap_group *g = &f->groups[f->m->group_of[range.first]];
        uint16_t place = (uint16_t)(g->first_range + g->ranges_count++);
        f->ranges[place] = range;
        f->rising[nth++] = place;
    }
}

enum rc slotmap_build(const struct topology *t, struct slotmap **out)
{
    struct sizes s = sizes_of(t);
    struct filler f;
    size_t bytes = sizeof *f.m + s.nodes * sizeof *f.nodes + s.groups * sizeof *f.groups +
                   s.members * sizeof *f.members +
                   s.ranges * (sizeof *f.ranges + sizeof *f.rising) + s.marks * sizeof *f.marks +
                   s.text + sizeof(uint64_t) * 7; /* to be aligned */
    f.t = t;
    f.m = mem_try_alloc(MEM_CLUSTER, bytes);
    if (f.m == NULL) return RC_NOMEM;
    uint8_t *at = (uint8_t *)(f.m + 1);
    f.m->nodes = f.nodes = take(&at, s.nodes * sizeof *f.nodes);
    f.m->groups = f.groups = take(&at, s.groups * sizeof *f.groups);
    f.m->ranges = f.ranges = take(&at, s.ranges * sizeof *f.ranges);
    f.m->marks = f.marks = take(&at, s.marks * sizeof *f.marks);
    f.m->members = f.members = take(&at, s.members * sizeof *f.members);
    f.m->rising = f.rising = take(&at, s.ranges * sizeof *f.rising);
    f.text = take(&at, s.text);
    assert((size_t)(at - (uint8_t *)f.m) <= bytes);
    atomic_init(&f.m->references, 1);
    f.m->bytes = bytes;
    f.m->version = topology_version(t);
    f.m->map_version = topology_map_version(t);
    f.m->cluster_id = topology_cluster_id(t);
    f.m->nodes_count = (uint32_t)s.nodes;
    f.m->groups_count = (uint32_t)s.groups;
    f.m->ranges_count = (uint32_t)s.ranges;
    f.m->marks_count = (uint32_t)s.marks;
    f.m->slots_count = 0;
    f.m->epoch = 0;
    memset(f.m->group_of, 0xff, sizeof f.m->group_of);
    fill_nodes(&f);
    fill_groups(&f);
    fill_ranges(&f);
    for (uint32_t i = 0; i < s.marks; i++)
        f.marks[i] = *topology_mark_at(t, i);
    *out = f.m;
    return RC_OK;
}

struct slotmap *slotmap_hold(struct slotmap *m)
{
    uint32_t before = atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed);
    assert(before > 0);
    return m;
}

void slotmap_release(struct slotmap *m)
{
    if (m == NULL) return;
    uint32_t before = atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) mem_free(MEM_CLUSTER, m, m->bytes);
}

/* ---- finding: both arrays rise */

uint16_t slotmap_node_find(const struct slotmap *m, struct topo_id id)
{
    uint32_t low = 0;
    uint32_t high = m->nodes_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = topo_id_compare(id, m->nodes[middle].info.id);
        if (order == 0) return (uint16_t)middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return SLOTMAP_NONE;
}

uint16_t slotmap_group_find(const struct slotmap *m, struct topo_id id)
{
    uint32_t low = 0;
    uint32_t high = m->groups_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = topo_id_compare(id, m->groups[middle].id);
        if (order == 0) return (uint16_t)middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return SLOTMAP_NONE;
}
