/* Chunks in order, and the same chunks as a treap (Aragon & Seidel 1989): search tree by position,
 * heap by random priority, each node with the sum of its subtree's elements. The links lie in the
 * chunks, so the tree never allocates.
 *
 *   head ⇄ chunk ⇄ chunk ⇄ … ⇄ tail          data: | slack | entry entry … | slack |
 *    0      n       n           0   weights         0    begin            end     cap
 *
 * Pushes and pops touch only the chunk at that end: first and last chunk weigh nothing in the tree,
 * their count is read from themselves. Sums change when a chunk becomes or ceases to be an end, once
 * per some hundred elements, and when the middle is changed.
 *
 * A chunk has slack at both ends, so neither end moves bytes at each push: it slides its entries only
 * when a quarter of it is free, and grows by doubling until it has its full size. */
#include "shard/ds/quicklist.h"

#include "shard/base/hash.h"
#include "shard/base/mem.h"

#define GROWN_CHUNKS 4u /* from here on new chunks start at the size that the others have come to */

/* ---- tree */

static uint64_t sum_of(const struct ql_chunk *c)
{
    return c == NULL ? 0 : c->sum;
}

static void set_weight(struct ql_chunk *c, uint32_t weight)
{
    uint64_t delta =
        (uint64_t)weight - c->weight; /* wraps, and so do the sums, to the right value */
    c->weight = weight;
    for (; c != NULL; c = c->parent)
        c->sum += delta;
}

static void replace_child(struct quicklist *ql, struct ql_chunk *parent, struct ql_chunk *old,
                          struct ql_chunk *fresh)
{
    if (parent == NULL) {
        ql->root = fresh;
    } else if (parent->left == old) {
        parent->left = fresh;
    } else {
        assert(parent->right == old);
        parent->right = fresh;
    }
    if (fresh != NULL) fresh->parent = parent;
}

/* c takes the place of its parent. */
static void rotate_up(struct quicklist *ql, struct ql_chunk *c)
{
    struct ql_chunk *p = c->parent, *moved;
    replace_child(ql, p->parent, p, c);
    if (p->left == c) {
        moved = p->left = c->right;
        c->right = p;
    } else {
        moved = p->right = c->left;
        c->left = p;
    }
    if (moved != NULL) moved->parent = p;
    p->parent = c;
    c->sum = p->sum;
    p->sum = p->weight + sum_of(p->left) + sum_of(p->right);
}

static void tree_insert(struct quicklist *ql, struct ql_chunk *c)
{
    c->left = c->right = c->parent = NULL;
    c->sum = c->weight = 0;
    if (ql->root == NULL) {
        ql->root = c;
        return;
    }
    /* One of two neighbours has no child on this side. */
    if (c->next != NULL && c->next->left == NULL) {
        c->parent = c->next;
        c->next->left = c;
    } else {
        assert(c->prev != NULL);
        assert(c->prev->right == NULL);
        c->parent = c->prev;
        c->prev->right = c;
    }
    while (c->parent != NULL && c->priority > c->parent->priority)
        rotate_up(ql, c);
}

static void tree_remove(struct quicklist *ql, struct ql_chunk *c)
{
    set_weight(c, 0);
    while (c->left != NULL || c->right != NULL) {
        bool left = c->right == NULL || (c->left != NULL && c->left->priority > c->right->priority);
        rotate_up(ql, left ? c->left : c->right);
    }
    replace_child(ql, c->parent, c, NULL);
}

/* ---- chunks */

static size_t block_of(uint32_t cap)
{
    return sizeof(struct ql_chunk) + cap;
}

static bool is_end(const struct quicklist *ql, const struct ql_chunk *c)
{
    return c == ql->head || c == ql->tail;
}

static void set_count(struct quicklist *ql, struct ql_chunk *c, uint32_t count)
{
    ql->count = ql->count - c->count + count;
    c->count = count;
    if (!is_end(ql, c)) set_weight(c, count);
}

/* An unlinked chunk with its entries to come at offset `at`. */
static struct ql_chunk *chunk_try_new(struct quicklist *ql, size_t cap, size_t at)
{
    assert(cap <= UINT32_MAX);
    assert(at <= cap);
    struct ql_chunk *c = mem_try_alloc(MEM_DATA, block_of((uint32_t)cap));
    if (c == NULL) return NULL;
    memset(c, 0, sizeof *c);
    c->cap = (uint32_t)cap;
    c->begin = c->end = (uint32_t)at;
    /* The keyed hash, for who knew the priorities could ask for a tree that is a list. */
    uintptr_t seed[2] = {(uintptr_t)c, (uintptr_t)ql->count};
    c->priority = (uint32_t)hash_bytes(bytes_view(seed, sizeof seed));
    ql->bytes += mem_good_size(block_of(c->cap));
    return c;
}

static void chunk_free(struct quicklist *ql, struct ql_chunk *c)
{
    ql->bytes -= mem_good_size(block_of(c->cap));
    mem_free(MEM_DATA, c, block_of(c->cap));
}

/* Puts c between prev and next, one of which may be NULL, and counts its elements in. */
static void link_between(struct quicklist *ql, struct ql_chunk *prev, struct ql_chunk *c,
                         struct ql_chunk *next)
{
    c->prev = prev;
    c->next = next;
    if (prev != NULL) prev->next = c;
    if (next != NULL) next->prev = c;
    tree_insert(ql, c);
    struct ql_chunk *head = ql->head, *tail = ql->tail;
    if (prev == NULL) ql->head = c;
    if (next == NULL) ql->tail = c;
    if (head != NULL && !is_end(ql, head)) set_weight(head, head->count);
    if (tail != NULL && !is_end(ql, tail)) set_weight(tail, tail->count);
    if (!is_end(ql, c)) set_weight(c, c->count);
    ql->count += c->count;
    ql->chunks++;
}

static void unlink_free(struct quicklist *ql, struct ql_chunk *c)
{
    tree_remove(ql, c);
    if (c->prev != NULL) c->prev->next = c->next;
    if (c->next != NULL) c->next->prev = c->prev;
    if (ql->head == c) ql->head = c->next;
    if (ql->tail == c) ql->tail = c->prev;
    if (ql->head != NULL && ql->head->weight != 0) set_weight(ql->head, 0);
    if (ql->tail != NULL && ql->tail->weight != 0) set_weight(ql->tail, 0);
    ql->count -= c->count;
    ql->chunks--;
    chunk_free(ql, c);
}

/* Moves c's entries into a block of `cap` bytes, to offset `at`; c becomes the new chunk. */
static bool chunk_try_move(struct quicklist *ql, struct ql_chunk **c, size_t cap, size_t at)
{
    struct ql_chunk *old = *c, *fresh = chunk_try_new(ql, cap, at);
    if (fresh == NULL) return false;
    uint32_t begin = fresh->begin, used = ql_used(old);
    uint32_t new_cap = fresh->cap;
    *fresh = *old;
    fresh->cap = new_cap;
    fresh->begin = begin;
    fresh->end = begin + used;
    memcpy(fresh->data + begin, ql_begin(old), used);
    if (fresh->prev != NULL) fresh->prev->next = fresh;
    if (fresh->next != NULL) fresh->next->prev = fresh;
    if (ql->head == old) ql->head = fresh;
    if (ql->tail == old) ql->tail = fresh;
    if (fresh->left != NULL) fresh->left->parent = fresh;
    if (fresh->right != NULL) fresh->right->parent = fresh;
    replace_child(ql, fresh->parent, old, fresh);
    chunk_free(ql, old);
    *c = fresh;
    return true;
}

static void chunk_slide(struct ql_chunk *c, uint32_t at)
{
    uint32_t used = ql_used(c);
    assert(at + used <= c->cap);
    memmove(c->data + at, ql_begin(c), used);
    c->begin = at;
    c->end = at + used;
}

static uint32_t cap_max(struct ql_limit limit)
{
    return limit.block_bytes - (uint32_t)sizeof(struct ql_chunk);
}

static bool fits(uint64_t used, uint64_t count, size_t item_bytes, struct ql_limit limit)
{
    return used + item_bytes <= cap_max(limit) && count < limit.count;
}

static bool chunk_fits(const struct ql_chunk *c, size_t item_bytes, struct ql_limit limit)
{
    return fits(ql_used(c), c->count, item_bytes, limit);
}

/* Capacity of a chunk that is about to hold `need` bytes. */
static size_t cap_for(const struct quicklist *ql, size_t need, size_t block_wish,
                      struct ql_limit limit)
{
    size_t block = ql->chunks >= GROWN_CHUNKS ? ql->bytes / ql->chunks : QL_BLOCK_MIN;
    if (block < block_wish) block = block_wish;
    if (block < block_of(0) + need) block = block_of(0) + need;
    block = mem_good_size(block);
    size_t most = limit.block_bytes > block_of(0) + need ? limit.block_bytes : block_of(0) + need;
    return (block < most ? block : most) - block_of(0);
}

/* ---- ends */

/* Room of `bytes` at one end of c; c may move. False: full (*full_out) or out of memory. */
static bool end_try_room(struct quicklist *ql, struct ql_chunk **chunk, bool at_head, size_t bytes,
                         struct ql_limit limit, bool *full_out)
{
    struct ql_chunk *c = *chunk;
    *full_out = false;
    if ((at_head ? c->begin : c->cap - c->end) >= bytes) return true;
    uint32_t used = ql_used(c), slack = c->cap - used, other = slack / 4;
    if (slack >= c->cap / 4 && slack - other >= bytes) {
        /* Some slack stays at the other end: pushing at both in turn must not slide each time. */
        chunk_slide(c, at_head ? slack - other : other);
        return true;
    }
    size_t cap = cap_for(ql, used + bytes, 2 * block_of(c->cap), limit);
    if (cap <= c->cap) {
        *full_out = true;
        return false;
    }
    return chunk_try_move(ql, chunk, cap, at_head ? cap - used : 0);
}

static void end_write(struct quicklist *ql, struct ql_chunk *c, bool at_head,
                      const struct lp_item *item)
{
    uint32_t bytes = (uint32_t)item->size;
    if (at_head) {
        c->begin -= bytes;
        lp_write(c->data + c->begin, item);
    } else {
        lp_write(c->data + c->end, item);
        c->end += bytes;
    }
    set_count(ql, c, c->count + 1);
}

static struct ql_chunk *chunk_try_with(struct quicklist *ql, bool at_head,
                                       const struct lp_item *item, struct ql_limit limit)
{
    size_t cap = cap_for(ql, item->size, 0, limit);
    struct ql_chunk *c = chunk_try_new(ql, cap, at_head ? cap - item->size : 0);
    if (c == NULL) return NULL;
    lp_write(c->data + c->begin, item);
    c->end = c->begin + (uint32_t)item->size;
    c->count = 1;
    return c;
}

bool quicklist_try_push(struct quicklist *ql, bool at_head, const struct lp_item *item,
                        struct ql_limit limit)
{
    struct ql_chunk *c = at_head ? ql->head : ql->tail;
    if (c != NULL && chunk_fits(c, item->size, limit)) {
        bool full;
        if (end_try_room(ql, &c, at_head, item->size, limit, &full)) {
            end_write(ql, c, at_head, item);
            return true;
        }
        if (!full) return false;
    }
    c = chunk_try_with(ql, at_head, item, limit);
    if (c == NULL) return false;
    link_between(ql, at_head ? NULL : ql->tail, c, at_head ? ql->head : NULL);
    return true;
}

bool quicklist_try_adopt(struct quicklist *ql, struct bytes entries, uint32_t count)
{
    assert(ql->count == 0);
    if (count == 0) return true;
    struct ql_chunk *c = chunk_try_new(ql, entries.len, 0);
    if (c == NULL) return false;
    memcpy(c->data, entries.data, entries.len);
    c->end = (uint32_t)entries.len;
    c->count = count;
    link_between(ql, NULL, c, NULL);
    return true;
}

void quicklist_drop(struct quicklist *ql, bool at_head, uint64_t count)
{
    assert(count <= ql->count);
    while (count > 0) {
        struct ql_chunk *c = at_head ? ql->head : ql->tail;
        if (count >= c->count) {
            count -= c->count;
            unlink_free(ql, c);
            continue;
        }
        const uint8_t *p = at_head ? lp_seek(ql_begin(c), ql_end(c), c->count, count)
                                   : lp_seek(ql_begin(c), ql_end(c), c->count, c->count - count);
        if (at_head) {
            c->begin = (uint32_t)(p - c->data);
        } else {
            c->end = (uint32_t)(p - c->data);
        }
        set_count(ql, c, c->count - (uint32_t)count);
        count = 0;
    }
}

/* ---- the middle */

struct ql_chunk *quicklist_locate(const struct quicklist *ql, uint64_t index,
                                  uint32_t *index_in_chunk_out)
{
    assert(index < ql->count);
    struct ql_chunk *c = ql->head;
    if (index >= c->count) {
        uint64_t from_tail = ql->count - index;
        if (from_tail <= ql->tail->count) {
            *index_in_chunk_out = ql->tail->count - (uint32_t)from_tail;
            return ql->tail;
        }
        index -= c->count;
        c = ql->root;
        for (;;) {
            assert(c != NULL);
            uint64_t left = sum_of(c->left);
            if (index < left) {
                c = c->left;
            } else if (index - left < c->weight) {
                index -= left;
                break;
            } else {
                index -= left + c->weight;
                c = c->right;
            }
        }
    }
    *index_in_chunk_out = (uint32_t)index;
    return c;
}

static uint32_t entry_offset(const struct ql_chunk *c, uint32_t index)
{
    if (index == c->count) return c->end;
    return (uint32_t)(lp_seek(ql_begin(c), ql_end(c), c->count, index) - c->data);
}

/* Opens a gap of `bytes` before offset *at; c may move, *at becomes where the gap lies. */
static bool gap_try_open(struct quicklist *ql, struct ql_chunk **chunk, uint32_t *at,
                         uint32_t bytes, struct ql_limit limit)
{
    struct ql_chunk *c = *chunk;
    uint32_t front = *at - c->begin, back = c->end - *at;
    if (c->begin < bytes && c->cap - c->end < bytes) {
        uint32_t used = front + back;
        if (c->cap - used >= bytes) {
            chunk_slide(c, 0);
        } else if (!chunk_try_move(ql, chunk,
                                   cap_for(ql, used + bytes, 2 * block_of(c->cap), limit), 0)) {
            return false;
        }
        c = *chunk;
        *at = c->begin + front;
    }
    if (c->begin >= bytes && (front <= back || c->cap - c->end < bytes)) {
        memmove(c->data + c->begin - bytes, c->data + c->begin, front);
        c->begin -= bytes;
        *at -= bytes;
    } else {
        memmove(c->data + *at + bytes, c->data + *at, back);
        c->end += bytes;
    }
    return true;
}

static void gap_close(struct ql_chunk *c, uint32_t at, uint32_t bytes)
{
    uint32_t front = at - c->begin, back = c->end - at - bytes;
    if (front < back) {
        memmove(c->data + c->begin + bytes, c->data + c->begin, front);
        c->begin += bytes;
    } else {
        memmove(c->data + at, c->data + at + bytes, back);
        c->end -= bytes;
    }
}

static bool chunk_try_insert(struct quicklist *ql, struct ql_chunk *c, uint32_t at,
                             const struct lp_item *item, struct ql_limit limit)
{
    if (!gap_try_open(ql, &c, &at, (uint32_t)item->size, limit)) return false;
    lp_write(c->data + at, item);
    set_count(ql, c, c->count + 1);
    return true;
}

/* The entries from offset `at` on, with the item before them if `with`, as a new chunk. */
static struct ql_chunk *split_try_right(struct quicklist *ql, const struct ql_chunk *c, uint32_t at,
                                        uint32_t count, const struct lp_item *with)
{
    size_t bytes = c->end - at, extra = with != NULL ? with->size : 0;
    struct ql_chunk *right = chunk_try_new(ql, bytes + extra, 0);
    if (right == NULL) return NULL;
    if (with != NULL) lp_write(right->data, with);
    memcpy(right->data + extra, c->data + at, bytes);
    right->end = right->cap;
    right->count = count + (with != NULL ? 1 : 0);
    return right;
}

/* Inserts before entry `index` (0 < index < count) of a full chunk: splits it there. */
static bool split_try_insert(struct quicklist *ql, struct ql_chunk *c, uint32_t index,
                             const struct lp_item *item, struct ql_limit limit)
{
    uint32_t at = entry_offset(c, index), right_count = c->count - index, right_bytes = c->end - at;
    bool to_left = fits(at - c->begin, index, item->size, limit) && c->cap - at >= item->size;
    bool to_right = !to_left && fits(right_bytes, right_count, item->size, limit);
    struct ql_chunk *own = NULL, *right;
    if (!to_left && !to_right) {
        own = chunk_try_with(ql, false, item, limit);
        if (own == NULL) return false;
    }
    right = split_try_right(ql, c, at, right_count, to_right ? item : NULL);
    if (right == NULL) {
        if (own != NULL) chunk_free(ql, own);
        return false;
    }
    c->end = at;
    set_count(ql, c, index);
    link_between(ql, c, right, c->next);
    if (own != NULL) link_between(ql, c, own, right);
    if (to_left) end_write(ql, c, false, item);
    return true;
}

bool quicklist_try_insert(struct quicklist *ql, uint64_t index, const struct lp_item *item,
                          struct ql_limit limit)
{
    assert(index <= ql->count);
    if (index == 0 || index == ql->count) return quicklist_try_push(ql, index == 0, item, limit);
    uint32_t in_chunk;
    struct ql_chunk *c = quicklist_locate(ql, index, &in_chunk);
    if (chunk_fits(c, item->size, limit))
        return chunk_try_insert(ql, c, entry_offset(c, in_chunk), item, limit);
    if (in_chunk > 0) return split_try_insert(ql, c, in_chunk, item, limit);
    if (chunk_fits(c->prev, item->size, limit))
        return chunk_try_insert(ql, c->prev, c->prev->end, item, limit);
    struct ql_chunk *own = chunk_try_with(ql, false, item, limit);
    if (own == NULL) return false;
    link_between(ql, c->prev, own, c);
    return true;
}

bool quicklist_try_set(struct quicklist *ql, uint64_t index, const struct lp_item *item,
                       struct ql_limit limit)
{
    uint32_t in_chunk;
    struct ql_chunk *c = quicklist_locate(ql, index, &in_chunk);
    uint32_t at = entry_offset(c, in_chunk), old = (uint32_t)lp_entry_size(c->data + at),
             fresh = (uint32_t)item->size;
    if (fresh > old && c->count > 1 && ql_used(c) - old + item->size > cap_max(limit)) {
        if (!quicklist_try_insert(ql, index, item, limit)) return false;
        quicklist_remove(ql, index + 1, 1, limit);
        return true;
    }
    if (fresh > old && !gap_try_open(ql, &c, &at, fresh - old, limit)) return false;
    if (fresh < old) {
        uint32_t end = c->end;
        gap_close(c, at, old - fresh);
        if (c->end == end) at += old - fresh; /* the entries before it moved up */
    }
    lp_write(c->data + at, item);
    return true;
}

/* Joins c and its successor if together they are at most half a chunk and one has the room. */
static void try_join(struct quicklist *ql, struct ql_chunk *c, struct ql_limit limit)
{
    if (c == NULL || c->next == NULL) return;
    struct ql_chunk *next = c->next;
    uint64_t used = (uint64_t)ql_used(c) + ql_used(next), count = (uint64_t)c->count + next->count;
    if (used > cap_max(limit) / 2 || count > limit.count) return;
    if (c->cap >= used) {
        chunk_slide(c, 0);
        memcpy(c->data + c->end, ql_begin(next), ql_used(next));
        c->end += ql_used(next);
        unlink_free(ql, next);
        set_count(ql, c, (uint32_t)count);
    } else if (next->cap >= used) {
        chunk_slide(next, next->cap - ql_used(next));
        next->begin -= ql_used(c);
        memcpy(next->data + next->begin, ql_begin(c), ql_used(c));
        unlink_free(ql, c);
        set_count(ql, next, (uint32_t)count);
    }
}

void quicklist_remove(struct quicklist *ql, uint64_t index, uint64_t count, struct ql_limit limit)
{
    assert(index <= ql->count);
    assert(count <= ql->count - index);
    if (count == 0) return;
    uint32_t in_chunk;
    struct ql_chunk *c = quicklist_locate(ql, index, &in_chunk),
                    *before = in_chunk > 0 ? c : c->prev;
    while (count > 0) {
        struct ql_chunk *next = c->next;
        uint32_t n = c->count - in_chunk;
        if (n > count) n = (uint32_t)count;
        if (n == c->count) {
            unlink_free(ql, c);
        } else {
            uint32_t at = entry_offset(c, in_chunk), end = entry_offset(c, in_chunk + n);
            gap_close(c, at, end - at);
            set_count(ql, c, c->count - n);
        }
        count -= n;
        in_chunk = 0;
        c = next;
    }
    struct ql_chunk *after = before != NULL ? before->next : ql->head;
    try_join(ql, after, limit);
    try_join(ql, before, limit);
}

/* Drops the matches numbered [skip, skip + n) of the chunk in one pass. */
static void chunk_remove_matches(struct quicklist *ql, struct ql_chunk *c,
                                 const struct lp_item *item, uint32_t skip, uint32_t n)
{
    const uint8_t *p = ql_begin(c), *end = ql_end(c);
    uint8_t *to = c->data + c->begin;
    uint32_t seen = 0;
    while (p < end) {
        size_t size = lp_entry_size(p);
        bool drop = lp_matches(p, item) && seen++ - skip < n;
        if (!drop) {
            if (to != p) memmove(to, p, size);
            to += size;
        }
        p += size;
    }
    c->end = (uint32_t)(to - c->data);
    set_count(ql, c, c->count - n);
}

static uint32_t chunk_count_matches(const struct ql_chunk *c, const struct lp_item *item)
{
    uint32_t n = 0;
    for (const uint8_t *p = ql_begin(c), *end = ql_end(c); p < end; p = lp_next(p))
        n += lp_matches(p, item);
    return n;
}

uint64_t quicklist_remove_equal(struct quicklist *ql, const struct lp_item *item, uint64_t max,
                                bool from_tail, struct ql_limit limit)
{
    uint64_t left = max == 0 ? UINT64_MAX : max, removed = 0;
    struct ql_chunk *c = from_tail ? ql->tail : ql->head;
    while (c != NULL && left > 0) {
        struct ql_chunk *following = from_tail ? c->prev : c->next;
        uint32_t matches = chunk_count_matches(c, item);
        uint32_t n = matches < left ? matches : (uint32_t)left;
        left -= n;
        removed += n;
        if (n == c->count) {
            unlink_free(ql, c);
        } else if (n > 0) {
            chunk_remove_matches(ql, c, item, from_tail ? matches - n : 0, n);
            /* With the one already visited: what lies ahead must stay where it is. */
            try_join(ql, from_tail ? c : c->prev, limit);
        }
        c = following;
    }
    return removed;
}

/* ---- whole lists */

void quicklist_init(struct quicklist *ql)
{
    memset(ql, 0, sizeof *ql);
}

bool quicklist_free_slice(struct quicklist *ql, uint32_t max_chunks)
{
    for (; ql->head != NULL && max_chunks > 0; max_chunks--)
        unlink_free(ql, ql->head);
    return ql->head == NULL;
}

bool quicklist_try_copy(const struct quicklist *source, struct quicklist *target)
{
    assert(target->head == NULL);
    for (const struct ql_chunk *c = source->head; c != NULL; c = c->next) {
        struct ql_chunk *copy = chunk_try_new(target, ql_used(c), 0);
        if (copy == NULL) {
            quicklist_free_slice(target, UINT32_MAX);
            return false;
        }
        memcpy(copy->data, ql_begin(c), ql_used(c));
        copy->end = ql_used(c);
        copy->count = c->count;
        link_between(target, target->tail, copy, NULL);
    }
    return true;
}

static bool chunk_check(const struct quicklist *ql, const struct ql_chunk *c)
{
    uint64_t count;
    if (c->begin > c->end || c->end > c->cap || c->count == 0) return false;
    if (!lp_check_entries(bytes_view(ql_begin(c), ql_used(c)), &count) || count != c->count)
        return false;
    if (c->weight != (is_end(ql, c) ? 0 : c->count)) return false;
    if (c->sum != c->weight + sum_of(c->left) + sum_of(c->right)) return false;
    if (c->left != NULL && (c->left->parent != c || c->left->priority > c->priority)) return false;
    if (c->right != NULL && (c->right->parent != c || c->right->priority > c->priority))
        return false;
    return c->parent != NULL || ql->root == c;
}

/* The chunk after c in the tree's order. */
static const struct ql_chunk *tree_next(const struct ql_chunk *c)
{
    if (c->right != NULL) {
        for (c = c->right; c->left != NULL;)
            c = c->left;
        return c;
    }
    while (c->parent != NULL && c->parent->right == c)
        c = c->parent;
    return c->parent;
}

bool quicklist_check(const struct quicklist *ql)
{
    uint64_t count = 0, bytes = 0, chunks = 0;
    const struct ql_chunk *prev = NULL;
    for (const struct ql_chunk *c = ql->head; c != NULL; prev = c, c = c->next) {
        if (c->prev != prev || !chunk_check(ql, c) || tree_next(c) != c->next) return false;
        count += c->count;
        bytes += mem_good_size(block_of(c->cap));
        chunks++;
    }
    if (ql->tail != prev || (ql->root == NULL) != (ql->head == NULL)) return false;
    return count == ql->count && bytes == ql->bytes && chunks == ql->chunks;
}
