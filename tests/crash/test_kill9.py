"""kill -9 under load, round after round in one data directory, with another number of shards, another backend
and another fsync policy each time: no acknowledged write may be missing, no write that was never sent may
appear, and what one recovery showed the next shows too.

MOON_CRASH_ROUNDS says how many rounds (12; `full` runs 100), MOON_SEED replays the draws.
"""
import collections
import os
import random
import threading
import time

import pytest

from moonlib.resp import Disconnected
from moonlib.server import Server, free_port, moon_binary, start_moon

ROUNDS = int(os.environ.get("MOON_CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("MOON_SEED", "1"))
WRITERS = 4
KEYS = 40
DEPTH = 8


def accounts(number):
    return [f"b:{number}:{k}" for k in range(12)]


class Writer(threading.Thread):
    """Writes rising numbers to its own keys and remembers what was sent and what was acknowledged."""

    def __init__(self, number, state, port, seed):
        super().__init__(daemon=True)
        self.number, self.state, self.rng = number, state, random.Random(seed)
        self.client = None
        self.port = port

    def command(self):
        """A command, and the places of `state` that its acknowledgement settles."""
        state, n = self.state, self.number
        kind = self.rng.randrange(7)
        if kind == 0:
            key = f"s:{n}:{self.rng.randrange(KEYS)}"
            value = state.sent.get(key, 0) + 1
            return ("SET", key, value), [(key, value)]
        if kind == 1:
            key = f"c:{n}"
            value = state.sent.get(key, 0) + 1
            return ("INCR", key), [(key, value)]
        if kind == 2:
            key = f"l:{n}"
            value = state.sent.get(key, 0) + 1
            return ("RPUSH", key, value), [(key, value)]
        if kind == 4:  # whole or not at all: State.check compares the two
            keys = [f"t:{{{n}}}a", f"t:{{{n}}}b"]
            value = state.sent.get(keys[0], 0) + 1
            return ("EXEC", *[("SET", key, value) for key in keys]), [(key, value) for key in keys]
        if kind >= 5:  # the same over several shards: on two, on three, on all by their number
            keys = [f"m:{n}:{kind}:{k}" for k in range(2 + kind % 5 * 4)]
            value = state.sent.get(keys[0], 0) + 1
            return ("MSET", *[x for key in keys for x in (key, value)]), [(key, value) for key in keys]
        if kind == 5:  # of any shards: State.check counts the sum
            source, target = self.rng.sample(accounts(n), 2)
            key = f"x:{n}"
            value = state.sent.get(key, 0) + 1
            moves = self.rng.choice([(("DECRBY", source, 7), ("INCRBY", target, 7)), (("RENAME", source, target + "'"), ("RENAME", target + "'", source))])
            return ("EXEC", ("INCRBY", source, 0), *moves, ("INCR", key)), [(key, value)]
        keys = [f"s:{n}:{k}" for k in self.rng.sample(range(KEYS), 4)]
        settled = [(key, state.sent.get(key, 0) + 1) for key in keys]
        return ("MSET", *[x for pair in settled for x in pair]), settled

    @staticmethod
    def answers(client, commands):
        """One reply per command; a transaction is sent as what it is."""
        sent, last = [], []
        for command in commands:
            sent += [("MULTI",), *command[1:], ("EXEC",)] if command[0] == "EXEC" else [command]
            last.append(len(sent) - 1)
        replies = client.pipeline(sent)
        return [replies[i] for i in last]

    def run(self):
        from moonlib.resp import Client
        try:
            with Client(self.port, timeout=20) as client:
                while True:
                    batch = []
                    for _ in range(self.rng.randrange(1, DEPTH)):
                        command, settled = self.command()
                        batch.append((command, settled))
                        for key, value in settled:
                            self.state.sent[key] = value
                    replies = self.answers(client, [command for command, _ in batch])
                    for (_, settled), reply in zip(batch, replies):
                        if isinstance(reply, Exception):
                            self.state.failures.append(f"{settled}: {reply}")
                            return
                        for key, value in settled:
                            self.state.acked[key] = max(value, self.state.acked.get(key, 0))
        except (Disconnected, OSError, EOFError, TimeoutError):
            pass  # the server was killed


class State:
    def __init__(self):
        self.sent, self.acked, self.known = {}, {}, {}
        self.failures = []  # of its writer: what was not acknowledged though nobody was killed yet
        self.checked = 0  # acknowledged writes that a start was asked for

    def check(self, client, where):
        for key in sorted(self.sent):
            value = self.stored(client, key)
            acked, sent = self.acked.get(key, 0), self.sent[key]
            self.checked += acked - self.known.get(key, 0)
            assert acked <= value <= sent, f"{where}: {key} holds {value}, acknowledged {acked}, sent {sent}"
            self.sent[key] = self.acked[key] = self.known[key] = value
        for key in (key for key in self.sent if key.startswith("t:") and key.endswith("a")):
            assert self.sent[key] == self.sent[key[:-1] + "b"], f"{where}: half a transaction at {key}"
        for key in (key for key in self.sent if key.startswith("m:")):
            assert self.sent[key] == self.sent[key[:key.rindex(":")] + ":0"], f"{where}: half an MSET at {key}"

        for key in (key for key in self.sent if key.startswith("x:")):
            balances = client.call("MGET", *accounts(key[2:]))
            assert sum(int(v or 0) for v in balances) == 0, f"{where}: half a transfer at {key}: {balances}"
            assert not any(client.call("MGET", *[f"{name}'" for name in accounts(key[2:])])), f"{where}: half of two renames at {key}"

    @staticmethod
    def stored(client, key):
        if not key.startswith("l:"):
            return int(client.call("GET", key) or 0)
        items = [int(x) for x in client.call("LRANGE", key, 0, -1)]
        assert items == list(range(1, len(items) + 1)), f"{key} has holes: {items[:20]} …"
        return len(items)


def kill_while_loading(folder, shards, seconds):
    port = free_port()
    argv = [moon_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--shards", str(shards),
            "--key-load-delay", "200"]
    server = Server(argv, port, str(folder), False)
    time.sleep(seconds)
    server.kill()


def test_no_acknowledged_write_is_missing(tmp_path):
    rng = random.Random(SEED)
    states = [State() for _ in range(WRITERS)]
    drawn, begin = collections.Counter(), time.monotonic()
    for number in range(ROUNDS):
        shards = rng.choice([1, 2, 3, 4, 8])
        io = rng.choice(["uring", "epoll"])
        fsync = rng.choice(["always", "everysec", "everysec", "no"])
        drawn.update([f"{shards} shards", io, fsync])
        where = f"seed {SEED} round {number} shards {shards} io {io} appendfsync {fsync}"
        if rng.random() < 0.2:
            kill_while_loading(tmp_path, shards, rng.uniform(0.02, 0.4))
            drawn.update(["killed while loading"])
        server = start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path), args=["--appendfsync", fsync])
        try:
            with server.client() as client:
                for state in states:
                    state.check(client, where)
            writers = [Writer(i, states[i], server.port, rng.random()) for i in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(rng.uniform(0.05, 0.5))
            server.kill()
            for writer in writers:
                writer.join(30)
                assert not writer.is_alive()
            assert not [failure for state in states for failure in state.failures], where
        finally:
            server.kill()
    written = sum(sum(state.acked.values()) for state in states)
    print(f"{ROUNDS} rounds in {time.monotonic() - begin:.0f} s, {sum(state.checked for state in states)} acknowledged writes "
          f"checked; rounds by draw: {dict(sorted(drawn.items()))}")
    assert written > ROUNDS * 100, "hardly anything was written: the test says nothing"


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_clean_stop_and_start_keeps_everything(tmp_path, shards):
    server = start_moon(shards=shards, appendonly="yes", folder=str(tmp_path))
    with server.client() as client:
        for i in range(500):
            client.call("SET", f"k{i}", f"v{i}")
        client.call("SET", "gone", "x", "PX", "20")
        client.call("EXPIRE", "k1", "1000")
        client.call("RPUSH", "list", *range(1000))
        client.call("SADD", "set", *range(1000))
    server.stop()
    time.sleep(0.05)
    with start_moon(shards=3, appendonly="yes", folder=str(tmp_path)) as again:
        with again.client() as client:
            assert client.call("DBSIZE") in (502, 503)
            assert client.call("GET", "gone") is None
            assert [client.call("GET", f"k{i}") for i in range(500)] == [f"v{i}".encode() for i in range(500)]
            assert 990 < client.call("TTL", "k1") <= 1000
            assert client.call("LRANGE", "list", 0, -1) == [str(i).encode() for i in range(1000)]
            assert client.call("SCARD", "set") == 1000


def test_two_processes_never_open_one_directory(tmp_path):
    from moonlib.server import StartFailed
    with start_moon(appendonly="yes", folder=str(tmp_path)):
        with pytest.raises(StartFailed) as failed:
            start_moon(appendonly="yes", folder=str(tmp_path))
        assert "another process" in str(failed.value)


@pytest.mark.parametrize("io", ("epoll", "uring"))
@pytest.mark.parametrize("fsync", ("everysec", "no"))
def test_killed_after_the_policy_was_always(tmp_path, io, fsync):
    """The segment in use was opened for `always`: what is answered under another policy must be with the kernel all the
    same."""
    options = {"io": io, "folder": str(tmp_path), "appendonly": "yes", "args": ["--appendfsync", "always"]}
    for last in (7, 8, 9, 40):
        with start_moon(**options) as node:
            c = node.client()
            c.call("SET", "k", "always")
            c.call("CONFIG", "SET", "appendfsync", fsync)
            time.sleep(0.05)
            for value in range(last + 1):
                assert c.call("SET", "k", value) == b"OK"
            node.kill()
        with start_moon(**options) as node, node.client() as c:
            assert c.call("GET", "k") == b"%d" % last
