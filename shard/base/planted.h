/* shard/base/planted.h: mistakes that tests plant, in a node or in a part of one, to see that they would be found.
 *
 *     if (planted(SKIP_LOCK)) …
 *
 * Without MOON_TEST planted() is the constant false: nothing of it is in a release. With it, a node plants what
 * MOON_PLANT names (`MOON_PLANT=skip-lock,own-gate`), unit tests and simulations call plant(). */
#ifndef MOON_BASE_PLANTED_H
#define MOON_BASE_PLANTED_H

#include <stdbool.h>
#include <stdint.h>

// clang-format off
#define PLANTS(X) \
    X(LONE_WITHOUT_TICKET, "lone-without-ticket", "lone commands that wait inherit no ticket") \
    X(SKIP_LOCK, "skip-lock", "the first key of a part gets no intent") \
    X(RUN_BEFORE_GRANT, "run-before-grant", "a part runs when it is granted, not when all are") \
    X(LEAVE_EARLY, "leave-early", "intents go when they are granted, before the part runs") \
    X(SERVE_BEHIND, "serve-behind", "who serves a key goes behind those that wait") \
    X(NEVER_RECALL, "never-recall", "what was granted is not taken back for a smaller ticket") \
    X(RECALL_BEGUN, "recall-begun", "a grant is taken back although all shards have granted") \
    X(OVERTAKE_OWN, "overtake-own", "a transaction goes before its connection's own commands") \
    X(COLLECT_UNCHECKED, "collect-unchecked", "reads of several shards do not look whether anything has changed") \
    X(COLLECT_BLIND, "collect-blind", "reads of several shards look past intents") \
    X(INTENT_UNSTAMPED, "intent-unstamped", "exclusive intents stamp no key") \
    X(OWN_GATE, "own-gate", "replies wait for the end of their own log, not for the cut") \
    X(LOSE_PART, "lose-part", "recovery loses a part of a transaction now and then") \
    X(KEEP_HALVES, "keep-halves", "recovery replays transactions that lack a part") \
    X(SAME_GENERATION, "same-generation", "a start after an unclean end goes on in its generation") \
    X(WATCH_UNCHECKED, "watch-unchecked", "EXEC runs whatever became of the watched keys") \
    X(LAST_WAITER_FIRST, "last-waiter-first", "who came last to a key is served first") \
    X(NO_MEMORY_ALONE, "no-memory-alone", "who wants all shards to itself finds no memory on another") /* no mistake, but rare */
// clang-format on

enum plant {
#define PLANT_ENUM(name, word, what) PLANT_##name,
    PLANTS(PLANT_ENUM)
#undef PLANT_ENUM
        PLANT_COUNT,
};

#ifdef MOON_TEST
extern uint32_t plant_bits; /* set before other threads begin */
#define planted(name) ((plant_bits >> PLANT_##name & 1u) != 0)

void plant(enum plant what);
void plant_nothing(void);
/* Words joined by commas. False: one of them is none. */
bool plant_words(const char *words);
const char *plant_text(enum plant what); /* what it does */
#else
#define planted(name) false
#define plant_words(words) ((void)(words), false)
#endif

#endif
