/* Listeners: TCP addresses and the Unix socket. Worker 0 accepts and deals the connections out in turn,
 * so that a few connections spread evenly (SO_REUSEPORT would deal by hash). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/config.h"
#include "node/conn_priv.h"
#include "node/worker_priv.h"
#include "shard/base/log.h"
#include "shard/rt/sock.h"

struct door {
    struct io_listener listener;
    int fd;
    bool is_unix, accepts;
};
static struct door doors[CONFIG_BIND_MAX + 1];
static uint32_t doors_count;
static bool accepting; /* worker 0 */
static uint32_t next_worker;

static const char max_clients_error[] = "-ERR max number of clients reached\r\n";
static const char protected_error[] = "-DENIED Moon is running in protected mode because protected "
                                      "mode is enabled and no password is set for the "
                                      "default user. In this mode connections are only accepted "
                                      "from the loopback interface. To connect from other "
                                      "computers either set a password (CONFIG SET requirepass, or "
                                      "in the configuration file), or name the "
                                      "addresses to listen on with 'bind' and set 'protected-mode "
                                      "no' if your network is trusted.\r\n";

static void refuse(int fd, const char *text, size_t len)
{
    ssize_t ignored = write(fd, text, len); /* best effort: the peer is being turned away */
    (void)ignored;
    (void)close(fd);
}

static void on_accept(struct io_listener *l, int fd)
{
    struct door *d = container_of(l, struct door, listener);
    struct worker *w = worker_self();
    if (atomic_fetch_add_explicit(&node.clients, 1, memory_order_relaxed) >= config.maxclients) {
        atomic_fetch_sub_explicit(&node.clients, 1, memory_order_relaxed);
        stat_bump(&w->core.stats.connections_rejected, 1);
        refuse(fd, max_clients_error, sizeof max_clients_error - 1);
        return;
    }
    if (!d->is_unix && config.protected_mode && config.requirepass[0] == 0 &&
        !sock_peer_is_loopback(fd)) {
        atomic_fetch_sub_explicit(&node.clients, 1, memory_order_relaxed);
        stat_bump(&w->core.stats.connections_rejected, 1);
        refuse(fd, protected_error, sizeof protected_error - 1);
        return;
    }
    struct worker *to = node.workers[next_worker++ % node.shards];
    if (to == w || !place__hand_over(w, to, fd, d->is_unix)) worker_adopt(w, fd, d->is_unix);
}

/* At the start: how long the listener of a node that was killed just before may be left. */
#define BIND_WAIT_MS 2000u

static bool bind_tcp(const char *address, uint32_t wait_ms)
{
    /* "-::*": no error if the address is not there (Redis). */
    bool optional = address[0] == '-';
    int fd = sock_listen_tcp_wait(address + optional, (uint16_t)config.port,
                                  (int)config.tcp_backlog, wait_ms);
    if (fd < 0) {
        if (optional) return true;
        log_warning("net",
                    "cannot listen on %s port %u: %s. Is another server using it? Choose another "
                    "with --port.",
                    address, config.port, strerror(-fd));
        return false;
    }
    doors[doors_count++] = (struct door){.fd = fd};
    return true;
}

static bool bind_all_tcp(uint32_t wait_ms)
{
    if (config.port == 0) return true;
    for (uint32_t i = 0; i < config.bind_count; i++)
        if (!bind_tcp(config.bind[i], wait_ms)) return false;
    return true;
}

bool listen__bind(void)
{
    if (config.unixsocket[0] != 0) {
        int fd =
            sock_listen_unix(config.unixsocket, config.unixsocketperm, (int)config.tcp_backlog);
        if (fd < 0) {
            log_warning("net", "cannot listen on the Unix socket %s: %s", config.unixsocket,
                        strerror(-fd));
            return false;
        }
        doors[doors_count++] = (struct door){.fd = fd, .is_unix = true};
    }
    return bind_all_tcp(BIND_WAIT_MS);
}

bool listen__open(struct worker *w)
{
    accepting = true;
    for (uint32_t i = 0; i < doors_count; i++) {
        if (doors[i].accepts) continue;
        doors[i].listener.on_accept = on_accept;
        enum rc rc = w->core.io->ops->listen(w->core.io, &doors[i].listener, doors[i].fd);
        doors[i].accepts = rc == RC_OK;
        if (rc == RC_OK) continue;
        log_warning("net", "cannot accept connections: %s", rc_text(rc));
        return false;
    }
    return true;
}

static void close_doors(struct worker *w, bool tcp_only)
{
    uint32_t kept = 0;
    while (kept < doors_count && tcp_only && doors[kept].is_unix) /* bound first: it stays there */
        kept++;
    for (uint32_t i = kept; i < doors_count; i++)
        if (doors[i].accepts)
            w->core.io->ops->unlisten(w->core.io, &doors[i].listener);
        else
            (void)close(doors[i].fd);
    doors_count = kept;
}

void listen__close(struct worker *w)
{
    close_doors(w, false);
    if (config.unixsocket[0] != 0) (void)unlink(config.unixsocket);
}

/* The new addresses may cover the old ones, so those are given up first. */
bool listen__again(struct worker *w)
{
    close_doors(w, true);
    return bind_all_tcp(0) && (!accepting || listen__open(w));
}
