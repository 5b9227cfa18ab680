"""The time at which commands run: one for all of a pass, but a key lives as long as its client asks, whatever ran before."""
import threading
import time

import pytest

from moonlib.resp import encode, parse, to_python
from moonlib.setups import alternating, name_of
from moonlib.slots import key_on, shards_of


def read(client):
    return to_python(parse(client.read_raw()))


@pytest.fixture(name="node", params=alternating(1, 2, 4), ids=name_of)
def fixture_node(request, nodes):
    return nodes.get(*request.param)


LIFE = 100000  # ms


def lags(conn, key, *before):
    """By how many ms the time at which a SET runs is behind that of a TIME in front of it, which is read there and then."""
    *_, now, ok, until = conn.pipeline([*before, ["TIME"], ["SET", key, "v", "PX", LIFE], ["PEXPIRETIME", key]])
    assert ok == b"OK"
    return int(now[0]) * 1000 + int(now[1]) // 1000 - (until - LIFE)


def test_what_comes_behind_a_slow_command_has_its_whole_time(node):
    with node.client() as c:
        for shard in range(shards_of(node)):
            assert lags(c, key_on(shard, shards_of(node), "due"), ["DEBUG", "SLEEP", "0.4"]) < 100


def test_what_waited_while_all_shards_stood_has_its_whole_time(pair):
    """Some of those that write are in a pass that began when they were to stand."""
    script = "redis.call('get', KEYS[2]) for i = 1, tonumber(ARGV[1]) do end"
    c, writers = pair.on(0), [pair.on(1) for _ in range(3)]
    done, late = threading.Event(), []

    def stand(steps):
        begin = time.monotonic()
        c.call("EVAL", script, 2, pair.a, pair.b, steps)
        return time.monotonic() - begin

    def write(number, conn):
        while not done.is_set():
            late.append(lags(conn, key_on(1, 2, f"writer{number}-")))

    c.call("CONFIG", "SET", "busy-reply-threshold", 0)
    steps = int(2e6 * 0.6 / min(stand(2000000) for _ in range(3)))  # 0.6 s
    threads = [threading.Thread(target=write, args=w) for w in enumerate(writers)]
    for t in threads:
        t.start()
    for _ in range(5):
        time.sleep(0.05)
        stand(steps)
    done.set()
    for t in threads:
        t.join()
    assert max(late) < 100, max(late)


def test_time_does_not_go_back(pair):
    """A shard comes out of a pass that took long, and works on one that has worked since: not earlier than that."""
    late, writer = pair.on(0), pair.on(1)
    for _ in range(3):
        time.sleep(0.05)  # they fall asleep
        late.send(encode(["DEBUG", "SLEEP", "0.3"]) + encode(["GET", pair.b2]) + encode(["PTTL", pair.b]))
        time.sleep(0.15)
        assert writer.pipeline([["SET", pair.b, "v", "PX", 10000], ["SET", pair.b2, "seen"]]) == [b"OK"] * 2
        assert [read(late), read(late)] == [b"OK", b"seen"]
        assert 9000 < read(late) <= 10000
        assert writer.call("DEL", pair.b, pair.b2) == 2
