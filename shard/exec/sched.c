/* Each key that somebody named has a queue, and its state lies in the first of its granted intents; a table leads
 * from the key's hash to that one. The granted form a list in any order; those that wait a heap (pairing heap) by
 * ticket, those of one ticket by arrival:
 *
 *      key k   T9 read ✓ — T4 read ✓     T6 write … — T7 read …, lone read … (counts as 7)
 *              granted                   waiting: T6 is next
 *
 * Whoever comes first of those that wait may take back what was granted to others behind it, if it does not go together
 * with its own. Looking for these takes as many steps as are granted, so `recallable` tells whether there are any: it
 * is exact after each look, and whoever has begun is no longer counted.
 *
 * One more queue, of the whole shard, holds every entry: by intention (reads or writes some keys), or by the
 * real thing (FLUSHALL writes all, KEYS reads all). */
#include "shard/exec/sched.h"

#include <string.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"
#include "shard/base/planted.h"

#define CHUNK_NODES 64u
#define SLOTS_MIN 64u
#define KEEP_NODES 16384u /* and as many slots: more is given back when nobody is under way */

#define MODES 5u

struct queue { /* of the first granted intent of a key */
    struct sched_node *waiting;
    uint64_t newest;     /* nobody here has a larger ticket */
    uint64_t recallable; /* nor has anybody whose grant may be taken back */
    uint64_t last;       /* arrival of the last one in */
    uint32_t granted[MODES];
};
struct sched_node {
    struct sched_node *next,
        *prev; /* granted: the list; waiting: its brothers, and before the first the parent */
    struct sched_node *child;
    struct sched_node *sibling; /* of the same entry; in the free list */
    struct sched_entry *entry;
    uint64_t fingerprint; /* no meaning in the queue of all */
    uint8_t mode;
    bool of_all, granted;
    struct queue q;
};
struct sched_chunk {
    struct sched_chunk *next;
    struct sched_node nodes[CHUNK_NODES];
};

/* By mode, bits of the modes that it does not go together with. In the queue of a key only the two of the
 * real thing appear, and those that serve. */
static const uint8_t conflicts[MODES] = {
    [SCHED_READ] = 1 << SCHED_ALL_WRITE,
    [SCHED_WRITE] = 1 << SCHED_ALL_READ | 1 << SCHED_ALL_WRITE,
    [SCHED_ALL_READ] = 1 << SCHED_WRITE | 1 << SCHED_ALL_WRITE | 1 << SCHED_SERVE,
    [SCHED_ALL_WRITE] = 0x1f,
    [SCHED_SERVE] = 1 << SCHED_ALL_READ | 1 << SCHED_ALL_WRITE,
};

static bool writes(enum sched_mode mode)
{
    return mode == SCHED_WRITE || mode == SCHED_ALL_WRITE;
}

static enum sched_mode on_key(enum sched_mode mode)
{
    if (mode == SCHED_SERVE) return SCHED_SERVE;
    return writes(mode) ? SCHED_ALL_WRITE : SCHED_ALL_READ;
}

static enum sched_mode on_all(enum sched_mode mode)
{
    return mode == SCHED_SERVE ? SCHED_WRITE : mode;
}

/* Tickets: who serves, then lone commands that wait for nobody but those; transactions' begin with the latter. */
#define TICKET_SERVES 0u
#define TICKET_FIRST 1u

#ifdef MOON_TEST
_Thread_local uint64_t sched_steps;
#define STEP() (void)sched_steps++
#else
#define STEP() (void)0
#endif

/* ---- those that wait for a key */

static bool is_before(const struct sched_entry *a, const struct sched_entry *b)
{
    STEP();
    return a->ticket != b->ticket ? a->ticket < b->ticket : a->arrival < b->arrival;
}

static struct sched_node *meld(struct sched_node *a, struct sched_node *b)
{
    if (a == NULL) return b;
    if (b == NULL) return a;
    if (is_before(b->entry, a->entry)) {
        struct sched_node *first = b;
        b = a;
        a = first;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next != NULL) b->next->prev = b;
    a->child = b;
    a->next = a->prev = NULL;
    return a;
}

static struct sched_node *meld_brothers(struct sched_node *first)
{
    struct sched_node *pairs = NULL, *root = NULL;
    while (first != NULL) {
        struct sched_node *a = first, *b = a->next;
        first = b == NULL ? NULL : b->next;
        a->next = a->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        struct sched_node *rest = pairs->next;
        pairs->next = pairs->prev = NULL;
        root = meld(root, pairs);
        pairs = rest;
    }
    return root;
}

static void heap_add(struct sched_node **root, struct sched_node *n)
{
    n->child = n->next = n->prev = NULL;
    *root = meld(*root, n);
}

static void heap_remove(struct sched_node **root, struct sched_node *n)
{
    struct sched_node *rest = meld_brothers(n->child);
    if (n == *root) {
        *root = rest;
        return;
    }
    if (n->prev->child == n)
        n->prev->child = n->next;
    else
        n->prev->next = n->next;
    if (n->next != NULL) n->next->prev = n->prev;
    *root = meld(*root, rest);
}

/* ---- one queue */

static bool goes_with(const struct queue *q, enum sched_mode mode)
{
    for (uint32_t m = 0; m < MODES; m++)
        if (q->granted[m] > 0 && (conflicts[mode] & 1u << m)) return false;
    return true;
}

/* Would an intent behind all others be granted? */
static bool is_free(const struct sched_node *head, enum sched_mode mode)
{
    return head == NULL || (head->q.waiting == NULL && goes_with(&head->q, mode));
}

static void grant(struct sched_node **head, struct sched_node *n)
{
    struct queue *q = &(*head)->q;
    n->granted = true;
    q->granted[n->mode]++;
    if (n->entry->ticket > q->recallable) q->recallable = n->entry->ticket;
    n->next = n->prev = NULL;
    if (n == *head) return;
    n->prev = *head;
    n->next = (*head)->next;
    if (n->next != NULL) n->next->prev = n;
    (*head)->next = n;
}

/* Whoever waits yet, or has not been told, counts on nothing. */
static bool may_recall(const struct sched *s, struct sched_entry *e)
{
    if (planted(NEVER_RECALL)) return false;
    if (e->waits > 0 || e->listed) return true;
    return !e->lone && s->recall != NULL && s->recall(e);
}

/* What was granted behind n and does not go with it waits again. If nothing is left n is the head. */
static void take_back(const struct sched *s, struct sched_node **head, struct sched_node *n)
{
    struct queue q = (*head)->q;
    struct sched_node *kept = NULL, *g = *head;
    q.recallable = 0;
    while (g != NULL) {
        struct sched_node *next = g->next;
        bool in_way = (conflicts[n->mode] & 1u << g->mode) && is_before(n->entry, g->entry);
        STEP();
        if (in_way && may_recall(s, g->entry)) {
            g->granted = false;
            g->entry->waits++;
            q.granted[g->mode]--;
            heap_add(&q.waiting, g);
        } else {
            if (!in_way && g->entry->ticket > q.recallable) q.recallable = g->entry->ticket;
            g->prev = NULL;
            g->next = kept;
            if (kept != NULL) kept->prev = g;
            kept = g;
        }
        g = next;
    }
    *head = kept != NULL ? kept : n;
    (*head)->q = q;
}

/* May n, before which nobody waits, be granted? */
static bool may_join(const struct sched *s, struct sched_node **head, struct sched_node *n)
{
    if (goes_with(&(*head)->q, n->mode)) return true;
    if (n->entry->ticket >= (*head)->q.recallable) return false;
    if (planted(LONE_WITHOUT_TICKET) && n->entry->lone && !n->entry->serves) return false;
    take_back(s, head, n);
    return goes_with(&(*head)->q, n->mode);
}

static void push(const struct sched *s, struct sched_node **head, struct sched_node *n)
{
    struct sched_entry *e = n->entry;
    if (*head == NULL) {
        n->q = (struct queue){.newest = e->ticket, .last = e->arrival};
        *head = n;
        grant(head, n);
        return;
    }
    struct queue *q = &(*head)->q;
    q->last = e->arrival;
    if (e->ticket > q->newest) q->newest = e->ticket;
    bool first = q->waiting == NULL || is_before(e, q->waiting->entry);
    if (first && may_join(s, head, n)) {
        grant(head, n);
        return;
    }
    n->granted = false;
    e->waits++;
    heap_add(&(*head)->q.waiting, n);
}

static void list_granted(struct sched *s, struct sched_entry *e)
{
    if (e->listed) return; /* it was taken back before anybody asked */
    e->listed = true;
    e->next = NULL;
    *(s->ready == NULL ? &s->ready : s->ready_tail) = e;
    s->ready_tail = &e->next;
}

static void grant_next(struct sched *s, struct sched_node **head)
{
    struct sched_node *w;
    while ((w = (*head)->q.waiting) != NULL && may_join(s, head, w)) {
        heap_remove(&(*head)->q.waiting, w);
        grant(head, w);
        assert(w->entry->waits > 0);
        if (--w->entry->waits == 0) list_granted(s, w->entry);
    }
}

static void take_out(struct sched *s, struct sched_node **head, struct sched_node *n)
{
    struct queue *q = &(*head)->q;
    if (!n->granted) {
        heap_remove(&q->waiting, n);
        grant_next(s, head);
        return;
    }
    q->granted[n->mode]--;
    if (n->next != NULL) n->next->prev = n->prev;
    if (n->prev != NULL) {
        n->prev->next = n->next;
    } else {
        *head = n->next != NULL ? n->next : q->waiting; /* the latter is granted in a moment */
        if (*head == NULL) return;
        if (n->next == NULL) q->recallable = 0;
        (*head)->q = *q;
    }
    grant_next(s, head);
}

/* ---- the table */

static uint32_t home_of(const struct sched *s, uint64_t fingerprint)
{
    return (uint32_t)(fingerprint >> 20) & (s->slots_cap - 1);
}

/* The place of a key, or the free one where it would go. */
static struct sched_slot *find(const struct sched *s, uint64_t fingerprint)
{
    uint32_t at = home_of(s, fingerprint);
    while (s->slots[at].head != NULL && s->slots[at].fingerprint != fingerprint)
        at = (at + 1) & (s->slots_cap - 1);
    return &s->slots[at];
}

static const struct sched_node *head_of(const struct sched *s, uint64_t fingerprint)
{
    return s->slots_used == 0 ? NULL : find(s, fingerprint)->head;
}

static void remove_slot(struct sched *s, struct sched_slot *slot)
{
    uint32_t mask = s->slots_cap - 1, hole = (uint32_t)(slot - s->slots);
    for (uint32_t at = (hole + 1) & mask; s->slots[at].head != NULL; at = (at + 1) & mask) {
        uint32_t home = home_of(s, s->slots[at].fingerprint);
        if (((at - home) & mask) < ((at - hole) & mask)) continue;
        s->slots[hole] = s->slots[at];
        hole = at;
    }
    s->slots[hole].head = NULL;
    s->slots_used--;
}

static bool grow_slots(struct sched *s, uint32_t cap)
{
    struct sched_slot *slots = mem_try_zalloc(MEM_EXEC, cap * sizeof *slots);
    if (slots == NULL) return false;
    struct sched old = *s;
    s->slots = slots;
    s->slots_cap = cap;
    for (uint32_t i = 0; i < old.slots_cap; i++)
        if (old.slots[i].head != NULL) *find(s, old.slots[i].fingerprint) = old.slots[i];
    mem_free(MEM_EXEC, old.slots, old.slots_cap * sizeof *slots);
    return true;
}

/* ---- memory */

static bool grow_nodes(struct sched *s)
{
    struct sched_chunk *c = mem_try_alloc(MEM_EXEC, sizeof *c);
    if (c == NULL) return false;
    c->next = s->chunks;
    s->chunks = c;
    for (uint32_t i = 0; i < CHUNK_NODES; i++) {
        c->nodes[i].sibling = s->free;
        s->free = &c->nodes[i];
    }
    s->free_count += CHUNK_NODES;
    s->nodes_count += CHUNK_NODES;
    return true;
}

/* Room for so many intents, so that nothing fails from there on. */
static bool reserve(struct sched *s, uint32_t count)
{
    uint32_t cap = s->slots_cap < SLOTS_MIN ? SLOTS_MIN : s->slots_cap;
    while (cap / 2 < s->slots_used + count)
        cap *= 2;
    if (unlikely(cap != s->slots_cap) && !grow_slots(s, cap)) return false;
    while (s->free_count < count)
        if (!grow_nodes(s)) return false;
    return true;
}

static void give_back(struct sched *s)
{
    mem_free(MEM_EXEC, s->slots, s->slots_cap * sizeof *s->slots);
    while (s->chunks != NULL) {
        struct sched_chunk *c = s->chunks;
        s->chunks = c->next;
        mem_free(MEM_EXEC, c, sizeof *c);
    }
    s->slots = NULL;
    s->free = NULL;
    s->slots_cap = s->slots_used = s->free_count = s->nodes_count = 0;
}

void sched_init(struct sched *s)
{
    *s = (struct sched){.entries = 0};
}

void sched_fini(struct sched *s)
{
    assert(s->entries == 0);
    give_back(s);
}

static struct sched_node *take_node(struct sched *s, struct sched_entry *e, enum sched_mode mode)
{
    struct sched_node *n = s->free;
    s->free = n->sibling;
    s->free_count--;
    n->entry = e;
    n->mode = (uint8_t)mode;
    n->sibling = e->nodes;
    e->nodes = n;
    return n;
}

/* ---- arriving */

static void enter_key(struct sched *s, struct sched_entry *e, enum sched_mode mode,
                      uint64_t fingerprint)
{
    struct sched_slot *slot = find(s, fingerprint);
    if (slot->head != NULL && slot->head->q.last == e->arrival) return; /* a key named twice */
    struct sched_node *n = take_node(s, e, mode);
    n->of_all = false;
    n->fingerprint = fingerprint;
    s->slots_used += slot->head == NULL;
    slot->fingerprint = fingerprint;
    push(s, &slot->head, n);
}

static void stamp(struct stamps *stamps, enum sched_mode mode, const uint64_t *fingerprints,
                  uint32_t count)
{
    if (mode == SCHED_ALL_WRITE) stamps_note_all(stamps);
    for (uint32_t i = 0; i < count; i++)
        stamps_note(stamps, fingerprints[i]);
}

static void enter(struct sched *s, struct sched_entry *e, enum sched_mode mode,
                  const uint64_t *fingerprints, uint32_t count, uint64_t order)
{
    e->arrival = s->arrivals++;
    e->nodes = NULL;
    e->waits = 0;
    e->listed = false;
    e->mode = (uint8_t)mode;
    s->entries++;
    s->global += mode == SCHED_ALL_READ || mode == SCHED_ALL_WRITE;
    s->lone += e->lone;
    struct sched_node *n = take_node(s, e, on_all(mode));
    n->of_all = true;
    push(s, &s->all, n);
    uint32_t first = !e->lone && planted(SKIP_LOCK);
    for (uint32_t i = first; i < count; i++)
        enter_key(s, e, on_key(mode), fingerprints[i]);
    if (order != 0) enter_key(s, e, SCHED_ALL_WRITE, order);
    if (s->stamps != NULL && !e->lone && writes(mode) && !planted(INTENT_UNSTAMPED))
        stamp(s->stamps, mode, fingerprints, count);
}

/* Commands that its connection sent before wait here with larger tickets; whether for the same keys is not looked at. */
static bool overtakes(const struct sched *s, uint64_t ticket, uint64_t order)
{
    if (likely(s->lone == 0) || order == 0 || planted(OVERTAKE_OWN)) return false;
    const struct sched_node *head = head_of(s, order);
    return head != NULL && head->q.newest > ticket;
}

enum sched_verdict sched_arrive(struct sched *s, struct sched_entry *e, uint64_t ticket,
                                enum sched_mode mode, const uint64_t *fingerprints, uint32_t count,
                                uint64_t order)
{
    assert(ticket >= TICKET_FIRST);
    if (overtakes(s, ticket, order)) return SCHED_REFUSED;
    if (!reserve(s, count + 1)) return SCHED_NOMEM;
    e->lone = e->serves = false;
    e->ticket = ticket;
    enter(s, e, mode, fingerprints, count, 0);
    return e->waits == 0 ? SCHED_GRANTED : SCHED_WAITS;
}

bool sched_must_wait(const struct sched *s, enum sched_mode mode, const uint64_t *fingerprints,
                     uint32_t count, uint64_t order)
{
    if (!is_free(s->all, on_all(mode))) return true;
    if (order != 0 && head_of(s, order) != NULL) return true;
    for (uint32_t i = 0; i < count; i++)
        if (!is_free(head_of(s, fingerprints[i]), on_key(mode))) return true;
    return false;
}

static uint64_t larger_ahead(const struct sched_node *head, enum sched_mode mode, uint64_t ticket)
{
    if (planted(LONE_WITHOUT_TICKET)) return TICKET_FIRST;
    return !is_free(head, mode) && head->q.newest > ticket ? head->q.newest : ticket;
}

static uint64_t ticket_behind(const struct sched *s, enum sched_mode mode,
                              const uint64_t *fingerprints, uint32_t count, uint64_t order)
{
    uint64_t ticket = larger_ahead(s->all, on_all(mode), TICKET_FIRST);
    for (uint32_t i = 0; i < count; i++)
        ticket = larger_ahead(head_of(s, fingerprints[i]), on_key(mode), ticket);
    return order == 0 ? ticket : larger_ahead(head_of(s, order), SCHED_ALL_WRITE, ticket);
}

enum sched_verdict sched_wait(struct sched *s, struct sched_entry *e, enum sched_mode mode,
                              const uint64_t *fingerprints, uint32_t count, uint64_t order)
{
    if (!reserve(s, count + 2)) return SCHED_NOMEM;
    e->lone = true;
    e->serves = false;
    e->ticket = ticket_behind(s, mode, fingerprints, count, order);
    enter(s, e, mode, fingerprints, count, order);
    assert(e->waits > 0 || planted(LONE_WITHOUT_TICKET));
    return SCHED_WAITS;
}

enum sched_verdict sched_serve(struct sched *s, struct sched_entry *e, uint64_t fingerprint)
{
    if (!reserve(s, 2)) return SCHED_NOMEM;
    e->lone = e->serves = true;
    e->ticket =
        planted(SERVE_BEHIND) ? ticket_behind(s, SCHED_SERVE, &fingerprint, 1, 0) : TICKET_SERVES;
    enter(s, e, SCHED_SERVE, &fingerprint, 1, 0);
    return e->waits == 0 ? SCHED_GRANTED : SCHED_WAITS;
}

/* ---- leaving */

static struct sched_node **head_for(struct sched *s, const struct sched_node *n,
                                    struct sched_slot **slot_out)
{
    *slot_out = n->of_all ? NULL : find(s, n->fingerprint);
    return n->of_all ? &s->all : &(*slot_out)->head;
}

static void forget(struct sched *s, struct sched_entry *e)
{
    while (e->nodes != NULL) {
        struct sched_node *n = e->nodes;
        e->nodes = n->sibling;
        n->sibling = s->free;
        s->free = n;
        s->free_count++;
    }
    s->entries--;
    s->global -= e->mode == SCHED_ALL_READ || e->mode == SCHED_ALL_WRITE;
    s->lone -= e->lone;
}

static void unlist(struct sched *s, struct sched_entry *e)
{
    struct sched_entry **link = &s->ready;
    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    if (s->ready_tail == &e->next) s->ready_tail = link;
    e->listed = false;
}

void sched_leave(struct sched *s, struct sched_entry *e)
{
    if (unlikely(e->listed)) unlist(s, e);
    for (struct sched_node *n = e->nodes; n != NULL; n = n->sibling) {
        struct sched_slot *slot;
        struct sched_node **head = head_for(s, n, &slot);
        take_out(s, head, n);
        if (slot != NULL && slot->head == NULL) remove_slot(s, slot);
    }
    forget(s, e);
    if (s->entries == 0 && unlikely(s->nodes_count > KEEP_NODES || s->slots_cap > KEEP_NODES))
        give_back(s);
}

struct sched_entry *sched_next_granted(struct sched *s)
{
    while (s->ready != NULL) {
        struct sched_entry *e = s->ready;
        s->ready = e->next;
        e->listed = false;
        if (e->waits == 0) return e;
    }
    return NULL;
}

bool sched_holds(const struct sched *s, uint64_t fingerprint)
{
    return s->global > 0 || head_of(s, fingerprint) != NULL;
}

bool sched_has_granted(const struct sched *s, bool (*is_such)(const struct sched_entry *e))
{
    for (const struct sched_node *n = s->all; n != NULL;
         n = n->next) /* who is granted is so here */
        if (n->entry->waits == 0 && is_such(n->entry)) return true;
    return false;
}
