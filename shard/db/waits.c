#include "shard/db/waits.h"

#include "shard/base/planted.h"

#define CAP_MIN 16u

/*  wait_key k ── queue: entry ─ entry ─ entry      in the order of coming
 *                          │       │
 *  waiting w ── entries: entry ─ entry             in no order */
struct wait_entry {
    struct wait_entry *next, **link; /* of the key */
    struct wait_entry *of_waiting;
    struct wait_key *key;
    struct waiting *who;
    uint32_t place;
};
struct wait_key {
    struct wait_key *next; /* of the table's chain */
    struct wait_entry *head, **tail;
    struct wait_key *ready_next;
    bool ready; /* in the list of ready keys */
    bool taken; /* by waits_take_ready() */
    uint64_t hash;
    uint16_t slot;
    uint8_t db;
    uint32_t len;
    uint8_t name[];
};

void waits_init(struct waits *ws)
{
    *ws = (struct waits){.count = 0};
    ws->ready_tail = &ws->ready_head;
}

/* ---- the table */

static struct wait_key **find(const struct waits *ws, const struct db_key *key)
{
    struct wait_key **at = &ws->table[key->hash & (ws->cap - 1)];
    while (*at != NULL) {
        const struct wait_key *k = *at;
        if (k->hash == key->hash && k->db == key->db &&
            bytes_equal(bytes_view(k->name, k->len), key->name))
            break;
        at = &(*at)->next;
    }
    return at;
}

static bool try_grow(struct waits *ws)
{
    uint32_t old_cap = ws->cap, cap = old_cap == 0 ? CAP_MIN : old_cap * 2;
    struct wait_key **table = mem_try_zalloc(MEM_EXEC, cap * sizeof(struct wait_key *));
    if (table == NULL) return false;
    for (uint32_t i = 0; i < old_cap; i++)
        while (ws->table[i] != NULL) {
            struct wait_key *k = ws->table[i];
            ws->table[i] = k->next;
            k->next = table[k->hash & (cap - 1)];
            table[k->hash & (cap - 1)] = k;
        }
    mem_free(MEM_EXEC, ws->table, old_cap * sizeof(struct wait_key *));
    ws->table = table;
    ws->cap = cap;
    return true;
}

static struct wait_key *try_take_key(struct waits *ws, const struct db_key *key)
{
    if (ws->keys == ws->cap && !try_grow(ws)) return NULL;
    struct wait_key **at = find(ws, key);
    if (*at != NULL) return *at;
    struct wait_key *k = mem_try_zalloc(MEM_EXEC, sizeof *k + key->name.len);
    if (k == NULL) return NULL;
    k->tail = &k->head;
    k->hash = key->hash;
    k->slot = key->slot;
    k->db = key->db;
    k->len = (uint32_t)key->name.len;
    if (k->len > 0) memcpy(k->name, key->name.data, k->len);
    ws->keys++;
    return *at = k;
}

/* A key that somebody waits for, or serves, stays. */
static void free_if_unused(struct waits *ws, struct wait_key *k)
{
    if (k->head != NULL || k->ready || k->taken) return;
    struct db_key key = waits_address(k);
    *find(ws, &key) = k->next;
    ws->keys--;
    mem_free(MEM_EXEC, k, sizeof *k + k->len);
}

/* ---- who waits */

static struct wait_entry *entry_of(const struct waiting *who, const struct wait_key *k)
{
    struct wait_entry *e = who->entries;
    while (e != NULL && e->key != k)
        e = e->of_waiting;
    return e;
}

bool waits_try_add(struct waits *ws, struct waiting *who, const struct db_key *key, uint32_t place)
{
    struct wait_key *k = try_take_key(ws, key);
    if (k == NULL) return false;
    if (entry_of(who, k) != NULL) return true;
    struct wait_entry *e = mem_try_alloc(MEM_EXEC, sizeof *e);
    if (e == NULL) {
        free_if_unused(ws, k);
        return false;
    }
    *e = (struct wait_entry){
        .link = k->tail, .of_waiting = who->entries, .key = k, .who = who, .place = place};
    *k->tail = e;
    k->tail = &e->next;
    who->entries = e;
    ws->count++;
    return true;
}

static void unlink_entry(struct wait_entry *e)
{
    *e->link = e->next;
    if (e->next != NULL)
        e->next->link = e->link;
    else
        e->key->tail = e->link;
}

void waits_drop(struct waits *ws, struct waiting *who)
{
    while (who->entries != NULL) {
        struct wait_entry *e = who->entries;
        who->entries = e->of_waiting;
        unlink_entry(e);
        free_if_unused(ws, e->key);
        mem_free(MEM_EXEC, e, sizeof *e);
        ws->count--;
    }
}

static void free_key(struct wait_key *k)
{
    while (k->head != NULL) {
        struct wait_entry *e = k->head;
        k->head = e->next;
        e->who->entries = NULL;
        mem_free(MEM_EXEC, e, sizeof *e);
    }
    mem_free(MEM_EXEC, k, sizeof *k + k->len);
}

void waits_free(struct waits *ws)
{
    for (uint32_t i = 0; i < ws->cap; i++)
        while (ws->table[i] != NULL) {
            struct wait_key *k = ws->table[i];
            ws->table[i] = k->next;
            free_key(k);
        }
    mem_free(MEM_EXEC, ws->table, ws->cap * sizeof(struct wait_key *));
    waits_init(ws);
}

/* ---- ready keys */

static void note_ready(struct waits *ws, struct wait_key *k)
{
    if (k->ready || k->head == NULL) return;
    k->ready = true;
    k->ready_next = NULL;
    *ws->ready_tail = k;
    ws->ready_tail = &k->ready_next;
}

void waits_ready(struct waits *ws, const struct db_key *key)
{
    if (ws->keys == 0) return;
    struct wait_key *k = *find(ws, key);
    if (k != NULL) note_ready(ws, k);
}

void waits_ready_db(struct waits *ws, uint8_t db)
{
    for (uint32_t i = 0; i < ws->cap; i++)
        for (struct wait_key *k = ws->table[i]; k != NULL; k = k->next)
            if (k->db == db) note_ready(ws, k);
}

struct wait_key *waits_take_ready(struct waits *ws)
{
    struct wait_key *k = ws->ready_head;
    if (k == NULL) return NULL;
    ws->ready_head = k->ready_next;
    if (ws->ready_head == NULL) ws->ready_tail = &ws->ready_head;
    k->ready = false;
    k->taken = true;
    return k;
}

struct db_key waits_address(const struct wait_key *k)
{
    return (struct db_key){
        .name = bytes_view(k->name, k->len), .hash = k->hash, .slot = k->slot, .db = k->db};
}

static struct waiting *last_of(const struct wait_key *k, enum value_type type, uint32_t *place_out)
{
    struct waiting *who = NULL;
    for (const struct wait_entry *e = k->head; e != NULL; e = e->next) {
        if (e->who->type != type) continue;
        *place_out = e->place;
        who = e->who;
    }
    return who;
}

struct waiting *waits_first(const struct wait_key *k, enum value_type type, uint32_t *place_out)
{
    if (planted(LAST_WAITER_FIRST)) return last_of(k, type, place_out);
    for (const struct wait_entry *e = k->head; e != NULL; e = e->next) {
        if (e->who->type != type) continue;
        *place_out = e->place;
        return e->who;
    }
    return NULL;
}

void waits_release(struct waits *ws, struct wait_key *k)
{
    k->taken = false;
    free_if_unused(ws, k);
}

void waits_put_back(struct waits *ws, struct wait_key *k)
{
    k->taken = false;
    if (k->ready) return; /* it became so again meanwhile */
    k->ready = true;
    k->ready_next = ws->ready_head;
    if (ws->ready_head == NULL) ws->ready_tail = &k->ready_next;
    ws->ready_head = k;
}

/* ---- tests */

static bool check_key(const struct wait_key *k, uint32_t *entries)
{
    struct wait_entry *const *link = &k->head;
    if (k->head == NULL && !k->ready && !k->taken) return false;
    for (const struct wait_entry *e = k->head; e != NULL; e = e->next) {
        if (e->link != link || e->key != k || entry_of(e->who, k) != e) return false;
        link = &e->next;
        ++*entries;
    }
    return k->tail == link;
}

bool waits_check(const struct waits *ws)
{
    uint32_t keys = 0, entries = 0, ready = 0, in_list = 0;
    for (uint32_t i = 0; i < ws->cap; i++)
        for (const struct wait_key *k = ws->table[i]; k != NULL; k = k->next) {
            if (!check_key(k, &entries)) return false;
            keys++;
            ready += k->ready;
        }
    for (const struct wait_key *k = ws->ready_head; k != NULL; k = k->ready_next)
        in_list++;
    return keys == ws->keys && entries == ws->count && ready == in_list;
}
