/* shard/exec/stamps.h: when keys of a shard were last changed, roughly, for who reads keys of several shards without
 * speaking for them (node/collect.c): a shard reads its part when it is asked, and whoever asked several looks in the
 * end, in their stamps, whether anything has been changed since. (The "double collect" of Afek et al., Atomic
 * Snapshots of Shared Memory, 1993, with the second one done by versions, as in Kung and Robinson, On Optimistic
 * Methods for Concurrency Control, 1981.)
 *
 * A change, and an exclusive intent of a transaction when it is entered (sched.h), stamps its key: keys share
 * STAMPS cells by hash, so that sometimes what has not changed seems to have. Between a part of a transaction and
 * the others lie its intents: whoever read before the intent finds its stamp, whoever comes later finds the intent.
 *
 * Written by whoever works on the shard, read by any thread: a change that happened before (by messages, by a
 * client that was told) is always seen. Two that did not, by two shards, two readers may see in different orders as far
 * as C tells; x86 and ARMv8 do not let them. Nothing is stamped until somebody reads. */
#ifndef MOON_EXEC_STAMPS_H
#define MOON_EXEC_STAMPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shard/base/attr.h"
#include "shard/base/planted.h"

#define STAMPS 16384u /* 64 KB */

/* A stamp is the low half of a number that rises; the high half is counted by `all`. */
struct stamps {
    bool on, used;     /* the shard's; used: since stamps_rest() */
    uint64_t now;      /* the shard's: how many have read; the stamp of a change */
    uint8_t apart[64]; /* what others read lies on lines of its own */
    _Atomic uint32_t of[STAMPS];
    _Atomic uint64_t all; /* of the last change of all keys */
};

static inline _Atomic uint32_t *stamp_of(struct stamps *s, uint64_t hash)
{
    return &s->of[hash >> 20 & (STAMPS - 1)];
}
/* Before anybody can be told of the change. */
static inline void stamps_note(struct stamps *s, uint64_t hash)
{
    if (unlikely(s->on))
        atomic_store_explicit(stamp_of(s, hash), (uint32_t)s->now, memory_order_relaxed);
}
static inline void stamps_note_all(struct stamps *s)
{
    atomic_store_explicit(&s->all, s->now, memory_order_relaxed);
}

/* Somebody reads: what is changed from now on has a stamp above the number returned. */
static inline uint64_t stamps_begin(struct stamps *s)
{
    s->on = s->used = true;
    return s->now++;
}

/* Once a second. If nobody has read since the last time, nothing is stamped any more, and whoever still reads finds
 * everything changed; likewise before the low half comes to its end. */
void stamps_rest(struct stamps *s);

/* They will be looked at soon. */
static inline void stamps_load(struct stamps *s, const uint64_t *hashes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        __builtin_prefetch(stamp_of(s, hashes[i]));
}

/* By any thread: may one of these keys have been changed since stamps_begin() returned that? */
static inline bool stamps_changed(struct stamps *s, uint64_t since, const uint64_t *hashes,
                                  uint32_t count)
{
    bool changed = false;
    for (uint32_t i = 0; i < count; i++)
        changed |=
            atomic_load_explicit(stamp_of(s, hashes[i]), memory_order_acquire) > (uint32_t)since;
    changed |= atomic_load_explicit(&s->all, memory_order_relaxed) > since;
    return changed && !planted(COLLECT_UNCHECKED);
}

#endif
