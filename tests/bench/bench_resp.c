/* tests/bench/bench_resp.c: what a pass pays per request for the wire: parsing a pipelined SET and
 * GET, and writing the replies that commands write most. Prints ns per item, the best of some rounds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/base/buf.h"
#include "shard/base/clock.h"
#include "shard/resp/parse.h"
#include "shard/resp/reply.h"

#define PIPELINE 64u /* requests in the buffer, as one pass of a pipelining client sees them */
#define LAPS 20000u
#define ROUNDS 7

struct input {
    struct buf wire;
    struct arena args;
};

static void fill(struct input *in, unsigned argc, const size_t *sizes)
{
    buf_init(&in->wire, MEM_TEST);
    arena_init(&in->args);
    for (unsigned r = 0; r < PIPELINE; r++) {
        buf_addf(&in->wire, "*%u\r\n", argc);
        for (unsigned i = 0; i < argc; i++) {
            buf_addf(&in->wire, "$%zu\r\n", sizes[i]);
            for (size_t j = 0; j < sizes[i]; j++)
                buf_add_byte(&in->wire, (uint8_t)('a' + (r + j) % 26));
            buf_add(&in->wire, "\r\n", 2);
        }
    }
}

static void parse_lap(struct input *in)
{
    static const struct resp_limits limits = {
        .multibulk_max = 1 << 20, .bulk_max = 512 << 20, .authenticated = true};
    struct resp_parser parser = {0};
    struct resp_request request;
    struct arena_mark mark = arena_mark(&in->args);
    for (size_t at = 0; at < in->wire.len; at += request.wire_bytes) {
        enum resp_result result = resp_parse(&parser, &limits, &in->args, in->wire.data + at,
                                             in->wire.len - at, &request);
        assert(result == RESP_DONE);
    }
    arena_rewind(&in->args, mark);
}

static void report(const char *name, uint64_t best_ns)
{
    printf("%-36s %7.1f ns\n", name, (double)best_ns / (double)(LAPS * PIPELINE));
}

static void bench_parse(const char *name, unsigned argc, const size_t *sizes)
{
    struct input in;
    fill(&in, argc, sizes);
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_mono_ns(&clock_real);
        for (unsigned lap = 0; lap < LAPS; lap++)
            parse_lap(&in);
        uint64_t took = clock_mono_ns(&clock_real) - start;
        if (took < best) best = took;
    }
    report(name, best);
    arena_free(&in.args);
    buf_free(&in.wire);
}

static void write_ok(struct reply *r, unsigned i)
{
    (void)i;
    reply_ok(r);
}
static void write_null(struct reply *r, unsigned i)
{
    (void)i;
    reply_null(r);
}
static void write_i64(struct reply *r, unsigned i)
{
    reply_i64(r, i & 1);
}
static void write_i64_large(struct reply *r, unsigned i)
{
    reply_i64(r, 1234567 + (int64_t)i);
}
static void write_bulk(struct reply *r, unsigned i)
{
    (void)i;
    static const uint8_t value[64] =
        "a value of sixty-four bytes, as the benchmarks of others have it";
    reply_bulk(r, bytes_view(value, sizeof value));
}

static void bench_reply(const char *name, void (*write)(struct reply *, unsigned))
{
    struct buf out;
    buf_init(&out, MEM_TEST);
    struct reply r = {.out = &out, .proto = 2};
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_mono_ns(&clock_real);
        for (unsigned lap = 0; lap < LAPS; lap++) {
            out.len = 0;
            for (unsigned i = 0; i < PIPELINE; i++)
                write(&r, i);
        }
        uint64_t took = clock_mono_ns(&clock_real) - start;
        if (took < best) best = took;
    }
    report(name, best);
    buf_free(&out);
}

int main(void)
{
    bench_parse("parse SET 16/64", 3, (const size_t[]){3, 16, 64});
    bench_parse("parse GET 16", 2, (const size_t[]){3, 16});
    bench_parse("parse PING", 1, (const size_t[]){4});
    bench_parse("parse SET 16/1024", 3, (const size_t[]){3, 16, 1024});
    bench_parse("parse MSET of 5", 11, (const size_t[]){4, 16, 64, 16, 64, 16, 64, 16, 64, 16, 64});
    bench_reply("reply_ok", write_ok);
    bench_reply("reply_null", write_null);
    bench_reply("reply_i64 0/1", write_i64);
    bench_reply("reply_i64 seven digits", write_i64_large);
    bench_reply("reply_bulk 64", write_bulk);
    return EXIT_SUCCESS;
}
