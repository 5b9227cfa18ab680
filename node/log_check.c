/* node/log_check.c: the log is opened as a start would open it. That alone writes nothing, so a repair is
 * looked at before it is made: opened to be repaired, the journal says what it would lose, and only
 * journal_set_start() makes it so. */
#include "node/log_check.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "node/config.h"
#include "node/node.h"
#include "shard/base/log.h"

/* Unlike a start it creates nothing: a wrong path must not become a directory. */
static bool has_log(void)
{
    return chdir(config.dir) == 0 && getcwd(node.dir, sizeof node.dir) != NULL &&
           access("log/MANIFEST", F_OK) == 0;
}

static enum log_check_exit fail(enum rc rc, const struct buf *why)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "moon: the log in %s cannot be read: %s%s%.*s\n", node.dir, rc_text(rc),
                  why->len > 0 ? ": " : "", (int)why->len,
                  why->len > 0 ? (const char *)why->data : "");
    return rc == RC_LOCKED ? LOG_CHECK_IN_USE : LOG_CHECK_FAILED;
}

static enum log_check_exit repair(struct io *io)
{
    struct journal_opts opts = node_journal_opts(true);
    struct journal_set *set = NULL;
    struct buf why;
    buf_init(&why, MEM_NODE);
    enum rc rc = journal_set_open(&opts, io, &set, &why); /* says what is lost */
    if (rc == RC_OK && config.log_repair) rc = journal_set_start(set, &why);
    enum log_check_exit code = rc == RC_OK ? LOG_CHECK_OK : fail(rc, &why);
    if (set != NULL) journal_set_close(set);
    buf_free(&why);
    if (code != LOG_CHECK_OK) return code;
    if (config.log_repair) {
        (void)printf("%s: repaired: what lay before the damage is kept, files given up are named "
                     "dropped-… in %s/log\n",
                     node.dir, node.dir);
        return LOG_CHECK_OK;
    }
    (void)printf("%s: damaged; nothing was changed. A repair loses what is named above\n",
                 node.dir);
    return LOG_CHECK_DAMAGED;
}

int log_check_run(struct io *io)
{
    if (!has_log()) {
        (void)fprintf(stderr, "moon: no log in %s: %s\n", config.dir, strerror(errno));
        return LOG_CHECK_NOT_FOUND;
    }
    struct journal_opts opts = node_journal_opts(false);
    struct journal_set *set = NULL;
    struct buf why;
    buf_init(&why, MEM_NODE);
    enum rc rc = journal_set_open(&opts, io, &set, &why);
    enum log_check_exit code = LOG_CHECK_OK;
    if (rc == RC_OK) {
        journal_set_close(set);
        (void)printf("%s: the log is whole\n", node.dir);
    } else if (rc == RC_CORRUPT) {
        (void)printf("%.*s\n", (int)why.len, why.len > 0 ? (const char *)why.data : "");
        (void)fflush(stdout); /* the journal's own lines follow on the same descriptor */
        code = repair(io);
    } else {
        code = fail(rc, &why);
    }
    buf_free(&why);
    if (fflush(stdout) != 0 && code == LOG_CHECK_OK) code = LOG_CHECK_FAILED;
    return (int)code;
}
