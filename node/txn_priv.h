/* node/txn_priv.h: what txn.c, split.c and wait.c offer to the files about requests and answers. */
#ifndef MOON_NODE_TXN_PRIV_H
#define MOON_NODE_TXN_PRIV_H

#include "node/place_priv.h"

#define JOINED_KEEP_BYTES (64u << 10) /* of w->txn.joined */

/* ---- txn.c: the record */
void txn__init(struct worker *w);
/* For a command that is dealt to several shards. Arguments and keys are views, copied here; shard_of: by element, as
 * merge; hashes of the keys by shard, in their order. */
struct txn_plan {
    const struct request *rq;
    struct bytes *const *argv; /* by shard; argc 0: no part there */
    const uint32_t *argc;
    uint64_t *const *hashes; /* NULL: about all keys */
    uint16_t *const *slots;
    const uint32_t *keys;
    struct merge *merge;  /* taken */
    const uint32_t *pend; /* its place in the order of replies; NULL: a new one */
};
void txn__start(struct worker *w, struct conn *c, const struct txn_plan *plan);
/* SCHED of a peer's, in the order of its other requests. */
void txn__prefetch(const struct tx_part *p);
void txn__arrive(struct worker *w, const struct queued *q);
void txn__answered(struct worker *w, struct txn *t);
/* The log failed while a part's answer waited for it. */
void txn__outcome_unknown(struct txn *t, uint32_t shard);
void txn__take_posts(struct worker *w);
void txn__retry(struct worker *w);         /* rounds that ended in a refusal, or found no room */
bool txn__pending(const struct worker *w); /* one of the two above has something to do */
void txn__publish(struct worker *w);       /* wakes those that were posted to */
/* Until a transaction of c is answered it may be refused and come back, so what shares a key with it waits. */
bool txn__has_key(const struct worker *w, const struct conn *c, uint64_t hash);
COLD bool txn__holds_back(struct worker *w, struct conn *c, const struct request *rq);
bool txn__is_full(const struct worker *w, const struct conn *c); /* enough of c's are under way */
uint32_t txn__room(const struct conn *c);                        /* until they are */
void txn__adapt_window(struct conn *c, size_t reply_bytes);      /* by the size of the last reply */

/* For requests that run on the data of all shards while their threads stand (span.c). Is nothing under way
 * anywhere? The others stand, so their schedulers can be looked at. */
bool txn__is_alone(const struct worker *w, const struct conn *c);
/* Else: c is stalled, and its request comes again with everything to itself, until the end of that pass. */
void txn__make_alone(struct worker *w, struct conn *c);
void txn__end_pass(struct worker *w);

/* ---- split.c: where the keys of a command lie */
/* True: done, the request runs (or waits) as a transaction, or c stalls. False: all of it belongs to *shard_out. */
__attribute__((noinline)) bool split__keys(struct worker *w, struct conn *c, struct request *rq,
                                           uint32_t *shard_out);
__attribute__((noinline)) bool split__everywhere(struct worker *w, struct conn *c,
                                                 struct request *rq);

struct
    deal { /* a command's elements (a key, and what belongs to it) among the shards; in w->args */
    struct bytes *argv[SHARDS_MAX];
    uint64_t *hashes[SHARDS_MAX];
    uint16_t *slots[SHARDS_MAX];
    uint32_t argc[SHARDS_MAX], keys[SHARDS_MAX];
    uint8_t *shard_of; /* by element */
    uint16_t *slot_of;
    uint32_t elements, used, only; /* used: shards with any; only: one of them */
};
void split__count(struct worker *w, const struct request *rq, struct deal *d); /* not dealt */
/* As a transaction, at a place that c has already. */
COLD void split__again(struct worker *w, struct conn *c, const struct request *rq, uint32_t pend);

/* ---- collect.c: reads over several shards, without intents while nothing interferes */
/* False: such a request is for a transaction. d: counted, not dealt. */
bool collect__may(const struct request *rq);
/* rq: of a struct queued of the batch. together: those behind it that are of its kind come along. */
void collect__start(struct worker *w, struct conn *c, struct request *rq, const struct deal *d,
                    bool together);
COLD bool collect__has_key(const struct conn *c, uint64_t hash);
void collect__take(struct worker *w, uint32_t from, const struct msg_request *m);
void collect__serve(struct worker *w, struct queued *q);
struct collect;
/* True: its block is taken. Its bytes in the ring are looked at until collect__settle(), which comes soon. */
bool collect__part(struct worker *w, struct conn *c, struct collect *k, uint32_t from,
                   const struct msg_answer *a);
void collect__settle(struct worker *w);
/* One of c's that came again has ended, at that time. */
COLD void collect__go_on(struct worker *w, struct conn *c, int64_t now_ms);
/* The answer of a part that says so; good until the next call. */
struct bytes collect__failed(struct bytes error);

/* ---- wait.c: commands of one shard that meet a transaction */
/* Runs job when it is granted; refused: there was no memory to wait in. Takes job. */
typedef void wait_run(struct worker *w, void *job, bool refused);
struct wait {
    enum sched_mode mode;
    const uint64_t *hashes; /* in w->args */
    uint32_t count;
    uint64_t conn_id; /* whose order it keeps */
};
uint64_t wait__order(uint64_t conn_id); /* its name in the scheduler */
void wait__add_keys(struct worker *w, struct wait *wait, const struct request *rq);
bool wait__must(const struct worker *w, const struct wait *wait);
void wait__queue(struct worker *w, const struct wait *wait, wait_run *run, void *job);
void wait__granted(struct worker *w, struct sched_entry *e);
/* True: the request waits, or c stalls. Ask only while the scheduler is not empty. */
COLD bool wait__here(struct worker *w, struct conn *c, const struct request *rq);
COLD bool wait__peer(struct worker *w, const struct queued *q);

/* ---- place.c */
void place__stall(struct worker *w, struct conn *c, uint32_t flag);
/* For parts of a transaction on all shards with arguments (NULL: on all). True: c waits for one that has no room. */
bool place__must_wait_for_parts(struct worker *w, struct conn *c, const uint32_t *arguments);
bool place__all_take_parts(const struct worker *w);
void place__run_peer(struct worker *w, struct queued *q);

#endif
