"""How the node treats connections under load: fair shares, bounds on memory, ends of connections."""
import os
import socket
import time

import pytest

from moonlib.resp import encode
from moonlib.server import start_moon
from moonlib.slots import key_on

IOS = ("epoll", "uring")
SLOW_ITEMS = 4000


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def peak_bytes(pid):
    """The most RSS since the last forget_peak()."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:")) << 10


def make_slow_list(c, key):
    c.call("RPUSH", key, *[f"element-{i}" for i in range(SLOW_ITEMS)])


def flood(port, command, conns, seconds):
    """Sends without end on that many connections and takes what comes: bytes sent and replies of each."""
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(conns)]
    pending, sent, replies = [b""] * conns, [0] * conns, [0] * conns
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for i, s in enumerate(socks):
            s.setblocking(False)
            pending[i] = pending[i] or command * 2000
            try:
                n = s.send(pending[i])
                pending[i] = pending[i][n:]
                sent[i] += n
            except BlockingIOError:
                pass
            try:
                data = s.recv(1 << 16)
                assert data, "the node closed the connection"
                replies[i] += data.count(b"\n")
            except BlockingIOError:
                pass
        time.sleep(0.001)
    return socks, sent, replies


@pytest.mark.parametrize("io", IOS)
def test_connections_with_deep_pipelines_share_a_shard(io):
    """Each batch of one connection takes longer than a pass may: the others still get their turns."""
    with start_moon(shards=1, io=io) as node:
        with node.client() as c:
            make_slow_list(c, "list")
        _, _, replies = flood(node.port, encode(["LPOS", "list", "none"]), 4, 2)
        assert min(replies) * 4 > max(replies), replies


def test_requests_of_peers_leave_room_for_those_of_a_shards_own_connections():
    """Connections are dealt in turn, so of four two live on each shard; the work is all on shard 0."""
    with start_moon(shards=2, io="epoll") as node:
        key = key_on(0, 2)
        with node.client() as c:
            make_slow_list(c, key)
        _, _, replies = flood(node.port, encode(["LPOS", key, "none"]), 4, 3)
        assert min(replies) * 8 > max(replies), replies


@pytest.mark.parametrize("io", IOS)
def test_a_sender_faster_than_its_commands_is_slowed_down(io):
    with start_moon(shards=1, io=io) as node:
        with node.client() as c:
            make_slow_list(c, "list")
        command = encode(["LPOS", "list", "none"])
        before = rss_bytes(node.pid)
        _, sent, replies = flood(node.port, command, 2, 3)
        grown = rss_bytes(node.pid) - before
        waiting = sum(sent) - sum(replies) * len(command)
        assert grown < 32 << 20, (grown, waiting)
        assert waiting < 32 << 20, (grown, waiting)


@pytest.mark.parametrize("io", IOS)
def test_a_connection_that_reads_late_is_served_to_its_end(io):
    """Input over the bound while output waits: both directions go on when the client reads."""
    with start_moon(shards=1, io=io) as node, node.client() as c:
        c.call("SET", "k", b"v" * 1000)
        command, count = encode(["GET", "k"]), 60000
        with socket.create_connection(("127.0.0.1", node.port)) as s:
            s.settimeout(10)
            data = command * count + encode(["PING"])
            at = 0
            s.setblocking(False)
            idle_since = time.monotonic()
            while at < len(data) and time.monotonic() - idle_since < 0.5:
                try:
                    at += s.send(data[at:at + (1 << 16)])
                    idle_since = time.monotonic()
                except BlockingIOError:
                    time.sleep(0.01)
            got, tail = 0, b""
            expected = count * (len(b"$1000\r\n\r\n") + 1000) + len(b"+PONG\r\n")
            until = time.monotonic() + 15
            while got < expected and time.monotonic() < until:
                try:
                    if at < len(data):
                        at += s.send(data[at:at + (1 << 16)])
                except BlockingIOError:
                    pass
                try:
                    piece = s.recv(1 << 20)
                    assert piece, "the node closed the connection"
                    got += len(piece)
                    tail = (tail + piece)[-7:]
                except BlockingIOError:
                    time.sleep(0.001)
            assert (got, tail) == (expected, b"+PONG\r\n")


@pytest.mark.parametrize("io", IOS)
def test_a_pipeline_of_large_replies_does_not_fill_the_memory(io):
    with start_moon(shards=1, io=io) as node, node.client() as c:
        c.call("SET", "k", b"v" * (1 << 20))
        before = rss_bytes(node.pid)
        with socket.create_connection(("127.0.0.1", node.port)) as s:
            s.sendall(encode(["GET", "k"]) * 500)
            time.sleep(1)
            assert rss_bytes(node.pid) - before < 48 << 20
            got, expected = 0, 500 * ((1 << 20) + len(b"$1048576\r\n\r\n"))
            s.settimeout(10)
            while got < expected:
                piece = s.recv(1 << 20)
                assert piece
                got += len(piece)


@pytest.mark.parametrize("io", IOS)
def test_a_silent_pipeline_ends_with_its_connection(io):
    """Answers of other shards that are not sent still lead to the close."""
    with start_moon(shards=2, io=io) as node, node.client() as c:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", node.port)) as s:
                data = encode(["CLIENT", "REPLY", "OFF"])
                data += b"".join(encode(["SET", f"k{i}", "v"]) for i in range(20))
                s.sendall(data)
        until = time.monotonic() + 5
        while len(c.call("CLIENT", "LIST").splitlines()) > 1 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(c.call("CLIENT", "LIST").splitlines()) == 1
        assert c.call("DBSIZE") == 20


@pytest.mark.parametrize("fsync", ("everysec", "always"))
@pytest.mark.parametrize("shards", (1, 2))
def test_large_values_at_once_wait_for_the_log_and_are_not_refused(shards, fsync):
    with start_moon(shards=shards, appendonly="yes", args=["--appendfsync", fsync]) as node:
        value, clients = b"v" * (12 << 20), 10
        socks = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(clients)]
        for i, s in enumerate(socks):
            s.sendall(encode(["SET", f"k{i}", value])[:-1])
        for s in socks:
            s.sendall(b"\n")
        for s in socks:
            s.settimeout(20)
            assert s.recv(100) == b"+OK\r\n"


BIG, BIG_COUNT = 10 << 20, 10  # nothing stopping them, 100 MB of the other shard's answers for each of two


def big_reply(letter):
    return b"$%d\r\n%s\r\n" % (BIG, letter * BIG)


def read_exactly(s, expected):
    """Compares piece by piece: a gigabyte is not kept."""
    at = 0
    while at < len(expected):
        piece = s.recv(min(1 << 20, len(expected) - at))
        assert piece, "the node closed the connection"
        assert expected.startswith(piece, at)
        at += len(piece)


def one_connection_per_shard(port, shards):
    """They are dealt out in turn."""
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(shards)]
    for s in socks:
        s.settimeout(20)
    return socks


@pytest.mark.parametrize("pipeline", ("large", "small-then-large"))
@pytest.mark.parametrize("io", IOS)
def test_answers_of_other_shards_do_not_fill_the_memory(io, pipeline):
    """Of a client that does not read; the second pipeline looks harmless for a long time."""
    with start_moon(shards=2, io=io) as node, node.client() as a, node.client() as b:
        keys = [key_on(0, 2), key_on(1, 2)]
        for key, letter in zip(keys, (b"a", b"b")):
            a.call("SET", key, letter * BIG)
        a.call("SET", "{%s}small" % keys[0], "s")
        socks = one_connection_per_shard(node.port, 2)
        before = rss_bytes(node.pid)
        forget_peak(node.pid)
        small = 3000 if pipeline != "large" else 0
        for s in socks:
            for key in keys:
                s.sendall(encode(["GET", "{%s}small" % keys[0]]) * small + encode(["GET", key]) * BIG_COUNT + encode(["PING"]))
        until = time.monotonic() + 1
        while time.monotonic() < until:
            for other in (a, b):
                assert other.call("STRLEN", keys[0]) == other.call("STRLEN", keys[1]) == BIG
        assert peak_bytes(node.pid) - before < 100 << 20
        for s in socks:
            for letter in (b"a", b"b"):
                read_exactly(s, b"$1\r\ns\r\n" * small)
                reply = big_reply(letter)
                for _ in range(BIG_COUNT):
                    read_exactly(s, reply)
                read_exactly(s, b"+PONG\r\n")
        assert peak_bytes(node.pid) - before < 100 << 20
