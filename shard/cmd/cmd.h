/* shard/cmd/cmd.h: the tables of data commands, one per family. */
#ifndef MOON_CMD_CMD_H
#define MOON_CMD_CMD_H

#include "shard/exec/spec.h"

extern const struct cmd_table string_cmds, keys_cmds, scan_cmds, list_cmds, hash_cmds, set_cmds,
    set_algebra_cmds, zset_cmds, zset_range_cmds, zset_algebra_cmds, debug_cmds;

#endif
