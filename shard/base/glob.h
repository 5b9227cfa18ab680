/* shard/base/glob.h: Redis's stringmatchlen: * ? [abc] [^a] [a-z] \x; backtracking is bounded
 * (CVE-2022-36021, CVE-2024-31228): after GLOB_NESTING_MAX nested stars the answer is false. */
#ifndef MOON_BASE_GLOB_H
#define MOON_BASE_GLOB_H

#include "shard/base/bytes.h"

bool glob_match(struct bytes pattern, struct bytes text, bool nocase);

#endif
