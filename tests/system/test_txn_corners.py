"""Corners of transactions over several shards, each the scene of a bug that was mended."""
import socket
import struct
import threading
import time

import pytest

from moonlib.pair import DEBUG, NAP, Pair, has_reply, shard_of_conn
from moonlib.resp import encode, parse, to_python
from moonlib.server import start_moon
from moonlib.slots import key_on
from moonlib.watch import Stopwatch

SHARDS = 4


def used_memory(client):
    return int(client.call("INFO", "memory").split(b"used_memory:")[1].split(b"\r\n")[0])


def test_who_leaves_while_its_exec_waits_watches_no_longer(pair):
    """Or its keys would stay watched for ever, and be looked for with every write."""
    name = "{%s}" % pair.a2 + "x" * 60_000
    other = pair.on(0)
    leaving = [pair.on(0) for _ in range(40)]
    other.call("MSET", pair.a, "v", pair.b, "v")
    before = used_memory(other)
    for i, c in enumerate(leaving):
        assert c.call("WATCH", f"{name}{i}") == b"OK"
        c.pipeline([["MULTI"], ["GET", pair.a]])
    nap = pair.stop(1)
    other.send(encode(["MSET", pair.a, "new", pair.b, "new"]))
    time.sleep(0.05)
    for c in leaving:
        c.send(encode(["EXEC"]))
    time.sleep(0.05)
    for c in leaving:
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    assert other.read_raw() == b"+OK\r\n"
    nap.read_raw()
    time.sleep(0.1)
    assert used_memory(other) < before + 10 * len(name)


def by_home(node):
    conns = [node.client() for _ in range(SHARDS + 2)]  # dealt in turn: the last but one lives where the first does
    first = shard_of_conn(conns[0], [*conns[1:SHARDS], conns[-1]], SHARDS)
    return {(first + i) % SHARDS: c for i, c in enumerate(conns[:SHARDS])}


def second_of_home(node, homes):
    """One more of each, when by_home() was the last that connected."""
    order = [*homes] * 2  # it made two more, and they are dealt in turn
    return {home: node.client() for home in order[2:SHARDS + 2]}


@pytest.fixture(name="homes")
def fixture_homes():
    """Connections to a node of four shards, by the shard that they live on."""
    with start_moon(shards=SHARDS, args=(*DEBUG, "--shard-lending", "no")) as node:
        yield by_home(node)


def run(keys, name, *args):
    """One command on a dict, its reply as call() gives it."""
    if name in ("SET", "MSET"):
        keys.update(zip(args[::2], args[1::2]))
        return b"OK"
    if name == "MSETNX":
        free = not any(key in keys for key in args[::2])
        keys.update(zip(args[::2], args[1::2]) if free else ())
        return int(free)
    if name == "RENAME":
        keys[args[1]] = keys.pop(args[0])
        return b"OK"
    if name == "APPEND":
        keys[args[0]] = keys.get(args[0], "") + args[1]
        return len(keys[args[0]])
    values = [keys.pop(key, None) if name in ("GETDEL", "DEL") else keys.get(key) for key in args]
    if name in ("GET", "GETDEL", "MGET"):
        values = [value and value.encode() for value in values]
        return values if name == "MGET" else values[0]
    return len(keys) if name == "DBSIZE" else sum(value is not None for value in values)


# What waits, and what comes behind it, over shards that have nothing else to do.
WAITING = [(("SET", "a", "1"), ("MGET", "a", "c")), (("GET", "a"), ("MSET", "a", "2", "c", "2")), (("GETDEL", "a"), ("EXISTS", "a", "c")),
           (("APPEND", "a", "1"), ("DEL", "a", "c")), (("GETDEL", "a"), ("MSETNX", "a", "3", "c", "3")), (("GETDEL", "a"), ("DBSIZE",)),
           (("SET", "a", "4"), ("RENAME", "a", "c"))]


def outcomes(others, first, second):
    """Replies and keys, wherever the other's command comes."""
    for order in ((others, first, second), (first, others, second), (first, second, others)):
        keys = {}
        replies = {command: run(keys, *command) for command in order}
        yield replies[first], replies[second], {key: value.encode() for key, value in keys.items()}


@pytest.mark.parametrize("first, second", WAITING, ids=lambda command: command[0])
@pytest.mark.parametrize("home", [0, 2])
def test_a_command_over_several_shards_comes_behind_one_that_waits_for_a_key_of_it(homes, home, first, second):
    """On the shard of the key, or on another from which both come by message."""
    names = {"a": key_on(0, SHARDS, "a"), "b": key_on(1, SHARDS, "b"), "c": key_on(3, SHARDS, "c"), "x": key_on(0, SHARDS, "x")}
    others = ("MSET", "x", "T", "a", "T", "b", "T")
    for _ in range(2):
        homes[0].call("FLUSHALL")
        homes[1].send(encode(["DEBUG", "SLEEP", str(NAP)]))
        time.sleep(0.05)
        homes[3].send(encode([names.get(word, word) for word in others]))  # granted on the shard of a, not on that of b
        time.sleep(0.05)
        homes[home].send(b"".join(encode([names.get(word, word) for word in command]) for command in (first, second)))
        replies = [to_python(parse(homes[home].read_raw())) for _ in range(2)]
        assert homes[3].read_raw() == b"+OK\r\n" and homes[1].read_raw() == b"+OK\r\n"
        found = dict(zip(names, homes[0].call("MGET", *names.values())))
        found = {key: value for key, value in found.items() if value is not None}
        assert (*replies, found) in list(outcomes(others, first, second))


@pytest.mark.parametrize("home", [0, 2])
def test_and_behind_one_that_waits_for_its_own_connection_alone(homes, home):
    """SET waits behind GET, which waits for a transaction that has nothing to do with the rest."""
    a, b, c, d = key_on(0, SHARDS, "a"), key_on(1, SHARDS, "b"), key_on(3, SHARDS, "c"), key_on(0, SHARDS, "d")
    homes[1].send(encode(["DEBUG", "SLEEP", str(NAP)]))
    time.sleep(0.05)
    homes[3].send(encode(["MSET", a, "T", b, "T"]))
    time.sleep(0.05)
    homes[home].send(encode(["GET", a]) + encode(["SET", d, "1"]) + encode(["MGET", d, c]))
    assert [homes[home].read_raw() for _ in range(3)][1:] == [b"+OK\r\n", b"*2\r\n$1\r\n1\r\n$-1\r\n"]


def test_transactions_that_wait_leave_room_for_others():
    """More of them than a mailbox takes wait for a shard that stands, and their other parts lie on one that does not."""
    with start_moon(shards=SHARDS, args=(*DEBUG, "--shard-lending", "no")) as node:
        homes = by_home(node)
        writers = [node.client() for _ in range(10 * SHARDS)]
        pairs = [(key_on(1, SHARDS, f"{n}-"), key_on(2, SHARDS, f"{n}-")) for n in range(200)]
        for c in writers:
            for pair in pairs[:5]:
                c.call("MGET", *pair)  # how many it may have open grows by small replies
        homes[2].send(encode(["DEBUG", "SLEEP", "1.5"]))
        time.sleep(0.05)
        for c in writers:
            c.send(b"".join(encode(["MGET", *pair]) for pair in pairs))
        time.sleep(0.3)
        watch = Stopwatch(node.pid)
        for home in (0, 3):
            assert homes[home].call("SET", key_on(1, SHARDS, "beside"), "v") == b"OK"
        assert watch.seconds() < 0.6
        for c in writers:
            assert [c.read_raw() for _ in pairs] == [b"*2\r\n$-1\r\n$-1\r\n"] * len(pairs)


@pytest.mark.parametrize("held", ["of none", "long"])
@pytest.mark.parametrize("command", ["MGET", "RENAME"])
def test_a_key_without_a_name_is_not_taken_for_the_one_behind_it(homes, command, held):
    """In a message it takes no room, so both begin at one place; and the request has to wait for one of them."""
    key, other = key_on(0, SHARDS, "long-name"), key_on(1, SHARDS)
    values = {"of none": b"1", "long": b"2"}
    homes[0].call("MSET", "", values["of none"], key, values["long"])
    homes[1].send(encode(["DEBUG", "SLEEP", str(NAP)]))
    time.sleep(0.05)
    homes[0].send(encode(["MSET", key if held == "long" else "", "new", other, "new"]))
    time.sleep(0.05)
    values[held] = b"new"
    reply = homes[2].call(command, "", key)
    assert homes[0].read_raw() == b"+OK\r\n"
    if command == "MGET":
        assert reply == list(values.values())
    else:
        assert reply == b"OK"
        values = {"of none": None, "long": values["of none"]}
    assert homes[1].read_raw() == b"+OK\r\n"
    for c in homes.values():
        assert [c.call("GET", ""), c.call("GET", key)] == list(values.values())


@pytest.mark.parametrize("home", [2, 3])
def test_a_watched_key_that_changes_while_exec_waits_for_another_script(homes, home):
    """EXEC with a script in it, which waits for one that runs on another shard and then wants the one of the key."""
    watched, own = key_on(2, SHARDS, "watched"), key_on(2, SHARDS, "own")
    script = "for i = 1, 30000000 do end return redis.call('set', ARGV[1], 'changed')"
    for _ in range(2):
        homes[home].call("WATCH", watched)
        homes[home].pipeline([["MULTI"], ["EVAL", "return redis.call('incr', KEYS[1])", 1, own]])
        homes[0].send(encode(["EVAL", script, 1, key_on(0, SHARDS), watched]))
        time.sleep(0.05)
        assert homes[home].call("EXEC") is None
        assert homes[0].read_raw() == b"+OK\r\n"
        assert homes[home].call("GET", own) is None


def busy(client, key, seconds):
    """Commands on a list that take that long on this machine and build."""
    client.call("RPUSH", key, *range(300_000))
    began = time.monotonic()
    client.pipeline([["LPOS", key, "none"]] * 20)
    return [["LPOS", key, "none"]] * int(20 * seconds / (time.monotonic() - began))


@pytest.mark.parametrize("asks", ["EXEC", "WATCH", "SCAN"])
def test_what_was_seen_of_a_transaction_has_happened_on_all_its_shards(asks):
    """One shard is told that all have granted while it is in a long EXEC of another's; what comes by message behind that was
    sent by who has seen the transaction, and names no key of it."""
    with start_moon(shards=SHARDS, args=(*DEBUG, "--shard-lending", "no")) as node:
        homes = by_home(node)
        late = second_of_home(node, homes)[3]
        a, a2, b = key_on(0, SHARDS, "a"), key_on(0, SHARDS, "other"), key_on(1, SHARDS, "b")
        long = busy(homes[0], key_on(0, SHARDS, "items"), 3 * NAP)
        homes[3].pipeline([["MULTI"], *long])
        if asks == "EXEC":
            late.pipeline([["WATCH", a], ["MULTI"], ["SET", a2, "set"]])
        homes[1].send(encode(["DEBUG", "SLEEP", str(NAP)]))
        time.sleep(0.05)
        homes[2].send(encode(["MSET", a, "new", b, "new"]))
        time.sleep(0.05)
        homes[3].send(encode(["EXEC"]))
        assert homes[1].read_raw() == b"+OK\r\n"
        while homes[1].call("GET", b) != b"new":
            continue
        assert not has_reply(homes[3]), "it is long over, and the test says nothing"
        if asks == "EXEC":
            assert late.call("EXEC") is None
        elif asks == "WATCH":
            assert late.pipeline([["WATCH", a], ["MULTI"], ["SET", a2, "set"], ["EXEC"]])[-1] == [b"OK"]
        else:
            assert a.encode() in late.call("SCAN", "0", "COUNT", "1000")[1]  # begins with shard 0
        assert homes[2].read_raw() == b"+OK\r\n" and len(parse(homes[3].read_raw()).held) == len(long)


@pytest.mark.parametrize("thief", ["LMOVE", "EXEC"])
def test_who_has_everything_to_himself_takes_nothing_from_who_waits(thief):
    """His first command makes a key that somebody waits for, his second would take it away."""
    with start_moon(shards=SHARDS, args=(*DEBUG, "--shard-lending", "no")) as node:
        homes = by_home(node)
        waiter = second_of_home(node, homes)[0]
        source, key, target = key_on(1, SHARDS, "source"), key_on(2, SHARDS, "key"), key_on(3, SHARDS, "target")
        homes[1].call("RPUSH", source, "item")
        waiter.send(encode(["BLPOP", key, 0]))
        homes[1].send(encode(["DEBUG", "SLEEP", str(NAP)]))
        time.sleep(0.05)
        homes[3].send(encode(["MSET", key_on(0, SHARDS, "x"), "1", key_on(1, SHARDS, "y"), "1"]))  # granted on shard 0
        time.sleep(0.05)
        take = ["LMOVE", key, target, "LEFT", "LEFT"]
        second = [take] if thief == "LMOVE" else [["MULTI"], take, ["EXEC"]]
        homes[0].send(b"".join(encode(command) for command in [["LMOVE", source, key, "LEFT", "LEFT"], *second]))
        assert homes[0].read_raw() == b"$4\r\nitem\r\n"
        assert [homes[0].read_raw() for _ in second][-1] in (b"$-1\r\n", b"*1\r\n$-1\r\n")
        assert to_python(parse(waiter.read_raw())) == [key.encode(), b"item"]
        assert homes[1].read_raw() == b"+OK\r\n" and homes[3].read_raw() == b"+OK\r\n"


def test_an_element_is_kept_for_a_move_that_waits_for_its_target():
    """The target was spoken for by a transaction that has begun elsewhere; the source, on the same shard, by nobody."""
    with start_moon(shards=SHARDS, args=(*DEBUG, "--shard-lending", "no")) as node:
        homes = by_home(node)
        waiter = second_of_home(node, homes)[3]
        source, target = key_on(0, SHARDS, "source"), key_on(0, SHARDS, "target")
        waiter.send(encode(["BLMOVE", source, target, "LEFT", "LEFT", 0]))
        homes[1].send(encode(["DEBUG", "SLEEP", str(NAP)]))
        time.sleep(0.05)
        homes[2].send(encode(["DEL", target, key_on(1, SHARDS)]))
        time.sleep(0.05)
        homes[0].send(encode(["DEBUG", "SLEEP", str(2 * NAP)]) + encode(["RPUSH", source, "item"]) + encode(["LPOP", source]))
        assert [homes[0].read_raw() for _ in range(3)] == [b"+OK\r\n", b":1\r\n", b"$-1\r\n"]
        assert waiter.read_raw() == b"$4\r\nitem\r\n" and homes[0].call("LRANGE", target, 0, -1) == [b"item"]
        assert homes[1].read_raw() == b"+OK\r\n" and homes[2].read_raw() == b":0\r\n"


def repeat(stop, c, commands):
    """A thread that does so, until it is stopped."""
    def run():
        while not stop.is_set():
            c.pipeline(commands)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def calls(client, command):
    found = client.call("INFO", "commandstats").split(b"cmdstat_%s:calls=" % command)
    return int(found[1].split(b",")[0]) if len(found) > 1 else 0


@pytest.mark.parametrize("how", ("RENAME", "EXEC"))
def test_who_has_everything_to_himself_needs_no_room(how):
    """The mailbox to the other shard is always full, of commands that wait for him, and something is always under way."""
    with start_moon(shards=2, args=(*DEBUG, "--shard-lending", "no")) as node:
        pair, stop, rounds = Pair(node), threading.Event(), 8
        watcher, items = pair.on(1), "{%s}" % pair.b
        watcher.call("RPUSH", items, *range(5000))
        askers = [pair.on(0) for _ in range(rounds)]
        for c in askers:
            if how == "EXEC":
                c.pipeline([["MULTI"], ["RENAME", pair.a2, pair.b2], ["RENAME", pair.b2, pair.a2]])
        watcher.call("SET", pair.a2, "v")
        readers = [pair.on(0) for _ in range(8)]
        for c in readers:
            c.timeout = 60
        threads = [repeat(stop, pair.on(1), [["MSET", pair.a, "1", pair.b, "1"]]) for _ in range(4)]
        threads += [repeat(stop, c, [["LPOS", items, "none"]] * 400) for c in readers]
        try:
            time.sleep(0.3)
            before = calls(watcher, b"lpos")
            for n, c in enumerate(askers):
                c.send(encode(["EXEC"] if how == "EXEC" else ["RENAME", *((pair.a2, pair.b2), (pair.b2, pair.a2))[n % 2]]))
                assert c.read_raw(timeout=60).endswith(b"+OK\r\n")
            spent = calls(watcher, b"lpos") - before
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert spent < rounds * 3000, spent  # some 1,600 are in a full mailbox, and one round trip is enough


def test_who_waits_for_everything_to_himself_is_not_forgotten_behind_others():
    """On his shard so many have something to be run that each comes to its turn in one pass out of several, and something is
    always under way."""
    with start_moon(shards=2, args=(*DEBUG, "--shard-lending", "no")) as node:
        pair = Pair(node)
        renamer, writers, sleepers = pair.on(0), [pair.on(1) for _ in range(4)], [pair.on(0) for _ in range(6)]
        stop = threading.Event()
        renamer.call("SET", pair.a2, "v")
        naps = 1500
        for c in sleepers:
            c.socket.settimeout(60)
            c.send(encode(["DEBUG", "SLEEP", "0.001"]) * naps)
        threads = [repeat(stop, c, [["MSET", pair.a, "1", pair.b, "1"]]) for c in writers]
        time.sleep(0.3)
        renamer.send(encode(["RENAME", pair.a2, pair.b2]))
        assert renamer.read_raw(timeout=60) == b"+OK\r\n"
        left = sum(not has_reply(c) or len(c.socket.recv(1 << 20, socket.MSG_PEEK)) < naps * 5 for c in sleepers)
        stop.set()
        assert left == len(sleepers), "when the others were through"
        for thread in threads:
            thread.join(60)


@pytest.mark.parametrize("fsync", ["everysec", "no"])
@pytest.mark.parametrize("io", ("epoll", "uring"))
def test_exec_on_one_shard_with_a_watched_key_of_another_outlives_a_kill(tmp_path, io, fsync):
    """It runs while the other shard stands at the begin of a pass, which then takes long."""
    options = {"shards": 2, "io": io, "folder": str(tmp_path), "appendonly": "yes", "args": (*DEBUG, "--appendfsync", fsync)}
    with start_moon(**options) as node:
        pair = Pair(node)
        near, first, second = pair.on(0), pair.on(1), pair.on(1)
        near.call("WATCH", pair.a)
        near.pipeline([["MULTI"], ["SET", pair.b, "kept"]])
        first.send(encode(["DEBUG", "SLEEP", str(NAP)]))
        time.sleep(0.05)
        second.send(encode(["DEBUG", "SLEEP", "5"]))
        near.send(encode(["EXEC"]))
        assert near.read_raw() == b"*1\r\n+OK\r\n"
        node.kill()
    with start_moon(**options) as node, node.client() as c:
        assert c.call("GET", pair.b) == b"kept"


class LazyReaders:
    """Clients with some 300 KB of replies that they do not read: more is made for them, but not sent."""

    def __init__(self, node, keys, count):
        self.node, self.monitor, self.sockets = node, node.client(), []
        for key in keys:
            self.monitor.call("SET", "{%s}" % key, b"x" * 300_000)
        self.monitor.call("SET", "filling", b"x" * 100_000)
        for _ in range(count):
            self.sockets.append(self.one())

    def unsent(self, s):
        address = b" addr=127.0.0.1:%d " % s.getsockname()[1]
        for line in self.monitor.call("CLIENT", "LIST").split(b"\n"):
            if address in line:
                return int(line.split(b" omem=")[1].split(b" ")[0])
        return 0

    def one(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", self.node.port))
        while self.unsent(s) < 290_000:
            s.sendall(encode(["GET", "filling"]))
            time.sleep(0.003)
        return s

    def close(self):
        for s in self.sockets:
            s.close()


def all_go_on(counters, seconds=20):
    """Each rises by some within the time, which is ample for a node under sanitizers."""
    before, until = list(counters), time.monotonic() + seconds
    while not all(b >= a + 3 for a, b in zip(before, counters)):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("shards", [2, 4])
def test_readers_that_do_not_read_stop_no_transaction_of_others(shards):
    """What is refused often takes its turn, one after the other; the turn of who takes no replies is not waited for, and
    who leaves before its turn does not bring forward the next."""
    with start_moon(shards=shards) as node:
        keys = [key_on(s, shards) for s in range(shards)]
        mset = ["MSET", *[word for key in keys for word in (key, "v")]]
        lazy = LazyReaders(node, keys, 24)
        stopped, done = threading.Event(), [0] * 8

        def write(number):
            with node.client(timeout=30) as c:
                while not stopped.is_set():
                    c.pipeline([mset] * 8)
                    done[number] += 1

        writers = [threading.Thread(target=write, args=(n,)) for n in range(len(done))]
        for t in writers:
            t.start()
        time.sleep(0.5)
        for s in lazy.sockets:
            s.sendall(encode(mset) + b"".join(encode(["GET", "{%s}" % key]) * 20 for key in keys))
        time.sleep(1)
        assert all_go_on(done)
        lazy.close()
        assert all_go_on(done)
        stopped.set()
        for t in writers:
            t.join()


def test_select_inside_exec_needs_no_room_in_the_mailboxes_of_others():
    """EXEC waits on shard 1 for a transaction that shard 2 holds up; meanwhile requests fill what shard 0 may send there."""
    gets = 4000  # more than twice of what may be under way
    with start_moon(shards=SHARDS, args=(*DEBUG, "--shard-lending", "no")) as node:
        homes = by_home(node)
        asking = [node.client(timeout=30) for _ in range(2 * SHARDS)]  # some of them on shard 0
        key, held = key_on(1, SHARDS), key_on(2, SHARDS)
        homes[0].call("SET", held, "v")
        homes[0].pipeline([["MULTI"], ["SELECT", "3"], ["SET", key, "in 3"], ["CLIENT", "NO-TOUCH", "on"]])
        homes[2].send(encode(["DEBUG", "SLEEP", str(NAP / 2)]))
        time.sleep(0.05)
        homes[1].send(encode(["MSET", key, "v", held, "v"]))
        time.sleep(0.02)
        homes[0].send(encode(["EXEC"]))
        time.sleep(0.02)
        for c in asking:
            c.send(encode(["GET", held]) * gets)
        assert homes[0].read_raw() == b"*3\r\n" + b"+OK\r\n" * 3
        assert homes[0].call("GET", key) == b"in 3"
        for c in asking:
            assert [c.read_raw() for _ in range(gets)] == [b"$1\r\nv\r\n"] * gets


# ---- commands that do not say which keys they are about

def test_a_script_that_names_no_key_comes_behind_all_that_its_connection_sent(pair):
    c = pair.on(0)
    c.call("CONFIG", "SET", "shard-lending", "no")
    get, set_ = (f"return redis.call('{what}', ARGV[1], unpack(ARGV, 2))" for what in ("get", "set"))
    pair.stop(1)
    assert c.pipeline([["SET", pair.b, "old"], ["EVAL", get, 0, pair.b]]) == [b"OK", b"old"]
    pair.stop(1)
    assert c.pipeline([["MGET", pair.a, pair.b], ["EVAL", set_, 0, pair.b, "new"], ["GET", pair.b]]) == [[None, b"old"], b"OK", b"new"]


def test_randomkey_knows_the_keys_that_its_connection_made(pair):
    c = pair.on(0)
    c.call("CONFIG", "SET", "shard-lending", "no")
    pair.stop(1)
    assert c.pipeline([["SET", pair.b, "v"], ["RANDOMKEY"]]) == [b"OK", pair.b.encode()]
    pair.stop(1)
    replies = c.pipeline([["DEL", pair.b], ["SET", pair.a, "v"], *[["RANDOMKEY"]] * 8])
    assert replies == [1, b"OK", *[pair.a.encode()] * 8]
