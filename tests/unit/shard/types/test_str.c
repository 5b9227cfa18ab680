/* Strings against a plain byte array; encodings as Redis names them. */
#include "shard/types/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/rng.h"

enum { TEXT_MAX = 6000 };

struct shadow {
    uint8_t text[TEXT_MAX];
    size_t len;
    int64_t expire_ms;
};

static void check(const struct record *r, const struct shadow *s)
{
    char tmp[NUM_I64_TEXT_MAX];
    assert_int_equal(record_type(r), VALUE_STRING);
    assert_true(bytes_equal(record_key(r), BYTES_LIT("some:key")));
    assert_true(bytes_equal(str_view(r, tmp), bytes_view(s->text, s->len)));
    assert_int_equal(str_len(r), s->len);
    assert_int_equal(record_expire_ms(r), s->expire_ms);
    int64_t got = 0, want = 0;
    bool is = num_parse_i64(bytes_view(s->text, s->len), &want);
    assert_true(str_get_int(r, &got) == is);
    if (is) assert_true(got == want);
}

static struct bytes pick(struct rng *rng, uint8_t *room)
{
    static const size_t lens[] = {0, 1, 5, 20, 21, 43, 44, 45, 46, 200, 480, 500, 900, 1024, 2000};
    if (rng_below(rng, 3) == 0) {
        int64_t v = (int64_t)(rng_next(rng) >> rng_below(rng, 64));
        return bytes_view(room, num_format_i64((char *)room, rng_below(rng, 2) ? v : -v));
    }
    size_t len = lens[rng_below(rng, COUNT_OF(lens))];
    for (size_t i = 0; i < len; i++)
        room[i] = (uint8_t)('!' + rng_below(rng, 90));
    return bytes_view(room, len);
}

static void shadow_set(struct shadow *s, struct bytes v, int64_t expire_ms)
{
    if (v.len > 0) memcpy(s->text, v.data, v.len);
    s->len = v.len;
    s->expire_ms = expire_ms;
}

static bool op_set(struct rng *rng, struct record **r, struct shadow *s)
{
    uint8_t room[2048];
    struct bytes v = pick(rng, room);
    int64_t expire_ms = rng_below(rng, 3) == 0 ? (int64_t)rng_below(rng, 1000000) : -1;
    if (!str_try_set(r, v, expire_ms)) return false;
    shadow_set(s, v, expire_ms);
    return true;
}

static bool op_set_int(struct rng *rng, struct record **r, struct shadow *s)
{
    int64_t v = (int64_t)rng_next(rng);
    if (!str_try_set_int(r, v)) return false;
    assert_int_equal(record_encoding(*r), ENC_INT);
    s->len = num_format_i64((char *)s->text, v);
    return true;
}

static bool op_append(struct rng *rng, struct record **r, struct shadow *s)
{
    uint8_t room[2048];
    struct bytes v = pick(rng, room);
    if (s->len + v.len > TEXT_MAX) return true;
    if (!str_try_append(r, v)) return false;
    assert_int_equal(record_encoding(*r), ENC_RAW);
    if (v.len > 0) memcpy(s->text + s->len, v.data, v.len);
    s->len += v.len;
    return true;
}

static bool op_setrange(struct rng *rng, struct record **r, struct shadow *s)
{
    uint8_t room[2048];
    struct bytes v = pick(rng, room);
    uint32_t offset = (uint32_t)rng_below(rng, 1500);
    if (!str_try_setrange(r, offset, v)) return false;
    assert_int_equal(record_encoding(*r), ENC_RAW);
    if (offset > s->len) memset(s->text + s->len, 0, offset - s->len);
    if (v.len > 0) memcpy(s->text + offset, v.data, v.len);
    if (offset + v.len > s->len) s->len = offset + v.len;
    if (offset > s->len) s->len = offset;
    return true;
}

static bool (*const ops[])(struct rng *, struct record **,
                           struct shadow *) = {op_set, op_set_int, op_append, op_setrange};

static void test_model(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    uint64_t before = mem_live_bytes(MEM_DATA);
    static struct shadow s;
    uint8_t room[2048];
    for (uint32_t round = 0; round < 5000; round++) {
        struct bytes v = pick(&rng, room);
        struct record *r = str_try_new(BYTES_LIT("some:key"), v, -1);
        shadow_set(&s, v, -1);
        check(r, &s);
        for (uint32_t i = 0; i < 20; i++) {
            assert_true(ops[rng_below(&rng, COUNT_OF(ops))](&rng, &r, &s));
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
    uint8_t room[2048];
    uint32_t failures = 0;
    for (uint64_t seed = 1; seed < 1500; seed++) {
        bool fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            struct rng rng;
            rng_seed(&rng, seed);
            struct bytes v = pick(&rng, room);
            shadow_set(&s, v, -1);
            mem_fault_arm(nth);
            struct record *r = str_try_new(BYTES_LIT("some:key"), v, -1);
            bool ok = r != NULL;
            for (uint32_t i = 0; ok && i < 4; i++)
                ok = ops[rng_below(&rng, COUNT_OF(ops))](&rng, &r, &s);
            fired = mem_fault_disarm();
            assert_true(ok || fired);
            failures += !ok;
            if (r != NULL) check(r, &s);
            if (r != NULL) record_free(r);
            assert_int_equal(mem_live_bytes(MEM_DATA), before);
        }
    }
    assert_true(failures > 1500);
}

static void test_encoding_of_set(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum value_encoding encoding;
    } cases[] = {
        {"", ENC_EMBSTR},
        {"0", ENC_INT},
        {"-1", ENC_INT},
        {"007", ENC_EMBSTR},
        {"+1", ENC_EMBSTR},
        {" 1", ENC_EMBSTR},
        {"1.0", ENC_EMBSTR},
        {"9223372036854775807", ENC_INT},
        {"-9223372036854775808", ENC_INT},
        {"9223372036854775808", ENC_EMBSTR},
        {"12345678901234567890123456789012345678901234", ENC_EMBSTR},
        {"123456789012345678901234567890123456789012345", ENC_RAW},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct record *r = str_try_new(BYTES_LIT("k"), bytes_of(cases[i].text), -1);
        assert_int_equal(record_encoding(r), cases[i].encoding);
        assert_true(
            str_try_set(&r, BYTES_LIT("something else, longer than the forty-four bytes"), -1));
        assert_int_equal(record_encoding(r), ENC_RAW);
        assert_true(str_try_set(&r, bytes_of(cases[i].text), -1));
        assert_int_equal(record_encoding(r), cases[i].encoding);
        record_free(r);
    }
}

/* SET of the same size neither allocates nor moves, and keeps the LRU stamp in any case. */
static void test_set_in_place(void **state)
{
    (void)state;
    static const size_t lens[] = {8, 64, 500, 1024};
    uint8_t text[1024];
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        memset(text, 'a', sizeof text);
        struct record *r = str_try_new(BYTES_LIT("k"), bytes_view(text, lens[i]), -1), *was = r;
        memcpy(r->lru, "lru", 3);
        memset(text, 'b', sizeof text);
        mem_fault_arm(1);
        assert_true(str_try_set(&r, bytes_view(text, lens[i]), -1));
        assert_false(mem_fault_disarm());
        assert_ptr_equal(r, was);
        assert_memory_equal(r->lru, "lru", 3);
        assert_true(str_try_set(&r, bytes_view(text, 100), 12345));
        assert_memory_equal(r->lru, "lru", 3);
        assert_int_equal(record_expire_ms(r), 12345);
        record_free(r);
    }
}

/* SET over a value of another type. */
static void test_set_over_another_type(void **state)
{
    (void)state;
    uint64_t before = mem_live_bytes(MEM_DATA);
    struct record *r =
        record_try_new_blob(BYTES_LIT("k"), VALUE_HASH, ENC_LISTPACK, BYTES_LIT("packed"), 55);
    assert_true(str_try_set(&r, BYTES_LIT("text!!"), -1));
    assert_int_equal(record_type(r), VALUE_STRING);
    assert_int_equal(record_encoding(r), ENC_EMBSTR);
    assert_int_equal(record_expire_ms(r), -1);
    record_free(r);
    assert_int_equal(mem_live_bytes(MEM_DATA), before);
}

/* The key leaves no room inline, the 8 bytes of an integer stay there all the same. */
static void test_long_keys(void **state)
{
    (void)state;
    static const size_t lens[] = {255, 256, 500, 600, 5000, 100000};
    static uint8_t name[100000];
    memset(name, 'n', sizeof name);
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        struct bytes key = bytes_view(name, lens[i]);
        struct record *r = str_try_new(key, BYTES_LIT("12345"), -1);
        int64_t v = 0;
        assert_int_equal(record_encoding(r), ENC_INT);
        assert_true(str_get_int(r, &v) && v == 12345);
        assert_true(str_try_append(&r, BYTES_LIT("!")));
        assert_true(str_try_append(&r, bytes_view(name, 300)));
        assert_int_equal(str_len(r), 306);
        assert_true(str_try_set_int(&r, -7));
        assert_true(str_get_int(r, &v) && v == -7);
        assert_true(bytes_equal(record_key(r), key));
        record_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_every_failure_changes_nothing),
        cmocka_unit_test(test_encoding_of_set),
        cmocka_unit_test(test_set_in_place),
        cmocka_unit_test(test_set_over_another_type),
        cmocka_unit_test(test_long_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
