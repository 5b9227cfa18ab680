/* cluster/topology_priv.h: the parts of a topology, for the files that apply entries to them.
 *
 * Every handler has three parts in this order: it looks (preconditions; a refusal leaves nothing behind),
 * it takes the memory that the change needs (RC_NOMEM leaves nothing behind), it changes (cannot fail).
 *
 * Nodes, migrations and items are one block each, strings behind the struct; what changes in them is
 * replaced by a new block. Groups keep their address and are changed in place. Slots name their group by a
 * handle, a small number that only this process uses: 32 KiB for all slots. */
#ifndef MOON_CLUSTER_TOPOLOGY_PRIV_H
#define MOON_CLUSTER_TOPOLOGY_PRIV_H

#include "cluster/topology.h"
#include "shard/base/assert.h"
#include "shard/base/limits.h"

/* Pointers in order, room taken before it is needed. */
struct topology_list {
    void **at;
    uint32_t count, room;
};
MUST_CHECK bool topology__list_room(struct topology_list *l); /* for one more */
void topology__list_insert(struct topology_list *l, uint32_t index, void *p);
void topology__list_remove(struct topology_list *l, uint32_t index);
/* Where `key` is or would be; *found_out says which. compare(key, element). */
uint32_t topology__list_find(const struct topology_list *l, const void *key,
                             int (*compare)(const void *key, const void *element), bool *found_out);

#define NO_HANDLE 0xffffu /* of an unowned slot */
static_assert(TOPOLOGY_GROUPS_MAX < NO_HANDLE, "a handle is 16 bits");

struct topology {
    bool initialised;
    struct topo_cluster_id cluster_id;
    uint32_t level;
    uint64_t version, map_version, hlc;
    uint64_t next_node_number, next_coordinator;
    uint64_t section_version[TOPO_SECTIONS];
    struct topology_list nodes, groups, migrations, items;
    struct topology_list handles; /* handle → group; NULL: free */
    uint16_t slot_handle[SLOT_COUNT];
    struct topo_slot_marks *marks;
    uint32_t marks_count, marks_room;
    struct topo_member forgotten[TOPOLOGY_FORGOTTEN_KEPT]; /* oldest first */
    uint32_t forgotten_count;
    uint64_t items_bytes;
};

/* One entry on its way in. */
struct change {
    struct topology *t;
    uint64_t index;
    const struct topology_entry *entry;
    struct topology_result *result;
};

/* Ends a handler: the entry is refused, or is none. Both return RC_OK: the log has its result. */
enum rc topology__refuse(struct change *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
enum rc topology__unreadable(struct change *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* For functions named refuse_…, which are true when they refused: return refused(topology__refuse(…)). */
static inline bool refused(enum rc rc)
{
    return rc == RC_OK;
}

/* The row of each type: how its body is read, who applies it. */
struct topology_handler {
    const char *name;
    uint32_t level;
    const struct wire_type *body;
    enum rc (*apply)(struct change *c, const void *body);
};
/* NULL: not known. */
const struct topology_handler *topology__handler(uint32_t type);

#define X(number, name, body, level)                                                               \
    enum rc topology__apply_##name(struct change *c, const void *body);
TOPOLOGY_ENTRIES(X)
#undef X

/* ---- topology_wire.c */

/* All bodies' tables, by the name of their struct. */
#define X(body) extern const struct wire_type body##_wire;
#define TOPOLOGY_BODIES(X)                                                                         \
    X(topo_cluster_init)                                                                           \
    X(topo_node_join)                                                                              \
    X(topo_node_update)                                                                            \
    X(topo_node_health)                                                                            \
    X(topo_node_forget)                                                                            \
    X(topo_absorb)                                                                                 \
    X(topo_feature_level)                                                                          \
    X(topo_group_create)                                                                           \
    X(topo_group_delete)                                                                           \
    X(topo_group_mode)                                                                             \
    X(topo_group_epoch)                                                                            \
    X(topo_replica_add)                                                                            \
    X(topo_replica_remove)                                                                         \
    X(topo_isr_shrink)                                                                             \
    X(topo_isr_grow)                                                                               \
    X(topo_promote)                                                                                \
    X(topo_slot_assign)                                                                            \
    X(topo_slot_mark)                                                                              \
    X(topo_mig_plan)                                                                               \
    X(topo_mig_step)                                                                               \
    X(topo_mig_commit)                                                                             \
    X(topo_mig_abort)                                                                              \
    X(topo_item_put)                                                                               \
    X(topo_item_drop)                                                                              \
    X(topo_reserve_ids)                                                                            \
    X(topo_range)                                                                                  \
    X(topo_node_info)                                                                              \
    X(topo_group_member)                                                                           \
    X(topology_entry)                                                                              \
    X(snap_head)                                                                                   \
    X(topo_node)                                                                                   \
    X(topo_member)                                                                                 \
    X(snap_group)                                                                                  \
    X(topo_slot_marks)                                                                             \
    X(topo_migration)                                                                              \
    X(topo_item)                                                                                   \
    X(snap_end)
TOPOLOGY_BODIES(X)
#undef X

struct snap_head {
    struct topo_cluster_id cluster_id;
    uint64_t version, map_version, hlc;
    uint32_t level;
    uint64_t next_node_number, next_coordinator;
    uint64_t config_version, acl_version, function_version, catalog_version;
};
struct snap_group {
    struct topo_group group; /* what the snapshot has of it */
    const struct topo_range *slots;
    uint32_t slots_count;
};
struct snap_end {
    uint64_t records;
};

/* ---- topology_nodes.c */

/* A block of its own with copies of the strings. NULL: out of memory. */
struct topo_node *topology__node_new(const struct topo_node *like);
void topology__node_free(struct topo_node *n);
uint32_t topology__node_place(const struct topology *t, struct topo_id id, bool *found_out);
struct topo_node *topology__node(const struct topology *t, struct topo_id id); /* NULL: unknown */
/* NULL, or what is wrong with it (static text). */
const char *topology__info_fault(const struct topo_node_info *info);

/* ---- topology_groups.c */

struct topo_group *topology__group_new(const struct topo_group *like, uint32_t members_room);
void topology__group_free(struct topo_group *g);
uint32_t topology__group_place(const struct topology *t, struct topo_id id, bool *found_out);
struct topo_group *topology__group(const struct topology *t, struct topo_id id);
struct topo_group *topology__group_having(const struct topology *t, struct topo_id node);
struct topo_group_member *topology__member(const struct topo_group *g, struct topo_id node);
/* Room in the lists for one more group and its handle. */
MUST_CHECK bool topology__group_room(struct topology *t);
void topology__group_insert(struct topology *t, struct topo_group *g); /* after _room */
void topology__group_remove(struct topology *t, struct topo_group *g); /* frees it */
/* What refers to a group so that it may not go: NULL, or a text. */
const char *topology__group_use(const struct topology *t, const struct topo_group *g);
MUST_CHECK bool topology__member_room(struct topo_group *g);
void topology__member_insert(struct topo_group *g, struct topo_group_member m); /* after _room */
void topology__member_remove(struct topo_group *g, struct topo_id node);
/* NULL, or what is wrong with them. */
const char *topology__mode_fault(uint8_t mode, uint32_t min_isr);

/* ---- topology_slots.c */

struct topo_group *topology__owner(const struct topology *t, uint16_t slot);
void topology__give(struct topology *t, struct topo_range range, struct topo_group *g);
/* NULL, or what is wrong: ranges rise, inside the slots, at least one. */
const char *topology__ranges_fault(const struct topo_range *ranges, uint32_t count);
struct topo_migration *topology__migration_new(const struct topo_migration *like);
void topology__migration_free(struct topo_migration *m);
uint32_t topology__migration_place(const struct topology *t, struct topo_id id, bool *found_out);
static inline bool topology__migration_open(const struct topo_migration *m)
{
    return m->state < TOPO_MIG_DONE;
}
/* Where the marks of a slot are or would be. */
uint32_t topology__mark_place(const struct topology *t, uint16_t slot, bool *found_out);
MUST_CHECK bool topology__mark_room(struct topology *t);
void topology__mark_insert(struct topology *t, uint32_t place, struct topo_slot_marks m);

/* ---- topology_items.c */

struct topo_item *topology__item_new(const struct topo_item *like);
void topology__item_free(struct topo_item *item);
uint32_t topology__item_place(const struct topology *t, const struct topo_item *key,
                              bool *found_out);
static inline uint64_t topology__item_bytes(const struct topo_item *item)
{
    return sizeof *item + item->name.len + item->value.len;
}

#endif
