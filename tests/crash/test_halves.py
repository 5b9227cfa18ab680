"""kill -9 while one log holds its part of a transaction and another does not: all of it is dropped with what came behind
it, nobody had been told of either, and what one recovery dropped stays dropped, however often the node is killed again."""
import contextlib
import time

import pytest

from moonlib.faulty import fixture_faulty, fixture_library  # noqa: F401 (fixtures)
from moonlib.pair import DEBUG, Pair, has_reply
from moonlib.planted import fixture_plant  # noqa: F401 (fixture)
from moonlib.resp import ReplyError, encode, parse, to_python
from moonlib.slots import key_on

POLICIES = ("always", "everysec")
BY_MESSAGE = (*DEBUG, "--shard-lending", "no")
SOON = 0.2


@contextlib.contextmanager
def started_again(f, shards):
    f.shards = shards
    node = f.start()
    try:
        with node.client() as c:
            yield c
    finally:
        node.kill()


def logs_with(f, word):
    """Numbers of the logs that hold it, all of them at their begin."""
    def holds(path):
        with path.open("rb") as file:
            return word in file.read(1 << 20)

    return [log for log in range(f.shards) if any(map(holds, f.folder.rglob(f"log-*-{log:02d}-*")))]


def until_logs_have(f, word, logs):
    until = time.monotonic() + 10
    while (found := logs_with(f, word)) != logs:
        assert time.monotonic() < until, f"{word} is in {found}, not {logs}"
        time.sleep(0.01)


def leave_half(f, soon=SOON):
    """True for what was told, within `soon`, though it may be dropped: a write behind the half, a read of it."""
    pair = Pair(f.node)
    writer, behind, reader = pair.on(0), pair.on(0), pair.on(0)
    assert writer.call("MSET", pair.a, "old", pair.b, "old") == b"OK"
    # Under `everysec` writes are handed to the kernel by the shard itself, which stands still with them.
    f.tell("hang" if "always" in f.args else "stall", log=1)
    writer.send(encode(["MSET", pair.a, "new", pair.b, "new"]))
    until_logs_have(f, b"new", [0])
    behind.send(encode(["SET", pair.a2, "behind"]))
    reader.send(encode(["GET", pair.a]))
    told = has_reply(behind, soon), has_reply(reader, SOON)
    assert not has_reply(writer), "a transaction was acknowledged that lacks a part"
    f.node.kill()
    f.heal()
    pair.close()
    return pair, told


def half_is_dropped_for_good(f, soon=SOON):
    pair, (wrote, read) = leave_half(f, soon)
    with started_again(f, 2) as c:
        seen = c.call("MGET", pair.a, pair.b)
        assert seen[0] == seen[1], f"half a transaction: {seen}"
        assert not wrote or c.call("GET", pair.a2) == b"behind", "an acknowledged write is missing"
        assert not read or seen[0] == b"new", "a read showed what was dropped"
        assert seen[0] == b"old" and not wrote and not read, "nothing was half: the test says nothing"
        assert c.call("SET", pair.a2, "kept") == b"OK"
        assert c.call("MSET", pair.a, "1", pair.b, "1") == b"OK"
    for shards in (2, 3, 1):
        with started_again(f, shards) as c:
            seen = c.call("MGET", pair.a, pair.b, pair.a2)
            assert seen == [b"1", b"1", b"kept"], f"acknowledged between two crashes, and not there: {seen}"


@pytest.mark.parametrize("fsync", POLICIES)
def test_half_a_transaction_is_dropped_for_good(faulty, fsync):
    half_is_dropped_for_good(faulty(2, fsync, BY_MESSAGE))


@pytest.mark.parametrize("fsync", POLICIES)
def test_what_was_dropped_does_not_come_back(faulty, fsync):
    """Nothing is written between the crashes."""
    f = faulty(2, fsync, BY_MESSAGE)
    pair, _ = leave_half(f)
    for shards in (2, 2, 4, 2):
        with started_again(f, shards) as c:
            assert c.call("MGET", pair.a, pair.b, pair.a2) == [b"old", b"old", None]


@pytest.mark.parametrize("mistake, says, soon", [("own-gate", "an acknowledged write is missing", 10),
                                                 ("keep-halves", "half a transaction", SOON),
                                                 ("same-generation", "acknowledged between two crashes", SOON)])
def test_a_planted_mistake_is_found(plant, faulty, mistake, says, soon):
    plant(mistake)
    with pytest.raises(AssertionError, match=says):
        half_is_dropped_for_good(faulty(2, "always", BY_MESSAGE), soon)


def tells_nothing_of_a_half(f, log):
    """Reads of a key that has its part, and one of a shard that has none of it; on whichever shard the client lives."""
    a, b, c = (key_on(shard, 3, prefix) for shard, prefix in enumerate("abc"))
    writer = f.node.client()
    assert writer.call("MSET", a, "old", b, "old", c, "quiet") == b"OK"
    f.tell("hang", log=log)
    writer.send(encode(["MSET", a, "new", b, "new"]))
    time.sleep(SOON)
    reads = [(["MGET", a, c], [b"new", b"quiet"]), (["MGET", c, b], [b"quiet", b"new"]), (["EXISTS", a, b, c, "none"], 3)]
    readers = [(f.node.client(), *read) for read in reads for _ in range(3)]
    for reader, command, _ in readers:
        reader.send(encode(command))
    time.sleep(SOON)
    told = [command for reader, command, _ in readers if has_reply(reader)]
    f.heal()
    assert not told, f"told of a half: {told}"
    assert writer.read_raw() == b"+OK\r\n"
    for reader, command, reply in readers:
        assert to_python(parse(reader.read_raw())) == reply, command


@pytest.mark.parametrize("log", [0, 1])
def test_reads_over_several_shards_tell_nothing_of_a_half(faulty, log):
    tells_nothing_of_a_half(faulty(3, "always", BY_MESSAGE), log)


def test_a_planted_mistake_is_found_by_reads(plant, faulty):
    plant("own-gate")
    with pytest.raises(AssertionError, match="told of a half"):
        tells_nothing_of_a_half(faulty(3, "always", BY_MESSAGE), 1)


# ---- one thread runs and writes all parts, as the other shards sleep

@pytest.mark.parametrize("log", [0, 1])
def test_a_thread_that_is_killed_between_two_logs(faulty, log):
    """The other shard's log is written first. Where its token is, nobody else reads what it did."""
    f = faulty(2, "everysec", DEBUG)
    pair = Pair(f.node)
    writer, readers = pair.on(0), [pair.on(0), pair.on(1)]
    assert writer.call("MSET", pair.a, "old", pair.b, "old") == b"OK"
    time.sleep(SOON)
    f.tell("stall", log=log)
    writer.send(encode(["MSET", pair.a, "new", pair.b, "new"]))
    until_logs_have(f, b"new", [1] if log == 0 else [])
    time.sleep(SOON)
    for reader, key in zip(readers, (pair.a, pair.b)):
        reader.send(encode(["GET", key]))
    time.sleep(SOON)
    assert logs_with(f, b"old") == [0, 1] and logs_with(f, b"new") == ([1] if log == 0 else [])
    assert not any(map(has_reply, [writer, *readers]))
    f.node.kill()
    f.heal()
    pair.close()
    for shards in (2, 1):
        with started_again(f, shards) as c:
            assert c.call("MGET", pair.a, pair.b) == [b"old", b"old"]


@pytest.mark.parametrize("log", [0, 1])
def test_one_of_two_logs_cannot_be_written(faulty, log):
    f = faulty(2, "everysec", DEBUG)
    pair = Pair(f.node)
    writer, reader = pair.on(0), pair.on(1)
    assert writer.call("MSET", pair.a, "old", pair.b, "old") == b"OK"
    time.sleep(SOON)
    f.tell("fail", log=log)
    with pytest.raises(ReplyError, match="IOERR .* outcome is unknown"):
        writer.call("MSET", pair.a, "new", pair.b, "new")
    assert reader.call("MGET", pair.a, pair.b) == [b"new", b"new"]  # memory is newer than the disk
    for c in (writer, reader):
        with pytest.raises(ReplyError, match="MISCONF"):
            c.call("MSET", pair.a, "newer", pair.b, "newer")
    f.node.kill()
    f.heal()
    pair.close()
    with started_again(f, 2) as c:
        assert c.call("MGET", pair.a, pair.b) == [b"old", b"old"]
        assert c.call("MSET", pair.a, "1", pair.b, "1") == b"OK"
