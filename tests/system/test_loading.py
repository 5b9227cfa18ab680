"""A node that loads its data: it answers as Redis does meanwhile, says how far it is, and can be stopped."""
import hashlib
import os
import shutil
import signal
import socket
import threading
import time

import pytest

from moonlib.resp import Client, Disconnected, ReplyError, encode
from moonlib.server import Server, free_port, moon_binary, start_moon, start_oracle
from moonlib.setups import IOS, meeting
from moonlib.watch import Stopwatch

KEYS = 20000
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"

COMMANDS = """PING|PING x|GET k1|GET|nosuch|DBSIZE|SELECT 1|ECHO x|COMMAND COUNT|CONFIG GET port|CONFIG SET hz 20
CONFIG SET appendonly yes|CONFIG RESETSTAT|CONFIG HELP|CONFIG|CONFIG NOSUCH|CLIENT ID|CLIENT LIST|CLIENT KILL ID 99
CLIENT NO-EVICT on|CLIENT REPLY ON|MEMORY USAGE k1|MEMORY HELP|MEMORY PURGE|LATENCY HISTOGRAM|SLOWLOG GET|SLOWLOG LEN
TIME|LASTSAVE|FLUSHALL|LOLWUT|HELLO 2|HELLO|AUTH x|OBJECT HELP|OBJECT ENCODING k1|OBJECT|RESET|SHUTDOWN ABORT
SHUTDOWN BAD|SCAN 0|RANDOMKEY|SWAPDB 0 1|MGET k1 k2|SET k v|DEL k1|KEYS *|QUIT|EXISTS k1|LPUSH k v|DEBUG SLEEP 0
COMMAND DOCS get|COMMAND GETKEYS get x|INFO server|CLIENT SETNAME x|CLIENT TRACKINGINFO|LATENCY LATEST"""


@pytest.fixture(scope="module", name="data")
def fixture_data(tmp_path_factory):
    """A directory with some keys, of two shards."""
    folder = tmp_path_factory.mktemp("data")
    with start_moon(shards=2, appendonly="yes", folder=str(folder)) as node, node.client() as c:
        for base in range(0, KEYS, 2000):
            c.pipeline([("SET", f"k{i}", f"v{i}") for i in range(base, base + 2000)])
    return folder


def digest(folder):
    """Of all files of the log, with their names."""
    found = {}
    for where, _, names in os.walk(os.path.join(folder, "log")):
        for name in names:
            with open(os.path.join(where, name), "rb") as f:
                found[name] = hashlib.sha256(f.read()).hexdigest()
    return found


class Loading:
    """A node that was started on a copy of the data and is still at it, for about `seconds`."""

    def __init__(self, data, tmp_path, shards=2, io=None, seconds=60, args=()):
        self.folder = tmp_path / "copy"
        if not self.folder.exists():
            os.system(f"cp -r {data} {self.folder}")
        self.port = free_port()
        delay = int(seconds * 1e6 * shards / KEYS)
        argv = [moon_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                "--shards", str(shards), "--key-load-delay", str(delay), "--enable-debug-command", "no",
                *(["--io", io] if io else []), *args]
        self.server = Server(argv, self.port, str(self.folder), False)

    def __enter__(self):
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                with Client(self.port, timeout=5) as c:
                    if c.call_raw("PING") == LOADING:
                        return self
            except (OSError, Disconnected):
                pass
            time.sleep(0.01)
        self.server.kill()
        raise AssertionError(f"not loading: {self.server.log_tail()}")

    def __exit__(self, *_):
        self.server.kill()

    def client(self, **kw):
        return self.server.client(**kw)

    def wait_loaded(self, seconds=30):
        until = time.monotonic() + seconds
        with self.client() as c:
            while c.call_raw("PING") == LOADING:
                assert time.monotonic() < until
                time.sleep(0.01)


def connect(server):
    """As soon as it is bound."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            return server.client(timeout=20)
        except ConnectionRefusedError:
            time.sleep(0.001)
    raise AssertionError(server.log_tail())


def facts(client):
    lines = client.call("INFO", "persistence").decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


@pytest.fixture(scope="module", name="oracle")
def fixture_oracle(tmp_path_factory):
    """redis-server, loading without end."""
    folder = tmp_path_factory.mktemp("oracle")
    with start_oracle(folder=str(folder)) as server, server.client() as c:
        for base in range(0, KEYS, 2000):
            c.pipeline([("SET", f"k{i}", f"v{i}") for i in range(base, base + 2000)])
        c.call("SAVE")
    port = free_port()
    argv = [server.argv[0], "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
            "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"]
    loading = Server(argv, port, str(folder), False)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            with Client(port, timeout=5) as c:
                if c.call_raw("PING") == LOADING:
                    break
        except (OSError, Disconnected):
            time.sleep(0.01)
    yield loading
    loading.kill()


def kind(raw):
    """Errors by their text, of others what comes back: contents differ."""
    return raw if raw[:1] == b"-" else raw[:1]


def test_commands_are_answered_as_by_redis(data, tmp_path, oracle):
    with Loading(data, tmp_path) as node:
        compared = 0
        asked = [(command, node.client(), oracle.client()) for command in COMMANDS.replace("\n", "|").split("|")]
        for command, ours, theirs in asked:
            ours.send(encode(command.split()))
            theirs.send(encode(command.split()))
        for command, ours, theirs in asked:
            got, wanted = kind(ours.read_raw()), kind(theirs.read_raw())
            if got.startswith(b"-ERR unknown ") and not wanted.startswith(b"-ERR unknown "):
                continue  # not there yet: docs/compatibility.md
            compared += 1
            assert got == wanted, command
        assert compared > 50


def test_every_command_is_refused_or_not_by_its_flag(data, tmp_path):
    with Loading(data, tmp_path) as node, node.client() as c:
        refused = 0
        for row in c.call("COMMAND"):
            name, arity, flags = row[0], row[1], row[2]
            if name in (b"shutdown", b"quit", b"debug") or row[9]:
                continue  # end it or the connection; subcommands have their own
            with node.client() as one:
                raw = one.call_raw(name, *["1"] * (abs(arity) - 1))
            assert (raw == LOADING) == (b"loading" not in flags), (name, raw)
            refused += raw == LOADING
        assert refused > 50


@pytest.mark.parametrize("shards", (1, 2, 3))
def test_info_tells_how_far_it_is(data, tmp_path, shards):
    before = time.time()
    with Loading(data, tmp_path, shards=shards, seconds=3) as node:
        seen = []
        with node.client() as c:
            while (f := facts(c))["loading"] == "1":
                seen.append(f)
                time.sleep(0.05)
                assert time.time() - before < 30
            assert f["loading"] == "0"
            assert not [name for name in f if name.startswith("loading_")]
            assert c.call("DBSIZE") == KEYS
        assert len(seen) > 20
        assert {f["async_loading"] for f in seen} == {"0"}
        assert all(before - 2 < int(f["loading_start_time"]) <= time.time() for f in seen)
        total = {int(f["loading_total_bytes"]) for f in seen}
        assert len(total) == 1 and total.pop() > KEYS * 15
        done = [int(f["loading_loaded_bytes"]) for f in seen]
        assert done == sorted(done) and done[0] < done[-1] <= int(seen[0]["loading_total_bytes"])
        for f in seen:
            share = 100 * int(f["loading_loaded_bytes"]) / int(f["loading_total_bytes"])
            assert abs(float(f["loading_loaded_perc"]) - share) < 0.1
        assert all(1 <= int(f["loading_eta_seconds"]) + 1 < 60 for f in seen)
        log = node.server.log_tail()
        assert "replaying" in log and f"{KEYS} keys loaded" in log


@pytest.mark.parametrize("shards, how, io", meeting((1, 2, 4), ("SIGTERM", "SIGINT", "SHUTDOWN", "SHUTDOWN NOSAVE")))
def test_a_stop_while_loading_leaves_the_log_alone(data, tmp_path, io, shards, how):
    with Loading(data, tmp_path, shards=shards, io=io) as node, node.client() as idle:
        before = digest(node.folder)
        begin = time.monotonic()
        if how.startswith("SIG"):
            node.server.signal(getattr(signal, how))
        else:
            with node.client() as c:
                c.send(encode(how.split()))
                assert c.read_all() == b""
        assert node.server.process.wait(5) == 0
        assert time.monotonic() - begin < 1
        assert idle.read_all() == b""
        assert digest(node.folder) == before
    with start_moon(shards=shards, io=io, appendonly="yes", folder=str(node.folder)) as again, again.client() as c:
        assert c.call("DBSIZE") == KEYS
        assert c.call("GET", f"k{KEYS - 1}") == f"v{KEYS - 1}".encode()


def until_it_minds(pid, number):
    """A process that has not come to main() yet is simply ended by a signal."""
    until = time.monotonic() + 10
    while True:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            blocked = next(int(line.split()[1], 16) for line in f if line.startswith("SigBlk:"))
        if blocked >> (number - 1) & 1:
            return
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_large_log_is_left_at_once_while_it_is_checked(tmp_path):
    """Checking frames comes before the replay, and takes its time too: no delay is set here."""
    folder, value = str(tmp_path), b"v" * (1 << 20)
    with start_moon(appendonly="yes", folder=folder, args=["--appendfsync", "no"]) as node, node.client() as c:
        for base in range(0, 800, 40):
            c.pipeline([("SET", f"k{i % 10}", value) for i in range(base, base + 40)])
    port = free_port()
    argv = [moon_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
    before, stopped_early = digest(folder), 0
    for wait in (0.02, 0.05, 0.1, 0.15):
        server = Server(argv, port, folder, False)
        try:
            until_it_minds(server.pid, signal.SIGTERM)
            time.sleep(wait)
            begin = time.monotonic()
            server.signal(signal.SIGTERM)
            assert server.process.wait(5) == 0
            assert time.monotonic() - begin < 1
            stopped_early += "received while the data is loaded" in server.log_tail()
        finally:
            server.kill()
        if "Ready" not in server.log_tail():
            assert digest(folder) == before
    assert stopped_early > 0
    with start_moon(appendonly="yes", folder=folder) as node, node.client() as c:
        assert c.call("DBSIZE") == 10


def test_connections_live_on_when_the_data_is_there(data, tmp_path):
    with Loading(data, tmp_path, seconds=2) as node:
        with node.client() as c, node.client() as other:
            assert c.call("CLIENT", "SETNAME", "early") == b"OK"
            assert other.call("SELECT", 3) == b"OK"
            node.wait_loaded()
            assert c.call("GET", "k7") == b"v7"
            assert c.call("CLIENT", "GETNAME") == b"early"
            assert other.call("GET", "k7") is None
            assert other.call("SET", "late", 1) == b"OK"
        with node.client() as c:
            assert c.call("DBSIZE") == KEYS
            assert b"errorstat_LOADING:count=" in c.call("INFO", "errorstats")


QUIET_SECONDS = 0.1  # node/load.c


def test_little_data_is_never_shown_as_loading(tmp_path):
    """Who connects before it is loaded waits in the backlog and gets an answer, no LOADING."""
    folder = str(tmp_path)
    with start_moon(shards=2, appendonly="yes", folder=folder) as node, node.client() as c:
        c.call("SET", "k", "v")
    for _ in range(5):
        port = free_port()
        argv = [moon_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--shards", "2"]
        server, begin = Server(argv, port, folder, False), time.monotonic()
        try:
            with connect(server) as c:
                while (raw := c.call_raw("GET", "k")) == LOADING and begin + QUIET_SECONDS < time.monotonic() < begin + 20:
                    time.sleep(0.01)  # the machine is so busy that little data takes long
                assert raw == b"$1\r\nv\r\n"
        finally:
            server.stop()


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("io", IOS)
def test_memory_is_bounded_while_it_loads(data, tmp_path, io):
    """Clients that ask without end, of which some never read."""
    with Loading(data, tmp_path, io=io) as node:
        before = rss_bytes(node.server.pid)
        socks = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(8)]
        command, unsent = encode(["SET", "k", b"v" * 1000]) * 200, [b""] * len(socks)
        for s in socks:
            s.setblocking(False)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            for i, s in enumerate(socks):
                try:
                    unsent[i] = unsent[i] or command
                    unsent[i] = unsent[i][s.send(unsent[i]):]
                except BlockingIOError:
                    pass
                try:
                    if i % 2:
                        assert s.recv(1 << 16)
                except BlockingIOError:
                    pass
        assert rss_bytes(node.server.pid) - before < 64 << 20
        with node.client() as c:
            assert c.call("CLIENT", "ID") > 0
            assert facts(c)["loading"] == "1"


MANY = 1_000_000


@pytest.fixture(scope="module", name="much")
def fixture_much(tmp_path_factory):
    """A directory with many keys, of two shards."""
    folder, at_once = tmp_path_factory.mktemp("much"), 5000
    with start_moon(shards=2, appendonly="yes", folder=str(folder), args=["--appendfsync", "no"]) as node, node.client() as c:
        for base in range(0, MANY, at_once):  # encode() and a reply at a time took most of the test
            digits = [b"%d" % i for i in range(base, base + at_once)]
            c.send(b"".join([b"*3\r\n$3\r\nSET\r\n$%d\r\nkey:%b\r\n$%d\r\n%b\r\n" % (len(d) + 4, d, len(d), d) for d in digits]))
            assert c.read_bytes(5 * at_once) == b"+OK\r\n" * at_once
    return folder


@pytest.mark.parametrize("shards", (1, 2))
def test_answers_come_soon_while_it_replays(much, tmp_path, shards):
    """At full speed, no delay set: slices of the replay leave room for clients."""
    folder = str(tmp_path / "copy")
    shutil.copytree(much, folder)
    port = free_port()
    argv = [moon_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--shards", str(shards)]
    server = Server(argv, port, folder, False)
    try:
        asked, slowest = 0, 0.0
        until = time.monotonic() + 20
        with connect(server) as c:
            raw = c.call_raw("PING")  # the first waits in the backlog
            watch = Stopwatch(server.pid)
            while raw == LOADING:
                begin = watch.seconds()
                raw = c.call_raw("PING")
                slowest, asked = max(slowest, watch.seconds() - begin), asked + 1
                assert time.monotonic() < until
            assert c.call("DBSIZE") == MANY
        assert asked > 10 and slowest < 0.5, (asked, slowest)
    finally:
        server.kill()


@pytest.mark.parametrize("shards", (1, 2))
def test_appendfsync_set_while_it_loads_holds(data, tmp_path, shards):
    with Loading(data, tmp_path, shards=shards, seconds=1.5) as node, node.client() as c:
        assert c.call("CONFIG", "SET", "appendfsync", "always") == b"OK"
        node.wait_loaded()
        for i in range(20):
            c.call("SET", f"k{i}", "w")
            f = facts(c)
            assert f["journal_durable_lsn"] == f["journal_lsn"]


def test_two_starts_of_one_directory(data, tmp_path):
    """The second is refused while the first still loads, and disturbs nothing."""
    with Loading(data, tmp_path, seconds=3) as node:
        port = free_port()
        argv = [moon_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(node.folder)]
        second = Server(argv, port, str(tmp_path), False)
        assert second.process.wait(5) == 1
        assert "in use by another process" in second.log_tail()
        node.wait_loaded()
        with node.client() as c:
            assert c.call("DBSIZE") == KEYS


def test_a_port_that_is_taken_is_told_before_the_load(data, tmp_path):
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        server = Server([moon_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data),
                         "--key-load-delay", "100000"], port, str(tmp_path), False)
        assert server.process.wait(5) == 1
        assert "Is another server using it" in server.log_tail()


def test_threads_that_ask_during_the_load_all_get_their_answer(data, tmp_path):
    """The moment of the change: each request is either refused or answered, in order, none is lost."""
    with Loading(data, tmp_path, seconds=1.5) as node:
        failures = []

        def ask(number):
            try:
                with Client(node.port, timeout=10) as c:
                    until, served = time.monotonic() + 15, 0
                    while served < 50 and time.monotonic() < until:
                        replies = c.pipeline([("ECHO", "a"), ("GET", f"k{number}"), ("ECHO", "b")])
                        assert (replies[0], replies[2]) == (b"a", b"b")
                        loading = isinstance(replies[1], ReplyError)
                        assert loading or replies[1] == f"v{number}".encode()
                        assert not (loading and served), "LOADING after an answer"
                        served += not loading
                    assert served == 50
            except Exception as error:  # a thread's failure is the test's
                failures.append(repr(error))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not failures


def test_what_was_only_made_ready_does_not_count(tmp_path):
    """Segments are written ahead of their use; a node that was killed leaves them."""
    folder = tmp_path / "copy"  # where Loading looks for it
    folder.mkdir()
    with start_moon(shards=4, appendonly="yes", folder=str(folder)) as node, node.client() as c:
        for base in range(0, KEYS, 2000):
            c.pipeline([("SET", f"k{i}", f"v{i}") for i in range(base, base + 2000)])
        node.kill()
    lies_there = sum(os.path.getsize(folder / "log" / name) for name in os.listdir(folder / "log"))
    assert lies_there > 100 << 20
    with Loading(None, tmp_path, shards=4, seconds=4) as node:
        with node.client() as c:
            assert KEYS * 15 < int(facts(c)["loading_total_bytes"]) < 3 << 20
        node.wait_loaded()
        said = [float(line.split(" MB of log")[0].split()[-1]) for line in node.server.log_tail().splitlines() if "MB of log" in line]
        assert len(said) > 2 and all(0.2 < megabytes < 3 for megabytes in said), said
