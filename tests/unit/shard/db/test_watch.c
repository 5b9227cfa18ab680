/* The registry of watched keys: who hears of which change, that nothing stays behind, and that a registration
 * without memory leaves everything as it was. */
#include "shard/db/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/clock.h"

static struct db_key key_of(uint8_t db, const char *name)
{
    return db_key(db, bytes_of(name));
}

static void add(struct watches *ws, uint64_t watcher, uint8_t db, const char *name)
{
    struct db_key key = key_of(db, name);
    assert_true(watch_add(ws, watcher, &key, false));
}

static void touch(struct watches *ws, uint8_t db, const char *name, bool is_there)
{
    struct db_key key = key_of(db, name);
    watch_touch(ws, &key, is_there);
}

static void end(struct watches *ws)
{
    assert_int_equal(ws->count, 0);
    assert_int_equal(ws->keys, 0);
    assert_int_equal(ws->watchers, 0);
    watches_free(ws);
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
}

static void test_a_change_is_told_to_those_who_watch_the_key(void **state)
{
    (void)state;
    struct watches ws = {.count = 0};
    touch(&ws, 0, "a", true); /* nobody watches: no table yet */
    add(&ws, 1, 0, "a");
    add(&ws, 1, 0, "b");
    add(&ws, 2, 0, "a");
    add(&ws, 3, 1, "a");
    add(&ws, 3, 0, "c");
    add(&ws, 3, 0, "c"); /* twice is once */
    assert_int_equal(ws.count, 5);
    touch(&ws, 0, "a", true);
    touch(&ws, 0, "none", true);
    assert_true(watch_drop(&ws, 1));
    assert_false(watch_drop(&ws, 1)); /* it is gone */
    assert_true(watch_drop(&ws, 2));
    assert_false(watch_drop(&ws, 3)); /* the other database's */
    end(&ws);
}

static void test_what_was_past_its_time_may_be_removed(void **state)
{
    (void)state;
    struct watches ws = {.count = 0};
    struct db_key key = key_of(0, "a");
    assert_true(watch_add(&ws, 1, &key, true));
    assert_true(watch_add(&ws, 2, &key, true));
    assert_true(watch_add(&ws, 3, &key, false));
    watch_touch(&ws, &key, false);
    assert_false(watch_drop(&ws, 1));
    assert_true(watch_drop(&ws, 3));
    watch_touch(&ws, &key, true); /* and then it is there again: that is a change */
    assert_true(watch_drop(&ws, 2));
    end(&ws);
}

static enum watch_verdict judge(void *ctx, const struct db_key *key, bool expired)
{
    (void)expired;
    const enum watch_verdict *verdict = ctx;
    return bytes_equal(key->name, BYTES_LIT("a")) ? *verdict : WATCH_SAME;
}

static void test_verdicts(void **state)
{
    (void)state;
    static const struct {
        enum watch_verdict verdict;
        bool expired, after_removal; /* changed, once the key is removed */
    } cases[] = {
        {WATCH_SAME, false, true},       {WATCH_SAME, true, false},
        {WATCH_CHANGED, true, true},     {WATCH_IS_EXPIRED, false, false},
        {WATCH_NOT_EXPIRED, true, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (int by_db = 0; by_db < 2; by_db++) {
            struct watches ws = {.count = 0};
            enum watch_verdict verdict = cases[i].verdict;
            struct db_key key = key_of(0, "a");
            watch_judge_watcher(&ws, 1, judge, &verdict);
            assert_true(watch_add(&ws, 1, &key, cases[i].expired));
            add(&ws, 2, 0, "b");
            if (by_db)
                watch_judge_db(&ws, 0, judge, &verdict);
            else
                watch_judge_watcher(&ws, 1, judge, &verdict);
            watch_judge_db(&ws, 1, judge, &verdict); /* not this database */
            watch_touch(&ws, &key, false);
            assert_int_equal(watch_drop(&ws, 1), cases[i].after_removal);
            assert_false(watch_drop(&ws, 2));
            end(&ws);
        }
}

/* Against a plain table of pairs, while keys and watchers come and go and both tables grow. */
static void test_as_a_plain_table_says(void **state)
{
    (void)state;
    enum { KEYS = 90, WATCHERS = 70, STEPS = 40000 };
    static bool watched[WATCHERS][KEYS];
    bool changed[WATCHERS] = {false};
    struct watches ws = {.count = 0};
    uint64_t seed = 7;
    uint32_t pairs = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t w = (uint32_t)(seed >> 33) % WATCHERS, k = (uint32_t)(seed >> 45) % KEYS;
        char name[16];
        (void)snprintf(name, sizeof name, "key:%u", k);
        if ((seed >> 60) < 9) {
            add(&ws, w, 0, name);
            pairs += !watched[w][k];
            watched[w][k] = true;
        } else if ((seed >> 60) < 15) {
            touch(&ws, 0, name, true);
            for (uint32_t i = 0; i < WATCHERS; i++)
                changed[i] |= watched[i][k];
        } else {
            assert_int_equal(watch_drop(&ws, w), changed[w]);
            for (uint32_t i = 0; i < KEYS; i++)
                pairs -= watched[w][i];
            memset(watched[w], 0, sizeof watched[w]);
            changed[w] = false;
        }
        assert_int_equal(ws.count, pairs);
    }
    watches_free(&ws);
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
    memset(watched, 0, sizeof watched);
}

static void test_no_memory_adds_nothing(void **state)
{
    (void)state;
    for (uint32_t before = 0; before <= 16; before += 16) { /* 16: both tables are full */
        bool fired = true;
        for (uint32_t nth = 1; fired; nth++) {
            struct watches ws = {.count = 0};
            char name[16];
            for (uint32_t i = 0; i < before; i++) {
                (void)snprintf(name, sizeof name, "%u", i);
                add(&ws, i, 0, name);
            }
            struct db_key key = key_of(0, "a");
            mem_fault_arm(nth);
            bool ok = watch_add(&ws, 99, &key, false);
            fired = mem_fault_disarm();
            assert_int_equal(ws.count, before + ok);
            assert_int_equal(ws.keys, before + ok);
            assert_int_equal(ws.watchers, before + ok);
            assert_true(ok || fired);
            watch_touch(&ws, &key, true);
            assert_int_equal(watch_drop(&ws, 99), ok);
            for (uint32_t i = 0; i < before; i++)
                assert_false(watch_drop(&ws, i));
            end(&ws);
        }
    }
}

/* Each was once compared with all others: 80,000 of one WATCH held up their shard for 20 s. */
static void test_many_keys_of_one_watcher(void **state)
{
    (void)state;
    struct watches ws = {.count = 0};
    const uint32_t many = 200000;
    uint64_t begin_ns = clock_thread_cpu_ns();
    for (uint32_t i = 0; i < many; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "key:%u", i);
        add(&ws, 1, 0, name);
        if (i % 100 != 0) continue;
        add(&ws, 1, 0, name); /* twice is once */
        add(&ws, i + 2, 0, "key:0");
        add(&ws, i + 2, 0, "key:0");
    }
    assert_int_equal(ws.count, many + many / 100);
    assert_true(clock_thread_cpu_ns() - begin_ns < UINT64_C(10000000000));
    assert_false(watch_drop(&ws, 1));
    watches_free(&ws);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_is_told_to_those_who_watch_the_key),
        cmocka_unit_test(test_what_was_past_its_time_may_be_removed),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_as_a_plain_table_says),
        cmocka_unit_test(test_no_memory_adds_nothing),
        cmocka_unit_test(test_many_keys_of_one_watcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
