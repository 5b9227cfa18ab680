"""A shard that sleeps is worked on by who has work for it: nobody is woken, order and writes hold, and what only
its own thread can do is still done soon."""
import random
import re
import threading
import time

import pytest

from moonlib.resp import ReplyError, encode, parse, to_python
from moonlib.server import start_moon
from moonlib.setups import IOS, name_of
from moonlib.slots import key_on, shards_of


SETUPS = [*[(2, io) for io in IOS], (4, "epoll")]  # how a shard sleeps is a matter of the backend


def counters(client):
    """Sums over all shards."""
    text = client.call("INFO", "shards").decode()
    sums = {"lends": 0, "wakes": 0, "sleeps": 0}
    for line in text.splitlines():
        for pair in line.partition(":")[2].split(","):
            name, _, value = pair.partition("=")
            if name in sums:
                sums[name] += int(value)
    return sums


def spent(client, before):
    return {name: value - before[name] for name, value in counters(client).items()}


def read(client):
    return to_python(parse(client.read_raw()))


def freed_objects(client):
    return int(re.search(rb"lazyfreed_objects:(\d+)", client.call("INFO", "memory"))[1])


def settle():
    time.sleep(0.05)  # shards fall asleep


@pytest.fixture(name="node", params=SETUPS, ids=name_of)
def fixture_node(request, nodes):
    node = nodes.get(*request.param)
    with node.client() as c:
        c.call("CONFIG", "SET", "shard-lending", "yes")
    return node


# ---- who works where

def test_one_client_wakes_nobody(node):
    shards = shards_of(node)
    with node.client() as c:
        settle()
        before = counters(c)
        for i in range(300):
            key = key_on(i % shards, shards)
            assert c.call("SET", key, str(i)) == b"OK"
            assert c.call("GET", key) == str(i).encode()
        told = spent(c, before)
    # All but those of the connection's own shard; a shard may be awake now and then for its cron.
    assert told["lends"] >= 600 * (shards - 1) / shards * 0.9
    assert told["wakes"] <= 60


def test_the_switch(node):
    shards = shards_of(node)
    with node.client() as c:
        c.call("CONFIG", "SET", "shard-lending", "no")
        settle()
        before = counters(c)
        for i in range(100):
            assert c.call("INCR", key_on(i % shards, shards)) == i // shards + 1
        assert spent(c, before)["lends"] == 0
        c.call("CONFIG", "SET", "shard-lending", "yes")
        settle()
        before = counters(c)
        for i in range(100):
            assert c.call("INCR", key_on(i % shards, shards)) == (100 + i - (100 + i) % shards) // shards + 1
        assert spent(c, before)["lends"] > 0


# ---- commands over several shards

MANY = 200  # times the keys of all shards: more arguments than what is run in place


def over_all_shards(c, keys, i):
    """Every kind that splits by key, and what it answers."""
    new = key_on(0, len(keys), "new")
    some, value = [x for key in keys for x in (key, f"v{i}")], f"v{i}".encode()
    assert c.call("MSET", *some) == b"OK"
    assert c.call("MGET", *keys, keys[0]) == [value] * (len(keys) + 1)
    assert c.call("MSETNX", new, "x", *some[2:]) == 0
    assert c.call("EXISTS", new, *keys, keys[-1]) == len(keys) + 1
    assert c.call("TOUCH", *keys) == len(keys)
    assert c.call("DEL", *keys, "nothing") == len(keys)
    assert c.call("MSETNX", *some) == 1
    assert c.call("UNLINK", *keys) == len(keys)
    return 8


def test_commands_over_several_shards_wake_nobody(node):
    shards = shards_of(node)
    keys = [key_on(s, shards, "all") for s in range(shards)]
    with node.client() as c:
        settle()
        before = counters(c)
        done = sum(over_all_shards(c, keys, i) for i in range(40))
        told = spent(c, before)
    assert told["lends"] >= done * (shards - 1) * 0.9
    assert told["wakes"] <= done / 10


@pytest.mark.parametrize("fsync", ["everysec", "no"])
@pytest.mark.parametrize("io", IOS)
def test_nor_do_they_with_a_log(io, fsync, tmp_path):
    """All parts are written by one thread, and acknowledged then: each kill finds them whole."""
    keys = [key_on(s, 3, "all") for s in range(3)]
    for round_ in range(3):
        node = start_moon(shards=3, io=io, appendonly="yes", folder=str(tmp_path), args=["--appendfsync", fsync])
        with node.client() as c:
            assert c.call("MGET", *keys) == [b"last%d" % (round_ - 1) if round_ > 0 else None] * 3
            settle()
            before = counters(c)
            done = sum(over_all_shards(c, keys, i) for i in range(20))
            told = spent(c, before)
            assert c.call("MSET", *(x for key in keys for x in (key, f"last{round_}"))) == b"OK"
        node.kill()
        assert told["lends"] >= done * 2 * 0.9
        assert told["wakes"] <= done / 10


def calls_of(client, name):
    found = re.search(rb"cmdstat_%s:calls=(\d+),usec=(\d+).*?rejected_calls=(\d+)" % name, client.call("INFO", "commandstats"))
    return [int(n) for n in found.groups()]


def test_they_are_counted_once(node):
    shards = shards_of(node)
    keys = [key_on(s, shards, "count") for s in range(shards)]
    with node.client() as c:
        settle()
        c.call("CONFIG", "RESETSTAT")
        for _ in range(20):
            c.call("MSETNX", *(x for key in keys for x in (key, "v")))
            c.call("MGET", *keys)
        commands = int(re.search(rb"total_commands_processed:(\d+)", c.call("INFO", "stats"))[1])
        assert (calls_of(c, b"msetnx")[0], calls_of(c, b"mget")[0]) == (20, 20)
        assert 40 <= commands <= 45
        c.call("SLOWLOG", "RESET")
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
        settle()
        c.call("MGET", *keys)
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        entries = [e for e in c.call("SLOWLOG", "GET", "100") if e[3][0] == b"MGET"]
        assert len(entries) == shards and all(e[4] != b"" for e in entries)


def test_a_refusal_leaves_all_shards_as_they_are(node):
    shards = shards_of(node)
    keys = [key_on(s, shards, "room") for s in range(shards)]
    with node.client() as c:
        c.call("CONFIG", "SET", "maxmemory", "1")
        settle()
        c.call("CONFIG", "RESETSTAT")
        before = counters(c)
        for name in ("MSET", "MSETNX"):
            with pytest.raises(ReplyError, match="OOM command not allowed"):
                c.call(name, *(x for key in keys for x in (key, "v")))
        told = spent(c, before)
        assert calls_of(c, b"mset")[::2] == calls_of(c, b"msetnx")[::2] == [0, 1]
        assert c.call("EXISTS", *keys) == 0
        c.call("CONFIG", "SET", "maxmemory", "0")
    assert told["lends"] >= shards - 1


def test_a_watched_key_is_seen_to_change(node):
    shards = shards_of(node)
    keys = [key_on(s, shards, "watched") for s in range(shards)]
    with node.client() as c, node.client() as other:
        for key in keys:
            for change in ("MSET", "UNLINK"):
                assert c.call("WATCH", key) == b"OK"
                settle()
                assert other.call(change, *(keys if change == "UNLINK" else (x for k in keys for x in (k, "v")))) in (b"OK", shards)
                assert [c.call("MULTI"), c.call("PING"), c.call("EXEC")] == [b"OK", b"QUEUED", None]


def test_a_part_that_went_by_message_comes_first(node):
    """MGET, DEL of many keys go to several shards as messages; what follows them on such a shard must not overtake."""
    shards = shards_of(node)
    keys = [key_on(s, shards, "order") for s in range(shards)]
    with node.client() as c:
        for i in range(60):
            settle_every = i % 10 == 0
            if settle_every:
                settle()
            wanted, batch = [], b""
            for s, key in enumerate(keys):
                batch += encode(("SET", key, f"{i}-{s}"))
                wanted.append(b"OK")
            batch += encode(("MGET", *keys * MANY)) + encode(("DEL", *keys * MANY))
            wanted += [[f"{i}-{s}".encode() for s in range(shards)] * MANY, shards]
            for key in keys:
                batch += encode(("APPEND", key, "x")) + encode(("GET", key))
                wanted += [1, b"x"]
            c.send(batch)
            assert [read(c) for _ in wanted] == wanted


# ---- what belongs to the shard's own thread

def test_time_is_brought_along(node):
    shards = shards_of(node)
    with node.client() as c:
        for s in range(shards):
            key = key_on(s, shards, "due")
            assert c.call("SET", key, "v", "PX", "30") == b"OK"
            settle()
            assert c.call("GET", key) is None
            assert c.call("SET", key, "v", "PX", "60000") == b"OK"
            assert 59000 < c.call("PTTL", key) <= 60000


def unlinked(c, keys, often):
    """Of the first ones whose shard slept, so that they were unlinked in place: whether somebody was woken for it."""
    woken = []
    for key in keys:
        settle()
        before = counters(c)
        assert c.call("UNLINK", key) == 1
        told = spent(c, before)
        woken += [told["wakes"] > 0] * (told["lends"] > 0)
        if len(woken) == often:
            break
    return woken


def test_large_values_are_freed_soon(node):
    """Freed in slices by the shard's own thread, which is woken for it: left alone it would sleep for 50 ms on average,
    to its next timer."""
    shards, often, seen = shards_of(node), 10, []
    with node.client() as c:
        for shard in range(shards):
            keys = [key_on(shard, shards, f"big{i}-") for i in range(25)]  # on a busy machine not all of them find it asleep
            for key in keys:
                c.call("SADD", key, *(f"e{n}" for n in range(1000)))
            freed = freed_objects(c)
            seen.append(unlinked(c, keys, often))
            until = time.monotonic() + 10
            while freed_objects(c) < freed + len(keys) - c.call("EXISTS", *keys):
                assert time.monotonic() < until, "woken, and did not do it"
                time.sleep(0.001)
    assert sum(not woken for woken in seen) == 1, seen  # the connection's own shard
    assert all(sum(woken) >= 0.8 * len(woken) for woken in seen), seen


def test_slow_commands_name_their_client(node):
    shards = shards_of(node)
    with node.client() as c:
        c.call("CLIENT", "SETNAME", "whoever")
        keys = [key_on(s, shards, "slow") for s in range(shards)]
        for key in keys:
            c.call("SET", key, "v")
        settle()
        c.call("SLOWLOG", "RESET")
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
        settle()
        for key in keys:
            c.call("GET", key)
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        entries = [e for e in c.call("SLOWLOG", "GET", "100") if e[3][0] == b"GET"]
        assert len(entries) == shards
        assert all(e[5] == b"whoever" for e in entries)


# ---- the log

@pytest.mark.parametrize("io", IOS)
def test_what_was_answered_survives_a_kill(io, tmp_path):
    """Without gates a reply leaves when the kernel has the write, whoever made it."""
    written = {}
    for round_ in range(3):
        node = start_moon(shards=3, io=io, appendonly="yes", folder=str(tmp_path))
        with node.client() as c:
            for key, value in written.items():
                assert c.call("GET", key) == value, key
            settle()
            before = counters(c)
            for i in range(200):
                key, value = f"r{round_}:{i}", str(i).encode()
                assert c.call("SET", key, value) == b"OK"
                written[key] = value
                if i % 50 == 0:
                    settle()
            assert spent(c, before)["lends"] > 50
            node.kill()
    node = start_moon(shards=2, io=io, appendonly="yes", folder=str(tmp_path))
    with node.client() as c:
        assert c.call("DBSIZE") == len(written)
    node.stop()


@pytest.mark.parametrize("io", IOS)
def test_gated_shards_are_not_lent(io, tmp_path):
    node = start_moon(shards=2, io=io, appendonly="yes", folder=str(tmp_path), args=["--appendfsync", "always"])
    with node.client() as c:
        settle()
        before = counters(c)
        for i in range(50):
            assert c.call("SET", f"k{i}", str(i)) == b"OK"
            assert c.call("GET", f"k{i}") == str(i).encode()
            assert c.call("MSET", f"k{i}", "a", f"k{i + 1}", "b", f"k{i + 2}", "c") == b"OK"
            assert c.call("MGET", f"k{i}", f"k{i + 1}", f"k{i + 2}") == [b"a", b"b", b"c"]
        assert spent(c, before)["lends"] == 0
        c.call("CONFIG", "SET", "appendfsync", "everysec")
        settle()
        before = counters(c)
        for i in range(50):
            assert c.call("INCR", f"n{i}") == 1
        assert spent(c, before)["lends"] > 10
    node.stop()


# ---- alternating sleep and work

class Talker(threading.Thread):
    """One connection with keys of its own on all shards; every reply is known."""

    def __init__(self, node, number, shards, until):
        super().__init__(daemon=True)
        self.client = node.client(timeout=20)
        self.rng = random.Random(number)
        self.until = until
        self.keys = [f"t{number}:{i}" for i in range(8 * shards)]
        self.values = {}
        self.done = 0
        self.error = None

    def draw(self):
        key = self.rng.choice(self.keys)
        kind = self.rng.randrange(6)
        old = self.values.get(key)
        if kind <= 1:
            return ("GET", key), old
        if kind == 2:
            self.values[key] = str(self.rng.randrange(10**6)).encode() * self.rng.choice((1, 1, 1, 40))
            return ("SET", key, self.values[key]), b"OK"
        if kind == 3:
            self.values[key] = (old or b"") + b"+"
            return ("APPEND", key, "+"), len(self.values[key])
        if kind == 4:
            self.values.pop(key, None)
            return ("UNLINK", key), int(old is not None)
        some = self.rng.sample(self.keys, 3)
        return ("MGET", *some), [self.values.get(k) for k in some]

    def run(self):
        try:
            while time.monotonic() < self.until:
                drawn = [self.draw() for _ in range(self.rng.choice((1, 1, 1, 2, 5, 40)))]
                self.client.send(b"".join(encode(request) for request, _ in drawn))
                for request, wanted in drawn:
                    got = read(self.client)
                    assert got == wanted, (request, got, wanted)
                self.done += len(drawn)
                if self.rng.randrange(3) == 0:
                    time.sleep(self.rng.choice((0.0002, 0.001, 0.004, 0.02)))
        except Exception as error:  # told by the test
            self.error = error


@pytest.mark.parametrize("shards, io", [*SETUPS, (8, "uring")])
def test_sleep_and_work_alternate(shards, io, tmp_path, pytestconfig):
    """Shards fall asleep and are lent, woken, made to stand (CONFIG SET), asked by INFO and walked by SCAN."""
    seconds = 60 if pytestconfig.getoption("--full") else 3
    node = start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path))
    until = time.monotonic() + seconds
    talkers = [Talker(node, number, shards, until) for number in range(6)]
    with node.client(timeout=20) as c:
        before = counters(c)
        for t in talkers:
            t.start()
        rounds = 0
        while time.monotonic() < until:
            rounds += 1
            assert c.call("CONFIG", "SET", "maxmemory", "0", "timeout", str(rounds % 2 * 1000)) == b"OK"
            if rounds % 7 == 0:
                assert c.call("CONFIG", "SET", "appendfsync", ("no", "everysec")[rounds % 2]) == b"OK"
            c.call("SCAN", "0")
            c.call("DBSIZE")
            time.sleep(0.01)
        for t in talkers:
            t.join(30)
            assert not t.is_alive()
            assert t.error is None, t.error
            t.client.close()
        assert spent(c, before)["lends"] > 100
        assert sum(t.done for t in talkers) > 100 * seconds
        total = sum(len(t.values) for t in talkers)
        assert c.call("DBSIZE") == total
    node.stop()
