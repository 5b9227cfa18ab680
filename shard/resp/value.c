/* shard/resp/value.c: replies of servers. resp_value_skip() walks a reply with a small stack of
 * counts and checks everything; resp_value_parse() runs it first and then builds the tree without
 * doubts, so a half or hostile reply allocates nothing and an announced count is never trusted
 * before its elements are there. */
#include "shard/resp/value.h"

#include <math.h>

#include "shard/base/assert.h"
#include "shard/base/num.h"

static_assert(sizeof(struct resp_value) <= 60,
              "the header promises 20 bytes per byte; an element takes at least 3");

/* What one head says. `children`: values that follow and belong to it. */
struct token {
    struct resp_value value;
    uint32_t children;
};

/* The line behind the type byte, without CRLF. `at_out`: behind it. 1, 0, -1 as in the header. */
static int read_line(const uint8_t *in, size_t len, struct bytes *line_out, size_t *at_out)
{
    size_t seen = len > RESP_VALUE_LINE_MAX ? RESP_VALUE_LINE_MAX : len;
    const uint8_t *cr = memchr(in, '\r', seen);
    size_t line_len = cr != NULL ? (size_t)(cr - in) : seen;
    if (memchr(in, '\n', line_len) != NULL) return -1;
    if (cr == NULL) return seen < len ? -1 : 0;
    if (line_len + 2 > len) return 0;
    if (cr[1] != '\n') return -1;
    *line_out = bytes_view(in, line_len);
    *at_out = line_len + 2;
    return 1;
}

static bool parse_integer(struct bytes line, int64_t *out)
{
    if (line.len > 1 && line.data[0] == '+' && line.data[1] != '-') {
        line.data++;
        line.len--;
    }
    return num_parse_i64(line, out);
}

static bool parse_number(struct bytes line, double *out)
{
    if (bytes_is(line, "nan") || bytes_is(line, "-nan")) {
        *out = (double)NAN;
        return true;
    }
    return num_parse_double(line, out);
}

static bool is_bignum(struct bytes line)
{
    size_t i = line.len > 0 && (line.data[0] == '-' || line.data[0] == '+') ? 1 : 0;
    if (i == line.len) return false;
    for (; i < line.len; i++)
        if (line.data[i] < '0' || line.data[i] > '9') return false;
    return true;
}

/* Length-prefixed text: `line` is its length, `in` what follows. */
static int read_blob(struct bytes line, const uint8_t *in, size_t len, struct resp_value *v,
                     size_t *used_out)
{
    int64_t blob_len = 0;
    if (!num_parse_i64(line, &blob_len) || blob_len > RESP_VALUE_BULK_MAX) return -1;
    *used_out = 0;
    if (blob_len == -1 && v->type == RESP_BULK) {
        v->null = true;
        return 1;
    }
    size_t skip = v->type == RESP_VERBATIM ? 4 : 0;
    if (blob_len < (int64_t)skip) return -1;
    size_t size = (size_t)blob_len;
    if (len < size + 2) return 0;
    if (in[size] != '\r' || in[size + 1] != '\n') return -1;
    if (skip != 0 && in[3] != ':') return -1;
    v->text = bytes_view(in + skip, size - skip);
    *used_out = size + 2;
    return 1;
}

static int read_aggregate(struct bytes line, struct token *t)
{
    int64_t count = 0;
    if (!num_parse_i64(line, &count) || count > RESP_VALUE_COUNT_MAX) return -1;
    if (count == -1 && t->value.type == RESP_ARRAY) {
        t->value.null = true;
        return 1;
    }
    if (count < 0) return -1;
    bool pairs = t->value.type == RESP_MAP || t->value.type == RESP_ATTRIBUTE;
    t->value.count = (uint32_t)count;
    t->children = pairs ? 2 * (uint32_t)count : (uint32_t)count;
    return 1;
}

static int read_scalar(struct bytes line, struct resp_value *v)
{
    v->text = line;
    switch (v->type) {
    case RESP_SIMPLE:
    case RESP_ERROR:
        return 1;
    case RESP_INTEGER:
        return parse_integer(line, &v->integer) ? 1 : -1;
    case RESP_DOUBLE:
        return parse_number(line, &v->number) ? 1 : -1;
    case RESP_BIGNUM:
        return is_bignum(line) ? 1 : -1;
    case RESP_NULL:
        v->null = true;
        return line.len == 0 ? 1 : -1;
    case RESP_BOOL:
        if (line.len != 1 || (line.data[0] != 't' && line.data[0] != 'f')) return -1;
        v->integer = line.data[0] == 't';
        return 1;
    case RESP_BULK:
    case RESP_BLOB_ERROR:
    case RESP_VERBATIM:
    case RESP_ARRAY:
    case RESP_MAP:
    case RESP_SET:
    case RESP_PUSH:
    case RESP_ATTRIBUTE:
    default:
        return -1;
    }
}

/* One value without its children. */
static int read_token(const uint8_t *in, size_t len, struct token *t, size_t *used_out)
{
    if (len == 0) return 0;
    if (memchr("+-:$*_#,(!=%~>|", in[0], 15) == NULL) return -1;
    *t = (struct token){.value.type = (enum resp_type)in[0]};
    struct bytes line = {0};
    size_t at = 0;
    int got = read_line(in + 1, len - 1, &line, &at);
    if (got != 1) return got;
    at++;
    size_t blob = 0;
    switch (t->value.type) {
    case RESP_BULK:
    case RESP_BLOB_ERROR:
    case RESP_VERBATIM:
        got = read_blob(line, in + at, len - at, &t->value, &blob);
        break;
    case RESP_ARRAY:
    case RESP_MAP:
    case RESP_SET:
    case RESP_PUSH:
    case RESP_ATTRIBUTE:
        got = read_aggregate(line, t);
        break;
    case RESP_SIMPLE:
    case RESP_ERROR:
    case RESP_INTEGER:
    case RESP_NULL:
    case RESP_BOOL:
    case RESP_DOUBLE:
    case RESP_BIGNUM:
    default:
        got = read_scalar(line, &t->value);
        break;
    }
    *used_out = at + blob;
    return got;
}

int64_t resp_value_skip(const uint8_t *in, size_t len)
{
    uint32_t left[RESP_VALUE_DEPTH_MAX]; /* values still to come, per open aggregate */
    int depth = 0;
    size_t at = 0;
    do {
        struct token t;
        size_t used = 0;
        int got = read_token(in + at, len - at, &t, &used);
        if (got != 1) return got;
        at += used;
        if (depth > 0) {
            if (t.value.type == RESP_PUSH) return -1;
            if (t.value.type != RESP_ATTRIBUTE) left[depth - 1]--;
        }
        if (t.children > 0) {
            if (depth == RESP_VALUE_DEPTH_MAX) return -1;
            left[depth++] = t.children;
        }
        while (depth > 0 && left[depth - 1] == 0)
            depth--;
    } while (depth > 0);
    return (int64_t)at;
}

/* Builds what resp_value_skip() has found whole and right. Returns the bytes used. */
static size_t build(struct arena *a, const uint8_t *in, size_t len, struct resp_value *out)
{
    struct token t;
    size_t at = 0;
    int got = read_token(in, len, &t, &at);
    assert(got == 1);
    *out = t.value;
    if (t.children == 0) return at;
    out->items = arena_alloc(a, t.children * sizeof *out->items);
    for (uint32_t i = 0; i < t.children; i++) {
        while (in[at] == RESP_ATTRIBUTE)
            at += (size_t)resp_value_skip(in + at, len - at);
        at += build(a, in + at, len - at, &out->items[i]);
    }
    return at;
}

int resp_value_parse(struct arena *a, const uint8_t *in, size_t len, struct resp_value *out,
                     size_t *used_out)
{
    int64_t size = resp_value_skip(in, len);
    if (size <= 0) return (int)size;
    size_t used = build(a, in, (size_t)size, out);
    assert(used == (size_t)size);
    *used_out = used;
    return 1;
}
