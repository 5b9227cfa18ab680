/* Stamps of changes: who looks finds every change since he began, and what he finds too much is only what shares a
 * cell. */
#include "shard/exec/stamps.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/rng.h"
#include "shard/exec/sched.h"

static struct stamps stamps;

static int reset(void **state)
{
    (void)state;
    plant_nothing();
    memset(&stamps, 0, sizeof stamps);
    return 0;
}

static uint64_t key(uint64_t cell)
{
    return cell << 20 | 77; /* 77: of no meaning here */
}

static bool changed(uint64_t since, uint64_t hash)
{
    return stamps_changed(&stamps, since, &hash, 1);
}

static void test_a_change_is_found_by_all_who_began_before(void **state)
{
    (void)state;
    uint64_t first = stamps_begin(&stamps), second = stamps_begin(&stamps);
    assert_false(changed(first, key(1)));
    stamps_note(&stamps, key(1));
    uint64_t third = stamps_begin(&stamps);
    assert_true(changed(first, key(1)));
    assert_true(changed(second, key(1)));
    assert_false(changed(third, key(1)));
    assert_false(changed(first, key(2)));
    stamps_note(&stamps, key(1));
    assert_true(changed(third, key(1)));
}

static void test_the_very_first_reader_hears_of_changes(void **state)
{
    (void)state;
    stamps_note(&stamps, key(1)); /* nobody reads */
    uint64_t since = stamps_begin(&stamps);
    assert_false(changed(since, key(1)));
    stamps_note(&stamps, key(1));
    assert_true(changed(since, key(1)));
}

static void test_any_of_several_keys(void **state)
{
    (void)state;
    uint64_t since = stamps_begin(&stamps);
    uint64_t hashes[5];
    for (uint64_t i = 0; i < 5; i++)
        hashes[i] = key(10 + i);
    assert_false(stamps_changed(&stamps, since, hashes, 5));
    stamps_note(&stamps, key(15));
    assert_false(stamps_changed(&stamps, since, hashes, 5));
    for (uint32_t i = 0; i < 5; i++) {
        since = stamps_begin(&stamps);
        assert_false(stamps_changed(&stamps, since, hashes, 5));
        stamps_note(&stamps, hashes[i]);
        assert_true(stamps_changed(&stamps, since, hashes, 5));
        assert_false(stamps_changed(&stamps, since, hashes, i)); /* those before it */
    }
    assert_false(stamps_changed(&stamps, since, NULL, 0));
}

static void test_what_shares_a_cell_seems_changed(void **state)
{
    (void)state;
    uint64_t since = stamps_begin(&stamps), other = key(1) + ((uint64_t)STAMPS << 20);
    assert_ptr_equal(stamp_of(&stamps, key(1)), stamp_of(&stamps, other));
    stamps_note(&stamps, other);
    assert_true(changed(since, key(1)));
    for (uint64_t cell = 0; cell < STAMPS; cell++)
        if (cell != 1) assert_false(changed(since, key(cell)));
    stamps_note(&stamps, UINT64_MAX); /* the last cell is one, too */
    assert_true(changed(since, key(STAMPS - 1)));
}

static void test_all_keys(void **state)
{
    (void)state;
    uint64_t since = stamps_begin(&stamps);
    stamps_note_all(&stamps);
    uint64_t later = stamps_begin(&stamps);
    for (uint64_t cell = 0; cell < STAMPS; cell++) {
        assert_true(changed(since, key(cell)));
        assert_false(changed(later, key(cell)));
    }
}

static void test_rest_lets_running_readers_fail(void **state)
{
    (void)state;
    uint64_t since = stamps_begin(&stamps);
    stamps_rest(&stamps); /* it was used since the last time */
    assert_true(stamps.on);
    assert_false(changed(since, key(1)));
    stamps_note(&stamps, key(1));
    assert_true(changed(since, key(1)));
    assert_false(changed(since, key(2)));
    stamps_rest(&stamps);
    assert_false(stamps.on);
    assert_true(changed(since, key(2)));
    stamps_note(&stamps, key(3)); /* not written down, so … */
    uint64_t later = stamps_begin(&stamps);
    assert_false(changed(later, key(3)));
    assert_true(changed(since, key(3))); /* … who began before must not need it */
    stamps_note(&stamps, key(3));
    assert_true(changed(later, key(3)));
    stamps_rest(&stamps);
    assert_false(changed(later, key(2)));
    stamps_rest(&stamps);
    stamps_rest(&stamps); /* at rest already */
    assert_false(changed(stamps_begin(&stamps), key(2)));
}

/* Against a list of all that happened. */
static void test_no_change_is_missed(void **state)
{
    (void)state;
    enum { READERS = 40, CELLS = 8, STEPS = 200000 };
    struct rng rng;
    rng_seed(&rng, 41);
    uint64_t since[READERS], when[READERS], last[CELLS] = {0}, spurious = 0;
    for (uint32_t i = 0; i < READERS; i++) {
        since[i] = stamps_begin(&stamps);
        when[i] = 0;
    }
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint32_t r = (uint32_t)rng_below(&rng, READERS), cell = (uint32_t)rng_below(&rng, CELLS);
        switch (rng_below(&rng, 40)) {
        case 0:
            stamps_rest(&stamps);
            break;
        case 1:
            stamps_note_all(&stamps);
            for (uint32_t i = 0; i < CELLS; i++)
                last[i] = step;
            break;
        case 2:
        case 3:
        case 4:
            stamps_note(&stamps, key(cell));
            last[cell] = step;
            break;
        case 5:
        case 6:
            since[r] = stamps_begin(&stamps);
            when[r] = step;
            break;
        default: {
            bool found = changed(since[r], key(cell));
            if (last[cell] > when[r]) assert_true(found);
            spurious += found && last[cell] <= when[r];
        }
        }
    }
    assert_in_range(spurious, 1, STEPS / 5); /* by rests alone */
}

static void test_the_low_half_comes_to_its_end(void **state)
{
    (void)state;
    stamps.now = UINT32_MAX / 2;
    uint64_t before = stamps_begin(&stamps), last = stamps_begin(&stamps);
    stamps_note(&stamps, key(1));
    stamps_rest(&stamps);
    assert_true(changed(before, key(2))); /* everything */
    assert_true(changed(last, key(2)));
    uint64_t after = stamps_begin(&stamps);
    assert_true(after > last);
    assert_int_equal((uint32_t)after, 1);
    assert_false(changed(after, key(1)));
    stamps_note(&stamps, key(1));
    assert_true(changed(after, key(1)));
    assert_false(changed(after, key(2)));
}

static void test_intents_that_write_stamp_their_keys(void **state)
{
    (void)state;
    static const enum sched_mode modes[] = {SCHED_READ, SCHED_WRITE};
    const uint64_t keys[] = {key(1), key(2)};
    struct sched s;
    struct sched_entry first, e;
    sched_init(&s);
    s.stamps = &stamps;
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t since = stamps_begin(&stamps);
        assert_int_equal(sched_arrive(&s, &first, 1 + i, modes[i], keys, 2, 0), SCHED_GRANTED);
        assert_int_equal(stamps_changed(&stamps, since, &keys[0], 1), modes[i] == SCHED_WRITE);
        assert_int_equal(stamps_changed(&stamps, since, &keys[1], 1), modes[i] == SCHED_WRITE);
        assert_false(changed(since, key(3)));
        sched_leave(&s, &first);
        assert_null(sched_next_granted(&s));
    }
    /* One that waits stamps when it comes, not when it is granted. */
    uint64_t since = stamps_begin(&stamps);
    assert_int_equal(sched_arrive(&s, &first, 5, SCHED_READ, keys, 2, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &e, 6, SCHED_WRITE, keys, 1, 0), SCHED_WAITS);
    assert_true(changed(since, key(1)));
    assert_false(changed(since, key(2)));
    sched_leave(&s, &first);
    assert_ptr_equal(sched_next_granted(&s), &e);
    sched_leave(&s, &e);
    assert_null(sched_next_granted(&s));
    assert_true(s.stamps == &stamps);
    sched_fini(&s);
    assert_true(s.stamps == &stamps);
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
}

static void test_intents_on_all_keys_stamp_them_if_they_write(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry e;
    sched_init(&s);
    s.stamps = &stamps;
    uint64_t since = stamps_begin(&stamps);
    assert_int_equal(sched_arrive(&s, &e, 1, SCHED_ALL_READ, NULL, 0, 0), SCHED_GRANTED);
    assert_false(changed(since, key(9)));
    sched_leave(&s, &e);
    assert_null(sched_next_granted(&s));
    assert_int_equal(sched_arrive(&s, &e, 2, SCHED_ALL_WRITE, NULL, 0, 0), SCHED_GRANTED);
    assert_true(changed(since, key(9)));
    sched_leave(&s, &e);
    assert_null(sched_next_granted(&s));
    sched_fini(&s);
}

/* A lone command stamps when it changes something. */
static void test_lone_ones_that_wait_stamp_nothing(void **state)
{
    (void)state;
    const uint64_t keys[] = {key(1), key(2)};
    struct sched s;
    struct sched_entry w, e;
    sched_init(&s);
    s.stamps = &stamps;
    assert_int_equal(sched_arrive(&s, &w, 9, SCHED_WRITE, keys, 1, 0), SCHED_GRANTED);
    uint64_t since = stamps_begin(&stamps);
    assert_int_equal(sched_wait(&s, &e, SCHED_WRITE, keys, 2, 0), SCHED_WAITS);
    assert_false(stamps_changed(&stamps, since, keys, 2));
    sched_leave(&s, &w);
    assert_ptr_equal(sched_next_granted(&s), &e);
    sched_leave(&s, &e);
    assert_null(sched_next_granted(&s));
    sched_fini(&s);
}

static void test_planted_mistakes(void **state)
{
    (void)state;
    const uint64_t keys[] = {key(1)};
    struct sched s;
    struct sched_entry e;
    sched_init(&s);
    s.stamps = &stamps;
    plant(PLANT_INTENT_UNSTAMPED);
    uint64_t since = stamps_begin(&stamps);
    assert_int_equal(sched_arrive(&s, &e, 1, SCHED_WRITE, keys, 1, 0), SCHED_GRANTED);
    assert_false(changed(since, key(1)));
    sched_leave(&s, &e);
    assert_null(sched_next_granted(&s));
    sched_fini(&s);
    plant_nothing();
    stamps_note(&stamps, key(1));
    assert_true(changed(since, key(1)));
    plant(PLANT_COLLECT_UNCHECKED);
    assert_false(changed(since, key(1)));
}

/* ---- between threads: whoever was told of a change by something that orders finds its stamp */

enum { ROUNDS = 20000 };
static _Atomic uint32_t told, asked;
static uint64_t since_there;

static void *the_shard(void *unused)
{
    (void)unused;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        since_there = stamps_begin(&stamps);
        if (i % 3 != 0) stamps_note(&stamps, key(i));
        if (i % 3 == 1) stamps_note_all(&stamps);
        atomic_store_explicit(&told, i, memory_order_release);
        while (atomic_load_explicit(&asked, memory_order_acquire) != i)
            sched_yield();
    }
    return NULL;
}

static void test_another_thread_sees_what_it_was_told_of(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, the_shard, NULL), 0);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        while (atomic_load_explicit(&told, memory_order_acquire) != i)
            sched_yield();
        if (changed(since_there, key(i)) != (i % 3 != 0)) fail_msg("round %u", i);
        if (changed(since_there, key(i + 1)) != (i % 3 == 1)) fail_msg("round %u, all", i);
        atomic_store_explicit(&asked, i, memory_order_release);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_change_is_found_by_all_who_began_before, reset),
        cmocka_unit_test_setup(test_the_very_first_reader_hears_of_changes, reset),
        cmocka_unit_test_setup(test_any_of_several_keys, reset),
        cmocka_unit_test_setup(test_what_shares_a_cell_seems_changed, reset),
        cmocka_unit_test_setup(test_all_keys, reset),
        cmocka_unit_test_setup(test_rest_lets_running_readers_fail, reset),
        cmocka_unit_test_setup(test_no_change_is_missed, reset),
        cmocka_unit_test_setup(test_the_low_half_comes_to_its_end, reset),
        cmocka_unit_test_setup(test_intents_that_write_stamp_their_keys, reset),
        cmocka_unit_test_setup(test_intents_on_all_keys_stamp_them_if_they_write, reset),
        cmocka_unit_test_setup(test_lone_ones_that_wait_stamp_nothing, reset),
        cmocka_unit_test_setup(test_planted_mistakes, reset),
        cmocka_unit_test_setup(test_another_thread_sees_what_it_was_told_of, reset),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    plant_nothing();
    return failed;
}
