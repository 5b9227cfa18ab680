/* shard/resp/reply.c: every reply is written straight into the connection's output, header and body
 * with one bounds check. Small numbers, which nearly all lengths and integers are, come from a
 * table of digits. */
#include "shard/resp/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "shard/base/assert.h"

#define HEAD_BYTES_MAX 24u /* type, sign and 19 digits, CRLF */
#define LATER_BYTES 6u     /* "*NNN\r\n", the header that reply_later() makes room for */

#define TENS(t) t "0" t "1" t "2" t "3" t "4" t "5" t "6" t "7" t "8" t "9"
static const char digit_pairs[] = TENS("0") TENS("1") TENS("2") TENS("3") TENS("4") TENS("5")
    TENS("6") TENS("7") TENS("8") TENS("9");

static bool dropped(const struct reply *r)
{
    return unlikely(r->muted) || unlikely(r->out == NULL);
}

HOT_INLINE uint8_t *put_crlf(uint8_t *at)
{
    memcpy(at, "\r\n", 2);
    return at + 2;
}

HOT_INLINE uint8_t *put_i64(uint8_t *at, int64_t v)
{
    if (likely((uint64_t)v < 10)) {
        *at = (uint8_t)('0' + v);
        return at + 1;
    }
    if (likely((uint64_t)v < 100)) {
        memcpy(at, digit_pairs + 2 * v, 2);
        return at + 2;
    }
    if ((uint64_t)v < 1000) {
        *at = (uint8_t)('0' + v / 100);
        memcpy(at + 1, digit_pairs + 2 * (v % 100), 2);
        return at + 3;
    }
    return at + num_format_i64((char *)at, v);
}

/* "<type><v>CRLF", at most HEAD_BYTES_MAX. */
HOT_INLINE uint8_t *put_head(uint8_t *at, char type, int64_t v)
{
    *at = (uint8_t)type;
    return put_crlf(put_i64(at + 1, v));
}

static void write_head(struct reply *r, char type, int64_t v)
{
    if (dropped(r)) return;
    uint8_t *start = buf_room(r->out, HEAD_BYTES_MAX);
    r->out->len += (size_t)(put_head(start, type, v) - start);
}

HOT_INLINE void write_literal(struct reply *r, struct bytes wire)
{
    if (dropped(r)) return;
    memcpy(buf_room(r->out, wire.len), wire.data, wire.len);
    r->out->len += wire.len;
}

void reply_raw(struct reply *r, struct bytes wire)
{
    if (!dropped(r)) buf_add_bytes(r->out, wire);
}

void reply_ok(struct reply *r)
{
    write_literal(r, BYTES_LIT("+OK\r\n"));
}

void reply_i64(struct reply *r, int64_t v)
{
    write_head(r, ':', v);
}

void reply_bulk(struct reply *r, struct bytes v)
{
    if (dropped(r)) return;
    uint8_t *start = buf_room(r->out, HEAD_BYTES_MAX + v.len + 2);
    uint8_t *at = put_head(start, '$', (int64_t)v.len);
    if (v.len != 0) memcpy(at, v.data, v.len);
    at = put_crlf(at + v.len);
    r->out->len += (size_t)(at - start);
}

void *reply_bulk_space(struct reply *r, size_t len)
{
    if (dropped(r)) return NULL;
    uint8_t *start = buf_room(r->out, HEAD_BYTES_MAX + len + 2);
    uint8_t *body = put_head(start, '$', (int64_t)len);
    r->out->len += (size_t)(put_crlf(body + len) - start);
    return body;
}

void reply_bulk_text(struct reply *r, const char *text)
{
    reply_bulk(r, bytes_of(text));
}

void reply_bulk_i64(struct reply *r, int64_t v)
{
    char digits[NUM_I64_TEXT_MAX];
    reply_bulk(r, bytes_view(digits, num_format_i64(digits, v)));
}

/* One line after its type byte: text is no place for CR and LF. */
static void write_line(struct reply *r, char type, struct bytes text)
{
    uint8_t *start = buf_room(r->out, 1 + text.len + 2);
    uint8_t *at = start;
    *at++ = (uint8_t)type;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        *at++ = c == '\r' || c == '\n' ? ' ' : c;
    }
    at = put_crlf(at);
    r->out->len += (size_t)(at - start);
}

static struct bytes trim_newlines(struct bytes text)
{
    while (text.len > 0 && (text.data[0] == '\r' || text.data[0] == '\n')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == '\r' || text.data[text.len - 1] == '\n'))
        text.len--;
    return text;
}

void reply_status(struct reply *r, const char *text)
{
    if (!dropped(r)) write_line(r, '+', bytes_of(text));
}

void reply_error(struct reply *r, const char *text)
{
    r->errored = true;
    if (!dropped(r)) write_line(r, '-', trim_newlines(bytes_of(text)));
}

void reply_errorf(struct reply *r, const char *fmt, ...)
{
    r->errored = true;
    if (dropped(r)) return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    assert(len >= 0); /* fmt is ours: it cannot be invalid */
    if ((size_t)len < sizeof text) {
        write_line(r, '-', trim_newlines(bytes_view(text, (size_t)len)));
        return;
    }
    /* Long (an argument is quoted in it): formatted again where there is room. */
    size_t room = (size_t)len + 1;
    char *longer = mem_alloc(MEM_REPLY, room);
    va_start(ap, fmt);
    vsnprintf(longer, room, fmt, ap);
    va_end(ap);
    write_line(r, '-', trim_newlines(bytes_view(longer, (size_t)len)));
    mem_free(MEM_REPLY, longer, room);
}

void reply_null(struct reply *r)
{
    if (r->proto == 3)
        write_literal(r, BYTES_LIT("_\r\n"));
    else
        write_literal(r, BYTES_LIT("$-1\r\n"));
}

void reply_null_array(struct reply *r)
{
    if (r->proto == 3)
        write_literal(r, BYTES_LIT("_\r\n"));
    else
        write_literal(r, BYTES_LIT("*-1\r\n"));
}

void reply_array(struct reply *r, int64_t count)
{
    write_head(r, '*', count);
}

void reply_map(struct reply *r, int64_t pairs)
{
    write_head(r, r->proto == 3 ? '%' : '*', r->proto == 3 ? pairs : 2 * pairs);
}

void reply_set(struct reply *r, int64_t count)
{
    write_head(r, r->proto == 3 ? '~' : '*', count);
}

void reply_push(struct reply *r, int64_t count)
{
    write_head(r, r->proto == 3 ? '>' : '*', count);
}

void reply_double(struct reply *r, double v)
{
    if (dropped(r)) return;
    char text[NUM_DOUBLE_TEXT_MAX];
    size_t len = num_format_double(text, v);
    if (r->proto == 3)
        write_line(r, ',', bytes_view(text, len));
    else
        reply_bulk(r, bytes_view(text, len));
}

void reply_bool(struct reply *r, bool v)
{
    if (r->proto == 3)
        write_literal(r, v ? BYTES_LIT("#t\r\n") : BYTES_LIT("#f\r\n"));
    else
        write_literal(r, v ? BYTES_LIT(":1\r\n") : BYTES_LIT(":0\r\n"));
}

void reply_verbatim(struct reply *r, const char ext[3], struct bytes text)
{
    if (r->proto != 3) {
        reply_bulk(r, text);
        return;
    }
    if (dropped(r)) return;
    uint8_t *start = buf_room(r->out, HEAD_BYTES_MAX + 4 + text.len + 2);
    uint8_t *at = put_head(start, '=', (int64_t)text.len + 4);
    memcpy(at, ext, 3);
    at[3] = ':';
    if (text.len != 0) memcpy(at + 4, text.data, text.len);
    at = put_crlf(at + 4 + text.len);
    r->out->len += (size_t)(at - start);
}

struct reply_later reply_later(struct reply *r, char type)
{
    assert(type == '*' || type == '%' || type == '~');
    if (dropped(r)) return (struct reply_later){.type = type};
    struct reply_later later = {.at = r->out->len, .type = type};
    (void)buf_room(r->out, LATER_BYTES);
    r->out->len += LATER_BYTES;
    return later;
}

void reply_later_done(struct reply *r, struct reply_later l, int64_t count)
{
    if (dropped(r)) return;
    assert(count >= 0);
    assert(l.at + LATER_BYTES <= r->out->len);
    uint8_t head[HEAD_BYTES_MAX];
    char type = l.type;
    if (r->proto != 3) {
        if (type == '%') count *= 2;
        type = '*';
    }
    size_t head_len = (size_t)(put_head(head, type, count) - head);
    if (head_len != LATER_BYTES) {
        size_t body_len = r->out->len - l.at - LATER_BYTES;
        (void)buf_room(r->out, HEAD_BYTES_MAX);
        memmove(r->out->data + l.at + head_len, r->out->data + l.at + LATER_BYTES, body_len);
        r->out->len = l.at + head_len + body_len;
    }
    memcpy(r->out->data + l.at, head, head_len);
}
