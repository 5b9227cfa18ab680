/* shard/db/stamp.c: when, or how often, a record was used: the 24 bits in its head.
 * LRU: seconds, modulo 2^24 (194 days), 0 meaning never. LFU: minutes modulo 2^16 in the high bits and
 * a logarithmic counter of 8 bits, as Redis counts: a hit adds one with probability
 * 1 / ((counter - 5) * factor + 1), and every decay time without one takes one away. */
#include "shard/db/db_priv.h"

#define LRU_MASK 0xffffffu
#define LFU_START 5u /* a new key outlives one that was hit never since it decayed */

struct db_stamps db_stamps = {.mode = DB_STAMP_NONE, .lfu_log_factor = 10, .lfu_decay_minutes = 1};

static uint32_t get(const struct record *r)
{
    return r->lru[0] | (uint32_t)r->lru[1] << 8 | (uint32_t)r->lru[2] << 16;
}

static void set(struct record *r, uint32_t v)
{
    r->lru[0] = (uint8_t)v;
    r->lru[1] = (uint8_t)(v >> 8);
    r->lru[2] = (uint8_t)(v >> 16);
}

static uint32_t lru_clock(int64_t now_ms)
{
    uint32_t seconds = (uint32_t)((uint64_t)now_ms / 1000) & LRU_MASK;
    return seconds != 0 ? seconds : 1;
}

static uint32_t minutes_of(int64_t now_ms)
{
    return (uint32_t)((uint64_t)now_ms / 60000) & 0xffffu;
}

static uint32_t decayed(uint32_t stamp, int64_t now_ms)
{
    uint32_t counter = stamp & 0xff, idle = (minutes_of(now_ms) - (stamp >> 8)) & 0xffffu;
    if (db_stamps.lfu_decay_minutes == 0) return counter;
    uint32_t periods = idle / db_stamps.lfu_decay_minutes;
    return periods < counter ? counter - periods : 0;
}

static uint32_t counted(uint32_t counter, struct rng *rng)
{
    if (counter == 255) return counter;
    uint64_t over = counter > LFU_START ? counter - LFU_START : 0;
    return counter + (rng_below(rng, over * db_stamps.lfu_log_factor + 1) == 0);
}

void db__touch(struct record *r, int64_t now_ms, struct rng *rng)
{
    if (db_stamps.mode == DB_STAMP_LRU) {
        set(r, lru_clock(now_ms));
        return;
    }
    uint32_t stamp = get(r),
             counter = stamp == 0 ? LFU_START : counted(decayed(stamp, now_ms), rng);
    set(r, minutes_of(now_ms) << 8 | counter);
}

uint64_t db_idle_ms(const struct record *r, int64_t now_ms)
{
    uint32_t stamp = get(r);
    if (db_stamps.mode != DB_STAMP_LRU || stamp == 0) return 0;
    return (uint64_t)((lru_clock(now_ms) - stamp) & LRU_MASK) * 1000;
}

uint8_t db_frequency(const struct record *r, int64_t now_ms)
{
    uint32_t stamp = get(r);
    if (db_stamps.mode != DB_STAMP_LFU || stamp == 0) return 0;
    return (uint8_t)decayed(stamp, now_ms);
}
