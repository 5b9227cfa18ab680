#include "node/cluster.h"

#include <stdio.h>

#include "node/cluster_priv.h"
#include "node/commands.h"
#include "node/config.h"
#include "shard/base/log.h"
#include "shard/script/script.h"

_Atomic uint64_t cluster_map_version;

/* The newest map, and how the control log does. Locked for the time of a copy. */
static struct {
    pthread_mutex_t lock;
    struct slotmap *map;
    uint16_t me;
    struct cluster_control control;
} newest = {.lock = PTHREAD_MUTEX_INITIALIZER, .control.raft_role = "none"};

static const struct cmd_spec *swapdb, *move, *copy, *select_db; /* of several databases */

/* ---- maps */

void cluster__on_map(void *ctx, struct slotmap *map, uint16_t me)
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

void cluster__tell_worker0(void)
{
    atomic_fetch_add_explicit(&cluster_map_version, 1, memory_order_release);
    struct io *io = node.workers[0]->core.io;
    io->ops->wake(io); /* a pass begins, and looks at the version */
}

void cluster_take_map(struct worker *w)
{
    slotmap_release(w->map);
    (void)pthread_mutex_lock(&newest.lock);
    w->map_version = atomic_load_explicit(&cluster_map_version, memory_order_relaxed);
    w->map = newest.map != NULL ? slotmap_hold(newest.map) : NULL;
    w->map_me = newest.me;
    (void)pthread_mutex_unlock(&newest.lock);
    if (w->index == 0)
        cluster__take_answers(w); /* which came with that version or an earlier one */
}

void cluster_control(struct cluster_control *out)
{
    (void)pthread_mutex_lock(&newest.lock);
    *out = newest.control;
    (void)pthread_mutex_unlock(&newest.lock);
}

void cluster__set_control(const struct cluster_control *control)
{
    (void)pthread_mutex_lock(&newest.lock);
    newest.control = *control;
    (void)pthread_mutex_unlock(&newest.lock);
}

void cluster__find_specs(void)
{
    swapdb = commands_find(BYTES_LIT("swapdb"));
    move = commands_find(BYTES_LIT("move"));
    copy = commands_find(BYTES_LIT("copy"));
    select_db = commands_find(BYTES_LIT("select"));
}

/* ---- settings */

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

const char *cluster_refuses(const struct request *rq)
{
    int64_t db;
    if (!config.cluster_enabled) return NULL;
    if (rq->spec == select_db && num_parse_i64(rq->argv[1], &db) && db != 0)
        return "ERR SELECT is not allowed in cluster mode";
    return refused_database(rq);
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

const char *cluster_refuses_script(struct worker *w, const struct request *rq, uint16_t *slot)
{
    uint16_t own = SLOTMAP_NONE;
    if (rq->spec->keys.first == 0 && rq->spec->key_specs_count == 0) return NULL;
    switch (route(w, rq, &own)) {
    case ROUTE_HERE:
        break;
    case ROUTE_DOWN_WRITE:
        return "Script attempted to execute a write command while the cluster is down and readonly";
    case ROUTE_DOWN:
        return "Script attempted to execute a command while the cluster is down";
    case ROUTE_UNSERVED:
    case ROUTE_CROSSSLOT:
    case ROUTE_MOVED:
        return "Script attempted to access a non local key in a cluster node";
    }
    if (slot == NULL || own == SLOTMAP_NONE) return NULL;
    if (*slot == SCRIPT_NO_SLOT) *slot = own;
    return *slot == own ? NULL
                        : "Script attempted to access keys that do not hash to the same slot";
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
