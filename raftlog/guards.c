/* raftlog/guards.c: what keeps libraft 0.15 from its own defects. Each guard has a number (README.md),
 * a reason there, and a test in tests/sim/sim_raft_guards.c that fails without it. They work on what
 * goes in, on what comes out (io.c), and on the fields of struct raft between calls. */
#include "raftlog/raftlog_priv.h"

#include "shard/base/assert.h"

#ifdef MOON_TEST
uint32_t rl_guards_off;
#endif

/* ---- libraft's log in memory: a ring */

static uint64_t log_count(const struct raft_log *l)
{
    return l->front <= l->back ? l->back - l->front : l->size - l->front + l->back;
}

uint64_t rl__last_index(const struct rl *rl)
{
    return rl->raft.log.offset + log_count(&rl->raft.log);
}

const struct raft_entry *rl__entry(const struct rl *rl, uint64_t index)
{
    const struct raft_log *l = &rl->raft.log;
    if (index <= l->offset || index > rl__last_index(rl)) return NULL;
    return &l->entries[(l->front + (index - 1 - l->offset)) % l->size];
}

/* 0: not known. */
uint64_t rl__term_of(const struct rl *rl, uint64_t index)
{
    const struct raft_entry *e = rl__entry(rl, index);
    if (e != NULL) return e->term;
    const struct raft_log *l = &rl->raft.log;
    return index != 0 && index == l->snapshot.last_index ? l->snapshot.last_term : 0;
}

/* ---- members (guards 4, 5, 6) */

static uint64_t members_entry_below(const struct rl *rl, uint64_t index)
{
    for (uint64_t i = index - 1; i > rl->raft.log.offset; i--)
        if (rl__entry(rl, i)->type == RAFT_CHANGE) return i;
    return 0;
}

static void decode_entry(const struct rl *rl, uint64_t index, struct rl_members *out)
{
    const struct raft_entry *e = rl__entry(rl, index);
    bool good = members_decode(bytes_view(e->buf.base, e->buf.len), out);
    assert(good); /* checked when it came in */
}

static void set_members(struct rl *rl, const struct rl_members *members)
{
    struct raft_configuration fresh;
    int rv = members_to_raft(members, &fresh);
    assert(rv == 0);
    raft_configuration_close(&rl->raft.configuration);
    rl->raft.configuration = fresh;
}

/* After the log was loaded: the last configuration in it may not be committed. Only what is applied, or
 * has a later one behind it, is known to be. */
void rl__start_members(struct rl *rl)
{
    struct raft *r = &rl->raft;
    rl->committed.index = r->configuration_index;
    members_from_raft(&r->configuration, &rl->committed.list);
    if (r->configuration_index <= r->last_applied) return;
    uint64_t last = r->configuration_index;
    uint64_t before = members_entry_below(rl, last);
    if (before != 0) {
        rl->committed.index = before;
        decode_entry(rl, before, &rl->committed.list);
    } else if (rl->load.has_snapshot) {
        rl->committed.index = rl->load.snapshot.members_index;
        bool good = members_decode(rl->load.snapshot.members, &rl->committed.list);
        assert(good);
    }
    if (!guard_on(GUARD_START_MEMBERS)) return;
    r->configuration_index = rl->committed.index;
    r->configuration_uncommitted_index = last;
}

/* Keeps a copy of the committed members: libraft looks for them in a log that may have lost them. */
void rl__note_members(struct rl *rl)
{
    struct raft *r = &rl->raft;
    if (guard_on(GUARD_START_MEMBERS) && r->configuration_uncommitted_index != 0 &&
        r->configuration_uncommitted_index <= r->last_applied)
        r->configuration_uncommitted_index = 0; /* an install does not say so */
    if (rl->committed.index == r->configuration_index) return;
    rl->tell_changed = true;
    rl->committed.index = r->configuration_index;
    if (r->configuration_uncommitted_index == 0)
        members_from_raft(&r->configuration, &rl->committed.list);
    else if (rl__entry(rl, r->configuration_index) != NULL)
        decode_entry(rl, r->configuration_index, &rl->committed.list);
}

/* The log will be cut at `index`: back to the members of what stays. */
static void roll_back_members(struct rl *rl, uint64_t index)
{
    struct raft *r = &rl->raft;
    if (!guard_on(GUARD_ROLLBACK)) return;
    if (r->configuration_uncommitted_index < index) return;
    uint64_t before = members_entry_below(rl, index);
    struct rl_members members = rl->committed.list;
    if (before > rl->committed.index) decode_entry(rl, before, &members);
    set_members(rl, &members);
    r->configuration_uncommitted_index = before > rl->committed.index ? before : 0;
    rl->tell_changed = true;
}

/* ---- messages in */

/* Whether our disk must first finish something. */
bool rl__must_hold(const struct rl *rl, const struct wire_head *head)
{
    const struct raft *r = &rl->raft;
    switch (head->type) {
    case WIRE_APPEND_RESULT:
        /* libraft counts stored entries of old terms as committed. With one of its own term on its
         * disk a leader never gets there. */
        return guard_on(GUARD_OLD_TERM) && r->state == RAFT_LEADER &&
               head->term <= r->current_term && rl__term_of(rl, r->last_stored) != r->current_term;
    case WIRE_APPEND:
        return guard_on(GUARD_STALE_RESULT) && rl__disk_other_term(rl, head->term);
    case WIRE_PIECE:
        return rl__disk_appends(rl) || r->snapshot.put.data != NULL;
    default:
        return false;
    }
}

static void drop_entries(struct raft_append_entries *a)
{
    if (a->n_entries > 0) raft_free(a->entries[0].batch);
    raft_free(a->entries);
    a->entries = NULL;
    a->n_entries = 0;
}

/* Entries up to `floor` are applied here, so they are the leader's, too: only what is above them
 * matters. `floor` is the lowest whose term we know. */
static void strip(struct rl *rl, struct raft_append_entries *a)
{
    const struct raft *r = &rl->raft;
    uint64_t floor = r->log.offset;
    if (floor == 0 || a->prev_log_index >= floor) return;
    if (r->log.snapshot.last_index != floor) floor++;
    uint64_t skip = floor - a->prev_log_index;
    if (floor > r->last_applied || a->prev_log_index >= floor) return;
    if (skip < a->n_entries) {
        a->prev_log_term = a->entries[skip - 1].term;
        memmove(a->entries, a->entries + skip, (a->n_entries - skip) * sizeof *a->entries);
        a->n_entries -= (unsigned)skip;
    } else {
        drop_entries(a);
        a->prev_log_term = rl__term_of(rl, floor);
    }
    a->prev_log_index = floor;
}

/* False: not to be delivered. */
bool rl__admit_append(struct rl *rl, struct raft_message *m)
{
    struct raft_append_entries *a = &m->append_entries;
    struct raft *r = &rl->raft;
    uint64_t last = a->prev_log_index + a->n_entries;
    if (guard_on(GUARD_TAIL)) {
        rl->cap = last;
        if (a->leader_commit > last) a->leader_commit = last;
    }
    if (a->term < r->current_term) return true;
    if (guard_on(GUARD_OVERLAP)) strip(rl, a);
    /* Its tail goes: undo the members in it before libraft tries to. */
    uint64_t prev_term = rl__term_of(rl, a->prev_log_index);
    if (a->prev_log_index != 0 && prev_term != a->prev_log_term) return true; /* refused */
    for (uint32_t i = 0; i < a->n_entries; i++) {
        uint64_t index = a->prev_log_index + 1 + i, term = rl__term_of(rl, index);
        if (term == 0) break;
        if (term == a->entries[i].term) continue;
        if (index > r->commit_index) roll_back_members(rl, index);
        break;
    }
    return true;
}

/* A vote is given by what Raft knows, not by what our own copy of the members says: who was made a voter
 * may not have that entry yet, and without its vote nobody could send it. And a leader that was silent for
 * an election's time is none any more: libraft forgets it only when it stands for election itself, which
 * a member without a vote never does. Returns our role to be restored, or -1. */
int rl__before_vote(struct rl *rl)
{
    struct raft *r = &rl->raft;
    if (!guard_on(GUARD_VOTE)) return -1;
    if (r->state == RAFT_FOLLOWER && rl->now_ms - r->election_timer_start >= r->election_timeout)
        r->follower_state.current_leader.id = 0;
    for (uint32_t i = 0; i < r->configuration.n; i++) {
        struct raft_server *own = &r->configuration.servers[i];
        if (own->id != r->id || own->role == RAFT_VOTER) continue;
        int role = own->role;
        own->role = RAFT_VOTER;
        return role;
    }
    return -1;
}

void rl__after_vote(struct rl *rl, int role)
{
    struct raft *r = &rl->raft;
    for (uint32_t i = 0; role >= 0 && i < r->configuration.n; i++)
        if (r->configuration.servers[i].id == r->id) r->configuration.servers[i].role = role;
}

/* ---- messages out (guard 11) */

/* As many entries as fit; at least one. libraft takes all for sent: rl__after_call() mends that. */
void rl__cut_append(struct rl *rl, const struct raft_message *in, struct raft_message *out)
{
    const struct raft_append_entries *a = &in->append_entries;
    uint64_t bytes = 0;
    uint32_t n = 0;
    while (n < a->n_entries) {
        bytes += a->entries[n].buf.len;
        if (n > 0 && (bytes > RAFT_BATCH_BYTES_MAX || n == RAFT_BATCH_ENTRIES_MAX)) break;
        n++;
    }
    if (n == a->n_entries) return;
    out->append_entries.n_entries = n;
    if (rl->cut_count == RAFT_MEMBERS_MAX) return;
    rl->cut[rl->cut_count].to = in->server_id;
    rl->cut[rl->cut_count++].next = a->prev_log_index + n + 1;
}

/* Of a refused append: not one index less, but everything of that term, which the leader cannot have
 * (it would have agreed) or finds again from below. */
uint64_t rl__back_track(const struct rl *rl, uint64_t rejected, uint64_t last)
{
    uint64_t term = rl__term_of(rl, rejected);
    if (term == 0 || rejected > last) return last;
    uint64_t index = rejected;
    while (index > rl->raft.commit_index + 1 && rl__term_of(rl, index - 1) == term)
        index--;
    return index - 1;
}

/* ---- after each call into libraft */

static void mend_progress(struct rl *rl)
{
    struct raft *r = &rl->raft;
    for (uint32_t c = 0; c < rl->cut_count && r->state == RAFT_LEADER; c++) {
        for (uint32_t i = 0; i < r->configuration.n; i++)
            if (r->configuration.servers[i].id == rl->cut[c].to &&
                r->leader_state.progress[i].next_index > rl->cut[c].next)
                r->leader_state.progress[i].next_index = rl->cut[c].next;
    }
    rl->cut_count = 0;
}

/* A lone voter elects itself without a new term, and it sends entries before they are on its own disk.
 * After a crash it would write others under the same index and term. */
static void lone_term(struct rl *rl)
{
    struct raft *r = &rl->raft;
    bool leads = r->state == RAFT_LEADER, fresh = leads && !rl->was_leader;
    rl->was_leader = leads;
    if (!fresh || !guard_on(GUARD_LONE_TERM)) return;
    for (uint32_t i = 0; i < r->configuration.n; i++)
        if (r->configuration.servers[i].role == RAFT_VOTER &&
            r->configuration.servers[i].id != r->id)
            return;
    r->current_term++;
    r->voted_for = r->id;
    (void)rl->io.set_term(&rl->io, r->current_term);
    (void)rl->io.set_vote(&rl->io, r->id);
}

void rl__after_call(struct rl *rl)
{
    struct raft *r = &rl->raft;
    rl->cap = 0;
    mend_progress(rl);
    lone_term(rl);
    /* It would give the one that was to lead a second vote in a later term. */
    if (guard_on(GUARD_TRANSFER_VOTE) && r->transfer != NULL && r->state != RAFT_LEADER)
        r->transfer = NULL;
    rl__note_members(rl);
}

/* ---- changes of members (guard 14) */

/* NULL: allowed. A majority of the new members must overlap one of the old, so the last change must be
 * surely committed, and known to every voter: one that does not know it refuses its vote. */
const char *rl__change_refused(const struct rl *rl)
{
    const struct raft *r = &rl->raft;
    if (r->configuration_uncommitted_index != 0 || r->leader_state.promotee_id != 0)
        return "another change is under way";
    if (!guard_on(GUARD_CHANGE)) return NULL;
    if (rl->lead_from == 0 || r->last_applied < rl->lead_from)
        return "this leader has not committed anything yet";
    for (uint32_t i = 0; i < r->configuration.n; i++)
        if (r->configuration.servers[i].role == RAFT_VOTER &&
            r->leader_state.progress[i].match_index < r->configuration_index)
            return "a voter has not stored the last change";
    return NULL;
}
