"""A node that is killed and started again at once, on the same port and directory."""
import os
import signal
import socket
import time

import pytest

from moonlib.server import StartFailed, free_port, start_moon

ROUNDS = 6
GIVES_UP_SECONDS_MAX = 10


@pytest.mark.parametrize("io", ("epoll", "uring"))
@pytest.mark.parametrize("shards", (1, 2))
def test_starts_right_after_kill_9(shards, io, tmp_path):
    port = free_port()
    for i in range(ROUNDS):
        try:
            node = start_moon(shards=shards, io=io, folder=str(tmp_path), port=port, appendonly="yes")
        except StartFailed as error:
            if "no way to do input and output" in str(error):
                pytest.skip("the kernel refuses io_uring")
            raise
        with node.client() as c:
            assert c.call("GET", "round") == (b"%d" % (i - 1) if i > 0 else None)
            c.call("SET", "round", str(i))
        os.kill(node.pid, signal.SIGKILL)
        node.process.wait()
        node.stop()


def test_a_port_that_stays_taken_is_told(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        begin = time.monotonic()
        with pytest.raises(StartFailed, match="Is another server using it"):
            start_moon(folder=str(tmp_path), port=other.getsockname()[1])
        assert time.monotonic() - begin < GIVES_UP_SECONDS_MAX
