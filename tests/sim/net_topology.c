/* tests/sim/net_topology.c: see net_topology.h. The books are written by the first node that applies an
 * entry, from the entry's own bytes and not from our state machine; all others are held against them. */
#include "tests/sim/net_topology.h"

#include <string.h>

#include "cluster/topology_priv.h" /* lint: allow private-headers, entries are read a second time */
#include "shard/base/crc.h"
#include "tests/sim/net_priv.h"

struct plan { /* of a migration, as it was applied */
    struct topo_range ranges[4];
    uint32_t ranges_count;
    struct topo_id target;
};
struct world {
    struct net *n;
    uint32_t hash_every;
    uint64_t *result; /* by index; 0: not applied */
    uint64_t *hash;   /* by version; 0: not known */
    struct topo_id owner[SLOT_COUNT];
    uint64_t epoch[DRAW_GROUPS];
    struct plan plan[DRAW_MIGRATIONS];
    uint64_t reserved[3];       /* the next id of a kind */
    uint8_t *done[NET_CLIENTS]; /* by counter of a request: was applied */
    struct draw_request request[NET_CLIENTS];
    struct topology *empty; /* what a client sees of a node that is down */
};

#define NUMBER(x) ((unsigned long long)(x))

struct world *world_new(struct net *n)
{
    static const uint32_t every[] = {1, 16, 16, 64, 64, 64};
    struct world *w = mem_zalloc(MEM_TEST, sizeof *w);
    w->n = n;
    w->hash_every = every[n->seed % COUNT_OF(every)];
    w->result = mem_zalloc(MEM_TEST, NET_INDEX_MAX * sizeof *w->result);
    w->hash = mem_zalloc(MEM_TEST, NET_INDEX_MAX * sizeof *w->hash);
    for (uint32_t i = 0; i < NET_CLIENTS; i++) {
        w->done[i] = mem_zalloc(MEM_TEST, NET_INDEX_MAX);
        w->request[i].node = i;
        buf_init(&w->request[i].last, MEM_TEST);
    }
    enum rc rc = topology_new(&w->empty);
    assert(rc == RC_OK);
    return w;
}

void world_free(struct world *w)
{
    for (uint32_t i = 0; i < NET_CLIENTS; i++) {
        mem_free(MEM_TEST, w->done[i], NET_INDEX_MAX);
        buf_free(&w->request[i].last);
    }
    mem_free(MEM_TEST, w->result, NET_INDEX_MAX * sizeof *w->result);
    mem_free(MEM_TEST, w->hash, NET_INDEX_MAX * sizeof *w->hash);
    topology_free(w->empty);
    mem_free(MEM_TEST, w, sizeof *w);
}

void world_begin(struct world *w, struct node *node)
{
    (void)w;
    enum rc rc = topology_new(&node->topology);
    assert(rc == RC_OK);
}

void world_end(struct world *w, struct node *node)
{
    (void)w;
    topology_free(node->topology);
    node->topology = NULL;
}

void world_draw(struct world *w, uint32_t client, uint32_t place, struct buf *out)
{
    const struct topology *t = w->n->node[place].topology;
    draw_entry(&w->n->rng, t != NULL ? t : w->empty, &w->request[client], out);
}

/* ---- looking at a whole state */

static struct topo_id owner_id(const struct topology *t, uint32_t slot)
{
    const struct topo_group *g = topology_owner(t, (uint16_t)slot);
    return g != NULL ? g->id : (struct topo_id){{0}};
}

static void check_slot(struct world *w, uint32_t place, const struct topology *t, uint32_t slot)
{
    struct topo_id id = owner_id(t, slot);
    if (topo_id_equal(id, w->owner[slot])) return;
    net_fail(w->n, "node %u: slot %u belongs to %.8s at version %llu, by the entries to %.8s",
             place, slot, topo_id_hex(id).text, NUMBER(topology_version(t)),
             topo_id_hex(w->owner[slot]).text);
}

/* The first to look writes down what the others must see. */
static void check_hash(struct world *w, uint32_t place, const struct topology *t)
{
    uint64_t version = topology_version(t), hash;
    enum rc rc = topology_hash(t, &hash);
    assert(rc == RC_OK);
    if (w->hash[version] == 0) w->hash[version] = hash;
    if (w->hash[version] != hash)
        net_fail(w->n, "node %u has another state at version %llu", place, NUMBER(version));
}

static void check_relations(struct world *w, uint32_t place, const struct topology *t)
{
    struct buf why;
    buf_init(&why, MEM_TEST);
    if (!topology_check(t, &why))
        net_fail(w->n, "node %u at version %llu: %.*s", place, NUMBER(topology_version(t)),
                 (int)why.len, (const char *)why.data);
    buf_free(&why);
}

/* ---- the books of slots */

static void moved(struct world *w, uint32_t place, const struct topology *t,
                  const struct topo_range *ranges, uint32_t count, struct topo_id from,
                  struct topo_id to)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t slot = ranges[i].first; slot <= ranges[i].last; slot++) {
            if (!topo_id_is_none(w->owner[slot]) && !topo_id_equal(w->owner[slot], from))
                net_fail(w->n, "node %u gives slot %u to %.8s while it is %.8s's", place, slot,
                         topo_id_hex(to).text, topo_id_hex(w->owner[slot]).text);
            w->owner[slot] = to;
            check_slot(w, place, t, slot);
        }
}

static uint32_t migration_of(struct topo_id id)
{
    return (uint32_t)id.bytes[1] - 1;
}

static void note_plan(struct world *w, const struct topo_mig_plan *b)
{
    struct plan *p = &w->plan[migration_of(b->id)];
    assert(b->ranges_count <= COUNT_OF(p->ranges));
    p->ranges_count = b->ranges_count;
    p->target = b->target;
    memcpy(p->ranges, b->ranges, b->ranges_count * sizeof *b->ranges);
}

static void note_slots(struct world *w, uint32_t place, const struct topology *t, uint32_t type,
                       const void *body)
{
    static const struct topo_id nobody;
    if (type == TOPO_SLOT_ASSIGN) {
        const struct topo_slot_assign *b = body;
        moved(w, place, t, b->ranges, b->ranges_count, b->expect_owner, b->group);
    } else if (type == TOPO_ABSORB) {
        const struct topo_absorb *b = body;
        moved(w, place, t, b->ranges, b->ranges_count, nobody, b->group);
    } else if (type == TOPO_MIG_PLAN) {
        note_plan(w, body);
    } else if (type == TOPO_MIG_COMMIT) {
        const struct topo_mig_commit *b = body;
        const struct plan *p = &w->plan[migration_of(b->id)];
        moved(w, place, t, p->ranges, p->ranges_count, w->owner[p->ranges[0].first], p->target);
    }
}

static struct topo_id first_loser(const struct world *w, const struct topo_range *ranges,
                                  uint32_t count, struct topo_id winner)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t slot = ranges[i].first; slot <= ranges[i].last; slot++)
            if (!topo_id_is_none(w->owner[slot]) && !topo_id_equal(w->owner[slot], winner))
                return w->owner[slot];
    return (struct topo_id){{0}};
}

/* Whose slots an entry takes away; none: it takes none. */
static struct topo_id loser_of(const struct world *w, uint32_t type, const void *body)
{
    const struct topo_slot_assign *assign = body;
    const struct topo_mig_commit *commit = body;
    if (type == TOPO_SLOT_ASSIGN)
        return first_loser(w, assign->ranges, assign->ranges_count, assign->group);
    if (type != TOPO_MIG_COMMIT) return (struct topo_id){{0}};
    const struct plan *p = &w->plan[migration_of(commit->id)];
    return first_loser(w, p->ranges, p->ranges_count, p->target);
}

/* Who lost slots is told apart from who still has them by its epoch. */
static void check_epochs(struct world *w, uint32_t place, const struct topology *t,
                         struct topo_id loser)
{
    for (uint32_t i = 0; i < DRAW_GROUPS; i++) {
        struct topo_id id = draw_group_id(i);
        const struct topo_group *g = topology_group_find(t, id);
        uint64_t epoch = g != NULL ? g->epoch : 0;
        if (g != NULL && epoch < w->epoch[i])
            net_fail(w->n, "node %u: the epoch of group %u falls from %llu to %llu", place, i,
                     NUMBER(w->epoch[i]), NUMBER(epoch));
        if (topo_id_equal(loser, id) && epoch <= w->epoch[i])
            net_fail(w->n, "node %u: group %u loses slots in epoch %llu and stays in it", place, i,
                     NUMBER(epoch));
        w->epoch[i] = epoch;
    }
}

/* ---- one entry */

static void note_reserve(struct world *w, uint32_t place, const struct topo_reserve_ids *b,
                         const struct topology_result *r)
{
    if (r->value < w->reserved[b->kind])
        net_fail(w->n, "node %u hands out number %llu of kind %u twice", place, NUMBER(r->value),
                 b->kind);
    w->reserved[b->kind] = r->value + b->count;
}

static void note_request(struct world *w, uint32_t place, const struct topo_request *q,
                         uint64_t index)
{
    if (topo_id_is_none(q->node)) return;
    uint32_t client = (uint32_t)q->node.bytes[1] - 1;
    assert(client < NET_CLIENTS && q->counter < NET_INDEX_MAX);
    if (w->done[client][q->counter])
        net_fail(w->n, "node %u applies request %llu of node %u again, at %llu", place,
                 NUMBER(q->counter), client, NUMBER(index));
    w->done[client][q->counter] = 1;
}

static void note_applied(struct world *w, uint32_t place, uint64_t index, struct bytes entry,
                         const struct topology_result *r)
{
    const struct topology *t = w->n->node[place].topology;
    struct topology_entry e = {0};
    struct wire_pool pool, body_pool;
    const char *why = NULL;
    _Alignas(16) uint8_t body[TOPOLOGY_BODY_BYTES_MAX];
    wire_pool_init(&pool);
    wire_pool_init(&body_pool);
    enum rc rc = wire_decode(&topology_entry_wire, entry, &pool, &e, &why);
    assert(rc == RC_OK);
    rc = wire_decode(topology__handler(e.type)->body, e.body, &body_pool, body, &why);
    assert(rc == RC_OK);
    struct topo_id loser = loser_of(w, e.type, body);
    note_request(w, place, &e.request, index);
    if (e.type == TOPO_RESERVE) note_reserve(w, place, (const void *)body, r);
    note_slots(w, place, t, e.type, body);
    check_epochs(w, place, t, loser);
    net_sums[e.type]++;
    wire_pool_free(&body_pool);
    wire_pool_free(&pool);
}

static uint64_t digest(const struct topology_result *r)
{
    uint64_t head[3] = {r->verdict, r->repeated, r->value};
    uint64_t d = crc64(1, (const uint8_t *)head, sizeof head);
    return crc64(d, (const uint8_t *)r->text, strlen(r->text)) | 1;
}

uint64_t world_apply(struct world *w, uint32_t place, uint64_t index, struct bytes entry)
{
    struct topology *t = w->n->node[place].topology;
    struct topology_result r;
    enum rc rc = topology_apply(t, index, entry, &r);
    if (rc != RC_OK) net_fail(w->n, "node %u cannot apply %llu: rc %d", place, NUMBER(index), rc);
    uint64_t result = digest(&r);
    bool first = w->result[index] == 0;
    if (first) w->result[index] = result;
    if (w->result[index] != result)
        net_fail(w->n, "node %u gets another result at %llu: %s", place, NUMBER(index), r.text);
    if (first && r.repeated) net_sums[NET_SUM_REPEATED]++;
    if (first && r.verdict != TOPOLOGY_APPLIED) net_sums[NET_SUM_REFUSED]++;
    if (first && !r.repeated && r.verdict == TOPOLOGY_APPLIED)
        note_applied(w, place, index, entry, &r);
    if (index % w->hash_every == 0) check_hash(w, place, t);
    if (index % 256 == 0) check_relations(w, place, t);
    return result;
}

/* ---- snapshots */

void world_save(struct world *w, uint32_t place, struct buf *out)
{
    const struct topology *t = w->n->node[place].topology;
    uint32_t bytes = 0;
    size_t at = out->len;
    buf_add(out, &bytes, sizeof bytes);
    enum rc rc = topology_snapshot(t, out);
    assert(rc == RC_OK);
    bytes = (uint32_t)(out->len - at - sizeof bytes);
    memcpy(out->data + at, &bytes, sizeof bytes);
    check_hash(w, place, t);
}

void world_restore(struct world *w, uint32_t place, struct bytes *saved)
{
    struct node *node = &w->n->node[place];
    struct topology *t = NULL;
    struct buf why;
    uint32_t bytes = 0;
    assert(saved->len >= sizeof bytes);
    memcpy(&bytes, saved->data, sizeof bytes);
    assert(saved->len - sizeof bytes >= bytes);
    buf_init(&why, MEM_TEST);
    enum rc rc = topology_restore(bytes_view(saved->data + sizeof bytes, bytes), &t, &why);
    if (rc != RC_OK)
        net_fail(w->n, "node %u cannot read a snapshot: %.*s", place, (int)why.len,
                 (const char *)why.data);
    buf_free(&why);
    *saved = bytes_view(saved->data + sizeof bytes + bytes, saved->len - sizeof bytes - bytes);
    if (topology_version(t) < topology_version(node->topology))
        net_fail(w->n, "node %u goes back from version %llu to %llu", place,
                 NUMBER(topology_version(node->topology)), NUMBER(topology_version(t)));
    topology_free(node->topology);
    node->topology = t;
    check_hash(w, place, t);
    check_relations(w, place, t);
}

void world_check_all(struct world *w)
{
    for (uint32_t i = 0; i < w->n->nodes; i++) {
        const struct node *node = &w->n->node[i];
        if (node->rl == NULL || node->model.index != w->n->applied) continue;
        check_hash(w, i, node->topology);
        check_relations(w, i, node->topology);
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
            check_slot(w, i, node->topology, slot);
    }
}
