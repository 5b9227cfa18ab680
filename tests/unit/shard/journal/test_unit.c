/* Units and varints: what is encoded decodes to the same; nothing is read beyond the input. */
#include "shard/journal/record.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/rng.h"
#include "shard/base/slot.h"

static size_t encode(uint8_t *out, const struct journal_head *h, bool joined,
                     const struct bytes *args, uint32_t argc)
{
    size_t size = journal_unit_size(h, args, argc);
    uint8_t *p = out + journal_unit_encode_head(out, h, joined, size);
    for (uint32_t i = 0; i < argc; i++) {
        p = journal_varint_put(p, args[i].len);
        memcpy(p, args[i].data, args[i].len);
        p += args[i].len;
    }
    assert_int_equal((size_t)(p - out), size + journal_varint_bytes(size));
    return (size_t)(p - out);
}

static void test_varint(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 64; bit++) {
        for (int64_t d = -1; d <= 1; d++) {
            uint64_t v = (1ull << bit) + (uint64_t)d;
            uint8_t text[10];
            uint64_t back = 0;
            uint8_t *end = journal_varint_put(text, v);
            assert_int_equal((size_t)(end - text), journal_varint_bytes(v));
            assert_ptr_equal(journal_varint_get(text, end, &back), end);
            assert_int_equal(back, v);
            assert_null(journal_varint_get(text, end - 1, &back)); /* cut short */
        }
    }
    const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    uint64_t v = 0;
    assert_null(journal_varint_get(over, over + sizeof over, &v));
}

static void test_set_costs_seven_bytes(void **state)
{
    (void)state;
    uint8_t out[200];
    uint8_t text[64] = {0};
    struct bytes args[2] = {bytes_view(text, 16), bytes_view(text, 64)};
    struct journal_head h = {.opcode = 1, .slot = 16383};
    assert_int_equal(encode(out, &h, false, args, 2), 16 + 64 + 7);
    h.db = 1;
    assert_int_equal(encode(out, &h, true, args, 2), 16 + 64 + 8);
    uint8_t value[300] = {0};
    uint8_t large[400];
    args[1] = bytes_view(value, 300);
    assert_int_equal(encode(large, &h, true, args, 2), 16 + 300 + 10);
}

static struct journal_head draw_head(struct rng *rng)
{
    return (struct journal_head){
        .opcode = (uint32_t)(rng_next(rng) >> (32 + rng_below(rng, 32))),
        .slot = rng_below(rng, 9) == 0 ? JOURNAL_SLOT_ALL : (uint16_t)rng_below(rng, SLOT_COUNT),
        .db = (uint8_t)(rng_below(rng, 2) * rng_below(rng, 256)),
        .engine = (uint8_t)(rng_below(rng, 2) * rng_below(rng, 256)),
        .txid = rng_below(rng, 2) * (rng_next(rng) | 1),
        .shards_mask = rng_next(rng) >> rng_below(rng, 64),
    };
}

static void test_round_trips(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    uint8_t text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)rng_next(&rng);
    for (uint32_t round = 0; round < 50000; round++) {
        struct bytes args[6];
        uint32_t argc = (uint32_t)rng_below(&rng, 7);
        struct journal_head h = draw_head(&rng);
        bool joined = rng_below(&rng, 2) == 1;
        for (uint32_t i = 0; i < argc; i++)
            args[i] = bytes_view(text, (size_t)rng_below(&rng, 300));
        uint8_t out[2500];
        size_t n = encode(out, &h, joined, args, argc);
        struct journal_unit_raw raw;
        assert_int_equal(journal_unit_decode(out, n, &raw), RC_OK);
        assert_int_equal(raw.bytes, n);
        assert_int_equal(raw.opcode, h.opcode);
        assert_int_equal(raw.slot, h.slot);
        assert_int_equal(raw.db, h.db);
        assert_int_equal(raw.engine, h.engine);
        assert_int_equal(raw.txid, h.txid);
        assert_int_equal(raw.shards_mask, h.txid == 0 ? 0 : h.shards_mask);
        assert_int_equal((raw.flags & UNIT_JOINED) != 0, joined);
        struct bytes rest = raw.args;
        struct bytes arg;
        for (uint32_t i = 0; i < argc; i++) {
            assert_true(journal_unit_arg(&rest, &arg));
            assert_true(bytes_equal(arg, args[i]));
        }
        assert_false(journal_unit_arg(&rest, &arg));
        assert_int_equal(rest.len, 0);
        assert_int_equal(journal_unit_decode(out, (size_t)rng_below(&rng, n), &raw), RC_AGAIN);
    }
}

/* Each input in a block of its own size: a read beyond it is seen by the sanitizer. */
static void test_noise_is_refused_or_well_formed(void **state)
{
    (void)state;
    struct rng rng;
    uint32_t taken = 0;
    rng_seed(&rng, 5);
    for (uint32_t round = 0; round < 200000; round++) {
        size_t n = (size_t)rng_below(&rng, 40);
        uint8_t *p = mem_alloc(MEM_TEST, n + (n == 0));
        for (size_t i = 0; i < n; i++)
            p[i] = (uint8_t)(rng_next(&rng) >> 20 & (rng_below(&rng, 2) ? 0xff : 0x0f));
        struct journal_unit_raw raw;
        if (journal_unit_decode(p, n, &raw) == RC_OK) {
            struct bytes rest = raw.args;
            struct bytes arg;
            taken++;
            assert_true(raw.bytes <= n);
            while (journal_unit_arg(&rest, &arg))
                assert_true(arg.data + arg.len <= p + n);
        }
        mem_free(MEM_TEST, p, n + (n == 0));
    }
    assert_true(taken > 100);
}

static void test_nonsense(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[16];
        size_t len;
    } bad[] = {
        {{0}, 1},                   /* a unit of nothing */
        {{3, 0, 1, 0}, 4},          /* too short for flags, opcode and slot */
        {{4, 0x10, 1, 0, 0}, 5},    /* a flag nobody knows */
        {{4, 0, 1, 0, 0x40}, 5},    /* a slot that does not exist */
        {{4, UNIT_DB, 1, 0, 0}, 5}, /* ends before its database */
        {{4, UNIT_TX, 1, 0, 0}, 5}, /* ends before its transaction */
        {{13, UNIT_TX, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 14}, /* transaction 0 */
        {{8, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0}, 9},         /* an opcode over 32 bits */
    };
    for (uint32_t i = 0; i < COUNT_OF(bad); i++) {
        struct journal_unit_raw raw;
        assert_int_equal(journal_unit_decode(bad[i].bytes, bad[i].len, &raw), RC_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint),      cmocka_unit_test(test_set_costs_seven_bytes),
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_noise_is_refused_or_well_formed),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
