/* The tables between topology.proto and the structs of topology_entry.h, topology.h and
 * topology_priv.h; a unit test holds each against its descriptor. */
#include "cluster/topology_priv.h"

#include "cluster/topology.pb-c.h"
#include "cluster/wire_tables.h"

#define TABLE(struct_, message, ...) WIRE_TABLE(topo__, struct_, message, __VA_ARGS__)

// clang-format off
TABLE(topo_range, range,
      U16(topo_range, first),
      U16(topo_range, last));
TABLE(topo_member, member,
      FIXED(topo_member, node),
      U64(topo_member, incarnation));
TABLE(topo_node_info, node_info,
      FIXED(topo_node_info, id),
      U64(topo_node_info, incarnation),
      BYTES(topo_node_info, ip),
      BYTES(topo_node_info, hostname),
      U16(topo_node_info, port),
      U16(topo_node_info, tls_port),
      U16(topo_node_info, bus_port),
      BYTES(topo_node_info, az),
      U32(topo_node_info, level),
      U32(topo_node_info, flags));
TABLE(topology_entry, entry,
      U32(topology_entry, level),
      U32(topology_entry, type),
      U64(topology_entry, hlc),
      FIXED_AT(topology_entry, "req_node", request.node),
      AT(topology_entry, "req_incarnation", request.incarnation, WIRE_U64, 8),
      AT(topology_entry, "req_counter", request.counter, WIRE_U64, 8),
      BYTES(topology_entry, body));
TABLE(topo_cluster_init, cluster_init,
      FIXED(topo_cluster_init, cluster_id),
      U32(topo_cluster_init, level));
TABLE(topo_node_join, node_join,
      ONE(topo_node_join, node, topo_node_info));
TABLE(topo_node_update, node_update,
      ONE(topo_node_update, node, topo_node_info));
TABLE(topo_node_health, node_health,
      FIXED(topo_node_health, node),
      U64(topo_node_health, incarnation),
      BOOL(topo_node_health, down));
TABLE(topo_node_forget, node_forget,
      FIXED(topo_node_forget, node));
TABLE(topo_absorb, absorb,
      ONE(topo_absorb, node, topo_node_info),
      FIXED(topo_absorb, group),
      U8(topo_absorb, mode),
      U32(topo_absorb, min_isr),
      U64(topo_absorb, epoch),
      U64(topo_absorb, history),
      MANY(topo_absorb, ranges, topo_range, TOPOLOGY_RANGES_MAX),
      FIXED(topo_absorb, from_cluster));
TABLE(topo_feature_level, feature_level,
      U32(topo_feature_level, level));
TABLE(topo_group_create, group_create,
      FIXED(topo_group_create, group),
      U8(topo_group_create, mode),
      U32(topo_group_create, min_isr),
      ONE(topo_group_create, primary, topo_member));
TABLE(topo_group_delete, group_delete,
      FIXED(topo_group_delete, group));
TABLE(topo_group_mode, group_mode,
      FIXED(topo_group_mode, group),
      U8(topo_group_mode, mode),
      U32(topo_group_mode, min_isr));
TABLE(topo_group_epoch, group_epoch,
      FIXED(topo_group_epoch, group),
      U64(topo_group_epoch, epoch),
      BOOL(topo_group_epoch, initial));
TABLE(topo_replica_add, replica_add,
      FIXED(topo_replica_add, group),
      FIXED(topo_replica_add, node));
TABLE(topo_replica_remove, replica_remove,
      FIXED(topo_replica_remove, group),
      FIXED(topo_replica_remove, node));
TABLE(topo_isr_shrink, isr_shrink,
      FIXED(topo_isr_shrink, group),
      U64(topo_isr_shrink, epoch),
      MANY(topo_isr_shrink, out, topo_member, TOPOLOGY_MEMBERS_MAX),
      ONE(topo_isr_shrink, by, topo_member),
      BOOL(topo_isr_shrink, by_leader));
TABLE(topo_isr_grow, isr_grow,
      FIXED(topo_isr_grow, group),
      U64(topo_isr_grow, epoch),
      MANY(topo_isr_grow, in, topo_member, TOPOLOGY_MEMBERS_MAX),
      ONE(topo_isr_grow, by, topo_member));
TABLE(topo_promote, promote,
      FIXED(topo_promote, group),
      U64(topo_promote, epoch),
      ONE(topo_promote, to, topo_member),
      U8(topo_promote, cause),
      MANY(topo_promote, drop, topo_member, TOPOLOGY_MEMBERS_MAX),
      MANY(topo_promote, fenced, topo_member, TOPOLOGY_MEMBERS_MAX),
      BOOL(topo_promote, log_intact),
      BYTES(topo_promote, note));
TABLE(topo_slot_assign, slot_assign,
      MANY(topo_slot_assign, ranges, topo_range, TOPOLOGY_RANGES_MAX),
      FIXED(topo_slot_assign, group),
      FIXED(topo_slot_assign, expect_owner));
TABLE(topo_slot_mark, slot_mark,
      U16(topo_slot_mark, slot),
      U8(topo_slot_mark, mark),
      FIXED(topo_slot_mark, group),
      FIXED(topo_slot_mark, peer));
TABLE(topo_mig_plan, mig_plan,
      FIXED(topo_mig_plan, id),
      MANY(topo_mig_plan, ranges, topo_range, TOPOLOGY_RANGES_MAX),
      FIXED(topo_mig_plan, source),
      U64(topo_mig_plan, source_epoch),
      FIXED(topo_mig_plan, target),
      U64(topo_mig_plan, target_epoch),
      U32(topo_mig_plan, limit));
TABLE(topo_mig_step, mig_step,
      FIXED(topo_mig_step, id),
      U8(topo_mig_step, expect_state),
      U8(topo_mig_step, state));
TABLE(topo_mig_commit, mig_commit,
      FIXED(topo_mig_commit, id),
      U64(topo_mig_commit, source_epoch),
      U64(topo_mig_commit, target_epoch),
      BYTES(topo_mig_commit, position));
TABLE(topo_mig_abort, mig_abort,
      FIXED(topo_mig_abort, id),
      BYTES(topo_mig_abort, reason));
TABLE(topo_item_put, item_put,
      U32(topo_item_put, kind),
      BYTES(topo_item_put, name),
      BYTES(topo_item_put, value),
      BOOL(topo_item_put, expect),
      U64(topo_item_put, expect_version));
TABLE(topo_item_drop, item_drop,
      U32(topo_item_drop, kind),
      BYTES(topo_item_drop, name),
      BOOL(topo_item_drop, expect),
      U64(topo_item_drop, expect_version));
TABLE(topo_reserve_ids, reserve,
      U32(topo_reserve_ids, kind),
      U32(topo_reserve_ids, count));
TABLE(snap_head, snap_head,
      FIXED(snap_head, cluster_id),
      U64(snap_head, version),
      U64(snap_head, map_version),
      U64(snap_head, hlc),
      U32(snap_head, level),
      U64(snap_head, next_node_number),
      U64(snap_head, next_coordinator),
      U64(snap_head, config_version),
      U64(snap_head, acl_version),
      U64(snap_head, function_version),
      U64(snap_head, catalog_version));
TABLE(topo_node, snap_node,
      ONE(topo_node, info, topo_node_info),
      U64(topo_node, number),
      BOOL(topo_node, down),
      U64(topo_node, req_incarnation),
      U64(topo_node, req_highest),
      U64(topo_node, req_seen),
      U64(topo_node, req_ok));
TABLE(topo_group_member, snap_member,
      FIXED(topo_group_member, node),
      U64(topo_group_member, incarnation),
      U8(topo_group_member, standing));
TABLE(snap_group, snap_group,
      FIXED_AT(snap_group, "id", group.id),
      AT(snap_group, "mode", group.mode, WIRE_U8, 1),
      AT(snap_group, "min_isr", group.min_isr, WIRE_U32, 4),
      AT(snap_group, "epoch", group.epoch, WIRE_U64, 8),
      AT(snap_group, "history", group.history, WIRE_U64, 8),
      FIXED_AT(snap_group, "primary", group.primary),
      MANY_AT(snap_group, "members", group.members, topo_group_member, TOPOLOGY_MEMBERS_MAX),
      MANY(snap_group, slots, topo_range, TOPOLOGY_RANGES_MAX));
TABLE(topo_slot_marks, snap_slot_mark,
      U16(topo_slot_marks, slot),
      FIXED(topo_slot_marks, migrating_to),
      FIXED(topo_slot_marks, importing_to),
      FIXED(topo_slot_marks, importing_from));
TABLE(topo_migration, snap_migration,
      FIXED(topo_migration, id),
      MANY(topo_migration, ranges, topo_range, TOPOLOGY_RANGES_MAX),
      FIXED(topo_migration, source),
      U64(topo_migration, source_epoch),
      FIXED(topo_migration, target),
      U64(topo_migration, target_epoch),
      U8(topo_migration, state),
      U64(topo_migration, planned),
      U64(topo_migration, changed),
      U64(topo_migration, planned_hlc),
      U64(topo_migration, changed_hlc),
      BYTES(topo_migration, position),
      BYTES(topo_migration, reason));
TABLE(topo_item, snap_item,
      U8(topo_item, section),
      U32(topo_item, kind),
      BYTES(topo_item, name),
      BYTES(topo_item, value),
      U64(topo_item, version),
      U64(topo_item, hlc));
TABLE(snap_end, snap_end,
      U64(snap_end, records));
// clang-format on
