/* Leaf of 1 KiB:   prev, next | count, cap | scores f64[cap] | items' low 32 bits[cap] | high 16 bits[cap]
 * Inner node:      count, cap | the same three arrays | children[cap] | entries below each[cap]
 *
 * Arrays by field, so that a binary search runs over packed scores: five to ten cache lines, fetched
 * together when the descent has chosen the leaf. Entry i > 0 of an inner node is the smallest entry
 * below child i, exactly; entry 0 is not used. An insertion never changes it (a new entry that is
 * smaller than all of a leaf goes to the leaf before), a removal of the first one does.
 *
 * A full leaf first shares with a neighbour of the same parent, then splits: random insertions fill
 * leaves to four fifths and not two thirds. At the edges of the tree it splits off the new entry alone,
 * so that rising (or falling) scores fill leaves entirely. A leaf under a quarter joins a neighbour if
 * they then leave a quarter free. A tree of one leaf has a smaller leaf that doubles. */
#include "shard/ds/bptree.h"

#include "shard/base/assert.h"
#include "shard/base/mem.h"

#define LEAF_CAP 71u
#define LEAF_CAP_FIRST 4u
#define INNER_CAP 68u
#define HEIGHT_MAX 10u /* 2^32 entries in quarter-full nodes are 8 levels */

struct leaf {
    struct leaf *prev, *next;
    uint16_t count, cap;
    uint32_t unused;
    double scores[];
};
struct inner {
    uint32_t count, unused;
    double scores[INNER_CAP];
    uint32_t low[INNER_CAP];
    uint16_t high[INNER_CAP];
    void *child[INNER_CAP];
    uint32_t below[INNER_CAP];
};
static_assert(sizeof(struct leaf) + LEAF_CAP * 14 <= 1024, "a leaf is a slab block");
static_assert(sizeof(struct inner) <= 1792, "a size class of the allocator");

/* Entries of a node of either kind. */
struct entries {
    double *scores;
    uint32_t *low;
    uint16_t *high;
};

struct path {
    struct inner *node[HEIGHT_MAX]; /* from the root down */
    uint32_t index[HEIGHT_MAX];
    uint32_t depth;
};

static struct entries leaf_entries(const struct leaf *l)
{
    double *scores = (double *)(uintptr_t)l->scores;
    uint32_t *low = (uint32_t *)(scores + l->cap);
    return (struct entries){.scores = scores, .low = low, .high = (uint16_t *)(low + l->cap)};
}

static struct entries inner_entries(const struct inner *n)
{
    struct inner *m = (struct inner *)(uintptr_t)n;
    return (struct entries){.scores = m->scores, .low = m->low, .high = m->high};
}

static void *item_at(struct entries e, uint32_t i)
{
    return (void *)((uintptr_t)e.low[i] | (uintptr_t)e.high[i] << 32);
}

static void set_entry(struct entries e, uint32_t i, double score, const void *item)
{
    uintptr_t p = (uintptr_t)item;
    assert(p >> 48 == 0);
    e.scores[i] = score;
    e.low[i] = (uint32_t)p;
    e.high[i] = (uint16_t)(p >> 32);
}

/* Copies n entries; the ranges may overlap if they are of one node. */
static void copy_entries(struct entries to, uint32_t at, struct entries from, uint32_t index,
                         uint32_t n)
{
    memmove(to.scores + at, from.scores + index, n * sizeof(double));
    memmove(to.low + at, from.low + index, n * sizeof(uint32_t));
    memmove(to.high + at, from.high + index, n * sizeof(uint16_t));
}

/* ---- nodes */

static size_t leaf_bytes(uint32_t cap)
{
    return sizeof(struct leaf) + cap * (sizeof(double) + sizeof(uint32_t) + sizeof(uint16_t));
}

static struct leaf *leaf_try_new(struct bptree *t, uint32_t cap)
{
    struct leaf *l = slab_try_alloc(slab_good_size(leaf_bytes(cap)));
    if (l == NULL) return NULL;
    *l = (struct leaf){.cap = (uint16_t)cap};
    t->bytes += slab_good_size(leaf_bytes(cap));
    return l;
}

static void leaf_free(struct bptree *t, struct leaf *l)
{
    t->bytes -= slab_good_size(leaf_bytes(l->cap));
    slab_free(l, slab_good_size(leaf_bytes(l->cap)));
}

static void leaf_unlink_free(struct bptree *t, struct leaf *l)
{
    if (l->prev != NULL) l->prev->next = l->next;
    if (l->next != NULL) l->next->prev = l->prev;
    leaf_free(t, l);
}

static struct inner *inner_try_new(struct bptree *t)
{
    struct inner *n = mem_try_alloc(MEM_DATA, sizeof *n);
    if (n == NULL) return NULL;
    n->count = n->unused = 0;
    t->bytes += mem_good_size(sizeof *n);
    return n;
}

static void inner_free(struct bptree *t, struct inner *n)
{
    t->bytes -= mem_good_size(sizeof *n);
    mem_free(MEM_DATA, n, sizeof *n);
}

static void copy_children(struct inner *to, uint32_t at, const struct inner *from, uint32_t index,
                          uint32_t n)
{
    copy_entries(inner_entries(to), at, inner_entries(from), index, n);
    memmove(to->child + at, from->child + index, n * sizeof from->child[0]);
    memmove(to->below + at, from->below + index, n * sizeof from->below[0]);
}

static uint32_t inner_sum(const struct inner *n)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n->count; i++)
        sum += n->below[i];
    return sum;
}

static void leaf_insert(struct leaf *l, uint32_t at, double score, const void *item)
{
    assert(l->count < l->cap);
    assert(at <= l->count);
    struct entries e = leaf_entries(l);
    copy_entries(e, at + 1, e, at, l->count - at);
    set_entry(e, at, score, item);
    l->count++;
}

/* ---- search */

/* "Entries before this": by score alone, by score and key, or by key alone. */
struct probe {
    double score;
    struct bytes key;
    bptree_key_fn key_of; /* NULL: by score alone */
    bool keys_only;
    bool inclusive; /* entries equal to it count as before it */
};

/* How many of the rising scores are below (or_equal: or equal to) score. */
static uint32_t scores_before(const double *scores, uint32_t n, double score, bool or_equal)
{
    const double *base = scores;
    while (n > 0) { /* the compiler turns the choice into a conditional move */
        uint32_t half = n / 2;
        bool right = or_equal ? base[half] <= score : base[half] < score;
        base = right ? base + half + 1 : base;
        n = right ? n - half - 1 : half;
    }
    return (uint32_t)(base - scores);
}

/* First of the entries [low, high), which differ by key alone, that is not before the probe. */
static uint32_t keys_before(struct entries e, uint32_t low, uint32_t high, const struct probe *p)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = bytes_compare(p->key_of(item_at(e, middle)), p->key);
        if (order < 0 || (order == 0 && p->inclusive)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Number of entries among [first, count) that are before the probe, plus first. */
static uint32_t entries_before(struct entries e, uint32_t first, uint32_t count,
                               const struct probe *p)
{
    if (p->keys_only) return keys_before(e, first, count, p);
    bool or_equal = p->key_of == NULL && p->inclusive;
    uint32_t low = first + scores_before(e.scores + first, count - first, p->score, or_equal);
    if (p->key_of == NULL || low == count || e.scores[low] != p->score) return low;
    return keys_before(e, low, low + scores_before(e.scores + low, count - low, p->score, true), p);
}

/* For the two lowest levels, which do not stay in the cache: scores, over which the search goes; of a
 * leaf all, for a change moves entries in all its arrays. */
static void prefetch_node(const void *node, bool leaf)
{
    size_t bytes = leaf ? leaf_bytes(LEAF_CAP) : offsetof(struct inner, low);
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch((const char *)node + at);
}

/* The leaf in which the entries before the probe end. path may be NULL; before_out (may be NULL):
 * entries in the leaves to the left. */
static struct leaf *descend(const struct bptree *t, const struct probe *p, struct path *path,
                            uint64_t *before_out)
{
    void *node = t->root;
    uint64_t before = 0;
    for (uint32_t level = 0; level + 1 < t->height; level++) {
        struct inner *n = node;
        uint32_t i = entries_before(inner_entries(n), 1, n->count, p) - 1;
        if (path != NULL) {
            path->node[level] = n;
            path->index[level] = i;
        }
        node = n->child[i];
        if (level + 3 >= t->height) prefetch_node(node, level + 2 == t->height);
        if (before_out != NULL) {
            for (uint32_t k = 0; k < i; k++)
                before += n->below[k];
        }
    }
    if (path != NULL) path->depth = t->height - 1;
    if (before_out != NULL) *before_out = before;
    return node;
}

static uint32_t before_in_leaf(const struct leaf *l, const struct probe *p)
{
    return entries_before(leaf_entries(l), 0, l->count, p);
}

/* Index of the item in its leaf: by score, then by its address, so that no other item is read. */
static uint32_t index_of(const struct leaf *l, double score, const void *item)
{
    struct entries e = leaf_entries(l);
    uint32_t i = scores_before(e.scores, l->count, score, false);
    while (i < l->count && item_at(e, i) != item)
        i++;
    assert(i < l->count);
    assert(e.scores[i] == score);
    return i;
}

void bptree_prefetch(const struct bptree *t, double score)
{
    struct probe p = {.score = score};
    if (t->root != NULL) (void)descend(t, &p, NULL, NULL);
}

/* What a descent by rank reads: counts and children; of a leaf its head and items. */
static void prefetch_rank(const void *node, bool leaf)
{
    size_t from = leaf ? leaf_bytes(0) + LEAF_CAP * sizeof(double) : offsetof(struct inner, child);
    size_t to = leaf ? leaf_bytes(LEAF_CAP) : sizeof(struct inner);
    if (leaf) __builtin_prefetch(node);
    for (size_t at = from; at < to; at += 64)
        __builtin_prefetch((const char *)node + at);
}

/* The leaf with entry `rank` < count, and its index there. */
static struct leaf *descend_rank(const struct bptree *t, uint64_t rank, struct path *path,
                                 uint32_t *at_out)
{
    assert(rank < t->count);
    void *node = t->root;
    for (uint32_t level = 0; level + 1 < t->height; level++) {
        struct inner *n = node;
        uint32_t i = 0;
        for (; rank >= n->below[i]; i++)
            rank -= n->below[i];
        assert(i < n->count);
        if (path != NULL) {
            path->node[level] = n;
            path->index[level] = i;
        }
        node = n->child[i];
        prefetch_rank(node, level + 2 == t->height);
    }
    if (path != NULL) path->depth = t->height - 1;
    *at_out = (uint32_t)rank;
    return node;
}

static uint64_t count_before(const struct bptree *t, const struct probe *p)
{
    if (t->root == NULL) return 0;
    uint64_t before;
    const struct leaf *l = descend(t, p, NULL, &before);
    return before + before_in_leaf(l, p);
}

uint64_t bptree_rank(const struct bptree *t, double score, const void *item, bptree_key_fn key_of)
{
    assert(t->root != NULL);
    struct probe p = {.score = score, .key = key_of(item), .key_of = key_of, .inclusive = true};
    uint64_t before;
    const struct leaf *l = descend(t, &p, NULL, &before);
    return before + index_of(l, score, item);
}

uint64_t bptree_count_scores(const struct bptree *t, double score, bool inclusive)
{
    struct probe p = {.score = score, .inclusive = inclusive};
    return count_before(t, &p);
}

uint64_t bptree_count_keys(const struct bptree *t, struct bytes key, bool inclusive,
                           bptree_key_fn key_of)
{
    struct probe p = {.key = key, .key_of = key_of, .keys_only = true, .inclusive = inclusive};
    return count_before(t, &p);
}

/* ---- insertion */

/* Nodes that a split will need, asked for before anything changes. */
struct spares {
    struct leaf *leaf;
    struct inner *inner[HEIGHT_MAX];
    uint32_t count, used;
};

static bool spares_try_get(struct bptree *t, const struct path *path, struct spares *s)
{
    *s = (struct spares){.leaf = leaf_try_new(t, LEAF_CAP)};
    if (s->leaf == NULL) return false;
    uint32_t level = path->depth, wanted = 0;
    while (level > 0 && path->node[level - 1]->count == INNER_CAP) {
        level--;
        wanted++;
    }
    if (level == 0) wanted++; /* a new root */
    assert(t->height + 1 < HEIGHT_MAX);
    for (; s->count < wanted; s->count++) {
        s->inner[s->count] = inner_try_new(t);
        if (s->inner[s->count] == NULL) goto out_free;
    }
    return true;
out_free:
    while (s->count > 0)
        inner_free(t, s->inner[--s->count]);
    leaf_free(t, s->leaf);
    return false;
}

/* A node that was split off to the right of its twin. */
struct split {
    void *right;
    double score; /* its smallest entry */
    void *item;
    uint32_t left_sum, right_sum;
};

static void inner_insert(struct inner *n, uint32_t at, const struct split *s)
{
    assert(n->count < INNER_CAP);
    copy_children(n, at + 1, n, at, n->count - at);
    set_entry(inner_entries(n), at, s->score, s->item);
    n->child[at] = s->right;
    n->below[at] = s->right_sum;
    n->count++;
}

/* Makes room in full node n for a child at index `at` by moving its right part to a new one; at the
 * tree's right edge that part is the new child alone. `s` becomes the split of n. */
static void inner_split(struct inner *n, uint32_t at, struct inner *fresh, struct split *s)
{
    uint32_t keep = at == n->count ? n->count : n->count / 2;
    copy_children(fresh, 0, n, keep, n->count - keep);
    fresh->count = n->count - keep;
    n->count = keep;
    if (at > keep || fresh->count == 0) {
        inner_insert(fresh, at - keep, s);
    } else {
        inner_insert(n, at, s);
    }
    struct entries e = inner_entries(fresh);
    *s = (struct split){.right = fresh,
                        .score = e.scores[0],
                        .item = item_at(e, 0),
                        .left_sum = inner_sum(n),
                        .right_sum = inner_sum(fresh)};
}

static void add_to_sums(const struct path *path, uint32_t levels, int32_t delta)
{
    for (uint32_t i = 0; i < levels; i++)
        path->node[i]->below[path->index[i]] += (uint32_t)delta;
}

/* Hangs a split of the node below path's end into the parents. */
static void split_rise(struct bptree *t, const struct path *path, struct split s,
                       struct spares *spares)
{
    void *left = t->root;
    for (uint32_t level = path->depth; level > 0; level--) {
        struct inner *n = path->node[level - 1];
        uint32_t i = path->index[level - 1];
        n->below[i] = s.left_sum;
        if (n->count < INNER_CAP) {
            inner_insert(n, i + 1, &s);
            add_to_sums(path, level - 1, 1);
            return;
        }
        inner_split(n, i + 1, spares->inner[spares->used++], &s);
    }
    struct inner *root = spares->inner[spares->used++];
    root->child[0] = left;
    root->below[0] = s.left_sum;
    set_entry(inner_entries(root), 0, 0, NULL);
    root->count = 1;
    inner_insert(root, 1, &s);
    t->root = root;
    t->height++;
}

__attribute__((noinline)) static bool split_try_insert(struct bptree *t, struct leaf *l,
                                                       uint32_t at, const struct path *path,
                                                       double score, const void *item)
{
    struct spares spares;
    if (!spares_try_get(t, path, &spares)) return false;
    struct leaf *right = spares.leaf;
    uint32_t keep = l->count / 2;
    if (at == l->count && l->next == NULL) keep = l->count;
    if (at == 0 && l->prev == NULL) keep = 0;
    copy_entries(leaf_entries(right), 0, leaf_entries(l), keep, l->count - keep);
    right->count = (uint16_t)(l->count - keep);
    l->count = (uint16_t)keep;
    right->prev = l;
    right->next = l->next;
    if (l->next != NULL) l->next->prev = right;
    l->next = right;
    if (at > keep || right->count == 0) {
        leaf_insert(right, at - keep, score, item);
    } else {
        leaf_insert(l, at, score, item);
    }
    struct entries e = leaf_entries(right);
    split_rise(t, path,
               (struct split){.right = right,
                              .score = e.scores[0],
                              .item = item_at(e, 0),
                              .left_sum = l->count,
                              .right_sum = right->count},
               &spares);
    assert(spares.used == spares.count);
    t->count++;
    return true;
}

/* Moves n entries from the end of left to the front of right, its next neighbour under the parent. */
static void shift_right(struct inner *parent, uint32_t left_index, uint32_t n)
{
    struct leaf *left = parent->child[left_index], *right = parent->child[left_index + 1];
    struct entries from = leaf_entries(left), to = leaf_entries(right);
    copy_entries(to, n, to, 0, right->count);
    copy_entries(to, 0, from, left->count - n, n);
    left->count = (uint16_t)(left->count - n);
    right->count = (uint16_t)(right->count + n);
    set_entry(inner_entries(parent), left_index + 1, to.scores[0], item_at(to, 0));
    parent->below[left_index] -= n;
    parent->below[left_index + 1] += n;
}

static void shift_left(struct inner *parent, uint32_t left_index, uint32_t n)
{
    struct leaf *left = parent->child[left_index], *right = parent->child[left_index + 1];
    struct entries to = leaf_entries(left), from = leaf_entries(right);
    copy_entries(to, left->count, from, 0, n);
    copy_entries(from, 0, from, n, right->count - n);
    left->count = (uint16_t)(left->count + n);
    right->count = (uint16_t)(right->count - n);
    set_entry(inner_entries(parent), left_index + 1, from.scores[0], item_at(from, 0));
    parent->below[left_index] += n;
    parent->below[left_index + 1] -= n;
}

/* Evens a full leaf out with a neighbour that has an eighth free. True: done, search again. */
static bool try_share(const struct path *path, const struct leaf *l, uint32_t at)
{
    if (path->depth == 0) return false;
    if ((at == l->count && l->next == NULL) || (at == 0 && l->prev == NULL)) return false;
    struct inner *parent = path->node[path->depth - 1];
    uint32_t i = path->index[path->depth - 1], spare_min = LEAF_CAP / 8;
    if (i + 1 < parent->count && LEAF_CAP - parent->below[i + 1] >= spare_min) {
        shift_right(parent, i, (LEAF_CAP - parent->below[i + 1] + 1) / 2);
        return true;
    }
    if (i > 0 && LEAF_CAP - parent->below[i - 1] >= spare_min) {
        shift_left(parent, i - 1, (LEAF_CAP - parent->below[i - 1] + 1) / 2);
        return true;
    }
    return false;
}

static bool root_leaf_try_grow(struct bptree *t)
{
    struct leaf *old = t->root;
    uint32_t cap = old->cap * 2u < LEAF_CAP * 2 / 3 ? old->cap * 2u : LEAF_CAP;
    struct leaf *l = leaf_try_new(t, cap);
    if (l == NULL) return false;
    copy_entries(leaf_entries(l), 0, leaf_entries(old), 0, old->count);
    l->count = old->count;
    leaf_free(t, old);
    t->root = l;
    return true;
}

/* Where an entry was inserted. */
struct place {
    const struct leaf *leaf;
    uint32_t at;
    bool rebuilt; /* other entries changed their places too */
};

static bool try_insert(struct bptree *t, double score, void *item, bptree_key_fn key_of,
                       struct place *place_out)
{
    struct probe p = {.score = score, .key = key_of(item), .key_of = key_of, .inclusive = true};
    struct path path;
    struct leaf *l = descend(t, &p, &path, NULL);
    uint32_t at = before_in_leaf(l, &p);
    place_out->rebuilt = l->count == l->cap;
    if (place_out->rebuilt) {
        if (l->cap == LEAF_CAP && !try_share(&path, l, at))
            return split_try_insert(t, l, at, &path, score, item);
        if (l->cap < LEAF_CAP && !root_leaf_try_grow(t)) return false;
        l = descend(t, &p, &path, NULL);
        at = before_in_leaf(l, &p);
    }
    leaf_insert(l, at, score, item);
    add_to_sums(&path, path.depth, 1);
    t->count++;
    place_out->leaf = l;
    place_out->at = at;
    return true;
}

bool bptree_try_insert(struct bptree *t, double score, void *item, bptree_key_fn key_of)
{
    assert(score == score);
    if (t->root == NULL) {
        t->root = leaf_try_new(t, LEAF_CAP_FIRST);
        if (t->root == NULL) return false;
        t->height = 1;
    }
    struct place place;
    return try_insert(t, score, item, key_of, &place);
}

/* ---- removal */

/* The first entry below path's first `levels` nodes is another one now. */
static void set_first(const struct path *path, uint32_t levels, double score, const void *item)
{
    for (uint32_t level = levels; level > 0; level--) {
        uint32_t i = path->index[level - 1];
        if (i == 0) continue;
        set_entry(inner_entries(path->node[level - 1]), i, score, item);
        return;
    }
}

static void inner_remove(struct inner *n, uint32_t at)
{
    copy_children(n, at, n, at + 1, n->count - at - 1);
    n->count--;
}

/* Takes the child at the end of path out of its parents, where it was the last entry's leaf or an
 * emptied node; the child itself is freed already. */
static void child_gone(struct bptree *t, const struct path *path)
{
    for (uint32_t level = path->depth; level > 0; level--) {
        struct inner *n = path->node[level - 1];
        uint32_t i = path->index[level - 1];
        inner_remove(n, i);
        if (n->count > 0) {
            struct entries e = inner_entries(n);
            if (i == 0) set_first(path, level - 1, e.scores[0], item_at(e, 0));
            return;
        }
        inner_free(t, n);
    }
    t->root = NULL;
    t->height = 0;
}

/* Joins child i of n with its successor. */
static void join_leaves(struct bptree *t, struct inner *n, uint32_t i)
{
    struct leaf *left = n->child[i], *right = n->child[i + 1];
    copy_entries(leaf_entries(left), left->count, leaf_entries(right), 0, right->count);
    left->count = (uint16_t)(left->count + right->count);
    n->below[i] += n->below[i + 1];
    leaf_unlink_free(t, right);
    inner_remove(n, i + 1);
}

static void join_inners(struct bptree *t, struct inner *n, uint32_t i)
{
    struct inner *left = n->child[i], *right = n->child[i + 1];
    uint32_t at = left->count;
    copy_children(left, at, right, 0, right->count);
    /* Entry 0 is not kept up in a node, but here it becomes one between two children. */
    struct entries parent = inner_entries(n);
    set_entry(inner_entries(left), at, parent.scores[i + 1], item_at(parent, i + 1));
    left->count += right->count;
    n->below[i] += n->below[i + 1];
    inner_free(t, right);
    inner_remove(n, i + 1);
}

static uint32_t child_count(const struct inner *n, uint32_t i, bool leaves)
{
    return leaves ? ((const struct leaf *)n->child[i])->count
                  : ((const struct inner *)n->child[i])->count;
}

/* Joins sparse nodes along the path, from the leaf up. */
static void rebalance(struct bptree *t, const struct path *path)
{
    for (uint32_t level = path->depth; level > 0; level--) {
        struct inner *n = path->node[level - 1];
        bool leaves = level == path->depth;
        uint32_t cap = leaves ? LEAF_CAP : INNER_CAP, i = path->index[level - 1];
        if (child_count(n, i, leaves) >= cap / 4 || n->count < 2) return;
        if (i + 1 == n->count) i--;
        if (child_count(n, i, leaves) + child_count(n, i + 1, leaves) > cap * 3 / 4) {
            if (i == 0 || i != path->index[level - 1]) return;
            i--; /* the other neighbour */
            if (child_count(n, i, leaves) + child_count(n, i + 1, leaves) > cap * 3 / 4) return;
        }
        if (leaves) {
            join_leaves(t, n, i);
        } else {
            join_inners(t, n, i);
        }
    }
}

static void shrink_root(struct bptree *t)
{
    while (t->height > 1) {
        struct inner *root = t->root;
        if (root->count > 1) return;
        t->root = root->child[0];
        t->height--;
        inner_free(t, root);
    }
}

static void *remove_from(struct bptree *t, struct leaf *l, uint32_t at, const struct path *path)
{
    assert(at < l->count);
    struct entries e = leaf_entries(l);
    void *item = item_at(e, at);
    copy_entries(e, at, e, at + 1, l->count - at - 1);
    l->count--;
    t->count--;
    add_to_sums(path, path->depth, -1);
    if (l->count == 0) {
        leaf_unlink_free(t, l);
        child_gone(t, path);
    } else {
        if (at == 0) set_first(path, path->depth, e.scores[0], item_at(e, 0));
        rebalance(t, path);
    }
    shrink_root(t);
    return item;
}

static struct leaf *find(const struct bptree *t, double score, const void *item,
                         bptree_key_fn key_of, struct path *path, uint32_t *at_out)
{
    assert(t->root != NULL);
    struct probe p = {.score = score, .key = key_of(item), .key_of = key_of, .inclusive = true};
    struct leaf *l = descend(t, &p, path, NULL);
    *at_out = index_of(l, score, item);
    return l;
}

void bptree_remove(struct bptree *t, double score, const void *item, bptree_key_fn key_of)
{
    struct path path;
    uint32_t at;
    struct leaf *l = find(t, score, item, key_of, &path, &at);
    remove_from(t, l, at, &path);
}

void *bptree_remove_at(struct bptree *t, uint64_t rank)
{
    struct path path;
    uint32_t at;
    struct leaf *l = descend_rank(t, rank, &path, &at);
    return remove_from(t, l, at, &path);
}

/* Is the order kept if entry `at` gets this score, and can that be seen here? */
static bool stays(const struct leaf *l, uint32_t at, double score)
{
    struct entries e = leaf_entries(l);
    if (score == e.scores[at]) return true;
    /* Where scores are equal, keys decide: left to the general way. */
    if (at > 0 ? !(e.scores[at - 1] < score) : l->prev != NULL) return false;
    return at + 1 < l->count ? score < e.scores[at + 1] : l->next == NULL;
}

bool bptree_try_move(struct bptree *t, double score, const void *item, double new_score,
                     void *new_item, bptree_key_fn key_of)
{
    assert(new_score == new_score);
    struct path path;
    uint32_t at;
    struct leaf *l = find(t, score, item, key_of, &path, &at);
    if (stays(l, at, new_score)) {
        set_entry(leaf_entries(l), at, new_score, new_item);
        if (at == 0) set_first(&path, path.depth, new_score, new_item);
        return true;
    }
    /* In before out, for only the first can fail: for a moment the key is there twice. */
    struct place place;
    if (!try_insert(t, new_score, new_item, key_of, &place)) return false;
    if (place.rebuilt) {
        l = find(t, score, item, key_of, &path, &at);
    } else if (place.leaf == l && place.at <= at) {
        at++;
    }
    remove_from(t, l, at, &path);
    return true;
}

/* ---- walks */

/* Items that a walk has under way: each is a miss of its own. */
#define ITEMS_AHEAD 8u

static void prefetch_item(const struct leaf *l, uint32_t index)
{
    if (index < l->count) __builtin_prefetch(item_at(leaf_entries(l), index));
}

void bptree_seek(const struct bptree *t, uint64_t rank, int step, struct bptree_cursor *out)
{
    assert(rank <= t->count);
    *out = (struct bptree_cursor){.leaf = NULL};
    if (rank == t->count) return;
    const struct leaf *l = descend_rank(t, rank, NULL, &out->index);
    out->leaf = l;
    for (uint32_t i = 0; i < ITEMS_AHEAD; i++)
        prefetch_item(l, out->index + (step > 0 ? i : 0u - i));
}

bool bptree_next(struct bptree_cursor *c, int step, double *score_out, void **item_out)
{
    const struct leaf *l = c->leaf;
    if (l == NULL) return false;
    struct entries e = leaf_entries(l);
    *score_out = e.scores[c->index];
    *item_out = item_at(e, c->index);
    prefetch_item(l, c->index + (step > 0 ? ITEMS_AHEAD : 0u - ITEMS_AHEAD));
    if (step > 0) {
        if (++c->index < l->count) return true;
        c->leaf = l->next;
        c->index = 0;
        if (l->next != NULL) __builtin_prefetch(l->next);
    } else {
        if (c->index-- > 0) return true;
        c->leaf = l->prev;
        c->index = l->prev != NULL ? l->prev->count - 1u : 0;
    }
    return true;
}

bool bptree_free_slice(struct bptree *t, uint64_t max)
{
    uint64_t freed = 0;
    while (t->root != NULL && freed < max) {
        struct path path = {.depth = t->height - 1};
        void *node = t->root;
        for (uint32_t level = 0; level < path.depth; level++) {
            path.node[level] = node;
            node = path.node[level]->child[0];
        }
        struct leaf *l = node;
        freed += l->count;
        t->count -= l->count;
        add_to_sums(&path, path.depth, -(int32_t)l->count);
        leaf_unlink_free(t, l);
        child_gone(t, &path);
    }
    return t->root == NULL;
}

/* ---- check */

struct check {
    bptree_key_fn key_of;
    const struct leaf *leaf; /* the last one seen */
    double score;
    void *item;
    uint64_t bytes;
    bool any;
};

static bool leaf_check(const struct leaf *l, struct check *c)
{
    if (l->count == 0 || l->count > l->cap || l->prev != c->leaf) return false;
    if (c->leaf != NULL && c->leaf->next != l) return false;
    struct entries e = leaf_entries(l);
    for (uint32_t i = 0; i < l->count; i++) {
        if (c->any && e.scores[i] < c->score) return false;
        if (c->any && !(e.scores[i] > c->score) &&
            bytes_compare(c->key_of(c->item), c->key_of(item_at(e, i))) >= 0)
            return false;
        c->score = e.scores[i];
        c->item = item_at(e, i);
        c->any = true;
    }
    c->leaf = l;
    c->bytes += slab_good_size(leaf_bytes(l->cap));
    return true;
}

/* Depth first with the levels on `path`: a node's children are checked from index[level] on. */
static bool walk_check(const struct bptree *t, struct check *c)
{
    struct path path = {.depth = 0};
    void *node = t->root;
    for (;;) {
        while (path.depth + 1 < t->height) {
            struct inner *n = node;
            if (n->count == 0 || n->count > INNER_CAP) return false;
            c->bytes += mem_good_size(sizeof *n);
            path.node[path.depth] = n;
            path.index[path.depth++] = 0;
            node = n->child[0];
        }
        if (!leaf_check(node, c)) return false;
        if (t->height > 1 && ((struct leaf *)node)->cap != LEAF_CAP) return false;
        while (path.depth > 0 && path.index[path.depth - 1] + 1 == path.node[path.depth - 1]->count)
            path.depth--;
        if (path.depth == 0) return true;
        struct inner *n = path.node[path.depth - 1];
        node = n->child[++path.index[path.depth - 1]];
    }
}

/* Smallest entry and number of entries below a node `height` levels high. */
static uint64_t measure(void *node, uint32_t height, double *score_out, void **item_out)
{
    if (height == 1) {
        struct entries e = leaf_entries(node);
        *score_out = e.scores[0];
        *item_out = item_at(e, 0);
        return ((struct leaf *)node)->count;
    }
    struct inner *n = node;
    double score;
    void *item;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        uint64_t below = measure(n->child[i], height - 1, &score, &item);
        if (below != n->below[i]) return 0;
        struct entries e = inner_entries(n);
        if (i > 0 && (item_at(e, i) != item || memcmp(&e.scores[i], &score, sizeof score) != 0))
            return 0;
        if (i == 0) {
            *score_out = score;
            *item_out = item;
        }
        sum += below;
    }
    return sum;
}

bool bptree_check(const struct bptree *t, bptree_key_fn key_of)
{
    if (t->root == NULL) return t->count == 0 && t->bytes == 0 && t->height == 0;
    struct check c = {.key_of = key_of};
    double score;
    void *item;
    if (!walk_check(t, &c) || c.leaf->next != NULL) return false;
    return c.bytes == t->bytes && measure(t->root, t->height, &score, &item) == t->count;
}
