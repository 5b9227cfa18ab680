/* tests/lib/certs.h: certificates for tests, made on the spot: a CA and what it signs, as PEM files. */
#ifndef MOON_TESTS_CERTS_H
#define MOON_TESTS_CERTS_H

#include <stdint.h>

#define CERTS_PATH_BYTES 128

struct certs {
    char dir[64]; /* made by certs_open(), removed with all in it by certs_close() */
    char ca[CERTS_PATH_BYTES];
    void *ca_cert, *ca_key;
    uint32_t made;
};
struct cert {
    char cert[CERTS_PATH_BYTES], key[CERTS_PATH_BYTES];
};
void certs_open(struct certs *c);
void certs_close(struct certs *c);
/* Made out to subjectAltName `names` as OpenSSL writes it ("DNS:a,URI:b"); NULL: to nobody. Valid from now
 * on for `seconds`; less than 0: it was until then. `pass`: the key is locked by it; NULL: it is not. */
struct cert certs_make(struct certs *c, const char *names, long seconds, const char *pass);

#endif
