/* shard/base/attr.h: attributes behind names, and the thread roles that clang -Wthread-safety checks. */
#ifndef MOON_BASE_ATTR_H
#define MOON_BASE_ATTR_H

#include <stddef.h> /* offsetof, for container_of */

#define MUST_CHECK __attribute__((warn_unused_result))
#define COLD __attribute__((cold, noinline))
#define HOT_INLINE static inline __attribute__((always_inline))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
/* For large locals that are written before they are read: the build zeroes the others. */
#define UNINITIALIZED __attribute__((uninitialized))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#endif
