/* moonctl data: check, repair. The log is the journal's to read, and this room may not know it: the program
 * `moon` beside this one does the work (moon --check-log) and its lines and exit status pass through. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cli.h"

#define USAGE "moonctl data check|repair DIR [--dry-run] [--yes]"
#define NEXT_USAGE "`moonctl data --help` shows the form."

struct data {
    bool yes, dry_run;
    const char *action, *dir;
};

static const char epilogue[] = "check says whether the log is whole, and what a repair would lose; "
                               "it changes nothing. Exit 10: damaged.\n"
                               "repair cuts the log at the damage: what follows it in that log, "
                               "and what depends on it, is given up.\n"
                               "DIR is the data directory (dir) of a node that is stopped.\n"
                               "\nexamples:\n"
                               "  moonctl data check /var/lib/moon\n"
                               "  moonctl data repair /var/lib/moon --dry-run\n"
                               "  moonctl data repair /var/lib/moon --yes\n";

/* Options may stand before and after DIR. */
static enum cli_exit parse(struct data *d, int argc, char **argv, bool *helped)
{
    const struct args_option options[] = {
        {.name = "dry-run",
         .kind = ARGS_FLAG,
         .target = &d->dry_run,
         .help = "only show what would be lost"},
        {.name = "yes", .kind = ARGS_FLAG, .target = &d->yes, .help = "do not ask"},
    };
    struct args args = {.usage = USAGE,
                        .epilogue = epilogue,
                        .options = options,
                        .options_count = COUNT_OF(options)};
    const char **words[] = {&d->action, &d->dir};
    uint32_t count = 0;
    for (;;) {
        enum args_result r = args_parse(&args, argc, argv);
        *helped = r == ARGS_HELPED;
        if (r != ARGS_DONE) return *helped ? CLI_OK : CLI_USAGE;
        if (args.rest_count == 0) break;
        if (count == COUNT_OF(words))
            return cli_fail(CLI_USAGE, NEXT_USAGE, "data: one word too many: \"%.64s\"",
                            args.rest[0]);
        *words[count++] = args.rest[0];
        argc = (int)args.rest_count; /* the word takes the verb's place */
        argv = args.rest;
    }
    if (count < COUNT_OF(words))
        return cli_fail(CLI_USAGE, NEXT_USAGE, "data: check or repair, and a directory");
    bool known = strcmp(d->action, "check") == 0 || strcmp(d->action, "repair") == 0;
    return known ? CLI_OK
                 : cli_fail(CLI_USAGE, NEXT_USAGE, "data: \"%.64s\" is neither check nor repair",
                            d->action);
}

static bool path_of_moon(char *path, size_t cap)
{
    ssize_t n = readlink("/proc/self/exe", path, cap - 1);
    if (n <= 0) return false;
    path[n] = 0;
    char *name = strrchr(path, '/') + 1; /* the kernel's paths are absolute */
    size_t room = cap - (size_t)(name - path);
    return snprintf(name, room, "moon") < (int)room;
}

/* moon's exit status is made of our numbers. */
static enum cli_exit exit_of(int status, const char *path)
{
    if (!WIFEXITED(status))
        return cli_fail(CLI_FAILED, NULL, "%s ended by signal %d", path, WTERMSIG(status));
    if (WEXITSTATUS(status) == 127)
        return cli_fail(CLI_FAILED, "moonctl and moon belong into one folder.", "cannot run %s",
                        path);
    return (enum cli_exit)WEXITSTATUS(status);
}

static enum cli_exit run_moon(const char *dir, bool repair)
{
    char path[PATH_MAX];
    if (!path_of_moon(path, sizeof path))
        return cli_fail(CLI_FAILED, NULL, "cannot tell where moonctl lies");
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) return cli_fail(CLI_FAILED, NULL, "cannot start %s: %s", path, strerror(errno));
    if (pid == 0) {
        /* Settings that the environment may hold must not turn the report away or make it a repair. */
        execl(path, path, "--logfile", "", "--loglevel", "warning", "--log-repair",
              repair ? "yes" : "no", "--check-log", dir, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return cli_fail(CLI_FAILED, NULL, "cannot wait for %s: %s", path, strerror(errno));
    return exit_of(status, path);
}

static bool asked(void)
{
    char line[16];
    fputs("Cut the log there? What is named above is lost. Type yes: ", stderr);
    return fgets(line, sizeof line, stdin) != NULL && strcmp(line, "yes\n") == 0;
}

enum cli_exit cli_data(int argc, char **argv)
{
    struct data d = {0};
    bool helped = false;
    enum cli_exit code = parse(&d, argc, argv, &helped);
    if (code != CLI_OK || helped) return code;
    bool check = strcmp(d.action, "check") == 0;
    if (!check && !d.yes && !d.dry_run && !isatty(STDIN_FILENO))
        return cli_fail(CLI_REFUSED, "Look with --dry-run, then add --yes.",
                        "data repair: this is no terminal to ask at, and --yes is missing");
    code = run_moon(d.dir, false); /* the plan */
    if (check || code != CLI_UNHEALTHY) return code;
    if (d.dry_run) return CLI_OK;
    if (!d.yes && !asked()) return cli_fail(CLI_REFUSED, NULL, "data repair: nothing was changed");
    return run_moon(d.dir, true);
}
