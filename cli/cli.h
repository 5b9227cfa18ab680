/* cli/cli.h: what every verb of moonctl shares: exit codes, the row of a verb, and how a failure is
 * said. Single-threaded unless a verb starts threads of its own. */
#ifndef MOON_CLI_CLI_H
#define MOON_CLI_CLI_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"

/* Scripts rely on these numbers: never renumbered. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_AUTH = 4,
    CLI_REFUSED = 5, /* for safety, or a precondition does not hold */
    CLI_TIMEOUT = 6,
    CLI_NO_QUORUM = 7,
    CLI_UNHEALTHY = 10
};

/* One row per verb, in main.c. run() gets argv[0] = the verb's name. */
struct cli_verb {
    const char *name;
    const char *summary; /* one line, no full stop */
    enum cli_exit (*run)(int argc, char **argv);
};

enum cli_exit cli_bench(int argc, char **argv);
enum cli_exit cli_data(int argc, char **argv);
enum cli_exit cli_raft(int argc, char **argv);

/* Prints to stderr "moonctl: what: why" and, if not NULL, the next step on a line of its own;
 * returns code so that a verb can end with it. */
COLD enum cli_exit cli_fail(enum cli_exit code, const char *next, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The candidate nearest to `word` by edit distance, or NULL if none is near enough to be meant.
 * candidates: an array of count names. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t count);

#endif
