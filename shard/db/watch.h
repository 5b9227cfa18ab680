/* shard/db/watch.h: which keys somebody watches (WATCH). Keys carry no stamp: a change asks `count` first
 * and looks here only while somebody watches something. A watcher is a number that is never used twice. */
#ifndef MOON_DB_WATCH_H
#define MOON_DB_WATCH_H

#include "shard/db/db.h"

struct watched;
struct watcher;
struct watches {
    uint32_t count; /* pairs of watcher and key */
    uint32_t keys, keys_cap, watchers, watchers_cap;
    struct watched **key;       /* chained, by hash */
    struct watcher **by_number; /* chained */
};
void watches_free(struct watches *ws);

/* `expired`: it is past its time now, so that its removal will not be a change. False: no memory, nothing added. */
MUST_CHECK bool watch_add(struct watches *ws, uint64_t watcher, const struct db_key *key,
                          bool expired);
/* Forgets all keys of a watcher; true if one of them was changed. */
bool watch_drop(struct watches *ws, uint64_t watcher);
/* The key was changed, or (!is_there) removed. */
void watch_touch(struct watches *ws, const struct db_key *key, bool is_there);

/* What has become of a watched key: WATCH_SAME, or the watcher's transaction will fail, or the key counts from
 * now on as one that was past its time when it was watched, or no longer. */
enum watch_verdict { WATCH_SAME, WATCH_CHANGED, WATCH_IS_EXPIRED, WATCH_NOT_EXPIRED };
typedef enum watch_verdict watch_judge(void *ctx, const struct db_key *key, bool expired);
void watch_judge_watcher(struct watches *ws, uint64_t watcher, watch_judge *judge, void *ctx);
void watch_judge_db(struct watches *ws, uint8_t db, watch_judge *judge, void *ctx);

#endif
