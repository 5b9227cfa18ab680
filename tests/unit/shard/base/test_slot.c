#include "shard/base/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shard/base/crc.h"

static uint16_t plain(const char *text)
{
    return crc16(text, strlen(text)) % SLOT_COUNT;
}

static void test_known_slots(void **state)
{
    (void)state;
    /* As CLUSTER KEYSLOT answers in Redis. */
    assert_int_equal(slot_of_key(BYTES_LIT("foo")), 12182);
    assert_int_equal(slot_of_key(BYTES_LIT("bar")), 5061);
    assert_int_equal(slot_of_key(BYTES_LIT("hello")), 866);
    assert_int_equal(slot_of_key(BYTES_LIT("")), 0);
    assert_int_equal(slot_of_key(bytes_view(NULL, 0)), 0);
}

static void test_hash_tags(void **state)
{
    (void)state;
    static const struct {
        const char *key, *hashed;
    } cases[] = {
        {"{user1000}.following", "user1000"},
        {"a{user1000}", "user1000"},
        {"foo{}{bar}", "foo{}{bar}"},
        {"foo{{bar}}zap", "{bar"},
        {"foo{bar}{zap}", "bar"},
        {"foo{bar", "foo{bar"},
        {"foo}bar{", "foo}bar{"},
        {"}a{b}", "b"},
        {"{}", "{}"},
        {"{", "{"},
        {"{a}", "a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(slot_of_key(bytes_of(cases[i].key)), plain(cases[i].hashed));
    }
    assert_int_equal(slot_of_key(BYTES_LIT("x{a\0b}y")), crc16("a\0b", 3) % SLOT_COUNT);
}

static void test_a_brace_is_found_at_every_place(void **state)
{
    (void)state;
    uint8_t name[100];
    for (size_t len = 3; len <= sizeof name; len++) {
        memset(name, 'x', sizeof name);
        assert_int_equal(slot_of_key(bytes_view(name, len)), crc16(name, len) % SLOT_COUNT);
        for (size_t at = 0; at + 3 <= len; at++) {
            memset(name, 'x', sizeof name);
            memcpy(name + at, "{t}", 3);
            assert_int_equal(slot_of_key(bytes_view(name, len)), plain("t"));
        }
    }
}

static void test_blocks_of_slots_share_a_shard_and_all_shards_have_some(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= 64; shards++) {
        uint32_t counts[64] = {0};
        for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
            uint32_t shard = slot_shard((uint16_t)slot, shards);
            assert_true(shard < shards);
            assert_int_equal(shard, slot_shard((uint16_t)(slot & ~(SLOT_BLOCK - 1)), shards));
            counts[shard]++;
        }
        for (uint32_t i = 0; i < shards; i++) {
            assert_true(counts[i] >= SLOT_COUNT / SLOT_BLOCK / shards * SLOT_BLOCK);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_slots),
        cmocka_unit_test(test_hash_tags),
        cmocka_unit_test(test_a_brace_is_found_at_every_place),
        cmocka_unit_test(test_blocks_of_slots_share_a_shard_and_all_shards_have_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
