#include "tests/lib/certs.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shard/base/assert.h"

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert(e != NULL);
    int rc = X509_add_ext(cert, e, -1);
    assert(rc == 1);
    X509_EXTENSION_free(e);
}

static X509 *new_cert(EVP_PKEY *key, const char *name, long serial, long seconds)
{
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), seconds);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    return cert;
}

static void sign(X509 *cert, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    int bytes = X509_sign(cert, issuer_key, EVP_sha256());
    assert(bytes > 0);
}

static void write_cert(const char *path, X509 *cert)
{
    FILE *f = fopen(path, "w");
    assert(f != NULL);
    int rc = PEM_write_X509(f, cert);
    assert(rc == 1);
    (void)fclose(f);
}

static void write_key(const char *path, EVP_PKEY *key, const char *pass)
{
    FILE *f = fopen(path, "w");
    assert(f != NULL);
    int rc = PEM_write_PKCS8PrivateKey(f, key, pass != NULL ? EVP_aes_256_cbc() : NULL, pass,
                                       pass != NULL ? (int)strlen(pass) : 0, NULL, NULL);
    assert(rc == 1);
    (void)fclose(f);
}

void certs_open(struct certs *c)
{
    memset(c, 0, sizeof *c);
    (void)snprintf(c->dir, sizeof c->dir, "/tmp/moon-test-certs-XXXXXX");
    const char *dir = mkdtemp(c->dir); /* and the name of the CA: no two are alike */
    assert(dir != NULL);
    (void)snprintf(c->ca, sizeof c->ca, "%s/ca.pem", c->dir);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = new_cert(key, c->dir, 1, 3600);
    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
    sign(cert, cert, key);
    write_cert(c->ca, cert);
    c->ca_cert = cert;
    c->ca_key = key;
}

struct cert certs_make(struct certs *c, const char *names, long seconds, const char *pass)
{
    struct cert made;
    c->made++;
    (void)snprintf(made.cert, sizeof made.cert, "%s/%u.pem", c->dir, c->made);
    (void)snprintf(made.key, sizeof made.key, "%s/%u.key", c->dir, c->made);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = new_cert(key, "node", 1 + (long)c->made, seconds);
    if (names != NULL) add_extension(cert, c->ca_cert, NID_subject_alt_name, names);
    sign(cert, c->ca_cert, c->ca_key);
    write_cert(made.cert, cert);
    write_key(made.key, key, pass);
    X509_free(cert);
    EVP_PKEY_free(key);
    return made;
}

void certs_close(struct certs *c)
{
    char path[512];
    DIR *dir = opendir(c->dir);
    assert(dir != NULL);
    const struct dirent *e = NULL;
    while ((e = readdir(dir)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", c->dir, e->d_name);
        if (e->d_name[0] != '.') (void)unlink(path);
    }
    (void)closedir(dir);
    (void)rmdir(c->dir);
    X509_free(c->ca_cert);
    EVP_PKEY_free(c->ca_key);
}
