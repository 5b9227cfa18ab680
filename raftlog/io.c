/* raftlog/io.c: struct raft_io. What libraft asks for is copied at once and queued: files go through the
 * store, messages leave from the pump. Nothing fails here: a disk error ends the member (core.c), a
 * message that cannot go is lost. No callback runs inside the call that asked for it. */
#include "raftlog/raftlog_priv.h"

#include "shard/base/assert.h"
#include "shard/base/log.h"

static struct rl *rl_of(struct raft_io *io)
{
    return io->impl;
}

/* ---- disk */

static struct disk_op *disk_new(struct rl *rl, enum disk_kind kind, uint32_t entries)
{
    size_t bytes = sizeof(struct disk_op) + entries * sizeof(struct store_entry);
    struct disk_op *d = mem_zalloc(MEM_RAFT, bytes);
    d->rl = rl;
    d->kind = kind;
    d->entry_count = entries;
    d->term = rl->raft.current_term;
    if (rl->disk_last != NULL)
        rl->disk_last->next = d;
    else
        rl->disk_first = d;
    rl->disk_last = d;
    return d;
}

static void disk_free(struct disk_op *d)
{
    buf_free(&d->members);
    buf_free(&d->data);
    mem_free(MEM_RAFT, d, sizeof *d + d->entry_count * sizeof d->entries[0]);
}

static bool is_append(const struct disk_op *d)
{
    return d->kind == DISK_APPEND || (d->kind == DISK_SNAPSHOT && d->install);
}

bool rl__disk_appends(const struct rl *rl)
{
    for (const struct disk_op *d = rl->disk_first; d != NULL; d = d->next)
        if (is_append(d)) return true;
    return false;
}

bool rl__disk_other_term(const struct rl *rl, uint64_t term)
{
    for (const struct disk_op *d = rl->disk_first; d != NULL; d = d->next)
        if (is_append(d) && d->term != term) return true;
    return false;
}

/* Tells libraft. For another term its answer would go to a leader that never asked (guard 2). */
static void disk_answer(struct rl *rl, struct disk_op *d, int status)
{
    rl->silent = guard_on(GUARD_STALE_RESULT) && d->term != rl->raft.current_term;
    if (d->kind == DISK_APPEND) {
        struct raft_io_append *request = d->request;
        rl->cap = guard_on(GUARD_TAIL) ? d->last : 0;
        request->cb(request, status);
    } else if (d->kind == DISK_SNAPSHOT) {
        struct raft_io_snapshot_put *request = d->request;
        rl->cap = d->install && guard_on(GUARD_TAIL) ? d->op.snapshot.index : 0;
        rl->disk_install_index = d->op.snapshot.index;
        rl->snapshots_installed += d->install;
        rl->snapshots_taken += !d->install;
        request->cb(request, status);
    }
    rl->silent = false;
    rl->cap = 0;
}

static void disk_done(struct store_op *op)
{
    struct disk_op *d = container_of(op, struct disk_op, op);
    struct rl *rl = d->rl;
    assert(rl->disk_first == d); /* the store keeps the order */
    rl->disk_first = d->next;
    if (rl->disk_first == NULL) rl->disk_last = NULL;
    if (d->kind == DISK_META) rl->meta_done = d->number;
    disk_answer(rl, d, 0);
    disk_free(d);
    rl__after_call(rl);
}

/* When the member has stopped, or is thrown away: libraft is unavailable and only frees. */
void rl__io_cancel(struct rl *rl)
{
    assert(rl->raft.state == RAFT_UNAVAILABLE);
    while (rl->disk_first != NULL) {
        struct disk_op *d = rl->disk_first;
        rl->disk_first = d->next;
        disk_answer(rl, d, 0);
        disk_free(d);
    }
    rl->disk_last = NULL;
}

#ifdef MOON_TEST
/* Without guard 9: what was under way failed. */
void rl__io_fail(struct rl *rl)
{
    rl->meta_done = rl->meta_number;
    while (rl->disk_first != NULL) {
        struct disk_op *d = rl->disk_first;
        rl->disk_first = d->next;
        if (rl->disk_first == NULL) rl->disk_last = NULL;
        disk_answer(rl, d, RAFT_IOERR);
        disk_free(d);
    }
}
#endif

static int io_set_meta(struct rl *rl, uint64_t term, uint64_t vote)
{
    rl->vote_term = term;
    rl->vote = vote;
    struct disk_op *d = disk_new(rl, DISK_META, 0);
    d->number = ++rl->meta_number;
    d->op = (struct store_op){.done = disk_done, .kind = OP_META, .term = term, .vote = vote};
    store_submit(&rl->store, &d->op);
    return 0;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
    return io_set_meta(rl_of(io), term, 0);
}

static int io_set_vote(struct raft_io *io, raft_id id)
{
    return io_set_meta(rl_of(io), rl_of(io)->vote_term, id);
}

static int io_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct rl *rl = rl_of(io);
    struct disk_op *d = disk_new(rl, DISK_APPEND, n);
    request->cb = cb;
    d->request = request;
    d->last = rl__last_index(rl); /* libraft appends to its memory first */
    for (uint32_t i = 0; i < n; i++)
        d->entries[i] =
            (struct store_entry){.term = entries[i].term,
                                 .type = (uint8_t)entries[i].type,
                                 .payload = bytes_view(entries[i].buf.base, entries[i].buf.len)};
    d->op = (struct store_op){.done = disk_done,
                              .kind = OP_APPEND,
                              .index = d->last - n + 1,
                              .entries = d->entries,
                              .count = n};
    store_submit(&rl->store, &d->op);
    return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    struct rl *rl = rl_of(io);
    struct disk_op *d = disk_new(rl, DISK_TRUNCATE, 0);
    d->op = (struct store_op){.done = disk_done,
                              .kind = OP_TRUNCATE,
                              .index = index,
                              .prev_term = index > 1 ? rl__term_of(rl, index - 1) : 0};
    store_submit(&rl->store, &d->op);
    return 0;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing,
                           struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct rl *rl = rl_of(io);
    struct disk_op *d = disk_new(rl, DISK_SNAPSHOT, 0);
    struct raft_buffer members;
    request->cb = cb;
    d->request = request;
    d->install = trailing == 0;
    buf_init(&d->members, MEM_RAFT);
    buf_init(&d->data, MEM_RAFT);
    int rv = raft_configuration_encode(&snapshot->configuration, &members);
    assert(rv == 0);
    buf_add(&d->members, members.base, members.len);
    raft_free(members.base);
    for (uint32_t i = 0; i < snapshot->n_bufs; i++)
        buf_add(&d->data, snapshot->bufs[i].base, snapshot->bufs[i].len);
    d->op = (struct store_op){
        .done = disk_done,
        .kind = OP_SNAPSHOT,
        .install = d->install,
        .keep_from = snapshot->index > trailing ? snapshot->index - trailing + 1 : 1,
        .snapshot = {.index = snapshot->index,
                     .term = snapshot->term,
                     .members_index = snapshot->configuration_index,
                     .members = buf_bytes(&d->members),
                     .data = buf_bytes(&d->data)},
    };
    store_submit(&rl->store, &d->op);
    return 0;
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb cb)
{
    struct rl *rl = rl_of(io);
    struct snapshot_wanted *w = mem_alloc(MEM_RAFT, sizeof *w);
    *w = (struct snapshot_wanted){.next = rl->wanted, .request = request, .cb = cb};
    rl->wanted = w;
    return 0;
}

static struct raft_snapshot *snapshot_for_raft(const struct store_snapshot *s)
{
    struct rl_members members;
    if (!members_decode(s->members, &members)) return NULL;
    struct raft_snapshot *out = raft_calloc(1, sizeof *out);
    out->index = s->index;
    out->term = s->term;
    out->configuration_index = s->members_index;
    int rv = members_to_raft(&members, &out->configuration);
    assert(rv == 0);
    out->bufs = raft_malloc(sizeof *out->bufs);
    out->n_bufs = 1;
    out->bufs[0].len = s->data.len;
    out->bufs[0].base = raft_malloc(s->data.len + 1);
    if (s->data.len > 0) memcpy(out->bufs[0].base, s->data.data, s->data.len);
    return out;
}

static void hand_out_snapshot(struct rl *rl, struct snapshot_wanted *w)
{
    struct buf body;
    struct store_snapshot s;
    buf_init(&body, MEM_RAFT);
    bool gone = rl->raft.state == RAFT_UNAVAILABLE;
    enum rc rc = gone ? RC_CLOSED : store_read_snapshot(&rl->store, &body, &s);
    struct raft_snapshot *out = rc == RC_OK ? snapshot_for_raft(&s) : NULL;
    w->cb(w->request, out, out == NULL ? RAFT_IOERR : 0);
    buf_free(&body);
}

/* ---- messages */

void rl__queue_message(struct rl *rl, uint64_t to, const char *address, struct bytes message)
{
    struct out_message *m = mem_alloc(MEM_RAFT, sizeof *m + message.len);
    *m = (struct out_message){
        .to = to, .needs_meta = rl->meta_number, .bytes = (uint32_t)message.len};
    size_t n = strnlen(address, sizeof m->address - 1);
    memcpy(m->address, address, n);
    m->address[n] = '\0';
    memcpy(m->data, message.data, message.len);
    if (rl->out_last != NULL)
        rl->out_last->next = m;
    else
        rl->out_first = m;
    rl->out_last = m;
}

/* Nothing that depends on a term or vote leaves before these are on the disk. */
void rl__send_ready(struct rl *rl)
{
    while (rl->out_first != NULL && rl->out_first->needs_meta <= rl->meta_done) {
        struct out_message *m = rl->out_first;
        rl->out_first = m->next;
        if (rl->out_first == NULL) rl->out_last = NULL;
        if (!rl->failed && !rl->closing)
            rl->opts.link.send(rl->opts.link.ctx, m->to, m->address, bytes_view(m->data, m->bytes));
        mem_free(MEM_RAFT, m, sizeof *m + m->bytes);
    }
}

/* Results are made honest here (guards 3, 11, 12). */
static bool result_amend(struct rl *rl, struct raft_message *m)
{
    if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT) {
        struct raft_append_entries_result *r = &m->append_entries_result;
        if (rl->silent || m->server_id == 0) return false;
        if (r->rejected == 0 && rl->cap != 0 && r->last_log_index > rl->cap)
            r->last_log_index = rl->cap;
        if (r->rejected != 0 && guard_on(GUARD_SIZE))
            r->last_log_index = rl__back_track(rl, r->rejected, r->last_log_index);
    }
    if (m->type == RAFT_IO_REQUEST_VOTE_RESULT && guard_on(GUARD_PRE_VOTE)) {
        struct raft_request_vote_result *r = &m->request_vote_result;
        if (r->pre_vote == raft_tribool_true && !r->vote_granted) r->term = rl->raft.current_term;
    }
    return true;
}

static void send_message(struct rl *rl, const struct raft_message *message)
{
    struct raft_message m = *message;
    if (!result_amend(rl, &m)) return;
    if (m.type == RAFT_IO_INSTALL_SNAPSHOT) {
        rl__pieces_send(rl, &m);
        return;
    }
    if (m.type == RAFT_IO_APPEND_ENTRIES && guard_on(GUARD_SIZE)) rl__cut_append(rl, message, &m);
    struct buf out;
    buf_init(&out, MEM_RAFT);
    wire_put(&out, rl, &m);
    rl__queue_message(rl, m.server_id, m.server_address == NULL ? "" : m.server_address,
                      buf_bytes(&out));
    buf_free(&out);
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    struct rl *rl = rl_of(io);
    send_message(rl, message);
    /* The request of a TIMEOUT_NOW has no callback, and libraft may free it before we are done. */
    if (message->type == RAFT_IO_TIMEOUT_NOW && guard_on(GUARD_TIMEOUT_NOW)) return 0;
    struct send_done *s = mem_alloc(MEM_RAFT, sizeof *s);
    *s = (struct send_done){.request = request, .cb = cb};
    if (rl->sent_last != NULL)
        rl->sent_last->next = s;
    else
        rl->sent_first = s;
    rl->sent_last = s;
    return 0;
}

void rl__io_finish(struct rl *rl)
{
    while (rl->sent_first != NULL || rl->wanted != NULL) {
        struct send_done *s = rl->sent_first;
        if (s != NULL) {
            rl->sent_first = s->next;
            if (rl->sent_first == NULL) rl->sent_last = NULL;
            s->cb(s->request, 0);
            mem_free(MEM_RAFT, s, sizeof *s);
            continue;
        }
        struct snapshot_wanted *w = rl->wanted;
        rl->wanted = w->next;
        hand_out_snapshot(rl, w);
        mem_free(MEM_RAFT, w, sizeof *w);
    }
}

bool rl__io_pending(const struct rl *rl)
{
    return rl->sent_first != NULL || rl->wanted != NULL;
}

/* ---- start and stop */

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    rl_of(io)->close_cb = cb;
}

static struct raft_entry *entries_for_raft(const struct store_load *load, uint64_t from,
                                           uint32_t count)
{
    if (count == 0) return NULL;
    const struct store_entry *first = &load->entries[from - load->start_index];
    size_t total = 1;
    for (uint32_t i = 0; i < count; i++)
        total += first[i].payload.len;
    uint8_t *batch = raft_malloc(total);
    struct raft_entry *out = raft_calloc(count, sizeof *out);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t n = first[i].payload.len;
        if (n > 0) memcpy(batch + at, first[i].payload.data, n);
        out[i] = (struct raft_entry){.term = first[i].term,
                                     .type = first[i].type,
                                     .buf = {.base = batch + at, .len = n},
                                     .batch = batch};
        at += n;
    }
    return out;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    struct rl *rl = rl_of(io);
    struct store_load *load = &rl->load;
    uint64_t from = load->start_index, last = load->start_index + load->count - 1;
    *term = rl->store.meta.term;
    *voted_for = rl->store.meta.vote;
    /* A crash between an append and its term cannot be: they are written in order. */
    *snapshot = NULL;
    if (load->has_snapshot) {
        *snapshot = snapshot_for_raft(&load->snapshot);
        if (*snapshot == NULL) return RAFT_CORRUPT;
        uint64_t keep = rl->opts.trailing_entries;
        if (load->snapshot.index > keep && load->snapshot.index - keep + 1 > from)
            from = load->snapshot.index - keep + 1;
    }
    *start_index = from;
    *n_entries = (size_t)(last + 1 - from);
    *entries = entries_for_raft(load, from, (uint32_t)*n_entries);
    rl->vote_term = *term;
    rl->vote = *voted_for;
    return 0;
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct rl *rl = rl_of(io);
    (void)msecs;
    rl->tick = tick;
    rl->recv = recv;
    rl__start_members(rl); /* the log is loaded, nothing was done yet */
    return 0;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
    (void)io;
    (void)conf;
    return RAFT_INVALID; /* rl_bootstrap() writes the files itself */
}

static raft_time io_time(struct raft_io *io)
{
    return rl_of(io)->now_ms;
}

static int io_random(struct raft_io *io, int min, int max)
{
    return min + (int)rng_below(&rl_of(io)->rng, (uint64_t)(max - min) + 1);
}

void rl__io_init(struct rl *rl)
{
    rl->io = (struct raft_io){
        .version = 1,
        .impl = rl,
        .init = io_init,
        .close = io_close,
        .load = io_load,
        .start = io_start,
        .bootstrap = io_bootstrap,
        .recover = io_bootstrap,
        .set_term = io_set_term,
        .set_vote = io_set_vote,
        .send = io_send,
        .append = io_append,
        .truncate = io_truncate,
        .snapshot_put = io_snapshot_put,
        .snapshot_get = io_snapshot_get,
        .time = io_time,
        .random = io_random,
    };
}
