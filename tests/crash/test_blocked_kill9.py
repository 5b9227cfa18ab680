"""kill -9 while consumers wait and movers carry elements between shards. An element that was pushed and acknowledged
is given to one consumer or is still there, but for those that were on their way to a consumer when the node died: at
most one for each. Nothing is given twice, ever."""
import os
import random
import threading
import time

from moonlib.resp import Client, Disconnected
from moonlib.server import start_moon

ROUNDS = int(os.environ.get("MOON_CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("MOON_SEED", "1"))
CONSUMERS, MOVERS, PRODUCERS = 3, 2, 2
QUEUES = ["q:a", "q:b", "q:c", "q:d", "q:e"]


class Worker(threading.Thread):
    def __init__(self, port, rng):
        super().__init__(daemon=True)
        self.port, self.rng = port, rng
        self.failures = []

    def run(self):
        try:
            with Client(self.port, timeout=20) as client:
                while True:
                    self.work(client)
        except (Disconnected, OSError):
            pass  # the server was killed
        except Exception as error:  # noqa: BLE001: told by the test
            self.failures.append(repr(error))


class Producer(Worker):
    def __init__(self, port, rng, prefix):
        super().__init__(port, rng)
        self.prefix, self.sent, self.acked = prefix, 0, []

    def work(self, client):
        items = [f"{self.prefix}:{self.sent + i}" for i in range(self.rng.randint(1, 3))]
        self.sent += len(items)
        client.call("RPUSH", self.rng.choice(QUEUES), *items)
        self.acked += items
        if self.rng.random() < 0.3:
            time.sleep(0.001)


class Consumer(Worker):
    def __init__(self, port, rng):
        super().__init__(port, rng)
        self.got = []

    def work(self, client):
        keys = self.rng.sample(QUEUES, self.rng.randint(1, 3))
        reply = client.call(self.rng.choice(["BLPOP", "BRPOP"]), *keys, self.rng.choice([0, 0.01]) if len(keys) > 1 else 0.01)
        if reply is not None:
            self.got.append(reply[1].decode())


class Mover(Worker):
    def work(self, client):
        client.call("BLMOVE", *self.rng.sample(QUEUES, 2), "LEFT", "RIGHT", 0.01)


def test_each_element_is_given_to_one_or_kept(tmp_path):
    rng = random.Random(SEED)
    acked, given = set(), []
    lost_max = 0
    for number in range(ROUNDS):
        shards, io, fsync = rng.choice([1, 2, 3, 4]), rng.choice(["uring", "epoll"]), rng.choice(["always", "everysec", "no"])
        where = f"seed {SEED} round {number} shards {shards} io {io} appendfsync {fsync}"
        server = start_moon(shards=shards, io=io, appendonly="yes", folder=str(tmp_path), args=["--appendfsync", fsync])
        try:
            check(server, acked, given, lost_max, where)
            draw = lambda: random.Random(rng.random())  # noqa: E731
            producers = [Producer(server.port, draw(), f"{number}.{i}") for i in range(PRODUCERS)]
            consumers = [Consumer(server.port, draw()) for _ in range(CONSUMERS)]
            workers = [*producers, *consumers, *[Mover(server.port, draw()) for _ in range(MOVERS)]]
            for worker in workers:
                worker.start()
            time.sleep(rng.uniform(0.1, 0.5))
            server.kill()
            for worker in workers:
                worker.join(30)
                assert not worker.is_alive() and not worker.failures, (where, worker.failures)
        finally:
            server.kill()
        acked.update(item for producer in producers for item in producer.acked)
        given += [item for consumer in consumers for item in consumer.got]
        lost_max += CONSUMERS
    with start_moon(shards=2, appendonly="yes", folder=str(tmp_path)) as server:
        missing = check(server, acked, given, lost_max, "the end")
    print(f"{ROUNDS} rounds: {len(acked)} pushed and acknowledged, {len(given)} given, {missing} on their way at a kill")
    assert len(given) > ROUNDS * 50, "hardly anything was given: the test says nothing"


def check(server, acked, given, lost_max, where):
    with server.client() as client:
        left = [item.decode() for key in QUEUES for item in client.call("LRANGE", key, 0, -1)]
    seen = left + given
    twice = sorted({item for item in seen if seen.count(item) > 1}) if len(seen) != len(set(seen)) else []
    assert not twice, f"{where}: given twice, or given and kept: {twice[:5]}"
    missing = acked - set(seen)
    assert len(missing) <= lost_max, f"{where}: {len(missing)} are missing, {lost_max} may be: {sorted(missing)[:5]}"
    return len(missing)
