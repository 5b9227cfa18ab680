/* shard/journal/cut.h: the greatest cut: the largest vector of LSNs, one per log, below given ends,
 * that holds every cross-shard transaction with all its parts or with none. Pure. */
#ifndef MOON_JOURNAL_CUT_H
#define MOON_JOURNAL_CUT_H

#include <stddef.h>

#include "shard/base/attr.h"
#include "shard/base/limits.h"
#include "shard/base/rc.h"

/* What one log holds of one transaction. */
struct journal_part {
    uint64_t txid;
    uint64_t lsn;         /* where it begins: cutting its log here drops it and all that follows */
    uint64_t shards_mask; /* the logs that must have a part */
    uint16_t log;
};

/* Lowers ends[0 … logs-1]. `parts` holds, log by log, what begins below the ends, by rising lsn; in
 * any order of logs. RC_NOMEM: ends are as they were. */
MUST_CHECK enum rc journal_cut_greatest(uint64_t *ends, uint32_t logs,
                                        const struct journal_part *parts, size_t count);

#endif
