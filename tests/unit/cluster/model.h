/* tests/unit/cluster/model.h: what the entries mean, said a second time: small numbers instead of ids, an
 * array element for every slot, no memory, no bytes. docs/formats/topology.md is what it was written from. */
#ifndef MOON_TESTS_TOPOLOGY_MODEL_H
#define MOON_TESTS_TOPOLOGY_MODEL_H

#include "tests/unit/cluster/tfix.h"

#define NODES 10   /* node n is nid(n + 1) */
#define GROUPS 6   /* group g is gid(g + 1) */
#define PLANS 200  /* migration m is mid(m + 1) */
#define NAMES 3    /* of each kind of items */
#define SECTIONS 5 /* config, ACL, functions, catalog FT, catalog WS */
#define NOBODY (-1)

enum place { NOT_MEMBER, OUTSIDE, IN_SYNC, ELIGIBLE };

struct model {
    bool init;
    struct {
        bool known, down;
        uint64_t incarnation, number, forgotten;
    } node[NODES];
    struct {
        bool exists;
        int mode, min_isr, primary;
        uint64_t epoch, history;
        enum place place[NODES];
        uint64_t life[NODES];
    } group[GROUPS];
    int owner[SLOT_COUNT];
    struct {
        int migrating_to, importing_to, importing_from;
    } mark[SLOT_COUNT];
    struct {
        int state, source, target; /* state 0: never planned */
        uint64_t source_epoch, target_epoch, ended;
        struct topo_range ranges[4];
        uint32_t ranges_count;
        bool forgotten; /* was dropped as the oldest finished one */
    } plan[PLANS];
    uint64_t item[SECTIONS][NAMES]; /* version; 0: none */
    uint64_t next_number, next_coordinator, version, map_version;
};

/* Whether the entry is applied; then the model has changed. */
bool model_apply(struct model *m, uint32_t type, const void *body);
/* Whether a topology says the same. */
void model_compare(const struct model *m, const struct topology *t);
void model_init(struct model *m);
int node_index(struct topo_id id); /* NOBODY: not one of ours */
int group_index(struct topo_id id);
int members_in(const struct model *m, int g, enum place place);

#endif
