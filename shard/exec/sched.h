/* shard/exec/sched.h: who may touch which keys of one shard now, while transactions over several shards are
 * under way (cluster.md §7). Pure: no clock, no message, no atomic; one thread.
 *
 * Whoever is under way here has an entry, with an intent on each of its keys. An intent is granted when all
 * intents that came to that key before it are granted and go together with it (readers do); an entry, when
 * all its intents are. It keeps them until sched_leave().
 *
 * Transactions carry tickets, which rise over the whole node. One may wait only behind smaller tickets, else
 * it is refused and nothing of it is kept: so no circle of waiting can close over several shards. A lone
 * command (all of its keys are here) that waits counts as the largest ticket that it waits for.
 *
 * Who serves those that wait for a key (block.h) goes in front of all that wait here, behind those only that hold
 * all their keys already: these will leave, on whatever shard their other parts are. Transactions that wait are refused for
 * it, and so is any that would wait behind it; lone commands wait. So it waits for nobody that waits for it.
 *
 * A key is known by its 64-bit hash; two keys of one hash merely wait for each other. The database is no part
 * of it: MOVE and COPY touch one name in two of them. */
#ifndef MOON_EXEC_SCHED_H
#define MOON_EXEC_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard/base/attr.h"

/* What an entry wants: of its keys, or (ALL) of every key there is. Those that serve go together: they run one at a
 * time, whoever runs them. */
enum sched_mode { SCHED_READ, SCHED_WRITE, SCHED_ALL_READ, SCHED_ALL_WRITE, SCHED_SERVE };

enum sched_verdict {
    SCHED_GRANTED,
    SCHED_WAITS,
    SCHED_REFUSED, /* a larger ticket is ahead: come back with a new one. Nothing is kept */
    SCHED_NOMEM,   /* nothing is kept */
};

/* Of who serves: nobody may wait behind it but lone commands. */
#define SCHED_TICKET_SERVES UINT64_MAX
/* Refused behind the former only, and whoever comes behind it is. At most one such transaction is under way in a node. */
#define SCHED_TICKET_LAST (UINT64_MAX - 1)

struct sched_node;
struct sched_entry { /* the caller's memory, from arrival to leaving */
    uint64_t ticket; /* of a lone command: the largest it waited for */
    struct sched_node *nodes;
    struct sched_entry *next; /* in the list that sched_leave() returns; then the caller's */
    uint32_t waits;           /* intents not granted */
    bool lone, serves;
    uint8_t mode;
};

struct sched_slot {
    uint64_t fingerprint;
    struct sched_node *head; /* NULL: free */
};
struct sched {
    uint32_t entries, global; /* of the former, those with an ALL mode */
    struct sched_node *all;   /* queue of every entry, on the whole shard */
    struct sched_slot *slots; /* the queues of keys, by open addressing */
    uint32_t slots_cap, slots_used;
    struct sched_node *free; /* intents */
    struct sched_chunk *chunks;
    uint32_t free_count, nodes_count;
};

void sched_init(struct sched *s);
void sched_fini(struct sched *s); /* nobody is under way */

static inline bool sched_is_empty(const struct sched *s)
{
    return s->entries == 0;
}

/* A transaction's part; its own keys may repeat. Afterwards, unless refused, it stays until it leaves. */
MUST_CHECK enum sched_verdict sched_arrive(struct sched *s, struct sched_entry *e, uint64_t ticket,
                                           enum sched_mode mode, const uint64_t *fingerprints,
                                           uint32_t count);

/* May a lone command not run at once? `order` names its connection (0: none): what waits already of the same
 * order goes first. A command that need not wait gets no entry. */
bool sched_must_wait(const struct sched *s, enum sched_mode mode, const uint64_t *fingerprints,
                     uint32_t count, uint64_t order);
/* One that must. SCHED_WAITS or SCHED_NOMEM. */
MUST_CHECK enum sched_verdict sched_wait(struct sched *s, struct sched_entry *e,
                                         enum sched_mode mode, const uint64_t *fingerprints,
                                         uint32_t count, uint64_t order);

/* A key for who serves: before all that wait. GRANTED, WAITS or NOMEM. *out: those that waited and are concerned:
 * transactions, which are refused and have left, and lone commands that are granted because of it. */
MUST_CHECK enum sched_verdict sched_serve(struct sched *s, struct sched_entry *e,
                                          uint64_t fingerprint, struct sched_entry **out);

/* e is done, or gives up waiting. Returns those that are granted now, in order of arrival on their last key. */
MUST_CHECK struct sched_entry *sched_leave(struct sched *s, struct sched_entry *e);

/* Is one of those that hold all their keys such? */
bool sched_has_granted(const struct sched *s, bool (*is_such)(const struct sched_entry *e));
/* Is anybody under way, granted or not, who named this key or all keys? Expiry leaves such keys alone. */
bool sched_holds(const struct sched *s, uint64_t fingerprint);

#endif
