/* All three are one walk: take members of a set in batches, and let each other set in turn drop those that it
 * has, or those that it lacks. In a batch the misses of a big table overlap; the set that drops most comes
 * first. A union is the largest set, then of each other one what no set before it has: no memory, no copies,
 * and for few sets fewer look-ups than a table of everything takes. Where there are many sets their members
 * are gathered first: for a union all, for a difference those that are taken away. */
#include "shard/types/set_algebra.h"

#include <stdlib.h>

#include "shard/ds/intset.h"
#include "shard/types/set_batch_priv.h"
#include "shard/types/set_gather.h"
#include "shard/types/value.h"

/* Gathering a member costs about two look-ups: one to find that it is new, one to put it there. */
#define GATHER_COST 2.0
/* Elements of a listpack that are passed in the time of one look-up in a table. */
#define LISTPACK_STEP 64.0
/* Of more sets asking those before it cannot pay. */
#define IN_ORDER_MAX 16u

/* ---- order of sources */

static int by_len(const void *a, const void *b)
{
    const struct record *x = *(const struct record *const *)a,
                        *y = *(const struct record *const *)b;
    uint64_t x_len = value_len(x), y_len = value_len(y);
    if (x_len != y_len) return x_len < y_len ? -1 : 1;
    return (x > y) - (x < y); /* equal ones side by side */
}

static int by_len_down(const void *a, const void *b)
{
    return by_len(b, a);
}

/* Sorted, without those that are absent and without repetition; returns how many are left. */
static uint32_t arrange(const struct record **sets, uint32_t count,
                        int (*order)(const void *, const void *))
{
    uint32_t n = 0, left = 0;
    for (uint32_t i = 0; i < count; i++)
        if (sets[i] != NULL) sets[n++] = sets[i];
    if (n > 1) qsort(sets, n, sizeof(struct record *), order);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || sets[i] != sets[i - 1]) sets[left++] = sets[i];
    return left;
}

/* What asking a set once costs, in look-ups in a table. */
static double cost_of(const struct record *r)
{
    return record_encoding(r) == ENC_LISTPACK ? 1 + (double)value_len(r) / LISTPACK_STEP : 1;
}

/* ---- the walk */

/* Keeps those that r, the i-th source, has (wanted), or those that it lacks. */
static void filter(struct batch *b, const struct batch_indexes *x, uint32_t i,
                   const struct record *r, bool wanted)
{
    double score;
    uint32_t kept = 0;
    batch_prefetch(b, r);
    for (uint32_t k = 0; k < b->count; k++)
        if (batch_find(x, i, r, batch_member(b, k), &score) == wanted) b->left[kept++] = b->left[k];
    b->count = kept;
}

#define STEPS_MAX 8u

/* The same for two intsets: both rise, so the search goes on where it ended. */
static void filter_numbers(struct batch *b, const struct record *r, bool wanted)
{
    struct bytes blob = record_blob(r);
    uint32_t at, kept = 0, count = intset_count(blob);
    (void)intset_find(blob, batch_member(b, 0)->number, &at);
    for (uint32_t k = 0; k < b->count; k++) {
        int64_t v = batch_member(b, k)->number;
        uint32_t steps = 0;
        while (at < count && steps < STEPS_MAX && intset_get(blob, at) < v)
            at++, steps++;
        if (steps == STEPS_MAX) (void)intset_find(blob, v, &at);
        bool there = at < count && intset_get(blob, at) == v;
        if (there == wanted) b->left[kept++] = b->left[k];
    }
    b->count = kept;
}

static void batch_subtract(struct batch *b, const struct gather *g)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++)
        gather_prefetch(g, set_member_hash(batch_member(b, i)));
    for (uint32_t i = 0; i < b->count; i++) {
        struct set_member *m = batch_member(b, i);
        if (gather_find(g, set_member_hash(m), set_member_text(m)) == NULL)
            b->left[kept++] = b->left[i];
    }
    b->count = kept;
}

/* False: the sink wants no more. */
static bool batch_tell(struct batch *b, const struct set_sink *sink)
{
    if (sink->prefetch != NULL)
        for (uint32_t i = 0; i < b->count; i++)
            sink->prefetch(sink->ctx, batch_member(b, i));
    for (uint32_t i = 0; i < b->count; i++)
        if (!sink->take(sink->ctx, batch_member(b, i), b->scores[b->left[i]])) return false;
    return true;
}

/* Members of `source` that all of `others` have (wanted), or that none has. */
static bool walk(const struct record *source, const struct record *const *others, uint32_t count,
                 bool wanted, const struct set_sink *sink)
{
    struct batch_source at;
    struct batch b;
    struct batch_indexes indexes;
    bool numbers = record_encoding(source) == ENC_INTSET;
    for (uint32_t i = 0; i < count && i < BATCH_INDEXES; i++)
        batch_index(&indexes, i, others[i], value_len(source));
    batch_start(source, &at);
    for (batch_fill(&b, &at); b.count > 0; batch_fill(&b, &at)) {
        for (uint32_t i = 0; i < count && b.count > 0; i++) {
            if (numbers && record_encoding(others[i]) == ENC_INTSET)
                filter_numbers(&b, others[i], wanted);
            else
                filter(&b, &indexes, i, others[i], wanted);
        }
        if (!batch_tell(&b, sink)) return false;
    }
    return true;
}

void set_each(const struct record *const *sets, uint32_t count, const struct set_sink *sink)
{
    for (uint32_t i = 0; i < count; i++)
        if (sets[i] != NULL && !walk(sets[i], NULL, 0, true, sink)) return;
}

/* ---- gathering */

struct gathering {
    struct gather *gather;
    bool failed;
};

static bool gather_one(void *ctx, struct set_member *m, double score)
{
    (void)score;
    struct gathering *g = ctx;
    bool added, own = set_member_text(m).data == (const uint8_t *)m->tmp;
    g->failed = gather_put(g->gather, set_member_hash(m), m->text, own, &added) == NULL;
    return !g->failed;
}

static void prefetch_one(void *ctx, struct set_member *m)
{
    const struct gathering *g = ctx;
    gather_prefetch(g->gather, set_member_hash(m));
}

/* All members of the sets, the first of which is the largest. False: out of memory, nothing to free. */
static bool gather_all(struct gather *out, const struct record *const *sets, uint32_t count)
{
    struct gathering g = {.gather = out};
    if (!gather_init(out, count > 0 ? value_len(sets[0]) : 0, true)) return false;
    set_each(sets, count, &(struct set_sink){gather_one, prefetch_one, &g});
    if (g.failed) gather_free(out);
    return !g.failed;
}

static void tell_gathered(const struct gather *g, const struct set_sink *sink)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct set_member m;
        set_member_of(&m, gather_member(&g->entries[i]));
        m.hash = g->entries[i].hash;
        m.knows |= SET_KNOWS_HASH;
        if (!sink->take(sink->ctx, &m, 1)) return;
    }
}

/* ---- intersection */

void set_inter(const struct record **sets, uint32_t count, const struct set_sink *sink)
{
    assert(count > 0);
    for (uint32_t i = 0; i < count; i++)
        if (sets[i] == NULL) return;
    count = arrange(sets, count, by_len);
    (void)walk(sets[0], sets + 1, count - 1, true, sink);
}

/* ---- union */

/* Is asking the sets before it, for every member, cheaper than gathering? */
static bool asking_pays(const struct record *const *sets, uint32_t count)
{
    double asked = 0, gathered = 0, before = 0;
    for (uint32_t i = 0; i < count; i++) {
        double len = (double)value_len(sets[i]);
        asked += len * before;
        gathered += len * GATHER_COST;
        before += cost_of(sets[i]);
    }
    return asked <= gathered;
}

/* Of each set what none before it has. */
static void ask_those_before(const struct record *const *sets, uint32_t count,
                             const struct set_sink *sink)
{
    for (uint32_t i = 0; i < count; i++)
        if (!walk(sets[i], sets, i, false, sink)) return;
}

bool set_union_in_order(const struct record *const *sets, uint32_t count,
                        const struct set_sink *sink)
{
    const struct record *there[IN_ORDER_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool again = sets[i] == NULL;
        for (uint32_t k = 0; k < n && !again; k++)
            again = there[k] == sets[i];
        if (again) continue;
        if (n == IN_ORDER_MAX) return false;
        there[n++] = sets[i];
    }
    if (!asking_pays(there, n)) return false;
    ask_those_before(there, n, sink);
    return true;
}

bool set_union(const struct record **sets, uint32_t count, const struct set_sink *sink)
{
    count = arrange(sets, count, by_len_down);
    if (asking_pays(sets, count)) {
        ask_those_before(sets, count, sink);
        return true;
    }
    struct gather g;
    if (!gather_all(&g, sets, count)) return false;
    tell_gathered(&g, sink);
    gather_free(&g);
    return true;
}

/* ---- difference */

static bool has_first_again(const struct record *const *sets, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (sets[i] == sets[0]) return true;
    return false;
}

/* Is asking every other set cheaper than gathering what they hold? */
static bool asking_others_pays(const struct record *first, const struct record *const *others,
                               uint32_t count)
{
    double len = (double)value_len(first), asked = 0, gathered = len;
    for (uint32_t i = 0; i < count; i++) {
        asked += len * cost_of(others[i]);
        gathered += (double)value_len(others[i]) * GATHER_COST;
    }
    return asked <= gathered;
}

static void walk_without(const struct record *source, const struct gather *g,
                         const struct set_sink *sink)
{
    struct batch_source at;
    struct batch b;
    batch_start(source, &at);
    for (batch_fill(&b, &at); b.count > 0; batch_fill(&b, &at)) {
        batch_subtract(&b, g);
        if (!batch_tell(&b, sink)) return;
    }
}

bool set_diff(const struct record **sets, uint32_t count, const struct set_sink *sink)
{
    assert(count > 0);
    const struct record *first = sets[0];
    if (first == NULL || has_first_again(sets, count)) return true;
    uint32_t others = arrange(sets + 1, count - 1, by_len_down);
    if (asking_others_pays(first, sets + 1, others)) {
        (void)walk(first, sets + 1, others, false, sink);
        return true;
    }
    struct gather g;
    if (!gather_all(&g, sets + 1, others)) return false;
    walk_without(first, &g, sink);
    gather_free(&g);
    return true;
}

bool set_diff_is_copy(const struct record *const *sets, uint32_t count)
{
    if (sets[0] == NULL || has_first_again(sets, count)) return false;
    double by_asking = 0, by_copy = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (sets[i] == NULL) continue;
        by_asking += (double)value_len(sets[0]);
        by_copy += (double)value_len(sets[i]);
    }
    return (uint64_t)by_asking / 2 > (uint64_t)by_copy;
}
