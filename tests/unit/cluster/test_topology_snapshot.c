/* Snapshots: the golden one, damage, the relations that a restored state must have, memory running out.
 *
 * TOPOLOGY_FIXTURE_OUT=<folder> writes what the script gives now into that folder, for a fixture of a new
 * format; those that are there stay as they are. */
#include "tests/unit/cluster/tscript.h"

#include <stdio.h>
#include <stdlib.h>

#include "shard/base/crc.h"
#include "shard/base/rng.h"

#define FIXTURE "tests/fixtures/topology-v1/"

static void apply_one(void *ctx, struct bytes entry)
{
    tworld_apply_bytes(ctx, entry);
}

/* What the script builds. */
static void scripted(struct tworld *w)
{
    tworld_init_empty(w);
    tscript(apply_one, w);
}

/* ---- golden */

static void load(const char *name, struct buf *out)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s%s", FIXTURE, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("%s is missing", path);
    buf_init(out, MEM_TEST);
    size_t n = 0;
    do {
        n = fread(buf_room(out, 4096), 1, 4096, f);
        out->len += n;
    } while (n > 0);
    (void)fclose(f);
}

static void store(const char *folder, const char *name, struct bytes bytes)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, f), bytes.len);
    assert_int_equal(fclose(f), 0);
}

/* One line for each entry: its verdict, and the text or the number that came with it. */
static void tell(const struct topology_result *r, struct buf *out)
{
    buf_addf(out, "%d %llu %s\n", r->verdict, (unsigned long long)r->value, r->text);
}

/* Applies entries as they lie in the fixture. */
static struct topology *apply_log(struct bytes log, struct buf *results)
{
    struct topology *t = NULL;
    uint64_t index = 0;
    assert_int_equal(topology_new(&t), RC_OK);
    for (size_t at = 0; at < log.len;) {
        uint32_t length = 0;
        struct topology_result r;
        memcpy(&length, log.data + at, sizeof length);
        struct bytes entry = bytes_view(log.data + at + sizeof length, length);
        assert_int_equal(topology_apply(t, ++index, entry, &r), RC_OK);
        tell(&r, results);
        at += sizeof length + length;
    }
    return t;
}

/* Verdicts and numbers; texts may be improved. */
static struct buf without_texts(const struct buf *results)
{
    struct buf out;
    uint32_t blanks = 0;
    buf_init(&out, MEM_TEST);
    for (size_t i = 0; i < results->len; i++) {
        uint8_t c = results->data[i];
        if (c == '\n' || blanks < 2) buf_add_byte(&out, c);
        blanks = c == '\n' ? 0 : blanks + (c == ' ');
    }
    return out;
}

static void test_golden(void **state)
{
    (void)state;
    struct buf log;
    struct buf snapshot;
    struct buf results;
    struct buf got;
    struct buf told;
    struct topology *restored = NULL;
    load("entries", &log);
    load("snapshot", &snapshot);
    load("results", &results);
    buf_init(&got, MEM_TEST);
    buf_init(&told, MEM_TEST);
    struct topology *t = apply_log(buf_bytes(&log), &told);
    struct buf want_verdicts = without_texts(&results);
    struct buf verdicts = without_texts(&told);
    assert_true(bytes_equal(buf_bytes(&verdicts), buf_bytes(&want_verdicts)));
    topo_snapshot(t, &got);
    assert_true(bytes_equal(buf_bytes(&got), buf_bytes(&snapshot)));
    assert_int_equal(topology_restore(buf_bytes(&snapshot), &restored, &told), RC_OK);
    topo_snapshot(restored, &got);
    assert_true(bytes_equal(buf_bytes(&got), buf_bytes(&snapshot)));
    topology_free(t);
    topology_free(restored);
    buf_free(&log);
    buf_free(&snapshot);
    buf_free(&results);
    buf_free(&got);
    buf_free(&told);
    buf_free(&verdicts);
    buf_free(&want_verdicts);
}

/* The script gives the bytes of the fixture still: entries are written as they always were. */
static void test_written_as_ever(void **state)
{
    (void)state;
    struct tworld w;
    struct buf results;
    struct buf log;
    scripted(&w);
    const char *folder = getenv("TOPOLOGY_FIXTURE_OUT");
    if (folder != NULL) {
        struct buf snapshot;
        buf_init(&snapshot, MEM_TEST);
        buf_init(&results, MEM_TEST);
        topology_free(apply_log(buf_bytes(&w.log), &results));
        topo_snapshot(w.t, &snapshot);
        store(folder, "entries", buf_bytes(&w.log));
        store(folder, "snapshot", buf_bytes(&snapshot));
        store(folder, "results", buf_bytes(&results));
        buf_free(&snapshot);
        buf_free(&results);
    }
    load("entries", &log);
    assert_true(bytes_equal(buf_bytes(&w.log), buf_bytes(&log)));
    buf_free(&log);
    tworld_free(&w);
}

/* ---- damage */

static void seal(struct buf *snapshot)
{
    uint32_t crc = crc32c(0, snapshot->data, snapshot->len - 4);
    memcpy(snapshot->data + snapshot->len - 4, &crc, sizeof crc);
}

/* What is taken is whole, and is what would be written. */
static enum rc restore(const struct buf *snapshot, const char *text)
{
    struct topology *t = NULL;
    struct buf why;
    struct buf again;
    buf_init(&why, MEM_TEST);
    buf_init(&again, MEM_TEST);
    enum rc rc = topology_restore(buf_bytes(snapshot), &t, &why);
    assert_true((rc == RC_OK) == (t != NULL));
    assert_true((rc == RC_OK) == (why.len == 0));
    if (rc == RC_OK) {
        topo_snapshot(t, &again);
        assert_true(bytes_equal(buf_bytes(&again), buf_bytes(snapshot)));
        assert_true(topology_check(t, &why));
        topology_free(t);
    }
    buf_add_byte(&why, 0);
    if (text != NULL && strstr((const char *)why.data, text) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", (const char *)why.data, text);
    buf_free(&why);
    buf_free(&again);
    return rc;
}

static void test_every_byte_flipped(void **state)
{
    (void)state;
    struct tworld w;
    struct buf snapshot;
    struct rng r;
    uint32_t taken = 0;
    scripted(&w);
    buf_init(&snapshot, MEM_TEST);
    topo_snapshot(w.t, &snapshot);
    rng_seed(&r, 3);
    for (size_t i = 0; i < snapshot.len; i++) {
        uint8_t was = snapshot.data[i];
        uint8_t trailer[4];
        memcpy(trailer, snapshot.data + snapshot.len - 4, 4);
        snapshot.data[i] = (uint8_t)(was ^ (1 + rng_below(&r, 255)));
        assert_int_equal(restore(&snapshot, NULL), RC_CORRUPT);
        if (i + 4 <
            snapshot.len) { /* and with a checksum that fits: no crash, nothing half right */
            seal(&snapshot);
            taken += restore(&snapshot, NULL) == RC_OK;
        }
        snapshot.data[i] = was;
        memcpy(snapshot.data + snapshot.len - 4, trailer, 4);
    }
    assert_true(taken > 0); /* a port, a letter of a host name */
    assert_true(taken < snapshot.len / 2);
    buf_free(&snapshot);
    tworld_free(&w);
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    struct tworld w;
    struct buf whole;
    struct buf cut;
    scripted(&w);
    buf_init(&whole, MEM_TEST);
    buf_init(&cut, MEM_TEST);
    topo_snapshot(w.t, &whole);
    for (size_t n = 0; n < whole.len; n++) {
        cut.len = 0;
        buf_add(&cut, whole.data, n);
        assert_int_equal(restore(&cut, NULL), RC_CORRUPT);
        if (n < 4) continue;
        seal(&cut);
        assert_int_equal(restore(&cut, NULL), RC_CORRUPT);
    }
    buf_free(&whole);
    buf_free(&cut);
    tworld_free(&w);
}

/* ---- one thing wrong, the checksum right */

static size_t record_at(const struct buf *snapshot, uint8_t type, uint32_t nth)
{
    for (size_t at = 16; at + 9 < snapshot->len;) {
        uint32_t length = 0;
        memcpy(&length, snapshot->data + at + 1, sizeof length);
        if (snapshot->data[at] == type && nth-- == 0) return at;
        at += 5 + length;
    }
    fail_msg("no record %u of type %u", nth, type);
    return 0;
}

static uint32_t record_bytes(const struct buf *snapshot, size_t at)
{
    uint32_t length = 0;
    memcpy(&length, snapshot->data + at + 1, sizeof length);
    return 5 + length;
}

/* The snapshot with one record taken out, or put in a second time behind itself. */
static void without(const struct buf *from, size_t at, struct buf *out)
{
    uint32_t bytes = record_bytes(from, at);
    out->len = 0;
    buf_add(out, from->data, at);
    buf_add(out, from->data + at + bytes, from->len - at - bytes);
    seal(out);
}

static void twice(const struct buf *from, size_t at, struct buf *out)
{
    uint32_t bytes = record_bytes(from, at);
    out->len = 0;
    buf_add(out, from->data, at + bytes);
    buf_add(out, from->data + at, from->len - at);
    seal(out);
}

static void test_records(void **state)
{
    (void)state;
    static const char *const twice_texts[] = {NULL,
                                              "the head is elsewhere",
                                              "a node twice",
                                              NULL /* not as written */,
                                              "a group twice",
                                              "marks of a slot twice",
                                              "a migration twice",
                                              "a definition twice",
                                              "records behind the end"};
    struct tworld w;
    struct buf whole;
    struct buf b;
    scripted(&w);
    buf_init(&whole, MEM_TEST);
    buf_init(&b, MEM_TEST);
    topo_snapshot(w.t, &whole);
    for (uint8_t type = 1; type <= 8; type++) {
        size_t at = record_at(&whole, type, 0);
        without(&whole, at, &b);
        assert_int_equal(restore(&b, NULL), RC_CORRUPT);
        twice(&whole, at, &b);
        assert_int_equal(restore(&b, twice_texts[type]), RC_CORRUPT);
    }
    /* Two nodes in the wrong order. */
    size_t first = record_at(&whole, 2, 0);
    size_t second = record_at(&whole, 2, 1);
    b.len = 0;
    buf_add(&b, whole.data, first);
    buf_add(&b, whole.data + second, record_bytes(&whole, second));
    buf_add(&b, whole.data + first, record_bytes(&whole, first));
    second += record_bytes(&whole, second);
    buf_add(&b, whole.data + second, whole.len - second);
    seal(&b);
    assert_int_equal(restore(&b, "not as it would be written"), RC_CORRUPT);
    /* Later programs. */
    b.len = 0;
    buf_add(&b, whole.data, whole.len);
    b.data[first] = 9;
    seal(&b);
    assert_int_equal(restore(&b, "no record is of type 9"), RC_UNSUPPORTED);
    b.data[first] = 2;
    b.data[8] = 2;
    seal(&b);
    assert_int_equal(restore(&b, "format 2, this program reads format 1"), RC_UNSUPPORTED);
    buf_free(&whole);
    buf_free(&b);
    tworld_free(&w);
}

static void test_a_later_feature_level(void **state)
{
    (void)state;
    struct tworld w;
    struct buf b;
    buf_init(&b, MEM_TEST);
    tworld_init_empty(&w);
    ok(&w, CLUSTER_INIT, .cluster_id = {{1}}, .level = TOPOLOGY_LEVEL + 1);
    topo_snapshot(w.t, &b);
    assert_int_equal(restore(&b, "written at feature level 2, this program knows 1"),
                     RC_UNSUPPORTED);
    buf_free(&b);
    tworld_free(&w);
}

/* A state that has no cluster id yet, too. */
static void test_empty(void **state)
{
    (void)state;
    struct tworld w;
    tworld_init_empty(&w);
    tworld_check(&w);
    tworld_free(&w);
}

/* ---- relations: each one broken by hand is found, in memory and in a snapshot */

struct breach {
    const char *text; /* NULL: the end */
    void (*make)(struct topology *t);
};

static struct topo_group *g1(struct topology *t)
{
    return topology__group(t, gid(1));
}

static struct topo_migration *open_one(struct topology *t)
{
    bool found = false;
    return t->migrations.at[topology__migration_place(t, mid(3), &found)];
}

static void no_primary(struct topology *t)
{
    g1(t)->primary = nid(9);
}
static void primary_outside(struct topology *t)
{
    g1(t)->primary = nid(6);
}
static void unknown_member(struct topology *t)
{
    g1(t)->members[0].node = (struct topo_id){{1}};
}
static void members_fall(struct topology *t)
{
    g1(t)->members[3].node = nid(2);
}
static void odd_standing(struct topology *t)
{
    g1(t)->members[0].standing = 3;
}
static void standing_without_life(struct topology *t)
{
    g1(t)->members[0].incarnation = 0;
}
static void future_life(struct topology *t)
{
    g1(t)->members[0].incarnation = 7;
}
static void eligible_beside_enough(struct topology *t)
{
    g1(t)->min_isr = 2;
}
static void in_two_groups(struct topology *t)
{
    topology__group(t, gid(2))->members[0].node = nid(4);
    topology__group(t, gid(2))->primary = nid(4);
}
static void no_number(struct topology *t)
{
    topology__node(t, nid(1))->number = 0;
}
static void number_to_come(struct topology *t)
{
    topology__node(t, nid(1))->number = t->next_node_number;
}
static void number_twice(struct topology *t)
{
    topology__node(t, nid(1))->number = topology__node(t, nid(2))->number;
}
static void unseen_ok(struct topology *t)
{
    topology__node(t, nid(2))->req_ok = 1;
}
static void mark_of_nobody(struct topology *t)
{
    t->marks[0].migrating_to = gid(99);
}
static void mark_empty(struct topology *t)
{
    t->marks[0] = (struct topo_slot_marks){.slot = 42};
}
static void mark_half(struct topology *t)
{
    t->marks[0].importing_from = (struct topo_id){{0}};
}
static void mark_unowned(struct topology *t)
{
    t->marks[0].slot = 16060;
}
static void mark_by_owner(struct topology *t)
{
    t->marks[0].importing_to = gid(1);
    t->marks[0].importing_from = gid(2);
}
static void mark_from_itself(struct topology *t)
{
    t->marks[0].importing_from = gid(2);
}
static void moves_foreign(struct topology *t)
{
    open_one(t)->source = gid(3);
    open_one(t)->target = gid(2);
}
static void moves_to_itself(struct topology *t)
{
    open_one(t)->target = gid(2);
}
static void moves_marked(struct topology *t)
{
    t->marks[0] = (struct topo_slot_marks){.slot = 5002, .migrating_to = gid(1)};
}
static void moves_in_future(struct topology *t)
{
    open_one(t)->changed = t->version + 1;
}
static void item_of_later(struct topology *t)
{
    t->section_version[TOPO_ACL] = 1;
}
static void later_section(struct topology *t)
{
    t->section_version[TOPO_ACL] = t->version + 1;
}
static void later_map(struct topology *t)
{
    t->map_version = t->version + 1;
}
static void no_level(struct topology *t)
{
    t->level = 0;
}
static void no_cluster_id(struct topology *t)
{
    t->initialised = false;
    memset(&t->cluster_id, 0, sizeof t->cluster_id);
}
static void no_next_number(struct topology *t)
{
    t->next_coordinator = 0;
}
static void odd_mode(struct topology *t)
{
    g1(t)->mode = 0;
}

static const struct breach breaches[] = {
    {"the primary is not in sync", no_primary},
    {"the primary is not in sync", primary_outside},
    {"a member is no node", unknown_member},
    {"members do not rise", members_fall},
    {"no such standing of a member", odd_standing},
    {"a standing without a life", standing_without_life},
    {"a member's life has not begun", future_life},
    {"eligible members beside enough in sync", eligible_beside_enough},
    {"a node in two groups", in_two_groups},
    {"a node's number was not handed out", no_number},
    {"a node's number was not handed out", number_to_come},
    {"two nodes with one number", number_twice},
    {"requests that were not seen", unseen_ok},
    {"marks that name no group", mark_of_nobody},
    {"marks that say nothing", mark_empty},
    {"half an importing mark", mark_half},
    {"a migrating mark without an owner", mark_unowned},
    {"its owner imports it", mark_by_owner},
    {"it is imported from its importer", mark_from_itself},
    {"it moves what its source does not own", moves_foreign},
    {"a migration without two groups", moves_to_itself},
    {"its slots are moved twice", moves_marked},
    {"a migration of no version", moves_in_future},
    {"its version is not its section's", item_of_later},
    {"a section is of a later version", later_section},
    {"the map is of a later version", later_map},
    {"feature levels begin at 1", no_level},
    {"a cluster without an id has parts", no_cluster_id},
    {"numbers begin at 1", no_next_number},
    {"no such mode", odd_mode},
};

static void test_relations(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(breaches); i++) {
        struct tworld w;
        struct buf b;
        buf_init(&b, MEM_TEST);
        scripted(&w);
        breaches[i].make(w.t);
        if (topology_check(w.t, &b)) fail_msg("breach %u: not found", i);
        buf_add_byte(&b, 0);
        if (strstr((const char *)b.data, breaches[i].text) == NULL)
            fail_msg("breach %u: %s", i, (const char *)b.data);
        topo_snapshot(w.t, &b);
        assert_int_equal(restore(&b, NULL), RC_CORRUPT);
        buf_free(&b);
        tworld_free(&w);
    }
}

/* Those that no snapshot can carry. */
static void test_relations_in_memory(void **state)
{
    (void)state;
    struct tworld w;
    struct buf why;
    buf_init(&why, MEM_TEST);
    scripted(&w);
    topology__group(w.t, gid(3))->slots_count++;
    assert_false(topology_check(w.t, &why));
    topology__group(w.t, gid(3))->slots_count--;
    assert_true(topology_check(w.t, &why));
    w.t->slot_handle[7] = 500;
    assert_false(topology_check(w.t, &why));
    w.t->slot_handle[7] = topology__group(w.t, gid(1))->handle;
    void *node = w.t->nodes.at[0];
    w.t->nodes.at[0] = w.t->nodes.at[1];
    w.t->nodes.at[1] = node;
    assert_false(topology_check(w.t, &why));
    w.t->nodes.at[1] = w.t->nodes.at[0];
    w.t->nodes.at[0] = node;
    assert_true(topology_check(w.t, &why));
    buf_free(&why);
    tworld_free(&w);
}

/* ---- memory */

static void test_every_allocation_fails(void **state)
{
    (void)state;
    struct tworld w;
    struct buf snapshot;
    struct buf again;
    bool fired = true;
    uint32_t nth = 1;
    scripted(&w);
    buf_init(&snapshot, MEM_TEST);
    buf_init(&again, MEM_TEST);
    topo_snapshot(w.t, &snapshot);
    for (; fired; nth++) {
        again.len = 0;
        buf_free(&again);
        mem_fault_arm(nth);
        enum rc rc = topology_snapshot(w.t, &again);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        assert_int_equal(again.len, fired ? 0 : snapshot.len);
    }
    assert_true(nth > 5);
    fired = true;
    for (nth = 1; fired; nth++) {
        uint64_t hash = 0;
        mem_fault_arm(nth);
        enum rc rc = topology_hash(w.t, &hash);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        assert_true((hash != 0) == (rc == RC_OK));
    }
    fired = true;
    for (nth = 1; fired; nth++) {
        struct topology *t = NULL;
        mem_fault_arm(nth);
        enum rc rc = topology_restore(buf_bytes(&snapshot), &t, &again);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        assert_true((t != NULL) == (rc == RC_OK));
        topology_free(t);
    }
    assert_true(nth > 30);
    buf_free(&snapshot);
    buf_free(&again);
    tworld_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_as_ever),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_every_byte_flipped),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_a_later_feature_level),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_relations),
        cmocka_unit_test(test_relations_in_memory),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
