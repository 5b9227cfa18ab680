/* node/config_priv.h: the table of directives, for config.c (values), config_file.c (loading, rewriting)
 * and config_cmd.c (CONFIG). */
#ifndef MOON_NODE_CONFIG_PRIV_H
#define MOON_NODE_CONFIG_PRIV_H

#include "node/config.h"

enum config_type {
    CONFIG_BOOL,   /* bool */
    CONFIG_U32,    /* uint32_t */
    CONFIG_I64,    /* int64_t */
    CONFIG_SIZE,   /* uint64_t, "100mb" */
    CONFIG_ENUM,   /* uint32_t-sized enum, names below */
    CONFIG_OCTAL,  /* uint32_t */
    CONFIG_STRING, /* char[cap] */
    CONFIG_LIST,   /* text of its own form, by parse and print */
};
enum config_mode {
    MODE_SILENT,  /* as MODE_KEPT, for settings whose absence nobody would miss (no warning) */
    MODE_LIVE,    /* CONFIG SET takes effect */
    MODE_START,   /* read at start only: CONFIG SET refuses */
    MODE_KEPT,    /* known, kept and shown, without effect here: one warning if given */
    MODE_REFUSED, /* asking for other than the default is an error that says why */
};
struct config_name {
    const char *name; /* NULL ends the list */
    uint32_t value;
};
struct directive {
    const char *name, *alias; /* alias NULL: none */
    enum config_type type;
    enum config_mode mode;
    const char *preset; /* built-in value, as text */
    void *target;       /* NULL: text is kept in config__text() */
    size_t cap;         /* CONFIG_STRING: of target */
    int64_t min, max;   /* numbers */
    int64_t least,
        most; /* numbers outside are taken as these, as Redis does for some; both 0: they are not */
    const struct config_name *names; /* CONFIG_ENUM, in the order of the error text */
    const char
        *why; /* MODE_REFUSED: the reason; MODE_KEPT: what stands in its place (may be NULL) */
    /* CONFIG_LIST. parse with apply false only checks. error_out: static text. */
    bool (*parse)(struct bytes text, bool apply, const char **error_out);
    void (*print)(struct buf *out);
    /* What the type does not see; may be NULL. check_live: asked by CONFIG SET only. */
    bool (*check)(struct bytes text, const char **error_out);
    bool (*check_live)(struct bytes text, const char **error_out);
    void (*applied)(void); /* after a change, at start too */
    bool immutable;        /* CONFIG SET refuses; MODE_START always */
    bool guarded;          /* CONFIG SET asks enable-protected-configs */
    bool percent;          /* CONFIG_SIZE: or a share of maxmemory, "50%" */
    bool wide;      /* CONFIG_U32, CONFIG_SIZE: the target is a uint32_t, larger values count as
                            * its greatest and are shown as they were given */
    bool sensitive; /* hidden from logs */
    bool hidden;    /* shown by CONFIG GET only if asked for by its name */
    bool listens;   /* a change closes and opens the listeners */
    bool denied_loading; /* CONFIG SET answers LOADING while the data is loaded */
    bool repeats;        /* several lines in a file add up */
};
extern const struct directive config__table[];
extern const uint32_t config__count;

/* By name or alias, any case, '_' as '-'. */
const struct directive *config__find(struct bytes name);
/* Checks text; with apply it becomes the value. False: *error_out says why, in Redis's words (static text,
 * until the next call). */
bool config__set(const struct directive *d, struct bytes text, bool apply, const char **error_out);
/* text means the value that d has now. */
bool config__is_value(const struct directive *d, struct bytes text);
/* "yes" or "no"; false: neither. In files and on the command line also true, 1, false, 0. */
bool config__parse_bool(struct bytes text, bool *out);
bool config__lenient_bool(struct bytes text, bool *out);
void config__print(const struct directive *d, struct buf *out); /* appends the value as text */
bool config__is_preset(const struct directive *d);
/* Splits text into words at spaces, for values of several words; -1: more than words_max. */
int config__words(struct bytes text, struct bytes *words, int words_max);
/* Splits a line into words by Redis's quoting rules (double quotes with escapes, single quotes). -1: quotes
 * do not match. Words are views into scratch, which must hold line.len bytes. */
int config__split(struct bytes line, char *scratch, struct bytes *words, int words_max);
/* Joins words as the value's text: one space between. */
void config__warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Rewrites the loaded file in place. False: *why. */
bool config__rewrite(struct buf *why);
/* ---- config_check.c */
bool config__parse_bind(struct bytes text, bool apply, const char **error_out);
void config__print_bind(struct buf *out);
bool config__parse_bus_bind(struct bytes text, bool apply, const char **error_out);
void config__print_bus_bind(struct buf *out);
bool config__parse_output_limit(struct bytes text, bool apply, const char **error_out);
void config__print_output_limit(struct buf *out);
bool config__parse_percentiles(struct bytes text, bool apply, const char **error_out);
void config__print_percentiles(struct buf *out);
bool config__check_save(struct bytes text, const char **error_out);
bool config__check_events(struct bytes text, const char **error_out);
bool config__check_oom_values(struct bytes text, const char **error_out);
bool config__check_title(struct bytes text, const char **error_out);
bool config__check_file_name(struct bytes text, const char **error_out);
bool config__check_announced(struct bytes text, const char **error_out);
bool config__check_hostname(struct bytes text, const char **error_out);
bool config__check_shutdown_words(struct bytes text, const char **error_out);
bool config__check_live_maxclients(struct bytes text, const char **error_out);
bool config__check_live_appendonly(struct bytes text, const char **error_out);
bool config__check_live_dir(struct bytes text, const char **error_out);

#endif
