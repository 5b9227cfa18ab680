"""Settings that clients of several shards change and read at once."""
import threading
import time

import pytest

from moonlib.server import start_moon

SECONDS = 1.5
LONG, SHORT = "x" * 4000, "y"


def hammer(node, commands, errors):
    try:
        with node.client() as c:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                for command in commands:
                    c.call(*command)
    except Exception as error:  # pylint: disable=broad-except
        errors.append(error)


@pytest.mark.parametrize("io", ("epoll", "uring"))
def test_clients_of_all_shards_may_set_and_read_at_once(io):
    with start_moon(shards=4, io=io) as node:
        errors = []
        threads = [threading.Thread(target=hammer, args=(node, commands, errors)) for commands in [
            [("CONFIG", "SET", "proc-title-template", LONG), ("CONFIG", "SET", "proc-title-template", SHORT)],
            [("CONFIG", "SET", "proc-title-template", SHORT), ("CONFIG", "SET", "proc-title-template", LONG)],
            [("CONFIG", "GET", "*")],
            [("CONFIG", "SET", "maxclients", "9000"), ("CONFIG", "SET", "appendfsync", "no")],
        ]]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            with node.client() as c:
                assert c.call("CONFIG", "GET", "proc-title-template")[1] in (LONG.encode(), SHORT.encode(), b"{title} {listen-addr} {server-mode}")
        for t in threads:
            t.join()
        assert not errors, errors
        assert node.is_alive()
