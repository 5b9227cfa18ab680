/* WATCH: what counts as a change of a watched key beside commits and deletes, with times and databases. */
#include "shard/exec/core.h"

bool core_watch(struct core *c, uint64_t watcher, uint8_t db, const struct bytes *keys,
                uint32_t count)
{
    int64_t now_ms = reactor_now_ms(&c->reactor);
    for (uint32_t i = 0; i < count; i++) {
        struct db_key key = db_key(db, keys[i]);
        const struct record *r = db_find(c->ks, &key);
        if (!watch_add(&c->watches, watcher, &key, r != NULL && record_expired(r, now_ms)))
            return false;
    }
    return true;
}

struct judge {
    const struct keyspace *ks;
    int64_t now_ms;
    int32_t with; /* the other database, or -1 */
};

static enum watch_verdict judge_time(void *ctx, const struct db_key *key, bool expired)
{
    const struct judge *j = ctx;
    if (expired) return WATCH_SAME;
    const struct record *r = db_find(j->ks, key);
    return r != NULL && record_expired(r, j->now_ms) ? WATCH_CHANGED : WATCH_SAME;
}

void core_unwatch(struct core *c, uint64_t watcher)
{
    (void)watch_drop(&c->watches, watcher);
}

bool core_unwatch_changed(struct core *c, uint64_t watcher, int64_t now_ms)
{
    struct judge j = {.ks = c->ks, .now_ms = now_ms};
    watch_judge_watcher(&c->watches, watcher, judge_time, &j);
    return watch_drop(&c->watches, watcher);
}

/* Before and after count as absent what is past its time. */
static enum watch_verdict judge_db(void *ctx, const struct db_key *key, bool expired)
{
    const struct judge *j = ctx;
    const struct record *before = db_find(j->ks, key), *after = NULL;
    if (j->with >= 0) {
        struct db_key other = *key;
        other.db = (uint8_t)j->with;
        after = db_find(j->ks, &other);
    }
    if (before == NULL && after == NULL) return WATCH_SAME;
    bool late = after != NULL && record_expired(after, j->now_ms);
    if (expired) return after == NULL ? WATCH_NOT_EXPIRED : late ? WATCH_SAME : WATCH_CHANGED;
    return before == NULL && late ? WATCH_IS_EXPIRED : WATCH_CHANGED;
}

void exec_touch_db(struct exec *x, uint8_t db, int32_t with)
{
    stamps_note_all(x->core->stamps);
    if (x->core->watches.count == 0) return;
    struct judge j = {.ks = x->ks, .now_ms = x->now_ms, .with = with};
    watch_judge_db(&x->core->watches, db, judge_db, &j);
}
