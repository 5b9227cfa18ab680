"""Disks that are full or broken: writes are refused on all shards, reads go on, nothing that was acknowledged is
lost, and writes come back when there is room again."""
import os
import signal
import socket
import subprocess
import time

import pytest

from moonlib.faulty import fixture_faulty, fixture_library  # noqa: F401 (fixtures)
from moonlib.resp import encode, reply_end
from moonlib.server import moon_binary, start_moon
from moonlib.setups import IOS, meeting
from test_flow import key_on

POLICIES = ("always", "everysec", "no")
SHARDS = (1, 2, 4)
SEGMENT = 16 << 20  # of a log; three of them are there before one is needed
UNKNOWN = b"-IOERR the log failed while this was being written: its outcome is unknown\r\n"


def facts(client):
    lines = client.call("INFO", "persistence").decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def log_is_whole(folder):
    said = subprocess.run([moon_binary(), "--check-log", str(folder)], capture_output=True, text=True, timeout=30, check=False)
    return said.returncode == 0 and "the log is whole" in said.stdout


def keys_of(shards):
    """One key of each shard."""
    return [key_on(shard, shards) for shard in range(shards)]


# ---- no space

@pytest.fixture(name="small_disk")
def fixture_small_disk(tmp_path):
    """A file system of a given size: mount(bytes) → its folder."""
    mounted = []

    def mount(size):
        where = tmp_path / f"disk{len(mounted)}"
        where.mkdir()
        tried = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)], capture_output=True,
                               text=True, check=False)
        if tried.returncode != 0:
            pytest.skip(f"no file system may be mounted here: {tried.stderr.strip()}")
        mounted.append(where)
        return where

    yield mount
    for where in mounted:
        subprocess.run(["umount", "-l", str(where)], check=True)


def free_bytes(where):
    st = os.statvfs(where)
    return st.f_bavail * st.f_frsize


def fill(where, leave):
    with open(where / "ballast", "ab") as f:
        while (left := free_bytes(where) - leave) > 0:
            f.write(b"b" * min(left, 1 << 20))
            f.flush()


def write_until_refused(node, key, model, value):
    """Pipelines of 8 SETs until one is refused; acknowledged ones go into the model. Under `always` the last ones
    may be held: their bytes are in memory, not on the disk."""
    held = []
    with node.client(timeout=3) as c:
        for number in range(100000):
            c.send(encode(["SET", key, b"%d:" % number + value]))
            try:
                raw = c.read_raw(timeout=1.5)
            except Exception:  # held: no answer, no refusal
                held.append(number)
                break
            if raw != b"+OK\r\n":
                assert raw.startswith(b"-MISCONF Errors writing to the log: no space left on device"), raw
                break
            model[key] = number
    return held


@pytest.mark.parametrize("shards, fsync, io", meeting(SHARDS, POLICIES))
def test_a_full_disk(small_disk, io, shards, fsync):
    where = small_disk(shards * 6 * SEGMENT)
    data = where / "data"
    data.mkdir()
    value, model = b"v" * (256 << 10), {}
    keys = keys_of(shards)
    args = ["--appendfsync", fsync]
    node = start_moon(shards=shards, io=io, appendonly="yes", folder=str(data), args=args)
    try:
        with node.client() as c:
            for key in keys:
                assert c.call("SET", key, b"0:first") == b"OK"
                model[key] = 0
            until = time.monotonic() + 10
            while int(facts(c)["journal_segments"]) < 3 * shards and time.monotonic() < until:
                time.sleep(0.02)  # all that is prepared ahead is there
        fill(where, 1 << 20)
        # One log runs out of room …
        held = write_until_refused(node, keys[0], model, value)
        with node.client() as c:
            until = time.monotonic() + 5
            while facts(c)["journal_refusing_shards"] == "0" and time.monotonic() < until:
                time.sleep(0.02)
            f = facts(c)
            assert (f["journal_refusing_shards"], f["aof_last_write_status"]) == ("1", "err")
            assert f["journal_memory_newer_than_disk"] == "0"
            # … and no shard takes a write, while all of them read.
            for key in keys:
                for command in (("SET", key, "x"), ("DEL", key), ("APPEND", key, "x"), ("EXPIRE", key, 100)):
                    raw = c.call_raw(*command)
                    assert raw.startswith(b"-MISCONF Errors writing to the log: no space left on device"), (command, raw)
            for key in keys[1:]:
                assert c.call("GET", key) == b"0:first"
            assert c.call("PING") == b"PONG"
            if not held:
                assert c.call("GET", keys[0]).startswith(b"%d:" % model[keys[0]])
            assert "log 0 refuses writes" in node.log_tail()
        # Room returns: so do writes.
        os.unlink(where / "ballast")
        with node.client() as c:
            until = time.monotonic() + 5
            while facts(c)["journal_refusing_shards"] != "0" and time.monotonic() < until:
                time.sleep(0.02)
            f = facts(c)
            assert (f["journal_refusing_shards"], f["aof_last_write_status"]) == ("0", "ok")
            for number in held:
                model[keys[0]] = number  # its answer found nobody; it is in the log now
            for key in keys:
                assert c.call("APPEND", key, "!") > 0
            before = {key: c.call("GET", key) for key in keys}
            for key in keys:
                assert before[key].startswith(b"%d:" % model[key]) and before[key].endswith(b"!"), key
            assert "log 0 is writable again" in node.log_tail()
        assert node.stop() == 0
        assert log_is_whole(data)
        with start_moon(shards=shards, io=io, appendonly="yes", folder=str(data), args=args) as again, again.client() as c:
            assert {key: c.call("GET", key) for key in keys} == before
    finally:
        node.kill()


@pytest.mark.parametrize("fsync", POLICIES)
@pytest.mark.parametrize("shards", (1, 2))
def test_killed_on_a_full_disk(small_disk, shards, fsync):
    """What was acknowledged before it was full is there after kill -9 and a start with room."""
    where = small_disk(shards * 6 * SEGMENT)
    data = where / "data"
    data.mkdir()
    keys, model, args = keys_of(shards), {}, ["--appendfsync", fsync]
    node = start_moon(shards=shards, appendonly="yes", folder=str(data), args=args)
    try:
        time.sleep(0.3)
        fill(where, 1 << 20)
        held = write_until_refused(node, keys[0], model, b"v" * (256 << 10))
        node.signal(signal.SIGKILL)
        node.process.wait()
        os.unlink(where / "ballast")
        with start_moon(shards=shards, appendonly="yes", folder=str(data), args=args) as again, again.client() as c:
            found = int(c.call("GET", keys[0]).split(b":")[0])
            assert model[keys[0]] <= found <= max([model[keys[0]], *held])
    finally:
        node.kill()


@pytest.mark.parametrize("io", IOS)
def test_a_stop_on_a_full_disk_is_no_hang(small_disk, io):
    where = small_disk(6 * SEGMENT)
    data = where / "data"
    data.mkdir()
    model, args = {}, ["--appendfsync", "always"]
    node = start_moon(io=io, appendonly="yes", folder=str(data), args=args)
    try:
        time.sleep(0.3)
        fill(where, 1 << 20)
        write_until_refused(node, "k", model, b"v" * (256 << 10))
        with node.client() as c:
            assert facts(c)["journal_refusing_shards"] == "1"
        begin = time.monotonic()
        node.signal(signal.SIGTERM)
        assert node.process.wait(10) == 0
        assert time.monotonic() - begin < 5
        os.unlink(where / "ballast")
        with start_moon(io=io, appendonly="yes", folder=str(data), args=args) as again, again.client() as c:
            assert int(c.call("GET", "k").split(b":")[0]) >= model["k"]
    finally:
        node.kill()


# ---- input/output errors

class Asker:
    """Sends without waiting; replies are taken later."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.buffer = bytearray()

    def send(self, *commands):
        self.socket.sendall(b"".join(encode(command) for command in commands))

    def take(self, count, seconds=5):
        """That many replies, or those that came in time; "closed" at the end if the node closed."""
        until, replies, at = time.monotonic() + seconds, [], 0
        while len(replies) < count and time.monotonic() < until:
            while len(replies) < count and (end := reply_end(self.buffer, at)) > 0:
                replies.append(bytes(self.buffer[at:end]))
                at = end
            if len(replies) == count:
                break
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = self.socket.recv(1 << 16)
            except socket.timeout:
                break
            if not data:
                replies.append("closed")
                break
            self.buffer += data
        del self.buffer[:at]
        return replies


def commands_of(keys, number):
    """The second client of a shard asks the other way round: its own shard's replies wait behind another's."""
    found = []
    for key in keys if number < len(keys) else reversed(keys):
        found += [("SET", key, number), ("GET", key), ("APPEND", key, "!"), ("STRLEN", key), ("INCR", f"{{{key}}}n")]
    return found


@pytest.mark.parametrize("shards", SHARDS)
def test_held_replies_become_errors_and_gates_are_lifted(faulty, shards):
    """appendfsync always: the log of shard 0 gets EIO while replies of all kinds wait for it, on connections
    of every shard."""
    f = faulty(shards, "always")
    keys = keys_of(shards)
    with f.node.client() as c:
        for key in keys:
            c.call("SET", key, "before")
    askers = [Asker(f.node.port) for _ in range(2 * shards)]
    f.tell("hang")
    per_asker = len(commands_of(keys, 0))
    for number, asker in enumerate(askers):
        asker.send(*commands_of(keys, number))
    time.sleep(0.3)
    reader = Asker(f.node.port)
    reader.send(("GET", keys[0]))
    for asker in askers:
        assert asker.take(1, seconds=0.05) == [], "an answer left before its log was safe"
    assert reader.take(1, seconds=0.05) == [], "a read told what is not safe"
    f.tell("fail", log=0)
    acknowledged = {}
    for number, asker in enumerate(askers):
        replies = asker.take(per_asker)
        assert len(replies) == per_asker, f"asker {number} of {len(askers)}: {len(replies)} replies: {replies[-2:]}"
        for command, raw in zip(commands_of(keys, number), replies):
            mine = command[1].strip("{}n") == keys[0] or command[1] == keys[0]
            if mine:
                assert raw == UNKNOWN, (command, raw)
            elif raw != UNKNOWN:  # behind a held one of its connection the other's outcome may be lost, too
                assert raw[:1] in b"+:$", (command, raw)
                if command[0] == "SET":
                    acknowledged[command[1]] = True
    assert reader.take(1) == [UNKNOWN]
    with f.node.client() as c:
        now = {key: c.call("GET", key) for key in keys}  # from memory, at once
        assert now[keys[0]] != b"before"
        for key in keys:
            assert c.call_raw("SET", key, "x").startswith(b"-MISCONF Errors writing to the log: input/output error")
        seen = facts(c)
        assert seen["journal_memory_newer_than_disk"] == "1" and seen["aof_last_write_status"] == "err"
        assert seen["journal_refusing_shards"] == "1"
        assert b"errorstat_IOERR:count=" in c.call("INFO", "errorstats")
    f.heal()
    time.sleep(1.2)  # a second's tick tries nothing again: the kernel may have dropped the pages
    with f.node.client() as c:
        assert c.call_raw("SET", keys[-1], "x").startswith(b"-MISCONF")
    for asker in askers:
        asker.send(("PING",))
        assert asker.take(1) == [b"+PONG\r\n"]
    begin = time.monotonic()
    f.node.signal(signal.SIGTERM)
    assert f.node.process.wait(10) == 0 and time.monotonic() - begin < 5
    with f.start() as again, again.client() as c:
        assert c.call("GET", keys[0]) is not None
        for key in acknowledged:
            assert c.call("GET", key) == now[key], "acknowledged, and gone"


@pytest.mark.parametrize("shards", (2, 4))
@pytest.mark.parametrize("fsync", ("always", "everysec"))
def test_a_transaction_whose_part_cannot_be_written(faulty, shards, fsync):
    """The log of shard 0 lacks its part: what other shards hold for its sake must not wait for ever, and nothing
    of it, nor behind it, may have been acknowledged."""
    f = faulty(shards, fsync)
    keys = keys_of(shards)
    mset = ("MSET", *[x for key in keys for x in (key, "after")])
    with f.node.client() as c:
        assert c.call("MSET", *[x for key in keys for x in (key, "before")]) == b"OK"
    writer, behind, reader = Asker(f.node.port), Asker(f.node.port), Asker(f.node.port)
    if fsync == "always":
        f.tell("hang", log=0)
        writer.send(mset)
        time.sleep(0.3)
        behind.send(("APPEND", keys[1], "!"))
        reader.send(("GET", keys[1]))
        assert writer.take(1, seconds=0.3) == [], "half of it is safe"
        assert behind.take(1, seconds=0.05) == [], "safe in its own log, but behind half a transaction"
        assert reader.take(1, seconds=0.05) == [], "a read told what may be dropped"
        f.tell("fail", log=0)
        assert behind.take(1) == [UNKNOWN]
        assert reader.take(1) == [UNKNOWN]
    else:
        f.tell("fail", log=0)
        writer.send(mset)
    (said,) = writer.take(1)
    # Under `everysec` another shard may have heard of the fault before it got its part.
    assert said == UNKNOWN or fsync == "everysec" and said.startswith(b"-MISCONF"), said
    begin = time.monotonic()
    with f.node.client() as c:
        for key in keys:
            assert c.call("GET", key).rstrip(b"!") in (b"before", b"after")  # from memory
            assert c.call_raw("SET", key, "x").startswith(b"-MISCONF")
        assert c.call_raw(*mset).startswith(b"-MISCONF")
        assert len(c.call("MGET", *keys)) == shards
    assert time.monotonic() - begin < 2
    f.heal()
    f.node.signal(signal.SIGTERM)
    assert f.node.process.wait(10) == 0
    with f.start() as again, again.client() as c:
        assert {value.rstrip(b"!") for value in c.call("MGET", *keys)} in ({b"before"}, {b"after"})


@pytest.mark.parametrize("shards", SHARDS)
def test_a_failed_sync_under_everysec(faulty, shards):
    """Nothing is held, so nothing becomes an error but what comes later."""
    f = faulty(shards, "everysec")
    keys = keys_of(shards)
    with f.node.client() as c:
        for key in keys:
            assert c.call("SET", key, "safe") == b"OK"
        time.sleep(1.2)
        f.tell("fail", log=shards - 1)
        until = time.monotonic() + 5
        raw = b"+OK\r\n"
        while raw == b"+OK\r\n" and time.monotonic() < until:
            raw = c.call_raw("SET", keys[-1], "lost?")
            time.sleep(0.02)
        assert raw.startswith(b"-MISCONF Errors writing to the log: input/output error")
        for key in keys:
            assert c.call_raw("SET", key, "x").startswith(b"-MISCONF")
            assert c.call("GET", key) in (b"safe", b"lost?")
        assert facts(c)["journal_memory_newer_than_disk"] == "1"
    f.heal()
    f.node.kill()
    with f.start() as again, again.client() as c:
        for key in keys:
            assert c.call("GET", key) in (b"safe", b"lost?")


@pytest.mark.parametrize("before", ("always", "everysec"))
@pytest.mark.parametrize("shards", (1, 2))
def test_the_policy_is_changed_after_a_log_failed(faulty, shards, before):
    """Nothing that could become durable is left: reads must not wait for it."""
    f = faulty(shards, before)
    key = keys_of(shards)[0]
    with f.node.client() as c:
        assert c.call("SET", key, "safe") == b"OK"
        f.tell("fail", log=0)
        until, raw = time.monotonic() + 5, b""
        while not raw.startswith(b"-MISCONF") and time.monotonic() < until:
            raw = c.call_raw("SET", key, "lost?")
            time.sleep(0.02)
        for policy in ("everysec", "always", "no", "always"):
            assert c.call("CONFIG", "SET", "appendfsync", policy) == b"OK"
            reader = Asker(f.node.port)
            reader.send(("GET", key), ("DBSIZE",), ("EXISTS", key))
            assert len(reader.take(3)) == 3, policy
            assert c.call_raw("SET", key, "x").startswith(b"-MISCONF")


def test_replies_of_both_protocols(faulty):
    """What is replaced are whole replies, whatever their form: maps, errors, nulls, nested arrays."""
    f = faulty(1, "always")
    with f.node.client() as c:
        c.call("HSET", "h", "a", 1, "b", 2)
        c.call("ZADD", "z", 1.5, "m")
    commands = [("SET", "k", "v"), ("HGETALL", "h"), ("NOSUCH",), ("GET", "nothing"), ("MGET", "k", "nothing"),
                ("ZRANGE", "z", 0, -1, "WITHSCORES"), ("LPUSH", "k", "x"), ("CONFIG", "GET", "hz*"), ("PING",),
                ("COMMAND", "INFO", "get"), ("LRANGE", "nothing", 0, -1)]
    askers = [Asker(f.node.port) for _ in range(2)]
    askers[1].send(("HELLO", "3"))
    assert len(askers[1].take(1)) == 1
    f.tell("hang")
    for asker in askers:
        asker.send(*commands)
    time.sleep(0.3)
    f.tell("fail")
    for asker in askers:
        replies = asker.take(len(commands))
        assert replies == [UNKNOWN] * len(commands)
        asker.send(("GET", "k"))
        assert asker.take(1) == [b"$1\r\nv\r\n"]
