#include "tests/unit/cluster/busfix.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shard/base/log.h"
#include "shard/rt/sock.h"

#define STEP_MS 5u

/* ---- nodes */

static bool on_message(void *ctx, const struct bus_node *from, uint16_t channel, uint8_t type,
                       struct bytes body)
{
    struct busnode *n = ctx;
    n->messages++;
    n->from = *from;
    n->got_bytes += body.len;
    n->last.len = 0;
    buf_add_bytes(&n->last, body);
    n->last_channel = channel;
    n->last_type = type;
    if (channel == BUS_RAFT && body.len >= 8) {
        uint64_t number;
        memcpy(&number, body.data, sizeof number);
        if (number <= n->last_number) n->out_of_order++;
        n->last_number = number;
    }
    return type < 200;
}

static void on_link(void *ctx, const struct bus_node *node, bool up)
{
    struct busnode *n = ctx;
    (void)node;
    if (up)
        n->ups++;
    else
        n->downs++;
}

static bool on_admit(void *ctx, const struct bus_node *node)
{
    const struct busnode *n = ctx;
    (void)node;
    return !n->refuse_all;
}

bool busfix_open(struct busfix *f, enum io_kind kind)
{
    memset(f, 0, sizeof *f);
    const struct io_opts opts = {
        .kind = kind, .entries = 256, .buffers = 64, .buffer_bytes = 16384};
    const char *why = NULL;
    enum rc rc = io_open(&opts, &f->io, &why);
    if (rc == RC_UNSUPPORTED) return false;
    assert_int_equal(rc, RC_OK);
    f->now_ms = 1000000;
    for (uint32_t i = 0; i < BUSFIX_NODES; i++) {
        memset(f->at[i].id.bytes, (int)(i + 1), sizeof f->at[i].id.bytes);
        buf_init(&f->at[i].last, MEM_TEST);
    }
    return true;
}

void busfix_open_or_skip(struct busfix *f, enum io_kind kind)
{
    if (busfix_open(f, kind)) return;
    print_message("skipped: the kernel refuses io_uring\n");
    skip();
}

void busfix_open_linked(struct busfix *f, enum io_kind kind, uint32_t dialler, uint32_t other)
{
    busfix_open_or_skip(f, kind);
    busfix_plain(f, 2);
    busfix_peer(f, dialler, other);
    busfix_link(f, 0, 1);
}

void busfix_close(struct busfix *f)
{
    for (uint32_t i = 0; i < BUSFIX_NODES; i++) {
        if (f->at[i].bus != NULL) busfix_stop(f, i);
        buf_free(&f->at[i].last);
    }
    io_turn(f->io, 0);
    io_free(f->io);
    assert_int_equal(mem_live_bytes(MEM_CLUSTER), 0);
}

struct bus_opts busfix_opts(struct busfix *f, uint32_t n)
{
    static const char *const binds[] = {"127.0.0.1"};
    return (struct bus_opts){
        .io = f->io,
        .now_ms = f->now_ms,
        .cluster = {{1}},
        .node = f->at[n].id,
        .incarnation = 1,
        .events = {.on_message = on_message,
                   .on_link = on_link,
                   .admit = f->at[n].with_admit ? on_admit : NULL,
                   .ctx = &f->at[n]},
        .binds = binds,
        .binds_count = 1,
        .silence_ms = f->silence_ms,
    };
}

void busfix_start(struct busfix *f, uint32_t n, const struct bus_opts *opts)
{
    char why[256] = "";
    enum rc rc = bus_open(opts, &f->at[n].bus, why, sizeof why);
    if (rc != RC_OK) fail_msg("bus_open: %s", why);
    (void)snprintf(f->at[n].address, sizeof f->at[n].address, "127.0.0.1:%u",
                   bus_port(f->at[n].bus));
}

void busfix_stop(struct busfix *f, uint32_t n)
{
    bus_close(f->at[n].bus);
    f->at[n].bus = NULL;
}

void busfix_plain(struct busfix *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct bus_opts opts = busfix_opts(f, i);
        busfix_start(f, i, &opts);
    }
}

void busfix_peer(struct busfix *f, uint32_t n, uint32_t of)
{
    assert_int_equal(bus_peer_add(f->at[of].bus, f->at[n].id, f->at[n].address), RC_OK);
}

void busfix_step(struct busfix *f)
{
    io_turn(f->io, 300);
    f->now_ms += STEP_MS;
    for (uint32_t i = 0; i < BUSFIX_NODES; i++)
        if (f->at[i].bus != NULL) bus_tick(f->at[i].bus, f->now_ms);
}

void busfix_steps(struct busfix *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        busfix_step(f);
}

bool busfix_linked(const struct busfix *f, uint32_t a, uint32_t b)
{
    return bus_find(f->at[a].bus, f->at[b].id) != NULL &&
           bus_find(f->at[b].bus, f->at[a].id) != NULL;
}

void busfix_link(struct busfix *f, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < 5000 / STEP_MS && !busfix_linked(f, a, b); i++)
        busfix_step(f);
    assert_true(busfix_linked(f, a, b));
}

struct bus_stats busfix_stats(const struct busfix *f, uint32_t n)
{
    struct bus_stats stats;
    bus_stats(f->at[n].bus, &stats);
    return stats;
}

uint64_t busfix_refused(const struct busfix *f, uint32_t n, enum bus_refusal r)
{
    return busfix_stats(f, n).refused[r];
}

void busfix_await_refused(struct busfix *f, uint32_t n, enum bus_refusal r, uint64_t count)
{
    for (uint32_t i = 0; i < 8000 / STEP_MS && busfix_refused(f, n, r) < count; i++)
        busfix_step(f);
    assert_int_equal(busfix_refused(f, n, r), count);
}

/* ---- raw connections */

int raw_open(const struct busfix *f, uint32_t n)
{
    int fd = sock_connect_tcp("127.0.0.1", bus_port(f->at[n].bus));
    assert_true(fd >= 0);
    return fd;
}

void raw_send(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

void raw_send_buf(int fd, struct buf *b)
{
    raw_send(fd, b->data, b->len);
    buf_free(b);
}

void raw_close(int fd)
{
    (void)close(fd);
}

/* What waits on fd, a frame after the other; a frame may be half there. */
bool raw_await(struct busfix *f, int fd, uint8_t type, struct buf *body)
{
    uint8_t frame[4096];
    for (uint32_t i = 0; i < 8000 / STEP_MS; i++) {
        busfix_step(f);
        ssize_t n = recv(fd, frame, BUS_FRAME_HEAD_BYTES, MSG_PEEK | MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return false;
        if (n < (ssize_t)BUS_FRAME_HEAD_BYTES) continue;
        size_t whole = BUS_FRAME_HEAD_BYTES + frame[8] + (size_t)frame[9] * 256;
        assert_true(whole <= sizeof frame);
        if (recv(fd, frame, whole, MSG_PEEK | MSG_DONTWAIT) < (ssize_t)whole) continue;
        assert_int_equal(recv(fd, frame, whole, 0), whole);
        if (frame[3] != type) continue;
        if (body != NULL) buf_add(body, frame + BUS_FRAME_HEAD_BYTES, whole - BUS_FRAME_HEAD_BYTES);
        return true;
    }
    fail_msg("neither closed nor answered");
    return false;
}

struct bus_hello raw_hello(struct busfix *f, int fd, uint32_t n)
{
    struct buf body;
    struct wire_pool pool;
    struct bus_challenge challenge;
    const char *why = NULL;
    buf_init(&body, MEM_TEST);
    wire_pool_init(&pool);
    assert_true(raw_await(f, fd, BUS_CHALLENGE, &body));
    assert_int_equal(wire_decode(&bus_challenge_wire, buf_bytes(&body), &pool, &challenge, &why),
                     RC_OK);
    buf_free(&body);
    wire_pool_free(&pool);
    return (struct bus_hello){.answer = challenge.nonce,
                              .nonce = {{7}},
                              .version_min = 1,
                              .version_max = 1,
                              .cluster = {{1}},
                              .node = f->at[n].id,
                              .incarnation = 1};
}

void raw_put_hello(struct buf *out, const struct bus_hello *h)
{
    struct buf body;
    buf_init(&body, MEM_TEST);
    assert_int_equal(wire_encode(&bus_hello_wire, h, &body), RC_OK);
    bus_frame_put(out, &(struct bus_head){.version = 1, .type = BUS_HELLO}, buf_bytes(&body));
    buf_free(&body);
}

/* ---- the log */

void log_catch(struct busfix *f)
{
    (void)snprintf(f->log_path, sizeof f->log_path, "/tmp/moon-test-bus-XXXXXX");
    int fd = mkstemp(f->log_path);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_true(log_open(f->log_path, LOG_VERBOSE, LOG_TEXT));
}

uint32_t log_caught(struct busfix *f, const char *text)
{
    char line[1024];
    uint32_t count = 0;
    FILE *file = fopen(f->log_path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        if (strstr(line, text) != NULL) count++;
    (void)fclose(file);
    assert_true(log_open(NULL, LOG_WARNING, LOG_TEXT));
    (void)unlink(f->log_path);
    return count;
}
