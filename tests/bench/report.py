"""Tables: lines for a terminal as rows come in, Markdown for docs/benchmarks.md at the end."""
import os
import platform
import subprocess

from stats import geometric_mean, median, median_interval, verdict


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def commit_of(root):
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=root, capture_output=True,
                              text=True, check=False)
    except FileNotFoundError:  # a fresh system has no git
        return "unknown"
    return done.stdout.strip() or "unknown"


def across(runs, pick):
    return median([pick(run) for run in runs])


class RowResult:
    """One row: a list of (ours, theirs) runs as moonctl reported them, in pairs."""

    def __init__(self, row, pairs):
        self.row, self.pairs = row, pairs
        if row.metric == "throughput":
            self.ratios = [a["ops_per_s"] / b["ops_per_s"] for a, b in pairs]
        else:
            self.ratios = [cpu(a) / cpu(b) for a, b in pairs]
        self.verdict = verdict(self.ratios, row.target, row.metric == "throughput")

    def side(self, index, pick):
        return across([pair[index] for pair in self.pairs], pick)


def wait_share(run):
    """How much of the window the server was ready to run and could not: another process had its CPU."""
    return run["server"]["cpu_wait_s"] / run["seconds"]


def cpu(run):
    """Without what shards spend spinning for each other's answers: that is told apart (spin)."""
    return run["server"]["cpu_us_per_request"] * (1 - run.get("spin_share", 0))


def spin(run):
    return run["server"]["cpu_us_per_request"] * run.get("spin_share", 0)


def label(result):
    """Two-shard rows say beside their name what was left out of both figures."""
    spinning = result.side(0, spin)
    return result.row.name + (f" (+ {spinning:.2f} µs spinning)" if spinning > 0 else "")


def bound(row):
    if row.target is None:
        return "–"
    return f"{'≥' if row.metric == 'throughput' else '≤'} {row.target:.2f}"


def columns(result):
    """The cells of a row, but for its name."""
    low, high, _ = median_interval(result.ratios)
    cells = [f"{result.side(i, cpu):.3f}" for i in (0, 1)]
    cells += [f"{median(result.ratios):.3f}", f"{low:.3f}–{high:.3f}", bound(result.row), result.verdict]
    cells += [f"{result.side(i, lambda r: r['ops_per_s']) / 1e3:.0f}" for i in (0, 1)]
    for i in (0, 1):
        cells.append("/".join(f"{result.side(i, lambda r, q=q: r['latency_us'][q]):.0f}" for q in ("p50", "p99", "p99_9")))
    for pick in (lambda r: r["generator_share"], wait_share):
        cells.append("/".join(f"{result.side(i, pick) * 100:.0f}" for i in (0, 1)))
    return cells


HEAD = ["row", "µs ours", "µs ref.", "ratio", "interval", "target", "verdict", "k/s ours", "k/s ref.",
        "p50/p99/p99.9 µs ours", "… ref.", "generator %", "waited %"]
WIDTHS = [24, 8, 8, 7, 13, 7, 8, 8, 8, 18, 18, 6, 6]


def print_line(cells):
    print("  ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(cells, WIDTHS))), flush=True)


def print_head():
    print_line(["row", "us ours", "us ref.", "ratio", "interval", "target", "verdict", "k/s ours", "k/s ref.", "p50/p99/p99.9 ours",
                "p50/p99/p99.9 ref.", "gen %", "wait %"])


def print_row(result):
    print_line([label(result), *columns(result)])


def group_ratios(results):
    """Per pair, the geometric mean over the rows of a group."""
    count = min(len(r.ratios) for r in results)
    return [geometric_mean([r.ratios[i] for r in results]) for i in range(count)]


class GroupResult:
    def __init__(self, name, target, results):
        self.name, self.target = name, target
        self.ratios = group_ratios(results)
        self.verdict = verdict(self.ratios, target)


def print_group(group):
    low, high, _ = median_interval(group.ratios)
    print(f"{group.name}: {median(group.ratios):.3f}, interval {low:.3f}–{high:.3f}, target ≤ {group.target:.2f}: {group.verdict}")


def print_memory(name, ours, theirs, target):
    print(f"{name:<32} {ours:9.1f} {theirs:9.1f} {ours / theirs if theirs else 0:7.3f} {target:9.0f}  "
          f"{'met' if ours <= target else 'missed'}", flush=True)


def table(head, lines):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield "| " + " | ".join(str(c) for c in line) + " |"


def markdown(conditions, results, groups, memory, skipped):
    lines = [f"- {name}: {value}" for name, value in conditions]
    if results:
        lines += ["", *table(HEAD, [[label(r), *columns(r)] for r in results]), ""]
    for group in groups:
        low, high, _ = median_interval(group.ratios)
        lines.append(f"{group.name}: **{median(group.ratios):.3f}** ({low:.3f}–{high:.3f}), target ≤ {group.target:.2f}: {group.verdict}.")
    if memory:
        lines += ["", *table(["RSS bytes per item", "ours", "ref.", "ratio", "target", "verdict"],
                             [[n, f"{a:.1f}", f"{b:.1f}", f"{a / b:.3f}" if b else "–", f"{t:.0f}", "met" if a <= t else "missed"]
                              for n, a, b, t in memory])]
    if skipped:
        lines += ["", "Not measured:", "", *[f"- {name}: {why}" for name, why in skipped]]
    return "\n".join(lines) + "\n"


def conditions_of(root, options, versions, cores):
    load = os.getloadavg()
    return [
        ("commit", commit_of(root)),
        ("ours", versions[0]), ("reference", versions[1]),
        ("kernel", platform.release()), ("CPU", f"{cpu_model()}, {os.cpu_count()} CPUs"),
        ("pinned", f"servers to CPU {cores[0]}, generator to CPU {cores[1]}"),
        ("runs", f"{options.pairs} interleaved pairs of {options.seconds} s after {options.warmup} s of warm-up; "
                 f"{options.conns} connections, 16 B keys uniform over {options.keys}, 64 B values unless named"),
        ("interval", f"of the median, by order statistics: covers {median_interval(range(options.pairs))[2] * 100:.0f} %"),
        ("load average at the start", f"{load[0]:.2f}"),
    ]
