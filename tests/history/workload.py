"""What the clients ask: kinds of groups of keys, and per kind how a command is drawn.

A group's keys are named `<group>:<type><number>`, type one of s l e z (string, list, set, sorted set). PLACES is the
one list that says what Moon can do at present; the reference does everything.
"""
import collections
import itertools
import random

from model import LATE_READ_ALL, LATE_TRANSFER, READ_ALL, SWAP, TRANSFER, Err, Exec, reader_of, value_read
from moonlib.slots import crc16

# Where the keys of one group may lie on Moon: "many" shards; "multi": many, but what falls into parts (SPLIT) goes inside
# MULTI; "one" shard (a {tag}); None: not at all yet. A kind moves up when the commands it draws have landed. A third of
# the groups lies on one shard all the same.
PLACES = {
    "register": "many",  # of one key each: the shard does not matter
    "queue": "many",
    "members": "many",
    "owned": "many",
    "tuple": "many",
    "versions": "many",
    "claim": "many",
    "rename": "many",
    "moves": "many",
    "smove": "many",
    "algebra": "many",
    "zalgebra": "many",
    "bank": "many",
    "counter": "many",
    "mixed": "many",
    "append": "many",
    "waiters": "many",
    "handers": "many",
    "script": "many",
}
SPLIT = {"MGET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH"}
EVERYTHING = dict.fromkeys(PLACES, "many")
BY_GRAPH = {"versions", "append"}  # kinds judged by graph.py, the others by linear.py

Group = collections.namedtuple("Group", "name kind place keys")
Step = collections.namedtuple("Step", "group command since", defaults=(None,))  # group None: not part of a history

SHARDS_MAX = 8
MEMBERS = [b"m%d" % i for i in range(6)]
SIDES = [b"LEFT", b"RIGHT"]


def shard_of(key):
    """With SHARDS_MAX shards; modulo a divisor of it, with fewer."""
    return crc16(key) % 16384 // 32 % SHARDS_MAX


def key_names(group, types, place, turn):
    """Neighbours lie on different shards at every count up to SHARDS_MAX, or all on one."""
    for i, kind in enumerate(types):
        if place == "one":
            yield b"{%s}:%s%d" % (group, kind.encode(), i)
        else:
            names = (b"%s:%s%d~%d" % (group, kind.encode(), i, salt) for salt in itertools.count())
            yield next(name for name in names if shard_of(name) == (i + turn) % SHARDS_MAX)


def type_of(key):
    return key.rpartition(b":")[2][:1].decode()


# ---- per kind: the types of its keys, and draw(session, group) → command

KINDS = {}


def kind(types, weight=4):
    def add(draw):
        KINDS[draw.__name__] = (types, weight, draw)
        return draw
    return add


def some(rng, keys, low=2):
    return rng.sample(keys, rng.randint(low, len(keys)))


def paired(session, keys):
    return [word for key in keys for word in (key, session.fresh())]


@kind("s", 8)
def register(session, group):
    rng, (key,) = session.rng, group.keys
    return rng.choice([("GET", key), ("GET", key), ("SET", key, session.fresh()), ("GETSET", key, session.fresh()),
                       ("INCR", key), ("DEL", key), ("SETNX", key, session.fresh()), ("GETDEL", key)])


@kind("l", 2)
def queue(session, group):
    rng, (key,) = session.rng, group.keys
    return rng.choice([("RPUSH", key, session.fresh()), ("LPUSH", key, session.fresh()), ("LPOP", key), ("RPOP", key),
                       ("LPOP", key), reader_of("l", key), ("LLEN", key)])


@kind("e", 2)
def members(session, group):
    rng, (key,) = session.rng, group.keys
    member = rng.choice(MEMBERS)
    return rng.choice([("SADD", key, member), ("SREM", key, member), ("SISMEMBER", key, member), ("SMEMBERS", key)])


@kind("sssss", 8)
def tuple_(session, group):
    rng, keys = session.rng, group.keys
    draw = rng.random()
    if draw < 0.3:
        return ("MSET", *paired(session, keys if rng.random() < 0.5 else some(rng, keys)))
    if draw < 0.65:
        return ("MGET", *(keys if rng.random() < 0.7 else some(rng, keys)))
    return rng.choice([("DEL", *some(rng, keys)), ("UNLINK", *some(rng, keys)), ("EXISTS", *keys), ("TOUCH", *keys),
                       ("SET", rng.choice(keys), session.fresh()), ("GET", rng.choice(keys))])


@kind("ssss", 3)
def claim(session, group):
    rng, keys = session.rng, group.keys
    return rng.choice([("MSETNX", *paired(session, some(rng, keys))), ("MSETNX", *paired(session, some(rng, keys))),
                       ("MGET", *keys), ("DEL", *keys), ("DEL", rng.choice(keys))])


@kind("ssss", 4)
def rename(session, group):
    rng, keys = session.rng, group.keys
    a, b = rng.sample(keys, 2)
    return rng.choice([("RENAME", a, b), ("RENAME", a, b), ("RENAMENX", a, b), ("MGET", *keys), ("EXISTS", *keys),
                       ("COPY", a, b, b"REPLACE"), ("SETNX", a, session.fresh())])


@kind("lll", 4)
def moves(session, group):
    rng, keys = session.rng, group.keys
    a, b = rng.choice(keys), rng.choice(keys)
    draw = rng.random()
    if draw < 0.45:
        return ("RPOPLPUSH", a, b) if draw < 0.1 else ("LMOVE", a, b, rng.choice(SIDES), rng.choice(SIDES))
    if draw < 0.65:
        return reader_of("l", a)
    return rng.choice([("RPUSH", a, session.fresh()), ("LPUSH", a, session.fresh()), ("LPOP", a), ("RPOP", a),
                       ("LMPOP", b"%d" % len(keys), *keys, rng.choice(SIDES)), ("EXISTS", *keys)])


@kind("eee", 3)
def smove(session, group):
    rng, keys, member = session.rng, group.keys, session.rng.choice(MEMBERS)
    a, b = rng.choice(keys), rng.choice(keys)
    return rng.choice([("SMOVE", a, b, member), ("SMOVE", a, b, member), ("SMOVE", a, b, member), ("SADD", a, member),
                       ("SREM", a, member), ("SMEMBERS", a), ("SUNION", *keys), ("SDIFF", a, b),
                       ("SINTERCARD", b"2", a, b)])


@kind("eeee", 3)
def algebra(session, group):
    rng, keys, member = session.rng, group.keys, session.rng.choice(MEMBERS)
    name = rng.choice(["SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE", "SUNIONSTORE"])
    a = rng.choice(keys)
    return rng.choice([(name, a, *some(rng, keys)), ("SADD", a, member), ("SADD", a, member), ("SREM", a, member),
                       ("SMEMBERS", a), ("SINTER", *some(rng, keys)), ("SUNION", *keys), ("DEL", *some(rng, keys))])


@kind("zzz", 3)
def zalgebra(session, group):
    rng, keys = session.rng, group.keys
    *sources, target = keys
    a, member = rng.choice(sources), rng.choice(MEMBERS)
    return rng.choice([("ZADD", a, b"%d" % rng.randrange(100), member), ("ZADD", a, b"%d" % rng.randrange(100), member),
                       ("ZREM", a, member), ("ZUNIONSTORE", target, b"2", *sources), reader_of("z", target),
                       ("ZINTERSTORE", target, b"2", *sources), ("ZUNION", b"3", *keys, b"WITHSCORES"),
                       ("ZDIFFSTORE", target, b"2", *sources), ("ZMPOP", b"2", *sources, b"MIN"),
                       ("ZINTER", b"2", *sources, b"WITHSCORES")])


def waiting(rng):
    """Seconds a command waits at most: short, as it holds its connection up."""
    return b"0.0%d" % rng.randint(1, 3)


def beside_waiters(rng, session, keys):
    a, b = rng.choice(keys), rng.choice(keys)
    if rng.random() < 0.5:
        return (rng.choice(["RPUSH", "LPUSH"]), a, session.fresh())
    return rng.choice([("LPOP", a), reader_of("l", a), ("EXISTS", *keys), ("DEL", a, b),
                       ("LMOVE", a, b, rng.choice(SIDES), rng.choice(SIDES))])


@kind("lll", 3)
def waiters(session, group):
    rng, keys = session.rng, group.keys
    if rng.random() < 0.6:
        return beside_waiters(rng, session, keys)
    return rng.choice([("BLPOP", *some(rng, keys), waiting(rng)), ("BRPOP", *some(rng, keys, 1), waiting(rng)),
                       ("BLMPOP", waiting(rng), b"%d" % len(keys), *keys, rng.choice(SIDES))])


@kind("lll", 3)
def handers(session, group):
    """Who waits for an element to put it elsewhere, where the next one may be waiting."""
    rng, keys = session.rng, group.keys
    a, b = rng.choice(keys), rng.choice(keys)
    if rng.random() < 0.6:
        return beside_waiters(rng, session, keys)
    return rng.choice([("BLMOVE", a, b, rng.choice(SIDES), rng.choice(SIDES), waiting(rng)),
                       ("BRPOPLPUSH", a, b, waiting(rng)), ("BLPOP", a, waiting(rng))])


@kind("ssss", 3)
def script(session, group):
    rng, keys = session.rng, group.keys
    a, b = rng.sample(keys, 2)
    return rng.choice([("EVAL", TRANSFER, b"2", a, b, b"%d" % rng.randrange(100)), ("EVAL", SWAP, b"2", a, b),
                       ("EVAL", LATE_TRANSFER, b"1", a, b, b"%d" % rng.randrange(100)), ("EVAL", LATE_READ_ALL, b"1", *keys),
                       Exec((), (("INCR", a), ("EVAL", LATE_TRANSFER, b"1", a, b, b"1"))),
                       ("EVAL", READ_ALL, b"%d" % len(keys), *keys), ("MGET", *keys), ("DEL", a, b),
                       ("INCR", a), ("MSET", *paired(session, [a, b]))])


@kind("ssss", 5)
def bank(session, group):
    """A transfer keeps the sum of all accounts."""
    rng, keys = session.rng, group.keys
    if rng.random() < 0.5:
        amount, (a, b) = b"%d" % rng.randrange(1, 100), rng.sample(keys, 2)
        return Exec((), (("DECRBY", a, amount), ("INCRBY", b, amount)))
    return ("MGET", *keys) if rng.random() < 0.7 else Exec((), tuple(("GET", key) for key in keys))


@kind("sss", 3)
def counter(session, group):
    """Beside these, most changes of a counter are by WATCH: Session.compare_and_set."""
    rng, keys = session.rng, group.keys
    return rng.choice([("INCR", rng.choice(keys)), ("DECRBY", rng.choice(keys), b"1"), ("MGET", *keys), ("MGET", *keys), ("GET", rng.choice(keys))])


@kind("ssslle", 5)
def mixed(session, group):
    rng = session.rng
    if rng.random() < 0.5:
        return Exec((), tuple(one_of_mixed(session, group) for _ in range(rng.randint(2, 5))))
    return one_of_mixed(session, group)


def one_of_mixed(session, group):
    rng, draw = session.rng, session.rng.random()
    if draw < 0.25:
        return rng.choice([("DEL", *some(rng, group.keys, 1)), ("EXISTS", *group.keys)])
    part = "sle"[int(draw * 4) - 1]
    keys = [key for key in group.keys if type_of(key) == part]
    as_if = group._replace(keys=keys)
    if part == "s":
        return tuple_(session, as_if)
    if part == "l":
        return moves(session, as_if)
    return rng.choice([("SADD", keys[0], rng.choice(MEMBERS)), ("SREM", keys[0], rng.choice(MEMBERS)),
                       ("SMEMBERS", keys[0])])


@kind("s" * 16, 4)
def versions(session, group):
    """Each key has one writer: the order of its versions is known, whoever reads."""
    rng = session.rng
    mine = [key for i, key in enumerate(group.keys) if i * session.clients // len(group.keys) == session.conn]
    if mine and rng.random() < 0.5:
        return ("MSET", *paired(session, some(rng, mine, 1)))
    return ("MGET", *some(rng, group.keys, 3))


@kind("sssss", 10)
def owned(session, group):
    """Of one connection alone: nobody can come in between, so what is half there was torn by a crash."""
    if sum(group.name.encode()) % session.clients != session.conn:
        return None
    rng, keys = session.rng, group.keys
    return rng.choice([("MSET", *paired(session, keys)), ("MSET", *paired(session, some(rng, keys))),
                       ("DEL", *some(rng, keys)), ("MGET", *keys)])


@kind("l" * 8, 1)
def append(session, group):
    """Lists that only grow: what a read shows tells the whole order before it (Elle's list-append)."""
    rng = session.rng
    steps = tuple(("RPUSH", key, session.fresh()) if rng.random() < 0.5 else reader_of("l", key)
                  for key in rng.sample(group.keys, rng.randint(1, 4)))
    return Exec((), steps) if len(steps) > 1 else steps[0]


KINDS["tuple"] = KINDS.pop("tuple_")
def draw_kinds(rng, places):
    """Few kinds make many operations meet on one group, many kinds try what they do to each other. One of them is
    for every connection."""
    able = [name for name in KINDS if places[name] is not None]
    return set(rng.sample(able, min(len(able), rng.choice([2, 4, 8, len(able)])))) | {"register"}


CAN_WATCH = {"counter", "mixed", "bank"}


def make_groups(places, copies=3, lap=0):
    """`copies` of each kind that `places` allows; of a kind by list-append new ones each `lap`."""
    groups, turns = [], itertools.count()
    for name, (types, _, _) in KINDS.items():
        if places[name] is None:
            continue
        for i in range(copies * (3 if len(types) == 1 or name == "owned" else 1)):
            place = "one" if len(types) > 1 and i % 2 else places[name]
            title = f"{name}{i}" + (f".{lap}" if name == "append" else "")
            keys = list(key_names(title.encode(), types, place, next(turns)))
            groups.append(Group(title, name, place, keys))
    return groups


# ---- one connection

LEAVES_MAX = 4  # per client and lap: what they leave unanswered may happen at any time after


class Session:
    """What one connection sends. batches() is a generator of pipelines; it is sent (when each was sent, when it
    was answered, the replies)."""

    def __init__(self, seed, groups, conn, clients, lap, depth, kinds=EVERYTHING, leaves=0.001):
        """`kinds`: of the groups that it asks about."""
        self.rng = random.Random(f"{seed} {lap} {conn}")
        self.made_of = (seed, groups, conn + clients, clients, lap, depth, kinds, leaves)
        self.groups, self.conn, self.clients, self.depth, self.leaves = groups, conn, clients, depth, leaves
        self.weights = [KINDS[group.kind][1] if group.kind in kinds else 0 for group in groups]
        self.watchable = [i for i, group in enumerate(groups) if group.kind in CAN_WATCH and self.weights[i]]
        self.numbers = itertools.count(lap * 10**14 + conn * 10**11 + 1000, 1000)

    def fresh(self):
        """A value that nobody else writes, a number so that INCR works on it; the next ones come by INCR."""
        return b"%d" % next(self.numbers)

    def wants_to_leave(self):
        return self.conn // self.clients < LEAVES_MAX and self.rng.random() < self.leaves

    def next(self):
        """Of the connection that takes its place. It has another number, so it never writes versions: the last of
        its predecessor may be under way."""
        return Session(*self.made_of)

    def draw(self):
        while True:
            i = self.rng.choices(range(len(self.groups)), self.weights)[0]
            group = self.groups[i]
            command = KINDS[group.kind][2](self, group)
            if command is not None:
                split = not isinstance(command, Exec) and command[0] in SPLIT
                return Step(i, Exec((), (command,)) if split and group.place == "multi" else command)

    def batches(self):
        while True:
            if self.watchable and self.rng.random() < 0.25:
                yield from self.compare_and_set()
            else:
                yield [self.draw() for _ in range(self.rng.randint(1, self.depth))]

    def compare_and_set(self):
        """WATCH some keys, read them, and set them only if nobody changed them meanwhile."""
        rng, i = self.rng, self.rng.choice(self.watchable)
        group = self.groups[i]
        keys = rng.sample(group.keys, rng.randint(1, min(3, len(group.keys))))
        readers = [reader_of(type_of(key), key) for key in keys]
        sent, answered, replies = yield [Step(None, ("WATCH", *keys)), *(Step(i, reader) for reader in readers)]
        if any(isinstance(reply, Err) for reply in replies):
            return  # the history tells
        values = [value_read(reader, reply) for reader, reply in zip(readers, replies[1:])]
        if rng.random() < 0.3:  # time for others
            yield [step for step in (self.draw() for _ in range(3)) if not isinstance(step.command, Exec)] or [
                Step(i, readers[0])]
        changes = tuple(self.change_of(key, value) for key, value in zip(keys, values))
        yield [Step(i, Exec(tuple(zip(keys, values)), changes), (sent, answered))]

    def change_of(self, key, value):
        if type_of(key) == "l":
            return ("RPUSH", key, self.fresh())
        if type_of(key) == "e":
            return ("SADD", key, self.rng.choice(MEMBERS))
        return ("SET", key, b"%d" % (int(value or 0) + 1))
