/* cli/bench_request.h: the requests that bench sends. A command with placeholders becomes one wire
 * image of fixed length; before each send only the digits of its keys are overwritten in place, so
 * the cost per request is some nanoseconds. Pure.
 *
 *   __key__   "key:000000123456": key_bytes long, a number below `range`, padded with zeros;
 *             key_prefix instead of "key:" if given
 *   __rand__  the number alone, 12 digits
 *   __data__  value_bytes letters, the same in every request
 *
 * They may stand inside a word ("member:__rand__"). Each one draws its own number; in sequential
 * runs all of one request share the request's index. */
#ifndef MOON_CLI_BENCH_REQUEST_H
#define MOON_CLI_BENCH_REQUEST_H

#include "shard/base/attr.h"
#include "shard/base/buf.h"
#include "shard/base/rng.h"

#define BENCH_SPOTS_MAX 64u
#define BENCH_KEY_BYTES_MAX 1024u
#define BENCH_RAND_DIGITS 12u
#define BENCH_RANGE_MAX 1000000000000u /* what BENCH_RAND_DIGITS can tell apart */

struct bench_shape {
    uint64_t range;
    const char
        *key_prefix; /* borrowed; NULL: "key:", left out where key_bytes has no room for it */
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint64_t seed; /* of the letters of __data__ */
};
struct bench_request {
    struct buf wire;                 /* one request, its numbers zero */
    uint32_t spots[BENCH_SPOTS_MAX]; /* offsets of the digits that change */
    uint32_t spots_count;
    uint32_t digits; /* of each spot */
    uint64_t range;
};

/* False: *why_out (static text) says what does not fit. `out` is to be freed in either case. */
MUST_CHECK bool bench_request_build(struct bench_request *out, const struct bench_shape *shape,
                                    const char *const *argv, uint32_t argc, const char **why_out);
void bench_request_free(struct bench_request *r);

/* Writes the numbers of one request into `wire`, a copy of r->wire. */
void bench_request_draw(const struct bench_request *r, uint8_t *wire, struct rng *rng);
void bench_request_number(const struct bench_request *r, uint8_t *wire, uint64_t index);

/* The tests that bench knows by name. */
#define BENCH_WORDS_MAX 24u
struct bench_test {
    const char *name;
    const char *words[BENCH_WORDS_MAX];
    const char *fill[5]; /* sequential before the test with --fill; none: the test needs nothing */
    bool fill_requests;  /* fill as many as will be popped, not one per number of the range */
    bool sequential;     /* each number of the range once, in order: "load" */
};
extern const struct bench_test bench_tests[];
extern const uint32_t bench_tests_count;
uint32_t bench_words_count(const char *const *words, uint32_t max);

#endif
