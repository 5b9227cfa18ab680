/* Every relation between the parts of a topology. Restoring a snapshot ends with it, tests call it after
 * every entry. */
#include "cluster/topology_priv.h"

static bool wrong(struct buf *why, const char *what, struct topo_id id)
{
    buf_addf(why, "%s: %s", topo_id_hex(id).text, what);
    return false;
}

static bool check_nodes(const struct topology *t, struct buf *why)
{
    for (uint32_t i = 0; i < t->nodes.count; i++) {
        const struct topo_node *n = t->nodes.at[i];
        const struct topo_node *before = i > 0 ? t->nodes.at[i - 1] : NULL;
        if (before != NULL && topo_id_compare(before->info.id, n->info.id) >= 0)
            return wrong(why, "nodes do not rise", n->info.id);
        if (n->number == 0 || n->number >= t->next_node_number)
            return wrong(why, "a node's number was not handed out", n->info.id);
        if ((n->req_ok & ~n->req_seen) != 0 || (n->req_seen & 1) != (n->req_highest > 0))
            return wrong(why, "requests that were not seen", n->info.id);
        for (uint32_t k = 0; k < i; k++)
            if (((const struct topo_node *)t->nodes.at[k])->number == n->number)
                return wrong(why, "two nodes with one number", n->info.id);
    }
    return true;
}

static bool check_member(const struct topology *t, const struct topo_group *g, uint32_t i,
                         struct buf *why)
{
    const struct topo_group_member *m = &g->members[i];
    const struct topo_node *n = topology__node(t, m->node);
    if (n == NULL) return wrong(why, "a member is no node", g->id);
    if (i > 0 && topo_id_compare(g->members[i - 1].node, m->node) >= 0)
        return wrong(why, "members do not rise", g->id);
    if (m->standing > TOPO_ELIGIBLE) return wrong(why, "no such standing of a member", g->id);
    if ((m->standing == TOPO_OUTSIDE) != (m->incarnation == 0))
        return wrong(why, "a standing without a life, or a life without one", g->id);
    if (m->incarnation > n->info.incarnation)
        return wrong(why, "a member's life has not begun", g->id);
    return true;
}

/* `seen`: nodes that other groups have, by their place. */
static bool check_group(const struct topology *t, const struct topo_group *g, bool *seen,
                        struct buf *why)
{
    const struct topo_group_member *primary = topology__member(g, g->primary);
    if (topology__mode_fault(g->mode, g->min_isr) != NULL)
        return wrong(why, "no such mode or min_isr", g->id);
    if (primary == NULL || primary->standing != TOPO_IN_SYNC)
        return wrong(why, "the primary is not in sync", g->id);
    for (uint32_t i = 0; i < g->members_count; i++) {
        bool found = false;
        if (!check_member(t, g, i, why)) return false;
        uint32_t place = topology__node_place(t, g->members[i].node, &found);
        if (seen[place]) return wrong(why, "a node in two groups", g->members[i].node);
        seen[place] = true;
        if (g->members[i].standing == TOPO_ELIGIBLE && topo_group_isr(g) >= g->min_isr)
            return wrong(why, "eligible members beside enough in sync", g->id);
    }
    return true;
}

static bool check_groups(const struct topology *t, struct buf *why)
{
    bool seen[TOPOLOGY_NODES_MAX] = {false};
    for (uint32_t i = 0; i < t->groups.count; i++) {
        const struct topo_group *g = t->groups.at[i];
        const struct topo_group *before = i > 0 ? t->groups.at[i - 1] : NULL;
        if (before != NULL && topo_id_compare(before->id, g->id) >= 0)
            return wrong(why, "groups do not rise", g->id);
        if (!check_group(t, g, seen, why)) return false;
    }
    return true;
}

static bool check_slots(const struct topology *t, struct buf *why)
{
    uint16_t counts[TOPOLOGY_GROUPS_MAX] = {0};
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t handle = t->slot_handle[slot];
        if (handle == NO_HANDLE) continue;
        if (handle >= t->handles.count || t->handles.at[handle] == NULL) {
            buf_addf(why, "slot %u: owned by nobody known", slot);
            return false;
        }
        counts[handle]++;
    }
    for (uint32_t i = 0; i < t->groups.count; i++) {
        const struct topo_group *g = t->groups.at[i];
        if (t->handles.at[g->handle] != g || counts[g->handle] != g->slots_count)
            return wrong(why, "its count of slots is wrong", g->id);
    }
    return true;
}

static bool known_or_none(const struct topology *t, struct topo_id id)
{
    return topo_id_is_none(id) || topology__group(t, id) != NULL;
}

static bool check_marks(const struct topology *t, struct buf *why)
{
    const char *text = NULL;
    for (uint32_t i = 0; text == NULL && i < t->marks_count; i++) {
        const struct topo_slot_marks *m = &t->marks[i];
        const struct topo_group *owner = topology__owner(t, m->slot);
        bool migrating = !topo_id_is_none(m->migrating_to);
        bool importing = !topo_id_is_none(m->importing_to);
        if (i > 0 && t->marks[i - 1].slot >= m->slot) text = "marks do not rise";
        if (!migrating && !importing) text = "marks that say nothing";
        if (importing != !topo_id_is_none(m->importing_from)) text = "half an importing mark";
        if (!known_or_none(t, m->migrating_to) || !known_or_none(t, m->importing_to) ||
            !known_or_none(t, m->importing_from))
            text = "marks that name no group";
        if (migrating && (owner == NULL || topo_id_equal(owner->id, m->migrating_to)))
            text = "a migrating mark without an owner, or to its owner";
        if (importing && owner != NULL && topo_id_equal(owner->id, m->importing_to))
            text = "its owner imports it";
        if (importing && topo_id_equal(m->importing_to, m->importing_from))
            text = "it is imported from its importer";
        if (text != NULL) buf_addf(why, "slot %u: %s", m->slot, text);
    }
    return text == NULL;
}

/* `moving`: a bit for each slot of the open migrations so far. */
static bool check_open(const struct topology *t, const struct topo_migration *m, uint64_t *moving,
                       struct buf *why)
{
    const struct topo_group *source = topology__group(t, m->source);
    if (source == NULL || topology__group(t, m->target) == NULL ||
        topo_id_equal(m->source, m->target))
        return wrong(why, "a migration without two groups", m->id);
    for (uint32_t i = 0; i < m->ranges_count; i++) {
        for (uint32_t slot = m->ranges[i].first; slot <= m->ranges[i].last; slot++) {
            bool marked = false;
            (void)topology__mark_place(t, (uint16_t)slot, &marked);
            if (topology__owner(t, (uint16_t)slot) != source)
                return wrong(why, "it moves what its source does not own", m->id);
            uint64_t bit = UINT64_C(1) << slot % 64;
            if (marked || (moving[slot / 64] & bit) != 0)
                return wrong(why, "its slots are moved twice", m->id);
            moving[slot / 64] |= bit;
        }
    }
    return true;
}

static bool check_migrations(const struct topology *t, struct buf *why)
{
    uint64_t moving[SLOT_COUNT / 64] = {0};
    uint32_t finished = 0;
    for (uint32_t i = 0; i < t->migrations.count; i++) {
        const struct topo_migration *m = t->migrations.at[i];
        const struct topo_migration *before = i > 0 ? t->migrations.at[i - 1] : NULL;
        if (before != NULL && topo_id_compare(before->id, m->id) >= 0)
            return wrong(why, "migrations do not rise", m->id);
        if (m->planned == 0 || m->planned > m->changed || m->changed > t->version)
            return wrong(why, "a migration of no version", m->id);
        if (!topology__migration_open(m))
            finished++;
        else if (!check_open(t, m, moving, why))
            return false;
    }
    if (finished > TOPOLOGY_MIGRATIONS_KEPT) {
        buf_addf(why, "%u finished migrations are kept", finished);
        return false;
    }
    return true;
}

static bool check_items(const struct topology *t, struct buf *why)
{
    const char *text = NULL;
    for (uint32_t i = 0; text == NULL && i < t->items.count; i++) {
        const struct topo_item *item = t->items.at[i];
        bool found = false;
        bool catalog = item->section == TOPO_CATALOG;
        if (item->section < TOPO_CONFIG || item->section > TOPO_CATALOG)
            text = "no such section";
        else if (item->version == 0 || item->version > t->section_version[item->section])
            text = "its version is not its section's";
        if (catalog != (item->kind != 0) || item->kind > TOPO_CATALOG_CDC) text = "no such kind";
        if (topology__item_place(t, item, &found) != i || !found) text = "items do not rise";
        if (text != NULL) buf_addf(why, "definition %u: %s", i, text);
    }
    return text == NULL;
}

static bool check_head(const struct topology *t, struct buf *why)
{
    const char *text = NULL;
    bool parts = t->nodes.count + t->groups.count + t->items.count + t->forgotten_count > 0;
    if (!t->initialised && parts) text = "a cluster without an id has parts";
    if (t->level == 0) text = "feature levels begin at 1";
    if (t->map_version > t->version) text = "the map is of a later version";
    if (t->next_node_number == 0 || t->next_coordinator == 0) text = "numbers begin at 1";
    for (uint32_t s = 0; s < TOPO_SECTIONS; s++)
        if (t->section_version[s] > t->version) text = "a section is of a later version";
    if (text != NULL) buf_addf(why, "%s", text);
    return text == NULL;
}

bool topology_check(const struct topology *t, struct buf *why_out)
{
    return check_head(t, why_out) && check_nodes(t, why_out) && check_groups(t, why_out) &&
           check_slots(t, why_out) && check_marks(t, why_out) && check_migrations(t, why_out) &&
           check_items(t, why_out);
}
