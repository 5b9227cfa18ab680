/* shard/base/crc.c: three checksums, eight bytes per step by tables ("slicing by 8": table k holds
 * the effect of a byte that k more bytes follow). The tables are computed before main() runs.
 *
 *   crc16   XMODEM: polynomial 0x1021, high bit first, start 0
 *   crc32c  Castagnoli: reflected 0x82f63b78, start and result inverted; by SSE4.2 where present
 *   crc64   Jones: reflected 0x95ac9329ac4bc9b5, start as given, result as it is */
#include "shard/base/crc.h"

#include "shard/base/attr.h"

static uint16_t table16[8][256];
static uint32_t table32c[8][256];
static uint64_t table64[8][256];

static uint32_t crc32c_raw_table(uint32_t crc, const uint8_t *p, size_t len);
static uint32_t (*crc32c_raw)(uint32_t crc, const uint8_t *p, size_t len) = crc32c_raw_table;

static uint64_t reflected_byte(uint64_t crc, uint64_t poly)
{
    for (int bit = 0; bit < 8; bit++)
        crc = (crc >> 1) ^ ((crc & 1) != 0 ? poly : 0);
    return crc;
}

static void tables_first(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc << 1) ^ ((crc & 0x8000) != 0 ? 0x1021u : 0);
        table16[0][i] = (uint16_t)crc;
        table32c[0][i] = (uint32_t)reflected_byte(i, 0x82f63b78);
        table64[0][i] = reflected_byte(i, 0x95ac9329ac4bc9b5);
    }
}

static void tables_next(uint32_t k)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint16_t a = table16[k - 1][i];
        uint32_t b = table32c[k - 1][i];
        uint64_t c = table64[k - 1][i];
        table16[k][i] = (uint16_t)(a << 8) ^ table16[0][a >> 8];
        table32c[k][i] = b >> 8 ^ table32c[0][b & 0xff];
        table64[k][i] = c >> 8 ^ table64[0][c & 0xff];
    }
}

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

uint16_t crc16(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t crc = 0;
    for (; len >= 8; len -= 8, p += 8) {
        crc = (uint32_t)(table16[7][p[0] ^ crc >> 8] ^ table16[6][p[1] ^ (crc & 0xff)] ^
                         table16[5][p[2]] ^ table16[4][p[3]] ^ table16[3][p[4]] ^ table16[2][p[5]] ^
                         table16[1][p[6]] ^ table16[0][p[7]]);
    }
    for (; len > 0; len--, p++)
        crc = (crc << 8 & 0xff00) ^ table16[0][crc >> 8 ^ *p];
    return (uint16_t)crc;
}

static uint32_t crc32c_raw_table(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t v = load64(p) ^ crc;
        crc = table32c[7][v & 0xff] ^ table32c[6][v >> 8 & 0xff] ^ table32c[5][v >> 16 & 0xff] ^
              table32c[4][v >> 24 & 0xff] ^ table32c[3][v >> 32 & 0xff] ^
              table32c[2][v >> 40 & 0xff] ^ table32c[1][v >> 48 & 0xff] ^ table32c[0][v >> 56];
    }
    for (; len > 0; len--, p++)
        crc = crc >> 8 ^ table32c[0][(crc ^ *p) & 0xff];
    return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_raw_sse42(uint32_t crc, const uint8_t *p,
                                                                   size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; len -= 8, p += 8)
        wide = __builtin_ia32_crc32di(wide, load64(p));
    crc = (uint32_t)wide;
    for (; len > 0; len--, p++)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}
#endif

__attribute__((constructor(101))) static void crc_start(void)
{
    tables_first();
    for (uint32_t k = 1; k < 8; k++)
        tables_next(k);
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2")) crc32c_raw = crc32c_raw_sse42;
#endif
}

uint32_t crc32c(uint32_t seed, const void *data, size_t len)
{
    return ~crc32c_raw(~seed, data, len);
}

uint32_t crc32c_table(uint32_t seed, const void *data, size_t len)
{
    return ~crc32c_raw_table(~seed, data, len);
}

uint64_t crc64(uint64_t seed, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t crc = seed;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t v = load64(p) ^ crc;
        crc = table64[7][v & 0xff] ^ table64[6][v >> 8 & 0xff] ^ table64[5][v >> 16 & 0xff] ^
              table64[4][v >> 24 & 0xff] ^ table64[3][v >> 32 & 0xff] ^ table64[2][v >> 40 & 0xff] ^
              table64[1][v >> 48 & 0xff] ^ table64[0][v >> 56];
    }
    for (; len > 0; len--, p++)
        crc = crc >> 8 ^ table64[0][(crc ^ *p) & 0xff];
    return crc;
}
