/* A connection to a node: name resolution, TCP or Unix. */
#include "cli/connect.h"

#include "shard/base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int open_one(int family, const struct sockaddr *to, socklen_t to_len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int on = 1;
    if (family != AF_UNIX) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, to, to_len) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int open_unix(const char *path, const char **why_out)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof to.sun_path) {
        *why_out = "the socket's path is too long";
        return -1;
    }
    memcpy(to.sun_path, path, strlen(path) + 1);
    int fd = open_one(AF_UNIX, (const struct sockaddr *)&to, sizeof to);
    if (fd < 0) *why_out = strerrordesc_np(errno);
    return fd;
}

int connect_open(const char *host, uint16_t port, const char *path, const char **why_out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[8];
    int fd = -1;
    if (path != NULL) return open_unix(path, why_out);
    snprintf(service, sizeof service, "%u", (unsigned)port);
    int bad = getaddrinfo(host, service, &hints, &found);
    if (bad != 0) {
        *why_out = gai_strerror(bad);
        return -1;
    }
    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
        fd = open_one(a->ai_family, a->ai_addr, a->ai_addrlen);
    }
    if (fd < 0) *why_out = strerrordesc_np(errno);
    freeaddrinfo(found);
    return fd;
}
