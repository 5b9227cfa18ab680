/* Values of directives: text to value and back, by type. */
#include "node/config_priv.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "shard/base/num.h"

struct config config;

/* Texts of directives without a target, by place in the table; NULL: the preset. */
static char **kept;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void config_lock(void)
{
    (void)pthread_mutex_lock(&lock);
}

void config_unlock(void)
{
    (void)pthread_mutex_unlock(&lock);
}

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

bool config__parse_bool(struct bytes text, bool *out)
{
    *out = bytes_is(text, "yes");
    return *out || bytes_is(text, "no");
}

bool config__lenient_bool(struct bytes text, bool *out)
{
    if (config__parse_bool(text, out)) return true;
    *out = bytes_is(text, "true") || bytes_is(text, "1");
    return *out || bytes_is(text, "false") || bytes_is(text, "0");
}

static bool in_range(const struct directive *d, int64_t v, bool overflown, const char **error_out)
{
    if (!overflown && v >= d->min && v <= d->max) return true;
    if (d->type == CONFIG_OCTAL)
        (void)snprintf(error_text, sizeof error_text,
                       "argument must be between %llo and %llo inclusive", (long long)d->min,
                       (long long)d->max);
    else
        (void)snprintf(error_text, sizeof error_text,
                       "argument must be between %lld and %lld inclusive", (long long)d->min,
                       (long long)d->max);
    *error_out = error_text;
    return false;
}

/* Redis reads "" as 0, and what is too large as the largest, which is out of range. */
static bool parse_size(struct bytes text, int64_t *out, bool *overflown)
{
    uint64_t bytes = 0;
    if (text.len > 0 && !num_parse_size(text, &bytes)) {
        size_t digits = 0;
        while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
            digits++;
        char unit[8] = "1";
        if (digits == 0 || text.len - digits > 2) return false;
        memcpy(unit + 1, text.data + digits, text.len - digits);
        if (!num_parse_size(bytes_of(unit), &bytes)) return false;
        bytes = UINT64_MAX;
    }
    *overflown = bytes > INT64_MAX;
    *out = *overflown ? INT64_MAX : (int64_t)bytes;
    return true;
}

static bool parse_octal(struct bytes text, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '7' || *out > INT32_MAX) return false;
        *out = *out * 8 + (text.data[i] - '0');
    }
    return text.len > 0;
}

static bool parse_number(const struct directive *d, struct bytes text, int64_t *out,
                         const char **error_out)
{
    bool overflown = false;
    if (d->type == CONFIG_SIZE) {
        *error_out = d->percent ? "argument must be a memory or percent value"
                                : "argument must be a memory value";
        if (!parse_size(text, out, &overflown)) return false;
    } else if (d->type == CONFIG_OCTAL) {
        *error_out = "argument couldn't be parsed as an octal number";
        if (!parse_octal(text, out)) return false;
    } else {
        *error_out = "argument couldn't be parsed into an integer";
        if (!num_parse_i64(text, out)) return false;
    }
    if (!in_range(d, *out, overflown, error_out)) return false;
    if (d->least == 0 && d->most == 0) return true;
    if (*out < d->least) *out = d->least;
    if (*out > d->most) *out = d->most;
    return true;
}

static void keep_text(const struct directive *d, struct bytes text)
{
    char **slot = kept_slot(d);
    if (*slot != NULL) mem_free(MEM_NODE, *slot, strlen(*slot) + 1);
    *slot = mem_alloc(MEM_NODE, text.len + 1);
    if (text.len > 0) memcpy(*slot, text.data, text.len);
    (*slot)[text.len] = 0;
}

static bool has_zero(struct bytes text)
{
    return text.len > 0 && memchr(text.data, 0, text.len) != NULL;
}

static bool set_kept(const struct directive *d, struct bytes text, bool apply,
                     const char **error_out)
{
    if (text.len > 4096 || has_zero(text)) {
        *error_out = "argument is longer than 4096 characters or holds a zero";
        return false;
    }
    if (apply) keep_text(d, text);
    return true;
}

static void store_number(const struct directive *d, int64_t v)
{
    if (d->target == NULL || d->wide) {
        char digits[NUM_I64_TEXT_MAX];
        keep_text(d, bytes_view(digits, num_format_i64(digits, v)));
    }
    if (d->target == NULL) return;
    if (d->wide)
        *(uint32_t *)d->target = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
    else if (d->type == CONFIG_U32 || d->type == CONFIG_OCTAL)
        *(uint32_t *)d->target = (uint32_t)v;
    else
        *(int64_t *)d->target = v;
}

static bool set_percent(const struct directive *d, struct bytes text, bool apply,
                        const char **error_out)
{
    int64_t share;
    *error_out = "argument must be a memory or percent value";
    if (!num_parse_i64(bytes_view(text.data, text.len - 1), &share) || share < 0) return false;
    *error_out = "percentage argument must be less or equal to 100";
    if (share > 100) return false;
    if (apply) keep_text(d, text);
    return true;
}

static bool set_enum(const struct directive *d, struct bytes text, bool apply,
                     const char **error_out)
{
    for (const struct config_name *n = d->names; n->name != NULL; n++) {
        if (!bytes_is(text, n->name)) continue;
        if (apply && d->target != NULL) *(uint32_t *)d->target = n->value;
        if (apply && d->target == NULL) keep_text(d, bytes_of(n->name));
        return true;
    }
    int at = snprintf(error_text, sizeof error_text, "argument(s) must be one of the following: ");
    for (const struct config_name *n = d->names; n->name != NULL; n++)
        at += snprintf(error_text + at, sizeof error_text - (size_t)at, "%s%s",
                       n == d->names ? "" : ", ", n->name);
    *error_out = error_text;
    return false;
}

static bool set_string(const struct directive *d, struct bytes text, bool apply,
                       const char **error_out)
{
    if (d->target == NULL) return set_kept(d, text, apply, error_out);
    if (text.len >= d->cap || has_zero(text)) {
        *error_out = "argument is too long or holds a zero";
        return false;
    }
    if (!apply) return true;
    if (text.len > 0) memcpy(d->target, text.data, text.len);
    ((char *)d->target)[text.len] = 0;
    return true;
}

static bool set_bool(const struct directive *d, struct bytes text, bool apply,
                     const char **error_out)
{
    bool flag;
    *error_out = "argument must be 'yes' or 'no'";
    if (!config__parse_bool(text, &flag)) return false;
    if (!apply) return true;
    if (d->target == NULL)
        keep_text(d, flag ? BYTES_LIT("yes") : BYTES_LIT("no"));
    else
        *(bool *)d->target = flag;
    return true;
}

static bool set_by_type(const struct directive *d, struct bytes text, bool apply,
                        const char **error_out)
{
    int64_t v;
    switch (d->type) {
    case CONFIG_BOOL:
        return set_bool(d, text, apply, error_out);
    case CONFIG_SIZE:
    case CONFIG_U32:
    case CONFIG_I64:
    case CONFIG_OCTAL:
        if (d->percent && text.len > 1 && text.data[text.len - 1] == '%')
            return set_percent(d, text, apply, error_out);
        if (!parse_number(d, text, &v, error_out)) return false;
        if (apply) store_number(d, v);
        return true;
    case CONFIG_ENUM:
        return set_enum(d, text, apply, error_out);
    case CONFIG_STRING:
        return set_string(d, text, apply, error_out);
    case CONFIG_LIST:
        return d->parse(text, apply, error_out);
    }
    assert(false);
}

/* Two texts that were found good mean the same value. */
static bool same_value(const struct directive *d, struct bytes a, struct bytes b)
{
    bool bool_a, bool_b;
    int64_t number_a, number_b;
    const char *unused;
    switch (d->type) {
    case CONFIG_BOOL:
        return config__parse_bool(a, &bool_a) && config__parse_bool(b, &bool_b) && bool_a == bool_b;
    case CONFIG_U32:
    case CONFIG_I64:
    case CONFIG_SIZE:
    case CONFIG_OCTAL:
        if (bytes_equal(a, b)) return true;
        return parse_number(d, a, &number_a, &unused) && parse_number(d, b, &number_b, &unused) &&
               number_a == number_b;
    case CONFIG_ENUM:
    case CONFIG_STRING:
    case CONFIG_LIST:
        break;
    }
    return bytes_equal(a, b);
}

bool config__is_value(const struct directive *d, struct bytes text)
{
    struct buf now;
    buf_init(&now, MEM_NODE);
    config__print(d, &now);
    bool same = same_value(d, text, buf_bytes(&now));
    buf_free(&now);
    return same;
}

bool config__set(const struct directive *d, struct bytes text, bool apply, const char **error_out)
{
    if (!set_by_type(d, text, false, error_out)) return false;
    if (d->check != NULL && !d->check(text, error_out)) return false;
    if (d->mode == MODE_REFUSED && !same_value(d, text, bytes_of(d->preset))) {
        *error_out = d->why;
        return false;
    }
    if (!apply) return true;
    bool ok = set_by_type(d, text, true, error_out);
    assert(ok);
    if (d->applied != NULL) d->applied();
    return true;
}

/* ---- value to text */

void config__print(const struct directive *d, struct buf *out)
{
    if (d->type == CONFIG_LIST) {
        d->print(out);
        return;
    }
    if (d->target == NULL || d->wide) {
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
        for (const struct config_name *n = d->names; n->name != NULL; n++)
            if (n->value == *(const uint32_t *)d->target) buf_addf(out, "%s", n->name);
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

int config__words(struct bytes text, struct bytes *words, int words_max)
{
    int n = 0;
    for (size_t at = 0; at < text.len;) {
        while (at < text.len && text.data[at] == ' ')
            at++;
        size_t from = at;
        while (at < text.len && text.data[at] != ' ')
            at++;
        if (at == from) break;
        if (n == words_max) return -1;
        words[n++] = bytes_view(text.data + from, at - from);
    }
    return n;
}

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
