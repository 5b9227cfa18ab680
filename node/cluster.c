#include "node/cluster.h"

#include <stdio.h>

#include "node/commands.h"
#include "node/config.h"
#include "shard/base/log.h"

_Atomic uint64_t cluster_map_version;

/* The newest map. Locked for the time of a pointer's copy, when one has changed. */
static struct {
    pthread_mutex_t lock;
    struct slotmap *map;
    uint16_t me;
} newest = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct ctl *ctl;                             /* worker 0's */
static const struct cmd_spec *swapdb, *move, *copy; /* of several databases */
static char dir[sizeof node.dir + 8];

struct ctl *cluster_ctl(void)
{
    return ctl;
}

/* ---- maps */

static void on_map(void *ctx, struct slotmap *map, uint16_t me)
{
    (void)ctx;
    if (!config.cluster_enabled) {
        slotmap_release(map);
        return;
    }
    (void)pthread_mutex_lock(&newest.lock);
    struct slotmap *old = newest.map;
    newest.map = map;
    newest.me = me;
    (void)pthread_mutex_unlock(&newest.lock);
    slotmap_release(old);
    atomic_fetch_add_explicit(&cluster_map_version, 1, memory_order_release);
}

void cluster_take_map(struct worker *w)
{
    slotmap_release(w->map);
    (void)pthread_mutex_lock(&newest.lock);
    w->map_version = atomic_load_explicit(&cluster_map_version, memory_order_relaxed);
    w->map = newest.map != NULL ? slotmap_hold(newest.map) : NULL;
    w->map_me = newest.me;
    (void)pthread_mutex_unlock(&newest.lock);
}

/* ---- the control log */

void cluster_self(struct ctl_self *out)
{
    uint32_t port = config.cluster_announce_port != 0 ? config.cluster_announce_port : config.port;
    uint32_t bus = config.cluster_port != 0 ? config.cluster_port : config.port + 10000;
    if (config.cluster_announce_bus_port != 0) bus = config.cluster_announce_bus_port;
    *out = (struct ctl_self){.ip = bytes_of(config.cluster_announce_ip),
                             .hostname = bytes_of(config.cluster_announce_hostname),
                             .port = (uint16_t)port,
                             .tls_port = (uint16_t)config.cluster_announce_tls_port,
                             .bus_port = (uint16_t)bus};
}

bool cluster_settings_fit(void)
{
    if (!config.cluster_enabled || config.cluster_port != 0 || config.port <= 55535) return true;
    log_warning("start",
                "port %u is too high for cluster mode: the cluster bus port is 10,000 above it. "
                "Choose a port up to 55535, or set cluster-port",
                config.port);
    return false;
}

bool cluster_open(struct worker *w)
{
    char why[768] = "";
    struct ctl_opts opts = {.io = w->core.io, .dir = dir, .clock = &clock_real, .on_map = on_map};
    swapdb = commands_find(BYTES_LIT("swapdb"));
    move = commands_find(BYTES_LIT("move"));
    copy = commands_find(BYTES_LIT("copy"));
    (void)snprintf(dir, sizeof dir, "%s/raft", node.dir);
    rng_secret(opts.new_cluster.bytes, sizeof opts.new_cluster.bytes);
    rng_secret(opts.new_node.bytes, sizeof opts.new_node.bytes);
    rng_secret(opts.new_group.bytes, sizeof opts.new_group.bytes);
    cluster_self(&opts.self);
    enum rc rc = ctl_open_solo(&opts, &ctl, why, sizeof why);
    if (rc == RC_OK) return true;
    ctl = NULL;
    log_warning("start", "cannot open the control log (%s): %s", rc_text(rc), why);
    return false;
}

void cluster_close(struct worker *w)
{
    (void)w;
    if (ctl != NULL) ctl_close(ctl);
    ctl = NULL;
}

void cluster_cron(struct worker *w)
{
    struct ctl_self self;
    (void)w;
    if (ctl == NULL) return; /* the node stops */
    cluster_self(&self);
    ctl_tick(ctl, &self);
}

/* ---- data that was there before */

bool cluster_data_fits(void)
{
    if (!config.cluster_enabled) return true;
    for (uint32_t i = 0; i < node.shards; i++)
        for (uint32_t db = 1; db < config.databases; db++) {
            if (db_count(node.workers[i]->core.ks, (uint8_t)db) == 0) continue;
            log_warning("start",
                        "there are keys in database %u: in cluster mode only database 0 exists. "
                        "Start without cluster-enabled and move them",
                        db);
            return false;
        }
    return true;
}

struct claim {
    struct ctl_call call;
    struct topo_range ranges[TOPOLOGY_RANGES_MAX];
    uint32_t ranges_count, slots;
    bool done, ok;
};

static void claimed(struct ctl_call *call, const struct ctl_result *result)
{
    struct claim *c = container_of(call, struct claim, call);
    c->done = true;
    c->ok = result->outcome == CTL_APPLIED;
    if (!c->ok) log_warning("start", "slots that have keys were not taken: %s", result->text);
}

static void find_claims(const struct topology *t, struct claim *c)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct worker *owner = node.workers[slot_shard((uint16_t)slot, node.shards)];
        if (db_slot_count(owner->core.ks, 0, (uint16_t)slot) == 0) continue;
        if (topology_owner(t, (uint16_t)slot) != NULL) continue;
        c->slots++;
        struct topo_range *last = c->ranges_count > 0 ? &c->ranges[c->ranges_count - 1] : NULL;
        if (last != NULL && last->last + 1u == slot)
            last->last = (uint16_t)slot;
        else
            c->ranges[c->ranges_count++] = (struct topo_range){(uint16_t)slot, (uint16_t)slot};
    }
}

bool cluster_claim_slots(struct worker *w)
{
    if (!config.cluster_enabled) return true;
    const struct topology *t = ctl_topology(ctl);
    struct claim *c = mem_zalloc(MEM_CLUSTER, sizeof *c);
    const char *why = NULL;
    c->call.done = claimed;
    find_claims(t, c);
    struct topo_slot_assign take = {.ranges = c->ranges,
                                    .ranges_count = c->ranges_count,
                                    .group = topology_group_of(t, ctl_me(ctl))->id};
    bool ok = c->slots == 0;
    if (!ok) {
        log_notice("start", "%u slots have keys and no owner: taken", c->slots);
        if (!ctl_propose(ctl, &c->call, TOPO_SLOT_ASSIGN, &take, &why))
            log_warning("start", "slots that have keys were not taken: %s", why);
        while (why == NULL && !c->done)
            reactor_turn(&w->core.reactor, true);
        ok = c->ok;
    }
    mem_free(MEM_CLUSTER, c, sizeof *c);
    return ok;
}

uint64_t cluster_keys(void)
{
    uint64_t keys = 0;
    for (uint32_t i = 0; i < node.shards; i++)
        keys += db_count(node.workers[i]->core.ks, 0);
    return keys;
}

/* ---- requests */

struct route_rules cluster_rules(void)
{
    return (struct route_rules){.full_coverage = config.cluster_full_coverage,
                                .reads_when_down = config.cluster_reads_when_down};
}

/* COPY's DB, which Redis refuses after its other arguments were found right. */
static bool copies_elsewhere(const struct request *rq)
{
    bool elsewhere = false;
    for (uint32_t i = 3; i < rq->argc; i++) {
        int64_t db;
        if (bytes_is(rq->argv[i], "replace")) continue;
        if (!bytes_is(rq->argv[i], "db") || i + 1 == rq->argc) return false;
        if (!num_parse_i64(rq->argv[++i], &db) || db < 0 || db >= (int64_t)config.databases)
            return false;
        elsewhere = db != 0;
    }
    return elsewhere;
}

/* There is database 0 only. */
static const char *refused_database(const struct request *rq)
{
    if (rq->spec == swapdb) return "ERR SWAPDB is not allowed in cluster mode";
    if (rq->spec == move) return "ERR MOVE is not allowed in cluster mode";
    if (rq->spec == copy && copies_elsewhere(rq))
        return "ERR Copying to another database is not allowed in cluster mode";
    return NULL;
}

static enum route route(struct worker *w, const struct request *rq, uint16_t *slot_out)
{
    const struct cmd_spec *spec = rq->spec;
    struct route_rules rules = cluster_rules();
    bool writes = (spec->flags & CMD_WRITE) != 0;
    if (spec->keys.first > 0 && spec->keys.last == spec->keys.first &&
        !(spec->flags & CMD_MOVABLE_KEYS)) {
        *slot_out = rq->key.slot;
        return route_slots(w->map, w->map_me, &rules, slot_out, 1, writes);
    }
    struct arena_mark mark = arena_mark(&w->args);
    uint32_t *at = arena_alloc(&w->args, rq->argc * sizeof *at);
    uint16_t *slots = arena_alloc(&w->args, rq->argc * sizeof *slots);
    uint32_t n = spec_key_positions(spec, rq->argv, rq->argc, at);
    /* ZUNIONSTORE and its like: the destination comes last, as in Redis. */
    uint32_t turn =
        spec->keys.first == 1 && spec->key_specs_count == 2 && spec->key_specs[1].keynum;
    for (uint32_t i = 0; i < n; i++)
        slots[i] = slot_of_key(rq->argv[at[(i + turn) % n]]);
    /* Without keys it runs anywhere. */
    enum route r = n == 0 ? ROUTE_HERE : route_slots(w->map, w->map_me, &rules, slots, n, writes);
    if (n > 0) *slot_out = slots[0];
    arena_rewind(&w->args, mark);
    return r;
}

bool cluster_admits(struct worker *w, const struct request *rq, struct reply *reply)
{
    const struct cmd_spec *spec = rq->spec;
    bool has_keys = spec->keys.first > 0 || spec->key_specs_count > 0;
    if (!has_keys && (spec->flags & CMD_WRITE) == 0) return true;
    uint16_t slot = 0;
    enum route r = has_keys ? route(w, rq, &slot) : ROUTE_HERE;
    if (likely(r == ROUTE_HERE)) {
        const char *error = (spec->flags & CMD_WRITE) != 0 ? refused_database(rq) : NULL;
        if (likely(error == NULL)) return true;
        reply_error(reply, error);
    } else {
        route_reply(r, w->map, slot, reply);
        stat_bump(&w->core.cmd_stats[spec->id].rejected, 1);
    }
    return false;
}

bool cluster_admits_next(struct worker *w, const struct request *rq, uint16_t *slot,
                         struct reply *reply)
{
    uint16_t own = *slot;
    if (rq->spec->keys.first == 0 && rq->spec->key_specs_count == 0) return true;
    enum route r = route(w, rq, &own);
    if (r == ROUTE_HERE && *slot != SLOTMAP_NONE && own != *slot) r = ROUTE_CROSSSLOT;
    if (r != ROUTE_HERE) {
        route_reply(r, w->map, own, reply);
        return false;
    }
    *slot = own;
    return true;
}
