"""Connections that wait in blocking commands: when they go on, who is served, and how they leave. What the commands
say is held against redis-server in tests/compat/test_blocking.py."""
import random
import statistics
import threading
import time

import pytest
import redis

from moonlib.resp import Disconnected, ReplyError, encode, parse, to_python
from moonlib.server import start_moon
from moonlib.setups import IOS, alternating
from moonlib.slots import key_on
from moonlib.watch import Stopwatch

SHARDS = (1, 2, 4)
LATE_MS_MAX = 20


def info(client, field):
    for line in client.call("INFO").split(b"\r\n"):
        if line.startswith(field.encode() + b":"):
            return int(line.split(b":")[1])
    raise AssertionError(field)


def until_blocked(client, count, seconds=10.0):
    deadline = time.monotonic() + seconds
    while (now := info(client, "blocked_clients")) != count:
        assert time.monotonic() < deadline, f"{now} clients are blocked, not {count}"
        time.sleep(0.001)


def waiting(node, control, *commands):
    """A connection for each, all waiting, in this order."""
    clients = []
    for command in commands:
        clients.append(node.client())
        clients[-1].send(encode(command))
        until_blocked(control, len(clients))
    return clients


def says_nothing(client):
    with pytest.raises(Disconnected, match="no answer"):
        client.read_raw(timeout=0.05)


@pytest.mark.parametrize("io", IOS)
@pytest.mark.parametrize("shards", SHARDS)
def test_timeouts_are_kept(nodes, shards, io):
    node = nodes.get(shards, io)
    keys = [key_on(s, shards) for s in range(shards)]
    late, asked, watch = [], [], Stopwatch(node.pid)
    commands = [("BLPOP", keys[0]), ("BRPOP", keys[-1]), ("BLPOP", *keys), ("BZPOPMIN", *reversed(keys)), ("BRPOPLPUSH", keys[0], keys[0])]
    for _ in range(3):
        clients = [node.client() for _ in commands]
        for seconds in (0.03, 0.1):
            for command, client in zip(commands, clients):
                asked.append((time.monotonic(), watch.now()))
                client.send(encode([*command, seconds]))
            for client in clients:  # they are due one soon after the other
                assert client.read_raw() in (b"*-1\r\n", b"$-1\r\n")
                at, began = asked.pop(0)
                assert time.monotonic() - at >= seconds, "too early"
                late.append((watch.now() - began - seconds) * 1000)
        for client in clients:
            client.close()
    assert statistics.median(late) <= LATE_MS_MAX, f"late by {sorted(late)} ms"
    assert info(node.client(), "blocked_clients") == 0


@pytest.mark.parametrize("shards", SHARDS)
def test_a_thousand_wait_in_order(nodes, shards):
    node = nodes.get(shards, "epoll")
    control = node.client()
    count = 1000
    clients = waiting(node, control, *[("BLPOP", "queue", 0)] * count)
    assert control.call("RPUSH", "queue", *range(count + 1)) == count + 1
    for i, client in enumerate(clients):
        assert parse(client.read_raw()).held[1].held == str(i).encode(), f"client {i}"
        client.close()
    assert control.call("LRANGE", "queue", 0, -1) == [str(count).encode()]
    assert info(control, "blocked_clients") == 0


@pytest.mark.parametrize("io", IOS)
@pytest.mark.parametrize("shards", SHARDS)
def test_who_leaves_takes_nothing(nodes, shards, io):
    node = nodes.get(shards, io)
    control = node.client()
    keys = [key_on(s, shards) for s in range(shards)]
    commands = [("BLPOP", *keys, 0), ("BLPOP", *reversed(keys), 0), ("BLPOP", *keys, 0.2), ("BLPOP", keys[-1], 0), ("BLPOP", keys[0], 0),
                ("BRPOP", *keys, 0)]
    closes, killed, times_out, half, unblocked, stays = waiting(node, control, *commands)
    ids = [int(line.split()[0][3:]) for line in control.call("CLIENT", "LIST").splitlines() if b"flags=b " in line]
    assert len(ids) == len(commands)
    closes.close()
    until_blocked(control, 5)
    assert control.call("CLIENT", "KILL", "ID", sorted(ids)[1]) == 1
    assert killed.read_all() == b""
    half.socket.shutdown(1)  # nobody will read what comes
    assert half.read_all() == b""
    assert control.call("CLIENT", "UNBLOCK", sorted(ids)[4], "ERROR") == 1
    assert unblocked.read_raw() == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    assert times_out.read_raw() == b"*-1\r\n"
    until_blocked(control, 1)
    assert control.call("RPUSH", keys[-1], "a", "b") == 2
    assert stays.read_raw() == b"*2\r\n$%d\r\n%s\r\n$1\r\nb\r\n" % (len(keys[-1]), keys[-1].encode())
    assert control.call("LRANGE", keys[-1], 0, -1) == [b"a"]
    assert unblocked.call("BLPOP", keys[-1], 0) == [keys[-1].encode(), b"a"]  # and goes on
    assert times_out.call("PING") == b"PONG"


@pytest.mark.parametrize("shards", SHARDS)
def test_it_shows(nodes, shards):
    node = nodes.get(shards, "epoll")
    control = node.client()
    (client,) = waiting(node, control, ("BLMPOP", 0, 1, "k", "LEFT"))
    (line,) = [line for line in control.call("CLIENT", "LIST").splitlines() if b"cmd=blmpop" in line]
    assert b" flags=b " in line
    assert b"cmd=blmpop" not in control.call("CLIENT", "LIST", "ID", control.call("CLIENT", "ID"))
    control.call("RPUSH", "k", "v")
    client.read_raw()
    (line,) = [line for line in control.call("CLIENT", "LIST").splitlines() if b"cmd=blmpop" in line]
    assert b" flags=N " in line


@pytest.mark.parametrize("io", IOS)
@pytest.mark.parametrize("shards", SHARDS)
def test_what_is_sent_while_waiting_runs_after_it(nodes, shards, io):
    node = nodes.get(shards, io)
    control = node.client()
    client = node.client()
    big = b"x" * 300_000
    client.send(encode(["BLPOP", "k", 0]))
    until_blocked(control, 1)
    client.send(b"".join(encode(["SET", f"big{i}", big]) for i in range(8)) + encode(["RESET"]) + encode(["BLPOP", "j", 0.01]) + encode(["PING"]))
    time.sleep(0.05)
    assert control.call("EXISTS", *[f"big{i}" for i in range(8)]) == 0
    control.call("RPUSH", "k", "v")
    assert client.read_raw() == b"*2\r\n$1\r\nk\r\n$1\r\nv\r\n"
    assert [client.read_raw() for _ in range(11)] == [b"+OK\r\n"] * 8 + [b"+RESET\r\n", b"*-1\r\n", b"+PONG\r\n"]


class Mover(threading.Thread):
    """Moves elements round a ring of lists, waiting for them."""

    def __init__(self, node, keys, seed):
        super().__init__(daemon=True)
        self.node, self.keys, self.rng = node, keys, random.Random(seed)
        self.moved, self.failures, self.stop = 0, [], False

    def run(self):
        try:
            with self.node.client() as client:
                while not self.stop:
                    source, target = self.rng.sample(self.keys, 2)
                    ends = [self.rng.choice(["LEFT", "RIGHT"]) for _ in range(2)]
                    self.moved += client.call("BLMOVE", source, target, *ends, self.rng.choice([0.002, 0.05])) is not None
        except Exception as error:  # noqa: BLE001: told by the test
            self.failures.append(repr(error))


@pytest.mark.parametrize("appendonly", ("no", "yes"))
@pytest.mark.parametrize("shards", SHARDS)
def test_moves_keep_every_element(shards, appendonly):
    """From shard to shard, while others push and pop."""
    with start_moon(shards=shards, appendonly=appendonly) as node:
        keys = [key_on(s % shards, shards, f"q{s}:") for s in range(4)]
        movers = [Mover(node, keys, seed) for seed in range(4)]
        for mover in movers:
            mover.start()
        client, pushed, popped = node.client(), 0, []
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            client.call("RPUSH", random.choice(keys), pushed)
            pushed += 1
            if pushed % 3 == 0:
                popped += [item for item in [client.call("LPOP", random.choice(keys))] if item is not None]
            time.sleep(0.002)
        for mover in movers:
            mover.stop = True
        for mover in movers:
            mover.join(10)
            assert not mover.is_alive() and not mover.failures, mover.failures
        left = [item for key in keys for item in client.call("LRANGE", key, 0, -1)]
        assert sorted(map(int, left + popped)) == list(range(pushed)), "lost or doubled"
        assert sum(mover.moved for mover in movers) > 10, "hardly anything was moved: the test says nothing"
        until_blocked(client, 0)


@pytest.mark.parametrize("io", IOS)
@pytest.mark.parametrize("shards", (2, 4))
def test_nobody_comes_between_a_push_and_who_waits(nodes, shards, io):
    """Neither what its own connection sends behind the push nor what others ask for, wherever they live."""
    node = nodes.get(shards, io)
    control = node.client()
    source, target = key_on(0, shards, "between"), key_on(1, shards, "beyond")
    thieves = [node.client() for _ in range(2 * shards)]
    for number in range(150):
        (mover,) = waiting(node, control, ("BLMOVE", source, target, "LEFT", "RIGHT", 0))
        for index, thief in enumerate(thieves):
            if index % 2 == number % 2:
                thief.send(encode(["LPOP", source]) * 3)
        pusher = thieves[number % len(thieves)]
        pusher.send(encode(["RPUSH", source, number]) + encode(["LPOP", source]) + encode(["LLEN", target]))
        for index, thief in enumerate(thieves):
            if index % 2 == number % 2:
                assert [thief.read_raw() for _ in range(3)] == [b"$-1\r\n"] * 3
        assert [pusher.read_raw() for _ in range(2)] == [b":1\r\n", b"$-1\r\n"]
        pusher.read_raw()
        assert mover.read_raw() == encode_bulk(number)
        mover.close()
        until_blocked(control, 0)
    assert control.call("LRANGE", target, 0, -1) == [b"%d" % n for n in range(150)]


def encode_bulk(value):
    return b"$%d\r\n%s\r\n" % (len(str(value)), str(value).encode())


def test_a_move_gives_to_who_waits_where_it_pushes(pair):
    """BLPOP has found its first key empty, and its second is still to be tried on the other shard, when an element moves from
    the second to the first, by a command that has the whole node to itself: so it is given at the first. Else the one behind
    it would be taken at the second, as if the move had been and had not."""
    mover = pair.on(1)
    mover.call("CONFIG", "SET", "shard-lending", "no")
    for _ in range(3):
        mover.call("DEL", pair.a, pair.b)
        mover.call("RPUSH", pair.b, "first", "second")
        waiter, other = pair.on(0), pair.on(1)
        sleeper = pair.stop(0)
        waiter.send(encode(["BLPOP", pair.a, pair.b, 0]))
        other.send(encode(["MSET", pair.a2, 1, pair.b2, 1]))
        time.sleep(0.05)
        mover.send(encode(["LMOVE", pair.b, pair.a, "LEFT", "RIGHT"]))  # waits for the MSET, with nobody beside it
        answers = [to_python(parse(c.read_raw(timeout=20))) for c in (waiter, mover, other, sleeper)]
        assert answers[:2] in ([[pair.a.encode(), b"first"], b"first"], [[pair.b.encode(), b"first"], b"second"]), answers


@pytest.mark.parametrize("shards, io", alternating(2, 4))
def test_moves_that_cross(shards, io):
    """LMOVE and BLMOVE from a to b and from b to a at once, transactions over both between them, and clients that give up:
    nothing hangs, nothing is lost or doubled, nothing stays locked."""
    with start_moon(shards=shards, io=io) as node:
        a, b = key_on(0, shards, "a"), key_on(1, shards, "b")
        a2 = key_on(0, shards, "a2")
        pushed, popped, stop = [0], [[], []], time.monotonic() + 3

        def storm(seed):
            rng = random.Random(seed)
            with node.client() as client:
                while time.monotonic() < stop:
                    x, y = rng.choice([(a, b), (b, a), (a, a2), (b, a2), (a2, b)])
                    ends = rng.choice(["LEFT", "RIGHT"]), rng.choice(["LEFT", "RIGHT"])
                    draw = rng.random()
                    if draw < 0.35:
                        client.call("BLMOVE", x, y, *ends, rng.choice(["0.001", "0.003", "0.02"]))
                    elif draw < 0.55:
                        client.call("LMOVE", x, y, *ends)
                    elif draw < 0.65:
                        assert client.call("EXISTS", a, b, a2, "c") <= 3
                    elif draw < 0.75:
                        client.call("MSET", key_on(0, shards, "s"), seed, key_on(1, shards, "t"), seed)
                    elif draw < 0.8:
                        client.call("DBSIZE")
                    elif draw < 0.9:
                        client.call("LRANGE", x, 0, -1)
                    elif draw < 0.95:
                        popped[seed % 2] += [item for item in [client.call("LPOP", x)] if item is not None]
                    else:
                        leaver = node.client()
                        leaver.send(encode(["BLMOVE", x, y, *ends, 0]))
                        time.sleep(rng.choice([0, 0.001]))
                        leaver.close()

        failures = []

        def guarded(seed):
            try:
                storm(seed)
            except Exception as error:  # noqa: BLE001: told by the test
                failures.append(repr(error))

        threads = [threading.Thread(target=guarded, args=(seed,), daemon=True) for seed in range(6)]
        for thread in threads:
            thread.start()
        with node.client() as client:
            while time.monotonic() < stop:
                client.call("RPUSH", random.choice([a, b]), pushed[0])
                pushed[0] += 1
                time.sleep(0.001)
            for thread in threads:
                thread.join(20)
            assert not failures, failures
            assert not any(thread.is_alive() for thread in threads), "a client hangs"
            until_blocked(client, 0)
            left = [item for key in (a, b, a2) for item in client.call("LRANGE", key, 0, -1)]
            assert sorted(map(int, left + popped[0] + popped[1])) == list(range(pushed[0]))
            assert pushed[0] > 100


@pytest.mark.parametrize("fsync", ("always", "everysec"))
@pytest.mark.parametrize("shards", SHARDS)
def test_a_stop_ends_all_waits(tmp_path, shards, fsync):
    args = ["--appendfsync", fsync]
    keys = [key_on(s, shards) for s in range(shards)]
    with start_moon(shards=shards, appendonly="yes", folder=str(tmp_path), args=args) as node:
        control = node.client()
        clients = waiting(node, control, *[("BLPOP", *keys, 0)] * 8, *[("BLPOP", key, 30) for key in keys])
        control.call("RPUSH", keys[-1], "a", "b", "c")
        for client in clients[:3]:
            assert parse(client.read_raw()).held[0].held == keys[-1].encode()
        start = time.monotonic()
        control.send(encode(["SHUTDOWN"]))
        for client in clients[3:]:
            assert client.read_all() == b""
        node.process.wait(10)
        assert time.monotonic() - start < 5
    with start_moon(shards=shards, appendonly="yes", folder=str(tmp_path), args=args) as node:
        assert node.client().call("DBSIZE") == 0


class Consumer(threading.Thread):
    """Pops until it is told to stop; now and then it gives up early, or is unblocked, or comes anew."""

    def __init__(self, node, keys, seed):
        super().__init__(daemon=True)
        self.node, self.keys, self.rng = node, keys, random.Random(seed)
        self.got, self.failures, self.stop, self.id = [], [], False, None

    def command(self):
        keys = self.rng.sample(self.keys, self.rng.randint(1, len(self.keys)))
        timeout = self.rng.choice([0.001, 0.002, 0.005, 0.05])
        kind = self.rng.randrange(4)
        if kind == 0:
            return ("BLMPOP", timeout, len(keys), *keys, "LEFT", "COUNT", self.rng.randint(1, 3))
        return (("BLPOP", "BLPOP", "BRPOP")[kind - 1], *keys, timeout)

    def run(self):
        try:
            client = self.node.client()
            while not self.stop:
                self.id = client.call("CLIENT", "ID")
                try:
                    reply = client.call(*self.command())
                except ReplyError as error:
                    assert error.text.startswith(b"UNBLOCKED"), error
                    continue
                if reply is not None:
                    self.got += reply[1] if isinstance(reply[1], list) else [reply[1]]
                if self.rng.random() < 0.05:
                    client.close()
                    client = self.node.client()
        except Exception as error:  # noqa: BLE001: told by the test
            self.failures.append(repr(error))


@pytest.mark.parametrize("shards, io", alternating(*SHARDS, first="uring"))
def test_each_element_goes_to_one(nodes, shards, io):
    """Pushes, timeouts and CLIENT UNBLOCK race for those who wait on several shards."""
    node = nodes.get(shards, io)
    rng = random.Random(7)
    keys = [key_on(s % shards, shards, f"q{s}:") for s in range(4)]
    consumers = [Consumer(node, keys, seed) for seed in range(6)]
    for consumer in consumers:
        consumer.start()
    producer, pushed = node.client(), 0
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        commands = []
        for _ in range(rng.randint(1, 6)):
            count = rng.randint(1, 3)
            commands.append(("RPUSH", rng.choice(keys), *range(pushed, pushed + count)))
            pushed += count
        victim = rng.choice(consumers).id
        if victim is not None and rng.random() < 0.3:
            commands.append(("CLIENT", "UNBLOCK", victim, rng.choice(["ERROR", "TIMEOUT"])))
        assert not [r for r in producer.pipeline(commands) if isinstance(r, ReplyError)]
        if rng.random() < 0.5:
            time.sleep(rng.choice([0.0005, 0.003]))
    for consumer in consumers:
        consumer.stop = True
    for consumer in consumers:
        consumer.join(10)
        assert not consumer.is_alive() and not consumer.failures, consumer.failures
    left = [item for key in keys for item in producer.call("LRANGE", key, 0, -1)]
    seen = sorted(int(item) for item in [*left, *[item for consumer in consumers for item in consumer.got]])
    assert seen == list(range(pushed)), "lost or given twice"
    assert sum(len(consumer.got) for consumer in consumers) > 100, "hardly anything was popped: the test says nothing"
    until_blocked(producer, 0)


@pytest.mark.parametrize("shards", (1, 2))
def test_redis_py(nodes, shards):
    node = nodes.get(shards, "epoll")
    for protocol in (2, 3):
        r = redis.Redis(port=node.port, protocol=protocol, decode_responses=True)
        r.flushall()
        assert r.blpop(["a", "b"], timeout=0.05) is None
        r.rpush("b", "1", "2", "3")
        assert list(r.blpop(["a", "b"], timeout=1)) == ["b", "1"]
        assert list(r.brpop("b", timeout=1)) == ["b", "3"]
        assert r.blmpop(1, 1, "b", direction="LEFT", count=2) == ["b", ["2"]]
        assert r.blmove("{t}1", "{t}2", timeout=0.05) is None
        assert r.brpoplpush("{t}1", "{t}2", timeout=0.05) is None
        r.rpush("{t}1", "x")
        assert r.brpoplpush("{t}1", "{t}2", timeout=1) == "x"
        r.zadd("z", {"m": 1, "n": 2.5, "o": 3})
        assert list(r.bzpopmin(["y", "z"], timeout=1)) == ["z", "m", 1.0]
        assert list(r.bzpopmax("z", timeout=1)) == ["z", "o", 3.0]
        assert r.bzmpop(1, 1, ["z"], min=True, count=5)[0] == "z"
        pusher = threading.Timer(0.05, lambda: redis.Redis(port=node.port).rpush("late", "v"))
        pusher.start()
        assert list(r.blpop("late", timeout=5)) == ["late", "v"]
        pusher.join()
        r.close()


@pytest.mark.parametrize("io", IOS)
def test_what_is_there_is_given_however_short_the_time(io):
    """The time of a wait for keys of a busy shard was once over before it was asked."""
    with start_moon(shards=2, io=io, args=("--enable-debug-command", "yes")) as node:
        clients = [node.client() for _ in range(2)]  # one on each shard
        keys = [key_on(s, 2) for s in range(2)]
        for round_number in range(4):
            sleeper, asker = clients if round_number % 2 == 0 else reversed(clients)
            for key in keys:  # on the sleeping shard lies one of them
                asker.call("RPUSH", key, "x")
            for key in keys:
                sleeper.send(encode(["DEBUG", "SLEEP", "0.15"]))
                time.sleep(0.03)
                assert asker.call("BLPOP", key, "0.01") == [key.encode() if isinstance(key, str) else key, b"x"]
                assert asker.call("BLPOP", key, "0.01") is None
                assert sleeper.read_raw() == b"+OK\r\n"
