"""Blocking commands beside redis-server: several clients in a scripted order; who gets what must be the same."""
import random

import pytest

from pair import Pair
from stage import Stage

SHARDS = [1, 2, 4]
T = "{t}"  # keys of one slot


def both(oracle, moon, clients, resp, script):
    """Runs a script [(client, command…) , ("over", client, (command…)…), when all is over, or ("unblock", client, how…)] on both; every step's replies must agree."""
    stages = [Stage(oracle, clients, resp), Stage(moon, clients, resp)]
    try:
        for number, step in enumerate(script):
            theirs, ours = (play(stage, step) for stage in stages)
            assert ours == theirs, f"step {number}: {step}"
            assert stages[0].waits == stages[1].waits, f"step {number}: {step}"
        left = sorted(stages[0].waits)
        for index in left:
            theirs, ours = (stage.let_go(index) for stage in stages)
            assert ours == theirs, f"at the end: {index}"
        pair = Pair(oracle, moon, resp)
        why = pair.compare_data()
        pair.close()
        assert why is None, why
    finally:
        for stage in stages:
            stage.close()


def play(stage, step):
    if step[0] == "unblock":
        return stage.let_go(*step[1:])
    if step[0] == "over":
        return stage.step(*step[1:], until_all=True)
    commands = step[1:] if isinstance(step[1], tuple) else (step[1:],)
    return stage.step(step[0], *commands)


SCRIPTS = {
    "in order of coming": [
        (0, "BLPOP", "k", 0), (1, "BRPOP", "k", 0), (2, "BLPOP", "k", 0), (3, "RPUSH", "k", "a", "b", "c", "d")],
    "one element each": [
        (0, "BLPOP", "k", 0), (1, "BLPOP", "k", 0), (3, "RPUSH", "k", "a"), (3, "RPUSH", "k", "b")],
    "there already": [(0, "RPUSH", "k", "a", "b"), (1, "BLPOP", "k", 0), (1, "BRPOP", "k", 0), (1, "EXISTS", "k")],
    "first key that is there": [
        (0, "RPUSH", T + "2", "x"), (0, "RPUSH", T + "3", "y"), (1, "BLPOP", T + "1", T + "2", T + "3", 0),
        (1, "BLPOP", T + "3", T + "2", T + "1", 0), (1, "BLPOP", T + "3", T + "2", 0), (0, "RPUSH", T + "2", "z")],
    "a key twice": [(0, "BLPOP", "k", "k", 0), (1, "BLPOP", "k", 0), (2, "RPUSH", "k", "a", "b")],
    "one gets it, another key later": [
        (0, "BLPOP", T + "1", T + "2", 0), (1, "BLPOP", T + "2", T + "1", 0), (3, "RPUSH", T + "2", "a"),
        (3, "RPUSH", T + "1", "b")],
    "of several shards": [
        (0, "BLPOP", "a", "b", "c", "d", "e", 0), (1, "BLPOP", "e", "d", "c", "b", "a", 0), (2, "BRPOP", "c", 0),
        (3, "RPUSH", "c", "1"), (3, "RPUSH", "a", "2"), (3, "RPUSH", "c", "3"), (0, "BLPOP", "a", "c", 0)],
    "of several shards, there already": [
        (0, "RPUSH", "c", "1"), (0, "RPUSH", "a", "2"), (1, "BLPOP", "x", "b", "c", "a", 0), (1, "BLPOP", "d", "a", "c", 0)],
    "of several shards, wrong type": [
        (0, "SET", "b", "1"), (1, "BLPOP", "a", "b", "c", 0), (0, "RPUSH", "a", "1"), (1, "BLPOP", "a", "b", "c", 0)],
    "wrong type now": [(0, "SET", "k", "v"), (1, "BLPOP", "k", 0), (1, "BZPOPMIN", "k", 0), (1, "BLMOVE", "k", "k", "LEFT", "LEFT", 0)],
    "wrong type later": [
        (0, "BLPOP", "k", 0), (1, "BZPOPMIN", "k", 0), (2, "SET", "k", "v"), (2, "DEL", "k"), (2, "SADD", "k", "m"),
        (2, "DEL", "k"), (2, "ZADD", "k", 1, "m"), (2, "RPUSH", "k", "x")],
    "two types wait": [
        (0, "BLPOP", "k", 0), (1, "BZPOPMAX", "k", 0), (2, "BLPOP", "k", 0), (3, "ZADD", "k", 1, "a", 2, "b"), (3, "DEL", "k"),
        (3, "RPUSH", "k", "x", "y", "z")],
    "sorted sets": [
        (0, "BZPOPMIN", "k", 0), (1, "BZPOPMAX", "k", 0), (3, "ZADD", "k", 1, "a", 2.5, "b", 3, "c"), (0, "BZMPOP", 0, 2, T + "1", T + "2", "MAX", "COUNT", 2),
        (1, "BZMPOP", 0, 1, T + "2", "MIN"), (3, "ZADD", T + "2", 1, "a", 2, "b", 3, "c", 4, "d")],
    "counted": [
        (0, "BLMPOP", 0, 2, T + "1", T + "2", "LEFT", "COUNT", 3), (1, "BLMPOP", 0, 1, T + "1", "RIGHT", "COUNT", 10), (2, "BLPOP", T + "1", 0),
        (3, "RPUSH", T + "1", "a", "b", "c", "d", "e"), (3, "RPUSH", T + "1", "f")],
    "moves": [
        (0, "BLMOVE", T + "1", T + "2", "LEFT", "RIGHT", 0), (1, "BRPOPLPUSH", T + "1", T + "2", 0), (2, "BLPOP", T + "2", 0),
        (3, "RPUSH", T + "1", "a", "b", "c")],
    "moves in a row": [
        (0, "BLMOVE", T + "1", T + "2", "LEFT", "LEFT", 0), (1, "BLMOVE", T + "2", T + "3", "LEFT", "LEFT", 0),
        (2, "BLMOVE", T + "3", T + "1", "LEFT", "LEFT", 0), (3, "RPUSH", T + "1", "x"), (3, "LRANGE", T + "1", 0, -1)],
    "moves between shards": [
        (0, "BLMOVE", "a", "b", "LEFT", "RIGHT", 0), (1, "BRPOPLPUSH", "a", "c", 0), (2, "BLPOP", "b", 0), (3, "RPUSH", "a", "1", "2", "3"),
        (0, "BLMOVE", "a", "d", "LEFT", "LEFT", 0), (0, "BRPOPLPUSH", "d", "a", 0), (1, "BRPOPLPUSH", "e", "d", 0), (3, "LPUSH", "e", "x")],
    "moves between shards in a row": [
        (0, "BLMOVE", "a", "b", "LEFT", "LEFT", 0), (1, "BLMOVE", "b", "c", "LEFT", "LEFT", 0), (2, "BLMOVE", "c", "a", "LEFT", "LEFT", 0),
        (3, "RPUSH", "a", "x"), (3, "LRANGE", "a", 0, -1)],
    "moves between shards to a wrong type": [
        (0, "SET", "b", "v"), (1, "BLMOVE", "a", "b", "LEFT", "LEFT", 0), (2, "BLPOP", "a", 0), (0, "RPUSH", "a", "1"),
        (1, "RPUSH", "a", "2"), (1, "BLMOVE", "a", "b", "LEFT", "LEFT", 0), (1, "BLMOVE", "b", "a", "LEFT", "LEFT", 0)],
    "moves between shards, unblocked": [(0, "BLMOVE", "a", "b", "LEFT", "LEFT", 0), (1, "BLMOVE", "a", "c", "LEFT", "LEFT", 0), ("unblock", 0), ("unblock", 1, "ERROR"),
        (2, "RPUSH", "a", "1"), ("over", 0, ("BLMOVE", "e", "d", "LEFT", "LEFT", "0.001"), ("PING",))],
    "made by EXEC on several shards": [
        (0, "BLPOP", "a", 0), (1, "BLPOP", "b", 0), (2, "BLMOVE", "c", "d", "LEFT", "LEFT", 0),
        (3, ("MULTI",), ("RPUSH", "b", "1"), ("RPUSH", "a", "2", "3"), ("LPOP", "a"), ("RPUSH", "c", "4"), ("EXEC",))],
    "made by RENAME on another shard": [
        (0, "BLPOP", "a", 0), (1, "BLPOP", "b", 0), (2, "BZPOPMIN", "c", 0), (3, "RPUSH", "x", "1", "2"), (3, "RENAME", "x", "a"), (3, "COPY", "a", "b"),
        (3, "ZADD", "y", 1, "m"), (3, "RENAME", "y", "c"), (3, "LMOVE", "a", "b", "LEFT", "LEFT")],
    "moves round": [(0, "BLMOVE", "k", "k", "LEFT", "RIGHT", 0), (1, "BLPOP", "k", 0), (3, "RPUSH", "k", "a", "b")],
    "moves to a wrong type": [
        (0, "SET", T + "2", "v"), (1, "BLMOVE", T + "1", T + "2", "LEFT", "LEFT", 0), (2, "BLPOP", T + "1", 0), (0, "RPUSH", T + "1", "a"),
        (1, "BLMOVE", T + "1", T + "2", "LEFT", "LEFT", 0)],
    "made by RENAME": [(0, "BLPOP", T + "k", 0), (1, "RPUSH", T + "o", "a", "b"), (1, "RENAME", T + "o", T + "k")],
    "made by RENAME over another type": [
        (1, "SET", T + "k", "v"), (0, "BLPOP", T + "x", 0), (1, "RPUSH", T + "o", "a"), (1, "RENAME", T + "o", T + "x")],
    "made by COPY": [(0, "BLPOP", T + "k", 0), (1, "RPUSH", T + "o", "a", "b"), (1, "COPY", T + "o", T + "k")],
    "made by MOVE": [(0, ("SELECT", 1)), (0, "BLPOP", "k", 0), (1, "RPUSH", "k", "a", "b"), (1, "MOVE", "k", 1)],
    "made by SWAPDB": [
        (0, "SELECT", 1), (0, "BLPOP", "k", 0), (2, "BZPOPMIN", "z", 0), (1, "RPUSH", "k", "a", "b"), (1, "SWAPDB", 0, 1),
        (1, "SELECT", 1), (1, "ZADD", "z", 1, "m"), (1, "SWAPDB", 0, 1)],
    "made by LMOVE": [(0, "BLPOP", T + "k", 0), (1, "RPUSH", T + "o", "a"), (1, "LMOVE", T + "o", T + "k", "LEFT", "LEFT")],
    "made by ZUNIONSTORE": [
        (0, "BZPOPMIN", T + "k", 0), (1, "ZADD", T + "o", 1, "a", 2, "b"), (1, "ZUNIONSTORE", T + "k", 1, T + "o"), (1, "ZRANGESTORE", T + "k", T + "o", 0, -1),
        (0, "BZPOPMAX", T + "m", 0), (1, "ZRANGESTORE", T + "m", T + "o", 0, -1)],
    "made by GEOADD or ZINCRBY": [(0, "BZPOPMIN", "k", 0), (1, "ZINCRBY", "k", 2, "a")],
    "not made": [
        (0, "BLPOP", "k", 0), (1, "LPUSHX", "k", "a"), (1, "LINSERT", "k", "BEFORE", "a", "b"), (1, "LPUSH", "k", "x"), (1, "EXISTS", "k")],
    "the other database": [(0, "BLPOP", "k", 0), (1, "SELECT", 2), (1, "RPUSH", "k", "a"), (1, "LRANGE", "k", 0, -1), (2, "RPUSH", "k", "b")],
    "a pipeline behind it": [
        (0, ("BLPOP", "k", 0), ("RPUSH", "k", "own"), ("LRANGE", "k", 0, -1), ("BLPOP", "k", 0), ("BLPOP", "k", 0)),
        (1, "RPUSH", "k", "a"), (1, "RPUSH", "k", "b")],
    "a pipeline before it": [(0, ("RPUSH", "k", "a", "b"), ("SET", "x", 1), ("BLPOP", "k", 0), ("GET", "x"), ("BLPOP", "k", 0), ("BLPOP", "k", 0), ("GET", "x")), (1, "RPUSH", "k", "c")],
    "unblocked": [
        (0, "BLPOP", "k", 0), (1, "BLMOVE", T + "k", T + "x", "LEFT", "LEFT", 0), (2, "BZMPOP", 0, 1, "k", "MIN"), ("unblock", 0), ("unblock", 1, "TIMEOUT"),
        ("unblock", 2, "ERROR"), ("unblock", 2, "error"), (3, "RPUSH", "k", "a"), (3, "RPUSH", T + "k", "a")],
    "unblocked, the next one gets it": [(0, "BLPOP", "k", 0), (1, "BLPOP", "k", 0), ("unblock", 0, "ERROR"), (3, "RPUSH", "k", "a", "b")],
    "after EXEC, in the order of the writes": [
        (0, "BLPOP", T + "1", T + "2", 0), (1, "BLPOP", T + "1", 0),
        (3, ("MULTI",), ("RPUSH", T + "2", "x"), ("RPUSH", T + "1", "y", "z"), ("LLEN", T + "2"), ("EXEC",))],
    "what EXEC takes away again": [
        (0, "BLPOP", "k", 0), (3, ("MULTI",), ("RPUSH", "k", "x"), ("LPOP", "k"), ("EXEC",)),
        (3, ("MULTI",), ("RPUSH", "k", "x"), ("DEL", "k"), ("SET", "k", "v"), ("EXEC",)), (3, "DEL", "k"),
        (3, ("MULTI",), ("RPUSH", "k", "x"), ("DEL", "k"), ("RPUSH", "k", "y"), ("EXEC",))],
    "nothing waits inside EXEC": [
        (0, ("MULTI",), ("BLPOP", T + "1", 0), ("BRPOP", T + "1", T + "2", 0), ("BLMOVE", T + "1", T + "2", "LEFT", "LEFT", 0), ("BRPOPLPUSH", T + "1", T + "2", 0),
         ("BLMPOP", 0, 1, T + "1", "LEFT"), ("BZPOPMIN", T + "1", 0), ("BZPOPMAX", T + "1", 0), ("BZMPOP", 0, 1, T + "1", "MIN"), ("EXEC",)),
        (0, ("MULTI",), ("RPUSH", T + "1", "a", "b", "c"), ("BLPOP", T + "2", T + "1", 0), ("BLMOVE", T + "1", T + "2", "LEFT", "LEFT", 0), ("BLPOP", T + "1", -1),
         ("BZPOPMIN", T + "1", 0), ("EXEC",))],
    "a transaction behind it": [(0, ("BLPOP", "k", 0), ("MULTI",), ("RPUSH", "k", "own"), ("EXEC",), ("BLPOP", "k", 0), ("BLPOP", "k", 0)), (1, "RPUSH", "k", "a")],
    "errors": [
        (0, "BLPOP", "k", "x"), (0, "BLPOP", "k", -1), (0, "BLPOP", "k", "-0.5"), (0, "BLPOP", "k", "1e5000"),
        (0, "BLPOP", "k", "-inf"), (0, "BLPOP", "k", "nan"), (0, "BLPOP", "k", ""), (0, "BLPOP", "k", " 1"),
        (0, "BLPOP", "k"), (0, "BLMOVE", "k", "k", "LEFT", "UP", 0),
        (0, "BLMOVE", "k", "k", "LEFT", "LEFT", "x"), (0, "BLMOVE", "k", "k", "UP", "LEFT", "x"), (0, "BRPOPLPUSH", "k", "k", -1),
        (0, "BLMPOP", -1, 1, "k", "LEFT"), (0, "BLMPOP", -1, 0, "k", "LEFT"), (0, "BLMPOP", 0, 1, "k", "UP"), (0, "BLMPOP", 0, 2, "k", "LEFT"),
        (0, "BLMPOP", 0, 1, "k", "LEFT", "COUNT", 0), (0, "BLMPOP", 0, 1, "k", "LEFT", "COUNT"), (0, "BLMPOP", 0, "x", "k", "LEFT"),
        (0, "BLMPOP", "x", 1, "k", "UP"), (0, "BZPOPMIN", "k", "x"), (0, "BZMPOP", "x", 1, "k", "MIN"), (0, "BZMPOP", 0, 1, "k", "LEFT"),
        (0, "BZMPOP", 0, -1, "k", "MIN"), (0, "BZMPOP", 0, 9, "k", "MIN"), (0, "BZPOPMAX", "k", -1), (0, "CLIENT", "UNBLOCK", "x"),
        (0, "CLIENT", "UNBLOCK", 1, "x"), (0, "CLIENT", "UNBLOCK", 999999), (0, "CLIENT", "UNBLOCK"), (0, "CLIENT", "UNBLOCK", 1, "ERROR", "x")],
    "short timeouts": [
        ("over", 0, ("BLPOP", "k", "0.001"), ("PING",)), ("over", 0, ("BRPOP", "k", "1e-9"), ("PING",)), ("over", 0, ("BLMOVE", "k", "k", "LEFT", "LEFT", "0.001"), ("PING",)),
        ("over", 0, ("BRPOPLPUSH", "k", "k", "0x1p-10"), ("PING",)), ("over", 0, ("BLMPOP", "0.001", 1, "k", "LEFT"), ("PING",)), ("over", 0, ("BZPOPMIN", "k", "0.001"), ("PING",)),
        ("over", 0, ("BZMPOP", "0.001", 1, "k", "MIN"), ("PING",)), ("over", 0, ("BLPOP", "a", "b", "c", "0.001"), ("PING",))],
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("resp", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("shards", SHARDS)
def test_scripts(oracle, moons, shards, resp, name):
    both(oracle, moons.get(shards), 4, resp, SCRIPTS[name])


class Play:
    """Draws steps. It must know who waits: it plays on the oracle as it draws. No SWAPDB: of several keys that it makes
    ready at once Redis takes any first."""

    LISTS = [T + "a", T + "b", T + "c", "x", "y", "z"]
    ZSETS = [T + "p", T + "q", "s"]

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.number = 0

    def element(self):
        self.number += 1
        return f"e{self.number}"

    def end(self):
        return self.random.choice(["LEFT", "RIGHT"])

    def some(self, keys, most=4):
        return [self.random.choice(keys) for _ in range(self.random.randint(1, most))]

    def list(self):
        return self.random.choice(self.LISTS)

    def waiting(self):
        r = self.random
        keys = self.some(r.choice([self.LISTS, self.LISTS[:3], [*self.LISTS, *self.ZSETS]]))
        zkeys = self.some(r.choice([self.ZSETS, [*self.ZSETS, *self.LISTS]]))
        return r.choice([
            lambda: ("BLPOP", *keys, 0), lambda: ("BRPOP", *keys, 0), lambda: ("BLMPOP", 0, len(keys), *keys, self.end(), "COUNT", r.randint(1, 3)),
            lambda: ("BLMOVE", self.list(), self.list(), self.end(), self.end(), 0), lambda: ("BRPOPLPUSH", self.list(), self.list(), 0),
            lambda: ("BZPOPMIN", *zkeys, 0), lambda: ("BZPOPMAX", *zkeys, 0),
            lambda: ("BZMPOP", 0, len(zkeys), *zkeys, r.choice(["MIN", "MAX"]), "COUNT", r.randint(1, 3))])()

    def other(self):
        r = self.random
        key, zkey = r.choice(self.LISTS), r.choice(self.ZSETS)
        elements = [self.element() for _ in range(r.randint(1, 4))]
        return r.choice([
            lambda: (r.choice(["LPUSH", "RPUSH"]), key, *elements), lambda: (r.choice(["LPUSH", "RPUSH"]), key, *elements),
            lambda: ("ZADD", zkey, *[word for e in elements for word in (r.randint(-9, 9), e)]), lambda: ("ZADD", zkey, 1, elements[0]),
            lambda: (r.choice(["LPOP", "RPOP"]), key), lambda: ("LMOVE", self.list(), self.list(), self.end(), self.end()),
            lambda: (r.choice(["RENAME", "COPY"]), r.choice([*self.LISTS, *self.ZSETS]), r.choice([*self.LISTS, *self.ZSETS])),
            lambda: ("SET", r.choice([key, zkey]), "v"), lambda: ("DEL", key), lambda: ("DEL", zkey), lambda: ("MOVE", key, 1),
            lambda: ("SELECT", r.choice([0, 0, 1])), lambda: ("ZUNIONSTORE", T + "p", 2, T + "p", T + "q"), lambda: ("LRANGE", key, 0, -1),
            lambda: ("LMPOP", 1, key, "LEFT", "COUNT", 2), lambda: ("PING",)])()

    def draw(self, waits, clients):
        idle = [i for i in range(clients) if i not in waits]
        if not idle or (waits and self.random.random() < 0.08):
            return ("unblock", self.random.choice(sorted(waits)), *self.random.choice([(), ("TIMEOUT",), ("ERROR",)]))
        return (self.random.choice(idle), *(self.waiting() if self.random.random() < 0.45 else self.other()))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("resp", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("io", [None, "epoll"], ids=["chosen", "epoll"])
@pytest.mark.parametrize("shards", SHARDS)
def test_drawn(oracle, moons, full, shards, io, resp):
    clients, steps, plays = 4, 60, 60 if full else 5
    for n in range(plays):
        seed = f"blocking {n} {shards} {resp}"
        play_drawn(oracle, moons.get(shards, io), clients, steps, resp, seed)


def play_drawn(oracle, moon, clients, steps, resp, seed):
    drawn = Play(seed)
    stages = [Stage(oracle, clients, resp), Stage(moon, clients, resp)]
    script = []
    try:
        for _ in range(steps):
            script.append(drawn.draw(stages[0].waits, clients))
            theirs, ours = (play(stage, script[-1]) for stage in stages)
            assert ours == theirs and stages[0].waits == stages[1].waits, f"seed '{seed}', the last of: {script}"
        for index in sorted(stages[0].waits):
            theirs, ours = (stage.let_go(index) for stage in stages)
            assert ours == theirs, f"seed '{seed}', at the end: {index}"
        pair = Pair(oracle, moon, resp)
        why = pair.compare_data()
        pair.close()
        assert why is None, f"seed '{seed}': {why}"
    finally:
        for stage in stages:
            stage.close()
