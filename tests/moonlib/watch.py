"""A bystander: a process of its own that pings a server all the time and remembers the slowest answer.

    with Watch(moon, shards=2) as watch:
        ...abuse the server...
    watch.check()

A process, because a busy test would delay a thread beside it. What the machine took is no fault of the
server: the time its threads and this process were ready to run and waited for a CPU is subtracted.
"""
import json
import os
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
        self.argv = [sys.executable, "-S", __file__, str(server.port), str(server.pid), str(shards), password or ""]
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
        assert found["slowest_s"] < PING_SECONDS_MAX, f"a bystander waited too long: {found}"


def schedstat_files(pid):
    folder = f"/proc/{pid}/task"
    paths = [f"{folder}/{task}/schedstat" for task in os.listdir(folder)] + ["/proc/thread-self/schedstat"]
    return [open(path, "rb", buffering=0) for path in paths if os.path.exists(path)]


def starved_ns(files):
    """Per thread: how long it was ready and did not run, so far."""
    return [int(os.pread(f.fileno(), 100, 0).split()[1]) for f in files]


class Stopwatch:
    """For work that the server's threads and this one do in turn: seconds without those for which one of them was ready
    to run and waited for a CPU. Of a thread that has ended counts what was known of it last."""

    def __init__(self, pid):
        self.files = schedstat_files(pid)
        self.starved = starved_ns(self.files)
        self.began = self.now()

    def now(self):
        for i, f in enumerate(self.files):
            try:
                self.starved[i] = starved_ns([f])[0]
            except ProcessLookupError:
                pass
        return time.monotonic() - sum(self.starved) / 1e9

    def seconds(self):
        return self.now() - self.began

    def seconds_to_end(self, process, seconds_max=10):
        """Waits for the end of the server, looking how its threads fare on the way."""
        until = time.monotonic() + seconds_max
        while process.poll() is None:
            assert time.monotonic() < until, "it does not end"
            time.sleep(0.002)
            self.now()
        return self.seconds()


def connect(port, password):
    s = socket.create_connection(("127.0.0.1", port), timeout=SILENT_SECONDS)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if password:
        s.sendall(b"AUTH %s\r\n" % password.encode())
        assert s.recv(100) == b"+OK\r\n"
    return s


def ping(s):
    """What went wrong, or None."""
    try:
        s.sendall(b"PING\r\n")
        answer = s.recv(100)
    except OSError as error:
        return repr(error)
    return None if answer == b"+PONG\r\n" else repr(answer)


def main(port, pid, connections, password):
    sockets = [connect(port, password) for _ in range(connections)]
    found = {"pings": 0, "slowest_s": 0.0, "starved_s": 0.0, "at_s": 0.0, "error": None}
    files = schedstat_files(pid)
    print("ready", flush=True)
    started = time.monotonic()
    while not found["error"]:
        for s in sockets:
            before, begin = starved_ns(files), time.monotonic()
            found["error"] = found["error"] or ping(s)
            taken = time.monotonic() - begin
            starved = max((b - a for a, b in zip(before, starved_ns(files))), default=0) / 1e9
            found["pings"] += 1
            if taken - starved > found["slowest_s"]:
                found.update(slowest_s=taken - starved, starved_s=starved, at_s=begin - started)
        if select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            break
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
