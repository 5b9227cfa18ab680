/* tests/unit/cluster/tscript.h: a script of entries with every type in it. */
#ifndef MOON_TESTS_TSCRIPT_H
#define MOON_TESTS_TSCRIPT_H

#include "tests/unit/cluster/tfix.h"

void tscript(void (*each)(void *ctx, struct bytes entry), void *ctx);

#endif
