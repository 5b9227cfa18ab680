/* tests/fuzz/fuzz_resp_parse.c: requests. The first two bytes choose limits and cuts, the rest is the
 * stream. Checked: no bad access (sanitizers), wire_bytes within the input, arguments inside input or
 * arena, and the same requests, errors and ends however the stream is cut. */
#include <stdint.h>
#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/resp/parse.h"

#define REQUESTS_MAX 4096u

/* What one run over the stream came to. */
struct outcome {
    uint64_t digest; /* of all requests in order */
    uint32_t requests;
    size_t consumed;
    enum resp_result end;
    char error[80];
};

static uint64_t mix(uint64_t digest, const void *data, size_t len)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ at[i]) * 0x100000001b3u;
    return digest;
}

static void check_request(const struct resp_request *request, const uint8_t *in, size_t len,
                          struct outcome *o)
{
    assert(request->wire_bytes > 0);
    assert(request->wire_bytes <= len);
    o->digest = mix(o->digest, &request->wire_bytes, sizeof request->wire_bytes);
    for (uint32_t i = 0; i < request->argc; i++) {
        struct bytes arg = request->argv[i];
        bool inside = arg.data >= in && arg.data + arg.len <= in + request->wire_bytes;
        /* Multibulk arguments are views always; inline ones may have been unquoted into the arena,
         * where reading them below is checked by ASan. */
        if (in[0] == '*') assert(inside);
        assert(arg.len < len);
        o->digest = mix(mix(o->digest, &arg.len, sizeof arg.len), arg.data, arg.len);
    }
}

/* Gives the stream in steps of `step` bytes (0: whole), each call with a block of exactly that size. */
static void run(const struct resp_limits *limits, const uint8_t *data, size_t size, size_t step,
                struct outcome *o)
{
    struct resp_parser parser = {0};
    struct arena args;
    arena_init(&args);
    size_t at = 0, given = step == 0 || step > size ? size : step;
    *o = (struct outcome){.end = RESP_MORE};
    for (;;) {
        struct resp_request request = {0};
        size_t len = given - at;
        uint8_t *copy = mem_alloc(MEM_TEST, len + (len == 0));
        if (len > 0) memcpy(copy, data + at, len);
        struct arena_mark mark = arena_mark(&args);
        o->end = resp_parse(&parser, limits, &args, copy, len, &request);
        if (o->end == RESP_DONE) check_request(&request, copy, len, o);
        if (o->end == RESP_MORE) assert(parser.bytes_wanted > len);
        mem_free(MEM_TEST, copy, len + (len == 0));
        arena_rewind(&args, mark);
        if (o->end == RESP_BAD || (o->end == RESP_MORE && given == size)) break;
        if (o->end == RESP_MORE) {
            given = size - given > step ? given + step : size;
        } else {
            at += request.wire_bytes;
            if (++o->requests == REQUESTS_MAX) break;
        }
    }
    o->consumed = at;
    if (o->end == RESP_BAD) {
        assert(strlen(parser.error) < sizeof o->error);
        strncpy(o->error, parser.error, sizeof o->error - 1);
    }
    arena_free(&args);
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    assert(a->requests == b->requests);
    assert(a->consumed == b->consumed);
    assert(a->digest == b->digest);
    assert(a->end == b->end);
    assert(strcmp(a->error, b->error) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    struct resp_limits limits = {
        .multibulk_max = data[0] & 2 ? 1 << 20 : 12,
        .bulk_max = data[0] & 4 ? 512 << 20 : 300,
        .authenticated = data[0] & 1,
    };
    size_t step = data[1] == 0 ? 1 : data[1];
    data += 2;
    size -= 2;
    struct outcome whole, cut;
    run(&limits, data, size, 0, &whole);
    run(&limits, data, size, step, &cut);
    check_same(&whole, &cut);
    if (size <= 512) {
        run(&limits, data, size, 1, &cut);
        check_same(&whole, &cut);
    }
    return 0;
}
