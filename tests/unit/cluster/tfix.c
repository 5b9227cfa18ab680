#include "tests/unit/cluster/tfix.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- names */

static struct topo_id filled(uint8_t first, uint8_t n)
{
    struct topo_id id;
    memset(id.bytes, n, sizeof id.bytes);
    id.bytes[0] = (uint8_t)(first | n);
    return id;
}

struct topo_id nid(uint8_t n)
{
    return filled(0x00, n);
}

struct topo_id gid(uint8_t n)
{
    return filled(0x80, n);
}

struct topo_id mid(uint8_t n)
{
    return filled(0x40, n);
}

struct topo_node_info info(uint8_t n, uint64_t incarnation)
{
    static const char *const ips[] = {"127.0.0.1", "10.0.0.1", "2001:db8::1"};
    return (struct topo_node_info){.id = nid(n),
                                   .incarnation = incarnation,
                                   .ip = bytes_of(ips[n % 3]),
                                   .hostname = n % 2 == 0 ? bytes_of("host.example") : bytes_of(""),
                                   .az = n % 4 == 0 ? bytes_of("az-1") : bytes_of(""),
                                   .port = (uint16_t)(7000 + n),
                                   .bus_port = (uint16_t)(17000 + n),
                                   .level = TOPOLOGY_LEVEL};
}

/* ---- a topology and what it was made of */

uint64_t topo_hash(const struct topology *t)
{
    uint64_t hash = 0;
    assert_int_equal(topology_hash(t, &hash), RC_OK);
    return hash;
}

void topo_snapshot(const struct topology *t, struct buf *out)
{
    out->len = 0;
    assert_int_equal(topology_snapshot(t, out), RC_OK);
}

void tworld_init_empty(struct tworld *w)
{
    *w = (struct tworld){.hlc = 1000};
    buf_init(&w->log, MEM_TEST);
    buf_init(&w->parts, MEM_TEST);
    assert_int_equal(topology_new(&w->t), RC_OK);
}

void tworld_init(struct tworld *w)
{
    tworld_init_empty(w);
    ok(w, CLUSTER_INIT, .cluster_id = {{1, 2, 3}}, .level = TOPOLOGY_LEVEL);
}

void tworld_free(struct tworld *w)
{
    topology_free(w->t);
    buf_free(&w->log);
    buf_free(&w->parts);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
}

/* Behind its head record the snapshot has all parts. */
static struct bytes parts_of(const struct buf *snapshot)
{
    uint32_t head = 0;
    memcpy(&head, snapshot->data + 17, sizeof head);
    size_t at = 16 + 5 + head;
    return bytes_view(snapshot->data + at, snapshot->len - at - 4);
}

/* Nothing that a request is remembered by: those of the entries here have none. */
static void check_unchanged(struct tworld *w)
{
    struct buf now;
    buf_init(&now, MEM_TEST);
    topo_snapshot(w->t, &now);
    assert_true(bytes_equal(parts_of(&w->parts), parts_of(&now)));
    buf_free(&now);
}

static void check_relations(const struct topology *t)
{
    struct buf why;
    buf_init(&why, MEM_TEST);
    if (!topology_check(t, &why)) fail_msg("%.*s", (int)why.len, (const char *)why.data);
    buf_free(&why);
}

void tworld_apply_bytes(struct tworld *w, struct bytes bytes)
{
    uint32_t length = (uint32_t)bytes.len;
    uint64_t before = topology_version(w->t);
    topo_snapshot(w->t, &w->parts);
    buf_add(&w->log, &length, sizeof length);
    buf_add_bytes(&w->log, bytes);
    assert_int_equal(topology_apply(w->t, before + 1, bytes, &w->r), RC_OK);
    assert_int_equal(topology_version(w->t), before + 1);
    assert_true((w->r.verdict == TOPOLOGY_APPLIED) == (w->r.text[0] == '\0'));
    check_relations(w->t);
}

void tworld_apply(struct tworld *w, const struct topology_entry *entry, const void *body)
{
    struct buf bytes;
    buf_init(&bytes, MEM_TEST);
    assert_int_equal(topology_entry_encode(entry, body, &bytes), RC_OK);
    tworld_apply_bytes(w, buf_bytes(&bytes));
    buf_free(&bytes);
}

void tworld_ok(struct tworld *w, uint32_t type, const void *body, const char *file, int line)
{
    tworld_apply(w, &(struct topology_entry){.type = type, .hlc = ++w->hlc}, body);
    if (w->r.verdict != TOPOLOGY_APPLIED)
        fail_msg("%s:%d: %s: %s", file, line, topology_entry_name(type), w->r.text);
}

void tworld_refused(struct tworld *w, enum topology_verdict verdict, const char *text,
                    uint32_t type, const void *body, const char *file, int line)
{
    tworld_apply(w, &(struct topology_entry){.type = type, .hlc = ++w->hlc}, body);
    if (w->r.verdict != verdict || strncmp(w->r.text, text, strlen(text)) != 0)
        fail_msg("%s:%d: %s: verdict %d \"%s\" instead of %d \"%s\"", file, line,
                 topology_entry_name(type), w->r.verdict, w->r.text, verdict, text);
    check_unchanged(w);
}

static struct topology *replayed(const struct tworld *w)
{
    struct topology *t = NULL;
    uint64_t index = 0;
    assert_int_equal(topology_new(&t), RC_OK);
    for (size_t at = 0; at < w->log.len;) {
        uint32_t length = 0;
        struct topology_result r;
        memcpy(&length, w->log.data + at, sizeof length);
        struct bytes entry = bytes_view(w->log.data + at + sizeof length, length);
        assert_int_equal(topology_apply(t, ++index, entry, &r), RC_OK);
        at += sizeof length + length;
    }
    return t;
}

void tworld_check(struct tworld *w)
{
    struct buf snapshot;
    struct buf why;
    struct topology *restored = NULL;
    buf_init(&snapshot, MEM_TEST);
    buf_init(&why, MEM_TEST);
    topo_snapshot(w->t, &snapshot);
    enum rc rc = topology_restore(buf_bytes(&snapshot), &restored, &why);
    if (rc != RC_OK) fail_msg("%s: %.*s", rc_text(rc), (int)why.len, (const char *)why.data);
    assert_true(topo_hash(restored) == topo_hash(w->t));
    struct topology *again = replayed(w);
    assert_true(topo_hash(again) == topo_hash(w->t));
    topology_free(restored);
    topology_free(again);
    buf_free(&snapshot);
    buf_free(&why);
}

/* ---- usual shapes */

void tworld_groups(struct tworld *w, uint8_t count)
{
    for (uint8_t k = 1; k <= count; k++) {
        struct topo_range share = {.first = (uint16_t)(SLOT_COUNT * (k - 1u) / count),
                                   .last = (uint16_t)(SLOT_COUNT * k / count - 1)};
        ok(w, NODE_JOIN, .node = info(k, 1));
        ok(w, GROUP_CREATE, .group = gid(k), .mode = TOPO_ASYNC, .min_isr = 1,
           .primary = life(k, 1));
        ok(w, SLOT_ASSIGN, .ranges = &share, .ranges_count = 1, .group = gid(k));
    }
}

void tworld_replica(struct tworld *w, uint8_t g, uint8_t n, bool in_sync)
{
    ok(w, NODE_JOIN, .node = info(n, 1));
    ok(w, REPLICA_ADD, .group = gid(g), .node = nid(n));
    if (!in_sync) return;
    const struct topo_group *group = topology_group_find(w->t, gid(g));
    const struct topo_node *primary = topology_node_find(w->t, group->primary);
    struct topo_member by = {.node = group->primary, .incarnation = primary->info.incarnation};
    ok(w, ISR_GROW, .group = gid(g), .epoch = group->epoch, .in = M(life(n, 1)), .in_count = 1,
       .by = by);
}

const char *members(const struct tworld *w, uint8_t g)
{
    static char text[1024];
    size_t at = 0;
    const struct topo_group *group = topology_group_find(w->t, gid(g));
    if (group == NULL) return "no group";
    text[0] = '\0';
    for (uint32_t i = 0; i < group->members_count; i++) {
        const struct topo_group_member *m = &group->members[i];
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%u%s%s:", i > 0 ? " " : "",
                               m->node.bytes[1], topo_id_equal(m->node, group->primary) ? "*" : "",
                               m->standing == TOPO_ELIGIBLE ? "?" : "");
        at += m->standing == TOPO_OUTSIDE
                  ? (size_t)snprintf(text + at, sizeof text - at, "-")
                  : (size_t)snprintf(text + at, sizeof text - at, "%" PRIu64, m->incarnation);
    }
    return text;
}

uint64_t epoch(const struct tworld *w, uint8_t g)
{
    const struct topo_group *group = topology_group_find(w->t, gid(g));
    return group == NULL ? UINT64_MAX : group->epoch;
}

uint8_t owner(const struct tworld *w, uint16_t slot)
{
    const struct topo_group *group = topology_owner(w->t, slot);
    return group == NULL ? 0 : group->id.bytes[1];
}
