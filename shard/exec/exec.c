#include "shard/exec/exec.h"

#include <limits.h>
#include <math.h>

#include "shard/exec/core.h"
#include "shard/exec/exec_priv.h"

/* A value of up to this many elements is freed at once; more goes to the free task. 64 elements are a
 * few µs, well inside a command's share of a pass. */
#define FREE_AT_ONCE_MAX 64

/* The key by which the request came here: its hash is known. */
static inline bool is_routed(const struct exec *x, struct bytes name)
{
    return name.data == x->key.name.data && name.len == x->key.name.len;
}

struct db_key exec_key_db(const struct exec *x, struct bytes name, uint8_t db)
{
    if (is_routed(x, name)) {
        struct db_key key = x->key;
        key.db = db;
        return key;
    }
    return db_key(db, name);
}

struct db_key exec_key(const struct exec *x, struct bytes name)
{
    return exec_key_db(x, name, x->key.db);
}

/* What a reply shows must be durable before it leaves (architecture.md §4.6): the newest position of
 * each slot it looked at. */
static inline void gate_on(struct core *c, uint16_t slot)
{
    if (unlikely(c->gated) && c->slot_lsn[slot] > c->gate_lsn) c->gate_lsn = c->slot_lsn[slot];
}

static inline struct core *core_of(const struct exec *x, uint16_t slot)
{
    return likely(x->span == NULL) ? x->core : exec__core_of(x, slot);
}

static inline void tell(struct exec *x, const struct db_key *key, enum notify_class cls,
                        const char *event)
{
    if (likely(x->core->on_event == NULL) || event == NULL) return;
    struct core *c = core_of(x, key->slot);
    c->on_event(c->on_event_ctx, key, cls, event);
}

/* What follows is about a key of that slot. */
static inline void stand(struct exec *x, uint16_t slot)
{
    if (unlikely(x->span != NULL)) exec__stand(x, slot);
}

static inline bool stands(const struct exec *x, uint16_t slot)
{
    return core_of(x, slot) == x->core;
}

void exec_build_for(struct exec *x, struct bytes key)
{
    if (x->span != NULL) exec__stand(x, slot_of_key(key));
}

bool exec_same_shard(const struct exec *x, const struct db_key *a, const struct db_key *b)
{
    return core_of(x, a->slot) == core_of(x, b->slot);
}

/* ---- reading */

/* Deletes a key whose time has come; false if the log has no room now, then it merely reads as absent. */
static bool expire_key(struct exec *x, const struct db_key *key)
{
    if (x->replay) return true; /* now_ms is 0 there, so this cannot be */
    if (x->core->journal != NULL && journal_reserve(x->core->journal, key->name.len + 32) != RC_OK)
        return false;
    struct change c = {.key = *key};
    db_open(x->ks, key, &c.e);
    if (c.e.record == NULL) return true;
    exec__expire_open(x, &c);
    return true;
}

void exec__expire_open(struct exec *x, struct change *c)
{
    struct bytes name = c->key.name;
    exec_log(x, c, OP_DEL, &name, 1); /* before the delete: the name may lie in the record */
    exec_delete(x, c, NOTIFY_EXPIRED, "expired");
    stat_bump(&x->core->stats.expired, 1);
}

/* Keys that a transaction over several shards has spoken for stay until it is over: its parts run at one time,
 * which may be before this one. They merely read as absent. */
static inline bool is_spoken_for(const struct exec *x, uint64_t hash)
{
    return !sched_is_empty(&x->core->sched) && sched_holds(&x->core->sched, hash);
}

static struct record *find_live(struct exec *x, const struct db_key *key)
{
    stand(x, key->slot);
    gate_on(x->core, key->slot);
    struct record *r = db_find(x->ks, key);
    if (unlikely(r != NULL && record_expired(r, x->now_ms))) {
        if (likely(!is_spoken_for(x, key->hash))) expire_key(x, key);
        return NULL;
    }
    return r;
}

struct record *exec_peek(struct exec *x, const struct db_key *key)
{
    return find_live(x, key);
}

struct record *exec_look_at(struct exec *x, const struct db_key *key)
{
    struct record *r = find_live(x, key);
    if (r == NULL) {
        stat_bump(&x->core->stats.misses, 1);
        tell(x, key, NOTIFY_KEY_MISS, "keymiss");
    } else {
        stat_bump(&x->core->stats.hits, 1);
    }
    return r;
}

struct record *exec_read_at(struct exec *x, const struct db_key *key)
{
    struct record *r = exec_look_at(x, key);
    if (likely(r != NULL) && !x->no_touch) db_touch(r, x->now_ms, x->rng);
    return r;
}

struct record *exec_look(struct exec *x, struct bytes name)
{
    if (likely(is_routed(x, name))) return exec_look_at(x, &x->key);
    struct db_key key = db_key(x->key.db, name);
    return exec_look_at(x, &key);
}

struct record *exec_read(struct exec *x, struct bytes name)
{
    if (likely(is_routed(x, name))) return exec_read_at(x, &x->key);
    struct db_key key = db_key(x->key.db, name);
    return exec_read_at(x, &key);
}

bool exec_read_as(struct exec *x, struct bytes name, enum value_type type,
                  struct record **record_out)
{
    struct record *r = exec_read(x, name);
    *record_out = r;
    if (likely(r == NULL || record_type(r) == type)) return true;
    reply_error(x->reply, ERR_WRONGTYPE);
    return false;
}

/* ---- many keys */

void exec_keys_begin(struct exec_keys *k, uint32_t first, uint32_t step)
{
    k->key = NULL;
    k->step = step;
    k->next = first;
    k->known = k->at = 0;
}

/* Their slots were asked for. */
static void load_keys(const struct keyspace *ks, const struct db_key *key, uint32_t n, bool writes)
{
    uint32_t late[EXEC_KEYS_AHEAD], more = 0;
    for (uint32_t i = 0; i < n; i++) {
        db_prefetch_bucket(ks, &key[i]);
        if (writes) db_prefetch_counters(ks, &key[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        if (db_prefetch_record(ks, &key[i])) late[more++] = i;
    for (uint32_t i = 0; i < more; i++)
        db_prefetch_overflow(ks, &key[late[i]]);
}

void exec_load(const struct keyspace *ks, const struct db_key *keys, uint32_t count, bool writes)
{
    for (; count > 0;) {
        uint32_t n = count < EXEC_KEYS_AHEAD ? count : EXEC_KEYS_AHEAD;
        for (uint32_t i = 0; i < n; i++)
            db_prefetch_slot(ks, &keys[i]);
        load_keys(ks, keys, n, writes);
        keys += n;
        count -= n;
    }
}

static struct db_key key_at(const struct exec *x, uint32_t arg)
{
    if (likely(x->known == NULL)) return exec_key(x, x->argv[arg]);
    uint32_t first = (uint32_t)x->spec->keys.first, step = (uint32_t)x->spec->keys.step;
    uint32_t i = (arg - first) / step;
    return (struct db_key){.name = x->argv[arg],
                           .hash = x->known->hashes[i],
                           .slot = x->known->slots[i],
                           .db = x->key.db};
}

static void keys_ahead(const struct exec *x, struct exec_keys *k)
{
    bool loaded = x->known != NULL && x->known->loaded;
    k->at = k->known = 0;
    for (uint32_t i = k->next; i < x->argc && k->known < EXEC_KEYS_AHEAD; i += k->step) {
        struct db_key *key = &k->ahead[k->known++];
        *key = key_at(x, i);
        if (!loaded) db_prefetch_slot(x->ks, key);
    }
    if (k->known > 1 && !loaded && x->span == NULL) /* a lone key came loaded */
        load_keys(x->ks, k->ahead, k->known, x->spec->flags & CMD_WRITE);
}

bool exec_keys_next(struct exec *x, struct exec_keys *k)
{
    if (k->next >= x->argc) return false;
    if (k->at == k->known) keys_ahead(x, k);
    k->key = &k->ahead[k->at++];
    k->arg = k->next;
    k->next += k->step;
    return true;
}

/* ---- changing */

HOT_INLINE void open_key(struct exec *x, struct change *c)
{
    stand(x, c->key.slot);
    gate_on(x->core, c->key.slot);
    db_open(x->ks, &c->key, &c->e);
    if (unlikely(c->e.record != NULL && record_expired(c->e.record, x->now_ms))) {
        /* The request's own reservation has room for this small unit: see EXEC_RESERVE_SLACK. */
        exec__expire_open(x, c);
        db_open(x->ks, &c->key, &c->e);
    }
}

void exec_open_at(struct exec *x, struct db_key key, struct change *c)
{
    c->key = key;
    open_key(x, c);
}

void exec_open(struct exec *x, struct bytes name, struct change *c)
{
    if (likely(is_routed(x, name)))
        c->key = x->key;
    else
        c->key = db_key(x->key.db, name);
    open_key(x, c);
}

bool exec_open_as(struct exec *x, struct bytes name, enum value_type type, struct change *c)
{
    exec_open(x, name, c);
    if (likely(c->e.record == NULL || record_type(c->e.record) == type)) return true;
    reply_error(x->reply, ERR_WRONGTYPE);
    return false;
}

static inline void note_change(struct exec *x, const struct db_key *key, bool is_there)
{
    struct watches *ws = &x->core->watches;
    stamps_note(x->core->stamps, key->hash);
    if (unlikely(ws->count != 0)) watch_touch(ws, key, is_there);
}

void exec_touch_removed(struct exec *x, const struct db_key *key)
{
    note_change(x, key, false);
}

static bool is_empty_collection(const struct record *r)
{
    return record_type(r) != VALUE_STRING && record_type(r) != VALUE_STREAM && value_len(r) == 0;
}

bool exec_commit(struct exec *x, struct change *c, enum notify_class cls, const char *event)
{
    struct record *r = c->e.record;
    assert(r != NULL);
    assert_slow(stands(x, c->key.slot));
    if (unlikely(is_empty_collection(r))) {
        tell(x, &c->key, cls, event);
        exec_delete(x, c, NOTIFY_GENERIC, "del");
        return true;
    }
    bool added = c->e.was == NULL;
    if (unlikely(!db_commit(x->ks, &c->key, &c->e))) {
        record_free(r);
        exec_reply_nomem(x);
        return false;
    }
    /* Replay knows no time: what it builds counts as never used. */
    if ((added || !x->no_touch) && !x->replay) db_touch(r, x->now_ms, x->rng);
    stat_bump(&x->core->stats.dirty, 1);
    note_change(x, &c->key, true);
    if (unlikely(x->core->waiters.count != 0)) waits_ready(&x->core->waiters, &c->key);
    if (added) tell(x, &c->key, NOTIFY_NEW, "new");
    tell(x, &c->key, cls, event);
    return true;
}

void exec_put_back(struct exec *x, struct change *c)
{
    struct record *r = c->e.record;
    assert_slow(stands(x, c->key.slot));
    if (c->e.was != NULL) {
        assert(r != NULL);
        bool ok = db_commit(x->ks, &c->key, &c->e);
        assert(ok); /* only inserts allocate */
        if (!x->no_touch && !x->replay) db_touch(r, x->now_ms, x->rng);
    } else if (r != NULL) {
        record_free(r);
    }
}

void exec_abandon(struct exec *x, struct change *c)
{
    exec_put_back(x, c);
    exec_reply_nomem(x);
}

void exec_delete(struct exec *x, struct change *c, enum notify_class cls, const char *event)
{
    struct record *r = c->e.record;
    assert(r != NULL);
    assert_slow(stands(x, c->key.slot));
    struct change told = *c;
    /* Callers may have named the key by the record's own bytes, which die here. */
    if (event != NULL && x->core->on_event != NULL && told.key.name.len > 0) {
        uint8_t *copy = arena_alloc(x->scratch, told.key.name.len);
        memcpy(copy, told.key.name.data, told.key.name.len);
        told.key.name.data = copy;
    }
    if (c->e.was != NULL) {
        note_change(x, &c->key, false); /* the name may lie in the record */
        db_move_bytes(x->ks, &c->key, -(int64_t)value_bytes(r)); /* freed after the commit */
        c->e.record = NULL;
        bool ok = db_commit(x->ks, &c->key, &c->e);
        assert(ok); /* only inserts allocate */
    }
    c->e.record = NULL;
    exec_free_record(x, r);
    stat_bump(&x->core->stats.dirty, 1);
    tell(x, &told.key, cls, event);
}

void exec_notify(struct exec *x, const struct db_key *key, enum notify_class cls, const char *event)
{
    tell(x, key, cls, event);
}

void exec_free_record(struct exec *x, struct record *r)
{
    /* In replay nobody waits, and no task runs that would give the memory back. */
    if (likely(value_free_cost(r) <= FREE_AT_ONCE_MAX) || x->replay) {
        record_free(r);
        return;
    }
    core__garbage_record(x->core, r);
}

void exec_free_replaced(struct exec *x, const struct change *c, struct record *r)
{
    db_move_bytes(x->ks, &c->key, -(int64_t)value_bytes(r));
    exec_free_record(x, r);
}

/* ---- the log */

void exec_log(struct exec *x, const struct change *c, enum opcode op, const struct bytes *args,
              uint32_t argc)
{
    struct core *core = core_of(x, c->key.slot);
    if (core->journal == NULL || x->replay) return;
    struct journal_head head = {.opcode = op,
                                .slot = c->key.slot,
                                .db = c->key.db,
                                .txid = core->tx.txid,
                                .shards_mask = core->tx.shards_mask};
    journal_append(core->journal, &head, args, argc);
    if (unlikely(core->gated)) {
        core->slot_lsn[c->key.slot] = journal_lsn(core->journal);
        gate_on(core, c->key.slot);
    }
}

void exec_log_same(struct exec *x, const struct change *c)
{
    assert(x->spec->opcode != OP_NONE);
    exec_log(x, c, (enum opcode)x->spec->opcode, x->argv + 1, x->argc - 1);
}

static bool has_own_group(const struct exec *x)
{
    return x->core->journal != NULL && !x->replay && !x->core->tx.open && x->span == NULL;
}

void exec_log_group_begin(struct exec *x)
{
    if (has_own_group(x)) journal_group_begin(x->core->journal);
}

void exec_log_group_end(struct exec *x)
{
    if (has_own_group(x)) journal_group_end(x->core->journal);
}

void exec_log_all(struct exec *x, uint8_t db, enum opcode op, const struct bytes *args,
                  uint32_t argc)
{
    struct core *core = x->core;
    if (core->journal == NULL || x->replay) return;
    struct journal_head head = {.opcode = op,
                                .slot = JOURNAL_SLOT_ALL,
                                .db = db,
                                .txid = core->tx.txid,
                                .shards_mask = core->tx.shards_mask};
    journal_append(core->journal, &head, args, argc);
    if (!core->gated) return;
    core->gate_lsn = journal_lsn(core->journal);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++)
        core->slot_lsn[slot] = core->gate_lsn;
}

bool exec_owns_slot(const struct exec *x, uint16_t slot)
{
    if (slot_shard(slot, x->shards) != x->shard) return false;
    return !x->replay || slot_shard(slot, x->replay_logs) == x->replay_log;
}

bool exec_reserve(struct exec *x, size_t bytes)
{
    if (unlikely(x->span != NULL)) return exec__reserve_span(x, bytes + EXEC_RESERVE_SLACK);
    if (x->core->journal == NULL || x->replay) return true;
    enum rc rc = journal_reserve(x->core->journal, bytes + EXEC_RESERVE_SLACK);
    if (likely(rc == RC_OK)) return true;
    exec__reply_refused(x->reply, rc);
    return false;
}

void exec__reply_refused(struct reply *reply, enum rc rc)
{
    if (rc == RC_AGAIN)
        reply_error(reply, "MISCONF The log cannot keep up with writing; try again");
    else
        reply_errorf(
            reply,
            "MISCONF Errors writing to the log: %s. Writes are refused until it works again; "
            "see INFO persistence",
            rc_text(rc));
}

void exec_reply_nomem(struct exec *x)
{
    reply_error(x->reply, "OOM out of memory: the allocator refused this value");
}

/* ---- arguments */

bool exec_arg_i64(struct exec *x, uint32_t i, int64_t *out)
{
    if (likely(num_parse_i64(x->argv[i], out))) return true;
    reply_error(x->reply, ERR_NOT_INT);
    return false;
}

bool exec_arg_range(struct exec *x, uint32_t i, int64_t min, int64_t max, const char *error,
                    int64_t *out)
{
    if (num_parse_i64(x->argv[i], out) && *out >= min && *out <= max) return true;
    reply_error(x->reply, error != NULL ? error : ERR_NOT_INT);
    return false;
}

bool exec_arg_double(struct exec *x, uint32_t i, double *out)
{
    if (num_parse_double(x->argv[i], out) && !isnan(*out)) return true;
    reply_error(x->reply, ERR_NOT_FLOAT);
    return false;
}

void exec__name(const struct exec *x, char out[static 64])
{
    size_t n = strlen(x->spec->name);
    for (size_t i = 0; i <= n && i < 63; i++) {
        char ch = x->spec->name[i];
        out[i] = (char)(ch >= 'A' && ch <= 'Z' ? ch + 32 : ch);
    }
    out[63] = 0;
}

void exec_reply_arity(struct exec *x)
{
    char name[64];
    exec__name(x, name);
    reply_errorf(x->reply, "ERR wrong number of arguments for '%s' command", name);
}

bool exec_arg_expire(struct exec *x, uint32_t i, int64_t unit_ms, bool absolute,
                     int64_t *when_ms_out)
{
    int64_t v;
    if (!exec_arg_i64(x, i, &v)) return false;
    bool bad = v <= 0 || (unit_ms == 1000 && v > INT64_MAX / 1000);
    if (!bad) {
        v *= unit_ms;
        if (!absolute) bad = __builtin_add_overflow(v, x->now_ms, &v);
    }
    if (bad) {
        char name[64];
        exec__name(x, name);
        reply_errorf(x->reply, "ERR invalid expire time in '%s' command", name);
        return false;
    }
    *when_ms_out = v;
    return true;
}
