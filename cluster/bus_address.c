/* Addresses of nodes, and whether plain text may go there. */
#include "cluster/bus_priv.h"

#include <stdio.h>

#include "shard/base/num.h"
#include "shard/rt/sock.h"

bool bus__address_split(const char *address, char *ip_out, size_t ip_bytes, uint16_t *port_out)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL) return false;
    uint64_t port = 0;
    if (!num_parse_u64(bytes_of(colon + 1), &port) || port < 1 || port > UINT16_MAX) return false;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    }
    if (len == 0 || len >= ip_bytes) return false;
    memcpy(ip_out, address, len);
    ip_out[len] = '\0';
    *port_out = (uint16_t)port;
    enum sock_scope scope = sock_scope_of(ip_out);
    return scope != SOCK_NO_ADDRESS && scope != SOCK_ANY;
}

static const char *bind_name(const char *bind)
{
    return bind[0] == '-' ? bind + 1 : bind; /* "-": may be missing */
}

/* The bind that reaches farthest; NULL: none. */
static const char *widest(const char *const *binds, uint32_t count, enum sock_scope *scope_out)
{
    const char *found = NULL;
    *scope_out = SOCK_NO_ADDRESS;
    for (uint32_t i = 0; i < count; i++) {
        const char *bind = bind_name(binds[i]);
        enum sock_scope scope = sock_scope_of(bind);
        if (scope == SOCK_NO_ADDRESS) scope = SOCK_PUBLIC; /* a name: who knows */
        if (scope <= *scope_out) continue;
        *scope_out = scope;
        found = bind;
    }
    return found;
}

enum bus_mode bus_mode_of(enum bus_tls_wish wish, bool has_files, const char *const *binds,
                          uint32_t binds_count, char *why_out, size_t why_bytes)
{
    enum sock_scope scope;
    const char *bind = widest(binds, binds_count, &scope);
    if (wish == BUS_TLS_YES || (wish == BUS_TLS_UNSET && has_files)) {
        if (has_files) return BUS_MODE_TLS;
        (void)snprintf(why_out, why_bytes,
                       "tls-cluster yes needs tls-cert-file, tls-key-file and tls-ca-cert-file or "
                       "tls-ca-cert-dir");
        return BUS_MODE_REFUSED;
    }
    if (bind == NULL || scope == SOCK_LOOPBACK) return BUS_MODE_PLAIN;
    if (wish == BUS_TLS_UNSET) {
        (void)snprintf(why_out, why_bytes,
                       "the cluster bus would speak plain text on %s: give tls-cert-file, "
                       "tls-key-file and tls-ca-cert-file, or bind it to loopback by "
                       "cluster-bus-bind, or write 'tls-cluster no' if that network is trusted",
                       bind);
        return BUS_MODE_REFUSED;
    }
    if (scope == SOCK_PRIVATE) return BUS_MODE_PLAIN;
    (void)snprintf(why_out, why_bytes,
                   "tls-cluster no lets the cluster bus speak plain text on loopback and private "
                   "addresses only, not on %s: name such addresses by cluster-bus-bind",
                   bind);
    return BUS_MODE_REFUSED;
}
