/* tests/unit/shard/cmd/journal_memory.h: what the journal of these tests can beside journal.h. */
#ifndef MOON_TESTS_CMD_JOURNAL_MEMORY_H
#define MOON_TESTS_CMD_JOURNAL_MEMORY_H

#include "shard/journal/journal.h"

/* Replay of log 0 finds what a crash leaves that let the first `units` units reach the disk: those, without the
 * beginning of a group that did not get there whole (as the real one does: tests/unit/shard/journal/test_crash.c).
 * UINT64_MAX: all. */
void journal_memory_crash(struct journal_set *set, uint64_t units);
/* Of the given unit of log 0. */
struct journal_head journal_memory_head(const struct journal_set *set, uint64_t number);
struct journal_head journal_memory_head_of(const struct journal_set *set, uint32_t log,
                                           uint64_t number);

#endif
