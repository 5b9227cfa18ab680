/* Values of directives: text to value and back, by type. */
#include "node/config_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "shard/base/num.h"

struct config config;
bool config__changed_fsync;

/* Texts of directives without a target, by place in the table; NULL: the preset. */
static char **kept;

static char **kept_slot(const struct directive *d)
{
    if (kept == NULL) kept = mem_zalloc(MEM_NODE, config__count * sizeof *kept);
    return &kept[d - config__table];
}

const struct directive *config__find(struct bytes name)
{
    char folded[64];
    if (name.len == 0 || name.len >= sizeof folded) return NULL;
    for (size_t i = 0; i < name.len; i++)
        folded[i] = (char)(name.data[i] == '_' ? '-' : name.data[i]);
    struct bytes f = bytes_view(folded, name.len);
    for (uint32_t i = 0; i < config__count; i++) {
        const struct directive *d = &config__table[i];
        if (bytes_is(f, d->name) || bytes_is(name, d->name)) return d;
        if (d->alias != NULL && (bytes_is(f, d->alias) || bytes_is(name, d->alias))) return d;
    }
    return NULL;
}

/* ---- text to value. One static buffer for composed errors: only the thread that sets uses it. */

static char error_text[512];

static bool parse_bool(struct bytes text, bool *out)
{
    if (bytes_is(text, "yes") || bytes_is(text, "true") || bytes_is(text, "1")) {
        *out = true;
        return true;
    }
    *out = false;
    return bytes_is(text, "no") || bytes_is(text, "false") || bytes_is(text, "0");
}

static bool in_range(const struct directive *d, int64_t v, const char **error_out)
{
    if (v >= d->min && v <= d->max) return true;
    (void)snprintf(error_text, sizeof error_text,
                   "argument must be between %lld and %lld inclusive", (long long)d->min,
                   (long long)d->max);
    *error_out = error_text;
    return false;
}

static bool parse_number(const struct directive *d, struct bytes text, int64_t *out,
                         const char **error_out)
{
    if (d->type == CONFIG_SIZE) {
        uint64_t bytes;
        *error_out = "argument must be a memory value";
        if (!num_parse_size(text, &bytes) || bytes > INT64_MAX) return false;
        *out = (int64_t)bytes;
    } else if (d->type == CONFIG_OCTAL) {
        *error_out = "argument must be an octal number";
        if (text.len == 0 || text.len > 4) return false;
        *out = 0;
        for (size_t i = 0; i < text.len; i++) {
            if (text.data[i] < '0' || text.data[i] > '7') return false;
            *out = *out * 8 + (text.data[i] - '0');
        }
    } else {
        *error_out = "argument couldn't be parsed into an integer";
        if (!num_parse_i64(text, out)) return false;
    }
    return in_range(d, *out, error_out);
}

static void store_number(const struct directive *d, int64_t v)
{
    if (d->type == CONFIG_U32 || d->type == CONFIG_OCTAL)
        *(uint32_t *)d->target = (uint32_t)v;
    else
        *(int64_t *)d->target = v;
}

static bool set_enum(const struct directive *d, struct bytes text, bool apply,
                     const char **error_out)
{
    for (uint32_t i = 0; d->names[i] != NULL; i++) {
        if (!bytes_is(text, d->names[i])) continue;
        if (apply && d->target != NULL) *(uint32_t *)d->target = i;
        return true;
    }
    int n = snprintf(error_text, sizeof error_text, "argument(s) must be one of the following: ");
    for (uint32_t i = 0; d->names[i] != NULL; i++)
        n += snprintf(error_text + n, sizeof error_text - (size_t)n, "%s%s", i == 0 ? "" : ", ",
                      d->names[i]);
    if (d->why != NULL)
        (void)snprintf(error_text + n, sizeof error_text - (size_t)n, " (%s)", d->why);
    *error_out = error_text;
    return false;
}

static bool set_kept(const struct directive *d, struct bytes text, bool apply,
                     const char **error_out)
{
    if (text.len > 4096) {
        *error_out = "argument is longer than 4096 characters";
        return false;
    }
    if (!apply) return true;
    char **slot = kept_slot(d);
    if (*slot != NULL) mem_free(MEM_NODE, *slot, strlen(*slot) + 1);
    *slot = mem_alloc(MEM_NODE, text.len + 1);
    memcpy(*slot, text.data, text.len);
    (*slot)[text.len] = 0;
    return true;
}

static bool set_string(const struct directive *d, struct bytes text, bool apply,
                       const char **error_out)
{
    if (d->target == NULL) return set_kept(d, text, apply, error_out);
    if (text.len >= d->cap) {
        *error_out = "argument is too long";
        return false;
    }
    if (!apply) return true;
    memcpy(d->target, text.data, text.len);
    ((char *)d->target)[text.len] = 0;
    return true;
}

static bool set_by_type(const struct directive *d, struct bytes text, bool apply,
                        const char **error_out)
{
    bool flag;
    int64_t v;
    switch (d->type) {
    case CONFIG_BOOL:
        *error_out = "argument must be 'yes' or 'no'";
        if (!parse_bool(text, &flag)) return false;
        if (d->target == NULL)
            return set_kept(d, flag ? BYTES_LIT("yes") : BYTES_LIT("no"), apply, error_out);
        if (apply) *(bool *)d->target = flag;
        return true;
    case CONFIG_U32:
    case CONFIG_I64:
    case CONFIG_SIZE:
    case CONFIG_OCTAL:
        if (!parse_number(d, text, &v, error_out)) return false;
        if (d->target != NULL) {
            if (apply) store_number(d, v);
            return true;
        }
        char digits[NUM_I64_TEXT_MAX];
        return set_kept(d, bytes_view(digits, num_format_i64(digits, v)), apply, error_out);
    case CONFIG_ENUM:
        return set_enum(d, text, apply, error_out);
    case CONFIG_STRING:
        return set_string(d, text, apply, error_out);
    case CONFIG_LIST:
        return d->parse(text, apply, error_out);
    }
    assert(false);
}

static bool same_as_preset(const struct directive *d, struct bytes text)
{
    bool a, b;
    if (d->type == CONFIG_BOOL)
        return parse_bool(text, &a) && parse_bool(bytes_of(d->preset), &b) && a == b;
    return bytes_equal(text, bytes_of(d->preset));
}

bool config__set(const struct directive *d, struct bytes text, bool apply, const char **error_out)
{
    if (d->mode == MODE_REFUSED && !same_as_preset(d, text)) {
        *error_out = d->why;
        return false;
    }
    if (!set_by_type(d, text, apply, error_out)) return false;
    if (apply && d->applied != NULL) d->applied();
    return true;
}

/* ---- value to text */

void config__print(const struct directive *d, struct buf *out)
{
    if (d->type == CONFIG_LIST) {
        d->print(out);
        return;
    }
    if (d->target == NULL) {
        const char *text = *kept_slot(d);
        buf_add_bytes(out, bytes_of(text != NULL ? text : d->preset));
        return;
    }
    switch (d->type) {
    case CONFIG_BOOL:
        buf_addf(out, "%s", *(const bool *)d->target ? "yes" : "no");
        return;
    case CONFIG_U32:
        /* list-max-listpack-size is signed; all others stay below 2^31 or are counts */
        if (d->min < 0)
            buf_addf(out, "%d", *(const int32_t *)d->target);
        else
            buf_addf(out, "%u", *(const uint32_t *)d->target);
        return;
    case CONFIG_OCTAL:
        buf_addf(out, "%o", *(const uint32_t *)d->target);
        return;
    case CONFIG_I64:
    case CONFIG_SIZE:
        buf_addf(out, "%lld", (long long)*(const int64_t *)d->target);
        return;
    case CONFIG_ENUM:
        buf_addf(out, "%s", d->names[*(const uint32_t *)d->target]);
        return;
    case CONFIG_STRING:
        buf_addf(out, "%s", (const char *)d->target);
        return;
    case CONFIG_LIST:
        return;
    }
}

bool config__is_preset(const struct directive *d)
{
    struct buf now;
    buf_init(&now, MEM_NODE);
    config__print(d, &now);
    bool same = bytes_equal(buf_bytes(&now), bytes_of(d->preset));
    buf_free(&now);
    return same;
}

/* ---- words */

static int hex_digit(uint8_t ch)
{
    if (ch >= '0' && ch <= '9') return ch - '0';
    if (ch >= 'a' && ch <= 'f') return ch - 'a' + 10;
    if (ch >= 'A' && ch <= 'F') return ch - 'A' + 10;
    return -1;
}

/* After a backslash in double quotes; returns the places used. */
static size_t unescape(const uint8_t *at, const uint8_t *end, char *out)
{
    if (at + 2 < end && *at == 'x' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
        *out = (char)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
        return 3;
    }
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *p = *at != 0 ? strchr(from, *at) : NULL;
    *out = p != NULL ? to[p - from] : (char)*at;
    return 1;
}

int config__split(struct bytes line, char *scratch, struct bytes *words, int words_max)
{
    const uint8_t *at = line.data, *end = line.data + line.len;
    int n = 0;
    for (;;) {
        while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
            at++;
        if (at >= end || n == words_max) return at >= end ? n : -1;
        char *start = scratch;
        uint8_t quote = *at == '"' || *at == '\'' ? *at++ : 0;
        for (;; at++) {
            if (at >= end) {
                if (quote != 0) return -1;
                break;
            }
            if (quote == 0 && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) break;
            if (quote != 0 && *at == quote) {
                at++;
                if (at < end && *at != ' ' && *at != '\t' && *at != '\r' && *at != '\n') return -1;
                break;
            }
            if (quote == '"' && *at == '\\' && at + 1 < end) {
                at += unescape(at + 1, end, scratch++);
                continue;
            }
            if (quote == '\'' && *at == '\\' && at + 1 < end && at[1] == '\'') at++;
            *scratch++ = (char)*at;
        }
        words[n++] = bytes_view(start, (size_t)(scratch - start));
    }
}
