#!/usr/bin/env python3
"""User-mode instructions of the server per command, counted by callgrind: the same figure on a loaded machine.
Each is the difference of two runs with more and with fewer requests, so that start and end cancel out.

    tests/bench/instructions.py [--shards N] [--pipeline 64] [--functions 15] [TEST…]

TEST: get set mset mget2 mget10 … (mgetN: of N random keys). MOON_BIN names the server, MOON_REFERENCE_BIN
another one to compare with. The io is epoll, for what the kernel does for io_uring is not seen.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from servers import Failed, Server, binaries

KEYS = 100_000


class Counted(Server):
    """A server under callgrind, which writes its counts when it ends."""

    def __init__(self, binary, folder, shards):
        self.out = os.path.join(folder, "callgrind.out")
        super().__init__("moon", "valgrind", os.path.join(folder, "data"), os.sched_getaffinity(0),
                         ["--io", "epoll", "--appendonly", "no", "--shards", str(shards)])
        self.tool = ["--tool=callgrind", f"--callgrind-out-file={self.out}", binary]

    def argv(self):
        return [self.binary, *self.tool, *super().argv()[1:]]


def bench(ctl, server, words, *options):
    done = subprocess.run([ctl, "bench", "-p", str(server.port), "-r", str(KEYS), "-o", "json", "--warmup", "0", *options, *words],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"moonctl bench: {done.stderr.strip()}")


def words_of(test):
    if match := re.fullmatch(r"mget(\d+)", test):
        return ["MGET"] + ["__key__"] * int(match.group(1))
    return ["-t", test]


def run(binary, ctl, shards, pipeline, test, requests):
    """{function: instructions} of a server's life with so many requests."""
    with tempfile.TemporaryDirectory(prefix="moon-instructions-") as folder:
        server = Counted(binary, folder, shards)
        server.start()
        try:
            bench(ctl, server, ["-t", "load"], "-P", "64", "-c", "4")
            bench(ctl, server, words_of(test), "-P", str(pipeline), "-c", "8", "-n", str(requests))
        finally:
            server.stop()
        return functions(server.out)


def functions(path):
    done = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no", path], capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        if match := re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+(.+)$", line):
            name = re.sub(r"^\S*?:|\s\[.*\]$|'\d+$", "", match.group(2))
            found[name] = found.get(name, 0) + int(match.group(1).replace(",", ""))
    return found


def measure(binary, ctl, args, test):
    few, many = args.requests // 4, args.requests
    a, b = (run(binary, ctl, args.shards, args.pipeline, test, n) for n in (few, many))
    per = {name: (b.get(name, 0) - a.get(name, 0)) / (many - few) for name in set(a) | set(b)}
    total = per.pop("PROGRAM TOTALS")
    return total, sorted(per.items(), key=lambda item: -item[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=["get", "set"], metavar="TEST")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--pipeline", type=int, default=64)
    parser.add_argument("--requests", type=int, default=80_000)
    parser.add_argument("--functions", type=int, default=0, help="show the dearest of them")
    args = parser.parse_args()
    if shutil.which("callgrind_annotate") is None:
        raise Failed("valgrind is needed: apt-get install valgrind")
    ours, ctl = binaries()
    reference = os.environ.get("MOON_REFERENCE_BIN")
    for test in args.tests:
        begun = time.monotonic()
        total, dearest = measure(ours, ctl, args, test)
        text = f"{test} p{args.pipeline}, {args.shards} shards: {total:.1f} instructions"
        if reference:
            before = measure(reference, ctl, args, test)[0]
            text += f", reference {before:.1f}: {100 * (total / before - 1):+.2f} %"
        print(f"{text} ({time.monotonic() - begun:.0f} s)", flush=True)
        for name, count in dearest[:args.functions]:
            print(f"  {count:9.1f}  {name}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        print(f"instructions: {error}", file=sys.stderr)
        sys.exit(1)
