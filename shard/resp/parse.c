/* shard/resp/parse.c: requests of clients.
 *
 *   *3 CRLF $3 CRLF SET CRLF $1 CRLF k CRLF $1 CRLF v CRLF      multibulk, what libraries send
 *   SET k "a \x00 value" LF                                     inline, what people type
 *
 * Two readers of multibulk. parse_fast() wants the whole request in sight and fills argv in one
 * pass; it is all that a pipelined connection ever runs. Whatever it does not like (incomplete,
 * wrong, over a limit) it leaves untouched to the careful reader, which knows every error, keeps its
 * place between calls and allocates only when the last byte is there.
 *
 * Two oddities of Redis are kept, because clients can see them: it looks for line ends as in a C
 * string, so a NUL in a header or inline line hides the rest until the line is over 64 KiB, and the
 * bytes where LF (headers) or CRLF (arguments) belong are skipped unread. */
#include "shard/resp/parse.h"

#include <stdio.h>

#include "shard/base/assert.h"
#include "shard/base/limits.h"
#include "shard/base/num.h"

#define ARG_WIRE_BYTES_MIN 6u /* "$0\r\n\r\n" */
#define HEAD_BYTES_MAX 12u /* '$' or '*', at most 8 digits, CRLF: what read_count() may look at */
#define BULK_DEFAULT_MAX (512 << 20)

/* Number of a header at `at` ('*' or '$' passed over), CR after it. Up to 8 digits, no leading zero.
 * Returns the offset behind LF, NULL if it is not that. HEAD_BYTES_MAX must be readable. */
HOT_INLINE const uint8_t *read_count(const uint8_t *at, uint32_t *count_out)
{
    uint32_t count = (uint32_t)at[1] - '0';
    if (likely(count <= 9) && at[2] == '\r') {
        *count_out = count;
        return at + 4;
    }
    if (unlikely(count - 1 > 8)) return NULL;
    for (unsigned i = 2; i <= 8; i++) {
        uint32_t digit = (uint32_t)at[i] - '0';
        if (unlikely(digit > 9)) return NULL;
        count = count * 10 + digit;
        if (at[i + 1] == '\r') {
            *count_out = count;
            return at + i + 3;
        }
    }
    return NULL;
}

/* The last argument may end closer to the end of the input than HEAD_BYTES_MAX: its header is then
 * of the form "$n" or "$nn", or the careful reader takes the request. */
HOT_INLINE const uint8_t *read_count_near_end(const uint8_t *at, uint32_t *count_out)
{
    uint32_t count = (uint32_t)at[1] - '0';
    if (count > 9) return NULL;
    if (at[2] == '\r') {
        *count_out = count;
        return at + 4;
    }
    uint32_t digit = (uint32_t)at[2] - '0';
    if (count == 0 || digit > 9 || at[3] != '\r') return NULL;
    *count_out = count * 10 + digit;
    return at + 5;
}

static bool parse_fast(const struct resp_limits *limits, struct arena *args, const uint8_t *in,
                       size_t len, struct resp_request *out)
{
    if (len < HEAD_BYTES_MAX) return false;
    uint32_t count = 0;
    const uint8_t *const end = in + len;
    const uint8_t *at = read_count(in, &count);
    if (at == NULL || count == 0) return false;
    if (unlikely(count > 9) && (!limits->authenticated || count > len / ARG_WIRE_BYTES_MIN))
        return false;
    if (unlikely(count > limits->multibulk_max)) return false;
    int64_t bulk_max = limits->bulk_max;
    if (unlikely(!limits->authenticated) && bulk_max > BULK_UNAUTH_MAX) bulk_max = BULK_UNAUTH_MAX;

    struct arena_mark mark = arena_mark(args);
    struct bytes *argv = arena_alloc(args, count * sizeof *argv);
    for (uint32_t i = 0; i < count; i++) {
        size_t left = (size_t)(end - at);
        uint32_t bulk_len = 0;
        if (unlikely(left < ARG_WIRE_BYTES_MIN) || unlikely(*at != '$')) goto out_rewind;
        at = likely(left >= HEAD_BYTES_MAX) ? read_count(at, &bulk_len)
                                            : read_count_near_end(at, &bulk_len);
        if (unlikely(at == NULL) || unlikely(bulk_len > bulk_max)) goto out_rewind;
        if (unlikely(end - at < (ptrdiff_t)bulk_len + 2)) goto out_rewind;
        argv[i] = bytes_view(at, bulk_len);
        at += bulk_len + 2;
    }
    *out = (struct resp_request){.argv = argv, .argc = count, .wire_bytes = (size_t)(at - in)};
    return true;
out_rewind:
    arena_rewind(args, mark);
    return false;
}

static enum resp_result bad(struct resp_parser *p, const char *error)
{
    p->error = error;
    return RESP_BAD;
}

static enum resp_result more(struct resp_parser *p, size_t bytes_wanted)
{
    p->bytes_wanted = bytes_wanted;
    return RESP_MORE;
}

static enum resp_result done(struct resp_parser *p)
{
    *p = (struct resp_parser){0};
    return RESP_DONE;
}

/* Finds `stop`, the end of the line that begins at `start`. A line may be found up to 64 KiB long;
 * a longer one is `error`, however its bytes arrive. */
static enum resp_result find_line_end(struct resp_parser *p, const uint8_t *in, size_t len,
                                      size_t start, uint8_t stop, const char *error,
                                      size_t *end_out)
{
    size_t seen = len - start > INLINE_BYTES_MAX ? start + INLINE_BYTES_MAX + 1 : len;
    size_t from = p->scanned_to > start ? p->scanned_to : start;
    if (from < seen) {
        const uint8_t *hit = memchr(in + from, stop, seen - from);
        const uint8_t *nul =
            memchr(in + from, '\0', hit != NULL ? (size_t)(hit - in) - from : seen - from);
        if (nul != NULL) hit = NULL;
        p->scanned_to = nul != NULL ? (size_t)(nul - in) : hit != NULL ? (size_t)(hit - in) : seen;
        if (hit != NULL) {
            *end_out = (size_t)(hit - in);
            return RESP_DONE;
        }
    }
    if (len - start > INLINE_BYTES_MAX) return bad(p, error);
    return more(p, len + 1);
}

static enum resp_result read_multibulk_header(struct resp_parser *p,
                                              const struct resp_limits *limits, const uint8_t *in,
                                              size_t len)
{
    size_t end = 0;
    enum resp_result result =
        find_line_end(p, in, len, 0, '\r', "Protocol error: too big mbulk count string", &end);
    if (result != RESP_DONE) return result;
    if (len < end + 2) return more(p, end + 2);

    int64_t count = 0;
    if (!num_parse_i64(bytes_view(in + 1, end - 1), &count) || count > MULTIBULK_MAX)
        return bad(p, "Protocol error: invalid multibulk length");
    if (!limits->authenticated && count > MULTIBULK_UNAUTH_MAX)
        return bad(p, "Protocol error: unauthenticated multibulk length");
    if (count > limits->multibulk_max) return bad(p, "Protocol error: invalid multibulk length");
    p->resume_at = end + 2;
    p->args_left = count > 0 ? count : 0;
    return RESP_DONE;
}

static enum resp_result bad_dollar(struct resp_parser *p, uint8_t got)
{
    static _Thread_local char text[64];
    snprintf(text, sizeof text, "Protocol error: expected '$', got '%c'", got);
    return bad(p, text);
}

static enum resp_result bulk_len_check(struct resp_parser *p, const struct resp_limits *limits,
                                       struct bytes digits, int64_t *len_out)
{
    /* A caller may have put the smaller limit of strangers into bulk_max; what is over the
     * server's own limit is "invalid" to them, too. */
    int64_t bulk_max = limits->bulk_max;
    if (!limits->authenticated && bulk_max <= BULK_UNAUTH_MAX) bulk_max = BULK_DEFAULT_MAX;
    if (!num_parse_i64(digits, len_out) || *len_out < 0 || *len_out > bulk_max)
        return bad(p, "Protocol error: invalid bulk length");
    if (!limits->authenticated && *len_out > BULK_UNAUTH_MAX)
        return bad(p, "Protocol error: unauthenticated bulk length");
    return RESP_DONE;
}

/* The argument that begins at p->resume_at, header and bytes; moves resume_at behind it. */
static enum resp_result read_bulk(struct resp_parser *p, const struct resp_limits *limits,
                                  const uint8_t *in, size_t len)
{
    size_t start = p->resume_at;
    size_t end = 0;
    enum resp_result result =
        find_line_end(p, in, len, start, '\r', "Protocol error: too big bulk count string", &end);
    if (result == RESP_BAD) return result;
    size_t least = start + (size_t)p->args_left * ARG_WIRE_BYTES_MIN;
    if (result == RESP_MORE) return more(p, len < least ? least : len + 1);
    if (len < end + 2) return more(p, end + 2);
    if (in[start] != '$') return bad_dollar(p, in[start]);

    int64_t bulk_len = 0;
    result = bulk_len_check(p, limits, bytes_view(in + start + 1, end - start - 1), &bulk_len);
    if (result != RESP_DONE) return result;
    size_t body = end + 2;
    size_t next = body + (size_t)bulk_len + 2;
    if (len < next) return more(p, next + (size_t)(p->args_left - 1) * ARG_WIRE_BYTES_MIN);
    p->resume_at = next;
    p->args_left--;
    p->args_seen++;
    return RESP_DONE;
}

/* All arguments are there and were checked one by one: the headers are read once more for their
 * places. Kept apart from the checks, since between calls there is nowhere to keep a million views. */
static void collect(const struct resp_parser *p, struct arena *args, const uint8_t *in,
                    struct resp_request *out)
{
    const uint8_t *at = in;
    struct bytes *argv = arena_alloc(args, p->args_seen * sizeof *argv);
    while (*at != '\r')
        at++;
    at += 2;
    for (uint32_t i = 0; i < p->args_seen; i++) {
        size_t bulk_len = 0;
        for (at++; *at != '\r'; at++)
            bulk_len = bulk_len * 10 + (*at - '0');
        argv[i] = bytes_view(at + 2, bulk_len);
        at += 2 + bulk_len + 2;
    }
    assert(at == in + p->resume_at);
    *out = (struct resp_request){.argv = argv, .argc = p->args_seen, .wire_bytes = p->resume_at};
}

static enum resp_result parse_multibulk(struct resp_parser *p, const struct resp_limits *limits,
                                        struct arena *args, const uint8_t *in, size_t len,
                                        struct resp_request *out)
{
    if (p->resume_at == 0) {
        enum resp_result result = read_multibulk_header(p, limits, in, len);
        if (result != RESP_DONE) return result;
    }
    while (p->args_left > 0) {
        enum resp_result result = read_bulk(p, limits, in, len);
        if (result != RESP_DONE) return result;
    }
    if (p->args_seen == 0)
        *out = (struct resp_request){.wire_bytes = p->resume_at};
    else
        collect(p, args, in, out);
    return done(p);
}

/* ---- inline */

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A line being split: `at` moves to `end`; what quotes and escapes change is written to `text`. */
struct split {
    const uint8_t *at, *end;
    uint8_t *text;
};

static uint8_t escaped(uint8_t c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* A closing quote ends the argument: a space or the end must follow. */
static bool quote_closed(struct split *s)
{
    s->at++;
    return s->at == s->end || is_space(*s->at);
}

/* After the opening quote. False: never closed, or text behind the closing quote. */
static bool split_double_quoted(struct split *s)
{
    for (; s->at < s->end; s->at++) {
        size_t left = (size_t)(s->end - s->at);
        if (*s->at == '"') return quote_closed(s);
        if (*s->at != '\\' || left < 2) {
            *s->text++ = *s->at;
        } else if (left >= 4 && s->at[1] == 'x' && hex_value(s->at[2]) >= 0 &&
                   hex_value(s->at[3]) >= 0) {
            *s->text++ = (uint8_t)(hex_value(s->at[2]) << 4 | hex_value(s->at[3]));
            s->at += 3;
        } else {
            *s->text++ = escaped(*++s->at);
        }
    }
    return false;
}

static bool split_single_quoted(struct split *s)
{
    for (; s->at < s->end; s->at++) {
        if (*s->at == '\'') return quote_closed(s);
        if (*s->at == '\\' && s->end - s->at >= 2 && s->at[1] == '\'') s->at++;
        *s->text++ = *s->at;
    }
    return false;
}

/* VT and FF part arguments only where one begins: they are spaces to skip, but no ends. */
static bool ends_bare_argument(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* One argument; a quote may open in its middle, and then its end is the argument's. Without quotes
 * it is a view into the line. */
static bool split_one(struct split *s, struct arena *args, struct bytes *arg_out)
{
    const uint8_t *start = s->at;
    while (s->at < s->end && !ends_bare_argument(*s->at) && *s->at != '"' && *s->at != '\'')
        s->at++;
    size_t bare = (size_t)(s->at - start);
    if (s->at == s->end || ends_bare_argument(*s->at)) {
        *arg_out = bytes_view(start, bare);
        return true;
    }
    /* One piece of scratch for the whole line: nothing grows by unquoting. */
    if (s->text == NULL) s->text = arena_alloc(args, (size_t)(s->end - start));
    uint8_t *text = s->text;
    memcpy(text, start, bare);
    s->text += bare;
    bool closed = *s->at++ == '"' ? split_double_quoted(s) : split_single_quoted(s);
    *arg_out = bytes_view(text, (size_t)(s->text - text));
    return closed;
}

static enum resp_result parse_inline(struct resp_parser *p, struct arena *args, const uint8_t *in,
                                     size_t len, struct resp_request *out)
{
    size_t end = 0;
    enum resp_result result =
        find_line_end(p, in, len, 0, '\n', "Protocol error: too big inline request", &end);
    if (result != RESP_DONE) return result;

    size_t line_len = end > 0 && in[end - 1] == '\r' ? end - 1 : end;
    struct arena_mark mark = arena_mark(args);
    struct split s = {.at = in, .end = in + line_len};
    struct bytes *argv = arena_alloc(args, (line_len / 2 + 1) * sizeof *argv); /* "a b c" */
    uint32_t argc = 0;
    for (;;) {
        while (s.at < s.end && is_space(*s.at))
            s.at++;
        if (s.at == s.end) break;
        if (!split_one(&s, args, &argv[argc])) {
            arena_rewind(args, mark);
            return bad(p, "Protocol error: unbalanced quotes in request");
        }
        argc++;
    }
    *out = (struct resp_request){.argv = argv, .argc = argc, .wire_bytes = end + 1};
    return done(p);
}

enum resp_result resp_parse(struct resp_parser *p, const struct resp_limits *limits,
                            struct arena *args, const uint8_t *in, size_t len,
                            struct resp_request *out)
{
    if (len == 0) return more(p, 1);
    if (unlikely(*in != '*')) return parse_inline(p, args, in, len, out);
    /* bytes_wanted is set by every RESP_MORE: 0 says that nothing of this request was seen yet. */
    if (likely(p->bytes_wanted == 0) && likely(parse_fast(limits, args, in, len, out)))
        return RESP_DONE;
    return parse_multibulk(p, limits, args, in, len, out);
}
