"""INFO sums up what all shards did: exact when they are at rest, sane while they work."""
import os
import threading
import time

import pytest

from moonlib.resp import ReplyError
from moonlib.server import start_moon

WRITERS, ROUNDS = 4, 60


def info_of(c, *sections):
    """{name: value} of all lines."""
    text = c.call("INFO", *sections).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def fields_of(value):
    return dict(part.split("=") for part in value.split(","))


def write(node, number, errors):
    """Every kind of thing that is counted, spread over the shards and over databases."""
    try:
        with node.client() as c:
            c.call("SELECT", number)
            for i in range(ROUNDS):
                replies = c.pipeline([["SET", f"k{i}:{n}", "v", "EX", 100 + n] for n in range(20)] +
                                     [["GET", f"k{i}:{n}"] for n in range(30)] +
                                     [["LPUSH", f"k{i}:0", "x"], ["NOSUCH"], ["RANDOMKEY"], ["DBSIZE"],
                                      ["PERSIST", f"k{i}:1"], ["DEL", *[f"k{i}:{n}" for n in range(2, 12)]]])
                assert sum(isinstance(r, ReplyError) for r in replies) == 2, replies
    except AssertionError as error:
        errors.append(error)


@pytest.mark.parametrize("io", ("epoll", "uring"))
@pytest.mark.parametrize("shards", (1, 2, 4))
def test_info_counts_what_was_done(shards, io):
    with start_moon(shards=shards, io=io, appendonly="yes") as node, node.client() as c:
        c.call("CONFIG", "RESETSTAT")
        errors = []
        threads = [threading.Thread(target=write, args=(node, n, errors)) for n in range(WRITERS)]
        for t in threads:
            t.start()
        seen = 0
        while any(t.is_alive() for t in threads):
            info = info_of(c, "everything")
            assert seen <= int(info["total_commands_processed"])
            seen = int(info["total_commands_processed"])
            assert int(info["journal_durable_lsn"]) <= int(info["journal_lsn"])
        for t in threads:
            t.join()
        assert not errors
        info = info_of(c, "everything")
        calls = {name: int(fields_of(info[f"cmdstat_{name}"])["calls"]) for name in ("set", "get", "persist", "randomkey")}
        assert calls == {"set": 20 * ROUNDS * WRITERS, "get": 30 * ROUNDS * WRITERS, "persist": ROUNDS * WRITERS,
                         "randomkey": ROUNDS * WRITERS}
        assert int(fields_of(info["cmdstat_lpush"])["failed_calls"]) == ROUNDS * WRITERS
        assert info["keyspace_hits"] == str(20 * ROUNDS * WRITERS), info["keyspace_hits"]
        assert info["errorstat_WRONGTYPE"] == info["errorstat_ERR"] == f"count={ROUNDS * WRITERS}"
        for db in range(WRITERS):
            held = fields_of(info[f"db{db}"])
            assert (held["keys"], held["expires"]) == (str(10 * ROUNDS), str(9 * ROUNDS))
            assert 60_000 < int(held["avg_ttl"]) < 120_000
        assert sum(int(fields_of(info[f"shard{s}"])["keys"]) for s in range(shards)) == 10 * ROUNDS * WRITERS
        assert int(info["journal_units"]) >= 21 * ROUNDS * WRITERS


def test_average_ttl_follows_what_is_there():
    with start_moon(shards=2) as node, node.client() as c:
        far = 100 * 365 * 86400
        c.call("SET", "far", "v", "EX", far)
        assert abs(int(fields_of(info_of(c)["db0"])["avg_ttl"]) - far * 1000) < 10_000
        c.call("DEL", "far")
        for i in range(100):
            c.call("SET", f"near{i}", "v", "EX", 50)
        assert 40_000 < int(fields_of(info_of(c)["db0"])["avg_ttl"]) <= 50_000
        c.call("SWAPDB", 0, 3)
        info = info_of(c)
        assert "db0" not in info
        assert fields_of(info["db3"])["expires"] == "100"
        assert 40_000 < int(fields_of(info["db3"])["avg_ttl"]) <= 50_000
        c.call("FLUSHALL")
        assert "db3" not in info_of(c)


def test_resetstat_starts_all_shards_anew():
    with start_moon(shards=4) as node, node.client() as c:
        c.pipeline([["SET", f"k{i}", "v"] for i in range(100)] + [["LPUSH", f"k{i}", "v"] for i in range(100)])
        assert info_of(c, "errorstats")["errorstat_WRONGTYPE"] == "count=100"
        c.call("CONFIG", "RESETSTAT")
        info = info_of(c, "everything")
        assert "errorstat_WRONGTYPE" not in info and "cmdstat_set" not in info
        assert int(info["total_commands_processed"]) < 10
        c.pipeline([["GET", "k1"], ["LPUSH", "k1", "v"]])
        info = info_of(c, "everything")
        assert info["errorstat_WRONGTYPE"] == "count=1" and info["keyspace_hits"] >= "1"
        assert info["db0"].startswith("keys=100,")


def test_a_call_over_several_shards_is_one_call():
    keys = [f"k{i}" for i in range(20)]
    pairs = [word for key in keys for word in (key, "v")]
    seen = []
    for shards in (1, 2, 4):
        with start_moon(shards=shards) as node, node.client() as c:
            c.call("CONFIG", "RESETSTAT")
            c.pipeline([["MSET", *pairs], ["MGET", *keys], ["EXISTS", *keys], ["MSETNX", *pairs], ["KEYS", "*"], ["DBSIZE"],
                        ["FLUSHALL", "NONSENSE"], ["SUNION", *keys], ["FLUSHALL"]])
            c.pipeline([["MULTI"], ["MSET", *pairs], ["DBSIZE"], ["FLUSHALL", "NONSENSE"], ["FLUSHDB"], ["EXEC"]])
            info = info_of(c, "commandstats", "errorstats", "stats")
            calls = {name: {f: v for f, v in fields_of(value).items() if "usec" not in f}
                     for name, value in info.items() if name.startswith("cmdstat_")}
            errors = {name: value for name, value in info.items() if name.startswith("errorstat_")}
            seen.append((calls, errors, info["total_commands_processed"], info["total_error_replies"]))
            histogram = c.call("LATENCY", "HISTOGRAM", "mget", "flushall")
            assert [histogram[1][1], histogram[3][1]] == [1, 3]
    assert seen[0] == seen[1] == seen[2]


def allocator_threads(node):
    """The kernel's names of all threads of a process are in /proc."""
    folder, names = f"/proc/{node.pid}/task", []
    for task in os.listdir(folder):
        try:
            with open(f"{folder}/{task}/comm", encoding="ascii") as f:
                names.append(f.read().strip())
        except FileNotFoundError:
            pass  # ended meanwhile
    return sum(name.startswith("jemalloc_bg") for name in names)


def wait_until(what):
    """A thread gives itself its name when it has begun, which on a busy machine is not at once."""
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_freed_memory_goes_back_by_the_allocators_threads():
    """Else a shard that allocates seldom gives back many pages at once, in the middle of a command."""
    with start_moon(shards=1) as node, node.client() as c:
        assert c.call("CONFIG", "GET", "jemalloc-bg-thread")[1] == b"yes"
        if info_of(c, "memory")["mem_allocator"] != "jemalloc":
            pytest.skip("a build under a sanitizer has its allocator")
        wait_until(lambda: allocator_threads(node) >= 1)
        c.call("CONFIG", "SET", "jemalloc-bg-thread", "no")
        wait_until(lambda: allocator_threads(node) == 0)
        c.call("CONFIG", "SET", "jemalloc-bg-thread", "yes")
        wait_until(lambda: allocator_threads(node) >= 1)
