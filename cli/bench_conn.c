/* Connections of the generator: batches go out, replies are skipped and counted.
 *
 *   ready list → load__start_batches: draw digits, one send
 *   on_data → take_replies: skip, count, one clock reading per turn
 *   last reply in and send done → back to the ready list
 *
 * A reply cut by the end of a receive buffer waits in `carry`; the next bytes are appended to it. */
#include "cli/bench_load_priv.h"

#include "cli/connect.h"
#include "shard/base/assert.h"
#include "shard/base/clock.h"
#include "shard/resp/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define RING_ENTRIES 1024u
#define RING_BUFFERS 1024u
#define RING_BUFFER_BYTES (16u << 10)

void load__fail(struct load_worker *w, enum cli_exit code, const char *fmt, ...)
{
    va_list args;
    if (w->failed != CLI_OK) return;
    w->failed = code;
    va_start(args, fmt);
    vsnprintf(w->why, sizeof w->why, fmt, args);
    va_end(args);
    atomic_store_explicit(&w->shared->stop, true, memory_order_relaxed);
}

static void push_ready(struct load_conn *c)
{
    struct load_worker *w = c->worker;
    c->next_ready = NULL;
    *w->ready_tail = c;
    w->ready_tail = &c->next_ready;
}

static struct load_conn *pop_ready(struct load_worker *w)
{
    struct load_conn *c = w->ready;
    w->ready = c->next_ready;
    if (w->ready == NULL) w->ready_tail = &w->ready;
    return c;
}

static void fill_wire(struct load_conn *c)
{
    const struct buf *one = &c->worker->plan->request->wire;
    for (uint32_t i = 0; i < c->worker->plan->pipeline; i++)
        memcpy(c->wire + i * one->len, one->data, one->len);
}

/* Called after every event of a busy connection: free again once both directions are done. */
static void settle(struct load_conn *c)
{
    if (c->outstanding > 0 || c->sending) return;
    if (c->authenticating) {
        c->authenticating = false;
        c->worker->unready_count--;
        fill_wire(c);
    }
    push_ready(c);
}

static void copy_line(char *out, size_t cap, const uint8_t *reply, size_t len)
{
    size_t n = 0;
    /* Past the '-', up to the line's end; what is not printable would garble a terminal. */
    for (size_t i = 1; i < len && reply[i] != '\r' && n + 1 < cap; i++) {
        out[n++] = (char)(reply[i] >= 32 && reply[i] < 127 ? reply[i] : '?');
    }
    out[n] = '\0';
}

static void note_error(struct load_conn *c, const uint8_t *reply, size_t len)
{
    struct load_worker *w = c->worker;
    if (w->measuring) w->errors++;
    if (w->first_error[0] == '\0') copy_line(w->first_error, sizeof w->first_error, reply, len);
    if (c->authenticating)
        load__fail(w, CLI_AUTH, "the password was refused: %.120s", w->first_error);
}

static bool is_null(const uint8_t *reply)
{
    return ((reply[0] == '$' || reply[0] == '*') && reply[1] == '-') || reply[0] == '_';
}

/* Counts the whole replies at the start of `in`; returns the bytes they took. */
static size_t take_replies(struct load_conn *c, const uint8_t *in, size_t len)
{
    struct load_worker *w = c->worker;
    size_t at = 0;
    uint32_t taken = 0;
    uint64_t nulls = 0;
    while (at < len) {
        int64_t reply_len = resp_value_skip(in + at, len - at);
        if (reply_len == 0) break;
        if (reply_len < 0 || taken == c->outstanding) {
            load__fail(w, CLI_FAILED, "the server sent what is no reply to any request");
            return len;
        }
        if (unlikely(in[at] == '-')) {
            note_error(c, in + at, (size_t)reply_len);
        } else if (unlikely(is_null(in + at))) {
            nulls++;
        }
        taken++;
        at += (size_t)reply_len;
    }
    c->outstanding -= taken;
    w->in_flight -= taken;
    atomic_store_explicit(&w->done, atomic_load_explicit(&w->done, memory_order_relaxed) + taken,
                          memory_order_relaxed);
    if (!w->measuring) return at;
    uint64_t waited_ns = w->turn_ns > c->start_ns ? w->turn_ns - c->start_ns : 0;
    for (uint32_t i = 0; i < taken; i++)
        stat_add(&w->latency, waited_ns);
    w->measured += taken;
    w->nulls += nulls;
    return at;
}

static void on_data(struct io_stream *s, const uint8_t *data, size_t len)
{
    struct load_conn *c = container_of(s, struct load_conn, stream);
    struct load_worker *w = c->worker;
    bool was_busy = c->outstanding > 0;
    if (w->failed != CLI_OK) return;
    /* All completions of a turn were there when it woke: the first reading is the truest. */
    if (w->turn_ns == 0) w->turn_ns = clock_mono_ns(&clock_real);
    if (c->carry.len == 0) {
        size_t used = take_replies(c, data, len);
        buf_add(&c->carry, data + used, len - used);
    } else {
        buf_add(&c->carry, data, len);
        buf_consume(&c->carry, take_replies(c, c->carry.data, c->carry.len));
    }
    if (was_busy) settle(c);
}

static void on_close(struct io_stream *s, int32_t err)
{
    struct load_conn *c = container_of(s, struct load_conn, stream);
    load__fail(c->worker, CLI_FAILED, "the server closed a connection%s%s", err != 0 ? ": " : "",
               err != 0 ? strerrordesc_np(-err) : "");
}

static void on_sent(struct io_stream *s, int32_t err)
{
    struct load_conn *c = container_of(s, struct load_conn, stream);
    c->sending = false;
    if (err == 0) settle(c);
    /* A failed send is followed by on_close, which says why. */
}

static void on_gone(struct io_stream *s)
{
    container_of(s, struct load_conn, stream)->worker->gone_count++;
}

static const struct io_stream_events stream_events = {
    .on_data = on_data, .on_close = on_close, .on_sent = on_sent, .on_gone = on_gone};

static void send_batch(struct load_conn *c, size_t bytes, uint32_t replies, uint64_t start_ns)
{
    assert(c->outstanding == 0);
    assert(!c->sending);
    c->outstanding = replies;
    c->worker->in_flight += replies;
    c->sending = true;
    c->start_ns = start_ns;
    io_stream_send(c->worker->io, &c->stream, c->wire, bytes);
}

static void start_batch(struct load_conn *c, uint64_t start_ns)
{
    struct load_worker *w = c->worker;
    const struct bench_request *r = w->plan->request;
    uint32_t count = w->quota < w->plan->pipeline ? (uint32_t)w->quota : w->plan->pipeline;
    uint8_t *wire = c->wire;
    for (uint32_t i = 0; i < count; i++, wire += r->wire.len) {
        if (w->plan->sequential) {
            bench_request_number(r, wire, w->sequence++);
        } else {
            bench_request_draw(r, wire, &w->rng);
        }
    }
    w->quota -= count;
    send_batch(c, count * r->wire.len, count, start_ns);
}

uint64_t load__start_batches(struct load_worker *w, uint64_t now_ns)
{
    while (w->ready != NULL && w->quota > 0) {
        uint64_t start_ns = now_ns;
        if (w->interval_ns > 0) {
            start_ns = w->schedule_ns + (uint64_t)((double)w->batches_due * w->interval_ns);
            if (start_ns > now_ns) return start_ns;
            w->batches_due++;
        }
        start_batch(pop_ready(w), start_ns);
    }
    return UINT64_MAX;
}

void load__turn(struct load_worker *w, int64_t wait_us)
{
    w->turn_ns = 0;
    (void)io_turn(w->io, wait_us);
}

/* "user:password" or "password" as AUTH with two words or one. */
static void build_auth(const char *auth, struct buf *out)
{
    const char *colon = strchr(auth, ':');
    const char *password = colon == NULL ? auth : colon + 1;
    buf_addf(out, "*%d\r\n$4\r\nAUTH\r\n", colon == NULL ? 2 : 3);
    if (colon != NULL)
        buf_addf(out, "$%zu\r\n%.*s\r\n", (size_t)(colon - auth), (int)(colon - auth), auth);
    buf_addf(out, "$%zu\r\n%s\r\n", strlen(password), password);
}

static void open_one(struct load_worker *w, struct load_conn *c, const struct buf *auth)
{
    const struct bench_target *t = &w->plan->target;
    const char *why = NULL;
    int fd = connect_open(t->host, t->port, t->path, &why);
    if (fd < 0) {
        if (t->path != NULL)
            load__fail(w, CLI_FAILED, "cannot connect to %.80s: %s", t->path, why);
        else
            load__fail(w, CLI_FAILED, "cannot connect to %.80s:%u: %s", t->host, (unsigned)t->port,
                       why);
        return;
    }
    c->stream.events = &stream_events;
    enum rc rc = io_stream_open(w->io, &c->stream, fd);
    if (rc != RC_OK) {
        close(fd);
        load__fail(w, CLI_FAILED, "cannot receive on a connection: %s", rc_text(rc));
        return;
    }
    c->opened = true;
    if (auth->len == 0) {
        fill_wire(c);
        push_ready(c);
        return;
    }
    memcpy(c->wire, auth->data, auth->len);
    c->authenticating = true;
    w->unready_count++;
    send_batch(c, auth->len, 1, clock_mono_ns(&clock_real));
}

void load__open(struct load_worker *w)
{
    const struct bench_plan *plan = w->plan;
    struct io_opts opts = {.kind = plan->io,
                           .entries = RING_ENTRIES,
                           .buffers = RING_BUFFERS,
                           .buffer_bytes = RING_BUFFER_BYTES};
    struct buf auth;
    w->ready_tail = &w->ready;
    enum rc rc = io_open(&opts, &w->io, &w->io_why);
    if (rc != RC_OK) {
        load__fail(w, CLI_FAILED, "cannot set up input and output: %s",
                   w->io_why != NULL ? w->io_why : rc_text(rc));
        return;
    }
    w->io_kind = w->io->ops->kind;
    buf_init(&auth, MEM_CONN);
    if (plan->target.auth != NULL) build_auth(plan->target.auth, &auth);
    w->wire_bytes = plan->pipeline * plan->request->wire.len;
    if (w->wire_bytes < auth.len) w->wire_bytes = auth.len;
    w->conns = mem_zalloc(MEM_CONN, w->conns_count * sizeof *w->conns);
    for (uint32_t i = 0; i < w->conns_count && w->failed == CLI_OK; i++) {
        struct load_conn *c = &w->conns[i];
        c->worker = w;
        buf_init(&c->carry, MEM_CONN);
        c->wire = mem_alloc(MEM_CONN, w->wire_bytes);
        open_one(w, c, &auth);
    }
    buf_free(&auth);
}

static void free_conns(struct load_worker *w)
{
    for (uint32_t i = 0; i < w->conns_count; i++) {
        struct load_conn *c = &w->conns[i];
        if (c->wire == NULL) break; /* opening stopped here */
        buf_free(&c->carry);
        mem_free(MEM_CONN, c->wire, w->wire_bytes);
    }
    mem_free(MEM_CONN, w->conns, w->conns_count * sizeof *w->conns);
    w->conns = NULL;
}

void load__close(struct load_worker *w)
{
    uint32_t opened = 0;
    if (w->io == NULL) return;
    for (uint32_t i = 0; i < w->conns_count && w->conns[i].opened; i++, opened++) {
        io_stream_close(w->io, &w->conns[i].stream);
    }
    while (w->gone_count < opened)
        load__turn(w, -1);
    free_conns(w);
    io_free(w->io);
    w->io = NULL;
}
