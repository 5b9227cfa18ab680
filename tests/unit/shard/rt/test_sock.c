/* Listening, connecting and naming, as the bind directive's addresses ask for. */
#include "shard/rt/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void wait_ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, 2000), 1);
}

static int accept_one(int listener)
{
    wait_ready(listener, POLLIN);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static bool have_ipv6(void)
{
    int fd = sock_listen_tcp("::1", 0, 1);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static void test_tcp_names(void **state)
{
    (void)state;
    char name[64], want[64], tiny[6];
    int listener = sock_listen_tcp("127.0.0.1", 0, 8);
    assert_true(listener >= 0);
    uint16_t port = sock_local_port(listener);
    assert_true(port > 0);
    assert_true((fcntl(listener, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(listener, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(option(listener, SOL_SOCKET, SO_REUSEADDR), 1);
    int client = sock_connect_tcp("127.0.0.1", port);
    assert_true(client >= 0);
    assert_true((fcntl(client, F_GETFL) & O_NONBLOCK) != 0);
    int server = accept_one(listener);
    snprintf(want, sizeof want, "127.0.0.1:%u", port);
    sock_local_name(server, name, sizeof name);
    assert_string_equal(name, want);
    wait_ready(client, POLLOUT);
    sock_peer_name(client, name, sizeof name);
    assert_string_equal(name, want);
    sock_peer_name(server, name, sizeof name);
    snprintf(want, sizeof want, "127.0.0.1:%u", sock_local_port(client));
    assert_string_equal(name, want);
    sock_peer_name(server, tiny, sizeof tiny);
    assert_string_equal(tiny, "127.0"); /* cut, and terminated */
    assert_true(sock_peer_is_loopback(server));
    sock_peer_name(listener, name, sizeof name);
    assert_string_equal(name, "?:0"); /* nobody there */
    assert_false(sock_peer_is_loopback(listener));
    close(client);
    close(server);
    assert_int_equal(sock_listen_tcp("127.0.0.1", port, 8), -EADDRINUSE);
    close(listener);
    listener = sock_listen_tcp("127.0.0.1", port, 8); /* at once, whatever TIME_WAIT is left */
    assert_true(listener >= 0);
    close(listener);
}

/* "*" and "::*" on one port: IPv6 must not take IPv4's. */
static void test_any_address(void **state)
{
    (void)state;
    char name[64], want[64];
    int v4 = sock_listen_tcp("*", 0, 8);
    assert_true(v4 >= 0);
    uint16_t port = sock_local_port(v4);
    snprintf(want, sizeof want, "0.0.0.0:%u", port);
    sock_local_name(v4, name, sizeof name);
    assert_string_equal(name, want);
    if (!have_ipv6()) {
        close(v4);
        print_message("no IPv6 here\n");
        return;
    }
    int v6 = sock_listen_tcp("::*", port, 8);
    assert_true(v6 >= 0);
    assert_int_equal(option(v6, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    int client = sock_connect_tcp("::1", port);
    int server = accept_one(v6);
    snprintf(want, sizeof want, "[::1]:%u", sock_local_port(client));
    sock_peer_name(server, name, sizeof name);
    assert_string_equal(name, want);
    assert_true(sock_peer_is_loopback(server));
    close(client);
    close(server);
    close(v4);
    close(v6);
}

static void test_bad_addresses(void **state)
{
    (void)state;
    assert_int_equal(sock_listen_tcp("192.0.2.1", 0, 1),
                     -EADDRNOTAVAIL); /* documentation only: not ours */
    assert_int_equal(sock_listen_tcp("300.1.1.1.example.invalid", 0, 1) < 0, 1);
    assert_true(sock_listen_tcp("", 0, 1) < 0);
    int any = sock_listen_tcp("localhost", 0, 1);
    assert_true(any >= 0);
    close(any);
}

static void test_options(void **state)
{
    (void)state;
    int listener = sock_listen_tcp("127.0.0.1", 0, 1);
    int fd = sock_connect_tcp("127.0.0.1", sock_local_port(listener));
    sock_set_nodelay(fd);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    sock_set_keepalive(fd, 300);
    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 300);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 100);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    sock_set_keepalive(fd, 1);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 1);
    sock_set_keepalive(fd, 0);
    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    close(fd);
    close(listener);
}

static void test_end_of_output(void **state)
{
    (void)state;
    int listener = sock_listen_tcp("127.0.0.1", 0, 1);
    int client = sock_connect_tcp("127.0.0.1", sock_local_port(listener));
    int server = accept_one(listener);
    char got[8];
    static uint8_t flood[4 << 20];
    assert_true(sock_all_received(server));
    ssize_t sent = send(server, flood, sizeof flood, MSG_DONTWAIT); /* more than it takes unread */
    assert_true(sent > 0);
    assert_false(sock_all_received(server));
    for (ssize_t at = 0; at < sent;) {
        ssize_t n = recv(client, flood, sizeof flood, 0);
        if (n > 0)
            at += n;
        else
            wait_ready(client, POLLIN);
    }
    assert_int_equal(write(server, "bye", 3), 3);
    sock_end_output(server);
    wait_ready(client, POLLIN);
    assert_int_equal(read(client, got, sizeof got), 3);
    wait_ready(client, POLLIN);
    assert_int_equal(read(client, got, sizeof got), 0); /* the end */
    for (uint32_t i = 0; i < 200 && !sock_all_received(server); i++)
        usleep(10000); /* the receipt may come late */
    assert_true(sock_all_received(server));
    assert_int_equal(write(client, "late", 4), 4); /* the other way is still open */
    wait_ready(server, POLLIN);
    assert_int_equal(read(server, got, sizeof got), 4);
    assert_true(sock_all_received(-1));
    close(server);
    close(client);
    close(listener);
}

static void test_unix(void **state)
{
    (void)state;
    char dir[] = "/tmp/moon-test-sock-XXXXXX", path[64], name[64], want[72], longer[300];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    int listener = sock_listen_unix(path, 0750, 8);
    assert_true(listener >= 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0750);
    assert_int_equal(sock_listen_unix(path, 0700, 8), -EADDRINUSE); /* somebody answers there */
    snprintf(want, sizeof want, "%s:0", path);
    sock_local_name(listener, name, sizeof name);
    assert_string_equal(name, want);
    int again = accept4(listener, NULL, NULL, SOCK_CLOEXEC); /* the question just asked */
    assert_true(again >= 0);
    sock_peer_name(again, name, sizeof name);
    assert_string_equal(name, want);
    assert_true(sock_peer_is_loopback(again));
    assert_int_equal(sock_local_port(again), 0);
    close(again);
    close(listener);
    listener = sock_listen_unix(path, 0, 8); /* left behind by a dead process: taken over */
    assert_true(listener >= 0);
    close(listener);
    assert_int_equal(unlink(path), 0);
    int file = open(path, O_CREAT | O_RDWR, 0600);
    assert_int_equal(sock_listen_unix(path, 0, 8), -EADDRINUSE); /* no socket: not ours to remove */
    close(file);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(sock_listen_unix(path, 0, 8), -ENOENT);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(sock_listen_unix(longer, 0, 8), -ENAMETOOLONG);
    assert_int_equal(sock_listen_unix("", 0, 8), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_names),     cmocka_unit_test(test_any_address),
        cmocka_unit_test(test_bad_addresses), cmocka_unit_test(test_options),
        cmocka_unit_test(test_end_of_output), cmocka_unit_test(test_unix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
