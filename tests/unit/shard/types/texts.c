#include "tests/unit/shard/types/texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/base/assert.h"
#include "shard/base/num.h"

static const int64_t integers[] = {
    0,      1,       127,      128,        -1,          4095,       -4096,     4096,     32767,
    -32769, 8388607, -8388609, 2147483647, -2147483648, 2147483648, INT64_MAX, INT64_MIN};

static struct bytes string_of(uint32_t n, uint8_t out[TEXT_MAX])
{
    static const size_t lens[] = {4, 5, 7, 16, 60, 64, 65, 130, 300};
    size_t len = lens[n / 4 % COUNT_OF(lens)];
    if (n % 128 == 3) len = 4090 + n % 100;
    memset(out, (int)(n * 37 % 256), len);
    memcpy(out, &n, sizeof n);
    out[3] |= 0x80; /* no digits */
    return bytes_view(out, len);
}

struct bytes text_of(uint32_t n, uint8_t out[TEXT_MAX])
{
    if (n == 1) return bytes_view(out, 0);
    if (n % 4 == 2) {
        size_t index = n / 4;
        int64_t v = index < COUNT_OF(integers) ? integers[index] : (int64_t)n * 7919 + 5000;
        return bytes_view(out, num_format_i64((char *)out, v));
    }
    return string_of(n, out);
}

uint32_t number_of(struct bytes text, uint32_t count)
{
    uint32_t n;
    int64_t v;
    if (text.len == 0) return 1;
    if (num_parse_i64(text, &v)) {
        for (n = 0; n < COUNT_OF(integers); n++) {
            if (integers[n] == v) break;
        }
        n = n < COUNT_OF(integers) ? n * 4 + 2 : (uint32_t)((v - 5000) / 7919);
    } else {
        assert_true(text.len >= 4);
        memcpy(&n, text.data, sizeof n);
        n &= 0x7fffffff;
    }
    uint8_t *out = mem_alloc(MEM_TEST, TEXT_MAX);
    assert_true(n < count);
    assert_true(bytes_equal(text, text_of(n, out)));
    mem_free(MEM_TEST, out, TEXT_MAX);
    return n;
}

void limits_set(uint32_t which)
{
    static const struct type_limits cases[LIMITS_COUNT] = {
        {.hash_listpack_entries = 512,
         .hash_listpack_value = 64,
         .set_intset_entries = 512,
         .set_listpack_entries = 128,
         .set_listpack_value = 64,
         .zset_listpack_entries = 128,
         .zset_listpack_value = 64,
         .list_listpack_size = -2},
        {.hash_listpack_entries = 3,
         .hash_listpack_value = 16,
         .set_intset_entries = 4,
         .set_listpack_entries = 3,
         .set_listpack_value = 16,
         .zset_listpack_entries = 3,
         .zset_listpack_value = 16,
         .list_listpack_size = 3},
        {.list_listpack_size = 1},
        {.hash_listpack_entries = 100000,
         .hash_listpack_value = 100000,
         .set_intset_entries = 100000,
         .set_listpack_entries = 100000,
         .set_listpack_value = 100000,
         .zset_listpack_entries = 100000,
         .zset_listpack_value = 100000,
         .list_listpack_size = -5},
    };
    assert(which < LIMITS_COUNT);
    type_limits = cases[which];
}

bool arm_fault(struct rng *rng, uint32_t one_in)
{
    if (one_in == 0 || rng_below(rng, one_in) != 0) return false;
    mem_fault_arm(1 + (uint32_t)rng_below(rng, 4));
    return true;
}

void disarm_fault(bool armed, bool ok)
{
    bool fired = armed && mem_fault_disarm();
    assert_true(ok || fired);
}

void assert_all_freed(void)
{
    assert_int_equal(mem_live_bytes(MEM_DATA), 0);
    assert_int_equal(mem_live_bytes(MEM_TABLE), 0);
}
