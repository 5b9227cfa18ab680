"""Input that no client of good will sends: broken frames, promises not kept, floods, slow senders, readers
that do not read, resets. The node must answer as Redis where Redis answers, keep serving others meanwhile,
and afterwards hold no more memory and no more connections than before."""
import contextlib
import random
import resource
import socket
import struct
import time

import pytest

from moonlib.resp import Client, Disconnected, encode
from moonlib.server import start_moon, start_oracle
from moonlib.watch import Watch

SETUPS = [(1, "epoll"), (1, "uring"), (2, "uring"), (4, "epoll")]
REPLY_SECONDS_MAX = 10.0
SETTLE_SECONDS_MAX = 15.0
SLACK_BYTES = 1 << 20  # of used_memory, per shard: buffers that grew once
MB = 1 << 20


def name_of(setup):
    return f"{setup[0]}-{setup[1]}"


def facts(c):
    lines = c.call("INFO").decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


class Calm:
    """Around an abuse: somebody pings all the time, and afterwards all is as before."""

    def __init__(self, node, shards):
        self.node, self.shards = node, shards

    def __enter__(self):
        with self.node.client() as c:
            # What a shard sets aside for its first keys and commands is not given back.
            c.pipeline([("SET", f"warm:{i}", "x" * 1000) for i in range(100)])
            c.call("FLUSHALL")
            self.before = int(facts(c)["used_memory"])
        self.watch = Watch(self.node, self.shards)
        self.watch.__enter__()
        return self

    def __exit__(self, kind, *_):
        self.watch.__exit__()
        if kind is not None:
            return
        assert self.node.is_alive(), self.node.log_tail()
        self.watch.check()
        self.settles()

    def settles(self):
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        with self.node.client() as c:
            c.call("FLUSHALL")
            while True:
                now = facts(c)
                clients, grown = int(now["connected_clients"]), int(now["used_memory"]) - self.before
                if clients == 1 and grown < SLACK_BYTES * (1 + self.shards):
                    return
                assert time.monotonic() < deadline, (
                    f"{SETTLE_SECONDS_MAX} s later: {clients} clients, used_memory {grown:+}\n"
                    + c.call("CLIENT", "LIST").decode())
                time.sleep(0.1)


@pytest.fixture(name="calm", params=SETUPS, ids=name_of)
def fixture_calm(request, nodes):
    """A node under watch; the end of the test checks that it took no harm."""
    with Calm(nodes.get(*request.param), request.param[0]) as calm:
        yield calm


@pytest.fixture(name="node")
def fixture_node(calm):
    return calm.node


@contextlib.contextmanager
def many(port, count, **options):
    clients = []
    try:
        for _ in range(count):
            clients.append(Client(port, **options))
        yield clients
    finally:
        for c in clients:
            c.close()


def rss_bytes(node):
    with open(f"/proc/{node.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def forget_peak(node):
    with open(f"/proc/{node.pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def peak_bytes(node):
    with open(f"/proc/{node.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM"))


# ---- broken frames (tests/compat/test_protocol.py has thousands of drawn ones)

BROKEN = [
    b"*a\r\n", b"*1a\r\n", b"*\r\n", b"* 1\r\n", b"*1 \r\n", b"*01\r\n", b"*+1\r\n", b"*2147483648\r\n",
    b"*9223372036854775808\r\n", b"*99999999999999999999\r\n", b"*1\r\nPING\r\n", b"*1\r\n:4\r\nPING\r\n",
    b"*1\r\n$\r\n", b"*1\r\n$a\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$-2\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n", b"*1\r\n+PING\r\n", b"*2\r\n$4\r\nECHO\r\n", b"*1\r\n$4\r\nPINGPING\r\n", b"*0\r\n",
    b"*-1\r\n", b"\r\n\r\n", b"  \r\n", b'"PING\r\n', b"'PING\r\n", b'"PING"x\r\n', b"$4\r\nPING\r\n", b"+PING\r\n",
    b"\x00\r\n", b"\xff\xfe\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
]
BEFORE = encode(["SET", "k", "v"]) + encode(["GET", "k"])
AFTER = encode(["GET", "k"])


def said_to(port, data):
    with Client(port, timeout=REPLY_SECONDS_MAX) as c:
        c.send(data)
        with contextlib.suppress(OSError):
            c.socket.shutdown(socket.SHUT_WR)
        return c.read_all()


@pytest.fixture(name="oracle", scope="module")
def fixture_oracle():
    with start_oracle() as oracle:
        yield oracle


def test_broken_frames_after_good_ones(node, oracle):
    for broken in BROKEN:
        data = BEFORE + broken + AFTER
        assert said_to(node.port, data) == said_to(oracle.port, data), broken


def test_errors_of_one_pass_do_not_mix(node):
    """Connections that break the protocol while their shard is busy are all refused in the same pass."""
    letters = [bytes([letter]) for letter in range(ord("A"), ord("Z"))]
    with node.client() as sleeper, many(node.port, len(letters)) as clients:
        sleeper.send(encode(["DEBUG", "SLEEP", "0.1"]))
        for c, letter in zip(clients, letters):
            c.send(b"*1\r\n" + letter + b"\r\n")
        for c, letter in zip(clients, letters):
            assert c.read_raw() == b"-ERR Protocol error: expected '$', got '%s'\r\n" % letter
        sleeper.read_raw()


# ---- promises

def test_announced_and_never_sent(node):
    """Half a gigabyte, a million arguments: nothing is set aside for what is only announced."""
    rss = rss_bytes(node)
    half = [b"*2\r\n$3\r\nGET\r\n$536870912\r\n", b"*1000000\r\n", b"*2147483647\r\n", b"*1000000\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n" + b"x" * 100000]
    with many(node.port, 100) as clients:
        for i, c in enumerate(clients):
            c.send(half[i % len(half)])
        time.sleep(0.3)
        assert rss_bytes(node) - rss < 32 * MB
        for c in clients:
            with pytest.raises(Disconnected, match="no answer"):
                c.read_raw(timeout=0.001)


def test_inline_without_end(node):
    with node.client() as c:
        c.send(b"x" * 70000)
        assert c.read_all() == b"-ERR Protocol error: too big inline request\r\n"


def test_garbage_in_large_amounts(node):
    """Random bytes, megabytes of them: refused early, the rest is not kept."""
    draw = random.Random(7)
    for _ in range(20):
        data = draw.randbytes(1 << 20)
        with node.client() as c, contextlib.suppress(Disconnected):
            c.send(data)
            c.read_all()


def test_deep_nesting_is_no_request(node):
    with node.client() as c:
        c.send(b"*1\r\n" * 100000)
        assert c.read_raw() == b"-ERR Protocol error: expected '$', got '*'\r\n"


def test_a_million_arguments(node):
    with node.client(timeout=30) as c:
        words = [b"%d" % i for i in range(200000)]
        assert c.call("DEL", *words) == 0
        c.send(b"*1000001\r\n$4\r\nECHO\r\n" + b"$1\r\nx\r\n" * 1000000)
        assert c.read_raw() == b"-ERR wrong number of arguments for 'echo' command\r\n"


# ---- slow, many, sudden

def test_slow_senders(node):
    """A byte at a time over many connections."""
    request = encode(["SET", "slow", "value"]) + encode(["GET", "slow"])
    with many(node.port, 200) as clients:
        for at in range(len(request)):
            for c in clients:
                c.send(request[at:at + 1])
        for c in clients:
            assert (c.read_raw(), c.read_raw()) == (b"+OK\r\n", b"$5\r\nvalue\r\n")


@pytest.fixture(name="file_limit")
def fixture_file_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_connections(node, file_limit):
    """Opened in batches and dropped: some in silence, some in the middle of a command, some with a reset."""
    batch = min(1000, file_limit - 200)
    for number in range(10000 // batch):
        sockets = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(batch)]
        for i, s in enumerate(sockets):
            if i % 3 == 1:
                s.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk")
            if i % 3 == 2 or number % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for s in sockets:
            s.close()


def test_resets_in_the_middle_of_commands(node):
    draw = random.Random(11)
    request = b"".join(encode(["MSET"] + [f"key:{i}:{k}" for k in range(20)]) + encode(["MGET"] + [f"key:{k}" for k in range(20)])
                       + encode(["SET", "big", "x" * 50000]) + encode(["GET", "big"]) for i in range(20))
    for _ in range(300):
        s = socket.create_connection(("127.0.0.1", node.port))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            s.send(request[:draw.randrange(len(request))])
        s.close()


def test_half_closed_with_silenced_replies(node):
    """Nothing is left to be sent when the peer's end comes: the connection must still go."""
    silent = encode(["CLIENT", "REPLY", "OFF"]) + b"".join(encode(["SET", f"silent:{i}", "v"]) for i in range(64))
    for _ in range(50):
        with node.client() as c:
            c.send(silent)
            c.socket.shutdown(socket.SHUT_WR)
            assert c.read_all() == b""
        with node.client() as c:
            c.send(silent + b"*a\r\n")
            assert c.read_all() == b""


# ---- pipelines and readers that do not read

def test_a_hundred_thousand_requests_before_the_first_reply_is_read(node):
    count = 100000
    data = b"".join(encode(["SET", f"p:{i % 5000}", i]) for i in range(count))
    with node.client(timeout=30) as c:
        c.socket.setblocking(False)
        sent, received = 0, 0
        deadline = time.monotonic() + 30
        while sent < len(data) and time.monotonic() < deadline:  # as much as goes, then a little reading
            try:
                sent += c.socket.send(data[sent:])
            except BlockingIOError:
                time.sleep(0.02)
                with contextlib.suppress(BlockingIOError):
                    received += len(c.socket.recv(1 << 20))
        assert sent == len(data)
        c.socket.setblocking(True)
        c.socket.settimeout(REPLY_SECONDS_MAX)
        while received < 5 * count:
            received += len(c.socket.recv(1 << 20))
        assert received == 5 * count


def read_bytes(c, count):
    """Reads so many bytes and throws them away; returns the last of them."""
    room = memoryview(bytearray(MB))
    while count > 0:
        got = c.socket.recv_into(room, min(count, MB))
        assert got > 0, f"closed with {count} bytes to come"
        count -= got
    return bytes(room[max(0, got - 10):got])


def test_big_replies_not_read(calm):
    """A gigabyte of replies asked for and not read: the node stops before it holds much of it."""
    value, node, keys = b"x" * (10 * MB), calm.node, 1 if calm.shards == 1 else 8
    with node.client(timeout=60) as c, node.client(timeout=60) as greedy:
        for k in range(keys):
            c.call("SET", f"big:{k}", value)
        forget_peak(node)
        before = rss_bytes(node)
        greedy.send(b"".join(encode(["GET", f"big:{i % keys}"]) for i in range(100)))
        time.sleep(0.5)
        assert peak_bytes(node) - before < 150 * MB
        assert read_bytes(greedy, 100 * (len(value) + len(b"$10485760\r\n\r\n"))) == b"xxxxxxxx\r\n"
        assert greedy.call("PING") == b"PONG"
        assert peak_bytes(node) - before < 150 * MB


def test_input_goes_on_after_a_long_stop(node):
    """Replies not read stop the reading of requests; when they are read at last, all requests come to
    their turn, also those that lay in the node's buffer and those the kernel still held."""
    value, rest = b"x" * (4 * MB), 40000
    with node.client(timeout=30) as c, node.client() as other:
        c.call("SET", "big", value)
        requests = encode(["GET", "big"]) + b"".join(encode(["SET", f"after:{i % 100}", i]) for i in range(rest))
        c.socket.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 0.5
        while sent < len(requests) and time.monotonic() < deadline:
            try:
                sent += c.socket.send(requests[sent:])
            except BlockingIOError:
                time.sleep(0.01)
        assert sent > 0
        c.socket.setblocking(True)
        assert len(c.read_raw()) > len(value)
        c.send(requests[sent:])
        for i in range(rest):
            assert c.read_raw() == b"+OK\r\n", i
        assert other.call("GET", f"after:{(rest - 1) % 100}") == b"%d" % (rest - 1)


def test_a_stream_without_pause(node):
    """Requests faster than they are run wait with the sender, not in the node's memory."""
    piece = b"".join(encode(["SET", f"stream:{i % 100}", "x" * 100]) for i in range(10000))
    times = 40
    forget_peak(node)
    before = rss_bytes(node)
    with node.client(timeout=60) as c:
        c.send(encode(["CLIENT", "REPLY", "OFF"]) + piece * times + encode(["CLIENT", "REPLY", "ON"]))
        assert c.read_raw() == b"+OK\r\n"
        assert c.call("GET", "stream:99") == b"x" * 100
    assert peak_bytes(node) - before < 32 * MB


def test_half_closed_before_reading(node):
    """The last request is sent, the sending side closed, and only then the replies are read, to the end."""
    value = b"x" * (3 * MB)
    with node.client() as c:
        c.call("SET", "big", value)
    for _ in range(3):
        with node.client(timeout=20) as c:
            c.send(encode(["GET", "big"]) * 3)
            c.socket.shutdown(socket.SHUT_WR)
            time.sleep(0.05)
            assert len(c.read_all()) == 3 * (len(value) + len(b"$3145728\r\n\r\n"))


# ---- strangers

STRANGE = [
    b"*11\r\n", b"*1\r\n$16385\r\n", b"*1000000\r\n", b"*2147483647\r\n", b"*1\r\n$536870912\r\n",
    b"*10\r\n" + b"$4\r\nPING\r\n" * 10, b"*2\r\n$4\r\nECHO\r\n$16384\r\n" + b"x" * 16384 + b"\r\n",
    b"PING\r\n", b"QUIT\r\n", b"AUTH wrong\r\n", b"AUTH default wrong\r\n", b"RESET\r\n", b"CLIENT ID\r\n",
    b"SET a b\r\n", b"SHUTDOWN NOSAVE\r\n", b"CONFIG GET *\r\n", b"NOSUCH\r\n", b"GET\r\n",
]


def test_strangers_get_little():
    """Before AUTH: ten arguments of 16,384 bytes, and next to no command."""
    args = ["--requirepass", "secret"]
    with start_oracle(args=args) as oracle, start_moon(shards=2, args=args) as moon:
        for data in STRANGE:
            assert said_to(moon.port, data) == said_to(oracle.port, data), data[:60]
        rss = rss_bytes(moon)
        with Watch(moon, 2, password="secret") as watch, many(moon.port, 500) as clients:
            for i, c in enumerate(clients):
                with contextlib.suppress(Disconnected):
                    c.send(STRANGE[i % 5])
                    c.send(b"x" * 60000)
            time.sleep(0.2)
            assert rss_bytes(moon) - rss < 64 * MB
        watch.check()
