"""Commands over several shards are atomic, whatever the shards do meanwhile: MGET MSET MSETNX DEL UNLINK EXISTS TOUCH,
and KEYS DBSIZE FLUSHALL FLUSHDB SWAPDB, which are about all keys."""
import random
import re
import socket
import struct
import threading
import time

import pytest

from moonlib.pair import NAP, has_reply
from moonlib.resp import encode, parse, to_python
from moonlib.server import start_moon
from moonlib.setups import alternating, name_of
from moonlib.slots import key_on
from moonlib.together import client_of, together

SOON = NAP / 3


# ---- directed

@pytest.mark.parametrize("home", [0, 1])
def test_a_reader_between_two_parts_waits_and_nobody_else_does(pair, home):
    """One part is granted, the shard of the other stands still."""
    writer, reader, bystander = pair.on(0), pair.on(0), pair.on(0)
    if home == 1:
        reader = pair.on(1)
    writer.call("MSET", pair.a, "old", pair.b, "old")
    pair.stop(1)
    writer.send(encode(["MSET", pair.a, "new", pair.b, "new"]))
    time.sleep(0.05)
    if home == 0:
        reader.send(encode(["GET", pair.a]))
        assert bystander.call("GET", pair.a2) is None
        assert not has_reply(reader, SOON)
    else:
        reader.send(encode(["MGET", pair.a, pair.b]))
    assert reader.read_raw() in (b"$3\r\nnew\r\n", b"*2\r\n$3\r\nnew\r\n$3\r\nnew\r\n")
    assert writer.read_raw() == b"+OK\r\n"


def test_later_commands_of_a_connection_wait_behind_one_that_waits(pair):
    writer, other, bystander = pair.on(0), pair.on(0), pair.on(0)
    pair.stop(1)
    writer.send(encode(["MSET", pair.a, "new", pair.b, "new"]))
    time.sleep(0.05)
    other.send(encode(["APPEND", pair.a, "1"]) + encode(["SET", pair.a2, "later"]))
    time.sleep(0.05)
    seen = bystander.call("SCAN", "0", "COUNT", "1000")[1]  # names no key, so it passes; begins with shard 0
    assert pair.a2.encode() not in seen
    assert not has_reply(other)
    assert [other.read_raw(), other.read_raw()] == [b":4\r\n", b"+OK\r\n"]


def test_a_command_of_several_keys_of_one_shard_waits_in_between(pair):
    first, renamer, second = pair.on(0), pair.on(0), pair.on(0)
    pair.stop(1)
    first.send(encode(["MSET", pair.a, "1", pair.b, "1"]))
    time.sleep(0.05)
    renamer.send(encode(["RENAME", pair.a, pair.a2]))
    time.sleep(0.05)
    second.send(encode(["MSET", pair.a2, "2", pair.b, "2"]))
    assert first.read_raw() == renamer.read_raw() == second.read_raw() == b"+OK\r\n"
    assert first.call("MGET", pair.a, pair.a2, pair.b) == [None, b"2", b"2"]


def test_crossing_queues(pair):
    """Each queues its own part first, behind a shard that stands still: both come to an end, in one order."""
    one, two = pair.on(0), pair.on(1)
    for _ in range(3):
        nap0, nap1 = pair.stop(0), pair.stop(1)
        one.send(encode(["MSET", pair.a, "one", pair.b, "one"]))
        two.send(encode(["MSET", pair.b, "two", pair.a, "two"]))
        assert one.read_raw() == two.read_raw() == b"+OK\r\n"
        a, b = one.call("MGET", pair.a, pair.b)
        assert a == b
        nap0.read_raw()
        nap1.read_raw()


def test_exec_waits_for_the_keys_of_a_transaction(pair):
    writer, near, far = pair.on(0), pair.on(0), pair.on(1)
    writer.call("MSET", pair.a, "old", pair.b, "old")
    for c in (near, far):
        c.call("MULTI")
        c.call("GET", pair.a)
        c.call("GET", pair.a2)
    nap = pair.stop(1)
    writer.send(encode(["MSET", pair.a, "new", pair.b, "new"]))
    time.sleep(0.05)
    near.send(encode(["EXEC"]) + encode(["PING"]))
    assert not has_reply(near, SOON)
    assert near.read_raw() == b"*2\r\n$3\r\nnew\r\n$-1\r\n"
    assert near.read_raw() == b"+PONG\r\n"
    assert far.call("EXEC") == [b"new", None]
    nap.read_raw()
    for c in (near, far):
        c.call("MULTI")
        c.call("SELECT", "3")
        c.call("SET", pair.a, "in 3")
    pair.stop(1)
    writer.read_raw()
    writer.send(encode(["MSET", pair.a, "newer", pair.b, "newer"]))
    time.sleep(0.05)
    near.send(encode(["EXEC"]) + encode(["GET", pair.a]))
    assert near.read_raw() == b"*2\r\n+OK\r\n+OK\r\n"
    assert near.read_raw() == b"$4\r\nin 3\r\n"
    assert far.call("DISCARD") == b"OK"


@pytest.mark.parametrize("how", ["kill", "reset", "close"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing_locked(pair, how):
    writer, waiter, killer = pair.on(0), pair.on(0), pair.on(0)
    writer.call("MSET", pair.a, "old", pair.b, "old")
    ids = [c.call("CLIENT", "ID") for c in (writer, waiter)]
    pair.stop(1)
    writer.send(encode(["MSET", pair.a, "new", pair.b, "new"]))
    time.sleep(0.05)
    waiter.send(encode(["APPEND", pair.a, "+"]))
    time.sleep(0.05)
    for c, number in zip((writer, waiter), ids):
        if how == "kill":
            assert killer.call("CLIENT", "KILL", "ID", number) == 1
        if how == "reset":
            c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how != "kill":
            c.socket.close()
    a, b = killer.call("MGET", pair.a, pair.b)
    assert (a.rstrip(b"+"), b) in ((b"new", b"new"), (b"old", b"old"))
    assert killer.call("MSET", pair.a, "1", pair.b, "1") == b"OK"
    with pair.on(1) as far:
        assert far.call("MGET", pair.a, pair.b) == [b"1", b"1"]
        assert far.call("FLUSHALL") == b"OK"


# ---- many at once

@pytest.fixture(name="node", params=alternating(1, 2, 4, 8), ids=name_of)
def fixture_node(request):
    with start_moon(shards=request.param[0], io=request.param[1]) as node:
        yield node


def test_all_or_nothing_of_crossing_writes_is_seen(node):
    keys = [f"key{i}" for i in range(6)]
    until = time.monotonic() + 1.5

    def write(number):
        def run(c):
            rng, i = random.Random(number), 0
            while time.monotonic() < until:
                batch = []
                for _ in range(rng.randint(1, 16)):
                    order = rng.sample(keys, len(keys))
                    i += 1
                    batch.append(["DEL", *order] if rng.random() < 0.1
                                 else ["MSET", *[w for k in order for w in (k, f"{number}-{i}")]])
                for reply in c.pipeline(batch):
                    assert reply == b"OK" or isinstance(reply, int), reply
        return run

    def read(c):
        rng = random.Random(1)
        while time.monotonic() < until:
            for values in c.pipeline([["MGET", *rng.sample(keys, len(keys))]] * rng.randint(1, 16)):
                assert len(set(values)) == 1, values
            assert c.call("EXISTS", *keys) in (0, len(keys))
            assert c.call("DBSIZE") in (0, len(keys))
            assert len(c.call("KEYS", "*")) in (0, len(keys))

    together(*[client_of(node, write(i)) for i in range(3)], *[client_of(node, read)] * 3)


def refused(node):
    """Rounds of transactions that came to nothing."""
    return sum(int(number) for number in re.findall(r"refused=(\d+)", node.client().call("INFO", "shards").decode()))


def test_nobody_is_refused_for_what_others_want(node):
    """All want the same keys, in both orders and from all shards; that they come late nowhere makes them begin anew."""
    keys = [key_on(s % node_shards(node), node_shards(node), prefix=f"hot{s}-") for s in range(3)]

    def write(number):
        def run(c):
            for i in range(300):
                mine = keys[:2] if (i + number) % 3 else keys[::-1]
                c.call("MSET", *[x for k in mine for x in (k, f"{number}-{i}")])
        return run

    def read(c):
        for i in range(300):
            got = c.call("MGET", *keys[:2]) if i % 2 else [c.call("GET", keys[i % 3])]
            assert len(set(got)) == 1

    together(*[client_of(node, write(i)) for i in range(6)], *[client_of(node, read)] * 3)
    assert refused(node) == 0


def test_clients_that_leave_while_others_wait(node):
    """Transactions of theirs wait behind others, and hold up more."""
    until, numbers = time.monotonic() + 2.5, iter(range(10**9))

    def stay(c):
        while time.monotonic() < until:
            number = next(numbers)
            if number % 2:
                c.call("MSET", *[x for k in range(4) for x in (f"k{k}{number % 7}", number)])
            else:
                c.call("EVAL", "return 1", 2, f"k1{number % 7}", f"k2{number % 7}")

    def leave(_):
        commands = b"".join(encode(["MSET", f"x{i}", 1, f"y{i}", 2]) for i in range(20)) + encode(["KEYS", "*"])
        while time.monotonic() < until:
            c = node.client()
            c.call("PING")
            c.send(commands)
            node.clients.remove(c)
            c.close()
            time.sleep(0.001)

    together(*[client_of(node, stay, timeout=8)] * 4, client_of(node, leave))


def test_a_read_sees_the_first_of_two_writes_or_both(node):
    """SET on one shard is acknowledged before SET on the other is sent."""
    keys = ["first", "second"] if node_shards(node) == 1 else [key_on(s, node_shards(node)) for s in (0, 1)]
    done = threading.Event()

    def write(c):
        for i in range(1500):
            c.call("SET", keys[0], i)
            c.call("SET", keys[1], i)
        done.set()

    def read(order):
        def run(c):
            while not done.is_set():
                values = dict(zip(order, (int(v or -1) for v in c.call("MGET", *order))))
                assert values[keys[0]] - values[keys[1]] in (0, 1), values
        return run

    together(client_of(node, write), *[client_of(node, read(order)) for order in (keys, keys[::-1]) for _ in range(2)])


def node_shards(node):
    return int(node.argv[node.argv.index("--shards") + 1])


def test_commands_for_which_all_shards_stand_see_no_part(node):
    keys = ["first", "second"] if node_shards(node) == 1 else [key_on(s, node_shards(node)) for s in (0, 1)]
    until, rounds = time.monotonic() + 1.5, []

    def write(number):
        def run(c):
            order, i = keys[::(1, -1)[number]], 0
            while time.monotonic() < until:
                i += 1
                assert c.call("MSET", order[0], f"{number}-{i}", order[1], f"{number}-{i}") == b"OK"
        return run

    def read(c):
        while time.monotonic() < until:
            c.send(b"".join(encode(x) for x in (["MULTI"], ["GET", keys[0]], ["GET", keys[1]], ["EXEC"])))
            a, b = parse_last([c.read_raw() for _ in range(4)])
            assert a == b
            assert len(set(c.call("MGET", *keys))) == 1
            if a is not None:
                text = c.call("LCS", *keys)
                assert text.count(b"-") == 1 and text[:2] in (b"0-", b"1-"), text
            rounds.append(1)

    together(*[client_of(node, f) for f in (write(0), write(1), read, read)])
    assert len(rounds) > 2


def parse_last(raw):
    return to_python(parse(raw[-1]))


def test_flushes_and_swaps_are_whole(node):
    keys = [f"key{i}" for i in range(8)]
    until = time.monotonic() + 1.2

    def write(c):
        while time.monotonic() < until:
            c.call("MSET", *[w for k in keys for w in (k, "v")])

    def flush(c):
        while time.monotonic() < until:
            assert c.call("FLUSHALL") == b"OK"
            assert c.call("SWAPDB", "0", "1") == b"OK"

    def read(c):
        while time.monotonic() < until:
            assert c.call("DBSIZE") in (0, len(keys))
            assert len(set(c.call("MGET", *keys))) == 1

    together(*[client_of(node, f) for f in (write, write, flush, read, read)])


def test_one_of_many_sets_all_new_keys(node):
    rounds, wins = 60, []
    barrier = threading.Barrier(4)

    def compete(number):
        def run(c):
            rng = random.Random(number)
            for i in range(rounds):
                barrier.wait(20)
                order = rng.sample(range(5), 3) + [9]  # each has a key that all have
                if c.call("MSETNX", *[w for k in order for w in (f"{i}-{k}", number)]):
                    wins.append((i, number, order))
        return run

    together(*[client_of(node, compete(n)) for n in range(4)])
    assert sorted(i for i, _, _ in wins) == list(range(rounds))
    with node.client() as c:
        for i, number, order in wins:
            assert c.call("MGET", *[f"{i}-{k}" for k in range(10)]) == [
                str(number).encode() if k in order else None for k in range(10)]


class Own:
    """What a client must be answered about keys that it alone writes."""

    def __init__(self, rng, prefix):
        self.rng, self.held = rng, {}
        self.names = [f"{prefix}{i}" for i in range(12)]

    def draw(self):
        rng = self.rng
        keys = [rng.choice(self.names) for _ in range(rng.choice((1, 2, 2, 3, 6)))]
        name = rng.choice(("MGET", "MGET", "MSET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH", "MSETNX", "GET", "SET", "APPEND"))
        value = str(rng.randint(0, 99)).encode()
        if name in ("MSET", "MSETNX"):
            keys = [(k, str(rng.randint(0, 99)).encode()) for k in keys]
            return [name, *[w for pair in keys for w in pair]], self.set_many(keys, name == "MSETNX")
        if name in ("SET", "APPEND"):
            self.held[keys[0]] = (self.held.get(keys[0], b"") if name == "APPEND" else b"") + value
            return [name, keys[0], value], len(self.held[keys[0]]) if name == "APPEND" else b"OK"
        if name == "GET":
            return [name, keys[0]], self.held.get(keys[0])
        if name == "MGET":
            return [name, *keys], [self.held.get(k) for k in keys]
        if name in ("EXISTS", "TOUCH"):
            return [name, *keys], sum(k in self.held for k in keys)
        return [name, *keys], sum(self.held.pop(k, None) is not None for k in keys)

    def set_many(self, pairs, only_new):
        if only_new and any(k in self.held for k, _ in pairs):
            return 0
        self.held.update(pairs)
        return 1 if only_new else b"OK"


def test_long_pipelines_keep_the_order_of_what_shares_keys(node):
    """Beside each other, so that tickets cross: keys of their own, and one that all write."""
    def run(number):
        def work(c):
            own = Own(random.Random(number), f"c{number}-")
            for _ in range(3):
                drawn = []
                for _ in range(1000):
                    drawn.append(own.draw())
                    if own.rng.random() < 0.2:
                        drawn.append((["MSET", "shared", number, own.names[0], "s"], b"OK"))
                        own.held[own.names[0]] = b"s"
                replies = c.pipeline([command for command, _ in drawn])
                for (command, expected), reply in zip(drawn, replies):
                    assert reply == expected, (command, reply, expected)
        return work

    together(*[client_of(node, run(n)) for n in range(4)])


def test_keys_that_expire_together_are_seen_together(node):
    keys = [f"key{i}" for i in range(6)]
    with node.client() as c:
        for i in range(12):
            at_ms = int(time.time() * 1000) + 40 + i
            c.call("MSET", *[w for k in keys for w in (k, "v")])
            c.pipeline([["PEXPIREAT", k, at_ms] for k in keys])

            def read(r):
                while True:
                    for values in r.pipeline([["MGET", *keys]] * 4):
                        assert len(set(values)) == 1, values
                    if values[0] is None:
                        return
            together(*[client_of(node, read)] * 3)


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4096


def test_large_replies_of_a_pipeline_do_not_fill_the_memory(node):
    keys, count = [f"key{i}" for i in range(8)], 160
    with node.client(timeout=8) as c:
        for k in keys:
            c.call("SET", k, b"v" * (1 << 16))
        before = rss_bytes(node.pid)
        c.send(encode(["MGET", *keys]) * count)
        time.sleep(1)
        assert rss_bytes(node.pid) - before < 40 << 20  # of 80 MB; 32 are under way before the first is known
        for _ in range(count):
            assert len(c.read_raw()) > 8 << 16
