/* tests/fuzz/fuzz_topology.c: what comes from a disk or from another node, read by the topology. The first
 * byte chooses what the rest is:
 *
 *   0  entries { length u16, bytes } for a topology that has a little of everything
 *   1  the same, as bodies: { type u8, length u16, body bytes } in right envelopes
 *   2  a snapshot, given its right checksum
 *   3  a snapshot as it comes
 *
 * Whatever is read, all relations hold afterwards, a refusal has a text, and a snapshot that is taken is
 * what would be written. */
#include "cluster/topology.h"
#include "shard/base/assert.h"
#include "shard/base/crc.h"

#define ENTRY_BYTES_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct topology *t)
{
    struct buf why;
    buf_init(&why, MEM_TEST);
    bool whole = topology_check(t, &why);
    assert(whole);
    buf_free(&why);
}

static void apply(struct topology *t, struct bytes entry)
{
    struct topology_result r;
    uint64_t before = topology_version(t);
    enum rc rc = topology_apply(t, before + 1, entry, &r);
    assert(rc == RC_OK || rc == RC_UNSUPPORTED);
    if (rc != RC_OK) return;
    assert(topology_version(t) == before + 1);
    assert((r.verdict == TOPOLOGY_APPLIED) == (r.text[0] == '\0'));
}

static void apply_body(struct topology *t, uint32_t type, const void *body)
{
    struct buf bytes;
    struct topology_entry e = {.type = type, .hlc = topology_version(t)};
    buf_init(&bytes, MEM_TEST);
    enum rc rc = topology_entry_encode(&e, body, &bytes);
    assert(rc == RC_OK);
    apply(t, buf_bytes(&bytes));
    buf_free(&bytes);
}

static struct topo_id id_of(uint8_t n)
{
    struct topo_id id;
    memset(id.bytes, n, sizeof id.bytes);
    return id;
}

/* Three groups of ids 0x81 0x82 0x83, with nodes 1 2 3, and node 4 as a replica of the first. */
static struct topology *some_state(void)
{
    struct topology *t = NULL;
    enum rc rc = topology_new(&t);
    assert(rc == RC_OK);
    apply_body(t, TOPO_CLUSTER_INIT, &(struct topo_cluster_init){.cluster_id = {{1}}, .level = 1});
    for (uint8_t n = 1; n <= 4; n++) {
        struct topo_node_info info = {
            .id = id_of(n), .incarnation = 1, .ip = bytes_of("127.0.0.1"), .port = n, .level = 1};
        struct topo_range range = {.first = (uint16_t)(n * 100), .last = (uint16_t)(n * 100 + 50)};
        apply_body(t, TOPO_NODE_JOIN, &(struct topo_node_join){.node = info});
        if (n == 4) break;
        apply_body(t, TOPO_GROUP_CREATE,
                   &(struct topo_group_create){.group = id_of(0x80 | n),
                                               .mode = TOPO_SYNC,
                                               .min_isr = 1,
                                               .primary = {.node = id_of(n), .incarnation = 1}});
        apply_body(t, TOPO_SLOT_ASSIGN,
                   &(struct topo_slot_assign){
                       .ranges = &range, .ranges_count = 1, .group = id_of(0x80 | n)});
    }
    apply_body(t, TOPO_REPLICA_ADD,
               &(struct topo_replica_add){.group = id_of(0x81), .node = id_of(4)});
    return t;
}

/* { [type u8] length u16 bytes }… */
static void entries(const uint8_t *p, size_t n, bool bodies)
{
    struct topology *t = some_state();
    size_t head = bodies ? 3 : 2;
    for (uint32_t i = 0; i < 32 && n >= head; i++) {
        size_t length = (size_t)p[head - 2] | (size_t)p[head - 1] << 8;
        if (length > n - head) length = n - head;
        struct bytes rest = bytes_view(p + head, length);
        if (!bodies) {
            apply(t, rest);
        } else {
            struct buf bytes;
            buf_init(&bytes, MEM_TEST);
            /* level 1, type, body: three fields of the envelope */
            const uint8_t start[] = {0x08, 1, 0x10, (uint8_t)(p[0] & 0x7f), 0x3a};
            buf_add(&bytes, start, sizeof start);
            for (size_t left = length; true; left >>= 7) {
                buf_add_byte(&bytes, (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0)));
                if (left <= 0x7f) break;
            }
            buf_add_bytes(&bytes, rest);
            apply(t, buf_bytes(&bytes));
            buf_free(&bytes);
        }
        p += head + length;
        n -= head + length;
    }
    check(t);
    topology_free(t);
}

static void snapshot(const uint8_t *p, size_t n, bool seal)
{
    struct buf bytes;
    struct buf why;
    struct buf again;
    struct topology *t = NULL;
    buf_init(&bytes, MEM_TEST);
    buf_init(&why, MEM_TEST);
    buf_init(&again, MEM_TEST);
    buf_add(&bytes, p, n);
    if (seal) {
        uint32_t crc = crc32c(0, p, n);
        buf_add(&bytes, &crc, sizeof crc);
    }
    enum rc rc = topology_restore(buf_bytes(&bytes), &t, &why);
    assert((rc == RC_OK) == (why.len == 0));
    if (rc == RC_OK) {
        check(t);
        rc = topology_snapshot(t, &again);
        assert(rc == RC_OK);
        assert(bytes_equal(buf_bytes(&again), buf_bytes(&bytes)));
        topology_free(t);
    }
    buf_free(&bytes);
    buf_free(&why);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 32 * ENTRY_BYTES_MAX) return 0;
    uint8_t mode = data[0] & 3;
    if (mode < 2)
        entries(data + 1, size - 1, mode == 1);
    else
        snapshot(data + 1, size - 1, mode == 2);
    return 0;
}
