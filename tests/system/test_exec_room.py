"""EXEC with commands about the connection that ask all shards (SLOWLOG, CLIENT LIST, CONFIG): however many, and whatever
else is under way, they wait for room and answer what they would alone."""
import time

import pytest

from moonlib.pair import DEBUG, Pair
from moonlib.resp import encode
from moonlib.server import start_moon
from moonlib.slots import key_on

MANY = 3000  # more than fit between two shards
ASKING = [("SLOWLOG", "LEN"), ("CONFIG", "RESETSTAT"), ("INFO", "server"), ("CLIENT", "SETNAME", "name"), ("CLIENT", "NO-TOUCH", "off")]


def send_exec(conn, *commands):
    conn.send(b"".join(encode(c) for c in [("MULTI",), *commands, ("EXEC",)]))


def read_exec(conn, count):
    assert conn.read_raw() == b"+OK\r\n"
    assert {conn.read_raw() for _ in range(count)} == {b"+QUEUED\r\n"}
    raw = conn.read_raw(timeout=20)
    head, rest = raw.split(b"\r\n", 1)
    assert head == b"*%d" % count, raw[:200]
    return rest


def check_asked(rest, times):
    assert b"-" != rest[:1] and b"\r\n-" not in rest, rest[:200]
    assert rest.count(b"# Server\r\n") == times and rest.count(b"+OK\r\n") == 3 * times


@pytest.mark.parametrize("io", ["epoll", "uring"])
@pytest.mark.parametrize("where", ["none", "0", "1", "both"])
def test_more_than_there_is_room_for(io, where):
    """The data lies on the shard of the connection, on another, on both."""
    with start_moon(shards=2, io=io) as node:
        keys = {"none": [], "0": [key_on(0, 2)], "1": [key_on(1, 2)], "both": [key_on(0, 2), key_on(1, 2)]}[where]
        conns = [node.client(timeout=30) for _ in range(2)]  # one lives on the shard of the key
        for c in conns:
            data = [("INCR", key) for key in keys]
            send_exec(c, *data, *ASKING * (MANY // len(ASKING)), *data)
        began = []
        for c in conns:
            rest = read_exec(c, MANY + 2 * len(keys))
            check_asked(rest, MANY // len(ASKING))
            began.append(rest[:4 * len(keys)])
        assert sorted(began) == [b":1\r\n" * len(keys), b":3\r\n" * len(keys)]  # one after the other
        for key in keys:
            assert conns[0].call("GET", key) == b"4"


@pytest.fixture(name="pair")
def fixture_pair():
    with start_moon(shards=2, args=(*DEBUG, "--slowlog-log-slower-than", "-1")) as node:
        pair = Pair(node)
        yield pair
        pair.close()


def test_what_comes_behind_runs_behind(pair):
    c, other = pair.on(0), pair.on(0)
    assert c.call("SET", pair.a, "0") == b"OK"
    nap = pair.stop(1)
    send_exec(c, *[("SLOWLOG", "LEN")] * MANY, ("SELECT", "1"))
    c.send(encode(["SET", pair.a, "1"]) + encode(["CLIENT", "SETNAME", "n"]) + encode(["MULTI"]) + encode(["GET", pair.a]) + encode(["EXEC"]))
    time.sleep(0.1)
    assert other.call("GET", pair.a) == b"0"
    assert read_exec(c, MANY + 1).endswith(b":0\r\n+OK\r\n")
    assert [c.read_raw() for _ in range(5)] == [b"+OK\r\n", b"+OK\r\n", b"+OK\r\n", b"+QUEUED\r\n", b"*1\r\n$1\r\n1\r\n"]
    assert other.call("GET", pair.a) == b"0"  # that was in database 1
    assert nap.read_raw() == b"+OK\r\n"


def ids_of(asker):
    return {int(line.split()[0].split(b"=")[1]) for line in asker.call("CLIENT", "LIST").splitlines()}


def wait_until_gone(asker, ids):
    until = time.monotonic() + 10
    while ids & ids_of(asker):
        assert time.monotonic() < until, "a connection is still there"
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["close", "kill"])
def test_who_leaves_while_it_waits_for_room(pair, how):
    leaving, staying, killer = [pair.on(0) for _ in range(3)], pair.on(0), pair.on(0)
    ids = [c.call("CLIENT", "ID") for c in leaving]
    nap = pair.stop(1)
    for c in (*leaving, staying):
        send_exec(c, *[("SLOWLOG", "LEN")] * MANY)
    time.sleep(0.2)
    for i in (1, 0, 2):
        if how == "close":
            leaving[i].close()
        else:
            killer.send(encode(["CLIENT", "KILL", "ID", str(ids[i])]))
    assert read_exec(staying, MANY) == b":0\r\n" * MANY
    assert nap.read_raw() == b"+OK\r\n"
    wait_until_gone(pair.on(1), set(ids))


def test_kills_from_within(pair):
    """Of another that waits for room, and of its own."""
    victim, c = pair.on(0), pair.on(0)
    ids = [x.call("CLIENT", "ID") for x in (victim, c)]
    nap = pair.stop(1)
    half = [("SLOWLOG", "LEN")] * (MANY // 2)
    send_exec(c, *half, *[x for i in ids for x in [("CLIENT", "KILL", "ID", str(i), "SKIPME", "no"), *half]])
    send_exec(victim, *half * 4)
    assert nap.read_raw() == b"+OK\r\n"
    wait_until_gone(pair.on(1), set(ids))
    assert pair.on(0).call("PING") == b"PONG"
