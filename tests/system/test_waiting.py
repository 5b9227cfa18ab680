"""Connections that wait for room (in the mailbox of a busy shard, in the log of a slow disk) cost no CPU time
and no unbounded memory, and go on as soon as there is some."""
import os
import select
import socket
import subprocess
import threading
import time

import pytest

from moonlib.pair import shard_of_conn
from moonlib.resp import encode
from moonlib.server import start_moon
from moonlib.slots import key_on
from moonlib.watch import Stopwatch

IOS = ("epoll", "uring")
SLOW_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
/* Each write of a shard's disk thread takes 1.5 seconds, as long as the file SLOW_WHILE is there. */
ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    ssize_t (*next)(int, const struct iovec *, int, off_t, int) = dlsym(RTLD_NEXT, "pwritev2");
    if (access(getenv("SLOW_WHILE"), F_OK) == 0) usleep(1500000);
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
    conns = [node.client(timeout=20) for _ in range(4)]
    for c in conns:
        c.call("PING")  # it has arrived
    a, b = conns[:2]
    return (a, b) if shard_of_conn(a, conns[1::2], 2) == 0 else (b, a)


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
        watch = Stopwatch(node.pid)
        thread.join(20)
        assert not thread.is_alive() and not errors, errors
        assert watch.seconds() < 0.9, "not woken"  # the longest sleep is a second


def exchange(s, data, count):
    """Sends and receives at the same time, without a thread."""
    s.setblocking(False)
    data, got = memoryview(data), bytearray()
    while len(got) < count:
        readable, writable, _ = select.select([s], [s] if len(data) > 0 else [], [], 10)
        assert readable or writable, "no answer"
        if writable:
            data = data[s.send(data):]
        if readable:
            got += s.recv(count)
    return bytes(got)


@pytest.mark.parametrize("io", IOS)
def test_no_wake_is_missed_under_full_mailboxes(io):
    """Both shards ask each other for more than their rings hold, for a while: no reply takes a second."""
    with start_moon(shards=2, io=io, args=["--enable-debug-command", "yes"]) as node:
        pair = by_shard(node)
        errors, threads = [], []
        slowest = [0.0, 0.0]

        def run(i):
            try:
                c, requests = pair[i], encode(["SET", key_on(1 - i, 2), b"v" * 15_000]) * 300
                until = time.monotonic() + 3
                while time.monotonic() < until:
                    watch = Stopwatch(node.pid)
                    assert exchange(c.socket, requests, 300 * len(b"+OK\r\n")) == b"+OK\r\n" * 300
                    slowest[i] = max(slowest[i], watch.seconds())
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


def has_reply(s):
    return bool(select.select([s], [], [], 0)[0])


@pytest.mark.parametrize("shards", (1, 2))
def test_who_waits_for_a_slow_disk_sleeps(monkeypatch, slow_disk, tmp_path, shards):
    is_slow = tmp_path / "slow"
    monkeypatch.setenv("LD_PRELOAD", slow_disk)
    monkeypatch.setenv("SLOW_WHILE", str(is_slow))
    # A node under ASan: it wants to be loaded first.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")
    with start_moon(shards=shards, io="epoll", appendonly="yes") as node:
        monkeypatch.delenv("LD_PRELOAD")
        is_slow.touch()  # not sooner: the start writes a lot
        value, each = b"v" * (1 << 20), 40
        socks = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(4)]

        def send(s):
            s.sendall(encode(["SET", "k", value]) * each)

        senders = [threading.Thread(target=send, args=(s,), daemon=True) for s in socks]
        for t in senders:
            t.start()
        time.sleep(1)
        before, since = sum(cpu_seconds(node.pid, f"shard-{i}") for i in range(shards)), time.monotonic()
        time.sleep(2)
        spent = sum(cpu_seconds(node.pid, f"shard-{i}") for i in range(shards)) - before
        assert spent < 0.2 * (time.monotonic() - since), spent
        answered = sum(s.recv(1000, socket.MSG_PEEK | socket.MSG_DONTWAIT).count(b"OK") for s in socks if has_reply(s))
        assert answered < 4 * each, "nobody waited: the test says nothing"
        is_slow.unlink()
        for s in socks:
            s.settimeout(60)
            got = b""
            while len(got) < len(b"+OK\r\n") * each:
                got += s.recv(1000)
            assert got == b"+OK\r\n" * each
        for t in senders:
            t.join()
