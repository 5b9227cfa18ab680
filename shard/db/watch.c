#include "shard/db/watch.h"

#define CAP_MIN 16u

struct pair {
    struct watched *key;
    struct watcher *watcher;
    struct pair *of_key, *of_watcher; /* next ones */
    bool expired;
};
struct watched {
    struct watched *next;
    struct pair *pairs;
    uint64_t hash;
    uint16_t slot;
    uint8_t db;
    uint32_t len;
    uint8_t name[];
};
struct watcher {
    struct watcher *next;
    struct pair *pairs;
    uint64_t number;
    bool changed;
};

/* ---- the two tables */

static uint32_t key_place(const struct watches *ws, uint64_t hash)
{
    return (uint32_t)(hash & (ws->keys_cap - 1));
}

static uint32_t watcher_place(const struct watches *ws, uint64_t number)
{
    return (uint32_t)(number * 0x9E3779B97F4A7C15u >> 32) & (ws->watchers_cap - 1);
}

static struct watched **find_key(const struct watches *ws, const struct db_key *key)
{
    struct watched **at = &ws->key[key_place(ws, key->hash)];
    while (*at != NULL) {
        const struct watched *k = *at;
        if (k->hash == key->hash && k->db == key->db &&
            bytes_equal(bytes_view(k->name, k->len), key->name))
            break;
        at = &(*at)->next;
    }
    return at;
}

static struct watcher **find_watcher(const struct watches *ws, uint64_t number)
{
    struct watcher **at = &ws->by_number[watcher_place(ws, number)];
    while (*at != NULL && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

/* Without memory a table stays as it is, only longer to walk; the first one must be there. */
static bool grow_keys(struct watches *ws)
{
    uint32_t old_cap = ws->keys_cap, cap = old_cap == 0 ? CAP_MIN : old_cap * 2;
    struct watched **old = ws->key, **larger = mem_try_zalloc(MEM_EXEC, cap * sizeof *larger);
    if (larger == NULL) return old != NULL;
    ws->keys_cap = cap;
    ws->key = larger;
    for (uint32_t i = 0; i < old_cap; i++)
        while (old[i] != NULL) {
            struct watched *k = old[i];
            old[i] = k->next;
            k->next = ws->key[key_place(ws, k->hash)];
            ws->key[key_place(ws, k->hash)] = k;
        }
    mem_free(MEM_EXEC, old, old_cap * sizeof(struct watched *));
    return true;
}

static bool grow_watchers(struct watches *ws)
{
    uint32_t old_cap = ws->watchers_cap, cap = old_cap == 0 ? CAP_MIN : old_cap * 2;
    struct watcher **old = ws->by_number, **larger = mem_try_zalloc(MEM_EXEC, cap * sizeof *larger);
    if (larger == NULL) return old != NULL;
    ws->watchers_cap = cap;
    ws->by_number = larger;
    for (uint32_t i = 0; i < old_cap; i++)
        while (old[i] != NULL) {
            struct watcher *w = old[i];
            old[i] = w->next;
            w->next = ws->by_number[watcher_place(ws, w->number)];
            ws->by_number[watcher_place(ws, w->number)] = w;
        }
    mem_free(MEM_EXEC, old, old_cap * sizeof(struct watcher *));
    return true;
}

static struct watched *take_key(struct watches *ws, const struct db_key *key)
{
    if (ws->keys >= ws->keys_cap && !grow_keys(ws)) return NULL;
    struct watched **at = find_key(ws, key);
    if (*at != NULL) return *at;
    struct watched *k = mem_try_alloc(MEM_EXEC, sizeof *k + key->name.len);
    if (k == NULL) return NULL;
    *k = (struct watched){
        .hash = key->hash, .slot = key->slot, .db = key->db, .len = (uint32_t)key->name.len};
    if (k->len > 0) memcpy(k->name, key->name.data, k->len);
    ws->keys++;
    return *at = k;
}

static struct watcher *take_watcher(struct watches *ws, uint64_t number)
{
    if (ws->watchers >= ws->watchers_cap && !grow_watchers(ws)) return NULL;
    struct watcher **at = find_watcher(ws, number);
    if (*at != NULL) return *at;
    struct watcher *w = mem_try_alloc(MEM_EXEC, sizeof *w);
    if (w == NULL) return NULL;
    *w = (struct watcher){.number = number};
    ws->watchers++;
    return *at = w;
}

/* ---- keys come and go */

static struct db_key address(const struct watched *k)
{
    return (struct db_key){
        .name = bytes_view(k->name, k->len), .hash = k->hash, .slot = k->slot, .db = k->db};
}

static void forget_key(struct watches *ws, struct watched *k)
{
    if (k->pairs != NULL) return;
    struct db_key key = address(k);
    *find_key(ws, &key) = k->next;
    ws->keys--;
    mem_free(MEM_EXEC, k, sizeof *k + k->len);
}

static void forget_watcher(struct watches *ws, struct watcher *w)
{
    *find_watcher(ws, w->number) = w->next;
    ws->watchers--;
    mem_free(MEM_EXEC, w, sizeof *w);
}

/* It would be in both lists: the shorter one says. A client may watch very many keys, and very many a key. */
static bool is_pair(const struct watched *k, const struct watcher *w)
{
    const struct pair *a = k->pairs, *b = w->pairs;
    for (; a != NULL && b != NULL; a = a->of_key, b = b->of_watcher)
        if (a->watcher == w || b->key == k) return true;
    return false;
}

bool watch_add(struct watches *ws, uint64_t watcher, const struct db_key *key, bool expired)
{
    struct watched *k = take_key(ws, key);
    if (k == NULL) return false;
    struct watcher *w = take_watcher(ws, watcher);
    if (w == NULL) {
        forget_key(ws, k);
        return false;
    }
    if (is_pair(k, w)) return true;
    struct pair *p = mem_try_alloc(MEM_EXEC, sizeof *p);
    if (p == NULL) {
        forget_key(ws, k);
        if (w->pairs == NULL) forget_watcher(ws, w);
        return false;
    }
    *p = (struct pair){
        .key = k, .watcher = w, .of_key = k->pairs, .of_watcher = w->pairs, .expired = expired};
    k->pairs = w->pairs = p;
    ws->count++;
    return true;
}

static void drop_pair(struct watches *ws, struct pair *p)
{
    struct pair **link = &p->key->pairs;
    while (*link != p)
        link = &(*link)->of_key;
    *link = p->of_key;
    struct watched *k = p->key;
    mem_free(MEM_EXEC, p, sizeof *p);
    ws->count--;
    forget_key(ws, k);
}

bool watch_drop(struct watches *ws, uint64_t watcher)
{
    if (ws->watchers == 0) return false;
    struct watcher *w = *find_watcher(ws, watcher);
    if (w == NULL) return false;
    bool changed = w->changed;
    while (w->pairs != NULL) {
        struct pair *p = w->pairs;
        w->pairs = p->of_watcher;
        drop_pair(ws, p);
    }
    forget_watcher(ws, w);
    return changed;
}

void watches_free(struct watches *ws)
{
    for (uint32_t i = 0; i < ws->watchers_cap; i++)
        while (ws->by_number[i] != NULL)
            (void)watch_drop(ws, ws->by_number[i]->number);
    mem_free(MEM_EXEC, ws->key, ws->keys_cap * sizeof(struct watched *));
    mem_free(MEM_EXEC, ws->by_number, ws->watchers_cap * sizeof(struct watcher *));
    *ws = (struct watches){.count = 0};
}

/* ---- keys change */

void watch_touch(struct watches *ws, const struct db_key *key, bool is_there)
{
    if (ws->keys == 0) return;
    const struct watched *k = *find_key(ws, key);
    if (k == NULL) return;
    for (struct pair *p = k->pairs; p != NULL; p = p->of_key) {
        if (p->expired && !is_there)
            p->expired = false; /* it read as absent before: nothing has changed */
        else
            p->watcher->changed = true;
    }
}

static void judge_pair(struct pair *p, watch_judge *judge, void *ctx)
{
    struct db_key key = address(p->key);
    switch (judge(ctx, &key, p->expired)) {
    case WATCH_SAME:
        return;
    case WATCH_CHANGED:
        p->watcher->changed = true;
        return;
    case WATCH_IS_EXPIRED:
        p->expired = true;
        return;
    case WATCH_NOT_EXPIRED:
        p->expired = false;
        return;
    }
}

void watch_judge_watcher(struct watches *ws, uint64_t watcher, watch_judge *judge, void *ctx)
{
    if (ws->watchers == 0) return;
    const struct watcher *w = *find_watcher(ws, watcher);
    if (w == NULL) return;
    for (struct pair *p = w->pairs; p != NULL; p = p->of_watcher)
        judge_pair(p, judge, ctx);
}

void watch_judge_db(struct watches *ws, uint8_t db, watch_judge *judge, void *ctx)
{
    for (uint32_t i = 0; i < ws->keys_cap; i++)
        for (const struct watched *k = ws->key[i]; k != NULL; k = k->next)
            if (k->db == db)
                for (struct pair *p = k->pairs; p != NULL; p = p->of_key)
                    judge_pair(p, judge, ctx);
}
