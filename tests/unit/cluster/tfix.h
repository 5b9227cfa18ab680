/* tests/unit/cluster/tfix.h: a topology that takes entries one by one and is looked over after each: all
 * its relations hold, and an entry that was refused has changed nothing but the version.
 *
 *     struct tworld w;
 *     tworld_init(&w);                                             // with a cluster id
 *     ok(&w, NODE_JOIN, .node = info(1, 1));
 *     refuse(&w, "Unknown group 81…", SLOT_ASSIGN, .ranges = R({0, 5}), .ranges_count = 1, .group = gid(1));
 *     tworld_free(&w);                                             // and nothing may leak
 */
#ifndef MOON_TESTS_TFIX_H
#define MOON_TESTS_TFIX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/topology_priv.h"

#define X(number, name, body, level) typedef struct body body_##name;
TOPOLOGY_ENTRIES(X)
#undef X

struct tworld {
    struct topology *t;
    struct topology_result r; /* of the last entry */
    struct buf log;           /* all entries: length u32, bytes */
    struct buf parts;         /* the snapshot before the last entry */
    uint64_t hlc;
};

void tworld_init(struct tworld *w);
void tworld_init_empty(struct tworld *w); /* without a cluster id */
void tworld_free(struct tworld *w);

struct topo_id nid(uint8_t n); /* of nodes, groups, migrations: told apart at a glance */
struct topo_id gid(uint8_t n);
struct topo_id mid(uint8_t n);
static inline struct topo_member life(uint8_t n, uint64_t incarnation)
{
    return (struct topo_member){.node = nid(n), .incarnation = incarnation};
}
struct topo_node_info info(uint8_t n, uint64_t incarnation);

/* Arrays of bodies. */
#define R(...) ((const struct topo_range[]){__VA_ARGS__})
#define M(...) ((const struct topo_member[]){__VA_ARGS__})

/* Applies an entry of that type. */
#define ok(w, type, ...)                                                                           \
    tworld_ok((w), TOPO_##type, &(const body_##type){__VA_ARGS__}, __FILE__, __LINE__)
/* Expects a refusal whose text begins with this one. */
#define refuse(w, text, type, ...)                                                                 \
    tworld_refused((w), TOPOLOGY_REFUSED, (text), TOPO_##type, &(const body_##type){__VA_ARGS__},  \
                   __FILE__, __LINE__)
#define unreadable(w, text, type, ...)                                                             \
    tworld_refused((w), TOPOLOGY_UNREADABLE, (text), TOPO_##type,                                  \
                   &(const body_##type){__VA_ARGS__}, __FILE__, __LINE__)

void tworld_ok(struct tworld *w, uint32_t type, const void *body, const char *file, int line);
void tworld_refused(struct tworld *w, enum topology_verdict verdict, const char *text,
                    uint32_t type, const void *body, const char *file, int line);
/* Any entry, as it comes; the result is in w->r. */
void tworld_apply(struct tworld *w, const struct topology_entry *entry, const void *body);
void tworld_apply_bytes(struct tworld *w, struct bytes bytes);

/* Every relation holds; the snapshot restores to the same hash; and the log, from the first entry on,
 * gives it again. */
void tworld_check(struct tworld *w);
uint64_t topo_hash(const struct topology *t);
void topo_snapshot(const struct topology *t, struct buf *out); /* replaces what is in out */

/* Groups 1 … count, group k of node k alone, each with an equal share of the slots. */
void tworld_groups(struct tworld *w, uint8_t count);
/* Node n joins, in incarnation 1, and becomes a replica of group g; in the in-sync set if `in_sync`. */
void tworld_replica(struct tworld *w, uint8_t g, uint8_t n, bool in_sync);
/* "1*:1 2:1 3?:1 4:-" members: primary *, eligible ?, outside -. */
const char *members(const struct tworld *w, uint8_t g);
uint64_t epoch(const struct tworld *w, uint8_t g);
/* The number of the group that owns a slot, 0 if nobody does. */
uint8_t owner(const struct tworld *w, uint16_t slot);

#endif
