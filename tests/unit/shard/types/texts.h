/* Shared by the tests of this room: elements that stand for numbers, and limits that are put back. */
#ifndef MOON_TESTS_TYPES_TEXTS_H
#define MOON_TESTS_TYPES_TEXTS_H

#include "shard/base/bytes.h"
#include "shard/base/rng.h"
#include "shard/types/value.h"

#define TEXT_MAX 4200
/* The text of n: integers of all widths, short and long strings, binary, one empty (n == 1); written
 * into out or static. Different numbers have different texts. */
struct bytes text_of(uint32_t n, uint8_t out[TEXT_MAX]);
/* The number that has this text; fails the test if there is none below `count`. */
uint32_t number_of(struct bytes text, uint32_t count);

/* Thresholds by name of a test case: 0 usual, 1 tiny, 2 none packed, 3 large. */
#define LIMITS_COUNT 4
void limits_set(uint32_t which);

/* Arms the failure of one of the next allocations, one time in `one_in` (0: never). */
bool arm_fault(struct rng *rng, uint32_t one_in);
/* Ends it: an operation may have failed only if it fired. */
void disarm_fault(bool armed, bool ok);

/* Nothing of MEM_DATA or MEM_TABLE is live. */
void assert_all_freed(void);

#endif
