/* One producer, one consumer: nothing lost, nothing doubled, nothing out of order, at every place where
 * the ring wraps, and across threads (this program also runs under TSan). */
#include "shard/rt/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "shard/base/clock.h"
#include "shard/base/mem.h"
#include "shard/base/rng.h"

static void push_filled(struct mailbox *m, uint8_t *at, uint32_t number, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(number + i);
    mailbox_push(m, len);
}

static void check_filled(const uint8_t *at, uint32_t number, size_t len)
{
    assert_int_equal((uintptr_t)at % 8, 0);
    for (size_t i = 0; i < len; i++)
        if (at[i] != (uint8_t)(number + i)) fail_msg("message %u, byte %zu", number, i);
}

static void test_random_lengths_and_batches(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 7);
    struct mailbox *m = mailbox_new(4096);
    enum { MESSAGES = 60000 };
    static size_t length[MESSAGES];
    uint32_t sent = 0, published = 0, got = 0;
    while (got < MESSAGES) {
        for (uint64_t batch = rng_below(&rng, 6); batch > 0 && sent < MESSAGES; batch--) {
            size_t reserve = rng_below(&rng, rng_below(&rng, 4) == 0 ? 1025 : 60);
            size_t room = mailbox_room(m);
            uint8_t *at = mailbox_reserve(m, reserve);
            if (room >= reserve) assert_non_null(at); /* what surely fits does fit */
            if (at == NULL) break;
            length[sent] =
                reserve == 0 ? 0 : rng_below(&rng, reserve + 1); /* less than reserved is fine */
            push_filled(m, at, sent, length[sent]);
            sent++;
        }
        if (rng_below(&rng, 2) == 0) {
            assert_int_equal(mailbox_publish(m), sent > published);
            published = sent;
        }
        assert_int_equal(mailbox_pending(m), published > got);
        void *at = NULL;
        size_t len = 0;
        for (uint64_t take = rng_below(&rng, 8); take > 0 && mailbox_next(m, &at, &len); take--) {
            assert_true(got < published);
            assert_int_equal(len, length[got]);
            check_filled(at, got, len);
            got++;
        }
        if (rng_below(&rng, 3) > 0) mailbox_release(m);
    }
    mailbox_free(m);
    assert_int_equal(mem_live_bytes(MEM_RT), 0);
}

static void test_full_and_given_back(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new(1024);
    uint32_t sent = 0;
    void *at = NULL;
    size_t len = 0;
    for (uint8_t *room = mailbox_reserve(m, 100); room != NULL; room = mailbox_reserve(m, 100))
        push_filled(m, room, sent++, 100);
    assert_int_equal(sent, 1024 / 112);
    assert_true(mailbox_room(m) < 100);
    assert_false(mailbox_pending(m));
    assert_false(mailbox_next(m, &at, &len)); /* not published */
    assert_true(mailbox_publish(m));
    assert_false(mailbox_publish(m));
    assert_true(mailbox_next(m, &at, &len));
    assert_null(mailbox_reserve(m, 100));     /* taken, not released */
    assert_true(mailbox_release(m));          /* the producer may be waiting for it */
    assert_false(mailbox_release(m));         /* nothing new */
    assert_non_null(mailbox_reserve(m, 100)); /* but not pushed: given up */
    assert_non_null(mailbox_reserve(m, 90));
    mailbox_push(m, 0);
    assert_true(mailbox_publish(m));
    for (uint32_t i = 1; i < sent; i++) {
        assert_true(mailbox_next(m, &at, &len));
        check_filled(at, i, len);
    }
    assert_true(mailbox_next(m, &at, &len));
    assert_int_equal(len, 0);
    assert_false(mailbox_next(m, &at, &len));
    assert_false(mailbox_pending(m));
    assert_true(mailbox_release(m));
    assert_int_equal(mailbox_room(m), 256);
    for (uint32_t i = 0; i < 20; i++) { /* nearly empty: nobody can be waiting */
        assert_non_null(mailbox_reserve(m, 100));
        mailbox_push(m, 100);
        assert_true(mailbox_publish(m));
        assert_true(mailbox_next(m, &at, &len));
        assert_false(mailbox_release(m));
    }
    mailbox_free(m);
}

/* Whatever the steps of both sides: before the ring is empty, a producer without room is rung for. */
static void test_a_producer_without_room_is_rung_for(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 15);
    struct mailbox *m = mailbox_new(16384);
    void *at;
    size_t len;
    for (uint32_t round = 0; round < 5000; round++) {
        while (mailbox_room(m) >= 1024) {
            assert_non_null(mailbox_reserve(m, 1024));
            mailbox_push(m, rng_below(&rng, 1025));
            if (rng_below(&rng, 4) == 0) (void)mailbox_publish(m);
            if (rng_below(&rng, 4) == 0 && mailbox_next(m, &at, &len)) (void)mailbox_release(m);
        }
        (void)mailbox_publish(m); /* and now it sleeps */
        bool rung = false;
        while (mailbox_pending(m)) {
            for (uint64_t take = 1 + rng_below(&rng, 30); take > 0; take--)
                if (!mailbox_next(m, &at, &len)) break;
            if (mailbox_release(m) && mailbox_room(m) >= 1024) rung = true;
        }
        assert_true(rung);
    }
    mailbox_free(m);
}

/* ---- messages for which there need be no room */

#define RING 4096u
#define HEAD 8u

static uint64_t ring_bytes(uint64_t bytes)
{
    return HEAD + ((bytes + 7) & ~UINT64_C(7));
}

/* What a message from `tail` on takes: what it leaves unused at the end of the ring, too. */
static uint64_t span_of(uint64_t tail, uint64_t bytes)
{
    uint64_t to_end = RING - tail % RING, need = ring_bytes(bytes);
    return need <= to_end ? need : to_end + need;
}

static void test_spare_is_what_leaves_five_eighths(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 23);
    struct mailbox *m = mailbox_new(RING);
    uint64_t tail = 0, published = 0, head = 0, taken = 0, yes = 0, skips = 0;
    for (uint32_t step = 0; step < 200000; step++) {
        size_t bytes = rng_below(&rng, 1025), len;
        uint64_t span = span_of(tail, bytes);
        bool spare = tail - taken + span <= RING / 8 * 3;
        assert_int_equal(mailbox_has_spare(m, bytes), spare);
        yes += spare;
        if (spare) {
            assert_non_null(mailbox_reserve(m, bytes));
            skips += span > ring_bytes(bytes);
            mailbox_push(m, bytes);
            tail += span;
        }
        if (rng_below(&rng, 2) == 0) {
            (void)mailbox_publish(m);
            published = tail;
        }
        void *at;
        if (rng_below(&rng, 2) == 0 && head < published) {
            assert_true(mailbox_next(m, &at, &len));
            head += span_of(head, len);
        }
        if (rng_below(&rng, 3) == 0) {
            mailbox_release(m);
            taken = head;
        }
    }
    assert_true(yes > 10000);
    assert_true(skips > 100);
    mailbox_free(m);
}

static void test_spare_to_the_byte(void **state)
{
    (void)state;
    struct mailbox *m = mailbox_new(RING);
    void *at;
    size_t len;
    assert_true(mailbox_has_spare(m, 1024)); /* 1,032 of the 1,536 */
    assert_non_null(mailbox_reserve(m, 1024));
    mailbox_push(m, 1024);
    assert_true(mailbox_has_spare(m, 496)); /* and 504: to the last of them */
    assert_false(mailbox_has_spare(m, 497));
    assert_non_null(mailbox_reserve(m, 1024)); /* for others there is room */
    mailbox_push(m, 1024);
    assert_false(mailbox_has_spare(m, 0));
    assert_true(mailbox_publish(m));
    while (mailbox_next(m, &at, &len))
        ;
    assert_false(mailbox_has_spare(m, 0)); /* taken, not released */
    mailbox_release(m);
    assert_true(
        mailbox_has_spare(m, 1024)); /* the copy of the other side's position is refreshed */
    assert_non_null(mailbox_reserve(m, 1000));
    mailbox_push(m, 1000); /* 1,024 from the end */
    assert_true(mailbox_publish(m));
    assert_true(mailbox_next(m, &at, &len));
    mailbox_release(m);
    assert_true(mailbox_has_spare(m, 1016));  /* up to the end of the ring */
    assert_false(mailbox_has_spare(m, 1017)); /* 1,024 left unused and 1,032 */
    mailbox_free(m);
}

/* As answers are sent (node/place.c): half of the ring in credit, each a message of this size, and what is spare. */
static void test_what_is_spare_is_nobodys_room(void **state)
{
    (void)state;
    enum { SIZE = 1 << 16, CREDIT_BYTES = 312, CREDIT = SIZE / 2 / CREDIT_BYTES };
    struct rng rng;
    rng_seed(&rng, 31);
    struct mailbox *m = mailbox_new(SIZE);
    uint32_t spare_sent = 0;
    void *at;
    size_t len;
    for (uint32_t round = 0; round < 2000; round++) {
        uint32_t owed =
            CREDIT; /* all of it is asked for, then answered with nobody taking anything */
        while (owed > 0) {
            size_t bytes = rng_below(&rng, 4097);
            if (rng_below(&rng, 4) > 0 && mailbox_has_spare(m, bytes)) {
                assert_non_null(mailbox_reserve(m, bytes));
                mailbox_push(m, bytes);
                spare_sent++;
            }
            assert_non_null(mailbox_reserve(m, CREDIT_BYTES));
            mailbox_push(m, CREDIT_BYTES);
            owed--;
        }
        (void)mailbox_publish(m);
        while (mailbox_next(m, &at, &len))
            ;
        mailbox_release(m);
    }
    assert_true(spare_sent > 2000);
    mailbox_free(m);
}

/* ---- two threads */

struct pair {
    struct mailbox *there, *back;
    uint32_t messages, batch;
    uint64_t sum;
};

/* Answers each message with its number; gives room back once per drain, as a shard does. */
static void *echo(void *arg)
{
    struct pair *p = arg;
    uint32_t got = 0;
    while (got < p->messages) {
        void *at = NULL;
        size_t len = 0;
        bool any = false;
        while (mailbox_room(p->back) >= 8 && mailbox_next(p->there, &at, &len)) {
            uint32_t number = 0;
            memcpy(&number, at, 4);
            if (number != got) return NULL; /* the other side sees the wrong sum */
            check_filled((uint8_t *)at + 8, number, len - 8);
            uint8_t *answer = mailbox_reserve(p->back, 8);
            memcpy(answer, &number, 4);
            mailbox_push(p->back, 8);
            got++;
            any = true;
        }
        mailbox_release(p->there);
        (void)mailbox_publish(p->back);
        if (!any) sched_yield();
    }
    return p;
}

static void *drive(struct pair *p, bool varied)
{
    uint32_t sent = 0, got = 0;
    while (got < p->messages) {
        for (uint32_t i = 0; i < p->batch && sent < p->messages; i++) {
            size_t len = 8 + (varied ? sent * 37 % 500 : 56);
            uint8_t *at = mailbox_reserve(p->there, len);
            if (at == NULL) break;
            memcpy(at, &sent, 4);
            if (varied) {
                for (size_t b = 8; b < len; b++)
                    at[b] = (uint8_t)(sent + b - 8);
            } else {
                for (size_t b = 8; b < 64; b++)
                    at[b] = (uint8_t)(sent + b - 8);
            }
            mailbox_push(p->there, len);
            sent++;
        }
        (void)mailbox_publish(p->there);
        void *at = NULL;
        size_t len = 0;
        bool any = false;
        while (mailbox_next(p->back, &at, &len)) {
            uint32_t number = 0;
            memcpy(&number, at, 4);
            p->sum += number;
            got++;
            any = true;
        }
        mailbox_release(p->back);
        if (!any) sched_yield();
    }
    return p;
}

static void test_two_threads(void **state)
{
    (void)state;
    struct pair p = {
        .there = mailbox_new(8192), .back = mailbox_new(1024), .messages = 30000, .batch = 20};
    pthread_t t;
    void *result = NULL;
    assert_int_equal(pthread_create(&t, NULL, echo, &p), 0);
    (void)drive(&p, true);
    pthread_join(t, &result);
    assert_ptr_equal(result, &p);
    assert_int_equal(p.sum, (uint64_t)p.messages * (p.messages - 1) / 2);
    assert_false(mailbox_pending(p.there));
    mailbox_free(p.there);
    mailbox_free(p.back);
    assert_int_equal(mem_live_bytes(MEM_RT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lengths_and_batches),
        cmocka_unit_test(test_full_and_given_back),
        cmocka_unit_test(test_a_producer_without_room_is_rung_for),
        cmocka_unit_test(test_spare_is_what_leaves_five_eighths),
        cmocka_unit_test(test_spare_to_the_byte),
        cmocka_unit_test(test_what_is_spare_is_nobodys_room),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
