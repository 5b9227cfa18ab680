#!/usr/bin/env python3
"""Many connections with transactions on the same two keys, which lie on different shards: each sends MSET a x b y and
waits for the reply, again and again; half of them begin on the one shard, half on the other. Transactions a second, their
latency, the server's CPU for one, and how many rounds were refused (INFO shards). The server and the generator share all CPUs.

    tests/bench/contended.py [--shards 2,4] [--connections 50,500,2000] [--seconds 5] [--alone]

--alone: beside them one connection that does GET of a third key, a hundred times a second: how long those take.
MOON_BIN names the server.
"""
import argparse
import binascii
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

from servers import Failed, Server, binaries, encode


def key_on(shard, shards):
    """Blocks of 32 slots are dealt to the shards in turn (shard/base/slot.h)."""
    return next(k for k in (f"k{i}" for i in range(100_000)) if binascii.crc_hqx(k.encode(), 0) % 16384 // 32 % shards == shard)


def refused(server):
    """Rounds; None: this server does not tell."""
    lines = server.bulk("INFO", "shards").decode().splitlines()
    fields = [dict(pair.split("=") for pair in line.split(":", 1)[1].split(",")) for line in lines if line.startswith("shard")]
    return sum(int(f["refused"]) for f in fields) if "refused" in fields[0] else None


class Bystander(threading.Thread):
    def __init__(self, port, key):
        super().__init__()
        self.port, self.key, self.took, self.ends = port, key, [], False

    def run(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as s:
            while not self.ends:
                before = time.monotonic()
                s.sendall(encode(["GET", self.key]))
                s.recv(4096)
                self.took.append(time.monotonic() - before)
                time.sleep(0.01)

    def told(self):
        took = sorted(self.took)
        return f"   GET beside: p50 {took[len(took) // 2] * 1000:.1f} ms, max {took[-1] * 1000:.1f} ms" if took else ""


def look(ctl, binary, shards, connections, seconds, alone):
    with tempfile.TemporaryDirectory(prefix="moon-contended-") as folder:
        server = Server("moon", binary, os.path.join(folder, "moon"), os.sched_getaffinity(0),
                        ["--appendonly", "no", "--maxclients", "20000", "--shards", str(shards)])
        a, b = key_on(0, shards), key_on(1, shards)
        server.start()
        bystander = Bystander(server.port, "{%s}beside" % b)
        try:
            if alone:
                bystander.start()
            command = [ctl, "bench", "-p", str(server.port), "-c", str(connections), "-d", str(seconds), "--warmup", "1", "-o", "json",
                       "--server-pid", str(server.process.pid), "MSET", a, "__data__", b, "__data__"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
            bystander.ends = True
            if done.returncode != 0:
                raise Failed(f"moonctl bench: {done.stderr.strip()}")
            test = json.loads(done.stdout)["tests"][0]
            rounds = refused(server)
        finally:
            bystander.ends = True
            server.stop()
    return test, rounds, bystander.told()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", default="2,4")
    parser.add_argument("--connections", default="50,500,2000")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--alone", action="store_true")
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    binary, ctl = binaries()
    print("shards connections    a second  µs CPU  p50 ms  p99 ms  max ms  refused rounds")
    for shards in map(int, args.shards.split(",")):
        for connections in map(int, args.connections.split(",")):
            test, rounds, told = look(ctl, binary, shards, connections, args.seconds, args.alone)
            p = test["latency_us"]
            print(f"{shards:6} {connections:11} {test['ops_per_s']:11.0f} {test['server']['cpu_us_per_request']:7.1f} {p['p50'] / 1000:7.2f} {p['p99'] / 1000:7.2f} {p['max'] / 1000:7.0f}  "
                  f"{rounds}{told}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        print(f"contended: {error}", file=sys.stderr)
        sys.exit(1)
