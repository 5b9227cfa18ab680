/* shard/base/rng.c: xoshiro256** (Blackman, Vigna), its state filled by splitmix64. */
#include "shard/base/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "shard/base/assert.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        r->s[i] = splitmix(&seed); /* never all zero */
}

void rng_seed_random(struct rng *r)
{
    uint64_t seed;
    rng_secret(&seed, sizeof seed);
    rng_seed(r, seed);
}

static uint64_t rotl(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Lemire: the high half of a product is uniform once the few low halves that would favour some
 * results are drawn again. */
uint64_t rng_below(struct rng *r, uint64_t bound)
{
    assert(bound > 0);
    unsigned __int128 product = (unsigned __int128)rng_next(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t reject_below = (0 - bound) % bound;
        while ((uint64_t)product < reject_below) {
            product = (unsigned __int128)rng_next(r) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

void rng_secret(void *out, size_t bytes)
{
    uint8_t *p = out;
    while (bytes > 0) {
        ssize_t n = getrandom(p, bytes, 0);
        if (n < 0 && errno == EINTR) continue;
        assert(n > 0);
        p += n;
        bytes -= (size_t)n;
    }
}

void rng_hex(char *out, size_t digits)
{
    for (size_t i = 0; i < digits;) {
        uint8_t raw[32];
        rng_secret(raw, sizeof raw);
        for (size_t j = 0; j < sizeof raw * 2 && i < digits; j++, i++) {
            uint8_t nibble = j % 2 == 0 ? raw[j / 2] >> 4 : raw[j / 2] & 15;
            out[i] = "0123456789abcdef"[nibble];
        }
    }
}
