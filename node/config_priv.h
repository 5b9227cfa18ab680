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
    MODE_LIVE,    /* CONFIG SET takes effect */
    MODE_START,   /* read at start only: CONFIG SET refuses */
    MODE_KEPT,    /* known, kept and shown, without effect here: one warning at start if given */
    MODE_SILENT,  /* as MODE_KEPT, for settings whose absence nobody would miss (no warning) */
    MODE_REFUSED, /* asking for other than the default is an error that says why */
};
struct directive {
    const char *name, *alias; /* alias NULL: none */
    enum config_type type;
    enum config_mode mode;
    const char *preset;       /* built-in value, as text */
    void *target;             /* NULL: text is kept in config__text() */
    size_t cap;               /* CONFIG_STRING: of target */
    int64_t min, max;         /* CONFIG_U32, CONFIG_I64, CONFIG_SIZE */
    const char *const *names; /* CONFIG_ENUM: NULL-terminated, index is the value */
    const char
        *why; /* MODE_REFUSED: the reason; MODE_KEPT: what stands in its place (may be NULL) */
    /* CONFIG_LIST. parse with apply false only checks. error_out: static text. */
    bool (*parse)(struct bytes text, bool apply, const char **error_out);
    void (*print)(struct buf *out);
    void (*applied)(void); /* after a live change */
    bool sensitive;        /* hidden from logs */
    bool hidden;           /* shown by CONFIG GET only if asked for by its name */
    bool denied_loading;   /* CONFIG SET answers LOADING while the data is loaded */
    bool repeats;          /* several lines in a file add up */
};
extern const struct directive config__table[];
extern const uint32_t config__count;

/* By name or alias, any case, '_' as '-'. */
const struct directive *config__find(struct bytes name);
/* Checks text; with apply it becomes the value. False: *error_out says why, in Redis's words. */
bool config__set(const struct directive *d, struct bytes text, bool apply, const char **error_out);
void config__print(const struct directive *d, struct buf *out); /* appends the value as text */
bool config__is_preset(const struct directive *d);
/* Splits a line into words by Redis's quoting rules (double quotes with escapes, single quotes). -1: quotes
 * do not match. Words are views into scratch, which must hold line.len bytes. */
int config__split(struct bytes line, char *scratch, struct bytes *words, int words_max);
/* Joins words as the value's text: one space between. */
void config__warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Rewrites the loaded file in place. False: *why. */
bool config__rewrite(struct buf *why);
/* The switch of appendfsync on each shard and the like: set by config_cmd.c while its CONFIG SET runs. */
extern bool config__changed_fsync;

#endif
