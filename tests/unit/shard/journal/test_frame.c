/* Heads of files and frames, positions and stamps. */
#include "shard/journal/record.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "shard/base/crc.h"
#include "shard/base/rng.h"

static void test_file_head(void **state)
{
    (void)state;
    struct journal_file_head h = {.cluster_id = {1, 2},
                                  .node_id = {3, 4},
                                  .log = 5,
                                  .logs = 6,
                                  .generation = 7,
                                  .epoch = UINT64_MAX,
                                  .lsn = 1ull << 40,
                                  .file_bytes = 1 << 24,
                                  .created_us = 1700000000000000,
                                  .prewritten = true};
    uint8_t block[BLOCK_BYTES];
    struct journal_file_head back = {0};
    journal_file_head_encode(block, &h);
    assert_int_equal(journal_file_head_decode(block, &back), RC_OK);
    assert_memory_equal(back.cluster_id, h.cluster_id, sizeof h.cluster_id);
    assert_memory_equal(back.node_id, h.node_id, sizeof h.node_id);
    assert_int_equal(back.log, h.log);
    assert_int_equal(back.logs, h.logs);
    assert_int_equal(back.generation, h.generation);
    assert_int_equal(back.epoch, h.epoch);
    assert_int_equal(back.lsn, h.lsn);
    assert_int_equal(back.file_bytes, h.file_bytes);
    assert_int_equal(back.created_us, h.created_us);
    assert_true(back.prewritten);
    for (uint32_t i = 0; i < BLOCK_BYTES; i++) {
        block[i] ^= 4;
        assert_int_not_equal(journal_file_head_decode(block, &back), RC_OK);
        block[i] ^= 4;
    }
    /* A newer format is named as such, not called damage. */
    block[8] = JOURNAL_FORMAT + 1;
    uint32_t crc = crc32c(0, block, BLOCK_LOG_BYTES);
    memcpy(block + BLOCK_LOG_BYTES, &crc, sizeof crc);
    assert_int_equal(journal_file_head_decode(block, &back), RC_UNSUPPORTED);
}

static void test_frame_head(void **state)
{
    (void)state;
    struct journal_frame_head h = {.flags = FRAME_FIRST | FRAME_LAST,
                                   .log = 63,
                                   .generation = 9,
                                   .count = 2,
                                   .length = 3,
                                   .lsn = 1ull << 50,
                                   .epoch = 12,
                                   .hlc_us = -1,
                                   .synced = 99,
                                   .cut = 98};
    uint8_t frame[FRAME_HEAD_BYTES + 3] = {0};
    struct journal_frame_head back = {0};
    journal_frame_encode(frame, &h);
    memcpy(frame + FRAME_HEAD_BYTES, "abc", 3);
    uint32_t crc = journal_frame_seal(frame, 77, 1000, 900, 0x12345678);
    assert_int_equal(crc, journal_frame_crc(0x12345678, frame, 3));
    assert_true(journal_frame_decode(frame, &back));
    assert_int_equal(back.flags, h.flags);
    assert_int_equal(back.log, 63);
    assert_int_equal(back.generation, 9);
    assert_int_equal(back.count, 2);
    assert_int_equal(back.length, 3);
    assert_int_equal(journal_frame_length(frame), 3);
    assert_int_equal(back.lsn, 1ull << 50);
    assert_int_equal(back.epoch, 12);
    assert_int_equal(back.hlc_us, 77);
    assert_int_equal(back.synced, 1000);
    assert_int_equal(back.cut, 900);
    assert_int_equal(back.crc, crc);
    /* Every byte but the checksum itself is under it, and so is the frame before. */
    assert_int_not_equal(journal_frame_crc(0x12345679, frame, 3), crc);
    for (uint32_t i = 0; i < sizeof frame; i++) {
        if (i >= 60 && i < 64) continue;
        frame[i] ^= 1;
        assert_int_not_equal(
            journal_frame_crc(0x12345678, frame,
                              journal_frame_length(frame) <= 3 ? journal_frame_length(frame) : 3),
            crc);
        frame[i] ^= 1;
    }
    frame[4] = 2; /* another version */
    assert_false(journal_frame_decode(frame, &back));
    frame[4] = 1;
    frame[5] = 8; /* a flag nobody knows */
    assert_false(journal_frame_decode(frame, &back));
    frame[5] = 3;
    frame[59] = 1; /* longer than a frame can be */
    assert_false(journal_frame_decode(frame, &back));
}

static void test_positions(void **state)
{
    (void)state;
    assert_int_equal(journal_file_offset(0), 4096);
    assert_int_equal(journal_file_offset(4091), 8187);
    assert_int_equal(journal_file_offset(4092), 8192);
    assert_int_equal(journal_file_capacity(0), 0);
    assert_int_equal(journal_file_capacity(4096), 0);
    assert_int_equal(journal_file_capacity(4097), 1);
    assert_int_equal(journal_file_capacity(8188), 4092);
    assert_int_equal(journal_file_capacity(8192), 4092);
    assert_int_equal(journal_file_capacity(16u << 20), 4095 * 4092);
}

static void test_stamps(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    uint32_t stale = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t seed = (uint32_t)rng_next(&rng);
        uint64_t end = BLOCK_LOG_BYTES * (1 + rng_below(&rng, 1ull << 40));
        uint64_t bad = end - 1 - rng_below(&rng, BLOCK_LOG_BYTES);
        uint64_t frame = bad + rng_below(&rng, end - bad); /* begins at or behind the bad one */
        uint32_t stamp = journal_stamp(frame, seed);
        if (stamp != 0) assert_true(journal_stamp_says_written(stamp, seed, bad, end));
        assert_false(journal_stamp_says_written(0, seed, bad, end));
        assert_false(journal_stamp_says_written(journal_stamp(end, seed), seed, bad, end));
        if (bad > 0)
            assert_false(journal_stamp_says_written(journal_stamp(bad - 1, seed), seed, bad, end));
        stale += journal_stamp_says_written((uint32_t)rng_next(&rng), seed, bad, end);
    }
    assert_true(stale < 10); /* 1 in a million */
}

static void test_seeds_differ(void **state)
{
    (void)state;
    const uint8_t cluster[16] = {1};
    const uint8_t node[20] = {2};
    const uint8_t other[20] = {3};
    uint32_t seed = journal_seed(cluster, node, 1, 0);
    assert_int_not_equal(seed, journal_seed(cluster, node, 2, 0));
    assert_int_not_equal(seed, journal_seed(cluster, node, 1, 1));
    assert_int_not_equal(seed, journal_seed(cluster, other, 1, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_head),    cmocka_unit_test(test_frame_head),
        cmocka_unit_test(test_positions),    cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_seeds_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
