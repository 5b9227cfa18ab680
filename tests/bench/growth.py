#!/usr/bin/env python3
"""What the growth of the tables adds to a pass: keys are inserted by the million, then the same keys are
written again, where nothing grows. One shard measures the CPU time of each pass (MOON_PASS_CPU_EVERY=1).

    tests/bench/growth.py [--keys 20m] [--tag-keys 5m] [--connections 4] [--json FILE]

Exit 1 if growth adds more than --limit-us (200) to a pass: to the longest of any step beyond the longest
without growth, or to the 99.9th percentile of the median step. Words: docs/benchmarks.md, "Growth".
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

from servers import Failed, Server, binaries
from stats import median

FIELDS = ("pass_p99_usec", "pass_p999_usec", "pass_max_usec")
KEY_BYTES, VALUE_BYTES, PIPELINE = 16, 64, 16


def number(text):
    """20m, 300k, 5000."""
    unit = {"k": 10**3, "m": 10**6}.get(text[-1:].lower())
    return int(text[:-1]) * unit if unit else int(text)


def shard_line(server):
    text = server.bulk("INFO", "shards").decode()
    line = next(line for line in text.splitlines() if line.startswith("shard0:"))
    return {name: float(value) for name, value in (pair.split("=") for pair in line.split(":", 1)[1].split(","))}


def write_step(server, ctl, prefix, keys, connections):
    """Each key of one step, once. What the shard measured meanwhile."""
    server.must("CONFIG", "RESETSTAT")
    done = subprocess.run(
        [ctl, "bench", "-p", str(server.port), "-t", "load", "-P", str(PIPELINE), "-c", str(connections), "-r", str(keys),
         "--key-bytes", str(KEY_BYTES), "-z", str(VALUE_BYTES), "--key-prefix", prefix, "-o", "json"],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"moonctl bench: {done.stderr.strip()}")
    return shard_line(server)


def load(server, ctl, name, keys, step, connections, tell):
    """Inserts, then writes again. Rows of both."""
    prefixes = [f"{name}{i:03d}:" for i in range(-(-keys // step))]
    rows = {}
    for kind in ("insert", "again"):
        rows[kind] = []
        for i, prefix in enumerate(prefixes):
            row = write_step(server, ctl, prefix, step, connections)
            rows[kind].append(row)
            tell(f"{name} {kind:6} {(i + 1) * step:>9,} {row['pass_p99_usec']:8.1f} {row['pass_p999_usec']:8.1f} {row['pass_max_usec']:9.1f}")
        held = int(rows[kind][-1]["keys"])
        if held != len(prefixes) * step:
            raise Failed(f"{held} keys are there, not {len(prefixes) * step}")
    return rows


def summary(rows):
    """Per field the median and the greatest over the steps, of both kinds; and what growth adds."""
    out = {"passes": int(sum(r["passes_measured"] for r in rows["insert"]))}
    for field in FIELDS:
        values = {kind: [r[field] for r in rows[kind]] for kind in rows}
        out[field] = {kind: {"median": median(v), "max": max(v)} for kind, v in values.items()}
    out["added_p999_usec"] = out["pass_p999_usec"]["insert"]["median"] - out["pass_p999_usec"]["again"]["median"]
    out["added_max_usec"] = out["pass_max_usec"]["insert"]["max"] - out["pass_max_usec"]["again"]["max"]
    return out


def measure(binary, ctl, keys, tag_keys, step, connections, tell=lambda line: None):
    """{"spread": summary, "one_slot": summary}; one of 0 keys is left out."""
    with tempfile.TemporaryDirectory(prefix="moon-growth-") as folder:
        server = Server("moon", binary, os.path.join(folder, "moon"), os.sched_getaffinity(0),
                        ["--appendonly", "no", "--shards", "1"])
        os.environ["MOON_PASS_CPU_EVERY"] = "1"
        try:
            server.start()
        finally:
            del os.environ["MOON_PASS_CPU_EVERY"]  # of other servers the usual
        try:
            out = {}
            for title, name, count in (("spread", "k", keys), ("one_slot", "{tag}", tag_keys)):
                if count == 0:
                    continue
                server.empty()
                out[title] = summary(load(server, ctl, name, count, min(step, count), connections, tell))
            return out
        finally:
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=number, default=20 * 10**6)
    parser.add_argument("--tag-keys", type=number, default=5 * 10**6, help="with one hash tag: all in one slot")
    parser.add_argument("--step", type=number, default=10**6)
    parser.add_argument("--connections", type=int, default=4, help="few: a pass is short, what growth adds stands out")
    parser.add_argument("--limit-us", type=float, default=200.0)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    result = measure(*binaries(), args.keys, args.tag_keys, args.step, args.connections, tell=lambda line: print(line, flush=True))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump({"schema": "moon.growth/1", **result}, f, indent=1)
    worst = 0.0
    for title, s in result.items():
        print(f"\n{title}: {s['passes']:,} passes; growth adds {s['added_p999_usec']:.1f} µs to p99.9, {s['added_max_usec']:.1f} µs to the longest")
        for field in FIELDS:
            cells = s[field]
            print(f"  {field:15} insert {cells['insert']['median']:8.1f} (max {cells['insert']['max']:.1f})"
                  f"   again {cells['again']['median']:8.1f} (max {cells['again']['max']:.1f})")
        worst = max(worst, s["added_p999_usec"], s["added_max_usec"])
    return 0 if worst <= args.limit_us else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        print(f"growth: {error}", file=sys.stderr)
        sys.exit(1)
