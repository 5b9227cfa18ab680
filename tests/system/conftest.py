"""Nodes for the system tests: `nodes.get(shards, io)` is one that many tests share, empty at each test's
start; what changes settings or ends a node starts its own with moonlib's start_moon()."""
import pytest

from moonlib.pair import DEBUG, Pair
from moonlib.server import StartFailed, start_moon

IOS = ("epoll", "uring")


class Nodes:
    def __init__(self):
        self.running = {}
        self.refused = {}  # io → why

    def get(self, shards, io):
        key = (shards, io)
        node = self.running.get(key)
        if node is not None and node.is_alive():
            with node.client() as c:
                c.call("FLUSHALL")
            return node
        if io in self.refused:
            pytest.skip(self.refused[io])
        try:
            self.running[key] = start_moon(shards=shards, io=io, args=["--enable-debug-command", "yes"])
        except StartFailed as error:
            if io != "uring" or "no way to do input and output" not in str(error):
                raise
            self.refused[io] = "the kernel refuses io_uring"
            pytest.skip(self.refused[io])
        return self.running[key]

    def stop(self):
        for node in self.running.values():
            node.stop()


@pytest.fixture(scope="module")
def nodes():
    pool = Nodes()
    yield pool
    pool.stop()


@pytest.fixture(name="pair", params=IOS)
def fixture_pair(request):
    with start_moon(shards=2, io=request.param, args=DEBUG) as node:
        pair = Pair(node)
        yield pair
        pair.close()
