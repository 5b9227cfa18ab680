/* shard/rt/sock.c: making sockets. Addresses are those of the bind directive; names resolve by the
 * system's resolver, so only start-up and CONFIG SET bind should give any. */
#include "shard/rt/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "shard/base/assert.h"
#include "shard/base/attr.h"

#define WAIT_STEP_MS 10u

static void set_int(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* ---- listen and connect */

static int bind_and_listen(const struct addrinfo *a, int backlog)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0) return -errno;
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    /* IPv4 gets its own socket: "* -::*" must not collide with itself. */
    if (a->ai_family == AF_INET6) set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, backlog) == 0) return fd;
    int err = -errno;
    (void)close(fd);
    return err;
}

static int resolve_errno(int eai)
{
    if (eai == EAI_SYSTEM) return errno != 0 ? -errno : -EIO;
    if (eai == EAI_MEMORY) return -ENOMEM;
    if (eai == EAI_AGAIN) return -EAGAIN;
    return -EADDRNOTAVAIL;
}

static int resolve(const char *address, uint16_t port, bool passive, struct addrinfo **out)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)};
    if (strcmp(address, "*") == 0) {
        address = "0.0.0.0";
    } else if (strcmp(address, "::*") == 0) {
        address = "::";
    }
    if (strchr(address, ':') != NULL) hints.ai_family = AF_INET6;
    (void)snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(address, service, &hints, out);
    return rc == 0 ? 0 : resolve_errno(rc);
}

int sock_listen_tcp(const char *address, uint16_t port, int backlog)
{
    struct addrinfo *list = NULL;
    int fd = resolve(address, port, true, &list);
    if (fd < 0) return fd;
    fd = -EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
        fd = bind_and_listen(a, backlog);
    freeaddrinfo(list);
    return fd;
}

int sock_listen_tcp_wait(const char *address, uint16_t port, int backlog, uint32_t wait_ms)
{
    const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000};
    for (;;) {
        int fd = sock_listen_tcp(address, port, backlog);
        if (fd != -EADDRINUSE || wait_ms < WAIT_STEP_MS) return fd;
        (void)nanosleep(&step, NULL);
        wait_ms -= WAIT_STEP_MS;
    }
}

int sock_connect_tcp(const char *address, uint16_t port)
{
    struct addrinfo *list = NULL;
    int rc = resolve(address, port, false, &list);
    if (rc < 0) return rc;
    /* The first that lets us begin: how it ends is known only later, to the stream. */
    int result = -EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a != NULL && result < 0; a = a->ai_next) {
        int fd =
            socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
        if (fd < 0) {
            result = -errno;
            continue;
        }
        bool begun = connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS;
        result = begun ? fd : -errno;
        if (!begun) (void)close(fd);
    }
    freeaddrinfo(list);
    return result;
}

/* True if somebody listens there: then the file is not stale. */
static bool unix_answers(const struct sockaddr_un *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    bool answers = connect(fd, (const void *)name, sizeof *name) == 0 || errno == EAGAIN;
    (void)close(fd);
    return answers;
}

static int remove_stale(const struct sockaddr_un *name)
{
    struct stat st;
    if (lstat(name->sun_path, &st) != 0) return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode) || unix_answers(name)) return -EADDRINUSE;
    return unlink(name->sun_path) == 0 ? 0 : -errno;
}

int sock_listen_unix(const char *path, uint32_t mode, int backlog)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0) return -EINVAL;
    if (len >= sizeof name.sun_path) return -ENAMETOOLONG;
    memcpy(name.sun_path, path, len);
    int err = remove_stale(&name);
    if (err < 0) return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    if (bind(fd, (const void *)&name, sizeof name) != 0) goto out_close;
    /* Before listen(): nobody may slip in under the mode of the umask. */
    if (mode != 0 && chmod(path, (mode_t)mode) != 0) goto out_unlink;
    if (listen(fd, backlog) != 0) goto out_unlink;
    return fd;
out_unlink:
    err = -errno;
    (void)unlink(path);
    (void)close(fd);
    return err;
out_close:
    err = -errno;
    (void)close(fd);
    return err;
}

/* ---- options */

void sock_set_nodelay(int fd)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void sock_set_keepalive(int fd, uint32_t seconds)
{
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, seconds != 0);
    if (seconds == 0) return;
    int idle = seconds < INT32_MAX ? (int)seconds : INT32_MAX;
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, idle / 3 > 0 ? idle / 3 : 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

void sock_end_output(int fd)
{
    (void)shutdown(fd, SHUT_WR);
}

bool sock_all_received(int fd)
{
    int bytes = 0; /* the end itself counts as one, and its receipt comes late */
    return ioctl(fd, SIOCOUTQ, &bytes) != 0 || bytes <= 1;
}

/* ---- names */

union name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static bool name_get(int fd, bool peer, union name *out)
{
    socklen_t len = sizeof *out;
    memset(out, 0, sizeof *out);
    int rc = peer ? getpeername(fd, &out->any, &len) : getsockname(fd, &out->any, &len);
    return rc == 0;
}

static void name_print(const union name *n, char *out, size_t cap)
{
    char text[INET6_ADDRSTRLEN] = "?";
    if (n->any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &n->v4.sin_addr, text, sizeof text);
        (void)snprintf(out, cap, "%s:%u", text, ntohs(n->v4.sin_port));
    } else if (n->any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &n->v6.sin6_addr, text, sizeof text);
        (void)snprintf(out, cap, "[%s]:%u", text, ntohs(n->v6.sin6_port));
    } else if (n->any.sa_family == AF_UNIX) {
        (void)snprintf(out, cap, "%.*s:0", (int)sizeof n->local.sun_path, n->local.sun_path);
    } else {
        (void)snprintf(out, cap, "?:0");
    }
}

void sock_local_name(int fd, char *out, size_t cap)
{
    union name n;
    (void)name_get(fd, false, &n);
    name_print(&n, out, cap);
}

void sock_peer_name(int fd, char *out, size_t cap)
{
    union name n;
    (void)name_get(fd, true, &n);
    /* The client's end of a Unix connection has no name: show the one it connected to. */
    if (n.any.sa_family == AF_UNIX && n.local.sun_path[0] == '\0') (void)name_get(fd, false, &n);
    name_print(&n, out, cap);
}

bool sock_peer_is_loopback(int fd)
{
    union name n;
    if (!name_get(fd, true, &n)) return false;
    if (n.any.sa_family == AF_UNIX) return true;
    if (n.any.sa_family == AF_INET) return ntohl(n.v4.sin_addr.s_addr) >> 24 == 127;
    if (n.any.sa_family != AF_INET6) return false;
    const struct in6_addr *a = &n.v6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

uint16_t sock_local_port(int fd)
{
    union name n;
    if (!name_get(fd, false, &n)) return 0;
    if (n.any.sa_family == AF_INET) return ntohs(n.v4.sin_port);
    return n.any.sa_family == AF_INET6 ? ntohs(n.v6.sin6_port) : 0;
}

/* ---- scopes */

static enum sock_scope scope_v4(uint32_t a)
{
    if (a == 0) return SOCK_ANY;
    if (a >> 24 == 127) return SOCK_LOOPBACK;
    bool private = a >> 24 == 10 || a >> 20 == (172u << 4 | 1) || a >> 16 == (192u << 8 | 168) ||
                   a >> 22 == (100u << 2 | 1) || a >> 16 == (169u << 8 | 254);
    return private ? SOCK_PRIVATE : SOCK_PUBLIC;
}

static enum sock_scope scope_v6(const struct in6_addr *a)
{
    if (IN6_IS_ADDR_UNSPECIFIED(a)) return SOCK_ANY;
    if (IN6_IS_ADDR_LOOPBACK(a)) return SOCK_LOOPBACK;
    if (IN6_IS_ADDR_V4MAPPED(a)) {
        uint32_t v4 = 0;
        memcpy(&v4, a->s6_addr + 12, sizeof v4);
        return scope_v4(ntohl(v4));
    }
    bool private = IN6_IS_ADDR_LINKLOCAL(a) || (a->s6_addr[0] & 0xfe) == 0xfc;
    return private ? SOCK_PRIVATE : SOCK_PUBLIC;
}

enum sock_scope sock_scope_of(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(address, "*") == 0 || strcmp(address, "::*") == 0) return SOCK_ANY;
    if (inet_pton(AF_INET, address, &v4) == 1) return scope_v4(ntohl(v4.s_addr));
    if (inet_pton(AF_INET6, address, &v6) == 1) return scope_v6(&v6);
    return SOCK_NO_ADDRESS;
}
