/* raftlog/solo.c: the log of a node alone. A proposal becomes an operation of the store; when that is on the
 * disk the entry is applied and its caller told. Entries found at a start are applied all: nobody else could
 * have decided otherwise. */
#include "raftlog/solo.h"

#include <stdio.h>

#include "raftlog/raftlog_priv.h"
#include "shard/base/assert.h"

#define SNAPSHOT_ENTRIES 4096u
#define TRAILING_ENTRIES 4096u
#define SEGMENT_BYTES_SOLO (256u << 10) /* a few entries a day */
#define MEMBER_ID 1u
#define MEMBER_ADDRESS "self" /* nobody connects to it; a driver with peers gives it another */

struct proposal {
    struct store_op op;
    struct solo *solo;
    struct rl_call *call;
    struct proposal *next;
    struct store_entry entry;
    size_t bytes;
    uint8_t data[];
};

struct saving {
    struct store_op op;
    struct solo *solo;
    struct buf data;
    bool busy;
};

struct solo {
    struct store store;
    struct solo_opts opts;
    struct sessions sessions;
    int lock_fd;
    uint64_t incarnation;
    uint64_t last_index, applied_index, term;
    uint32_t since_snapshot, queued;
    struct buf members; /* as the log has them */
    uint64_t members_index;
    struct proposal *first, *last;
    struct saving saving;
};

/* ---- start: the directory */

static enum rc complain(enum rc rc, char *why, size_t why_bytes, const char *dir, const char *text)
{
    (void)snprintf(why, why_bytes, "%s: %s", dir, text);
    return rc;
}

/* Whose log it is: as one of the two copies of meta says, else a new one's. What is wrong with them is the
 * store's to find. */
static void read_ids(const struct solo *s, struct store_ids *ids)
{
    struct buf file;
    char path[STORE_PATH_MAX];
    bool found = false;
    buf_init(&file, MEM_RAFT);
    for (int i = 0; i < 2 && !found; i++) {
        (void)snprintf(path, sizeof path, "%s/meta.%d", s->opts.dir, i);
        if (store__read_file(s->opts.io, path, &file) == 0) found = meta_ids(buf_bytes(&file), ids);
    }
    buf_free(&file);
    if (found) return;
    *ids = (struct store_ids){.raft_id = MEMBER_ID};
    memcpy(ids->cluster, s->opts.new_cluster_id, sizeof ids->cluster);
    memcpy(ids->node, s->opts.new_node_id, sizeof ids->node);
}

static void run_to_end(struct solo *s)
{
    while (!store_is_idle(&s->store) && !s->store.failed)
        (void)io_turn(s->opts.io, -1);
}

/* As rl_bootstrap() would: term 1, and one voter. */
static enum rc begin_log(struct solo *s)
{
    struct rl_members one = {
        .count = 1,
        .at = {{.id = s->store.ids.raft_id, .role = RL_VOTER, .address = MEMBER_ADDRESS}}};
    members_encode(&one, &s->members);
    s->members_index = 1;
    struct store_entry entry = {
        .term = 1, .type = RECORD_CHANGE, .payload = buf_bytes(&s->members)};
    struct store_op term = {.kind = OP_META, .term = 1};
    struct store_op append = {.kind = OP_APPEND, .index = 1, .entries = &entry, .count = 1};
    if (s->store.meta.term == 0) store_submit(&s->store, &term);
    store_submit(&s->store, &append);
    run_to_end(s);
    return s->store.failed ? RC_IO : RC_OK;
}

/* ---- start: what it holds */

static bool is_alone(const struct solo *s)
{
    struct rl_members m;
    return members_decode(buf_bytes(&s->members), &m) && m.count == 1 && m.at[0].role == RL_VOTER &&
           m.at[0].id == s->store.ids.raft_id;
}

static void note_members(struct solo *s, uint64_t index, struct bytes members)
{
    s->members.len = 0;
    buf_add_bytes(&s->members, members);
    s->members_index = index;
}

static enum rc restore(struct solo *s, const struct store_snapshot *snap, char *why,
                       size_t why_bytes)
{
    struct bytes in = snap->data;
    note_members(s, snap->members_index, snap->members);
    enum rc rc = sessions_load(&s->sessions, &in) ? RC_OK : RC_CORRUPT;
    if (rc == RC_OK) rc = s->opts.machine.restore(s->opts.machine.ctx, snap->index, in);
    s->applied_index = snap->index;
    if (rc == RC_OK) return RC_OK;
    (void)snprintf(why, why_bytes, "%s: the state in snapshot %llu is not readable: %s",
                   s->opts.dir, (unsigned long long)snap->index, rc_text(rc));
    return rc;
}

static enum rc apply_loaded(struct solo *s, const struct store_load *load, char *why,
                            size_t why_bytes)
{
    for (uint32_t i = 0; i < load->count; i++) {
        const struct store_entry *e = &load->entries[i];
        uint64_t index = load->start_index + i;
        struct rl_result unused;
        if (index <= s->applied_index) continue;
        if (e->type == RECORD_CHANGE) note_members(s, index, e->payload);
        if (e->type == RECORD_COMMAND &&
            !sessions_apply(&s->sessions, &s->opts.machine, index, e->payload, &unused)) {
            (void)snprintf(why, why_bytes, "%s: entry %llu is no proposal", s->opts.dir,
                           (unsigned long long)index);
            return RC_CORRUPT;
        }
        s->applied_index = index;
        s->since_snapshot++;
    }
    return RC_OK;
}

static enum rc take_load(struct solo *s, const struct store_load *load, char *why, size_t why_bytes)
{
    if (load->count == 0 && !load->has_snapshot) {
        enum rc rc = begin_log(s);
        if (rc != RC_OK) (void)snprintf(why, why_bytes, "%s", s->store.why);
        s->applied_index = 1;
        return rc;
    }
    enum rc rc = load->has_snapshot ? restore(s, &load->snapshot, why, why_bytes) : RC_OK;
    if (rc == RC_OK) rc = apply_loaded(s, load, why, why_bytes);
    if (rc != RC_OK) return rc;
    if (is_alone(s)) return RC_OK;
    return complain(RC_INVALID, why, why_bytes, s->opts.dir,
                    "this node is one of several members of a control log: cluster-enabled yes");
}

static void release(struct solo *s)
{
    sessions_free(&s->sessions);
    buf_free(&s->members);
    buf_free(&s->saving.data);
    rl_unlock(s->opts.io, s->lock_fd);
    mem_free(MEM_RAFT, s, sizeof *s);
}

static void disk_changed(struct store *store);

static enum rc open_store(struct solo *s, char *why, size_t why_bytes)
{
    struct store_ids ids;
    struct store_load load;
    read_ids(s, &ids);
    enum rc rc = store_open(&s->store, s->opts.io, s->opts.dir, &ids, s->opts.segment_bytes, &load);
    if (rc != RC_OK)
        (void)snprintf(why, why_bytes, "%s", s->store.why);
    else
        rc = take_load(s, &load, why, why_bytes);
    store_load_free(&load);
    if (rc != RC_OK) store_close(&s->store);
    return rc;
}

enum rc solo_open(const struct solo_opts *opts, struct solo **out, char *why_out, size_t why_bytes)
{
    struct solo *s = mem_zalloc(MEM_RAFT, sizeof *s);
    s->opts = *opts;
    s->lock_fd = -1;
    if (s->opts.snapshot_entries == 0) s->opts.snapshot_entries = SNAPSHOT_ENTRIES;
    if (s->opts.trailing_entries == 0) s->opts.trailing_entries = TRAILING_ENTRIES;
    if (s->opts.segment_bytes == 0) s->opts.segment_bytes = SEGMENT_BYTES_SOLO;
    buf_init(&s->members, MEM_RAFT);
    buf_init(&s->saving.data, MEM_RAFT);
    s->saving.solo = s;
    enum rc rc = RC_OK;
    if (!opts->locked) rc = rl_lock(opts->io, opts->dir, &s->lock_fd, why_out, why_bytes);
    if (rc == RC_OK) rc = open_store(s, why_out, why_bytes);
    if (rc != RC_OK) {
        release(s);
        return rc;
    }
    s->store.on_done = disk_changed;
    s->store.owner = s;
    s->last_index = s->store.last_index;
    s->term = s->store.meta.term > s->store.last_term ? s->store.meta.term : s->store.last_term;
    s->incarnation = sessions_incarnation(&s->sessions, s->store.ids.raft_id) + 1;
    *out = s;
    return RC_OK;
}

/* ---- snapshots */

static void saved(struct store_op *op)
{
    struct saving *v = container_of(op, struct saving, op);
    v->busy = false;
    buf_free(&v->data);
    buf_init(&v->data, MEM_RAFT);
}

static void save(struct solo *s)
{
    struct saving *v = &s->saving;
    if (v->busy || s->since_snapshot < s->opts.snapshot_entries) return;
    uint64_t trailing = s->opts.trailing_entries;
    sessions_save(&s->sessions, &v->data);
    s->opts.machine.save(s->opts.machine.ctx, &v->data);
    assert(v->data.len <= RAFT_SNAPSHOT_BYTES_MAX / 2);
    s->since_snapshot = 0;
    v->busy = true;
    v->op = (struct store_op){
        .done = saved,
        .kind = OP_SNAPSHOT,
        .snapshot = {.index = s->applied_index,
                     .term = s->term,
                     .members_index = s->members_index,
                     .members = buf_bytes(&s->members),
                     .data = buf_bytes(&v->data)},
        .keep_from = s->applied_index > trailing ? s->applied_index - trailing : 0,
    };
    store_submit(&s->store, &v->op);
}

/* ---- proposals */

static struct proposal *pop(struct solo *s)
{
    struct proposal *p = s->first;
    s->first = p->next;
    if (s->first == NULL) s->last = NULL;
    s->queued--;
    return p;
}

static void finish(struct proposal *p, const struct rl_result *result)
{
    struct rl_call *call = p->call;
    mem_free(MEM_RAFT, p, sizeof *p + p->bytes);
    call->done(call, result); /* may free it */
}

static void written(struct store_op *op)
{
    struct proposal *p = container_of(op, struct proposal, op);
    struct solo *s = p->solo;
    struct rl_result result;
    assert(p == s->first);
    (void)pop(s);
    bool ours =
        sessions_apply(&s->sessions, &s->opts.machine, op->index, p->entry.payload, &result);
    assert(ours);
    s->applied_index = op->index;
    s->since_snapshot++;
    save(s);
    result.leader = s->store.ids.raft_id;
    finish(p, &result);
}

/* After the completions of an operation. Once failed the store completes none. */
static void disk_changed(struct store *store)
{
    struct solo *s = store->owner;
    struct rl_result unknown = {.outcome = RL_UNKNOWN};
    while (store->failed && s->first != NULL)
        finish(pop(s), &unknown);
}

enum rc solo_propose(struct solo *s, struct rl_call *call, const struct rl_request *request,
                     struct bytes payload)
{
    if (s->store.failed) return RC_CLOSED;
    if (payload.len > RAFT_ENTRY_BYTES_MAX - ENVELOPE_BYTES) return RC_TOOBIG;
    if (s->queued == RAFT_BATCH_ENTRIES_MAX) return RC_FULL;
    size_t bytes = ENVELOPE_BYTES + payload.len;
    struct proposal *p = mem_alloc(MEM_RAFT, sizeof *p + bytes);
    *p = (struct proposal){.solo = s, .call = call, .bytes = bytes};
    envelope_put(p->data, request, payload);
    p->entry = (struct store_entry){
        .term = s->term, .type = RECORD_COMMAND, .payload = bytes_view(p->data, bytes)};
    p->op = (struct store_op){.done = written,
                              .kind = OP_APPEND,
                              .index = ++s->last_index,
                              .entries = &p->entry,
                              .count = 1};
    if (s->last != NULL)
        s->last->next = p;
    else
        s->first = p;
    s->last = p;
    s->queued++;
    store_submit(&s->store, &p->op);
    return RC_OK;
}

/* ---- the rest */

void solo_tick(struct solo *s)
{
    store_mark(&s->store);
}

void solo_close(struct solo *s)
{
    run_to_end(s);
    disk_changed(&s->store);
    store_close(&s->store);
    release(s);
}

void solo_status(const struct solo *s, struct solo_status *out)
{
    *out = (struct solo_status){
        .id = s->store.ids.raft_id,
        .incarnation = s->incarnation,
        .applied_index = s->applied_index,
        .snapshot_index = s->store.snapshot_index[0],
        .term = s->term,
        .queued = s->queued,
        .failure = s->store.failed ? s->store.why : NULL,
    };
    memcpy(out->cluster_id, s->store.ids.cluster, sizeof out->cluster_id);
    memcpy(out->node_id, s->store.ids.node, sizeof out->node_id);
}
