/* shard/cmd/scan_args.h: what SCAN, HSCAN, SSCAN and ZSCAN have in common. Order in which Redis 7.4 looks
 * at the arguments: cursor, then the key (absent: an empty reply; WRONGTYPE), then the options. */
#ifndef MOON_CMD_SCAN_ARGS_H
#define MOON_CMD_SCAN_ARGS_H

#include "shard/base/glob.h"
#include "shard/exec/exec.h"

struct scan_args {
    bool matches;         /* MATCH with a pattern other than "*" */
    bool no_values;       /* NOVALUES, HSCAN only */
    struct bytes pattern; /* borrowed from the request */
    struct bytes type;    /* TYPE, SCAN only; data NULL: not given */
    int64_t count;        /* COUNT, > 0 */
};
enum scan_option { SCAN_TYPE = 1, SCAN_NOVALUES = 2 }; /* beyond MATCH and COUNT */

/* Both reply their error and return false. */
MUST_CHECK bool scan_parse_cursor(struct exec *x, uint32_t i, uint64_t *cursor_out);
MUST_CHECK bool scan_parse_options(struct exec *x, uint32_t from, uint32_t allowed,
                                   struct scan_args *out);
static inline bool scan_wants(const struct scan_args *a, struct bytes element)
{
    return likely(!a->matches) || glob_match(a->pattern, element, false);
}
/* How many scan steps (buckets) one call may take: a nearly empty table must not stall the shard. */
static inline uint64_t scan_steps_max(const struct scan_args *a)
{
    return a->count > INT64_MAX / 10 ? INT64_MAX : (uint64_t)a->count * 10;
}
/* ["0", []] */
void scan_reply_empty(struct exec *x);

#endif
