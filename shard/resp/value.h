/* shard/resp/value.h: parser of replies (RESP2 and RESP3), for moonctl, links and tests. */
#ifndef MOON_RESP_VALUE_H
#define MOON_RESP_VALUE_H

#include "shard/base/arena.h"
#include "shard/base/bytes.h"

enum resp_type {
    RESP_SIMPLE = '+',
    RESP_ERROR = '-',
    RESP_INTEGER = ':',
    RESP_BULK = '$',
    RESP_ARRAY = '*',
    RESP_NULL = '_',
    RESP_BOOL = '#',
    RESP_DOUBLE = ',',
    RESP_BIGNUM = '(',
    RESP_BLOB_ERROR = '!',
    RESP_VERBATIM = '=',
    RESP_MAP = '%',
    RESP_SET = '~',
    RESP_PUSH = '>',
    RESP_ATTRIBUTE = '|'
};
struct resp_value {
    enum resp_type type;
    bool null;       /* "$-1", "*-1", "_" */
    int64_t integer; /* also bool */
    double number;
    struct bytes text;        /* view into the input; verbatim: without "txt:" */
    struct resp_value *items; /* in the arena; a map has 2 × count items */
    uint32_t count;
};
#define RESP_VALUE_DEPTH_MAX 64
#define RESP_VALUE_LINE_MAX (64u << 10) /* a status, error or number */
#define RESP_VALUE_BULK_MAX (1LL << 32) /* above any string a server can hold */
#define RESP_VALUE_COUNT_MAX INT32_MAX

/* 1: parsed, *used_out bytes; 0: incomplete; -1: not RESP, nesting over 64, or over the limits above.
 * On 0 and -1 nothing was allocated and *out is untouched. Pushes and attributes at the top are
 * values of their own, the reply follows them; attributes inside a reply are passed over, pushes
 * inside one are errors. Memory: at most 20 bytes per byte of input. */
int resp_value_parse(struct arena *a, const uint8_t *in, size_t len, struct resp_value *out,
                     size_t *used_out);
/* Length of one complete reply at the start of `in`, 0 if incomplete, -1 if malformed. No allocation. */
int64_t resp_value_skip(const uint8_t *in, size_t len);

#endif
