"""A thread that stands for another may do so in the middle of its batch, with effects that it has not written yet. Whoever
tells of them meanwhile, from another thread, does so when the kernel has them: kill -9 loses nothing that was told."""
import time

import pytest

from moonlib.faulty import fixture_faulty, fixture_library  # noqa: F401 (fixtures)
from moonlib.pair import DEBUG, Pair, has_reply
from moonlib.resp import encode


def lines(*commands):
    return b"".join(encode(list(command)) for command in commands)


def come_to_stand(f, pair, writer):
    """The thread of shard 1 writes a string to pair.b, works on for a moment, and comes to stand for who began before
    that, its batch not at its end. From now on its log cannot be written."""
    f.tell("stall", log=1)
    writer.send(lines(("SET", pair.b, "a string"), ("DEBUG", "SLEEP", "0.4"), ("RENAME", pair.b2, pair.a2)))
    time.sleep(0.2)


def check(f, pair, told):
    f.node.kill()
    f.heal()
    pair.close()
    node = f.start()
    try:
        with node.client() as c:
            seen = c.call("TYPE", pair.b)
            assert not told or seen == b"string", "a reply was about what the log does not have"
            assert seen == b"none", "the write was on disk: the test says nothing"
    finally:
        node.kill()


def test_a_move_that_fails_tells_of_its_target(faulty):
    """BLMOVE waits on shard 0 and is refused for what its target on shard 1 is."""
    f = faulty(2, "everysec", DEBUG)
    pair = Pair(f.node)
    waiter, pusher, writer = pair.on(0), pair.on(0), pair.on(1)
    assert writer.call("SET", pair.b2, "x") == b"OK"
    waiter.send(encode(["BLMOVE", pair.a, pair.b, "LEFT", "RIGHT", "0"]))
    time.sleep(0.2)
    come_to_stand(f, pair, writer)
    pusher.send(encode(["LPUSH", pair.a, "element"]))
    time.sleep(0.8)
    told = has_reply(waiter)
    if told:
        assert waiter.read_raw().startswith(b"-WRONGTYPE")
    check(f, pair, told)


READERS = {"LCS": lambda a, b: ("LCS", a, b),
           "EXEC": lambda a, b: ("EXEC",),
           "declared": lambda a, b: ("EVAL", "return redis.call('GET', KEYS[2])", "2", a, b),
           "undeclared": lambda a, b: ("EVAL", "return redis.call('GET', ARGV[1])", "1", a, b)}


@pytest.mark.parametrize("how", READERS)
def test_a_read_over_several_shards(faulty, how):
    f = faulty(2, "everysec", DEBUG)
    pair = Pair(f.node)
    reader, writer = pair.on(0), pair.on(1)
    assert writer.call("SET", pair.b2, "x") == b"OK"
    if how == "EXEC":
        assert [reader.call(*c) for c in (("MULTI",), ("GET", pair.a), ("GET", pair.b))] == [b"OK", b"QUEUED", b"QUEUED"]
    come_to_stand(f, pair, writer)
    reader.send(encode(READERS[how](pair.a, pair.b)))
    time.sleep(0.8)
    check(f, pair, has_reply(reader))
