/* shard/base/hash.h: keyed hash (SipHash-1-3) for every table that client bytes can reach. The key
 * is one per process, set once at start before any shard runs. */
#ifndef MOON_BASE_HASH_H
#define MOON_BASE_HASH_H

#include "shard/base/bytes.h"

void hash_seed(const uint8_t key[16]);
uint64_t hash_bytes(struct bytes data);
uint64_t hash_nocase(struct bytes data);

#endif
