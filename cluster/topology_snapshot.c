/* A topology as bytes and back; its hash; and the relations between its parts, which restoring checks.
 *
 *     MOONTOPO  format u32  zeros u32  { type u8, length u32, message }*  crc32c u32
 *
 * Records stand in the order of their types, those of one type in the order of their keys, so a state has
 * one snapshot. Restoring takes no other bytes: what was read is written again, into a checksum only, and
 * must give that of the input. docs/formats/topology.md has every field. */
#include "cluster/topology_priv.h"

#include "shard/base/crc.h"

#define MAGIC "MOONTOPO"
#define FORMAT 1u
#define HEAD_BYTES 16u
#define RECORD_HEAD_BYTES 5u
#define TRAILER_BYTES 4u

enum record_type {
    RECORD_HEAD = 1,
    RECORD_NODE,
    RECORD_FORGOTTEN,
    RECORD_GROUP,
    RECORD_MARKS,
    RECORD_MIGRATION,
    RECORD_ITEM,
    RECORD_END,
    RECORD_COUNT,
};

static void put_u32(uint8_t *p, uint32_t v)
{
    for (uint32_t i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- writing */

/* Bytes on their way into a buffer, a checksum, or both. */
struct writer {
    struct buf *out; /* NULL: the checksum is all that is wanted */
    struct buf record;
    uint64_t crc64;
    uint32_t crc32c;
    uint64_t records;
    struct topo_range *ranges; /* room for those of one group */
};

static enum rc emit(struct writer *w, const void *data, size_t len)
{
    w->crc64 = crc64(w->crc64, data, len);
    w->crc32c = crc32c(w->crc32c, data, len);
    if (w->out == NULL) return RC_OK;
    if (!buf_try_room(w->out, len)) return RC_NOMEM;
    buf_add(w->out, data, len);
    return RC_OK;
}

static enum rc emit_record(struct writer *w, enum record_type type, const struct wire_type *wire,
                           const void *body)
{
    uint8_t head[RECORD_HEAD_BYTES] = {(uint8_t)type};
    w->record.len = 0;
    enum rc rc = wire_encode(wire, body, &w->record);
    if (rc != RC_OK) return rc;
    put_u32(head + 1, (uint32_t)w->record.len);
    w->records++;
    rc = emit(w, head, sizeof head);
    return rc == RC_OK ? emit(w, w->record.data, w->record.len) : rc;
}

static enum rc emit_head(struct writer *w, const struct topology *t)
{
    uint8_t head[HEAD_BYTES] = MAGIC;
    put_u32(head + 8, FORMAT);
    struct snap_head body = {.cluster_id = t->cluster_id,
                             .version = t->version,
                             .map_version = t->map_version,
                             .hlc = t->hlc,
                             .level = t->level,
                             .next_node_number = t->next_node_number,
                             .next_coordinator = t->next_coordinator,
                             .config_version = t->section_version[TOPO_CONFIG],
                             .acl_version = t->section_version[TOPO_ACL],
                             .function_version = t->section_version[TOPO_FUNCTIONS],
                             .catalog_version = t->section_version[TOPO_CATALOG]};
    enum rc rc = emit(w, head, sizeof head);
    return rc == RC_OK ? emit_record(w, RECORD_HEAD, &snap_head_wire, &body) : rc;
}

static enum rc emit_group(struct writer *w, const struct topology *t, const struct topo_group *g)
{
    struct snap_group body = {.group = *g, .slots = w->ranges};
    const struct topo_group *owner = NULL;
    struct topo_range range;
    uint32_t left = g->slots_count; /* a group without slots looks at none */
    for (uint32_t from = 0; left > 0 && topology_next_range(t, from, &range, &owner);
         from = range.last + 1u) {
        if (owner != g) continue;
        left -= range.last - range.first + 1u;
        w->ranges[body.slots_count++] = range;
    }
    return emit_record(w, RECORD_GROUP, &snap_group_wire, &body);
}

static enum rc emit_parts(struct writer *w, const struct topology *t)
{
    enum rc rc = RC_OK;
    for (uint32_t i = 0; rc == RC_OK && i < t->nodes.count; i++)
        rc = emit_record(w, RECORD_NODE, &topo_node_wire, t->nodes.at[i]);
    for (uint32_t i = 0; rc == RC_OK && i < t->forgotten_count; i++)
        rc = emit_record(w, RECORD_FORGOTTEN, &topo_member_wire, &t->forgotten[i]);
    for (uint32_t i = 0; rc == RC_OK && i < t->groups.count; i++)
        rc = emit_group(w, t, t->groups.at[i]);
    for (uint32_t i = 0; rc == RC_OK && i < t->marks_count; i++)
        rc = emit_record(w, RECORD_MARKS, &topo_slot_marks_wire, &t->marks[i]);
    for (uint32_t i = 0; rc == RC_OK && i < t->migrations.count; i++)
        rc = emit_record(w, RECORD_MIGRATION, &topo_migration_wire, t->migrations.at[i]);
    for (uint32_t i = 0; rc == RC_OK && i < t->items.count; i++)
        rc = emit_record(w, RECORD_ITEM, &topo_item_wire, t->items.at[i]);
    return rc;
}

static enum rc write_all(struct writer *w, const struct topology *t)
{
    size_t room = TOPOLOGY_RANGES_MAX * sizeof *w->ranges;
    buf_init(&w->record, MEM_CLUSTER);
    w->ranges = mem_try_alloc(MEM_CLUSTER, room);
    if (w->ranges == NULL) return RC_NOMEM;
    enum rc rc = emit_head(w, t);
    if (rc == RC_OK) rc = emit_parts(w, t);
    struct snap_end end = {.records = w->records};
    if (rc == RC_OK) rc = emit_record(w, RECORD_END, &snap_end_wire, &end);
    mem_free(MEM_CLUSTER, w->ranges, room);
    buf_free(&w->record);
    return rc;
}

enum rc topology_snapshot(const struct topology *t, struct buf *out)
{
    struct writer w = {.out = out};
    size_t before = out->len;
    uint8_t trailer[TRAILER_BYTES];
    enum rc rc = write_all(&w, t);
    put_u32(trailer, w.crc32c);
    if (rc == RC_OK) rc = emit(&w, trailer, sizeof trailer);
    if (rc != RC_OK) out->len = before;
    return rc;
}

enum rc topology_hash(const struct topology *t, uint64_t *out)
{
    struct writer w = {.out = NULL};
    enum rc rc = write_all(&w, t);
    if (rc == RC_OK) *out = w.crc64;
    return rc;
}

/* ---- reading: one function for each type of record, all failing by fault() */

struct reader {
    struct topology *t;
    struct buf *why;
    uint64_t records;
    bool ended;
};

static enum rc fault(struct buf *why, const char *text)
{
    buf_addf(why, "%s", text);
    return RC_CORRUPT;
}

static enum rc read_head(struct reader *r, const void *body)
{
    const struct snap_head *h = body;
    struct topology *t = r->t;
    static const struct topo_cluster_id none;
    t->initialised = memcmp(&h->cluster_id, &none, sizeof none) != 0;
    t->cluster_id = h->cluster_id;
    t->version = h->version;
    t->map_version = h->map_version;
    t->hlc = h->hlc;
    t->level = h->level;
    t->next_node_number = h->next_node_number;
    t->next_coordinator = h->next_coordinator;
    t->section_version[TOPO_CONFIG] = h->config_version;
    t->section_version[TOPO_ACL] = h->acl_version;
    t->section_version[TOPO_FUNCTIONS] = h->function_version;
    t->section_version[TOPO_CATALOG] = h->catalog_version;
    if (h->level > TOPOLOGY_LEVEL) {
        buf_addf(r->why, "written at feature level %u, this program knows %u", h->level,
                 TOPOLOGY_LEVEL);
        return RC_UNSUPPORTED;
    }
    return RC_OK;
}

static enum rc read_node(struct reader *r, const void *body)
{
    const struct topo_node *like = body;
    const char *wrong = topology__info_fault(&like->info);
    bool found = false;
    uint32_t place = topology__node_place(r->t, like->info.id, &found);
    if (found) wrong = "a node twice";
    if (r->t->nodes.count >= TOPOLOGY_NODES_MAX) wrong = "too many nodes";
    if (wrong != NULL) return fault(r->why, wrong);
    if (!topology__list_room(&r->t->nodes)) return RC_NOMEM;
    struct topo_node *n = topology__node_new(like);
    if (n == NULL) return RC_NOMEM;
    topology__list_insert(&r->t->nodes, place, n);
    return RC_OK;
}

static enum rc read_forgotten(struct reader *r, const void *body)
{
    if (r->t->forgotten_count == TOPOLOGY_FORGOTTEN_KEPT)
        return fault(r->why, "too many forgotten nodes");
    r->t->forgotten[r->t->forgotten_count++] = *(const struct topo_member *)body;
    return RC_OK;
}

static const char *snap_group_fault(const struct topology *t, const struct snap_group *b)
{
    const char *wrong = topology__mode_fault(b->group.mode, b->group.min_isr);
    bool found = false;
    (void)topology__group_place(t, b->group.id, &found);
    if (topo_id_is_none(b->group.id)) wrong = "a group without an id";
    if (found) wrong = "a group twice";
    if (t->groups.count >= TOPOLOGY_GROUPS_MAX) wrong = "too many groups";
    if (b->group.members_count == 0) wrong = "a group without members";
    if (b->slots_count > 0 && wrong == NULL)
        wrong = topology__ranges_fault(b->slots, b->slots_count);
    return wrong;
}

static enum rc read_group(struct reader *r, const void *body)
{
    const struct snap_group *b = body;
    const char *wrong = snap_group_fault(r->t, b);
    if (wrong != NULL) return fault(r->why, wrong);
    if (!topology__group_room(r->t)) return RC_NOMEM;
    struct topo_group *g = topology__group_new(&b->group, b->group.members_count);
    if (g == NULL) return RC_NOMEM;
    for (uint32_t i = 0; i < b->group.members_count; i++)
        topology__member_insert(g, b->group.members[i]);
    topology__group_insert(r->t, g);
    for (uint32_t i = 0; i < b->slots_count; i++)
        for (uint32_t slot = b->slots[i].first; slot <= b->slots[i].last; slot++)
            if (topology__owner(r->t, (uint16_t)slot) != NULL)
                return fault(r->why, "a slot with two owners");
    for (uint32_t i = 0; i < b->slots_count; i++)
        topology__give(r->t, b->slots[i], g);
    return RC_OK;
}

static enum rc read_marks(struct reader *r, const void *body)
{
    const struct topo_slot_marks *m = body;
    bool found = false;
    if (m->slot >= SLOT_COUNT) return fault(r->why, "marks of a slot out of bounds");
    uint32_t place = topology__mark_place(r->t, m->slot, &found);
    if (found) return fault(r->why, "marks of a slot twice");
    if (!topology__mark_room(r->t)) return RC_NOMEM;
    topology__mark_insert(r->t, place, *m);
    return RC_OK;
}

static const char *migration_fault(const struct topo_migration *m)
{
    if (m->state < TOPO_MIG_PLANNED || m->state > TOPO_MIG_ABORTED)
        return "no such state of a migration";
    if (m->position.len > TOPOLOGY_NOTE_BYTES_MAX || m->reason.len > TOPOLOGY_NOTE_BYTES_MAX)
        return "a note over its limit";
    if (m->position.len > 0 && m->state != TOPO_MIG_DONE)
        return "a position of no finished migration";
    if (m->reason.len > 0 && m->state != TOPO_MIG_ABORTED)
        return "a reason of no aborted migration";
    return topology__ranges_fault(m->ranges, m->ranges_count);
}

static enum rc read_migration(struct reader *r, const void *body)
{
    const struct topo_migration *like = body;
    const char *wrong = migration_fault(like);
    bool found = false;
    uint32_t place = topology__migration_place(r->t, like->id, &found);
    if (found) wrong = "a migration twice";
    if (r->t->migrations.count >= TOPOLOGY_MIGRATIONS_MAX + TOPOLOGY_MIGRATIONS_KEPT)
        wrong = "too many migrations";
    if (wrong != NULL) return fault(r->why, wrong);
    if (!topology__list_room(&r->t->migrations)) return RC_NOMEM;
    struct topo_migration *m = topology__migration_new(like);
    if (m == NULL) return RC_NOMEM;
    topology__list_insert(&r->t->migrations, place, m);
    return RC_OK;
}

static enum rc read_item(struct reader *r, const void *body)
{
    const struct topo_item *like = body;
    struct topology *t = r->t;
    const char *wrong = NULL;
    bool found = false;
    uint32_t place = topology__item_place(t, like, &found);
    if (like->section < TOPO_CONFIG || like->section > TOPO_CATALOG) wrong = "no such section";
    if (like->name.len == 0 || like->name.len > TOPOLOGY_NAME_BYTES_MAX ||
        like->value.len > TOPOLOGY_VALUE_BYTES_MAX)
        wrong = "a definition out of bounds";
    if (found) wrong = "a definition twice";
    if (t->items.count >= TOPOLOGY_ITEMS_MAX ||
        t->items_bytes + topology__item_bytes(like) > TOPOLOGY_ITEMS_BYTES_MAX)
        wrong = "too many definitions";
    if (wrong != NULL) return fault(r->why, wrong);
    if (!topology__list_room(&t->items)) return RC_NOMEM;
    struct topo_item *item = topology__item_new(like);
    if (item == NULL) return RC_NOMEM;
    topology__list_insert(&t->items, place, item);
    t->items_bytes += topology__item_bytes(item);
    return RC_OK;
}

static enum rc read_end(struct reader *r, const void *body)
{
    const struct snap_end *e = body;
    r->ended = true;
    /* Counted already, but not by its writer. */
    return e->records == r->records - 1 ? RC_OK : fault(r->why, "another number of records");
}

static const struct {
    const struct wire_type *wire;
    enum rc (*read)(struct reader *r, const void *body);
} readers[RECORD_COUNT] = {
    [RECORD_HEAD] = {&snap_head_wire, read_head},
    [RECORD_NODE] = {&topo_node_wire, read_node},
    [RECORD_FORGOTTEN] = {&topo_member_wire, read_forgotten},
    [RECORD_GROUP] = {&snap_group_wire, read_group},
    [RECORD_MARKS] = {&topo_slot_marks_wire, read_marks},
    [RECORD_MIGRATION] = {&topo_migration_wire, read_migration},
    [RECORD_ITEM] = {&topo_item_wire, read_item},
    [RECORD_END] = {&snap_end_wire, read_end},
};

static enum rc read_record(struct reader *r, uint8_t type, struct bytes message)
{
    _Alignas(16) uint8_t body[TOPOLOGY_BODY_BYTES_MAX];
    struct wire_pool pool;
    const char *why = NULL;
    if (type < RECORD_HEAD || type >= RECORD_COUNT) {
        buf_addf(r->why, "no record is of type %u", type);
        return RC_UNSUPPORTED;
    }
    if ((type == RECORD_HEAD) != (r->records == 0)) return fault(r->why, "the head is elsewhere");
    assert(readers[type].wire->struct_bytes <= sizeof body);
    r->records++;
    wire_pool_init(&pool);
    enum rc rc = wire_decode(readers[type].wire, message, &pool, body, &why);
    if (rc == RC_OK)
        rc = readers[type].read(r, body);
    else if (rc == RC_INVALID)
        rc = fault(r->why, why);
    wire_pool_free(&pool);
    return rc;
}

static enum rc read_all(struct reader *r, struct bytes in)
{
    size_t at = HEAD_BYTES;
    while (at < in.len) {
        if (r->ended) return fault(r->why, "records behind the end");
        if (in.len - at < RECORD_HEAD_BYTES) return fault(r->why, "ends inside a record");
        uint32_t length = get_u32(in.data + at + 1);
        if (length > in.len - at - RECORD_HEAD_BYTES) return fault(r->why, "ends inside a record");
        uint8_t type = in.data[at];
        enum rc rc = read_record(r, type, bytes_view(in.data + at + RECORD_HEAD_BYTES, length));
        if (rc != RC_OK) {
            if (rc != RC_NOMEM) buf_addf(r->why, " (record at byte %zu)", at);
            return rc;
        }
        at += RECORD_HEAD_BYTES + length;
    }
    return r->ended ? RC_OK : fault(r->why, "ends before its end record");
}

static enum rc check_frame(struct bytes in, struct buf *why)
{
    if (in.len < HEAD_BYTES + TRAILER_BYTES || memcmp(in.data, MAGIC, 8) != 0)
        return fault(why, "not a topology snapshot");
    size_t length = in.len - TRAILER_BYTES;
    if (crc32c(0, in.data, length) != get_u32(in.data + length))
        return fault(why, "its checksum does not match");
    uint32_t format = get_u32(in.data + 8);
    if (format != FORMAT) {
        buf_addf(why, "format %u, this program reads format %u", format, FORMAT);
        return RC_UNSUPPORTED;
    }
    return RC_OK;
}

/* The one encoding: what was read must give what it was read from. */
static enum rc check_same(const struct topology *t, struct bytes in, struct buf *why)
{
    uint64_t hash = 0;
    enum rc rc = topology_hash(t, &hash);
    if (rc != RC_OK) return rc;
    return hash == crc64(0, in.data, in.len) ? RC_OK : fault(why, "not as it would be written");
}

enum rc topology_restore(struct bytes snapshot, struct topology **out, struct buf *why_out)
{
    struct reader r = {.why = why_out};
    enum rc rc = check_frame(snapshot, why_out);
    if (rc != RC_OK) return rc;
    struct bytes in = bytes_view(snapshot.data, snapshot.len - TRAILER_BYTES);
    rc = topology_new(&r.t);
    if (rc != RC_OK) return rc;
    rc = read_all(&r, in);
    if (rc == RC_OK && !topology_check(r.t, why_out)) rc = RC_CORRUPT;
    if (rc == RC_OK) rc = check_same(r.t, in, why_out);
    if (rc != RC_OK) {
        topology_free(r.t);
        return rc;
    }
    *out = r.t;
    return RC_OK;
}
