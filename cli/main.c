/* moonctl: the administration program. One verb per file; the table below is all that main knows. */
#include "cli/args.h"
#include "cli/cli.h"

#include "version.h"

#include <stdio.h>

static enum cli_exit verb_version(int argc, char **argv);
static enum cli_exit verb_help(int argc, char **argv);

static const struct cli_verb verbs[] = {
    {.name = "bench",
     .summary = "Measure a server: throughput, latency, CPU per command",
     .run = cli_bench},
    {.name = "data", .summary = "Check or repair the files of a stopped node", .run = cli_data},
    {.name = "help", .summary = "Show this text, or that of a verb", .run = verb_help},
    {.name = "raft", .summary = "Show how the control log of a node does", .run = cli_raft},
    {.name = "version", .summary = "Print the version of moonctl", .run = verb_version},
};

static const struct cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0) return &verbs[i];
    }
    return NULL;
}

static void print_usage(FILE *to)
{
    fputs("usage: moonctl VERB [OPTION…]\n\nverbs:\n", to);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
    }
    fputs("\nexamples:\n"
          "  moonctl bench -t get,set -P 16         measure the server on port 6379\n"
          "  moonctl bench --help                   all options of one verb\n"
          "  moonctl version -o json                the version, for a program\n"
          "\nexit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 auth, 5 refused, 6 timeout, 7 no\n"
          "quorum, 10 unhealthy. A password is read from the variable MOONCTL_AUTH "
          "([user:]password).\n",
          to);
}

static enum cli_exit unknown_verb(const char *word)
{
    const char *names[COUNT_OF(verbs)];
    char next[96] = "`moonctl --help` lists the verbs.";
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        names[i] = verbs[i].name;
    const char *nearest = cli_nearest(word, names, COUNT_OF(names));
    if (nearest != NULL) snprintf(next, sizeof next, "Did you mean `moonctl %s`?", nearest);
    return cli_fail(CLI_USAGE, next, "unknown verb \"%.64s\"", word);
}

static enum cli_exit verb_help(int argc, char **argv)
{
    char help[] = "--help";
    if (argc < 2) {
        print_usage(stdout);
        return CLI_OK;
    }
    const struct cli_verb *verb = find_verb(argv[1]);
    if (verb == NULL) return unknown_verb(argv[1]);
    if (verb->run == verb_help) {
        print_usage(stdout);
        return CLI_OK;
    }
    char *verb_argv[] = {argv[1], help, NULL};
    return verb->run(2, verb_argv);
}

static enum cli_exit verb_version(int argc, char **argv)
{
    static const char *const formats[] = {"text", "json", NULL};
    uint32_t format = 0;
    const struct args_option options[] = {
        {.letter = 'o',
         .name = "output",
         .kind = ARGS_CHOICE,
         .target = &format,
         .choices = formats,
         .help = "text or json"},
    };
    struct args args = {.usage = "moonctl version [-o text|json]",
                        .options = options,
                        .options_count = COUNT_OF(options)};
    enum args_result parsed = args_parse(&args, argc, argv);
    if (parsed != ARGS_DONE) return parsed == ARGS_HELPED ? CLI_OK : CLI_USAGE;
#ifdef MOON_COMMIT
    const char *commit = MOON_COMMIT;
#else
    const char *commit = "";
#endif
    if (format == 1) {
        printf("{\"schema\": \"moonctl.version/1\", \"version\": \"%s\", \"commit\": \"%s\"}\n",
               MOON_VERSION, commit);
    } else {
        printf("moonctl %s%s%s%s\n", MOON_VERSION, commit[0] ? " (" : "", commit,
               commit[0] ? ")" : "");
    }
    return CLI_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) word = "help";
    if (strcmp(word, "--version") == 0) word = "version";
    const struct cli_verb *verb = find_verb(word);
    if (verb == NULL) return (int)unknown_verb(word);
    enum cli_exit code = verb->run(argc - 1, argv + 1);
    /* A full disk or a closed pipe behind stdout is a failure: what was asked for did not arrive. */
    if (fflush(stdout) != 0 && code == CLI_OK)
        code = cli_fail(CLI_FAILED, NULL, "cannot write the output");
    return (int)code;
}
