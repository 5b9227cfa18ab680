/* shard/resp/reply.h: writer of replies. `proto` 2 or 3 decides the shape; a command says what it
 * means (map, set, double, null) and never asks for the version, but where Redis's shapes differ by
 * more than the type byte. A NULL out (replay) drops everything at no cost. */
#ifndef MOON_RESP_REPLY_H
#define MOON_RESP_REPLY_H

#include "shard/base/buf.h"
#include "shard/base/num.h"

struct reply {
    struct buf *out; /* borrowed */
    uint8_t proto;   /* 2 or 3 */
    bool muted;      /* drop everything: replay, CLIENT REPLY OFF */
    bool errored;    /* an error was written: statistics, EXEC */
};

void reply_raw(struct reply *r, struct bytes wire);
void reply_ok(struct reply *r);
void reply_status(struct reply *r, const char *text);
/* `text` with its prefix and without '-': "ERR syntax error", "WRONGTYPE …". CR, LF at its ends are
 * dropped, others become spaces. Sets errored even when muted. */
void reply_error(struct reply *r, const char *text);
void reply_errorf(struct reply *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
void reply_i64(struct reply *r, int64_t v);
void reply_bulk(struct reply *r, struct bytes v);
void reply_bulk_text(struct reply *r, const char *text);
void reply_bulk_i64(struct reply *r, int64_t v); /* the number as a bulk string */
/* Room for a bulk of exactly len bytes, to be filled by the caller; NULL when muted. */
void *reply_bulk_space(struct reply *r, size_t len);
void reply_null(struct reply *r);       /* "$-1" or "_" */
void reply_null_array(struct reply *r); /* "*-1" or "_" */
void reply_array(struct reply *r, int64_t count);
void reply_map(struct reply *r, int64_t pairs);  /* RESP2: array of 2 × pairs */
void reply_set(struct reply *r, int64_t count);  /* RESP2: array */
void reply_push(struct reply *r, int64_t count); /* RESP2: array */
void reply_double(struct reply *r, double v);    /* RESP2: bulk string of num_format_double */
void reply_bool(struct reply *r, bool v);        /* RESP2: 1 / 0 */
void reply_verbatim(struct reply *r, const char ext[3], struct bytes text); /* RESP2: bulk */
/* Deferred aggregate: reserve the header now, say the count later. `type` one of '*', '%', '~'
 * (count in elements for '*','~', pairs for '%'). Nesting allowed, the innermost is done first. Costs
 * a move of what was written since, unless the count has three digits: know the count if you can. */
struct reply_later {
    size_t at;
    char type;
};
struct reply_later reply_later(struct reply *r, char type);
void reply_later_done(struct reply *r, struct reply_later l, int64_t count);

/* The texts everybody uses, as Redis writes them. */
#define ERR_SYNTAX "ERR syntax error"
#define ERR_WRONGTYPE "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERR_NOT_INT "ERR value is not an integer or out of range"
/* Counts and ranks that may be negated. */
#define ERR_NOT_NEGATABLE                                                                          \
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
#define ERR_NOT_POSITIVE "ERR value is out of range, must be positive"
#define ERR_NOT_FLOAT "ERR value is not a valid float"
#define ERR_NO_KEY "ERR no such key"
#define ERR_RANGE_INDEX "ERR index out of range"
#define ERR_OOM "OOM command not allowed when used memory > 'maxmemory'."

#endif
