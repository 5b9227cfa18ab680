/* shard/cmd/mpop_args.h: "numkeys key [key …] end [COUNT count]", as LMPOP and ZMPOP take it. */
#ifndef MOON_CMD_MPOP_ARGS_H
#define MOON_CMD_MPOP_ARGS_H

#include "shard/exec/exec.h"

struct mpop_args {
    uint32_t first, keys; /* argv[first …] */
    bool other_end;       /* the second of the two words */
    uint64_t count;       /* 1 if not given */
};
/* argv[at]: numkeys. False: replied. */
MUST_CHECK bool mpop_parse(struct exec *x, uint32_t at, const char *end, const char *other_end,
                           struct mpop_args *out);
/* The first of the keys that is there: its place in argv, 0 if there is none. False: it holds another type, which
 * was replied. As in Redis, nobody looks at those behind it. */
MUST_CHECK bool mpop_find(struct exec *x, const struct mpop_args *args, enum value_type type,
                          uint32_t *place_out);
/* As mpop_find, for a command that waits: false as well if there is none: it waits now, or the null that stands for
 * a timeout was replied. */
MUST_CHECK bool mpop_find_or_wait(struct exec *x, const struct mpop_args *args,
                                  enum value_type type, uint32_t *place_out);

#endif
