/* Groups: a primary and its replicas, who of them is in sync, and who leads.
 *
 * A member's standing is one of three. In the in-sync set (ISR): commits wait for it. Eligible: it left the
 * set while too few were left to commit anything without it, so it still has all that was acknowledged and
 * may be promoted. Outside: may not. Only the standing under a node's present incarnation counts; a
 * restarted member keeps its place under the old one until somebody says otherwise. */
#include "cluster/topology_priv.h"

#include <inttypes.h>

/* ---- blocks */

struct topo_group *topology__group_new(const struct topo_group *like, uint32_t members_room)
{
    struct topo_group *g = mem_try_alloc(MEM_CLUSTER, sizeof *g);
    if (g == NULL) return NULL;
    *g = *like;
    g->members = mem_try_alloc(MEM_CLUSTER, members_room * sizeof *g->members);
    if (g->members == NULL) {
        mem_free(MEM_CLUSTER, g, sizeof *g);
        return NULL;
    }
    g->members_count = 0;
    g->members_room = members_room;
    g->slots_count = 0;
    g->handle = NO_HANDLE;
    return g;
}

void topology__group_free(struct topo_group *g)
{
    mem_free(MEM_CLUSTER, g->members, g->members_room * sizeof *g->members);
    mem_free(MEM_CLUSTER, g, sizeof *g);
}

static int compare_group(const void *key, const void *element)
{
    const struct topo_group *g = element;
    return topo_id_compare(*(const struct topo_id *)key, g->id);
}

uint32_t topology__group_place(const struct topology *t, struct topo_id id, bool *found_out)
{
    return topology__list_find(&t->groups, &id, compare_group, found_out);
}

struct topo_group *topology__group(const struct topology *t, struct topo_id id)
{
    bool found = false;
    uint32_t place = topology__group_place(t, id, &found);
    return found ? t->groups.at[place] : NULL;
}

struct topo_group_member *topology__member(const struct topo_group *g, struct topo_id node)
{
    for (uint32_t i = 0; i < g->members_count; i++)
        if (topo_id_equal(g->members[i].node, node)) return &g->members[i];
    return NULL;
}

struct topo_group *topology__group_having(const struct topology *t, struct topo_id node)
{
    for (uint32_t i = 0; i < t->groups.count; i++) {
        struct topo_group *g = t->groups.at[i];
        if (topology__member(g, node) != NULL) return g;
    }
    return NULL;
}

bool topology__group_room(struct topology *t)
{
    return topology__list_room(&t->groups) && topology__list_room(&t->handles);
}

void topology__group_insert(struct topology *t, struct topo_group *g)
{
    bool found = false;
    uint32_t place = topology__group_place(t, g->id, &found);
    uint32_t handle = 0;
    assert(!found);
    while (handle < t->handles.count && t->handles.at[handle] != NULL)
        handle++;
    if (handle == t->handles.count) topology__list_insert(&t->handles, handle, NULL);
    t->handles.at[handle] = g;
    g->handle = (uint16_t)handle;
    topology__list_insert(&t->groups, place, g);
}

void topology__group_remove(struct topology *t, struct topo_group *g)
{
    bool found = false;
    uint32_t place = topology__group_place(t, g->id, &found);
    assert(found);
    assert(g->slots_count == 0);
    t->handles.at[g->handle] = NULL;
    topology__list_remove(&t->groups, place);
    topology__group_free(g);
}

const char *topology__group_use(const struct topology *t, const struct topo_group *g)
{
    for (uint32_t i = 0; i < t->migrations.count; i++) {
        const struct topo_migration *m = t->migrations.at[i];
        if (!topology__migration_open(m)) continue;
        if (topo_id_equal(m->source, g->id) || topo_id_equal(m->target, g->id))
            return "a migration is under way";
    }
    for (uint32_t i = 0; i < t->marks_count; i++) {
        const struct topo_slot_marks *m = &t->marks[i];
        if (topo_id_equal(m->migrating_to, g->id) || topo_id_equal(m->importing_to, g->id) ||
            topo_id_equal(m->importing_from, g->id))
            return "a slot is marked as migrating or importing";
    }
    return NULL;
}

bool topology__member_room(struct topo_group *g)
{
    if (g->members_count < g->members_room) return true;
    uint32_t room = g->members_room * 2;
    struct topo_group_member *members = mem_try_resize(
        MEM_CLUSTER, g->members, g->members_room * sizeof *members, room * sizeof *members);
    if (members == NULL) return false;
    g->members = members;
    g->members_room = room;
    return true;
}

void topology__member_insert(struct topo_group *g, struct topo_group_member m)
{
    uint32_t place = 0;
    assert(g->members_count < g->members_room);
    while (place < g->members_count && topo_id_compare(g->members[place].node, m.node) < 0)
        place++;
    memmove(g->members + place + 1, g->members + place,
            (g->members_count - place) * sizeof *g->members);
    g->members[place] = m;
    g->members_count++;
}

void topology__member_remove(struct topo_group *g, struct topo_id node)
{
    struct topo_group_member *m = topology__member(g, node);
    assert(m != NULL);
    g->members_count--;
    memmove(m, m + 1, (size_t)(g->members + g->members_count - m) * sizeof *m);
}

uint32_t topo_group_isr(const struct topo_group *g)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->members_count; i++)
        count += g->members[i].standing == TOPO_IN_SYNC;
    return count;
}

const char *topology__mode_fault(uint8_t mode, uint32_t min_isr)
{
    if (mode < TOPO_ASYNC || mode > TOPO_SYNC_FSYNC) return "no such mode of a group";
    if (min_isr < 1 || min_isr > TOPOLOGY_MEMBERS_MAX) return "min_isr is 1 to 32";
    return NULL;
}

/* ---- what handlers share. They return NULL or false when the entry has been refused. */

static struct topo_group *known_group(struct change *c, struct topo_id id)
{
    struct topo_group *g = topology__group(c->t, id);
    if (g == NULL) (void)topology__refuse(c, "Unknown group %s", topo_id_hex(id).text);
    return g;
}

static struct topo_group *group_at_epoch(struct change *c, struct topo_id id, uint64_t epoch)
{
    struct topo_group *g = known_group(c, id);
    if (g == NULL || g->epoch == epoch) return g;
    (void)topology__refuse(c, "group %s is in epoch %" PRIu64 ", not %" PRIu64,
                           topo_id_hex(id).text, g->epoch, epoch);
    return NULL;
}

/* The node in that incarnation, which must be its present one. */
static bool is_present(struct change *c, struct topo_member who)
{
    const struct topo_node *n = topology__node(c->t, who.node);
    if (n == NULL) {
        (void)topology__refuse(c, "Unknown node %s", topo_id_hex(who.node).text);
        return false;
    }
    if (n->info.incarnation == who.incarnation) return true;
    (void)topology__refuse(c, "node %s is in incarnation %" PRIu64 ", not %" PRIu64,
                           topo_id_hex(who.node).text, n->info.incarnation, who.incarnation);
    return false;
}

/* Whether `by` is the primary, in the life in which it was made so. */
static bool is_by_primary(struct change *c, const struct topo_group *g, struct topo_member by)
{
    const struct topo_group_member *m = topology__member(g, by.node);
    if (m != NULL && topo_id_equal(g->primary, by.node) && m->incarnation == by.incarnation)
        return is_present(c, by);
    (void)topology__refuse(c, "only the primary of group %s may ask for this",
                           topo_id_hex(g->id).text);
    return false;
}

/* A member leaves the in-sync set. `left`: how many stay. Too few to commit anything: whoever leaves
 * then has all that was ever acknowledged. */
static void leave_isr(const struct topo_group *g, struct topo_group_member *m, uint32_t left)
{
    if (m->standing != TOPO_IN_SYNC) return;
    m->standing = left < g->min_isr ? TOPO_ELIGIBLE : TOPO_OUTSIDE;
    if (m->standing == TOPO_OUTSIDE) m->incarnation = 0;
}

/* Enough in sync: commits go on without those who were eligible. */
static void settle_eligible(struct topo_group *g)
{
    if (topo_group_isr(g) < g->min_isr) return;
    for (uint32_t i = 0; i < g->members_count; i++) {
        if (g->members[i].standing != TOPO_ELIGIBLE) continue;
        g->members[i].standing = TOPO_OUTSIDE;
        g->members[i].incarnation = 0;
    }
}

static bool is_named(const struct topo_member *list, uint32_t count, struct topo_member m)
{
    for (uint32_t i = 0; i < count; i++)
        if (topo_id_equal(list[i].node, m.node) && list[i].incarnation == m.incarnation)
            return true;
    return false;
}

static struct topo_member life_of(const struct topo_group_member *m)
{
    return (struct topo_member){.node = m->node, .incarnation = m->incarnation};
}

/* All of `list` are in the in-sync set in that life, each once. */
static bool all_in_isr(struct change *c, const struct topo_group *g, const struct topo_member *list,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct topo_group_member *m = topology__member(g, list[i].node);
        if (m == NULL || m->standing != TOPO_IN_SYNC || m->incarnation != list[i].incarnation ||
            is_named(list, i, list[i])) {
            (void)topology__refuse(c, "node %s is not in the in-sync set of group %s in that life",
                                   topo_id_hex(list[i].node).text, topo_id_hex(g->id).text);
            return false;
        }
    }
    return true;
}

/* ---- create, delete, mode, epoch */

enum rc topology__apply_GROUP_CREATE(struct change *c, const void *body)
{
    const struct topo_group_create *b = body;
    struct topology *t = c->t;
    const char *fault = topology__mode_fault(b->mode, b->min_isr);
    if (topo_id_is_none(b->group)) fault = "a group needs an id";
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    if (topology__group(t, b->group) != NULL)
        return topology__refuse(c, "group %s exists already", topo_id_hex(b->group).text);
    if (!is_present(c, b->primary)) return RC_OK;
    const struct topo_group *has = topology__group_having(t, b->primary.node);
    if (has != NULL)
        return topology__refuse(c, "node %s is a member of group %s",
                                topo_id_hex(b->primary.node).text, topo_id_hex(has->id).text);
    if (t->groups.count >= TOPOLOGY_GROUPS_MAX)
        return topology__refuse(c, "the cluster has %u groups already", TOPOLOGY_GROUPS_MAX);
    struct topo_group like = {
        .id = b->group, .mode = b->mode, .min_isr = b->min_isr, .primary = b->primary.node};
    if (!topology__group_room(t)) return RC_NOMEM;
    struct topo_group *g = topology__group_new(&like, 1);
    if (g == NULL) return RC_NOMEM;
    topology__member_insert(g, (struct topo_group_member){.node = b->primary.node,
                                                          .incarnation = b->primary.incarnation,
                                                          .standing = TOPO_IN_SYNC});
    topology__group_insert(t, g);
    return RC_OK;
}

enum rc topology__apply_GROUP_DELETE(struct change *c, const void *body)
{
    struct topo_group *g = known_group(c, ((const struct topo_group_delete *)body)->group);
    if (g == NULL) return RC_OK;
    if (g->slots_count > 0)
        return topology__refuse(c, "group %s owns %u slots", topo_id_hex(g->id).text,
                                g->slots_count);
    const char *use = topology__group_use(c->t, g);
    if (use != NULL) return topology__refuse(c, "group %s: %s", topo_id_hex(g->id).text, use);
    topology__group_remove(c->t, g);
    return RC_OK;
}

enum rc topology__apply_GROUP_MODE(struct change *c, const void *body)
{
    const struct topo_group_mode *b = body;
    const char *fault = topology__mode_fault(b->mode, b->min_isr);
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    struct topo_group *g = known_group(c, b->group);
    if (g == NULL) return RC_OK;
    if (b->mode != TOPO_ASYNC && topo_group_isr(g) < b->min_isr)
        return topology__refuse(c, "group %s has %u members in sync, that mode needs %u",
                                topo_id_hex(g->id).text, topo_group_isr(g), b->min_isr);
    g->mode = b->mode;
    g->min_isr = b->min_isr;
    settle_eligible(g);
    return RC_OK;
}

/* The first two texts are Redis's, for CLUSTER SET-CONFIG-EPOCH. */
enum rc topology__apply_GROUP_EPOCH(struct change *c, const void *body)
{
    const struct topo_group_epoch *b = body;
    struct topo_group *g = known_group(c, b->group);
    if (g == NULL) return RC_OK;
    if (b->initial && c->t->nodes.count > 1)
        return topology__refuse(c, "The user can assign a config epoch only when the node does not "
                                   "know any other node.");
    if (b->initial && g->epoch != 0)
        return topology__refuse(c, "Node config epoch is already non-zero");
    if (!b->initial && b->epoch <= g->epoch)
        return topology__refuse(c, "group %s is in epoch %" PRIu64 ": epochs only rise",
                                topo_id_hex(g->id).text, g->epoch);
    g->epoch = b->epoch;
    c->result->value = b->epoch;
    return RC_OK;
}

/* ---- replicas */

/* Whether a member may leave its group for good. The first member's text is Redis's. */
static bool may_leave(struct change *c, const struct topo_group *g, struct topo_id node)
{
    const struct topo_group_member *m = topology__member(g, node);
    const char *why = NULL;
    if (topo_id_equal(g->primary, node)) {
        if (g->slots_count > 0)
            why = "To set a master the node must be empty and without assigned slots.";
        else if (g->members_count > 1)
            why = "it is the primary of a group that has other members";
        else
            why = topology__group_use(c->t, g);
    } else if (m->standing == TOPO_ELIGIBLE) {
        why = "it may be the only one that has what was acknowledged";
    } else if (m->standing == TOPO_IN_SYNC && topo_group_isr(g) <= g->min_isr) {
        why = "too few members would be in sync";
    }
    if (why != NULL) (void)topology__refuse(c, "%s", why);
    return why == NULL;
}

/* After may_leave. A group without members ends. */
static void leave_group(struct topology *t, struct topo_group *g, struct topo_id node)
{
    if (topo_id_equal(g->primary, node)) {
        topology__group_remove(t, g);
        return;
    }
    if (topology__member(g, node)->standing == TOPO_IN_SYNC)
        g->epoch++; /* commits wait for fewer */
    topology__member_remove(g, node);
}

enum rc topology__apply_REPLICA_ADD(struct change *c, const void *body)
{
    const struct topo_replica_add *b = body;
    struct topo_group *g = known_group(c, b->group);
    if (g == NULL) return RC_OK;
    if (topology__node(c->t, b->node) == NULL)
        return topology__refuse(c, "Unknown node %s", topo_id_hex(b->node).text);
    struct topo_group *from = topology__group_having(c->t, b->node);
    if (from == g)
        return topology__refuse(c, "node %s is a member of group %s already",
                                topo_id_hex(b->node).text, topo_id_hex(g->id).text);
    if (g->members_count >= TOPOLOGY_MEMBERS_MAX)
        return topology__refuse(c, "group %s has %u members already", topo_id_hex(g->id).text,
                                TOPOLOGY_MEMBERS_MAX);
    if (from != NULL && !may_leave(c, from, b->node)) return RC_OK;
    if (!topology__member_room(g)) return RC_NOMEM;
    if (from != NULL) leave_group(c->t, from, b->node);
    topology__member_insert(g, (struct topo_group_member){.node = b->node});
    return RC_OK;
}

enum rc topology__apply_REPLICA_REMOVE(struct change *c, const void *body)
{
    const struct topo_replica_remove *b = body;
    struct topo_group *g = known_group(c, b->group);
    if (g == NULL) return RC_OK;
    if (topology__member(g, b->node) == NULL)
        return topology__refuse(c, "node %s is no member of group %s", topo_id_hex(b->node).text,
                                topo_id_hex(g->id).text);
    if (topo_id_equal(g->primary, b->node))
        return topology__refuse(c, "node %s is the primary of group %s", topo_id_hex(b->node).text,
                                topo_id_hex(g->id).text);
    if (!may_leave(c, g, b->node)) return RC_OK;
    leave_group(c->t, g, b->node);
    return RC_OK;
}

/* ---- the in-sync set */

enum rc topology__apply_ISR_SHRINK(struct change *c, const void *body)
{
    const struct topo_isr_shrink *b = body;
    if (b->out_count == 0) return topology__unreadable(c, "nobody to take out");
    struct topo_group *g = group_at_epoch(c, b->group, b->epoch);
    if (g == NULL) return RC_OK;
    if (!b->by_leader && !is_by_primary(c, g, b->by)) return RC_OK;
    if (!all_in_isr(c, g, b->out, b->out_count)) return RC_OK;
    const struct topo_group_member *primary = topology__member(g, g->primary);
    if (is_named(b->out, b->out_count, life_of(primary)))
        return topology__refuse(c, "the primary of group %s cannot leave its in-sync set",
                                topo_id_hex(g->id).text);
    uint32_t left = topo_group_isr(g) - b->out_count;
    for (uint32_t i = 0; i < b->out_count; i++)
        leave_isr(g, topology__member(g, b->out[i].node), left);
    g->epoch++;
    return RC_OK;
}

/* Members in their present life who are not in sync in it. */
static bool all_may_enter(struct change *c, const struct topo_group *g,
                          const struct topo_isr_grow *b)
{
    for (uint32_t i = 0; i < b->in_count; i++) {
        const struct topo_member *in = &b->in[i];
        const struct topo_group_member *m = topology__member(g, in->node);
        if (m == NULL) {
            (void)topology__refuse(c, "node %s is no member of group %s",
                                   topo_id_hex(in->node).text, topo_id_hex(g->id).text);
            return false;
        }
        if (!is_present(c, *in)) return false;
        bool twice = is_named(b->in, i, *in);
        if (twice || (m->standing == TOPO_IN_SYNC && m->incarnation == in->incarnation)) {
            (void)topology__refuse(c, "node %s is in the in-sync set of group %s already",
                                   topo_id_hex(in->node).text, topo_id_hex(g->id).text);
            return false;
        }
    }
    return true;
}

enum rc topology__apply_ISR_GROW(struct change *c, const void *body)
{
    const struct topo_isr_grow *b = body;
    if (b->in_count == 0) return topology__unreadable(c, "nobody to take in");
    struct topo_group *g = group_at_epoch(c, b->group, b->epoch);
    if (g == NULL) return RC_OK;
    if (!is_by_primary(c, g, b->by) || !all_may_enter(c, g, b)) return RC_OK;
    for (uint32_t i = 0; i < b->in_count; i++) {
        struct topo_group_member *m = topology__member(g, b->in[i].node);
        m->standing = TOPO_IN_SYNC;
        m->incarnation = b->in[i].incarnation;
    }
    settle_eligible(g);
    g->epoch++;
    return RC_OK;
}

/* ---- promotion */

/* Failover and planned: in sync or eligible in its present life, and itself fenced. */
static const char *fault_of_failover(const struct topo_group_member *m,
                                     const struct topo_promote *b)
{
    if (m->standing == TOPO_OUTSIDE || m->incarnation != b->to.incarnation)
        return "it is neither in sync nor eligible in that life";
    if (!is_named(b->fenced, b->fenced_count, b->to))
        return "it has not said that it acknowledges that epoch no more";
    return NULL;
}

/* All who might have led were restarted: the first that comes back with its log whole. Without an fsync
 * before each acknowledgement only a member that nobody was in sync with may. */
static const char *fault_of_restart(const struct topology *t, const struct topo_group *g,
                                    const struct topo_group_member *m, const struct topo_promote *b)
{
    if (m->standing == TOPO_OUTSIDE || m->incarnation >= b->to.incarnation)
        return "it was neither in sync nor eligible in an earlier life";
    if (!b->log_intact) return "it has not said that its log is whole";
    for (uint32_t i = 0; i < g->members_count; i++) {
        const struct topo_group_member *other = &g->members[i];
        if (other == m || other->standing == TOPO_OUTSIDE) continue;
        if (g->mode != TOPO_SYNC_FSYNC) return "another member may have more than it has";
        if (topology__node(t, other->node)->info.incarnation == other->incarnation)
            return "another member has not been restarted";
    }
    return NULL;
}

static const char *promote_fault(const struct topology *t, const struct topo_group *g,
                                 const struct topo_group_member *m, const struct topo_promote *b)
{
    if (m == NULL) return "it is no member";
    if (topology__node(t, b->to.node)->down) return "it is down";
    switch (b->cause) {
    case TOPO_FAILOVER:
    case TOPO_PLANNED:
        return fault_of_failover(m, b);
    case TOPO_RESTART:
        return fault_of_restart(t, g, m, b);
    default: /* TOPO_RECOVER: somebody decided what may be lost */
        return NULL;
    }
}

/* Who stays in the in-sync set under the new primary `m`. */
static void settle_isr(struct topo_group *g, struct topo_group_member *m,
                       const struct topo_promote *b)
{
    m->standing = TOPO_IN_SYNC;
    m->incarnation = b->to.incarnation;
    bool alone = b->cause == TOPO_RESTART || b->cause == TOPO_RECOVER;
    uint32_t left = alone ? 1 : topo_group_isr(g) - b->drop_count;
    for (uint32_t i = 0; i < g->members_count; i++) {
        struct topo_group_member *other = &g->members[i];
        if (other == m) continue;
        if (alone || is_named(b->drop, b->drop_count, life_of(other))) leave_isr(g, other, left);
        if (b->cause == TOPO_RECOVER) {
            other->standing = TOPO_OUTSIDE;
            other->incarnation = 0;
        }
    }
    settle_eligible(g);
}

enum rc topology__apply_PROMOTE(struct change *c, const void *body)
{
    const struct topo_promote *b = body;
    if (b->cause < TOPO_FAILOVER || b->cause > TOPO_RECOVER)
        return topology__unreadable(c, "no such cause of a promotion");
    if (b->note.len > TOPOLOGY_NOTE_BYTES_MAX) return topology__unreadable(c, "a note too long");
    if (b->cause == TOPO_RECOVER && b->note.len == 0)
        return topology__unreadable(c, "a recovery says who decided it");
    if (b->drop_count > 0 && b->cause >= TOPO_RESTART)
        return topology__unreadable(c, "nobody else stays in sync anyway");
    struct topo_group *g = group_at_epoch(c, b->group, b->epoch);
    if (g == NULL || !is_present(c, b->to)) return RC_OK;
    struct topo_group_member *m = topology__member(g, b->to.node);
    const char *fault = promote_fault(c->t, g, m, b);
    if (fault == NULL && is_named(b->drop, b->drop_count, b->to))
        fault = "it would be dropped itself";
    if (fault != NULL)
        return topology__refuse(c, "node %s cannot lead group %s: %s", topo_id_hex(b->to.node).text,
                                topo_id_hex(g->id).text, fault);
    if (!all_in_isr(c, g, b->drop, b->drop_count)) return RC_OK;
    settle_isr(g, m, b);
    g->primary = b->to.node;
    g->epoch++;
    g->history++;
    return RC_OK;
}

/* ---- reading */

uint32_t topology_groups(const struct topology *t)
{
    return t->groups.count;
}

const struct topo_group *topology_group_at(const struct topology *t, uint32_t i)
{
    assert(i < t->groups.count);
    return t->groups.at[i];
}

const struct topo_group *topology_group_find(const struct topology *t, struct topo_id id)
{
    return topology__group(t, id);
}

const struct topo_group *topology_group_of(const struct topology *t, struct topo_id node)
{
    return topology__group_having(t, node);
}
