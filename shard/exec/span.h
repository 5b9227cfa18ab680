/* shard/exec/span.h: commands over keys of several shards. All other shards stand still (node/park.h), and one
 * thread runs the command on their keyspaces and logs in place, by the same code as on one shard: exec finds
 * the core of a key by its slot (exec.c). */
#ifndef MOON_EXEC_SPAN_H
#define MOON_EXEC_SPAN_H

#include "shard/exec/core.h"

struct span {
    struct core *
        home; /* of the thread that works here: its scratch, random numbers and statistics are used */
    struct core *core[SHARDS_MAX]; /* all of the node */
    uint32_t count;
    uint64_t mask; /* shards whose keys are named: they have a part of what is logged */
    bool alone;    /* nothing else has begun on any shard: what is spoken for is spoken for this */
    bool in_tx;
    bool inside; /* of a script that runs on home; until span_end() */
    int64_t home_ms, others_ms;
};

/* home, core, count, mask, alone and inside are filled in. From here to span_end() the others stand. One time is taken for
 * all; but inside of a script its own shard, on which nobody else has looked at anything since it began, stays at that time. */
void span_begin(struct span *s);
void span_end(struct span *s);
/* Room in all logs concerned; see core_admit(). False: the error was replied. */
MUST_CHECK bool span_admit(struct span *s, uint32_t flags, size_t log_bytes, struct reply *reply);
/* What is logged between the two is replayed whole or not at all. */
void span_tx_begin(struct span *s, uint64_t txid);
void span_tx_end(struct span *s);
/* All shards are concerned from here on, whatever was begun: a transaction of one or some of them goes on as one of
 * all. Its number must be new. */
void span_widen(struct span *s, uint64_t txid);
/* Runs and counts a command, unsplit, whatever its spread. */
void span_run(struct span *s, const struct request *rq, struct reply *reply);
/* The same on the data of one shard alone: commands about all its keys. `part`: another one counts the call. */
void span_run_on(struct span *s, uint32_t shard, const struct request *rq, struct reply *reply,
                 bool part);

/* Those who wait for keys that became ready on any shard are served, before any thread goes on. */
void span_serve(struct span *s);
/* Keys of that shard that were kept until the others stand. */
void span_serve_kept(struct span *s, struct core *c);

#endif
