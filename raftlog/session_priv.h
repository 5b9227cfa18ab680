/* raftlog/session_priv.h: envelopes of entries, and what is remembered of who proposed them (session.c). */
#ifndef MOON_RAFTLOG_SESSION_PRIV_H
#define MOON_RAFTLOG_SESSION_PRIV_H

#include "raftlog/raftlog.h"

#define ENVELOPE_BYTES 40u /* then the payload */
void envelope_put(uint8_t *out, const struct rl_request *r, struct bytes payload);

struct session {
    uint64_t node, incarnation, done_below;
    uint32_t count;
    struct session_entry {
        uint64_t counter, index;
        uint32_t code;
    } * entry; /* RAFT_SESSION_WINDOW of them, rising counters */
};
struct sessions { /* zeros: none */
    struct session *at;
    uint32_t count, cap;
};
/* The entry at `index` of the log, an envelope: into the machine, or answered as before. False: it is none. */
MUST_CHECK bool sessions_apply(struct sessions *ss, const struct rl_machine *machine,
                               uint64_t index, struct bytes entry, struct rl_result *out);
uint64_t sessions_incarnation(const struct sessions *ss, uint64_t node); /* 0: not known */
void sessions_drop(struct sessions *ss, uint64_t node);
void sessions_save(const struct sessions *ss, struct buf *out);
/* Takes their bytes off the front of *in. */
MUST_CHECK bool sessions_load(struct sessions *ss, struct bytes *in);
void sessions_free(struct sessions *ss);

#endif
