/* shard/rt/sock.h: sockets before they are streams: bind, listen, options, names. Blocking-free. */
#ifndef MOON_RT_SOCK_H
#define MOON_RT_SOCK_H

#include "shard/base/attr.h"
#include "shard/base/rc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Listening socket on a numeric or named address ("*" any IPv4, "::*" any IPv6), or -errno. */
int sock_listen_tcp(const char *address, uint16_t port, int backlog);
/* The same, but waits up to wait_ms for a port in use, blocking: for starts only. A process that was killed
 * leaves its listener to the kernel, which ends an io_uring some time after the process is reaped. */
int sock_listen_tcp_wait(const char *address, uint16_t port, int backlog, uint32_t wait_ms);
int sock_listen_unix(const char *path, uint32_t mode,
                     int backlog);                        /* removes a stale socket file */
int sock_connect_tcp(const char *address, uint16_t port); /* non-blocking; -errno */
void sock_set_nodelay(int fd);
void sock_set_keepalive(int fd, uint32_t seconds); /* 0: off; interval and count as Redis */
/* "127.0.0.1:6379", "[::1]:6379", "/path:0" for Unix; always terminated. */
void sock_peer_name(int fd, char *out, size_t cap);
void sock_local_name(int fd, char *out, size_t cap);
/* The peer reads the end after what was written; it may still be read from. */
void sock_end_output(int fd);
/* After sock_end_output(): the peer's machine has all that was written. True also if nobody knows. */
bool sock_all_received(int fd);
bool sock_peer_is_loopback(int fd); /* Unix sockets count as loopback */
uint16_t sock_local_port(int fd);

/* How far an address reaches. */
enum sock_scope {
    SOCK_NO_ADDRESS, /* not numeric, nor "*" or "::*" */
    SOCK_LOOPBACK,
    SOCK_PRIVATE, /* RFC 1918 and 6598, link-local, unique local */
    SOCK_PUBLIC,
    SOCK_ANY, /* of a listener: wherever this machine is reached */
};
enum sock_scope sock_scope_of(const char *address);

#endif
