/* The scheduler of a shard against a model that keeps plain lists and works everything out anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/rng.h"
#include "shard/exec/sched.h"

/* ---- directed */

#define A UINT64_C(0xa000000)
#define B UINT64_C(0xb000000)

static void assert_empty(struct sched *s)
{
    assert_true(sched_is_empty(s));
    assert_null(s->all);
    assert_int_equal(s->slots_used, 0);
    assert_int_equal(s->free_count, s->nodes_count);
    sched_fini(s);
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0);
}

static void test_readers_go_together_and_a_writer_waits(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry r1, r2, w, r3;
    const uint64_t a[] = {A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &r1, 2, SCHED_READ, a, 1), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &r2, 1, SCHED_READ, a, 1), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &w, 3, SCHED_WRITE, a, 1), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &r3, 4, SCHED_READ, a, 1),
                     SCHED_WAITS); /* behind the writer */
    assert_null(sched_leave(&s, &r1));
    assert_ptr_equal(sched_leave(&s, &r2), &w);
    assert_null(w.next);
    assert_ptr_equal(sched_leave(&s, &w), &r3);
    assert_null(sched_leave(&s, &r3));
    assert_empty(&s);
}

static void test_who_gives_up_lets_others_pass(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry r, w, r2;
    const uint64_t a[] = {A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &r, 1, SCHED_READ, a, 1), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &w, 2, SCHED_WRITE, a, 1), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &r2, 3, SCHED_READ, a, 1), SCHED_WAITS);
    assert_ptr_equal(sched_leave(&s, &w), &r2);
    assert_null(sched_leave(&s, &r2));
    assert_null(sched_leave(&s, &r));
    assert_empty(&s);
}

static void test_smaller_ticket_behind_larger_is_refused(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, x, last, z;
    const uint64_t a[] = {A}, ba[] = {B, A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &w, 5, SCHED_WRITE, a, 1), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &x, 4, SCHED_WRITE, ba, 2), SCHED_REFUSED);
    assert_false(sched_holds(&s, B)); /* nothing was kept */
    assert_int_equal(sched_arrive(&s, &last, SCHED_TICKET_LAST, SCHED_WRITE, ba, 2), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &z, 100, SCHED_READ, ba, 1), SCHED_REFUSED);
    assert_ptr_equal(sched_leave(&s, &w), &last);
    assert_null(sched_leave(&s, &last));
    assert_empty(&s);
}

static void test_lone_commands_inherit(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, lone, x, y;
    const uint64_t a[] = {A}, b[] = {B}, ab[] = {A, B};
    sched_init(&s);
    assert_false(sched_must_wait(&s, SCHED_WRITE, ab, 2, 0));
    assert_int_equal(sched_arrive(&s, &w, 7, SCHED_WRITE, a, 1), SCHED_GRANTED);
    assert_true(sched_must_wait(&s, SCHED_READ, ab, 2, 0));
    assert_false(sched_must_wait(&s, SCHED_READ, b, 1, 0));
    assert_int_equal(sched_wait(&s, &lone, SCHED_WRITE, ab, 2, 0), SCHED_WAITS);
    assert_int_equal(lone.ticket, 7);
    assert_true(sched_must_wait(&s, SCHED_READ, b, 1, 0));
    assert_int_equal(sched_arrive(&s, &x, 6, SCHED_WRITE, b, 1), SCHED_REFUSED);
    assert_int_equal(sched_arrive(&s, &y, 8, SCHED_WRITE, b, 1), SCHED_WAITS);
    assert_ptr_equal(sched_leave(&s, &w), &lone);
    assert_ptr_equal(sched_leave(&s, &lone), &y);
    assert_null(sched_leave(&s, &y));
    assert_empty(&s);
}

static void test_order_of_a_connection(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, first, second;
    const uint64_t a[] = {A}, b[] = {B};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &w, 7, SCHED_WRITE, a, 1), SCHED_GRANTED);
    assert_int_equal(sched_wait(&s, &first, SCHED_READ, a, 1, 99), SCHED_WAITS);
    assert_false(sched_must_wait(&s, SCHED_READ, b, 1, 98));
    assert_true(sched_must_wait(&s, SCHED_READ, b, 1, 99));
    assert_int_equal(sched_wait(&s, &second, SCHED_READ, b, 1, 99), SCHED_WAITS);
    assert_ptr_equal(sched_leave(&s, &w), &first);
    assert_ptr_equal(sched_leave(&s, &first), &second);
    assert_null(sched_leave(&s, &second));
    assert_empty(&s);
}

static void test_all_of_a_shard(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry r, keys, w, flush, late;
    const uint64_t a[] = {A}, aa[] = {A, A, A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &r, 1, SCHED_READ, a, 1), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &keys, 2, SCHED_ALL_READ, NULL, 0), SCHED_GRANTED);
    assert_true(sched_holds(&s, B));
    assert_int_equal(sched_arrive(&s, &w, 3, SCHED_WRITE, aa, 3), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &flush, 4, SCHED_ALL_WRITE, NULL, 0), SCHED_WAITS);
    assert_true(sched_must_wait(&s, SCHED_READ, NULL, 0, 0));
    assert_int_equal(sched_arrive(&s, &late, 5, SCHED_READ, a, 1), SCHED_WAITS);
    assert_null(sched_leave(&s, &r));
    assert_ptr_equal(sched_leave(&s, &keys), &w);
    assert_ptr_equal(sched_leave(&s, &w), &flush);
    assert_ptr_equal(sched_leave(&s, &flush), &late);
    assert_null(sched_leave(&s, &late));
    assert_empty(&s);
}

static void test_who_serves_goes_in_front(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, lone, both, tx, first, beside, second, late, last, *out;
    const uint64_t a[] = {A}, ab[] = {A, B};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &w, 5, SCHED_WRITE, a, 1), SCHED_GRANTED);
    assert_int_equal(sched_wait(&s, &both, SCHED_WRITE, ab, 2, 0), SCHED_WAITS); /* has b */
    assert_int_equal(sched_arrive(&s, &tx, 7, SCHED_READ, a, 1), SCHED_WAITS);
    assert_int_equal(sched_wait(&s, &lone, SCHED_READ, a, 1, 9), SCHED_WAITS);
    assert_int_equal(sched_serve(&s, &first, B, &out), SCHED_GRANTED);
    assert_ptr_equal(out, &tx);
    assert_null(out->next);
    assert_int_equal(sched_serve(&s, &beside, B, &out), SCHED_GRANTED); /* they go together */
    assert_null(sched_leave(&s, &beside));
    assert_int_equal(sched_serve(&s, &second, A, &out), SCHED_WAITS);
    assert_null(out);
    assert_true(sched_must_wait(&s, SCHED_READ, ab + 1, 1, 0));
    assert_int_equal(both.ticket, SCHED_TICKET_SERVES);
    assert_int_equal(sched_arrive(&s, &late, 100, SCHED_READ, a, 1), SCHED_REFUSED);
    assert_int_equal(sched_arrive(&s, &last, SCHED_TICKET_LAST, SCHED_WRITE, a, 1), SCHED_REFUSED);
    assert_ptr_equal(sched_leave(&s, &w), &second);
    assert_null(sched_leave(&s, &second)); /* both still waits for b, and lone for both */
    assert_ptr_equal(sched_leave(&s, &first), &both);
    assert_ptr_equal(sched_leave(&s, &both), &lone);
    assert_null(sched_leave(&s, &lone));
    assert_empty(&s);
}

static void test_who_serves_frees_those_behind_the_refused(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry r, tx, lone, serve, *out;
    const uint64_t b[] = {B}, ab[] = {A, B};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &r, 1, SCHED_WRITE, ab, 1), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &tx, 2, SCHED_WRITE, ab, 2), SCHED_WAITS);
    assert_int_equal(sched_wait(&s, &lone, SCHED_WRITE, b, 1, 0), SCHED_WAITS);
    assert_int_equal(sched_serve(&s, &serve, A, &out), SCHED_WAITS);
    assert_ptr_equal(out, &tx);
    assert_ptr_equal(out->next, &lone);
    assert_null(lone.next);
    assert_null(sched_leave(&s, &lone));
    assert_ptr_equal(sched_leave(&s, &r), &serve);
    assert_null(sched_leave(&s, &serve));
    assert_empty(&s);
}

/* ---- the model */

#define KEYS 6u /* and two orders, and one for all */
#define ALL (KEYS + 2)
#define LIVE_MAX 64u

struct intent {
    uint32_t key;
    uint8_t mode;
};
struct known {
    struct sched_entry e;
    uint32_t count;
    struct intent intents[KEYS + 3];
    uint64_t ticket;
    bool lone, serves, done;
};
struct model {
    struct sched s;
    struct rng rng;
    uint64_t tickets;
    struct known *live[LIVE_MAX]; /* in order of arrival */
    uint32_t count;
    bool ok[LIVE_MAX][ALL + 1];
    uint32_t waited, refused, lone, kicked;
};

static uint64_t fingerprint(uint32_t key)
{
    /* Homes collide on purpose. */
    return key % 3 == 0 ? (UINT64_C(63) << 20) + key : ((uint64_t)key << 20) + 1;
}

static bool conflict(uint8_t a, uint8_t b)
{
    if (a == SCHED_ALL_WRITE || b == SCHED_ALL_WRITE) return true;
    bool reads = a == SCHED_ALL_READ || b == SCHED_ALL_READ;
    return reads && (a == SCHED_WRITE || b == SCHED_WRITE || a == SCHED_SERVE || b == SCHED_SERVE);
}

static const struct intent *on(const struct known *k, uint32_t key)
{
    for (uint32_t i = 0; i < k->count; i++)
        if (k->intents[i].key == key) return &k->intents[i];
    return NULL;
}

/* Works out which intents are granted: none before it on its key that waits or does not go with it. */
static void work_out(struct model *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        for (uint32_t key = 0; key <= ALL; key++) {
            const struct intent *mine = on(m->live[i], key);
            bool ok = true;
            for (uint32_t j = 0; j < i && ok && mine != NULL; j++) {
                const struct intent *theirs = on(m->live[j], key);
                ok = theirs == NULL || (!conflict(theirs->mode, mine->mode) && m->ok[j][key]);
            }
            m->ok[i][key] = ok;
        }
}

static bool granted_on(const struct model *m, uint32_t i, uint32_t key)
{
    return m->ok[i][key];
}

static bool granted(const struct model *m, uint32_t i)
{
    for (uint32_t k = 0; k < m->live[i]->count; k++)
        if (!granted_on(m, i, m->live[i]->intents[k].key)) return false;
    return true;
}

/* The largest ticket in the queues where the last one of the list waits. */
static uint64_t largest_ahead(const struct model *m, uint32_t i)
{
    uint64_t largest = 0;
    for (uint32_t k = 0; k < m->live[i]->count; k++) {
        uint32_t key = m->live[i]->intents[k].key;
        if (granted_on(m, i, key)) continue;
        for (uint32_t j = 0; j < i; j++)
            if (on(m->live[j], key) != NULL && m->live[j]->ticket > largest)
                largest = m->live[j]->ticket;
    }
    return largest;
}

static void draw(struct model *m, struct known *k, uint8_t *mode_out, uint64_t *keys_out,
                 uint32_t *count_out, uint64_t *order_out)
{
    uint8_t mode = (uint8_t)rng_below(&m->rng, 2);
    if (!k->lone && rng_below(&m->rng, 12) == 0) mode = (uint8_t)(mode + SCHED_ALL_READ);
    uint32_t count = mode >= SCHED_ALL_READ ? 0 : (uint32_t)rng_below(&m->rng, 4);
    uint8_t kind = mode == SCHED_WRITE ? SCHED_ALL_WRITE : SCHED_ALL_READ;
    k->count = 0;
    k->intents[k->count++] = (struct intent){.key = ALL, .mode = mode};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = (uint32_t)rng_below(&m->rng, KEYS);
        keys_out[i] = fingerprint(key);
        if (on(k, key) == NULL) k->intents[k->count++] = (struct intent){.key = key, .mode = kind};
    }
    *order_out = 0;
    if (k->lone && rng_below(&m->rng, 2) == 0) {
        uint32_t key = KEYS + (uint32_t)rng_below(&m->rng, 2);
        k->intents[k->count++] = (struct intent){.key = key, .mode = SCHED_ALL_WRITE};
        *order_out = fingerprint(key);
    }
    *mode_out = mode;
    *count_out = count;
}

static void arrive(struct model *m)
{
    struct known *k = test_calloc(1, sizeof *k);
    uint64_t keys[4], order;
    uint8_t mode;
    uint32_t count;
    k->lone = rng_below(&m->rng, 3) == 0;
    draw(m, k, &mode, keys, &count, &order);
    uint32_t me = m->count;
    m->live[m->count++] = k;
    work_out(m);
    bool free = granted(m, me);
    uint64_t largest = largest_ahead(m, me);
    bool keep = true;
    if (k->lone) {
        assert_int_equal(sched_must_wait(&m->s, mode, keys, count, order), !free);
        keep = !free;
        k->ticket = largest;
        if (keep) {
            assert_int_equal(sched_wait(&m->s, &k->e, mode, keys, count, order), SCHED_WAITS);
            assert_int_equal(k->e.ticket, largest);
            m->lone++;
        }
    } else {
        k->ticket = rng_below(&m->rng, 10) == 0  ? SCHED_TICKET_LAST
                    : rng_below(&m->rng, 4) == 0 ? 1 + rng_below(&m->rng, m->tickets)
                                                 : ++m->tickets;
        enum sched_verdict v = sched_arrive(&m->s, &k->e, k->ticket, mode, keys, count);
        bool may = free || k->ticket > largest ||
                   (k->ticket == SCHED_TICKET_LAST && largest == SCHED_TICKET_LAST);
        assert_int_equal(v, !may ? SCHED_REFUSED : free ? SCHED_GRANTED : SCHED_WAITS);
        keep = v != SCHED_REFUSED;
        m->refused += !keep;
        m->waited += v == SCHED_WAITS;
    }
    if (keep) return;
    m->count--;
    test_free(k);
}

/* In front of all that wait: the transactions among them are refused. */
static void serve(struct model *m)
{
    struct known *k = test_calloc(1, sizeof *k), *behind[LIVE_MAX];
    uint32_t key = (uint32_t)rng_below(&m->rng, KEYS), waits = 0, kept = 0;
    struct sched_entry *out;
    *k = (struct known){.lone = true, .serves = true, .ticket = SCHED_TICKET_SERVES};
    k->intents[k->count++] = (struct intent){.key = ALL, .mode = SCHED_WRITE};
    k->intents[k->count++] = (struct intent){.key = key, .mode = SCHED_SERVE};
    work_out(m);
    for (uint32_t i = 0; i < m->count; i++) {
        m->live[i]->done = false;
        if (m->live[i]->serves || granted(m, i))
            m->live[kept++] = m->live[i]; /* granted() looked at i before it moves */
        else
            behind[waits++] = m->live[i];
    }
    m->count = kept;
    m->live[m->count++] = k;
    work_out(m);
    enum sched_verdict v = sched_serve(&m->s, &k->e, fingerprint(key), &out);
    assert_int_equal(v, granted(m, kept) ? SCHED_GRANTED : SCHED_WAITS);
    for (; out != NULL; out = out->next)
        ((struct known *)(void *)out)->done = true;
    for (uint32_t i = 0; i < waits; i++) {
        if (!behind[i]->lone) {
            assert_true(behind[i]->done);
            test_free(behind[i]);
            m->kicked++;
            continue;
        }
        m->live[m->count++] = behind[i];
        work_out(m);
        behind[i]->ticket = largest_ahead(m, m->count - 1);
        assert_int_equal(behind[i]->e.ticket, behind[i]->ticket);
        assert_int_equal(behind[i]->done, granted(m, m->count - 1));
    }
}

static void leave(struct model *m)
{
    uint32_t i = (uint32_t)rng_below(&m->rng, m->count);
    struct known *k = m->live[i];
    work_out(m);
    if (!granted(m, i) && rng_below(&m->rng, 4) != 0) return; /* gives up now and then */
    bool was[LIVE_MAX];
    for (uint32_t j = 0; j < m->count; j++)
        was[j] = granted(m, j);
    memmove(&was[i], &was[i + 1], (m->count - i - 1) * sizeof was[0]);
    memmove(&m->live[i], &m->live[i + 1], (m->count - i - 1) * sizeof m->live[0]);
    m->count--;
    work_out(m);
    struct sched_entry *list = sched_leave(&m->s, &k->e);
    for (uint32_t j = 0; j < m->count; j++)
        m->live[j]->done = false;
    for (; list != NULL; list = list->next)
        ((struct known *)(void *)list)->done = true; /* e is first */
    for (uint32_t j = 0; j < m->count; j++)
        assert_int_equal(m->live[j]->done, granted(m, j) && !was[j]);
    test_free(k);
}

static void check_holds(struct model *m)
{
    for (uint32_t key = 0; key < KEYS; key++) {
        bool held = false;
        for (uint32_t j = 0; j < m->count; j++)
            held |= on(m->live[j], key) != NULL || on(m->live[j], ALL)->mode >= SCHED_ALL_READ;
        assert_int_equal(sched_holds(&m->s, fingerprint(key)), held);
    }
}

static void test_against_the_model(void **state)
{
    (void)state;
    uint32_t kicked = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct model m = {.count = 0, .tickets = 1};
        rng_seed(&m.rng, seed);
        sched_init(&m.s);
        uint64_t crowd = 4 + rng_below(&m.rng, 20);
        for (uint32_t step = 0; step < 600; step++) {
            if (m.count < crowd && seed % 2 == 0 && rng_below(&m.rng, 12) == 0)
                serve(&m);
            else if (m.count < crowd && rng_below(&m.rng, 2) == 0)
                arrive(&m);
            else if (m.count > 0)
                leave(&m);
            if (step % 16 == 0) check_holds(&m);
        }
        while (m.count > 0)
            leave(&m);
        assert_true(seed % 2 == 0 || m.waited > 0);
        assert_true(m.refused > 0);
        assert_true(m.lone > 0);
        kicked += m.kicked;
        assert_empty(&m.s);
    }
    assert_true(kicked > 1000);
}

/* ---- size and failure */

static void test_many_keys_and_memory_comes_back(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct sched s;
    struct sched_entry e, second;
    uint64_t *keys = test_malloc(N * sizeof *keys);
    struct rng rng;
    rng_seed(&rng, 1);
    for (uint32_t i = 0; i < N; i++)
        keys[i] = rng_next(&rng);
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &e, 1, SCHED_WRITE, keys, N), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &second, 2, SCHED_READ, keys, N), SCHED_WAITS);
    assert_ptr_equal(sched_leave(&s, &e), &second);
    assert_null(sched_leave(&s, &second));
    assert_int_equal(mem_live_bytes(MEM_EXEC), 0); /* so many were not kept */
    assert_empty(&s);
    test_free(keys);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    enum { N = 200 };
    uint64_t keys[N];
    for (uint32_t i = 0; i < N; i++)
        keys[i] = fingerprint(i);
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct sched s;
        struct sched_entry w, e;
        sched_init(&s);
        mem_fault_arm(nth);
        enum sched_verdict v = sched_arrive(&s, &w, 1, SCHED_WRITE, keys, N);
        enum sched_verdict v2 =
            v == SCHED_GRANTED ? sched_wait(&s, &e, SCHED_READ, keys, N, 0) : SCHED_NOMEM;
        fired = mem_fault_disarm();
        assert_int_equal(s.entries, (v == SCHED_GRANTED) + (v2 == SCHED_WAITS));
        if (!fired) assert_int_equal(v2, SCHED_WAITS);
        if (v2 == SCHED_WAITS) {
            assert_ptr_equal(sched_leave(&s, &w), &e);
            assert_null(sched_leave(&s, &e));
        } else if (v == SCHED_GRANTED) {
            assert_null(sched_leave(&s, &w));
        } else {
            assert_int_equal(v, SCHED_NOMEM);
        }
        assert_empty(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_go_together_and_a_writer_waits),
        cmocka_unit_test(test_who_gives_up_lets_others_pass),
        cmocka_unit_test(test_smaller_ticket_behind_larger_is_refused),
        cmocka_unit_test(test_lone_commands_inherit),
        cmocka_unit_test(test_order_of_a_connection),
        cmocka_unit_test(test_all_of_a_shard),
        cmocka_unit_test(test_who_serves_goes_in_front),
        cmocka_unit_test(test_who_serves_frees_those_behind_the_refused),
        cmocka_unit_test(test_against_the_model),
        cmocka_unit_test(test_many_keys_and_memory_comes_back),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
