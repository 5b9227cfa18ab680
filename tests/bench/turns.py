#!/usr/bin/env python3
"""Why two shards cost more than one at the same rate: what the server did for 1,000 commands. GETs by `moonctl bench`
at a fixed rate, half of what one shard takes; a turn is one pass of a shard's loop, a sleep one that waits in the kernel.

    tests/bench/turns.py [--pipelines 1,64] [--seconds 3]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

from servers import Failed, Server, binaries

KEYS = 1_000_000
COUNTERS = ("commands", "turns", "sleeps", "wakes", "lends")


def bench(ctl, server, *options):
    done = subprocess.run(["taskset", "-c", "1", ctl, "bench", "-p", str(server.port), "-r", str(KEYS), "-o", "json",
                           "--server-pid", str(server.process.pid), *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"moonctl bench: {done.stderr.strip()}")
    return json.loads(done.stdout)["tests"][0]


def counters(server):
    """Sums over the shards, and seconds of the threads in user mode and in the kernel."""
    sums = dict.fromkeys(COUNTERS, 0)
    for line in server.bulk("INFO", "shards").decode().splitlines():
        if line.startswith("shard"):
            fields = dict(pair.split("=") for pair in line.split(":", 1)[1].split(","))
            for name in COUNTERS:
                sums[name] += int(fields[name])
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    tick = os.sysconf("SC_CLK_TCK")
    sums["user"], sums["kernel"] = int(fields[11]) / tick, int(fields[12]) / tick
    return sums


def look(ctl, binary, shards, pipeline, rate, seconds):
    with tempfile.TemporaryDirectory(prefix="moon-turns-") as folder:
        server = Server("moon", binary, os.path.join(folder, "moon"), {0} if shards == 1 else os.sched_getaffinity(0),
                        ["--appendonly", "no", "--shards", str(shards)])
        server.start()
        try:
            bench(ctl, server, "-t", "load", "-P", "64", "-c", "8")
            before = counters(server)
            options = ["-t", "get", "-P", str(pipeline), "-d", str(seconds), "--warmup", "0"]
            done = bench(ctl, server, *options, *(["--rate", str(rate)] if rate else []))
            after = counters(server)
        finally:
            server.stop()
    per = {name: 1000 * (after[name] - before[name]) / (after["commands"] - before["commands"]) for name in after}
    return done, per


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", default="1,64")
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    binary, ctl = binaries()
    print("per 1,000 commands   µs CPU   user ms  kernel ms   turns  sleeps  wakes  lends   p50/p99 µs")
    for pipeline in map(int, args.pipelines.split(",")):
        most, _ = look(ctl, binary, 1, pipeline, 0, args.seconds)
        for shards in (1, 2):
            done, per = look(ctl, binary, shards, pipeline, most["ops_per_s"] / 2, args.seconds)
            latency = done["latency_us"]
            print(f"p{pipeline}, {shards} shards {done['ops_per_s'] / 1000:6.0f} k/s  {1000 * done['server']['cpu_us_per_request']:6.0f}  "
                  f"{1000 * per['user']:8.2f} {1000 * per['kernel']:10.2f}  {per['turns']:6.1f}  {per['sleeps']:6.1f} {per['wakes']:6.1f} {per['lends']:6.1f}   "
                  f"{latency['p50']:.0f}/{latency['p99']:.0f}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        print(f"turns: {error}", file=sys.stderr)
        sys.exit(1)
