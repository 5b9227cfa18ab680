/* The greatest cut against its definition: of all vectors below the ends that hold every transaction
 * whole or not at all, the largest (there is one: two such vectors' maximum is one again). */
#include "shard/journal/cut.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "shard/base/mem.h"
#include "shard/base/rng.h"

#define LOGS 4u
#define PARTS_MAX 24u

struct world {
    uint64_t ends[LOGS];
    struct journal_part part[PARTS_MAX];
    uint32_t count;
};

static bool is_cut(const struct world *w, const uint64_t *at)
{
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->part[i].lsn >= at[w->part[i].log]) continue;
        /* One part inside: every log that any part names must have one inside. */
        uint64_t needed = 0;
        uint64_t inside = 0;
        for (uint32_t k = 0; k < w->count; k++) {
            const struct journal_part *p = &w->part[k];
            if (p->txid != w->part[i].txid) continue;
            needed |= p->shards_mask;
            if (p->lsn < at[p->log])
                inside |= 1ull << p->log;
            else
                return false; /* a second part of the same log outside */
        }
        if ((needed & ~inside) != 0) return false;
    }
    return true;
}

/* Tries every vector of part positions and ends. */
static void brute_force(const struct world *w, uint64_t *best)
{
    uint64_t at[LOGS] = {0};
    uint64_t choice[LOGS][PARTS_MAX + 1];
    uint32_t choices[LOGS] = {0};
    uint32_t pick[LOGS] = {0};
    for (uint32_t l = 0; l < LOGS; l++) {
        choice[l][choices[l]++] = w->ends[l];
        for (uint32_t i = 0; i < w->count; i++)
            if (w->part[i].log == l) choice[l][choices[l]++] = w->part[i].lsn;
        best[l] = 0;
    }
    while (true) {
        for (uint32_t l = 0; l < LOGS; l++)
            at[l] = choice[l][pick[l]];
        if (is_cut(w, at))
            for (uint32_t l = 0; l < LOGS; l++)
                best[l] = at[l] > best[l] ? at[l] : best[l];
        uint32_t l = 0;
        while (l < LOGS && ++pick[l] == choices[l])
            pick[l++] = 0;
        if (l == LOGS) return;
    }
}

static void draw(struct world *w, struct rng *rng)
{
    uint64_t lsn[LOGS] = {0};
    uint32_t txs = 1 + (uint32_t)rng_below(rng, 8);
    w->count = 0;
    /* Log by log, in a random order of logs; each transaction lacks a part now and then. */
    uint32_t first = (uint32_t)rng_below(rng, LOGS);
    for (uint32_t k = 0; k < LOGS; k++) {
        uint32_t l = (first + k) % LOGS;
        uint32_t parts = (uint32_t)rng_below(rng, 6);
        for (uint32_t i = 0; i < parts; i++) {
            uint64_t txid = 1 + rng_below(rng, txs);
            bool again = false;
            for (uint32_t p = 0; p < w->count; p++)
                again = again || (w->part[p].log == l && w->part[p].txid == txid);
            if (again) continue;
            /* The shards of a transaction follow from its number, as all its parts agree on them. */
            uint64_t mask = (txid * 0x9e3779b97f4a7c15ull >> 60 | 1ull << l) & 15;
            w->part[w->count++] = (struct journal_part){
                .txid = txid, .lsn = lsn[l], .shards_mask = mask, .log = (uint16_t)l};
            lsn[l] += 1 + rng_below(rng, 3);
        }
    }
    for (uint32_t l = 0; l < LOGS; l++)
        w->ends[l] = lsn[l] + rng_below(rng, 3);
}

static void test_against_definition(void **state)
{
    (void)state;
    struct rng rng;
    uint32_t dropped = 0;
    rng_seed(&rng, 11);
    for (uint32_t round = 0; round < 20000; round++) {
        struct world w;
        uint64_t want[LOGS];
        uint64_t got[LOGS];
        draw(&w, &rng);
        brute_force(&w, want);
        memcpy(got, w.ends, sizeof got);
        assert_int_equal(journal_cut_greatest(got, LOGS, w.part, w.count), RC_OK);
        for (uint32_t l = 0; l < LOGS; l++)
            assert_int_equal(got[l], want[l]);
        dropped += memcmp(got, w.ends, sizeof got) != 0;
    }
    assert_in_range(dropped, 2000, 19999);
}

/* A chain in which each drop causes the next one: the whole of it goes, quickly. */
static void test_long_cascade(void **state)
{
    (void)state;
    const uint32_t n = 200000;
    struct journal_part *part = mem_alloc(MEM_TEST, 2 * n * sizeof *part);
    uint64_t ends[2] = {n, n};
    for (uint32_t i = 0; i < n; i++) {
        part[i] = (struct journal_part){.txid = i + 1, .lsn = i, .shards_mask = 3, .log = 0};
        part[n + i] = (struct journal_part){.txid = i + 2, .lsn = i, .shards_mask = 3, .log = 1};
    }
    assert_int_equal(journal_cut_greatest(ends, 2, part, 2 * n), RC_OK);
    assert_int_equal(ends[0], 0);
    assert_int_equal(ends[1], 0);
    mem_free(MEM_TEST, part, 2 * n * sizeof *part);
}

static void test_nothing_to_cut(void **state)
{
    (void)state;
    uint64_t ends[1] = {77};
    assert_int_equal(journal_cut_greatest(ends, 1, NULL, 0), RC_OK);
    assert_int_equal(ends[0], 77);
    struct journal_part alone = {.txid = 5, .lsn = 3, .shards_mask = 1, .log = 0};
    assert_int_equal(journal_cut_greatest(ends, 1, &alone, 1), RC_OK);
    assert_int_equal(ends[0], 77);
    alone.shards_mask = 1ull << 63; /* a shard that this generation does not have */
    assert_int_equal(journal_cut_greatest(ends, 1, &alone, 1), RC_OK);
    assert_int_equal(ends[0], 3);
}

static void test_no_memory(void **state)
{
    (void)state;
    uint64_t ends[1] = {77};
    struct journal_part alone = {.txid = 5, .lsn = 3, .shards_mask = 3, .log = 0};
    mem_fault_arm(1);
    assert_int_equal(journal_cut_greatest(ends, 1, &alone, 1), RC_NOMEM);
    assert_true(mem_fault_disarm());
    assert_int_equal(ends[0], 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_definition),
        cmocka_unit_test(test_long_cascade),
        cmocka_unit_test(test_nothing_to_cut),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
