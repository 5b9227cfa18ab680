/* Peers, dialling and time.
 *
 * Two nodes that dial each other make two links. The node with the larger id decides alone which of them
 * stays, the one that came up last: the others retire, and close when what is under way on them has arrived;
 * the smaller one writes to the newest it has. So they never close both, whatever each saw first; and a link whose other end has lost it
 * is replaced at once, for nobody dials who has a link. The larger one dials first, too.
 *
 * Whoever has not said its hello is a stranger. When there are too many, the oldest goes: a crowd that says
 * nothing cannot keep out those who do. */
#include "cluster/bus_priv.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "shard/base/glob.h"
#include "shard/base/log.h"
#include "shard/rt/sock.h"

#define BACKLOG 128
#define PORT_WAIT_MS 1000u /* for a process that was killed: sock_listen_tcp_wait() */
#define YIELD_MS 100u      /* the node with the smaller id lets the other one dial first */
#define STEADY_MS 1000u    /* a link that lived so long was a good one: dialling starts anew */
#define SEED_RETRY_MS 1000u
#define LINKS_PER_PEER_MAX 3u /* beside the newest: some retire, or wait to be retired */
#define RETIRE_MS 500u        /* so long a link that was replaced may still deliver */

/* ---- refusals: counted all, told few */

const char *bus_refusal_name(enum bus_refusal r)
{
    static const char *const names[] = {
        [BUS_REFUSED_TLS] = "tls",
        [BUS_REFUSED_NAME] = "wrong-certificate",
        [BUS_REFUSED_CLUSTER] = "wrong-cluster",
        [BUS_REFUSED_VERSION] = "unknown-version",
        [BUS_REFUSED_REPLAY] = "replayed-hello",
        [BUS_REFUSED_INCARNATION] = "old-incarnation",
        [BUS_REFUSED_NODE] = "wrong-node",
        [BUS_REFUSED_OVERSIZED] = "oversized-frame",
        [BUS_REFUSED_FRAME] = "bad-frame",
        [BUS_REFUSED_SLOW] = "no-hello",
        [BUS_REFUSED_CROWD] = "too-many",
        [BUS_REFUSED_SILENT] = "silent",
        [BUS_REFUSED_MEMORY] = "memory",
        [BUS_REFUSED_BY_PEER] = "refused-by-peer",
    };
    static_assert(COUNT_OF(names) == BUS_REFUSALS, "each has a name");
    return r < BUS_REFUSALS ? names[r] : "none";
}

void bus__refused(struct bus *b, enum bus_refusal refusal, const char *who, const char *why)
{
    struct bus_quiet *q = &b->quiet[refusal];
    b->stats.refused[refusal]++;
    if (q->lines == 0) q->since_ms = b->now_ms;
    if (q->lines < BUS_LOG_BURST) {
        q->lines++;
        log_warning("bus", "link with %s refused (%s): %s", who, bus_refusal_name(refusal), why);
    } else {
        q->silenced++;
    }
}

static void quiet_tick(struct bus *b)
{
    for (uint32_t i = 0; i < BUS_REFUSALS; i++) {
        struct bus_quiet *q = &b->quiet[i];
        if (q->lines == 0 || b->now_ms - q->since_ms < BUS_LOG_EVERY_MS) continue;
        if (q->silenced > 0)
            log_warning("bus", "%u more links refused in the last %u s (%s)", q->silenced,
                        BUS_LOG_EVERY_MS / 1000, bus_refusal_name((enum bus_refusal)i));
        *q = (struct bus_quiet){0};
    }
}

/* ---- peers, sorted by id */

/* Where it is, or would be. */
static uint32_t peer_index(const struct bus *b, struct topo_id id)
{
    uint32_t from = 0;
    uint32_t to = b->peers_count;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (topo_id_compare(b->peers[mid]->id, id) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static struct bus_peer *peer_find(const struct bus *b, struct topo_id id)
{
    uint32_t i = peer_index(b, id);
    return i < b->peers_count && topo_id_equal(b->peers[i]->id, id) ? b->peers[i] : NULL;
}

static struct bus_peer *peer_make(struct bus *b, struct topo_id id)
{
    if (b->peers_count == b->peers_cap) {
        uint32_t cap = b->peers_cap == 0 ? 16 : b->peers_cap * 2;
        b->peers = mem_resize(MEM_CLUSTER, b->peers, b->peers_cap * sizeof *b->peers,
                              cap * sizeof *b->peers);
        b->peers_cap = cap;
    }
    uint32_t i = peer_index(b, id);
    struct bus_peer *p = mem_zalloc(MEM_CLUSTER, sizeof *p);
    p->id = id;
    memmove(&b->peers[i + 1], &b->peers[i], (b->peers_count - i) * sizeof *b->peers);
    b->peers[i] = p;
    b->peers_count++;
    b->guests++;
    return p;
}

static void peer_free(struct bus *b, struct bus_peer *p)
{
    uint32_t i = peer_index(b, p->id);
    assert(b->peers[i] == p);
    memmove(&b->peers[i], &b->peers[i + 1], (b->peers_count - i - 1) * sizeof *b->peers);
    b->peers_count--;
    if (!p->wanted) b->guests--;
    mem_free(MEM_CLUSTER, p, sizeof *p);
}

static bool has_links(const struct bus *b, const struct bus_peer *p)
{
    for (const struct bus_link *l = b->oldest; l != NULL; l = l->newer)
        if (l->peer == p) return true;
    return false;
}

static void want(struct bus *b, struct bus_peer *p, bool wanted)
{
    if (p->wanted == wanted) return;
    p->wanted = wanted;
    if (wanted)
        b->guests--;
    else
        b->guests++;
}

static bool we_decide(const struct bus *b, const struct bus_peer *p)
{
    return topo_id_compare(b->self.node, p->id) > 0;
}

enum rc bus_peer_add(struct bus *b, struct topo_id id, const char *address)
{
    char ip[64];
    uint16_t port = 0;
    size_t len = strlen(address);
    if (topo_id_equal(id, b->self.node) || topo_id_is_none(id) || len >= RAFT_ADDRESS_BYTES_MAX ||
        !bus__address_split(address, ip, sizeof ip, &port))
        return RC_INVALID;
    struct bus_peer *p = peer_find(b, id);
    if (p == NULL) {
        if (b->peers_count - b->guests >= BUS_PEERS_MAX) return RC_FULL;
        p = peer_make(b, id);
    }
    if (!p->wanted || strcmp(p->address, address) != 0) {
        p->retry_ms = 0;
        p->retry_at_ms = b->now_ms + (we_decide(b, p) ? 0 : YIELD_MS);
    }
    want(b, p, true);
    memcpy(p->address, address, len + 1);
    return RC_OK;
}

void bus_peer_remove(struct bus *b, struct topo_id id)
{
    struct bus_peer *p = peer_find(b, id);
    if (p == NULL) return;
    want(b, p, false);
    p->close = true; /* the next tick */
}

/* ---- telling */

static void tell(struct bus *b, struct bus_peer *p, bool up)
{
    if (p->told == up || b->closing) return;
    p->told = up;
    if (up) p->node = p->link->talk.node;
    log_notice("bus", "link with node %s %s %s", topo_id_hex(p->id).text,
               up ? "is up:" : "is down:", p->node.address);
    if (b->opts.events.on_link != NULL) b->opts.events.on_link(b->opts.events.ctx, &p->node, up);
}

/* ---- hellos and what follows */

struct naming {
    struct bytes id, pattern;
    bool fits;
    char first[80]; /* for the log */
};

static bool name_fits(void *ctx, struct bytes name)
{
    struct naming *n = ctx;
    if (n->first[0] == '\0' && name.len < sizeof n->first)
        for (size_t i = 0; i < name.len; i++)
            n->first[i] = (char)(name.data[i] > ' ' && name.data[i] < 0x7f ? name.data[i] : '?');
    n->fits = bytes_equal_nocase(name, n->id) ||
              (n->pattern.len > 0 && glob_match(n->pattern, name, true));
    return !n->fits;
}

static enum bus_refusal judge_name(struct bus_link *l, const char **why_out)
{
    struct topo_hex hex = topo_id_hex(l->talk.node.id);
    struct naming n = {.id = bytes_of(hex.text), .pattern = bytes_of(l->bus->pattern)};
    if (l->tls == NULL) return BUS_REFUSALS;
    tls_each_name(l->tls, name_fits, &n);
    if (n.fits) return BUS_REFUSALS;
    (void)snprintf(l->talk.why, sizeof l->talk.why,
                   "its certificate is made out to %s, and it says it is node %s",
                   n.first[0] != '\0' ? n.first : "nobody", hex.text);
    *why_out = l->talk.why;
    return BUS_REFUSED_NAME;
}

static enum bus_refusal judge_guest(struct bus_link *l, const struct bus_peer *p,
                                    const char **why_out)
{
    struct bus *b = l->bus;
    const struct bus_events *events = &b->opts.events;
    const struct bus_node *node = &l->talk.node;
    bool ours = memcmp(&node->cluster, &b->self.cluster, sizeof node->cluster) == 0;
    if (p != NULL && p->wanted && ours) return BUS_REFUSALS;
    if (p == NULL && b->guests >= BUS_GUESTS_MAX) {
        *why_out = "too many nodes that are not known here";
        return BUS_REFUSED_CROWD;
    }
    if (events->admit != NULL ? events->admit(events->ctx, node) : ours) return BUS_REFUSALS;
    *why_out = ours ? "a node that is not known here"
                    : "it is of another cluster, and nobody here wants to meet it";
    return ours ? BUS_REFUSED_NODE : BUS_REFUSED_CLUSTER;
}

enum bus_refusal bus__judge(struct bus_link *l, const char **why_out)
{
    enum bus_refusal refusal = judge_name(l, why_out);
    if (refusal != BUS_REFUSALS) return refusal;
    const struct bus_peer *p = peer_find(l->bus, l->talk.node.id);
    if (p != NULL && p->close) {
        *why_out = "its link was just removed here";
        return BUS_REFUSED_NODE;
    }
    if (p != NULL && l->talk.node.incarnation < p->incarnation) {
        *why_out = "an earlier life of a node that has a later one";
        return BUS_REFUSED_INCARNATION;
    }
    return judge_guest(l, p, why_out);
}

/* What becomes of another link of a peer, now that `l` is up. */
static void replace(struct bus_link *old, const struct bus_link *l, bool we_decide_it)
{
    struct bus *b = l->bus;
    if (!old->up) return; /* a dial: when it comes up, it is the newest */
    if (old->talk.node.incarnation != l->talk.node.incarnation) {
        bus__link_end(old); /* of a former life */
    } else if (we_decide_it && old->retire_at_ms == 0) {
        b->stats.duplicates++;
        old->retire_at_ms = b->now_ms + RETIRE_MS;
    }
}

static void settle(struct bus_link *l)
{
    struct bus *b = l->bus;
    struct bus_peer *p = l->peer;
    uint32_t up = 0;
    struct bus_link *older = NULL;
    bool reborn = p->told && p->node.incarnation != l->talk.node.incarnation;
    for (struct bus_link *o = b->newest; o != NULL; o = older) {
        older = o->older;
        if (o == l || o->peer != p) continue;
        if (o->up && ++up > LINKS_PER_PEER_MAX)
            bus__link_end(o);
        else
            replace(o, l, we_decide(b, p));
    }
    if (reborn) tell(b, p, false);
}

static void seed_met(struct bus *b, const struct bus_link *l)
{
    for (uint32_t i = 0; i < b->seeds_count; i++) {
        if (b->seeds[i].dial != l) continue;
        b->seeds[i] = b->seeds[--b->seeds_count];
        return;
    }
}

void bus__link_up(struct bus_link *l)
{
    struct bus *b = l->bus;
    struct bus_peer *p = peer_find(b, l->talk.node.id);
    if (p == NULL) p = peer_make(b, l->talk.node.id);
    seed_met(b, l);
    if (p->dial == l) p->dial = NULL;
    struct bus_link *former = p->link;
    l->peer = p;
    l->up = true;
    l->up_ms = b->now_ms;
    p->link = l;
    p->incarnation = l->talk.node.incarnation;
    b->stats.linked++;
    if (former != NULL) settle(l);
    tell(b, p, true);
}

static uint32_t retry_after(struct bus *b, uint32_t *wait_ms)
{
    uint32_t max = b->opts.retry_ms_max;
    *wait_ms = *wait_ms == 0 ? b->opts.retry_ms : *wait_ms * 2;
    if (*wait_ms > max) *wait_ms = max;
    return *wait_ms / 2 + (uint32_t)rng_below(&b->rng, *wait_ms / 2 + 1);
}

/* Another link of it that is up; the newest. */
static struct bus_link *other_link(const struct bus *b, const struct bus_peer *p)
{
    for (struct bus_link *l = b->newest; l != NULL; l = l->older)
        if (l->peer == p && l->up && !l->broken && l->retire_at_ms == 0) return l;
    return NULL;
}

static void seed_over(struct bus *b, const struct bus_link *l)
{
    for (uint32_t i = 0; i < b->seeds_count; i++) {
        struct bus_seed *s = &b->seeds[i];
        if (s->dial != l) continue;
        s->dial = NULL;
        s->retry_at_ms = b->now_ms + retry_after(b, &s->retry_ms);
    }
}

void bus__link_over(struct bus_link *l)
{
    struct bus *b = l->bus;
    struct bus_peer *p = l->peer;
    if (l->up) b->stats.lost++;
    if (p == NULL) {
        seed_over(b, l);
        return;
    }
    if (p->dial == l) {
        p->dial = NULL;
        p->retry_at_ms = b->now_ms + retry_after(b, &p->retry_ms);
        b->stats.dial_failed++;
    }
    if (p->link != l) return;
    p->link = b->closing ? NULL : other_link(b, p);
    if (p->link != NULL) return;
    if (b->now_ms - l->up_ms >= STEADY_MS) p->retry_ms = 0;
    p->retry_at_ms = b->now_ms + retry_after(b, &p->retry_ms);
    tell(b, p, false); /* guests are forgotten by the next tick: it may ask for one here */
}

/* ---- accepting */

static uint32_t count_strangers(const struct bus *b, struct bus_link **oldest_out)
{
    uint32_t count = 0;
    *oldest_out = NULL;
    for (struct bus_link *l = b->oldest; l != NULL; l = l->newer) {
        if (l->up || !l->accepted) continue;
        if (count++ == 0) *oldest_out = l;
    }
    return count;
}

/* Whether a node that we want has that address: those do not stand in line with strangers. */
static bool is_of_peer(const struct bus *b, const char *name)
{
    const char *colon = strrchr(name, ':');
    size_t len = colon != NULL ? (size_t)(colon - name) + 1 : 0; /* with the colon */
    for (uint32_t i = 0; len > 0 && i < b->peers_count; i++) {
        const struct bus_peer *p = b->peers[i];
        if (p->wanted && strncmp(p->address, name, len) == 0) return true;
    }
    return false;
}

/* NULL: it may come in. */
static const char *not_accepted(struct bus *b, int fd, const char *name, enum bus_refusal *refusal)
{
    *refusal = BUS_REFUSED_TLS;
    if (b->opts.tls == NULL && !b->opts.plain_anywhere && !sock_peer_is_loopback(fd))
        return "plain text from another machine";
    *refusal = BUS_REFUSED_CROWD;
    if (is_of_peer(b, name) || b->accepts++ < BUS_ACCEPTS_PER_TICK) return NULL;
    return "too many connections at once";
}

static void on_accept(struct io_listener *io, int fd)
{
    enum bus_refusal refusal;
    struct bus *b = container_of(io, struct bus_listener, io)->bus;
    struct bus_link *oldest = NULL;
    char name[64];
    b->stats.accepted++;
    sock_peer_name(fd, name, sizeof name);
    const char *why = not_accepted(b, fd, name, &refusal);
    if (why != NULL) {
        bus__refused(b, refusal, name, why);
        (void)close(fd);
        return;
    }
    if (count_strangers(b, &oldest) >= BUS_STRANGERS_MAX) {
        bus__refused(b, BUS_REFUSED_CROWD, oldest->name, "too many connections without a hello");
        bus__link_end(oldest);
    }
    if (bus__link_open(b, fd, false, (struct topo_id){{0}}, false) == NULL) (void)close(fd);
}

static enum rc listen_one(struct bus *b, const char *bind, char *why_out, size_t why_bytes)
{
    struct bus_listener *l = &b->listeners[b->listeners_count];
    bool may_miss = bind[0] == '-';
    if (may_miss) bind++;
    int fd = sock_listen_tcp_wait(bind, b->port, BACKLOG, PORT_WAIT_MS);
    if (fd < 0 && may_miss && fd != -EADDRINUSE) return RC_OK;
    *l = (struct bus_listener){.io = {.on_accept = on_accept}, .bus = b};
    enum rc rc = fd < 0 ? RC_IO : io_listen(b->opts.io, &l->io, fd);
    if (rc == RC_OK) {
        if (b->port == 0) b->port = sock_local_port(fd);
        b->listeners_count++;
        return RC_OK;
    }
    (void)snprintf(why_out, why_bytes, "cluster bus: %s port %u: %s%s", bind, b->port,
                   fd < 0 ? strerror(-fd) : rc_text(rc),
                   fd == -EADDRINUSE ? "; another port can be chosen by cluster-port" : "");
    if (fd >= 0) (void)close(fd);
    return fd == -EADDRINUSE ? RC_EXISTS : RC_IO;
}

/* ---- dialling */

/* NULL: it did not even begin. */
static struct bus_link *dial(struct bus *b, const char *address, struct topo_id expected, bool meet)
{
    char ip[64];
    uint16_t port = 0;
    bool parsed = bus__address_split(address, ip, sizeof ip, &port);
    assert(parsed); /* looked at when it was given */
    b->stats.dialled++;
    if (b->opts.tls == NULL && !b->opts.plain_anywhere && sock_scope_of(ip) != SOCK_LOOPBACK) {
        bus__refused(b, BUS_REFUSED_TLS, address,
                     "plain text would go to another machine: give tls-cert-file, tls-key-file and "
                     "tls-ca-cert-file, or write 'tls-cluster no'");
        return NULL;
    }
    int fd = sock_connect_tcp(ip, port);
    if (fd < 0) return NULL;
    struct bus_link *l = bus__link_open(b, fd, true, expected, meet);
    if (l == NULL) (void)close(fd);
    return l;
}

static bool peer_dial(struct bus *b, struct bus_peer *p)
{
    if (!p->wanted || p->close || p->link != NULL || p->dial != NULL || b->now_ms < p->retry_at_ms)
        return false;
    p->dial = dial(b, p->address, p->id, false);
    if (p->dial != NULL) {
        p->dial->peer = p;
    } else {
        p->retry_at_ms = b->now_ms + retry_after(b, &p->retry_ms);
        b->stats.dial_failed++;
    }
    return true;
}

enum rc bus_meet(struct bus *b, const char *address, uint32_t give_up_ms)
{
    char ip[64];
    uint16_t port = 0;
    size_t len = strlen(address);
    if (len >= RAFT_ADDRESS_BYTES_MAX || !bus__address_split(address, ip, sizeof ip, &port))
        return RC_INVALID;
    if (b->seeds_count == BUS_SEEDS_MAX) return RC_FULL;
    struct bus_seed *s = &b->seeds[b->seeds_count++];
    *s = (struct bus_seed){.retry_at_ms = b->now_ms, .give_up_at_ms = b->now_ms + give_up_ms};
    memcpy(s->address, address, len + 1);
    return RC_OK;
}

static void seeds_tick(struct bus *b)
{
    for (uint32_t i = 0; i < b->seeds_count; i++) {
        struct bus_seed *s = &b->seeds[i];
        if (s->dial != NULL) continue;
        if (b->now_ms >= s->give_up_at_ms) {
            log_notice("bus", "nobody to meet at %s: given up", s->address);
            *s = b->seeds[--b->seeds_count];
            i--;
        } else if (b->now_ms >= s->retry_at_ms) {
            s->dial = dial(b, s->address, (struct topo_id){{0}}, true);
            if (s->dial == NULL) s->retry_at_ms = b->now_ms + SEED_RETRY_MS;
        }
    }
}

/* ---- time */

/* A process that was stopped finds that all have been silent: they get as long again. */
static void forgive(struct bus *b, uint64_t now_ms)
{
    uint64_t gap = now_ms - b->now_ms;
    if (gap < b->opts.silence_ms / 2) return;
    for (struct bus_link *l = b->oldest; l != NULL; l = l->newer) {
        l->heard_ms += gap;
        l->send_ms += gap;
        l->begun_ms += gap;
        l->asked_ms += gap;
    }
}

static void links_tick(struct bus *b)
{
    struct bus_link *newer = NULL;
    for (struct bus_link *l = b->oldest; l != NULL; l = newer) {
        newer = l->newer; /* ending one may tell, and nobody who is told ends others */
        bus__link_tick(l);
    }
}

static void peers_tick(struct bus *b)
{
    uint32_t dials = 0;
    for (uint32_t i = b->peers_count; i-- > 0;) {
        struct bus_peer *p = b->peers[i];
        if (p->close) p->close = has_links(b, p);
        if (dials < BUS_DIALS_PER_TICK && peer_dial(b, p)) dials++;
        if (!p->wanted && !p->close && p->link == NULL && !has_links(b, p)) peer_free(b, p);
    }
}

void bus_tick(struct bus *b, uint64_t now_ms)
{
    if (now_ms < b->now_ms) now_ms = b->now_ms;
    forgive(b, now_ms);
    b->now_ms = now_ms;
    b->accepts = 0;
    links_tick(b);
    peers_tick(b);
    seeds_tick(b);
    quiet_tick(b);
}

/* ---- the other calls */

enum rc bus_send(struct bus *b, struct topo_id to, uint16_t channel, uint8_t type,
                 struct bytes body)
{
    assert(channel > BUS_LINK);
    assert(channel < BUS_CHANNELS);
    assert(type > 0);
    const struct bus_peer *p = peer_find(b, to);
    bool is_long = channel == BUS_RAFT || channel == BUS_META;
    if (body.len > (is_long ? BUS_MESSAGE_BYTES_MAX : BUS_BODY_BYTES_MAX)) return RC_TOOBIG;
    if (p == NULL || p->link == NULL || p->link->broken || p->close) {
        b->stats.dropped_down++;
        return RC_CLOSED;
    }
    enum rc rc = bus__link_send(p->link, channel, type, body);
    if (rc == RC_FULL) b->stats.dropped_full++;
    return rc;
}

const struct bus_node *bus_find(const struct bus *b, struct topo_id id)
{
    const struct bus_peer *p = peer_find(b, id);
    return p == NULL || p->link == NULL || p->close ? NULL : &p->link->talk.node;
}

void bus_set_meta_version(struct bus *b, uint64_t version)
{
    b->self.meta_version = version;
}

void bus_set_cluster(struct bus *b, struct topo_cluster_id cluster)
{
    struct topo_cluster_id former = b->self.cluster;
    b->self.cluster = cluster;
    for (struct bus_link *l = b->oldest; l != NULL; l = l->newer) {
        bool of_former = memcmp(&l->talk.node.cluster, &former, sizeof former) == 0;
        bool of_new = memcmp(&l->talk.node.cluster, &cluster, sizeof cluster) == 0;
        if (l->up && of_former && !of_new) l->broken = true;
    }
}

void bus_set_tls(struct bus *b, struct tls_context *tls)
{
    b->opts.tls = tls;
}

void bus_stats(const struct bus *b, struct bus_stats *out)
{
    *out = b->stats;
    for (const struct bus_link *l = b->oldest; l != NULL; l = l->newer) {
        if (l->up)
            out->links++;
        else
            out->strangers++;
    }
    out->queued_messages = b->queued_messages;
    out->queued_bytes = b->queued_bytes;
    out->assembly_bytes = b->assembly;
}

void bus_each_link(const struct bus *b, void (*each)(void *ctx, const struct bus_link_info *link),
                   void *ctx)
{
    for (const struct bus_link *l = b->oldest; l != NULL; l = l->newer) {
        if (!l->up) continue;
        struct bus_link_info info = {
            .node = &l->talk.node, .since_ms = l->up_ms, .tls = l->tls != NULL};
        for (uint32_t i = 0; i < LANES; i++) {
            info.queued_messages += l->lanes[i].messages;
            info.queued_bytes += l->lanes[i].bytes;
        }
        each(ctx, &info);
    }
}

uint16_t bus_port(const struct bus *b)
{
    return b->port;
}

/* ---- begin and end */

static void set_default(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0) *value = otherwise;
}

static bool copy_text(char *into, size_t bytes, const char *text)
{
    size_t len = text == NULL ? 0 : strlen(text);
    if (len >= bytes) return false;
    if (len > 0) memcpy(into, text, len);
    into[len] = '\0';
    return true;
}

static enum rc set_opts(struct bus *b, const struct bus_opts *opts, char *why_out, size_t why_bytes)
{
    b->opts = *opts;
    b->opts.binds = NULL; /* not ours after this call */
    b->opts.announce = b->opts.tls_name_pattern = NULL;
    b->now_ms = opts->now_ms;
    b->self = (struct bus_self){.cluster = opts->cluster,
                                .node = opts->node,
                                .incarnation = opts->incarnation,
                                .meta_version = opts->meta_version,
                                .version_min = BUS_VERSION_MIN,
                                .version_max = BUS_VERSION_MAX};
    set_default(&b->opts.hello_ms, 3000);
    set_default(&b->opts.ping_ms, 500);
    set_default(&b->opts.silence_ms, 3000);
    set_default(&b->opts.retry_ms, 100);
    set_default(&b->opts.retry_ms_max, 2000);
    rng_seed_random(&b->rng);
    const char *wrong = NULL;
    if (!copy_text(b->self.address, sizeof b->self.address, opts->announce))
        wrong = "the address to announce is too long";
    else if (!copy_text(b->pattern, sizeof b->pattern, opts->tls_name_pattern))
        wrong = "the pattern of certificate names is too long";
    else if (opts->binds_count > BUS_BINDS_MAX)
        wrong = "too many addresses in cluster-bus-bind";
    if (wrong == NULL) return RC_OK;
    (void)snprintf(why_out, why_bytes, "cluster bus: %s", wrong);
    return RC_INVALID;
}

enum rc bus_open(const struct bus_opts *opts, struct bus **out, char *why_out, size_t why_bytes)
{
    struct bus *b = mem_zalloc(MEM_CLUSTER, sizeof *b);
    enum rc rc = set_opts(b, opts, why_out, why_bytes);
    b->port = opts->port;
    for (uint32_t i = 0; rc == RC_OK && i < opts->binds_count; i++)
        rc = listen_one(b, opts->binds[i], why_out, why_bytes);
    if (rc == RC_OK && opts->binds_count > 0 && b->listeners_count == 0) {
        (void)snprintf(why_out, why_bytes, "cluster bus: no address of cluster-bus-bind is there");
        rc = RC_INVALID;
    }
    if (rc != RC_OK) {
        bus_close(b);
        return rc;
    }
    *out = b;
    return RC_OK;
}

void bus_close(struct bus *b)
{
    b->closing = true;
    for (uint32_t i = 0; i < b->listeners_count; i++)
        io_unlisten(b->opts.io, &b->listeners[i].io);
    while (b->oldest != NULL)
        bus__link_end(b->oldest);
    while (b->dying > 0)
        io_turn(b->opts.io, 10000);
    for (uint32_t i = 0; i < b->peers_count; i++)
        mem_free(MEM_CLUSTER, b->peers[i], sizeof *b->peers[i]);
    mem_free(MEM_CLUSTER, b->peers, b->peers_cap * sizeof *b->peers);
    mem_free(MEM_CLUSTER, b, sizeof *b);
}
