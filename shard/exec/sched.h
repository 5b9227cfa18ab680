/* shard/exec/sched.h: who may touch which keys of one shard now, while transactions over several shards are
 * under way (cluster.md §7). Pure: no clock, no message, no atomic but the stamps; one thread.
 *
 * Whoever is under way here has an entry, with an intent on each of its keys. An entry is granted when all its
 * intents are. It keeps them until sched_leave().
 *
 * Transactions carry tickets, which rise over the whole node, and go by them: who comes late with a small one
 * goes in front of larger ones that wait, and of larger ones that are granted as long as these have not begun,
 * that is, are not granted on all their shards: what was granted is taken back then (recall), and they wait on. So
 * everybody waits only for smaller tickets and for who has begun, who waits for nobody: no circle of waiting can
 * close over several shards, and nobody has to be refused.
 *
 * A lone command (all of its keys are here) that waits counts as the largest ticket that it waits for, and goes
 * behind it. Transactions with smaller tickets go in front of it. One of its own connection must not (what it sent
 * first shall run first): that one is refused, and comes back with a new ticket, which is larger.
 *
 * Who serves those that wait for a key (block.h) goes in front of all but those that have begun.
 *
 * Who reads keys of several shards need have no intent: he looks whether he would have to wait, and in the end whether
 * anything was changed (stamps.h).
 *
 * A key is known by its 64-bit hash; two keys of one hash merely wait for each other. The database is no part
 * of it: MOVE and COPY touch one name in two of them. */
#ifndef MOON_EXEC_SCHED_H
#define MOON_EXEC_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard/base/attr.h"
#include "shard/exec/stamps.h"

/* What an entry wants: of its keys, or (ALL) of every key there is. Those that serve go together: they run one at a
 * time, whoever runs them. */
enum sched_mode { SCHED_READ, SCHED_WRITE, SCHED_ALL_READ, SCHED_ALL_WRITE, SCHED_SERVE };

enum sched_verdict {
    SCHED_GRANTED,
    SCHED_WAITS,
    SCHED_REFUSED, /* it would overtake its own connection: come back with a new ticket. Nothing is kept */
    SCHED_NOMEM, /* nothing is kept */
};

struct sched_node;
struct sched_entry { /* the caller's memory, from arrival to leaving */
    uint64_t ticket; /* of a lone command: the largest it waited for, or more */
    uint64_t arrival;
    struct sched_node *nodes;
    struct sched_entry *next; /* among those that sched_next_granted() returns */
    uint32_t waits;           /* intents not granted */
    bool lone, serves;
    bool listed; /* granted, and not returned by sched_next_granted() yet */
    uint8_t mode;
};

/* Of a transaction here that is granted, and whose grant was returned: may it be taken back? True: it was; it is granted
 * again later. False: it has begun. */
typedef bool sched_recall(struct sched_entry *e);

struct sched_slot {
    uint64_t fingerprint;
    struct sched_node *head; /* NULL: free */
};
struct sched {
    uint32_t entries, global, lone; /* of the former: with an ALL mode; lone commands */
    uint64_t arrivals;
    sched_recall *recall;     /* the owner's to set; NULL: what is granted has begun */
    struct sched_node *all;   /* queue of every entry, on the whole shard */
    struct sched_slot *slots; /* the queues of keys, by open addressing */
    uint32_t slots_cap, slots_used;
    struct sched_node *free; /* intents */
    struct sched_chunk *chunks;
    uint32_t free_count, nodes_count;
    struct sched_entry *ready, **ready_tail; /* listed */
    struct stamps *
        stamps; /* the owner's to set; exclusive intents of transactions stamp their keys; NULL: nobody looks */
};

void sched_init(struct sched *s);
void sched_fini(struct sched *s); /* nobody is under way */

static inline bool sched_is_empty(const struct sched *s)
{
    return s->entries == 0;
}

/* A transaction's part; its own keys may repeat. Afterwards, unless refused, it stays until it leaves. Its ticket is larger
 * than 0 and nobody else's. order: as below. */
MUST_CHECK enum sched_verdict sched_arrive(struct sched *s, struct sched_entry *e, uint64_t ticket,
                                           enum sched_mode mode, const uint64_t *fingerprints,
                                           uint32_t count, uint64_t order);

/* May a lone command not run at once? `order` names its connection (0: none): what waits already of the same
 * order goes first. A command that need not wait gets no entry. */
bool sched_must_wait(const struct sched *s, enum sched_mode mode, const uint64_t *fingerprints,
                     uint32_t count, uint64_t order);
/* One that must. SCHED_WAITS or SCHED_NOMEM. */
MUST_CHECK enum sched_verdict sched_wait(struct sched *s, struct sched_entry *e,
                                         enum sched_mode mode, const uint64_t *fingerprints,
                                         uint32_t count, uint64_t order);

/* A key for who serves. GRANTED, WAITS or NOMEM. */
MUST_CHECK enum sched_verdict sched_serve(struct sched *s, struct sched_entry *e,
                                          uint64_t fingerprint);

/* e is done, or gives up waiting. */
void sched_leave(struct sched *s, struct sched_entry *e);

/* Those that waited and are granted now, in the order in which they were; NULL: no more. Each once, unless it is taken
 * back and granted again. */
struct sched_entry *sched_next_granted(struct sched *s);

/* Is one of those that are granted such? */
bool sched_has_granted(const struct sched *s, bool (*is_such)(const struct sched_entry *e));
/* Is anybody under way, granted or not, who named this key or all keys? Expiry leaves such keys alone. */
bool sched_holds(const struct sched *s, uint64_t fingerprint);

#ifdef MOON_TEST
extern _Thread_local uint64_t sched_steps; /* comparisons and intents looked at in queues */
#endif

#endif
