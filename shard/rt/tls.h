/* shard/rt/tls.h: TLS 1.3 with certificates on both sides, from bytes to bytes: nothing here reads or writes
 * a socket, so nothing waits. What comes from the network goes into tls_receive(), what tls_send() appends
 * goes out. A context and its sessions belong to one thread. */
#ifndef MOON_RT_TLS_H
#define MOON_RT_TLS_H

#include "shard/base/attr.h"
#include "shard/base/buf.h"
#include "shard/base/rc.h"

struct tls_context;
struct tls;

/* Paths of PEM files; NULL or "" is none. Read by tls_context_new() only. */
struct tls_files {
    const char *cert, *key, *key_pass; /* shown to who connects */
    const char *client_cert, *client_key,
        *client_key_pass;         /* to whom we connect; none: those above */
    const char *ca_file, *ca_dir; /* who may sign the other side's: one of both at least */
    const char *ciphersuites;     /* of TLS 1.3, as OpenSSL names them; none: its choice */
};
/* RC_INVALID: why_out names the file, or the setting by its directive. Blocking. */
MUST_CHECK enum rc tls_context_new(const struct tls_files *files, struct tls_context **out,
                                   char *why_out, size_t why_bytes);
/* Sessions made of it live on. NULL is fine. */
void tls_context_free(struct tls_context *c);

/* One side of one connection. NULL: no memory. */
MUST_CHECK struct tls *tls_new(struct tls_context *c, bool server);
void tls_free(struct tls *t); /* NULL is fine */

/* What the network brought; plain text goes to `plain` piece by piece, borrowed for the call, until it
 * returns false. Afterwards tls_send() has answers of the handshake, or the alert that says goodbye.
 * RC_CLOSED: the other side ended the session. RC_INVALID: it is over, *why_out says why (for people, valid
 * until the next call of tls_…). */
MUST_CHECK enum rc tls_receive(struct tls *t, struct bytes in,
                               bool (*plain)(void *ctx, struct bytes text), void *ctx,
                               const char **why_out);
/* Appends what is to be sent: `text` sealed (only once tls_ready()), and all of the handshake that waits.
 * RC_INVALID as above. */
MUST_CHECK enum rc tls_send(struct tls *t, struct bytes text, struct buf *out,
                            const char **why_out);
/* The handshake is done, the other side's certificate is good. */
bool tls_ready(const struct tls *t);
/* Each DNS name and URI that the other side's certificate is made out to; false ends it. */
void tls_each_name(const struct tls *t, bool (*each)(void *ctx, struct bytes name), void *ctx);

#endif
