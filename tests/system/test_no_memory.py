"""A request over several shards that finds no memory to have them to itself is refused, and its connection goes on."""
import time

import pytest

from moonlib.pair import DEBUG, Pair
from moonlib.planted import fixture_plant  # noqa: F401 (fixture)
from moonlib.resp import encode
from moonlib.server import start_moon

REFUSED = b"OOM no memory for waiting"
REQUESTS = {"RENAME": [("RENAME", "a2", "b2")], "BLMOVE": [("BLMOVE", "a2", "b2", "LEFT", "LEFT", "0.1")],
            "EVAL": [("EVAL", "return 1", "2", "a2", "b2")], "EXEC": [("MULTI",), ("GET", "a2"), ("GET", "b2"), ("EXEC",)]}

EXPECTED = {"RENAME": b"+OK", "BLMOVE": b"-WRONGTYPE", "EVAL": b":1", "EXEC": b"*2"}


@pytest.fixture(name="poor")
def fixture_poor(plant):
    plant("no-memory-alone")
    with start_moon(shards=2, args=DEBUG) as node:
        pair = Pair(node)
        yield pair
        pair.close()


def names(pair, command):
    return [{"a2": pair.a2, "b2": pair.b2}.get(word, word) for word in command]


@pytest.mark.parametrize("what", REQUESTS)
def test_it_runs_if_nothing_is_under_way_by_then(poor, what):
    asker, other = poor.on(0), poor.on(0)
    assert other.call("MSET", poor.a2, "v", poor.b2, "w") == b"OK"
    *before, last = [names(poor, command) for command in REQUESTS[what]]
    nap = poor.stop(1)
    other.send(encode(["MSET", poor.a, "1", poor.b, "1"]))
    for command in before:
        assert asker.call(*command) in (b"OK", b"QUEUED")
    assert asker.call_raw(*last).startswith(EXPECTED[what])
    assert nap.read_raw() == b"+OK\r\n" and other.read_raw() == b"+OK\r\n"
    assert asker.call("MGET", poor.a, poor.b) == [b"1", b"1"]


@pytest.mark.parametrize("what", REQUESTS)
def test_it_is_refused(poor, what):
    """While others keep transactions under way without end."""
    asker, others = poor.on(0), [poor.on(0), poor.on(1)]
    load = b"".join(encode(["MSET", f"{poor.a}{i}", "1", f"{poor.b}{i}", "1"]) for i in range(1000))
    *before, last = [names(poor, command) for command in REQUESTS[what]]
    refused = (b"-EXECABORT Transaction discarded because of: " if what == "EXEC" else b"-") + REFUSED + b"\r\n"
    seen, until = [], time.monotonic() + 20
    while refused not in seen:
        assert time.monotonic() < until, set(seen)
        assert asker.call("MSET", poor.a2, "v", poor.b2, "w") == b"OK"
        for other in others:
            other.send(load)
        for _ in range(10):
            for command in before:
                assert asker.call(*command) in (b"OK", b"QUEUED")
            seen.append(asker.call_raw(*last))
        for other in others:
            assert [other.read_raw() for _ in range(1000)] == [b"+OK\r\n"] * 1000
    good = [raw for raw in seen if raw != refused]
    assert all(raw.startswith((EXPECTED[what], b"-ERR no such key")) for raw in good), set(good)
    assert asker.call("MSET", poor.a2, "v", poor.b2, "w") == b"OK"
    assert asker.call("RENAME", poor.a2, poor.b2) == b"OK"
