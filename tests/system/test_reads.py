"""MGET, EXISTS and TOUCH over several shards speak for no key while nothing interferes (node/collect.c): they must
answer as one shard does, see one moment, and keep the order of their connection."""
import random
import re
import signal
import threading
import time

import pytest

from moonlib.pair import NAP
from moonlib.resp import Client, Disconnected, ReplyError, encode, parse, to_python
from moonlib.server import start_moon
from moonlib.setups import IOS, alternating, name_of
from moonlib.slots import key_on
from moonlib.together import client_of, together
from test_txn_corners import fixture_homes  # noqa: F401 (fixture)

SIZES = (0, 1, 300, 5000, 20000, 1 << 20)  # in the answer, in the room that is spare, as a block


@pytest.fixture(name="node", params=alternating(2, 4), ids=name_of)
def fixture_node(request, nodes):
    """Shards that sleep are woken: else reads would run in place on them."""
    node = nodes.get(*request.param)
    with node.client() as c:
        c.call("CONFIG", "SET", "shard-lending", "no")
        yield node
        c.call("CONFIG", "SET", "shard-lending", "yes")


@pytest.fixture(name="one")
def fixture_one(nodes):
    return nodes.get(1, "epoll")


def shards_of(node):
    return int(node.argv[node.argv.index("--shards") + 1])


def spread_keys(node, per_shard=1, prefix="k"):
    """Of each shard in turn."""
    shards = shards_of(node)
    return [key_on(s, shards, f"{prefix}{i}-") for i in range(per_shard) for s in range(shards)]


def counted(node):
    with node.client() as c:
        return counted_by(c)


def counted_by(c):
    """Reads without intents, and those that came again as transactions."""
    lines = c.call("INFO", "shards").decode().splitlines()
    rows = [dict(field.split("=") for field in line.split(":", 1)[1].split(",")) for line in lines
            if line.startswith("shard") and "=" in line]
    return tuple(sum(int(row[name]) for row in rows) for name in ("optimistic_reads", "optimistic_retries"))


# ---- the same answers as on one shard

def some_keys():
    return ["", "k" * 1024, "K" * 1023, *[f"string{i}" for i in range(12)], *[f"missing{i}" for i in range(6)],
            "list", "hash", "set", "zset", "expired", "a b", 'quote"d', "line\r\nbreak"]


def fill(c):
    rng = random.Random(7)
    commands = []
    for i, key in enumerate(some_keys()[:15]):
        commands.append(["SET", key, bytes([97 + i]) * SIZES[i % len(SIZES)]])
    commands += [["RPUSH", "list", 1], ["HSET", "hash", "f", "v"], ["SADD", "set", 1], ["ZADD", "zset", 1, "m"],
                 ["SET", "expired", "v", "PX", 1], ["SET", "a b", "blank"],
                 ["SET", 'quote"d', "quoted"], ["SET", "line\r\nbreak", "broken"], ["SELECT", 1],
                 ["MSET", *[w for k in rng.sample(some_keys(), 12) for w in (k, "in 1")]], ["SELECT", 0]]
    for reply in c.pipeline(commands):
        assert not isinstance(reply, ReplyError), reply
    time.sleep(0.005)


def drawn_reads(rng, count):
    small = [k for i, k in enumerate(some_keys()) if not (i < 15 and SIZES[i % len(SIZES)] == 1 << 20)]
    commands = []
    for _ in range(count):
        keys = some_keys() if rng.random() < 0.1 else small
        commands.append([rng.choice(["MGET", "EXISTS", "TOUCH"]), *[rng.choice(keys) for _ in range(rng.randint(1, 14))]])
        if rng.random() < 0.03:
            commands.append(["SELECT", rng.randint(0, 1)])
    return commands


@pytest.mark.parametrize("resp", (2, 3))
def test_answers_are_those_of_one_shard(node, one, resp):
    with node.client(resp=resp, timeout=60) as c, one.client(resp=resp, timeout=60) as reference:
        for each in (c, reference):
            fill(each)
            assert each.call("CLIENT", "NO-TOUCH", "ON") == b"OK"
        before = counted(node)[0]
        rng = random.Random(resp)
        for size in (1, 2, 16, 300):
            commands = drawn_reads(rng, size)
            for command, got, expected in zip(commands, c.pipeline_raw(commands), reference.pipeline_raw(commands)):
                assert got == expected, (command, got[:200], expected[:200])
        assert counted(node)[0] - before > 150


def test_inline_commands(node, one):
    lines = [b'MGET "" "a b" string1 \'quote"d\' missing0 string2 "line\\r\\nbreak"\r\n',
             b'  exists "a\\x20b"   string1 string2 "" hash\r\n', b"TOUCH string1 string2 string3 list\n",
             b"MGET string1 string2 string3 string0\r\n" * 3]
    with node.client() as c, one.client() as reference:
        replies = []
        for each in (c, reference):
            fill(each)
            each.send(b"".join(lines))
            replies.append([each.read_raw() for _ in range(6)])
        assert replies[0] == replies[1]
        assert b"blank" in replies[0][0] and b"quoted" in replies[0][0] and b"broken" in replies[0][0]


@pytest.mark.parametrize("resp", (2, 3))
def test_silent_ones(node, one, resp):
    keys = some_keys()[3:9]
    commands = [["MGET", *keys], ["CLIENT", "REPLY", "SKIP"], ["MGET", *keys], ["EXISTS", *keys],
                ["CLIENT", "REPLY", "OFF"], *[["MGET", *keys], ["SET", keys[0], "x"], ["TOUCH", *keys]] * 5,
                ["CLIENT", "REPLY", "ON"], ["MGET", *keys[:2]], ["CLIENT", "REPLY", "SKIP"], *[["MGET", *keys]] * 4,
                ["CLIENT", "REPLY", "SKIP"], ["TOUCH", *keys], ["PING", "end"]]
    received = []
    for each in (node, one):
        with each.client(resp=resp) as c:
            fill(c)
            c.send(b"".join(encode(command) for command in commands))
            replies = [c.read_raw()]
            while b"end" not in replies[-1]:
                replies.append(c.read_raw())
            received.append(replies)
    assert received[0] == received[1]
    assert len(received[0]) == 8


def test_counters_count_each_once(node):
    keys = spread_keys(node, 3)
    with node.client() as c:
        c.call("MSET", *[w for k in keys for w in (k, "v")])
        c.call("CONFIG", "RESETSTAT")
        before = counted(node)
        for _ in range(10):
            c.pipeline([["MGET", *keys, "missing1", "missing2"]] * 5 + [["EXISTS", *keys]] * 3 + [["TOUCH", *keys]] * 2)
        stats = c.call("INFO", "commandstats").decode()
        assert "cmdstat_mget:calls=50," in stats and "cmdstat_exists:calls=30," in stats and "cmdstat_touch:calls=20," in stats
        assert re.search(rb"mget.{1,20}calls.{1,9}50\r", c.call_raw("LATENCY", "HISTOGRAM", "mget"), re.S)
        general = c.call("INFO", "stats").decode()
        assert f"keyspace_hits:{100 * len(keys)}\r" in general, general
        assert "keyspace_misses:100\r" in general
        assert tuple(a - b for a, b in zip(counted(node), before)) == (100, 0)


# ---- those that a connection sends one behind the other

def drawn_mgets(rng, keys, count):
    """Of one key, of some on one shard, of most on several; of more than go together."""
    return [["MGET", *rng.choices(keys, k=rng.choice((1, 2, 10, 10, 10, 40 if n % 7 else 300)))] for n in range(count)]


@pytest.mark.parametrize("value_bytes", (1, 64, 3000))
def test_many_in_a_row(node, value_bytes):
    keys = spread_keys(node, 20 // shards_of(node), "row")
    value_of = {k: f"{i}-".encode() * value_bytes for i, k in enumerate(keys[:-3])}
    rng = random.Random(value_bytes)
    with node.client(timeout=60) as c:
        c.call("MSET", *[w for k, v in value_of.items() for w in (k, v)])
        c.call("SADD", keys[-1], "not a string")
        before = counted(node)[0]
        for count in (2, 16, 33, 400):
            commands = drawn_mgets(rng, keys, count)
            for command, reply in zip(commands, c.pipeline(commands)):
                assert reply == [value_of.get(k) for k in command[1:]]
        assert counted(node)[0] - before > 200


def test_what_stands_between_them(node):
    """Errors, other databases, and a request that is no request: each where it was asked."""
    keys = spread_keys(node, 2, "between")
    get, rows = encode(["MGET", *keys]), []
    with node.client(resp=2) as c:
        c.call("MSET", *[w for k in keys for w in (k, "v")])
        for between in ([b"MGET\r\n"], [encode(["GET"])], [encode(["SELECT", 1])], [encode(["PING"])],
                        [b"mget " + " ".join(keys).encode() + b"\r\n"], [encode(["MULTI"]), get, encode(["EXEC"])]):
            c.send(get * 5 + b"".join(between) + get * 5 + encode(["SELECT", 0]))
            rows.append([c.read_raw() for _ in range(11 + len(between))])
        whole, empty = [b"*%d\r\n" % len(keys) + v * len(keys) for v in (b"$1\r\nv\r\n", b"$-1\r\n")]
        for row, middle in zip(rows, ([b"-ERR wrong"], [b"-ERR wrong"], [b"+OK"], [b"+PONG"], [whole],
                                      [b"+OK", b"+QUEUED", b"*1\r\n" + whole])):
            assert row[:5] == [whole] * 5 and row[-1] == b"+OK\r\n"
            assert [r.startswith(m) for r, m in zip(row[5:], middle)] == [True] * len(middle), row
            assert row[-6:-1] == [empty if b"+OK" == middle[0] and len(middle) == 1 else whole] * 5
        c.send(get * 5 + b"*1\r\n:3\r\n" + get)
        assert [c.read_raw() for _ in range(5)] == [whole] * 5
        assert c.read_raw().startswith(b"-ERR Protocol error")
        with pytest.raises(Disconnected):
            c.read_raw()


def test_each_comes_again_alone(node):
    """Of a pipeline some meet a writer; what they see is whole and in order, what the others see is what is there. Those of
    one shard have nobody to meet, but come along."""
    shards = shards_of(node)
    pair, quiet = spread_keys(node, 1, "met"), spread_keys(node, 2, "unmet")
    one = [key_on(shards - 1, shards, "one1-"), key_on(shards - 1, shards, "one2-")]
    with node.client() as c:
        c.call("MSET", *[w for k in pair + quiet + one for w in (k, "0")])
    until = time.monotonic() + 2

    def write(c):
        i = 0
        while time.monotonic() < until:
            i += 4
            c.pipeline([["MSET", *[w for k in pair for w in (k, i + n)]] for n in range(4)]
                       + [["MSET", *[w for k in one for w in (k, i)]]])

    def read(c):
        seen, seen_one = 0, 0
        while time.monotonic() < until:
            for k, reply in enumerate(c.pipeline([["MGET", *quiet], ["MGET", *pair], ["MGET", *one], ["MGET", *pair[::-1], *quiet]] * 4)):
                if k % 4 == 0:
                    assert reply == [b"0"] * len(quiet)
                elif k % 4 == 2:
                    assert reply[0] == reply[1] and int(reply[0]) >= seen_one, (reply, seen_one)
                    seen_one = int(reply[0])
                else:
                    values = set(reply[:len(pair)])
                    assert len(values) == 1 and reply[len(pair):] in ([], [b"0"] * len(quiet))
                    assert int(reply[0]) >= seen, (reply, seen)
                    seen = int(reply[0])

    before = counted(node)
    together(client_of(node, write), *[client_of(node, read)] * 2)
    reads, again = (a - b for a, b in zip(counted(node), before))
    assert 0 < again < reads, (reads, again)


# ---- the order of a connection

def test_a_write_behind_a_read_is_not_seen_by_it(node):
    keys = spread_keys(node, 2)
    with node.client() as c:
        for i in range(0, 400, 2):
            batch = [["MSET", *[w for k in keys for w in (k, i)]], ["MGET", *keys], ["SET", keys[i % len(keys)], i + 1],
                     ["GET", keys[i % len(keys)]], ["MGET", *keys], ["EXISTS", *keys], ["DEL", *keys], ["EXISTS", *keys]]
            old, new = b"%d" % i, b"%d" % (i + 1)
            mixed = [new if n == i % len(keys) else old for n in range(len(keys))]
            assert c.pipeline(batch) == [b"OK", [old] * len(keys), b"OK", new, mixed, len(keys), len(keys), 0]


def test_long_pipelines_beside_writers(node):
    """Each has keys of its own, whose values are known, and reads beside them a pair that somebody writes: whole, and never
    older than what its connection has seen."""
    pair = spread_keys(node, 1, "pair")
    until = time.monotonic() + 3

    def write(c):
        i = 0
        while time.monotonic() < until:
            c.pipeline([["MSET", *[w for k in pair for w in (k, i + n)]] for n in range(4)])
            i += 4

    def read(number):
        def run(c):
            rng, own, seen = random.Random(number), spread_keys(node, 2, f"own{number}-"), -1
            held = dict.fromkeys(own)
            while time.monotonic() < until:
                commands, expected = [], []
                for _ in range(rng.choice((1, 8, 64))):
                    draw, some = rng.random(), rng.sample(own, rng.randint(2, len(own)))
                    if draw < 0.5:
                        commands.append(["MGET", *pair, *some])
                        expected.append([held[k] for k in some])
                    elif draw < 0.6:
                        commands.append(["GET", some[0]])
                        expected.append(held[some[0]])
                    elif draw < 0.7:
                        commands.append(["EXISTS", *some])
                        expected.append(sum(held[k] is not None for k in some))
                    else:
                        value = b"%d" % rng.randrange(10**9)
                        some = some[:1] if draw < 0.85 else some
                        commands.append(["SET", some[0], value] if draw < 0.85 else ["MSET", *[w for k in some for w in (k, value)]])
                        expected.append(b"OK")
                        held.update(dict.fromkeys(some, value))
                for command, reply, right in zip(commands, c.pipeline(commands), expected):
                    if len(command) > 1 and command[1] == pair[0]:
                        versions, reply = {int(v or -1) for v in reply[:len(pair)]}, reply[len(pair):]
                        assert len(versions) == 1, versions
                        assert min(versions) >= seen, (versions, seen)
                        seen = min(versions)
                    assert reply == right, (command, reply, right)
        return run

    before = counted(node)
    together(client_of(node, write), *[client_of(node, read(n)) for n in range(3)])
    reads, again = (a - b for a, b in zip(counted(node), before))
    assert reads > 100 and 0 < again < reads


def test_one_that_comes_again_brings_none_of_those_behind_it(pair):
    """The other shard stands still: its part of a MSET, and of the reads, come all at once; this one's is still to run."""
    writer, reader = pair.on(0), pair.on(0)
    writer.call("CONFIG", "SET", "shard-lending", "no")
    writer.call("MSET", pair.a, "old", pair.b, "old", pair.a2, "quiet", pair.b2, "quiet")
    before = counted_by(writer)  # by a connection of the pair: another would be dealt to the shard of the next
    pair.stop(1)
    writer.send(encode(["MSET", pair.a, "new", pair.b, "new"]))
    time.sleep(0.05)
    replies = reader.pipeline([["MGET", pair.a, pair.b], *[["MGET", pair.b2, pair.a2]] * 5, ["SET", pair.a2, "later"]])
    assert replies == [[b"new"] * 2, *[[b"quiet"] * 2] * 5, b"OK"]
    assert writer.read_raw() == b"+OK\r\n"
    reads, again = (a - b for a, b in zip(counted_by(writer), before))
    assert reads == 6 and again <= 1  # none if the write's part here came before the answers


def test_of_reads_that_go_together_only_that_of_a_key_that_is_spoken_for_comes_again(homes):
    """A transaction has spoken for it on shard 1, and waits for shard 0."""
    a, b, quiet, c = (key_on(shard, 4, prefix) for shard, prefix in ((0, "a"), (1, "b"), (1, "quiet"), (2, "c")))
    homes[2].call("MSET", a, "old", b, "old", quiet, "quiet", c, "own")
    before = counted_by(homes[3])
    homes[0].send(encode(["DEBUG", "SLEEP", str(NAP)]))
    time.sleep(0.05)
    homes[1].send(encode(["MSET", a, "new", b, "new"]))
    time.sleep(0.05)
    reads = [["MGET", quiet, c]] * 4 + [["MGET", b, c]] + [["MGET", c, quiet]] * 11
    assert homes[2].pipeline(reads) == [[b"quiet", b"own"]] * 4 + [[b"new", b"own"]] + [[b"own", b"quiet"]] * 11
    assert [homes[shard].read_raw() for shard in (0, 1)] == [b"+OK\r\n"] * 2
    assert tuple(n - m for n, m in zip(counted_by(homes[3]), before)) == (16, 1)


def test_a_read_behind_requests_that_were_given_back_is_answered(node):
    """Nobody reads: the other shard gives back GETs of large values, and must not run what came behind them. Its refusal is
    the last that the connection hears before these are sent again."""
    keys = spread_keys(node, 1, "big")
    with node.client(timeout=60) as c:
        for key in keys:
            c.call("SET", key, b"v" * (1 << 20))
        for key in keys:
            c.send(encode(["GET", key]) * 30 + encode(["STRLEN", key]) + encode(["EXISTS", *keys]))
            time.sleep(0.3)
            assert [len(c.read_raw()) > 1 << 20 for _ in range(30)] == [True] * 30
            assert c.read_raw() == b":%d\r\n" % (1 << 20)
            assert c.read_raw() == b":%d\r\n" % len(keys)
        c.call("DEL", *keys)


# ---- one moment

def test_pairs_are_never_torn_and_it_shows_that_reads_came_again(node):
    keys, quiet = spread_keys(node, 1, "pair"), spread_keys(node, 1, "quiet")
    with node.client() as c:
        c.call("MSET", *[w for k in keys + quiet for w in (k, "0")])
        begin = counted(node)
        for _ in range(50):
            assert c.pipeline([["MGET", *quiet]] * 10) == [[b"0"] * len(quiet)] * 10
        alone = counted(node)
        assert (alone[0] - begin[0], alone[1] - begin[1]) == (500, 0)
    until, written, read_ = time.monotonic() + 2, [], []

    def write(number):
        def run(c):
            i = 0
            while time.monotonic() < until:
                i += 1
                written.append(number)
                order = random.sample(keys, len(keys))
                c.pipeline([["MSET", *[w for k in order for w in (k, f"{number}-{i}")]]] * random.choice((1, 4)))
        return run

    def read(c):
        while time.monotonic() < until:
            for values in c.pipeline([["MGET", *random.sample(keys, len(keys))]] * random.choice((1, 1, 4, 16))):
                assert len(set(values)) == 1, values
                read_.append(1)

    together(*[client_of(node, write(n)) for n in range(3)], *[client_of(node, read)] * 3)
    assert counted(node)[1] > alone[1], (counted(node), alone, len(written), len(read_))


def test_keys_that_expire_together_are_seen_together(node):
    keys = spread_keys(node, 1, "due")
    with node.client() as c:
        for i in range(10):
            at_ms = int(time.time() * 1000) + 30 + i
            c.call("MSET", *[w for k in keys for w in (k, "v")])
            c.pipeline([["PEXPIREAT", k, at_ms] for k in keys])

            def read(r):
                alive = True
                while alive:
                    for reply in r.pipeline([["MGET", *keys], ["EXISTS", *keys], ["MGET", *keys[::-1]]] * 2):
                        there = reply // len(keys) if isinstance(reply, int) else int(reply[0] is not None)
                        assert reply in (0, len(keys), [b"v"] * len(keys), [None] * len(keys)), reply
                        assert alive or not there, "it came back"
                        alive = bool(there)
            together(*[client_of(node, read)] * 3)


def test_what_expired_before_is_merely_absent(node):
    """Whether the read removes it or not: it needs no second look."""
    keys = spread_keys(node, 2, "late")
    conns = [node.client() for _ in range(shards_of(node))]  # on all shards
    conns[0].call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        before = counted(node)
        for c in conns:
            for _ in range(5):
                c.pipeline([["SET", k, "v", "PX", 1] for k in keys[::2]] + [["SET", k, "v"] for k in keys[1::2]])
                time.sleep(0.004)
                assert c.pipeline([["MGET", *keys], ["EXISTS", *keys]]) == [[None, b"v"] * (len(keys) // 2), len(keys) // 2]
        assert tuple(a - b for a, b in zip(counted(node), before)) == (10 * len(conns), 0)
    finally:
        conns[0].call("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_flushes_swaps_scripts_and_transactions_are_whole(node):
    keys = spread_keys(node, 1, "all")
    until = time.monotonic() + 3
    set_all = "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[1]) end"

    def write(c):
        i = 0
        while time.monotonic() < until:
            i += 1
            how = i % 4
            if how == 0:
                c.call("MSET", *[w for k in keys for w in (k, i)])
            elif how == 1:
                c.call("EVAL", set_all, len(keys), *keys, i)
            elif how == 2:
                c.pipeline([["MULTI"], *[["SET", k, i] for k in keys], ["EXEC"]])
            else:
                c.call("DEL", *keys)

    def flush(c):
        while time.monotonic() < until:
            assert c.call("FLUSHALL") == b"OK"
            assert c.call("SWAPDB", "0", "1") == b"OK"
            time.sleep(0.005)

    def read(c):
        while time.monotonic() < until:
            for reply in c.pipeline([["MGET", *keys], ["EXISTS", *keys]] * random.choice((1, 4))):
                if isinstance(reply, int):
                    assert reply in (0, len(keys)), reply
                else:
                    assert len(set(reply)) == 1, reply

    together(client_of(node, write), client_of(node, flush), *[client_of(node, read)] * 3)


def test_an_element_that_moves_is_in_one_place(node):
    """LMOVE to and fro; and what is pushed for one who waits (BLMOVE) is never seen where it was pushed."""
    a, b = spread_keys(node, 1, "list")[:2]
    pushed, taken = spread_keys(node, 1, "blocked")[:2]
    until = time.monotonic() + 2.5

    def move(c):
        while time.monotonic() < until:
            c.pipeline([["LMOVE", a, b, "LEFT", "LEFT"], ["LMOVE", b, a, "LEFT", "LEFT"]])

    asked = [0]

    def wait(c):
        while time.monotonic() < until:
            asked[0] += 1
            assert c.call("BLMOVE", pushed, taken, "LEFT", "RIGHT", 0) == b"e"
        asked[0] = None

    def push(c):
        count = 0
        while (number := asked[0]) is not None:
            if number > count and b"blocked_clients:1\r" in c.call("INFO", "clients"):
                c.call("RPUSH", pushed, "e")
                count += 1

    def read(c):
        while time.monotonic() < until:
            for moved, there in zip(*[iter(c.pipeline([["EXISTS", a, b], ["EXISTS", pushed, "absent", a, b]] * 3))] * 2):
                assert (moved, there) == (1, 1)

    with node.client() as c:
        c.call("RPUSH", a, "e")
        together(*[client_of(node, f) for f in (move, wait, push, read, read)])
        assert c.call("LLEN", taken) > 3


# ---- clients that leave, and that do not read

@pytest.mark.parametrize("how", ("kill", "close", "reset"))
def test_clients_that_leave_in_the_middle(node, how):
    keys = spread_keys(node, 2)
    writing = threading.Event()

    def write(c):
        while not writing.is_set():
            c.call("MSET", *[w for k in keys for w in (k, "w")])

    writer = threading.Thread(target=client_of(node, write))
    writer.start()
    try:
        with node.client() as killer:
            killer.call("MSET", *[w for k in keys for w in (k, "v" * 2000)])
            for i in range(40):
                c = node.client()
                number = c.call("CLIENT", "ID")
                c.send(encode(["MGET", *keys]) * 60 + encode(["EXISTS", *keys]) * 60)
                if i % 2:
                    time.sleep(0.002)
                if how == "kill":
                    assert killer.call("CLIENT", "KILL", "ID", number) == 1
                if how == "reset":
                    c.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of no time
                c.close()
                node.clients.remove(c)
            assert set(killer.call("MGET", *keys)) <= {b"w", b"v" * 2000}
    finally:
        writing.set()
        writer.join()
    with node.client() as c:
        assert c.call("MSET", *[w for k in keys for w in (k, "end")]) == b"OK"
        assert c.call("MGET", *keys) == [b"end"] * len(keys)


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4096


@pytest.mark.parametrize("value_bytes,count", ((400, 40000), (1 << 16, 160), (1 << 20, 24)))
def test_a_client_that_does_not_read_does_not_fill_the_memory(node, value_bytes, count):
    keys = spread_keys(node, 8 // shards_of(node), f"big{value_bytes}-")
    with node.client(timeout=30) as c:
        for k in keys:
            c.call("SET", k, b"v" * value_bytes)
        whole = c.call_raw("MGET", *keys)  # from now on it is known how large they are
        before = rss_bytes(node.pid)
        sender = threading.Thread(target=c.send, args=(encode(["MGET", *keys]) * count,))
        sender.start()
        time.sleep(1)
        assert len(whole) * count > 120 << 20 or value_bytes < 1 << 20
        assert rss_bytes(node.pid) - before < 48 << 20
        for _ in range(count):
            assert c.read_raw() == whole
        sender.join()


def test_a_large_reply_leaves_no_memory_behind(node):
    keys = spread_keys(node, 1, "large")

    def of_clients(c):
        return int(re.search(rb"used_memory_clients:(\d+)", c.call("INFO", "memory"))[1])

    with node.client(timeout=30) as c:
        before = of_clients(c)
        for k in keys:
            c.call("SET", k, b"v" * (24 << 20))
        for _ in range(2):
            assert [len(v) for v in c.call("MGET", *keys)] == [24 << 20] * len(keys)
        until = time.monotonic() + 5  # what is idle for a second is given back
        while (left := of_clients(c) - before) > 4 << 20 and time.monotonic() < until:
            time.sleep(0.2)
        assert left <= 4 << 20, left
        c.call("DEL", *keys)


# ---- the end

class Asker(threading.Thread):
    """MSET and MGET by turns, many at a time, until its connection ends."""

    def __init__(self, number, node):
        super().__init__()
        self.keys = spread_keys(node, 2, f"asker{number}-")
        self.port, self.sent, self.answered, self.error = node.port, 0, 0, None

    def check(self, client):
        for i in range(self.answered + 1, self.sent + 1):
            replies = [to_python(parse(client.read_raw())) for _ in range(2)]
            if replies != [b"OK", [b"%d" % i] * len(self.keys)]:
                self.error = replies
                return
            self.answered = i

    def run(self):
        with Client(self.port, timeout=20) as client:
            try:
                while self.error is None:
                    batch = b""
                    for _ in range(16):
                        self.sent += 1
                        batch += encode(["MSET", *[w for k in self.keys for w in (k, self.sent)]]) + encode(["MGET", *self.keys])
                    client.send(batch)
                    self.check(client)
            except (Disconnected, OSError):
                return


@pytest.mark.parametrize("how", ("SIGTERM", "SHUTDOWN"))
@pytest.mark.parametrize("io", IOS)
@pytest.mark.parametrize("shards", (2, 4))
def test_a_stop_answers_what_was_run(tmp_path, shards, io, how):
    args = ["--appendfsync", "always"]
    node = start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path), args=args)
    try:
        askers = [Asker(n, node) for n in range(3)]
        control = node.client()
        for asker in askers:
            asker.start()
        time.sleep(0.4)
        if how == "SIGTERM":
            node.signal(signal.SIGTERM)
        else:
            control.send(encode(["SHUTDOWN"]))
        assert node.process.wait(15) == 0
        for asker in askers:
            asker.join(30)
    finally:
        node.kill()
    with start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path), args=args) as again, again.client() as c:
        for asker in askers:
            assert asker.error is None, asker.error
            values = {int(v) for v in c.call("MGET", *asker.keys)}
            assert len(values) == 1, "half a write"
            assert 0 < asker.answered <= min(values) <= asker.sent
