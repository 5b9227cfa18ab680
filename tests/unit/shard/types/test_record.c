/* Records against a plain copy of what they should hold, through every change of layout, with and
 * without memory. */
#include "shard/types/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/rng.h"

enum { VALUE_MAX = 5000, KEY_MAX = 700 };

struct shadow {
    uint8_t key[KEY_MAX], value[VALUE_MAX];
    size_t key_len, value_len;
    int64_t expire_ms;
};

static void fill(struct rng *rng, uint8_t *to, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)rng_next(rng);
}

/* Lengths around every limit of the layout more often than elsewhere. */
static size_t pick_len(struct rng *rng, size_t max)
{
    static const size_t edges[] = {0,   1,   8,   16,   17,   44,   255, 256,
                                   376, 480, 512, 1016, 1024, 1025, 4096};
    size_t len =
        rng_below(rng, 3) == 0 ? rng_below(rng, max) : edges[rng_below(rng, COUNT_OF(edges))];
    len += rng_below(rng, 3);
    return len <= max ? len : max;
}

static void check(const struct record *r, const struct shadow *s)
{
    assert_true(bytes_equal(record_key(r), bytes_view(s->key, s->key_len)));
    assert_true(bytes_equal(record_blob(r), bytes_view(s->value, s->value_len)));
    assert_int_equal(record_expire_ms(r), s->expire_ms);
    assert_int_equal(record_type(r), VALUE_HASH);
    assert_int_equal(record_encoding(r), ENC_LISTPACK);
    assert_memory_equal(r->lru, "abc", 3);
    assert_int_equal((uintptr_t)r % 8, 0);
    if (!(r->flags & RECORD_OUT))
        assert_true(record_block_bytes(r) <= RECORD_INLINE_MAX + 24 + KEY_MAX);
    if (r->flags & RECORD_OUT) assert_true(record_out(r)->cap >= s->value_len);
    assert_true(record_expired(r, INT64_MAX) == (s->expire_ms != -1));
}

static struct record *make(struct rng *rng, struct shadow *s)
{
    s->key_len = pick_len(rng, KEY_MAX);
    s->value_len = pick_len(rng, VALUE_MAX);
    s->expire_ms = rng_below(rng, 2) ? (int64_t)rng_below(rng, 1u << 30) : -1;
    fill(rng, s->key, s->key_len);
    fill(rng, s->value, s->value_len);
    struct record *r = record_try_new_blob(bytes_view(s->key, s->key_len), VALUE_HASH, ENC_LISTPACK,
                                           bytes_view(s->value, s->value_len), s->expire_ms);
    if (r != NULL) memcpy(r->lru, "abc", 3);
    return r;
}

/* One random change to record and shadow alike; false: it found no memory, and neither changed. */
static bool change(struct rng *rng, struct record **r, struct shadow *s)
{
    struct shadow n = *s;
    switch (rng_below(rng, 4)) {
    case 0: {
        n.key_len = pick_len(rng, KEY_MAX);
        fill(rng, n.key, n.key_len);
        if (!record_try_rename(r, bytes_view(n.key, n.key_len))) return false;
        break;
    }
    case 1:
        n.expire_ms = rng_below(rng, 2) ? (int64_t)rng_below(rng, 1u << 30) : -1;
        if (!record_try_set_expire(r, n.expire_ms)) return false;
        break;
    default: {
        n.value_len = pick_len(rng, VALUE_MAX);
        if (!record_try_resize_blob(r, (uint32_t)n.value_len)) return false;
        size_t kept = n.value_len < s->value_len ? n.value_len : s->value_len;
        struct bytes blob = record_blob(*r);
        assert_memory_equal(blob.data, s->value, kept);
        fill(rng, n.value, n.value_len);
        if (n.value_len > 0) memcpy((uint8_t *)(uintptr_t)blob.data, n.value, n.value_len);
        break;
    }
    }
    *s = n;
    return true;
}

static void test_model(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 11);
    uint64_t before = mem_live_bytes(MEM_DATA);
    static struct shadow s;
    for (uint32_t round = 0; round < 3000; round++) {
        struct record *r = make(&rng, &s);
        assert_non_null(r);
        check(r, &s);
        for (uint32_t op = rng_below(&rng, 30) & 31u; op > 0; op--) {
            assert_true(change(&rng, &r, &s));
            check(r, &s);
        }
        record_free(r);
    }
    assert_int_equal(mem_live_bytes(MEM_DATA), before);
}

static void test_every_failure_changes_nothing(void **state)
{
    (void)state;
    uint64_t before = mem_live_bytes(MEM_DATA);
    static struct shadow s;
    uint32_t failures = 0;
    for (uint64_t seed = 1; seed < 2000; seed++) {
        bool fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            struct rng rng;
            rng_seed(&rng, seed);
            mem_fault_arm(nth);
            struct record *r = make(&rng, &s);
            bool ok = r != NULL;
            for (uint32_t op = 0; ok && op < 3; op++)
                ok = change(&rng, &r, &s);
            fired = mem_fault_disarm();
            assert_true(ok || fired);
            failures += !ok;
            if (r != NULL) check(r, &s);
            if (r != NULL) record_free(r);
            assert_int_equal(mem_live_bytes(MEM_DATA), before);
        }
    }
    assert_true(failures > 2000);
}

/* What performance.md's memory table counts on. */
static void test_sizes(void **state)
{
    (void)state;
    struct bytes key = BYTES_LIT("key:000000000001");
    static const uint8_t value[4096];
    struct record *r = record_try_new_blob(key, VALUE_STRING, ENC_RAW, bytes_view(value, 64), -1);
    assert_int_equal(record_block_bytes(r), 8 + 16 + 64);
    record_free(r);
    r = record_try_new_blob(key, VALUE_STRING, ENC_RAW, bytes_view(value, 64), 1000);
    assert_int_equal(record_block_bytes(r), 8 + 8 + 16 + 64);
    record_free(r);
    static const uint32_t exact[] = {512, 1024, 2048, 4096};
    for (size_t i = 0; i < COUNT_OF(exact); i++) {
        r = record_try_new_blob(key, VALUE_STRING, ENC_RAW, bytes_view(value, exact[i]), -1);
        assert_int_equal(record_out(r)->cap, exact[i]);
        assert_int_equal(record_block_bytes(r), 8 + 16 + 16);
        record_free(r);
    }
}

/* A blob that grows byte by byte is copied a number of times that is logarithmic in its length. */
static void test_growth_has_slack(void **state)
{
    (void)state;
    struct record *r =
        record_try_new_blob(BYTES_LIT("k"), VALUE_STRING, ENC_RAW, BYTES_LIT(""), -1);
    const void *at = NULL;
    uint32_t moves = 0;
    for (uint32_t len = 1; len <= 300000; len++) {
        assert_true(record_try_resize_blob(&r, len));
        if (r->flags & RECORD_OUT && record_out(r)->ptr != at) {
            at = record_out(r)->ptr;
            moves++;
        }
    }
    assert_true(moves < 25);
    assert_true(record_try_resize_blob(&r, 1000));
    assert_int_equal(record_out(r)->cap, 1000);
    assert_true(record_try_resize_blob(&r, 10));
    assert_false(r->flags & RECORD_OUT);
    record_free(r);
}

/* A value just below the limit that shrinks and grows a little stays where it is. */
static void test_no_flutter_at_the_inline_limit(void **state)
{
    (void)state;
    struct record *r =
        record_try_new_blob(BYTES_LIT("k"), VALUE_LIST, ENC_LISTPACK, BYTES_LIT(""), -1);
    assert_true(record_try_resize_blob(&r, 600));
    assert_true(r->flags & RECORD_OUT);
    assert_true(record_try_resize_blob(&r, 450));
    assert_true(r->flags & RECORD_OUT);
    assert_true(record_try_resize_blob(&r, 300));
    assert_false(r->flags & RECORD_OUT);
    assert_true(record_try_resize_blob(&r, 450));
    assert_false(r->flags & RECORD_OUT);
    record_free(r);
}

static void test_set_full_keeps_the_rest(void **state)
{
    (void)state;
    static const uint32_t lens[] = {10, 3000};
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        uint64_t before = mem_live_bytes(MEM_DATA);
        struct record *r = record_try_new(BYTES_LIT("name"), VALUE_SET, ENC_LISTPACK, 0, false, 77);
        assert_true(record_try_resize_blob(&r, lens[i]));
        memcpy(r->lru, "xyz", 3);
        int structure = 0;
        mem_fault_arm(1);
        bool ok = record_try_set_full(&r, ENC_HASHTABLE, &structure);
        if (mem_fault_disarm()) {
            assert_false(ok);
            assert_int_equal(record_blob(r).len, lens[i]);
            assert_true(record_try_set_full(&r, ENC_HASHTABLE, &structure));
        }
        assert_true(record_is_full(r));
        assert_int_equal(record_type(r), VALUE_SET);
        assert_ptr_equal(record_out(r)->ptr, &structure);
        assert_int_equal(record_out(r)->cap, 0);
        assert_int_equal(record_expire_ms(r), 77);
        assert_memory_equal(r->lru, "xyz", 3);
        assert_true(bytes_equal(record_key(r), BYTES_LIT("name")));
        record_free_shell(r);
        assert_int_equal(mem_live_bytes(MEM_DATA), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_every_failure_changes_nothing),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_growth_has_slack),
        cmocka_unit_test(test_no_flutter_at_the_inline_limit),
        cmocka_unit_test(test_set_full_keeps_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
