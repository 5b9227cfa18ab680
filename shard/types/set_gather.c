/* The index is open addressing with linear probing, at most half full, so a look-up reads one line of it and,
 * where 32 hash bits agree, one entry.
 *
 * Sorting merges runs that are there already: members of a sorted set come in order, so a union of k of them
 * is about k runs and a difference is one. Short runs are first made RUN_MIN long by insertion. */
#include "shard/types/set_gather.h"

#include "shard/base/assert.h"
#include "shard/base/mem.h"

#define COUNT_MAX (1u << 30) /* entries, so that places of the index fit 32 bits */
#define CAP_MIN 16u
#define TEXT_BLOCK_BYTES 4080u
#define RUN_MIN 12u

struct gather_text {
    struct gather_text *next;
    uint32_t used, cap;
    uint8_t bytes[];
};

/* ---- room */

static size_t entries_bytes(uint32_t cap)
{
    return (size_t)cap * sizeof(struct gather_entry);
}

static uint32_t cap_for(uint64_t expected)
{
    uint64_t cap = CAP_MIN;
    while (cap < expected && cap < COUNT_MAX)
        cap *= 2;
    return (uint32_t)cap;
}

static size_t index_bytes(uint32_t cap)
{
    return (size_t)cap * 2 * sizeof(uint64_t);
}

bool gather_init(struct gather *g, uint64_t expected, bool indexed)
{
    *g = (struct gather){.cap = cap_for(expected)};
    g->entries = mem_try_alloc(MEM_EXEC, entries_bytes(g->cap));
    if (g->entries == NULL) return false;
    if (!indexed) return true;
    g->index = mem_try_zalloc(MEM_EXEC, index_bytes(g->cap));
    g->mask = g->cap * 2 - 1;
    if (g->index != NULL) return true;
    mem_free(MEM_EXEC, g->entries, entries_bytes(g->cap));
    return false;
}

void gather_free(struct gather *g)
{
    mem_free(MEM_EXEC, g->entries, entries_bytes(g->cap));
    if (g->index != NULL) mem_free(MEM_EXEC, g->index, index_bytes(g->cap));
    for (struct gather_text *t = g->texts, *next; t != NULL; t = next) {
        next = t->next;
        mem_free(MEM_EXEC, t, sizeof *t + t->cap);
    }
    *g = (struct gather){0};
}

static void index_put(uint64_t *index, uint32_t mask, uint64_t hash, uint32_t number)
{
    uint32_t at = (uint32_t)hash & mask;
    while (index[at] != 0)
        at = (at + 1) & mask;
    index[at] = (hash & ~UINT64_C(0xffffffff)) | (number + 1);
}

static bool grow(struct gather *g)
{
    if (g->cap == COUNT_MAX) return false;
    uint32_t cap = g->cap * 2;
    uint64_t *index = NULL;
    if (g->index != NULL) {
        index = mem_try_zalloc(MEM_EXEC, index_bytes(cap));
        if (index == NULL) return false;
    }
    struct gather_entry *entries =
        mem_try_resize(MEM_EXEC, g->entries, entries_bytes(g->cap), entries_bytes(cap));
    if (entries == NULL) {
        mem_free(MEM_EXEC, index, index_bytes(cap));
        return false;
    }
    if (index != NULL) {
        for (uint32_t i = 0; i < g->count; i++)
            index_put(index, cap * 2 - 1, entries[i].hash, i);
        mem_free(MEM_EXEC, g->index, index_bytes(g->cap));
        g->index = index;
        g->mask = cap * 2 - 1;
    }
    g->entries = entries;
    g->cap = cap;
    return true;
}

/* Only texts of numbers are copied, so a block always has room for one. */
static const uint8_t *copy_text(struct gather *g, struct bytes member)
{
    assert(member.len <= TEXT_BLOCK_BYTES);
    struct gather_text *t = g->texts;
    if (t == NULL || t->cap - t->used < member.len) {
        t = mem_try_alloc(MEM_EXEC, sizeof *t + TEXT_BLOCK_BYTES);
        if (t == NULL) return NULL;
        t->next = g->texts;
        t->used = 0;
        t->cap = TEXT_BLOCK_BYTES;
        g->texts = t;
    }
    uint8_t *at = t->bytes + t->used;
    if (member.len > 0) memcpy(at, member.data, member.len);
    t->used += (uint32_t)member.len;
    return at;
}

/* ---- entries */

struct gather_entry *gather_append(struct gather *g, struct bytes member, bool copied)
{
    if (unlikely(g->count == g->cap) && !grow(g)) return NULL;
    const uint8_t *data = copied ? copy_text(g, member) : member.data;
    if (unlikely(data == NULL) && copied) return NULL;
    struct gather_entry *e = &g->entries[g->count++];
    *e = (struct gather_entry){.data = data, .len = (uint32_t)member.len};
    return e;
}

void gather_prefetch(const struct gather *g, uint64_t hash)
{
    __builtin_prefetch(&g->index[(uint32_t)hash & g->mask]);
}

const struct gather_entry *gather_find(const struct gather *g, uint64_t hash, struct bytes member)
{
    assert(g->index != NULL);
    for (uint32_t at = (uint32_t)hash & g->mask; g->index[at] != 0; at = (at + 1) & g->mask) {
        uint64_t place = g->index[at];
        if (place >> 32 != hash >> 32) continue;
        const struct gather_entry *e = &g->entries[(uint32_t)place - 1];
        if (bytes_equal(gather_member(e), member)) return e;
    }
    return NULL;
}

struct gather_entry *gather_put(struct gather *g, uint64_t hash, struct bytes member, bool copied,
                                bool *added_out)
{
    const struct gather_entry *there = gather_find(g, hash, member);
    *added_out = there == NULL;
    if (there != NULL) return &g->entries[there - g->entries];
    struct gather_entry *e = gather_append(g, member, copied);
    if (e == NULL) return NULL;
    e->hash = hash;
    index_put(g->index, g->mask, hash, g->count - 1);
    return e;
}

/* ---- order */

static bool comes_before(const struct gather_entry *a, const struct gather_entry *b)
{
    if (a->score < b->score) return true;
    if (a->score > b->score) return false;
    return bytes_compare(gather_member(a), gather_member(b)) < 0;
}

/* Where the run that begins at `from` ends, made at least RUN_MIN long. */
static uint32_t make_run(struct gather_entry *e, uint32_t from, uint32_t count)
{
    uint32_t end = from + 1;
    while (end < count && !comes_before(&e[end], &e[end - 1]))
        end++;
    while (end < count && end - from < RUN_MIN) {
        struct gather_entry one = e[end];
        uint32_t at = end++;
        for (; at > from && comes_before(&one, &e[at - 1]); at--)
            e[at] = e[at - 1];
        e[at] = one;
    }
    return end;
}

static void merge(const struct gather_entry *a, const struct gather_entry *a_end,
                  const struct gather_entry *b, const struct gather_entry *b_end,
                  struct gather_entry *to)
{
    while (a < a_end && b < b_end)
        *to++ = comes_before(b, a) ? *b++ : *a++;
    if (a < a_end) memcpy(to, a, (size_t)(a_end - a) * sizeof *a);
    if (b < b_end) memcpy(to, b, (size_t)(b_end - b) * sizeof *b);
}

/* Merges neighbouring runs pairwise from one array into the other; how many runs that leaves. */
static uint32_t merge_pass(const struct gather_entry *from, struct gather_entry *to, uint32_t *ends,
                           uint32_t runs)
{
    uint32_t begin = 0, left = 0;
    for (uint32_t i = 0; i < runs; i += 2, left++) {
        uint32_t middle = ends[i], end = i + 1 < runs ? ends[i + 1] : middle;
        merge(from + begin, from + middle, from + middle, from + end, to + begin);
        ends[left] = begin = end;
    }
    return left;
}

bool gather_sort(struct gather *g)
{
    size_t ends_bytes = (g->count / RUN_MIN + 1) * sizeof(uint32_t);
    uint32_t *ends = mem_try_alloc(MEM_EXEC, ends_bytes), runs = 0;
    if (ends == NULL) return false;
    for (uint32_t at = 0; at < g->count; runs++)
        ends[runs] = at = make_run(g->entries, at, g->count);
    struct gather_entry *other = NULL;
    if (runs > 1) other = mem_try_alloc(MEM_EXEC, entries_bytes(g->cap));
    bool ok = runs <= 1 || other != NULL;
    while (ok && runs > 1) {
        runs = merge_pass(g->entries, other, ends, runs);
        struct gather_entry *swap = g->entries;
        g->entries = other;
        other = swap;
    }
    mem_free(MEM_EXEC, other, entries_bytes(g->cap));
    mem_free(MEM_EXEC, ends, ends_bytes);
    return ok;
}
