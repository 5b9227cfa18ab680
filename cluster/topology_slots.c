/* Slots: who owns them, the marks of a migration by hand, and migrations as one committed change. */
#include "cluster/topology_priv.h"

#include <inttypes.h>

/* ---- owners */

struct topo_group *topology__owner(const struct topology *t, uint16_t slot)
{
    uint16_t handle = t->slot_handle[slot];
    return handle == NO_HANDLE ? NULL : t->handles.at[handle];
}

static void set_owner(struct topology *t, uint32_t slot, struct topo_group *g)
{
    struct topo_group *old = topology__owner(t, (uint16_t)slot);
    if (old != NULL) old->slots_count--;
    if (g != NULL) g->slots_count++;
    t->slot_handle[slot] = g == NULL ? NO_HANDLE : g->handle;
}

void topology__give(struct topology *t, struct topo_range range, struct topo_group *g)
{
    for (uint32_t slot = range.first; slot <= range.last; slot++)
        set_owner(t, slot, g);
}

const char *topology__ranges_fault(const struct topo_range *ranges, uint32_t count)
{
    if (count == 0) return "no slots are named";
    for (uint32_t i = 0; i < count; i++) {
        if (ranges[i].last >= SLOT_COUNT || ranges[i].first > ranges[i].last)
            return "a range of slots out of bounds";
        if (i > 0 && ranges[i].first <= ranges[i - 1].last) return "ranges of slots do not rise";
    }
    return NULL;
}

/* ---- marks */

uint32_t topology__mark_place(const struct topology *t, uint16_t slot, bool *found_out)
{
    uint32_t low = 0;
    uint32_t high = t->marks_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->marks[middle].slot < slot)
            low = middle + 1;
        else
            high = middle;
    }
    *found_out = low < t->marks_count && t->marks[low].slot == slot;
    return low;
}

bool topology__mark_room(struct topology *t)
{
    if (t->marks_count < t->marks_room) return true;
    uint32_t room = t->marks_room == 0 ? 4 : 2 * t->marks_room;
    struct topo_slot_marks *marks =
        mem_try_resize(MEM_CLUSTER, t->marks, t->marks_room * sizeof *marks, room * sizeof *marks);
    if (marks == NULL) return false;
    t->marks = marks;
    t->marks_room = room;
    return true;
}

void topology__mark_insert(struct topology *t, uint32_t place, struct topo_slot_marks m)
{
    assert(t->marks_count < t->marks_room);
    memmove(t->marks + place + 1, t->marks + place, (t->marks_count - place) * sizeof m);
    t->marks[place] = m;
    t->marks_count++;
}

static void clear_marks(struct topology *t, struct topo_range range)
{
    bool found = false;
    uint32_t first = topology__mark_place(t, range.first, &found);
    uint32_t behind = topology__mark_place(t, range.last, &found);
    if (found) behind++;
    if (first == behind) return;
    memmove(t->marks + first, t->marks + behind, (t->marks_count - behind) * sizeof *t->marks);
    t->marks_count -= behind - first;
}

/* ---- migrations as blocks */

static size_t migration_bytes(const struct topo_migration *m)
{
    return sizeof *m + m->ranges_count * sizeof *m->ranges + TOPOLOGY_NOTE_BYTES_MAX;
}

/* Room behind the ranges for a position or a reason: a finished migration has only one of them. */
static uint8_t *migration_note(struct topo_migration *m)
{
    return (uint8_t *)(m + 1) + m->ranges_count * sizeof *m->ranges;
}

static struct bytes put_note(struct topo_migration *m, struct bytes from)
{
    assert(from.len <= TOPOLOGY_NOTE_BYTES_MAX);
    uint8_t *note = migration_note(m);
    if (from.len > 0) memcpy(note, from.data, from.len);
    return bytes_view(note, from.len);
}

struct topo_migration *topology__migration_new(const struct topo_migration *like)
{
    struct topo_migration *m = mem_try_alloc(MEM_CLUSTER, migration_bytes(like));
    if (m == NULL) return NULL;
    *m = *like;
    struct topo_range *ranges = (struct topo_range *)(void *)(m + 1);
    memcpy(ranges, like->ranges, like->ranges_count * sizeof *ranges);
    m->ranges = ranges;
    assert(like->position.len == 0 || like->reason.len == 0);
    m->position = bytes_view(NULL, 0);
    m->reason = bytes_view(NULL, 0);
    if (like->position.len > 0) m->position = put_note(m, like->position);
    if (like->reason.len > 0) m->reason = put_note(m, like->reason);
    return m;
}

void topology__migration_free(struct topo_migration *m)
{
    mem_free(MEM_CLUSTER, m, migration_bytes(m));
}

static int compare_migration(const void *key, const void *element)
{
    const struct topo_migration *m = element;
    return topo_id_compare(*(const struct topo_id *)key, m->id);
}

uint32_t topology__migration_place(const struct topology *t, struct topo_id id, bool *found_out)
{
    return topology__list_find(&t->migrations, &id, compare_migration, found_out);
}

/* Both rise. */
static bool overlap(const struct topo_range *a, uint32_t a_count, const struct topo_range *b,
                    uint32_t b_count)
{
    uint32_t i = 0;
    uint32_t k = 0;
    while (i < a_count && k < b_count) {
        if (a[i].last < b[k].first)
            i++;
        else if (b[k].last < a[i].first)
            k++;
        else
            return true;
    }
    return false;
}

static bool refuse_migrating(struct change *c, const struct topo_range *ranges, uint32_t count)
{
    for (uint32_t i = 0; i < c->t->migrations.count; i++) {
        const struct topo_migration *m = c->t->migrations.at[i];
        if (!topology__migration_open(m) || !overlap(m->ranges, m->ranges_count, ranges, count))
            continue;
        return refused(
            topology__refuse(c, "slots of it are moved by migration %s", topo_id_hex(m->id).text));
    }
    return false;
}

/* ---- assign */

/* "busy" and "unassigned" as Redis says it, for CLUSTER ADDSLOTS and DELSLOTS. */
static bool refuse_owner(struct change *c, const struct topo_slot_assign *b, uint32_t slot)
{
    const struct topo_group *owner = topology__owner(c->t, (uint16_t)slot);
    bool taking_away = topo_id_is_none(b->group);
    if (owner == NULL) {
        if (!taking_away) return false;
        return refused(topology__refuse(c, "Slot %u is already unassigned", slot));
    }
    if (topo_id_is_none(b->expect_owner))
        return refused(topology__refuse(c, "Slot %u is already busy", slot));
    if (topo_id_equal(owner->id, b->expect_owner)) return false;
    return refused(
        topology__refuse(c, "slot %u is owned by group %s", slot, topo_id_hex(owner->id).text));
}

/* A slot that nobody owned changes no epoch: there is nobody to be fenced (docs/adr/0004). */
static void bump_epochs(struct topo_group *source, struct topo_group *target)
{
    source->epoch++;
    if (target != NULL) target->epoch++;
}

enum rc topology__apply_SLOT_ASSIGN(struct change *c, const void *body)
{
    const struct topo_slot_assign *b = body;
    struct topology *t = c->t;
    const char *fault = topology__ranges_fault(b->ranges, b->ranges_count);
    if (fault == NULL && topo_id_is_none(b->group) && topo_id_is_none(b->expect_owner))
        fault = "slots are taken away from somebody";
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    struct topo_group *g = topology__group(t, b->group);
    if (g == NULL && !topo_id_is_none(b->group))
        return topology__refuse(c, "Unknown group %s", topo_id_hex(b->group).text);
    struct topo_group *source = NULL;
    for (uint32_t i = 0; i < b->ranges_count; i++) {
        for (uint32_t slot = b->ranges[i].first; slot <= b->ranges[i].last; slot++) {
            if (refuse_owner(c, b, slot)) return RC_OK;
            struct topo_group *owner = topology__owner(t, (uint16_t)slot);
            if (owner != NULL && owner != g) source = owner;
        }
    }
    if (refuse_migrating(c, b->ranges, b->ranges_count)) return RC_OK;
    for (uint32_t i = 0; i < b->ranges_count; i++) {
        topology__give(t, b->ranges[i], g);
        clear_marks(t, b->ranges[i]);
    }
    if (source != NULL) bump_epochs(source, g);
    return RC_OK;
}

/* ---- marks by hand */

/* Texts as Redis's CLUSTER SETSLOT, where it has them. */
static bool refuse_mark(struct change *c, const struct topo_slot_mark *b,
                        const struct topo_slot_marks *old)
{
    const struct topo_group *owner = topology__owner(c->t, b->slot);
    if (topology__group(c->t, b->group) == NULL)
        return refused(topology__refuse(c, "Unknown group %s", topo_id_hex(b->group).text));
    if (b->mark == TOPO_STABLE) return false;
    bool owns = owner != NULL && topo_id_equal(owner->id, b->group);
    if (b->mark == TOPO_MIGRATING && !owns)
        return refused(topology__refuse(c, "I'm not the owner of hash slot %u", b->slot));
    if (b->mark == TOPO_IMPORTING && owns)
        return refused(topology__refuse(c, "I'm already the owner of hash slot %u", b->slot));
    if (topology__group(c->t, b->peer) == NULL)
        return refused(topology__refuse(c, "Unknown group %s", topo_id_hex(b->peer).text));
    if (topo_id_equal(b->group, b->peer))
        return refused(topology__refuse(c, "hash slot %u: both groups are the same", b->slot));
    if (b->mark == TOPO_MIGRATING || old == NULL || topo_id_is_none(old->importing_to) ||
        topo_id_equal(old->importing_to, b->group))
        return false;
    return refused(topology__refuse(c, "hash slot %u is being imported by group %s", b->slot,
                                    topo_id_hex(old->importing_to).text));
}

static struct topo_slot_marks marked(struct topo_slot_marks m, const struct topo_slot_mark *b)
{
    static const struct topo_id none;
    if (b->mark == TOPO_MIGRATING) {
        m.migrating_to = b->peer;
    } else if (b->mark == TOPO_IMPORTING) {
        m.importing_to = b->group;
        m.importing_from = b->peer;
    } else if (topo_id_equal(m.importing_to, b->group)) {
        m.importing_to = m.importing_from = none;
    } else {
        m.migrating_to = none;
    }
    return m;
}

enum rc topology__apply_SLOT_MARK(struct change *c, const void *body)
{
    const struct topo_slot_mark *b = body;
    struct topology *t = c->t;
    bool found = false;
    if (b->slot >= SLOT_COUNT) return topology__unreadable(c, "a slot out of bounds");
    if (b->mark < TOPO_STABLE || b->mark > TOPO_IMPORTING)
        return topology__unreadable(c, "no such mark of a slot");
    uint32_t place = topology__mark_place(t, b->slot, &found);
    if (refuse_mark(c, b, found ? &t->marks[place] : NULL)) return RC_OK;
    struct topo_range slot = {.first = b->slot, .last = b->slot};
    if (refuse_migrating(c, &slot, 1)) return RC_OK;
    if (!found && b->mark == TOPO_STABLE) return RC_OK;
    if (!found) {
        if (!topology__mark_room(t)) return RC_NOMEM;
        topology__mark_insert(t, place, (struct topo_slot_marks){.slot = b->slot});
    }
    t->marks[place] = marked(t->marks[place], b);
    if (topo_id_is_none(t->marks[place].migrating_to) &&
        topo_id_is_none(t->marks[place].importing_to))
        clear_marks(t, slot);
    return RC_OK;
}

/* ---- migrations */

/* Migrations under way: all, and those with that source or that target, whichever are more. */
static uint32_t open_migrations(const struct topology *t, struct topo_id source,
                                struct topo_id target, uint32_t *of_these_out)
{
    uint32_t sources = 0;
    uint32_t targets = 0;
    uint32_t all = 0;
    for (uint32_t i = 0; i < t->migrations.count; i++) {
        const struct topo_migration *m = t->migrations.at[i];
        if (!topology__migration_open(m)) continue;
        all++;
        sources += topo_id_equal(m->source, source);
        targets += topo_id_equal(m->target, target);
    }
    *of_these_out = sources > targets ? sources : targets;
    return all;
}

static bool refuse_side(struct change *c, struct topo_id id, uint64_t epoch)
{
    const struct topo_group *g = topology__group(c->t, id);
    if (g == NULL) return refused(topology__refuse(c, "Unknown group %s", topo_id_hex(id).text));
    if (g->epoch == epoch) return false;
    return refused(topology__refuse(c, "group %s is in epoch %" PRIu64 ", not %" PRIu64,
                                    topo_id_hex(id).text, g->epoch, epoch));
}

static bool refuse_not_owned(struct change *c, const struct topo_range *ranges, uint32_t count,
                             struct topo_id source)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t slot = ranges[i].first; slot <= ranges[i].last; slot++) {
            const struct topo_group *owner = topology__owner(c->t, (uint16_t)slot);
            if (owner != NULL && topo_id_equal(owner->id, source)) continue;
            return refused(topology__refuse(c, "slot %u is not owned by group %s", slot,
                                            topo_id_hex(source).text));
        }
    }
    return false;
}

static bool refuse_marked(struct change *c, const struct topo_range *ranges, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;
        uint32_t place = topology__mark_place(c->t, ranges[i].first, &found);
        if (place == c->t->marks_count || c->t->marks[place].slot > ranges[i].last) continue;
        return refused(topology__refuse(c, "slot %u is marked by hand as migrating or importing",
                                        c->t->marks[place].slot));
    }
    return false;
}

static bool refuse_plan(struct change *c, const struct topo_mig_plan *b)
{
    uint32_t limit = b->limit == 0 ? 1 : b->limit;
    if (refuse_side(c, b->source, b->source_epoch) || refuse_side(c, b->target, b->target_epoch) ||
        refuse_not_owned(c, b->ranges, b->ranges_count, b->source) ||
        refuse_migrating(c, b->ranges, b->ranges_count) ||
        refuse_marked(c, b->ranges, b->ranges_count))
        return true;
    uint32_t of_these = 0;
    uint32_t all = open_migrations(c->t, b->source, b->target, &of_these);
    if (of_these >= limit)
        return refused(
            topology__refuse(c, "one of the groups has %u migrations under way", of_these));
    if (all >= TOPOLOGY_MIGRATIONS_MAX)
        return refused(topology__refuse(c, "%u migrations are under way", all));
    return false;
}

enum rc topology__apply_MIG_PLAN(struct change *c, const void *body)
{
    const struct topo_mig_plan *b = body;
    struct topology *t = c->t;
    const char *fault = topology__ranges_fault(b->ranges, b->ranges_count);
    if (topo_id_is_none(b->id)) fault = "a migration needs an id";
    if (fault == NULL && topo_id_equal(b->source, b->target)) fault = "both groups are the same";
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    bool found = false;
    uint32_t place = topology__migration_place(t, b->id, &found);
    if (found) return topology__refuse(c, "migration %s exists already", topo_id_hex(b->id).text);
    if (refuse_plan(c, b)) return RC_OK;
    struct topo_migration like = {.id = b->id,
                                  .ranges = b->ranges,
                                  .ranges_count = b->ranges_count,
                                  .source = b->source,
                                  .target = b->target,
                                  .source_epoch = b->source_epoch,
                                  .target_epoch = b->target_epoch,
                                  .state = TOPO_MIG_PLANNED,
                                  .planned = c->index,
                                  .changed = c->index,
                                  .planned_hlc = c->entry->hlc,
                                  .changed_hlc = c->entry->hlc};
    if (!topology__list_room(&t->migrations)) return RC_NOMEM;
    struct topo_migration *m = topology__migration_new(&like);
    if (m == NULL) return RC_NOMEM;
    topology__list_insert(&t->migrations, place, m);
    return RC_OK;
}

static const char *state_name(uint8_t state)
{
    static const char *const names[] = {"?",      "planned", "copy",   "catch-up",
                                        "switch", "done",    "aborted"};
    return state < COUNT_OF(names) ? names[state] : "?";
}

/* NULL: refused. */
static struct topo_migration *open_migration(struct change *c, struct topo_id id)
{
    bool found = false;
    uint32_t place = topology__migration_place(c->t, id, &found);
    if (!found) {
        (void)topology__refuse(c, "Unknown migration %s", topo_id_hex(id).text);
        return NULL;
    }
    struct topo_migration *m = c->t->migrations.at[place];
    if (topology__migration_open(m)) return m;
    (void)topology__refuse(c, "migration %s is over: %s", topo_id_hex(id).text,
                           state_name(m->state));
    return NULL;
}

static void move_on(struct change *c, struct topo_migration *m, uint8_t state)
{
    m->state = state;
    m->changed = c->index;
    m->changed_hlc = c->entry->hlc;
}

/* Of the finished ones the one that ended first goes when there are too many. */
static void drop_oldest(struct topology *t)
{
    uint32_t finished = 0;
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < t->migrations.count; i++) {
        const struct topo_migration *m = t->migrations.at[i];
        if (topology__migration_open(m)) continue;
        const struct topo_migration *first = t->migrations.at[oldest];
        if (finished++ == 0 || m->changed < first->changed) oldest = i;
    }
    if (finished <= TOPOLOGY_MIGRATIONS_KEPT) return;
    topology__migration_free(t->migrations.at[oldest]);
    topology__list_remove(&t->migrations, oldest);
}

enum rc topology__apply_MIG_STEP(struct change *c, const void *body)
{
    const struct topo_mig_step *b = body;
    if (b->expect_state < TOPO_MIG_PLANNED || b->state > TOPO_MIG_SWITCH ||
        b->state != b->expect_state + 1)
        return topology__unreadable(c, "a migration moves on by one state, up to switch");
    struct topo_migration *m = open_migration(c, b->id);
    if (m == NULL) return RC_OK;
    if (m->state != b->expect_state)
        return topology__refuse(c, "migration %s is in %s, not %s", topo_id_hex(b->id).text,
                                state_name(m->state), state_name(b->expect_state));
    move_on(c, m, b->state);
    return RC_OK;
}

enum rc topology__apply_MIG_COMMIT(struct change *c, const void *body)
{
    const struct topo_mig_commit *b = body;
    if (b->position.len > TOPOLOGY_NOTE_BYTES_MAX)
        return topology__unreadable(c, "a position too long");
    struct topo_migration *m = open_migration(c, b->id);
    if (m == NULL) return RC_OK;
    if (m->state != TOPO_MIG_SWITCH)
        return topology__refuse(c, "migration %s is in %s, not %s", topo_id_hex(b->id).text,
                                state_name(m->state), state_name(TOPO_MIG_SWITCH));
    if (b->source_epoch != m->source_epoch || b->target_epoch != m->target_epoch)
        return topology__refuse(c, "migration %s was planned in other epochs",
                                topo_id_hex(b->id).text);
    if (refuse_side(c, m->source, m->source_epoch) || refuse_side(c, m->target, m->target_epoch))
        return RC_OK;
    struct topo_group *target = topology__group(c->t, m->target);
    for (uint32_t i = 0; i < m->ranges_count; i++)
        topology__give(c->t, m->ranges[i], target);
    bump_epochs(topology__group(c->t, m->source), target);
    m->position = put_note(m, b->position);
    move_on(c, m, TOPO_MIG_DONE);
    drop_oldest(c->t);
    return RC_OK;
}

enum rc topology__apply_MIG_ABORT(struct change *c, const void *body)
{
    const struct topo_mig_abort *b = body;
    if (b->reason.len > TOPOLOGY_NOTE_BYTES_MAX)
        return topology__unreadable(c, "a reason too long");
    struct topo_migration *m = open_migration(c, b->id);
    if (m == NULL) return RC_OK;
    m->reason = put_note(m, b->reason);
    move_on(c, m, TOPO_MIG_ABORTED);
    drop_oldest(c->t);
    return RC_OK;
}

/* ---- reading */

const struct topo_group *topology_owner(const struct topology *t, uint16_t slot)
{
    assert(slot < SLOT_COUNT);
    return topology__owner(t, slot);
}

bool topology_next_range(const struct topology *t, uint32_t from, struct topo_range *range,
                         const struct topo_group **owner_out)
{
    while (from < SLOT_COUNT && t->slot_handle[from] == NO_HANDLE)
        from++;
    if (from >= SLOT_COUNT) return false;
    uint32_t last = from;
    while (last + 1 < SLOT_COUNT && t->slot_handle[last + 1] == t->slot_handle[from])
        last++;
    *range = (struct topo_range){.first = (uint16_t)from, .last = (uint16_t)last};
    *owner_out = topology__owner(t, (uint16_t)from);
    return true;
}

uint32_t topology_marks(const struct topology *t)
{
    return t->marks_count;
}

const struct topo_slot_marks *topology_mark_at(const struct topology *t, uint32_t i)
{
    assert(i < t->marks_count);
    return &t->marks[i];
}

uint32_t topology_migrations(const struct topology *t)
{
    return t->migrations.count;
}

const struct topo_migration *topology_migration_at(const struct topology *t, uint32_t i)
{
    assert(i < t->migrations.count);
    return t->migrations.at[i];
}

const struct topo_migration *topology_migration_find(const struct topology *t, struct topo_id id)
{
    bool found = false;
    uint32_t place = topology__migration_place(t, id, &found);
    return found ? t->migrations.at[place] : NULL;
}
