/* Who is not let in, over real sockets: each costs one clear line in the log, one count, and bounded memory;
 * the others do not notice. */
#include "tests/unit/cluster/busfix.h"

#include <sys/resource.h>

static enum io_kind backend; /* of the group that runs */

/* A bus of node 0 whose log is caught. */
static void begin_patient(struct busfix *f, uint32_t silence_ms)
{
    busfix_open_or_skip(f, backend);
    log_catch(f);
    f->silence_ms = silence_ms;
    busfix_plain(f, 1);
}

static void begin(struct busfix *f)
{
    begin_patient(f, 0);
}

static int say_hello(const struct bus_hello *h, int fd)
{
    struct buf out;
    buf_init(&out, MEM_TEST);
    raw_put_hello(&out, h);
    raw_send_buf(fd, &out);
    return fd;
}

/* A link of a node with that number, brought up by hand. */
static int raw_link(struct busfix *f, uint32_t number)
{
    int fd = raw_open(f, 0);
    struct bus_hello h = raw_hello(f, fd, 1);
    h.node = (struct topo_id){{9, (uint8_t)number, (uint8_t)(number >> 8)}};
    say_hello(&h, fd);
    assert_true(raw_await(f, fd, BUS_HELLO_OK, NULL));
    return fd;
}

/* It was refused like that, once, with one line that says `text`; then the rest of the world goes on. */
static void end(struct busfix *f, enum bus_refusal refusal, const char *text)
{
    char name[64];
    busfix_await_refused(f, 0, refusal, 1);
    for (enum bus_refusal r = 0; r < BUS_REFUSALS; r++)
        if (r != refusal) assert_int_equal(busfix_refused(f, 0, r), 0);
    struct bus_opts opts = busfix_opts(f, 1);
    busfix_start(f, 1, &opts);
    busfix_peer(f, 0, 1);
    busfix_link(f, 0, 1);
    (void)snprintf(name, sizeof name, "refused (%s)", bus_refusal_name(refusal));
    uint32_t before = f->at[0].ups;
    assert_true(before >= 1);
    busfix_close(f);
    /* Both at once: the same line. */
    char line[128];
    (void)snprintf(line, sizeof line, "%s: %s", name, text);
    assert_int_equal(log_caught(f, line), 1);
}

static void expect_closed(struct busfix *f, int fd)
{
    assert_false(raw_await(f, fd, 77, NULL));
    raw_close(fd);
}

/* The rejection says why in the same words as our log. */
static void expect_rejected(struct busfix *f, int fd, const char *text)
{
    struct buf body;
    buf_init(&body, MEM_TEST);
    assert_true(raw_await(f, fd, BUS_HELLO_REJECT, &body));
    assert_non_null(memmem(body.data, body.len, text, strlen(text)));
    buf_free(&body);
    expect_closed(f, fd);
}

static void test_wrong_cluster(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    struct bus_hello h = raw_hello(&f, fd, 1);
    h.cluster.bytes[0] = 2;
    expect_rejected(&f, say_hello(&h, fd), "it belongs to cluster 0200");
    end(&f, BUS_REFUSED_CLUSTER, "it belongs to cluster 0200");
}

static void test_replayed_hello(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    struct bus_hello recorded = raw_hello(&f, fd, 2);
    say_hello(&recorded, fd);
    assert_true(raw_await(&f, fd, BUS_HELLO_OK, NULL)); /* good where it was said */
    raw_close(fd);
    busfix_steps(&f, 20);
    assert_int_equal(f.at[0].ups, 1);
    assert_int_equal(f.at[0].downs, 1);
    fd = raw_open(&f, 0);
    (void)raw_hello(&f, fd, 2);
    expect_rejected(&f, say_hello(&recorded, fd), "challenge of another connection");
    assert_int_equal(f.at[0].ups, 1);
    end(&f, BUS_REFUSED_REPLAY, "its hello answers the challenge of another connection");
}

static void test_no_version_in_common(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    struct bus_hello h = raw_hello(&f, fd, 1);
    h.version_min = 5;
    h.version_max = 9;
    expect_rejected(&f, say_hello(&h, fd), "it speaks versions 5 to 9, we 1 to 1");
    end(&f, BUS_REFUSED_VERSION, "it speaks versions 5 to 9, we 1 to 1");
}

static void send_head(int fd, struct bus_head head, uint32_t length)
{
    struct buf out;
    buf_init(&out, MEM_TEST);
    bus_frame_put(&out, &head, bytes_view(NULL, 0));
    for (uint32_t i = 0; i < 4; i++)
        out.data[8 + i] = (uint8_t)(length >> (8 * i));
    raw_send_buf(fd, &out);
}

static void test_frame_of_an_unknown_version(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    send_head(fd, (struct bus_head){.version = 9, .type = BUS_HELLO}, 0);
    expect_closed(&f, fd);
    end(&f, BUS_REFUSED_VERSION, "a frame of another version than was agreed on");
}

static void test_oversized_frame_of_a_stranger(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    send_head(fd, (struct bus_head){.version = 1, .type = BUS_HELLO}, BUS_HELLO_BYTES_MAX + 1);
    expect_closed(&f, fd);
    end(&f, BUS_REFUSED_OVERSIZED, "a frame over the size limit");
}

static void test_oversized_frame_of_a_node(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_link(&f, 1);
    send_head(fd, (struct bus_head){.version = 1, .type = 1, .channel = BUS_RAFT},
              BUS_BODY_BYTES_MAX + 1);
    expect_closed(&f, fd);
    assert_int_equal(f.at[0].downs, 1);
    end(&f, BUS_REFUSED_OVERSIZED, "a frame over the size limit");
}

static void test_oversized_message_of_a_node(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_link(&f, 1);
    uint8_t *body = mem_zalloc(MEM_TEST, BUS_BODY_BYTES_MAX);
    uint16_t flags = BUS_FLAG_MORE;
    for (uint32_t i = 0; i <= BUS_MESSAGE_BYTES_MAX / BUS_BODY_BYTES_MAX; i++) {
        struct buf out;
        buf_init(&out, MEM_TEST);
        bus_frame_put(
            &out, &(struct bus_head){.version = 1, .type = 1, .flags = flags, .channel = BUS_META},
            bytes_view(body, BUS_BODY_BYTES_MAX));
        raw_send_buf(fd, &out);
        flags |= BUS_FLAG_CONTINUED;
        busfix_steps(&f, 5);
        assert_true(busfix_stats(&f, 0).assembly_bytes <= BUS_MESSAGE_BYTES_MAX);
    }
    mem_free(MEM_TEST, body, BUS_BODY_BYTES_MAX);
    expect_closed(&f, fd);
    assert_int_equal(busfix_stats(&f, 0).assembly_bytes, 0);
    end(&f, BUS_REFUSED_OVERSIZED, "a message over the size limit");
}

static void test_wrong_checksum(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    struct bus_hello h = raw_hello(&f, fd, 1);
    struct buf out;
    buf_init(&out, MEM_TEST);
    raw_put_hello(&out, &h);
    out.data[out.len - 1] ^= 1;
    raw_send_buf(fd, &out);
    expect_closed(&f, fd);
    end(&f, BUS_REFUSED_FRAME, "a frame with a wrong checksum");
}

static void test_what_speaks_something_else(void **state)
{
    (void)state;
    static const char tls[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more of it";
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    raw_send(fd, "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n", 28);
    expect_closed(&f, fd);
    end(&f, BUS_REFUSED_FRAME, "what it sends are no frames of this bus");
    begin(&f);
    fd = raw_open(&f, 0);
    raw_send(fd, tls, sizeof tls);
    expect_closed(&f, fd);
    end(&f, BUS_REFUSED_FRAME, "it speaks TLS, and this bus does not");
}

static void test_a_message_before_the_hello(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    struct buf out;
    buf_init(&out, MEM_TEST);
    bus_frame_put(&out, &(struct bus_head){.version = 1, .type = 1, .channel = BUS_RAFT},
                  BYTES_LIT("vote for me"));
    raw_send_buf(fd, &out);
    expect_closed(&f, fd);
    assert_int_equal(f.at[0].messages, 0);
    end(&f, BUS_REFUSED_FRAME, "a message before the hello is done");
}

static void test_an_earlier_life(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd[2];
    for (uint32_t i = 0; i < 2; i++) {
        fd[i] = raw_open(&f, 0);
        struct bus_hello h = raw_hello(&f, fd[i], 2);
        h.incarnation = 7 - i;
        say_hello(&h, fd[i]);
        if (i == 0) assert_true(raw_await(&f, fd[i], BUS_HELLO_OK, NULL));
    }
    expect_rejected(&f, fd[1], "an earlier life");
    assert_int_equal(f.at[0].downs, 0);
    raw_close(fd[0]);
    end(&f, BUS_REFUSED_INCARNATION, "an earlier life of a node that has a later one");
}

static void test_nodes_that_are_not_admitted(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    log_catch(&f);
    f.at[0].with_admit = f.at[0].refuse_all = true;
    busfix_plain(&f, 1);
    int fd = raw_open(&f, 0);
    struct bus_hello h = raw_hello(&f, fd, 2);
    expect_rejected(&f, say_hello(&h, fd), "a node that is not known here");
    f.at[0].refuse_all = false;
    end(&f, BUS_REFUSED_NODE, "a node that is not known here");
}

static void test_no_hello(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    int fd = raw_open(&f, 0);
    struct buf out;
    buf_init(&out, MEM_TEST);
    struct bus_hello h = raw_hello(&f, fd, 1);
    raw_put_hello(&out, &h);
    uint64_t start_ms = f.now_ms;
    /* A byte now and then does not help: it is the whole hello that has a limit of time. */
    for (size_t i = 0; i < out.len - 1 && busfix_refused(&f, 0, BUS_REFUSED_SLOW) == 0; i++) {
        raw_send(fd, out.data + i, 1);
        busfix_steps(&f, 20);
    }
    buf_free(&out);
    assert_in_range(f.now_ms - start_ms, 2800, 3400);
    expect_closed(&f, fd);
    end(&f, BUS_REFUSED_SLOW, "no hello within 3000 ms");
}

/* Half a frame each, and nothing more: they cost a place of BUS_STRANGERS_MAX and little memory, the oldest
 * makes room, and a node that says its hello gets in while they stand. */
static void test_a_crowd_of_half_frames(void **state)
{
    (void)state;
    enum { CROWD = 500 };
    struct busfix f;
    begin(&f);
    busfix_steps(&f, 5);
    uint64_t empty = mem_live_bytes(MEM_CLUSTER);
    uint64_t most = 0;
    int fds[CROWD];
    struct bus_opts opts = busfix_opts(&f, 1);
    for (uint32_t i = 0; i < CROWD; i++) {
        fds[i] = raw_open(&f, 0);
        send_head(fds[i], (struct bus_head){.version = 1, .type = BUS_HELLO}, BUS_HELLO_BYTES_MAX);
        if (i % 8 == 0) busfix_step(&f);
        assert_true(busfix_stats(&f, 0).strangers <= BUS_STRANGERS_MAX);
        uint64_t now = mem_live_bytes(MEM_CLUSTER);
        if (now > most) most = now;
        if (i == CROWD / 2) {
            busfix_start(&f, 1, &opts);
            busfix_peer(&f, 0, 1);
        }
        if (i > CROWD / 2 && f.at[1].bus != NULL && !busfix_linked(&f, 0, 1)) busfix_step(&f);
    }
    assert_true(busfix_linked(&f, 0, 1));
    print_message("%u strangers at once: %llu bytes\n", BUS_STRANGERS_MAX,
                  (unsigned long long)(most - empty));
    assert_true(most - empty < 1 << 20);
    busfix_steps(&f, 800);
    struct bus_stats stats = busfix_stats(&f, 0);
    assert_int_equal(stats.strangers, 0);
    assert_int_equal(stats.links, 1);
    assert_int_equal(stats.refused[BUS_REFUSED_CROWD] + stats.refused[BUS_REFUSED_SLOW], CROWD);
    assert_int_equal(f.at[0].downs, 0);
    for (uint32_t i = 0; i < CROWD; i++)
        raw_close(fds[i]);
    busfix_steps(&f, 2100); /* the summary comes when its time is over */
    busfix_close(&f);
    FILE *log = fopen(f.log_path, "r");
    assert_non_null(log);
    uint32_t lines = 0;
    uint32_t sums = 0;
    char line[512];
    while (fgets(line, sizeof line, log) != NULL) {
        lines += strstr(line, "refused (") != NULL;
        sums += strstr(line, "more links refused in the last 10 s") != NULL;
    }
    (void)fclose(log);
    assert_int_equal(log_caught(&f, "too many connections without a hello"), BUS_LOG_BURST);
    assert_int_equal(lines, 2 * BUS_LOG_BURST);
    assert_int_equal(sums, 2);
}

/* Connections at once: most are closed before they cost anything; the address of a peer does not stand in
 * line. */
static void test_a_burst_of_connections(void **state)
{
    (void)state;
    enum { BURST = 100 };
    struct busfix f;
    begin(&f);
    int fds[BURST];
    for (uint32_t i = 0; i < BURST; i++)
        fds[i] = raw_open(&f, 0);
    for (uint32_t i = 0; i < 50; i++)
        io_turn(f.io, 1000); /* and no tick */
    struct bus_stats stats = busfix_stats(&f, 0);
    assert_int_equal(stats.accepted, BURST);
    assert_int_equal(stats.strangers, BUS_ACCEPTS_PER_TICK);
    assert_int_equal(stats.refused[BUS_REFUSED_CROWD], BURST - BUS_ACCEPTS_PER_TICK);
    for (uint32_t i = 0; i < BURST; i++)
        raw_close(fds[i]);
    busfix_steps(&f, 50);
    assert_int_equal(busfix_stats(&f, 0).strangers, 0);
    assert_int_equal(bus_peer_add(f.at[0].bus, f.at[1].id, "127.0.0.1:1"), RC_OK);
    for (uint32_t i = 0; i < BURST / 2; i++)
        fds[i] = raw_open(&f, 0);
    for (uint32_t i = 0; i < 50; i++)
        io_turn(f.io, 1000);
    assert_int_equal(busfix_stats(&f, 0).strangers, BURST / 2);
    for (uint32_t i = 0; i < BURST / 2; i++)
        raw_close(fds[i]);
    busfix_close(&f);
    assert_int_equal(log_caught(&f, "too many connections at once"), BUS_LOG_BURST);
}

/* Messages that never end, over as many links as it takes: their sum is bounded, too. */
static void test_half_messages_of_many_nodes(void **state)
{
    (void)state;
    enum { NODES = 48 };
    struct busfix f;
    begin_patient(&f, 600000);
    int fds[NODES];
    uint64_t most = 0;
    uint8_t *body = mem_zalloc(MEM_TEST, BUS_BODY_BYTES_MAX);
    for (uint32_t i = 0; i < NODES; i++) {
        fds[i] = raw_link(&f, i);
        for (uint32_t part = 0; part < 16; part++) {
            for (uint16_t channel = BUS_RAFT; channel <= BUS_META; channel++) {
                struct buf out;
                buf_init(&out, MEM_TEST);
                uint16_t flags = part == 0 ? BUS_FLAG_MORE : BUS_FLAG_MORE | BUS_FLAG_CONTINUED;
                bus_frame_put(
                    &out,
                    &(struct bus_head){.version = 1, .type = 1, .flags = flags, .channel = channel},
                    bytes_view(body, BUS_BODY_BYTES_MAX));
                if (busfix_refused(&f, 0, BUS_REFUSED_MEMORY) == 0)
                    raw_send_buf(fds[i], &out);
                else
                    buf_free(&out);
                busfix_step(&f);
                uint64_t now = busfix_stats(&f, 0).assembly_bytes;
                if (now > most) most = now;
            }
        }
    }
    assert_true(most <= BUS_ASSEMBLY_BYTES_MAX);
    assert_true(most > BUS_ASSEMBLY_BYTES_MAX - BUS_BODY_BYTES_MAX);
    assert_true(busfix_refused(&f, 0, BUS_REFUSED_MEMORY) > 0);
    mem_free(MEM_TEST, body, BUS_BODY_BYTES_MAX);
    for (uint32_t i = 0; i < NODES; i++)
        raw_close(fds[i]);
    busfix_steps(&f, 50);
    assert_int_equal(busfix_stats(&f, 0).assembly_bytes, 0);
    busfix_close(&f);
    assert_int_equal(log_caught(&f, "no memory for half received messages is left"), 1);
}

static void test_too_many_guests(void **state)
{
    (void)state;
    static int fds[BUS_GUESTS_MAX + 1];
    const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail_msg("4,096 descriptors are needed");
    struct busfix f;
    begin_patient(&f, 600000);
    for (uint32_t i = 0; i < BUS_GUESTS_MAX; i++)
        fds[i] = raw_link(&f, i);
    assert_int_equal(f.at[0].ups, BUS_GUESTS_MAX);
    int fd = raw_open(&f, 0);
    struct bus_hello h = raw_hello(&f, fd, 3);
    expect_rejected(&f, say_hello(&h, fd), "too many nodes that are not known here");
    for (uint32_t i = 0; i < BUS_GUESTS_MAX; i++)
        raw_close(fds[i]);
    busfix_steps(&f, 50);
    assert_int_equal(busfix_stats(&f, 0).links, 0);
    end(&f, BUS_REFUSED_CROWD, "too many nodes that are not known here");
}

static void test_plain_text_stays_at_home(void **state)
{
    (void)state;
    struct busfix f;
    begin(&f);
    assert_int_equal(bus_peer_add(f.at[0].bus, f.at[2].id, "192.0.2.1:7000"), RC_OK);
    busfix_await_refused(&f, 0, BUS_REFUSED_TLS, 1);
    bus_peer_remove(f.at[0].bus, f.at[2].id);
    end(&f, BUS_REFUSED_TLS, "plain text would go to another machine: give tls-cert-file");
}

static void test_mode(void **state)
{
    (void)state;
    static const struct {
        enum bus_tls_wish wish;
        bool files;
        const char *bind;
        enum bus_mode mode;
        const char *remedy;
    } cases[] = {
        {BUS_TLS_UNSET, false, "127.0.0.1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_UNSET, false, "::1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_UNSET, false, "-::1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_UNSET, false, "10.1.2.3", BUS_MODE_REFUSED, "tls-cluster no"},
        {BUS_TLS_UNSET, false, "*", BUS_MODE_REFUSED, "cluster-bus-bind"},
        {BUS_TLS_UNSET, false, "somewhere", BUS_MODE_REFUSED, "tls-cert-file"},
        {BUS_TLS_UNSET, true, "127.0.0.1", BUS_MODE_TLS, ""},
        {BUS_TLS_UNSET, true, "*", BUS_MODE_TLS, ""},
        {BUS_TLS_YES, true, "8.8.8.8", BUS_MODE_TLS, ""},
        {BUS_TLS_YES, false, "127.0.0.1", BUS_MODE_REFUSED, "tls-cert-file"},
        {BUS_TLS_NO, true, "127.0.0.1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "10.1.2.3", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "172.31.0.1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "192.168.0.1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "100.64.0.1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "169.254.0.1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "fd00::1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "fe80::1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "::ffff:127.0.0.1", BUS_MODE_PLAIN, ""},
        {BUS_TLS_NO, false, "172.32.0.1", BUS_MODE_REFUSED, "cluster-bus-bind"},
        {BUS_TLS_NO, false, "2001:db8::1", BUS_MODE_REFUSED, "cluster-bus-bind"},
        {BUS_TLS_NO, false, "*", BUS_MODE_REFUSED, "cluster-bus-bind"},
        {BUS_TLS_NO, false, "::*", BUS_MODE_REFUSED, "cluster-bus-bind"},
    };
    for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
        const char *binds[] = {"127.0.0.1", cases[i].bind};
        char why[256] = "";
        enum bus_mode mode = bus_mode_of(cases[i].wish, cases[i].files, binds, 2, why, sizeof why);
        if (mode != cases[i].mode) fail_msg("%s: %d", cases[i].bind, (int)mode);
        assert_true((why[0] != '\0') == (mode == BUS_MODE_REFUSED));
        assert_non_null(strstr(why, cases[i].remedy));
    }
}

static void test_a_port_in_use(void **state)
{
    (void)state;
    struct busfix f;
    busfix_open_or_skip(&f, backend);
    busfix_plain(&f, 1);
    struct bus_opts opts = busfix_opts(&f, 1);
    static const char *const nowhere[] = {"-192.0.2.1"};
    char why[256] = "";
    opts.port = bus_port(f.at[0].bus);
    assert_int_equal(bus_open(&opts, &f.at[1].bus, why, sizeof why), RC_EXISTS);
    assert_non_null(strstr(why, "cluster-port"));
    assert_null(f.at[1].bus);
    opts.binds = nowhere;
    assert_int_equal(bus_open(&opts, &f.at[1].bus, why, sizeof why), RC_INVALID);
    assert_non_null(strstr(why, "cluster-bus-bind"));
    busfix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_cluster),
        cmocka_unit_test(test_replayed_hello),
        cmocka_unit_test(test_no_version_in_common),
        cmocka_unit_test(test_frame_of_an_unknown_version),
        cmocka_unit_test(test_oversized_frame_of_a_stranger),
        cmocka_unit_test(test_oversized_frame_of_a_node),
        cmocka_unit_test(test_oversized_message_of_a_node),
        cmocka_unit_test(test_wrong_checksum),
        cmocka_unit_test(test_what_speaks_something_else),
        cmocka_unit_test(test_a_message_before_the_hello),
        cmocka_unit_test(test_an_earlier_life),
        cmocka_unit_test(test_nodes_that_are_not_admitted),
        cmocka_unit_test(test_no_hello),
        cmocka_unit_test(test_a_crowd_of_half_frames),
        cmocka_unit_test(test_a_burst_of_connections),
        cmocka_unit_test(test_half_messages_of_many_nodes),
        cmocka_unit_test(test_too_many_guests),
        cmocka_unit_test(test_plain_text_stays_at_home),
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_a_port_in_use),
    };
    backend = IO_EPOLL;
    int failed = cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
    backend = IO_URING;
    return failed + cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);
}
