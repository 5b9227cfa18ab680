"""Corners of transactions over several shards, each the scene of a bug that was mended."""
import socket
import struct
import time

import pytest

from moonlib.resp import encode
from moonlib.server import start_moon
from test_txn import DEBUG, IOS, Pair


@pytest.fixture(name="pair", params=IOS)
def fixture_pair(request):
    with start_moon(shards=2, io=request.param, args=DEBUG) as node:
        pair = Pair(node)
        yield pair
        pair.close()


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
