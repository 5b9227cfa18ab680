#!/usr/bin/env python3
"""Moon beside redis-server in one interleaved, pinned run: server CPU per command, throughput,
latency, memory per key, and whether the targets are met. Needs nothing but python3.

    make bench                                  all rows, 9 pairs of 2 s each
    make bench BENCH='--quick --rows get,set'   a first look at rows whose names contain these
    make bench BENCH='--markdown build/bench.md'

Servers: MOON_BIN, MOON_REFERENCE_BIN (default: build/release/moon, redis-server). Generator:
MOONCTL_BIN. Exit 1 if a row could not be measured, with --check also if a target was missed.
How to read the numbers: docs/benchmarks.md.
"""
import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import report  # noqa: E402
from rows import DATASETS, GROUPS, KEYS, MEMORY_ROWS, PERSISTENCE, ROWS  # noqa: E402
from servers import Failed, Server, binaries, find_reference, version_of  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SETTLE_SECONDS = 0.2  # background freeing and rehashing of what was just flushed or loaded


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", metavar="A,B", help="rows whose names contain one of these; 'memory' for these rows")
    parser.add_argument("--list", action="store_true", help="the rows and their targets")
    parser.add_argument("--pairs", type=int, default=9, help="interleaved pairs per row (9)")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured seconds per run (2)")
    parser.add_argument("--warmup", type=float, default=0.3)
    parser.add_argument("--conns", type=int, default=50)
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--quick", action="store_true", help="3 pairs of 0.5 s over 200,000 keys: no result, a look")
    parser.add_argument("--self-check", action="store_true", help="the reference on both sides: ratios must be 1")
    parser.add_argument("--io", default="auto", choices=("auto", "uring", "epoll"), help="of Moon")
    parser.add_argument("--cores", default="", metavar="S,G", help="CPUs of server and generator (0,1)")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables for docs/benchmarks.md")
    parser.add_argument("--json", metavar="FILE", help="write every run as moonctl reported it")
    parser.add_argument("--check", action="store_true", help="exit 1 also when a target was missed")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.seconds, options.warmup, options.keys = 3, 0.5, 0.1, KEYS // 5
    return options


def chosen(name, wanted):
    return not wanted or any(w.strip().lower() in name.lower() for w in wanted.split(","))


class Bench:
    def __init__(self, options):
        self.options = options
        self.reference = find_reference(ROOT)
        own, self.moonctl = binaries()
        self.moon = self.reference if options.self_check else own
        self.cores = self.pick_cores()
        self.servers, self.key, self.data = [], None, None

    def pick_cores(self):
        if self.options.cores:
            server, generator = self.options.cores.split(",")
            return int(server), int(generator)
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) == 1:
            print("bench: one CPU only: server and generator share it, latencies mean little", file=sys.stderr)
        return usable[0], usable[min(1, len(usable) - 1)]

    # ---- servers

    def moon_server(self, name, shards, arguments):
        own = [] if self.options.self_check else ["--shards", str(shards), "--io", self.options.io]
        cpus = {self.cores[0]} if shards == 1 else set(sorted(os.sched_getaffinity(0))[:shards])
        return Server(name, self.moon, f"{ROOT}/build/bench/{name}", cpus, [*own, *arguments])

    def reference_server(self, arguments):
        return Server("reference", self.reference, f"{ROOT}/build/bench/reference", {self.cores[0]}, arguments)

    def start_pair(self, row):
        """Reuses the running pair when only the data differ."""
        key = (row.persistence, row.shards)
        if key != self.key:
            self.stop()
            arguments = PERSISTENCE[row.persistence]
            self.servers = [self.moon_server("moon", row.shards[0], arguments)]
            same = row.shards == (1, 1)
            self.servers.append(self.reference_server(arguments) if same else self.moon_server("moon-1", row.shards[1], arguments))
            for server in self.servers:
                server.start()
            self.key, self.data = key, "none"
        if self.data != row.data:
            self.data = None  # unknown while loading
            for server in self.servers:
                server.empty()
                for load in DATASETS[row.data]:
                    self.generate(server, self.scaled(load), ["-c", "50"])
            time.sleep(SETTLE_SECONDS)
            self.data = row.data

    def scaled(self, load):
        return [str(self.options.keys) if word == str(KEYS) else word for word in load]

    def stop(self):
        for server in self.servers:
            server.stop()
        self.servers, self.key, self.data = [], None, None

    # ---- runs

    def generate(self, server, load, more):
        """One `moonctl bench`; returns its only test."""
        argv = [self.moonctl, "bench", "-p", str(server.port), "-o", "json", "-r", str(self.options.keys),
                "--cpu", str(self.cores[1]), "--server-pid", str(server.process.pid), *more, *load]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
        try:
            test = json.loads(done.stdout)["tests"][0]
        except (ValueError, IndexError):
            raise Failed(f"{server.side}: {done.stderr.strip()}") from None
        if test["errors"]:
            raise Failed(f"{server.side}: {test['first_error']}")
        return test

    def half_rate(self, row):
        """Half of what the second server answers when it is asked as fast as it answers."""
        full = self.generate(self.servers[1], row.load, ["-c", str(self.options.conns), "-P", str(row.pipeline), "-d", "1"])
        return int(full["ops_per_s"] / 2)

    def run_side(self, server, row, rate):
        options = self.options
        count = options.keys * 2
        for words in row.before:
            server.must(*words)
        for load in row.fill:
            self.generate(server, load, ["-n", str(count)])
        if row.before or row.fill:
            time.sleep(SETTLE_SECONDS)
        amount = ["-n", str(count)] if row.requests else ["-d", str(options.seconds), "--warmup", str(options.warmup)]
        load = ["-c", str(options.conns), "-P", str(row.pipeline), *amount]
        if not rate:
            return self.generate(server, row.load, load)
        cpu_us, spin_us = server.cpu_us(), server.spin_us()
        run = self.generate(server, row.load, [*load, "--rate", str(rate)])
        run["spin_share"] = (server.spin_us() - spin_us) / (server.cpu_us() - cpu_us)
        return run

    def run_row(self, row):
        self.start_pair(row)
        pairs = []
        rate = self.half_rate(row) if row.half_rate else 0
        for i in range(self.options.pairs):
            order = (0, 1) if i % 2 == 0 else (1, 0)  # A B, B A, …: a drift hits both alike
            runs = {side: self.run_side(self.servers[side], row, rate) for side in order}
            pairs.append((runs[0], runs[1]))
        return report.RowResult(row, pairs)

    # ---- memory

    def rss_after(self, server, load, count, key_bytes="16"):
        """RSS of a fresh server that holds `count` items, above that of one that was only warmed."""
        server.start()
        try:
            self.generate(server, ["-z", "64", "SET", "__key__", "__data__"], ["--sequential", "-n", "1000", "-P", "16"])
            server.empty()
            time.sleep(SETTLE_SECONDS)
            before = server.rss_bytes()
            if load:
                self.generate(server, load, ["--sequential", "-n", str(count), "-P", "16", "-r", str(count), "--key-bytes", key_bytes])
                time.sleep(SETTLE_SECONDS)
            return server.rss_bytes() - before
        finally:
            server.stop()

    def idle_connections(self, server, count):
        server.start()
        sockets = []
        try:
            before = server.rss_bytes()
            for _ in range(count):
                s = socket.create_connection(("127.0.0.1", server.port), timeout=10)
                s.sendall(b"*1\r\n$4\r\nPING\r\n")
                sockets.append(s)
            for s in sockets:
                s.recv(64)
            time.sleep(SETTLE_SECONDS)
            return server.rss_bytes() - before
        finally:
            for s in sockets:
                s.close()
            server.stop()

    def memory_row(self, row):
        figures = []
        for make in (lambda: self.moon_server("moon", 1, PERSISTENCE["off"]), lambda: self.reference_server(PERSISTENCE["off"])):
            if row.conns:
                figures.append(self.idle_connections(make(), row.conns) / row.conns)
                continue
            count = row.count if not self.options.quick else row.count // 5
            grown = self.rss_after(make(), row.load, count)
            if row.base:
                grown -= self.rss_after(make(), row.base, count)
            figures.append(grown / count)
        return row.name, figures[0], figures[1], row.target


def measure(bench, options, skipped, runs):
    results = []
    rows = [row for row in ROWS if chosen(row.name, options.rows)]
    if options.self_check:
        rows = [row for row in rows if row.shards == (1, 1)]
    if rows:
        report.print_head()
    for row in rows:
        try:
            result = bench.run_row(row)
        except (Failed, OSError, subprocess.TimeoutExpired) as why:
            skipped.append((row.name, str(why)))
            print(f"{row.name}: not measured: {why}", flush=True)
            bench.stop()
            continue
        report.print_row(result)
        results.append(result)
        runs.append({"row": row.name, "pairs": result.pairs})
    bench.stop()
    return results


def measure_groups(results):
    groups = []
    for group, (name, target) in GROUPS.items():
        members = [r for r in results if r.row.group == group]
        if len(members) == len([row for row in ROWS if row.group == group]):
            groups.append(report.GroupResult(name, target, members))
            report.print_group(groups[-1])
    return groups


def measure_memory(bench, options, skipped):
    rows = [row for row in MEMORY_ROWS if chosen("memory " + row.name, options.rows)]
    lines = []
    if rows:
        print(f"\n{'RSS bytes per item':<32} {'ours':>9} {'ref.':>9} {'ratio':>7} {'target':>9}")
    for row in rows:
        try:
            lines.append(bench.memory_row(row))
        except (Failed, OSError, subprocess.TimeoutExpired) as why:
            skipped.append((row.name, str(why)))
            print(f"{row.name}: not measured: {why}", flush=True)
            continue
        report.print_memory(*lines[-1])
    return lines


def main():
    options = parse_options()
    if options.list:
        for row in ROWS:
            print(f"{row.name:24} {report.bound(row)}")
        for row in MEMORY_ROWS:
            print(f"memory: {row.name:32} ≤ {row.target} B")
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, hard) if hard > 0 else soft, hard))
    skipped, runs = [], []
    try:
        bench = Bench(options)
    except Failed as why:
        print(f"bench: {why}", file=sys.stderr)
        return 1
    conditions = report.conditions_of(ROOT, options, (version_of(bench.moon), version_of(bench.reference)), bench.cores)
    for name, value in conditions:
        print(f"{name}: {value}")
    print()
    try:
        results = measure(bench, options, skipped, runs)
        groups = measure_groups(results)
        memory = measure_memory(bench, options, skipped)
    finally:
        bench.stop()
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as f:
            f.write(report.markdown(conditions, results, groups, memory, skipped))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"conditions": conditions, "rows": runs, "memory": memory, "skipped": skipped}, f, indent=1)
    missed = [r for r in results + groups if r.verdict == "missed"] + [m for m in memory if m[1] > m[3]]
    return 1 if skipped or (options.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
