/* cli/args.h: options of a verb as a table: parsing, ranges, --help and the "did you mean" of a
 * misspelt one all read it. Long forms "--name value" and "--name=value", short ones "-p 1", "-p1". */
#ifndef MOON_CLI_ARGS_H
#define MOON_CLI_ARGS_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"

enum args_kind {
    ARGS_FLAG, /* bool *target = true; takes no value */
    ARGS_U64,  /* uint64_t; "100", "4k" = 4000, "4kb" = 4096, "1m" */
    ARGS_U32,
    ARGS_DOUBLE, /* double, finite */
    ARGS_TEXT,   /* const char *, borrowed from argv */
    ARGS_CHOICE  /* uint32_t: index into choices */
};
struct args_option {
    char letter;      /* 0: long form only */
    const char *name; /* without dashes */
    enum args_kind kind;
    void *target;    /* of the type that kind names; keeps its value when the option is absent */
    double min, max; /* U64, U32, DOUBLE: inclusive; both 0: any value of the type */
    const char *const *choices; /* NULL-terminated */
    const char *value;          /* what the help calls the value; NULL: from the kind */
    const char *help;
};
struct args {
    const char *usage;    /* "moonctl bench [OPTION…]" */
    const char *epilogue; /* printed below the options: examples; may be NULL */
    const struct args_option *options;
    size_t options_count;
    char **rest; /* out: the first word that is no option, and all that follow it */
    uint32_t rest_count;
};
enum args_result {
    ARGS_DONE,
    ARGS_HELPED, /* --help was asked for and printed */
    ARGS_BAD     /* said on stderr */
};

/* argv[0] is the verb. Stops at the first word that does not begin with '-', or after "--". */
MUST_CHECK enum args_result args_parse(struct args *a, int argc, char **argv);

#endif
