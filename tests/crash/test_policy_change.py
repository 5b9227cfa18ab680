"""CONFIG SET appendfsync from `always` to another level while a write is under way: what waits for that write, and what
comes behind it in memory, is told when the kernel has it. kill -9 before that loses nothing that was told."""
import time

import pytest

from moonlib.faulty import fixture_faulty, fixture_library  # noqa: F401 (fixtures)
from moonlib.pair import has_reply
from moonlib.resp import encode
from moonlib.slots import key_on

SOON = 0.2


def ask(conn, *command):
    conn.send(encode(list(command)))
    time.sleep(SOON)


def change_while_writing(f, policy):
    """Connections that asked before the change and after it, with what each wrote or read."""
    first, later = key_on(0, f.shards, "first"), key_on(0, f.shards, "later")
    conns = [f.node.client() for _ in range(4)]
    before, operator, behind, reader = conns
    assert before.call("MSET", first, "old", later, "old") == b"OK"
    f.tell("hang", log=0)
    ask(before, "SET", first, "new")
    ask(operator, "CONFIG", "SET", "appendfsync", policy)
    ask(behind, "SET", later, "new")
    ask(reader, "GET", first)
    return first, later, conns


@pytest.mark.parametrize("shards", (1, 2))
@pytest.mark.parametrize("policy", ("everysec", "no"))
def test_what_was_told_survives(faulty, policy, shards):
    f = faulty(shards, "always")
    first, later, conns = change_while_writing(f, policy)
    before, _, behind, reader = [has_reply(c) for c in conns]
    f.node.kill()
    f.heal()
    for c in conns:
        c.close()
    node = f.start()
    try:
        with node.client() as c:
            assert not before or c.call("GET", first) == b"new", "a write acknowledged under `always` is missing"
            assert not behind or c.call("GET", later) == b"new", "an acknowledged write is missing"
            assert not reader or c.call("GET", first) == b"new", "a read showed what was lost"
            assert c.call("MGET", first, later) == [b"old", b"old"], "nothing was under way: the test says nothing"
    finally:
        node.kill()


@pytest.mark.parametrize("shards", (1, 2))
@pytest.mark.parametrize("policy", ("everysec", "no"))
def test_it_is_told_when_the_write_ends(faulty, policy, shards):
    f = faulty(shards, "always")
    first, later, conns = change_while_writing(f, policy)
    f.heal()
    assert [c.read_raw(timeout=5) for c in conns] == [b"+OK\r\n", b"+OK\r\n", b"+OK\r\n", b"$3\r\nnew\r\n"]
    # From here on the new level holds: a disk that hangs in syncs alone keeps nobody waiting.
    f.tell("hang", log=0)
    for c in conns:
        assert c.call("SET", first, "newer") == b"OK"
        assert c.call("GET", first) == b"newer"
    f.node.kill()
    f.heal()
    node = f.start()
    try:
        with node.client() as c:
            assert c.call("MGET", first, later) == [b"newer", b"new"]
    finally:
        node.kill()


def test_it_fails_after_the_change(faulty):
    """Their outcome is unknown, and nobody waits for ever."""
    f = faulty(1, "always")
    first, _, conns = change_while_writing(f, "everysec")
    f.tell("fail", log=0)
    for c in conns:
        assert c.read_raw(timeout=5).startswith(b"-IOERR the log failed")
    assert conns[0].call("GET", first) == b"new"
    assert conns[0].call_raw("SET", first, "x").startswith(b"-MISCONF")
