/* Requests as images with holes for digits. */
#include "cli/bench_request.h"

#include "shard/base/assert.h"
#include "shard/base/num.h"

#define KEY_PREFIX "key:"

// clang-format off
#define KEY_AND_DATA "__key__", "__data__"
const struct bench_test bench_tests[] = {
    {.name = "ping", .words = {"PING"}},
    {.name = "load", .words = {"SET", KEY_AND_DATA}, .sequential = true},
    {.name = "set", .words = {"SET", KEY_AND_DATA}},
    {.name = "get", .words = {"GET", "__key__"},
     .fill = {"SET", KEY_AND_DATA}},
    {.name = "incr", .words = {"INCR", "ctr:__rand__"}},
    {.name = "lpush", .words = {"LPUSH", "bench:list", "__data__"}},
    {.name = "rpush", .words = {"RPUSH", "bench:list", "__data__"}},
    {.name = "lpop", .words = {"LPOP", "bench:list"},
     .fill = {"RPUSH", "bench:list", "__data__"}, .fill_requests = true},
    {.name = "rpop", .words = {"RPOP", "bench:list"},
     .fill = {"RPUSH", "bench:list", "__data__"}, .fill_requests = true},
    {.name = "sadd", .words = {"SADD", "bench:set", "member:__rand__"}},
    {.name = "spop", .words = {"SPOP", "bench:set"},
     .fill = {"SADD", "bench:set", "member:__rand__"}, .fill_requests = true},
    {.name = "hset", .words = {"HSET", "bench:hash", "field:__rand__", "__data__"}},
    {.name = "hget", .words = {"HGET", "bench:hash", "field:__rand__"},
     .fill = {"HSET", "bench:hash", "field:__rand__", "__data__"}},
    {.name = "zadd", .words = {"ZADD", "bench:zset", "__rand__", "member:__rand__"},
     .fill = {"ZADD", "bench:zset", "__rand__", "member:__rand__"}},
    {.name = "zscore", .words = {"ZSCORE", "bench:zset", "member:__rand__"},
     .fill = {"ZADD", "bench:zset", "__rand__", "member:__rand__"}},
    {.name = "zrange",
     .words = {"ZRANGE", "bench:zset", "__rand__", "+inf", "BYSCORE", "LIMIT", "0", "10"},
     .fill = {"ZADD", "bench:zset", "__rand__", "member:__rand__"}},
    {.name = "mset",
     .words = {"MSET", KEY_AND_DATA, KEY_AND_DATA, KEY_AND_DATA, KEY_AND_DATA, KEY_AND_DATA,
               KEY_AND_DATA, KEY_AND_DATA, KEY_AND_DATA, KEY_AND_DATA, KEY_AND_DATA}},
};
// clang-format on
const uint32_t bench_tests_count = COUNT_OF(bench_tests);

uint32_t bench_words_count(const char *const *words, uint32_t max)
{
    uint32_t count = 0;
    while (count < max && words[count] != NULL)
        count++;
    return count;
}

static bool add_number(struct bench_request *r, uint32_t zeros, struct buf *word,
                       const char **why_out)
{
    if (r->spots_count == BENCH_SPOTS_MAX) {
        *why_out = "too many placeholders in one command";
        return false;
    }
    for (uint32_t i = 0; i < zeros; i++)
        buf_add_byte(word, '0');
    /* Relative to the word until its place in the request is known: end_word() shifts it. */
    r->spots[r->spots_count++] = (uint32_t)(word->len - r->digits);
    return true;
}

static bool add_key(struct bench_request *r, const struct bench_shape *shape, struct buf *word,
                    const char **why_out)
{
    struct bytes prefix = bytes_of(shape->key_prefix != NULL ? shape->key_prefix : KEY_PREFIX);
    if (shape->key_prefix == NULL && shape->key_bytes < r->digits + prefix.len) prefix.len = 0;
    if (shape->key_bytes < r->digits + prefix.len) {
        *why_out = "keys that short cannot tell the key range apart";
        return false;
    }
    buf_add_bytes(word, prefix);
    return add_number(r, shape->key_bytes - (uint32_t)prefix.len, word, why_out);
}

/* Letters only: a value that looks like a number would be stored as one. */
static void add_data(const struct bench_shape *shape, struct buf *word)
{
    struct rng rng;
    rng_seed(&rng, shape->seed);
    for (uint32_t i = 0; i < shape->value_bytes; i++)
        buf_add_byte(word, (uint8_t)('a' + rng_next(&rng) % 26));
}

static bool starts(const char *at, const char *placeholder, size_t *len_out)
{
    *len_out = strlen(placeholder);
    return strncmp(at, placeholder, *len_out) == 0;
}

static bool expand_word(struct bench_request *r, const struct bench_shape *shape, const char *text,
                        struct buf *word, const char **why_out)
{
    size_t len = 0;
    for (const char *at = text; *at != '\0'; at += len) {
        bool fits = true;
        if (starts(at, "__key__", &len)) {
            fits = add_key(r, shape, word, why_out);
        } else if (starts(at, "__rand__", &len)) {
            fits = add_number(r, BENCH_RAND_DIGITS, word, why_out);
        } else if (starts(at, "__data__", &len)) {
            add_data(shape, word);
        } else {
            buf_add_byte(word, (uint8_t)*at);
            len = 1;
        }
        if (!fits) return false;
    }
    return true;
}

static void end_word(struct bench_request *r, const struct buf *word, uint32_t first_spot)
{
    buf_addf(&r->wire, "$%zu\r\n", word->len);
    for (uint32_t i = first_spot; i < r->spots_count; i++)
        r->spots[i] += (uint32_t)r->wire.len;
    buf_add_bytes(&r->wire, buf_bytes(word));
    buf_add(&r->wire, "\r\n", 2);
}

bool bench_request_build(struct bench_request *out, const struct bench_shape *shape,
                         const char *const *argv, uint32_t argc, const char **why_out)
{
    struct buf word;
    bool fits = true;
    assert(argc > 0);
    assert(shape->range > 0);
    assert(shape->range <= BENCH_RANGE_MAX);
    *out = (struct bench_request){.range = shape->range,
                                  .digits = (uint32_t)num_digits_u64(shape->range - 1)};
    buf_init(&out->wire, MEM_CONN);
    buf_init(&word, MEM_CONN);
    buf_addf(&out->wire, "*%u\r\n", argc);
    for (uint32_t i = 0; i < argc && fits; i++) {
        uint32_t first_spot = out->spots_count;
        word.len = 0;
        fits = expand_word(out, shape, argv[i], &word, why_out);
        if (fits) end_word(out, &word, first_spot);
    }
    buf_free(&word);
    return fits;
}

void bench_request_free(struct bench_request *r)
{
    buf_free(&r->wire);
}

static void put_digits(uint8_t *at, uint32_t digits, uint64_t v)
{
    for (uint8_t *p = at + digits; p != at; v /= 10)
        *--p = (uint8_t)('0' + v % 10);
    assert_slow(v == 0);
}

void bench_request_number(const struct bench_request *r, uint8_t *wire, uint64_t index)
{
    uint64_t v = index % r->range;
    for (uint32_t i = 0; i < r->spots_count; i++)
        put_digits(wire + r->spots[i], r->digits, v);
}

void bench_request_draw(const struct bench_request *r, uint8_t *wire, struct rng *rng)
{
    for (uint32_t i = 0; i < r->spots_count; i++) {
        /* High half of a product: no division; its bias of range / 2^64 is nothing here. */
        uint64_t v = (uint64_t)(((unsigned __int128)rng_next(rng) * r->range) >> 64);
        put_digits(wire + r->spots[i], r->digits, v);
    }
}
