/* What all nodes share by name: settings of the cluster, users, function libraries, the catalog; and
 * numbers handed out once. */
#include "cluster/topology_priv.h"

#include <inttypes.h>

/* ---- blocks */

struct topo_item *topology__item_new(const struct topo_item *like)
{
    struct topo_item *item = mem_try_alloc(MEM_CLUSTER, topology__item_bytes(like));
    if (item == NULL) return NULL;
    uint8_t *at = (uint8_t *)(item + 1);
    *item = *like;
    item->name = bytes_view(at, like->name.len);
    item->value = bytes_view(at + like->name.len, like->value.len);
    if (like->name.len > 0) memcpy(at, like->name.data, like->name.len);
    if (like->value.len > 0) memcpy(at + like->name.len, like->value.data, like->value.len);
    return item;
}

void topology__item_free(struct topo_item *item)
{
    mem_free(MEM_CLUSTER, item, topology__item_bytes(item));
}

static int compare_item(const void *key, const void *element)
{
    const struct topo_item *a = key;
    const struct topo_item *b = element;
    if (a->section != b->section) return a->section < b->section ? -1 : 1;
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    return bytes_compare(a->name, b->name);
}

uint32_t topology__item_place(const struct topology *t, const struct topo_item *key,
                              bool *found_out)
{
    return topology__list_find(&t->items, key, compare_item, found_out);
}

/* ---- put, drop */

static const char *section_name(uint8_t section)
{
    static const char *const names[TOPO_SECTIONS] = {"?", "setting", "user", "library",
                                                     "catalog entry"};
    return names[section];
}

/* A name for a text: what cannot be printed is '?', what is long is cut. */
struct shown {
    char text[72];
};
static struct shown show(struct bytes name)
{
    struct shown s = {""};
    size_t n = name.len < 64 ? name.len : 64;
    for (size_t i = 0; i < n; i++) {
        bool printable = name.data[i] >= ' ' && name.data[i] < 0x7f;
        s.text[i] = printable ? (char)name.data[i] : '?';
    }
    if (n < name.len) memcpy(s.text + n, "...", 3);
    return s;
}

static const char *key_fault(const struct topo_item *key)
{
    bool catalog = key->section == TOPO_CATALOG;
    if (catalog && (key->kind < TOPO_CATALOG_FT || key->kind > TOPO_CATALOG_CDC))
        return "no such kind of a catalog entry";
    if (!catalog && key->kind != 0) return "only catalog entries have a kind";
    if (key->name.len == 0 || key->name.len > TOPOLOGY_NAME_BYTES_MAX)
        return "a name has 1 to 1024 bytes";
    return NULL;
}

static bool refuse_version(struct change *c, const struct topo_item *key, uint64_t version,
                           bool expect, uint64_t expect_version)
{
    if (!expect || version == expect_version) return false;
    if (version == 0)
        return refused(topology__refuse(c, "%s '%s' does not exist", section_name(key->section),
                                        show(key->name).text));
    if (expect_version == 0)
        return refused(topology__refuse(c, "%s '%s' exists already", section_name(key->section),
                                        show(key->name).text));
    return refused(topology__refuse(c, "%s '%s' is at version %" PRIu64 ", not %" PRIu64,
                                    section_name(key->section), show(key->name).text, version,
                                    expect_version));
}

static bool refuse_full(struct change *c, const struct topo_item *put, const struct topo_item *old)
{
    const struct topology *t = c->t;
    uint64_t bytes = t->items_bytes + topology__item_bytes(put);
    if (old != NULL) bytes -= topology__item_bytes(old);
    if (old == NULL && t->items.count >= TOPOLOGY_ITEMS_MAX)
        return refused(topology__refuse(c, "there are %u definitions already", t->items.count));
    if (bytes > TOPOLOGY_ITEMS_BYTES_MAX)
        return refused(topology__refuse(c, "all definitions together may have %u bytes",
                                        TOPOLOGY_ITEMS_BYTES_MAX));
    return false;
}

static enum rc put(struct change *c, uint8_t section, const struct topo_item_put *b)
{
    struct topology *t = c->t;
    struct topo_item like = {.section = section,
                             .kind = b->kind,
                             .name = b->name,
                             .value = b->value,
                             .version = c->index,
                             .hlc = c->entry->hlc};
    const char *fault = key_fault(&like);
    if (b->value.len > TOPOLOGY_VALUE_BYTES_MAX) fault = "a definition over 512 KiB";
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    bool found = false;
    uint32_t place = topology__item_place(t, &like, &found);
    struct topo_item *old = found ? t->items.at[place] : NULL;
    if (refuse_version(c, &like, found ? old->version : 0, b->expect, b->expect_version) ||
        refuse_full(c, &like, old))
        return RC_OK;
    if (!found && !topology__list_room(&t->items)) return RC_NOMEM;
    struct topo_item *item = topology__item_new(&like);
    if (item == NULL) return RC_NOMEM;
    if (found) {
        t->items_bytes -= topology__item_bytes(old);
        topology__item_free(old);
        t->items.at[place] = item;
    } else {
        topology__list_insert(&t->items, place, item);
    }
    t->items_bytes += topology__item_bytes(item);
    t->section_version[section] = c->index;
    return RC_OK;
}

static enum rc drop(struct change *c, uint8_t section, const struct topo_item_drop *b)
{
    struct topology *t = c->t;
    struct topo_item key = {.section = section, .kind = b->kind, .name = b->name};
    const char *fault = key_fault(&key);
    if (b->expect && b->expect_version == 0) fault = "what is not there cannot be dropped";
    if (fault != NULL) return topology__unreadable(c, "%s", fault);
    bool found = false;
    uint32_t place = topology__item_place(t, &key, &found);
    if (!found)
        return topology__refuse(c, "%s '%s' does not exist", section_name(section),
                                show(b->name).text);
    struct topo_item *item = t->items.at[place];
    if (refuse_version(c, &key, item->version, b->expect, b->expect_version)) return RC_OK;
    topology__list_remove(&t->items, place);
    t->items_bytes -= topology__item_bytes(item);
    topology__item_free(item);
    t->section_version[section] = c->index;
    return RC_OK;
}

enum rc topology__apply_CONFIG_SET(struct change *c, const void *body)
{
    return put(c, TOPO_CONFIG, body);
}

enum rc topology__apply_CONFIG_UNSET(struct change *c, const void *body)
{
    return drop(c, TOPO_CONFIG, body);
}

enum rc topology__apply_ACL_SET(struct change *c, const void *body)
{
    return put(c, TOPO_ACL, body);
}

enum rc topology__apply_ACL_DELETE(struct change *c, const void *body)
{
    return drop(c, TOPO_ACL, body);
}

enum rc topology__apply_FUNCTION_LOAD(struct change *c, const void *body)
{
    return put(c, TOPO_FUNCTIONS, body);
}

enum rc topology__apply_FUNCTION_DELETE(struct change *c, const void *body)
{
    return drop(c, TOPO_FUNCTIONS, body);
}

enum rc topology__apply_CATALOG_PUT(struct change *c, const void *body)
{
    return put(c, TOPO_CATALOG, body);
}

enum rc topology__apply_CATALOG_DROP(struct change *c, const void *body)
{
    return drop(c, TOPO_CATALOG, body);
}

/* ---- numbers */

enum rc topology__apply_RESERVE(struct change *c, const void *body)
{
    const struct topo_reserve_ids *b = body;
    if (b->kind != TOPO_NODE_NUMBERS && b->kind != TOPO_COORDINATORS)
        return topology__unreadable(c, "no such kind of numbers");
    if (b->count == 0 || b->count > TOPOLOGY_RESERVE_MAX)
        return topology__unreadable(c, "1 to %u numbers at once", TOPOLOGY_RESERVE_MAX);
    uint64_t *next =
        b->kind == TOPO_NODE_NUMBERS ? &c->t->next_node_number : &c->t->next_coordinator;
    if (*next > UINT64_MAX - b->count) return topology__refuse(c, "there are no numbers left");
    c->result->value = *next;
    *next += b->count;
    return RC_OK;
}

/* ---- reading */

uint32_t topology_items(const struct topology *t)
{
    return t->items.count;
}

const struct topo_item *topology_item_at(const struct topology *t, uint32_t i)
{
    assert(i < t->items.count);
    return t->items.at[i];
}

const struct topo_item *topology_item_find(const struct topology *t, enum topo_section section,
                                           uint32_t kind, struct bytes name)
{
    struct topo_item key = {.section = (uint8_t)section, .kind = kind, .name = name};
    bool found = false;
    uint32_t place = topology__item_place(t, &key, &found);
    return found ? t->items.at[place] : NULL;
}

uint64_t topology_section_version(const struct topology *t, enum topo_section section)
{
    assert((uint32_t)section < TOPO_SECTIONS);
    return t->section_version[section];
}
