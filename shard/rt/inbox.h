/* shard/rt/inbox.h: a list that any thread adds to and one thread takes whole, in the order of adding. The link
 * lies in what is added, so adding never fails and needs no room; what is in a list must not be added again
 * before it was taken. */
#ifndef MOON_RT_INBOX_H
#define MOON_RT_INBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct inbox_link {
    struct inbox_link *next;
};
struct inbox {
    _Atomic(struct inbox_link *) newest;
};

/* Ordered before the wake that follows (seq_cst, as mailbox_publish). */
static inline void inbox_add(struct inbox *in, struct inbox_link *link)
{
    struct inbox_link *newest = atomic_load_explicit(&in->newest, memory_order_relaxed);
    do
        link->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&in->newest, &newest, link, memory_order_seq_cst,
                                                  memory_order_relaxed));
}

/* Safe before sleeping. */
static inline bool inbox_pending(const struct inbox *in)
{
    return atomic_load_explicit(&in->newest, memory_order_seq_cst) != NULL;
}

/* The oldest, linked to those that came after it; NULL: none. */
static inline struct inbox_link *inbox_take(struct inbox *in)
{
    if (atomic_load_explicit(&in->newest, memory_order_relaxed) == NULL) return NULL;
    struct inbox_link *newest = atomic_exchange_explicit(&in->newest, NULL, memory_order_acquire);
    struct inbox_link *oldest = NULL;
    while (newest != NULL) {
        struct inbox_link *before = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = before;
    }
    return oldest;
}

#endif
