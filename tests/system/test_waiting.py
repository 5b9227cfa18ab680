"""Connections that wait for room (in the mailbox of a busy shard, in the log of a slow disk) cost no CPU time
and no unbounded memory, and go on as soon as there is some."""
import os
import socket
import subprocess
import threading
import time

import pytest

from moonlib.resp import encode
from moonlib.server import start_moon
from moonlib.slots import key_on

IOS = ("epoll", "uring")
SLOW_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
/* Each write of a shard's disk thread takes a second. */
ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    ssize_t (*next)(int, const struct iovec *, int, off_t, int) = dlsym(RTLD_NEXT, "pwritev2");
    usleep(1000000);
    return next(fd, iov, count, offset, flags);
}
"""


def cpu_seconds(pid, thread):
    """Of the threads of that name."""
    ticks = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii") as f:
            name, rest = f.read().rsplit(")", 1)
        if name.endswith("(" + thread):
            ticks += sum(map(int, rest.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def by_shard(node):
    """Two connections, the first on shard 0, the second on shard 1: they are dealt out in turn."""
    a, b = node.client(timeout=20), node.client(timeout=20)
    b.call("PING")
    a.send(encode(["DEBUG", "SLEEP", "0.3"]))
    time.sleep(0.05)
    start = time.monotonic()
    b.call("GET", key_on(0, 2))
    waited = time.monotonic() - start > 0.1
    assert a.read_raw() == b"+OK\r\n"
    return (a, b) if waited else (b, a)


def reader(c, count, errors):
    """Takes replies while the test still sends."""
    def run():
        try:
            for _ in range(count):
                reply = c.read_raw()
                assert not reply.startswith(b"-"), reply
        except BaseException as error:  # pylint: disable=broad-except
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("bytes_each", (10, 15_000))
@pytest.mark.parametrize("io", IOS)
def test_who_waits_for_a_busy_shard_sleeps(io, bytes_each):
    """Many small requests use up the credit, some of 15 KB the ring itself."""
    count = 12000 if bytes_each < 1000 else 400
    with start_moon(shards=2, io=io, args=["--enable-debug-command", "yes"]) as node:
        on_zero, on_one = by_shard(node)
        errors = []
        thread = reader(on_zero, count, errors)
        on_one.send(encode(["DEBUG", "SLEEP", "1.5"]))
        time.sleep(0.1)
        on_zero.send(encode(["SET", key_on(1, 2), b"v" * bytes_each]) * count)
        time.sleep(0.2)
        before, since = cpu_seconds(node.pid, "shard-0"), time.monotonic()
        time.sleep(1)
        spent, passed = cpu_seconds(node.pid, "shard-0") - before, time.monotonic() - since
        assert spent < 0.2 * passed, spent
        assert on_one.read_raw() == b"+OK\r\n"
        woken = time.monotonic()
        thread.join(20)
        assert not thread.is_alive() and not errors, errors
        assert time.monotonic() - woken < 0.9, "not woken"  # the longest sleep is a second


@pytest.mark.parametrize("io", IOS)
def test_no_wake_is_missed_under_full_mailboxes(io):
    """Both shards ask each other for more than their rings hold, for a while: no reply takes a second."""
    with start_moon(shards=2, io=io, args=["--enable-debug-command", "yes"]) as node:
        pair = by_shard(node)
        errors, threads = [], []
        slowest = [0.0, 0.0]

        def run(i):
            try:
                c, request = pair[i], encode(["SET", key_on(1 - i, 2), b"v" * 15_000])
                until = time.monotonic() + 3
                while time.monotonic() < until:
                    start = time.monotonic()
                    thread = reader(c, 300, errors)
                    c.send(request * 300)
                    thread.join()
                    slowest[i] = max(slowest[i], time.monotonic() - start)
            except BaseException as error:  # pylint: disable=broad-except
                errors.append(error)

        for i in range(2):
            threads.append(threading.Thread(target=run, args=(i,)))
            threads[-1].start()
        for t in threads:
            t.join()
        assert not errors, errors
        assert max(slowest) < 0.8, slowest


@pytest.mark.parametrize("io", IOS)
def test_large_requests_for_a_busy_shard_are_not_gathered(io):
    with start_moon(shards=2, io=io, args=["--enable-debug-command", "yes"]) as node:
        on_zero, on_one = by_shard(node)
        key, size, count = key_on(1, 2), 10 << 20, 30
        on_zero.call("SET", key, b"v" * size)
        before = rss_bytes(node.pid)
        on_one.send(encode(["DEBUG", "SLEEP", "1.5"]))
        time.sleep(0.1)
        errors = []
        sender = threading.Thread(target=on_zero.send, args=(encode(["SET", key, b"w" * size]) * count,))
        sender.start()
        most, until = 0, time.monotonic() + 1
        while time.monotonic() < until:
            most = max(most, rss_bytes(node.pid) - before)
            time.sleep(0.01)
        assert most < 80 << 20, most
        thread = reader(on_zero, count, errors)
        sender.join()
        thread.join(20)
        assert not thread.is_alive() and not errors, errors
        assert on_one.read_raw() == b"+OK\r\n"
        assert on_one.call("GET", key) == b"w" * size


@pytest.fixture(scope="module", name="slow_disk")
def fixture_slow_disk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    (folder / "slow.c").write_text(SLOW_DISK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "slow.so", folder / "slow.c", "-ldl"], check=True)
    return str(folder / "slow.so")


@pytest.mark.parametrize("shards", (1, 2))
def test_who_waits_for_a_slow_disk_sleeps(monkeypatch, slow_disk, shards):
    monkeypatch.setenv("LD_PRELOAD", slow_disk)
    # A node under ASan: it wants to be loaded first.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")
    with start_moon(shards=shards, io="epoll", appendonly="yes") as node:
        monkeypatch.delenv("LD_PRELOAD")
        value = b"v" * (1 << 20)
        socks = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(4)]

        def send(s):
            s.sendall(encode(["SET", "k", value]) * 20)

        senders = [threading.Thread(target=send, args=(s,), daemon=True) for s in socks]
        for t in senders:
            t.start()
        time.sleep(1)
        before, since = sum(cpu_seconds(node.pid, f"shard-{i}") for i in range(shards)), time.monotonic()
        time.sleep(2)
        spent = sum(cpu_seconds(node.pid, f"shard-{i}") for i in range(shards)) - before
        assert spent < 0.2 * (time.monotonic() - since), spent
        for s in socks:
            s.settimeout(60)
            got = b""
            while len(got) < len(b"+OK\r\n") * 20:
                got += s.recv(1000)
            assert got == b"+OK\r\n" * 20
        for t in senders:
            t.join()
