"""Transactions whose keys lie on one shard, at any number of shards: pipelines of a client package, compare and set by
WATCH, refusals, ends in the middle."""
import threading

import pytest
import redis

from moonlib.resp import Disconnected, ReplyError
from moonlib.server import start_moon
from moonlib.slots import key_on

SETUPS = [(shards, io) for shards in (1, 2, 4) for io in ("epoll", "uring")]


@pytest.fixture(name="node", params=SETUPS, ids=lambda s: f"{s[0]}-{s[1]}")
def fixture_node(request, nodes):
    return nodes.get(*request.param)


def shards_of(node):
    return int(node.argv[node.argv.index("--shards") + 1])


def tags(node):
    """One {tag} on each shard."""
    return ["{%s}" % key_on(s, shards_of(node)) for s in range(shards_of(node))]


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
            seen = {tuple(c.call("MGET", *keys)) for _ in range(500)}
    finally:
        stop.set()
        writer.join(20)
    assert len(seen) > 3 and all(a == b for a, b in seen), seen


def test_keys_apart_are_refused_and_nothing_done(node):
    if shards_of(node) == 1:
        with node.client() as c:
            assert c.pipeline([("MULTI",), ("SET", "a", 1), ("SET", "b", 1), ("DBSIZE",), ("EXEC",)])[-1] == [b"OK", b"OK", 2]
        return
    a, b = [tag + "k" for tag in tags(node)[:2]]
    with node.client() as c:
        for inside in ([("SET", a, 1), ("SET", b, 1)], [("SET", a, 1), ("FLUSHALL",)], [("MSET", a, 1, b, 1)]):
            reply = c.pipeline([("MULTI",), *inside, ("EXEC",)])[-1]
            assert isinstance(reply, ReplyError) and str(reply).startswith("EXECABORT") and "CROSSSLOT" in str(reply)
        assert str(c.pipeline([("WATCH", a, b)])[0]).startswith("CROSSSLOT")
        assert c.call("WATCH", a) == b"OK"
        assert "CROSSSLOT" in str(c.pipeline([("MULTI",), ("SET", b, 1), ("EXEC",)])[-1])
        assert c.call("DBSIZE") == 0
        assert c.pipeline([("MULTI",), ("SET", b, 1), ("EXEC",)])[-1] == [b"OK"], "the watched key is forgotten"


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
        c.pipeline([("WATCH", tags(node)[-1]), ("MULTI",), ("SET", "x", 1)])
        line = next(line for line in other.call("CLIENT", "LIST").decode().splitlines() if " multi=1 " in line)
        assert " flags=x " in line
        assert other.call("CLIENT", "KILL", "ID", line.split()[0][3:]) == 1
        assert other.call("SET", tags(node)[-1], 1) == b"OK"


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


@pytest.mark.parametrize("shards", [1, 2])
def test_always_holds_the_reply_until_the_log_has_it(tmp_path, shards):
    server = start_moon(shards=shards, appendonly="yes", folder=str(tmp_path), args=["--appendfsync", "always"])
    keys = [key_on(s, shards) for s in range(shards)]
    with server.client() as c:
        for n, key in enumerate(keys * 20):
            assert c.pipeline([("MULTI",), ("SET", key, n), ("GET", key), ("EXEC",)])[-1] == [b"OK", b"%d" % n]
    server.kill()
    with start_moon(shards=shards, appendonly="yes", folder=str(tmp_path)) as again, again.client() as c:
        assert [int(c.call("GET", key)) for key in keys] == [20 * shards - shards + i for i in range(shards)]


def test_inner_commands_are_counted(node):
    with node.client() as c:
        c.call("CONFIG", "RESETSTAT")
        c.pipeline([("MULTI",), ("SET", "a", 1), ("SET", "a", 2), ("EXEC",)])
        stats = c.call("INFO", "commandstats").decode()
        assert "cmdstat_set:calls=2," in stats and "cmdstat_exec:calls=1," in stats
