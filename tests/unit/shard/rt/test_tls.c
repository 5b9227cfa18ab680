/* Two sessions of TLS joined by buffers: handshake, bytes both ways, and everything that must not be let in. */
#include "shard/rt/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "shard/base/rng.h"
#include "tests/lib/certs.h"

struct side {
    struct tls *tls;
    struct buf out, got;
    enum rc rc;
    const char *why;
};

static bool on_plain(void *ctx, struct bytes text)
{
    buf_add_bytes(&((struct side *)ctx)->got, text);
    return true;
}

static struct tls_context *context(const struct cert *cert, const char *ca)
{
    char why[256] = "";
    struct tls_context *c = NULL;
    const struct tls_files files = {.cert = cert->cert, .key = cert->key, .ca_file = ca};
    if (tls_context_new(&files, &c, why, sizeof why) != RC_OK) fail_msg("%s", why);
    return c;
}

static void side_open(struct side *s, struct tls_context *c, bool server)
{
    *s = (struct side){.tls = tls_new(c, server)};
    assert_non_null(s->tls);
    buf_init(&s->out, MEM_TEST);
    buf_init(&s->got, MEM_TEST);
}

static void side_close(struct side *s)
{
    tls_free(s->tls);
    buf_free(&s->out);
    buf_free(&s->got);
}

static void side_send(struct side *s, struct bytes text)
{
    if (s->rc == RC_OK) s->rc = tls_send(s->tls, text, &s->out, &s->why);
}

/* What one side has written, in pieces of up to `most` bytes. */
static void carry(struct side *from, struct side *to, size_t most)
{
    for (size_t at = 0; at < from->out.len;) {
        size_t n = from->out.len - at < most ? from->out.len - at : most;
        if (to->rc == RC_OK)
            to->rc =
                tls_receive(to->tls, bytes_view(from->out.data + at, n), on_plain, to, &to->why);
        const char *why = NULL;
        enum rc rc =
            tls_send(to->tls, bytes_view(NULL, 0), &to->out, &why); /* answers, or an alert */
        if (to->rc == RC_OK) to->rc = rc;
        at += n;
    }
    from->out.len = 0;
}

static void shake(struct side *client, struct side *server, size_t most)
{
    side_send(client, bytes_view(NULL, 0));
    for (uint32_t i = 0; i < 4; i++) {
        carry(client, server, most);
        carry(server, client, most);
    }
}

static void test_bytes_both_ways(void **state)
{
    (void)state;
    const size_t pieces[] = {1, 7, 1000, SIZE_MAX};
    struct certs certs;
    certs_open(&certs);
    struct cert cert = certs_make(&certs, "DNS:a", 3600, NULL);
    struct tls_context *c = context(&cert, certs.ca);
    size_t size = 200000;
    uint8_t *big = mem_alloc(MEM_TEST, size);
    for (size_t i = 0; i < size; i++)
        big[i] = (uint8_t)(i * 13 + i / 251);
    for (uint32_t i = 0; i < COUNT_OF(pieces); i++) {
        struct side client;
        struct side server;
        side_open(&client, c, false);
        side_open(&server, c, true);
        shake(&client, &server, pieces[i]);
        assert_true(tls_ready(client.tls));
        assert_true(tls_ready(server.tls));
        side_send(&client, bytes_view(big, size));
        assert_null(memmem(client.out.data, client.out.len, big + 1000, 100)); /* sealed */
        carry(&client, &server, pieces[i]);
        assert_true(bytes_equal(buf_bytes(&server.got), bytes_view(big, size)));
        side_send(&server, BYTES_LIT("short"));
        carry(&server, &client, pieces[i]);
        assert_true(bytes_equal(buf_bytes(&client.got), BYTES_LIT("short")));
        assert_int_equal(client.rc, RC_OK);
        assert_int_equal(server.rc, RC_OK);
        side_close(&client);
        side_close(&server);
    }
    mem_free(MEM_TEST, big, size);
    tls_context_free(c);
    certs_close(&certs);
}

struct names {
    char text[128];
};

static bool add_name(void *ctx, struct bytes name)
{
    struct names *n = ctx;
    size_t len = strlen(n->text);
    (void)snprintf(n->text + len, sizeof n->text - len, "%.*s;", (int)name.len,
                   (const char *)name.data);
    return true;
}

static void test_names(void **state)
{
    (void)state;
    struct certs certs;
    certs_open(&certs);
    struct cert many =
        certs_make(&certs, "DNS:one,IP:127.0.0.1,URI:moon://two,email:x@y", 3600, NULL);
    struct cert none = certs_make(&certs, NULL, 3600, NULL);
    struct tls_context *with = context(&many, certs.ca);
    struct tls_context *without = context(&none, certs.ca);
    struct side client;
    struct side server;
    struct names names = {""};
    side_open(&client, without, false);
    side_open(&server, with, true);
    tls_each_name(client.tls, add_name, &names); /* not yet */
    assert_string_equal(names.text, "");
    shake(&client, &server, SIZE_MAX);
    tls_each_name(client.tls, add_name, &names);
    assert_string_equal(names.text, "one;moon://two;");
    names.text[0] = '\0';
    tls_each_name(server.tls, add_name, &names);
    assert_string_equal(names.text, "");
    side_close(&client);
    side_close(&server);
    tls_context_free(with); /* sessions are gone; and in the other order, too */
    tls_context_free(without);
    certs_close(&certs);
}

/* The side that has to refuse says `why`, and the other one hears of it. */
static void expect_refused(struct tls_context *client_context, struct tls_context *server_context,
                           bool by_server, const char *why)
{
    struct side client;
    struct side server;
    side_open(&client, client_context, false);
    side_open(&server, server_context, true);
    shake(&client, &server, SIZE_MAX);
    const struct side *refuses = by_server ? &server : &client;
    const struct side *hears = by_server ? &client : &server;
    assert_int_equal(refuses->rc, RC_INVALID);
    if (strstr(refuses->why, why) == NULL) fail_msg("not \"%s\" but \"%s\"", why, refuses->why);
    assert_int_equal(hears->rc, RC_INVALID);
    assert_non_null(strstr(hears->why, "alert"));
    assert_int_equal(server.got.len, 0);
    side_close(&client);
    side_close(&server);
}

static void test_certificates_that_are_refused(void **state)
{
    (void)state;
    struct certs certs;
    struct certs strange;
    certs_open(&certs);
    certs_open(&strange);
    struct cert good = certs_make(&certs, "DNS:a", 3600, NULL);
    struct cert over = certs_make(&certs, "DNS:a", -60, NULL);
    struct cert other = certs_make(&strange, "DNS:a", 3600, NULL);
    struct tls_context *c_good = context(&good, certs.ca);
    struct tls_context *c_over = context(&over, certs.ca);
    struct tls_context *c_other = context(&other, certs.ca); /* trusts ours, but is not ours */
    expect_refused(c_other, c_good, true, "unable to get local issuer certificate");
    expect_refused(c_good, c_other, false, "unable to get local issuer certificate");
    expect_refused(c_over, c_good, true, "certificate has expired");
    expect_refused(c_good, c_over, false, "certificate has expired");
    tls_context_free(c_good);
    tls_context_free(c_over);
    tls_context_free(c_other);
    certs_close(&certs);
    certs_close(&strange);
}

static void test_what_is_no_tls(void **state)
{
    (void)state;
    struct certs certs;
    certs_open(&certs);
    struct cert cert = certs_make(&certs, "DNS:a", 3600, NULL);
    struct tls_context *c = context(&cert, certs.ca);
    struct rng rng;
    rng_seed(&rng, 1);
    const char *const words[] = {"PING\r\nPING\r\n", "GET / HTTP/1.1\r\n\r\n"};
    for (uint32_t i = 0; i < COUNT_OF(words); i++) {
        struct side server;
        side_open(&server, c, true);
        server.rc = tls_receive(server.tls, bytes_of(words[i]), on_plain, &server, &server.why);
        assert_int_equal(server.rc, RC_INVALID);
        side_close(&server);
    }
    /* A damaged byte anywhere in the client's first words or in what follows. */
    for (uint32_t round = 0; round < 200; round++) {
        struct side client;
        struct side server;
        side_open(&client, c, false);
        side_open(&server, c, true);
        side_send(&client, bytes_view(NULL, 0));
        if (round % 2 == 1) {
            carry(&client, &server, SIZE_MAX);
            carry(&server, &client, SIZE_MAX);
        }
        client.out.data[rng_below(&rng, client.out.len)] ^= (uint8_t)(1 + rng_below(&rng, 255));
        carry(&client, &server, SIZE_MAX);
        carry(&server, &client, SIZE_MAX);
        carry(&client, &server, SIZE_MAX);
        assert_false(tls_ready(client.tls) && tls_ready(server.tls) && round % 2 == 0);
        assert_int_equal(server.got.len, 0);
        side_close(&client);
        side_close(&server);
    }
    tls_context_free(c);
    certs_close(&certs);
}

static void expect_no_context(const struct tls_files *files, const char *names)
{
    char why[256] = "";
    struct tls_context *c = NULL;
    assert_int_equal(tls_context_new(files, &c, why, sizeof why), RC_INVALID);
    assert_null(c);
    if (strstr(why, names) == NULL) fail_msg("no \"%s\" in \"%s\"", names, why);
}

static void test_files(void **state)
{
    (void)state;
    struct certs certs;
    certs_open(&certs);
    struct cert a = certs_make(&certs, "DNS:a", 3600, NULL);
    struct cert b = certs_make(&certs, "DNS:b", 3600, "secret");
    const struct tls_files good = {
        .cert = b.cert, .key = b.key, .key_pass = "secret", .ca_file = certs.ca};
    struct tls_files f = good;
    char why[256] = "";
    struct tls_context *c = NULL;
    assert_int_equal(tls_context_new(&f, &c, why, sizeof why), RC_OK);
    tls_context_free(c);
    f.key_pass = NULL; /* asks nobody */
    expect_no_context(&f, b.key);
    f.key_pass = "wrong";
    expect_no_context(&f, b.key);
    f = good;
    f.cert = "/nowhere.pem";
    expect_no_context(&f, "/nowhere.pem");
    f = good;
    f.cert = a.cert;
    expect_no_context(&f, b.key);
    f = good;
    f.ca_file = "/nowhere.pem";
    expect_no_context(&f, "/nowhere.pem");
    f = good;
    f.ciphersuites = "NOT_A_SUITE";
    expect_no_context(&f, "tls-ciphersuites");
    f.ciphersuites = "TLS_AES_256_GCM_SHA384";
    f.client_cert = a.cert;
    f.client_key = a.key;
    assert_int_equal(tls_context_new(&f, &c, why, sizeof why), RC_OK);
    tls_context_free(c);
    f = good;
    f.ca_file = NULL;
    expect_no_context(&f, "tls-ca-cert-file");
    certs_close(&certs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_both_ways),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_certificates_that_are_refused),
        cmocka_unit_test(test_what_is_no_tls),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
