"""Transactions on redis-server and on Moon: drawn blocks of MULTI … EXEC with errors, DISCARD and WATCH in them, while a
second connection changes keys in between. Every reply must agree, those inside of EXEC's by the rules of their commands,
and afterwards all stored data. Keys lie on one shard and on several."""
import random
import time

import pytest

import compare
import generators
from moonlib.resp import reply_end
from pair import ALONE, Pair, name_of
from test_differential import COMING, SEED

BLOCKS = 250
SHARDS = [1, 2, 4]
# Their replies are drawn by chance or depend on the time; the rest of generators.py is queued.
UNFIT = set(ALONE) | set(COMING) | {"OBJECT|ENCODING", "OBJECT|FREQ", "OBJECT|IDLETIME", "OBJECT|REFCOUNT",
    "FLUSHALL", "FLUSHDB", "ZRANK", "ZREVRANK"}  # a word more is an error of arity in 7.0, and ends the transaction: since 7.2 it is WITHSCORE
NAMES = [name for name in generators.GENERATORS if name not in UNFIT]
REFUSED = [["NOSUCH", "x"], ["GET"], ["EXEC", "x"], ["DISCARD", "x"], ["WATCH"], ["SHUTDOWN"], ["CLIENT"], ["CLIENT", "NOSUCH"]]
ODD = [["MULTI"], ["WATCH", "s1"], ["UNWATCH"], ["PING"], ["ECHO", "x"], ["SELECT", "1"], ["SELECT", "0"], ["SELECT", "99"],
       ["CLIENT", "GETNAME"], ["FLUSHDB"], ["SWAPDB", "0", "1"], ["DBSIZE"], ["CONFIG", "SET", "maxmemory", "0"]]


def elements(raw):
    """The replies that an array's reply holds, or None if it is not one."""
    if raw[:1] != b"*" or raw[1:2] == b"-":
        return None
    at, found = raw.index(b"\n") + 1, []
    for _ in range(int(raw[1:raw.index(b"\r")])):
        end = reply_end(raw, at)
        found.append(raw[at:end])
        at = end
    return found


def same_exec(queued, oracle, moon):
    o, m = elements(oracle), elements(moon)
    if o is None or m is None or len(o) != len(m) or len(o) != len(queued):
        return oracle == moon
    return all(compare.same_reply(name_of(command), a, b) for command, a, b in zip(queued, o, m))


class Both:
    """One client of each server, and what is queued there."""

    def __init__(self, pair):
        self.pair, self.queued, self.log = pair, [], []

    def call(self, *command):
        oracle, moon = (client.call_raw(*command) for client in (self.pair.o, self.pair.m))
        self.log.append((command, oracle, moon))
        name = name_of(command)
        same = same_exec(self.queued, oracle, moon) if name == "EXEC" else compare.same_reply(name, oracle, moon)
        assert same, "\n".join(f"{c}\n    redis {o[:300]!r}\n    moon  {m[:300]!r}" for c, o, m in self.log[-12:])
        if oracle == b"+QUEUED\r\n":
            self.queued.append(command)
        elif name in ("EXEC", "DISCARD", "RESET") and not oracle.startswith(b"-ERR wrong"):
            self.queued = []
        return oracle


@pytest.mark.timeout(200)
@pytest.mark.parametrize("resp", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("io", [None, "epoll"], ids=["chosen", "epoll"])
@pytest.mark.parametrize("shards", SHARDS)
def test_drawn_transactions(oracle, moons, full, shards, io, resp):
    rng = random.Random(f"{SEED} multi {io} {resp} {shards}")
    blocks = BLOCKS * (10 if full else 1)
    commands = iter(generators.draw_sequence(f"{SEED} multi {io} {resp} {shards}", blocks * 20, NAMES))
    first, second = (Pair(oracle, moons.get(shards, io), resp) for _ in range(2))
    first.reset()
    a, b = Both(first), Both(second)
    outcomes = {"ran": 0, "null": 0, "aborted": 0}
    for _ in range(blocks):
        draw_block(rng, commands, a, b, outcomes)
        a.call("SELECT", "0")
    assert min(outcomes.values()) > blocks // 25, outcomes
    difference = first.compare_data()
    first.close()
    second.close()
    assert difference is None, difference


def draw_block(rng, commands, a, b, outcomes):
    for _ in range(rng.randrange(3)):
        a.call(*next(commands))
    if rng.random() < 0.6:
        a.call("WATCH", *rng.sample(["s1", "s2", "{t}s1", "l1", "h1", "z1", "k1", "none"], rng.randrange(1, 4)))
    if rng.random() < 0.5:
        for _ in range(rng.randrange(1, 8)):
            b.call(*(["SET", rng.choice(["s1", "{t}s1", "k1"]), "x"] if rng.random() < 0.4 else next(commands)))
    if rng.random() < 0.05:
        a.call(*rng.choice([["EXEC"], ["DISCARD"], ["UNWATCH"], ["EXEC", "x"]]))
    a.call("MULTI")
    for _ in range(rng.randrange(8)):
        draw = rng.random()
        command = rng.choice(REFUSED) if draw < 0.03 else rng.choice(ODD) if draw < 0.2 else next(commands)
        a.call(*command)
        if rng.random() < 0.1:
            b.call(*next(commands))
    end = rng.random()
    if end < 0.85:
        reply = a.call("EXEC")
        kind = "aborted" if reply.startswith(b"-EXECABORT") else "null" if reply in (b"*-1\r\n", b"_\r\n") else "ran"
        outcomes[kind] += not reply.startswith(b"-ERR")
    else:
        a.call("DISCARD")


DIRECTED = {  # what b does between WATCH and EXEC of a, and before it
    "absent and made": ([], [["SET", "w", "1"]]),
    "deleted": ([["SET", "w", "1"]], [["DEL", "w"]]),
    "same value": ([["SET", "w", "1"]], [["SET", "w", "1"]]),
    "read": ([["SET", "w", "1"]], [["GET", "w"]]),
    "refused": ([["SET", "w", "x"]], [["INCR", "w"]]),
    "expire": ([["SET", "w", "1"]], [["EXPIRE", "w", "100"]]),
    "renamed away": ([["SET", "w", "1"]], [["RENAME", "w", "v"]]),
    "renamed to": ([["SET", "v", "1"]], [["RENAME", "v", "w"]]),
    "moved": ([["SET", "w", "1"]], [["MOVE", "w", "1"]]),
    "moved from another": ([], [["SELECT", "1"], ["SET", "w", "1"], ["MOVE", "w", "0"]]),
    "other database": ([["SET", "w", "1"]], [["SELECT", "1"], ["SET", "w", "2"]]),
    "flushed": ([["SET", "w", "1"]], [["FLUSHDB"]]),
    "flushed, absent": ([], [["FLUSHALL"]]),
    "flushed elsewhere": ([["SET", "w", "1"]], [["SELECT", "1"], ["FLUSHDB"]]),
    "swapped": ([["SET", "w", "1"]], [["SWAPDB", "0", "1"]]),
    "swapped, absent in both": ([["SET", "v", "1"]], [["SWAPDB", "0", "1"]]),
    "swapped in": ([], [["SELECT", "1"], ["SET", "w", "1"], ["SWAPDB", "0", "1"]]),
    "swapped others": ([["SET", "w", "1"]], [["SWAPDB", "1", "2"]]),
    "list emptied": ([["RPUSH", "w", "1"]], [["LPOP", "w"]]),
    "member that is there": ([["SADD", "w", "1"]], [["SADD", "w", "1"]]),
    "copied to": ([["SET", "v", "1"]], [["COPY", "v", "w"]]),
    "no member to remove": ([["SADD", "w", "1"]], [["SREM", "w", "2"]]),
    "same score": ([["ZADD", "w", "1", "a"]], [["ZADD", "w", "1", "a"]]),
    "no such member": ([["ZADD", "w", "1", "a"]], [["ZREM", "w", "b"]]),
    "persist of none": ([["SET", "w", "1"]], [["PERSIST", "w"]]),
}


@pytest.mark.parametrize("case", DIRECTED)
@pytest.mark.parametrize("shards", SHARDS)
def test_watched_key(oracle, moons, shards, case):
    before, between = DIRECTED[case]
    first, second = (Pair(oracle, moons.get(shards), 2) for _ in range(2))
    first.reset()
    a, b = Both(first), Both(second)
    for command in before:
        b.call(*command)
    a.call("WATCH", "w")
    for command in between:
        b.call(*command)
    for command in (["MULTI"], ["SET", "done", "1"], ["SET", "also", "1"], ["EXEC"], ["MULTI"], ["GET", "done"], ["GET", "also"], ["EXEC"]):
        a.call(*command)
    first.close()
    second.close()


@pytest.mark.parametrize("ask", [None, "GET", "SET"])
@pytest.mark.parametrize("was_late", [False, True], ids=["in time", "late already"])
@pytest.mark.parametrize("shards", SHARDS)
def test_watched_key_that_expires(oracle, moons, shards, was_late, ask):
    first, second = (Pair(oracle, moons.get(shards), 2) for _ in range(2))
    first.reset()
    a, b = Both(first), Both(second)
    try:
        for client in (first.o, first.m):
            client.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        b.call("SET", "w", "1", "PX", "60")
        if was_late:
            sleep_past(b)
        a.call("WATCH", "w")
        if not was_late:
            sleep_past(b)
        if ask:
            b.call(*([ask, "w"] if ask == "GET" else [ask, "w", "2"]))
        for command in (["MULTI"], ["SET", "done", "1"], ["EXEC"]):
            a.call(*command)
    finally:
        for client in (first.o, first.m):
            client.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    first.close()
    second.close()


def sleep_past(both):
    time.sleep(0.1)
    assert both.log


@pytest.mark.parametrize("shards", SHARDS)
def test_exec_is_aborted_where_memory_or_log_refuse(oracle, moons, shards):
    first, second = (Pair(oracle, moons.get(shards), 2) for _ in range(2))
    first.reset()
    a, b = Both(first), Both(second)
    try:
        a.call("MULTI")
        a.call("SET", "k", "1")
        b.call("CONFIG", "SET", "maxmemory", "1")
        a.call("EXEC")
        a.call("MULTI")
        a.call("SET", "k", "1")
        a.call("GET", "k")
        a.call("EXEC")
    finally:
        b.call("CONFIG", "SET", "maxmemory", "0")
    a.call("GET", "k")
    first.close()
    second.close()
