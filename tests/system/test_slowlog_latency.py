"""SLOWLOG and LATENCY, on one shard and on several."""
import socket
import struct
import time

import pytest

from moonlib.pair import has_reply
from moonlib.resp import ReplyError, encode
from moonlib.server import start_moon, start_oracle
from moonlib.slots import key_on, shards_of

SHARDS = [1, 2, 4]


@pytest.fixture(scope="module", params=SHARDS, ids=lambda n: f"{n}-shards")
def moon(request):
    with start_moon(shards=request.param, args=["--enable-debug-command", "yes"]) as server:
        yield server


@pytest.fixture(scope="module")
def oracle():
    with start_oracle() as server:
        yield server


@pytest.fixture
def client(moon):
    """A connection to an empty slow log that keeps everything."""
    c = moon.client()
    c.call("FLUSHALL")
    everything(c)
    yield c
    c.call("CONFIG", "SET", "slowlog-log-slower-than", "10000", "slowlog-max-len", "128", "requirepass", "")


def everything(c):
    c.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "128")
    c.call("SLOWLOG", "RESET")


def nothing(c):
    c.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")


def arguments(entries):
    return [entry[3] for entry in entries]


def address(client):
    host, port = client.socket.getsockname()
    return f"{host}:{port}".encode()


def test_an_entry(client):
    before = int(time.time())
    client.call("CLIENT", "SETNAME", "me")
    client.call("DEBUG", "SLEEP", "0.02")
    (entry,) = client.call("SLOWLOG", "GET", "1")
    number, at, took_us, args, peer, name = entry
    assert number >= 0
    assert before <= at <= time.time()
    assert 20_000 <= took_us < 10_000_000
    assert args == [b"DEBUG", b"SLEEP", b"0.02"]
    assert peer == address(client)
    assert name == b"me"


def test_newest_first_with_rising_ids_over_all_shards(client):
    for i in range(40):
        client.call("SET", f"key:{i}", i)
    nothing(client)
    entries = client.call("SLOWLOG", "GET", "-1")
    ids = [entry[0] for entry in entries]
    assert ids == sorted(set(ids), reverse=True)
    sets = [args for args in arguments(entries) if args[0] == b"SET"]
    assert sets == [[b"SET", b"key:%d" % i, b"%d" % i] for i in reversed(range(40))]


@pytest.mark.parametrize("lending", ["no", "yes"])
def test_who_asked_is_known_wherever_it_ran(moon, client, lending):
    client.call("CONFIG", "SET", "shard-lending", lending)
    client.call("CLIENT", "SETNAME", "me")
    keys = [key_on(shard, shards_of(moon)) for shard in range(shards_of(moon))]
    for key in keys:
        client.call("SET", key, "v")
        client.call("EVAL", "return redis.call('APPEND', KEYS[1], 'v')", "1", key)
        client.call("BLPOP", key + "-list", "0.01")
        client.pipeline([["MULTI"], ["STRLEN", key], ["EXEC"]])
    client.call("MSET", *[word for key in keys for word in (key, "w")])
    client.call("MGET", *keys)
    client.pipeline([["MULTI"], *[["GETDEL", key] for key in keys], ["EXEC"]])
    nothing(client)
    entries = client.call("SLOWLOG", "GET", "-1")
    client.call("CONFIG", "SET", "shard-lending", "yes")
    entries = [entry for entry in entries if entry[3][0] not in (b"CONFIG", b"SLOWLOG", b"CLIENT")]
    names = [entry[3][0] for entry in entries]
    for name in (b"SET", b"EVAL", b"BLPOP", b"STRLEN", b"GETDEL"):
        assert names.count(name) == len(keys), name
    assert names.count(b"MSET") >= 1 and names.count(b"MGET") >= 1
    assert {(entry[4], entry[5]) for entry in entries} == {(address(client), b"me")}
    assert [entry[0] for entry in entries] == sorted((entry[0] for entry in entries), reverse=True)


def test_who_left_is_nobody(moon, client):
    """The entry comes home when its connection is gone."""
    if shards_of(moon) == 1:
        return  # runs to its end before anything is heard of the close
    client.call("CONFIG", "SET", "shard-lending", "no")
    sleeper, slept = moon.client(), False
    while not slept:  # else the machine was so busy that they left later
        others = [moon.client() for _ in range(shards_of(moon))]
        sleeper.send(encode(["DEBUG", "SLEEP", "0.3"]))
        time.sleep(0.05)
        for other in others:
            other.send(b"".join(encode(["SET", key_on(shard, shards_of(moon)), "v"]) for shard in range(shards_of(moon))))
        time.sleep(0.1)
        for other in others:
            other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            other.close()
        time.sleep(0.05)
        slept = not has_reply(sleeper)
        sleeper.read_raw()
    time.sleep(0.05)
    nothing(client)
    entries = [entry for entry in client.call("SLOWLOG", "GET", "-1") if entry[3][0] == b"SET"]
    client.call("CONFIG", "SET", "shard-lending", "yes")
    assert (b"", b"") in {(entry[4], entry[5]) for entry in entries}


def test_a_waiter_that_is_tried_elsewhere_is_nobody_elses(moon, client):
    """Once the name was read of a connection that was gone."""
    shards = shards_of(moon)
    others = [moon.client() for _ in range(2 * shards)]
    for other in others:
        other.call("PING")
    for shard in range(shards):
        assert client.call("BLPOP", key_on(shard, shards), "0.01") is None
    nothing(client)
    entries = [entry for entry in client.call("SLOWLOG", "GET", "-1") if entry[3][0] == b"BLPOP"]
    assert len(entries) == shards
    assert {entry[4] for entry in entries} == {address(client)}
    for other in others:
        other.close()


def test_count(client):
    for i in range(15):
        client.call("SET", "k", i)
    assert len(client.call("SLOWLOG", "GET")) == 10
    assert len(client.call("SLOWLOG", "GET", "3")) == 3
    assert client.call("SLOWLOG", "GET", "0") == []
    assert len(client.call("SLOWLOG", "GET", "-1")) >= 18
    assert len(client.call("SLOWLOG", "GET", "1000")) >= 18
    for count in ("-2", "x", "1.5"):
        with pytest.raises(ReplyError, match="count should be greater than or equal to -1"):
            client.call("SLOWLOG", "GET", count)


def test_length_is_bounded_over_all_shards(client):
    client.call("CONFIG", "SET", "slowlog-max-len", "7")
    for i in range(60):
        client.call("SET", f"key:{i}", i)
    nothing(client)
    assert client.call("SLOWLOG", "LEN") == 7
    assert len(client.call("SLOWLOG", "GET", "-1")) == 7
    client.call("CONFIG", "SET", "slowlog-max-len", "3")
    assert client.call("SLOWLOG", "LEN") == 3
    assert len(client.call("SLOWLOG", "GET", "-1")) == 3
    client.call("CONFIG", "SET", "slowlog-max-len", "0", "slowlog-log-slower-than", "0")
    client.call("SET", "k", "v")
    assert client.call("SLOWLOG", "LEN") == 0
    assert client.call("SLOWLOG", "GET", "-1") == []


def test_reset(client):
    for i in range(20):
        client.call("SET", f"key:{i}", i)
    last = client.call("SLOWLOG", "GET", "1")[0][0]
    nothing(client)
    client.call("SLOWLOG", "RESET")
    assert client.call("SLOWLOG", "LEN") == 0
    assert client.call("SLOWLOG", "GET", "-1") == []
    client.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
    client.call("SET", "k", "v")
    assert client.call("SLOWLOG", "GET", "1")[0][0] > last  # ids are not given again


def test_threshold(client):
    client.call("CONFIG", "SET", "slowlog-log-slower-than", "15000")
    client.call("SLOWLOG", "RESET")
    client.call("SET", "k", "v")
    client.call("DEBUG", "SLEEP", "0.03")
    assert [b"DEBUG", b"SLEEP", b"0.03"] in arguments(client.call("SLOWLOG", "GET"))
    assert [b"SET", b"k", b"v"] not in arguments(client.call("SLOWLOG", "GET"))
    nothing(client)
    client.call("SLOWLOG", "RESET")
    client.call("DEBUG", "SLEEP", "0.03")
    assert client.call("SLOWLOG", "LEN") == 0


def calls_to_compare():
    """Long arguments, many of them, and secrets: as one shard keeps them, so does Redis."""
    tag = "{t}"
    return [
        ["SET", "k" + tag, "x" * 128], ["SET", "k" + tag, "x" * 129], ["SET", "k" + tag, b"\x00\xff" * 1000],
        ["SET", "y" * 300, "v"], ["EXISTS", *[f"{i}{tag}" for i in range(31)]],
        ["EXISTS", *[f"{i}{tag}" for i in range(32)]], ["EXISTS", *[f"{i}{tag}" for i in range(5000)]],
        ["EXISTS", *["z" * 200 + tag] * 40], ["get", "k" + tag], ["ECHO", ""],
        ["CONFIG", "SET", "requirepass", "pw1", "maxclients", "1000"], ["AUTH", "pw1"],
        ["AUTH", "default", "pw1"], ["HELLO", "2", "AUTH", "default", "pw1", "SETNAME", "auth"],
        ["CONFIG", "SET", "requirepass", ""],
    ]


def test_arguments_are_cut_and_hidden_as_in_redis(client, oracle):
    reference = oracle.client()
    everything(reference)
    kept = []
    for c in (client, reference):
        for call in calls_to_compare():
            c.call(*call)
        kept.append(arguments(c.call("SLOWLOG", "GET", str(len(calls_to_compare())))))
    assert kept[0] == kept[1]
    assert not any(b"pw1" in arg for args in kept[0] for arg in args)


def test_errors_and_help(client):
    for call in (["SLOWLOG"], ["SLOWLOG", "LEN", "x"]):
        with pytest.raises(ReplyError, match="wrong number of arguments"):
            client.call(*call)
    with pytest.raises(ReplyError, match="unknown subcommand 'NOSUCH'. Try SLOWLOG HELP."):
        client.call("SLOWLOG", "NOSUCH")
    with pytest.raises(ReplyError, match="unknown subcommand or wrong number of arguments for 'GET'"):
        client.call("SLOWLOG", "GET", "1", "2")
    for container in ("SLOWLOG", "LATENCY"):
        assert client.call(container, "HELP")[0].startswith(container.encode() + b" <subcommand>")


def histogram(client, *names):
    """RESP3: name → (calls, {microseconds: calls so far})."""
    found = client.call("LATENCY", "HISTOGRAM", *names)
    return {name: (doc[b"calls"], doc[b"histogram_usec"]) for name, doc in found.items()}


def test_histogram_adds_up_over_all_shards(moon):
    client = moon.client(resp=3)
    client.call("CONFIG", "RESETSTAT")
    for i in range(100):
        client.call("SET", f"key:{i}", i)
    for i in range(30):
        client.call("GET", f"key:{i}")
    found = histogram(client, "get", "SET", "get", "nosuch", "strlen")
    assert list(found) == [b"get", b"set"]  # in the order asked for; strlen did not run
    assert found[b"set"][0] == 100
    assert found[b"get"][0] == 30
    for calls, buckets in found.values():
        edges, counts = list(buckets), list(buckets.values())
        assert edges == sorted(edges)
        assert counts == sorted(set(counts))  # rising
        assert counts[-1] == calls
        assert set(edges) <= {1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908, 33816, 67633}


def test_histogram_puts_a_call_where_redis_does(client, oracle):
    edges_us = [(((1 << 26) + (1 << 19) << k) - 1) // 1000 for k in range(10)]  # 67633, 135266, …
    for c in (client, oracle.client()):
        everything(c)
        c.call("CONFIG", "RESETSTAT")
        c.call("DEBUG", "SLEEP", "0.05")
        (took_us,) = [entry[2] for entry in c.call("SLOWLOG", "GET") if entry[3][0] == b"DEBUG"]  # on a busy machine more
        flat = c.call("LATENCY", "HISTOGRAM", "debug")[1]
        assert took_us >= 50_000
        assert flat == [b"calls", 1, b"histogram_usec", [next(edge for edge in edges_us if edge >= took_us), 1]]


def test_histogram_of_containers_and_of_all(moon):
    client = moon.client(resp=3)
    client.call("CONFIG", "RESETSTAT")
    client.call("CONFIG", "GET", "port")
    client.call("CONFIG", "GET", "port")
    client.call("CLIENT", "ID")
    assert {name: calls for name, (calls, _) in histogram(client, "config").items()} == {
        b"config|get": 2, b"config|resetstat": 1}
    assert histogram(client, "config|get")[b"config|get"][0] == 2
    assert histogram(client, "config|nosuch") == {}
    everywhere = histogram(client)
    assert everywhere[b"config|get"][0] == 2
    assert everywhere[b"client|id"][0] == 1
    assert b"latency|histogram" in everywhere
    assert b"set" not in everywhere


def test_histogram_in_resp2_is_flat(client):
    client.call("CONFIG", "RESETSTAT")
    client.call("SET", "k", "v")
    name, doc = client.call("LATENCY", "HISTOGRAM", "set")
    assert name == b"set"
    assert doc[:3] == [b"calls", 1, b"histogram_usec"]
    assert doc[3][1] == 1


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("line", [
    "LATENCY LATEST", "LATENCY HISTORY command", "LATENCY RESET", "LATENCY RESET command fork", "LATENCY GRAPH command",
    "LATENCY HISTORY", "LATENCY", "LATENCY NOSUCH", "LATENCY HISTOGRAM nosuch", "SLOWLOG GET 0", "SLOWLOG GET -2",
    "SLOWLOG GET 1 2", "slowlog get 1 2"])
def test_replies_are_those_of_the_reference(moon, oracle, resp, line):
    ours, theirs = (s.client(resp=resp).call_raw(*line.split()) for s in (moon, oracle))
    assert ours == theirs


def test_doctor(moon):
    assert b"LATENCY HISTOGRAM" in moon.client().call("LATENCY", "DOCTOR")
    assert moon.client(resp=3).call_node("LATENCY", "DOCTOR").kind == "="


def test_connections_that_leave_while_all_shards_are_asked(client, moon):
    for i in range(50):
        client.call("SET", f"key:{i}", i)
    for _ in range(100):
        gone = moon.client()
        gone.send(b"SLOWLOG GET -1\r\nLATENCY HISTOGRAM\r\nSLOWLOG LEN\r\n")
        gone.close()
    nothing(client)
    ids = [entry[0] for entry in client.call("SLOWLOG", "GET", "-1")]
    assert ids == sorted(set(ids), reverse=True)
    assert client.call("SLOWLOG", "LEN") == len(ids)
