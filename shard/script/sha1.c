/* SHA-1 (FIPS 180-4): the names of scripts. A name only: nothing here trusts it to be hard to forge, since what a client
 * can name so it could also have sent. */
#include "shard/script/script_priv.h"

static inline uint32_t rol(uint32_t v, uint32_t n)
{
    return v << n | v >> (32 - n);
}

static inline uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void block(uint32_t h[static 5], const uint8_t *p)
{
    uint32_t w[80];
    for (uint32_t i = 0; i < 16; i++)
        w[i] = big_endian(p + 4 * i);
    for (uint32_t i = 16; i < 80; i++)
        w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (uint32_t i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5A827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ED9EBA1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8F1BBCDC;
        } else {
            f = b ^ c ^ d;
            k = 0xCA62C1D6;
        }
        uint32_t t = rol(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rol(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void script__sha1(struct bytes data, uint8_t out[static SHA1_BYTES])
{
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    size_t whole = data.len / 64 * 64, rest = data.len - whole;
    for (size_t at = 0; at < whole; at += 64)
        block(h, data.data + at);
    uint8_t tail[128] = {0};
    if (rest > 0) memcpy(tail, data.data + whole, rest);
    tail[rest] = 0x80;
    size_t tail_len = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)data.len * 8;
    for (uint32_t i = 0; i < 8; i++)
        tail[tail_len - 1 - i] = (uint8_t)(bits >> (8 * i));
    for (size_t at = 0; at < tail_len; at += 64)
        block(h, tail + at);
    for (uint32_t i = 0; i < SHA1_BYTES; i++)
        out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void script__sha1_text(struct bytes data, char out[static SHA1_TEXT])
{
    uint8_t sum[SHA1_BYTES];
    script__sha1(data, sum);
    for (uint32_t i = 0; i < SHA1_BYTES; i++) {
        out[2 * i] = "0123456789abcdef"[sum[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[sum[i] & 15];
    }
}
