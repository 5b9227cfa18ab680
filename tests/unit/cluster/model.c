#include "tests/unit/cluster/model.h"

static int index_of(struct topo_id id, uint8_t first, int count)
{
    for (int i = 0; i < count; i++) {
        struct topo_id one = first == 0 ? nid((uint8_t)(i + 1)) : gid((uint8_t)(i + 1));
        if (topo_id_equal(id, one)) return i;
    }
    return NOBODY;
}

int node_index(struct topo_id id)
{
    return index_of(id, 0, NODES);
}

int group_index(struct topo_id id)
{
    return index_of(id, 0x80, GROUPS);
}

static int plan_index(struct topo_id id)
{
    for (int i = 0; i < PLANS; i++)
        if (topo_id_equal(id, mid((uint8_t)(i + 1)))) return i;
    return NOBODY;
}

void model_init(struct model *m)
{
    *m = (struct model){.next_number = 1, .next_coordinator = 1};
    for (uint32_t s = 0; s < SLOT_COUNT; s++) {
        m->owner[s] = NOBODY;
        m->mark[s].migrating_to = m->mark[s].importing_to = m->mark[s].importing_from = NOBODY;
    }
}

/* ---- looking */

static bool known(const struct model *m, int n)
{
    return n != NOBODY && m->node[n].known;
}

static bool exists(const struct model *m, int g)
{
    return g != NOBODY && m->group[g].exists;
}

int members_in(const struct model *m, int g, enum place place)
{
    int count = 0;
    for (int n = 0; n < NODES; n++)
        count += m->group[g].place[n] == place;
    return count;
}

static int member_count(const struct model *m, int g)
{
    return NODES - members_in(m, g, NOT_MEMBER);
}

static int group_with(const struct model *m, int n)
{
    for (int g = 0; g < GROUPS; g++)
        if (m->group[g].exists && m->group[g].place[n] != NOT_MEMBER) return g;
    return NOBODY;
}

static bool owns_slots(const struct model *m, int g)
{
    for (uint32_t s = 0; s < SLOT_COUNT; s++)
        if (m->owner[s] == g) return true;
    return false;
}

static bool is_open(const struct model *m, int p)
{
    return m->plan[p].state >= TOPO_MIG_PLANNED && m->plan[p].state <= TOPO_MIG_SWITCH;
}

static bool is_named(const struct model *m, int g)
{
    for (int p = 0; p < PLANS; p++)
        if (is_open(m, p) && (m->plan[p].source == g || m->plan[p].target == g)) return true;
    for (uint32_t s = 0; s < SLOT_COUNT; s++)
        if (m->mark[s].migrating_to == g || m->mark[s].importing_to == g ||
            m->mark[s].importing_from == g)
            return true;
    return false;
}

static bool is_moving(const struct model *m, uint32_t slot)
{
    for (int p = 0; p < PLANS; p++) {
        if (!is_open(m, p)) continue;
        for (uint32_t i = 0; i < m->plan[p].ranges_count; i++)
            if (slot >= m->plan[p].ranges[i].first && slot <= m->plan[p].ranges[i].last)
                return true;
    }
    return false;
}

static bool is_present(const struct model *m, struct topo_member who)
{
    int n = node_index(who.node);
    return known(m, n) && m->node[n].incarnation == who.incarnation;
}

/* Member n of group g is there, in that life. */
static bool stands(const struct model *m, int g, struct topo_member who, enum place place)
{
    int n = node_index(who.node);
    return n != NOBODY && m->group[g].place[n] == place && m->group[g].life[n] == who.incarnation;
}

static bool twice(const struct topo_member *list, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (topo_id_equal(list[k].node, list[i].node) && list[k].incarnation == list[i].incarnation)
            return true;
    return false;
}

/* ---- nodes */

static bool may_join(const struct model *m, const struct topo_node_info *info)
{
    int n = node_index(info->id);
    return !m->node[n].known && info->incarnation > m->node[n].forgotten;
}

static void join(struct model *m, int n, uint64_t incarnation)
{
    m->node[n].known = true;
    m->node[n].down = false;
    m->node[n].incarnation = incarnation;
    m->node[n].number = m->next_number++;
}

static bool node_join(struct model *m, const struct topo_node_join *b)
{
    int n = node_index(b->node.id);
    if (known(m, n)) {
        if (b->node.incarnation <= m->node[n].incarnation) return false;
        m->node[n].incarnation = b->node.incarnation;
        m->node[n].down = false;
        return true;
    }
    if (!may_join(m, &b->node)) return false;
    join(m, n, b->node.incarnation);
    return true;
}

static bool node_update(struct model *m, const struct topo_node_update *b)
{
    int n = node_index(b->node.id);
    if (!known(m, n) || b->node.incarnation < m->node[n].incarnation) return false;
    if (b->node.incarnation > m->node[n].incarnation) m->node[n].down = false;
    m->node[n].incarnation = b->node.incarnation;
    return true;
}

static bool node_health(struct model *m, const struct topo_node_health *b)
{
    int n = node_index(b->node);
    if (!known(m, n) || m->node[n].incarnation != b->incarnation) return false;
    m->node[n].down = b->down;
    return true;
}

static bool node_forget(struct model *m, const struct topo_node_forget *b)
{
    int n = node_index(b->node);
    int others = 0;
    for (int k = 0; k < NODES; k++)
        others += k != n && m->node[k].known;
    if (!known(m, n) || others == 0) return false;
    int g = group_with(m, n);
    if (g != NOBODY && m->group[g].primary == n) {
        if (owns_slots(m, g) || member_count(m, g) > 1 || is_named(m, g)) return false;
        memset(&m->group[g], 0, sizeof m->group[g]);
    } else if (g != NOBODY) {
        if (m->group[g].place[n] != OUTSIDE) return false;
        m->group[g].place[n] = NOT_MEMBER;
    }
    m->node[n].known = false;
    m->node[n].forgotten = m->node[n].incarnation;
    return true;
}

static void new_group(struct model *m, int g, int mode, int min_isr, int n)
{
    memset(&m->group[g], 0, sizeof m->group[g]);
    m->group[g].exists = true;
    m->group[g].mode = mode;
    m->group[g].min_isr = min_isr;
    m->group[g].primary = n;
    m->group[g].place[n] = IN_SYNC;
    m->group[g].life[n] = m->node[n].incarnation;
}

static bool absorb(struct model *m, const struct topo_absorb *b)
{
    int n = node_index(b->node.id);
    int g = group_index(b->group);
    if (known(m, n) || !may_join(m, &b->node) || exists(m, g)) return false;
    for (uint32_t i = 0; i < b->ranges_count; i++)
        for (uint32_t s = b->ranges[i].first; s <= b->ranges[i].last; s++)
            if (m->owner[s] != NOBODY) return false;
    join(m, n, b->node.incarnation);
    new_group(m, g, b->mode, (int)b->min_isr, n);
    m->group[g].epoch = b->epoch;
    m->group[g].history = b->history;
    for (uint32_t i = 0; i < b->ranges_count; i++)
        for (uint32_t s = b->ranges[i].first; s <= b->ranges[i].last; s++)
            m->owner[s] = g;
    return true;
}

/* ---- groups */

static bool group_create(struct model *m, const struct topo_group_create *b)
{
    int g = group_index(b->group);
    int n = node_index(b->primary.node);
    if (exists(m, g) || !is_present(m, b->primary) || group_with(m, n) != NOBODY) return false;
    new_group(m, g, b->mode, (int)b->min_isr, n);
    return true;
}

static bool group_delete(struct model *m, const struct topo_group_delete *b)
{
    int g = group_index(b->group);
    if (!exists(m, g) || owns_slots(m, g) || is_named(m, g)) return false;
    memset(&m->group[g], 0, sizeof m->group[g]);
    return true;
}

/* Nobody is eligible while enough are in sync. */
static void settle(struct model *m, int g)
{
    if (members_in(m, g, IN_SYNC) < m->group[g].min_isr) return;
    for (int n = 0; n < NODES; n++)
        if (m->group[g].place[n] == ELIGIBLE) m->group[g].place[n] = OUTSIDE;
}

static bool group_mode(struct model *m, const struct topo_group_mode *b)
{
    int g = group_index(b->group);
    if (!exists(m, g)) return false;
    if (b->mode != TOPO_ASYNC && members_in(m, g, IN_SYNC) < (int)b->min_isr) return false;
    m->group[g].mode = b->mode;
    m->group[g].min_isr = (int)b->min_isr;
    settle(m, g);
    return true;
}

static bool group_epoch(struct model *m, const struct topo_group_epoch *b)
{
    int g = group_index(b->group);
    int nodes = 0;
    for (int n = 0; n < NODES; n++)
        nodes += m->node[n].known;
    if (!exists(m, g)) return false;
    if (b->initial ? nodes != 1 || m->group[g].epoch != 0 : b->epoch <= m->group[g].epoch)
        return false;
    m->group[g].epoch = b->epoch;
    return true;
}

static bool may_leave(const struct model *m, int g, int n)
{
    if (m->group[g].primary == n)
        return !owns_slots(m, g) && member_count(m, g) == 1 && !is_named(m, g);
    if (m->group[g].place[n] == ELIGIBLE) return false;
    return m->group[g].place[n] == OUTSIDE || members_in(m, g, IN_SYNC) > m->group[g].min_isr;
}

static void leave(struct model *m, int g, int n)
{
    if (m->group[g].primary == n) {
        memset(&m->group[g], 0, sizeof m->group[g]);
        return;
    }
    if (m->group[g].place[n] == IN_SYNC) m->group[g].epoch++;
    m->group[g].place[n] = NOT_MEMBER;
}

static bool replica_add(struct model *m, const struct topo_replica_add *b)
{
    int g = group_index(b->group);
    int n = node_index(b->node);
    if (!exists(m, g) || !known(m, n)) return false;
    int old = group_with(m, n);
    if (old == g || (old != NOBODY && !may_leave(m, old, n))) return false;
    if (old != NOBODY) leave(m, old, n);
    m->group[g].place[n] = OUTSIDE;
    return true;
}

static bool replica_remove(struct model *m, const struct topo_replica_remove *b)
{
    int g = group_index(b->group);
    int n = node_index(b->node);
    if (!exists(m, g) || n == NOBODY || m->group[g].place[n] == NOT_MEMBER) return false;
    if (m->group[g].primary == n || !may_leave(m, g, n)) return false;
    leave(m, g, n);
    return true;
}

static bool by_primary(const struct model *m, int g, struct topo_member by)
{
    return node_index(by.node) == m->group[g].primary && is_present(m, by) &&
           m->group[g].life[m->group[g].primary] == by.incarnation;
}

static bool in_sync_each_once(const struct model *m, int g, const struct topo_member *list,
                              uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!stands(m, g, list[i], IN_SYNC) || twice(list, i)) return false;
    return true;
}

static bool isr_shrink(struct model *m, const struct topo_isr_shrink *b)
{
    int g = group_index(b->group);
    if (!exists(m, g) || m->group[g].epoch != b->epoch) return false;
    if (!b->by_leader && !by_primary(m, g, b->by)) return false;
    if (!in_sync_each_once(m, g, b->out, b->out_count)) return false;
    int left = members_in(m, g, IN_SYNC) - (int)b->out_count;
    for (uint32_t i = 0; i < b->out_count; i++)
        if (node_index(b->out[i].node) == m->group[g].primary) return false;
    for (uint32_t i = 0; i < b->out_count; i++)
        m->group[g].place[node_index(b->out[i].node)] =
            left < m->group[g].min_isr ? ELIGIBLE : OUTSIDE;
    m->group[g].epoch++;
    return true;
}

static bool isr_grow(struct model *m, const struct topo_isr_grow *b)
{
    int g = group_index(b->group);
    if (!exists(m, g) || m->group[g].epoch != b->epoch || !by_primary(m, g, b->by)) return false;
    for (uint32_t i = 0; i < b->in_count; i++) {
        int n = node_index(b->in[i].node);
        if (n == NOBODY || m->group[g].place[n] == NOT_MEMBER || !is_present(m, b->in[i]))
            return false;
        if (twice(b->in, i) || stands(m, g, b->in[i], IN_SYNC)) return false;
    }
    for (uint32_t i = 0; i < b->in_count; i++) {
        int n = node_index(b->in[i].node);
        m->group[g].place[n] = IN_SYNC;
        m->group[g].life[n] = b->in[i].incarnation;
    }
    settle(m, g);
    m->group[g].epoch++;
    return true;
}

static bool may_lead(const struct model *m, int g, int n, const struct topo_promote *b)
{
    enum place place = m->group[g].place[n];
    uint64_t life = m->group[g].life[n];
    bool standing = place == IN_SYNC || place == ELIGIBLE;
    if (place == NOT_MEMBER || m->node[n].down) return false;
    if (b->cause == TOPO_RECOVER) return true;
    if (b->cause != TOPO_RESTART) {
        bool fenced = false;
        for (uint32_t i = 0; i < b->fenced_count; i++)
            fenced |= topo_id_equal(b->fenced[i].node, b->to.node) &&
                      b->fenced[i].incarnation == b->to.incarnation;
        return standing && life == b->to.incarnation && fenced;
    }
    if (!standing || life >= b->to.incarnation || !b->log_intact) return false;
    for (int k = 0; k < NODES; k++) {
        if (k == n || (m->group[g].place[k] != IN_SYNC && m->group[g].place[k] != ELIGIBLE))
            continue;
        if (m->group[g].mode != TOPO_SYNC_FSYNC || m->group[g].life[k] == m->node[k].incarnation)
            return false;
    }
    return true;
}

static bool promote(struct model *m, const struct topo_promote *b)
{
    int g = group_index(b->group);
    int n = node_index(b->to.node);
    if (!exists(m, g) || m->group[g].epoch != b->epoch || !is_present(m, b->to)) return false;
    if (!may_lead(m, g, n, b)) return false;
    if (!in_sync_each_once(m, g, b->drop, b->drop_count)) return false;
    for (uint32_t i = 0; i < b->drop_count; i++)
        if (node_index(b->drop[i].node) == n && b->drop[i].incarnation == b->to.incarnation)
            return false;
    m->group[g].place[n] = IN_SYNC;
    m->group[g].life[n] = b->to.incarnation;
    bool alone = b->cause == TOPO_RESTART || b->cause == TOPO_RECOVER;
    int left = alone ? 1 : members_in(m, g, IN_SYNC) - (int)b->drop_count;
    enum place to = left < m->group[g].min_isr ? ELIGIBLE : OUTSIDE;
    for (uint32_t i = 0; i < b->drop_count; i++)
        m->group[g].place[node_index(b->drop[i].node)] = to;
    for (int k = 0; k < NODES; k++) {
        if (k == n || m->group[g].place[k] == NOT_MEMBER) continue;
        if (b->cause == TOPO_RECOVER) m->group[g].place[k] = OUTSIDE;
        if (b->cause == TOPO_RESTART && m->group[g].place[k] == IN_SYNC) m->group[g].place[k] = to;
    }
    settle(m, g);
    m->group[g].primary = n;
    m->group[g].epoch++;
    m->group[g].history++;
    return true;
}

/* ---- slots */

static bool slot_assign(struct model *m, const struct topo_slot_assign *b)
{
    int g = topo_id_is_none(b->group) ? NOBODY : group_index(b->group);
    int expect = topo_id_is_none(b->expect_owner) ? NOBODY : group_index(b->expect_owner);
    bool take = topo_id_is_none(b->group);
    bool lost[GROUPS] = {false};
    bool any = false;
    if (!take && !exists(m, g)) return false;
    for (uint32_t i = 0; i < b->ranges_count; i++) {
        for (uint32_t s = b->ranges[i].first; s <= b->ranges[i].last; s++) {
            int o = m->owner[s];
            if (is_moving(m, s)) return false;
            if (o == NOBODY ? take : expect == NOBODY || o != expect) return false;
        }
    }
    for (uint32_t i = 0; i < b->ranges_count; i++) {
        for (uint32_t s = b->ranges[i].first; s <= b->ranges[i].last; s++) {
            if (m->owner[s] != NOBODY && m->owner[s] != g) any = lost[m->owner[s]] = true;
            m->owner[s] = g;
            m->mark[s].migrating_to = m->mark[s].importing_to = m->mark[s].importing_from = NOBODY;
        }
    }
    for (int k = 0; k < GROUPS; k++)
        m->group[k].epoch += lost[k];
    if (any && g != NOBODY) m->group[g].epoch++;
    return true;
}

static bool slot_mark(struct model *m, const struct topo_slot_mark *b)
{
    int g = group_index(b->group);
    int peer = group_index(b->peer);
    uint16_t s = b->slot;
    if (!exists(m, g) || is_moving(m, s)) return false;
    if (b->mark == TOPO_STABLE) {
        if (m->mark[s].importing_to == g)
            m->mark[s].importing_to = m->mark[s].importing_from = NOBODY;
        else
            m->mark[s].migrating_to = NOBODY;
        return true;
    }
    if (!exists(m, peer) || peer == g) return false;
    if (b->mark == TOPO_MIGRATING) {
        if (m->owner[s] != g) return false;
        m->mark[s].migrating_to = peer;
        return true;
    }
    if (m->owner[s] == g) return false;
    if (m->mark[s].importing_to != NOBODY && m->mark[s].importing_to != g) return false;
    m->mark[s].importing_to = g;
    m->mark[s].importing_from = peer;
    return true;
}

static bool mig_plan(struct model *m, const struct topo_mig_plan *b)
{
    int p = plan_index(b->id);
    int source = group_index(b->source);
    int target = group_index(b->target);
    uint32_t sources = 0;
    uint32_t targets = 0;
    if (m->plan[p].state != 0 && !m->plan[p].forgotten) return false;
    if (!exists(m, source) || !exists(m, target)) return false;
    if (m->group[source].epoch != b->source_epoch || m->group[target].epoch != b->target_epoch)
        return false;
    for (uint32_t i = 0; i < b->ranges_count; i++)
        for (uint32_t s = b->ranges[i].first; s <= b->ranges[i].last; s++)
            if (m->owner[s] != source || is_moving(m, s) || m->mark[s].migrating_to != NOBODY ||
                m->mark[s].importing_to != NOBODY)
                return false;
    for (int k = 0; k < PLANS; k++) {
        sources += is_open(m, k) && m->plan[k].source == source;
        targets += is_open(m, k) && m->plan[k].target == target;
    }
    uint32_t limit = b->limit == 0 ? 1 : b->limit;
    if (sources >= limit || targets >= limit) return false;
    memset(&m->plan[p], 0, sizeof m->plan[p]);
    m->plan[p].state = TOPO_MIG_PLANNED;
    m->plan[p].source = source;
    m->plan[p].target = target;
    m->plan[p].source_epoch = b->source_epoch;
    m->plan[p].target_epoch = b->target_epoch;
    m->plan[p].ranges_count = b->ranges_count;
    memcpy(m->plan[p].ranges, b->ranges, b->ranges_count * sizeof *b->ranges);
    return true;
}

static bool mig_step(struct model *m, const struct topo_mig_step *b)
{
    int p = plan_index(b->id);
    if (!is_open(m, p) || m->plan[p].state != b->expect_state) return false;
    m->plan[p].state = b->state;
    return true;
}

static void end_plan(struct model *m, int p, int state)
{
    int kept = 0;
    int first = NOBODY;
    m->plan[p].state = state;
    m->plan[p].ended = m->version + 1;
    for (int k = 0; k < PLANS; k++) {
        if (m->plan[k].state < TOPO_MIG_DONE || m->plan[k].forgotten) continue;
        kept++;
        if (first == NOBODY || m->plan[k].ended < m->plan[first].ended) first = k;
    }
    if (kept > (int)TOPOLOGY_MIGRATIONS_KEPT) m->plan[first].forgotten = true;
}

static bool mig_commit(struct model *m, const struct topo_mig_commit *b)
{
    int p = plan_index(b->id);
    if (m->plan[p].state != TOPO_MIG_SWITCH) return false;
    int source = m->plan[p].source;
    int target = m->plan[p].target;
    if (b->source_epoch != m->plan[p].source_epoch || b->target_epoch != m->plan[p].target_epoch)
        return false;
    if (m->group[source].epoch != b->source_epoch || m->group[target].epoch != b->target_epoch)
        return false;
    for (uint32_t i = 0; i < m->plan[p].ranges_count; i++)
        for (uint32_t s = m->plan[p].ranges[i].first; s <= m->plan[p].ranges[i].last; s++)
            m->owner[s] = target;
    m->group[source].epoch++;
    m->group[target].epoch++;
    end_plan(m, p, TOPO_MIG_DONE);
    return true;
}

static bool mig_abort(struct model *m, const struct topo_mig_abort *b)
{
    int p = plan_index(b->id);
    if (!is_open(m, p)) return false;
    end_plan(m, p, TOPO_MIG_ABORTED);
    return true;
}

/* ---- items and numbers */

static uint64_t *item_of(struct model *m, uint32_t type, uint32_t kind, struct bytes name)
{
    int section = type <= TOPO_CONFIG_UNSET      ? 0
                  : type <= TOPO_ACL_DELETE      ? 1
                  : type <= TOPO_FUNCTION_DELETE ? 2
                  : kind == TOPO_CATALOG_FT      ? 3
                                                 : 4;
    return &m->item[section][name.data[0] - 'a'];
}

static bool item_put(struct model *m, uint32_t type, const struct topo_item_put *b)
{
    uint64_t *version = item_of(m, type, b->kind, b->name);
    if (b->expect && *version != b->expect_version) return false;
    *version = m->version + 1;
    return true;
}

static bool item_drop(struct model *m, uint32_t type, const struct topo_item_drop *b)
{
    uint64_t *version = item_of(m, type, b->kind, b->name);
    if (*version == 0 || (b->expect && *version != b->expect_version)) return false;
    *version = 0;
    return true;
}

static bool reserve(struct model *m, const struct topo_reserve_ids *b)
{
    *(b->kind == TOPO_NODE_NUMBERS ? &m->next_number : &m->next_coordinator) += b->count;
    return true;
}

static bool dispatch(struct model *m, uint32_t type, const void *b)
{
    if (type == TOPO_CLUSTER_INIT) {
        bool first = !m->init;
        m->init = true;
        return first;
    }
    if (!m->init) return false;
    switch (type) {
    case TOPO_NODE_JOIN:
        return node_join(m, b);
    case TOPO_NODE_UPDATE:
        return node_update(m, b);
    case TOPO_NODE_HEALTH:
        return node_health(m, b);
    case TOPO_NODE_FORGET:
        return node_forget(m, b);
    case TOPO_ABSORB:
        return absorb(m, b);
    case TOPO_FEATURE_LEVEL:
        return false; /* there is one level */
    case TOPO_GROUP_CREATE:
        return group_create(m, b);
    case TOPO_GROUP_DELETE:
        return group_delete(m, b);
    case TOPO_GROUP_MODE:
        return group_mode(m, b);
    case TOPO_GROUP_EPOCH:
        return group_epoch(m, b);
    case TOPO_REPLICA_ADD:
        return replica_add(m, b);
    case TOPO_REPLICA_REMOVE:
        return replica_remove(m, b);
    case TOPO_ISR_SHRINK:
        return isr_shrink(m, b);
    case TOPO_ISR_GROW:
        return isr_grow(m, b);
    case TOPO_PROMOTE:
        return promote(m, b);
    case TOPO_SLOT_ASSIGN:
        return slot_assign(m, b);
    case TOPO_SLOT_MARK:
        return slot_mark(m, b);
    case TOPO_MIG_PLAN:
        return mig_plan(m, b);
    case TOPO_MIG_STEP:
        return mig_step(m, b);
    case TOPO_MIG_COMMIT:
        return mig_commit(m, b);
    case TOPO_MIG_ABORT:
        return mig_abort(m, b);
    case TOPO_RESERVE:
        return reserve(m, b);
    default:
        return type % 2 == 0 ? item_put(m, type, b) : item_drop(m, type, b);
    }
}

bool model_apply(struct model *m, uint32_t type, const void *body)
{
    bool applied = dispatch(m, type, body);
    bool map = type < TOPO_MIG_PLAN || type == TOPO_MIG_COMMIT;
    m->version++;
    if (applied && map) m->map_version = m->version;
    return applied;
}

/* ---- comparing */

static void compare_nodes(const struct model *m, const struct topology *t)
{
    uint32_t nodes = 0;
    for (int n = 0; n < NODES; n++) {
        const struct topo_node *node = topology_node_find(t, nid((uint8_t)(n + 1)));
        assert_true((node != NULL) == m->node[n].known);
        if (node == NULL) continue;
        nodes++;
        assert_true(node->info.incarnation == m->node[n].incarnation);
        assert_int_equal(node->down, m->node[n].down);
        assert_int_equal(node->number, m->node[n].number);
    }
    assert_int_equal(topology_nodes(t), nodes);
}

static void compare_group(const struct model *m, int g, const struct topo_group *group)
{
    assert_true((group != NULL) == m->group[g].exists);
    if (group == NULL) return;
    assert_int_equal(group->mode, m->group[g].mode);
    assert_int_equal(group->min_isr, m->group[g].min_isr);
    assert_int_equal(group->epoch, m->group[g].epoch);
    assert_int_equal(group->history, m->group[g].history);
    assert_int_equal(node_index(group->primary), m->group[g].primary);
    assert_int_equal(group->members_count, member_count(m, g));
    for (uint32_t i = 0; i < group->members_count; i++) {
        const struct topo_group_member *member = &group->members[i];
        int n = node_index(member->node);
        assert_int_equal(member->standing + 1, m->group[g].place[n]);
        if (member->standing != TOPO_OUTSIDE)
            assert_true(member->incarnation == m->group[g].life[n]);
    }
}

/* Each slot has one owner here; ranges and counts must tell of no second one. */
static void compare_slots(const struct model *m, const struct topology *t)
{
    uint32_t counts[GROUPS] = {0};
    uint32_t marks = 0;
    const struct topo_group *last = NULL;
    int owner = NOBODY;
    for (uint32_t s = 0; s < SLOT_COUNT; s++) {
        const struct topo_group *o = topology_owner(t, (uint16_t)s);
        if (o != last) owner = o == NULL ? NOBODY : group_index(o->id);
        last = o;
        if (owner != m->owner[s]) fail_msg("slot %u: %d instead of %d", s, owner, m->owner[s]);
        if (o != NULL) counts[owner]++;
        marks += m->mark[s].migrating_to != NOBODY || m->mark[s].importing_to != NOBODY;
    }
    for (uint32_t g = 0; g < topology_groups(t); g++) {
        const struct topo_group *group = topology_group_at(t, g);
        assert_int_equal(group->slots_count, counts[group_index(group->id)]);
    }
    assert_int_equal(topology_marks(t), marks);
    for (uint32_t i = 0; i < marks; i++) {
        const struct topo_slot_marks *mark = topology_mark_at(t, i);
        assert_int_equal(group_index(mark->migrating_to), m->mark[mark->slot].migrating_to);
        assert_int_equal(group_index(mark->importing_to), m->mark[mark->slot].importing_to);
        assert_int_equal(group_index(mark->importing_from), m->mark[mark->slot].importing_from);
    }
}

static void compare_plans(const struct model *m, const struct topology *t)
{
    uint32_t plans = 0;
    for (int p = 0; p < PLANS; p++) {
        const struct topo_migration *plan = topology_migration_find(t, mid((uint8_t)(p + 1)));
        bool there = m->plan[p].state != 0 && !m->plan[p].forgotten;
        assert_true((plan != NULL) == there);
        if (plan == NULL) continue;
        plans++;
        assert_int_equal(plan->state, m->plan[p].state);
        assert_int_equal(group_index(plan->source), m->plan[p].source);
        assert_int_equal(group_index(plan->target), m->plan[p].target);
        assert_int_equal(plan->ranges_count, m->plan[p].ranges_count);
        assert_memory_equal(plan->ranges, m->plan[p].ranges,
                            plan->ranges_count * sizeof *plan->ranges);
    }
    assert_int_equal(topology_migrations(t), plans);
}

static void compare_items(const struct model *m, const struct topology *t)
{
    static const uint8_t sections[SECTIONS] = {TOPO_CONFIG, TOPO_ACL, TOPO_FUNCTIONS, TOPO_CATALOG,
                                               TOPO_CATALOG};
    static const uint32_t kinds[SECTIONS] = {0, 0, 0, TOPO_CATALOG_FT, TOPO_CATALOG_WS};
    uint32_t items = 0;
    for (uint32_t s = 0; s < SECTIONS; s++) {
        for (uint32_t k = 0; k < NAMES; k++) {
            char name = (char)('a' + k);
            const struct topo_item *item = topology_item_find(t, (enum topo_section)sections[s],
                                                              kinds[s], bytes_view(&name, 1));
            assert_int_equal(item == NULL ? 0 : item->version, m->item[s][k]);
            items += item != NULL;
        }
    }
    assert_int_equal(topology_items(t), items);
}

void model_compare(const struct model *m, const struct topology *t)
{
    assert_int_equal(topology_version(t), m->version);
    assert_int_equal(topology_map_version(t), m->map_version);
    assert_int_equal(t->next_node_number, m->next_number);
    assert_int_equal(t->next_coordinator, m->next_coordinator);
    compare_nodes(m, t);
    for (int g = 0; g < GROUPS; g++)
        compare_group(m, g, topology_group_find(t, gid((uint8_t)(g + 1))));
    compare_slots(m, t);
    compare_plans(m, t);
    compare_items(m, t);
}
