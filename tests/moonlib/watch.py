"""A bystander: a process of its own that pings a server all the time and remembers the slowest answer.

    with Watch(moon, shards=2) as watch:
        ...abuse the server...
    watch.check()

A process, because a busy test would delay a thread beside it. The machine's own noise is measured by the
same process: how much longer than asked its sleeps take.
"""
import json
import select
import socket
import subprocess
import sys
import time

PING_SECONDS_MAX = 0.2
PAUSE_SECONDS = 0.005
SILENT_SECONDS = 15.0


class Watch:
    """One connection per shard (connections are dealt out in turn), each pinged in turn."""

    def __init__(self, server, shards=1, password=None):
        self.argv = [sys.executable, "-S", __file__, str(server.port), str(shards), password or ""]
        self.found = None

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n", "the bystander could not connect"
        return self

    def __exit__(self, *_):
        out, _ = self.process.communicate(timeout=2 * SILENT_SECONDS)
        self.found = json.loads(out)

    def check(self):
        """Every PING was answered, and soon."""
        found = self.found
        assert found["error"] is None, f"the bystander: {found}"
        assert found["pings"] > 0, f"the bystander never got to ping: {found}"
        limit = PING_SECONDS_MAX + found["late_s"]
        assert found["slowest_s"] < limit, f"a bystander waited longer than {limit:.3f} s: {found}"


def main(port, connections, password):
    sockets = []
    for _ in range(connections):
        s = socket.create_connection(("127.0.0.1", port), timeout=SILENT_SECONDS)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if password:
            s.sendall(b"AUTH %s\r\n" % password.encode())
            assert s.recv(100) == b"+OK\r\n"
        s.sendall(b"PING\r\n")
        assert s.recv(100) == b"+PONG\r\n"
        sockets.append(s)
    found = {"pings": 0, "slowest_s": 0.0, "slowest_at_s": 0.0, "late_s": 0.0, "error": None}
    print("ready", flush=True)
    started = time.monotonic()
    while not select.select([sys.stdin], [], [], 0)[0]:
        for s in sockets:
            begin = time.monotonic()
            try:
                s.sendall(b"PING\r\n")
                answer = s.recv(100)
                if answer != b"+PONG\r\n":
                    found["error"] = repr(answer)
            except OSError as error:
                found["error"] = repr(error)
            taken = time.monotonic() - begin
            found["pings"] += 1
            if taken > found["slowest_s"]:
                found["slowest_s"], found["slowest_at_s"] = taken, begin - started
        if found["error"]:
            break
        begin = time.monotonic()
        time.sleep(PAUSE_SECONDS)
        found["late_s"] = max(found["late_s"], time.monotonic() - begin - PAUSE_SECONDS)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
