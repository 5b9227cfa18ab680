"""All of it at once, judged as ever: transactions, moves, scripts, waiters and EXEC on four shards that lend each other their
cores, while others read INFO, turn settings, list and kill clients, scan and flush other databases; the node is killed,
or stopped at work. `full` runs it under TSan (MOON_BIN), for which it was made.

MOON_TOGETHER_SECONDS: how long, on each backend. MOON_SEED replays the draws.
"""
import contextlib
import os
import random
import threading
import time

import pytest

import workload
from campaign import Campaign, Settings, Violation
from moonlib.resp import Disconnected, ReplyError, encode
from moonlib.server import start_moon

SECONDS = float(os.environ.get("MOON_TOGETHER_SECONDS", "3"))
SEED = int(os.environ.get("MOON_SEED") or "1")
SHARDS = 4
PAUSE = 0.002  # else the clients of the history get nothing done
BESIDE = {
    "facts": [("INFO", "everything"), ("INFO", "shards"), ("INFO", "commandstats"), ("CLIENT", "LIST"), ("CLIENT", "INFO"),
              ("CLIENT", "LIST", "TYPE", "normal"), ("SLOWLOG", "GET", "20"), ("LATENCY", "HISTOGRAM"), ("COMMAND", "COUNT"), ("DBSIZE",)],
    "settings": [("CONFIG", "SET", "shard-lending", "no"), ("CONFIG", "GET", "*"), ("CONFIG", "SET", "shard-lending", "yes"),
                 ("CONFIG", "SET", "appendfsync", "always"), ("CONFIG", "SET", "slowlog-log-slower-than", "0"),
                 ("CONFIG", "SET", "appendfsync", "everysec"), ("CONFIG", "SET", "slowlog-log-slower-than", "10000"),
                 ("CONFIG", "SET", "maxmemory", "1gb"), ("CONFIG", "RESETSTAT"), ("CONFIG", "SET", "maxmemory", "0"),
                 ("SLOWLOG", "RESET"), ("LATENCY", "RESET"), ("MEMORY", "PURGE")],
    "databases": [("SELECT", "1"), ("MSET", "a", "1", "b", "2", "c", "3"), ("SET", "soon", "x", "PX", "1"), ("KEYS", "*"),
                  ("SCAN", "0", "COUNT", "10"), ("RANDOMKEY",), ("RPUSH", "list", *range(200)), ("COPY", "list", "copy", "REPLACE"),
                  ("RENAME", "copy", "list"), ("UNLINK", "list"), ("EXPIRE", "a", "1"),
                  ("SWAPDB", "1", "2"), ("FLUSHDB", "ASYNC"), ("MOVE", "b", "3"), ("SELECT", "0")],
}


class Victim:
    """Waits for what never comes, or is in the middle of something, until it is killed, let go, or goes."""

    DOINGS = [[("BLPOP", "never", "nowhere", "0")],
              [("WATCH", "a", "b", "c"), ("MULTI",), ("MSET", "x1", "1", "x2", "2")],
              [("SELECT", "1"), *[("MSET", f"x{i}", "1", f"y{i}", "2") for i in range(20)], ("KEYS", "*")]]

    def __init__(self, node):
        self.node = node

    def step(self, control, rng):
        victim = self.node.client()
        number = victim.call("CLIENT", "ID")
        victim.send(b"".join(map(encode, rng.choice(self.DOINGS))))
        how = rng.randrange(3)
        if how == 0:
            control.call("CLIENT", "KILL", "ID", number)
        elif how == 1:
            control.call("CLIENT", "UNBLOCK", number, rng.choice(["TIMEOUT", "ERROR"]))
        self.node.clients.remove(victim)
        victim.close()


@contextlib.contextmanager
def noise(node):
    over, errors = threading.Event(), []

    def keep_on(name, step):
        rng = random.Random(name)
        try:
            with node.client() as control:
                while not over.is_set():
                    step(control, rng)
                    time.sleep(PAUSE)
        except (Disconnected, OSError):
            pass  # it was ended
        except ReplyError as error:
            if b"shutting down" not in error.text:
                errors.append(f"{name}: {error}")

    def of(commands):
        def step(control, rng):
            for command in commands:
                try:
                    control.call(*command)
                except ReplyError as error:
                    if not error.text.startswith(b"ERR no such key"):  # flushed meanwhile
                        raise ReplyError(b"%s: %s" % (str(command).encode(), error.text)) from error
        return step

    threads = [threading.Thread(target=keep_on, args=(name, of(commands))) for name, commands in BESIDE.items()]
    threads += [threading.Thread(target=keep_on, args=("victims", Victim(node).step))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    if errors:
        raise Violation("; ".join(errors))


@pytest.mark.timeout(SECONDS * 2 + 120)
@pytest.mark.parametrize("io", ("epoll", "uring"))
def test_everything_together(tmp_path, io):
    def start(settings, folder):
        return start_moon(shards=SHARDS, io=io, appendonly="yes", folder=folder,
                          args=["--appendfsync", settings.fsync, "--shard-lending", "yes"])

    laps = Campaign(SEED, tmp_path / "data", dict(workload.PLACES), start, lambda rng: Settings(SHARDS, io, "everysec"), (0.5, 1.5),
                    ("stop at work", "stop at work", "kill", "stay"), noise)
    try:
        laps.run(SECONDS)
    finally:
        print(laps.summary())
