/* The keyspace against a plain array of keys: the same changes, the same answers, and every count and
 * deadline right after each phase. */
#include "shard/db/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shard/types/hash.h"
#include "shard/types/str.h"

enum { KEYS_MAX = 120000, DATABASES = 3 };

struct shadow {
    char name[24];
    struct db_key key[DATABASES];
    bool present[DATABASES];
    int64_t expire_ms[DATABASES];
    uint32_t version[DATABASES]; /* the value is name + version */
    uint32_t seen;
};

static struct shadow *keys;
static uint32_t key_count;
static uint64_t data_before;

/* Every fourth key shares one slot with all the other fourths. */
static void keys_make(uint32_t count)
{
    key_count = count;
    memset(keys, 0, count * sizeof *keys);
    for (uint32_t n = 0; n < count; n++) {
        struct shadow *k = &keys[n];
        (void)snprintf(k->name, sizeof k->name, n % 4 == 0 ? "{one}%u" : "key:%u", n);
        for (uint8_t d = 0; d < DATABASES; d++)
            k->key[d] = db_key(d, bytes_of(k->name));
    }
}

static struct keyspace *start(uint32_t count)
{
    data_before = mem_live_bytes(MEM_DATA) + mem_live_bytes(MEM_TABLE);
    keys_make(count);
    return keyspace_new(DATABASES);
}

static void end(struct keyspace *ks)
{
    keyspace_free(ks);
    assert_int_equal(mem_live_bytes(MEM_DATA) + mem_live_bytes(MEM_TABLE), data_before);
}

static struct bytes value_of(const struct shadow *k, uint8_t d, char room[200])
{
    int len = snprintf(room, 200, "%s is at version %u%*s", k->name, k->version[d],
                       (int)(k->version[d] * 7 % 100), "");
    return bytes_view(room, (size_t)len);
}

static bool set(struct keyspace *ks, uint32_t n, uint8_t d, int64_t expire_ms)
{
    struct shadow *k = &keys[n];
    struct db_entry e;
    char room[200];
    db_open(ks, &k->key[d], &e);
    assert_true((e.record != NULL) == k->present[d]);
    k->version[d]++;
    struct bytes value = value_of(k, d, room);
    if (e.record != NULL) {
        if (!str_try_set(&e.record, value, expire_ms)) goto out_failed;
        assert_true(db_commit(ks, &k->key[d], &e));
    } else {
        e.record = str_try_new(bytes_of(k->name), value, expire_ms);
        if (e.record == NULL) goto out_failed;
        if (!db_commit(ks, &k->key[d], &e)) {
            record_free(e.record);
            goto out_failed;
        }
    }
    k->present[d] = true;
    k->expire_ms[d] = expire_ms;
    return true;
out_failed:
    k->version[d]--;
    return false;
}

static void remove_key(struct keyspace *ks, uint32_t n, uint8_t d)
{
    struct shadow *k = &keys[n];
    struct db_entry e;
    db_open(ks, &k->key[d], &e);
    assert_true((e.record != NULL) == k->present[d]);
    if (e.record != NULL) record_free(e.record);
    e.record = NULL;
    assert_true(db_commit(ks, &k->key[d], &e));
    k->present[d] = false;
}

static void set_expire(struct keyspace *ks, uint32_t n, uint8_t d, int64_t expire_ms)
{
    struct shadow *k = &keys[n];
    struct db_entry e;
    db_open(ks, &k->key[d], &e);
    if (e.record == NULL) return;
    if (record_try_set_expire(&e.record, expire_ms)) k->expire_ms[d] = expire_ms;
    assert_true(db_commit(ks, &k->key[d], &e));
}

static void check_key(const struct keyspace *ks, const struct shadow *k, uint8_t d)
{
    char room[200], tmp[NUM_I64_TEXT_MAX];
    db_prefetch_bucket(ks, &k->key[d]);
    db_prefetch_record(ks, &k->key[d]);
    const struct record *r = db_find(ks, &k->key[d]);
    assert_true((r != NULL) == k->present[d]);
    if (r == NULL) return;
    assert_true(bytes_equal(str_view(r, tmp), value_of(k, d, room)));
    assert_int_equal(record_expire_ms(r), k->expire_ms[d]);
}

static void check_all(struct keyspace *ks)
{
    assert_true(keyspace_check(ks));
    for (uint8_t d = 0; d < DATABASES; d++) {
        uint64_t count = 0, expires = 0;
        for (uint32_t n = 0; n < key_count; n++) {
            check_key(ks, &keys[n], d);
            count += keys[n].present[d];
            expires += keys[n].present[d] && keys[n].expire_ms[d] != -1;
        }
        assert_int_equal(db_count(ks, d), count);
        assert_int_equal(db_count_expires(ks, d), expires);
    }
}

/* ---- model */

struct expiry {
    struct keyspace *ks;
    int64_t now_ms;
    uint64_t count;
};

static uint32_t number_of(const struct record *r)
{
    struct bytes name = record_key(r);
    return (uint32_t)strtoul((const char *)name.data + (name.data[0] == '{' ? 5 : 4), NULL, 10);
}

static void expire_one(void *ctx, uint8_t d, uint16_t slot, struct record *r)
{
    struct expiry *x = ctx;
    assert_true(record_expired(r, x->now_ms));
    assert_int_equal(slot_of_key(record_key(r)), slot);
    /* The name ends with the record's bytes; strtoul stops at the value's first letter. */
    uint32_t n = number_of(r);
    assert_true(keys[n].present[d] && keys[n].expire_ms[d] <= x->now_ms);
    remove_key(x->ks, n, d);
    x->count++;
}

/* All that is due is found, nothing else, however few buckets a call may look at. */
static void expire_all(struct keyspace *ks, int64_t now_ms, uint32_t max_buckets)
{
    uint64_t due = 0;
    for (uint32_t n = 0; n < key_count; n++) {
        for (uint8_t d = 0; d < DATABASES; d++) {
            due +=
                keys[n].present[d] && keys[n].expire_ms[d] != -1 && keys[n].expire_ms[d] <= now_ms;
        }
    }
    struct expiry x = {.ks = ks, .now_ms = now_ms};
    while (db_expire_due(ks, now_ms, max_buckets, expire_one, &x))
        continue;
    assert_int_equal(x.count, due);
}

/* Of slots whose number modulo 2 is at least `odd`. */
static void swap_shadows(uint8_t a, uint8_t b, uint32_t odd)
{
    for (uint32_t n = 0; n < key_count; n++) {
        if (keys[n].key[a].slot % 2 < odd) continue;
        struct shadow was = keys[n];
        keys[n].present[a] = was.present[b];
        keys[n].present[b] = was.present[a];
        keys[n].expire_ms[a] = was.expire_ms[b];
        keys[n].expire_ms[b] = was.expire_ms[a];
        keys[n].version[a] = was.version[b];
        keys[n].version[b] = was.version[a];
    }
}

static void flush(struct keyspace *ks, uint8_t d, uint32_t slice)
{
    bool was_empty = db_count(ks, d) == 0;
    struct db_garbage *g = db_detach(ks, d);
    assert_true(g != NULL || was_empty);
    for (uint32_t n = 0; n < key_count; n++)
        keys[n].present[d] = false;
    assert_int_equal(db_count(ks, d), 0);
    if (key_count > 0) assert_true(set(ks, 0, d, -1)); /* the database is usable at once */
    while (g != NULL && !db_garbage_free_slice(g, slice))
        continue;
}

/* As a shard that owns only some of the slots: what the others hold stays. */
static bool is_odd(const void *ctx, uint16_t slot)
{
    (void)ctx;
    return slot % 2 == 1;
}

static void swap_odd_slots(struct keyspace *ks, uint8_t a, uint8_t b)
{
    db_swap_slots(ks, a, b, is_odd, NULL);
    if (a != b) swap_shadows(a, b, 1);
}

static void flush_odd_slots(struct keyspace *ks, uint8_t d)
{
    struct db_garbage *g = db_detach_slots(ks, d, is_odd, NULL);
    for (uint32_t n = 0; n < key_count; n++) {
        if (keys[n].key[d].slot % 2 == 1) keys[n].present[d] = false;
    }
    while (g != NULL && !db_garbage_free_slice(g, 50))
        continue;
}

static void run_model(uint32_t count, uint32_t ops, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    struct keyspace *ks = start(count);
    int64_t now_ms = INT64_C(1700000000000);
    for (uint32_t op = 0; op < ops; op++) {
        uint32_t n = (uint32_t)rng_below(&rng, count);
        uint8_t d = (uint8_t)(rng_below(&rng, 4) % DATABASES);
        int64_t expire_ms = rng_below(&rng, 2) ? now_ms + (int64_t)rng_below(&rng, 200000) : -1;
        bool growing = op / (ops / 4) % 2 == 0;
        uint64_t what = rng_below(&rng, 100);
        if (what < (growing ? 60u : 10u))
            assert_true(set(ks, n, d, expire_ms));
        else if (what < 90)
            remove_key(ks, n, d);
        else
            set_expire(ks, n, d, expire_ms);
        if (op % (ops / 40) == 7) {
            now_ms += (int64_t)rng_below(&rng, 9000);
            expire_all(ks, now_ms, 1 + (uint32_t)rng_below(&rng, 50));
        }
        if (op % (ops / 8) == 9) check_all(ks);
        if (op % (ops / 5) == 11) {
            db_swap(ks, 0, d);
            swap_shadows(0, d, 0);
        }
        if (op % (ops / 5) == 12) swap_odd_slots(ks, 0, d);
        if (op % (ops / 3) == 12) flush_odd_slots(ks, d);
        if (op % (ops / 3) == 13) flush(ks, d, 1 + (uint32_t)rng_below(&rng, 100));
    }
    check_all(ks);
    end(ks);
}

static void test_model_small(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        run_model(5 + (uint32_t)(seed * seed * 10), 8000, seed);
}

static void test_model_large(void **state)
{
    (void)state;
    run_model(40000, 400000, 42);
}

/* ---- expiry */

static void count_one(void *ctx, uint8_t d, uint16_t slot, struct record *r)
{
    (void)d;
    (void)slot;
    (void)r;
    ++*(uint64_t *)ctx;
}

static void test_due_to_the_millisecond(void **state)
{
    (void)state;
    struct keyspace *ks = start(4);
    int64_t at = INT64_C(1700000000123);
    assert_true(set(ks, 0, 0, at));
    uint64_t count = 0;
    for (int64_t now = at - 40; now < at; now++) {
        assert_false(db_expire_due(ks, now, 100, count_one, &count));
        assert_int_equal(count, 0);
    }
    assert_false(db_expire_due(ks, at, 100, count_one, &count));
    assert_int_equal(count, 1);
    /* Left alone it is offered again, once per call: no call goes in circles. */
    assert_false(db_expire_due(ks, at + 1, 100, count_one, &count));
    assert_int_equal(count, 2);
    end(ks);
}

/* A wheel: keys spread over minutes, each found in its time; deletes by the callback shrink the tables
 * under the walk. */
static void test_wheel(void **state)
{
    (void)state;
    struct keyspace *ks = start(KEYS_MAX);
    int64_t now_ms = INT64_C(1700000000000);
    for (uint32_t n = 0; n < KEYS_MAX; n++)
        assert_true(set(ks, n, 0, now_ms + 1 + n % 60000));
    assert_true(keyspace_check(ks));
    assert_true(db_average_ttl_ms(ks, 0, now_ms) > 29000 &&
                db_average_ttl_ms(ks, 0, now_ms) < 31000);
    struct expiry x = {.ks = ks};
    for (uint32_t tick = 1; tick <= 60; tick++) {
        x.now_ms = now_ms + tick * 1000;
        while (db_expire_due(ks, x.now_ms, 64, expire_one, &x))
            continue;
        assert_int_equal(x.count, KEYS_MAX / 60 * tick);
    }
    assert_int_equal(db_count(ks, 0), 0);
    assert_int_equal(db_count_expires(ks, 0), 0);
    assert_int_equal(db_average_ttl_ms(ks, 0, now_ms), 0);
    assert_true(keyspace_check(ks));
    end(ks);
}

/* Years pass, clocks jump back, deadlines lie beyond what 32 bits of units reach: still all found. */
static void test_epochs(void **state)
{
    (void)state;
    static const int64_t years[] = {0, 1, 2, 3, 10, 80, 5000};
    const int64_t year_ms = INT64_C(365) * 86400 * 1000;
    struct keyspace *ks = start(20000);
    int64_t start_ms = INT64_C(1700000000000);
    struct rng rng;
    rng_seed(&rng, 8);
    assert_true(set(ks, 0, 0, start_ms + 5000 * year_ms)); /* the first one sets a useless epoch */
    for (uint32_t n = 1; n < 20000; n++) {
        int64_t at =
            start_ms + years[n % COUNT_OF(years)] * year_ms + (int64_t)rng_below(&rng, 1000000);
        assert_true(set(ks, n, 0, at));
    }
    assert_true(set(ks, 1, 0, -1000)); /* long gone, and set so on purpose */
    expire_all(ks, start_ms, 10);
    expire_all(ks, start_ms - 3 * year_ms, 10);
    for (int64_t month = 0; month < 150; month++) {
        expire_all(ks, start_ms + month * year_ms / 12, 1000);
        if (month % 30 == 0) assert_true(keyspace_check(ks));
    }
    expire_all(ks, start_ms + 81 * year_ms, 1000);
    expire_all(ks, start_ms + 5001 * year_ms, 1000);
    assert_int_equal(db_count(ks, 0), 0);
    end(ks);
}

/* Idle: nothing due among many expiries costs no look at any bucket but those of this very moment. */
static void test_nothing_due_looks_at_nothing(void **state)
{
    (void)state;
    struct keyspace *ks = start(KEYS_MAX);
    int64_t now_ms = INT64_C(1700000000000);
    for (uint32_t n = 0; n < KEYS_MAX; n++)
        assert_true(set(ks, n, 0, now_ms + 3600000 + n));
    uint64_t count = 0;
    for (int64_t t = 0; t < 3600000 - 16; t += 60000) {
        assert_false(db_expire_due(ks, now_ms + t, 0, count_one, &count)); /* 0 buckets suffice */
    }
    assert_int_equal(count, 0);
    end(ks);
}

/* ---- walks */

static void see(void *ctx, struct record *r)
{
    (void)ctx;
    keys[number_of(r)].seen++;
}

static void test_scan_still(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 100, 30000};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct keyspace *ks = start(counts[i]);
        for (uint32_t n = 0; n < counts[i]; n++)
            assert_true(set(ks, n, 1, -1));
        uint64_t cursor = 0;
        do {
            uint64_t next = db_scan(ks, 1, cursor, see, NULL);
            assert_true(next == 0 || next > cursor);
            assert_true(next < UINT64_C(1) << 63);
            cursor = next;
        } while (cursor != 0);
        for (uint32_t n = 0; n < counts[i]; n++)
            assert_int_equal(keys[n].seen, 1);
        assert_int_equal(db_scan(ks, 0, 0, see, NULL), 0);
        end(ks);
    }
}

static void test_scan_guarantee(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 17);
    for (uint32_t round = 0; round < 30; round++) {
        struct keyspace *ks = start(6000);
        bool present = rng_below(&rng, 2);
        /* Keys below 2000 stay; the others come and go between the calls. */
        for (uint32_t n = 0; n < 6000; n++) {
            if (n < 2000 || present) assert_true(set(ks, n, 0, -1));
        }
        uint64_t cursor = 0;
        do {
            cursor = db_scan(ks, 0, cursor, see, NULL);
            for (uint64_t i = rng_below(&rng, 12); i > 0; i--) {
                uint32_t n = 2000 + (uint32_t)rng_below(&rng, 4000);
                if (present)
                    remove_key(ks, n, 0);
                else
                    assert_true(set(ks, n, 0, -1));
            }
            if (rng_below(&rng, 500) == 0) present = !present;
        } while (cursor != 0);
        for (uint32_t n = 0; n < 2000; n++)
            assert_true(keys[n].seen >= 1);
        end(ks);
    }
}

static void test_scan_cursors(void **state)
{
    (void)state;
    struct keyspace *ks = start(2000);
    for (uint32_t n = 0; n < 2000; n++)
        assert_true(set(ks, n, 0, -1));
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot += 97) {
        assert_int_equal(db_scan_slot(db_scan_from_slot((uint16_t)slot)), slot);
        uint64_t next = db_scan(ks, 0, db_scan_from_slot((uint16_t)slot), see, NULL);
        assert_true(next == 0 || db_scan_slot(next) >= slot);
        assert_true(next == 0 || db_slot_count(ks, 0, db_scan_slot(next)) > 0);
    }
    struct rng rng;
    rng_seed(&rng, 4);
    for (uint32_t i = 0; i < 2000; i++) { /* whatever a client sends */
        uint64_t cursor = rng_next(&rng) >> rng_below(&rng, 64);
        assert_true(db_scan_slot(cursor) < SLOT_COUNT);
        (void)db_scan(ks, 0, cursor, see, NULL);
    }
    end(ks);
}

static void test_slot_each(void **state)
{
    (void)state;
    struct keyspace *ks = start(4000);
    for (uint32_t n = 0; n < 4000; n++)
        assert_true(set(ks, n, 2, -1));
    uint16_t slot = keys[0].key[2].slot;
    assert_true(db_slot_count(ks, 2, slot) >= 1000);
    db_slot_each(ks, 2, slot, see, NULL);
    for (uint32_t n = 0; n < 4000; n++)
        assert_int_equal(keys[n].seen, keys[n].key[2].slot == slot);
    end(ks);
}

/* Slots of very different sizes: each key has the same chance. */
static void test_random_is_fair(void **state)
{
    (void)state;
    enum { COUNT = 400, DRAWS = 300 };
    struct keyspace *ks = start(COUNT);
    struct rng rng;
    rng_seed(&rng, 6);
    assert_null(db_random(ks, 0, &rng));
    for (uint32_t n = 0; n < COUNT; n++)
        assert_true(set(ks, n, 0, -1));
    for (uint32_t i = 0; i < COUNT * DRAWS; i++)
        keys[number_of(db_random(ks, 0, &rng))].seen++;
    double chi2 = 0;
    for (uint32_t n = 0; n < COUNT; n++) {
        double off = (double)keys[n].seen - DRAWS;
        chi2 += off * off / DRAWS;
    }
    double k = COUNT - 1;
    assert_true((chi2 - k) * (chi2 - k) <= 25 * 2 * k);
    end(ks);
}

/* ---- counters */

static void test_bytes_per_slot(void **state)
{
    (void)state;
    struct keyspace *ks = start(3000);
    int64_t before = mem_thread_data_bytes();
    assert_true(
        set(ks, 0, 0, -1)); /* brings the arrays of the database into the first slot's account */
    for (uint32_t n = 1; n < 3000; n++)
        assert_true(set(ks, n, 0, n % 3 == 0 ? 5000 : -1));
    assert_int_equal(db_data_bytes(ks), mem_thread_data_bytes() - before);
    uint64_t bytes = 0, count = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct db_slot_stats s;
        db_slot_stats(ks, (uint16_t)slot, &s);
        bytes += s.bytes;
        count += s.keys;
        assert_true(s.writes >= s.keys);
    }
    assert_int_equal(bytes, db_data_bytes(ks));
    assert_int_equal(count, 3000);
    struct db_slot_stats s;
    uint16_t slot = keys[1].key[0].slot;
    db_slot_stats(ks, slot, &s);
    uint64_t with = s.bytes;
    db_note_read(ks, &keys[1].key[0]);
    remove_key(ks, 1, 0);
    db_slot_stats(ks, slot, &s);
    assert_true(s.bytes < with);
    assert_int_equal(s.reads, 1);
    end(ks);
}

/* Two entries open at once, one change seen by both: no byte is counted twice. */
static void test_bytes_of_overlapping_entries(void **state)
{
    (void)state;
    struct keyspace *ks = start(8);
    int64_t before = mem_thread_data_bytes();
    for (uint32_t n = 1; n < 4; n++)
        assert_true(set(ks, n, 0, -1));
    struct db_entry a, b;
    db_open(ks, &keys[1].key[0], &a);
    db_open(ks, &keys[5].key[0], &b);
    /* RENAME key:1 key:5 */
    b.record = a.record;
    assert_true(record_try_rename(&b.record, bytes_of(keys[5].name)));
    int64_t moved = (int64_t)record_block_bytes(b.record);
    assert_true(db_commit(ks, &keys[5].key[0], &b));
    a.record = NULL;
    db_move_bytes(ks, &keys[1].key[0], -moved);
    db_move_bytes(ks, &keys[5].key[0], moved);
    assert_true(db_commit(ks, &keys[1].key[0], &a));
    assert_int_equal(db_data_bytes(ks), mem_thread_data_bytes() - before);
    keys[1].present[0] = false;
    assert_null(db_find(ks, &keys[1].key[0]));
    assert_non_null(db_find(ks, &keys[5].key[0]));
    assert_true(keyspace_check(ks));
    end(ks);
}

/* An entry may be committed again and again. */
static void test_commit_again(void **state)
{
    (void)state;
    struct keyspace *ks = start(2);
    const struct db_key *key = &keys[1].key[0];
    struct db_entry e;
    db_open(ks, key, &e);
    assert_true(db_commit(ks, key, &e)); /* absent stays absent */
    e.record = str_try_new(key->name, BYTES_LIT("5"), 1000);
    assert_true(db_commit(ks, key, &e));
    assert_int_equal(db_count_expires(ks, 0), 1);
    assert_true(str_try_append(&e.record, bytes_of(keys[0].name)));
    assert_true(record_try_set_expire(&e.record, -1));
    assert_true(db_commit(ks, key, &e));
    assert_int_equal(db_count_expires(ks, 0), 0);
    assert_ptr_equal(db_find(ks, key), e.record);
    record_free(e.record);
    e.record = NULL;
    assert_true(db_commit(ks, key, &e));
    assert_null(db_find(ks, key));
    e.record = str_try_new(key->name, BYTES_LIT("6"), -1);
    assert_true(db_commit(ks, key, &e));
    assert_int_equal(db_count(ks, 0), 1);
    assert_true(keyspace_check(ks));
    end(ks);
}

/* A flushed database with a value of many elements: no slice does more than it was asked for. */
static void test_garbage_in_slices(void **state)
{
    (void)state;
    enum { FIELDS = 20000, SMALL = 500 };
    struct keyspace *ks = start(SMALL + 1);
    for (uint32_t n = 1; n <= SMALL; n++)
        assert_true(set(ks, n, 0, 1000 + n));
    struct db_entry e;
    db_open(ks, &keys[0].key[0], &e);
    e.record = hash_try_new(bytes_of(keys[0].name), -1);
    char field[24];
    for (uint32_t i = 0; i < FIELDS; i++) {
        int len = snprintf(field, sizeof field, "field:%u", i);
        assert_int_equal(hash_set(&e.record, bytes_view(field, (size_t)len), BYTES_LIT("v")),
                         HASH_ADDED);
    }
    assert_true(db_commit(ks, &keys[0].key[0], &e));
    struct db_garbage *g = db_detach(ks, 0);
    assert_null(db_detach(ks, 0));
    assert_int_equal(db_data_bytes(ks), 0);
    uint64_t data = mem_live_bytes(MEM_DATA);
    uint32_t slices = 0;
    while (!db_garbage_free_slice(g, 100)) {
        assert_true(data - mem_live_bytes(MEM_DATA) <=
                    100 * 200); /* bytes of one record, generously */
        data = mem_live_bytes(MEM_DATA);
        slices++;
    }
    assert_true(slices + 2 >= (FIELDS + SMALL) / 100);
    end(ks);
}

/* ---- failures */

static void test_every_failure_changes_nothing(void **state)
{
    (void)state;
    struct keyspace *ks = start(3000);
    uint32_t failures = 0;
    for (uint32_t n = 0; n < 3000; n++) {
        bool fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            uint64_t count = db_count(ks, 0);
            mem_fault_arm(nth);
            bool ok = set(ks, n, 0, n % 2 ? 100 + (int64_t)n : -1);
            fired = mem_fault_disarm();
            assert_true(ok || fired);
            failures += !ok;
            assert_int_equal(db_count(ks, 0), count + (ok && count == n));
        }
        if (n % 500 == 0) assert_true(keyspace_check(ks));
    }
    assert_true(failures > 3000);
    check_all(ks);
    end(ks);
}

/* ---- stamps */

static void test_stamps(void **state)
{
    (void)state;
    struct keyspace *ks = start(1);
    struct rng rng;
    rng_seed(&rng, 1);
    assert_true(set(ks, 0, 0, -1));
    struct record *r = db_find(ks, &keys[0].key[0]);
    int64_t now_ms = INT64_C(1700000000000);
    db_touch(r, now_ms, &rng);
    assert_int_equal(r->lru[0] | r->lru[1] | r->lru[2], 0);
    db_stamps.mode = DB_STAMP_LRU;
    assert_int_equal(db_idle_ms(r, now_ms), 0);
    db_touch(r, now_ms, &rng);
    assert_int_equal(db_idle_ms(r, now_ms + 90000), 90000);
    assert_int_equal(db_frequency(r, now_ms), 0);
    memset(r->lru, 0, sizeof r->lru);
    db_stamps.mode = DB_STAMP_LFU;
    db_touch(r, now_ms, &rng);
    assert_int_equal(db_frequency(r, now_ms), 5);
    for (uint32_t i = 0; i < 100; i++)
        db_touch(r, now_ms, &rng);
    uint8_t hundred = db_frequency(r, now_ms);
    for (uint32_t i = 0; i < 100000; i++)
        db_touch(r, now_ms, &rng);
    uint8_t many = db_frequency(r, now_ms);
    /* As the table in redis.conf: about 10 after 100 hits, about 142 after 100,000. */
    assert_in_range(hundred, 7, 13);
    assert_in_range(many, 115, 170);
    assert_int_equal(db_frequency(r, now_ms + 60000 * 10), many - 10);
    assert_int_equal(db_frequency(r, now_ms + 60000 * 1000), 0);
    db_stamps.mode = DB_STAMP_NONE;
    end(ks);
}

static int setup(void **state)
{
    (void)state;
    keys = calloc(KEYS_MAX, sizeof *keys);
    return keys == NULL;
}

static int teardown(void **state)
{
    (void)state;
    free(keys);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_small),
        cmocka_unit_test(test_model_large),
        cmocka_unit_test(test_due_to_the_millisecond),
        cmocka_unit_test(test_wheel),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_nothing_due_looks_at_nothing),
        cmocka_unit_test(test_scan_still),
        cmocka_unit_test(test_scan_guarantee),
        cmocka_unit_test(test_scan_cursors),
        cmocka_unit_test(test_slot_each),
        cmocka_unit_test(test_random_is_fair),
        cmocka_unit_test(test_bytes_per_slot),
        cmocka_unit_test(test_bytes_of_overlapping_entries),
        cmocka_unit_test(test_commit_again),
        cmocka_unit_test(test_garbage_in_slices),
        cmocka_unit_test(test_every_failure_changes_nothing),
        cmocka_unit_test(test_stamps),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
