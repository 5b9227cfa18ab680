/* shard/base/assert.h: assertions that stay on in production. A failed one prints file, line and
 * expression to stderr and aborts. assert_slow() walks structures: only with MOON_TEST. */
#ifndef MOON_BASE_ASSERT_H
#define MOON_BASE_ASSERT_H

#include <assert.h> /* static_assert only */

#include "shard/base/attr.h"

__attribute__((noreturn, cold)) void assert_fail(const char *expr, const char *file, int line);

#undef assert
#define assert(e) (likely(e) ? (void)0 : assert_fail(#e, __FILE__, __LINE__))
#ifdef MOON_TEST
#define assert_slow(e) assert(e)
#else
#define assert_slow(e) ((void)0)
#endif

#endif
