/* cli/connect.h: a connection to a node. Blocking until it stands, non-blocking afterwards. */
#ifndef MOON_CLI_CONNECT_H
#define MOON_CLI_CONNECT_H

#include "shard/base/attr.h"

#include <stdint.h>

/* path not NULL: the Unix socket there; else TCP to host (name or number), with TCP_NODELAY.
 * Returns the descriptor, owned by the caller, or -1 and *why_out (static text). */
MUST_CHECK int connect_open(const char *host, uint16_t port, const char *path,
                            const char **why_out);

#endif
