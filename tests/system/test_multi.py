"""Transactions, of keys of one shard and of several: pipelines of a client package, compare and set by WATCH, refusals,
ends in the middle. tests/compat/test_transactions.py compares drawn ones with redis-server."""
import random
import threading
import time

import pytest
import redis

from moonlib.resp import Disconnected, ReplyError, encode
from moonlib.server import start_moon
from moonlib.setups import alternating, name_of
from moonlib.slots import key_on, shards_of, tags


@pytest.fixture(name="node", params=alternating(1, 2, 4, first="uring"), ids=name_of)
def fixture_node(request, nodes):
    return nodes.get(*request.param)


@pytest.mark.parametrize("protocol", [2, 3])
def test_pipeline_of_redis_py(node, protocol):
    with redis.Redis(port=node.port, protocol=protocol) as r:
        for tag in tags(node):
            pipe = r.pipeline()
            pipe.set(tag + "a", 1).incr(tag + "a").hset(tag + "h", "f", "v").hgetall(tag + "h").get(tag + "none")
            assert pipe.execute() == [True, 2, 1, {b"f": b"v"}, None]
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                r.pipeline().set(tag + "b", 1).lpush(tag + "b", 1).set(tag + "c", 3).execute()
            assert r.mget(tag + "b", tag + "c") == [b"1", b"3"]


def test_compare_and_set(node):
    """Clients that add one by GET and SET under WATCH: no addition may be lost."""
    key, rounds, failures = tags(node)[-1] + "sum", 60, []

    def add(_):
        try:
            with redis.Redis(port=node.port) as r:
                for _ in range(rounds):
                    r.transaction(lambda pipe: (v := int(pipe.get(key) or 0), pipe.multi(), pipe.set(key, v + 1)), key)
        except Exception as error:  # of a thread: reported below
            failures.append(error)

    threads = [threading.Thread(target=add, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with node.client() as c:
        assert not failures and c.call("GET", key) == b"%d" % (4 * rounds)


def test_nobody_sees_half(node):
    keys = [tags(node)[-1] + k for k in "ab"]
    stop = threading.Event()

    def write():
        with node.client() as c:
            n = 0
            while not stop.is_set():
                n += 1
                c.pipeline([("MULTI",), ("SET", keys[0], n), ("SET", keys[1], n), ("EXEC",)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with node.client() as c:
            seen, until = set(), time.monotonic() + 20
            while len(seen) <= 3 and time.monotonic() < until:  # the writer may begin late
                seen |= {tuple(c.call("MGET", *keys)) for _ in range(500)}
    finally:
        stop.set()
        writer.join(20)
    assert len(seen) > 3 and all(a == b for a, b in seen), seen


def apart(node, kind="k", least=2):
    """Keys of different shards: one on each; on a node of one shard just as many different ones."""
    keys = [tag + kind for tag in tags(node)]
    return keys + [f"{keys[0]}{i}" for i in range(least - len(keys))]


def test_keys_of_all_shards(node):
    keys = apart(node)
    with node.client() as c:
        assert c.pipeline([("MULTI",), *[("SET", key, 1) for key in keys], ("MGET", *keys), ("DBSIZE",), ("MSET", *sum(([key, 2] for key in keys), [])),
                           ("DEL", *keys[1:]), ("KEYS", "*"), ("RANDOMKEY",), ("EXISTS", *keys), ("EXEC",)])[-1] == [
            *[b"OK"] * len(keys), [b"1"] * len(keys), len(keys), b"OK", len(keys) - 1, [keys[0].encode()], keys[0].encode(), 1]


def test_errors_inside_do_not_stop_the_rest(node):
    a, b = apart(node)[:2]
    with node.client() as c:
        inner = c.pipeline([("MULTI",), ("SET", a, "x"), ("INCR", a), ("LPUSH", b, 1), ("GET", b), ("RENAME", "none", b), ("LLEN", b), ("EXEC",)])[-1]
        assert [str(r)[:9] if isinstance(r, ReplyError) else r for r in inner] == [b"OK", "ERR value", 1, "WRONGTYPE", "ERR no su", 1]
        refused = c.pipeline([("MULTI",), ("SET", a, 1), ("SET", b), ("NOSUCH",), ("DEL", a, b), ("EXEC",)])
        assert str(refused[-1]).startswith("EXECABORT") and c.call("EXISTS", a, b) == 2


def test_databases_inside(node):
    a, b = apart(node)[:2]
    with node.client() as c:
        inner = c.pipeline([("MULTI",), ("SET", a, 0), ("SELECT", 3), ("SET", b, 3), ("SWAPDB", 0, 3), ("MGET", a, b), ("FLUSHDB",), ("DBSIZE",),
                            ("SELECT", 0), ("DBSIZE",), ("GET", b), ("FLUSHALL",), ("DBSIZE",), ("SET", a, 9), ("EXEC",)])[-1]
        assert inner == [b"OK", b"OK", b"OK", b"OK", [b"0", None], b"OK", 0, b"OK", 1, b"3", b"OK", 0, b"OK"]
        assert c.call("DBSIZE") == 1 and c.call("GET", a) == b"9", "the connection is in database 0"


def test_watched_keys_of_all_shards(node):
    keys = apart(node)
    with node.client() as c, node.client() as other:
        for changed in keys:
            assert c.call("WATCH", *keys) == b"OK"
            other.call("APPEND", changed, "x")
            assert c.pipeline([("MULTI",), *[("GET", key) for key in keys], ("EXEC",)])[-1] is None
            assert c.pipeline([("MULTI",), ("GET", keys[0]), ("EXEC",)])[-1] is not None, "what was watched is forgotten"
        for key in keys:  # one after the other, with a transaction of one shard at the end
            c.call("WATCH", key)
        assert c.pipeline([("MULTI",), ("SET", keys[0], 1), ("EXEC",)])[-1] == [b"OK"]
        c.call("WATCH", *keys)
        other.call("SET", keys[-1], 1)
        c.call("UNWATCH")
        assert c.pipeline([("MULTI",), ("SET", keys[0], 1), ("EXEC",)])[-1] == [b"OK"]


def test_watched_key_of_another_shard_that_expires(node):
    a, b = apart(node)[:2]
    with node.client() as c:
        for asked in (False, True):
            c.call("SET", b, 1, "PX", 500)
            c.call("WATCH", b)
            time.sleep(0.55)
            if asked:
                assert c.call("GET", b) is None
            assert c.pipeline([("MULTI",), ("SET", a, 1), ("EXEC",)])[-1] is None
        c.call("DEL", b)
        c.call("WATCH", b)
        assert c.pipeline([("MULTI",), ("SET", a, 1), ("EXEC",)])[-1] == [b"OK"]


class Loop(threading.Thread):
    """Calls step(client) until it is stopped."""

    def __init__(self, node, step):
        super().__init__()
        self.node, self.step, self.rounds, self.error, self.over = node, step, 0, None, threading.Event()
        self.start()

    def run(self):
        try:
            with self.node.client() as c:
                while not self.over.is_set():
                    self.step(c)
                    self.rounds += 1
        except Exception as error:  # of a thread: raised in stop()
            self.error = error

    def stop(self):
        self.over.set()
        self.join(20)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def while_they_work(loops, least):
    """Numbers, at least so many, until each of the loops has done something, too."""
    deadline, n = time.monotonic() + 30, 0
    while n < least or (min(loop.rounds for loop in loops) < 3 and time.monotonic() < deadline):
        yield n
        n += 1


def test_renamed_key_is_always_at_one_place(node):
    """Chains of RENAME between shards while others write and read: a reader sees the key once, never twice or not at all."""
    keys = apart(node, "r")
    with node.client() as c:
        c.call("SET", keys[0], "here")

    def chain(c):
        assert c.pipeline([("RENAME", keys[i], keys[(i + 1) % len(keys)]) for i in range(len(keys))]) == [b"OK"] * len(keys)

    def load(c):
        c.pipeline([(name, f"load{i}", *rest) for i in range(20) for name, *rest in (["SET", i], ["INCR"])])

    loops = [Loop(node, step) for step in (chain, load, load)]
    try:
        with node.client() as c:
            for _ in while_they_work(loops, 200):
                seen = c.pipeline([("MULTI",), *[("GET", key) for key in keys], ("EXEC",)])[-1]
                assert sorted(seen, key=str) == sorted([b"here"] + [None] * (len(keys) - 1), key=str), seen
                assert len(c.call("SUNION", *[key + "set" for key in keys])) == 0
    finally:
        for loop in loops:
            loop.stop()
    assert min(loop.rounds for loop in loops) >= 3


def test_sums_stay_while_clients_transfer(node):
    """Transfers by EXEC between keys of any shards, some of them under WATCH; the sum of all never shows another value."""
    keys = apart(node, "account", 4)
    with node.client() as c:
        c.call("MSET", *sum(([key, 100] for key in keys), []))
    rng = random.Random(5)

    def transfer(c):
        a, b = rng.sample(keys, 2)
        c.pipeline([("MULTI",), ("DECRBY", a, 7), ("INCRBY", b, 7), ("EXEC",)])

    def careful(c):
        a, b = rng.sample(keys, 2)
        x, y = (int(v) for v in c.pipeline([("WATCH", a, b), ("MGET", a, b)])[1])
        c.pipeline([("MULTI",), ("SET", a, x - 3), ("SET", b, y + 3), ("EXEC",)])

    loops = [Loop(node, step) for step in (transfer, transfer, careful)]
    try:
        with node.client() as c:
            for _ in while_they_work(loops, 150):
                seen = c.pipeline([("MULTI",), *[("GET", key) for key in keys], ("EXEC",)])[-1]
                assert sum(map(int, seen)) == 100 * len(keys), seen
    finally:
        for loop in loops:
            loop.stop()
    assert min(loop.rounds for loop in loops) >= 3


def test_two_want_the_barrier_at_once(node):
    """From every core, in pipelines: each is alone while it runs, nobody waits for ever."""
    keys = apart(node, "b", 4)

    def step(c):
        replies = c.pipeline([("MULTI",), *[("INCR", key) for key in keys], ("EXEC",), ("SUNION", *[key + "s" for key in keys])] * 5)
        assert all(len(set(reply)) == 1 for reply in replies[len(keys) + 1::len(keys) + 3]), replies

    loops = [Loop(node, step) for _ in range(5)]
    time.sleep(1)
    for loop in loops:
        loop.stop()
    with node.client() as c:
        assert c.call("MGET", *keys) == [b"%d" % (5 * sum(loop.rounds for loop in loops))] * len(keys)


def test_commands_about_the_connection_inside(node):
    for tag in tags(node):
        with node.client() as c:
            replies = c.pipeline([
                ("MULTI",), ("SET", tag, "zero"), ("PING",), ("SELECT", 3), ("SET", tag, "three"), ("CLIENT", "LIST"),
                ("SELECT", 99), ("CONFIG", "GET", "port"), ("GET", tag), ("UNWATCH",), ("EXEC",), ("GET", tag), ("SELECT", 0), ("GET", tag)])
            inner = replies[10]
            assert inner[:4] == [b"OK", b"PONG", b"OK", b"OK"] and b"id=" in inner[4] and isinstance(inner[5], ReplyError)
            assert inner[6:] == [[b"port", b"%d" % node.port], b"three", b"OK"]
            assert replies[11:] == [b"three", b"OK", b"zero"]
            c.pipeline([("SELECT", 3), ("DEL", tag)])


def test_ends_in_the_middle(node):
    """RESET, QUIT and a plain close forget the transaction; what was watched is free again."""
    for tag in tags(node):
        for end in (["RESET"], ["QUIT"], None):
            with node.client() as c:
                c.pipeline([("WATCH", tag), ("MULTI",), ("SET", tag, 1)])
                if end:
                    c.call(*end)
                if end == ["RESET"]:
                    assert str(c.pipeline([("EXEC",)])[0]) == "ERR EXEC without MULTI"
            with node.client() as c:
                assert c.call("GET", tag) is None
                assert c.pipeline([("WATCH", tag), ("MULTI",), ("GET", tag), ("EXEC",)])[-1] == [None]


def test_kill_while_in_multi(node):
    with node.client() as c, node.client() as other:
        c.pipeline([("WATCH", *apart(node)), ("MULTI",), ("SET", "x", 1)])
        line = next(line for line in other.call("CLIENT", "LIST").decode().splitlines() if " multi=1 " in line)
        assert " flags=x " in line
        assert other.call("CLIENT", "KILL", "ID", line.split()[0][3:]) == 1
        assert [other.call("SET", key, 1) for key in apart(node)] == [b"OK"] * len(apart(node))


def test_many_transactions_in_one_pipeline(node):
    count = 300
    with node.client() as c:
        commands = []
        for i in range(count):
            tag = tags(node)[i % shards_of(node)]
            commands += [("MULTI",), ("INCR", tag + "n"), ("RPUSH", tag + "l", i), ("EXEC",), ("GET", tag + "n")]
        replies = c.pipeline(commands)
        expected = [i // shards_of(node) + 1 for i in range(count)]
        assert replies[3::5] == [[n, n] for n in expected]
        assert replies[4::5] == [b"%d" % n for n in expected]


@pytest.mark.parametrize("shards", [1, 2])
def test_queue_is_bounded(shards):
    with start_moon(shards=shards, args=["--client-query-buffer-limit", "1mb"]) as server, server.client() as c:
        c.call("MULTI")
        with pytest.raises(Disconnected):
            for _ in range(30):
                c.call("SET", "k", "x" * 100_000)
        with server.client() as again:
            assert again.call("DBSIZE") == 0


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_always_holds_the_reply_until_the_logs_have_it(tmp_path, shards):
    """Of one shard and of all; with a command about the connection among them, and without."""
    server = start_moon(shards=shards, appendonly="yes", folder=str(tmp_path), args=["--appendfsync", "always"])
    keys = [key_on(s, shards) for s in range(shards)]
    with server.client() as c:
        for n in range(20):
            for key in keys:
                assert c.pipeline([("MULTI",), ("SET", key, n), ("GET", key), ("EXEC",)])[-1] == [b"OK", b"%d" % n]
            assert c.pipeline([("MULTI",), *[("INCR", "{%s}n" % key) for key in keys], ("EXEC",)])[-1] == [n + 1] * shards
            inner = c.pipeline([("MULTI",), ("SELECT", 1), *[("INCR", key) for key in keys], ("SELECT", 0), ("EXEC",), ("GET", keys[0])])[-2:]
            assert inner == [[b"OK", *[n + 1] * shards, b"OK"], b"%d" % n]
            assert c.call("RENAME", keys[0], keys[-1] if shards > 1 else "other") == b"OK"
            assert c.call("COPY", keys[-1] if shards > 1 else "other", keys[0]) == 1
    server.kill()
    with start_moon(shards=shards, appendonly="yes", folder=str(tmp_path)) as again, again.client() as c:
        assert c.call("MGET", *keys) == [b"19"] * shards
        assert c.call("MGET", *["{%s}n" % key for key in keys]) == [b"20"] * shards
        c.call("SELECT", 1)
        assert c.call("MGET", *keys) == [b"20"] * shards


def test_clients_that_go_while_replies_wait_for_logs(tmp_path):
    with start_moon(shards=2, appendonly="yes", folder=str(tmp_path), args=["--appendfsync", "always"]) as server:
        keys = [key_on(s, 2) for s in range(2)]
        for i in range(40):
            with server.client() as c:
                c.send(b"".join(encode(command) for command in [("MULTI",), *[("INCR", key) for key in keys], *[("PING",)] * (i % 2), ("EXEC",)]))
        with server.client() as c:
            a, b = c.pipeline([("MULTI",), *[("GET", key) for key in keys], ("EXEC",)])[-1]
            assert a == b


def test_inner_commands_are_counted(node):
    with node.client() as c:
        c.call("CONFIG", "RESETSTAT")
        c.pipeline([("MULTI",), ("SET", "a", 1), ("SET", "a", 2), ("EXEC",)])
        stats = c.call("INFO", "commandstats").decode()
        assert "cmdstat_set:calls=2," in stats and "cmdstat_exec:calls=1," in stats
