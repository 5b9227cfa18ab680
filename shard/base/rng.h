/* shard/base/rng.h: xoshiro256** seeded by getrandom or, in tests, by a seed. Not for secrets:
 * those call rng_secret(). */
#ifndef MOON_BASE_RNG_H
#define MOON_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
void rng_seed_random(struct rng *r);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t bound); /* unbiased; bound > 0 */
void rng_secret(void *out, size_t bytes);          /* from the kernel; aborts if it cannot */
void rng_hex(char *out, size_t digits);            /* secret hex digits, no NUL: run ids */

#endif
