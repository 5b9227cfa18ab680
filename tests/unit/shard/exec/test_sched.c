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

/* Who is granted by e's leaving. */
static struct sched_entry *leave_one(struct sched *s, struct sched_entry *e)
{
    sched_leave(s, e);
    struct sched_entry *first = NULL, **tail = &first, *g;
    while ((g = sched_next_granted(s)) != NULL) {
        *tail = g;
        tail = &g->next;
    }
    *tail = NULL;
    return first;
}

static uint32_t recalls;
static bool has_begun;

static bool on_recall(struct sched_entry *e)
{
    assert_int_equal(e->waits, 0);
    assert_false(e->lone);
    recalls += !has_begun;
    return !has_begun;
}

static void test_readers_go_together_and_a_writer_waits(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry r1, r2, w, r3;
    const uint64_t a[] = {A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &r1, 2, SCHED_READ, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &r2, 1, SCHED_READ, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &w, 3, SCHED_WRITE, a, 1, 0), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &r3, 4, SCHED_READ, a, 1, 0),
                     SCHED_WAITS); /* behind the writer */
    assert_null(leave_one(&s, &r1));
    assert_ptr_equal(leave_one(&s, &r2), &w);
    assert_null(w.next);
    assert_ptr_equal(leave_one(&s, &w), &r3);
    assert_null(leave_one(&s, &r3));
    assert_empty(&s);
}

static void test_who_gives_up_lets_others_pass(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry r, w, r2;
    const uint64_t a[] = {A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &r, 1, SCHED_READ, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &w, 2, SCHED_WRITE, a, 1, 0), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &r2, 3, SCHED_READ, a, 1, 0), SCHED_WAITS);
    assert_ptr_equal(leave_one(&s, &w), &r2);
    assert_null(leave_one(&s, &r2));
    assert_null(leave_one(&s, &r));
    assert_empty(&s);
}

static void test_a_smaller_ticket_goes_in_front(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, x, y;
    const uint64_t a[] = {A}, ba[] = {B, A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &w, 5, SCHED_WRITE, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &y, 7, SCHED_WRITE, a, 1, 0), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &x, 6, SCHED_WRITE, ba, 2, 0), SCHED_WAITS);
    assert_ptr_equal(leave_one(&s, &w), &x);
    assert_ptr_equal(leave_one(&s, &x), &y);
    assert_null(leave_one(&s, &y));
    assert_empty(&s);
}

static void test_what_was_granted_is_taken_back_until_it_has_begun(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, x, z;
    const uint64_t a[] = {A}, ab[] = {A, B};
    sched_init(&s);
    s.recall = on_recall;
    recalls = 0;
    has_begun = false;
    assert_int_equal(sched_arrive(&s, &w, 5, SCHED_WRITE, ab, 2, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &x, 4, SCHED_WRITE, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(recalls, 1);
    assert_int_equal(w.waits, 1);
    has_begun = true;
    assert_int_equal(sched_arrive(&s, &z, 3, SCHED_WRITE, ab, 2, 0), SCHED_WAITS); /* has b */
    assert_int_equal(recalls, 1); /* for b nobody was asked: w waits for a */
    assert_int_equal(w.waits, 2);
    assert_ptr_equal(leave_one(&s, &x), &z);
    assert_ptr_equal(leave_one(&s, &z), &w);
    assert_null(leave_one(&s, &w));
    assert_empty(&s);
}

static void test_what_is_taken_back_before_anybody_asked_is_not_returned(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry first, w, x;
    const uint64_t a[] = {A};
    sched_init(&s);
    s.recall = on_recall;
    has_begun = true;
    recalls = 0;
    assert_int_equal(sched_arrive(&s, &first, 2, SCHED_WRITE, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &w, 5, SCHED_WRITE, a, 1, 0), SCHED_WAITS);
    sched_leave(&s, &first);
    assert_true(w.listed);
    assert_int_equal(sched_arrive(&s, &x, 4, SCHED_WRITE, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(recalls, 0);
    assert_ptr_equal(sched_next_granted(&s), NULL);
    sched_leave(&s, &x);
    assert_true(w.listed);
    sched_leave(&s, &w); /* gives up before it hears of it */
    assert_ptr_equal(sched_next_granted(&s), NULL);
    assert_empty(&s);
}

static void test_none_overtakes_what_its_connection_sent_before(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, lone, x, again;
    const uint64_t a[] = {A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &w, 7, SCHED_WRITE, a, 1, 98), SCHED_GRANTED);
    assert_int_equal(sched_wait(&s, &lone, SCHED_READ, a, 1, 99), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &x, 6, SCHED_WRITE, a, 1, 99), SCHED_REFUSED);
    assert_int_equal(sched_arrive(&s, &again, 8, SCHED_WRITE, a, 1, 99), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &x, 6, SCHED_WRITE, a, 1, 98), SCHED_WAITS);
    assert_ptr_equal(leave_one(&s, &w), &x);
    assert_ptr_equal(leave_one(&s, &x), &lone);
    assert_ptr_equal(leave_one(&s, &lone), &again);
    assert_null(leave_one(&s, &again));
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
    assert_int_equal(sched_arrive(&s, &w, 7, SCHED_WRITE, a, 1, 0), SCHED_GRANTED);
    assert_true(sched_must_wait(&s, SCHED_READ, ab, 2, 0));
    assert_false(sched_must_wait(&s, SCHED_READ, b, 1, 0));
    assert_int_equal(sched_wait(&s, &lone, SCHED_WRITE, ab, 2, 0), SCHED_WAITS);
    assert_int_equal(lone.ticket, 7);
    assert_true(sched_must_wait(&s, SCHED_READ, b, 1, 0));
    assert_int_equal(sched_arrive(&s, &x, 6, SCHED_WRITE, b, 1, 0), SCHED_GRANTED);
    assert_int_equal(lone.waits, 2); /* it had b, and had not run */
    assert_int_equal(sched_arrive(&s, &y, 8, SCHED_WRITE, b, 1, 0), SCHED_WAITS);
    assert_null(leave_one(&s, &x));
    assert_ptr_equal(leave_one(&s, &w), &lone);
    assert_ptr_equal(leave_one(&s, &lone), &y);
    assert_null(leave_one(&s, &y));
    assert_empty(&s);
}

static void test_order_of_a_connection(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, first, second;
    const uint64_t a[] = {A}, b[] = {B};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &w, 7, SCHED_WRITE, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(sched_wait(&s, &first, SCHED_READ, a, 1, 99), SCHED_WAITS);
    assert_false(sched_must_wait(&s, SCHED_READ, b, 1, 98));
    assert_true(sched_must_wait(&s, SCHED_READ, b, 1, 99));
    assert_int_equal(sched_wait(&s, &second, SCHED_READ, b, 1, 99), SCHED_WAITS);
    assert_ptr_equal(leave_one(&s, &w), &first);
    assert_ptr_equal(leave_one(&s, &first), &second);
    assert_null(leave_one(&s, &second));
    assert_empty(&s);
}

static void test_all_of_a_shard(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry r, keys, w, flush, late;
    const uint64_t a[] = {A}, aa[] = {A, A, A};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &r, 1, SCHED_READ, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &keys, 2, SCHED_ALL_READ, NULL, 0, 0), SCHED_GRANTED);
    assert_true(sched_holds(&s, B));
    assert_int_equal(sched_arrive(&s, &w, 3, SCHED_WRITE, aa, 3, 0), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &flush, 4, SCHED_ALL_WRITE, NULL, 0, 0), SCHED_WAITS);
    assert_true(sched_must_wait(&s, SCHED_READ, NULL, 0, 0));
    assert_int_equal(sched_arrive(&s, &late, 5, SCHED_READ, a, 1, 0), SCHED_WAITS);
    assert_null(leave_one(&s, &r));
    assert_ptr_equal(leave_one(&s, &keys), &w);
    assert_ptr_equal(leave_one(&s, &w), &flush);
    assert_ptr_equal(leave_one(&s, &flush), &late);
    assert_null(leave_one(&s, &late));
    assert_empty(&s);
}

static void test_who_serves_goes_in_front(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry w, lone, both, tx, first, beside, second, late, small;
    const uint64_t a[] = {A}, ab[] = {A, B};
    sched_init(&s);
    assert_int_equal(sched_arrive(&s, &w, 5, SCHED_WRITE, a, 1, 0), SCHED_GRANTED);
    assert_int_equal(sched_wait(&s, &both, SCHED_WRITE, ab, 2, 0), SCHED_WAITS); /* has b */
    assert_int_equal(sched_arrive(&s, &tx, 7, SCHED_READ, a, 1, 0), SCHED_WAITS);
    assert_int_equal(sched_wait(&s, &lone, SCHED_READ, a, 1, 9), SCHED_WAITS);
    assert_int_equal(sched_serve(&s, &first, B), SCHED_GRANTED);
    assert_int_equal(both.waits, 2);
    assert_int_equal(sched_serve(&s, &beside, B), SCHED_GRANTED); /* they go together */
    assert_null(leave_one(&s, &beside));
    assert_int_equal(sched_serve(&s, &second, A), SCHED_WAITS);
    assert_true(sched_must_wait(&s, SCHED_READ, ab + 1, 1, 0));
    assert_int_equal(sched_arrive(&s, &late, 100, SCHED_READ, a, 1, 0), SCHED_WAITS);
    assert_int_equal(sched_arrive(&s, &small, 1, SCHED_WRITE, a, 1, 0), SCHED_WAITS);
    assert_ptr_equal(leave_one(&s, &w), &second);
    assert_ptr_equal(leave_one(&s, &second), &small);
    assert_null(leave_one(&s, &small)); /* both still waits for b, and all others for both */
    assert_ptr_equal(leave_one(&s, &first), &both);
    struct sched_entry *readers = leave_one(&s, &both);
    assert_ptr_equal(readers, &tx);
    assert_ptr_equal(readers->next, &lone);
    assert_ptr_equal(lone.next, &late);
    assert_null(leave_one(&s, &lone));
    assert_null(leave_one(&s, &tx));
    assert_null(leave_one(&s, &late));
    assert_empty(&s);
}

static void test_who_serves_takes_back_what_has_not_begun(void **state)
{
    (void)state;
    struct sched s;
    struct sched_entry tx, serve, all, second;
    const uint64_t ab[] = {A, B};
    sched_init(&s);
    s.recall = on_recall;
    has_begun = false;
    assert_int_equal(sched_arrive(&s, &tx, 1, SCHED_WRITE, ab, 2, 0), SCHED_GRANTED);
    assert_int_equal(sched_serve(&s, &serve, A), SCHED_GRANTED);
    assert_int_equal(tx.waits, 1);
    assert_ptr_equal(leave_one(&s, &serve), &tx);
    has_begun = true;
    assert_int_equal(sched_serve(&s, &serve, A), SCHED_WAITS);
    assert_ptr_equal(leave_one(&s, &tx), &serve);
    has_begun = false;
    assert_int_equal(sched_arrive(&s, &all, 2, SCHED_ALL_WRITE, NULL, 0, 0), SCHED_WAITS);
    assert_ptr_equal(leave_one(&s, &serve), &all);
    assert_int_equal(sched_serve(&s, &second, B), SCHED_GRANTED);
    assert_int_equal(all.waits, 1);
    assert_ptr_equal(leave_one(&s, &second), &all);
    assert_null(leave_one(&s, &all));
    assert_empty(&s);
}

/* ---- the model: on each key the plain list of those that want it. What it must be like, whatever happened, is told in
 * check_all(). */

#define KEYS 6u /* and two orders, and one for all */
#define ALL (KEYS + 2)
#define LIVE_MAX 64u

struct intent {
    uint32_t key;
    uint8_t mode;
    bool ok; /* granted */
};
struct known {
    struct sched_entry e; /* first */
    uint32_t count;
    struct intent intents[KEYS + 3];
    uint64_t ticket, arrival;
    bool lone, serves, begun, was_ok;
};
struct model {
    struct sched s;
    struct rng rng;
    uint64_t tickets, arrivals;
    struct known *live[LIVE_MAX]; /* in order of arrival */
    uint32_t count;
    uint64_t newest[ALL + 1]; /* on each key, since nobody wanted it */
    uint32_t waited, recalled, passed, refused, lone;
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

static struct intent *on(struct known *k, uint32_t key)
{
    for (uint32_t i = 0; i < k->count; i++)
        if (k->intents[i].key == key) return &k->intents[i];
    return NULL;
}

static bool granted(const struct known *k)
{
    for (uint32_t i = 0; i < k->count; i++)
        if (!k->intents[i].ok) return false;
    return true;
}

/* Nobody takes it back: it has begun, or runs. */
static bool is_firm(const struct known *k)
{
    return granted(k) && (k->begun || k->lone);
}

static bool is_before(const struct known *a, const struct known *b)
{
    return a->ticket != b->ticket ? a->ticket < b->ticket : a->arrival < b->arrival;
}

/* Takes back what is in k's way on this key, and tells whether nothing else is. */
static bool makes_way(struct model *m, struct known *k, uint32_t key)
{
    bool free = true;
    for (uint32_t i = 0; i < m->count; i++) {
        struct known *other = m->live[i];
        struct intent *theirs = on(other, key);
        if (other == k || theirs == NULL || !theirs->ok) continue;
        if (!conflict(theirs->mode, on(k, key)->mode)) continue;
        if (is_before(k, other) && !is_firm(other)) {
            theirs->ok = false;
            m->recalled++;
        } else {
            free = false;
        }
    }
    return free;
}

static struct known *next_of(const struct model *m, uint32_t key)
{
    struct known *next = NULL;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct intent *it = on(m->live[i], key);
        if (it == NULL || it->ok) continue;
        if (next == NULL || is_before(m->live[i], next)) next = m->live[i];
    }
    return next;
}

/* Would it be granted behind all others? */
static bool is_free(const struct model *m, const struct intent *it)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct intent *theirs = on(m->live[i], it->key);
        if (theirs != NULL && (!theirs->ok || conflict(theirs->mode, it->mode))) return false;
    }
    return true;
}

/* k is not in the list yet. */
static void push(struct model *m, struct known *k)
{
    for (uint32_t i = 0; i < k->count; i++) {
        struct intent *mine = &k->intents[i];
        const struct known *first = next_of(m, mine->key);
        mine->ok = first == NULL || is_before(k, first);
        if (mine->ok) mine->ok = makes_way(m, k, mine->key);
        m->passed += mine->ok && first != NULL;
        if (k->ticket > m->newest[mine->key]) m->newest[mine->key] = k->ticket;
    }
}

static void settle(struct model *m)
{
    for (uint32_t key = 0; key <= ALL; key++) {
        bool wanted = false;
        struct known *k;
        while ((k = next_of(m, key)) != NULL && makes_way(m, k, key))
            on(k, key)->ok = true;
        for (uint32_t i = 0; i < m->count; i++)
            wanted |= on(m->live[i], key) != NULL;
        if (!wanted) m->newest[key] = 0;
    }
}

/* What two have goes together; and who waits waits for a smaller one, or for one that has begun: that no circle can close
 * rests on it. */
static void check_key(struct model *m, uint32_t key)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct intent *mine = on(m->live[i], key);
        bool waits_rightly = false;
        for (uint32_t j = 0; j < m->count && mine != NULL; j++) {
            const struct intent *theirs = on(m->live[j], key);
            if (j == i || theirs == NULL) continue;
            if (mine->ok && theirs->ok) assert_false(conflict(mine->mode, theirs->mode));
            waits_rightly |= is_before(m->live[j], m->live[i]) || is_firm(m->live[j]);
        }
        assert_true(mine == NULL || mine->ok || waits_rightly);
    }
}

static void check_all(struct model *m)
{
    for (uint32_t key = 0; key <= ALL; key++)
        check_key(m, key);
    for (struct sched_entry *e; (e = sched_next_granted(&m->s)) != NULL;) {
        struct known *k = (struct known *)(void *)e;
        assert_false(k->was_ok);
        k->was_ok = true;
    }
    for (uint32_t i = 0; i < m->count; i++) {
        struct known *k = m->live[i];
        uint32_t waits = 0;
        for (uint32_t n = 0; n < k->count; n++)
            waits += !k->intents[n].ok;
        assert_int_equal(k->e.waits, waits);
        if (waits > 0) k->was_ok = false; /* taken back */
        assert_int_equal(k->was_ok, waits == 0);
    }
}

static bool on_recall_of_model(struct sched_entry *e)
{
    return !((struct known *)(void *)e)->begun;
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

static bool overtakes(struct model *m, const struct known *k, uint64_t order)
{
    for (uint32_t key = KEYS; key < ALL; key++)
        if (order == fingerprint(key) && m->newest[key] > k->ticket) return true;
    return false;
}

static void add(struct model *m, struct known *k)
{
    k->arrival = ++m->arrivals;
    push(m, k);
    m->live[m->count++] = k;
    k->was_ok = granted(k);
}

static bool arrive_lone(struct model *m, struct known *k, uint8_t mode, const uint64_t *keys,
                        uint32_t count, uint64_t order)
{
    bool free = true;
    k->ticket = 1;
    for (uint32_t i = 0; i < k->count; i++) {
        if (is_free(m, &k->intents[i])) continue;
        free = false;
        uint64_t newest = m->newest[k->intents[i].key];
        if (newest > k->ticket) k->ticket = newest;
    }
    assert_int_equal(sched_must_wait(&m->s, mode, keys, count, order), !free);
    if (free) return false;
    assert_int_equal(sched_wait(&m->s, &k->e, mode, keys, count, order), SCHED_WAITS);
    assert_int_equal(k->e.ticket, k->ticket);
    m->lone++;
    add(m, k);
    return true;
}

static bool is_taken(const struct model *m, uint64_t ticket)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (!m->live[i]->lone && m->live[i]->ticket == ticket) return true;
    return false;
}

static bool arrive_tx(struct model *m, struct known *k, uint8_t mode, const uint64_t *keys,
                      uint32_t count)
{
    uint64_t order = rng_below(&m->rng, 2) == 0 ? fingerprint(KEYS) : 0;
    m->tickets += 4;
    k->ticket = m->tickets - (rng_below(&m->rng, 3) == 0 ? 4 * rng_below(&m->rng, 12) : 0);
    while (is_taken(m, k->ticket))
        k->ticket++;
    enum sched_verdict v = sched_arrive(&m->s, &k->e, k->ticket, mode, keys, count, order);
    if (overtakes(m, k, order)) {
        assert_int_equal(v, SCHED_REFUSED);
        m->refused++;
        return false;
    }
    add(m, k);
    assert_int_equal(v, k->was_ok ? SCHED_GRANTED : SCHED_WAITS);
    m->waited += v == SCHED_WAITS;
    return true;
}

static void arrive(struct model *m)
{
    struct known *k = test_calloc(1, sizeof *k);
    uint64_t keys[4], order;
    uint8_t mode;
    uint32_t count;
    k->lone = rng_below(&m->rng, 3) == 0;
    draw(m, k, &mode, keys, &count, &order);
    if (!(k->lone ? arrive_lone(m, k, mode, keys, count, order)
                  : arrive_tx(m, k, mode, keys, count)))
        test_free(k);
}

static void serve(struct model *m)
{
    struct known *k = test_calloc(1, sizeof *k);
    uint32_t key = (uint32_t)rng_below(&m->rng, KEYS);
    *k = (struct known){.lone = true, .serves = true};
    k->intents[k->count++] = (struct intent){.key = ALL, .mode = SCHED_WRITE};
    k->intents[k->count++] = (struct intent){.key = key, .mode = SCHED_SERVE};
    enum sched_verdict v = sched_serve(&m->s, &k->e, fingerprint(key));
    add(m, k);
    assert_int_equal(v, k->was_ok ? SCHED_GRANTED : SCHED_WAITS);
}

static void leave(struct model *m)
{
    uint32_t i = (uint32_t)rng_below(&m->rng, m->count);
    struct known *k = m->live[i];
    if (granted(k) && !k->lone && !k->begun && rng_below(&m->rng, 2) == 0) {
        k->begun = true;
        return;
    }
    if (!is_firm(k) && rng_below(&m->rng, 4) != 0) return; /* gives up now and then */
    memmove(&m->live[i], &m->live[i + 1], (m->count - i - 1) * sizeof m->live[0]);
    m->count--;
    sched_leave(&m->s, &k->e);
    settle(m);
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
    uint32_t recalled = 0, passed = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct model m = {.count = 0};
        rng_seed(&m.rng, seed);
        sched_init(&m.s);
        m.tickets = 100;
        m.s.recall = on_recall_of_model;
        uint64_t crowd = 4 + rng_below(&m.rng, 20);
        for (uint32_t step = 0; step < 600; step++) {
            if (m.count < crowd && seed % 2 == 0 && rng_below(&m.rng, 12) == 0)
                serve(&m);
            else if (m.count < crowd && rng_below(&m.rng, 2) == 0)
                arrive(&m);
            else if (m.count > 0)
                leave(&m);
            check_all(&m);
            if (step % 16 == 0) check_holds(&m);
        }
        while (m.count > 0) {
            leave(&m);
            check_all(&m);
        }
        assert_true(m.waited > 0);
        assert_true(m.lone > 0);
        recalled += m.recalled;
        passed += m.passed;
        refused += m.refused;
        assert_empty(&m.s);
    }
    assert_true(recalled > 1000);
    assert_true(passed > 1000);
    assert_true(refused > 100);
}

/* ---- size and failure */

/* Whatever the order in which they come, and whoever leaves first: 10,000 on one key take a few steps each. */
static void test_a_long_queue_takes_few_steps(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct sched s;
    struct sched_entry *e = test_calloc(N, sizeof *e), *next;
    const uint64_t a[] = {A};
    uint64_t *tickets = test_malloc(N * sizeof *tickets);
    struct rng rng;
    rng_seed(&rng, 7);
    for (uint32_t way = 0; way < 5; way++) {
        enum { RISING, FALLING, SHUFFLED, NEWEST_LEAVES_FIRST, READERS };
        sched_init(&s);
        s.recall = on_recall;
        has_begun = true;
        for (uint32_t i = 0; i < N; i++)
            tickets[i] = way == FALLING ? N - i : i + 1;
        for (uint32_t i = N - 1; way == SHUFFLED && i > 0; i--) {
            uint64_t j = rng_below(&rng, i + 1), t = tickets[i];
            tickets[i] = tickets[j];
            tickets[j] = t;
        }
        sched_steps = 0;
        for (uint32_t i = 0; i < N; i++) {
            enum sched_mode mode = way == READERS && i % 100 != 0 ? SCHED_READ : SCHED_WRITE;
            enum sched_verdict v = sched_arrive(&s, &e[i], tickets[i], mode, a, 1, 0);
            assert_int_equal(v, i == 0 ? SCHED_GRANTED : SCHED_WAITS);
        }
        for (uint32_t i = N; way == NEWEST_LEAVES_FIRST && i-- > 1;)
            sched_leave(&s, &e[i]);
        sched_leave(&s, &e[0]);
        for (uint64_t last = 0; (next = sched_next_granted(&s)) != NULL; sched_leave(&s, next)) {
            assert_true(next->ticket > last);
            last = next->ticket;
        }
        assert_true(sched_steps < 40 * N);
        assert_empty(&s);
    }
    test_free(tickets);
    test_free(e);
}

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
    assert_int_equal(sched_arrive(&s, &e, 1, SCHED_WRITE, keys, N, 0), SCHED_GRANTED);
    assert_int_equal(sched_arrive(&s, &second, 2, SCHED_READ, keys, N, 0), SCHED_WAITS);
    assert_ptr_equal(leave_one(&s, &e), &second);
    assert_null(leave_one(&s, &second));
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
        enum sched_verdict v = sched_arrive(&s, &w, 1, SCHED_WRITE, keys, N, 0);
        enum sched_verdict v2 =
            v == SCHED_GRANTED ? sched_wait(&s, &e, SCHED_READ, keys, N, 0) : SCHED_NOMEM;
        fired = mem_fault_disarm();
        assert_int_equal(s.entries, (v == SCHED_GRANTED) + (v2 == SCHED_WAITS));
        if (!fired) assert_int_equal(v2, SCHED_WAITS);
        if (v2 == SCHED_WAITS) {
            assert_ptr_equal(leave_one(&s, &w), &e);
            assert_null(leave_one(&s, &e));
        } else if (v == SCHED_GRANTED) {
            assert_null(leave_one(&s, &w));
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
        cmocka_unit_test(test_a_smaller_ticket_goes_in_front),
        cmocka_unit_test(test_what_was_granted_is_taken_back_until_it_has_begun),
        cmocka_unit_test(test_what_is_taken_back_before_anybody_asked_is_not_returned),
        cmocka_unit_test(test_none_overtakes_what_its_connection_sent_before),
        cmocka_unit_test(test_lone_commands_inherit),
        cmocka_unit_test(test_order_of_a_connection),
        cmocka_unit_test(test_all_of_a_shard),
        cmocka_unit_test(test_who_serves_goes_in_front),
        cmocka_unit_test(test_who_serves_takes_back_what_has_not_begun),
        cmocka_unit_test(test_against_the_model),
        cmocka_unit_test(test_a_long_queue_takes_few_steps),
        cmocka_unit_test(test_many_keys_and_memory_comes_back),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
