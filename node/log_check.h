/* node/log_check.h: `moon --check-log DIR`: the log of a stopped node is read, reported on and, with
 * log-repair, cut at its damage; nothing is served. moonctl data runs it (cli/data.c). Main thread. */
#ifndef MOON_NODE_LOG_CHECK_H
#define MOON_NODE_LOG_CHECK_H

#include "shard/journal/journal.h"

/* The exit status of the process; the numbers mean what they mean for moonctl (cli/cli.h). */
enum log_check_exit {
    LOG_CHECK_OK = 0, /* whole (a torn tail is), or repaired */
    LOG_CHECK_FAILED = 1,
    LOG_CHECK_NOT_FOUND = 3,
    LOG_CHECK_IN_USE = 5,
    LOG_CHECK_DAMAGED = 10 /* and nothing was changed */
};

/* Looks at the log of config.dir. Says on stdout what it finds and what a repair loses, on stderr why it
 * fails. Changes files only with config.log_repair and only if the log is damaged. */
int log_check_run(struct io *io);

/* How the node opens its logs: the settings of this start. Borrows node.dir. In main.c. */
struct journal_opts node_journal_opts(bool repair);

#endif
