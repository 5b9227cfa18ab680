/* Each key that somebody named has a queue of intents in order of arrival, and its state lies in the first of
 * them; a table leads from the key's hash to that first one. The granted intents of a queue are always a
 * prefix of it, so one pointer (the first that waits) and a count by mode say who may join:
 *
 *      key k   [T4 read ✓] [T6 read ✓] [T9 write …] [lone read … counts as 9]
 *                                       ^ waiting
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

struct queue { /* of the first intent of a key */
    struct sched_node *tail, *waiting;
    uint32_t granted[MODES];
    uint32_t newest_count; /* entries with the largest ticket */
    uint64_t newest;
};
struct sched_node {
    struct sched_node *next, *prev;
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

/* ---- one queue */

static bool goes_with(const struct queue *q, enum sched_mode mode)
{
    for (uint32_t m = 0; m < MODES; m++)
        if (q->granted[m] > 0 && (conflicts[mode] & 1u << m)) return false;
    return true;
}

/* Would an intent that comes now be granted? */
static bool is_free(const struct sched_node *head, enum sched_mode mode)
{
    return head == NULL || (head->q.waiting == NULL && goes_with(&head->q, mode));
}

static void push(struct sched_node **head, struct sched_node *n)
{
    struct sched_entry *e = n->entry;
    n->granted = is_free(*head, n->mode);
    n->next = NULL;
    if (*head == NULL) {
        n->prev = NULL;
        n->q = (struct queue){.tail = n, .newest = e->ticket};
        *head = n;
    } else {
        n->prev = (*head)->q.tail;
        n->prev->next = n;
        (*head)->q.tail = n;
    }
    struct queue *q = &(*head)->q;
    if (e->ticket > q->newest) {
        q->newest = e->ticket;
        q->newest_count = 0;
    }
    q->newest_count += e->ticket == q->newest;
    if (n->granted) {
        q->granted[n->mode]++;
        return;
    }
    e->waits++;
    if (q->waiting == NULL) q->waiting = n;
}

static void find_newest(struct sched_node *head)
{
    struct queue *q = &head->q;
    q->newest = q->newest_count = 0;
    for (const struct sched_node *n = head; n != NULL; n = n->next) {
        if (n->entry->ticket < q->newest) continue;
        if (n->entry->ticket > q->newest) q->newest_count = 0;
        q->newest = n->entry->ticket;
        q->newest_count++;
    }
}

static void unlink_node(struct sched_node **head, struct sched_node *n)
{
    struct queue *q = &(*head)->q;
    if (n->granted) q->granted[n->mode]--;
    if (q->waiting == n) q->waiting = n->next;
    if (q->tail == n) q->tail = n->prev;
    q->newest_count -= n->entry->ticket == q->newest;
    if (n->next != NULL) n->next->prev = n->prev;
    if (n->prev != NULL) {
        n->prev->next = n->next;
    } else {
        if (n->next != NULL) n->next->q = *q;
        *head = n->next;
        if (*head == NULL) return;
        q = &(*head)->q;
    }
    if (q->newest_count == 0) find_newest(*head);
}

/* Takes n out; who is granted by that is put at the end of the list. */
static void take_out(struct sched_node **head, struct sched_node *n, struct sched_entry ***granted)
{
    unlink_node(head, n);
    if (*head == NULL) return;
    struct queue *q = &(*head)->q;
    while (q->waiting != NULL && goes_with(q, q->waiting->mode)) {
        struct sched_node *w = q->waiting;
        w->granted = true;
        q->granted[w->mode]++;
        q->waiting = w->next;
        assert(w->entry->waits > 0);
        if (--w->entry->waits > 0) continue;
        w->entry->next = NULL;
        **granted = w->entry;
        *granted = &w->entry->next;
    }
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
    *s = (struct sched){.entries = 0};
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
    if (slot->head != NULL && slot->head->q.tail->entry == e) return; /* a key named twice */
    struct sched_node *n = take_node(s, e, mode);
    n->of_all = false;
    n->fingerprint = fingerprint;
    s->slots_used += slot->head == NULL;
    slot->fingerprint = fingerprint;
    push(&slot->head, n);
}

static void enter(struct sched *s, struct sched_entry *e, enum sched_mode mode,
                  const uint64_t *fingerprints, uint32_t count, uint64_t order)
{
    e->nodes = NULL;
    e->waits = 0;
    e->mode = (uint8_t)mode;
    s->entries++;
    s->global += mode == SCHED_ALL_READ || mode == SCHED_ALL_WRITE;
    struct sched_node *n = take_node(s, e, on_all(mode));
    n->of_all = true;
    push(&s->all, n);
    uint32_t first = !e->lone && planted(SKIP_LOCK);
    for (uint32_t i = first; i < count; i++)
        enter_key(s, e, on_key(mode), fingerprints[i]);
    if (order != 0) enter_key(s, e, SCHED_ALL_WRITE, order);
}

/* May wait in this queue: by its ticket. */
static bool may_wait(const struct sched_node *head, enum sched_mode mode, uint64_t ticket)
{
    if (is_free(head, mode) || ticket > head->q.newest) return true;
    if (planted(WAIT_BEHIND_SERVE) && head->q.newest == SCHED_TICKET_SERVES) return true;
    return ticket == SCHED_TICKET_LAST && head->q.newest == SCHED_TICKET_LAST;
}

static bool is_refused(const struct sched *s, uint64_t ticket, enum sched_mode mode,
                       const uint64_t *fingerprints, uint32_t count)
{
    if (!may_wait(s->all, mode, ticket)) return true;
    for (uint32_t i = 0; i < count; i++)
        if (!may_wait(head_of(s, fingerprints[i]), on_key(mode), ticket)) return true;
    return false;
}

enum sched_verdict sched_arrive(struct sched *s, struct sched_entry *e, uint64_t ticket,
                                enum sched_mode mode, const uint64_t *fingerprints, uint32_t count)
{
    assert(ticket > 0);
    if (is_refused(s, ticket, mode, fingerprints, count)) return SCHED_REFUSED;
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
    if (planted(LONE_WITHOUT_TICKET)) return 0;
    return !is_free(head, mode) && head->q.newest > ticket ? head->q.newest : ticket;
}

enum sched_verdict sched_wait(struct sched *s, struct sched_entry *e, enum sched_mode mode,
                              const uint64_t *fingerprints, uint32_t count, uint64_t order)
{
    if (!reserve(s, count + 2)) return SCHED_NOMEM;
    uint64_t ticket = larger_ahead(s->all, mode, 0);
    for (uint32_t i = 0; i < count; i++)
        ticket = larger_ahead(head_of(s, fingerprints[i]), on_key(mode), ticket);
    if (order != 0) ticket = larger_ahead(head_of(s, order), SCHED_ALL_WRITE, ticket);
    e->lone = true;
    e->serves = false;
    e->ticket = ticket;
    enter(s, e, mode, fingerprints, count, order);
    assert(e->waits > 0);
    return SCHED_WAITS;
}

/* ---- going in front */

static struct sched_node **head_for(struct sched *s, const struct sched_node *n,
                                    struct sched_slot **slot_out)
{
    *slot_out = n->of_all ? NULL : find(s, n->fingerprint);
    return n->of_all ? &s->all : &(*slot_out)->head;
}

/* Out of all its queues; its nodes stay with it. Nobody is granted by that. */
static void step_out(struct sched *s, struct sched_entry *e)
{
    for (struct sched_node *n = e->nodes; n != NULL; n = n->sibling) {
        struct sched_slot *slot;
        struct sched_node **head = head_for(s, n, &slot);
        unlink_node(head, n);
        if (slot != NULL && slot->head == NULL) remove_slot(s, slot);
    }
    e->waits = 0;
}

/* At the ends of its queues, as if it came now. */
static void step_in(struct sched *s, struct sched_entry *e)
{
    struct sched_slot *slot;
    e->ticket = 0;
    for (struct sched_node *n = e->nodes; n != NULL; n = n->sibling)
        e->ticket = larger_ahead(*head_for(s, n, &slot), n->mode, e->ticket);
    for (struct sched_node *n = e->nodes; n != NULL; n = n->sibling) {
        struct sched_node **head = head_for(s, n, &slot);
        if (slot != NULL && slot->head == NULL) {
            slot->fingerprint = n->fingerprint;
            s->slots_used++;
        }
        push(head, n);
    }
}

/* All that wait, but for those that serve, in the order in which they came. */
static struct sched_entry *take_waiting(struct sched *s)
{
    struct sched_entry *list = NULL, **tail = &list;
    for (const struct sched_node *n = s->all; n != NULL; n = n->next) {
        struct sched_entry *e = n->entry;
        if (e->waits == 0 || e->serves || planted(SERVE_BEHIND)) continue;
        *tail = e;
        tail = &e->next;
        *tail = NULL;
    }
    for (struct sched_entry *e = list; e != NULL; e = e->next)
        step_out(s, e);
    return list;
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
}

enum sched_verdict sched_serve(struct sched *s, struct sched_entry *e, uint64_t fingerprint,
                               struct sched_entry **out)
{
    *out = NULL;
    if (!reserve(s, 2)) return SCHED_NOMEM;
    struct sched_entry *list = take_waiting(s);
    e->lone = e->serves = true;
    e->ticket = SCHED_TICKET_SERVES;
    enter(s, e, SCHED_SERVE, &fingerprint, 1, 0);
    while (list != NULL) {
        struct sched_entry *w = list;
        list = w->next;
        if (w->lone)
            step_in(s, w);
        else
            forget(s, w);
        if (w->lone && w->waits > 0) continue;
        w->next = NULL;
        *out = w;
        out = &w->next;
    }
    return e->waits == 0 ? SCHED_GRANTED : SCHED_WAITS;
}

struct sched_entry *sched_leave(struct sched *s, struct sched_entry *e)
{
    struct sched_entry *granted = NULL, **tail = &granted;
    for (struct sched_node *n = e->nodes; n != NULL; n = n->sibling) {
        struct sched_slot *slot;
        struct sched_node **head = head_for(s, n, &slot);
        take_out(head, n, &tail);
        if (slot != NULL && slot->head == NULL) remove_slot(s, slot);
    }
    forget(s, e);
    if (s->entries == 0 && unlikely(s->nodes_count > KEEP_NODES || s->slots_cap > KEEP_NODES))
        give_back(s);
    return granted;
}

bool sched_holds(const struct sched *s, uint64_t fingerprint)
{
    return s->global > 0 || head_of(s, fingerprint) != NULL;
}

bool sched_has_granted(const struct sched *s, bool (*is_such)(const struct sched_entry *e))
{
    for (const struct sched_node *n = s->all; n != NULL; n = n->next)
        if (n->entry->waits == 0 && is_such(n->entry)) return true;
    return false;
}
