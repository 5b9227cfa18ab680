"""Order across shards: replies in the order of the requests, commands on one shard in their order, commands
about the connection after all that came before; and what is left when a connection ends in the middle."""
import random
import socket
import struct
import threading
import time

import pytest

from moonlib.pair import has_reply, shard_of_conn
from moonlib.resp import encode
from moonlib.setups import meeting
from moonlib.slots import key_on, shards_of

SETUPS = [(shards, io) for shards in (1, 2, 4) for io in ("epoll", "uring")]
SEEDS = range(4)
COMMANDS = 1500
BIG = 300_000  # a few of them on their way to a connection make a shard give requests back


@pytest.fixture(name="node", params=SETUPS, ids=lambda s: f"{s[0]}-{s[1]}")
def fixture_node(request, nodes):
    return nodes.get(*request.param)


# ---- drawn pipelines beside a model

class Model:
    """What one client that nobody disturbs must be answered, in bytes."""

    def __init__(self, databases):
        self.dbs = {db: {} for db in databases}
        self.db = databases[0]
        self.name = None

    @property
    def keys(self):
        return self.dbs[self.db]

    @staticmethod
    def bulk(value):
        return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)

    def array(self, values):
        return b"*%d\r\n%s" % (len(values), b"".join(map(self.bulk, values)))

    def text_of(self, key):
        value = self.keys.get(key)
        return None if isinstance(value, list) else value

    def run(self, name, *args):
        return getattr(self, "do_" + name.lower().replace(" ", "_"))(*args)

    def do_set(self, key, value):
        self.keys[key] = value
        return b"+OK\r\n"

    def do_get(self, key):
        if isinstance(self.keys.get(key), list):
            return b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
        return self.bulk(self.keys.get(key))

    def do_getdel(self, key):
        reply = self.do_get(key)
        if not reply.startswith(b"-"):
            self.keys.pop(key, None)
        return reply

    def do_append(self, key, value):
        if isinstance(self.keys.get(key), list):
            return self.do_get(key)
        self.keys[key] = (self.keys.get(key) or b"") + value
        return b":%d\r\n" % len(self.keys[key])

    def do_rpush(self, key, *values):
        held = self.keys.setdefault(key, [])
        if not isinstance(held, list):
            return b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
        held.extend(values)
        return b":%d\r\n" % len(held)

    def do_lrange(self, key):
        held = self.keys.get(key, [])
        if not isinstance(held, list):
            return b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
        return self.array(held)

    def do_mget(self, *keys):
        return self.array([self.text_of(key) for key in keys])

    def do_mset(self, *pairs):
        self.keys.update(zip(pairs[::2], pairs[1::2]))
        return b"+OK\r\n"

    def do_del(self, *keys):
        return b":%d\r\n" % sum(self.keys.pop(key, None) is not None for key in keys)

    def do_exists(self, *keys):
        return b":%d\r\n" % sum(key in self.keys for key in keys)

    def do_dbsize(self):
        return b":%d\r\n" % len(self.keys)

    def do_select(self, db):
        self.db = int(db)
        return b"+OK\r\n"

    def do_client_setname(self, name):
        self.name = name
        return b"+OK\r\n"

    def do_client_getname(self):
        return self.bulk(self.name)

    def do_config_get(self, _):
        return self.array([b"databases", b"16"])

    def do_echo(self, text):
        return self.bulk(text)

    def do_nosuch(self):
        return b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n"

    def do_get_nothing(self):
        return b"-ERR wrong number of arguments for 'get' command\r\n"


REQUESTS = {"LRANGE": lambda key: ("LRANGE", key, "0", "-1"), "GET NOTHING": lambda: ("GET",),
            "CLIENT SETNAME": lambda name: ("CLIENT", "SETNAME", name), "CLIENT GETNAME": lambda: ("CLIENT", "GETNAME"),
            "CONFIG GET": lambda name: ("CONFIG", "GET", name)}


def draw(rng, databases):
    def key():
        return b"key:%d" % rng.randrange(40)

    def value():
        size = BIG if rng.random() < 0.02 else rng.choice((1, 8, 100, 300, 5000))
        return bytes([rng.randrange(97, 123)]) * size

    def small():
        return b"%d" % rng.randrange(1000)

    name = rng.choices(
        ("SET", "GET", "GETDEL", "APPEND", "RPUSH", "LRANGE", "MGET", "MSET", "DEL", "EXISTS", "DBSIZE", "SELECT",
         "CLIENT SETNAME", "CLIENT GETNAME", "CONFIG GET", "ECHO", "NOSUCH", "GET NOTHING"),
        (15, 30, 4, 4, 4, 4, 8, 5, 3, 4, 2, 3, 1, 1, 1, 3, 1, 1))[0]
    several = range(rng.randrange(1, 9))
    args = {"SET": lambda: (key(), value()), "APPEND": lambda: (key(), small()), "RPUSH": lambda: (key(), small()),
            "MGET": lambda: [key() for _ in several], "DEL": lambda: {key() for _ in several},
            "MSET": lambda: [word for _ in several for word in (key(), value())],
            "EXISTS": lambda: [key() for _ in several], "SELECT": lambda: [b"%d" % rng.choice(databases)],
            "CLIENT SETNAME": lambda: [small()], "CONFIG GET": lambda: ["databases"], "ECHO": lambda: [small()],
            "GET": lambda: [key()], "GETDEL": lambda: [key()], "LRANGE": lambda: [key()]}.get(name, lambda: ())()
    return name, tuple(args)


class Talker:
    """One connection with its databases, its pipeline and what it must be answered."""

    def __init__(self, node, seed, databases):
        self.rng = random.Random(seed)
        model = Model(databases)
        requests, self.expected = [encode(["SELECT", databases[0]])], [b"+OK\r\n"]
        for _ in range(COMMANDS):
            name, args = draw(self.rng, databases)
            requests.append(encode(REQUESTS.get(name, lambda *words, name=name: (name, *words))(*args)))
            self.expected.append(model.run(name, *args))
        self.unsent = memoryview(b"".join(requests))
        self.wanted = b"".join(self.expected)
        self.seen = 0
        self.socket = socket.create_connection(("127.0.0.1", node.port))
        self.socket.setblocking(False)

    @property
    def is_done(self):
        return self.seen == len(self.wanted)

    def step(self, reads):
        """Some bytes out, some in. True if anything moved."""
        moved = False
        try:
            if len(self.unsent) > 0:
                sent = self.socket.send(self.unsent[:self.rng.choice((1, 50, 3000, 1 << 20))])
                self.unsent = self.unsent[sent:]
                moved = True
            if reads:
                data = self.socket.recv(self.rng.choice((100, 10_000, 1 << 20)))
                assert data, "the node closed the connection"
                if not self.wanted.startswith(data, self.seen):
                    self.tell(data)
                self.seen += len(data)
                moved = True
        except BlockingIOError:
            pass
        return moved

    def tell(self, data):
        """Which reply it was."""
        at = 0
        for i, reply in enumerate(self.expected):
            if at + len(reply) > self.seen:
                window = data[max(0, at - self.seen):][:200]
                raise AssertionError(f"reply {i} of {len(self.expected)}: {window!r}, expected {reply[:200]!r}")
            at += len(reply)
        raise AssertionError(f"more than was asked: {data[:200]!r}")


@pytest.mark.parametrize("shards, seed, io", meeting((1, 2, 4), SEEDS))
def test_pipelines_are_answered_as_by_one_thread(nodes, shards, seed, io):
    """Five connections at once, each in databases of its own; some read late."""
    node, rng = nodes.get(shards, io), random.Random(seed)
    talkers = [Talker(node, seed * 100 + i, list(range(3 * i, 3 * i + 3))) for i in range(5)]
    until = time.monotonic() + 60
    while not all(t.is_done for t in talkers):
        assert time.monotonic() < until, [(t.seen, len(t.wanted)) for t in talkers]
        reads = rng.random() < 0.5
        if not any([t.step(reads or not t.unsent) for t in talkers if not t.is_done]):
            time.sleep(0.001)
    for t in talkers:
        t.socket.close()


def test_requests_that_a_shard_gave_back_keep_their_order(node):
    """Each shard is asked for more at once than it sends ahead; what changes the same keys stands between."""
    shards = shards_of(node)
    keys = [(key_on(s, shards, "big"), key_on(s, shards, "list")) for s in range(shards)]
    requests, expected = [], []
    for i in range(40):
        held = b"v" * (1 << 20) + b"x" * (i + 1)
        for big, numbers in keys:
            requests += [["APPEND", big, "x"], ["GET", big], ["RPUSH", numbers, str(i)], ["LRANGE", numbers, "-2", "-1"]]
            expected += [len(held), held, i + 1, [b"%d" % n for n in range(max(0, i - 1), i + 1)]]
        requests.append(["MGET", *[numbers for _, numbers in keys], *[big for big, _ in keys if i % 20 == 0]])
        expected.append([None] * shards + [held] * (shards if i % 20 == 0 else 0))
    with node.client() as c:
        c.pipeline([["SET", big, b"v" * (1 << 20)] for big, _ in keys])
        assert c.pipeline(requests) == expected


# ---- who waits for whom

def connections_by_shard(node):
    """Two that live on shard 0 and two on shard 1: connections are dealt out in turn."""
    conns = [node.client() for _ in range(4)]
    for c in conns:
        c.call("PING")  # it has arrived
    return (conns[0::2], conns[1::2]) if shard_of_conn(conns[0], conns[1::2], 2) == 0 else (conns[1::2], conns[0::2])


@pytest.fixture(name="by_shard", params=("epoll", "uring"))
def fixture_by_shard(request, nodes):
    groups = connections_by_shard(nodes.get(2, request.param))
    yield groups
    for c in [c for group in groups for c in group]:
        c.close()


WAITERS = {"SELECT": (["SELECT", "0"], b"+OK\r\n"), "CLIENT": (["CLIENT", "SETNAME", "n"], b"+OK\r\n"),
           "CONFIG": (["CONFIG", "SET", "maxclients", "9000"], b"+OK\r\n"), "PING": (["PING"], b"+PONG\r\n"),
           "nothing": None}


@pytest.mark.parametrize("name", WAITERS)
def test_commands_about_the_connection_wait_for_all_earlier_ones(by_shard, name):
    """Shard 1 sleeps with a request of shard 0 before it; what follows on shard 0 itself runs at once,
    unless a command about the connection stands between."""
    (asker, observer), (sleeper, _) = by_shard
    here, there = key_on(0, 2), key_on(1, 2)
    requests, replies = [["SET", there, "1"], ["SET", here, "1"]], [b"+OK\r\n"] * 2
    if WAITERS[name]:
        requests.insert(1, WAITERS[name][0])
        replies.insert(1, WAITERS[name][1])
    slept = False
    while not slept:  # for ever if the observer were not on shard 0; else the machine was so busy that it looked too late
        sleeper.send(encode(["DEBUG", "SLEEP", "0.6"]))
        time.sleep(0.1)
        asker.send(b"".join(map(encode, requests)))
        time.sleep(0.1)
        ran = observer.call("EXISTS", here) == 1
        slept = not has_reply(sleeper)
        assert [asker.read_raw() for _ in replies] == replies
        assert sleeper.read_raw() == b"+OK\r\n"
        assert asker.call("MGET", here, there) == [b"1", b"1"]
        assert asker.call("DEL", here, there) == 2
    assert ran == (name == "nothing")


# ---- ends of connections

def lists_of(node, prefix):
    shards = shards_of(node)
    return [key_on(s, shards, prefix) for s in range(shards)]


def push_numbers(keys, count):
    return b"".join(encode(["RPUSH", key, str(i)]) for i in range(count) for key in keys)


def wait_until_alone(c):
    until = time.monotonic() + 10
    while len(c.call("CLIENT", "LIST").splitlines()) > 1:
        assert time.monotonic() < until, c.call("CLIENT", "LIST")
        time.sleep(0.02)


def test_the_end_of_input_still_answers_all_in_order(node):
    keys, count = lists_of(node, "list"), 3000
    with socket.create_connection(("127.0.0.1", node.port)) as s:
        s.settimeout(20)
        s.sendall(push_numbers(keys, count))
        s.shutdown(socket.SHUT_WR)
        data = b""
        while piece := s.recv(1 << 16):
            data += piece
    assert data == b"".join(b":%d\r\n" % (i + 1) for i in range(count) for _ in keys)
    with node.client() as c:
        for key in keys:
            assert c.call("LRANGE", key, 0, -1) == [b"%d" % i for i in range(count)]


@pytest.mark.parametrize("how", ("close", "reset"))
def test_a_connection_that_ends_in_the_middle_leaves_a_prefix_on_each_shard(node, how):
    """And nothing else: no place in a mailbox, no connection, no stuck shard."""
    rng = random.Random(how)
    with node.client() as c:
        for i in range(30):
            keys = lists_of(node, f"list{i}:")  # what shards still have of the last one may run later
            s = socket.create_connection(("127.0.0.1", node.port))
            s.sendall(push_numbers(keys, rng.randrange(1, 4000))[:rng.randrange(1, 100_000)])
            if rng.random() < 0.5:
                s.recv(rng.randrange(1, 1000))
            if how == "reset":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
            wait_until_alone(c)
            for key in keys:
                held = c.call("LRANGE", key, 0, -1)
                assert held == [b"%d" % i for i in range(len(held))]
        for key in keys:
            c.call("DEL", key)
            assert c.pipeline([["RPUSH", key, "x"]] * 5000) == list(range(1, 5001))


def test_connections_that_end_with_large_answers_under_way_leave_nothing(node):
    """Their shards give requests back to connections that are gone."""
    shards = shards_of(node)
    keys = [key_on(s, shards, "big") for s in range(shards)]
    with node.client() as c:
        for key in keys:
            c.call("SET", key, b"v" * BIG)
        for wait in (0, 0, 0.001, 0.01, 0.05) * 4:
            s = socket.create_connection(("127.0.0.1", node.port))
            s.sendall(b"".join(encode(["GET", key]) for _ in range(40) for key in keys))
            time.sleep(wait)
            s.close()
        wait_until_alone(c)
        assert c.call("MGET", *keys) == [b"v" * BIG] * shards
        for _ in range(3):
            assert c.pipeline([["STRLEN", key] for _ in range(2000) for key in keys]) == [BIG] * 2000 * shards


# ---- pipeline-order

def written_ahead(node, seconds):
    """How often a reader saw the second of two writes of one pipeline before the first."""
    shards = shards_of(node)
    pairs = [(key_on(a, shards, f"p{a}{b}{n}a"), key_on(b, shards, f"p{a}{b}{n}b"))
             for a in range(shards) for b in range(shards) if a != b for n in range(3)]
    seen, stop = [0], time.monotonic() + seconds

    def write(pair, first):
        with node.client() as c:
            n = first
            while time.monotonic() < stop:
                c.pipeline([[["SET", key, i], ["INCR", key + "x"]][kind] for i in range(n, n + 20) for key in pair for kind in (1, 0)])
                n += 20

    def read(pair):
        with node.client() as c:
            while time.monotonic() < stop:
                for values in c.pipeline([["MGET", *pair]] * 20):
                    first, second = (int(value or 0) for value in values)
                    seen[0] += second > first

    threads = [threading.Thread(target=write, args=(pair, 1)) for pair in pairs] + [threading.Thread(target=read, args=(pair,)) for pair in pairs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen[0]


@pytest.mark.parametrize("io", ["epoll", "uring"])
def test_strict_order_shows_no_write_before_what_was_asked_earlier(nodes, io):
    node = nodes.get(2, io)
    with node.client() as c:
        c.call("CONFIG", "SET", "pipeline-order", "strict", "shard-lending", "no")
        try:
            assert written_ahead(node, 1.5) == 0
            everything = [["SET", "s1", "1"], ["GET", "s1"], ["MSET", "s2", "2", "s3", "3"], ["RENAME", "s2", "s4"], ["MGET", "s3", "s4"], ["DEL", "s1", "s3"],
                          ["EXISTS", "s1", "s3", "s4"]]
            assert c.pipeline(everything) == [b"OK", b"1", b"OK", b"OK", [b"3", b"2"], 2, 1]
        finally:
            c.call("CONFIG", "SET", "pipeline-order", "relaxed", "shard-lending", "yes")
