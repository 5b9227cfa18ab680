#include "shard/base/crc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shard/base/rng.h"

static uint64_t reflected(uint64_t crc, uint64_t poly, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ poly : crc >> 1;
    }
    return crc;
}

static uint16_t xmodem(const uint8_t *p, size_t len)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint32_t)p[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return (uint16_t)crc;
}

static void test_check_values(void **state)
{
    (void)state;
    assert_int_equal(crc16("123456789", 9), 0x31c3);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_true(crc64(0, "123456789", 9) == 0xe9c6d914c4b8d9ca);
    uint8_t zeros[32] = {0};
    assert_int_equal(crc32c(0, zeros, sizeof zeros), 0x8a9136aa); /* RFC 3720, B.4 */
    assert_int_equal(crc32c(7, NULL, 0), 7);
    assert_true(crc64(7, NULL, 0) == 7);
    assert_int_equal(crc16(NULL, 0), 0);
}

static void test_every_length_and_alignment_matches_bit_by_bit(void **state)
{
    (void)state;
    uint8_t data[400];
    struct rng r;
    rng_seed(&r, 10);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)rng_next(&r);
    for (size_t offset = 0; offset < 9; offset++) {
        for (size_t len = 0; len + offset <= 300; len++) {
            const uint8_t *p = data + offset;
            uint64_t seed = rng_next(&r);
            uint32_t seed32 = (uint32_t)seed;
            uint32_t expected = ~(uint32_t)reflected(~seed32, 0x82f63b78, p, len);
            assert_int_equal(crc32c(seed32, p, len), expected);
            assert_int_equal(crc32c_table(seed32, p, len), expected);
            assert_true(crc64(seed, p, len) == reflected(seed, 0x95ac9329ac4bc9b5, p, len));
            assert_int_equal(crc16(p, len), xmodem(p, len));
        }
    }
}

static void test_parts_chain(void **state)
{
    (void)state;
    uint8_t data[100];
    struct rng r;
    rng_seed(&r, 11);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)rng_next(&r);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        assert_int_equal(crc32c(crc32c(1, data, cut), data + cut, sizeof data - cut),
                         crc32c(1, data, sizeof data));
        assert_true(crc64(crc64(1, data, cut), data + cut, sizeof data - cut) ==
                    crc64(1, data, sizeof data));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_values),
        cmocka_unit_test(test_every_length_and_alignment_matches_bit_by_bit),
        cmocka_unit_test(test_parts_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
