"""A server and its clients in one process and in a time of its own, to see that the checkers have teeth.

It runs each command whole, unless a bug is planted that lets others in between or forgets something. One seed, one
history. A correct one already does all that Moon may do: commands of one connection that share no key run in any order, and what was not
answered before a crash may be gone.
"""
import collections
import random

from linear import Op
from model import TRANSFER, Exec, keys_of, put, run, take
from workload import Session


class World:
    def __init__(self, seed, groups, clients=4, bug=None, depth=3):
        self.rng = random.Random(f"world {seed}")
        self.seed, self.groups, self.clients, self.depth = seed, groups, clients, depth
        self.bug = BUGS[bug] if bug else None
        self.known = frozenset(key for group in groups for key in group.keys)
        self.db, self.clock, self.lap = {}, 0, 0
        self.touched = collections.Counter()  # per key, how often it was changed: what WATCH looks at
        self.lost = []  # effects that a crash dropped: none of them may come back

    def tick(self):
        self.clock += self.rng.randint(1, 20)
        return self.clock

    def play(self, events):
        """Runs so many events. Returns a list of operations per group; the last ones may lack replies."""
        self.start, self.log, self.gate = dict(self.db), [], 0
        connections = [Connection(self, conn) for conn in range(self.clients)]
        for _ in range(events):
            self.rng.choice(connections).act()
        histories = [[] for _ in self.groups]
        for connection in connections:
            connection.end()
            for group, op in connection.history:
                histories[group].append(op)
        self.lap += 1
        return histories

    def steps(self, command):
        """A generator that yields where others may come in between, and returns the reply."""
        if self.bug and self.bug.steps:
            return (yield from self.bug.steps(self, command))
        return (yield from self.whole(command))

    def whole(self, command):
        before = dict(self.db)
        reply = run(self.db, command)
        changed = {key: self.db.get(key) for key in before.keys() | self.db.keys() if self.db.get(key) != before.get(key)}
        if changed:
            self.log.append(changed)
        self.touched.update(changed.keys())
        return reply
        yield  # a generator like the others

    def crash(self):
        """Keeps all that somebody was told of, and of the rest a beginning."""
        kept = self.rng.randint(self.gate, len(self.log))
        log, dropped = self.log[:kept], self.log[kept:]
        if self.bug and self.bug.crash:
            log = self.bug.crash(self, log)
        self.lost += dropped
        self.db = self.start
        for changed in log:
            for key, value in changed.items():
                put(self.db, key, () if value is None else value)
        return {key: value for key, value in self.db.items()}


class Connection:
    def __init__(self, world, conn):
        self.world, self.conn = world, conn
        session = Session(world.seed, world.groups, conn, world.clients, world.lap, world.depth)
        self.steps_of, self.history, self.answer = session.batches(), [], None
        self.waiting, self.running, self.replies, self.told = [], {}, {}, 0
        self.batch = []

    def act(self):
        rng = self.world.rng
        if self.told == len(self.batch):
            self.begin()
        elif self.ready_to_tell() and rng.random() < 0.3:
            self.tell()
        else:
            self.advance()

    def begin(self):
        self.batch = self.steps_of.send(self.answer)
        self.sent = self.world.tick()
        self.waiting, self.running, self.replies, self.told = list(range(len(self.batch))), {}, {}, 0

    def ready_to_tell(self):
        return self.told in self.replies

    def tell(self):
        """What is ready, in order: all that ran until now is on disk."""
        while self.ready_to_tell():
            step = self.batch[self.told]
            if step.group is not None:
                self.history.append((step.group, Op(self.conn, self.sent, self.world.tick(), step.command,
                                                    self.replies[self.told], step.since)))
            self.told += 1
        self.world.gate = len(self.world.log)
        if self.told == len(self.batch):
            self.answer = (self.sent, self.world.tick(), [self.replies[i] for i in range(len(self.batch))])

    def advance(self):
        """One step of one command that nothing of this connection must precede."""
        world = self.world
        ready = [i for i in self.waiting if self.is_free(i)]
        if not ready:
            if self.ready_to_tell():
                self.tell()
            return
        i = world.rng.choice(ready)
        command = self.batch[i].command
        if command[0] == "WATCH" and not isinstance(command, Exec):
            self.replies[i] = "OK"
            self.watched = {key: world.touched[key] for key in command[1:]}
            self.waiting.remove(i)
            return
        if i not in self.running:
            if isinstance(command, Exec) and command.watched and self.was_touched():
                self.running[i] = world.whole(REFUSED)
            else:
                self.running[i] = world.steps(command)
        try:
            next(self.running[i])
        except StopIteration as end:
            self.replies[i] = end.value
            self.waiting.remove(i)

    def was_touched(self):
        looks = not (self.world.bug and self.world.bug.watch_by_value)
        return looks and any(self.world.touched[key] != count for key, count in self.watched.items())

    def is_free(self, i):
        mine, known = self.batch[i].command, self.world.known
        earlier = [self.batch[j].command for j in self.waiting if j < i]
        if isinstance(mine, Exec) or any(isinstance(one, Exec) or one[0] == "WATCH" for one in earlier):
            return not earlier
        bug = self.world.bug
        if bug and bug.disorder:
            return True
        return not any(keys_of(one, known) & keys_of(mine, known) for one in earlier)

    def end(self):
        for step in self.batch[self.told:]:
            if step.group is not None:
                self.history.append((step.group, Op(self.conn, self.sent, None, step.command, None)))


# ---- planted bugs

REFUSED = Exec(((b"", b""),), ())  # a watched key that never has this value


class Bug:
    def __init__(self, kinds, steps=None, crash=None, disorder=False, watch_by_value=False):
        self.kinds, self.steps, self.crash, self.disorder = kinds, steps, crash, disorder
        self.watch_by_value = watch_by_value


def in_parts(names, cut):
    """`cut(command)`: the commands it falls into; replies are joined."""
    def steps(world, command):
        if isinstance(command, Exec) or command[0] not in names:
            return (yield from world.whole(command))
        replies = []
        for i, part in enumerate(cut(command)):
            if i:
                yield
            replies.append((yield from world.whole(part)))
        if isinstance(replies[0], list):
            return sum(replies, [])
        return sum(replies) if isinstance(replies[0], int) else replies[0]
    return steps


def cut_at(command, at):
    return [command[:at], (command[0], *command[at:])] if len(command) > at else [command]


def check_then_set(world, command):
    if command[0] != "MSETNX":
        return (yield from world.whole(command))
    if any(key in world.db for key in command[1::2]):
        return 0
    yield
    yield from world.whole(("MSET", *command[1:]))
    return 1


def lost_update(world, command):
    if command[0] != "INCR":
        return (yield from world.whole(command))
    value = int(world.db.get(command[1], b"0")) + 1
    yield
    yield from world.whole(("SET", command[1], b"%d" % value))
    return value


def gap_in_rename(world, command):
    if command[0] != "RENAME" or command[1] not in world.db or command[1] == command[2]:
        return (yield from world.whole(command))
    value = yield from world.whole(("GETDEL", command[1]))
    yield
    yield from world.whole(("SET", command[2], value))
    return "OK"


def double_element(world, command):
    if command[0] != "LMOVE" or command[1] not in world.db:
        return (yield from world.whole(command))
    item = world.db[command[1]][0 if command[3] == b"LEFT" else -1]
    yield from world.whole(("LPUSH" if command[4] == b"LEFT" else "RPUSH", command[2], item))
    yield
    if command[1] in world.db:
        take(world.db, command[1], command[3])
    return item


def gap_in_smove(world, command):
    if command[0] != "SMOVE" or command[3] not in world.db.get(command[1], ()):
        return (yield from world.whole(command))
    yield from world.whole(("SREM", command[1], command[3]))
    yield
    yield from world.whole(("SADD", command[2], command[3]))
    return 1


def store_of_old(*names):
    """The sources are read, then others come, then the target is written."""
    def steps(world, command):
        if command[0] not in names:
            return (yield from world.whole(command))
        scratch = dict(world.db)
        reply = run(scratch, command)
        yield
        put(world.db, command[1], scratch.get(command[1], ()))
        return reply
    return steps


def no_isolation(world, command):
    if not isinstance(command, Exec) or command.watched:
        return (yield from world.whole(command))
    replies = []
    for one in command.commands:
        replies.append((yield from world.whole(one)))
        yield
    return replies


def watch_forgotten(world, command):
    return (yield from world.whole(command._replace(watched=()) if isinstance(command, Exec) else command))


def watch_before_locks(world, command):
    if isinstance(command, Exec) and command.watched:
        yield
        command = command._replace(watched=())
    return (yield from world.whole(command))


def needless_refusal(world, command):
    if isinstance(command, Exec) and command.watched and world.rng.random() < 0.3:
        return None
    return (yield from world.whole(command))


def stale_read(world, command):
    """One GET in ten is answered from what was there a while ago."""
    if command[0] == "GET" and world.rng.random() < 0.1 and len(world.log) > 30:
        old = dict(world.start)
        for changed in world.log[:-30]:
            old.update(changed)
        return old.get(command[1])
    return (yield from world.whole(command))


def half_of_last(world, log):
    """One part of the last transaction of two keys or more is dropped."""
    for i in range(len(log) - 1, -1, -1):
        if len(log[i]) > 1:
            kept = dict(list(log[i].items())[1:])
            return log[:i] + [kept]
    return log


def acknowledged_lost(world, log):
    return log[:max(0, world.gate - 1)]


def dropped_returns(world, log):
    return log + world.lost


def not_isolated_script(world, command):
    if command[0] != "EVAL" or command[1] != TRANSFER:
        return (yield from world.whole(command))
    yield from world.whole(("DECRBY", command[3], command[5]))
    yield
    return (yield from world.whole(("INCRBY", command[4], command[5])))


def served_twice(world, command):
    """Who waits is given an element that another one takes too."""
    if command[0] not in ("BLPOP", "BLMOVE") or command[1] not in world.db:
        return (yield from world.whole(command))
    scratch = dict(world.db)
    reply = run(scratch, command)
    yield
    yield from world.whole(command)
    return reply


BUGS = {
    "script not isolated": Bug({"script"}, not_isolated_script),
    "an element served twice": Bug({"waiters", "handers"}, served_twice),
    "MSET in two steps": Bug({"tuple"}, in_parts({"MSET"}, lambda c: cut_at(c, 3))),
    "MSET in two steps, seen by the graph": Bug({"versions"}, in_parts({"MSET"}, lambda c: cut_at(c, 3))),
    "reader between two parts": Bug({"tuple"}, in_parts({"MGET"}, lambda c: cut_at(c, 2))),
    "reader between two parts, seen by the graph": Bug({"versions"}, in_parts({"MGET"}, lambda c: cut_at(c, 2))),
    "DEL in two steps": Bug({"tuple"}, in_parts({"DEL", "UNLINK"}, lambda c: cut_at(c, 2))),
    "EXISTS in two steps": Bug({"rename"}, in_parts({"EXISTS"}, lambda c: cut_at(c, 2))),
    "MSETNX looks, then sets": Bug({"claim"}, check_then_set),
    "INCR loses an update": Bug({"register"}, lost_update),
    "RENAME with a gap": Bug({"rename"}, gap_in_rename),
    "LMOVE doubles an element": Bug({"moves"}, double_element),
    "SMOVE with a gap": Bug({"smove"}, gap_in_smove),
    "SUNIONSTORE of old sources": Bug({"algebra"}, store_of_old("SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE")),
    "ZUNIONSTORE of old sources": Bug({"zalgebra"}, store_of_old("ZUNIONSTORE", "ZINTERSTORE")),
    "transfer not isolated": Bug({"bank"}, no_isolation),
    "EXEC not isolated": Bug({"mixed"}, no_isolation),
    "EXEC not isolated, seen by the graph": Bug({"append"}, no_isolation),
    "WATCH forgotten": Bug({"counter"}, watch_forgotten, watch_by_value=True),
    "WATCH looks at values only": Bug({"counter"}, watch_by_value=True),
    "WATCH looked at before the locks": Bug({"counter"}, watch_before_locks),
    "EXEC refused without need": Bug({"counter"}, needless_refusal),
    "stale read": Bug({"register"}, stale_read),
    "pipeline out of order": Bug({"tuple"}, disorder=True),
    "half a transaction after a crash": Bug({"tuple"}, crash=half_of_last),
    "half a transaction after a crash, seen by the graph": Bug({"versions"}, crash=half_of_last),
    "acknowledged write lost": Bug({"register"}, crash=acknowledged_lost),
    "acknowledged write lost, seen by the graph": Bug({"append"}, crash=acknowledged_lost),
    "dropped suffix returns": Bug({"register", "tuple"}, crash=dropped_returns),
}
