/* Options of a verb. A value is checked where it is read, so that the message can name the option. */
#include "cli/args.h"

#include "cli/cli.h"
#include "shard/base/assert.h"
#include "shard/base/num.h"

#include <math.h>
#include <stdio.h>

#define OPTIONS_MAX 64u
#define NAME_BYTES_MAX 64u

static const char *value_name(const struct args_option *o)
{
    if (o->value != NULL) return o->value;
    switch (o->kind) {
    case ARGS_FLAG:
        return "";
    case ARGS_U64:
    case ARGS_U32:
        return "N";
    case ARGS_DOUBLE:
        return "X";
    case ARGS_TEXT:
        return "TEXT";
    case ARGS_CHOICE:
        return "NAME";
    }
    __builtin_unreachable();
}

static void print_help(const struct args *a)
{
    printf("usage: %s\n\n", a->usage);
    for (size_t i = 0; i < a->options_count; i++) {
        const struct args_option *o = &a->options[i];
        char letter[5] = "    ";
        char left[64];
        if (o->letter != 0) snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, o->name, value_name(o));
        printf("  %-28s %s\n", left, o->help);
    }
    printf("  %-28s %s\n", "    --help", "this text");
    if (a->epilogue != NULL) printf("\n%s", a->epilogue);
}

static bool in_range(const struct args_option *o, double v)
{
    if (o->min == 0 && o->max == 0) return true;
    return v >= o->min && v <= o->max;
}

static bool read_number(const struct args_option *o, struct bytes text)
{
    uint64_t v = 0;
    if (!num_parse_size(text, &v) || !in_range(o, (double)v)) return false;
    if (o->kind == ARGS_U64) {
        *(uint64_t *)o->target = v;
        return true;
    }
    if (v > UINT32_MAX) return false;
    *(uint32_t *)o->target = (uint32_t)v;
    return true;
}

static bool read_choice(const struct args_option *o, const char *text)
{
    for (uint32_t i = 0; o->choices[i] != NULL; i++) {
        if (strcmp(o->choices[i], text) != 0) continue;
        *(uint32_t *)o->target = i;
        return true;
    }
    return false;
}

static bool read_value(const struct args_option *o, const char *text)
{
    double v = 0;
    switch (o->kind) {
    case ARGS_U64:
    case ARGS_U32:
        return read_number(o, bytes_of(text));
    case ARGS_DOUBLE:
        if (!num_parse_double(bytes_of(text), &v) || !isfinite(v) || !in_range(o, v)) return false;
        *(double *)o->target = v;
        return true;
    case ARGS_TEXT:
        *(const char **)o->target = text;
        return true;
    case ARGS_CHOICE:
        return read_choice(o, text);
    case ARGS_FLAG:
        break;
    }
    return false;
}

static enum args_result refuse_value(const struct args *a, const struct args_option *o,
                                     const char *text)
{
    char next[256];
    size_t used = 0;
    if (o->kind == ARGS_CHOICE) {
        used = (size_t)snprintf(next, sizeof next, "One of:");
        for (uint32_t i = 0; o->choices[i] != NULL && used < sizeof next; i++) {
            used += (size_t)snprintf(next + used, sizeof next - used, " %s", o->choices[i]);
        }
    } else if (o->min != 0 || o->max != 0) {
        snprintf(next, sizeof next, "A number from %.15g to %.15g.", o->min, o->max);
    } else {
        snprintf(next, sizeof next, "See `%.*s --help`.", (int)strcspn(a->usage, "["), a->usage);
    }
    cli_fail(CLI_USAGE, next, "--%s: cannot take \"%.64s\"", o->name, text);
    return ARGS_BAD;
}

static enum args_result refuse_option(const struct args *a, const char *word, size_t name_len)
{
    const char *names[OPTIONS_MAX];
    char name[NAME_BYTES_MAX];
    char next[96] = "--help lists the options.";
    assert(a->options_count <= OPTIONS_MAX);
    for (size_t i = 0; i < a->options_count; i++)
        names[i] = a->options[i].name;
    snprintf(name, sizeof name, "%.*s", (int)name_len, word);
    const char *nearest = cli_nearest(name, names, a->options_count);
    if (nearest != NULL) snprintf(next, sizeof next, "Did you mean --%s?", nearest);
    cli_fail(CLI_USAGE, next, "unknown option \"%s\"", name);
    return ARGS_BAD;
}

static const struct args_option *find_long(const struct args *a, const char *name, size_t len)
{
    for (size_t i = 0; i < a->options_count; i++) {
        const char *n = a->options[i].name;
        if (strlen(n) == len && memcmp(n, name, len) == 0) return &a->options[i];
    }
    return NULL;
}

static const struct args_option *find_short(const struct args *a, char letter)
{
    for (size_t i = 0; i < a->options_count; i++) {
        if (a->options[i].letter == letter) return &a->options[i];
    }
    return NULL;
}

/* One option at argv[*at]; moves *at past its value. */
static enum args_result parse_one(const struct args *a, int argc, char **argv, int *at)
{
    const char *word = argv[*at];
    const struct args_option *o = NULL;
    const char *value = NULL; /* given in the same word */
    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        if (word[2 + len] == '=') value = word + 2 + len + 1;
        o = find_long(a, word + 2, len);
        if (o == NULL) return refuse_option(a, word + 2, len);
    } else {
        if (word[2] != '\0') value = word + 2;
        o = find_short(a, word[1]);
        if (o == NULL) return refuse_option(a, word, strlen(word));
    }
    *at += 1;
    if (o->kind == ARGS_FLAG) {
        if (value != NULL) return refuse_value(a, o, value);
        *(bool *)o->target = true;
        return ARGS_DONE;
    }
    if (value == NULL) {
        if (*at == argc) {
            cli_fail(CLI_USAGE, "--help lists the options.", "--%s needs a value", o->name);
            return ARGS_BAD;
        }
        value = argv[(*at)++];
    }
    return read_value(o, value) ? ARGS_DONE : refuse_value(a, o, value);
}

enum args_result args_parse(struct args *a, int argc, char **argv)
{
    int at = 1;
    assert(argc >= 1);
    while (at < argc && argv[at][0] == '-' && argv[at][1] != '\0') {
        if (strcmp(argv[at], "--help") == 0) {
            print_help(a);
            return ARGS_HELPED;
        }
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        enum args_result r = parse_one(a, argc, argv, &at);
        if (r != ARGS_DONE) return r;
    }
    a->rest = argv + at;
    a->rest_count = (uint32_t)(argc - at);
    return ARGS_DONE;
}
