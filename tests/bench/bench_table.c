/* bench_table: what one key costs the keyspace, in time and in memory.
 *
 *   bench_table            memory, find, insert: 1 M keys
 *   bench_table find       only the reads
 *   bench_table grow [M]   slowest inserts while M million keys (5) come into one hash tag, and four
 *                          times as many into all slots
 *   bench_table touch [MB] what the machine takes for the first touch of 4 KiB (2,048 MB): passes that
 *                          insert cannot be shorter */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "shard/base/clock.h"
#include "shard/db/db.h"
#include "shard/types/str.h"

enum { KEYS = 1000000, BATCH = 64, NAME_BYTES = 16 };

struct name {
    char text[NAME_BYTES];
};

/* "key:000000000042"; by hand, because snprintf would cost more than what is measured. */
static struct bytes name_of(struct name *n, const char *prefix, uint64_t i)
{
    memcpy(n->text, prefix, 4);
    for (uint32_t at = NAME_BYTES; at > 4; i /= 10)
        n->text[--at] = (char)('0' + i % 10);
    return bytes_view(n->text, NAME_BYTES);
}

static void put(struct keyspace *ks, const struct db_key *key, struct bytes value,
                int64_t expire_ms)
{
    struct db_entry e;
    db_open(ks, key, &e);
    assert(e.record == NULL);
    e.record = str_try_new(key->name, value, expire_ms);
    assert(e.record != NULL);
    bool ok = db_commit(ks, key, &e);
    assert(ok);
}

static struct keyspace *filled(const char *prefix, uint64_t count, struct bytes value,
                               int64_t expire_ms)
{
    struct keyspace *ks = keyspace_new(1);
    struct name n;
    for (uint64_t i = 0; i < count; i++) {
        struct db_key key = db_key(0, name_of(&n, prefix, i));
        put(ks, &key, value, expire_ms < 0 ? -1 : expire_ms + (int64_t)(i * 7 % 100000));
    }
    return ks;
}

/* ---- find */

static uint64_t sum;

enum sweeps { PLAIN, TWO, THREE };

static void find_batch(const struct keyspace *ks, const struct db_key *batch, uint32_t count,
                       enum sweeps sweeps)
{
    uint32_t late[BATCH], late_count = 0;
    if (sweeps != PLAIN) {
        for (uint32_t i = 0; i < count; i++)
            db_prefetch_bucket(ks, &batch[i]);
        for (uint32_t i = 0; i < count; i++) {
            late[late_count] = i;
            late_count += db_prefetch_record(ks, &batch[i]);
        }
        for (uint32_t i = 0; sweeps == THREE && i < late_count; i++)
            db_prefetch_overflow(ks, &batch[late[i]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct record *r = db_find(ks, &batch[i]);
        assert(r != NULL);
        sum += record_blob(r).data[0];
    }
}

static struct name names[KEYS];
static struct db_key keys[KEYS]; /* read in order, as requests lie in a buffer */

static double find_ns(const struct keyspace *ks, uint32_t batch, enum sweeps sweeps)
{
    uint64_t best = UINT64_MAX;
    for (int lap = 0; lap < 3; lap++) {
        uint64_t from = clock_thread_cpu_ns();
        for (uint32_t i = 0; i + batch <= KEYS; i += batch)
            find_batch(ks, keys + i, batch, sweeps);
        uint64_t took = clock_thread_cpu_ns() - from;
        if (took < best) best = took;
    }
    return (double)best / KEYS;
}

static void bench_find(void)
{
    static const struct {
        const char *label, *prefix;
    } spreads[] = {{"all slots", "key:"}, {"one slot", "{k}:"}};
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t s = 0; s < COUNT_OF(spreads); s++) {
        struct keyspace *ks = filled(spreads[s].prefix, KEYS,
                                     BYTES_LIT("0123456789012345678901234567890123456789"
                                               "012345678901234567890123"),
                                     -1);
        for (uint32_t i = 0; i < KEYS; i++) {
            keys[i] = db_key(0, name_of(&names[i], spreads[s].prefix, rng_below(&rng, KEYS)));
        }
        printf("find, %-9s  ns per key:", spreads[s].label);
        static const uint32_t batches[] = {1, 16, 64};
        for (size_t b = 0; b < COUNT_OF(batches); b++) {
            printf("   batch %2u: %5.1f plain %5.1f two sweeps %5.1f three", batches[b],
                   find_ns(ks, batches[b], PLAIN), find_ns(ks, batches[b], TWO),
                   find_ns(ks, batches[b], THREE));
        }
        printf("\n");
        keyspace_free(ks);
    }
    struct keyspace *ks = filled("key:", 1000, BYTES_LIT("value"), -1);
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i] = db_key(0, name_of(&names[i], "key:", rng_below(&rng, 1000)));
    printf("find, 1000 keys in cache: %.1f ns\n", find_ns(ks, 16, PLAIN));
    keyspace_free(ks);
    struct name n;
    uint64_t from = clock_thread_cpu_ns();
    for (uint32_t i = 0; i < KEYS; i++) {
        (void)name_of(&n, "key:", i);
        sum += (uint8_t)n.text[15];
    }
    uint64_t naming = clock_thread_cpu_ns() - from;
    from = clock_thread_cpu_ns();
    for (uint32_t i = 0; i < KEYS; i++)
        sum += db_key(0, name_of(&n, "key:", i)).hash;
    printf("hash and slot of a 16 B name: %.1f ns\n",
           (double)(clock_thread_cpu_ns() - from - naming) / KEYS);
}

/* ---- insert, overwrite, delete */

static void bench_change(void)
{
    static const char *const labels[] = {"no expiry", "expiry"};
    for (int e = 0; e < 2; e++) {
        int64_t expire_ms = e == 0 ? -1 : INT64_C(1700000000000);
        uint64_t at[4];
        at[0] = clock_thread_cpu_ns();
        struct keyspace *ks =
            filled("key:", KEYS, BYTES_LIT("0123456789012345678901234567890123456789"), expire_ms);
        at[1] = clock_thread_cpu_ns();
        struct name n;
        struct db_entry entry;
        for (uint32_t i = 0; i < KEYS; i++) {
            struct db_key key = db_key(0, name_of(&n, "key:", (uint64_t)i * 7919 % KEYS));
            db_open(ks, &key, &entry);
            bool ok =
                str_try_set(&entry.record, BYTES_LIT("9876543210987654321098765432109876543210"),
                            expire_ms < 0 ? -1 : expire_ms + i);
            assert(ok);
            ok = db_commit(ks, &key, &entry);
            assert(ok);
        }
        at[2] = clock_thread_cpu_ns();
        for (uint32_t i = 0; i < KEYS; i++) {
            struct db_key key = db_key(0, name_of(&n, "key:", (uint64_t)i * 7919 % KEYS));
            db_open(ks, &key, &entry);
            record_free(entry.record);
            entry.record = NULL;
            bool ok = db_commit(ks, &key, &entry);
            assert(ok);
        }
        at[3] = clock_thread_cpu_ns();
        printf("%-9s (ns, name, hash and slot included, nothing prefetched): insert %.0f  "
               "overwrite %.0f  delete %.0f\n",
               labels[e], (double)(at[1] - at[0]) / KEYS, (double)(at[2] - at[1]) / KEYS,
               (double)(at[3] - at[2]) / KEYS);
        keyspace_free(ks);
    }
}

/* ---- memory: one process per size, so that RSS starts clean */

static void memory_child(uint32_t value_bytes, int64_t expire_ms)
{
    uint64_t count = value_bytes > 512 ? KEYS / 4 : KEYS;
    uint8_t *value = mem_zalloc(MEM_TEST, value_bytes);
    memset(value, 'x', value_bytes);
    uint64_t rss = mem_rss_bytes(), table = mem_live_bytes(MEM_TABLE),
             data = mem_live_bytes(MEM_DATA);
    (void)filled("key:", count, bytes_view(value, value_bytes),
                 expire_ms); /* the process ends with it */
    double n = (double)count;
    printf("%5u B%s: %7.1f RSS  (table %.1f, records and values %.1f)\n", value_bytes,
           expire_ms < 0 ? "        " : " expires", (double)(mem_rss_bytes() - rss) / n,
           (double)(mem_live_bytes(MEM_TABLE) - table) / n,
           (double)(mem_live_bytes(MEM_DATA) - data) / n);
    fflush(stdout);
    _exit(0);
}

static void memory_run(uint32_t value_bytes, int64_t expire_ms)
{
    fflush(stdout);
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) memory_child(value_bytes, expire_ms);
    int status = 0;
    pid_t got = waitpid(pid, &status, 0);
    assert(got == pid && status == 0);
}

/* ---- growth */

/* The machine's hiccups (interrupts, a hypervisor's page faults) are slower than anything measured
 * here, but they hit another insert each lap, while growth happens at the same ones: the fastest of
 * three laps is the insert's own time. */
static void grow_lap(const char *prefix, uint64_t count, bool expiries, uint32_t *fastest_ns)
{
    struct keyspace *ks = keyspace_new(1);
    struct name n;
    for (uint64_t i = 0; i < count; i++) {
        struct db_key key = db_key(0, name_of(&n, prefix, i));
        struct db_entry e;
        db_open(ks, &key, &e);
        e.record = str_try_new(key.name, BYTES_LIT("value"),
                               expiries ? INT64_C(1700000000000) + (int64_t)(i % 100000) : -1);
        assert(e.record != NULL);
        uint64_t from = clock_ticks();
        bool ok = db_commit(ks, &key, &e);
        assert(ok);
        uint64_t took = clock_ticks_to_ns(clock_ticks() - from);
        if (took < fastest_ns[i]) fastest_ns[i] = (uint32_t)took;
    }
    keyspace_free(ks);
}

static int descending(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x < y) - (x > y);
}

static void grow(const char *label, const char *prefix, uint64_t count, bool expiries)
{
    size_t bytes = count * sizeof(uint32_t);
    uint32_t *fastest_ns = mem_alloc(MEM_TEST, bytes);
    memset(fastest_ns, 0xff, bytes);
    for (int lap = 0; lap < 3; lap++)
        grow_lap(prefix, count, expiries, fastest_ns);
    double all = 0;
    for (uint64_t i = 0; i < count; i++)
        all += fastest_ns[i];
    qsort(fastest_ns, count, sizeof *fastest_ns, descending);
    printf("%s, %" PRIu64 " M keys%s: commit of an insert %.0f ns, slowest %.1f %.1f %.1f µs, one "
           "in 1000 over %.1f µs\n",
           label, count / 1000000, expiries ? " with expiry" : "", all / (double)count,
           fastest_ns[0] / 1e3, fastest_ns[1] / 1e3, fastest_ns[10] / 1e3,
           fastest_ns[count / 1000] / 1e3);
    mem_free(MEM_TEST, fastest_ns, bytes);
}

static void touch(size_t megabytes)
{
    static const uint32_t limits_us[] = {10, 50, 200, 500, 1000, UINT32_MAX};
    uint64_t counts[COUNT_OF(limits_us)] = {0}, longest = 0;
    size_t bytes = megabytes << 20;
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(p != MAP_FAILED);
    (void)madvise(p, bytes, MADV_NOHUGEPAGE); /* as slabs */
    uint64_t before = clock_thread_cpu_ns();
    for (size_t at = 0; at < bytes; at += 4096) {
        p[at] = 1;
        uint64_t now = clock_thread_cpu_ns(), took = now - before;
        before = now;
        if (took > longest) longest = took;
        uint32_t i = 0;
        while (took / 1000 >= limits_us[i])
            i++;
        counts[i]++;
    }
    printf("first touches of 4 KiB, %zu MB: under 10 µs %" PRIu64 ", 50 %" PRIu64 ", 200 %" PRIu64
           ", 500 %" PRIu64 ", 1000 %" PRIu64 ", longer %" PRIu64 ", longest %.0f µs\n",
           megabytes, counts[0], counts[1], counts[2], counts[3], counts[4], counts[5],
           (double)longest / 1e3);
    (void)munmap(p, bytes);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "touch") == 0) {
        touch(argc > 2 ? strtoull(argv[2], NULL, 10) : 2048);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "find") == 0) {
        bench_find();
        return sum == 1;
    }
    if (argc > 1 && strcmp(argv[1], "grow") == 0) {
        uint64_t millions = argc > 2 ? strtoull(argv[2], NULL, 10) : 5;
        grow("one slot", "{k}:", millions * 1000000, false);
        grow("one slot", "{k}:", millions * 1000000, true);
        grow("all slots", "key:", millions * 4000000, false);
        return 0;
    }
    printf("bytes per key, 16 B names\n");
    static const uint32_t sizes[] = {8, 32, 64, 128, 256, 1024, 4096};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        memory_run(sizes[i], -1);
    memory_run(64, INT64_C(1700000000000));
    bench_find();
    bench_change();
    return sum == 1;
}
