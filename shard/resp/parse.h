/* shard/resp/parse.h: incremental parser of requests (RESP arrays of bulk strings, and inline
 * commands), views into the input. Pure. Errors and limits are Redis's, texts included. */
#ifndef MOON_RESP_PARSE_H
#define MOON_RESP_PARSE_H

#include "shard/base/arena.h"
#include "shard/base/bytes.h"

/* Before AUTH Redis allows 10 arguments of 16384 bytes ("unauthenticated multibulk length"); the
 * parser applies that itself when `authenticated` is false, whatever the other two fields say. */
struct resp_limits {
    int64_t multibulk_max; /* "Protocol error: invalid multibulk length" above */
    int64_t bulk_max;      /* proto-max-bulk-len */
    bool authenticated;
};
enum resp_result {
    RESP_DONE, /* one request; consumed bytes in request.wire_bytes; argc may be 0 (empty line, "*0") */
    RESP_MORE, /* incomplete: call again with the same start and more bytes */
    RESP_BAD /* protocol error: parser.error says what ("Protocol error: …", no "ERR", no CRLF) */
};
struct resp_request {
    struct bytes *argv; /* in the arena: views into the input, or what was unquoted, in the arena */
    uint32_t argc;
    size_t wire_bytes;
};
/* Remembers how far an incomplete request was understood, so that input arriving in small pieces
 * costs linear time. Zero-initialised; reset by the parser after DONE. Limits must not change while
 * a request is under way. */
struct resp_parser {
    size_t resume_at;  /* offset of the first argument not yet complete, 0: header not understood */
    size_t scanned_to; /* the line under way does not end before this offset */
    int64_t args_left; /* of a multibulk under way */
    size_t bytes_wanted; /* total bytes below which another call is useless (a hint for reading) */
    uint32_t args_seen;
    const char *error; /* borrowed until the next RESP_BAD of this thread */
};

/* `in` begins at a request's start. Allocates argv in `args` only when the request is complete, so a
 * half frame that announces a million arguments costs nothing. The result does not depend on how
 * the input was cut into calls. After RESP_BAD the stream is lost: close it. */
enum resp_result resp_parse(struct resp_parser *p, const struct resp_limits *limits,
                            struct arena *args, const uint8_t *in, size_t len,
                            struct resp_request *out);

#endif
