/* Links over TLS: certificates that name their node, and those that do not. */
#include "tests/unit/cluster/busfix.h"

#include "shard/rt/tls.h"
#include "tests/lib/certs.h"

static enum io_kind backend; /* of the group that runs */

struct world {
    struct busfix f;
    struct certs certs, strange;
    struct tls_context *tls[BUSFIX_NODES];
};

static bool world_open(struct world *w)
{
    memset(w, 0, sizeof *w);
    if (!busfix_open(&w->f, backend)) {
        print_message("skipped: the kernel refuses io_uring\n");
        return false;
    }
    certs_open(&w->certs);
    certs_open(&w->strange);
    return true;
}

static void world_close(struct world *w)
{
    busfix_close(&w->f);
    for (uint32_t i = 0; i < BUSFIX_NODES; i++)
        tls_context_free(w->tls[i]);
    certs_close(&w->certs);
    certs_close(&w->strange);
}

static struct tls_context *context(const struct certs *ca, const struct cert *cert)
{
    char why[256] = "";
    struct tls_context *c = NULL;
    const struct tls_files files = {.cert = cert->cert, .key = cert->key, .ca_file = ca->ca};
    if (tls_context_new(&files, &c, why, sizeof why) != RC_OK) fail_msg("%s", why);
    return c;
}

/* Node n with a certificate for `names` signed by `by`; it trusts w->certs. */
static void start(struct world *w, uint32_t n, struct certs *by, const char *names,
                  const char *pattern)
{
    struct bus_opts opts = busfix_opts(&w->f, n);
    struct cert cert = certs_make(by, names, 3600, NULL);
    w->tls[n] = context(&w->certs, &cert);
    opts.tls = w->tls[n];
    opts.tls_name_pattern = pattern;
    busfix_start(&w->f, n, &opts);
}

static const char *id_name(const struct world *w, uint32_t n, char *into, size_t bytes)
{
    (void)snprintf(into, bytes, "DNS:%s", topo_id_hex(w->f.at[n].id).text);
    return into;
}

static void start_good(struct world *w, uint32_t n)
{
    char name[64];
    start(w, n, &w->certs, id_name(w, n, name, sizeof name), NULL);
}

static void test_links_and_messages(void **state)
{
    (void)state;
    struct world w;
    if (!world_open(&w)) skip();
    for (uint32_t i = 0; i < 3; i++)
        start_good(&w, i);
    for (uint32_t a = 0; a < 3; a++)
        for (uint32_t b = 0; b < 3; b++)
            if (a != b) busfix_peer(&w.f, a, b);
    busfix_steps(&w.f, 300);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(busfix_stats(&w.f, i).links, 2);
    uint8_t *body = mem_zalloc(MEM_TEST, BUS_MESSAGE_BYTES_MAX);
    for (uint64_t number = 1; number <= 20; number++) {
        size_t size = number % 7 == 0 ? BUS_MESSAGE_BYTES_MAX : 8 + number * 1000;
        memset(body, (int)number, size);
        memcpy(body, &number, sizeof number);
        assert_int_equal(bus_send(w.f.at[0].bus, w.f.at[1].id, BUS_RAFT, 1, bytes_view(body, size)),
                         RC_OK);
        for (uint32_t s = 0; s < 200 && w.f.at[1].messages < number; s++)
            busfix_step(&w.f);
        assert_true(bytes_equal(buf_bytes(&w.f.at[1].last), bytes_view(body, size)));
    }
    assert_int_equal(w.f.at[1].out_of_order, 0);
    mem_free(MEM_TEST, body, BUS_MESSAGE_BYTES_MAX);
    world_close(&w);
}

static void test_a_pattern_of_names(void **state)
{
    (void)state;
    struct world w;
    if (!world_open(&w)) skip();
    start(&w, 0, &w.certs, "DNS:moon-0.example.net", "moon-*.example.net");
    start(&w, 1, &w.certs, "DNS:x.example.net,URI:moon-1.example.net", "moon-*.example.net");
    busfix_peer(&w.f, 0, 1);
    busfix_link(&w.f, 0, 1);
    world_close(&w);
}

/* Node 1 with that certificate cannot get a link with node 0, in neither direction. */
static void expect_refused(struct world *w, enum bus_refusal refusal, const char *text)
{
    char line[160];
    log_catch(&w->f);
    busfix_peer(&w->f, 0, 1);
    for (uint32_t i = 0; i < 400 && busfix_refused(&w->f, 0, refusal) < 1; i++)
        busfix_step(&w->f);
    assert_true(busfix_refused(&w->f, 0, refusal) >= 1);
    (void)snprintf(line, sizeof line, "refused (%s): %s", bus_refusal_name(refusal), text);
    uint64_t by_accept = busfix_refused(&w->f, 0, refusal);
    bus_peer_remove(w->f.at[1].bus, w->f.at[0].id);
    busfix_steps(&w->f, 100);
    busfix_peer(&w->f, 1, 0);
    for (uint32_t i = 0; i < 400 && busfix_refused(&w->f, 0, refusal) <= by_accept; i++)
        busfix_step(&w->f);
    assert_true(busfix_refused(&w->f, 0, refusal) > by_accept);
    /* An acceptor that lets the other in has a link until it hears that the other does not. */
    bus_peer_remove(w->f.at[0].bus, w->f.at[1].id);
    busfix_steps(&w->f, 20);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(w->f.at[i].messages, 0);
        assert_int_equal(busfix_stats(&w->f, i).links, 0);
    }
    assert_int_equal(w->f.at[0].ups, 0);
    uint32_t lines = log_caught(&w->f, line);
    assert_in_range(lines, 2, 2 * BUS_LOG_BURST);
    start_good(w, 2); /* others come in */
    busfix_peer(&w->f, 2, 0);
    busfix_link(&w->f, 0, 2);
}

static void test_a_certificate_of_another_ca(void **state)
{
    (void)state;
    struct world w;
    char name[64];
    if (!world_open(&w)) skip();
    start_good(&w, 0);
    start(&w, 1, &w.strange, id_name(&w, 1, name, sizeof name), NULL);
    expect_refused(&w, BUS_REFUSED_TLS, "certificate refused: unable to get local issuer");
    world_close(&w);
}

static void test_a_certificate_of_another_node(void **state)
{
    (void)state;
    struct world w;
    char name[64];
    if (!world_open(&w)) skip();
    start_good(&w, 0);
    start(&w, 1, &w.certs, id_name(&w, 3, name, sizeof name),
          "*"); /* it lets anybody in, we do not */
    expect_refused(&w, BUS_REFUSED_NAME,
                   "its certificate is made out to 0404040404040404040404040404040404040404, and "
                   "it says it is node 0202");
    world_close(&w);
}

static void test_a_certificate_of_nobody(void **state)
{
    (void)state;
    struct world w;
    if (!world_open(&w)) skip();
    start_good(&w, 0);
    start(&w, 1, &w.certs, NULL, "*");
    expect_refused(&w, BUS_REFUSED_NAME, "its certificate is made out to nobody");
    world_close(&w);
}

static void test_plain_text_to_a_bus_with_tls(void **state)
{
    (void)state;
    struct world w;
    if (!world_open(&w)) skip();
    start_good(&w, 0);
    log_catch(&w.f);
    struct bus_opts opts = busfix_opts(&w.f, 1);
    busfix_start(&w.f, 1, &opts);
    /* Both wait for the other to begin. */
    busfix_peer(&w.f, 0, 1);
    busfix_await_refused(&w.f, 0, BUS_REFUSED_SLOW, 1);
    bus_peer_remove(w.f.at[1].bus, w.f.at[0].id);
    assert_int_equal(bus_peer_add(w.f.at[0].bus, w.f.at[1].id, w.f.at[1].address), RC_OK);
    busfix_await_refused(&w.f, 0, BUS_REFUSED_TLS, 1);
    busfix_await_refused(&w.f, 1, BUS_REFUSED_FRAME, 1);
    int fd = raw_open(&w.f, 0);
    raw_send(fd, "PING\r\n", 6);
    assert_false(raw_await(&w.f, fd, BUS_CHALLENGE, NULL));
    raw_close(fd);
    assert_int_equal(w.f.at[0].ups, 0);
    bus_peer_remove(w.f.at[0].bus, w.f.at[1].id);
    busfix_steps(&w.f, 20);
    world_close(&w);
    assert_int_equal(log_caught(&w.f, "it speaks TLS, and this bus does not"), 1);
}

/* Strangers who begin TLS and say no more: what each costs, with all that OpenSSL holds. */
static void test_a_crowd_of_half_handshakes(void **state)
{
    (void)state;
    enum { CROWD = 300 };
    struct world w;
    int fds[CROWD];
    if (!world_open(&w)) skip();
    start_good(&w, 0);
    log_catch(&w.f);
    struct tls *client = tls_new(w.tls[0], false);
    struct buf words;
    const char *why = NULL;
    buf_init(&words, MEM_TEST);
    assert_int_equal(tls_send(client, bytes_view(NULL, 0), &words, &why), RC_OK);
    for (uint32_t i = 0; i < CROWD; i++) {
        fds[i] = raw_open(&w.f, 0);
        /* All of the client's first words, so that the server has made its keys; or half of them. */
        raw_send(fds[i], words.data, i % 2 == 0 ? words.len : words.len / 2);
        busfix_step(&w.f);
        assert_true(busfix_stats(&w.f, 0).strangers <= BUS_STRANGERS_MAX);
    }
    start_good(&w, 1);
    busfix_peer(&w.f, 0, 1);
    busfix_link(&w.f, 0, 1);
    assert_true(busfix_refused(&w.f, 0, BUS_REFUSED_CROWD) >= CROWD - BUS_STRANGERS_MAX);
    for (uint32_t i = 0; i < CROWD; i++)
        raw_close(fds[i]);
    busfix_steps(&w.f, 800);
    assert_int_equal(busfix_stats(&w.f, 0).strangers, 0);
    assert_int_equal(busfix_stats(&w.f, 0).links, 1);
    tls_free(client);
    buf_free(&words);
    world_close(&w);
    assert_in_range(log_caught(&w.f, "too many connections without a hello"), 1, 2 * BUS_LOG_BURST);
}

static void test_certificates_are_changed_while_it_runs(void **state)
{
    (void)state;
    struct world w;
    char name[64];
    if (!world_open(&w)) skip();
    start_good(&w, 0);
    start_good(&w, 1);
    busfix_peer(&w.f, 0, 1);
    busfix_link(&w.f, 0, 1);
    struct cert cert = certs_make(&w.certs, id_name(&w, 0, name, sizeof name), 3600, NULL);
    struct tls_context *former = w.tls[0];
    w.tls[0] = context(&w.certs, &cert);
    bus_set_tls(w.f.at[0].bus, w.tls[0]);
    tls_context_free(former);
    busfix_steps(&w.f, 300); /* the link goes on */
    assert_true(busfix_linked(&w.f, 0, 1));
    assert_int_equal(w.f.at[0].ups, 1);
    start_good(&w, 2);
    busfix_peer(&w.f, 2, 0);
    busfix_link(&w.f, 0, 2);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links_and_messages),
        cmocka_unit_test(test_a_pattern_of_names),
        cmocka_unit_test(test_a_certificate_of_another_ca),
        cmocka_unit_test(test_a_certificate_of_another_node),
        cmocka_unit_test(test_a_certificate_of_nobody),
        cmocka_unit_test(test_plain_text_to_a_bus_with_tls),
        cmocka_unit_test(test_a_crowd_of_half_handshakes),
        cmocka_unit_test(test_certificates_are_changed_while_it_runs),
    };
    backend = IO_EPOLL;
    int failed = cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
    backend = IO_URING;
    return failed + cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);
}
