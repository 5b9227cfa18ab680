"""How a node stops: what it executed is answered and kept, its log ends cleanly, its directory is free again."""
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from moonlib.resp import Client, Disconnected, ReplyError, encode, parse, reply_end
from moonlib.server import moon_binary, start_moon
from moonlib.setups import IOS, meeting
from moonlib.slots import key_on
from moonlib.watch import Stopwatch

DEPTH = 200
COUNTERS = 5  # keys of one client: on several shards


def log_is_whole(folder):
    said = subprocess.run([moon_binary(), "--check-log", str(folder)], capture_output=True, text=True, timeout=30)
    return said.returncode == 0 and "the log is whole" in said.stdout and "cut off" not in said.stderr + said.stdout


class Pipeliner(threading.Thread):
    """Sends INCR on its counters round robin, always `DEPTH` ahead of the replies, until the server says it is
    enough. Then `replies` are those that came, `error` how it ended if not by an orderly close."""

    def __init__(self, number, port):
        super().__init__(daemon=True)
        self.keys = [f"n:{number}:{k}" for k in range(COUNTERS)]
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.replies, self.error = [], None

    def run(self):
        buffer, at, sent, unsent = bytearray(), 0, 0, b""
        self.socket.settimeout(0.001)
        until = time.monotonic() + 30
        sending = True
        while time.monotonic() < until:
            if sending:
                if not unsent and sent - len(self.replies) < DEPTH:
                    unsent = b"".join(encode(["INCR", self.keys[(sent + i) % COUNTERS]]) for i in range(DEPTH // 2))
                    sent += DEPTH // 2
                try:
                    unsent = unsent[self.socket.send(unsent):] if unsent else unsent
                except socket.timeout:
                    pass
                except OSError:
                    sending = False
            try:
                data = self.socket.recv(1 << 16)
            except socket.timeout:
                continue
            except OSError as error:
                self.error = repr(error)
                break
            if not data:
                if at < len(buffer):
                    self.error = f"ends within a reply: {bytes(buffer[at:])!r}"
                break
            buffer += data
            while (end := reply_end(buffer, at)) > 0:
                self.replies.append(parse(bytes(buffer[at:end])).held)
                at = end
        else:
            self.error = "never closed"
        self.socket.close()

    def expected(self):
        """Value of each counter if what was answered is what was executed."""
        return [len(self.replies[k::COUNTERS]) for k in range(COUNTERS)]


@pytest.mark.parametrize("shards, fsync, io", meeting((1, 2, 4), ("everysec", "always")))
def test_what_was_executed_is_answered_and_kept(tmp_path, io, shards, fsync):
    args = ["--appendfsync", fsync]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        node = start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path), args=args)
        try:
            with node.client() as c:
                c.call("FLUSHALL")
            clients = [Pipeliner(i, node.port) for i in range(6)]
            for client in clients:
                client.start()
            time.sleep(0.3)
            node.signal(number)
            assert node.process.wait(10) == 0
            for client in clients:
                client.join(30)
        finally:
            node.kill()
        for client in clients:
            assert client.error is None
            assert client.replies == [n // COUNTERS + 1 for n in range(len(client.replies))]
        assert sum(len(client.replies) for client in clients) > 500, "hardly anything was written"
        assert log_is_whole(tmp_path)
        with start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path), args=args) as again:
            with again.client() as c:
                for client in clients:
                    assert [int(v or 0) for v in c.call("MGET", *client.keys)] == client.expected()


class Transactor(threading.Thread):
    """MSETs over all shards, ten at a time, until its connection ends."""

    def __init__(self, number, port):
        super().__init__()
        self.keys = [f"t{number}:{i}" for i in range(12)]
        self.port, self.sent, self.answered, self.error = port, 0, 0, None

    def run(self):
        with Client(self.port, timeout=20) as client:
            while True:
                try:
                    first, self.sent = self.sent, self.sent + 10
                    replies = client.pipeline([("MSET", *[x for key in self.keys for x in (key, first + i + 1)]) for i in range(10)])
                    self.answered += 10
                    if replies != [b"OK"] * 10:
                        self.error = replies
                        return
                except (Disconnected, OSError):
                    return


@pytest.mark.parametrize("fsync", ("everysec", "always"))
@pytest.mark.parametrize("shards", (2, 4))
def test_transactions_are_answered_and_kept_whole(tmp_path, shards, fsync):
    """Replies that wait for parts in other shards' logs at the stop."""
    args = ["--appendfsync", fsync]
    node = start_moon(shards=shards, appendonly="yes", folder=str(tmp_path), args=args)
    try:
        clients = [Transactor(i, node.port) for i in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.4)
        node.signal(signal.SIGTERM)
        assert node.process.wait(10) == 0
        for client in clients:
            client.join(30)
    finally:
        node.kill()
    assert log_is_whole(tmp_path)
    with start_moon(shards=shards, appendonly="yes", folder=str(tmp_path), args=args) as again, again.client() as c:
        for client in clients:
            assert client.error is None
            values = {int(v) for v in c.call("MGET", *client.keys)}
            assert len(values) == 1, "half a transaction"
            assert client.answered <= values.pop() <= client.sent
            assert client.answered > 0


@pytest.mark.parametrize("shards", (1, 2))
@pytest.mark.parametrize("io", IOS)
def test_a_large_reply_is_delivered_to_its_end(io, shards):
    """Much more than a socket takes at once, and input that will never be run behind it."""
    with start_moon(shards=shards, io=io) as node:
        with node.client() as c:
            for i in range(4):
                c.call("SET", f"k{i}", b"v" * (4 << 20))
        with socket.create_connection(("127.0.0.1", node.port)) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            s.sendall(b"".join(encode(["GET", f"k{i}"]) for i in range(4)) + encode(["PING"]) * 2000)
            time.sleep(0.3)
            node.signal(signal.SIGTERM)
            time.sleep(0.2)
            got = bytearray()
            s.settimeout(10)
            while piece := s.recv(1 << 16):
                got += piece
        assert node.process.wait(10) == 0
        at, whole = 0, 0
        while (end := reply_end(got, at)) > 0:
            at, whole = end, whole + 1
        assert at == len(got), "the last reply was cut off"
        assert whole >= 1 and got.startswith(b"$4194304\r\n")


@pytest.mark.parametrize("io", IOS)
def test_a_client_that_does_not_read_does_not_hold_the_stop(io):
    with start_moon(shards=2, io=io) as node, node.client() as c:
        c.call("SET", "k", b"v" * (1 << 20))
        with socket.create_connection(("127.0.0.1", node.port)) as s:
            s.sendall(encode(["GET", "k"]) * 100)
            time.sleep(0.3)
            begin = time.monotonic()
            node.signal(signal.SIGTERM)
            assert node.process.wait(10) == 0
            assert time.monotonic() - begin < 4


SEND_SECONDS = 2  # STOP_SEND_MS: who has not read by then is closed without the rest


def read_to_the_end(s):
    """How the replies begin, and whether the last is whole. They are taken apart when all is there: the node does not
    wait for long."""
    data, at, replies = bytearray(), 0, []
    while piece := s.recv(1 << 20):
        data += piece
    while (end := reply_end(data, at)) > 0:
        replies.append(bytes(data[at:at + 10]))
        at = end
    return replies, at == len(data)


@pytest.mark.parametrize("reads", (True, False))
@pytest.mark.parametrize("io", IOS)
def test_requests_that_a_shard_gave_back_are_run_and_kept_or_not_run(tmp_path, io, reads):
    """Each shard is asked by a connection of the other for more than it sends ahead: by messages, so nothing is lent."""
    numbers, big = [key_on(s, 2, "list") for s in range(2)], [key_on(s, 2, "big") for s in range(2)]
    node = start_moon(shards=2, io=io, appendonly="yes", folder=str(tmp_path), args=["--shard-lending", "no"])
    try:
        with node.client() as c:
            c.call("MSET", *[word for key in big for word in (key, b"v" * (1 << 20))])
        socks = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(4)]  # two on each shard
        for i, s in enumerate(socks):
            s.settimeout(20)
            s.sendall(b"".join(encode(["RPUSH", numbers[i // 2], f"{i}"]) + encode(["GET", big[i // 2]]) for _ in range(60)))
        time.sleep(0.3)
        begin = time.monotonic()
        node.signal(signal.SIGTERM)
        time.sleep(0.1)
        if reads:
            with ThreadPoolExecutor() as pool:
                ends = list(pool.map(read_to_the_end, socks))
            pushed = [sum(r.startswith(b":") for r in replies) for replies, _ in ends]
        assert node.process.wait(10) == 0
        took = time.monotonic() - begin
        assert took < 8
        late = "did not read their replies" in node.log_tail()
        assert late == (not reads) or took >= SEND_SECONDS  # too busy a machine to read 240 MB
        for s in socks:
            s.close()
    finally:
        node.kill()
    assert log_is_whole(tmp_path)
    if not reads:
        return
    assert late or all(is_whole for _, is_whole in ends), "ends within a reply"
    assert sum(pushed) > 20
    with start_moon(shards=2, io=io, appendonly="yes", folder=str(tmp_path)) as again, again.client() as c:
        held = [c.call("LRANGE", key, 0, -1) for key in numbers]
        kept = [held[i // 2].count(b"%d" % i) for i in range(4)]
        assert all(k >= p for k, p in zip(kept, pushed)) if late else kept == pushed


@pytest.mark.parametrize("io", IOS)
def test_idle_clients_do_not_delay_the_stop(io):
    with start_moon(shards=2, io=io) as node:
        idle = [node.client() for _ in range(50)]
        for client in idle:
            client.call("PING")
        watch = Stopwatch(node.pid)
        node.signal(signal.SIGTERM)
        assert watch.seconds_to_end(node.process) < 0.4
        assert node.process.returncode == 0
        for client in idle:
            assert client.read_all() == b""


@pytest.mark.parametrize("shards", (1, 4))
@pytest.mark.parametrize("io", IOS)
def test_when_shutdown_closes_its_connection_the_directory_is_free(tmp_path, io, shards):
    node = start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path))
    try:
        for _ in range(5):
            with node.client() as c, node.client() as idle:
                for i in range(200):
                    c.call("SET", f"k{i}", i)
                idle.call("PING")
                c.send(encode(["SHUTDOWN"]))
                assert c.read_all() == b""
                # The idle one is not even closed yet: only the end of the process ends the wait for it.
                again = start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path))
            assert node.process.wait(5) == 0
            node = again
            with node.client() as c:
                assert c.call("DBSIZE") == 200
    finally:
        node.kill()


def test_no_connection_is_served_once_the_stop_began(tmp_path):
    """Whoever comes during the stop is closed, not kept waiting."""
    with start_moon(shards=2) as node, node.client() as c:
        c.call("SET", "k", b"v" * (1 << 20))
        with socket.create_connection(("127.0.0.1", node.port)) as s:
            s.sendall(encode(["GET", "k"]) * 100)  # holds the stop for a while
            time.sleep(0.3)
            node.signal(signal.SIGTERM)
            time.sleep(0.3)
            try:
                with Client(node.port, timeout=3) as late:
                    with pytest.raises((Disconnected, ReplyError)):
                        late.call("PING")
            except OSError:
                pass  # refused: as good
        assert node.process.wait(10) == 0
