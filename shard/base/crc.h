/* shard/base/crc.h: CRC16 (XMODEM, slots), CRC32C (log; SSE4.2 with a table twin), CRC64 Jones
 * (reflected, as Redis: DUMP and RDB). */
#ifndef MOON_BASE_CRC_H
#define MOON_BASE_CRC_H

#include "shard/base/bytes.h"

uint16_t crc16(const void *data, size_t len);
uint32_t crc32c(uint32_t seed, const void *data, size_t len);
uint32_t crc32c_table(uint32_t seed, const void *data, size_t len); /* the twin, for tests */
uint64_t crc64(uint64_t seed, const void *data, size_t len);

#endif
