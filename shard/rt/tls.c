/* shard/rt/tls.c: OpenSSL between two memory BIOs. No session tickets, no resumption, no early data: links
 * are few and long, and without them no bytes of one connection mean anything in another. */
#include "shard/rt/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdio.h>

#include "shard/base/assert.h"

#define PIECE_BYTES 16384                 /* what a record of TLS holds at most */
#define CERTIFICATES_BYTES_MAX (32 << 10) /* of the other side's chain */
#define VERIFY_DEPTH_MAX 4

struct tls_context {
    SSL_CTX *server, *client;
};
struct tls {
    SSL *ssl;
    BIO *in, *out; /* ssl owns them */
    char why[160];
};

/* ---- contexts */

static const char *last_error(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e != 0 ? ERR_reason_error_string(e) : NULL;
    return text != NULL ? text : "unknown error of OpenSSL";
}

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static enum rc fail_file(const char *what, const char *path, char *why_out, size_t why_bytes)
{
    (void)snprintf(why_out, why_bytes, "%s %s: %s", what, path, last_error());
    return RC_INVALID;
}

/* Without one, OpenSSL would ask on the terminal. */
static int give_pass(char *into, int size, int writing, void *pass)
{
    (void)writing;
    const char *text = pass != NULL ? pass : "";
    size_t len = strlen(text);
    if (size < 0 || len > (size_t)size) return 0;
    memcpy(into, text, len);
    return (int)len;
}

static enum rc load_pair(SSL_CTX *ctx, const char *cert, const char *key, const char *pass,
                         char *why_out, size_t why_bytes)
{
    void *pass_copy = NULL;
    memcpy(&pass_copy, &pass, sizeof pass); /* it is only read */
    SSL_CTX_set_default_passwd_cb(ctx, give_pass);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, pass_copy);
    enum rc rc = RC_OK;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        rc = fail_file("certificate", cert, why_out, why_bytes);
    else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        rc = fail_file("key", key, why_out, why_bytes);
    else if (SSL_CTX_check_private_key(ctx) != 1)
        rc = fail_file("certificate does not fit key", key, why_out, why_bytes);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    return rc;
}

static enum rc set_rules(SSL_CTX *ctx, const struct tls_files *f, char *why_out, size_t why_bytes)
{
    const char *file = is_set(f->ca_file) ? f->ca_file : NULL;
    const char *dir = is_set(f->ca_dir) ? f->ca_dir : NULL;
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(ctx, VERIFY_DEPTH_MAX);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    (void)SSL_CTX_set_max_cert_list(ctx, CERTIFICATES_BYTES_MAX);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    (void)SSL_CTX_set_options(ctx,
                              SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    if (is_set(f->ciphersuites) && SSL_CTX_set_ciphersuites(ctx, f->ciphersuites) != 1)
        return fail_file("tls-ciphersuites", f->ciphersuites, why_out, why_bytes);
    if (SSL_CTX_load_verify_locations(ctx, file, dir) != 1)
        return fail_file("CA certificates", file != NULL ? file : dir, why_out, why_bytes);
    return RC_OK;
}

enum rc tls_context_new(const struct tls_files *files, struct tls_context **out, char *why_out,
                        size_t why_bytes)
{
    if (!is_set(files->cert) || !is_set(files->key) ||
        (!is_set(files->ca_file) && !is_set(files->ca_dir))) {
        (void)snprintf(
            why_out, why_bytes,
            "TLS needs tls-cert-file, tls-key-file and tls-ca-cert-file or tls-ca-cert-dir");
        return RC_INVALID;
    }
    ERR_clear_error();
    struct tls_context *c = mem_zalloc(MEM_RT, sizeof *c);
    bool own = is_set(files->client_cert) && is_set(files->client_key);
    enum rc rc = RC_NOMEM;
    c->server = SSL_CTX_new(TLS_server_method());
    c->client = SSL_CTX_new(TLS_client_method());
    if (c->server == NULL || c->client == NULL) goto out_free;
    rc = set_rules(c->server, files, why_out, why_bytes);
    if (rc == RC_OK) rc = set_rules(c->client, files, why_out, why_bytes);
    if (rc == RC_OK)
        rc = load_pair(c->server, files->cert, files->key, files->key_pass, why_out, why_bytes);
    if (rc == RC_OK)
        rc = load_pair(c->client, own ? files->client_cert : files->cert,
                       own ? files->client_key : files->key,
                       own ? files->client_key_pass : files->key_pass, why_out, why_bytes);
    if (rc != RC_OK) goto out_free;
    *out = c;
    return RC_OK;
out_free:
    tls_context_free(c);
    return rc;
}

void tls_context_free(struct tls_context *c)
{
    if (c == NULL) return;
    SSL_CTX_free(c->server); /* sessions count as references */
    SSL_CTX_free(c->client);
    mem_free(MEM_RT, c, sizeof *c);
}

/* ---- sessions */

struct tls *tls_new(struct tls_context *c, bool server)
{
    struct tls *t = mem_try_zalloc(MEM_RT, sizeof *t);
    if (t == NULL) return NULL;
    t->ssl = SSL_new(server ? c->server : c->client);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (t->ssl == NULL || t->in == NULL || t->out == NULL) goto out_free;
    (void)BIO_set_mem_eof_return(t->in, -1); /* empty means: not yet */
    (void)BIO_set_mem_eof_return(t->out, -1);
    SSL_set_bio(t->ssl, t->in, t->out);
    if (server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    return t;
out_free:
    SSL_free(t->ssl);
    BIO_free(t->in);
    BIO_free(t->out);
    mem_free(MEM_RT, t, sizeof *t);
    return NULL;
}

void tls_free(struct tls *t)
{
    if (t == NULL) return;
    SSL_free(t->ssl);
    mem_free(MEM_RT, t, sizeof *t);
}

bool tls_ready(const struct tls *t)
{
    return SSL_is_init_finished(t->ssl) == 1;
}

/* What SSL_get_error() is not content with, in words. */
static enum rc session_over(struct tls *t, int error, const char **why_out)
{
    if (error == SSL_ERROR_ZERO_RETURN) return RC_CLOSED;
    long verdict = SSL_get_verify_result(t->ssl);
    if (verdict != X509_V_OK && !tls_ready(t))
        (void)snprintf(t->why, sizeof t->why, "certificate refused: %s",
                       X509_verify_cert_error_string(verdict));
    else
        (void)snprintf(t->why, sizeof t->why, "%s", last_error());
    *why_out = t->why;
    return RC_INVALID;
}

static bool only_waits(int error)
{
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static enum rc shake(struct tls *t, const char **why_out)
{
    if (tls_ready(t)) return RC_OK;
    int n = SSL_do_handshake(t->ssl);
    int error = n == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, n);
    return n == 1 || only_waits(error) ? RC_OK : session_over(t, error, why_out);
}

enum rc tls_receive(struct tls *t, struct bytes in, bool (*plain)(void *ctx, struct bytes text),
                    void *ctx, const char **why_out)
{
    uint8_t piece[PIECE_BYTES / 2]; /* frames on our stacks stay ≤ 16 KiB */
    assert(in.len <= INT32_MAX);
    ERR_clear_error();
    if (in.len > 0 && BIO_write(t->in, in.data, (int)in.len) != (int)in.len) return RC_NOMEM;
    enum rc rc = shake(t, why_out);
    while (rc == RC_OK && tls_ready(t)) {
        int n = SSL_read(t->ssl, piece, sizeof piece);
        if (n > 0) {
            if (!plain(ctx, bytes_view(piece, (size_t)n))) return RC_OK;
            continue;
        }
        int error = SSL_get_error(t->ssl, n);
        if (only_waits(error)) break;
        rc = session_over(t, error, why_out);
    }
    return rc;
}

static bool drain(struct tls *t, struct buf *out)
{
    size_t waits = BIO_ctrl_pending(t->out);
    if (waits == 0) return true;
    if (!buf_try_room(out, waits)) return false;
    int n = BIO_read(t->out, out->data + out->len, (int)waits);
    assert(n == (int)waits);
    out->len += waits;
    return true;
}

enum rc tls_send(struct tls *t, struct bytes text, struct buf *out, const char **why_out)
{
    assert(text.len <= INT32_MAX);
    ERR_clear_error();
    enum rc rc = text.len == 0 ? shake(t, why_out) : RC_OK;
    if (text.len > 0) {
        assert(tls_ready(t));
        int n = SSL_write(t->ssl, text.data, (int)text.len);
        /* A memory BIO takes all. */
        if (n != (int)text.len) rc = session_over(t, SSL_get_error(t->ssl, n), why_out);
    }
    return drain(t, out) ? rc : RC_NOMEM;
}

void tls_each_name(const struct tls *t, bool (*each)(void *ctx, struct bytes name), void *ctx)
{
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (cert == NULL) return;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool more = true;
    for (int i = 0; more && names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS && name->type != GEN_URI) continue;
        const ASN1_STRING *text =
            name->type == GEN_DNS ? name->d.dNSName : name->d.uniformResourceIdentifier;
        more = each(ctx, bytes_view(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)));
    }
    GENERAL_NAMES_free(names);
}
