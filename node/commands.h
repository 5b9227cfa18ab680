/* node/commands.h: the registry: all command tables joined, found by a perfect hash over the name in any
 * case. Filled once at start; read by every thread. COMMAND and its subcommands answer from it. */
#ifndef MOON_NODE_COMMANDS_H
#define MOON_NODE_COMMANDS_H

#include "shard/exec/spec.h"

/* Copies and numbers all rows (subcommands too), builds the hash. */
void commands_init(void);
/* Top-level command or NULL. A few ns. */
const struct cmd_spec *commands_find(struct bytes name);
/* Subcommand of a container or NULL. */
const struct cmd_spec *commands_find_sub(const struct cmd_spec *container, struct bytes name);
/* By the name commands_full_name() gives, any case: "get", "config|get". */
const struct cmd_spec *commands_find_full(struct bytes name);
/* Dense ids 0 … count-1, subcommands included: they come after the top-level commands. */
uint32_t commands_count(void);
uint32_t commands_top_count(void);
const struct cmd_spec *commands_by_id(uint32_t id);
/* "get", "config|set": as statistics and errors name it. */
const char *commands_full_name(const struct cmd_spec *spec);
/* Row that replays an opcode; array of commands_opcodes() entries, NULL where there is none. */
const struct cmd_spec *const *commands_by_opcode(void);
uint32_t commands_opcodes(void);

/* The tables: data commands are listed in shard/cmd/cmd.h; these live in node/. */
extern const struct cmd_table command_cmds, config_cmds, client_cmds, admin_cmds, slowlog_cmds,
    latency_cmds, multi_cmds, cluster_cmds;

#endif
