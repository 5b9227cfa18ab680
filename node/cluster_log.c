/* The control log of this node. Without cluster mode worker 0 keeps it: nothing but what the node says of
 * itself is ever proposed. In cluster mode it is the ctl thread's, which no client can keep from its work; a
 * change goes there as a post and its answer comes back to worker 0, which is told by the same number that
 * tells of a new map: the path of requests looks at nothing else. */
#include "node/cluster.h"

#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/cluster_bus.h"
#include "node/cluster_priv.h"
#include "node/config.h"
#include "shard/base/log.h"

#define CTL_NICE (-5)
#define TELL_MS 100 /* how old may be what CLUSTER INFO says of Raft */

static char dir[sizeof node.dir + 8];
static struct ctl *solo; /* worker 0's */
static struct {
    pthread_t thread;
    struct loop *loop; /* NULL: no cluster mode, or the node stops */
    sem_t started;
    enum rc rc;
    char why[768];
    uint64_t told_ms;
} control;
static struct inbox answers;

/* ---- the ctl thread */

static void tell(struct loop *l)
{
    struct rl_status s;
    ctl_status(loop_ctl(l), &s);
    struct cluster_control c = {.raft_role = rl_state_name(s.state),
                                .raft_term = s.term,
                                .raft_commit = s.commit_index,
                                .raft_applied = s.applied_index,
                                .raft_snapshot = s.snapshot_index,
                                .raft_members = s.members.count};
    if (s.failure != NULL) (void)snprintf(c.raft_failure, sizeof c.raft_failure, "%s", s.failure);
    if (s.leader == s.id && s.leader != 0) c.raft_leader = ctl_me(loop_ctl(l));
    cluster__set_control(&c);
    control.told_ms = loop_now_ms(l);
}

static void on_turn(void *ctx, struct loop *l)
{
    (void)ctx;
    if (loop_now_ms(l) - control.told_ms >= TELL_MS) tell(l);
}

/* Not the CPU of the shard that started it, and before shards when all are busy. Neither is a must. */
static void take_place(void)
{
    cpu_set_t usable;
    if (sched_getaffinity(getpid(), sizeof usable, &usable) == 0)
        (void)pthread_setaffinity_np(pthread_self(), sizeof usable, &usable);
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), CTL_NICE);
}

static struct ctl_opts log_opts(void)
{
    struct ctl_opts o = {.dir = dir, .clock = &clock_real, .on_map = cluster__on_map};
    rng_secret(o.new_cluster.bytes, sizeof o.new_cluster.bytes);
    rng_secret(o.new_node.bytes, sizeof o.new_node.bytes);
    rng_secret(o.new_group.bytes, sizeof o.new_group.bytes);
    cluster_self(&o.self);
    return o;
}

static void *ctl_main(void *arg)
{
    struct loop_opts opts = {.io = config.io,
                             .ctl = log_opts(),
                             .bus = *(const struct bus_opts *)arg,
                             .on_turn = on_turn};
    struct loop *l = NULL;
    log_set_thread("ctl");
    (void)pthread_setname_np(pthread_self(), "ctl");
    take_place();
    control.rc = loop_open(&opts, &l, control.why, sizeof control.why);
    if (control.rc == RC_OK) tell(l);
    control.loop = l;
    (void)sem_post(&control.started);
    if (control.rc != RC_OK) return NULL;
    loop_run(l);
    loop_close(l);
    return NULL;
}

static enum rc open_thread(char *why, size_t why_bytes)
{
    struct bus_opts bus;
    if (!cluster_bus_settings(&bus, why, why_bytes)) return RC_INVALID;
    (void)sem_init(&control.started, 0, 0);
    if (pthread_create(&control.thread, NULL, ctl_main, &bus) != 0) {
        (void)snprintf(why, why_bytes, "cannot create its thread");
        return RC_NOMEM;
    }
    while (sem_wait(&control.started) != 0) {
    }
    if (control.rc == RC_OK) return RC_OK;
    (void)snprintf(why, why_bytes, "%s", control.why);
    (void)pthread_join(control.thread, NULL);
    return control.rc;
}

/* ---- worker 0 */

bool cluster_open(struct worker *w)
{
    char why[768] = "";
    enum rc rc;
    cluster__find_specs();
    (void)snprintf(dir, sizeof dir, "%s/raft", node.dir);
    if (config.cluster_enabled) {
        rc = open_thread(why, sizeof why);
    } else {
        struct ctl_opts opts = log_opts();
        opts.io = w->core.io;
        rc = ctl_open_solo(&opts, &solo, why, sizeof why);
    }
    if (rc == RC_OK) return true;
    cluster_bus_free();
    log_warning("start", "%s: %s",
                config.cluster_enabled ? "cannot begin cluster mode"
                                       : "cannot open the control log",
                why[0] != '\0' ? why : rc_text(rc));
    return false;
}

void cluster_close(struct worker *w)
{
    (void)w;
    if (solo != NULL) ctl_close(solo);
    solo = NULL;
    if (control.loop == NULL) return;
    loop_stop(control.loop);
    control.loop = NULL;
    (void)pthread_join(control.thread, NULL);
    cluster_bus_free();
}

bool cluster_post(struct loop_post *post)
{
    if (control.loop == NULL) return false;
    loop_post(control.loop, post);
    return true;
}

void cluster_answer(struct cluster_answer *answer)
{
    inbox_add(&answers, &answer->link);
    cluster__tell_worker0();
}

void cluster__take_answers(struct worker *w)
{
    struct inbox_link *link = inbox_take(&answers);
    while (link != NULL) {
        struct cluster_answer *a = container_of(link, struct cluster_answer, link);
        link = link->next;
        a->run(a, w); /* may free it */
    }
}

/* ---- what this node says of itself: settings are worker 0's to read */

struct self_post {
    struct loop_post post;
    struct ctl_self self;
    char ip[TOPOLOGY_ADDRESS_BYTES_MAX + 1], hostname[TOPOLOGY_ADDRESS_BYTES_MAX + 1];
};

static void self_arrives(struct loop_post *post, struct loop *l)
{
    struct self_post *p = container_of(post, struct self_post, post);
    ctl_set_self(loop_ctl(l), &p->self);
    mem_free(MEM_CLUSTER, p, sizeof *p);
}

static struct bytes keep(char *to, struct bytes text)
{
    size_t len = text.len <= TOPOLOGY_ADDRESS_BYTES_MAX ? text.len : TOPOLOGY_ADDRESS_BYTES_MAX;
    if (len > 0) memcpy(to, text.data, len);
    return bytes_view(to, len);
}

void cluster_cron(struct worker *w)
{
    struct ctl_self self;
    cluster_self(&self);
    if (solo != NULL) {
        ctl_set_self(solo, &self);
        ctl_tick(solo, reactor_mono_ms(&w->core.reactor));
    }
    if (control.loop == NULL) return;
    cluster_bus_cron();
    struct self_post *p = mem_zalloc(MEM_CLUSTER, sizeof *p);
    p->post.run = self_arrives;
    p->self = self;
    p->self.ip = keep(p->ip, self.ip);
    p->self.hostname = keep(p->hostname, self.hostname);
    loop_post(control.loop, &p->post);
}

/* ---- data that was there before */

struct claim {
    struct loop_post post;
    struct cluster_answer answer;
    struct ctl_call call;
    struct topo_slot_assign take;
    struct topo_range ranges[TOPOLOGY_RANGES_MAX];
    uint32_t ranges_count, slots;
    bool done, ok;
};

static void claim_answered(struct cluster_answer *answer, struct worker *w)
{
    struct claim *c = container_of(answer, struct claim, answer);
    (void)w;
    c->done = true;
}

static void claimed(struct ctl_call *call, const struct ctl_result *result)
{
    struct claim *c = container_of(call, struct claim, call);
    c->ok = result->outcome == CTL_APPLIED;
    if (!c->ok) log_warning("start", "slots that have keys were not taken: %s", result->text);
    cluster_answer(&c->answer);
}

static void claim_begins(struct loop_post *post, struct loop *l)
{
    struct claim *c = container_of(post, struct claim, post);
    const char *why = NULL;
    if (ctl_propose(loop_ctl(l), &c->call, TOPO_SLOT_ASSIGN, &c->take, &why)) return;
    log_warning("start", "slots that have keys were not taken: %s", why);
    cluster_answer(&c->answer);
}

static void find_claims(const struct slotmap *map, struct claim *c)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct worker *owner = node.workers[slot_shard((uint16_t)slot, node.shards)];
        if (db_slot_count(owner->core.ks, 0, (uint16_t)slot) == 0) continue;
        if (map->group_of[slot] != SLOTMAP_NONE) continue;
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
    cluster_take_map(w);
    struct claim *c = mem_zalloc(MEM_CLUSTER, sizeof *c);
    find_claims(w->map, c);
    c->post.run = claim_begins;
    c->answer.run = claim_answered;
    c->call.done = claimed;
    c->take = (struct topo_slot_assign){.ranges = c->ranges,
                                        .ranges_count = c->ranges_count,
                                        .group = w->map->groups[w->map->nodes[w->map_me].group].id};
    c->ok = c->slots == 0;
    if (!c->ok) {
        log_notice("start", "%u slots have keys and no owner: taken", c->slots);
        loop_post(control.loop, &c->post);
        while (!c->done)
            reactor_turn(&w->core.reactor, true);
    }
    bool ok = c->ok;
    mem_free(MEM_CLUSTER, c, sizeof *c);
    return ok;
}
