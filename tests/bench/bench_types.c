/* tests/bench/bench_types.c: what the benchmarked collection commands cost below the command: ns of
 * CPU per operation on one big collection with members as redis-benchmark makes them (20 bytes, or 16
 * for the memory targets of performance.md), and bytes per element. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "shard/base/assert.h"
#include "shard/base/clock.h"
#include "shard/base/hash.h"
#include "shard/base/rng.h"
#include "shard/types/hash.h"
#include "shard/types/list.h"
#include "shard/types/set.h"
#include "shard/types/value.h"
#include "shard/types/zset.h"

#define N 1000000u

static struct rng rng;
static struct record *record;
static uint64_t started_ns;
static uint32_t prefix_len;

static uint32_t any(void)
{
    return (uint32_t)rng_below(&rng, N);
}

/* "element:" or "key:" and 12 digits. */
static struct bytes name(uint32_t n)
{
    static char text[32] = "element:";
    if (prefix_len == 4) memcpy(text, "key:", 4);
    for (uint32_t i = 0; i < 12; i++, n /= 10)
        text[prefix_len + 11 - i] = (char)('0' + n % 10);
    return bytes_view(text, prefix_len + 12);
}

static void start(void)
{
    started_ns = clock_thread_cpu_ns();
}

static void report(const char *what, uint64_t operations)
{
    printf("%-34s %8.1f ns\n", what,
           (double)(clock_thread_cpu_ns() - started_ns) / (double)operations);
}

static void report_bytes(const char *what, uint64_t elements)
{
    printf("%-34s %8.1f B\n", what, (double)value_bytes(record) / (double)elements);
}

static struct bytes key(void)
{
    return BYTES_LIT("key:000000000001");
}

/* The same numbers in an order that is none, each once. */
static uint32_t scattered(uint32_t i)
{
    return (uint32_t)((uint64_t)i * 766649u % N);
}

#define BATCH 16u

/* As a pass runs a pipeline: sweeps that load ahead, then the commands. */
static void bench_batches(const char *what, bool (*run)(struct bytes element))
{
    char text[BATCH][32];
    start();
    for (uint32_t i = 0; i < N / BATCH; i++) {
        uint64_t hash[BATCH];
        struct bytes element[BATCH];
        for (uint32_t k = 0; k < BATCH; k++) {
            struct bytes n = name(any());
            memcpy(text[k], n.data, n.len);
            element[k] = bytes_view(text[k], n.len);
            hash[k] = hash_bytes(element[k]);
            value_prefetch_bucket(record, hash[k]);
        }
        bool more[BATCH];
        for (uint32_t k = 0; k < BATCH; k++)
            more[k] = value_prefetch_item(record, hash[k]);
        for (uint32_t k = 0; k < BATCH; k++) {
            if (more[k]) value_prefetch_overflow(record, hash[k]);
        }
        for (uint32_t k = 0; k < BATCH; k++)
            assert(run(element[k]));
    }
    report(what, N);
}

static bool run_hget(struct bytes element)
{
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes value;
    return hash_get(record, element, tmp, &value);
}

static bool run_hset(struct bytes element)
{
    return hash_set(&record, element, BYTES_LIT("zzz")) == HASH_UPDATED;
}

static bool run_sadd(struct bytes element)
{
    return set_add(&record, element) == 0;
}

static bool run_zscore(struct bytes element)
{
    double score;
    return zset_score(record, element, &score);
}

static bool run_zadd(struct bytes element)
{
    return zset_put(&record, element, any()) == 0;
}

static void bench_hash(void)
{
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes value;
    record = hash_try_new(key(), -1);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(hash_set(&record, name(scattered(i)), BYTES_LIT("xxx")) == HASH_ADDED);
    report("HSET new, to 1 M", N);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(hash_set(&record, name(any()), BYTES_LIT("yyy")) == HASH_UPDATED);
    report("HSET existing", N);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(hash_get(record, name(any()), tmp, &value));
    report("HGET", N);
    bench_batches("HGET, loaded ahead", run_hget);
    bench_batches("HSET existing, loaded ahead", run_hset);
    report_bytes("hash, per field of 20 + 3 B", N);
    record_free(record);
}

static void bench_small_hashes(void)
{
    enum { KEYS = 20000, FIELDS = 10 };
    struct record **all = mem_alloc(MEM_TEST, KEYS * sizeof(struct record *));
    char tmp[NUM_I64_TEXT_MAX], field[] = "field0", text[] = "value000";
    struct bytes value;
    size_t bytes = 0;
    start();
    for (uint32_t k = 0; k < KEYS; k++) {
        all[k] = hash_try_new(key(), -1);
        for (uint32_t i = 0; i < FIELDS; i++) {
            field[5] = text[7] = (char)('0' + i);
            assert(hash_set(&all[k], bytes_view(field, 6), bytes_view(text, 8)) == HASH_ADDED);
        }
        bytes += value_bytes(all[k]);
    }
    report("HSET small hash, new field", KEYS * FIELDS);
    start();
    for (uint32_t i = 0; i < N; i++) {
        field[5] = (char)('0' + i % FIELDS);
        assert(hash_get(all[any() % KEYS], bytes_view(field, 6), tmp, &value));
    }
    report("HGET small hash", N);
    printf("%-34s %8.1f B\n", "key with 10 fields of 6 + 8 B", (double)bytes / KEYS);
    for (uint32_t k = 0; k < KEYS; k++)
        record_free(all[k]);
    mem_free(MEM_TEST, all, KEYS * sizeof(struct record *));
}

static void bench_set(void)
{
    char tmp[NUM_I64_TEXT_MAX];
    record = set_try_new(key(), name(0), 0, -1);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(set_add(&record, name(scattered(i))) == 1);
    report("SADD new, to 1 M", N);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(set_add(&record, name(any())) == 0);
    report("SADD existing", N);
    bench_batches("SADD existing, loaded ahead", run_sadd);
    report_bytes(prefix_len == 8 ? "set, per member of 20 B" : "set, per member of 16 B", N);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(set_remove(&record, set_random(record, &rng, tmp)));
    report("SPOP until empty", N);
    record_free(record);
}

static void bench_list(struct bytes element)
{
    record = list_try_new(key(), -1);
    printf("list elements of %zu B:\n", element.len);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(list_try_push(&record, LIST_HEAD, element));
    report("LPUSH to 1 M", N);
    report_bytes("list, per element", N);
    char tmp[NUM_I64_TEXT_MAX];
    struct bytes out;
    struct list_iter it;
    start();
    for (uint32_t i = 0; i < N / 10; i++)
        assert(list_iter_start(record, any(), 1, &it) && list_iter_next(&it, tmp, &out));
    report("LINDEX anywhere", N / 10);
    start();
    for (uint32_t i = 0; i < N; i++) {
        assert(list_peek(record, LIST_HEAD, tmp, &out));
        list_drop(&record, LIST_HEAD, 1);
    }
    report("LPOP until empty", N);
    start();
    for (uint32_t i = 0; i < N; i++) {
        assert(list_try_push(&record, LIST_TAIL, element));
        if (i % 100 == 0) continue; /* a short queue that grows a little */
        assert(list_peek(record, LIST_HEAD, tmp, &out));
        list_drop(&record, LIST_HEAD, 1);
    }
    report("RPUSH and LPOP, queue", N);
    record_free(record);
    record = list_try_new(key(), -1);
    start();
    for (uint32_t i = 0; i < N; i++) {
        assert(list_try_push(&record, LIST_HEAD, element));
        if (list_len(record) > 20) list_drop(&record, LIST_TAIL, 1);
    }
    report("LPUSH and LTRIM to 20", N);
    record_free(record);
}

static void bench_zset(bool rising, double scale)
{
    double score;
    uint64_t rank;
    printf("sorted set, %s scores * %g:\n", rising ? "rising" : "random", scale);
    record = zset_try_new(key(), -1);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(zset_put(&record, name(scattered(i)), (rising ? i : any()) * scale) == 1);
    report("ZADD new, to 1 M", N);
    report_bytes(
        prefix_len == 8 ? "sorted set, per member of 20 B" : "sorted set, per member of 16 B", N);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(zset_put(&record, name(any()), any() * scale) == 0);
    report("ZADD existing, new score", N);
    report_bytes("sorted set after that", N);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(zset_score(record, name(any()), &score));
    report("ZSCORE", N);
    bench_batches("ZSCORE, loaded ahead", run_zscore);
    bench_batches("ZADD new score, loaded ahead", run_zadd);
    start();
    for (uint32_t i = 0; i < N; i++)
        assert(zset_rank(record, name(any()), &rank));
    report("ZRANK", N);
    start();
    for (uint32_t i = 0; i < N; i++) {
        struct zset_iter it;
        struct bytes member;
        char tmp[NUM_I64_TEXT_MAX];
        zset_iter_start(record, any() % (N - 10), 1, &it);
        for (int k = 0; k < 10; k++)
            assert(zset_iter_next(&it, tmp, &member, &score) && member.data[0] != 0);
    }
    report("ZRANGE 10 by rank", N);
    start();
    for (uint32_t i = 0; i < N; i++)
        zset_remove_ranks(&record, 0, 1);
    report("ZPOPMIN until empty", N);
    record_free(record);
}

int main(void)
{
    rng_seed(&rng, 1);
    prefix_len = 8;
    bench_hash();
    bench_small_hashes();
    bench_set();
    bench_list(BYTES_LIT("xxx"));
    bench_list(BYTES_LIT("sixty-four bytes of an element, as many as a value usually takes"));
    bench_zset(false, 1);
    prefix_len = 4;
    bench_set();
    bench_zset(true, 1);
    bench_zset(false, 0.1);
    return 0;
}
