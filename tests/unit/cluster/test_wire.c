/* Tables, the walk before unpacking, and the two copies. */
#include "tests/unit/cluster/tfix.h"

#include "cluster/ctl_priv.h"
#include "shard/base/rng.h"

static const struct {
    const char *name;
    const struct wire_type *type;
} types[] = {
#define X(body) {#body, &body##_wire},
    TOPOLOGY_BODIES(X)
#undef X
        {"meta_propose", &meta_propose_wire},
    {"meta_result", &meta_result_wire},
};

static void test_tables_fit(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(types); i++) {
        const char *misfit = wire_type_check(types[i].type);
        if (misfit != NULL) fail_msg("%s: %s", types[i].name, misfit);
    }
}

/* ---- any struct */

static struct wire_pool made; /* what random structs point to */

static void fill(struct rng *r, const struct wire_type *type, uint8_t *out)
{
    memset(out, 0, type->struct_bytes);
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const struct wire_field *f = &type->fields[i];
        uint8_t *at = out + f->offset;
        uint64_t v = rng_next(r) >> rng_below(r, 64);
        uint8_t *block = NULL;
        struct bytes view = {0};
        uint32_t count = (uint32_t)rng_below(r, f->max < 5 ? f->max + 1 : 5);
        if (rng_below(r, 4) == 0) continue; /* zero */
        switch (f->kind) {
        case WIRE_U8:
        case WIRE_U16:
        case WIRE_U32:
        case WIRE_U64:
            memcpy(at, &v,
                   f->kind == WIRE_U8    ? 1
                   : f->kind == WIRE_U16 ? 2
                   : f->kind == WIRE_U32 ? 4
                                         : 8);
            break;
        case WIRE_BOOL:
            *at = 1;
            break;
        case WIRE_FIXED:
            memset(at, (int)(v | 1), f->size);
            break;
        case WIRE_BYTES:
            view.len = rng_below(r, 40);
            block = wire_pool_alloc(&made, view.len);
            memset(block, (int)v, view.len);
            view.data = block;
            memcpy(at, &view, sizeof view);
            break;
        case WIRE_ONE:
            fill(r, f->sub, at);
            break;
        case WIRE_MANY:
            block = wire_pool_alloc(&made, count * f->sub->struct_bytes);
            for (uint32_t k = 0; k < count; k++)
                fill(r, f->sub, block + k * f->sub->struct_bytes);
            memcpy(at, &block, sizeof block);
            memcpy(out + f->count_offset, &count, sizeof count);
            break;
        }
    }
}

/* Bytes of a random struct of that type. */
static void random_bytes(struct rng *r, const struct wire_type *type, struct buf *out)
{
    _Alignas(16) uint8_t body[512];
    assert_true(type->struct_bytes <= sizeof body);
    wire_pool_init(&made);
    fill(r, type, body);
    assert_int_equal(wire_encode(type, body, out), RC_OK);
    wire_pool_free(&made);
}

static enum rc decode(const struct wire_type *type, struct bytes in, const char **why)
{
    _Alignas(16) uint8_t body[512];
    struct wire_pool pool;
    wire_pool_init(&pool);
    enum rc rc = wire_decode(type, in, &pool, body, why);
    wire_pool_free(&pool);
    return rc;
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct rng r;
    struct buf first;
    struct buf second;
    _Alignas(16) uint8_t body[512];
    rng_seed(&r, 7);
    buf_init(&first, MEM_TEST);
    buf_init(&second, MEM_TEST);
    for (uint32_t i = 0; i < 200 * COUNT_OF(types); i++) {
        const struct wire_type *type = types[i % COUNT_OF(types)].type;
        struct wire_pool pool;
        const char *why = "";
        first.len = second.len = 0;
        random_bytes(&r, type, &first);
        wire_pool_init(&pool);
        assert_int_equal(wire_decode(type, buf_bytes(&first), &pool, body, &why), RC_OK);
        assert_int_equal(wire_encode(type, body, &second), RC_OK);
        assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
        wire_pool_free(&pool);
    }
    buf_free(&first);
    buf_free(&second);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
}

/* Cut anywhere or changed anywhere, a message is one or it is none; and if it is one, it has one meaning:
 * written again and read again it is the same. */
static void test_damaged(void **state)
{
    (void)state;
    struct rng r;
    struct buf bytes;
    rng_seed(&r, 8);
    buf_init(&bytes, MEM_TEST);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 20 * COUNT_OF(types); i++) {
        const struct wire_type *type = types[i % COUNT_OF(types)].type;
        bytes.len = 0;
        random_bytes(&r, type, &bytes);
        for (size_t cut = 0; cut < bytes.len; cut++) {
            uint8_t was = bytes.data[cut];
            const char *why = NULL;
            enum rc rc = decode(type, bytes_view(bytes.data, cut), &why);
            assert_true((rc == RC_OK) == (why == NULL));
            refused += rc != RC_OK;
            bytes.data[cut] = (uint8_t)(was ^ (1 + rng_below(&r, 255)));
            rc = decode(type, buf_bytes(&bytes), &why);
            assert_true(rc == RC_OK || rc == RC_INVALID);
            bytes.data[cut] = was;
        }
    }
    assert_true(refused > 1000);
    buf_free(&bytes);
}

/* ---- each refusal of the walk */

#define REFUSED(type, text, ...)                                                                   \
    refused_because(&type##_wire, (text), (const uint8_t[]){__VA_ARGS__},                          \
                    sizeof((const uint8_t[]){__VA_ARGS__}), __LINE__)

static void refused_because(const struct wire_type *type, const char *text, const uint8_t *data,
                            size_t len, int line)
{
    const char *why = "(taken)";
    enum rc rc = decode(type, bytes_view(data, len), &why);
    if (rc != RC_INVALID || strcmp(why, text) != 0) fail_msg("line %d: %s", line, why);
}

static void test_refusals(void **state)
{
    (void)state;
    REFUSED(topo_member, "a field that is not known", 0x18, 1);
    REFUSED(topo_member, "no such field number", 0x00, 1);
    REFUSED(topo_member, "no such field number", 0x80, 0x80, 0x80, 0x80, 0x80, 1);
    REFUSED(topo_member, "a field twice", 0x10, 1, 0x10, 1);
    REFUSED(topo_member, "a field of another type", 0x12, 1, 7); /* bytes */
    REFUSED(topo_member, "a field of another type", 0x11, 0, 0, 0, 0, 0, 0, 0, 0);
    REFUSED(topo_member, "a field of another type", 0x0b); /* a group of old */
    REFUSED(topo_member, "ends inside a number", 0x10);
    REFUSED(topo_member, "ends inside a number", 0x90);
    REFUSED(topo_member, "ends inside a number", 0x10, 0x80);
    REFUSED(topo_member, "a number over 64 bits", 0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255,
            2);
    REFUSED(topo_member, "a number over 64 bits", 0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255,
            128, 1);
    REFUSED(topo_member, "ends inside a field", 0x0a, 2, 1);
    REFUSED(topo_member, "ends inside a field", 0x0a, 255, 255, 255, 255, 255, 255, 255, 255, 255,
            1);
    REFUSED(topo_member, "an id of the wrong length", 0x0a, 1, 1);
    REFUSED(topo_range, "a number out of range", 0x08, 0x80, 0x80, 4);
    REFUSED(topo_mig_step, "a number out of range", 0x10, 0x80, 2);
    REFUSED(topo_feature_level, "a number out of range", 0x08, 0x80, 0x80, 0x80, 0x80, 0x10);
    REFUSED(topo_node_health, "a number out of range", 0x18, 2);
    REFUSED(topo_slot_assign, "a field that is not known", 0x0a, 2, 0x18, 1); /* in a range */
    REFUSED(topo_slot_assign, "ends inside a field", 0x0a, 3, 8, 1);
}

static void test_bounds(void **state)
{
    (void)state;
    static uint8_t many[2 * (TOPOLOGY_RANGES_MAX + 1)];
    for (size_t i = 0; i < sizeof many; i += 2)
        many[i] = 0x0a; /* empty ranges */
    const char *why = NULL;
    assert_int_equal(decode(&topo_slot_assign_wire, bytes_view(many, sizeof many - 2), &why),
                     RC_OK);
    refused_because(&topo_slot_assign_wire, "too many of one field", many, sizeof many, __LINE__);
    static uint8_t big[WIRE_MESSAGE_BYTES_MAX + 1];
    refused_because(&topo_item_put_wire, "a message over the size limit", big, sizeof big,
                    __LINE__);
    /* A table that contains itself, which ours do not: depth is bounded all the same. */
    static struct wire_field fields[3];
    static struct wire_type nested;
    memcpy(fields, topo_slot_assign_wire.fields, sizeof fields);
    nested = topo_slot_assign_wire;
    nested.fields = fields;
    fields[0].sub = &nested;
    static const uint8_t deep[] = {0x0a, 8, 0x0a, 6, 0x0a, 4, 0x0a, 2, 0x0a, 0};
    refused_because(&nested, "messages nested too deep", deep, sizeof deep, __LINE__);
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    struct rng r;
    struct buf bytes;
    struct buf again;
    _Alignas(16) uint8_t body[512];
    rng_seed(&r, 9);
    buf_init(&bytes, MEM_TEST);
    buf_init(&again, MEM_TEST);
    struct topo_range ranges[2000] = {{1, 2}};
    struct topo_slot_assign b = {.ranges = ranges, .ranges_count = COUNT_OF(ranges)};
    assert_int_equal(wire_encode(&topo_slot_assign_wire, &b, &bytes), RC_OK);
    bool fired = true;
    uint32_t nth = 1;
    for (; fired; nth++) {
        struct wire_pool pool;
        const char *why = NULL;
        wire_pool_init(&pool);
        mem_fault_arm(nth);
        enum rc rc = wire_decode(&topo_slot_assign_wire, buf_bytes(&bytes), &pool, body, &why);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        wire_pool_free(&pool);
    }
    assert_true(nth > 5);
    fired = true;
    for (nth = 1; fired; nth++) {
        again.len = 0;
        mem_fault_arm(nth);
        enum rc rc = wire_encode(&topo_slot_assign_wire, &b, &again);
        fired = mem_fault_disarm();
        assert_int_equal(rc, fired ? RC_NOMEM : RC_OK);
        assert_int_equal(again.len, fired ? 0 : bytes.len);
    }
    assert_true(nth > 5);
    buf_free(&bytes);
    buf_free(&again);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_fit), cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_damaged),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bounds),     cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
