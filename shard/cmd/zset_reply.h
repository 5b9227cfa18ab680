/* shard/cmd/zset_reply.h: replies of members with or without their scores: flat in RESP2, in RESP3 an
 * array of pairs. */
#ifndef MOON_CMD_ZSET_REPLY_H
#define MOON_CMD_ZSET_REPLY_H

#include "shard/resp/reply.h"

/* Head of the reply; `count` calls of zset_reply_member() follow. */
static inline void zset_reply_head(struct reply *r, uint64_t count, bool with_scores)
{
    reply_array(r, (int64_t)(with_scores && r->proto == 2 ? count * 2 : count));
}

static inline void zset_reply_member(struct reply *r, struct bytes member, double score,
                                     bool with_scores)
{
    if (with_scores && r->proto > 2) reply_array(r, 2);
    reply_bulk(r, member);
    if (with_scores) reply_double(r, score);
}

#endif
