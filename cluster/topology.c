/* A topology as a whole: its entries' way in (envelope, level, repetition, body, handler), its lists, and
 * what others read of it. */
#include "cluster/topology_priv.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- ids */

struct topo_hex topo_id_hex(struct topo_id id)
{
    static const char digits[] = "0123456789abcdef";
    struct topo_hex hex;
    for (uint32_t i = 0; i < TOPO_ID_BYTES; i++) {
        hex.text[2 * i] = digits[id.bytes[i] >> 4];
        hex.text[2 * i + 1] = digits[id.bytes[i] & 15];
    }
    hex.text[TOPO_HEX_BYTES - 1] = '\0';
    return hex;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool topo_id_parse(struct bytes text, struct topo_id *out)
{
    struct topo_id id;
    if (text.len != 2 * sizeof id.bytes) return false;
    for (uint32_t i = 0; i < TOPO_ID_BYTES; i++) {
        int high = hex_digit(text.data[2 * i]);
        int low = hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *out = id;
    return true;
}

/* ---- lists */

bool topology__list_room(struct topology_list *l)
{
    if (l->count < l->room) return true;
    uint32_t room = l->room == 0 ? 8 : 2 * l->room;
    void **at = mem_try_resize(MEM_CLUSTER, l->at, l->room * sizeof *at, room * sizeof *at);
    if (at == NULL) return false;
    l->at = at;
    l->room = room;
    return true;
}

void topology__list_insert(struct topology_list *l, uint32_t index, void *p)
{
    assert(l->count < l->room);
    assert(index <= l->count);
    memmove(l->at + index + 1, l->at + index, (l->count - index) * sizeof *l->at);
    l->at[index] = p;
    l->count++;
}

void topology__list_remove(struct topology_list *l, uint32_t index)
{
    assert(index < l->count);
    l->count--;
    memmove(l->at + index, l->at + index + 1, (l->count - index) * sizeof *l->at);
}

uint32_t topology__list_find(const struct topology_list *l, const void *key,
                             int (*compare)(const void *key, const void *element), bool *found_out)
{
    uint32_t low = 0;
    uint32_t high = l->count;
    *found_out = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(key, l->at[middle]);
        if (order == 0) {
            *found_out = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ---- birth and death */

enum rc topology_new(struct topology **out)
{
    struct topology *t = mem_try_zalloc(MEM_CLUSTER, sizeof *t);
    if (t == NULL) return RC_NOMEM;
    t->level = 1; /* until the first entry says otherwise */
    t->next_node_number = 1;
    t->next_coordinator = 1;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
        t->slot_handle[slot] = NO_HANDLE;
    *out = t;
    return RC_OK;
}

static void list_free(struct topology_list *l)
{
    mem_free(MEM_CLUSTER, l->at, l->room * sizeof *l->at);
}

void topology_free(struct topology *t)
{
    if (t == NULL) return;
    for (uint32_t i = 0; i < t->nodes.count; i++)
        topology__node_free(t->nodes.at[i]);
    for (uint32_t i = 0; i < t->groups.count; i++)
        topology__group_free(t->groups.at[i]);
    for (uint32_t i = 0; i < t->migrations.count; i++)
        topology__migration_free(t->migrations.at[i]);
    for (uint32_t i = 0; i < t->items.count; i++)
        topology__item_free(t->items.at[i]);
    list_free(&t->nodes);
    list_free(&t->groups);
    list_free(&t->handles);
    list_free(&t->migrations);
    list_free(&t->items);
    mem_free(MEM_CLUSTER, t->marks, t->marks_room * sizeof *t->marks);
    mem_free(MEM_CLUSTER, t, sizeof *t);
}

/* ---- types of entries */

#define X(number, name_, struct_, level_)                                                          \
    [number] = {.name = #name_,                                                                    \
                .level = (level_),                                                                 \
                .body = &struct_##_wire,                                                           \
                .apply = topology__apply_##name_},
static const struct topology_handler handlers[] = {TOPOLOGY_ENTRIES(X)};
#undef X
#define X(number, name, struct_, level)                                                            \
    static_assert(sizeof(struct struct_) <= TOPOLOGY_BODY_BYTES_MAX, "a body is read on the "      \
                                                                     "stack");
TOPOLOGY_ENTRIES(X)
#undef X

const struct topology_handler *topology__handler(uint32_t type)
{
    if (type >= COUNT_OF(handlers) || handlers[type].apply == NULL) return NULL;
    return &handlers[type];
}

const char *topology_entry_name(uint32_t type)
{
    const struct topology_handler *h = topology__handler(type);
    return h == NULL ? "?" : h->name;
}

enum rc topology_entry_encode(const struct topology_entry *entry, const void *body, struct buf *out)
{
    const struct topology_handler *h = topology__handler(entry->type);
    assert(h != NULL);
    struct topology_entry e = *entry;
    struct buf packed;
    size_t before = out->len;
    buf_init(&packed, MEM_CLUSTER);
    enum rc rc = wire_encode(h->body, body, &packed);
    if (rc != RC_OK) goto out_free;
    if (e.level == 0) e.level = h->level;
    e.body = buf_bytes(&packed);
    rc = wire_encode(&topology_entry_wire, &e, out);
    if (rc == RC_OK && out->len - before > WIRE_MESSAGE_BYTES_MAX) {
        out->len = before;
        rc = RC_TOOBIG;
    }
out_free:
    buf_free(&packed);
    return rc;
}

/* ---- refusals */

static enum rc say(struct change *c, enum topology_verdict verdict, const char *fmt, va_list args)
{
    c->result->verdict = verdict;
    c->result->value = 0;
    (void)vsnprintf(c->result->text, sizeof c->result->text, fmt, args);
    return RC_OK;
}

enum rc topology__refuse(struct change *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    enum rc rc = say(c, TOPOLOGY_REFUSED, fmt, args);
    va_end(args);
    return rc;
}

enum rc topology__unreadable(struct change *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    enum rc rc = say(c, TOPOLOGY_UNREADABLE, fmt, args);
    va_end(args);
    return rc;
}

PRINTF_LIKE(3, 4)
static enum rc verdict(struct change *c, enum topology_verdict v, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    enum rc rc = say(c, v, fmt, args);
    va_end(args);
    return rc;
}

/* ---- requests: applied once however often they are proposed */

#define WINDOW 64u

/* True: the result says what became of it; nothing is to be applied. */
static bool request_is_old(struct change *c)
{
    const struct topo_request *r = &c->entry->request;
    const struct topo_node *n = topology__node(c->t, r->node);
    if (n == NULL || r->incarnation > n->req_incarnation) return false;
    if (r->incarnation < n->req_incarnation) {
        (void)verdict(c, TOPOLOGY_STALE, "the request is of an earlier life of its node");
        return true;
    }
    if (r->counter > n->req_highest) return false;
    uint64_t age = n->req_highest - r->counter;
    if (age >= WINDOW) {
        (void)verdict(c, TOPOLOGY_STALE, "the request is too old to tell whether it was applied");
        return true;
    }
    if ((n->req_seen >> age & 1) == 0) return false;
    if ((n->req_ok >> age & 1) == 0)
        (void)verdict(c, TOPOLOGY_REFUSED, "the same request was refused before");
    c->result->repeated = true;
    return true;
}

/* Refusals are remembered too: the proposer may have seen that answer. */
static void request_done(struct change *c)
{
    const struct topo_request *r = &c->entry->request;
    struct topo_node *n = topology__node(c->t, r->node);
    if (n == NULL || c->result->repeated || c->result->verdict == TOPOLOGY_STALE) return;
    if (r->incarnation > n->req_incarnation) {
        n->req_incarnation = r->incarnation;
        n->req_highest = n->req_seen = n->req_ok = 0;
    }
    if (r->counter > n->req_highest) {
        uint64_t step = r->counter - n->req_highest;
        n->req_seen = step < WINDOW ? n->req_seen << step : 0;
        n->req_ok = step < WINDOW ? n->req_ok << step : 0;
        n->req_highest = r->counter;
    }
    uint64_t bit = UINT64_C(1) << (n->req_highest - r->counter);
    n->req_seen |= bit;
    if (c->result->verdict == TOPOLOGY_APPLIED) n->req_ok |= bit;
}

/* ---- apply */

static bool changes_map(uint32_t type)
{
    return type < TOPO_MIG_PLAN || type == TOPO_MIG_COMMIT;
}

/* The body, once everything around it is in order. */
static enum rc apply_body(struct change *c, const struct topology_handler *h,
                          struct wire_pool *pool)
{
    _Alignas(16) uint8_t body[TOPOLOGY_BODY_BYTES_MAX];
    const char *why = NULL;
    assert(h->body->struct_bytes <= sizeof body);
    enum rc rc = wire_decode(h->body, c->entry->body, pool, body, &why);
    if (rc == RC_NOMEM) return rc;
    if (rc != RC_OK) return topology__unreadable(c, "the body of %s: %s", h->name, why);
    if (c->t->initialised != (c->entry->type != TOPO_CLUSTER_INIT)) {
        return c->t->initialised ? topology__refuse(c, "the cluster has an id already")
                                 : topology__refuse(c, "the cluster has no id yet");
    }
    return h->apply(c, body);
}

/* An entry whose envelope could be read. */
static enum rc apply_entry(struct change *c, struct wire_pool *pool)
{
    const struct topology_entry *e = c->entry;
    const struct topo_request *r = &e->request;
    if (e->level == 0) return topology__unreadable(c, "an entry without a feature level");
    if (topo_id_is_none(r->node) != (r->counter == 0) ||
        topo_id_is_none(r->node) != (r->incarnation == 0))
        return topology__unreadable(c, "a request that lacks node, incarnation or counter");
    if (e->level > c->t->level)
        return verdict(c, TOPOLOGY_TOO_NEW, "it needs feature level %u, the cluster is at %u",
                       e->level, c->t->level);
    if (e->level > TOPOLOGY_LEVEL) return RC_UNSUPPORTED;
    const struct topology_handler *h = topology__handler(e->type);
    if (h == NULL || h->level > e->level)
        return topology__unreadable(c, "no type %u of entries at feature level %u", e->type,
                                    e->level);
    if (request_is_old(c)) return RC_OK;
    enum rc rc = apply_body(c, h, pool);
    if (rc != RC_OK) return rc;
    request_done(c);
    if (c->result->verdict == TOPOLOGY_APPLIED && changes_map(e->type))
        c->t->map_version = c->index;
    return RC_OK;
}

enum rc topology_apply(struct topology *t, uint64_t index, struct bytes bytes,
                       struct topology_result *result)
{
    struct topology_entry entry = {0};
    struct change c = {.t = t, .index = index, .entry = &entry, .result = result};
    struct wire_pool pool;
    const char *why = NULL;
    *result = (struct topology_result){.verdict = TOPOLOGY_APPLIED};
    if (index <= t->version) return RC_INVALID;
    wire_pool_init(&pool);
    enum rc rc = wire_decode(&topology_entry_wire, bytes, &pool, &entry, &why);
    if (rc == RC_OK)
        rc = apply_entry(&c, &pool);
    else if (rc == RC_INVALID)
        rc = topology__unreadable(&c, "the entry: %s", why);
    if (rc == RC_OK) {
        t->version = index;
        if (entry.hlc > t->hlc) t->hlc = entry.hlc;
    }
    wire_pool_free(&pool);
    return rc;
}

/* ---- the first entry, and those about the whole cluster */

enum rc topology__apply_CLUSTER_INIT(struct change *c, const void *body)
{
    const struct topo_cluster_init *b = body;
    static const struct topo_cluster_id none;
    if (memcmp(&b->cluster_id, &none, sizeof none) == 0)
        return topology__unreadable(c, "a cluster needs an id");
    if (b->level == 0) return topology__unreadable(c, "feature levels begin at 1");
    c->t->initialised = true;
    c->t->cluster_id = b->cluster_id;
    c->t->level = b->level;
    return RC_OK;
}

enum rc topology__apply_FEATURE_LEVEL(struct change *c, const void *body)
{
    const struct topo_feature_level *b = body;
    struct topology *t = c->t;
    if (b->level <= t->level)
        return topology__refuse(c, "the cluster is at feature level %u already", t->level);
    if (t->nodes.count == 0) return topology__refuse(c, "no node has joined yet");
    for (uint32_t i = 0; i < t->nodes.count; i++) {
        const struct topo_node *n = t->nodes.at[i];
        if (n->info.level < b->level)
            return topology__refuse(c, "node %s knows feature level %u only",
                                    topo_id_hex(n->info.id).text, n->info.level);
    }
    t->level = b->level;
    return RC_OK;
}

/* ---- reading */

uint64_t topology_version(const struct topology *t)
{
    return t->version;
}

uint64_t topology_map_version(const struct topology *t)
{
    return t->map_version;
}

uint64_t topology_hlc(const struct topology *t)
{
    return t->hlc;
}

uint32_t topology_level(const struct topology *t)
{
    return t->level;
}

struct topo_cluster_id topology_cluster_id(const struct topology *t)
{
    return t->cluster_id;
}
