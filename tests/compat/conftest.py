"""Servers of the differential tests: one reference and one Moon per number of shards, for all tests."""
import os

import pytest

import compare
from moonlib.server import moon_binary, start_moon, start_oracle


@pytest.fixture(scope="session")
def full(request):
    return request.config.getoption("--full") or bool(os.environ.get("MOON_TEST_FULL"))


@pytest.fixture(scope="session")
def oracle():
    with start_oracle() as server:
        yield server


class Moons:
    """Running nodes by number of shards and I/O, started at first need and again after a death."""

    def __init__(self):
        self.servers = {}

    def get(self, shards, io=None):
        server = self.servers.get((shards, io))
        if server is None or not server.is_alive():
            server = self.servers[shards, io] = start_moon(shards=shards, io=io, args=["--enable-debug-command", "yes"])
        return server

    def stop(self):
        for server in self.servers.values():
            server.stop()


@pytest.fixture(scope="session")
def moons():
    if not os.path.exists(moon_binary()):
        pytest.fail(f"{moon_binary()} is missing: make")
    pool = Moons()
    yield pool
    pool.stop()


def pytest_terminal_summary(terminalreporter):
    if any(difference.hits for difference in compare.KNOWN_DIFFERENCES):
        terminalreporter.write_line("known differences from redis-server 7.0.15, and how often they were met:")
        terminalreporter.write_line(compare.differences_report())
