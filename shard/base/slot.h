/* shard/base/slot.h: key → slot (CRC16 of the hash tag or key, mod 16384) → shard of a node. */
#ifndef MOON_BASE_SLOT_H
#define MOON_BASE_SLOT_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"

#define SLOT_COUNT 16384u
#define SLOT_BLOCK 32u /* slots of one block stay on one shard: a migrated range spreads */

uint16_t slot_of_key(struct bytes key);
static inline uint32_t slot_shard(uint16_t slot, uint32_t shards)
{
    uint32_t block = slot / SLOT_BLOCK;
    /* Mostly a power of two: a division per command and key would be felt. */
    return likely((shards & (shards - 1)) == 0) ? block & (shards - 1) : block % shards;
}

#endif
